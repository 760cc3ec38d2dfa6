/*
 * Building an answer. Text and arguments are kept whole in the reader; what has become certain is told to the sink,
 * which knows what earlier tries have told: the same again is passed over, anything else is a fault.
 */
#include "lib/llm/wire.h"

#include "lib/base/cleanup.h"
#include "lib/base/clock.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <string.h>

#define ID_MAX 256
#define NAME_MAX_BYTES 256
#define WHOLE_MAX (32u << 20) /* bytes of an answer in one piece */

void wl_llm_reader_init(struct wl_llm_reader *reader, const struct wl_llm_wire *wire, const struct wl_llm_ask *ask,
			struct wl_llm_sink *sink)
{
	*reader = (struct wl_llm_reader){ .wire = wire, .ask = ask, .sink = sink };
	wl_llm_frames_init(&reader->frames, wire->lines);
	wl_buffer_init(&reader->whole, WHOLE_MAX);
	wl_buffer_init(&reader->text, 0);
	wl_buffer_init(&reader->aside, 0);
}

void wl_llm_reader_release(struct wl_llm_reader *reader)
{
	wl_llm_frames_release(&reader->frames);
	wl_buffer_release(&reader->whole);
	wl_buffer_release(&reader->text);
	wl_buffer_release(&reader->aside);
	for (size_t i = 0; i < reader->tool_count; i++) {
		free(reader->tools[i].id);
		free(reader->tools[i].name);
		wl_buffer_release(&reader->tools[i].arguments);
	}
	free(reader->tools);
	free(reader->model);
	*reader = (struct wl_llm_reader){ 0 };
}

