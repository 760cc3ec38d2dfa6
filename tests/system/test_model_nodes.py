"""Nodes that ask models: llm, agent and crew, with their trace, their record and what they cost."""

import json

import pytest

from kit.client import checked
from kit.flows import Flow, ex, of
from kit.model_server import ModelServer, Turn
from kit.models import KEY, agent, crew, decide, provider, two_tasks
from kit.secrets import places_of
from kit.tools import make_tool
from kit.waiting import wait_until

ADD = "import json, sys\nn = json.load(sys.stdin)\nprint(json.dumps({'sum': n['a'] + n['b']}))"
NUMBERS = {"type": "object", "properties": {"a": {"type": "number"}, "b": {"type": "number"}}, "required": ["a", "b"]}


@pytest.fixture(scope="module")
def team(stack):
    return stack.tenant()


@pytest.fixture
def models():
    with ModelServer() as server:
        yield server


def good(answer, node):
    assert answer["execution"]["status"] == "succeeded", answer["execution"]
    return answer["node"][node]["outputs"]


def fault(answer, node):
    assert answer["execution"]["status"] == "failed", answer["execution"]
    return answer["node"][node]["error"]


def ask(api, provider_id, **data):
    return api.run(Flow().add("ask", "llm", **{"provider_id": provider_id, "prompt": "Say hello", **data}).output(ex(of("ask"))))


# ---- llm -----------------------------------------------------------------------------------------------------------

def test_a_new_tenant_asks_the_demo_provider_without_a_key(stack):
    api = stack.tenant()
    out = good(api.run(Flow().add("ask", "llm", prompt="What is {{ .inputs.what }}?").output(1), {"what": "a crew"}), "ask")
    assert "demo" in out["text"] and "What is a crew?" in out["text"]
    assert out["usage"]["total_tokens"] > 0 and out["usage"]["cost"] == 0
    assert out["json"] is None


def test_what_is_asked_arrives_and_what_is_answered_is_kept(team, models):
    models.say("Hello, world", usage={"prompt": 12, "completion": 3, "cached": 4})
    answer = ask(team, provider(team, models), system="Be brief.", temperature=0.5, max_tokens=50, stop=["END"])
    asked = models.asked[0].json
    assert [(m["role"], m["content"]) for m in asked["messages"]] == [("system", "Be brief."), ("user", "Say hello")]
    assert (asked["temperature"], asked["stop"]) == (0.5, ["END"])
    assert models.asked[0].headers["authorization"] == f"Bearer {KEY}"
    out = good(answer, "ask")
    assert out["text"] == "Hello, world"
    assert (out["usage"]["prompt_tokens"], out["usage"]["completion_tokens"], out["usage"]["cached_tokens"]) == (12, 3, 4)
    step, = answer["node"]["ask"]["trace"]
    assert (step["kind"], step["state"], step["output"]) == ("model", "succeeded", "Hello, world")


def test_an_answer_that_does_not_fit_its_schema_is_asked_for_again(team, models):
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    models.say("I would say seven")
    models.say('{"n": "seven"}')
    models.say('{"n": 7}')
    answer = ask(team, provider(team, models), schema=schema)
    assert good(answer, "ask")["json"] == {"n": 7}
    assert "does not fit" in models.asked[1].last and len(models.asked) == 3
    assert good(answer, "ask")["usage"]["model_calls"] == 3


def test_an_answer_that_never_fits_fails_with_what_was_spent(team, models):
    for _ in range(3):
        models.say("no", usage={"prompt": 5, "completion": 1})
    error = fault(ask(team, provider(team, models), schema={"type": "object", "required": ["n"]}), "ask")
    assert error["code"] == "output_invalid"
    assert error["detail"]["usage"]["total_tokens"] == 18


@pytest.mark.parametrize("name, code", [
    ("key", "model_key_refused"), ("model", "model_unknown"), ("too_long", "context_too_long"), ("filter", "content_filter"),
    ("broken", "model_unavailable"), ("garbage", "model_answer_invalid"), ("html", "model_answer_invalid"),
])
def test_what_a_server_refuses_is_a_clear_error(team, models, name, code):
    models.fail(name)
    error = fault(ask(team, provider(team, models)), "ask")
    assert error["code"] == code
    assert KEY not in json.dumps(error)


