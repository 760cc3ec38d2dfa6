/*
 * The wire formats: what they write, and what they read from exchanges of our own making, split at every byte. No
 * server is asked.
 */
#include "lib/base/cleanup.h"
#include "lib/llm/wire.h"

#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

/* ---- exchanges -------------------------------------------------------------------------------------------------- */

#define CHUNK(delta, reason)                                                                                           \
	"data: {\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"model\":\"m-1\",\"choices\":[{\"index\":0,"        \
	"\"delta\":" delta ",\"finish_reason\":" reason "}]}\n\n"
#define CHAT(message, reason)                                                                                          \
	"{\"model\":\"m-1\",\"choices\":[{\"index\":0,\"message\":" message ",\"finish_reason\":" reason "}],"         \
	"\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":4}}"
#define EVENT(type, rest) "event: " type "\r\ndata: {\"type\":\"" type "\"" rest "}\r\n\r\n"
#define RESPONSE(status, rest)                                                                                         \
	",\"response\":{\"model\":\"r-1\",\"status\":\"" status "\",\"error\":null" rest                               \
	",\"usage\":{\"input_tokens\":11,\"input_tokens_details\":{\"cached_tokens\":3},\"output_tokens\":7,"          \
	"\"output_tokens_details\":{\"reasoning_tokens\":5}}}"
#define LINE(rest) "{\"model\":\"o-1\",\"created_at\":\"x\"," rest "}\n"

#define SCHEMA "{\"type\":\"object\",\"properties\":{\"n\":{\"type\":\"integer\"}},\"required\":[\"n\"]}"

struct exchange {
	const char *name;
	const struct wl_llm_wire *wire;
	bool stream;
	unsigned dialect;
	const char *schema, *stop;
	const char *bytes;
	const char *result;
};

