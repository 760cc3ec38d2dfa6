/*
 * The walk: which node of a run starts when, and how the run ends. Pure: events and the time come in, actions come
 * out, and no text of a node is looked at. One walk belongs to one thread. The nodes inside a loop are walked once for
 * each item, those of a subflow once, by walks of their own: for this one the loop is a node that is under way.
 *
 * Theory of operation
 *   An edge is open, live or dead. A node starts once none of its incoming edges is open and one is live (a join of
 *   mode any: once one is live); with no live edge it is skipped, and all its edges are dead.
 *   A pure node decides its outgoing edges as soon as it has ended. A node with effects decides them when its result
 *   is stored, and it starts only after all it rests on is stored ("settled"): so nobody can ever see an effect
 *   whose cause was lost, and a lost pure node is simply computed again.
 *   Every end of a node asks for one STORE. The run finishes when nothing is under way and nothing waits for a store.
 *   A run whose outputs are to be checked is checked after that, like a last pure node without a result of its own.
 *   A node may wait (for a time or a person) and is not under way then; a run all of whose walks rest can be parked.
 *   When a run ends early its attempts are stopped; nodes that were on their way become cancelled, and are stored only
 *   after the failed node that caused it: a later attempt of the run then finds the cause as well.
 */
#ifndef WL_SUPERVISOR_CORE_WALK_H
#define WL_SUPERVISOR_CORE_WALK_H

#include "lib/base/error.h"
#include "lib/model/flow_graph.h"
#include "lib/model/states.h"

#include <stdbool.h>
#include <stdint.h>

enum walk_edge_state { WALK_EDGE_OPEN, WALK_EDGE_LIVE, WALK_EDGE_DEAD };

enum walk_action_kind {
	WALK_START,  /* begin an attempt of `node` */
	WALK_STOP,   /* end the attempt (node -1: the check) that is under way; its end is still to come */
	WALK_LOOK,   /* what `node` waits for may have come: look; its end or another wait is to come */
	WALK_STORE,  /* commit the node's result; walk_node_stored() is to come */
	WALK_CHECK,  /* all nodes have ended well: check the run's outputs; walk_checked() is to come */
	WALK_FINISH, /* everything is stored: write the final state `run_state`; `node` is the one that failed, or -1 */
	WALK_RELEASE, /* at a node boundary with work left: give the run back */
	WALK_DROP     /* another attempt owns the run: forget it */
};

struct walk_action {
	enum walk_action_kind kind;
	int node; /* -1: none */
	enum wl_run_state run_state;
};

enum walk_result { WALK_SUCCEEDED, WALK_ERROR, WALK_ERROR_FOR_GOOD, WALK_STOPPED };

/* How an attempt of a node ended. */
struct walk_outcome {
	enum walk_result result; /* WALK_ERROR_FOR_GOOD is not tried again */
	const char *handle;	 /* the taken handle of condition and switch, else NULL; not kept */
};

struct walk_node {
	enum wl_node_state state;
	int attempt;
	int open_in, live_in; /* incoming edges that are open, that are live */
	uint64_t due_ms;      /* of the next attempt or look, 0 when none is to be */
	bool ready;	      /* may start as soon as nothing holds it */
	bool active;	      /* an attempt is under way */
	bool open;	      /* which consists of walks of its own */
	bool storing;
	bool stored;
	bool store_after_cause;
	bool settled; /* stored, and so is all it rests on */
	bool decided; /* its outgoing edges are decided */
};

/* What a run is doing beside walking on. */
enum walk_mode { WALK_GOING, WALK_ENDING, WALK_RELEASING, WALK_DROPPING, WALK_OVER };

struct walk {
	const struct wl_flow_graph *graph; /* not owned */
	struct walk_node *nodes;
	unsigned char *edges; /* enum walk_edge_state */
	char *handles_taken;  /* per edge: its handle was the one taken by its source */
	int unfinished;	      /* nodes that are not in a final state */
	int active, storing;  /* attempts under way; results not stored yet */
	int open;	      /* of those under way, that consist of walks of their own */
	enum walk_mode mode;
	enum wl_run_state end_state; /* while ending */
	int cause;		     /* the failed node behind the end, or -1 */
	int only;		     /* the one node that runs, or -1 */
	bool begun;
	bool quiet;	/* nodes that are cut off are not stored */
	bool check_due; /* set after walk_open(): the outputs are to be checked before the run has succeeded */
	bool checking;	/* counts as active */
	bool held;	/* no effect may start */
	bool draining;
	uint64_t deadline_ms;
	struct walk_action *actions; /* a queue: [action_next, action_count) */
	int action_next, action_count, action_capacity;
};

