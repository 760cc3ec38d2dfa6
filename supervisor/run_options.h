/* The options of one run (the execution's "options"): what of it is not computed anew. */
#ifndef WL_SUPERVISOR_RUN_OPTIONS_H
#define WL_SUPERVISOR_RUN_OPTIONS_H

#include "lib/base/ids.h"
#include "lib/model/flow_graph.h"
#include "supervisor/nodes/node.h"

struct run_options {
	bool pinned;		  /* nodes with a pinned output give that */
	char reuse[WL_UUID_TEXT]; /* results of this execution are taken over; "" for none */
	unsigned char *rerun;	  /* with reuse: per node of the graph, it is to run whatever it gave there */
	int only;		  /* this node alone runs; -1: all */
	enum node_replay replay;
	char replay_eid[WL_UUID_TEXT]; /* whose record of exchanges is lived on; "" for none */
};

/* Are there results of another run to be taken over before it begins? */
static inline bool run_options_take(const struct run_options *options)
{
	return options && (*options->reuse || options->replay == NODE_REPLAY_OFFLINE);
}

/*
 * Read them for the outer graph of the flow. *ret_options is allocated, NULL for a text that asks for nothing.
 * -EINVAL: the sentence tells what is wrong, such as a node that the flow does not have; -ENOMEM.
 */
int run_options_read(const char *json, const struct wl_flow_graph *graph, struct run_options **ret_options,
		     struct wl_error *err);
void run_options_free(struct run_options *options); /* NULL is allowed */

#endif
