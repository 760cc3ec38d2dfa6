"""Nothing of a tenant is seen, changed or run by another: by no operation, in no place an id can stand, and not by SQL."""

import contextlib
import hashlib
import os
import pathlib
import re
import subprocess

import psycopg
import pymongo
import pytest

from kit.client import checked
from kit.operations import MEMBERS, ROLES, holds_ids, operations, with_ids
from kit.waiting import wait_until
from kit.world import World

ROOT = pathlib.Path(__file__).resolve().parents[2]
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

NO_RIGHT, TWO_STATEMENTS = "42501", "42601"
AS_TENANT = re.search(r'X\(TENANT, "(.*?)"\)', (ROOT / "webapp" / "server" / "statements.h").read_text())[1]


@contextlib.contextmanager
def within(stack, tenant):
    """A transaction of a tenant as the web server has it: its login, its statement that takes the role, its protocol."""
    with psycopg.connect(stack.urls["postgres_web"], connect_timeout=5) as connection:
        send(connection, "begin")
        assert send(connection, AS_TENANT, f"t_{tenant}") is None
        yield connection
        connection.rollback()


def send(connection, statement, *values):
    """The SQLSTATE of one message Parse with its Bind and Execute; None when it did what it says."""
    wire = connection.pgconn
    done = wire.prepare(b"", statement.encode())
    if done.status == psycopg.pq.ExecStatus.COMMAND_OK:
        done = wire.exec_prepared(b"", [value.encode() for value in values])
    state = done.error_field(psycopg.pq.DiagnosticField.SQLSTATE)
    return state.decode() if state else None


def outcome(stack, tenant, statement):
    with within(stack, tenant) as connection:
        return send(connection, statement)


def refused(stack, tenant, statement):
    assert outcome(stack, tenant, statement) == NO_RIGHT, statement


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


