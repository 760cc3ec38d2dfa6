"""The command line against a scripted server: lost connections, hostile answers, tokens, Ctrl-C; and without any."""

import concurrent.futures
import json
import os
import re
import signal
import socket
import stat
import struct
import subprocess
import threading

import pytest

from kit.cli import PROGRAM, ROOT, Cli, Peer, event, problem

EID = "01890a5d-ac96-774b-bcce-b302099a8057"
FID = "01890a5d-ac96-774b-bcce-b302099a8058"
TIME = "2026-05-01T09:30:0{}.000Z"
FLOW = {"id": FID, "name": "f", "description": "", "status": "draft", "nodes": [], "edges": [], "input_schema": {
    "type": "object", "properties": {"n": {"type": "integer"}}}}


@pytest.fixture
def peer():
    with Peer() as server:
        yield server


@pytest.fixture
def cli(tmp_path, peer):
    """Logged in by a token of the environment."""
    return Cli(tmp_path / "home", peer.url, WINDLASS_TOKEN="token")


def runnable(peer, stream):
    """A server with one flow whose execution's events are `stream(request)`."""
    peer.on("GET", "/flows", {"flows": [FLOW], "total": 1, "page_info": {"page": 1, "limit": 100, "pages": 1}})
    peer.on("GET", f"/flows/{FID}", {"flow": FLOW, "versions": []})
    peer.on("POST", f"/flows/{FID}/execute", lambda _: (202, {"execution_id": EID, "status": "queued"}, {}))
    peer.on("GET", f"/executions/{EID}/stream", stream)
    return peer


def execution(status, outputs=None, nodes=(), logs=(), error=None):
    return {"execution": {"id": EID, "status": status, "outputs": outputs, "error": error}, "nodes": list(nodes),
            "logs": list(logs)}


def node(event_id, name, status, second, **more):
    return event(event_id, "node", node_id=name, status=status, attempt=1, time=TIME.format(second), **more)


def end(event_id, status, **more):
    return event(event_id, "end", execution_id=EID, status=status, time=TIME.format(9), **more)


# ---- following -----------------------------------------------------------------------------------
def test_follow_shows_progress_then_outputs(peer, cli):
    def stream(_):
        yield b": hello\n\n"
        yield node("1-0", "a", "running", 1) + node("1-1", "a", "succeeded", 2)
        yield event("1-2", "log", node_id="a", time=TIME.format(2), stream="stderr", text="a line")
        yield end("1-3", "succeeded", outputs={"x": [1], "t": "text"})
    runnable(peer, stream)
    done = cli("run", "f", "--input", "n=3", "--follow")
    assert json.loads(done.stdout) == {"x": [1], "t": "text"}
    assert re.search(r"running +a\n", done.stderr) and re.search(r"succeeded +a +1\.0 s\n", done.stderr)
    assert "a | a line" in done.stderr and done.stderr.endswith("succeeded\n") and EID in done.stderr
    sent = peer.calls("POST", f"/flows/{FID}/execute")[0]
    assert sent.json == {"inputs": {"n": 3}, "config": {}} and sent.headers["Idempotency-Key"]
    assert cli("run", "f", "--follow", "--get", "t").stdout == "text\n"
    assert cli("run", "f", "--follow", "--get", "absent", code=1).stdout == ""
    assert "\033" not in done.stderr + done.stdout


@pytest.mark.parametrize("status, code", [("succeeded", 0), ("failed", 1), ("cancelled", 3), ("timeout", 4)])
def test_the_exit_code_tells_how_it_ended(peer, cli, status, code):
    error = {"code": "exit", "message": "ended with 3", "node_id": "a", "detail": {"stderr": "the reason\n"}}
    runnable(peer, lambda _: iter([end("1-0", status, outputs={}, **({"error": error} if code == 1 else {}))]))
    done = cli("run", "f", "--follow", code=code)
    if code == 1:
        assert "node a: ended with 3 (exit)" in done.stderr and "the reason" in done.stderr
    assert (done.stdout == "") == (code != 0)
    assert json.loads(cli("run", "f", "--follow", "--json", code=code).stdout)["data"]["status"] == status


