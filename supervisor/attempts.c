/*
 * The attempts of nodes, from the walk's wish to their end. An attempt goes through several hands, one after the other;
 * the loop never waits for any of them:
 *   any node            [a mark that keeps older attempts out] → its job on a thread (or here, when it needs none) →
 * end loop                its job gives the items → scopes (insides.c) → end subflow             its job gives the
 * inputs → the ledger's document → [a check of the inputs] → a scope → end wait, approval      its job gives what is
 * waited for → the ledger records it → a mark → waiting → looks → end
 */
#include "lib/base/cleanup.h"
#include "lib/base/log.h"
#include "lib/codec/json.h"
#include "supervisor/inner.h"
#include "supervisor/run_turn.h"
#include "supervisor/wait_terms.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

/* xorshift64* (Vigna 2016): jitter needs no better */
static uint32_t next_random(struct run_loop *loop)
{
	loop->random ^= loop->random >> 12;
	loop->random ^= loop->random << 25;
	loop->random ^= loop->random >> 27;
	return (uint32_t)((loop->random * 2685821657736338717ULL) >> 32);
}

static enum walk_result walk_result_of(enum node_result result)
{
	static const enum walk_result of[] = { [NODE_OK] = WALK_SUCCEEDED,
					       [NODE_FAILED] = WALK_ERROR,
					       [NODE_FAILED_FOR_GOOD] = WALK_ERROR_FOR_GOOD,
					       [NODE_STOPPED] = WALK_STOPPED,
					       [NODE_WAITS] = WALK_STOPPED };
	return of[result];
}

/* ---- the end of an attempt ------------------------------------------------------------------------------------- */

static void keep_output(struct scope *scope, int node, struct node_job *job)
{
	struct wl_error err = { 0 };
	if (scope_keep_output(scope, node, job->outcome.outputs_json, &err) == 0)
		return;
	free(wl_steal(job->outcome.outputs_json));
	node_fail(&job->outcome, &job->call, NODE_FAILED_FOR_GOOD, "output_cap", NULL, "%s", err.text);
}

/* The attempt has ended as its last job's outcome says: keep what it gave, and tell the walk. */
static void conclude(struct run_loop *loop, struct scope *scope, int node, struct moment now)
{
	struct scope_node *at = &scope->nodes[node];
	struct node_job *job = at->last;
	const struct wl_flow_node *shape = scope_shape(scope, node);
	struct wl_error err;
	at->end_ms = job->end_ms;
	at->stopping = false;
	if (job->outcome.result == NODE_OK)
		keep_output(scope, node, job);
	struct walk_outcome outcome = { walk_result_of(job->outcome.result), job->outcome.handle };
	walk_node_ended(&scope->walk, node, &outcome, now.boot_ms, next_random(loop));
	run_touch(scope->run, scope);
	if (scope->walk.nodes[node].state != WL_NODE_FAILED || !job->outcome.error_json)
		return;
	if (shape->on_error != WL_ON_ERROR_FAIL)
		(void)scope_keep_output(scope, node, job->outcome.error_json, &err);
	else if (!scope->error_json)
		scope->error_json = strdup(job->outcome.error_json);
}

static void conclude_with(struct run_loop *loop, struct scope *scope, int node, char *outputs, struct moment now)
{
	struct node_job *job = scope->nodes[node].last;
	job->end_ms = now.wall_ms;
	node_give(&job->outcome, &job->call, outputs);
	conclude(loop, scope, node, now);
}

static void conclude_failed(struct run_loop *loop, struct scope *scope, int node, const char *code,
			    const char *sentence, struct moment now)
{
	struct node_job *job = scope->nodes[node].last;
	job->end_ms = now.wall_ms;
	free(wl_steal(job->outcome.outputs_json));
	node_fail(&job->outcome, &job->call, NODE_FAILED_FOR_GOOD, code, NULL, "%s", sentence);
	conclude(loop, scope, node, now);
}

