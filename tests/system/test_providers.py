"""LLM providers: their settings, sealed keys, and the trial of their connection."""

import collections
import threading

import pytest

from kit.client import checked, fault_paths, problem
from kit.http_server import HttpServer
from kit.secrets import places_of
from kit.stack import Stack

KEY = "sk-test-4f9a1c77e0d2"
MODELS = {"data": [{"id": "big"}, {"id": "small"}]}
Seen = collections.namedtuple("Seen", "path headers")


class ModelServer(HttpServer):
    """Answers any GET with what the test has put there; remembers what it was asked."""

    protocol = "HTTP/1.0"
    methods = ("GET",)

    def __init__(self):
        super().__init__()
        self.status, self.body, self.headers, self.seen = 200, MODELS, {}, []
        self.released = threading.Event()
        self.hold = False

    def __exit__(self, *_):
        self.released.set()
        super().__exit__()

    def answer(self, request):
        self.seen.append(Seen(request.path, request.fields))
        if self.hold:
            self.released.wait(30)
        return self.status, {"Content-Type": "application/json", **self.headers}, self.body


@pytest.fixture
def models():
    with ModelServer() as server:
        yield server


@pytest.fixture
def api(stack):
    return stack.tenant()


def make(api, kind, key=None, name="one", **config):
    body = {"name": name, "provider_type": kind, "config": config, **({"api_credentials": {"api_key": key}} if key else {})}
    return checked(api.post("llm-providers", json=body), 201).json()["llm_provider"]["id"]


def validate(api, provider_id):
    answer = checked(api.post(f"llm-providers/{provider_id}/validate"), 200)
    assert KEY not in answer.text
    return answer.json()


@pytest.mark.parametrize("kind, suffix, path, header, value", [
    ("openai", "/v1", "/v1/models", "authorization", f"Bearer {KEY}"),
    ("vllm", "/v1/", "/v1/models", "authorization", f"Bearer {KEY}"),
    ("anthropic", "", "/v1/models", "x-api-key", KEY),
    ("ollama", "", "/api/tags", "authorization", f"Bearer {KEY}"),
])
def test_each_type_asks_for_its_models_in_its_way(api, models, kind, suffix, path, header, value):
    models.body = {"models": [{"name": "big"}, {"name": "small"}]} if kind == "ollama" else MODELS
    found = validate(api, make(api, kind, KEY, base_url=models.url + suffix))
    assert found["valid"] and found["models"] == ["big", "small"] and found["latency_ms"] >= 0, found
    assert models.seen[0].path == path and models.seen[0].headers[header] == value
    assert ("anthropic-version" in models.seen[0].headers) == (kind == "anthropic")


def test_keys_are_needed_where_they_are_needed(api, models):
    demo = validate(api, make(api, "demo"))
    assert demo["valid"] and demo["models"] == ["demo"]
    missing = validate(api, make(api, "openai", name="two", base_url=models.url))
    assert not missing["valid"] and "api_key" in missing["message"] and missing["latency_ms"] is None and not models.seen
    assert validate(api, make(api, "vllm", name="three", base_url=models.url))["valid"]
    assert "authorization" not in models.seen[0].headers


@pytest.mark.parametrize("status, body, headers, words", [
    (401, {"error": f"Incorrect API key provided: {KEY}"}, {}, "refuses the key"),
    (403, KEY.encode(), {}, "refuses the key"),
    (500, KEY.encode(), {}, "500"),
    (302, {}, {"Location": "http://127.0.0.1:1/models"}, "redirects"),
    (200, b"<html>", {}, "no list of models"),
    (200, {"data": 5}, {}, "no list of models"),
    (200, {"models": []}, {}, "no list of models"),
    (200, b"x" * 5_000_000, {}, "more than"),
])
def test_what_a_server_says_wrong_is_told_without_the_key(api, models, status, body, headers, words):
    models.status, models.body, models.headers = status, body, headers
    found = validate(api, make(api, "openai", KEY, base_url=models.url))
    assert not found["valid"] and words in found["message"] and found["models"] == [] and len(models.seen) == 1, found


