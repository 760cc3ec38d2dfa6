"""Programs in sandboxes that ask language models by the gateway in their own network."""

import json

import pytest

from kit import models as made
from kit.client import checked, problem
from kit.flows import Flow, ex, of
from kit.model_server import ModelServer, Turn
from kit.models import KEY, decide, provider
from kit.secrets import places_of
from kit.tools import make_tool
from kit.waiting import wait_until

# What the programs below have in common: two requests by the standard library alone.
HEAD = '''
import json, os, sys, urllib.error, urllib.request
given = json.load(sys.stdin)
def post(path, body, base=os.environ.get("ANTHROPIC_BASE_URL", "http://127.0.0.1:8089"), raw=False):
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    request = urllib.request.Request(base + path, data, {"Content-Type": "application/json",
                                     "Authorization": "Bearer sk-mine", "x-api-key": "sk-mine"})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            text = answer.read().decode()
            return answer.status, text if raw else json.loads(text)
    except urllib.error.HTTPError as failure:
        text = failure.read().decode()
        return failure.code, text if raw else json.loads(text)
def chat(text, **more):
    return post("/v1/chat/completions", {"model": "scripted-1", "messages": [{"role": "user", "content": text}], **more})
def words(answer):
    return answer[1]["choices"][0]["message"]["content"] if answer[0] == 200 else answer[1]["error"]["message"]
'''


@pytest.fixture(scope="module")
def team(stack):
    return stack.tenant()


@pytest.fixture
def models():
    with ModelServer() as server:
        yield server


def program(source, models=True, language="python", **data):
    text = HEAD + source if language == "python" else source
    return Flow().code("c", text, language, models=models, **data).output(ex(of("c")))


def run(api, source, inputs=None, seconds=60.0, **data):
    return api.run(program(source, **data), inputs, seconds)


def of_node(answer, node="c"):
    return next(one for one in answer["nodes"] if one["node_id"] == node)


def good(answer):
    assert answer["execution"]["status"] == "succeeded", (answer["execution"]["error"], answer["logs"])
    return of_node(answer)["outputs"]


def fault(answer):
    assert answer["execution"]["status"] == "failed", answer["execution"]
    return of_node(answer)["error"]


def test_a_new_tenants_program_asks_the_demo_model(stack):
    answer = run(stack.tenant(), '''
status, body = post("/v1/chat/completions", {"model": "demo", "messages": [{"role": "user", "content": "Say hello"}]})
print(json.dumps([status, body["object"], body["choices"][0]["message"]["content"], body["usage"]["total_tokens"]]))
''')
    status, kind, text, tokens = good(answer)
    assert (status, kind) == (200, "chat.completion") and "demo" in text and tokens > 0
    step, = of_node(answer)["trace"]
    assert (step["kind"], step["state"], step["output"]) == ("model", "succeeded", text)
    assert of_node(answer)["receipt"]["models"]["model_calls"] == 1


def ledger(stack, eid):
    """Every call of a run in the ledger, once none is open."""
    names = ("caller", "state", "node", "attempt", "place", "model", "prompt", "completion", "fault")

    def settled():
        rows = stack.sql(f"SELECT {', '.join(names)} FROM control.model_call WHERE eid = %s ORDER BY created_at", eid)
        return ([dict(zip(names, row)) for row in rows],) if all(row[1] != "open" for row in rows) else None
    return wait_until(settled, "the ledger being settled", 40)[0]


# ---- what is answered --------------------------------------------------------------------------------------------------