void wl_llm_got_fault(struct wl_llm_reader *reader, enum wl_model_fault fault, const char *fmt, ...)
{
	char text[WL_ERROR_TEXT];
	va_list args;
	if (reader->fault)
		return; /* the first one is the cause */
	va_start(args, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	reader->fault = fault;
	(void)wl_fail(&reader->err, wl_llm_errno(fault), "%s", text);
}

void wl_llm_got_error(struct wl_llm_reader *reader, const struct wl_json *error)
{
	_wl_free_ char *body = error ? wl_json_print(error) : NULL;
	struct wl_error err = { 0 };
	if (!body) {
		wl_llm_got_fault(reader, WL_MODEL_FAULT_ANSWER, "the answer is not what the protocol says");
		return;
	}
	double status = wl_json_get_number(error, "code", wl_json_get_number(error, "status", 0));
	long code = status >= 400 && status < 600 ? (long)status : 0;
	enum wl_model_fault fault = wl_llm_fault_of(code, body, strlen(body), NULL, &err);
	wl_llm_got_fault(reader, fault, "%s", err.text);
}

static void no_memory(struct wl_llm_reader *reader)
{
	wl_llm_got_fault(reader, WL_MODEL_FAULT_ANSWER, "no memory for an answer");
}

/* ---- telling ---------------------------------------------------------------------------------------------------- */

static void diverged(struct wl_llm_reader *reader)
{
	wl_llm_got_fault(reader, WL_MODEL_FAULT_AWAY,
			 "the answer broke off after a part of it was passed on, and the next one began otherwise");
}

/*
 * Pass over what earlier tries told of these bytes and give the rest to `told`; false when they differ. `at` is where
 * the new bytes begin.
 */
static bool pass_over(const struct wl_buffer *told, size_t at, const char *bytes, size_t length, size_t *ret_skip)
{
	size_t same = told->length > at ? told->length - at : 0;
	if (same > length)
		same = length;
	*ret_skip = same;
	return same == 0 || memcmp(told->data + at, bytes, same) == 0;
}

static void tell_text(struct wl_llm_reader *reader, size_t until)
{
	struct wl_llm_sink *sink = reader->sink;
	size_t skip = 0;
	if (until <= reader->told)
		return;
	const char *bytes = reader->text.data + reader->told;
	size_t length = until - reader->told;
	if (!reader->first_us)
		reader->first_us = wl_clock_monotonic_us();
	if (sink->stream && !pass_over(&sink->text, reader->told, bytes, length, &skip)) {
		diverged(reader);
		return;
	}
	reader->told = until;
	if (!sink->stream || skip == length)
		return;
	if (wl_buffer_append(&sink->text, bytes + skip, length - skip) < 0)
		no_memory(reader);
	else if (sink->stream->text)
		sink->stream->text(sink->stream->context, bytes + skip, length - skip);
}

static void tell_tool_begin(struct wl_llm_reader *reader, struct wl_llm_read_tool *tool, size_t index)
{
	struct wl_llm_sink *sink = reader->sink;
	tool->begun = true;
	if (!reader->first_us)
		reader->first_us = wl_clock_monotonic_us();
	if (!sink->stream)
		return;
	if (index < sink->tool_count) {
		/* told by an earlier try, by an id that stays */
		char *id = strdup(sink->tools[index].id);
		if (strcmp(sink->tools[index].name, tool->name) != 0)
			diverged(reader);
		else if (!id)
			no_memory(reader);
		if (id) {
			free(tool->id);
			tool->id = id;
		}
		return;
	}
	struct wl_llm_told_tool *more = realloc(sink->tools, (index + 1) * sizeof(*more));
	if (more)
		sink->tools = more;
	struct wl_llm_told_tool told = { .id = strdup(tool->id), .name = strdup(tool->name) };
	if (!more || !told.id || !told.name) {
		free(told.id);
		free(told.name);
		no_memory(reader);
		return;
	}
	wl_buffer_init(&told.arguments, 0);
	sink->tools[sink->tool_count++] = told;
	if (sink->stream->tool_begin)
		sink->stream->tool_begin(sink->stream->context, index, tool->id, tool->name);
}

static void tell_arguments(struct wl_llm_reader *reader, struct wl_llm_read_tool *tool, size_t index)
{
	struct wl_llm_sink *sink = reader->sink;
	size_t skip = 0, length = tool->arguments.length - tool->told;
	if (length == 0 || !sink->stream || reader->fault)
		return;
	const char *bytes = tool->arguments.data + tool->told;
	struct wl_llm_told_tool *told = &sink->tools[index];
	if (!pass_over(&told->arguments, tool->told, bytes, length, &skip)) {
		diverged(reader);
		return;
	}
	tool->told = tool->arguments.length;
	if (skip == length)
		return;
	if (wl_buffer_append(&told->arguments, bytes + skip, length - skip) < 0)
		no_memory(reader);
	else if (sink->stream->tool_arguments)
		sink->stream->tool_arguments(sink->stream->context, index, bytes + skip, length - skip);
}

/* Tell of tools in their order: one is told of once its name is known, and those behind it wait for that. */
static void tell_tools(struct wl_llm_reader *reader)
{
	size_t index = 0;
	for (size_t i = 0; i < reader->tool_count && !reader->fault; i++) {
		struct wl_llm_read_tool *tool = &reader->tools[i];
		if (tool->is_text)
			continue;
		if (!tool->name)
			return;
		if (!tool->begun)
			tell_tool_begin(reader, tool, index);
		tell_arguments(reader, tool, index);
		index++;
	}
}

/* ---- text and stop words ---------------------------------------------------------------------------------------- */

/* Where the first stop word begins, or the length; *ret_hold: from where on one may still become whole. */
static size_t find_stop(const struct wl_llm_reader *reader, size_t *ret_hold)
{
	const struct wl_model_request *request = reader->ask->request;
	size_t length = reader->text.length;
	*ret_hold = length;
	for (size_t at = reader->searched; at < length; at++) {
		for (size_t i = 0; i < request->stop_count; i++) {
			size_t stop = strlen(request->stops[i]);
			size_t there = length - at < stop ? length - at : stop;
			if (stop == 0 || memcmp(reader->text.data + at, request->stops[i], there) != 0)
				continue;
			if (there == stop)
				return at;
			if (at < *ret_hold)
				*ret_hold = at;
		}
	}
	return length;
}

static void text_grew(struct wl_llm_reader *reader)
{
	size_t hold = 0, stop = find_stop(reader, &hold);
	if (stop < reader->text.length) {
		reader->text.length = stop;
		reader->text.data[stop] = '\0';
		reader->stopped = true;
		hold = stop;
	}
	reader->searched = hold;
	tell_text(reader, hold);
}

static bool counts(struct wl_llm_reader *reader, size_t length)
{
	reader->bytes += length;
	if (reader->bytes > WL_MODEL_ANSWER_MAX)
		wl_llm_got_fault(reader, WL_MODEL_FAULT_ANSWER, "the answer has more than %u bytes",
				 WL_MODEL_ANSWER_MAX);
	return reader->fault == WL_MODEL_FAULT_NONE;
}

void wl_llm_got_text(struct wl_llm_reader *reader, const char *text)
{
	size_t length = text ? strlen(text) : 0;
	if (length == 0 || !counts(reader, length) || reader->stopped)
		return;
	bool aside = wl_llm_schema_by_tool(reader->ask);
	struct wl_buffer *into = aside ? &reader->aside : &reader->text;
	if (wl_llm_utf8_take(&reader->utf8, text, length, into) < 0)
		no_memory(reader);
	else if (!aside)
		text_grew(reader);
}

/* ---- tool uses -------------------------------------------------------------------------------------------------- */

static struct wl_llm_read_tool *find_tool(struct wl_llm_reader *reader, long key, const char *id)
{
	for (size_t i = reader->tool_count; key >= 0 && i > 0; i--)
		if (reader->tools[i - 1].key == key)
			return &reader->tools[i - 1];
	if (key >= 0 || reader->tool_count == 0)
		return NULL;
	/* pieces that are not numbered belong to the last one, unless they bring a new id */
	struct wl_llm_read_tool *last = &reader->tools[reader->tool_count - 1];
	return id && *id && (!last->id || strcmp(last->id, id) != 0) ? NULL : last;
}

static struct wl_llm_read_tool *add_tool(struct wl_llm_reader *reader, long key)
{
	if (reader->tool_count >= WL_MODEL_TOOLS_MAX) {
		wl_llm_got_fault(reader, WL_MODEL_FAULT_ANSWER, "the answer uses more than %d tools at once",
				 WL_MODEL_TOOLS_MAX);
		return NULL;
	}
	struct wl_llm_read_tool *more = realloc(reader->tools, (reader->tool_count + 1) * sizeof(*more));
	if (!more) {
		no_memory(reader);
		return NULL;
	}
	reader->tools = more;
	more[reader->tool_count] = (struct wl_llm_read_tool){ .key = key };
	wl_buffer_init(&more[reader->tool_count].arguments, 0);
	return &more[reader->tool_count++];
}

/* An id for a tool use that the server gives none: the same in each run over the same conversation. */
static void make_id(struct wl_llm_reader *reader, struct wl_llm_read_tool *tool)
{
	char text[64];
	(void)snprintf(text, sizeof(text), "call_%zu_%zu", reader->ask->request->message_count,
		       (size_t)(tool - reader->tools));
	tool->id = strdup(text);
}

static void name_tool(struct wl_llm_reader *reader, struct wl_llm_read_tool *tool, const char *id, const char *name)
{
	if (!tool->id && id && *id && strlen(id) <= ID_MAX)
		tool->id = strdup(id);
	if (tool->name || !name || !*name)
		return;
	if (strlen(name) > NAME_MAX_BYTES) {
		wl_llm_got_fault(reader, WL_MODEL_FAULT_ANSWER, "the answer names a tool by more than %d bytes",
				 NAME_MAX_BYTES);
		return;
	}
	if (!tool->id)
		make_id(reader, tool);
	tool->name = strdup(name);
	if (!tool->id || !tool->name)
		no_memory(reader);
	tool->is_text =
		wl_llm_schema_by_tool(reader->ask) && strcmp(name, wl_llm_schema_name(reader->ask->request)) == 0;
}

void wl_llm_got_tool(struct wl_llm_reader *reader, long key, const char *id, const char *name, const char *arguments)
{
	size_t length = arguments ? strlen(arguments) : 0;
	if (!counts(reader, length))
		return;
	struct wl_llm_read_tool *tool = find_tool(reader, key, id);
	if (!tool)
		tool = add_tool(reader, key);
	if (!tool)
		return;
	name_tool(reader, tool, id, name);
	struct wl_buffer *into = tool->is_text ? &reader->text : &tool->arguments;
	if (reader->fault)
		return;
	if (wl_llm_utf8_take(&tool->utf8, length ? arguments : "", length, into) < 0)
		no_memory(reader);
	else if (tool->is_text)
		text_grew(reader);
	else
		tell_tools(reader);
}

void wl_llm_got_tool_json(struct wl_llm_reader *reader, long key, const char *id, const char *name,
			  const struct wl_json *arguments)
{
	const char *text = wl_json_string(arguments, NULL);
	_wl_free_ char *printed = text || !arguments ? NULL : wl_json_print(arguments);
	if (arguments && !text && !printed)
		no_memory(reader);
	wl_llm_got_tool(reader, key, id, name, text ? text : printed);
}

/* ---- the rest --------------------------------------------------------------------------------------------------- */

void wl_llm_got_end(struct wl_llm_reader *reader, enum wl_model_end end)
{
	reader->end = end;
	reader->ended = true;
}

void wl_llm_got_model(struct wl_llm_reader *reader, const char *model)
{
	if (!reader->model && model && *model && strlen(model) <= ID_MAX)
		reader->model = strdup(model);
}

bool wl_llm_got_count(const struct wl_json *usage, const char *name, uint64_t *count)
{
	double number = wl_json_get_number(usage, name, -1);
	if (!(number >= 0 && number <= 1e12))
		return false;
	*count = (uint64_t)number;
	return true;
}

/* ---- bytes ------------------------------------------------------------------------------------------------------ */

/* Parse JSON of a server, also when it cut characters in two; NULL with a fault. */
static struct wl_json *parse(struct wl_llm_reader *reader, const char *data, size_t length)
{
	struct wl_json *json = NULL;
	struct wl_error err = { 0 };
	if (wl_json_parse(data, length, &json, &err) == 0)
		return json;
	_wl_buffer_ struct wl_buffer repaired;
	wl_buffer_init(&repaired, 0);
	if (wl_llm_repair_json(data, length, &repaired) == 0 && repaired.data &&
	    wl_json_parse(repaired.data, repaired.length, &json, NULL) == 0)
		return json;
	/* what the last bytes of a stream begin and do not end was torn: asked again it may come whole */
	if (reader->over && reader->form == WL_LLM_FORM_FRAMES && length > 0 && data[0] == '{' &&
	    data[length - 1] != '}')
		wl_llm_got_fault(reader, WL_MODEL_FAULT_AWAY, "the answer broke off");
	else
		wl_llm_got_fault(reader, WL_MODEL_FAULT_ANSWER, "the server's answer is no JSON: %.200s", err.text);
	return NULL;
}

/* An error in place of an answer: some servers send it with status 200. */
static bool is_error(const struct wl_json *json)
{
	const struct wl_json *error = wl_json_get(json, "error");
	return wl_json_is(error, WL_JSON_OBJECT) || wl_json_is(error, WL_JSON_STRING);
}

static int take_frame(void *context, const char *data, size_t length)
{
	struct wl_llm_reader *reader = context;
	while (length && isspace((unsigned char)data[length - 1]))
		length--;
	if (length == 0 || reader->done)
		return 0;
	if (length == 6 && memcmp(data, "[DONE]", 6) == 0) {
		reader->done = true;
		if (!reader->ended && reader->bytes)
			wl_llm_got_end(reader, WL_MODEL_END_STOP);
		return 0;
	}
	_wl_json_ struct wl_json *json = parse(reader, data, length);
	if (json && is_error(json))
		wl_llm_got_error(reader, wl_json_is(wl_json_get(json, "error"), WL_JSON_OBJECT)
						 ? wl_json_get(json, "error")
						 : json);
	else if (json)
		reader->wire->frame(reader, json);
	return reader->fault ? -1 : 0;
}

static void choose_form(struct wl_llm_reader *reader, char first)
{
	if (first == '<')
		wl_llm_got_fault(reader, WL_MODEL_FAULT_ANSWER,
				 "the server answers with a page for browsers (HTML or XML)");
	else if (!reader->wire->lines && (first == '{' || first == '[' || !reader->ask->stream))
		reader->form = WL_LLM_FORM_WHOLE;
	else if (reader->wire->lines || (first && strchr(":deir", first))) /* a comment, data, event, id or retry */
		reader->form = WL_LLM_FORM_FRAMES;
	else
		wl_llm_got_fault(reader, WL_MODEL_FAULT_ANSWER,
				 "the server's answer is neither JSON nor a stream of events");
}

int wl_llm_reader_feed(struct wl_llm_reader *reader, const char *bytes, size_t length)
{
	struct wl_error err = { 0 };
	/* what the answer is shows its first byte, whatever its content type says */
	while (reader->form == WL_LLM_FORM_UNKNOWN && length && *bytes && strchr(" \t\r\n\xef\xbb\xbf", *bytes)) {
		bytes++;
		length--;
	}
	if (length && reader->form == WL_LLM_FORM_UNKNOWN && !reader->fault)
		choose_form(reader, *bytes);
	if (length && !reader->fault && reader->form == WL_LLM_FORM_WHOLE) {
		if (wl_buffer_append(&reader->whole, bytes, length) < 0)
			wl_llm_got_fault(reader, WL_MODEL_FAULT_ANSWER, "the answer is too large");
	} else if (length && !reader->fault &&
		   wl_llm_frames_feed(&reader->frames, bytes, length, take_frame, reader, &err) < 0 && !reader->fault) {
		wl_llm_got_fault(reader, WL_MODEL_FAULT_ANSWER, "%s", err.text);
	}
	return reader->fault ? -wl_llm_errno(reader->fault) : 0;
}

static void read_whole(struct wl_llm_reader *reader)
{
	_wl_json_ struct wl_json *json = parse(reader, reader->whole.data, reader->whole.length);
	if (json && is_error(json))
		wl_llm_got_error(reader, wl_json_is(wl_json_get(json, "error"), WL_JSON_OBJECT)
						 ? wl_json_get(json, "error")
						 : json);
	else if (json)
		reader->wire->whole(reader, json);
	if (json && !reader->ended)
		wl_llm_got_fault(reader, WL_MODEL_FAULT_ANSWER, "the answer is not what the protocol says");
}

/* ---- the end ---------------------------------------------------------------------------------------------------- */

static bool has_text_tool(const struct wl_llm_reader *reader)
{
	for (size_t i = 0; i < reader->tool_count; i++)
		if (reader->tools[i].is_text)
			return true;
	return false;
}

/* Everything has come: what was held back is told. */
static void complete(struct wl_llm_reader *reader)
{
	bool aside = wl_llm_schema_by_tool(reader->ask);
	(void)wl_llm_utf8_finish(&reader->utf8, aside ? &reader->aside : &reader->text);
	if (aside && !has_text_tool(reader) && reader->aside.length)
		(void)wl_buffer_append(&reader->text, reader->aside.data, reader->aside.length);
	for (size_t i = 0; i < reader->tool_count; i++) {
		struct wl_llm_read_tool *tool = &reader->tools[i];
		(void)wl_llm_utf8_finish(&tool->utf8, tool->is_text ? &reader->text : &tool->arguments);
		if (!tool->name)
			wl_llm_got_fault(reader, WL_MODEL_FAULT_ANSWER, "the answer uses a tool without a name");
		else if (!tool->is_text && tool->arguments.length == 0)
			(void)wl_buffer_append_text(&tool->arguments, "{}");
	}
	if (!reader->stopped && reader->text.length) {
		text_grew(reader);
		tell_text(reader, reader->text.length);
	}
	tell_tools(reader);
}

/* Whether the sink was told more by an earlier try than this answer has. */
static bool falls_short(const struct wl_llm_reader *reader, size_t tools)
{
	const struct wl_llm_sink *sink = reader->sink;
	if (sink->text.length > reader->text.length || sink->tool_count > tools)
		return true;
	size_t index = 0;
	for (size_t i = 0; i < reader->tool_count && index < sink->tool_count; i++)
		if (!reader->tools[i].is_text &&
		    sink->tools[index++].arguments.length > reader->tools[i].arguments.length)
			return true;
	return false;
}

static int fill(struct wl_llm_reader *reader, size_t tools, struct wl_model_answer *answer)
{
	struct wl_model_tool_use *uses = tools ? calloc(tools, sizeof(*uses)) : NULL;
	if (tools && !uses)
		return -ENOMEM;
	answer->text = reader->text.length ? wl_buffer_steal(&reader->text) : NULL;
	for (size_t i = 0; i < reader->tool_count; i++) {
		struct wl_llm_read_tool *tool = &reader->tools[i];
		if (tool->is_text)
			continue;
		uses[answer->tool_use_count++] =
			(struct wl_model_tool_use){ .id = wl_steal(tool->id),
						    .name = wl_steal(tool->name),
						    .arguments = wl_buffer_steal(&tool->arguments) };
	}
	answer->tool_uses = uses;
	answer->model = wl_steal(reader->model);
	answer->end = tools ? WL_MODEL_END_TOOLS : reader->end;
	if (!tools && (reader->stopped || reader->end == WL_MODEL_END_TOOLS))
		answer->end = WL_MODEL_END_STOP;
	return 0;
}

/* What came, counted by us: for a server that does not tell. */
static uint64_t count_came(const struct wl_llm_reader *reader)
{
	uint64_t count = wl_llm_count_tokens(reader->text.data, reader->text.length) +
			 wl_llm_count_tokens(reader->aside.data, reader->aside.length);
	for (size_t i = 0; i < reader->tool_count; i++)
		count += wl_llm_count_tokens(reader->tools[i].arguments.data, reader->tools[i].arguments.length) + 8;
	return count;
}

void wl_llm_reader_add_usage(const struct wl_llm_reader *reader, struct wl_model_usage *usage)
{
	bool any = reader->has_prompt || reader->has_completion || reader->bytes || reader->ended;
	if (!any)
		return;
	usage->prompt += reader->has_prompt ? reader->usage.prompt : wl_llm_count_prompt(reader->ask->request);
	usage->completion += reader->has_completion && reader->ended ? reader->usage.completion : count_came(reader);
	usage->cached += reader->usage.cached;
	usage->cache_write += reader->usage.cache_write;
	usage->reasoning += reader->usage.reasoning;
	usage->estimated = usage->estimated || !reader->has_prompt || !reader->has_completion || !reader->ended;
}

int wl_llm_reader_finish(struct wl_llm_reader *reader, struct wl_model_answer *answer)
{
	struct wl_error err = { 0 };
	size_t tools = 0;
	reader->over = true;
	if (!reader->fault && reader->form == WL_LLM_FORM_WHOLE)
		read_whole(reader);
	else if (!reader->fault && wl_llm_frames_finish(&reader->frames, take_frame, reader, &err) < 0)
		wl_llm_got_fault(reader, WL_MODEL_FAULT_ANSWER, "%s", err.text);
	if (!reader->fault && reader->form == WL_LLM_FORM_UNKNOWN)
		wl_llm_got_fault(reader, WL_MODEL_FAULT_AWAY, "the server's answer is empty");
	if (!reader->fault && !reader->ended)
		wl_llm_got_fault(reader, WL_MODEL_FAULT_AWAY, "the answer broke off");
	if (!reader->fault)
		complete(reader);
	for (size_t i = 0; i < reader->tool_count; i++)
		tools += !reader->tools[i].is_text;
	if (!reader->fault && reader->sink->stream && falls_short(reader, tools))
		diverged(reader);
	wl_llm_reader_add_usage(reader, &answer->usage);
	if (!reader->fault && fill(reader, tools, answer) < 0)
		no_memory(reader);
	return reader->fault ? -wl_llm_errno(reader->fault) : 0;
}
