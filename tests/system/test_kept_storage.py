"""What runs and crews keep in the document server counts in the tenant's storage, as files do."""

import json

import pytest

from kit.cli import Cli
from kit.client import checked, problem
from kit.flows import Flow, ex
from kit.model_server import ModelServer, Turn
from kit.models import agent, crew, provider, two_tasks
from kit.waiting import wait_until

AHEAD = 256 << 10       # what a node takes at once
GB = 1 << 30


@pytest.fixture
def models():
    with ModelServer() as server:
        yield server


def storage(api):
    return checked(api.get("usage?days=1"), 200).json()["storage"]


def kept(stack, eid):
    """Bytes of a run's documents as the document server has them."""
    import bson
    with stack.documents("exchanges") as exchanges:
        return sum(len(bson.encode(document)) for document in exchanges.find({"e": eid}))


def asking(api, models, **more):
    return (Flow().add("ask", "llm", prompt="Say {{ .inputs.n }}", provider_id=provider(api, models), **more)
            .output(ex(".nodes.ask.text")))


def node_error(answer, node_id="ask"):
    return next(node["error"] for node in answer["nodes"] if node["node_id"] == node_id)


def drift(stack, api):
    answer = stack.sql("SELECT control.counters_recount(%s)", json.dumps({"after": api.tenant - 1}))[0][0]
    assert answer["tenant"] == api.tenant and "fault" not in answer, answer
    return answer["drift"]


def test_the_record_of_a_run_is_counted_and_goes_with_it(stack, models):
    api = stack.tenant()
    models.answers(lambda asked: Turn("x" * 100_000))
    answer = api.wait(api.start(asking(api, models), {"n": 1}))
    eid = answer["execution"]["id"]
    assert answer["execution"]["status"] == "succeeded", answer["execution"]
    there, counted = kept(stack, eid), storage(api)
    assert counted["total"] == counted["records"] and counted["memory"] == 0
    assert there <= counted["records"] < there + 8192, "never less than lies there, and what was not used came back"
    quota = {row["name"]: row for row in checked(api.get("quotas"), 200).json()["quotas"]}["max_storage_gb"]
    assert quota["used"] == round(counted["total"] / GB, 6)
    assert drift(stack, api) == []
    stack.sql(f"""UPDATE t_{api.tenant}.executions SET created_at = created_at - interval '40 days',
                  end_time = end_time - interval '40 days'""")
    stack.restart("scheduler-1")
    wait_until(lambda: storage(api) == {"total": 0, "records": 0, "memory": 0}, "the record's room", 30)
    assert kept(stack, eid) == 0


def test_nothing_is_asked_when_there_is_no_room(stack, models):
    api = stack.tenant()
    flow = asking(api, models)
    stack.quota(api.tenant, max_storage_gb=0)
    answer = api.wait(api.start(flow, {"n": 1}))
    error = node_error(answer)
    assert error["code"] == "storage_quota" and "storage of 0 MiB is used up" in error["message"], error
    assert not models.asked and storage(api)["total"] == 0
    one = agent(api, provider(api, models))
    said = checked(api.post(f"agents/{one}/test", json={"task": "Go"}), 200).json()
    assert said["error"]["code"] == "storage_quota" and not models.asked


def test_the_bound_holds_in_the_middle_of_a_crew(stack, models):
    api = stack.tenant()
    one = agent(api, provider(api, models))
    models.answers(lambda asked: Turn("y" * 150_000))
    tasks = [{"name": f"t{n}", "description": f"Write {n}", "expected_output": "A text", "agent_id": one, "context": []}
             for n in range(8)]
    flow = Flow().add("ask", "crew", crew_id=crew(api, [one], tasks)).output(1)
    checked(api.put("quotas", json={"quotas": {"max_storage_gb": 1}}), 200)
    stack.sql("INSERT INTO control.kept VALUES (%s, 'run', gen_random_uuid(), %s)", api.tenant, GB - 600_000)
    stack.sql("""INSERT INTO control.usage_storage VALUES (%s, %s) ON CONFLICT (tenant) DO UPDATE SET bytes = excluded.bytes""",
              api.tenant, GB - 600_000)
    answer = api.wait(api.start(flow, {"n": 1}))
    error = node_error(answer)
    assert error["code"] == "storage_quota" and 1 <= len(models.asked) <= 4, (error, len(models.asked))
    assert kept(stack, answer["execution"]["id"]) <= 600_000 + AHEAD and storage(api)["total"] <= GB
    assert drift(stack, api) == []


