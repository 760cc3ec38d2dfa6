#include "supervisor/nodes/trace.h"

#include "lib/base/cleanup.h"
#include "lib/base/clock.h"
#include "lib/ports/node_results.h"
#include "supervisor/nodes/text.h"

#include <string.h>

#define STEP_ROOM 512 /* bytes kept free for the last step, which tells how many were left out */

static const char *kind_word(enum wl_crew_step_kind kind)
{
	static const char *const words[] = {
#define X(name, word) [WL_CREW_STEP_##name] = word,
		WL_CREW_STEPS(X)
#undef X
	};
	return words[kind];
}

void node_trace_open(const struct node_call *call, struct node_trace *trace)
{
	*trace = (struct node_trace){ .call = call };
	(void)pthread_mutex_init(&trace->lock, NULL);
	wl_buffer_init(&trace->pending, 0);
}

void node_trace_close(struct node_trace *trace)
{
	for (int i = 0; i < trace->count; i++)
		free(trace->steps[i].json);
	free(trace->steps);
	wl_buffer_release(&trace->pending);
	free(trace->agent);
	(void)pthread_mutex_destroy(&trace->lock);
}

static void put_text(struct wl_buffer *json, const char *name, const char *text)
{
	if (!text)
		return;
	size_t length = strlen(text), kept = length < TRACE_TEXT_KEPT ? length : TRACE_TEXT_KEPT;
	while (kept < length && kept > 0 && ((unsigned char)text[kept] & 0xC0) == 0x80)
		kept--; /* not in the middle of a character */
	(void)wl_buffer_appendf(json, ",\"%s\":", name);
	(void)text_append_json(json, text, kept);
	if (kept < length)
		(void)wl_buffer_appendf(json, ",\"%s_bytes\":%zu", name, length);
}

static void put_usage(struct wl_buffer *json, const struct wl_crew_step *step)
{
	const struct wl_model_usage *usage = step->usage;
	if (!usage)
		return;
	(void)wl_buffer_appendf(json,
				",\"usage\":{\"prompt_tokens\":%llu,\"completion_tokens\":%llu,\"cached_tokens\":%llu,"
				"\"reasoning_tokens\":%llu,\"estimated\":%s},\"cost\":%.10g,\"first_us\":%llu",
				(unsigned long long)usage->prompt, (unsigned long long)usage->completion,
				(unsigned long long)usage->cached, (unsigned long long)usage->reasoning,
				usage->estimated ? "true" : "false", step->cost, (unsigned long long)step->first_us);
}

static void write_step(struct wl_buffer *json, const struct wl_crew_step *step)
{
	(void)wl_buffer_appendf(json, "{\"id\":%d,\"parent\":%d,\"kind\":\"%s\",\"state\":\"%s\"", step->id,
				step->parent, kind_word(step->kind),
				!step->ended	   ? "running"
				: step->error_code ? "failed"
						   : "succeeded");
	put_text(json, "place", step->place);
	put_text(json, "name", step->name);
	put_text(json, "agent", step->agent);
	(void)wl_buffer_appendf(json, ",\"start_ms\":%lld", (long long)step->start_ms);
	put_text(json, "input", step->input);
	if (step->ended) {
		(void)wl_buffer_appendf(json, ",\"end_ms\":%lld", (long long)step->end_ms);
		put_text(json, "output", step->output);
		put_text(json, "error_code", step->error_code);
		put_text(json, "error", step->error);
		put_usage(json, step);
		if (step->replayed)
			(void)wl_buffer_append_text(json, ",\"replayed\":true");
	}
	(void)wl_buffer_append_char(json, '}');
}

static void publish(const struct node_call *call, const char *type, const char *name, const char *json)
{
	_wl_buffer_ struct wl_buffer event;
	const char *path = node_call_path(call);
	wl_buffer_init(&event, 0);
	(void)wl_buffer_append_text(&event, "{\"node_id\":");
	(void)wl_buffer_append_json_string(&event, path, strlen(path));
	(void)wl_buffer_appendf(&event, ",\"%s\":%s}", name, json);
	if (!event.failed)
		call->on_event(call->log_context, type, event.data);
}

