/* What the formats' requests have in common. */
#include "lib/llm/wire.h"

#include "lib/base/cleanup.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <string.h>

void wl_llm_put_string(struct wl_buffer *body, const char *text)
{
	(void)wl_buffer_append_json_string(body, text ? text : "", text ? strlen(text) : 0);
}

void wl_llm_put_text(struct wl_buffer *body, const char *name, const char *text)
{
	(void)wl_buffer_appendf(body, ",\"%s\":", name);
	wl_llm_put_string(body, text);
}

void wl_llm_put_image_url(struct wl_buffer *body, const struct wl_model_image *image)
{
	if (image->url) {
		wl_llm_put_string(body, image->url);
		return;
	}
	/* base64 and media types have nothing to escape: wl_llm_check_request() has looked */
	(void)wl_buffer_append_text(body, "\"data:");
	(void)wl_buffer_append_text(body, image->media_type);
	(void)wl_buffer_append_text(body, ";base64,");
	(void)wl_buffer_append_text(body, image->base64);
	(void)wl_buffer_append_char(body, '"');
}

void wl_llm_put_sampling(struct wl_buffer *body, const struct wl_llm_ask *ask)
{
	const struct wl_model_request *request = ask->request;
	if (ask->dialect & WL_LLM_DIALECT_NO_SAMPLING)
		return;
	if (isfinite(request->temperature))
		(void)wl_buffer_appendf(body, ",\"temperature\":%.9g", request->temperature);
	if (isfinite(request->top_p) && !(ask->dialect & WL_LLM_DIALECT_NO_TOP_P))
		(void)wl_buffer_appendf(body, ",\"top_p\":%.9g", request->top_p);
}

/* Some servers refuse stop words of white space alone; they are looked for here, as all of them are. */
static bool is_blank(const char *text)
{
	return text[strspn(text, " \t\r\n")] == '\0';
}

void wl_llm_put_stops(struct wl_buffer *body, const struct wl_llm_ask *ask, const char *name)
{
	int count = 0;
	if (ask->dialect & WL_LLM_DIALECT_NO_STOP)
		return;
	for (size_t i = 0; i < ask->request->stop_count; i++) {
		if (is_blank(ask->request->stops[i]))
			continue;
		if (count++ == 0)
			(void)wl_buffer_appendf(body, ",\"%s\":[", name);
		else
			(void)wl_buffer_append_char(body, ',');
		wl_llm_put_string(body, ask->request->stops[i]);
	}
	if (count)
		(void)wl_buffer_append_char(body, ']');
}

void wl_llm_put_object(struct wl_buffer *body, const char *json)
{
	_wl_json_ struct wl_json *value = NULL;
	if (json && wl_json_parse(json, strlen(json), &value, NULL) == 0 && wl_json_is(value, WL_JSON_OBJECT)) {
		(void)wl_json_write(body, value);
		return;
	}
	(void)wl_buffer_append_text(body, json && *json ? "{\"arguments\":" : "{");
	if (json && *json)
		wl_llm_put_string(body, json);
	(void)wl_buffer_append_char(body, '}');
}

/* ---- tools as OpenAI has them ----------------------------------------------------------------------------------- */

static void put_tool(struct wl_buffer *body, const struct wl_llm_ask *ask, const struct wl_model_tool *tool,
		     bool nested)
{
	(void)wl_buffer_append_text(body, nested ? "{\"type\":\"function\",\"function\":{\"name\":"
						 : "{\"type\":\"function\",\"name\":");
	wl_llm_put_string(body, tool->name);
	if (tool->description && *tool->description)
		wl_llm_put_text(body, "description", tool->description);
	(void)wl_buffer_append_text(body, ",\"parameters\":");
	(void)wl_buffer_append_text(body,
				    tool->parameters ? tool->parameters : "{\"type\":\"object\",\"properties\":{}}");
	bool strict = tool->strict && tool->parameters && wl_llm_schema_is_strict(tool->parameters);
	if (!(ask->dialect & WL_LLM_DIALECT_NO_STRICT) && (strict || !nested))
		(void)wl_buffer_append_text(body, strict ? ",\"strict\":true" : ",\"strict\":false");
	(void)wl_buffer_append_text(body, nested ? "}}" : "}");
}

