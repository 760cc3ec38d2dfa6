#include "lib/model/flow_graph.h"

#include "lib/base/cleanup.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct kind_row {
	const char *name;
	bool pure;
	bool acts;
	bool runs;
};

static const struct kind_row kind_rows[] = {
#define X(NAME, name, pure, acts, runs) [WL_KIND_##NAME] = { name, pure, acts, runs },
	WL_NODE_KINDS(X)
#undef X
};

const char *wl_node_kind_name(enum wl_node_kind kind)
{
	return kind_rows[kind].name;
}

int wl_node_kind_of(const char *name)
{
	for (int i = 0; i < WL_KIND_COUNT; i++)
		if (strcmp(kind_rows[i].name, name) == 0)
			return i;
	return -1;
}

bool wl_node_kind_pure(enum wl_node_kind kind)
{
	return kind_rows[kind].pure;
}

bool wl_node_kind_acts(enum wl_node_kind kind)
{
	return kind_rows[kind].acts;
}

bool wl_node_kind_runs(enum wl_node_kind kind)
{
	return kind_rows[kind].runs;
}

bool wl_node_kind_asks(enum wl_node_kind kind)
{
	return kind == WL_KIND_LLM || kind == WL_KIND_AGENT || kind == WL_KIND_CREW;
}

bool wl_node_kind_chooses(enum wl_node_kind kind)
{
	return kind == WL_KIND_CONDITION || kind == WL_KIND_SWITCH || kind == WL_KIND_APPROVAL;
}

void wl_flow_fault_add(struct wl_flow_faults *faults, const char *path, const char *fmt, ...)
{
	if (faults->count == WL_FLOW_MAX_ERRORS) {
		faults->skipped++;
		return;
	}
	struct wl_flow_fault *fault = &faults->items[faults->count++];
	(void)snprintf(fault->path, sizeof(fault->path), "%s", path);
	va_list args;
	va_start(args, fmt);
	(void)vsnprintf(fault->text, sizeof(fault->text), fmt, args);
	va_end(args);
}

void wl_flow_graph_release(struct wl_flow_graph *graph)
{
	for (int i = 0; graph->nodes && i < graph->node_count; i++) {
		struct wl_flow_node *node = &graph->nodes[i];
		free(node->id);
		free(node->label);
		free(node->data_json);
		free(node->in_edges);
		free(node->out_edges);
		for (int c = 0; c < node->case_count; c++)
			free(node->cases[c]);
		free(node->cases);
	}
	for (int i = 0; graph->edges && i < graph->edge_count; i++) {
		free(graph->edges[i].id);
		free(graph->edges[i].source_handle);
	}
	free(graph->nodes);
	free(graph->edges);
	*graph = (struct wl_flow_graph){ .start = -1 };
}

static void forget_index(struct wl_flow_graph *graph)
{
	for (int i = 0; i < graph->node_count; i++) {
		struct wl_flow_node *node = &graph->nodes[i];
		free(node->in_edges);
		free(node->out_edges);
		node->in_edges = node->out_edges = NULL;
		node->in_count = node->out_count = 0;
	}
}

static int make_room(struct wl_flow_graph *graph, struct wl_error *err)
{
	for (int i = 0; i < graph->node_count; i++) {
		struct wl_flow_node *node = &graph->nodes[i];
		node->in_edges = calloc((size_t)node->in_count + 1, sizeof(int));
		node->out_edges = calloc((size_t)node->out_count + 1, sizeof(int));
		if (!node->in_edges || !node->out_edges)
			return wl_fail(err, ENOMEM, "out of memory for the edges of a flow");
		node->in_count = node->out_count = 0;
	}
	return 0;
}

int wl_flow_graph_index(struct wl_flow_graph *graph, struct wl_error *err)
{
	forget_index(graph);
	graph->start = -1;
	for (int i = 0; i < graph->node_count && graph->start < 0; i++)
		if (graph->nodes[i].kind == WL_KIND_START)
			graph->start = i;
	for (int i = 0; i < graph->edge_count; i++) {
		if (graph->edges[i].source < 0 || graph->edges[i].target < 0)
			continue;
		graph->nodes[graph->edges[i].source].out_count++;
		graph->nodes[graph->edges[i].target].in_count++;
	}
	int result = make_room(graph, err);
	if (result < 0) {
		forget_index(graph);
		return result;
	}
	for (int i = 0; i < graph->edge_count; i++) {
		if (graph->edges[i].source < 0 || graph->edges[i].target < 0)
			continue;
		struct wl_flow_node *source = &graph->nodes[graph->edges[i].source];
		struct wl_flow_node *target = &graph->nodes[graph->edges[i].target];
		source->out_edges[source->out_count++] = i;
		target->in_edges[target->in_count++] = i;
	}
	return 0;
}

