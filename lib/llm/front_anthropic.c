/* Clients of Anthropic's messages. */
#include "lib/llm/front.h"
#include "lib/llm/wire.h"

#include <errno.h>
#include <string.h>

/* ---- reading -------------------------------------------------------------------------------------------------------
 */

static int no_memory(struct wl_error *err)
{
	return wl_fail(err, ENOMEM, "no memory for a request");
}

static int bad(struct wl_error *err, size_t message, const char *what)
{
	return wl_fail(err, EINVAL, "messages[%zu]%s", message, what);
}

static bool is_type(const struct wl_json *block, const char *type)
{
	return strcmp(wl_json_get_string(block, "type", ""), type) == 0;
}

/* The text blocks of a content one behind the other; a text is itself. NULL without memory. */
static const char *text_of(struct wl_front *front, const struct wl_json *content)
{
	size_t length = 0;
	if (wl_json_is(content, WL_JSON_STRING))
		return wl_json_string(content, "");
	for (const struct wl_json *block = wl_json_first(content); block; block = wl_json_next(block))
		length += is_type(block, "text") ? strlen(wl_json_get_string(block, "text", "")) : 0;
	char *text = wl_front_alloc(front, length + 1), *end = text;
	for (const struct wl_json *block = wl_json_first(content); text && block; block = wl_json_next(block))
		if (is_type(block, "text"))
			end = stpcpy(end, wl_json_get_string(block, "text", ""));
	return text;
}

static bool read_image(const struct wl_json *block, struct wl_front *front, struct wl_model_image *image)
{
	const struct wl_json *source = wl_json_get(block, "source");
	if (is_type(source, "url"))
		return wl_front_image_of_url(front, wl_json_get_string(source, "url", ""), image) && image->url;
	*image = (struct wl_model_image){ .media_type = wl_json_get_string(source, "media_type", NULL),
					  .base64 = wl_json_get_string(source, "data", NULL) };
	return is_type(source, "base64") && image->media_type && image->base64;
}

/* What tools gave comes before whatever else the user says. */
static int read_results(struct wl_front *front, const struct wl_json *content, size_t at,
			struct wl_model_message **messages, struct wl_error *err)
{
	for (const struct wl_json *block = wl_json_first(content); block; block = wl_json_next(block)) {
		if (!is_type(block, "tool_result"))
			continue;
		const struct wl_json *result = wl_json_get(block, "content");
		for (const struct wl_json *one = wl_json_is(result, WL_JSON_ARRAY) ? wl_json_first(result) : NULL; one;
		     one = wl_json_next(one))
			if (!is_type(one, "text"))
				return bad(err, at, ".content: what a tool gave is text");
		struct wl_model_message *message = (*messages)++;
		*message = (struct wl_model_message){ .role = WL_MODEL_TOOL,
						      .text = text_of(front, result),
						      .tool_use_id = wl_json_get_string(block, "tool_use_id", ""),
						      .tool_failed = wl_json_get_bool(block, "is_error", false) };
		if (!message->text)
			return no_memory(err);
		if (!*message->tool_use_id)
			return bad(err, at, ".content: a tool_result names its tool_use_id");
	}
	return 0;
}

static int read_block(struct wl_front *front, const struct wl_json *block, size_t at, struct wl_model_message *message,
		      struct wl_error *err)
{
	struct wl_model_image *images = (struct wl_model_image *)message->images;
	struct wl_model_tool_use *uses = (struct wl_model_tool_use *)message->tool_uses;
	bool user = message->role == WL_MODEL_USER;
	if (user && is_type(block, "image"))
		return read_image(block, front, &images[message->image_count++])
			       ? 0
			       : bad(err, at, ".content: a picture has a source of base64 or a URL");
	if (!user && is_type(block, "tool_use")) {
		const char *input = wl_front_print(front, wl_json_get(block, "input"));
		struct wl_model_tool_use *use = &uses[message->tool_use_count++];
		*use = (struct wl_model_tool_use){ (char *)wl_json_get_string(block, "id", ""),
						   (char *)wl_json_get_string(block, "name", ""), (char *)input };
		if (!input || !*use->id || !*use->name)
			return bad(err, at, ".content: a tool_use has id, name and input");
		return 0;
	}
	/* what a model thought is no part of what is said again: another one may answer */
	bool thought = !user && (is_type(block, "thinking") || is_type(block, "redacted_thinking"));
	if (!is_type(block, "text") && !(user && is_type(block, "tool_result")) && !thought)
		return bad(err, at, ".content: a block of this type has no place here");
	return 0;
}

