/* A file that is read as a flow comes out the same when it is written, read and written again; differences are JSON. */
#include "lib/base/cleanup.h"
#include "lib/codec/flow_diff.h"
#include "lib/codec/flow_export.h"
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>

static void write_twice(const struct wl_json *flow, enum wl_flow_format format)
{
	_wl_buffer_ struct wl_buffer first = { 0 }, second = { 0 };
	_wl_json_ struct wl_json *read = NULL;
	struct wl_error err = { 0 };
	FUZZ_ASSERT(wl_flow_export("name", wl_json_get_string(flow, "description", ""), flow, format, &first, &err) ==
		    0);
	if (first.length > WL_FLOW_FILE_MAX)
		return;
	FUZZ_ASSERT(wl_flow_file_parse(first.data, first.length, &read, &err) == 0);
	FUZZ_ASSERT(wl_flow_export("name", wl_json_get_string(read, "description", ""), read, format, &second, &err) ==
		    0);
	FUZZ_ASSERT(first.length == second.length && memcmp(first.data, second.data, first.length) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
	_wl_json_ struct wl_json *flow = NULL, *valid = NULL;
	_wl_buffer_ struct wl_buffer differences = { 0 };
	_wl_free_ struct wl_flow_faults *faults = calloc(1, sizeof(*faults));
	struct wl_error err = { 0 };
	if (!faults || wl_flow_file_parse((const char *)bytes, length, &flow, &err) < 0) {
		FUZZ_ASSERT(err.code != 0 && !flow);
		return 0;
	}
	wl_flow_file_check(flow, faults);
	FUZZ_ASSERT(faults->count || wl_json_is(flow, WL_JSON_OBJECT));
	if (!wl_json_is(flow, WL_JSON_OBJECT))
		return 0;
	write_twice(flow, WL_FLOW_JSON);
	write_twice(flow, WL_FLOW_YAML);
	wl_buffer_append_char(&differences, '{');
	FUZZ_ASSERT(wl_flow_diff(flow, flow, &differences, &err) == 0);
	wl_buffer_append_char(&differences, '}');
	FUZZ_ASSERT(wl_json_parse(differences.data, differences.length, &valid, &err) == 0);
	return 0;
}
