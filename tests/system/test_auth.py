"""Register, log in, refresh, log out: what a token is good for, and when it stops being good."""

import base64
import json
import time

import httpx
import pytest

from kit.client import PASSWORD, checked, fault_paths, problem
from kit.people import audited
from kit.waiting import wait_until


def decoded(token):
    """The claims of a JWT, unverified."""
    part = token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))


def test_register_makes_an_admin_who_may_work_at_once(stack):
    admin = stack.api().register()
    assert checked(admin.get("flows"), 200).json() == {
        "flows": [], "total": 0, "page_info": {"page": 1, "limit": 20, "pages": 0}}
    rows = stack.sql("SELECT role, password_hash FROM control.app_user WHERE id = %s", admin.user_id)
    assert rows[0][0] == "admin"
    assert rows[0][1].startswith("$argon2id$") and PASSWORD not in rows[0][1]


def test_register_with_a_taken_slug_is_a_conflict(stack, admin):
    other = stack.api()
    body = {"email": "x@example.test", "password": PASSWORD, "tenant_name": "x", "tenant_slug": admin.slug}
    problem(other.post("auth/register", json=body), 409)
    assert stack.sql("SELECT count(*) FROM control.app_user WHERE email = 'x@example.test'")[0][0] == 0


@pytest.mark.parametrize("change, path", [
    ({"email": "no address"}, "email"),
    ({"password": "short"}, "password"),
    ({"tenant_slug": "UPPER"}, "tenant_slug"),
    ({"tenant_name": ""}, "tenant_name"),
    ({"surprise": 1}, "surprise"),
    ({"email": None}, "email"),
    ({"password": "x" * 201}, "password"),
])
def test_register_names_what_is_wrong(stack, change, path):
    body = {"email": "a@example.test", "password": PASSWORD, "tenant_name": "n", "tenant_slug": "never-made", **change}
    assert path in fault_paths(stack.api().post("auth/register", json=body), 400)
    assert stack.sql("SELECT count(*) FROM control.tenant WHERE slug = 'never-made'")[0][0] == 0


def test_login_gives_user_and_tenant(stack, admin):
    answer = checked(stack.api().post("auth/login", json={"email": admin.email, "password": PASSWORD}), 200).json()
    assert answer["user"] == {"id": admin.user_id, "email": admin.email, "role": "admin"}
    assert answer["tenant"]["id"] == admin.tenant and answer["tenant"]["slug"] == admin.slug
    assert answer["token_type"] == "Bearer" and answer["expires_in"] > 0


def test_wrong_password_and_unknown_address_look_the_same(stack, admin):
    wrong = problem(stack.api().post("auth/login", json={"email": admin.email, "password": "wrong password"}), 401)
    unknown = problem(stack.api().post("auth/login", json={"email": "nobody@x.test", "password": PASSWORD}), 401)
    assert wrong["detail"] == unknown["detail"] and wrong["title"] == unknown["title"]


def test_an_address_of_two_tenants_needs_the_slug(stack):
    first, second = stack.api().register(), stack.api().register()
    stack.sql("UPDATE control.app_user SET email = 'both@example.test' WHERE id IN (%s, %s)", first.user_id, second.user_id)
    body = {"email": "both@example.test", "password": PASSWORD}
    problem(stack.api().post("auth/login", json=body), 409)
    for api in (first, second):
        answer = checked(stack.api().post("auth/login", json={**body, "tenant_slug": api.slug}), 200).json()
        assert answer["tenant"]["id"] == api.tenant


def test_refresh_rotates_and_a_used_token_ends_the_login(stack, admin):
    old = admin.refresh_token
    admin.refresh()
    new = admin.refresh_token
    assert new != old
    stored = {bytes(row[0]) for row in stack.sql("SELECT hash FROM control.refresh_token")}
    assert old.encode() not in stored and new.encode() not in stored
    problem(admin.post("auth/refresh", json={"refresh_token": old}), 401)
    problem(admin.post("auth/refresh", json={"refresh_token": new}), 401)
    wait_until(lambda: admin.get("flows").status_code == 401, "the access token of the stolen login ends", 10)


def test_an_unknown_refresh_token_is_refused(stack):
    problem(stack.api().post("auth/refresh", json={"refresh_token": "A" * 43}), 401)
    problem(stack.api().post("auth/refresh", json={"refresh_token": "short"}), 400)


def test_an_expired_refresh_token_is_refused(stack, admin):
    stack.sql("UPDATE control.refresh_token SET expires_at = now() - interval '1 s' WHERE user_id = %s", admin.user_id)
    problem(admin.post("auth/refresh", json={"refresh_token": admin.refresh_token}), 401)


