"""Loops, subflows, waits, approvals, pinned outputs and partial runs, on the real stack."""

import datetime

import pytest

from kit.client import checked, fault_paths, problem
from kit.flows import Flow, ex, noop, of
from kit.waiting import wait_until

pytestmark = pytest.mark.long


def ok(answer):
    assert answer["execution"]["status"] == "succeeded", answer["execution"]["error"]
    return answer["execution"]["outputs"]


def failed(answer, code):
    assert answer["execution"]["status"] == "failed", answer["execution"]
    error = answer["execution"]["error"]
    assert error["code"] == code and error["message"], error
    return error


def by_node(answer):
    answer["node"] = {node["node_id"]: node for node in answer["nodes"]}
    return answer


def statuses(answer):
    return {name: node["status"] for name, node in answer["node"].items()}


class Nested(Flow):
    """A flow some of whose nodes stand inside loops."""

    def inside(self, loop, node_id, kind, after=(), **data):
        self.add(node_id, kind, after=after, **data)
        self.nodes[-1]["parentId"] = loop
        return self


def each(items, **data):
    """start → a loop named each; its inside is still to be added, and `out` behind it."""
    return Nested().add("each", "loop", items=items, **data).output(ex(of("each")), after="each")


# ---- loops -------------------------------------------------------------------------------------
def test_a_loop_gives_the_list_of_its_last_outputs_in_the_order_of_the_items(admin):
    flow = each(ex(".inputs.list"), parallel=3).inside(
        "each", "double", "transform", value=ex("[.index, .item * 2, .inputs.plus, .nodes.start.plus]"))
    answer = admin.run(flow, {"list": list(range(10)), "plus": 5})
    assert ok(answer) == [[n, n * 2, 5, 5] for n in range(10)]
    assert answer["node"]["each[3].double"]["outputs"] == [3, 6, 5, 5]
    assert answer["node"]["each"]["outputs"] == ok(answer)
    assert len(answer["node"]) == 13


@pytest.mark.parametrize("items, wanted", [
    ([], []), ([None], [None]), (["a,b]", {"x": [1, {"y": "\"}]"}]}, [[], {}], 1.50, -0.0], None)])
def test_items_come_through_as_they_are(admin, items, wanted):
    flow = each(ex(".inputs.list")).inside("each", "same", "transform", value=ex(".item"))
    assert ok(admin.run(flow, {"list": items})) == (items if wanted is None else wanted)


def test_several_last_nodes_give_an_object_of_those_that_ran(admin):
    flow = (each([1, 2])
            .inside("each", "odd", "condition", **{"if": ex(".item % 2 == 1")})
            .inside("each", "yes", "transform", after=("odd", "true"), value="odd {{ .item }}")
            .inside("each", "no", "transform", after=("odd", "false"), value=ex("{even: .nodes.odd}")))
    assert ok(admin.run(flow)) == [{"yes": "odd 1"}, {"no": {"even": False}}]


def test_effects_inside_a_loop_run_once_for_each_item_and_side_by_side_as_asked(admin, effects):
    url = effects.effect_url("visit", 0, 0.2)
    flow = each([0, 1, 2, 3], parallel=4).inside("each", "visit", "http", method="POST", url=url)
    answer = admin.run(flow)
    assert [one["status"] for one in ok(answer)] == [200] * 4
    visits = effects.visited(answer["execution"]["id"])
    assert len(visits) == 4 and len({key for *_, key in visits}) == 4, "each item has an Idempotency-Key of its own"


def test_loops_stand_inside_each_other(admin):
    flow = each(ex(".inputs.rows"), parallel=2).inside("each", "cells", "loop", items=ex(".item"), parallel=2)
    flow.inside("cells", "cell", "transform", value=ex("[.item, .index]"))
    flow.inside("each", "sum", "transform", after="cells", value=ex("[.nodes.cells[][0]] | add"))
    answer = admin.run(flow, {"rows": [[1, 2], [], [3, 4, 5]]})
    assert ok(answer) == [3, None, 12]
    assert answer["node"]["each[2].cells[1].cell"]["outputs"] == [4, 1]


