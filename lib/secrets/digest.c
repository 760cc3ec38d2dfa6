#include "lib/secrets/digest.h"

#include <sodium.h>
#include <string.h>

void wl_sha256(const void *bytes, size_t length, unsigned char ret_digest[WL_SHA256_BYTES])
{
	crypto_hash_sha256(ret_digest, bytes, length);
}

char *wl_hex(const unsigned char *bytes, size_t length, char *text)
{
	return sodium_bin2hex(text, 2 * length + 1, bytes, length);
}

int wl_unhex(const char *text, unsigned char *bytes, size_t size)
{
	size_t written = 0;
	const char *end = NULL;
	size_t length = strlen(text);
	if (sodium_hex2bin(bytes, size, text, length, NULL, &written, &end) != 0 || end != text + length)
		return -1;
	return (int)written;
}
