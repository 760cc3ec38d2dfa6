/*
 * Whole supervisors without threads: the real run loop and walk over doubles of ledger, queue and result store, a
 * virtual clock, and a seeded choice of what happens next. Supervisors are killed and stopped past their leases,
 * calls fail with and without effect, runs are cancelled, released and parked, and people decide. After each schedule:
 *   every run has reached exactly one final state · no effect began for an attempt that was fenced, nor before what it
 *   rests on was stored, nor after its result was stored · outputs are those of a run without faults · nothing is held
 */
#include "lib/base/cleanup.h"
#include "lib/base/log.h"
#include "supervisor/run_events.h"
#include "supervisor/run_loop.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define RUNS 4
#define SUPERVISORS 3
#define RESULTS 48
#define WAITS 8
#define LEASE_MS 1000
#define RENEW_MS 300
#define SCHEDULES 10000

/* ---- the world ------------------------------------------------------------------------------------------- */

struct result_row {
	char path[64]; /* "" for a free one */
	int effects;
	bool there, committed;
	int epoch;
	enum wl_node_state state;
	char *handle, *outputs, *error;
};

struct wait_row {
	char path[64];
	bool approval;
	uint64_t due;
	enum wl_wait_outcome decision; /* WL_WAIT_OPEN: none yet */
};

struct row {
	char eid[WL_UUID_TEXT];
	struct flow *flow;
	const char *expected; /* outputs when nothing is cancelled; NULL: it fails */
	bool running, final, cancel, parked;
	int epoch;
	enum wl_run_state state;
	char *outputs;
	int final_count;
	/* the queue's view */
	int holder; /* -1: waits in the queue */
	int lease_epoch;
	uint64_t lease_until;
	struct result_row results[RESULTS];
	struct wait_row waits[WAITS];
	int wait_count;
};

struct supervisor {
	bool alive;
	uint64_t frozen_until;
	struct run_loop loop;
	struct lease_table leases;
	struct mailbox jobs, commits, endings, inquiries, inbox; /* inbox: what the loop is to be told */
};

static struct row rows[RUNS];
static struct supervisor supervisors[SUPERVISORS];
static uint64_t now_ms;
static unsigned seed;
static unsigned long schedule;
static bool calm; /* no more faults: everything has to come to its end */

static struct flow *inner_flow; /* what subflows run */
static unsigned long parked_count, decided_count;

static unsigned pick(unsigned many)
{
	return (unsigned)rand_r(&seed) % many;
}

static struct row *row_of(const char *eid)
{
	for (int i = 0; i < RUNS; i++)
		if (strcmp(rows[i].eid, eid) == 0)
			return &rows[i];
	fail_msg("schedule %lu: an execution that nobody made", schedule);
	return NULL;
}

/* The place of a node's result; made when it is new. */
static struct result_row *result_of(struct row *row, const char *path)
{
	for (int i = 0; i < RESULTS; i++) {
		if (!*row->results[i].path)
			(void)snprintf(row->results[i].path, sizeof(row->results[i].path), "%s", path);
		if (strcmp(row->results[i].path, path) == 0)
			return &row->results[i];
	}
	fail_msg("schedule %lu: more results than there is room for", schedule);
	return NULL;
}

/* ---- flows ------------------------------------------------------------------------------------------------- */

#define NODE(id, kind, data)                                                                                           \
	"{\"id\":\"" id "\",\"type\":\"" kind "\",\"position\":{\"x\":0,\"y\":0},\"data\":" data "}"
#define FIRST_SLOW "{\"language\":\"bash\",\"source\":\"first\"}"
#define THIRD_FAILS "{\"language\":\"bash\",\"source\":\"third\"}"
#define INSIDE(id, kind, data, loop)                                                                                   \
	"{\"id\":\"" id "\",\"type\":\"" kind "\",\"parentId\":\"" loop "\",\"data\":" data "}"
#define SUBFLOW "00000000-0000-7000-8000-0000000000bb"
#define EDGE(id, source, handle, target)                                                                               \
	"{\"id\":\"" id "\",\"source\":\"" source "\",\"sourceHandle\":" handle ",\"target\":\"" target "\"}"
#define FLOW(nodes, edges) "{\"nodes\":[" nodes "],\"edges\":[" edges "]}"
#define FLOW_CHECKED(nodes, edges, schema) "{\"nodes\":[" nodes "],\"edges\":[" edges "],\"output_schema\":" schema "}"
#define EXPRESSION "{\"value\":\"{{ .inputs }}\"}"
#define CODE "{\"language\":\"bash\",\"source\":\"x\"}"
#define CODE_FAILS(rest) "{\"language\":\"bash\",\"source\":\"fails\"" rest "}"