def test_a_failing_item_fails_the_loop_and_stops_the_others(admin):
    flow = each(list(range(6)), parallel=6).inside(
        "each", "work", "code", language="bash", parse="text",
        source="read item; if [ \"$item\" = 3 ]; then echo bad >&2; exit 7; fi; sleep 60")
    answer = admin.run(flow)
    error = failed(answer, "exit")
    assert error["node_id"] == "each[3].work"
    seen = statuses(answer)
    assert seen["each"] == seen["each[3].work"] == "failed" and seen["each[0].work"] == "cancelled"
    assert "out" not in seen


def test_what_goes_on_after_a_failed_loop_is_its_on_error(admin):
    inside = {"language": "bash", "source": "exit 3"}
    flow = (Nested().add("each", "loop", items=[1], on_error="branch")
            .output(ex(of("each", ".code")), after=("each", "error")))
    flow.inside("each", "work", "code", **inside)
    assert ok(admin.run(flow)) == "exit"
    # and a node inside may take care of its own
    flow = each([1, 2]).inside("each", "work", "code", on_error="continue", **inside)
    assert [one["code"] for one in ok(admin.run(flow))] == ["exit", "exit"]


@pytest.mark.parametrize("items, code, part", [
    (5, "loop_items", "no list"), ({"a": 1}, "loop_items", "no list"), ("text", "loop_items", "no list"),
    (list(range(4)), "loop_items", "4 items, more than the 3")])
def test_items_that_are_no_list_or_too_many(admin, items, code, part):
    flow = each(ex(".inputs.list"), max_items=3).inside("each", "t", "transform", value=1)
    assert part in failed(admin.run(flow, {"list": items}), code)["message"]


def test_a_loop_over_a_thousand_items(admin):
    flow = each(ex("[range(1000)]"), parallel=32).inside("each", "t", "transform", value=ex(".item + 1"))
    assert ok(admin.run(flow)) == list(range(1, 1001))


def test_long_ids_inside_of_each_other_are_told_apart_to_the_last_byte(admin):
    loops = ["a" * 128, "b" * 128]
    flow = Nested().add(loops[0], "loop", items=[1]).output(ex(".nodes | to_entries | map(.value) | last"), after=loops[0])
    flow.inside(loops[0], loops[1], "loop", items=[1])
    for end in "xyz":
        flow.inside(loops[1], "n" * 127 + end, "transform", value=end)
    answer = admin.run(flow)
    ok(answer)
    assert {answer["node"][f"{loops[0]}[0].{loops[1]}[0].{'n' * 127}{end}"]["outputs"] for end in "xyz"} == set("xyz")
    # and more than may be is refused
    flow = Nested().add("a" * 128, "loop", items=[1]).output(1, after="a" * 128)
    flow.inside("a" * 128, "b" * 128, "loop", items=[1]).inside("b" * 128, "c" * 128, "loop", items=[1])
    flow.inside("c" * 128, "t", "transform", value=1)
    failed(admin.run(flow), "path_too_long")


def test_what_is_inside_of_a_run_may_store_so_much_and_no_more(admin):
    """A later attempt has to read all of it, so it is bounded, whatever the nodes' on_error says."""
    flow = each(ex("[range(40)]"), on_error="continue")
    flow.inside("each", "large", "transform", value=ex('"x" * 1000000'), on_error="continue")
    flow.inside("each", "small", "transform", value=1, after="large")
    answer = admin.run(flow, seconds=120)
    assert "loops and subflows" in failed(answer, "output_cap")["message"]


