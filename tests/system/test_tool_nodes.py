"""Tool nodes: code, openapi and http tools inside flows; what their requests look like and what is kept of them."""

import base64
import concurrent.futures
import gzip
import json
import time
import urllib.parse

import pytest

from kit.client import checked
from kit.flows import Flow, ex, of
from kit.http_server import HttpServer
from kit.secrets import places_of
from kit.tools import ECHO, make_tool as make
from kit.waiting import wait_until

JAVASCRIPT = "import fs from 'fs';\nconsole.log(JSON.stringify({got: JSON.parse(fs.readFileSync(0, 'utf8'))}));"
BASH = "printf '{\"got\": %s}' \"$(cat)\""


class World(HttpServer):
    """The outside world of tools: /echo tells the request, other paths misbehave each in its way."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def answer(self, request):
        seen = {"method": request.command, "path": request.path, "body": request.body.decode("utf-8", "replace"),
                "headers": request.fields}
        self.seen.append(seen)
        name = urllib.parse.urlsplit(request.path).path.strip("/").split("/")[0]
        return getattr(self, f"answer_{name}", self.answer_echo)(seen)

    def answer_echo(self, seen):
        return 200, {"X-Echo": seen["headers"].get("authorization", "none")}, seen

    def answer_secret(self, seen):
        """Whatever came as a credential, in the body's values and keys, in a header, and as an error."""
        token = seen["headers"].get("authorization", "").removeprefix("Bearer ") or seen["headers"].get("x-key", "")
        return (500 if seen["path"].endswith("fail") else 200, {"X-Token": token},
                {"token": token, token: [f"a{token}b"], "all": seen})

    def answer_text(self, _):
        return 200, {"Content-Type": "text/plain"}, b"plain"

    def answer_empty(self, _):
        return 204, {}, b""

    def answer_status(self, seen):
        return int(seen["path"].split("/")[2]), {}, {"why": "because"}

    def answer_large(self, seen):
        return 200, {}, "x" * (int(seen["path"].split("/")[2]) * 1024 - 2)

    def answer_bomb(self, _):
        headers = {"Content-Type": "application/octet-stream", "Content-Encoding": "gzip"}
        return 200, headers, gzip.compress(b"\0" * (64 << 20), 9)

    def answer_slow(self, _):
        def drops():
            for _ in range(200):
                yield b"x"
                time.sleep(0.05)
        return 200, {}, drops()

    def answer_redirect(self, _):
        return 302, {"Location": "/echo"}, b""


@pytest.fixture(scope="module")
def world():
    with World() as running:
        yield running


@pytest.fixture(scope="module")
def team(stack):
    return stack.tenant()


def openapi(world, path="/echo", method="GET", **more):
    return {"kind": "openapi", "url": world.url, "path": path, "method": method, **more}


def call(api, tool, input=None, **data):
    """Run a flow of one call; the answer of the tool's node."""
    flow = Flow().add("call", "tool", tool_id=tool, **({} if input is None else {"input": input}), **data).output(ex(of("call")))
    return api.run(flow)["node"]["call"]


def good(node):
    assert node["status"] == "succeeded", node["error"]
    return node["outputs"]


def bad(node, code):
    assert node["status"] == "failed" and node["error"]["code"] == code, node
    return node["error"]


# ---- code --------------------------------------------------------------------------------------
@pytest.mark.parametrize("language, source", [("python", ECHO), ("javascript", JAVASCRIPT), ("bash", BASH)])
def test_code_tools_run_in_their_sandbox(team, language, source):
    tool = make(team, {"kind": "code", "language": language, "source": source})
    node = call(team, tool.upper(), {"n": 1, "text": "{{ .execution.id | length }}"})
    assert good(node) == {"got": {"n": 1, "text": 36}}
    receipt = node["receipt"]
    assert (receipt["kind"], receipt["tool_id"], receipt["version"]) == ("code", tool, 1)
    assert receipt["profile"] == "host" and receipt["exit_code"] == 0


def test_a_code_tool_takes_what_came_before_it_and_its_own_limits(team):
    config = {"kind": "code", "language": "python", "source": ECHO, "limits": {"memory_mb": 64}, "timeout_s": 20}
    flow = Flow().transform("t", {"a": [1]}).add("call", "tool", tool_id=make(team, config)).output(ex(of("call")))
    node = team.run(flow)["node"]["call"]
    assert good(node) == {"got": {"a": [1]}} and node["inputs"] == {"a": [1]}
    assert node["receipt"]["limits"]["memory_mb"] == 64 and node["receipt"]["limits"]["wall_ms"] == 20000


