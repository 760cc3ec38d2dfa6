/*
 * Accounts and tokens. A login makes a family: its access tokens carry the family's id, its refresh tokens are used
 * once each, and showing a used one ends the family (RFC 9700 §4.14.2).
 */
#include "lib/base/cleanup.h"
#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "lib/secrets/password.h"
#include "webapp/server/login_limit.h"
#include "webapp/server/routes.h"
#include "webapp/server/server.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ACCOUNTS_TRIED 8 /* of one address, when no tenant is named: the oldest */

/* ---- answers with tokens -------------------------------------------------------------------------------------- */

struct session {
	struct wl_token_claims claims;
	char refresh[WL_REFRESH_TOKEN];
	unsigned char refresh_digest[WL_SHA256_BYTES];
};

static void new_session(struct session *session, const char *user, const char *family)
{
	if (user)
		(void)snprintf(session->claims.user, sizeof(session->claims.user), "%s", user);
	else
		wl_uuid7(wl_clock_wall_ms(), session->claims.user);
	if (family)
		memcpy(session->claims.family, family, WL_UUID_TEXT);
	else
		wl_uuid7(wl_clock_wall_ms(), session->claims.family);
	wl_refresh_token_make(session->claims.family, session->refresh, session->refresh_digest);
}

/* The members of every answer with tokens, without the closing brace. False when there is no memory: answered. */
static bool begin_tokens(struct web_request *request, struct session *session)
{
	struct wl_buffer *body = &request->answer;
	_wl_free_ char *access = NULL;
	struct wl_error err;
	session->claims.issued_s = wl_clock_wall_ms() / 1000;
	session->claims.expires_s = session->claims.issued_s + web.settings.access_token_s;
	if (wl_token_make(web.token_key, &session->claims, &access, &err) < 0) {
		wl_log(WL_LOG_ERROR, "%s", err.text);
		web_answer_unavailable(request, 1, "no token could be made");
		return false;
	}
	wl_buffer_append_char(body, '{');
	web_member_text(body, "access_token", access);
	web_member_text(body, "refresh_token", session->refresh);
	web_member_text(body, "token_type", "Bearer");
	wl_buffer_appendf(body, ",\"expires_in\":%ld", web.settings.access_token_s);
	return true;
}

static void open_session_step(struct pg_job *job, const struct session *session)
{
	pg_job_step(job, SQL_SESSION_OPEN);
	pg_job_value(job, session->claims.user);
	pg_job_value(job, session->claims.family);
	pg_job_bytes(job, session->refresh_digest, sizeof(session->refresh_digest));
	pg_job_number(job, web.settings.refresh_token_s);
}

/* ---- passwords on a thread ------------------------------------------------------------------------------------- */

/* An account that a login may mean. */
struct account {
	char hash[WL_PASSWORD_HASH];
	char user[WL_UUID_TEXT], slug[64], role[WL_TOKEN_ROLE], state[16];
	char *email, *tenant_name;
	int tenant;
};

struct password_task {
	struct web_task task;
	struct web_request *request;
	char *password;
	/* register: the hash. login: the accounts, and which has this password */
	char hash[WL_PASSWORD_HASH];
	int rc;
	struct account accounts[ACCOUNTS_TRIED];
	int account_count, account_total;
	int match, matches; /* the last account that has this password, and how many have */
	struct session session;
};

static void free_task(struct password_task *task)
{
	if (!task)
		return;
	if (task->password)
		explicit_bzero(task->password, strlen(task->password));
	free(task->password);
	for (int i = 0; i < task->account_count; i++) {
		free(task->accounts[i].email);
		free(task->accounts[i].tenant_name);
	}
	web_request_release(task->request);
	free(task);
}

/* Run on the thread of passwords, or answer that too many wait. */
static void start_task(struct password_task *task, void (*run)(struct web_task *), void (*ended)(struct web_task *))
{
	task->task.run = run;
	task->task.ended = ended;
	task->task.context = task;
	if (web_thread_pool_run(web.passwords, &task->task) == 0)
		return;
	web_answer_unavailable(task->request, 1, "too many logins at once");
	free_task(task);
}

static struct password_task *new_task(struct web_request *request)
{
	struct password_task *task = calloc(1, sizeof(*task));
	if (task)
		task->password = strdup(wl_json_get_string(request->json, "password", ""));
	if (!task || !task->password) {
		free(task);
		web_answer_unavailable(request, 1, "no memory");
		return NULL;
	}
	task->match = -1;
	task->request = web_request_hold(request);
	return task;
}

/* ---- register ------------------------------------------------------------------------------------------------------
 */