static const struct exchange exchanges[] = {
	{ "chat, whole", &wl_llm_openai_chat, false, 0, NULL, NULL,
	  CHAT("{\"role\":\"assistant\",\"content\":\"Gr\\u00fc\xc3\x9f"
	       "e\",\"refusal\":null}",
	       "\"stop\""),
	  "Gr\xc3\xbc\xc3\x9f"
	  "e end 0 usage 9 4 0 0 0 m-1" },
	{ "chat, whole, two tools", &wl_llm_openai_chat, false, 0, NULL, NULL,
	  CHAT("{\"content\":null,\"tool_calls\":[{\"id\":\"a\",\"type\":\"function\",\"function\":{\"name\":\"f\","
	       "\"arguments\":\"{\\\"x\\\":1}\"}},{\"id\":\"b\",\"function\":{\"name\":\"g\",\"arguments\":\"\"}}]}",
	       "\"tool_calls\""),
	  " [a f {\"x\":1}] [b g {}] end 2 usage 9 4 0 0 0 m-1" },
	{ "chat, whole, arguments as an object and no id", &wl_llm_openai_chat, false, 0, NULL, NULL,
	  CHAT("{\"tool_calls\":[{\"function\":{\"name\":\"f\",\"arguments\":{\"x\":1}}}]}", "\"stop\""),
	  " [call_1_0 f {\"x\":1}] end 2 usage 9 4 0 0 0 m-1" },
	{ "chat, streamed", &wl_llm_openai_chat, true, 0, NULL, NULL,
	  CHUNK("{\"role\":\"assistant\",\"content\":\"\"}",
		"null") CHUNK("{\"content\":\"Hel\"}",
			      "null") ": a comment\n\n" CHUNK("{\"content\":\"lo \xf0\x9f\x98\x80\"}", "null")
		  CHUNK("{}",
			"\"stop\"") "data: {\"model\":\"m-1\",\"choices\":[],\"usage\":{\"prompt_tokens\":20,"
				    "\"completion_tokens\":6,\"prompt_tokens_details\":{\"cached_tokens\":16},"
				    "\"completion_tokens_details\":{\"reasoning_tokens\":2}}}\n\ndata: [DONE]\n\n",
	  "Hello \xf0\x9f\x98\x80 end 0 usage 20 6 16 0 2 m-1" },
	{ "chat, streamed, two tools at once", &wl_llm_openai_chat, true, 0, NULL, NULL,
	  CHUNK("{\"tool_calls\":[{\"index\":0,\"id\":\"a\",\"function\":{\"name\":\"f\",\"arguments\":\"\"}}]}",
		"null") CHUNK("{\"tool_calls\":[{\"index\":1,\"id\":\"b\",\"function\":{\"name\":\"g\",\"arguments\":"
			      "\"{\"}}]}",
			      "null")
		  CHUNK("{\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":\"{\\\"x\\\"\"}}]}", "null")
			  CHUNK("{\"tool_calls\":[{\"index\":1,\"function\":{\"arguments\":\"}\"}},"
				"{\"index\":0,\"function\":{\"arguments\":\":1}\"}}]}",
				"null") CHUNK("{}", "\"tool_calls\"") "data: [DONE]\n\n",
	  " [a f {\"x\":1}] [b g {}] end 2 usage counted m-1" },
	{ "chat, streamed, pieces without an index", &wl_llm_openai_chat, true, 0, NULL, NULL,
	  CHUNK("{\"tool_calls\":[{\"id\":\"a\",\"function\":{\"name\":\"f\",\"arguments\":\"{\\\"x\"}}]}", "null")
		  CHUNK("{\"tool_calls\":[{\"function\":{\"arguments\":\"\\\":2}\"}}]}", "null")
			  CHUNK("{\"tool_calls\":[{\"id\":\"b\",\"function\":{\"name\":\"f\",\"arguments\":\"{}\"}}]}",
				"\"tool_calls\""),
	  " [a f {\"x\":2}] [b f {}] end 2 usage counted m-1" },
	{ "chat, characters cut in two", &wl_llm_openai_chat, true, 0, NULL, NULL,
	  CHUNK("{\"content\":\"a\xc3\"}", "null") CHUNK("{\"content\":\"\xa4 \\ud83d\"}", "null")
		  CHUNK("{\"content\":\"\\ude00\"}", "null") CHUNK("{\"content\":\"\xff!\"}", "\"stop\""),
	  "a\xc3\xa4 \xf0\x9f\x98\x80\xef\xbf\xbd! end 0 usage counted m-1" },
	{ "chat, a stop word that the server does not mind", &wl_llm_openai_chat, true, WL_LLM_DIALECT_NO_STOP, NULL,
	  "\nObservation:",
	  CHUNK("{\"content\":\"Act\\nObs\"}", "null") CHUNK("{\"content\":\"ession\\nObserv\"}", "null")
		  CHUNK("{\"content\":\"ation: made up\"}", "\"stop\""),
	  "Act\nObsession end 0 usage counted m-1" },
	{ "chat, streaming was asked for and a whole answer comes", &wl_llm_openai_chat, true, 0, NULL, NULL,
	  "\n  " CHAT("{\"content\":\"all at once\"}", "\"length\""), "all at once end 1 usage 9 4 0 0 0 m-1" },
	{ "chat, a data field in lines, without a space and without an end", &wl_llm_openai_chat, true, 0, NULL, NULL,
	  "\xef\xbb\xbf"
	  "data:{\"choices\":\rdata:[{\"delta\":{\"content\":\"x\"},\rdata:\"finish_reason\":\"stop\"}]}",
	  "x end 0 usage counted -" },
	{ "chat, done without a reason", &wl_llm_openai_chat, true, 0, NULL, NULL,
	  CHUNK("{\"content\":\"x\"}", "null") "data: [DONE]\n\n", "x end 0 usage counted m-1" },
	{ "chat, by the tool that carries a schema", &wl_llm_openai_chat, true, WL_LLM_DIALECT_SCHEMA_TOOL, SCHEMA,
	  NULL,
	  CHUNK("{\"content\":\"Well:\"}", "null")
		  CHUNK("{\"tool_calls\":[{\"index\":0,\"id\":\"a\",\"function\":{\"name\":\"answer\","
			"\"arguments\":\"{\\\"n\\\"\"}}]}",
			"null") CHUNK("{\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":\":3}\"}}]}",
				      "\"tool_calls\""),
	  "{\"n\":3} end 0 usage counted m-1" },
	{ "chat, the tool that carries a schema is not used", &wl_llm_openai_chat, true, WL_LLM_DIALECT_SCHEMA_TOOL,
	  SCHEMA, NULL, CHUNK("{\"content\":\"{\\\"n\\\":4}\"}", "\"stop\""), "{\"n\":4} end 0 usage counted m-1" },
	{ "chat, broken off", &wl_llm_openai_chat, true, 0, NULL, NULL, CHUNK("{\"content\":\"x\"}", "null"),
	  "fault model_unavailable" },
	{ "chat, an error in the stream", &wl_llm_openai_chat, true, 0, NULL, NULL,
	  CHUNK("{\"content\":\"x\"}", "null") "data: {\"error\":{\"message\":\"Overloaded\",\"code\":503}}\n\n",
	  "fault model_unavailable" },
	{ "chat, filtered", &wl_llm_openai_chat, true, 0, NULL, NULL,
	  CHUNK("{\"content\":\"x\"}", "\"content_filter\""), "fault content_filter" },
	{ "chat, refused", &wl_llm_openai_chat, false, 0, NULL, NULL,
	  CHAT("{\"content\":null,\"refusal\":\"I will not\"}", "\"stop\""), "fault content_filter" },
	{ "chat, a page", &wl_llm_openai_chat, false, 0, NULL, NULL, "<html>hello</html>",
	  "fault model_answer_invalid" },
	{ "chat, garbage", &wl_llm_openai_chat, false, 0, NULL, NULL, "{]", "fault model_answer_invalid" },
	{ "chat, garbage in a stream", &wl_llm_openai_chat, true, 0, NULL, NULL, "data: {\"choices\":[}\n\n",
	  "fault model_answer_invalid" },
	{ "chat, something else", &wl_llm_openai_chat, false, 0, NULL, NULL, "{\"hello\":1}",
	  "fault model_answer_invalid" },
	{ "chat, choices that are none", &wl_llm_openai_chat, false, 0, NULL, NULL, "{\"choices\":[]}",
	  "fault model_answer_invalid" },
	{ "chat, nothing", &wl_llm_openai_chat, true, 0, NULL, NULL, "\n\n", "fault model_unavailable" },

	{ "responses, whole", &wl_llm_openai_responses, false, 0, NULL, NULL,
	  "{\"model\":\"r-1\",\"status\":\"completed\",\"error\":null,\"output\":[{\"type\":\"reasoning\",\"summary\":["
	  "]},"
	  "{\"type\":\"message\",\"content\":[{\"type\":\"output_text\",\"text\":\"Hi\"}]},{\"type\":\"function_call\","
	  "\"call_id\":\"a\",\"name\":\"f\",\"arguments\":\"{}\"}],\"usage\":{\"input_tokens\":2,\"output_tokens\":3}}",
	  "Hi [a f {}] end 2 usage 2 3 0 0 0 r-1" },
	{ "responses, streamed", &wl_llm_openai_responses, true, 0, NULL, NULL,
	  EVENT("response.created", RESPONSE("in_progress", "")) EVENT(
		  "response.output_text.delta",
		  ",\"output_index\":1,\"delta\":\"Hel\"") EVENT("response.output_text.delta", ",\"output_index\":1,"
											       "\"delta\":\"lo\"")
		  EVENT("response.output_item.added", ",\"output_index\":2,\"item\":{\"type\":\"function_call\","
						      "\"call_id\":\"a\",\"name\":\"f\",\"arguments\":\"\"}")
			  EVENT("response.function_call_arguments.delta",
				",\"output_index\":2,\"delta\":\"{\\\"x\\\":"
				"\"") EVENT("response.function_call_arguments.delta",
					    ",\"output_index\":2,\"delta\":\"1}\"")
				  EVENT("response.output_item.done",
					",\"output_index\":2,\"item\":{\"type\":\"function_call\",\"call_id\":\"a\","
					"\"name\":\"f\",\"arguments\":\"{\\\"x\\\":1}\"}")
					  EVENT("response.completed", RESPONSE("completed", "")),
	  "Hello [a f {\"x\":1}] end 2 usage 11 7 3 0 5 r-1" },
	{ "responses, too short", &wl_llm_openai_responses, true, 0, NULL, NULL,
	  EVENT("response.output_text.delta", ",\"delta\":\"Hel\"")
		  EVENT("response.incomplete",
			RESPONSE("incomplete", ",\"incomplete_details\":{\"reason\":\"max_output_tokens\"}")),
	  "Hel end 1 usage 11 7 3 0 5 r-1" },
	{ "responses, failed", &wl_llm_openai_responses, true, 0, NULL, NULL,
	  "data: {\"type\":\"response.failed\",\"response\":{\"status\":\"failed\",\"error\":{\"code\":"
	  "\"rate_limit_exceeded\",\"message\":\"slow down\"}}}\n\n",
	  "fault model_rate_limited" },
	{ "responses, broken off", &wl_llm_openai_responses, true, 0, NULL, NULL,
	  EVENT("response.output_text.delta", ",\"delta\":\"Hel\""), "fault model_unavailable" },

	{ "messages, whole", &wl_llm_anthropic, false, 0, NULL, NULL,
	  "{\"type\":\"message\",\"model\":\"a-1\",\"content\":[{\"type\":\"thinking\",\"thinking\":\"hm\"},{\"type\":"
	  "\"text\",\"text\":\"Hi\"},{\"type\":\"tool_use\",\"id\":\"t\",\"name\":\"f\",\"input\":{\"x\":1}}],"
	  "\"stop_reason\":\"tool_use\",\"usage\":{\"input_tokens\":10,\"cache_read_input_tokens\":5,"
	  "\"cache_creation_input_tokens\":7,\"output_tokens\":3}}",
	  "Hi [t f {\"x\":1}] end 2 usage 22 3 5 7 0 a-1" },
	{ "messages, streamed", &wl_llm_anthropic, true, 0, NULL, NULL,
	  EVENT("message_start", ",\"message\":{\"model\":\"a-1\",\"usage\":{\"input_tokens\":10,"
				 "\"cache_read_input_tokens\":5,\"output_tokens\":1}}") EVENT("ping", "")
		  EVENT("content_block_start",
			",\"index\":0,\"content_block\":{\"type\":\"thinking\",\"thinking\":\"\"}")
			  EVENT("content_block_delta",
				",\"index\":0,\"delta\":{\"type\":\"thinking_delta\","
				"\"thinking\":\"hm\"}") EVENT("content_block_start", ",\"index\":1,\"content_block\":{"
										     "\"type\":\"text\",\"text\":\"\"}")
				  EVENT("content_block_delta",
					",\"index\":1,\"delta\":{\"type\":\"text_delta\",\"text\":\"H\xc3\xa9\"}")
					  EVENT("content_block_start",
						",\"index\":2,\"content_block\":{\"type\":\"tool_use\",\"id\":\"t\","
						"\"name\":\"f\",\"input\":{}}")
						  EVENT("content_block_delta",
							",\"index\":2,\"delta\":{\"type\":\"input_json_delta\","
							"\"partial_json\":\"{\\\"x\\\":\"}")
							  EVENT("content_block_delta",
								",\"index\":2,\"delta\":{\"type\":"
								"\"input_json_delta\",\"partial_json\":\"1}\"}")
								  EVENT("message_delta",
									",\"delta\":{\"stop_reason\":\"tool_use\"},"
									"\"usage\":{\"output_tokens\":12}")
									  EVENT("message_stop", ""),
	  "H\xc3\xa9 [t f {\"x\":1}] end 2 usage 15 12 5 0 0 a-1" },
	{ "messages, by a schema", &wl_llm_anthropic, false, WL_LLM_DIALECT_SCHEMA_TOOL, SCHEMA, NULL,
	  "{\"model\":\"a-1\",\"content\":[{\"type\":\"text\",\"text\":\"Here:\"},{\"type\":\"tool_use\",\"id\":\"t\","
	  "\"name\":\"answer\",\"input\":{\"n\":3}}],\"stop_reason\":\"tool_use\",\"usage\":{\"input_tokens\":1,"
	  "\"output_tokens\":2}}",
	  "{\"n\":3} end 0 usage 1 2 0 0 0 a-1" },
	{ "messages, an error in the stream", &wl_llm_anthropic, true, 0, NULL, NULL,
	  EVENT("error", ",\"error\":{\"type\":\"overloaded_error\",\"message\":\"Overloaded\"}"),
	  "fault model_unavailable" },
	{ "messages, refused", &wl_llm_anthropic, false, 0, NULL, NULL, "{\"content\":[],\"stop_reason\":\"refusal\"}",
	  "fault content_filter" },
	{ "messages, an empty answer", &wl_llm_anthropic, false, 0, NULL, NULL,
	  "{\"model\":\"a-1\",\"content\":[],\"stop_reason\":\"end_turn\",\"usage\":{\"input_tokens\":1,\"output_"
	  "tokens\":2}}",
	  " end 0 usage 1 2 0 0 0 a-1" },

	{ "ollama, streamed", &wl_llm_ollama, true, 0, NULL, NULL,
	  LINE("\"message\":{\"role\":\"assistant\",\"content\":\"Hel\"},\"done\":false")
		  LINE("\"message\":{\"content\":\"lo\",\"thinking\":\"hm\"},\"done\":false") LINE(
			  "\"message\":{\"content\":\"\",\"tool_calls\":[{\"function\":{\"name\":\"f\",\"arguments\":"
			  "{\"x\":1}}}]},\"done\":false")
			  LINE("\"message\":{\"content\":\"\"},\"done\":true,\"done_reason\":\"stop\","
			       "\"prompt_eval_count\":5,\"eval_count\":6"),
	  "Hello [call_1_0 f {\"x\":1}] end 2 usage 5 6 0 0 0 o-1" },
	{ "ollama, whole, without the last line's end", &wl_llm_ollama, false, 0, NULL, NULL,
	  "{\"model\":\"o-1\",\"message\":{\"content\":\"Hi\"},\"done\":true,\"done_reason\":\"length\"}",
	  "Hi end 1 usage counted o-1" },
	{ "ollama, an error", &wl_llm_ollama, true, 0, NULL, NULL, "{\"error\":\"model 'x' not found\"}\n",
	  "fault model_unknown" },
	{ "ollama, broken off", &wl_llm_ollama, true, 0, NULL, NULL,
	  LINE("\"message\":{\"content\":\"Hel\"},\"done\":false"), "fault model_unavailable" },
	{ "ollama, torn within a line", &wl_llm_ollama, true, 0, NULL, NULL,
	  LINE("\"message\":{\"content\":\"Hel\"},\"done\":false") "{\"model\":\"m\",\"mess",
	  "fault model_unavailable" },
	{ "chat, torn within an event", &wl_llm_openai_chat, true, 0, NULL, NULL,
	  "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hel\"}}]}\n\ndata: {\"choices\":[{\"ind",
	  "fault model_unavailable" },
	{ "chat, garbage at the end of a stream", &wl_llm_openai_chat, true, 0, NULL, NULL, "data: hello\n\n",
	  "fault model_answer_invalid" },
	{ "ollama, garbage", &wl_llm_ollama, true, 0, NULL, NULL, "hello\n", "fault model_answer_invalid" },
};

