"""Webhooks as a peer sees them: signing, calling, and a receiver that writes down what it was sent."""

import hashlib
import hmac
import json
import time
import uuid

from kit.client import checked
from kit.http_server import HttpServer
from kit.waiting import wait_until

HEADER = "Windlass-Signature"


def mac(secret, when, body):
    return hmac.new(secret.encode(), f"{when}.".encode() + body, hashlib.sha256).hexdigest()


def signature(secrets, body, when=None):
    """The header for a body, signed with one secret or several."""
    when = int(time.time()) if when is None else when
    secrets = [secrets] if isinstance(secrets, str) else secrets
    return ",".join([f"t={when}", *(f"v1={mac(secret, when, body)}" for secret in secrets)])


def signed_by(header, body):
    """A function that tells whether a secret made one of the header's signatures."""
    parts = [part.split("=", 1) for part in header.split(",")]
    when = next(value for name, value in parts if name == "t")
    assert abs(int(when) - time.time()) < 60, header
    return lambda secret: mac(secret, when, body) in [value for name, value in parts if name == "v1"]


class Hook:
    """A webhook that starts runs; `admin` made it. Callers need no token."""

    def __init__(self, admin, flow_id, **more):
        self.admin, self.url = admin, admin.url
        answer = checked(admin.post("webhooks", json={"flow_id": flow_id, "name": "a hook", **more}), 201)
        self.made, self.etag = answer.json()["webhook"], answer.headers["ETag"]
        self.id, self.secret, self.path = self.made["id"], self.made["secret"], self.made["path"]

    def send(self, body=b"", secret=None, when=None, delivery=None, query="", wait=None, headers=None, header=None):
        """Call it; bytes go as they are, anything else as JSON."""
        sent = dict(headers or {})
        if not isinstance(body, bytes):
            body = json.dumps(body).encode()
            sent.setdefault("Content-Type", "application/json")
        sent[HEADER] = header or signature(secret or self.secret, body, when)
        if delivery:
            sent["Windlass-Delivery"] = delivery
        if wait is not None:
            sent["Prefer"] = f"wait={wait}"
        return self.admin.http.post(self.path + query, content=body, headers=sent)

    def start(self, body=b"", **details):
        return checked(self.send(body, **details), 202).json()["execution_id"]

    def deliveries(self, **params):
        return checked(self.admin.get(f"webhooks/{self.id}/deliveries", params=params), 200).json()["deliveries"]

    def await_deliveries(self, count):
        """The newest first, once there are that many: what was refused is logged beside its answer."""
        return wait_until(lambda: self.deliveries() if len(self.deliveries()) >= count else None, f"{count} deliveries")


def published(admin, flow, name="a flow"):
    """Store and publish a flow; its id."""
    flow_id = admin.create(flow, name)
    checked(admin.post(f"flows/{flow_id}/publish", json={}), 200, 201)
    return flow_id


class Received:
    def __init__(self, path, headers, body):
        self.path, self.headers, self.body, self.at = path, headers, body, time.monotonic()
        self.json = json.loads(body)
        self.id = headers["Windlass-Delivery"]


class Receiver(HttpServer):
    """A server that takes deliveries. `answers` maps a path to a list of statuses that are given in turn, the last one
    for ever; a number below zero waits that many seconds before it answers 200."""

    methods = ("POST",)

    def __init__(self):
        super().__init__()
        self.seen, self.answers = [], {}

    def answer(self, request):
        with self.lock:
            self.seen.append(Received(request.path, dict(request.headers), request.body))
            line = self.answers.get(request.path, [200])
            status = line.pop(0) if len(line) > 1 else line[0]
        if status < 0:
            time.sleep(-status)
            status = 200
        return status, {"Location": "/elsewhere"} if 300 <= status < 400 else {}, b""

    def path(self, *statuses):
        """A path of our own that answers so."""
        path = f"/{uuid.uuid4()}"
        if statuses:
            self.answers[path] = list(statuses)
        return path

    def url(self, path):
        return f"http://127.0.0.1:{self.port}{path}"

    def at(self, path):
        with self.lock:
            return [one for one in self.seen if one.path == path]

    def wait(self, path, count=1, seconds=20):
        return wait_until(lambda: self.at(path) if len(self.at(path)) >= count else None,
                          f"{count} deliveries at {path}", seconds)