static const struct {
	const char *document, *expected;
} flows[] = {
	/* a chain of effects with a pure node between */
	{ FLOW(NODE("s", "start", "{}") "," NODE("a", "code", CODE) "," NODE("j", "join", "{}") "," NODE(
		       "b", "code", CODE) "," NODE("o", "output", "{\"value\":\"done\"}"),
	       EDGE("1", "s", "null", "a") "," EDGE("2", "a", "null", "j") "," EDGE("3", "j", "null", "b") "," EDGE(
		       "4", "b", "null", "o")),
	  "\"done\"" },
	/* expressions side by side and in a row, between effects */
	{ FLOW(NODE("s", "start", "{}") "," NODE("p", "transform", EXPRESSION) "," NODE(
		       "q", "transform",
		       EXPRESSION) "," NODE("r", "transform",
					    EXPRESSION) "," NODE("a", "code",
								 CODE) "," NODE("j", "join",
										"{}") "," NODE("b", "code",
											       CODE) "," NODE("o",
													      "output",
													      EXPRESSION),
	       EDGE("1", "s", "null", "p") "," EDGE("2", "p", "null", "q") "," EDGE("3", "s", "null", "a") "," EDGE(
		       "4", "q", "null", "j") "," EDGE("5", "a", "null",
						       "j") "," EDGE("6", "j", "null",
								     "b") "," EDGE("7", "s", "null",
										   "r") "," EDGE("8", "b", "null",
												 "o")),
	  "\"computed\"" },
	/* parallel effects that are joined */
	{ FLOW(NODE("s", "start", "{}") "," NODE("a", "code", CODE) "," NODE("b", "code", CODE) "," NODE(
		       "c", "code", CODE) "," NODE("j", "join", "{}") "," NODE("d", "code",
									       CODE) "," NODE("o", "output",
											      "{\"value\":[1]}"),
	       EDGE("1", "s", "null", "a") "," EDGE("2", "s", "null", "b") "," EDGE("3", "s", "null", "c") "," EDGE(
		       "4", "a", "null", "j") "," EDGE("5", "b", "null",
						       "j") "," EDGE("6", "c", "null",
								     "j") "," EDGE("7", "j", "null",
										   "d") "," EDGE("8", "d", "null",
												 "o")),
	  "[1]" },
	/* a choice, and an error that is taken care of */
	{ FLOW(NODE("s", "start", "{}") "," NODE("c", "condition", "{\"if\":true}") "," NODE(
		       "a", "code",
		       CODE_FAILS(",\"on_error\":\"branch\"")) "," NODE("b", "code",
									CODE) "," NODE("e", "code",
										       CODE) "," NODE("o", "output",
												      "{\"value\":7}"),
	       EDGE("1", "s", "null", "c") "," EDGE("2", "c", "\"true\"", "a") "," EDGE(
		       "3", "c", "\"false\"", "b") "," EDGE("4", "a", "\"error\"", "e") "," EDGE("5", "e", "null",
												 "o")),
	  "7" },
	/* outputs that fit their schema, behind an effect, and outputs that do not */
	{ FLOW_CHECKED(
		  NODE("s", "start", "{}") "," NODE("a", "code", CODE) "," NODE("o", "output", "{\"value\":\"x\"}"),
		  EDGE("1", "s", "null", "a") "," EDGE("2", "a", "null", "o"), "{\"type\":\"string\"}"),
	  "\"x\"" },
	{ FLOW_CHECKED(NODE("s", "start", "{}") "," NODE("o", "output", "{\"value\":1}"), EDGE("1", "s", "null", "o"),
		       "{\"type\":\"string\"}"),
	  NULL },
	/* effects inside a loop, and behind it */
	{ FLOW(NODE("s", "start", "{}") "," NODE("l", "loop", "{\"items\":[1,2,3],\"parallel\":2}") "," INSIDE(
		       "a", "code", CODE, "l") "," INSIDE("t", "transform", "{\"value\":[1]}",
							  "l") "," INSIDE("b", "code", CODE,
									  "l") "," NODE("c", "code",
											CODE) "," NODE("o", "output",
												       "{\"value\":3}"),
	       EDGE("1", "s", "null", "l") "," EDGE("2", "a", "null", "t") "," EDGE("3", "t", "null", "b") "," EDGE(
		       "4", "l", "null", "c") "," EDGE("5", "c", "null", "o")),
	  "3" },
	/* loops inside each other beside an effect, with a wait in the middle */
	{ FLOW(NODE("s", "start", "{}") "," NODE("l", "loop", "{\"items\":[[1,2],[3]],\"parallel\":2}") "," INSIDE(
		       "m", "loop", "{\"items\":[1,2]}",
		       "l") "," INSIDE("a", "code", CODE, "m") "," INSIDE("w", "wait", "{\"seconds\":5}",
									  "l") "," NODE("b", "code",
											CODE) "," NODE("o", "output",
												       "{\"value\":4}"),
	       EDGE("1", "s", "null", "l") "," EDGE("2", "m", "null", "w") "," EDGE("3", "s", "null", "b") "," EDGE(
		       "4", "l", "null", "o") "," EDGE("5", "b", "null", "o")),
	  "4" },
	/* a wait and an approval side by side, effects before and behind */
	{ FLOW(NODE("s", "start", "{}") "," NODE("a", "code", CODE) "," NODE("w", "wait", "{\"seconds\":4}") "," NODE(
		       "p", "approval",
		       "{\"message\":\"?\",\"expires_s\":20,\"on_error\":"
		       "\"branch\"}") "," NODE("b", "code", CODE) "," NODE("o", "output", "{\"value\":5}"),
	       EDGE("1", "s", "null", "a") "," EDGE("2", "a", "null", "w") "," EDGE("3", "a", "null", "p") "," EDGE(
		       "4", "p", "\"approved\"",
		       "b") "," EDGE("5", "p", "\"rejected\"",
				     "b") "," EDGE("6", "p", "\"error\"", "b") "," EDGE("7", "b", "null",
											"o") "," EDGE("8", "w", "null",
												      "o")),
	  "5" },
	/* a subflow */
	{ FLOW(NODE("s", "start", "{}") "," NODE("f", "subflow", "{\"flow_id\":\"" SUBFLOW "\"}") "," NODE(
		       "c", "code", CODE) "," NODE("o", "output", "{\"value\":6}"),
	       EDGE("1", "s", "null", "f") "," EDGE("2", "f", "null", "c") "," EDGE("3", "c", "null", "o")),
	  "6" },
	/* an item that fails while others run, which fails the run; and one whose failure is taken care of */
	{ FLOW(NODE("s", "start", "{}") "," NODE("l", "loop", "{\"items\":[1,2,3],\"parallel\":3}") "," INSIDE(
		       "a", "code", CODE, "l") "," INSIDE("b", "code", CODE_FAILS(""), "l") "," NODE("d", "code", CODE),
	       EDGE("1", "s", "null", "l") "," EDGE("2", "a", "null", "b") "," EDGE("3", "s", "null", "d")),
	  NULL },
	{ FLOW(NODE("s", "start", "{}") "," NODE("l", "loop", "{\"items\":[1,2],\"parallel\":2,\"on_error\":\"branch\"}") "," INSIDE(
		       "a", "code", CODE, "l") "," INSIDE("b", "code", CODE_FAILS(""),
							  "l") "," NODE("e", "code", CODE) "," NODE("o", "output",
												    "{\"value\":7}"),
	       EDGE("1", "s", "null", "l") "," EDGE("2", "a", "null", "b") "," EDGE(
		       "3", "l", "\"error\"", "e") "," EDGE("4", "e", "null", "o")),
	  "7" },
	/* only the third item fails, while one before it may be cut off */
	{ FLOW(NODE("s", "start", "{}") "," NODE("l", "loop", "{\"items\":[1,2,3],\"parallel\":2}") "," INSIDE(
		       "a", "code", FIRST_SLOW, "l") "," INSIDE("b", "code", THIRD_FAILS, "l") "," INSIDE("c", "code",
													  CODE, "l"),
	       EDGE("1", "s", "null", "l") "," EDGE("2", "a", "null", "b") "," EDGE("3", "b", "null", "c")),
	  NULL },
	/* a failure beside a loop that is under way */
	{ FLOW(NODE("s", "start", "{}") "," NODE("l", "loop", "{\"items\":[1,2,3],\"parallel\":3}") "," INSIDE(
		       "a", "code", CODE, "l") "," INSIDE("b", "code", CODE, "l") "," NODE("x", "code", CODE_FAILS("")),
	       EDGE("1", "s", "null", "l") "," EDGE("2", "a", "null", "b") "," EDGE("3", "s", "null", "x")),
	  NULL },
	/* a failure that nobody takes care of, after a retry, beside another effect */
	{ FLOW(NODE("s", "start", "{}") "," NODE(
		       "a", "code",
		       CODE_FAILS(",\"retry\":{\"attempts\":2,\"delay_ms\":50}")) "," NODE("b", "code",
											   CODE) "," NODE("d", "code",
													  CODE),
	       EDGE("1", "s", "null", "a") "," EDGE("2", "s", "null", "b") "," EDGE("3", "b", "null", "d")),
	  NULL },
};

