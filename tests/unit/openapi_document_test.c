/* lib/codec/openapi_document: operations to tools, schemas to draft 7, and every fault with its place. */
#include "lib/codec/openapi_document.h"

#include "lib/base/cleanup.h"
#include "lib/base/clock.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define HEAD "openapi: 3.0.3\ninfo: {title: T, version: '1'}\nservers: [{url: 'https://api.example.org/v1/'}]\n"
#define HEAD31 "openapi: 3.1.0\ninfo: {title: T, version: '1'}\nservers: [{url: 'https://api.example.org/v1/'}]\n"

static struct wl_flow_faults faults;
static const struct wl_openapi_choice everything = { NULL, NULL, NULL };

static struct wl_json *parsed(const char *text)
{
	struct wl_json *document = NULL;
	struct wl_error err = { 0 };
	if (wl_openapi_parse(text, strlen(text), &document, &err) < 0)
		fail_msg("%s", err.text);
	return document;
}

static struct wl_json *read_with(const char *text, const struct wl_openapi_choice *choice)
{
	_wl_json_ struct wl_json *document = parsed(text);
	struct wl_json *result = NULL;
	struct wl_error err = { 0 };
	memset(&faults, 0, sizeof(faults));
	int rc = wl_openapi_read(document, choice, &result, &faults, &err);
	assert_true(rc == 0 || rc == -EINVAL);
	assert_true((rc < 0) == (faults.count > 0));
	assert_true((rc < 0) == (result == NULL));
	return result;
}

static struct wl_json *read_good(const char *text)
{
	struct wl_json *result = read_with(text, &everything);
	if (!result)
		fail_msg("%s: %s", faults.items[0].path, faults.items[0].text);
	return result;
}

static void assert_fault(const char *text, const char *path, const char *message)
{
	_wl_json_ struct wl_json *result = read_with(text, &everything);
	assert_null(result);
	for (int i = 0; i < faults.count; i++)
		if (strcmp(faults.items[i].path, path) == 0 && strstr(faults.items[i].text, message))
			return;
	fail_msg("no fault at %s with '%s', but %s: %s", path, message, faults.items[0].path, faults.items[0].text);
}

static void assert_is(const struct wl_json *value, const char *expected)
{
	_wl_json_ struct wl_json *wanted = parsed(expected);
	if (wl_json_equal(value, wanted))
		return;
	_wl_free_ char *seen = value ? wl_json_print(value) : strdup("nothing");
	fail_msg("%s is not %s", seen, expected);
}

static const struct wl_json *tool_at(const struct wl_json *result, size_t index)
{
	return wl_json_at(wl_json_get(result, "tools"), index);
}

static const struct wl_json *config_of(const struct wl_json *result, size_t index)
{
	return wl_json_get(tool_at(result, index), "execution_config");
}

static bool warned(const struct wl_json *result, const char *path, const char *message)
{
	const struct wl_json *warnings = wl_json_get(result, "warnings");
	for (const struct wl_json *one = wl_json_first(warnings); one; one = wl_json_next(one))
		if (strcmp(wl_json_get_string(one, "path", ""), path) == 0 &&
		    strstr(wl_json_get_string(one, "message", ""), message))
			return true;
	return false;
}

/* The schema of the body of one operation whose component X is given. */
static struct wl_json *body_schema(const char *head, const char *components)
{
	char text[8192];
	(void)snprintf(text, sizeof(text),
		       "%spaths:\n  /x:\n    post:\n      requestBody: {content: {application/json: {schema: {$ref: "
		       "'#/components/schemas/X'}}}}\n      responses: {}\ncomponents:\n  schemas:\n%s",
		       head, components);
	_wl_json_ struct wl_json *result = read_good(text);
	const struct wl_json *properties = wl_json_get(wl_json_get(tool_at(result, 0), "input_schema"), "properties");
	return wl_json_copy(wl_json_get(properties, "body"));
}

static void assert_schema(const char *head, const char *schema, const char *expected)
{
	char components[4096];
	(void)snprintf(components, sizeof(components), "    X: %s\n", schema);
	_wl_json_ struct wl_json *made = body_schema(head, components);
	assert_is(made, expected);
}