void attempt_stopped(struct run_loop *loop, struct scope *scope, int node, struct moment now)
{
	struct node_job *job = scope->nodes[node].last;
	struct walk_outcome outcome = { WALK_STOPPED, NULL };
	scope->nodes[node].stopping = false;
	if (job)
		free(wl_steal(job->outcome.outputs_json)); /* at most what it was to begin with */
	walk_node_ended(&scope->walk, node, &outcome, now.boot_ms, next_random(loop));
	run_touch(scope->run, scope);
}

/* ---- begin ----------------------------------------------------------------------------------------------------- */

static void fail_to_start(struct run_loop *loop, struct scope *scope, int node, struct moment now)
{
	struct walk_outcome outcome = { WALK_ERROR, NULL };
	_wl_free_ char *path = scope_path(scope, node);
	wl_log_run(WL_LOG_ERROR, scope->run->held->lease.tenant, scope->run->held->lease.eid,
		   "node %.64s could not be started: no memory or no file descriptors", scope_shape(scope, node)->id);
	if (!scope->error_json)
		scope->error_json = node_error_text("internal", "the node could not be started", path, NULL);
	walk_node_ended(&scope->walk, node, &outcome, now.boot_ms, next_random(loop));
	run_touch(scope->run, scope);
}

static void publish_state(struct run_loop *loop, struct scope *scope, int node, enum wl_node_state state,
			  struct moment now)
{
	_wl_free_ char *path = scope_path(scope, node);
	if (path)
		turn_publish(loop, event_node_state(scope->run->held->lease.eid, path, state,
						    scope->walk.nodes[node].attempt, now.wall_ms));
}

/* A placeholder in the store: it keeps older attempts out, or tells that the node waits. */
static void mark(struct run_loop *loop, struct scope *scope, int node, struct moment now)
{
	struct commit_item *item = calloc(1, sizeof(*item));
	if (!item) {
		fail_to_start(loop, scope, node, now);
		return;
	}
	item->message.kind = MESSAGE_COMMIT;
	item->scope = scope;
	item->node = node;
	item->mark = true;
	scope_fill_mark(scope, node, now.wall_ms, &item->result);
	loop->sink.commit(loop->sink.self, item);
}

static void take_last(struct scope_node *at, struct node_job *job)
{
	if (at->last)
		node_job_free(at->last);
	at->last = job;
}

static void run_job(struct run_loop *loop, struct scope *scope, int node, struct moment now)
{
	const struct wl_flow_node *shape = scope_shape(scope, node);
	struct scope_node *at = &scope->nodes[node];
	struct node_job *job = scope_make_job(scope, node, now.wall_ms);
	if (!job) {
		fail_to_start(loop, scope, node, now);
		return;
	}
	/* a wait that goes on began with its first attempt, and a node that was answered with its question */
	if ((!scope_waits(scope, node) && !job->call.again) || at->start_ms == 0)
		at->start_ms = now.wall_ms;
	/* a pure node is over before anybody could look; one with effects shows that it runs */
	if (!wl_node_kind_pure(shape->kind) && !scope_waits(scope, node))
		publish_state(loop, scope, node, WL_NODE_RUNNING, now);
	if (node_is_immediate(shape, job->call.plan)) {
		if (node_job_prepare(job) < 0)
			node_fail(&job->outcome, &job->call, NODE_FAILED, "internal", NULL, "no memory for its input");
		else
			node_run(&loop->world, &job->call, &job->outcome);
		node_job_drop_texts(job);
		job->end_ms = now.wall_ms;
		attempt_job_ended(loop, scope, job, now);
		return;
	}
	job->publisher = loop->publisher;
	at->job = job;
	scope->pure_jobs += wl_node_kind_pure(shape->kind);
	loop->sink.node(loop->sink.self, job);
}

static void give_pinned(struct run_loop *loop, struct scope *scope, int node, struct moment now)
{
	struct node_job *job = scope_make_pinned(scope, node, now.wall_ms);
	if (!job) {
		fail_to_start(loop, scope, node, now);
		return;
	}
	scope->nodes[node].start_ms = now.wall_ms;
	take_last(&scope->nodes[node], job);
	conclude(loop, scope, node, now);
}

