"""Tools: what their configuration may say, their credentials, checks, and trial calls."""

import json
import threading
import time

import pytest

from kit.client import checked, fault_paths, problem
from kit.http_server import HttpServer
from kit.secrets import places_of
from kit.tools import ECHO, make_tool as make

CODE = {"kind": "code", "language": "python", "source": ECHO}
HTTP = {"kind": "http", "url": "https://api.example.org/things/{id}", "parameters": [{"name": "id", "in": "path", "required": True}]}
OPENAPI = {"kind": "openapi", "method": "GET", "url": "https://api.example.org/v1", "path": "/things"}
TOKEN = "tok-57ac1e90b2"


class Recorder(HttpServer):
    """An HTTP server that remembers the requests and answers {"ok": true}."""

    protocol = "HTTP/1.0"
    methods = ("GET", "POST", "HEAD")

    def __init__(self):
        super().__init__()
        self.seen = []

    def answer(self, request):
        self.seen.append((request.command, request.path, request.fields, request.body))
        return 200, {}, {"ok": True}


@pytest.fixture
def server():
    with Recorder() as running:
        yield running


@pytest.fixture(scope="module")
def shared(stack):
    return stack.tenant()


@pytest.fixture
def api(stack):
    return stack.tenant()


def call(api, tool_id, input=None, **more):
    return api.post(f"tools/{tool_id}/test", json={"input": input, **more})


# ---- what may be said ----------------------------------------------------------------------------

@pytest.mark.parametrize("config, paths", [
    ({"kind": "code"}, ["language", "source"]),
    ({"kind": "http"}, ["url"]),
    ({"kind": "openapi"}, ["method", "url", "path"]),
    ({**CODE, "url": "https://a.example"}, ["url"]),
    ({**CODE, "auth": {"type": "bearer"}, "egress": {"hosts": ["a"]}}, ["auth", "egress"]),
    ({**HTTP, "source": "x", "path": "/y"}, ["source", "path"]),
    ({**OPENAPI, "language": "bash"}, ["language"]),
    ({**OPENAPI, "limits": {}}, ["limits"]),
    ({**HTTP, "url": "nonsense/{id}"}, ["url"]),
    ({**HTTP, "url": "ftp://a.example/{id}"}, ["url"]),
    ({**HTTP, "url": "https://{id}.example/{id}"}, ["url"]),
    ({**HTTP, "url": "https://u:p@a.example/{id}"}, ["url"]),
    ({**HTTP, "url": "http://0x7f.1/{id}"}, ["url"]),
    ({**HTTP, "url": "https://a.example/{other}"}, ["url", "parameters[0].name"]),
    ({**HTTP, "url": "https://a.example/{id}/{"}, ["url"]),
    ({**HTTP, "parameters": []}, ["url"]),
    ({**OPENAPI, "url": "https://a.example?x=1"}, ["url"]),
    ({**OPENAPI, "path": "things"}, ["path"]),
    ({**OPENAPI, "path": "/a?b=1"}, ["path"]),
    ({**OPENAPI, "path": "/a/{b}"}, ["path"]),
    ({**OPENAPI, "body": "json"}, ["body"]),
    ({**OPENAPI, "parameters": [{"name": "a", "in": "query", "style": "label"}]}, ["parameters[0].style"]),
    ({**OPENAPI, "parameters": [{"name": "a b", "in": "header"}]}, ["parameters[0].name"]),
    ({**OPENAPI, "parameters": [{"name": "Host", "in": "header"}]}, ["parameters[0].name"]),
    ({**OPENAPI, "parameters": [{"name": "a;b", "in": "cookie"}]}, ["parameters[0].name"]),
    ({**OPENAPI, "parameters": [{"name": "a", "in": "query"}, {"name": "b", "in": "query", "as": "a"}]}, ["parameters[1]"]),
    ({**OPENAPI, "headers": {"X-A": "b\r\nX-C: d"}}, ["headers.X-A"]),
    ({**OPENAPI, "headers": {"Transfer-Encoding": "chunked"}}, ["headers.Transfer-Encoding"]),
    ({**OPENAPI, "auth": {"type": "bearer", "name": "x"}}, ["auth"]),
    ({**OPENAPI, "auth": {"type": "api_key"}}, ["auth.in", "auth.name"]),
    ({**OPENAPI, "auth": {"type": "api_key", "in": "header", "name": "a b"}}, ["auth.name"]),
    ({**OPENAPI, "egress": {"hosts": ["https://api.example.org", "api.example.org:0", "a..b", "*", "[::1", "api.example.org:x"]}},
     [f"egress.hosts[{n}]" for n in range(6)]),
    ({**OPENAPI, "egress": {"hosts": ["other.example.org"]}}, ["egress.hosts"]),
])
def test_faults_of_a_configuration_name_their_places(shared, config, paths):
    refused = shared.post("tools", json={"name": "x", "execution_config": config})
    assert fault_paths(refused) == [f"execution_config.{path}" for path in paths], refused.text


