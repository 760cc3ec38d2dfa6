#include "supervisor/run.h"

#include "lib/base/cleanup.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

struct run *run_new(struct held_lease *held, const struct wl_start *start, uint64_t asked_ms, struct flow *flow,
		    struct wl_error *err)
{
	struct run *run = calloc(1, sizeof(*run));
	if (!run) {
		(void)wl_fail(err, ENOMEM, "no memory for a run");
		return NULL;
	}
	run->message.kind = MESSAGE_RUN;
	run->timer.due_ms = UINT64_MAX;
	run->busy_last = &run->busy;
	run->held = held;
	run->attempt = start->deliveries + 1;
	run->deadline_ms = asked_ms + (start->deadline_left_ms > 0 ? (uint64_t)start->deadline_left_ms : 0);
	int result = scope_open_root(run, flow, start, &run->root, err);
	if (result == 0 && start->options_json)
		result = run_options_read(start->options_json, &flow->parts[0].graph, &run->options, err);
	if (result < 0) {
		run_free(run);
		return NULL;
	}
	return run;
}

void run_free(struct run *run)
{
	while (run->scopes)
		scope_close(run->scopes);
	for (int i = 0; i < run->restored_count; i++)
		wl_node_result_release(&run->restored[i]);
	free(run->restored);
	run_options_free(run->options);
	free(run);
}

/* ---- what earlier attempts stored ----------------------------------------------------------------------------- */

static int compare_ids(const void *left, const void *right)
{
	const struct wl_node_result *a = left, *b = right;
	return strcmp(a->node_id, b->node_id);
}

struct wl_node_result *run_restored(const struct run *run, const char *path)
{
	struct wl_node_result key = { .node_id = (char *)path };
	if (run->restored_count == 0)
		return NULL;
	return bsearch(&key, run->restored, (size_t)run->restored_count, sizeof(*run->restored), compare_ids);
}

