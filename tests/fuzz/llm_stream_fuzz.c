/*
 * An answer of a model's server in any of the formats: read in one piece, in pieces and once more after it broke off,
 * it is the same, and nobody is told anything twice. The first byte chooses format and request, the second the pieces.
 */
#include "lib/llm/wire.h"
#include "tests/fuzz/fuzz.h"

#include <math.h>
#include <string.h>

static void hear_answer(void *context, const char *text, size_t length)
{
	FUZZ_ASSERT(wl_buffer_append(context, text, length) == 0);
}

/* The reader's fault; *answer is what it made. */
static enum wl_model_fault read_answer_in(const struct wl_llm_ask *ask, const struct wl_llm_wire *wire,
					  const char *bytes, size_t length, size_t piece, struct wl_llm_sink *sink,
					  struct wl_model_answer *answer)
{
	struct wl_llm_reader reader;
	wl_llm_reader_init(&reader, wire, ask, sink);
	int fed = 0;
	for (size_t at = 0; at < length && fed == 0; at += piece)
		fed = wl_llm_reader_feed(&reader, bytes + at, length - at < piece ? length - at : piece);
	int finished = wl_llm_reader_finish(&reader, answer);
	enum wl_model_fault fault = reader.fault;
	FUZZ_ASSERT((finished < 0) == (fault != WL_MODEL_FAULT_NONE));
	FUZZ_ASSERT(fault == WL_MODEL_FAULT_NONE || reader.err.text[0]);
	wl_llm_reader_release(&reader);
	return fault;
}

static bool same_text(const char *a, const char *b)
{
	return strcmp(a ? a : "", b ? b : "") == 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
	static const struct wl_llm_wire *const wires[] = { &wl_llm_openai_chat, &wl_llm_openai_responses,
							   &wl_llm_anthropic, &wl_llm_ollama };
	static const char *const stops[] = { "\nObservation:", "ab" };
	static const struct wl_model_message message = { .role = WL_MODEL_USER, .text = "x" };
	struct wl_buffer heard, twice;
	if (length < 2)
		return 0;
	wl_buffer_init(&heard, 0);
	wl_buffer_init(&twice, 0);
	const struct wl_model_stream to_heard = { .context = &heard, .text = hear_answer };
	const struct wl_model_stream to_twice = { .context = &twice, .text = hear_answer };
	const struct wl_model_request request = { .messages = &message,
						  .message_count = 1,
						  .schema = bytes[0] & 16 ? "{\"type\":\"object\"}" : NULL,
						  .stops = stops,
						  .stop_count = bytes[0] & 32 ? 2 : 0,
						  .temperature = NAN,
						  .top_p = NAN,
						  .stream = &to_heard };
	const struct wl_llm_ask ask = { &request, "m", bytes[0] & 8 ? WL_LLM_DIALECT_SCHEMA_TOOL : 0, bytes[0] & 4 };
	const struct wl_llm_wire *wire = wires[bytes[0] & 3];
	const char *text = (const char *)bytes + 2;
	struct wl_llm_sink first = { .stream = &to_heard }, second = { .stream = &to_twice };
	struct wl_model_answer one = { 0 }, other = { 0 }, again = { 0 };
	length -= 2;
	enum wl_model_fault fault = read_answer_in(&ask, wire, text, length, length + 1, &first, &one);
	size_t told = heard.length;
	if (fault == WL_MODEL_FAULT_NONE && one.text)
		FUZZ_ASSERT(heard.length == strlen(one.text) && memcmp(heard.data, one.text, told) == 0);
	FUZZ_ASSERT(read_answer_in(&ask, wire, text, length, bytes[1] ? bytes[1] : 1, &second, &other) == fault);
	FUZZ_ASSERT(same_text(one.text, other.text) && one.tool_use_count == other.tool_use_count &&
		    one.end == other.end);
	for (size_t i = 0; i < one.tool_use_count; i++)
		FUZZ_ASSERT(same_text(one.tool_uses[i].arguments, other.tool_uses[i].arguments));
	if (fault == WL_MODEL_FAULT_NONE)
		FUZZ_ASSERT(read_answer_in(&ask, wire, text, length, 7, &first, &again) == WL_MODEL_FAULT_NONE);
	FUZZ_ASSERT(heard.length == told);
	wl_model_answer_release(&one);
	wl_model_answer_release(&other);
	wl_model_answer_release(&again);
	wl_llm_sink_release(&first);
	wl_llm_sink_release(&second);
	wl_buffer_release(&heard);
	wl_buffer_release(&twice);
	return 0;
}