@pytest.mark.parametrize("n, config", list(enumerate([
    CODE, {**CODE, "limits": {"memory_mb": 64}, "timeout_s": 5}, HTTP, OPENAPI,
    {**HTTP, "method": "POST", "body": "json", "expect": [201], "headers": {"X-A": "b"}, "max_response_kb": 10},
    {**OPENAPI, "path": "/t/{a}", "parameters": [{"name": "a", "in": "path", "style": "matrix"}, {"name": "c", "in": "cookie"},
                                                 {"name": "q", "in": "query", "style": "deepObject", "explode": True}]},
    {**OPENAPI, "egress": {"hosts": ["*.example.org", "api.example.org:8443"]}},
    {**OPENAPI, "url": "https://[2001:db8::1]:8443", "egress": {"hosts": ["[2001:db8::1]:8443"]}},
    {**OPENAPI, "auth": {"type": "api_key", "in": "query", "name": "key"}},
])))
def test_configurations_that_are_right_are_taken(shared, n, config):
    tool = make(shared, config, name=f"right {n}")
    assert checked(shared.get(f"tools/{tool}"), 200).json()["tool"]["execution_config"] == config


@pytest.mark.parametrize("schema", [{"type": "strin"}, {"properties": 5}, {"pattern": "("}, {"$ref": "https://a.example/b"},
                                    {"required": "x"}, {"minLength": -1}, {"patternProperties": {"[": {}}}])
@pytest.mark.parametrize("member", ["input_schema", "output_schema"])
def test_schemas_are_compiled_before_they_are_stored(shared, member, schema):
    refused = shared.post("tools", json={"name": "x", "execution_config": CODE, member: schema})
    assert fault_paths(refused) == [member]


def test_a_change_is_checked_like_a_new_one(shared):
    tool = make(shared, CODE, name="to change")
    assert fault_paths(shared.put(f"tools/{tool}", json={"execution_config": {"kind": "http"}})) == ["execution_config.url"]
    assert fault_paths(shared.put(f"tools/{tool}", json={"input_schema": {"type": 5}})) == ["input_schema"]
    assert checked(shared.get(f"tools/{tool}"), 200).json()["tool"]["version"] == 1


def test_the_order_and_the_digits_of_what_was_given_stay(shared):
    schema = {"type": "object", "properties": {"z": {"type": "integer", "maximum": 12345678901234567890}, "a": {}, "m": {}}}
    schema["properties"]["e"] = {"enum": [{"pattern": "("}]}      # no pattern: a value
    tool = make(shared, CODE, name="ordered", input_schema=schema)
    text = checked(shared.get(f"tools/{tool}"), 200).text
    assert text.index('"z"') < text.index('"a"') < text.index('"m"') and "12345678901234567890" in text


# ---- credentials ---------------------------------------------------------------------------------

