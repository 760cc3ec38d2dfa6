"""Ending executions early: cancel while waiting and while running, deadlines, and that nothing stays behind."""

import time

import pytest

from kit.client import checked, problem
from kit.flows import Flow, noop
from kit.waiting import wait_until

pytestmark = pytest.mark.alone

SLEEP = "import time; time.sleep(120); print(1)"


def sleeping(language="python", source=SLEEP):
    return Flow().code("nap", source, language).output(1)


def no_slot_held(stack, tenant):
    key = f"{{{tenant % 16:02}}}:run:{tenant}"
    wait_until(lambda: stack.redis().scard(key) == 0, f"an empty {key}", 5)


@pytest.mark.parametrize("language, source", [
    ("python", SLEEP), ("bash", "sleep 120"),
    ("python", "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nwhile True: time.sleep(1)")])
def test_a_running_tool_ends_within_a_second(stack, admin, language, source):
    eid = admin.start(sleeping(language, source))
    wait_node_running(stack, admin, eid)
    begun = time.monotonic()
    assert checked(admin.cancel(eid), 202).json() == {"execution_id": eid, "status": "cancelling"}
    done = admin.wait(eid, 10)
    took = time.monotonic() - begun
    assert done["execution"]["status"] == "cancelled"
    assert took < 1.5, f"cancel took {took:.2f} s"
    nap = next(node for node in done["nodes"] if node["node_id"] == "nap")
    assert nap["status"] == "cancelled"
    no_slot_held(stack, admin.tenant)
    problem(admin.cancel(eid), 409)


def wait_node_running(stack, admin, eid):
    """Until the event stream shows that the code node has begun."""
    for event in admin.stream(eid):
        if event.type == "node" and event.data["node_id"] == "nap" and event.data["status"] == "running":
            return
    raise AssertionError("the run ended before its node began")


def test_a_waiting_execution_is_cancelled_at_once(stack, admin):
    stack.quota(admin.tenant, max_concurrent=1)
    flow_id = admin.create(sleeping())
    first = admin.start(flow_id)
    wait_node_running(stack, admin, first)
    second = admin.start(flow_id)
    assert admin.status(second) == "queued"
    assert checked(admin.cancel(second), 202).json()["status"] == "cancelled"
    answer = admin.execution(second)
    assert answer["execution"]["status"] == "cancelled" and answer["execution"]["start_time"] is None
    assert admin.status(first) == "running"
    checked(admin.cancel(first), 202)
    assert admin.wait(first, 10)["execution"]["status"] == "cancelled"
    no_slot_held(stack, admin.tenant)


def test_a_cancelled_http_node_does_not_hold_the_run(admin, effects):
    eid = admin.start(Flow().add("call", "http", method="GET", url=f"{effects.url}/slow/30").output(1))
    wait_until(lambda: admin.status(eid) == "running", "the start", 10)
    wait_until(lambda: effects.calls["slow"] > 0, "the call", 10)
    begun = time.monotonic()
    checked(admin.cancel(eid), 202)
    assert admin.wait(eid, 10)["execution"]["status"] == "cancelled"
    assert time.monotonic() - begun < 1.5


def test_cancel_of_an_ended_execution_is_a_conflict(admin):
    eid = admin.start(noop())
    admin.wait(eid)
    problem(admin.cancel(eid), 409)
    assert admin.status(eid) == "succeeded"


def test_cancels_that_race_with_the_end_leave_one_final_state(stack, admin):
    flow_id = admin.create(noop())
    ids = [admin.start(flow_id) for _ in range(60)]
    codes = [admin.cancel(eid).status_code for eid in ids]
    assert set(codes) <= {202, 409}
    ends = [admin.wait(eid)["execution"]["status"] for eid in ids]
    assert set(ends) <= {"cancelled", "succeeded"}
    assert all(end == "succeeded" for code, end in zip(codes, ends) if code == 409)
    no_slot_held(stack, admin.tenant)


def test_a_deadline_ends_a_running_execution_as_timeout(stack, admin):
    eid = admin.start(sleeping(), timeout_s=1)
    begun = time.monotonic()
    done = admin.wait(eid, 15)["execution"]
    assert done["status"] == "timeout" and done["error"]["code"] == "deadline", done
    assert time.monotonic() - begun < 8
    no_slot_held(stack, admin.tenant)


def test_a_deadline_ends_a_waiting_execution_as_timeout(stack, admin):
    stack.quota(admin.tenant, max_concurrent=1)
    flow_id = admin.create(sleeping())
    first = admin.start(flow_id)
    wait_node_running(stack, admin, first)
    second = admin.start(flow_id, timeout_s=1)
    done = admin.wait(second, 15)["execution"]
    assert done["status"] == "timeout" and done["start_time"] is None
    checked(admin.cancel(first), 202)
    admin.wait(first, 10)
    no_slot_held(stack, admin.tenant)
