#include "supervisor/run_loop.h"

#include "lib/base/cleanup.h"
#include "lib/base/log.h"
#include "supervisor/run_events.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

#define HELD_LOOK_MS 100 /* how often a run whose lease is not sure is looked at */

struct moment {
	uint64_t boot_ms;
	int64_t wall_ms;
};

/* xorshift64* (Vigna 2016): jitter needs no better */
static uint32_t next_random(struct run_loop *loop)
{
	loop->random ^= loop->random >> 12;
	loop->random ^= loop->random << 25;
	loop->random ^= loop->random >> 27;
	return (uint32_t)((loop->random * 2685821657736338717ULL) >> 32);
}

static void publish(struct run_loop *loop, struct event_item *event)
{
	if (event)
		loop->sink.event(loop->sink.self, event);
}

/* ---- nodes --------------------------------------------------------------------------------------------- */

static enum walk_result walk_result_of(enum node_result result)
{
	static const enum walk_result of[] = { [NODE_OK] = WALK_SUCCEEDED,
					       [NODE_FAILED] = WALK_ERROR,
					       [NODE_FAILED_FOR_GOOD] = WALK_ERROR_FOR_GOOD,
					       [NODE_STOPPED] = WALK_STOPPED };
	return of[result];
}

/* An attempt has ended: keep what it gave, and tell the walk. Takes the job. */
static void node_ended(struct run_loop *loop, struct run *run, struct node_job *job, struct moment now)
{
	struct wl_error err = { 0 };
	int node = job->node;
	struct run_node *at = &run->nodes[node];
	const struct wl_flow_node *shape = &run->flow->graph.nodes[node];
	if (at->job)
		run->pure_jobs -= wl_node_kind_pure(shape->kind);
	at->job = NULL;
	at->start_ms = job->start_ms;
	at->end_ms = job->end_ms;
	if (at->last)
		node_job_free(at->last);
	at->last = job;
	if (job->outcome.result == NODE_OK && run_keep_output(run, node, job->outcome.outputs_json, &err) < 0) {
		free(wl_steal(job->outcome.outputs_json));
		node_fail(&job->outcome, &job->call, NODE_FAILED_FOR_GOOD, "output_cap", NULL, "%s", err.text);
	}
	struct walk_outcome outcome = { walk_result_of(job->outcome.result), job->outcome.handle };
	walk_node_ended(&run->walk, node, &outcome, now.boot_ms, next_random(loop));
	if (run->walk.nodes[node].state != WL_NODE_FAILED || !job->outcome.error_json)
		return;
	if (shape->on_error != WL_ON_ERROR_FAIL)
		(void)run_keep_output(run, node, job->outcome.error_json, &err);
	else if (!run->error_json)
		run->error_json = strdup(job->outcome.error_json);
}

static void fail_to_start(struct run_loop *loop, struct run *run, int node, struct moment now)
{
	struct walk_outcome outcome = { WALK_ERROR, NULL };
	wl_log_run(WL_LOG_ERROR, run->held->lease.tenant, run->held->lease.eid,
		   "node %.64s could not be started: no memory or no file descriptors",
		   run->flow->graph.nodes[node].id);
	if (!run->error_json)
		run->error_json = node_error_text("internal", "the node could not be started",
						  run->flow->graph.nodes[node].id, NULL);
	walk_node_ended(&run->walk, node, &outcome, now.boot_ms, next_random(loop));
}

static void start_node(struct run_loop *loop, struct run *run, int node, struct moment now)
{
	struct node_job *job = run_make_job(run, node, now.wall_ms);
	if (!job) {
		fail_to_start(loop, run, node, now);
		return;
	}
	const struct wl_flow_node *shape = &run->flow->graph.nodes[node];
	run->nodes[node].start_ms = now.wall_ms;
	if (node_is_immediate(shape, job->call.plan)) {
		if (node_job_prepare(job) < 0)
			node_fail(&job->outcome, &job->call, NODE_FAILED, "internal", NULL, "no memory for its input");
		else
			node_run(&loop->world, &job->call, &job->outcome);
		node_job_drop_texts(job);
		job->end_ms = now.wall_ms;
		node_ended(loop, run, job, now);
		return;
	}
	/* a pure node is over before anybody could look; one with effects shows that it runs */
	if (!wl_node_kind_pure(shape->kind))
		publish(loop, event_node_running(run->held->lease.eid, shape->id, job->attempt, now.wall_ms));
	job->publisher = loop->publisher;
	run->nodes[node].job = job;
	run->pure_jobs += wl_node_kind_pure(shape->kind);
	loop->sink.node(loop->sink.self, job);
}

