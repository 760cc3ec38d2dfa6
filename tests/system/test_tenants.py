"""A tenant from its registration to its end: settings, suspension, deletion, and that a purge leaves nothing anywhere."""

import json
import threading
import uuid

import psycopg
import pymongo
import pytest

from kit.client import PASSWORD, checked, fault_paths, problem
from kit.flows import Flow, noop
from kit.people import Watch, accept, audited, invited, member, operator, with_key
from kit.stack import SHORT_LEASES, Stack
from kit.waiting import holds_for, wait_until

pytestmark = pytest.mark.long

SOON = 10       # seconds: five are promised, the machine may be loaded
GRACE_S = 3


@pytest.fixture(scope="module")
def brief():
    """A stack that purges a deleted tenant almost at once, with two schedulers to share the work."""
    with Stack("brief", env={**SHORT_LEASES, "WINDLASS_PURGE_GRACE_S": str(GRACE_S)}, schedulers=2) as running:
        yield running


# ---- registration ------------------------------------------------------------------------------------------------------

def test_registration_makes_all_of_a_tenant_or_nothing(stack, admin):
    row = stack.sql("""SELECT t.state, to_regnamespace('t_' || t.id) IS NOT NULL, to_regrole('t_' || t.id) IS NOT NULL,
                              k.sealed, q.tenant IS NOT NULL
                       FROM control.tenant t JOIN control.tenant_key k ON k.tenant = t.id
                       JOIN control.quota q ON q.tenant = t.id WHERE t.id = %s""", admin.tenant)[0]
    assert row[:3] == ("active", True, True) and len(row[3]) > 40 and row[4]
    other = stack.sql("SELECT sealed FROM control.tenant_key WHERE tenant = %s", stack.tenant().tenant)[0][0]
    assert other != row[3]
    assert len(audited(stack, admin.tenant, "tenant.create")) == 1


