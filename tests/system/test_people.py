"""People of a tenant: invited, let in, changed, shut out; their passwords and logins."""

import os
import re
import threading

import pytest

from kit.client import PASSWORD, checked, fault_paths, problem
from kit.flows import Flow, noop
from kit.people import Watch, accept, audited, invited, member, with_key
from kit.waiting import wait_until

pytestmark = pytest.mark.long

OTHER = "another good password"
SOON = 10       # seconds: five are promised, the machine may be loaded


def at_once(count, work):
    """What `count` threads that start together get from work(number)."""
    results, gate = [None] * count, threading.Barrier(count)

    def run(number):
        gate.wait()
        results[number] = work(number)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def mailed_links(stack, address, kind):
    """The links of a kind that would have been mailed there, oldest first: without a mail server they are logged."""
    return re.findall(rf"the mail to {re.escape(address)} would hold this link: (http[A-Za-z0-9:/.-]+/{kind}#[A-Za-z0-9_-]+)",
                      stack.log("scheduler-1"))


def await_links(stack, address, kind, count=1):
    return wait_until(lambda: len(mailed_links(stack, address, kind)) >= count and mailed_links(stack, address, kind),
                      f"{count} links of kind {kind} for {address}", 20)


def reset_token(stack, address, count=1):
    """The token of the newest link that sets a new password, once there are `count`."""
    return await_links(stack, address, "reset", count)[-1].partition("#")[2]


# ---- invitations -------------------------------------------------------------------------------------------------------

def test_an_invitation_becomes_an_account_with_its_role(stack, admin):
    email = f"grace@{admin.slug}.test"
    answer = invited(admin, email, "editor")
    assert answer["link"] == f"{stack.urls['web']}/invite#{answer['token']}"
    assert answer["invitation"]["state"] == "open" and answer["invitation"]["created_by"] == admin.user_id
    assert await_links(stack, email, "invite") == [answer["link"]]
    stored = stack.sql("SELECT hash FROM control.invitation WHERE tenant = %s", admin.tenant)
    assert answer["token"].encode() not in bytes(stored[0][0])
    preview = checked(stack.api().post("auth/invitations/preview", json={"token": answer["token"]}), 200).json()
    assert (preview["email"], preview["role"], preview["tenant_slug"]) == (email, "editor", admin.slug)
    body = checked(accept(stack, answer["token"]), 201).json()
    assert body["user"]["email"] == email and body["user"]["role"] == "editor" and body["tenant"]["id"] == admin.tenant
    grace = stack.api().take_tokens(body)
    checked(grace.post("flows", json={"name": "hers", **noop().document()}), 201)
    assert stack.api().login(email).tenant == admin.tenant
    listed = checked(admin.get("invitations"), 200).json()
    assert [(one["state"], one["email"]) for one in listed["invitations"]] == [("accepted", email)]
    assert len(audited(stack, admin.tenant, "invitation.create")) == 1
    assert len(audited(stack, admin.tenant, "invitation.accept")) == 1


def test_a_link_is_good_once(stack, admin):
    token = invited(admin, f"once@{admin.slug}.test")["token"]
    checked(accept(stack, token), 201)
    problem(accept(stack, token), 410)
    problem(stack.api().post("auth/invitations/preview", json={"token": token}), 410)


def test_parallel_accepts_give_one_account(stack, admin):
    token = invited(admin, f"race@{admin.slug}.test")["token"]
    statuses = sorted(answer.status_code for answer in at_once(6, lambda _: accept(stack, token)))
    assert statuses == [201] + [410] * 5
    assert stack.sql("SELECT count(*) FROM control.app_user WHERE email = %s", f"race@{admin.slug}.test")[0][0] == 1