def test_a_code_tool_that_fails_or_is_slow(team):
    fails = make(team, {"kind": "code", "language": "bash", "source": "echo why >&2; exit 7"})
    assert bad(call(team, fails, 1), "exit")["detail"] == {"exit_code": 7, "stderr": "why\n"}
    slow = make(team, {"kind": "code", "language": "bash", "source": "sleep 60", "timeout_s": 0.5})
    bad(call(team, slow, 1), "timeout")


# ---- what is given and what comes back is checked ----------------------------------------------
def test_schemas_hold_on_both_sides(team, world):
    ins = {"type": "object", "required": ["n"], "properties": {"n": {"type": "integer"}}}
    outs = {"type": "object", "properties": {"got": {"type": "object", "required": ["m"]}}}
    tool = make(team, {"kind": "code", "language": "python", "source": ECHO}, input_schema=ins, output_schema=outs)
    error = bad(call(team, tool, {"n": "x"}), "input_invalid")
    assert [fault["path"] for fault in error["detail"]["faults"]] == ["n"], error
    error = bad(call(team, tool, {"n": 1}), "output_invalid")
    assert [fault["path"] for fault in error["detail"]["faults"]] == ["got"], error
    assert good(call(team, tool, {"n": 1, "m": 2})) == {"got": {"n": 1, "m": 2}}
    before = len(world.seen)
    asks = make(team, openapi(world), input_schema=ins, output_schema={"type": "string"})
    bad(call(team, asks, {}), "input_invalid")
    assert len(world.seen) == before, "nothing is sent that does not fit"
    assert call(team, asks, {"n": 1})["outputs"] is None
    assert len(world.seen) == before + 1


# ---- where the input goes ----------------------------------------------------------------------
LIST, THING = ["a b", 2], {"g": "x/y", "r": 100}     # expressions give members in the order of their names


@pytest.mark.parametrize("style, explode, value, path", [
    ("simple", False, "a/b", "/a%2Fb"), ("simple", False, LIST, "/a%20b,2"), ("simple", True, LIST, "/a%20b,2"),
    ("simple", False, THING, "/g,x%2Fy,r,100"), ("simple", True, THING, "/g=x%2Fy,r=100"),
    ("label", False, 5, "/.5"), ("label", False, LIST, "/.a%20b,2"), ("label", True, LIST, "/.a%20b.2"),
    ("label", False, THING, "/.g,x%2Fy,r,100"), ("label", True, THING, "/.g=x%2Fy.r=100"),
    ("matrix", False, True, "/;p=true"), ("matrix", False, LIST, "/;p=a%20b,2"), ("matrix", True, LIST, "/;p=a%20b;p=2"),
    ("matrix", False, THING, "/;p=g,x%2Fy,r,100"), ("matrix", True, THING, "/;g=x%2Fy;r=100"),
])
def test_path_styles(team, world, style, explode, value, path):
    parameter = {"name": "p", "in": "path", "style": style, "explode": explode, "required": True}
    assert good(call(team, make(team, openapi(world, "/echo/{p}", parameters=[parameter])), {"p": value}))["path"] == "/echo" + path


@pytest.mark.parametrize("style, explode, value, query", [
    (None, None, "a&b=ä", "?p=a%26b%3D%C3%A4"), (None, None, LIST, "?p=a%20b&p=2"), (None, False, LIST, "?p=a%20b,2"),
    (None, None, THING, "?g=x%2Fy&r=100"), (None, False, THING, "?p=g,x%2Fy,r,100"), (None, None, [], ""), (None, None, None, ""),
    ("spaceDelimited", False, LIST, "?p=a%20b%202"), ("pipeDelimited", False, LIST, "?p=a%20b%7C2"),
    ("deepObject", True, THING, "?p%5Bg%5D=x%2Fy&p%5Br%5D=100"), (None, None, [[1], {"a": None}], "?p=%5B1%5D&p=%7B%22a%22%3Anull%7D"),
])
def test_query_styles(team, world, style, explode, value, query):
    parameter = {"name": "p", "in": "query", **({"style": style} if style else {}), **({} if explode is None else {"explode": explode})}
    assert good(call(team, make(team, openapi(world, parameters=[parameter])), {"p": value}))["path"] == "/echo" + query


