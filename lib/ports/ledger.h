/*
 * The ledger port: the truth about accepted executions (PostgreSQL, functions of specs/sql/0003_functions.sql and
 * 0008_waits.sql). Every call is one transaction. Calls block; a ledger belongs to one thread.
 */
#ifndef WL_PORTS_LEDGER_H
#define WL_PORTS_LEDGER_H

#include "lib/base/error.h"
#include "lib/base/ids.h"
#include "lib/model/states.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>

#define WL_SHARDS 16
#define WL_EVERY_SHARD (-1)
#define WL_HASH_BYTES 32
#define WL_SUPERVISOR_ID 64

/* One attempt of an execution as the queue handed it out. */
struct wl_lease {
	char eid[WL_UUID_TEXT];
	int tenant;
	int shard;
	int epoch;
	int64_t gen;
};

enum wl_start_outcome { WL_START_STARTED, WL_START_GONE, WL_START_CANCELLED, WL_START_STALE, WL_START_EARLY };

struct wl_start {
	char eid[WL_UUID_TEXT];
	int epoch;
	enum wl_start_outcome outcome;
	int tenant;
	char flow_id[WL_UUID_TEXT];
	unsigned char doc_hash[WL_HASH_BYTES];
	char *inputs_json;	  /* owned by the struct; NULL unless started */
	int64_t deadline_left_ms; /* from the start on, by the database's clock alone; negative: passed */
	int deliveries;		  /* attempts that were lost before this one */
	char *options_json;	  /* owned by the struct; NULL: none */
};

struct wl_finish {
	char eid[WL_UUID_TEXT];
	int epoch;
	enum wl_run_state state;  /* a final one */
	const char *outputs_json; /* or NULL */
	const char *error_json;	  /* or NULL */
	bool done;		  /* out: this call made it terminal */
};

enum wl_wait_outcome {
	WL_WAIT_LOST,	  /* the attempt is not the one that holds the execution */
	WL_WAIT_OPEN,	  /* it is not over yet */
	WL_WAIT_OVER,	  /* its time has come; of an approval: it has expired */
	WL_WAIT_APPROVED, /* by a person */
	WL_WAIT_REJECTED
};

/* A node that waits for a time or a person. Texts are owned by the struct. */
struct wl_wait {
	char eid[WL_UUID_TEXT];
	int epoch;
	char *node;		      /* its path */
	bool approval;		      /* else for a time */
	int64_t delay_ms;	      /* from its first call on; of an approval: until it expires */
	int64_t until_ms;	      /* ms since 1970, instead of a delay when it is not 0 */
	char *message;		      /* of an approval, for people */
	char *roles_json;	      /* who may decide: an array of roles */
	enum wl_wait_outcome outcome; /* out, with the members below */
	int64_t left_ms;
	char *by; /* who has decided */
	char *comment;
};

enum wl_subflow_outcome { WL_SUBFLOW_LOST, WL_SUBFLOW_FOUND, WL_SUBFLOW_NO_FLOW, WL_SUBFLOW_NO_VERSION };

/* Which document a subflow of an execution runs. The first answer is kept for the execution's whole life. */
struct wl_subflow {
	char eid[WL_UUID_TEXT];
	int tenant, epoch;
	char flow_id[WL_UUID_TEXT];
	int version;			 /* 0: the newest published one; out: the one that was taken */
	enum wl_subflow_outcome outcome; /* out */
	unsigned char doc_hash[WL_HASH_BYTES];
};

/* An execution that does nothing but wait. */
struct wl_park {
	char eid[WL_UUID_TEXT];
	int epoch;
	const char *nodes_json; /* an array of the paths of the nodes that wait */
};

enum wl_park_outcome {
	WL_PARK_LOST,	   /* fenced before */
	WL_PARK_PARKED,	   /* it waits and holds nothing */
	WL_PARK_RELEASED,  /* what it waits for has come already: it waits in the queue */
	WL_PARK_CANCELLED, /* its end was asked for: made terminal here */
};

enum wl_fence_outcome { WL_FENCE_REQUEUE, WL_FENCE_POISON, WL_FENCE_CANCELLED, WL_FENCE_GONE, WL_FENCE_NEWER };