static void registered(struct pg_job *job)
{
	struct password_task *task = job->context;
	struct web_request *request = task->request;
	if (!web_job_failed(request, job)) {
		task->session.claims.tenant = (int)pg_number(job, 0, 0, 0);
		(void)snprintf(task->session.claims.role, WL_TOKEN_ROLE, "admin");
		if (begin_tokens(request, &task->session)) {
			wl_buffer_appendf(&request->answer, ",\"tenant_id\":%d", task->session.claims.tenant);
			web_member_text(&request->answer, "user_id", task->session.claims.user);
			wl_buffer_append_char(&request->answer, '}');
			web_answer_json(request, 201);
		}
	}
	free_task(task);
}

static void hash_password(struct web_task *web_task)
{
	struct password_task *task = web_task->context;
	task->rc = wl_password_hash(task->password, task->hash, NULL);
}

static void password_hashed(struct web_task *web_task)
{
	struct password_task *task = web_task->context;
	const struct wl_json *json = task->request->json;
	struct pg_job *job = task->rc == 0 ? pg_job_new(0, registered, task) : NULL;
	if (!job) {
		web_answer_unavailable(task->request, 1, "no memory");
		free_task(task);
		return;
	}
	new_session(&task->session, NULL, NULL);
	pg_job_step(job, SQL_REGISTER);
	pg_job_value(job, wl_json_get_string(json, "tenant_slug", ""));
	pg_job_value(job, wl_json_get_string(json, "tenant_name", ""));
	pg_job_value(job, task->session.claims.user);
	pg_job_value(job, wl_json_get_string(json, "email", ""));
	pg_job_value(job, task->hash);
	open_session_step(job, &task->session);
	pg_submit(web.postgres, job);
}

void web_auth_register(struct web_request *request)
{
	if (web_login_limited(request, NULL))
		return;
	struct password_task *task = new_task(request);
	if (task)
		start_task(task, hash_password, password_hashed);
}

/* ---- login
 * ----------------------------------------------------------------------------------------------------------- */

static void logged_in(struct pg_job *job)
{
	struct password_task *task = job->context;
	struct web_request *request = task->request;
	const struct account *account = &task->accounts[task->match];
	if (!web_job_failed(request, job) && begin_tokens(request, &task->session)) {
		struct wl_buffer *body = &request->answer;
		wl_buffer_append_text(body, ",\"user\":{");
		web_member_text(body, "id", account->user);
		web_member_text(body, "email", account->email);
		web_member_text(body, "role", account->role);
		wl_buffer_appendf(body, "},\"tenant\":{\"id\":%d", account->tenant);
		web_member_text(body, "slug", account->slug);
		web_member_text(body, "name", account->tenant_name);
		wl_buffer_append_text(body, "}}");
		web_answer_json(request, 200);
	}
	free_task(task);
}

/*
 * One check at least, also when there is no account, so that the time tells nothing. Whoever else registers a tenant
 * with this e-mail address has another password: so only those accounts that this one opens are in question.
 */
static void verify_password(struct web_task *web_task)
{
	struct password_task *task = web_task->context;
	if (task->account_count == 0)
		(void)wl_password_verify(task->password, NULL);
	for (int i = 0; i < task->account_count; i++) {
		if (!wl_password_verify(task->password, task->accounts[i].hash))
			continue;
		task->match = i;
		task->matches++;
	}
}

/* Answer a login that gets no tokens; false when it is to get them. */
static bool login_refused(struct password_task *task)
{
	struct web_request *request = task->request;
	if (task->matches == 0 && task->account_total <= task->account_count) {
		web_answer_header(request, "www-authenticate", "Bearer realm=\"windlass\"");
		web_answer_problem(request, 401, "the e-mail address or the password is wrong");
	} else if (task->matches != 1) { /* or one that was not tried may be meant */
		web_answer_problem(request, 409,
				   "this e-mail address has accounts in several tenants: name one with tenant_slug");
	} else if (strcmp(task->accounts[task->match].state, "active") != 0) {
		web_answer_problem(request, 403, "this account is %s", task->accounts[task->match].state);
	} else {
		return false;
	}
	return true;
}

static void password_verified(struct web_task *web_task)
{
	struct password_task *task = web_task->context;
	struct pg_job *job;
	if (login_refused(task)) {
		free_task(task);
		return;
	}
	job = pg_job_new(0, logged_in, task);
	if (!job) {
		web_answer_unavailable(task->request, 1, "no memory");
		free_task(task);
		return;
	}
	const struct account *account = &task->accounts[task->match];
	task->session.claims.tenant = account->tenant;
	memcpy(task->session.claims.role, account->role, sizeof(account->role));
	new_session(&task->session, account->user, NULL);
	open_session_step(job, &task->session);
	pg_submit(web.postgres, job);
}

static bool copy_account(struct account *account, const struct pg_job *job, int row)
{
	(void)snprintf(account->user, sizeof(account->user), "%s", pg_text(job, 0, row, 0));
	account->tenant = (int)pg_number(job, 0, row, 1);
	(void)snprintf(account->slug, sizeof(account->slug), "%s", pg_text(job, 0, row, 2));
	account->tenant_name = strdup(pg_text(job, 0, row, 3));
	account->email = strdup(pg_text(job, 0, row, 4));
	(void)snprintf(account->role, sizeof(account->role), "%s", pg_text(job, 0, row, 5));
	(void)snprintf(account->hash, sizeof(account->hash), "%s", pg_text(job, 0, row, 6));
	(void)snprintf(account->state, sizeof(account->state), "%s", pg_text(job, 0, row, 7));
	return account->tenant_name && account->email;
}