/* ---- operations ---------------------------------------------------------------------------------------------------
 */

static void an_operation_becomes_a_tool(void **state)
{
	(void)state;
	_wl_json_ struct wl_json *result = read_good(
		HEAD
		"paths:\n"
		"  /pets/{id}:\n"
		"    parameters: [{name: id, in: path, required: true, schema: {type: integer}}]\n"
		"    put:\n"
		"      operationId: putPet\n"
		"      summary: Change a pet\n"
		"      description: All of it.\n"
		"      parameters:\n"
		"        - {name: dry, in: query, description: Only try, schema: {type: boolean}}\n"
		"        - {name: tags, in: query, style: pipeDelimited, explode: false, schema: {type: array, "
		"items: {type: string}}}\n"
		"        - {name: X-Trace, in: header, schema: {type: string}}\n"
		"        - {name: Authorization, in: header, schema: {type: string}}\n"
		"        - {name: s, in: cookie, schema: {type: string}}\n"
		"      requestBody: {required: true, content: {text/plain: {}, application/json: {schema: {type: "
		"object}}}}\n"
		"      responses:\n"
		"        '404': {description: no, content: {application/json: {schema: {type: string}}}}\n"
		"        '200': {description: ok, content: {application/vnd.pet+json: {schema: {type: object}}}}\n");
	const struct wl_json *tool = tool_at(result, 0);
	assert_int_equal(wl_json_count(wl_json_get(result, "tools")), 1);
	assert_string_equal(wl_json_get_string(tool, "name", ""), "putPet");
	assert_string_equal(wl_json_get_string(tool, "operation", ""), "putPet");
	assert_string_equal(wl_json_get_string(tool, "description", ""), "Change a pet\n\nAll of it.");
	assert_is(wl_json_get(tool, "input_schema"),
		  "{type: object, additionalProperties: false, required: [id, body], properties: {id: {type: integer}, "
		  "dry: {type: boolean, description: Only try}, tags: {type: array, items: {type: string}}, X-Trace: "
		  "{type: string}, s: {type: string}, body: {type: object}}}");
	assert_is(wl_json_get(tool, "output_schema"), "{type: object}");
	assert_is(wl_json_get(tool, "execution_config"),
		  "{kind: openapi, method: PUT, url: 'https://api.example.org/v1', path: '/pets/{id}', operation_id: "
		  "putPet, parameters: [{name: id, in: path, required: true}, {name: dry, in: query, required: false}, "
		  "{name: tags, in: query, required: false, style: pipeDelimited, explode: false}, {name: X-Trace, in: "
		  "header, required: false}, {name: s, in: cookie, required: false}], body: json, egress: {hosts: "
		  "[api.example.org]}}");
	assert_is(wl_json_get(result, "warnings"), "[]");
}

static void names_are_plain_and_differ(void **state)
{
	(void)state;
	static const char text[] =
		HEAD "paths:\n"
		     "  /a b/{x}:\n"
		     "    parameters: [{name: x, in: path, required: true}]\n"
		     "    get: {}\n"
		     "  /a_b/x: {get: {}, post: {operationId: 'do it!'}, delete: {operationId: 'do-it'}}\n"
		     "  /c: {get: {operationId: do_it}}\n";
	_wl_json_ struct wl_json *result = read_good(text);
	static const char *const names[] = { "get_a_b_x", "get_a_b_x_2", "do_it", "do-it", "do_it_2" };
	for (size_t i = 0; i < WL_COUNT_OF(names); i++)
		assert_string_equal(wl_json_get_string(tool_at(result, i), "name", ""), names[i]);
	char prefix[101];
	memset(prefix, 'p', 100);
	prefix[100] = '\0';
	const struct wl_openapi_choice choice = { NULL, prefix, NULL };
	_wl_json_ struct wl_json *long_names = read_with(text, &choice);
	for (size_t i = 0; i < WL_COUNT_OF(names); i++) {
		const char *name = wl_json_get_string(tool_at(long_names, i), "name", "");
		assert_int_equal(strlen(name), WL_OPENAPI_NAME_MAX);
		for (size_t j = 0; j < i; j++)
			assert_string_not_equal(name, wl_json_get_string(tool_at(long_names, j), "name", ""));
	}
}