def test_credentials_fit_the_way_they_are_sent(shared):
    def paths(auth, credentials):
        config = {**OPENAPI, **({"auth": auth} if auth else {})}
        return fault_paths(shared.post("tools", json={"name": "x", "execution_config": config, "credentials": credentials}))
    key = {"type": "api_key", "in": "header", "name": "X-Key"}
    for auth, credentials in ((None, {"token": "t"}), ({"type": "none"}, {"token": "t"}), ({"type": "bearer"}, {"username": "u"}),
                              ({"type": "basic"}, {"token": "t"}), ({"type": "basic"}, {"username": "u"}), (key, {})):
        assert paths(auth, credentials) == ["credentials"], (auth, credentials)
    tool = make(shared, {**OPENAPI, "auth": key}, name="with key")
    assert fault_paths(shared.put(f"tools/{tool}", json={"credentials": {"username": "u", "password": "p"}})) == ["credentials"]
    checked(shared.put(f"tools/{tool}", json={"credentials": {"token": "t"}}), 200)


def test_credentials_are_kept_replaced_and_taken_away_and_reach_the_server_alone(stack, api, server):
    config = {"kind": "http", "url": server.url + "/x", "auth": {"type": "bearer"}}
    tool = make(api, config, credentials={"token": TOKEN})
    ended = checked(call(api, tool, {}), 200)
    assert ended.json()["status"] == "succeeded", ended.text
    assert server.seen[-1][2]["authorization"] == f"Bearer {TOKEN}"
    changed = checked(api.put(f"tools/{tool}", json={"description": "x"}), 200).json()["tool"]
    assert changed["has_credentials"] and "credentials" not in changed
    checked(call(api, tool.upper(), {}), 200)
    assert server.seen[-1][2]["authorization"] == f"Bearer {TOKEN}"
    checked(api.put(f"tools/{tool}", json={"credentials": {"token": TOKEN + "2"}}), 200)
    checked(call(api, tool, {}), 200)
    assert server.seen[-1][2]["authorization"] == f"Bearer {TOKEN}2"
    eid = ended.json()["execution_id"]
    for answer in (ended, api.get(f"tools/{tool}"), api.get("tools"), api.get(f"tools/{tool}/versions/1"),
                   api.get(f"executions/{eid}"), api.post(f"tools/{tool}/validate")):
        assert TOKEN not in checked(answer, 200).text
    assert places_of(stack, TOKEN) == []
    assert not checked(api.put(f"tools/{tool}", json={"credentials": None}), 200).json()["tool"]["has_credentials"]


def test_credentials_go_to_no_other_server_than_they_were_given_for(api, server):
    config = {"kind": "http", "url": "http://127.0.0.1:1/x", "auth": {"type": "bearer"}}
    where = f"tools/{make(api, config, credentials={'token': TOKEN})}"
    for other in ({**config, "url": server.url}, {**config, "url": "https://127.0.0.1:1/x"}, CODE):
        assert fault_paths(api.put(where, json={"execution_config": other})) == ["credentials"]
    checked(api.put(where, json={"execution_config": {**config, "url": "http://127.0.0.1:1/y?z=1"}}), 200)
    checked(api.put(where, json={"execution_config": {**config, "url": server.url}, "credentials": {"token": "new"}}), 200)
    checked(api.put(where, json={"execution_config": CODE, "credentials": None}), 200)
    assert not server.seen


# ---- checking ------------------------------------------------------------------------------------

def verdicts(api, tool):
    answer = checked(api.post(f"tools/{tool}/validate"), 200).json()
    assert answer["valid"] == all(check["ok"] for check in answer["checks"])
    return {check["name"]: check["ok"] for check in answer["checks"]}, answer


def test_a_tool_is_checked_with_its_server(api, server):
    seen, _ = verdicts(api, make(api, CODE, name="code"))
    assert seen == {"input_schema": True, "output_schema": True, "execution_config": True, "credentials": True}
    tool = make(api, {**OPENAPI, "url": server.url, "auth": {"type": "basic"}}, name="open",
                credentials={"username": "u", "password": "p"})
    assert all(verdicts(api, tool)[0].values()) and "server" in verdicts(api, tool)[0]
    assert {(method, path) for method, path, _, _ in server.seen} == {("HEAD", "/")}
    assert all("authorization" not in headers for _, _, headers, _ in server.seen)
    checked(api.put(f"tools/{tool}", json={"credentials": None}), 200)
    assert verdicts(api, tool)[0]["credentials"] is False


@pytest.mark.parametrize("n, url", list(enumerate(["http://127.0.0.1:1", "http://10.0.0.1", "http://169.254.169.254", "http://[fe80::1]",
                                              "http://no-such-host.invalid"])))
