"""The gateway, spoken to by the official clients of OpenAI and Anthropic: what they get, what they are refused, and what
the ledger of usage holds afterwards."""

import concurrent.futures
import json
import threading
import uuid

import anthropic
import httpx
import openai
import psycopg
import pytest

from kit import models as made
from kit.client import checked, problem
from kit.model_server import ModelServer, Turn
from kit.waiting import wait_until

USAGE = {"prompt": 30, "completion": 12, "cached": 4, "reasoning": 2}
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"], "additionalProperties": False}
WEATHER = {"type": "object", "properties": {"city": {"type": "string"}}}
USER = [{"role": "user", "content": "What?"}]
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR4nGNgYGD4DwABBAEAX+XDSwAAAABJRU5ErkJggg=="


@pytest.fixture
def models():
    with ModelServer() as server:
        yield server


@pytest.fixture
def admin(stack, models):
    """A tenant whose one provider is the scripted server."""
    admin = stack.tenant()
    admin.provider = made.provider(admin, models)
    admin.provider_name = checked(admin.get(f"llm-providers/{admin.provider}"), 200).json()["llm_provider"]["name"]
    return admin


def key_of(api, role="executor"):
    return checked(api.post("api-keys", json={"name": f"gateway {role}", "role": role}), 201).json()["key"]


def of_openai(stack, key, **more):
    return openai.OpenAI(base_url=stack.urls["web"] + "/v1", api_key=key, max_retries=0, timeout=60, **more)


def of_anthropic(stack, key, **more):
    return anthropic.Anthropic(base_url=stack.urls["web"], api_key=key, max_retries=0, timeout=60, **more)


@pytest.fixture
def client(stack, admin):
    with of_openai(stack, key_of(admin)) as client:
        yield client


@pytest.fixture
def claude(stack, admin):
    with of_anthropic(stack, key_of(admin)) as client:
        yield client


def ledger(stack, tenant):
    """Every call of the tenant in the ledger, oldest first, once none is open."""
    names = ("caller", "state", "eid", "place", "model", "prompt", "completion", "cached", "reasoning", "fault")

    def settled():
        rows = stack.sql(f"SELECT {', '.join(names)} FROM control.model_call WHERE tenant = %s ORDER BY created_at", tenant)
        return ([dict(zip(names, row)) for row in rows],) if all(row[1] != "open" for row in rows) else None
    return wait_until(settled, "the ledger being settled", 40)[0]


def test_a_chat_is_answered_and_written_down(stack, admin, models, client):
    models.say("It is the core.", usage=USAGE)
    answer = client.chat.completions.create(model="scripted-1", messages=[
        {"role": "developer", "content": "Be short."},
        {"role": "user", "content": [{"type": "text", "text": "What is this?"},
                                     {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}}]}],
        stop=["###"], temperature=0.5, top_p=0.9, max_completion_tokens=50, user="somebody", seed=4)
    assert answer.choices[0].message.content == "It is the core." and answer.choices[0].finish_reason == "stop"
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens, answer.usage.total_tokens) == (30, 12, 42)
    assert answer.usage.prompt_tokens_details.cached_tokens == 4
    asked = models.asked[-1].json
    assert asked["stop"] == ["###"] and asked["temperature"] == 0.5 and asked["max_tokens"] == 50
    assert asked["messages"][1]["content"][1]["image_url"]["url"].endswith(PIXEL)
    assert models.asked[-1].headers["authorization"] == f"Bearer {made.KEY}"
    assert ledger(stack, admin.tenant) == [{
        "caller": "gateway", "state": "settled", "eid": None, "place": None, "model": "scripted-1", "prompt": 30,
        "completion": 12, "cached": 4, "reasoning": 2, "fault": ""}]


