/*
 * Making and changing flows. The document is checked on a thread; then it is stored under the hash of its text, and
 * the flow's row points to it. A change is made on the revision that was read, so two at once never mix.
 */
#include "lib/base/cleanup.h"
#include "webapp/server/api_call.h"
#include "webapp/server/flow_check.h"
#include "webapp/server/flow_save.h"
#include "webapp/server/routes.h"
#include "webapp/server/server.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const char *const document_members[] = { "nodes", "edges", "input_schema", "output_schema" };
static const char *const other_members[] = { "name", "description", "status" };

struct save {
	struct web_task task;
	struct web_request *request;
	struct wl_json *document, *body;
	int64_t rev;
	int rc;
	struct wl_error err;
	struct wl_flow_faults faults;
	struct web_checked_flow flow;
};

static void free_save(struct save *save)
{
	wl_json_free(save->document);
	wl_json_free(save->body);
	free(save->flow.canonical);
	web_request_release(save->request);
	free(save);
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

/* What the function of the operation gets beside its parameters. NULL: no memory. */
static struct wl_json *stored_members(struct save *save)
{
	char hash[WL_SHA256_HEX];
	_wl_json_ struct wl_json *extra = wl_json_object();
	wl_hex(save->flow.hash, sizeof(save->flow.hash), hash);
	int rc = wl_json_set_string(extra, "hash", hash);
	rc = rc ? rc : wl_json_set_raw(extra, "document", save->flow.canonical);
	if (rc == 0 && save->rev > 0)
		rc = wl_json_set_number(extra, "rev", (double)save->rev);
	if (rc == 0 && save->body)
		rc = wl_json_set(extra, "body", wl_steal(save->body));
	return rc < 0 ? NULL : wl_steal(extra);
}

static void checked(struct web_task *task)
{
	struct save *save = task->context;
	if (!check_refused(save)) {
		struct wl_json *extra = stored_members(save);
		if (extra)
			web_api_call(save->request, extra, NULL);
		else
			web_answer_unavailable(save->request, 1, "no memory");
	}
	free_save(save);
}

void web_flow_save(struct web_request *request, struct wl_json *document, struct wl_json *body, int64_t rev)
{
	struct save *save = calloc(1, sizeof(*save));
	if (!save || !document) {
		free(save);
		wl_json_free(document);
		wl_json_free(body);
		web_answer_unavailable(request, 1, "no memory");
		return;
	}
	*save = (struct save){ .request = web_request_hold(request), .document = document, .body = body, .rev = rev };
	save->task = (struct web_task){ .run = check, .ended = checked, .context = save };
	if (web_thread_pool_run(web.threads, &save->task) == 0)
		return;
	web_answer_unavailable(request, 1, "too many flows are being checked");
	free_save(save);
}

/* ---- parts of a body ------------------------------------------------------------------------------------------------
 */

static struct wl_json *pick(const struct wl_json *source, const struct wl_json *otherwise, const char *const *members,
			    size_t count)
{
	_wl_json_ struct wl_json *made = wl_json_object();
	for (size_t i = 0; made && i < count; i++) {
		const struct wl_json *value = wl_json_get(source, members[i]);
		if (!value)
			value = wl_json_get(otherwise, members[i]);
		if (value && wl_json_set(made, members[i], wl_json_copy(value)) < 0)
			return NULL;
	}
	return wl_steal(made);
}

struct wl_json *web_flow_document(const struct wl_json *source, const struct wl_json *otherwise)
{
	return pick(source, otherwise, document_members, WL_COUNT_OF(document_members));
}

struct wl_json *web_flow_about(const struct wl_json *source)
{
	return pick(source, NULL, other_members, WL_COUNT_OF(other_members));
}

/* ---- create and change
 * ------------------------------------------------------------------------------------------------ */

static void save_body(struct web_request *request, const struct wl_json *current, int64_t rev)
{
	struct wl_json *body = web_flow_about(request->json);
	if (body)
		web_flow_save(request, web_flow_document(request->json, current), body, rev);
	else
		web_answer_unavailable(request, 1, "no memory");
}

void web_flows_create(struct web_request *request)
{
	save_body(request, NULL, 0);
}

static void flow_read(struct pg_job *job)
{
	struct web_request *request = web_job_request(job);
	_wl_json_ struct wl_json *current = NULL;
	if (!web_job_failed(request, job)) {
		const char *document = pg_text(job, 0, 0, 1);
		if (wl_json_parse(document, strlen(document), &current, NULL) < 0)
			web_answer_unavailable(request, 1, "no memory");
		else
			save_body(request, current, pg_number(job, 0, 0, 0));
	}
	web_request_release(request);
}

static bool names_document(const struct wl_json *body)
{
	for (size_t i = 0; i < WL_COUNT_OF(document_members); i++)
		if (wl_json_get(body, document_members[i]))
			return true;
	return false;
}

void web_flows_update(struct web_request *request)
{
	if (!names_document(request->json)) {
		web_api_operation(request);
		return;
	}
	struct pg_job *job = web_job(request, request->identity.tenant, flow_read);
	if (!job)
		return;
	pg_job_step(job, SQL_FLOW_FOR_UPDATE);
	web_api_values(job, request, NULL);
	pg_submit(web.postgres, job);
}
