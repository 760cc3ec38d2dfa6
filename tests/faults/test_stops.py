"""Processes that stand still or leave politely: SIGSTOP past the lease, SIGTERM drains."""

import signal
import time

from kit.fault import under_load
from kit.flows import effects as effect_chain
from kit.waiting import wait_until


def test_a_supervisor_stopped_past_its_lease_returns_as_a_zombie(stack, effects):
    """What it held is taken over meanwhile; what it still writes when it wakes changes nothing.

    A request that was on its way when the process was stopped may go out when it wakes, so the order of visits
    is not checked here; that each node has one result and each execution one end, is.
    """
    with under_load(stack, effects, once=False) as load:
        held = set(load.ids())
        stack.kill("supervisor-1", signal.SIGSTOP)
        try:
            wait_until(lambda: not live(stack, held), "the end of all that was accepted before the stop", 40)
            load.await_accepted(20)
        finally:
            stack.kill("supervisor-1", signal.SIGCONT)


def live(stack, ids):
    return {row[0] for row in stack.sql("SELECT eid::text FROM control.dispatch")} & ids


def test_a_stopped_scheduler_delays_nobody_for_long(stack, effects):
    with under_load(stack, effects, cap=30) as load:
        stack.kill("scheduler-1", signal.SIGSTOP)
        try:
            last = load.await_accepted(30)
            begun = time.monotonic()
            wait_until(lambda: not live(stack, {last}), "the end of a run accepted meanwhile", 10)
            assert time.monotonic() - begun < 5
        finally:
            stack.kill("scheduler-1", signal.SIGCONT)


def test_a_draining_supervisor_hands_its_runs_over(stack, effects):
    """SIGTERM: no node is interrupted, none runs twice, and the runs go on elsewhere at once."""
    admin = stack.tenant()
    flow_id = admin.create(effect_chain(effects, 8, 0.3))
    ids = [admin.start(flow_id) for _ in range(12)]
    wait_until(lambda: all(effects.visited(eid, "n1") for eid in ids), "the second node of all", 20)
    begun = time.monotonic()
    stack.restart("supervisor-1")
    ends = [admin.wait(eid, 40)["execution"]["status"] for eid in ids]
    assert ends == ["succeeded"] * 12
    assert time.monotonic() - begun < 20
    for eid in ids:
        visits = [visit[1] for visit in effects.visited(eid)]
        assert visits == [f"n{number}" for number in range(8)], f"execution {eid}: {visits}"


def test_a_draining_web_server_refuses_nothing_it_accepted(stack, effects):
    with under_load(stack, effects):
        stack.restart("web")


def test_draining_schedulers_one_after_the_other(stack, effects):
    with under_load(stack, effects) as load:
        for name in ("scheduler-1", "scheduler-2"):
            stack.restart(name)
            load.await_accepted(10)
