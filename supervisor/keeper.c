#include "supervisor/keeper.h"

#include "lib/base/cleanup.h"
#include "lib/base/clock.h"
#include "lib/base/log.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define ANNOUNCE_MS 1000
#define TICK_MS 250
#define RENEW_BATCH 128
#define WAIT_CANCEL_MS 500
#define OWNED_MAX 4096
#define DRAIN_TOLD_MS 600

/* Sleep until the next turn; false when it is time to end. */
static bool next_turn(struct keeper *keeper, int ms)
{
	int count = 0;
	(void)mailbox_take(&keeper->bell, 1, ms, &count);
	return !mailbox_is_closed(&keeper->bell);
}

static void post_notice(struct keeper *keeper, enum notice_kind kind, const char *eid, int epoch)
{
	struct notice *notice = calloc(1, sizeof(*notice));
	if (!notice)
		return; /* the next renewal tells it again */
	notice->message.kind = MESSAGE_NOTICE;
	notice->kind = kind;
	notice->epoch = epoch;
	(void)snprintf(notice->eid, sizeof(notice->eid), "%s", eid);
	mailbox_post(keeper->runs, &notice->message.mail);
}

/* ---- renewing ---------------------------------------------------------------------------------------------- */

static int renew_some(struct keeper *keeper, const struct wl_lease *leases, int count)
{
	enum wl_renew_outcome outcomes[RENEW_BATCH];
	struct wl_error err = { 0 };
	uint64_t sent_ms = wl_clock_boot_ms();
	int result = keeper->queue.renew(keeper->queue.self, keeper->supervisor, leases, count, keeper->lease_ms,
					 outcomes, &err);
	if (result < 0) {
		if (!keeper->away)
			wl_log(WL_LOG_WARNING, "leases cannot be renewed: %s", err.text);
		keeper->away = true;
		return result;
	}
	keeper->away = false;
	for (int i = 0; i < count; i++) {
		uint64_t again_ms = sent_ms + (uint64_t)keeper->renew_ms;
		bool lost = outcomes[i] == WL_RENEW_LOST;
		lease_table_renewed(keeper->leases, &leases[i], lost ? 0 : sent_ms + (uint64_t)keeper->lease_ms,
				    again_ms);
		if (lost)
			post_notice(keeper, NOTICE_LOST, leases[i].eid, leases[i].epoch);
		else if (outcomes[i] == WL_RENEW_CANCEL)
			post_notice(keeper, NOTICE_CANCEL, leases[i].eid, leases[i].epoch);
	}
	return 0;
}

static void renew_due(struct keeper *keeper)
{
	struct wl_lease leases[RENEW_BATCH];
	for (int shard = 0; shard < WL_SHARDS; shard++) {
		int count;
		do {
			count = lease_table_due(keeper->leases, shard, wl_clock_boot_ms(), leases, RENEW_BATCH);
			/* a shard that is not ready does not keep the others from being renewed */
			if (count > 0 && renew_some(keeper, leases, count) < 0)
				break;
		} while (count == RENEW_BATCH);
	}
}

static void announce(struct keeper *keeper)
{
	struct wl_error err = { 0 };
	bool full = atomic_load(&keeper->draining) || atomic_load(keeper->pressed);
	int capacity = full ? 0 : keeper->capacity;
	uint64_t now_ms = wl_clock_boot_ms();
	if (capacity == atomic_load(&keeper->announced) && now_ms < keeper->announce_at_ms)
		return;
	if (keeper->queue.announce(keeper->queue.self, keeper->supervisor, capacity, 3 * ANNOUNCE_MS, &err) < 0)
		return;
	atomic_store(&keeper->announced, capacity);
	keeper->announce_at_ms = now_ms + ANNOUNCE_MS;
}

static void *keeper_main(void *context)
{
	struct keeper *keeper = context;
	struct wl_error err = { 0 };
	int tick_ms = keeper->offer_ms / 6;
	if (keeper->renew_ms / 4 < tick_ms)
		tick_ms = keeper->renew_ms / 4;
	tick_ms = tick_ms > TICK_MS ? TICK_MS : tick_ms < 20 ? 20 : tick_ms;
	do {
		announce(keeper);
		renew_due(keeper);
	} while (next_turn(keeper, tick_ms));
	(void)keeper->queue.withdraw(keeper->queue.self, keeper->supervisor, &err);
	return NULL;
}

/* ---- control ----------------------------------------------------------------------------------------------- */

/* Leases that were written for us but whose message never came: the start's compare-and-set tells what they are. */
static int resync(struct keeper *keeper)
{
	struct wl_error err = { 0 };
	_wl_free_ struct wl_lease *owned = calloc(OWNED_MAX, sizeof(*owned));
	if (!owned)
		return -ENOMEM;
	int count = keeper->control_queue.owned(keeper->control_queue.self, keeper->supervisor, owned, OWNED_MAX, &err);
	for (int i = 0; i < count; i++) {
		struct found_lease *found = malloc(sizeof(*found));
		if (!found)
			return -ENOMEM;
		found->lease = owned[i];
		intake_post_found(keeper->intake, found);
	}
	return count;
}

static void *control_main(void *context)
{
	struct keeper *keeper = context;
	uint64_t resync_at_ms = wl_clock_boot_ms();
	int pause_ms = 0;
	while (next_turn(keeper, pause_ms)) {
		char eid[WL_UUID_TEXT];
		struct wl_error err = { 0 };
		int result = keeper->control_queue.wait_cancel(keeper->control_queue.self, keeper->supervisor,
							       WAIT_CANCEL_MS, eid, &err);
		if (result > 0)
			post_notice(keeper, NOTICE_CANCEL, eid, 0);
		keeper->control_away = result < 0 && result != -EAGAIN;
		pause_ms = result < 0 ? TICK_MS : 0;
		if (keeper->control_away)
			resync_at_ms = 0; /* as soon as it is back */
		else if (wl_clock_boot_ms() >= resync_at_ms && resync(keeper) >= 0)
			resync_at_ms = wl_clock_boot_ms() + (uint64_t)keeper->lease_ms / 2;
	}
	return NULL;
}

/* ---- begin and end ----------------------------------------------------------------------------------------- */

int keeper_start(struct keeper *keeper, struct wl_error *err)
{
	atomic_store(&keeper->announced, -1);
	mailbox_open(&keeper->bell);
	int failed = pthread_create(&keeper->thread, NULL, keeper_main, keeper);
	if (!failed)
		failed = pthread_create(&keeper->control, NULL, control_main, keeper);
	return failed ? wl_fail_errno(err, failed, "start the keeper's threads") : 0;
}

void keeper_drain(struct keeper *keeper)
{
	atomic_store(&keeper->draining, true);
	/* whatever is claimed before they hear of it still comes into the inbox, and is given back from there */
	for (int waited = 0; waited < DRAIN_TOLD_MS && atomic_load(&keeper->announced) != 0; waited += 10)
		(void)nanosleep(&(struct timespec){ .tv_nsec = 10000000 }, NULL);
}

void keeper_stop(struct keeper *keeper)
{
	mailbox_close(&keeper->bell);
	(void)pthread_join(keeper->thread, NULL);
	(void)pthread_join(keeper->control, NULL);
	keeper->queue.close(keeper->queue.self);
	keeper->control_queue.close(keeper->control_queue.self);
	mailbox_release(&keeper->bell);
}