/* ---- doubles of the stores ---------------------------------------------------------------------------------- */

static char *copy_of(const char *text)
{
	return text ? strdup(text) : NULL;
}

static enum wl_commit_outcome commit_one(const struct wl_node_result *item)
{
	struct row *row = row_of(item->eid);
	struct result_row *at = result_of(row, item->node_id);
	if (at->there && at->committed)
		return at->epoch == item->epoch && item->committed ? WL_COMMIT_STORED : WL_COMMIT_KNOWN;
	if (at->there && at->epoch > item->epoch)
		return WL_COMMIT_FENCED;
	at->there = true;
	at->committed = item->committed;
	at->epoch = item->epoch;
	at->state = item->state;
	at->handle = copy_of(item->handle);
	at->outputs = copy_of(item->outputs_json);
	at->error = copy_of(item->error_json);
	return WL_COMMIT_STORED;
}

static void seal(struct row *row, int epoch)
{
	const struct wl_flow_graph *graph = &row->flow->parts[0].graph;
	for (int i = 0; i < graph->node_count; i++)
		result_of(row, graph->nodes[i].id)->there = true;
	for (int i = 0; i < RESULTS; i++) {
		struct result_row *at = &row->results[i];
		if (at->there && !at->committed && at->epoch < epoch)
			at->epoch = epoch;
	}
}

static void load(const struct row *row, struct run *run)
{
	run->restored = calloc(RESULTS, sizeof(*run->restored));
	for (int i = 0; i < RESULTS; i++) {
		const struct result_row *at = &row->results[i];
		if (!at->there)
			continue;
		struct wl_node_result *result = &run->restored[run->restored_count++];
		*result = (struct wl_node_result){ .node_id = strdup(at->path),
						   .epoch = at->epoch,
						   .committed = at->committed,
						   .state = at->state,
						   .handle = copy_of(at->handle),
						   .outputs_json = copy_of(at->outputs),
						   .error_json = copy_of(at->error) };
	}
}

