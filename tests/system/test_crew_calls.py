"""Agents and crews without a flow: trials, and the calls that CrewAI's own platform has."""

import pytest

from kit.client import checked, problem
from kit.model_server import ModelServer, Turn
from kit.models import agent, crew, provider, two_tasks
from kit.waiting import wait_until


@pytest.fixture(scope="module")
def team(stack):
    return stack.tenant()


@pytest.fixture
def models():
    with ModelServer() as server:
        server.answers(lambda asked: Turn(f"Answer {len(server.asked)}"))
        yield server


def pair(api, models, **more):
    asks = provider(api, models)
    one, two = agent(api, asks, "Finder of {kind} things"), agent(api, asks, "Writer")
    return crew(api, [one, two], two_tasks(one, two, **more))


def test_a_crew_is_tried(team, models):
    answer = checked(team.post(f"crews/{pair(team, models)}/test", json={"inputs": {"topic": "cats", "kind": "old"}}), 200).json()
    assert (answer["status"], answer["outputs"]["text"]) == ("succeeded", "Answer 2")
    ran = team.execution(answer["execution_id"])["execution"]
    assert ran["source"] == "crew" and ran["outputs"]["usage"]["model_calls"] == 2


def test_an_agent_is_tried(team, models):
    one = agent(team, provider(team, models), "Friend of {name}")
    body = {"task": "Greet her", "inputs": {"name": "Ada"}}
    answer = checked(team.post(f"agents/{one}/test", json=body), 200).json()
    assert (answer["status"], answer["outputs"]["text"]) == ("succeeded", "Answer 1")
    assert "Friend of Ada" in str(models.asked[0].json["messages"]) and "Greet her" in str(models.asked[0].json["messages"])


def test_a_trial_that_takes_longer_is_an_execution(team, models):
    models.say("slow", wait_s=20)
    one = agent(team, provider(team, models))
    answer = checked(team.post(f"agents/{one}/test", json={"task": "Go"}, headers={"Prefer": "wait=0"}), 202).json()
    checked(team.cancel(answer["execution_id"]), 202)


def test_who_may_try_is_an_editor(stack, team, models):
    one, viewer = agent(team, provider(team, models)), stack.user(team, "viewer", "onlooker")
    assert viewer.post(f"agents/{one}/test", json={"task": "Go"}).status_code == 403
    assert not models.asked


def test_the_inputs_of_a_crew_are_named(team, models):
    assert checked(team.get(f"crews/{pair(team, models)}/inputs"), 200).json() == {"inputs": ["kind", "topic"]}


def status(api, path, kickoff):
    return checked(api.get(f"{path}/status/{kickoff}"), 200).json()


def test_a_crew_is_kicked_off_and_asked_how_far_it_is(team, models):
    path = f"crews/{pair(team, models)}"
    kickoff = checked(team.post(f"{path}/kickoff", json={"inputs": {"topic": "cats", "kind": "old"}, "meta": {"a": 1}}), 202).json()["kickoff_id"]
    ended = wait_until(lambda: (found := status(team, path, kickoff))["status"] != "running" and found, "the end of the crew", 30)
    assert (ended["status"], ended["result"]["text"]) == ("completed", "Answer 2") and ended["execution_time"] > 0
    missing = checked(team.post(f"{path}/kickoff", json={"inputs": {}}), 202).json()["kickoff_id"]
    ended = wait_until(lambda: (found := status(team, path, missing))["status"] != "running" and found, "the end of the crew", 30)
    assert ended["status"] == "error" and "{kind}" in ended["error"]


