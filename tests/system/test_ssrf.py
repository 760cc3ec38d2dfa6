"""No flow, tool or provider reaches what is not meant for it: spellings, addresses, redirects, hosts, rights."""

import json
import threading

import pytest

from kit.client import problem
from kit.effects import EffectServer
from kit.flows import Flow, ex, of
from kit.stack import Stack
from kit.tools import make_tool

# 127.0.0.1 alone is open in this stack; 127.0.0.2, the rest of loopback and everything private are not
OPEN = {"WINDLASS_EGRESS_ALLOW": "127.0.0.1/32"}


@pytest.fixture(scope="module")
def closed():
    """A stack whose operator has opened one address."""
    with Stack("ssrf", env=OPEN) as running:
        yield running


@pytest.fixture(scope="module")
def team(closed):
    return closed.tenant()


@pytest.fixture(scope="module")
def inside():
    """A server that listens on all of loopback: nobody may reach it but by 127.0.0.1."""
    with EffectServer(host="0.0.0.0") as server:
        yield server


def calls(server):
    with server.lock:
        return sum(server.calls.values())


def fetch(api, url, **data):
    """The http node of a flow that asks for `url`."""
    return api.run(Flow().add("get", "http", url=url, **data).output(ex(of("get"))))["node"]["get"]


ADDRESSES = ["127.0.0.2", "127.255.255.254", "0.0.0.0", "10.0.0.1", "172.16.0.1", "192.168.0.1", "169.254.169.254", "100.64.0.1",
             "100.100.100.200", "168.63.129.16", "224.0.0.1", "255.255.255.255", "192.0.2.1", "[::1]", "[::]", "[::ffff:127.0.0.2]",
             "[::ffff:a9fe:a9fe]", "[64:ff9b::7f00:2]", "[64:ff9b::a9fe:a9fe]", "[2002:7f00:2::]", "[2001:0:4136:e378:8000:63bf:3fff:fdd2]",
             "[fc00::1]", "[fe80::1]", "[fd00:ec2::254]", "[ff02::1]", "[fec0::1]", "[2001:db8::1]"]
HIDDEN = ["0x7f.0.0.2", "0x7f000002", "2130706434", "017700000002", "0177.0.0.2", "127.2", "127.0.2", "0", "0x7f.1", "2130706433",
          "%31%32%37.0.0.1"]


@pytest.mark.parametrize("n, host", list(enumerate(ADDRESSES + HIDDEN)))
def test_addresses_that_nobody_may_reach(team, inside, n, host):
    before = calls(inside)
    node = fetch(team, f"http://{host}:{inside.port}/echo")
    assert node["status"] == "failed" and node["error"]["code"] == "http_refused", node["error"]
    assert calls(inside) == before


@pytest.mark.parametrize("n, url", list(enumerate([
    "http://user:pw@127.0.0.1:{port}/echo", "http://127.0.0.1:{port}@127.0.0.2/", "http://8.8.8.8@127.0.0.1:{port}/", "http:///127.0.0.1:{port}/",
    "http://[fe80::1%25lo]:{port}/", "http://127.0.0.1:{port}/a b", "http://127.0.0.1:{port}/\r\nX-Evil: 1", "http://127.0.0.1:0/",
    "file:///etc/passwd", "gopher://127.0.0.1:{port}/_x", "dict://127.0.0.1:{port}/x", "ftp://127.0.0.1:{port}/x", "unix:///tmp/x",
    "HTTP+UNIX://x/y", "//127.0.0.1:{port}/echo", "127.0.0.1:{port}/echo", "javascript:1",
    "http://１２７.0.0.2:{port}/", "http://127。0。0。2:{port}/", "http://①②⑦.0.0.2:{port}/"])))
def test_addresses_that_are_none(team, inside, n, url):
    before = calls(inside)
    node = fetch(team, "{{ .inputs.none // " + json.dumps(url.format(port=inside.port)) + " }}")
    assert node["status"] == "failed" and node["error"]["code"] in ("input_invalid", "http_refused"), node["error"]
    assert calls(inside) == before


def test_the_open_address_is_reached(team, inside):
    node = fetch(team, f"http://127.0.0.1:{inside.port}/echo")
    assert node["status"] == "succeeded", node["error"]


