/*
 * CrewAI projects in and crews out. An import asks the tenant's tools and providers first, then reads and checks the
 * files on a thread, and stores all that they make in one call.
 */
#include "lib/base/cleanup.h"
#include "lib/base/clock.h"
#include "lib/codec/crewai.h"
#include "webapp/server/api_call.h"
#include "webapp/server/flow_check.h"
#include "webapp/server/flow_save.h"
#include "webapp/server/routes.h"
#include "webapp/server/server.h"
#include "webapp/server/tool_check.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct crewai_work {
	struct web_task task;
	struct web_request *request;
	char *text; /* what PostgreSQL answered: JSON */
	struct wl_json *result;
	struct web_checked_flow flow;
	int rc;
	struct wl_error err;
	struct wl_flow_faults faults;
};

static void free_work(struct crewai_work *work)
{
	free(work->text);
	wl_json_free(work->result);
	free(work->flow.canonical);
	web_request_release(work->request);
	free(work);
}

/* Run on a thread, then `ended` on the loop; answers when it cannot. */
static void start_work(struct web_request *request, const char *text, void (*run)(struct web_task *),
		       void (*ended)(struct web_task *))
{
	struct crewai_work *work = calloc(1, sizeof(*work));
	char *copy = work ? strdup(text) : NULL;
	if (!copy) {
		free(work);
		web_answer_unavailable(request, 1, "no memory");
		return;
	}
	work->request = web_request_hold(request);
	work->text = copy;
	work->task = (struct web_task){ .run = run, .ended = ended, .context = work };
	if (web_thread_pool_run(web.threads, &work->task) == 0)
		return;
	web_answer_unavailable(request, 1, "too many projects are being read");
	free_work(work);
}

/* ---- import, on a thread ---------------------------------------------------------------------------------------- */

static void new_id(void *self, char *id)
{
	(void)self;
	wl_uuid7(wl_clock_wall_ms(), id);
}

/* Check what was made as if somebody had written it by hand; faults tell what they are of. */
static int check_made(struct crewai_work *work)
{
	const struct web_checker checker = { web.expressions, (int)web.settings.eval_ms };
	const struct wl_json *crews = wl_json_get(work->result, "crews"), *flow = wl_json_get(work->result, "flow");
	_wl_free_ struct wl_flow_faults *found = calloc(1, sizeof(*found));
	int rc = found ? 0 : wl_fail(&work->err, ENOMEM, "no memory");
	for (const struct wl_json *one = wl_json_first(crews); one && rc == 0; one = wl_json_next(one))
		rc = web_crew_check(&checker, one, found, &work->err);
	for (int i = 0; found && i < found->count; i++)
		wl_flow_fault_add(&work->faults, "crew", "%s: %s", found->items[i].path, found->items[i].text);
	if (rc < 0 || !wl_json_is(flow, WL_JSON_OBJECT))
		return rc;
	_wl_json_ struct wl_json *document = web_flow_document(flow, NULL);
	memset(found, 0, sizeof(*found));
	rc = document ? web_flow_check(web.expressions, (int)web.settings.eval_ms, document, &work->flow, found,
				       &work->err)
		      : wl_fail(&work->err, ENOMEM, "no memory");
	for (int i = 0; i < found->count; i++)
		wl_flow_fault_add(&work->faults, "flow", "%s: %s", found->items[i].path, found->items[i].text);
	return rc;
}

static void read_project(struct web_task *task)
{
	struct crewai_work *work = task->context;
	const struct wl_json *body = work->request->json;
	_wl_json_ struct wl_json *directory = NULL;
	work->rc = wl_json_parse(work->text, strlen(work->text), &directory, &work->err);
	if (work->rc < 0)
		return;
	const struct wl_crewai_context context = { .directory = directory, .choice = body, .new_id = new_id };
	work->rc = wl_crewai_import(wl_json_get(body, "files"), &context, &work->result, &work->faults, &work->err);
	if (work->rc == 0)
		work->rc = check_made(work);
}

/* ---- import, on the loop ---------------------------------------------------------------------------------------- */

static struct wl_json *call_of(struct crewai_work *work)
{
	_wl_json_ struct wl_json *extra = wl_json_object();
	char hash[WL_SHA256_HEX];
	int rc = wl_json_set(extra, "body", wl_json_object());
	rc = rc ? rc : wl_json_set(extra, "project", wl_steal(work->result));
	if (rc == 0 && work->flow.canonical) {
		wl_hex(work->flow.hash, sizeof(work->flow.hash), hash);
		rc = wl_json_set_string(extra, "hash", hash);
		rc = rc ? rc : wl_json_set_raw(extra, "document", work->flow.canonical);
	}
	return rc ? NULL : wl_steal(extra);
}

static void store(struct crewai_work *work)
{
	struct wl_json *extra = call_of(work);
	if (extra)
		web_api_call(work->request, extra, NULL);
	else
		web_answer_unavailable(work->request, 1, "no memory");
}

static void project_read(struct web_task *task)
{
	struct crewai_work *work = task->context;
	struct web_request *request = work->request;
	if (work->faults.count)
		web_answer_faults(request, 422, &work->faults, "the project cannot be imported");
	else if (work->rc == -EINVAL || work->rc == -E2BIG)
		web_answer_problem(request, 422, "%s", work->err.text);
	else if (work->rc < 0)
		web_answer_unavailable(request, 1, "%s", work->err.text);
	else if (!wl_json_get_bool(request->json, "preview", false))
		store(work);
	else if (wl_json_write(&request->answer, work->result) < 0)
		web_answer_unavailable(request, 1, "no memory");
	else
		web_answer_json(request, 200);
	free_work(work);
}

static void directory_got(struct web_request *request, const struct web_api_answer *answer)
{
	start_work(request, answer->body, read_project, project_read);
}

void web_crews_import(struct web_request *request)
{
	struct wl_json *extra = wl_json_object();
	/* the files stay here: PostgreSQL has no use for them */
	if (wl_json_set(extra, "body", wl_json_object()) == 0) {
		web_api_call(request, extra, directory_got);
		return;
	}
	wl_json_free(extra);
	web_answer_unavailable(request, 1, "no memory");
}

/* ---- export ----------------------------------------------------------------------------------------------------- */

static void write_files(struct web_task *task)
{
	struct crewai_work *work = task->context;
	const char *format = web_parameter_text(&work->request->parameters, "format", "yaml");
	_wl_json_ struct wl_json *bundle = NULL;
	work->rc = wl_json_parse(work->text, strlen(work->text), &bundle, &work->err);
	if (work->rc == 0 && wl_json_get(bundle, "document"))
		work->rc = wl_crewai_export_flow(bundle, &work->result, &work->err);
	else if (work->rc == 0)
		work->rc =
			wl_crewai_export_crew(bundle, strcmp(format, "jsonc") == 0 ? WL_CREWAI_JSONC : WL_CREWAI_YAML,
					      &work->result, &work->err);
}

static void files_written(struct web_task *task)
{
	struct crewai_work *work = task->context;
	if (work->rc < 0 || wl_json_write(&work->request->answer, work->result) < 0)
		web_answer_unavailable(work->request, 1, "%s", work->rc < 0 ? work->err.text : "no memory");
	else
		web_answer_json(work->request, 200);
	free_work(work);
}

void web_crewai_bundle_got(struct web_request *request, const struct web_api_answer *answer)
{
	start_work(request, answer->body, write_files, files_written);
}

void web_crews_export(struct web_request *request)
{
	web_api_call(request, NULL, web_crewai_bundle_got);
}