def test_a_stream_comes_piece_by_piece(stack, admin, models, client):
    models.answers(lambda asked: Turn("Counting to twelve, slowly", usage=USAGE, pause_s=0.05))
    chunks = list(client.chat.completions.create(model="scripted-1", messages=USER, stream=True,
                                                 stream_options={"include_usage": True}))
    text = [chunk.choices[0].delta.content for chunk in chunks if chunk.choices and chunk.choices[0].delta.content]
    assert "".join(text) == "Counting to twelve, slowly" and len(text) >= 3
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] == "stop"
    assert chunks[-1].usage.prompt_tokens == 30 and chunks[-1].choices == []
    assert all(chunk.usage is None for chunk in chunks[:-1])
    bare = list(client.chat.completions.create(model="scripted-1", messages=USER, stream=True))
    assert all(chunk.usage is None for chunk in bare)
    assert [row["prompt"] for row in ledger(stack, admin.tenant)] == [30, 30]


@pytest.mark.parametrize("stream", [False, True])
def test_tools_are_called_and_their_results_go_back(models, client, stream):
    tools = [{"type": "function", "function": {"name": "weather", "description": "Tells it", "parameters": WEATHER}}]
    models.say(tools=[("weather", {"city": "Oslo"}, "call_a"), ("weather", {"city": "Rome"}, "call_b")])
    if stream:
        with client.chat.completions.stream(model="scripted-1", messages=USER, tools=tools, tool_choice="required") as events:
            events.until_done()
            choice = events.get_final_completion().choices[0]
    else:
        choice = client.chat.completions.create(model="scripted-1", messages=USER, tools=tools,
                                                tool_choice="required").choices[0]
    calls = choice.message.tool_calls
    assert choice.finish_reason == "tool_calls" and [call.id for call in calls] == ["call_a", "call_b"]
    assert [json.loads(call.function.arguments) for call in calls] == [{"city": "Oslo"}, {"city": "Rome"}]
    assert models.asked[-1].json["tool_choice"] == "required"
    models.say("Cold and warm")
    said = [*USER, {"role": "assistant", "content": None, "tool_calls": [
        {"id": call.id, "type": "function", "function": {"name": "weather", "arguments": call.function.arguments}} for call in calls]},
        {"role": "tool", "tool_call_id": "call_a", "content": "-3"}, {"role": "tool", "tool_call_id": "call_b", "content": "21"}]
    answer = client.chat.completions.create(model="scripted-1", messages=said, tools=tools)
    assert answer.choices[0].message.content == "Cold and warm"
    assert [one["role"] for one in models.asked[-1].json["messages"]] == ["user", "assistant", "tool", "tool"]


def test_answers_fit_a_schema(models, client):
    models.say('{"city":"Oslo"}')
    answer = client.chat.completions.create(model="scripted-1", messages=USER, response_format={
        "type": "json_schema", "json_schema": {"name": "place", "schema": SCHEMA, "strict": True}})
    assert json.loads(answer.choices[0].message.content) == {"city": "Oslo"}
    assert models.asked[-1].json["response_format"]["json_schema"]["schema"] == SCHEMA


def test_vectors_come_in_both_encodings(stack, admin, client):
    packed = client.embeddings.create(model="scripted-1", input=["one text", "another"])
    plain = client.embeddings.create(model="scripted-1", input=["one text", "another"], encoding_format="float")
    assert len(packed.data) == 2 and packed.usage.prompt_tokens == 3
    assert sum(x * x for x in plain.data[0].embedding) == pytest.approx(1, abs=1e-4)
    for one, other in zip(packed.data, plain.data):
        assert one.embedding == pytest.approx(other.embedding, abs=1e-6)
    assert [row["prompt"] for row in ledger(stack, admin.tenant)] == [3, 3]
    with pytest.raises(openai.UnprocessableEntityError):
        client.embeddings.create(model="scripted-1", input="x", dimensions=4)


