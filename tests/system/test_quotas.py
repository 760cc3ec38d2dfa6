"""Plans and quotas: what holds, who may change it, that it is exact, and that a count finds the same."""

import concurrent.futures
import datetime
import importlib
import json
import threading
import uuid

import psycopg
import pytest

from kit.client import checked, fault_paths, problem
from kit.flows import Flow, noop
from kit.people import operator
from kit.stack import ROOT
from kit.waiting import wait_until

NAMES = ["max_flows", "max_executions_per_day", "max_concurrent", "max_queued", "max_storage_gb", "max_llm_tokens_per_day"]
PLANS = json.loads((ROOT / "quotas" / "plans.json").read_text())
FREE = next(plan for plan in PLANS["plans"] if plan["name"] == PLANS["default"])


@pytest.fixture
def admin(stack):
    return stack.tenant(roomy=False)


def quotas(api):
    body = checked(api.get("quotas"), 200).json()
    return {row["name"]: row for row in body["quotas"]}


def lower(api, **limits):
    return api.put("quotas", json={"quotas": limits})


def at_once(count, function):
    """The results of `count` calls that begin at the same time."""
    start = threading.Barrier(count)

    def one(number):
        start.wait()
        return function(number)
    with concurrent.futures.ThreadPoolExecutor(count) as pool:
        return list(pool.map(one, range(count)))


def recount(stack, tenant):
    return stack.sql("SELECT control.counters_recount(json_build_object('after', %s - 1))", tenant)[0][0]["drift"]


def set_by_operator(stack, number, **limits):
    stack.sql("SELECT control.quota_set(%s, %s::json)", number, json.dumps(limits))


# ---- plans -------------------------------------------------------------------------------------------
def test_a_new_tenant_has_the_default_plan(admin):
    body = checked(admin.get("quotas"), 200).json()
    assert body["plan"] == PLANS["default"]
    assert [row["name"] for row in body["quotas"]] == NAMES
    for row in body["quotas"]:
        assert row["limit"] == row["plan_limit"] == FREE["limits"][row["name"]]
        assert row["used"] == 0
        assert bool(row["resets_at"]) == row["name"].endswith("_per_day")
    reset = datetime.datetime.fromisoformat(quotas(admin)["max_executions_per_day"]["resets_at"].replace("Z", "+00:00"))
    assert 0 < (reset - datetime.datetime.now(datetime.timezone.utc)).total_seconds() <= 86400


def test_plans_are_those_of_the_file(stack, admin):
    viewer = stack.user(admin, "viewer")
    assert checked(viewer.get("plans"), 200).json()["plans"] == PLANS["plans"]


def test_another_plan_holds_at_once_and_in_the_queue(stack, admin):
    stack.sql("SELECT control.tenant_plan_set(%s, 'team')", admin.tenant)
    team = next(plan for plan in PLANS["plans"] if plan["name"] == "team")
    assert checked(admin.get("quotas"), 200).json()["plan"] == "team"
    assert {name: row["limit"] for name, row in quotas(admin).items()} == team["limits"]
    assert stack.sql("SELECT weight, retention_days FROM control.quota WHERE tenant = %s", admin.tenant) == [
        (team["weight"], team["retention_days"])]
    stack.await_shares(admin.tenant)        # weights and caps are copied without a restart
    with pytest.raises(psycopg.Error, match="no such plan"):
        stack.sql("SELECT control.tenant_plan_set(%s, 'golden')", admin.tenant)


def test_overrides_stand_before_the_plan_and_go_back(stack, admin):
    set_by_operator(stack, admin.tenant, max_flows=7, weight=9, retention_days=3)
    assert quotas(admin)["max_flows"]["plan_limit"] == quotas(admin)["max_flows"]["limit"] == 7
    set_by_operator(stack, admin.tenant, plan="team")
    assert quotas(admin)["max_flows"]["limit"] == 7
    assert quotas(admin)["max_queued"]["limit"] == 50000
    set_by_operator(stack, admin.tenant, max_flows=None, weight=None)
    assert quotas(admin)["max_flows"]["limit"] == 1000
    assert stack.sql("SELECT weight, retention_days FROM control.quota WHERE tenant = %s", admin.tenant) == [(2, 3)]


@pytest.mark.parametrize("limits", [
    {"max_flows": -1}, {"max_flows": 1.5}, {"max_flows": "many"}, {"max_flows": 1000000001}, {"weight": 0}, {"weight": 101},
    {"retention_days": 0}, {"retention_days": 3651}, {"tenant": 1}, {"plan": "golden"}, {"overrides": {}}])
