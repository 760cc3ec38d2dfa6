"""The runner: order, readiness, restarts, rights, and an end that leaves nothing behind."""

import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import time
import urllib.request

import psycopg
import pytest
import redis

import migrate
from conftest import alive, members
from place import StackError
from stack import ROOT, Stack, StackFailed

SECONDS = 20


def until(condition, what):
    """Wait for a state; fails with words when it never comes."""
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"never seen: {what}"
        time.sleep(0.02)


def children(pid):
    return [int(word) for word in pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def ask_web(stack):
    with urllib.request.urlopen(stack.urls["web"] + "/", timeout=5) as answer:
        return json.load(answer)


def test_stack_starts_serves_and_ends_with_nothing_left(home, doubles):
    with Stack(home, bin_dir=doubles) as stack:
        assert list(stack.pids()) == ["postgres", "redis", "docserver", "eval", "warden", "scheduler-1", "scheduler-2",
                                      "supervisor-1", "supervisor-2", "web"]
        assert redis.from_url(stack.urls["redis"]).config_get("save") == {"save": ""}
        with psycopg.connect(stack.urls["postgres"]) as connection:
            assert connection.execute("SELECT current_user").fetchone() == ("windlass_app",)
        runner, pids = stack.runner.pid, list(stack.pids().values())
    assert not [pid for pid in [runner, *pids] if alive(pid)]
    assert members(home) == []


def test_data_is_found_again(home):
    with Stack(home, servers_only=True) as stack:
        with psycopg.connect(stack.urls["postgres_admin"]) as connection:
            connection.execute("CREATE TABLE IF NOT EXISTS public.kept AS SELECT 7 AS n")
        keys = {path.name: path.read_text() for path in (home / "keys").iterdir()}
    with Stack(home, servers_only=True) as stack:
        with psycopg.connect(stack.urls["postgres_admin"]) as connection:
            assert connection.execute("SELECT n FROM public.kept").fetchone() == (7,)
    assert keys == {path.name: path.read_text() for path in (home / "keys").iterdir()}


@pytest.mark.skipif(os.geteuid() != 0, reason="rights are only given up by root")
def test_only_the_warden_keeps_root(home, doubles):
    with Stack(home, bin_dir=doubles) as stack:
        owners = {name: os.stat(f"/proc/{pid}").st_uid for name, pid in stack.pids().items()}
        seen = ask_web(stack)
    assert [name for name, uid in owners.items() if uid == 0] == ["warden"]
    assert owners["postgres"] not in (0, owners["web"])
    assert seen["groups"] == [] and seen["no_new_privs"]


def test_each_program_sees_only_its_secrets(home, doubles):
    bucket = "s3://key:secret@127.0.0.1:1/bucket"
    with Stack(home, bin_dir=doubles, env={"WINDLASS_TOKEN_KEY": "ab" * 32, "WINDLASS_S3_URL": bucket}) as stack:
        seen = ask_web(stack)["variables"]
        warden = pathlib.Path(f"/proc/{stack.pid('warden')}/environ").read_bytes()
        supervisor = pathlib.Path(f"/proc/{stack.pid('supervisor-1')}/environ").read_bytes()
    assert "WINDLASS_TOKEN_KEY" in seen and "WINDLASS_POSTGRES_URL" in seen
    assert b"POSTGRES_URL" not in warden and b"TOKEN_KEY" not in warden and b"S3_URL" not in warden
    assert b"POSTGRES_URL" in supervisor and b"TOKEN_KEY" not in supervisor and b"S3_URL" in supervisor
    assert "WINDLASS_MASTER_KEY" in seen and b"MASTER_KEY" in supervisor and b"MASTER_KEY" not in warden


def test_no_secret_stands_in_the_arguments_of_a_process(home, doubles):
    with Stack(home, bin_dir=doubles) as stack:
        secrets = [path.read_bytes() for path in (home / "keys").iterdir()]
        arguments = b"".join(pathlib.Path(f"/proc/{pid}/cmdline").read_bytes() for pid in stack.pids().values())
    assert len(secrets) == 6 and not any(secret in arguments for secret in secrets)


@pytest.mark.parametrize("name", ["postgres", "redis", "docserver", "eval", "warden", "scheduler-1", "web"])
def test_a_killed_program_is_started_again(home, doubles, name):
    with Stack(home, bin_dir=doubles) as stack:
        before = stack.pid(name)
        stack.kill(name, signal.SIGKILL)
        until(lambda: stack.pid(name) not in (None, before), f"{name} again")
        assert stack.resume(name) == stack.pid(name)        # and it gets ready
        if name == "web":
            assert ask_web(stack)["uid"] >= 0
    assert members(home) == []


def test_a_program_that_cannot_be_started_for_a_moment_does_not_end_the_stack(home, doubles):
    program, away = ROOT / doubles / "windlass-eval", ROOT / doubles / "away"
    with Stack(home, bin_dir=doubles) as stack:
        program.rename(away)                                # as while it is linked anew
        stack.kill("eval", signal.SIGKILL)
        until(lambda: "eval" not in stack.pids(), "the end of eval")
        away.rename(program)
        until(lambda: stack.pid("eval"), "eval again")
        assert ask_web(stack)["uid"] >= 0


def test_a_worker_does_not_outlive_its_killed_parent(home, doubles):
    with Stack(home, bin_dir=doubles) as stack:
        parent = stack.pid("web")
        worker = children(parent)[0]
        stack.kill("web", signal.SIGKILL)
        until(lambda: not alive(worker), "the end of the worker")


def test_a_held_program_stays_down_until_resumed(home, doubles):
    with Stack(home, bin_dir=doubles) as stack:
        stack.kill("redis", signal.SIGKILL, hold=True)
        assert stack.pid("redis") is None
        with pytest.raises(redis.ConnectionError):
            redis.from_url(stack.urls["redis"]).ping()
        stack.kill("eval", signal.SIGKILL)                  # restarts go on meanwhile
        until(lambda: stack.pid("eval"), "eval again")
        assert stack.pid("redis") is None
        stack.resume("redis")
        assert redis.from_url(stack.urls["redis"]).ping()


def test_a_stopped_program_is_ended_too(home, doubles):
    with Stack(home, bin_dir=doubles) as stack:
        stack.kill("supervisor-1", signal.SIGSTOP)
        stopped = stack.pid("supervisor-1")
    assert not alive(stopped)


def test_children_die_with_a_killed_runner(home, doubles):
    stack = Stack(home, bin_dir=doubles).start()
    pids = list(stack.pids().values()) + children(stack.pid("web"))
    stack.runner.kill()
    until(lambda: not any(alive(pid) for pid in pids), "the end of all programs")
    stack.stop()
    with Stack(home, bin_dir=doubles) as again:             # and the state is usable at once
        with psycopg.connect(again.urls["postgres"]) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)


