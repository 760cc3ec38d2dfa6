/* Flows as files: what is written is read back the same, to the byte, in JSON and in YAML. */
#include "lib/base/cleanup.h"
#include "lib/codec/flow_document.h"
#include "lib/codec/flow_export.h"
#include "lib/codec/flow_file.h"
#include "lib/codec/yaml.h"
#include "tests/kit/opened.h"

#include <errno.h>
#include <glob.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static char *exported(const struct wl_json *flow, enum wl_flow_format format)
{
	_wl_buffer_ struct wl_buffer out = { 0 };
	struct wl_error err = { 0 };
	if (wl_flow_export(wl_json_get_string(flow, "name", "a flow"), wl_json_get_string(flow, "description", ""),
			   flow, format, &out, &err) < 0)
		fail_msg("%s", err.text);
	return wl_buffer_steal(&out);
}

/* Write, read, write: the same bytes, and the same document to be stored. */
static void goes_round(const struct wl_json *flow, const char *name)
{
	static const enum wl_flow_format formats[] = { WL_FLOW_JSON, WL_FLOW_YAML };
	_wl_free_ char *stored = wl_flow_document_canonical(flow);
	for (size_t i = 0; i < WL_COUNT_OF(formats); i++) {
		_wl_free_ char *first = exported(flow, formats[i]);
		_wl_json_ struct wl_json *read = NULL;
		struct wl_error err = { 0 };
		if (wl_flow_file_parse(first, strlen(first), &read, &err) < 0)
			fail_msg("%s: %s\n%s", name, err.text, first);
		_wl_free_ char *second = exported(read, formats[i]);
		_wl_free_ char *stored_again = wl_flow_document_canonical(read);
		assert_string_equal(first, second);
		if (strcmp(stored, stored_again) != 0)
			fail_msg("%s is another document:\n%s\n%s\n%s", name, stored, stored_again, first);
	}
}

static void the_examples_go_round(void **state)
{
	(void)state;
	glob_t files;
	assert_int_equal(glob("docs/flows/*/flow.yaml", 0, NULL, &files), 0);
	assert_true(files.gl_pathc >= 5);
	for (size_t i = 0; i < files.gl_pathc; i++) {
		_wl_json_ struct wl_json *flow = NULL;
		struct wl_error err = { 0 };
		if (wl_flow_file_load(files.gl_pathv[i], &flow, &err) < 0)
			fail_msg("%s", err.text);
		goes_round(flow, files.gl_pathv[i]);
	}
	globfree(&files);
}

/* ---- made-up documents ---------------------------------------------------------------------------------------------
 */

static uint64_t seed;

static unsigned pick(unsigned below)
{
	seed = seed * 6364136223846793005ULL + 1442695040888963407ULL; /* Knuth's MMIX */
	return (unsigned)(seed >> 33) % below;
}

/* Pieces that are hard on a writer of YAML. */
static const char *const pieces[] = {
	"a",
	"word",
	" ",
	"  ",
	"\n",
	"\n\n",
	"\t",
	"\r",
	":",
	": ",
	" #",
	"#",
	"-",
	"- ",
	"? ",
	"'",
	"\"",
	"\\",
	"{",
	"}",
	"[",
	"]",
	",",
	"&",
	"*",
	"!",
	"|",
	">",
	"%",
	"@",
	"`",
	"~",
	"null",
	"true",
	"yes",
	"no",
	"12",
	"0x1f",
	"1e3",
	".5",
	"-1",
	"2026-01-01",
	"---",
	"...",
	"<<",
	"=",
	"\xc3\xa4",
	"\xe2\x82\xac",
	"\xf0\x9f\x98\x80",
	"\xc2\x85",
	"\xe2\x80\xa8",
	"\xef\xbb\xbf",
	"\x7f",
	"\x01",
	"\xc2\xa0",
	"\xef\xbf\xbe",
	"{{ .inputs.x // \"y\" }}",
	"def f():\n\treturn 1\n",
	"  indented\n",
	"\n  later",
	"trailing \n",
	"y",
	"on",
	"/",
	"$",
	"(",
	"_",
	"end:",
};

static void make_text(char *text, size_t size)
{
	size_t length = 0;
	text[0] = '\0';
	for (unsigned count = pick(8); count; count--)
		length += (size_t)snprintf(text + length, size - length, "%s", pieces[pick(WL_COUNT_OF(pieces))]);
	assert_true(length < size);
}

