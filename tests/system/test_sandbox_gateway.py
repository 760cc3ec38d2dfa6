"""Programs in sandboxes that ask language models by the gateway in their own network."""

import json

import pytest

from kit import models as made
from kit.client import checked
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


def good(answer):
    assert answer["execution"]["status"] == "succeeded", (answer["execution"]["error"], answer["logs"])
    return answer["node"]["c"]["outputs"]


def fault(answer):
    assert answer["execution"]["status"] == "failed", answer["execution"]
    return answer["node"]["c"]["error"]


def test_a_new_tenants_program_asks_the_demo_model(stack):
    answer = run(stack.tenant(), '''
status, body = post("/v1/chat/completions", {"model": "demo", "messages": [{"role": "user", "content": "Say hello"}]})
print(json.dumps([status, body["object"], body["choices"][0]["message"]["content"], body["usage"]["total_tokens"]]))
''')
    status, kind, text, tokens = good(answer)
    assert (status, kind) == (200, "chat.completion") and "demo" in text and tokens > 0
    step, = answer["node"]["c"]["trace"]
    assert (step["kind"], step["state"], step["output"]) == ("model", "succeeded", text)
    assert answer["node"]["c"]["receipt"]["models"]["model_calls"] == 1
