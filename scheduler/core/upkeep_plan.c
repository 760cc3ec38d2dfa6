#include "scheduler/core/upkeep_plan.h"

#include <string.h>

#define FIRST_PAUSE_MS 50
#define LONGEST_PAUSE_MS 2000

bool upkeep_due(struct upkeep_timer *timer, uint64_t now_ms)
{
	if (now_ms < timer->due_ms)
		return false;
	timer->due_ms = now_ms + timer->period_ms;
	return true;
}

uint64_t upkeep_rest(const struct upkeep_timer *timers, int count, uint64_t now_ms)
{
	uint64_t first = UINT64_MAX;
	for (int i = 0; i < count; i++)
		if (timers[i].due_ms < first)
			first = timers[i].due_ms;
	return first > now_ms ? first - now_ms : 0;
}

int upkeep_pause(int failures)
{
	int pause = FIRST_PAUSE_MS;
	for (int i = 1; i < failures && pause < LONGEST_PAUSE_MS; i++)
		pause *= 2;
	return pause < LONGEST_PAUSE_MS ? pause : LONGEST_PAUSE_MS;
}

enum shard_verdict shard_judge(const char *known_run_id, const char *run_id, bool gen_alive)
{
	return gen_alive && strcmp(known_run_id, run_id) == 0 ? SHARD_READY : SHARD_REBUILD;
}

bool sweep_advance(struct sweep_cursor *cursor, int shards, int count, int limit, int64_t last_seq)
{
	if (count >= limit) {
		cursor->after_seq = last_seq;
		return false;
	}
	cursor->shard = (cursor->shard + 1) % shards;
	cursor->after_seq = 0;
	return true;
}
