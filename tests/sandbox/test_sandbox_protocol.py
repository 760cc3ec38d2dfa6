"""The way through the warden: results, bad requests, queueing, and who may ask."""

import concurrent.futures
import errno
import json
import os
import socket
import struct
import subprocess

import pytest

from sandbox_kit import wait_until

REQUEST = struct.Struct("=IHHIIIIIIIIHH32s96s")
MAGIC, VERSION, RUN, KILL, REFUSED, STARTED, ENDED = 0x57415244, 3, 1, 2, 3, 4, 5
REPLY_HEAD = struct.Struct("=IHHII256s")


def request(kind=RUN, tenant=1, profile=b"host", identity=b"test", magic=MAGIC, version=VERSION, reason=0, grace=0, listen=(0, 0)):
    return REQUEST.pack(magic, version, kind, tenant, reason, grace, 0, 0, 0, 0, 0, *listen, profile, identity)


def talk(warden):
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    sock.connect(warden.socket)
    sock.settimeout(20)
    return sock


def answer(sock):
    data, fds, _, _ = socket.recv_fds(sock, 4096, 8)
    if not data:
        return None, "", []
    head = REPLY_HEAD.unpack_from(data)
    return head[2], head[5].rstrip(b"\0").decode(), fds


def test_input_output_log_and_exit_code(warden):
    source = "import sys\nsys.stdout.write(sys.stdin.read().upper())\nprint('note', file=sys.stderr)\nsys.exit(7)"
    result = warden.python(source, stdin="some words\n")
    assert result["reason"] == "exited" and result["exit_code"] == 7 and result["signal"] == 0
    assert result["output"] == "SOME WORDS\n" and result["log_tail"] == "note\n"


def test_large_input_and_output_flow_at_the_same_time(warden):
    text = "0123456789abcdef" * (1 << 18)
    result = warden.run(["/bin/cat"], stdin=text, output_kb=16384)
    assert result["output_length"] == len(text) and result["output"] == text


def test_a_program_that_does_not_read_its_input_is_no_failure(warden):
    result = warden.run(["/bin/true"], stdin="x" * (4 << 20))
    assert result["reason"] == "exited" and result["exit_code"] == 0


DIALOGUE = """import sys
print(1, flush=True)
for line in sys.stdin:
    print(int(line) * 2, flush=True)
print("end")"""


def test_a_dialogue_over_an_input_that_stays_open(warden):
    result = warden.python(DIALOGUE, echo=5)
    assert result["exit_code"] == 0
    assert result["output"] == "1\n2\n4\n8\n16\n32\nend\n"


def test_a_dialogue_comes_behind_the_input_of_the_request(warden):
    result = warden.run(["/bin/cat"], stdin="first\n", echo=3)
    assert result["exit_code"] == 0 and result["output"] == "first\n" * 4


def test_an_input_that_stays_open_ends_with_the_time_limit_or_a_cancel(warden):
    result = warden.run(["/bin/cat"], flags=["open"], stdin="some", wall_ms=500)
    assert result["reason"] == "timeout" and result["output"] == "some"
    source = "import sys\nprint('ready', file=sys.stderr)\nsys.stdin.read()"
    assert warden.python(source, flags=["open", "cancel-on-log"])["reason"] == "cancelled"


def test_a_program_that_does_not_read_its_dialogue_holds_nobody_up(warden):
    source = "while True:\n  print('x' * 65535, flush=True)"
    result = warden.python(source, echo=1000, output_kb=16384)
    assert result["reason"] == "output_cap" and result["output_length"] == 16384 << 10
    # closed by the program: what is put is refused, and the run is none the worse
    source = "import os\nos.close(0)\nfor n in range(99): print(n, flush=True)"
    assert warden.python(source, echo=1000)["exit_code"] == 0


def test_an_open_input_costs_no_processor_while_nothing_is_said(warden):
    before = os.times()
    result = warden.run(["/bin/sleep", "1"], flags=["open"])
    after = os.times()
    assert result["reason"] == "exited"
    assert after.children_user + after.children_system - before.children_user - before.children_system < 0.5


