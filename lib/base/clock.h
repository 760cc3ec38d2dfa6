/* The machine's clocks. Pure folders never include this: they are handed the time. */
#ifndef WL_BASE_CLOCK_H
#define WL_BASE_CLOCK_H

#include <stddef.h>
#include <stdint.h>

/* Milliseconds of CLOCK_BOOTTIME: for local timers; counts through suspend, never jumps. */
uint64_t wl_clock_boot_ms(void);
/* Microseconds of CLOCK_MONOTONIC: for measuring. */
uint64_t wl_clock_monotonic_us(void);
/* Milliseconds since 1970-01-01 UTC: for stamps shown to people, never for leases. */
int64_t wl_clock_wall_ms(void);

#define WL_RFC3339_SIZE 32
/* Write `wall_ms` as RFC 3339 UTC with milliseconds, such as 2026-05-01T09:30:00.125Z; returns `text`. */
char *wl_rfc3339(int64_t wall_ms, char text[WL_RFC3339_SIZE]);

#endif
