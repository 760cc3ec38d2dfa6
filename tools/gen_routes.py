#!/usr/bin/python3
"""Make the server's route table from the API's document.

    gen_routes.py specs/openapi.yaml build/gen/routes.c

Writes web_routes[] (method, template, operation, least role, parameters, schema of the body) and the document
itself as JSON, in the shape of webapp/server/core/route.h. What the server could not check stops the build.
"""

import json
import pathlib
import re
import sys

import yaml

METHODS = ("get", "post", "put", "patch", "delete")
ROLES = ("viewer", "executor", "editor", "admin", "operator")
# the schema of an operation's function, by who may call it (specs/sql/0004_platform.sql)
SCHEMAS = {None: "api_public", "operator": "api_operator"}
PLACES = ("path", "query", "header")
# what a parameter's schema may say; anything else would go unchecked
PARAMETER_WORDS = {"type", "format", "pattern", "enum", "minimum", "maximum", "minLength", "maxLength", "default",
                   "description"}
# what web_pattern_matches() of the server understands
PATTERN = re.compile(r"\^(?:(?:\[[^\]\\^]+\]|[A-Za-z0-9_:-])(?:\+|\{\d+(?:,\d+)?\})?)+\$")
# words of OpenAPI's schemas that JSON Schema draft 7 does not have
RAW = object()  # stands for the schema of a body of any type
NOT_DRAFT_7 = {"example", "externalDocs", "xml", "deprecated", "discriminator"}


def fail(where, what):
    sys.exit(f"{where}: {what}")


class Document:
    def __init__(self, path):
        self.tree = yaml.safe_load(pathlib.Path(path).read_text())

    def resolve(self, value):
        """What a {"$ref": "#/..."} points to, else the value itself."""
        while isinstance(value, dict) and "$ref" in value:
            place = self.tree
            for part in value["$ref"].removeprefix("#/").split("/"):
                place = place[part]
            value = place
        return value

    def draft7(self, schema):
        """An OpenAPI 3.0 schema as JSON Schema draft 7, references replaced by what they point to."""
        if isinstance(schema, list):
            return [self.draft7(item) for item in schema]
        if not isinstance(schema, dict):
            return schema
        schema = self.resolve(schema)
        made = {}
        for word, value in schema.items():
            if word in NOT_DRAFT_7 or word in ("nullable", "description") and not isinstance(value, dict):
                continue
            made[word] = {name: self.draft7(one) for name, one in value.items()} if word == "properties" \
                else self.draft7(value)
        if schema.get("nullable") is True and isinstance(made.get("type"), str):
            made["type"] = [made["type"], "null"]
        return made


def c_text(text):
    """A C string literal; long texts in pieces, since a literal has a length limit."""
    if text is None:
        return "NULL"
    pieces, data = [], text.encode()
    for start in range(0, len(data), 100):
        piece = ""
        for byte in data[start:start + 100]:
            char = chr(byte)
            piece += f"\\{char}" if char in '\\"' else char if 32 <= byte < 127 and char != "?" else f"\\{byte:03o}"
        pieces.append(f'"{piece}"')
    return "\n\t".join(pieces) or '""'


def parameter(document, raw, where):
    value = document.resolve(raw)
    schema = document.resolve(value["schema"])
    name, place = value["name"], value["in"]
    if place not in PLACES:
        fail(where, f"parameter {name} stands in {place}")
    unknown = set(schema) - PARAMETER_WORDS
    if unknown or schema.get("type") not in ("string", "integer"):
        fail(where, f"parameter {name}: the server cannot check {', '.join(sorted(unknown)) or schema.get('type')}")
    number = schema["type"] == "integer"
    least = schema.get("minimum" if number else "minLength", "INT64_MIN" if number else 0)
    most = schema.get("maximum" if number else "maxLength", "INT64_MAX")
    default = schema.get("default")
    fields = [f".name = {c_text(name)}", f".place = WEB_IN_{place.upper()}",
              f".type = {'WEB_INTEGER' if number else 'WEB_UUID' if schema.get('format') == 'uuid' else 'WEB_STRING'}",
              f".least = {least}", f".most = {most}"]
    if value.get("required") or place == "path":
        fields.append(".required = true")
    if default is not None:
        fields.append(f".standard = {c_text(str(default))}")
    if "pattern" in schema and schema.get("format") != "uuid":
        if not PATTERN.fullmatch(schema["pattern"]):
            fail(where, f"parameter {name}: the server cannot check the pattern {schema['pattern']}")
        fields.append(f".pattern = {c_text(schema['pattern'])}")
    if "enum" in schema:
        words = ", ".join(c_text(word) for word in schema["enum"])
        fields.append(f".words = (const char *const[]){{ {words}, NULL }}")
    return "{ " + ", ".join(fields) + " }"


