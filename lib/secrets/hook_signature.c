#include "lib/secrets/hook_signature.h"

#include <errno.h>
#include <sodium.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define TIME_DIGITS 12

struct header {
	char time[TIME_DIGITS + 1];
	int64_t time_s;
	unsigned char v1[WL_HOOK_SIGNATURE_V1_MAX][WL_SHA256_BYTES];
	int count;
};

void wl_hook_secret_make(char ret_secret[WL_HOOK_SECRET])
{
	unsigned char random[32];
	randombytes_buf(random, sizeof(random));
	memcpy(ret_secret, "whsec_", 6);
	(void)sodium_bin2base64(ret_secret + 6, WL_HOOK_SECRET - 6, random, sizeof(random),
				sodium_base64_VARIANT_URLSAFE_NO_PADDING);
	sodium_memzero(random, sizeof(random));
}

static void sign(const char *secret, const char *time, const void *body, size_t length,
		 unsigned char ret_mac[WL_SHA256_BYTES])
{
	crypto_auth_hmacsha256_state state;
	(void)crypto_auth_hmacsha256_init(&state, (const unsigned char *)secret, strlen(secret));
	(void)crypto_auth_hmacsha256_update(&state, (const unsigned char *)time, strlen(time));
	(void)crypto_auth_hmacsha256_update(&state, (const unsigned char *)".", 1);
	(void)crypto_auth_hmacsha256_update(&state, body, length);
	(void)crypto_auth_hmacsha256_final(&state, ret_mac);
	sodium_memzero(&state, sizeof(state));
}

char *wl_hook_sign(const char *const *secrets, int count, int64_t now_s, const void *body, size_t length,
		   char ret_text[WL_HOOK_SIGNATURE_TEXT])
{
	char time[24], hex[WL_SHA256_HEX];
	unsigned char mac[WL_SHA256_BYTES];
	(void)snprintf(time, sizeof(time), "%lld", (long long)now_s);
	int used = snprintf(ret_text, WL_HOOK_SIGNATURE_TEXT, "t=%s", time);
	for (int i = 0; i < count && i < WL_HOOK_SECRETS_MAX; i++) {
		sign(secrets[i], time, body, length, mac);
		used += snprintf(ret_text + used, (size_t)(WL_HOOK_SIGNATURE_TEXT - used), ",v1=%s",
				 wl_hex(mac, sizeof(mac), hex));
	}
	return ret_text;
}

/* Decimal without a sign or leading zeros: one time has one spelling, so one request has one digest. */
static bool read_time(const char *text, size_t length, struct header *header)
{
	if (length == 0 || length > TIME_DIGITS || text[0] == '0')
		return false;
	header->time_s = 0;
	for (size_t i = 0; i < length; i++) {
		if (text[i] < '0' || text[i] > '9')
			return false;
		header->time_s = header->time_s * 10 + (text[i] - '0');
	}
	memcpy(header->time, text, length);
	header->time[length] = '\0';
	return true;
}

static bool read_v1(const char *text, size_t length, struct header *header)
{
	char hex[WL_SHA256_HEX];
	if (length != WL_SHA256_HEX - 1 || header->count == WL_HOOK_SIGNATURE_V1_MAX)
		return false;
	memcpy(hex, text, length);
	hex[length] = '\0';
	if (wl_unhex(hex, header->v1[header->count], WL_SHA256_BYTES) != WL_SHA256_BYTES)
		return false;
	header->count++;
	return true;
}

/* False for an element that is none of ours in its form; those of other names are well. */
static bool read_element(const char *text, size_t length, struct header *header)
{
	const char *equals = memchr(text, '=', length);
	if (!equals)
		return false;
	size_t name = (size_t)(equals - text);
	const char *value = equals + 1;
	size_t rest = length - name - 1;
	if (name == 1 && *text == 't')
		return !header->time[0] && read_time(value, rest, header);
	if (name == 2 && memcmp(text, "v1", 2) == 0)
		return read_v1(value, rest, header);
	return true;
}

static bool read_header(const char *text, struct header *ret_header)
{
	memset(ret_header, 0, sizeof(*ret_header));
	while (*text) {
		size_t length = strcspn(text, ",");
		size_t blanks = strspn(text, " \t");
		if (blanks > length)
			blanks = length;
		if (!read_element(text + blanks, length - blanks, ret_header))
			return false;
		text += length;
		if (*text == ',' && !*++text)
			return false;
	}
	return ret_header->time[0] && ret_header->count > 0;
}

static void digest(const struct header *header, const void *body, size_t length,
		   unsigned char ret_signed[WL_SHA256_BYTES])
{
	crypto_hash_sha256_state state;
	(void)crypto_hash_sha256_init(&state);
	(void)crypto_hash_sha256_update(&state, (const unsigned char *)header->time, strlen(header->time));
	(void)crypto_hash_sha256_update(&state, (const unsigned char *)".", 1);
	(void)crypto_hash_sha256_update(&state, body, length);
	(void)crypto_hash_sha256_final(&state, ret_signed);
}

int wl_hook_verify(const char *text, const char *const *secrets, int count, int64_t now_s, const void *body,
		   size_t length, unsigned char ret_signed[WL_SHA256_BYTES], struct wl_error *err)
{
	struct header header;
	unsigned char mac[WL_SHA256_BYTES];
	unsigned fits = 0;
	if (!text)
		return wl_fail(err, EACCES, "the header Windlass-Signature is missing");
	if (!read_header(text, &header))
		return wl_fail(err, EACCES, "the header Windlass-Signature is not t=<seconds>,v1=<64 hex digits>");
	for (int i = 0; i < count; i++) {
		sign(secrets[i], header.time, body, length, mac);
		for (int n = 0; n < header.count; n++)
			fits |= sodium_memcmp(mac, header.v1[n], sizeof(mac)) == 0;
	}
	sodium_memzero(mac, sizeof(mac));
	if (!fits)
		return wl_fail(err, EACCES, "no signature fits this body, its time and a secret of the webhook");
	/* told only to who has the secret: he may correct his clock */
	int64_t off_s = header.time_s - now_s;
	if (off_s > WL_HOOK_SIGNATURE_SKEW_S || off_s < -WL_HOOK_SIGNATURE_SKEW_S)
		return wl_fail(err, EACCES, "the signature's time is %lld s off; %d s are allowed", (long long)off_s,
			       WL_HOOK_SIGNATURE_SKEW_S);
	digest(&header, body, length, ret_signed);
	return 0;
}