static struct wait_row *wait_of(struct row *row, const char *path)
{
	for (int i = 0; i < row->wait_count; i++)
		if (strcmp(row->waits[i].path, path) == 0)
			return &row->waits[i];
	return NULL;
}

/* As control.wait_look(): the first call decides what is waited for. */
static void look_at_wait(struct row *row, struct wl_wait *item)
{
	struct wait_row *at = wait_of(row, item->node);
	if (!row->running || row->epoch != item->epoch) {
		item->outcome = WL_WAIT_LOST;
		return;
	}
	if (!at) {
		assert_true(row->wait_count < WAITS);
		at = &row->waits[row->wait_count++];
		*at = (struct wait_row){ .approval = item->approval,
					 .due = now_ms + (uint64_t)item->delay_ms,
					 .decision = WL_WAIT_OPEN };
		(void)snprintf(at->path, sizeof(at->path), "%s", item->node);
	}
	if (at->decision != WL_WAIT_OPEN)
		item->outcome = at->decision;
	else
		item->outcome = at->due <= now_ms ? WL_WAIT_OVER : WL_WAIT_OPEN;
	item->left_ms = at->due > now_ms ? (int64_t)(at->due - now_ms) : 0;
}

static void answer_inquiry(struct inquiry *inquiry)
{
	struct row *row = row_of(inquiry->lease.eid);
	if (inquiry->kind == INQUIRY_WAIT) {
		if (!inquiry->wait.node)
			inquiry->wait.node = strdup(inquiry->path);
		inquiry->wait.epoch = inquiry->lease.epoch;
		look_at_wait(row, &inquiry->wait);
		return;
	}
	inquiry->sub.outcome = WL_SUBFLOW_LOST;
	if (!row->running || row->epoch != inquiry->lease.epoch || inquiry->flow)
		return;
	assert_string_equal(inquiry->sub.flow_id, SUBFLOW);
	inquiry->sub.outcome = WL_SUBFLOW_FOUND;
	inquiry->flow = inner_flow;
	atomic_fetch_add(&inner_flow->users, 1);
}

/* As control.park_batch(). */
static enum wl_park_outcome park_one(const struct ending *ending)
{
	struct row *row = row_of(ending->lease.eid);
	struct wl_json *nodes = NULL;
	struct wl_error err;
	bool ripe = false;
	if (!row->running || row->epoch != ending->lease.epoch)
		return WL_PARK_LOST;
	row->running = false;
	if (row->cancel) {
		row->final = true;
		row->final_count++;
		row->state = WL_RUN_CANCELLED;
		return WL_PARK_CANCELLED;
	}
	assert_int_equal(wl_json_parse(ending->waits_json, strlen(ending->waits_json), &nodes, &err), 0);
	assert_true(wl_json_count(nodes) > 0);
	for (const struct wl_json *one = wl_json_first(nodes); one; one = wl_json_next(one)) {
		const struct wait_row *at = wait_of(row, wl_json_string(one, ""));
		assert_non_null(at);
		ripe = ripe || at->decision != WL_WAIT_OPEN || at->due <= now_ms;
	}
	wl_json_free(nodes);
	row->parked = !ripe;
	parked_count += !ripe;
	return ripe ? WL_PARK_RELEASED : WL_PARK_PARKED;
}

/* As control.wake_due(), which looks at the earliest time of all. */
static void wake_due(void)
{
	for (int i = 0; i < RUNS; i++)
		for (int w = 0; w < rows[i].wait_count; w++)
			if (rows[i].waits[w].due <= now_ms)
				rows[i].parked = false;
}

static void decide_some(struct row *row)
{
	struct wait_row *at = row->wait_count ? &row->waits[pick((unsigned)row->wait_count)] : NULL;
	if (!at || row->final || !at->approval || at->decision != WL_WAIT_OPEN || at->due <= now_ms)
		return;
	at->decision = pick(2) ? WL_WAIT_APPROVED : WL_WAIT_REJECTED;
	row->parked = false;
	decided_count++;
}

static bool finish_one(const struct ending *ending)
{
	struct row *row = row_of(ending->lease.eid);
	if (!row->running || row->epoch != ending->lease.epoch || row->final)
		return false;
	row->running = false;
	row->final = true;
	row->final_count++;
	row->state = ending->state;
	row->outputs = copy_of(ending->outputs_json);
	return true;
}

/* ---- a supervisor's surroundings ------------------------------------------------------------------------------ */

static void sink_node(void *self, struct node_job *job)
{
	mailbox_post(&((struct supervisor *)self)->jobs, &job->message.mail);
}

static void sink_commit(void *self, struct commit_item *item)
{
	mailbox_post(&((struct supervisor *)self)->commits, &item->message.mail);
}

static void sink_ending(void *self, struct ending *ending)
{
	mailbox_post(&((struct supervisor *)self)->endings, &ending->message.mail);
}

