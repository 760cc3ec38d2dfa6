"""Start and stop of the whole: ready line, second start, missing servers, nothing left behind."""

import os
import pathlib
import re
import signal
import socket

import pytest

from kit.client import Api, checked
from kit.flows import Flow, noop
from kit.stack import Family, Stack, alive, mounts, run_in_foreground, state_folder, throw_away, traces
from kit.waiting import wait_until

pytestmark = pytest.mark.long

BIN = pathlib.Path(__file__).resolve().parents[2] / "build" / "bin"


@pytest.fixture
def home(request):
    """A state folder of this test's own."""
    path = state_folder(re.sub(r"\W+", "-", request.node.name))
    yield path
    throw_away(path)


def ready_url(process):
    """The URL of the ready line; the first line of standard output."""
    line = process.stdout.readline()
    match = re.fullmatch(r"Windlass is ready at (http://\S+)\n", line)
    assert match, (line, process.stderr.read() if process.poll() is not None else "")
    return match[1]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_run_says_ready_and_a_signal_ends_all_of_it(home, number):
    before = mounts()
    process = run_in_foreground(home, env={"WINDLASS_DRAIN_MS": "1000"})
    try:
        api = Api(ready_url(process)).register()
        assert api.run(Flow().code("c", "print(1)").output(1))["execution"]["status"] == "succeeded"
        eid = api.start(Flow().code("nap", "import time; time.sleep(60)").output(1))
        wait_until(lambda: api.status(eid) == "running", "a start", 10)
        family = Family(process.pid)
        assert len(family.left()) >= 9, "the runner, three servers and five programs"
        process.send_signal(number)
        assert process.wait(60) == 0, process.stderr.read()
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
    assert family.left() == []
    assert traces(family.members) - before == set()


def test_a_killed_runner_takes_everything_with_it(home):
    before = mounts()
    process = run_in_foreground(home)
    ready_url(process)
    family = Family(process.pid)
    process.kill()
    process.wait()
    wait_until(lambda: not family.left(), "the end of all programs of a killed runner", 20)
    assert traces(family.members) - before == set()


def test_a_second_start_finds_its_data(home):
    name = home.name.rpartition("-")[0]
    with Stack(name, keep=True, env={"WINDLASS_DRAIN_MS": "500"}) as stack:
        first = stack.tenant()
        flow_id = first.create(noop())
        eid = first.start(flow_id, {"kept": True})
        done = first.wait(eid)
        late = first.start(Flow().code("nap", "import time; time.sleep(1); print(1)").output("resumed"))
    with Stack(name, keep=True) as stack:
        again = stack.api().login(first.email)
        assert again.execution(eid) == done
        assert checked(again.get(f"flows/{flow_id}"), 200).json()["flow"]["id"] == flow_id
        assert again.wait(late, 40)["execution"]["status"] == "succeeded"
        assert again.wait(again.start(flow_id, {"n": 1}))["execution"]["status"] == "succeeded"


def test_two_runs_on_one_folder_are_refused(home):
    with Stack(home.name.rpartition("-")[0]):
        second = run_in_foreground(home)
        assert second.wait(60) != 0
        assert "another Windlass" in second.stderr.read()


def test_a_taken_port_is_a_sentence(home):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        process = run_in_foreground(home, port=taken.getsockname()[1])
        assert process.wait(60) != 0
        assert "WINDLASS_PORT" in process.stderr.read()


@pytest.mark.parametrize("variable, value, words", [
    ("WINDLASS_POSTGRES_URL", "postgresql://u@127.0.0.1:1/x", "PostgreSQL"),
    ("WINDLASS_REDIS_URL", "redis://127.0.0.1:1", "Redis"),
    ("WINDLASS_MONGODB_URL", "mongodb://127.0.0.1:1/x", "document server"),
    ("WINDLASS_LEASE_MS", "7", "1000"),
    ("WINDLASS_PORT", "eighty", "65535"),
])
def test_what_is_missing_or_wrong_is_named_and_nothing_stays(home, variable, value, words):
    process = run_in_foreground(home, env={variable: value})
    family = Family(process.pid)
    assert process.wait(90) != 0
    error = process.stderr.read()
    named = variable in error or variable.removeprefix("WINDLASS_").lower() in error
    assert words in error and named, error
    assert family.left() == []


