"""The commands that are groups of calls, with a whole Windlass behind them."""

import json

import pytest

from kit.cli import Cli
from kit.client import checked
from kit.flows import Flow, ex
from kit.waiting import wait_until

API = """openapi: 3.0.3
info: {title: Pets, version: '1'}
servers: [{url: 'https://pets.example.org/v1'}]
paths:
  /pets:
    get: {operationId: listPets, responses: {'200': {description: ok}}}
  /pets/{id}:
    get:
      operationId: getPet
      parameters: [{name: id, in: path, required: true, schema: {type: string}}]
      responses: {'200': {description: ok}}
"""
TOOL = {"name": "greet", "state": "active",
        "input_schema": {"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}}},
        "execution_config": {"kind": "code", "language": "python",
                             "source": "import sys, json\nprint(json.dumps({'hello': json.load(sys.stdin)['name']}))"}}


def write(cli, name, content):
    path = cli.folder / name
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return name


def ended(cli, eid):
    return wait_until(lambda: [row for row in cli.json("executions")["executions"]
                               if row["id"] == eid and row["status"] in ("succeeded", "failed")], f"the end of {eid}", 60)[0]


def test_tools_are_made_tried_and_imported(cli):
    assert cli.json("tools", "create", write(cli, "greet.json", TOOL))["tool"]["state"] == "active"
    result = cli.json("tools", "test", "greet", "--input", "name=Ada")
    assert result["status"] == "succeeded" and result["outputs"] == {"hello": "Ada"}
    assert "getPet" in cli("tools", "preview", write(cli, "pets.yaml", API)).stdout
    assert [row["name"] for row in cli.json("tools", "list")["tools"]] == ["greet"]
    added = cli.json("tools", "add", "pets.yaml", "--only", "listPets", "--prefix", "pets ")["tools"]
    assert len(added) == 1 and added[0]["name"].startswith("pets")
    assert "greet" in cli("tools", "list", "--state", "active").stdout
    cli("tools", "update", "greet", write(cli, "more.yaml", "description: says hello\n"))
    assert [row["version"] for row in cli.json("tools", "versions", "greet")["versions"]] == [2, 1]
    assert cli.json("tools", "archive", "greet")["tool"]["state"] == "archived"
    cli("tools", "delete", "greet")
    assert "none of the tools is called 'greet'" in cli("tools", "get", "greet", code=6).stderr


def test_agents_and_crews_and_providers(cli):
    provider = cli.json("providers", "create", write(cli, "p.yaml", "name: demo\nprovider_type: demo\n"))["llm_provider"]
    assert cli.json("providers", "validate", "demo")["valid"] is True
    agent = cli.json("agents", "create", write(cli, "a.json", {"name": "Ada", "llm_provider_id": provider["id"]}))["agent"]
    cli("crews", "create", write(cli, "c.json", {"name": "desk", "agent_ids": [agent["id"]]}))
    assert cli.json("agents", "uses", "Ada")["uses"][0]["name"] == "desk"
    assert "desk" in cli("agents", "delete", "Ada", code=6).stderr
    cli("crews", "delete", "desk")
    cli("agents", "delete", "Ada")


def test_flows_as_files(admin_cli):
    cli, admin = admin_cli
    flow_id = admin.create(Flow().transform("a", 1).output(ex(".nodes.a")), name="counted")
    checked(admin.post(f"flows/{flow_id}/publish", json={}), 201)
    text = cli("flow", "export", "counted").stdout
    assert text.startswith("name: ") or "name: counted" in text
    write(cli, "counted.yaml", text)
    assert cli.json("flow", "import", "counted.yaml", "--name", "again")["flow"]["name"] == "again"
    assert cli("flow", "export", "again").stdout == text.replace("counted", "again")
    checked(admin.put(f"flows/{flow_id}", json=Flow().transform("a", 2).output(ex(".nodes.a")).document()), 200)
    diff = cli.json("flow", "diff", "counted")
    assert [one["id"] for one in diff["nodes"]["changed"]] == ["a"]
    cli("flow", "restore", "counted", "1")
    assert cli.json("flow", "diff", "counted")["nodes"]["changed"] == []
    assert cli.json("flow", "duplicate", "counted", "a copy")["flow"]["name"] == "a copy"
    cli("flow", "delete", "a copy")
    assert cli.json("flow", "sharing", "counted")["sharing"]["visibility"] == "tenant"
    cli("flow", "export", "counted", "copy.json", "--format", "json")
    assert json.loads((cli.folder / "copy.json").read_text())["name"] == "counted"
    assert "copy.json" in cli("flow", "export", "counted", "copy.json", code=2).stderr    # never over a file
    first = cli.json("flow", "templates")["templates"][0]["name"]
    assert cli.json("flow", "from-template", first, "from one")["flow"]["name"] == "from one"


def test_schedules(admin_cli):
    cli, admin = admin_cli
    flow_id = admin.create(Flow().output(1), name="tick")
    checked(admin.post(f"flows/{flow_id}/publish", json={}), 201)
    made = cli.json("schedules", "create", "tick", "0 9 * * 1-5", "--name", "mornings", "--timezone", "Europe/Zurich")
    assert made["schedule"]["flow_id"] == flow_id and len(made["schedule"]["next_fires"]) >= 1
    assert cli.json("schedules", "pause", "mornings")["schedule"]["enabled"] is False
    assert cli.json("schedules", "resume", "mornings")["schedule"]["enabled"] is True
    eid = cli("schedules", "run", "mornings").stdout.strip()
    assert ended(cli, eid)["status"] == "succeeded"
    assert len(cli.json("schedules", "next", "*/5 * * * *", "--limit", "3")["next_fires"]) == 3
    assert "mornings" in cli("schedules", "list").stdout
    cli("schedules", "fires", "mornings")
    cli("schedules", "delete", "mornings")
    assert "cron" in cli("schedules", "next", "every day", code=6).stderr


def test_webhooks_in_and_out(admin_cli):
    cli, admin = admin_cli
    flow_id = admin.create(Flow().output(1), name="hooked")
    checked(admin.post(f"flows/{flow_id}/publish", json={}), 201)
    hook = cli.json("webhooks", "create", "hooked", "--name", "orders", "--mapping", '{"order": "{{ .body }}"}')["webhook"]
    cli("webhooks", "create", "hooked", "--mapping", "{", code=2)
    assert hook["secret"] and hook["path"] == f"/hooks/{hook['id']}"
    assert cli("webhooks", "rotate", "orders", "--overlap", "60").stdout.strip() not in ("", hook["secret"])
    assert cli.json("webhooks", "deliveries", "orders")["deliveries"] == []
    assert hook["secret"] not in cli("webhooks", "list").stdout + cli("webhooks", "get", "orders").stdout
    out = cli.json("outgoing", "create", "https://hooks.example.org/x", "--name", "ours", "--events", "failed,timeout")
    assert out["outgoing_webhook"]["events"] == ["failed", "timeout"]
    assert "ours" in cli("outgoing", "list").stdout
    cli("outgoing", "delete", "ours")
    cli("webhooks", "delete", "orders")


def test_people_keys_and_quotas(admin_cli, stack):
    cli, admin = admin_cli
    assert "#" in cli("users", "invite", "grace@example.org", "editor").stdout
    assert "grace@example.org" in cli("users", "invitations").stdout
    member = stack.user(admin, "viewer")
    assert cli.json("users", "role", member.email, "executor")["user"]["role"] == "executor"
    assert cli.json("users", "disable", member.email)["user"]["state"] == "disabled"
    assert cli.json("users", "enable", member.email)["user"]["state"] == "active"
    key = cli("keys", "create", "nightly", "viewer").stdout.strip()
    assert "nightly" in cli("keys", "list", WINDLASS_TOKEN=key).stdout
    cli("keys", "delete", "nightly")
    wait_until(lambda: admin.http.get("/api/v1/flows", headers={"Authorization": f"Bearer {key}"}).status_code == 401,
               "the end of the key", 15)
    shown = cli("quota", "show").stdout
    assert "max_executions_per_day" in shown and "max_storage_gb" in shown
    rows = {row["name"]: row for row in cli.json("quota", "set", "max_flows", "7")["quotas"]}
    assert rows["max_flows"]["limit"] == 7
    rows = {row["name"]: row for row in cli.json("quota", "set", "max_flows", "default")["quotas"]}
    assert rows["max_flows"]["limit"] == rows["max_flows"]["plan_limit"]
    assert "DAY" in cli("quota", "usage").stdout and "free" in cli("quota", "plans").stdout


def test_runs_that_ask_leave_files_and_are_made_again(admin_cli):
    cli, admin = admin_cli
    out = "import pathlib\npathlib.Path('/work/out/note.txt').write_text('kept')\nprint('{}')"
    flow_id = admin.create(Flow().code("step", out).add("ask", "approval", message="go on?")
                           .output("done", after=("ask", "approved")), name="careful")
    checked(admin.post(f"flows/{flow_id}/publish", json={}), 201)
    eid = checked(admin.execute(flow_id), 202).json()["execution_id"]
    waiting = wait_until(lambda: cli.json("approvals", "list", "--status", "pending")["approvals"], "the approval", 60)
    assert cli.json("approvals", "approve", waiting[0]["id"], "--comment", "fine")["approval"]["status"] == "approved"
    assert ended(cli, eid)["status"] == "succeeded"
    one = cli.json("artifacts", "list", "--execution", eid)["artifacts"][0]
    assert cli("artifacts", "get", one["id"]).stdout == "kept"
    cli("artifacts", "get", one["id"], "note.txt")
    assert (cli.folder / "note.txt").read_text() == "kept"
    again = cli("retry", "node", eid, "ask").stdout.strip()
    assert again != eid and wait_until(lambda: cli.json("approvals", "list", "--status", "pending")["approvals"], "it asks again", 60)
    cli("cancel", again)


def test_the_audit_log_is_verified_here(admin_cli, stack, tmp_path):
    cli, admin = admin_cli
    cli("keys", "create", "one", "viewer")
    wait_until(lambda: stack.sql("SELECT count(*) FROM control.audit_outbox WHERE tenant = %s", admin.tenant)[0][0] == 0,
               "the log being shipped")
    assert "api_key" in cli("audit", "list").stdout
    assert cli.json("audit", "verify")["ok"] is True
    cli("audit", "export", "log.ndjson")
    assert "entries hold" in cli("audit", "verify", "log.ndjson").stdout
    text = (cli.folder / "log.ndjson").read_text()
    write(cli, "changed.ndjson", text.replace("api_key.create", "api_key.nothing"))
    assert "chain is broken" in cli("audit", "verify", "changed.ndjson", code=6).stderr
    write(cli, "cut.ndjson", "\n".join(text.splitlines()[1:]))
    assert "is missing" in cli("audit", "verify", "cut.ndjson", code=6).stderr


@pytest.mark.parametrize("words", [("tools",), ("tools", "explode"), ("tools", "get"), ("tools", "list", "x", "y", "z", "w"),
                                   ("quota", "set", "max_flows", "many"), ("schedules", "create", "only-a-flow"),
                                   ("tools", "create", "no-such-file.json"), ("flow", "restore", "f"),
                                   ("artifacts", "get", "not-an-id"), ("audit", "verify", "no-such-file")])
def test_wrong_words_are_told_before_anything_is_sent(cli, words):
    done = cli(*words, code=2)
    assert done.stderr.startswith("windlass: ") and len(done.stderr) < 600


def test_names_that_look_like_paths_stay_names(cli):
    assert "none of the tools" in cli("tools", "get", "../flows", code=6).stderr
    assert cli("users", "withdraw", "../../flows", code=6).returncode == 6