def test_files_arguments_and_variables_arrive_as_they_are(warden):
    text = "".join(chr(c) for c in range(1, 0x250))
    result = warden.run(
        ["/bin/bash", "-c", 'cat in/deep/er/f; stat -c %a in/deep/er/f in/run; echo "$1|$V"', "x", "two  words ä"],
        files={"in/deep/er/f": text, "in/run": "#!/bin/true\n"},
        env={"V": "ü $HOME"},
    )
    assert result["output"] == text + "600\n600\ntwo  words ä|ü $HOME\n"


@pytest.mark.parametrize("path", ["../up", "/abs", "a/../../b", "a//b", "./a", "a/"])
def test_files_outside_of_work_are_refused(warden, path):
    result = warden.run(["/bin/true"], files={path: "x"})
    assert result["exit_code"] == 125 and "path" in result["log_tail"]


def test_a_program_that_is_not_there_says_so(warden):
    result = warden.run(["/usr/bin/no-such-program"])
    assert result["exit_code"] == 127 and "there is no such program" in result["log_tail"]


def test_javascript_without_a_runtime_folder_is_refused_with_a_sentence(warden):
    result = warden.run(["/opt/runtime/bin/node"])
    assert result["error"] == errno.ENOENT and "WINDLASS_RUNTIME_DIR" in result["text"]


def test_runtime_folder_is_shown_read_only(new_warden, tmp_path):
    node = tmp_path / "bin" / "node"
    node.parent.mkdir()
    node.write_text("#!/bin/bash\necho ran; touch /opt/runtime/x\n")
    node.chmod(0o755)
    for folder in (tmp_path, node.parent):
        folder.chmod(0o755)
    result = new_warden(runtime_dir=str(tmp_path)).run(["/opt/runtime/bin/node"])
    assert result["output"] == "ran\n" and "Read-only" in result["log_tail"]


def test_later_runs_are_warm_and_no_parking_is_always_cold(warden, new_warden):
    assert warden.run(["/bin/true"], tenant=77)["receipt"]["warm"] is False
    wait_until(lambda: warden.run(["/bin/true"], tenant=77)["receipt"]["warm"])
    cold = new_warden(sandbox_parked=0)
    assert [cold.run(["/bin/true"])["receipt"]["warm"] for _ in range(3)] == [False] * 3


def test_more_runs_than_slots_wait_and_all_finish(new_warden):
    warden = new_warden(sandbox_slots=2, sandbox_parked=2)
    with concurrent.futures.ThreadPoolExecutor(12) as pool:
        jobs = [pool.submit(warden.run, ["/bin/echo", str(n)], tenant=1 + n % 3) for n in range(24)]
        results = [job.result() for job in jobs]
    assert [r["output"] for r in results] == [f"{n}\n" for n in range(24)]
    assert {r["reason"] for r in results} == {"exited"}


def test_a_quiet_tenant_does_not_wait_behind_a_noisy_one(new_warden):
    warden = new_warden(sandbox_slots=1)
    noisy = [talk(warden)]
    noisy[0].send(request(tenant=1))
    kind, _, fds = answer(noisy[0])  # holds the only slot
    assert kind == STARTED
    for _ in range(7):
        noisy.append(talk(warden))
        noisy[-1].send(request(tenant=1))
    quiet = talk(warden)
    quiet.send(request(tenant=2))
    all_were_read(warden)
    for fd in fds:
        os.close(fd)  # its control pipe is closed: the sandbox ends
    assert answer(noisy[0])[0] == ENDED
    kind, _, fds = answer(quiet)
    assert kind == STARTED
    assert all(not readable(sock) for sock in noisy[1:])
    for fd in fds:
        os.close(fd)
    for sock in [*noisy, quiet]:
        sock.close()


def all_were_read(warden):
    """A request that is refused at once, made last: when its answer is there, those before it were taken up."""
    with talk(warden) as last:
        last.send(request(profile=b"nothing"))
        assert answer(last)[0] == REFUSED


def readable(sock):
    sock.setblocking(False)
    try:
        return bool(sock.recv(1, socket.MSG_PEEK))
    except BlockingIOError:
        return False