def test_parallel_registrations_of_a_slug_make_one_tenant(stack):
    slug, gate, statuses = f"race-{threading.get_native_id()}", threading.Barrier(8), []

    def register(number):
        body = {"email": f"a{number}@{slug}.test", "password": PASSWORD, "tenant_name": "race", "tenant_slug": slug}
        client = stack.api()
        gate.wait()
        statuses.append(client.post("auth/register", json=body).status_code)

    threads = [threading.Thread(target=register, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(statuses) == [201] + [409] * 7
    made = stack.sql("SELECT id FROM control.tenant WHERE slug = %s", slug)
    assert len(made) == 1
    assert stack.sql("SELECT count(*) FROM control.app_user WHERE email LIKE %s", f"a%@{slug}.test")[0][0] == 1
    stray = stack.sql("""SELECT nspname FROM pg_namespace WHERE nspname ~ '^t_[0-9]+$'
                         AND substr(nspname, 3)::int NOT IN (SELECT id FROM control.tenant)""")
    assert stray == []


# ---- settings ----------------------------------------------------------------------------------------------------------

def test_settings_are_an_admins_to_change_and_billing_is_an_admins_to_see(stack, admin):
    before = checked(admin.get("tenants/current"), 200)
    assert before.json()["tenant"]["billing_info"] == {} and before.headers["ETag"] == '"1"'
    body = {"name": "Engines & Co", "settings": {"default_timezone": "Europe/Zurich"}, "billing_info": {"vat": "CHE-1"}}
    after = checked(admin.put("tenants/current", json=body, headers={"If-Match": '"1"'}), 200)
    assert after.headers["ETag"] == '"2"' and after.json()["tenant"]["name"] == "Engines & Co"
    problem(admin.put("tenants/current", json={"name": "late"}, headers={"If-Match": '"1"'}), 412)
    assert checked(admin.put("tenants/current", json={"settings": {}}), 200).json()["tenant"]["billing_info"] == {"vat": "CHE-1"}
    viewer = member(stack, admin)
    seen = checked(viewer.get("tenants/current"), 200).json()["tenant"]
    assert seen["name"] == "Engines & Co" and "billing_info" not in seen
    problem(viewer.put("tenants/current", json={"name": "mine"}), 403)
    assert audited(stack, admin.tenant, "tenant.update")


@pytest.mark.parametrize("body, path", [
    ({"settings": {"much": "x" * 70000}}, "settings"), ({"billing_info": []}, "billing_info"), ({"name": ""}, "name"),
    ({"slug": "other"}, "slug"), ({"state": "active"}, "state"),
])
def test_settings_that_are_refused(stack, admin, body, path):
    assert path in fault_paths(admin.put("tenants/current", json=body), 400)
    assert stack.sql("SELECT rev FROM control.tenant WHERE id = %s", admin.tenant)[0][0] == 1


# ---- suspension --------------------------------------------------------------------------------------------------------

def long_flow():
    return Flow().add("w", "wait", seconds=600)


def test_a_suspended_tenant_is_refused_on_every_way_in(stack, admin):
    boss, viewer = operator(stack), member(stack, admin)
    key, token = with_key(stack, viewer), invited(admin, f"late@{admin.slug}.test")["token"]
    checked(stack.api().post("auth/password-reset", json={"email": viewer.email}), 202)
    eid = admin.start(long_flow())
    watches = [Watch(client, eid) for client in (viewer, key)]
    for client in (admin, viewer, key):
        checked(client.get("auth/me"), 200)
    checked(boss.put(f"operator/tenants/{admin.tenant}", json={"state": "suspended"}), 200)
    for client in (admin, viewer, key):
        wait_until(lambda one=client: one.get("auth/me").status_code == 403, "the refusal", SOON)
        assert "suspended" in problem(client.get("flows"), 403)["detail"]
    assert all(watch.closed.wait(SOON) for watch in watches), "the event streams end"
    body = {"email": admin.email, "password": PASSWORD}
    assert "tenant is suspended" in problem(stack.api().post("auth/login", json=body), 403)["detail"]
    problem(admin.post("auth/refresh", json={"refresh_token": admin.refresh_token}), 403)
    problem(accept(stack, token), 403)
    problem(stack.api().post("auth/invitations/preview", json={"token": token}), 403)
    checked(boss.put(f"operator/tenants/{admin.tenant}", json={"state": "active"}), 200)
    wait_until(lambda: admin.get("auth/me").status_code == 200, "the tenant to work again", SOON)
    admin.refresh()
    checked(accept(stack, token), 201)
    assert admin.execution(eid)["execution"]["status"] == "running"     # what ran went on meanwhile
    checked(admin.cancel(eid), 202)
    actions = [audited(stack, admin.tenant, name) for name in ("tenant.suspend", "tenant.restore")]
    assert [len(entries) for entries in actions] == [1, 1]


def test_what_waits_in_a_suspended_tenant_is_not_started_until_it_is_back(stack, admin):
    boss, flow = operator(stack), admin.create(noop())
    stack.quota(admin.tenant, max_concurrent=0)
    eid = checked(admin.execute(flow), 202).json()["execution_id"]
    checked(boss.put(f"operator/tenants/{admin.tenant}", json={"state": "suspended"}), 200)
    stack.sql("UPDATE control.quota SET max_concurrent = 100, weight = 7 WHERE tenant = %s", admin.tenant)
    shares = f"{{{admin.tenant % 16:02}}}:cfg"
    wait_until(lambda: stack.redis().hget(shares, admin.tenant) == "7 0 10000", "the new shares with a cap of 0", 15)
    holds_for(lambda: stack.sql("SELECT state::text FROM control.dispatch WHERE eid = %s", eid) == [("Q",)], "the wait", 1)
    checked(boss.put(f"operator/tenants/{admin.tenant}", json={"state": "active"}), 200)
    wait_until(lambda: admin.get("auth/me").status_code == 200, "the tenant to work again", SOON)
    assert admin.wait(eid, 30)["execution"]["status"] == "succeeded"


def test_nothing_is_accepted_for_a_suspended_tenant_whoever_asks(stack, admin):
    flow = admin.create(noop())
    checked(admin.get("auth/me"), 200)
    stack.sql("UPDATE control.tenant SET state = 'suspended' WHERE id = %s", admin.tenant)
    statuses = {admin.execute(flow).status_code for _ in range(20)}      # at once, while tokens are still believed
    assert statuses == {403}
    assert stack.sql("SELECT count(*) FROM control.dispatch WHERE tenant = %s", admin.tenant)[0][0] == 0
    assert stack.sql(f"SELECT count(*) FROM t_{admin.tenant}.executions")[0][0] == 0
    with pytest.raises(psycopg.Error, match="suspended"), stack.postgres() as connection, connection.transaction():
        connection.execute("SET LOCAL ROLE windlass_owner")
        connection.execute("""SELECT control.accept_for(%s, json_build_array(json_build_object('ord', 0,
            'eid', gen_random_uuid(), 'flow', %s::text, 'may_draft', true, 'timeout_ms', 1000, 'user_id', %s::text)))""",
                           (admin.tenant, flow, admin.user_id))


# ---- deletion ----------------------------------------------------------------------------------------------------------

def test_deletion_takes_the_slug_and_a_person(stack, admin):
    assert fault_paths(admin.delete("tenants/current"), 400) == ["confirm"]
    problem(admin.delete("tenants/current", params={"confirm": "another"}), 409)
    problem(with_key(stack, admin, "admin").delete("tenants/current", params={"confirm": admin.slug}), 403)
    problem(member(stack, admin, "editor").delete("tenants/current", params={"confirm": admin.slug}), 403)
    assert stack.sql("SELECT state FROM control.tenant WHERE id = %s", admin.tenant)[0][0] == "active"


def test_a_deleted_tenant_is_shut_out_and_can_be_had_back(stack, admin):
    viewer = member(stack, admin)
    key = with_key(stack, viewer)
    running = admin.start(long_flow())
    admin.wait_node(running, "w", "waiting")
    watches = [Watch(client, running) for client in (viewer, key)]
    answer = checked(admin.delete("tenants/current", params={"confirm": admin.slug}), 202).json()["tenant"]
    assert answer["state"] == "deleted" and answer["purge_at"]
    for client in (admin, viewer, key):
        wait_until(lambda one=client: one.get("auth/me").status_code == 403, "the refusal", SOON)
    assert "deleted" in problem(admin.get("flows"), 403)["detail"]
    assert all(watch.closed.wait(SOON) or not watch.thread.is_alive() for watch in watches), "the event streams end"
    problem(stack.api().post("auth/login", json={"email": admin.email, "password": PASSWORD}), 403)
    problem(viewer.post("auth/refresh", json={"refresh_token": viewer.refresh_token}), 403)
    wait_until(lambda: not stack.sql("SELECT 1 FROM control.dispatch WHERE tenant = %s", admin.tenant),
               "the tenant's work to be cancelled", 30)
    taken = {"email": "x@y.test", "password": PASSWORD, "tenant_name": "x", "tenant_slug": admin.slug}
    problem(stack.api().post("auth/register", json=taken), 409)         # the name is kept until it is purged
    boss = operator(stack)
    problem(boss.delete(f"operator/tenants/{admin.tenant}"), 409)
    problem(boss.put(f"operator/tenants/{admin.tenant}", json={"state": "suspended"}), 409)
    back = checked(boss.put(f"operator/tenants/{admin.tenant}", json={"state": "active"}), 200).json()["tenant"]
    assert back["state"] == "active" and back["purge_at"] is None
    again = stack.api().login(admin.email)
    assert again.execution(running)["execution"]["status"] == "cancelled"
    problem(viewer.post("auth/refresh", json={"refresh_token": viewer.refresh_token}), 401)     # logins stay ended
    wait_until(lambda: key.get("auth/me").status_code == 200, "the API key to work again", SOON)
    assert stack.sql("SELECT 1 FROM control.tenant_purge WHERE tenant = %s", admin.tenant) == []


def traces(stack, tenant, eids, words):
    """Where anything of a tenant is left, store by store: by its number, its executions' ids and other words of it."""
    found = []
    if stack.sql("SELECT to_regnamespace(%s) IS NOT NULL OR to_regrole(%s) IS NOT NULL", f"t_{tenant}", f"t_{tenant}")[0][0]:
        found.append("schema or role")
    tables = stack.sql("""SELECT c.relname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
                          WHERE c.relnamespace = 'control'::regnamespace AND c.relkind IN ('r', 'p')
                          AND a.attname = 'tenant' AND c.relname <> 'tenant_purge'""")
    found += [name for name, in tables if stack.sql(f"SELECT 1 FROM control.{name} WHERE tenant = %s LIMIT 1", tenant)]
    tables = stack.sql("""SELECT relname FROM pg_class WHERE relnamespace = 'control'::regnamespace AND relkind = 'r'
                          AND relname <> 'tenant_purge'""")
    found += [f"{name} (text)" for name, in tables
              if stack.sql(f"SELECT 1 FROM control.{name} r WHERE r::text LIKE ANY (%s) LIMIT 1",
                           [f"%{word}%" for word in (*eids, *words)])]
    found += ["tenant"] * len(stack.sql("SELECT 1 FROM control.tenant WHERE id = %s", tenant))
    with pymongo.MongoClient(stack.urls["mongodb"], serverSelectionTimeoutMS=5000) as client:
        database = client.get_default_database("windlass")
        for name in database.list_collection_names():
            if database[name].find_one({"t": tenant}) or any(database[name].find_one({"e": eid}) for eid in eids):
                found.append(f"collection {name}")
    redis, shard = stack.redis(), f"{{{tenant % 16:02}}}"
    keys = set(redis.scan_iter("*"))
    found += sorted(key for key in keys if any(eid in key for eid in eids)
                    or key in (f"{shard}:q:{tenant}", f"{shard}:run:{tenant}"))
    found += [name for name in ("cfg", "vt") if redis.hexists(f"{shard}:{name}", tenant)]
    objects = stack.home / "objects"
    if objects.exists():
        found += [str(path) for path in objects.rglob("*") if path.is_file() and str(tenant) in path.parts]
    return found


def ask_a_model(stack, admin, eid):
    """What a model call of a run leaves behind: its row in the ledger, a budget with its mark, and the exchange."""
    checked(admin.post("budgets", json={"scope": "run", "unit": "tokens", "limit": 1, "warn_percent": 1}), 201)
    for tokens in (1, 2):
        stack.sql("SELECT control.budget_reserve(%s::json)", json.dumps({
            "id": str(uuid.uuid4()), "tenant": admin.tenant, "eid": eid, "node": "a", "place": str(tokens), "ttl_s": 60,
            "prompt_tokens": tokens, "completion_tokens": 0}))
    with pymongo.MongoClient(stack.urls["mongodb"], serverSelectionTimeoutMS=5000) as client:
        client.get_default_database("windlass")["exchanges"].insert_one({"_id": f"{eid}/a/1", "t": admin.tenant, "e": eid})


def fill(stack, admin, count):
    stack.sql("INSERT INTO control.idem SELECT %s, 'key ' || n, '', gen_random_uuid() FROM generate_series(1, %s) n",
              admin.tenant, count)


def test_rows_of_a_purged_tenant_go_in_batches(brief):
    admin, bystander = brief.tenant(), brief.tenant()
    for api in (admin, bystander):
        fill(brief, api, 250)
    left = lambda api: brief.sql("SELECT count(*) FROM control.idem WHERE tenant = %s", api.tenant)[0][0]  # noqa: E731
    more = [brief.sql("SELECT control.purge_some_rows(%s, 100)", admin.tenant)[0][0] for _ in range(3)]
    assert more == [True, True, False] and (left(admin), left(bystander)) == (0, 250)


def test_a_purged_tenant_leaves_nothing_anywhere(brief):
    admin, bystander = brief.tenant(), brief.tenant()
    viewer = member(brief, admin)
    with_key(brief, viewer)
    invited(admin, f"open@{admin.slug}.test")
    checked(brief.api().post("auth/password-reset", json={"email": viewer.email}), 202)
    problem(brief.api().post("auth/login", json={"email": viewer.email, "password": "a wrong one"}), 401)
    flow = admin.create(noop())
    eids = [admin.start(flow) for _ in range(5)]
    writes = Flow().add("files", "code", language="bash", source="echo hello > /work/out/hello.txt; echo '{}'")
    eids.append(admin.start(writes))
    for eid in eids:
        admin.wait(eid)
    eids.append(admin.start(long_flow()))
    admin.wait_node(eids[-1], "w", "waiting")
    ask_a_model(brief, admin, eids[0])
    spared = bystander.run(noop())["execution"]["id"]
    words = [admin.user_id, viewer.user_id, admin.slug, flow]
    before = traces(brief, admin.tenant, eids, words)
    assert {"schema or role", "collection node_results", "app_user", "tenant_key", "cfg"} <= set(before), before
    assert {"collection exchanges", "model_call", "model_spent", "budget", "budget_mark"} <= set(before), before
    assert {"reset_asked (text)", "password_failure (text)", "invitation (text)"} <= set(before), before
    assert any("/objects/" in trace for trace in before), before
    fill(brief, admin, 25_000)      # more than goes in one transaction
    checked(admin.delete("tenants/current", params={"confirm": admin.slug}), 202)
    brief.kill("scheduler-1")           # another one, or its successor, goes on where it was
    wait_until(lambda: brief.sql("SELECT 1 FROM control.tenant_purge WHERE tenant = %s AND finished_at IS NOT NULL",
                                 admin.tenant), "the end of the purge", 120)
    left = traces(brief, admin.tenant, eids, words)
    assert not left, left
    # a scheduler that died after a step and before it could say so: all of it once more
    brief.sql("""UPDATE control.tenant_purge SET step = 'events', at = NULL, passes = 0, finished_at = NULL, due = now()
                 WHERE tenant = %s""", admin.tenant)
    wait_until(lambda: brief.sql("SELECT 1 FROM control.tenant_purge WHERE tenant = %s AND finished_at IS NOT NULL",
                                 admin.tenant), "the end of the second purge", 60)
    problem(admin.get("auth/me"), 401)
    problem(operator(brief).get(f"operator/tenants/{admin.tenant}"), 404)
    problem(operator(brief).put(f"operator/tenants/{admin.tenant}", json={"state": "active"}), 404)
    again = brief.api().register(admin.slug)                            # the name is free, the number is not used again
    assert again.tenant != admin.tenant
    assert bystander.execution(spared)["nodes"]
    assert again.run(noop())["execution"]["status"] == "succeeded"
