/*
 * A flow as a graph: what the checks and the walk need of it. Pure values; a node's own fields stay the JSON
 * text they came as and are read by the node kind alone.
 */
#ifndef WL_MODEL_FLOW_GRAPH_H
#define WL_MODEL_FLOW_GRAPH_H

#include "lib/base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WL_FLOW_MAX_NODES 2000
#define WL_FLOW_MAX_EDGES 10000
#define WL_FLOW_MAX_ID 128
#define WL_FLOW_MAX_ERRORS 100
#define WL_FLOW_MAX_LOOP_DEPTH 4
#define WL_SUBFLOW_MAX_DEPTH 8
#define WL_NODE_PATH_MAX 512	 /* bytes of a node's id with those of the loops and subflows around it */
#define WL_OUTPUT_MAX (4u << 20) /* bytes of JSON of one node's output, and of a run's inputs: its start's output */

/*
 * X(NAME, "name", pure, acts, runs)
 * pure: running it again changes nothing, so it may run ahead of its predecessors' commit. Any other starts only after
 *       its predecessors' results are committed, and what follows it only after its own result is.
 * acts: an attempt of it acts on the world or takes its time. Nodes that neither act nor are pure (loop, subflow, wait,
 *       approval) only compute something at their start; what is under way then are nodes inside them, or nothing.
 */
#define WL_NODE_KINDS(X)                                                                                               \
	X(START, "start", true, false, true)                                                                           \
	X(OUTPUT, "output", true, false, true)                                                                         \
	X(CODE, "code", false, true, true)                                                                             \
	X(TOOL, "tool", false, true, true)                                                                             \
	X(HTTP, "http", false, true, true)                                                                             \
	X(TRANSFORM, "transform", true, false, true)                                                                   \
	X(CONDITION, "condition", true, false, true)                                                                   \
	X(SWITCH, "switch", true, false, true)                                                                         \
	X(JOIN, "join", true, false, true)                                                                             \
	X(LOOP, "loop", false, false, true)                                                                            \
	X(SUBFLOW, "subflow", false, false, true)                                                                      \
	X(WAIT, "wait", false, false, true)                                                                            \
	X(APPROVAL, "approval", false, false, true)                                                                    \
	X(LLM, "llm", false, true, true)                                                                               \
	X(AGENT, "agent", false, true, true)                                                                           \
	X(CREW, "crew", false, true, true)                                                                             \
	X(NOTE, "note", true, false, false)

enum wl_node_kind {
#define X(NAME, name, pure, acts, runs) WL_KIND_##NAME,
	WL_NODE_KINDS(X)
#undef X
		WL_KIND_COUNT
};

const char *wl_node_kind_name(enum wl_node_kind kind);
/* The kind of that name, or -1. */
int wl_node_kind_of(const char *name);
bool wl_node_kind_pure(enum wl_node_kind kind);
bool wl_node_kind_acts(enum wl_node_kind kind);
bool wl_node_kind_runs(enum wl_node_kind kind);
/* True for the kinds that ask models: they mostly wait. */
bool wl_node_kind_asks(enum wl_node_kind kind);
/* True for the kinds that choose a handle when they succeed: only its edges become live. */
bool wl_node_kind_chooses(enum wl_node_kind kind);

enum wl_on_error { WL_ON_ERROR_FAIL, WL_ON_ERROR_CONTINUE, WL_ON_ERROR_BRANCH };
enum wl_backoff { WL_BACKOFF_NONE, WL_BACKOFF_FIXED, WL_BACKOFF_EXPONENTIAL };
enum wl_join_mode { WL_JOIN_ALL, WL_JOIN_ANY };

struct wl_retry {
	int attempts; /* 1 or more: how often it is tried in all */
	enum wl_backoff backoff;
	int64_t delay_ms;
	int64_t max_delay_ms;
};

struct wl_flow_node {
	char *id;
	char *label; /* "" when it has none */
	enum wl_node_kind kind;
	struct wl_retry retry;
	int64_t timeout_ms; /* 0: none of its own */
	enum wl_on_error on_error;
	enum wl_join_mode join; /* of a join node */
	int parent;		/* the loop that it stands in, an index into nodes; -1: none */
	char *data_json;	/* the node's `data` as JSON text */
	char **cases;		/* of a switch node: the names of its cases, which are handles */
	int case_count;
	int body; /* of a loop: which part its nodes are; made by wl_flow_graph_split() */
	/* made by wl_flow_graph_index(): indexes into edges */
	int *in_edges, in_count;
	int *out_edges, out_count;
};

struct wl_flow_edge {
	char *id;
	int source, target;  /* indexes into nodes; -1 while a document with faults is checked: leads nowhere */
	char *source_handle; /* "" for the only handle */
};

struct wl_flow_graph {
	struct wl_flow_node *nodes;
	int node_count;
	struct wl_flow_edge *edges;
	int edge_count;
	int start; /* index of the start node, -1 when there is none */
};

/* One fault of a document: where it is and what is wrong. */
struct wl_flow_fault {
	char path[256]; /* JSON path from the document's root, such as nodes[3].data.source */
	char text[256];
};

struct wl_flow_faults {
	struct wl_flow_fault items[WL_FLOW_MAX_ERRORS];
	int count;   /* kept in items */
	int skipped; /* found beyond them */
};

/* Record a fault; the format is a sentence without a full stop. */
void wl_flow_fault_add(struct wl_flow_faults *faults, const char *path, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* Release everything inside `graph` (not the struct itself); safe on a zeroed one. */
void wl_flow_graph_release(struct wl_flow_graph *graph);

/* Fill in_edges and out_edges of every node. 0 or -ENOMEM. */
int wl_flow_graph_index(struct wl_flow_graph *graph, struct wl_error *err);

/* The index of the node with that id, or -1. */
int wl_flow_graph_find(const struct wl_flow_graph *graph, const char *id);

/*
 * The checks that need the whole graph: exactly one start, at least one node behind it, no cycle, no node that the
 * start does not reach, handles that the source kind does not have, edges into start, edges of notes, edges out of
 * an output; loops that are empty, too deep or inside themselves, edges across a loop's border. Needs an indexed graph.
 * Adds to `faults`; returns how many it added.
 */
int wl_flow_graph_check(const struct wl_flow_graph *graph, struct wl_flow_faults *faults);

/* A topological order of all node indexes in `order` (node_count entries): false when there is a cycle (Kahn 1962). */
bool wl_flow_graph_order(const struct wl_flow_graph *graph, int *order);

/*
 * Mark in `upstream` (node_count bytes) each node whose output an expression of `node` can see: edges lead from it to
 * the node, or to a loop that the node stands in. False without memory.
 */
bool wl_flow_graph_upstream(const struct wl_flow_graph *graph, int node, unsigned char *upstream);

/* True when there is a path of edges from one node to the other. */
bool wl_flow_graph_reaches(const struct wl_flow_graph *graph, int from, int to);

/*
 * Take a checked graph apart into those that are walked: the first has the nodes outside of loops, and each loop has
 * one more, `body` of its node, with the nodes inside it. Each is indexed. *ret_parts is allocated. 0 or -ENOMEM; the
 * whole is still to be released.
 */
int wl_flow_graph_split(struct wl_flow_graph *whole, struct wl_flow_graph **ret_parts, int *ret_count,
			struct wl_error *err);

#endif