def test_a_picture_goes_along(team, models):
    models.say("a dot")
    dot = "data:image/png;base64,iVBORw0KGgo="
    good(ask(team, provider(team, models), images=[dot]), "ask")
    parts = models.asked[0].json["messages"][-1]["content"]
    assert {"type": "image_url", "image_url": {"url": dot}} in [{k: p.get(k) for k in ("type", "image_url")} for p in parts]


def test_a_picture_that_is_none_is_refused(team, models):
    error = fault(ask(team, provider(team, models), images=["file:///etc/passwd"]), "ask")
    assert error["code"] == "input_invalid" and not models.asked


def test_a_provider_that_is_not_there(team):
    flow = Flow().add("ask", "llm", provider_id="01900000-0000-7000-8000-000000000000", prompt="?").output(1)
    assert fault(team.run(flow), "ask")["code"] == "provider_missing"


def test_a_node_that_takes_too_long_is_ended(team, models):
    models.say("late", wait_s=30)
    error = fault(ask(team, provider(team, models), timeout_s=1), "ask")
    assert error["code"] == "timeout"


def test_a_cancel_ends_a_call_that_is_under_way(team, models):
    models.say("late", wait_s=60)
    eid = team.start(Flow().add("ask", "llm", provider_id=provider(team, models), prompt="?").output(1))
    wait_until(lambda: models.asked, "the question", 20)
    checked(team.cancel(eid), 202)
    assert team.wait(eid, 10)["execution"]["status"] == "cancelled"


# ---- agents --------------------------------------------------------------------------------------------------------

def test_an_agent_calls_a_tool_in_its_sandbox_and_answers(team, models):
    tool = make_tool(team, {"kind": "code", "language": "python", "source": ADD}, input_schema=NUMBERS, name="Add numbers")
    models.say(tools=[("add_numbers", {"a": 2, "b": 40})])
    models.say("It is 42.")
    one = agent(team, provider(team, models), tools=[tool])
    flow = Flow().add("do", "agent", agent_id=one, task="Add {{ .inputs.a }} and 40", expected_output="A number").output(1)
    answer = team.run(flow, {"a": 2})
    out = good(answer, "do")
    assert out["text"] == "It is 42." and out["usage"]["tool_calls"] == 1 and out["usage"]["model_calls"] == 2
    first, second = models.asked[0].json, models.asked[1].json
    assert first["tools"][0]["function"]["name"] == "add_numbers"
    assert "Add 2 and 40" in json.dumps(first["messages"]) and "Counts since ever." in first["messages"][0]["content"]
    assert json.loads(second["messages"][-1]["content"]) == {"sum": 42}
    kinds = {step["kind"] for step in answer["node"]["do"]["trace"]}
    assert {"agent", "model", "tool"} <= kinds


def test_arguments_that_do_not_fit_go_back_to_the_model(team, models):
    tool = make_tool(team, {"kind": "code", "language": "python", "source": ADD}, input_schema=NUMBERS)
    models.answers(lambda asked: Turn("So be it.") if asked.messages[-1]["role"] == "tool" else
                   Turn(tools=[(asked.json["tools"][0]["function"]["name"], {"a": "two"})]))
    one = agent(team, provider(team, models), tools=[tool])
    assert good(team.run(Flow().add("do", "agent", agent_id=one, task="Add").output(1)), "do")["text"] == "So be it."
    assert "a" in models.asked[1].last


def test_an_agent_that_is_not_there(team):
    flow = Flow().add("do", "agent", agent_id="01900000-0000-7000-8000-000000000000", task="?").output(1)
    assert fault(team.run(flow), "do")["code"] == "agent_missing"


# ---- crews ---------------------------------------------------------------------------------------------------------

