"""Code nodes: three languages in a sandbox, and what becomes of tools that misbehave."""

import pathlib

import pytest

from kit.flows import Flow, ex, of
from kit.waiting import wait_until


def code(source, language="python", **data):
    return Flow().code("c", source, language, **data).output(ex(of("c")))


def run(admin, source, language="python", inputs=None, seconds=30.0, **data):
    return admin.run(code(source, language, **data), inputs, seconds)


def ok(answer):
    assert answer["execution"]["status"] == "succeeded", (answer["execution"]["error"], answer["logs"])
    return answer["execution"]["outputs"]


def fault(answer, *codes):
    assert answer["execution"]["status"] == "failed", answer["execution"]
    error = answer["node"]["c"]["error"]
    assert error["code"] in codes and error["message"], error
    assert answer["execution"]["error"]["node_id"] == "c"
    return error


@pytest.fixture(autouse=True)
def unharmed_host():
    """The host's /dev/null keeps owner and mode whatever a tool does (crun can change them)."""
    before = pathlib.Path("/dev/null").stat()
    yield
    after = pathlib.Path("/dev/null").stat()
    assert (after.st_mode, after.st_uid, after.st_gid) == (before.st_mode, before.st_uid, before.st_gid)


SOURCES = {
    "python": "import json, sys\nvalue = json.load(sys.stdin)\nprint(json.dumps({'sum': sum(value['n'])}))",
    "javascript": "let text = ''; process.stdin.on('data', c => text += c).on('end', () => {"
                  "console.log(JSON.stringify({sum: JSON.parse(text).n.reduce((a, b) => a + b)}))})",
    "bash": "numbers=$(tr -cd '0-9,' | tr ',' ' '); total=0; for n in $numbers; do total=$((total + n)); done; "
            "echo \"{\\\"sum\\\": $total}\"",
}


@pytest.mark.parametrize("language", SOURCES)
def test_each_language_reads_json_and_writes_json(admin, language):
    answer = run(admin, SOURCES[language], language, {"n": [1, 2, 39]}, input={"n": ex(".inputs.n")})
    assert ok(answer) == {"sum": 42}
    receipt = answer["node"]["c"]["receipt"]
    assert receipt["profile"] == "host" and len(receipt["profile_hash"]) == 64, receipt


def test_text_output_on_request(admin):
    assert ok(run(admin, "print('two\\nlines')", parse="text")) in ("two\nlines", "two\nlines\n")


def test_log_lines_are_kept_with_their_node(admin):
    answer = run(admin, "import sys; print('first', file=sys.stderr); print('zweite ü', file=sys.stderr); print(1)")
    ok(answer)
    assert all((piece["node_id"], piece["stream"]) == ("c", "stderr") for piece in answer["logs"])
    # lines that come together are one piece
    assert "\n".join(piece["text"] for piece in answer["logs"]) == "first\nzweite ü"


def test_files_inside_are_gone_for_the_next_run(admin):
    source = ("import os, json\nnew = not os.path.exists('/work/out/mark') and not os.path.exists('/tmp/mark')\n"
              "open('/work/out/mark', 'w').write('x'); open('/tmp/mark', 'w').write('x')\nprint(json.dumps(new))")
    flow_id = admin.create(code(source))
    assert [ok(admin.run(flow_id)) for _ in range(3)] == [True] * 3


def test_inside_there_are_no_rights_no_network_and_no_neighbours(admin):
    source = """
import json, os, socket
def tried(call):
    try:
        call()
        return "worked"
    except OSError as error:
        return "refused"
print(json.dumps({
    "uid": os.getuid(), "fds": sorted(int(n) for n in os.listdir("/proc/self/fd") if int(n) > 2)[1:],
    "pids": sorted(int(n) for n in os.listdir("/proc") if n.isdigit() and int(n) > 2 and int(n) != os.getpid()),
    "connect": tried(lambda: socket.create_connection(("127.0.0.1", 5432), 1)),
    "netlink": tried(lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)),
    "write": tried(lambda: open("/usr/x", "w")), "shadow": tried(lambda: open("/etc/shadow").read()),
    "setuid": tried(lambda: os.setuid(0)), "null": tried(lambda: os.chmod("/dev/null", 0o600)),
    "chroot": tried(lambda: os.chroot("/tmp")), "environment": sorted(os.environ)}))
"""
    seen = ok(run(admin, source))
    assert seen["uid"] != 0 and seen["fds"] == [] and seen["pids"] == []
    for what in ("connect", "netlink", "write", "shadow", "setuid", "null", "chroot"):
        assert seen[what] == "refused", (what, seen)
    assert not [name for name in seen["environment"] if name.startswith("WINDLASS") or "URL" in name or "KEY" in name]


# ---- tools that misbehave ----------------------------------------------------------------------
def test_a_non_zero_exit_fails_with_the_tail_of_stderr(admin):
    error = fault(run(admin, "import sys; print('the reason', file=sys.stderr); sys.exit(3)"), "exit")
    assert "the reason" in error["detail"]["stderr"] and "3" in error["message"]


def test_an_exception_shows_its_line(admin):
    error = fault(run(admin, "raise ValueError('so much for that')"), "exit")
    assert "ValueError: so much for that" in error["detail"]["stderr"]


@pytest.mark.parametrize("source", ["print('not json')", "print('{\"a\":')", "pass", "print('1 2')",
                                    "import sys; sys.stdout.buffer.write(b'\"\\xff\\xfe\"')",
                                    "import os; os.write(1, os.urandom(4096))"])