@pytest.fixture(scope="module")
def servers():
    """PostgreSQL, Redis and document server alone, for programs started by hand."""
    with Stack("servers-for-manners", servers_only=True) as running:
        yield running


def program_env(servers, **changes):
    urls = servers.urls
    sockets = servers.home / "run" / "ours"
    env = {"PATH": os.environ["PATH"], "WINDLASS_POSTGRES_URL": urls["postgres"], "WINDLASS_REDIS_URL": urls["redis"],
           "WINDLASS_MONGODB_URL": urls["mongodb"], "WINDLASS_EVAL_SOCKET": str(sockets / "eval.sock"),
           "WINDLASS_WARDEN_SOCKET": str(sockets / "warden.sock"), "WINDLASS_TOKEN_KEY": "ab" * 32,
           "WINDLASS_MASTER_KEY": "cd" * 32,
           "WINDLASS_PORT": "0", "WINDLASS_SPOOL_DIR": str(servers.home / "spool"), "WINDLASS_HOME": str(servers.home)}
    env.update(changes)
    return {name: value for name, value in env.items() if value is not None}


@pytest.mark.parametrize("program, variable, value", [
    ("windlass-web", "WINDLASS_POSTGRES_URL", None),
    ("windlass-web", "WINDLASS_POSTGRES_URL", "postgresql://u@127.0.0.1:1/x"),
    ("windlass-web", "WINDLASS_TOKEN_KEY", None),
    ("windlass-web", "WINDLASS_TOKEN_KEY", "too short"),
    ("windlass-web", "WINDLASS_MASTER_KEY", None),
    ("windlass-web", "WINDLASS_MASTER_KEY", "too short"),
    ("windlass-scheduler", "WINDLASS_POSTGRES_URL", None),
    ("windlass-scheduler", "WINDLASS_POSTGRES_URL", "postgresql://u@127.0.0.1:1/x"),
    ("windlass-scheduler", "WINDLASS_REDIS_URL", None),
    ("windlass-scheduler", "WINDLASS_REDIS_URL", "redis://127.0.0.1:1"),
    ("windlass-supervisor", "WINDLASS_REDIS_URL", "redis://127.0.0.1:1"),
    ("windlass-supervisor", "WINDLASS_MONGODB_URL", "mongodb://127.0.0.1:1/x"),
    ("windlass-supervisor", "WINDLASS_MONGODB_URL", None),
    ("windlass-supervisor", "WINDLASS_POSTGRES_URL", "not a url"),
])
def test_a_program_without_its_server_says_which_setting_and_exits_1(servers, program, variable, value):
    import subprocess
    done = subprocess.run([str(BIN / program)], env=program_env(servers, **{variable: value}), capture_output=True, text=True,
                          timeout=60, check=False)
    text = done.stdout + done.stderr
    assert done.returncode == 1, (done.returncode, text)
    named = variable in text or variable.removeprefix("WINDLASS_").lower() in text
    assert named, text
    assert "ab" * 32 not in text


@pytest.mark.parametrize("program", ["windlass-web", "windlass-scheduler", "windlass-supervisor", "windlass-warden",
                                     "windlass-eval"])
def test_help_lists_the_settings_and_unknown_ones_are_refused(program):
    import subprocess
    shown = subprocess.run([str(BIN / program), "--help"], capture_output=True, text=True, timeout=20, check=False)
    assert shown.returncode == 0 and "log_level" in shown.stdout, shown
    wrong = subprocess.run([str(BIN / program), "--no-such-setting=1"], capture_output=True, text=True, timeout=20, check=False)
    assert wrong.returncode == 1 and "no_such_setting" in wrong.stderr, wrong


def test_pids_in_proc_are_told_from_zombies():
    """The helper that the tests above rest on: a dead child that nobody awaited does not count as alive."""
    child = os.fork()
    if child == 0:
        os._exit(0)
    wait_until(lambda: not alive(child), "the end of the child", 5)
    os.waitpid(child, 0)
