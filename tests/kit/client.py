"""A client of the API, as thin as a test wants it: answers come back whole, helpers fail loudly."""

import collections
import itertools
import json
import os
import time

import httpx

from kit.waiting import Late, wait_until

PASSWORD = "correct horse battery"
FINAL = {"succeeded", "failed", "cancelled", "timeout"}
UNREACHABLE = (httpx.TransportError,)
TRUST = httpx.create_ssl_context(trust_env=False)       # one for all clients: it takes twenty milliseconds to make
Event = collections.namedtuple("Event", "id type data")
counter = itertools.count(1)


class Unexpected(AssertionError):
    """An answer with another status than the test needs."""


def checked(answer, *statuses):
    """The answer, when its status is one of `statuses`."""
    if answer.status_code not in statuses:
        raise Unexpected(f"{answer.request.method} {answer.request.url.path}: {answer.status_code}, "
                         f"not {' or '.join(map(str, statuses))}: {answer.text[:2000]}")
    return answer


def problem(answer, status):
    """The body of a problem+json answer, checked for its members."""
    checked(answer, status)
    assert answer.headers["Content-Type"].startswith("application/problem+json"), answer.headers
    body = answer.json()
    assert body["status"] == status and body["title"] and body["detail"] and body["request_id"], body
    return body


def fault_paths(answer, status=422):
    """The paths that a problem names."""
    return [fault["path"] for fault in problem(answer, status).get("errors", [])]


class Api:
    """One user of one tenant (or nobody yet). Safe to use from several threads."""

    def __init__(self, url, timeout=30.0):
        self.url = url
        limits = httpx.Limits(max_connections=128, max_keepalive_connections=64)
        self.http = httpx.Client(base_url=url, timeout=timeout, limits=limits, trust_env=False, verify=TRUST)
        self.access = self.refresh_token = None
        self.tenant = self.user_id = self.slug = self.email = None

    def close(self):
        self.http.close()

    def request(self, method, path, **details):
        headers = dict(details.pop("headers", None) or {})
        if self.access:
            headers.setdefault("Authorization", f"Bearer {self.access}")
        return self.http.request(method, path if path.startswith("/") else f"/api/v1/{path}", headers=headers, **details)

    def get(self, path, **details):
        return self.request("GET", path, **details)

    def post(self, path, **details):
        return self.request("POST", path, **details)

    def put(self, path, **details):
        return self.request("PUT", path, **details)

    def delete(self, path, **details):
        return self.request("DELETE", path, **details)

    # ---- people ------------------------------------------------------------------------------
    def register(self, slug=None):
        """Make a tenant of our own and act as its admin."""
        self.slug = slug or f"t{os.getpid()}-{next(counter)}"
        self.email = f"admin@{self.slug}.test"
        body = checked(self.post("auth/register", json={
            "email": self.email, "password": PASSWORD, "tenant_name": self.slug, "tenant_slug": self.slug}), 201).json()
        self.tenant, self.user_id = body["tenant_id"], body["user_id"]
        return self.take_tokens(body)

    def login(self, email, slug=None, password=PASSWORD):
        body = {"email": email, "password": password, **({"tenant_slug": slug} if slug else {})}
        answer = checked(self.post("auth/login", json=body), 200).json()
        self.tenant, self.user_id, self.email = answer["tenant"]["id"], answer["user"]["id"], email
        self.slug = answer["tenant"]["slug"]
        return self.take_tokens(answer)

    def refresh(self):
        return self.take_tokens(checked(self.post("auth/refresh", json={"refresh_token": self.refresh_token}), 200).json())

    def take_tokens(self, body):
        self.access, self.refresh_token = body["access_token"], body["refresh_token"]
        return self

    # ---- flows and executions ----------------------------------------------------------------
    def create(self, flow, name="a flow"):
        """Store a flow; its id."""
        return checked(self.post("flows", json={"name": name, **flow.document()}), 201).json()["flow"]["id"]

    def execute(self, flow_id, inputs=None, key=None, **config):
        """Start a flow; the whole answer."""
        headers = {"Idempotency-Key": key} if key else {}
        body = {"inputs": inputs or {}, **({"config": config} if config else {})}
        return self.post(f"flows/{flow_id}/execute", json=body, headers=headers)

    def start(self, flow, inputs=None, **config):
        """Store a flow and start it; the execution's id."""
        flow_id = flow if isinstance(flow, str) else self.create(flow)
        return checked(self.execute(flow_id, inputs, **config), 202).json()["execution_id"]

    def execution(self, eid):
        return checked(self.get(f"executions/{eid}"), 200).json()

    def status(self, eid):
        return self.execution(eid)["execution"]["status"]

    def wait(self, eid, seconds=30.0, forgive=()):
        """The execution once it is final."""
        def final():
            seen = self.execution(eid)
            return seen if seen["execution"]["status"] in FINAL else None
        return wait_until(final, f"the end of execution {eid}", seconds, forgive=forgive)

    def run(self, flow, inputs=None, seconds=30.0, **config):
        """Store, start and await a flow. The answer also has `node`: node answers by id."""
        answer = self.wait(self.start(flow, inputs, **config), seconds)
        answer["node"] = {node["node_id"]: node for node in answer["nodes"]}
        return answer

    def wait_node(self, eid, node_id, status="running", seconds=20.0):
        """Until a node of a live execution has that status; seen through the event stream's first answer or the API."""
        def seen():
            nodes = self.execution(eid)["nodes"]
            return next((node for node in nodes if node["node_id"] == node_id and node["status"] == status), None)
        return wait_until(seen, f"node {node_id} {status}", seconds)

    def cancel(self, eid):
        return self.post(f"executions/{eid}/cancel")

    def stream(self, eid, last_id=None, timeout=30.0):
        """The events of an execution, one by one, until the server ends the stream; Late after `timeout` seconds."""
        headers = {"Accept": "text/event-stream", "Authorization": f"Bearer {self.access}",
                   **({"Last-Event-ID": last_id} if last_id else {})}
        with self.http.stream("GET", f"/api/v1/executions/{eid}/stream", headers=headers, timeout=timeout) as answer:
            if answer.status_code != 200:
                answer.read()
                checked(answer, 200)
            assert answer.headers["Content-Type"].startswith("text/event-stream"), answer.headers
            yield from parse_events(before(time.monotonic() + timeout, answer.iter_lines()))


def before(deadline, lines):
    """The lines of a stream that has to end before a deadline; comments that keep it alive do not help it."""
    for line in lines:
        if time.monotonic() > deadline:
            raise Late("the event stream did not end in time")
        yield line


def parse_events(lines):
    """Server-sent events of an iterator of lines (WHATWG HTML, section 9.2.6)."""
    event_id, kind, data = None, "message", []
    for line in lines:
        if not line:
            if data:
                yield Event(event_id, kind, json.loads("\n".join(data)))
            kind, data = "message", []
        elif not line.startswith(":"):
            field, _, value = line.partition(":")
            value = value.removeprefix(" ")
            if field == "id":
                event_id = value
            elif field == "event":
                kind = value
            elif field == "data":
                data.append(value)