/* ---- reading ---------------------------------------------------------------------------------------------------- */

static void hear_text(void *context, const char *text, size_t length)
{
	wl_buffer_append(context, text, length);
}

static void hear_tool(void *context, size_t index, const char *id, const char *name)
{
	wl_buffer_appendf(context, "<%zu %s %s>", index, id, name);
}

static void hear_arguments(void *context, size_t index, const char *text, size_t length)
{
	wl_buffer_appendf(context, "<%zu:%.*s>", index, (int)length, text);
}

/* What an answer holds, as one line. */
static void summarise(const struct wl_model_answer *answer, enum wl_model_fault fault, struct wl_buffer *into)
{
	if (fault) {
		wl_buffer_appendf(into, "fault %s", wl_model_fault_word(fault));
		return;
	}
	wl_buffer_append_text(into, answer->text ? answer->text : "");
	for (size_t i = 0; i < answer->tool_use_count; i++)
		wl_buffer_appendf(into, " [%s %s %s]", answer->tool_uses[i].id, answer->tool_uses[i].name,
				  answer->tool_uses[i].arguments);
	wl_buffer_appendf(into, " end %d usage", (int)answer->end);
	if (answer->usage.estimated)
		wl_buffer_append_text(into, " counted");
	else
		wl_buffer_appendf(into, " %d %d %d %d %d", (int)answer->usage.prompt, (int)answer->usage.completion,
				  (int)answer->usage.cached, (int)answer->usage.cache_write,
				  (int)answer->usage.reasoning);
	wl_buffer_appendf(into, " %s", answer->model ? answer->model : "-");
}