def test_a_cut_stream_goes_on_behind_the_last_event(peer, cli):
    pieces = [node("1-0", "a", "running", 1), node("1-1", "a", "succeeded", 2), node("1-2", "b", "running", 3),
              end("1-3", "succeeded", outputs=7)]
    ids = []

    def stream(request):
        ids.append(request.headers.get("Last-Event-ID"))
        at = 0 if ids[-1] is None else int(ids[-1].partition("-")[2]) + 1
        yield pieces[at]
    runnable(peer, stream)
    done = cli("run", "f", "--follow", "--json")
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert [one["id"] for one in events] == ["1-0", "1-1", "1-2", "1-3"] and ids == [None, "1-0", "1-1", "1-2"]
    assert events[-1] == {"event": "end", "id": "1-3", "data": events[-1]["data"]} and events[-1]["data"]["outputs"] == 7


def test_a_server_that_is_away_for_a_moment(peer, cli):
    answers = iter(["away", "drains", "cut"])

    def stream(_):
        answer = next(answers, "end")
        if answer == "drains":
            return problem(503, "draining", **{"Retry-After": "1"})
        if answer == "away":
            return problem(502, "bad gateway")
        return iter([] if answer == "cut" else [end("1-0", "succeeded", outputs=1)])
    runnable(peer, stream)
    assert cli("run", "f", "--follow").stdout == "1\n"


def test_reset_reads_the_execution_and_goes_on(peer, cli):
    nodes = [{"node_id": "a", "status": "succeeded", "attempt": 1, "start_time": TIME.format(1), "end_time": TIME.format(3)}]
    logs = [{"node_id": "a", "time": TIME.format(2), "stream": "stderr", "text": "from before"}]
    peer.on("GET", f"/executions/{EID}", execution("running", nodes=nodes, logs=logs))
    runnable(peer, lambda _: iter([b"event: reset\ndata: {}\n\n", node("5-0", "b", "running", 4),
                                   end("5-1", "succeeded", outputs="o")]))
    done = cli("run", "f", "--follow")
    assert re.search(r"succeeded +a +2\.0 s", done.stderr) and "a | from before" in done.stderr and "running    b" in done.stderr
    assert done.stdout == '"o"\n' and len(peer.calls("GET", f"/executions/{EID}/stream")) == 1


def test_reset_of_a_run_that_has_ended(peer, cli):
    peer.on("GET", f"/executions/{EID}", execution("cancelled"))
    runnable(peer, lambda _: iter([b"event: reset\ndata: {}\n\n"]))
    cli("run", "f", "--follow", code=3)
    lines = [json.loads(line) for line in cli("run", "f", "--follow", "--json", code=3).stdout.splitlines()]
    assert [line["event"] for line in lines] == ["reset", "end"] and lines[1]["data"]["status"] == "cancelled"


def test_outputs_too_large_for_an_event_are_fetched(peer, cli):
    peer.on("GET", f"/executions/{EID}", execution("succeeded", outputs={"large": "x" * 100000}))
    runnable(peer, lambda _: iter([end("1-0", "succeeded", truncated=True)]))
    assert json.loads(cli("run", "f", "--follow").stdout) == {"large": "x" * 100000}


def test_logs_follow_prints_log_lines_alone(peer, cli):
    def stream(_):
        yield node("1-0", "a", "running", 1)
        for number, name in enumerate(["a", "b", "a"]):
            yield event(f"2-{number}", "log", node_id=name, time=TIME.format(number), stream="stderr", text=f"line {number}\n")
        yield end("3-0", "failed", error={"code": "exit", "message": "m"})
    runnable(peer, stream)
    assert cli("logs", EID, "--follow", code=1).stdout == "a | line 0\nb | line 1\na | line 2\n"
    assert cli("logs", EID, "--follow", "--node", "b", code=1).stdout == "b | line 1\n"


# ---- Ctrl-C --------------------------------------------------------------------------------------
def running_follow(peer, cli, *more):
    """A CLI that has shown the first event of a stream that stays open; (process, how to end the stream)."""
    go_on = threading.Event()

    def stream(_):
        yield node("1-0", "a", "running", 1)
        while not go_on.wait(0.05) and not peer.closing.is_set():
            yield b": still here\n"
        yield end("1-1", "cancelled")
    runnable(peer, stream)
    process = cli.start("run", "f", "--follow", *more)
    while "running" not in (line := process.stderr.readline()):
        assert line, process.wait()
    return process, go_on


