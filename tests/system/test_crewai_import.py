"""CrewAI's projects: what an import makes, what it tells, what it refuses, and that an export comes back as it was."""

import concurrent.futures
import json
import os

import pytest
import yaml

from kit.cli import Cli
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
state: {type: json_schema, json_schema: {type: object, properties: {topic: {type: string}, rows: {type: array}, limit: {type: integer}}, required: [topic]},
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


# ---- crews come back -------------------------------------------------------------------------------------------------

def rich_crew(api):
    """A crew with everything that a crew may have."""
    llm = provider(api, "anthropic", "claude", models=["claude-x"], default_model="claude-x")
    provider(api, "anthropic", "another")
    known = tool(api, "look up")
    agent = lambda name, **config: checked(api.post("agents", json={  # noqa: E731
        "name": name, "description": f"is {name}", "system_prompt": "Be kind.", "llm_provider_id": llm,
        "config": {"role": f"The {name}: {{topic}}", "goal": "x\ny", "backstory": "'b' \"c\" #d", "model": "claude-x",
                   **config}}), 201).json()["agent"]["id"]
    first = agent("Fact finder", tools=[known], max_iter=3, max_rpm=9, max_execution_time=60, temperature=0.5, max_tokens=500, memory=True)
    second, boss = agent("class", allow_delegation=True), agent("the boss")
    tasks = [{"name": "Find it!", "description": "Find {topic}\n- a\n- b", "expected_output": "yes", "agent_id": first,
              "async_execution": True},
             {"name": "write", "description": "Write", "expected_output": "text", "agent_id": second, "context": ["Find it!"],
              "guardrail": "It is true.", "human_input": True, "schema": {"type": "object", "properties": {"a": {"type": "string"}}},
              "condition": "{{ .outputs != null }}"},
             {"name": "alone", "description": "Alone", "expected_output": "x", "agent_id": second, "context": []}]
    return checked(api.post("crews", json={
        "name": "The: crew #1", "description": "does it", "agent_ids": [first, second], "collaboration_pattern": "hierarchical",
        "config": {"tasks": tasks, "manager_agent_id": boss, "planning": True, "memory": False, "max_rpm": 30}}), 201).json()["crew"]


def plain(agents, crew):
    """What a crew says, without ids of its own and numbers behind names."""
    names = {one["id"]: one["name"].removesuffix(" 2") for one in agents}
    ids = lambda text: next((name for one, name in names.items() if one == text), text)  # noqa: E731
    config = json.loads(json.dumps(crew["config"]))
    for task in config["tasks"]:
        task["agent_id"] = ids(task.get("agent_id"))
    config["manager_agent_id"] = ids(config.get("manager_agent_id"))
    return {"name": crew["name"].removesuffix(" 2"), "description": crew.get("description", ""), "config": config,
            "pattern": crew["collaboration_pattern"], "agents": [ids(one) for one in crew["agent_ids"]],
            "of": {ids(one["id"]): {**{member: one.get(member) for member in ("description", "system_prompt", "llm_provider_id")},
                                    "config": one["config"]} for one in agents}}


@pytest.mark.parametrize("form", ["yaml", "jsonc"])
def test_a_crew_comes_back_as_it_was(api, form):
    crew = rich_crew(api)
    agents = checked(api.get("agents"), 200).json()["agents"]
    answer = checked(api.get(f"crews/{crew['id']}/export?format={form}"), 200).json()
    assert "windlass.yaml" in answer["files"] and answer == checked(api.get(f"crews/{crew['id']}/export?format={form}"), 200).json()
    seen = preview(api, answer["files"])
    assert plain(seen["agents"], seen["crews"][0]) == plain(agents, crew)
    assert {one["message"] for one in seen["findings"]} <= {"programs are neither run nor read"}
    made = imported(api, answer["files"])
    assert plain(made["agents"], made["crews"][0]) == plain(agents, crew)
    lost = {(one["file"], one["path"]) for one in answer["findings"]}
    first = "config/agents.yaml" if form == "yaml" else "agents/Fact_finder.jsonc"
    where = "Fact_finder." if form == "yaml" else ""
    assert {(first, where + "tools[0]"), (first, where + "temperature"), (first, where + "system_prompt")} <= lost


# ---- what is refused -------------------------------------------------------------------------------------------------

BOMB = "a: &a [x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join(['*' + before] * 8)}]\n" for before, name in zip("abcdefghij", "bcdefghijk", strict=True))
AGENT = "a: {role: r, goal: g, backstory: b}\n"


