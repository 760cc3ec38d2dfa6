/*
 * Asks models by lib/llm as the platform does: one question a line on standard input, one answer a line on standard
 * output, both JSON. For tests against servers that are no part of a C test, such as a real one. A question:
 *
 *   {"chain": [{"type", "base_url", "api_key", "model", "max_retries", "max_rpm"}], "stream", "messages": [{"role",
 *    "text", "tool_use_id", "tool_uses": [{"id", "name", "arguments"}]}], "tools": [{"name", "description",
 *    "parameters"}], "tool_choice", "schema", "stops", "temperature", "max_tokens", "timeout_ms"}
 *
 * or {"chain", "embed": [texts]} or {"chain", "models": true}.
 */
#include "lib/base/cleanup.h"
#include "lib/codec/json.h"
#include "lib/llm/llm.h"

#include <math.h>
#include <string.h>

#define CHAIN_MAX 4
#define MESSAGES_MAX 32
#define USES_MAX 8

struct question {
	struct wl_json *json;
	struct wl_llm_provider chain[CHAIN_MAX];
	size_t chain_count;
	struct wl_model_message messages[MESSAGES_MAX];
	struct wl_model_tool_use uses[MESSAGES_MAX][USES_MAX];
	struct wl_model_tool tools[USES_MAX];
	char *schemas[USES_MAX + 1];
	const char *stops[WL_MODEL_STOPS_MAX];
	struct wl_model_request request;
	struct wl_model_stream stream;
	struct wl_buffer heard;
	int pieces;
};

static int position(const char *const *words, size_t count, const char *word)
{
	for (size_t i = 0; i < count; i++)
		if (strcmp(words[i], word) == 0)
			return (int)i;
	return 0;
}

static void read_chain(struct question *question)
{
	static const char *const types[] = {
#define X(name, word, url) word,
		WL_LLM_TYPES(X)
#undef X
	};
	for (const struct wl_json *one = wl_json_first(wl_json_get(question->json, "chain"));
	     one && question->chain_count < CHAIN_MAX; one = wl_json_next(one)) {
		int type = position(types, WL_COUNT_OF(types), wl_json_get_string(one, "type", ""));
		question->chain[question->chain_count++] = (struct wl_llm_provider){
			.id = wl_json_get_string(one, "id", wl_json_get_string(one, "base_url", NULL)),
			.type = (enum wl_llm_type)type,
			.base_url = wl_json_get_string(one, "base_url", NULL),
			.api_key = wl_json_get_string(one, "api_key", NULL),
			.default_model = wl_json_get_string(one, "model", NULL),
			.max_retries = (int)wl_json_get_number(one, "max_retries", 0),
			.max_rpm = (int)wl_json_get_number(one, "max_rpm", 0),
			.timeout_ms = (uint32_t)wl_json_get_number(one, "timeout_ms", 0),
		};
	}
}

static void read_messages(struct question *question)
{
	static const char *const roles[] = { "system", "user", "assistant", "tool" };
	size_t count = 0;
	for (const struct wl_json *one = wl_json_first(wl_json_get(question->json, "messages"));
	     one && count < MESSAGES_MAX; one = wl_json_next(one), count++) {
		struct wl_model_message *message = &question->messages[count];
		struct wl_model_tool_use *uses = question->uses[count];
		*message = (struct wl_model_message){
			.role = (enum wl_model_role)position(roles, 4, wl_json_get_string(one, "role", "user")),
			.text = wl_json_get_string(one, "text", NULL),
			.tool_use_id = wl_json_get_string(one, "tool_use_id", NULL),
			.tool_uses = uses,
		};
		for (const struct wl_json *use = wl_json_first(wl_json_get(one, "tool_uses"));
		     use && message->tool_use_count < USES_MAX; use = wl_json_next(use))
			uses[message->tool_use_count++] = (struct wl_model_tool_use){
				.id = (char *)wl_json_get_string(use, "id", ""),
				.name = (char *)wl_json_get_string(use, "name", ""),
				.arguments = (char *)wl_json_get_string(use, "arguments", "{}"),
			};
	}
	question->request.messages = question->messages;
	question->request.message_count = count;
}

