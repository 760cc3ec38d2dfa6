"""A crew that is saved is one that can be made: what lib/crew refuses is told when the crew is saved, with its place."""

import pytest

from kit.client import checked, problem
from kit.flows import Flow
from kit.models import crew


@pytest.fixture(scope="module")
def team(stack):
    return stack.tenant()


@pytest.fixture(scope="module")
def one(team):
    asks = checked(team.post("llm-providers", json={"name": "d", "provider_type": "demo"}), 201).json()["llm_provider"]["id"]
    return checked(team.post("agents", json={"name": "Ada", "llm_provider_id": asks}), 201).json()["agent"]["id"]


def tasks(one, *more):
    return [{"name": f"t{n}", "description": "Write", "expected_output": "A text", "agent_id": one, **extra}
            for n, extra in enumerate(more)]


ASYNC, CONDITION = {"async_execution": True}, {"condition": "{{ true }}"}


@pytest.mark.parametrize("more, path", [
    ([{}, {**ASYNC, **CONDITION}, {}], "config.tasks[1].async_execution"),
    ([{}, ASYNC, ASYNC], "config.tasks[2].async_execution"),
    ([ASYNC, ASYNC, ASYNC], "config.tasks[2].async_execution")])
def test_what_cannot_be_made_is_not_saved(team, one, more, path):
    body = {"name": "x", "agent_ids": [one], "config": {"tasks": tasks(one, *more)}}
    assert path in {error["path"] for error in problem(team.post("crews", json=body), 422)["errors"]}
    good = crew(team, [one], tasks(one, {}))
    assert path in {error["path"] for error in problem(team.put(f"crews/{good}", json={"config": body["config"]}), 422)["errors"]}


@pytest.mark.parametrize("more", [[ASYNC], [{}, ASYNC], [ASYNC, ASYNC, {}], [{}, CONDITION, ASYNC], [ASYNC, CONDITION]])
def test_what_can_be_made_is_saved_and_runs(team, one, more):
    made = crew(team, [one], tasks(one, *more))
    answer = checked(team.post(f"crews/{made}/test", json={}), 200).json()
    assert answer["status"] == "succeeded", answer


def test_a_crew_without_tasks_is_neither_run_nor_published(team, one):
    empty = checked(team.post("crews", json={"name": "to be filled", "agent_ids": [one]}), 201).json()["crew"]["id"]
    for operation in ("test", "kickoff"):
        assert problem(team.post(f"crews/{empty}/{operation}", json={}), 422)["errors"][0]["path"] == "config.tasks"
    flow = team.create(Flow().add("work", "crew", crew_id=empty).output(1))
    error = problem(team.post(f"flows/{flow}/publish", json={}), 422)["errors"][0]
    assert error == {"path": "nodes[1].data.crew_id", "message": "names a crew without tasks"}
    checked(team.put(f"crews/{empty}", json={"config": {"tasks": tasks(one, {})}}), 200)
    checked(team.post(f"flows/{flow}/publish", json={}), 201)