def test_models_are_listed_and_reached_by_name(admin, models, client, claude):
    with ModelServer() as second:
        second.models = ["meta/only-here"]
        other = made.provider(admin, second)
        name = checked(admin.get(f"llm-providers/{other}"), 200).json()["llm_provider"]["name"]
        listed = {one.id: one.owned_by for one in client.models.list()}
        assert set(listed) == {"Demo/demo", f"{admin.provider_name}/scripted-1", f"{admin.provider_name}/scripted-2",
                               f"{name}/scripted-1", f"{name}/meta/only-here"}
        assert [one.id for one in claude.models.list()] == list(listed)
        for model, server in ((f"{name}/scripted-1", second), (f"{other}/x/y", second), ("meta/only-here", second),
                              ("scripted-2", models), (f"{admin.provider_name.upper()}/other", models)):
            before = len(server.asked)
            assert client.chat.completions.create(model=model, messages=USER).model == model
            asked = [one.json["model"] for one in server.asked[before:] if one.path == "/v1/chat/completions"]
            assert asked == [model.split("/", 1)[1] if model.lower().startswith((name, other, admin.provider_name)) else model]


def test_messages_are_answered(stack, admin, models, claude):
    models.say("It is the core.", usage=USAGE)
    answer = claude.messages.create(model="scripted-1", max_tokens=50, system=[{"type": "text", "text": "Be short."}], messages=[
        {"role": "user", "content": [{"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PIXEL}},
                                     {"type": "text", "text": "What is this?"}]}], stop_sequences=["###"])
    assert answer.content[0].text == "It is the core." and answer.stop_reason == "end_turn"
    assert (answer.usage.input_tokens, answer.usage.cache_read_input_tokens, answer.usage.output_tokens) == (26, 4, 12)
    said = models.asked[-1].json["messages"]
    assert said[0] == {"role": "system", "content": "Be short."} and "image_url" in json.dumps(said[1])
    assert ledger(stack, admin.tenant)[0]["prompt"] == 30


def test_messages_stream_with_tools(stack, admin, models, claude):
    tools = [{"name": "weather", "description": "Tells it", "input_schema": WEATHER}]
    models.say("Let me look.", tools=[("weather", {"city": "Oslo"}, "call_a"), ("weather", {"city": "Rome"}, "call_b")], usage=USAGE)
    with claude.messages.stream(model="scripted-1", max_tokens=50, messages=USER, tools=tools,
                                tool_choice={"type": "any"}) as events:
        kinds = [event.type for event in events]
        answer = events.get_final_message()
    assert {"message_start", "content_block_start", "content_block_delta", "content_block_stop", "message_delta",
            "message_stop"} <= set(kinds)
    assert kinds.count("content_block_start") == kinds.count("content_block_stop") == 3
    assert [block.type for block in answer.content] == ["text", "tool_use", "tool_use"]
    assert answer.content[0].text == "Let me look." and answer.content[2].input == {"city": "Rome"}
    assert answer.stop_reason == "tool_use" and answer.usage.output_tokens == 12 and answer.usage.input_tokens == 26
    models.say("Cold")
    claude.messages.create(model="scripted-1", max_tokens=50, tools=tools, messages=[
        *USER, {"role": "assistant", "content": [block.model_dump(include={"type", "id", "name", "input", "text"}, exclude_none=True)
                                                for block in answer.content]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "call_a", "content": "-3"},
                                     {"type": "tool_result", "tool_use_id": "call_b", "content": [{"type": "text", "text": "21"}]}]}])
    assert [one["role"] for one in models.asked[-1].json["messages"]] == ["user", "assistant", "tool", "tool"]
    assert len(ledger(stack, admin.tenant)) == 2


