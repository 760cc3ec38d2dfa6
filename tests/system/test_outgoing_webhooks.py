"""Webhooks that are sent at the end of runs: signed, at least once, tried again, to nobody who must not hear."""

import re
import signal
import time

import pytest

from kit.client import UNREACHABLE, Unexpected, checked, fault_paths, problem
from kit.flows import Flow, ex, noop
from kit.hooks import Receiver, published, signed_by
from kit.stack import SHORT_LEASES, Stack
from kit.waiting import holds_for, wait_until

pytestmark = pytest.mark.long

EVENTS = ["succeeded", "failed", "cancelled", "timeout"]


@pytest.fixture(scope="module")
def stack():
    """Pauses between tries are short: 0.2 s, 1 s, 5 s ... Two schedulers send."""
    with Stack("outgoing", env={"WINDLASS_HOOK_RETRY_MS": "200", **SHORT_LEASES}, schedulers=2) as running:
        yield running


@pytest.fixture(scope="module")
def receiver():
    with Receiver() as server:
        yield server


def make(admin, url, events=("succeeded",), status=201, **more):
    body = {"name": "out", "url": url, "events": list(events), **more}
    answer = checked(admin.post("outgoing-webhooks", json=body), status)
    return answer.json()["outgoing_webhook"] if status == 201 else answer


def deliveries(admin, hook, **params):
    return checked(admin.get(f"outgoing-webhooks/{hook['id']}/deliveries", params=params), 200).json()["deliveries"]


def await_delivery(admin, hook, state, seconds=20, number=0):
    def seen():
        found = deliveries(admin, hook)
        return found[number] if len(found) > number and found[number]["state"] == state else None
    return wait_until(seen, f"a delivery {state}", seconds)


def test_an_end_is_told_signed(admin, receiver):
    path = receiver.path()
    hook = make(admin, receiver.url(path))
    eid = admin.start(noop(), {"word": "Grüße"})
    got = receiver.wait(path)[0]
    run = admin.wait(eid)["execution"]
    assert got.json == {
        "event": "succeeded", "delivery_id": got.id, "created_at": got.json["created_at"],
        "execution": {"id": eid, "flow_id": run["flow_id"], "status": "succeeded", "start_time": run["start_time"],
                      "end_time": run["end_time"], "outputs": {"word": "Grüße"}, "outputs_left_out": False, "error": None}}
    assert signed_by(got.headers["Windlass-Signature"], got.body)(hook["secret"])
    assert got.headers["Content-Type"] == "application/json" and got.headers["Windlass-Event"] == "succeeded"
    shown = await_delivery(admin, hook, "delivered")
    assert shown["id"] == got.id and shown["execution_id"] == eid and shown["attempts"] == 1
    assert shown["last_status"] == 200 and shown["last_error"] is None and shown["next_try_at"] is None
    holds_for(lambda: len(receiver.at(path)) == 1, "one delivery", 1)


def test_only_events_and_flows_that_were_asked_for(admin, receiver):
    good, bad = admin.create(noop()), admin.create(Flow().transform("t", ex("error(1)")).output(1))
    of_bad, of_good, failures = receiver.path(), receiver.path(), receiver.path()
    make(admin, receiver.url(of_bad), EVENTS, flow_id=bad)
    make(admin, receiver.url(of_good), EVENTS, flow_id=good)
    make(admin, receiver.url(failures), ["failed"])
    good_run, bad_run = admin.start(good), admin.start(bad)
    assert receiver.wait(of_good)[0].json["execution"]["id"] == good_run
    told = receiver.wait(of_bad)[0].json["execution"]
    assert told["id"] == bad_run and told["error"]["node_id"] == "t" and told["outputs"] is None
    assert receiver.wait(failures)[0].json["execution"]["id"] == bad_run
    holds_for(lambda: [len(receiver.at(path)) for path in (of_bad, of_good, failures)] == [1, 1, 1], "one each", 1)


def test_a_cancelled_and_an_overdue_run_are_told_too(admin, receiver):
    path = receiver.path()
    make(admin, receiver.url(path), ["cancelled", "timeout"])
    slow = admin.create(Flow().code("s", "import time; time.sleep(60)").output(1))
    first, second = admin.start(slow), admin.start(slow, timeout_s=1)
    wait_until(lambda: admin.status(first) == "running", "a run")
    admin.cancel(first)
    told = {one.json["execution"]["id"]: one.json["event"] for one in receiver.wait(path, 2)}
    assert told == {first: "cancelled", second: "timeout"}


