/*
 * One execution while this supervisor has it: its walk, and the texts that go with it. The outputs of its nodes
 * stand in a growing list of texts, which is the context of all expressions; nothing is parsed or printed again.
 */
#ifndef WL_SUPERVISOR_RUN_H
#define WL_SUPERVISOR_RUN_H

#include "supervisor/core/timer_heap.h"
#include "supervisor/core/walk.h"
#include "supervisor/flow_cache.h"
#include "supervisor/lease_table.h"
#include "supervisor/messages.h"

struct run_node {
	const char *output; /* in a piece of the context; NULL: it gave nothing */
	size_t output_length;
	int64_t start_ms, end_ms;
	struct node_job *job;  /* the attempt under way */
	struct node_job *last; /* the last one that ended, until its result is on its way to the store */
};

struct run {
	struct message message; /* for its way to the loop; first */
	struct timer timer;
	struct held_lease *held;
	struct flow *flow;
	struct walk walk;
	struct run_node *nodes;
	/* {"execution":{},"vars":{},"inputs":…,"nodes":{… without the closing brackets */
	struct context_piece *context;
	const char *inputs; /* in its first piece */
	size_t inputs_length;
	int live_nodes;	      /* members of "nodes" so far */
	uint64_t deadline_ms; /* on the boot clock */
	char *error_json;     /* of the node that failed the run */
	struct wl_node_result *restored;
	int restored_count;
	struct mail *kept_commits, **kept_last; /* results that go to the committer with the next ones */
	int pure_jobs;				/* attempts of pure nodes on node threads */
	struct node_job *check;			/* of the outputs, under way */
	bool over;				/* its ending is under way */
	struct run *next, *previous;		/* in the loop's list */
};

/*
 * Make a run of what the ledger gave when it was asked at `asked_ms` (boot clock). Takes over the inputs of `start`;
 * `flow` gets another user. NULL without memory or when the inputs are larger than a run may hold (the sentence tells).
 */
struct run *run_new(struct held_lease *held, const struct wl_start *start, uint64_t asked_ms, struct flow *flow,
		    struct wl_error *err);
void run_free(struct run *run);

/* Open the walk, and put what an earlier attempt stored in its place. */
int run_begin(struct run *run, struct wl_error *err);

/* Keep what a node gave under its name in the context. -EMSGSIZE when the run holds too much. */
int run_keep_output(struct run *run, int node, const char *json, struct wl_error *err);

/* A job for the next attempt of a node; node_job_prepare() makes its texts. NULL without memory. */
struct node_job *run_make_job(struct run *run, int node, int64_t wall_ms);

/* A job that checks the outputs of the run against the flow's output_schema. NULL without memory. */
struct node_job *run_make_check(struct run *run);

/* The result of a node that is in a final state, as it goes to the store. Takes what the last job left. */
void run_fill_result(struct run *run, int node, int64_t wall_ms, struct wl_node_result *result);

/* The outputs of the whole run as JSON, allocated; NULL without memory. */
char *run_outputs(const struct run *run);

#endif
