"""Programs and servers die while runs wait, and while loops are half done: no wait begins anew, no item runs twice."""

import collections
import re
import signal
import time

import pytest

from kit.client import checked
from kit.flows import Flow, ex, of
from kit.waiting import wait_until

pytestmark = pytest.mark.long

ALL = ["scheduler-1", "scheduler-2", "supervisor-1", "supervisor-2"]


def parked(stack, eid):
    wait_until(lambda: stack.sql("SELECT state FROM control.dispatch WHERE eid = %s", eid) == [("W",)], f"{eid} to be parked", 30)


def loop(effects, items, delay_s, **data):
    """A loop of two http nodes for each item; the number of a visit is the item."""
    flow = Flow().add("each", "loop", items=items, **data).output(ex(of("each") + " | length"), after="each")
    for node_id, after in (("a", ()), ("b", "a")):
        url = f"{effects.url}/effect/{{{{ .execution.id }}}}/{node_id}/{{{{ .item }}}}?delay={delay_s}"
        flow.add(node_id, "http", after=after, method="POST", url=url)
        flow.nodes[-1]["parentId"] = "each"
    return flow


@pytest.mark.parametrize("names", [ALL, ["redis"], ["postgres"], ["docserver"]], ids=["all programs", "redis", "postgres", "docserver"])
def test_a_parked_run_goes_on_after_everything_died(stack, effects, names):
    admin = stack.tenant()
    flow = (Flow().add("before", "http", method="POST", url=effects.effect_url("before"))
            .add("w", "wait", seconds=12).add("after", "http", method="POST", url=effects.effect_url("after")).output("done"))
    eid = admin.start(flow)
    parked(stack, eid)
    begun = time.monotonic()
    for name in names:
        old = stack.pid(name)
        stack.kill(name, signal.SIGQUIT if name == "postgres" else signal.SIGKILL)
        stack.await_dead(old)
    answer = admin.wait(eid, 60, forgive=(Exception,))
    assert answer["execution"]["status"] == "succeeded", answer["execution"]
    assert time.monotonic() - begun > 8, "the wait was cut short"
    assert len(effects.visited(eid, "before")) == len(effects.visited(eid, "after")) == 1


def test_an_approval_given_while_nobody_is_there(stack, effects):
    """The decision is in PostgreSQL: whoever comes back finds it."""
    admin = stack.tenant()
    flow = (Flow().add("ask", "approval", message="go on?")
            .add("after", "http", method="POST", url=effects.effect_url("after"), after=("ask", "approved")).output("done"))
    eid = admin.start(flow)
    parked(stack, eid)
    for name in ["redis", *ALL]:
        stack.kill(name, signal.SIGKILL, hold=True)
    try:
        (approval,) = checked(admin.get(f"approvals?execution_id={eid}"), 200).json()["approvals"]
        checked(admin.post(f"approvals/{approval['id']}/decide", json={"decision": "approve"}), 200)
    finally:
        for name in ["redis", *ALL]:
            stack.resume(name)
    assert admin.wait(eid, 60)["execution"]["status"] == "succeeded"
    assert len(effects.visited(eid, "after")) == 1


def visit_counts(effects, eid):
    """How often each item came to each of the two nodes."""
    return collections.Counter((node, item) for _, node, item, _ in effects.visited(eid))


def stored_inside(admin, eid):
    """The (node, item) of each node inside the loop whose result is stored."""
    found = (re.fullmatch(r"each\[(\d+)\]\.(\w+)", node["node_id"]) for node in admin.execution(eid)["nodes"]
             if node["status"] == "succeeded")
    return {(match[2], int(match[1])) for match in found if match}


def test_a_loop_goes_on_where_it_was(stack, effects):
    """A finished node inside never runs again; one that was cut off may."""
    admin = stack.tenant()
    eid = admin.start(loop(effects, list(range(24)), 0.3, parallel=3))
    frozen = {}
    for rounds in range(1, 4):
        wait_until(lambda: len(effects.visited(eid, "b")) >= 4 * rounds, f"{4 * rounds} visits", 40)
        stored = stored_inside(admin, eid)
        counts = visit_counts(effects, eid)
        frozen = {key: counts[key] for key in stored} | frozen
        for name in ("supervisor-1", "supervisor-2"):
            stack.kill(name, signal.SIGKILL)
    answer = admin.wait(eid, 90)
    assert answer["execution"]["status"] == "succeeded" and answer["execution"]["outputs"] == 24, answer["execution"]
    counts = visit_counts(effects, eid)
    assert {key: counts[key] for key in frozen} == frozen, "a stored node ran again"
    assert set(counts) == {(node, item) for node in "ab" for item in range(24)}


def test_waits_inside_a_loop_survive_a_kill(stack, effects):
    admin = stack.tenant()
    flow = Flow().add("each", "loop", items=[8, 9, 10], parallel=3).output(ex(of("each")), after="each")
    flow.add("w", "wait", after=(), seconds=ex(".item"))
    flow.nodes[-1]["parentId"] = "each"
    flow.transform("t", ex(".index"), after="w")
    flow.nodes[-1]["parentId"] = "each"
    eid = admin.start(flow)
    parked(stack, eid)
    before = stack.sql("SELECT node, due FROM control.wait WHERE eid = %s ORDER BY node", eid)
    for name in ("supervisor-1", "supervisor-2", "scheduler-1", "scheduler-2"):
        stack.kill(name, signal.SIGKILL)
    wait_until(lambda: len([n for n in admin.execution(eid)["nodes"] if n["status"] == "succeeded" and n["node_id"].endswith(".w")]) >= 1,
               "the first wait to be over", 40)
    rows = stack.sql("SELECT node, due FROM control.wait WHERE eid = %s ORDER BY node", eid)
    assert rows in (before, []), "a wait began anew"
    assert admin.wait(eid, 60)["execution"]["outputs"] == [0, 1, 2]


def test_a_supervisor_that_is_drained_gives_waiting_runs_back(stack):
    """SIGTERM while a run waits for less than it would be parked for, and while another one is parked."""
    admin = stack.tenant()
    short = [admin.start(Flow().add("w", "wait", seconds=1.5).add("v", "wait", seconds=1.5).output("done")) for _ in range(4)]
    long = admin.start(Flow().add("w", "wait", seconds=6).output("done"))
    parked(stack, long)
    for name in ("supervisor-1", "supervisor-2"):
        stack.restart(name)
    assert [admin.wait(eid, 60)["execution"]["outputs"] for eid in [*short, long]] == ["done"] * 5
    assert stack.sql("SELECT count(*) FROM control.dispatch WHERE tenant = %s", admin.tenant) == [(0,)]