/* One message of the client's may be several of ours. */
static int read_message(struct wl_front *front, const struct wl_json *json, size_t at,
			struct wl_model_message **messages, struct wl_error *err)
{
	const char *role = wl_json_get_string(json, "role", "");
	const struct wl_json *content = wl_json_get(json, "content");
	bool user = strcmp(role, "user") == 0, list = wl_json_is(content, WL_JSON_ARRAY);
	size_t count = list ? wl_json_count(content) : 0;
	if (!user && strcmp(role, "assistant") != 0)
		return bad(err, at, ".role is user or assistant");
	if (!list && !wl_json_is(content, WL_JSON_STRING))
		return bad(err, at, ".content is a text or a list of blocks");
	struct wl_model_message message = { .role = user ? WL_MODEL_USER : WL_MODEL_ASSISTANT };
	message.text = text_of(front, content);
	message.images = wl_front_alloc(front, (count + 1) * sizeof(*message.images));
	message.tool_uses = wl_front_alloc(front, (count + 1) * sizeof(*message.tool_uses));
	if (!message.text || !message.images || !message.tool_uses)
		return no_memory(err);
	if (list && user && read_results(front, content, at, messages, err) < 0)
		return -err->code;
	for (const struct wl_json *block = list ? wl_json_first(content) : NULL; block; block = wl_json_next(block))
		if (read_block(front, block, at, &message, err) < 0)
			return -err->code;
	if (*message.text || message.image_count || message.tool_use_count || !list)
		*(*messages)++ = message;
	return 0;
}

static int read_messages(struct wl_front *front, struct wl_error *err)
{
	const struct wl_json *list = wl_json_get(front->body, "messages"), *system = wl_json_get(front->body, "system");
	size_t room = 2, at = 0;
	for (const struct wl_json *one = wl_json_first(list); one; one = wl_json_next(one))
		room += 1 + (wl_json_is(wl_json_get(one, "content"), WL_JSON_ARRAY)
				     ? wl_json_count(wl_json_get(one, "content"))
				     : 0);
	struct wl_model_message *messages = wl_front_alloc(front, room * sizeof(*messages)), *next = messages;
	if (!messages)
		return no_memory(err);
	if (wl_json_is(system, WL_JSON_STRING) || wl_json_is(system, WL_JSON_ARRAY)) {
		*next = (struct wl_model_message){ .role = WL_MODEL_SYSTEM, .text = text_of(front, system) };
		if (!next->text)
			return no_memory(err);
		next += *next->text != '\0';
	}
	const struct wl_model_message *first = next;
	for (const struct wl_json *one = wl_json_first(list); one; one = wl_json_next(one), at++)
		if (read_message(front, one, at, &next, err) < 0)
			return -err->code;
	front->request.messages = messages;
	front->request.message_count = (size_t)(next - messages);
	return next > first ? 0 : wl_fail(err, EINVAL, "messages has to be a list with at least one message");
}

static int read_choice(struct wl_front *front, struct wl_error *err)
{
	const struct wl_json *choice = wl_json_get(front->body, "tool_choice");
	struct wl_model_request *request = &front->request;
	const char *type = wl_json_get_string(choice, "type", "auto");
	request->single_tool_use = wl_json_get_bool(choice, "disable_parallel_tool_use", false);
	if (strcmp(type, "any") == 0)
		request->tool_choice = WL_MODEL_TOOL_REQUIRED;
	else if (strcmp(type, "none") == 0)
		request->tool_choice = WL_MODEL_TOOL_NONE;
	else if (strcmp(type, "tool") == 0) {
		request->tool_choice = WL_MODEL_TOOL_NAMED;
		request->tool_choice_name = wl_json_get_string(choice, "name", "");
	} else if (strcmp(type, "auto") != 0)
		return wl_fail(err, EINVAL, "tool_choice.type is auto, any, tool or none");
	return 0;
}

