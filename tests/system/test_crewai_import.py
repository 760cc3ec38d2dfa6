"""CrewAI's projects: what an import makes, what it tells, what it refuses, and that an export comes back as it was."""

import json

import pytest
import yaml

from kit.client import checked, fault_paths
from kit.waiting import wait_until

AGENTS = """
researcher:
  role: >
    {topic} Senior Data Researcher
  goal: >
    Uncover developments in {topic}
  backstory: You check twice.
  llm: openai/gpt-4o
  tools: [SerperDevTool]
  max_iter: 7
  verbose: true
writer:
  role: Writer
  goal: Write
  backstory: You are brief.
  llm: anthropic/claude-sonnet-4-5
"""
TASKS = """
research_task:
  description: Research {topic}
  expected_output: A list of facts
  agent: researcher
report_task:
  description: Report on {topic}
  expected_output: A page
  agent: writer
  context: [research_task]
  guardrail: It names its sources.
  output_file: report.md
"""
PROJECT = {"src/x/config/agents.yaml": AGENTS, "src/x/config/tasks.yaml": TASKS, "src/x/crew.py": "import os\n"}
CREW_JSONC = """{
  // who and what
  "name": "Newsroom", "agents": ["researcher", "writer",],
  "tasks": [
    {"name": "research", "description": "Research {topic}", "expected_output": "Facts", "agent": "researcher"},
    /* the last one */
    {"name": "write", "description": "Write", "expected_output": "A page", "agent": "writer", "context": ["research"]},
  ],
  "process": "sequential", "memory": true, "inputs": {"topic": "bees"}, "surprise": 1,
}
"""
AGENT_JSONC = '{"role": "R", "goal": "G {topic}", "backstory": "B", "settings": {"max_rpm": 3, "verbose": true}}'
JSONC = {"crew.jsonc": CREW_JSONC, "agents/researcher.jsonc": AGENT_JSONC, "agents/writer.jsonc": AGENT_JSONC}
FLOW = """
schema: crewai.flow/v1
name: Review
state: {type: json_schema, json_schema: {type: object, properties: {topic: {type: string}, rows: {type: array}}, required: [topic]},
        default: {topic: bees, limit: 2}}
config: {stream: true, max_method_calls: 20}
methods:
  seed:
    start: true
    description: The topic in capitals
    do: {call: expression, expr: "state.topic + '!'"}
  route:
    listen: seed
    router: true
    emit: [long, short]
    do: {call: expression, expr: "size(outputs.seed) > state.limit ? 'long' : 'short'"}
  on_long:
    listen: long
    do: {call: script, code: "text = outputs['seed']\\nreturn text.upper()"}
  on_short:
    listen: short
    do: {call: expression, expr: "outputs.seed"}
  both:
    listen: {or: [on_long, on_short]}
    do: {call: each, in: state.rows, do: [{name: twice, action: {call: expression, expr: item * 2}},
         {name: big, if: outputs.twice > 4, action: {call: expression, expr: "{'big': outputs.twice}"}}]}
"""


@pytest.fixture
def api(stack):
    return stack.tenant()


@pytest.fixture(scope="module")
def shared(stack):
    return stack.tenant()


def provider(api, kind, name, **config):
    body = {"name": name, "provider_type": kind, "config": config}
    if kind != "demo":
        body["api_credentials"] = {"api_key": "k"}
    return checked(api.post("llm-providers", json=body), 201).json()["llm_provider"]["id"]


def tool(api, name):
    body = {"name": name, "input_schema": {}, "execution_config": {"kind": "code", "language": "bash", "source": "echo 1"}}
    return checked(api.post("tools", json=body), 201).json()["tool"]["id"]


def imported(api, files, code=201, **more):
    return checked(api.post("crews/import", json={"files": files, **more}), code).json()


def preview(api, files, **more):
    return imported(api, files, 200, preview=True, **more)


def findings(answer, severity=None):
    return {(one["path"], one["severity"]) for one in answer["findings"] if severity in (None, one["severity"])}


def count(api, kind):
    return checked(api.get(kind), 200).json()["total"]


# ---- agents.yaml and tasks.yaml --------------------------------------------------------------------------------------

def test_a_yaml_project_becomes_agents_and_a_crew(api):
    openai, anthropic, serper = provider(api, "openai", "one"), provider(api, "anthropic", "two"), tool(api, "serper_dev_tool")
    seen = preview(api, PROJECT, process="sequential", order=["research_task", "report_task"])
    assert [count(api, kind) for kind in ("agents", "crews")] == [0, 0]
    assert findings(seen) == {("", "ignored"), ("researcher.verbose", "ignored"), ("report_task.output_file", "changed")}
    made = imported(api, PROJECT, process="sequential", order=["research_task", "report_task"], name="Team")
    researcher, writer = made["agents"]
    assert researcher["config"] == {"role": "{topic} Senior Data Researcher", "goal": "Uncover developments in {topic}",
                                    "backstory": "You check twice.", "model": "gpt-4o", "tools": [serper], "max_iter": 7}
    assert researcher["llm_provider_id"] == openai and writer["llm_provider_id"] == anthropic
    crew, = made["crews"]
    assert crew["name"] == "Team" and crew["state"] == "active" and crew["agent_ids"] == [researcher["id"], writer["id"]]
    assert [task["name"] for task in crew["config"]["tasks"]] == ["research_task", "report_task"]
    assert crew["config"]["tasks"][1]["context"] == ["research_task"] and crew["config"]["tasks"][1]["guardrail"] == "It names its sources."
    assert checked(api.get(f"crews/{crew['id']}"), 200).json()["crew"] == crew
    again = imported(api, PROJECT, process="sequential", name="Team")
    assert again["crews"][0]["name"] == "Team 2" and [one["name"] for one in again["agents"]] == ["researcher 2", "writer 2"]
    wait_until(lambda: {"agent.create", "crew.create"} <=
               {one["action"] for one in checked(api.get("audit-log"), 200).json()["entries"]}, "the entries of the audit log", 30)