static void stop_job(struct run_loop *loop, struct run *run, struct node_job *job)
{
	uint64_t one = 1;
	if (!job)
		return;
	atomic_store(&job->stop, true);
	if (job->cancel_fd >= 0 && write(job->cancel_fd, &one, sizeof(one)) < 0)
		wl_log_run(WL_LOG_ERROR, run->held->lease.tenant, run->held->lease.eid,
			   "node %.64s could not be stopped", job->call.node->id);
	loop->sink.stop(loop->sink.self, job);
}

/* ---- the check of the outputs --------------------------------------------------------------------------- */

static void start_check(struct run_loop *loop, struct run *run)
{
	struct node_job *job = run_make_check(run);
	if (job) {
		job->publisher = loop->publisher;
		run->check = job;
		loop->sink.node(loop->sink.self, job);
		return;
	}
	if (!run->error_json)
		run->error_json = node_error_text("internal", "no memory to check the outputs", NULL, NULL);
	walk_checked(&run->walk, WALK_ERROR);
}

static void check_ended(struct run *run, struct node_job *job)
{
	run->check = NULL;
	if (job->outcome.result != NODE_OK && job->outcome.result != NODE_STOPPED && !run->error_json)
		run->error_json = wl_steal(job->outcome.error_json);
	walk_checked(&run->walk, walk_result_of(job->outcome.result));
	node_job_free(job);
}

static void store_node(struct run_loop *loop, struct run *run, int node, struct moment now)
{
	struct commit_item *item = calloc(1, sizeof(*item));
	if (!item) {
		walk_store_refused(&run->walk, node);
		return;
	}
	item->message.kind = MESSAGE_COMMIT;
	item->run = run;
	item->node = node;
	run_fill_result(run, node, now.wall_ms, &item->result);
	publish(loop, event_node(&item->result, now.wall_ms));
	item->message.mail.next = NULL;
	*run->kept_last = &item->message.mail;
	run->kept_last = &item->message.mail.next;
}

/*
 * Results of pure nodes wait for those that follow at once, so that a chain of them is one write instead of many. Not
 * so when something waits for the store: a node with effects, its own result, or the end of the run.
 */
static void send_commits(struct run_loop *loop, struct run *run)
{
	if (run->pure_jobs > 0 && run->walk.mode == WALK_GOING && !walk_waits_for_store(&run->walk))
		return;
	struct mail *list = run->kept_commits;
	run->kept_commits = NULL;
	run->kept_last = &run->kept_commits;
	for (struct mail *next; list; list = next) {
		struct commit_item *item = container_of(list, struct commit_item, message.mail);
		next = list->next;
		if (run->walk.mode != WALK_DROPPING) {
			loop->sink.commit(loop->sink.self, item);
			continue;
		}
		/* the run is another attempt's by now: this one writes nothing more */
		walk_node_stored(&run->walk, item->node);
		commit_item_free(item);
	}
}

/* ---- the end of a run ---------------------------------------------------------------------------------- */

static char *ending_error(struct run *run, enum wl_run_state state)
{
	if (state == WL_RUN_TIMEOUT)
		return node_error_text("deadline", "the execution did not end before its deadline", NULL, NULL);
	if (state != WL_RUN_FAILED)
		return NULL;
	if (run->error_json)
		return wl_steal(run->error_json);
	return node_error_text("internal", "the execution could not go on", NULL, NULL);
}

static void end_run(struct run_loop *loop, struct run *run, enum ending_kind kind, enum wl_run_state state)
{
	struct ending *ending = calloc(1, sizeof(*ending));
	run->over = true;
	timer_heap_set(&loop->timers, &run->timer, UINT64_MAX);
	if (!ending) {
		/* without an answer to the ledger the lease runs out, and another attempt begins */
		wl_log_run(WL_LOG_ERROR, run->held->lease.tenant, run->held->lease.eid, "no memory to end the run");
		return;
	}
	ending->message.kind = MESSAGE_ENDING;
	ending->run = run;
	ending->kind = kind;
	ending->lease = run->held->lease;
	ending->state = state;
	if (kind == ENDING_FINISH) {
		ending->outputs_json = state == WL_RUN_SUCCEEDED ? run_outputs(run) : NULL;
		ending->error_json = ending_error(run, state);
	}
	loop->sink.ending(loop->sink.self, ending);
}

