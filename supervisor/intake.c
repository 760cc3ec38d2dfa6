#include "supervisor/intake.h"

#include "lib/base/cleanup.h"
#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "supervisor/nodes/text.h"
#include "supervisor/reuse.h"
#include "supervisor/run.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <time.h>

#define TAKE_MS 250
#define AWAY_MS 200

static void pause_ms(long ms)
{
	(void)nanosleep(&(struct timespec){ .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000 }, NULL);
}

/* ---- outcomes of a start --------------------------------------------------------------------------------- */

/* Hand a lease that never became a run to the finisher. */
static void end_lease(struct intake *intake, struct held_lease *held, enum ending_kind kind, const char *code,
		      const char *error)
{
	struct ending *ending = calloc(1, sizeof(*ending));
	if (ending) {
		ending->message.kind = MESSAGE_ENDING;
		ending->kind = kind;
		ending->lease = held->lease;
		ending->state = WL_RUN_FAILED;
		ending->error_json = error ? node_error_text(code, error, NULL, NULL) : NULL;
		finisher_post(intake->finisher, ending);
	}
	lease_table_remove(intake->leases, held);
}

static void begin(struct intake *intake, struct held_lease *held, struct wl_start *start, uint64_t asked_ms)
{
	struct wl_error err = { 0 };
	struct flow *flow = NULL;
	int result;
	if (start->inputs_json)
		text_compact_json(start->inputs_json); /* live events are one line each */
	/* from here on the attempt is ours; of an offer that may be old the first renewal tells whether it still holds
	 */
	lease_table_started(intake->leases, held, held->offered_after_ms + (uint64_t)intake->offer_ms,
			    held->offered_after_ms + (uint64_t)intake->offer_ms / 3);
	while ((result = flow_cache_get(&intake->flows, &intake->ledger, start->tenant, start->doc_hash, &flow, &err)) <
	       0) {
		if (!wl_ledger_is_away(result) || atomic_load(&intake->stop))
			break;
		pause_ms(AWAY_MS);
	}
	struct run *run = flow ? run_new(held, start, asked_ms, flow, &err) : NULL;
	const char *code = flow && err.code == EINVAL ? "options_invalid" : "internal";
	flow_release(flow);
	if (!run && wl_ledger_is_away(-err.code)) {
		end_lease(intake, held, ENDING_RELEASE, NULL, NULL);
		return;
	}
	if (!run && err.code == EIO) { /* the tenant's tables cannot be read: its lease runs out, others go on */
		wl_log_run(WL_LOG_ERROR, held->lease.tenant, held->lease.eid, "cannot be begun: %s", err.text);
		lease_table_remove(intake->leases, held);
		return;
	}
	if (!run) {
		wl_log_run(WL_LOG_ERROR, held->lease.tenant, held->lease.eid, "the flow cannot be run: %s", err.text);
		end_lease(intake, held, ENDING_FINISH, code, err.text);
		return;
	}
	bool restores = held->lease.epoch > 1 || (run_options_take(run->options));
	mailbox_post(restores ? &intake->restore : intake->runs, &run->message.mail);
}

static void take_outcome(struct intake *intake, struct held_lease *held, struct wl_start *start, uint64_t asked_ms)
{
	switch (start->outcome) {
	case WL_START_STARTED:
		begin(intake, held, start, asked_ms);
		break;
	case WL_START_GONE:
	case WL_START_CANCELLED: /* terminal already: only its slot is left */
		end_lease(intake, held, ENDING_COMPLETE, NULL, NULL);
		break;
	case WL_START_STALE: /* another attempt or another life of the queue: not ours to touch */
	case WL_START_EARLY: /* its lease runs out and it waits again */
		lease_table_remove(intake->leases, held);
		break;
	}
}

/* 0, or an error that is about the leases, or that the server is away while this process ends. */
static int start_all(struct intake *intake, struct wl_lease *leases, int count, struct wl_start *starts,
		     uint64_t *ret_asked_ms)
{
	struct wl_error err = { 0 };
	for (;;) {
		*ret_asked_ms = wl_clock_boot_ms();
		memset(starts, 0, sizeof(*starts) * (size_t)count);
		int result = intake->ledger.start(intake->ledger.self, intake->supervisor, leases, count, starts, &err);
		if (result == 0) {
			if (intake->away)
				wl_log(WL_LOG_NOTICE, "executions start again");
			intake->away = false;
			return 0;
		}
		if (!wl_ledger_is_away(result)) {
			wl_log_run(WL_LOG_ERROR, leases[0].tenant, leases[0].eid,
				   "%d executions could not be started, this one among them: %s", count, err.text);
			return result;
		}
		if (!intake->away)
			wl_log(WL_LOG_ERROR, "starts wait for PostgreSQL: %s", err.text);
		intake->away = true;
		if (atomic_load(&intake->stop))
			return result;
		pause_ms(AWAY_MS);
	}
}