def test_an_interrupt_leaves_the_run_alone_and_says_how_to_come_back(peer, cli):
    process, _ = running_follow(peer, cli)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=10)
    assert process.returncode == 130 and f"windlass logs {EID} --follow" in stderr
    assert not peer.calls("POST", f"/executions/{EID}/cancel")


def test_cancel_on_interrupt_cancels_and_waits_for_the_end(peer, cli):
    process, go_on = running_follow(peer, cli, "--cancel-on-interrupt")

    def cancel(_):
        go_on.set()
        return 202, {"execution_id": EID, "status": "cancelling"}, {}
    peer.on("POST", f"/executions/{EID}/cancel", cancel)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=10)
    assert process.returncode == 3 and len(peer.calls("POST", f"/executions/{EID}/cancel")) == 1


def test_a_second_interrupt_leaves(peer, cli):
    process, _ = running_follow(peer, cli, "--cancel-on-interrupt")
    asked = threading.Event()
    peer.on("POST", f"/executions/{EID}/cancel", lambda _: asked.set() or (202, {"status": "cancelling"}, {}))
    process.send_signal(signal.SIGINT)
    assert asked.wait(10)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=10)
    assert process.returncode == 130


# ---- hostile answers -------------------------------------------------------------------------------
def endless(piece):
    while True:
        yield piece


@pytest.mark.parametrize("stream", [
    lambda: endless(b"x" * 65536), lambda: endless(b"data: " + b"y" * 65536 + b"\n"), lambda: iter([b"data: {no json\n\n"]),
    lambda: iter([b"event: node\ndata: [1]\n\n", b"event: end\ndata: 7\n\n"]),
])
def test_a_hostile_stream_ends_the_program_not_the_machine(peer, cli, stream):
    runnable(peer, lambda _: stream())
    done = subprocess.run([PROGRAM, "run", "f", "--follow"], env=cli.env, capture_output=True, text=True, timeout=30)
    assert done.returncode in (1, 5) and done.stderr


@pytest.mark.parametrize("answer, code", [
    ((200, b"not json", {}), 5), ((200, b"", {}), 5), ((200, {}, {}), 0), ((200, [1, [2]], {}), 0), ((500, b"<html>", {}), 6),
    ((200, {"flows": [7, None, {"id": 7, "name": ["x"]}], "page_info": {"pages": 1e300}}, {}), 0),
    ((302, b"", {"Location": "http://127.0.0.1:1/"}), 5), ((200, b"[" * 100000, {}), 5), ((418, {"detail": 7}, {}), 6),
])
def test_answers_that_make_no_sense(peer, cli, answer, code):
    peer.on("GET", "/flows", lambda _: answer)
    done = cli("flows", code=code)
    assert code == 0 or done.stderr.startswith("windlass: ")


def test_an_answer_without_end_is_cut_off(peer, cli):
    peer.on("GET", "/flows", lambda _: endless(b" " * (1 << 20)))
    assert "larger than" in cli("flows", code=5).stderr


def test_answers_cannot_steer_the_terminal(peer, cli):
    evil = "\033]0;title\007\033[2J\u009b31m"
    peer.on("GET", "/flows", lambda _: problem(400, evil, [{"path": evil, "message": evil}]))
    refused = cli("flows", code=6)
    peer.on("GET", "/flows", {"flows": [{**FLOW, "name": evil}], "page_info": {"pages": 1}})
    shown = cli("flows")
    for text in (refused.stderr, shown.stdout):
        assert "\033" not in text and "\007" not in text and "\u009b" not in text and "\\x1b]0;title" in text


def test_a_refusal_shows_every_fault_with_its_path(peer, cli):
    faults = [{"path": "nodes[1].data.source", "message": "is missing"}, {"path": "edges[0]", "message": "dangles"}]
    peer.on("GET", "/flows", lambda _: problem(422, "the flow has faults", faults))
    lines = cli("flows", code=6).stderr.splitlines()
    assert lines == ["windlass: the flow has faults", "  nodes[1].data.source: is missing", "  edges[0]: dangles"]
    peer.on("GET", "/flows", lambda _: problem(429, "too many", **{"Retry-After": "17"}))
    assert "try again in 17 s" in cli("flows", code=6).stderr