static const struct wl_model_message question = { .role = WL_MODEL_USER, .text = "What?" };

/* Read an exchange in pieces: [0, first), then pieces of `size`. The sink may have been told by an earlier try. */
static void read_exchange(const struct exchange *exchange, size_t first, size_t size, struct wl_llm_sink *sink,
			  struct wl_buffer *result)
{
	const struct wl_model_request request = { .messages = &question,
						  .message_count = 1,
						  .schema = exchange->schema,
						  .stops = &exchange->stop,
						  .stop_count = exchange->stop ? 1 : 0,
						  .temperature = NAN,
						  .top_p = NAN,
						  .stream = sink->stream };
	const struct wl_llm_ask ask = { &request, "m", exchange->dialect, exchange->stream };
	struct wl_llm_reader reader;
	_wl_model_answer_ struct wl_model_answer answer = { 0 };
	size_t length = strlen(exchange->bytes);
	int fed = 0;
	wl_llm_reader_init(&reader, exchange->wire, &ask, sink);
	for (size_t at = 0, end = first; at < length && fed == 0; at = end, end += size) {
		end = end < length ? end : length;
		/* a copy of its own, so that reading behind the piece is seen by the sanitizers */
		_wl_free_ char *piece = memcpy(malloc(end - at + 1), exchange->bytes + at, end - at);
		fed = wl_llm_reader_feed(&reader, piece, end - at);
	}
	int finished = wl_llm_reader_finish(&reader, &answer);
	assert_true((finished == 0) == (reader.fault == WL_MODEL_FAULT_NONE));
	if (reader.fault)
		assert_true(reader.err.text[0] && reader.err.code == wl_llm_errno(reader.fault));
	summarise(&answer, reader.fault, result);
	wl_llm_reader_release(&reader);
}

