"""Private flows: who sees them, who runs them, who changes them; for everybody else they are not there."""

import uuid

import pytest

from kit.client import checked, fault_paths, problem
from kit.flows import Flow, noop
from kit.waiting import wait_until

WAITS = "import time\ntime.sleep(60)"


class Office:
    """A tenant's people, and a private flow of `owner` that was run once."""

    def __init__(self, stack):
        self.admin = stack.tenant()
        self.owner, self.editor, self.executor, self.viewer = (
            stack.user(self.admin, role, name) for name, role in (
                ("owner", "editor"), ("editor", "editor"), ("executor", "executor"), ("viewer", "viewer")))
        self.flow = self.owner.create(noop().schema(input_schema={"type": "object", "required": ["secret_name"]}), name="hidden")
        checked(self.owner.post(f"flows/{self.flow}/publish", json={}), 201)
        self.eid = self.start(self.owner)
        self.owner.wait(self.eid)
        self.share(visibility="private")

    def share(self, who=None, **body):
        shares = [{"user_id": api.user_id, "access": access} for api, access in (who or {}).items()]
        return checked(self.owner.put(f"flows/{self.flow}/sharing", json={"shares": shares, **body}), 200).json()["sharing"]

    def start(self, api):
        return checked(api.execute(self.flow, {"secret_name": 1}), 202).json()["execution_id"]


@pytest.fixture(scope="module")
def office(stack):
    return Office(stack)


@pytest.fixture(autouse=True)
def not_shared(office):
    """Each test begins with a flow that is its owner's alone."""
    office.share()


def operations(flow, eid):
    """Everything that names a flow or one of its executions: (what it takes, method, path, body)."""
    document = noop().document()
    return [
        ("view", "GET", f"flows/{flow}", None),
        ("view", "GET", f"flows/{flow}/versions", None),
        ("view", "GET", f"flows/{flow}/versions/1", None),
        ("view", "GET", f"flows/{flow}/diff", None),
        ("view", "GET", f"flows/{flow}/export", None),
        ("view", "GET", f"flows/{flow}/sharing", None),
        ("view", "GET", f"executions/{eid}", None),
        ("view", "GET", f"executions/{eid}/stream", None),
        ("run", "POST", f"executions/{eid}/cancel", None),
        ("run", "POST", f"executions/{eid}/retry", {}),
        ("run", "PUT", f"executions/{eid}/labels", {"labels": {}}),
        ("run", "POST", f"flows/{flow}/execute", {"inputs": {"secret_name": 1}}),
        ("edit", "POST", f"flows/{flow}/execute", {"inputs": {"secret_name": 1}, "config": {"version": "draft"}}),
        ("edit", "POST", f"flows/{flow}/execute", {"inputs": {"secret_name": 1}, "config": {"only_node": "start"}}),
        ("edit", "PUT", f"flows/{flow}", {"description": "changed"}),
        ("edit", "PUT", f"flows/{flow}", {"nodes": document["nodes"], "edges": document["edges"]}),
        ("edit", "POST", f"flows/{flow}/publish", {}),
        ("edit", "POST", f"flows/{flow}/versions/1/restore", None),
        ("own", "PUT", f"flows/{flow}/sharing", {"visibility": "private"}),
    ]


LEVELS = ["none", "view", "run", "edit", "own"]
ROLE_MOST = {"editor": "own", "executor": "run", "viewer": "view"}


def status_of(api, method, path, body):
    with api.http.stream(method, f"/api/v1/{path}", json=body, headers={"Authorization": f"Bearer {api.access}"}) as answer:
        return answer.status_code


@pytest.mark.parametrize("role", ["editor", "executor", "viewer"])
@pytest.mark.parametrize("shared", ["none", "view", "run", "edit"])
def test_each_operation_takes_its_access(office, role, shared):
    api = getattr(office, role)
    office.share({api: shared} if shared != "none" else {})
    access = min(shared, ROLE_MOST[role], key=LEVELS.index)
    for needs, method, path, body in operations(office.flow, office.eid):
        allowed = LEVELS.index(access) >= LEVELS.index(needs)
        status = status_of(api, method, path, body)
        told = f"{role} with {shared}: {method} {path} {body} is {status}"
        if allowed:
            assert status in (200, 201, 202, 409, 422), told    # what the thing's state says; 422: no pinned output, say
        elif access != "none" or LEVELS.index(ROLE_MOST[role]) < LEVELS.index(needs):
            assert status == 403 or (access == "none" and status == 404), told
        else:
            assert status == 404, told


def test_admins_and_the_owner_may_everything(office):
    for api in (office.admin, office.owner):
        for needs, method, path, body in operations(office.flow, office.eid):
            assert status_of(api, method, path, body) in (200, 201, 202, 409, 422), (method, path)


def listed(api, **query):
    body = checked(api.get("flows", params={"limit": 100, **query}), 200).json()
    assert body["total"] == len(body["flows"])
    return {flow["id"] for flow in body["flows"]}


