/* Clients' formats: what is read of their requests, and the answers and events that they get. */
#include "lib/base/cleanup.h"
#include "lib/llm/front.h"

#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static struct wl_json *json_of(const char *text)
{
	struct wl_json *json = NULL;
	assert_int_equal(wl_json_parse(text, strlen(text), &json, NULL), 0);
	return json;
}

static void test_a_chat_is_read(void **state)
{
	(void)state;
	struct wl_front front;
	struct wl_error err;
	const char *text =
		"{\"model\":\"p/m\",\"stream\":true,\"stream_options\":{\"include_usage\":true},\"max_tokens\":7,"
		"\"messages\":[{\"role\":\"developer\",\"content\":\"s\"},{\"role\":\"user\",\"content\":["
		"{\"type\":\"text\",\"text\":\"a\"},{\"type\":\"text\",\"text\":\"b\"},{\"type\":\"image_url\","
		"\"image_url\":{\"url\":\"data:image/png;base64,AAAA\"}}]}],\"parallel_tool_calls\":false,"
		"\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\"}}],\"tool_choice\":\"required\","
		"\"stop\":\"x\",\"response_format\":{\"type\":\"json_object\"}}";
	assert_int_equal(wl_front_read(&wl_front_openai, json_of(text), &front, &err), 0);
	const struct wl_model_request *request = &front.request;
	assert_string_equal(front.model, "p/m");
	assert_true(front.stream && front.include_usage && request->single_tool_use);
	assert_int_equal(request->message_count, 2);
	assert_int_equal(request->messages[0].role, WL_MODEL_SYSTEM);
	assert_string_equal(request->messages[1].text, "ab");
	assert_string_equal(request->messages[1].images[0].media_type, "image/png");
	assert_string_equal(request->messages[1].images[0].base64, "AAAA");
	assert_int_equal(request->tool_choice, WL_MODEL_TOOL_REQUIRED);
	assert_int_equal(request->max_tokens, 7);
	assert_string_equal(request->stops[0], "x");
	assert_non_null(request->schema);
	assert_true(isnan(request->temperature));
	wl_front_release(&front);
}

static void test_messages_become_ours(void **state)
{
	(void)state;
	struct wl_front front;
	struct wl_error err;
	const char *text =
		"{\"model\":\"m\",\"max_tokens\":9,\"system\":\"s\",\"messages\":[{\"role\":\"assistant\",\"content\":["
		"{\"type\":\"thinking\",\"thinking\":\"t\"},{\"type\":\"tool_use\",\"id\":\"1\",\"name\":\"f\","
		"\"input\":{\"a\":1}}]},{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"z\"},"
		"{\"type\":\"tool_result\",\"tool_use_id\":\"1\",\"is_error\":true,\"content\":\"y\"}]}]}";
	assert_int_equal(wl_front_read(&wl_front_anthropic, json_of(text), &front, &err), 0);
	const struct wl_model_message *messages = front.request.messages;
	assert_int_equal(front.request.message_count, 4);
	assert_int_equal(messages[0].role, WL_MODEL_SYSTEM);
	assert_string_equal(messages[1].tool_uses[0].arguments, "{\"a\":1}");
	assert_int_equal(messages[2].role, WL_MODEL_TOOL);
	assert_true(messages[2].tool_failed);
	assert_string_equal(messages[3].text, "z");
	wl_front_release(&front);
}

