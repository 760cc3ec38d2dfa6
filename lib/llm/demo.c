/*
 * The demo provider: no model, but rules, so that crews run without a key, at no cost and each time the same.
 *
 *   1. A schema is asked for: the answer is a value that fits it.
 *   2. There are tools, and none was used since the last word of the user: the tool that the user names, or else the
 *      first one, is used once, with arguments made from its schema and the user's words. tool_choice is heeded.
 *   3. The prompt describes tools as text (ReAct: "Action:", "Action Input:"): the same in that form.
 *   4. Otherwise the answer says that it is a demo and repeats the task, or what the tools gave.
 *
 * Words of a value: const, default, the first of examples or enum, else the user's words; a coworker is the first one
 * that the tool's description lists. A token is four bytes.
 */
#include "lib/base/cleanup.h"
#include "lib/llm/calls.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <string.h>
#include <strings.h>

#define TASK_MAX 300 /* bytes of the user's words that are repeated */
#define PIECE 12     /* bytes of a streamed piece, about */
#define DEPTH_MAX 12
#define TOKEN_BYTES 4
#define ANSWER_MAX (256u << 10) /* bytes: lists in lists of a schema multiply */
#define SPOKEN_BY "[demo, no language model] "

struct demo {
	const struct wl_model_request *request;
	char task[TASK_MAX + 1];
	const char *coworkers; /* of the tool's description */
	struct wl_buffer text;
	struct wl_buffer arguments;
	const struct wl_model_tool *tool; /* that is used */
};

static void cut_text(const char *from, size_t length, char *to, size_t room)
{
	while (length && isspace((unsigned char)*from)) {
		from++;
		length--;
	}
	while (length && isspace((unsigned char)from[length - 1]))
		length--;
	if (length >= room) {
		length = room - 1;
		while (length && ((unsigned char)from[length] & 0xc0) == 0x80)
			length--;
	}
	memcpy(to, from, length);
	to[length] = '\0';
}

static const char *text_of(const struct wl_model_message *message)
{
	return message->text ? message->text : "";
}

/* What stands behind the words with which crews begin a task, ours and CrewAI's; NULL: there are none. */
static const char *behind_task(const char *words)
{
	static const char *const beginnings[] = { "Your task:", "Current Task:" };
	for (size_t i = 0; i < WL_COUNT_OF(beginnings); i++) {
		const char *found = strstr(words, beginnings[i]);
		if (found)
			return found + strlen(beginnings[i]);
	}
	return NULL;
}

/* The user's words: the task when a crew asks, else the last message. */
static void find_task(struct demo *demo)
{
	const struct wl_model_request *request = demo->request;
	const char *words = "";
	for (size_t i = request->message_count; i > 0; i--)
		if (request->messages[i - 1].role == WL_MODEL_USER && *text_of(&request->messages[i - 1]) &&
		    strncmp(request->messages[i - 1].text, "Observation:", 12) != 0) {
			words = request->messages[i - 1].text;
			break;
		}
	const char *task = behind_task(words);
	if (task)
		words = task + strspn(task, " \n");
	const char *end = task ? strstr(words, "\n\n") : NULL;
	if (task && !end)
		end = strstr(words, "\nThis is the expected criteria");
	cut_text(words, end ? (size_t)(end - words) : strlen(words), demo->task, sizeof(demo->task));
}

/* ---- values that fit a schema ----------------------------------------------------------------------------------- */

static void put_value(struct demo *demo, const char *name, const struct wl_json *schema, int depth,
		      struct wl_buffer *into);

static const struct wl_json *given_value(const struct wl_json *schema)
{
	const struct wl_json *value = wl_json_get(schema, "const");
	if (!value)
		value = wl_json_get(schema, "default");
	if (!value)
		value = wl_json_at(wl_json_get(schema, "examples"), 0);
	return value ? value : wl_json_at(wl_json_get(schema, "enum"), 0);
}

