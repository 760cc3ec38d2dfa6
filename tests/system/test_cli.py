"""The command line with a whole Windlass behind it; what only a scripted server can do is in test_cli_peer.py."""

import json
import os
import re
import shlex
import signal
import subprocess
import uuid

import pytest

from kit.cli import PROGRAM, ROOT, Cli
from kit.client import PASSWORD
from kit.flows import Flow, ex, of
from kit.waiting import wait_until


def write(cli, flow, name="f", **more):
    """A flow file; its path."""
    path = cli.folder / f"{name}.json"
    path.write_text(json.dumps({"name": name, **flow.document(), **more}))
    return path


def sleeper(seconds=60):
    return Flow().code("nap", f"import sys, time\nprint('awake', file=sys.stderr, flush=True)\ntime.sleep({seconds})\nprint(1)") \
        .output(ex(of("nap")))


def follow(cli, *words):
    """A CLI that follows; returned when a code node's first line was shown."""
    process = cli.start("run", *words, "--follow")
    seen = []
    while not seen or "awake" not in seen[-1]:
        seen.append(process.stderr.readline())
        assert seen[-1], (process.wait(), seen)
    return process, re.search(r"execution (\S+)", "".join(seen))[1]


# ---- the README ------------------------------------------------------------------------------------
def commands_of(page, heading):
    """The lines of the first block behind a heading."""
    text = (ROOT / page).read_text().split(f"## {heading}\n", 1)[1]
    return text.split("```")[1].strip().splitlines()


def test_the_first_minute_word_for_word(stack, tmp_path):
    """Typed in the checkout, as the README says; only the tenant's name is made our own, for others have taken it."""
    stranger = Cli(tmp_path / "home", stack.urls["web"], WINDLASS_PASSWORD=PASSWORD)
    lines = [line.replace("--tenant demo", f"--tenant minute-{uuid.uuid4().hex[:8]}")
             for line in commands_of("README.md", "The first minute")]
    assert len(lines) == 3 and all(line.startswith("build/bin/windlass ") for line in lines)
    shown = []
    for line in lines:
        done = subprocess.run([PROGRAM, *shlex.split(line)[1:]], env=stranger.env, cwd=ROOT, capture_output=True, text=True,
                              timeout=60)
        assert done.returncode == 0, (line, done.stdout, done.stderr)
        shown.append(done.stdout)
    assert re.match(r"\d+ words in \d+ sentences and \d+ lines", shown[1]) and "license (" in shown[1]
    assert re.search(r"text-report +succeeded", shown[2])


def test_the_first_flow_of_the_guide(cli):
    page = (ROOT / "docs" / "guides" / "first-flow.md").read_text()
    (cli.folder / "greeting.yaml").write_text(re.search(r"```yaml\n(.*?)```", page, re.DOTALL)[1])
    done = cli("run", "greeting.yaml", "--input", "who=Ada", "--input", "times=2", "--follow")
    assert json.loads(done.stdout) == {"greeting": "ADA! ADA!"} and "shout | working" in done.stderr
    assert "inputs" in cli("run", "greeting.yaml", "--input", "times=2", code=6).stderr
    assert "version 1" in cli("apply", "greeting.yaml", "--publish", "--note", "the first one").stdout
    eid = cli("run", "greeting", "--input", "who=Grace").stdout.strip()
    assert eid in cli("executions", "--flow", "greeting").stdout
    cli("logs", eid, "--follow")
    assert cli("logs", eid).stdout == "shout | working\n"


# ---- run ------------------------------------------------------------------------------------------------
def test_run_gives_inputs_and_outputs_their_types(cli):
    schema = {"type": "object", "properties": {"n": {"type": "integer"}, "s": {"type": "string"}, "l": {"type": "array"}}}
    path = write(cli, Flow().output(ex(".inputs")).schema(input_schema=schema))
    (cli.folder / "more.json").write_text('{"deep": {"a": [null, true]}}')
    done = cli("run", path, "-i", "n=41", "-i", "s=41", "-i", "l=[1]", "-i", "t=text", "--input-json", "more.json", "--follow")
    assert json.loads(done.stdout) == {"n": 41, "s": "41", "l": [1], "t": "text", "deep": {"a": [None, True]}}


