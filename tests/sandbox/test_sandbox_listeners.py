"""Listeners in a sandbox's own network: what a run asks for is there, and nothing else is any nearer for it."""

import concurrent.futures
import errno
import json
import os
import signal
import socket

import pytest

from sandbox_kit import wait_until
from test_sandbox_protocol import REFUSED, STARTED, answer, request, talk

PORT = 8089
ASK = """
import errno, json, os, socket, sys
def ask(host, port):
    try:
        with socket.create_connection((host, int(port)), 3) as connection:
            return connection.makefile().read()
    except OSError as failure:
        return errno.errorcode.get(failure.errno, str(failure))
print(json.dumps([ask(*place.rsplit(":", 1)) for place in sys.argv[1:]]))
"""


def ask(warden, *places, **options):
    result = warden.run(
        ["/usr/bin/python3", "/work/in/ask.py", *places], files={"in/ask.py": ASK}, **options
    )
    assert result["exit_code"] == 0, result
    return json.loads(result["output"])


def test_a_program_reaches_the_listener_that_its_run_asked_for(warden):
    assert ask(warden, f"127.0.0.1:{PORT}", f"127.0.0.1:{PORT}", listen=[PORT]) == ["port 8089 1\n", "port 8089 2\n"]


def test_without_asking_there_is_none(warden):
    assert ask(warden, f"127.0.0.1:{PORT}") == ["ECONNREFUSED"]


def test_nothing_else_comes_within_reach(warden):
    with socket.create_server(("127.0.0.1", 0)) as host:
        port = host.getsockname()[1]
        found = ask(warden, f"127.0.0.1:{port}", "127.0.0.1:22", f"::1:{PORT}", "10.0.0.1:80", "192.0.2.1:443", listen=[PORT])
        host.settimeout(0)
        with pytest.raises(BlockingIOError):
            host.accept()
    assert found[:2] == ["ECONNREFUSED"] * 2
    assert all(word in ("ECONNREFUSED", "ENETUNREACH", "EADDRNOTAVAIL", "EAFNOSUPPORT") for word in found)


def test_each_run_has_its_own(warden):
    """Two at once with the same port; each counts its own visitors, and a third without a listener finds neither."""
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        jobs = [pool.submit(ask, warden, *[f"127.0.0.1:{PORT}"] * 20, listen=[PORT], tenant=1 + n) for n in range(2)]
        none = pool.submit(ask, warden, *[f"127.0.0.1:{PORT}"] * 20, tenant=1)
        for job in jobs:
            assert job.result() == [f"port 8089 {n + 1}\n" for n in range(20)]
        assert none.result() == ["ECONNREFUSED"] * 20


def test_the_host_does_not_listen(warden):
    running = warden.popen(["/bin/bash", "-c", "echo up >&2; exec sleep 60"], listen=[PORT])
    wait_until(lambda: len(warden.processes()) >= 1 and any("sleep" in name for name in names(warden)))
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", PORT), 3)
    running.kill()
    running.communicate()


def names(warden):
    for pid, _ in warden.processes():
        try:
            with open(f"/proc/{pid}/comm", encoding="utf-8") as file:
                yield file.read().strip()
        except OSError:
            continue


def test_the_program_inherits_no_descriptor_of_it(warden):
    assert warden.bash("ls -1 /proc/self/fd | wc -l", listen=[PORT])["output"] == "4\n"  # 0 to 2, and that of ls


def test_the_port_cannot_be_taken_over_by_the_program(warden):
    source = f"""
import errno, socket
s = socket.socket()
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
for host in ("127.0.0.1", "0.0.0.0"):
    try:
        s.bind((host, {PORT}))
        s.listen()
        print("taken")
    except OSError as failure:
        print(errno.errorcode[failure.errno])
"""
    assert warden.python(source, listen=[PORT])["output"] == "EADDRINUSE\n" * 2


@pytest.mark.parametrize("ports", [(22, 0), (8090, 0), (PORT, PORT), (PORT, 80)], ids=["low", "other", "twice", "second"])
def test_ports_that_the_profile_does_not_name_are_refused(warden, ports):
    with talk(warden) as sock:
        sock.send(request(listen=ports))
        kind, text, _ = answer(sock)
        assert kind == REFUSED and "port" in text
    assert warden.run(["/bin/true"], listen=[p for p in ports if p])["error"] == errno.EINVAL


def test_the_listener_comes_with_the_pipes_and_ends_with_the_run(warden):
    with talk(warden) as sock:
        sock.send(request(listen=(PORT, 0)))
        kind, _, fds = answer(sock)
        assert kind == STARTED and len(fds) == 6
        listener = socket.socket(fileno=fds.pop())
        assert listener.getsockname() == ("127.0.0.1", PORT)
        assert listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) == 1
        for fd in fds:
            os.close(fd)
        assert answer(sock)[0] is not None  # ENDED
        with pytest.raises(BlockingIOError):
            listener.accept()
        listener.close()


def open_files(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def network_namespaces():
    found = set()
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            found.add(os.readlink(f"/proc/{name}/ns/net"))
        except OSError:
            continue
    return found


def test_a_thousand_runs_leave_nothing(new_warden):
    warden = new_warden(sandbox_parked=1)
    own = os.readlink(f"/proc/{warden.pid}/ns/net")
    assert warden.run(["/bin/true"], listen=[PORT])["exit_code"] == 0
    wait_until(lambda: len(warden.sandboxes()) == 1)  # the parked one
    files = open_files(warden.pid)
    for _ in range(1000):
        with talk(warden) as sock:
            sock.send(request(listen=(PORT, 0)))
            kind, _, fds = answer(sock)
            assert kind == STARTED and len(fds) == 6
            for fd in fds:
                os.close(fd)
    wait_until(lambda: len(warden.sandboxes()) == 1 and open_files(warden.pid) <= files + 1)
    threads = {os.readlink(f"/proc/{warden.pid}/task/{task}/ns/net") for task in os.listdir(f"/proc/{warden.pid}/task")}
    assert threads == {own}
    children = open(f"/proc/{warden.pid}/task/{warden.pid}/children", encoding="utf-8").read().split()
    assert len(children) <= 2  # the parked one, and one that is being made
    assert warden.stop(signal.SIGTERM) == 0
