"""Budgets of model calls, what the ledger tells of their use, prices, and the record of exchanges."""

import concurrent.futures
import json
import re
import uuid

import pymongo
import pytest

from kit.cli import Cli
from kit.client import checked, fault_paths, problem
from kit.flows import Flow, noop
from kit.operations import stranger_id
from kit.people import operator
from kit.stack import ROOT
from kit.waiting import wait_until

PRICES = json.loads((ROOT / "policies" / "prices" / "prices.json").read_text())


@pytest.fixture
def admin(stack):
    return stack.tenant()


@pytest.fixture
def flow(admin):
    return admin.create(noop())


@pytest.fixture
def plain_prices(stack):
    """No prices but the file's, also behind the test."""
    yield
    checked(operator(stack).put("operator/prices", json={"prices": []}), 200)


def demo(api):
    return checked(api.get("llm-providers"), 200).json()["llm_providers"][0]["id"]


def make(api, scope="tenant", unit="tokens", limit=1000, **more):
    return checked(api.post("budgets", json={"scope": scope, "unit": unit, "limit": limit, **more}), 201).json()["budget"]


def reserve(stack, tenant, **more):
    """A call of a model, as a supervisor reserves it."""
    call = {"id": str(uuid.uuid4()), "tenant": tenant, "caller": "test", "provider_type": "openai", "model": "gpt-4o-mini",
            "prompt_tokens": 100, "completion_tokens": 0, "ttl_s": 60, **more}
    names = ("verdict", "id", "scope", "unit", "quota", "used", "provider_id", "model", "budget", "wait")
    rows = stack.sql(f"SELECT {', '.join('a.' + name for name in names)} FROM control.budget_reserve(%s::json) a",
                     json.dumps(call))
    return dict(zip(names, rows[0]))


def settle(stack, tenant, call, prompt=100, completion=0, **more):
    usage = {"tenant": tenant, "id": str(call), "prompt": prompt, "cached": 0, "cache_write": 0, "completion": completion,
             "reasoning": 0, "estimated": False, "fault": "", "first_us": 10, "total_us": 20, **more}
    return float(stack.sql("SELECT control.budget_settle(%s::json)", json.dumps(usage))[0][0])


def spend(stack, tenant, prompt=100, completion=0, **more):
    answer = reserve(stack, tenant, prompt_tokens=prompt, completion_tokens=completion, **more)
    assert answer["verdict"] == "granted", answer
    return settle(stack, tenant, answer["id"], prompt, completion)


def usage(api, **params):
    return checked(api.get("usage/llm", params=params), 200).json()


# ---- the API of budgets --------------------------------------------------------------------------------

def test_a_budgets_life(stack, admin, flow):
    body = {"name": "a day's worth", "scope": "flow", "target_id": flow, "unit": "money", "limit": 2.5, "action": "cheaper",
            "cheaper": {"llm_provider_id": demo(admin), "model": "demo"}, "warn_percent": 80}
    answer = checked(admin.post("budgets", json=body), 201)
    made = answer.json()["budget"]
    assert {name: made[name] for name in body} == body
    assert made["used"] == 0 and made["currency"] == PRICES["currency"] and made["enabled"] and made["warned_at"] is None
    where = answer.headers["location"].removeprefix("/api/v1/")
    read = checked(admin.get(where), 200)
    assert read.json()["budget"] == made and read.headers["etag"] == '"1"'
    changed = checked(admin.put(where, json={"limit": 3, "action": "stop"}, headers={"If-Match": '"1"'}), 200).json()["budget"]
    assert (changed["limit"], changed["action"], changed["cheaper"], changed["rev"]) == (3, "stop", None, 2)
    assert changed["warn_percent"] == 80 and changed["name"] == body["name"]
    problem(admin.put(where, json={"limit": 4}, headers={"If-Match": '"1"'}), 412)
    problem(admin.post("budgets", json={"scope": "flow", "target_id": flow, "unit": "money", "limit": 1}), 409)
    listed = checked(admin.get("budgets", params={"scope": "flow"}), 200).json()
    assert [one["id"] for one in listed["budgets"]] == [made["id"]] and listed["total"] == 1
    assert checked(admin.get("budgets", params={"scope": "run"}), 200).json()["total"] == 0
    checked(admin.delete(where), 204)
    problem(admin.get(where), 404)
    problem(admin.delete(where), 404)
    actions = [row for row, in stack.sql("SELECT action FROM control.audit_outbox WHERE tenant = %s ORDER BY id", admin.tenant)]
    shipped = [entry["action"] for entry in checked(admin.get("audit-log", params={"limit": 100}), 200).json()["entries"]]
    assert {"budget.create", "budget.update", "budget.delete"} <= {*actions, *shipped}


