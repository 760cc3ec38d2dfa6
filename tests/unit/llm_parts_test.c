/* The pure parts behind calls of models: breaker, rate, pauses, frames, characters, faults, tokens, and the demo. */
#include "lib/base/cleanup.h"
#include "lib/llm/breaker.h"
#include "lib/llm/calls.h"

#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

/* ---- breaker, rate, pauses -------------------------------------------------------------------------------------- */

static void test_a_breaker_opens_rests_and_closes(void **state)
{
	(void)state;
	struct wl_llm_breaker breaker = { 0 };
	uint64_t wait_ms = 0, now_ms = 1000;
	for (int i = 0; i < WL_LLM_BREAKER_FAILURES; i++) {
		assert_true(wl_llm_breaker_ask(&breaker, now_ms, &wait_ms));
		wl_llm_breaker_tell(&breaker, WL_LLM_BREAKER_FAILED, now_ms);
	}
	assert_int_equal(breaker.state, WL_LLM_BREAKER_OPEN);
	assert_false(wl_llm_breaker_ask(&breaker, now_ms + 1, &wait_ms));
	assert_int_equal(wait_ms, WL_LLM_BREAKER_REST_MS - 1);
	wl_llm_breaker_tell(&breaker, WL_LLM_BREAKER_WORKED, now_ms + 2); /* of before it opened: it stays open */
	assert_false(wl_llm_breaker_ask(&breaker, now_ms + 2, &wait_ms));
	now_ms += WL_LLM_BREAKER_REST_MS;
	assert_true(wl_llm_breaker_ask(&breaker, now_ms, &wait_ms)); /* one tries */
	assert_false(wl_llm_breaker_ask(&breaker, now_ms, &wait_ms));
	wl_llm_breaker_tell(&breaker, WL_LLM_BREAKER_UNKNOWN, now_ms); /* it was cancelled: another one may */
	assert_true(wl_llm_breaker_ask(&breaker, now_ms, &wait_ms));
	wl_llm_breaker_tell(&breaker, WL_LLM_BREAKER_FAILED, now_ms);
	assert_false(wl_llm_breaker_ask(&breaker, now_ms + 1, &wait_ms));
	now_ms += WL_LLM_BREAKER_REST_MS;
	assert_true(wl_llm_breaker_ask(&breaker, now_ms, &wait_ms));
	wl_llm_breaker_tell(&breaker, WL_LLM_BREAKER_WORKED, now_ms);
	assert_int_equal(breaker.state, WL_LLM_BREAKER_CLOSED);
	assert_true(wl_llm_breaker_ask(&breaker, now_ms, &wait_ms));
}

static void test_failures_far_apart_open_no_breaker(void **state)
{
	(void)state;
	struct wl_llm_breaker breaker = { 0 };
	uint64_t now_ms = 1000;
	for (int i = 0; i < 20; i++, now_ms += WL_LLM_BREAKER_WINDOW_MS / 2)
		wl_llm_breaker_tell(&breaker, WL_LLM_BREAKER_FAILED, now_ms);
	assert_int_equal(breaker.state, WL_LLM_BREAKER_CLOSED);
	for (int i = 0; i < 20; i++)
		wl_llm_breaker_tell(&breaker, i % 4 ? WL_LLM_BREAKER_FAILED : WL_LLM_BREAKER_WORKED, now_ms);
	assert_int_equal(breaker.state, WL_LLM_BREAKER_CLOSED);
}

static void test_a_rate_fills_evenly(void **state)
{
	(void)state;
	struct wl_llm_rate rate = { 0 };
	uint64_t now_ms = 5000;
	assert_int_equal(wl_llm_rate_take(&rate, 0, now_ms), 0); /* no bound */
	for (int i = 0; i < 6; i++)
		assert_int_equal(wl_llm_rate_take(&rate, 6, now_ms), 0);
	uint64_t wait_ms = wl_llm_rate_take(&rate, 6, now_ms);
	assert_in_range(wait_ms, 9999, 10001);
	assert_true(wl_llm_rate_take(&rate, 6, now_ms + wait_ms / 2) > 0);
	assert_int_equal(wl_llm_rate_take(&rate, 6, now_ms + wait_ms), 0);
	assert_true(wl_llm_rate_take(&rate, 6, now_ms + wait_ms) > 0);
	assert_int_equal(wl_llm_rate_take(&rate, 6, now_ms + 10000000), 0); /* and never above its brim */
	int taken = 1;
	while (wl_llm_rate_take(&rate, 6, now_ms + 10000000) == 0)
		taken++;
	assert_int_equal(taken, 6);
}

