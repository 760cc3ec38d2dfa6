/* Tools and their results as MCP clients see them. */
#ifndef WL_WEBAPP_MCP_ANSWER_H
#define WL_WEBAPP_MCP_ANSWER_H

#include "lib/base/buffer.h"
#include "lib/base/ids.h"
#include "lib/codec/json.h"
#include "lib/model/flow_graph.h"

#include <stdbool.h>

#define WEB_MCP_STATE_TOOL "get_execution"
#define WEB_MCP_WAIT_MOST_S 300

/* The built-in tools as JSON, without brackets. */
extern const char web_mcp_built_in[];

/*
 * Append the answer to the request `id` (JSON text) that tells how a run is:
 * {"execution_id","status","outputs","error", "approvals"} as api.mcp_state and RunResult have it. `asked`: by
 * get_execution; else the answer is that of the tool itself: its outputs, or its failure.
 */
void web_mcp_put_run(struct wl_buffer *out, const char *id, const struct wl_json *run, bool asked);

/* Append the answer that a call was refused or went wrong, for the model to read. */
void web_mcp_put_refusal(struct wl_buffer *out, const char *id, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* The same for arguments that do not fit the schema. */
void web_mcp_put_faults(struct wl_buffer *out, const char *id, const struct wl_flow_faults *faults);

#endif
