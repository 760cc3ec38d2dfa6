"""The running server against specs/openapi.yaml: schemathesis makes good and bad requests from the document and has all
its checks look at every answer of every operation. First each operation by itself with ids that lead to the real thing,
then operations behind each other with the ids that they gave. Bounded: about two minutes for all groups."""

import json
import pathlib
import subprocess
import sys

import pytest
from schemathesis.checks import CHECKS, load_all_checks

from kit.client import PASSWORD, checked
from kit.effects import EffectServer
from kit.flows import noop
from kit.operations import operations, stranger_id
from kit.people import operator
from kit.world import World

ROOT = pathlib.Path(__file__).resolve().parents[2]
SPEC = ROOT / "specs" / "openapi.yaml"
GROUP_S = 300
# 414 refuses a query before anybody looks at what it says; 410 and 412 speak of the thing's state.
# A document of the right form may still ask for what cannot be: 422 says so, with the path of the fault.
# 426 is how a WebSocket's path answers whoever does not ask for one.
# A string of a document may hold any character but U+0000, which no schema can say and every body is refused for.
EXPECTED = """[generation]
allow-x00 = false
[checks.negative_data_rejection]
expected-statuses = ["400", "401", "403", "404", "405", "406", "409", "410", "412", "413", "414", "415", "422", "429", "5xx"]
[checks.positive_data_acceptance]
expected-statuses = ["2xx", "3xx", "401", "403", "404", "409", "410", "412", "422", "426", "429", "5xx"]
"""
EXAMPLES = 6
# whose success would pull the rug from under the others: the session that asks, the account that asks
OWN = {"auth_sessions_revoke", "users_sessions_revoke", "users_delete", "users_update"}
TAGS = sorted({one.tag for one in operations()})
# schemathesis 4.32 takes 0 for a match of this header's pattern; test_streams_are_as_the_document_says sends wrong ones
HEADERS = {"executions_stream": {"header.Last-Event-ID": "0-0"}}
STEPS = 25
# behind each other: parts with things that are made and deleted, each by itself so that its links are tried
CHAINS = ["agents", "crews", "executions", "exports", "flows", "llm-providers", "schedules", "tools", "users", "webhooks"]
# after these nothing else would be answered in a chain: its login is gone
LAST = ["users_sessions_revoke"]


def all_checks():
    load_all_checks()
    return sorted(CHECKS.get_all_names())


@pytest.fixture(scope="module")
def editor(stack):
    return stack.tenant()


@pytest.fixture(scope="module")
def outside():
    """The servers of others that tools, providers and webhooks reach: on loopback, which the stack's operator allows."""
    with EffectServer() as server:
        yield server


@pytest.fixture(scope="module")
def things(stack, editor, outside):
    """One of everything, and once more for what deletes: so each operation reaches the real thing."""
    kept, doomed = World(stack, editor, "kept", f"{outside.url}/echo"), World(stack, editor, "doomed", f"{outside.url}/echo")
    doomed.ids["user"] = stack.user(editor, "viewer").user_id
    return kept, doomed


def ended_run(api):
    """An execution that has ended: its stream tells what there was, and ends."""
    eid = checked(api.execute(api.create(noop())), 202).json()["execution_id"]
    api.wait(eid)
    return eid


@pytest.fixture(scope="module")
def special(editor, things, outside):
    """Ids for operations that need a thing of a certain kind: {operation: id}."""
    ended = ended_run(editor)
    document = {"openapi": "3.0.3", "info": {"title": "t", "version": "1"}, "servers": [{"url": outside.url}],
                "paths": {"/echo": {"get": {"operationId": "echo", "responses": {"200": {"description": "it"}}}}}}
    provider = checked(editor.post("llm-providers", json={
        "name": "away", "provider_type": "openai", "api_credentials": {"api_key": "sk-0"},
        "config": {"base_url": f"{outside.url}/v1", "allow_private": True}}), 201).json()["llm_provider"]["id"]
    tool = checked(editor.post("tools/import", json={"document": document}), 201).json()["tools"][0]["id"]
    return {"executions_stream": ended, "tools_validate": tool, "llm_providers_validate": provider}