def test_a_server_that_cannot_be_reached_is_told(shared, n, url):
    seen, answer = verdicts(shared, make(shared, {**OPENAPI, "url": url}, name=f"away {n}"))
    assert seen["server"] is False and all(ok for name, ok in seen.items() if name != "server"), answer


# ---- calling -------------------------------------------------------------------------------------

def test_a_code_tool_is_called_in_its_sandbox(api):
    tool = make(api, CODE, input_schema={"type": "object", "required": ["n"]})
    ended = checked(call(api, tool, {"n": [1, "{{ .inputs }}"]}), 200).json()
    assert ended["status"] == "succeeded" and ended["outputs"] == {"got": {"n": [1, "{{ .inputs }}"]}}, ended
    run = api.execution(ended["execution_id"])
    assert run["execution"]["source"] == "tool" and run["execution"]["source_id"] == tool
    refused = checked(call(api, tool, {"m": 1}), 200).json()
    assert refused["status"] == "failed" and refused["error"], refused


def test_a_call_that_fails_says_why(api):
    tool = make(api, {**CODE, "source": "import sys\nprint('why', file=sys.stderr)\nsys.exit(3)"})
    ended = checked(call(api, tool), 200).json()
    assert ended["status"] == "failed" and ended["outputs"] is None and "3" in json.dumps(ended["error"])
    slow = make(api, {**CODE, "source": "import time\ntime.sleep(60)"}, name="slow")
    began = time.monotonic()
    ended = checked(call(api, slow, timeout_s=1), 200).json()
    assert ended["status"] in ("failed", "timeout") and time.monotonic() - began < 20


def test_who_does_not_wait_gets_the_execution(api):
    tool = make(api, {**CODE, "source": "import time\ntime.sleep(1)\nprint(1)"})
    answer = checked(api.post(f"tools/{tool}/test", json={}, headers={"Prefer": "wait=0"}), 202)
    eid = answer.json()["execution_id"]
    assert answer.headers["Location"] == f"/api/v1/executions/{eid}"
    assert api.wait(eid)["execution"]["outputs"] == 1


def test_drafts_can_be_tried_and_archived_tools_not(api):
    draft = make(api, CODE, state="draft")
    assert checked(call(api, draft, 1), 200).json()["outputs"] == {"got": 1}
    checked(api.put(f"tools/{draft}", json={"state": "archived"}), 200)
    problem(call(api, draft, 1), 409)
    problem(call(api, "018f0000-0000-7000-8000-000000000001"), 404)


def test_a_flow_calls_no_archived_tool(api):
    tool = make(api, CODE)
    flow = checked(api.post("flows", json={"name": "f", "nodes": [
        {"id": "start", "type": "start"}, {"id": "t", "type": "tool", "data": {"tool_id": tool, "input": 1}},
        {"id": "end", "type": "output", "data": {"value": "{{ .nodes.t }}"}}], "edges": [
        {"id": "a", "source": "start", "target": "t"}, {"id": "b", "source": "t", "target": "end"}]}), 201).json()["flow"]["id"]
    assert api.wait(api.start(flow))["execution"]["outputs"] == {"got": 1}
    checked(api.put(f"tools/{tool}", json={"state": "archived"}), 200)
    ended = api.wait(api.start(flow))["execution"]
    assert ended["status"] == "failed" and "archived" in ended["error"]["message"], ended
    checked(api.put(f"tools/{tool}", json={"state": "active"}), 200)
    assert api.wait(api.start(flow))["execution"]["status"] == "succeeded"


def test_the_newest_version_runs(api):
    tool = make(api, {**CODE, "source": "print(1)"})
    checked(api.put(f"tools/{tool}", json={"execution_config": {**CODE, "source": "print(2)"}}), 200)
    assert checked(call(api, tool), 200).json()["outputs"] == 2


def test_trials_count_as_executions(stack, api):
    tool = make(api, CODE)
    stack.quota(api.tenant, max_executions_per_day=1)
    checked(call(api, tool), 200)
    problem(call(api, tool), 429)
