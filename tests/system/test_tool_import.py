"""Tools from OpenAPI documents, from the preview to a call; bad documents and what they cost."""

import concurrent.futures
import json
import time

import pytest
import yaml

from kit.client import checked, fault_paths, problem
from kit.http_server import HttpServer
from kit.secrets import places_of

PETS = """
openapi: 3.0.3
info: {title: Pets, version: '1'}
servers: [{url: 'https://pets.example.org/v1'}]
security: [{key: []}]
paths:
  /pets:
    get:
      operationId: listPets
      parameters: [{name: limit, in: query, schema: {type: integer, maximum: 100}}]
      responses:
        '200': {description: ok, content: {application/json: {schema: {type: array, items: {$ref: '#/components/schemas/Pet'}}}}}
    post:
      summary: Add a pet
      requestBody: {required: true, content: {application/json: {schema: {$ref: '#/components/schemas/Pet'}}}}
      responses: {'201': {description: made}}
  /pets/{id}:
    delete: {security: [], parameters: [{name: id, in: path, required: true, schema: {type: string}}], responses: {'204': {description: gone}}}
components:
  securitySchemes: {key: {type: apiKey, in: header, name: X-Key}}
  schemas:
    Pet: {type: object, required: [name], properties: {name: {type: string}, mother: {$ref: '#/components/schemas/Pet'}}}
"""
TOKEN = "pet-key-5b1f90cc"


@pytest.fixture
def api(stack):
    return stack.tenant()


@pytest.fixture(scope="module")
def shared(stack):
    return stack.tenant()


def load(text=PETS):
    return yaml.safe_load(text)


def imported(api, **body):
    return checked(api.post("tools/import", json={"document": PETS, **body}), 201).json()


def preview(api, **body):
    return checked(api.post("tools/import/preview", json={"document": PETS, **body}), 200).json()


def names(answer):
    return [tool["name"] for tool in answer["tools"]]


def test_each_operation_becomes_a_tool(api):
    seen = preview(api)
    assert seen["title"] == "Pets" and seen["servers"] == ["https://pets.example.org/v1"]
    assert names(seen) == ["listPets", "post_pets", "delete_pets_id"] and "Recursive" in json.dumps(seen)
    assert [(tool["method"], tool["path"]) for tool in seen["tools"]] == [
        ("GET", "/pets"), ("POST", "/pets"), ("DELETE", "/pets/{id}")]
    assert checked(api.get("tools"), 200).json()["total"] == 0      # a preview stores nothing
    made = imported(api)
    for before, after in zip(seen["tools"], made["tools"], strict=True):
        for member in ("name", "description", "input_schema", "output_schema", "execution_config"):
            assert before[member] == after[member]
    assert made["warnings"] == seen["warnings"] and len(made["warnings"]) == 1
    assert all(tool["state"] == "active" and not tool["has_credentials"] for tool in made["tools"])
    listed = checked(api.get("tools?sort=created_at"), 200).json()
    assert {tool["id"] for tool in listed["tools"]} == {tool["id"] for tool in made["tools"]}


def test_text_in_json_and_yaml_and_an_object_are_the_same(shared):
    for document in (json.dumps(load()), json.dumps(load(), indent=2), load(), "# comment\n" + PETS):
        assert preview(shared, document=document) == preview(shared)


def test_choice_server_prefix_and_state(api):
    made = imported(api, operations=["listPets", "DELETE /pets/{id}"], server="https://mine.example.org/", name_prefix="my pets ",
                    state="draft")
    assert names(made) == ["my_pets_listPets", "my_pets_delete_pets_id"]
    assert {tool["state"] for tool in made["tools"]} == {"draft"}
    assert {tool["execution_config"]["url"] for tool in made["tools"]} == {"https://mine.example.org"}
    assert fault_paths(api.post("tools/import", json={"document": PETS, "operations": ["listPets", "nothing"]})) == ["operations[1]"]
    relative = PETS.replace("https://pets.example.org/v1", "/v1")
    assert fault_paths(api.post("tools/import/preview", json={"document": relative})) == ["servers[0].url"]
    assert preview(api, document=relative, server="http://a.example/v2")["tools"][0]["execution_config"]["url"] == "http://a.example/v2"
    for server in ("nonsense", "ftp://a.example", "https://a.example?x"):
        assert fault_paths(api.post("tools/import/preview", json={"document": PETS, "server": server})) == ["server"]


def test_existing_names_are_named_and_nothing_is_stored(api):
    imported(api, operations=["listPets"])
    refused = api.post("tools/import", json={"document": PETS})
    assert fault_paths(refused, 409) == ["listPets"] and "listPets" in refused.text
    assert checked(api.get("tools"), 200).json()["total"] == 1
    imported(api, name_prefix="again_")
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        codes = sorted(pool.map(lambda _: api.post("tools/import", json={"document": PETS, "name_prefix": "race_"}).status_code,
                                range(4)))
    assert codes == [201, 409, 409, 409] and checked(api.get("tools?search=race_"), 200).json()["total"] == 3


