/* What the files of the run loop share: run_loop.c (messages, turns), attempts.c (nodes), insides.c (loops, subflows).
 */
#ifndef WL_SUPERVISOR_RUN_TURN_H
#define WL_SUPERVISOR_RUN_TURN_H

#include "supervisor/run_events.h"
#include "supervisor/run_loop.h"

#define PARK_MIN_MS 2000      /* a run that waits for less keeps its place */
#define APPROVAL_LOOK_MS 1000 /* how often a run that is under way anyway looks for a decision */
#define RUN_SCOPES_MAX 256    /* beyond it a loop has one item under way at a time */

struct moment {
	uint64_t boot_ms;
	int64_t wall_ms;
};

static inline void turn_publish(struct run_loop *loop, struct event_item *event)
{
	if (event)
		loop->sink.event(loop->sink.self, event);
}

/* attempts.c */
void attempt_start(struct run_loop *loop, struct scope *scope, int node, struct moment now);
/* What the node waits for may have come. */
void attempt_look(struct run_loop *loop, struct scope *scope, int node, struct moment now);
void attempt_stop(struct run_loop *loop, struct scope *scope, int node);
/* A job has come back from its thread. Takes it. */
void attempt_job_ended(struct run_loop *loop, struct scope *scope, struct node_job *job, struct moment now);
/* The ledger has answered; the inquiry stays the caller's. */
void attempt_answered(struct run_loop *loop, struct inquiry *inquiry, struct moment now);
/* The store has a mark or refuses it; the item stays the caller's. */
void attempt_marked(struct run_loop *loop, const struct commit_item *item, struct moment now);
/* What is inside of a loop or subflow has ended: `outputs` (taken over) or, when NULL, `error_json` (taken over). */
void attempt_inside_over(struct run_loop *loop, struct scope *scope, int node, char *outputs, char *error_json,
			 struct moment now);
/* Nothing came of the attempt: it was stopped. */
void attempt_stopped(struct run_loop *loop, struct scope *scope, int node, struct moment now);
/* Tell a job that is under way to end. */
void attempt_stop_job(struct run_loop *loop, struct scope *scope, struct node_job *job);

/* insides.c */
/* A loop begins over the items in its last job's outputs; false: the job's outcome tells why not. */
bool inside_open_loop(struct run_loop *loop, struct scope *scope, int node, struct moment now);
/* A subflow begins with the inputs in its last job's outputs; as above. */
bool inside_open_subflow(struct run_loop *loop, struct scope *scope, int node, struct flow *flow, struct moment now);
/* The walk around it ends, is dropped or given back. */
void inside_stop(struct scope *scope, int node);
/* A scope that is not the run's own has ended; it is closed. */
void inside_scope_over(struct run_loop *loop, struct scope *child, struct moment now);

/* Another attempt owns the run. */
void turn_drop_run(struct run *run);

#endif
