"""Prefer: wait (RFC 7240) on what starts a run: webhooks here, as they take it with any flow."""

import signal
import threading
import time

import httpx
import pytest

from kit.client import TRUST, UNREACHABLE
from kit.flows import Flow, ex, noop
from kit.hooks import HEADER, Hook, published, signature
from kit.waiting import wait_until

pytestmark = pytest.mark.long


def sleeper(seconds, value="done"):
    return Flow().code("s", f"import time; time.sleep({seconds}); print('\"{value}\"')").output(ex(".nodes.s"))


@pytest.fixture
def hook(admin):
    return Hook(admin, published(admin, noop()))


def test_a_fast_run_is_answered_with_its_result(hook):
    answer = hook.send({"n": 1}, wait=20)
    assert answer.status_code == 200, answer.text
    result = answer.json()
    assert result["status"] == "succeeded" and result["error"] is None
    assert result["outputs"]["body"] == {"n": 1}
    shown = hook.admin.execution(result["execution_id"])["execution"]
    assert shown["outputs"] == result["outputs"]


def test_a_run_that_fails_is_a_result_too(admin):
    hook = Hook(admin, published(admin, Flow().transform("t", ex("error(\"no\")")).output(1)))
    result = hook.send(wait=20).json()
    assert result["status"] == "failed" and result["outputs"] is None
    assert result["error"]["node_id"] == "t" and result["error"]["code"]


def test_a_slow_run_is_waited_for(admin):
    hook = Hook(admin, published(admin, sleeper(2)))
    began = time.monotonic()
    answer = hook.send(wait=25)
    assert answer.status_code == 200 and answer.json()["outputs"] == "done"
    assert time.monotonic() - began >= 2


def test_over_its_time_the_answer_is_202(admin):
    hook = Hook(admin, published(admin, sleeper(6)))
    began = time.monotonic()
    answer = hook.send(wait=1)
    assert answer.status_code == 202 and 0.9 <= time.monotonic() - began < 5
    eid = answer.json()["execution_id"]
    assert answer.headers["Location"] == f"/api/v1/executions/{eid}"
    assert admin.wait(eid)["execution"]["status"] == "succeeded"


def test_a_client_that_goes_holds_up_nothing(admin):
    hook = Hook(admin, published(admin, sleeper(3)))
    with pytest.raises(httpx.ReadTimeout):
        hook.admin.http.post(hook.path, headers={"Prefer": "wait=20", HEADER: signature(hook.secret, b"")}, timeout=0.7)
    run = admin.get("executions").json()["executions"][0]
    assert admin.wait(run["id"])["execution"]["status"] == "succeeded"
    assert hook.send(b"next", wait=20).status_code == 200


@pytest.mark.parametrize("prefer, waits", [
    ("respond-async, wait=20", True), ("WAIT=20", True), ('wait="20"; x=y', True), ("foo; wait=20", False), ("foo, wait=20", True),
    ("wait", False), ("wait=-3", False), ("wait=1e1", False), ("", False), ("wait=0", False)])
def test_the_header_is_read_as_the_rfc_has_it(hook, prefer, waits):
    answer = hook.send(prefer.encode(), headers={"Prefer": prefer, "Content-Type": "text/plain"})
    assert answer.status_code == (200 if waits else 202), answer.text


def test_many_wait_at_once_and_each_gets_its_own(admin):
    hook = Hook(admin, published(admin, Flow().output(ex(".inputs.body.n"))))
    got = {}
    threads = [threading.Thread(target=lambda n=n: got.update({n: hook.send({"n": n}, wait=25).json().get("outputs")}))
               for n in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert got == {n: n for n in range(40)}


def test_it_is_waited_for_across_a_restart_of_redis(stack, admin):
    """The end is told by an event; when that is lost, the last look at the ledger tells it."""
    hook = Hook(admin, published(admin, sleeper(2)))
    got = []
    thread = threading.Thread(target=lambda: got.append(hook.send(wait=8)))
    thread.start()
    time.sleep(1)
    stack.redis().client_kill_filter(_type="pubsub")
    thread.join(40)
    assert got[0].status_code == 200 and got[0].json()["outputs"] == "done"


def test_a_server_that_ends_answers_first(stack, admin):
    hook = Hook(admin, published(admin, sleeper(8)))
    got = []
    thread = threading.Thread(target=lambda: got.append(hook.send(wait=25)))
    thread.start()
    wait_until(lambda: admin.get("executions").json()["executions"], "the run")
    pid = stack.pid("web")
    stack.kill("web", signal.SIGTERM)
    thread.join(15)
    assert got and got[0].status_code == 202, got
    wait_until(lambda: stack.pid("web") not in (None, pid) and admin.get("executions").status_code == 200, "the web server", 30,
               forgive=UNREACHABLE)
    assert admin.wait(got[0].json()["execution_id"], forgive=UNREACHABLE)["execution"]["status"] == "succeeded"


def test_clients_that_left_leave_their_places(admin):
    """More than a tenant may have waiting at once, all for one run; each goes away before it ends."""
    hook = Hook(admin, published(admin, sleeper(15)))
    header = signature(hook.secret, b"")
    left = []

    def leave():
        try:
            httpx.post(admin.url + hook.path, headers={"Prefer": "wait=25", HEADER: header}, timeout=3, trust_env=False,
                       verify=TRUST)
        except httpx.ReadTimeout:
            left.append(True)
    threads = [threading.Thread(target=leave) for _ in range(160)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(left) > 64
    assert len(admin.get("executions").json()["executions"]) == 1
    other = Hook(admin, published(admin, sleeper(1)))
    for number in range(6):
        assert other.send(b"%d" % number, wait=25).status_code == 200


def test_all_who_wait_for_one_run_are_told(admin):
    hook = Hook(admin, published(admin, sleeper(2)))
    header, got = signature(hook.secret, b""), []
    threads = [threading.Thread(target=lambda: got.append(hook.send(header=header, wait=25))) for _ in range(30)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert [answer.status_code for answer in got] == [200] * 30
    assert len({answer.text for answer in got}) == 1 and got[0].json()["outputs"] == "done"
