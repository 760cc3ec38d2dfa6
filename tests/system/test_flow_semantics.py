"""Loops, subflows, waits, approvals, pinned outputs and partial runs, on the real stack."""

import datetime
import time

import pytest

from kit.client import checked, fault_paths, problem
from kit.flows import Flow, effects as visits, ex, noop, of
from kit.waiting import wait_until


def ok(answer):
    assert answer["execution"]["status"] == "succeeded", answer["execution"]["error"]
    return answer["execution"]["outputs"]


def failed(answer, code):
    assert answer["execution"]["status"] == "failed", answer["execution"]
    error = answer["execution"]["error"]
    assert error["code"] == code and error["message"], error
    return error


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
    keys = {visit.key for visit in effects.visits(answer["execution"]["id"])} if hasattr(effects, "visits") else None
    assert keys is None or len(keys) == 4


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
