"""Flows as files: export, import, templates; and files that are no flows."""

import json
import re

import pytest
import yaml

from kit.cli import ROOT
from kit.client import checked, fault_paths, problem
from kit.flows import Flow, noop

EXAMPLES = sorted(path.parent.name for path in (ROOT / "docs" / "flows").glob("*/flow.yaml"))


def export(api, flow, **query):
    return checked(api.get(f"flows/{flow}/export", params=query), 200)


def bring_in(api, document, status=201, **more):
    return checked(api.post("flows/import", json={"document": document, **more}), status)


def sample():
    return (Flow().code("step", "import sys\n\nprint('{\"a\": 1}')\n", label="yes: no", input="{{ .inputs }}")
            .transform("t", {"b": [1, {"c": None}], "a": "{{ .nodes.step.a // \"x\" }}"}).output("{{ .nodes.t }}")
            .schema(input_schema={"type": "object", "properties": {"n": {"type": "number", "minimum": 0.1}}}))


@pytest.mark.parametrize("form", ["yaml", "json"])
def test_export_import_export_is_the_same_to_the_byte(admin, form):
    flow = admin.create(sample(), name="Ärger & Söhne: a \"flow\"")
    checked(admin.put(f"flows/{flow}", json={"description": "two\nlines\n"}), 200)
    first = export(admin, flow, format=form)
    assert first.headers["Content-Type"] == f"application/{form}"
    name = re.fullmatch(r'attachment; filename="([A-Za-z0-9_-]+)\.(\w+)"', first.headers["Content-Disposition"])
    assert name and name[2] == form
    answer = bring_in(admin, first.text)
    made = answer.json()["flow"]
    assert answer.headers["Location"].endswith(made["id"]) and made["id"] != flow and made["status"] == "draft"
    assert export(admin, made["id"], format=form).content == first.content
    before = checked(admin.get(f"flows/{flow}"), 200).json()["flow"]
    for member in ("name", "description", "nodes", "edges", "input_schema"):
        assert made[member] == before[member]


def test_both_forms_say_the_same_and_nothing_of_the_server(admin):
    flow = admin.create(sample(), name="plain")
    as_yaml, as_json = (export(admin, flow, format=form) for form in ("yaml", "json"))
    data = json.loads(as_json.text)
    assert yaml.safe_load(as_yaml.text) == data
    assert list(data) == ["name", "input_schema", "nodes", "edges"]
    assert list(data["nodes"][0]) == ["id", "type", "position", "data"]
    assert "      source: |\n        import sys\n\n        print('{\"a\": 1}')\n" in as_yaml.text
    assert admin.user_id not in as_yaml.text + as_json.text and flow not in as_yaml.text
    assert export(admin, flow).text == as_yaml.text     # YAML when nothing is said


def test_a_small_change_makes_a_small_difference(admin):
    flow = admin.create(sample())
    before = export(admin, flow).text.splitlines()
    document = sample().document()
    document["nodes"][1]["data"]["label"] = "other"
    checked(admin.put(f"flows/{flow}", json=document), 200)
    after = export(admin, flow).text.splitlines()
    assert len(before) == len(after) and sum(a != b for a, b in zip(before, after)) == 1


def test_versions_are_exported(admin):
    flow = admin.create(Flow().output(1))
    checked(admin.post(f"flows/{flow}/publish", json={}), 201)
    checked(admin.put(f"flows/{flow}", json=Flow().output(2).document()), 200)
    assert "value: 1" in export(admin, flow, version=1).text and "value: 2" in export(admin, flow).text
    problem(admin.get(f"flows/{flow}/export", params={"version": 2}), 404)
    problem(admin.get(f"flows/{flow}/export", params={"format": "xml"}), 400)


def test_files_come_as_text_or_as_objects(admin):
    document = {"name": "inside", "description": "d", **noop().document()}
    assert bring_in(admin, document).json()["flow"]["name"] == "inside"
    assert bring_in(admin, json.dumps(document)).json()["flow"]["description"] == "d"
    assert bring_in(admin, yaml.safe_dump(document), name="given").json()["flow"]["name"] == "given"
    del document["name"]
    assert fault_paths(admin.post("flows/import", json={"document": document})) == ["name"]
    assert bring_in(admin, document, name="given").json()["flow"]["name"] == "given"


BOMB = "\n".join(["a: &a [x,x,x,x,x,x,x,x,x,x]"] + [
    f"{b}: &{b} [" + ",".join([f"*{a}"] * 10) + "]" for a, b in zip("abcdefgh", "bcdefghi")])