static void test_pauses_double_and_are_spread(void **state)
{
	(void)state;
	assert_int_equal(wl_llm_pause_ms(1, 0, 0), 0);
	for (uint32_t random = 0; random < 100000; random += 77) {
		assert_true(wl_llm_pause_ms(1, 0, random) <= 500);
		assert_true(wl_llm_pause_ms(3, 0, random) <= 2000);
		assert_true(wl_llm_pause_ms(60, 0, random) <= 20000);
		assert_in_range(wl_llm_pause_ms(1, 3000, random), 3000, 3350);
	}
	assert_true(wl_llm_pause_ms(60, 0, 20000) == 20000);
}

static void test_retry_after_is_read(void **state)
{
	(void)state;
	const int64_t wall_ms = 1445412480000; /* Wed, 21 Oct 2015 07:28:00 GMT */
	static const struct {
		const char *value;
		uint64_t ms;
	} rows[] = {
		{ "2", 2000 },
		{ "0.5", 500 },
		{ "3s", 3000 },
		{ "0", 0 },
		{ "-4", 0 },
		{ "soon", 0 },
		{ "", 0 },
		{ "5x", 0 },
		{ "1e99", 86400000 },
		{ "nan", 0 },
		{ "inf", 86400000 },
		{ "Wed, 21 Oct 2015 07:28:30 GMT", 30000 },
		{ "Wed, 21 Oct 2015 07:27:30 GMT", 0 },
	};
	for (size_t i = 0; i < WL_COUNT_OF(rows); i++)
		assert_int_equal(wl_llm_retry_after_ms(rows[i].value, wall_ms), rows[i].ms);
}

/* ---- frames and characters -------------------------------------------------------------------------------------- */

static int collect(void *context, const char *data, size_t length)
{
	wl_buffer_append(context, data, length);
	wl_buffer_append_char(context, '|');
	return 0;
}

static void expect_frames(const char *bytes, bool lines, const char *wanted)
{
	size_t length = strlen(bytes);
	for (size_t at = 0; at <= length; at++) {
		struct wl_llm_frames frames;
		_wl_buffer_ struct wl_buffer seen;
		wl_buffer_init(&seen, 0);
		wl_llm_frames_init(&frames, lines);
		assert_int_equal(wl_llm_frames_feed(&frames, bytes, at, collect, &seen, NULL), 0);
		assert_int_equal(wl_llm_frames_feed(&frames, bytes + at, length - at, collect, &seen, NULL), 0);
		assert_int_equal(wl_llm_frames_finish(&frames, collect, &seen, NULL), 0);
		assert_string_equal(seen.data ? seen.data : "", wanted);
		wl_llm_frames_release(&frames);
	}
}

static void test_frames_are_found_however_lines_end(void **state)
{
	(void)state;
	expect_frames("data: a\n\ndata:b\r\n\r\ndata:  c\r\rid: 5\n: no\nevent: x\n\n", false, "a|b| c|");
	expect_frames("data: a\ndata\ndata: b\n\n", false, "a\n\nb|");
	expect_frames("\xef\xbb\xbf"
		      "data: a\n\ndatax: b\n\n data: c\n\n",
		      false, "a|");
	expect_frames("data: a", false, "a|");
	expect_frames("", false, "");
	expect_frames("{}\n\n[1]\r\n\r\n2", true, "{}|[1]|2|");
}

static void expect_characters(const char *bytes, size_t length, const char *wanted)
{
	for (size_t at = 0; at <= length; at++) {
		struct wl_llm_utf8 utf8 = { 0 };
		_wl_buffer_ struct wl_buffer seen;
		wl_buffer_init(&seen, 0);
		wl_llm_utf8_take(&utf8, bytes, at, &seen);
		wl_llm_utf8_take(&utf8, bytes + at, length - at, &seen);
		wl_llm_utf8_finish(&utf8, &seen);
		assert_string_equal(seen.data ? seen.data : "", wanted);
	}
}