static void own_parameters_stand_in_for_the_paths_and_names_do_not_meet(void **state)
{
	(void)state;
	_wl_json_ struct wl_json *result = read_good(
		HEAD "paths:\n"
		     "  /a/{id}:\n"
		     "    parameters: [{name: id, in: path, required: true, schema: {type: string}}, {name: q, in: "
		     "query, schema: {type: string}}]\n"
		     "    post:\n"
		     "      parameters: [{$ref: '#/components/parameters/Q'}, {name: id, in: query}, {name: body, "
		     "in: query}]\n"
		     "      requestBody: {$ref: '#/components/requestBodies/B'}\n"
		     "components:\n"
		     "  parameters: {Q: {name: q, in: query, required: true, schema: {type: integer}}}\n"
		     "  requestBodies: {B: {content: {application/x-www-form-urlencoded: {}}}}\n");
	assert_is(wl_json_get(tool_at(result, 0), "input_schema"),
		  "{type: object, additionalProperties: false, required: [id, q], properties: {id: {type: string}, q: "
		  "{type: integer}, query_id: {}, query_body: {}, body: {type: object}}}");
	assert_is(wl_json_get(config_of(result, 0), "parameters"),
		  "[{name: id, in: path, required: true}, {name: q, in: query, required: true}, {name: query_id, in: "
		  "query, as: id, required: false}, {name: query_body, in: query, as: body, required: false}]");
	assert_string_equal(wl_json_get_string(config_of(result, 0), "body", ""), "form");
}

static void what_cannot_be_sent_is_a_warning(void **state)
{
	(void)state;
	_wl_json_ struct wl_json *result =
		read_good(HEAD "paths:\n"
			       "  /a:\n"
			       "    trace: {}\n"
			       "    get: {requestBody: {content: {application/json: {}}}}\n"
			       "    post:\n"
			       "      parameters: [{name: f, in: query, content: {application/json: {}}}]\n"
			       "      requestBody: {content: {multipart/form-data: {}}}\n");
	assert_true(warned(result, "paths./a.trace", "left out"));
	assert_true(warned(result, "paths./a.get.requestBody", "GET has no body"));
	assert_true(warned(result, "paths./a.post.parameters[0]", "content"));
	assert_true(warned(result, "paths./a.post.requestBody.content", "no body is sent"));
	for (size_t i = 0; i < 2; i++) {
		assert_null(wl_json_get(config_of(result, i), "body"));
		assert_is(wl_json_get(wl_json_get(tool_at(result, i), "input_schema"), "properties"), "{}");
	}
}

static void a_path_with_a_query_is_left_out(void **state)
{
	(void)state;
	_wl_json_ struct wl_json *result = read_good(HEAD "paths: {/a: {get: {}}, '/a?beta=true': {get: {}}}\n");
	assert_int_equal(wl_json_count(wl_json_get(result, "tools")), 1);
	assert_true(warned(result, "paths./a?beta=true", "left out"));
	assert_fault(HEAD "paths: {'/a?b': {get: {}}}\n", "paths", "no operation");
}

static void operations_can_be_chosen(void **state)
{
	(void)state;
	static const char text[] = HEAD "paths:\n  /a: {get: {operationId: one}, post: {}}\n  /b: {get: {}}\n";
	_wl_json_ struct wl_json *wish = parsed("[one, 'post /a']"), *wrong = parsed("[one, 'GET /c']");
	struct wl_openapi_choice choice = { NULL, NULL, wish };
	_wl_json_ struct wl_json *result = read_with(text, &choice);
	assert_int_equal(wl_json_count(wl_json_get(result, "tools")), 2);
	choice.operations = wrong;
	assert_null(read_with(text, &choice));
	assert_string_equal(faults.items[0].path, "operations[1]");
}

/* ---- servers and security -----------------------------------------------------------------------------------------
 */

