/* SHA-256 (FIPS 180-4), and text forms of bytes. */
#ifndef WL_SECRETS_DIGEST_H
#define WL_SECRETS_DIGEST_H

#include <stddef.h>

#define WL_SHA256_BYTES 32
#define WL_SHA256_HEX 65 /* 64 digits and the NUL */

void wl_sha256(const void *bytes, size_t length, unsigned char ret_digest[WL_SHA256_BYTES]);

/* `length` bytes as lower-case hex with a NUL; `text` has room for 2 * length + 1. Returns `text`. */
char *wl_hex(const unsigned char *bytes, size_t length, char *text);

/* Hex digits to bytes: how many, or -1 when the text is not an even number of digits or needs more than `size`. */
int wl_unhex(const char *text, unsigned char *bytes, size_t size);

#endif