@pytest.mark.parametrize("body, path", [
    ({"scope": "tenant", "target_id": stranger_id(), "unit": "tokens", "limit": 1}, "target_id"),
    ({"scope": "flow", "target_id": stranger_id(), "unit": "tokens", "limit": 1}, "target_id"),
    ({"scope": "agent", "target_id": stranger_id(), "unit": "tokens", "limit": 1}, "target_id"),
    ({"scope": "run", "target_id": stranger_id(), "unit": "tokens", "limit": 1}, "target_id"),
    ({"scope": "tenant", "unit": "tokens", "limit": 1.5}, "limit"),
    ({"scope": "tenant", "unit": "money", "limit": 1, "action": "cheaper"}, "cheaper"),
    ({"scope": "tenant", "unit": "money", "limit": 1, "action": "cheaper",
      "cheaper": {"llm_provider_id": stranger_id(), "model": "m"}}, "cheaper.llm_provider_id"),
    ({"scope": "tenant", "unit": "money", "limit": 1, "action": "ask",
      "cheaper": {"llm_provider_id": stranger_id(), "model": "m"}}, "cheaper"),
])
def test_what_makes_no_sense_is_refused(admin, body, path):
    assert fault_paths(admin.post("budgets", json=body)) == [path]
    assert checked(admin.get("budgets"), 200).json()["total"] == 0


@pytest.mark.parametrize("body", [
    {}, {"scope": "moon", "unit": "tokens", "limit": 1}, {"scope": "tenant", "unit": "tokens", "limit": -1},
    {"scope": "tenant", "unit": "tokens", "limit": 1e30}, {"scope": "tenant", "unit": "tokens", "limit": "1"},
    {"scope": "tenant", "unit": "tokens", "limit": 1, "warn_percent": 101},
    {"scope": "tenant", "unit": "tokens", "limit": 1, "other": 1},
])
def test_what_the_schema_forbids_is_refused(admin, body):
    assert admin.post("budgets", json=body).status_code in (400, 422)


def test_budgets_are_an_admins_to_make_and_everybodys_to_see(stack, admin):
    made = make(admin)
    for role in ("viewer", "executor", "editor"):
        api = stack.user(admin, role)
        problem(api.post("budgets", json={"scope": "tenant", "unit": "money", "limit": 1}), 403)
        problem(api.put(f"budgets/{made['id']}", json={"limit": 9}), 403)
        problem(api.delete(f"budgets/{made['id']}"), 403)
        assert checked(api.get("budgets"), 200).json()["budgets"][0]["id"] == made["id"]


# ---- what budgets do ------------------------------------------------------------------------------------

def test_a_budget_stops_warns_and_is_the_tenants_own(stack, admin):
    other = stack.tenant()
    made = make(admin, limit=1000, warn_percent=50)
    for _ in range(10):
        spend(stack, admin.tenant)
    refused = reserve(stack, admin.tenant)
    assert (refused["verdict"], refused["scope"], refused["unit"]) == ("refused", "tenant", "tokens")
    assert (refused["quota"], refused["used"], str(refused["budget"])) == (1000, 1000, made["id"])
    now = checked(admin.get(f"budgets/{made['id']}"), 200).json()["budget"]
    assert now["used"] == 1000 and now["warned_at"] and now["reached_at"]
    assert reserve(stack, other.tenant)["verdict"] == "granted"
    found = wait_until(lambda: [entry for entry in checked(admin.get("audit-log", params={"limit": 100}), 200).json()["entries"]
                                if entry["action"] in ("budget.warning", "budget.reached")][1:], "the audit log telling of it")
    assert len(found) == 1
    checked(admin.put(f"budgets/{made['id']}", json={"limit": 1100}), 200)
    assert reserve(stack, admin.tenant)["verdict"] == "granted"
    checked(admin.put(f"budgets/{made['id']}", json={"enabled": False}), 200)
    assert reserve(stack, admin.tenant)["verdict"] == "granted"