def test_who_may_not_is_told_in_the_clients_format(stack, admin, models):
    wrong = "wlk_" + "x" * 43
    with of_openai(stack, wrong) as client, pytest.raises(openai.AuthenticationError) as refused:
        client.chat.completions.create(model="scripted-1", messages=USER)
    assert refused.value.code == "invalid_api_key"
    with of_anthropic(stack, wrong) as claude, pytest.raises(anthropic.AuthenticationError) as refused:
        claude.messages.create(model="scripted-1", max_tokens=5, messages=USER)
    assert refused.value.body["error"]["type"] == "authentication_error"
    viewer = key_of(admin, "viewer")
    with of_openai(stack, viewer) as client, pytest.raises(openai.PermissionDeniedError):
        client.models.list()
    with of_anthropic(stack, viewer) as claude, pytest.raises(anthropic.PermissionDeniedError):
        claude.messages.create(model="scripted-1", max_tokens=5, messages=USER)
    answer = httpx.post(stack.urls["web"] + "/v1/chat/completions", json={"model": "m", "messages": USER}, trust_env=False)
    assert problem(answer, 401)["error"]["type"] == "authentication_error"
    assert models.asked == []
    with of_openai(stack, admin.access) as client:      # a person's own token is as good
        assert client.chat.completions.create(model="scripted-1", messages=USER).choices[0].message.content == "ok"


@pytest.mark.parametrize("fault, status", [("model", 404), ("too_long", 400), ("key", 502), ("rate", 429), ("broken", 503),
                                           ("html", 502), ("filter", 400)])
def test_what_a_provider_refuses_has_its_status(admin, models, client, claude, fault, status):
    models.fail(fault)
    with pytest.raises(openai.APIStatusError) as refused:
        client.chat.completions.create(model="scripted-1", messages=USER)
    assert refused.value.status_code == status and refused.value.body["message"]
    assert made.KEY not in refused.value.response.text


