"""Webhooks that start runs: signatures, repeats, what becomes of what they bring, and who may do what with them."""

import json
import os
import re
import subprocess
import threading
import time
import uuid

import httpx
import psycopg
import pytest

from kit.client import checked, fault_paths, problem
from kit.flows import Flow, ex, noop
from kit.hooks import HEADER, Hook, mac, published, signature
from kit.stack import ROOT, Stack
from kit.waiting import wait_until

pytestmark = pytest.mark.long

BODY = b'{"order": 7}'


@pytest.fixture
def hook(admin):
    return Hook(admin, published(admin, noop()))


def runs_of(hook):
    return [run for run in checked(hook.admin.get("executions"), 200).json()["executions"]]


# ---- signatures -----------------------------------------------------------------------------------------------

def test_a_signed_request_starts_a_run(hook):
    answer = hook.send({"order": 7}, query="?shop=x%20y&tag=a&tag=b&empty=", headers={"X-Shop": "1"})
    eid = checked(answer, 202).json()["execution_id"]
    assert answer.headers["Location"] == f"/api/v1/executions/{eid}"
    run = hook.admin.wait(eid)["execution"]
    assert run["status"] == "succeeded"
    assert run["inputs"]["body"] == {"order": 7}
    assert run["inputs"]["query"] == {"shop": "x y", "tag": ["a", "b"], "empty": ""}
    assert run["inputs"]["headers"]["x-shop"] == "1"
    assert HEADER.lower() not in run["inputs"]["headers"]


def headers_that_are_wrong(secret):
    """What is sent in place of a good header, by name."""
    now, other = int(time.time()), "whsec_" + "A" * 43
    good = f"v1={mac(secret, now, BODY)}"

    def at(when):
        return f"t={when},v1={mac(secret, when, BODY)}"
    return {
        "none": None, "empty": "", "no time": good, "no signature": f"t={now}", "words": "let me in",
        "no hex": f"t={now},v1={'g' * 64}", "short": f"t={now},v1=abcd", "long": f"t={now},{good}00",
        "another secret": f"t={now},v1={mac(other, now, BODY)}", "another body": f"t={now},v1={mac(secret, now, b'x')}",
        "another time": f"t={now + 1},{good}", "time with zeros": at(f"0{now}"), "time with a sign": at(f"+{now}"),
        "two times": f"t={now},t={now},{good}", "no number": at("x"), "a time beyond all": at("9" * 30),
        "too old": at(now - 400), "too new": at(now + 400), "of another scheme": f"t={now},v0={mac(secret, now, BODY)}",
        "an empty end": f"t={now},{good},", "no name": f"t={now},{good},=x,y",
    }


@pytest.mark.parametrize("name", headers_that_are_wrong("any"))
def test_signatures_that_are_wrong(hook, name):
    header = headers_that_are_wrong(hook.secret)[name]
    answer = hook.admin.http.post(hook.path, content=BODY, headers={} if header is None else {HEADER: header})
    problem(answer, 401)
    assert hook.secret not in answer.text
    assert runs_of(hook) == []
    refused = hook.await_deliveries(1)[0]
    assert (refused["outcome"], refused["status"], refused["execution_id"]) == ("refused", 401, None) and refused["detail"]


def test_a_signature_that_is_too_long(hook):
    problem(hook.send(BODY, header=signature(hook.secret, BODY) + ",v2=" + "0" * 500), 400)


@pytest.mark.parametrize("when", [-290, 290])
def test_clocks_may_differ_a_little(hook, when):
    hook.start(BODY, when=int(time.time()) + when)


def test_a_header_may_hold_more(hook):
    now = int(time.time())
    header = f"t={now}, v1={'0' * 64}, v1={mac(hook.secret, now, BODY)}, v2=later, kid=3"
    hook.start(BODY, header=header)


