/*
 * The leases this supervisor holds, from the moment they come out of the inbox until their run has ended. Shared by
 * the threads: intake adds, the keeper renews, the run loop looks up and removes.
 */
#ifndef WL_SUPERVISOR_LEASE_TABLE_H
#define WL_SUPERVISOR_LEASE_TABLE_H

#include "lib/ports/ledger.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

struct run;

struct held_lease {
	struct wl_lease lease;
	_Atomic uint64_t valid_until_ms; /* CLOCK_BOOTTIME; after it no effect may start until it was renewed */
	uint64_t offered_after_ms;	 /* its offer is younger than this; set by intake */
	uint64_t renew_at_ms;
	struct run *run;  /* set and read by the run loop; NULL before it has the run */
	bool started;	  /* only then is it renewed */
	bool cancel_came; /* before the run loop had the run */
	bool lost_came;
	struct held_lease *next;
};

struct lease_table {
	pthread_mutex_t lock;
	struct held_lease **buckets;
	size_t bucket_count;
	int count;
};

int lease_table_open(struct lease_table *table, struct wl_error *err);
/* Nobody may use it any more; leases still in it are freed. */
void lease_table_release(struct lease_table *table);

/* A new entry that belongs to the table's user until lease_table_remove(); NULL when that attempt is known (or no
 * memory). */
struct held_lease *lease_table_add(struct lease_table *table, const struct wl_lease *lease);
/* Take it out and free it. */
void lease_table_remove(struct lease_table *table, struct held_lease *held);
int lease_table_count(struct lease_table *table);

/* Its start was accepted: renew it from `renew_at_ms` on. */
void lease_table_started(struct lease_table *table, struct held_lease *held, uint64_t valid_until_ms,
			 uint64_t renew_at_ms);
/* Copies of up to `limit` leases of one shard that are due for a renewal; how many. */
int lease_table_due(struct lease_table *table, int shard, uint64_t now_ms, struct wl_lease *ret_leases, int limit);
/* It was renewed. */
void lease_table_renewed(struct lease_table *table, const struct wl_lease *lease, uint64_t valid_until_ms,
			 uint64_t renew_at_ms);
/*
 * The run of an execution, for the run loop. When it is on its way to the loop NULL comes back, and what was asked is
 * noted for its arrival. `epoch` 0: whichever.
 */
struct run *lease_table_find(struct lease_table *table, const char *eid, int epoch, bool cancel, bool lost);
/* Hand a run over to the loop: later finds see it. Tells what was noted before. */
void lease_table_attach(struct lease_table *table, struct held_lease *held, struct run *run, bool *ret_cancel,
			bool *ret_lost);

#endif
