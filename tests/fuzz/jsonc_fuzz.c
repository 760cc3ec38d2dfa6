/* JSON with comments: what it reads is what strict JSON reads once comments and last commas are gone; plain JSON reads
 * the same. */
#include "lib/base/cleanup.h"
#include "lib/codec/jsonc.h"
#include "tests/fuzz/fuzz.h"

#include <errno.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
	_wl_json_ struct wl_json *value = NULL, *plain = NULL, *again = NULL;
	struct wl_error err = { 0 };
	bool is_plain = wl_json_parse((const char *)bytes, length, &plain, NULL) == 0;
	int rc = wl_jsonc_parse((const char *)bytes, length, &value, &err);
	FUZZ_ASSERT(rc == 0 || (err.code != 0 && err.text[0] && !value));
	/* all that is JSON is JSON with comments */
	FUZZ_ASSERT(!is_plain || (rc == 0 && wl_json_equal(plain, value)));
	if (rc < 0)
		return 0;
	_wl_free_ char *text = wl_json_print(value);
	FUZZ_ASSERT(text && wl_json_parse(text, strlen(text), &again, NULL) == 0 && wl_json_equal(value, again));
	return 0;
}
