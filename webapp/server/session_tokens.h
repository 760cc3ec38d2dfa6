/* The tokens of a login: drawn before the transaction that opens it, signed into the answer after it. */
#ifndef WL_WEBAPP_SESSION_TOKENS_H
#define WL_WEBAPP_SESSION_TOKENS_H

#include "lib/secrets/token.h"
#include "webapp/server/api_call.h"

struct web_session {
	struct wl_token_claims claims;
	char refresh[WL_REFRESH_TOKEN];
	unsigned char refresh_digest[WL_SHA256_BYTES];
};

/* Begin a login for a user and a family, new ones where NULL. It is the request's state from now on. NULL: no memory,
 * answered. */
struct web_session *web_session_begin(struct web_request *request, const char *user, const char *family);

/* What the functions of PostgreSQL need of it, for web_api_call(): "user", "family", "refresh" (the digest in hex),
 * "seconds", "user_agent", "network". 0 or -ENOMEM. */
int web_session_put(const struct web_request *request, struct wl_json *extra);

/* The client's User-Agent, "" when it names none. */
const char *web_user_agent(const struct web_request *request);

/*
 * Answer with the tokens of the request's login and the members of `body`, a JSON object (NULL: none). The claims are
 * complete by then.
 */
void web_session_answer(struct web_request *request, int status, const char *body);

/* A body of the request without its passwords, for web_api_call(). NULL: no memory. */
struct wl_json *web_body_without_passwords(const struct web_request *request);

/* Answer 401 as RFC 6750 has it; `error` is invalid_token or NULL. */
void web_answer_unauthorized(struct web_request *request, const char *error, const char *detail);

#endif
