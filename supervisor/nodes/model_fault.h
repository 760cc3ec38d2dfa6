/* How a node that asks models ends when it cannot go on. */
#ifndef WL_SUPERVISOR_NODES_MODEL_FAULT_H
#define WL_SUPERVISOR_NODES_MODEL_FAULT_H

#include "supervisor/nodes/model_calls.h"

/*
 * Fail with the word of a fault. What a server that comes back may cure may be tried again; what models said is told as
 * the end of the record's round, so that another attempt asks anew. `spent` is a usage object (JSON) or NULL: it
 * becomes part of the error's detail, since money that was spent for nothing counts too.
 */
void node_fail_model(struct node_outcome *outcome, const struct node_call *call, struct node_models *models,
		     const char *code, const char *spent, const char *sentence);

/* Fail because the node's record was not opened: `result` and `err` of node_record_open(). */
void node_fail_record(struct node_outcome *outcome, const struct node_call *call, int result,
		      const struct wl_error *err);

/* The node's time is over, or it was told to stop: says which, and true. */
bool node_model_stopped(struct node_outcome *outcome, const struct node_call *call, const struct node_models *models,
			const char *spent);

#endif
