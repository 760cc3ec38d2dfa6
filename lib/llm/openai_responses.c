/* OpenAI's responses: what some of its models are asked by alone. Nothing is stored there (store false). */
#include "lib/llm/wire.h"

#include <errno.h>
#include <string.h>

static void put_content(struct wl_buffer *body, const struct wl_model_message *message)
{
	const char *kind = message->role == WL_MODEL_ASSISTANT ? "output_text" : "input_text";
	bool text = message->text && *message->text;
	(void)wl_buffer_append_char(body, '[');
	if (text || message->image_count == 0) {
		(void)wl_buffer_appendf(body, "{\"type\":\"%s\"", kind);
		wl_llm_put_text(body, "text", message->text);
		(void)wl_buffer_append_char(body, '}');
	}
	for (size_t i = 0; i < message->image_count; i++) {
		(void)wl_buffer_append_text(body, i || text ? ",{\"type\":\"input_image\",\"image_url\":"
							    : "{\"type\":\"input_image\",\"image_url\":");
		wl_llm_put_image_url(body, &message->images[i]);
		(void)wl_buffer_append_char(body, '}');
	}
	(void)wl_buffer_append_char(body, ']');
}

static void put_item(struct wl_buffer *body, const struct wl_model_message *message, bool *first)
{
	static const char *const roles[] = { "system", "user", "assistant", "" };
	const char *comma = *first ? "" : ",";
	if (message->role == WL_MODEL_TOOL) {
		(void)wl_buffer_appendf(body, "%s{\"type\":\"function_call_output\"", comma);
		wl_llm_put_text(body, "call_id", message->tool_use_id);
		wl_llm_put_text(body, "output", message->text);
		(void)wl_buffer_append_char(body, '}');
	} else if (message->text || message->tool_use_count == 0) {
		(void)wl_buffer_appendf(body, "%s{\"type\":\"message\",\"role\":\"%s\",\"content\":", comma,
					roles[message->role]);
		put_content(body, message);
		(void)wl_buffer_append_char(body, '}');
	}
	*first = *first && !message->text && message->tool_use_count && message->role != WL_MODEL_TOOL;
	for (size_t i = 0; message->role == WL_MODEL_ASSISTANT && i < message->tool_use_count; i++) {
		const struct wl_model_tool_use *use = &message->tool_uses[i];
		(void)wl_buffer_appendf(body, "%s{\"type\":\"function_call\"", *first ? "" : ",");
		wl_llm_put_text(body, "call_id", use->id);
		wl_llm_put_text(body, "name", use->name);
		wl_llm_put_text(body, "arguments", use->arguments && *use->arguments ? use->arguments : "{}");
		(void)wl_buffer_append_char(body, '}');
		*first = false;
	}
}

static void put_input(struct wl_buffer *body, const struct wl_llm_ask *ask)
{
	const struct wl_model_request *request = ask->request;
	bool first = true;
	(void)wl_buffer_append_text(body, ",\"input\":[");
	if (wl_llm_schema_by_prompt(ask)) {
		_wl_buffer_ struct wl_buffer text;
		wl_buffer_init(&text, 0);
		wl_llm_put_schema_prompt(&text, request->schema);
		put_item(body, &(struct wl_model_message){ .role = WL_MODEL_SYSTEM, .text = text.data }, &first);
	}
	for (size_t i = 0; i < request->message_count; i++)
		put_item(body, &request->messages[i], &first);
	(void)wl_buffer_append_char(body, ']');
}

static int write_request(const struct wl_llm_ask *ask, struct wl_buffer *body, struct wl_error *err)
{
	const struct wl_model_request *request = ask->request;
	(void)wl_buffer_append_text(body, "{\"model\":");
	wl_llm_put_string(body, ask->model);
	put_input(body, ask);
	wl_llm_put_openai_tools(body, ask, false);
	wl_llm_put_sampling(body, ask);
	if (request->max_tokens > 0)
		(void)wl_buffer_appendf(body, ",\"max_output_tokens\":%d", request->max_tokens);
	if (request->schema && !wl_llm_schema_by_tool(ask) && !wl_llm_schema_by_prompt(ask)) {
		(void)wl_buffer_append_text(body, ",\"text\":{\"format\":{\"type\":\"json_schema\"");
		wl_llm_put_text(body, "name", wl_llm_schema_name(request));
		(void)wl_buffer_appendf(body, ",\"strict\":%s,\"schema\":",
					wl_llm_schema_is_strict(request->schema) ? "true" : "false");
		(void)wl_buffer_append_text(body, request->schema);
		(void)wl_buffer_append_text(body, "}}");
	}
	(void)wl_buffer_append_text(body, ask->stream ? ",\"store\":false,\"stream\":true}" : ",\"store\":false}");
	return body->failed ? wl_fail(err, body->failed, "no memory for a request") : 0;
}

/* ---- reading ---------------------------------------------------------------------------------------------------- */