def test_a_token_goes_nowhere_else(peer, cli):
    with Peer() as other:
        other.on("GET", "/flows", {"flows": []})
        peer.on("GET", "/flows", lambda _: (307, b"", {"Location": other.url + "/api/v1/flows"}))
        cli("flows", code=5)
        assert peer.seen[-1].headers["Authorization"] == "Bearer token" and not other.seen


# ---- logins ----------------------------------------------------------------------------------------
def accounts(peer):
    """A server whose access tokens a0, a1, ... end when `accounts.valid` moves on; refresh tokens work once."""
    state = {"valid": 0, "refreshed": []}
    lock = threading.Lock()

    def tokens(number):
        return {"access_token": f"a{number}", "refresh_token": f"refresh-token-{number}", "token_type": "Bearer", "expires_in": 1}

    def refresh(request):
        with lock:
            given = request.json["refresh_token"]
            if given in state["refreshed"] or given != f"refresh-token-{state['valid'] - 1}":
                return problem(401, "used up")
            state["refreshed"].append(given)
            return 200, tokens(state["valid"]), {}

    def guarded(answer):
        return lambda request: (answer if request.headers.get("Authorization") == f"Bearer a{state['valid']}"
                                else problem(401, "no valid token"))
    login = {**tokens(0), "user": {"id": EID, "email": "you@example.com", "role": "editor"},
             "tenant": {"id": 1, "slug": "demo", "name": "Demo"}}
    peer.on("POST", "/auth/register", lambda r: (201, {**tokens(0), "tenant_id": 1, "user_id": EID}, {}))
    peer.on("POST", "/auth/login", lambda r: (200, login, {}) if r.json["password"] == "right password" else problem(401, "wrong"))
    peer.on("POST", "/auth/refresh", refresh)
    peer.on("POST", "/auth/logout", lambda r: (204, b"", {}))
    peer.on("GET", "/flows", guarded((200, {"flows": []}, {})))
    return state


@pytest.fixture
def visitor(tmp_path, peer):
    """Nobody yet; the server is ready."""
    peer.on("GET", "/readyz", {"status": "ready"})
    return Cli(tmp_path / "home", peer.url)


def test_login_is_kept_for_its_owner_alone(peer, visitor):
    accounts(peer)
    assert "not logged in" in visitor("flows", code=5).stderr
    os.umask(0)
    done = visitor("login", "--email", "you@example.com", "--password-file", "-", text="right password\n")
    assert "you@example.com, tenant demo, role editor" in done.stdout
    assert stat.S_IMODE(visitor.credentials.stat().st_mode) == 0o600
    assert stat.S_IMODE(visitor.credentials.parent.stat().st_mode) == 0o700
    assert "right password" not in visitor.credentials.read_text()
    peer.on("GET", "/auth/me", {"user": {"email": "you@example.com", "role": "editor"}, "tenant": {"slug": "demo"},
                                "role": "editor", "api_key": None})
    who = visitor.json("whoami")
    assert who == {"url": peer.url, "email": "you@example.com", "tenant": "demo", "role": "editor"}
    del visitor.env["WINDLASS_URL"]          # the last login is the one that counts
    assert visitor.json("whoami")["url"] == peer.url
    visitor("logout")
    assert peer.calls("POST", "/auth/logout")[0].json == {"refresh_token": "refresh-token-0"}
    assert "a0" not in visitor.credentials.read_text()
    visitor("logout", "--url", peer.url, code=5)


def test_one_server_never_gets_the_token_of_another(peer, visitor):
    accounts(peer)
    visitor("login", "--email", "you@example.com", WINDLASS_PASSWORD="right password")
    with Peer() as other:
        other.on("GET", "/flows", {"flows": []})
        visitor("flows", "--url", other.url, code=5)
        assert not other.seen