def test_overrides_that_are_none(stack, admin, limits):
    before = stack.sql("SELECT * FROM control.quota WHERE tenant = %s", admin.tenant)
    with pytest.raises(psycopg.Error) as caught:
        set_by_operator(stack, admin.tenant, **limits)
    assert caught.value.sqlstate == "WL422"
    assert stack.sql("SELECT * FROM control.quota WHERE tenant = %s", admin.tenant) == before


def put_plans(stack, plans):
    return stack.sql("SELECT control.plans_put(%s::json)", json.dumps(plans))[0][0]


def test_plans_are_put_again_without_effect_and_changed_ones_hold(stack, admin):
    assert put_plans(stack, PLANS) == 0
    more = {**FREE, "name": "trial", "title": "Trial", "limits": {**FREE["limits"], "max_flows": 3}}
    try:
        assert put_plans(stack, {**PLANS, "plans": [*PLANS["plans"], more]}) == 1
        stack.sql("SELECT control.tenant_plan_set(%s, 'trial')", admin.tenant)
        assert quotas(admin)["max_flows"]["limit"] == 3
        more["limits"]["max_flows"] = 4
        assert put_plans(stack, {**PLANS, "plans": [*PLANS["plans"], more]}) == 1
        assert quotas(admin)["max_flows"]["limit"] == 4
        with pytest.raises(psycopg.Error, match="cannot be removed: 1 tenants have it"):
            put_plans(stack, PLANS)
    finally:
        stack.sql("SELECT control.tenant_plan_set(%s, %s)", admin.tenant, FREE["name"])
        put_plans(stack, PLANS)
    assert [plan["name"] for plan in checked(admin.get("plans"), 200).json()["plans"]] == [p["name"] for p in PLANS["plans"]]


@pytest.mark.parametrize(("change", "part"), [
    (lambda p: p.pop("default"), "has no default"),
    (lambda p: p.update(default="golden"), "golden is not among the plans"),
    (lambda p: p["plans"].append(p["plans"][0]), "twice"),
    (lambda p: p["plans"].clear(), "number of plans"),
    (lambda p: p["plans"][0].pop("weight"), "plans[0] has no weight"),
    (lambda p: p["plans"][0].update(weight=0), "plans[0].weight must be from 1 to 100"),
    (lambda p: p["plans"][0].update(weight=True), "plans[0].weight must be of type integer"),
    (lambda p: p["plans"][0].update(name="A B"), "plans[0].name does not match"),
    (lambda p: p["plans"][0].update(surprise=1), "surprise, which is not known"),
    (lambda p: p["plans"][0]["limits"].pop("max_flows"), "plans[0].limits has no max_flows"),
    (lambda p: p["plans"][0]["limits"].update(max_flows=-1), "plans[0].limits.max_flows must be from 0"),
    (lambda p: p["plans"][0]["limits"].update(max_flows="1"), "of type integer"),
    (lambda p: p["plans"][0].update(retention_days=4000), "retention_days must be from 1 to 3650"),
])
def test_a_damaged_file_of_plans_is_refused(tmp_path, monkeypatch, change, part):
    plans = json.loads(json.dumps(PLANS))
    change(plans)
    (tmp_path / "plans.json").write_text(json.dumps(plans))
    (tmp_path / "plans.schema.json").write_text((ROOT / "quotas" / "plans.schema.json").read_text())
    monkeypatch.syspath_prepend(str(ROOT / "tools" / "stack"))
    module = importlib.import_module("plans")
    with pytest.raises(module.StackError) as caught:
        module.read_plans(tmp_path)
    assert part in str(caught.value)


# ---- operators -------------------------------------------------------------------------------------------
def test_an_operator_sets_plan_and_limits(stack, admin):
    boss = operator(stack)
    assert checked(boss.get("operator/plans"), 200).json()["plans"] == PLANS["plans"]
    path = f"operator/tenants/{admin.tenant}"
    tenant = checked(boss.put(path, json={"plan": "team", "quotas": {"max_concurrent": 7}}), 200).json()["tenant"]
    assert tenant["plan"] == "team"
    assert {row["name"]: row["limit"] for row in tenant["quotas"]}["max_concurrent"] == 7
    assert quotas(admin)["max_concurrent"]["plan_limit"] == 7 and quotas(admin)["max_flows"]["limit"] == 1000
    stack.await_shares(admin.tenant)
    assert checked(boss.get(path), 200).json()["tenant"]["plan"] == "team"
    problem(boss.put(path, json={"plan": "golden"}), 422)
    problem(boss.put("operator/tenants/31999", json={"plan": "team"}), 404)
    assert admin.put(path, json={"plan": "unlimited"}).status_code in (401, 403)
    assert checked(admin.get("quotas"), 200).json()["plan"] == "team"


