"""A sender that tries again until it is answered starts each run once, whatever dies meanwhile; and each end is told."""

import signal
import threading
import time

import pytest

from kit.client import UNREACHABLE, checked
from kit.flows import Flow, ex
from kit.hooks import Hook, Receiver, published
from kit.stack import SHORT_LEASES, Stack
from kit.waiting import wait_until

EVENTS = 60


@pytest.fixture(scope="module")
def stack():
    with Stack("webhook-faults", env={"WINDLASS_HOOK_RETRY_MS": "300", **SHORT_LEASES}, schedulers=2) as running:
        yield running


def send_until_taken(hook, number, started):
    """As a sender does: the same delivery again, signed anew, until it is answered 202."""
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        try:
            answer = hook.send({"n": number}, delivery=f"evt-{number}")
            if answer.status_code == 202:
                started.setdefault(number, set()).add(answer.json()["execution_id"])
                return
        except UNREACHABLE:
            pass
        time.sleep(0.2)


def test_events_and_ends_survive_what_dies(stack):
    admin = stack.tenant()
    hook = Hook(admin, published(admin, Flow().output(ex(".inputs.body.n"))))
    started = {}
    with Receiver() as receiver:
        path = receiver.path()
        checked(admin.post("outgoing-webhooks", json={"name": "ends", "url": receiver.url(path), "events": [
            "succeeded", "failed", "cancelled", "timeout"]}), 201)
        threads = [threading.Thread(target=lambda part=part: [send_until_taken(hook, number, started)
                                                              for number in range(part, EVENTS, 6)]) for part in range(6)]
        for thread in threads:
            thread.start()
        for name in ("web", "scheduler-1", "postgres", "redis", "scheduler-2", "web", "supervisor-1"):
            time.sleep(1)
            stack.kill(name, signal.SIGKILL)
        for thread in threads:
            thread.join(120)
        assert sorted(started) == list(range(EVENTS)) and all(len(ids) == 1 for ids in started.values())
        by_id = {next(iter(ids)): number for number, ids in started.items()}
        runs = stack.sql(f"SELECT id, inputs->'body'->>'n' FROM t_{admin.tenant}.executions")
        assert sorted((str(eid), int(number)) for eid, number in runs) == sorted(by_id.items())

        def all_told():
            told = {}
            for one in receiver.at(path):
                told.setdefault(one.json["execution"]["id"], set()).add(one.id)
            return told if told.keys() == by_id.keys() else None
        told = wait_until(all_told, "the end of each run", 90)
        assert all(len(ids) == 1 for ids in told.values())
        outputs = {one.json["execution"]["id"]: one.json["execution"]["outputs"] for one in receiver.at(path)
                   if one.json["event"] == "succeeded"}
        assert all(by_id[eid] == value for eid, value in outputs.items())
        wait_until(lambda: not stack.sql("SELECT FROM control.out_delivery WHERE state = 'pending' LIMIT 1"), "no more tries", 60)
