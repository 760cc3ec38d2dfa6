"""Knowledge: text files that agents look things up in, by meaning or by words, within a run's rights and its record."""

import json

import pytest

from kit.client import checked, fault_paths
from kit.flows import Flow, ex, of
from kit.model_server import ModelServer, Turn
from kit.models import agent, crew, provider

HANDBOOK = "".join(f"Rule {n}: nobody touches lever {n}.\n\n" + "Filler about nothing at all. " * 60 for n in range(30)) + \
    "The capital of Freedonia is Fredville. " + "More filler. " * 60


@pytest.fixture(scope="module")
def team(stack):
    return stack.tenant()


@pytest.fixture
def models():
    with ModelServer() as server:
        yield server


def upload(api, text, name="handbook.md"):
    data = text if isinstance(text, bytes) else text.encode()
    return checked(api.post("artifacts", params={"name": name}, content=data), 201).json()["artifact"]["id"]


def knowing(api, provider_id, *ids):
    return agent(api, provider_id, knowledge=list(ids))


def asks(api, agent_id, task="What is the capital of Freedonia?", **more):
    return Flow().add("do", "agent", agent_id=agent_id, task=task, expected_output="A name", **more).output(ex(of("do", ".text")))


def chats(models):
    return [json.dumps(one.json["messages"]) for one in models.asked if one.path.endswith("/chat/completions")]


def embedded(models):
    """How many texts the server was given for vectors, by call."""
    return [len(one.json["input"]) for one in models.asked if one.path.endswith("/embeddings")]


def good(answer):
    assert answer["execution"]["status"] == "succeeded", answer["execution"]
    return answer


def fault(answer):
    assert answer["execution"]["status"] == "failed", answer["execution"]
    return answer["node"]["do"]["error"]


def test_an_agent_is_given_what_lies_nearest_and_the_vectors_are_paid_for_once(team, models):
    models.answers(lambda asked: Turn("Fredville"))
    knows = upload(team, HANDBOOK)
    one = knowing(team, provider(team, models), knows)
    answer = good(team.run(asks(team, one)))
    assert "From your documents:" in chats(models)[0] and chats(models)[0].count("Filler about nothing") > 10
    first = embedded(models)
    assert sorted(first)[0] == 1 and sum(first) > 25, "the query, and all passages"
    step = next(step for step in answer["node"]["do"]["trace"] if step["kind"] == "knowledge")
    assert step["state"] == "succeeded" and "From your documents:" in step["output"]
    good(team.run(asks(team, one)))
    assert embedded(models)[len(first):] == [1], "the second run embeds its query alone"
    other = upload(team, HANDBOOK + "A new edition.")
    good(team.run(asks(team, knowing(team, provider(team, models), other))))
    assert sum(embedded(models)[len(first) + 1:]) == sum(first), "another text, another provider: paid for anew"


def test_without_vectors_words_decide(team, models):
    models.say("Fredville")
    models.vectors = None
    one = knowing(team, provider(team, models), upload(team, HANDBOOK))
    good(team.run(asks(team, one)))
    told = chats(models)[0]
    assert "The capital of Freedonia is Fredville." in told and told.index("Freedonia is") < told.rindex("Filler") + 100000


def test_a_provider_that_is_away_for_vectors_fails_the_attempt_and_not_the_memory_of_the_run(team, models):
    models.say("Fredville")
    models.vectors = [503, 200, 200]
    one = knowing(team, provider(team, models), upload(team, HANDBOOK))
    answer = good(team.run(asks(team, one, retry={"attempts": 2})))
    assert answer["node"]["do"]["attempt"] == 2
    assert "From your documents:" in chats(models)[0] and len(chats(models)) == 1
    models.vectors = [503]
    assert fault(team.run(asks(team, one)))["code"] == "model_unavailable"


def test_a_replay_needs_no_artifact(team, models):
    models.answers(lambda asked: Turn("Fredville"))
    knows = upload(team, HANDBOOK)
    one = knowing(team, provider(team, models), knows)
    flow_id = team.create(asks(team, one))
    first = good(team.wait(team.start(flow_id)))["execution"]
    checked(team.delete(f"artifacts/{knows}"), 204)
    asked = len(models.asked)
    eid = checked(team.post(f"executions/{first['id']}/replay"), 202).json()["execution_id"]
    assert good(team.wait(eid))["execution"]["outputs"] == "Fredville" and len(models.asked) == asked
    error = fault(team.run(asks(team, one)))
    assert error["code"] == "knowledge_missing" and knows in error["message"]
    # what an agent has already stays its own to edit; what it newly names has to be there
    checked(team.put(f"agents/{one}", json={"config": {"goal": "to know"}}), 200)
    fresh = team.post("agents", json={"name": "new", "config": {"knowledge": [knows]}})
    assert "config.knowledge[0]" in fault_paths(fresh)


