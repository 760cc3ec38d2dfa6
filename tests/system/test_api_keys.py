"""API keys: what they may do, and when they stop."""

import datetime
import hashlib
import re

import pytest

from kit.client import checked, fault_paths, problem
from kit.flows import Flow, noop
from kit.people import audited, member, with_key
from kit.waiting import wait_until

pytestmark = pytest.mark.long

SOON = 10       # seconds: five are promised, the machine may be loaded


def in_seconds(seconds):
    return (datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=seconds)).isoformat()


def test_a_key_is_shown_once_and_kept_as_a_hash(stack, admin):
    body = checked(admin.post("api-keys", json={"name": "nightly", "role": "executor"}), 201)
    key, shown = body.json()["key"], body.json()["api_key"]
    assert re.fullmatch(r"wlk_[A-Za-z0-9_-]{43}", key) and shown["prefix"] == key[:12] and shown["last_used_at"] is None
    assert body.headers["Location"] == f"/api/v1/api-keys/{shown['id']}"
    stored = stack.sql("SELECT hash, api_key::text FROM control.api_key WHERE id = %s", shown["id"])[0]
    assert bytes(stored[0]) == hashlib.sha256(key.encode()).digest() and key not in stored[1]
    listed = checked(admin.get("api-keys"), 200)
    assert key not in listed.text and [one["id"] for one in listed.json()["api_keys"]] == [shown["id"]]
    assert len(audited(stack, admin.tenant, "api_key.create")) == 1
    assert all(key not in str(entry) for entry in audited(stack, admin.tenant, "api_key.create"))


def test_a_key_works_with_its_role_alone(stack, admin):
    key = with_key(stack, admin, "executor")
    me = checked(key.get("auth/me"), 200).json()
    assert me["role"] == "executor" and me["api_key"] == {"id": key.key_id, "name": "a key"} and me["user"]["role"] == "admin"
    flow = admin.create(noop())
    checked(admin.post(f"flows/{flow}/publish", json={}), 200, 201)
    eid = checked(key.execute(flow), 202).json()["execution_id"]
    assert admin.wait(eid)["execution"]["status"] == "succeeded"
    assert [event.type for event in key.stream(eid)][-1] == "end"
    problem(key.post("flows", json={"name": "no", **noop().document()}), 403)


def test_a_keys_role_is_never_more_than_its_owners(stack, admin):
    editor = member(stack, admin, "editor")
    problem(editor.post("api-keys", json={"name": "up", "role": "admin"}), 403)
    key = with_key(stack, editor, "editor")
    checked(key.post("flows", json={"name": "f", **noop().document()}), 201)
    checked(admin.put(f"users/{editor.user_id}", json={"role": "viewer"}), 200)
    wait_until(lambda: key.get("auth/me").json()["role"] == "viewer", "the owner's role to bound the key's", SOON)
    problem(key.post("flows", json={"name": "f", **noop().document()}), 403)
    checked(admin.put(f"users/{editor.user_id}", json={"role": "admin"}), 200)
    wait_until(lambda: key.get("auth/me").json()["role"] == "editor", "the key's own role to bound it", SOON)
    problem(key.get("invitations"), 403)


def test_a_key_makes_no_keys(stack, admin):
    key = with_key(stack, admin, "admin")
    problem(key.post("api-keys", json={"name": "child", "role": "viewer"}), 403)
    other = with_key(stack, admin)
    problem(key.delete(f"api-keys/{other.key_id}"), 403)
    checked(key.delete(f"api-keys/{key.key_id}"), 204)      # but it may give itself back
    wait_until(lambda: key.get("auth/me").status_code == 401, "the key to end", SOON)


def test_a_key_lets_nobody_in_and_up(stack, admin):
    """A key that was stolen must not become a lasting account."""
    key, viewer = with_key(stack, admin, "admin"), member(stack, admin, "viewer")
    problem(key.put(f"users/{viewer.user_id}", json={"role": "admin"}), 403)
    assert checked(key.put(f"users/{viewer.user_id}", json={"state": "disabled"}), 200).json()["user"]["state"] == "disabled"
    problem(key.put(f"users/{viewer.user_id}", json={"state": "active"}), 403)
    assert checked(admin.put(f"users/{viewer.user_id}", json={"state": "active"}), 200).json()["user"]["role"] == "viewer"


