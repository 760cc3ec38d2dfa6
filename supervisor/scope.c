#include "supervisor/scope.h"

#include "lib/base/cleanup.h"
#include "supervisor/inner.h"
#include "supervisor/run.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/eventfd.h>

/* ---- begin and end of life --------------------------------------------------------------------------------- */

char *scope_path(const struct scope *scope, int node)
{
	char *path = NULL;
	return asprintf(&path, "%s%s", scope->prefix, scope_shape(scope, node)->id) < 0 ? NULL : path;
}

char *scope_wait_path(const struct scope *scope, int node)
{
	const char *question = scope->nodes[node].wait_name;
	char *path = NULL;
	return asprintf(&path, "%s%s%s%s", scope->prefix, scope_shape(scope, node)->id, question ? "!" : "",
			question ? question : "") < 0
		       ? NULL
		       : path;
}

bool scope_waits(const struct scope *scope, int node)
{
	enum wl_node_kind kind = scope_shape(scope, node)->kind;
	return kind == WL_KIND_WAIT || kind == WL_KIND_APPROVAL || scope->nodes[node].wait_name;
}

static void release_decision(struct node_decision *decision)
{
	free((char *)decision->name);
	free((char *)decision->by);
	free((char *)decision->comment);
	*decision = (struct node_decision){ 0 };
}

int scope_decide(struct scope *scope, int node, bool approved, const char *by, const char *comment)
{
	struct scope_node *at = &scope->nodes[node];
	release_decision(&at->decision);
	at->decision = (struct node_decision){ .name = wl_steal(at->wait_name),
					       .approved = approved,
					       .by = by ? strdup(by) : NULL,
					       .comment = comment ? strdup(comment) : NULL };
	return (by && !at->decision.by) || (comment && !at->decision.comment) ? -ENOMEM : 0;
}

static struct scope *make(struct run *run, struct scope *parent, int node, struct flow *flow,
			  const struct flow_part *part, char *prefix)
{
	struct scope *scope = calloc(1, sizeof(*scope));
	struct scope_node *nodes = calloc((size_t)part->graph.node_count + 1, sizeof(*nodes));
	if (!scope || !nodes || !prefix) {
		free(scope);
		free(nodes);
		free(prefix);
		return NULL;
	}
	*scope = (struct scope){ .run = run,
				 .parent = parent,
				 .parent_node = node,
				 .index = -1,
				 .depth = parent ? parent->depth : 0,
				 .prefix = prefix,
				 .flow = flow,
				 .part = part,
				 .nodes = nodes,
				 .due_ms = UINT64_MAX,
				 .next = run->scopes };
	scope->kept_last = &scope->kept_commits;
	atomic_fetch_add(&flow->users, 1);
	if (parent)
		memcpy(scope->flow_id, parent->flow_id, sizeof(scope->flow_id));
	if (run->scopes)
		run->scopes->previous = scope;
	run->scopes = scope;
	run->scope_count++;
	return scope;
}

void scope_close(struct scope *scope)
{
	struct run *run = scope->run;
	for (int i = 0; i < scope->part->graph.node_count; i++) {
		if (scope->nodes[i].last)
			node_job_free(scope->nodes[i].last);
		inner_free(scope->nodes[i].inner);
		free(scope->nodes[i].wait_name);
		release_decision(&scope->nodes[i].decision);
	}
	while (scope->kept_commits) {
		struct commit_item *item = container_of(scope->kept_commits, struct commit_item, message.mail);
		scope->kept_commits = scope->kept_commits->next;
		commit_item_free(item);
	}
	*(scope->previous ? &scope->previous->next : &run->scopes) = scope->next;
	if (scope->next)
		scope->next->previous = scope->previous;
	run->scope_count--;
	run->bytes -= scope->bytes;
	walk_release(&scope->walk);
	flow_release(scope->flow);
	context_drop(scope->context);
	context_drop(scope->closing);
	free(scope->prefix);
	free(scope->nodes);
	free(scope->error_json);
	free(scope);
}

