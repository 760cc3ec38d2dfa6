"""The built-in node kinds and how a run walks: values, branches, joins, retries, time limits, errors."""

import pytest

from kit.flows import Flow, ex, of


def statuses(answer):
    return {name: node["status"] for name, node in answer["node"].items()}


def ok(answer):
    assert answer["execution"]["status"] == "succeeded", answer["execution"]["error"]
    return answer["execution"]["outputs"]


def failed(answer, code, node_id=None):
    """The error of a run that has to have failed with `code`."""
    error = answer["execution"]["error"]
    assert answer["execution"]["status"] == "failed", answer["execution"]
    assert error["code"] == code and error["message"], error
    if node_id:
        assert error["node_id"] == node_id, error
    return error


# ---- values ------------------------------------------------------------------------------------
def test_transform_keeps_types_and_fills_texts(admin):
    answer = admin.run(Flow().transform("t", {
        "number": ex(".inputs.n"), "list": ex("[.inputs.n, 2]"), "object": ex("{a: .inputs.s}"), "null": ex("null"),
        "bool": ex(".inputs.n == 1"), "text": "n={{ .inputs.n }} s={{ .inputs.s }} l={{ [1,2] }}", "plain": "no braces",
        "constant": [1, 2.5, None, {"x": True}], "unicode": "{{ .inputs.s }} – ☃"}).output(ex(of("t"))),
        {"n": 1, "s": "ä\"\\\n"})
    assert ok(answer) == {
        "number": 1, "list": [1, 2], "object": {"a": "ä\"\\\n"}, "null": None, "bool": True,
        "text": "n=1 s=ä\"\\\n l=[1,2]", "plain": "no braces", "constant": [1, 2.5, None, {"x": True}],
        "unicode": "ä\"\\\n – ☃"}


def test_start_gives_the_inputs_and_execution_names_itself(admin):
    answer = admin.run(Flow().output({"start": ex(of("start")), "id": ex(".execution.id")}), {"a": 1})
    assert ok(answer) == {"start": {"a": 1}, "id": answer["execution"]["id"]}


def test_large_integers_are_not_rounded_on_the_way_through(admin):
    assert ok(admin.run(Flow().output({"n": ex(".inputs.n")}), {"n": 9007199254740991})) == {"n": 9007199254740991}


def test_every_node_tells_what_it_was_given_and_gave(admin):
    answer = admin.run(Flow().transform("t", {"a": ex(".inputs.n")}).output(ex(of("t"))), {"n": 5})
    assert ok(answer) == {"a": 5}
    node = answer["node"]["t"]
    assert node["outputs"] == {"a": 5} and node["attempt"] == 1 and node["error"] is None
    assert node["start_time"] <= node["end_time"]
    assert statuses(answer) == {"start": "succeeded", "t": "succeeded", "out": "succeeded"}


def test_a_note_is_not_run(admin):
    flow = Flow().output(1)
    flow.add("remark", "note", after=(), text="read me")
    answer = admin.run(flow)
    assert ok(answer) == 1 and "remark" not in {name for name, node in answer["node"].items() if node["status"] != "skipped"}


def test_the_outputs_are_checked_against_the_output_schema(admin):
    flow = Flow().output(ex(".inputs.v")).schema(output_schema={"type": "string"})
    assert ok(admin.run(flow, {"v": "text"})) == "text"
    assert admin.run(flow, {"v": 7})["execution"]["status"] == "failed"


# ---- branches ------------------------------------------------------------------------------------
def branching():
    return (Flow().add("large", "condition", **{"if": ex(".inputs.n > 10")})
            .transform("yes", "large", after=("large", "true")).transform("no", "small", after=("large", "false"))
            .transform("behind", "follows no", after="no")
            .add("end", "join", after=["yes", "behind"], mode="any").output(ex(of("end"))))


