"""The running server against specs/openapi.yaml: schemathesis makes good and bad requests from the document and
checks every answer against it. Bounded: about a minute for all groups."""

import pathlib
import subprocess
import sys

import pytest

from kit.client import PASSWORD, checked
from kit.flows import noop

ROOT = pathlib.Path(__file__).resolve().parents[2]
SPEC = ROOT / "specs" / "openapi.yaml"
CHECKS = ",".join([
    "not_a_server_error", "status_code_conformance", "content_type_conformance", "response_headers_conformance",
    "response_schema_conformance", "negative_data_rejection", "unsupported_method", "allow_header_conformance",
    "ignored_auth",
])
FLOW_OPERATIONS = ("flows_get", "flows_update", "flows_delete", "flows_publish", "flow_versions_list",
                   "flow_versions_get", "flows_execute")
EXECUTION_OPERATIONS = ("executions_get", "executions_cancel")
GROUP_S = 120


def config(identifiers):
    """A schemathesis.toml that gives each operation an identifier of its own, so that it reaches the real thing."""
    return "\n".join(f'[[operations]]\ninclude-operation-id = "{operation}"\n'
                     f'parameters = {{ "path.id" = "{identifier}"{more} }}\n'
                     for operation, identifier, more in identifiers)


@pytest.fixture(scope="module")
def editor(stack):
    return stack.tenant()


@pytest.fixture(scope="module")
def settings(editor, tmp_path_factory):
    rows = []
    for operation in FLOW_OPERATIONS:
        flow_id = editor.create(noop())
        checked(editor.post(f"flows/{flow_id}/publish", json={}), 201)
        rows.append((operation, flow_id, ', "path.version" = 1' if operation == "flow_versions_get" else ""))
    for operation in EXECUTION_OPERATIONS:
        answer = checked(editor.post(f"flows/{rows[0][1]}/execute", json={"inputs": {}}), 202)
        rows.append((operation, answer.json()["execution_id"], ""))
    path = tmp_path_factory.mktemp("contract") / "schemathesis.toml"
    path.write_text(config(rows))
    return path


def run(stack, settings, token, *selection, examples=12):
    """Run schemathesis on a part of the document; its whole report is the failure's text."""
    argv = [sys.executable, "-m", "schemathesis.cli", "--config-file", str(settings), "run", str(SPEC),
            "--url", stack.urls["web"], "--checks", CHECKS, "--phases", "examples,coverage,fuzzing",
            "--max-examples", str(examples), "--seed", "1", "--no-shrink", "--continue-on-failure",
            "--request-timeout", "15", "--header", f"Authorization: Bearer {token}", *selection]
    done = subprocess.run(argv, cwd=settings.parent, capture_output=True, text=True, timeout=GROUP_S, check=False)
    assert done.returncode == 0, done.stdout[-12000:] + done.stderr[-2000:]
    return done.stdout


@pytest.mark.parametrize("tag", ["auth", "flows", "executions", "operation"])
def test_answers_are_as_the_document_says(stack, editor, settings, tag):
    # a stream never ends by itself: test_streams_are_as_the_document_says has it
    report = run(stack, settings, editor.access, "--include-tag", tag, "--exclude-operation-id", "executions_stream")
    assert "Selected: " in report and "Selected: 0/" not in report, report


def test_streams_are_as_the_document_says(stack, editor):
    flow_id = editor.create(noop())
    eid = checked(editor.post(f"flows/{flow_id}/execute", json={}), 202).json()["execution_id"]
    with editor.http.stream("GET", f"/api/v1/executions/{eid}/stream",
                            headers={"Authorization": f"Bearer {editor.access}"}, timeout=30) as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        lines = list(answer.iter_lines())
    assert [line for line in lines if line == "event: end"] == ["event: end"]
    for bad in ("x", "1", "1-", "-1", "1-1-1", "1 - 1"):
        checked(editor.get(f"executions/{eid}/stream", headers={"Last-Event-ID": bad}), 400)
    checked(editor.get(f"executions/{flow_id}/stream"), 404)


def test_the_served_document_is_the_one_that_is_written(stack):
    import yaml
    served = checked(stack.api().get("openapi.json"), 200).json()
    assert served == yaml.safe_load(SPEC.read_text())


def test_every_operation_refuses_strangers(stack, editor):
    """No token, a token of nobody, and one whose signature was cut: 401 wherever the document wants a role."""
    import yaml
    document = yaml.safe_load(SPEC.read_text())
    api, seen = stack.api(), 0
    for path, item in document["paths"].items():
        for method in ("get", "post", "put", "delete"):
            if "x-role" not in item.get(method, {}):
                continue
            seen += 1
            url = path.replace("{id}", "0190d3a8-1c2b-7abc-8def-0123456789ab").replace("{version}", "1")
            for token in ("", "x.y.z", editor.access[:-3], editor.access + "A"):
                headers = {"Authorization": f"Bearer {token}"} if token else {}
                answer = checked(api.http.request(method, url, headers=headers), 401)
                assert answer.headers["www-authenticate"].startswith("Bearer ")
                assert answer.headers["content-type"] == "application/problem+json"
    assert seen >= 12


def test_passwords_are_never_answered(stack, editor):
    answer = checked(stack.api().post("auth/login", json={
        "email": editor.email, "password": PASSWORD, "tenant_slug": editor.slug}), 200)
    assert PASSWORD not in answer.text and "argon2" not in answer.text
