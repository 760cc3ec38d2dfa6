#include "supervisor/run.h"

#include "lib/base/cleanup.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/eventfd.h>

static int begin_context(struct run *run, const struct wl_start *start, struct wl_error *err)
{
	static const char nodes[] = ",\"nodes\":{";
	char head[256];
	const char *inputs = start->inputs_json ? start->inputs_json : "{}";
	int length = snprintf(
		head, sizeof(head),
		"{\"execution\":{\"id\":\"%s\",\"flow_id\":\"%s\",\"attempt\":%d},\"vars\":{},\"inputs\":", start->eid,
		start->flow_id, start->deliveries + 1);
	if (context_add(&run->context, head, (size_t)length, inputs, strlen(inputs), err) < 0)
		return -err->code;
	run->inputs = run->context->data + run->context->value_at;
	run->inputs_length = strlen(inputs);
	return context_add(&run->context, nodes, strlen(nodes), "", 0, err);
}

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
	run->kept_last = &run->kept_commits;
	run->held = held;
	run->deadline_ms = asked_ms + (start->deadline_left_ms > 0 ? (uint64_t)start->deadline_left_ms : 0);
	run->nodes = calloc((size_t)flow->graph.node_count + 1, sizeof(*run->nodes));
	if (!run->nodes) {
		(void)wl_fail(err, ENOMEM, "no memory for a run");
		run_free(run);
		return NULL;
	}
	if (begin_context(run, start, err) < 0) {
		run_free(run);
		return NULL;
	}
	run->flow = flow;
	atomic_fetch_add(&flow->users, 1);
	return run;
}

void run_free(struct run *run)
{
	for (int i = 0; run->flow && i < run->flow->graph.node_count; i++)
		if (run->nodes[i].last)
			node_job_free(run->nodes[i].last);
	for (int i = 0; i < run->restored_count; i++)
		wl_node_result_release(&run->restored[i]);
	while (run->kept_commits) {
		struct commit_item *item = container_of(run->kept_commits, struct commit_item, message.mail);
		run->kept_commits = run->kept_commits->next;
		commit_item_free(item);
	}
	free(run->restored);
	walk_release(&run->walk);
	flow_release(run->flow);
	free(run->nodes);
	free(run->error_json);
	context_drop(run->context);
	free(run);
}

/* The output that those behind a node see: of one that failed and was let pass, its error. */
static const char *visible_output(const struct wl_node_result *result)
{
	if (result->state == WL_NODE_SUCCEEDED)
		return result->outputs_json ? result->outputs_json : "null";
	return result->state == WL_NODE_FAILED ? result->error_json : NULL;
}

static int restore(struct run *run, struct wl_error *err)
{
	const struct wl_flow_graph *graph = &run->flow->graph;
	for (int i = 0; i < run->restored_count; i++) {
		struct wl_node_result *result = &run->restored[i];
		int node = wl_flow_graph_find(graph, result->node_id);
		if (!result->committed || node < 0)
			continue;
		const char *output = visible_output(result);
		if (output && run_keep_output(run, node, output, err) < 0)
			return -err->code;
		run->nodes[node].start_ms = result->start_ms;
		run->nodes[node].end_ms = result->end_ms;
		if (result->state == WL_NODE_FAILED && graph->nodes[node].on_error == WL_ON_ERROR_FAIL &&
		    !run->error_json)
			run->error_json = wl_steal(result->error_json);
		walk_restore(&run->walk, node, result->state, result->handle);
	}
	return 0;
}

int run_begin(struct run *run, struct wl_error *err)
{
	if (walk_open(&run->walk, &run->flow->graph, run->deadline_ms, err) < 0)
		return -err->code;
	run->walk.check_due = run->flow->output_schema != NULL;
	return restore(run, err);
}

int run_keep_output(struct run *run, int node, const char *json, struct wl_error *err)
{
	_wl_buffer_ struct wl_buffer head;
	const char *id = run->flow->graph.nodes[node].id;
	wl_buffer_init(&head, 0);
	if (run->live_nodes > 0)
		(void)wl_buffer_append_char(&head, ',');
	(void)wl_buffer_append_json_string(&head, id, strlen(id));
	(void)wl_buffer_append_char(&head, ':');
	if (head.failed)
		return wl_fail(err, head.failed, "no memory for what a node gave");
	if (context_add(&run->context, head.data, head.length, json, strlen(json), err) < 0)
		return -err->code;
	run->live_nodes++;
	run->nodes[node].output = run->context->data + run->context->value_at;
	run->nodes[node].output_length = strlen(json);
	return 0;
}