def test_both_apis_answer_whole_and_streamed(stack, team, models):
    asks = provider(team, models)
    models.answers(lambda asked: Turn(f"You said {asked.last}.", usage={"prompt": 30, "completion": 12}))
    answer = run(team, '''
hello = {"model": "scripted-1", "messages": [{"role": "user", "content": "hi"}]}
out = {"chat": chat("one"), "message": post("/v1/messages", {**hello, "max_tokens": 50}),
       "chunks": post("/v1/chat/completions", {**hello, "stream": True, "stream_options": {"include_usage": True}}, raw=True),
       "events": post("/v1/messages", {**hello, "max_tokens": 50, "stream": True}, raw=True)}
with urllib.request.urlopen(os.environ["OPENAI_BASE_URL"] + "/models") as answer:
    out["models"] = [one["id"] for one in json.load(answer)["data"]]
out["variables"] = {k: v for k, v in os.environ.items() if "API" in k or "MODEL" in k or "URL" in k}
print(json.dumps(out))
''', models={"provider_id": asks})
    out = good(answer)
    status, body = out["chat"]
    assert status == 200 and body["choices"][0]["message"]["content"] == "You said one." and body["usage"]["total_tokens"] == 42
    status, body = out["message"]
    assert (status, body["type"], body["content"][0]["text"], body["usage"]["input_tokens"]) == (200, "message", "You said hi.", 30)
    chunks = [json.loads(line[6:]) for line in out["chunks"][1].splitlines() if line.startswith("data: {")]
    assert "".join(c["choices"][0]["delta"].get("content") or "" for c in chunks if c["choices"]) == "You said hi."
    assert chunks[-1]["usage"]["completion_tokens"] == 12 and out["chunks"][1].endswith("data: [DONE]\n\n")
    events = [json.loads(line[6:]) for line in out["events"][1].splitlines() if line.startswith("data: ")]
    assert "".join(e["delta"].get("text", "") for e in events if e["type"] == "content_block_delta") == "You said hi."
    assert events[-1]["type"] == "message_stop"
    assert any(name.endswith("/scripted-1") for name in out["models"])
    assert out["variables"] == {
        "OPENAI_BASE_URL": "http://127.0.0.1:8089/v1", "OPENAI_API_BASE": "http://127.0.0.1:8089/v1", "OPENAI_API_KEY": "windlass",
        "ANTHROPIC_BASE_URL": "http://127.0.0.1:8089", "ANTHROPIC_API_KEY": "windlass"}
    assert {asked.headers["authorization"] for asked in models.asked} == {f"Bearer {KEY}"}
    # the run tells of each call: in its trace, in the ledger, on its record and in its figures
    eid = answer["execution"]["id"]
    trace = of_node(answer)["trace"]
    assert [(s["kind"], s["state"], s["usage"]["prompt_tokens"]) for s in trace] == [("model", "succeeded", 30)] * 4
    rows = ledger(stack, eid)
    assert [(r["caller"], r["state"], r["node"], r["prompt"], r["completion"]) for r in rows] == [("run", "settled", "c", 30, 12)] * 4
    assert sorted(r["place"] for r in rows) == sorted(s["place"] for s in trace)
    kept = checked(team.get(f"executions/{eid}/exchanges"), 200).json()["exchanges"]
    assert sorted(one["place"] for one in kept) == sorted(s["place"] for s in trace)
    use = of_node(answer)["receipt"]["models"]
    assert (use["model_calls"], use["prompt_tokens"], use["completion_tokens"]) == (4, 120, 48)
    assert team.execution(eid)["execution"]["usage"]["model_calls"] == 4


def test_tools_and_vectors(stack, team, models):
    asks = provider(team, models)
    models.say(tools=[("weather", {"city": "Oslo"}, "call_a")])
    models.say(tools=[("weather", {"city": "Rome"}, "call_b")])
    answer = run(team, '''
tools = [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}]
status, body = chat("How is it?", tools=tools)
_, text = post("/v1/chat/completions", {"model": "scripted-1", "messages": [{"role": "user", "content": "And there?"}],
               "tools": tools, "stream": True}, raw=True)
_, vectors = post("/v1/embeddings", {"model": "scripted-1", "input": ["one", "two"]})
print(json.dumps([body["choices"][0]["message"]["tool_calls"], text, [len(one["embedding"]) for one in vectors["data"]]]))
''', models={"provider_id": asks})
    calls, text, lengths = good(answer)
    assert calls[0]["function"] == {"name": "weather", "arguments": '{"city": "Oslo"}'} or "Oslo" in calls[0]["function"]["arguments"]
    assert "Rome" in text.replace("\\", "") and '"tool_calls"' in text and len(lengths) == 2 and lengths[0] == lengths[1] > 0
    eid = answer["execution"]["id"]
    # a stream of a replay gives the tools, too
    again = team.wait(checked(team.post(f"executions/{eid}/replay"), 202).json()["execution_id"])
    assert of_node(again)["outputs"] == of_node(answer)["outputs"] or "Rome" in json.dumps(of_node(again)["outputs"])
    assert again["execution"]["status"] == "succeeded", again["execution"]


