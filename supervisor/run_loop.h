/*
 * The run loop: the one thread that owns the state of all runs. It takes messages, lets the walk of a run decide
 * (supervisor/core/walk.h), and hands the work to the other threads through a small table, so that tests drive it
 * without threads and with a clock of their own.
 */
#ifndef WL_SUPERVISOR_RUN_LOOP_H
#define WL_SUPERVISOR_RUN_LOOP_H

#include "supervisor/run.h"

/* Where work goes. Each call takes what it is given over and returns at once. */
struct run_loop_sink {
	void *self;
	void (*node)(void *self, struct node_job *job);
	void (*commit)(void *self, struct commit_item *item);
	void (*ending)(void *self, struct ending *ending);
	void (*event)(void *self, struct event_item *event);
	/* ask the ledger */
	void (*inquire)(void *self, struct inquiry *inquiry);
	/* the job was told to stop: if it has not begun it is to come back at once. Takes nothing over. */
	void (*stop)(void *self, struct node_job *job);
};

struct run_loop {
	struct run_loop_sink sink;
	struct lease_table *leases;
	struct publisher *publisher; /* given to jobs, for their log lines */
	struct node_world world;     /* for nodes that need no other process */
	struct timer_heap timers;
	struct run *runs;
	int run_count;
	bool draining, interrupting;
	uint64_t random;
};

void run_loop_open(struct run_loop *loop, const struct run_loop_sink *sink, struct lease_table *leases,
		   struct publisher *publisher, uint64_t random);
/* Runs that are still there are freed; no job of theirs may be under way. */
void run_loop_release(struct run_loop *loop);

/* Take one message and act on it. `boot_ms`: CLOCK_BOOTTIME, `wall_ms`: ms since 1970, of the same moment. */
void run_loop_handle(struct run_loop *loop, struct message *message, uint64_t boot_ms, int64_t wall_ms);
/* Act on what is due. */
void run_loop_tick(struct run_loop *loop, uint64_t boot_ms, int64_t wall_ms);
/* When run_loop_tick() is to be called next; UINT64_MAX: never. */
uint64_t run_loop_due_ms(const struct run_loop *loop);

#endif
