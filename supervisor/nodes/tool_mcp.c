/*
 * Tools of the kind mcp: a session of its own with a server of the Model Context Protocol for each call, over HTTP
 * (tool_mcp_http.c) or with a program in a sandbox (tool_mcp_stdio.c).
 */
#include "supervisor/nodes/tool_mcp.h"

#include "lib/base/cleanup.h"
#include "lib/mcp/answer.h"
#include "supervisor/nodes/code.h"

#include <errno.h>
#include <string.h>

/* Progress and log messages of the server are log lines of the node. */
static void pass_note(void *context, const char *text, size_t length)
{
	const struct tool_call *tool = context;
	const struct node_call *call = tool->call;
	(void)length;
	_wl_free_ char *masked = tool->secrets ? tool_secrets_mask(tool->secrets, text) : strdup(text);
	if (call->on_log && masked)
		call->on_log(call->log_context, "stderr", masked, strlen(masked));
}

struct wl_mcp_session *tool_mcp_session(const struct tool_call *tool, struct node_outcome *outcome)
{
	struct wl_mcp_session *session = NULL;
	struct wl_error err = { 0 };
	bool nothing = strcmp(tool->input, "null") == 0;
	const struct wl_mcp_goal goal = { .tool = wl_json_get_string(tool->config, "tool", NULL),
					  .arguments = nothing ? "{}" : tool->input,
					  .pin = wl_json_get_string(tool->config, "pin", NULL),
					  .on_note = pass_note,
					  .context = (void *)tool };
	if (goal.tool && *goal.arguments != '{')
		node_fail(outcome, tool->call, NODE_FAILED_FOR_GOOD, "input_invalid", NULL,
			  "a tool of kind mcp takes an object");
	else if (wl_mcp_session_new(&goal, &session, &err) < 0)
		node_fail(outcome, tool->call, NODE_FAILED, "internal", NULL, "%s", err.text);
	return session;
}

/* ---- the end ------------------------------------------------------------------------------------------------- */

static void give_answer(const struct tool_call *tool, const struct wl_json *result, struct node_outcome *outcome)
{
	const struct wl_mcp_keeper keeper = { (void *)tool, tool_mcp_keep };
	struct wl_error err = { 0 };
	char *output = NULL;
	int failed = wl_mcp_answer_output(result, &keeper, &output, &err);
	if (failed == 0)
		node_give(outcome, tool->call, output);
	else if (failed == -EFBIG)
		node_fail(outcome, tool->call, NODE_FAILED_FOR_GOOD, "output_cap", NULL, "%s", err.text);
	else if (failed == -EPROTO || failed == -ENOMEM)
		tool_mcp_broke(tool, failed, &err, outcome);
	else
		node_files_failed(outcome, tool->call, failed, &err);
}

/* The tool itself says that it has failed, and why: for models, which can do something about it. */
static void fail_tool(const struct tool_call *tool, const struct wl_json *result, struct node_outcome *outcome)
{
	_wl_free_ char *text = wl_mcp_answer_text(result);
	_wl_json_ struct wl_json *detail = wl_json_object();
	const struct wl_json *structured = wl_json_get(result, "structuredContent");
	int failed = wl_json_set_string(detail, "text", text);
	if (structured)
		failed |= wl_json_set(detail, "structured", wl_json_copy(structured));
	_wl_free_ char *detail_text = failed ? NULL : wl_json_print(detail);
	node_fail(outcome, tool->call, NODE_FAILED, "tool_error", detail_text, "%.400s",
		  text && *text ? text : "the tool failed without saying why");
}

void tool_mcp_finish(const struct tool_call *tool, const struct wl_mcp_session *session, struct node_outcome *outcome)
{
	const struct wl_mcp_fault *fault = wl_mcp_session_fault(session);
	const struct wl_json *result = wl_mcp_session_result(session);
	if (fault->code) {
		_wl_free_ char *detail = fault->detail ? wl_json_print(fault->detail) : NULL;
		node_fail(outcome, tool->call, fault->for_good ? NODE_FAILED_FOR_GOOD : NODE_FAILED, fault->code,
			  detail, "%s", fault->text);
	} else if (!result) {
		node_give(outcome, tool->call, wl_mcp_list_text(session));
	} else if (wl_mcp_answer_failed(result)) {
		fail_tool(tool, result, outcome);
	} else {
		give_answer(tool, result, outcome);
	}
}

void tool_mcp_broke(const struct tool_call *tool, int result, const struct wl_error *err, struct node_outcome *outcome)
{
	if (result == -EMSGSIZE)
		node_fail(outcome, tool->call, NODE_FAILED_FOR_GOOD, "output_cap", NULL, "%s", err->text);
	else if (result == -ENOMEM)
		node_fail(outcome, tool->call, NODE_FAILED, "internal", NULL, "%s", err->text);
	else
		node_fail(outcome, tool->call, NODE_FAILED, "mcp_protocol", NULL, "%s", err->text);
}

void tool_call_mcp(const struct tool_call *tool, struct node_outcome *outcome)
{
	if (strcmp(wl_json_get_string(tool->config, "transport", "http"), "stdio") == 0)
		tool_mcp_call_stdio(tool, outcome);
	else
		tool_mcp_call_http(tool, outcome);
	if (outcome->result == NODE_OK)
		(void)node_check_output(tool->world, tool->call, outcome);
}