# ---- a tenant's own limits ------------------------------------------------------------------------------
def test_an_admin_lowers_limits_and_takes_that_back(admin):
    body = checked(lower(admin, max_flows=2, max_concurrent=5), 200).json()
    assert {row["name"]: (row["limit"], row["plan_limit"]) for row in body["quotas"]}["max_flows"] == (2, 100)
    for _ in range(2):
        admin.create(noop())
    refused = problem(admin.post("flows", json={"name": "x", **noop().document()}), 429)
    assert "number of flows (quota flows: limit 2, used 2)" in refused["detail"]
    assert quotas(admin)["max_flows"]["used"] == 2
    checked(lower(admin, max_flows=None), 200)
    admin.create(noop())
    assert quotas(admin)["max_flows"]["limit"] == 100 and quotas(admin)["max_concurrent"]["limit"] == 5


def test_an_admin_cannot_raise_them(stack, admin):
    answer = lower(admin, max_flows=101, max_queued=10, max_storage_gb=11)
    assert sorted(fault_paths(answer)) == ["quotas.max_flows", "quotas.max_storage_gb"]
    assert quotas(admin)["max_queued"]["limit"] == 10000, "nothing is half done"
    set_by_operator(stack, admin.tenant, max_flows=200)
    checked(lower(admin, max_flows=150), 200)
    set_by_operator(stack, admin.tenant, max_flows=50)
    assert quotas(admin)["max_flows"]["limit"] == 50, "the lower of both holds"
    set_by_operator(stack, admin.tenant, max_flows=None)
    assert quotas(admin)["max_flows"]["limit"] == 100


@pytest.mark.parametrize("body", [
    {}, {"quotas": {}}, {"quotas": {"max_flows": -1}}, {"quotas": {"max_flows": 0.5}}, {"quotas": {"weight": 5}},
    {"quotas": {"retention_days": 1}}, {"quotas": {"max_flows": "1"}}, {"quotas": {"nothing": 1}}, {"plan": "team"}])
def test_bodies_that_do_not_fit_the_document(admin, body):
    assert admin.put("quotas", json=body).status_code == 400
    assert quotas(admin)["max_flows"]["limit"] == 100


def test_only_admins_lower_and_each_tenant_its_own(stack, admin):
    other = stack.tenant(roomy=False)
    for role in ("editor", "executor", "viewer"):
        problem(lower(stack.user(admin, role), max_flows=1), 403)
    checked(lower(admin, max_flows=1), 200)
    assert quotas(other)["max_flows"]["limit"] == 100
    with stack.postgres() as connection:
        connection.execute("BEGIN")
        connection.execute(f"SET LOCAL ROLE t_{other.tenant}")
        with pytest.raises(psycopg.Error, match="permission denied"):
            connection.execute("UPDATE control.quota SET max_flows = 5")


def test_it_stands_in_the_audit_log(stack, admin):
    checked(lower(admin, max_flows=9), 200)
    rows = stack.sql("SELECT metadata FROM control.audit_outbox WHERE tenant = %s AND action = 'quota.update'", admin.tenant)
    shipped = checked(admin.get("audit-log", params={"action": "quota.update"}), 200).json()
    assert rows or shipped


# ---- exact under load --------------------------------------------------------------------------------------
def test_a_hundred_flows_at_once(stack, admin):
    checked(lower(admin, max_flows=30), 200)
    document = noop().document()
    answers = at_once(100, lambda n: admin.post("flows", json={"name": f"n{n}", **document}))
    codes = [answer.status_code for answer in answers]
    assert (codes.count(201), codes.count(429)) == (30, 70)
    assert quotas(admin)["max_flows"]["used"] == 30


def test_a_hundred_executions_at_once(stack, admin):
    checked(lower(admin, max_executions_per_day=40), 200)
    flow = admin.create(noop())
    answers = at_once(100, lambda n: admin.execute(flow, {"n": n}))
    codes = [answer.status_code for answer in answers]
    assert (codes.count(202), codes.count(429)) == (40, 60)
    refused = next(answer for answer in answers if answer.status_code == 429)
    assert refused.headers["RateLimit-Limit"] == "40" and refused.headers["RateLimit-Remaining"] == "0"
    assert 0 < int(refused.headers["Retry-After"]) <= 86400
    assert "(quota executions_per_day: limit 40, used 40)" in problem(refused, 429)["detail"]
    assert quotas(admin)["max_executions_per_day"]["used"] == 40
    assert recount(stack, admin.tenant) == []
    usage = checked(admin.get("usage", params={"days": 3}), 200).json()["days"]
    assert [day["executions"] for day in usage] == [40, 0, 0]
    assert [day["day"] for day in usage] == sorted((day["day"] for day in usage), reverse=True)


