/*
 * Reading a flow document happens in three passes, so that one answer names all faults:
 *   nodes and edges, each by itself; what cannot be read gets a stand-in, so that indexes stay those of the document;
 *   the rules of the whole graph (lib/model/flow_graph.c);
 *   the node names inside expressions, which need the graph.
 */
#include "lib/codec/flow_document.h"

#include "lib/base/cleanup.h"
#include "lib/codec/expression_text.h"
#include "lib/codec/flow_node_schemas.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PATH_SIZE 256
#define SOURCE_MAX (1u << 20) /* bytes of a code node's program */
#define CASE_NAME_MAX 64

struct document {
	const struct wl_json *json;
	struct wl_flow_graph *graph;
	struct wl_flow_faults *faults;
	const struct wl_flow_node **by_id; /* sorted, for looking up */
	const struct wl_json **node_values;
};

static const char *const node_fields[] = { "id",
					   "type",
					   "position",
					   "data", /* ours */
					   "width",
					   "height",
					   "selected",
					   "dragging",
					   "draggable",
					   "selectable",
					   "connectable",
					   "deletable",
					   "hidden",
					   "focusable",
					   "measured",
					   "parentId",
					   "extent",
					   "expandParent",
					   "style",
					   "className",
					   "zIndex",
					   "sourcePosition",
					   "targetPosition",
					   "positionAbsolute",
					   "ariaLabel",
					   "dragHandle",
					   "origin",
					   "initialWidth",
					   "initialHeight",
					   "resizing",
					   "handles",
					   "domAttributes",
					   NULL };

static const char *const edge_fields[] = { "id",
					   "source",
					   "target",
					   "sourceHandle",
					   "targetHandle", /* ours */
					   "type",
					   "selected",
					   "animated",
					   "hidden",
					   "deletable",
					   "selectable",
					   "focusable",
					   "reconnectable",
					   "label",
					   "labelStyle",
					   "labelShowBg",
					   "labelBgStyle",
					   "labelBgPadding",
					   "labelBgBorderRadius",
					   "markerStart",
					   "markerEnd",
					   "style",
					   "className",
					   "zIndex",
					   "interactionWidth",
					   "pathOptions",
					   "ariaLabel",
					   "data",
					   "domAttributes",
					   NULL };

static const char *const document_fields[] = { "nodes", "edges", "input_schema", "output_schema", "viewport", NULL };

/* What the editor keeps on nodes and edges while somebody works on them: not part of the flow. */
static const char *const passing_fields[] = { "selected", "dragging", "resizing", "measured", NULL };

static bool is_one_of(const char *name, const char *const *names)
{
	for (; *names; names++)
		if (strcmp(name, *names) == 0)
			return true;
	return false;
}

static void check_fields(const struct wl_json *object, const char *const *allowed, const char *prefix,
			 struct wl_flow_faults *faults)
{
	for (const struct wl_json *member = wl_json_first(object); member; member = wl_json_next(member)) {
		const char *key = wl_json_key(member);
		char path[PATH_SIZE];
		if (is_one_of(key, allowed))
			continue;
		(void)snprintf(path, sizeof(path), "%s%s%.100s", prefix, *prefix ? "." : "", key);
		wl_flow_fault_add(faults, path, "there is no such field");
	}
}

static bool is_id(const char *text, size_t most)
{
	static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-";
	size_t length = strlen(text);
	return length >= 1 && length <= most && strspn(text, allowed) == length;
}

/* ---- nodes ------------------------------------------------------------------------------------ */

static int64_t milliseconds(const struct wl_json *object, const char *key, double otherwise)
{
	double value = wl_json_get_number(object, key, otherwise);
	return value >= 0 && value <= 1e9 ? (int64_t)value : (int64_t)otherwise;
}

static int word_of(const char *word, const char *const *words)
{
	for (int i = 0; words[i]; i++)
		if (strcmp(word, words[i]) == 0)
			return i;
	return 0;
}

