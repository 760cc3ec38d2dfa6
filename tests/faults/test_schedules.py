"""Each fire of a schedule happens once and none is left out, whatever dies; and counters stay what a count gives."""

import datetime
import itertools
import signal
import time

import httpx
import psycopg
import pytest

from kit.client import checked
from kit.flows import noop
from kit.invariants import quiesce
from kit.waiting import wait_until

pytestmark = pytest.mark.long

SCHEDULES = 4
AWAY = (httpx.HTTPError, AssertionError, psycopg.OperationalError)


def make_schedules(admin):
    flow = admin.create(noop())
    body = {"flow_id": flow, "name": "each second", "cron": "* * * * * *", "misfire": "skip"}
    return [checked(admin.post("schedules", json=body), 201).json()["schedule"]["id"] for _ in range(SCHEDULES)]


def count_fires(stack, ids):
    return stack.sql("SELECT count(*) FROM control.fire WHERE schedule_id = ANY (%s)", ids)[0][0]


def await_more(stack, ids, more):
    """Until each schedule has fired `more` times again on the average."""
    now = wait_until(lambda: 1 + count_fires(stack, ids), "the fires so far", 30, forgive=AWAY)
    target = now + more * len(ids)
    wait_until(lambda: count_fires(stack, ids) >= target, f"{more} fires more of each", 60, forgive=AWAY)


def check_fires(stack, admin, ids):
    """No second is left out, none fired twice, and each fire has one execution, which ended well."""
    for schedule in ids:
        rows = stack.sql("SELECT fire_at, outcome, eid, detail FROM control.fire WHERE schedule_id = %s ORDER BY 1", schedule)
        times = [row[0] for row in rows]
        gaps = [early for early, late in itertools.pairwise(times) if late - early != datetime.timedelta(seconds=1)]
        assert not gaps, f"a fire is missing after {gaps}"
        assert {row[1] for row in rows} == {"started"}, [row for row in rows if row[1] != "started"][:3]
        runs = stack.sql(f"SELECT id, status FROM t_{admin.tenant}.executions WHERE source_id = %s", schedule)
        assert sorted(row[0] for row in runs) == sorted(row[2] for row in rows)
        assert {row[1] for row in runs} == {"succeeded"}


def check_counters(stack, admin):
    """What a new count of the tenant finds wrong: nothing."""
    found = stack.sql("SELECT control.counters_recount(json_build_object('after', %s - 1))", admin.tenant)[0][0]
    assert found == {"tenant": admin.tenant, "drift": []}


def kill_schedulers(stack, ids):
    """Each in its turn, and both at once; at different moments of a second."""
    for number in range(6):
        stack.kill(f"scheduler-{1 + number % 2}", signal.SIGKILL)
        await_more(stack, ids, 1)
        time.sleep(0.13 * number)       # spreads the kills over the second, the tests waits for nothing here
    for name in ("scheduler-1", "scheduler-2"):
        stack.kill(name, signal.SIGKILL)


def restart_postgresql(stack, ids):
    for number in (signal.SIGQUIT, signal.SIGINT):
        old = stack.pid("postgres")
        stack.kill("postgres", number)
        stack.await_dead(old)
        await_more(stack, ids, 2)


def empty_redis(stack, ids):
    for _ in range(3):
        stack.redis().flushall()
        await_more(stack, ids, 2)


def stop_a_scheduler(stack, ids):
    """It sleeps between any two steps, and goes on with what it saw long ago."""
    for number in range(4):
        stack.kill("scheduler-1", signal.SIGSTOP)
        await_more(stack, ids, 1 + number % 2)
        stack.kill("scheduler-1", signal.SIGCONT)
        await_more(stack, ids, 1)


@pytest.mark.parametrize("fault", [kill_schedulers, restart_postgresql, empty_redis, stop_a_scheduler])
def test_each_fire_once(stack, fault):
    admin = stack.tenant()
    ids = make_schedules(admin)
    await_more(stack, ids, 2)
    fault(stack, ids)
    await_more(stack, ids, 3)
    for schedule in ids:
        wait_until(lambda path=f"schedules/{schedule}": admin.put(path, json={"enabled": False}).status_code == 200,
                   "the pause of a schedule", 30, forgive=AWAY)
    quiesce(stack)
    check_fires(stack, admin, ids)
    check_counters(stack, admin)
