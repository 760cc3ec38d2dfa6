"""How calls of the gateway end that do not end by themselves: a server that is told to stop, clients that stop reading, too
many at once, answers that come too late; and providers that change between two calls. What was used is always written down."""

import concurrent.futures
import contextlib
import http.client
import json
import signal
import socket
import threading
import time
from urllib.parse import urlsplit

import openai
import pytest

from kit import models as made
from kit.client import checked, problem
from kit.model_server import ModelServer, Turn
from kit.stack import Stack
from kit.waiting import wait_until

USER = [{"role": "user", "content": "What?"}]
USAGE = {"prompt": 30, "completion": 12}
AT_ONCE = 3
DRAIN_MS = 6000


@pytest.fixture(scope="module")
def hasty():
    """One worker, small bounds: what they do is seen at once."""
    with Stack("gateway-ends", env={"WINDLASS_WEB_WORKERS": "1", "WINDLASS_TENANT_GATEWAY_CALLS": str(AT_ONCE),
                                    "WINDLASS_GATEWAY_STALL_MS": "1500", "WINDLASS_DRAIN_MS": str(DRAIN_MS)}) as running:
        yield running


@pytest.fixture
def models():
    with ModelServer() as server:
        yield server


@pytest.fixture
def admin(hasty, models):
    admin = hasty.tenant()
    admin.provider = made.provider(admin, models)
    return admin


@contextlib.contextmanager
def talking(hasty, api):
    key = checked(api.post("api-keys", json={"name": "ends", "role": "executor"}), 201).json()["key"]
    with openai.OpenAI(base_url=hasty.urls["web"] + "/v1", api_key=key, max_retries=0, timeout=60) as client:
        yield client


@pytest.fixture
def client(hasty, admin):
    with talking(hasty, admin) as client:
        yield client


def ask(client, stream=False, **more):
    return client.chat.completions.create(model="scripted-1", messages=USER, stream=stream, **more)


def ledger(hasty, tenant, count):
    """The tenant's calls by now, once there are so many and none is open."""
    def settled():
        rows = hasty.sql("SELECT state, fault, prompt, completion, cost FROM control.model_call WHERE tenant = %s", tenant)
        return rows if len(rows) == count and all(row[0] != "open" for row in rows) else None
    return [dict(zip(("state", "fault", "prompt", "completion", "cost"), row)) for row in
            wait_until(settled, "the ledger being settled", 40)]


def test_no_more_than_so_many_at_once(hasty, admin, models, client):
    """One tenant's calls that wait are no other's matter; when they have ended there is room again."""
    gate = threading.Event()
    models.answers(lambda asked: Turn("at last", usage=USAGE, gate=gate))
    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        waiting = [pool.submit(ask, client) for _ in range(AT_ONCE)]
        wait_until(lambda: len(models.asked) == AT_ONCE, "the calls being made", 20)
        with pytest.raises(openai.RateLimitError) as refused:
            ask(client)
        assert int(refused.value.response.headers["retry-after"]) > 0
        other = hasty.tenant()
        with talking(hasty, other) as stranger:
            assert stranger.chat.completions.create(model="Demo/demo", messages=USER).choices[0].message.content
        gate.set()
        assert [one.result(30).choices[0].message.content for one in waiting] == ["at last"] * AT_ONCE
    for _ in range(2 * AT_ONCE):            # a call that has its answer is none that is under way
        assert ask(client).choices[0].message.content == "at last"
    assert {(row["state"], row["prompt"]) for row in ledger(hasty, admin.tenant, 3 * AT_ONCE)} == {("settled", 30)}


def raw_stream(hasty, key):
    """A connection whose small buffer is soon full, with a stream on it."""
    url = urlsplit(hasty.urls["web"])
    connection = http.client.HTTPConnection(url.hostname, url.port, timeout=60)
    connection.sock = socket.socket()
    connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 << 10)
    connection.sock.settimeout(60)
    connection.sock.connect((url.hostname, url.port))
    connection.request("POST", "/v1/chat/completions", json.dumps({"model": "scripted-1", "messages": USER, "stream": True}),
                       {"Content-Type": "application/json", "Authorization": f"Bearer {key}"})
    return connection


def test_a_client_that_stops_reading_is_cut(hasty, admin, models):
    """Its buffers are full, so the model's server is held up; then the client is cut and the call ends, paid."""
    models.answers(lambda asked: Turn("more ", endless=True))
    connection = raw_stream(hasty, admin.access)
    answer = connection.getresponse()
    assert answer.status == 200 and answer.read(100)
    row, = ledger(hasty, admin.tenant, 1)
    assert (row["state"], row["fault"]) == ("settled", "cancelled") and row["completion"] > 0
    with contextlib.suppress(http.client.IncompleteRead, ConnectionError):
        while answer.read(1 << 20):         # what was on its way, and then the end: no more comes
            pass
    connection.close()