def test_wrong_passwords(peer, visitor):
    accounts(peer)
    visitor("login", "--email", "a@b.c", code=5, WINDLASS_PASSWORD="wrong")
    visitor("login", "--email", "a@b.c", "--password-file", "-", code=2, text="\n")
    visitor("login", "--email", "a@b.c", "--password-file", "-", code=2, text="x" * 201)
    visitor("login", "--email", "a@b.c", "--password-file", "absent", code=2)
    visitor("login", "--email", "a@b.c", "--password", "right password", code=2)
    visitor("login", code=2)
    assert not visitor.credentials.exists()


def test_register_asks_twice_without_echo(peer, visitor):
    accounts(peer)
    words = ["register", "--tenant", "demo", "--email", "you@example.com"]
    code, shown = visitor.on_terminal(*words, answers=[("password: ", "long enough\n"), ("again: ", "long enough\n")])
    assert code == 0 and "long enough" not in shown and "tenant demo, role admin" in shown
    assert peer.calls("POST", "/auth/register")[0].json == {
        "email": "you@example.com", "password": "long enough", "tenant_name": "demo", "tenant_slug": "demo"}
    code, shown = visitor.on_terminal(*words, answers=[("password: ", "long enough\n"), ("again: ", "another one\n")])
    assert code == 2 and "differ" in shown and len(peer.calls("POST", "/auth/register")) == 1
    code, shown = visitor.on_terminal(*words, answers=[("password: ", "\x03")])
    assert code == 130


def test_an_ended_access_token_is_renewed(peer, visitor):
    state = accounts(peer)
    visitor("login", "--email", "you@example.com", WINDLASS_PASSWORD="right password")
    state["valid"] = 1
    assert visitor.json("flows") == {"flows": []}
    assert state["refreshed"] == ["refresh-token-0"] and "refresh-token-1" in visitor.credentials.read_text()
    visitor("flows")
    assert len(state["refreshed"]) == 1
    state["valid"] = 3                       # nothing renews the login any more
    assert "use windlass login" in visitor("flows", code=5).stderr


def test_calls_at_the_same_time_use_a_refresh_token_once(peer, visitor):
    """A refresh token that is shown twice ends the login, so the others must wait and take what the first one got."""
    state = accounts(peer)
    visitor("login", "--email", "you@example.com", WINDLASS_PASSWORD="right password")
    state["valid"] = 1
    with concurrent.futures.ThreadPoolExecutor(12) as pool:
        list(pool.map(lambda _: visitor("flows"), range(12)))
    assert state["refreshed"] == ["refresh-token-0"] and len(peer.calls("POST", "/auth/refresh")) == 1


def test_a_follow_outlives_its_token(peer, visitor):
    state = accounts(peer)
    visitor("login", "--email", "you@example.com", WINDLASS_PASSWORD="right password")

    def stream(request):
        if request.headers["Authorization"] != f"Bearer a{state['valid']}":
            return problem(401, "no valid token")
        if state["valid"] == 1:
            return iter([end("1-1", "succeeded", outputs=1)])
        state["valid"] = 1
        return iter([node("1-0", "a", "running", 1)])
    peer.on("GET", f"/executions/{EID}/stream", stream)
    visitor("logs", EID, "--follow")
    assert peer.calls("GET", f"/executions/{EID}/stream")[-1].headers["Last-Event-ID"] == "1-0"


def test_a_token_of_the_environment_is_not_renewed(peer, cli):
    accounts(peer)
    assert "WINDLASS_TOKEN" in cli("flows", code=5).stderr
    assert not peer.calls("POST", "/auth/refresh")
    cli("flows", code=2, WINDLASS_TOKEN="a\nX-Evil: 1")


@pytest.mark.parametrize("content", ["", "[]", "{", '{"logins": 7}', '{"last": 3, "logins": [7, {"url": {}}]}',
                                     '{"logins": [{"url": "%URL", "access_token": "' + "x" * 9000 + '"}]}'])
def test_a_damaged_login_file_is_an_error_or_no_login(peer, visitor, content):
    visitor.credentials.parent.mkdir(parents=True)
    visitor.credentials.write_text(content.replace("%URL", peer.url))
    done = subprocess.run([PROGRAM, "flows"], env=visitor.env, capture_output=True, text=True, timeout=20)
    assert done.returncode in (2, 5) and done.stderr.startswith("windlass: ") and not peer.seen