static void the_nearest_server_counts(void **state)
{
	(void)state;
	static const char text[] = "openapi: 3.0.0\ninfo: {title: T, version: '1'}\n"
				   "servers: [{url: 'https://{where}.example.org:{port}/', variables: {where: "
				   "{default: eu}, port: {default: "
				   "'8443'}}}]\n"
				   "paths:\n  /a: {get: {}, post: {servers: [{url: 'http://op.example.org'}]}}\n"
				   "  /b: {servers: [{url: 'https://item.example.org/x'}], get: {}}\n";
	static const char *const urls[] = { "https://eu.example.org:8443", "http://op.example.org",
					    "https://item.example.org/x" };
	_wl_json_ struct wl_json *result = read_good(text);
	for (size_t i = 0; i < WL_COUNT_OF(urls); i++)
		assert_string_equal(wl_json_get_string(config_of(result, i), "url", ""), urls[i]);
	assert_is(wl_json_get(config_of(result, 0), "egress"), "{hosts: ['eu.example.org:8443']}");
	const struct wl_openapi_choice choice = { "https://mine.example.org/api/", NULL, NULL };
	_wl_json_ struct wl_json *chosen = read_with(text, &choice);
	for (size_t i = 0; i < WL_COUNT_OF(urls); i++)
		assert_string_equal(wl_json_get_string(config_of(chosen, i), "url", ""),
				    "https://mine.example.org/api");
}

static void servers_of_no_use_are_faults(void **state)
{
	(void)state;
	static const char paths[] = "paths: {/a: {get: {}}}\n";
	static const struct {
		const char *servers, *path, *message;
	} cases[] = {
		{ "", "servers", "missing" },
		{ "servers: [{url: /v1}]\n", "servers[0].url", "relative" },
		{ "servers: [{url: 'ftp://a.example'}]\n", "servers[0].url", "neither" },
		{ "servers: [{url: 'https://a.example?x=1'}]\n", "servers[0].url", "query" },
		{ "servers: [{url: 'https://{x}.example'}]\n", "servers[0].url", "{x}" },
		{ "servers: [{url: 'https://{x.example'}]\n", "servers[0].url", "not closed" },
		{ "servers: [{description: d}]\n", "servers[0].url", "missing" },
		{ "servers: 5\n", "servers", "list" },
	};
	for (size_t i = 0; i < WL_COUNT_OF(cases); i++) {
		char text[512];
		(void)snprintf(text, sizeof(text), "openapi: 3.0.0\ninfo: {title: T, version: '1'}\n%s%s",
			       cases[i].servers, paths);
		assert_fault(text, cases[i].path, cases[i].message);
	}
}

static void security_becomes_auth(void **state)
{
	(void)state;
	static const char *const expected[] = { "{type: bearer}",
						"{type: basic}",
						"{type: api_key, in: header, name: X-Key}",
						NULL,
						"{type: bearer}",
						NULL };
	_wl_json_ struct wl_json *result = read_good(
		HEAD
		"security: [{b: []}]\n"
		"paths:\n"
		"  /1: {get: {}}\n"
		"  /2: {get: {security: [{p: []}]}}\n"
		"  /3: {get: {security: [{d: []}, {b: [], p: []}, {k: []}]}}\n"
		"  /4: {get: {security: []}}\n"
		"  /5: {get: {security: [{o: [read]}]}}\n"
		"  /6: {get: {security: [{d: []}]}}\n"
		"components: {securitySchemes: {b: {type: http, scheme: Bearer}, p: {type: http, scheme: basic}, k: "
		"{type: apiKey, in: header, name: X-Key}, d: {type: http, scheme: digest}, o: {type: oauth2, flows: "
		"{}}}}\n");
	for (size_t i = 0; i < WL_COUNT_OF(expected); i++) {
		const struct wl_json *auth = wl_json_get(config_of(result, i), "auth");
		if (expected[i])
			assert_is(auth, expected[i]);
		else
			assert_null(auth);
	}
	assert_true(warned(result, "paths./3.get.security[0].d", "cannot be used"));
	assert_true(warned(result, "paths./3.get.security[1]", "several"));
	assert_true(warned(result, "paths./5.get.security[0].o", "bearer"));
	assert_fault(HEAD "paths: {/a: {get: {security: [{nobody: []}]}}}\n", "paths./a.get.security[0].nobody",
		     "none of");
}

/* ---- schemas --------------------------------------------------------------------------------------------------------
 */