def test_condition_takes_one_way_and_skips_the_other(admin):
    flow_id = admin.create(branching())
    answer = admin.run(flow_id, {"n": 11})
    assert ok(answer) == ["large"]
    assert statuses(answer) | {"yes": "succeeded", "no": "skipped", "behind": "skipped"} == statuses(answer)
    assert answer["node"]["large"]["handle"] == "true"
    answer = admin.run(flow_id, {"n": 1})
    assert ok(answer) == ["follows no"]
    assert answer["node"]["large"]["handle"] == "false" and answer["node"]["yes"]["status"] == "skipped"


@pytest.mark.parametrize("value, taken", [("red", "red"), ("blue", "cool"), (70, "many"), ("grey", "default")])
def test_switch_takes_the_first_case_that_fits(admin, value, taken):
    cases = [{"name": "red", "equals": "red"}, {"name": "cool", "equals": "blue"},
             {"name": "many", "when": ex("(.inputs.v | type) == \"number\" and .inputs.v > 60")},
             {"name": "again", "equals": "red"}]
    flow = Flow().add("which", "switch", value=ex(".inputs.v"), cases=cases)
    names = ["red", "cool", "many", "again", "default"]
    for name in names:
        flow.transform(f"on-{name}", name, after=("which", name))
    flow.add("end", "join", after=[f"on-{name}" for name in names], mode="any").output(ex(of("end")))
    answer = admin.run(flow, {"v": value})
    assert ok(answer) == [taken] and answer["node"]["which"]["handle"] == taken
    assert {name for name in names if answer["node"][f"on-{name}"]["status"] == "succeeded"} == {taken}


def test_join_all_waits_for_every_branch(admin, effects):
    flow = Flow()
    for number, delay in enumerate((0.3, 0.0, 0.15)):
        flow.add(f"b{number}", "http", after="start", method="GET", url=f"{effects.url}/slow/{delay}")
    flow.add("all", "join", after=["b0", "b1", "b2"], mode="all").output(ex(of("all") + " | map(.body.slept)"))
    answer = admin.run(flow)
    assert ok(answer) == [0.3, 0.0, 0.15]
    assert answer["node"]["all"]["start_time"] >= max(answer["node"][f"b{n}"]["end_time"] for n in range(3))


def test_join_any_goes_on_with_the_first(admin, effects):
    flow = (Flow().add("slow", "http", after="start", method="GET", url=f"{effects.url}/slow/3")
            .add("fast", "http", after="start", method="GET", url=f"{effects.url}/slow/0")
            .add("any", "join", after=["slow", "fast"], mode="any")
            .add("then", "http", method="GET", url=f"{effects.url}/echo").output(ex(of("any") + " | length")))
    answer = admin.run(flow)
    assert ok(answer) >= 1
    assert answer["node"]["any"]["end_time"] < answer["node"]["slow"]["end_time"] or \
        answer["node"]["slow"]["status"] == "cancelled"


def test_branches_run_at_the_same_time(admin, effects):
    flow = Flow()
    for number in range(4):
        flow.add(f"b{number}", "http", after="start", method="GET", url=f"{effects.url}/slow/0.5")
    flow.add("all", "join", after=[f"b{n}" for n in range(4)]).output(1)
    answer = admin.run(flow)
    ok(answer)
    nodes = [answer["node"][f"b{n}"] for n in range(4)]
    assert max(node["start_time"] for node in nodes) < min(node["end_time"] for node in nodes), "no moment had all four"


def test_a_wide_and_a_deep_flow(admin):
    flow = Flow()
    for number in range(200):
        flow.transform(f"w{number}", number, after="start")
    flow.add("all", "join", after=[f"w{number}" for number in range(200)]).output(ex(of("all") + " | add"))
    assert ok(admin.run(flow)) == sum(range(200))
    deep = Flow().transform("d0", 0)
    for number in range(1, 20):
        deep.transform(f"d{number}", ex(of(f"d{number - 1}") + " + 1"))
    for number in range(20, 120):
        deep.transform(f"d{number}", ex(of(f"d{number - 1}")))
    assert ok(admin.run(deep.output(ex(of("d119"))))) == 19


