"""The test runner counts right, and never calls nothing, a crash or a hang a success."""

import os
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
HEAD = """#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>
#include <cmocka.h>
static void good(void **state) { (void)state; assert_true(1); }
static void bad(void **state) { (void)state; assert_int_equal(1, 2); }
static void crash(void **state) { (void)state; abort(); }
static void leave(void **state) { (void)state; _exit(0); }
static void hang(void **state) { (void)state; for (;;) pause(); }
int main(void) {
	(void)good; (void)bad; (void)crash; (void)leave; (void)hang;
	const struct CMUnitTest tests[] = { %s };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
"""


def compile_test(folder, name, cases):
    listed = ", ".join(f"cmocka_unit_test({case})" for case in cases)
    source = folder / f"{name}.c"
    source.write_text(HEAD.replace("%s", listed))
    subprocess.run(["gcc", "-o", folder / f"{name}_test", source, "-lcmocka"], check=True)


@pytest.fixture(autouse=True)
def reports(tmp_path_factory, monkeypatch):
    """Reports of planted tests stay out of build/reports; they need none of the plugins that take long to load."""
    monkeypatch.setenv("WINDLASS_REPORTS", str(tmp_path_factory.mktemp("reports")))
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.setenv("PYTEST_PLUGINS", "xdist.plugin")
    for name in [name for name in os.environ if name.startswith("PYTEST_XDIST")]:
        monkeypatch.delenv(name)


def run(*arguments, **env):
    done = subprocess.run([sys.executable, str(ROOT / "tools" / "run_tests.py"), *map(str, arguments)], text=True,
                          capture_output=True, env=dict(os.environ, **env), timeout=120)
    return done.returncode, done.stdout.splitlines()


@pytest.mark.parametrize("cases, code, last", [
    (["good", "good"], 0, "2 passed, 0 failed"),
    (["good", "bad"], 1, "1 passed, 1 failed"),
    (["good", "crash"], 1, "0 passed, 1 failed"),
    (["good", "leave"], 1, "0 passed, 1 failed"),
])
def test_unit_programs_are_counted(tmp_path, cases, code, last):
    compile_test(tmp_path, f"planted{os.getpid()}", cases)
    result, lines = run("--unit", tmp_path)
    assert (result, lines[-1]) == (code, last)


def test_a_hanging_program_is_ended_and_counts_as_failed(tmp_path):
    compile_test(tmp_path, f"planted{os.getpid()}", ["hang"])
    result, lines = run("--unit", tmp_path, WINDLASS_UNIT_LIMIT_S="1")
    assert result == 1 and lines[-1] == "0 passed, 1 failed"
    assert any("did not end within 1 s" in line for line in lines)


def test_nothing_executed_is_a_failure(tmp_path):
    assert run("--unit", tmp_path) == (1, ["unit tests: 0 programs", "no test was executed", "0 passed, 0 failed"])


@pytest.mark.parametrize("text, code, last", [
    ("def test_one(): pass\ndef test_two(): pass\n", 0, "2 passed, 0 failed"),
    ("def test_one(): pass\ndef test_two(): assert 0\n", 1, "1 passed, 1 failed"),
    ("import nothing_of_this_name\n", 1, "0 passed, 1 failed"),
    ("value = 1\n", 1, "0 passed, 1 failed"),
    ("import os\ndef test_one(): os._exit(0)\n", 1, "0 passed, 1 failed"),
])
def test_pytest_folders_are_counted(tmp_path, text, code, last):
    result, lines = run("--pytest", plant(tmp_path, text))
    assert (result, lines[-1]) == (code, last)


SIDE_BY_SIDE = """import os, pathlib, pytest, time
HERE = pathlib.Path(__file__).parent
def meet(name):
    (HERE / name).write_text("")
    while len(list(HERE.glob("met*"))) < 2:
        time.sleep(0.01)
def test_meets_another(): meet("met%d")
@pytest.mark.alone
def test_alone(): assert len(list(HERE.glob("met*"))) == 2 and "PYTEST_XDIST_WORKER" not in os.environ
"""


def plant(tmp_path, *texts):
    """A folder of tests, a file of each text."""
    folder = tmp_path / f"planted{os.getpid()}"
    folder.mkdir()
    (folder / "conftest.py").write_text("def pytest_configure(config): config.addinivalue_line('markers', 'alone: x')\n")
    for number, text in enumerate(texts):
        (folder / f"test_planted{number}.py").write_text(text)
    return folder


def test_files_are_tested_side_by_side_and_what_has_to_be_alone_afterwards(tmp_path):
    """Two tests that wait for each other, in two files: one at a time they would never end."""
    folder = plant(tmp_path, SIDE_BY_SIDE % 0, SIDE_BY_SIDE % 1)
    result, lines = run("--pytest", folder, WINDLASS_TEST_WORKERS="2", WINDLASS_PYTEST_LIMIT_S="60")
    assert (result, lines[-1]) == (0, "4 passed, 0 failed"), lines


@pytest.mark.parametrize("texts, last", [
    (["def test_one(): pass\n", "def test_two(): assert 0\n"], "1 passed, 1 failed"),
    (["def test_one(): pass\n", "import os\ndef test_two(): os._exit(0)\n"], "1 passed, 1 failed"),
    (["def test_one(): pass\n", "import nothing_of_this_name\n"], "1 passed, 1 failed"),
    (["value = 1\n"], "0 passed, 1 failed"),
    (["import pytest\n@pytest.mark.alone\ndef test_one(): assert 0\n", "def test_two(): pass\n"], "1 passed, 1 failed"),
    (["import pytest\n@pytest.mark.alone\ndef test_one(): pass\n"], "1 passed, 0 failed"),
    (["# pytest.mark.alone is for others\ndef test_one(): pass\n"], "1 passed, 0 failed"),
    (["# pytest.mark.alone is for others\nvalue = 1\n"], "0 passed, 1 failed"),
    (["import pytest\n@pytest.mark.alone\n@pytest.mark.skip\ndef test_one(): pass\n", "def test_two(): pass\n"],
     "1 passed, 1 failed"),
])
def test_side_by_side_is_counted_as_well(tmp_path, texts, last):
    result, lines = run("--pytest", plant(tmp_path, *texts), WINDLASS_TEST_WORKERS="2")
    assert (result, lines[-1]) == (0 if last.endswith(" 0 failed") else 1, last), lines


def test_kinds_are_summed(tmp_path):
    compile_test(tmp_path, f"planted{os.getpid()}", ["good", "bad"])
    result, lines = run("--unit", tmp_path, "--pytest", plant(tmp_path, "def test_one(): pass\n"))
    assert (result, lines[-1]) == (1, "2 passed, 1 failed")