void attempt_start(struct run_loop *loop, struct scope *scope, int node, struct moment now)
{
	const struct run_options *options = scope->run->options;
	bool pinned = options && options->pinned && scope->part->plans[node].pinned_json;
	if (pinned && scope->walk.only != node) {
		give_pinned(loop, scope, node, now);
		return;
	}
	/* the nodes of the flow itself were sealed before this attempt began */
	bool older = scope->parent && scope->run->held->lease.epoch > 1 && !scope->nodes[node].sealed;
	if (older && wl_node_kind_acts(scope_shape(scope, node)->kind))
		mark(loop, scope, node, now);
	else
		run_job(loop, scope, node, now);
}

void attempt_stop_job(struct run_loop *loop, struct scope *scope, struct node_job *job)
{
	uint64_t one = 1;
	atomic_store(&job->stop, true);
	if (job->cancel_fd >= 0 && write(job->cancel_fd, &one, sizeof(one)) < 0)
		wl_log_run(WL_LOG_ERROR, scope->run->held->lease.tenant, scope->run->held->lease.eid,
			   "node %.64s could not be stopped", job->call.node->id);
	loop->sink.stop(loop->sink.self, job);
}

void attempt_stop(struct run_loop *loop, struct scope *scope, int node)
{
	struct scope_node *at = &scope->nodes[node];
	at->stopping = true;
	if (at->job)
		attempt_stop_job(loop, scope, at->job);
	else if (at->inner)
		inside_stop(scope, node);
}

/* ---- waits ------------------------------------------------------------------------------------------------------ */

static struct inquiry *new_inquiry(struct scope *scope, int node, enum inquiry_kind kind)
{
	struct inquiry *inquiry = calloc(1, sizeof(*inquiry));
	if (!inquiry)
		return NULL;
	inquiry->message.kind = MESSAGE_INQUIRY;
	inquiry->kind = kind;
	inquiry->scope = scope;
	inquiry->node = node;
	inquiry->lease = scope->run->held->lease;
	inquiry->path = kind == INQUIRY_WAIT ? scope_wait_path(scope, node) : scope_path(scope, node);
	if (inquiry->path)
		return inquiry;
	inquiry_free(inquiry);
	return NULL;
}

/* What is waited for stands in the last job: in its inputs, or in what it asked of a person. */
static int read_terms(const struct scope *scope, int node, struct wl_wait *wait, struct wl_error *err)
{
	const struct node_outcome *outcome = &scope->nodes[node].last->outcome;
	if (scope->nodes[node].wait_name)
		return wait_terms_ask(outcome->wait_message, outcome->wait_roles, wait, err);
	return wait_terms_read(scope_shape(scope, node)->kind, &scope->part->plans[node], outcome->inputs_json, wait,
			       err);
}

static void ask_wait(struct run_loop *loop, struct scope *scope, int node, struct moment now)
{
	struct wl_error err = { 0 };
	struct inquiry *inquiry = new_inquiry(scope, node, INQUIRY_WAIT);
	int result = inquiry ? read_terms(scope, node, &inquiry->wait, &err)
			     : wl_fail(&err, ENOMEM, "no memory for what the node waits for");
	if (result == 0) {
		loop->sink.inquire(loop->sink.self, inquiry);
		return;
	}
	if (inquiry)
		inquiry_free(inquiry);
	conclude_failed(loop, scope, node, result == -EINVAL ? "input_invalid" : "internal", err.text, now);
}

static void begin_wait(struct run_loop *loop, struct scope *scope, int node, struct moment now)
{
	struct node_job *job = scope->nodes[node].last;
	if (strlen(job->outcome.outputs_json) > NODE_INPUTS_KEPT) {
		conclude_failed(loop, scope, node, "input_invalid", "what is waited for is larger than may be", now);
		return;
	}
	free(job->outcome.inputs_json);
	job->outcome.inputs_json = wl_steal(job->outcome.outputs_json);
	ask_wait(loop, scope, node, now);
}