def test_a_run_is_held_to_its_budget_until_a_person_lets_it_go_on(stack, admin, flow):
    eid = checked(admin.execute(flow), 202).json()["execution_id"]
    admin.wait(eid)
    made = make(admin, scope="run", target_id=flow, limit=150, action="ask")
    call = {"eid": eid, "node": "a", "attempt": 1}
    spend(stack, admin.tenant, place="1", **call)
    asked = reserve(stack, admin.tenant, place="2", **call)
    assert asked["verdict"] == "ask" and asked["wait"].startswith("a!budget-")
    allow = {"tenant": admin.tenant, "eid": eid, "budget": made["id"], "wait": asked["wait"]}
    ask = lambda: stack.sql("SELECT control.budget_allow(%s::json)", json.dumps(allow))[0][0]  # noqa: E731
    assert ask() is None
    approval = str(uuid.uuid4())
    stack.sql("""INSERT INTO control.approval (id, tenant, eid, flow_id, node, message, roles, expires_at)
                 VALUES (%s, %s, %s, %s, %s, 'more?', '{admin}', now() + interval '1 h')""",
              approval, admin.tenant, eid, flow, asked["wait"])
    stack.sql("INSERT INTO control.wait (eid, node, tenant, due, approval) VALUES (%s, %s, %s, now() + interval '1 h', %s)",
              eid, asked["wait"], admin.tenant, approval)
    assert ask() is None
    checked(admin.post(f"approvals/{approval}/decide", json={"decision": "approve"}), 200)
    assert ask() == 1 and ask() == 1
    spend(stack, admin.tenant, place="2", **call)
    assert reserve(stack, admin.tenant, place="3", **call)["wait"] != asked["wait"]


def test_a_person_is_asked_for_a_node_deep_inside_of_others(stack, admin, flow):
    eid = checked(admin.execute(flow), 202).json()["execution_id"]
    admin.wait(eid)
    made = make(admin, scope="run", target_id=flow, limit=50, action="ask")
    node = "n" * 512  # as long as a path may be
    asked = reserve(stack, admin.tenant, eid=eid, node=node, attempt=1, place="1")
    # the supervisor knows its answer by the whole path, and waits under that name
    assert asked["wait"] == f"{node}!budget-{made['id'][-8:]}-1"
    stack.sql("INSERT INTO control.wait (eid, node, tenant, due) VALUES (%s, %s, %s, now())", eid, asked["wait"], admin.tenant)


def test_a_budget_is_exact_under_parallel_calls(stack, admin):
    make(admin, unit="money", limit=0.0015)                # a call costs 0.000015
    api = [(number, admin.tenant) for number in range(150)]
    with concurrent.futures.ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(lambda one: reserve(stack, one[1]), api))
        granted = [answer["id"] for answer in answers if answer["verdict"] == "granted"]
        assert len(granted) == 100
        list(pool.map(lambda one: settle(stack, admin.tenant, one), granted))
    assert usage(admin)["totals"]["cost"] == pytest.approx(0.0015, abs=1e-12)
    assert stack.sql("SELECT count(*) FROM control.model_drift(%s)", admin.tenant)[0][0] == 0
    assert reserve(stack, admin.tenant)["verdict"] == "refused"


# ---- use --------------------------------------------------------------------------------------------------