static void read_retry(const struct wl_json *retry, struct wl_flow_node *node, const char *prefix,
		       struct wl_flow_faults *faults)
{
	static const char *const backoffs[] = { "none", "fixed", "exponential", NULL };
	double attempts = wl_json_get_number(retry, "attempts", 1);
	node->retry.attempts = attempts >= 1 && attempts <= 1000 ? (int)attempts : 1;
	node->retry.backoff = (enum wl_backoff)word_of(wl_json_get_string(retry, "backoff", "fixed"), backoffs);
	node->retry.delay_ms = milliseconds(retry, "delay_ms", 1000);
	node->retry.max_delay_ms = milliseconds(retry, "max_delay_ms", 60000);
	if (wl_json_get(retry, "max_delay_ms") && node->retry.max_delay_ms < node->retry.delay_ms) {
		char path[PATH_SIZE];
		(void)snprintf(path, sizeof(path), "%s.retry.max_delay_ms", prefix);
		wl_flow_fault_add(faults, path, "the longest delay is below delay_ms");
	}
	if (node->retry.max_delay_ms < node->retry.delay_ms)
		node->retry.max_delay_ms = node->retry.delay_ms;
}

static void read_common(const struct wl_json *data, struct wl_flow_node *node, const char *prefix,
			struct wl_flow_faults *faults)
{
	static const char *const on_errors[] = { "fail", "continue", "branch", NULL };
	static const char *const modes[] = { "all", "any", NULL };
	read_retry(wl_json_get(data, "retry"), node, prefix, faults);
	double seconds = wl_json_get_number(data, "timeout_s", 0);
	if (seconds > 0 && seconds <= 86400)
		node->timeout_ms = seconds < 0.001 ? 1 : (int64_t)(seconds * 1000);
	node->on_error = (enum wl_on_error)word_of(wl_json_get_string(data, "on_error", "fail"), on_errors);
	if (node->kind == WL_KIND_JOIN)
		node->join = (enum wl_join_mode)word_of(wl_json_get_string(data, "mode", "all"), modes);
}

static const char *case_fault(const struct wl_flow_node *node, const char *name)
{
	if (!is_id(name, CASE_NAME_MAX))
		return "a case's name has 1 to 64 letters, digits, - or _";
	if (strcmp(name, "default") == 0 || strcmp(name, "error") == 0)
		return "this name belongs to a handle that every switch has";
	for (int i = 0; i < node->case_count; i++)
		if (strcmp(node->cases[i], name) == 0)
			return "an earlier case has this name";
	return NULL;
}

static int read_cases(const struct wl_json *data, struct wl_flow_node *node, const char *prefix,
		      struct wl_flow_faults *faults)
{
	const struct wl_json *cases = wl_json_get(data, "cases");
	size_t count = wl_json_is(cases, WL_JSON_ARRAY) ? wl_json_count(cases) : 0;
	bool compares = false;
	if (count > 100) /* the schema says so, too; nothing further is worth saying */
		return 0;
	node->cases = calloc(count + 1, sizeof(*node->cases));
	if (!node->cases)
		return -ENOMEM;
	int index = 0;
	const struct wl_json *item = count ? wl_json_first(cases) : NULL;
	for (; item; item = wl_json_next(item), index++) {
		const char *name = wl_json_get_string(item, "name", NULL);
		compares = compares || wl_json_get(item, "equals");
		const char *fault = name ? case_fault(node, name) : NULL;
		char path[PATH_SIZE];
		(void)snprintf(path, sizeof(path), "%s.cases[%d].name", prefix, index);
		if (fault)
			wl_flow_fault_add(faults, path, "'%.64s': %s", name, fault);
		else if (name && !(node->cases[node->case_count++] = strdup(name)))
			return -ENOMEM;
	}
	if (compares && !wl_json_get(data, "value"))
		wl_flow_fault_add(faults, prefix, "a case with equals needs the field value to compare it with");
	return 0;
}

static void check_source(const struct wl_json *data, const char *prefix, struct wl_flow_faults *faults)
{
	const char *source = wl_json_get_string(data, "source", "");
	char path[PATH_SIZE];
	if (strlen(source) <= SOURCE_MAX)
		return;
	(void)snprintf(path, sizeof(path), "%s.source", prefix);
	wl_flow_fault_add(faults, path, "a program has at most 1 MiB");
}

static void check_wait(const struct wl_json *data, const char *prefix, struct wl_flow_faults *faults)
{
	if (!wl_json_get(data, "seconds") == !wl_json_get(data, "until"))
		wl_flow_fault_add(faults, prefix, "a wait needs one of the fields seconds and until");
}