def test_what_crews_remember_is_counted(stack, models):
    api = stack.tenant()
    models.answers(lambda asked: Turn("Cats sleep."))
    asks = provider(api, models)
    one, two = agent(api, asks, "Finder"), agent(api, asks, "Writer")
    remembering = crew(api, [one, two], two_tasks(one, two), memory=True)
    said = checked(api.post(f"crews/{remembering}/test", json={"inputs": {"topic": "cats"}}), 200).json()
    assert said["status"] == "succeeded", said
    with stack.documents("crew_memory") as memory:
        sizes = [document["z"] for document in memory.find({"t": api.tenant, "o": remembering})]
    assert len(sizes) == 2 and storage(api)["memory"] == sum(sizes)
    assert drift(stack, api) == []


# ---- memory, for people ----------------------------------------------------------------------------------------------

def remembering(api, models, runs=2):
    """A crew of one agent that has remembered something in each run."""
    models.answers(lambda asked: Turn(f"Fact {len(models.asked)}."))
    one = agent(api, provider(api, models))
    task = {"name": "find", "description": "Find", "expected_output": "A fact", "agent_id": one}
    crew_id = crew(api, [one], [task], memory=True)
    for _ in range(runs):
        assert checked(api.post(f"crews/{crew_id}/test", json={}), 200).json()["status"] == "succeeded"
    return crew_id


def documents(stack, api, owner):
    with stack.documents("crew_memory") as memory:
        return memory.count_documents({"t": api.tenant, "o": owner})


def test_people_read_what_a_crew_remembers_and_let_it_forget(stack, models, tmp_path):
    api = stack.tenant()
    one, other = remembering(api, models, 3), remembering(api, models, 1)
    path = f"crews/{one}/memory"
    page = checked(api.get(path), 200).json()
    assert page["total"] == 3 and [m["text"].startswith("find: Fact") for m in page["memories"]] == [True] * 3
    times = [m["created_at"] for m in page["memories"]]
    assert times == sorted(times, reverse=True)
    second = checked(api.get(f"{path}?limit=2&page=2"), 200).json()
    assert second["memories"] == page["memories"][2:] and second["page_info"]["pages"] == 2
    before = storage(api)["memory"]
    gone = page["memories"][0]
    assert checked(api.delete(f"{path}?memory_id={gone['id']}"), 200).json() == {"forgotten": 1}
    assert storage(api)["memory"] == before - gone["bytes"] and documents(stack, api, one) == 2
    problem(api.delete(f"{path}?memory_id={gone['id']}"), 404)
    problem(api.delete(f"{path}?memory_id=../{gone['id'][3:]}"), 400)
    cli = Cli(tmp_path / "home", stack.urls["web"], WINDLASS_TOKEN=api.access)
    shown = cli("crews", "memory", one).stdout
    assert gone["id"] not in shown and "find: Fact" in shown
    assert cli.json("crews", "forget", one) == {"forgotten": 2}
    assert documents(stack, api, one) == 0 and documents(stack, api, other) == 1
    assert checked(api.get(path), 200).json()["memories"] == [] and drift(stack, api) == []


def test_what_is_remembered_is_an_editors_and_the_tenants(stack, models):
    api = stack.tenant()
    one = remembering(api, models, 1)
    for role, status in (("viewer", 403), ("executor", 403), ("editor", 200)):
        assert stack.user(api, role).get(f"crews/{one}/memory").status_code == status
    stranger = stack.tenant()
    problem(stranger.get(f"crews/{one}/memory"), 404)
    problem(stranger.delete(f"crews/{one}/memory"), 404)
    problem(api.get(f"agents/{one}/memory"), 404)
    assert documents(stack, api, one) == 1


def test_the_memories_of_a_deleted_crew_go_with_it(stack, models):
    api = stack.tenant()
    one, other = remembering(api, models, 1), remembering(api, models, 1)
    checked(api.delete(f"crews/{one}"), 204)
    stack.sql(f"UPDATE t_{api.tenant}.resources SET deleted_at = deleted_at - interval '2 minutes' WHERE id = %s", one)
    stack.restart("scheduler-1")
    wait_until(lambda: documents(stack, api, one) == 0, "the end of the memories", 30)
    owners = lambda: [str(row[0]) for row in stack.sql(  # noqa: E731
        "SELECT owner FROM control.kept WHERE tenant = %s AND kind = 'memory'", api.tenant)]
    wait_until(lambda: owners() == [other], "their room", 30)
    assert documents(stack, api, other) == 1 and drift(stack, api) == []
