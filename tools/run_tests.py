#!/usr/bin/python3
"""Run the tests and close with one line: `N passed, N failed`.

    run_tests.py --unit FOLDER [--servers] [--pytest FOLDER ...]

Unit programs are cmocka's; each runs under a time limit, its verdicts are read from cmocka's XML. With
--servers a private PostgreSQL, Redis and document server are running for them, named by WINDLASS_TEST_*.
pytest runs folder by folder; most tests wait for something nearly all of their time, so a folder's tests run side
by side where WORKERS says so (WINDLASS_TEST_WORKERS: a number for all folders), and those with the mark `alone`
after the others, one at a time. Reports go to build/reports. The exit code is zero only when something was
executed and nothing failed: a program that crashed, hung or reported nothing counts as one failure.
"""

import argparse
import concurrent.futures
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as xml

ROOT = pathlib.Path(__file__).resolve().parent.parent
REPORTS = pathlib.Path(os.environ.get("WINDLASS_REPORTS") or ROOT / "build" / "reports")
UNIT_JOBS = 3
UNIT_LIMIT_S = int(os.environ.get("WINDLASS_UNIT_LIMIT_S", "120"))
PYTEST_LIMIT_S = int(os.environ.get("WINDLASS_PYTEST_LIMIT_S", "1200"))
# folder: how many of its tests run at once, and what is given out in one piece: tests or whole files, of which
# many start something for all of their tests
WORKERS = {"model": (2, "load"), "stack": (3, "load"), "contract": (2, "loadfile"), "system": (3, "loadfile"),
           "faults": (2, "loadfile")}
ALL_WORKERS = os.environ.get("WINDLASS_TEST_WORKERS")
NOTHING_CHOSEN = 5      # pytest's exit code when no test is left after a selection


class Tally:
    def __init__(self):
        self.passed = self.failed = self.skipped = 0

    def add(self, report):
        """Count one JUnit file; returns what failed as (name, text). An unreadable file is an error."""
        failures = []
        for case in xml.parse(report).getroot().iter("testcase"):
            bad = case.find("failure") if case.find("failure") is not None else case.find("error")
            if bad is not None:
                self.failed += 1
                failures.append((case.get("name", "?"), (bad.text or bad.get("message") or "").strip()))
            elif case.find("skipped") is not None:
                self.skipped += 1
            else:
                self.passed += 1
        return failures

    def take(self, other):
        self.passed += other.passed
        self.failed += other.failed
        self.skipped += other.skipped

    def executed(self):
        return self.passed + self.failed


def run_limited(argv, seconds, **how):
    """Run a command in a session of its own; (exit code or None at the time limit, output or None)."""
    with subprocess.Popen(argv, start_new_session=True, stdin=subprocess.DEVNULL, **how) as process:
        try:
            output, _ = process.communicate(timeout=seconds)
            return process.returncode, output
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            output, _ = process.communicate()
            return None, output


def ending(code, seconds):
    if code is None:
        return f"did not end within {seconds} s"
    return f"ended by signal {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"


def run_unit(program, env):
    """Run one cmocka program; (its tally, the lines to show)."""
    for old in REPORTS.glob(f"unit-{program.name}-*.xml"):
        old.unlink()
    begun, tally, failures = time.monotonic(), Tally(), []
    with tempfile.TemporaryDirectory(prefix="unit-") as scratch:
        os.chmod(scratch, 0o711)        # a test's own PostgreSQL runs as another user
        settings = dict(env, CMOCKA_MESSAGE_OUTPUT="xml", CMOCKA_XML_FILE=str(REPORTS / f"unit-{program.name}-%g.xml"),
                        TMPDIR=scratch)
        code, output = run_limited([str(program)], UNIT_LIMIT_S, env=settings, cwd=ROOT, stdout=subprocess.PIPE,
                                   stderr=subprocess.STDOUT, text=True, errors="replace")
    try:
        for report in REPORTS.glob(f"unit-{program.name}-*.xml"):
            failures += tally.add(report)
    except xml.ParseError as error:
        failures.append(("report", str(error)))
        tally.failed += 1
    count = tally.executed() + tally.skipped
    if (code != 0 and not failures) or count == 0:
        tally.failed += 1
        failures.append((program.name, f"{ending(code, UNIT_LIMIT_S)}, {count} tests reported"))
    lines = [f"  {'FAIL' if failures else 'ok  '}  {program.name}: {count} tests, {time.monotonic() - begun:.1f} s"]
    lines += [f"        {name}: {text}" for name, text in failures]
    if failures and output:
        lines += [f"        | {line}" for line in output.splitlines()[-40:]]
    return tally, lines


def run_programs(programs, tally, env):
    """Run the unit programs, two at a time: most of them wait for servers of their own."""
    with concurrent.futures.ThreadPoolExecutor(UNIT_JOBS) as pool:
        for one, lines in pool.map(lambda program: run_unit(program, env), programs):
            tally.take(one)
            print("\n".join(lines), flush=True)


