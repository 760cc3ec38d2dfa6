/*
 * Invitations, passwords and API keys. What PostgreSQL is given here are secrets that it cannot draw (tokens) or must
 * not see (passwords); all else of these operations is in specs/sql/0005_people.sql.
 */
#include "lib/base/cleanup.h"
#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "webapp/server/login.h"
#include "webapp/server/login_limit.h"
#include "webapp/server/public_link.h"
#include "webapp/server/routes.h"
#include "webapp/server/server.h"
#include "webapp/server/session_tokens.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RESET_S 3600 /* life of a link that sets a new password */

/* Call the operation's function with `extra`, of which everything was put in unless rc is not 0. */
static void call(struct web_request *request, struct wl_json *extra, int rc, web_api_taken *taken)
{
	if (rc == 0) {
		web_api_call(request, extra, taken);
		return;
	}
	wl_json_free(extra);
	web_answer_unavailable(request, 1, "no memory");
}

/* {"id": a new one}. */
static int put_new_id(struct wl_json *extra)
{
	char id[WL_UUID_TEXT];
	wl_uuid7(wl_clock_wall_ms(), id);
	return wl_json_set_string(extra, "id", id);
}

/* ---- invitations ------------------------------------------------------------------------------------------------- */

void web_invitations_create(struct web_request *request)
{
	char token[WL_LINK_TOKEN], link[WEB_LINK_SIZE];
	struct wl_json *extra = wl_json_object();
	wl_link_token_make(token);
	web_public_link("/invite#", token, link);
	int rc = put_new_id(extra);
	rc = rc ? rc : wl_json_set_string(extra, "token", token);
	rc = rc ? rc : wl_json_set_string(extra, "link", link);
	rc = rc ? rc : wl_json_set_number(extra, "seconds", (double)web.settings.invite_s);
	call(request, extra, rc, NULL);
}

static void accept_hashed(struct web_password_task *task)
{
	struct web_request *request = task->request;
	if (web_session_begin(request, NULL, NULL)) {
		struct wl_json *extra = wl_json_object();
		int rc = wl_json_set_string(extra, "hash", task->hash);
		rc = rc ? rc : wl_json_set(extra, "body", web_body_without_passwords(request));
		rc = rc ? rc : web_session_put(request, extra);
		call(request, extra, rc, web_login_answer);
	}
	web_password_task_free(task);
}

static void reset_hashed(struct web_password_task *task)
{
	struct web_request *request = task->request;
	struct wl_json *extra = wl_json_object();
	int rc = wl_json_set_string(extra, "hash", task->hash);
	rc = rc ? rc : wl_json_set(extra, "body", web_body_without_passwords(request));
	call(request, extra, rc, NULL);
	web_password_task_free(task);
}

static void invitation_checked(struct pg_job *job)
{
	struct web_password_task *task = job->context;
	if (web_job_failed(task->request, job))
		web_password_task_free(task);
	else
		web_password_hash(task, accept_hashed);
}

static void reset_checked(struct pg_job *job)
{
	struct web_password_task *task = job->context;
	if (web_job_failed(task->request, job))
		web_password_task_free(task);
	else
		web_password_hash(task, reset_hashed);
}

/* A link is looked at before the work of a hash is done for it. */
static void check_link(struct web_request *request, enum web_statement statement, void (*done)(struct pg_job *job))
{
	if (web_login_limited(request, NULL))
		return;
	struct web_password_task *task = web_password_task_new(request, "password");
	struct pg_job *job = task ? pg_job_new(0, done, task) : NULL;
	if (!job) {
		web_answer_unavailable(request, 1, "no memory");
		web_password_task_free(task);
		return;
	}
	pg_job_step(job, statement);
	pg_job_value(job, wl_json_get_string(request->json, "token", ""));
	pg_submit(web.postgres, job);
}

void web_auth_invitation_accept(struct web_request *request)
{
	check_link(request, SQL_INVITATION_CHECK, invitation_checked);
}

void web_auth_invitation_preview(struct web_request *request)
{
	if (!web_login_limited(request, NULL))
		web_api_operation(request);
}

/* ---- passwords --------------------------------------------------------------------------------------------------- */

