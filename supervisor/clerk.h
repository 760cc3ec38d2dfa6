/* Asks the ledger, on its own thread, what nodes need while their run is under way: subflows, waits and approvals. */
#ifndef WL_SUPERVISOR_CLERK_H
#define WL_SUPERVISOR_CLERK_H

#include "supervisor/flow_cache.h"
#include "supervisor/messages.h"

#include <pthread.h>
#include <stdatomic.h>

struct clerk {
	struct wl_ledger ledger;
	struct mailbox box, *answers;
	struct flow_cache flows; /* of subflows */
	pthread_t thread;
	atomic_bool give_up;
	bool away;
};

/* Takes the ledger over. Answered inquiries go to `answers`. */
int clerk_start(struct clerk *clerk, const struct wl_ledger *ledger, struct mailbox *answers, struct wl_error *err);
void clerk_post(struct clerk *clerk, struct inquiry *inquiry);
/* Answer what has come and end; an inquiry that waits for the server gets an error. */
void clerk_stop(struct clerk *clerk);

#endif