def test_a_client_that_goes_in_mid_stream_has_paid(hasty, admin, models, client):
    """In money too, by the price of the model that was asked for."""
    provider = checked(admin.get(f"llm-providers/{admin.provider}"), 200).json()["llm_provider"]["name"]
    models.answers(lambda asked: Turn("more ", endless=True, pause_s=0.002))
    stream = client.chat.completions.create(model=f"{provider}/gpt-4o-mini", messages=USER, stream=True)
    for _, chunk in zip(range(20), stream):
        assert chunk.choices
    stream.close()
    row, = ledger(hasty, admin.tenant, 1)
    assert (row["state"], row["fault"]) == ("settled", "cancelled") and row["completion"] >= 5 and row["cost"] > 0
    used = checked(admin.get("usage/llm"), 200).json()["totals"]
    assert used["completion_tokens"] == row["completion"] and used["cost"] > 0 and used["failed"] == 1


@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_that_comes_too_late(hasty, models, stream):
    """Before its first word it has a status; the time that a provider is given counts for both."""
    admin = hasty.tenant()
    made.provider(admin, models, timeout_s=1)
    models.answers(lambda asked: Turn("late", wait_s=30))
    with talking(hasty, admin) as client, pytest.raises(openai.APIStatusError) as refused:
        ask(client, stream)
    assert refused.value.status_code == 504
    row, = ledger(hasty, admin.tenant, 1)
    assert row["fault"] == "model_timeout"


def test_a_stream_that_takes_too_long(hasty, models):
    admin = hasty.tenant()
    made.provider(admin, models, timeout_s=2)
    models.answers(lambda asked: Turn("more ", endless=True, pause_s=0.02))
    with talking(hasty, admin) as client, pytest.raises(openai.APIError) as broken:
        for chunk in ask(client, stream=True):
            assert chunk.choices
    assert not isinstance(broken.value, openai.APIStatusError)      # the status was 200 by then
    row, = ledger(hasty, admin.tenant, 1)
    assert row["fault"] == "model_timeout" and row["completion"] > 0


def test_a_change_of_a_provider_counts_from_the_next_call_on(admin, models, client):
    """Though the gateway remembers providers: another key, another address, none at all, a new first one."""
    for _ in range(3):
        assert ask(client).choices[0].message.content == "ok"
    where = f"llm-providers/{admin.provider}"
    checked(admin.put(where, json={"api_credentials": {"api_key": "sk-another-0123456789"}}), 200)
    ask(client)
    assert models.asked[-1].headers["authorization"] == "Bearer sk-another-0123456789"
    with ModelServer() as second:
        config = checked(admin.get(where), 200).json()["llm_provider"]["config"]
        checked(admin.put(where, json={"config": {**config, "base_url": second.base("openai")},
                                       "api_credentials": {"api_key": made.KEY}}), 200)
        before = len(models.asked)
        ask(client)
        assert len(models.asked) == before and len(second.asked) == 1
        checked(admin.put(where, json={"is_active": False}), 200)
        with pytest.raises(openai.NotFoundError):       # the demo is left, which has no such model
            ask(client)
        fresh = made.provider(admin, models)
        ask(client)
        assert len(models.asked) == before + 1 and len(second.asked) == 1
        checked(admin.delete(f"llm-providers/{fresh}"), 204)
        with pytest.raises(openai.NotFoundError):
            ask(client)
        assert len(models.asked) == before + 1 and len(second.asked) == 1


def drained(hasty, pid):
    """Until another web server answers."""
    def answers():
        with contextlib.suppress(OSError):
            url = urlsplit(hasty.urls["web"])
            connection = http.client.HTTPConnection(url.hostname, url.port, timeout=5)
            connection.request("GET", "/api/v1/health")
            return hasty.pid("web") not in (None, pid) and connection.getresponse().status < 500
        return False
    wait_until(answers, "the web server being back", 60)


def test_a_server_that_is_told_to_stop_lets_calls_end(hasty, admin, models, client):
    """One answer and one stream come whole; the call that would go on for ever is ended in time; all three are paid."""
    gate = threading.Event()
    turns = {"whole": Turn("whole", usage=USAGE, gate=gate), "stream": Turn("one two three four", usage=USAGE, pause_s=0.15),
             "ever": Turn("more ", endless=True, pause_s=0.01)}
    models.answers(lambda asked: turns[asked.last])

    def talk(word, stream):
        return client.chat.completions.create(model="scripted-1", messages=[{"role": "user", "content": word}], stream=stream)

    def listen(word):
        text = ""
        for chunk in talk(word, True):
            text += "".join(choice.delta.content or "" for choice in chunk.choices)
        return text
    pid = hasty.pid("web")
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        whole, stream, ever = pool.submit(talk, "whole", False), pool.submit(listen, "stream"), pool.submit(listen, "ever")
        wait_until(lambda: len(models.asked) == 3, "the calls being made", 20)
        began = time.monotonic()
        hasty.kill("web", signal.SIGTERM)
        gate.set()
        assert stream.result(30) == "one two three four"
        assert whole.result(30).choices[0].message.content == "whole"
        with pytest.raises((openai.APIError, openai.APIConnectionError)):
            ever.result(30)
        assert time.monotonic() - began >= DRAIN_MS / 1000 / 2          # it was not cut off at once
    rows = ledger(hasty, admin.tenant, 3)
    assert sorted(row["fault"] for row in rows) == ["", "", "cancelled"]
    assert all(row["state"] == "settled" and row["completion"] > 0 for row in rows)
    drained(hasty, pid)
