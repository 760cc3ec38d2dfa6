/*
 * Accounts and tokens. A login makes a family: its access tokens carry the family's id, its refresh tokens are used
 * once each, and showing a used one ends the family (RFC 9700 §4.14.2).
 */
#include "lib/base/cleanup.h"
#include "lib/base/log.h"
#include "lib/secrets/seal.h"
#include "webapp/server/login.h"
#include "webapp/server/login_limit.h"
#include "webapp/server/password_task.h"
#include "webapp/server/routes.h"
#include "webapp/server/server.h"
#include "webapp/server/session_tokens.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- register ---------------------------------------------------------------------------------------------------- */

static void registered(struct web_request *request, const struct web_api_answer *answer)
{
	struct web_session *session = request->state;
	_wl_json_ struct wl_json *body = NULL;
	if (wl_json_parse(answer->body, strlen(answer->body), &body, NULL) < 0) {
		web_answer_unavailable(request, 1, "no memory");
		return;
	}
	session->claims.tenant = (int)wl_json_get_number(body, "tenant_id", 0);
	(void)snprintf(session->claims.role, WL_TOKEN_ROLE, "admin");
	web_session_answer(request, answer->status, answer->body);
}

/* {"user","hash","sealed_key"}, the body and the login's tokens. NULL: no memory. */
static struct wl_json *register_extra(const struct web_password_task *task)
{
	char sealed[WL_SEALED_KEY_TEXT];
	struct wl_error err;
	struct wl_json *extra = wl_json_object();
	if (wl_tenant_key_make(web.master_key, sealed, &err) < 0) {
		wl_log(WL_LOG_ERROR, "%s", err.text);
		wl_json_free(extra);
		return NULL;
	}
	int rc = wl_json_set_string(extra, "sealed_key", sealed);
	rc = rc ? rc : wl_json_set_string(extra, "hash", task->hash);
	rc = rc ? rc : wl_json_set_string(extra, "local_model_url", web.settings.local_model_url);
	rc = rc ? rc : wl_json_set(extra, "body", web_body_without_passwords(task->request));
	if ((rc ? rc : web_session_put(task->request, extra)) == 0)
		return extra;
	wl_json_free(extra);
	return NULL;
}

static void password_hashed(struct web_password_task *task)
{
	struct web_request *request = task->request;
	if (web_session_begin(request, NULL, NULL)) {
		struct wl_json *extra = register_extra(task);
		if (extra)
			web_api_call(request, extra, registered);
		else
			web_answer_unavailable(request, 1, "no memory");
	}
	web_password_task_free(task);
}

void web_auth_register(struct web_request *request)
{
	if (web_login_limited(request, NULL))
		return;
	struct web_password_task *task = web_password_task_new(request, "password");
	if (task)
		web_password_hash(task, password_hashed);
}

/* ---- login ------------------------------------------------------------------------------------------------------- */

static const char *email_of(const struct web_request *request)
{
	return wl_json_get_string(request->json, "email", "");
}

void web_login_answer(struct web_request *request, const struct web_api_answer *answer)
{
	struct web_session *session = request->state;
	_wl_json_ struct wl_json *body = NULL;
	if (wl_json_parse(answer->body, strlen(answer->body), &body, NULL) < 0) {
		web_answer_unavailable(request, 1, "no memory");
		return;
	}
	session->claims.tenant = (int)wl_json_get_number(wl_json_get(body, "tenant"), "id", 0);
	(void)snprintf(session->claims.role, WL_TOKEN_ROLE, "%s",
		       wl_json_get_string(wl_json_get(body, "user"), "role", ""));
	web_session_answer(request, answer->status, answer->body);
}

static void failure_noted(struct pg_job *job)
{
	struct web_request *request = web_job_request(job);
	if (!web_job_failed(request, job))
		web_answer_unauthorized(request, NULL, "the e-mail address or the password is wrong");
	web_request_release(request);
}

