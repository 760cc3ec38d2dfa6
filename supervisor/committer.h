/*
 * The thread that stores node results: those of many runs in one bulk. While the document server is away they go to
 * the spool and wait in order; a result counts as stored only once the server has it.
 */
#ifndef WL_SUPERVISOR_COMMITTER_H
#define WL_SUPERVISOR_COMMITTER_H

#include "supervisor/messages.h"
#include "supervisor/spool.h"

#include <stdatomic.h>

#define COMMIT_BATCH 500

struct committer {
	struct mailbox box;
	struct wl_node_results *store; /* not owned */
	struct mailbox *answers;
	const char *spool_folder; /* "" for none */
	struct spool spool;
	struct mail *first, **last; /* not stored yet, in order */
	int waiting;
	struct wl_node_result batch[COMMIT_BATCH]; /* copies of the items' own, for one bulk */
	int pause_ms;
	bool away;
	atomic_bool pressed; /* the spool is half full: take no new work */
	atomic_bool give_up; /* end though something is not stored */
	pthread_t thread;
};

int committer_start(struct committer *committer, struct wl_node_results *store, const char *spool_folder,
		    const char *supervisor, struct mailbox *answers, struct wl_error *err);
/* From the run loop; takes the item over and posts it back with its outcome. */
void committer_post(struct committer *committer, struct commit_item *item);
/* End the thread. What the server has not taken stays in the spool. */
void committer_stop(struct committer *committer);

#endif