def test_links_that_are_of_no_use(stack, admin):
    email = f"late@{admin.slug}.test"
    old = invited(admin, email)["token"]
    new = invited(admin, email.upper().replace("LATE", "Late"))     # the same address, so the first link is void
    problem(accept(stack, old), 410)
    checked(admin.delete(f"invitations/{new['invitation']['id']}"), 204)
    problem(accept(stack, new["token"]), 410)
    problem(admin.delete(f"invitations/{new['invitation']['id']}"), 404)
    third = invited(admin, email)
    stack.sql("UPDATE control.invitation SET expires_at = now() - interval '1 s' WHERE id = %s", third["invitation"]["id"])
    problem(accept(stack, third["token"]), 410)
    states = {one["state"] for one in admin.get("invitations").json()["invitations"]}
    assert states == {"withdrawn", "expired"}
    problem(accept(stack, "A" * 43), 404)
    assert "password" in fault_paths(accept(stack, third["token"], "short"), 400)
    assert "token" in fault_paths(accept(stack, "no such/token with blanks"), 400)
    assert stack.sql("SELECT count(*) FROM control.app_user WHERE tenant = %s", admin.tenant)[0][0] == 1


def test_nobody_is_invited_twice(stack, admin):
    problem(admin.post("invitations", json={"email": admin.email.upper(), "role": "viewer"}), 409)
    email = f"both@{admin.slug}.test"
    token = invited(admin, email)["token"]
    stack.sql("""INSERT INTO control.app_user (id, tenant, email, password_hash, role)
                 VALUES (gen_random_uuid(), %s, %s, 'x', 'viewer')""", admin.tenant, email)
    problem(accept(stack, token), 409)


@pytest.mark.parametrize("email", [
    "a@b.test\r\nBcc: all@world.test", "a@b.test\nX: y", "<a@b.test>", "a b@c.test", "a@b.test, c@d.test", "no address",
    "@b.test", "a@", "a@b..test", "a@-b.test", "\u00e4@b.test", "a@b.test\u0000", '"a"@b.test', "a" * 65 + "@b.test",
    "a@" + "b" * 320, "",
])
def test_odd_addresses_get_no_mail(stack, admin, email):
    answer = admin.post("invitations", json={"email": email, "role": "viewer"})
    problem(answer, 400)
    assert stack.sql("SELECT count(*) FROM control.mail_outbox WHERE tenant = %s", admin.tenant)[0][0] == 0
    problem(stack.api().post("auth/password-reset", json={"email": email}), 400)


def test_only_an_admin_in_person_invites(stack, admin):
    editor = member(stack, admin, "editor")
    problem(editor.post("invitations", json={"email": "x@y.test", "role": "viewer"}), 403)
    problem(editor.get("invitations"), 403)
    problem(with_key(stack, admin, "admin").post("invitations", json={"email": "x@y.test", "role": "viewer"}), 403)


def test_an_invitation_of_another_tenant_is_not_there(stack, admin):
    other = stack.tenant()
    made = invited(other, f"x@{other.slug}.test")["invitation"]["id"]
    problem(admin.delete(f"invitations/{made}"), 404)
    assert admin.get("invitations").json()["total"] == 0


# ---- passwords ---------------------------------------------------------------------------------------------------------

def test_a_forgotten_password_is_reset_by_link(stack, admin):
    second = stack.api().login(admin.email)
    assert checked(stack.api().post("auth/password-reset", json={"email": admin.email.upper()}), 202).content == b""
    token = reset_token(stack, admin.email)
    checked(stack.api().post("auth/password-reset/confirm", json={"token": token, "password": OTHER}), 204)
    problem(stack.api().post("auth/password-reset/confirm", json={"token": token, "password": PASSWORD}), 410)
    problem(stack.api().post("auth/login", json={"email": admin.email, "password": PASSWORD}), 401)
    stack.api().login(admin.email, password=OTHER)
    for client in (admin, second):      # all logins from before are over
        problem(client.post("auth/refresh", json={"refresh_token": client.refresh_token}), 401)
        wait_until(lambda one=client: one.get("auth/me").status_code == 401, "the old login to end", SOON)
    assert len(audited(stack, admin.tenant, "auth.password_reset")) == 1


