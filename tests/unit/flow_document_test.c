#include "lib/base/cleanup.h"
#include "lib/codec/flow_document.h"
#include "lib/codec/json_schema.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct wl_flow_faults faults; /* 51 kB: too large for a small stack */

static int read_text(const char *text, struct wl_flow_graph *graph, struct wl_error *err)
{
	_wl_json_ struct wl_json *json = NULL;
	if (wl_json_parse(text, strlen(text), &json, err) < 0)
		fail_msg("%s: %s", text, err->text);
	return wl_flow_document_read(json, graph, &faults, err);
}

static void show_faults(const char *text)
{
	print_message("%s\n", text);
	for (int i = 0; i < faults.count; i++)
		print_message("  %s: %s\n", faults.items[i].path, faults.items[i].text);
}

static void expect_fault(const char *text, const char *path, const char *part)
{
	struct wl_flow_graph graph;
	struct wl_error err = { 0 };
	assert_int_equal(read_text(text, &graph, &err), -EINVAL);
	for (int i = 0; i < faults.count; i++)
		if (strcmp(faults.items[i].path, path) == 0 && strstr(faults.items[i].text, part))
			return;
	show_faults(text);
	fail_msg("no fault at '%s' says '%s'", path, part);
}

#define START "{\"id\":\"s\",\"type\":\"start\"}"
#define FLOW(nodes, edges) "{\"nodes\":[" START "," nodes "],\"edges\":[" edges "]}"
#define EDGE(from, to) "{\"source\":\"" from "\",\"target\":\"" to "\"}"
#define HANDLE(from, handle, to) "{\"source\":\"" from "\",\"sourceHandle\":\"" handle "\",\"target\":\"" to "\"}"
#define NODE(id, type, data) "{\"id\":\"" id "\",\"type\":\"" type "\",\"data\":{" data "}}"
#define TOOL "00000000-0000-7000-8000-0000000000aa"
#define VALUE(id, value) NODE(id, "transform", "\"value\":" value)

static const char whole[] =
	"{\"nodes\":[{\"id\":\"s\",\"type\":\"start\",\"position\":{\"x\":1,\"y\":2},\"selected\":true,\"width\":10},"
	"{\"id\":\"c\",\"type\":\"condition\",\"data\":{\"if\":\"{{ .inputs.n > 3 }}\",\"label\":\"big?\"}},"
	"{\"id\":\"py\",\"type\":\"code\",\"data\":{\"language\":\"python\",\"source\":\"print(1) # "
	"{{\",\"on_error\":\"branch\","
	"\"retry\":{\"attempts\":3,\"backoff\":\"exponential\",\"delay_ms\":100,\"max_delay_ms\":900},\"timeout_s\":1."
	"5}},"
	"{\"id\":\"w\",\"type\":\"switch\",\"data\":{\"value\":\"{{ .inputs.k "
	"}}\",\"cases\":[{\"name\":\"a\",\"equals\":1},"
	"{\"name\":\"b\",\"when\":\"{{ .nodes[\\\"c\\\"] }}\"}]}},"
	"{\"id\":\"j\",\"type\":\"join\",\"data\":{\"mode\":\"any\"}},"
	"{\"id\":\"n\",\"type\":\"note\",\"data\":{\"text\":\"{{ hello\"}},"
	"{\"id\":\"o\",\"type\":\"output\",\"data\":{\"value\":{\"x\":\"{{ .nodes.py }} and {{ .nodes.j[0] }}\"}}}],"
	"\"edges\":[{\"id\":\"e1\",\"source\":\"s\",\"target\":\"c\",\"sourceHandle\":null,\"animated\":true},"
	"{\"source\":\"c\",\"sourceHandle\":\"true\",\"target\":\"py\"},{\"source\":\"c\",\"sourceHandle\":\"false\","
	"\"target\":\"w\"},"
	"{\"source\":\"py\",\"target\":\"j\"},{\"source\":\"py\",\"sourceHandle\":\"error\",\"target\":\"j\"},"
	"{\"source\":\"w\",\"sourceHandle\":\"a\",\"target\":\"j\"},{\"source\":\"w\",\"sourceHandle\":\"default\","
	"\"target\":\"j\"},"
	"{\"source\":\"j\",\"target\":\"o\"}],\"input_schema\":{\"type\":\"object\"}}";