@pytest.mark.parametrize("change, path", [
    (lambda f: f.nodes.pop(), "nodes[1]"),                                                    # empty
    (lambda f: f.nodes[3].update(parentId="nowhere"), "nodes[3].parentId"),
    (lambda f: f.nodes[3].update(parentId=5), "nodes[3].parentId"),
    (lambda f: f.nodes[3].update(parentId="out"), "nodes[3].parentId"),                       # no loop
    (lambda f: f.nodes[1].update(parentId="each"), "nodes[1].parentId"),                      # in itself
    (lambda f: f.edge("start", "t"), "edges[2].target"),                                      # across the border
    (lambda f: f.edge("t", "out"), "edges[2].target"),
    (lambda f: f.nodes[2].update(parentId="each"), "nodes[2].parentId"),                      # an output inside
    (lambda f: f.nodes[1]["data"].update(parallel=65), "nodes[1].data.parallel"),
    (lambda f: f.nodes[1]["data"].update(max_items=10001), "nodes[1].data.max_items"),
    (lambda f: f.nodes[1]["data"].update(items="[1]"), "nodes[1].data.items"),
    (lambda f: f.nodes[1]["data"].update(retry={"attempts": 2}), "nodes[1].data.retry"),
    (lambda f: f.nodes[2]["data"].update(value=ex(".nodes.t")), "nodes[2].data.value"),       # from outside
])
def test_bad_loops_are_refused(admin, change, path):
    flow = each([1]).inside("each", "t", "transform", value=ex(".nodes.start"))
    change(flow)
    answer = admin.post("flows", json={"name": "bad", **flow.document()})
    assert path in fault_paths(answer), answer.text


# ---- subflows ----------------------------------------------------------------------------------
def published(admin, flow, name="inner"):
    flow_id = admin.create(flow, name)
    checked(admin.post(f"flows/{flow_id}/publish", json={}), 200, 201)
    return flow_id


def test_a_subflow_gives_its_outputs(admin):
    inner = published(admin, Flow().transform("t", ex(".inputs.n + 1")).output({"n": ex(of("t")), "id": ex(".execution.id")}))
    flow = Flow().add("sub", "subflow", flow_id=inner, input={"n": ex(".inputs.n * 10")}).output(ex(of("sub")))
    answer = admin.run(flow, {"n": 4})
    assert ok(answer) == {"n": 41, "id": answer["execution"]["id"]}
    assert answer["node"]["sub.t"]["outputs"] == 41 and answer["node"]["sub.start"]["outputs"] == {"n": 40}


def test_a_subflow_without_input_takes_what_came_before_it(admin):
    inner = published(admin, noop())
    assert ok(admin.run(Flow().transform("t", {"x": 1}).add("sub", "subflow", flow_id=inner).output(ex(of("sub"))))) == {"x": 1}


def test_subflows_inside_loops_run_one_version(admin):
    inner = published(admin, Flow().output({"got": ex(".inputs")}))
    flow = each([{"a": 1}, {"a": 2}], parallel=2).inside("each", "sub", "subflow", flow_id=inner, version=1)
    answer = admin.run(flow)
    assert ok(answer) == [{"got": {"a": 1}}, {"got": {"a": 2}}]
    assert answer["node"]["each[1].sub.out"]["status"] == "succeeded"


def test_a_subflow_fails_its_node(admin):
    inner = published(admin, Flow().code("boom", "import sys; sys.exit(4)").output(1))
    answer = admin.run(Flow().add("sub", "subflow", flow_id=inner).output(1))
    assert failed(answer, "exit")["node_id"] == "sub.boom"
    answer = admin.run(Flow().add("sub", "subflow", flow_id=inner, on_error="continue").output(ex(of("sub", ".code"))))
    assert ok(answer) == "exit"


def test_inputs_and_outputs_of_a_subflow_are_checked(admin):
    inner = published(admin, Flow().output(ex(".inputs.n")).schema(
        input_schema={"type": "object", "required": ["n"]}, output_schema={"type": "integer"}))
    flow = Flow().add("sub", "subflow", flow_id=inner, input=ex(".inputs")).output(ex(of("sub")))
    assert ok(admin.run(flow, {"n": 3})) == 3
    error = failed(admin.run(flow, {"m": 3}), "input_invalid")
    assert error["node_id"] == "sub" and error["detail"]["faults"]
    assert failed(admin.run(flow, {"n": "x"}), "output_invalid")


