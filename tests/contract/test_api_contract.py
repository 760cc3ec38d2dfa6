"""The running server against specs/openapi.yaml: schemathesis makes good and bad requests from the document and
checks every answer against it. Bounded: about a minute for all groups."""

import json
import pathlib
import subprocess
import sys

import pytest

from kit.client import PASSWORD, checked
from kit.flows import noop
from kit.operations import operations, stranger_id
from kit.people import operator
from kit.world import World

ROOT = pathlib.Path(__file__).resolve().parents[2]
SPEC = ROOT / "specs" / "openapi.yaml"
CHECKS = ",".join([
    "not_a_server_error", "status_code_conformance", "content_type_conformance", "response_headers_conformance",
    "response_schema_conformance", "negative_data_rejection", "unsupported_method", "allow_header_conformance",
    "ignored_auth",
])
GROUP_S = 300
# 414 refuses a query before anybody looks at what it says
REJECTIONS = """[checks.negative_data_rejection]
expected-statuses = ["400", "401", "403", "404", "405", "406", "409", "410", "413", "414", "415", "422", "429", "5xx"]
"""
EXAMPLES = 6
# whose success would pull the rug from under the others: the session that asks, the account that asks
OWN = {"auth_sessions_revoke", "users_sessions_revoke", "users_delete", "users_update"}
# a stream never ends by itself (a test of its own has it); those that call a tool or a server outside take their time
APART = {"executions_stream", "tools_test", "llm_providers_validate", "tools_validate", "outgoing_webhooks_test"}
TAGS = sorted({one.tag for one in operations()})


@pytest.fixture(scope="module")
def editor(stack):
    return stack.tenant()


@pytest.fixture(scope="module")
def things(stack, editor):
    """One of everything, and once more for what deletes: so each operation reaches the real thing."""
    kept, doomed = World(stack, editor, "kept"), World(stack, editor, "doomed")
    doomed.ids["user"] = stack.user(editor, "viewer").user_id
    return kept, doomed


@pytest.fixture(scope="module")
def settings(stack, things, tmp_path_factory):
    """A schemathesis.toml that gives each operation ids that lead somewhere."""
    kept, doomed = things
    spare = stack.tenant().tenant
    rows = [REJECTIONS]
    for operation in operations():
        if not operation.in_path:
            continue
        world = doomed if operation.method == "DELETE" or operation.name in OWN else kept
        values = world.path_values(operation)
        if operation.name == "auth_sessions_revoke":
            values["id"] = stranger_id()
        if operation.tag == "operator":
            values["tenant_id"] = spare
        given = ", ".join(f'"path.{name}" = {json.dumps(value)}' for name, value in values.items())
        rows.append(f'[[operations]]\ninclude-operation-id = "{operation.name}"\nparameters = {{ {given} }}\n')
    path = tmp_path_factory.mktemp("contract") / "schemathesis.toml"
    path.write_text("\n".join(rows))
    return path


def run(stack, settings, token, *selection):
    """Run schemathesis on a part of the document; its whole report is the failure's text."""
    argv = [sys.executable, "-m", "schemathesis.cli", "--config-file", str(settings), "run", str(SPEC),
            "--url", stack.urls["web"], "--checks", CHECKS, "--phases", "examples,coverage,fuzzing,stateful",
            "--max-examples", str(EXAMPLES), "--seed", "1", "--no-shrink", "--continue-on-failure",
            "--request-timeout", "30", "--header", f"Authorization: Bearer {token}", *selection]
    done = subprocess.run(argv, cwd=settings.parent, capture_output=True, text=True, timeout=GROUP_S, check=False)
    assert done.returncode == 0, done.stdout[-12000:] + done.stderr[-2000:]
    return done.stdout


@pytest.mark.parametrize("tag", TAGS)
def test_answers_are_as_the_document_says(stack, editor, settings, tag):
    token = operator(stack).access if tag == "operator" else editor.access
    apart = [word for name in sorted(APART) for word in ("--exclude-operation-id", name)]
    report = run(stack, settings, token, "--include-tag", tag, *apart)
    assert "Selected: " in report and "Selected: 0/" not in report, report


def test_streams_are_as_the_document_says(stack, admin):
    flow_id = admin.create(noop())
    eid = checked(admin.post(f"flows/{flow_id}/execute", json={}), 202).json()["execution_id"]
    with admin.http.stream("GET", f"/api/v1/executions/{eid}/stream",
                            headers={"Authorization": f"Bearer {admin.access}"}, timeout=30) as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        lines = list(answer.iter_lines())
    assert [line for line in lines if line == "event: end"] == ["event: end"]
    for bad in ("x", "1", "1-", "-1", "1-1-1", "1 - 1"):
        checked(admin.get(f"executions/{eid}/stream", headers={"Last-Event-ID": bad}), 400)
    checked(admin.get(f"executions/{flow_id}/stream"), 404)


def test_the_served_document_is_the_one_that_is_written(stack):
    import yaml
    served = checked(stack.api().get("openapi.json"), 200).json()
    assert served == yaml.safe_load(SPEC.read_text())


def test_every_operation_refuses_strangers(stack, admin):
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
            for token in ("", "x.y.z", admin.access[:-3], admin.access + "A"):
                headers = {"Authorization": f"Bearer {token}"} if token else {}
                answer = checked(api.http.request(method, url, headers=headers), 401)
                assert answer.headers["www-authenticate"].startswith("Bearer ")
                assert answer.headers["content-type"] == "application/problem+json"
    assert seen >= 12


def test_passwords_are_never_answered(stack, admin):
    answer = checked(stack.api().post("auth/login", json={
        "email": admin.email, "password": PASSWORD, "tenant_slug": admin.slug}), 200)
    assert PASSWORD not in answer.text and "argon2" not in answer.text