def test_a_crew_works_through_its_tasks(team, models):
    models.say("Cats sleep.", usage={"prompt": 10, "completion": 2})
    models.say("A text about cats.", usage={"prompt": 20, "completion": 5})
    asks = provider(team, models)
    one, two = agent(team, asks, "Finder"), agent(team, asks, "Writer")
    answer = team.run(Flow().add("work", "crew", crew_id=crew(team, [one, two], two_tasks(one, two))).output(ex(of("work", ".text"))),
                      {"topic": "cats"})
    out = good(answer, "work")
    assert out["text"] == "A text about cats." == answer["execution"]["outputs"]
    assert [(task["name"], task["text"]) for task in out["tasks"]] == [("find", "Cats sleep."), ("write", "A text about cats.")]
    assert (out["usage"]["prompt_tokens"], out["usage"]["completion_tokens"]) == (30, 7)
    assert "Cats sleep." in json.dumps(models.asked[1].json["messages"])
    steps = answer["node"]["work"]["trace"]
    assert [step["name"] for step in steps if step["kind"] == "task"] == ["find", "write"]
    assert [step["id"] for step in steps] == list(range(1, len(steps) + 1)), "in order of beginning"
    assert all(step["parent"] < step["id"] for step in steps)
    assert answer["execution"]["usage"]["prompt_tokens"] == 30


def test_a_name_without_a_value_is_told_before_anything_is_asked(team, models):
    asks = provider(team, models)
    one, two = agent(team, asks, "Finder"), agent(team, asks, "Writer")
    flow = Flow().add("work", "crew", crew_id=crew(team, [one, two], two_tasks(one, two))).output(1)
    error = fault(team.run(flow, {"subject": "cats"}), "work")
    assert error["code"] == "input_missing" and "topic" in error["message"]
    assert not models.asked


def test_a_person_reviews_a_task_and_nothing_is_asked_twice(team, models):
    models.say("Cats sleep.")
    models.say("A text about cats.")
    models.say("A better text about cats.")
    asks = provider(team, models)
    one, two = agent(team, asks, "Finder"), agent(team, asks, "Writer")
    eid = team.start(Flow().add("work", "crew", crew_id=crew(team, [one, two], two_tasks(one, two, human_input=True))).output(1),
                     {"topic": "cats"})
    assert "A text about cats." in decide(team, eid, "reject", "Make it better")["message"]
    decide(team, eid, "approve")
    answer = team.wait(eid)
    assert answer["execution"]["status"] == "succeeded", answer["execution"]
    work = next(node for node in answer["nodes"] if node["node_id"] == "work")
    assert work["outputs"]["text"] == "A better text about cats."
    assert len(models.asked) == 3 and "Make it better" in json.dumps(models.asked[2].json["messages"])


# ---- secrets -------------------------------------------------------------------------------------------------------

def test_the_key_is_nowhere_even_when_the_server_repeats_it(stack, team, models):
    models.say(f"Your key is {KEY}, is it not?")
    assert good(ask(team, provider(team, models)), "ask")["text"] == "Your key is ***, is it not?"
    models.say(tools=[("nothing", {"key": KEY})])
    models.say("Done.")
    one = agent(team, provider(team, models))
    good(team.run(Flow().add("do", "agent", agent_id=one, task="Go").output(1)), "do")
    assert not places_of(stack, KEY)


# ---- budgets -------------------------------------------------------------------------------------------------------

def budget(api, scope="run", **more):
    body = {"scope": scope, "unit": "tokens", "limit": 2000, **more}
    return checked(api.post("budgets", json=body), 201).json()["budget"]["id"]


def large(api, provider_id, **data):
    """A question that a budget of 2,000 tokens has room for once, and not twice."""
    return (Flow().add("one", "llm", provider_id=provider_id, prompt="First", max_tokens=1500)
            .add("two", "llm", provider_id=provider_id, prompt="Second", max_tokens=1500, **data).output(ex(of("two"))))


def test_a_budget_that_is_reached_stops_the_run_before_anything_is_asked(stack, models):
    api = stack.tenant()
    budget(api, action="stop")
    models.say("first", usage={"prompt": 10, "completion": 1400})
    error = fault(api.run(large(api, provider(api, models))), "two")
    assert error["code"] == "budget_exceeded"
    assert (error["detail"]["budget"]["scope"], error["detail"]["budget"]["used"]) == ("run", 1410)
    assert len(models.asked) == 1


def test_a_person_may_let_a_run_go_beyond_its_budget(stack, models):
    api = stack.tenant()
    budget(api, action="ask")
    models.say("first", usage={"prompt": 10, "completion": 1400})
    models.say("second", usage={"prompt": 10, "completion": 3})
    eid = api.start(large(api, provider(api, models)))
    assert "budget of the run" in decide(api, eid, "approve")["message"]
    answer = api.wait(eid)
    assert answer["execution"]["status"] == "succeeded", answer["execution"]
    assert answer["execution"]["outputs"]["text"] == "second" and len(models.asked) == 2