void attempt_look(struct run_loop *loop, struct scope *scope, int node, struct moment now)
{
	ask_wait(loop, scope, node, now);
}

/* Nothing has come yet. A run that is under way for another reason looks for decisions now and then. */
/* A node asks a person: the ledger records it, as it does an approval. */
static void begin_asking(struct run_loop *loop, struct scope *scope, int node, struct moment now)
{
	struct scope_node *at = &scope->nodes[node];
	bool waited = at->marked;
	free(at->wait_name);
	at->wait_name = wl_steal(at->last->outcome.wait_name);
	if (waited)
		publish_state(loop, scope, node, WL_NODE_WAITING, now);
	ask_wait(loop, scope, node, now);
}

static void go_on_waiting(struct run_loop *loop, struct scope *scope, int node, struct moment now)
{
	struct scope_node *at = &scope->nodes[node];
	uint64_t due_ms = at->wait_until_ms;
	if (!at->marked) {
		mark(loop, scope, node, now);
		return;
	}
	if (scope_shape(scope, node)->kind != WL_KIND_WAIT && due_ms > now.boot_ms + APPROVAL_LOOK_MS)
		due_ms = now.boot_ms + APPROVAL_LOOK_MS;
	scope->run->waited = true;
	walk_node_waits(&scope->walk, node, due_ms);
	run_touch(scope->run, scope);
}

/* A node that asked a person goes on with what he said. */
static void answered_by_person(struct run_loop *loop, struct scope *scope, int node, const struct wl_wait *wait,
			       struct moment now)
{
	bool approved = wait->outcome == WL_WAIT_APPROVED;
	if (scope_decide(scope, node, approved, wait->by, wait->comment) < 0) {
		conclude_failed(loop, scope, node, "internal", "no memory for a decision", now);
		return;
	}
	walk_node_resumed(&scope->walk, node);
	run_job(loop, scope, node, now);
}

static void decided(struct run_loop *loop, struct scope *scope, int node, const struct wl_wait *wait, struct moment now)
{
	bool approved = wait->outcome == WL_WAIT_APPROVED;
	if (scope->nodes[node].wait_name) {
		answered_by_person(loop, scope, node, wait, now);
		return;
	}
	_wl_json_ struct wl_json *output = wl_json_object();
	int failed = wl_json_set_bool(output, "approved", approved);
	failed |= wl_json_set_string(output, "by", wait->by);
	failed |= wl_json_set_string(output, "comment", wait->comment);
	scope->nodes[node].last->outcome.handle = strdup(approved ? "approved" : "rejected");
	conclude_with(loop, scope, node, failed ? NULL : wl_json_print(output), now);
}

static void wait_answered(struct run_loop *loop, const struct inquiry *inquiry, struct moment now)
{
	struct scope *scope = inquiry->scope;
	int node = inquiry->node;
	switch (inquiry->wait.outcome) {
	case WL_WAIT_LOST:
		turn_drop_run(scope->run);
		attempt_stopped(loop, scope, node, now);
		break;
	case WL_WAIT_OPEN:
		scope->nodes[node].wait_until_ms = now.boot_ms + (uint64_t)inquiry->wait.left_ms;
		go_on_waiting(loop, scope, node, now);
		break;
	case WL_WAIT_OVER:
		if (inquiry->wait.approval)
			conclude_failed(loop, scope, node, "approval_expired", "nobody has decided in time", now);
		else
			conclude_with(loop, scope, node, strdup("null"), now);
		break;
	case WL_WAIT_APPROVED:
	case WL_WAIT_REJECTED:
		decided(loop, scope, node, &inquiry->wait, now);
		break;
	}
}