int wl_flow_graph_find(const struct wl_flow_graph *graph, const char *id)
{
	for (int i = 0; i < graph->node_count; i++)
		if (strcmp(graph->nodes[i].id, id) == 0)
			return i;
	return -1;
}

/* Mark everything that lies behind `from` (with it) in `seen`, along the edges or against them. */
static bool mark_reached(const struct wl_flow_graph *graph, int from, bool against, unsigned char *seen)
{
	_wl_free_ int *stack = calloc((size_t)graph->node_count + 1, sizeof(int));
	if (!stack)
		return false;
	int depth = 0;
	stack[depth++] = from;
	seen[from] = 1;
	while (depth > 0) {
		const struct wl_flow_node *node = &graph->nodes[stack[--depth]];
		int count = against ? node->in_count : node->out_count;
		for (int i = 0; i < count; i++) {
			const struct wl_flow_edge *edge =
				&graph->edges[against ? node->in_edges[i] : node->out_edges[i]];
			int next = against ? edge->source : edge->target;
			if (!seen[next]) {
				seen[next] = 1;
				stack[depth++] = next;
			}
		}
	}
	return true;
}

bool wl_flow_graph_upstream(const struct wl_flow_graph *graph, int node, unsigned char *upstream)
{
	memset(upstream, 0, (size_t)graph->node_count);
	for (int at = node, depth = 0; at >= 0 && depth <= WL_FLOW_MAX_LOOP_DEPTH;
	     at = graph->nodes[at].parent, depth++) {
		if (!mark_reached(graph, at, true, upstream))
			return false;
		upstream[at] = 0;
	}
	return true;
}

bool wl_flow_graph_reaches(const struct wl_flow_graph *graph, int from, int to)
{
	_wl_free_ unsigned char *seen = calloc((size_t)graph->node_count + 1, 1);
	return seen && mark_reached(graph, from, false, seen) && seen[to];
}

bool wl_flow_graph_order(const struct wl_flow_graph *graph, int *order)
{
	_wl_free_ int *waiting = calloc((size_t)graph->node_count + 1, sizeof(int));
	if (!waiting)
		return false;
	int done = 0, found = 0;
	for (int i = 0; i < graph->node_count; i++) {
		waiting[i] = graph->nodes[i].in_count;
		if (waiting[i] == 0)
			order[found++] = i;
	}
	while (done < found) {
		const struct wl_flow_node *node = &graph->nodes[order[done++]];
		for (int i = 0; i < node->out_count; i++) {
			int next = graph->edges[node->out_edges[i]].target;
			if (--waiting[next] == 0)
				order[found++] = next;
		}
	}
	return found == graph->node_count;
}

#define PATH_SIZE 64

static const char *node_path(int node, char path[PATH_SIZE])
{
	(void)snprintf(path, PATH_SIZE, "nodes[%d]", node);
	return path;
}

static const char *edge_path(int edge, const char *field, char path[PATH_SIZE])
{
	(void)snprintf(path, PATH_SIZE, "edges[%d].%s", edge, field);
	return path;
}

/*
 * Find one cycle by walking against the edges inside the part of the graph that Kahn's order leaves over: each node
 * there has a predecessor that is left over, too, so the walk must come back to a node it has seen.
 */
static int find_cycle(const struct wl_flow_graph *graph, const unsigned char *ordered, int *cycle, int *place)
{
	int node = 0, length = 0;
	while (ordered[node])
		node++;
	for (int i = 0; i < graph->node_count; i++)
		place[i] = -1;
	while (place[node] < 0) {
		place[node] = length;
		cycle[length++] = node;
		const struct wl_flow_node *at = &graph->nodes[node];
		for (int i = 0; i < at->in_count; i++) {
			int source = graph->edges[at->in_edges[i]].source;
			if (!ordered[source]) {
				node = source;
				break;
			}
		}
	}
	int from = place[node];
	memmove(cycle, cycle + from, (size_t)(length - from) * sizeof(int));
	return length - from;
}