def test_a_subflow_that_is_not_there(admin, stack):
    nobody = "00000000-0000-7000-8000-000000000000"
    other = stack.tenant()
    draft = admin.create(noop(), "only a draft")
    theirs = published(other, noop())
    for flow_id in (nobody, draft, theirs):
        failed(admin.run(Flow().add("sub", "subflow", flow_id=flow_id).output(1)), "subflow_missing")
    mine = published(admin, noop())
    failed(admin.run(Flow().add("sub", "subflow", flow_id=mine, version=9).output(1)), "subflow_missing")


def test_a_flow_does_not_run_inside_of_itself(admin):
    flow_id = published(admin, noop())
    checked(admin.put(f"flows/{flow_id}", json={"name": "cycle", **Flow().add("sub", "subflow", flow_id=flow_id).output(1).document()},
                      headers={"If-Match": "*"}), 200)
    checked(admin.post(f"flows/{flow_id}/publish", json={}), 200, 201)
    answer = admin.wait(admin.start(flow_id))
    failed(answer, "subflow_cycle")


def test_subflows_run_inside_of_each_other_at_most_eight_deep(admin):
    flow_id = published(admin, Flow().output("bottom"), "depth 0")
    ids = [flow_id]
    for depth in range(1, 10):
        ids.append(published(admin, Flow().add("sub", "subflow", flow_id=ids[-1]).output(ex(of("sub"))), f"depth {depth}"))
    assert ok(admin.wait(admin.start(ids[8]))) == "bottom"
    failed(admin.wait(admin.start(ids[9])), "subflow_depth")


# ---- waits -------------------------------------------------------------------------------------
def parked(stack, eid):
    """Until the run holds nothing any more."""
    wait_until(lambda: stack.sql("SELECT state FROM control.dispatch WHERE eid = %s", eid) == [("W",)], f"{eid} to be parked")
    wait_until(lambda: not stack.redis().keys(f"*:x:{eid}"), f"the queue to forget {eid}")


def waiting(seconds, **data):
    return Flow().add("w", "wait", seconds=seconds, **data).output("{{ .nodes.w }} and on")


@pytest.mark.parametrize("fields", [
    {"seconds": 0}, {"seconds": 0.2}, {"seconds": "{{ .inputs.s }}"}, {"until": "2001-02-03T04:05:06Z"},
    {"until": "{{ .inputs.past }}"}])
def test_short_waits_are_over_soon(admin, fields):
    answer = admin.run(Flow().add("w", "wait", **fields).output(ex(of("w"))), {"s": 0.1, "past": "2020-01-01T00:00:00.5+01:30"})
    assert ok(answer) is None
    assert statuses(answer)["w"] == "succeeded"


@pytest.mark.parametrize("fields", [
    {"seconds": "{{ .inputs.text }}"}, {"seconds": "{{ .inputs.minus }}"}, {"seconds": "{{ .inputs.long }}"},
    {"until": "{{ .inputs.text }}"}, {"until": "2026-02-30T00:00:00Z"}, {"until": "2026-01-01T00:00:00"},
    {"until": "2026-01-01T25:00:00Z"}, {"until": "2026-01-01T00:00:00+25:00"}])
def test_terms_that_are_none(admin, fields):
    answer = admin.run(Flow().add("w", "wait", **fields).output(1), {"text": "soon", "minus": -1, "long": 1e12})
    assert failed(answer, "input_invalid")["node_id"] == "w"


@pytest.mark.parametrize("data, path", [({}, "nodes[1].data"), ({"seconds": 1, "until": "2026-01-01T00:00:00Z"}, "nodes[1].data"),
                                        ({"seconds": -1}, "nodes[1].data.seconds"), ({"seconds": "5"}, "nodes[1].data.seconds"),
                                        ({"seconds": 1, "retry": {}}, "nodes[1].data.retry")])
def test_bad_waits_are_refused(admin, data, path):
    assert path in fault_paths(admin.post("flows", json={"name": "bad", **Flow().add("w", "wait", **data).output(1).document()}))