@pytest.fixture(scope="module")
def settings(stack, things, special, tmp_path_factory):
    """A schemathesis.toml that gives each operation ids that lead somewhere."""
    kept, doomed = things
    spare = stack.tenant().tenant
    rows = [EXPECTED]
    for operation in operations():
        if not operation.in_path:
            continue
        world = doomed if operation.method == "DELETE" or operation.name in OWN else kept
        values = world.path_values(operation)
        if operation.name == "auth_sessions_revoke":
            values["id"] = stranger_id()
        if operation.tag == "operator":
            values["tenant_id"] = spare
        if operation.name in special:
            values["id"] = special[operation.name]
        given = ", ".join(f'"{key}" = {json.dumps(value)}' for key, value in
                          {**{f"path.{name}": value for name, value in values.items()}, **HEADERS.get(operation.name, {})}.items())
        rows.append(f'[[operations]]\ninclude-operation-id = "{operation.name}"\nparameters = {{ {given} }}\n')
    path = tmp_path_factory.mktemp("contract") / "schemathesis.toml"
    path.write_text("\n".join(rows))
    return path


def run(stack, settings, who, other, *selection, examples=EXAMPLES):
    """Run schemathesis on a part of the document as `who`; nothing of his may be read by `other`. The whole report is
    the failure's text."""
    folder = settings.parent
    users = {"auth": [{"name": name, "fixedHeaders": [{"name": "Authorization", "value": f"Bearer {token}"}]}
                      for name, token in (("who", who), ("other", other))]}
    (folder / "users.json").write_text(json.dumps(users))
    config = folder / "run.toml"
    config.write_text('[auth.wfc]\npath = "users.json"\nuser = "who"\npeers = ["who", "other"]\n' + settings.read_text())
    argv = [sys.executable, "-m", "schemathesis.cli", "--config-file", str(config), "run", str(SPEC),
            "--url", stack.urls["web"], "--checks", ",".join(all_checks()), "--max-examples", str(examples), "--seed", "1",
            "--no-shrink", "--continue-on-failure", "--request-timeout", "30", *selection]
    done = subprocess.run(argv, cwd=folder, capture_output=True, text=True, timeout=GROUP_S, check=False)
    assert done.returncode == 0, done.stdout[-12000:] + done.stderr[-2000:]
    return done.stdout


@pytest.fixture(scope="module")
def other(stack):
    return stack.tenant()


@pytest.fixture(scope="module")
def chains(stack, other, outside, tmp_path_factory):
    """A schemathesis.toml for operations behind each other, in a tenant that has something of everything."""
    World(stack, other, "others", f"{outside.url}/echo")
    path = tmp_path_factory.mktemp("chains") / "schemathesis.toml"
    path.write_text(f'''{EXPECTED}
[[operations]]
include-operation-id = "executions_stream"
parameters = {{ "path.id" = "{ended_run(other)}" }}
''')
    return path


@pytest.mark.parametrize("tag", TAGS)
def test_answers_are_as_the_document_says(stack, editor, other, settings, tag):
    # models are asked in a tenant that has none but the demo: the others' servers answer no models' questions
    token = operator(stack).access if tag == "operator" else stack.tenant().access if tag == "gateway" else editor.access
    report = run(stack, settings, token, other.access, "--phases", "examples,coverage,fuzzing", "--include-tag", tag)
    assert "Selected: " in report and "Selected: 0/" not in report, report


@pytest.mark.parametrize("tag", CHAINS)
def test_what_is_made_is_there_and_what_is_deleted_is_gone(stack, other, editor, chains, tag):
    """Operations behind each other, by the ids that flow between them: made is found, deleted is not, another's never."""
    left_out = [word for name in LAST for word in ("--exclude-operation-id", name)]
    report = run(stack, chains, other.access, editor.access, "--phases", "stateful", "--include-tag", tag, *left_out,
                 examples=STEPS)
    assert "API Links" in report, report


def test_all_checks_are_made():
    """What schemathesis brings, and nothing less: a new version's checks are made as well."""
    assert {"use_after_free", "ensure_resource_availability", "object_level_authorization", "ignored_auth",
            "positive_data_acceptance", "missing_required_header"} < set(all_checks()) and len(all_checks()) >= 14


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
