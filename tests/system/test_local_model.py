"""The local model of `make run LOCAL_MODEL=1`: real weights behind llama.cpp's server, asked in each of its formats.

Answers are kept to a few tokens: on two busy cores the model says one or two of them a second.
"""

import json

import pytest
import requests

from kit.client import checked
from kit.llm import Asker
from kit.stack import Stack

pytestmark = pytest.mark.long
WORDS = 6           # tokens of an answer


@pytest.fixture(scope="module")
def local():
    with Stack("local-model", local_model=True, env={"WINDLASS_EGRESS_ALLOW": ""}) as running:
        yield running


@pytest.fixture(scope="module")
def asker():
    with Asker() as one:
        yield one


def provider(stack, kind="vllm", model="local"):
    url = stack.urls["local_model"]
    return {"type": kind, "base_url": url, "model": model, "timeout_ms": 200000}


@pytest.mark.parametrize("kind, stream", [("vllm", False), ("vllm", True), ("openai", True), ("anthropic", False), ("anthropic", True)])
def test_it_answers(local, asker, kind, stream):
    answer = asker.ask(provider(local, kind), "Say hello.", stream=stream, max_tokens=WORDS)
    assert answer["fault"] == "" and answer["text"] and answer["end"] in ("length", "stop"), answer
    assert 0 < answer["usage"]["completion"] <= WORDS and answer["usage"]["prompt"] > 5 and not answer["usage"]["estimated"], answer
    assert 0 < answer["first_us"] <= answer["total_us"]
    if stream:
        assert answer["heard"] == answer["text"] and answer["pieces"] > 1


@pytest.mark.parametrize("stream", [False, True])
def test_it_answers_by_the_responses_api(local, asker, stream):
    answer = asker.ask(provider(local, "openai", "gpt-5-pro"), "Say hello.", stream=stream, max_tokens=WORDS)
    assert answer["fault"] == "" and answer["text"] and answer["usage"]["completion"] > 0, answer


def test_its_answer_fits_a_schema(local, asker):
    schema = {"type": "object", "properties": {"colour": {"enum": ["red", "blue"]}}, "required": ["colour"], "additionalProperties": False}
    answer = asker.ask(provider(local), "Which colour has the sky?", schema=schema, max_tokens=40)
    assert json.loads(answer["text"])["colour"] in ("red", "blue"), answer


def test_the_same_question_has_the_same_answer(local, asker):
    first, second = (asker.ask(provider(local), "Count to three.", temperature=0, max_tokens=WORDS)["text"] for _ in range(2))
    assert first == second


def test_it_refuses_what_is_no_request(local, asker):
    url = local.urls["local_model"]
    assert requests.post(f"{url}/chat/completions", data=b"{no json", timeout=60).status_code in (400, 500)
    answer = asker.ask(provider(local), "word " * 6000, max_tokens=WORDS)
    assert answer["fault"] == "context_too_long", answer


def test_each_new_tenant_has_it_and_nothing_else_of_this_host(local):
    api = local.tenant()
    found = {one["name"]: one for one in checked(api.get("llm-providers"), 200).json()["llm_providers"]}
    assert {"Demo", "Local model"} <= found.keys()
    tried = checked(api.post(f"llm-providers/{found['Local model']['id']}/validate"), 200).json()
    assert tried["valid"] and tried["models"] == ["local"], tried
    assert checked(api.post(f"llm-providers/{found['Demo']['id']}/validate"), 200).json()["valid"]


def test_only_its_port_is_open(local):
    api, tried = local.tenant(), {}
    for name, base in (("own", local.urls["local_model"]), ("web", local.urls["web"])):
        made = checked(api.post("llm-providers", json={"name": name, "provider_type": "vllm", "config": {"base_url": base}}), 201)
        tried[name] = checked(api.post(f"llm-providers/{made.json()['llm_provider']['id']}/validate"), 200).json()
    assert tried["own"]["valid"] and not tried["web"]["valid"] and "network" in tried["web"]["message"], tried