static const struct wl_lease *lease_of(const struct wl_start *start, struct held_lease *const *held, int count,
				       int *ret_index)
{
	for (int i = 0; i < count; i++)
		if (held[i] && held[i]->lease.epoch == start->epoch && strcmp(held[i]->lease.eid, start->eid) == 0) {
			*ret_index = i;
			return &held[i]->lease;
		}
	return NULL;
}

/* Entries of `held` become NULL where they were taken over. 0 or as start_all(). */
static int start_held(struct intake *intake, struct wl_lease *leases, struct held_lease **held, int count)
{
	struct wl_start starts[INTAKE_BATCH];
	uint64_t asked_ms = 0;
	int index = 0, result = start_all(intake, leases, count, starts, &asked_ms);
	for (int i = 0; i < count && result == 0; i++) {
		if (lease_of(&starts[i], held, count, &index)) {
			take_outcome(intake, held[index], &starts[i], asked_ms);
			held[index] = NULL;
		}
		wl_start_release(&starts[i]);
	}
	return result;
}

/* `offered_after_ms`: they were offered after it, for all we know. */
static void start_leases(struct intake *intake, const struct wl_lease *taken, int count, uint64_t offered_after_ms)
{
	struct wl_lease leases[INTAKE_BATCH];
	struct held_lease *held[INTAKE_BATCH];
	int fresh = 0;
	for (int i = 0; i < count; i++)
		if ((held[fresh] = lease_table_add(intake->leases, &taken[i]))) {
			held[fresh]->offered_after_ms = offered_after_ms;
			leases[fresh++] = taken[i];
		}
	int result = fresh > 0 ? start_held(intake, leases, held, fresh) : 0;
	/* one that cannot be started keeps no other from it: its own lease runs out */
	for (int i = 0; i < fresh && fresh > 1 && result < 0 && !wl_ledger_is_away(result); i++)
		(void)start_held(intake, &leases[i], &held[i], 1);
	for (int i = 0; i < fresh; i++)
		if (held[i])
			lease_table_remove(intake->leases, held[i]);
}

/* ---- intake ------------------------------------------------------------------------------------------------ */

static void start_found(struct intake *intake)
{
	struct wl_lease leases[INTAKE_BATCH];
	int count = 0, taken = 0;
	struct mail *list = mailbox_take(&intake->found, INTAKE_BATCH, 0, &taken);
	while (list) {
		struct found_lease *found = container_of(list, struct found_lease, mail);
		list = list->next;
		leases[count++] = found->lease;
		free(found);
	}
	if (count > 0)
		start_leases(intake, leases, count, 0);
}

/*
 * What a call that was sent at `sent_ms` tells of the inboxes: it empties the first one that holds something, in the
 * order of the shards, as far as the batch reaches. So those before it were empty at that time.
 */
static void note_emptied(struct intake *intake, const struct wl_lease *leases, int count, uint64_t sent_ms)
{
	int shard = count > 0 ? leases[0].shard : WL_SHARDS;
	for (int i = 0; i < shard; i++)
		intake->emptied_ms[i] = sent_ms;
	if (count > 0 && count < INTAKE_BATCH)
		intake->emptied_ms[shard] = sent_ms;
}

static void *intake_main(void *context)
{
	struct intake *intake = context;
	bool lost = false;
	for (;;) {
		struct wl_lease leases[INTAKE_BATCH];
		struct wl_error err = { 0 };
		bool last = atomic_load(&intake->stop);
		uint64_t sent_ms = wl_clock_boot_ms();
		int count = intake->queue.take(intake->queue.self, intake->supervisor, leases, INTAKE_BATCH,
					       last ? 1 : TAKE_MS, &err);
		uint64_t offered_after_ms = count > 0 ? intake->emptied_ms[leases[0].shard] : 0;
		if (count >= 0)
			note_emptied(intake, leases, count, sent_ms);
		if (count > 0)
			start_leases(intake, leases, count, offered_after_ms);
		start_found(intake);
		if (count < 0 && count != -EAGAIN && !lost)
			wl_log(WL_LOG_WARNING, "nothing new is taken until Redis is back: %s", err.text);
		lost = count < 0 && count != -EAGAIN;
		if (last && count <= 0)
			return NULL;
		if (count < 0)
			pause_ms(AWAY_MS);
	}
}