def test_a_reset_link_expires_and_a_used_one_takes_the_others_along(stack, admin):
    for _ in range(2):
        checked(stack.api().post("auth/password-reset", json={"email": admin.email}), 202)
    first, second = [link.partition("#")[2] for link in await_links(stack, admin.email, "reset", 2)]
    checked(stack.api().post("auth/password-reset/confirm", json={"token": first, "password": OTHER}), 204)
    problem(stack.api().post("auth/password-reset/confirm", json={"token": second, "password": PASSWORD}), 410)
    checked(stack.api().post("auth/password-reset", json={"email": admin.email}), 202)
    third = reset_token(stack, admin.email, 3)
    stack.sql("UPDATE control.password_reset SET expires_at = now() - interval '1 s' WHERE user_id = %s", admin.user_id)
    answer = stack.api().post("auth/password-reset/confirm", json={"token": third, "password": OTHER})
    assert "expired" in problem(answer, 410)["detail"]
    problem(stack.api().post("auth/password-reset/confirm", json={"token": "B" * 43, "password": OTHER}), 404)


def test_asking_for_a_reset_tells_nothing_and_floods_nobody(stack, admin):
    known = checked(stack.api().post("auth/password-reset", json={"email": admin.email}), 202)
    unknown = checked(stack.api().post("auth/password-reset", json={"email": f"nobody-{os.getpid()}@x.test"}), 202)
    assert known.content == unknown.content and known.headers.keys() == unknown.headers.keys()
    for _ in range(5):
        checked(stack.api().post("auth/password-reset", json={"email": admin.email}), 202)
    count = "SELECT count(*) FROM control.password_reset WHERE user_id = %s"
    assert stack.sql(count, admin.user_id)[0][0] == 3


def test_a_disabled_account_gets_no_link_and_its_link_is_of_no_use(stack, admin):
    viewer = member(stack, admin)
    checked(stack.api().post("auth/password-reset", json={"email": viewer.email}), 202)
    token = reset_token(stack, viewer.email)
    checked(admin.put(f"users/{viewer.user_id}", json={"state": "disabled"}), 200)
    problem(stack.api().post("auth/password-reset/confirm", json={"token": token, "password": OTHER}), 403)
    checked(stack.api().post("auth/password-reset", json={"email": viewer.email}), 202)
    assert stack.sql("SELECT count(*) FROM control.password_reset WHERE user_id = %s", viewer.user_id)[0][0] == 1


def test_a_changed_password_ends_the_other_logins(stack, admin):
    other = stack.api().login(admin.email)
    body = {"current_password": "not this one", "new_password": OTHER}
    problem(admin.post("auth/password", json=body), 403)
    checked(admin.post("auth/password", json={**body, "current_password": PASSWORD}), 204)
    problem(admin.post("auth/password", json={**body, "current_password": PASSWORD}), 403)
    wait_until(lambda: other.get("auth/me").status_code == 401, "the other login to end", SOON)
    checked(admin.get("auth/me"), 200)
    admin.refresh()
    stack.api().login(admin.email, password=OTHER)
    assert fault_paths(admin.post("auth/password", json={"current_password": OTHER, "new_password": "short"}), 400) \
        == ["new_password"]
    problem(with_key(stack, admin, "admin").post("auth/password", json={**body, "current_password": OTHER}), 403)


# ---- logins ------------------------------------------------------------------------------------------------------------

def test_logins_are_listed_and_ended_one_by_one(stack, admin):
    other = stack.api()
    other.http.headers["User-Agent"] = "a test"
    other.login(admin.email)
    seen = checked(admin.get("auth/sessions"), 200).json()["sessions"]
    assert [one["current"] for one in seen].count(True) == 1 and len(seen) == 2
    theirs = next(one for one in seen if not one["current"])
    assert theirs["user_agent"] == "a test" and theirs["ip"] == "127.0.0.1"
    stranger = stack.tenant()
    problem(stranger.delete(f"auth/sessions/{theirs['id']}"), 404)
    checked(admin.delete(f"auth/sessions/{theirs['id']}"), 204)
    problem(admin.delete(f"auth/sessions/{theirs['id']}"), 404)
    problem(other.post("auth/refresh", json={"refresh_token": other.refresh_token}), 401)
    wait_until(lambda: other.get("auth/me").status_code == 401, "the login to end", SOON)
    assert [one["current"] for one in admin.get("auth/sessions").json()["sessions"]] == [True]
    key = with_key(stack, admin, "admin")
    problem(key.get("auth/sessions"), 403)
    problem(key.delete(f"auth/sessions/{seen[0]['id']}"), 403)


