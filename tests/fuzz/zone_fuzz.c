/* A time zone file: what is taken has spans that follow each other without a gap, and cron comes to an end in it. */
#include "lib/base/zone.h"
#include "lib/model/cron.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
	struct wl_zone *zone = NULL;
	struct wl_cron cron;
	int64_t t = -8000000000, fire;
	if (wl_zone_parse(bytes, length, &zone, NULL) < 0)
		return 0;
	for (int i = 0; i < 400 && t < 16000000000; i++) {
		struct wl_zone_span span = wl_zone_span(zone, t);
		FUZZ_ASSERT(span.start <= t && t < span.end);
		FUZZ_ASSERT(span.offset > -90000 && span.offset < 93600);
		t = span.end;
	}
	FUZZ_ASSERT(wl_cron_parse("30 2 29 2 *", &cron, NULL) == 0);
	if (wl_cron_next(&cron, zone, 1700000000, &fire))
		FUZZ_ASSERT(fire > 1700000000);
	wl_zone_close(zone);
	return 0;
}
