/*
 * Making and changing flows. The document is checked on a thread; then it is stored under the hash of its text, and
 * the flow's row points to it. A change is made on the revision that was read, so two at once never mix.
 */
#include "lib/base/cleanup.h"
#include "lib/base/clock.h"
#include "webapp/server/flow_answers.h"
#include "webapp/server/flow_check.h"
#include "webapp/server/routes.h"
#include "webapp/server/server.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct save {
	struct web_task task;
	struct web_request *request;
	struct wl_json *document; /* to be checked; NULL: the document stays as it is */
	int rc;
	struct wl_error err;
	struct wl_flow_faults faults;
	struct web_checked_flow flow;
	/* a change */
	char *current; /* the document's text as it is */
	int64_t rev;
	bool had_condition; /* If-Match was given */
};

static void free_save(struct save *save)
{
	wl_json_free(save->document);
	free(save->flow.canonical);
	free(save->current);
	web_request_release(save->request);
	free(save);
}

static struct save *new_save(struct web_request *request)
{
	struct save *save = calloc(1, sizeof(*save));
	if (!save) {
		web_answer_unavailable(request, 1, "no memory");
		return NULL;
	}
	save->request = web_request_hold(request);
	return save;
}

static void no_memory(struct save *save)
{
	web_answer_unavailable(save->request, 1, "no memory");
	free_save(save);
}

/* ---- checking on a thread --------------------------------------------------------------------------------------- */

static void check(struct web_task *task)
{
	struct save *save = task->context;
	save->rc = web_flow_check(web.expressions, (int)web.settings.eval_ms, save->document, &save->flow,
				  &save->faults, &save->err);
}

/* Answer what was wrong; false when nothing was. */
static bool check_refused(struct save *save)
{
	struct web_request *request = save->request;
	if (save->rc == 0)
		return false;
	if (save->faults.count)
		web_answer_faults(request, 422, &save->faults, "the flow's document has faults");
	else if (save->rc == -EINVAL)
		web_answer_problem(request, 422, "%s", save->err.text);
	else if (save->rc == -E2BIG)
		web_answer_problem(request, 413, "%s", save->err.text);
	else
		web_answer_unavailable(request, 1, "expressions cannot be checked now: %s", save->err.text);
	return true;
}

static void run_check(struct save *save, void (*ended)(struct web_task *))
{
	save->task.run = check;
	save->task.ended = ended;
	save->task.context = save;
	if (web_thread_pool_run(web.threads, &save->task) == 0)
		return;
	web_answer_unavailable(save->request, 1, "too many flows are being checked");
	free_save(save);
}

/* The document's members from the body, and from `current` what the body leaves out. NULL without memory. */
static struct wl_json *merge(const struct wl_json *body, const struct wl_json *current)
{
	static const char *const members[] = { "nodes", "edges", "input_schema", "output_schema" };
	_wl_json_ struct wl_json *made = wl_json_object();
	for (size_t i = 0; made && i < WL_COUNT_OF(members); i++) {
		const struct wl_json *value = wl_json_get(body, members[i]);
		if (!value)
			value = wl_json_get(current, members[i]);
		if (value && wl_json_set(made, members[i], wl_json_copy(value)) < 0)
			return NULL;
	}
	return wl_steal(made);
}

static bool names_document(const struct wl_json *body)
{
	return wl_json_get(body, "nodes") || wl_json_get(body, "edges") || wl_json_get(body, "input_schema") ||
	       wl_json_get(body, "output_schema");
}

/* ---- create ---------------------------------------------------------------------------------------------------------
 */

static void answer_flow(struct web_request *request, const struct pg_job *job, int step, const char *document,
			int status)
{
	web_answer_header(request, "etag", "\"%s\"", pg_text(job, step, 0, 4));
	if (status == 201)
		web_answer_header(request, "location", "/api/v1/flows/%s", pg_text(job, step, 0, 0));
	wl_buffer_append_text(&request->answer, "{\"flow\":");
	web_flow_write(&request->answer, job, step, 0, document);
	wl_buffer_append_char(&request->answer, '}');
	web_answer_json(request, status);
}

/* 429 of control.flow_slot(): its detail is JSON. */
static bool over_quota(struct web_request *request, const struct pg_job *job)
{
	if (job->outcome != PG_REFUSED || strcmp(job->sqlstate, "WL429") != 0)
		return false;
	_wl_json_ struct wl_json *detail = NULL;
	(void)wl_json_parse(job->detail, strlen(job->detail), &detail, NULL);
	web_answer_header(request, "retry-after", "3600");
	web_answer_header(request, "ratelimit-limit", "%.0f", wl_json_get_number(detail, "limit", 0));
	web_answer_header(request, "ratelimit-remaining", "0");
	web_answer_header(request, "ratelimit-reset", "3600");
	web_answer_problem(request, 429, "%s; delete a flow, or ask for a larger quota", job->message);
	return true;
}

static void created(struct pg_job *job)
{
	struct save *save = job->context;
	if (!over_quota(save->request, job) && !web_job_failed(save->request, job))
		answer_flow(save->request, job, 2, save->flow.canonical, 201);
	free_save(save);
}

