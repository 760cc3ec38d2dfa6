/* The upkeep thread: one step after the other, each when it is due. */
#include "lib/base/cleanup.h"
#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "scheduler/scheduler.h"

#define GUARD_MS 1000
#define SHARES_MS 2000
#define REPORT_MS 5000
#define JANITOR_MS 3600000
#define COMPLAINT_MS 60000

struct keeper {
	struct upkeep *upkeep;
	struct sweep_cursor cursor;
	struct share_copies copies;
};

static int step_guard(struct keeper *keeper, struct wl_error *err)
{
	return guard_shards(keeper->upkeep, err);
}

static int step_reap(struct keeper *keeper, struct wl_error *err)
{
	return reap_leases(keeper->upkeep, err);
}

static int step_sweep(struct keeper *keeper, struct wl_error *err)
{
	struct wl_error own = { 0 };
	int overdue = reap_overdue(keeper->upkeep, err);
	if (scheduler_is_away(overdue))
		return overdue;
	int swept = sweep_ledger(keeper->upkeep, &keeper->cursor, &own);
	if (swept < 0)
		*err = own;
	return swept < 0 ? swept : overdue;
}

static int step_shares(struct keeper *keeper, struct wl_error *err)
{
	return copy_shares(keeper->upkeep, &keeper->copies, err);
}

static int step_report(struct keeper *keeper, struct wl_error *err)
{
	struct scheduler *scheduler = keeper->upkeep->scheduler;
	const struct wl_counter counters[] = {
#define X(name) { #name "_total", atomic_load(&scheduler->counters.name) },
		SCHEDULER_COUNTERS(X)
#undef X
	};
	return keeper->upkeep->queue.report(keeper->upkeep->queue.self, scheduler->id, counters,
					    (int)WL_COUNT_OF(counters), 3 * REPORT_MS, err);
}

static int step_janitor(struct keeper *keeper, struct wl_error *err)
{
	return keeper->upkeep->ledger.janitor(keeper->upkeep->ledger.self, err);
}

/* In this order when several are due: without a living shard the others have nothing to do. */
enum { STEP_GUARD, STEP_REAP, STEP_SWEEP, STEP_SHARES, STEP_REPORT, STEP_JANITOR, STEPS };

static int (*const steps[STEPS])(struct keeper *, struct wl_error *) = {
	[STEP_GUARD] = step_guard,   [STEP_REAP] = step_reap,	  [STEP_SWEEP] = step_sweep,
	[STEP_SHARES] = step_shares, [STEP_REPORT] = step_report, [STEP_JANITOR] = step_janitor,
};

/*
 * Every step that is due. A server that is away ends the round; another failure of one step (a damaged row, say) must
 * not keep the others from their work.
 */
static int upkeep_round(struct keeper *keeper, struct upkeep_timer timers[STEPS], struct wl_error *err)
{
	int failed = 0;
	for (int i = 0; i < STEPS && !scheduler_stopping(keeper->upkeep->scheduler); i++) {
		struct wl_error own = { 0 };
		if (!upkeep_due(&timers[i], wl_clock_boot_ms()))
			continue;
		int r = steps[i](keeper, &own);
		if (r >= 0)
			continue;
		*err = own;
		failed = r;
		if (scheduler_is_away(r)) {
			timers[i].due_ms = 0;
			break;
		}
	}
	return failed;
}

void *upkeep_main(void *context)
{
	struct upkeep *upkeep = context;
	struct keeper keeper = { .upkeep = upkeep };
	upkeep->complaint.period_ms = COMPLAINT_MS;
	struct outage outage = { .thread = "upkeep" };
	const struct wl_settings *settings = upkeep->scheduler->settings;
	struct upkeep_timer timers[STEPS] = {
		[STEP_GUARD] = { GUARD_MS, 0 },
		[STEP_REAP] = { (uint64_t)settings->reap_ms, 0 },
		[STEP_SWEEP] = { (uint64_t)settings->sweep_ms, 0 },
		[STEP_SHARES] = { SHARES_MS, 0 },
		[STEP_REPORT] = { REPORT_MS, 0 },
		[STEP_JANITOR] = { JANITOR_MS, 0 },
	};
	while (!scheduler_stopping(upkeep->scheduler)) {
		struct wl_error err = { 0 };
		int r = upkeep_round(&keeper, timers, &err);
		outage_note(&outage, r, &err);
		uint64_t rest = upkeep_rest(timers, STEPS, wl_clock_boot_ms());
		scheduler_pause(upkeep->scheduler, r < 0 ? (uint64_t)upkeep_pause(outage.failures) : rest);
	}
	share_copies_release(&keeper.copies);
	return NULL;
}
