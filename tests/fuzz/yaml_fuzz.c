/* What the YAML reader takes must be JSON that the strict reader takes. */
#include "lib/base/cleanup.h"
#include "lib/codec/yaml.h"
#include "tests/fuzz/fuzz.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
	_wl_json_ struct wl_json *json = NULL, *again = NULL;
	struct wl_error err = { 0 };
	if (wl_yaml_parse((const char *)bytes, length, &json, &err) < 0) {
		FUZZ_ASSERT(err.code != 0 && !json);
		return 0;
	}
	_wl_free_ char *text = wl_json_print(json);
	FUZZ_ASSERT(text && wl_json_parse(text, strlen(text), &again, &err) == 0);
	return 0;
}