static bool is_required(const struct wl_json *schema, const char *name)
{
	for (const struct wl_json *one = wl_json_first(wl_json_get(schema, "required")); one; one = wl_json_next(one))
		if (strcmp(wl_json_string(one, ""), name) == 0)
			return true;
	return false;
}

static void put_object(struct demo *demo, const struct wl_json *schema, int depth, struct wl_buffer *into)
{
	bool all = !wl_json_get(schema, "required");
	int count = 0;
	(void)wl_buffer_append_char(into, '{');
	for (const struct wl_json *one = wl_json_first(wl_json_get(schema, "properties")); one;
	     one = wl_json_next(one)) {
		if (!all && !is_required(schema, wl_json_key(one)))
			continue;
		if (count++)
			(void)wl_buffer_append_char(into, ',');
		wl_llm_put_string(into, wl_json_key(one));
		(void)wl_buffer_append_char(into, ':');
		put_value(demo, wl_json_key(one), one, depth + 1, into);
	}
	(void)wl_buffer_append_char(into, '}');
}

static void put_array(struct demo *demo, const struct wl_json *schema, int depth, struct wl_buffer *into)
{
	int count = (int)fmin(fmax(wl_json_get_number(schema, "minItems", 1), 0), 100);
	const struct wl_json *items = wl_json_get(schema, "items");
	(void)wl_buffer_append_char(into, '[');
	for (int i = 0; i < count && depth < DEPTH_MAX && !into->failed; i++) {
		if (i)
			(void)wl_buffer_append_char(into, ',');
		put_value(demo, "", items, depth + 1, into);
	}
	(void)wl_buffer_append_char(into, ']');
}

static void put_number(const struct demo *demo, const struct wl_json *schema, bool whole, struct wl_buffer *into)
{
	/* the first number of the user's words, within the bounds */
	const char *digits = demo->task + strcspn(demo->task, "0123456789");
	double least = wl_json_get_number(schema, "minimum", wl_json_get_number(schema, "exclusiveMinimum", -INFINITY));
	double most = wl_json_get_number(schema, "maximum", wl_json_get_number(schema, "exclusiveMaximum", INFINITY));
	double number = *digits ? strtod(digits, NULL) : 1;
	double step = wl_json_get(schema, "exclusiveMinimum") || wl_json_get(schema, "exclusiveMaximum") ? 1 : 0;
	number = isfinite(number) && number < 1e15 ? number : 1;
	if (number < least + step && isfinite(least))
		number = least + step;
	if (number > most - step && isfinite(most))
		number = most - step;
	(void)wl_buffer_appendf(into, "%.15g", whole ? floor(number) : number);
}

static void put_words(const struct demo *demo, const char *name, const struct wl_json *schema, struct wl_buffer *into)
{
	char words[TASK_MAX + 1];
	double most = wl_json_get_number(schema, "maxLength", TASK_MAX);
	size_t room = most >= 0 && most < TASK_MAX ? (size_t)most + 1 : sizeof(words);
	const char *format = wl_json_get_string(schema, "format", "");
	const char *text = *demo->task ? demo->task : "demo";
	size_t length = strlen(text);
	if (strcmp(name, "coworker") == 0 && demo->coworkers) {
		text = demo->coworkers;
		length = strcspn(text, ",;\n.");
	} else if (strcmp(format, "date") == 0 || strcmp(format, "date-time") == 0) {
		text = strcmp(format, "date") == 0 ? "2025-01-01" : "2025-01-01T00:00:00Z";
		length = strlen(text);
	} else if (strcmp(format, "email") == 0 || strcmp(format, "uri") == 0) {
		text = strcmp(format, "email") == 0 ? "demo@example.org" : "https://example.org/";
		length = strlen(text);
	}
	cut_text(text, length, words, room);
	wl_llm_put_string(into, words);
}