static void a_whole_flow_is_read(void **state)
{
	(void)state;
	struct wl_flow_graph graph;
	struct wl_error err = { 0 };
	if (read_text(whole, &graph, &err) < 0) {
		show_faults(whole);
		fail_msg("%s", err.text);
	}
	assert_int_equal(graph.node_count, 7);
	assert_int_equal(graph.edge_count, 8);
	assert_int_equal(graph.start, 0);
	const struct wl_flow_node *py = &graph.nodes[wl_flow_graph_find(&graph, "py")];
	assert_int_equal(py->kind, WL_KIND_CODE);
	assert_int_equal(py->retry.attempts, 3);
	assert_int_equal(py->retry.backoff, WL_BACKOFF_EXPONENTIAL);
	assert_int_equal(py->retry.delay_ms, 100);
	assert_int_equal(py->retry.max_delay_ms, 900);
	assert_int_equal(py->timeout_ms, 1500);
	assert_int_equal(py->on_error, WL_ON_ERROR_BRANCH);
	assert_int_equal(py->out_count, 2);
	assert_string_equal(graph.edges[py->out_edges[1]].source_handle, "error");
	assert_non_null(strstr(py->data_json, "\"language\":\"python\""));
	assert_string_equal(graph.nodes[1].label, "big?");
	assert_int_equal(graph.nodes[4].join, WL_JOIN_ANY);
	assert_int_equal(graph.nodes[0].retry.attempts, 1);
	assert_string_equal(graph.nodes[0].data_json, "{}");
	wl_flow_graph_release(&graph);
	assert_null(graph.nodes);
}

struct bad_row {
	const char *text, *path, *part;
};

static void expect_faults(const struct bad_row *rows, size_t count)
{
	for (size_t i = 0; i < count; i++)
		expect_fault(rows[i].text, rows[i].path, rows[i].part);
}

static void bad_shapes_are_named(void **state)
{
	(void)state;
	static const struct bad_row rows[] = {
		{ "[]", "", "must be an object" },
		{ "{}", "nodes", "needs an array" },
		{ "{\"nodes\":[],\"edges\":{}}", "edges", "needs an array" },
		{ "{\"nodes\":[],\"edges\":[],\"name\":1}", "name", "no such field" },
		{ "{\"nodes\":[],\"edges\":[],\"input_schema\":[]}", "input_schema", "must be an object" },
		{ "{\"nodes\":[],\"edges\":[]}", "nodes", "type start" },
		{ FLOW("5", ""), "nodes[1]", "must be an object" },
		{ FLOW("{\"type\":\"join\"}", ""), "nodes[1].id", "letters, digits" },
		{ FLOW(NODE("a b", "join", ""), ""), "nodes[1].id", "letters, digits" },
		{ FLOW(NODE("", "join", ""), ""), "nodes[1].id", "letters, digits" },
		{ FLOW(NODE("s", "join", ""), ""), "nodes[1].id", "another node" },
		{ FLOW("{\"id\":\"a\"}", ""), "nodes[1].type", "needs a type" },
		{ FLOW(NODE("a", "oracle", ""), ""), "nodes[1].type", "no kind of node 'oracle'" },
		{ FLOW("{\"id\":\"a\",\"type\":\"join\",\"colour\":1}", ""), "nodes[1].colour", "no such field" },
		{ FLOW("{\"id\":\"a\",\"type\":\"join\",\"data\":[]}", ""), "nodes[1].data", "must be an object" },
		{ FLOW(VALUE("a", "1"), "7"), "edges[0]", "must be an object" },
		{ FLOW(VALUE("a", "1"), "{\"source\":\"s\"}"), "edges[0].target", "needs a target" },
		{ FLOW(VALUE("a", "1"), EDGE("s", "zz")), "edges[0].target", "no node 'zz'" },
		{ FLOW(VALUE("a", "1"), EDGE("s", "a") "," EDGE("yy", "a")), "edges[1].source", "no node 'yy'" },
		{ FLOW(VALUE("a", "1"), "{\"source\":\"s\",\"target\":\"a\",\"kind\":1}"), "edges[0].kind",
		  "no such field" },
		{ FLOW(VALUE("a", "1"), "{\"source\":\"s\",\"target\":\"a\",\"sourceHandle\":1}"),
		  "edges[0].sourceHandle", "a handle is a text" },
	};
	expect_faults(rows, WL_COUNT_OF(rows));
}