static int read_data(struct document *document, const struct wl_json *value, struct wl_flow_node *node, int index,
		     struct wl_error *err)
{
	char prefix[32];
	(void)snprintf(prefix, sizeof(prefix), "nodes[%d].data", index);
	const struct wl_json *data = wl_json_get(value, "data");
	if (data && !wl_json_is(data, WL_JSON_OBJECT))
		wl_flow_fault_add(document->faults, prefix, "data must be an object");
	if (!wl_json_is(data, WL_JSON_OBJECT))
		data = NULL;
	node->data_json = data ? wl_json_print(data) : strdup("{}");
	node->label = strdup(wl_json_get_string(data, "label", ""));
	if (!node->data_json || !node->label)
		return wl_fail(err, ENOMEM, "out of memory while reading a flow");
	int faults = wl_flow_node_data_check(node->kind, node->data_json, strlen(node->data_json), prefix,
					     document->faults, err);
	if (faults < 0)
		return faults;
	read_common(data, node, prefix, document->faults);
	if (node->kind == WL_KIND_WAIT)
		check_wait(data, prefix, document->faults);
	if (node->kind == WL_KIND_CODE)
		check_source(data, prefix, document->faults);
	if (node->kind == WL_KIND_SWITCH && read_cases(data, node, prefix, document->faults) < 0)
		return wl_fail(err, ENOMEM, "out of memory while reading a flow");
	return 0;
}

static bool read_kind(const struct wl_json *value, struct wl_flow_node *node, int index, struct wl_flow_faults *faults)
{
	char path[PATH_SIZE];
	(void)snprintf(path, sizeof(path), "nodes[%d].type", index);
	const char *type = wl_json_get_string(value, "type", NULL);
	int kind = type ? wl_node_kind_of(type) : -1;
	if (kind >= 0) {
		node->kind = (enum wl_node_kind)kind;
		return true;
	}
	char kinds[240] = "";
	for (int i = 0; i < WL_KIND_COUNT; i++) {
		size_t used = strlen(kinds);
		(void)snprintf(kinds + used, sizeof(kinds) - used, "%s%s", i ? ", " : "",
			       wl_node_kind_name((enum wl_node_kind)i));
	}
	if (type)
		wl_flow_fault_add(faults, path, "there is no kind of node '%.40s'; the kinds are %s", type, kinds);
	else
		wl_flow_fault_add(faults, path, "a node needs a type, one of %s", kinds);
	node->kind = WL_KIND_TRANSFORM; /* the stand-in: one handle, may stand anywhere */
	return false;
}

static int read_node(struct document *document, const struct wl_json *value, int index, struct wl_error *err)
{
	struct wl_flow_node *node = &document->graph->nodes[index];
	char path[PATH_SIZE];
	node->parent = -1;
	(void)snprintf(path, sizeof(path), "nodes[%d]", index);
	const char *id = wl_json_get_string(value, "id", NULL);
	node->id = strdup(id ? id : "");
	if (!node->id)
		return wl_fail(err, ENOMEM, "out of memory while reading a flow");
	if (!wl_json_is(value, WL_JSON_OBJECT)) {
		node->kind = WL_KIND_TRANSFORM;
		wl_flow_fault_add(document->faults, path, "a node must be an object");
		return 0;
	}
	check_fields(value, node_fields, path, document->faults);
	(void)snprintf(path, sizeof(path), "nodes[%d].id", index);
	if (!id || !is_id(id, WL_FLOW_MAX_ID))
		wl_flow_fault_add(document->faults, path, "a node's id is a text of 1 to %d letters, digits, - or _",
				  WL_FLOW_MAX_ID);
	if (!read_kind(value, node, index, document->faults))
		return 0;
	return read_data(document, value, node, index, err);
}

static int compare_ids(const void *left, const void *right)
{
	const struct wl_flow_node *a = *(const struct wl_flow_node *const *)left;
	const struct wl_flow_node *b = *(const struct wl_flow_node *const *)right;
	int order = strcmp(a->id, b->id);
	return order ? order : (a > b) - (a < b); /* the earlier node first */
}