def test_use_is_told_by_what_it_was_of(stack, admin, flow):
    agent = checked(admin.post("agents", json={"name": "Ada"}), 201).json()["agent"]["id"]
    provider = demo(admin)
    eid = checked(admin.execute(flow), 202).json()["execution_id"]
    admin.wait(eid)
    spend(stack, admin.tenant, 1000, 100, eid=eid, node="a", attempt=1, place="1", agent_id=agent, provider_id=provider)
    spend(stack, admin.tenant, 1000, 0, caller="gateway", model="gpt-4o")
    open_one = reserve(stack, admin.tenant, eid=eid, node="a", attempt=1, place="2")
    days = usage(admin)
    assert days["group_by"] == "day" and days["total"] == 1 and days["currency"] == PRICES["currency"]
    assert days["usage"][0]["key"] == days["usage"][0]["name"]
    assert days["totals"] == {"calls": 2, "failed": 0, "prompt_tokens": 2000, "cached_tokens": 0, "cache_write_tokens": 0,
                              "completion_tokens": 100, "reasoning_tokens": 0, "cost": pytest.approx(0.00271)}
    names = {by: {row["name"]: row["calls"] for row in usage(admin, group_by=by)["usage"]}
             for by in ("flow", "agent", "provider", "model", "caller")}
    assert names == {"flow": {"a flow": 1, None: 1}, "agent": {"Ada": 1, None: 1}, "provider": {"Demo": 1, None: 1},
                     "model": {"gpt-4o-mini": 1, "gpt-4o": 1}, "caller": {"test": 1, "gateway": 1}}
    assert [row["name"] for row in usage(admin, group_by="model")["usage"]] == ["gpt-4o", "gpt-4o-mini"]  # the dearest first
    page = usage(admin, group_by="model", limit=1, page=2)
    assert [row["name"] for row in page["usage"]] == ["gpt-4o-mini"] and page["page_info"]["pages"] == 2
    assert usage(admin, flow_id=flow)["totals"]["calls"] == usage(admin, execution_id=eid)["totals"]["calls"] == 1
    assert usage(admin, **{"from": "2020-01-01", "to": "2020-01-02"})["usage"] == []
    for wrong in ({"from": "2026-02-30"}, {"from": "yesterday"}, {"group_by": "moon"}):
        problem(admin.get("usage/llm", params=wrong), 400)
    problem(admin.get("usage/llm", params={"from": "2026-01-02", "to": "2026-01-01"}), 422)
    problem(admin.get("usage/llm", params={"execution_id": stranger_id()}), 404)
    shown = checked(admin.get(f"executions/{eid}"), 200).json()["execution"]["usage"]
    assert shown == {"prompt_tokens": 1000, "completion_tokens": 100, "cost": pytest.approx(0.00021), "model_calls": 1}
    listed = checked(admin.get("executions"), 200).json()["executions"][0]
    assert listed["id"] == eid and listed["usage"] == shown
    settle(stack, admin.tenant, open_one["id"], fault="model_timeout")
    assert usage(admin)["totals"]["failed"] == 1


def test_flows_that_are_private_keep_their_names(stack, admin, flow):
    eid = checked(admin.execute(flow), 202).json()["execution_id"]
    admin.wait(eid)
    spend(stack, admin.tenant, eid=eid, node="a", attempt=1, place="1")
    viewer = stack.user(admin, "viewer")
    assert [row["name"] for row in usage(viewer, group_by="flow")["usage"]] == ["a flow"]
    checked(admin.put(f"flows/{flow}/sharing", json={"visibility": "private"}), 200)
    second = admin.create(Flow().output(1))
    checked(admin.put(f"flows/{second}/sharing", json={"visibility": "private"}), 200)
    spend(stack, admin.tenant, eid=admin.wait(admin.start(second))["execution"]["id"], node="a", attempt=1, place="1")
    spend(stack, admin.tenant)
    rows = usage(viewer, group_by="flow")
    assert {(row["key"], row["name"], row["calls"]) for row in rows["usage"]} == {("other", "private flows of others", 2), (None, None, 1)}
    assert rows["totals"] == usage(admin, group_by="flow")["totals"] and rows["totals"]["calls"] == 3 and rows["total"] == 2
    assert {row["key"] for row in usage(admin, group_by="flow")["usage"]} == {flow, second, None}
    assert usage(viewer, flow_id=flow)["totals"]["calls"] == 0 and usage(admin, flow_id=flow)["totals"]["calls"] == 1
    problem(viewer.get("usage/llm", params={"execution_id": eid}), 404)


def test_the_ledger_is_kept_as_long_as_the_plan_says(stack, admin):
    spend(stack, admin.tenant)
    stack.sql("UPDATE control.model_call SET day = day - 40 WHERE tenant = %s", admin.tenant)
    spend(stack, admin.tenant)
    assert stack.sql("SELECT control.model_calls_drop('{\"limit\": 1000}')")[0][0]["dropped"] >= 1
    assert stack.sql("SELECT count(*) FROM control.model_call WHERE tenant = %s", admin.tenant)[0][0] == 1


# ---- prices -------------------------------------------------------------------------------------------------