static void bad_node_fields_are_named(void **state)
{
	(void)state;
	static const struct bad_row rows[] = {
		{ FLOW(NODE("a", "code", ""), ""), "nodes[1].data", "'language' is missing" },
		{ FLOW(NODE("a", "code", "\"language\":\"perl\",\"source\":\"x\""), ""), "nodes[1].data.language",
		  "one of python, javascript or bash" },
		{ FLOW(NODE("a", "code", "\"language\":\"bash\",\"source\":5"), ""), "nodes[1].data.source",
		  "of type string" },
		{ FLOW(NODE("a", "code", "\"language\":\"bash\",\"source\":\"x\",\"limits\":{\"memory_mb\":1}"), ""),
		  "nodes[1].data.limits.memory_mb", "16" },
		{ FLOW(NODE("a", "http", "\"url\":\"\""), ""), "nodes[1].data.url", "no fewer than 1" },
		{ FLOW(NODE("a", "http", "\"url\":\"x\",\"expect\":[200,\"x\"]"), ""), "nodes[1].data.expect[1]",
		  "of type integer" },
		{ FLOW(NODE("a", "http", "\"url\":\"x\",\"headers\":{\"h\":1}"), ""), "nodes[1].data.headers.h",
		  "of type string" },
		{ FLOW(NODE("a", "join", "\"mode\":\"some\""), ""), "nodes[1].data.mode", "all or any" },
		{ FLOW(NODE("a", "join", "\"colour\":1"), ""), "nodes[1].data.colour", "no field 'colour'" },
		{ FLOW(NODE("a", "join", "\"retry\":{\"attempts\":0}"), ""), "nodes[1].data.retry.attempts", "1" },
		{ FLOW(NODE("a", "join", "\"retry\":{\"delay_ms\":9,\"max_delay_ms\":3}"), ""),
		  "nodes[1].data.retry.max_delay_ms", "below delay_ms" },
		{ FLOW(NODE("a", "join", "\"timeout_s\":0"), ""), "nodes[1].data.timeout_s", "0" },
		{ FLOW(NODE("a", "join", "\"on_error\":\"ignore\""), ""), "nodes[1].data.on_error",
		  "fail, continue or branch" },
		{ FLOW(NODE("a", "condition", "\"if\":\".inputs.x\""), ""), "nodes[1].data.if", "one expression" },
		{ FLOW(NODE("a", "condition", "\"if\":\"{{ .inputs.x }} \""), ""), "nodes[1].data.if",
		  "one expression" },
		{ FLOW(NODE("a", "switch", "\"cases\":[]"), ""), "nodes[1].data.cases", "no fewer than 1" },
		{ FLOW(NODE("a", "switch", "\"cases\":[{\"name\":\"x\"}]"), ""), "nodes[1].data.cases[0]",
		  "none of the allowed forms" },
		{ FLOW(NODE("a", "switch", "\"cases\":[{\"name\":\"x\",\"equals\":1,\"when\":true}]"), ""),
		  "nodes[1].data.cases[0]", "more than one of the allowed forms" },
		{ FLOW(NODE("a", "switch", "\"cases\":[{\"name\":\"x\",\"equals\":1}]"), ""), "nodes[1].data",
		  "needs the field value" },
		{ FLOW(NODE("a", "switch", "\"cases\":[{\"name\":\"x\",\"when\":true},{\"name\":\"x\",\"when\":true}]"),
		       ""),
		  "nodes[1].data.cases[1].name", "an earlier case" },
		{ FLOW(NODE("a", "switch", "\"cases\":[{\"name\":\"error\",\"when\":true}]"), ""),
		  "nodes[1].data.cases[0].name", "every switch has" },
		{ FLOW(NODE("a", "switch", "\"cases\":[{\"name\":\"x y\",\"when\":\"x\"}]"), ""),
		  "nodes[1].data.cases[0].name", "letters, digits" },
		{ FLOW(NODE("a", "switch", "\"cases\":[{\"name\":\"x\",\"when\":\"x\"}]"), ""),
		  "nodes[1].data.cases[0].when", "one expression" },
		{ FLOW(NODE("a", "tool", "\"input\":{}"), ""), "nodes[1].data", "'tool_id' is missing" },
		{ FLOW(NODE("a", "tool", "\"tool_id\":\"mail\""), ""), "nodes[1].data.tool_id", "" },
		{ FLOW(NODE("a", "note", "\"text\":\"x\",\"retry\":{}"), ""), "nodes[1].data.retry",
		  "no field \'retry\'" },
	};
	expect_faults(rows, WL_COUNT_OF(rows));
}