def test_a_revoked_key_ends_and_so_do_its_streams(stack, admin):
    viewer = member(stack, admin)
    key, spared = with_key(stack, viewer), with_key(stack, viewer)
    eid = admin.start(Flow().add("w", "wait", seconds=600))
    headers = {"Accept": "text/event-stream", "Authorization": f"Bearer {key.access}"}
    with key.http.stream("GET", f"/api/v1/executions/{eid}/stream", headers=headers, timeout=30) as answer:
        assert answer.status_code == 200
        lines = answer.iter_lines()
        checked(admin.delete(f"api-keys/{key.key_id}"), 204)    # an admin may revoke anybody's
        assert "event: close" in list(lines)                    # the server ends it
    wait_until(lambda: key.get("auth/me").status_code == 401, "the key to end", SOON)
    checked(spared.get("auth/me"), 200)
    problem(admin.delete(f"api-keys/{key.key_id}"), 404)
    checked(admin.cancel(eid), 202)
    assert len(audited(stack, admin.tenant, "api_key.delete")) == 1


def test_keys_are_their_owners_and_the_admins(stack, admin):
    first, second = member(stack, admin, "editor"), member(stack, admin, "viewer")
    mine = with_key(stack, first)
    assert second.get("api-keys").json()["total"] == 0
    problem(second.delete(f"api-keys/{mine.key_id}"), 404)
    problem(stack.tenant().delete(f"api-keys/{mine.key_id}"), 404)
    assert admin.get("api-keys").json()["total"] == first.get("api-keys").json()["total"] == 1


def test_an_expiring_key(stack, admin):
    key = with_key(stack, admin, expires_at=in_seconds(4))
    checked(key.get("auth/me"), 200)
    wait_until(lambda: key.get("auth/me").status_code == 401, "the key to expire", 15)
    assert fault_paths(admin.post("api-keys", json={"name": "x", "role": "viewer", "expires_at": in_seconds(-5)}), 422) \
        == ["expires_at"]


@pytest.mark.parametrize("body", [
    {"name": "", "role": "viewer"}, {"name": "x", "role": "operator"}, {"name": "x"}, {"name": "x" * 201, "role": "viewer"},
    {"name": "x", "role": "viewer", "expires_at": "tomorrow"}, {"name": "x", "role": "viewer", "hash": "00"},
    {"name": "x", "role": "viewer", "expires_at": "2030-02-31T00:00:00Z"},
])
def test_keys_that_are_refused(stack, admin, body):
    problem(admin.post("api-keys", json=body), 400)
    assert admin.get("api-keys").json()["total"] == 0


@pytest.mark.parametrize("token", ["wlk_", "wlk_" + "A" * 43, "wlk_" + "A" * 42, "wlk_" + "A" * 44, "WLK_" + "A" * 43,
                                   "wlk_" + "A" * 42 + "=", "wlk_" + "' OR 1=1 --".ljust(43, "x")])
def test_what_only_looks_like_a_key(stack, token):
    answer = stack.api().get("flows", headers={"Authorization": f"Bearer {token}"})
    problem(answer, 401)
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")


def test_use_is_noted_but_not_each_time(stack, admin):
    key = with_key(stack, admin)
    for _ in range(20):
        checked(key.get("auth/me"), 200)
    used = admin.get("api-keys").json()["api_keys"][0]["last_used_at"]
    assert used
    rows = stack.sql("SELECT xmin::text FROM control.api_key WHERE id = %s", key.key_id)
    stack.sql("UPDATE control.api_key SET last_used_at = now() - interval '2 minutes' WHERE id = %s", key.key_id)
    wait_until(lambda: key.get("auth/me") and admin.get("api-keys").json()["api_keys"][0]["last_used_at"] > used,
               "a later use to be noted", SOON)
    assert stack.sql("SELECT xmin::text FROM control.api_key WHERE id = %s", key.key_id) != rows
    assert len(audited(stack, admin.tenant, "api_key.use")) == 1        # once an hour
    entry = audited(stack, admin.tenant, "api_key.use")[0]
    assert entry["resource_id"] == key.key_id and entry["user_id"] == admin.user_id


def test_an_account_has_a_bounded_number_of_keys(stack, admin):
    for _ in range(100):
        checked(admin.post("api-keys", json={"name": "one of many", "role": "viewer"}), 201)
    problem(admin.post("api-keys", json={"name": "too many", "role": "viewer"}), 409)
