/* The tool port of one node: the tenant's tools for agents. What a tool has answered once is on record (record.h). */
#ifndef WL_SUPERVISOR_NODES_TOOL_CALLS_H
#define WL_SUPERVISOR_NODES_TOOL_CALLS_H

#include "lib/ports/tool_call.h"
#include "supervisor/nodes/record.h"

struct node_tools {
	struct node_world *world; /* of `thread`; others make their own */
	pthread_t thread;
	const struct node_call *call;
	struct node_record *record;
	struct wl_tool_port port;
};

/* Everything stays the caller's and outlives it. */
void node_tools_open(struct node_world *world, const struct node_call *call, struct node_record *record,
		     struct node_tools *tools);

#endif