static void bad_graphs_are_named(void **state)
{
	(void)state;
	static const struct bad_row rows[] = {
		{ FLOW(NODE("t", "start", ""), EDGE("s", "t")), "nodes[1]", "exactly one start" },
		{ FLOW(NODE("t", "note", ""), ""), "nodes[0]", "nothing follows" },
		{ FLOW(VALUE("a", "1"), EDGE("a", "s")), "edges[0].target", "into the start" },
		{ FLOW(VALUE("a", "1") "," VALUE("b", "1"), EDGE("s", "a")), "nodes[2]", "does not reach 'b'" },
		{ FLOW(VALUE("a", "1"), EDGE("s", "a") "," EDGE("a", "a")), "nodes[1]", "a -> a" },
		{ FLOW(VALUE("a", "1") "," VALUE("b", "1") "," VALUE("c", "1") "," VALUE("d", "1"),
		       EDGE("s", "a") "," EDGE("a", "b") "," EDGE("b", "c") "," EDGE("c", "a") "," EDGE("c", "d")),
		  "nodes[2]", "b -> c -> a -> b" },
		{ FLOW(NODE("o", "output", "\"value\":1") "," VALUE("a", "1"), EDGE("s", "o") "," EDGE("o", "a")),
		  "edges[1].source", "out of an output" },
		{ FLOW(NODE("n", "note", ""), EDGE("s", "n")), "edges[0].target", "note" },
		{ FLOW(NODE("n", "note", "") "," VALUE("a", "1"), EDGE("s", "a") "," EDGE("n", "a")), "edges[1].source",
		  "note" },
		{ FLOW(NODE("c", "condition", "\"if\":true") "," VALUE("a", "1"), EDGE("s", "c") "," EDGE("c", "a")),
		  "edges[1].sourceHandle", "true and false" },
		{ FLOW(NODE("c", "switch", "\"cases\":[{\"name\":\"x\",\"when\":true}]") "," VALUE("a", "1"),
		       EDGE("s", "c") "," HANDLE("c", "y", "a")),
		  "edges[1].sourceHandle", "its cases' names" },
		{ FLOW(VALUE("a", "1"), HANDLE("s", "true", "a")), "edges[0].sourceHandle", "one handle" },
		{ FLOW(VALUE("a", "1") "," VALUE("b", "1"), EDGE("s", "a") "," HANDLE("a", "error", "b")),
		  "edges[1].sourceHandle", "on_error: branch" },
	};
	expect_faults(rows, WL_COUNT_OF(rows));
}

#define INSIDE(id, type, data, loop)                                                                                   \
	"{\"id\":\"" id "\",\"type\":\"" type "\",\"data\":{" data "},\"parentId\":" loop "}"
#define LOOP(id, loop) INSIDE(id, "loop", "\"items\":[1]", loop)
#define T(id, loop) INSIDE(id, "transform", "\"value\":1", loop)