@pytest.mark.parametrize("statuses", [[500, 429, 200], [302, 200], [404, 503, 200]])
def test_it_is_tried_again_until_it_is_taken(admin, receiver, statuses):
    path = receiver.path(*statuses)
    hook = make(admin, receiver.url(path))
    admin.start(noop())
    got = receiver.wait(path, len(statuses))
    assert len({one.id for one in got}) == 1 and len({one.body for one in got}) == 1
    shown = await_delivery(admin, hook, "delivered")
    assert shown["attempts"] == len(statuses)
    assert got[1].at - got[0].at >= 0.15
    holds_for(lambda: len(receiver.at(path)) == len(statuses), "no more tries", 1)


def test_a_redirect_is_not_followed(admin, receiver):
    path = receiver.path(307)
    hook = make(admin, receiver.url(path))
    admin.start(noop())
    receiver.wait(path)
    shown = wait_until(lambda: next((one for one in deliveries(admin, hook) if one["last_status"]), None), "a try")
    assert shown["last_status"] == 307 and "307" in shown["last_error"]
    assert receiver.at("/elsewhere") == []


def test_nobody_there_is_tried_again(admin, receiver):
    with Receiver() as late:
        port = late.port
    hook = make(admin, f"http://127.0.0.1:{port}/x")
    admin.start(noop())
    shown = wait_until(lambda: next((one for one in deliveries(admin, hook) if one["attempts"] > 1), None), "a second try")
    assert shown["state"] == "pending" and shown["last_status"] is None and shown["last_error"]
    assert checked(admin.put(f"outgoing-webhooks/{hook['id']}", json={"enabled": False}), 200)
    assert await_delivery(admin, hook, "failed")["last_error"] == "the webhook was disabled"


def test_no_answer_in_time_is_tried_again(admin, receiver):
    path = receiver.path(-12, 200)
    hook = make(admin, receiver.url(path))
    admin.start(noop())
    got = receiver.wait(path, 2, 30)
    assert got[1].at - got[0].at >= 10
    assert await_delivery(admin, hook, "delivered")["attempts"] == 2


def test_two_schedulers_send_each_once(admin, receiver):
    path = receiver.path()
    hook = make(admin, receiver.url(path))
    flow = admin.create(noop())
    runs = {checked(admin.execute(flow), 202).json()["execution_id"] for _ in range(60)}
    wait_until(lambda: {one["execution_id"] for one in deliveries(admin, hook, limit=100)
                        if one["state"] == "delivered"} == runs, "all deliveries", 40)
    assert sorted(one.json["execution"]["id"] for one in receiver.at(path)) == sorted(runs)


def test_410_disables_the_hook(admin, receiver):
    path = receiver.path(410)
    hook = make(admin, receiver.url(path))
    admin.start(noop())
    shown = await_delivery(admin, hook, "failed")
    assert shown["last_status"] == 410
    assert checked(admin.get(f"outgoing-webhooks/{hook['id']}"), 200).json()["outgoing_webhook"]["enabled"] is False
    admin.wait(admin.start(noop()))
    holds_for(lambda: len(receiver.at(path)) == 1, "nothing more is sent", 1)
    problem(admin.post(f"outgoing-webhooks/{hook['id']}/test"), 409)
    problem(admin.post(f"outgoing-webhooks/{hook['id']}/deliveries/{shown['id']}/redeliver"), 409)


def test_both_secrets_sign_while_they_overlap(admin, receiver):
    path = receiver.path()
    hook = make(admin, receiver.url(path))
    rotated = checked(admin.post(f"outgoing-webhooks/{hook['id']}/rotate", json={"overlap_s": 600}), 200).json()
    assert rotated["secret"] != hook["secret"] and rotated["old_secret_until"]
    checked(admin.post(f"outgoing-webhooks/{hook['id']}/test"), 202)
    got = receiver.wait(path)[0]
    fits = signed_by(got.headers["Windlass-Signature"], got.body)
    assert fits(hook["secret"]) and fits(rotated["secret"])
    newest = checked(admin.post(f"outgoing-webhooks/{hook['id']}/rotate", json={"overlap_s": 0}), 200).json()
    checked(admin.post(f"outgoing-webhooks/{hook['id']}/test"), 202)
    got = receiver.wait(path, 2)[1]
    fits = signed_by(got.headers["Windlass-Signature"], got.body)
    assert fits(newest["secret"]) and not fits(rotated["secret"]) and not fits(hook["secret"])