static void expect(const struct exchange *exchange, size_t first, size_t size, bool watched)
{
	_wl_buffer_ struct wl_buffer result, heard;
	wl_buffer_init(&result, 0);
	wl_buffer_init(&heard, 0);
	const struct wl_model_stream stream = { .context = &heard, .text = hear_text };
	struct wl_llm_sink sink = { .stream = watched ? &stream : NULL };
	read_exchange(exchange, first, size, &sink, &result);
	if (strcmp(result.data, exchange->result) != 0)
		fail_msg("%s, split at %zu by %zu: '%s' is not '%s'", exchange->name, first, size, result.data,
			 exchange->result);
	/* what was told is the answer's text, no more and no less */
	bool fault = strncmp(exchange->result, "fault", 5) == 0;
	if (watched && !fault && heard.length)
		assert_true(strncmp(exchange->result, heard.data, heard.length) == 0 &&
			    strchr(" [", exchange->result[heard.length]));
	wl_llm_sink_release(&sink);
}

static void test_exchanges_read_the_same_however_they_are_split(void **state)
{
	(void)state;
	for (size_t i = 0; i < WL_COUNT_OF(exchanges); i++) {
		size_t length = strlen(exchanges[i].bytes);
		expect(&exchanges[i], length, length, false);
		expect(&exchanges[i], 1, 1, true);
		expect(&exchanges[i], 1, 3, true);
		for (size_t at = 1; at < length; at++)
			expect(&exchanges[i], at, length, true);
	}
}

static void test_tools_are_told_in_their_order(void **state)
{
	(void)state;
	_wl_buffer_ struct wl_buffer result, heard;
	wl_buffer_init(&result, 0);
	wl_buffer_init(&heard, 0);
	const struct wl_model_stream stream = { &heard, hear_text, hear_tool, hear_arguments };
	struct wl_llm_sink sink = { .stream = &stream };
	read_exchange(&exchanges[4], 100000, 1, &sink, &result);
	assert_string_equal(heard.data, "<0 a f><1 b g><1:{><0:{\"x\"><1:}><0::1}>");
	wl_llm_sink_release(&sink);
}