static void put_value(struct demo *demo, const char *name, const struct wl_json *schema, int depth,
		      struct wl_buffer *into)
{
	const struct wl_json *given = given_value(schema);
	const struct wl_json *types = wl_json_get(schema, "type");
	const char *type = wl_json_string(wl_json_is(types, WL_JSON_ARRAY) ? wl_json_at(types, 0) : types, "");
	static const char *const choices[] = { "anyOf", "oneOf", "allOf" };
	if (given) {
		(void)wl_json_write(into, given);
		return;
	}
	for (size_t i = 0; i < WL_COUNT_OF(choices) && !*type && depth < DEPTH_MAX; i++)
		if (wl_json_at(wl_json_get(schema, choices[i]), 0)) {
			put_value(demo, name, wl_json_at(wl_json_get(schema, choices[i]), 0), depth + 1, into);
			return;
		}
	if (strcmp(type, "array") == 0)
		put_array(demo, schema, depth, into);
	else if ((strcmp(type, "object") == 0 || wl_json_get(schema, "properties")) && depth < DEPTH_MAX)
		put_object(demo, schema, depth, into);
	else if (strcmp(type, "integer") == 0 || strcmp(type, "number") == 0)
		put_number(demo, schema, type[0] == 'i', into);
	else if (strcmp(type, "boolean") == 0 || strcmp(type, "null") == 0)
		(void)wl_buffer_append_text(into, type[0] == 'b' ? "true" : "null");
	else
		put_words(demo, name, schema, into);
}

static void put_by_schema(struct demo *demo, const char *schema, struct wl_buffer *into)
{
	_wl_json_ struct wl_json *json = NULL;
	if (schema && wl_json_parse(schema, strlen(schema), &json, NULL) == 0)
		put_value(demo, "", json, 0, into);
	else
		(void)wl_buffer_append_text(into, "{}");
}

/* ---- tools ------------------------------------------------------------------------------------------------------ */

/* Where the names of coworkers begin in a description, or NULL. */
static const char *find_coworkers(const char *description)
{
	const char *at = description ? strcasestr(description, "coworkers:") : NULL;
	if (!at)
		return NULL;
	at += strlen("coworkers:");
	return at + strspn(at, " \n[\"'");
}

/* The results of tools since the last word of the user; NULL: there are none. */
static const char *last_result(const struct wl_model_request *request)
{
	for (size_t i = request->message_count; i > 0; i--) {
		const struct wl_model_message *message = &request->messages[i - 1];
		if (message->role == WL_MODEL_TOOL)
			return text_of(message);
		if (message->role == WL_MODEL_USER)
			return NULL;
	}
	return NULL;
}

static const struct wl_model_tool *choose_tool(const struct demo *demo)
{
	const struct wl_model_request *request = demo->request;
	const char *wanted = request->tool_choice == WL_MODEL_TOOL_NAMED ? request->tool_choice_name : NULL;
	bool may = request->tool_count && request->tool_choice != WL_MODEL_TOOL_NONE;
	bool must = wanted || request->tool_choice == WL_MODEL_TOOL_REQUIRED;
	if (!may || (!must && last_result(request)))
		return NULL;
	for (size_t i = 0; i < request->tool_count; i++)
		if (strcmp(request->tools[i].name, wanted ? wanted : "") == 0 ||
		    (!wanted && strstr(demo->task, request->tools[i].name)))
			return &request->tools[i];
	return wanted ? NULL : &request->tools[0];
}

/* ---- ReAct ------------------------------------------------------------------------------------------------------ */

/* The message that explains the form, or NULL. */
static const char *react_rules(const struct wl_model_request *request)
{
	for (size_t i = 0; i < request->message_count; i++) {
		const char *text = text_of(&request->messages[i]);
		if (request->messages[i].role <= WL_MODEL_USER && strstr(text, "Action:") &&
		    strstr(text, "Action Input:") && strstr(text, "Final Answer:"))
			return text;
	}
	return NULL;
}

