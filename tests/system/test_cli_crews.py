"""Agents, crews and what their runs leave behind, on the command line."""

import json

import pytest

from kit.cli import Cli, Peer
from kit.client import checked
from kit.flows import Flow, ex
from kit.model_server import ModelServer, Turn
from kit.models import agent, crew, provider, two_tasks
from kit.waiting import wait_until

EID = "01890a5d-ac96-774b-bcce-b302099a8057"


@pytest.fixture
def models():
    with ModelServer() as server:
        server.answers(lambda asked: Turn(f"Answer {len(server.asked)}"))
        yield server


@pytest.fixture
def peer():
    with Peer() as server:
        yield server


def named(api, path, kind):
    return checked(api.get(path), 200).json()[kind]["name"]


@pytest.fixture
def pair(admin_cli, models):
    """(name of a crew, names of its two agents)"""
    api = admin_cli[1]
    asks = provider(api, models)
    one, two = agent(api, asks, "Finder of {kind} things"), agent(api, asks, "Writer")
    team = crew(api, [one, two], two_tasks(one, two))
    return named(api, f"crews/{team}", "crew"), [named(api, f"agents/{i}", "agent") for i in (one, two)]


GIVEN = ("--input", "topic=cats", "--input", "kind=old")


def test_a_crew_is_tried(cli, pair):
    name, _ = pair
    result = cli.json("crews", "test", name, *GIVEN)
    assert (result["status"], result["outputs"]["text"]) == ("succeeded", "Answer 2")
    done = cli("crews", "test", name, *GIVEN, "--follow", "--get", "text")
    assert done.stdout == "Answer 4\n" and "succeeded" in done.stderr
    failed = cli("crews", "test", name, "--input", "topic=cats", code=1)
    assert "{kind}" in failed.stdout


def test_an_agent_is_tried(cli, pair, models):
    _, agents = pair
    result = cli.json("agents", "test", agents[0], "Greet her", "--input", "kind=rare", "--expected", "A line")
    assert (result["status"], result["outputs"]["text"]) == ("succeeded", "Answer 1")
    asked = str(models.asked[0].json["messages"])
    assert "Greet her" in asked and "Finder of rare things" in asked and "A line" in asked
    assert cli("agents", "test", agents[0], "Go", "--get", "text", code=2).stderr.startswith("windlass: --get goes with")


def test_a_crew_is_kicked_off_and_asked(cli, pair):
    name, _ = pair
    assert cli("crews", "inputs", name).stdout == "kind\ntopic\n"
    run = cli("crews", "kickoff", name, *GIVEN).stdout.strip()
    ended = wait_until(lambda: (found := cli.json("crews", "status", name, run))["status"] != "running" and found, "its end", 30)
    assert (ended["status"], ended["result"]["text"]) == ("completed", "Answer 2")
    assert "waits for a person" in cli("crews", "resume", name, run, "approve", code=6).stderr
    assert "approve or reject" in cli("crews", "resume", name, run, "maybe", code=2).stderr


def test_a_task_that_waits_is_answered(cli, admin_cli, models):
    api = admin_cli[1]
    one = agent(api, provider(api, models), "Writer")
    name = named(api, "crews/" + crew(api, [one], two_tasks(one, one, human_input=True)), "crew")
    run = cli("crews", "kickoff", name, "--input", "topic=cats").stdout.strip()
    wait_until(lambda: cli.json("approvals", "list", "--status", "pending")["approvals"], "a task that waits", 30)
    assert cli("crews", "resume", name, run, "reject", "--task", "1", "--feedback", "Shorter").stdout == "retrying\n"
    wait_until(lambda: cli.json("approvals", "list", "--status", "pending")["approvals"], "it asks again", 30)
    assert cli("crews", "resume", name, run, "approve", "--task", "1").stdout == "resumed\n"
    ended = wait_until(lambda: (found := cli.json("crews", "status", name, run))["status"] != "running" and found, "its end", 30)
    assert ended["result"]["text"] == "Answer 3" and "Shorter" in str(models.asked[2].json["messages"])