static void test_characters_are_put_together(void **state)
{
	(void)state;
	static const struct {
		const char *bytes, *wanted;
	} rows[] = {
		{ "plain", "plain" },
		{ "\xc3\xa4\xe4\xb8\x96\xf0\x9f\x98\x80", "\xc3\xa4\xe4\xb8\x96\xf0\x9f\x98\x80" },
		{ "\xed\xa0\xbd\xed\xb8\x80", "\xf0\x9f\x98\x80" }, /* a surrogate pair */
		{ "\xed\xa0\xbdx", "\xef\xbf\xbdx" },
		{ "\xed\xb8\x80x", "\xef\xbf\xbdx" },
		{ "\xed\xa0\xbd\xed\x95\x9c", "\xef\xbf\xbd\xed\x95\x9c" }, /* half a pair, then a letter */
		{ "a\xff"
		  "b",
		  "a\xef\xbf\xbd"
		  "b" },
		{ "\xc0\xaf", "\xef\xbf\xbd\xef\xbf\xbd" },
		{ "\xe4\xb8", "\xef\xbf\xbd" },
		{ "\xf4\x90\x80\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd" },
	};
	for (size_t i = 0; i < WL_COUNT_OF(rows); i++)
		expect_characters(rows[i].bytes, strlen(rows[i].bytes), rows[i].wanted);
}

static void test_json_with_cut_characters_is_repaired(void **state)
{
	(void)state;
	static const struct {
		const char *json, *wanted;
	} rows[] = {
		{ "\"a\xc3\"", "a\xef\xbf\xbd" },
		{ "\"\\ud83d\"", "\xef\xbf\xbd" },
		{ "\"\\ud83d\\ude00\xff\"", "\xf0\x9f\x98\x80\xef\xbf\xbd" },
		{ "\"\\\\ud83d\xff\"", "\\ud83d\xef\xbf\xbd" },
		{ "\"a\\u0000b\"", "a\xef\xbf\xbd"
				   "b" },
	};
	for (size_t i = 0; i < WL_COUNT_OF(rows); i++) {
		_wl_buffer_ struct wl_buffer repaired, seen;
		_wl_json_ struct wl_json *json = NULL;
		struct wl_llm_utf8 utf8 = { 0 };
		wl_buffer_init(&repaired, 0);
		wl_buffer_init(&seen, 0);
		assert_int_equal(wl_llm_repair_json(rows[i].json, strlen(rows[i].json), &repaired), 0);
		assert_int_equal(wl_json_parse(repaired.data, repaired.length, &json, NULL), 0);
		const char *text = wl_json_string(json, "");
		wl_llm_utf8_take(&utf8, text, strlen(text), &seen);
		wl_llm_utf8_finish(&utf8, &seen);
		assert_string_equal(seen.data, rows[i].wanted);
	}
}

/* ---- faults ----------------------------------------------------------------------------------------------------- */

static void test_what_servers_say_is_told_apart(void **state)
{
	(void)state;
	static const struct {
		long status;
		const char *body;
		enum wl_model_fault fault;
	} rows[] = {
		{ 400, "{\"error\":{\"message\":\"This model's maximum context length is 8192 tokens\"}}",
		  WL_MODEL_FAULT_CONTEXT },
		{ 400,
		  "{\"type\":\"error\",\"error\":{\"type\":\"invalid_request_error\",\"message\":\"prompt is too long: "
		  "9 > 8\"}}",
		  WL_MODEL_FAULT_CONTEXT },
		{ 400, "{\"error\":{\"code\":400,\"message\":\"the request exceeds the available context size\"}}",
		  WL_MODEL_FAULT_CONTEXT },
		{ 500, "{\"error\":{\"message\":\"tools param requires --jinja flag\"}}", WL_MODEL_FAULT_TOOLS },
		{ 501,
		  "{\"error\":{\"code\":501,\"message\":\"This server does not support embeddings. Start it with "
		  "`--embeddings`\",\"type\":\"not_supported_error\"}}",
		  WL_MODEL_FAULT_REQUEST },
		{ 500, "{\"error\":{\"code\":500,\"message\":\"input (6001 tokens) is too large to process\"}}",
		  WL_MODEL_FAULT_CONTEXT },
		{ 404, "{\"error\":{\"message\":\"No endpoints found that support tool use\"}}", WL_MODEL_FAULT_TOOLS },
		{ 404, "{\"error\":\"model 'x' not found\"}", WL_MODEL_FAULT_MODEL },
		{ 404, "page not found", WL_MODEL_FAULT_MODEL },
		{ 401, "", WL_MODEL_FAULT_KEY },
		{ 403, "{\"error\":{\"code\":\"content_filter\"}}", WL_MODEL_FAULT_FILTER },
		{ 429, "{\"error\":{\"message\":\"the model does not exist\"}}", WL_MODEL_FAULT_RATE },
		{ 529, "{\"error\":{\"type\":\"overloaded_error\"}}", WL_MODEL_FAULT_AWAY },
		{ 502, "<html>bad gateway</html>", WL_MODEL_FAULT_AWAY },
		{ 400, "{}", WL_MODEL_FAULT_REQUEST },
		{ 422, "{\"detail\":[{\"msg\":\"field required\"}]}", WL_MODEL_FAULT_REQUEST },
		{ 413, "", WL_MODEL_FAULT_REQUEST },
		{ 307, "", WL_MODEL_FAULT_ANSWER },
	};
	for (size_t i = 0; i < WL_COUNT_OF(rows); i++) {
		struct wl_error err = { 0 };
		enum wl_model_fault fault =
			wl_llm_fault_of(rows[i].status, rows[i].body, strlen(rows[i].body), "k", &err);
		if (fault != rows[i].fault)
			fail_msg("%s is %s", rows[i].body, wl_model_fault_word(fault));
		assert_true(err.text[0] && err.code == wl_llm_errno(fault));
	}
}

