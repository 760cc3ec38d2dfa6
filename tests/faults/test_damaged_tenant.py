"""A tenant whose tables take nothing for a while: no other tenant waits for it, and its own runs end after the repair."""

from kit.flows import Flow, ex
from kit.waiting import wait_until


def slow(effects, seconds):
    return Flow().add("call", "http", method="GET", url=f"{effects.url}/slow/{seconds}").output("done")


def test_others_start_and_end_while_one_tenants_table_is_away(stack, effects):
    damaged, healthy = stack.tenant(), stack.tenant()
    flow = healthy.create(Flow().output(ex(".inputs.n")))
    ends = [damaged.start(slow(effects, 2)) for _ in range(4)]
    starts = damaged.create(slow(effects, 0))
    wait_until(lambda: all(damaged.execution(eid)["execution"]["status"] == "running" for eid in ends), "all four run")
    table = f"t_{int(damaged.tenant)}.executions"
    stack.sql(f"ALTER TABLE {table} RENAME TO hidden")
    try:
        # the four end now, and cannot be written: each of these would wait behind them
        for number in range(60):
            answer = healthy.wait(healthy.execute(flow, {"n": number}).json()["execution_id"], seconds=10)
            assert answer["execution"]["outputs"] == number
    finally:
        stack.sql(f"ALTER TABLE t_{int(damaged.tenant)}.hidden RENAME TO executions")
    for eid in [*ends, damaged.start(starts)]:
        assert damaged.wait(eid, seconds=60)["execution"]["status"] == "succeeded"
