"""Running an execution again: from its start, from what failed, from one node; and the options of a run."""

import uuid

import pytest

from kit.client import checked, fault_paths, problem
from kit.flows import Flow, ex, noop

WAITS = "import time\ntime.sleep(120)"
RANDOM = "import json, os\nprint(json.dumps(os.urandom(8).hex()))"    # tells a new run from a result taken over


def retry(api, eid, status=202, key=None, **body):
    headers = {"Idempotency-Key": key} if key else {}
    return checked(api.post(f"executions/{eid}/retry", json=body, headers=headers), status).json()


def ended(api, eid):
    answer = api.wait(eid)
    answer["node"] = {node["node_id"]: node for node in answer["nodes"]}
    return answer


def options(stack, admin, eid):
    return stack.sql(f"SELECT options, source, source_id::text FROM t_{admin.tenant}.executions WHERE id = %s", eid)[0]


def failing():
    """first succeeds, second fails."""
    return Flow().code("first", RANDOM).code("second", "raise SystemExit('no')", input=ex(".nodes.first")).output(
        ex(".nodes.second"))


@pytest.fixture(scope="module")
def tenant(stack):
    return stack.tenant()


@pytest.fixture(scope="module")
def failed(tenant):
    eid = tenant.start(failing(), {"x": 1}, labels={"a": "b"}, timeout_s=77)
    assert tenant.wait(eid)["execution"]["status"] == "failed"
    return eid


def test_from_start_runs_everything_anew(stack, tenant, failed):
    answer = retry(tenant, failed)
    new, old = ended(tenant, answer["execution_id"]), ended(tenant, failed)
    assert answer["status"] == "queued" and new["execution"]["status"] == "failed"
    for member in ("flow_id", "version", "inputs", "labels"):
        assert new["execution"][member] == old["execution"][member]
    assert (new["execution"]["source"], new["execution"]["source_id"]) == ("retry", failed)
    assert new["node"]["first"]["outputs"] != old["node"]["first"]["outputs"]
    assert options(stack, tenant, new["execution"]["id"]) == (None, "retry", failed)
    seconds = stack.sql(f"SELECT extract(epoch FROM deadline - created_at)::int FROM t_{tenant.tenant}.executions"
                        " WHERE id = %s", new["execution"]["id"])[0][0]
    assert seconds == 77


def test_from_failed_takes_over_what_succeeded(stack, tenant, failed):
    new, old = ended(tenant, retry(tenant, failed, **{"from": "failed"})["execution_id"]), ended(tenant, failed)
    assert options(stack, tenant, new["execution"]["id"])[0] == {
        "reuse": {"execution_id": failed, "rerun": ["second"]}}
    assert new["node"]["first"]["outputs"] == old["node"]["first"]["outputs"]
    assert new["node"]["second"]["status"] == "failed"
    assert new["node"]["second"]["inputs"] == old["node"]["second"]["inputs"]


def test_from_a_node_runs_it_and_what_follows(stack, tenant):
    old = ended(tenant, tenant.start(Flow().code("a", RANDOM).code("b", RANDOM).code("c", RANDOM).output(
        {"a": ex(".nodes.a"), "b": ex(".nodes.b"), "c": ex(".nodes.c")})))
    answer = retry(tenant, old["execution"]["id"], **{"from": "node", "node_id": "b"})
    new = ended(tenant, answer["execution_id"])
    assert options(stack, tenant, new["execution"]["id"])[0]["reuse"]["rerun"] == ["b"]
    was, now = old["execution"]["outputs"], new["execution"]["outputs"]
    assert now["a"] == was["a"] and now["b"] != was["b"] and now["c"] != was["c"]
    problem(tenant.post(f"executions/{old['execution']['id']}/retry", json={"from": "failed"}), 409)


def test_the_document_of_then_is_run(tenant):
    flow = tenant.create(Flow().output("old"))
    checked(tenant.post(f"flows/{flow}/publish", json={}), 201)
    eid = tenant.start(flow)
    tenant.wait(eid)
    checked(tenant.put(f"flows/{flow}", json=Flow().output("new").document()), 200)
    checked(tenant.post(f"flows/{flow}/publish", json={}), 201)
    new = ended(tenant, retry(tenant, eid)["execution_id"])["execution"]
    assert new["outputs"] == "old" and new["version"] == 1


def test_one_key_makes_one_run(tenant, failed):
    key = str(uuid.uuid4())
    first = retry(tenant, failed, key=key)["execution_id"]
    assert retry(tenant, failed, key=key, **{"from": "start"})["execution_id"] == first
    problem(tenant.post(f"executions/{failed}/retry", json={"from": "failed"}, headers={"Idempotency-Key": key}), 422)
    other = tenant.start(noop())
    tenant.wait(other)
    problem(tenant.post(f"executions/{other}/retry", headers={"Idempotency-Key": key}), 422)
    assert retry(tenant, failed)["execution_id"] != first


def test_what_cannot_be_run_again(tenant, failed):
    running = tenant.start(Flow().code("wait", WAITS).output(1))
    for body in ({}, {"from": "failed"}, {"from": "node", "node_id": "wait"}):
        problem(tenant.post(f"executions/{running}/retry", json=body), 409)
    checked(tenant.cancel(running), 202)
    tenant.wait(running)
    problem(tenant.post(f"executions/{uuid.uuid4()}/retry"), 404)
    problem(tenant.post(f"executions/{uuid.uuid4()}/retry", json={"from": "failed"}), 404)
    send = lambda **body: tenant.post(f"executions/{failed}/retry", json=body)  # noqa: E731
    assert fault_paths(send(**{"from": "node", "node_id": "nobody"})) == ["node_id"]
    assert fault_paths(send(**{"from": "node"})) == ["node_id"]
    assert fault_paths(send(node_id="first")) == ["node_id"]
    problem(send(**{"from": "end"}), 400)
    gone = tenant.create(noop())
    eid = tenant.start(gone)
    tenant.wait(eid)
    checked(tenant.put(f"flows/{gone}", json={"status": "archived"}), 200)
    problem(tenant.post(f"executions/{eid}/retry"), 409)
    checked(tenant.delete(f"flows/{gone}"), 204)
    problem(tenant.post(f"executions/{eid}/retry"), 409)