/* A stream that breaks off at any byte and is begun anew is told once, whatever was told before. */
static void test_nothing_is_told_twice(void **state)
{
	(void)state;
	for (size_t i = 0; i < WL_COUNT_OF(exchanges); i++) {
		const struct exchange *exchange = &exchanges[i];
		size_t length = strlen(exchange->bytes);
		if (!exchange->stream || strncmp(exchange->result, "fault", 5) == 0)
			continue;
		_wl_buffer_ struct wl_buffer once, ignored;
		wl_buffer_init(&once, 0);
		wl_buffer_init(&ignored, 0);
		const struct wl_model_stream to_once = { &once, hear_text, hear_tool, NULL };
		struct wl_llm_sink sink = { .stream = &to_once };
		read_exchange(exchange, length, length, &sink, &ignored);
		wl_llm_sink_release(&sink);
		for (size_t at = 1; at < length; at += 3) {
			_wl_free_ char *start = strndup(exchange->bytes, at);
			struct exchange broken = *exchange;
			_wl_buffer_ struct wl_buffer twice, result, first;
			broken.bytes = start;
			wl_buffer_init(&twice, 0);
			wl_buffer_init(&result, 0);
			wl_buffer_init(&first, 0);
			const struct wl_model_stream to_twice = { &twice, hear_text, hear_tool, NULL };
			sink = (struct wl_llm_sink){ .stream = &to_twice };
			read_exchange(&broken, at, 1, &sink, &first);
			read_exchange(exchange, length, length, &sink, &result);
			/* a character or stop word that was cut in two may have been told as what it then was */
			if (strncmp(result.data, "fault", 5) != 0)
				assert_string_equal(twice.data, once.data);
			else
				assert_true(strncmp(first.data, "fault", 5) != 0);
			wl_llm_sink_release(&sink);
		}
	}
}

static void test_an_answer_that_begins_otherwise_is_a_fault(void **state)
{
	(void)state;
	static const struct exchange one = {
		"one", &wl_llm_openai_chat, true, 0, NULL, NULL, CHUNK("{\"content\":\"The cat\"}", "null"), ""
	};
	static const struct exchange other = {
		"other", &wl_llm_openai_chat, true, 0, NULL, NULL, CHUNK("{\"content\":\"The dog\"}", "\"stop\""), ""
	};
	static const struct exchange shorter = {
		"shorter", &wl_llm_openai_chat, true, 0, NULL, NULL, CHUNK("{\"content\":\"The\"}", "\"stop\""), ""
	};
	const struct exchange *const seconds[] = { &other, &shorter };
	for (size_t i = 0; i < WL_COUNT_OF(seconds); i++) {
		_wl_buffer_ struct wl_buffer heard, first, second;
		wl_buffer_init(&heard, 0);
		wl_buffer_init(&first, 0);
		wl_buffer_init(&second, 0);
		const struct wl_model_stream stream = { .context = &heard, .text = hear_text };
		struct wl_llm_sink sink = { .stream = &stream };
		read_exchange(&one, 1000, 1, &sink, &first);
		read_exchange(seconds[i], 1000, 1, &sink, &second);
		assert_string_equal(second.data, "fault model_unavailable");
		assert_string_equal(heard.data, "The cat");
		wl_llm_sink_release(&sink);
	}
}

static void test_answers_are_bounded(void **state)
{
	(void)state;
	static const char piece[] =
		CHUNK("{\"content\":\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"}", "null");
	const struct wl_model_request request = {
		.messages = &question, .message_count = 1, .temperature = NAN, .top_p = NAN
	};
	const struct wl_llm_ask ask = { &request, "m", 0, true };
	struct wl_llm_sink sink = { 0 };
	struct wl_llm_reader reader;
	size_t pieces = 0;
	wl_llm_reader_init(&reader, &wl_llm_openai_chat, &ask, &sink);
	while (wl_llm_reader_feed(&reader, piece, sizeof(piece) - 1) == 0)
		assert_true(++pieces < 100000);
	assert_int_equal(reader.fault, WL_MODEL_FAULT_ANSWER);
	assert_int_equal(pieces, WL_MODEL_ANSWER_MAX / 64);
	wl_llm_reader_release(&reader);
	/* a line without an end */
	wl_llm_reader_init(&reader, &wl_llm_openai_chat, &ask, &sink);
	_wl_free_ char *filler = memset(malloc(1 << 20), 'd', 1 << 20);
	for (pieces = 0; wl_llm_reader_feed(&reader, filler, 1 << 20) == 0; pieces++)
		assert_true(pieces < 100);
	assert_int_equal(reader.fault, WL_MODEL_FAULT_ANSWER);
	wl_llm_reader_release(&reader);
}

/* ---- writing ---------------------------------------------------------------------------------------------------- */

static const struct wl_model_tool_use use = { (char *)"id1", (char *)"f", (char *)"{\"x\":1}" };
static const struct wl_model_image picture = { "image/png", "QUJD", NULL };
static const struct wl_model_message conversation[] = {
	{ .role = WL_MODEL_SYSTEM, .text = "Be \"brief\"" },
	{ .role = WL_MODEL_USER, .text = "Look", .images = &picture, .image_count = 1 },
	{ .role = WL_MODEL_ASSISTANT, .tool_uses = &use, .tool_use_count = 1 },
	{ .role = WL_MODEL_TOOL, .text = "no", .tool_use_id = "id1", .tool_failed = true },
	{ .role = WL_MODEL_USER, .text = "And now?" },
};
static const struct wl_model_tool tools[] = { { "f", "Does", "{\"type\":\"object\",\"properties\":{}}", false } };
static const char *const stops[] = { "\nObservation:" };