@pytest.mark.parametrize("body, status", [
    ({"model": "m"}, 400), ({"model": "m", "messages": []}, 400), ({"model": "", "messages": USER}, 400),
    ({"model": "m", "messages": USER, "n": 2}, 400), ({"model": "m", "messages": USER, "temperature": 9}, 400),
    ({"model": "m", "messages": [{"role": "king", "content": "x"}]}, 400), ({"model": "m", "messages": [{"role": "user"}]}, 422),
    ({"model": "m", "messages": [{"role": "tool", "content": "x"}]}, 422), ({"model": "m", "messages": USER, "logprobs": True}, 422),
    ({"model": "m", "messages": [{"role": "user", "content": [{"type": "audio"}]}]}, 422),
    ({"model": "m", "messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "file:///etc/passwd"}}]}]}, 422),
    ({"model": "m", "messages": USER, "tools": [{"type": "web_search"}]}, 422),
    ({"model": "m", "messages": USER, "tools": [{"type": "function", "function": {"name": "a b"}}]}, 422),
    ({"model": "m", "messages": USER, "stop": ["1", "2", "3", "4", "5"]}, 422),
    ({"model": "m", "messages": USER, "response_format": {"type": "json_schema"}}, 422)])
def test_bad_requests_ask_nobody(stack, admin, models, body, status):
    answer = admin.request("POST", "/v1/chat/completions", json=body)
    assert problem(answer, status)["error"]["type"] == "invalid_request_error"
    assert models.asked == [] and ledger(stack, admin.tenant) == []


def test_a_budget_ends_calls_before_they_are_made(stack, admin, models, client, claude):
    checked(admin.post("budgets", json={"scope": "tenant", "unit": "tokens", "limit": 300}), 201)
    models.answers(lambda asked: Turn("ok", usage={"prompt": 200, "completion": 50}))
    assert client.chat.completions.create(model="scripted-1", messages=USER, max_tokens=100).usage.total_tokens == 250
    for stream in (False, True):
        with pytest.raises(openai.RateLimitError) as refused:
            client.chat.completions.create(model="scripted-1", messages=USER, max_tokens=100, stream=stream)
        assert refused.value.code == "insufficient_quota"
    with pytest.raises(anthropic.RateLimitError):
        claude.messages.create(model="scripted-1", max_tokens=100, messages=USER)
    assert len(models.asked) == 1
    assert [(row["prompt"], row["completion"]) for row in ledger(stack, admin.tenant)] == [(200, 50)]


def test_a_stream_that_breaks_off_says_so(stack, admin, models, client, claude):
    models.answers(lambda asked: Turn("This will never come to its end", cut=900))
    with pytest.raises(openai.APIError):
        list(client.chat.completions.create(model="scripted-1", messages=USER, stream=True))
    with pytest.raises(anthropic.APIError):
        list(claude.messages.create(model="scripted-1", max_tokens=9, messages=USER, stream=True))
    rows = ledger(stack, admin.tenant)
    assert len(rows) == 2 and {row["fault"] for row in rows} <= {"model_unavailable", "model_answer_invalid"}
    assert all(row["completion"] > 0 for row in rows)


@pytest.mark.parametrize("reads", [False, True])
def test_a_client_that_leaves_ends_the_call(stack, admin, models, client, reads):
    """Whether it never reads what comes, or goes in the middle: the model's server is let go and what it cost is settled."""
    models.answers(lambda asked: Turn("more ", endless=True, pause_s=0.002))
    stream = client.chat.completions.create(model="scripted-1", messages=USER, stream=True)
    if reads:
        assert next(iter(stream)).choices
    stream.close()
    row, = ledger(stack, admin.tenant)
    assert row["fault"] == "cancelled" and row["state"] == "settled"


def test_a_client_that_leaves_before_the_first_word(stack, admin, models):
    gate = threading.Event()
    models.say("late", gate=gate)
    with of_openai(stack, key_of(admin)).with_options(timeout=1) as client, pytest.raises(openai.APITimeoutError):
        client.chat.completions.create(model="scripted-1", messages=USER)
    row, = ledger(stack, admin.tenant)
    gate.set()
    assert row["fault"] == "cancelled"


def test_many_streams_at_once(stack, admin, models, client):
    models.answers(lambda asked: Turn(" ".join(f"{asked.last}-{n}" for n in range(40)), usage=USAGE, pause_s=0.01))

    def one(number):
        chunks = client.chat.completions.create(model="scripted-1", messages=[{"role": "user", "content": f"q{number}"}], stream=True)
        return "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    with concurrent.futures.ThreadPoolExecutor(50) as pool:
        texts = list(pool.map(one, range(50)))
    assert texts == [" ".join(f"q{number}-{n}" for n in range(40)) for number in range(50)]
    rows = ledger(stack, admin.tenant)
    assert len(rows) == 50 and {(row["prompt"], row["completion"]) for row in rows} == {(30, 12)}


def test_providers_of_other_tenants_are_out_of_reach(stack, admin, models):
    stranger = stack.tenant()
    with of_openai(stack, key_of(stranger)) as client:
        assert [one.id for one in client.models.list()] == ["Demo/demo"]
        for name in (admin.provider, admin.provider_name):
            with pytest.raises(openai.NotFoundError) as refused:
                client.chat.completions.create(model=f"{name}/scripted-1", messages=USER)
            assert refused.value.code == "model_not_found"
    assert models.asked == [] and ledger(stack, admin.tenant) == []


def test_the_web_server_settles_no_call_of_a_run(stack, admin):
    """What it may do in the ledger ends at calls of its own."""
    call = {"id": str(uuid.uuid4()), "tenant": admin.tenant, "caller": "run", "prompt_tokens": 1, "completion_tokens": 1, "ttl_s": 60}
    own = {**call, "id": str(uuid.uuid4()), "caller": "gateway"}
    assert stack.sql("SELECT (control.budget_reserve(%s::json)).verdict", json.dumps(call)) == [("granted",)]
    with stack.postgres() as connection, connection.transaction(force_rollback=True):
        connection.execute("SET LOCAL ROLE windlass_web")
        for text, asked in (("gateway_reserve", call), ("gateway_settle", {"tenant": admin.tenant, "id": call["id"]}),
                            ("gateway_moved", {"tenant": admin.tenant, "id": call["id"]})):
            with pytest.raises(psycopg.errors.RaiseException, match="of its own alone"), connection.transaction():
                connection.execute(f"SELECT control.{text}(%s::json)", [json.dumps(asked)])
        assert connection.execute("SELECT (control.gateway_reserve(%s::json)).verdict", [json.dumps(own)]).fetchone() == ("granted",)
