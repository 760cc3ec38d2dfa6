"""Everything at once: flows of several kinds, cancels and deadlines, while programs and servers die at random."""

import concurrent.futures
import contextlib
import random
import signal
import threading
import time
import uuid

import pytest

from kit.flows import Flow, effects as effect_chain, ex, five_nodes, of
from kit.fault import AWAY
from kit.invariants import CapWatch, check_all
from kit.load import Load
from kit.stack import runner

pytestmark = pytest.mark.long

STORM_S = 25
VICTIMS = ["scheduler-1", "scheduler-2", "supervisor-1", "supervisor-2", "web", "eval", "warden", "redis", "docserver", "postgres"]
AGAIN = {"attempts": 8, "backoff": "fixed", "delay_ms": 300}


def kinds(server):
    """Flows that between them use every kind of node, able to bear a lost warden or expression server."""
    tool = Flow().code("c", "import json, sys; print(json.dumps({'n': json.load(sys.stdin)['n'] + 1}))", retry=AGAIN,
                       input={"n": ex(".inputs.n")}).transform("t", ex(of("c", ".n * 2")), retry=AGAIN).output(ex(of("t")), node_id="out")
    built_in = five_nodes()
    for node in built_in.nodes[1:]:
        node["data"]["retry"] = AGAIN
    tool.nodes[-1]["data"]["retry"] = AGAIN
    return [effect_chain(server, 3, 0.05, retry=AGAIN), tool, built_in]


def cancel_some(api, load, ended, cancelled, chance):
    """Cancel a random accepted execution now and then, whatever state it is in."""
    while not ended.wait(0.3):
        ids = load.ids()
        if not ids:
            continue
        eid = chance.choice(ids[-20:])
        cancelled.add(eid)      # before the call: its answer may be lost, and it holds all the same
        with contextlib.suppress(*AWAY):
            api.cancel(eid)


def test_mixed_work_in_a_storm(stack, effects):
    seed = random.SystemRandom().randrange(10 ** 6)
    print("seed", seed)
    chance = random.Random(seed)
    admin = stack.tenant()
    stack.quota(admin.tenant, max_concurrent=15)
    flows = [admin.create(flow) for flow in kinds(effects)]
    cancelled, ended = set(), threading.Event()
    loads = [Load(admin, flow_id, threads=2, per_second=8, inputs={"n": 4}) for flow_id in flows]
    with CapWatch(stack) as watch, concurrent.futures.ThreadPoolExecutor(1) as pool:
        for load in loads:
            load.__enter__()
        task = pool.submit(cancel_some, admin, loads[0], ended, cancelled, random.Random(seed))
        try:
            ends = time.monotonic() + STORM_S
            while time.monotonic() < ends:
                strike(stack, chance.choice(VICTIMS))
                time.sleep(chance.uniform(0.5, 3.0))    # the rhythm of the storm, not a wait for a state
        finally:
            ended.set()
            for load in loads:
                load.__exit__()
        task.result()
        accepted = [eid for load in loads for eid in load.ids()]
        outcome = check_all(stack, accepted, effects=effects, seconds=90)
    watch.check()
    for load in loads:
        load.check_answers()
    strangers = {eid: status for eid, status in states(stack, admin.tenant, accepted).items()
                 if status != "succeeded" and not (status == "cancelled" and eid in cancelled)}
    assert not strangers, (seed, dict(outcome), describe(stack, admin.tenant, strangers))
    assert outcome["succeeded"] > 50, dict(outcome)


def states(stack, tenant, ids):
    rows = dict(stack.sql(f"SELECT id::text, status FROM t_{tenant}.executions"))
    return {eid: rows[eid] for eid in ids}


def describe(stack, tenant, ids):
    return stack.sql(f"SELECT id::text, status, error FROM t_{tenant}.executions WHERE id = ANY(%s::uuid[]) LIMIT 5", list(ids))


def strike(stack, name):
    try:
        stack.kill(name, signal.SIGQUIT if name == "postgres" else signal.SIGKILL)
    except runner.StackFailed:
        pass    # it is down already


def test_the_same_key_from_many_clients_while_the_web_server_dies(stack):
    """Whoever asks, and however often in between the server dies: one key, one execution."""
    admin = stack.tenant()
    flow_id = admin.create(five_nodes())
    keys = [uuid.uuid4().hex for _ in range(20)]
    load = Load(admin, flow_id, inputs={"n": 1})
    with concurrent.futures.ThreadPoolExecutor(24) as pool:
        tasks = [(key, pool.submit(load.start, key)) for key in keys * 6]
        for _ in range(4):
            strike(stack, "web")
            time.sleep(0.4)
        given = {}
        for key, task in tasks:
            given.setdefault(key, set()).add(task.result())
    load.check_answers()
    assert all(len(ids) == 1 for ids in given.values()), given
    ids = {eid for ids in given.values() for eid in ids}
    assert len(ids) == 20
    check_all(stack, ids)
    assert stack.sql(f"SELECT count(*) FROM t_{admin.tenant}.executions")[0][0] == 20