static void accounts_found(struct pg_job *job)
{
	struct password_task *task = job->context;
	if (web_job_failed(task->request, job)) {
		free_task(task);
		return;
	}
	task->account_total = pg_rows(job, 0);
	bool memory = true;
	while (memory && task->account_count < task->account_total && task->account_count < ACCOUNTS_TRIED) {
		memory = copy_account(&task->accounts[task->account_count], job, task->account_count);
		task->account_count++;
	}
	if (!memory) {
		web_answer_unavailable(task->request, 1, "no memory");
		free_task(task);
		return;
	}
	start_task(task, verify_password, password_verified);
}

void web_auth_login(struct web_request *request)
{
	if (web_login_limited(request, wl_json_get_string(request->json, "email", "")))
		return;
	struct password_task *task = new_task(request);
	if (!task)
		return;
	struct pg_job *job = pg_job_new(0, accounts_found, task);
	if (!job) {
		web_answer_unavailable(request, 1, "no memory");
		free_task(task);
		return;
	}
	pg_job_step(job, SQL_LOGIN);
	pg_job_value(job, wl_json_get_string(request->json, "email", ""));
	pg_job_value(job, wl_json_get_string(request->json, "tenant_slug", NULL));
	pg_submit(web.postgres, job);
}

/* ---- refresh and logout
 * -------------------------------------------------------------------------------------------------- */

static void rotated(struct pg_job *job)
{
	struct web_request *request = web_job_request(job);
	struct session *session = request->state;
	if (!web_job_failed(request, job)) {
		const char *outcome = pg_rows(job, 0) ? pg_text(job, 0, 0, 0) : "unknown";
		if (strcmp(outcome, "ok") != 0) {
			if (strcmp(outcome, "reused") == 0)
				wl_log(WL_LOG_WARNING, "a used refresh token was shown again: its login was ended");
			web_answer_header(request, "www-authenticate",
					  "Bearer realm=\"windlass\", error=\"invalid_token\"");
			web_answer_problem(request, 401, "this refresh token is %s",
					   strcmp(outcome, "reused") == 0 ? "used up: its login was ended"
									  : "not valid");
		} else {
			(void)snprintf(session->claims.user, WL_UUID_TEXT, "%s", pg_text(job, 0, 0, 1));
			session->claims.tenant = (int)pg_number(job, 0, 0, 2);
			(void)snprintf(session->claims.role, WL_TOKEN_ROLE, "%s", pg_text(job, 0, 0, 3));
			if (begin_tokens(request, session)) {
				wl_buffer_append_char(&request->answer, '}');
				web_answer_json(request, 200);
			}
		}
	}
	web_request_release(request);
}

void web_auth_refresh(struct web_request *request)
{
	unsigned char old[WL_SHA256_BYTES];
	char family[WL_UUID_TEXT];
	struct session *session = calloc(1, sizeof(*session));
	request->state = session;
	request->state_free = free;
	if (!session) {
		web_answer_unavailable(request, 1, "no memory");
		return;
	}
	if (!wl_refresh_token_read(wl_json_get_string(request->json, "refresh_token", ""), family, old)) {
		web_answer_header(request, "www-authenticate", "Bearer realm=\"windlass\", error=\"invalid_token\"");
		web_answer_problem(request, 401, "this refresh token is not valid");
		return;
	}
	struct pg_job *job = web_job(request, 0, rotated);
	if (!job)
		return;
	new_session(session, NULL, family);
	pg_job_step(job, SQL_SESSION_ROTATE);
	pg_job_bytes(job, old, sizeof(old));
	pg_job_bytes(job, session->refresh_digest, sizeof(session->refresh_digest));
	pg_job_number(job, web.settings.refresh_token_s);
	pg_submit(web.postgres, job);
}

static void closed(struct pg_job *job)
{
	struct web_request *request = web_job_request(job);
	if (!web_job_failed(request, job))
		web_answer_empty(request, 204);
	web_request_release(request);
}

void web_auth_logout(struct web_request *request)
{
	unsigned char digest[WL_SHA256_BYTES];
	char family[WL_UUID_TEXT];
	if (!wl_refresh_token_read(wl_json_get_string(request->json, "refresh_token", ""), family, digest)) {
		web_answer_empty(request, 204);
		return;
	}
	struct pg_job *job = web_job(request, 0, closed);
	if (!job)
		return;
	pg_job_step(job, SQL_SESSION_CLOSE);
	pg_job_bytes(job, digest, sizeof(digest));
	pg_submit(web.postgres, job);
}
