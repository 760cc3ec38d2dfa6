"""The checks of `make check` notice what they are there for: each violation is planted and seen."""

import pathlib
import shutil
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
TABLE = """lib/base | |
lib/model | lib/base |
lib/store | lib/base lib/model | libpq-fe.h hiredis/
scheduler | scheduler/core lib/base lib/store |
scheduler/core | lib/model |
supervisor | lib/base |
tests/unit | * | *
"""
GOOD = {
    "lib/base/error.h": "#include <stddef.h>\n",
    "lib/model/lease.c": '#include "lib/base/error.h"\n#include <string.h>\n',
    "lib/store/pool.c": '#include "lib/model/lease.h"\n#include <libpq-fe.h>\n#include <sys/epoll.h>\n',
    "scheduler/loop.c": '#include "scheduler/loop.h"\n\n#include "scheduler/core/plan.h"\n',
    "tests/unit/any_test.c": '#include "scheduler/core/plan.h"\n#include <cmocka.h>\n',
}


def run(tool, *arguments):
    done = subprocess.run([sys.executable, str(ROOT / "tools" / tool), *map(str, arguments)], capture_output=True, text=True)
    return done.returncode, done.stdout


@pytest.fixture
def tree(tmp_path):
    """A small tree in which everything is allowed; returns a function that adds files."""
    def write(files):
        for name, text in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return tmp_path
    write({"tools/layers.txt": TABLE, **GOOD})
    shutil.copy(ROOT / ".clang-format", tmp_path)
    return write


def test_allowed_includes_pass(tree):
    assert run("check_layers.py", tree({})) == (0, "layers: every include is allowed\n")


@pytest.mark.parametrize("name, line, words", [
    ("lib/model/bad.c", '#include "lib/store/pool.h"', "lib/model may not include lib/store"),
    ("scheduler/core/bad.c", '#include "lib/store/pool.h"', "scheduler/core may not include lib/store"),
    ("supervisor/bad.c", '#include "scheduler/loop.h"', "supervisor may not include scheduler"),
    ("lib/base/bad.c", '  #  include "lib/model/lease.h"', "lib/base may not include lib/model"),
    ("lib/model/bad.c", '#include "lease.h"', "not written from the repository root"),
    ("lib/model/bad.c", '#include "lib/base/../store/pool.h"', "not written from the repository root"),
    ("lib/model/bad.c", "#include <hiredis/hiredis.h>", "may not use <hiredis/hiredis.h>"),
    ("lib/store/bad.c", "#include <unheard/of.h>", "may not use <unheard/of.h>"),
    ("lib/model/bad.h", "#include <libpq-fe.h>", "may not use <libpq-fe.h>"),
    ("lib/novel/bad.c", "#include <stddef.h>", "folder lib/novel has no row"),
])
def test_a_forbidden_include_is_named_with_its_line(tree, name, line, words):
    code, shown = run("check_layers.py", tree({name: f"/* one */\n{line}\n"}))
    assert code == 1 and words in shown
    assert shown.startswith(f"{name}:2: " if "no row" not in words else f"{name}: ")


@pytest.mark.parametrize("row", ["cli | scheduler |", "lib/extra | supervisor |"])
def test_the_table_itself_may_not_join_programs(tree, row):
    code, shown = run("check_layers.py", tree({"tools/layers.txt": TABLE + row + "\n"}))
    assert code == 1 and "which belongs to a program" in shown


def compile_object(folder, name, text):
    source = folder / f"{name}.c"
    source.write_text(text)
    subprocess.run(["gcc", "-c", "-O2", "-o", folder / f"{name}.o", source], check=True)
    return folder / f"{name}.o"


@pytest.mark.parametrize("text, name", [
    ("#include <time.h>\nlong now(void) { return time(0); }", "time"),
    ("#include <stdio.h>\nvoid say(void) { puts(\"x\"); }", "puts"),
    ("#include <stdlib.h>\nchar *home(void) { return getenv(\"HOME\"); }", "getenv"),
    ("#include <pthread.h>\nint lock(pthread_mutex_t *m) { return pthread_mutex_lock(m); }", "pthread_mutex_lock"),
])
def test_an_impure_call_is_named(tmp_path, text, name):
    sys.path.insert(0, str(ROOT / "tools"))
    import check_purity
    allowed = check_purity.allowed_names(ROOT / "tools" / "pure_symbols.txt")
    problems = check_purity.check([compile_object(tmp_path, "bad", text)], allowed)
    assert len(problems) == 1 and f"calls {name}," in problems[0]


def test_pure_objects_may_call_each_other_and_memory(tmp_path):
    sys.path.insert(0, str(ROOT / "tools"))
    import check_purity
    allowed = check_purity.allowed_names(ROOT / "tools" / "pure_symbols.txt")
    one = compile_object(tmp_path, "one", "int two(int); int one(int n) { return two(n) + 1; }")
    two = compile_object(tmp_path, "two", "#include <stdlib.h>\nint two(int n) { free(malloc((size_t)n)); return n; }")
    assert check_purity.check([one, two], allowed) == []
    assert len(check_purity.check([one], allowed)) == 1


def test_purity_without_objects_fails(tmp_path):
    code, shown = run("check_purity.py", tmp_path)
    assert code == 1 and "not compiled" in shown


def function(lines):
    return "static int f(void)\n{\n" + "\tg();\n" * lines + "}\n"


@pytest.mark.parametrize("lines, code", [(60, 0), (61, 1)])
def test_a_function_has_at_most_sixty_lines(tree, lines, code):
    result, shown = run("check_lengths.py", tree({"lib/base/long.c": "int x;\n\n" + function(lines)}))
    assert result == code
    assert ("lib/base/long.c:4: a function of 61 lines" in shown) == bool(code)


def test_a_table_may_be_long(tree):
    table = "static const int table[] = {\n" + "\t1,\n" * 100 + "};\n"
    assert run("check_lengths.py", tree({"lib/base/table.c": table}))[0] == 0


@pytest.mark.parametrize("text, words", [
    ("int  f( void );\n", "clang-format-14 -i would change it"),
    ("/* TO" "DO: later */\n", "a leftover mark"),
])
def test_format_and_leftovers_are_noticed(tree, text, words):
    code, shown = run("check_format.py", tree({"lib/base/ugly.c": text}))
    assert code == 1 and f"lib/base/ugly.c" in shown and words in shown


def test_well_formed_files_pass(tree):
    assert run("check_format.py", tree({}))[0] == 0
