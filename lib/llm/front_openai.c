/* Clients of OpenAI's chat completions and embeddings. */
#include "lib/llm/front.h"
#include "lib/llm/wire.h"

#include <errno.h>
#include <string.h>

/* ---- reading -------------------------------------------------------------------------------------------------------
 */

static int bad(struct wl_error *err, size_t message, const char *what)
{
	return wl_fail(err, EINVAL, "messages[%zu]%s", message, what);
}

/* A list of parts: their texts one behind the other, their pictures beside them. */
static int read_parts(struct wl_front *front, const struct wl_json *parts, size_t at, struct wl_model_message *message,
		      struct wl_error *err)
{
	struct wl_model_image *images = wl_front_alloc(front, (wl_json_count(parts) + 1) * sizeof(*images));
	size_t length = 0;
	for (const struct wl_json *part = wl_json_first(parts); part; part = wl_json_next(part))
		length += strlen(wl_json_get_string(part, "text", ""));
	char *text = wl_front_alloc(front, length + 1), *end = text;
	if (!images || !text)
		return wl_fail(err, ENOMEM, "no memory for a request");
	for (const struct wl_json *part = wl_json_first(parts); part; part = wl_json_next(part)) {
		const char *type = wl_json_get_string(part, "type", "");
		const char *url = wl_json_get_string(wl_json_get(part, "image_url"), "url", "");
		if (strcmp(type, "text") == 0)
			end = stpcpy(end, wl_json_get_string(part, "text", ""));
		else if (strcmp(type, "image_url") != 0)
			return bad(err, at, ".content: parts are of the type text or image_url");
		else if (message->role != WL_MODEL_USER)
			return bad(err, at, ".content: only a user's message has pictures");
		else if (!wl_front_image_of_url(front, url, &images[message->image_count++]))
			return bad(err, at, ".content: a picture is an http(s) URL, or data with base64");
	}
	message->text = text;
	message->images = images;
	return 0;
}

static int read_tool_calls(struct wl_front *front, const struct wl_json *calls, size_t at,
			   struct wl_model_message *message, struct wl_error *err)
{
	size_t count = wl_json_is(calls, WL_JSON_ARRAY) ? wl_json_count(calls) : 0;
	struct wl_model_tool_use *uses = wl_front_alloc(front, (count + 1) * sizeof(*uses));
	if (!uses)
		return wl_fail(err, ENOMEM, "no memory for a request");
	for (size_t i = 0; i < count; i++) {
		const struct wl_json *one = wl_json_at(calls, i), *function = wl_json_get(one, "function");
		uses[i] = (struct wl_model_tool_use){ (char *)wl_json_get_string(one, "id", ""),
						      (char *)wl_json_get_string(function, "name", ""),
						      (char *)wl_json_get_string(function, "arguments", "{}") };
		if (!*uses[i].id || !*uses[i].name)
			return bad(err, at, ".tool_calls: each has an id and a function with a name");
	}
	message->tool_uses = uses;
	message->tool_use_count = count;
	return 0;
}

static int read_message(struct wl_front *front, const struct wl_json *json, size_t at, struct wl_model_message *message,
			struct wl_error *err)
{
	static const struct {
		const char *word;
		enum wl_model_role role;
	} roles[] = { { "system", WL_MODEL_SYSTEM },
		      { "developer", WL_MODEL_SYSTEM },
		      { "user", WL_MODEL_USER },
		      { "assistant", WL_MODEL_ASSISTANT },
		      { "tool", WL_MODEL_TOOL } };
	const char *word = wl_json_get_string(json, "role", "");
	const struct wl_json *content = wl_json_get(json, "content");
	size_t i = 0;
	while (i < sizeof(roles) / sizeof(roles[0]) && strcmp(roles[i].word, word) != 0)
		i++;
	if (i == sizeof(roles) / sizeof(roles[0]))
		return bad(err, at, ".role is system, developer, user, assistant or tool");
	message->role = roles[i].role;
	if (wl_json_is(content, WL_JSON_STRING))
		message->text = wl_json_string(content, "");
	else if (wl_json_is(content, WL_JSON_ARRAY)) {
		if (read_parts(front, content, at, message, err) < 0)
			return -err->code;
	} else if (message->role != WL_MODEL_ASSISTANT)
		return bad(err, at, ".content is a text or a list of parts");
	if (message->role == WL_MODEL_TOOL) {
		message->tool_use_id = wl_json_get_string(json, "tool_call_id", "");
		return *message->tool_use_id ? 0 : bad(err, at, ".tool_call_id says what the message answers");
	}
	return message->role == WL_MODEL_ASSISTANT
		       ? read_tool_calls(front, wl_json_get(json, "tool_calls"), at, message, err)
		       : 0;
}