def test_a_task_that_waits_is_resumed(team, models):
    path = f"crews/{pair(team, models, human_input=True)}"
    kickoff = checked(team.post(f"{path}/kickoff", json={"inputs": {"topic": "cats", "kind": "old"}}), 202).json()["kickoff_id"]

    def resume(approve, feedback, **more):
        body = {"execution_id": kickoff, "is_approve": approve, "human_feedback": feedback, **more}
        return wait_until(lambda: (answer := team.post(f"{path}/resume", json=body)).status_code == 200 and answer.json(),
                          "a task that waits", 30)
    assert resume(False, "Shorter", task_id="1")["status"] == "retrying"
    [question] = wait_until(lambda: status(team, path, kickoff).get("questions"), "the question", 30)
    assert question["task_id"] == "1" and "Answer 3" in question["message"]
    assert resume(True, "", question_id=question["question_id"])["status"] == "resumed"
    ended = wait_until(lambda: (found := status(team, path, kickoff))["status"] != "running" and found, "the end of the crew", 30)
    assert ended["result"]["text"] == "Answer 3" and "Shorter" in str(models.asked[2].json["messages"])


def test_a_word_on_one_task_is_none_on_another(team, models):
    one = agent(team, provider(team, models), "Writer")
    tasks = [{"name": f"t{n}", "description": "Write", "expected_output": "A text", "agent_id": one,
              "human_input": n == 10} for n in range(11)]
    path = f"crews/{crew(team, [one], tasks)}"
    kickoff = checked(team.post(f"{path}/kickoff", json={"inputs": {}}), 202).json()["kickoff_id"]
    wait_until(lambda: checked(team.get(f"approvals?status=pending&execution_id={kickoff}"), 200).json()["approvals"],
               "a task that waits", 30)

    def resume(task):
        return team.post(f"{path}/resume", json={"execution_id": kickoff, "task_id": task, "is_approve": True}).status_code
    assert [resume(task) for task in ("1", "task/1", "task", "!", "0")] == [409] * 5
    assert resume("task/10") == 200
    ended = wait_until(lambda: (found := status(team, path, kickoff))["status"] != "running" and found, "the end of the crew", 30)
    assert ended["status"] == "completed"


def test_a_click_sent_twice_answers_nothing_unseen(team, models):
    one = agent(team, provider(team, models), "Writer")
    tasks = [{"name": f"t{n}", "description": "Write", "expected_output": "A text", "agent_id": one, "human_input": True}
             for n in range(2)]
    path = f"crews/{crew(team, [one], tasks)}"
    kickoff = checked(team.post(f"{path}/kickoff", json={"inputs": {}}), 202).json()["kickoff_id"]

    def asked(task):
        return wait_until(lambda: [q for q in status(team, path, kickoff).get("questions", []) if q["task_id"] == task],
                          f"what task {task} asks", 30)[0]

    def resume(**more):
        return team.post(f"{path}/resume", json={"execution_id": kickoff, "is_approve": True, **more})
    first = asked("0")
    assert checked(resume(), 200).json() == {"status": "resumed", "question_id": first["question_id"]}
    second = asked("1")
    assert problem(resume(), 422)["errors"][0]["path"] == "task_id"
    assert checked(resume(question_id=first["question_id"]), 200).json()["question_id"] == first["question_id"]
    assert resume(question_id=first["question_id"], is_approve=False).status_code == 409
    assert resume(question_id=second["question_id"], task_id="0").status_code == 409
    assert asked("1") == second, "nobody has answered it"
    checked(resume(task_id="1"), 200)
    wait_until(lambda: status(team, path, kickoff)["status"] == "completed", "the end of the crew", 30)


def test_a_draft_crew_and_a_strange_run_are_not_served(team, models):
    one = pair(team, models)
    other = pair(team, models)
    kickoff = checked(team.post(f"crews/{one}/kickoff", json={"inputs": {"topic": "c", "kind": "d"}}), 202).json()["kickoff_id"]
    assert team.get(f"crews/{other}/status/{kickoff}").status_code == 404
    checked(team.put(f"crews/{other}", json={"state": "draft"}), 200)
    assert team.get(f"crews/{other}/inputs").status_code == 409
    assert team.post(f"crews/{other}/kickoff", json={}).status_code == 409


def test_kickoffs_with_one_key_are_one(team, models):
    path, key = f"crews/{pair(team, models)}/kickoff", {"Idempotency-Key": "once"}
    body = {"inputs": {"topic": "cats", "kind": "old"}}
    first = checked(team.post(path, json=body, headers=key), 202).json()
    assert checked(team.post(path, json=body, headers=key), 202).json() == first