static void bad_loops_are_named(void **state)
{
	(void)state;
	static const struct bad_row rows[] = {
		{ FLOW(LOOP("l", "null"), EDGE("s", "l")), "nodes[1]", "needs nodes inside it" },
		{ FLOW(LOOP("l", "null") "," INSIDE("n", "note", "", "\"l\""), EDGE("s", "l")), "nodes[1]",
		  "needs nodes inside it" },
		{ FLOW(LOOP("l", "null") "," T("t", "\"x\""), EDGE("s", "l")), "nodes[2].parentId", "no node 'x'" },
		{ FLOW(LOOP("l", "null") "," T("t", "7"), EDGE("s", "l")), "nodes[2].parentId", "the id of a loop" },
		{ FLOW(LOOP("l", "null") "," T("t", "\"s\""), EDGE("s", "l")), "nodes[2].parentId", "'s' is no loop" },
		{ FLOW(LOOP("l", "\"l\"") "," T("t", "\"l\""), EDGE("s", "l")), "nodes[1].parentId", "inside itself" },
		{ FLOW(LOOP("l", "\"m\"") "," LOOP("m", "\"l\"") "," T("t", "\"l\""), EDGE("s", "l")),
		  "nodes[2].parentId", "inside itself" },
		{ FLOW(LOOP("a", "null") "," LOOP("b", "\"a\"") "," LOOP("c", "\"b\"") "," LOOP("d", "\"c\"") "," LOOP(
			       "e", "\"d\"") "," T("t", "\"e\""),
		       EDGE("s", "a")),
		  "nodes[6].parentId", "at most 4 deep" },
		{ FLOW(LOOP("l", "null") "," INSIDE("o", "output", "\"value\":1", "\"l\""), EDGE("s", "l")),
		  "nodes[2].parentId", "stands outside" },
		{ FLOW(LOOP("l", "null") "," T("t", "\"l\""), EDGE("s", "l") "," EDGE("l", "t")), "edges[1].target",
		  "into a loop or out of it" },
		{ FLOW(LOOP("l", "null") "," T("t", "\"l\"") "," VALUE("u", "1"), EDGE("s", "l") "," EDGE("t", "u")),
		  "edges[1].target", "into a loop or out of it" },
		{ FLOW(LOOP("l", "null") "," T("t", "\"l\"") "," T("u", "\"l\""),
		       EDGE("s", "l") "," EDGE("t", "u") "," EDGE("u", "t")),
		  "nodes[3]", "u -> t -> u" },
		{ FLOW(INSIDE("l", "loop", "\"items\":\"[1]\"", "null") "," T("t", "\"l\""), EDGE("s", "l")),
		  "nodes[1].data.items", "one expression" },
		{ FLOW(INSIDE("l", "loop", "\"items\":{}", "null") "," T("t", "\"l\""), EDGE("s", "l")),
		  "nodes[1].data.items", "array" },
		{ FLOW(INSIDE("l", "loop", "\"items\":[],\"parallel\":0", "null") "," T("t", "\"l\""), EDGE("s", "l")),
		  "nodes[1].data.parallel", "1" },
		{ FLOW(INSIDE("l", "loop", "\"items\":[],\"max_items\":10001", "null") "," T("t", "\"l\""),
		       EDGE("s", "l")),
		  "nodes[1].data.max_items", "10000" },
		{ FLOW(INSIDE("l", "loop", "\"items\":[],\"retry\":{}", "null") "," T("t", "\"l\""), EDGE("s", "l")),
		  "nodes[1].data.retry", "no field 'retry'" },
		{ FLOW(LOOP("l", "null") "," INSIDE("t", "transform", "\"value\":\"{{ .nodes.l }}\"", "\"l\""),
		       EDGE("s", "l")),
		  "nodes[2].data.value", "no edges lead from there" },
		{ FLOW(LOOP("l", "null") "," T("t", "\"l\"") "," VALUE("u", "\"{{ .nodes.t }}\""),
		       EDGE("s", "l") "," EDGE("l", "u")),
		  "nodes[3].data.value", "no edges lead from there" },
	};
	expect_faults(rows, WL_COUNT_OF(rows));
}

static void bad_waits_and_subflows_are_named(void **state)
{
	(void)state;
	static const struct bad_row rows[] = {
		{ FLOW(NODE("w", "wait", ""), ""), "nodes[1].data", "one of the fields seconds and until" },
		{ FLOW(NODE("w", "wait", "\"seconds\":1,\"until\":\"x\""), ""), "nodes[1].data",
		  "one of the fields seconds and until" },
		{ FLOW(NODE("w", "wait", "\"seconds\":\"5\""), ""), "nodes[1].data.seconds", "one expression" },
		{ FLOW(NODE("w", "wait", "\"seconds\":-1"), ""), "nodes[1].data.seconds", "0" },
		{ FLOW(NODE("w", "wait", "\"until\":\"{{ .nodes.x }}\""), ""), "nodes[1].data.until", "no such node" },
		{ FLOW(NODE("w", "wait", "\"seconds\":1,\"timeout_s\":1"), ""), "nodes[1].data.timeout_s", "no field" },
		{ FLOW(NODE("p", "approval", ""), ""), "nodes[1].data", "'message' is missing" },
		{ FLOW(NODE("p", "approval", "\"message\":\"x\",\"roles\":[]"), ""), "nodes[1].data.roles", "1" },
		{ FLOW(NODE("p", "approval", "\"message\":\"x\",\"roles\":[\"viewer\"]"), ""), "nodes[1].data.roles[0]",
		  "executor" },
		{ FLOW(NODE("p", "approval", "\"message\":\"x\",\"expires_s\":0"), ""), "nodes[1].data.expires_s",
		  "1" },
		{ FLOW(NODE("p", "approval", "\"message\":\"x\"") "," VALUE("t", "1"),
		       EDGE("s", "p") "," EDGE("p", "t")),
		  "edges[1].sourceHandle", "approved and rejected" },
		{ FLOW(NODE("f", "subflow", ""), ""), "nodes[1].data", "'flow_id' is missing" },
		{ FLOW(NODE("f", "subflow", "\"flow_id\":\"x\""), ""), "nodes[1].data.flow_id", "" },
		{ FLOW(NODE("f", "subflow", "\"flow_id\":\"" TOOL "\",\"version\":\"draft\""), ""),
		  "nodes[1].data.version", "of type integer" },
		{ FLOW(NODE("f", "subflow", "\"flow_id\":\"" TOOL "\",\"input\":\"{{ .nodes.x }}\""), ""),
		  "nodes[1].data.input", "no such node" },
	};
	expect_faults(rows, WL_COUNT_OF(rows));
}