def test_a_test_event_and_a_redelivery(admin, receiver):
    path = receiver.path(500, 200)
    hook = make(admin, receiver.url(path))
    sent = checked(admin.post(f"outgoing-webhooks/{hook['id']}/test"), 202).json()["delivery"]
    assert sent["event"] == "test" and sent["execution_id"] is None and sent["state"] == "pending"
    got = receiver.wait(path, 2)
    assert got[0].json["event"] == "test" and got[0].json["execution"] is None and got[0].id == sent["id"]
    await_delivery(admin, hook, "delivered")
    again = checked(admin.post(f"outgoing-webhooks/{hook['id']}/deliveries/{sent['id']}/redeliver"), 202).json()["delivery"]
    assert again["id"] == sent["id"]
    assert receiver.wait(path, 3)[2].id == sent["id"]


def test_tests_are_bounded(admin, receiver):
    hook = make(admin, receiver.url(receiver.path()))
    statuses = [admin.post(f"outgoing-webhooks/{hook['id']}/test") for _ in range(12)]
    assert [answer.status_code for answer in statuses] == [202] * 10 + [429] * 2
    assert int(statuses[-1].headers["Retry-After"]) > 0


def test_a_slow_receiver_holds_up_no_other_tenant(stack, admin, receiver):
    slow, quick = receiver.path(-8), receiver.path()
    make(admin, receiver.url(slow))
    other = stack.tenant()
    make(other, receiver.url(quick).replace("127.0.0.1", "localhost"))
    flow = admin.create(noop())
    for _ in range(12):
        admin.execute(flow)
    receiver.wait(slow, 2)
    began = time.monotonic()
    other.start(noop())
    receiver.wait(quick, 1, 6)
    assert time.monotonic() - began < 6


def test_a_slow_receiver_is_known_as_one(stack, admin, receiver):
    """Only half of the senders serve those that were slow or failed; a quick answer makes it well again."""
    path = receiver.path(-2.5, 200)
    hook = make(admin, receiver.url(path))

    def failures():
        return stack.sql("SELECT failures FROM control.outgoing_webhook WHERE id = %s", hook["id"])[0][0]
    admin.start(noop())
    await_delivery(admin, hook, "delivered")
    assert failures() == 1
    admin.start(noop())
    wait_until(lambda: failures() == 0, "a quick answer", 20)


def test_large_outputs_are_left_out(admin, receiver):
    path = receiver.path()
    make(admin, receiver.url(path))
    admin.start(Flow().output(ex('"x" * 100000')))
    told = receiver.wait(path)[0].json["execution"]
    assert told["outputs"] is None and told["outputs_left_out"] is True


# ---- who must not hear ----------------------------------------------------------------------------------------

@pytest.mark.parametrize("url", [
    "http://169.254.169.254/latest/meta-data", "http://10.0.0.1/", "http://[::1]/", "http://[fd00:ec2::254]/",
    "http://[::ffff:10.0.0.1]/", "http://2130706433/", "http://0x7f.1/", "http://0177.0.0.1/", "http://0.0.0.0/",
    "file:///etc/passwd", "gopher://127.0.0.1/x", "ftp://example.org/", "http://user:pw@example.org/", "http:///nobody",
    "javascript:alert(1)", "http://exa mple.org/", "http://192.168.1.1:6379/"])
def test_urls_that_nothing_is_sent_to(admin, url):
    answer = admin.post("outgoing-webhooks", json={"name": "x", "url": url, "events": ["failed"]})
    assert fault_paths(answer, 422) == ["url"], url


def test_a_name_of_a_private_address_is_refused_when_it_is_sent_to(receiver):
    """Names are resolved when something is sent: the address that would be connected to is what counts."""
    with Stack("outgoing-closed", env={"WINDLASS_EGRESS_ALLOW": ""}) as closed:
        admin, path = closed.tenant(), receiver.path()
        assert fault_paths(make(admin, receiver.url(path), status=422), 422) == ["url"]
        hook = make(admin, receiver.url(path).replace("127.0.0.1", "localhost"))
        admin.start(noop())
        shown = await_delivery(admin, hook, "failed")
        assert shown["last_status"] is None and shown["last_error"] and shown["attempts"] == 1
        assert receiver.at(path) == []


