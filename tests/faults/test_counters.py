"""What tenants use, counted again after faults under load: the counters were right all the time."""

import signal

import pytest

from kit.fault import under_load


def kill_web(stack, load):
    stack.kill("web", signal.SIGKILL)
    load.await_accepted(10)


def kill_supervisors(stack, load):
    for name in stack.names("supervisor-"):
        stack.kill(name, signal.SIGKILL)
        load.await_accepted(10)


def restart_postgresql(stack, load):
    old = stack.pid("postgres")
    stack.kill("postgres", signal.SIGQUIT)
    stack.await_dead(old)


def drift(stack):
    """What a new count of all tenants finds wrong."""
    found, after = [], 0
    while True:
        counted = stack.sql("SELECT control.counters_recount(json_build_object('after', %s::int))", after)[0][0]
        if counted is None:
            return found
        after = counted["tenant"]
        found += [(after, one) for one in counted["drift"]] + [(after, why) for why in [counted.get("fault")] if why]


@pytest.mark.parametrize("fault", [kill_web, kill_supervisors, restart_postgresql])
def test_counters_are_what_a_count_gives(stack, effects, fault):
    with under_load(stack, effects) as load:
        fault(stack, load)
    assert drift(stack) == []
    used = stack.sql("""SELECT d.tenant, d.executions FROM control.tenant_day d
                        WHERE d.day = (now() AT TIME ZONE 'UTC')::date AND d.executions > 0""")
    assert used
    for tenant, executions in used:
        rows = stack.sql(f"SELECT count(*) FROM t_{tenant}.executions WHERE created_at >= date_trunc('day', now(), 'UTC')")
        assert rows == [(executions,)]
