/* The demo provider with a schema of anybody's (the first line) and a prompt: an answer that is JSON, or a fault. */
#include "lib/codec/json.h"
#include "lib/llm/calls.h"
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>

static void ask_demo_for(const char *schema, const char *prompt, bool as_tool)
{
	const struct wl_model_message message = { .role = WL_MODEL_USER, .text = prompt };
	const struct wl_model_tool tool = { "tool", prompt, schema, false };
	const struct wl_model_request request = { .messages = &message,
						  .message_count = 1,
						  .tools = &tool,
						  .tool_count = as_tool,
						  .schema = as_tool ? NULL : schema };
	struct wl_model_answer answer = { 0 };
	struct wl_json *json = NULL, *parsed = NULL;
	struct wl_error err = { 0 };
	int result = wl_llm_demo_call(&request, NULL, &answer, &err);
	FUZZ_ASSERT((result == 0) == (answer.fault == WL_MODEL_FAULT_NONE));
	const char *text = as_tool && answer.tool_use_count ? answer.tool_uses[0].arguments : answer.text;
	/* depth: examples and defaults are repeated within */
	if (result == 0 && schema && wl_json_parse(schema, strlen(schema), &parsed, NULL) == 0)
		FUZZ_ASSERT(text && wl_json_parse_deep(text, strlen(text), 4 * WL_JSON_DEPTH, &json, NULL) == 0);
	wl_json_free(json);
	wl_json_free(parsed);
	wl_model_answer_release(&answer);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
	char *schema = malloc(length + 1);
	FUZZ_ASSERT(schema);
	memcpy(schema, bytes, length);
	schema[length] = '\0';
	char *prompt = strchr(schema, '\n');
	if (prompt)
		*prompt++ = '\0';
	struct wl_json *json = NULL;
	const char *words = prompt ? prompt : "do";
	/* the callers of the demo have looked at both */
	if (wl_json_parse(schema, strlen(schema), &json, NULL) == 0 && wl_json_is(json, WL_JSON_OBJECT)) {
		struct wl_json *text = wl_json_new_string(words);
		ask_demo_for(schema, wl_json_string(text, ""), false);
		ask_demo_for(schema, wl_json_string(text, ""), true);
		wl_json_free(text);
	}
	ask_demo_for(NULL, words, false);
	wl_json_free(json);
	free(schema);
	return 0;
}