def test_credentials_go_to_the_tools_that_need_them(stack, api):
    made = imported(api, credentials={"token": TOKEN})
    assert [tool["has_credentials"] for tool in made["tools"]] == [True, True, False] and TOKEN not in json.dumps(made)
    sealed = stack.sql(f"SELECT credentials FROM t_{api.tenant}.resources WHERE credentials IS NOT NULL")
    assert len({one for (one,) in sealed}) == 2      # each for its own tool
    assert places_of(stack, TOKEN) == []
    refused = api.post("tools/import", json={"document": PETS, "name_prefix": "b_", "credentials": {"username": "u", "password": "p"}})
    assert fault_paths(refused) == ["credentials"]


def test_an_imported_tool_calls_its_server(api):
    seen = []

    class Pets(HttpServer):
        protocol = "HTTP/1.0"
        methods = ("POST",)

        def answer(self, request):
            seen.append((request.path, request.headers["X-Key"], json.loads(request.body)))
            return 201, {}, {"made": True}

    with Pets() as server:
        made = imported(api, server=f"{server.url}/v9", operations=["POST /pets"], credentials={"token": TOKEN})
        ended = checked(api.post(f"tools/{made['tools'][0]['id']}/test", json={"input": {"body": {"name": "Rex"}}}), 200).json()
        refused = checked(api.post(f"tools/{made['tools'][0]['id']}/test", json={"input": {"body": {"nome": "Rex"}}}), 200).json()
    assert ended["status"] == "succeeded" and "true" in json.dumps(ended["outputs"]), ended
    assert seen == [("/v9/pets", TOKEN, {"name": "Rex"})]
    assert refused["status"] == "failed"


# ---- bad documents -------------------------------------------------------------------------------

def broken(**changes):
    """PETS with one value replaced: a dotted path and what to put there."""
    document = load()
    for path, value in changes.items():
        *way, last = path.split("|")
        place = document
        for step in way:
            place = place[int(step)] if isinstance(place, list) else place[step]
        place[int(last) if isinstance(place, list) else last] = value
    return document


@pytest.mark.parametrize("change, path", [
    ({"openapi": "2.0"}, "openapi"),
    ({"paths": 5}, "paths"),
    ({"paths|/pets|get|parameters|0|in": "body"}, "paths./pets.get.parameters[0].in"),
    ({"paths|/pets|get|parameters|0|schema": {"type": "strin"}}, "paths./pets.get.parameters[0].schema.type"),
    ({"paths|/pets|get|parameters|0|schema": {"$ref": "pets.yaml#/Pet"}}, "paths./pets.get.parameters[0].schema.$ref"),
    ({"paths|/pets|get|parameters|0|schema": {"$ref": "#/components/schemas/Cat"}}, "paths./pets.get.parameters[0].schema.$ref"),
    ({"components|schemas|Pet|properties": []}, "components.schemas.Pet.properties"),
    ({"components|schemas|Pet|required": "name"}, "components.schemas.Pet.required"),
    ({"security": [{"nobody": []}]}, "security[0].nobody"),
    ({"servers": [{"url": "ftp://a.example"}]}, "servers[0].url"),
    ({"servers": [{"url": "http://user:pw@a.example"}]}, "paths./pets.get"),
    ({"paths|/pets/{id}|delete|parameters": []}, "paths./pets/{id}.delete"),
    ({"components|schemas|Pet|properties|name": {"minLength": -1}}, "paths./pets.get"),
])
@pytest.mark.parametrize("operation", ["import", "import/preview"])
def test_a_fault_names_its_place(shared, operation, change, path):
    answer = shared.post("tools/" + operation, json={"document": broken(**change)})
    assert path in fault_paths(answer), answer.text
    assert checked(shared.get("tools"), 200).json()["total"] == 0


@pytest.mark.parametrize("document, words", [
    ("", None), ("nonsense", "object"), ("{", ""), ("[1, 2", ""), ("openapi: 3.0.0\n\tpaths: {}", "line 2"),
    (PETS.replace("info:", "openapi: 3.0.0\ninfo:"), "line"), (PETS + "---\n" + PETS, "document"),
    ("a: &a [*a]", "anchor"), ("%YAML 9.9\n---\na: b", ""), ("!!python/object/apply:os.system [id]", ""),
    ("x: &x [" + "1," * 9 + "1]\n" + "\n".join(f"y{n}: &y{n} [{', '.join([f'*{chr(120 if n == 0 else 121)}' + (str(n - 1) if n else '')] * 10)}]"
                                                for n in range(9)), "alias"),
    ('{"openapi": "3.0.0", "openapi": "3.0.0"}', "openapi"), ('{"a": 1e999}', ""), ("[" * 200 + "]" * 200, "deep"),
    (json.dumps("x" * 100), "object"),
])
def test_texts_that_are_no_documents_are_told(shared, document, words):
    answer = shared.post("tools/import/preview", json={"document": document})
    if words is None:
        problem(answer, 400)
    else:
        assert words in problem(answer, 422)["errors"][0]["message"], answer.text