def test_a_person_is_asked_for_a_crews_vectors_too(stack, models):
    api = stack.tenant()
    budget(api, action="ask")
    asks = provider(api, models)
    one = agent(api, asks, "Finder", max_tokens=50)
    task = {"name": "find", "description": "Find facts about bees and ants", "expected_output": "Facts", "agent_id": one}
    models.say("first", usage={"prompt": 10, "completion": 1988})
    models.say("Bees.", usage={"prompt": 10, "completion": 3})
    eid = api.start(Flow().add("one", "llm", provider_id=asks, prompt="First", max_tokens=1500)
                    .add("work", "crew", crew_id=crew(api, [one], [task], memory=True)).output(ex(of("work"))))
    assert "budget of the run" in decide(api, eid, "approve")["message"]
    assert not [asked for asked in models.asked if asked.path == "/v1/embeddings"]
    answer = api.wait(eid)
    assert answer["execution"]["status"] == "succeeded", answer["execution"]
    assert answer["execution"]["outputs"]["text"] == "Bees."
    assert [asked for asked in models.asked if asked.path == "/v1/embeddings"]


def test_a_person_may_refuse_to_go_beyond_a_budget(stack, models):
    api = stack.tenant()
    budget(api, action="ask")
    models.say("first", usage={"prompt": 10, "completion": 1400})
    eid = api.start(large(api, provider(api, models)))
    decide(api, eid, "reject")
    answer = api.wait(eid)
    assert answer["execution"]["error"]["code"] == "budget_exceeded" and len(models.asked) == 1


def test_a_budget_goes_to_a_cheaper_model(stack, models):
    api = stack.tenant()
    asks = provider(api, models)
    budget(api, action="cheaper", cheaper={"llm_provider_id": asks, "model": "scripted-2"})
    models.say("first", usage={"prompt": 10, "completion": 1400})
    models.say("second")
    good(api.run(large(api, asks)), "two")
    assert [asked.json["model"] for asked in models.asked] == ["scripted-1", "scripted-2"]


# ---- replay and fork -------------------------------------------------------------------------------------------------

def recorded(api, models, effects=None):
    """An ended run of a crew with a tool before it, and its flow."""
    models.answers(lambda asked: Turn(f"About {len(asked.messages)}.", usage={"prompt": 9, "completion": 2}))
    asks = provider(api, models)
    one, two = agent(api, asks, "Finder"), agent(api, asks, "Writer")
    flow = Flow()
    if effects:
        flow.add("call", "http", method="POST", url=effects.effect_url("call"))
    flow_id = api.create(flow.add("work", "crew", crew_id=crew(api, [one, two], two_tasks(one, two)), input={"topic": ex(".inputs.topic")})
                         .transform("after", {"said": ex(of("work", ".text"))}).output(ex(of("after"))))
    answer = api.wait(api.start(flow_id, {"topic": "cats"}))
    assert answer["execution"]["status"] == "succeeded", answer["execution"]
    return answer["execution"], flow_id


def test_a_replay_asks_nobody_and_costs_nothing(stack, team, models, effects):
    first, _ = recorded(team, models, effects)
    asked, calls = len(models.asked), effects.calls["effect"]
    spent = stack.sql("SELECT count(*) FROM control.model_call WHERE tenant = %s", team.tenant)
    eid = checked(team.post(f"executions/{first['id']}/replay"), 202).json()["execution_id"]
    again = team.wait(eid)["execution"]
    assert (again["status"], again["outputs"], again["source"]) == ("succeeded", first["outputs"], "replay"), again
    assert (len(models.asked), effects.calls["effect"]) == (asked, calls)
    assert stack.sql("SELECT count(*) FROM control.model_call WHERE tenant = %s", team.tenant) == spent
    assert again["usage"]["prompt_tokens"] == 0
    steps = [step for step in next(n for n in team.execution(eid)["nodes"] if n["node_id"] == "work")["trace"] if step["kind"] == "model"]
    assert steps and all(step["replayed"] for step in steps)


