"""What models used is written down, and the counters stay right, while servers and supervisors die."""

import signal

import pytest

from kit.client import Unexpected, checked
from kit.flows import Flow
from kit.waiting import wait_until

RUNS = 40
STEPS = 4


def kill_supervisors(stack):
    for name in stack.names("supervisor-"):
        stack.kill(name, signal.SIGKILL)


def crash_postgresql(stack):
    old = stack.pid("postgres")
    stack.kill("postgres", signal.SIGQUIT)
    stack.await_dead(old)


def asking():
    """A flow that asks the demo model again and again."""
    flow = Flow()
    for number in range(STEPS):
        flow.add(f"ask{number}", "llm", prompt=f"Question {number}")
    return flow.output(1)


def ended(stack, tenant, count):
    return stack.sql(f"SELECT count(*) FROM t_{tenant}.executions WHERE end_time IS NOT NULL")[0][0] >= count


@pytest.mark.parametrize("fault", [kill_supervisors, crash_postgresql])
def test_every_answer_is_in_the_ledger(stack, fault):
    admin = stack.tenant()
    flow = admin.create(asking())
    eids = [checked(admin.execute(flow), 202).json()["execution_id"] for _ in range(RUNS)]
    wait_until(lambda: ended(stack, admin.tenant, 3), "the first runs to end", 60)
    fault(stack)
    for eid in eids:
        assert admin.wait(eid, 120, forgive=(Unexpected,))["execution"]["status"] == "succeeded"
    # of the dead ones some never tell: their time is over now
    stack.sql("UPDATE control.model_call SET expires_at = now() - interval '1 s' WHERE tenant = %s AND state = 'open'",
              admin.tenant)
    drift = stack.sql("SELECT control.counters_recount(json_build_object('after', %s - 1))", admin.tenant)[0][0]
    assert drift == {"tenant": admin.tenant, "drift": []}
    places = stack.sql("""SELECT eid, node FROM control.model_call WHERE tenant = %s AND state <> 'open'
                          GROUP BY eid, node""", admin.tenant)
    assert {(str(eid), node) for eid, node in places} == {(eid, f"ask{number}") for eid in eids for number in range(STEPS)}
    told, used = stack.sql("""SELECT (SELECT sum(prompt + completion) FROM control.model_call WHERE tenant = %s),
                              (SELECT tokens_used FROM control.tenant_day WHERE tenant = %s)""", admin.tenant, admin.tenant)[0]
    assert told == used > 0