def test_javascript_asks_as_well(team, models):
    asks = provider(team, models)
    models.say("From node")
    source = '''const body = JSON.stringify({model: "any", messages: [{role: "user", content: "hi"}]});
const answer = await fetch(process.env.OPENAI_BASE_URL + "/chat/completions", {method: "POST", body,
    headers: {"content-type": "application/json"}});
console.log(JSON.stringify([(await answer.json()).choices[0].message.content, process.env.MODEL, process.env.OPENAI_MODEL_NAME]));'''
    answer = run(team, source, language="javascript", models={"provider_id": asks, "model": "scripted-2"})
    assert good(answer) == ["From node", "scripted-2", "scripted-2"]
    assert models.asked[0].json["model"] == "scripted-2"


def test_a_bare_name_finds_its_provider(stack, models):
    api = stack.tenant()
    asks = provider(api, models, default_model="scripted-2")
    name = checked(api.get(f"llm-providers/{asks}"), 200).json()["llm_provider"]["name"]
    answer = run(api, f'''
print(json.dumps([post("/v1/chat/completions", {{"model": name, "messages": [{{"role": "user", "content": "hi"}}]}})[0]
                  for name in ("scripted-2", {name!r} + "/scripted-1", "Demo/demo")]))''')
    assert good(answer) == [200] * 3
    assert [asked.json["model"] for asked in models.asked if asked.json] == ["scripted-2", "scripted-1"]


# ---- what is refused ---------------------------------------------------------------------------------------------------

def test_a_program_without_models_finds_nothing(team):
    answer = run(team, '''
import socket
try:
    socket.create_connection(("127.0.0.1", 8089), 3)
    print('"reached"')
except ConnectionRefusedError:
    print(json.dumps([k for k in os.environ if "API" in k]))
''', models=False)
    assert good(answer) == []


@pytest.mark.parametrize("bad", [{"provider": "x"}, {"max_calls": 0}, {"model": ""}, {"provider_id": "mine"}, "yes", 1])
def test_wrong_models_are_refused_when_the_flow_is_made(team, bad):
    answer = problem(team.post("flows", json={"name": "wrong", **program("print(1)", models=bad).document()}), 422)
    assert all("models" in one["path"] for one in answer["errors"]), answer


def test_only_providers_of_the_tenant_can_be_named(stack, team, models):
    flow = program("print(json.dumps(chat('hi')[1]['error']['code']))", models={"provider_id": provider(stack.tenant(), models)})
    flow_id = team.create(flow)
    answer = problem(team.post(f"flows/{flow_id}/publish", json={}), 422)
    assert "models.provider_id" in json.dumps(answer), answer
    assert good(team.wait(team.start(flow_id, version="draft"))) == "model_not_found" and not models.asked
    asks = provider(team, models)
    used = team.create(program("print(1)", models={"provider_id": asks}))
    checked(team.post(f"flows/{used}/publish", json={}), 200, 201)
    assert checked(team.get(f"llm-providers/{asks}"), 200).json()["llm_provider"]["uses"] == 1


