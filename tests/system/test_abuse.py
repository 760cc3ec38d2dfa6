"""What one client may take from others: logins, streams, the life of a login. The limits are small in this stack."""

import base64
import hashlib
import hmac
import json
import os
import subprocess
import threading
import time

import httpx
import pytest

from kit.cli import Cli
from kit.client import PASSWORD, checked, parse_events, problem
from kit.flows import Flow, noop
from kit.stack import ROOT, Stack, alive, descendants
from kit.waiting import wait_until

pytestmark = pytest.mark.long

STREAMS, OF_LOGIN, OF_ADDRESS = 3, 5, 40


@pytest.fixture(scope="module")
def strict():
    """A stack with one web worker, so that its limits can be counted."""
    with Stack("strict", env={"WINDLASS_WEB_WORKERS": "1", "WINDLASS_TENANT_STREAMS": str(STREAMS),
                              "WINDLASS_LOGINS_PER_MINUTE": str(OF_LOGIN),
                              "WINDLASS_ADDRESS_LOGINS_PER_MINUTE": str(OF_ADDRESS)}) as running:
        yield running


def from_address(stack, number):
    """A client at an address of its own: all of 127.0.0.0/8 is this host."""
    return httpx.Client(base_url=stack.urls["web"], trust_env=False, timeout=30,
                        transport=httpx.HTTPTransport(local_address=f"127.0.0.{number}"))


def log_in(client, email, password=PASSWORD, **more):
    return client.post("/api/v1/auth/login", json={"email": email, "password": password, **more})


def strangers(stack, email, count):
    """Tenants that others have registered with somebody's e-mail address and a password of their own."""
    for _ in range(count):
        other = stack.api()
        other.register()
        stack.sql("""UPDATE control.app_user SET email = %s, password_hash = %s WHERE id = %s""", email,
                  stack.foreign_hash, other.user_id)


@pytest.fixture
def crowded(stack):
    """The session's stack, with the hash of a password that nobody here uses."""
    with from_address(stack, 77) as client:
        slug = f"foreign{os.getpid()}-{time.monotonic_ns()}"
        checked(client.post("/api/v1/auth/register", json={
            "email": f"x@{slug}.test", "password": "somebody else's", "tenant_name": "x", "tenant_slug": slug}), 201)
    stack.foreign_hash = stack.sql("SELECT password_hash FROM control.app_user WHERE email = %s", f"x@{slug}.test")[0][0]
    return stack


# ---- logins ----------------------------------------------------------------------------------------------------------

def test_strangers_with_ones_address_do_not_keep_one_out(crowded):
    admin = crowded.tenant()
    strangers(crowded, admin.email, 3)
    assert crowded.api().login(admin.email).tenant == admin.tenant
    crowded.sql("UPDATE control.app_user SET created_at = now() - interval '1 day' WHERE email = %s AND id <> %s",
                admin.email, admin.user_id)
    strangers(crowded, admin.email, 3)
    assert crowded.api().login(admin.email).tenant == admin.tenant
    problem(log_in(crowded.api().http, admin.email, "neither of theirs"), 401)


def test_an_address_of_very_many_tenants_needs_the_slug(crowded):
    admin = crowded.tenant()
    strangers(crowded, admin.email, 8)
    crowded.sql("UPDATE control.app_user SET created_at = now() - interval '1 day' WHERE email = %s AND id <> %s",
                admin.email, admin.user_id)
    assert "tenant_slug" in problem(log_in(crowded.api().http, admin.email), 409)["detail"]
    assert crowded.api().login(admin.email, admin.slug).tenant == admin.tenant


def test_guessing_one_password_is_slowed_down_where_it_comes_from(strict):
    admin = strict.tenant()
    with from_address(strict, 10) as guesser, from_address(strict, 11) as owner:
        for number in range(OF_LOGIN):
            problem(log_in(guesser, admin.email, f"guess number {number}"), 401)
        answer = log_in(guesser, admin.email.upper())   # also with the right one, and however it is written
        problem(answer, 429)
        assert 0 < int(answer.headers["Retry-After"]) <= 60 // OF_LOGIN
        checked(log_in(owner, admin.email), 200)        # nobody can lock the owner out from elsewhere
        problem(log_in(guesser, "somebody@else.test"), 401)


