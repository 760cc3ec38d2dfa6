"""Tools of kind mcp: their import, their calls over HTTP and with programs in sandboxes, and servers that misbehave."""

import pytest

from kit.client import checked
from kit.flows import Flow, ex, of
from kit.mcp_server import serve_sdk


@pytest.fixture(scope="module")
def team(stack):
    return stack.tenant()


@pytest.fixture(scope="module", params=["stream", "json", "stateless"])
def sdk(request):
    options = {"stream": {}, "json": {"json_response": True}, "stateless": {"stateless_http": True}}[request.param]
    with serve_sdk(**options) as (url, guard):
        yield url, guard


def http(url, **more):
    return {"kind": "mcp", "transport": "http", "url": url, **more}


def bring(api, config, **more):
    """Import a server's tools; by their names on it."""
    made = checked(api.post("tools/import/mcp", json={"execution_config": config, **more}), 201).json()["tools"]
    return {tool["execution_config"]["tool"]: tool for tool in made}


def call(api, tool, input=None, **data):
    """Run a flow of one call; the answer of the tool's node."""
    flow = Flow().add("call", "tool", tool_id=tool["id"], **({} if input is None else {"input": input}), **data)
    return api.run(flow.output(ex(of("call"))))["node"]["call"]


def good(node):
    assert node["status"] == "succeeded", node["error"]
    return node["outputs"]


def bad(node, code):
    assert node["status"] == "failed" and node["error"]["code"] == code, node
    return node["error"]


# ---- the official SDK's server over HTTP --------------------------------------------------------
def test_the_sdk_s_tools_are_imported_and_called(team, sdk, request):
    url, guard = sdk
    prefix = request.node.name
    preview = checked(team.post("tools/import/mcp/preview", json={"execution_config": http(url)}), 200).json()
    assert preview["server"]["name"] == "kit" and {one["operation"] for one in preview["tools"]} >= {"add", "greet"}
    tools = bring(team, http(url), only=["add", "greet", "fail", "slow"], name_prefix=prefix)
    assert set(tools) == {"add", "greet", "fail", "slow"}
    assert tools["add"]["description"] == "Add two numbers." and tools["add"]["input_schema"]["required"] == ["a", "b"]
    node = call(team, tools["add"], {"a": 2, "b": 3})
    assert good(node) == {"result": 5}
    assert node["receipt"]["kind"] == "mcp" and node["receipt"]["server"] == "kit"
    assert good(call(team, tools["greet"], {"name": "Ada"})) == "Hello Ada"
    assert "because" in bad(call(team, tools["fail"], {"why": "because"}), "tool_error")["message"]
    bad(call(team, tools["add"], {"a": "x"}), "input_invalid")
    valid = checked(team.post(f"tools/{tools['add']['id']}/validate"), 200).json()
    assert valid["valid"], valid
    test = checked(team.post(f"tools/{tools['add']['id']}/test", json={"input": {"a": 1, "b": 1}}), 200).json()
    assert test["outputs"] == {"result": 2}
