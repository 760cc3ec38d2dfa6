/* Chat completions, as OpenAI has them and vLLM, llama.cpp and many others do. */
#include "lib/llm/wire.h"

#include <errno.h>
#include <string.h>

static void put_user(struct wl_buffer *body, const struct wl_model_message *message)
{
	if (message->image_count == 0) {
		wl_llm_put_string(body, message->text);
		return;
	}
	(void)wl_buffer_append_char(body, '[');
	if (message->text && *message->text) {
		(void)wl_buffer_append_text(body, "{\"type\":\"text\"");
		wl_llm_put_text(body, "text", message->text);
		(void)wl_buffer_append_text(body, "},");
	}
	for (size_t i = 0; i < message->image_count; i++) {
		(void)wl_buffer_append_text(body, i ? ",{\"type\":\"image_url\",\"image_url\":{\"url\":"
						    : "{\"type\":\"image_url\",\"image_url\":{\"url\":");
		wl_llm_put_image_url(body, &message->images[i]);
		(void)wl_buffer_append_text(body, "}}");
	}
	(void)wl_buffer_append_char(body, ']');
}

static void put_tool_uses(struct wl_buffer *body, const struct wl_model_message *message)
{
	(void)wl_buffer_append_text(body, ",\"tool_calls\":[");
	for (size_t i = 0; i < message->tool_use_count; i++) {
		const struct wl_model_tool_use *use = &message->tool_uses[i];
		(void)wl_buffer_append_text(body, i ? ",{\"type\":\"function\"" : "{\"type\":\"function\"");
		wl_llm_put_text(body, "id", use->id);
		(void)wl_buffer_append_text(body, ",\"function\":{\"name\":");
		wl_llm_put_string(body, use->name);
		wl_llm_put_text(body, "arguments", use->arguments && *use->arguments ? use->arguments : "{}");
		(void)wl_buffer_append_text(body, "}}");
	}
	(void)wl_buffer_append_char(body, ']');
}

static void put_message(struct wl_buffer *body, const struct wl_model_message *message)
{
	static const char *const roles[] = { "system", "user", "assistant", "tool" };
	(void)wl_buffer_appendf(body, "{\"role\":\"%s\",\"content\":", roles[message->role]);
	if (message->role == WL_MODEL_ASSISTANT && !message->text && message->tool_use_count)
		(void)wl_buffer_append_text(body, "null");
	else
		put_user(body, message);
	if (message->role == WL_MODEL_ASSISTANT && message->tool_use_count)
		put_tool_uses(body, message);
	if (message->role == WL_MODEL_TOOL)
		wl_llm_put_text(body, "tool_call_id", message->tool_use_id);
	(void)wl_buffer_append_char(body, '}');
}

static void put_messages(struct wl_buffer *body, const struct wl_llm_ask *ask)
{
	const struct wl_model_request *request = ask->request;
	(void)wl_buffer_append_text(body, ",\"messages\":[");
	if (wl_llm_schema_by_prompt(ask)) {
		_wl_buffer_ struct wl_buffer text;
		wl_buffer_init(&text, 0);
		wl_llm_put_schema_prompt(&text, request->schema);
		put_message(body, &(struct wl_model_message){ .role = WL_MODEL_SYSTEM, .text = text.data });
		(void)wl_buffer_append_char(body, ',');
	}
	for (size_t i = 0; i < request->message_count; i++) {
		if (i)
			(void)wl_buffer_append_char(body, ',');
		put_message(body, &request->messages[i]);
	}
	(void)wl_buffer_append_char(body, ']');
}

static void put_schema(struct wl_buffer *body, const struct wl_llm_ask *ask)
{
	const struct wl_model_request *request = ask->request;
	if (!request->schema || wl_llm_schema_by_tool(ask) || wl_llm_schema_by_prompt(ask))
		return;
	(void)wl_buffer_append_text(body, ",\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{\"name\":");
	wl_llm_put_string(body, wl_llm_schema_name(request));
	if (wl_llm_schema_is_strict(request->schema) && !(ask->dialect & WL_LLM_DIALECT_NO_STRICT))
		(void)wl_buffer_append_text(body, ",\"strict\":true");
	(void)wl_buffer_append_text(body, ",\"schema\":");
	(void)wl_buffer_append_text(body, request->schema);
	(void)wl_buffer_append_text(body, "}}");
}

static int write_request(const struct wl_llm_ask *ask, struct wl_buffer *body, struct wl_error *err)
{
	const struct wl_model_request *request = ask->request;
	(void)wl_buffer_append_text(body, "{\"model\":");
	wl_llm_put_string(body, ask->model);
	put_messages(body, ask);
	wl_llm_put_openai_tools(body, ask, true);
	wl_llm_put_sampling(body, ask);
	wl_llm_put_stops(body, ask, "stop");
	if (request->max_tokens > 0)
		(void)wl_buffer_appendf(body, ",\"%s\":%d",
					ask->dialect & WL_LLM_DIALECT_COMPLETION_TOKENS ? "max_completion_tokens"
											: "max_tokens",
					request->max_tokens);
	put_schema(body, ask);
	if (ask->stream)
		(void)wl_buffer_append_text(body, ",\"stream\":true");
	if (ask->stream && !(ask->dialect & WL_LLM_DIALECT_NO_STREAM_USAGE))
		(void)wl_buffer_append_text(body, ",\"stream_options\":{\"include_usage\":true}");
	(void)wl_buffer_append_char(body, '}');
	return body->failed ? wl_fail(err, body->failed, "no memory for a request") : 0;
}