def test_names_of_models_are_bounded_and_never_the_key(api, models):
    models.body = {"data": [{"id": f"is it {KEY}?"}, {"id": "x" * 300}, {"id": 5}, {"id": "good"}, 7]
                           + [{"id": f"m{n}"} for n in range(1000)]}
    found = validate(api, make(api, "openai", KEY, base_url=models.url))
    assert found["valid"] and found["models"][0] == "good" and len(found["models"]) == 500


def test_a_server_that_does_not_answer_is_given_up(api, models):
    models.hold = True
    found = validate(api, make(api, "vllm", base_url=models.url, timeout_s=0.3))
    assert not found["valid"] and len(models.seen) == 1
    found = validate(api, make(api, "vllm", name="two", base_url="http://127.0.0.1:1"))
    assert not found["valid"] and "127.0.0.1" in found["message"]
    found = validate(api, make(api, "vllm", name="three", base_url="http://no-such-host.invalid"))
    assert not found["valid"] and "no-such-host.invalid" in found["message"]


def test_addresses_that_are_not_public_are_refused():
    with Stack("providers-closed", env={"WINDLASS_EGRESS_ALLOW": ""}) as closed, ModelServer() as models:
        api = closed.tenant()
        port = models.url.rpartition(":")[2]
        for n, url in enumerate((models.url, f"http://localhost:{port}", f"http://[::1]:{port}", f"http://[::ffff:127.0.0.1]:{port}",
                                 "http://169.254.169.254", "http://10.0.0.1", "http://0.0.0.0", "http://[fe80::1]")):
            found = validate(api, make(api, "vllm", name=f"n{n}", base_url=url))
            assert not found["valid"] and found["latency_ms"] is None, (url, found)
        for n, url in enumerate((models.url, "http://169.254.169.254")):      # an admin opens private networks, not these
            found = validate(api, make(api, "vllm", name=f"p{n}", base_url=url, allow_private=True))
            assert not found["valid"], (url, found)
        assert not models.seen


@pytest.mark.parametrize("url", ["nonsense", "ftp://a.example", "http://", "http://user:pass@a.example", "http://0x7f000001/",
                                 "http://2130706433/", "http://a.example/?key=1", "http://a b.example", "file:///etc/passwd"])
def test_addresses_of_no_use_are_refused_at_once(api, url):
    refused = api.post("llm-providers", json={"name": "x", "provider_type": "vllm", "config": {"base_url": url}})
    assert fault_paths(refused) == ["config.base_url"]


def test_settings_are_judged_together(api):
    def paths(kind, **more):
        return fault_paths(api.post("llm-providers", json={"name": "x", "provider_type": kind, **more}))
    assert paths("vllm") == ["config.base_url"] and paths("ollama") == ["config.base_url"]
    assert paths("demo", config={"base_url": "http://a.example"}) == ["config.base_url"]
    assert paths("demo", api_credentials={"api_key": "x"}) == ["api_credentials"]
    assert paths("openai", api_credentials={}) == ["api_credentials.api_key"]
    assert paths("openai", api_credentials={"api_key": "a\nb"}) == ["api_credentials.api_key"]
    assert paths("openai", config={"models": ["a"], "default_model": "b"}) == ["config.default_model"]
    made = make(api, "openai")
    assert fault_paths(api.put(f"llm-providers/{made}", json={"provider_type": "vllm"})) == ["config.base_url"]


def test_keys_are_kept_replaced_and_taken_away(stack, api, models):
    provider = make(api, "openai", KEY, base_url=models.url)
    where = f"llm-providers/{provider}"
    sealed = lambda: stack.sql(f"SELECT credentials FROM t_{api.tenant}.resources WHERE id = %s", provider)[0][0]
    first = sealed()
    assert first.startswith("v1.") and KEY not in first
    checked(api.put(where, json={"description": "x"}), 200)
    assert sealed() == first
    changed = checked(api.put(where, json={"api_credentials": {"api_key": KEY + "-2"}}), 200).json()["llm_provider"]
    assert changed["has_credentials"] and "api_credentials" not in changed and sealed() != first
    validate(api, provider)
    assert models.seen[-1].headers["authorization"] == f"Bearer {KEY}-2"
    changed = checked(api.put(where, json={"api_credentials": None}), 200).json()["llm_provider"]
    assert not changed["has_credentials"] and sealed() is None
    assert checked(api.get(f"{where}/versions/1"), 200).json()["llm_provider"]["has_credentials"]