static const char nested[] = FLOW(
	VALUE("before", "1") "," INSIDE("l", "loop", "\"items\":\"{{ .nodes.before }}\"", "null") "," INSIDE(
		"m", "loop", "\"items\":\"{{ [.item, .nodes.t] }}\"",
		"\"l\"") "," T("t", "\"l\"") "," INSIDE("u", "transform",
							"\"value\":\"{{ [.item, .index, .nodes.t, .nodes.before] }}\"",
							"\"m\"") "," NODE("p", "approval",
									  "\"message\":\"{{ .nodes.l }}\""),
	EDGE("s", "before") "," EDGE("before", "l") "," EDGE("t", "m") "," EDGE("l", "p"));

/* The parts hold all nodes and edges, each where it belongs, with indexes of their own. */
static void a_flow_is_split_into_what_is_walked(void **state)
{
	(void)state;
	struct wl_flow_graph graph, *parts = NULL;
	struct wl_error err = { 0 };
	int count = 0;
	if (read_text(nested, &graph, &err) < 0) {
		show_faults(nested);
		fail_msg("%s", err.text);
	}
	assert_int_equal(wl_flow_graph_split(&graph, &parts, &count, &err), 0);
	wl_flow_graph_release(&graph);
	assert_int_equal(count, 3);
	static const int nodes[] = { 4, 2, 1 }, edges[] = { 3, 1, 0 };
	for (int i = 0; i < count; i++) {
		assert_int_equal(parts[i].node_count, nodes[i]);
		assert_int_equal(parts[i].edge_count, edges[i]);
		for (int e = 0; e < parts[i].edge_count; e++) {
			assert_in_range(parts[i].edges[e].source, 0, parts[i].node_count - 1);
			assert_in_range(parts[i].edges[e].target, 0, parts[i].node_count - 1);
		}
	}
	assert_int_equal(parts[0].start, wl_flow_graph_find(&parts[0], "s"));
	assert_int_equal(parts[1].start, -1);
	const struct wl_flow_node *outer = &parts[0].nodes[wl_flow_graph_find(&parts[0], "l")];
	const struct wl_flow_node *inner = &parts[outer->body].nodes[wl_flow_graph_find(&parts[outer->body], "m")];
	assert_int_equal(inner->in_count, 1);
	assert_string_equal(parts[inner->body].nodes[0].id, "u");
	for (int i = 0; i < count; i++)
		wl_flow_graph_release(&parts[i]);
	free(parts);
}