static void schemas_of_3_0_become_draft_7(void **state)
{
	(void)state;
	assert_schema(HEAD, "{type: string, nullable: true, minLength: 1, xml: {name: x}, x-more: 1}",
		      "{type: [string, 'null'], minLength: 1}");
	assert_schema(HEAD, "{type: string, nullable: true, enum: [a, b]}",
		      "{anyOf: [{type: string, enum: [a, b]}, {type: 'null'}]}");
	assert_schema(HEAD, "{type: number, maximum: 5, exclusiveMaximum: true, minimum: 1, exclusiveMinimum: false}",
		      "{type: number, exclusiveMaximum: 5, minimum: 1}");
	assert_schema(HEAD,
		      "{type: object, properties: {id: {type: string, readOnly: true}, a: {type: string}}, required: "
		      "[id, a]}",
		      "{type: object, properties: {a: {type: string}}, required: [a]}");
	assert_schema(HEAD, "{type: object, additionalProperties: {type: integer}, discriminator: {propertyName: t}}",
		      "{type: object, additionalProperties: {type: integer}}");
	assert_schema(HEAD, "{oneOf: [{type: string}, {type: integer}], example: 1}",
		      "{oneOf: [{type: string}, {type: integer}]}");
}

static void schemas_of_3_1_become_draft_7(void **state)
{
	(void)state;
	assert_schema(HEAD31, "{type: [string, 'null'], const: a}", "{type: [string, 'null'], const: a}");
	assert_schema(HEAD31, "{type: number, exclusiveMaximum: 5, maximum: 9}",
		      "{type: number, exclusiveMaximum: 5, maximum: 9}");
	assert_schema(HEAD31, "{type: array, prefixItems: [{type: string}, true], items: false}",
		      "{type: array, items: [{type: string}, true], additionalItems: false}");
	assert_schema(HEAD31, "{if: {type: string}, then: {minLength: 1}, else: true}",
		      "{if: {type: string}, then: {minLength: 1}, else: true}");
	assert_schema(HEAD31, "true", "{}");
	assert_schema(HEAD31, "false", "{not: {}}");
}

static void what_is_all_of_objects_is_one(void **state)
{
	(void)state;
	assert_schema(HEAD,
		      "{description: both, allOf: [{type: object, properties: {a: {type: string}}, required: [a]}, "
		      "{properties: {b: {type: integer}}, required: [a, b]}]}",
		      "{description: both, type: object, properties: {a: {type: string}, b: {type: integer}}, "
		      "required: [a, b]}");
	assert_schema(HEAD, "{allOf: [{properties: {a: {type: string}}}, {properties: {a: {type: integer}}}]}",
		      "{allOf: [{properties: {a: {type: string}}}, {properties: {a: {type: integer}}}]}");
	assert_schema(HEAD, "{allOf: [{properties: {a: {type: string}}}, {type: object, additionalProperties: false}]}",
		      "{allOf: [{properties: {a: {type: string}}}, {type: object, additionalProperties: false}]}");
}

static void references_are_put_in(void **state)
{
	(void)state;
	_wl_json_ struct wl_json *made = body_schema(
		HEAD, "    X: {type: object, properties: {a: {$ref: '#/components/schemas/A~1b%20c'}, again: {$ref: "
		      "'#/components/schemas/A~1b%20c'}, deep: {$ref: '#/components/schemas/X2/properties/y/items'}}}\n"
		      "    X2: {properties: {y: {items: {type: boolean}}}}\n"
		      "    'A/b c': {$ref: '#/components/schemas/End'}\n"
		      "    End: {type: integer}\n");
	assert_is(made,
		  "{type: object, properties: {a: {type: integer}, again: {type: integer}, deep: {type: boolean}}}");
	_wl_json_ struct wl_json *siblings =
		body_schema(HEAD31, "    X: {$ref: '#/components/schemas/Y', maximum: 3}\n    Y: {type: integer}\n");
	assert_is(siblings, "{allOf: [{type: integer}, {maximum: 3}]}");
	_wl_json_ struct wl_json *ignored =
		body_schema(HEAD, "    X: {$ref: '#/components/schemas/Y', maximum: 3}\n    Y: {type: integer}\n");
	assert_is(ignored, "{type: integer}");
}

