#include "supervisor/run_loop.h"

#include "lib/base/cleanup.h"
#include "lib/base/log.h"
#include "supervisor/run_turn.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

#define HELD_LOOK_MS 100 /* how often a run whose lease is not sure is looked at */

/* ---- the check of the outputs --------------------------------------------------------------------------- */

static void start_check(struct run_loop *loop, struct scope *scope)
{
	struct node_job *job = scope_make_check(scope);
	if (job) {
		job->publisher = loop->publisher;
		scope->check = job;
		loop->sink.node(loop->sink.self, job);
		return;
	}
	if (!scope->error_json)
		scope->error_json = node_error_text("internal", "no memory to check the outputs", NULL, NULL);
	walk_checked(&scope->walk, WALK_ERROR);
}

static void check_ended(struct scope *scope, struct node_job *job)
{
	enum node_result result = job->outcome.result;
	scope->check = NULL;
	if (result != NODE_OK && result != NODE_STOPPED && !scope->error_json)
		scope->error_json = wl_steal(job->outcome.error_json);
	walk_checked(&scope->walk, result == NODE_OK	    ? WALK_SUCCEEDED
				   : result == NODE_STOPPED ? WALK_STOPPED
							    : WALK_ERROR_FOR_GOOD);
	node_job_free(job);
}

/* ---- results --------------------------------------------------------------------------------------------- */

static void fail_too_large(struct run *run)
{
	char sentence[120];
	(void)snprintf(sentence, sizeof(sentence),
		       "the nodes inside of loops and subflows gave more than %u bytes in all", RUN_STORED_MAX);
	if (!run->root->error_json)
		run->root->error_json = node_error_text("output_cap", sentence, NULL, NULL);
	walk_fail(&run->root->walk);
	run_touch(run, run->root);
}

static void store_node(struct run_loop *loop, struct scope *scope, int node, struct moment now)
{
	struct commit_item *item = calloc(1, sizeof(*item));
	if (!item) {
		walk_store_refused(&scope->walk, node);
		return;
	}
	item->message.kind = MESSAGE_COMMIT;
	item->scope = scope;
	item->node = node;
	scope_fill_result(scope, node, now.wall_ms, &item->result);
	if (!run_count_stored(scope->run, &item->result))
		fail_too_large(scope->run);
	turn_publish(loop, event_node(&item->result, now.wall_ms));
	item->message.mail.next = NULL;
	*scope->kept_last = &item->message.mail;
	scope->kept_last = &item->message.mail.next;
}

/*
 * Results of pure nodes wait for those that follow at once, so that a chain of them is one write instead of many. Not
 * so when something waits for the store: a node with effects, its own result, or the end of the walk.
 */