static void test_keys_are_masked(void **state)
{
	(void)state;
	char text[] = "my key abc-secret, abc-secret; sk-proj-1234****wxyz task-based\nsk-ip";
	wl_llm_mask(text, "abc-secret");
	assert_string_equal(text, "my key **********, **********; ******************** task-based sk-ip");
	char long_body[2000] = "{\"error\":{\"message\":\"";
	memset(long_body + strlen(long_body), 'x', 1000);
	strcat(long_body, "\"}}");
	struct wl_error err = { 0 };
	(void)wl_llm_fault_of(400, long_body, strlen(long_body), NULL, &err);
	assert_true(strlen(err.text) < 400);
}

static void test_dialects_are_learned_from_refusals_alone(void **state)
{
	(void)state;
	static const struct {
		const char *body;
		unsigned dialect;
	} rows[] = {
		{ "Unsupported parameter: 'max_tokens' ... Use 'max_completion_tokens' instead",
		  WL_LLM_DIALECT_COMPLETION_TOKENS },
		{ "'temperature' does not support 0.5 with this model. Unsupported value", WL_LLM_DIALECT_NO_SAMPLING },
		{ "`temperature` and `top_p` cannot both be specified for this model", WL_LLM_DIALECT_NO_TOP_P },
		{ "Unsupported parameter: 'stop' is not supported with this model.", WL_LLM_DIALECT_NO_STOP },
		{ "Extra inputs are not permitted: stream_options", WL_LLM_DIALECT_NO_STREAM_USAGE },
		{ "response_format is unavailable now", WL_LLM_DIALECT_SCHEMA_TOOL },
		{ "use the v1/responses endpoint", WL_LLM_DIALECT_RESPONSES },
		{ "temperature must be below 2", 0 },
		{ "", 0 },
	};
	const struct wl_model_request request = { .schema = "{\"type\":\"object\"}" };
	struct wl_llm_ask ask = { .request = &request };
	for (size_t i = 0; i < WL_COUNT_OF(rows); i++) {
		ask.dialect = 0;
		assert_int_equal(wl_llm_dialect_of(400, rows[i].body, strlen(rows[i].body), &ask), rows[i].dialect);
		assert_int_equal(wl_llm_dialect_of(401, rows[i].body, strlen(rows[i].body), &ask), 0);
		ask.dialect = rows[i].dialect; /* said again although it was heeded */
		assert_int_equal(wl_llm_dialect_of(400, rows[i].body, strlen(rows[i].body), &ask) & rows[i].dialect, 0);
	}
	assert_true(wl_llm_known_dialect(WL_LLM_OPENAI, "o3-pro-2025") & WL_LLM_DIALECT_RESPONSES);
	assert_false(wl_llm_known_dialect(WL_LLM_OPENAI, "o3-mini") & WL_LLM_DIALECT_RESPONSES);
	assert_int_equal(wl_llm_known_dialect(WL_LLM_OPENAI, "gpt-4.1-mini"), 0);
	assert_int_equal(wl_llm_known_dialect(WL_LLM_VLLM, "o3-pro"), 0);
}

