#include "supervisor/lease_table.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define BUCKETS 4096

int lease_table_open(struct lease_table *table, struct wl_error *err)
{
	*table = (struct lease_table){ .bucket_count = BUCKETS };
	table->buckets = calloc(BUCKETS, sizeof(*table->buckets));
	if (!table->buckets)
		return wl_fail(err, ENOMEM, "no memory for the table of leases");
	(void)pthread_mutex_init(&table->lock, NULL);
	return 0;
}

void lease_table_release(struct lease_table *table)
{
	for (size_t i = 0; table->buckets && i < table->bucket_count; i++)
		while (table->buckets[i]) {
			struct held_lease *held = table->buckets[i];
			table->buckets[i] = held->next;
			free(held);
		}
	free(table->buckets);
	(void)pthread_mutex_destroy(&table->lock);
}

/* FNV-1a */
static struct held_lease **bucket_of(struct lease_table *table, const char *eid)
{
	uint64_t hash = 14695981039346656037ULL;
	for (; *eid; eid++)
		hash = (hash ^ (unsigned char)*eid) * 1099511628211ULL;
	return &table->buckets[hash % table->bucket_count];
}

static struct held_lease *find(struct lease_table *table, const char *eid, int epoch)
{
	struct held_lease *held = *bucket_of(table, eid);
	while (held && !(strcmp(held->lease.eid, eid) == 0 && (epoch == 0 || held->lease.epoch == epoch)))
		held = held->next;
	return held;
}

struct held_lease *lease_table_add(struct lease_table *table, const struct wl_lease *lease)
{
	struct held_lease *held = calloc(1, sizeof(*held));
	if (!held)
		return NULL;
	held->lease = *lease;
	(void)pthread_mutex_lock(&table->lock);
	if (find(table, lease->eid, lease->epoch)) {
		free(held);
		held = NULL;
	} else {
		struct held_lease **bucket = bucket_of(table, lease->eid);
		held->next = *bucket;
		*bucket = held;
		table->count++;
	}
	(void)pthread_mutex_unlock(&table->lock);
	return held;
}

void lease_table_remove(struct lease_table *table, struct held_lease *held)
{
	(void)pthread_mutex_lock(&table->lock);
	struct held_lease **slot = bucket_of(table, held->lease.eid);
	while (*slot && *slot != held)
		slot = &(*slot)->next;
	if (*slot) {
		*slot = held->next;
		table->count--;
	}
	(void)pthread_mutex_unlock(&table->lock);
	free(held);
}

int lease_table_count(struct lease_table *table)
{
	(void)pthread_mutex_lock(&table->lock);
	int count = table->count;
	(void)pthread_mutex_unlock(&table->lock);
	return count;
}

void lease_table_started(struct lease_table *table, struct held_lease *held, uint64_t valid_until_ms,
			 uint64_t renew_at_ms)
{
	(void)pthread_mutex_lock(&table->lock);
	held->started = true;
	held->renew_at_ms = renew_at_ms;
	atomic_store(&held->valid_until_ms, valid_until_ms);
	(void)pthread_mutex_unlock(&table->lock);
}

int lease_table_due(struct lease_table *table, int shard, uint64_t now_ms, struct wl_lease *ret_leases, int limit)
{
	int count = 0;
	(void)pthread_mutex_lock(&table->lock);
	for (size_t i = 0; i < table->bucket_count && table->count > 0; i++)
		for (struct held_lease *held = table->buckets[i]; held && count < limit; held = held->next)
			if (held->started && held->lease.shard == shard && held->renew_at_ms <= now_ms)
				ret_leases[count++] = held->lease;
	(void)pthread_mutex_unlock(&table->lock);
	return count;
}

void lease_table_renewed(struct lease_table *table, const struct wl_lease *lease, uint64_t valid_until_ms,
			 uint64_t renew_at_ms)
{
	(void)pthread_mutex_lock(&table->lock);
	struct held_lease *held = find(table, lease->eid, lease->epoch);
	if (held) {
		held->renew_at_ms = renew_at_ms;
		if (valid_until_ms)
			atomic_store(&held->valid_until_ms, valid_until_ms);
	}
	(void)pthread_mutex_unlock(&table->lock);
}

struct run *lease_table_find(struct lease_table *table, const char *eid, int epoch, bool cancel, bool lost)
{
	struct run *run = NULL;
	(void)pthread_mutex_lock(&table->lock);
	struct held_lease *held = find(table, eid, epoch);
	if (held && held->run) {
		run = held->run;
	} else if (held) {
		held->cancel_came = held->cancel_came || cancel;
		held->lost_came = held->lost_came || lost;
	}
	(void)pthread_mutex_unlock(&table->lock);
	return run;
}

void lease_table_attach(struct lease_table *table, struct held_lease *held, struct run *run, bool *ret_cancel,
			bool *ret_lost)
{
	(void)pthread_mutex_lock(&table->lock);
	held->run = run;
	*ret_cancel = held->cancel_came;
	*ret_lost = held->lost_came;
	(void)pthread_mutex_unlock(&table->lock);
}