def test_logout_ends_refresh_and_access_tokens(stack, admin):
    again = stack.api().login(admin.email)
    checked(admin.post("auth/logout", json={"refresh_token": admin.refresh_token}), 204)
    problem(admin.post("auth/refresh", json={"refresh_token": admin.refresh_token}), 401)
    wait_until(lambda: admin.get("flows").status_code == 401, "the access token ends within five seconds", 8)
    checked(again.get("flows"), 200)
    checked(stack.api().post("auth/logout", json={"refresh_token": "B" * 43}), 204)


def test_a_disabled_user_is_shut_out(stack, admin):
    stack.sql("UPDATE control.app_user SET state = 'disabled' WHERE id = %s", admin.user_id)
    problem(stack.api().post("auth/login", json={"email": admin.email, "password": PASSWORD}), 403)
    problem(admin.post("auth/refresh", json={"refresh_token": admin.refresh_token}), 401)
    wait_until(lambda: admin.get("flows").status_code == 401, "the access token ends", 10)


@pytest.mark.parametrize("header", [None, "Bearer", "Bearer x", "Bearer a.b.c", "Basic YTpi", "Bearer x y"])
def test_no_valid_token_is_401(stack, header):
    answer = stack.api().get("flows", headers={"Authorization": header} if header else {})
    problem(answer, 401)
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")


def test_a_token_of_another_key_or_algorithm_is_401(stack, admin):
    head, body, mark = admin.access.split(".")
    claims = decoded(admin.access)

    def packed(value):
        return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")

    for token in (f"{head}.{body}.{mark[:-4]}AAAA",
                  f"{packed({'alg': 'none', 'typ': 'JWT'})}.{body}.",
                  f"{head}.{packed({**claims, 'exp': claims['exp'] + 100000})}.{mark}"):
        problem(stack.api().get("flows", headers={"Authorization": f"Bearer {token}"}), 401)


# ---- guessing --------------------------------------------------------------------------------------------------------

FREE = 10       # wrong passwords before the first wait


def from_address(stack, number):
    """A client at an address of its own: all of 127.0.0.0/8 is this host."""
    client = stack.api()
    client.http = httpx.Client(base_url=stack.urls["web"], trust_env=False, timeout=30,
                               transport=httpx.HTTPTransport(local_address=f"127.0.0.{number}"))
    return client


def guess(client, email, password="a wrong password"):
    return client.post("auth/login", json={"email": email, "password": password})


def test_guessing_slows_down_where_it_comes_from_and_nowhere_else(stack, admin):
    guesser, owner = (from_address(stack, number) for number in (40, 41))
    for number in range(FREE):
        problem(guess(guesser, admin.email, f"guess number {number}"), 401)
    answer = guess(guesser, admin.email)
    problem(answer, 429)
    assert 0 < int(answer.headers["Retry-After"]) <= 2
    problem(guess(guesser, admin.email.upper(), PASSWORD), 429)        # also with the right one, however it is written
    checked(guess(owner, admin.email, PASSWORD), 200)                   # somebody else is not kept out
    problem(guess(guesser, f"other-{admin.email}"), 401)                # nor are others slowed down there
    wait_until(lambda: guess(guesser, admin.email, PASSWORD).status_code == 200, "the wait to be over", 10)
    assert stack.sql("SELECT count(*) FROM control.password_failure WHERE email = %s", admin.email.lower())[0][0] == 0
    failed = audited(stack, admin.tenant, "auth.login_failed")
    assert len(failed) == FREE and all(entry["resource_id"] == admin.user_id for entry in failed)


def test_where_one_has_logged_in_before_the_right_password_always_counts(stack, admin):
    client = from_address(stack, 42)
    checked(guess(client, admin.email, PASSWORD), 200)
    for number in range(FREE + 1):
        problem(guess(client, admin.email, f"guess number {number}"), 401 if number < FREE else 429)
    checked(guess(client, admin.email, PASSWORD), 200)


def test_addresses_without_an_account_slow_down_alike(stack):
    client, email = from_address(stack, 43), f"nobody-{time.monotonic_ns()}@x.test"
    for number in range(FREE):
        problem(guess(client, email, f"guess number {number}"), 401)
    problem(guess(client, email), 429)


def test_logins_are_in_the_audit_log(stack, admin):
    other = stack.api().login(admin.email)
    checked(other.post("auth/logout", json={"refresh_token": other.refresh_token}), 204)
    assert len(audited(stack, admin.tenant, "auth.login")) == 1
    assert len(audited(stack, admin.tenant, "auth.logout")) == 1


def test_an_account_of_a_tenant_that_is_gone_does_not_stand_in_the_way(stack, admin):
    other = stack.api().register()
    stack.sql("UPDATE control.app_user SET email = %s WHERE id = %s", admin.email, other.user_id)
    problem(guess(stack.api(), admin.email, PASSWORD), 409)
    stack.sql("UPDATE control.tenant SET state = 'suspended' WHERE id = %s", other.tenant)
    assert stack.api().login(admin.email).tenant == admin.tenant