def test_a_flood_of_logins_leaves_the_others_theirs(strict):
    admin = strict.tenant()
    statuses, stop = [], threading.Event()

    def flood(number):
        with from_address(strict, 20) as client:
            while not stop.is_set():
                statuses.append(log_in(client, f"u{number}-{len(statuses)}@flood.test", "x" * 20).status_code)

    threads = [threading.Thread(target=flood, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    try:
        wait_until(lambda: statuses.count(429) > 100, "refusals of the flood", 30)
        wait_until(lambda: "windlass_web_tasks_waiting 0" in strict.api().get("/metrics").text, "its logins to be over", 60)
        with from_address(strict, 21) as other:
            for _ in range(OF_LOGIN):
                checked(log_in(other, admin.email), 200)
            answers = [other.post("/api/v1/auth/register", json={
                "email": "r@flood.test", "password": PASSWORD, "tenant_name": "x", "tenant_slug": admin.slug})
                for _ in range(3)]
            assert [answer.status_code for answer in answers] == [409] * 3
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    with from_address(strict, 20) as client:
        answer = client.post("/api/v1/auth/register", json={
            "email": "r@flood.test", "password": PASSWORD, "tenant_name": "x", "tenant_slug": admin.slug})
        problem(answer, 429)
        assert int(answer.headers["Retry-After"]) > 0


# ---- streams ---------------------------------------------------------------------------------------------------------

def talker():
    """A run that says something all the time."""
    return Flow().code("talk", "import sys, time\nwhile True:\n    print('again', file=sys.stderr, flush=True)\n"
                               "    time.sleep(0.1)").output(1)


class Watcher:
    """A stream that is read by a thread."""

    def __init__(self, api, eid, token=None):
        self.events, self.closed = [], False
        self.api, self.eid, self.token = api, eid, token or api.access
        self.thread = threading.Thread(target=self.read, daemon=True)
        self.thread.start()
        wait_until(lambda: self.events, "the first event", 20)

    def read(self):
        try:
            with httpx.Client(base_url=self.api.url, trust_env=False, timeout=60) as client, client.stream(
                    "GET", f"/api/v1/executions/{self.eid}/stream",
                    headers={"Authorization": f"Bearer {self.token}"}) as answer:
                for event in parse_events(answer.iter_lines()):
                    self.events.append(event)
        finally:
            self.closed = True


def token_for(stack, api, seconds):
    """An access token of the same login that ends sooner: settings allow no less than a minute."""
    key = bytes.fromhex((stack.home / "keys" / "token.key").read_text())
    head, body, _ = api.access.split(".")
    claims = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    claims["exp"] = int(time.time()) + seconds
    body = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    mark = hmac.new(key, f"{head}.{body}".encode(), hashlib.sha256).digest()
    return f"{head}.{body}.{base64.urlsafe_b64encode(mark).decode().rstrip('=')}"


def test_a_log_out_ends_the_streams_of_that_login_alone(strict):
    admin = strict.tenant()
    other = strict.api().login(admin.email)
    eid = admin.start(talker())
    watcher, second = Watcher(admin, eid), Watcher(other, eid)
    checked(admin.post("auth/logout", json={"refresh_token": admin.refresh_token}), 204)
    began = time.monotonic()
    wait_until(lambda: watcher.closed, "the end of the stream", 10)
    assert time.monotonic() - began < 6
    assert watcher.events[-1].type == "close" and watcher.events[-1].data == {"reason": "login_ended"}
    seen = len(second.events)
    wait_until(lambda: len(second.events) > seen + 20, "more events of the login that goes on", 20)
    checked(other.cancel(eid), 202)
    wait_until(lambda: second.closed, "the end of the run", 20)
    assert second.events[-1].type == "end"


def test_a_stream_ends_with_its_token(strict):
    admin = strict.tenant()
    eid = admin.start(talker())
    watcher = Watcher(admin, eid, token_for(strict, admin, 3))
    wait_until(lambda: watcher.closed, "the end of the stream", 10)
    assert watcher.events[-1].type == "close" and watcher.events[-1].data == {"reason": "token_expired"}
    rest = Watcher(admin, eid)
    checked(admin.cancel(eid), 202)
    wait_until(lambda: rest.closed, "the end of the run", 20)


def test_the_command_line_follows_on_when_its_token_ends(strict, tmp_path):
    admin = strict.tenant()
    cli = Cli(tmp_path, strict.urls["web"], WINDLASS_PASSWORD=PASSWORD)
    cli("login", "--email", admin.email)
    kept = json.loads(cli.credentials.read_text())
    admin.access = kept["logins"][0]["access_token"]
    short = token_for(strict, admin, 3)
    kept["logins"][0]["access_token"] = short
    cli.credentials.write_text(json.dumps(kept))
    eid = admin.start(Flow().code("slow", "import sys, time\nfor i in range(80):\n    print(i, file=sys.stderr, flush=True)\n"
                                          "    time.sleep(0.1)\nprint(80)").output("{{ .nodes.slow }}"))
    done = cli("logs", eid, "--follow", "--json")
    events = [json.loads(line) for line in done.stdout.splitlines()]
    said = [event["data"]["text"] for event in events if event.get("event") == "log"]
    assert said == [str(number) for number in range(80)], done.stdout[-2000:]
    assert "close" not in {event.get("event") for event in events}
    assert json.loads(cli.credentials.read_text())["logins"][0]["access_token"] != short


def test_a_tenant_has_so_many_streams(strict):
    admin, other = strict.tenant(), strict.tenant()
    eid = admin.start(talker())
    watchers = [Watcher(admin, eid) for _ in range(STREAMS)]
    answer = admin.get(f"executions/{eid}/stream")
    problem(answer, 429)
    assert int(answer.headers["Retry-After"]) > 0
    foreign = other.start(talker())
    Watcher(other, foreign)
    checked(other.cancel(foreign), 202)
    checked(admin.cancel(eid), 202)
    wait_until(lambda: all(watcher.closed for watcher in watchers), "the end of the run", 20)
    assert list(admin.stream(eid))[-1].type == "end"    # their places are free again


# ---- processes -------------------------------------------------------------------------------------------------------

def test_a_killed_parent_leaves_no_worker(strict):
    parent = strict.pid("web")
    family = descendants(parent) - {parent}
    assert family
    strict.kill("web")
    wait_until(lambda: not any(alive(pid) for pid in family), "the end of its workers", 30)
    wait_until(lambda: strict.api().get("/readyz").status_code == 200, "another web server", 30,
               forgive=(httpx.TransportError,))


def test_a_missing_setting_is_named_as_it_is_set():
    done = subprocess.run([ROOT / "build" / "bin" / "windlass-web"], env={}, capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode != 0 and "WINDLASS_POSTGRES_URL" in done.stdout + done.stderr


def test_a_full_queue_is_429_and_says_so(stack, admin):
    stack.sql(f"UPDATE control.quota SET max_queued = 0 WHERE tenant = {admin.tenant}")
    answer = admin.execute(admin.create(noop()))
    assert "wait" in problem(answer, 429)["detail"]
    assert answer.headers["Retry-After"] == "1" and answer.headers["RateLimit-Remaining"] == "0"
    assert stack.sql(f"SELECT count(*) FROM t_{admin.tenant}.executions")[0][0] == 0


# ---- large bodies ------------------------------------------------------------------------------------------------------

def post_text(api, path, text):
    return api.post(path, content=text, headers={"Content-Type": "application/json"})


@pytest.mark.parametrize("path", ["auth/login", "auth/register", "auth/refresh", "auth/password-reset",
                                  "auth/invitations/preview", "operator/login"])
def test_without_a_token_a_body_is_small(stack, path):
    text = json.dumps({"x": "a" * 65536})
    assert "65536" in problem(post_text(stack.api(), path, text), 413)["detail"]
    problem(post_text(stack.api(), path, text[:-2 - 65000] + '"}'), 400)


def longest_wait_beside(stack, path, text):
    """How long others waited at most while somebody's large body was read, and how long that took."""
    waits, done = [], threading.Event()

    def ask():
        api = stack.api()
        while not done.is_set():
            begin = time.monotonic()
            problem(api.get("nothing"), 404)
            waits.append(time.monotonic() - begin)

    admin = stack.tenant()
    asker = threading.Thread(target=ask)
    asker.start()
    begin = time.monotonic()
    problem(post_text(admin, path, text), 400)
    took = time.monotonic() - begin
    done.set()
    asker.join()
    return max(waits), took


def test_a_large_body_holds_up_nobody_else(strict):
    text = json.dumps({"x": [[0] * 10] * 450000})
    tries = [longest_wait_beside(strict, "flows", text) for _ in range(3)]
    assert any(wait < took / 3 for wait, took in tries), tries