@pytest.mark.parametrize("data, words", [
    (b"\xff\xfe no UTF-8", "no text"), (b"PK\x03\x04\x00\x00", "no text"), (b"half a \xc3", "no text"),
    (b"x" * ((2 << 20) + 1), "at most 2"),
])
def test_what_is_no_text_or_too_large_is_refused_before_anything_is_paid(team, models, data, words):
    one = knowing(team, provider(team, models), upload(team, data, "odd.bin"))
    error = fault(team.run(asks(team, one)))
    assert error["code"] == "knowledge_missing" and words in error["message"] and "odd.bin" in error["message"]
    assert chats(models) == []


def test_an_empty_file_is_no_knowledge_and_no_failure(team, models):
    models.say("I do not know")
    one = knowing(team, provider(team, models), upload(team, ""))
    good(team.run(asks(team, one)))
    assert "From your documents:" not in chats(models)[0]


def test_a_file_of_a_private_flow_is_known_to_who_may_see_it_alone(stack, models):
    models.answers(lambda asked: Turn("Fredville"))
    admin = stack.tenant()
    owner, stranger = stack.user(admin, "editor", "owner"), stack.user(admin, "editor", "stranger")
    source = "import pathlib\npathlib.Path('/work/out/secret.md').write_text('The capital of Freedonia is Fredville.')\nprint('{}')"
    private = owner.create(Flow().code("make", source).output(1), name="private")
    checked(owner.put(f"flows/{private}/sharing", json={"visibility": "private"}), 200)
    made = good(owner.wait(owner.start(private), 60))["execution"]["id"]
    secret = checked(owner.get(f"artifacts?execution_id={made}"), 200).json()["artifacts"][0]["id"]
    asked = provider(admin, models)
    refused = stranger.post("agents", json={"name": "thief", "config": {"knowledge": [secret]}})
    assert "config.knowledge[0]" in fault_paths(refused)
    one = knowing(owner, asked, secret)
    good(owner.run(asks(owner, one)))
    assert "Fredville" in chats(models)[-1]
    before = len(models.asked)
    assert fault(stranger.run(asks(stranger, one)))["code"] == "knowledge_missing" and len(chats(models)) == 1
    assert "Fredville" not in json.dumps([one.json for one in models.asked[before:]])
    good(admin.run(asks(admin, one)))


def test_another_tenants_file_is_none(stack, team, models):
    other = stack.tenant()
    theirs = upload(other, HANDBOOK)
    assert "config.knowledge[0]" in fault_paths(team.post("agents", json={"name": "thief", "config": {"knowledge": [theirs]}}))
    one = knowing(team, provider(team, models), upload(team, "mine"))
    stack.sql(f"UPDATE t_{team.tenant}.resources SET body = (replace(body::text, body #>> '{{config,knowledge,0}}', %s))::json WHERE id = %s",
              theirs, one)
    assert fault(team.run(asks(team, one)))["code"] == "knowledge_missing" and chats(models) == []


def test_agents_of_a_crew_may_know_the_same(team, models):
    models.answers(lambda asked: Turn("Fredville"))
    knows, asked = upload(team, HANDBOOK), provider(team, models)
    one, two = knowing(team, asked, knows), knowing(team, asked, knows)
    tasks = [{"name": "a", "description": "Name the capital of Freedonia", "expected_output": "x", "agent_id": one},
             {"name": "b", "description": "Name a lever", "expected_output": "x", "agent_id": two}]
    made = crew(team, [one, two], tasks)
    good(team.run(Flow().add("do", "crew", crew_id=made).output(1)))
    assert all("From your documents:" in chat for chat in chats(models))


def test_a_budget_bounds_vectors_of_knowledge(stack, models):
    api = stack.tenant()
    one = knowing(api, provider(api, models), upload(api, HANDBOOK))
    checked(api.post("budgets", json={"name": "small", "scope": "tenant", "unit": "tokens", "limit": 2000}), 201)
    assert fault(api.run(asks(api, one)))["code"] == "budget_exceeded"
    assert sum(embedded(models)) <= 1 and chats(models) == []
