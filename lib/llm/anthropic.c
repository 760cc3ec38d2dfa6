/* Anthropic's messages. An answer by a schema is a tool that has to be used. */
#include "lib/llm/wire.h"

#include <errno.h>
#include <string.h>

#define MAX_TOKENS 4096 /* the format wants a bound; when the request sets none */

static void put_system(struct wl_buffer *body, const struct wl_llm_ask *ask)
{
	const struct wl_model_request *request = ask->request;
	_wl_buffer_ struct wl_buffer text;
	wl_buffer_init(&text, 0);
	for (size_t i = 0; i < request->message_count; i++) {
		const struct wl_model_message *message = &request->messages[i];
		if (message->role != WL_MODEL_SYSTEM || !message->text)
			continue;
		(void)wl_buffer_append_text(&text, text.length ? "\n\n" : "");
		(void)wl_buffer_append_text(&text, message->text);
	}
	if (wl_llm_schema_by_prompt(ask)) {
		(void)wl_buffer_append_text(&text, text.length ? "\n\n" : "");
		wl_llm_put_schema_prompt(&text, request->schema);
	}
	if (text.failed)
		body->failed = text.failed;
	else if (text.length)
		wl_llm_put_text(body, "system", text.data);
}

static void put_image(struct wl_buffer *body, const struct wl_model_image *image)
{
	(void)wl_buffer_append_text(body, "{\"type\":\"image\",\"source\":{\"type\":");
	if (image->url) {
		(void)wl_buffer_append_text(body, "\"url\"");
		wl_llm_put_text(body, "url", image->url);
	} else {
		(void)wl_buffer_append_text(body, "\"base64\"");
		wl_llm_put_text(body, "media_type", image->media_type);
		wl_llm_put_text(body, "data", image->base64);
	}
	(void)wl_buffer_append_text(body, "}}");
}

static void put_result(struct wl_buffer *body, const struct wl_model_message *message)
{
	(void)wl_buffer_append_text(body, "{\"type\":\"tool_result\"");
	wl_llm_put_text(body, "tool_use_id", message->tool_use_id);
	if (message->text && *message->text)
		wl_llm_put_text(body, "content", message->text);
	(void)wl_buffer_append_text(body, message->tool_failed ? ",\"is_error\":true}" : "}");
}

static void comma(struct wl_buffer *body, int *count)
{
	if ((*count)++)
		(void)wl_buffer_append_char(body, ',');
}

/* The blocks of a message; texts without letters are refused by the server and left out. */
static void put_blocks(struct wl_buffer *body, const struct wl_model_message *message, int *count)
{
	if (message->role == WL_MODEL_TOOL) {
		comma(body, count);
		put_result(body, message);
		return;
	}
	if (message->text && message->text[strspn(message->text, " \t\r\n")]) {
		comma(body, count);
		(void)wl_buffer_append_text(body, "{\"type\":\"text\"");
		wl_llm_put_text(body, "text", message->text);
		(void)wl_buffer_append_char(body, '}');
	}
	for (size_t i = 0; i < message->image_count; i++) {
		comma(body, count);
		put_image(body, &message->images[i]);
	}
	for (size_t i = 0; message->role == WL_MODEL_ASSISTANT && i < message->tool_use_count; i++) {
		comma(body, count);
		(void)wl_buffer_append_text(body, "{\"type\":\"tool_use\"");
		wl_llm_put_text(body, "id", message->tool_uses[i].id);
		wl_llm_put_text(body, "name", message->tool_uses[i].name);
		(void)wl_buffer_append_text(body, ",\"input\":");
		wl_llm_put_object(body, message->tool_uses[i].arguments);
		(void)wl_buffer_append_char(body, '}');
	}
}