def test_two_secrets_while_rotating(hook):
    rotate = f"webhooks/{hook.id}/rotate"
    second = checked(hook.admin.post(rotate, json={"overlap_s": 600}), 200).json()
    assert second["old_secret_until"] and second["secret"].startswith("whsec_")
    hook.start(b"with the old one", secret=hook.secret)
    hook.start(b"with the new one", secret=second["secret"])
    hook.start(b"with both", secret=[hook.secret, second["secret"]])
    third = checked(hook.admin.post(rotate, json={"overlap_s": 600}), 200).json()
    problem(hook.send(b"older than the old one", secret=hook.secret), 401)
    hook.start(b"the second is the old one now", secret=second["secret"])
    last = checked(hook.admin.post(rotate, json={"overlap_s": 0}), 200).json()
    assert last["old_secret_until"] is None
    problem(hook.send(b"rotated away", secret=third["secret"]), 401)
    hook.start(b"the last one", secret=last["secret"])


# ---- repeats --------------------------------------------------------------------------------------------------

def test_a_request_that_comes_again_starts_nothing(hook):
    header = signature(hook.secret, BODY)
    first = hook.start(BODY, header=header)
    assert hook.start(BODY, header=header) == first
    assert hook.start(BODY, header=header, delivery="a new name for it") == first, "the name is not signed"
    assert len(runs_of(hook)) == 1
    assert [one["outcome"] for one in hook.deliveries()] == ["replayed", "replayed", "accepted"]
    assert {one["execution_id"] for one in hook.deliveries()} == {first}


def test_both_signatures_of_one_request_are_one_request(hook):
    """Somebody who saw a request signed with two secrets has not got two requests."""
    new = checked(hook.admin.post(f"webhooks/{hook.id}/rotate", json={"overlap_s": 600}), 200).json()["secret"]
    now = int(time.time())
    first = hook.start(BODY, header=signature([hook.secret, new], BODY, now))
    assert hook.start(BODY, header=signature(hook.secret, BODY, now)) == first
    assert hook.start(BODY, header=signature(new, BODY, now)) == first


def test_a_delivery_that_is_sent_anew_is_the_same(hook):
    now = int(time.time())
    first = hook.start(BODY, delivery="evt_1", when=now - 20)
    assert hook.start(BODY, delivery="evt_1", when=now) == first
    assert hook.start(BODY, when=now) == first, "its signature was seen"
    assert hook.start(BODY, delivery="evt_2", when=now + 20) != first
    assert len(runs_of(hook)) == 2


def test_the_same_name_at_another_hook_is_another_delivery(admin):
    flow = published(admin, noop())
    one, two = Hook(admin, flow), Hook(admin, flow)
    assert one.start(BODY, delivery="evt_1") != two.start(BODY, delivery="evt_1")


