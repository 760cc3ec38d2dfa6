#include "webapp/server/core/rate_limit.h"

#include <stdlib.h>
#include <string.h>

#define MINUTE_US (60 * INT64_C(1000000))

/* Buckets lie in one array; `next` chains those of a slot of the table, `older` and `newer` order all by use. */
struct bucket {
	unsigned char key[WEB_RATE_KEY];
	int64_t full_us; /* when the bucket is full again */
	int next, older, newer;
};

struct web_rate_limit {
	int64_t interval_us; /* between two tokens; 0: no limit */
	int capacity, count, slot_count;
	int newest, oldest;
	int *slots;
	struct bucket *buckets;
};

struct web_rate_limit *web_rate_limit_new(int capacity, long per_minute)
{
	struct web_rate_limit *limit = calloc(1, sizeof(*limit));
	if (!limit)
		return NULL;
	limit->interval_us = per_minute > 0 ? MINUTE_US / per_minute : 0;
	limit->capacity = capacity < 1 ? 1 : capacity;
	limit->slot_count = 2 * limit->capacity + 1;
	limit->newest = limit->oldest = -1;
	limit->buckets = calloc((size_t)limit->capacity, sizeof(*limit->buckets));
	limit->slots = malloc((size_t)limit->slot_count * sizeof(*limit->slots));
	if (!limit->buckets || !limit->slots) {
		web_rate_limit_free(limit);
		return NULL;
	}
	for (int i = 0; i < limit->slot_count; i++)
		limit->slots[i] = -1;
	return limit;
}

void web_rate_limit_free(struct web_rate_limit *limit)
{
	if (!limit)
		return;
	free(limit->buckets);
	free(limit->slots);
	free(limit);
}

static int *slot_of(const struct web_rate_limit *limit, const unsigned char *key)
{
	uint32_t word;
	memcpy(&word, key, sizeof(word));
	return &limit->slots[word % (uint32_t)limit->slot_count];
}

static void unlink_use(struct web_rate_limit *limit, int at)
{
	struct bucket *bucket = &limit->buckets[at];
	if (bucket->newer >= 0)
		limit->buckets[bucket->newer].older = bucket->older;
	else
		limit->newest = bucket->older;
	if (bucket->older >= 0)
		limit->buckets[bucket->older].newer = bucket->newer;
	else
		limit->oldest = bucket->newer;
}

static void link_newest(struct web_rate_limit *limit, int at)
{
	struct bucket *bucket = &limit->buckets[at];
	bucket->newer = -1;
	bucket->older = limit->newest;
	if (limit->newest >= 0)
		limit->buckets[limit->newest].newer = at;
	else
		limit->oldest = at;
	limit->newest = at;
}

/* A place for a key that has none: a fresh one, or that of the key longest unused. */
static int place_for(struct web_rate_limit *limit, const unsigned char *key)
{
	int at = limit->count;
	if (at < limit->capacity) {
		limit->count++;
	} else {
		at = limit->oldest;
		int *link = slot_of(limit, limit->buckets[at].key);
		while (*link != at)
			link = &limit->buckets[*link].next;
		*link = limit->buckets[at].next;
		unlink_use(limit, at);
	}
	struct bucket *bucket = &limit->buckets[at];
	int *slot = slot_of(limit, key);
	memcpy(bucket->key, key, WEB_RATE_KEY);
	bucket->full_us = 0;
	bucket->next = *slot;
	*slot = at;
	link_newest(limit, at);
	return at;
}

/* The place of a key; -1 when it has none. */
static int find(const struct web_rate_limit *limit, const unsigned char *key)
{
	int at = *slot_of(limit, key);
	while (at >= 0 && memcmp(limit->buckets[at].key, key, WEB_RATE_KEY) != 0)
		at = limit->buckets[at].next;
	return at;
}

/* How long a bucket that is full at full_us has no token, milliseconds. */
static int64_t wait_of(const struct web_rate_limit *limit, int64_t full_us, int64_t now_us)
{
	int64_t over_us = (full_us > now_us ? full_us : now_us) + limit->interval_us - now_us - MINUTE_US;
	return over_us > 0 ? (over_us + 999) / 1000 : 0;
}

int64_t web_rate_limit_look(const struct web_rate_limit *limit, const unsigned char key[WEB_RATE_KEY], int64_t now_ms)
{
	int at = limit->interval_us ? find(limit, key) : -1;
	return at >= 0 ? wait_of(limit, limit->buckets[at].full_us, now_ms * 1000) : 0;
}

int64_t web_rate_limit_take(struct web_rate_limit *limit, const unsigned char key[WEB_RATE_KEY], int64_t now_ms)
{
	int64_t now_us = now_ms * 1000;
	if (limit->interval_us == 0)
		return 0;
	int at = find(limit, key);
	if (at < 0) {
		at = place_for(limit, key);
	} else {
		unlink_use(limit, at);
		link_newest(limit, at);
	}
	struct bucket *bucket = &limit->buckets[at];
	int64_t wait_ms = wait_of(limit, bucket->full_us, now_us);
	if (wait_ms == 0)
		bucket->full_us = (bucket->full_us > now_us ? bucket->full_us : now_us) + limit->interval_us;
	return wait_ms;
}