static void a_schema_that_contains_itself_is_cut(void **state)
{
	(void)state;
	_wl_json_ struct wl_json *made = body_schema(
		HEAD, "    X: {type: object, properties: {child: {$ref: '#/components/schemas/X'}, other: {$ref: "
		      "'#/components/schemas/Y'}}}\n"
		      "    Y: {type: array, items: {$ref: '#/components/schemas/X'}}\n");
	assert_is(made,
		  "{type: object, properties: {child: {description: 'Recursive: again a X, which contains itself.'}, "
		  "other: {type: array, items: {description: 'Recursive: again a X, which contains itself.'}}}}");
}

/* Each refers twice to the next: 2^40 values when they are put in. */
static void references_that_multiply_are_cut(void **state)
{
	(void)state;
	_wl_buffer_ struct wl_buffer text;
	wl_buffer_init(&text, 0);
	wl_buffer_append_text(&text,
			      HEAD "paths: {/x: {post: {requestBody: {content: {application/json: {schema: {$ref: "
				   "'#/components/schemas/S0'}}}}}}}\ncomponents:\n  schemas:\n");
	for (int i = 0; i < 40; i++)
		wl_buffer_appendf(
			&text,
			"    S%d: {type: object, properties: {a: {$ref: '#/components/schemas/S%d'}, b: {$ref: "
			"'#/components/schemas/S%d'}}}\n",
			i, i + 1, i + 1);
	wl_buffer_append_text(&text, "    S40: {type: string}\n");
	uint64_t began_us = wl_clock_monotonic_us();
	_wl_json_ struct wl_json *result = read_good(text.data);
	assert_true(wl_clock_monotonic_us() - began_us < 5000000);
	assert_true(warned(result, "paths./x.post.requestBody.content.application/json.schema", "cut"));
	_wl_free_ char *tool = wl_json_print(tool_at(result, 0));
	assert_in_range(strlen(tool), 1000, 2000000);
	_wl_json_ struct wl_json *again = NULL;
	assert_int_equal(wl_json_parse(tool, strlen(tool), &again, NULL), 0);
}

static void deep_schemas_stay_within_the_depth_of_json(void **state)
{
	(void)state;
	_wl_buffer_ struct wl_buffer text;
	wl_buffer_init(&text, 0);
	wl_buffer_append_text(&text,
			      HEAD "paths: {/x: {post: {requestBody: {content: {application/json: {schema: {$ref: "
				   "'#/components/schemas/S0'}}}}}}}\ncomponents:\n  schemas:\n");
	for (int i = 0; i < 300; i++)
		wl_buffer_appendf(&text,
				  "    S%d: {nullable: true, anyOf: [{allOf: [{$ref: '#/components/schemas/S%d'}]}]}\n",
				  i, i + 1);
	wl_buffer_append_text(&text, "    S300: {type: string}\n");
	_wl_json_ struct wl_json *result = read_good(text.data), *again = NULL;
	_wl_free_ char *printed = wl_json_print(result);
	assert_int_equal(wl_json_parse(printed, strlen(printed), &again, NULL), 0);
}

/* ---- faults ---------------------------------------------------------------------------------------------------------
 */