static void sink_event(void *self, struct event_item *event)
{
	(void)self;
	event_item_free(event);
}

static void sink_inquire(void *self, struct inquiry *inquiry)
{
	mailbox_post(&((struct supervisor *)self)->inquiries, &inquiry->message.mail);
}

/* Jobs learn it when they are looked at. */
static void sink_stop(void *self, struct node_job *job)
{
	(void)self;
	(void)job;
}

static void begin_supervisor(struct supervisor *at)
{
	const struct run_loop_sink sink = {
		at, sink_node, sink_commit, sink_ending, sink_event, sink_inquire, sink_stop
	};
	struct wl_error err;
	*at = (struct supervisor){ .alive = true };
	assert_int_equal(lease_table_open(&at->leases, &err), 0);
	run_loop_open(&at->loop, &sink, &at->leases, NULL, seed + 1);
	mailbox_open(&at->jobs);
	mailbox_open(&at->commits);
	mailbox_open(&at->endings);
	mailbox_open(&at->inquiries);
	mailbox_open(&at->inbox);
}

static struct message *take_message(struct mailbox *box)
{
	int count = 0;
	struct mail *mail = mailbox_take(box, 1, 0, &count);
	return mail ? container_of(mail, struct message, mail) : NULL;
}

/* kill -9: whatever was in memory is gone */
static void end_supervisor(struct supervisor *at)
{
	struct message *message;
	while ((message = take_message(&at->jobs)))
		node_job_free(container_of(message, struct node_job, message));
	while ((message = take_message(&at->commits)))
		commit_item_free(container_of(message, struct commit_item, message));
	while ((message = take_message(&at->endings)))
		ending_free(container_of(message, struct ending, message));
	while ((message = take_message(&at->inquiries)))
		inquiry_free(container_of(message, struct inquiry, message));
	while ((message = take_message(&at->inbox)))
		if (message->kind == MESSAGE_RUN)
			run_free(container_of(message, struct run, message));
		else
			free(container_of(message, struct notice, message));
	run_loop_release(&at->loop);
	lease_table_release(&at->leases);
	at->alive = false;
}

static bool awake(const struct supervisor *at)
{
	return at->alive && at->frozen_until <= now_ms;
}

static void tell(struct supervisor *at, struct message *message)
{
	run_loop_handle(&at->loop, message, now_ms, (int64_t)now_ms);
}

static void tell_notice(struct supervisor *at, enum notice_kind kind, const char *eid, int epoch)
{
	struct notice *notice = calloc(1, sizeof(*notice));
	notice->message.kind = MESSAGE_NOTICE;
	notice->kind = kind;
	notice->epoch = epoch;
	(void)snprintf(notice->eid, sizeof(notice->eid), "%s", eid);
	tell(at, &notice->message);
}

/* ---- what can happen -------------------------------------------------------------------------------------------- */

static void claim_and_start(struct supervisor *at, struct row *row)
{
	if (row->final || row->parked || row->holder >= 0)
		return;
	row->lease_epoch = (row->lease_epoch > row->epoch ? row->lease_epoch : row->epoch) + 1;
	row->holder = (int)(at - supervisors);
	row->lease_until = now_ms + LEASE_MS;
	if (!calm && pick(8) == 0)
		return; /* the message to the supervisor got lost, or it died before its start */
	if (row->running || row->epoch >= row->lease_epoch)
		return;
	row->running = true;
	row->epoch = row->lease_epoch;
	if (!calm && pick(12) == 0)
		return; /* started, but the answer got lost */
	struct wl_lease lease = { .tenant = 1, .epoch = row->epoch };
	memcpy(lease.eid, row->eid, sizeof(lease.eid));
	struct held_lease *held = lease_table_add(&at->leases, &lease);
	assert_non_null(held);
	lease_table_started(&at->leases, held, row->lease_until, now_ms + RENEW_MS);
	struct wl_start start = { .epoch = row->epoch, .tenant = 1, .deadline_left_ms = INT32_MAX };
	struct wl_error err;
	memcpy(start.eid, row->eid, sizeof(start.eid));
	struct run *run = run_new(held, &start, now_ms, row->flow, &err);
	assert_non_null(run);
	if (row->epoch > 1) {
		seal(row, row->epoch);
		load(row, run);
	}
	tell(at, &run->message);
}

static struct result_row *stored_of(struct row *row, const struct scope *scope, int node)
{
	_wl_free_ char *path = scope_path(scope, node);
	return result_of(row, path);
}

/* Everything that `node` rests on is stored, and so is all that what it is inside of rests on. */
static bool grounded(struct row *row, const struct scope *scope, int node)
{
	const struct wl_flow_graph *graph = &scope->part->graph;
	const struct wl_flow_node *shape = &graph->nodes[node];
	for (int i = 0; i < shape->in_count; i++) {
		const struct result_row *source = stored_of(row, scope, graph->edges[shape->in_edges[i]].source);
		if (!source->committed && source->state != WL_NODE_SKIPPED)
			return false;
	}
	return !scope->parent || grounded(row, scope->parent, scope->parent_node);
}

/* No two attempts give the same: what follows must rest on the one that was stored. */
static char *fresh_output(void)
{
	static unsigned long given;
	char text[32];
	(void)snprintf(text, sizeof(text), "%lu", ++given);
	return strdup(text);
}