def test_headers_cookies_names_and_a_json_body(team, world):
    parameters = [{"name": "trace", "in": "header", "as": "X-Trace"}, {"name": "color", "in": "header", "explode": True},
                  {"name": "sid", "in": "cookie"}, {"name": "tags", "in": "cookie", "explode": False},
                  {"name": "q", "in": "query", "as": "query[1]"}, {"name": "gone", "in": "query"}]
    config = openapi(world, method="POST", parameters=parameters, headers={"X-Fixed": "yes", "X-Trace": "own"})
    seen = good(call(team, make(team, config), {"trace": "t", "color": THING, "sid": "s;1", "tags": ["a", "b"], "q": 1, "rest": [None, 1.50]}))
    headers = seen["headers"]
    assert seen["path"] == "/echo?query%5B1%5D=1" and json.loads(seen["body"]) == {"rest": [None, 1.5]}
    assert headers["x-fixed"] == "yes" and headers["x-trace"] == "own" and headers["color"] == "g=x/y,r=100"
    assert headers["cookie"] == "sid=s%3B1; tags=a,b" and headers["content-type"] == "application/json"
    assert headers["idempotency-key"]


@pytest.mark.parametrize("mode, input, kind, body", [
    ("json", {"body": [1, {"a": "b"}], "left": 1}, "application/json", '[1,{"a":"b"}]'),
    ("form", {"a": "b c", "l": [1, "&"], "o": {"x": 1}, "n": None}, "application/x-www-form-urlencoded",
     "a=b%20c&l=1&l=%26&o=%7B%22x%22%3A1%7D"),
    ("text", {"body": "line\nline"}, "text/plain; charset=utf-8", "line\nline"),
    ("none", {"a": 1}, None, ""), ("json", {}, None, ""), ("json", [1, 2], "application/json", "[1,2]"),
])
def test_bodies(team, world, mode, input, kind, body):
    seen = good(call(team, make(team, openapi(world, method="PUT", body=mode)), input))
    assert seen["body"] == body and (not kind or seen["headers"]["content-type"] == kind)


@pytest.mark.parametrize("input, word", [({}, "missing"), ({"p": None}, "missing"), ({"p": ""}, "missing"), ({"p": []}, "missing"),
                                         ({"p": ".."}, "path"), ({"p": "."}, "path"), ({"p": "../x"}, "path"), ({"p": "a/../b"}, "path"),
                                         ({"p": "..\\x"}, "path"), ({"p": ["..", ".."]}, "path")])
def test_the_input_leads_to_no_other_path(team, world, input, word):
    before = len(world.seen)
    tool = make(team, openapi(world, "/echo/{p}", parameters=[{"name": "p", "in": "path", "required": True}]))
    assert word in bad(call(team, tool, input), "input_invalid")["message"]
    assert len(world.seen) == before


def test_no_input_breaks_a_header(team, world):
    tool = make(team, openapi(world, parameters=[{"name": "h", "in": "header"}]))
    for evil in ("a\r\nX-Evil: 1", "a\nb", "\x01", "a\x7f"):
        bad(call(team, tool, {"h": evil}), "input_invalid")
    assert good(call(team, tool, {"h": "fine"}))["headers"]["h"] == "fine"


def test_an_http_tool_gives_the_whole_answer(team, world):
    config = {"kind": "http", "url": world.url + "/echo/{id}?fixed=1", "parameters": [{"name": "id", "in": "path", "required": True},
                                                                                   {"name": "q", "in": "query"}]}
    node = call(team, make(team, config), {"id": "ü", "q": 2})
    output = good(node)
    assert output["status"] == 200 and output["headers"]["content-type"] == "application/json"
    assert output["body"]["path"] == "/echo/%C3%BC?fixed=1&q=2"
    receipt = node["receipt"]
    assert (receipt["kind"], receipt["host"], receipt["address"], receipt["status"]) == ("http", "127.0.0.1", "127.0.0.1", 200)
    assert receipt["bytes"] > 0 and receipt["ms"] >= 0 and receipt["version"] == 1