# What somebody might smuggle into a tenant's statement: {own} is his tenant, {other} one he would like to reach.
INSIDE = [
    # to become another role
    "select set_config('role', 't_{other}', true)",
    "select set_config('role', 'none', true)",
    "select pg_catalog.set_config('role', 'windlass_web', false) from flows",
    "select set_config('session_authorization', 'postgres', true)",
    "select set_config('search_path', 't_{other}', true)",
    "select set_config('statement_timeout', '0', false)",
    "update pg_settings set setting = 't_{other}' where name = 'role'",
    "update pg_settings set setting = '0' where name = 'statement_timeout'",
    # to have SQL text run
    "select query_to_xml('select 1', true, true, '')",
    "select query_to_xml('set role t_{other}', true, true, '')",
    "select query_to_xml_and_xmlschema('select * from t_{other}.flows', true, true, '')",
    "select database_to_xml(true, true, '')", "select schema_to_xml('t_{other}', true, true, '')",
    "select table_to_xml('flows', true, true, '')", "select * from cursor_to_xml('c', 1, true, true, '')",
    "select * from ts_stat('select 1')", "select ts_rewrite('a', 'select 1, 2')",
    # to look at others
    "select * from t_{other}.flows", "select * from control.tenant", "select * from control.app_user",
    "select * from pg_authid", "select passwd from pg_catalog.pg_shadow", "select * from pg_statistic",
    "select reltuples from pg_class", "select * from pg_locks", "select * from pg_stat_activity",
    "select query from pg_stat_get_activity(null)", "select * from pg_stat_user_tables",
    "select pg_stat_get_live_tuples(1)", "select pg_relation_size(1::oid)", "select pg_total_relation_size(1::oid)",
    "select pg_database_size(1::oid)", "select pg_sequence_last_value(1::oid)", "select last_value from control.dispatch_seq",
    "select nextval('control.dispatch_seq')",
    # to reach the host's files and the server's settings
    "select pg_read_file('/etc/passwd')", "select pg_read_binary_file('/etc/passwd')", "select pg_ls_dir('/')",
    "select pg_stat_file('/etc/passwd')", "select lo_import('/etc/passwd')", "select lo_export(1, '/tmp/x')",
    "select pg_reload_conf()", "select pg_rotate_logfile()", "select * from pg_hba_file_rules", "select * from pg_file_settings",
    "copy flows to program 'true'", "copy flows to '/tmp/windlass-flows'",
    # to hold up others
    "select pg_terminate_backend(pid) from (values (1)) v(pid)", "select pg_cancel_backend(1)",
    "select pg_advisory_lock(7201, 0)", "select pg_advisory_xact_lock(7201, 0)", "select pg_advisory_lock_shared(1)",
    "select pg_try_advisory_lock(7202, 0)", "select pg_try_advisory_xact_lock(1)", "select pg_advisory_unlock_all()",
    "select pg_sleep(1)", "select pg_sleep_for('1 s')", "select pg_notify('x', 'y')", "select setseed(0)",
    "select control.shard_renew(0, 'x')", "lock table control.dispatch", "lock table t_{other}.flows",
    # to leave something behind, or fill the disk past the quota
    "select lo_create(0)", "select lo_from_bytea(0, '')", "select lo_creat(-1)", "select lo_unlink(1)",
    "select pg_logical_emit_message(false, 'x', 'y')", "select pg_create_physical_replication_slot('x')",
    "select pg_create_logical_replication_slot('x', 'pgoutput')", "select pg_export_snapshot()",
    "select pg_drop_replication_slot('x')", "select pg_replication_origin_create('x')", "select pg_switch_wal()",
    "create temporary table x (y int)", "create table t_{own}.x (y int)", "create table public.x (y int)", "create schema x",
    "create function public.x() returns int language sql as 'select 1'", "do $$ begin perform 1; end $$",
    "create view t_{own}.x as select 1", "alter table flows add column x int", "drop table flows", "truncate flows",
    "create role x", "alter role t_{own} superuser", "alter role windlass_web superuser", "grant t_{other} to t_{own}",
    "alter role t_{other} password 'x'", "create extension dblink", "alter database windlass set role = 't_{other}'",
    # what only scheduler and supervisor, or the web server before it knows the tenant, may call
    "select control.purge_take('{{}}')", "select control.tenant_key_of({other})", "select control.flow_doc({other}, '')",
    "select * from control.login_candidates('a@b.test', null, null)", "select control.tool_for_run({other}, gen_random_uuid())",
    "select control.register('a', 'b', gen_random_uuid(), 'c@d.test', 'e')", "select control.password_of(gen_random_uuid())",
]
BEHIND = ["select 1; set role t_{other}", "select 1; reset role", "select 1; set session authorization default",
          "select 1; commit; begin", "select 1; do $$ begin end $$", "select 1 ;; select 2", "begin; set local role t_{other}",
          "select 1; discard all", "select 1; listen x", "select 1; prepare x as select 1"]


@pytest.mark.parametrize("statement", INSIDE)
def test_a_statement_within_a_tenant_leads_nowhere(stack, victim, attacker, statement):
    refused(stack, attacker.admin.tenant, statement.format(own=attacker.admin.tenant, other=victim.admin.tenant))


@pytest.mark.parametrize("statement", BEHIND)
def test_no_second_statement_rides_on_the_first(stack, victim, attacker, statement):
    assert outcome(stack, attacker.admin.tenant, statement.format(other=victim.admin.tenant)) == TWO_STATEMENTS


def test_programs_speak_the_extended_protocol_only():
    """The simple one, behind PQexec() and PQsendQuery(), takes several statements."""
    sources = [path for folder in ("lib", "webapp/server", "scheduler", "supervisor", "cli")
               for path in (ROOT / folder).rglob("*.[ch]")]
    assert any("PQsendQueryPrepared(" in path.read_text() for path in sources)
    assert [str(path) for path in sources if re.search(r"\bPQ(exec|sendQuery)\(", path.read_text())] == []