static void forget_run(struct run_loop *loop, struct run *run)
{
	timer_heap_set(&loop->timers, &run->timer, UINT64_MAX);
	*(run->previous ? &run->previous->next : &loop->runs) = run->next;
	if (run->next)
		run->next->previous = run->previous;
	loop->run_count--;
	lease_table_remove(loop->leases, run->held);
	run_free(run);
}

/* ---- one turn of one run ------------------------------------------------------------------------------- */

static void act(struct run_loop *loop, struct run *run, const struct walk_action *action, struct moment now)
{
	switch (action->kind) {
	case WALK_START:
		start_node(loop, run, action->node, now);
		break;
	case WALK_STOP:
		stop_job(loop, run, action->node < 0 ? run->check : run->nodes[action->node].job);
		break;
	case WALK_STORE:
		store_node(loop, run, action->node, now);
		break;
	case WALK_CHECK:
		start_check(loop, run);
		break;
	case WALK_FINISH:
		end_run(loop, run, ENDING_FINISH, action->run_state);
		break;
	case WALK_RELEASE:
	case WALK_DROP:
		/* whoever lost its lease gives the run back as well: that changes nothing where it is fenced already */
		end_run(loop, run, ENDING_RELEASE, WL_RUN_RUNNING);
		break;
	}
}

/* A lease that may have run out starts nothing with effects, until it was renewed. */
static void judge_lease(struct run *run, struct moment now)
{
	bool held = now.boot_ms >= atomic_load(&run->held->valid_until_ms);
	if (held != run->walk.held)
		walk_hold(&run->walk, held);
}

static void set_timer(struct run_loop *loop, struct run *run, struct moment now)
{
	if (run->over)
		return;
	uint64_t due = walk_due_ms(&run->walk);
	if (run->walk.held && due > now.boot_ms + HELD_LOOK_MS)
		due = now.boot_ms + HELD_LOOK_MS;
	timer_heap_set(&loop->timers, &run->timer, due);
}

/* Do all that the walk wants, and what comes of it. */
static void settle_run(struct run_loop *loop, struct run *run, struct moment now)
{
	struct walk_action action;
	do {
		while (walk_next_action(&run->walk, &action))
			act(loop, run, &action, now);
		send_commits(loop, run);
	} while (walk_has_action(&run->walk));
	set_timer(loop, run, now);
}

/* ---- messages -------------------------------------------------------------------------------------------- */

static void apply_notice(struct run_loop *loop, struct run *run, enum notice_kind kind)
{
	switch (kind) {
	case NOTICE_CANCEL:
		walk_cancel(&run->walk);
		break;
	case NOTICE_LOST:
		wl_log_run(WL_LOG_WARNING, run->held->lease.tenant, run->held->lease.eid,
			   "the lease was lost: another attempt may have it, this one stops");
		walk_drop(&run->walk);
		break;
	case NOTICE_DRAIN:
		walk_drain(&run->walk);
		break;
	case NOTICE_INTERRUPT:
		walk_interrupt(&run->walk);
		break;
	}
	(void)loop;
}

static void refuse_run(struct run_loop *loop, struct run *run, const struct wl_error *err)
{
	wl_log_run(WL_LOG_ERROR, run->held->lease.tenant, run->held->lease.eid, "the run cannot begin: %s", err->text);
	free(run->error_json);
	run->error_json = node_error_text("internal", err->text, NULL, NULL);
	end_run(loop, run, ENDING_FINISH, WL_RUN_FAILED);
}

static void begin_run(struct run_loop *loop, struct run *run, struct moment now)
{
	struct wl_error err = { 0 };
	bool cancel = false, lost = false;
	run->next = loop->runs;
	if (run->next)
		run->next->previous = run;
	loop->runs = run;
	loop->run_count++;
	lease_table_attach(loop->leases, run->held, run, &cancel, &lost);
	if (timer_heap_reserve(&loop->timers, (size_t)loop->run_count, &err) < 0 || run_begin(run, &err) < 0) {
		refuse_run(loop, run, &err);
		return;
	}
	publish(loop, event_execution(run->held->lease.eid, WL_RUN_RUNNING, now.wall_ms));
	judge_lease(run, now);
	if (loop->draining)
		walk_drain(&run->walk);
	walk_begin(&run->walk, now.boot_ms);
	walk_tick(&run->walk, now.boot_ms);
	if (cancel)
		walk_cancel(&run->walk);
	if (lost)
		walk_drop(&run->walk);
	if (loop->interrupting)
		walk_interrupt(&run->walk);
	settle_run(loop, run, now);
}

