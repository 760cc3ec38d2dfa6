/*
 * Who asks: the access token or the API key of the Authorization header (RFC 6750), which clients of the gateway may
 * send as x-api-key, and whether the login or the key
 * still stands. What was checked is believed for WEB_SESSION_RECHECK_MS.
 */
#include "lib/base/clock.h"
#include "lib/secrets/digest.h"
#include "webapp/server/gateway_error.h"
#include "webapp/server/server.h"
#include "webapp/server/session_tokens.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define OFFERED_TOKEN_MOST 4096

struct check {
	struct web_request *request;
	void (*then)(struct web_request *request);
	unsigned char digest[WL_SHA256_BYTES];
};

enum check_column { COLUMN_OUTCOME, COLUMN_ROLE, COLUMN_KEY, COLUMN_TENANT, COLUMN_USER, COLUMN_EXPIRES };

static void refuse(struct web_request *request, const char *detail)
{
	web_answer_unauthorized(request, "invalid_token", detail);
}

/* An API key says nothing by itself: whose it is comes with the check. */
static void take_key(struct web_identity *identity, const struct pg_job *job)
{
	int64_t expires_s = pg_number(job, 0, 0, COLUMN_EXPIRES);
	identity->tenant = (int)pg_number(job, 0, 0, COLUMN_TENANT);
	identity->expires_s = expires_s ? expires_s : INT64_MAX;
	(void)snprintf(identity->key, sizeof(identity->key), "%s", pg_text(job, 0, 0, COLUMN_KEY));
	(void)snprintf(identity->user, sizeof(identity->user), "%s", pg_text(job, 0, 0, COLUMN_USER));
	identity->family[0] = '\0';
}

static void checked(struct pg_job *job)
{
	struct check *check = job->context;
	struct web_request *request = check->request;
	if (!web_job_failed(request, job)) {
		const char *outcome = pg_rows(job, 0) ? pg_text(job, 0, 0, COLUMN_OUTCOME) : "ended";
		bool good = strcmp(outcome, "ok") == 0;
		if (good) { /* the role is the one of today, not of when the token was signed */
			request->identity.role = web_role_of(pg_text(job, 0, 0, COLUMN_ROLE));
			if (PQnfields(job->steps[0].result) > COLUMN_KEY)
				take_key(&request->identity, job);
			web_token_cache_put(web.tokens, check->digest, &request->identity, (int64_t)wl_clock_boot_ms());
			check->then(request);
		} else {
			web_token_cache_drop(web.tokens, check->digest);
			if (strcmp(outcome, "ended") == 0)
				refuse(request, "this login has ended");
			else
				web_answer_problem(request, 403, "this tenant is %s", outcome);
		}
	}
	web_request_release(request);
	free(check);
}

/* Ask whether it still counts; `token` is of the kind that is_key says, and in request->identity unless it is a key. */
static void check_login(struct web_request *request, const unsigned char *digest, bool is_key,
			void (*then)(struct web_request *request))
{
	char address[64] = "";
	struct check *check = calloc(1, sizeof(*check));
	struct pg_job *job = check ? pg_job_new(0, checked, check) : NULL;
	if (!job) {
		free(check);
		web_answer_unavailable(request, 1, "no memory");
		return;
	}
	check->request = web_request_hold(request);
	check->then = then;
	memcpy(check->digest, digest, sizeof(check->digest));
	if (is_key) {
		pg_job_step(job, SQL_KEY_CHECK);
		pg_job_bytes(job, digest, WL_SHA256_BYTES);
		pg_job_value(job, web_request_peer(request, address, sizeof(address)));
		pg_job_value(job, request->id);
	} else if (request->identity.role == WEB_ROLE_OPERATOR) {
		pg_job_step(job, SQL_OPERATOR_CHECK);
		pg_job_value(job, request->identity.user);
		pg_job_value(job, request->identity.family);
	} else {
		pg_job_step(job, SQL_SESSION_CHECK);
		pg_job_value(job, request->identity.family);
	}
	pg_submit(web.postgres, job);
}