# ---- http ------------------------------------------------------------------------------------------
def test_http_sends_what_it_was_told(admin, effects):
    answer = admin.run(Flow().add(
        "call", "http", method="PUT", url=effects.url + "/echo/{{ .inputs.id }}", headers={"X-Mine": "{{ .inputs.id }}"},
        query={"q": "a b&c", "n": ex(".inputs.id")}, body={"deep": [ex(".inputs.id")]}).output(ex(of("call"))), {"id": 7})
    result = ok(answer)
    assert result["status"] == 200 and result["headers"]["content-type"].startswith("application/json")
    seen = result["body"]
    assert seen["method"] == "PUT" and seen["path"].startswith("/echo/7?") and seen["query"] == {"q": "a b&c", "n": "7"}
    assert seen["headers"]["x-mine"] == "7" and seen["headers"]["content-type"].startswith("application/json")
    assert seen["body"].replace(" ", "") == '{"deep":[7]}'


def test_http_bodies_that_are_no_json_stay_text(admin, effects):
    answer = admin.run(Flow().add("t", "http", method="GET", url=f"{effects.url}/text").output(ex(of("t", ".body"))))
    assert ok(answer) == "plain text"


def test_http_expects_a_status(admin, effects):
    refused = Flow().add("call", "http", method="GET", url=f"{effects.url}/status/404").output(1)
    failed(admin.run(refused), "http_status", "call")
    allowed = Flow().add("call", "http", method="GET", url=f"{effects.url}/status/404", expect=[200, 404])
    assert ok(admin.run(allowed.output(ex(of("call", ".status"))))) == 404


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/", "/reset"])
def test_http_that_cannot_be_done_fails_with_words(admin, effects, url):
    target = url if url.startswith("http") else effects.url + url
    failed(admin.run(Flow().add("call", "http", method="GET", url=target).output(1)), "http", "call")


@pytest.mark.parametrize("url", ["file:///etc/passwd", "gopher://127.0.0.1/", "/relative"])
def test_http_takes_http_only(admin, url):
    error = failed(admin.run(Flow().add("call", "http", method="GET", url="{{ .inputs.url }}").output(1), {"url": url}),
                   "input_invalid", "call")
    assert "root:" not in str(error)


@pytest.mark.parametrize("url", ["http://169.254.169.254/latest", "http://10.0.0.1/", "http://[::1]:1/", "http://192.168.0.1/",
                                 "http://[::ffff:10.0.0.1]/", "http://0xa000001/", "http://167772161/", "http://0.0.0.0/"])
def test_http_refuses_addresses_that_are_not_allowed(admin, url):
    failed(admin.run(Flow().add("call", "http", method="GET", url=url, timeout_s=5).output(1)), "http_refused", "call")


# ---- retry, time limits, errors -----------------------------------------------------------------
def test_retry_tries_as_often_as_it_may(admin, effects):
    flow = Flow().add("call", "http", method="GET", url=f"{effects.url}/flaky/{{{{ .execution.id }}}}/2",
                      retry={"attempts": 3, "backoff": "fixed", "delay_ms": 50}).output(ex(of("call", ".body.call")))
    answer = admin.run(flow)
    assert ok(answer) == 3 and answer["node"]["call"]["attempt"] == 3
    assert effects.calls[f"flaky/{answer['execution']['id']}"] == 3


def test_retry_gives_up_after_its_attempts(admin, effects):
    flow = Flow().add("call", "http", method="GET", url=f"{effects.url}/flaky/{{{{ .execution.id }}}}/9",
                      retry={"attempts": 4, "backoff": "exponential", "delay_ms": 10, "max_delay_ms": 40}).output(1)
    answer = admin.run(flow)
    failed(answer, "http_status", "call")
    assert answer["node"]["call"]["attempt"] == 4
    assert effects.calls[f"flaky/{answer['execution']['id']}"] == 4


def test_a_nodes_time_limit_ends_it(admin, effects):
    flow = Flow().add("call", "http", method="GET", url=f"{effects.url}/slow/20", timeout_s=1).output(1)
    answer = admin.run(flow, seconds=10)
    failed(answer, "timeout", "call")


