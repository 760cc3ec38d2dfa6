/*
 * windlass-scheduler: what its threads share.
 *
 *   main      reads settings, starts the others, waits for SIGTERM
 *   dispatch  waits for bells, claims executions for supervisors that have room (dispatch.c)
 *   upkeep    keeps shards alive, rebuilds them, reaps lost leases, sweeps the ledger (upkeep.c)
 *
 *   chores    everything else that is due now and then, a thread for each group of chores, and one that looks whether
 *             there is anything to do for them (chores.h)
 *
 * Each has its own connections, so that a wait of one never delays another. Any number of schedulers may run: what
 * they do ends in conditional writes, and doing it twice changes nothing.
 */
#ifndef WL_SCHEDULER_SCHEDULER_H
#define WL_SCHEDULER_SCHEDULER_H

#include "lib/base/settings.h"
#include "lib/ports/job_queue.h"
#include "lib/ports/ledger.h"
#include "scheduler/core/upkeep_plan.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

/* X(NAME): counters shown by the metrics page as <name>_total */
#define SCHEDULER_COUNTERS(X)                                                                                          \
	X(claimed)                                                                                                     \
	X(requeued)                                                                                                    \
	X(poisoned)                                                                                                    \
	X(overdue)                                                                                                     \
	X(repaired)                                                                                                    \
	X(rebuilt)                                                                                                     \
	X(hooks_delivered)                                                                                             \
	X(hooks_not_taken)

struct scheduler_counters {
#define X(name) _Atomic int64_t name;
	SCHEDULER_COUNTERS(X)
#undef X
};

struct scheduler {
	const struct wl_settings *settings;
	char id[WL_SUPERVISOR_ID];
	_Atomic int64_t gens[WL_SHARDS]; /* 0: not ready as far as this scheduler knows */
	struct scheduler_counters counters;
	pthread_mutex_t lock; /* of `stopping` and of news */
	pthread_cond_t wake;
	bool stopping;
};

/* What a thread remembers of a server that is away: it is logged once, and once when it is back. */
struct outage {
	const char *thread;
	int failures; /* in a row; 0: all is well */
	char text[WL_ERROR_TEXT];
};

/* Fill it for new threads; 0 or -ENOMEM. The settings must live as long. */
int scheduler_init(struct scheduler *scheduler, const struct wl_settings *settings);
/* Ask the threads to end after the step that they are in. */
void scheduler_stop(struct scheduler *scheduler);
bool scheduler_stopping(struct scheduler *scheduler);
/* Sleep until the time is over or the program is to stop. */
void scheduler_pause(struct scheduler *scheduler, uint64_t ms);
/* The same, but not while there is news, nor longer than until there is some; *news is false afterwards. */
void scheduler_pause_unless(struct scheduler *scheduler, uint64_t ms, bool *news);
/* Tell a thread that pauses so that there is news for it. */
void scheduler_rouse(struct scheduler *scheduler, bool *news);
/* True for an error that says a server is away: then nothing else will work either. */
static inline bool scheduler_is_away(int r)
{
	return r == -ECONNREFUSED || r == -EPIPE || r == -ETIMEDOUT;
}

/* Note the outcome of a step: 0 or more is well. Logs changes only. */
void outage_note(struct outage *outage, int r, const struct wl_error *err);

/* The bodies of the threads; their context is a struct dispatch and a struct upkeep. */
struct dispatch {
	struct scheduler *scheduler;
	struct wl_job_queue queue;
};

struct upkeep {
	struct scheduler *scheduler;
	struct wl_job_queue queue;
	struct wl_ledger ledger;
	struct upkeep_timer complaint; /* bounds the log lines about rows that cannot be ended */
};

void *dispatch_main(void *context);
void *upkeep_main(void *context);

/* rebuild.c: look at every shard, keep it alive or rebuild it. 0 or the first -errno. */
int guard_shards(struct upkeep *upkeep, struct wl_error *err);

/* reaper.c: give up expired leases of all shards; how many, or -errno. */
int reap_leases(struct upkeep *upkeep, struct wl_error *err);
/* End executions past their deadline; how many, or -errno. */
int reap_overdue(struct upkeep *upkeep, struct wl_error *err);

/* sweeper.c */
/* Enqueue what the queue has lost and repeat cancels, from the cursor on; how many were lost, or -errno. */
int sweep_ledger(struct upkeep *upkeep, struct sweep_cursor *cursor, struct wl_error *err);
/* The shares that were copied last, by shard. */
struct share_copies {
	struct wl_tenant_share *shares[WL_SHARDS];
	int count[WL_SHARDS];
};
/* Copy weights and caps that changed; 0 or -errno. */
int copy_shares(struct upkeep *upkeep, struct share_copies *copies, struct wl_error *err);
void share_copies_release(struct share_copies *copies);

#endif
