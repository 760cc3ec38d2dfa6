#include "webapp/server/execution_answers.h"

#include "lib/base/clock.h"
#include "lib/codec/json.h"
#include "webapp/server/request.h"

#include <string.h>

void web_execution_begin(struct wl_buffer *body, const struct pg_job *job, int step, int row)
{
	static const char *const names[] = { "id",	   "flow_id",	 "version",  "status",	"created_by",
					     "created_at", "start_time", "end_time", "deadline" };
	wl_buffer_append_char(body, '{');
	for (int column = 0; column < 9; column++) {
		if (column == 2)
			web_member_raw(body, names[column], pg_text(job, step, row, column));
		else
			web_member_text(body, names[column], pg_text(job, step, row, column));
	}
	web_member_raw(body, "labels", pg_text(job, step, row, 9));
	web_member_text(body, "source", pg_text(job, step, row, 10));
	web_member_text(body, "source_id", pg_text(job, step, row, 11));
	web_member_raw(body, "error", pg_text(job, step, row, 12));
}

static void put_time(struct wl_buffer *body, const char *name, int64_t wall_ms)
{
	char text[WL_RFC3339_SIZE];
	web_member_text(body, name, wall_ms > 0 ? wl_rfc3339(wall_ms, text) : NULL);
}

static void put_node(struct wl_buffer *body, const struct wl_node_result *result)
{
	wl_buffer_append_char(body, '{');
	web_member_text(body, "node_id", result->node_id);
	web_member_text(body, "status", wl_node_state_name(result->state));
	wl_buffer_appendf(body, ",\"attempt\":%d", result->attempt);
	put_time(body, "start_time", result->start_ms);
	put_time(body, "end_time", result->end_ms);
	web_member_text(body, "handle", result->handle && result->handle[0] ? result->handle : NULL);
	web_member_raw(body, "inputs", result->inputs_json);
	web_member_raw(body, "outputs", result->outputs_json);
	web_member_raw(body, "error", result->error_json);
	web_member_raw(body, "receipt", result->receipt_json);
	web_member_raw(body, "trace", result->trace_json);
	wl_buffer_append_char(body, '}');
}

/* The stored lines have no node_id: each node's lines are its own. */
static void put_logs(struct wl_buffer *body, const struct wl_node_result *result)
{
	_wl_json_ struct wl_json *lines = NULL;
	if (!result->logs_json || wl_json_parse(result->logs_json, strlen(result->logs_json), &lines, NULL) < 0)
		return;
	for (const struct wl_json *line = wl_json_first(lines); line; line = wl_json_next(line)) {
		if (body->data[body->length - 1] != '[')
			wl_buffer_append_char(body, ',');
		wl_buffer_append_char(body, '{');
		web_member_text(body, "time", wl_json_get_string(line, "time", ""));
		web_member_text(body, "node_id", result->node_id);
		web_member_text(body, "stream", wl_json_get_string(line, "stream", "stderr"));
		web_member_text(body, "text", wl_json_get_string(line, "text", ""));
		wl_buffer_append_char(body, '}');
	}
}

void web_execution_nodes(struct wl_buffer *body, struct wl_node_result *results, int count, bool running)
{
	bool any = false;
	wl_buffer_append_text(body, ",\"nodes\":[");
	for (int i = 0; i < count; i++) {
		bool waits = !results[i].committed && results[i].state == WL_NODE_WAITING;
		if (!results[i].committed && !waits)
			continue;
		if (waits && !running) /* the run ended while it was parked */
			results[i].state = WL_NODE_CANCELLED;
		wl_buffer_append_text(body, any ? "," : "");
		put_node(body, &results[i]);
		any = true;
	}
	wl_buffer_append_text(body, "],\"logs\":[");
	for (int i = 0; i < count; i++)
		if (results[i].committed)
			put_logs(body, &results[i]);
	wl_buffer_append_char(body, ']');
}
