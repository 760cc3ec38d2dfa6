/*
 * Keeping shards alive, and rebuilding them.
 *
 * A shard works as long as it holds the gen that the ledger knows, in the server that this gen was published to. The
 * gen expires after 5 s unless a scheduler touches it, so a queue that nobody vouches for stops by itself. A rebuild
 * empties the shard, begins a new gen in the ledger (from then on no start under the old one succeeds), loads the
 * ledger's rows and publishes the gen last.
 */
#include "lib/base/cleanup.h"
#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "scheduler/scheduler.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define PAGE_ROWS 1024
#define TOUCH_MS 1000

/* While one shard is rebuilt, the others must not run out of time. */
static int touch_ready(struct upkeep *upkeep, struct wl_error *err)
{
	for (int shard = 0; shard < WL_SHARDS; shard++) {
		int64_t gen = atomic_load(&upkeep->scheduler->gens[shard]);
		int r = gen ? upkeep->queue.touch(upkeep->queue.self, shard, gen, err) : 0;
		if (r == -EAGAIN)
			atomic_store(&upkeep->scheduler->gens[shard], 0);
		else if (r < 0)
			return r;
	}
	return 0;
}

static int load_ledger(struct upkeep *upkeep, int shard, struct wl_error *err)
{
	_wl_free_ struct wl_dispatch_row *rows = calloc(PAGE_ROWS, sizeof(*rows));
	struct upkeep_timer touch = { .period_ms = TOUCH_MS, .due_ms = wl_clock_boot_ms() + TOUCH_MS };
	int64_t after_seq = 0;
	int total = 0, count = PAGE_ROWS;
	if (!rows)
		return wl_fail_errno(err, ENOMEM, "rebuild shard %d", shard);
	while (count == PAGE_ROWS) {
		count = upkeep->ledger.page(upkeep->ledger.self, shard, after_seq, 0, rows, PAGE_ROWS, err);
		if (count < 0)
			return count;
		if (count > 0) {
			int r = upkeep->queue.rebuild_load(upkeep->queue.self, shard, rows, count,
							   (int)upkeep->scheduler->settings->lease_ms, err);
			if (r < 0)
				return r;
			after_seq = rows[count - 1].seq;
			total += count;
		}
		if (upkeep_due(&touch, wl_clock_boot_ms()) && touch_ready(upkeep, err) < 0)
			return -err->code;
	}
	return total;
}

static int load_shares(struct upkeep *upkeep, int shard, struct wl_error *err)
{
	_wl_free_ struct wl_tenant_share *shares = NULL;
	int count = upkeep->ledger.shares(upkeep->ledger.self, shard, &shares, err);
	return count < 0 ? count : upkeep->queue.set_shares(upkeep->queue.self, shard, shares, count, err);
}

static int rebuild_locked(struct upkeep *upkeep, int shard, struct wl_error *err)
{
	char run_id[64];
	int64_t gen = 0;
	uint64_t start = wl_clock_boot_ms();
	atomic_store(&upkeep->scheduler->gens[shard], 0);
	int r = upkeep->queue.run_id(upkeep->queue.self, run_id, err);
	if (r == 0)
		r = upkeep->queue.rebuild_begin(upkeep->queue.self, shard, err);
	if (r == 0)
		r = upkeep->ledger.shard_renew(upkeep->ledger.self, shard, run_id, &gen, err);
	if (r == 0)
		r = load_shares(upkeep, shard, err);
	int rows = r == 0 ? load_ledger(upkeep, shard, err) : r;
	if (rows >= 0)
		r = upkeep->queue.rebuild_publish(upkeep->queue.self, shard, gen, err);
	if (rows < 0 || r < 0)
		return -err->code;
	atomic_store(&upkeep->scheduler->gens[shard], gen);
	atomic_fetch_add(&upkeep->scheduler->counters.rebuilt, 1);
	wl_log(rows > 0 ? WL_LOG_NOTICE : WL_LOG_INFO,
	       "shard %d of the queue rebuilt: gen %lld, %d executions, %llu ms", shard, (long long)gen, rows,
	       (unsigned long long)(wl_clock_boot_ms() - start));
	return 0;
}

/* Another scheduler may have rebuilt it between our look and our lock: look again. */
static int look_again(struct upkeep *upkeep, int shard, enum shard_verdict *ret_verdict, struct wl_error *err)
{
	struct wl_shard_row rows[WL_SHARDS];
	char run_id[64];
	int r = upkeep->ledger.shards(upkeep->ledger.self, rows, err);
	if (r == 0)
		r = upkeep->queue.run_id(upkeep->queue.self, run_id, err);
	if (r < 0)
		return r;
	int touched = upkeep->queue.touch(upkeep->queue.self, shard, rows[shard].gen, err);
	if (touched < 0 && touched != -EAGAIN)
		return touched;
	*ret_verdict = shard_judge(rows[shard].redis_run_id, run_id, touched == 0);
	if (*ret_verdict == SHARD_READY)
		atomic_store(&upkeep->scheduler->gens[shard], rows[shard].gen);
	return 0;
}

static int rebuild_shard(struct upkeep *upkeep, int shard, struct wl_error *err)
{
	enum shard_verdict verdict = SHARD_REBUILD;
	int locked = upkeep->ledger.rebuild_lock(upkeep->ledger.self, shard, err);
	if (locked <= 0)
		return locked;
	int r = look_again(upkeep, shard, &verdict, err);
	if (r == 0 && verdict == SHARD_REBUILD)
		r = rebuild_locked(upkeep, shard, err);
	struct wl_error unlock_err = { 0 };
	if (upkeep->ledger.rebuild_unlock(upkeep->ledger.self, shard, &unlock_err) < 0 && r == 0) {
		*err = unlock_err;
		r = -err->code;
	}
	return r;
}

static int guard_shard(struct upkeep *upkeep, const struct wl_shard_row *row, const char *run_id, struct wl_error *err)
{
	int r = upkeep->queue.touch(upkeep->queue.self, row->id, row->gen, err);
	if (r < 0 && r != -EAGAIN)
		return r;
	if (shard_judge(row->redis_run_id, run_id, r == 0) == SHARD_READY) {
		atomic_store(&upkeep->scheduler->gens[row->id], row->gen);
		return 0;
	}
	atomic_store(&upkeep->scheduler->gens[row->id], 0);
	return rebuild_shard(upkeep, row->id, err);
}

int guard_shards(struct upkeep *upkeep, struct wl_error *err)
{
	struct wl_shard_row rows[WL_SHARDS];
	char run_id[64];
	int failed = 0, r = upkeep->ledger.shards(upkeep->ledger.self, rows, err);
	if (r < 0) {
		/* without the ledger nobody can begin another gen: what is known stays right */
		struct wl_error ignored = { 0 };
		(void)touch_ready(upkeep, &ignored);
		return r;
	}
	r = upkeep->queue.run_id(upkeep->queue.self, run_id, err);
	if (r < 0)
		return r;
	for (int shard = 0; shard < WL_SHARDS; shard++) {
		r = guard_shard(upkeep, &rows[shard], run_id, err);
		if (scheduler_is_away(r))
			return r;
		if (r < 0 && r != -EAGAIN) /* while the server loads, or another one builds: the next look decides */
			failed = r;
	}
	return failed;
}
