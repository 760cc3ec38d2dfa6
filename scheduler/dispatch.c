/*
 * The dispatch thread: bells in, claims out.
 *
 * A bell says that a shard has work that may run, or that a supervisor got room. The thread then claims, shard by
 * shard in turn, for the supervisor with the most room, until no shard has work or no supervisor has room. What a
 * supervisor holds is counted by the queue (cardinalities of sets); here it is only remembered for some milliseconds.
 * Bells may be lost with the scheduler that took them: every shard is visited once a second without one.
 */
#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "scheduler/core/dispatch_plan.h"
#include "scheduler/scheduler.h"

#include <errno.h>

#define MOST_SUPERVISORS 256
#define IDLE_WAIT_MS 250
#define VISIT_ALL_MS 1000

_Static_assert(PLAN_SHARDS == WL_SHARDS, "the plan knows as many shards as the queue");

struct dispatcher {
	struct scheduler *scheduler;
	struct wl_job_queue *queue;
	struct wl_supervisor_row rows[MOST_SUPERVISORS];
	struct plan_credit credits[MOST_SUPERVISORS];
	int supervisors;
	int turn;
	uint64_t counted_ms;
	struct plan_visits visits;
};

static int count_credits(struct dispatcher *own, struct wl_error *err)
{
	int count = own->queue->supervisors(own->queue->self, own->rows, MOST_SUPERVISORS, err);
	if (count < 0)
		return count;
	for (int i = 0; i < count; i++)
		own->credits[i].free = own->rows[i].capacity - own->rows[i].held;
	own->supervisors = count;
	own->counted_ms = wl_clock_boot_ms();
	return 0;
}

/* A supervisor with room, or -1; counts again when what is remembered is old or used up. */
static int pick_supervisor(struct dispatcher *own, bool *counted, int *ret_picked, struct wl_error *err)
{
	bool old = wl_clock_boot_ms() - own->counted_ms >= PLAN_CREDIT_AGE_MS;
	int picked = old ? -1 : plan_pick(own->credits, own->supervisors, own->turn);
	if (picked < 0 && !*counted) {
		if (count_credits(own, err) < 0)
			return -err->code;
		*counted = true;
		picked = plan_pick(own->credits, own->supervisors, own->turn);
	}
	*ret_picked = picked;
	return 0;
}

/* Claim until no shard has work or nobody has room; 0 or -errno. */
static int dispatch_waiting(struct dispatcher *own, struct wl_error *err)
{
	bool counted = false;
	for (;;) {
		int picked = -1;
		if (!own->visits.waiting)
			return 0;
		if (pick_supervisor(own, &counted, &picked, err) < 0)
			return -err->code;
		if (picked < 0)
			return 0;
		int shard = plan_next(&own->visits);
		int64_t gen = atomic_load(&own->scheduler->gens[shard]);
		int asked = plan_batch(own->credits[picked].free, own->supervisors);
		int claimed = gen ? own->queue->claim(own->queue->self, shard, gen, own->rows[picked].id, asked,
						      (int)own->scheduler->settings->offer_ms, err)
				  : -EAGAIN;
		plan_visited(&own->visits, shard, asked, claimed);
		if (claimed > 0) {
			own->credits[picked].free -= claimed;
			own->turn = (picked + 1) % own->supervisors;
			atomic_fetch_add(&own->scheduler->counters.claimed, claimed);
			wl_log(WL_LOG_DEBUG, "%d claimed in shard %d for %s", claimed, shard, own->rows[picked].id);
			/* room may have come up since */
			counted = counted && own->credits[picked].free > 0;
		} else if (claimed < 0 && claimed != -EAGAIN) {
			return claimed;
		}
	}
}

static int dispatch_step(struct dispatcher *own, struct upkeep_timer *visit_all, struct wl_error *err)
{
	int shard = own->queue->wait_bell(own->queue->self, plan_wait_ms(&own->visits, IDLE_WAIT_MS), err);
	if (shard >= 0)
		plan_rung(&own->visits, shard);
	else if (shard != -ETIMEDOUT)
		return shard;
	if (upkeep_due(visit_all, wl_clock_boot_ms()))
		plan_all(&own->visits);
	return dispatch_waiting(own, err);
}

void *dispatch_main(void *context)
{
	struct dispatch *dispatch = context;
	struct dispatcher own = { .scheduler = dispatch->scheduler, .queue = &dispatch->queue };
	struct outage outage = { .thread = "dispatch" };
	struct upkeep_timer visit_all = { .period_ms = VISIT_ALL_MS };
	while (!scheduler_stopping(own.scheduler)) {
		struct wl_error err = { 0 };
		int r = dispatch_step(&own, &visit_all, &err);
		outage_note(&outage, r, &err);
		if (r < 0)
			scheduler_pause(own.scheduler, (uint64_t)upkeep_pause(outage.failures));
	}
	return NULL;
}
