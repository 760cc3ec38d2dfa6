/*
 * The sweeper: rows of the ledger that the queue does not hold (the web server died between its commit and its
 * enqueue, Redis was away, a queue was full) are put there; cancels that may not have come to their supervisor are
 * told again; and weights and caps are copied to the queue.
 */
#include "lib/base/cleanup.h"
#include "lib/base/log.h"
#include "scheduler/scheduler.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define PAGE_ROWS 512
#define SWEEP_ROWS 8192 /* of one sweep: bounds what a long backlog costs */
#define MIN_AGE_MS 2000 /* younger ones are on their way */

/* A row that is missing and that a second look at the ledger still shows. */
static int keep_confirmed(const struct wl_dispatch_row *rows, const bool *missing, int count,
			  struct wl_dispatch_row *again, int again_count)
{
	int kept = 0;
	for (int i = 0, j = 0; j < again_count; j++) {
		while (i < count && rows[i].seq < again[j].seq)
			i++;
		if (i < count && missing[i] && rows[i].seq == again[j].seq && rows[i].epoch == again[j].epoch)
			again[kept++] = again[j];
	}
	return kept;
}

/*
 * An execution that ended between the look at the ledger and the look at the queue is missing there rightly. Whoever
 * ends one tells the ledger before the queue, so a row that is still in the ledger after it was missing in the queue
 * is truly lost.
 */
static int repair_page(struct upkeep *upkeep, int shard, int64_t gen, int64_t after_seq,
		       const struct wl_dispatch_row *rows, int count, struct wl_error *err)
{
	bool missing[PAGE_ROWS];
	int found = upkeep->queue.missing(upkeep->queue.self, shard, gen, rows, count, missing, err);
	if (found <= 0)
		return found;
	_wl_free_ struct wl_dispatch_row *again = calloc((size_t)count, sizeof(*again));
	if (!again)
		return wl_fail_errno(err, ENOMEM, "sweep shard %d", shard);
	int again_count = upkeep->ledger.page(upkeep->ledger.self, shard, after_seq, MIN_AGE_MS, again, count, err);
	if (again_count < 0)
		return again_count;
	int lost = keep_confirmed(rows, missing, count, again, again_count);
	int r = upkeep->queue.repair(upkeep->queue.self, shard, gen, again, lost,
				     (int)upkeep->scheduler->settings->lease_ms, err);
	if (r < 0)
		return r;
	if (lost > 0)
		wl_log(WL_LOG_NOTICE, "%d executions of shard %d were not in the queue and are now", lost, shard);
	atomic_fetch_add(&upkeep->scheduler->counters.repaired, lost);
	return lost;
}

/*
 * Whoever asked for the end of a run told the ledger, and then the queue if it lived and Redis answered. Nobody but
 * the run's supervisor can tell whether it knows, so it is told until the row is gone.
 */
static int repeat_cancels(struct upkeep *upkeep, int shard, const struct wl_dispatch_row *rows, int count,
			  struct wl_error *err)
{
	for (int i = 0; i < count; i++) {
		if (!rows[i].running || !rows[i].cancel)
			continue;
		int r = upkeep->queue.cancel(upkeep->queue.self, shard, rows[i].eid, err);
		if (r < 0)
			return r;
	}
	return 0;
}

/* What one page of the ledger asks for; how many rows were lost, or -errno. */
static int sweep_page(struct upkeep *upkeep, int shard, int64_t gen, int64_t after_seq,
		      const struct wl_dispatch_row *rows, int count, struct wl_error *err)
{
	int repaired = repair_page(upkeep, shard, gen, after_seq, rows, count, err);
	if (repaired < 0)
		return repaired;
	int r = repeat_cancels(upkeep, shard, rows, count, err);
	return r < 0 ? r : repaired;
}