def test_the_way_of_these_tests_reaches_ones_own(stack, attacker):
    """The refusals above mean nothing if a good statement were refused as well."""
    with within(stack, attacker.admin.tenant) as connection:
        assert send(connection, "select 1 / count(*) from flows") is None
        assert send(connection, "select control.tenant_lock($1)", "x") is None
        assert send(connection, "select 1 / (current_user = $1)::int", f"t_{attacker.admin.tenant}") is None


def test_functions_with_effects_are_closed_but_for_few(stack):
    """What PostgreSQL lets everybody call, a new version included: nothing that changes or looks past one's rights."""
    left = stack.sql("""
        SELECT DISTINCT proname FROM pg_proc WHERE pronamespace = 'pg_catalog'::regnamespace AND provolatile = 'v'
        AND prorettype NOT IN ('trigger'::regtype, 'event_trigger'::regtype)
        AND NOT 'internal'::regtype = ANY (proargtypes::oid[]) AND has_function_privilege('windlass_tenant', oid, 'execute')""")
    assert {name for name, in left} <= {"random", "random_normal", "clock_timestamp", "timeofday", "gen_random_uuid", "nextval",
                                        "currval", "lastval"}


def test_nothing_is_there_that_others_brought(stack):
    """dblink and its like would be ways of their own."""
    assert stack.sql("SELECT extname FROM pg_extension") == [("plpgsql",)]
    assert stack.sql("""
        SELECT p.oid::regprocedure::text FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
        WHERE n.nspname NOT IN ('pg_catalog', 'information_schema', 'control', 'api')
        AND has_schema_privilege('windlass_tenant', n.oid, 'usage') AND has_function_privilege('windlass_tenant', p.oid, 'execute')
        """) == []
    assert stack.sql("SELECT nspname FROM pg_namespace WHERE has_schema_privilege('windlass_tenant', oid, 'create')") == []


def functions(stack, *schemas):
    return stack.sql("SELECT oid::regprocedure::text, prosrc FROM pg_proc WHERE pronamespace::regnamespace::text = ANY (%s)",
                     list(schemas))


def test_text_that_is_put_together_is_one_query_and_nothing_else(stack):
    """A cursor takes no second statement, and none that is no query; a plain EXECUTE would take SET ROLE."""
    found = {name: re.findall(r"(\w+\s+)?EXECUTE\s", text) for name, text in functions(stack, "api")}
    assert sum(map(len, found.values())) >= 3
    assert [name for name, words in found.items() if any(word.strip() not in ("FOR", "IN") for word in words)] == []


def of_a_constant(text, line):
    """Whether what is executed is format() of a constant that is declared in the same function."""
    name = re.match(r"EXECUTE\s+format\s*\((c_\w+),", line)
    return bool(name and re.search(rf"\b{name[1]}\s+constant\s+text\s*:=\s*['$]", text, re.IGNORECASE))


def test_text_of_the_owners_functions_is_constant_but_for_names(stack):
    """What runs with the owner's rights is written out: names and numbers are put in by format(), values are parameters.
    EXECUTE FUNCTION is a trigger's word and executes no text."""
    loose = [(name, line.strip()) for name, text in functions(stack, "control", "api_public", "api_operator")
             for line in re.findall(r"\bEXECUTE\s(?!FUNCTION control\.\w+\(\))[^\n]*", text)
             if not re.match(r"EXECUTE\s+(format\s*\(\s*(\$\w*\$|')|'[^|]*$)", line) and not of_a_constant(text, line)]
    assert loose == []


