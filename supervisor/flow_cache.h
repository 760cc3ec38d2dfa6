/* Flows made ready to run, shared by all their runs; the least used ones are given up. */
#ifndef WL_SUPERVISOR_FLOW_CACHE_H
#define WL_SUPERVISOR_FLOW_CACHE_H

#include "lib/ports/ledger.h"
#include "supervisor/nodes/node.h"

#include <stdatomic.h>

#define FLOW_CACHE_BUCKETS 1024

/* The nodes outside of loops, or those inside one of them: what is walked together. */
struct flow_part {
	struct wl_flow_graph graph;
	struct node_plan *plans;
};

struct flow {
	atomic_int users;
	int tenant;
	unsigned char hash[WL_HASH_BYTES];
	struct flow_part *parts; /* the first is the flow itself, the others the insides of its loops */
	int part_count;
	int output_count;    /* output nodes */
	char *input_schema;  /* NULL when it says nothing */
	char *output_schema; /* the same */
	size_t weight;	     /* bytes of its document */
	struct flow *next_in_bucket, *newer, *older;
};

/* Belongs to one thread; flows may be released on any. */
struct flow_cache {
	struct flow *buckets[FLOW_CACHE_BUCKETS];
	struct flow *newest, *oldest;
	size_t weight, weight_max; /* bytes */
};

void flow_cache_open(struct flow_cache *cache, size_t weight_max);
void flow_cache_release(struct flow_cache *cache);

/*
 * The flow of that content; the caller ends with flow_release(). -ENOENT: no such document; -EINVAL: it is no flow;
 * the ledger's errors otherwise.
 */
int flow_cache_get(struct flow_cache *cache, struct wl_ledger *ledger, int tenant,
		   const unsigned char hash[WL_HASH_BYTES], struct flow **ret_flow, struct wl_error *err);

/* A flow from its document's text, with one user. -EINVAL names its first fault. */
int flow_make(const char *json, size_t length, struct flow **ret_flow, struct wl_error *err);
void flow_release(struct flow *flow);

#endif
