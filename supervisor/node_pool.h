/*
 * Threads that run attempts of nodes. Tenants take turns, and none holds more than three quarters of the threads, so
 * that one with many slow nodes does not keep the others waiting.
 */
#ifndef WL_SUPERVISOR_NODE_POOL_H
#define WL_SUPERVISOR_NODE_POOL_H

#include "supervisor/messages.h"

/* The waiting jobs of one tenant. */
struct tenant_queue {
	int tenant;
	int running;
	struct mail *first, **last;
	struct tenant_queue *next; /* in the list of tenants with jobs, in turn */
};

struct node_pool {
	pthread_mutex_t lock;
	pthread_cond_t filled;
	struct tenant_queue *turn; /* tenants with jobs waiting or running; the first is asked first */
	int tenant_limit;	   /* threads that one tenant may hold */
	bool closed;
	struct node_world world; /* copied by each thread */
	struct mailbox *answers; /* the run loop's */
	pthread_t *threads;
	int thread_count;
};

/* `world`: what nodes use; each thread takes a copy. 0 or -errno. */
int node_pool_start(struct node_pool *pool, int threads, const struct node_world *world, struct mailbox *answers,
		    struct wl_error *err);
/* Takes the job over and posts it to the loop when its attempt has ended. */
void node_pool_run(struct node_pool *pool, struct node_job *job);
/* A job that was told to stop and still waits for a thread is posted to the loop at once, as stopped. */
void node_pool_withdraw(struct node_pool *pool, struct node_job *job);
/* Wait for what is under way and end the threads. */
void node_pool_stop(struct node_pool *pool);

#endif