static void faults_name_their_place(void **state)
{
	(void)state;
	static const struct {
		const char *text, *path, *message;
	} cases[] = {
		{ "[]", "document", "object" },
		{ "{}", "openapi", "missing" },
		{ "{openapi: 3.2.0}", "openapi", "3.0 and 3.1" },
		{ "{openapi: 3.0}", "openapi", "missing" },
		{ "{swagger: '2.0'}", "swagger", "3.0 and 3.1" },
		{ HEAD, "paths", "missing" },
		{ HEAD "paths: []\n", "paths", "object" },
		{ HEAD "paths: {}\n", "paths", "no operation" },
		{ HEAD "paths: {pets: {get: {}}}\n", "paths.pets", "begin with /" },
		{ HEAD "paths: {/a: 3}\n", "paths./a", "object" },
		{ HEAD "paths: {/a: {get: 3}}\n", "paths./a.get", "object" },
		{ HEAD "paths: {/a: {get: {operationId: 3}}}\n", "paths./a.get.operationId", "text" },
		{ HEAD "paths: {/a: {get: {parameters: 3}}}\n", "paths./a.get.parameters", "list" },
		{ HEAD "paths: {/a: {get: {parameters: [3]}}}\n", "paths./a.get.parameters[0]", "object" },
		{ HEAD "paths: {/a: {get: {parameters: [{in: query}]}}}\n", "paths./a.get.parameters[0].name",
		  "missing" },
		{ HEAD "paths: {/a: {get: {parameters: [{name: a, in: x}]}}}\n", "paths./a.get.parameters[0].in",
		  "none of" },
		{ HEAD "paths: {/a: {get: {parameters: [{name: a, in: query, style: x}]}}}\n",
		  "paths./a.get.parameters[0].style", "no style" },
		{ HEAD "paths: {/a: {get: {parameters: [{name: a, in: query}, {name: a, in: query}, {name: a, in: "
		       "query}]}}}\n",
		  "paths./a.get.parameters[2]", "same place" },
		{ HEAD "paths: {/pets: {get: {parameters: [{name: a, in: query, schema: {type: strin}}]}}}\n",
		  "paths./pets.get.parameters[0].schema.type", "'strin' is no type" },
		{ HEAD "paths: {/a: {get: {parameters: [{$ref: '#/components/parameters/N'}]}}}\n",
		  "paths./a.get.parameters[0].$ref", "names nothing" },
		{ HEAD "paths: {/a: {get: {parameters: [{$ref: other.yaml}]}}}\n", "paths./a.get.parameters[0].$ref",
		  "another document" },
		{ HEAD "paths: {/a: {get: {parameters: [{$ref: 'https://x.example/y#/z'}]}}}\n",
		  "paths./a.get.parameters[0].$ref", "another document" },
		{ HEAD "paths: {/a: {get: {parameters: [{$ref: 5}]}}}\n", "paths./a.get.parameters[0].$ref", "text" },
		{ HEAD "paths: {/a: {get: {parameters: [{$ref: '#/paths/~1a/get/parameters/0'}]}}}\n",
		  "paths./a.get.parameters.0", "itself" },
		{ HEAD "paths: {/a: {post: {requestBody: {}}}}\n", "paths./a.post.requestBody.content", "missing" },
		{ HEAD "paths: {/a: {post: {requestBody: {content: {application/json: {schema: 3}}}}}}\n",
		  "paths./a.post.requestBody.content.application/json.schema", "schema" },
		{ HEAD
		  "paths: {/a: {get: {responses: {'200': {content: {application/json: {schema: {$ref: "
		  "'#/components/schemas/P'}}}}}}}}\ncomponents: {schemas: {P: {properties: {x: {required: yes}}}}}\n",
		  "components.schemas.P.properties.x.required", "list" },
		{ HEAD "paths: {/a: {get: {responses: {'200': {content: {application/json: {schema: {required: "
		       "[1]}}}}}}}}\n",
		  "paths./a.get.responses.200.content.application/json.schema.required[0]", "name" },
		{ HEAD "paths: {/a: {get: {security: 3}}}\n", "paths./a.get.security", "list" },
	};
	for (size_t i = 0; i < WL_COUNT_OF(cases); i++)
		assert_fault(cases[i].text, cases[i].path, cases[i].message);
}

static void texts_that_are_no_documents_say_where(void **state)
{
	(void)state;
	static const char *const bad[] = {
		"", "{", "openapi: 3.0.0\n\tpaths: {}\n", "a: 1\na: 2\n", "{\"a\":1,\"a\":2}", "a: &a [*a]\n"
	};
	for (size_t i = 0; i < WL_COUNT_OF(bad); i++) {
		struct wl_error err = { 0 };
		struct wl_json *document = NULL;
		int rc = wl_openapi_parse(bad[i], strlen(bad[i]), &document, &err);
		assert_int_equal(rc, -EINVAL);
		assert_null(document);
		assert_true(*err.text);
	}
}