def server_env(stack):
    urls = stack.urls
    return {"WINDLASS_TEST_POSTGRES_URL": urls["postgres"], "WINDLASS_TEST_POSTGRES_ADMIN_URL": urls["postgres_admin"],
            "WINDLASS_TEST_REDIS_URL": urls["redis"], "WINDLASS_TEST_MONGODB_URL": urls["mongodb"]}


def run_units(folder, tally, with_servers):
    programs = sorted(path for path in pathlib.Path(folder).glob("*_test") if os.access(path, os.X_OK))
    env = {name: value for name, value in os.environ.items() if not name.startswith("WINDLASS_")}
    print(f"unit tests: {len(programs)} programs", flush=True)
    if not with_servers:
        run_programs(programs, tally, env)
        return
    sys.path.insert(0, str(ROOT / "tools" / "stack"))
    from stack import Stack, StackFailed
    with tempfile.TemporaryDirectory(prefix="wl-") as home:
        try:
            with Stack(home, servers_only=True) as stack:
                run_programs(programs, tally, dict(env, **server_env(stack)))
        except StackFailed as error:
            tally.failed += 1
            print(f"  FAIL  the servers for the unit tests: {error}", flush=True)


def workers_of(folder):
    """(how many of a folder's tests run at once, what is given out in one piece)."""
    count, pieces = WORKERS.get(folder.name, (1, "loadfile"))
    return int(ALL_WORKERS or count), pieces


def call_pytest(folder, report, *options):
    """One run of pytest, output as it comes; (exit code or None at the time limit, tally, failures)."""
    report.unlink(missing_ok=True)
    argv = [str(ROOT / "build" / "pytest" / "bin" / "python"), "-m", "pytest", "-q", "-ra", "--tb=short",
            "-o", f"cache_dir={ROOT / 'build' / 'pytest_cache'}", f"--junitxml={report}", *options, str(folder)]
    env = dict(os.environ, PYTHONPATH=os.pathsep.join([str(ROOT), str(ROOT / "tools" / "stack")]),
               HYPOTHESIS_STORAGE_DIRECTORY=str(ROOT / "build" / "hypothesis"))
    code, _ = run_limited(argv, PYTEST_LIMIT_S, cwd=ROOT, env=env)
    tally, failures = Tally(), []
    try:
        failures = tally.add(report) if report.exists() else []
    except xml.ParseError:
        pass
    return code, tally, failures


def runs_of(folder, count, pieces):
    """The runs of pytest that a folder takes: (report, options) of each."""
    report, alone = REPORTS / f"pytest-{folder.name}.xml", REPORTS / f"pytest-{folder.name}-alone.xml"
    alone.unlink(missing_ok=True)
    if count == 1:
        return [(report, ())]
    together = ("-n", str(count), "--dist", pieces, "--no-loadscope-reorder", "--max-worker-restart=0")
    if not any("mark.alone" in path.read_text() for path in folder.rglob("test_*.py")):
        return [(report, together)]
    return [(report, ("-m", "not alone", *together)), (alone, ("-m", "alone"))]


def run_pytest(folder, tally):
    """Run the tests of one folder: side by side as WORKERS says, then those that have to be alone."""
    count, pieces = workers_of(folder)
    print(f"{folder.name} tests:" if count == 1 else f"{folder.name} tests, {count} at a time:", flush=True)
    runs, executed = runs_of(folder, count, pieces), 0
    for report, options in runs:
        code, one, failures = call_pytest(folder, report, *options)
        tally.take(one)
        executed += one.executed()
        last = report == runs[-1][0]
        nothing_left = code == NOTHING_CHOSEN and (executed or not last)    # all, or none, of them are to be alone
        if not nothing_left and ((code != 0 and not failures) or not one.executed()):
            tally.failed += 1
            print(f"  FAIL  {folder.name}: pytest {ending(code, PYTEST_LIMIT_S)}", flush=True)


def has_tests(folder):
    return folder.is_dir() and any(folder.rglob("test_*.py"))


def main(argv):
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--unit", metavar="FOLDER", help="folder of the compiled unit tests")
    parser.add_argument("--servers", action="store_true", help="run private servers for the unit tests")
    parser.add_argument("--pytest", nargs="*", default=[], metavar="FOLDER")
    chosen = parser.parse_args(argv)
    REPORTS.mkdir(parents=True, exist_ok=True)
    tally = Tally()
    if chosen.unit:
        run_units(chosen.unit, tally, chosen.servers)
    for folder in map(pathlib.Path, chosen.pytest):
        if has_tests(folder):
            run_pytest(folder, tally)
    if tally.skipped:
        print(f"{tally.skipped} tests were skipped")
    if not tally.executed():
        print("no test was executed")
    print(f"{tally.passed} passed, {tally.failed} failed", flush=True)
    return 0 if tally.executed() and not tally.failed else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
