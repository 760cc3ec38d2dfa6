/*
 * The queue port: who runs next (Redis, the function library wl1 of quotas/queue.lua). It is an index that may be
 * lost at any time: safety is the ledger's. Calls block; a queue belongs to one thread. -EAGAIN means that the shard
 * is not ready (being rebuilt), -ECONNREFUSED and -EPIPE that the server is away: the caller tries again later.
 */
#ifndef WL_PORTS_JOB_QUEUE_H
#define WL_PORTS_JOB_QUEUE_H

#include "lib/ports/ledger.h"

enum wl_enqueue_outcome { WL_ENQUEUED, WL_ENQUEUE_KNOWN, WL_ENQUEUE_FULL };
enum wl_renew_outcome { WL_RENEW_LOST, WL_RENEW_KEPT, WL_RENEW_CANCEL };

struct wl_supervisor_row {
	char id[WL_SUPERVISOR_ID];
	int capacity; /* executions it runs at once */
	int held;     /* leases it holds now, over all shards */
};

struct wl_counter {
	const char *name; /* such as claimed_total */
	int64_t value;
};

struct wl_job_queue {
	void *self;

	/* A waiting execution, known or not. `score_seq`: its seq from the ledger. */
	int (*enqueue)(void *self, int shard, int64_t gen, int tenant, const char *eid, int64_t score_seq, int epoch,
		       struct wl_error *err);

	/* scheduler */
	/* wait up to timeout_ms until some shard has work or a supervisor has room; returns its number, -ETIMEDOUT */
	int (*wait_bell)(void *self, int timeout_ms, struct wl_error *err);
	int (*supervisors)(void *self, struct wl_supervisor_row *ret_rows, int limit, struct wl_error *err);
	/* claim up to n for a supervisor by weighted deficit round robin and put them in its inbox; how many, or -errno
	 */
	int (*claim)(void *self, int shard, int64_t gen, const char *supervisor, int n, int offer_ms,
		     struct wl_error *err);
	int (*expired)(void *self, int shard, int64_t gen, struct wl_fence *ret_items, int limit, struct wl_error *err);
	/*
	 * Free the slot of an attempt after the ledger was told (fenced by the reaper, or released by its supervisor):
	 * it waits again at its old place. drop: the ledger has no such row any more, so whatever the queue holds of it
	 * goes. gen: of the lease, or the shard's. 1 done, 0 the queue holds no such attempt, or -errno.
	 */
	int (*requeue)(void *self, int shard, int64_t gen, const char *eid, int epoch, bool drop, struct wl_error *err);
	/*
	 * Tell whoever runs an execution that it is to be cancelled (the ledger was told before); what waits is taken
	 * out. Doing it twice changes nothing. 0, also when the queue does not hold it, or -errno.
	 */
	int (*cancel)(void *self, int shard, const char *eid, struct wl_error *err);
	int (*set_shares)(void *self, int shard, const struct wl_tenant_share *shares, int count, struct wl_error *err);
	int (*run_id)(void *self, char ret_run_id[64], struct wl_error *err);
	/* keep the shard's gen alive for 5 s; 0, -EAGAIN when it is absent or another */
	int (*touch)(void *self, int shard, int64_t gen, struct wl_error *err);
	/* which of the ledger's rows the queue does not hold: fills ret_missing, returns how many */
	int (*missing)(void *self, int shard, int64_t gen, const struct wl_dispatch_row *rows, int count,
		       bool *ret_missing, struct wl_error *err);
	/* put rows back that it had lost; those that it holds stay as they are */
	int (*repair)(void *self, int shard, int64_t gen, const struct wl_dispatch_row *rows, int count, int lease_ms,
		      struct wl_error *err);
	/* show the counters of a scheduler to the metrics page; kept for ttl_ms */
	int (*report)(void *self, const char *scheduler, const struct wl_counter *counters, int count, int ttl_ms,
		      struct wl_error *err);
	/* load the function library where it is missing or another one */
	int (*prepare)(void *self, struct wl_error *err);
	/* rebuild: empty the shard, load pages of rows, then publish the gen */
	int (*rebuild_begin)(void *self, int shard, struct wl_error *err);
	int (*rebuild_load)(void *self, int shard, const struct wl_dispatch_row *rows, int count, int lease_ms,
			    struct wl_error *err);
	int (*rebuild_publish)(void *self, int shard, int64_t gen, struct wl_error *err);

	/* supervisor */
	/* announce or refresh: kept for 3 announcements' time; capacity 0 takes no new work */
	int (*announce)(void *self, const char *supervisor, int capacity, int ttl_ms, struct wl_error *err);
	int (*withdraw)(void *self, const char *supervisor, struct wl_error *err);
	/* wait up to timeout_ms for leases in the inbox; how many, 0 none */
	int (*take)(void *self, const char *supervisor, struct wl_lease *ret_leases, int limit, int timeout_ms,
		    struct wl_error *err);
	/* what the queue thinks this supervisor holds, for a resync after a reconnect */
	int (*owned)(void *self, const char *supervisor, struct wl_lease *ret_leases, int limit, struct wl_error *err);
	/* outcomes in the order of the leases; those of a shard that is not ready count as kept, since it cannot tell
	 */
	int (*renew)(void *self, const char *supervisor, const struct wl_lease *leases, int count, int lease_ms,
		     enum wl_renew_outcome *ret_outcomes, struct wl_error *err);
	/* free the slots of ended attempts; how many the queue still held. -EAGAIN: call again, it does no harm twice
	 */
	int (*complete)(void *self, const char *supervisor, const struct wl_lease *leases, int count,
			struct wl_error *err);
	/* wait up to timeout_ms for a message to this supervisor; 1 and the execution to cancel, 0 none */
	int (*wait_cancel)(void *self, const char *supervisor, int timeout_ms, char ret_eid[WL_UUID_TEXT],
			   struct wl_error *err);

	void (*close)(void *self);
};

#endif