static void send_commits(struct run_loop *loop, struct scope *scope)
{
	if (scope->pure_jobs > 0 && scope->walk.mode == WALK_GOING && !walk_waits_for_store(&scope->walk))
		return;
	struct mail *list = scope->kept_commits;
	scope->kept_commits = NULL;
	scope->kept_last = &scope->kept_commits;
	for (struct mail *next; list; list = next) {
		struct commit_item *item = container_of(list, struct commit_item, message.mail);
		next = list->next;
		if (scope->walk.mode != WALK_DROPPING) {
			loop->sink.commit(loop->sink.self, item);
			continue;
		}
		/* the run is another attempt's by now: this one writes nothing more */
		walk_node_stored(&scope->walk, item->node);
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
	if (run->root->error_json)
		return wl_steal(run->root->error_json);
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
		ending->outputs_json = state == WL_RUN_SUCCEEDED ? scope_outputs(run->root) : NULL;
		ending->error_json = ending_error(run, state);
	}
	if (kind == ENDING_PARK && !(ending->waits_json = run_waits(run)))
		ending->kind = ENDING_RELEASE; /* without memory: it is tried again */
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

static void act(struct run_loop *loop, struct scope *scope, const struct walk_action *action, struct moment now)
{
	switch (action->kind) {
	case WALK_START:
		attempt_start(loop, scope, action->node, now);
		break;
	case WALK_STOP:
		if (action->node >= 0)
			attempt_stop(loop, scope, action->node);
		else if (scope->check)
			attempt_stop_job(loop, scope, scope->check);
		break;
	case WALK_LOOK:
		attempt_look(loop, scope, action->node, now);
		break;
	case WALK_STORE:
		store_node(loop, scope, action->node, now);
		break;
	case WALK_CHECK:
		start_check(loop, scope);
		break;
	case WALK_FINISH:
	case WALK_RELEASE:
	case WALK_DROP:
		scope->over = true;
		scope->end = *action;
		break;
	}
}

/* A lease that may have run out starts nothing with effects, until it was renewed. */
static void judge_lease(struct run *run, struct moment now)
{
	bool held = now.boot_ms >= atomic_load(&run->held->valid_until_ms);
	if (held == run->root->walk.held)
		return;
	for (struct scope *scope = run->scopes; scope; scope = scope->next) {
		walk_hold(&scope->walk, held);
		run_touch(run, scope);
	}
}

static void set_timer(struct run_loop *loop, struct run *run, struct moment now)
{
	uint64_t due = UINT64_MAX;
	for (const struct scope *scope = run->scopes; scope; scope = scope->next)
		due = scope->due_ms < due ? scope->due_ms : due;
	if (run->root->walk.held && due > now.boot_ms + HELD_LOOK_MS)
		due = now.boot_ms + HELD_LOOK_MS;
	timer_heap_set(&loop->timers, &run->timer, due);
}

/* The flow's own walk has ended, and with it the run. */
static void root_over(struct run_loop *loop, struct run *run)
{
	/* whoever lost its lease gives the run back as well: that changes nothing where it is fenced already */
	bool finish = run->root->end.kind == WALK_FINISH;
	end_run(loop, run, finish ? ENDING_FINISH : ENDING_RELEASE, finish ? run->root->end.run_state : WL_RUN_RUNNING);
}

/* Do all that the walks want, and what comes of it. */
static void settle_run(struct run_loop *loop, struct run *run, struct moment now)
{
	struct walk_action action;
	struct scope *scope;
	while ((scope = run_next_busy(run))) {
		do {
			while (walk_next_action(&scope->walk, &action))
				act(loop, scope, &action, now);
			send_commits(loop, scope);
		} while (walk_has_action(&scope->walk));
		scope->due_ms = walk_due_ms(&scope->walk);
		if (scope->over && scope != run->root)
			inside_scope_over(loop, scope, now);
	}
	if (run->over)
		return;
	if (run->root->over)
		root_over(loop, run);
	else if (run_rests(run, now.boot_ms + PARK_MIN_MS))
		end_run(loop, run, ENDING_PARK, WL_RUN_RUNNING);
	else
		set_timer(loop, run, now);
}

void turn_drop_run(struct run *run)
{
	for (struct scope *scope = run->scopes; scope; scope = scope->next) {
		walk_drop(&scope->walk);
		run_touch(run, scope);
	}
}

/* ---- messages -------------------------------------------------------------------------------------------- */

static void apply_notice(struct run *run, enum notice_kind kind)
{
	if (kind == NOTICE_LOST) {
		wl_log_run(WL_LOG_WARNING, run->held->lease.tenant, run->held->lease.eid,
			   "the lease was lost: another attempt may have it, this one stops");
		turn_drop_run(run);
		return;
	}
	if (kind == NOTICE_CANCEL) {
		walk_cancel(&run->root->walk);
		run_touch(run, run->root);
		return;
	}
	for (struct scope *scope = run->scopes; scope; scope = scope->next) {
		if (kind == NOTICE_DRAIN)
			walk_drain(&scope->walk);
		else
			walk_interrupt(&scope->walk);
		run_touch(run, scope);
	}
}

static void refuse_run(struct run_loop *loop, struct run *run, const struct wl_error *err)
{
	wl_log_run(WL_LOG_ERROR, run->held->lease.tenant, run->held->lease.eid, "the run cannot begin: %s", err->text);
	free(run->root->error_json);
	run->root->error_json =
		node_error_text(err->code == ENOENT ? "no_upstream" : "internal", err->text, NULL, NULL);
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
	struct walk *walk = &run->root->walk;
	turn_publish(loop, event_execution(run->held->lease.eid, WL_RUN_RUNNING, now.wall_ms));
	judge_lease(run, now);
	if (loop->draining)
		walk_drain(walk);
	walk_begin(walk, now.boot_ms);
	walk_tick(walk, now.boot_ms);
	if (cancel)
		walk_cancel(walk);
	if (lost)
		walk_drop(walk);
	if (loop->interrupting)
		walk_interrupt(walk);
	run_touch(run, run->root);
	settle_run(loop, run, now);
}

static void take_result(struct scope *scope, const struct commit_item *item)
{
	switch (item->outcome) {
	case WL_COMMIT_STORED:
		walk_node_stored(&scope->walk, item->node);
		break;
	case WL_COMMIT_KNOWN: /* an attempt before this one: begin anew from what it stored */
	case WL_COMMIT_FENCED:
		turn_drop_run(scope->run);
		walk_node_stored(&scope->walk, item->node);
		break;
	case WL_COMMIT_FAILED:
		if (!scope->error_json)
			scope->error_json =
				node_error_text("output_cap", "the document server refused the node's result",
						item->result.node_id, NULL);
		walk_store_refused(&scope->walk, item->node);
		break;
	}
	run_touch(scope->run, scope);
}

static void take_commit(struct run_loop *loop, struct commit_item *item, struct moment now)
{
	if (item->scope) {
		struct run *run = item->scope->run;
		judge_lease(run, now);
		if (item->mark)
			attempt_marked(loop, item, now);
		else
			take_result(item->scope, item);
		settle_run(loop, run, now);
	}
	commit_item_free(item);
}

static void take_inquiry(struct run_loop *loop, struct inquiry *inquiry, struct moment now)
{
	struct run *run = inquiry->scope->run;
	judge_lease(run, now);
	attempt_answered(loop, inquiry, now);
	inquiry_free(inquiry);
	settle_run(loop, run, now);
}

static void take_ending(struct run_loop *loop, struct ending *ending, struct moment now)
{
	bool final = ending->kind == ENDING_FINISH || ending->kind == ENDING_PARK; /* of a park: cancelled meanwhile */
	if (final && ending->done) {
		turn_publish(loop, event_execution(ending->lease.eid, ending->state, now.wall_ms));
		turn_publish(loop, event_end(ending, now.wall_ms));
	} else if (final && ending->unsure) {
		turn_publish(loop, event_reset(ending->lease.eid));
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
			apply_notice(run, notice->kind);
			settle_run(loop, run, now);
		}
	} else {
		for (struct run *run = loop->runs; run; run = run->next)
			if (!run->over) {
				apply_notice(run, notice->kind);
				settle_run(loop, run, now);
			}
	}
	free(notice);
}

static void take_node(struct run_loop *loop, struct node_job *job, struct moment now)
{
	struct scope *scope = job->scope;
	struct run *run = scope->run;
	judge_lease(run, now);
	run_touch(run, scope);
	if (job->node < 0)
		check_ended(scope, job);
	else
		attempt_job_ended(loop, scope, job, now);
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
	case MESSAGE_INQUIRY:
		take_inquiry(loop, container_of(message, struct inquiry, message), now);
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
		for (struct scope *scope = run->scopes; scope; scope = scope->next)
			if (scope->due_ms <= boot_ms) {
				walk_tick(&scope->walk, boot_ms);
				run_touch(run, scope);
			}
		run_touch(run, run->root);
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
