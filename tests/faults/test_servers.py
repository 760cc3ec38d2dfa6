"""The servers behind Windlass go away and come back: Redis emptied, PostgreSQL and document server restarted."""

import signal
import time

import httpx
import pytest

from kit.client import checked, problem
from kit.fault import under_load
from kit.flows import noop
from kit.waiting import wait_until

pytestmark = pytest.mark.long


def test_redis_emptied_under_load(stack, effects):
    with under_load(stack, effects) as load:
        for _ in range(2):
            stack.redis().flushall()
            load.await_accepted(10)


def test_redis_restarted_empty_and_without_our_functions(stack, effects):
    with under_load(stack, effects) as load:
        for _ in range(2):
            stack.kill("redis", signal.SIGKILL)
            load.await_accepted(10)


def test_redis_away_for_a_while_accept_goes_on(stack, effects):
    with under_load(stack, effects) as load:
        stack.kill("redis", signal.SIGKILL, hold=True)
        load.await_accepted(10)
        stack.resume("redis")


def test_redis_out_of_memory_accepts_go_on(stack, effects):
    """No function stops half-way when Redis refuses to write; what was accepted meanwhile runs afterwards."""
    server = stack.redis()
    with under_load(stack, effects) as load:
        server.config_set("maxmemory", server.info("memory")["used_memory"])
        load.await_accepted(30)
        server.config_set("maxmemory", 0)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGQUIT], ids=["fast", "immediate"])
def test_postgresql_restarted(stack, effects, number):
    old = stack.pid("postgres")
    with under_load(stack, effects):
        stack.kill("postgres", number)
        stack.await_dead(old)


def test_without_postgresql_the_answer_is_503_and_says_when_to_come_back(stack):
    admin = stack.tenant()
    flow_id = admin.create(noop())
    old = stack.pid("postgres")
    stack.kill("postgres", signal.SIGQUIT, hold=True)
    stack.await_dead(old)
    try:
        answer = wait_until(lambda: status_of(admin, flow_id, 503), "503", 20, forgive=(httpx.HTTPError,))
        problem(answer, 503)
        assert 0 < int(answer.headers["Retry-After"]) <= 60
        ready = admin.get("/readyz")
        assert ready.status_code == 503 and ready.json()["checks"]["postgres"] is False
        checked(admin.get("/healthz"), 200)
    finally:
        stack.resume("postgres")
    wait_until(lambda: admin.get("/readyz").status_code == 200, "readiness after the return", 30, forgive=(httpx.HTTPError,))
    eid = checked(wait_until(lambda: status_of(admin, flow_id, 202), "an accept", 30, forgive=(httpx.HTTPError,)), 202)
    assert admin.wait(eid.json()["execution_id"], 40)["execution"]["status"] == "succeeded"


def status_of(admin, flow_id, wanted):
    answer = admin.execute(flow_id)
    return answer if answer.status_code == wanted else None


def test_the_document_server_down_for_twenty_seconds(stack, effects):
    """Results wait in the spool; no run ends before its results are where they belong."""
    with under_load(stack, effects, per_second=10, cap=100, seconds=90) as load:
        stack.kill("docserver", signal.SIGKILL, hold=True)
        down = time.monotonic()
        try:
            load.await_accepted(20)
            wait_until(lambda: time.monotonic() - down > 20, "twenty seconds", 30)
        finally:
            stack.resume("docserver")