static void put_choice(struct wl_buffer *body, const struct wl_llm_ask *ask, bool nested)
{
	const struct wl_model_request *request = ask->request;
	const char *name = request->tool_choice == WL_MODEL_TOOL_NAMED ? request->tool_choice_name : NULL;
	bool schema = wl_llm_schema_by_tool(ask);
	if (schema && request->tool_count == 0)
		name = wl_llm_schema_name(request);
	(void)wl_buffer_append_text(body, ",\"tool_choice\":");
	if (name) {
		(void)wl_buffer_append_text(body, nested ? "{\"type\":\"function\",\"function\":{\"name\":"
							 : "{\"type\":\"function\",\"name\":");
		wl_llm_put_string(body, name);
		(void)wl_buffer_append_text(body, nested ? "}}" : "}");
	} else if (schema || request->tool_choice == WL_MODEL_TOOL_REQUIRED) {
		(void)wl_buffer_append_text(body, "\"required\"");
	} else {
		(void)wl_buffer_append_text(body, request->tool_choice == WL_MODEL_TOOL_NONE ? "\"none\"" : "\"auto\"");
	}
}

void wl_llm_put_openai_tools(struct wl_buffer *body, const struct wl_llm_ask *ask, bool nested)
{
	const struct wl_model_request *request = ask->request;
	bool schema = wl_llm_schema_by_tool(ask);
	if (request->tool_count == 0 && !schema)
		return;
	(void)wl_buffer_append_text(body, ",\"tools\":[");
	for (size_t i = 0; i < request->tool_count; i++) {
		if (i)
			(void)wl_buffer_append_char(body, ',');
		put_tool(body, ask, &request->tools[i], nested);
	}
	if (schema) {
		const struct wl_model_tool answer = { .name = wl_llm_schema_name(request),
						      .description = "Gives the final answer.",
						      .parameters = request->schema,
						      .strict = true };
		if (request->tool_count)
			(void)wl_buffer_append_char(body, ',');
		put_tool(body, ask, &answer, nested);
	}
	(void)wl_buffer_append_char(body, ']');
	put_choice(body, ask, nested);
	if (request->single_tool_use && !(ask->dialect & WL_LLM_DIALECT_NO_PARALLEL))
		(void)wl_buffer_append_text(body, ",\"parallel_tool_calls\":false");
}

/* ---- schemas ---------------------------------------------------------------------------------------------------- */

/* Tools carry objects only: another schema goes by the prompt. */
static bool is_object_schema(const char *schema)
{
	_wl_json_ struct wl_json *json = NULL;
	return wl_json_parse(schema, strlen(schema), &json, NULL) == 0 &&
	       strcmp(wl_json_get_string(json, "type", wl_json_get(json, "properties") ? "object" : ""), "object") == 0;
}

bool wl_llm_schema_by_prompt(const struct wl_llm_ask *ask)
{
	if (!ask->request->schema)
		return false;
	return (ask->dialect & WL_LLM_DIALECT_SCHEMA_PROMPT) ||
	       ((ask->dialect & WL_LLM_DIALECT_SCHEMA_TOOL) && !is_object_schema(ask->request->schema));
}

bool wl_llm_schema_by_tool(const struct wl_llm_ask *ask)
{
	return ask->request->schema && (ask->dialect & WL_LLM_DIALECT_SCHEMA_TOOL) && !wl_llm_schema_by_prompt(ask);
}

const char *wl_llm_schema_name(const struct wl_model_request *request)
{
	return request->schema_name && *request->schema_name ? request->schema_name : "answer";
}

void wl_llm_put_schema_prompt(struct wl_buffer *text, const char *schema)
{
	(void)wl_buffer_append_text(text,
				    "Answer with one JSON value and nothing else: no other words, no code fences. "
				    "It has to fit this JSON Schema:\n");
	(void)wl_buffer_append_text(text, schema);
}

