#include "webapp/server/core/token_cache.h"

#include <stdlib.h>
#include <string.h>

/* Entries lie in one array; `next` chains those of a bucket, `older` and `newer` order all by use. */
struct entry {
	unsigned char digest[WEB_TOKEN_DIGEST];
	struct web_identity identity;
	int64_t alive_ms;
	int next, older, newer;
};

struct web_token_cache {
	int capacity, bucket_count;
	int newest, oldest;
	int free_list; /* chained by next */
	int *buckets;
	struct entry *entries;
};

struct web_token_cache *web_token_cache_new(int capacity)
{
	struct web_token_cache *cache = calloc(1, sizeof(*cache));
	if (!cache)
		return NULL;
	cache->capacity = capacity < 1 ? 1 : capacity;
	cache->bucket_count = 2 * cache->capacity + 1;
	cache->entries = calloc((size_t)cache->capacity, sizeof(*cache->entries));
	cache->buckets = malloc((size_t)cache->bucket_count * sizeof(*cache->buckets));
	if (!cache->entries || !cache->buckets) {
		web_token_cache_free(cache);
		return NULL;
	}
	for (int i = 0; i < cache->bucket_count; i++)
		cache->buckets[i] = -1;
	for (int i = 0; i < cache->capacity; i++)
		cache->entries[i].next = i + 1 < cache->capacity ? i + 1 : -1;
	cache->newest = cache->oldest = -1;
	return cache;
}

void web_token_cache_free(struct web_token_cache *cache)
{
	if (!cache)
		return;
	free(cache->entries);
	free(cache->buckets);
	free(cache);
}

/* The digest is a hash already: its first bytes choose the bucket. */
static int *bucket_of(struct web_token_cache *cache, const unsigned char *digest)
{
	uint32_t word;
	memcpy(&word, digest, sizeof(word));
	return &cache->buckets[word % (uint32_t)cache->bucket_count];
}

static int find(struct web_token_cache *cache, const unsigned char *digest)
{
	int at = *bucket_of(cache, digest);
	while (at >= 0 && memcmp(cache->entries[at].digest, digest, WEB_TOKEN_DIGEST) != 0)
		at = cache->entries[at].next;
	return at;
}

static void unlink_use(struct web_token_cache *cache, int at)
{
	struct entry *entry = &cache->entries[at];
	if (entry->newer >= 0)
		cache->entries[entry->newer].older = entry->older;
	else
		cache->newest = entry->older;
	if (entry->older >= 0)
		cache->entries[entry->older].newer = entry->newer;
	else
		cache->oldest = entry->newer;
}

static void link_newest(struct web_token_cache *cache, int at)
{
	struct entry *entry = &cache->entries[at];
	entry->newer = -1;
	entry->older = cache->newest;
	if (cache->newest >= 0)
		cache->entries[cache->newest].newer = at;
	else
		cache->oldest = at;
	cache->newest = at;
}

static void remove_entry(struct web_token_cache *cache, int at)
{
	int *link = bucket_of(cache, cache->entries[at].digest);
	while (*link != at)
		link = &cache->entries[*link].next;
	*link = cache->entries[at].next;
	unlink_use(cache, at);
	cache->entries[at].next = cache->free_list;
	cache->free_list = at;
}

bool web_token_cache_get(struct web_token_cache *cache, const unsigned char digest[WEB_TOKEN_DIGEST], int64_t now_s,
			 int64_t now_ms, int64_t recheck_ms, struct web_identity *ret_identity, bool *ret_fresh)
{
	int at = find(cache, digest);
	if (at < 0)
		return false;
	struct entry *entry = &cache->entries[at];
	if (entry->identity.expires_s <= now_s) {
		remove_entry(cache, at);
		return false;
	}
	unlink_use(cache, at);
	link_newest(cache, at);
	*ret_identity = entry->identity;
	*ret_fresh = now_ms - entry->alive_ms < recheck_ms;
	return true;
}

void web_token_cache_put(struct web_token_cache *cache, const unsigned char digest[WEB_TOKEN_DIGEST],
			 const struct web_identity *identity, int64_t now_ms)
{
	int at = find(cache, digest);
	if (at >= 0)
		remove_entry(cache, at);
	if (cache->free_list < 0)
		remove_entry(cache, cache->oldest);
	at = cache->free_list;
	struct entry *entry = &cache->entries[at];
	cache->free_list = entry->next;
	memcpy(entry->digest, digest, WEB_TOKEN_DIGEST);
	entry->identity = *identity;
	entry->alive_ms = now_ms;
	int *bucket = bucket_of(cache, digest);
	entry->next = *bucket;
	*bucket = at;
	link_newest(cache, at);
}

void web_token_cache_drop(struct web_token_cache *cache, const unsigned char digest[WEB_TOKEN_DIGEST])
{
	int at = find(cache, digest);
	if (at >= 0)
		remove_entry(cache, at);
}