def test_an_admin_ends_all_logins_of_somebody(stack, admin):
    viewer = member(stack, admin)
    again = stack.api().login(viewer.email)
    checked(admin.delete(f"users/{viewer.user_id}/sessions"), 204)
    for client in (viewer, again):
        problem(client.post("auth/refresh", json={"refresh_token": client.refresh_token}), 401)
        wait_until(lambda one=client: one.get("auth/me").status_code == 401, "the login to end", SOON)
    stack.api().login(viewer.email)
    problem(stack.tenant().delete(f"users/{viewer.user_id}/sessions"), 404)


def test_a_used_refresh_token_ends_the_listed_login(stack, admin):
    other = stack.api().login(admin.email)
    old = other.refresh_token
    other.refresh()
    problem(other.post("auth/refresh", json={"refresh_token": old}), 401)
    assert len(admin.get("auth/sessions").json()["sessions"]) == 1


# ---- accounts ----------------------------------------------------------------------------------------------------------

def test_who_am_i(stack, admin):
    me = checked(admin.get("auth/me"), 200).json()
    assert me["user"]["id"] == admin.user_id and me["role"] == "admin" and me["api_key"] is None
    assert me["tenant"]["slug"] == admin.slug and "billing_info" in me["tenant"]
    changed = checked(admin.put("auth/me", json={"preferences": {"theme": "dark", "deep": {"a": [1, None]}}}), 200).json()
    assert changed["user"]["preferences"] == {"theme": "dark", "deep": {"a": [1, None]}}
    assert fault_paths(admin.put("auth/me", json={"preferences": {"much": "x" * 70000}}), 400) == ["preferences"]
    viewer = member(stack, admin)
    assert "billing_info" not in viewer.get("auth/me").json()["tenant"]


def test_people_are_listed_and_found(stack, admin):
    editor, viewer = member(stack, admin, "editor"), member(stack, admin)
    listed = checked(admin.get("users"), 200).json()
    assert listed["total"] == 3 and {one["id"] for one in listed["users"]} == {admin.user_id, editor.user_id, viewer.user_id}
    assert not any("password" in name for one in listed["users"] for name in one)
    page = viewer.get("users", params={"limit": 2, "page": 2}).json()
    assert len(page["users"]) == 1 and page["page_info"] == {"page": 2, "limit": 2, "pages": 2}
    assert [one["id"] for one in admin.get("users", params={"search": "EDITOR-"}).json()["users"]] == [editor.user_id]
    assert [one["id"] for one in admin.get("users", params={"role": "viewer"}).json()["users"]] == [viewer.user_id]
    assert admin.get("users", params={"state": "disabled"}).json()["total"] == 0
    stranger = stack.tenant()
    problem(stranger.get(f"users/{admin.user_id}"), 404)
    problem(stranger.put(f"users/{viewer.user_id}", json={"role": "admin"}), 404)
    problem(stranger.delete(f"users/{viewer.user_id}"), 404)
    assert checked(viewer.get(f"users/{viewer.user_id}"), 200).json()["user"]["role"] == "viewer"


def test_a_changed_role_counts_for_tokens_that_are_out(stack, admin):
    viewer = member(stack, admin)
    problem(viewer.post("flows", json={"name": "f", **noop().document()}), 403)
    checked(admin.put(f"users/{viewer.user_id}", json={"role": "editor"}), 200)
    wait_until(lambda: viewer.post("flows", json={"name": "f", **noop().document()}).status_code == 201,
               "the new role to count", SOON)
    checked(admin.put(f"users/{viewer.user_id}", json={"role": "viewer"}), 200)
    wait_until(lambda: viewer.post("flows", json={"name": "f", **noop().document()}).status_code == 403,
               "the old role to count again", SOON)
    entries = audited(stack, admin.tenant, "user.update")
    assert sorted(entry["metadata"]["role"] for entry in entries) == [["editor", "viewer"], ["viewer", "editor"]]