static void expect_written(const struct wl_llm_wire *wire, const struct wl_model_request *request, unsigned dialect,
			   bool stream, const char *const *wanted, const char *const *unwanted)
{
	const struct wl_llm_ask ask = { request, "m", dialect, stream };
	_wl_buffer_ struct wl_buffer body;
	_wl_json_ struct wl_json *json = NULL;
	struct wl_error err = { 0 };
	wl_buffer_init(&body, 0);
	assert_int_equal(wire->write(&ask, &body, &err), 0);
	assert_int_equal(wl_json_parse(body.data, body.length, &json, &err), 0);
	for (; *wanted; wanted++)
		if (!strstr(body.data, *wanted))
			fail_msg("%s is not in %s", *wanted, body.data);
	for (; *unwanted; unwanted++)
		if (strstr(body.data, *unwanted))
			fail_msg("%s is in %s", *unwanted, body.data);
}

#define LIST(...) ((const char *const[]){ __VA_ARGS__, NULL })
#define NONE ((const char *const[]){ NULL })

static struct wl_model_request full_request(void)
{
	return (struct wl_model_request){ .messages = conversation,
					  .message_count = WL_COUNT_OF(conversation),
					  .tools = tools,
					  .tool_count = 1,
					  .stops = stops,
					  .stop_count = 1,
					  .temperature = 0.5,
					  .top_p = 0.25,
					  .max_tokens = 77 };
}

static void test_requests_are_written_in_each_format(void **state)
{
	(void)state;
	struct wl_model_request request = full_request();
	expect_written(&wl_llm_openai_chat, &request, 0, true,
		       LIST("{\"role\":\"system\",\"content\":\"Be \\\"brief\\\"\"}",
			    "{\"url\":\"data:image/png;base64,QUJD\"}", "\"content\":null,\"tool_calls\":",
			    "\"arguments\":\"{\\\"x\\\":1}\"", "\"tool_call_id\":\"id1\"", "\"max_tokens\":77",
			    "\"stop\":[\"\\nObservation:\"]", "\"temperature\":0.5", "\"top_p\":0.25",
			    "\"stream_options\":{\"include_usage\":true}", "\"tool_choice\":\"auto\""),
		       LIST("strict", "parallel_tool_calls", "response_format"));
	expect_written(
		&wl_llm_openai_responses, &request, WL_LLM_DIALECT_NO_SAMPLING | WL_LLM_DIALECT_NO_STOP, false,
		LIST("\"input\":[{\"type\":\"message\",\"role\":\"system\"", "{\"type\":\"function_call\",\"call_id\":",
		     "{\"type\":\"function_call_output\",\"call_id\":\"id1\",\"output\":\"no\"}",
		     "\"max_output_tokens\":77", "\"store\":false", "{\"type\":\"input_image\",\"image_url\":\"data:"),
		LIST("temperature", "top_p", "stop", "\"stream\""));
	expect_written(&wl_llm_anthropic, &request, WL_LLM_DIALECT_SCHEMA_TOOL, true,
		       LIST("\"system\":\"Be \\\"brief\\\"\"",
			    "\"source\":{\"type\":\"base64\",\"media_type\":\"image/png\"",
			    "{\"type\":\"tool_use\",\"id\":\"id1\",\"name\":\"f\",\"input\":{\"x\":1}}",
			    "\"content\":\"no\",\"is_error\":true},{\"type\":\"text\",\"text\":\"And now?\"}]}",
			    "\"stop_sequences\":[", "\"input_schema\":{", "\"tool_choice\":{\"type\":\"auto\"}"),
		       LIST("\"role\":\"system\"", "\"role\":\"tool\""));
	expect_written(&wl_llm_ollama, &request, 0, false,
		       LIST("\"images\":[\"QUJD\"]", "\"arguments\":{\"x\":1}", "\"tool_name\":\"f\"",
			    "\"options\":{\"temperature\":0.5,\"top_p\":0.25,\"stop\":[", "\"num_predict\":77",
			    "\"stream\":false"),
		       LIST("tool_choice", "format"));
}

static void test_dialects_change_what_is_written(void **state)
{
	(void)state;
	struct wl_model_request request = full_request();
	request.single_tool_use = true;
	expect_written(&wl_llm_openai_chat, &request, 0, false, LIST("\"parallel_tool_calls\":false"), LIST("stream"));
	expect_written(&wl_llm_openai_chat, &request,
		       WL_LLM_DIALECT_COMPLETION_TOKENS | WL_LLM_DIALECT_NO_SAMPLING | WL_LLM_DIALECT_NO_STOP |
			       WL_LLM_DIALECT_NO_STREAM_USAGE | WL_LLM_DIALECT_NO_PARALLEL,
		       true, LIST("\"max_completion_tokens\":77"),
		       LIST("\"max_tokens\"", "temperature", "top_p", "\"stop\"", "stream_options", "parallel"));
	request.tool_choice = WL_MODEL_TOOL_NAMED;
	request.tool_choice_name = "f";
	expect_written(&wl_llm_openai_chat, &request, 0, false,
		       LIST("\"tool_choice\":{\"type\":\"function\",\"function\":{\"name\":\"f\"}}"), NONE);
	expect_written(&wl_llm_anthropic, &request, 0, false,
		       LIST("\"tool_choice\":{\"type\":\"tool\",\"name\":\"f\",\"disable_parallel_tool_use\":true}"),
		       NONE);
	request.tool_choice = WL_MODEL_TOOL_REQUIRED;
	expect_written(&wl_llm_anthropic, &request, 0, false, LIST("{\"type\":\"any\""), NONE);
	request.tool_choice = WL_MODEL_TOOL_NONE;
	expect_written(&wl_llm_ollama, &request, 0, false, LIST("\"stream\""), LIST("\"tools\""));
}