static void run_effect(struct supervisor *at, struct node_job *job)
{
	struct row *row = row_of(job->call.eid);
	uint64_t stop = 0;
	if (read(job->cancel_fd, &stop, sizeof(stop)) > 0) {
		job->outcome.result = NODE_STOPPED;
		job->outcome.error_json = strdup("{\"code\":\"cancelled\",\"message\":\"x\"}");
		tell(at, &job->message);
		return;
	}
	struct result_row *at_store = stored_of(row, job->scope, job->node);
	if (now_ms >= atomic_load(job->valid_until_ms)) {
		/* as the node threads do: not on a lease that is not sure */
		mailbox_post(&at->jobs, &job->message.mail);
		return;
	}
	if (row->epoch != job->scope->run->held->lease.epoch || !row->running)
		fail_msg("schedule %lu: an effect of a fenced attempt", schedule);
	if (at_store->committed)
		fail_msg("schedule %lu: node %s ran again after its result was stored", schedule, job->call.node->id);
	if (!grounded(row, job->scope, job->node))
		fail_msg("schedule %lu: node %s ran before its cause was stored", schedule, job->call.node->id);
	at_store->effects++;
	bool third = strcmp(job->call.plan->source, "third") == 0 && strstr(node_call_path(&job->call), "[2]");
	if (third || strcmp(job->call.plan->source, "fails") == 0)
		node_fail(&job->outcome, &job->call, NODE_FAILED, "exit", NULL, "it fails");
	else
		node_give(&job->outcome, &job->call, fresh_output());
	tell(at, &job->message);
}

/* An expression: computing it again changes nothing. */
static void run_pure(struct supervisor *at, struct node_job *job)
{
	struct wl_json *context = NULL;
	struct wl_error err;
	assert_int_equal(node_job_prepare(job), 0);
	assert_int_equal(wl_json_parse(job->call.context, job->call.context_length, &context, &err), 0);
	assert_string_equal(wl_json_get_string(wl_json_get(context, "execution"), "id", ""), job->call.eid);
	for (const struct wl_json *one = wl_json_first(wl_json_get(context, "nodes")); one; one = wl_json_next(one))
		assert_true(wl_flow_graph_find(&job->scope->part->graph, wl_json_key(one)) >= 0);
	assert_true(wl_json_is(wl_json_get(context, "nodes"), WL_JSON_OBJECT));
	wl_json_free(context);
	node_give(&job->outcome, &job->call, strdup("\"computed\""));
	tell(at, &job->message);
}

/* The one schema of these flows allows strings. */
static void run_check(struct supervisor *at, struct node_job *job)
{
	struct row *row = row_of(job->call.eid);
	for (int i = 0; i < job->scope->part->graph.node_count; i++)
		if (row->epoch == job->scope->run->held->lease.epoch && !stored_of(row, job->scope, i)->committed)
			fail_msg("schedule %lu: outputs were checked before all was stored", schedule);
	if (atomic_load(&job->stop))
		job->outcome.result = NODE_STOPPED;
	else if (job->call.upstream[0] != '"')
		node_fail(&job->outcome, &job->call, NODE_FAILED_FOR_GOOD, "output_invalid", NULL, "it does not fit");
	tell(at, &job->message);
}

static void some_job(struct supervisor *at)
{
	struct message *message = take_message(&at->jobs);
	if (!message)
		return;
	struct node_job *job = container_of(message, struct node_job, message);
	const struct node_plan *plan = job->call.plan;
	bool slow = plan && plan->source && strcmp(plan->source, "first") == 0 && strstr(job->path, "[0]");
	if (pick(slow ? 12 : 3) > (slow ? 0 : 1)) { /* some take longer than those that began after them */
		mailbox_post(&at->jobs, &message->mail);
		return;
	}
	if (!job->call.node)
		run_check(at, job);
	else if (!wl_node_kind_acts(job->call.node->kind))
		run_pure(at, job);
	else
		run_effect(at, job);
}

static void some_commit(struct supervisor *at)
{
	struct message *message = take_message(&at->commits);
	if (!message)
		return;
	struct commit_item *item = container_of(message, struct commit_item, message);
	unsigned fault = calm ? 9 : pick(10);
	if (fault > 0)
		item->outcome = commit_one(&item->result);
	if (fault <= 1) /* the server was away, or its answer got lost: the committer tries again */
		mailbox_post(&at->commits, &message->mail);
	else
		tell(at, message);
}

static void some_ending(struct supervisor *at)
{
	struct message *message = take_message(&at->endings);
	if (!message)
		return;
	struct ending *ending = container_of(message, struct ending, message);
	struct row *row = row_of(ending->lease.eid);
	unsigned fault = calm ? 9 : pick(10);
	bool ours = row->holder == (int)(at - supervisors) && row->lease_epoch == ending->lease.epoch;
	if (fault > 0 && ending->kind == ENDING_FINISH)
		ending->done = finish_one(ending) || ending->done;
	if (fault > 0 && ending->kind == ENDING_PARK && park_one(ending) == WL_PARK_CANCELLED)
		ending->done = true;
	if (fault > 0 && ending->kind == ENDING_RELEASE && row->running && row->epoch == ending->lease.epoch)
		row->running = false;
	if (fault <= 1) {
		mailbox_post(&at->endings, &message->mail);
		return;
	}
	if (ours)
		row->holder = -1;
	tell(at, message);
}

