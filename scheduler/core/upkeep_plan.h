/* Decisions of upkeep: what is due, whether a shard must be rebuilt, where the sweep goes on. Pure. */
#ifndef WL_SCHEDULER_CORE_UPKEEP_PLAN_H
#define WL_SCHEDULER_CORE_UPKEEP_PLAN_H

#include <stdbool.h>
#include <stdint.h>

/* Something that is done every period_ms. Times are CLOCK_BOOTTIME in ms. */
struct upkeep_timer {
	uint64_t period_ms;
	uint64_t due_ms;
};

/* True when it is due; then it is due again a period after now, so that a pause is not made up for in a burst. */
bool upkeep_due(struct upkeep_timer *timer, uint64_t now_ms);
/* How long until the first of them is due; 0 when one is. */
uint64_t upkeep_rest(const struct upkeep_timer *timers, int count, uint64_t now_ms);

/* The pause after the n-th failure in a row (1 is the first), in ms: 50, 100, … 2,000. */
int upkeep_pause(int failures);

enum shard_verdict { SHARD_READY, SHARD_REBUILD };
/*
 * Whether a shard's queue is the one that the ledger knows. known_run_id: the server that the ledger's gen was
 * published to; run_id: the server that answers; gen_alive: it holds the ledger's gen.
 */
enum shard_verdict shard_judge(const char *known_run_id, const char *run_id, bool gen_alive);

/* Where the sweep of the ledger is: a shard, and the seq behind which it goes on. */
struct sweep_cursor {
	int shard;
	int64_t after_seq;
};

/* Move on after a page of `count` rows of at most `limit`, whose last had last_seq. True when a shard was finished. */
bool sweep_advance(struct sweep_cursor *cursor, int shards, int count, int limit, int64_t last_seq);

#endif