def test_the_record_of_a_run_is_listed_replayed_and_drawn(cli, pair, models):
    name, agents = pair
    run = cli.json("crews", "test", name, *GIVEN)["execution_id"]
    asked = len(models.asked)
    rows = cli.json("exchanges", run)["exchanges"]
    rows = [row for row in rows if row["kind"] == "model"]
    assert [row["answer"]["text"] for row in rows] == ["Answer 1", "Answer 2"]
    assert len(cli.json("exchanges", run, "--limit", "1")["exchanges"]) == 1
    shown = cli("exchanges", run).stdout
    assert "PLACE" in shown and "Answer 1" in shown
    whole = cli.json("exchanges", run, "--node", rows[0]["node_id"], "--place", rows[0]["place"])
    assert whole["place"] == rows[0]["place"] and whole["request_hash"]
    tree = cli("trace", run, "--texts").stdout
    lines = tree.splitlines()
    assert lines[0].startswith(run) and "succeeded" in lines[0] and "2 model calls" in lines[0] and "tokens" in lines[0]
    node = next(i for i, line in enumerate(lines) if line.startswith("├─ crew"))
    assert lines[node + 1].startswith("│  ├─ task find") or lines[node + 1].startswith("│  └─ task")
    assert any("model scripted-1" in line and "tokens" in line for line in lines) and "out: Answer 2" in tree
    assert "Finder of" in tree      # who
    again = cli("replay", run).stdout.strip()
    done = cli("replay", run, "--follow", "--get", "text")
    assert done.stdout == "Answer 2\n" and len(models.asked) == asked
    wait_until(lambda: "from the record" in cli("trace", again).stdout, "the end of the replay", 30)
    traced = cli.json("trace", run)
    assert {"execution", "nodes"} == set(traced) and any(one["trace"] for one in traced["nodes"])
    assert "no run of a flow" in cli("fork", run, code=2).stderr


def test_a_long_record_comes_page_by_page(cli, admin_cli, models):
    api = admin_cli[1]
    asks = provider(api, models)
    numbers = list(range(120))
    flow = Flow().add("each", "loop", items=numbers).output(1)
    flow.add("ask", "llm", after=(), prompt="Say {{ .item }}", provider_id=asks)
    flow.nodes[-1]["parentId"] = "each"
    api.create(flow, name="many calls")
    run = json.loads(cli("run", "many calls", "--draft", "--json").stdout)["execution_id"]
    wait_until(lambda: cli.json("trace", run)["execution"]["status"] == "succeeded", "its end", 60)
    rows = cli.json("exchanges", run, "--limit", "1000")["exchanges"]
    assert len({(row["node_id"], row["place"]) for row in rows}) == len(rows) >= 120
    assert cli("trace", run).stdout.count("model scripted-1") == 120


def test_a_run_is_forked_with_an_edit(cli, admin_cli, models):
    api = admin_cli[1]
    asks = provider(api, models)

    def story(second):
        return (Flow().add("first", "llm", prompt="About {{ .inputs.topic }}", provider_id=asks)
                .add("second", "llm", prompt=second, provider_id=asks).output(ex(".nodes.second.text")))
    flow_id = api.create(story("Go on"), name="story")
    before = json.loads(cli("run", "story", "--draft", "--input", "topic=cats", "--follow", "--json").stdout.splitlines()[-1])
    run = before["data"]["execution_id"]
    same = cli("fork", run, "--follow")
    assert json.loads(same.stdout) == "Answer 2" and len(models.asked) == 2
    checked(api.put(f"flows/{flow_id}", json=story("End it").document()), 200)
    assert json.loads(cli("fork", run, "--follow").stdout) == "Answer 3" and len(models.asked) == 3
    assert "End it" in str(models.asked[2].json["messages"])
    assert json.loads(cli("fork", run, "--from", "second", "--follow").stdout) == "Answer 4" and len(models.asked) == 4
    assert json.loads(cli("fork", run, "--input", "topic=dogs", "--follow").stdout) == "Answer 6"
    assert "dogs" in str(models.asked[4].json["messages"])
    assert cli.json("fork", run)["status"] == "queued"


def test_what_a_server_says_is_no_tree_and_steers_no_terminal(tmp_path, peer):
    cli = Cli(tmp_path / "home", peer.url, WINDLASS_TOKEN="token")
    steps = [{"id": 2, "parent": 9, "kind": "agent", "name": "\x1b[31mred"}, {"id": 9, "parent": 2, "kind": "model"},
             {"id": 9, "parent": 9, "kind": "tool"}, {"id": -1, "parent": -1, "kind": "note"}, {"kind": "cut", "cut": 7}]
    steps += [{"id": n, "parent": n - 1, "kind": "deep"} for n in range(100, 200)]
    nodes = [{"node_id": name, "status": "succeeded", "attempt": 1, "trace": steps if name == "a" else None}
             for name in ("a[0].b", "a", "a[0].b.c", "a", "", "b")]
    peer.on("GET", f"/executions/{EID}", {"execution": {"id": EID, "status": "succeeded"}, "nodes": nodes, "logs": []})
    shown = cli("trace", EID).stdout
    assert "\x1b" not in shown and "\\x1b[31mred" in shown and "and 7 steps that are not kept" in shown
    assert shown.count("tool") == 2 and shown.count("deep") < 2 * 30    # each step once for each of the two; bounded in depth
    assert json.loads(cli("trace", EID, "--json").stdout)["nodes"] == nodes
    cli("trace", "nothing", code=2)
    cli("replay", "nothing", code=2)
    cli("fork", "nothing", code=2)
    cli("exchanges", EID, "--place", "x", code=2)