static void some_inquiry(struct supervisor *at)
{
	struct message *message = take_message(&at->inquiries);
	if (!message)
		return;
	unsigned fault = calm ? 9 : pick(10);
	if (fault > 0)
		answer_inquiry(container_of(message, struct inquiry, message));
	if (fault > 1) {
		tell(at, message);
		return;
	}
	/* the server was away, or its answer got lost: the clerk tries again */
	struct inquiry *inquiry = container_of(message, struct inquiry, message);
	flow_release(wl_steal(inquiry->flow));
	mailbox_post(&at->inquiries, &message->mail);
}

static void renew(struct supervisor *at)
{
	struct wl_lease due[RUNS];
	if (!calm && pick(6) == 0)
		return; /* Redis is away */
	int count = lease_table_due(&at->leases, 0, now_ms, due, RUNS);
	for (int i = 0; i < count; i++) {
		struct row *row = row_of(due[i].eid);
		bool kept = row->holder == (int)(at - supervisors) && row->lease_epoch == due[i].epoch;
		if (kept)
			row->lease_until = now_ms + LEASE_MS;
		lease_table_renewed(&at->leases, &due[i], kept ? now_ms + LEASE_MS : 0, now_ms + RENEW_MS);
		if (!kept)
			tell_notice(at, NOTICE_LOST, due[i].eid, due[i].epoch);
		else if (row->cancel)
			tell_notice(at, NOTICE_CANCEL, due[i].eid, 0);
	}
}

/* Two phases: fence the ledger, then free the slot. */
static void reap(void)
{
	for (int i = 0; i < RUNS; i++) {
		struct row *row = &rows[i];
		if (row->holder < 0 || row->lease_until > now_ms)
			continue;
		row->running = false;
		row->epoch = row->lease_epoch > row->epoch ? row->lease_epoch : row->epoch;
		if (row->cancel && !row->final) {
			row->final = true;
			row->final_count++;
			row->state = WL_RUN_CANCELLED;
		}
		row->holder = -1;
	}
}

static void some_fault(void)
{
	struct supervisor *at = &supervisors[pick(SUPERVISORS)];
	struct row *row = &rows[pick(RUNS)];
	switch (pick(12)) {
	case 0:
		if (at->alive)
			end_supervisor(at);
		begin_supervisor(at);
		break;
	case 1:
	case 2:
		at->frozen_until = now_ms + pick(3 * LEASE_MS);
		break;
	case 3:
		if (pick(6) == 0 && !row->final) {
			row->cancel = true;
			if (row->parked) {
				row->parked = false;
				row->final = true;
				row->final_count++;
				row->state = WL_RUN_CANCELLED;
			}
			if (row->holder >= 0 && awake(&supervisors[row->holder]))
				tell_notice(&supervisors[row->holder], NOTICE_CANCEL, row->eid, 0);
		}
		break;
	case 4:
		if (pick(8) == 0 && awake(at)) {
			tell_notice(at, pick(2) ? NOTICE_DRAIN : NOTICE_INTERRUPT, "", 0);
			at->loop.draining = at->loop.interrupting = false; /* a drained one that takes new work again */
		}
		break;
	default:
		now_ms += pick(LEASE_MS / 4);
	}
}

static void one_step(void)
{
	struct supervisor *at = &supervisors[pick(SUPERVISORS)];
	now_ms += pick(20);
	if (!calm && pick(10) == 0)
		some_fault();
	if (pick(4) == 0)
		reap();
	if (pick(8) == 0)
		wake_due();
	if (pick(60) == 0)
		decide_some(&rows[pick(RUNS)]);
	if (!awake(at))
		return;
	run_loop_tick(&at->loop, now_ms, (int64_t)now_ms);
	switch (pick(6)) {
	case 0:
		claim_and_start(at, &rows[pick(RUNS)]);
		break;
	case 1:
		some_job(at);
		break;
	case 2:
		some_commit(at);
		break;
	case 3:
		some_ending(at);
		break;
	case 4:
		some_inquiry(at);
		break;
	default:
		renew(at);
	}
}

/* ---- one schedule -------------------------------------------------------------------------------------------------
 */

static bool all_over(void)
{
	for (int i = 0; i < RUNS; i++)
		if (!rows[i].final || rows[i].holder >= 0)
			return false;
	for (int i = 0; i < SUPERVISORS; i++)
		if (supervisors[i].alive && lease_table_count(&supervisors[i].leases) > 0)
			return false;
	return true;
}

static void begin_world(struct flow *const *made)
{
	now_ms = 1000;
	calm = false;
	for (int i = 0; i < RUNS; i++) {
		unsigned which = pick(sizeof(flows) / sizeof(flows[0]));
		rows[i] = (struct row){ .flow = made[which], .expected = flows[which].expected, .holder = -1 };
		(void)snprintf(rows[i].eid, sizeof(rows[i].eid), "00000000-0000-7000-8000-%012d", i);
	}
	for (int i = 0; i < SUPERVISORS; i++)
		begin_supervisor(&supervisors[i]);
}