/* ---- restorer ---------------------------------------------------------------------------------------------- */

/* Keep older attempts out, and read what they stored. */
static int restore_run(struct intake *intake, struct run *run, struct wl_error *err)
{
	const struct wl_lease *lease = &run->held->lease;
	const struct wl_flow_graph *graph = &run->root->part->graph;
	_wl_free_ const char **ids = calloc((size_t)graph->node_count + 1, sizeof(*ids));
	int count = 0;
	if (!ids)
		return wl_fail(err, ENOMEM, "no memory to restore a run");
	for (int i = 0; i < graph->node_count; i++)
		if (wl_node_kind_runs(graph->nodes[i].kind))
			ids[count++] = graph->nodes[i].id;
	/* first the seal, then the look: whatever an older attempt still brings comes too late for both */
	int result =
		intake->results->seal(intake->results->self, lease->tenant, lease->eid, ids, count, lease->epoch, err);
	if (result == 0)
		result = intake->results->load(intake->results->self, lease->tenant, lease->eid, &run->restored, err);
	run->restored_count = result > 0 ? result : 0;
	return result < 0 ? result : 0;
}

static int prepare_run(struct intake *intake, struct run *run, struct wl_error *err)
{
	int result = run->held->lease.epoch > 1 && !run->restored ? restore_run(intake, run, err) : 0;
	if (result == 0 && run_options_take(run->options))
		result = reuse_results(intake->results, run, err);
	return result;
}

static void *restorer_main(void *context)
{
	struct intake *intake = context;
	struct mail *list;
	bool away = false;
	int count = 0;
	while ((list = mailbox_take(&intake->restore, 1, -1, &count)) || !mailbox_is_closed(&intake->restore)) {
		struct wl_error err = { 0 };
		if (!list)
			continue;
		struct run *run = container_of(list, struct run, message.mail);
		int result;
		while ((result = prepare_run(intake, run, &err)) < 0 && result != -EIO && result != -ENOENT &&
		       !atomic_load(&intake->give_up)) {
			if (!away)
				wl_log_run(WL_LOG_ERROR, run->held->lease.tenant, run->held->lease.eid,
					   "resuming waits for the document server: %s", err.text);
			away = true;
			pause_ms(AWAY_MS);
		}
		away = false;
		if (result == 0) {
			mailbox_post(intake->runs, &run->message.mail);
			continue;
		}
		if (result == -ENOENT) { /* what it is to take over is not there */
			end_lease(intake, run->held, ENDING_FINISH, "reuse_missing", err.text);
			run_free(run);
			continue;
		}
		if (result == -EIO) { /* about this run alone */
			wl_log_run(WL_LOG_ERROR, run->held->lease.tenant, run->held->lease.eid, "cannot be resumed: %s",
				   err.text);
			lease_table_remove(intake->leases, run->held);
		}
		run_free(run);
	}
	return NULL;
}

/* ---- begin and end ----------------------------------------------------------------------------------------- */

int intake_start(struct intake *intake, struct wl_error *err)
{
	flow_cache_open(&intake->flows, 64u << 20);
	mailbox_open(&intake->found);
	mailbox_open(&intake->restore);
	int failed = pthread_create(&intake->restorer, NULL, restorer_main, intake);
	if (!failed)
		failed = pthread_create(&intake->thread, NULL, intake_main, intake);
	return failed ? wl_fail_errno(err, failed, "start the intake's threads") : 0;
}

void intake_post_found(struct intake *intake, struct found_lease *found)
{
	mailbox_post(&intake->found, &found->mail);
}

void intake_stop(struct intake *intake)
{
	atomic_store(&intake->stop, true);
	(void)pthread_join(intake->thread, NULL);
}

void intake_release(struct intake *intake)
{
	atomic_store(&intake->give_up, true);
	mailbox_close(&intake->restore);
	(void)pthread_join(intake->restorer, NULL);
	flow_cache_release(&intake->flows);
	intake->queue.close(intake->queue.self);
	intake->ledger.close(intake->ledger.self);
	mailbox_release(&intake->found);
	mailbox_release(&intake->restore);
}