static bool verify(struct web_request *request, const char *token, int64_t now_s)
{
	struct wl_token_claims claims;
	struct wl_error err;
	if (wl_token_read(web.token_key, token, now_s, &claims, &err) < 0) {
		refuse(request, err.text);
		return false;
	}
	struct web_identity *identity = &request->identity;
	identity->tenant = claims.tenant;
	identity->role = web_role_of(claims.role);
	identity->expires_s = claims.expires_s;
	memcpy(identity->user, claims.user, sizeof(identity->user));
	memcpy(identity->family, claims.family, sizeof(identity->family));
	return true;
}

void web_authenticate_again(struct web_request *request, const unsigned char token_digest[WEB_TOKEN_DIGEST],
			    void (*then)(struct web_request *request))
{
	struct web_identity identity;
	bool fresh = false;
	if (request->identity.expires_s <= wl_clock_wall_ms() / 1000) {
		refuse(request, "the token has expired");
		return;
	}
	bool known = web_token_cache_get(web.tokens, token_digest, wl_clock_wall_ms() / 1000,
					 (int64_t)wl_clock_boot_ms(), WEB_SESSION_RECHECK_MS, &identity, &fresh);
	memcpy(request->token_digest, token_digest, WEB_TOKEN_DIGEST);
	if (known && fresh) {
		request->identity = identity; /* with the role of now */
		then(request);
	} else {
		check_login(request, token_digest, *request->identity.key, then);
	}
}

/* The token among a WebSocket's subprotocols (Sec-WebSocket-Protocol: windlass.v1, bearer.<token>), the only place
 * where a browser can put one. False when there is none that fits. */
static bool offered_token(struct web_request *request, char *token, size_t size)
{
	const char *offered = web_exchange_header(request->exchange, "sec-websocket-protocol");
	if (!request->route || strcmp(request->route->operation, "chat_stream") != 0 || !offered)
		return false;
	for (const char *word = offered; *word; word += strcspn(word, ",")) {
		word += strspn(word, ", \t");
		size_t length = strcspn(word, ", \t");
		if (length <= 7 || length - 7 >= size || strncmp(word, "bearer.", 7) != 0)
			continue;
		(void)snprintf(token, size, "%.*s", (int)(length - 7), word + 7);
		return true;
	}
	return false;
}

void web_authenticate(struct web_request *request, void (*then)(struct web_request *request))
{
	const char *header = web_exchange_header(request->exchange, "authorization");
	const char *key = web_gateway_is(request->path) ? web_exchange_header(request->exchange, "x-api-key") : NULL;
	char offered[OFFERED_TOKEN_MOST];
	if (!header && !key && offered_token(request, offered, sizeof(offered)))
		key = offered;
	if (!header && !key) {
		web_answer_unauthorized(request, NULL, "this needs an access token");
		return;
	}
	if (header && strncasecmp(header, "Bearer ", 7) != 0) {
		refuse(request, "the Authorization header must be 'Bearer <token>'");
		return;
	}
	const char *token = header ? header + 7 + strspn(header + 7, " ") : key;
	unsigned char digest[WL_SHA256_BYTES];
	bool fresh = false, is_key = wl_api_key_looks_like(token);
	int64_t now_s = wl_clock_wall_ms() / 1000, now_ms = (int64_t)wl_clock_boot_ms();
	wl_sha256(token, strlen(token), digest);
	memcpy(request->token_digest, digest, sizeof(digest));
	bool known = web_token_cache_get(web.tokens, digest, now_s, now_ms, WEB_SESSION_RECHECK_MS, &request->identity,
					 &fresh);
	if (known && fresh)
		then(request);
	else if (known || is_key || verify(request, token, now_s))
		check_login(request, digest, is_key, then);
}