def test_a_run_that_waits_holds_no_place(admin, stack):
    stack.quota(admin.tenant, max_concurrent=1)
    eid = admin.start(waiting(6))
    parked(stack, eid)
    seen = admin.execution(eid)
    assert seen["execution"]["status"] == "running"
    assert [(n["node_id"], n["status"]) for n in seen["nodes"] if n["node_id"] == "w"] == [("w", "waiting")]
    assert eid in [e["id"] for e in checked(admin.get("executions?status=running"), 200).json()["executions"]]
    assert ok(admin.run(noop(), {"a": 1})) == {"a": 1}
    assert admin.status(eid) == "running"
    before = datetime.datetime.now(datetime.timezone.utc)
    answer = by_node(admin.wait(eid, 30))
    assert ok(answer) == "null and on"
    node = answer["node"]["w"]
    start, end = (datetime.datetime.fromisoformat(node[name]) for name in ("start_time", "end_time"))
    assert 6 <= (end - start).total_seconds() < 12 and start < before
    assert stack.sql("SELECT count(*) FROM control.wait WHERE eid = %s", eid) == [(0,)]
    assert stack.sql("SELECT count(*) FROM control.parked WHERE eid = %s", eid) == [(0,)]


def test_waking_is_no_lost_delivery(admin, stack):
    flow = Flow()
    for n in range(5):
        flow.add(f"w{n}", "wait", seconds=2.5)
    eid = admin.start(flow.output(ex(".execution.attempt")))
    assert ok(admin.wait(eid, 60)) == 1


def test_cancel_of_a_parked_run_ends_it_at_once(admin, stack):
    eid = admin.start(waiting(3600))
    parked(stack, eid)
    checked(admin.cancel(eid), 200, 202)
    assert admin.status(eid) == "cancelled"
    assert [n["status"] for n in admin.execution(eid)["nodes"] if n["node_id"] == "w"] == ["cancelled"]
    assert stack.sql("SELECT count(*) FROM control.parked WHERE eid = %s", eid) == [(0,)]


def test_the_deadline_ends_a_parked_run(admin, stack):
    eid = admin.start(waiting(3600), timeout_s=4)
    parked(stack, eid)
    answer = admin.wait(eid, 30)
    assert answer["execution"]["status"] == "timeout"


def test_waits_in_a_loop_park_the_run_once_all_items_wait(admin, stack):
    flow = each([3, 4, 5], parallel=3).inside("each", "w", "wait", seconds=ex(".item"))
    flow.inside("each", "t", "transform", after="w", value=ex(".item"))
    eid = admin.start(flow)
    parked(stack, eid)
    assert {n["node_id"] for n in admin.execution(eid)["nodes"] if n["status"] == "waiting"} == {f"each[{n}].w" for n in range(3)}
    assert ok(admin.wait(eid, 60)) == [3, 4, 5]


def test_a_run_with_something_else_under_way_is_not_parked(admin, stack, effects):
    flow = (Flow().add("w", "wait", seconds=3)
            .add("slow", "http", method="POST", url=effects.effect_url("slow", 0, 6), after="start")
            .add("both", "join", after=["w", "slow"]).output("done"))
    eid = admin.start(flow)
    admin.wait_node(eid, "w", "succeeded", 5.5)
    assert stack.sql("SELECT state FROM control.dispatch WHERE eid = %s", eid) == [("R",)]
    assert ok(admin.wait(eid)) == "done"


# ---- approvals ---------------------------------------------------------------------------------
def asking(**data):
    return (Flow().add("ask", "approval", message="Pay {{ .inputs.sum }}?", **data)
            .output({"yes": ex(of("ask"))}, after=("ask", "approved"), node_id="yes")
            .output({"no": ex(of("ask"))}, after=("ask", "rejected"), node_id="no"))


def approvals(api, **filters):
    return checked(api.get("approvals", params=filters), 200).json()["approvals"]


def open_approval(admin, stack, flow, inputs=None, **config):
    """Start a flow; its execution and its one approval, once the run is parked."""
    eid = admin.start(flow, inputs or {"sum": 5}, **config)
    parked(stack, eid)
    (approval,) = approvals(admin, execution_id=eid)
    return eid, approval


def decide(api, approval, decision, **body):
    return api.post(f"approvals/{approval['id']}/decide", json={"decision": decision, **body})


