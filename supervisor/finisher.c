#include "supervisor/finisher.h"

#include "lib/base/log.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#define BATCH 64
#define FIRST_PAUSE_MS 50
#define LONGEST_PAUSE_MS 2000

struct batch {
	struct ending *items[BATCH];
	int count;
};

static struct ending *ending_of(struct mail *mail)
{
	return container_of(mail, struct ending, message.mail);
}

/* Wait before the next try; false when the thread is to end. */
static bool pause_before_retry(struct finisher *finisher, int *pause_ms, const char *what, const struct wl_error *err)
{
	if (*pause_ms == 0)
		wl_log(WL_LOG_ERROR, "%s waits for PostgreSQL: %s", what, err->text);
	*pause_ms = *pause_ms ? *pause_ms * 2 : FIRST_PAUSE_MS;
	if (*pause_ms > LONGEST_PAUSE_MS)
		*pause_ms = LONGEST_PAUSE_MS;
	for (int waited = 0; waited < *pause_ms && !atomic_load(&finisher->give_up); waited += 50)
		(void)nanosleep(&(struct timespec){ .tv_nsec = 50000000 }, NULL);
	return !atomic_load(&finisher->give_up);
}

/* ---- finish ------------------------------------------------------------------------------------------------- */

static int finish_once(struct finisher *finisher, struct ending **items, int count, struct wl_error *err)
{
	struct wl_finish rows[BATCH];
	for (int i = 0; i < count; i++) {
		rows[i] = (struct wl_finish){ .epoch = items[i]->lease.epoch,
					      .state = items[i]->state,
					      .outputs_json = items[i]->outputs_json,
					      .error_json = items[i]->error_json };
		memcpy(rows[i].eid, items[i]->lease.eid, sizeof(rows[i].eid));
	}
	int result = finisher->ledger.finish(finisher->ledger.self, rows, count, err);
	for (int i = 0; i < count && result == 0; i++)
		items[i]->done = rows[i].done;
	return result;
}

/* The ledger does not take what one run gave: the run has failed then, and the others go on. */
static void blame_outputs(struct ending *ending, const struct wl_error *err)
{
	wl_log_run(WL_LOG_ERROR, ending->lease.tenant, ending->lease.eid, "the run's end was refused: %s", err->text);
	free(ending->outputs_json);
	free(ending->error_json);
	ending->outputs_json = NULL;
	ending->error_json = node_error_text("internal", "the outputs could not be stored", NULL, NULL);
	ending->state = WL_RUN_FAILED;
}

/* A run whose tenant's tables take nothing must not keep the others waiting: the reaper deals with it. */
static void leave(struct ending **items, int count, const struct wl_error *err)
{
	for (int i = 0; i < count; i++) {
		items[i]->left = true;
		wl_log_run(WL_LOG_ERROR, items[i]->lease.tenant, items[i]->lease.eid,
			   "the run's end could not be stored, its lease will run out: %s", err->text);
	}
}

static void finish_until_done(struct finisher *finisher, struct ending **items, int count)
{
	struct wl_error err = { 0 };
	int pause_ms = 0, refused = 0, result;
	while ((result = finish_once(finisher, items, count, &err)) < 0) {
		for (int i = 0; i < count; i++)
			items[i]->unsure = items[i]->unsure || result == -EPIPE || result == -ETIMEDOUT;
		if (wl_ledger_is_away(result)) {
			if (!pause_before_retry(finisher, &pause_ms, "the end of runs", &err)) {
				leave(items, count, &err);
				return;
			}
		} else if (count > 1) {
			for (int i = 0; i < count; i++)
				finish_until_done(finisher, &items[i], 1);
			return;
		} else if (refused++ == 0) {
			blame_outputs(items[0], &err);
		} else {
			leave(items, count, &err);
			return;
		}
	}
}

/* ---- release ------------------------------------------------------------------------------------------------ */

static void put_back(struct finisher *finisher, const struct wl_lease *lease)
{
	struct wl_error err = { 0 };
	if (finisher->queue.requeue(finisher->queue.self, lease->shard, lease->gen, lease->eid, lease->epoch, false,
				    &err) < 0)
		wl_log_run(WL_LOG_INFO, lease->tenant, lease->eid,
			   "given back; the sweeper will put it into the queue: %s", err.text);
}

static void release_until_done(struct finisher *finisher, struct ending **items, int count)
{
	struct wl_lease leases[BATCH];
	bool released[BATCH] = { false };
	struct wl_error err = { 0 };
	int pause_ms = 0;
	for (int i = 0; i < count; i++)
		leases[i] = items[i]->lease;
	int result;
	while ((result = finisher->ledger.release(finisher->ledger.self, leases, count, released, &err)) < 0)
		if (!wl_ledger_is_away(result) || !pause_before_retry(finisher, &pause_ms, "giving runs back", &err))
			return;
	for (int i = 0; i < count; i++) {
		items[i]->done = released[i];
		if (released[i])
			put_back(finisher, &leases[i]);
	}
}