def test_what_the_tenant_does_not_have_makes_a_draft(shared):
    made = imported(shared, PROJECT)
    assert findings(made, "needs_attention") == {("", "needs_attention"), ("researcher.llm", "needs_attention"),
                                                 ("researcher.tools[0]", "needs_attention"), ("writer.llm", "needs_attention")}
    assert made["crews"][0]["state"] == "draft" and {one["state"] for one in made["agents"]} == {"draft"}
    assert made["agents"][0]["config"]["model"] == "gpt-4o" and made["agents"][0]["llm_provider_id"] is None


def test_a_later_task_moves_behind_what_it_builds_on(shared):
    tasks = yaml.safe_load(TASKS)
    turned = {"report_task": tasks["report_task"], "research_task": tasks["research_task"]}
    seen = preview(shared, {"agents.yaml": AGENTS, "tasks.yaml": yaml.safe_dump(turned, sort_keys=False)})
    assert [task["name"] for task in seen["crews"][0]["config"]["tasks"]] == ["research_task", "report_task"]
    assert any("moved" in one["message"] for one in seen["findings"])


def test_a_manager(shared):
    boss = AGENTS + "boss: {role: Boss, goal: Lead, backstory: B}\n"
    files = {"agents.yaml": boss, "tasks.yaml": TASKS}
    crew, = preview(shared, files, process="hierarchical", manager_agent="boss")["crews"]
    assert crew["collaboration_pattern"] == "hierarchical" and len(crew["agent_ids"]) == 2
    assert crew["config"]["manager_agent_id"] not in crew["agent_ids"]
    own = preview(shared, files, process="hierarchical")     # nobody is named: one is made
    assert own["agents"][-1]["config"]["role"] == "Crew Manager" and len(own["crews"][0]["agent_ids"]) == 3
    assert own["crews"][0]["config"]["manager_agent_id"] == own["agents"][-1]["id"]
    for leader, path in (("nobody", "tasks.yaml: manager_agent"), ("writer", "tasks.yaml: report_task.agent")):
        refused = shared.post("crews/import", json={"files": files, "process": "hierarchical", "manager_agent": leader})
        assert fault_paths(refused) == [path]


# ---- crew.jsonc ------------------------------------------------------------------------------------------------------

def test_a_jsonc_project_becomes_a_crew(shared):
    made = imported(shared, JSONC)
    crew, = made["crews"]
    assert crew["name"].startswith("Newsroom") and crew["collaboration_pattern"] == "sequential" and crew["config"]["memory"] is True
    assert made["agents"][0]["config"]["max_rpm"] == 3
    assert {("surprise", "needs_attention"), ("inputs", "changed"), ("settings.verbose", "ignored")} <= findings(made)


# ---- flows -----------------------------------------------------------------------------------------------------------

def test_a_flow_is_made_and_runs(api):
    made = imported(api, {"flow.yaml": FLOW})
    flow = made["flow"]
    assert flow["name"] == "Review" and made["crews"] == [] and made["agents"] == []
    kinds = {node["id"]: node["type"] for node in flow["nodes"]}
    assert kinds == {"start": "start", "state": "transform", "seed": "transform", "route": "transform", "route_route": "switch",
                     "on_long": "code", "on_short": "transform", "both": "loop", "both_twice": "transform", "both_big": "transform",
                     "both_big_if": "condition", "both_last": "transform", "both_any": "join", "output": "output"}
    for inputs, word in (({"rows": [1, 2, 3]}, "BEES!"), ({"rows": [], "topic": "a"}, None)):
        done = api.wait(api.execute(flow["id"], inputs).json()["execution_id"])
        assert done["execution"]["status"] == "succeeded", done
        assert done["execution"]["outputs"] == [value if value <= 4 else {"big": value} for value in (2 * n for n in inputs["rows"])]
        outputs = {node["node_id"]: node.get("outputs") for node in done["nodes"]}
        assert outputs.get("on_long") == word


def test_a_flow_comes_back_as_it_was(shared):
    first = preview(shared, {"flow.yaml": FLOW})["flow"]
    stored = imported(shared, {"flow.yaml": FLOW})["flow"]
    answer = checked(shared.get(f"flows/{stored['id']}/export?format=crewai"), 200).json()
    assert list(answer["files"]) == ["flow.yaml"] and not findings(answer, "needs_attention")
    again = preview(shared, answer["files"])["flow"]
    for member in ("nodes", "edges", "input_schema"):
        assert again[member] == first[member], member