int sweep_ledger(struct upkeep *upkeep, struct sweep_cursor *cursor, struct wl_error *err)
{
	_wl_free_ struct wl_dispatch_row *rows = calloc(PAGE_ROWS, sizeof(*rows));
	int repaired = 0, seen = 0, finished = 0;
	unsigned in_use = 0;
	if (!rows)
		return wl_fail_errno(err, ENOMEM, "sweep the ledger");
	if (upkeep->ledger.shards_in_use(upkeep->ledger.self, MIN_AGE_MS, &in_use, err) < 0)
		return -err->code;
	while (finished < WL_SHARDS && seen < SWEEP_ROWS) {
		int shard = cursor->shard;
		int64_t after_seq = cursor->after_seq, gen = atomic_load(&upkeep->scheduler->gens[shard]);
		int count = 0;
		if (gen && in_use & 1u << shard) {
			count = upkeep->ledger.page(upkeep->ledger.self, shard, after_seq, MIN_AGE_MS, rows, PAGE_ROWS,
						    err);
			if (count < 0)
				return count;
			int r = count ? sweep_page(upkeep, shard, gen, after_seq, rows, count, err) : 0;
			if (r < 0 && r != -EAGAIN)
				return r;
			repaired += r > 0 ? r : 0;
		}
		seen += count;
		finished += sweep_advance(cursor, WL_SHARDS, count, PAGE_ROWS, count ? rows[count - 1].seq : 0);
	}
	return repaired;
}

/* Move the shares that differ from the last copy to the front; how many. Both are in no particular order. */
static int changed_shares(const struct wl_tenant_share *last, int last_count, const struct wl_tenant_share *now,
			  int count, struct wl_tenant_share *changed)
{
	int used = 0;
	for (int i = 0; i < count; i++) {
		/* rows mostly keep their place */
		bool same = i < last_count && memcmp(&last[i], &now[i], sizeof(now[i])) == 0;
		for (int j = 0; !same && j < last_count; j++)
			same = memcmp(&last[j], &now[i], sizeof(now[i])) == 0;
		if (!same)
			changed[used++] = now[i];
	}
	return used;
}

/* What is told to one shard, of the shares of all. */
static int copy_shard(struct upkeep *upkeep, int shard, const struct wl_tenant_share *all, int all_count,
		      struct share_copies *copies, struct wl_error *err)
{
	int count = 0, filled = 0;
	for (int i = 0; i < all_count; i++)
		count += all[i].tenant % WL_SHARDS == shard;
	_wl_free_ struct wl_tenant_share *now = calloc((size_t)count + 1, sizeof(*now));
	_wl_free_ struct wl_tenant_share *changed = calloc((size_t)count + 1, sizeof(*changed));
	if (!now || !changed)
		return wl_fail_errno(err, ENOMEM, "copy the shares of shard %d", shard);
	for (int i = 0; i < all_count; i++)
		if (all[i].tenant % WL_SHARDS == shard)
			now[filled++] = all[i];
	int used = changed_shares(copies->shares[shard], copies->count[shard], now, count, changed);
	int r = used ? upkeep->queue.set_shares(upkeep->queue.self, shard, changed, used, err) : 0;
	if (r < 0)
		return r;
	free(copies->shares[shard]);
	copies->shares[shard] = wl_steal(now);
	copies->count[shard] = count;
	return 0;
}

int copy_shares(struct upkeep *upkeep, struct share_copies *copies, struct wl_error *err)
{
	_wl_free_ struct wl_tenant_share *all = NULL;
	int count = upkeep->ledger.shares(upkeep->ledger.self, WL_EVERY_SHARD, &all, err);
	for (int shard = 0; shard < WL_SHARDS && count >= 0; shard++) {
		int r = copy_shard(upkeep, shard, all, count, copies, err);
		if (r < 0 && r != -EAGAIN)
			return r;
	}
	return count < 0 ? count : 0;
}

void share_copies_release(struct share_copies *copies)
{
	for (int shard = 0; shard < WL_SHARDS; shard++) {
		free(copies->shares[shard]);
		copies->shares[shard] = NULL;
		copies->count[shard] = 0;
	}
}