static int read_messages(struct wl_front *front, struct wl_error *err)
{
	const struct wl_json *list = wl_json_get(front->body, "messages");
	size_t count = wl_json_is(list, WL_JSON_ARRAY) ? wl_json_count(list) : 0, at = 0;
	struct wl_model_message *messages = wl_front_alloc(front, (count + 1) * sizeof(*messages));
	if (!messages)
		return wl_fail(err, ENOMEM, "no memory for a request");
	for (const struct wl_json *one = wl_json_first(list); at < count; one = wl_json_next(one), at++)
		if (read_message(front, one, at, &messages[at], err) < 0)
			return -err->code;
	front->request.messages = messages;
	front->request.message_count = count;
	return count ? 0 : wl_fail(err, EINVAL, "messages has to be a list with at least one message");
}

static int read_choice(struct wl_front *front, struct wl_error *err)
{
	const struct wl_json *choice = wl_json_get(front->body, "tool_choice");
	const char *word = wl_json_string(choice, "auto");
	struct wl_model_request *request = &front->request;
	request->single_tool_use = !wl_json_get_bool(front->body, "parallel_tool_calls", true);
	if (wl_json_is(choice, WL_JSON_OBJECT)) {
		request->tool_choice = WL_MODEL_TOOL_NAMED;
		request->tool_choice_name = wl_json_get_string(wl_json_get(choice, "function"), "name", "");
	} else if (strcmp(word, "none") == 0)
		request->tool_choice = WL_MODEL_TOOL_NONE;
	else if (strcmp(word, "required") == 0)
		request->tool_choice = WL_MODEL_TOOL_REQUIRED;
	else if (strcmp(word, "auto") != 0)
		return wl_fail(err, EINVAL, "tool_choice is auto, none, required or a function");
	return 0;
}

static int read_tools(struct wl_front *front, struct wl_error *err)
{
	const struct wl_json *list = wl_json_get(front->body, "tools");
	size_t count = wl_json_is(list, WL_JSON_ARRAY) ? wl_json_count(list) : 0;
	struct wl_model_tool *tools = wl_front_alloc(front, (count + 1) * sizeof(*tools));
	if (!tools)
		return wl_fail(err, ENOMEM, "no memory for a request");
	for (size_t i = 0; i < count; i++) {
		const struct wl_json *function = wl_json_get(wl_json_at(list, i), "function");
		const struct wl_json *parameters = wl_json_get(function, "parameters");
		if (!wl_json_is(function, WL_JSON_OBJECT))
			return wl_fail(err, EINVAL, "tools[%zu] is no function: no other tools are known", i);
		tools[i].name = wl_json_get_string(function, "name", "");
		tools[i].description = wl_json_get_string(function, "description", NULL);
		tools[i].strict = wl_json_get_bool(function, "strict", false);
		if (!wl_json_is(parameters, WL_JSON_OBJECT))
			continue;
		tools[i].parameters = wl_front_print(front, parameters);
		if (!tools[i].parameters)
			return wl_fail(err, ENOMEM, "no memory for a request");
	}
	front->request.tools = tools;
	front->request.tool_count = count;
	return count ? read_choice(front, err) : 0;
}