def test_answers_without_json_and_without_a_body(team, world):
    assert good(call(team, make(team, openapi(world, "/text")))) == "plain"
    assert good(call(team, make(team, openapi(world, "/empty")))) is None


# ---- statuses and bounds -----------------------------------------------------------------------
def test_statuses(team, world):
    error = bad(call(team, make(team, openapi(world, "/status/404"))), "http_status")
    assert error["detail"]["status"] == 404 and error["detail"]["body"] == {"why": "because"}
    assert good(call(team, make(team, openapi(world, "/status/404", expect=[404])))) == {"why": "because"}
    bad(call(team, make(team, openapi(world, "/echo", expect=[201]))), "http_status")
    before = len(world.seen)
    assert bad(call(team, make(team, openapi(world, "/redirect"))), "http_status")["detail"]["status"] == 302
    assert len(world.seen) == before + 1, "redirects are not followed"


def test_answers_are_bounded_after_they_were_decoded(team, world):
    config = openapi(world, "/large/{kb}", parameters=[{"name": "kb", "in": "path"}])
    tool, small = make(team, config), make(team, {**config, "max_response_kb": 2})
    assert len(good(call(team, tool, {"kb": 1024}))) == 1024 * 1024 - 2
    bad(call(team, tool, {"kb": 1025}), "output_cap")
    assert len(good(call(team, small, {"kb": 2}))) == 2046
    bad(call(team, small, {"kb": 3}), "output_cap")
    bad(call(team, make(team, {**config, "max_response_kb": 65536}), {"kb": 4097}), "output_cap")
    bad(call(team, make(team, openapi(world, "/bomb"))), "output_cap")


def test_a_slow_server_is_left(team, world):
    began = time.monotonic()
    bad(call(team, make(team, openapi(world, "/slow", timeout_s=0.4))), "timeout")
    bad(call(team, make(team, openapi(world, "/slow")), timeout_s=0.4), "timeout")
    assert time.monotonic() - began < 9, "a whole answer takes ten seconds"


# ---- credentials -------------------------------------------------------------------------------
PLAIN = "plain-token-91a7"


@pytest.mark.parametrize("auth, credentials, header, value", [
    ({"type": "bearer"}, {"token": PLAIN}, "authorization", f"Bearer {PLAIN}"),
    ({"type": "basic"}, {"username": "u", "password": "pw-5531"}, "authorization", "Basic " + base64.b64encode(b"u:pw-5531").decode()),
    ({"type": "api_key", "in": "header", "name": "X-Key"}, {"token": PLAIN}, "x-key", PLAIN),
    ({"type": "api_key", "in": "cookie", "name": "key"}, {"token": PLAIN}, "cookie", f"a=1; key={PLAIN}"),
])
def test_credentials_are_sent_and_not_kept(team, world, auth, credentials, header, value):
    config = openapi(world, auth=auth, parameters=[{"name": "a", "in": "cookie"}])
    node = call(team, make(team, config, credentials=credentials), {"a": 1})
    assert world.seen[-1]["headers"][header] == value
    text = json.dumps(node)
    assert good(node) and "***" in text
    assert not any(secret in text for secret in (PLAIN, "pw-5531", value.removeprefix("Basic ")))


def test_a_key_in_the_query_is_not_kept(team, world):
    config = openapi(world, auth={"type": "api_key", "in": "query", "name": "key"})
    node = call(team, make(team, config, credentials={"token": "a b/" + PLAIN}))
    assert world.seen[-1]["path"] == f"/echo?key=a%20b%2F{PLAIN}"
    assert good(node)["path"] == "/echo?key=***" and PLAIN not in json.dumps(node)


def test_what_a_server_echoes_of_a_secret_is_taken_out_everywhere(stack, team, world):
    auth = {"type": "api_key", "in": "header", "name": "X-Key"}
    config = {"kind": "http", "url": world.url + "/secret/ok", "auth": auth}
    output = good(call(team, make(team, config, credentials={"token": PLAIN})))
    assert output["headers"]["x-token"] == "***" and output["body"]["token"] == "***" and output["body"]["***"] == ["a***b"]
    error = bad(call(team, make(team, {**config, "url": world.url + "/secret/fail"}, credentials={"token": PLAIN})), "http_status")
    assert error["detail"]["body"]["token"] == "***"
    assert places_of(stack, PLAIN) == []


