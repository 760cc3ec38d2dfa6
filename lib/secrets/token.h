/*
 * Tokens: access tokens are JWTs (RFC 7519) signed with HS256; refresh tokens are 256 random bits of which only the
 * SHA-256 is ever stored.
 */
#ifndef WL_SECRETS_TOKEN_H
#define WL_SECRETS_TOKEN_H

#include "lib/base/error.h"
#include "lib/base/ids.h"
#include "lib/secrets/digest.h"

#include <stdbool.h>
#include <stdint.h>

#define WL_TOKEN_ISSUER "windlass"
#define WL_TOKEN_AUDIENCE "windlass-api"
#define WL_TOKEN_MAX 2048 /* longest access token that is looked at, bytes */
#define WL_TOKEN_ROLE 16
#define WL_TOKEN_TENANT_MAX 999999999
#define WL_TOKEN_OPERATOR "operator" /* the role whose tokens are of no tenant: theirs is 0 */

#define WL_LINK_TOKEN 44 /* 256 random bits as base64url (RFC 4648 section 5) without padding, and the NUL */
#define WL_API_KEY_PREFIX "wlk_"
#define WL_API_KEY (WL_LINK_TOKEN + 4)

#define WL_REFRESH_TOKEN 80 /* 43 characters of base64url, the 36 of its login's family, and the NUL */

struct wl_token_key;

/* Take the key from its hex text (64 digits or more, so 256 bits). -EINVAL with a sentence that names the setting. */
int wl_token_key_open(const char *hex, struct wl_token_key **ret_key, struct wl_error *err);
/* Wipe and free it. */
void wl_token_key_close(struct wl_token_key *key);

struct wl_token_claims {
	int tenant;
	char user[WL_UUID_TEXT];
	char family[WL_UUID_TEXT]; /* the login it came from */
	char role[WL_TOKEN_ROLE];
	int64_t issued_s, expires_s; /* seconds since 1970 */
};

/* Sign a token. *ret_token is allocated. -ENOMEM, -EINVAL. */
int wl_token_make(const struct wl_token_key *key, const struct wl_token_claims *claims, char **ret_token,
		  struct wl_error *err);

/*
 * Verify a token at the time now_s: HS256 and no other algorithm (RFC 8725 §3.1), the signature, issuer, audience,
 * expiry, and that every claim is there in its form. 0, or -EACCES with a sentence for the log.
 */
int wl_token_read(const struct wl_token_key *key, const char *token, int64_t now_s, struct wl_token_claims *ret_claims,
		  struct wl_error *err);

/* Draw the token of a link that is mailed. */
void wl_link_token_make(char ret_token[WL_LINK_TOKEN]);

/* Draw an API key; and whether a text may be one, without asking anybody. */
void wl_api_key_make(char ret_key[WL_API_KEY]);
bool wl_api_key_looks_like(const char *text);

/* Make a refresh token of a family, and the digest of it that is stored. The digest covers the family too. */
void wl_refresh_token_make(const char family[WL_UUID_TEXT], char ret_token[WL_REFRESH_TOKEN],
			   unsigned char ret_digest[WL_SHA256_BYTES]);

/* The digest and the family of a refresh token that somebody shows; false when it cannot be one. */
bool wl_refresh_token_read(const char *token, char ret_family[WL_UUID_TEXT], unsigned char ret_digest[WL_SHA256_BYTES]);

#endif