def test_requests_that_cannot_be_get_an_error_of_their_format(team, models):
    asks = provider(team, models)
    models.say(status=401, body={"error": {"message": "Incorrect API key provided: " + KEY, "code": "invalid_api_key"}})
    answer = run(team, '''
hello = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
def refused(path, body):
    status, text = post(path, body, raw=True)
    return status, json.loads(text)["error"]["message"]
print(json.dumps([refused("/v1/chat/completions", hello), refused("/v1/chat/completions", b"{"), refused("/v1/chat/completions", b""),
    refused("/v1/chat/completions", {**hello, "n": 2}), refused("/v1/messages", {"model": "m"}), refused("/v1/nothing", {}),
    refused("/v1/models", {}), refused("/v1/embeddings", {"model": "m", "input": []}),
    refused("/v1/chat/completions", b"[" + b"0," * 600000 + b"0]"), refused("/v1/chat/completions", b"[" * 70 + b"]" * 70)]))
''', models={"provider_id": asks})
    found = good(answer)
    assert [status for status, _ in found] == [502, 400, 400, 422, 422, 404, 405, 422, 400, 400], found
    assert all(sentence for _, sentence in found) and KEY not in json.dumps(answer)
    assert "500000 values" in found[8][1]
    step, = of_node(answer)["trace"]
    assert (step["state"], step["error_code"]) == ("failed", "model_key_refused")


def test_max_calls_end_the_asking(team, models):
    asks = provider(team, models)
    answer = run(team, 'print(json.dumps([chat(str(n))[0] for n in range(5)] + [words(chat("more"))]))',
                 models={"provider_id": asks, "max_calls": 3})
    found = good(answer)
    assert found[:5] == [200, 200, 200, 429, 429] and "max_calls" in found[5] and len(models.asked) == 3


# ---- budgets -----------------------------------------------------------------------------------------------------------

STUBBORN = '''
for n in range(4):
    answer = chat("go " * 40 + str(n), max_tokens=10)
    if answer[0] != 200:
        sys.exit(json.dumps(answer))
print(json.dumps("all four"))
'''


def budget(api, **more):
    return checked(api.post("budgets", json={"scope": "run", "unit": "tokens", "limit": 350, "action": "stop", **more}), 201).json()["budget"]


def test_a_budget_that_is_reached_ends_the_program_with_the_budgets_error(stack, models):
    api = stack.tenant()
    asks = provider(api, models)
    budget(api)
    models.answers(lambda asked: Turn("ok", usage={"prompt": 120, "completion": 5}))
    answer = run(api, STUBBORN, models={"provider_id": asks})
    error = fault(answer)
    assert error["code"] == "budget_exceeded" and error["detail"]["budget"]["scope"] == "run", error
    asked = len(models.asked)
    assert 1 <= asked < 4 and error["detail"]["usage"]["model_calls"] == asked + 1
    assert "insufficient_quota" in json.dumps(answer["logs"])
    assert [r["state"] for r in ledger(stack, answer["execution"]["id"])] == ["settled"] * asked
    # a program that can do without goes on
    answer = run(api, 'print(json.dumps([chat("go " * 40 + str(n), max_tokens=10)[0] for n in range(4)]))', models={"provider_id": asks})
    assert good(answer)[0] == 200 and good(answer)[-1] == 429


def test_a_budget_that_asks_lets_the_program_begin_anew_where_it_was(stack, models):
    api = stack.tenant()
    asks = provider(api, models)
    budget(api, action="ask")
    models.answers(lambda asked: Turn("ok", usage={"prompt": 120, "completion": 5}))
    eid = api.start(program(STUBBORN, models={"provider_id": asks}))
    decide(api, eid, "approve")
    answer = api.wait(eid)
    assert good(answer) == "all four", answer["execution"]
    assert len(models.asked) == 4       # what was answered before is not asked again
    assert len(ledger(stack, eid)) == 4


def test_a_budget_that_sends_to_a_cheaper_model_is_not_noticed(stack, models):
    api = stack.tenant()
    asks = provider(api, models)
    budget(api, action="cheaper", cheaper={"llm_provider_id": asks, "model": "scripted-2"}, limit=350)
    models.answers(lambda asked: Turn("ok", usage={"prompt": 120, "completion": 5}))
    answer = run(api, STUBBORN, models={"provider_id": asks})
    if answer["execution"]["status"] == "succeeded":
        assert "scripted-2" in [asked.json["model"] for asked in models.asked]