@pytest.mark.parametrize("url", ["ftp://127.0.0.1", "127.0.0.1:8080", "http://", "http://user:secret@127.0.0.1",
                                 "http://127.0.0.1/?a=b", "http://127.0.0.1/#a", "http://" + "a" * 2000, "file:///etc/passwd"])
def test_urls_that_are_no_servers(visitor, url):
    visitor("flows", "--url", url, code=2)


def test_no_server_is_told_from_a_refusal(visitor):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        done = visitor("flows", "--url", f"http://127.0.0.1:{unused.getsockname()[1]}", code=5, WINDLASS_TOKEN="t")
    assert "connect" in done.stderr.lower()


# ---- flow files --------------------------------------------------------------------------------------
def saving(peer, flows=()):
    """A server that keeps flows."""
    kept = {flow["id"]: dict(flow) for flow in flows}
    writes = []

    def create(request):
        writes.append(request.json)
        kept[FID] = {"id": FID, "status": "draft", "description": "", **request.json}
        return 201, {"flow": kept[FID]}, {"ETag": '"1"'}

    def update(request):
        writes.append(request.json)
        kept[FID] = {**kept[FID], **request.json}
        return 200, {"flow": kept[FID]}, {}
    peer.on("GET", "/flows", lambda r: (200, {"flows": list(kept.values()), "page_info": {"pages": 1}}, {}))
    peer.on("POST", "/flows", create)
    peer.on("GET", f"/flows/{FID}", lambda r: (200, {"flow": kept[FID]}, {"ETag": '"7"'}))
    peer.on("PUT", f"/flows/{FID}", update)
    return writes


def test_apply_makes_changes_and_leaves_alone(peer, cli):
    writes = saving(peer)
    file = cli.folder / "f.yaml"
    (cli.folder / "code.py").write_text("print(1)\n")
    file.write_text("name: f\nnodes:\n  - {id: c, type: code, data: {language: python, source_file: code.py}}\nedges: []\n")
    assert cli("apply", file).stdout == f"created f {FID}\n"
    assert writes[0]["nodes"][0]["data"] == {"language": "python", "source": "print(1)\n"}
    assert cli("apply", "f.yaml").stdout == f"unchanged f {FID}\n" and len(writes) == 1
    (cli.folder / "code.py").write_text("print(2)\n")
    assert cli.json("apply", file) == {"flows": [{"name": "f", "id": FID, "result": "updated", "version": None}]}
    assert peer.calls("PUT", f"/flows/{FID}")[0].headers["If-Match"] == '"7"'
    assert writes[1]["nodes"][0]["data"]["source"] == "print(2)\n" and writes[1]["input_schema"] == {}
    assert cli("apply", "-", text=file.read_text()).stdout == f"unchanged f {FID}\n"


def test_apply_tries_again_when_somebody_was_faster(peer, cli):
    saving(peer, [FLOW])
    answers = iter([problem(412, "changed"), problem(412, "changed")])
    kept = peer.routes["PUT", f"/flows/{FID}"]
    peer.on("PUT", f"/flows/{FID}", lambda r: next(answers, None) or kept(r))
    (cli.folder / "f.json").write_text(json.dumps({"name": "f", "nodes": [{"id": "s", "type": "start"}], "edges": []}))
    assert cli("apply", "f.json").stdout.startswith("updated") and len(peer.calls("PUT", f"/flows/{FID}")) == 3


@pytest.mark.parametrize("source", ["/etc/hostname", "../secret", "link", "absent", "folder", "empty", "binary"])
def test_a_flow_file_sends_no_file_from_elsewhere(peer, cli, source):
    folder = cli.folder / "flow"
    (folder / "folder").mkdir(parents=True)
    (cli.folder / "secret").write_text("secret")
    (folder / "link").symlink_to(cli.folder / "secret")
    (folder / "empty").touch()
    (folder / "binary").write_bytes(b"\xff\0")
    (folder / "f.yaml").write_text(f"name: f\nnodes:\n  - {{id: c, type: code, data: {{source_file: {source}}}}}\nedges: []\n")
    assert "node c" in cli("apply", folder / "f.yaml", code=2).stderr
    assert not peer.seen


@pytest.mark.parametrize("text", ["", "[]", "name: f", "nodes: []", "name: ''\nnodes: []", "name: f\nnodes: {}\nedges: []",
                                  "name: f\nnodes: []\nextra: 1", "name: f\nname: g\nnodes: []", "a: *b", "name: 7\nnodes: []"])