def test_a_disabled_account_is_shut_out_on_every_way_in(stack, admin):
    editor = member(stack, admin, "editor")
    key = with_key(stack, editor, "editor")
    checked(key.get("auth/me"), 200)
    eid = admin.start(Flow().add("w", "wait", seconds=600))
    watches = [Watch(client, eid) for client in (editor, key)]
    spared = Watch(admin, eid)
    checked(admin.put(f"users/{editor.user_id}", json={"state": "disabled"}), 200)
    problem(stack.api().post("auth/login", json={"email": editor.email, "password": PASSWORD}), 403)
    problem(editor.post("auth/refresh", json={"refresh_token": editor.refresh_token}), 401)
    wait_until(lambda: editor.get("auth/me").status_code == 401, "the access token to end", SOON)
    wait_until(lambda: key.get("auth/me").status_code == 401, "the API key to end", SOON)
    assert all(watch.closed.wait(SOON) for watch in watches), "the event streams end"
    assert not spared.closed.is_set()
    checked(admin.cancel(eid), 202)
    checked(admin.put(f"users/{editor.user_id}", json={"state": "active"}), 200)
    problem(editor.post("auth/refresh", json={"refresh_token": editor.refresh_token}), 401)
    wait_until(lambda: key.get("auth/me").status_code == 200, "the API key to work again", SOON)
    stack.api().login(editor.email)


def test_a_deleted_account_is_gone_and_what_it_made_stays(stack, admin):
    editor = member(stack, admin, "editor")
    key = with_key(stack, editor, "editor")
    flow = editor.create(noop())
    eid = editor.start(Flow().add("w", "wait", seconds=600))
    watch = Watch(editor, eid)
    checked(admin.delete(f"users/{editor.user_id}"), 204)
    problem(admin.get(f"users/{editor.user_id}"), 404)
    problem(admin.delete(f"users/{editor.user_id}"), 404)
    problem(stack.api().post("auth/login", json={"email": editor.email, "password": PASSWORD}), 401)
    problem(editor.post("auth/refresh", json={"refresh_token": editor.refresh_token}), 401)
    wait_until(lambda: editor.get("auth/me").status_code == 401, "the access token to end", SOON)
    wait_until(lambda: key.get("auth/me").status_code == 401, "the API key to end", SOON)
    assert watch.closed.wait(SOON), "the event stream ends"
    assert checked(admin.get(f"flows/{flow}"), 200).json()["flow"]["created_by"] == editor.user_id
    assert admin.status(eid) == "running"
    checked(admin.cancel(eid), 202)
    assert member(stack, admin, "viewer", editor.email).user_id != editor.user_id   # the address is free again


# ---- the last admin ----------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("change", [{"role": "editor"}, {"state": "disabled"}])
def test_the_last_active_admin_stays(stack, admin, change):
    problem(admin.put(f"users/{admin.user_id}", json=change), 409)
    problem(admin.delete(f"users/{admin.user_id}"), 409)
    second = member(stack, admin, "admin")
    checked(admin.put(f"users/{second.user_id}", json={"state": "disabled"}), 200)
    problem(admin.put(f"users/{admin.user_id}", json=change), 409)      # a disabled admin is none


@pytest.mark.parametrize("way", ["demote", "disable", "delete"])
def test_two_admins_cannot_take_each_other_away_at_once(stack, admin, way):
    def take(client, user_id):
        if way == "delete":
            return client.delete(f"users/{user_id}")
        return client.put(f"users/{user_id}", json={"role": "viewer"} if way == "demote" else {"state": "disabled"})

    second = member(stack, admin, "admin")
    pairs = [(admin, second.user_id), (second, admin.user_id)]
    statuses = sorted(answer.status_code for answer in at_once(2, lambda number: take(*pairs[number])))
    # whoever comes second is told so, or is no admin any more by then
    assert statuses[0] in (200, 204) and statuses[1] in (401, 403, 409)
    left = stack.sql("SELECT count(*) FROM control.app_user WHERE tenant = %s AND role = 'admin' AND state = 'active'",
                     admin.tenant)
    assert left[0][0] == 1