# ---- replay, fork, attempts --------------------------------------------------------------------------------------------

PARALLEL = '''
import concurrent.futures
with concurrent.futures.ThreadPoolExecutor(8) as pool:
    same = list(pool.map(lambda n: words(chat("the same")), range(3)))
    other = list(pool.map(lambda n: words(chat(f"number {n}")), range(6)))
print(json.dumps({"same": sorted(same), "other": other}))
'''


def test_a_replay_asks_nobody_whatever_the_order(stack, team, models):
    asks = provider(team, models)
    count = iter(range(100))
    models.answers(lambda asked: Turn(f"{asked.last}: answer {next(count)}", usage={"prompt": 9, "completion": 2}))
    first = run(team, PARALLEL, models={"provider_id": asks})
    out = good(first)
    assert len(set(out["same"])) == 3 and len(models.asked) == 9
    for _ in range(2):
        eid = checked(team.post(f"executions/{first['execution']['id']}/replay"), 202).json()["execution_id"]
        again = team.wait(eid)
        assert good(again) == out and len(models.asked) == 9
        trace = of_node(again)["trace"]
        assert len(trace) == 9 and all(step["replayed"] for step in trace)
        assert ledger(stack, eid) == [] and team.execution(eid)["execution"]["usage"]["prompt_tokens"] == 0


def test_a_replay_that_asks_something_else_says_where(team, models):
    asks = provider(team, models)
    flow = program('import time\nprint(json.dumps(words(chat(f"the time is {time.time()}"))))', models={"provider_id": asks})
    first = api_run(team, flow)
    eid = checked(team.post(f"executions/{first['execution']['id']}/replay"), 202).json()["execution_id"]
    error = fault(team.wait(eid))
    assert error["code"] == "replay_diverged" and error["detail"]["place"].startswith("chat/"), error
    assert len(models.asked) == 1


def api_run(api, flow):
    answer = api.run(flow, None, 60)
    assert answer["execution"]["status"] == "succeeded", answer["execution"]
    return answer


def test_an_attempt_after_a_program_that_failed_asks_anew(stack, team, models):
    asks = provider(team, models)
    models.say("bad")
    models.say("good")
    answer = run(team, 'text = words(chat("try"))\nif text == "bad": sys.exit(3)\nprint(json.dumps(text))',
                 models={"provider_id": asks}, retry={"attempts": 2, "delay_ms": 0})
    assert good(answer) == "good" and len(models.asked) == 2
    assert sorted(r["attempt"] for r in ledger(stack, answer["execution"]["id"])) == [1, 2]


# ---- ends --------------------------------------------------------------------------------------------------------------

def test_calls_end_with_the_program_and_are_settled(stack, team, models):
    asks = provider(team, models)
    models.answers(lambda asked: Turn("slow", wait_s=30))
    answer = run(team, '''
import socket, threading
threading.Thread(target=chat, args=("never mind",), daemon=True).start()
threading.Thread(target=chat, args=("this neither",), kwargs={"stream": True}, daemon=True).start()
while len(os.listdir("/proc/self/task")) < 3: pass
import time; time.sleep(0.5)
print("1", flush=True)
os._exit(0)
''', models={"provider_id": asks}, seconds=25)
    assert good(answer) == 1
    rows = ledger(stack, answer["execution"]["id"])
    assert {r["state"] for r in rows} <= {"settled"}


def test_a_cancel_ends_calls_under_way(stack, team, models):
    asks = provider(team, models)
    models.answers(lambda asked: Turn("more ", endless=True, pause_s=0.01))
    eid = team.start(program('print(len(chat("talk", stream=True)))', models={"provider_id": asks}))
    wait_until(lambda: models.asked, "the model being asked", 20)
    checked(team.post(f"executions/{eid}/cancel"), 202)
    assert team.wait(eid)["execution"]["status"] == "cancelled"
    rows = ledger(stack, eid)
    assert [r["state"] for r in rows] == ["settled"] and rows[0]["completion"] > 0