static int read_tools(struct wl_front *front, struct wl_error *err)
{
	const struct wl_json *list = wl_json_get(front->body, "tools");
	size_t count = wl_json_is(list, WL_JSON_ARRAY) ? wl_json_count(list) : 0;
	struct wl_model_tool *tools = wl_front_alloc(front, (count + 1) * sizeof(*tools));
	if (!tools)
		return no_memory(err);
	for (size_t i = 0; i < count; i++) {
		const struct wl_json *one = wl_json_at(list, i), *schema = wl_json_get(one, "input_schema");
		if (!wl_json_is(schema, WL_JSON_OBJECT))
			return wl_fail(err, EINVAL, "tools[%zu] has no input_schema: tools of servers are not known",
				       i);
		tools[i].name = wl_json_get_string(one, "name", "");
		tools[i].description = wl_json_get_string(one, "description", NULL);
		tools[i].parameters = wl_front_print(front, schema);
		if (!tools[i].parameters)
			return no_memory(err);
	}
	front->request.tools = tools;
	front->request.tool_count = count;
	return count ? read_choice(front, err) : 0;
}

static int read(struct wl_front *front, struct wl_error *err)
{
	double most = wl_json_get_number(front->body, "max_tokens", 0);
	front->request.max_tokens = most > 0 && most < 1e9 ? (int)most : 0;
	if (front->request.max_tokens == 0)
		return wl_fail(err, EINVAL, "max_tokens has to be a number above 0");
	int result = read_messages(front, err);
	result = result ? result : read_tools(front, err);
	result = result ? result : wl_front_read_stops(front, wl_json_get(front->body, "stop_sequences"), err);
	return result ? result : wl_llm_check_request(&front->request, err);
}

/* ---- writing -------------------------------------------------------------------------------------------------------
 */

static const char *stop_reason(const struct wl_model_answer *answer)
{
	return answer->tool_use_count ? "tool_use" : answer->end == WL_MODEL_END_LENGTH ? "max_tokens" : "end_turn";
}

/* Here the tokens of the cache are no part of the input. */
static void put_usage(struct wl_buffer *out, const struct wl_model_usage *usage)
{
	uint64_t cache = usage->cached + usage->cache_write;
	wl_buffer_appendf(out,
			  "\"usage\":{\"input_tokens\":%llu,\"cache_creation_input_tokens\":%llu,"
			  "\"cache_read_input_tokens\":%llu,\"output_tokens\":%llu}",
			  (unsigned long long)(usage->prompt > cache ? usage->prompt - cache : 0),
			  (unsigned long long)usage->cache_write, (unsigned long long)usage->cached,
			  (unsigned long long)usage->completion);
}

static void put_head(struct wl_front_reply *reply)
{
	wl_buffer_appendf(reply->out, "{\"id\":\"msg_%s\",\"type\":\"message\",\"role\":\"assistant\"", reply->id);
	wl_llm_put_text(reply->out, "model", reply->model);
	wl_buffer_append_text(reply->out, ",\"content\":[");
}

static void put_tool_head(struct wl_buffer *out, const char *id, const char *name)
{
	wl_buffer_append_text(out, "{\"type\":\"tool_use\",\"id\":");
	wl_llm_put_string(out, id);
	wl_llm_put_text(out, "name", name);
	wl_buffer_append_text(out, ",\"input\":");
}

static void put_answer(struct wl_front_reply *reply, const struct wl_model_answer *answer)
{
	struct wl_buffer *out = reply->out;
	bool text = answer->text && *answer->text;
	put_head(reply);
	if (text) {
		wl_buffer_append_text(out, "{\"type\":\"text\",\"text\":");
		wl_llm_put_string(out, answer->text);
		wl_buffer_append_char(out, '}');
	}
	for (size_t i = 0; i < answer->tool_use_count; i++) {
		if (text || i)
			wl_buffer_append_char(out, ',');
		put_tool_head(out, answer->tool_uses[i].id, answer->tool_uses[i].name);
		wl_llm_put_object(out, answer->tool_uses[i].arguments);
		wl_buffer_append_char(out, '}');
	}
	wl_buffer_appendf(out, "],\"stop_reason\":\"%s\",\"stop_sequence\":null,", stop_reason(answer));
	put_usage(out, &answer->usage);
	wl_buffer_append_char(out, '}');
}

static void begin_event(struct wl_front_reply *reply, const char *name)
{
	wl_buffer_appendf(reply->out, "event: %s\ndata: {\"type\":\"%s\"", name, name);
}

static void end_event(struct wl_front_reply *reply)
{
	wl_buffer_append_text(reply->out, "}\n\n");
}

