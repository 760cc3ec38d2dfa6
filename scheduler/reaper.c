/*
 * The reaper: leases that nobody renewed, and executions past their deadline.
 *
 * The order is what keeps it safe: first the ledger fences the attempt (whether it had started or not), then the
 * queue frees its slot. The other way round, the attempt could still start or finish beside its successor.
 */
#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "scheduler/scheduler.h"

#include <errno.h>

#define BATCH 128
#define MOST_OVERDUE_BATCHES 16 /* of one round: the shards want to be kept alive meanwhile */
#define OVERDUE_GRACE_MS 10000	/* for a supervisor to end its own overdue run */

/* The ledger has no such row any more. */
static bool is_over(enum wl_fence_outcome outcome)
{
	return outcome == WL_FENCE_POISON || outcome == WL_FENCE_CANCELLED || outcome == WL_FENCE_GONE;
}

static int give_up(struct upkeep *upkeep, int shard, int64_t gen, const struct wl_fence *item, struct wl_error *err)
{
	/* "newer" waits again, too: the queue is behind the ledger, its next start is refused, the sweep puts it right
	 */
	int r = upkeep->queue.requeue(upkeep->queue.self, shard, gen, item->eid, item->epoch, is_over(item->outcome),
				      err);
	if (r < 0)
		return r;
	if (item->outcome == WL_FENCE_REQUEUE && r == 1) {
		atomic_fetch_add(&upkeep->scheduler->counters.requeued, 1);
		wl_log(WL_LOG_INFO, "execution %s waits again: supervisor %s lost its attempt %d", item->eid,
		       item->supervisor, item->epoch);
	} else if (item->outcome == WL_FENCE_POISON) {
		atomic_fetch_add(&upkeep->scheduler->counters.poisoned, 1);
		wl_log(WL_LOG_WARNING, "execution %s failed as poison: its supervisors were lost too often", item->eid);
	}
	return 0;
}

/*
 * Fence a batch; when the ledger refuses it, one by one, so that a row that cannot be ended (its tenant's tables are
 * damaged, say) holds up no other. What was not fenced stays "newer" and keeps its lease until the next look.
 */
static int fence_items(struct upkeep *upkeep, struct wl_fence *items, int count, bool *ret_fenced, struct wl_error *err)
{
	int most = (int)upkeep->scheduler->settings->max_deliveries;
	int r = upkeep->ledger.fence(upkeep->ledger.self, items, count, most, err);
	for (int i = 0; i < count; i++)
		ret_fenced[i] = r == 0;
	if (r != -EIO || count == 1)
		return r;
	for (int i = 0; i < count; i++) {
		r = upkeep->ledger.fence(upkeep->ledger.self, &items[i], 1, most, err);
		ret_fenced[i] = r == 0;
		if (r < 0 && r != -EIO)
			return r;
		if (r < 0 && upkeep_due(&upkeep->complaint, wl_clock_boot_ms()))
			wl_log(WL_LOG_ERROR, "execution %s cannot be given up: %s", items[i].eid, err->text);
	}
	return 0;
}

static int reap_shard(struct upkeep *upkeep, int shard, int64_t gen, struct wl_error *err)
{
	struct wl_fence items[BATCH];
	bool fenced[BATCH];
	int total = 0, done = BATCH;
	while (done == BATCH) {
		int count = upkeep->queue.expired(upkeep->queue.self, shard, gen, items, BATCH, err);
		if (count <= 0)
			return count < 0 ? count : total;
		int r = fence_items(upkeep, items, count, fenced, err);
		done = 0;
		for (int i = 0; r == 0 && i < count; i++) {
			r = fenced[i] ? give_up(upkeep, shard, gen, &items[i], err) : 0;
			done += fenced[i];
		}
		if (r < 0)
			return r;
		total += done;
	}
	return total;
}

int reap_leases(struct upkeep *upkeep, struct wl_error *err)
{
	int total = 0, failed = 0;
	for (int shard = 0; shard < WL_SHARDS; shard++) {
		int64_t gen = atomic_load(&upkeep->scheduler->gens[shard]);
		int r = gen ? reap_shard(upkeep, shard, gen, err) : 0;
		if (scheduler_is_away(r))
			return r;
		if (r < 0 && r != -EAGAIN)
			failed = r;
		total += r > 0 ? r : 0;
	}
	if (total > 0)
		wl_log(WL_LOG_NOTICE, "%d leases ran out and were given up", total);
	return failed < 0 ? failed : total;
}

static int end_overdue(struct upkeep *upkeep, struct wl_error *err)
{
	struct wl_expired items[BATCH];
	int count = upkeep->ledger.expire_overdue(upkeep->ledger.self, OVERDUE_GRACE_MS, items, BATCH, err);
	for (int i = 0; i < count; i++) {
		int64_t gen = atomic_load(&upkeep->scheduler->gens[items[i].shard]);
		atomic_fetch_add(&upkeep->scheduler->counters.overdue, 1);
		wl_log_run(WL_LOG_INFO, items[i].tenant, items[i].eid, "ended: its deadline has passed");
		/* a shard that is not ready is being rebuilt from a ledger that has no such row any more */
		int r = upkeep->queue.requeue(upkeep->queue.self, items[i].shard, gen, items[i].eid, items[i].epoch,
					      true, err);
		if (r < 0 && r != -EAGAIN)
			return r;
	}
	return count;
}

int reap_overdue(struct upkeep *upkeep, struct wl_error *err)
{
	int total = 0, count = BATCH;
	for (int i = 0; i < MOST_OVERDUE_BATCHES && count == BATCH; i++) {
		count = end_overdue(upkeep, err);
		if (count < 0)
			return count;
		total += count;
	}
	if (total > 0)
		wl_log(WL_LOG_NOTICE, "%d executions ended at their deadlines", total);
	return total;
}