static int read_response_format(struct wl_front *front, struct wl_error *err)
{
	const struct wl_json *format = wl_json_get(front->body, "response_format");
	const struct wl_json *json_schema = wl_json_get(format, "json_schema");
	const struct wl_json *schema = wl_json_get(json_schema, "schema");
	const char *type = wl_json_get_string(format, "type", "text");
	if (strcmp(type, "text") == 0)
		return 0;
	if (strcmp(type, "json_object") == 0) {
		front->request.schema = "{\"type\":\"object\"}";
		return 0;
	}
	if (strcmp(type, "json_schema") != 0)
		return wl_fail(err, EINVAL, "response_format.type is text, json_object or json_schema");
	if (!wl_json_is(schema, WL_JSON_OBJECT))
		return wl_fail(err, EINVAL, "response_format.json_schema.schema has to be a JSON Schema");
	front->request.schema_name = wl_json_get_string(json_schema, "name", NULL);
	front->request.schema = wl_front_print(front, schema);
	return front->request.schema ? 0 : wl_fail(err, ENOMEM, "no memory for a request");
}

/* What would change the answer is refused; what only hints, such as seed or user, is passed over. */
static int refuse_unknown(const struct wl_json *body, struct wl_error *err)
{
	if (wl_json_get_number(body, "n", 1) != 1)
		return wl_fail(err, EINVAL, "n: there is one choice for each request");
	if (wl_json_get_bool(body, "logprobs", false))
		return wl_fail(err, EINVAL, "logprobs: probabilities of tokens are not given");
	if (wl_json_count(wl_json_get(body, "functions")))
		return wl_fail(err, EINVAL, "functions: say tools");
	return 0;
}

static int read_chat(struct wl_front *front, struct wl_error *err)
{
	const struct wl_json *body = front->body;
	double most = wl_json_get_number(body, "max_completion_tokens", wl_json_get_number(body, "max_tokens", 0));
	front->request.max_tokens = most > 0 && most < 1e9 ? (int)most : 0;
	front->include_usage = wl_json_get_bool(wl_json_get(body, "stream_options"), "include_usage", false);
	int result = refuse_unknown(body, err);
	result = result ? result : read_messages(front, err);
	result = result ? result : read_tools(front, err);
	result = result ? result : read_response_format(front, err);
	result = result ? result : wl_front_read_stops(front, wl_json_get(body, "stop"), err);
	return result ? result : wl_llm_check_request(&front->request, err);
}

/* ---- writing -------------------------------------------------------------------------------------------------------
 */

static const char *finish_reason(const struct wl_model_answer *answer)
{
	return answer->tool_use_count ? "tool_calls" : answer->end == WL_MODEL_END_LENGTH ? "length" : "stop";
}

static void put_head(const struct wl_front_reply *reply, const char *object)
{
	wl_buffer_appendf(reply->out, "{\"id\":\"chatcmpl-%s\",\"object\":\"%s\",\"created\":%lld", reply->id, object,
			  (long long)reply->created_s);
	wl_llm_put_text(reply->out, "model", reply->model);
}

static void put_usage(struct wl_buffer *out, const struct wl_model_usage *usage)
{
	wl_buffer_appendf(out,
			  ",\"usage\":{\"prompt_tokens\":%llu,\"completion_tokens\":%llu,\"total_tokens\":%llu,"
			  "\"prompt_tokens_details\":{\"cached_tokens\":%llu},"
			  "\"completion_tokens_details\":{\"reasoning_tokens\":%llu}}",
			  (unsigned long long)usage->prompt, (unsigned long long)usage->completion,
			  (unsigned long long)(usage->prompt + usage->completion), (unsigned long long)usage->cached,
			  (unsigned long long)usage->reasoning);
}