def test_a_key_is_sent_to_no_other_server_than_it_was_given_for(api, models):
    provider = make(api, "openai", KEY, base_url="http://127.0.0.1:1/v1")
    where = f"llm-providers/{provider}"
    for body in ({"config": {"base_url": models.url}}, {"config": {}}, {"provider_type": "anthropic"}):
        assert fault_paths(api.put(where, json=body)) == ["api_credentials"]
    checked(api.put(where, json={"config": {"base_url": "http://127.0.0.1:1/v2", "timeout_s": 3}}), 200)     # the same server
    checked(api.put(where, json={"config": {"base_url": models.url}, "api_credentials": {"api_key": "another"}}), 200)
    assert validate(api, provider)["valid"] and models.seen[-1].headers["authorization"] == "Bearer another"
    checked(api.put(where, json={"config": {"base_url": "http://127.0.0.1:1"}, "api_credentials": None}), 200)


def test_a_sealed_key_that_was_moved_does_not_open(stack, api, models):
    first, second = make(api, "openai", KEY, base_url=models.url), make(api, "openai", KEY, name="two", base_url=models.url)
    stack.sql(f"UPDATE t_{api.tenant}.resources SET credentials = (SELECT credentials FROM t_{api.tenant}.resources "
              "WHERE id = %s) WHERE id = %s", first, second)
    assert validate(api, first)["valid"]
    found = validate(api, second)
    assert not found["valid"] and "cannot be opened" in found["message"] and len(models.seen) == 1


def test_a_key_is_nowhere_in_the_open(stack, api, models):
    secret = "sk-nowhere-8842b1"
    provider = make(api, "openai", secret, base_url=models.url)
    answers = [api.post(f"llm-providers/{provider}/validate"), api.get(f"llm-providers/{provider}"), api.get("llm-providers"),
               api.get(f"llm-providers/{provider}/versions/1"), api.get(f"llm-providers/{provider}/versions"),
               api.put(f"llm-providers/{provider}", json={"api_credentials": {"api_key": secret}, "config": {
                   "base_url": "nonsense " + secret}}),
               api.post("llm-providers", json={"name": "one", "provider_type": "openai", "api_credentials": {"api_key": secret}}),
               api.post("llm-providers", json={"name": 5, "provider_type": "openai", "api_credentials": {"api_key": secret}}),
               api.post("llm-providers", json={"name": "n", "provider_type": "demo", "api_credentials": {"api_key": secret}})]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 200, 200, 422, 409, 400, 422]
    assert all(secret not in answer.text for answer in answers[:5] + answers[6:])
    assert places_of(stack, secret) == []
    checked(api.delete(f"llm-providers/{provider}"), 204)
    assert stack.sql(f"SELECT credentials FROM t_{api.tenant}.resources WHERE id = %s", provider) == [(None,)]


def test_trials_are_counted(stack, api):
    provider = make(api, "demo")
    answers = [api.post(f"llm-providers/{provider}/validate") for _ in range(40)]
    codes = [answer.status_code for answer in answers]
    assert codes[:20] == [200] * 20 and 429 in codes
    late = answers[codes.index(429)]
    problem(late, 429)
    assert 1 <= int(late.headers["Retry-After"]) <= 60
    other = stack.tenant()
    assert validate(other, make(other, "demo"))["valid"]


def test_only_editors_try_and_only_what_is_theirs(stack, api):
    provider = make(api, "demo")
    problem(stack.user(api, "executor").post(f"llm-providers/{provider}/validate"), 403)
    problem(stack.tenant().post(f"llm-providers/{provider}/validate"), 404)