def test_private_flows_are_told_to_their_own_hooks_and_to_admins(stack, admin, receiver):
    editor = stack.user(admin, "editor")
    flow = admin.create(noop())
    checked(admin.put(f"flows/{flow}/sharing", json={"visibility": "private"}), 200)
    of_editor, of_admin = receiver.path(), receiver.path()
    theirs = make(editor, receiver.url(of_editor))
    ours = make(admin, receiver.url(of_admin))
    problem(make(editor, receiver.url(of_editor), status=422, flow_id=flow), 422)
    admin.start(flow)
    receiver.wait(of_admin)
    holds_for(lambda: receiver.at(of_editor) == [], "nothing of a private flow", 1)
    assert deliveries(admin, theirs) == []
    assert len(deliveries(admin, ours)) == 1
    assert deliveries(editor, ours) == []   # they name runs that he may not know of


def test_a_changed_url_does_not_get_what_was_meant_for_another(stack, admin, receiver):
    """What waits for a webhook of an admin is not told to a url that somebody else put there."""
    editor = stack.user(admin, "editor")
    flow = admin.create(noop())
    checked(admin.put(f"flows/{flow}/sharing", json={"visibility": "private"}), 200)
    first, second = receiver.path(500), receiver.path()
    hook = make(admin, receiver.url(first))
    admin.start(flow)
    receiver.wait(first, 2)
    checked(editor.put(f"outgoing-webhooks/{hook['id']}", json={"url": receiver.url(second)}), 200)
    assert "private" in await_delivery(admin, hook, "failed", 30)["last_error"]
    assert receiver.at(second) == []


def test_a_flow_that_becomes_private_is_told_to_who_may_see_it(stack, admin, receiver):
    owner, editor = stack.user(admin, "editor", "owner"), stack.user(admin, "editor", "other")
    flow = owner.create(noop())
    of_owner, of_editor = receiver.path(), receiver.path()
    make(owner, receiver.url(of_owner), flow_id=flow)
    hook = make(editor, receiver.url(of_editor), flow_id=flow)
    sharing = {"visibility": "private", "shares": [{"user_id": editor.user_id, "access": "view"}]}
    checked(owner.put(f"flows/{flow}/sharing", json=sharing), 200)
    owner.start(flow)
    receiver.wait(of_editor)
    checked(owner.put(f"flows/{flow}/sharing", json={"shares": []}), 200)
    owner.start(flow)
    receiver.wait(of_owner, 2)
    holds_for(lambda: len(receiver.at(of_editor)) == 1, "nothing more for who may not see it", 1)
    checked(admin.put(f"outgoing-webhooks/{hook['id']}", json={"url": receiver.url(of_editor)}), 200)
    owner.start(flow)
    receiver.wait(of_editor, 2)   # now an admin means it


def test_another_tenants_ids_are_unknown(stack, admin, receiver):
    hook = make(admin, receiver.url(receiver.path()))
    sent = checked(admin.post(f"outgoing-webhooks/{hook['id']}/test"), 202).json()["delivery"]
    other = stack.tenant()
    path = f"outgoing-webhooks/{hook['id']}"
    for answer in (other.get(path), other.put(path, json={"name": "mine"}), other.delete(path), other.post(f"{path}/rotate"),
                   other.post(f"{path}/test"), other.get(f"{path}/deliveries"),
                   other.post(f"{path}/deliveries/{sent['id']}/redeliver")):
        problem(answer, 404)
    assert other.get("outgoing-webhooks").json()["total"] == 0
    flow = admin.create(noop())
    assert fault_paths(make(other, receiver.url("/x"), status=422, flow_id=flow), 422) == ["flow_id"]
    mine = make(other, receiver.url("/x"))
    problem(other.post(f"outgoing-webhooks/{mine['id']}/deliveries/{sent['id']}/redeliver"), 404)


def test_the_secret_is_told_once(stack, admin, receiver):
    hook = make(admin, receiver.url(receiver.path()))
    assert hook["secret"].startswith("whsec_") and len(hook["secret"]) == 49
    for answer in (admin.get(f"outgoing-webhooks/{hook['id']}"), admin.get("outgoing-webhooks"),
                   admin.put(f"outgoing-webhooks/{hook['id']}", json={"name": "other"})):
        assert hook["secret"] not in checked(answer, 200).text
    stored = stack.sql("SELECT secret FROM control.outgoing_webhook WHERE id = %s", hook["id"])[0][0]
    assert stored.startswith("v1.") and hook["secret"] not in stored
    for log in (stack.home / "log").iterdir():
        assert hook["secret"] not in log.read_text(errors="replace"), log


