#include "webapp/server/mcp_answer.h"

#include "lib/base/cleanup.h"
#include "lib/mcp/server_message.h"
#include "lib/model/states.h"
#include "webapp/server/request.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* An event of more than 1 MiB is refused by clients: the official Python SDK among them. */
#define OUTPUTS_MOST (896u << 10) /* bytes of JSON that a result holds */
#define COPIES_MOST (64u << 10)	  /* that it holds twice: as text for models that read nothing else */

const char web_mcp_built_in[] =
	"{\"name\":\"" WEB_MCP_STATE_TOOL
	"\",\"title\":\"How a run is\",\"description\":\"Tells the status and the outputs of a "
	"run that another tool has started and that goes on, or waits for a person. Waits up to wait_s seconds for its "
	"end.\",\"inputSchema\":{\"type\":\"object\",\"properties\":{\"execution_id\":{\"type\":\"string\",\"format\":"
	"\"uuid\"},\"wait_s\":{\"type\":\"integer\",\"minimum\":0,\"maximum\":300,\"default\":0}},\"required\":"
	"[\"execution_id\"],\"additionalProperties\":false},\"outputSchema\":{\"type\":\"object\",\"properties\":{"
	"\"execution_id\":{\"type\":\"string\"},\"status\":{\"type\":\"string\",\"enum\":[\"queued\",\"running\","
	"\"succeeded\","
	"\"failed\",\"cancelled\",\"timeout\"]},\"outputs\":{},\"error\":{\"type\":\"object\"},\"approvals\":{\"type\":"
	"\"array\","
	"\"items\":{\"type\":\"object\"}}},\"required\":[\"execution_id\",\"status\"]},\"annotations\":{"
	"\"readOnlyHint\":true}}";

struct told {
	const char *eid, *status;
	const struct wl_json *error, *approvals;
	bool succeeded, goes_on;
	char *outputs; /* JSON text, or NULL */
};

static void put_meta(struct wl_buffer *meta, const struct told *told)
{
	(void)wl_buffer_append_char(meta, '{');
	web_member_text(meta, "windlass/execution_id", told->eid);
	(void)wl_buffer_append_char(meta, '}');
}

static void put_json(struct wl_buffer *out, const char *name, const struct wl_json *value)
{
	_wl_free_ char *text = value ? wl_json_print(value) : NULL;
	if (text)
		web_member_raw(out, name, text);
	else if (value)
		out->failed = out->failed ? out->failed : ENOMEM;
}

/* {"execution_id","status"} with what else is known. */
static void put_state(struct wl_buffer *out, const struct told *told, bool outputs)
{
	(void)wl_buffer_append_char(out, '{');
	web_member_text(out, "execution_id", told->eid);
	web_member_text(out, "status", told->status);
	if (outputs && told->outputs)
		web_member_raw(out, "outputs", told->outputs);
	put_json(out, "error", told->error);
	put_json(out, "approvals", told->approvals);
	(void)wl_buffer_append_char(out, '}');
}

static void put_failure_text(struct wl_buffer *text, const struct told *told)
{
	const char *message = wl_json_get_string(told->error, "message", NULL);
	const char *node = wl_json_get_string(told->error, "node_id", NULL);
	if (!message) {
		(void)wl_buffer_appendf(text, "The run %s ended as %s.", told->eid, told->status);
		return;
	}
	(void)wl_buffer_append_text(text, message);
	if (node)
		(void)wl_buffer_appendf(text, " (node %.200s, run %s)", node, told->eid);
}

static void put_waiting_text(struct wl_buffer *text, const struct told *told)
{
	for (const struct wl_json *one = wl_json_first(told->approvals); one; one = wl_json_next(one))
		(void)wl_buffer_appendf(text, "The run waits for a person: %.500s (approval %s).\n",
					wl_json_get_string(one, "message", ""),
					wl_json_get_string(one, "approval_id", ""));
	(void)wl_buffer_appendf(text,
				"The run goes on: its status is %s. Call " WEB_MCP_STATE_TOOL
				" with {\"execution_id\": \"%s\", \"wait_s\": 30} for its result.",
				told->status, told->eid);
}

static void put_large_text(struct wl_buffer *text, const struct told *told, bool whole)
{
	(void)wl_buffer_appendf(text, "The run %s succeeded. Its outputs have %zu bytes: ", told->eid,
				strlen(told->outputs));
	(void)wl_buffer_appendf(text, whole ? "see the structured content." : "GET /api/v1/executions/%s has them.",
				told->eid);
}

