/* One execution while this supervisor has it: the scopes that it consists of. */
#ifndef WL_SUPERVISOR_RUN_H
#define WL_SUPERVISOR_RUN_H

#include "supervisor/core/timer_heap.h"
#include "supervisor/lease_table.h"
#include "supervisor/run_options.h"
#include "supervisor/scope.h"

/* Bytes that the nodes inside of loops and subflows may store; a later attempt has to read all of it. */
#define RUN_STORED_MAX (32u << 20)
#define RUN_STORED_EACH 256 /* what a result counts beside its texts */

struct run {
	struct message message; /* for its way to the loop; first */
	struct timer timer;
	struct held_lease *held;
	struct scope *root, *scopes; /* the flow itself; all of them */
	int scope_count;
	struct scope *busy, **busy_last;
	int attempt;
	size_t bytes;			 /* of inputs and outputs that its scopes hold */
	size_t stored;			 /* bytes that nodes inside of loops and subflows have stored */
	bool waited;			 /* some node of it has waited */
	uint64_t deadline_ms;		 /* on the boot clock */
	struct run_options *options;	 /* NULL: none */
	struct wl_node_result *restored; /* by node_id once run_begin() was called */
	int restored_count;
	bool over;		     /* its ending is under way */
	struct run *next, *previous; /* in the loop's list */
};

/*
 * Make a run of what the ledger gave when it was asked at `asked_ms` (boot clock). Takes over the inputs of `start`;
 * `flow` gets another user. NULL without memory, when the inputs are larger than a run may hold, or with options that
 * do not fit the flow (-EINVAL in err); the sentence tells.
 */
struct run *run_new(struct held_lease *held, const struct wl_start *start, uint64_t asked_ms, struct flow *flow,
		    struct wl_error *err);
void run_free(struct run *run);

/*
 * Open the walk of the flow itself, and put what an earlier attempt stored in its place. -ENOENT: options.only has
 * predecessors without an output, which the sentence names.
 */
int run_begin(struct run *run, struct wl_error *err);

/* What is stored of the node with that path; NULL: nothing. Only after run_begin() was called. */
struct wl_node_result *run_restored(const struct run *run, const char *path);

/* The first result, by path, whose path is `prefix` or comes after it: an index into restored, or their count. */
int run_restored_from(const struct run *run, const char *prefix);

/* Count a result that is stored; false: those inside of loops and subflows are more than may be. */
bool run_count_stored(struct run *run, const struct wl_node_result *result);

/* Have a scope looked at in this turn. */
void run_touch(struct run *run, struct scope *scope);
/* The next one that is to be looked at, or NULL. */
struct scope *run_next_busy(struct run *run);
/* Take a scope that is about to be closed out of those. */
void run_untouch(struct run *run, struct scope *scope);

/* The paths of the nodes that wait as a JSON array, allocated; NULL without memory. */
char *run_waits(const struct run *run);

/* True when the run does nothing but wait, and for longer than until `until_ms` (boot clock). */
bool run_rests(const struct run *run, uint64_t until_ms);

#endif