static void test_estimates_are_upper_bounds(void **state)
{
	(void)state;
	/* tokens that a tokenizer of 100 000 entries makes of them */
	assert_true(wl_llm_count_tokens("The quick brown fox jumps over the lazy dog", 43) >= 9);
	assert_true(wl_llm_count_tokens("0123456789", 10) >= 4);
	assert_true(wl_llm_count_tokens("\xe4\xbd\xa0\xe5\xa5\xbd", 6) >= 2);
	const struct wl_model_message message = { .role = WL_MODEL_USER, .text = "Hello" };
	struct wl_model_request request = { .messages = &message, .message_count = 1 };
	uint64_t prompt = wl_llm_estimate(&request, 0);
	assert_true(prompt >= 2);
	assert_int_equal(wl_llm_estimate(&request, 500), prompt + 500);
	request.max_tokens = 20;
	assert_int_equal(wl_llm_estimate(&request, 500), prompt + 20);
}

/* ---- the demo --------------------------------------------------------------------------------------------------- */

static const struct wl_model_tool demo_tools[] = {
	{ "lookup", "Finds",
	  "{\"type\":\"object\",\"properties\":{\"query\":{\"type\":\"string\"},\"limit\":{\"type\":\"integer\","
	  "\"maximum\":5},\"extra\":{\"type\":\"string\"}},\"required\":[\"query\",\"limit\"]}",
	  false },
	{ "delegate_work_to_coworker", "Delegate to one of these coworkers: Senior Writer, Editor",
	  "{\"type\":\"object\",\"properties\":{\"coworker\":{\"type\":\"string\"}}}", false },
};

static void demo(const struct wl_model_message *messages, size_t count, struct wl_model_request *request,
		 struct wl_model_answer *answer)
{
	struct wl_error err = { 0 };
	request->messages = messages;
	request->message_count = count;
	*answer = (struct wl_model_answer){ 0 };
	assert_int_equal(wl_llm_demo_call(request, NULL, answer, &err), 0);
	assert_true(answer->usage.prompt > 0 && answer->usage.completion > 0 && !answer->usage.estimated);
}

static void test_the_demo_says_what_it_is(void **state)
{
	(void)state;
	const struct wl_model_message message = { .role = WL_MODEL_USER, .text = "What is 2+2?" };
	struct wl_model_request request = { 0 };
	_wl_model_answer_ struct wl_model_answer answer;
	demo(&message, 1, &request, &answer);
	assert_string_equal(answer.text, "[demo, no language model] You asked: What is 2+2?");
	assert_int_equal(answer.end, WL_MODEL_END_STOP);
	wl_model_answer_release(&answer);
	request.max_tokens = 2;
	demo(&message, 1, &request, &answer);
	assert_string_equal(answer.text, "[demo, n");
	assert_int_equal(answer.end, WL_MODEL_END_LENGTH);
	struct wl_error err = { 0 };
	assert_int_equal(wl_llm_demo_call(&request, "gpt-9", &answer, &err), -ENOENT);
	assert_int_equal(answer.fault, WL_MODEL_FAULT_MODEL);
}

static void test_the_demo_uses_a_tool_once(void **state)
{
	(void)state;
	struct wl_model_message messages[3] = { { .role = WL_MODEL_USER, .text = "Find 12 birds" } };
	struct wl_model_request request = { .tools = demo_tools, .tool_count = 2 };
	_wl_model_answer_ struct wl_model_answer first, second, third;
	demo(messages, 1, &request, &first);
	assert_int_equal(first.end, WL_MODEL_END_TOOLS);
	assert_string_equal(first.tool_uses[0].name, "lookup");
	assert_string_equal(first.tool_uses[0].arguments, "{\"query\":\"Find 12 birds\",\"limit\":5}");
	messages[1] = (struct wl_model_message){ .role = WL_MODEL_ASSISTANT,
						 .tool_uses = first.tool_uses,
						 .tool_use_count = 1 };
	messages[2] = (struct wl_model_message){ .role = WL_MODEL_TOOL,
						 .text = "a wren",
						 .tool_use_id = first.tool_uses[0].id };
	demo(messages, 3, &request, &second);
	assert_string_equal(second.text, "[demo, no language model] The tool gave: a wren");
	messages[0].text = "Use delegate_work_to_coworker";
	demo(messages, 1, &request, &third);
	assert_string_equal(third.tool_uses[0].arguments, "{\"coworker\":\"Senior Writer\"}");
}