def test_bodies_that_are_no_imports(shared):
    for body in ({}, {"document": 5}, {"document": None}, {"document": PETS, "operations": []}, {"document": PETS, "more": 1},
                 {"document": PETS, "state": "x"}, {"document": PETS, "credentials": {"secret": "x"}}):
        problem(shared.post("tools/import", json=body), 400)
    assert shared.post("tools/import", json={"document": "x" * 10_500_000}).status_code in (400, 413)


# ---- large documents -----------------------------------------------------------------------------

def many(count, **operation):
    return {"openapi": "3.0.0", "info": {"title": "Many", "version": "1"}, "servers": [{"url": "https://many.example.org"}],
            "paths": {f"/p{n}": {"get": {"responses": {}, **operation}} for n in range(count)}}


def test_a_thousand_operations_and_no_more(stack, api):
    refused = api.post("tools/import/preview", json={"document": many(10_000)})
    assert fault_paths(refused) == ["paths"] and "10000" in refused.text and "1000" in refused.text
    made = imported(api, document=many(1000, operationId="same", parameters=[
        {"name": "q", "in": "query", "schema": {"type": "string", "minLength": 1}}]))
    assert len(made["tools"]) == len(set(names(made))) == 1000
    few = imported(api, document=many(10_000), operations=["GET /p9999"], name_prefix="few_")
    assert names(few) == ["few_get_p9999"]


def test_ten_megabytes_are_read_and_others_do_not_wait(shared):
    document = many(500)
    document["components"] = {"schemas": {f"S{n}": {"type": "object", "description": "x" * 180, "properties": {
        f"p{m}": {"type": "string", "description": "y" * 150} for m in range(10)}} for n in range(4000)}}
    text = json.dumps(document)
    assert 8_000_000 < len(text) < 10_000_000
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        running = pool.submit(shared.post, "tools/import/preview", json={"document": text})
        slowest = 0
        while not running.done():
            began = time.monotonic()
            checked(shared.get("tools"), 200)
            slowest = max(slowest, time.monotonic() - began)
    assert len(checked(running.result(), 200).json()["tools"]) == 500
    assert slowest < 5, slowest


def test_references_that_multiply_and_go_in_circles_are_cut(shared):
    document = many(3, requestBody={"$ref": "#/components/requestBodies/B"})
    for path in document["paths"].values():
        path["post"] = path.pop("get")
    schemas = {f"S{n}": {"type": "object", "properties": {side: {"$ref": f"#/components/schemas/S{n + 1}"} for side in "ab"}}
               for n in range(60)}
    schemas["S60"] = {"anyOf": [{"$ref": "#/components/schemas/S0"}, {"$ref": "#/components/schemas/S60"}]}
    document["components"] = {"schemas": schemas, "requestBodies": {"B": {"content": {"application/json": {
        "schema": {"$ref": "#/components/schemas/S0"}}}}}}
    seen = preview(shared, document=document)
    assert len(seen["tools"]) == 3 and "cut" in seen["warnings"][0]["message"]
    assert len(json.dumps(seen)) < 5_000_000


def test_patterns_of_other_dialects_are_left_out(shared):
    document = many(1, parameters=[{"name": "q", "in": "query", "schema": {"type": "string", "pattern": "(?<=a)[", "minLength": 2}}])
    seen = preview(shared, document=document)
    assert seen["tools"][0]["input_schema"]["properties"]["q"] == {"type": "string", "minLength": 2}
    assert seen["warnings"] == [{"path": "paths./p0.get", "message": "its schemas have patterns that cannot be used: they are left out"}]


def test_our_own_document_becomes_tools(stack, api):
    """A document that is in use: every operation but the pages and streams, each with schemas that compile."""
    served = checked(api.get("openapi.json"), 200).json()
    made = imported(api, document=served, server=stack.urls["web"], name_prefix="own_", credentials={"token": api.access})
    count = sum(method in ("get", "post", "put", "delete") for item in served["paths"].values() for method in item)
    assert len(made["tools"]) == count
    listing = next(tool for tool in made["tools"] if tool["name"] == "own_tools_list")
    assert listing["has_credentials"]
    ended = checked(api.post(f"tools/{listing['id']}/test", json={"input": {"limit": 1, "search": "tools_list"}}), 200).json()
    assert ended["status"] == "succeeded" and "own_tools_list" in json.dumps(ended["outputs"]), ended
