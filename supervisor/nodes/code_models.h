/*
 * Language models for the program of a code node or tool: the gateway in its sandbox (supervisor/gateway), whose calls
 * are the node's own: within its budgets, in its trace, on its record. What a program asks is known by its place, which
 * is made from what is asked and how often that was asked before, so that programs that ask several things at once find
 * the same answers in another attempt and in a replay.
 */
#ifndef WL_SUPERVISOR_NODES_CODE_MODELS_H
#define WL_SUPERVISOR_NODES_CODE_MODELS_H

#include "supervisor/nodes/node.h"

#define CODE_MODELS_CALLS 1000 /* of one attempt, when the node says nothing else */

struct code_models;

/* Read the record. 0; false: the outcome tells why not. */
bool code_models_open(struct node_world *world, const struct node_call *call, struct node_outcome *outcome,
		      struct code_models **ret_models);
void code_models_free(struct code_models *models); /* NULL is fine */

/* What the program is told of it: NULL-terminated "NAME=value"s that live as long as `models`. */
const char *const *code_models_env(const struct code_models *models);

/* As sandbox_request.on_listen, with one socket; once for each start of the sandbox. */
int code_models_listen(struct code_models *models, int fd, struct wl_error *err);

/*
 * The program has ended: so do its calls. True: the outcome tells how the node ended for a reason that lies in its
 * calls (a replay that asks something else; a program that failed after a budget refused it a model).
 */
bool code_models_end(struct code_models *models, bool program_failed, struct node_outcome *outcome);

/* When the outcome is known: put in the trace, and the use of models into its receipt. */
void code_models_tell(struct code_models *models, struct node_outcome *outcome);

#endif
