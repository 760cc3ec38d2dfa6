/* Loops and subflows that are open: beginning their scopes, and what becomes of the node when those have ended. */
#include "lib/base/cleanup.h"
#include "supervisor/inner.h"
#include "supervisor/run_turn.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const char *code_of(int error)
{
	return error == EMSGSIZE ? "output_cap" : error == ENAMETOOLONG ? "path_too_long" : "internal";
}

static void note_failure(struct scope *scope, int node, struct inner *inner, const char *code, const char *sentence)
{
	_wl_free_ char *path = scope_path(scope, node);
	inner->ending = inner->failed = true;
	if (!inner->error_json)
		inner->error_json = node_error_text(code, sentence, path, NULL);
}

static struct scope *first_inside(const struct scope *scope, int node)
{
	struct scope *child = scope->run->scopes;
	while (child && (child->parent != scope || child->parent_node != node))
		child = child->next;
	return child;
}

static struct scope *next_inside(const struct scope *child)
{
	struct scope *at = child->next;
	while (at && (at->parent != child->parent || at->parent_node != child->parent_node))
		at = at->next;
	return at;
}

/* End the scopes that are still open; those cut off are recorded only when the reason is stored. */
static void stop_others(struct scope *scope, int node, bool record)
{
	for (struct scope *child = first_inside(scope, node); child; child = next_inside(child)) {
		walk_stop(&child->walk, record);
		run_touch(scope->run, child);
	}
}

/* ---- the end ----------------------------------------------------------------------------------------------------- */

/* All scopes have ended, and no other is to begin. */
static void close_inner(struct run_loop *loop, struct scope *scope, int node, struct moment now)
{
	struct inner *inner = wl_steal(scope->nodes[node].inner);
	char *outputs = inner->ending ? NULL : inner_output(inner);
	scope->run->bytes -= inner->output_bytes;
	if (outputs || inner->failed) {
		attempt_inside_over(loop, scope, node, outputs, wl_steal(inner->error_json), now);
	} else if (inner->ending) {
		/* its end was asked for: the walk around it is at that already, or has to learn it */
		if (inner->cancelled && !inner->stopped && !inner->given_back)
			walk_cancel(&scope->walk);
		attempt_stopped(loop, scope, node, now);
	} else {
		_wl_free_ char *path = scope_path(scope, node);
		attempt_inside_over(loop, scope, node, NULL,
				    node_error_text("internal", "no memory for the node's output", path, NULL), now);
	}
	inner_free(inner);
}

void inside_stop(struct scope *scope, int node)
{
	struct inner *inner = scope->nodes[node].inner;
	int cause = scope->walk.cause;
	inner->stopped = inner->ending = true;
	for (struct scope *child = first_inside(scope, node); child; child = next_inside(child)) {
		if (scope->walk.mode == WALK_DROPPING)
			walk_drop(&child->walk);
		else if (scope->walk.mode == WALK_RELEASING)
			walk_interrupt(&child->walk);
		else
			walk_stop(&child->walk, !scope->walk.quiet && (cause < 0 || scope->walk.nodes[cause].stored));
		run_touch(scope->run, child);
	}
}

/* ---- begin ------------------------------------------------------------------------------------------------------- */

static void begin_child(struct run_loop *loop, struct scope *scope, int node, int index, struct moment now)
{
	struct inner *inner = scope->nodes[node].inner;
	struct scope *child = NULL;
	struct wl_error err = { 0 };
	int result = inner->flow ? scope_open_subflow(scope, node, inner->list, &child, &err)
				 : scope_open_item(scope, node, index, &child, &err);
	if (result == 0 && scope_restore(child, UINT64_MAX, &err) < 0) {
		scope_close(child);
		result = -err.code;
	}
	if (result < 0) {
		note_failure(scope, node, inner, code_of(err.code), err.text);
		stop_others(scope, node, false);
		return;
	}
	inner->open++;
	walk_hold(&child->walk, scope->walk.held);
	if (loop->draining)
		walk_drain(&child->walk);
	walk_begin(&child->walk, now.boot_ms);
	run_touch(scope->run, child);
}

/* Begin as many as may be under way; close it when none is and none is to come. */
static void fill(struct run_loop *loop, struct scope *scope, int node, struct moment now)
{
	struct inner *inner = scope->nodes[node].inner;
	while (!inner->ending && inner->open < inner->parallel) {
		int index = -1;
		if (inner->open == 0 || scope->run->scope_count < RUN_SCOPES_MAX)
			index = inner_begin_next(inner);
		if (index < 0)
			break;
		if (scope->walk.draining) {
			inner->given_back = inner->ending = true;
			break;
		}
		begin_child(loop, scope, node, index, now);
	}
	if (inner->open == 0)
		close_inner(loop, scope, node, now);
}

/* Whether a stored result, "each[3].x" less its prefix "each[", is of a node whose failure ends the loop. */
static bool ends_the_loop(const struct flow_part *body, const struct wl_node_result *result, size_t prefix_length)
{
	const char *id = strstr(result->node_id + prefix_length, "].");
	int node = result->committed && result->state == WL_NODE_FAILED && id
			   ? wl_flow_graph_find(&body->graph, id + 2)
			   : -1; /* what lies deeper is no node of this body: its loop there has failed as well */
	return node >= 0 && body->graph.nodes[node].on_error == WL_ON_ERROR_FAIL;
}