def test_a_time_limit_ends_calls_under_way(stack, team, models):
    asks = provider(team, models)
    models.answers(lambda asked: Turn("slow", wait_s=30))
    answer = run(team, 'print(chat("talk"))', models={"provider_id": asks}, timeout_s=2, seconds=25)
    assert fault(answer)["code"] == "timeout"
    assert [r["state"] for r in ledger(stack, answer["execution"]["id"])] == ["settled"]


# ---- tools -------------------------------------------------------------------------------------------------------------

def test_a_code_tool_may_ask_models(stack, team, models):
    asks = provider(team, models)
    models.say("From a tool")
    tool = make_tool(team, {"kind": "code", "language": "python", "source": HEAD + 'print(json.dumps({"said": words(chat("hi"))}))',
                            "models": {"provider_id": asks}})
    answer = team.run(Flow().add("c", "tool", tool_id=tool, input={}).output(ex(of("c"))))
    assert good(answer) == {"said": "From a tool"}
    step, = of_node(answer)["trace"]
    assert step["output"] == "From a tool"
    problem(team.post("tools", json={"name": "wrong", "execution_config": {
        "kind": "http", "url": "https://example.org", "models": True}}), 422)


def test_a_tool_of_an_agent_may_ask_models(stack, team, models):
    asks = provider(team, models)
    tool = make_tool(team, {"kind": "code", "language": "python", "source": HEAD + 'print(json.dumps({"said": words(chat("inner"))}))',
                            "models": {"provider_id": asks}}, name="asker", description="Asks", input_schema={"type": "object"})
    def turn(asked):
        if asked.last == "inner":
            return Turn("From within")
        told = any(m.get("role") == "tool" for m in asked.messages)
        return Turn("Done") if told else Turn(tools=[("asker", {})])
    models.answers(turn)
    who = made.agent(team, asks, tools=[tool])
    answer = team.run(Flow().add("a", "agent", agent_id=who, task="Do it").output(ex(of("a"))), None, 60)
    assert answer["execution"]["status"] == "succeeded", answer["execution"]
    assert "From within" in json.dumps([asked.json for asked in models.asked])
    assert len(ledger(stack, answer["execution"]["id"])) == 3


# ---- a hostile program -------------------------------------------------------------------------------------------------