def test_a_replay_that_diverges_says_where(stack, team, models):
    first, _ = recorded(team, models)
    with stack.documents("exchanges") as exchanges:
        changed = exchanges.update_one({"_id": {"$regex": f"^{first['id']}/work/task/1"}}, {"$set": {"h": "0" * 64}})
    assert changed.modified_count == 1
    eid = checked(team.post(f"executions/{first['id']}/replay"), 202).json()["execution_id"]
    again = team.wait(eid)["execution"]
    assert again["error"]["code"] == "replay_diverged" and again["error"]["detail"]["place"].startswith("task/1")


def test_a_fork_asks_only_what_is_new(team, models):
    first, flow_id = recorded(team, models)
    asked = len(models.asked)
    same = team.wait(team.start(flow_id, {"topic": "cats"}, version="draft", fork={"execution_id": first["id"]}))["execution"]
    assert same["outputs"] == first["outputs"] and len(models.asked) == asked
    other = team.wait(team.start(flow_id, {"topic": "dogs"}, version="draft", fork={"execution_id": first["id"]}))["execution"]
    assert other["status"] == "succeeded" and len(models.asked) == asked + 2


def test_a_fork_takes_the_crew_as_it_is_now(team, models):
    models.answers(lambda asked: Turn(f"About {len(models.asked)}."))
    asks = provider(team, models)
    one, two = agent(team, asks, "Finder"), agent(team, asks, "Writer")
    crew_id = crew(team, [one, two], two_tasks(one, two))
    flow_id = team.create(Flow().add("work", "crew", crew_id=crew_id).output(ex(of("work", ".text"))))
    first = team.wait(team.start(flow_id, {"topic": "cats"}))["execution"]
    tasks = two_tasks(one, two)
    tasks[1]["description"] = "Write briefly about {topic}"
    checked(team.put(f"crews/{crew_id}", json={"config": {"tasks": tasks}}), 200)
    forked = team.wait(team.start(flow_id, {"topic": "cats"}, version="draft", fork={"execution_id": first["id"]}))["execution"]
    assert forked["outputs"] == "About 3." and len(models.asked) == 3
    assert "Write briefly about cats" in json.dumps(models.asked[2].json["messages"])
    eid = checked(team.post(f"executions/{first['id']}/replay"), 202).json()["execution_id"]
    assert team.wait(eid)["execution"]["outputs"] == first["outputs"], "a replay runs the crew as it was"


def test_replays_and_forks_are_replayed_and_forked_themselves(stack, team, models):
    first, flow_id = recorded(team, models)
    again = lambda eid: team.wait(checked(team.post(f"executions/{eid}/replay"), 202).json()["execution_id"])["execution"]  # noqa: E731
    fork = lambda eid, topic="cats": team.wait(team.start(flow_id, {"topic": topic}, version="draft", fork={"execution_id": eid}))["execution"]  # noqa: E731
    asked = len(models.asked)
    replay = again(first["id"])
    of_replay = again(replay["id"])
    assert (of_replay["status"], of_replay["outputs"]) == ("succeeded", first["outputs"]), of_replay
    dogs = fork(first["id"], "dogs")
    assert len(models.asked) == asked + 2
    same = fork(again(fork(replay["id"])["id"])["id"])
    other = again(fork(dogs["id"], "dogs")["id"])
    assert (same["outputs"], other["outputs"]) == (first["outputs"], dogs["outputs"])
    assert len(models.asked) == asked + 2, "nobody was asked again"


def test_a_replay_asks_for_no_room(stack, models):
    api = stack.tenant()
    first, _ = recorded(api, models)
    stack.sql("UPDATE control.quota SET max_storage_gb = 0 WHERE tenant = %s", api.tenant)
    eid = checked(api.post(f"executions/{first['id']}/replay"), 202).json()["execution_id"]
    assert api.wait(eid)["execution"]["outputs"] == first["outputs"]


def test_a_run_of_another_flow_is_no_fork(team, models):
    first, _ = recorded(team, models)
    other = team.create(Flow().output(1))
    refused = team.post(f"flows/{other}/execute", json={"inputs": {}, "config": {"fork": {"execution_id": first["id"]}}})
    assert refused.status_code == 422 and refused.json()["errors"][0]["path"] == "config.fork.execution_id"


# ---- memory ----------------------------------------------------------------------------------------------------------

