"""Supervisors die while crews work: another one goes on where they were, and no answer is paid for twice."""

import collections
import json
import signal

import pytest

from kit.flows import Flow, ex, of
from kit.model_server import ModelServer, Turn
from kit.models import agent, crew, provider, two_tasks
from kit.tools import ECHO, make_tool
from kit.waiting import wait_until

RUNS = 6


@pytest.fixture
def models():
    with ModelServer() as server:
        yield server


def answer(asked):
    """What a model would say: a tool first, then an answer; decided by the question alone, so by any attempt alike."""
    messages = asked.json["messages"]
    if messages[-1]["role"] == "tool":
        return Turn("Found: " + str(len(messages)), wait_s=0.1)
    if asked.json.get("tools"):
        return Turn(tools=[(asked.json["tools"][0]["function"]["name"], {"n": 1}, "call_1")], wait_s=0.1)
    return Turn("Written.", wait_s=0.1)


def test_crews_go_on_elsewhere_and_ask_nothing_twice(stack, models):
    models.answers(answer)
    admin = stack.tenant()
    asks = provider(admin, models)
    tool = make_tool(admin, {"kind": "code", "language": "python", "source": ECHO})
    one, two = agent(admin, asks, "Finder", tools=[tool]), agent(admin, asks, "Writer")
    flow = admin.create(Flow().add("work", "crew", crew_id=crew(admin, [one, two], two_tasks(one, two))).output(ex(of("work", ".text"))))
    ids = [admin.start(flow, {"topic": f"topic {number}"}) for number in range(RUNS)]
    wait_until(lambda: len(models.asked) >= RUNS, "a question of each crew", 30)
    stack.kill("supervisor-1", signal.SIGKILL)
    wait_until(lambda: len(models.asked) >= 2 * RUNS, "more questions", 30)
    stack.kill("supervisor-2", signal.SIGKILL)
    for eid in ids:
        ended = admin.wait(eid, 60, forgive=(Exception,))
        assert (ended["execution"]["status"], ended["execution"]["outputs"]) == ("succeeded", "Written."), ended["execution"]
    times = collections.Counter(json.dumps(asked.json["messages"], sort_keys=True) for asked in models.asked)
    assert len(times) == 3 * RUNS, "each crew asks three different questions"
    again = sum(count - 1 for count in times.values())
    assert again <= RUNS, f"{again} questions were asked again: more than were under way when a supervisor died"
    spent = stack.sql("SELECT count(*) FROM control.model_call WHERE eid = ANY (%s::uuid[])", ids)[0][0]
    assert spent >= 3 * RUNS