void web_auth_password_reset(struct web_request *request)
{
	char token[WL_LINK_TOKEN], link[WEB_LINK_SIZE];
	int rc = 0;
	if (web_login_limited(request, wl_json_get_string(request->json, "email", "")))
		return;
	struct wl_json *extra = wl_json_object();
	struct wl_json *tokens = wl_json_array();
	for (int i = 0; i < WEB_CANDIDATES && rc == 0; i++) {
		wl_link_token_make(token);
		rc = wl_json_append(tokens, wl_json_new_string(token));
	}
	int set = wl_json_set(extra, "tokens", tokens);
	rc = rc ? rc : set;
	web_public_link("/reset#", "", link);
	rc = rc ? rc : wl_json_set_string(extra, "link", link);
	rc = rc ? rc : wl_json_set_number(extra, "seconds", RESET_S);
	call(request, extra, rc, NULL);
}

void web_auth_password_reset_confirm(struct web_request *request)
{
	check_link(request, SQL_PASSWORD_RESET_CHECK, reset_checked);
}

static void change_verified(struct web_password_task *task)
{
	struct web_request *request = task->request;
	const struct web_candidate *own = &task->candidates[0];
	if (own->opened) {
		struct wl_json *extra = wl_json_object();
		int rc = wl_json_set_string(extra, "old_hash", own->hash);
		rc = rc ? rc : wl_json_set_string(extra, "hash", task->hash);
		rc = rc ? rc : wl_json_set(extra, "body", web_body_without_passwords(request));
		call(request, extra, rc, NULL);
	} else {
		web_answer_problem(request, 403, "the present password is wrong");
	}
	web_password_task_free(task);
}

static void own_password_found(struct pg_job *job)
{
	struct web_password_task *task = job->context;
	const char *hash = job->outcome == PG_DONE && pg_rows(job, 0) ? pg_text(job, 0, 0, 0) : NULL;
	if (web_job_failed(task->request, job)) {
		web_password_task_free(task);
	} else if (!hash) {
		web_answer_unauthorized(task->request, "invalid_token", "this account is gone or disabled");
		web_password_task_free(task);
	} else {
		(void)snprintf(task->candidates[0].hash, sizeof(task->candidates[0].hash), "%s", hash);
		task->candidate_count = 1;
		web_password_verify(task, change_verified);
	}
}

void web_auth_password_change(struct web_request *request)
{
	if (*request->identity.key) {
		web_answer_problem(request, 403, "an API key cannot change a password");
		return;
	}
	/* whoever has found a token must not find the password as well */
	if (web_login_limited(request, request->identity.user))
		return;
	struct web_password_task *task = web_password_task_new(request, "current_password");
	if (task)
		task->fresh = strdup(wl_json_get_string(request->json, "new_password", ""));
	struct pg_job *job = task && task->fresh ? pg_job_new(0, own_password_found, task) : NULL;
	if (!job) {
		web_answer_unavailable(request, 1, "no memory");
		web_password_task_free(task);
		return;
	}
	pg_job_step(job, SQL_PASSWORD_OF);
	pg_job_value(job, request->identity.user);
	pg_submit(web.postgres, job);
}

/* ---- API keys ---------------------------------------------------------------------------------------------------- */

void web_api_keys_create(struct web_request *request)
{
	char key[WL_API_KEY];
	struct wl_json *extra = wl_json_object();
	wl_api_key_make(key);
	int rc = put_new_id(extra);
	rc = rc ? rc : wl_json_set_string(extra, "key", key);
	explicit_bzero(key, sizeof(key));
	call(request, extra, rc, NULL);
}

/* ---- the end of a tenant ----------------------------------------------------------------------------------------- */

static void tenant_deleted(struct web_request *request, const struct web_api_answer *answer)
{
	wl_log(WL_LOG_NOTICE, "tenant %d was deleted by its admin %s", request->identity.tenant,
	       request->identity.user);
	web_api_send(request, answer);
}

void web_tenants_current_delete(struct web_request *request)
{
	struct wl_json *extra = wl_json_object();
	call(request, extra, wl_json_set_number(extra, "grace_s", (double)web.settings.purge_grace_s), tenant_deleted);
}