def test_running_and_waiting_are_seen(stack, admin):
    checked(lower(admin, max_concurrent=1), 200)
    stack.await_shares(admin.tenant)
    flow = admin.create(Flow().code("sleep", "import time; time.sleep(30)").output(1))
    eids = [admin.start(flow) for _ in range(3)]
    wait_until(lambda: (quotas(admin)["max_concurrent"]["used"], quotas(admin)["max_queued"]["used"]) == (1, 2),
               "one runs, two wait", 30)
    for eid in eids:
        admin.cancel(eid)


# ---- tokens of language models ------------------------------------------------------------------------------
def reserve(stack, tenant, tokens, ttl=600, key=None):
    return stack.sql("SELECT granted, quota, used FROM control.tokens_reserve(%s, %s, %s, %s)", tenant,
                     key or uuid.uuid4(), tokens, ttl)[0]


def settle(stack, tenant, key, used):
    return stack.sql("SELECT control.tokens_settle(%s, %s, %s)", tenant, key, used)[0][0]


def test_a_hundred_reservations_at_once(stack, admin):
    checked(lower(admin, max_llm_tokens_per_day=1000), 200)
    keys = [uuid.uuid4() for _ in range(60)]
    got = at_once(60, lambda n: reserve(stack, admin.tenant, 30, key=keys[n]))
    assert [row[0] for row in got].count(True) == 33
    assert quotas(admin)["max_llm_tokens_per_day"]["used"] == 990
    assert next(row for row in got if not row[0]) == (False, 1000, 990)
    held = [key for key, row in zip(keys, got) if row[0]]
    assert reserve(stack, admin.tenant, 30, key=held[0])[0], "the same reservation once more"
    settled = at_once(66, lambda n: settle(stack, admin.tenant, held[n % 33], 10))
    assert settled.count(True) == 33, "each settles once"
    assert quotas(admin)["max_llm_tokens_per_day"]["used"] == 330
    assert checked(admin.get("usage", params={"days": 1}), 200).json()["days"][0]["llm_tokens"] == 330
    assert recount(stack, admin.tenant) == []


def test_a_reservation_that_nobody_settles_counts_in_full(stack, admin):
    key = uuid.uuid4()
    reserve(stack, admin.tenant, 500, key=key)
    stack.sql("UPDATE control.token_reservation SET expires_at = now() - interval '1 s' WHERE id = %s", key)
    assert recount(stack, admin.tenant) == []
    assert stack.sql("SELECT tokens_reserved, tokens_used FROM control.tenant_day WHERE tenant = %s", admin.tenant) == [(0, 500)]
    assert not settle(stack, admin.tenant, key, 3)
    assert not settle(stack, admin.tenant + 1, uuid.uuid4(), 3)


# ---- counting again ------------------------------------------------------------------------------------------
def test_a_counter_that_is_wrong_is_repaired_and_told(stack, admin):
    flow = admin.create(noop())
    for _ in range(3):
        admin.wait(admin.start(flow))
    reserve(stack, admin.tenant, 70)
    stack.sql("UPDATE control.tenant_day SET executions = 99, tokens_reserved = 5 WHERE tenant = %s", admin.tenant)
    stack.sql("INSERT INTO control.usage_storage (tenant, bytes) VALUES (%s, 1073741824)", admin.tenant)
    assert quotas(admin)["max_storage_gb"]["used"] == 1
    stack.restart("scheduler-1")            # counts when it starts, and each five minutes
    wait_until(lambda: quotas(admin)["max_storage_gb"]["used"] == 0, "the repaired counters", 30)
    assert quotas(admin)["max_executions_per_day"]["used"] == 3
    assert quotas(admin)["max_llm_tokens_per_day"]["used"] == 70
    for counter in ("executions", "tokens_reserved", "storage"):
        assert f"counter {counter} of tenant {admin.tenant} was" in stack.log("scheduler-1")


def test_a_tenant_that_cannot_be_counted_holds_up_no_other(stack, admin):
    other = stack.tenant(roomy=False)       # comes after the damaged one
    other.wait(other.start(noop()))
    admin.wait(admin.start(noop()))
    stack.sql(f"ALTER TABLE t_{admin.tenant}.executions DROP COLUMN created_at")
    stack.sql("UPDATE control.tenant_day SET executions = 50 WHERE tenant = %s", other.tenant)
    stack.restart("scheduler-1")
    wait_until(lambda: quotas(other)["max_executions_per_day"]["used"] == 1, "the repaired counter", 30)
    assert f"what tenant {admin.tenant} uses cannot be counted" in stack.log("scheduler-1")
    stack.sql(f"ALTER TABLE t_{admin.tenant}.executions ADD COLUMN created_at timestamptz NOT NULL DEFAULT clock_timestamp()")
