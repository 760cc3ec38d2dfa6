/* A call of a tool of kind mcp, between its two transports. */
#ifndef WL_SUPERVISOR_NODES_TOOL_MCP_H
#define WL_SUPERVISOR_NODES_TOOL_MCP_H

#include "lib/mcp/answer.h"
#include "supervisor/nodes/tool.h"

/* Make a session for the tool's call, or for its server's list when it names no tool. NULL: the outcome tells why. */
struct wl_mcp_session *tool_mcp_session(const struct tool_call *tool, struct node_outcome *outcome);
/* What became of a session that has ended: the output, or a failure. */
void tool_mcp_finish(const struct tool_call *tool, const struct wl_mcp_session *session, struct node_outcome *outcome);
/* Fail for a session that did not come to its end: `result` is what wl_mcp_session_feed() gave. */
void tool_mcp_broke(const struct tool_call *tool, int result, const struct wl_error *err, struct node_outcome *outcome);

/* Keep large data of an answer as artifacts of the node; see struct wl_mcp_keeper, `context` is the call. */
int tool_mcp_keep(void *context, const struct wl_mcp_data *data, size_t count, struct wl_json **ret_kept,
		  struct wl_error *err);

/* The transports; they leave a receipt too. */
void tool_mcp_call_http(const struct tool_call *tool, struct node_outcome *outcome);
void tool_mcp_call_stdio(const struct tool_call *tool, struct node_outcome *outcome);

#endif
