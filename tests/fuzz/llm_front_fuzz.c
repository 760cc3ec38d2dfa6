/* What clients of OpenAI's and Anthropic's formats ask: read or refused with a sentence, and never more than was said.
 */
#include "lib/llm/front.h"
#include "tests/fuzz/fuzz.h"

#include <string.h>

static void check_request(const struct wl_model_request *request)
{
	FUZZ_ASSERT(request->message_count > 0 && request->stop_count <= WL_MODEL_STOPS_MAX);
	FUZZ_ASSERT(request->tool_count <= WL_MODEL_TOOLS_MAX);
	for (size_t i = 0; i < request->message_count; i++) {
		const struct wl_model_message *message = &request->messages[i];
		FUZZ_ASSERT(message->role != WL_MODEL_TOOL || (message->tool_use_id && message->text));
		for (size_t j = 0; j < message->image_count; j++)
			FUZZ_ASSERT(message->images[j].url || message->images[j].base64);
		for (size_t j = 0; j < message->tool_use_count; j++)
			FUZZ_ASSERT(message->tool_uses[j].name && message->tool_uses[j].arguments);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
	struct wl_error err = { 0 };
	struct wl_json *body = NULL;
	struct wl_front front;
	if (length < 1 || wl_json_parse((const char *)bytes + 1, length - 1, &body, NULL) < 0)
		return 0;
	int result = bytes[0] == 'e'   ? wl_front_read_embeddings(body, &front, &err)
		     : bytes[0] == 'a' ? wl_front_read(&wl_front_anthropic, body, &front, &err)
				       : wl_front_read(&wl_front_openai, body, &front, &err);
	FUZZ_ASSERT(result == 0 || (err.code && err.text[0]));
	if (result == 0 && bytes[0] != 'e')
		check_request(&front.request);
	wl_front_release(&front);
	return 0;
}