def test_lost_updates_are_refused(admin, receiver):
    hook = make(admin, receiver.url("/x"))
    path = f"outgoing-webhooks/{hook['id']}"
    changed = checked(admin.put(path, json={"name": "b"}, headers={"If-Match": '"1"'}), 200)
    assert changed.headers["ETag"] == '"2"' and changed.json()["outgoing_webhook"]["name"] == "b"
    problem(admin.put(path, json={"name": "c"}, headers={"If-Match": '"1"'}), 412)
    assert checked(admin.put(path, json={"flow_id": None, "events": ["failed"]}), 200).json()["outgoing_webhook"]["events"] == [
        "failed"]
    checked(admin.delete(path), 204)
    problem(admin.get(path), 404)


# ---- nothing is lost ------------------------------------------------------------------------------------------

def test_a_scheduler_that_dies_loses_nothing(stack, admin, receiver):
    """Killed while it sends: each end is told at least once, under one id, and not again after it was taken."""
    path = receiver.path(*[-0.3] * 30, 200)
    hook = make(admin, receiver.url(path))
    flow = admin.create(noop())
    runs = [checked(admin.execute(flow), 202).json()["execution_id"] for _ in range(12)]
    for eid in runs:
        admin.wait(eid)
    receiver.wait(path, 2)
    for name in stack.names("scheduler"):
        stack.kill(name)

    def all_delivered():
        shown = deliveries(admin, hook, limit=50)
        return shown if len(shown) == 12 and all(one["state"] == "delivered" for one in shown) else None
    shown = wait_until(all_delivered, "all deliveries", 90)
    assert sorted(one["execution_id"] for one in shown) == sorted(runs)
    told = {}
    for one in receiver.at(path):
        told.setdefault(one.json["execution"]["id"], set()).add(one.id)
    assert {eid: len(ids) for eid, ids in told.items()} == {eid: 1 for eid in runs}
    count = len(receiver.at(path))
    holds_for(lambda: len(receiver.at(path)) == count, "nothing is sent once more", 2)


def test_a_scheduler_that_is_stopped_finishes_what_it_sends(stack, admin, receiver):
    path = receiver.path(-1.5, 200)
    hook = make(admin, receiver.url(path))
    admin.start(noop())
    receiver.wait(path)
    for name in stack.names("scheduler"):
        stack.kill(name, signal.SIGTERM)
    assert await_delivery(admin, hook, "delivered", 30)["attempts"] == 1
    assert len(receiver.at(path)) == 1


def test_a_database_that_goes_away_loses_nothing(stack, admin, receiver):
    path = receiver.path(-1, 200)
    hook = make(admin, receiver.url(path))
    flow = admin.create(noop())
    runs = [checked(admin.execute(flow), 202).json()["execution_id"] for _ in range(5)]
    receiver.wait(path)
    stack.kill("postgres", signal.SIGKILL)
    wait_until(lambda: sorted(one["execution_id"] for one in deliveries(admin, hook) if one["state"] == "delivered") ==
               sorted(runs), "all deliveries", 90, forgive=(*UNREACHABLE, Unexpected))
    told = {}
    for one in receiver.at(path):
        told.setdefault(one.json["execution"]["id"], set()).add(one.id)
    assert sorted(told) == sorted(runs) and all(len(ids) == 1 for ids in told.values())


def test_metrics_count_what_was_sent(stack, admin, receiver):
    def counted(name):
        """What each scheduler has counted: one that ended lately still stands in the list."""
        text = checked(stack.api().get("/metrics"), 200).text
        return {who: int(value) for who, value in re.findall(rf'windlass_scheduler_{name}_total(\{{[^}}]*\}}) (\d+)', text)}

    def grew(name, before):
        return any(value > before.get(who, 0) for who, value in counted(name).items())

    before = counted("hooks_delivered"), counted("hooks_not_taken")
    hook = make(admin, receiver.url(receiver.path(500, 200)))
    admin.start(noop())
    await_delivery(admin, hook, "delivered")
    wait_until(lambda: grew("hooks_delivered", before[0]) and grew("hooks_not_taken", before[1]), "both counters", 30)
