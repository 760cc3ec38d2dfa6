"""A fault of an expression is told at the very text that holds it, whatever its keys are called."""

import pytest

from kit.client import fault_paths

BAD = "{{ .inputs | }}"


@pytest.mark.parametrize("value, path", [
    (BAD, "value"),
    ({"deep": [1, [BAD]]}, "value.deep[1][0]"),
    ({"a: b": "fine", "a": {": ": BAD}}, "value.a.: "),
    ({"x": "{{ 1 }}", "x.y": BAD}, "value.x.y"),
    (["{{ 1 }}"] * 11 + [BAD], "value[11]"),
    ({"long" * 30: BAD}, None),     # too long a path to be told: the node is
])
def test_an_expressions_fault_is_at_its_text(admin, value, path):
    document = {"nodes": [{"id": "start", "type": "start", "data": {}},
                          {"id": "a", "type": "transform", "data": {"value": value}}],
                "edges": [{"id": "e", "source": "start", "target": "a"}]}
    wanted = f"nodes[1].data.{path}" if path else "nodes[1].data"
    assert fault_paths(admin.post("flows", json={"name": "x", **document})) == [wanted]
