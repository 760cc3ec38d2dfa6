/*
 * One walk of a run and the texts that go with it: the flow itself, the nodes inside a loop for one of its items, or a
 * subflow. The scopes of a run form a tree; each hangs on the node that it is the inside of. The outputs of a scope's
 * nodes stand in a growing list of texts, which is the context of its expressions; nothing is parsed or printed again.
 */
#ifndef WL_SUPERVISOR_SCOPE_H
#define WL_SUPERVISOR_SCOPE_H

#include "supervisor/core/walk.h"
#include "supervisor/flow_cache.h"
#include "supervisor/messages.h"

struct run;
struct inner;

struct scope_node {
	const char *output; /* in a piece of the context; NULL: it gave nothing */
	size_t output_length;
	int64_t start_ms, end_ms;
	struct node_job *job;	       /* the attempt under way on a thread */
	struct node_job *last;	       /* the last one that ended, until its result is on its way to the store */
	struct inner *inner;	       /* of a loop or subflow that is open: what it consists of */
	uint64_t wait_until_ms;	       /* of one that waits: when its time comes, on the boot clock */
	char *wait_name;	       /* of an agent or crew that waits for a person: what it asked; else NULL */
	struct node_decision decision; /* what the person said; its texts are owned here */
	bool sealed;		       /* no older attempt can bring its result any more */
	bool marked;		       /* the store tells that it waits */
	bool stopping;		       /* to end as soon as whatever it is at has come back */
};

struct scope {
	struct run *run;
	struct scope *parent; /* NULL: the flow itself */
	int parent_node;      /* whose inside it is */
	int index;	      /* of a loop's item; -1: none */
	int depth;	      /* how many subflows it lies in */
	char *prefix;	      /* before its nodes' ids in their paths: "", "each[3].", "sub." */
	struct flow *flow;
	const struct flow_part *part;
	char flow_id[WL_UUID_TEXT];
	struct walk walk;
	struct scope_node *nodes;
	/* {"execution":{},"vars":{},"inputs":…,"nodes":{… without the closing brackets */
	struct context_piece *context;
	struct context_piece *closing; /* inside a loop what closes it: },"index":…,"item":…}; else NULL */
	const char *given;	       /* what nodes without incoming edges are given: the inputs, or the item */
	size_t given_length;
	int live_nodes;				/* members of "nodes" so far */
	size_t bytes;				/* of the run's that it holds */
	char *error_json;			/* of the node that failed it */
	struct mail *kept_commits, **kept_last; /* results that go to the committer with the next ones */
	int pure_jobs;				/* attempts of pure nodes on node threads */
	struct node_job *check;			/* of the outputs, under way */
	uint64_t due_ms;			/* when its walk is to be looked at */
	bool over;				/* the walk has ended, with `end` */
	struct walk_action end;
	bool busy; /* in the run's queue of those that are to be looked at */
	struct scope *next_busy;
	struct scope *next, *previous; /* in the run's list */
};

static inline const struct wl_flow_node *scope_shape(const struct scope *scope, int node)
{
	return &scope->part->graph.nodes[node];
}

/* How the node is named in the whole run; allocated, NULL without memory. */
char *scope_path(const struct scope *scope, int node);
/* Under which name the ledger knows what it waits for: its path, with its question behind a ! when it asked one. */
char *scope_wait_path(const struct scope *scope, int node);
/* Does it wait for something of the ledger's: by its kind, or because it asked a person? */
bool scope_waits(const struct scope *scope, int node);
/* What it asked has been decided: the next job of the node is told. Texts are copied. 0 or -ENOMEM. */
int scope_decide(struct scope *scope, int node, bool approved, const char *by, const char *comment);

/*
 * The flow itself. `inputs` is copied. The run's list has it from now on, as with the other two; scope_close() ends it.
 * -EMSGSIZE: more than a run may hold; -ENOMEM.
 */
int scope_open_root(struct run *run, struct flow *flow, const struct wl_start *start, struct scope **ret_scope,
		    struct wl_error *err);
/* The inside of a loop for one item, whose node has an `inner`. -ENAMETOOLONG: its nodes' paths would be too long. */
int scope_open_item(struct scope *parent, int node, int index, struct scope **ret_scope, struct wl_error *err);
int scope_open_subflow(struct scope *parent, int node, const char *inputs, struct scope **ret_scope,
		       struct wl_error *err);
/* Nothing of it may be under way any more. */
void scope_close(struct scope *scope);

/* Open the walk, and put what an earlier attempt stored in its place. `deadline_ms`: boot clock. */
int scope_restore(struct scope *scope, uint64_t deadline_ms, struct wl_error *err);

/* Keep what a node gave under its name in the context. -EMSGSIZE when the run holds too much. */
int scope_keep_output(struct scope *scope, int node, const char *json, struct wl_error *err);

/* A job for the next attempt of a node; node_job_prepare() makes its texts. NULL without memory. */
struct node_job *scope_make_job(struct scope *scope, int node, int64_t wall_ms);
/* The same for a node that gives its pinned output: it has ended already. */
struct node_job *scope_make_pinned(struct scope *scope, int node, int64_t wall_ms);
/* A job that checks the outputs of the flow against its output_schema. NULL without memory. */
struct node_job *scope_make_check(struct scope *scope);
/* A job that checks what a subflow is given against `schema`. Both texts must outlive it. NULL without memory. */
struct node_job *scope_make_input_check(struct scope *scope, int node, const char *schema, const char *inputs);

/* The result of a node as it goes to the store: in a final state, with what the last job left, or as a mark. */
void scope_fill_result(struct scope *scope, int node, int64_t wall_ms, struct wl_node_result *result);
void scope_fill_mark(struct scope *scope, int node, int64_t wall_ms, struct wl_node_result *result);

/* What the scope gave as JSON, allocated; NULL without memory. */
char *scope_outputs(const struct scope *scope);

#endif
