/* One call of a tool, between the files of its kinds. */
#ifndef WL_SUPERVISOR_NODES_TOOL_H
#define WL_SUPERVISOR_NODES_TOOL_H

#include "supervisor/nodes/node.h"

struct tool_call {
	struct node_world *world;
	const struct node_call *call;
	const struct wl_json *row; /* see lib/ports/tool_source.h */
	const struct wl_json *config;
	const char *kind;  /* code, openapi or http */
	const char *input; /* JSON text */
	uint32_t timeout_ms;
};

/* Call a tool of kind openapi or http over the network; the outcome has a receipt too. */
void tool_call_http(const struct tool_call *tool, struct node_outcome *outcome);

/* Begin a receipt: {"kind","tool_id","version" and no closing brace. */
void tool_begin_receipt(const struct tool_call *tool, struct wl_buffer *text);

#endif