def test_garbage_instead_of_json(admin, source):
    fault(run(admin, source), "output_not_json")


def test_a_flood_is_cut_off(admin):
    fault(run(admin, "import sys\nwhile True: sys.stdout.write('x' * 65536)", seconds=30), "output_cap")


def test_a_flood_of_log_lines_is_cut_off_and_harms_nobody(admin):
    answer = run(admin, "import sys\nfor _ in range(200000): sys.stderr.write('y' * 100 + '\\n')\nprint(1)", seconds=40)
    assert answer["execution"]["status"] in ("succeeded", "failed")
    if answer["execution"]["status"] == "failed":
        fault(answer, "output_cap")
    assert len(str(answer["logs"])) < (8 << 20)


def test_a_tool_that_hangs_is_ended_by_its_time_limit(admin):
    answer = run(admin, "import time; time.sleep(600)", timeout_s=1, seconds=15)
    fault(answer, "timeout")


def test_a_tool_that_ignores_sigterm_is_ended_all_the_same(admin):
    source = "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nwhile True: time.sleep(1)"
    fault(run(admin, source, timeout_s=1, seconds=15), "timeout")


def test_a_memory_hog_is_told_from_other_ends(admin):
    answer = run(admin, "x = bytearray(900 << 20)\nfor i in range(0, len(x), 4096): x[i] = 1\nprint(1)",
                 limits={"memory_mb": 64})
    fault(answer, "oom")
    assert answer["node"]["c"]["receipt"]["limits"]["memory_mb"] == 64


def test_a_signal_is_named(admin):
    error = fault(run(admin, "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)"), "signal")
    assert "SEGV" in str(error) or "11" in str(error)


def test_a_fork_bomb_harms_its_node_alone(admin):
    other = admin.start(Flow().output(1))
    answer = run(admin, ":(){ :|:& };:; sleep 30", "bash", timeout_s=3, seconds=30)
    assert answer["execution"]["status"] == "failed"
    assert admin.wait(other)["execution"]["status"] == "succeeded"
    assert ok(run(admin, "print(1)")) == 1


def test_children_die_with_their_node(admin):
    mark = f"orphan{admin.tenant}"
    source = f"import subprocess\nsubprocess.Popen(['bash', '-c', 'exec -a {mark} sleep 300'], start_new_session=True)\nprint(1)"
    ok(run(admin, source, seconds=20))

    def gone():
        return not any(mark.encode() in read(entry / "cmdline") for entry in pathlib.Path("/proc").iterdir()
                       if entry.name.isdigit())
    wait_until(gone, "the end of a child that its node left behind", 10)


def read(path):
    try:
        return path.read_bytes()
    except OSError:
        return b""


def test_a_disk_filler_is_stopped(admin):
    source = ("import errno, json\nwritten = 0\ntry:\n  for number in range(64):\n    with open(f'/work/{number}', 'wb') as f:\n"
              "      for _ in range(64): written += f.write(bytes(1 << 20))\nexcept OSError as e: print(json.dumps(e.errno in "
              "(errno.ENOSPC, errno.EFBIG, errno.EDQUOT)))\nelse: print('\"wrote all\"')")
    answer = run(admin, source, seconds=40)
    if answer["execution"]["status"] == "succeeded":
        assert answer["execution"]["outputs"] is True
    else:
        fault(answer, "oom", "signal", "exit")


def test_retry_of_a_tool_runs_it_again_in_a_fresh_sandbox(admin):
    answer = run(admin, "import sys; sys.exit(1)", retry={"attempts": 3, "backoff": "none"})
    fault(answer, "exit")
    assert answer["node"]["c"]["attempt"] == 3


def test_on_error_lets_the_run_go_on_after_a_tool_died(admin):
    flow = (Flow().code("c", "import os; os.abort()", on_error="branch")
            .transform("good", 1, after="c").transform("rescue", ex(of("c") + " | type"), after=("c", "error"))
            .add("end", "join", after=["good", "rescue"], mode="any").output("went on"))
    answer = admin.run(flow)
    assert ok(answer) == "went on" and answer["node"]["c"]["error"]["code"] == "signal"


@pytest.mark.parametrize("limits", [{"memory_mb": 10 ** 7}, {"pids": 10 ** 6}])
def test_a_limit_above_the_profiles_is_refused(admin, limits):
    flow = code("print(1)", limits=limits)
    answer = admin.post("flows", json={"name": "greedy", **flow.document()})
    if answer.status_code == 201:
        done = admin.wait(admin.start(answer.json()["flow"]["id"]))["execution"]
        assert done["status"] == "failed" and done["error"]["code"] in ("sandbox", "input_invalid"), done
    else:
        assert answer.status_code in (400, 422)


def test_parallel_python_and_bash_then_joined(admin):
    flow = (Flow().code("words", "import sys, json; print(len(json.load(sys.stdin).split()))", input=ex(".inputs.text"),
                        after="start")
            .code("bytes", "wc -c", "bash", input=ex(".inputs.text"), after="start")
            .add("all", "join", after=["words", "bytes"]).output(ex(of("all"))))
    text = pathlib.Path("/usr/share/common-licenses/Apache-2.0").read_text()
    words, size = ok(admin.run(flow, {"text": text}))
    assert words == len(text.split()) and size >= len(text.encode())
