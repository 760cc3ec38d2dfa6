/* Whatever document comes: it is read or has faults with places, and what comes out is strict JSON within its bounds.
 */
#include "lib/base/cleanup.h"
#include "lib/codec/openapi_document.h"
#include "tests/fuzz/fuzz.h"

#include <errno.h>
#include <string.h>

static void check_openapi_result(const struct wl_json *result)
{
	_wl_json_ struct wl_json *again = NULL;
	_wl_free_ char *text = wl_json_print(result);
	const struct wl_json *tools = wl_json_get(result, "tools");
	FUZZ_ASSERT(text && wl_json_parse(text, strlen(text), &again, NULL) == 0);
	FUZZ_ASSERT(wl_json_count(tools) > 0 && wl_json_count(tools) <= WL_OPENAPI_OPERATIONS_MAX);
	for (const struct wl_json *one = wl_json_first(tools); one; one = wl_json_next(one)) {
		const char *name = wl_json_get_string(one, "name", "");
		FUZZ_ASSERT(*name && strlen(name) <= WL_OPENAPI_NAME_MAX);
		FUZZ_ASSERT(wl_json_is(wl_json_get(one, "input_schema"), WL_JSON_OBJECT));
		FUZZ_ASSERT(wl_json_is(wl_json_get(one, "output_schema"), WL_JSON_OBJECT));
		FUZZ_ASSERT(strstr(wl_json_get_string(wl_json_get(one, "execution_config"), "url", ""), "://"));
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
	static struct wl_flow_faults faults;
	_wl_json_ struct wl_json *document = NULL, *result = NULL;
	struct wl_error err = { 0 };
	const struct wl_openapi_choice choice = { length % 2 ? "https://x.example" : NULL, NULL, NULL };
	if (wl_openapi_parse((const char *)bytes, length, &document, &err) < 0) {
		FUZZ_ASSERT(err.code != 0 && !document);
		return 0;
	}
	memset(&faults, 0, sizeof(faults));
	if (wl_openapi_read(document, &choice, &result, &faults, &err) < 0) {
		FUZZ_ASSERT(err.code == EINVAL && faults.count > 0 && !result);
		for (int i = 0; i < faults.count; i++)
			FUZZ_ASSERT(faults.items[i].path[0] && faults.items[i].text[0]);
		return 0;
	}
	FUZZ_ASSERT(faults.count == 0);
	check_openapi_result(result);
	return 0;
}
