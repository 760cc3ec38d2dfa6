#include "lib/base/ids.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

void wl_random_bytes(void *bytes, size_t length)
{
	unsigned char *at = bytes;
	while (length > 0) {
		ssize_t got = getrandom(at, length, 0);
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			abort();
		at += got;
		length -= (size_t)got;
	}
}

char *wl_uuid7(int64_t wall_ms, char text[WL_UUID_TEXT])
{
	unsigned char raw[16];
	wl_random_bytes(raw + 6, sizeof(raw) - 6);
	for (int i = 0; i < 6; i++)
		raw[i] = (unsigned char)((uint64_t)wall_ms >> (40 - 8 * i));
	raw[6] = (unsigned char)((raw[6] & 0x0f) | 0x70);
	raw[8] = (unsigned char)((raw[8] & 0x3f) | 0x80);
	size_t used = 0;
	for (int i = 0; i < 16; i++) {
		if (i == 4 || i == 6 || i == 8 || i == 10)
			text[used++] = '-';
		(void)snprintf(text + used, 3, "%02x", raw[i]);
		used += 2;
	}
	return text;
}

bool wl_uuid_valid(const char *text)
{
	for (size_t i = 0; i < 36; i++) {
		bool dash = i == 8 || i == 13 || i == 18 || i == 23;
		if (dash ? text[i] != '-' : !isxdigit((unsigned char)text[i]))
			return false;
	}
	return text[36] == '\0';
}
