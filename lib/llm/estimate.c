/*
 * Counting tokens without a tokenizer. Common ones (byte pair encodings of 100 000 and more entries) need at most a
 * token for about three letters of running text, for one to two digits or signs, and for two bytes of other scripts.
 */
#include "lib/llm/wire.h"

#include <ctype.h>
#include <string.h>

#define TOKENS_OF_MESSAGE 8
#define TOKENS_OF_TOOL 16
#define TOKENS_OF_IMAGE 1600 /* what the dearest provider takes for a picture that it has scaled down */

uint64_t wl_llm_count_tokens(const char *text, size_t length)
{
	uint64_t sixths = 0;
	for (size_t i = 0; i < length; i++) {
		unsigned char byte = (unsigned char)text[i];
		sixths += byte >= 0x80 ? 3 : isalpha(byte) || byte == ' ' ? 2 : 4;
	}
	return (sixths + 5) / 6;
}

static uint64_t count(const char *text)
{
	return text ? wl_llm_count_tokens(text, strlen(text)) : 0;
}

static uint64_t count_message(const struct wl_model_message *message)
{
	uint64_t tokens = TOKENS_OF_MESSAGE + count(message->text) + message->image_count * TOKENS_OF_IMAGE;
	for (size_t i = 0; i < message->tool_use_count; i++)
		tokens += TOKENS_OF_TOOL + count(message->tool_uses[i].name) + count(message->tool_uses[i].arguments);
	return tokens;
}

uint64_t wl_llm_count_prompt(const struct wl_model_request *request)
{
	uint64_t tokens = TOKENS_OF_MESSAGE;
	for (size_t i = 0; i < request->message_count; i++)
		tokens += count_message(&request->messages[i]);
	for (size_t i = 0; i < request->tool_count; i++)
		tokens += TOKENS_OF_TOOL + count(request->tools[i].name) + count(request->tools[i].description) +
			  count(request->tools[i].parameters);
	return tokens + (request->schema ? TOKENS_OF_TOOL + count(request->schema) : 0);
}

uint64_t wl_llm_estimate(const struct wl_model_request *request, uint64_t otherwise)
{
	return wl_llm_count_prompt(request) + (request->max_tokens > 0 ? (uint64_t)request->max_tokens : otherwise);
}