def test_a_drafts_document_takes_an_editor(stack, tenant, failed):
    executor = stack.user(tenant, "executor")
    problem(executor.post(f"executions/{failed}/retry"), 403)
    problem(executor.post(f"executions/{failed}/retry", json={"from": "failed"}), 403)
    flow = tenant.create(noop())
    checked(tenant.post(f"flows/{flow}/publish", json={}), 201)
    eid = tenant.start(flow)
    tenant.wait(eid)
    new = ended(executor, retry(executor, eid)["execution_id"])["execution"]
    assert new["created_by"] == executor.user_id and new["status"] == "succeeded"
    problem(stack.user(tenant, "viewer").post(f"executions/{eid}/retry"), 403)
    problem(stack.tenant().post(f"executions/{eid}/retry"), 404)


def test_a_retry_takes_from_the_quota(stack):
    admin = stack.tenant()
    eid = admin.start(noop())
    admin.wait(eid)
    stack.quota(admin.tenant, max_executions_per_day=1)
    answer = admin.post(f"executions/{eid}/retry")
    problem(answer, 429)
    assert int(answer.headers["Retry-After"]) > 0


# ---- the options of a run ------------------------------------------------------------------------------------------

def pinned():
    return Flow().code("a", RANDOM, pinned="pin").output(ex(".nodes.a"))


@pytest.mark.parametrize("config, kept", [
    ({}, None), ({"version": "draft"}, {"pinned": True}), ({"version": "draft", "pinned": False}, None),
    ({"pinned": True}, {"pinned": True}), ({"pinned": False}, None), ({"version": 1}, None),
    ({"only_node": "a"}, {"only": "a"}), ({"only_node": "a", "pinned": True}, {"pinned": True, "only": "a"}),
], ids=str)
def test_what_is_asked_is_kept(stack, tenant, config, kept):
    flow = tenant.create(pinned())
    checked(tenant.post(f"flows/{flow}/publish", json={}), 201)
    eid = checked(tenant.execute(flow, **config), 202).json()["execution_id"]
    assert options(stack, tenant, eid) == (kept, "api", None)
    new = ended(tenant, eid)
    assert (new["node"]["a"]["outputs"] == "pin") == (kept == {"pinned": True})     # the one that is asked for runs


def test_results_are_taken_over(stack, tenant):
    flow = tenant.create(Flow().code("a", RANDOM).code("b", RANDOM).output({"a": ex(".nodes.a"), "b": ex(".nodes.b")}))
    old = ended(tenant, tenant.start(flow))["execution"]
    for rerun, given in ((["b"], {"rerun": ["b"]}), ([], {})):
        eid = tenant.start(flow, reuse={"execution_id": old["id"], **given})
        assert options(stack, tenant, eid)[0] == {"reuse": {"execution_id": old["id"], "rerun": rerun}}
        new = ended(tenant, eid)["execution"]
        assert new["outputs"]["a"] == old["outputs"]["a"]
        assert (new["outputs"]["b"] == old["outputs"]["b"]) == (not rerun)


def test_options_that_name_what_is_not_there(stack, tenant, failed):
    flow = tenant.create(noop())
    run = lambda **config: tenant.execute(flow, **config)  # noqa: E731
    mine = tenant.start(flow)
    assert fault_paths(run(only_node="nobody")) == ["config.only_node"]
    problem(run(reuse={"execution_id": str(uuid.uuid4())}), 404)
    assert fault_paths(run(reuse={"execution_id": failed})) == ["config.reuse.execution_id"]
    tenant.wait(mine)
    assert fault_paths(run(reuse={"execution_id": mine, "rerun": ["start", "x", "out", "y"]})) == [
        "config.reuse.rerun[1]", "config.reuse.rerun[3]"]
    slow = tenant.create(Flow().code("wait", WAITS).output(1))
    eid = tenant.start(slow)
    problem(tenant.execute(slow, reuse={"execution_id": eid}), 409)
    checked(tenant.cancel(eid), 202)
    stranger = stack.tenant()
    theirs = stranger.start(noop())
    stranger.wait(theirs)
    problem(run(reuse={"execution_id": theirs}), 404)
    problem(run(version=7, only_node="start"), 404)
    problem(tenant.execute(str(uuid.uuid4()), only_node="start"), 404)
    for config in ({"pinned": 1}, {"only_node": ""}, {"reuse": {}}, {"reuse": {"execution_id": "x"}}):
        problem(run(**config), 400)


def test_one_node_alone_takes_an_editor(stack, tenant):
    executor = stack.user(tenant, "executor", "another")
    flow = tenant.create(noop())
    checked(tenant.post(f"flows/{flow}/publish", json={}), 201)
    problem(executor.execute(flow, only_node="start"), 403)
    checked(executor.execute(flow, pinned=True), 202)
    eid = checked(tenant.execute(flow, only_node="start"), 202).json()["execution_id"]
    tenant.wait(eid)
    problem(executor.post(f"executions/{eid}/retry"), 403)
    retry(tenant, eid)