def runs(api, **query):
    return {run["id"] for run in checked(api.get("executions", params={"limit": 100, **query}), 200).json()["executions"]}


def test_lists_hold_what_one_may_see_and_totals_are_right(office):
    assert office.flow in listed(office.owner) & listed(office.admin)
    assert office.flow not in listed(office.editor) | listed(office.viewer)
    assert office.flow not in listed(office.viewer, search="hidden") | listed(office.viewer, created_by=office.owner.user_id)
    for query in ({}, {"flow_id": office.flow}, {"status": "succeeded"}, {"created_by": office.owner.user_id}):
        assert office.eid in runs(office.owner, **query) & runs(office.admin, **query)
        assert office.eid not in runs(office.viewer, **query)
    office.share({office.viewer: "view"})
    assert office.flow in listed(office.viewer) and office.eid in runs(office.viewer)
    office.share(visibility="tenant")
    assert office.flow in listed(office.editor) and office.eid in runs(office.editor)
    office.share(visibility="private")


def test_faults_of_inputs_tell_strangers_nothing(office):
    bad = {"inputs": {"other": 1}}
    assert fault_paths(office.owner.post(f"flows/{office.flow}/execute", json=bad))
    answer = office.executor.post(f"flows/{office.flow}/execute", json=bad)
    assert "secret_name" not in answer.text
    problem(answer, 404)
    office.share({office.executor: "view"})
    answer = office.executor.post(f"flows/{office.flow}/execute", json=bad)
    assert "secret_name" not in answer.text
    problem(answer, 403)


def test_a_deleted_private_flow_stays_hidden(office):
    flow = office.owner.create(noop(), name="to be deleted")
    eid = checked(office.owner.execute(flow, version="draft"), 202).json()["execution_id"]
    office.owner.wait(eid)
    checked(office.owner.put(f"flows/{flow}/sharing", json={"visibility": "private"}), 200)
    problem(office.editor.delete(f"flows/{flow}"), 404)
    checked(office.owner.delete(f"flows/{flow}"), 204)
    problem(office.editor.post(f"flows/{flow}/restore"), 404)
    problem(office.editor.get(f"executions/{eid}"), 404)
    checked(office.owner.get(f"executions/{eid}"), 200)
    deleted = lambda api: {f["id"] for f in api.get("flows", params={"deleted": "true"}).json()["flows"]}  # noqa: E731
    assert flow in deleted(office.owner) and flow not in deleted(office.editor)


def test_bulk_cancel_passes_over_what_is_not_ours(office):
    flow = office.owner.create(Flow().code("wait", WAITS).output(1))
    eid = checked(office.owner.execute(flow, version="draft"), 202).json()["execution_id"]
    checked(office.owner.put(f"flows/{flow}/sharing", json={
        "visibility": "private", "shares": [{"user_id": office.executor.user_id, "access": "view"}]}), 200)
    for body in ({"ids": [eid]}, {"filter": {"flow_id": flow}}):
        for api in (office.executor, office.editor):
            answer = checked(api.post("executions/cancel", json=body), 202).json()
            assert answer == {"cancelled": 0, "cancelling": 0, "more": False}
    answer = checked(office.owner.post("executions/cancel", json={"filter": {"flow_id": flow}}), 202).json()
    assert answer["cancelled"] + answer["cancelling"] == 1
    assert office.owner.wait(eid)["execution"]["status"] == "cancelled"


def test_the_copy_of_a_private_flow_is_private(office):
    office.share({office.editor: "view"})
    copy = checked(office.editor.post(f"flows/{office.flow}/duplicate", json={}), 201).json()["flow"]
    assert copy["name"] == "Copy of hidden" and copy["created_by"] == office.editor.user_id
    problem(office.viewer.get(f"flows/{copy['id']}"), 404)
    problem(office.owner.get(f"flows/{copy['id']}"), 404)
    problem(office.executor.post(f"flows/{office.flow}/duplicate", json={}), 403)


def test_sharing_says_who_may_what(office):
    sharing = office.share({office.viewer: "view", office.executor: "run"})
    assert sharing["owner"] == office.owner.user_id and sharing["visibility"] == "private"
    assert sharing["your_access"] == "own" and len(sharing["shares"]) == 2
    seen = checked(office.executor.get(f"flows/{office.flow}/sharing"), 200).json()["sharing"]
    assert seen["your_access"] == "run" and seen["shares"] == sharing["shares"]


