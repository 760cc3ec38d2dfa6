/*
 * tool: a call of one of the tenant's tools. Its input is checked before, its output after the call. A code tool runs
 * as a code node does, in a sandbox and without credentials; the other kinds are requests of ours (tool_http.c), or
 * sessions with a server (tool_mcp.c).
 */
#include "supervisor/nodes/tool.h"

#include "lib/base/cleanup.h"
#include "lib/base/clock.h"

#include <errno.h>
#include <string.h>

#define SOURCE_AWAY_MS 15000 /* so long the source of tools is waited for */
/* The id of no tool: for runs that the server starts to ask a program which tools it has.
 */
#define TOOL_ID_NONE "00000000-0000-0000-0000-000000000000"
#define HTTP_TIMEOUT_S 30 /* of an openapi or http tool that says nothing else */

static bool may_pass(int result)
{
	return result == -ECONNREFUSED || result == -EPIPE || result == -ETIMEDOUT || result == -EAGAIN;
}

/* The tool's row as text, allocated; NULL: the outcome tells why. */
static char *find_row(struct node_world *world, const struct node_call *call, struct node_outcome *outcome)
{
	uint64_t give_up_ms = wl_clock_boot_ms() + SOURCE_AWAY_MS;
	for (;;) {
		struct wl_error err = { 0 };
		char *text = NULL;
		int result = world->tools->tool(world->tools->self, call->tenant, call->plan->tool_id, &text, &err);
		if (result == 0)
			return text;
		if (result == -ENOENT) {
			node_fail(outcome, call, NODE_FAILED_FOR_GOOD, "tool_missing", NULL, "there is no tool %s",
				  call->plan->tool_id);
			return NULL;
		}
		if (!may_pass(result) || wl_clock_boot_ms() > give_up_ms) {
			node_fail(outcome, call, NODE_FAILED, "internal", NULL, "the tool could not be read");
			return NULL;
		}
		if (node_pause(call, 100)) {
			node_fail(outcome, call, NODE_STOPPED, "cancelled", NULL, "stopped before it ran");
			return NULL;
		}
	}
}

/* A schema's text, allocated; NULL when it says nothing: an object without members allows everything. */
static char *schema_text(const struct wl_json *row, const char *name)
{
	const struct wl_json *schema = wl_json_get(row, name);
	bool empty = !schema || wl_json_is(schema, WL_JSON_NULL) ||
		     (wl_json_is(schema, WL_JSON_OBJECT) && wl_json_count(schema) == 0);
	return empty ? NULL : wl_json_print(schema);
}

void tool_begin_receipt(const struct tool_call *tool, struct wl_buffer *text)
{
	(void)wl_buffer_appendf(text, "{\"kind\":\"%s\",\"tool_id\":\"%s\",\"version\":%d", tool->kind,
				tool->call->plan->tool_id, (int)wl_json_get_number(tool->row, "version", 0));
}

/* Put what a receipt says of the tool before what the sandbox says of its run. */
static void name_tool(const struct tool_call *tool, struct node_outcome *outcome)
{
	_wl_buffer_ struct wl_buffer text;
	wl_buffer_init(&text, 0);
	if (!outcome->receipt_json)
		return;
	tool_begin_receipt(tool, &text);
	(void)wl_buffer_append_char(&text, ',');
	(void)wl_buffer_append_text(&text, outcome->receipt_json + 1);
	free(outcome->receipt_json);
	outcome->receipt_json = text.failed ? NULL : wl_buffer_steal(&text);
}

/* As a code node whose input is this one. */
static void call_code(const struct tool_call *tool, struct node_outcome *outcome)
{
	struct node_plan plan = { 0 };
	struct wl_flow_node node = *tool->call->node;
	struct node_call inner = *tool->call;
	int result = node_plan_code(tool->config, &plan);
	if (result == 0) {
		plan.template_json = (char *)tool->input;
		plan.template_length = strlen(tool->input);
		node.timeout_ms = tool->timeout_ms;
		inner.plan = &plan;
		inner.node = &node;
		node_run_code(tool->world, &inner, outcome);
		plan.template_json = NULL; /* the caller's */
		name_tool(tool, outcome);
	} else {
		node_fail(outcome, tool->call, NODE_FAILED_FOR_GOOD, "tool_invalid", NULL,
			  "the tool's language or source is missing");
	}
	node_plan_release(&plan);
}

/* The time for the call: the node's, the tool's or the kind's own, whichever is the shortest; 0: the sandbox's. */
static uint32_t timeout_of(const struct node_call *call, const struct wl_json *config, bool code)
{
	double tool_ms = wl_json_get_number(config, "timeout_s", code ? 0 : HTTP_TIMEOUT_S) * 1000;
	double node_ms = (double)call->node->timeout_ms;
	double ms = tool_ms > 0 && (node_ms <= 0 || tool_ms < node_ms) ? tool_ms : node_ms;
	return ms >= 1 ? (uint32_t)ms : ms > 0 ? 1 : 0;
}

