#include "scheduler/core/dispatch_plan.h"

#define SATURATED_WAIT_MS 10
#define LEAST_BATCH 4

int plan_pick(const struct plan_credit *credits, int count, int turn)
{
	int best = -1;
	for (int i = 0; i < count; i++) {
		int candidate = (turn + i) % count;
		if (credits[candidate].free > 0 && (best < 0 || credits[candidate].free > credits[best].free))
			best = candidate;
	}
	return best;
}

int plan_batch(int free, int supervisors)
{
	int batch = supervisors > 1 ? PLAN_MOST_CLAIMED / supervisors : PLAN_MOST_CLAIMED;
	if (batch < LEAST_BATCH)
		batch = LEAST_BATCH;
	return free < batch ? free : batch;
}

void plan_rung(struct plan_visits *visits, int shard)
{
	visits->waiting |= 1U << shard;
}

void plan_all(struct plan_visits *visits)
{
	visits->waiting = (1U << PLAN_SHARDS) - 1;
}

int plan_next(struct plan_visits *visits)
{
	for (int i = 1; i <= PLAN_SHARDS; i++) {
		int shard = (visits->last + i) % PLAN_SHARDS;
		if (visits->waiting & (1U << shard)) {
			visits->last = shard;
			return shard;
		}
	}
	return -1;
}

void plan_visited(struct plan_visits *visits, int shard, int asked, int claimed)
{
	/* less than wanted: nobody there may run now, and whoever changes that rings; a shard that is being rebuilt
	 * rings when it is published */
	if (claimed < asked)
		visits->waiting &= ~(1U << shard);
}

int plan_wait_ms(const struct plan_visits *visits, int idle_ms)
{
	return visits->waiting && idle_ms > SATURATED_WAIT_MS ? SATURATED_WAIT_MS : idle_ms;
}