void attempt_marked(struct run_loop *loop, const struct commit_item *item, struct moment now)
{
	struct scope *scope = item->scope;
	struct scope_node *at = &scope->nodes[item->node];
	bool waits = scope_waits(scope, item->node);
	if (item->outcome != WL_COMMIT_STORED) {
		/* known or fenced: another attempt was or is at it, and this one begins anew from what is stored */
		turn_drop_run(scope->run);
		attempt_stopped(loop, scope, item->node, now);
		return;
	}
	at->sealed = true;
	at->marked = at->marked || waits;
	if (at->stopping) {
		attempt_stopped(loop, scope, item->node, now);
	} else if (waits) {
		publish_state(loop, scope, item->node, WL_NODE_WAITING, now);
		go_on_waiting(loop, scope, item->node, now);
	} else {
		run_job(loop, scope, item->node, now);
	}
}

/* ---- subflows ---------------------------------------------------------------------------------------------------- */

/* NULL when the flow may run inside of the scope, else what is wrong. */
static const char *subflow_fault(const struct scope *scope, const char *flow_id, const char **ret_code)
{
	*ret_code = "subflow_cycle";
	for (const struct scope *at = scope; at; at = at->parent)
		if (strcasecmp(at->flow_id, flow_id) == 0)
			return "the flow would run inside of itself";
	*ret_code = "subflow_depth";
	return scope->depth >= WL_SUBFLOW_MAX_DEPTH ? "subflows run inside of each other at most 8 deep" : NULL;
}

static void ask_subflow(struct run_loop *loop, struct scope *scope, int node, struct moment now)
{
	const struct node_plan *plan = &scope->part->plans[node];
	const char *code, *fault = subflow_fault(scope, plan->flow_id, &code);
	if (fault) {
		conclude_failed(loop, scope, node, code, fault, now);
		return;
	}
	struct inquiry *inquiry = new_inquiry(scope, node, INQUIRY_SUBFLOW);
	if (!inquiry) {
		conclude_failed(loop, scope, node, "internal", "no memory for a subflow", now);
		return;
	}
	inquiry->sub.version = plan->version;
	memcpy(inquiry->sub.flow_id, plan->flow_id, sizeof(inquiry->sub.flow_id));
	loop->sink.inquire(loop->sink.self, inquiry);
}

static void open_subflow(struct run_loop *loop, struct scope *scope, int node, struct flow *flow, struct moment now)
{
	if (!inside_open_subflow(loop, scope, node, flow, now))
		conclude(loop, scope, node, now);
}

static void check_inputs(struct run_loop *loop, struct scope *scope, int node, struct flow *flow, struct moment now)
{
	struct scope_node *at = &scope->nodes[node];
	struct node_job *job = scope_make_input_check(scope, node, flow->input_schema, at->last->outcome.outputs_json);
	if (!job) {
		conclude_failed(loop, scope, node, "internal", "no memory to check the inputs", now);
		return;
	}
	job->flow = flow;
	atomic_fetch_add(&flow->users, 1);
	job->publisher = loop->publisher;
	at->job = job;
	loop->sink.node(loop->sink.self, job);
}

/* A subflow's inputs were checked. Takes the job. */
static void inputs_checked(struct run_loop *loop, struct scope *scope, struct node_job *job, struct moment now)
{
	struct scope_node *at = &scope->nodes[job->node];
	int node = job->node;
	at->job = NULL;
	if (job->outcome.result == NODE_STOPPED || at->stopping) {
		attempt_stopped(loop, scope, node, now);
	} else if (job->outcome.result == NODE_OK) {
		open_subflow(loop, scope, node, job->flow, now);
	} else {
		free(wl_steal(at->last->outcome.outputs_json));
		at->last->outcome.result = NODE_FAILED_FOR_GOOD;
		at->last->outcome.error_json = wl_steal(job->outcome.error_json);
		at->last->end_ms = now.wall_ms;
		conclude(loop, scope, node, now);
	}
	node_job_free(job);
}