/* Messages take turns: what one side says in a row, results of tools too, is one message. */
static void put_messages(struct wl_buffer *body, const struct wl_model_request *request)
{
	int turns = 0;
	(void)wl_buffer_append_text(body, ",\"messages\":[");
	for (size_t i = 0; i < request->message_count;) {
		bool assistant = request->messages[i].role == WL_MODEL_ASSISTANT;
		int blocks = 0;
		size_t from = body->length;
		comma(body, &turns);
		(void)wl_buffer_appendf(body, "{\"role\":\"%s\",\"content\":[", assistant ? "assistant" : "user");
		for (; i < request->message_count; i++) {
			enum wl_model_role role = request->messages[i].role;
			if (role == WL_MODEL_SYSTEM)
				continue;
			if ((role == WL_MODEL_ASSISTANT) != assistant)
				break;
			put_blocks(body, &request->messages[i], &blocks);
		}
		(void)wl_buffer_append_text(body, "]}");
		if (blocks == 0 && !body->failed) {
			body->length = from; /* nothing was said */
			turns--;
		}
	}
	(void)wl_buffer_append_char(body, ']');
}

static void put_tool(struct wl_buffer *body, const char *name, const char *description, const char *parameters)
{
	(void)wl_buffer_append_text(body, "{\"name\":");
	wl_llm_put_string(body, name);
	if (description && *description)
		wl_llm_put_text(body, "description", description);
	(void)wl_buffer_append_text(body, ",\"input_schema\":");
	(void)wl_buffer_append_text(body, parameters ? parameters : "{\"type\":\"object\",\"properties\":{}}");
	(void)wl_buffer_append_char(body, '}');
}

static void put_choice(struct wl_buffer *body, const struct wl_model_request *request, bool schema)
{
	static const char *const words[] = { "auto", "none", "any", "tool" };
	const char *word = words[request->tool_choice], *name = NULL;
	if (request->tool_choice == WL_MODEL_TOOL_NAMED)
		name = request->tool_choice_name;
	else if (schema && (request->tool_count == 0 || request->tool_choice == WL_MODEL_TOOL_NONE))
		name = wl_llm_schema_name(request);
	(void)wl_buffer_appendf(body, ",\"tool_choice\":{\"type\":\"%s\"", name ? "tool" : schema ? "any" : word);
	if (name)
		wl_llm_put_text(body, "name", name);
	bool none = !schema && request->tool_choice == WL_MODEL_TOOL_NONE;
	(void)wl_buffer_append_text(body,
				    request->single_tool_use && !none ? ",\"disable_parallel_tool_use\":true}" : "}");
}

static void put_tools(struct wl_buffer *body, const struct wl_llm_ask *ask)
{
	const struct wl_model_request *request = ask->request;
	bool schema = wl_llm_schema_by_tool(ask);
	int count = 0;
	if (request->tool_count == 0 && !schema)
		return;
	(void)wl_buffer_append_text(body, ",\"tools\":[");
	for (size_t i = 0; i < request->tool_count; i++) {
		comma(body, &count);
		put_tool(body, request->tools[i].name, request->tools[i].description, request->tools[i].parameters);
	}
	if (schema) {
		comma(body, &count);
		put_tool(body, wl_llm_schema_name(request), "Gives the final answer.", request->schema);
	}
	(void)wl_buffer_append_char(body, ']');
	put_choice(body, request, schema);
}

static int write_request(const struct wl_llm_ask *ask, struct wl_buffer *body, struct wl_error *err)
{
	(void)wl_buffer_append_text(body, "{\"model\":");
	wl_llm_put_string(body, ask->model);
	(void)wl_buffer_appendf(body, ",\"max_tokens\":%d",
				ask->request->max_tokens > 0 ? ask->request->max_tokens : MAX_TOKENS);
	put_system(body, ask);
	put_messages(body, ask->request);
	put_tools(body, ask);
	wl_llm_put_sampling(body, ask);
	wl_llm_put_stops(body, ask, "stop_sequences");
	(void)wl_buffer_append_text(body, ask->stream ? ",\"stream\":true}" : "}");
	return body->failed ? wl_fail(err, body->failed, "no memory for a request") : 0;
}

/* ---- reading ---------------------------------------------------------------------------------------------------- */

/* Its input_tokens leave out what was read from the cache and written to it; `prompt` counts all. */
static void read_usage(struct wl_llm_reader *reader, const struct wl_json *usage, bool last)
{
	uint64_t input = 0;
	struct wl_model_usage *into = &reader->usage;
	(void)wl_llm_got_count(usage, "cache_read_input_tokens", &into->cached);
	(void)wl_llm_got_count(usage, "cache_creation_input_tokens", &into->cache_write);
	if (wl_llm_got_count(usage, "input_tokens", &input)) {
		into->prompt = input + into->cached + into->cache_write;
		reader->has_prompt = true;
	}
	reader->has_completion |= wl_llm_got_count(usage, "output_tokens", &into->completion) && last;
}