@pytest.mark.parametrize("by", ["signature", "delivery"])
def test_twenty_at_once_are_one(hook, by):
    header = signature(hook.secret, BODY)
    now, got = int(time.time()), []

    def send(number):
        more = {"header": header} if by == "signature" else {"delivery": "evt", "when": now - number}
        got.append(hook.start(BODY, **more))
    threads = [threading.Thread(target=send, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(got) == 20 and len(set(got)) == 1
    assert [run["id"] for run in runs_of(hook)] == got[:1]


def test_what_was_not_accepted_may_come_again(stack, hook):
    stack.quota(hook.admin.tenant, max_executions_per_day=0)
    header = signature(hook.secret, BODY)
    answer = hook.send(BODY, header=header, delivery="evt_9")
    problem(answer, 429)
    assert int(answer.headers["Retry-After"]) > 0
    stack.quota(hook.admin.tenant, max_executions_per_day=100)
    hook.start(BODY, header=header, delivery="evt_9")
    assert [one["status"] for one in hook.await_deliveries(2)] == [202, 429]


# ---- what it brings -------------------------------------------------------------------------------------------

def test_inputs_are_made_from_body_headers_and_query(admin):
    hook = Hook(admin, published(admin, noop()), inputs={
        "who": ex(".body.customer.name"), "line": "{{ .query.shop }}/{{ .headers[\"x-kind\"] }}", "fixed": [1, {"a": ex(".body.n + 1")}]},
        labels={"from": "shop"}, timeout_s=60)
    eid = hook.start({"customer": {"name": "Zoë 🦊"}, "n": 41}, query="?shop=b%C3%BCcher", headers={"X-Kind": "order"})
    run = admin.wait(eid)["execution"]
    assert run["inputs"] == {"who": "Zoë 🦊", "line": "bücher/order", "fixed": [1, {"a": 42}]}
    assert run["labels"] == {"from": "shop"}


@pytest.mark.parametrize("kind, body, seen", [
    ("application/json", b"", None), ("application/json; charset=utf-8", b" [1.50, null] ", [1.5, None]),
    ("application/vnd.github+json", b'{"a": 1}', {"a": 1}), ("APPLICATION/JSON", b'"x"', "x"),
    ("text/plain", '{"ü": 1}'.encode(), '{"ü": 1}'), ("application/x-www-form-urlencoded", b"a=1&b=2", "a=1&b=2"),
    (None, b"plain", "plain"), ("application/json", b"123456789012345678901234567890", 123456789012345678901234567890),
    ("application/jsonx", b"{", "{")])
def test_bodies(hook, kind, body, seen):
    eid = hook.start(body, headers={"Content-Type": kind} if kind else {})
    assert hook.admin.wait(eid)["execution"]["inputs"]["body"] == seen


@pytest.mark.parametrize("kind, body", [
    ("application/json", b"{"), ("application/json", b'{"a": 1, "a": 2}'), ("application/json", b"{} {}"),
    ("application/json", b"[" * 5000 + b"]" * 5000), ("application/json", b'"\xff"'), ("application/json", b'"\\u0000"'),
    ("text/plain", b"\xff\xfe"), ("application/octet-stream", b"a\0b"), ("application/json", b"NaN")])
def test_bodies_that_are_none(hook, kind, body):
    problem(hook.send(body, headers={"Content-Type": kind}), 400)
    assert runs_of(hook) == [] and hook.await_deliveries(1)[0]["status"] == 400


def test_a_deep_body_still_runs(hook):
    deep = b"[" * 58 + b"]" * 58
    eid = hook.start(deep, headers={"Content-Type": "application/json"})
    assert hook.admin.wait(eid)["execution"]["status"] == "succeeded"


def test_sizes(hook):
    most = b"x" * (1 << 20)
    assert len(hook.admin.wait(hook.start(most))["execution"]["inputs"]["body"]) == 1 << 20
    problem(hook.send(most + b"x"), 413)


@pytest.mark.parametrize("query", ["?a=%zz", "?a=%ff", "?%00=1"])
def test_queries_that_are_none(hook, query):
    problem(hook.send(BODY, query=query), 400)


def test_many_query_parameters_are_refused(hook):
    problem(hook.send(BODY, query="?" + "&".join(f"p{n}=1" for n in range(100))), 400)


def test_secrets_of_the_caller_do_not_reach_the_run(hook):
    eid = hook.start(BODY, headers={"Authorization": "Bearer mine", "Cookie": "a=b", "Proxy-Authorization": "x", "X-Ok": "1"})
    headers = hook.admin.wait(eid)["execution"]["inputs"]["headers"]
    assert headers["x-ok"] == "1"
    assert not {"authorization", "cookie", "proxy-authorization", HEADER.lower()} & headers.keys()


def test_a_template_that_fails_on_this_body(admin):
    hook = Hook(admin, published(admin, noop()), inputs={"n": ex(".body.n + 1")})
    assert "inputs" in problem(hook.send({"n": {}}), 422)["detail"]
    slow = Hook(admin, published(admin, noop()), inputs={"n": ex("[range(1e9)] | length")})
    problem(slow.send({}), 422)
    hook.start({"n": 1})


def test_the_input_schema_of_the_flow_holds(admin):
    schema = {"type": "object", "required": ["n"], "properties": {"n": {"type": "integer"}}}
    hook = Hook(admin, published(admin, noop().schema(input_schema=schema)), inputs={"n": ex(".body.n")})
    hook.start({"n": 1})
    assert fault_paths(hook.send({"n": "x"}), 422) == ["n"]
    assert hook.await_deliveries(2)[0]["status"] == 422


# ---- its flow and its tenant ------------------------------------------------------------------------------------

def test_it_runs_the_newest_published_version_or_the_one_it_names(admin):
    flow = published(admin, Flow().output("one"))
    newest, pinned = Hook(admin, flow), Hook(admin, flow, version=1)
    checked(admin.put(f"flows/{flow}", json=Flow().output("two").document()), 200)
    assert newest.send(b"1", wait=20).json()["outputs"] == "one", "a draft does not run"
    checked(admin.post(f"flows/{flow}/publish", json={}), 201)
    assert newest.send(b"2", wait=20).json()["outputs"] == "two"
    assert pinned.send(b"2", wait=20).json()["outputs"] == "one"
    checked(admin.put(f"webhooks/{pinned.id}", json={"version": None}), 200)
    assert pinned.send(b"3", wait=20).json()["outputs"] == "two"


def test_flows_that_do_not_run(admin):
    draft = Hook(admin, admin.create(noop()))
    problem(draft.send(BODY), 409)
    flow = published(admin, noop())
    hook = Hook(admin, flow)
    checked(admin.put(f"flows/{flow}", json={"status": "archived"}), 200)
    problem(hook.send(BODY), 409)
    checked(admin.delete(f"flows/{flow}"), 204)
    problem(hook.send(BODY), 410)
    assert [one["status"] for one in hook.await_deliveries(2)] == [410, 409]


def test_disabled_deleted_unknown(hook):
    checked(hook.admin.put(f"webhooks/{hook.id}", json={"enabled": False}), 200)
    problem(hook.send(BODY), 410)
    problem(hook.send(BODY, secret="whsec_other"), 401)
    checked(hook.admin.put(f"webhooks/{hook.id}", json={"enabled": True}), 200)
    hook.start(BODY)
    checked(hook.admin.delete(f"webhooks/{hook.id}"), 204)
    problem(hook.send(BODY), 404)
    problem(hook.admin.get(f"webhooks/{hook.id}"), 404)
    problem(hook.admin.http.post(f"/hooks/{uuid.uuid4()}", content=BODY), 404)
    problem(hook.admin.http.post("/hooks/no-id", content=BODY), 400)


def test_a_suspended_tenant_starts_nothing(stack, hook):
    stack.sql("UPDATE control.tenant SET state = 'suspended' WHERE id = %s", hook.admin.tenant)
    problem(hook.send(BODY), 403)
    stack.sql("UPDATE control.tenant SET state = 'deleted' WHERE id = %s", hook.admin.tenant)
    problem(hook.send(BODY), 404)
    stack.sql("UPDATE control.tenant SET state = 'active' WHERE id = %s", hook.admin.tenant)
    hook.start(BODY)


# ---- making and changing ----------------------------------------------------------------------------------------

def test_what_a_webhook_shows(hook):
    made = dict(hook.made)
    assert made.pop("secret").startswith("whsec_") and len(hook.secret) == 49
    shown = checked(hook.admin.get(f"webhooks/{hook.id}"), 200)
    assert shown.json()["webhook"] == made and shown.headers["ETag"] == hook.etag == '"1"'
    listed = checked(hook.admin.get("webhooks"), 200).json()
    assert listed["webhooks"] == [made] and listed["total"] == 1
    assert hook.admin.get("webhooks", params={"flow_id": str(uuid.uuid4())}).json()["webhooks"] == []
    changed = checked(hook.admin.put(f"webhooks/{hook.id}", json={"name": "other", "inputs": {"a": 1}},
                                     headers={"If-Match": '"1"'}), 200)
    assert changed.json()["webhook"]["inputs"] == {"a": 1} and changed.headers["ETag"] == '"2"'
    problem(hook.admin.put(f"webhooks/{hook.id}", json={"name": "third"}, headers={"If-Match": '"1"'}), 412)


@pytest.mark.parametrize("more, status, paths", [
    ({"inputs": {"a": {"b": [1, "{{ .body. }}"]}}}, 422, ["inputs.a.b[1]"]),
    ({"inputs": {"a": "{{ .body"}}, 422, ["inputs.a"]), ({"inputs": {"a": ex("nothing(1)")}}, 422, ["inputs.a"]),
    ({"inputs": [1]}, 400, None), ({"inputs": {"a": "x" * 70000}}, 422, None), ({"version": 3}, 422, ["version"]),
    ({"flow_id": str(uuid.uuid4())}, 422, ["flow_id"]), ({"secret": "mine"}, 400, None), ({"timeout_s": 0}, 400, None),
    ({"name": ""}, 400, None)])
def test_webhooks_that_cannot_be(admin, more, status, paths):
    body = {"flow_id": published(admin, noop()), "name": "x", **more}
    answer = admin.post("webhooks", json=body)
    problem(answer, status)
    if paths:
        assert fault_paths(answer, status) == paths
    assert admin.get("webhooks").json()["total"] == 0


def test_their_number_is_bounded(stack, hook):
    stack.sql("""INSERT INTO control.webhook (id, tenant, flow_id, name, enabled, timeout_s, secret, created_by)
                 SELECT gen_random_uuid(), tenant, flow_id, name, true, 60, secret, created_by
                 FROM control.webhook, generate_series(1, 99) WHERE id = %s""", hook.id)
    problem(hook.admin.post("webhooks", json={"flow_id": hook.made["flow_id"], "name": "x"}), 409)


def test_roles_and_shares(stack, hook):
    viewer, editor = stack.user(hook.admin, "viewer"), stack.user(hook.admin, "editor")
    path = f"webhooks/{hook.id}"
    assert hook.secret not in checked(viewer.get(path), 200).text
    for answer in (viewer.put(path, json={"name": "b"}), viewer.delete(path), viewer.post(f"{path}/rotate"),
                   viewer.post("webhooks", json={"flow_id": hook.made["flow_id"], "name": "x"})):
        problem(answer, 403)
    checked(editor.put(path, json={"name": "b"}), 200)
    checked(hook.admin.put(f"flows/{hook.made['flow_id']}/sharing", json={"visibility": "private"}), 200)
    problem(editor.get(path), 404)
    problem(editor.delete(path), 404)
    assert editor.get("webhooks").json()["total"] == 0
    assert fault_paths(editor.post("webhooks", json={"flow_id": hook.made["flow_id"], "name": "x"})) == ["flow_id"]
    checked(hook.admin.put(f"flows/{hook.made['flow_id']}/sharing", json={
        "shares": [{"user_id": editor.user_id, "access": "view"}]}), 200)
    checked(editor.get(path), 200)
    problem(editor.put(path, json={"name": "c"}), 403)


def test_another_tenants_ids_are_unknown(stack, hook):
    other, path = stack.tenant(), f"webhooks/{hook.id}"
    for answer in (other.get(path), other.put(path, json={"name": "x"}), other.delete(path), other.post(f"{path}/rotate"),
                   other.get(f"{path}/deliveries")):
        problem(answer, 404)
    assert other.get("webhooks", params={"flow_id": hook.made["flow_id"]}).json()["total"] == 0
    assert fault_paths(other.post("webhooks", json={"flow_id": hook.made["flow_id"], "name": "x"})) == ["flow_id"]
    hook.start(BODY)


def test_a_sealed_secret_opens_nowhere_else(stack, hook):
    """Whoever can write the database cannot put one webhook's secret into another's place."""
    other = Hook(hook.admin, hook.made["flow_id"])
    stack.sql("UPDATE control.webhook SET secret = (SELECT secret FROM control.webhook WHERE id = %s) WHERE id = %s",
              hook.id, other.id)
    problem(other.send(BODY, secret=hook.secret), 500)
    assert runs_of(hook) == []


def test_a_tenants_role_reaches_its_own_and_no_secrets(stack, hook):
    """Even SQL of one's own inside a tenant's transaction: PostgreSQL's rights end it."""
    other = stack.tenant()
    hook.start(BODY)
    with stack.postgres() as connection:
        def as_other(text):
            with connection.transaction():
                connection.execute(f"SET LOCAL ROLE t_{other.tenant}")
                return connection.execute(text).fetchall()
        for table in ("webhook", "webhook_seen", "webhook_delivery", "outgoing_webhook", "out_delivery"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                as_other(f"SELECT * FROM control.{table}")
        for view in ("my_webhook", "my_webhook_delivery", "my_outgoing_webhook", "my_out_delivery"):
            assert as_other(f"SELECT * FROM control.{view}") == []
            with pytest.raises((psycopg.errors.InsufficientPrivilege, psycopg.errors.ObjectNotInPrerequisiteState)):
                as_other(f"DELETE FROM control.{view} RETURNING 1")
        for call in (f"hook_find('{hook.id}')", "out_claim('{}')", "out_report('[]')", "hook_refused('{}')", "hooks_tidy('{}')",
                     f"end_hooks({hook.admin.tenant}, '{hook.id}', 'failed')", f"tenant_key_of({hook.admin.tenant})"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                as_other(f"SELECT control.{call}")
        for call in ("webhook_drop('{}', '%s')", "webhook_rotate('{}', '{\"params\": {\"id\": \"%s\"}}')",
                     "outgoing_drop('{}', '%s')", "outgoing_test('{}', '%s')",
                     "outgoing_redeliver('{}', '%s', gen_random_uuid())",
                     "webhook_change('{}', '{\"params\": {\"id\": \"%s\"}, \"body\": {}}')"):
            with pytest.raises(psycopg.Error) as refused:
                as_other(f"SELECT control.{call % hook.id}")
            assert refused.value.sqlstate == "WL404", call
    hook.start(b"it is still there")


def test_secrets_stay_where_they_are(stack, hook):
    hook.start(BODY)
    problem(hook.send(BODY, secret="whsec_wrong"), 401)
    stored = stack.sql("SELECT row_to_json(w)::text FROM control.webhook w WHERE id = %s", hook.id)[0][0]
    audited = stack.sql("SELECT string_agg(metadata::text, '') FROM control.audit_outbox WHERE tenant = %s",
                        hook.admin.tenant)[0][0] or ""
    assert hook.secret not in stored and hook.secret not in audited
    for log in (stack.home / "log").iterdir():
        assert hook.secret not in log.read_text(errors="replace"), log


# ---- the log of deliveries ----------------------------------------------------------------------------------------

def test_deliveries_by_pages(hook):
    runs = [hook.start({"n": n}) for n in range(5)]
    seen, cursor = [], None
    for _ in range(3):
        params = {"limit": 2, **({"cursor": cursor} if cursor else {})}
        page = checked(hook.admin.get(f"webhooks/{hook.id}/deliveries", params=params), 200).json()
        seen += [one["execution_id"] for one in page["deliveries"]]
        cursor = page["page_info"]["next_cursor"]
    assert seen == runs[::-1] and cursor is None
    problem(hook.admin.get(f"webhooks/{hook.id}/deliveries", params={"cursor": "xyz"}), 400)


def test_rubbish_does_not_fill_the_log(stack, hook):
    hook.start(BODY)
    for number in range(120):
        problem(hook.send(b"%d" % number, secret="whsec_wrong"), 401)
    count = stack.sql("SELECT count(*) FROM control.webhook_delivery WHERE hook = %s AND outcome = 'refused'", hook.id)[0][0]
    assert 20 <= count <= 60
    hook.start(b"still heard")


def test_old_deliveries_are_let_go(stack, hook):
    hook.start(BODY)
    stack.sql("""INSERT INTO control.webhook_delivery (id, hook, received_at, outcome, status, ip)
                 SELECT gen_random_uuid(), %s, now() - n * interval '1 hour', CASE n %% 2 WHEN 0 THEN 'refused' ELSE 'accepted' END,
                        202, '' FROM generate_series(1, 1000) n""", hook.id)
    stack.sql("UPDATE control.webhook_seen SET until = now() - interval '1 s' WHERE hook = %s", hook.id)
    stack.sql("SELECT control.hooks_tidy('{\"keep\": 50, \"keep_refused\": 7, \"pending\": 10}')")
    kept = dict(stack.sql("SELECT outcome, count(*) FROM control.webhook_delivery WHERE hook = %s GROUP BY 1", hook.id))
    assert kept == {"accepted": 50, "refused": 7}
    assert stack.sql("SELECT count(*) FROM control.webhook_seen WHERE hook = %s", hook.id)[0][0] == 0
    assert stack.sql("""SELECT count(*) FROM control.webhook_delivery
                        WHERE received_at < now() - interval '30 days'""")[0][0] == 0


def test_what_it_does_is_audited(stack, hook):
    checked(hook.admin.put(f"webhooks/{hook.id}", json={"name": "b"}), 200)
    checked(hook.admin.post(f"webhooks/{hook.id}/rotate"), 200)
    checked(hook.admin.delete(f"webhooks/{hook.id}"), 204)

    def actions():
        entries = checked(hook.admin.get("audit-log", params={"limit": 50}), 200).json()["entries"]
        return {"webhook.create", "webhook.update", "webhook.rotate", "webhook.delete"} <= {
            entry["action"] for entry in entries if entry["resource_id"] == hook.id}
    wait_until(actions, "its entries in the audit log")


def test_calls_a_minute_are_bounded():
    """By signed calls alone: who cannot sign takes nothing from who can."""
    with Stack("hook-rate", env={"WINDLASS_HOOK_CALLS_PER_MINUTE": "5", "WINDLASS_WEB_WORKERS": "1"}) as slow:
        hook = Hook(admin := slow.tenant(), published(admin, noop()))
        for number in range(20):
            problem(hook.send(b"%d" % number, secret="whsec_wrong"), 401)
        statuses = [hook.send(b"%d" % number) for number in range(12)]
        assert [answer.status_code for answer in statuses] == [202] * 5 + [429] * 7
        assert 1 <= int(statuses[-1].headers["Retry-After"]) <= 60
        other = Hook(admin, hook.made["flow_id"])
        other.start(BODY)


def test_who_cannot_sign_is_turned_away_after_a_while():
    """By address and hook: others, and his calls of other hooks, are looked at as before."""
    with Stack("hook-refusals", env={"WINDLASS_HOOK_REFUSALS_PER_MINUTE": "5", "WINDLASS_WEB_WORKERS": "1"}) as strict:
        hook = Hook(admin := strict.tenant(), published(admin, noop()))
        hook.start(BODY)
        statuses = [hook.send(b"%d" % number, secret="whsec_wrong") for number in range(10)]
        assert [answer.status_code for answer in statuses] == [401] * 5 + [429] * 5
        assert 1 <= int(statuses[-1].headers["Retry-After"]) <= 60
        problem(statuses[-1], 429)
        assert admin.http.post(hook.path, content=b"unsigned").status_code == 429
        elsewhere = httpx.HTTPTransport(local_address="127.0.0.2")
        with httpx.Client(transport=elsewhere, base_url=str(admin.http.base_url)) as other:
            signed = {"Windlass-Signature": signature(hook.secret, b"good")}
            assert checked(other.post(hook.path, content=b"good", headers=signed), 202)
        Hook(admin, hook.made["flow_id"]).start(BODY)


# ---- the guide --------------------------------------------------------------------------------------------------

def test_the_guides_commands_do_what_they_say(stack, admin):
    """The first two blocks of shell in docs/guides/webhooks.md, as a reader would type them."""
    guide = (ROOT / "docs" / "guides" / "webhooks.md").read_text()
    blocks = re.findall(r"```bash\n(.*?)```", guide, re.DOTALL)
    known = {"PATH": os.environ["PATH"], "WINDLASS": stack.urls["web"], "TOKEN": admin.access, "FLOW": published(admin, noop())}

    def typed(block):
        done = subprocess.run(["bash", "-euc", block], env=known, capture_output=True, text=True, timeout=60, check=True)
        return json.loads(done.stdout)
    made = typed(blocks[0])["webhook"]
    known |= {"SECRET": made["secret"], "HOOK_PATH": made["path"]}
    result = typed(blocks[1])
    assert result["status"] == "succeeded" and result["outputs"] == {"order": 7, "shop": "north"}