static void read_tools(struct question *question)
{
	static const char *const choices[] = { "auto", "none", "required", "named" };
	struct wl_model_request *request = &question->request;
	for (const struct wl_json *one = wl_json_first(wl_json_get(question->json, "tools"));
	     one && request->tool_count < USES_MAX; one = wl_json_next(one)) {
		const struct wl_json *schema = wl_json_get(one, "parameters");
		char *text = schema ? wl_json_print(schema) : NULL;
		question->schemas[request->tool_count] = text;
		question->tools[request->tool_count++] = (struct wl_model_tool){
			.name = wl_json_get_string(one, "name", ""),
			.description = wl_json_get_string(one, "description", NULL),
			.parameters = text,
		};
	}
	request->tools = question->tools;
	request->tool_choice = (enum wl_model_tool_choice)position(
		choices, 4, wl_json_get_string(question->json, "tool_choice", "auto"));
	request->tool_choice_name = wl_json_get_string(question->json, "tool_choice_name", NULL);
}

static void hear(void *context, const char *text, size_t length)
{
	struct question *question = context;
	(void)wl_buffer_append(&question->heard, text, length);
	question->pieces++;
}

static void read_question(struct question *question)
{
	const struct wl_json *json = question->json;
	struct wl_model_request *request = &question->request;
	*request = (struct wl_model_request){ .cancel_fd = -1 };
	read_chain(question);
	read_messages(question);
	read_tools(question);
	for (const struct wl_json *one = wl_json_first(wl_json_get(json, "stops"));
	     one && request->stop_count < WL_MODEL_STOPS_MAX; one = wl_json_next(one))
		question->stops[request->stop_count++] = wl_json_string(one, "");
	request->stops = question->stops;
	if (wl_json_get(json, "schema"))
		request->schema = question->schemas[USES_MAX] = wl_json_print(wl_json_get(json, "schema"));
	request->temperature = wl_json_get_number(json, "temperature", NAN);
	request->top_p = NAN;
	request->max_tokens = (int)wl_json_get_number(json, "max_tokens", 0);
	request->timeout_ms = (uint32_t)wl_json_get_number(json, "timeout_ms", 0);
	question->stream = (struct wl_model_stream){ .context = question, .text = hear };
	if (wl_json_get_bool(json, "stream", false))
		request->stream = &question->stream;
}

static void write_answer(const struct question *question, const struct wl_model_answer *answer,
			 const struct wl_error *err, struct wl_json *into)
{
	static const char *const ends[] = { "stop", "length", "tools" };
	struct wl_json *tools = wl_json_array(), *usage = wl_json_object();
	for (size_t i = 0; i < answer->tool_use_count; i++) {
		struct wl_json *use = wl_json_object();
		wl_json_set_string(use, "id", answer->tool_uses[i].id);
		wl_json_set_string(use, "name", answer->tool_uses[i].name);
		wl_json_set_string(use, "arguments", answer->tool_uses[i].arguments);
		wl_json_append(tools, use);
	}
	wl_json_set_number(usage, "prompt", (double)answer->usage.prompt);
	wl_json_set_number(usage, "completion", (double)answer->usage.completion);
	wl_json_set_number(usage, "cached", (double)answer->usage.cached);
	wl_json_set_number(usage, "cache_write", (double)answer->usage.cache_write);
	wl_json_set_number(usage, "reasoning", (double)answer->usage.reasoning);
	wl_json_set_bool(usage, "estimated", answer->usage.estimated);
	wl_json_set_string(into, "text", answer->text);
	wl_json_set(into, "tools", tools);
	wl_json_set(into, "usage", usage);
	wl_json_set_string(into, "end", ends[answer->end]);
	wl_json_set_string(into, "fault", wl_model_fault_word(answer->fault));
	wl_json_set_string(into, "error", answer->fault ? err->text : NULL);
	wl_json_set_string(into, "model", answer->model);
	wl_json_set_string(into, "provider", answer->provider_id);
	wl_json_set_string(into, "heard", question->heard.data);
	wl_json_set_number(into, "pieces", question->pieces);
	wl_json_set_number(into, "attempts", answer->attempts);
	wl_json_set_number(into, "first_us", (double)answer->first_us);
	wl_json_set_number(into, "total_us", (double)answer->total_us);
}

