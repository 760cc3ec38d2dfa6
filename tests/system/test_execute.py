"""Accepting executions: versions, inputs, idempotency keys, quotas; what 202 and 429 promise."""

import concurrent.futures
import uuid

import pytest

from kit.client import checked, fault_paths, problem
from kit.flows import Flow, ex, noop


def parallel(count, call):
    with concurrent.futures.ThreadPoolExecutor(50) as pool:
        return list(pool.map(call, range(count)))


def test_accept_answers_at_once_and_the_run_ends(admin):
    flow_id = admin.create(noop())
    answer = checked(admin.execute(flow_id, {"a": [1, {"b": None}]}), 202)
    body = answer.json()
    assert body["status"] == "queued"
    assert answer.headers["Location"] == f"/api/v1/executions/{body['execution_id']}"
    assert uuid.UUID(body["execution_id"]).version == 7
    done = admin.wait(body["execution_id"])["execution"]
    assert done["status"] == "succeeded" and done["outputs"] == {"a": [1, {"b": None}]}
    assert done["inputs"] == {"a": [1, {"b": None}]} and done["error"] is None and done["version"] is None
    assert done["created_at"] <= done["start_time"] <= done["end_time"] <= done["deadline"]


def test_the_newest_version_runs_unless_another_is_named(admin):
    flow_id = admin.create(Flow().output("one"))
    checked(admin.post(f"flows/{flow_id}/publish"), 201)
    checked(admin.put(f"flows/{flow_id}", json=Flow().output("two").document()), 200)
    checked(admin.post(f"flows/{flow_id}/publish"), 201)
    checked(admin.put(f"flows/{flow_id}", json=Flow().output("three").document()), 200)
    for config, version, outputs in (({}, 2, "two"), ({"version": 1}, 1, "one"), ({"version": "draft"}, None, "three")):
        done = admin.wait(admin.start(flow_id, **config))["execution"]
        assert (done["version"], done["outputs"]) == (version, outputs)
    problem(admin.execute(flow_id, version=3), 404)


def test_an_execution_keeps_the_document_it_was_accepted_with(admin):
    flow_id = admin.create(Flow().code("slow", "import time; time.sleep(1); print(1)").output("old"))
    eid = admin.start(flow_id)
    checked(admin.put(f"flows/{flow_id}", json=Flow().output("new").document()), 200)
    assert admin.wait(eid)["execution"]["outputs"] == "old"


def test_inputs_are_checked_against_the_flows_schema(stack, admin):
    schema = {"type": "object", "required": ["n"], "properties": {"n": {"type": "integer"}}, "additionalProperties": False}
    flow_id = admin.create(Flow().output(ex(".inputs.n + 1")).schema(input_schema=schema))
    assert admin.wait(admin.start(flow_id, {"n": 41}))["execution"]["outputs"] == 42
    paths = fault_paths(admin.execute(flow_id, {"n": "x"}))
    assert any(path.startswith("inputs") for path in paths), paths
    problem(admin.execute(flow_id, {}), 422)
    problem(admin.execute(flow_id, {"n": 1, "m": 2}), 422)
    assert stack.sql(f"SELECT count(*) FROM t_{admin.tenant}.executions")[0][0] == 1


@pytest.mark.parametrize("body", [{"inputs": [1]}, {"inputs": {}, "extra": 1}, {"config": {"version": 0}},
                                  {"config": {"version": "newest"}}, {"config": {"timeout_s": 0}},
                                  {"config": {"timeout_s": 1e9}}, {"config": {"labels": {"a": 1}}}, {"config": {"x": 1}}])
def test_a_malformed_request_is_400_and_stores_nothing(stack, admin, body):
    flow_id = admin.create(noop())
    problem(admin.post(f"flows/{flow_id}/execute", json=body), 400)
    assert stack.sql(f"SELECT count(*) FROM t_{admin.tenant}.executions")[0][0] == 0


def test_unknown_and_malformed_ids(admin):
    problem(admin.execute(uuid.uuid4()), 404)
    problem(admin.get(f"executions/{uuid.uuid4()}"), 404)
    problem(admin.cancel(uuid.uuid4()), 404)
    for path in ("executions/x", "flows/123", "executions/%00", "flows/..%2f..%2fetc"):
        assert admin.get(path).status_code in (400, 404), path


def test_a_run_without_a_body(admin):
    flow_id = admin.create(noop())
    eid = checked(admin.post(f"flows/{flow_id}/execute"), 202).json()["execution_id"]
    assert admin.wait(eid)["execution"]["outputs"] == {}


def test_large_inputs_travel(admin):
    text = "line of text\n" * 20000
    done = admin.run(Flow().output(ex(".inputs.text | length")), {"text": text})
    assert done["execution"]["outputs"] == len(text)


def test_labels_are_kept(admin):
    eid = admin.start(noop(), labels={"team": "blue", "build": "7"})
    assert admin.wait(eid)["execution"]["labels"] == {"team": "blue", "build": "7"}


def test_lists_newest_first_with_cursor_and_filters(admin):
    flow_id, other = admin.create(noop()), admin.create(Flow().transform("bad", ex("error(\"no\")")).output(1))
    ids = [admin.start(flow_id, {"n": number}) for number in range(5)]
    failed = admin.start(other)
    for eid in [*ids, failed]:
        admin.wait(eid)
    seen, cursor = [], None
    while True:
        page = checked(admin.get("executions", params={"limit": 2, **({"cursor": cursor} if cursor else {})}), 200).json()
        seen += [execution["id"] for execution in page["executions"]]
        cursor = page["page_info"]["next_cursor"]
        if not cursor:
            break
    assert seen == [failed, *reversed(ids)]
    assert [one["id"] for one in admin.get("executions", params={"status": "failed"}).json()["executions"]] == [failed]
    assert len(admin.get("executions", params={"flow_id": flow_id}).json()["executions"]) == 5
    problem(admin.get("executions", params={"cursor": "forged"}), 400)