def test_too_many_waiting_runs_of_one_tenant_are_refused_as_busy(new_warden):
    warden = new_warden(sandbox_slots=1)
    socks = [talk(warden) for _ in range(258)]
    for sock in socks:
        sock.send(request(tenant=3))
    kind, text, _ = answer(socks[-1])
    assert kind == REFUSED and "wait for a sandbox already" in text
    other = talk(warden)
    other.send(request(tenant=4))
    for sock in socks:
        sock.close()
    assert answer(other)[0] == STARTED
    other.close()


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"x",
        request()[:-1],
        request() + b"x",
        request(magic=1),
        request(version=1),
        request(kind=0),
        request(kind=ENDED),
        os.urandom(REQUEST.size),
        request(kind=KILL, reason=99),
        request(kind=KILL, reason=4, grace=60001),
    ],
    ids=["empty", "short", "cut", "long", "magic", "version", "kind0", "kind5", "noise", "reason", "grace"],
)
def test_whoever_breaks_the_protocol_is_cut_off(warden, message):
    with talk(warden) as sock:
        sock.send(message)
        assert answer(sock)[0] is None
    assert warden.run(["/bin/true"])["exit_code"] == 0


@pytest.mark.parametrize(
    "message, word",
    [
        (request(profile=b"nothing"), "profile"),
        (request(profile=b"../host"), "profile"),
        (request(profile=b"x" * 32), "NUL"),
        (request(identity=b"a\nb"), "printable"),
        (request(tenant=0), "tenant"),
    ],
    ids=["unknown", "path", "endless", "control", "tenant"],
)
def test_wrong_requests_get_a_sentence_and_the_connection_stays(warden, message, word):
    with talk(warden) as sock:
        sock.send(message)
        kind, text, _ = answer(sock)
        assert kind == REFUSED and word in text
        sock.send(request())
        kind, _, fds = answer(sock)
        assert kind == STARTED and len(fds) == 5
        for fd in fds:
            os.close(fd)
        assert answer(sock)[0] == ENDED


def test_two_runs_at_once_on_one_connection_break_the_protocol(warden):
    with talk(warden) as sock:
        sock.send(request())
        kind, _, fds = answer(sock)
        assert kind == STARTED
        sock.send(request())
        assert answer(sock)[0] is None
        for fd in fds:
            os.close(fd)


def test_a_client_that_goes_away_takes_its_sandbox_along(warden):
    running = warden.popen(["/bin/bash", "-c", "echo 4323 >&2; sleep 4323"])
    wait_until(lambda: "4323" in all_arguments())
    running.kill()
    running.communicate()
    wait_until(lambda: "4323" not in all_arguments())


def test_other_users_cannot_connect(warden):
    if os.geteuid() != 0:
        pytest.skip("becoming another user needs root")
    os.chmod(warden.folder.name, 0o755)
    done = subprocess.run(
        ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", *warden.command(["/bin/true"])],
        capture_output=True,
    )
    assert json.loads(done.stdout)["error"] == errno.EACCES
    os.chmod(warden.socket, 0o666)  # even then the peer's user id is looked at
    done = subprocess.run(
        ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", *warden.command(["/bin/true"])],
        capture_output=True,
    )
    assert json.loads(done.stdout)["error"] == errno.EIO
    os.chmod(warden.socket, 0o600)


def test_the_named_user_can_connect(new_warden):
    if os.geteuid() != 0:
        pytest.skip("becoming another user needs root")
    warden = new_warden(warden_client_uid=65534)
    os.chmod(warden.folder.name, 0o755)
    done = subprocess.run(
        ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", *warden.command(["/bin/true"])],
        capture_output=True,
    )
    assert json.loads(done.stdout)["exit_code"] == 0


def test_check_tells_what_works(built):
    assert "ok: a program ran in a sandbox" in built and "missing" not in built


def all_arguments():
    words = set()
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/cmdline", "rb") as file:
                words.update(file.read().decode("utf-8", "replace").split("\0"))
        except OSError:
            continue
    return words
