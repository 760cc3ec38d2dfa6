/* What the YAML reader takes must be JSON that the strict reader takes, and come back from being written as YAML. */
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
	_wl_buffer_ struct wl_buffer written = { 0 };
	_wl_json_ struct wl_json *read = NULL;
	FUZZ_ASSERT(wl_yaml_write(&written, json) == 0);
	if (written.length > WL_YAML_MAX)
		return 0;
	FUZZ_ASSERT(wl_yaml_parse(written.data, written.length, &read, &err) == 0);
	_wl_free_ char *read_text = wl_json_print(read);
	FUZZ_ASSERT(read_text && strcmp(text, read_text) == 0);
	return 0;
}