static void test_what_is_wrong_is_named(void **state)
{
	(void)state;
	static const struct {
		const struct wl_front_format *format;
		const char *body, *word;
	} cases[] = {
		{ &wl_front_openai, "[]", "object" },
		{ &wl_front_openai, "{\"messages\":3}", "messages" },
		{ &wl_front_openai, "{\"messages\":[{\"role\":\"user\"}]}", "messages[0].content" },
		{ &wl_front_openai, "{\"messages\":[{\"role\":\"function\",\"content\":\"\"}]}", "messages[0].role" },
		{ &wl_front_openai,
		  "{\"messages\":[{\"role\":\"user\",\"content\":\"x\"}],\"tool_choice\":\"must\","
		  "\"tools\":[{\"function\":{\"name\":\"f\"}}]}",
		  "tool_choice" },
		{ &wl_front_openai, "{\"messages\":[{\"role\":\"user\",\"content\":\"x\"}],\"stop\":[\"\"]}", "stop" },
		{ &wl_front_anthropic, "{\"messages\":[{\"role\":\"user\",\"content\":\"x\"}]}", "max_tokens" },
		{ &wl_front_anthropic, "{\"max_tokens\":1,\"messages\":[{\"role\":\"system\",\"content\":\"x\"}]}",
		  "messages[0].role" },
		{ &wl_front_anthropic,
		  "{\"max_tokens\":1,\"messages\":[{\"role\":\"user\",\"content\":["
		  "{\"type\":\"tool_use\"}]}]}",
		  "messages[0].content" },
		{ &wl_front_anthropic, "{\"max_tokens\":1,\"messages\":[],\"system\":\"s\"}", "messages" },
	};
	for (size_t i = 0; i < WL_COUNT_OF(cases); i++) {
		struct wl_front front;
		struct wl_error err = { 0 };
		assert_int_equal(wl_front_read(cases[i].format, json_of(cases[i].body), &front, &err), -EINVAL);
		assert_non_null(strstr(err.text, cases[i].word));
		wl_front_release(&front);
	}
}

static char *stream_of(const struct wl_front_format *format)
{
	struct wl_buffer out = { 0 };
	struct wl_front_reply reply = { .id = "1", .model = "m", .include_usage = true, .out = &out };
	struct wl_model_tool_use uses[] = { { "a", "f", "{}" }, { "b", "g", "{}" } };
	const struct wl_model_answer answer = { .tool_uses = uses,
						.tool_use_count = 2,
						.usage = { .prompt = 9, .cached = 4, .completion = 2 } };
	format->text(&reply, "hi \"you\"", 8);
	format->tool_begin(&reply, 0, "a", "f");
	format->tool_begin(&reply, 1, "b", "g");
	format->tool_arguments(&reply, 1, "{\"x\"", 4);
	format->tool_arguments(&reply, 0, "{}", 2); /* late, and still the first one's */
	format->end(&reply, &answer);
	return wl_buffer_steal(&out);
}

static void test_streams_are_as_clients_read_them(void **state)
{
	(void)state;
	_wl_free_ char *chunks = stream_of(&wl_front_openai), *events = stream_of(&wl_front_anthropic);
	assert_non_null(strstr(chunks, "\"content\":\"hi \\\"you\\\"\""));
	assert_non_null(strstr(chunks, "[{\"index\":1,\"function\":{\"arguments\":\"{\\\"x\\\"\"}}]"));
	assert_non_null(strstr(chunks, "\"finish_reason\":\"tool_calls\""));
	assert_non_null(strstr(chunks, "\"prompt_tokens\":9"));
	assert_string_equal(chunks + strlen(chunks) - 14, "data: [DONE]\n\n");
	assert_int_equal(strncmp(events, "event: message_start\n", 21), 0);
	assert_non_null(strstr(
		events, "\"index\":2,\"delta\":{\"type\":\"input_json_delta\",\"partial_json\":\"{\\\"x\\\"\"}"));
	assert_non_null(
		strstr(events, "\"index\":1,\"delta\":{\"type\":\"input_json_delta\",\"partial_json\":\"{}\"}"));
	assert_non_null(strstr(events, "\"stop_reason\":\"tool_use\""));
	assert_non_null(strstr(events, "\"input_tokens\":5"));
	assert_non_null(strstr(events, "event: message_stop\n"));
}

static void test_vectors_as_base64_are_their_floats(void **state)
{
	(void)state;
	const float vectors[] = { 1, -2 };
	const struct wl_model_usage usage = { .prompt = 3 };
	const struct wl_front front = { .model = "m", .base64 = true };
	_wl_buffer_ struct wl_buffer out = { 0 };
	wl_front_put_embeddings(&out, &front, vectors, 2, 1, &usage);
	assert_non_null(strstr(out.data, "\"embedding\":\"AACAPw==\""));
	assert_non_null(strstr(out.data, "\"embedding\":\"AAAAwA==\""));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_chat_is_read),
		cmocka_unit_test(test_messages_become_ours),
		cmocka_unit_test(test_what_is_wrong_is_named),
		cmocka_unit_test(test_streams_are_as_clients_read_them),
		cmocka_unit_test(test_vectors_as_base64_are_their_floats),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
