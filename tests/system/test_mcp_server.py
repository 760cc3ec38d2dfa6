"""Published flows as tools of MCP clients: by the official SDK, by hand, and as a hostile client would ask."""

import asyncio
import concurrent.futures
import contextlib
import json
import re
import signal
import socket
import uuid

import httpx2
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from kit.client import Api, checked, problem
from kit.flows import Flow, ex, noop
from kit.stack import Stack
from kit.waiting import wait_until

pytestmark = pytest.mark.long
NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
EVENTS = {"Accept": "application/json, text/event-stream"}
INTEGER = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"], "additionalProperties": False}


# ---- helpers ---------------------------------------------------------------------------------------------------------

def publish(api, flow, name):
    flow_id = api.create(flow, name=name)
    checked(api.post(f"flows/{flow_id}/publish", json={}), 201)
    return flow_id


def key_of(stack, person, role="executor"):
    """Who asks with an API key of that person."""
    api = stack.api()
    made = checked(person.post("api-keys", json={"name": "mcp", "role": role}), 201).json()
    api.access, api.key_id = made["key"], made["api_key"]["id"]
    return api


def post(api, body, session=None, **headers):
    if session:
        headers["Mcp-Session-Id"] = session
    return api.post("/mcp", json=body, headers=headers)


def ask(api, method, params=None, number=1, session=None, **headers):
    """The answer to a request: its body, whether it came as JSON or as the last of some events."""
    body = {"jsonrpc": "2.0", "id": number, "method": method, **({"params": params} if params is not None else {})}
    answer = checked(post(api, body, session, **headers), 200)
    if answer.headers["content-type"].startswith("application/json"):
        found = answer.json()
    else:
        found = json.loads([line for line in answer.text.splitlines() if line.startswith("data: ")][-1][6:])
    assert found["jsonrpc"] == "2.0" and found["id"] == number
    return found


def call(api, tool, arguments=None, **more):
    return ask(api, "tools/call", {"name": tool, "arguments": arguments or {}}, **more)["result"]


def tools(api, **params):
    return {tool["name"]: tool for tool in ask(api, "tools/list", params)["result"]["tools"]}


def eid_of(result):
    return result["_meta"]["windlass/execution_id"]