static struct wl_json *make_value(int depth)
{
	static const char *const numbers[] = {
		"0", "-7", "1.5", "1e300", "0.1", "12345678901234567890123", "0.12345678901234567890", "-0.5e-7"
	};
	char text[256];
	struct wl_json *made;
	switch (pick(depth > 0 ? 7 : 4)) {
	case 0:
		return parsed(numbers[pick(WL_COUNT_OF(numbers))]);
	case 1:
		return pick(3) ? wl_json_new_bool(pick(2)) : wl_json_new_null();
	case 2:
	case 3:
		make_text(text, sizeof(text));
		return wl_json_new_string(text);
	case 4:
		made = wl_json_array();
		for (unsigned count = pick(4); count; count--)
			assert_int_equal(wl_json_append(made, make_value(depth - 1)), 0);
		return made;
	default:
		made = wl_json_object();
		for (unsigned count = pick(5); count; count--) {
			make_text(text, sizeof(text));
			assert_int_equal(wl_json_set(made, text, make_value(depth - 1)), 0);
		}
		return made;
	}
}

static struct wl_json *make_flow(void)
{
	struct wl_json *flow = wl_json_object(), *nodes = wl_json_array(), *edges = wl_json_array();
	for (unsigned i = pick(5); i; i--) {
		struct wl_json *node = wl_json_object();
		char id[16];
		(void)snprintf(id, sizeof(id), "n%u", i);
		assert_int_equal(wl_json_set(node, "data", make_value(4)), 0);
		assert_int_equal(wl_json_set_string(node, "type", "transform"), 0);
		assert_int_equal(wl_json_set_string(node, "id", id), 0);
		assert_int_equal(wl_json_append(nodes, node), 0);
		struct wl_json *edge = wl_json_object();
		assert_int_equal(wl_json_set_string(edge, "target", id), 0);
		assert_int_equal(wl_json_set_string(edge, "source", "n0"), 0);
		assert_int_equal(wl_json_set_string(edge, "id", "e"), 0);
		assert_int_equal(wl_json_append(edges, edge), 0);
	}
	assert_int_equal(wl_json_set(flow, "edges", edges), 0);
	assert_int_equal(wl_json_set(flow, "nodes", nodes), 0);
	if (pick(2))
		assert_int_equal(wl_json_set(flow, "input_schema", make_value(5)), 0);
	char text[256];
	make_text(text, sizeof(text));
	assert_int_equal(wl_json_set_string(flow, "description", text), 0);
	return flow;
}

static void made_up_flows_go_round(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 3000; i++) {
		char name[32];
		seed = i;
		(void)snprintf(name, sizeof(name), "seed %u", i);
		_wl_json_ struct wl_json *flow = make_flow();
		goes_round(flow, name);
	}
}

static void values_go_round_through_yaml(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 20000; i++) {
		seed = 1000000 + i;
		_wl_json_ struct wl_json *value = make_value(5);
		_wl_buffer_ struct wl_buffer out = { 0 };
		_wl_json_ struct wl_json *read = NULL;
		struct wl_error err = { 0 };
		assert_int_equal(wl_yaml_write(&out, value), 0);
		_wl_free_ char *before = wl_json_print(value);
		if (wl_yaml_parse(out.data, out.length, &read, &err) < 0)
			fail_msg("seed %u: %s\n%s\n%s", i, err.text, before, out.data);
		_wl_free_ char *after = wl_json_print(read);
		if (strcmp(before, after) != 0)
			fail_msg("seed %u:\n%s\n%s\n%s", i, before, after, out.data);
	}
}

/* ---- how it looks ---------------------------------------------------------------------------------------------------
 */

static const char sample[] =
	"{\"edges\":[{\"target\":\"b\",\"id\":\"e\",\"sourceHandle\":\"true\",\"source\":\"a\"}],\"nodes\":[{"
	"\"position\":{\"y\":2,"
	"\"x\":1},\"data\":{\"source\":\"import sys\\n\\nprint(1)\\n\",\"label\":\"A: b\",\"input\":[],\"expr\":\"{{ "
	".x // "
	"\\\"y\\\" "
	"}}\"},\"type\":\"code\",\"id\":\"a\"},{\"id\":\"b\",\"type\":\"output\",\"selected\":true}],\"input_schema\":{"
	"\"type\":\"object\"}}";

