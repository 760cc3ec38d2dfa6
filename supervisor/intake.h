/*
 * Threads that bring executions in.
 *   intake    takes leases from the inbox, starts them in the ledger (up to 32 in one transaction), makes runs of them
 *   restorer  for runs that had an attempt before: seals and loads what is stored of them, before they begin
 */
#ifndef WL_SUPERVISOR_INTAKE_H
#define WL_SUPERVISOR_INTAKE_H

#include "lib/ports/job_queue.h"
#include "lib/ports/node_results.h"
#include "supervisor/finisher.h"
#include "supervisor/flow_cache.h"
#include "supervisor/lease_table.h"

#include <stdatomic.h>

#define INTAKE_BATCH 32

/* A lease that the queue says we hold, though nobody here knows of it. */
struct found_lease {
	struct mail mail; /* first */
	struct wl_lease lease;
};

struct intake {
	struct wl_job_queue queue;
	struct wl_ledger ledger;
	struct wl_node_results *results; /* not owned */
	struct lease_table *leases;
	struct finisher *finisher;
	struct mailbox *runs; /* the run loop's */
	const char *supervisor;
	int64_t offer_ms;
	struct flow_cache flows;
	struct mailbox found;	/* of struct found_lease */
	struct mailbox restore; /* of runs */
	atomic_bool stop;	/* take nothing new */
	atomic_bool give_up;	/* end even if a server is away */
	bool away;
	uint64_t emptied_ms[WL_SHARDS]; /* when the inbox of a shard was last seen empty; of the intake thread */
	pthread_t thread, restorer;
};

/* Takes over queue and ledger. */
int intake_start(struct intake *intake, struct wl_error *err);
/* Something that a resync found; takes it over. */
void intake_post_found(struct intake *intake, struct found_lease *found);
/* Take what is in the inbox, then nothing more. */
void intake_stop(struct intake *intake);
/* After the run loop has ended. */
void intake_release(struct intake *intake);

#endif