static bool requires_all(const struct wl_json *schema)
{
	const struct wl_json *properties = wl_json_get(schema, "properties");
	const struct wl_json *required = wl_json_get(schema, "required");
	if (wl_json_bool(wl_json_get(schema, "additionalProperties"), true))
		return false;
	for (const struct wl_json *one = wl_json_first(properties); one; one = wl_json_next(one)) {
		const struct wl_json *name = wl_json_first(required);
		while (name && strcmp(wl_json_string(name, ""), wl_json_key(one)) != 0)
			name = wl_json_next(name);
		if (!name)
			return false;
	}
	return true;
}

static bool is_strict(const struct wl_json *schema)
{
	bool object =
		wl_json_get(schema, "properties") || strcmp(wl_json_get_string(schema, "type", ""), "object") == 0;
	if (object && wl_json_is(schema, WL_JSON_OBJECT) && !requires_all(schema))
		return false;
	/* whatever else is in it may hold schemas, too */
	for (const struct wl_json *one = wl_json_first(schema); one; one = wl_json_next(one))
		if ((wl_json_is(one, WL_JSON_OBJECT) || wl_json_is(one, WL_JSON_ARRAY)) && !is_strict(one))
			return false;
	return true;
}

bool wl_llm_schema_is_strict(const char *schema)
{
	_wl_json_ struct wl_json *json = NULL;
	return wl_json_parse(schema, strlen(schema), &json, NULL) == 0 && wl_json_get(json, "properties") &&
	       is_strict(json);
}

/* ---- checking --------------------------------------------------------------------------------------------------- */

static bool is_name(const char *name)
{
	size_t length = name ? strlen(name) : 0;
	for (size_t i = 0; i < length; i++)
		if (!isalnum((unsigned char)name[i]) && name[i] != '_' && name[i] != '-')
			return false;
	return length > 0 && length <= WL_MODEL_TOOL_NAME_MAX;
}

static bool is_plain(const char *text, const char *signs)
{
	for (; *text; text++)
		if (!isalnum((unsigned char)*text) && !strchr(signs, *text))
			return false;
	return true;
}

static bool is_schema(const char *text)
{
	_wl_json_ struct wl_json *json = NULL;
	return wl_json_parse(text, strlen(text), &json, NULL) == 0 && wl_json_is(json, WL_JSON_OBJECT);
}

static int check_images(const struct wl_model_message *message, struct wl_error *err)
{
	for (size_t i = 0; i < message->image_count; i++) {
		const struct wl_model_image *image = &message->images[i];
		if (image->url)
			continue;
		if (!image->base64 || !image->media_type || !is_plain(image->media_type, "/+.-") ||
		    !is_plain(image->base64, "+/="))
			return wl_fail(err, EINVAL, "a picture is neither a URL nor base64 with a media type");
	}
	return 0;
}

int wl_llm_check_request(const struct wl_model_request *request, struct wl_error *err)
{
	if (request->message_count == 0)
		return wl_fail(err, EINVAL, "a request to a model has no messages");
	if (request->tool_count > WL_MODEL_TOOLS_MAX || request->stop_count > WL_MODEL_STOPS_MAX)
		return wl_fail(err, EINVAL, "a request to a model has at most %d tools and %d stop words",
			       WL_MODEL_TOOLS_MAX, WL_MODEL_STOPS_MAX);
	for (size_t i = 0; i < request->tool_count; i++) {
		const struct wl_model_tool *tool = &request->tools[i];
		if (!is_name(tool->name))
			return wl_fail(err, EINVAL, "'%.80s' is no name for a tool", tool->name ? tool->name : "");
		if (tool->parameters && !is_schema(tool->parameters))
			return wl_fail(err, EINVAL, "the parameters of the tool '%s' are no JSON Schema", tool->name);
	}
	if (request->tool_choice == WL_MODEL_TOOL_NAMED && !is_name(request->tool_choice_name))
		return wl_fail(err, EINVAL, "the tool that has to be used has no name");
	if (request->schema && !is_schema(request->schema))
		return wl_fail(err, EINVAL, "the schema of the answer is no JSON Schema");
	if (request->schema_name && *request->schema_name && !is_name(request->schema_name))
		return wl_fail(err, EINVAL, "'%.80s' is no name for a schema", request->schema_name);
	for (size_t i = 0; i < request->message_count; i++)
		if (check_images(&request->messages[i], err) < 0)
			return -err->code;
	return 0;
}