struct wl_fence {
	char eid[WL_UUID_TEXT];
	int epoch;
	char supervisor[WL_SUPERVISOR_ID];
	enum wl_fence_outcome outcome; /* out */
};

struct wl_dispatch_row {
	char eid[WL_UUID_TEXT];
	int tenant;
	bool running; /* else it waits */
	int epoch;
	char supervisor[WL_SUPERVISOR_ID];
	int64_t seq; /* order of acceptance */
	bool cancel;
	int64_t delay_ms; /* before it may start */
};

struct wl_shard_row {
	int id;
	int64_t gen;
	char redis_run_id[64];
};

struct wl_tenant_share {
	int tenant;
	int weight;	/* 1 to 100 */
	int cap;	/* executions at once */
	int max_queued; /* executions waiting */
};

struct wl_expired {
	char eid[WL_UUID_TEXT];
	int tenant;
	int shard;
	int epoch;
};

struct wl_ledger {
	void *self;

	/* supervisor: starts, results and returns of its own leases. Arrays of `count` items; 0 or -errno for all. */
	int (*start)(void *self, const char *supervisor, const struct wl_lease *leases, int count,
		     struct wl_start *ret_starts, struct wl_error *err);
	/* *ret_json is allocated; -ENOENT when there is no such document. */
	int (*flow_doc)(void *self, int tenant, const unsigned char hash[WL_HASH_BYTES], char **ret_json,
			struct wl_error *err);
	int (*finish)(void *self, struct wl_finish *items, int count, struct wl_error *err);
	/* Give started executions back. ret_released[i] tells whether this call gave item i back. */
	int (*release)(void *self, const struct wl_lease *leases, int count, bool *ret_released, struct wl_error *err);

	/* Begin a wait or look at it: the first call of an execution and node decides what is waited for. */
	int (*wait)(void *self, struct wl_wait *item, struct wl_error *err);
	int (*subflow)(void *self, struct wl_subflow *item, struct wl_error *err);
	/* Let executions that do nothing but wait go. ret_outcomes has `count` entries. */
	int (*park)(void *self, const struct wl_park *items, int count, enum wl_park_outcome *ret_outcomes,
		    struct wl_error *err);

	/* scheduler */
	int (*fence)(void *self, struct wl_fence *items, int count, int max_deliveries, struct wl_error *err);
	/* up to `limit` items; returns how many, or -errno */
	int (*expire_overdue)(void *self, int grace_ms, struct wl_expired *ret_items, int limit, struct wl_error *err);
	int (*shards)(void *self, struct wl_shard_row ret_rows[WL_SHARDS], struct wl_error *err);
	int (*shard_renew)(void *self, int shard, const char *redis_run_id, int64_t *ret_gen, struct wl_error *err);
	/* only one scheduler at a time rebuilds a shard: 1 got it, 0 another has it, -errno */
	int (*rebuild_lock)(void *self, int shard, struct wl_error *err);
	int (*rebuild_unlock)(void *self, int shard, struct wl_error *err);
	int (*page)(void *self, int shard, int64_t after_seq, int min_age_ms, struct wl_dispatch_row *ret_rows,
		    int limit, struct wl_error *err);
	/* bit n of *ret_mask: page() with that min_age_ms would give rows of shard n; parked ones do not count */
	int (*shards_in_use)(void *self, int min_age_ms, unsigned *ret_mask, struct wl_error *err);
	/* of a shard, or of all with WL_EVERY_SHARD, in the order of the tenants; *ret_shares is allocated; how many */
	int (*shares)(void *self, int shard, struct wl_tenant_share **ret_shares, struct wl_error *err);
	int (*janitor)(void *self, struct wl_error *err);

	void (*close)(void *self);
};

/* An error that passes when the server is back; any other is about what was sent. */
static inline bool wl_ledger_is_away(int result)
{
	return result == -ECONNREFUSED || result == -EPIPE || result == -ETIMEDOUT || result == -EAGAIN ||
	       result == -ENOSPC || result == -ENOMEM;
}

void wl_start_release(struct wl_start *start);
void wl_wait_release(struct wl_wait *wait);

#endif
