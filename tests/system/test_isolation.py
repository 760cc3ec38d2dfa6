"""Nothing of a tenant is seen, changed or run by another: by no operation, in no place an id can stand, and not by SQL."""

import hashlib

import psycopg
import pymongo
import pytest

from kit.client import checked
from kit.operations import MEMBERS, ROLES, holds_ids, operations, with_ids
from kit.waiting import wait_until
from kit.world import World

MARK = "victims-own"
WITH_PATH_IDS = [one for one in operations() if one.role in ROLES and ({"id", "delivery_id"} & set(one.in_path))]
WITH_BODY_IDS = [one for one in operations() if one.role in ROLES and one.example and holds_ids(one.example)]
WITH_QUERY_IDS = [(one, name) for one in operations() if one.role in ROLES for name in one.in_query if name in MEMBERS]


@pytest.fixture(scope="module")
def victim(stack):
    return World(stack, stack.tenant(), MARK)


@pytest.fixture(scope="module")
def attacker(stack):
    return World(stack, stack.tenant(), "attackers-own")


def tables_of(stack, tenant):
    """Every table with something of the tenant in it: (table, condition)."""
    own = [(f"t_{tenant}.{name}", "true") for name, in stack.sql(
        "SELECT tablename FROM pg_tables WHERE schemaname = %s ORDER BY 1", f"t_{tenant}")]
    shared = [(f"control.{name}", f"tenant = {int(tenant)}") for name, in stack.sql(
        "SELECT table_name FROM information_schema.columns WHERE table_schema = 'control' AND column_name = 'tenant' "
        "AND table_name IN (SELECT tablename FROM pg_tables WHERE schemaname = 'control') ORDER BY 1")]
    return own + [one for one in shared if one[0] not in MOVING]


# what the victim's own past sets in motion: deliveries that are tried again
MOVING = {"control.outgoing_delivery"}


def picture(stack, tenant):
    """A digest of each table and collection that holds something of a tenant, once its audit log has come to rest."""
    found = {}
    wait_until(lambda: stack.sql("SELECT count(*) FROM control.audit_outbox WHERE tenant = %s", tenant)[0][0] == 0,
               "the audit log being shipped")
    for table, condition in tables_of(stack, tenant):
        rows = stack.sql(f"SELECT x::text FROM {table} x WHERE {condition} ORDER BY 1")
        found[table] = hashlib.sha256("\n".join(row for row, in rows).encode()).hexdigest()
    with pymongo.MongoClient(stack.urls["mongodb"], serverSelectionTimeoutMS=5000) as client:
        for name in client.get_default_database("windlass").list_collection_names():
            rows = client.get_default_database("windlass")[name].find({"t": tenant})
            found[name] = sorted(str(row["_id"]) for row in rows)
    return found


def body_of(operation, ids):
    return {"json": with_ids(operation.example, ids)} if operation.example else \
        {"json": {}} if operation.takes_body else {}


def keeps_quiet(answer, *known):
    """No word of the victim's in an answer, but what the question itself held."""
    text = answer.text
    for word in known:
        text = text.replace(word, "")
    assert MARK not in text, answer.text[:500]


@pytest.fixture(scope="module")
def before(stack, victim, attacker):
    return picture(stack, victim.admin.tenant)


def test_ids_in_paths_lead_nowhere(victim, attacker, before):
    wrong = []
    for operation in WITH_PATH_IDS:
        answer = attacker.admin.request(operation.method, operation.url(**victim.path_values(operation)),
                                        **body_of(operation, attacker.ids))
        keeps_quiet(answer)
        if answer.status_code != 404:
            wrong.append((operation.name, answer.status_code, answer.text[:200]))
    assert wrong == []


def test_a_second_id_in_a_path_is_not_a_way_in(victim, attacker, before):
    """A thing of one's own in front, another tenant's behind it."""
    for operation in WITH_PATH_IDS:
        if "delivery_id" not in operation.in_path:
            continue
        values = {**attacker.path_values(operation), "delivery_id": victim.ids["delivery"]}
        assert attacker.admin.request(operation.method, operation.url(**values)).status_code == 404


def test_ids_in_bodies_are_refused(victim, attacker, before):
    wrong = []
    for operation in WITH_BODY_IDS:
        kinds = holds_ids(operation.example)
        for kind in sorted(kinds):
            body = with_ids(operation.example, {**attacker.ids, kind: victim.ids[kind]})
            answer = attacker.admin.request(operation.method, operation.url(**attacker.path_values(operation)), json=body)
            keeps_quiet(answer)
            if answer.status_code not in (400, 404, 409, 422):
                wrong.append((operation.name, kind, answer.status_code, answer.text[:200]))
    assert wrong == []


def test_ids_in_queries_find_nothing(victim, attacker, before):
    wrong = []
    for operation, name in WITH_QUERY_IDS:
        answer = attacker.admin.request(operation.method, operation.url(**attacker.path_values(operation)),
                                        params={name: victim.ids[MEMBERS[name]]})
        keeps_quiet(answer)
        lists = [value for value in answer.json().values() if isinstance(value, list)] if answer.status_code == 200 else [[]]
        if answer.status_code not in (200, 404) or any(lists):
            wrong.append((operation.name, name, answer.status_code, answer.text[:200]))
    assert wrong == []