int run_restored_from(const struct run *run, const char *prefix)
{
	int low = 0, high = run->restored_count;
	while (low < high) {
		int middle = (low + high) / 2;
		if (strcmp(run->restored[middle].node_id, prefix) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static size_t text_bytes(const char *text)
{
	return text ? strlen(text) : 0;
}

bool run_count_stored(struct run *run, const struct wl_node_result *result)
{
	if (strchr(result->node_id, '.'))
		run->stored += text_bytes(result->inputs_json) + text_bytes(result->outputs_json) +
			       text_bytes(result->error_json) + text_bytes(result->logs_json) + RUN_STORED_EACH;
	return run->stored <= RUN_STORED_MAX;
}

/* Sort it, and let go of what going on needs no more. */
static void take_restored(struct run *run)
{
	qsort(run->restored, (size_t)run->restored_count, sizeof(*run->restored), compare_ids);
	for (int i = 0; i < run->restored_count; i++) {
		struct wl_node_result *result = &run->restored[i];
		(void)run_count_stored(run, result);
		free(wl_steal(result->inputs_json));
		free(wl_steal(result->receipt_json));
		free(wl_steal(result->logs_json));
		free(wl_steal(result->trace_json));
	}
}

/* ---- a run of one node ------------------------------------------------------------------------------------------- */

/* The predecessors of the one node must have given something, or have been skipped. */
static int check_upstream(const struct scope *root, int node, struct wl_error *err)
{
	const struct wl_flow_graph *graph = &root->part->graph;
	const struct wl_flow_node *shape = &graph->nodes[node];
	char names[160] = "";
	for (int i = 0; i < shape->in_count; i++) {
		int source = graph->edges[shape->in_edges[i]].source;
		size_t used = strlen(names);
		if (!wl_node_state_final(root->walk.nodes[source].state) && used < sizeof(names) - 1)
			(void)snprintf(names + used, sizeof(names) - used, "%s%.60s", used ? ", " : "",
				       graph->nodes[source].id);
	}
	if (!*names)
		return 0;
	return wl_fail(err, ENOENT, "'%.60s' cannot run alone: there is no output of %s", shape->id, names);
}

/* Beside what was taken over, the start's output is known, and of the nodes before it those that have a pinned one. */
static int give_known(struct scope *root, int node, struct wl_error *err)
{
	const struct wl_flow_graph *graph = &root->part->graph;
	_wl_free_ unsigned char *upstream = calloc((size_t)graph->node_count + 1, 1);
	if (!upstream || !wl_flow_graph_upstream(graph, node, upstream))
		return wl_fail(err, ENOMEM, "no memory for a run of one node");
	for (int i = 0; i < graph->node_count; i++) {
		const struct node_plan *plan = &root->part->plans[i];
		bool start = graph->nodes[i].kind == WL_KIND_START;
		if (!upstream[i] || wl_node_state_final(root->walk.nodes[i].state) || (!start && !plan->pinned_json))
			continue;
		_wl_free_ char *inputs = start ? strndup(root->given, root->given_length) : NULL;
		const char *output = start ? inputs : plan->pinned_json;
		if (!output)
			return wl_fail(err, ENOMEM, "no memory for a run of one node");
		if (scope_keep_output(root, i, output, err) < 0)
			return -err->code;
		walk_restore(&root->walk, i, WL_NODE_SUCCEEDED, plan->pinned_handle);
	}
	return 0;
}

int run_begin(struct run *run, struct wl_error *err)
{
	if (run->restored_count > 0)
		take_restored(run);
	if (scope_restore(run->root, run->deadline_ms, err) < 0)
		return -err->code;
	int only = run->options ? run->options->only : -1;
	if (only < 0)
		return 0;
	run->root->walk.check_due = false;
	if (give_known(run->root, only, err) < 0 || check_upstream(run->root, only, err) < 0)
		return -err->code;
	walk_confine(&run->root->walk, only);
	return 0;
}

/* ---- turns ---------------------------------------------------------------------------------------------------------
 */

void run_touch(struct run *run, struct scope *scope)
{
	if (scope->busy)
		return;
	scope->busy = true;
	scope->next_busy = NULL;
	*run->busy_last = scope;
	run->busy_last = &scope->next_busy;
}

struct scope *run_next_busy(struct run *run)
{
	struct scope *scope = run->busy;
	if (!scope)
		return NULL;
	run->busy = scope->next_busy;
	if (!run->busy)
		run->busy_last = &run->busy;
	scope->busy = false;
	return scope;
}

void run_untouch(struct run *run, struct scope *scope)
{
	struct scope **slot = &run->busy;
	while (*slot && *slot != scope)
		slot = &(*slot)->next_busy;
	if (!*slot)
		return;
	*slot = scope->next_busy;
	if (!*slot)
		run->busy_last = slot;
	scope->busy = false;
}

char *run_waits(const struct run *run)
{
	_wl_buffer_ struct wl_buffer text;
	wl_buffer_init(&text, 0);
	(void)wl_buffer_append_char(&text, '[');
	for (const struct scope *scope = run->scopes; scope; scope = scope->next)
		for (int i = 0; i < scope->part->graph.node_count; i++) {
			if (scope->walk.nodes[i].state != WL_NODE_WAITING)
				continue;
			_wl_free_ char *path = scope_wait_path(scope, i);
			if (!path)
				return NULL;
			if (text.length > 1)
				(void)wl_buffer_append_char(&text, ',');
			(void)wl_buffer_append_json_string(&text, path, strlen(path));
		}
	(void)wl_buffer_append_char(&text, ']');
	return text.failed ? NULL : wl_buffer_steal(&text);
}

bool run_rests(const struct run *run, uint64_t until_ms)
{
	if (!run->waited)
		return false;
	for (const struct scope *scope = run->scopes; scope; scope = scope->next) {
		if (!walk_rests(&scope->walk))
			return false;
		for (int i = 0; i < scope->part->graph.node_count; i++)
			if (scope->walk.nodes[i].state == WL_NODE_WAITING && scope->nodes[i].wait_until_ms < until_ms)
				return false;
	}
	return true;
}