def test_a_secret_that_json_writes_in_another_way_is_found_all_the_same(team, world):
    config = {"kind": "http", "url": world.url + "/secret/ok", "auth": {"type": "bearer"}}
    token = 'quote"back\\slash/91'
    output = good(call(team, make(team, config, credentials={"token": token})))
    assert output["body"]["token"] == "***" and output["body"]["all"]["headers"]["authorization"] == "Bearer ***"


def test_credentials_that_are_missing_or_of_no_use(team, world):
    config = openapi(world, auth={"type": "bearer"})
    before = len(world.seen)
    bad(call(team, make(team, config)), "tool_invalid")
    bad(call(team, make(team, config, credentials={"token": "a\r\nX-Evil: 1"})), "tool_invalid")
    assert len(world.seen) == before


def test_credentials_moved_to_another_tool_do_not_open(stack, team, world):
    config = openapi(world, auth={"type": "bearer"})
    first, second = make(team, config, credentials={"token": PLAIN}), make(team, config, credentials={"token": "other-token"})
    schema = f"t_{team.tenant}"
    stack.sql(f"UPDATE {schema}.resources r SET credentials = s.credentials FROM {schema}.resources s WHERE r.id = %s AND s.id = %s",
              second, first)
    before = len(world.seen)
    error = bad(call(team, second), "tool_invalid")
    assert PLAIN not in json.dumps(error) and len(world.seen) == before


# ---- which tool --------------------------------------------------------------------------------
def test_a_tool_of_another_tenant_is_none(stack, team, world):
    other = stack.tenant()
    tool = make(team, openapi(world))
    assert good(call(team, tool))
    before = len(world.seen)
    for _ in range(3):
        bad(call(other, tool), "tool_missing")
    bad(call(team, "018f0000-0000-7000-8000-000000000001"), "tool_missing")
    assert len(world.seen) == before
    assert good(call(team, tool))


def test_a_change_counts_from_the_next_call_on(team):
    config = {"kind": "code", "language": "bash", "source": "echo 1"}
    tool = make(team, config)
    assert good(call(team, tool, 0)) == 1
    checked(team.put(f"tools/{tool}", json={"execution_config": {**config, "source": "echo 2"}}), 200)
    node = call(team, tool, 0)
    assert good(node) == 2 and node["receipt"]["version"] == 2
    checked(team.put(f"tools/{tool}", json={"state": "archived"}), 200)
    bad(call(team, tool, 0), "tool_missing")


# ---- many, and in the middle -------------------------------------------------------------------
def test_fifty_calls_at_once(team, world):
    tool = make(team, openapi(world, parameters=[{"name": "n", "in": "query"}]))
    flow = team.create(Flow().add("call", "tool", tool_id=tool, input={"n": ex(".inputs.n")}).output(ex(of("call", ".path"))))
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        eids = list(pool.map(lambda n: team.start(flow, {"n": n}), range(50)))
        ended = list(pool.map(lambda eid: team.wait(eid, 60), eids))
    assert [answer["execution"]["outputs"] for answer in ended] == [f"/echo?n={n}" for n in range(50)]


def test_rounds_of_a_loop_have_keys_of_their_own(team, world):
    tool = make(team, openapi(world, method="POST"))
    flow = Flow().add("each", "loop", items=[1, 2, 3], parallel=3)
    flow.nodes.append({"id": "call", "type": "tool", "parentId": "each", "position": {"x": 0, "y": 0},
                       "data": {"tool_id": tool, "input": {"n": ex(".item")}}})
    flow.output(ex(of("each")), after="each")
    answer = team.run(flow)
    assert answer["execution"]["status"] == "succeeded", answer["execution"]["error"]
    keys = [seen["headers"]["idempotency-key"] for seen in answer["execution"]["outputs"]]
    assert len(set(keys)) == 3 and all(key.startswith(answer["execution"]["id"]) for key in keys)


def test_a_cancelled_run_leaves_the_server(team, world):
    tool = make(team, openapi(world, "/slow"))
    before = len(world.seen)
    eid = team.start(Flow().add("call", "tool", tool_id=tool).output(1))
    wait_until(lambda: len(world.seen) > before, "the call of the tool", 15)
    began = time.monotonic()
    checked(team.cancel(eid), 200, 202)
    assert team.wait(eid)["execution"]["status"] == "cancelled" and time.monotonic() - began < 8