static void take_commit(struct run_loop *loop, struct commit_item *item, struct moment now)
{
	struct run *run = item->run;
	if (run) {
		judge_lease(run, now);
		switch (item->outcome) {
		case WL_COMMIT_STORED:
			walk_node_stored(&run->walk, item->node);
			break;
		case WL_COMMIT_KNOWN: /* an attempt before this one: begin anew from what it stored */
		case WL_COMMIT_FENCED:
			walk_drop(&run->walk);
			walk_node_stored(&run->walk, item->node);
			break;
		case WL_COMMIT_FAILED:
			if (!run->error_json)
				run->error_json =
					node_error_text("output_cap", "the document server refused the node's result",
							item->result.node_id, NULL);
			walk_store_refused(&run->walk, item->node);
			break;
		}
		settle_run(loop, run, now);
	}
	commit_item_free(item);
}

static void take_ending(struct run_loop *loop, struct ending *ending, struct moment now)
{
	if (ending->kind == ENDING_FINISH && ending->done) {
		publish(loop, event_execution(ending->lease.eid, ending->state, now.wall_ms));
		publish(loop, event_end(ending, now.wall_ms));
	} else if (ending->kind == ENDING_FINISH && ending->unsure) {
		publish(loop, event_reset(ending->lease.eid));
	}
	if (ending->run)
		forget_run(loop, ending->run);
	ending_free(ending);
}

static void take_notice(struct run_loop *loop, struct notice *notice, struct moment now)
{
	loop->draining = loop->draining || notice->kind == NOTICE_DRAIN || notice->kind == NOTICE_INTERRUPT;
	loop->interrupting = loop->interrupting || notice->kind == NOTICE_INTERRUPT;
	if (notice->kind == NOTICE_CANCEL || notice->kind == NOTICE_LOST) {
		struct run *run = lease_table_find(loop->leases, notice->eid, notice->epoch,
						   notice->kind == NOTICE_CANCEL, notice->kind == NOTICE_LOST);
		if (run && !run->over) {
			apply_notice(loop, run, notice->kind);
			settle_run(loop, run, now);
		}
	} else {
		for (struct run *run = loop->runs; run; run = run->next)
			if (!run->over) {
				apply_notice(loop, run, notice->kind);
				settle_run(loop, run, now);
			}
	}
	free(notice);
}

static void take_node(struct run_loop *loop, struct node_job *job, struct moment now)
{
	struct run *run = job->run;
	judge_lease(run, now);
	if (job->node < 0)
		check_ended(run, job);
	else
		node_ended(loop, run, job, now);
	settle_run(loop, run, now);
}

void run_loop_handle(struct run_loop *loop, struct message *message, uint64_t boot_ms, int64_t wall_ms)
{
	struct moment now = { boot_ms, wall_ms };
	switch (message->kind) {
	case MESSAGE_RUN:
		begin_run(loop, container_of(message, struct run, message), now);
		break;
	case MESSAGE_NODE:
		take_node(loop, container_of(message, struct node_job, message), now);
		break;
	case MESSAGE_COMMIT:
		take_commit(loop, container_of(message, struct commit_item, message), now);
		break;
	case MESSAGE_ENDING:
		take_ending(loop, container_of(message, struct ending, message), now);
		break;
	case MESSAGE_NOTICE:
		take_notice(loop, container_of(message, struct notice, message), now);
		break;
	}
}

void run_loop_tick(struct run_loop *loop, uint64_t boot_ms, int64_t wall_ms)
{
	struct moment now = { boot_ms, wall_ms };
	struct timer *timer;
	while ((timer = timer_heap_first(&loop->timers)) && timer->due_ms <= boot_ms) {
		struct run *run = container_of(timer, struct run, timer);
		timer_heap_set(&loop->timers, timer, UINT64_MAX);
		judge_lease(run, now);
		walk_tick(&run->walk, boot_ms);
		settle_run(loop, run, now);
	}
}

uint64_t run_loop_due_ms(const struct run_loop *loop)
{
	const struct timer *first = timer_heap_first(&loop->timers);
	return first ? first->due_ms : UINT64_MAX;
}

void run_loop_open(struct run_loop *loop, const struct run_loop_sink *sink, struct lease_table *leases,
		   struct publisher *publisher, uint64_t random)
{
	*loop = (struct run_loop){ .sink = *sink, .leases = leases, .publisher = publisher };
	loop->random = random ? random : 1;
}

void run_loop_release(struct run_loop *loop)
{
	while (loop->runs)
		forget_run(loop, loop->runs);
	timer_heap_release(&loop->timers);
	node_world_release(&loop->world);
}
