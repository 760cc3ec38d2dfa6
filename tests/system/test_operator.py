"""Operators of the platform: made by a command, kept apart from tenants in both directions."""

import re

import pytest

from kit.client import PASSWORD, checked, problem
from kit.people import OPERATOR_PASSWORD, audited, make_operator, member, operator, with_key
from kit.waiting import wait_until

SOON = 10
TENANT_PATHS = ["flows", "executions", "users", "tenants/current", "auth/me", "auth/sessions", "api-keys", "invitations"]


def log_in(stack, email, password):
    return stack.api().post("operator/login", json={"email": email, "password": password})


def test_the_command_makes_one_and_changes_the_password(stack):
    done = make_operator(stack, "made@platform.test", "")
    assert done.returncode == 0, done.stderr
    password = re.search(r"shown this once: (\S+)", done.stdout)[1]
    body = checked(log_in(stack, "made@platform.test", password), 200).json()
    assert set(body) == {"access_token", "token_type", "expires_in"} and body["expires_in"] == 900
    client = stack.api()
    client.access = body["access_token"]
    checked(client.get("operator/tenants"), 200)
    stored = stack.sql("SELECT password_hash FROM control.operator WHERE email = 'made@platform.test'")[0][0]
    assert stored.startswith("$argon2id$") and password not in stored
    assert "given a new password" in make_operator(stack, "MADE@platform.test", "a password of his own").stdout
    problem(log_in(stack, "made@platform.test", password), 401)
    checked(log_in(stack, "made@platform.test", "a password of his own"), 200)
    wait_until(lambda: client.get("operator/tenants").status_code == 401, "tokens from before to end", SOON)


@pytest.mark.parametrize("email, password, said", [
    ("no address", OPERATOR_PASSWORD, "say whom"), ("x@y.test'; DROP TABLE control.operator; --", "", "say whom"),
    ("short@platform.test", "short", "10 to 200"),
])
def test_what_the_command_refuses(stack, email, password, said):
    done = make_operator(stack, email, password)
    assert done.returncode == 1 and said in done.stderr and "Traceback" not in done.stderr
    assert stack.sql("SELECT count(*) FROM control.operator WHERE email = %s", email)[0][0] == 0


def test_the_command_without_a_stack_says_so(stack, tmp_path):
    done = make_operator(stack, "x@platform.test", WINDLASS_HOME=str(tmp_path))
    assert done.returncode == 1 and done.stderr.startswith("windlass: ") and "Traceback" not in done.stderr


def test_operators_and_tenants_are_kept_apart(stack, admin):
    boss, key = operator(stack), with_key(stack, admin, "admin")
    for path in TENANT_PATHS:
        problem(boss.get(path), 403)
    problem(boss.post("flows", json={}), 403)
    for client in (admin, key, member(stack, admin, "editor")):
        problem(client.get("operator/tenants"), 403)
        problem(client.get(f"operator/tenants/{admin.tenant}"), 403)
        problem(client.put(f"operator/tenants/{admin.tenant}", json={"state": "suspended"}), 403)
        problem(client.delete(f"operator/tenants/{admin.tenant}"), 403)
    problem(stack.api().get("operator/tenants"), 401)
    problem(log_in(stack, admin.email, PASSWORD), 401)                  # a tenant's account is no operator's
    problem(stack.api().post("auth/login", json={"email": boss_email(stack), "password": OPERATOR_PASSWORD}), 401)
    assert stack.sql("SELECT state FROM control.tenant WHERE id = %s", admin.tenant)[0][0] == "active"


def boss_email(stack):
    return stack.sql("SELECT email FROM control.operator WHERE email = 'operator@platform.test'")[0][0]


def test_a_disabled_operator_is_shut_out(stack):
    assert make_operator(stack, "gone@platform.test").returncode == 0
    client = stack.api()
    client.access = checked(log_in(stack, "gone@platform.test", OPERATOR_PASSWORD), 200).json()["access_token"]
    checked(client.get("operator/tenants"), 200)
    stack.sql("UPDATE control.operator SET state = 'disabled' WHERE email = 'gone@platform.test'")
    problem(log_in(stack, "gone@platform.test", OPERATOR_PASSWORD), 401)
    wait_until(lambda: client.get("operator/tenants").status_code == 401, "the token to end", SOON)


def test_tenants_are_listed_and_found(stack, admin):
    boss = operator(stack)
    found = checked(boss.get("operator/tenants", params={"search": admin.slug}), 200).json()
    assert [one["id"] for one in found["tenants"]] == [admin.tenant] and found["total"] == 1
    assert found["tenants"][0]["users"] == 1 and found["tenants"][0]["plan"]
    one = checked(boss.get(f"operator/tenants/{admin.tenant}"), 200).json()["tenant"]
    assert one["slug"] == admin.slug and one["state"] == "active"
    problem(boss.get("operator/tenants/2147483647"), 404)
    problem(boss.get("operator/tenants/0"), 400)
    assert boss.get("operator/tenants", params={"state": "deleted", "search": admin.slug}).json()["total"] == 0
    page = boss.get("operator/tenants", params={"limit": 1}).json()
    assert len(page["tenants"]) == 1 and page["page_info"]["pages"] == page["total"]


def test_what_an_operator_does_is_in_the_tenants_log_and_in_the_servers(stack, admin):
    boss = operator(stack)
    checked(boss.put(f"operator/tenants/{admin.tenant}", json={"state": "suspended"}), 200)
    checked(boss.put(f"operator/tenants/{admin.tenant}", json={"state": "suspended"}), 200)     # again changes nothing
    checked(boss.put(f"operator/tenants/{admin.tenant}", json={"state": "active"}), 200)
    entries = audited(stack, admin.tenant, "tenant.suspend")
    ids = {row[0] for row in stack.sql("SELECT id::text FROM control.operator")}
    assert len(entries) == 1 and entries[0]["user_id"] in ids
    assert f"operator_tenants_update of tenant {admin.tenant}" in stack.log("web")
    problem(boss.put(f"operator/tenants/{admin.tenant}", json={"state": "deleted"}), 400)
    problem(boss.put(f"operator/tenants/{admin.tenant}", json={}), 400)
