/* Range and If-None-Match headers: a part lies inside the body; a name in a header stays one header. */
#include "lib/base/cleanup.h"
#include "tests/fuzz/fuzz.h"
#include "webapp/server/artifact_range.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
	static const uint64_t sizes[] = { 0, 1, 10, 1000, UINT64_MAX - 1 };
	_wl_free_ char *text = malloc(length + 1);
	_wl_buffer_ struct wl_buffer value;
	memcpy(text, bytes, length);
	text[length] = '\0';
	for (size_t i = 0; i < WL_COUNT_OF(sizes); i++) {
		uint64_t first = 1, last = 0;
		enum web_range range = web_range_read(text, sizes[i], &first, &last);
		FUZZ_ASSERT(range == WEB_RANGE_PART ? first <= last && last < sizes[i] : first == 1 && last == 0);
	}
	(void)web_etag_listed(text, "abc");
	wl_buffer_init(&value, 0);
	web_disposition_append(&value, text);
	for (size_t i = 0; i < value.length; i++)
		FUZZ_ASSERT(value.data[i] >= ' ' && value.data[i] <= '~');
	FUZZ_ASSERT(strncmp(value.data, "attachment; filename=\"", 22) == 0);
	return 0;
}