static void create_checked(struct web_task *task)
{
	struct save *save = task->context;
	struct web_request *request = save->request;
	if (check_refused(save)) {
		free_save(save);
		return;
	}
	struct pg_job *job = pg_job_new(request->identity.tenant, created, save);
	if (!job) {
		no_memory(save);
		return;
	}
	char id[WL_UUID_TEXT];
	pg_job_step(job, SQL_FLOW_SLOT);
	pg_job_step(job, SQL_DOCUMENT_PUT);
	pg_job_bytes(job, save->flow.hash, sizeof(save->flow.hash));
	pg_job_value(job, save->flow.canonical);
	pg_job_step(job, SQL_FLOW_INSERT);
	pg_job_value(job, wl_uuid7(wl_clock_wall_ms(), id));
	pg_job_value(job, wl_json_get_string(request->json, "name", ""));
	pg_job_value(job, wl_json_get_string(request->json, "description", ""));
	pg_job_bytes(job, save->flow.hash, sizeof(save->flow.hash));
	pg_job_value(job, request->identity.user);
	pg_submit(web.postgres, job);
}

void web_flows_create(struct web_request *request)
{
	struct save *save = new_save(request);
	if (!save)
		return;
	save->document = merge(request->json, NULL);
	if (save->document)
		run_check(save, create_checked);
	else
		no_memory(save);
}

/* ---- change
 * ----------------------------------------------------------------------------------------------------------- */

static void updated(struct pg_job *job)
{
	struct save *save = job->context;
	struct web_request *request = save->request;
	int step = job->step_count - 1;
	if (web_job_failed(request, job)) {
		/* answered */
	} else if (pg_rows(job, step) == 0 && save->had_condition) {
		web_answer_problem(request, 412, "the flow was changed meanwhile");
	} else if (pg_rows(job, step) == 0) {
		web_answer_problem(request, 409, "the flow was changed at the same time; read it again");
	} else {
		answer_flow(request, job, step, save->flow.canonical ? save->flow.canonical : save->current, 200);
	}
	free_save(save);
}

static void store_change(struct save *save)
{
	struct web_request *request = save->request;
	struct pg_job *job = pg_job_new(request->identity.tenant, updated, save);
	if (!job) {
		no_memory(save);
		return;
	}
	if (save->flow.canonical) {
		pg_job_step(job, SQL_DOCUMENT_PUT);
		pg_job_bytes(job, save->flow.hash, sizeof(save->flow.hash));
		pg_job_value(job, save->flow.canonical);
	}
	pg_job_step(job, SQL_FLOW_UPDATE);
	pg_job_value(job, web_parameter_text(&request->parameters, "id", ""));
	pg_job_number(job, save->rev);
	pg_job_value(job, wl_json_get_string(request->json, "name", NULL));
	pg_job_value(job, wl_json_get_string(request->json, "description", NULL));
	pg_job_value(job, wl_json_get_string(request->json, "status", NULL));
	if (save->flow.canonical)
		pg_job_bytes(job, save->flow.hash, sizeof(save->flow.hash));
	else
		pg_job_value(job, NULL);
	pg_submit(web.postgres, job);
}

static void update_checked(struct web_task *task)
{
	struct save *save = task->context;
	if (check_refused(save))
		free_save(save);
	else
		store_change(save);
}

/* Whether If-Match (RFC 9110 §13.1.1) names this revision. */
static bool condition_holds(const char *condition, const char *rev)
{
	size_t length = strlen(rev);
	for (const char *at = condition; at && *at; at = strchr(at, ',')) {
		at += strspn(at, ", \t");
		if (*at == '*')
			return true;
		if (*at == '"' && strncmp(at + 1, rev, length) == 0 && at[length + 1] == '"')
			return true;
	}
	return false;
}

static void change(struct save *save)
{
	struct web_request *request = save->request;
	_wl_json_ struct wl_json *current = NULL;
	if (!names_document(request->json)) {
		store_change(save);
		return;
	}
	if (wl_json_parse(save->current, strlen(save->current), &current, NULL) < 0) {
		no_memory(save);
		return;
	}
	save->document = merge(request->json, current);
	if (save->document)
		run_check(save, update_checked);
	else
		no_memory(save);
}

static void flow_read(struct pg_job *job)
{
	struct web_request *request = web_job_request(job);
	const char *condition = web_parameter_text(&request->parameters, "If-Match", NULL);
	if (web_job_failed(request, job)) {
		/* answered */
	} else if (pg_rows(job, 0) == 0) {
		web_answer_problem(request, 404, "there is no such flow");
	} else if (condition && !condition_holds(condition, pg_text(job, 0, 0, 4))) {
		web_answer_header(request, "etag", "\"%s\"", pg_text(job, 0, 0, 4));
		web_answer_problem(request, 412, "the flow has revision %s now", pg_text(job, 0, 0, 4));
	} else {
		struct save *save = new_save(request);
		if (save) {
			save->rev = pg_number(job, 0, 0, 4);
			save->had_condition = condition != NULL;
			save->current = strdup(pg_text(job, 0, 0, FLOW_COLUMNS));
			if (save->current)
				change(save);
			else
				no_memory(save);
		}
	}
	web_request_release(request);
}

void web_flows_update(struct web_request *request)
{
	struct pg_job *job = web_job(request, request->identity.tenant, flow_read);
	if (!job)
		return;
	pg_job_step(job, SQL_FLOW_GET);
	pg_job_value(job, web_parameter_text(&request->parameters, "id", ""));
	pg_submit(web.postgres, job);
}