def test_a_large_input_and_a_large_output(cli):
    text = "".join(f"line {number} \"ü\" \\\n" for number in range(60000))
    (cli.folder / "large.txt").write_text(text)
    path = write(cli, Flow().output({"text": ex(".inputs.text")}))
    assert cli("run", path, "--input", "text=@large.txt", "--follow", "--get", "text").stdout == text
    (cli.folder / "huge.txt").write_text("x" * ((8 << 20) + 1))
    cli("run", path, "--input", "text=@huge.txt", code=2)


def test_how_a_run_ends_is_the_exit_code(cli):
    failing = write(cli, Flow().code("c", "import sys; print('the reason', file=sys.stderr); sys.exit(3)").output(1), "failing")
    done = cli("run", failing, "--follow", code=1)
    assert "node c: " in done.stderr and "the reason" in done.stderr and done.stdout == ""
    late = write(cli, sleeper(), "late")
    assert cli("run", late, "--follow", "--timeout", "1", code=4).stderr.endswith("\n")
    events = [json.loads(line) for line in cli("run", failing, "--follow", "--json", code=1).stdout.splitlines()]
    assert events[-1]["event"] == "end" and events[-1]["data"]["status"] == "failed"
    assert {"node", "end"} <= {one["event"] for one in events} and all(one["id"] for one in events)


def test_versions_and_drafts(cli):
    for number in (1, 2):
        assert f"version {number}" in cli("apply", write(cli, Flow().output(number)), "--publish").stdout
    cli("apply", write(cli, Flow().output(3)))
    results = [json.loads(cli("run", "f", *words, "--follow").stdout) for words in ([], ["--version", "1"], ["--draft"])]
    assert results == [2, 1, 3]
    cli("run", "f", "--version", "9", code=6)
    assert json.loads(cli("run", cli.folder / "f.json", "--follow").stdout) == 3


def test_a_bad_flow_is_refused_with_every_fault_and_stored_nowhere(cli):
    flow = Flow().transform("t", ex(".nodes.nowhere")).output(1)
    flow.edge("t", "missing")
    shown = cli("apply", write(cli, flow), code=6).stderr
    assert "f.json" in shown and re.search(r"^  edges\[\d\]", shown, re.MULTILINE), shown
    assert cli.json("flows") == {"flows": []}


# ---- interrupts and losses ---------------------------------------------------------------------------------
def test_an_interrupted_follow_leaves_the_run_and_logs_come_back_to_it(admin_cli):
    cli, admin = admin_cli
    process, eid = follow(cli, write(cli, sleeper()))
    process.send_signal(signal.SIGINT)
    stderr = process.communicate(timeout=10)[1]
    assert process.returncode == 130 and f"windlass logs {eid} --follow" in stderr
    assert admin.status(eid) == "running"
    again = cli.start("logs", eid, "--follow")
    assert "awake" in again.stdout.readline()
    assert cli("cancel", eid).stdout.strip() in ("cancelling", "cancelled")
    again.communicate(timeout=15)
    assert again.returncode == 3
    assert "ended" in cli("cancel", eid, code=6).stderr or admin.status(eid) == "cancelled"


def test_cancel_on_interrupt(admin_cli):
    cli, admin = admin_cli
    process, eid = follow(cli, write(cli, sleeper()), "--cancel-on-interrupt")
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=15)
    assert process.returncode == 3 and admin.status(eid) == "cancelled"


def test_a_follow_survives_the_web_server(stack, admin_cli):
    cli, _ = admin_cli
    flow = Flow().code("nap", "import sys, time\nprint('awake', file=sys.stderr, flush=True)\ntime.sleep(4)\nprint('\"done\"')") \
        .output(ex(of("nap")))
    process, eid = follow(cli, write(cli, flow))
    stack.kill("web", signal.SIGKILL)
    stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 0 and json.loads(stdout) == "done", stderr
    assert cli("logs", eid).stdout == "nap | awake\n"


# ---- lists --------------------------------------------------------------------------------------------------
def test_lists_filter_and_page(cli):
    path = write(cli, Flow().output(1), "one")
    bad = write(cli, Flow().transform("t", ex("error(\"x\")")).output(1), "two")
    for _ in range(3):
        cli("run", path, "--follow")
    cli("run", bad, "--follow", code=1)
    assert len(cli.json("executions")["executions"]) == 4
    assert len(cli.json("executions", "--limit", "2")["executions"]) == 2
    assert [row["status"] for row in cli.json("executions", "--status", "failed")["executions"]] == ["failed"]
    assert len(cli.json("executions", "--flow", "one")["executions"]) == 3
    assert {flow["name"] for flow in cli.json("flows")["flows"]} == {"one", "two"}
    assert [flow["name"] for flow in cli.json("flows", "--limit", "1")["flows"]] == ["one"]
    assert cli.json("flows", "--status", "published") == {"flows": []}
    table = cli("executions", "--status", "failed").stdout.splitlines()
    assert len(table) == 2 and table[0].split() == ["ID", "FLOW", "STATUS", "ACCEPTED", "TOOK"] and " two " in table[1]
    cli("executions", "--status", "nope", code=2)
    cli("executions", "--flow", "nope", code=6)
    cli("logs", "nope", code=2)
    cli("logs", str(uuid.uuid4()), code=6)
    cli("cancel", str(uuid.uuid4()), code=6)


