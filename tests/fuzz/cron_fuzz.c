/* A cron expression: what is taken fires in UTC, each fire after the one before it. */
#include "lib/base/zone.h"
#include "lib/model/cron.h"
#include "tests/fuzz/fuzz.h"

#include <string.h>

/* The smallest file that there can be: UTC. */
static struct wl_zone *utc(void)
{
	static struct wl_zone *zone;
	char file[44 + 6 + 44 + 6 + 7] = { 0 };
	if (zone)
		return zone;
	for (int i = 0; i < 2; i++) {
		char *header = file + i * 50;
		memcpy(header, "TZif2", 5);
		header[39] = 1;
	}
	memcpy(file + 100, "\nUTC0\n", 6);
	FUZZ_ASSERT(wl_zone_parse(file, 106, &zone, NULL) == 0);
	return zone;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
	char text[WL_CRON_TEXT + 8];
	struct wl_cron cron;
	int64_t t = 1700000000;
	if (length >= sizeof(text))
		return 0;
	memcpy(text, bytes, length);
	text[length] = '\0';
	if (wl_cron_parse(text, &cron, NULL) < 0)
		return 0;
	for (int i = 0; i < 3; i++) {
		int64_t before = t;
		FUZZ_ASSERT(wl_cron_next(&cron, utc(), t, &t));
		FUZZ_ASSERT(t > before);
	}
	return 0;
}