def initialize(api, version="2025-06-18"):
    """The session's id and what the server says of itself."""
    answer = checked(post(api, {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {
        "protocolVersion": version, "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}}), 200)
    return answer.headers["mcp-session-id"], answer.json()["result"]


def sdk(api, work):
    """What `work(client)` returns, where client is the official SDK's, connected with this person's key."""
    async def run():
        headers = {"Authorization": f"Bearer {api.access}"}
        async with httpx2.AsyncClient(headers=headers, timeout=httpx2.Timeout(60), trust_env=False) as http:
            async with Client(streamable_http_client(api.url + "/mcp", http_client=http)) as client:
                return await work(client)
    return asyncio.run(run())


def add_one():
    return (Flow().transform("sum", "{{ .inputs.n + 1 }}").output({"n": ex(".nodes.sum")})
            .schema(input_schema=INTEGER, output_schema=INTEGER))


def asking():
    """A flow that waits for a person."""
    return Flow().add("ask", "approval", message="May it go on?", roles=["admin"]).output("went on", after=("ask", "approved"))


def endless():
    return Flow().add("pause", "wait", seconds=3600).output("over")


@pytest.fixture
def key(stack, admin):
    return key_of(stack, admin)


def no_runs(admin):
    assert checked(admin.get("executions"), 200).json()["executions"] == []


# ---- the official SDK ----------------------------------------------------------------------------------------------------

def test_the_sdk_lists_and_calls(admin, key):
    publish(admin, add_one(), "Add one")

    async def work(client):
        listed = {tool.name: tool for tool in (await client.list_tools()).tools}
        assert set(listed) == {"get_execution", "add_one"}
        assert listed["add_one"].title == "Add one"
        assert listed["add_one"].input_schema["properties"] == INTEGER["properties"]
        assert listed["add_one"].output_schema["type"] == "object"
        heard = []

        async def progress(done, total, message):
            heard.append((done, total, message))

        result = await client.call_tool("add_one", {"n": 41}, progress_callback=progress)
        assert not result.is_error and result.structured_content == {"n": 42}
        assert json.loads(result.content[0].text) == {"n": 42}
        assert heard == [(1, 3, "start succeeded"), (2, 3, "sum succeeded"), (3, 3, "out succeeded")]
        return result.meta["windlass/execution_id"]

    run = admin.execution(sdk(key, work))["execution"]
    assert (run["status"], run["source"], run["source_id"], run["inputs"]) == ("succeeded", "mcp", key.key_id, {"n": 41})


def test_the_sdk_is_told_what_went_wrong(admin, key):
    publish(admin, add_one(), "Add one")
    publish(admin, Flow().code("step", "raise SystemExit('the printer is on fire')"), "Break")

    async def work(client):
        wrong = await client.call_tool("add_one", {"n": "four"})
        assert wrong.is_error and "- n: " in wrong.content[0].text, wrong
        broken = await client.call_tool("break", {})
        assert broken.is_error and "node step" in broken.content[0].text
        assert broken.structured_content["status"] == "failed" and broken.structured_content["error"]["code"] == "exit"
        with pytest.raises(Exception, match="Unknown tool: nothing"):
            await client.call_tool("nothing", {})

    sdk(key, work)


def test_the_sdk_cancels_a_run(admin, key):
    flow_id = publish(admin, endless(), "Endless")

    async def work(client):
        task = asyncio.create_task(client.call_tool("endless", {}))
        while not (found := checked(admin.get(f"executions?flow_id={flow_id}"), 200).json()["executions"]):
            await asyncio.sleep(0.02)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        while admin.status(found[0]["id"]) != "cancelled":
            await asyncio.sleep(0.02)

    sdk(key, work)


def test_several_calls_at_once_do_not_meet(admin, key):
    publish(admin, add_one(), "Add one")

    async def work(client):
        results = await asyncio.gather(*(client.call_tool("add_one", {"n": n}) for n in range(20)))
        assert [result.structured_content["n"] for result in results] == list(range(1, 21))

    sdk(key, work)


# ---- what is offered -------------------------------------------------------------------------------------------------------

def test_names_are_valid_and_unique(admin, key):
    names = ["Report", "report!", "  RePort ", "日本語", "x" * 200, "get execution", "é", "report_0123abcd", "a-b c"]
    ids = {publish(admin, Flow().output(number), name): number for number, name in enumerate(names)}
    listed = tools(key)
    assert len(listed) == len(names) + 1 and all(NAME.fullmatch(name) for name in listed)
    assert {"report", "a_b_c", "get_execution"} <= set(listed)
    assert sorted(call(key, name)["structuredContent"]["result"] for name in listed if name != "get_execution") == list(range(len(names)))
    for flow_id, number in ids.items():
        told = checked(admin.get(f"flows/{flow_id}/mcp"), 200).json()["mcp"]
        assert told["offered"] and call(key, told["tool"])["structuredContent"]["result"] == number


def test_the_oldest_keeps_its_name(admin, key):
    first = publish(admin, Flow().output("first"), "Same")
    assert call(key, "same")["structuredContent"] == {"result": "first"}
    publish(admin, Flow().output("second"), "Same")
    assert call(key, "same")["structuredContent"] == {"result": "first"}
    checked(admin.delete(f"flows/{first}"), 204)
    assert call(key, "same")["structuredContent"] == {"result": "second"}


def test_what_is_published_runs_and_nothing_else(admin, key):
    flow_id = admin.create(Flow().output("draft"), name="Draft")
    assert set(tools(key)) == {"get_execution"}
    checked(admin.post(f"flows/{flow_id}/publish", json={}), 201)
    document = Flow().output("newer").document()
    checked(admin.put(f"flows/{flow_id}", json={"name": "Renamed", **document}), 200)
    assert set(tools(key)) == {"get_execution", "draft"}        # the name, too, is that of the version
    assert call(key, "draft")["content"][0]["text"] == "draft"
    checked(admin.post(f"flows/{flow_id}/publish", json={}), 201)
    assert call(key, "renamed")["content"][0]["text"] == "newer"


def test_a_flow_can_be_switched_off(admin, key):
    flow_id = publish(admin, noop(), "Hidden")
    assert checked(admin.put(f"flows/{flow_id}/mcp", json={"offered": False}), 200).json() == {
        "mcp": {"offered": False, "tool": None}}
    assert set(tools(key)) == {"get_execution"}
    unknown = ask(key, "tools/call", {"name": "hidden"})["error"]
    assert unknown == {"code": -32602, "message": "Unknown tool: hidden"}
    checked(key.put(f"flows/{flow_id}/mcp", json={"offered": True}), 403)
    checked(admin.put(f"flows/{flow_id}/mcp", json={"offered": "yes"}), 400)
    checked(admin.put(f"flows/{flow_id}/mcp", json={"offered": True}), 200)
    assert "hidden" in tools(key)
    assert wait_until(lambda: [row["metadata"] for row in checked(admin.get("audit-log?action=flow.mcp"), 200).json()["entries"]],
                      "both changes in the audit log")


def test_archived_and_deleted_flows_are_unknown(admin, key):
    archived, deleted = publish(admin, noop(), "Old"), publish(admin, noop(), "Gone")
    checked(admin.put(f"flows/{archived}", json={"status": "archived"}), 200)
    checked(admin.delete(f"flows/{deleted}"), 204)
    assert set(tools(key)) == {"get_execution"}
    for tool in ("old", "gone"):
        assert ask(key, "tools/call", {"name": tool})["error"]["code"] == -32602
    no_runs(admin)


def test_others_flows_are_unknown(stack, admin, key):
    """Of another tenant, and private ones of somebody else."""
    secret = publish(admin, noop(), "Private plan")
    stack.sql(f"UPDATE t_{int(admin.tenant)}.flows SET visibility = 'private' WHERE id = %s", secret)
    colleague = key_of(stack, stack.user(admin, "editor"))
    stranger = key_of(stack, stack.tenant())
    assert "private_plan" in tools(key)
    for other in (colleague, stranger):
        assert set(tools(other)) == {"get_execution"}
        assert ask(other, "tools/call", {"name": "private_plan"})["error"]["message"] == "Unknown tool: private_plan"
    mine = eid_of(call(key, "private_plan"))
    for other in (colleague, stranger):
        unknown = ask(other, "tools/call", {"name": "get_execution", "arguments": {"execution_id": mine}})["error"]
        assert unknown["message"] == "There is no such execution."


def test_a_viewer_calls_nothing(stack, admin):
    publish(admin, noop(), "Run me")
    viewer = key_of(stack, admin, "viewer")
    assert set(tools(viewer)) == {"get_execution"}
    refused = call(viewer, "run_me")
    assert refused["isError"] and "role executor" in refused["content"][0]["text"]
    no_runs(admin)


def test_lists_come_in_pages(admin, key):
    for number in range(60):
        publish(admin, noop(), f"Tool {number}")
    seen, cursor, pages = [], None, 0
    while pages == 0 or cursor:
        page = ask(key, "tools/list", {"cursor": cursor} if cursor else {})["result"]
        seen += [tool["name"] for tool in page["tools"]]
        cursor, pages = page.get("nextCursor"), pages + 1
    assert pages == 2 and sorted(seen) == sorted(["get_execution", *(f"tool_{number}" for number in range(60))])
    for wrong in ("x", "", 7, None, "0" * 100):
        assert ask(key, "tools/list", {"cursor": wrong})["error"]["code"] == -32602, wrong


def test_schemas_are_such_as_clients_take(admin, key):
    publish(admin, noop().schema(input_schema={"properties": {"a": {"type": "string"}}}), "No type")
    publish(admin, noop().schema(input_schema={"type": ["object", "null"]}), "Two types")
    publish(admin, noop().schema(input_schema={}), "Any")
    publish(admin, noop().schema(output_schema={"type": "array"}), "List out")
    publish(admin, noop().schema(output_schema={"type": "object", "properties": {"a": {"$ref": "#/definitions/a"}},
                                                "definitions": {"a": {}}}), "Reference")
    publish(admin, noop().schema(input_schema={"type": "object", "description": "x" * 70000}), "Long")
    listed = tools(key)
    assert all(tool["inputSchema"]["type"] == "object" for tool in listed.values())
    assert listed["no_type"]["inputSchema"]["properties"] == {"a": {"type": "string"}}
    assert listed["two_types"]["inputSchema"]["allOf"] == [{"type": ["object", "null"]}]
    assert listed["any"]["inputSchema"] == listed["long"]["inputSchema"] == {"type": "object"}
    assert not any("outputSchema" in listed[name] for name in ("list_out", "reference", "any"))


# ---- calls -----------------------------------------------------------------------------------------------------------------

def test_outputs_of_each_kind(admin, key):
    for name, value, structured, text in (
            ("object", {"a": 1}, {"a": 1}, '{"a":1}'), ("text", "hello", {"result": "hello"}, "hello"),
            ("list", [1, 2], {"result": [1, 2]}, "[1,2]"), ("nothing", None, {"result": None}, "null")):
        publish(admin, Flow().output(value), f"out {name}")
        result = call(key, f"out_{name}")
        assert (result["structuredContent"], result["content"][0]["text"], result["isError"]) == (structured, text, False)


def test_large_outputs_do_not_break_clients(admin, key):
    publish(admin, noop(), "Echo")
    small, large, huge = "a" * 1000, "b" * 200_000, "c" * 1_000_000
    assert json.loads(call(key, "echo", {"x": small}, **EVENTS)["content"][0]["text"]) == {"x": small}
    result = call(key, "echo", {"x": large}, **EVENTS)
    assert result["structuredContent"] == {"x": large} and len(result["content"][0]["text"]) < 500
    result = call(key, "echo", {"x": huge}, **EVENTS)
    assert result["isError"] and "structuredContent" not in result and eid_of(result) in result["content"][0]["text"]
    assert admin.status(eid_of(result)) == "succeeded"
    asked = call(key, "get_execution", {"execution_id": eid_of(result)})
    assert asked["structuredContent"]["status"] == "succeeded" and "outputs" not in asked["structuredContent"]


def test_outputs_as_deep_as_may_be(admin, key):
    deep = {"x": 1}
    for _ in range(58):
        deep = {"x": deep}
    publish(admin, Flow().output([["{{ .inputs }}"]]), "Wrap")
    for headers in ({}, EVENTS):
        result = call(key, "wrap", deep, **headers)
        assert result["structuredContent"] == {"result": [[deep]]}
    asked = call(key, "get_execution", {"execution_id": eid_of(result)})
    assert asked["structuredContent"]["outputs"] == [[deep]]


def test_a_run_that_waits_for_a_person_is_answered_at_once(admin, key):
    publish(admin, asking(), "Ask")
    for headers in ({}, EVENTS):
        result = call(key, "ask", **headers)
        state = result["structuredContent"]
        assert not result["isError"] and state["status"] == "running"
        assert state["approvals"][0]["message"] == "May it go on?" and "May it go on?" in result["content"][0]["text"]
        again = call(key, "get_execution", {"execution_id": eid_of(result), "wait_s": 300})
        assert again["structuredContent"] == state       # nobody has answered, and it does not wait for that
        checked(admin.post(f"approvals/{state['approvals'][0]['approval_id']}/decide", json={"decision": "approve"}), 200)
        over = call(key, "get_execution", {"execution_id": state["execution_id"], "wait_s": 30})
        assert over["structuredContent"] == {"execution_id": state["execution_id"], "status": "succeeded", "outputs": "went on"}


def test_many_wait_at_once_and_all_are_answered(admin, key):
    """More than a worker lets one tenant wait: who has no room is told how it is now."""
    run = checked(admin.execute(admin.create(endless())), 202).json()["execution_id"]
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {
        "name": "get_execution", "arguments": {"execution_id": run, "wait_s": 300}}}

    async def work():
        headers = {"Authorization": f"Bearer {key.access}", **EVENTS}
        limits = httpx2.Limits(max_connections=200)
        async with httpx2.AsyncClient(headers=headers, limits=limits, timeout=httpx2.Timeout(60), trust_env=False) as http:
            heads, told = asyncio.Queue(), []

            async def one():
                async with http.stream("POST", key.url + "/mcp", json=body) as answer:
                    await heads.put(answer.status_code)
                    told.append(json.loads((await answer.aread()).decode().rpartition("data: ")[2])["result"]["structuredContent"]["status"])

            tasks = [asyncio.create_task(one()) for _ in range(150)]
            assert {await heads.get() for _ in tasks} == {200}
            await asyncio.to_thread(lambda: checked(admin.cancel(run), 202))
            await asyncio.gather(*tasks)
            return told

    told = asyncio.run(work())
    assert len(told) == 150 and set(told) <= {"cancelled", "queued", "running"} and told.count("cancelled") >= 64


def test_an_output_schema_holds_for_a_run_that_goes_on(admin, key):
    """The SDK checks what it gets against the schema that it was told."""
    publish(admin, asking().schema(output_schema={"type": "object", "required": ["n"]}), "Ask")

    async def work(client):
        await client.list_tools()
        result = await client.call_tool("ask", {})
        assert result.structured_content["status"] == "running"

    sdk(key, work)


def test_asking_takes_no_longer_than_it_was_told(admin, key):
    publish(admin, endless(), "Endless")
    run = checked(admin.execute(admin.create(endless())), 202).json()["execution_id"]
    result = call(key, "get_execution", {"execution_id": run, "wait_s": 1})
    assert result["structuredContent"]["status"] in ("queued", "running") and run in result["content"][0]["text"]
    for wrong in ({}, {"execution_id": "x"}, {"execution_id": 7}, {"execution_id": run, "wait_s": -1},
                  {"execution_id": run, "wait_s": 301}, {"execution_id": run, "wait_s": 1.5},
                  {"execution_id": run, "wait_s": "1"}, {"execution_id": run, "more": 1}):
        assert call(key, "get_execution", wrong)["isError"], wrong
    assert ask(key, "tools/call", {"name": "get_execution", "arguments": {"execution_id": str(uuid.uuid4())}})["error"]["code"] == -32602
    checked(admin.cancel(run), 202)
    ended = call(key, "get_execution", {"execution_id": run, "wait_s": 30})
    assert ended["structuredContent"]["status"] == "cancelled" and not ended["isError"]


def test_the_same_request_of_a_session_starts_no_second_run(admin, key):
    publish(admin, add_one(), "Add one")
    session, other = initialize(key)[0], initialize(key)[0]
    first = eid_of(call(key, "add_one", {"n": 1}, number=7, session=session))
    assert eid_of(call(key, "add_one", {"n": 1}, number=7, session=session, **EVENTS)) == first
    reused = ask(key, "tools/call", {"name": "add_one", "arguments": {"n": 2}}, number=7, session=session)["error"]
    assert reused["code"] == -32600
    runs = {first, eid_of(call(key, "add_one", {"n": 1}, number="7", session=session)),
            eid_of(call(key, "add_one", {"n": 1}, number=8, session=session)),
            eid_of(call(key, "add_one", {"n": 1}, number=7, session=other)),
            eid_of(call(key, "add_one", {"n": 1}, number=7)), eid_of(call(key, "add_one", {"n": 1}, number=7))}
    assert len(runs) == 6
    assert checked(admin.get("executions"), 200).json()["page_info"] is not None
    assert len(checked(admin.get("executions?limit=100"), 200).json()["executions"]) == 6


def cancel(api, number, session=None):
    return post(api, {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": number}}, session)


def start_and_leave(api, tool, number, session):
    """Send a call and close the connection at once, as a client that dies does."""
    body = json.dumps({"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": {"name": tool}})
    host, _, port = api.url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall((f"POST /mcp HTTP/1.1\r\nHost: {host}:{port}\r\nAuthorization: Bearer {api.access}\r\n"
                            f"Mcp-Session-Id: {session}\r\nContent-Type: application/json\r\nAccept: text/event-stream\r\n"
                            f"Content-Length: {len(body)}\r\n\r\n{body}").encode())
        assert connection.recv(12) == b"HTTP/1.1 200"    # the head of the stream: the run is accepted


def test_a_client_that_goes_leaves_its_run_to_itself(admin, key, effects):
    flow_id = publish(admin, Flow().add("slow", "http", method="POST", url=effects.effect_url("slow", 1, 0.5)).output("done"), "Slow")
    session = initialize(key)[0]
    start_and_leave(key, "slow", 1, session)
    run = checked(admin.get(f"executions?flow_id={flow_id}"), 200).json()["executions"][0]["id"]
    assert admin.wait(run)["execution"]["status"] == "succeeded"
    again = call(key, "slow", number=1, session=session)     # the same request finds it
    assert eid_of(again) == run and again["structuredContent"] == {"result": "done"}


def test_who_may_cancel_what(stack, admin, key):
    flow_id = publish(admin, endless(), "Endless")
    session = initialize(key)[0]
    start_and_leave(key, "endless", 5, session)
    run = checked(admin.get(f"executions?flow_id={flow_id}"), 200).json()["executions"][0]["id"]
    others = key_of(stack, stack.user(admin, "executor"))
    for wrong in (cancel(others, 5, session), cancel(key, 5), cancel(key, 6, session), cancel(key, "5", session),
                  cancel(key, {"x": 1}, session), cancel(key, 5, initialize(key)[0])):
        assert wrong.status_code == 202 and wrong.content == b""
    assert admin.status(run) in ("queued", "running")
    assert cancel(key, 5, session).status_code == 202
    assert admin.wait(run)["execution"]["status"] == "cancelled"
    assert cancel(key, 5, session).status_code == 202    # it may have ended in between
    result = call(key, "endless", number=5, session=session)
    assert result["isError"] and result["structuredContent"]["status"] == "cancelled"


def test_a_quota_is_a_tools_error(stack, admin, key):
    publish(admin, noop(), "Echo")
    stack.quota(admin.tenant, max_executions_per_day=1)
    session = initialize(key)[0]
    assert not call(key, "echo", number=1, session=session)["isError"]
    refused = call(key, "echo", number=2, session=session)
    assert refused["isError"] and "executions of today" in refused["content"][0]["text"]
    stack.quota(admin.tenant, max_executions_per_day=2)
    assert not call(key, "echo", number=2, session=session)["isError"]   # nothing of the refusal was kept


# ---- the protocol ------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("asked, spoken", [("2025-06-18", "2025-06-18"), ("2025-03-26", "2025-03-26"),
                                           ("2024-11-05", "2024-11-05"), ("2099-01-01", "2025-06-18"), ("", "2025-06-18")])
def test_versions(key, asked, spoken):
    session, told = initialize(key, asked)
    assert told["protocolVersion"] == spoken and told["capabilities"] == {"tools": {"listChanged": False}}
    assert told["serverInfo"]["name"] == "windlass" and told["instructions"]
    assert post(key, {"jsonrpc": "2.0", "method": "notifications/initialized"}, session).status_code == 202
    assert ask(key, "ping", session=session, **{"MCP-Protocol-Version": spoken})["result"] == {}


def test_a_version_that_is_not_spoken(key):
    answer = checked(post(key, {"jsonrpc": "2.0", "id": 1, "method": "ping"}, **{"MCP-Protocol-Version": "1999-01-01"}), 400)
    assert answer.json()["error"]["data"]["supported"] == ["2025-06-18", "2025-03-26", "2024-11-05"]


@pytest.mark.parametrize("body, code, number", [
    (b"", -32700, None), (b"{", -32700, None), (b"\xff\xfe", -32700, None), (b'{"a":1,"a":2}', -32700, None),
    (b"[" * 100 + b"]" * 100, -32700, None), (b"{}{}", -32700, None),
    (b"[]", -32600, None), (b'[{"jsonrpc":"2.0","id":1,"method":"ping"}]', -32600, None), (b"1", -32600, None), (b"null", -32600, None),
    (b'{"id":1,"method":"ping"}', -32600, 1), (b'{"jsonrpc":2.0,"id":1,"method":"ping"}', -32600, 1),
    (b'{"jsonrpc":"1.0","id":"a","method":"ping"}', -32600, "a"),
    (b'{"jsonrpc":"2.0","id":null,"method":"ping"}', -32600, None), (b'{"jsonrpc":"2.0","id":1.5,"method":"ping"}', -32600, None),
    (b'{"jsonrpc":"2.0","id":{},"method":"ping"}', -32600, None), (b'{"jsonrpc":"2.0","id":true,"method":"ping"}', -32600, None),
    (b'{"jsonrpc":"2.0","id":1e300,"method":"ping"}', -32600, None),
    (b'{"jsonrpc":"2.0","id":"' + b"x" * 129 + b'","method":"ping"}', -32600, None),
    (b'{"jsonrpc":"2.0","id":1}', -32600, 1), (b'{"jsonrpc":"2.0","id":1,"method":7}', -32600, 1),
    (b'{"jsonrpc":"2.0","id":1,"method":""}', -32600, 1), (b'{"jsonrpc":"2.0","id":1,"method":"' + b"m" * 101 + b'"}', -32600, 1),
    (b'{"jsonrpc":"2.0","id":1,"method":"ping","params":[]}', -32600, 1),
    (b'{"jsonrpc":"2.0","id":1,"result":{}}', -32600, 1), (b'{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":"x"}}', -32600, 1)],
    ids=lambda value: repr(value)[:40])
def test_messages_that_are_none(key, body, code, number):
    answer = checked(key.post("/mcp", content=body, headers={"Content-Type": "application/json"}), 400)
    assert answer.headers["content-type"] == "application/json"
    told = answer.json()
    assert told["jsonrpc"] == "2.0" and told["id"] == number and told["error"]["code"] == code and told["error"]["message"]


def test_requests_that_are_wrong(admin, key):
    publish(admin, noop(), "Echo")
    assert ask(key, "server/discover")["error"]["code"] == -32601
    assert ask(key, "notifications/initialized")["error"]["code"] == -32601
    assert ask(key, "initialize", {})["error"]["code"] == -32602
    for params in (None, {}, {"name": 7}, {"name": ""}, {"name": "x" * 65}, {"name": "echo", "arguments": []},
                   {"name": "echo", "arguments": None}, {"name": "Echo"}, {"name": "echo'--"}, {"name": "echo\n"}):
        assert ask(key, "tools/call", params)["error"]["code"] == -32602, params
    no_runs(admin)


def test_a_notification_starts_nothing(admin, key):
    publish(admin, noop(), "Echo")
    for method in ("tools/call", "tools/list", "ping", "initialize", "notifications/nothing"):
        answer = post(key, {"jsonrpc": "2.0", "method": method, "params": {"name": "echo"}})
        assert answer.status_code == 202 and answer.content == b""
    no_runs(admin)


def test_the_same_number_written_otherwise_is_the_same_id(admin, key):
    publish(admin, noop(), "Echo")
    session, runs = initialize(key)[0], set()
    for number in ("3", "3.0", "30e-1"):
        body = f'{{"jsonrpc":"2.0","id":{number},"method":"tools/call","params":{{"name":"echo"}}}}'
        answer = checked(key.post("/mcp", content=body, headers={"Content-Type": "application/json", "Mcp-Session-Id": session}), 200)
        assert answer.json()["id"] == 3
        runs.add(eid_of(answer.json()["result"]))
    assert len(runs) == 1


def test_who_is_nobody(stack):
    nobody = stack.api()
    ping = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
    for access in (None, "wlk_" + "x" * 43, "x"):
        nobody.access = access
        answer = post(nobody, ping)
        problem(answer, 401)
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    for method in ("GET", "PUT", "PATCH"):
        answer = nobody.request(method, "/mcp")
        assert answer.status_code == 405 and answer.headers["Allow"] == "POST, DELETE, OPTIONS"


def test_a_session_that_has_ended_is_not_known(stack, admin, key):
    publish(admin, noop(), "Echo")
    session = initialize(key)[0]
    end = lambda api, value: api.delete("/mcp", headers={"Mcp-Session-Id": value} if value else {})  # noqa: E731
    assert "echo" in {tool["name"] for tool in ask(key, "tools/list", session=session)["result"]["tools"]}
    checked(end(key_of(stack, stack.user(admin, "viewer"), "viewer"), session), 204)       # another person's of that name
    assert ask(key, "tools/list", session=session)["result"]
    for _ in range(2):
        checked(end(key, session), 204)
    for method, params in (("tools/list", {}), ("tools/call", {"name": "echo"})):
        problem(post(key, {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}, session), 404)
    problem(end(key, None), 400)
    problem(end(key, "no uuid"), 400)
    problem(post(key, {"jsonrpc": "2.0", "id": 1, "method": "ping"}, "no uuid"), 400)
    no_runs(admin)


def test_ended_sessions_do_not_pile_up(stack, admin, key):
    """A thousand are known of a person, the newest."""
    stack.sql(f"""INSERT INTO t_{int(admin.tenant)}.mcp_ended (user_id, session, at)
                  SELECT %s, gen_random_uuid(), now() - n * interval '1 minute' FROM generate_series(1, 1500) n""", admin.user_id)
    session = initialize(key)[0]
    checked(key.delete("/mcp", headers={"Mcp-Session-Id": session}), 204)
    assert stack.sql(f"SELECT count(*), count(*) FILTER (WHERE session = %s) FROM t_{int(admin.tenant)}.mcp_ended", session) == [(1000, 1)]


def test_pages_of_others_are_kept_out(key):
    ping = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
    own = key.url
    port = own.rpartition(":")[2]
    assert post(key, ping, Origin=own).status_code == 200
    assert post(key, ping, Origin=f"http://localhost:{port}", Host=f"localhost:{port}").status_code == 200
    for origin, host in (("https://evil.example", None), ("null", None), ("x", None),
                         (own + ".evil.example", None), (f"http://evil.example:{port}", f"evil.example:{port}"),
                         (f"http://localhost:{port}", None), (own + "/path", None), ("http://127.0.0.1", None)):
        problem(post(key, ping, Origin=origin, **({"Host": host} if host else {})), 403)


def test_bodies_of_other_kinds_and_sizes(admin, key):
    publish(admin, noop(), "Echo")
    problem(key.post("/mcp", content=b"{}", headers={"Content-Type": "text/plain"}), 415)
    problem(key.post("/mcp", content=b"{}"), 415)
    call_with = lambda size: {"jsonrpc": "2.0", "id": 1, "method": "tools/call",  # noqa: E731
                              "params": {"name": "echo", "arguments": {"x": "y" * size}}}
    problem(post(key, call_with(6 << 20)), 413)
    refused = checked(post(key, call_with(4 << 20)), 200).json()["result"]
    assert refused["isError"] and "larger" in refused["content"][0]["text"]
    no_runs(admin)
    assert not checked(post(key, call_with(300_000)), 200).json()["result"]["isError"]


# ---- settings, and a server that dies ----------------------------------------------------------------------------------------

@pytest.fixture(scope="module")
def short():
    """A stack that is impatient with calls and with clients."""
    with Stack("mcp-short", env={"WINDLASS_MCP_WAIT_S": "1", "WINDLASS_MCP_MESSAGES_PER_MINUTE": "40"}) as running:
        yield running


def test_a_call_is_waited_for_as_long_as_is_set(short):
    admin = short.tenant()
    key = key_of(short, admin)
    publish(admin, endless(), "Endless")
    for headers in ({}, EVENTS):
        result = call(key, "endless", **headers)
        assert not result["isError"] and result["structuredContent"]["status"] == "running"
        assert "approvals" not in result["structuredContent"] and "get_execution" in result["content"][0]["text"]
        assert admin.status(eid_of(result)) == "running"


def test_too_many_messages(short):
    key = key_of(short, short.tenant())
    other = key_of(short, short.tenant())
    ping = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
    answers = [post(key, ping) for _ in range(200)]
    refused = [answer for answer in answers if answer.status_code != 200]
    assert refused and all(problem(answer, 429) and int(answer.headers["Retry-After"]) >= 1 for answer in refused)
    assert post(other, ping).status_code == 200


def test_a_server_that_is_told_to_end_answers_who_waits(short):
    """Both kinds of answers: the run goes on."""
    admin = short.tenant()
    key = key_of(short, admin)
    runs = [checked(admin.execute(admin.create(endless())), 202).json()["execution_id"] for _ in range(2)]
    with concurrent.futures.ThreadPoolExecutor() as threads:
        waiting = [threads.submit(call, key, "get_execution", {"execution_id": run, "wait_s": 300}, **headers)
                   for run, headers in zip(runs, ({}, EVENTS))]
        wait_until(lambda: len(short.redis().pubsub_channels("ev:*")) >= 2, "both waits")
        short.kill("web", signal.SIGTERM)
        for run, one in zip(runs, waiting):
            state = one.result(30)["structuredContent"]
            assert state["execution_id"] == run and state["status"] == "running"
    wait_until(lambda: back(key), "the web server", 30)
    assert [admin.status(run) for run in runs] == ["running"] * 2


def test_a_server_that_dies_takes_no_run_with_it(short, effects):
    """The client asks again when the server is back, and gets the run that its request had started."""
    admin = short.tenant()
    key = key_of(short, admin)
    flow_id = publish(admin, asking(), "Ask")
    session = initialize(key)[0]
    start_and_leave(key, "ask", 1, session)
    run = checked(admin.get(f"executions?flow_id={flow_id}"), 200).json()["executions"][0]["id"]
    asked = wait_until(lambda: checked(admin.get(f"approvals?execution_id={run}"), 200).json()["approvals"], "the question")[0]["id"]

    async def work():
        async with httpx2.AsyncClient(headers={"Authorization": f"Bearer {key.access}", "Mcp-Session-Id": session},
                                      timeout=httpx2.Timeout(60), trust_env=False) as http:
            body = {"jsonrpc": "2.0", "id": 9, "method": "tools/call", "params": {"name": "get_execution", "arguments": {
                "execution_id": await asyncio.to_thread(endless_run), "wait_s": 300}}}
            async with http.stream("POST", key.url + "/mcp", json=body, headers=EVENTS) as answer:
                assert answer.status_code == 200
                await asyncio.to_thread(short.kill, "web")
                with contextlib.suppress(httpx2.TransportError):
                    assert not any([b"result" in piece async for piece in answer.aiter_bytes()])

    def endless_run():
        return checked(admin.execute(admin.create(endless())), 202).json()["execution_id"]

    asyncio.run(work())
    wait_until(lambda: back(key), "the web server", 30)
    checked(admin.post(f"approvals/{asked}/decide", json={"decision": "approve"}), 200)
    admin.wait(run)
    result = call(key, "ask", number=1, session=session)
    assert eid_of(result) == run and result["structuredContent"] == {"result": "went on"}


def back(api):
    try:
        return api.get("/readyz").status_code == 200
    except Exception:  # noqa: BLE001 - however it refuses
        return False


# ---- our own client ------------------------------------------------------------------------------------------------------------

def test_windlass_calls_windlass(stack, admin, key):
    """A flow of one tenant whose tool is a flow of another one."""
    publish(admin, add_one(), "Add one")
    other = stack.tenant()
    config = {"kind": "mcp", "transport": "http", "url": key.url + "/mcp", "auth": {"type": "bearer"}}
    made = checked(other.post("tools/import/mcp", json={"execution_config": config, "credentials": {"token": key.access},
                                                        "only": ["add_one"]}), 201).json()["tools"][0]
    flow = Flow().add("call", "tool", tool_id=made["id"], input={"n": 41}).output(ex(".nodes.call"))
    assert other.run(flow)["execution"]["outputs"] == {"n": 42}
    assert [run["source"] for run in checked(admin.get("executions"), 200).json()["executions"]] == ["mcp"]