/* The first node with that id, or -1. */
static int find_node(const struct document *document, const char *id, size_t length)
{
	size_t low = 0, high = (size_t)document->graph->node_count;
	while (low < high) {
		size_t middle = (low + high) / 2;
		const char *other = document->by_id[middle]->id;
		int order = strncmp(other, id, length);
		if (order == 0 && other[length])
			order = 1;
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	if (low == (size_t)document->graph->node_count)
		return -1;
	const struct wl_flow_node *node = document->by_id[low];
	if (strncmp(node->id, id, length) != 0 || node->id[length])
		return -1;
	return (int)(node - document->graph->nodes);
}

static void check_twice(const struct document *document)
{
	for (int i = 1; i < document->graph->node_count; i++) {
		const struct wl_flow_node *node = document->by_id[i];
		char path[PATH_SIZE];
		if (!*node->id || strcmp(node->id, document->by_id[i - 1]->id) != 0)
			continue;
		(void)snprintf(path, sizeof(path), "nodes[%d].id", (int)(node - document->graph->nodes));
		wl_flow_fault_add(document->faults, path, "another node has the id '%.60s'", node->id);
	}
}

/* The array of that name, or NULL with a fault when it is none or has more than `most` items. */
static const struct wl_json *array_of(struct document *document, const char *name, size_t most)
{
	const struct wl_json *array = wl_json_get(document->json, name);
	if (!wl_json_is(array, WL_JSON_ARRAY)) {
		wl_flow_fault_add(document->faults, name, "a flow needs an array of %s", name);
		return NULL;
	}
	if (wl_json_count(array) <= most)
		return array;
	wl_flow_fault_add(document->faults, name, "a flow has at most %zu %s", most, name);
	return NULL;
}

/* React Flow's way to say that a node stands inside another one; null is as good as none. */
static void read_parents(struct document *document)
{
	for (int i = 0; i < document->graph->node_count; i++) {
		const struct wl_json *parent = wl_json_get(document->node_values[i], "parentId");
		const char *id = wl_json_string(parent, "");
		char path[PATH_SIZE];
		if (!parent || wl_json_is(parent, WL_JSON_NULL))
			continue;
		(void)snprintf(path, sizeof(path), "nodes[%d].parentId", i);
		document->graph->nodes[i].parent = find_node(document, id, strlen(id));
		if (!wl_json_is(parent, WL_JSON_STRING))
			wl_flow_fault_add(document->faults, path, "a parentId is the id of a loop");
		else if (document->graph->nodes[i].parent < 0)
			wl_flow_fault_add(document->faults, path, "there is no node '%.60s'", id);
	}
}

static int read_nodes(struct document *document, const struct wl_json *nodes, struct wl_error *err)
{
	size_t count = wl_json_count(nodes);
	struct wl_flow_graph *graph = document->graph;
	graph->nodes = calloc(count + 1, sizeof(*graph->nodes));
	document->by_id = calloc(count + 1, sizeof(*document->by_id));
	document->node_values = calloc(count + 1, sizeof(*document->node_values));
	if (!graph->nodes || !document->by_id || !document->node_values)
		return wl_fail(err, ENOMEM, "out of memory while reading a flow");
	for (const struct wl_json *node = wl_json_first(nodes); node; node = wl_json_next(node)) {
		int index = graph->node_count++;
		document->by_id[index] = &graph->nodes[index];
		document->node_values[index] = node;
		int result = read_node(document, node, index, err);
		if (result < 0)
			return result;
	}
	qsort(document->by_id, count, sizeof(*document->by_id), compare_ids);
	check_twice(document);
	read_parents(document);
	return 0;
}

/* ---- edges ------------------------------------------------------------------------------------ */

static int read_end(const struct document *document, const struct wl_json *edge, const char *field, int index)
{
	const char *id = wl_json_get_string(edge, field, NULL);
	int node = id ? find_node(document, id, strlen(id)) : -1;
	char path[PATH_SIZE];
	(void)snprintf(path, sizeof(path), "edges[%d].%s", index, field);
	if (!id)
		wl_flow_fault_add(document->faults, path, "an edge needs a %s, the id of a node", field);
	else if (node < 0)
		wl_flow_fault_add(document->faults, path, "there is no node '%.60s'", id);
	return node;
}

static const char *read_handle(const struct document *document, const struct wl_json *edge, const char *field,
			       int index)
{
	const struct wl_json *handle = wl_json_get(edge, field);
	const char *text = wl_json_string(handle, "");
	if (!handle || wl_json_is(handle, WL_JSON_NULL) ||
	    (wl_json_is(handle, WL_JSON_STRING) && strlen(text) <= WL_FLOW_MAX_ID))
		return text;
	char path[PATH_SIZE];
	(void)snprintf(path, sizeof(path), "edges[%d].%s", index, field);
	wl_flow_fault_add(document->faults, path, "a handle is a text of at most %d bytes", WL_FLOW_MAX_ID);
	return "";
}

static bool is_known_kind(const struct document *document, int node)
{
	return wl_node_kind_of(wl_json_get_string(document->node_values[node], "type", "")) >= 0;
}

static int read_edge(struct document *document, const struct wl_json *value, int index, struct wl_error *err)
{
	struct wl_flow_edge *edge = &document->graph->edges[index];
	char path[PATH_SIZE];
	(void)snprintf(path, sizeof(path), "edges[%d]", index);
	edge->source = edge->target = -1;
	if (!wl_json_is(value, WL_JSON_OBJECT)) {
		wl_flow_fault_add(document->faults, path, "an edge must be an object");
		return 0;
	}
	check_fields(value, edge_fields, path, document->faults);
	edge->source = read_end(document, value, "source", index);
	edge->target = read_end(document, value, "target", index);
	(void)read_handle(document, value, "targetHandle", index);
	const char *handle = read_handle(document, value, "sourceHandle", index);
	if (edge->source >= 0 && !is_known_kind(document, edge->source))
		handle = ""; /* nobody knows which handles it has */
	const char *id = wl_json_get_string(value, "id", "");
	if (strlen(id) > 512) {
		(void)snprintf(path, sizeof(path), "edges[%d].id", index);
		wl_flow_fault_add(document->faults, path, "an edge's id has at most 512 bytes");
	}
	edge->id = strdup(id);
	edge->source_handle = strdup(handle);
	if (!edge->id || !edge->source_handle)
		return wl_fail(err, ENOMEM, "out of memory while reading a flow");
	return 0;
}

static int read_edges(struct document *document, const struct wl_json *edges, struct wl_error *err)
{
	struct wl_flow_graph *graph = document->graph;
	graph->edges = calloc(wl_json_count(edges) + 1, sizeof(*graph->edges));
	if (!graph->edges)
		return wl_fail(err, ENOMEM, "out of memory while reading a flow");
	for (const struct wl_json *edge = wl_json_first(edges); edge; edge = wl_json_next(edge)) {
		int index = graph->edge_count++;
		int result = read_edge(document, edge, index, err);
		if (result < 0)
			return result;
	}
	return 0;
}

/* ---- expressions ------------------------------------------------------------------------------ */

/* The fields of each kind whose texts hold expressions. */
static const char *const expression_fields[WL_KIND_COUNT][6] = {
	[WL_KIND_OUTPUT] = { "value" },
	[WL_KIND_CODE] = { "input" },
	[WL_KIND_TOOL] = { "input" },
	[WL_KIND_HTTP] = { "url", "headers", "query", "body" },
	[WL_KIND_TRANSFORM] = { "value" },
	[WL_KIND_CONDITION] = { "if" },
	[WL_KIND_SWITCH] = { "value", "cases" },
	[WL_KIND_LOOP] = { "items" },
	[WL_KIND_SUBFLOW] = { "input" },
	[WL_KIND_WAIT] = { "seconds", "until" },
	[WL_KIND_APPROVAL] = { "message" },
	[WL_KIND_LLM] = { "system", "prompt", "images" },
	[WL_KIND_AGENT] = { "task", "expected_output", "input" },
	[WL_KIND_CREW] = { "input", "context" },
};

struct scan {
	struct document *document;
	int node;
	unsigned char *upstream; /* of the node; filled when the first reference is met */
	bool upstream_known;
	const char *path;
};

static void check_reference(void *self, const char *name, size_t length)
{
	struct scan *scan = self;
	struct document *document = scan->document;
	int shown = length > 60 ? 60 : (int)length;
	int node = find_node(document, name, length);
	if (node < 0) {
		wl_flow_fault_add(document->faults, scan->path,
				  "the expression names .nodes.%.*s, but there is no such node", shown, name);
		return;
	}
	if (!scan->upstream_known)
		scan->upstream_known = wl_flow_graph_upstream(document->graph, scan->node, scan->upstream);
	if (scan->upstream_known && !scan->upstream[node])
		wl_flow_fault_add(document->faults, scan->path,
				  "the expression names .nodes.%.*s, but no edges lead from there to this node", shown,
				  name);
}

static void scan_text(struct scan *scan, const char *text, const char *path)
{
	size_t length = strlen(text), at = 0;
	scan->path = path;
	for (;;) {
		struct wl_text_part part = wl_text_next(text, length, &at);
		if (part.kind == WL_TEXT_END)
			return;
		if (part.kind == WL_TEXT_UNCLOSED)
			wl_flow_fault_add(scan->document->faults, path, "a {{ has no }} that closes it");
		else if (part.kind == WL_TEXT_EXPRESSION)
			wl_text_node_references(part.start, part.length, check_reference, scan);
	}
}

static void scan_value(struct scan *scan, const struct wl_json *value, const char *path)
{
	if (wl_json_is(value, WL_JSON_STRING)) {
		scan_text(scan, wl_json_string(value, ""), path);
		return;
	}
	int index = 0;
	for (const struct wl_json *item = wl_json_first(value); item; item = wl_json_next(item), index++) {
		char inner[PATH_SIZE];
		if (wl_json_is(value, WL_JSON_ARRAY))
			(void)snprintf(inner, sizeof(inner), "%.200s[%d]", path, index);
		else
			(void)snprintf(inner, sizeof(inner), "%.150s.%.100s", path, wl_json_key(item));
		scan_value(scan, item, inner);
	}
}

/* A text where no text is meant must be one expression: any other would count as true for ever, say. */
static void check_deciding(struct document *document, const struct wl_json *value, const char *path)
{
	struct wl_text_part part;
	const char *text = wl_json_string(value, NULL);
	if (text && !wl_text_is_expression(text, strlen(text), &part))
		wl_flow_fault_add(document->faults, path, "this must be one expression in {{ }} and nothing else");
}

static void check_decisions(struct document *document, int node, const struct wl_json *data)
{
	char path[PATH_SIZE];
	(void)snprintf(path, sizeof(path), "nodes[%d].data.if", node);
	if (document->graph->nodes[node].kind == WL_KIND_CONDITION)
		check_deciding(document, wl_json_get(data, "if"), path);
	(void)snprintf(path, sizeof(path), "nodes[%d].data.items", node);
	if (document->graph->nodes[node].kind == WL_KIND_LOOP)
		check_deciding(document, wl_json_get(data, "items"), path);
	(void)snprintf(path, sizeof(path), "nodes[%d].data.seconds", node);
	if (document->graph->nodes[node].kind == WL_KIND_WAIT)
		check_deciding(document, wl_json_get(data, "seconds"), path);
	if (document->graph->nodes[node].kind != WL_KIND_SWITCH)
		return;
	int index = 0;
	const struct wl_json *item = wl_json_first(wl_json_get(data, "cases"));
	for (; item; item = wl_json_next(item), index++) {
		(void)snprintf(path, sizeof(path), "nodes[%d].data.cases[%d].when", node, index);
		check_deciding(document, wl_json_get(item, "when"), path);
	}
}

static int check_expressions(struct document *document, struct wl_error *err)
{
	_wl_free_ unsigned char *upstream = calloc((size_t)document->graph->node_count + 1, 1);
	if (!upstream)
		return wl_fail(err, ENOMEM, "out of memory while reading a flow");
	for (int i = 0; i < document->graph->node_count; i++) {
		const struct wl_json *data = wl_json_get(document->node_values[i], "data");
		struct scan scan = { .document = document, .node = i, .upstream = upstream };
		if (!wl_json_is(data, WL_JSON_OBJECT) || !is_known_kind(document, i))
			continue;
		check_decisions(document, i, data);
		const char *const *fields = expression_fields[document->graph->nodes[i].kind];
		for (; *fields; fields++) {
			char path[PATH_SIZE];
			(void)snprintf(path, sizeof(path), "nodes[%d].data.%s", i, *fields);
			scan_value(&scan, wl_json_get(data, *fields), path);
		}
	}
	return 0;
}

/* ---- the document ----------------------------------------------------------------------------- */

static void check_schema_field(struct document *document, const char *name)
{
	const struct wl_json *schema = wl_json_get(document->json, name);
	if (schema && !wl_json_is(schema, WL_JSON_OBJECT) && !wl_json_is(schema, WL_JSON_NULL))
		wl_flow_fault_add(document->faults, name, "a schema must be an object");
}

static int read_document(struct document *document, struct wl_error *err)
{
	if (!wl_json_is(document->json, WL_JSON_OBJECT)) {
		wl_flow_fault_add(document->faults, "", "a flow must be an object");
		return 0;
	}
	check_fields(document->json, document_fields, "", document->faults);
	check_schema_field(document, "input_schema");
	check_schema_field(document, "output_schema");
	const struct wl_json *nodes = array_of(document, "nodes", WL_FLOW_MAX_NODES);
	const struct wl_json *edges = array_of(document, "edges", WL_FLOW_MAX_EDGES);
	if (!nodes)
		return 0;
	int result = read_nodes(document, nodes, err);
	if (result == 0 && edges)
		result = read_edges(document, edges, err);
	if (result == 0)
		result = wl_flow_graph_index(document->graph, err);
	if (result < 0 || !edges)
		return result;
	(void)wl_flow_graph_check(document->graph, document->faults);
	return check_expressions(document, err);
}

int wl_flow_document_read(const struct wl_json *json, struct wl_flow_graph *graph, struct wl_flow_faults *faults,
			  struct wl_error *err)
{
	struct document document = { .json = json, .graph = graph, .faults = faults };
	*graph = (struct wl_flow_graph){ .start = -1 };
	faults->count = faults->skipped = 0;
	int result = read_document(&document, err);
	free(document.by_id);
	free(document.node_values);
	if (result == 0 && faults->count > 0)
		result = wl_fail(err, EINVAL, "the flow has %d fault%s; the first one is at %.100s: %.200s",
				 faults->count + faults->skipped, faults->count + faults->skipped == 1 ? "" : "s",
				 *faults->items[0].path ? faults->items[0].path : "its root", faults->items[0].text);
	if (result < 0)
		wl_flow_graph_release(graph);
	return result;
}

/* An array of nodes or edges without what the editor keeps on them only while somebody works. */
static struct wl_json *lasting_items(const struct wl_json *items)
{
	_wl_json_ struct wl_json *array = wl_json_array();
	for (const struct wl_json *item = wl_json_first(items); item && array; item = wl_json_next(item)) {
		_wl_json_ struct wl_json *kept =
			wl_json_is(item, WL_JSON_OBJECT) ? wl_json_object() : wl_json_copy(item);
		const struct wl_json *member = wl_json_is(item, WL_JSON_OBJECT) ? wl_json_first(item) : NULL;
		for (; member; member = wl_json_next(member))
			if (!is_one_of(wl_json_key(member), passing_fields) &&
			    wl_json_set(kept, wl_json_key(member), wl_json_copy(member)) < 0)
				return NULL;
		if (wl_json_append(array, wl_steal(kept)) < 0)
			return NULL;
	}
	return wl_steal(array);
}

char *wl_flow_document_canonical(const struct wl_json *document)
{
	static const char *const kept[] = { "nodes", "edges", "input_schema", "output_schema" };
	_wl_json_ struct wl_json *canonical = wl_json_object();
	if (!canonical)
		return NULL;
	for (size_t i = 0; i < WL_COUNT_OF(kept); i++) {
		const struct wl_json *field = wl_json_get(document, kept[i]);
		if (!field || wl_json_is(field, WL_JSON_NULL))
			continue;
		struct wl_json *copy = wl_json_is(field, WL_JSON_ARRAY) ? lasting_items(field) : wl_json_copy(field);
		if (wl_json_set(canonical, kept[i], copy) < 0)
			return NULL;
	}
	_wl_buffer_ struct wl_buffer buffer;
	wl_buffer_init(&buffer, 0);
	return wl_json_write_sorted(&buffer, canonical) < 0 ? NULL : wl_buffer_steal(&buffer);
}
