"""Every operation of the document, and who may call it: roles, API keys, nobody, operators.

Those who may get past the role are seen by an answer that is neither 401 nor 403; so that nothing happens then, the
calls name things that do not exist and send bodies that are refused.
"""

import pytest

from kit.client import Api, checked, problem
from kit.operations import ROLES, operations, stranger_id

# what a key may not do, whatever its role: it stands for no login
NOT_BY_KEY = {"api_keys_create", "auth_password_change", "auth_sessions_list", "auth_sessions_revoke",
              "api_keys_delete", "tenants_current_delete"}
TENANT_OPERATIONS = [one for one in operations() if one.role in ROLES]
OPERATOR_OPERATIONS = [one for one in operations() if one.role == "operator"]
PUBLIC_OPERATIONS = [one for one in operations() if one.role is None]


@pytest.fixture(scope="module")
def people(stack):
    """Somebody of each role, and for each an API key of that role."""
    admin = stack.tenant()
    found = {"admin": admin, **{role: stack.user(admin, role) for role in ROLES[:-1]}}
    for role in ROLES:
        key = Api(stack.urls["web"])
        key.access = checked(found[role].post("api-keys", json={"name": f"key of {role}", "role": role}), 201).json()["key"]
        stack.apis.append(key)
        found[f"key of {role}"] = key
    return found


def call(api, operation, by_key=False):
    """A call that changes nothing even when the role suffices. What no key may do is asked for in full."""
    values = {"id": stranger_id(), "delivery_id": stranger_id(), "kickoff_id": stranger_id(), "version": 1,
              "name": "no-such", "tenant_id": 2147483647}
    details = {"json": {"no such member": 1}} if operation.takes_body else {}
    if by_key and operation.name in NOT_BY_KEY and operation.example:
        details = {"json": operation.example}
    if "confirm" in operation.in_query:
        details["params"] = {"confirm": "another-slug"}
    return api.request(operation.method, operation.url(**values), **details)


@pytest.mark.parametrize("role", [*ROLES, *(f"key of {role}" for role in ROLES)])
def test_each_role_gets_past_its_own_operations_alone(people, role):
    wrong = []
    for operation in TENANT_OPERATIONS:
        status = call(people[role], operation, "key" in role).status_code
        may = operation.allows(role.removeprefix("key of ")) and not ("key" in role and operation.name in NOT_BY_KEY)
        if (status not in (401, 403)) != may or status >= 500:
            wrong.append((operation.name, operation.role, status))
    assert wrong == []


def test_nobody_gets_anywhere(stack):
    nobody = stack.api()
    assert [operation.name for operation in TENANT_OPERATIONS + OPERATOR_OPERATIONS
            if problem(call(nobody, operation), 401) is None] == []
    nobody.access = "wlk_" + "x" * 43
    assert [operation.name for operation in TENANT_OPERATIONS + OPERATOR_OPERATIONS
            if call(nobody, operation).status_code != 401] == []


def test_no_role_of_a_tenant_is_an_operators(people):
    for operation in OPERATOR_OPERATIONS:
        for role, api in people.items():
            assert call(api, operation).status_code == 403, (operation, role)


def test_what_is_public_takes_no_token(stack):
    nobody = stack.api()
    assert [operation.name for operation in PUBLIC_OPERATIONS if operation.name not in ("auth_login", "auth_refresh", "hooks_receive")
            and call(nobody, operation).status_code in (401, 403)] == []


def test_the_table_is_whole():
    """Every operation stands in exactly one of the lists above, and nothing that changes things is public by mistake."""
    assert len(TENANT_OPERATIONS) + len(OPERATOR_OPERATIONS) + len(PUBLIC_OPERATIONS) == len(operations())
    assert {operation.name for operation in PUBLIC_OPERATIONS} == {
        "auth_register", "auth_login", "auth_refresh", "auth_logout", "auth_invitation_preview", "auth_invitation_accept",
        "auth_password_reset", "auth_password_reset_confirm", "operator_login", "hooks_receive", "openapi_get", "healthz",
        "readyz", "metrics"}
