/*
 * Threads that keep what this supervisor has.
 *   keeper   renews leases in batches and tells the schedulers how much more it takes
 *   control  hears of cancels, and from time to time asks the queue which leases it thinks are ours
 */
#ifndef WL_SUPERVISOR_KEEPER_H
#define WL_SUPERVISOR_KEEPER_H

#include "supervisor/intake.h"

struct keeper {
	struct wl_job_queue queue;	   /* the keeper's */
	struct wl_job_queue control_queue; /* the control thread's */
	struct lease_table *leases;
	struct intake *intake;
	struct mailbox *runs; /* the run loop's */
	const char *supervisor;
	int lease_ms, renew_ms, offer_ms, capacity;
	const atomic_bool *pressed; /* take nothing new while it is set */
	atomic_bool draining;
	struct mailbox bell;  /* closed to stop both threads at once */
	atomic_int announced; /* capacity that was told last, -1 before */
	uint64_t announce_at_ms;
	bool away, control_away;
	pthread_t thread, control;
};

/* Takes over both queues. */
int keeper_start(struct keeper *keeper, struct wl_error *err);
/* Take no new work from now on; waits a moment for the schedulers to be told. */
void keeper_drain(struct keeper *keeper);
/* Leave the list of supervisors and end both threads. */
void keeper_stop(struct keeper *keeper);

#endif