static void test_schemas_go_by_themselves_by_a_tool_or_by_the_prompt(void **state)
{
	(void)state;
	static const char strict[] = "{\"type\":\"object\",\"properties\":{\"n\":{\"type\":\"integer\"}},"
				     "\"required\":[\"n\"],\"additionalProperties\":false}";
	struct wl_model_request request = {
		.messages = &question, .message_count = 1, .schema = SCHEMA, .temperature = NAN, .top_p = NAN
	};
	expect_written(&wl_llm_openai_chat, &request, 0, false,
		       LIST("\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{\"name\":\"answer\","
			    "\"schema\":" SCHEMA "}}"),
		       LIST("strict", "temperature"));
	expect_written(&wl_llm_ollama, &request, 0, false, LIST("\"format\":" SCHEMA), NONE);
	request.schema = strict;
	request.schema_name = "report";
	expect_written(&wl_llm_openai_chat, &request, 0, false, LIST("\"name\":\"report\",\"strict\":true"), NONE);
	expect_written(&wl_llm_openai_responses, &request, 0, false,
		       LIST("\"text\":{\"format\":{\"type\":\"json_schema\",\"name\":\"report\",\"strict\":true"),
		       NONE);
	expect_written(&wl_llm_openai_chat, &request, WL_LLM_DIALECT_SCHEMA_TOOL, false,
		       LIST("\"tool_choice\":{\"type\":\"function\",\"function\":{\"name\":\"report\"}}"),
		       LIST("response_format"));
	expect_written(&wl_llm_anthropic, &request, WL_LLM_DIALECT_SCHEMA_TOOL, false,
		       LIST("\"input_schema\":{\"type\":\"object\"",
			    "\"tool_choice\":{\"type\":\"tool\",\"name\":\"report\"}"),
		       NONE);
	request.schema = "{\"type\":\"array\"}"; /* no tool carries it */
	expect_written(&wl_llm_anthropic, &request, WL_LLM_DIALECT_SCHEMA_TOOL, false,
		       LIST("\"system\":\"Answer with one JSON value"), LIST("tool_choice"));
	expect_written(&wl_llm_openai_chat, &request, WL_LLM_DIALECT_SCHEMA_PROMPT, false,
		       LIST("{\"role\":\"system\",\"content\":\"Answer with one JSON value"), LIST("response_format"));
}

static void test_requests_of_no_use_are_refused(void **state)
{
	(void)state;
	const struct wl_model_tool bad[] = { { "two words", NULL, NULL, false },
					     { "", NULL, NULL, false },
					     { "f", NULL, "{", false },
					     { "f", NULL, "[]", false },
					     { "f\"", NULL, NULL, false } };
	const struct wl_model_image images[] = { { "image/png", "QUJD\"", NULL },
						 { "a\"b", "QUJD", NULL },
						 { NULL, NULL, NULL } };
	struct wl_error err = { 0 };
	struct wl_model_request request = { 0 };
	assert_int_equal(wl_llm_check_request(&request, &err), -EINVAL);
	request = full_request();
	assert_int_equal(wl_llm_check_request(&request, &err), 0);
	for (size_t i = 0; i < WL_COUNT_OF(bad); i++) {
		request.tools = &bad[i];
		assert_int_equal(wl_llm_check_request(&request, &err), -EINVAL);
	}
	request = full_request();
	request.schema = "{\"type\":";
	assert_int_equal(wl_llm_check_request(&request, &err), -EINVAL);
	request = full_request();
	request.stop_count = WL_MODEL_STOPS_MAX + 1;
	assert_int_equal(wl_llm_check_request(&request, &err), -EINVAL);
	for (size_t i = 0; i < WL_COUNT_OF(images); i++) {
		const struct wl_model_message message = { .role = WL_MODEL_USER,
							  .images = &images[i],
							  .image_count = 1 };
		request = (struct wl_model_request){ .messages = &message, .message_count = 1 };
		assert_int_equal(wl_llm_check_request(&request, &err), -EINVAL);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_exchanges_read_the_same_however_they_are_split),
		cmocka_unit_test(test_tools_are_told_in_their_order),
		cmocka_unit_test(test_nothing_is_told_twice),
		cmocka_unit_test(test_an_answer_that_begins_otherwise_is_a_fault),
		cmocka_unit_test(test_answers_are_bounded),
		cmocka_unit_test(test_requests_are_written_in_each_format),
		cmocka_unit_test(test_dialects_change_what_is_written),
		cmocka_unit_test(test_schemas_go_by_themselves_by_a_tool_or_by_the_prompt),
		cmocka_unit_test(test_requests_of_no_use_are_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