static void begin_stream(struct wl_front_reply *reply)
{
	const struct wl_model_usage none = { 0 };
	if (reply->begun)
		return;
	reply->begun = true;
	begin_event(reply, "message_start");
	wl_buffer_append_text(reply->out, ",\"message\":");
	put_head(reply);
	wl_buffer_append_text(reply->out, "],\"stop_reason\":null,\"stop_sequence\":null,");
	put_usage(reply->out, &none); /* what it came to is told at the end */
	wl_buffer_append_char(reply->out, '}');
	end_event(reply);
	begin_event(reply, "ping");
	end_event(reply);
}

static void close_block(struct wl_front_reply *reply)
{
	if (!reply->open)
		return;
	reply->open = false;
	begin_event(reply, "content_block_stop");
	wl_buffer_appendf(reply->out, ",\"index\":%zu", reply->blocks - 1);
	end_event(reply);
}

static void open_block(struct wl_front_reply *reply)
{
	begin_stream(reply);
	close_block(reply);
	reply->open = true;
	begin_event(reply, "content_block_start");
	wl_buffer_appendf(reply->out, ",\"index\":%zu,\"content_block\":", reply->blocks++);
}

static void begin_delta(struct wl_front_reply *reply, size_t block, const char *type, const char *member)
{
	begin_event(reply, "content_block_delta");
	wl_buffer_appendf(reply->out, ",\"index\":%zu,\"delta\":{\"type\":\"%s\",\"%s\":", block, type, member);
}

static void end_delta(struct wl_front_reply *reply, const char *text, size_t length)
{
	(void)wl_buffer_append_json_string(reply->out, text, length);
	wl_buffer_append_char(reply->out, '}');
	end_event(reply);
}

static void put_text_piece(struct wl_front_reply *reply, const char *text, size_t length)
{
	if (!reply->open || reply->in_tool) { /* text behind a tool use is a block of its own */
		open_block(reply);
		reply->in_tool = false;
		wl_buffer_append_text(reply->out, "{\"type\":\"text\",\"text\":\"\"}");
		end_event(reply);
	}
	begin_delta(reply, reply->blocks - 1, "text_delta", "text");
	end_delta(reply, text, length);
}

static void put_tool_begin(struct wl_front_reply *reply, size_t index, const char *id, const char *name)
{
	open_block(reply);
	reply->in_tool = true;
	reply->tool_base = reply->blocks - 1 - index;
	put_tool_head(reply->out, id, name);
	wl_buffer_append_text(reply->out, "{}}");
	end_event(reply);
}

static void put_tool_piece(struct wl_front_reply *reply, size_t index, const char *text, size_t length)
{
	begin_delta(reply, reply->tool_base + index, "input_json_delta", "partial_json");
	end_delta(reply, text, length);
}

static void put_end(struct wl_front_reply *reply, const struct wl_model_answer *answer)
{
	begin_stream(reply);
	close_block(reply);
	begin_event(reply, "message_delta");
	wl_buffer_appendf(reply->out, ",\"delta\":{\"stop_reason\":\"%s\",\"stop_sequence\":null},",
			  stop_reason(answer));
	put_usage(reply->out, &answer->usage);
	end_event(reply);
	begin_event(reply, "message_stop");
	end_event(reply);
}

static const char *error_type(int status)
{
	switch (status) {
	case 401:
		return "authentication_error";
	case 403:
		return "permission_error";
	case 404:
		return "not_found_error";
	case 413:
		return "request_too_large";
	case 429:
		return "rate_limit_error";
	case 503:
		return "overloaded_error";
	default:
		return status < 500 ? "invalid_request_error" : "api_error";
	}
}

static void put_error(struct wl_buffer *out, int status, const char *code, const char *sentence)
{
	(void)code; /* the type says it */
	wl_buffer_appendf(out, "\"error\":{\"type\":\"%s\"", error_type(status));
	wl_llm_put_text(out, "message", sentence);
	wl_buffer_append_char(out, '}');
}

static void put_failure(struct wl_front_reply *reply, int status, const char *code, const char *sentence)
{
	begin_event(reply, "error");
	wl_buffer_append_char(reply->out, ',');
	put_error(reply->out, status, code, sentence);
	end_event(reply);
}

const struct wl_front_format wl_front_anthropic = {
	.read = read,
	.answer = put_answer,
	.text = put_text_piece,
	.tool_begin = put_tool_begin,
	.tool_arguments = put_tool_piece,
	.end = put_end,
	.fail = put_failure,
	.error = put_error,
};
