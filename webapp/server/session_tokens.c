#include "webapp/server/session_tokens.h"

#include "lib/base/cleanup.h"
#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "webapp/server/login_limit.h"
#include "webapp/server/server.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void free_session(void *state)
{
	struct web_session *session = state;
	if (session)
		explicit_bzero(session, sizeof(*session));
	free(session);
}

struct web_session *web_session_begin(struct web_request *request, const char *user, const char *family)
{
	struct web_session *session = calloc(1, sizeof(*session));
	if (!session) {
		web_answer_unavailable(request, 1, "no memory");
		return NULL;
	}
	request->state = session;
	request->state_free = free_session;
	if (user)
		(void)snprintf(session->claims.user, sizeof(session->claims.user), "%s", user);
	else
		wl_uuid7(wl_clock_wall_ms(), session->claims.user);
	if (family)
		memcpy(session->claims.family, family, WL_UUID_TEXT);
	else
		wl_uuid7(wl_clock_wall_ms(), session->claims.family);
	wl_refresh_token_make(session->claims.family, session->refresh, session->refresh_digest);
	return session;
}

const char *web_user_agent(const struct web_request *request)
{
	const char *agent = web_exchange_header(request->exchange, "user-agent");
	return agent ? agent : "";
}

int web_session_put(const struct web_request *request, struct wl_json *extra)
{
	const struct web_session *session = request->state;
	char digest[WL_SHA256_HEX], network[WEB_NETWORK_TEXT];
	web_login_network(request, network);
	int rc = wl_json_set_string(extra, "user", session->claims.user);
	rc = rc ? rc : wl_json_set_string(extra, "family", session->claims.family);
	rc = rc ? rc : wl_json_set_string(extra, "refresh", wl_hex(session->refresh_digest, WL_SHA256_BYTES, digest));
	rc = rc ? rc : wl_json_set_number(extra, "seconds", (double)web.settings.refresh_token_s);
	rc = rc ? rc : wl_json_set_string(extra, "user_agent", web_user_agent(request));
	return rc ? rc : wl_json_set_string(extra, "network", network);
}

void web_session_answer(struct web_request *request, int status, const char *body)
{
	struct web_session *session = request->state;
	struct wl_buffer *answer = &request->answer;
	_wl_free_ char *access = NULL;
	struct wl_error err;
	session->claims.issued_s = wl_clock_wall_ms() / 1000;
	session->claims.expires_s = session->claims.issued_s + web.settings.access_token_s;
	if (wl_token_make(web.token_key, &session->claims, &access, &err) < 0) {
		wl_log(WL_LOG_ERROR, "%s", err.text);
		web_answer_unavailable(request, 1, "no token could be made");
		return;
	}
	wl_buffer_append_char(answer, '{');
	web_member_text(answer, "access_token", access);
	web_member_text(answer, "refresh_token", session->refresh);
	web_member_text(answer, "token_type", "Bearer");
	wl_buffer_appendf(answer, ",\"expires_in\":%ld", web.settings.access_token_s);
	if (body) {
		wl_buffer_append_char(answer, ',');
		wl_buffer_append_text(answer, body + 1); /* behind its brace */
	} else {
		wl_buffer_append_char(answer, '}');
	}
	web_answer_json(request, status);
}

struct wl_json *web_body_without_passwords(const struct web_request *request)
{
	static const char *const secrets[] = { "password", "current_password", "new_password" };
	struct wl_json *body = wl_json_copy(request->json);
	int rc = body ? 0 : -ENOMEM;
	for (size_t i = 0; i < WL_COUNT_OF(secrets) && rc == 0; i++)
		if (wl_json_get(body, secrets[i]))
			rc = wl_json_set(body, secrets[i], wl_json_new_null());
	if (rc == 0)
		return body;
	wl_json_free(body);
	return NULL;
}

void web_answer_unauthorized(struct web_request *request, const char *error, const char *detail)
{
	web_answer_header(request, "www-authenticate", "Bearer realm=\"windlass\"%s%s%s", error ? ", error=\"" : "",
			  error ? error : "", error ? "\"" : "");
	web_answer_problem(request, 401, "%s", detail);
}