static void embed(struct wl_llm *llm, struct question *question, struct wl_json *into)
{
	const char *texts[MESSAGES_MAX];
	size_t count = 0, dimensions = 0;
	float *vectors = NULL;
	enum wl_model_fault fault;
	struct wl_model_usage usage = { 0 };
	struct wl_error err = { 0 };
	for (const struct wl_json *one = wl_json_first(wl_json_get(question->json, "embed"));
	     one && count < MESSAGES_MAX; one = wl_json_next(one))
		texts[count++] = wl_json_string(one, "");
	(void)wl_llm_embed(llm, question->chain, NULL, texts, count, 0, -1, &vectors, &dimensions, &usage, &fault,
			   &err);
	struct wl_json *list = wl_json_array();
	for (size_t i = 0; vectors && i < count * dimensions; i++)
		wl_json_append(list, wl_json_new_number((double)vectors[i]));
	wl_json_set(into, "vectors", list);
	wl_json_set_number(into, "dimensions", (double)dimensions);
	wl_json_set_string(into, "fault", wl_model_fault_word(fault));
	wl_json_set_string(into, "error", err.text);
	free(vectors);
}

static void list_models(struct wl_llm *llm, const struct question *question, struct wl_json *into)
{
	char *models = NULL;
	enum wl_model_fault fault;
	struct wl_error err = { 0 };
	(void)wl_llm_models(llm, question->chain, 0, &models, &fault, &err);
	if (models)
		wl_json_set_raw(into, "models", models);
	wl_json_set_string(into, "fault", wl_model_fault_word(fault));
	wl_json_set_string(into, "error", err.text);
	free(models);
}

static int serve(struct wl_llm *llm, const char *line)
{
	struct question *question = calloc(1, sizeof(*question));
	struct wl_error err = { 0 };
	_wl_json_ struct wl_json *into = wl_json_object();
	if (!question || wl_json_parse(line, strlen(line), &question->json, &err) < 0) {
		(void)fprintf(stderr, "llm-ask: %s\n", err.text);
		free(question);
		return -1;
	}
	wl_buffer_init(&question->heard, 0);
	read_question(question);
	if (wl_json_get(question->json, "embed")) {
		embed(llm, question, into);
	} else if (wl_json_get(question->json, "models")) {
		list_models(llm, question, into);
	} else {
		_wl_model_answer_ struct wl_model_answer answer = { 0 };
		(void)wl_llm_call(llm, question->chain, question->chain_count, &question->request, &answer, &err);
		write_answer(question, &answer, &err, into);
	}
	_wl_free_ char *text = wl_json_print(into);
	(void)printf("%s\n", text);
	(void)fflush(stdout);
	for (size_t i = 0; i <= USES_MAX; i++)
		free(question->schemas[i]);
	wl_buffer_release(&question->heard);
	wl_json_free(question->json);
	free(question);
	return 0;
}

int main(void)
{
	struct wl_egress_rules rules;
	struct wl_llm *llm = NULL;
	struct wl_error err = { 0 };
	_wl_free_ char *line = NULL;
	size_t room = 0;
	int result = 0;
	if (wl_egress_rules_read("127.0.0.0/8", &rules, &err) < 0 || wl_llm_new(&rules, &llm, &err) < 0) {
		(void)fprintf(stderr, "llm-ask: %s\n", err.text);
		return 1;
	}
	while (result == 0 && getline(&line, &room, stdin) > 0)
		result = serve(llm, line);
	wl_llm_free(llm);
	return result ? 1 : 0;
}
