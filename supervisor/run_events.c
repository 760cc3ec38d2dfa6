#include "supervisor/run_events.h"

#include "lib/base/cleanup.h"
#include "lib/base/clock.h"

#include <stdlib.h>
#include <string.h>

static struct event_item *event_new(const char *eid, const char *type, struct wl_buffer *data)
{
	struct event_item *event = data->failed ? NULL : calloc(1, sizeof(*event));
	if (event) {
		(void)snprintf(event->eid, sizeof(event->eid), "%s", eid);
		event->type = type;
		event->data_json = wl_buffer_steal(data);
	}
	wl_buffer_release(data);
	return event;
}

static void append_time(struct wl_buffer *data, int64_t wall_ms)
{
	char time[WL_RFC3339_SIZE];
	(void)wl_buffer_appendf(data, ",\"time\":\"%s\"", wl_rfc3339(wall_ms, time));
}

static void append_member(struct wl_buffer *data, const char *name, const char *json)
{
	if (json)
		(void)wl_buffer_appendf(data, ",\"%s\":", name);
	if (json)
		(void)wl_buffer_append_text(data, json);
}

static void append_outputs(struct wl_buffer *data, const char *json)
{
	if (json && strlen(json) >= EVENT_OUTPUT_MAX)
		(void)wl_buffer_append_text(data, ",\"truncated\":true");
	else
		append_member(data, "outputs", json);
}

struct event_item *event_execution(const char *eid, enum wl_run_state state, int64_t wall_ms)
{
	struct wl_buffer data;
	wl_buffer_init(&data, 0);
	(void)wl_buffer_appendf(&data, "{\"execution_id\":\"%s\",\"status\":\"%s\"", eid, wl_run_state_name(state));
	append_time(&data, wall_ms);
	(void)wl_buffer_append_char(&data, '}');
	return event_new(eid, "execution", &data);
}

static void begin_node(struct wl_buffer *data, const char *node_id, enum wl_node_state state, int attempt,
		       int64_t wall_ms)
{
	wl_buffer_init(data, 0);
	(void)wl_buffer_append_text(data, "{\"node_id\":");
	(void)wl_buffer_append_json_string(data, node_id, strlen(node_id));
	(void)wl_buffer_appendf(data, ",\"status\":\"%s\",\"attempt\":%d", wl_node_state_name(state), attempt);
	append_time(data, wall_ms);
}

struct event_item *event_node_state(const char *eid, const char *node_id, enum wl_node_state state, int attempt,
				    int64_t wall_ms)
{
	struct wl_buffer data;
	begin_node(&data, node_id, state, attempt, wall_ms);
	(void)wl_buffer_append_char(&data, '}');
	return event_new(eid, "node", &data);
}

struct event_item *event_node(const struct wl_node_result *result, int64_t wall_ms)
{
	struct wl_buffer data;
	begin_node(&data, result->node_id, result->state, result->attempt, wall_ms);
	if (result->handle) {
		(void)wl_buffer_append_text(&data, ",\"handle\":");
		(void)wl_buffer_append_json_string(&data, result->handle, strlen(result->handle));
	}
	append_member(&data, "error", result->error_json);
	append_outputs(&data, result->outputs_json);
	(void)wl_buffer_append_char(&data, '}');
	return event_new(result->eid, "node", &data);
}

struct event_item *event_log(const char *eid, const char *node_id, const char *piece_json)
{
	struct wl_buffer data;
	wl_buffer_init(&data, 0);
	(void)wl_buffer_append_text(&data, "{\"node_id\":");
	(void)wl_buffer_append_json_string(&data, node_id, strlen(node_id));
	(void)wl_buffer_append_char(&data, ',');
	(void)wl_buffer_append_text(&data, piece_json + 1); /* its own members and closing brace */
	return event_new(eid, "log", &data);
}

struct event_item *event_end(const struct ending *ending, int64_t wall_ms)
{
	struct wl_buffer data;
	wl_buffer_init(&data, 0);
	(void)wl_buffer_appendf(&data, "{\"execution_id\":\"%s\",\"status\":\"%s\"", ending->lease.eid,
				wl_run_state_name(ending->state));
	append_outputs(&data, ending->outputs_json);
	append_member(&data, "error", ending->error_json);
	append_time(&data, wall_ms);
	(void)wl_buffer_append_char(&data, '}');
	return event_new(ending->lease.eid, "end", &data);
}

struct event_item *event_asking(const char *eid, const char *type, const char *data_json)
{
	struct wl_buffer data;
	wl_buffer_init(&data, 0);
	(void)wl_buffer_append_text(&data, data_json);
	return event_new(eid, type, &data);
}

struct event_item *event_reset(const char *eid)
{
	struct wl_buffer data;
	wl_buffer_init(&data, 0);
	(void)wl_buffer_append_text(&data, "{}");
	return event_new(eid, "reset", &data);
}

void event_item_free(struct event_item *event)
{
	free(event->data_json);
	free(event);
}