static void bad_expressions_are_named(void **state)
{
	(void)state;
	static const char *const value = "nodes[1].data.value";
	static const struct {
		const char *expression, *part; /* NULL: it is right */
	} rows[] = {
		{ "{{ .inputs.x", "has no }}" },
		{ "a {{ 1 }} b {{ (2 }}", "has no }}" },
		{ "{{ \\\"}} }}", "has no }}" },
		{ "{{ .nodes.zz }}", ".nodes.zz, but there is no such node" },
		{ "{{ .nodes[\\\"z z\\\"] }}", ".nodes.z z, but there is no such node" },
		{ "{{ .nodes.\\\"q\\\".x }}", ".nodes.q, but there is no such node" },
		{ "{{ {a: .nodes.late} }}", "no edges lead from there" },
		{ "{{ .nodes.a }}", "no edges lead from there" },
		{ "{{ \\\"x \\\\(.nodes.zz) y\\\" }}", "no such node" },
		{ "{{ .nodes.s as $x | .nodes.zz }}", "no such node" },
		{ "{{ if (.nodes.zz) then 1 else 2 end }}", "no such node" },
		{ "{{ .nodes.s }}", NULL },
		{ "{{ \\\".nodes.zz\\\" }}", NULL },
		{ "{{ 1 # .nodes.zz\\n }}", NULL },
		{ "{{ .inputs | .nodes.zz }}", NULL },
		{ "{{ .inputs.nodes.zz }}", NULL },
		{ "{{ .inputs.list | map(.nodes.zz) }}", NULL },
		{ "{{ [.inputs.list[] | select(.nodes.zz)] }}", NULL },
		{ "{{ reduce .inputs.l[] as $i (0; . + $i) | .nodes.zz }}", NULL },
		{ "{{ {a: {b: 1}} }} }} {{ \\\"}}\\\" }}", NULL },
		{ "{{ {a:{b:1}}}}", NULL },
		{ "no expression } { at all", NULL },
	};
	for (size_t i = 0; i < WL_COUNT_OF(rows); i++) {
		char text[1024];
		struct wl_flow_graph graph;
		struct wl_error err = { 0 };
		(void)snprintf(text, sizeof(text),
			       FLOW(VALUE("a", "\"%s\"") "," VALUE("late", "1"), EDGE("s", "a") "," EDGE("a", "late")),
			       rows[i].expression);
		if (rows[i].part) {
			expect_fault(text, value, rows[i].part);
		} else if (read_text(text, &graph, &err) == 0) {
			wl_flow_graph_release(&graph);
		} else {
			show_faults(text);
			fail_msg("'%s' is right", rows[i].expression);
		}
	}
}

static void expressions_are_read_only_where_they_belong(void **state)
{
	(void)state;
	struct wl_flow_graph graph;
	struct wl_error err = { 0 };
	assert_int_equal(
		read_text(FLOW(NODE("a", "code",
				    "\"language\":\"bash\",\"source\":\"{{ x\",\"label\":\"{{\",\"pinned\":\"{{\""),
			       EDGE("s", "a")),
			  &graph, &err),
		0);
	wl_flow_graph_release(&graph);
	expect_fault(FLOW(NODE("a", "code", "\"language\":\"bash\",\"source\":\"x\",\"input\":{\"k\":[1,\"{{ x\"]}"),
			  EDGE("s", "a")),
		     "nodes[1].data.input.k[1]", "has no }}");
	expect_fault(
		FLOW(NODE("a", "tool", "\"tool_id\":\"" TOOL "\",\"input\":[\"{{ .nodes.no }}\"]"), EDGE("s", "a")),
		"nodes[1].data.input[0]", "no such node");
	expect_fault(FLOW(NODE("a", "http", "\"url\":\"x\",\"headers\":{\"X-A\":\"{{ .nodes.no }}\"}"), EDGE("s", "a")),
		     "nodes[1].data.headers.X-A", "no such node");
}

static void faults_beyond_a_hundred_are_counted(void **state)
{
	(void)state;
	_wl_buffer_ struct wl_buffer text;
	wl_buffer_init(&text, 0);
	wl_buffer_append_text(&text, "{\"nodes\":[" START);
	for (int i = 0; i < 150; i++)
		wl_buffer_appendf(&text, ",{\"id\":\"n%d\",\"type\":\"nope\"}", i);
	wl_buffer_append_text(&text, "],\"edges\":[]}");
	struct wl_flow_graph graph;
	struct wl_error err = { 0 };
	assert_int_equal(read_text(text.data, &graph, &err), -EINVAL);
	assert_int_equal(faults.count, WL_FLOW_MAX_ERRORS);
	assert_true(faults.skipped >= 50);
	assert_non_null(strstr(err.text, "nodes[1].type"));
}

/* A chain of `count` nodes in which each one names its predecessor. */
static void write_chain(struct wl_buffer *text, int count)
{
	wl_buffer_append_text(text, "{\"nodes\":[{\"id\":\"n0\",\"type\":\"start\"}");
	for (int i = 1; i < count; i++)
		wl_buffer_appendf(text, "," VALUE("n%d", "\"{{ .nodes.n%d }}\""), i, i - 1);
	wl_buffer_append_text(text, "],\"edges\":[");
	for (int i = 1; i < count; i++)
		wl_buffer_appendf(text, "%s" EDGE("n%d", "n%d"), i > 1 ? "," : "", i - 1, i);
	wl_buffer_append_text(text, "]}");
}