def test_bad_shares_are_refused_and_nothing_is_stored(office):
    other = office.admin.user_id
    before = checked(office.owner.get(f"flows/{office.flow}/sharing"), 200).json()
    put = lambda shares, **more: office.owner.put(f"flows/{office.flow}/sharing", json={"shares": shares, **more})  # noqa: E731
    assert fault_paths(put([{"user_id": other, "access": "view"}, {"user_id": str(uuid.uuid4()), "access": "view"}],
                           visibility="tenant")) == ["shares[1].user_id"]
    assert fault_paths(put([{"user_id": other, "access": "view"}] * 2)) == ["shares[1].user_id"]
    problem(put([{"user_id": other, "access": "own"}]), 400)
    problem(put([{"user_id": "nobody", "access": "view"}]), 400)
    problem(office.owner.put(f"flows/{office.flow}/sharing", json={}), 400)
    assert checked(office.owner.get(f"flows/{office.flow}/sharing"), 200).json() == before


def test_people_of_another_tenant_cannot_be_shared_with(stack, office):
    stranger = stack.tenant()
    answer = office.owner.put(f"flows/{office.flow}/sharing",
                              json={"shares": [{"user_id": stranger.user_id, "access": "edit"}]})
    assert fault_paths(answer) == ["shares[0].user_id"]
    for _, method, path, body in operations(office.flow, office.eid):
        assert status_of(stranger, method, path, body) == 404, (method, path)


def test_a_private_flow_does_not_run_inside_another_one(office):
    outer = office.editor.create(Flow().add("sub", "subflow", flow_id=office.flow, input={"secret_name": 1}).output(1))
    assert fault_paths(office.editor.post(f"flows/{outer}/publish", json={})) == ["nodes[1].data.flow_id"]
    assert office.editor.run(outer)["execution"]["status"] == "failed"
    office.share({office.editor: "run"})
    checked(office.editor.post(f"flows/{outer}/publish", json={}), 201)
    assert office.editor.run(outer)["execution"]["status"] == "succeeded"


def test_many_wrong_shares_are_told_as_far_as_there_is_room(office):
    answer = office.owner.put(f"flows/{office.flow}/sharing", json={
        "shares": [{"user_id": str(uuid.uuid4()), "access": "view"} for _ in range(500)]})
    paths = fault_paths(answer)
    assert paths == [f"shares[{n}].user_id" for n in range(len(paths))] and len(paths) > 10


def test_what_a_private_run_made_and_asks_is_as_private(office):
    out = "import pathlib\npathlib.Path('/work/out/report.txt').write_text('kept')\nprint('{}')"
    flow = office.owner.create(Flow().code("make", out).add("ask", "approval", message="now?", roles=["editor"]).output(1, after=("ask", "approved")))
    checked(office.owner.put(f"flows/{flow}/sharing", json={
        "visibility": "private", "shares": [{"user_id": office.executor.user_id, "access": "run"}]}), 200)
    eid = office.owner.start(flow)
    of = lambda api, kind, **query: checked(api.get(kind, params={"execution_id": eid, **query}), 200).json()[kind]  # noqa: E731
    approval = wait_until(lambda: of(office.owner, "approvals"), "the approval")[0]["id"]
    artifact = wait_until(lambda: of(office.owner, "artifacts"), "the artifact")[0]["id"]
    for api in (office.editor, office.viewer):
        assert of(api, "approvals") == of(api, "artifacts") == []
        assert approval not in {a["id"] for a in api.get("approvals", params={"limit": 1}).json()["approvals"]}
        for path in (f"approvals/{approval}", f"artifacts/{artifact}", f"artifacts/{artifact}/content"):
            problem(api.get(path), 404)
    problem(office.editor.post(f"approvals/{approval}/decide", json={"decision": "approve"}), 404)
    problem(office.editor.delete(f"artifacts/{artifact}"), 404)
    for api in (office.executor, office.admin):
        assert [a["id"] for a in of(api, "approvals")] == [approval] and len(of(api, "artifacts")) == 1
        checked(api.get(f"artifacts/{artifact}"), 200)
    checked(office.owner.post(f"approvals/{approval}/decide", json={"decision": "approve"}), 200)
    assert office.owner.wait(eid)["execution"]["status"] == "succeeded"


def test_what_is_hidden_does_not_slow_a_list_down(stack, office):
    """Approvals of somebody's private flow: a page of others is not behind them."""
    flow = office.owner.create(noop())
    checked(office.owner.put(f"flows/{flow}/sharing", json={"visibility": "private", "shares": []}), 200)
    eid = office.owner.start(flow)
    stack.sql("""INSERT INTO control.approval (id, tenant, eid, flow_id, node, message, roles, status, expires_at, created_at)
                 SELECT gen_random_uuid(), %s, %s, %s, 'n', 'm', '{editor}', 'approved', now(), now() + n * interval '1 ms'
                 FROM generate_series(1, 100000) n""", office.owner.tenant, eid, flow)
    try:
        seen = checked(office.editor.get("approvals"), 200).json()["approvals"]
        assert eid not in {approval["execution_id"] for approval in seen}
        assert len(checked(office.owner.get("approvals"), 200).json()["approvals"]) == 20
    finally:
        stack.sql("DELETE FROM control.approval WHERE eid = %s", eid)