def test_a_failed_node_ends_the_run_and_its_siblings(admin, effects):
    flow = (Flow().add("slow", "http", after="start", method="GET", url=f"{effects.url}/slow/20")
            .transform("bad", ex("error(\"broken\")"), after="start")
            .add("all", "join", after=["slow", "bad"]).output(1))
    answer = admin.run(flow, seconds=10)
    error = failed(answer, "expression", "bad")
    assert "broken" in error["message"]
    seen = statuses(answer)
    assert seen["bad"] == "failed" and seen.get("slow") in ("cancelled", None) and seen.get("out") != "succeeded"


def test_on_error_continue_goes_on(admin):
    flow = (Flow().transform("bad", ex("error(\"broken\")"), on_error="continue")
            .transform("then", "went on").output(ex(of("then"))))
    answer = admin.run(flow)
    assert ok(answer) == "went on"
    assert answer["node"]["bad"]["status"] == "failed" and answer["node"]["bad"]["error"]["code"] == "expression"


def test_on_error_branch_takes_the_error_edge(admin):
    flow = (Flow().transform("bad", ex(".inputs.n | if . > 1 then error(\"broken\") else . end"), on_error="branch")
            .transform("good", "good", after="bad").transform("rescue", "rescued", after=("bad", "error"))
            .add("end", "join", after=["good", "rescue"], mode="any").output(ex(of("end"))))
    flow_id = admin.create(flow)
    answer = admin.run(flow_id, {"n": 2})
    assert ok(answer) == ["rescued"] and statuses(answer)["good"] == "skipped"
    answer = admin.run(flow_id, {"n": 1})
    assert ok(answer) == ["good"] and statuses(answer)["rescue"] == "skipped"


# ---- expressions that go wrong ---------------------------------------------------------------------
@pytest.mark.parametrize("program, codes", [
    ("[range(1e12)] | length", ("expression_timeout", "expression_memory")),
    ("def f: f; f", ("expression_timeout", "expression_memory")),
    ("reduce range(1e9) as $i (0; . + 1)", ("expression_timeout",)),
    ("[limit(1e9; repeat(\"x\" * 1000))] | length", ("expression_memory", "expression_timeout")),
    ("\"x\" * 1e10", ("expression_memory", "expression")),
    (".inputs.text | test(\"(a+)+$\")", ("expression_timeout", "expression_memory", "expression")),
    ("def r(n): if n == 0 then 0 else 1 + r(n - 1) end; r(1e9)", ("expression_memory", "expression_timeout")),
])
def test_an_endless_or_huge_expression_fails_only_its_node(admin, program, codes):
    other = admin.start(Flow().transform("a", ex(".inputs.n")).output(ex(of("a"))), {"n": 3})
    flow = Flow().transform("bad", ex(program), on_error="branch")
    flow.transform("good", 1, after="bad").transform("rescue", "saved", after=("bad", "error"))
    flow.add("end", "join", after=["good", "rescue"], mode="any").output(ex(of("end")))
    answer = admin.run(flow, {"text": "a" * 40 + "!"}, seconds=20)
    assert ok(answer) == ["saved"], answer["nodes"]
    assert answer["node"]["bad"]["error"]["code"] in codes, answer["node"]["bad"]["error"]
    assert admin.wait(other)["execution"]["outputs"] == 3


@pytest.mark.parametrize("program", ["input", "inputs", "$ENV.PATH", "env.HOME", "input_filename", "$__loc__",
                                     "import \"a\" as a; 1", "include \"x\"; 1", "get_search_list", "debug", "halt",
                                     "\"x\" | halt_error", "now | todate | error"])
def test_expressions_reach_nothing_outside(stack, admin, program):
    """Whatever jq offers beyond pure values gives an error or nothing of the host; the next run works."""
    document = Flow().output(ex(program)).document()
    answer = admin.post("flows", json={"name": "probe", **document})
    if answer.status_code == 201:
        done = admin.wait(admin.start(answer.json()["flow"]["id"], {"a": 1}))["execution"]
        text = str(done["outputs"])
        assert "/usr" not in text and "/root" not in text and stack.urls["redis"] not in text, text
    else:
        assert answer.status_code in (400, 422), answer.text
    assert ok(admin.run(Flow().output(ex(".inputs.a")), {"a": 1})) == 1