/* Count what a scope is about to hold. */
static int account(struct scope *scope, size_t bytes, struct wl_error *err)
{
	if (scope->run->bytes + bytes > RUN_CONTEXT_MAX)
		return wl_fail(err, EMSGSIZE, "inputs and outputs of the run are more than %u bytes together",
			       RUN_CONTEXT_MAX);
	scope->run->bytes += bytes;
	scope->bytes += bytes;
	return 0;
}

static int begin_context(struct scope *scope, const char *inputs, struct wl_error *err)
{
	static const char nodes[] = ",\"nodes\":{";
	char head[256];
	size_t length = strlen(inputs);
	int head_length =
		snprintf(head, sizeof(head),
			 "{\"execution\":{\"id\":\"%s\",\"flow_id\":\"%s\",\"attempt\":%d},\"vars\":{},\"inputs\":",
			 scope->run->held->lease.eid, scope->flow_id, scope->run->attempt);
	if (account(scope, length, err) < 0 ||
	    context_add(&scope->context, head, (size_t)head_length, inputs, length, err) < 0)
		return -err->code;
	scope->given = scope->context->data + scope->context->value_at;
	scope->given_length = length;
	return context_add(&scope->context, nodes, strlen(nodes), "", 0, err);
}

int scope_open_root(struct run *run, struct flow *flow, const struct wl_start *start, struct scope **ret_scope,
		    struct wl_error *err)
{
	struct scope *scope = make(run, NULL, -1, flow, &flow->parts[0], strdup(""));
	if (!scope)
		return wl_fail(err, ENOMEM, "no memory for a run");
	memcpy(scope->flow_id, start->flow_id, sizeof(scope->flow_id));
	*ret_scope = scope;
	return begin_context(scope, start->inputs_json ? start->inputs_json : "{}", err);
}

static char *prefix_of(const struct scope *parent, int node, int index, struct wl_error *err)
{
	char *prefix = NULL;
	const char *id = scope_shape(parent, node)->id;
	int length = index < 0 ? asprintf(&prefix, "%s%s.", parent->prefix, id)
			       : asprintf(&prefix, "%s%s[%d].", parent->prefix, id, index);
	if (length >= 0 && length + WL_FLOW_MAX_ID <= WL_NODE_PATH_MAX)
		return prefix;
	if (length < 0)
		(void)wl_fail(err, ENOMEM, "no memory for what is inside of a node");
	else
		(void)wl_fail(err, ENAMETOOLONG,
			      "the ids of the loops and subflows around a node are more than %d bytes",
			      WL_NODE_PATH_MAX - WL_FLOW_MAX_ID);
	if (length >= 0)
		free(prefix);
	return NULL;
}

/* What closes the context inside of a loop; the item is its value, without the last bracket. */
static int make_closing(struct scope *scope, const struct inner_item *item, struct wl_error *err)
{
	char head[64];
	_wl_buffer_ struct wl_buffer text;
	wl_buffer_init(&text, 0);
	(void)wl_buffer_append(&text, item->text, item->length);
	(void)wl_buffer_append_char(&text, '}');
	if (text.failed)
		return wl_fail(err, ENOMEM, "no memory for an item of a loop");
	int head_length = snprintf(head, sizeof(head), "},\"index\":%d,\"item\":", scope->index);
	if (account(scope, item->length, err) < 0 ||
	    context_add(&scope->closing, head, (size_t)head_length, text.data, text.length, err) < 0)
		return -err->code;
	scope->given = scope->closing->data + scope->closing->value_at;
	scope->given_length = item->length;
	return 0;
}

int scope_open_item(struct scope *parent, int node, int index, struct scope **ret_scope, struct wl_error *err)
{
	const struct inner *inner = parent->nodes[node].inner;
	char *prefix = prefix_of(parent, node, index, err);
	if (!prefix)
		return -err->code;
	const struct flow_part *part = &parent->flow->parts[scope_shape(parent, node)->body];
	struct scope *scope = make(parent->run, parent, node, parent->flow, part, prefix);
	if (!scope)
		return wl_fail(err, ENOMEM, "no memory for an item of a loop");
	scope->index = index;
	scope->context = context_hold(inner->context);
	scope->live_nodes = inner->live_nodes;
	if (make_closing(scope, &inner->items[index], err) < 0) {
		scope_close(scope);
		return -err->code;
	}
	*ret_scope = scope;
	return 0;
}

