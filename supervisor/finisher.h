/*
 * The thread that ends runs: final states to the ledger in batches, then the queue's slots. While PostgreSQL is away
 * it tries again and again; the leases are renewed meanwhile.
 */
#ifndef WL_SUPERVISOR_FINISHER_H
#define WL_SUPERVISOR_FINISHER_H

#include "lib/ports/job_queue.h"
#include "supervisor/messages.h"

#include <stdatomic.h>

struct finisher {
	struct mailbox box;
	struct wl_ledger ledger;
	struct wl_job_queue queue;
	const char *supervisor;
	struct mailbox *answers;
	atomic_bool give_up; /* end though something is not written */
	pthread_t thread;
};

/* Takes over ledger and queue. */
int finisher_start(struct finisher *finisher, const struct wl_ledger *ledger, const struct wl_job_queue *queue,
		   const char *supervisor, struct mailbox *answers, struct wl_error *err);
/* Takes the ending over; it comes back to the run loop, but ENDING_COMPLETE, of which nobody waits to hear. */
void finisher_post(struct finisher *finisher, struct ending *ending);
void finisher_stop(struct finisher *finisher);

#endif