/*
 * An earlier attempt may have stored that a node inside of one item failed, and then that others were cut off. The item
 * with the cause comes first, so that it is found before what it caused.
 */
static void begin_failed_first(struct run_loop *loop, struct scope *scope, int node, struct moment now)
{
	struct inner *inner = scope->nodes[node].inner;
	const struct run *run = scope->run;
	const struct flow_part *body = &scope->flow->parts[scope_shape(scope, node)->body];
	_wl_free_ char *prefix = NULL;
	int length = asprintf(&prefix, "%s%s[", scope->prefix, scope_shape(scope, node)->id);
	for (int i = length < 0 ? run->restored_count : run_restored_from(run, prefix);
	     i < run->restored_count && strncmp(run->restored[i].node_id, prefix, (size_t)length) == 0; i++) {
		int index = atoi(run->restored[i].node_id + length);
		bool failed = ends_the_loop(body, &run->restored[i], (size_t)length);
		if (failed && !inner->ending && inner_begin(inner, index))
			begin_child(loop, scope, node, index, now);
	}
}

static void keep_inputs(struct node_job *job)
{
	node_keep_inputs(&job->outcome, job->outcome.outputs_json, strlen(job->outcome.outputs_json));
}

bool inside_open_loop(struct run_loop *loop, struct scope *scope, int node, struct moment now)
{
	struct scope_node *at = &scope->nodes[node];
	const struct node_plan *plan = &scope->part->plans[node];
	struct wl_error err = { 0 };
	keep_inputs(at->last);
	int result = inner_of_list(wl_steal(at->last->outcome.outputs_json), plan->max_items, plan->parallel,
				   &at->inner, &err);
	if (result < 0) {
		at->last->end_ms = now.wall_ms;
		node_fail(&at->last->outcome, &at->last->call, NODE_FAILED_FOR_GOOD,
			  result == -EINVAL ? "loop_items" : "internal", NULL, "%s", err.text);
		return false;
	}
	at->inner->context = context_hold(scope->context);
	at->inner->live_nodes = scope->live_nodes;
	walk_node_opened(&scope->walk, node);
	begin_failed_first(loop, scope, node, now);
	fill(loop, scope, node, now);
	return true;
}

bool inside_open_subflow(struct run_loop *loop, struct scope *scope, int node, struct flow *flow, struct moment now)
{
	struct scope_node *at = &scope->nodes[node];
	keep_inputs(at->last);
	at->inner = inner_of_flow(flow);
	if (!at->inner) {
		at->last->end_ms = now.wall_ms;
		node_fail(&at->last->outcome, &at->last->call, NODE_FAILED_FOR_GOOD, "internal", NULL,
			  "no memory for a subflow");
		return false;
	}
	at->inner->list = wl_steal(at->last->outcome.outputs_json);
	walk_node_opened(&scope->walk, node);
	fill(loop, scope, node, now);
	return true;
}

/* ---- one scope has ended ------------------------------------------------------------------------------------------
 */

static void take_output(struct scope *child, struct inner *inner)
{
	struct scope *scope = child->parent;
	struct wl_error err = { 0 };
	size_t before = inner->output_bytes;
	int result = inner_take_output(inner, child->index < 0 ? 0 : child->index, scope_outputs(child), &err);
	scope->run->bytes += inner->output_bytes - before;
	if (result == 0 && scope->run->bytes > RUN_CONTEXT_MAX)
		result = wl_fail(&err, EMSGSIZE, "inputs and outputs of the run are more than %u bytes together",
				 RUN_CONTEXT_MAX);
	if (result == 0)
		return;
	note_failure(scope, child->parent_node, inner, code_of(err.code), err.text);
	stop_others(scope, child->parent_node, false);
}

static void take_failure(struct scope *child, struct inner *inner)
{
	inner->ending = inner->failed = true;
	if (!inner->error_json)
		inner->error_json = child->error_json ? wl_steal(child->error_json)
						      : node_error_text("internal", "it could not go on", NULL, NULL);
	/* its failed node is stored, or the walk would not have ended */
	stop_others(child->parent, child->parent_node, true);
}

void inside_scope_over(struct run_loop *loop, struct scope *child, struct moment now)
{
	struct scope *scope = child->parent;
	int node = child->parent_node;
	struct inner *inner = scope->nodes[node].inner;
	struct walk_action end = child->end;
	if (end.kind != WALK_FINISH) {
		inner->given_back = inner->ending = true;
	} else if (end.run_state == WL_RUN_SUCCEEDED) {
		take_output(child, inner);
	} else if (end.run_state == WL_RUN_FAILED) {
		take_failure(child, inner);
	} else if (!inner->ending) {
		inner->cancelled = inner->ending = true;
		stop_others(scope, node, true);
	}
	run_untouch(scope->run, child);
	scope_close(child);
	inner->open--;
	fill(loop, scope, node, now);
	run_touch(scope->run, scope);
}