/* ---- reading ---------------------------------------------------------------------------------------------------- */

static void read_usage(struct wl_llm_reader *reader, const struct wl_json *usage)
{
	const struct wl_json *prompt = wl_json_get(usage, "prompt_tokens_details");
	const struct wl_json *completion = wl_json_get(usage, "completion_tokens_details");
	if (!wl_json_is(usage, WL_JSON_OBJECT))
		return;
	reader->has_prompt |= wl_llm_got_count(usage, "prompt_tokens", &reader->usage.prompt);
	reader->has_completion |= wl_llm_got_count(usage, "completion_tokens", &reader->usage.completion);
	if (!wl_llm_got_count(prompt, "cached_tokens", &reader->usage.cached))
		(void)wl_llm_got_count(usage, "prompt_cache_hit_tokens", &reader->usage.cached);
	(void)wl_llm_got_count(completion, "reasoning_tokens", &reader->usage.reasoning);
}

static void read_tools(struct wl_llm_reader *reader, const struct wl_json *calls, bool whole)
{
	long at = 0;
	for (const struct wl_json *call = wl_json_first(calls); call; call = wl_json_next(call), at++) {
		const struct wl_json *function = wl_json_get(call, "function");
		double index = wl_json_get_number(call, "index", -1);
		long key = whole ? at : index >= 0 && index < 1e6 ? (long)index : -1;
		wl_llm_got_tool_json(reader, key, wl_json_get_string(call, "id", NULL),
				     wl_json_get_string(function, "name", NULL), wl_json_get(function, "arguments"));
	}
}

static void read_end(struct wl_llm_reader *reader, const char *reason)
{
	if (!reason || !*reason)
		return;
	if (strcmp(reason, "content_filter") == 0)
		wl_llm_got_fault(reader, WL_MODEL_FAULT_FILTER, "the provider's content filter stopped the answer");
	else if (strcmp(reason, "length") == 0)
		wl_llm_got_end(reader, WL_MODEL_END_LENGTH);
	else
		wl_llm_got_end(reader, strcmp(reason, "tool_calls") == 0 ? WL_MODEL_END_TOOLS : WL_MODEL_END_STOP);
}

static void read_message(struct wl_llm_reader *reader, const struct wl_json *message, bool whole)
{
	const struct wl_json *content = wl_json_get(message, "content");
	const char *refusal = wl_json_get_string(message, "refusal", NULL);
	if (refusal && *refusal)
		wl_llm_got_fault(reader, WL_MODEL_FAULT_FILTER, "the model refuses: %.300s", refusal);
	wl_llm_got_text(reader, wl_json_string(content, NULL));
	/* some servers answer in the parts that a request may have */
	for (const struct wl_json *part = wl_json_is(content, WL_JSON_ARRAY) ? wl_json_first(content) : NULL; part;
	     part = wl_json_next(part))
		wl_llm_got_text(reader, wl_json_get_string(part, "text", NULL));
	read_tools(reader, wl_json_get(message, "tool_calls"), whole);
}

static void read_answer(struct wl_llm_reader *reader, const struct wl_json *json, const char *member)
{
	const struct wl_json *choices = wl_json_get(json, "choices");
	const struct wl_json *choice = wl_json_is(choices, WL_JSON_ARRAY) ? wl_json_at(choices, 0) : NULL;
	bool whole = member[0] == 'm';
	wl_llm_got_model(reader, wl_json_get_string(json, "model", NULL));
	read_usage(reader, wl_json_get(json, "usage"));
	if (!wl_json_is(choices, WL_JSON_ARRAY) && !wl_json_is(wl_json_get(json, "usage"), WL_JSON_OBJECT)) {
		wl_llm_got_error(reader, NULL);
		return;
	}
	read_message(reader, wl_json_get(choice, member), whole);
	/* a server that says nothing of why it stopped has stopped all the same when the answer came in one piece */
	read_end(reader,
		 wl_json_get_string(choice, "finish_reason", whole && wl_json_get(choice, member) ? "stop" : NULL));
}

static void read_frame(struct wl_llm_reader *reader, const struct wl_json *json)
{
	read_answer(reader, json, "delta");
}

static void read_whole(struct wl_llm_reader *reader, const struct wl_json *json)
{
	read_answer(reader, json, "message");
}

const struct wl_llm_wire wl_llm_openai_chat = { "/chat/completions", false, write_request, read_frame, read_whole };