/* The last observation, which stands at the end of an assistant's or user's message; NULL: none yet. */
static const char *react_result(const struct wl_model_request *request)
{
	for (size_t i = request->message_count; i > 0; i--) {
		const char *text = text_of(&request->messages[i - 1]);
		bool acts = request->messages[i - 1].role == WL_MODEL_ASSISTANT && strstr(text, "Action:");
		const char *at = acts || strncmp(text, "Observation:", 12) == 0 ? strstr(text, "Observation:") : NULL;
		if (at)
			return at + strlen("Observation:");
	}
	return last_result(request);
}

/* The first tool that the rules list: "Tool Name: x", or "one of [x, y]". */
static bool react_tool(const char *rules, char name[128])
{
	const char *at = strstr(rules, "Tool Name:");
	if (at) {
		at += strlen("Tool Name:");
		cut_text(at, strcspn(at, "\n("), name, 128);
		return *name != '\0';
	}
	at = strstr(rules, "Action:");
	at = at ? strchr(at, '[') : NULL;
	if (!at)
		return false;
	at += 1 + strspn(at + 1, " '\"");
	cut_text(at, strcspn(at, ",]'\"\n"), name, 128);
	return *name != '\0';
}

static void put_react_input(struct demo *demo, const char *rules)
{
	const char *at = strstr(rules, "Tool Arguments:");
	at = at ? at + strlen("Tool Arguments:") : NULL;
	_wl_json_ struct wl_json *json = NULL;
	if (at && wl_json_parse(at, strcspn(at, "\n"), &json, NULL) == 0 && wl_json_get(json, "properties")) {
		put_value(demo, "", json, 0, &demo->text);
		return;
	}
	/* {"name": {"description": ..., "type": ...}}: what each argument is */
	(void)wl_buffer_append_char(&demo->text, '{');
	for (const struct wl_json *one = wl_json_first(json); one; one = wl_json_next(one)) {
		if (!wl_json_key(one))
			break;
		if (one != wl_json_first(json))
			(void)wl_buffer_append_char(&demo->text, ',');
		wl_llm_put_string(&demo->text, wl_json_key(one));
		(void)wl_buffer_append_char(&demo->text, ':');
		put_value(demo, wl_json_key(one), one, 0, &demo->text);
	}
	if (!wl_json_first(json)) {
		(void)wl_buffer_append_text(&demo->text, "\"input\":");
		wl_llm_put_string(&demo->text, demo->task);
	}
	(void)wl_buffer_append_char(&demo->text, '}');
}

static void put_said(struct demo *demo, const char *result)
{
	char words[TASK_MAX + 1];
	(void)wl_buffer_append_text(&demo->text, SPOKEN_BY);
	if (result) {
		cut_text(result, strlen(result), words, sizeof(words));
		(void)wl_buffer_append_text(&demo->text, "The tool gave: ");
		(void)wl_buffer_append_text(&demo->text, words);
		return;
	}
	(void)wl_buffer_append_text(&demo->text, "You asked: ");
	(void)wl_buffer_append_text(&demo->text, demo->task);
}

static void answer_react(struct demo *demo, const char *rules)
{
	char name[128];
	const char *result = react_result(demo->request);
	demo->coworkers = find_coworkers(rules);
	if (!result && react_tool(rules, name)) {
		(void)wl_buffer_appendf(&demo->text,
					"Thought: " SPOKEN_BY "I use a tool.\nAction: %s\nAction Input: ", name);
		put_react_input(demo, rules);
		(void)wl_buffer_append_text(&demo->text, "\n");
		return;
	}
	(void)wl_buffer_append_text(&demo->text, "Thought: " SPOKEN_BY "I can answer.\nFinal Answer: ");
	put_said(demo, result);
}

/* ---- the answer ------------------------------------------------------------------------------------------------- */

static void decide(struct demo *demo)
{
	const char *rules = react_rules(demo->request);
	demo->tool = choose_tool(demo);
	if (demo->tool) {
		demo->coworkers = find_coworkers(demo->tool->description);
		put_by_schema(demo, demo->tool->parameters, &demo->arguments);
	} else if (demo->request->schema) {
		put_by_schema(demo, demo->request->schema, &demo->text);
	} else if (rules) {
		answer_react(demo, rules);
	} else {
		put_said(demo, last_result(demo->request));
	}
}