def test_an_approval_is_given(admin, stack):
    eid, approval = open_approval(admin, stack, asking())
    assert approval["message"] == "Pay 5?" and approval["status"] == "pending" and approval["node_id"] == "ask"
    assert approval["roles"] == ["admin", "editor"] and approval["execution_id"] == eid
    decided = checked(decide(admin, approval, "approve", comment="fine"), 200).json()["approval"]
    assert decided["status"] == "approved" and decided["decided_by"] == admin.user_id and decided["comment"] == "fine"
    answer = by_node(admin.wait(eid))
    assert ok(answer) == {"yes": {"yes": {"approved": True, "by": admin.user_id, "comment": "fine"}}}
    assert answer["node"]["ask"]["handle"] == "approved" and answer["node"]["no"]["status"] == "skipped"
    assert checked(admin.get(f"approvals/{approval['id']}"), 200).json()["approval"] == decided
    problem(decide(admin, approval, "reject"), 409)


def test_an_approval_is_refused(admin, stack):
    eid, approval = open_approval(admin, stack, asking())
    checked(decide(admin, approval, "reject"), 200)
    assert ok(admin.wait(eid)) == {"no": {"no": {"approved": False, "by": admin.user_id, "comment": None}}}


def test_who_may_decide(admin, stack):
    eid, approval = open_approval(admin, stack, asking(roles=["executor"]))
    editor, executor, viewer = (stack.user(admin, role) for role in ("editor", "executor", "viewer"))
    problem(decide(editor, approval, "approve"), 403)
    problem(decide(viewer, approval, "approve"), 403)
    problem(decide(stack.tenant(), approval, "approve"), 404)
    problem(stack.tenant().get(f"approvals/{approval['id']}"), 404)
    assert approvals(stack.tenant()) == []
    checked(decide(executor, approval, "approve"), 200)
    assert ok(admin.wait(eid))["yes"]["yes"]["by"] == executor.user_id
    # an admin always may
    eid, approval = open_approval(admin, stack, asking(roles=["executor"]))
    checked(decide(admin, approval, "approve"), 200)
    ok(admin.wait(eid))


def test_an_approval_expires(admin, stack):
    eid, approval = open_approval(admin, stack, asking(expires_s=3))
    answer = admin.wait(eid)
    assert failed(answer, "approval_expired")["node_id"] == "ask"
    problem(decide(admin, approval, "approve"), 410)
    assert checked(admin.get(f"approvals/{approval['id']}"), 200).json()["approval"]["status"] == "expired"


def test_what_goes_on_after_an_expired_approval_is_its_on_error(admin):
    flow = asking(expires_s=1, on_error="branch").output(ex(of("ask", ".code")), after=("ask", "error"), node_id="late")
    assert ok(admin.run(flow, {"sum": 1})) == {"late": "approval_expired"}


def test_the_end_of_a_run_ends_its_approvals(admin, stack):
    eid, approval = open_approval(admin, stack, asking())
    checked(admin.cancel(eid), 200, 202)
    problem(decide(admin, approval, "approve"), 410)
    assert approvals(admin, execution_id=eid)[0]["status"] == "cancelled"


def test_an_approval_of_a_run_that_is_under_way(admin, stack, effects):
    flow = (asking().add("slow", "http", method="POST", url=effects.effect_url("slow", 0, 8), after="start")
            .output(1, node_id="end"))
    eid = admin.start(flow, {"sum": 1})
    wait_until(lambda: approvals(admin, execution_id=eid), "the approval")
    checked(decide(admin, approvals(admin, execution_id=eid)[0], "approve"), 200)
    admin.wait_node(eid, "yes", "succeeded", 6)
    ok(admin.wait(eid))


