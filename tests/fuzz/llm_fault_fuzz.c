/* What a model's server says when it refuses: always a fault and a sentence, and never the key. */
#include "lib/llm/wire.h"
#include "tests/fuzz/fuzz.h"

#include <string.h>

#define FUZZ_MODEL_KEY "planted-key"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
	static const struct wl_model_request request = { .schema = "{\"type\":\"object\"}" };
	struct wl_error err = { 0 };
	if (length < 1)
		return 0;
	long status = bytes[0] ? 300 + bytes[0] : 0;
	const char *body = (const char *)bytes + 1;
	enum wl_model_fault fault = wl_llm_fault_of(status, body, length - 1, FUZZ_MODEL_KEY, &err);
	FUZZ_ASSERT(fault != WL_MODEL_FAULT_NONE && err.code == wl_llm_errno(fault) && err.text[0]);
	FUZZ_ASSERT(!strstr(err.text, FUZZ_MODEL_KEY));
	for (const char *at = err.text; *at; at++)
		FUZZ_ASSERT((unsigned char)*at >= 0x20 && *at != 0x7f);
	/* what is learned is new each time, so that asking otherwise comes to an end */
	struct wl_llm_ask ask = { .request = &request };
	for (int i = 0; i < 12; i++) {
		unsigned found = wl_llm_dialect_of(status, body, length - 1, &ask);
		FUZZ_ASSERT((found & ask.dialect) == 0);
		FUZZ_ASSERT(i < 11 || !found);
		ask.dialect |= found;
	}
	return 0;
}
