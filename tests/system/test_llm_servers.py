"""lib/llm against the scripted model server: each format whole and streamed, and what servers do wrong."""

import json

import pytest

from kit.llm import Asker
from kit.model_server import ModelServer, Turn

TYPES = ["openai", "vllm", "anthropic", "ollama"]
TOOL = {"name": "lookup", "description": "Looks up", "parameters": {"type": "object", "properties": {"key": {"type": "string"}}}}
TEXT = "Grüße, 世界 and 👋 to all of you"
USAGE = {"prompt": 100, "completion": 20}


@pytest.fixture(scope="module")
def models():
    with ModelServer() as server:
        yield server


@pytest.fixture
def asker():
    with Asker() as one:
        yield one


@pytest.fixture(autouse=True)
def fresh(models):
    models.turns.clear()
    models.asked.clear()


def provider(models, kind, **more):
    return {"type": kind, "base_url": models.base(kind), "model": "scripted-1", "api_key": "sk-planted-77", **more}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("kind", TYPES)
def test_each_format_carries_text_tools_and_usage(models, asker, kind, stream):
    models.say(TEXT, tools=[("lookup", {"key": "ä"}), ("other", {})], usage=USAGE, split=5 if stream else 0)
    answer = asker.ask(provider(models, kind), stream=stream, tools=[TOOL])
    assert answer["fault"] == "" and answer["text"] == TEXT and answer["end"] == "tools", answer
    assert [(use["name"], json.loads(use["arguments"])) for use in answer["tools"]] == [("lookup", {"key": "ä"}), ("other", {})]
    assert all(use["id"] for use in answer["tools"]) and answer["tools"][0]["id"] != answer["tools"][1]["id"]
    assert (answer["usage"]["prompt"], answer["usage"]["completion"], answer["usage"]["estimated"]) == (100, 20, False)
    assert answer["heard"] == (TEXT if stream else None) and answer["model"] == "scripted-1"
    assert bool(models.asked[0].json.get("stream")) == stream
    asked = {"anthropic": ("x-api-key", "sk-planted-77")}.get(kind, ("authorization", "Bearer sk-planted-77"))
    assert models.asked[0].headers[asked[0]] == asked[1]


@pytest.mark.parametrize("kind", TYPES)
def test_results_of_tools_go_back(models, asker, kind):
    models.say("done")
    answer = asker.raw({"chain": [provider(models, kind)], "tools": [TOOL], "messages": [
        {"role": "system", "text": "Be brief"}, {"role": "user", "text": "Look"},
        {"role": "assistant", "tool_uses": [{"id": "c1", "name": "lookup", "arguments": '{"key": "a"}'}]},
        {"role": "tool", "tool_use_id": "c1", "text": "42"}]})
    assert answer["text"] == "done"
    assert "42" in json.dumps(models.asked[0].messages) and "lookup" in json.dumps(models.asked[0].messages)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("kind", TYPES)
def test_an_answer_fits_a_schema_in_each_format(models, asker, kind, stream):
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"], "additionalProperties": False}
    if kind == "anthropic":
        models.say("Sure:", tools=[("answer", {"n": 3})])
    else:
        models.say('{"n": 3}')
    answer = asker.ask(provider(models, kind), stream=stream, schema=schema)
    assert json.loads(answer["text"]) == {"n": 3} and answer["tools"] == [] and answer["end"] == "stop", answer
    asked = models.asked[0].json
    assert "response_format" in asked or "format" in asked or asked["tool_choice"]["name"] == "answer"


def test_models_of_the_responses_api_are_asked_by_it(models, asker):
    models.say("Thought out", tools=[("lookup", {"key": "x"})], usage={**USAGE, "cached": 60, "reasoning": 15})
    answer = asker.ask({**provider(models, "openai"), "model": "gpt-5-pro"}, stream=True, tools=[TOOL], stops=["out"])
    assert models.asked[0].path == "/v1/responses" and "stop" not in models.asked[0].json
    assert answer["text"] == "Thought " and answer["tools"][0]["name"] == "lookup"      # the stop word is minded here
    assert (answer["usage"]["cached"], answer["usage"]["reasoning"]) == (60, 15)
    models.fail("responses_only")
    models.say("by the newer one")
    answer = asker.ask({**provider(models, "openai"), "model": "brand-new"})
    assert answer["text"] == "by the newer one" and [one.path for one in models.asked[1:]] == ["/v1/chat/completions", "/v1/responses"]


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("fault, word", [
    ("rate", "model_rate_limited"), ("broken", "model_unavailable"), ("html", "model_answer_invalid"),
    ("garbage", "model_answer_invalid"), ("empty", "model_unavailable"), ("key", "model_key_refused"), ("model", "model_unknown"),
    ("no_tools", "tools_unsupported"), ("no_auto_tools", "tools_unsupported"), ("too_long", "context_too_long"),
    ("filter", "content_filter"), ("overloaded", "model_unavailable")])
