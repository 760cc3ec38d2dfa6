"""Who may do what, and that a tenant cannot see, touch or run anything of another."""

import pytest

from kit.client import checked, problem
from kit.flows import noop

ROLES = ["viewer", "executor", "editor", "admin"]


@pytest.fixture(scope="module")
def people(stack):
    admin = stack.tenant()
    flow_id = admin.create(noop())
    checked(admin.post(f"flows/{flow_id}/publish", json={}), 201)
    return {"flow": flow_id, "admin": admin,
            **{role: stack.user(admin, role) for role in ROLES if role != "admin"}}


def calls(flow_id):
    """(least role, method, path, body)"""
    document = noop().document()
    return [
        ("viewer", "GET", "flows", None),
        ("viewer", "GET", f"flows/{flow_id}", None),
        ("viewer", "GET", f"flows/{flow_id}/versions", None),
        ("viewer", "GET", f"flows/{flow_id}/versions/1", None),
        ("viewer", "GET", "executions", None),
        ("executor", "POST", f"flows/{flow_id}/execute", {"inputs": {}}),
        ("editor", "POST", "flows", {"name": "mine", **document}),
        ("editor", "PUT", f"flows/{flow_id}", {"description": "changed"}),
        ("editor", "POST", f"flows/{flow_id}/publish", {}),
    ]


@pytest.mark.parametrize("role", ROLES)
def test_each_role_may_do_its_own_and_no_more(people, role):
    for least, method, path, body in calls(people["flow"]):
        answer = people[role].request(method, path, **({} if body is None else {"json": body}))
        if ROLES.index(role) >= ROLES.index(least):
            assert answer.status_code < 300, (role, method, path, answer.text)
        else:
            problem(answer, 403)


@pytest.mark.parametrize("role", ["viewer", "executor"])
def test_cancel_and_delete_take_their_roles(people, role):
    problem(people[role].delete(f"flows/{people['flow']}"), 403)
    eid = people["admin"].start(people["flow"])
    people["admin"].wait(eid)
    problem(people[role].cancel(eid), 403 if role == "viewer" else 409)


def test_only_editors_run_a_draft(people):
    admin = people["admin"]
    draft = admin.create(noop())
    assert people["executor"].execute(draft).status_code in (403, 409)
    assert people["executor"].execute(people["flow"], version="draft").status_code in (403, 409)
    checked(people["editor"].execute(draft), 202)
    checked(people["editor"].execute(people["flow"], version="draft"), 202)


def test_another_tenants_things_do_not_exist(stack, people):
    admin, stranger = people["admin"], stack.tenant()
    eid = admin.start(people["flow"])
    admin.wait(eid)
    flow = f"flows/{people['flow']}"
    for method, path, body in [
            ("GET", flow, None), ("PUT", flow, {"name": "stolen"}), ("DELETE", flow, None),
            ("POST", f"{flow}/publish", {}), ("GET", f"{flow}/versions", None), ("GET", f"{flow}/versions/1", None),
            ("POST", f"{flow}/execute", {"inputs": {}}), ("GET", f"executions/{eid}", None),
            ("GET", f"executions/{eid}/stream", None), ("POST", f"executions/{eid}/cancel", None)]:
        problem(stranger.request(method, path, **({} if body is None else {"json": body})), 404)
    assert stranger.get("flows").json()["total"] == 0
    assert stranger.get("executions").json()["executions"] == []
    assert checked(admin.get(flow), 200).json()["flow"]["name"] != "stolen"


def test_the_programs_login_cannot_read_a_tenants_tables(stack, people):
    """Even a statement that slipped into a request has no right on tenant tables before SET ROLE."""
    import psycopg
    tenant = people["admin"].tenant
    with psycopg.connect(stack.urls["postgres"], autocommit=True) as connection:
        for statement in (f"SELECT * FROM t_{tenant}.flows", "SELECT * FROM control.app_user",
                          "SELECT * FROM control.dispatch", "SELECT * FROM control.refresh_token"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(statement)
        other = stack.tenant().tenant
        connection.execute(f"SET ROLE t_{tenant}")
        connection.execute(f"SELECT * FROM t_{tenant}.flows")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute(f"SELECT * FROM t_{other}.flows")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute(f"UPDATE t_{tenant}.executions SET status = 'succeeded'")
