#include "supervisor/sandbox/park_plan.h"

#include <stdbool.h>

#define NONE ((size_t)-1)

static uint32_t stock(const struct park_key *key)
{
	return key->parked + key->making;
}

static size_t outdated(const struct park_key *keys, size_t count, const struct park_rules *rules, uint64_t now_ms)
{
	for (size_t i = 0; i < count; i++)
		if (keys[i].parked > 0 && now_ms >= keys[i].used_ms + rules->keep_ms)
			return i;
	return NONE;
}

/* The kind in use that was asked for last among those that lack one. */
static size_t hungriest(const struct park_key *keys, size_t count, const struct park_rules *rules, uint64_t now_ms)
{
	size_t best = NONE;
	for (size_t i = 0; i < count; i++)
		if (stock(&keys[i]) < rules->each && now_ms < keys[i].used_ms + rules->keep_ms &&
		    (best == NONE || keys[i].used_ms > keys[best].used_ms))
			best = i;
	return best;
}

static size_t richest_old(const struct park_key *keys, size_t count, const struct park_key *taker)
{
	size_t best = NONE;
	for (size_t i = 0; i < count; i++)
		if (keys[i].parked >= stock(taker) + 2 && (best == NONE || keys[i].used_ms < keys[best].used_ms))
			best = i;
	return best;
}

struct park_step park_plan(const struct park_key *keys, size_t count, const struct park_rules *rules, uint64_t now_ms)
{
	struct park_step nothing = { .kind = PARK_NOTHING };
	size_t index = outdated(keys, count, rules, now_ms);
	if (index != NONE)
		return (struct park_step){ .kind = PARK_GIVE_UP, .key = index };
	uint32_t total = 0;
	uint32_t making = 0;
	for (size_t i = 0; i < count; i++) {
		total += stock(&keys[i]);
		making += keys[i].making;
	}
	index = hungriest(keys, count, rules, now_ms);
	if (index == NONE || making >= rules->making_max)
		return nothing;
	if (total < rules->total)
		return (struct park_step){ .kind = PARK_MAKE, .key = index };
	size_t giver = richest_old(keys, count, &keys[index]);
	return giver == NONE ? nothing : (struct park_step){ .kind = PARK_GIVE_UP, .key = giver };
}
