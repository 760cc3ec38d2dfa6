/* Identifiers: UUID version 7 (RFC 9562 §5.7), ordered by time of making. */
#ifndef WL_BASE_IDS_H
#define WL_BASE_IDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WL_UUID_TEXT 37 /* 36 characters and the NUL */

/* Fill `length` bytes from the kernel's random source; aborts when the kernel has none (cannot happen after boot). */
void wl_random_bytes(void *bytes, size_t length);

/* Write a new UUIDv7 in lower case. `wall_ms`: milliseconds since 1970, from wl_clock_wall_ms(). Returns `text`. */
char *wl_uuid7(int64_t wall_ms, char text[WL_UUID_TEXT]);

/* True when `text` is a UUID in its canonical 8-4-4-4-12 form, lower or upper case hex. */
bool wl_uuid_valid(const char *text);

#endif