int scope_open_subflow(struct scope *parent, int node, const char *inputs, struct scope **ret_scope,
		       struct wl_error *err)
{
	const struct inner *inner = parent->nodes[node].inner;
	char *prefix = prefix_of(parent, node, -1, err);
	if (!prefix)
		return -err->code;
	struct scope *scope = make(parent->run, parent, node, inner->flow, &inner->flow->parts[0], prefix);
	if (!scope)
		return wl_fail(err, ENOMEM, "no memory for a subflow");
	memcpy(scope->flow_id, parent->part->plans[node].flow_id, sizeof(scope->flow_id));
	scope->depth = parent->depth + 1;
	if (begin_context(scope, inputs, err) < 0) {
		scope_close(scope);
		return -err->code;
	}
	*ret_scope = scope;
	return 0;
}

/* ---- what earlier attempts stored --------------------------------------------------------------------------- */

/* The output that those behind a node see: of one that failed and was let pass, its error. */
static const char *visible_output(const struct wl_node_result *result)
{
	if (result->state == WL_NODE_SUCCEEDED)
		return result->outputs_json ? result->outputs_json : "null";
	return result->state == WL_NODE_FAILED ? result->error_json : NULL;
}

static int restore_node(struct scope *scope, int node, struct wl_node_result *result, struct wl_error *err)
{
	scope->nodes[node].start_ms = result->start_ms;
	if (!result->committed)
		return 0;
	const char *output = visible_output(result);
	if (output && scope_keep_output(scope, node, output, err) < 0)
		return -err->code;
	scope->nodes[node].end_ms = result->end_ms;
	if (result->state == WL_NODE_FAILED && scope_shape(scope, node)->on_error == WL_ON_ERROR_FAIL &&
	    !scope->error_json)
		scope->error_json = wl_steal(result->error_json);
	walk_restore(&scope->walk, node, result->state, result->handle);
	free(wl_steal(result->outputs_json)); /* the context has it */
	return 0;
}

int scope_restore(struct scope *scope, uint64_t deadline_ms, struct wl_error *err)
{
	if (walk_open(&scope->walk, &scope->part->graph, deadline_ms, err) < 0)
		return -err->code;
	scope->walk.check_due = scope->index < 0 && scope->flow->output_schema != NULL;
	for (int i = 0; i < scope->part->graph.node_count && scope->run->restored_count > 0; i++) {
		_wl_free_ char *path = scope_path(scope, i);
		if (!path)
			return wl_fail(err, ENOMEM, "no memory to resume a run");
		struct wl_node_result *result = run_restored(scope->run, path);
		if (result && restore_node(scope, i, result, err) < 0)
			return -err->code;
	}
	return 0;
}

int scope_keep_output(struct scope *scope, int node, const char *json, struct wl_error *err)
{
	_wl_buffer_ struct wl_buffer head;
	const char *id = scope_shape(scope, node)->id;
	size_t length = strlen(json);
	wl_buffer_init(&head, 0);
	if (scope->live_nodes > 0)
		(void)wl_buffer_append_char(&head, ',');
	(void)wl_buffer_append_json_string(&head, id, strlen(id));
	(void)wl_buffer_append_char(&head, ':');
	if (head.failed)
		return wl_fail(err, head.failed, "no memory for what a node gave");
	if (account(scope, length, err) < 0 ||
	    context_add(&scope->context, head.data, head.length, json, length, err) < 0)
		return -err->code;
	scope->live_nodes++;
	scope->nodes[node].output = scope->context->data + scope->context->value_at;
	scope->nodes[node].output_length = length;
	return 0;
}

/* ---- jobs ------------------------------------------------------------------------------------------------------ */