void web_login_failed(const struct web_password_task *task, bool tell_accounts)
{
	struct web_request *request = task->request;
	char network[WEB_NETWORK_TEXT];
	_wl_json_ struct wl_json *failure = wl_json_object();
	_wl_json_ struct wl_json *actor = web_api_actor(request);
	struct wl_json *users = wl_json_array();
	int rc = 0;
	web_login_network(request, network);
	for (int i = 0; tell_accounts && i < task->candidate_count && rc == 0; i++)
		rc = wl_json_append(users, wl_json_new_string(task->candidates[i].id));
	int set = wl_json_set(failure, "users", users);
	rc = rc ? rc : set;
	rc = rc ? rc : wl_json_set_string(failure, "email", email_of(request));
	rc = rc ? rc : wl_json_set_string(failure, "network", network);
	_wl_free_ char *failure_text = rc ? NULL : wl_json_print(failure);
	_wl_free_ char *actor_text = actor ? wl_json_print(actor) : NULL;
	if (!failure_text || !actor_text) {
		web_answer_unavailable(request, 1, "no memory");
		return;
	}
	struct pg_job *job = web_job(request, 0, failure_noted);
	if (!job)
		return;
	pg_job_step(job, SQL_LOGIN_FAILED);
	pg_job_value(job, actor_text);
	pg_job_value(job, failure_text);
	pg_submit(web.postgres, job);
}

bool web_login_slowed(struct web_password_task *task)
{
	for (int i = 0; i < task->candidate_count; i++)
		if (task->candidates[i].known)
			return false;
	if (task->wait_s > 0)
		web_answer_too_many(task->request, task->wait_s,
				    "too many wrong passwords for this e-mail address from your address");
	return task->wait_s > 0;
}

/* How many candidates of one kind the password opens, and the first of them. */
static int opened(const struct web_password_task *task, bool active, const struct web_candidate **ret_first)
{
	int count = 0;
	for (int i = 0; i < task->candidate_count; i++) {
		const struct web_candidate *candidate = &task->candidates[i];
		if (!candidate->opened || (strcmp(candidate->state, "active") == 0) != active)
			continue;
		if (count++ == 0)
			*ret_first = candidate;
	}
	return count;
}

/*
 * The account that a password opens; NULL: answered. Whoever else registers a tenant with this e-mail address has
 * another password: so only those accounts that this one opens are in question, and those that work before others.
 */
static const struct web_candidate *choose(struct web_password_task *task)
{
	struct web_request *request = task->request;
	const struct web_candidate *one = NULL;
	int matches = opened(task, true, &one);
	if (matches == 0)
		matches = opened(task, false, &one);
	if (task->wait_s > 0 && !(matches && one->known)) {
		web_answer_too_many(request, task->wait_s,
				    "too many wrong passwords for this e-mail address from your address");
	} else if (matches == 0 && task->candidate_total <= task->candidate_count) {
		web_login_failed(task, true);
	} else if (matches != 1) { /* or one that was not tried may be meant */
		web_answer_problem(request, 409,
				   "this e-mail address has accounts in several tenants: name one with tenant_slug");
	} else if (strcmp(one->state, "active") != 0) {
		web_answer_problem(request, 403, "this %s is %s",
				   strcmp(one->state, "disabled") == 0 ? "account" : "tenant", one->state);
	} else {
		return one;
	}
	return NULL;
}

static void password_verified(struct web_password_task *task)
{
	struct web_request *request = task->request;
	const struct web_candidate *account = choose(task);
	if (account && web_session_begin(request, account->id, NULL)) {
		struct wl_json *extra = wl_json_object();
		int rc = wl_json_set(extra, "body", wl_json_new_null());
		rc = rc ? rc : wl_json_set_string(extra, "hash", account->hash);
		if ((rc ? rc : web_session_put(request, extra)) == 0) {
			web_api_call(request, extra, web_login_answer);
		} else {
			wl_json_free(extra);
			web_answer_unavailable(request, 1, "no memory");
		}
	}
	web_password_task_free(task);
}

static void accounts_found(struct pg_job *job)
{
	struct web_password_task *task = job->context;
	if (web_job_failed(task->request, job)) {
		web_password_task_free(task);
		return;
	}
	task->candidate_total = pg_rows(job, 0);
	for (int i = 0; i < task->candidate_total && i < WEB_CANDIDATES; i++) {
		struct web_candidate *candidate = &task->candidates[task->candidate_count++];
		(void)snprintf(candidate->id, sizeof(candidate->id), "%s", pg_text(job, 0, i, 0));
		(void)snprintf(candidate->hash, sizeof(candidate->hash), "%s", pg_text(job, 0, i, 1));
		(void)snprintf(candidate->state, sizeof(candidate->state), "%s", pg_text(job, 0, i, 2));
		candidate->known = pg_text(job, 0, i, 3)[0] == 't';
	}
	task->wait_s = (int)pg_number(job, 1, 0, 0);
	if (web_login_slowed(task))
		web_password_task_free(task);
	else
		web_password_verify(task, password_verified);
}