static void bombs_of_aliases_are_refused(void **state)
{
	(void)state;
	_wl_buffer_ struct wl_buffer text;
	struct wl_error err = { 0 };
	struct wl_json *document = NULL;
	wl_buffer_init(&text, 0);
	wl_buffer_append_text(&text, "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
	for (int i = 1; i < 12; i++)
		wl_buffer_appendf(&text, "a%d: &a%d [*a%d, *a%d, *a%d, *a%d, *a%d, *a%d, *a%d, *a%d, *a%d]\n", i, i,
				  i - 1, i - 1, i - 1, i - 1, i - 1, i - 1, i - 1, i - 1, i - 1);
	assert_int_equal(wl_openapi_parse(text.data, text.length, &document, &err), -E2BIG);
	assert_null(document);
	_wl_free_ char *large = malloc(WL_OPENAPI_MAX + 2);
	memset(large, ' ', WL_OPENAPI_MAX + 1);
	assert_int_equal(wl_openapi_parse(large, WL_OPENAPI_MAX + 1, &document, &err), -E2BIG);
	assert_non_null(strstr(err.text, "10 MiB"));
	memcpy(large, "{\"a\":[", 6);
	memset(large + 6, ',', WL_OPENAPI_TEXT_VALUES);
	assert_int_equal(wl_openapi_parse(large, WL_OPENAPI_TEXT_VALUES + 6, &document, &err), -E2BIG);
	assert_non_null(strstr(err.text, "values"));
}

static void too_many_operations_are_a_fault_unless_chosen(void **state)
{
	(void)state;
	_wl_buffer_ struct wl_buffer text;
	wl_buffer_init(&text, 0);
	wl_buffer_append_text(&text, HEAD "paths:\n");
	for (int i = 0; i < 10000; i++)
		wl_buffer_appendf(&text, "  /p%d: {get: {operationId: same}}\n", i);
	uint64_t began_us = wl_clock_monotonic_us();
	assert_fault(text.data, "paths", "has 10000 operations; at most 1000");
	_wl_json_ struct wl_json *wish = parsed("['GET /p7', 'GET /p9999']");
	const struct wl_openapi_choice choice = { NULL, NULL, wish };
	_wl_json_ struct wl_json *result = read_with(text.data, &choice);
	assert_int_equal(wl_json_count(wl_json_get(result, "tools")), 2);
	assert_true(wl_clock_monotonic_us() - began_us < 20000000);
}

static void long_descriptions_end_with_a_whole_character(void **state)
{
	(void)state;
	_wl_buffer_ struct wl_buffer text;
	wl_buffer_init(&text, 0);
	wl_buffer_append_text(&text, HEAD "paths: {/a: {get: {description: 'x");
	for (int i = 0; i < 3000; i++)
		wl_buffer_append_text(&text, "é");
	wl_buffer_append_text(&text, "'}}}\n");
	_wl_json_ struct wl_json *result = read_good(text.data);
	const char *description = wl_json_get_string(tool_at(result, 0), "description", "");
	assert_in_range(strlen(description), 3900, 4000);
	assert_null(strstr(description, "\xef\xbf\xbd"));
	assert_string_equal(description + strlen(description) - 2, "é");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_operation_becomes_a_tool),
		cmocka_unit_test(names_are_plain_and_differ),
		cmocka_unit_test(own_parameters_stand_in_for_the_paths_and_names_do_not_meet),
		cmocka_unit_test(what_cannot_be_sent_is_a_warning),
		cmocka_unit_test(a_path_with_a_query_is_left_out),
		cmocka_unit_test(operations_can_be_chosen),
		cmocka_unit_test(the_nearest_server_counts),
		cmocka_unit_test(servers_of_no_use_are_faults),
		cmocka_unit_test(security_becomes_auth),
		cmocka_unit_test(schemas_of_3_0_become_draft_7),
		cmocka_unit_test(schemas_of_3_1_become_draft_7),
		cmocka_unit_test(what_is_all_of_objects_is_one),
		cmocka_unit_test(references_are_put_in),
		cmocka_unit_test(a_schema_that_contains_itself_is_cut),
		cmocka_unit_test(references_that_multiply_are_cut),
		cmocka_unit_test(deep_schemas_stay_within_the_depth_of_json),
		cmocka_unit_test(faults_name_their_place),
		cmocka_unit_test(texts_that_are_no_documents_say_where),
		cmocka_unit_test(bombs_of_aliases_are_refused),
		cmocka_unit_test(too_many_operations_are_a_fault_unless_chosen),
		cmocka_unit_test(long_descriptions_end_with_a_whole_character),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