static void subflow_answered(struct run_loop *loop, struct inquiry *inquiry, struct moment now)
{
	struct scope *scope = inquiry->scope;
	int node = inquiry->node;
	char sentence[160];
	switch (inquiry->sub.outcome) {
	case WL_SUBFLOW_LOST:
		turn_drop_run(scope->run);
		attempt_stopped(loop, scope, node, now);
		break;
	case WL_SUBFLOW_FOUND:
		if (inquiry->flow->input_schema)
			check_inputs(loop, scope, node, inquiry->flow, now);
		else
			open_subflow(loop, scope, node, inquiry->flow, now);
		break;
	case WL_SUBFLOW_NO_FLOW:
		(void)snprintf(sentence, sizeof(sentence), "there is no flow %s", inquiry->sub.flow_id);
		conclude_failed(loop, scope, node, "subflow_missing", sentence, now);
		break;
	case WL_SUBFLOW_NO_VERSION:
		(void)snprintf(sentence, sizeof(sentence),
			       inquiry->sub.version ? "flow %s has no version %d" : "flow %s has no published version",
			       inquiry->sub.flow_id, inquiry->sub.version);
		conclude_failed(loop, scope, node, "subflow_missing", sentence, now);
		break;
	}
}

void attempt_answered(struct run_loop *loop, struct inquiry *inquiry, struct moment now)
{
	struct scope *scope = inquiry->scope;
	if (scope->nodes[inquiry->node].stopping)
		attempt_stopped(loop, scope, inquiry->node, now);
	else if (inquiry->result < 0)
		conclude_failed(loop, scope, inquiry->node, "internal", inquiry->err.text, now);
	else if (inquiry->kind == INQUIRY_WAIT)
		wait_answered(loop, inquiry, now);
	else
		subflow_answered(loop, inquiry, now);
}

/* ---- jobs ---------------------------------------------------------------------------------------------------------
 */

void attempt_inside_over(struct run_loop *loop, struct scope *scope, int node, char *outputs, char *error_json,
			 struct moment now)
{
	struct node_job *job = scope->nodes[node].last;
	if (outputs) {
		free(error_json);
		conclude_with(loop, scope, node, outputs, now);
		return;
	}
	job->end_ms = now.wall_ms;
	job->outcome.result = NODE_FAILED_FOR_GOOD;
	free(job->outcome.error_json);
	job->outcome.error_json = error_json;
	conclude(loop, scope, node, now);
}

/* What the job gave is the output of most nodes, and of some only what they begin with. */
static void go_on(struct run_loop *loop, struct scope *scope, int node, struct moment now)
{
	switch (scope_shape(scope, node)->kind) {
	case WL_KIND_WAIT:
	case WL_KIND_APPROVAL:
		begin_wait(loop, scope, node, now);
		break;
	case WL_KIND_SUBFLOW:
		ask_subflow(loop, scope, node, now);
		break;
	case WL_KIND_LOOP:
		if (!inside_open_loop(loop, scope, node, now))
			conclude(loop, scope, node, now);
		break;
	default:
		conclude(loop, scope, node, now);
	}
}

void attempt_job_ended(struct run_loop *loop, struct scope *scope, struct node_job *job, struct moment now)
{
	int node = job->node;
	struct scope_node *at = &scope->nodes[node];
	enum wl_node_kind kind = scope_shape(scope, node)->kind;
	if (job->call.schema) {
		inputs_checked(loop, scope, job, now);
		return;
	}
	if (at->job)
		scope->pure_jobs -= wl_node_kind_pure(kind);
	at->job = NULL;
	if ((!scope_waits(scope, node) && !job->call.again) || at->start_ms == 0)
		at->start_ms = job->start_ms;
	take_last(at, job);
	bool begins = !wl_node_kind_pure(kind) && !wl_node_kind_acts(kind);
	if (job->outcome.result == NODE_WAITS && at->stopping)
		attempt_stopped(loop, scope, node, now);
	else if (job->outcome.result == NODE_WAITS)
		begin_asking(loop, scope, node, now);
	else if (job->outcome.result != NODE_OK)
		conclude(loop, scope, node, now);
	else if (begins && at->stopping)
		attempt_stopped(loop, scope, node, now);
	else
		go_on(loop, scope, node, now);
}