/* start: the run's inputs. Others: what the live predecessors gave, in the order of the edges. */
static int fill_parts(const struct run *run, struct node_job *job)
{
	const struct wl_flow_graph *graph = &run->flow->graph;
	const struct wl_flow_node *shape = &graph->nodes[job->node];
	job->parts = calloc((size_t)shape->in_count + 1, sizeof(*job->parts));
	if (!job->parts)
		return -ENOMEM;
	if (shape->kind == WL_KIND_START)
		job->parts[job->part_count++] =
			(struct context_part){ .text = run->inputs, .length = run->inputs_length };
	for (int i = 0; i < shape->in_count; i++) {
		int source = graph->edges[shape->in_edges[i]].source;
		if (run->walk.edges[shape->in_edges[i]] == WALK_EDGE_LIVE)
			job->parts[job->part_count++] =
				(struct context_part){ .id = graph->nodes[source].id,
						       .text = run->nodes[source].output,
						       .length = run->nodes[source].output_length };
	}
	job->shape = shape->kind == WL_KIND_JOIN ? CONTEXT_LIST : job->part_count > 1 ? CONTEXT_OBJECT : CONTEXT_VALUE;
	return 0;
}

static int fill_texts(const struct run *run, struct node_job *job, const struct node_plan *plan)
{
	if (plan->template_json && !plan->has_expressions)
		return 0;
	job->pieces = context_hold(run->context);
	return plan->has_expressions ? 0 : fill_parts(run, job);
}

struct node_job *run_make_job(struct run *run, int node, int64_t wall_ms)
{
	struct node_job *job = calloc(1, sizeof(*job));
	if (!job)
		return NULL;
	const struct wl_flow_node *shape = &run->flow->graph.nodes[node];
	job->message.kind = MESSAGE_NODE;
	job->run = run;
	job->node = node;
	job->attempt = run->walk.nodes[node].attempt;
	job->start_ms = wall_ms;
	job->cancel_fd = wl_node_kind_pure(shape->kind) ? -1 : eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	job->call = (struct node_call){ .tenant = run->held->lease.tenant,
					.eid = run->held->lease.eid,
					.node = shape,
					.plan = &run->flow->plans[node],
					.cancel_fd = job->cancel_fd,
					.stop = &job->stop };
	if ((job->cancel_fd < 0 && !wl_node_kind_pure(shape->kind)) || fill_texts(run, job, job->call.plan) < 0) {
		node_job_free(job);
		return NULL;
	}
	return job;
}

struct node_job *run_make_check(struct run *run)
{
	struct node_job *job = calloc(1, sizeof(*job));
	if (!job)
		return NULL;
	job->message.kind = MESSAGE_NODE;
	job->run = run;
	job->node = -1;
	job->cancel_fd = -1;
	job->upstream = run_outputs(run);
	if (!job->upstream) {
		node_job_free(job);
		return NULL;
	}
	job->call = (struct node_call){ .tenant = run->held->lease.tenant,
					.eid = run->held->lease.eid,
					.schema = run->flow->output_schema,
					.upstream = job->upstream,
					.upstream_length = strlen(job->upstream),
					.cancel_fd = -1,
					.stop = &job->stop };
	return job;
}

void run_fill_result(struct run *run, int node, int64_t wall_ms, struct wl_node_result *result)
{
	struct run_node *at = &run->nodes[node];
	struct node_job *last = wl_steal(at->last);
	*result = (struct wl_node_result){
		.tenant = run->held->lease.tenant,
		.epoch = run->held->lease.epoch,
		.committed = true,
		.state = run->walk.nodes[node].state,
		.attempt = run->walk.nodes[node].attempt,
		.node_id = strdup(run->flow->graph.nodes[node].id),
		.start_ms = at->start_ms ? at->start_ms : wall_ms,
		.end_ms = at->end_ms ? at->end_ms : wall_ms,
	};
	memcpy(result->eid, run->held->lease.eid, sizeof(result->eid));
	if (!last)
		return;
	result->handle = wl_steal(last->outcome.handle);
	result->inputs_json = wl_steal(last->outcome.inputs_json);
	result->outputs_json = wl_steal(last->outcome.outputs_json);
	result->error_json = wl_steal(last->outcome.error_json);
	result->receipt_json = wl_steal(last->outcome.receipt_json);
	result->logs_json = log_tail_text(&last->logs);
	if (result->state == WL_NODE_FAILED && run->flow->graph.nodes[node].on_error == WL_ON_ERROR_BRANCH &&
	    !result->handle)
		result->handle = strdup("error");
	node_job_free(last);
}

char *run_outputs(const struct run *run)
{
	const struct wl_flow_graph *graph = &run->flow->graph;
	_wl_free_ struct context_part *parts = calloc((size_t)graph->node_count + 1, sizeof(*parts));
	size_t length = 0;
	int count = 0;
	if (!parts)
		return NULL;
	for (int i = 0; i < graph->node_count; i++)
		if (graph->nodes[i].kind == WL_KIND_OUTPUT && run->walk.nodes[i].state == WL_NODE_SUCCEEDED)
			parts[count++] = (struct context_part){ .id = graph->nodes[i].id,
								.text = run->nodes[i].output,
								.length = run->nodes[i].output_length };
	return context_parts_text(parts, count, run->flow->output_count > 1 ? CONTEXT_OBJECT : CONTEXT_VALUE, &length);
}
