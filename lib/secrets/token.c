#include "lib/secrets/token.h"

#include "lib/base/cleanup.h"

#include <errno.h>
#include <jwt.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#define KEY_BYTES_LEAST 32
#define KEY_BYTES_MOST 128

struct wl_token_key {
	unsigned char bytes[KEY_BYTES_MOST];
	int length;
};

static inline void jwt_cleanup(jwt_t **jwt)
{
	if (*jwt)
		jwt_free(*jwt);
}
#define _jwt_ __attribute__((cleanup(jwt_cleanup)))

int wl_token_key_open(const char *hex, struct wl_token_key **ret_key, struct wl_error *err)
{
	if (sodium_init() < 0)
		return wl_fail(err, EIO, "libsodium could not be started");
	struct wl_token_key *key = sodium_malloc(sizeof(*key));
	if (!key)
		return wl_fail(err, ENOMEM, "no memory for the token key");
	key->length = wl_unhex(hex, key->bytes, sizeof(key->bytes));
	if (key->length < KEY_BYTES_LEAST) {
		sodium_free(key);
		return wl_fail(err, EINVAL, "WINDLASS_TOKEN_KEY (token_key) must be %d to %d hex digits",
			       2 * KEY_BYTES_LEAST, 2 * KEY_BYTES_MOST);
	}
	(void)sodium_mprotect_readonly(key);
	*ret_key = key;
	return 0;
}

void wl_token_key_close(struct wl_token_key *key)
{
	sodium_free(key); /* wipes it */
}

static int add_claims(jwt_t *jwt, const struct wl_token_claims *claims)
{
	int rc = jwt_add_grant(jwt, "iss", WL_TOKEN_ISSUER);
	rc = rc ? rc : jwt_add_grant(jwt, "aud", WL_TOKEN_AUDIENCE);
	rc = rc ? rc : jwt_add_grant(jwt, "sub", claims->user);
	rc = rc ? rc : jwt_add_grant(jwt, "fam", claims->family);
	rc = rc ? rc : jwt_add_grant(jwt, "role", claims->role);
	rc = rc ? rc : jwt_add_grant_int(jwt, "tenant", claims->tenant);
	rc = rc ? rc : jwt_add_grant_int(jwt, "iat", (long)claims->issued_s);
	return rc ? rc : jwt_add_grant_int(jwt, "exp", (long)claims->expires_s);
}

int wl_token_make(const struct wl_token_key *key, const struct wl_token_claims *claims, char **ret_token,
		  struct wl_error *err)
{
	_jwt_ jwt_t *jwt = NULL;
	int rc = jwt_new(&jwt);
	rc = rc ? rc : add_claims(jwt, claims);
	rc = rc ? rc : jwt_set_alg(jwt, JWT_ALG_HS256, key->bytes, key->length);
	if (rc)
		return wl_fail_errno(err, rc, "make a token");
	char *token = jwt_encode_str(jwt);
	if (!token)
		return wl_fail_errno(err, errno, "sign a token");
	*ret_token = token;
	return 0;
}

/* A text claim of a bounded length, copied. */
static bool copy_claim(jwt_t *jwt, const char *name, char *text, size_t size)
{
	const char *value = jwt_get_grant(jwt, name);
	size_t length = value ? strlen(value) : 0;
	if (length == 0 || length >= size)
		return false;
	memcpy(text, value, length + 1);
	return true;
}

static bool claim_is(jwt_t *jwt, const char *name, const char *expected)
{
	const char *value = jwt_get_grant(jwt, name);
	return value && strcmp(value, expected) == 0;
}

int wl_token_read(const struct wl_token_key *key, const char *token, int64_t now_s, struct wl_token_claims *ret_claims,
		  struct wl_error *err)
{
	struct wl_token_claims claims = { 0 };
	_jwt_ jwt_t *jwt = NULL;
	size_t length = strlen(token);
	if (length == 0 || length > WL_TOKEN_MAX)
		return wl_fail(err, EACCES, "the token has an impossible length");
	if (jwt_decode(&jwt, token, key->bytes, key->length) != 0)
		return wl_fail(err, EACCES, "the token is malformed or its signature is wrong");
	if (jwt_get_alg(jwt) != JWT_ALG_HS256)
		return wl_fail(err, EACCES, "the token is not signed with HS256");
	if (!claim_is(jwt, "iss", WL_TOKEN_ISSUER) || !claim_is(jwt, "aud", WL_TOKEN_AUDIENCE))
		return wl_fail(err, EACCES, "the token is not meant for this server");
	long tenant = jwt_get_grant_int(jwt, "tenant");
	claims.issued_s = jwt_get_grant_int(jwt, "iat");
	claims.expires_s = jwt_get_grant_int(jwt, "exp");
	if (claims.expires_s <= now_s)
		return wl_fail(err, EACCES, "the token has expired");
	if (!copy_claim(jwt, "sub", claims.user, sizeof(claims.user)) || !wl_uuid_valid(claims.user) ||
	    !copy_claim(jwt, "fam", claims.family, sizeof(claims.family)) || !wl_uuid_valid(claims.family) ||
	    !copy_claim(jwt, "role", claims.role, sizeof(claims.role)))
		return wl_fail(err, EACCES, "the token lacks a claim");
	/* operators belong to no tenant, everybody else to one */
	bool is_operator = strcmp(claims.role, WL_TOKEN_OPERATOR) == 0;
	if (is_operator ? tenant != 0 : tenant < 1 || tenant > WL_TOKEN_TENANT_MAX)
		return wl_fail(err, EACCES, "the token lacks a claim");
	claims.tenant = (int)tenant;
	*ret_claims = claims;
	return 0;
}

#define RANDOM_TEXT (WL_LINK_TOKEN - 1)

void wl_link_token_make(char ret_token[WL_LINK_TOKEN])
{
	unsigned char bits[32];
	randombytes_buf(bits, sizeof(bits));
	sodium_bin2base64(ret_token, WL_LINK_TOKEN, bits, sizeof(bits), sodium_base64_VARIANT_URLSAFE_NO_PADDING);
	sodium_memzero(bits, sizeof(bits));
}

void wl_api_key_make(char ret_key[WL_API_KEY])
{
	memcpy(ret_key, WL_API_KEY_PREFIX, strlen(WL_API_KEY_PREFIX));
	wl_link_token_make(ret_key + strlen(WL_API_KEY_PREFIX));
}

bool wl_api_key_looks_like(const char *text)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
	return strncmp(text, WL_API_KEY_PREFIX, strlen(WL_API_KEY_PREFIX)) == 0 && strlen(text) == WL_API_KEY - 1 &&
	       strspn(text + strlen(WL_API_KEY_PREFIX), digits) == RANDOM_TEXT;
}

void wl_refresh_token_make(const char family[WL_UUID_TEXT], char ret_token[WL_REFRESH_TOKEN],
			   unsigned char ret_digest[WL_SHA256_BYTES])
{
	wl_link_token_make(ret_token);
	memcpy(ret_token + RANDOM_TEXT, family, WL_UUID_TEXT);
	wl_sha256(ret_token, strlen(ret_token), ret_digest);
}

bool wl_refresh_token_read(const char *token, char ret_family[WL_UUID_TEXT], unsigned char ret_digest[WL_SHA256_BYTES])
{
	if (strlen(token) != WL_REFRESH_TOKEN - 1 || !wl_uuid_valid(token + RANDOM_TEXT))
		return false;
	memcpy(ret_family, token + RANDOM_TEXT, WL_UUID_TEXT);
	wl_sha256(token, WL_REFRESH_TOKEN - 1, ret_digest);
	return true;
}