/* Stop words and max_tokens are heeded; true when the text was cut for its length. */
static bool cut_answer(struct demo *demo)
{
	const struct wl_model_request *request = demo->request;
	size_t length = demo->text.length, most = (size_t)request->max_tokens * TOKEN_BYTES;
	for (size_t i = 0; i < request->stop_count && demo->text.data; i++) {
		const char *at = *request->stops[i] ? strstr(demo->text.data, request->stops[i]) : NULL;
		if (at && (size_t)(at - demo->text.data) < length)
			length = (size_t)(at - demo->text.data);
	}
	bool cut = request->max_tokens > 0 && length > most;
	if (cut)
		length = most;
	while (cut && length && ((unsigned char)demo->text.data[length] & 0xc0) == 0x80)
		length--;
	if (demo->text.data) {
		demo->text.length = length;
		demo->text.data[length] = '\0';
	}
	return cut;
}

typedef void demo_piece(const struct wl_model_stream *stream, const char *text, size_t length);

static void tell_text(const struct wl_model_stream *stream, const char *text, size_t length)
{
	if (stream->text)
		stream->text(stream->context, text, length);
}

static void tell_arguments(const struct wl_model_stream *stream, const char *text, size_t length)
{
	if (stream->tool_arguments)
		stream->tool_arguments(stream->context, 0, text, length);
}

/* In pieces of whole characters. */
static void tell_in_pieces(const struct wl_model_stream *stream, demo_piece *piece, const struct wl_buffer *text)
{
	for (size_t at = 0; at < text->length;) {
		size_t end = at + PIECE < text->length ? at + PIECE : text->length;
		while (end < text->length && ((unsigned char)text->data[end] & 0xc0) == 0x80)
			end++;
		piece(stream, text->data + at, end - at);
		at = end;
	}
}

static void tell(const struct demo *demo, const char *id)
{
	const struct wl_model_stream *stream = demo->request->stream;
	if (!stream)
		return;
	tell_in_pieces(stream, tell_text, &demo->text);
	if (!demo->tool)
		return;
	if (stream->tool_begin)
		stream->tool_begin(stream->context, 0, id, demo->tool->name);
	tell_in_pieces(stream, tell_arguments, &demo->arguments);
}

static uint64_t tokens(size_t bytes)
{
	return (bytes + TOKEN_BYTES - 1) / TOKEN_BYTES;
}

static uint64_t prompt_tokens(const struct wl_model_request *request)
{
	uint64_t count = 0;
	for (size_t i = 0; i < request->message_count; i++) {
		const struct wl_model_message *message = &request->messages[i];
		count += 1 + tokens(strlen(text_of(message)));
		for (size_t j = 0; j < message->tool_use_count; j++)
			count += 1 +
				 tokens(strlen(message->tool_uses[j].arguments ? message->tool_uses[j].arguments : ""));
	}
	for (size_t i = 0; i < request->tool_count; i++)
		count += 1 + tokens(strlen(request->tools[i].parameters ? request->tools[i].parameters : ""));
	return count + (request->schema ? tokens(strlen(request->schema)) : 0);
}

static int fill(struct demo *demo, const char *id, struct wl_model_answer *answer)
{
	answer->usage.completion = tokens(demo->text.length) + (demo->tool ? 1 + tokens(demo->arguments.length) : 0);
	if (demo->tool) {
		answer->tool_uses = calloc(1, sizeof(*answer->tool_uses));
		if (!answer->tool_uses)
			return -ENOMEM;
		answer->tool_use_count = 1;
		answer->tool_uses[0] = (struct wl_model_tool_use){ .id = strdup(id),
								   .name = strdup(demo->tool->name),
								   .arguments = wl_buffer_steal(&demo->arguments) };
		answer->end = WL_MODEL_END_TOOLS;
		if (!answer->tool_uses[0].id || !answer->tool_uses[0].name)
			return -ENOMEM;
	}
	answer->text = demo->text.length ? wl_buffer_steal(&demo->text) : NULL;
	answer->model = strdup(WL_LLM_DEMO_MODEL);
	return answer->model ? 0 : -ENOMEM;
}

