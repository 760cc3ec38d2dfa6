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
    """Reports of planted tests stay out of build/reports."""
    monkeypatch.setenv("WINDLASS_REPORTS", str(tmp_path_factory.mktemp("reports")))


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
    folder = tmp_path / f"planted{os.getpid()}"
    folder.mkdir()
    (folder / "test_planted.py").write_text(text)
    result, lines = run("--pytest", folder)
    assert (result, lines[-1]) == (code, last)


def test_kinds_are_summed(tmp_path):
    compile_test(tmp_path, f"planted{os.getpid()}", ["good", "bad"])
    folder = tmp_path / f"planted{os.getpid()}"
    folder.mkdir()
    (folder / "test_planted.py").write_text("def test_one(): pass\n")
    result, lines = run("--unit", tmp_path, "--pytest", folder)
    assert (result, lines[-1]) == (1, "2 passed, 1 failed")