static void put_tool_calls(struct wl_buffer *out, const struct wl_model_answer *answer)
{
	for (size_t i = 0; i < answer->tool_use_count; i++) {
		const struct wl_model_tool_use *use = &answer->tool_uses[i];
		wl_buffer_append_text(out, i ? ",{\"id\":" : ",\"tool_calls\":[{\"id\":");
		wl_llm_put_string(out, use->id);
		wl_buffer_append_text(out, ",\"type\":\"function\",\"function\":{\"name\":");
		wl_llm_put_string(out, use->name);
		wl_llm_put_text(out, "arguments", use->arguments);
		wl_buffer_append_text(out, "}}");
	}
	if (answer->tool_use_count)
		wl_buffer_append_char(out, ']');
}

static void put_answer(struct wl_front_reply *reply, const struct wl_model_answer *answer)
{
	struct wl_buffer *out = reply->out;
	put_head(reply, "chat.completion");
	wl_buffer_append_text(out, ",\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":");
	if (answer->text && (*answer->text || !answer->tool_use_count))
		wl_llm_put_string(out, answer->text);
	else
		wl_buffer_append_text(out, answer->tool_use_count ? "null" : "\"\"");
	wl_buffer_append_text(out, ",\"refusal\":null");
	put_tool_calls(out, answer);
	wl_buffer_appendf(out, "},\"logprobs\":null,\"finish_reason\":\"%s\"}]", finish_reason(answer));
	put_usage(out, &answer->usage);
	wl_buffer_append_char(out, '}');
}

/* The begin of a chunk up to its delta's members. */
static void begin_chunk(struct wl_front_reply *reply)
{
	wl_buffer_append_text(reply->out, "data: ");
	put_head(reply, "chat.completion.chunk");
	wl_buffer_append_text(reply->out, ",\"choices\":[{\"index\":0,\"delta\":{");
}

static void end_chunk(struct wl_front_reply *reply, const char *reason)
{
	if (reason)
		wl_buffer_appendf(reply->out, "},\"finish_reason\":\"%s\"}]}\n\n", reason);
	else
		wl_buffer_append_text(reply->out, "},\"finish_reason\":null}]}\n\n");
}

static void begin_stream(struct wl_front_reply *reply)
{
	if (reply->begun)
		return;
	reply->begun = true;
	begin_chunk(reply);
	wl_buffer_append_text(reply->out, "\"role\":\"assistant\",\"content\":\"\"");
	end_chunk(reply, NULL);
}

static void put_text_piece(struct wl_front_reply *reply, const char *text, size_t length)
{
	begin_stream(reply);
	begin_chunk(reply);
	wl_buffer_append_text(reply->out, "\"content\":");
	(void)wl_buffer_append_json_string(reply->out, text, length);
	end_chunk(reply, NULL);
}

static void put_tool_begin(struct wl_front_reply *reply, size_t index, const char *id, const char *name)
{
	begin_stream(reply);
	begin_chunk(reply);
	wl_buffer_appendf(reply->out, "\"tool_calls\":[{\"index\":%zu,\"id\":", index);
	wl_llm_put_string(reply->out, id);
	wl_buffer_append_text(reply->out, ",\"type\":\"function\",\"function\":{\"name\":");
	wl_llm_put_string(reply->out, name);
	wl_buffer_append_text(reply->out, ",\"arguments\":\"\"}}]");
	end_chunk(reply, NULL);
}

static void put_tool_piece(struct wl_front_reply *reply, size_t index, const char *text, size_t length)
{
	begin_chunk(reply);
	wl_buffer_appendf(reply->out, "\"tool_calls\":[{\"index\":%zu,\"function\":{\"arguments\":", index);
	(void)wl_buffer_append_json_string(reply->out, text, length);
	wl_buffer_append_text(reply->out, "}}]");
	end_chunk(reply, NULL);
}

static void put_end(struct wl_front_reply *reply, const struct wl_model_answer *answer)
{
	begin_stream(reply);
	begin_chunk(reply);
	end_chunk(reply, finish_reason(answer));
	if (reply->include_usage) {
		wl_buffer_append_text(reply->out, "data: ");
		put_head(reply, "chat.completion.chunk");
		wl_buffer_append_text(reply->out, ",\"choices\":[]");
		put_usage(reply->out, &answer->usage);
		wl_buffer_append_text(reply->out, "}\n\n");
	}
	wl_buffer_append_text(reply->out, "data: [DONE]\n\n");
}

static const char *error_type(int status, const char *code)
{
	if (code && strcmp(code, "insufficient_quota") == 0)
		return code;
	return status == 401   ? "authentication_error"
	       : status == 403 ? "permission_error"
	       : status == 429 ? "rate_limit_error"
	       : status < 500  ? "invalid_request_error"
			       : "server_error";
}

static void put_error(struct wl_buffer *out, int status, const char *code, const char *sentence)
{
	wl_buffer_append_text(out, "\"error\":{\"message\":");
	wl_llm_put_string(out, sentence);
	wl_buffer_appendf(out, ",\"type\":\"%s\",\"param\":null,\"code\":", error_type(status, code));
	if (code || status == 401)
		wl_llm_put_string(out, code ? code : "invalid_api_key");
	else
		wl_buffer_append_text(out, "null");
	wl_buffer_append_char(out, '}');
}

static void put_failure(struct wl_front_reply *reply, int status, const char *code, const char *sentence)
{
	wl_buffer_append_text(reply->out, "data: {");
	put_error(reply->out, status, code, sentence);
	wl_buffer_append_text(reply->out, "}\n\n");
}

const struct wl_front_format wl_front_openai = {
	.read = read_chat,
	.answer = put_answer,
	.text = put_text_piece,
	.tool_begin = put_tool_begin,
	.tool_arguments = put_tool_piece,
	.end = put_end,
	.fail = put_failure,
	.error = put_error,
};

/* ---- vectors -------------------------------------------------------------------------------------------------------
 */

/* RFC 4648 §4. */
static void put_base64(struct wl_buffer *out, const unsigned char *bytes, size_t length)
{
	static const char signs[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	for (size_t i = 0; i < length; i += 3) {
		size_t left = length - i;
		unsigned word = (unsigned)bytes[i] << 16 | (left > 1 ? (unsigned)bytes[i + 1] << 8 : 0) |
				(left > 2 ? bytes[i + 2] : 0);
		const char group[] = { signs[word >> 18], signs[word >> 12 & 63],
				       left > 1 ? signs[word >> 6 & 63] : '=', left > 2 ? signs[word & 63] : '=' };
		wl_buffer_append(out, group, sizeof(group));
	}
}

static void put_vector(struct wl_buffer *out, const float *vector, size_t dimensions, bool base64)
{
	if (base64) { /* floats in the order of bytes that this machine has: little-endian, as clients expect */
		wl_buffer_append_char(out, '"');
		put_base64(out, (const unsigned char *)vector, dimensions * sizeof(*vector));
		wl_buffer_append_char(out, '"');
		return;
	}
	for (size_t i = 0; i < dimensions; i++)
		wl_buffer_appendf(out, i ? ",%.9g" : "[%.9g", (double)vector[i]);
	wl_buffer_append_text(out, dimensions ? "]" : "[]");
}

void wl_front_put_embeddings(struct wl_buffer *out, const struct wl_front *front, const float *vectors, size_t count,
			     size_t dimensions, const struct wl_model_usage *usage)
{
	wl_buffer_append_text(out, "{\"object\":\"list\",\"data\":[");
	for (size_t i = 0; i < count; i++) {
		wl_buffer_appendf(out, "%s{\"object\":\"embedding\",\"index\":%zu,\"embedding\":", i ? "," : "", i);
		put_vector(out, vectors + i * dimensions, dimensions, front->base64);
		wl_buffer_append_char(out, '}');
	}
	wl_buffer_append_char(out, ']');
	wl_llm_put_text(out, "model", front->model);
	wl_buffer_appendf(out, ",\"usage\":{\"prompt_tokens\":%llu,\"total_tokens\":%llu}}",
			  (unsigned long long)usage->prompt, (unsigned long long)usage->prompt);
}
