#include "supervisor/sandbox/park_plan.h"

#include <stdbool.h>

#define NONE ((size_t)-1)

static uint32_t stock(const struct park_key *key)
{
	return key->parked + key->making;
}

static bool in_use(const struct park_key *key, const struct park_rules *rules, uint64_t now_ms)
{
	return now_ms < key->used_ms + rules->keep_ms;
}

static bool more_recent(const struct park_key *keys, size_t a, size_t b)
{
	return keys[a].used_ms != keys[b].used_ms ? keys[a].used_ms > keys[b].used_ms : a < b;
}

/* What the kind should have: all it may, or an even share of the total, whose remainder goes to those used last. */
static uint32_t target(const struct park_key *keys, size_t count, size_t index, const struct park_rules *rules,
		       uint64_t now_ms)
{
	uint32_t sharers = 0;
	uint32_t rank = 0;
	if (!in_use(&keys[index], rules, now_ms))
		return 0;
	for (size_t i = 0; i < count; i++) {
		if (!in_use(&keys[i], rules, now_ms))
			continue;
		sharers++;
		rank += i != index && more_recent(keys, i, index);
	}
	if ((uint64_t)sharers * rules->each <= rules->total)
		return rules->each;
	return rules->total / sharers + (rank < rules->total % sharers);
}

static size_t outdated(const struct park_key *keys, size_t count, const struct park_rules *rules, uint64_t now_ms)
{
	for (size_t i = 0; i < count; i++)
		if (keys[i].parked > 0 && !in_use(&keys[i], rules, now_ms))
			return i;
	return NONE;
}

/* Of the kinds that have less than their target the one with the least, and of those the one used last. */
static size_t hungriest(const struct park_key *keys, size_t count, const struct park_rules *rules, uint64_t now_ms)
{
	size_t best = NONE;
	for (size_t i = 0; i < count; i++) {
		if (best != NONE && (stock(&keys[i]) > stock(&keys[best]) ||
				     (stock(&keys[i]) == stock(&keys[best]) && !more_recent(keys, i, best))))
			continue;
		if (stock(&keys[i]) < target(keys, count, i, rules, now_ms))
			best = i;
	}
	return best;
}

/* The kind unused for longest that has two more than the taker and more than its target. */
static size_t giver_for(const struct park_key *keys, size_t count, size_t taker, const struct park_rules *rules,
			uint64_t now_ms)
{
	size_t best = NONE;
	for (size_t i = 0; i < count; i++)
		if (keys[i].parked > 0 && stock(&keys[i]) >= stock(&keys[taker]) + 2 &&
		    (best == NONE || more_recent(keys, best, i)) &&
		    stock(&keys[i]) > target(keys, count, i, rules, now_ms))
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
	if (making >= rules->making_max)
		return nothing;
	index = hungriest(keys, count, rules, now_ms);
	if (index == NONE)
		return nothing;
	if (total < rules->total)
		return (struct park_step){ .kind = PARK_MAKE, .key = index };
	index = giver_for(keys, count, index, rules, now_ms);
	return index == NONE ? nothing : (struct park_step){ .kind = PARK_GIVE_UP, .key = index };
}