static void read_end(struct wl_llm_reader *reader, const char *reason)
{
	if (!reason)
		return;
	if (strcmp(reason, "refusal") == 0)
		wl_llm_got_fault(reader, WL_MODEL_FAULT_FILTER, "the model refuses to answer");
	else if (strcmp(reason, "model_context_window_exceeded") == 0)
		wl_llm_got_fault(reader, WL_MODEL_FAULT_CONTEXT, "the answer does not fit into the model's context");
	else if (strcmp(reason, "max_tokens") == 0)
		wl_llm_got_end(reader, WL_MODEL_END_LENGTH);
	else
		wl_llm_got_end(reader, strcmp(reason, "tool_use") == 0 ? WL_MODEL_END_TOOLS : WL_MODEL_END_STOP);
}

static void read_block(struct wl_llm_reader *reader, long key, const struct wl_json *block, bool whole)
{
	const char *type = wl_json_get_string(block, "type", "");
	const struct wl_json *input = wl_json_get(block, "input");
	if (strcmp(type, "text") == 0)
		wl_llm_got_text(reader, wl_json_get_string(block, "text", NULL));
	else if (strcmp(type, "tool_use") == 0)
		wl_llm_got_tool_json(reader, key, wl_json_get_string(block, "id", NULL),
				     wl_json_get_string(block, "name", NULL),
				     whole || wl_json_count(input) > 0 ? input : NULL);
}

static void read_whole(struct wl_llm_reader *reader, const struct wl_json *json)
{
	const struct wl_json *content = wl_json_get(json, "content");
	long at = 0;
	if (!wl_json_is(content, WL_JSON_ARRAY)) {
		wl_llm_got_error(reader, NULL);
		return;
	}
	wl_llm_got_model(reader, wl_json_get_string(json, "model", NULL));
	read_usage(reader, wl_json_get(json, "usage"), true);
	for (const struct wl_json *block = wl_json_first(content); block; block = wl_json_next(block))
		read_block(reader, at++, block, true);
	read_end(reader, wl_json_get_string(json, "stop_reason", "end_turn"));
}

static void read_delta(struct wl_llm_reader *reader, long key, const struct wl_json *delta)
{
	const char *type = wl_json_get_string(delta, "type", "");
	if (strcmp(type, "text_delta") == 0)
		wl_llm_got_text(reader, wl_json_get_string(delta, "text", NULL));
	else if (strcmp(type, "input_json_delta") == 0)
		wl_llm_got_tool(reader, key, NULL, NULL, wl_json_get_string(delta, "partial_json", NULL));
}

static void read_frame(struct wl_llm_reader *reader, const struct wl_json *json)
{
	const char *type = wl_json_get_string(json, "type", "");
	const struct wl_json *message = wl_json_get(json, "message");
	double index = wl_json_get_number(json, "index", 0);
	long key = index >= 0 && index < 1e6 ? (long)index : 0;
	if (strcmp(type, "message_start") == 0) {
		wl_llm_got_model(reader, wl_json_get_string(message, "model", NULL));
		read_usage(reader, wl_json_get(message, "usage"), false);
	} else if (strcmp(type, "content_block_start") == 0) {
		read_block(reader, key, wl_json_get(json, "content_block"), false);
	} else if (strcmp(type, "content_block_delta") == 0) {
		read_delta(reader, key, wl_json_get(json, "delta"));
	} else if (strcmp(type, "message_delta") == 0) {
		read_usage(reader, wl_json_get(json, "usage"), true);
		read_end(reader, wl_json_get_string(wl_json_get(json, "delta"), "stop_reason", NULL));
	} else if (strcmp(type, "message_stop") == 0) {
		reader->done = true;
	} else if (!*type) {
		wl_llm_got_error(reader, NULL);
	}
}

const struct wl_llm_wire wl_llm_anthropic = { "/messages", false, write_request, read_frame, read_whole };