def yaml_tasks(*tasks):
    return {"agents.yaml": AGENT, "tasks.yaml": "".join(tasks)}


def task_text(name, more=""):
    return f"{name}: {{description: d, expected_output: e{more}}}\n"


REFUSED = {
    "no files": ({}, None),
    "nothing of CrewAI": ({"readme.md": "x"}, ["files"]),
    "no tasks": ({"agents.yaml": AGENT}, ["files"]),
    "a path that leads out": ({"../agents.yaml": AGENT}, ["files: ../agents.yaml"]),
    "an absolute path": ({"/agents.yaml": AGENT}, ["files: /agents.yaml"]),
    "a path of another system": ({"a\\agents.yaml": AGENT}, ["files: a\\agents.yaml"]),
    "an empty part": ({"a//agents.yaml": AGENT}, ["files: a//agents.yaml"]),
    "a control character": ({"a\nb.yaml": "x"}, ["files: a\nb.yaml"]),
    "two of a kind": ({"a/agents.yaml": AGENT, "b/agents.yaml": AGENT, "tasks.yaml": "x"}, ["b/agents.yaml"]),
    "an alias bomb": ({"agents.yaml": BOMB, "tasks.yaml": "x: 1"}, ["agents.yaml"]),
    "deep nesting": ({"agents.yaml": "[" * 500 + "]" * 500, "tasks.yaml": task_text("t")}, ["agents.yaml"]),
    "a list of agents": ({"agents.yaml": "- a", "tasks.yaml": task_text("t", ", agent: a")}, ["agents.yaml"]),
    "a key twice": ({"agents.yaml": AGENT + AGENT, "tasks.yaml": task_text("t")}, ["agents.yaml"]),
    "an agent of the wrong type": ({"agents.yaml": "a: [1]", "tasks.yaml": task_text("t", ", agent: a")}, ["agents.yaml: a"]),
    "members of the wrong type": ({"agents.yaml": "a: {role: 1, goal: [], backstory: {}, max_iter: x, tools: 1, llm: 1, memory: 3}",
                                   "tasks.yaml": task_text("t")}, [f"agents.yaml: a.{name}" for name in (
                                       "role", "goal", "backstory", "max_iter", "tools", "llm", "memory")]),
    "a number out of bounds": ({"agents.yaml": "a: {max_iter: 0}", "tasks.yaml": task_text("t")}, ["agents.yaml: a.max_iter"]),
    "a task without an agent": (yaml_tasks(task_text("t")), ["tasks.yaml: t.agent"]),
    "a task with an unknown agent": (yaml_tasks(task_text("t", ", agent: b")), ["tasks.yaml: t.agent"]),
    "a task without a description": (yaml_tasks("t: {agent: a}"), ["tasks.yaml: t.description", "tasks.yaml: t.expected_output"]),
    "an unknown context": (yaml_tasks(task_text("t", ", agent: a, context: [u]")), ["tasks.yaml: t.context[0]"]),
    "contexts in a circle": (yaml_tasks(task_text("t", ", agent: a, context: [u]"), task_text("u", ", agent: a, context: [t]")),
                             ["tasks.yaml: t.context"]),
    "a task on itself": (yaml_tasks(task_text("t", ", agent: a, context: [t]")), ["tasks.yaml: t.context"]),
    "10,000 tasks": (yaml_tasks(*(task_text(f"t{n}", ", agent: a") for n in range(10000))), ["tasks.yaml"]),
    "101 agents": ({"agents.yaml": "".join(AGENT.replace("a", f"a{n}", 1) for n in range(101)), "tasks.yaml": "x: 1"}, ["agents.yaml"]),
    "an open comment": ({"crew.jsonc": "{ /* x"}, ["crew.jsonc"]),
    "two commas": ({"crew.jsonc": '{"agents": ["a",,]}'}, ["crew.jsonc"]),
    "an agent without a file": ({"crew.jsonc": '{"agents": ["../a"], "tasks": []}'}, ["crew.jsonc: agents[0]"]),
    "a strange process": ({**JSONC, "crew.jsonc": CREW_JSONC.replace("sequential", "consensual")}, ["crew.jsonc: process"]),
    "a strange windlass.yaml": ({**JSONC, "windlass.yaml": "windlass: crew/v9"}, ["windlass.yaml: windlass"]),
    "a flow without methods": ({"f.yaml": "schema: crewai.flow/v1\nname: x"}, ["f.yaml: methods"]),
    "a flow without a start": ({"f.yaml": "schema: crewai.flow/v1\nmethods: {a: {do: {call: expression, expr: '1'}}}"}, ["f.yaml"]),
    "an unknown action": ({"f.yaml": "schema: crewai.flow/v1\nmethods: {a: {start: true, do: {call: rm}}}"}, ["f.yaml: methods.a.do.call"]),
    "a method of the wrong type": ({"f.yaml": "schema: crewai.flow/v1\nmethods: {a: 1, 'b c': {start: 7, do: 1, listen: [x], emit: 1}}"},
                                   ["f.yaml: methods.a", "f.yaml: methods.b c", "f.yaml: methods.b c.start", "f.yaml: methods.b c.do",
                                    "f.yaml: methods.b c.listen", "f.yaml: methods.b c.emit"]),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_bad_project_is_refused_with_its_place(shared, case):
    files, paths = REFUSED[case]
    before = [count(shared, kind) for kind in ("agents", "crews", "flows")]
    answer = shared.post("crews/import", json={"files": files})
    if paths is None:
        checked(answer, 400)
    else:
        assert fault_paths(answer) == paths, answer.text
    assert [count(shared, kind) for kind in ("agents", "crews", "flows")] == before


def test_an_order_names_tasks_once(shared):
    body = {"files": PROJECT, "order": ["research_task", "research_task", "nothing"]}
    assert fault_paths(shared.post("crews/import", json=body)) == ["order[1]", "order[2]"]
    left = preview(shared, PROJECT, order=["research_task"])
    assert [task["name"] for task in left["crews"][0]["config"]["tasks"]] == ["research_task"]
    assert ("report_task", "changed") in findings(left)


def test_imports_at_once_get_names_of_their_own(api):
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda _: imported(api, JSONC), range(4)))
    assert {one["crews"][0]["name"] for one in made} == {"Newsroom", "Newsroom 2", "Newsroom 3", "Newsroom 4"}
    assert count(api, "agents") == 8


