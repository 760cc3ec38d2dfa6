"""What runs all the time looks at few rows of a table, however long that is; and what changes the same rows at the same
time takes its locks in one order."""

import contextlib
import json
import threading
import uuid

import psycopg
import pytest

from kit.client import checked
from kit.waiting import wait_until

ROWS = 20000
# what is not due for an hour yet: the rows, and the call that looks for what is due
LATER = {
    "parked": ("INSERT INTO control.parked (eid, due) SELECT gen_random_uuid(), now() + interval '1 hour' + n * interval '1 s'"
               " FROM generate_series(1, %s) n", """SELECT control.wake_due('{"limit": 200}')"""),
    "object_trash": ("INSERT INTO control.object_trash (key, tenant, due) SELECT 'later' || n, 1, now() + interval '1 hour'"
                     " FROM generate_series(1, %s) n", """SELECT control.object_trash_take('{"limit": 100}')"""),
    "schedule": ("INSERT INTO control.schedule (id, tenant, flow_id, name, cron, timezone, inputs, labels, misfire, overlap,"
                 " enabled, timeout_s, created_by, next_at) SELECT gen_random_uuid(), 1, gen_random_uuid(), 'later',"
                 " '0 0 * * *', 'UTC', '{}', '{}', 'skip', 'allow', true, 60, gen_random_uuid(), now() + interval '1 hour'"
                 " FROM generate_series(1, %s) n", """SELECT control.schedules_due('{"limit": 64}')"""),
}


def rows_read(connection, table):
    """Rows of a table that this transaction has looked at so far."""
    return connection.execute("""SELECT sum(coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0))
        FROM pg_stat_xact_all_tables WHERE schemaname = 'control' AND relname = %s""", (table,)).fetchone()[0]


@contextlib.contextmanager
def undone(stack):
    """A transaction that is taken back."""
    with stack.postgres() as connection, connection.transaction(force_rollback=True):
        yield connection


def become(connection, tenant):
    connection.execute(f"SET LOCAL ROLE t_{tenant}")
    connection.execute(f"SET LOCAL search_path = t_{tenant}")


@pytest.mark.parametrize("table", LATER)
def test_what_is_not_due_is_not_looked_through(stack, table):
    fill, look = LATER[table]
    with undone(stack) as connection:
        connection.execute(fill, (ROWS,))
        connection.execute(f"ANALYZE control.{table}")
        before = rows_read(connection, table)
        connection.execute(look)
        assert rows_read(connection, table) - before < 1000


def test_lists_of_executions_do_not_read_what_others_have_in_flight(stack, admin):
    """One tenant's long queue makes the lists of no other slow."""
    actor = json.dumps({"user": admin.user_id, "role": "admin", "tenant": admin.tenant})
    with undone(stack) as connection:
        connection.execute("""INSERT INTO control.dispatch (eid, tenant, shard, deadline, flow_id, doc_hash)
            SELECT gen_random_uuid(), id, id %% 16, now() + interval '1 day', gen_random_uuid(), '\\x01'
            FROM generate_series(1, %s) n, (SELECT min(id) AS id FROM control.tenant WHERE state = 'active') t""", (ROWS,))
        connection.execute("ANALYZE control.dispatch")
        connection.execute(f"""INSERT INTO t_{admin.tenant}.executions (id, flow_id, doc_hash, user_id, status, deadline, inputs)
            SELECT gen_random_uuid(), gen_random_uuid(), '\\x01', %s, 'succeeded', now(), '{{}}'
            FROM generate_series(1, 50)""", (admin.user_id,))
        before = rows_read(connection, "dispatch")
        become(connection, admin.tenant)
        body = connection.execute("SELECT (api.executions_list(%s, '{\"params\": {}}')).body", (actor,)).fetchone()[0]
        assert len(body["executions"]) == 20
        connection.execute("RESET ROLE")    # a tenant's role may not count
        assert rows_read(connection, "dispatch") - before < 1000


def test_a_report_of_deliveries_waits_for_the_hook_before_it_holds_one(stack, admin):
    """Who changes a hook holds it and then takes its deliveries: a report that held those first would be in its way."""
    hook, delivery = (str(uuid.uuid4()) for _ in range(2))
    stack.sql("""INSERT INTO control.outgoing_webhook (id, tenant, name, url, host, events, sees_private, chosen_by, enabled,
        secret, created_by) VALUES (%s, %s, 'hook', 'http://nobody.test/', 'nobody.test', '{failed}', true, %s, true, 'x', %s)""",
              hook, admin.tenant, admin.user_id, admin.user_id)
    stack.sql("""INSERT INTO control.out_delivery (id, hook, tenant, event, tries, sending, next_try_at)
        VALUES (%s, %s, %s, 'failed', 1, true, now() + interval '1 hour')""", delivery, hook, admin.tenant)
    report = json.dumps([{"id": delivery, "hook": hook, "try": 1, "outcome": "retry", "slow": False, "status": 500,
                          "error": "no", "pause_ms": 3600000}])
    done = []

    def reporter(connection):
        connection.execute("SELECT control.out_report(%s)", (report,))
        done.append(True)

    with stack.postgres() as other, stack.postgres() as changing:
        pid = other.info.backend_pid
        with changing.transaction():
            changing.execute("SELECT FROM control.outgoing_webhook WHERE id = %s FOR UPDATE", (hook,))
            thread = threading.Thread(target=reporter, args=(other,))
            thread.start()
            wait_until(lambda: stack.sql("SELECT wait_event_type FROM pg_stat_activity WHERE pid = %s", pid) == [("Lock",)],
                       "the report to wait", 20)
            try:
                changing.execute("SELECT FROM control.out_delivery WHERE id = %s FOR UPDATE NOWAIT", (delivery,))
                held = False
            except psycopg.errors.LockNotAvailable:
                held = True
                raise psycopg.Rollback from None
        thread.join(20)
    assert not held and done == [True]
    assert stack.sql("SELECT failures FROM control.outgoing_webhook WHERE id = %s", hook) == [(1,)]
    checked(admin.delete(f"outgoing-webhooks/{hook}"), 204)