@pytest.mark.parametrize("n, target", list(enumerate([
    "http://127.0.0.2:{port}/echo", "http://169.254.169.254/latest/meta-data/", "http://[::1]:{port}/", "http://10.0.0.1/", "file:///etc/passwd",
    "gopher://127.0.0.1:{port}/", "http://2130706433:{port}/echo", "http://a:b@127.0.0.1:{port}/echo", "http:///127.0.0.1:{port}/echo",
    "//127.0.0.2:{port}/echo"])))
def test_redirects_are_checked_like_the_first_step(team, inside, n, target):
    with EffectServer() as server:
        server.answer_away = lambda *_: (302, {"Location": target.format(port=inside.port)}, {})
        before = calls(inside)
        node = fetch(team, server.url + "/away")
        assert node["status"] == "failed" and node["error"]["code"] == "http_refused", node["error"]
        assert calls(inside) == before


def test_headers_do_not_follow_to_another_origin(team, inside):
    with EffectServer() as server:
        server.answer_away = lambda *_: (307, {"Location": inside.url + "/echo"}, {})
        headers = {"Authorization": "Bearer hidden", "X-Api-Key": "hidden"}
        node = fetch(team, server.url + "/away", headers=headers)
        assert node["status"] == "succeeded", node["error"]
        assert "hidden" not in node["outputs"]["body"]["headers"].values() and "authorization" not in node["outputs"]["body"]["headers"]


def test_no_header_frames_a_request_anew(team, inside):
    before = calls(inside)
    for headers in ({"X-A": "b\r\nX-Evil: 1"}, {"Content-Length": "0"}, {"Transfer-Encoding": "chunked"}, {"Host": "other.test"},
                    {"Connection": "upgrade"}, {"Proxy-Authorization": "x"}):
        node = fetch(team, f"http://127.0.0.1:{inside.port}/echo", headers={name: ex(json.dumps(value)) for name, value in headers.items()})
        assert node["status"] == "failed" and node["error"]["code"] == "input_invalid", (headers, node)
    assert calls(inside) == before


def test_a_tool_asks_its_own_hosts_alone(team, inside):
    def call(**config):
        tool = make_tool(team, {"kind": "http", "url": f"http://127.0.0.1:{inside.port}/echo", **config})
        return team.run(Flow().add("call", "tool", tool_id=tool).output(1))["node"]["call"]
    assert call()["status"] == "succeeded"
    assert call(egress={"hosts": [f"127.0.0.1:{inside.port}"]})["status"] == "succeeded"
    before = calls(inside)
    refused = call(url=f"http://127.0.0.2:{inside.port}/echo")
    assert refused["error"]["code"] == "http_refused" and calls(inside) == before


def test_private_networks_are_an_admins_and_loopback_stays_the_operators(closed, team, inside):
    config = {"kind": "http", "url": f"http://127.0.0.2:{inside.port}/echo", "egress": {"allow_private": True}}
    editor = closed.user(team, "editor")
    problem(editor.post("tools", json={"name": "not mine to open", "execution_config": config}), 403)
    before = calls(inside)
    for host in (f"127.0.0.2:{inside.port}", "169.254.169.254", "[::1]", "100.100.100.200", "[fd00:ec2::254]"):
        tool = make_tool(team, {**config, "url": f"http://{host}/"})
        node = team.run(Flow().add("call", "tool", tool_id=tool).output(1))["node"]["call"]
        assert node["error"]["code"] == "http_refused", node
    assert calls(inside) == before


def test_the_proxies_of_the_environment_are_not_asked(inside):
    proxies = {name: f"http://127.0.0.1:{inside.port}" for name in ("http_proxy", "https_proxy", "all_proxy", "HTTPS_PROXY", "ALL_PROXY")}
    before = calls(inside)
    with Stack("ssrf-proxy", env={**OPEN, **proxies}) as stack:
        node = fetch(stack.tenant(), "http://169.254.169.254/latest/meta-data/")
        assert node["error"]["code"] == "http_refused"
    assert calls(inside) == before


def test_threads_that_share_connections_share_no_rights(team, inside):
    """Requests to the open address and to closed ones at once: no connection of the one serves the other."""
    before, found = calls(inside), []

    def ask(host):
        found.append((host, fetch(team, f"http://{host}:{inside.port}/echo")["status"]))
    threads = [threading.Thread(target=ask, args=(host,)) for host in ("127.0.0.1", "127.0.0.2") * 8]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == [("127.0.0.1", "succeeded")] * 8 + [("127.0.0.2", "failed")] * 8
    assert calls(inside) == before + 8