# ---- idempotency keys --------------------------------------------------------------------------
def test_a_key_gives_the_same_execution_again(stack, admin):
    flow_id = admin.create(noop())
    first = checked(admin.execute(flow_id, {"a": 1}, key="k-1"), 202)
    assert "Idempotency-Replayed" not in first.headers
    second = checked(admin.execute(flow_id, {"a": 1}, key="k-1"), 202)
    assert second.headers["Idempotency-Replayed"] == "true"
    assert second.json() == first.json() and second.headers["Location"] == first.headers["Location"]
    problem(admin.execute(flow_id, {"a": 2}, key="k-1"), 422)
    assert stack.sql(f"SELECT count(*) FROM t_{admin.tenant}.executions")[0][0] == 1
    assert stack.sql("SELECT executions FROM control.tenant_day WHERE tenant = %s", admin.tenant) == [(1,)]


def test_a_key_belongs_to_its_tenant(stack, admin):
    other = stack.tenant()
    ids = {checked(api.execute(api.create(noop()), key="shared"), 202).json()["execution_id"] for api in (admin, other)}
    assert len(ids) == 2


def test_fifty_parallel_requests_with_one_key_are_one_execution(stack, admin):
    flow_id = admin.create(noop())
    answers = parallel(50, lambda _: admin.execute(flow_id, {"x": 1}, key="once"))
    accepted = [answer for answer in answers if answer.status_code == 202]
    assert all(answer.status_code in (202, 409) for answer in answers), {answer.status_code for answer in answers}
    assert accepted and len({answer.json()["execution_id"] for answer in accepted}) == 1
    assert sum("Idempotency-Replayed" not in answer.headers for answer in accepted) == 1
    assert stack.sql(f"SELECT count(*) FROM t_{admin.tenant}.executions")[0][0] == 1
    assert stack.sql("SELECT executions FROM control.tenant_day WHERE tenant = %s", admin.tenant) == [(1,)]


def test_a_key_of_bad_length_is_400(admin):
    problem(admin.execute(admin.create(noop()), key="k" * 256), 400)


# ---- quotas --------------------------------------------------------------------------------------
def test_the_daily_quota_is_exact_under_a_hundred_parallel_accepts(stack):
    admin = stack.tenant(roomy=False)
    stack.quota(admin.tenant, max_executions_per_day=37)
    flow_id = admin.create(noop())
    answers = parallel(100, lambda number: admin.execute(flow_id, {"n": number}))
    accepted = [answer for answer in answers if answer.status_code == 202]
    refused = [answer for answer in answers if answer.status_code == 429]
    assert (len(accepted), len(refused)) == (37, 63), {answer.status_code for answer in answers}
    rows = stack.sql(f"SELECT id::text FROM t_{admin.tenant}.executions")
    assert {row[0] for row in rows} == {answer.json()["execution_id"] for answer in accepted}
    assert stack.sql("SELECT executions FROM control.tenant_day WHERE tenant = %s", admin.tenant) == [(37,)]
    assert all(admin.wait(row[0])["execution"]["status"] == "succeeded" for row in rows)


def test_a_refused_accept_says_when_to_come_back_and_stores_nothing(stack):
    admin = stack.tenant(roomy=False)
    stack.quota(admin.tenant, max_executions_per_day=1)
    flow_id = admin.create(noop())
    first = checked(admin.execute(flow_id), 202)
    assert (first.headers["RateLimit-Limit"], first.headers["RateLimit-Remaining"]) == ("1", "0")
    refused = admin.execute(flow_id, key="later")
    problem(refused, 429)
    assert 0 < int(refused.headers["Retry-After"]) <= 86400
    assert (refused.headers["RateLimit-Limit"], refused.headers["RateLimit-Remaining"]) == ("1", "0")
    assert 0 < int(refused.headers["RateLimit-Reset"]) <= 86400
    assert stack.sql("SELECT count(*) FROM control.idem WHERE tenant = %s", admin.tenant)[0][0] == 0
    stack.quota(admin.tenant, max_executions_per_day=2)
    checked(admin.execute(flow_id, key="later"), 202)


def test_a_new_tenant_has_the_default_quotas(stack):
    admin = stack.tenant(roomy=False)
    assert stack.sql("SELECT max_flows, max_executions_per_day, max_storage_gb FROM control.quota WHERE tenant = %s",
                     admin.tenant) == [(100, 1000, 10)]


def test_more_runs_than_the_cap_wait_and_all_end(stack):
    from kit.invariants import CapWatch
    admin = stack.tenant()
    stack.quota(admin.tenant, max_concurrent=3)
    flow_id = admin.create(Flow().code("nap", "import time; time.sleep(0.2); print(1)").output(1))
    with CapWatch(stack, every=0.02) as watch:
        ids = [admin.start(flow_id) for _ in range(15)]
        assert all(admin.wait(eid)["execution"]["status"] == "succeeded" for eid in ids)
    watch.check()


def test_inputs_that_no_node_could_take_are_413_and_the_largest_others_run(stack, admin):
    flow = Flow().output(ex(".inputs.text | length"))
    problem(admin.execute(admin.create(flow), {"text": "x" * (4 << 20)}), 413)
    assert stack.sql(f"SELECT count(*) FROM t_{admin.tenant}.executions")[0][0] == 0
    largest = (4 << 20) - len('{"text":""}')
    assert admin.run(flow, {"text": "x" * largest})["execution"]["outputs"] == largest