static void test_the_demo_fits_a_schema(void **state)
{
	(void)state;
	const struct wl_model_message message = { .role = WL_MODEL_USER, .text = "Rate it 7" };
	struct wl_model_request request = {
		.schema =
			"{\"type\":\"object\",\"properties\":{\"n\":{\"type\":\"integer\"},\"kind\":{\"enum\":[\"a\","
			"\"b\"]},"
			"\"list\":{\"type\":\"array\",\"items\":{\"type\":\"boolean\"},\"minItems\":2},"
			"\"short\":{\"type\":\"string\",\"maxLength\":4},\"deep\":{\"anyOf\":[{\"type\":\"null\"}]}}}",
	};
	_wl_model_answer_ struct wl_model_answer answer;
	demo(&message, 1, &request, &answer);
	assert_string_equal(answer.text,
			    "{\"n\":7,\"kind\":\"a\",\"list\":[true,true],\"short\":\"Rate\",\"deep\":null}");
}

static void test_the_demo_follows_the_text_form_of_tools(void **state)
{
	(void)state;
	struct wl_model_message messages[4] = {
		{ .role = WL_MODEL_SYSTEM,
		  .text = "You have tools:\nTool Name: search\nTool Arguments: {\"q\": {\"type\": \"string\"}}\nTool "
			  "Description: x\n"
			  "Thought: think\nAction: one of [search]\nAction Input: JSON\nObservation: result\nFinal "
			  "Answer: it" },
		{ .role = WL_MODEL_USER, .text = "\nCurrent Task: find wrens\n\nBegin!" },
	};
	const char *stop = "\nObservation:";
	struct wl_model_request request = { .stops = &stop, .stop_count = 1 };
	_wl_model_answer_ struct wl_model_answer first, second;
	demo(messages, 2, &request, &first);
	assert_non_null(strstr(first.text, "\nAction: search\nAction Input: {\"q\":\"find wrens\"}"));
	messages[2] = (struct wl_model_message){
		.role = WL_MODEL_ASSISTANT,
		.text = "Thought: x\nAction: search\nAction Input: {}\nObservation: three wrens"
	};
	demo(messages, 3, &request, &second);
	assert_non_null(strstr(second.text, "Final Answer: [demo, no language model] The tool gave: three wrens"));
}

static void test_like_texts_lie_near_each_other(void **state)
{
	(void)state;
	const char *const texts[] = { "the cat sat on the mat", "a cat sat on a mat", "quarterly revenue report", "" };
	_wl_free_ float *vectors = wl_llm_demo_embed(texts, 4);
	double near = 0, far = 0, length = 0;
	for (size_t i = 0; i < WL_LLM_DEMO_DIMENSIONS; i++) {
		near += (double)vectors[i] * (double)vectors[WL_LLM_DEMO_DIMENSIONS + i];
		far += (double)vectors[i] * (double)vectors[2 * WL_LLM_DEMO_DIMENSIONS + i];
		length += pow((double)vectors[3 * WL_LLM_DEMO_DIMENSIONS + i], 2);
	}
	assert_true(near > 0.4 && far < 0.3 && near > far + 0.2);
	assert_float_equal(length, 1, 1e-6);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_breaker_opens_rests_and_closes),
		cmocka_unit_test(test_failures_far_apart_open_no_breaker),
		cmocka_unit_test(test_a_rate_fills_evenly),
		cmocka_unit_test(test_pauses_double_and_are_spread),
		cmocka_unit_test(test_retry_after_is_read),
		cmocka_unit_test(test_frames_are_found_however_lines_end),
		cmocka_unit_test(test_characters_are_put_together),
		cmocka_unit_test(test_json_with_cut_characters_is_repaired),
		cmocka_unit_test(test_what_servers_say_is_told_apart),
		cmocka_unit_test(test_keys_are_masked),
		cmocka_unit_test(test_dialects_are_learned_from_refusals_alone),
		cmocka_unit_test(test_estimates_are_upper_bounds),
		cmocka_unit_test(test_the_demo_says_what_it_is),
		cmocka_unit_test(test_the_demo_uses_a_tool_once),
		cmocka_unit_test(test_the_demo_fits_a_schema),
		cmocka_unit_test(test_the_demo_follows_the_text_form_of_tools),
		cmocka_unit_test(test_like_texts_lie_near_each_other),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