/* Name the nodes on the cycle in the direction of its edges, cut where the sentence would not fit. */
static void tell_cycle(const struct wl_flow_graph *graph, const int *cycle, int length, struct wl_flow_faults *faults)
{
	char path[PATH_SIZE], text[200];
	size_t used = 0;
	int shown = 0;
	for (int i = length - 1; i >= 0 && used < 120; i--, shown++)
		used += (size_t)snprintf(text + used, sizeof(text) - used, "%.60s -> ", graph->nodes[cycle[i]].id);
	if (shown < length)
		(void)snprintf(text + used, sizeof(text) - used, "... (%d nodes)", length);
	else
		(void)snprintf(text + used, sizeof(text) - used, "%.60s", graph->nodes[cycle[length - 1]].id);
	wl_flow_fault_add(faults, node_path(cycle[length - 1], path), "there is a cycle: %s", text);
}

static bool check_cycle(const struct wl_flow_graph *graph, struct wl_flow_faults *faults)
{
	size_t count = (size_t)graph->node_count + 1;
	_wl_free_ int *order = calloc(count, sizeof(int));
	_wl_free_ int *place = calloc(count, sizeof(int));
	_wl_free_ unsigned char *ordered = calloc(count, 1);
	if (!order || !place || !ordered) {
		wl_flow_fault_add(faults, "nodes", "out of memory while looking for cycles");
		return false;
	}
	memset(order, -1, count * sizeof(int));
	if (wl_flow_graph_order(graph, order))
		return true;
	for (int i = 0; i < graph->node_count && order[i] >= 0; i++)
		ordered[order[i]] = 1;
	int length = find_cycle(graph, ordered, order, place);
	tell_cycle(graph, order, length, faults);
	return false;
}

static void check_starts(const struct wl_flow_graph *graph, struct wl_flow_faults *faults)
{
	char path[PATH_SIZE];
	if (graph->start < 0) {
		wl_flow_fault_add(faults, "nodes", "a flow needs a node of type start");
		return;
	}
	for (int i = graph->start + 1; i < graph->node_count; i++)
		if (graph->nodes[i].kind == WL_KIND_START)
			wl_flow_fault_add(faults, node_path(i, path),
					  "a flow has exactly one start node, and '%.60s' is one already",
					  graph->nodes[graph->start].id);
	if (graph->nodes[graph->start].out_count == 0)
		wl_flow_fault_add(faults, node_path(graph->start, path), "nothing follows the start node");
}

static void check_reached(const struct wl_flow_graph *graph, struct wl_flow_faults *faults)
{
	char path[PATH_SIZE];
	if (graph->start < 0 || graph->nodes[graph->start].out_count == 0)
		return;
	_wl_free_ unsigned char *seen = calloc((size_t)graph->node_count + 1, 1);
	if (!seen || !mark_reached(graph, graph->start, false, seen)) {
		wl_flow_fault_add(faults, "nodes", "out of memory while looking for nodes that are not reached");
		return;
	}
	for (int i = 0; i < graph->node_count; i++) {
		const struct wl_flow_node *node = &graph->nodes[i];
		/* inside a loop whatever has no edge leading to it is where an item begins */
		if (!seen[i] && node->parent < 0 && node->kind != WL_KIND_START && wl_node_kind_runs(node->kind))
			wl_flow_fault_add(faults, node_path(i, path), "the start node does not reach '%.60s'",
					  node->id);
	}
}

static bool is_case(const struct wl_flow_node *node, const char *handle)
{
	for (int i = 0; i < node->case_count; i++)
		if (strcmp(node->cases[i], handle) == 0)
			return true;
	return false;
}

/* NULL when the node has that handle, else what is wrong. */
static const char *handle_fault(const struct wl_flow_node *node, const char *handle)
{
	if (strcmp(handle, "error") == 0 && node->on_error == WL_ON_ERROR_BRANCH)
		return NULL;
	switch (node->kind) {
	case WL_KIND_CONDITION:
		if (strcmp(handle, "true") == 0 || strcmp(handle, "false") == 0)
			return NULL;
		return "a condition has the handles true and false";
	case WL_KIND_SWITCH:
		if (strcmp(handle, "default") == 0 || is_case(node, handle))
			return NULL;
		return "a switch has its cases' names and default as handles";
	case WL_KIND_APPROVAL:
		if (strcmp(handle, "approved") == 0 || strcmp(handle, "rejected") == 0)
			return NULL;
		return "an approval has the handles approved and rejected";
	default:
		if (*handle == '\0')
			return NULL;
		if (strcmp(handle, "error") == 0)
			return "the handle error needs on_error: branch at its node";
		return "this kind of node has one handle, which has no name";
	}
}