int wl_llm_demo_call(const struct wl_model_request *request, const char *model, struct wl_model_answer *answer,
		     struct wl_error *err)
{
	struct demo demo = { .request = request };
	char id[32];
	if (model && *model && strcmp(model, WL_LLM_DEMO_MODEL) != 0) {
		answer->fault = WL_MODEL_FAULT_MODEL;
		return wl_fail(err, ENOENT,
			       "the demo provider has one model, '" WL_LLM_DEMO_MODEL "', and none '%.80s'", model);
	}
	wl_buffer_init(&demo.text, ANSWER_MAX);
	wl_buffer_init(&demo.arguments, ANSWER_MAX);
	find_task(&demo);
	decide(&demo);
	answer->end = cut_answer(&demo) ? WL_MODEL_END_LENGTH : WL_MODEL_END_STOP;
	answer->usage.prompt = prompt_tokens(request);
	(void)snprintf(id, sizeof(id), "call_%zu_0", request->message_count);
	int failed = -(demo.text.failed ? demo.text.failed : demo.arguments.failed);
	if (!failed) {
		tell(&demo, id);
		failed = fill(&demo, id, answer);
	}
	wl_buffer_release(&demo.text);
	wl_buffer_release(&demo.arguments);
	if (failed == -EMSGSIZE) {
		answer->fault = WL_MODEL_FAULT_REQUEST;
		return wl_fail(err, EINVAL, "a value that fits the schema has more than %u bytes", ANSWER_MAX);
	}
	if (failed) {
		answer->fault = WL_MODEL_FAULT_AWAY;
		return wl_fail(err, ENOMEM, "no memory for an answer");
	}
	return 0;
}

/* ---- vectors ---------------------------------------------------------------------------------------------------- */

static void add_feature(float *vector, const char *text, size_t length, float weight)
{
	uint64_t hash = 0xcbf29ce484222325u;
	for (size_t i = 0; i < length; i++)
		hash = (hash ^ (unsigned char)tolower((unsigned char)text[i])) * 0x100000001b3u;
	hash ^= hash >> 32;
	vector[hash % WL_LLM_DEMO_DIMENSIONS] += hash & 0x10000 ? weight : -weight;
}

/* Words, and three letters of them at a time: texts that share them lie near each other. */
static void embed_one(const char *text, float *vector)
{
	double square = 0;
	for (const char *at = text; *at;) {
		size_t length = 0;
		while (at[length] && (isalnum((unsigned char)at[length]) || (unsigned char)at[length] >= 0x80))
			length++;
		if (length)
			add_feature(vector, at, length, 1.0f);
		for (size_t i = 0; length > 3 && i + 3 <= length; i++)
			add_feature(vector, at + i, 3, 0.3f);
		at += length ? length : 1;
	}
	for (size_t i = 0; i < WL_LLM_DEMO_DIMENSIONS; i++)
		square += (double)vector[i] * (double)vector[i];
	if (square < 1e-12)
		vector[0] = 1;
	for (size_t i = 0; square >= 1e-12 && i < WL_LLM_DEMO_DIMENSIONS; i++)
		vector[i] = (float)((double)vector[i] / sqrt(square));
}

float *wl_llm_demo_embed(const char *const *texts, size_t count)
{
	float *vectors = calloc(count * WL_LLM_DEMO_DIMENSIONS, sizeof(float));
	for (size_t i = 0; vectors && i < count; i++)
		embed_one(texts[i], vectors + i * WL_LLM_DEMO_DIMENSIONS);
	return vectors;
}
