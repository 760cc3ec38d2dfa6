"""The local model of `make run LOCAL_MODEL=1`: real weights behind llama.cpp's server, asked in each of its formats.

Answers are kept to a few tokens: on two busy cores the model says one or two of them a second.
"""

import json

import pytest
import requests

from kit.client import checked
from kit.guide import Guide
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


def test_it_is_told_of_tools(local, asker):
    """Its weights' own template knows none, and its server would leave them out without a word."""
    tools = [{"name": "weather", "description": "Tells the weather", "schema": {"type": "object", "properties": {"city": {"type": "string"}}}}]
    plain, told = (asker.ask(provider(local), "Hello?", max_tokens=WORDS, **more) for more in ({}, {"tools": tools}))
    assert told["fault"] == "" and told["usage"]["prompt"] > plain["usage"]["prompt"] + 40, (plain, told)


def test_it_makes_vectors(local):
    api = local.tenant()
    body = {"model": "Local model/local", "input": ["The cat sat on the mat", "A cat lies on the mat", "Interest rates rose by a percent"]}
    made = [one["embedding"] for one in checked(api.request("POST", "/v1/embeddings", json=body), 200).json()["data"]]
    near, far = (sum(x * y for x, y in zip(made[0], other)) for other in made[1:])
    assert len(made[0]) > 100 and near > far


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


def test_the_page_of_crews_works_with_it(local, tmp_path):
    """docs/guides/creating-crews.md, typed word for word: what the model says does not matter to it."""
    Guide("creating-crews.md").run(tmp_path, local.urls["web"], timeout=900, MODEL="Local model", TENANT="tiny-crews")
    rows = local.sql("""SELECT c.state, c.fault, c.prompt, c.completion FROM control.model_call c JOIN control.tenant t ON t.id = c.tenant
                        WHERE t.slug = 'tiny-crews' AND c.provider_type = 'vllm'""")
    assert len(rows) > 12 and {row[0] for row in rows} == {"settled"}, rows
    assert all(prompt > 0 for _, fault, prompt, _ in rows if fault == ""), rows
    assert sum(completion > 0 for *_, completion in rows) > 10, rows
