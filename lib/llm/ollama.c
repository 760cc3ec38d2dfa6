/* Ollama's own chat: an answer is lines of JSON, the last of which says that it is done. */
#include "lib/llm/wire.h"

#include <errno.h>
#include <math.h>
#include <string.h>

/* Results of tools are known by the tool's name, not by the use's id. */
static const char *name_of_use(const struct wl_model_request *request, const char *id)
{
	for (size_t i = request->message_count; id && i > 0; i--) {
		const struct wl_model_message *message = &request->messages[i - 1];
		for (size_t j = 0; j < message->tool_use_count; j++)
			if (message->tool_uses[j].id && strcmp(message->tool_uses[j].id, id) == 0)
				return message->tool_uses[j].name;
	}
	return "";
}

static void put_message(struct wl_buffer *body, const struct wl_model_request *request,
			const struct wl_model_message *message)
{
	static const char *const roles[] = { "system", "user", "assistant", "tool" };
	(void)wl_buffer_appendf(body, "{\"role\":\"%s\"", roles[message->role]);
	wl_llm_put_text(body, "content", message->text);
	for (size_t i = 0; i < message->image_count; i++) {
		(void)wl_buffer_append_text(body, i ? "," : ",\"images\":[");
		wl_llm_put_string(body, message->images[i].base64);
	}
	(void)wl_buffer_append_text(body, message->image_count ? "]" : "");
	if (message->role == WL_MODEL_TOOL)
		wl_llm_put_text(body, "tool_name", name_of_use(request, message->tool_use_id));
	size_t uses = message->role == WL_MODEL_ASSISTANT ? message->tool_use_count : 0;
	for (size_t i = 0; i < uses; i++) {
		(void)wl_buffer_append_text(body, i ? ",{\"function\":{\"name\":"
						    : ",\"tool_calls\":[{\"function\":{\"name\":");
		wl_llm_put_string(body, message->tool_uses[i].name);
		(void)wl_buffer_append_text(body, ",\"arguments\":");
		wl_llm_put_object(body, message->tool_uses[i].arguments);
		(void)wl_buffer_append_text(body, "}}");
	}
	(void)wl_buffer_append_text(body, uses ? "]}" : "}");
}

/* The format has no tool_choice: tools that may not be used are not sent, and the one that has to be goes alone. */
static void put_tools(struct wl_buffer *body, const struct wl_model_request *request)
{
	int count = 0;
	if (request->tool_choice == WL_MODEL_TOOL_NONE)
		return;
	for (size_t i = 0; i < request->tool_count; i++) {
		const struct wl_model_tool *tool = &request->tools[i];
		if (request->tool_choice == WL_MODEL_TOOL_NAMED && strcmp(tool->name, request->tool_choice_name) != 0)
			continue;
		(void)wl_buffer_append_text(body,
					    count++ ? ",{\"type\":\"function\",\"function\":{\"name\":"
						    : ",\"tools\":[{\"type\":\"function\",\"function\":{\"name\":");
		wl_llm_put_string(body, tool->name);
		wl_llm_put_text(body, "description", tool->description);
		(void)wl_buffer_append_text(body, ",\"parameters\":");
		(void)wl_buffer_append_text(body, tool->parameters ? tool->parameters
								   : "{\"type\":\"object\",\"properties\":{}}");
		(void)wl_buffer_append_text(body, "}}");
	}
	(void)wl_buffer_append_text(body, count ? "]" : "");
}

static void put_options(struct wl_buffer *body, const struct wl_llm_ask *ask)
{
	_wl_buffer_ struct wl_buffer options;
	wl_buffer_init(&options, 0);
	wl_llm_put_sampling(&options, ask);
	wl_llm_put_stops(&options, ask, "stop");
	if (ask->request->max_tokens > 0)
		(void)wl_buffer_appendf(&options, ",\"num_predict\":%d", ask->request->max_tokens);
	if (options.failed)
		body->failed = options.failed;
	else if (options.length)
		(void)wl_buffer_appendf(body, ",\"options\":{%s}", options.data + 1);
}

static int write_request(const struct wl_llm_ask *ask, struct wl_buffer *body, struct wl_error *err)
{
	const struct wl_model_request *request = ask->request;
	for (size_t i = 0; i < request->message_count; i++)
		for (size_t j = 0; j < request->messages[i].image_count; j++)
			if (request->messages[i].images[j].url)
				return wl_fail(err, EINVAL, "ollama takes pictures as bytes, not by their URL");
	(void)wl_buffer_append_text(body, "{\"model\":");
	wl_llm_put_string(body, ask->model);
	(void)wl_buffer_append_text(body, ",\"messages\":[");
	if (wl_llm_schema_by_prompt(ask)) {
		_wl_buffer_ struct wl_buffer text;
		wl_buffer_init(&text, 0);
		wl_llm_put_schema_prompt(&text, request->schema);
		put_message(body, request, &(struct wl_model_message){ .role = WL_MODEL_SYSTEM, .text = text.data });
		(void)wl_buffer_append_char(body, ',');
	}
	for (size_t i = 0; i < request->message_count; i++) {
		if (i)
			(void)wl_buffer_append_char(body, ',');
		put_message(body, request, &request->messages[i]);
	}
	(void)wl_buffer_append_char(body, ']');
	put_tools(body, request);
	put_options(body, ask);
	if (request->schema && !wl_llm_schema_by_prompt(ask)) {
		(void)wl_buffer_append_text(body, ",\"format\":");
		(void)wl_buffer_append_text(body, request->schema);
	}
	(void)wl_buffer_append_text(body, ask->stream ? ",\"stream\":true}" : ",\"stream\":false}");
	return body->failed ? wl_fail(err, body->failed, "no memory for a request") : 0;
}

/* ---- reading ---------------------------------------------------------------------------------------------------- */

static void read_line(struct wl_llm_reader *reader, const struct wl_json *json)
{
	const struct wl_json *message = wl_json_get(json, "message");
	if (!wl_json_is(message, WL_JSON_OBJECT) && !wl_json_is(wl_json_get(json, "done"), WL_JSON_BOOL)) {
		wl_llm_got_error(reader, NULL);
		return;
	}
	wl_llm_got_model(reader, wl_json_get_string(json, "model", NULL));
	wl_llm_got_text(reader, wl_json_get_string(message, "content", NULL));
	for (const struct wl_json *call = wl_json_first(wl_json_get(message, "tool_calls")); call;
	     call = wl_json_next(call)) {
		const struct wl_json *function = wl_json_get(call, "function");
		/* each comes whole, numbered or not */
		wl_llm_got_tool_json(reader, (long)reader->tool_count, wl_json_get_string(call, "id", NULL),
				     wl_json_get_string(function, "name", NULL), wl_json_get(function, "arguments"));
	}
	if (!wl_json_get_bool(json, "done", false))
		return;
	reader->has_prompt |= wl_llm_got_count(json, "prompt_eval_count", &reader->usage.prompt);
	reader->has_completion |= wl_llm_got_count(json, "eval_count", &reader->usage.completion);
	bool length = strcmp(wl_json_get_string(json, "done_reason", "stop"), "length") == 0;
	wl_llm_got_end(reader, length ? WL_MODEL_END_LENGTH : WL_MODEL_END_STOP);
	reader->done = true;
}

const struct wl_llm_wire wl_llm_ollama = { "/api/chat", true, write_request, read_line, read_line };
