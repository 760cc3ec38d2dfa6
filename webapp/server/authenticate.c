/* Who asks: the access token of the Authorization header (RFC 6750), and whether its login still stands. */
#include "lib/base/clock.h"
#include "lib/secrets/digest.h"
#include "webapp/server/server.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

struct check {
	struct web_request *request;
	void (*then)(struct web_request *request);
	unsigned char digest[WL_SHA256_BYTES];
};

static void refuse(struct web_request *request, const char *detail)
{
	web_answer_header(request, "www-authenticate", "Bearer realm=\"windlass\", error=\"invalid_token\"");
	web_answer_problem(request, 401, "%s", detail);
}

static void session_checked(struct pg_job *job)
{
	struct check *check = job->context;
	struct web_request *request = check->request;
	const char *alive = job->outcome == PG_DONE && pg_rows(job, 0) ? pg_text(job, 0, 0, 0) : NULL;
	if (web_job_failed(request, job)) {
		/* answered */
	} else if (!alive || alive[0] != 't') {
		web_token_cache_drop(web.tokens, check->digest);
		refuse(request, "this login has ended");
	} else {
		web_token_cache_put(web.tokens, check->digest, &request->identity, (int64_t)wl_clock_boot_ms());
		check->then(request);
	}
	web_request_release(request);
	free(check);
}

static void check_session(struct web_request *request, const unsigned char *digest,
			  void (*then)(struct web_request *request))
{
	struct check *check = calloc(1, sizeof(*check));
	struct pg_job *job = check ? pg_job_new(0, session_checked, check) : NULL;
	if (!job) {
		free(check);
		web_answer_unavailable(request, 1, "no memory");
		return;
	}
	check->request = web_request_hold(request);
	check->then = then;
	memcpy(check->digest, digest, sizeof(check->digest));
	pg_job_step(job, SQL_SESSION_ALIVE);
	pg_job_value(job, request->identity.family);
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

void web_authenticate(struct web_request *request, void (*then)(struct web_request *request))
{
	const char *header = web_exchange_header(request->exchange, "authorization");
	if (!header) {
		web_answer_header(request, "www-authenticate", "Bearer realm=\"windlass\"");
		web_answer_problem(request, 401, "this needs an access token");
		return;
	}
	if (strncasecmp(header, "Bearer ", 7) != 0) {
		refuse(request, "the Authorization header must be 'Bearer <token>'");
		return;
	}
	const char *token = header + 7 + strspn(header + 7, " ");
	unsigned char digest[WL_SHA256_BYTES];
	bool fresh = false;
	int64_t now_s = wl_clock_wall_ms() / 1000, now_ms = (int64_t)wl_clock_boot_ms();
	wl_sha256(token, strlen(token), digest);
	bool known = web_token_cache_get(web.tokens, digest, now_s, now_ms, WEB_SESSION_RECHECK_MS, &request->identity,
					 &fresh);
	if (known && fresh)
		then(request);
	else if (known || verify(request, token, now_s))
		check_session(request, digest, then);
}
