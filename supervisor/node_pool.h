/*
 * Threads that run attempts of nodes. Tenants take turns. An attempt is never taken back, however long it takes, so
 * some threads have to be free for who comes next: a tenant may begin one more as long as it holds fewer than three for
 * each thread that is idle (a dynamic threshold, Choudhury and Hahne 1998). Alone it holds three quarters of them; of n
 * tenants with many slow nodes each holds 3 / (3n + 1), and one in 3n + 1 threads waits for another tenant.
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
	int running;		   /* attempts under way */
	bool closed;
	struct node_world world; /* copied by each thread */
	struct mailbox *answers; /* the run loop's */
	pthread_t *threads;
	int thread_count, size; /* started; as many as there are to be */
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