static void flush_tokens(struct node_trace *trace)
{
	_wl_buffer_ struct wl_buffer event;
	const char *path = node_call_path(trace->call);
	if (trace->pending.length == 0)
		return;
	wl_buffer_init(&event, 0);
	(void)wl_buffer_append_text(&event, "{\"node_id\":");
	(void)wl_buffer_append_json_string(&event, path, strlen(path));
	put_text(&event, "agent", trace->agent);
	(void)wl_buffer_append_text(&event, ",\"text\":");
	(void)text_append_json(&event, trace->pending.data, trace->pending.length);
	(void)wl_buffer_append_char(&event, '}');
	if (!event.failed)
		trace->call->on_event(trace->call->log_context, "token", event.data);
	wl_buffer_clear(&trace->pending);
	trace->passed_on_ms = wl_clock_boot_ms();
}

void node_trace_token(void *self, const char *agent, const char *text, size_t length)
{
	struct node_trace *trace = self;
	if (!trace->call->on_event)
		return;
	(void)pthread_mutex_lock(&trace->lock);
	bool other = (agent && trace->agent ? strcmp(agent, trace->agent) != 0 : agent != trace->agent);
	if (other) {
		flush_tokens(trace);
		free(trace->agent);
		trace->agent = agent ? strdup(agent) : NULL;
	}
	(void)wl_buffer_append(&trace->pending, text, length);
	if (wl_clock_boot_ms() - trace->passed_on_ms >= TRACE_TOKEN_MS)
		flush_tokens(trace);
	(void)pthread_mutex_unlock(&trace->lock);
}

/* Takes the text over; one that does not fit any more is counted. */
static void keep_step(struct node_trace *trace, int id, struct wl_buffer *json)
{
	bool fits = trace->left_out == 0 && trace->bytes + json->length + 2 <= WL_NODE_TRACE_MAX - STEP_ROOM;
	if (fits && trace->count == trace->room) {
		int room = trace->room ? 2 * trace->room : 16;
		struct trace_step *grown = realloc(trace->steps, (size_t)room * sizeof(*grown));
		fits = grown != NULL;
		trace->steps = grown ? grown : trace->steps;
		trace->room = grown ? room : trace->room;
	}
	if (!fits) {
		trace->left_out++;
		return;
	}
	trace->bytes += json->length + 1;
	trace->steps[trace->count++] = (struct trace_step){ id, wl_buffer_steal(json) };
}

void node_trace_step(void *self, const struct wl_crew_step *step)
{
	struct node_trace *trace = self;
	_wl_buffer_ struct wl_buffer json;
	wl_buffer_init(&json, 0);
	write_step(&json, step);
	if (json.failed)
		return;
	(void)pthread_mutex_lock(&trace->lock);
	if (trace->call->on_event) {
		flush_tokens(trace);
		publish(trace->call, step->kind == WL_CREW_STEP_TOOL ? "tool" : "step", "step", json.data);
	}
	if (step->ended) {
		keep_step(trace, step->id, &json);
	}
	(void)pthread_mutex_unlock(&trace->lock);
}

static int by_beginning(const void *left, const void *right)
{
	return ((const struct trace_step *)left)->id - ((const struct trace_step *)right)->id;
}

static char *steps_text(struct node_trace *trace)
{
	_wl_buffer_ struct wl_buffer text;
	wl_buffer_init(&text, 0);
	qsort(trace->steps, (size_t)trace->count, sizeof(*trace->steps), by_beginning);
	for (int i = 0; i < trace->count; i++) {
		(void)wl_buffer_append_char(&text, i > 0 ? ',' : '[');
		(void)wl_buffer_append_text(&text, trace->steps[i].json);
	}
	if (trace->left_out > 0)
		(void)wl_buffer_appendf(&text, ",{\"kind\":\"cut\",\"steps\":%d}", trace->left_out);
	(void)wl_buffer_append_char(&text, ']');
	return text.failed ? NULL : wl_buffer_steal(&text);
}

char *node_trace_text(struct node_trace *trace)
{
	char *text = NULL;
	(void)pthread_mutex_lock(&trace->lock);
	if (trace->call->on_event)
		flush_tokens(trace);
	if (trace->count > 0)
		text = steps_text(trace);
	(void)pthread_mutex_unlock(&trace->lock);
	return text;
}