/* The outputs of a run that succeeded, as the tool's own result. */
static void put_outputs(struct wl_buffer *out, const char *id, const struct told *told, const struct wl_json *value,
			const char *meta)
{
	_wl_buffer_ struct wl_buffer text = { 0 }, structured = { 0 };
	const char *outputs = told->outputs ? told->outputs : "null";
	size_t length = strlen(outputs);
	bool whole = length <= OUTPUTS_MOST;
	if (length > COPIES_MOST)
		put_large_text(&text, told, whole);
	else
		(void)wl_buffer_append_text(&text, wl_json_string(value, outputs));
	if (whole && wl_json_is(value, WL_JSON_OBJECT)) {
		(void)wl_buffer_append_text(&structured, outputs);
	} else if (whole) {
		(void)wl_buffer_append_char(&structured, '{');
		web_member_raw(&structured, "result", outputs);
		(void)wl_buffer_append_char(&structured, '}');
	}
	const struct wl_mcp_tool_result result = { text.data, structured.data, meta, !whole };
	if (text.failed || structured.failed)
		out->failed = ENOMEM;
	else
		wl_mcp_put_tool_result(out, id, &result);
}

static void put_asked(struct wl_buffer *out, const char *id, const struct told *told, const char *meta)
{
	_wl_buffer_ struct wl_buffer text = { 0 }, structured = { 0 };
	size_t length = told->outputs ? strlen(told->outputs) : 0;
	put_state(&structured, told, length <= OUTPUTS_MOST);
	if (told->goes_on)
		put_waiting_text(&text, told);
	else if (!told->succeeded)
		put_failure_text(&text, told);
	else if (length > COPIES_MOST)
		put_large_text(&text, told, length <= OUTPUTS_MOST);
	else
		(void)wl_buffer_append_text(&text, told->outputs ? told->outputs : "null");
	const struct wl_mcp_tool_result result = { text.data, structured.data, meta, false };
	if (text.failed || structured.failed)
		out->failed = ENOMEM;
	else
		wl_mcp_put_tool_result(out, id, &result);
}

static void put_own(struct wl_buffer *out, const char *id, const struct told *told, const char *meta)
{
	_wl_buffer_ struct wl_buffer text = { 0 }, structured = { 0 };
	put_state(&structured, told, false);
	if (told->goes_on)
		put_waiting_text(&text, told);
	else
		put_failure_text(&text, told);
	const struct wl_mcp_tool_result result = { text.data, structured.data, meta, !told->goes_on };
	if (text.failed || structured.failed)
		out->failed = ENOMEM;
	else
		wl_mcp_put_tool_result(out, id, &result);
}

void web_mcp_put_run(struct wl_buffer *out, const char *id, const struct wl_json *run, bool asked)
{
	const struct wl_json *outputs = wl_json_get(run, "outputs"), *error = wl_json_get(run, "error");
	const struct wl_json *approvals = wl_json_get(run, "approvals");
	const char *status = wl_json_get_string(run, "status", "queued");
	int state = wl_run_state_of(status);
	bool has_outputs = outputs && !wl_json_is(outputs, WL_JSON_NULL);
	_wl_free_ char *text = has_outputs ? wl_json_print(outputs) : NULL;
	_wl_buffer_ struct wl_buffer meta = { 0 };
	const struct told told = { .eid = wl_json_get_string(run, "execution_id", ""),
				   .status = status,
				   .error = wl_json_is(error, WL_JSON_OBJECT) ? error : NULL,
				   .approvals = wl_json_is(approvals, WL_JSON_ARRAY) ? approvals : NULL,
				   .succeeded = strcmp(status, "succeeded") == 0,
				   .goes_on = state >= 0 && !wl_run_state_final((enum wl_run_state)state),
				   .outputs = text };
	put_meta(&meta, &told);
	if (meta.failed || (has_outputs && !text))
		out->failed = ENOMEM;
	else if (asked)
		put_asked(out, id, &told, meta.data);
	else if (told.succeeded)
		put_outputs(out, id, &told, outputs, meta.data);
	else
		put_own(out, id, &told, meta.data);
}

void web_mcp_put_refusal(struct wl_buffer *out, const char *id, const char *fmt, ...)
{
	char text[WL_ERROR_TEXT];
	va_list args;
	va_start(args, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	wl_mcp_put_tool_result(out, id, &(struct wl_mcp_tool_result){ .text = text, .is_error = true });
}

void web_mcp_put_faults(struct wl_buffer *out, const char *id, const struct wl_flow_faults *faults)
{
	_wl_buffer_ struct wl_buffer text = { 0 };
	(void)wl_buffer_append_text(&text, "The arguments do not fit the tool's inputSchema:");
	for (int i = 0; i < faults->count; i++)
		(void)wl_buffer_appendf(&text, "\n- %s: %s",
					*faults->items[i].path ? faults->items[i].path : "arguments",
					faults->items[i].text);
	if (faults->skipped)
		(void)wl_buffer_appendf(&text, "\nand %d more", faults->skipped);
	if (text.failed)
		out->failed = ENOMEM;
	else
		wl_mcp_put_tool_result(out, id, &(struct wl_mcp_tool_result){ .text = text.data, .is_error = true });
}
