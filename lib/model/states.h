/*
 * The states of executions and nodes: one table each. Enum, names, the legal moves and the drawings in
 * docs/architecture/execution-model.md come from these tables.
 */
#ifndef WL_MODEL_STATES_H
#define WL_MODEL_STATES_H

#include <stdbool.h>

/* X(NAME, "name", "what it means", states that may follow) */
#define WL_RUN_STATES(X)                                                                                               \
	X(QUEUED, "queued", "accepted, waits for a supervisor",                                                        \
	  WL_RUN_BIT(RUNNING) | WL_RUN_BIT(CANCELLED) | WL_RUN_BIT(TIMEOUT) | WL_RUN_BIT(FAILED))                      \
	X(RUNNING, "running", "a supervisor holds it, or it is parked while its nodes wait",                           \
	  WL_RUN_BIT(SUCCEEDED) | WL_RUN_BIT(FAILED) | WL_RUN_BIT(CANCELLED) | WL_RUN_BIT(TIMEOUT))                    \
	X(SUCCEEDED, "succeeded", "every node that had to run has succeeded", 0)                                       \
	X(FAILED, "failed", "a node failed and nothing handled it, or its supervisor was lost too often", 0)           \
	X(CANCELLED, "cancelled", "somebody asked for its end", 0)                                                     \
	X(TIMEOUT, "timeout", "its deadline passed", 0)

#define WL_NODE_STATES(X)                                                                                              \
	X(PENDING, "pending", "its inputs are not decided yet",                                                        \
	  WL_NODE_BIT(RUNNING) | WL_NODE_BIT(SKIPPED) | WL_NODE_BIT(CANCELLED))                                        \
	X(RUNNING, "running", "an attempt is under way, or the next one waits for its delay",                          \
	  WL_NODE_BIT(WAITING) | WL_NODE_BIT(SUCCEEDED) | WL_NODE_BIT(FAILED) | WL_NODE_BIT(CANCELLED))                \
	X(WAITING, "waiting", "waits for a time or a person and holds no slot",                                        \
	  WL_NODE_BIT(RUNNING) | WL_NODE_BIT(SUCCEEDED) | WL_NODE_BIT(FAILED) | WL_NODE_BIT(CANCELLED))                \
	X(SUCCEEDED, "succeeded", "its output is in the store", 0)                                                     \
	X(FAILED, "failed", "its attempts are used up", 0)                                                             \
	X(SKIPPED, "skipped", "no live edge reaches it", 0)                                                            \
	X(CANCELLED, "cancelled", "the run ended while it was on its way", 0)

#define WL_RUN_BIT(NAME) (1U << WL_RUN_##NAME)
#define WL_NODE_BIT(NAME) (1U << WL_NODE_##NAME)

enum wl_run_state {
#define X(NAME, name, meaning, next) WL_RUN_##NAME,
	WL_RUN_STATES(X)
#undef X
		WL_RUN_STATE_COUNT
};

enum wl_node_state {
#define X(NAME, name, meaning, next) WL_NODE_##NAME,
	WL_NODE_STATES(X)
#undef X
		WL_NODE_STATE_COUNT
};

const char *wl_run_state_name(enum wl_run_state state);
const char *wl_run_state_meaning(enum wl_run_state state);
/* The state of that name, or -1. */
int wl_run_state_of(const char *name);
bool wl_run_state_final(enum wl_run_state state);
bool wl_run_move_legal(enum wl_run_state from, enum wl_run_state to);

const char *wl_node_state_name(enum wl_node_state state);
const char *wl_node_state_meaning(enum wl_node_state state);
int wl_node_state_of(const char *name);
bool wl_node_state_final(enum wl_node_state state);
bool wl_node_move_legal(enum wl_node_state from, enum wl_node_state to);

#endif