def test_flow_files_that_are_none(peer, cli, text):
    (cli.folder / "f.yaml").write_text(text)
    for words in (["apply", "f.yaml"], ["run", "f.yaml"]):
        assert "f.yaml" in cli(*words, code=2).stderr
    assert not peer.calls("POST", "/flows")


@pytest.mark.parametrize("words", [
    ["--input", "n=x"], ["--input", "n"], ["--input", "n=1", "--input", "n=2"], ["--input", "a=@absent"], ["--timeout", "0"],
    ["--version", "0"], ["--version", "1", "--draft"], ["--input-json", "absent"], ["--input-json", "list.json"], ["--nope"], ["x"]])
def test_wrong_arguments_start_nothing(peer, cli, words):
    runnable(peer, lambda _: iter([]))
    (cli.folder / "list.json").write_text("[1]")
    cli("run", "f", *words, code=2)
    assert not peer.calls("POST", f"/flows/{FID}/execute")


def test_two_flows_of_one_name_need_an_id(peer, cli):
    runnable(peer, lambda _: iter([]))
    peer.on("GET", "/flows", {"flows": [FLOW, {**FLOW, "id": EID}, {**FLOW, "name": "fg"}], "page_info": {"pages": 1}})
    assert FID in cli("run", "f", code=6).stderr
    assert cli("run", FID).stdout == EID + "\n"
    assert "there is no flow" in cli("run", "g", code=6).stderr


# ---- without a server ----------------------------------------------------------------------------------
def test_help_of_every_command(visitor):
    overview = visitor("help").stdout
    names = re.findall(r"^  ([a-z]+) {2,}", overview.partition("commands:")[2].partition("options of")[0], re.MULTILINE)
    assert {"run", "apply", "executions", "logs", "cancel", "doctor"} <= set(names)
    for name in names:
        assert visitor("help", name).stdout == visitor(name, "--help").stdout != ""
    assert visitor(code=2).stdout == overview
    visitor("help", "nope", code=2)


def test_completion_completes(visitor):
    def complete(*words):
        program = ('source <("$0" completion bash); COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _windlass; '
                   'printf "%s\\n" "${COMPREPLY[@]}"')
        return subprocess.run(["bash", "-c", program, PROGRAM, "windlass", *words], capture_output=True, text=True,
                              check=True).stdout.split()
    assert complete("exec") == ["executions"]
    assert "--follow" in complete("run", "--") and "--json" in complete("run", "--")
    assert complete("executions", "--status", "suc") == ["succeeded"]
    assert complete("completion", "z") == ["zsh"]
    for shell in ("zsh", "fish"):
        assert "executions" in visitor("completion", shell).stdout
    visitor("completion", "tcsh", code=2)


def test_pages_are_made_from_the_tables(visitor):
    page = (ROOT / "docs" / "guides" / "cli.md").read_text()
    begin, end_mark = "<!-- made by: windlass help --markdown -->\n", "<!-- end -->"
    assert page.split(begin)[1].split(end_mark)[0].strip() == visitor("help", "--markdown").stdout.strip()
    settings = (ROOT / "docs" / "reference" / "settings.md").read_text()
    assert settings.split("<!-- made by: windlass settings --markdown -->\n")[1].strip() == \
        visitor("settings", "--markdown").stdout.strip()
    names = {row["name"] for row in visitor.json("settings")["settings"]}
    assert {"port", "postgres_url", "lease_ms"} <= names and all(f"WINDLASS_{name.upper()}" in settings for name in names)


def test_colour_only_on_a_terminal_that_wants_it(visitor):
    assert "\033" in visitor.on_terminal("doctor")[1]
    assert "\033" not in visitor.on_terminal("doctor", NO_COLOR="1")[1]
    assert "\033" not in visitor("doctor").stdout


def test_a_closed_output_is_an_error(visitor):
    with open("/dev/full", "w") as full:
        done = subprocess.run([PROGRAM, "help"], stdout=full, stderr=subprocess.PIPE, text=True, env=visitor.env)
    assert done.returncode == 1 and "closed" in done.stderr