def test_a_crew_remembers_what_it_did_in_earlier_runs(stack, team, models):
    models.answers(lambda asked: Turn(f"Fact number {len(models.asked)}."))
    asks = provider(team, models)
    one, two = agent(team, asks, "Finder"), agent(team, asks, "Writer")
    remembering = crew(team, [one, two], two_tasks(one, two), memory=True)
    flow = team.create(Flow().add("work", "crew", crew_id=remembering).output(1))
    assert team.wait(team.start(flow, {"topic": "cats"}))["execution"]["status"] == "succeeded"
    said = [asked for asked in models.asked if asked.path.endswith("/chat/completions")]
    assert "Fact number" not in json.dumps(said[0].json["messages"])
    before = len(models.asked)
    answer = team.wait(team.start(flow, {"topic": "cats"}))
    assert answer["execution"]["status"] == "succeeded", answer["execution"]
    first = next(asked for asked in models.asked[before:] if asked.path.endswith("/chat/completions"))
    assert "Fact number" in json.dumps(first.json["messages"])
    work = next(node for node in answer["nodes"] if node["node_id"] == "work")
    assert "memory" in {step["kind"] for step in work["trace"]}
    with stack.documents("crew_memory") as memory:
        assert memory.count_documents({"t": team.tenant, "o": remembering}) == 4


def test_what_one_crew_remembers_no_other_knows(team, models):
    models.answers(lambda asked: Turn(f"Fact number {len(models.asked)}."))
    asks = provider(team, models)
    one, two = agent(team, asks, "Finder"), agent(team, asks, "Writer")
    for _ in range(2):
        flow = Flow().add("work", "crew", crew_id=crew(team, [one, two], two_tasks(one, two), memory=True)).output(1)
        before = len(models.asked)
        assert team.run(flow, {"topic": "dogs"})["execution"]["status"] == "succeeded"
        first = next(asked for asked in models.asked[before:] if asked.path.endswith("/chat/completions"))
        assert "Fact number" not in json.dumps(first.json["messages"])


def test_a_server_that_takes_no_tools_is_asked_in_text_and_only_once(team, models):
    """Its refusal is on record like an answer: after a person's review the crew goes the same way again."""
    tool = make_tool(team, {"kind": "code", "language": "python", "source": ADD}, input_schema=NUMBERS, name="Add in text")
    models.fail("no_tools")
    models.say('Thought: I add.\nAction: add_in_text\nAction Input: {"a": 20, "b": 22}')
    models.say("Thought: I know.\nFinal Answer: It is 42.")
    one = agent(team, provider(team, models), tools=[tool])
    tasks = [{"name": "add", "description": "Add 20 and 22", "expected_output": "A number", "agent_id": one, "human_input": True}]
    eid = team.start(Flow().add("work", "crew", crew_id=crew(team, [one], tasks)).output(1))
    decide(team, eid, "approve")
    answer = team.wait(eid)
    assert answer["execution"]["status"] == "succeeded", answer["execution"]
    work = next(node for node in answer["nodes"] if node["node_id"] == "work")
    assert work["outputs"]["text"] == "It is 42." and len(models.asked) == 3
    assert "42" in models.asked[2].last


def test_an_answer_for_something_else_is_left_and_asked_anew(stack, team, models):
    """The record holds another question than is asked now: the run goes on with a fresh one, and the person is asked again."""
    models.answers(lambda asked: Turn(f"Answer {len(models.asked)}"))
    one = agent(team, provider(team, models))
    tasks = [{"name": "say", "description": "Say it", "expected_output": "Words", "agent_id": one, "human_input": True}]
    eid = team.start(Flow().add("work", "crew", crew_id=crew(team, [one], tasks)).output(1))
    wait_until(lambda: team.get(f"approvals?status=pending&execution_id={eid}").json()["approvals"], "the question", 20)
    with stack.documents("exchanges") as exchanges:
        changed = exchanges.update_one({"_id": {"$regex": f"^{eid}/work/task/0/agent"}}, {"$set": {"h": "0" * 64}})
    assert changed.modified_count == 1
    assert "Answer 1" in decide(team, eid, "approve")["message"]
    assert "Answer 2" in decide(team, eid, "approve")["message"]
    answer = team.wait(eid)
    assert answer["execution"]["status"] == "succeeded", answer["execution"]
    assert next(node for node in answer["nodes"] if node["node_id"] == "work")["outputs"]["text"] == "Answer 2"
    assert len(models.asked) == 2