void web_auth_login(struct web_request *request)
{
	const char *email = email_of(request);
	char network[WEB_NETWORK_TEXT];
	if (web_login_limited(request, email))
		return;
	struct web_password_task *task = web_password_task_new(request, "password");
	if (!task)
		return;
	struct pg_job *job = pg_job_new(0, accounts_found, task);
	if (!job) {
		web_answer_unavailable(request, 1, "no memory");
		web_password_task_free(task);
		return;
	}
	web_login_network(request, network);
	pg_job_step(job, SQL_LOGIN);
	pg_job_value(job, email);
	pg_job_value(job, wl_json_get_string(request->json, "tenant_slug", NULL));
	pg_job_value(job, network);
	pg_job_step(job, SQL_LOGIN_WAIT);
	pg_job_value(job, email);
	pg_job_value(job, network);
	pg_submit(web.postgres, job);
}

/* ---- refresh and logout ------------------------------------------------------------------------------------------ */

static void rotated(struct pg_job *job)
{
	struct web_request *request = web_job_request(job);
	struct web_session *session = request->state;
	if (!web_job_failed(request, job)) {
		const char *outcome = pg_rows(job, 0) ? pg_text(job, 0, 0, 0) : "unknown";
		if (strcmp(outcome, "ok") == 0) {
			(void)snprintf(session->claims.user, WL_UUID_TEXT, "%s", pg_text(job, 0, 0, 1));
			session->claims.tenant = (int)pg_number(job, 0, 0, 2);
			(void)snprintf(session->claims.role, WL_TOKEN_ROLE, "%s", pg_text(job, 0, 0, 3));
			web_session_answer(request, 200, NULL);
		} else if (strcmp(outcome, "suspended") == 0 || strcmp(outcome, "deleted") == 0) {
			web_answer_problem(request, 403, "this tenant is %s", outcome);
		} else if (strcmp(outcome, "reused") == 0) {
			wl_log(WL_LOG_WARNING, "a used refresh token was shown again: its login was ended");
			web_answer_unauthorized(request, "invalid_token",
						"this refresh token is used up: its login was ended");
		} else {
			web_answer_unauthorized(request, "invalid_token", "this refresh token is not valid");
		}
	}
	web_request_release(request);
}

void web_auth_refresh(struct web_request *request)
{
	unsigned char old[WL_SHA256_BYTES];
	char family[WL_UUID_TEXT], address[64];
	if (!wl_refresh_token_read(wl_json_get_string(request->json, "refresh_token", ""), family, old)) {
		web_answer_unauthorized(request, "invalid_token", "this refresh token is not valid");
		return;
	}
	const struct web_session *session = web_session_begin(request, NULL, family);
	struct pg_job *job = session ? web_job(request, 0, rotated) : NULL;
	if (!job)
		return;
	pg_job_step(job, SQL_SESSION_ROTATE);
	pg_job_bytes(job, old, sizeof(old));
	pg_job_bytes(job, session->refresh_digest, sizeof(session->refresh_digest));
	pg_job_number(job, web.settings.refresh_token_s);
	pg_job_value(job, web_exchange_peer(request->exchange, address, sizeof(address)));
	pg_job_value(job, web_user_agent(request));
	pg_submit(web.postgres, job);
}

void web_auth_logout(struct web_request *request)
{
	unsigned char digest[WL_SHA256_BYTES];
	char family[WL_UUID_TEXT], hex[WL_SHA256_HEX];
	if (!wl_refresh_token_read(wl_json_get_string(request->json, "refresh_token", ""), family, digest)) {
		web_answer_empty(request, 204);
		return;
	}
	struct wl_json *extra = wl_json_object();
	int rc = wl_json_set_string(extra, "hash", wl_hex(digest, sizeof(digest), hex));
	if ((rc ? rc : wl_json_set(extra, "body", wl_json_new_null())) == 0) {
		web_api_call(request, extra, NULL);
		return;
	}
	wl_json_free(extra);
	web_answer_unavailable(request, 1, "no memory");
}
