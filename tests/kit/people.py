"""People, keys and operators as tests need them."""

import json
import os
import subprocess
import threading

import pymongo

from kit.client import PASSWORD, checked, parse_events
from kit.stack import ROOT
from kit.waiting import wait_until

OPERATOR_PASSWORD = "an operator's password"


def invited(admin, email, role="viewer"):
    """An invitation: its answer's body."""
    return checked(admin.post("invitations", json={"email": email, "role": role}), 201).json()


def accept(stack, token, password=PASSWORD):
    return stack.api().post("auth/invitations/accept", json={"token": token, "password": password})


def member(stack, admin, role="viewer", email=None):
    """Somebody of the admin's tenant who came by an invitation."""
    email = email or f"{role}-{os.urandom(4).hex()}@{admin.slug}.test"
    body = checked(accept(stack, invited(admin, email, role)["token"]), 201).json()
    api = stack.api()
    api.tenant, api.user_id, api.email, api.slug = body["tenant"]["id"], body["user"]["id"], email, admin.slug
    return api.take_tokens(body)


def with_key(stack, api, role="viewer", **more):
    """A client that acts by a new API key of somebody; `key_id` is the key's."""
    body = checked(api.post("api-keys", json={"name": "a key", "role": role, **more}), 201).json()
    client = stack.api()
    client.access, client.key_id, client.tenant = body["key"], body["api_key"]["id"], api.tenant
    return client


class Watch:
    """An event stream that somebody has open; `closed` is set when the server says `close`."""

    def __init__(self, client, eid):
        self.client, self.eid = client, eid
        self.opened, self.closed = threading.Event(), threading.Event()
        self.thread = threading.Thread(target=self.read, daemon=True)
        self.thread.start()
        assert self.opened.wait(15), "the stream did not open"

    def read(self):
        headers = {"Accept": "text/event-stream", "Authorization": f"Bearer {self.client.access}"}
        path = f"/api/v1/executions/{self.eid}/stream"
        with self.client.http.stream("GET", path, headers=headers, timeout=60) as answer:
            if answer.status_code == 200:
                self.opened.set()
            for event in parse_events(answer.iter_lines()):
                if event.type == "close":
                    self.closed.set()


def make_operator(stack, email, password=OPERATOR_PASSWORD, **env):
    """What `make operator` does: the finished process."""
    return subprocess.run(["/usr/bin/python3", str(ROOT / "tools" / "stack" / "make_operator.py"), email],
                          env={**os.environ, "WINDLASS_HOME": str(stack.home), "WINDLASS_PASSWORD": password, **env},
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)


def operator(stack):
    """A client of an operator; made once a stack."""
    email = "operator@platform.test"
    if not stack.sql("SELECT 1 FROM control.operator WHERE email = %s", email):
        done = make_operator(stack, email)
        assert done.returncode == 0, done.stderr
    client = stack.api()
    body = checked(client.post("operator/login", json={"email": email, "password": OPERATOR_PASSWORD}), 200).json()
    client.access = body["access_token"]
    return client


def audited(stack, tenant, action):
    """The entries of a tenant's audit log with that action, once all of them have been shipped."""
    wait_until(lambda: not stack.sql("SELECT 1 FROM control.audit_outbox WHERE tenant = %s", tenant),
               "the audit log to be shipped", 30)
    with pymongo.MongoClient(stack.urls["mongodb"], serverSelectionTimeoutMS=5000) as client:
        documents = list(client.get_default_database("windlass")["audit_log"].find({"t": tenant}))
    texts = [value for document in documents for value in document.values() if isinstance(value, str) and value[:1] == "{"]
    return [entry for entry in map(json.loads, texts) if entry["action"] == action]