/* ---- park ---------------------------------------------------------------------------------------------------- */

/* How many of the leases are to be completed: those that are parked, or over. */
static int park_until_done(struct finisher *finisher, struct ending **items, int count, struct wl_lease *over)
{
	struct wl_park rows[BATCH];
	enum wl_park_outcome outcomes[BATCH];
	struct wl_error err = { 0 };
	int pause_ms = 0, result, over_count = 0;
	for (int i = 0; i < count; i++) {
		rows[i] = (struct wl_park){ .epoch = items[i]->lease.epoch, .nodes_json = items[i]->waits_json };
		memcpy(rows[i].eid, items[i]->lease.eid, sizeof(rows[i].eid));
	}
	while ((result = finisher->ledger.park(finisher->ledger.self, rows, count, outcomes, &err)) < 0)
		if (!wl_ledger_is_away(result) || !pause_before_retry(finisher, &pause_ms, "parking runs", &err))
			return 0; /* their leases run out */
	for (int i = 0; i < count; i++) {
		if (outcomes[i] == WL_PARK_RELEASED)
			put_back(finisher, &items[i]->lease);
		else if (outcomes[i] != WL_PARK_LOST)
			over[over_count++] = items[i]->lease;
		items[i]->done = outcomes[i] == WL_PARK_CANCELLED;
		if (items[i]->done)
			items[i]->state = WL_RUN_CANCELLED;
	}
	return over_count;
}

/* ---- the thread --------------------------------------------------------------------------------------------- */

/* Free the slots. A slot that this does not reach is freed when its lease runs out and the ledger has no such row. */
static void complete(struct finisher *finisher, const struct wl_lease *leases, int count)
{
	struct wl_error err = { 0 };
	if (count > 0 && finisher->queue.complete(finisher->queue.self, finisher->supervisor, leases, count, &err) < 0)
		wl_log(WL_LOG_INFO, "%d slots will be freed when their leases run out: %s", count, err.text);
}

static void work_off(struct finisher *finisher, struct mail *list)
{
	struct batch finish = { .count = 0 }, release = { .count = 0 }, park = { .count = 0 };
	struct wl_lease over[BATCH];
	int over_count = 0;
	for (struct mail *next; list; list = next) {
		next = list->next;
		struct ending *ending = ending_of(list);
		if (ending->kind == ENDING_RELEASE)
			release.items[release.count++] = ending;
		else if (ending->kind == ENDING_FINISH)
			finish.items[finish.count++] = ending;
		else if (ending->kind == ENDING_PARK)
			park.items[park.count++] = ending;
		else
			over[over_count++] = ending->lease;
		if (ending->kind == ENDING_COMPLETE)
			ending_free(ending);
	}
	if (finish.count > 0)
		finish_until_done(finisher, finish.items, finish.count);
	for (int i = 0; i < finish.count; i++) {
		if (!finish.items[i]->left)
			over[over_count++] = finish.items[i]->lease;
		mailbox_post(finisher->answers, &finish.items[i]->message.mail);
	}
	if (park.count > 0)
		over_count += park_until_done(finisher, park.items, park.count, over + over_count);
	complete(finisher, over, over_count);
	for (int i = 0; i < park.count; i++)
		mailbox_post(finisher->answers, &park.items[i]->message.mail);
	if (release.count > 0)
		release_until_done(finisher, release.items, release.count);
	for (int i = 0; i < release.count; i++)
		mailbox_post(finisher->answers, &release.items[i]->message.mail);
}

static void *finisher_main(void *context)
{
	struct finisher *finisher = context;
	struct mail *list;
	int count;
	do {
		list = mailbox_take(&finisher->box, BATCH, -1, &count);
		if (list)
			work_off(finisher, list);
	} while (list || !mailbox_is_closed(&finisher->box));
	return NULL;
}

int finisher_start(struct finisher *finisher, const struct wl_ledger *ledger, const struct wl_job_queue *queue,
		   const char *supervisor, struct mailbox *answers, struct wl_error *err)
{
	*finisher =
		(struct finisher){ .ledger = *ledger, .queue = *queue, .supervisor = supervisor, .answers = answers };
	mailbox_open(&finisher->box);
	int failed = pthread_create(&finisher->thread, NULL, finisher_main, finisher);
	return failed ? wl_fail_errno(err, failed, "start the finisher's thread") : 0;
}

void finisher_post(struct finisher *finisher, struct ending *ending)
{
	mailbox_post(&finisher->box, &ending->message.mail);
}

void finisher_stop(struct finisher *finisher)
{
	atomic_store(&finisher->give_up, true);
	mailbox_close(&finisher->box);
	(void)pthread_join(finisher->thread, NULL);
	finisher->ledger.close(finisher->ledger.self);
	finisher->queue.close(finisher->queue.self);
	mailbox_release(&finisher->box);
}