def test_the_stack_ends_when_its_maker_is_killed(home, doubles):
    script = (f"import sys; sys.path.insert(0, {str(ROOT / 'tools' / 'stack')!r})\n"
              f"from stack import Stack\nstack = Stack({str(home)!r}, bin_dir={doubles!r}).start()\n"
              "print(*stack.pids().values(), flush=True)\nsys.stdin.read()")
    maker = subprocess.Popen(["/usr/bin/python3", "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    pids = [int(word) for word in maker.stdout.readline().split()]
    assert pids and all(alive(pid) for pid in pids)
    maker.kill()
    maker.wait()
    until(lambda: members(home) == [], "the end of the whole stack")
    assert not any(alive(pid) for pid in pids)


def test_one_stack_a_state_folder(home):
    with Stack(home, servers_only=True) as stack:
        with pytest.raises(StackFailed, match=rf"another Windlass \(process {stack.runner.pid}\)"):
            Stack(home, servers_only=True).start()
        assert redis.from_url(stack.urls["redis"]).ping()


def test_a_taken_port_is_named(home, doubles):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(StackFailed, match=f"port {port} is taken: set WINDLASS_PORT"):
            Stack(home, port=port, bin_dir=doubles).start()
    assert members(home) == []


@pytest.mark.parametrize("variable, url, words", [
    ("WINDLASS_POSTGRES_URL", "postgresql://nobody@127.0.0.1:1/none", "PostgreSQL cannot be reached"),
    ("WINDLASS_REDIS_URL", "redis://127.0.0.1:1", "Redis cannot be reached"),
    ("WINDLASS_MONGODB_URL", "mongodb://127.0.0.1:1/windlass", "document server cannot be reached"),
])
def test_a_missing_server_is_named_with_its_variable(home, variable, url, words):
    with pytest.raises(StackFailed, match=f"(?s){words}.*{variable}"):
        Stack(home, servers_only=True, env={variable: url}).start()
    assert members(home) == []


def test_given_servers_are_used_instead_of_private_ones(home, doubles, tmp_path):
    for folder in (tmp_path, *tmp_path.parents):
        if folder.name.startswith("pytest"):
            folder.chmod(0o755)
    with Stack(home, servers_only=True) as servers:
        given = {"WINDLASS_POSTGRES_URL": servers.urls["postgres"], "WINDLASS_REDIS_URL": servers.urls["redis"],
                 "WINDLASS_POSTGRES_ADMIN_URL": servers.urls["postgres_admin"],
                 "WINDLASS_MONGODB_URL": servers.urls["mongodb"]}
        with Stack(tmp_path / "other", bin_dir=doubles, schedulers=1, supervisors=1, env=given) as stack:
            assert list(stack.pids()) == ["eval", "warden", "scheduler-1", "supervisor-1", "web"]
            environment = pathlib.Path(f"/proc/{stack.pid('supervisor-1')}/environ").read_text().split("\0")
        for name in ("WINDLASS_POSTGRES_URL", "WINDLASS_REDIS_URL", "WINDLASS_MONGODB_URL"):
            assert f"{name}={given[name]}" in environment
        assert not any(line.startswith("WINDLASS_POSTGRES_ADMIN_URL") for line in environment)
        assert redis.from_url(servers.urls["redis"]).ping()             # and they outlive the stack


def test_a_changed_migration_is_refused(home, tmp_path):
    copy = tmp_path / "sql"
    shutil.copytree(ROOT / "specs" / "sql", copy)
    first = sorted(copy.iterdir())[0]
    first.write_text(first.read_text() + "-- another word\n")
    with Stack(home, servers_only=True) as stack:
        database = migrate.Database(stack.urls["postgres_admin"])
        assert migrate.migrate(database, ROOT / "specs" / "sql", pytest.fail) == 0
        with pytest.raises(StackError, match=f"{first.name} was changed after it had been applied"):
            migrate.migrate(database, copy, pytest.fail)


def test_a_failing_migration_leaves_nothing(home, tmp_path):
    copy = tmp_path / "sql"
    shutil.copytree(ROOT / "specs" / "sql", copy)
    name = f"{len(list(copy.iterdir())) + 1:04}_bad.sql"
    (copy / name).write_text("CREATE TABLE public.half_done (n int);\nSELECT 1 / 0;\n")
    with Stack(home, servers_only=True) as stack:
        database = migrate.Database(stack.urls["postgres_admin"])
        with pytest.raises(StackError, match=f"(?s)migration {name} failed: .*division by zero"):
            migrate.migrate(database, copy, lambda text: None)
        assert database.run("SELECT to_regclass('public.half_done') IS NULL;") == "t"
        assert migrate.migrate(database, ROOT / "specs" / "sql", pytest.fail) == 0


def test_a_program_that_is_not_built_is_named(home, doubles):
    (ROOT / doubles / "windlass-scheduler").unlink()
    with pytest.raises(StackFailed, match="windlass-scheduler is not built: run 'make build'"):
        Stack(home, bin_dir=doubles).start()
    assert members(home) == []


def test_a_program_that_dies_at_start_shows_its_last_words(home, doubles):
    (ROOT / doubles / "windlass-scheduler").write_text("#!/bin/sh\necho the reason of it >&2\nexit 3\n")
    with pytest.raises(StackFailed, match="(?s)scheduler-1 ended with exit code 3.*the reason of it"):
        Stack(home, bin_dir=doubles).start()
    assert members(home) == []


def test_the_command_prints_one_ready_line_and_ends_on_interrupt(home, doubles):
    env = dict(os.environ, WINDLASS_HOME=str(home), WINDLASS_PORT="0")
    argv = ["/usr/bin/python3", str(ROOT / "tools" / "stack" / "stack.py"), "run", "--bin-dir", doubles]
    command = subprocess.Popen(argv, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    line = command.stdout.readline()
    assert line.startswith("Windlass is ready at http://127.0.0.1:")
    command.send_signal(signal.SIGINT)
    rest, _ = command.communicate(timeout=SECONDS)
    assert rest == "" and command.returncode == 0
    assert members(home) == []


@pytest.fixture
def hard_place():
    """A folder that only its owner may walk, with spaces in a path too long for a unix socket."""
    top = ROOT / "build" / "test" / f"place-{os.getpid()}"
    folder = top / "a folder with spaces" / ("long " * 20).strip()
    folder.mkdir(parents=True)
    top.chmod(0o700)
    yield folder
    shutil.rmtree(top)


def copy_checkout(target, doubles):
    """The parts of this checkout that a stack needs, as a checkout of its own; build output by hard link."""
    for name in ("tools/stack", "tools/docserver", "specs/sql", "quotas", "policies"):
        shutil.copytree(ROOT / name, target / name)
    shutil.copy(ROOT / "specs" / "rights.sql", target / "specs")
    shutil.copytree(ROOT / doubles, target / "build" / "bin")
    os.link(ROOT / "build" / "bin" / "windlass-docserver", target / "build" / "bin" / "windlass-docserver")


def test_any_checkout_path_works(hard_place, doubles):
    checkout = hard_place / "checkout"
    copy_checkout(checkout, doubles)
    script = ("import json, sys\nfrom stack import Stack\n"
              "with Stack(sys.argv[1]) as stack:\n"
              "    print(json.dumps([stack.urls, stack.pids()]), flush=True)\n    sys.stdin.readline()\n")
    home = checkout / ".windlass"
    command = subprocess.Popen([shutil.which("python3"), "-c", script, str(home)], text=True, stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE, env=dict(os.environ, PYTHONPATH=str(checkout / "tools" / "stack")))
    urls, pids = json.loads(command.stdout.readline())
    assert redis.from_url(urls["redis"]).ping()
    with psycopg.connect(urls["postgres"]) as connection:
        assert connection.execute("SELECT count(*) > 0 FROM pg_catalog.pg_namespace").fetchone() == (True,)
    command.communicate("end\n", timeout=SECONDS)
    assert command.returncode == 0 and not any(alive(pid) for pid in pids.values())
