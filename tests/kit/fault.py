"""The frame of a fault test: load, one fault in the middle, progress afterwards, invariants at the end."""

import contextlib

import httpx

from kit.flows import effects as effect_chain
from kit.invariants import CapWatch, check_all
from kit.load import Load

NODES = ("start", "n0", "n1", "n2", "out")
AWAY = (httpx.HTTPError, AssertionError)


@contextlib.contextmanager
def under_load(stack, effects, flow=None, per_second=40, cap=20, before=20, after=20, seconds=60, nodes=NODES,
               once=True, final=("succeeded",), inputs=None):
    """Yields the load when `before` executions are accepted; the block does the fault. Afterwards `after` more have
    to be accepted, the last of them has to end well, and all invariants have to hold.

    once    finished nodes must not run again, as the effect server saw it
    final   the states that accepted executions may end in
    """
    admin = stack.tenant()
    stack.quota(admin.tenant, max_concurrent=cap)
    flow_id = admin.create(flow or effect_chain(effects, 3, 0.05, retry={"attempts": 5, "backoff": "fixed", "delay_ms": 100}))
    with CapWatch(stack) as watch:
        with Load(admin, flow_id, per_second=per_second, inputs=inputs) as load:
            load.await_accepted(before)
            yield load
            last = load.await_accepted(after, seconds)
            ended = admin.wait(last, seconds, forgive=AWAY)
        outcome = check_all(stack, load.ids(), nodes, effects if once else None, seconds)
    watch.check()
    load.check_answers()
    assert ended["execution"]["status"] in final, ended["execution"]
    assert set(outcome) <= set(final), f"executions ended as {dict(outcome)}"