@pytest.mark.parametrize("text", ["set role t_{other}", "select 1; set role t_{other}", "reset role", "do 'begin end'"])
def test_a_cursor_lets_no_role_in(stack, victim, attacker, text):
    """A function as those of schema api are, whose text somebody else got to write."""
    with stack.postgres() as connection, connection.transaction(force_rollback=True):
        connection.execute("""CREATE FUNCTION api.leaky(p_text text) RETURNS void LANGUAGE plpgsql AS $$
            DECLARE c refcursor; BEGIN OPEN c FOR EXECUTE p_text; END $$""")
        connection.execute(f"GRANT EXECUTE ON FUNCTION api.leaky(text) TO windlass_tenant; SET ROLE t_{attacker.admin.tenant}")
        with pytest.raises(psycopg.errors.InvalidCursorDefinition):
            connection.execute("SELECT api.leaky(%s)", (text.format(other=victim.admin.tenant),))


def test_the_owners_functions_take_no_role(stack, victim):
    """Not even text that somebody else got to write into a function with the owner's rights becomes another role."""
    with stack.postgres() as connection, connection.transaction(force_rollback=True):
        connection.execute("""SET LOCAL ROLE windlass_owner; CREATE FUNCTION control.leaky(p_text text) RETURNS void
            LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN EXECUTE p_text; END $$""")
        connection.execute("GRANT EXECUTE ON FUNCTION control.leaky(text) TO windlass_tenant; RESET ROLE")
        connection.execute(f"SET ROLE t_{victim.admin.tenant}")
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="security-definer"):
            connection.execute("SELECT control.leaky('SET ROLE windlass_web')")


def test_web_and_engine_have_nothing_in_common(stack, victim):
    """Nobody who takes a tenant's role may do the scheduler's work, and the scheduler may take no tenant's role."""
    rights = {role: {name for name, in stack.sql("""
        SELECT p.oid::regprocedure::text FROM pg_proc p, aclexplode(p.proacl) a
        WHERE a.grantee = %s::regrole AND p.pronamespace <> 'pg_catalog'::regnamespace""", role)}
        for role in ("windlass_web", "windlass_engine", "windlass_app")}
    assert len(rights["windlass_web"]) > 20 and len(rights["windlass_engine"]) > 20
    assert rights["windlass_web"] & rights["windlass_engine"] == set() and rights["windlass_app"] == set()
    tenant = f"t_{victim.admin.tenant}"
    assert stack.sql("SELECT pg_has_role('windlass_engine', %s, 'member'), pg_has_role('windlass_web', %s, 'member'), "
                     "pg_has_role('windlass_web', %s, 'usage'), pg_has_role('windlass_app', %s, 'usage')", *[tenant] * 4) == [
                         (False, True, False, False)]
    with psycopg.connect(stack.urls["postgres_web"], autocommit=True) as connection:
        for call in ("purge_take('{}')", "janitor()", f"tenant_key_of({victim.admin.tenant})", "shards()"):
            assert send(connection, f"select control.{call}") == NO_RIGHT


def test_a_server_of_others_says_what_it_cannot_close(stack, tmp_path):
    """Who migrates without being superuser gets all the rest, and is told; a superuser then closes it once."""
    def migrate(url):
        done = subprocess.run(["/usr/bin/python3", str(ROOT / "tools" / "stack" / "stack.py"), "migrate"], check=False,
                              env={"PATH": os.environ["PATH"], "WINDLASS_POSTGRES_URL": url}, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stderr

    database = f"visited_{os.getpid()}"
    stack.sql(f"CREATE ROLE {database} LOGIN CREATEROLE PASSWORD 'visit'")
    stack.sql(f"CREATE DATABASE {database} OWNER {database}")
    admin = stack.urls["postgres_admin"].replace("/windlass?", f"/{database}?")
    visitor = admin.replace("postgres@", f"{database}:visit@")
    try:
        assert database in visitor and visitor != admin
        said = migrate(visitor)
        assert re.search(r"may call \d+ functions .* such as pg_catalog.set_config\(.*have a superuser migrate once", said)
        assert "less closed" not in migrate(admin)
        assert "less closed" not in migrate(visitor)
    finally:
        stack.sql(f"DROP DATABASE {database} WITH (FORCE)")
        stack.sql(f"DROP ROLE {database}")