def test_prices_are_the_files_until_an_operator_says_otherwise(stack, admin, plain_prices):
    boss = operator(stack)
    listed = checked(boss.get("operator/prices"), 200).json()
    assert listed["currency"] == PRICES["currency"] and len(listed["prices"]) == len(PRICES["prices"])
    assert spend(stack, admin.tenant, 1_000_000 // 10) == pytest.approx(0.015)
    own = {"provider_type": "openai", "model": "gpt-4o-mini", "prompt": 100, "completion": 0}
    problem(boss.put("operator/prices", json={"prices": [own, own]}), 422)
    answer = checked(boss.put("operator/prices", json={"prices": [own]}), 200).json()
    assert {"origin": "operator", **own, "cached": 100, "cache_write": 100} in answer["prices"]
    assert spend(stack, admin.tenant, 1000) == pytest.approx(0.1)
    checked(boss.put("operator/prices", json={"prices": []}), 200)
    assert spend(stack, admin.tenant, 1_000_000 // 10) == pytest.approx(0.015)
    problem(admin.get("operator/prices"), 403)


def test_the_table_of_prices_is_checked(tmp_path):
    import sys
    sys.path.insert(0, str(ROOT / "tools" / "stack"))
    from place import StackError
    from prices import read_prices
    schema = (ROOT / "policies" / "prices" / "prices.schema.json").read_text()
    (tmp_path / "prices.schema.json").write_text(schema)
    good = {"provider_type": "openai", "model": "m", "prompt": 1.5, "completion": 2}
    for prices, words in (([{**good, "prompt": -1}], r"prices\[0\].prompt"), ([{**good, "prompt": "1"}], "of type number"),
                          ([good, good], "twice"), ([{**good, "other": 1}], "not known"), ([{"model": "m"}], "has no")):
        (tmp_path / "prices.json").write_text(json.dumps({"currency": "USD", "prices": prices}))
        with pytest.raises(StackError) as caught:
            read_prices(tmp_path)
        assert re.search(words, str(caught.value)), caught.value


# ---- providers of a new tenant ---------------------------------------------------------------------------------

def test_a_new_tenant_can_ask_a_model_at_once(stack, admin):
    found = checked(admin.get("llm-providers"), 200).json()["llm_providers"]
    assert [(one["name"], one["provider_type"], one["is_active"], one["has_credentials"]) for one in found] == [
        ("Demo", "demo", True, False)]
    versions = checked(admin.get(f"llm-providers/{found[0]['id']}/versions"), 200).json()["versions"]
    assert [one["note"] for one in versions] == ["made with the tenant"]
    checked(admin.put(f"llm-providers/{found[0]['id']}", json={"name": "Ours"}), 200)
    checked(admin.delete(f"llm-providers/{found[0]['id']}"), 204)
    chain = stack.sql("SELECT control.providers_for_run(%s, NULL)", admin.tenant)[0][0]
    assert [one["provider_type"] for one in chain] == ["demo"]                    # even without any


# ---- exchanges --------------------------------------------------------------------------------------------------

def record(stack, tenant, eid, node, count, answer=None):
    """Exchanges of a node, as a supervisor keeps them (lib/store/mongo_exchanges.h)."""
    answer = answer or {"text": "hello", "model": "m", "usage": {"prompt": 3, "completion": 4}, "cost": 0.5}
    summary = {**{name: answer[name] for name in ("model", "usage", "cost")}, "text": answer["text"][:2000]}
    with pymongo.MongoClient(stack.urls["mongodb"], serverSelectionTimeoutMS=5000) as client:
        client.get_default_database("windlass")["exchanges"].insert_many([{
            "_id": f"{eid}/{node}/turn/{number:03}", "t": tenant, "e": eid, "n": node, "k": 0, "l": f"turn/{number:03}",
            "h": "ab", "q": '{"messages": []}', "b": 1700000000000 + number, "f": 1700000000500 + number,
            "z": len(json.dumps(answer)), "s": json.dumps(summary), "a": json.dumps(answer)} for number in range(count)])


def test_exchanges_are_read_in_pages_and_whole(stack, admin, flow):
    eid = checked(admin.execute(flow), 202).json()["execution_id"]
    admin.wait(eid)
    record(stack, admin.tenant, eid, "crew", 7)
    record(stack, admin.tenant, eid, "ask", 1, {"text": "x" * 3000, "model": "m", "usage": {}, "cost": 0})
    seen, params = [], {"limit": 3}
    while True:
        page = checked(admin.get(f"executions/{eid}/exchanges", params=params), 200).json()
        seen += page["exchanges"]
        if page["page_info"]["next_cursor"] is None:
            break
        params["cursor"] = page["page_info"]["next_cursor"]
    assert [(one["node_id"], one["place"]) for one in seen] == [("ask", "turn/000")] + [("crew", f"turn/{n:03}") for n in range(7)]
    assert len(seen[0]["answer"]["text"]) == 2000 and seen[0]["answer_bytes"] > 3000
    assert seen[1] == {"node_id": "crew", "place": "turn/000", "kind": "model", "start_time": "2023-11-14T22:13:20.000Z",
                       "end_time": "2023-11-14T22:13:20.500Z", "request": '{"messages": []}', "answer_bytes": seen[1]["answer_bytes"],
                       "answer": {"text": "hello", "model": "m", "usage": {"prompt": 3, "completion": 4}, "cost": 0.5}}
    assert len(checked(admin.get(f"executions/{eid}/exchanges", params={"node": "crew"}), 200).json()["exchanges"]) == 7
    whole = checked(admin.get(f"executions/{eid}/exchanges", params={"node": "ask", "place": "turn/000"}), 200).json()["exchanges"]
    assert len(whole) == 1 and len(whole[0]["answer"]["text"]) == 3000 and whole[0]["request_hash"] == "ab"
    problem(admin.get(f"executions/{eid}/exchanges", params={"node": "ask", "place": "none"}), 404)
    problem(admin.get(f"executions/{eid}/exchanges", params={"place": "turn/000"}), 422)
    problem(admin.get(f"executions/{stranger_id()}/exchanges"), 404)
    problem(stack.tenant().get(f"executions/{eid}/exchanges"), 404)
    checked(admin.put(f"flows/{flow}/sharing", json={"visibility": "private"}), 200)
    problem(stack.user(admin, "viewer").get(f"executions/{eid}/exchanges"), 404)


def test_a_call_of_a_run_is_told_everywhere_alike(stack, admin):
    eid = admin.start(Flow().add("ask", "llm", prompt="What is a ledger?").output(1))
    answer = admin.wait(eid)["execution"]
    assert answer["status"] == "succeeded", answer
    one, = checked(admin.get(f"executions/{eid}/exchanges"), 200).json()["exchanges"]
    assert (one["node_id"], one["kind"]) == ("ask", "model") and "What is a ledger?" in one["request"]
    assert "demo" in one["answer"]["text"] and one["answer"]["cost"] == 0 and one["start_time"] <= one["end_time"]
    figures = usage(admin, execution_id=eid, group_by="provider")
    assert [(row["name"], row["calls"], row["failed"]) for row in figures["usage"]] == [("Demo", 1, 0)]
    assert answer["usage"] == {"prompt_tokens": figures["totals"]["prompt_tokens"], "cost": 0, "model_calls": 1,
                               "completion_tokens": figures["totals"]["completion_tokens"]}
    assert answer["usage"]["prompt_tokens"] > 0
    used = {row["name"]: row["used"] for row in checked(admin.get("quotas"), 200).json()["quotas"]}
    assert used["max_llm_tokens_per_day"] == answer["usage"]["prompt_tokens"] + answer["usage"]["completion_tokens"]


def test_budgets_from_the_command_line(stack, admin, flow, tmp_path):
    cli = Cli(tmp_path / "home", stack.urls["web"], WINDLASS_TOKEN=admin.access)
    made = cli.json("budgets", "add", "flow", "money", "2.50", "--of", flow, "--warn", "80", "--name", "daily")["budget"]
    assert (made["limit"], made["action"], made["target_id"], made["warn_percent"]) == (2.5, "stop", flow, 80)
    (cli.folder / "more.yaml").write_text("limit: 3\n")
    assert cli.json("budgets", "update", "daily", "more.yaml")["budget"]["limit"] == 3
    assert "daily" in cli("budgets", "list", "--scope", "flow").stdout
    spend(stack, admin.tenant)
    assert "gpt-4o-mini" in cli("budgets", "usage", "--by", "model").stdout
    cli("budgets", "delete", "daily")
    assert cli.json("budgets", "list")["budgets"] == []