static const char sample_yaml[] = "name: a flow\n"
				  "input_schema:\n"
				  "  type: object\n"
				  "nodes:\n"
				  "  - id: a\n"
				  "    type: code\n"
				  "    position:\n"
				  "      x: 1\n"
				  "      y: 2\n"
				  "    data:\n"
				  "      expr: '{{ .x // \"y\" }}'\n"
				  "      input: []\n"
				  "      label: \"A: b\"\n"
				  "      source: |\n"
				  "        import sys\n"
				  "\n"
				  "        print(1)\n"
				  "  - id: b\n"
				  "    type: output\n"
				  "    selected: true\n"
				  "edges:\n"
				  "  - id: e\n"
				  "    source: a\n"
				  "    sourceHandle: \"true\"\n"
				  "    target: b\n";

static void a_file_is_made_to_be_read(void **state)
{
	(void)state;
	_wl_json_ struct wl_json *flow = parsed(sample);
	_wl_free_ char *yaml = exported(flow, WL_FLOW_YAML);
	assert_string_equal(yaml, sample_yaml);
	_wl_free_ char *json = exported(flow, WL_FLOW_JSON);
	assert_non_null(
		strstr(json, "{\n  \"name\": \"a flow\",\n  \"input_schema\": {\n    \"type\": \"object\"\n  },\n"));
}

/* ---- what is refused ------------------------------------------------------------------------------------------------
 */

static void faults_name_their_place(void **state)
{
	(void)state;
	static const struct {
		const char *text, *path, *message;
	} rows[] = {
		{ "[]", "", "holds an object" },
		{ "{\"name\":\"x\",\"version\":1}", "version", "no such member" },
		{ "{\"name\":5}", "name", "is not a text" },
		{ "{\"name\":\"\"}", "name", "has 0 characters" },
		{ "{\"name\":\"x\",\"description\":[]}", "description", "is not a text" },
	};
	for (size_t i = 0; i < WL_COUNT_OF(rows); i++) {
		_wl_json_ struct wl_json *flow = parsed(rows[i].text);
		_wl_free_ struct wl_flow_faults *faults = calloc(1, sizeof(*faults));
		wl_flow_file_check(flow, faults);
		assert_int_equal(faults->count, 1);
		assert_string_equal(faults->items[0].path, rows[i].path);
		assert_non_null(strstr(faults->items[0].text, rows[i].message));
	}
}

static void a_name_is_counted_in_characters(void **state)
{
	(void)state;
	char name[2 * WL_FLOW_NAME_MAX + 3] = "";
	for (int i = 0; i < WL_FLOW_NAME_MAX; i++)
		strcat(name, "\xc3\xa4");
	_wl_json_ struct wl_json *flow = wl_json_object();
	_wl_free_ struct wl_flow_faults *faults = calloc(1, sizeof(*faults));
	assert_int_equal(wl_json_set_string(flow, "name", name), 0);
	wl_flow_file_check(flow, faults);
	assert_int_equal(faults->count, 0);
	strcat(name, "x");
	assert_int_equal(wl_json_set_string(flow, "name", name), 0);
	wl_flow_file_check(flow, faults);
	assert_int_equal(faults->count, 1);
}

static void files_out_of_bounds_are_refused(void **state)
{
	(void)state;
	struct wl_json *flow = NULL;
	struct wl_error err = { 0 };
	_wl_free_ char *large = malloc(WL_FLOW_FILE_MAX + 2);
	memset(large, ' ', WL_FLOW_FILE_MAX + 1);
	assert_int_equal(wl_flow_file_parse(large, WL_FLOW_FILE_MAX + 1, &flow, &err), -E2BIG);
	/* each level repeats the one before ten times */
	const char bomb[] = "a: &a [x,x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a,*a]\n"
			    "c: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c,*c]\n"
			    "e: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d,*d]\nf: [*e,*e,*e,*e,*e,*e,*e,*e,*e,*e]\n";
	assert_int_equal(wl_flow_file_parse(bomb, sizeof(bomb) - 1, &flow, &err), -E2BIG);
	assert_non_null(strstr(err.text, "aliases repeat too many values"));
	assert_int_equal(wl_flow_file_parse("{\"a\":", 5, &flow, &err), -EINVAL);
	assert_int_equal(wl_flow_file_parse("a: [", 4, &flow, &err), -EINVAL);
	assert_int_equal(wl_flow_file_parse("", 0, &flow, &err), -EINVAL);
	assert_null(flow);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_examples_go_round),	   cmocka_unit_test(made_up_flows_go_round),
		cmocka_unit_test(values_go_round_through_yaml),	   cmocka_unit_test(a_file_is_made_to_be_read),
		cmocka_unit_test(faults_name_their_place),	   cmocka_unit_test(a_name_is_counted_in_characters),
		cmocka_unit_test(files_out_of_bounds_are_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