def test_more_executions_than_a_page(admin_cli):
    cli, admin = admin_cli
    flow_id = admin.create(Flow().output(1), "many")
    started = {admin.start(flow_id) for _ in range(105)}
    assert {row["id"] for row in cli.json("executions", "--limit", "200")["executions"]} == started


# ---- people ---------------------------------------------------------------------------------------------------
def test_register_login_logout(stack, tmp_path):
    cli = Cli(tmp_path / "home", stack.urls["web"])
    slug = f"cli-{uuid.uuid4().hex[:8]}"
    address = f"you@{slug}.test"
    words = ["--tenant", slug, "--email", address]
    assert f"tenant {slug}, role admin" in cli("register", *words, WINDLASS_PASSWORD=PASSWORD).stdout
    cli("register", *words, code=6, WINDLASS_PASSWORD=PASSWORD)
    assert cli.json("whoami") == {"url": stack.urls["web"], "email": address, "tenant": slug, "role": "admin"}
    kept = cli.credentials.read_text()
    cli("logout")
    cli("whoami", code=5)
    cli("login", *words, code=5, WINDLASS_PASSWORD="not this one")
    cli("login", "--email", address, WINDLASS_PASSWORD=PASSWORD)
    assert cli.json("flows") == {"flows": []}
    cli.credentials.write_text(kept)           # the refresh token of the login that is over
    os.chmod(cli.credentials, 0o600)

    def refused():
        done = subprocess.run([PROGRAM, "flows"], env=cli.env, capture_output=True, text=True, timeout=30)
        return done.returncode == 5
    wait_until(refused, "the end of a login that was logged out", 15)
    cli("register", "--tenant", "Not A Slug", "--email", "nobody", code=6, WINDLASS_PASSWORD=PASSWORD)


def test_an_access_token_that_ended_is_renewed(stack, tmp_path):
    cli = Cli(tmp_path / "home", stack.urls["web"])
    slug = f"cli-{uuid.uuid4().hex[:8]}"
    cli("register", "--tenant", slug, "--email", f"you@{slug}.test", WINDLASS_PASSWORD=PASSWORD)
    kept = json.loads(cli.credentials.read_text())
    before = kept["logins"][0]["refresh_token"]
    kept["logins"][0]["access_token"] = "not.a.token"
    cli.credentials.write_text(json.dumps(kept))
    assert cli.json("flows") == {"flows": []}
    after = json.loads(cli.credentials.read_text())["logins"][0]
    assert after["refresh_token"] != before and after["access_token"].count(".") == 2


def test_a_viewer_may_look_only(stack, admin, tmp_path):
    viewer = stack.user(admin, "viewer")
    cli = Cli(tmp_path / "home", stack.urls["web"], WINDLASS_TOKEN=viewer.access)
    admin.create(Flow().output(1), "f")
    assert [flow["name"] for flow in cli.json("flows")["flows"]] == ["f"]
    cli("run", "f", code=5)
    cli("apply", write(cli, Flow().output(2), "g"), code=5)


def test_doctor_finds_this_stack_well(stack, tmp_path):
    cli = Cli(tmp_path / "home", stack.urls["web"], WINDLASS_POSTGRES_URL=stack.urls["postgres"],
              WINDLASS_REDIS_URL=stack.urls["redis"], WINDLASS_MONGODB_URL=stack.urls["mongodb"])
    found = {row["name"]: row for row in cli.json("doctor")["findings"]}
    assert all(found[name]["health"] == "ok" for name in ("PostgreSQL", "Redis", "document server", "web server", "crun"))
    private = Cli(tmp_path / "other", stack.urls["web"], WINDLASS_HOME=str(stack.home))
    found = {row["name"]: row for row in private.json("doctor")["findings"]}
    assert all("private one answers" in found[name]["text"] for name in ("PostgreSQL", "Redis", "document server"))