@pytest.mark.parametrize("header", ["X-Tenant", "X-Tenant-Id", "Tenant", "X-Forwarded-User", "X-Role"])
def test_no_header_names_a_tenant(victim, attacker, before, header):
    for path in ("flows", "executions", "tools", "users", "audit-log", "tenants/current"):
        answer = attacker.admin.get(path, headers={header: str(victim.admin.tenant)})
        keeps_quiet(checked(answer, 200))


def test_an_idempotency_key_is_each_tenants_own(victim, attacker, before):
    first = checked(victim.admin.execute(victim.ids["flow"], key="same key"), 202).json()["execution_id"]
    second = checked(attacker.admin.execute(attacker.ids["flow"], key="same key"), 202)
    assert second.json()["execution_id"] != first and "Idempotency-Replayed" not in second.headers
    for world, eid in ((victim, first), (attacker, second.json()["execution_id"])):
        checked(world.admin.cancel(eid), 202)
        world.admin.wait(eid)


def test_whole_lists_hold_nothing_of_others(victim, attacker, before):
    for operation in operations():
        if operation.role in ROLES and operation.method == "GET" and not operation.in_path:
            keeps_quiet(attacker.admin.get(operation.path))


def test_nothing_of_the_victim_was_changed(stack, victim, attacker):
    """The same attacks once more, between two pictures of all that the victim has."""
    taken = picture(stack, victim.admin.tenant)
    for operation in WITH_PATH_IDS:
        attacker.admin.request(operation.method, operation.url(**victim.path_values(operation)),
                               **body_of(operation, attacker.ids))
    for operation in WITH_BODY_IDS:
        for kind in sorted(holds_ids(operation.example)):
            attacker.admin.request(operation.method, operation.url(**attacker.path_values(operation)),
                                   json=with_ids(operation.example, {**attacker.ids, kind: victim.ids[kind]}))
    now = picture(stack, victim.admin.tenant)
    assert {name for name in taken if taken[name] != now[name]} == set()


# ---- by SQL ------------------------------------------------------------------------------------------------------

def refused(stack, tenant, statement):
    with stack.postgres() as connection, pytest.raises(psycopg.errors.InsufficientPrivilege), connection.transaction():
        connection.execute(f"SET LOCAL ROLE t_{tenant}")
        connection.execute(f"SET LOCAL search_path TO t_{tenant}")
        connection.execute(statement)


def test_a_tenants_role_reads_and_writes_no_others_tables(stack, victim, attacker):
    tables = [table for table, _ in tables_of(stack, victim.admin.tenant)]
    assert len([table for table in tables if table.startswith("t_")]) >= 8
    for table in tables:
        refused(stack, attacker.admin.tenant, f"SELECT * FROM {table}")
        refused(stack, attacker.admin.tenant, f"DELETE FROM {table}")
        refused(stack, attacker.admin.tenant, f"INSERT INTO {table} DEFAULT VALUES")


def test_every_shared_table_is_closed_to_tenants(stack, attacker):
    for name, in stack.sql("SELECT tablename FROM pg_tables WHERE schemaname = 'control'"):
        refused(stack, attacker.admin.tenant, f"SELECT * FROM control.{name}")


def test_no_function_of_a_tenants_transaction_takes_a_tenant(stack):
    """What a tenant's role may call finds its tenant by that role: no argument can name another."""
    callable_ones = stack.sql("""
        SELECT p.oid::regprocedure::text, p.proargnames FROM pg_proc p
        WHERE p.pronamespace IN ('control'::regnamespace, 'api'::regnamespace, 'api_operator'::regnamespace)
          AND p.prosecdef AND has_function_privilege('windlass_tenant', p.oid, 'execute')
          AND has_schema_privilege('windlass_tenant', p.pronamespace, 'usage')""")
    assert len(callable_ones) > 5
    assert [name for name, arguments in callable_ones if {"p_tenant", "p_id_tenant"} & set(arguments or ())] == []


def test_definer_functions_look_only_where_they_are_told(stack):
    """A function with its owner's rights and the caller's search_path could be led to the caller's own tables."""
    loose = stack.sql("""
        SELECT p.oid::regprocedure::text FROM pg_proc p
        WHERE p.pronamespace IN ('control'::regnamespace, 'api'::regnamespace, 'api_public'::regnamespace,
                                 'api_operator'::regnamespace)
          AND p.prosecdef AND NOT EXISTS (SELECT FROM unnest(p.proconfig) c WHERE starts_with(c, 'search_path='))""")
    assert loose == []


def test_a_tenants_role_cannot_become_another(stack, victim, attacker):
    refused(stack, attacker.admin.tenant, f"GRANT t_{victim.admin.tenant} TO t_{attacker.admin.tenant}")
    for name in (f"t_{victim.admin.tenant}", "windlass_owner", "windlass_app"):
        assert stack.sql("SELECT pg_has_role(%s, %s, 'member')", f"t_{attacker.admin.tenant}", name)[0][0] is False
