"""The operations of specs/openapi.yaml, as the tests walk them."""

import copy
import functools
import pathlib
import uuid

import yaml

SPEC = pathlib.Path(__file__).resolve().parents[2] / "specs" / "openapi.yaml"
METHODS = ("get", "post", "put", "delete")
ROLES = ["viewer", "executor", "editor", "admin"]
# the first word of a path behind /api/v1 (or /), and what its {id} is an id of
THINGS = {"flows": "flow", "executions": "execution", "approvals": "approval", "agents": "agent", "crews": "crew",
          "tools": "tool", "llm-providers": "provider", "schedules": "schedule", "webhooks": "webhook",
          "outgoing-webhooks": "outgoing", "artifacts": "artifact", "budgets": "budget", "exports": "export", "users": "user",
          "invitations": "invitation", "api-keys": "key", "auth": "session", "hooks": "webhook", "chat": "chat"}
# members of bodies, and query parameters, that hold an id
MEMBERS = {"flow_id": "flow", "target_id": "flow", "flow_ids": "flow", "agent_id": "agent", "agent_ids": "agent", "user_id": "user",
           "execution_id": "execution", "llm_provider_id": "provider", "manager_agent_id": "agent", "created_by": "user", "tools": "tool",
           "failover": "provider", "ids": "execution", "attached_flow_id": "flow", "crew_id": "crew"}


class Operation:
    def __init__(self, path, method, item, raw, document):
        self.path, self.method, self.name = path, method.upper(), raw["operationId"]
        self.role, self.tag = raw.get("x-role"), raw["tags"][0]
        self.parameters = [resolve(document, one) for one in item.get("parameters", []) + raw.get("parameters", [])]
        body = raw.get("requestBody", {}).get("content", {}).get("application/json")
        self.takes_body = bool(body)
        self.example = (body or {}).get("example")
        self.answers = set(raw["responses"])

    @property
    def thing(self):
        """What {id} is an id of."""
        return THINGS[self.path.removeprefix("/api/v1").split("/")[1]]

    @property
    def in_path(self):
        return [one["name"] for one in self.parameters if one["in"] == "path"]

    @property
    def in_query(self):
        return [one["name"] for one in self.parameters if one["in"] == "query"]

    def url(self, **values):
        path = self.path
        for name in self.in_path:
            path = path.replace("{%s}" % name, str(values[name]))
        return path

    def allows(self, role):
        """Whether that role of a tenant suffices."""
        return self.role is None or (self.role in ROLES and ROLES.index(role) >= ROLES.index(self.role))

    def __repr__(self):
        return self.name


def resolve(document, value):
    while "$ref" in value:
        place = document
        for part in value["$ref"].removeprefix("#/").split("/"):
            place = place[part]
        value = place
    return value


@functools.cache
def operations():
    document = yaml.safe_load(SPEC.read_text())
    return [Operation(path, method, item, item[method], document)
            for path, item in document["paths"].items() for method in METHODS if method in item]


def stranger_id():
    """An id that nothing has."""
    return str(uuid.uuid4())


def with_ids(value, ids, member=None):
    """A copy of a body in which every id that a member holds is the one that `ids` has for its kind."""
    if isinstance(value, dict):
        return {name: with_ids(one, ids, name) for name, one in value.items()}
    if isinstance(value, list):
        return [with_ids(one, ids, member) for one in value]
    if member in MEMBERS and isinstance(value, str):
        return ids[MEMBERS[member]]
    return copy.deepcopy(value)


def holds_ids(value, member=None):
    """The kinds of things that a body names by id."""
    if isinstance(value, dict):
        return set().union(*(holds_ids(one, name) for name, one in value.items())) if value else set()
    if isinstance(value, list):
        return set().union(*(holds_ids(one, member) for one in value)) if value else set()
    return {MEMBERS[member]} if member in MEMBERS and isinstance(value, str) else set()