/* Where no edge leads to: what the scope was given. Others: what the live predecessors gave, in the edges' order. */
static int fill_parts(const struct scope *scope, struct node_job *job)
{
	const struct wl_flow_graph *graph = &scope->part->graph;
	const struct wl_flow_node *shape = &graph->nodes[job->node];
	job->parts = calloc((size_t)shape->in_count + 1, sizeof(*job->parts));
	if (!job->parts)
		return -ENOMEM;
	if (shape->in_count == 0)
		job->parts[job->part_count++] =
			(struct context_part){ .text = scope->given, .length = scope->given_length };
	for (int i = 0; i < shape->in_count; i++) {
		int source = graph->edges[shape->in_edges[i]].source;
		if (scope->walk.edges[shape->in_edges[i]] == WALK_EDGE_LIVE)
			job->parts[job->part_count++] =
				(struct context_part){ .id = graph->nodes[source].id,
						       .text = scope->nodes[source].output,
						       .length = scope->nodes[source].output_length };
	}
	job->shape = shape->kind == WL_KIND_JOIN ? CONTEXT_LIST : job->part_count > 1 ? CONTEXT_OBJECT : CONTEXT_VALUE;
	return 0;
}

static int fill_texts(const struct scope *scope, struct node_job *job, const struct node_plan *plan)
{
	if (plan->template_json && !plan->has_expressions)
		return 0;
	job->pieces = context_hold(scope->context);
	job->closing = scope->closing ? context_hold(scope->closing) : NULL;
	return plan->has_expressions ? 0 : fill_parts(scope, job);
}

/* What all jobs of a scope have. */
static struct node_job *new_job(struct scope *scope, int node)
{
	struct node_job *job = calloc(1, sizeof(*job));
	if (!job)
		return NULL;
	job->message.kind = MESSAGE_NODE;
	job->scope = scope;
	job->valid_until_ms = &scope->run->held->valid_until_ms;
	job->node = node;
	job->cancel_fd = -1;
	job->path = node >= 0 && *scope->prefix ? scope_path(scope, node) : NULL;
	job->call = (struct node_call){ .tenant = scope->run->held->lease.tenant,
					.eid = scope->run->held->lease.eid,
					.epoch = scope->run->held->lease.epoch,
					.node = node < 0 ? NULL : scope_shape(scope, node),
					.path = job->path,
					.plan = node < 0 ? NULL : &scope->part->plans[node],
					.cancel_fd = -1,
					.stop = &job->stop };
	if (node >= 0 && *scope->prefix && !job->path) {
		node_job_free(job);
		return NULL;
	}
	return job;
}

/* What nodes that ask models and people want to know. */
static void fill_asking(const struct scope *scope, int node, struct node_call *call)
{
	const struct run_options *options = scope->run->options;
	const struct scope_node *at = &scope->nodes[node];
	call->attempt = scope->walk.nodes[node].attempt;
	call->again = at->decision.name != NULL;
	call->decision = at->decision.name ? &at->decision : NULL;
	if (!options || !*options->replay_eid)
		return;
	call->replay = options->replay;
	call->replay_eid = options->replay_eid;
}

struct node_job *scope_make_job(struct scope *scope, int node, int64_t wall_ms)
{
	struct node_job *job = new_job(scope, node);
	if (!job)
		return NULL;
	bool acts = wl_node_kind_acts(scope_shape(scope, node)->kind);
	job->attempt = scope->walk.nodes[node].attempt;
	fill_asking(scope, node, &job->call);
	job->start_ms = wall_ms;
	job->cancel_fd = job->call.cancel_fd = acts ? eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK) : -1;
	if ((job->cancel_fd < 0 && acts) || fill_texts(scope, job, job->call.plan) < 0) {
		node_job_free(job);
		return NULL;
	}
	return job;
}

struct node_job *scope_make_pinned(struct scope *scope, int node, int64_t wall_ms)
{
	struct node_job *job = new_job(scope, node);
	if (!job)
		return NULL;
	const struct node_plan *plan = &scope->part->plans[node];
	job->attempt = scope->walk.nodes[node].attempt;
	job->start_ms = job->end_ms = wall_ms;
	job->outcome.handle = plan->pinned_handle ? strdup(plan->pinned_handle) : NULL;
	job->outcome.outputs_json = strdup(plan->pinned_json);
	job->outcome.receipt_json = strdup("{\"pinned\":true}");
	if (!job->outcome.outputs_json || !job->outcome.receipt_json || (plan->pinned_handle && !job->outcome.handle)) {
		node_job_free(job);
		return NULL;
	}
	return job;
}

