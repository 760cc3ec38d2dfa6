/* Operators of the platform: their login, and what they do to tenants, which is also logged. */
#include "lib/base/cleanup.h"
#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "webapp/server/login.h"
#include "webapp/server/login_limit.h"
#include "webapp/server/routes.h"
#include "webapp/server/server.h"
#include "webapp/server/session_tokens.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- login ------------------------------------------------------------------------------------------------------- */

static void answer_token(struct web_request *request, const struct web_candidate *operator_)
{
	struct wl_buffer *body = &request->answer;
	_wl_free_ char *access = NULL;
	struct wl_error err;
	struct wl_token_claims claims = { .role = WL_TOKEN_OPERATOR, .issued_s = wl_clock_wall_ms() / 1000 };
	claims.expires_s = claims.issued_s + web.settings.operator_token_s;
	memcpy(claims.user, operator_->id, sizeof(claims.user));
	memcpy(claims.family, operator_->family, sizeof(claims.family));
	if (wl_token_make(web.token_key, &claims, &access, &err) < 0) {
		wl_log(WL_LOG_ERROR, "%s", err.text);
		web_answer_unavailable(request, 1, "no token could be made");
		return;
	}
	wl_buffer_append_char(body, '{');
	web_member_text(body, "access_token", access);
	web_member_text(body, "token_type", "Bearer");
	wl_buffer_appendf(body, ",\"expires_in\":%ld}", web.settings.operator_token_s);
	web_answer_json(request, 200);
}

static void login_noted(struct pg_job *job)
{
	struct web_password_task *task = job->context;
	if (!web_job_failed(task->request, job)) {
		wl_log(WL_LOG_NOTICE, "operator %s has logged in", task->candidates[0].id);
		answer_token(task->request, &task->candidates[0]);
	}
	web_password_task_free(task);
}

static void operator_verified(struct web_password_task *task)
{
	char network[WEB_NETWORK_TEXT];
	const struct web_candidate *operator_ = &task->candidates[0];
	web_login_network(task->request, network);
	if (!operator_->opened || strcmp(operator_->state, "active") != 0) {
		wl_log(WL_LOG_WARNING, "somebody at %s tried to log in as an operator", network);
		web_login_failed(task, false);
		web_password_task_free(task);
		return;
	}
	struct pg_job *job = pg_job_new(0, login_noted, task);
	if (!job) {
		web_answer_unavailable(task->request, 1, "no memory");
		web_password_task_free(task);
		return;
	}
	pg_job_step(job, SQL_OPERATOR_LOGGED_IN);
	pg_job_value(job, operator_->id);
	pg_job_value(job, wl_json_get_string(task->request->json, "email", ""));
	pg_job_value(job, network);
	pg_submit(web.postgres, job);
}

static void operator_found(struct pg_job *job)
{
	struct web_password_task *task = job->context;
	struct web_candidate *operator_ = &task->candidates[0];
	if (web_job_failed(task->request, job)) {
		web_password_task_free(task);
		return;
	}
	task->candidate_count = pg_rows(job, 0) > 0;
	if (task->candidate_count) {
		(void)snprintf(operator_->id, sizeof(operator_->id), "%s", pg_text(job, 0, 0, 0));
		(void)snprintf(operator_->hash, sizeof(operator_->hash), "%s", pg_text(job, 0, 0, 1));
		(void)snprintf(operator_->state, sizeof(operator_->state), "%s", pg_text(job, 0, 0, 2));
		(void)snprintf(operator_->family, sizeof(operator_->family), "%s", pg_text(job, 0, 0, 3));
	}
	task->wait_s = (int)pg_number(job, 1, 0, 0);
	if (web_login_slowed(task))
		web_password_task_free(task);
	else
		web_password_verify(task, operator_verified);
}

void web_operator_login(struct web_request *request)
{
	const char *email = wl_json_get_string(request->json, "email", "");
	char network[WEB_NETWORK_TEXT];
	if (web_login_limited(request, email))
		return;
	struct web_password_task *task = web_password_task_new(request, "password");
	struct pg_job *job = task ? pg_job_new(0, operator_found, task) : NULL;
	if (!job) {
		web_answer_unavailable(request, 1, "no memory");
		web_password_task_free(task);
		return;
	}
	web_login_network(request, network);
	pg_job_step(job, SQL_OPERATOR);
	pg_job_value(job, email);
	pg_job_step(job, SQL_LOGIN_WAIT);
	pg_job_value(job, email);
	pg_job_value(job, network);
	pg_submit(web.postgres, job);
}

/* ---- tenants ----------------------------------------------------------------------------------------------------- */

static void tenant_changed(struct web_request *request, const struct web_api_answer *answer)
{
	_wl_free_ char *body = request->json ? wl_json_print(request->json) : NULL;
	wl_log(WL_LOG_NOTICE, "operator %s: %s of tenant %lld%s%s", request->identity.user, request->route->operation,
	       (long long)web_parameter_number(&request->parameters, "tenant_id", 0), body ? " with " : "",
	       body ? body : "");
	web_api_send(request, answer);
}

void web_operator_tenants_update(struct web_request *request)
{
	web_api_call(request, NULL, tenant_changed);
}

void web_operator_tenants_delete(struct web_request *request)
{
	struct wl_json *extra = wl_json_object();
	if (wl_json_set_number(extra, "grace_s", (double)web.settings.purge_grace_s) == 0) {
		web_api_call(request, extra, tenant_changed);
		return;
	}
	wl_json_free(extra);
	web_answer_unavailable(request, 1, "no memory");
}