def test_what_servers_say_wrong_is_told_apart(models, asker, kind, fault, word):
    for stream in (False, True):
        models.fail(fault)
        answer = asker.ask(provider(models, kind, id=f"{kind}-{stream}"), stream=stream, tools=[TOOL])
        assert answer["fault"] == word and answer["error"] and answer["text"] is None, answer
        assert "sk-planted" not in json.dumps(answer)


@pytest.mark.parametrize("kind", TYPES)
def test_streams_that_break_off_are_told_once(models, asker, kind):
    whole = ModelFrames(models, asker, kind).length()
    for cut in range(whole // 5, whole, whole // 5):
        models.say(TEXT, cut=cut)
        models.say(TEXT)
        answer = asker.ask(provider(models, kind, max_retries=1, id=f"{kind}-{cut}"), stream=True)
        assert answer["text"] == answer["heard"] == TEXT, (cut, answer)
        models.turns.clear()


class ModelFrames:
    """How many bytes the answer has that is cut."""

    def __init__(self, models, asker, kind):
        self.models, self.asker, self.kind = models, asker, kind

    def length(self):
        sizes = []
        send = self.models.cut

        def measure(request, turn, frames):
            frames = list(frames)
            sizes.append(sum(map(len, frames)))
            return send(request, turn, iter(frames))
        self.models.cut = measure
        try:
            self.models.say(TEXT)
            self.asker.ask(provider(self.models, self.kind), stream=True)
        finally:
            self.models.cut = send
        return sizes[0]


@pytest.mark.parametrize("kind", TYPES)
def test_a_slow_stream_is_heard_as_it_comes_and_an_endless_one_ends(models, asker, kind):
    models.say(TEXT, pause_s=0.01)
    answer = asker.ask(provider(models, kind), stream=True)
    assert answer["heard"] == TEXT and answer["pieces"] > 2 and answer["first_us"] < answer["total_us"] - 20000, answer
    models.fail("endless", text="more " * 20000)
    answer = asker.ask(provider(models, kind), stream=True, timeout_ms=60000)
    assert answer["fault"] == "model_answer_invalid" and answer["usage"]["completion"] > 1000


def test_a_late_answer_is_not_awaited(models, asker):
    models.say("too late", wait_s=20)
    answer = asker.ask(provider(models, "openai"), timeout_ms=300)
    assert answer["fault"] == "model_timeout" and answer["total_us"] < 15_000_000


def test_another_provider_of_another_format_stands_in(models, asker):
    models.fail("broken")
    models.say("from the second")
    answer = asker.ask([provider(models, "anthropic", id="a"), provider(models, "ollama", id="b")], stream=True)
    assert answer["text"] == "from the second" and answer["provider"] == "b" and answer["attempts"] == 2


def test_a_server_that_takes_no_schema_is_given_a_tool(models, asker):
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}}
    models.say(status=400, body={"error": {"message": "response_format is not supported by this server"}})
    models.say(tools=[("answer", {"n": 1})])
    models.say(tools=[("answer", {"n": 2})])
    one = provider(models, "vllm")
    assert json.loads(asker.ask(one, schema=schema)["text"]) == {"n": 1}
    assert json.loads(asker.ask(one, schema=schema, stream=True)["text"]) == {"n": 2}
    assert len(models.asked) == 3 and "response_format" not in models.asked[2].json     # learned


@pytest.mark.parametrize("kind", ["openai", "vllm", "ollama", "demo"])
def test_vectors_and_lists_of_models(models, asker, kind):
    answer = asker.raw({"chain": [provider(models, kind)], "embed": ["one", "two", "one"]})
    size = answer["dimensions"]
    first, second, third = (answer["vectors"][n * size:(n + 1) * size] for n in range(3))
    assert first == third != second and abs(sum(x * x for x in first) - 1) < 1e-4
    listed = asker.raw({"chain": [provider(models, kind)], "models": True})
    assert listed["models"] == (["demo"] if kind == "demo" else ["scripted-1", "scripted-2"])