def body(document, operation, where):
    raw = document.resolve(operation.get("requestBody"))
    if not raw:
        return None, False
    content = raw["content"]
    if list(content) == ["*/*"] or operation.get("x-body-raw"):
        return RAW, False
    if list(content) != ["application/json"]:
        fail(where, "only bodies of application/json, and of any type as they are (*/*), are understood")
    schema = document.draft7(content["application/json"]["schema"])
    return json.dumps(schema, separators=(",", ":")), bool(raw.get("required"))


def route(document, path, method, item, operation):
    where = f"{method} {path}"
    public = operation.get("security", document.tree.get("security")) == []
    role = operation.get("x-role")
    if public == (role is not None):
        fail(where, "needs either an x-role or an empty security")
    if role is not None and role not in ROLES:
        fail(where, f"x-role {role}")
    parameters = [parameter(document, raw, where) for raw in item.get("parameters", []) + operation.get("parameters", [])]
    schema, required = body(document, operation, where)
    name = operation["operationId"]
    listed = "".join(f"\t{one},\n" for one in parameters)
    before = f"static const struct web_parameter parameters_{name}[] = {{\n{listed}}};\n" if parameters else ""
    fields = [f".method = WEB_{method.upper()}", f".path = {c_text(path)}", f".operation = {c_text(name)}"]
    if not public:
        fields.append(f".role = WEB_ROLE_{role.upper()}")
    if parameters:
        fields += [f".parameters = parameters_{name}", f".parameter_count = {len(parameters)}"]
    function = f"{SCHEMAS.get(role, 'api')}.{name}"
    fields.append(f".function = {c_text(function)}")
    call = f"select status, body, etag, location, effects from {function}($1::json, $2::json)"
    fields.append(f".call = {c_text(call)}")
    if schema is RAW:
        fields.append(".body_raw = true")
    elif schema:
        fields.append(f".body_schema = {c_text(schema)}")
    if required:
        fields.append(".body_required = true")
    if operation.get("x-query-any"):
        fields.append(".query_any = true")
    return before, "\t{ " + ",\n\t  ".join(fields) + " },\n"


def main(argv):
    if len(argv) != 3:
        sys.exit(__doc__)
    document = Document(argv[1])
    before, rows, names = "", "", set()
    for path, item in document.tree["paths"].items():
        for method in METHODS:
            if method in item:
                name = item[method]["operationId"]
                if name in names:
                    fail(path, f"operationId {name} is used twice")
                names.add(name)
                one, row = route(document, path, method, item, item[method])
                before, rows = before + one, rows + row
    served = json.dumps(document.tree, separators=(",", ":"), default=str)
    text = (f"/* Made by tools/gen_routes.py from {argv[1]}; change that file. */\n"
            '#include "webapp/server/core/route.h"\n\n#include <stddef.h>\n#include <stdint.h>\n\n'
            f"{before}\nconst struct web_route web_routes[] = {{\n{rows}}};\n"
            f"const int web_route_count = {len(names)};\n\nconst char web_api_document[] =\n\t{c_text(served)};\n"
            "const size_t web_api_document_length = sizeof(web_api_document) - 1;\n")
    out = pathlib.Path(argv[2])
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(text)


if __name__ == "__main__":
    main(sys.argv)