HOSTILE = '''
import socket, threading, time
def connect():
    s = socket.create_connection(("127.0.0.1", 8089), 10)
    s.settimeout(10)
    return s
def send(s, data):
    try:
        s.sendall(data)
        return True
    except OSError:
        return False
def receive(s):
    got = b""
    try:
        while True:
            piece = s.recv(65536)
            if not piece:
                return got
            got += piece
            if b"\\r\\n\\r\\n" in got:
                return got
    except OSError:
        return got
out = {}
# garbage, and requests that are none
for name, data in {"garbage": os.urandom(4096), "tls": b"\\x16\\x03\\x01\\x02\\x00\\x01\\x00\\x01\\xfc\\x03\\x03" + bytes(200),
                   "long line": b"GET /" + b"x" * 100000, "long header": b"GET / HTTP/1.1\\r\\nA: " + b"y" * 100000,
                   "no host": b"GET /v1/models HTTP/1.1\\r\\n\\r\\n", "version": b"GET /v1/models HTTP/9.9\\r\\nHost: a\\r\\n\\r\\n",
                   "length": b"POST /v1/messages HTTP/1.1\\r\\nHost: a\\r\\nContent-Length: -5\\r\\n\\r\\n",
                   "two lengths": b"POST /v1/messages HTTP/1.1\\r\\nHost: a\\r\\nContent-Length: 2\\r\\nContent-Length: 3\\r\\n\\r\\n{}",
                   "huge": b"POST /v1/messages HTTP/1.1\\r\\nHost: a\\r\\nContent-Length: 99999999999\\r\\n\\r\\n",
                   "chunk": b"POST /v1/messages HTTP/1.1\\r\\nHost: a\\r\\nTransfer-Encoding: chunked\\r\\n\\r\\nzz\\r\\n"}.items():
    s = connect()
    send(s, data)
    try: s.shutdown(socket.SHUT_WR)
    except OSError: pass
    out[name] = receive(s)[:15].decode("latin-1")
    s.close()
# bodies of ten megabytes at once, never ended, and one without end in chunks
held = []
for n in range(8):
    s = connect()
    send(s, b"POST /v1/chat/completions HTTP/1.1\\r\\nHost: a\\r\\nContent-Length: 10485760\\r\\n\\r\\n")
    s.settimeout(2)
    for _ in range(10):
        if not send(s, b"x" * (1 << 20)): break
    held.append(s)
s = connect()
send(s, b"POST /v1/chat/completions HTTP/1.1\\r\\nHost: a\\r\\nTransfer-Encoding: chunked\\r\\n\\r\\n")
chunks = 0
while chunks < 64 and send(s, b"100000\\r\\n" + b"x" * (1 << 20) + b"\\r\\n"): chunks += 1
out["chunks"] = chunks
for s in held: s.close()
# half a request each on as many connections as there are, and a slow one
slow = connect()
send(slow, b"POST /v1/chat/completions HTTP/1.1\\r\\nHost: a\\r\\nX: ")
held = []
try:
    for n in range(200):
        s = socket.socket(); s.settimeout(1); s.connect(("127.0.0.1", 8089)); held.append(s)
        send(s, b"GET /v1/models HT")
        send(slow, b"y")
except OSError:
    pass
out["connections"] = len(held) >= 64
for s in held: s.close()
slow.close()
for n in range(1000):
    try:
        s = socket.socket(); s.settimeout(1); s.connect(("127.0.0.1", 8089)); s.close()
    except OSError: pass
# three requests in one piece
s = connect()
send(s, b"GET /v1/models HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n" * 3)
got = b""
try:
    while got.count(b"HTTP/1.1 200") < 3:
        piece = s.recv(65536)
        if not piece: break
        got += piece
except OSError: pass
out["pipelined"] = got.count(b"HTTP/1.1 200")
s.close()
out["after"] = None
for _ in range(50):
    try:
        out["after"] = words(chat("still there?"))
        break
    except OSError:
        time.sleep(0.1)
print(json.dumps(out))
'''


def test_a_hostile_program_harms_only_itself(stack, team, models):
    asks = provider(team, models)
    models.answers(lambda asked: Turn("Still here"))
    eid = team.start(program(HOSTILE, models={"provider_id": asks}, limits={"pids": 256}))
    # another run asks and is answered meanwhile
    assert good(run(team, 'print(json.dumps(words(chat("hi"))))', models={"provider_id": asks})) == "Still here"
    answer = team.wait(eid, seconds=90)
    out = good(answer)
    assert out["after"] == "Still here" and out["pipelined"] == 3 and out["connections"], out
    assert out["chunks"] < 64, "a body without end was taken"
    assert all(out[name] == "" or out[name].startswith(("HTTP/1.1 4", "HTTP/1.1 5", "HTTP/1.0 4")) for name in
               ("garbage", "tls", "long line", "long header", "no host", "version", "length", "huge", "chunk")), out
    assert len([asked for asked in models.asked if asked.json]) == 2


# ---- secrets -----------------------------------------------------------------------------------------------------------

def test_no_secret_reaches_the_sandbox(stack, team, models):
    asks = provider(team, models)
    models.answers(lambda asked: Turn("Your key is " + asked.headers["authorization"]))
    answer = run(team, '''
seen = [words(chat("What is my key?")), post("/v1/chat/completions", {"model": "m", "stream": True,
        "messages": [{"role": "user", "content": "and streamed?"}]}, raw=True)[1], str(dict(os.environ))]
for base, _, names in os.walk("/work"):
    seen += [open(os.path.join(base, name), errors="replace").read() for name in names if name != "main.py"]
print(json.dumps(seen))
''', models={"provider_id": asks})
    assert KEY not in json.dumps(answer) and good(answer)
    assert places_of(stack, KEY) == []
