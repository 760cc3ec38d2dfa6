/* What the reader takes must print, and read back as the same value and the same text. */
#include "lib/base/cleanup.h"
#include "lib/codec/json.h"
#include "tests/fuzz/fuzz.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
	_wl_json_ struct wl_json *json = NULL, *again = NULL;
	struct wl_error err = { 0 };
	if (wl_json_parse((const char *)bytes, length, &json, &err) < 0) {
		FUZZ_ASSERT(err.code != 0 && *err.text && !json);
		return 0;
	}
	_wl_free_ char *text = wl_json_print(json);
	FUZZ_ASSERT(text && wl_json_parse(text, strlen(text), &again, &err) == 0);
	FUZZ_ASSERT(wl_json_equal(json, again));
	_wl_free_ char *second = wl_json_print(again);
	FUZZ_ASSERT(second && strcmp(text, second) == 0);
	return 0;
}
