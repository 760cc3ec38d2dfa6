"""Bad input to the flow resources: 4xx with every fault and its path, and nothing stored."""

import json

import pytest

from kit.client import checked, problem
from kit.flows import Flow, ex, noop


def faults(admin, document, **more):
    """Send a document that must be refused; the paths that the answer names. Nothing may be stored."""
    before = admin.get("flows").json()["total"]
    answer = admin.post("flows", json={"name": "bad", **document, **more})
    assert answer.status_code in (400, 422), (answer.status_code, answer.text)
    body = problem(answer, answer.status_code)
    assert admin.get("flows").json()["total"] == before
    assert body["errors"] and all(fault["message"] for fault in body["errors"]), body
    return [fault["path"] for fault in body["errors"]]


def document(*nodes, edges=()):
    return {"nodes": list(nodes), "edges": [
        {"id": f"e{number}", "source": edge[0], "target": edge[1], **({"sourceHandle": edge[2]} if len(edge) > 2 else {})}
        for number, edge in enumerate(edges)]}


def node(node_id, kind, **data):
    return {"id": node_id, "type": kind, "data": data}


START = node("start", "start")


def test_a_cycle(admin):
    paths = faults(admin, document(START, node("a", "transform", value=1), node("b", "transform", value=2),
                                   edges=[("start", "a"), ("a", "b"), ("b", "a")]))
    assert any(path.startswith(("edges[", "nodes[")) or path in ("nodes", "edges") for path in paths), paths


def test_a_node_that_is_its_own_successor(admin):
    assert faults(admin, document(START, node("a", "transform", value=1), edges=[("start", "a"), ("a", "a")]))


def test_dangling_edges_are_all_named(admin):
    paths = faults(admin, document(START, node("a", "transform", value=1),
                                   edges=[("start", "a"), ("a", "ghost"), ("phantom", "a")]))
    assert any(path.startswith("edges[1]") for path in paths) and any(path.startswith("edges[2]") for path in paths), paths


def test_unreachable_nodes(admin):
    paths = faults(admin, document(START, node("a", "transform", value=1), node("island", "transform", value=1),
                                   edges=[("start", "a")]))
    assert any(path.startswith("nodes[2]") for path in paths), paths


def test_an_unknown_kind(admin):
    paths = faults(admin, document(START, node("a", "teleport"), edges=[("start", "a")]))
    assert any(path.startswith("nodes[1]") for path in paths), paths


def test_two_nodes_of_one_id(admin):
    paths = faults(admin, document(START, node("a", "transform", value=1), node("a", "transform", value=2),
                                   edges=[("start", "a")]))
    assert any(path.startswith(("nodes[1]", "nodes[2]")) for path in paths), paths


@pytest.mark.parametrize("nodes, edges", [
    ([], []),
    ([node("a", "transform", value=1)], []),
    ([START], []),
    ([START, node("again", "start"), node("a", "transform", value=1)], [("start", "a"), ("again", "a")]),
])
def test_a_flow_has_one_start_and_something_behind_it(admin, nodes, edges):
    assert faults(admin, document(*nodes, edges=edges))


def test_a_handle_that_the_kind_does_not_have(admin):
    paths = faults(admin, document(START, node("if", "condition", **{"if": ex("true")}), node("a", "transform", value=1),
                                   edges=[("start", "if"), ("if", "a", "maybe")]))
    assert any(path.startswith("edges[1]") for path in paths), paths


def test_every_fault_of_a_document_is_told_at_once(admin):
    paths = faults(admin, document(
        START, node("c", "code", language="cobol", source="print"), node("h", "http", method="GET"),
        node("t", "transform", value=1, surprise=2), node("w", "switch", value=1),
        edges=[("start", "c"), ("c", "h"), ("h", "t"), ("t", "w"), ("w", "nowhere")]))
    for wanted in ("nodes[1].data.language", "nodes[2].data", "nodes[3].data", "nodes[4].data", "edges[4]"):
        assert any(path.startswith(wanted) for path in paths), (wanted, paths)