static void check_edge(const struct wl_flow_graph *graph, int index, struct wl_flow_faults *faults)
{
	char path[PATH_SIZE];
	const struct wl_flow_edge *edge = &graph->edges[index];
	if (edge->source < 0 || edge->target < 0)
		return;
	const struct wl_flow_node *source = &graph->nodes[edge->source], *target = &graph->nodes[edge->target];
	if (source->kind == WL_KIND_NOTE)
		wl_flow_fault_add(faults, edge_path(index, "source", path), "a note has no edges");
	else if (source->kind == WL_KIND_OUTPUT)
		wl_flow_fault_add(faults, edge_path(index, "source", path), "no edge leads out of an output node");
	if (target->kind == WL_KIND_NOTE)
		wl_flow_fault_add(faults, edge_path(index, "target", path), "a note has no edges");
	else if (target->kind == WL_KIND_START)
		wl_flow_fault_add(faults, edge_path(index, "target", path), "no edge leads into the start node");
	if (source->parent != target->parent)
		wl_flow_fault_add(faults, edge_path(index, "target", path), "no edge leads into a loop or out of it");
	if (source->kind == WL_KIND_NOTE || source->kind == WL_KIND_OUTPUT)
		return;
	const char *fault = handle_fault(source, edge->source_handle);
	if (fault)
		wl_flow_fault_add(faults, edge_path(index, "sourceHandle", path), "'%.60s' has no handle '%.40s': %s",
				  source->id, edge->source_handle, fault);
}

static const char *parent_path(int node, char path[PATH_SIZE])
{
	(void)snprintf(path, PATH_SIZE, "nodes[%d].parentId", node);
	return path;
}

/* How many loops a node stands in; beyond the limit when they stand inside each other. */
static int loop_depth(const struct wl_flow_graph *graph, int node)
{
	int depth = 0;
	for (int at = graph->nodes[node].parent; at >= 0 && depth <= WL_FLOW_MAX_LOOP_DEPTH;
	     at = graph->nodes[at].parent)
		depth++;
	return depth;
}

static bool inside_itself(const struct wl_flow_graph *graph, int node)
{
	int at = graph->nodes[node].parent;
	for (int steps = 0; at >= 0 && at != node && steps <= graph->node_count; steps++)
		at = graph->nodes[at].parent;
	return at == node;
}

/* False when loops stand inside each other in a way that the other checks could not follow. */
static bool check_parents(const struct wl_flow_graph *graph, struct wl_flow_faults *faults)
{
	char path[PATH_SIZE];
	int before = faults->count + faults->skipped;
	for (int i = 0; i < graph->node_count; i++) {
		const struct wl_flow_node *node = &graph->nodes[i];
		if (node->parent < 0)
			continue;
		if (inside_itself(graph, i))
			wl_flow_fault_add(faults, parent_path(i, path), "'%.60s' would stand inside itself", node->id);
		else if (loop_depth(graph, i) > WL_FLOW_MAX_LOOP_DEPTH)
			wl_flow_fault_add(faults, parent_path(i, path), "loops stand inside each other at most %d deep",
					  WL_FLOW_MAX_LOOP_DEPTH);
	}
	return faults->count + faults->skipped == before;
}

static void check_bodies(const struct wl_flow_graph *graph, struct wl_flow_faults *faults)
{
	char path[PATH_SIZE];
	_wl_free_ unsigned char *filled = calloc((size_t)graph->node_count + 1, 1);
	if (!filled) {
		wl_flow_fault_add(faults, "nodes", "out of memory while looking at loops");
		return;
	}
	for (int i = 0; i < graph->node_count; i++) {
		const struct wl_flow_node *node = &graph->nodes[i];
		if (node->parent < 0)
			continue;
		filled[node->parent] |= wl_node_kind_runs(node->kind);
		if (graph->nodes[node->parent].kind != WL_KIND_LOOP)
			wl_flow_fault_add(faults, parent_path(i, path), "'%.60s' is no loop",
					  graph->nodes[node->parent].id);
		else if (node->kind == WL_KIND_START || node->kind == WL_KIND_OUTPUT)
			wl_flow_fault_add(faults, parent_path(i, path), "a node of kind %s stands outside of loops",
					  wl_node_kind_name(node->kind));
	}
	for (int i = 0; i < graph->node_count; i++)
		if (graph->nodes[i].kind == WL_KIND_LOOP && !filled[i])
			wl_flow_fault_add(faults, node_path(i, path),
					  "a loop needs nodes inside it: their parentId is its id");
}

