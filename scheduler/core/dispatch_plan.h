/*
 * Decisions of dispatch: which shard is visited next, which supervisor gets what is claimed there, and how long to
 * wait for a bell. Pure: what is known comes in, a verdict goes out.
 */
#ifndef WL_SCHEDULER_CORE_DISPATCH_PLAN_H
#define WL_SCHEDULER_CORE_DISPATCH_PLAN_H

#include <stdbool.h>
#include <stdint.h>

#define PLAN_SHARDS 16
/* More at once only lengthens the time that Redis serves nobody else: a claim costs it some 30 microseconds. */
#define PLAN_MOST_CLAIMED 32
#define PLAN_CREDIT_AGE_MS 50

/* What one supervisor may still be given. */
struct plan_credit {
	int free;
};

/* The supervisor with the most free slots, from `turn` on where several have as many; -1 when none has any. */
int plan_pick(const struct plan_credit *credits, int count, int turn);

/* How many to claim at once for a supervisor: less when there are several, so that a burst is spread over them. */
int plan_batch(int free, int supervisors);

/* Shards that may have work, as bits, and the one visited last. */
struct plan_visits {
	uint32_t waiting;
	int last;
};

void plan_rung(struct plan_visits *visits, int shard);
void plan_all(struct plan_visits *visits);
/* The next shard to visit, in turn; -1 when none has work. */
int plan_next(struct plan_visits *visits);
/* What a claim says about its shard: `asked` were wanted, `claimed` were there, or -errno. */
void plan_visited(struct plan_visits *visits, int shard, int asked, int claimed);

/*
 * How long to wait for a bell, in ms: as long as idle_ms; shortly when work waits for a supervisor with room, because
 * a completion in another shard rings that shard's bell alone.
 */
int plan_wait_ms(const struct plan_visits *visits, int idle_ms);

#endif
