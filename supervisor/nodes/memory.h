/*
 * What all nodes of a process that ask models may have in memory together. Records and conversations count while their
 * node runs, answers while they come in; two counters, so that nobody who waits for one holds what others wait for:
 *
 * - `kept`: taken before a node begins, in turn, and by conversations as they grow. Those never wait: what does not fit
 *   ends the attempt, which may be made again.
 * - `calls`: taken in turn for the time of one call, whose end depends on nothing here.
 */
#ifndef WL_SUPERVISOR_NODES_MEMORY_H
#define WL_SUPERVISOR_NODES_MEMORY_H

#include "supervisor/nodes/node.h"

#include <pthread.h>
#include <stdint.h>

#define NODE_MEMORY_BASE (1u << 20) /* bytes of a node that has begun */
#define NODE_MEMORY_CODE "supervisor_full"

/* On the stack of who waits. */
struct node_memory_waiter {
	struct node_memory_waiter *next;
};

struct node_memory {
	pthread_mutex_t lock;
	uint64_t most, used;		  /* bytes */
	struct node_memory_waiter *first; /* in their order */
};

/* One process's. */
struct node_share {
	struct node_memory kept, calls;
	atomic_int lanes; /* threads that crews may still start for tasks beside each other */
};

/* `bytes` for everything; 0: a quarter of the machine's memory. */
void node_share_open(struct node_share *share, uint64_t bytes, int lanes);
void node_share_close(struct node_share *share);

/*
 * Wait in turn until there are `bytes`; more than there are at all count as all. The caller gives back *ret_taken.
 * 0; -ECANCELED: the attempt is to stop. `memory` NULL: nothing is bounded.
 */
int node_memory_wait(struct node_memory *memory, const struct node_call *call, uint64_t bytes, uint64_t *ret_taken,
		     struct wl_error *err);
/* Take `bytes` at once; false when they are not there. */
bool node_memory_take(struct node_memory *memory, uint64_t bytes);
void node_memory_give(struct node_memory *memory, uint64_t bytes);

#endif