def test_the_list_of_approvals_has_pages(admin, stack):
    flow = Flow()
    for n in range(5):
        flow.add(f"ask{n}", "approval", after="start", message=f"number {n}")
        flow.output(n, after=(f"ask{n}", "approved"), node_id=f"out{n}")
    eid = admin.start(flow)
    parked(stack, eid)
    seen, cursor = [], None
    while cursor is not None or not seen:
        page = checked(admin.get("approvals", params={"limit": 2, **({"cursor": cursor} if cursor else {})}), 200).json()
        seen += [a["node_id"] for a in page["approvals"]]
        cursor = page["page_info"]["next_cursor"]
    assert sorted(seen) == [f"ask{n}" for n in range(5)] and len(seen) == 5
    problem(admin.get("approvals?cursor=nonsense"), 400)
    for approval in approvals(admin, status="pending"):
        checked(decide(admin, approval, "approve"), 200)
    assert ok(admin.wait(eid)) == {f"out{n}": n for n in range(5)}
    assert approvals(admin, status="pending") == [] and len(approvals(admin, status="approved")) == 5


# ---- pinned outputs, results of another run, one node alone ------------------------------------
def test_pinned_outputs_are_given_in_place_of_running(admin):
    flow = (Flow().code("dear", "raise SystemExit(1)", pinned={"x": 7})
            .add("big", "condition", pinned=False, **{"if": True})
            .transform("yes", "yes", after=("big", "true")).transform("no", ex(of("dear", ".x")), after=("big", "false"))
            .output({"yes": ex(of("yes")), "no": ex(of("no"))}, after=["yes", "no"]))
    answer = admin.run(flow, version="draft", pinned=True)
    assert ok(answer) == {"yes": None, "no": 7}
    assert answer["node"]["dear"]["receipt"] == {"pinned": True}
    failed(admin.run(flow, version="draft", pinned=False), "exit")


def test_results_of_another_run_are_taken_over(admin, effects):
    flow = (Flow().add("first", "http", method="POST", url=effects.effect_url("first"))
            .add("check", "http", method="GET", url=effects.url + "/flaky/{{ .inputs.key }}/1")
            .add("last", "http", method="POST", url=effects.effect_url("last")).output(ex(of("check", ".status"))))
    flow_id = admin.create(flow)
    inputs = {"key": f"reuse-{admin.slug}"}
    first = by_node(admin.wait(admin.start(flow_id, inputs)))
    failed(first, "http_status")
    eid = admin.start(flow_id, inputs, reuse={"execution_id": first["execution"]["id"], "rerun": ["check"]})
    again = by_node(admin.wait(eid))
    assert ok(again) == 200
    assert again["node"]["first"]["receipt"] == {"reused_from": first["execution"]["id"]}
    assert again["node"]["first"]["outputs"] == first["node"]["first"]["outputs"]
    assert len(again["node"]) == 5
    # what lies behind a node that runs runs as well
    eid = admin.start(flow_id, inputs, reuse={"execution_id": eid, "rerun": ["first"]})
    third = by_node(admin.wait(eid))
    ok(third)
    assert third["node"]["start"]["receipt"] and not (third["node"]["last"]["receipt"] or {}).get("reused_from")


def test_one_node_runs_alone(admin):
    flow = (Flow().transform("a", ex(".inputs.n + 1")).transform("b", ex(of("a") + " * 10")).transform("c", ex("error(\"never\")"))
            .output(1))
    flow_id = admin.create(flow)
    whole = admin.wait(admin.start(flow_id, {"n": 1}))
    failed(whole, "expression")
    eid = admin.start(flow_id, {"n": 1}, only_node="b", reuse={"execution_id": whole["execution"]["id"], "rerun": []})
    alone = by_node(admin.wait(eid))
    assert ok(alone) == 20 and "c" not in alone["node"] and "out" not in alone["node"]
    # the first one needs nothing but the inputs
    assert ok(admin.wait(admin.start(flow_id, {"n": 4}, only_node="a"))) == 5
    error = failed(admin.wait(admin.start(flow_id, {"n": 1}, only_node="b")), "no_upstream")
    assert "'b'" in error["message"] and "of a" in error["message"]


def test_one_node_runs_alone_on_pinned_outputs(admin):
    flow = Flow().code("a", "raise SystemExit(1)", pinned=[1, 2]).transform("b", ex(of("a") + " | add")).output(1)
    assert ok(admin.wait(admin.start(flow, only_node="b", version="draft"))) == 3