static void call_tool(struct node_world *world, const struct node_call *call, const struct wl_json *row,
		      const char *input, struct node_outcome *outcome)
{
	_wl_free_ char *input_schema = schema_text(row, "input_schema");
	_wl_free_ char *output_schema = schema_text(row, "output_schema");
	const struct node_schema schema = { input_schema, "input_invalid", "input does", "the tool's input_schema" };
	struct node_call inner = *call;
	inner.output_schema = output_schema;
	struct tool_call tool = { .world = world,
				  .call = &inner,
				  .row = row,
				  .config = wl_json_get(row, "execution_config"),
				  .input = input };
	tool.kind = wl_json_get_string(tool.config, "kind", "");
	bool code = strcmp(tool.kind, "code") == 0;
	tool.timeout_ms = timeout_of(call, tool.config, code);
	if (strcmp(wl_json_get_string(row, "state", ""), "archived") == 0)
		node_fail(outcome, call, NODE_FAILED_FOR_GOOD, "tool_missing", NULL, "the tool %s is archived",
			  call->plan->tool_id);
	else if (input_schema && !node_check_schema(world, call, outcome, &schema, input, strlen(input)))
		return;
	else if (code)
		call_code(&tool, outcome);
	else if (strcmp(tool.kind, "mcp") == 0)
		tool_call_mcp(&tool, outcome);
	else if (strcmp(tool.kind, "openapi") == 0 || strcmp(tool.kind, "http") == 0)
		tool_call_http(&tool, outcome);
	else
		node_fail(outcome, call, NODE_FAILED_FOR_GOOD, "tool_invalid", NULL,
			  "tools of kind '%.20s' cannot be called", tool.kind);
}

static void call_row(struct node_world *world, const struct node_call *call, const char *row_text, const char *input,
		     struct node_outcome *outcome)
{
	_wl_json_ struct wl_json *row = NULL;
	struct wl_error err = { 0 };
	if (wl_json_parse_deep(row_text, strlen(row_text), WL_JSON_DEPTH + 4, &row, &err) < 0)
		node_fail(outcome, call, NODE_FAILED, "internal", NULL, "%s", err.text);
	else
		call_tool(world, call, row, input, outcome);
}

/* Is the run one of the server's own, without a flow? Its flow has the id of the execution (api.mcp_import_begin). */
static bool has_no_flow(const struct node_call *call)
{
	_wl_json_ struct wl_json *context = NULL;
	if (wl_json_parse_deep(call->context, call->context_length, WL_JSON_DEPTH + 4, &context, NULL) < 0)
		return false;
	return strcmp(wl_json_get_string(wl_json_get(context, "execution"), "flow_id", ""), call->eid) == 0;
}

/* Ask a program for its tools: the input is the execution_config that they will have, without a tool. */
static void ask_program(struct node_world *world, const struct node_call *call, const char *input,
			struct node_outcome *outcome)
{
	_wl_json_ struct wl_json *config = NULL;
	_wl_json_ struct wl_json *row = wl_json_object();
	bool read = wl_json_parse(input, strlen(input), &config, NULL) == 0;
	bool asks = strcmp(wl_json_get_string(config, "kind", ""), "mcp") == 0 &&
		    strcmp(wl_json_get_string(config, "transport", ""), "stdio") == 0 && !wl_json_get(config, "tool");
	if (!read || !asks || !has_no_flow(call)) {
		node_fail(outcome, call, NODE_FAILED_FOR_GOOD, "tool_missing", NULL, "there is no tool %s",
			  call->plan->tool_id);
		return;
	}
	_wl_free_ char *text = wl_json_set(row, "execution_config", wl_steal(config)) == 0 ? wl_json_print(row) : NULL;
	if (text)
		call_row(world, call, text, "{}", outcome);
	else
		node_fail(outcome, call, NODE_FAILED, "internal", NULL, "no memory for a tool");
}

void node_run_tool(struct node_world *world, const struct node_call *call, struct node_outcome *outcome)
{
	_wl_free_ char *input = NULL;
	if (!node_evaluate(world, call, outcome, &input))
		return;
	node_keep_inputs(outcome, input, strlen(input));
	if (strcmp(call->plan->tool_id, TOOL_ID_NONE) == 0) {
		ask_program(world, call, input, outcome);
		return;
	}
	_wl_free_ char *text = find_row(world, call, outcome);
	if (text)
		call_row(world, call, text, input, outcome);
}