int wl_flow_graph_check(const struct wl_flow_graph *graph, struct wl_flow_faults *faults)
{
	int before = faults->count + faults->skipped;
	if (!check_parents(graph, faults))
		return faults->count + faults->skipped - before;
	check_bodies(graph, faults);
	check_starts(graph, faults);
	for (int i = 0; i < graph->edge_count; i++)
		check_edge(graph, i, faults);
	(void)check_cycle(graph, faults);
	check_reached(graph, faults);
	return faults->count + faults->skipped - before;
}

/* ---- the parts that are walked ----------------------------------------------------------------------------- */

/* Which part each node belongs to, and its index there; the numbers of nodes and edges of each part. */
static void place_nodes(struct wl_flow_graph *whole, struct wl_flow_graph *parts, int *index)
{
	int loops = 0;
	for (int i = 0; i < whole->node_count; i++)
		whole->nodes[i].body = whole->nodes[i].kind == WL_KIND_LOOP ? ++loops : -1;
	for (int i = 0; i < whole->node_count; i++) {
		int parent = whole->nodes[i].parent;
		index[i] = parts[parent < 0 ? 0 : whole->nodes[parent].body].node_count++;
	}
	for (int i = 0; i < whole->edge_count; i++) {
		int parent = whole->nodes[whole->edges[i].source].parent;
		parts[parent < 0 ? 0 : whole->nodes[parent].body].edge_count++;
	}
}

static bool make_parts(struct wl_flow_graph *parts, int count)
{
	for (int i = 0; i < count; i++) {
		parts[i].nodes = calloc((size_t)parts[i].node_count + 1, sizeof(*parts[i].nodes));
		parts[i].edges = calloc((size_t)parts[i].edge_count + 1, sizeof(*parts[i].edges));
		if (!parts[i].nodes || !parts[i].edges)
			return false;
	}
	return true;
}

/* Only now the parts own anything: what follows cannot fail. */
static void move_all(struct wl_flow_graph *whole, struct wl_flow_graph *parts, const int *index, int *edges_placed)
{
	for (int i = 0; i < whole->edge_count; i++) {
		const struct wl_flow_edge *edge = &whole->edges[i];
		int parent = whole->nodes[edge->source].parent;
		int part = parent < 0 ? 0 : whole->nodes[parent].body;
		struct wl_flow_edge *placed = &parts[part].edges[edges_placed[part]++];
		*placed = *edge;
		placed->source = index[edge->source];
		placed->target = index[edge->target];
	}
	for (int i = 0; i < whole->node_count; i++) {
		int parent = whole->nodes[i].parent;
		struct wl_flow_node *placed = &parts[parent < 0 ? 0 : whole->nodes[parent].body].nodes[index[i]];
		*placed = whole->nodes[i];
		placed->in_edges = placed->out_edges = NULL;
	}
	for (int i = 0; i < whole->node_count; i++) {
		free(whole->nodes[i].in_edges);
		free(whole->nodes[i].out_edges);
	}
	free(whole->nodes);
	free(whole->edges);
	*whole = (struct wl_flow_graph){ .start = -1 };
}

static void drop_empty_parts(struct wl_flow_graph *parts, int count)
{
	for (int i = 0; parts && i < count; i++) {
		free(parts[i].nodes);
		free(parts[i].edges);
	}
	free(parts);
}

int wl_flow_graph_split(struct wl_flow_graph *whole, struct wl_flow_graph **ret_parts, int *ret_count,
			struct wl_error *err)
{
	int count = 1;
	for (int i = 0; i < whole->node_count; i++)
		count += whole->nodes[i].kind == WL_KIND_LOOP;
	struct wl_flow_graph *parts = calloc((size_t)count, sizeof(*parts));
	_wl_free_ int *index = calloc((size_t)whole->node_count + 1, sizeof(*index));
	_wl_free_ int *edges_placed = calloc((size_t)count, sizeof(*edges_placed));
	if (parts && index)
		place_nodes(whole, parts, index);
	if (!parts || !index || !edges_placed || !make_parts(parts, count)) {
		drop_empty_parts(parts, count);
		return wl_fail(err, ENOMEM, "out of memory for a flow");
	}
	move_all(whole, parts, index, edges_placed);
	int result = 0;
	for (int i = 0; i < count && result == 0; i++)
		result = wl_flow_graph_index(&parts[i], err);
	for (int i = 0; i < count && result < 0; i++)
		wl_flow_graph_release(&parts[i]);
	if (result < 0) {
		free(parts);
		return result;
	}
	*ret_parts = parts;
	*ret_count = count;
	return 0;
}