@pytest.mark.parametrize("document, path", [
    ("", None), ("just words", ""), ("[1, 2]", ""), ("a: [", "document"), ("{\"a\": 1", "document"),
    ("a: 1\na: 2", "document"), ("a: !!python/object:os.system x", "document"), ("a: 1\n---\nb: 2", "document"),
    ("[" * 100 + "]" * 100, "document"), ("\x01", "document"), ("name: [1]\nnodes: []\nedges: []", "name"),
    ("name: x\nnodes: 5\nedges: []", "nodes"), ("name: x\nedges: []", "nodes"),
    ("name: x\nid: 3\nnodes: []\nedges: []\nfoo: 1", "id"),
    ("name: x\nnodes: [{id: a, type: nothing}]\nedges: []", "nodes[0].type"),
    ("name: x\nnodes: [{id: a, type: code, data: {language: python, source_file: /etc/passwd}}]\nedges: []",
     "nodes[0].data.source_file"),
    ("name: x\nnodes: [{id: s, type: start}, {id: t, type: transform, data: {value: '{{ ( }}'}}]\n"
     "edges: [{id: e, source: s, target: t}]", "nodes[1].data.value"),
    ("name: x\ninput_schema: {type: 7}\nnodes: [{id: s, type: start}]\nedges: []", "input_schema"),
    (5, None), (["x"], None), (None, None), ({}, "name"),
], ids=str)
def test_what_is_no_flow_is_refused_with_its_place(admin, document, path):
    answer = admin.post("flows/import", json={"document": document})
    assert answer.status_code == (400 if path is None else 422), answer.text
    faults = fault_paths(answer, answer.status_code)
    assert path is None or path in faults, faults
    assert checked(admin.get("flows"), 200).json()["total"] == 0


def test_bombs_and_giants(admin):
    assert "aliases repeat too many values" in problem(admin.post("flows/import", json={"document": BOMB}), 413)["detail"]
    large = "name: x\nnodes:\n  - {id: s, type: start}\n" + "".join(
        f"  - {{id: n{n}, type: transform, data: {{value: '{'y' * 900_000}'}}}}\n" for n in range(11)) + "edges:\n" + "".join(
        f"  - {{id: e{n}, source: s, target: n{n}}}\n" for n in range(11))
    assert 9_800_000 < len(large) < 10 << 20
    problem(admin.post("flows/import", json={"document": large}), 413)          # a document has at most 4 MiB
    problem(admin.post("flows/import", json={"document": "x" * (10_485_761)}), 400)
    problem(admin.post("flows/import", json={"document": "x" * (17 << 20)}), 413)
    assert checked(admin.get("flows"), 200).json()["total"] == 0


def test_templates_are_the_examples(admin):
    listed = checked(admin.get("templates"), 200).json()["templates"]
    assert [template["name"] for template in listed] == EXAMPLES
    assert all(t["title"] and t["description"] and t["node_count"] > 2 for t in listed)
    template = checked(admin.get("templates/text-report"), 200).json()["template"]
    assert template["title"] == "Text report" and len(template["nodes"]) == template["node_count"]
    source = next(node for node in template["nodes"] if node["id"] == "words")["data"]["source"]
    assert source == (ROOT / "docs" / "flows" / "text-report" / "words.py").read_text()
    problem(admin.get("templates/nothing"), 404)
    problem(admin.get("templates/..%2F..%2Fetc"), 400)


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_template_becomes_a_flow(admin, name):
    answer = checked(admin.post(f"templates/{name}/use", json={"name": "mine"}), 201)
    flow = answer.json()["flow"]
    assert flow["name"] == "mine" and flow["created_by"] == admin.user_id and answer.headers["Location"].endswith(flow["id"])
    first = export(admin, flow["id"])
    again = bring_in(admin, first.text).json()["flow"]
    assert export(admin, again["id"]).content == first.content


def test_who_may_use_templates(stack, admin):
    viewer = stack.user(admin, "viewer")
    checked(viewer.get("templates"), 200)
    problem(viewer.post("templates/text-report/use"), 403)
    problem(viewer.post("flows/import", json={"document": {"name": "x", **noop().document()}}), 403)
    assert checked(admin.post("templates/text-report/use"), 201).json()["flow"]["name"] == "Text report"
    problem(admin.post("templates/nothing/use"), 404)