/*
 * Begin with all nodes pending. `graph` must outlive the walk and be indexed and checked. `deadline_ms`: on the clock
 * that walk_tick() is given; UINT64_MAX for none. 0 or -ENOMEM.
 */
int walk_open(struct walk *walk, const struct wl_flow_graph *graph, uint64_t deadline_ms, struct wl_error *err);
void walk_release(struct walk *walk);

/* Before walk_begin(): a result that an earlier attempt of the run has stored; it never runs again. */
void walk_restore(struct walk *walk, int node, enum wl_node_state state, const char *handle);
/*
 * Before walk_begin() and after what is to be restored: `node` alone runs, whatever its edges say, and the walk ends
 * after it. What was not restored counts as skipped, without a result.
 */
void walk_confine(struct walk *walk, int node);
/* Start what can start. Other events may have come before it; the run ends after it only. */
void walk_begin(struct walk *walk, uint64_t now_ms);

/*
 * An attempt has ended. `random`: 32 random bits for the jitter of a retry. The node's state tells the caller
 * afterwards what became of it; while it is still running, another attempt is due.
 */
void walk_node_ended(struct walk *walk, int node, const struct walk_outcome *outcome, uint64_t now_ms, uint32_t random);
/* The attempt that is under way has become a wait. `due_ms`: when to look again, UINT64_MAX for never. */
void walk_node_waits(struct walk *walk, int node, uint64_t due_ms);
/* What it waited for has come, and the attempt goes on: it is running again. */
void walk_node_resumed(struct walk *walk, int node);
/* The attempt that is under way consists of walks of its own from now on; walk_node_ended() is still to come. */
void walk_node_opened(struct walk *walk, int node);
/* The check of the outputs has ended. WALK_STOPPED: without an answer; what is no success fails the run. */
void walk_checked(struct walk *walk, enum walk_result result);
/* The store has the node's result. */
void walk_node_stored(struct walk *walk, int node);
/* The store refused the node's result for good: the run fails with it. */
void walk_store_refused(struct walk *walk, int node);

/* Somebody asked for the end of the run. */
void walk_cancel(struct walk *walk);
/* The run cannot go on: it fails. Nodes that are cut off are not stored, since the reason is not either. */
void walk_fail(struct walk *walk);
/*
 * The walk around this one ends: end as if cancelled. `record`: nodes that are cut off are stored as cancelled. Only
 * when the reason of the end is stored already: a later attempt must not find them without it.
 */
void walk_stop(struct walk *walk, bool record);
/* Start what is due and end the run when its deadline has passed. */
void walk_tick(struct walk *walk, uint64_t now_ms);
/* When walk_tick() is to be called next. UINT64_MAX: never. */
uint64_t walk_due_ms(const struct walk *walk);
/* No effect may start while held (the lease is not sure). */
void walk_hold(struct walk *walk, bool held);
/* Give the run back at the next node boundary: nothing with effects starts any more. */
void walk_drain(struct walk *walk);
/* As walk_drain(), and stop what is under way: it counts as not run. */
void walk_interrupt(struct walk *walk);
/* Another attempt owns the run: stop everything and store nothing more. */
void walk_drop(struct walk *walk);

/*
 * True when nothing is under way but waits, and walks whose own rest the caller knows: with all walks of a run at rest
 * the run needs no supervisor until something that it waits for comes.
 */
bool walk_rests(const struct walk *walk);

/* True while a node cannot start, or its edges cannot be decided, before results are stored. */
bool walk_waits_for_store(const struct walk *walk);

/* Take the next action; false when there is none. */
bool walk_next_action(struct walk *walk, struct walk_action *ret_action);
bool walk_has_action(const struct walk *walk);

/* Delay before the attempt after `attempt` (1 is the first). Exponential backoff has full jitter. */
uint64_t walk_retry_delay_ms(const struct wl_retry *retry, int attempt, uint32_t random);

#endif