struct node_job *scope_make_check(struct scope *scope)
{
	struct node_job *job = new_job(scope, -1);
	if (!job)
		return NULL;
	job->upstream = scope_outputs(scope);
	if (!job->upstream) {
		node_job_free(job);
		return NULL;
	}
	job->call.schema = scope->flow->output_schema;
	job->call.upstream = job->upstream;
	job->call.upstream_length = strlen(job->upstream);
	return job;
}

struct node_job *scope_make_input_check(struct scope *scope, int node, const char *schema, const char *inputs)
{
	struct node_job *job = new_job(scope, node);
	if (!job)
		return NULL;
	job->call.schema = schema;
	job->call.upstream = inputs;
	job->call.upstream_length = strlen(inputs);
	return job;
}

/* ---- results --------------------------------------------------------------------------------------------------- */

static void begin_result(struct scope *scope, int node, int64_t wall_ms, struct wl_node_result *result)
{
	const struct scope_node *at = &scope->nodes[node];
	*result = (struct wl_node_result){
		.tenant = scope->run->held->lease.tenant,
		.epoch = scope->run->held->lease.epoch,
		.state = scope->walk.nodes[node].state,
		.attempt = scope->walk.nodes[node].attempt,
		.node_id = scope_path(scope, node),
		.start_ms = at->start_ms ? at->start_ms : wall_ms,
		.end_ms = at->end_ms ? at->end_ms : wall_ms,
	};
	memcpy(result->eid, scope->run->held->lease.eid, sizeof(result->eid));
}

void scope_fill_result(struct scope *scope, int node, int64_t wall_ms, struct wl_node_result *result)
{
	struct node_job *last = wl_steal(scope->nodes[node].last);
	begin_result(scope, node, wall_ms, result);
	result->committed = true;
	if (!last)
		return;
	result->handle = wl_steal(last->outcome.handle);
	result->inputs_json = wl_steal(last->outcome.inputs_json);
	result->outputs_json = wl_steal(last->outcome.outputs_json);
	result->error_json = wl_steal(last->outcome.error_json);
	result->receipt_json = wl_steal(last->outcome.receipt_json);
	result->trace_json = wl_steal(last->outcome.trace_json);
	result->logs_json = log_tail_text(&last->logs);
	if (result->state == WL_NODE_FAILED && scope_shape(scope, node)->on_error == WL_ON_ERROR_BRANCH &&
	    !result->handle)
		result->handle = strdup("error");
	node_job_free(last);
}

void scope_fill_mark(struct scope *scope, int node, int64_t wall_ms, struct wl_node_result *result)
{
	begin_result(scope, node, wall_ms, result);
	result->end_ms = 0;
	result->state = scope_waits(scope, node) ? WL_NODE_WAITING : WL_NODE_PENDING;
}

/* True for the nodes whose outputs are the scope's: those of kind output, or the last ones inside of a loop. */
static bool gives_output(const struct scope *scope, int node)
{
	const struct wl_flow_node *shape = scope_shape(scope, node);
	if (scope->index < 0)
		return shape->kind == WL_KIND_OUTPUT;
	return shape->out_count == 0 && wl_node_kind_runs(shape->kind);
}

char *scope_outputs(const struct scope *scope)
{
	const struct wl_flow_graph *graph = &scope->part->graph;
	_wl_free_ struct context_part *parts = calloc((size_t)graph->node_count + 1, sizeof(*parts));
	size_t length = 0;
	int count = 0, givers = 0, only = scope->walk.only;
	if (!parts)
		return NULL;
	for (int i = 0; i < graph->node_count; i++) {
		if (only >= 0 ? i != only : !gives_output(scope, i))
			continue;
		givers++;
		/* inside of a loop what a node gave that has failed and was let pass is its error */
		bool gave = scope->index < 0 && only < 0 ? scope->walk.nodes[i].state == WL_NODE_SUCCEEDED
							 : scope->nodes[i].output != NULL;
		if (gave)
			parts[count++] = (struct context_part){ .id = graph->nodes[i].id,
								.text = scope->nodes[i].output,
								.length = scope->nodes[i].output_length };
	}
	return context_parts_text(parts, count, givers > 1 ? CONTEXT_OBJECT : CONTEXT_VALUE, &length);
}