def test_nothing_is_kept_when_the_store_refuses(api):
    """What passes the reader may still be refused: then the agents are not there either."""
    tasks = TASKS.replace("guardrail: It names its sources.", "output_json: {type: 7}")
    assert fault_paths(api.post("crews/import", json={"files": {"agents.yaml": AGENTS, "tasks.yaml": tasks}})) == ["crew"]
    wide = FLOW.replace("size(outputs.seed) > state.limit ? 'long' : 'short'", "outputs.seed").replace("emit: [long, short]",
                                                                                                          "emit: ['a b', a_b]")
    assert "flow" in fault_paths(api.post("crews/import", json={"files": {"flow.yaml": wide}}))
    assert [count(api, kind) for kind in ("agents", "crews", "flows")] == [0, 0, 0]


def test_too_many_files_and_too_large_ones(shared):
    checked(shared.post("crews/import", json={"files": {f"{n}.yaml": "x" for n in range(101)}}), 400)
    half = "#" * (1 << 20)
    assert fault_paths(shared.post("crews/import", json={"files": {"a.yaml": half, "b.yaml": half, "c.yaml": half}})) == ["files"]


def test_what_is_not_carried_over_is_told(shared):
    flow = """
schema: crewai.flow/v1
name: told
persist: {enabled: true}
methods:
  a: {start: true, do: {call: code, ref: "m:f", with: {x: "${now()}"}}}
  b: {listen: {or: [a, d]}, do: {call: expression, expr: "state.x.matches('y')"}}
  c: {listen: b, do: {call: tool, ref: "m:NoTool"}}
  d: {listen: c, router: true, emit: [more], do: {call: expression, expr: outputs.zzz}}
  e: {listen: nobody, do: {call: expression, expr: '1'}}
  f: {listen: c, human_feedback: {message: 'Good?', emit: [yes_, no_, later]}, do: {call: expression, expr: "'{{'"}, odd: 1}
"""
    seen = preview(shared, {"flow.yaml": flow})
    told = {path for path, severity in findings(seen, "needs_attention")}
    assert {"methods.a.do.ref", "methods.a.do.with.x", "methods.b.do.expr", "methods.c.do.ref", "methods.d.do.expr", "methods.e.listen",
            "methods.e", "methods.f.human_feedback.emit", "methods.f.odd", "methods.b.listen"} <= told
    assert "cycles" in json.dumps(seen["findings"]) and {node["id"] for node in seen["flow"]["nodes"]} >= {"a", "b", "c", "d", "f"}
    imported(shared, {"flow.yaml": flow})      # it is a flow all the same