@pytest.mark.parametrize("data", [
    {"retry": {"attempts": 0}}, {"retry": {"attempts": "many"}}, {"retry": {"attempts": 2, "backoff": "sometimes"}},
    {"timeout_s": -1}, {"on_error": "ignore"}, {"label": 7},
])
def test_common_fields_are_checked(admin, data):
    paths = faults(admin, document(START, node("a", "transform", value=1, **data), edges=[("start", "a")]))
    assert any(path.startswith("nodes[1].data") for path in paths), paths


@pytest.mark.parametrize("value", [ex(".inputs |"), ex("nosuchfunction(1)"), "text {{ unclosed", ex("")])
def test_an_expression_that_does_not_compile(admin, value):
    paths = faults(admin, document(START, node("a", "transform", value={"deep": [value]}), edges=[("start", "a")]))
    assert any(path.startswith("nodes[1].data.value") for path in paths), paths


@pytest.mark.parametrize("program", [".nodes.ghost", ".nodes.later.x"])
def test_an_expression_may_only_name_nodes_upstream(admin, program):
    paths = faults(admin, document(START, node("a", "transform", value=ex(program)), node("later", "transform", value=1),
                                   edges=[("start", "a"), ("a", "later")]))
    assert any(path.startswith("nodes[1].data.value") for path in paths), paths


def test_a_schema_that_is_no_schema(admin):
    paths = faults(admin, noop().document(), input_schema={"type": "nonsense"})
    assert any(path.startswith("input_schema") for path in paths), paths


def test_put_refuses_the_same_and_keeps_the_old(admin):
    flow_id = admin.create(noop())
    before = admin.get(f"flows/{flow_id}")
    bad = document(START, node("a", "teleport"), edges=[("start", "a")])
    assert admin.put(f"flows/{flow_id}", json=bad).status_code in (400, 422)
    after = admin.get(f"flows/{flow_id}")
    assert after.json() == before.json() and after.headers["ETag"] == before.headers["ETag"]


@pytest.mark.parametrize("body", [b"", b"{", b"[1]", b"null", b'{"name": "x",}', b'{"name": "x"} trailing', b"\xff\xfe{}",
                                  b'{"name": "a\x00b"}', b"[" * 5000, b'{"name":1e999}', b'{"name": "x", "name": "y"}'])
def test_malformed_json(admin, body):
    problem(admin.post("flows", content=body, headers={"Content-Type": "application/json"}), 400)
    assert admin.get("flows").json()["total"] == 0


def test_wrong_types_and_unknown_members_are_all_named(admin):
    answer = admin.post("flows", json={"name": 7, "nodes": {}, "edges": [], "colour": "red"})
    paths = [fault["path"] for fault in problem(answer, 400)["errors"]]
    assert {"name", "nodes", "colour"} <= set(paths), paths


def test_another_media_type_is_415(admin):
    problem(admin.post("flows", content=b"name=x", headers={"Content-Type": "application/x-www-form-urlencoded"}), 415)


def test_an_oversized_body_is_413(admin):
    body = json.dumps({"name": "x", "description": "y" * (17 << 20)}).encode()
    answer = admin.post("flows", content=body, headers={"Content-Type": "application/json"})
    problem(answer, 413)
    checked(admin.get("flows"), 200)


def test_a_document_of_too_many_nodes(admin):
    nodes = [START] + [node(f"n{number}", "transform", value=1) for number in range(2001)]
    paths = faults(admin, {"nodes": nodes, "edges": [{"id": f"e{number}", "source": "start", "target": f"n{number}"}
                                                     for number in range(2001)]})
    assert any(path.startswith("nodes") for path in paths), paths


def test_more_faults_than_are_told(admin):
    flow = Flow()
    for number in range(300):
        flow.add(f"n{number}", "transform", after="start")
    paths = faults(admin, flow.document())
    assert 50 <= len(paths) <= 400, len(paths)