static void read_usage(struct wl_llm_reader *reader, const struct wl_json *usage)
{
	reader->has_prompt |= wl_llm_got_count(usage, "input_tokens", &reader->usage.prompt);
	reader->has_completion |= wl_llm_got_count(usage, "output_tokens", &reader->usage.completion);
	(void)wl_llm_got_count(wl_json_get(usage, "input_tokens_details"), "cached_tokens", &reader->usage.cached);
	(void)wl_llm_got_count(wl_json_get(usage, "output_tokens_details"), "reasoning_tokens",
			       &reader->usage.reasoning);
}

/* The closing state of a response: completed, incomplete or failed. */
static void read_end(struct wl_llm_reader *reader, const struct wl_json *response)
{
	const char *status = wl_json_get_string(response, "status", "completed");
	const char *reason = wl_json_get_string(wl_json_get(response, "incomplete_details"), "reason", "");
	wl_llm_got_model(reader, wl_json_get_string(response, "model", NULL));
	read_usage(reader, wl_json_get(response, "usage"));
	reader->done = true;
	if (strcmp(status, "failed") == 0 || strcmp(status, "cancelled") == 0)
		wl_llm_got_error(reader, wl_json_get(response, "error"));
	else if (strcmp(reason, "content_filter") == 0)
		wl_llm_got_fault(reader, WL_MODEL_FAULT_FILTER, "the provider's content filter stopped the answer");
	else
		wl_llm_got_end(reader, strcmp(status, "incomplete") == 0 ? WL_MODEL_END_LENGTH : WL_MODEL_END_STOP);
}

static void read_refusal(struct wl_llm_reader *reader, const struct wl_json *part, const char *member)
{
	wl_llm_got_fault(reader, WL_MODEL_FAULT_FILTER, "the model refuses: %.300s",
			 wl_json_get_string(part, member, ""));
}

static void read_call(struct wl_llm_reader *reader, long key, const struct wl_json *item, bool whole)
{
	wl_llm_got_tool(reader, key, wl_json_get_string(item, "call_id", NULL), wl_json_get_string(item, "name", NULL),
			whole ? wl_json_get_string(item, "arguments", NULL) : NULL);
}

static void read_whole(struct wl_llm_reader *reader, const struct wl_json *json)
{
	long at = 0;
	const struct wl_json *output = wl_json_get(json, "output");
	if (!wl_json_is(output, WL_JSON_ARRAY)) {
		wl_llm_got_error(reader, NULL);
		return;
	}
	for (const struct wl_json *item = wl_json_first(output); item; item = wl_json_next(item), at++) {
		if (strcmp(wl_json_get_string(item, "type", ""), "function_call") == 0)
			read_call(reader, at, item, true);
		for (const struct wl_json *part = wl_json_first(wl_json_get(item, "content")); part;
		     part = wl_json_next(part)) {
			const char *type = wl_json_get_string(part, "type", "");
			if (strcmp(type, "output_text") == 0)
				wl_llm_got_text(reader, wl_json_get_string(part, "text", NULL));
			else if (strcmp(type, "refusal") == 0)
				read_refusal(reader, part, "refusal");
		}
	}
	read_end(reader, json);
}

/* Whether a server sent the arguments in the end only, without pieces before. */
static bool has_arguments(const struct wl_llm_reader *reader, long key)
{
	for (size_t i = 0; i < reader->tool_count; i++)
		if (reader->tools[i].key == key)
			return reader->tools[i].arguments.length > 0 ||
			       (reader->tools[i].is_text && reader->text.length > 0);
	return false;
}

static void read_frame(struct wl_llm_reader *reader, const struct wl_json *json)
{
	const char *type = wl_json_get_string(json, "type", "");
	const struct wl_json *item = wl_json_get(json, "item");
	double index = wl_json_get_number(json, "output_index", 0);
	long key = index >= 0 && index < 1e6 ? (long)index : 0;
	bool call = strcmp(wl_json_get_string(item, "type", ""), "function_call") == 0;
	if (strcmp(type, "response.output_text.delta") == 0)
		wl_llm_got_text(reader, wl_json_get_string(json, "delta", NULL));
	else if (strcmp(type, "response.refusal.done") == 0)
		read_refusal(reader, json, "refusal");
	else if (strcmp(type, "response.output_item.added") == 0 && call)
		read_call(reader, key, item, false);
	else if (strcmp(type, "response.function_call_arguments.delta") == 0)
		wl_llm_got_tool(reader, key, NULL, NULL, wl_json_get_string(json, "delta", NULL));
	else if (strcmp(type, "response.output_item.done") == 0 && call && !has_arguments(reader, key))
		read_call(reader, key, item, true);
	else if (strcmp(type, "response.completed") == 0 || strcmp(type, "response.incomplete") == 0 ||
		 strcmp(type, "response.failed") == 0)
		read_end(reader, wl_json_get(json, "response"));
	else if (strcmp(type, "error") == 0)
		wl_llm_got_error(reader, json);
	else if (!*type)
		wl_llm_got_error(reader, NULL);
}

const struct wl_llm_wire wl_llm_openai_responses = { "/responses", false, write_request, read_frame, read_whole };
