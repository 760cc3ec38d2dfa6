#include "lib/base/clock.h"

#include <stdio.h>
#include <time.h>

static struct timespec now_of(clockid_t clock)
{
	struct timespec now = { 0 };
	(void)clock_gettime(clock, &now);
	return now;
}

uint64_t wl_clock_boot_ms(void)
{
	struct timespec now = now_of(CLOCK_BOOTTIME);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

uint64_t wl_clock_monotonic_us(void)
{
	struct timespec now = now_of(CLOCK_MONOTONIC);
	return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

int64_t wl_clock_wall_ms(void)
{
	struct timespec now = now_of(CLOCK_REALTIME);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

char *wl_rfc3339(int64_t wall_ms, char text[WL_RFC3339_SIZE])
{
	time_t seconds = (time_t)(wall_ms / 1000);
	struct tm utc;
	(void)gmtime_r(&seconds, &utc);
	size_t used = strftime(text, WL_RFC3339_SIZE, "%Y-%m-%dT%H:%M:%S", &utc);
	(void)snprintf(text + used, WL_RFC3339_SIZE - used, ".%03dZ", (int)(wall_ms % 1000));
	return text;
}