# ---- the command line ------------------------------------------------------------------------------------------------

def test_the_command_line_shows_and_makes(stack, api, tmp_path):
    cli = Cli(tmp_path / "home", stack.urls["web"], WINDLASS_TOKEN=api.access)
    secret, project = tmp_path / "secret.yaml", tmp_path / "project"
    secret.write_text("not: this")
    for path, text in {**PROJECT, ".git/config.yaml": "x: 1", "notes.txt": "n"}.items():
        (project / path).parent.mkdir(parents=True, exist_ok=True)
        (project / path).write_text(text)
    (project / "linked.yaml").symlink_to(secret)
    (project / "up").symlink_to(tmp_path)
    shown = cli("import", "crewai", project, "--process", "sequential").stdout
    assert "nothing was made" in shown and "needs_attention src/x/config/agents.yaml researcher.llm" in shown
    assert "linked" not in shown and "secret" not in shown and count(api, "crews") == 0
    made = cli.json("import", "crewai", project, "--process", "sequential", "--name", "By hand", "--yes")
    assert made["crews"][0]["name"] == "By hand" and count(api, "crews") == 1
    for form, name in (("yaml", "crew.py"), ("jsonc", "crew.jsonc")):
        out = tmp_path / form
        assert name in cli("export", "crewai", "By hand", out, "--format", form).stdout
        again = cli.json("import", "crewai", out)["crews"][0]
        assert [task["name"] for task in again["config"]["tasks"]] == ["research_task", "report_task"]
        cli("export", "crewai", "By hand", out, code=2)     # nothing is written over
    (project / "latin.yaml").write_bytes("é: 1".encode("latin-1"))
    assert "UTF-8" in cli("import", "crewai", project, code=2).stderr
    cli("import", "crewai", tmp_path / "nowhere", code=2)
    os.mkfifo(tmp_path / "empty.yaml")
    (tmp_path / "none").mkdir()
    cli("import", "crewai", tmp_path / "none", code=2)
    bad = tmp_path / "bad"
    bad.mkdir()
    (bad / "agents.yaml").write_text("a: [")
    (bad / "tasks.yaml").write_text("t: 1")
    assert "agents.yaml" in cli("import", "crewai", bad, code=6).stderr
