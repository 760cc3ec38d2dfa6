"""kill -9 of each program under load: nothing accepted is lost, nothing finished runs again, no slot leaks."""

import signal
import time

import pytest

from kit.fault import under_load
from kit.flows import Flow, chain, ex, of
from kit.waiting import wait_until

pytestmark = pytest.mark.long

LEASE_S = 3


@pytest.mark.parametrize("name", ["web", "scheduler-1", "supervisor-1", "docserver"])
def test_killed_under_load(stack, effects, name):
    old = stack.pid(name)
    with under_load(stack, effects):
        stack.kill(name, signal.SIGKILL)
        stack.await_dead(old)


def test_both_schedulers_killed(stack, effects):
    with under_load(stack, effects):
        for name in ("scheduler-1", "scheduler-2"):
            stack.kill(name, signal.SIGKILL)


def test_both_supervisors_killed_again_and_again(stack, effects):
    with under_load(stack, effects) as load:
        for _ in range(3):
            for name in ("supervisor-1", "supervisor-2"):
                stack.kill(name, signal.SIGKILL)
                load.await_accepted(5)


def test_a_dead_supervisors_run_goes_on_within_its_lease(stack, effects):
    """One supervisor stays away: the other one takes its runs over, and begins where they were."""
    admin = stack.tenant()
    flow = Flow()
    for number in range(3):
        flow.add(f"n{number}", "http", method="POST", url=effects.effect_url(f"n{number}", number, 1.0 if number == 1 else 0.0))
    flow_id = admin.create(flow.output("done"))
    ids = [admin.start(flow_id) for _ in range(8)]
    wait_until(lambda: all(effects.visited(eid, "n1") for eid in ids), "the second node of all", 20)
    stack.kill("supervisor-1", signal.SIGKILL, hold=True)
    begun = time.monotonic()
    try:
        ends = [admin.wait(eid, 30)["execution"]["status"] for eid in ids]
        took = time.monotonic() - begun
    finally:
        stack.resume("supervisor-1")
    assert ends == ["succeeded"] * 8
    assert took < LEASE_S + 2 + 3, f"took {took:.1f} s"
    assert all(len(effects.visited(eid, "n0")) == 1 for eid in ids), "a finished node ran again"
    assert all(len(effects.visited(eid, "n2")) == 1 for eid in ids)


def sandboxed():
    def step(flow, node_id, number):
        flow.code(node_id, f"import time; time.sleep(0.05); print({number})",
                  retry={"attempts": 8, "backoff": "fixed", "delay_ms": 500})
    return chain(2, step)


@pytest.mark.parametrize("name", ["warden", "supervisor-2"])
def test_killed_while_tools_run(stack, effects, name):
    with under_load(stack, effects, flow=sandboxed(), per_second=8, before=8, after=8, nodes=("start", "n0", "n1", "out")):
        stack.kill(name, signal.SIGKILL)


def test_expression_server_killed(stack, effects):
    flow = (Flow().transform("a", ex(".inputs.n + 1"), retry={"attempts": 8, "backoff": "fixed", "delay_ms": 200})
            .transform("b", ex(of("a") + " * 2"), retry={"attempts": 8, "backoff": "fixed", "delay_ms": 200})
            .output("done"))
    with under_load(stack, effects, flow=flow, nodes=("start", "a", "b", "out"), inputs={"n": 1}) as load:
        for _ in range(3):
            stack.kill("eval", signal.SIGKILL)
            load.await_accepted(10)


def test_a_run_that_kills_its_supervisors_is_poison(stack):
    """Lost as often as it may be, a run fails for good and its slot is free again."""
    admin = stack.tenant()
    eid = admin.start(Flow().code("nap", "import time; time.sleep(300)").output(1))
    stack.sql("UPDATE control.dispatch SET deliveries = 20 WHERE eid = %s", eid)
    wait_until(lambda: admin.status(eid) == "running", "the start", 15)
    for name in ("supervisor-1", "supervisor-2"):
        stack.kill(name, signal.SIGKILL)
    done = admin.wait(eid, 30)["execution"]
    assert done["status"] == "failed" and done["error"]["code"] == "poison", done
    key = f"{{{admin.tenant % 16:02}}}:run:{admin.tenant}"
    wait_until(lambda: stack.redis().scard(key) == 0, f"an empty {key}", 10)