/* The list that a join gave holds the very outputs that are stored of the nodes before it. */
static void judge_join(struct row *row, int node)
{
	const struct wl_flow_graph *graph = &row->flow->parts[0].graph;
	const struct wl_flow_node *shape = &graph->nodes[node];
	char list[256] = "[";
	for (int i = 0; i < shape->in_count; i++) {
		int source = graph->edges[shape->in_edges[i]].source;
		size_t used = strlen(list);
		(void)snprintf(list + used, sizeof(list) - used, "%s%s", i ? "," : "",
			       result_of(row, graph->nodes[source].id)->outputs);
	}
	strcat(list, "]");
	if (strcmp(result_of(row, shape->id)->outputs, list) != 0)
		fail_msg("schedule %lu: node %s was made of other results than the stored ones", schedule, shape->id);
}

/* So does the list that a loop gave of what its last nodes did, for a loop whose last node is named. */
static void judge_loop(struct row *row, const char *loop, const char *last, int items)
{
	char list[256] = "[", path[64];
	for (int i = 0; i < items; i++) {
		size_t used = strlen(list);
		(void)snprintf(path, sizeof(path), "%s[%d].%s", loop, i, last);
		assert_true(result_of(row, path)->committed);
		(void)snprintf(list + used, sizeof(list) - used, "%s%s", i ? "," : "", result_of(row, path)->outputs);
	}
	strcat(list, "]");
	if (strcmp(result_of(row, loop)->outputs, list) != 0)
		fail_msg("schedule %lu: loop %s was made of other results than the stored ones", schedule, loop);
}

static void judge(struct row *row)
{
	assert_int_equal(row->final_count, 1);
	if (row->cancel && row->state == WL_RUN_CANCELLED)
		return;
	if (!row->expected) {
		assert_int_equal(row->state, WL_RUN_FAILED);
		return;
	}
	assert_int_equal(row->state, WL_RUN_SUCCEEDED);
	assert_string_equal(row->outputs, row->expected);
	const struct wl_flow_graph *graph = &row->flow->parts[0].graph;
	for (int i = 0; i < graph->node_count; i++) {
		assert_true(result_of(row, graph->nodes[i].id)->committed);
		if (graph->nodes[i].kind == WL_KIND_JOIN)
			judge_join(row, i);
	}
	if (strcmp(row->expected, "3") == 0)
		judge_loop(row, "l", "b", 3);
	if (strcmp(row->expected, "4") == 0) {
		judge_loop(row, "l[0].m", "a", 2);
		judge_loop(row, "l[1].m", "a", 2);
	}
}

static void end_world(void)
{
	for (int i = 0; i < SUPERVISORS; i++)
		end_supervisor(&supervisors[i]);
	for (int i = 0; i < RUNS; i++) {
		free(rows[i].outputs);
		for (int n = 0; n < RESULTS; n++) {
			free(rows[i].results[n].handle);
			free(rows[i].results[n].outputs);
			free(rows[i].results[n].error);
		}
	}
}

static void test_schedules(void **state)
{
	(void)state;
	struct flow *made[sizeof(flows) / sizeof(flows[0])];
	struct wl_error err;
	unsigned long effects = 0, attempts = 0;
	for (size_t i = 0; i < sizeof(flows) / sizeof(flows[0]); i++)
		if (flow_make(flows[i].document, strlen(flows[i].document), &made[i], &err) < 0)
			fail_msg("flow %zu: %s", i, err.text);
	static const char inside[] =
		FLOW(NODE("s", "start", "{}") "," NODE("x", "code", CODE) "," NODE("o", "output", "{\"value\":1}"),
		     EDGE("1", "s", "null", "x") "," EDGE("2", "x", "null", "o"));
	assert_int_equal(flow_make(inside, sizeof(inside) - 1, &inner_flow, &err), 0);
	for (schedule = 0; schedule < SCHEDULES; schedule++) {
		seed = (unsigned)schedule;
		begin_world(made);
		for (int i = 0; i < 600; i++)
			one_step();
		calm = true;
		for (int i = 0; i < 20000 && !all_over(); i++)
			one_step();
		if (!all_over())
			fail_msg("schedule %lu: something never came to its end", schedule);
		for (int i = 0; i < RUNS; i++) {
			judge(&rows[i]);
			attempts += (unsigned long)rows[i].epoch;
			for (int n = 0; n < RESULTS; n++)
				effects += (unsigned long)rows[i].results[n].effects;
		}
		end_world();
	}
	/* the faults have been at work: more attempts than runs */
	assert_true(attempts > (unsigned long)SCHEDULES * RUNS * 3 / 2);
	assert_true(effects > (unsigned long)SCHEDULES * RUNS);
	assert_true(parked_count > SCHEDULES / 10);
	assert_true(decided_count > SCHEDULES / 20);
	flow_release(inner_flow);
	for (size_t i = 0; i < sizeof(flows) / sizeof(flows[0]); i++)
		flow_release(made[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_schedules) };
	wl_log_open("simulation", WL_LOG_ERROR); /* leases are lost by the thousand */
	return cmocka_run_group_tests(tests, NULL, NULL);
}