# ---- doctor --------------------------------------------------------------------------------------------
def findings(visitor, code=0, **env):
    answer = visitor.json("doctor", code=code, **env)
    assert answer["healthy"] == (code == 0)
    return {row["name"]: row for row in answer["findings"]}


def one_shot(answer, question):
    """A TCP server that answers `question` with `answer`, and nothing else; (port, socket)."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve():
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            with client:
                if client.recv(4096) == question:
                    client.sendall(answer)
    threading.Thread(target=serve, daemon=True).start()
    return listener.getsockname()[1], listener


def end_listening(listener):
    """close() alone would leave the port open while accept() waits."""
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()


def test_doctor_knows_servers_by_their_protocol(visitor):
    hello = b"\x26\0\0\0\x01\0\0\0\x01\0\0\0\xdd\x07\0\0" + b"\0" * 22
    asked = b"\x10hello\0\1\0\0\0\x02$db\0\6\0\0\0admin\0\0"
    asked = struct.pack("<iiiiiBi", 25 + len(asked), 1, 0, 2013, 0, 0, 4 + len(asked)) + asked
    kinds = {"PostgreSQL": ("POSTGRES", "postgresql://u:p@{}/d", struct.pack(">ii", 8, 80877103), b"N"),
             "Redis": ("REDIS", "redis://{}", b"PING\r\n", b"+PONG\r\n"),
             "document server": ("MONGODB", "mongodb://{}/w", asked, hello)}
    for name, (variable, url, question, answer) in kinds.items():
        port, listener = one_shot(answer, question)
        setting = {f"WINDLASS_{variable}_URL": url.format(f"127.0.0.1:{port}")}
        assert findings(visitor, **setting)[name]["health"] == "ok"
        end_listening(listener)
        row = findings(visitor, 1, **setting)[name]
        assert row["health"] == "missing" and f"WINDLASS_{variable}_URL" in row["advice"] + row["text"]
        port, listener = one_shot(b"HTTP/1.1 400 Bad Request\r\n\r\n", question)
        setting = {f"WINDLASS_{variable}_URL": url.format(f"127.0.0.1:{port}")}
        assert "another protocol" in findings(visitor, 1, **setting)[name]["text"]
        end_listening(listener)


def test_doctor_names_what_is_missing(visitor):
    row = findings(visitor, 1, PATH="/nonexistent")["crun"]
    assert row["health"] == "missing" and "crun" in row["advice"]
    row = findings(visitor, 1, WINDLASS_POSTGRES_URL="postgresql:///w?host=/nonexistent&port=5433")["PostgreSQL"]
    assert "/nonexistent/.s.PGSQL.5433" in row["text"]
    for url in ("postgresql://u:p%40@/w?port=5433&host=%2Fnonexistent", "postgresql://u@?host=/nonexistent&port=5433"):
        assert "/nonexistent/.s.PGSQL.5433" in findings(visitor, 1, WINDLASS_POSTGRES_URL=url)["PostgreSQL"]["text"]
    for url in ("no url", "postgresql://[", "postgresql://h:99999999/w", "postgresql:///w?host=/" + "x" * 200):
        assert "is no URL" in findings(visitor, 1, WINDLASS_POSTGRES_URL=url)["PostgreSQL"]["text"]
    row = findings(visitor, 1, WINDLASS_REDIS_URL="unix:///nonexistent/redis.sock")["Redis"]
    assert "/nonexistent/redis.sock" in row["text"]
    row = findings(visitor, 1, WINDLASS_MONGODB_URL="mongodb://%2Fnonexistent%2Fm.sock/w")["document server"]
    assert "/nonexistent/m.sock" in row["text"]
    assert findings(visitor, 1, WINDLASS_URL="http://127.0.0.1:1")["web server"]["health"] == "missing"
    text = visitor("doctor", code=1, PATH="/nonexistent").stdout
    assert "-> apt-get install crun" in text and "1 thing is missing" in text


def test_doctor_and_the_web_server(peer, visitor):
    assert findings(visitor)["web server"]["health"] == "ok"
    peer.on("GET", "/readyz", lambda _: (503, {"status": "unavailable"}, {}))
    assert findings(visitor, 1)["web server"]["health"] == "missing"
