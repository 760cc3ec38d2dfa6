/*
 * Access tokens that were verified before: SHA-256 of the token to what it says. A bounded table; when it is full the
 * one that was not used for longest makes room. Pure: the time comes in.
 */
#ifndef WL_WEBAPP_CORE_TOKEN_CACHE_H
#define WL_WEBAPP_CORE_TOKEN_CACHE_H

#include "lib/base/ids.h"
#include "webapp/server/core/route.h"

#define WEB_TOKEN_DIGEST 32

struct web_identity {
	int tenant;
	enum web_role role;
	char user[WL_UUID_TEXT];
	char family[WL_UUID_TEXT]; /* of the login that the token came from; "" for an API key */
	char key[WL_UUID_TEXT];	   /* of the API key; "" for a login */
	int64_t expires_s;	   /* seconds since 1970 */
};

struct web_token_cache;

/* Room for `capacity` tokens, at least 1. NULL without memory. */
struct web_token_cache *web_token_cache_new(int capacity);
void web_token_cache_free(struct web_token_cache *cache);

/*
 * Look up a token: true with *ret_identity when it is known and not expired at now_s. *ret_fresh: its session was seen
 * alive less than `recheck_ms` before now_ms.
 */
bool web_token_cache_get(struct web_token_cache *cache, const unsigned char digest[WEB_TOKEN_DIGEST], int64_t now_s,
			 int64_t now_ms, int64_t recheck_ms, struct web_identity *ret_identity, bool *ret_fresh);

/* Remember that a token was verified and its session seen alive at now_ms. */
void web_token_cache_put(struct web_token_cache *cache, const unsigned char digest[WEB_TOKEN_DIGEST],
			 const struct web_identity *identity, int64_t now_ms);

/* Forget a token whose session is over. */
void web_token_cache_drop(struct web_token_cache *cache, const unsigned char digest[WEB_TOKEN_DIGEST]);

#endif
