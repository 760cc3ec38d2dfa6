"""An export whose scheduler dies or leaves while it makes it: it becomes ready all the same, and nothing is left over."""

import contextlib
import os
import signal

import pytest

from kit.exports import ask, content, ended, look
from kit.flows import Flow
from kit.s3 import Place, S3Server
from kit.stack import SHORT_LEASES, Stack, alive
from kit.waiting import wait_until

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def place():
    with S3Server() as server, Stack("export-faults", env={**SHORT_LEASES, "WINDLASS_S3_URL": server.url}, schedulers=2) as stack:
        yield Place(stack, server)


@pytest.fixture
def admin(place):
    """A tenant whose flows do not fit into one page."""
    admin = place.stack.tenant()
    for number in range(3):
        admin.create(Flow().output("x" * 1500000), name=f"flow {number}")
    return admin


@contextlib.contextmanager
def reading_stands_still(place, tenant):
    """No flow of the tenant can be read meanwhile; yields what tells whether somebody waits for that."""
    with place.stack.postgres() as connection, connection.transaction():
        connection.execute(f"LOCK TABLE t_{tenant}.flow_docs IN ACCESS EXCLUSIVE MODE")
        yield lambda _: place.stack.sql("""SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'
                                           AND query LIKE '%%control.export_page%%'""")


@contextlib.contextmanager
def storing_stands_still(place, tenant):
    """The object store takes nothing meanwhile."""
    place.s3.process.send_signal(signal.SIGSTOP)
    try:
        yield lambda _: place.stack.sql("SELECT 1 FROM control.object_trash WHERE tenant = %s", tenant)
    finally:
        place.s3.process.send_signal(signal.SIGCONT)


def check_whole(place, admin, made):
    """It is ready; every object is its file or in the trash, and when that is emptied the file is left."""
    stack, tenant = place.stack, admin.tenant
    assert made["state"] == "ready" and made["entries"] == 3, made
    assert len(content(admin, made).content) == made["size"] == place.used(tenant) == place.recount(tenant)
    known = {key for key, in stack.sql(f"""SELECT object_key FROM t_{tenant}.artifacts UNION
                                           SELECT key FROM control.object_trash WHERE tenant = %s""", tenant)}
    assert set(place.keys(tenant)) <= known
    stack.sql("UPDATE control.object_trash SET due = now() WHERE tenant = %s", tenant)
    wait_until(lambda: stack.sql("SELECT count(*) FROM control.object_trash WHERE tenant = %s", tenant) == [(0,)],
               "an empty trash", 60)
    assert len(place.keys(tenant)) == 1


@pytest.mark.parametrize("standing_still", [reading_stands_still, storing_stands_still])
def test_a_killed_scheduler_leaves_no_export_behind(place, admin, standing_still):
    with standing_still(place, admin.tenant) as begun:
        asked = ask(admin, kind="flows", format="json")
        wait_until(lambda: look(admin, asked)["state"] == "running" and begun(asked), "an export that is being made", 30)
        for name in ("scheduler-1", "scheduler-2"):
            place.stack.kill(name, signal.SIGKILL)
    made = ended(admin, asked, 90)
    check_whole(place, admin, made)
    assert place.stack.sql("SELECT tries FROM control.export_work WHERE id = %s", asked["id"])[0][0] >= 2


def test_a_scheduler_that_leaves_hands_its_export_over(place, admin):
    """It tells so: the attempt does not count."""
    stack = place.stack
    with reading_stands_still(place, admin.tenant) as begun:
        asked = ask(admin, kind="flows", format="json")
        wait_until(lambda: begun(asked), "an export that is being made", 30)
        for name in ("scheduler-1", "scheduler-2"):
            pid = stack.pid(name)
            threads = len(os.listdir(f"/proc/{pid}/task"))
            stack.kill(name, signal.SIGTERM)
            wait_until(lambda: not alive(pid) or len(os.listdir(f"/proc/{pid}/task")) < threads - 2, f"{name} ending", 20,
                       forgive=(FileNotFoundError,))
    made = ended(admin, asked, 90)
    check_whole(place, admin, made)
    assert stack.sql("SELECT tries FROM control.export_work WHERE id = %s", asked["id"]) == [(1,)]


def test_one_of_a_tenant_is_made_at_a_time(place, admin):
    """Whatever schedulers there are; and each is made by one of them alone."""
    stack = place.stack
    asked = [ask(admin, kind="flows") for _ in range(5)]
    most = 0

    def all_ended():
        nonlocal most
        states = [state for state, in stack.sql("SELECT state::text FROM control.export_work WHERE tenant = %s", admin.tenant)]
        most = max(most, states.count("R"))
        return set(states) == {"D"}
    wait_until(all_ended, "the end of all exports", 60)
    assert most == 1 and len(place.keys(admin.tenant)) == 5
    assert {ended(admin, one)["state"] for one in asked} == {"ready"}
    assert {row for row in stack.sql("SELECT tries FROM control.export_work WHERE tenant = %s", admin.tenant)} == {(1,)}