static void size_is_bounded(void **state)
{
	(void)state;
	_wl_buffer_ struct wl_buffer text;
	struct wl_flow_graph graph;
	struct wl_error err = { 0 };
	wl_buffer_init(&text, 0);
	write_chain(&text, WL_FLOW_MAX_NODES);
	assert_int_equal(read_text(text.data, &graph, &err), 0);
	assert_true(wl_flow_graph_reaches(&graph, 0, WL_FLOW_MAX_NODES - 1));
	assert_false(wl_flow_graph_reaches(&graph, 5, 4));
	wl_flow_graph_release(&graph);
	wl_buffer_clear(&text);
	write_chain(&text, WL_FLOW_MAX_NODES + 1);
	expect_fault(text.data, "nodes", "at most 2000");
}

static void the_canonical_text_has_one_form(void **state)
{
	(void)state;
	static const char a[] =
		"{\"edges\":[],\"viewport\":{},\"nodes\":[{\"type\":\"start\",\"id\":\"s\",\"selected\":true,"
		"\"position\":{\"y\":2,\"x\":1}}]}";
	static const char b[] =
		"{\"nodes\":[{\"id\":\"s\",\"position\":{\"x\":1,\"y\":2},\"type\":\"start\",\"dragging\":false}],"
		"\"input_schema\":null,\"edges\":[]}";
	_wl_json_ struct wl_json *left = NULL, *right = NULL;
	assert_int_equal(wl_json_parse(a, strlen(a), &left, NULL), 0);
	assert_int_equal(wl_json_parse(b, strlen(b), &right, NULL), 0);
	_wl_free_ char *one = wl_flow_document_canonical(left), *two = wl_flow_document_canonical(right);
	assert_string_equal(
		one, "{\"edges\":[],\"nodes\":[{\"id\":\"s\",\"position\":{\"x\":1,\"y\":2},\"type\":\"start\"}]}");
	assert_string_equal(one, two);
}

/* specs/flow.json says for others what the reader checks: where it can speak, both agree. */
static void the_published_schema_agrees(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		bool right;
	} rows[] = {
		{ whole, true },
		{ "{}", false },
		{ "{\"nodes\":[],\"edges\":[],\"name\":1}", false },
		{ FLOW(NODE("a", "oracle", ""), EDGE("s", "a")), false },
		{ FLOW(NODE("a b", "join", ""), EDGE("s", "a b")), false },
		{ FLOW("{\"id\":\"a\",\"type\":\"join\",\"colour\":1}", EDGE("s", "a")), false },
		{ FLOW(VALUE("a", "1"), "{\"source\":\"s\"}"), false },
		{ FLOW(VALUE("a", "1"), EDGE("s", "a")), true },
		{ nested, true },
		{ FLOW(LOOP("l", "null") "," T("t", "7"), EDGE("s", "l")), false },
	};
	static char text[65536];
	struct wl_json_schema *schema = NULL;
	struct wl_error err = { 0 };
	_wl_fclose_ FILE *file = fopen("specs/flow.json", "re");
	assert_non_null(file);
	if (wl_json_schema_compile(text, fread(text, 1, sizeof(text), file), &schema, &err) < 0)
		fail_msg("%s", err.text);
	for (size_t i = 0; i < WL_COUNT_OF(rows); i++) {
		struct wl_flow_graph graph;
		faults.count = faults.skipped = 0;
		int found = wl_json_schema_check(schema, rows[i].text, strlen(rows[i].text), "", &faults, &err);
		bool read = read_text(rows[i].text, &graph, &err) == 0;
		if (read)
			wl_flow_graph_release(&graph);
		if ((found == 0) != rows[i].right || read != rows[i].right)
			fail_msg("%s: the schema finds %d faults, the reader %s it", rows[i].text, found,
				 read ? "takes" : "refuses");
	}
	wl_json_schema_free(schema);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_whole_flow_is_read),
		cmocka_unit_test(bad_shapes_are_named),
		cmocka_unit_test(bad_node_fields_are_named),
		cmocka_unit_test(bad_graphs_are_named),
		cmocka_unit_test(bad_loops_are_named),
		cmocka_unit_test(bad_waits_and_subflows_are_named),
		cmocka_unit_test(a_flow_is_split_into_what_is_walked),
		cmocka_unit_test(bad_expressions_are_named),
		cmocka_unit_test(expressions_are_read_only_where_they_belong),
		cmocka_unit_test(faults_beyond_a_hundred_are_counted),
		cmocka_unit_test(size_is_bounded),
		cmocka_unit_test(the_canonical_text_has_one_form),
		cmocka_unit_test(the_published_schema_agrees),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
