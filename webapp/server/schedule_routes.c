/*
 * Making and changing schedules: their fires are worked out here, since PostgreSQL knows no cron expressions. A first
 * call tells what the schedule will be, its flow's input_schema and the time on the database's clock; a thread checks
 * all of it; the second call stores the schedule with its next fires.
 */
#include "lib/base/cleanup.h"
#include "lib/base/clock.h"
#include "lib/model/cron.h"
#include "webapp/server/api_call.h"
#include "webapp/server/flow_check.h"
#include "webapp/server/routes.h"
#include "webapp/server/server.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SHOWN 5
#define MOST_SHOWN 50

struct schedule_work {
	struct web_task task;
	struct web_request *request;
	void (*checked)(struct schedule_work *work); /* answers or goes on; the work is freed behind it */
	struct wl_json *basis;			     /* of api.schedule_basis() */
	int rc;
	struct wl_error err;
	struct wl_flow_faults faults;
	int wanted, count;
	int64_t fires[MOST_SHOWN];
};

static void free_work(struct schedule_work *work)
{
	wl_json_free(work->basis);
	web_request_release(work->request);
	free(work);
}

/* ---- on a thread --------------------------------------------------------------------------------------------------
 */

/* 0 also with faults; -errno when it cannot be told now. */
static int find_fires(struct schedule_work *work)
{
	struct wl_cron cron;
	_wl_zone_ struct wl_zone *zone = NULL;
	struct wl_error err = { 0 };
	if (wl_cron_parse(wl_json_get_string(work->basis, "cron", ""), &cron, &err) < 0)
		wl_flow_fault_add(&work->faults, "cron", "%s", err.text);
	int rc = wl_zone_open(web.settings.zoneinfo_dir, wl_json_get_string(work->basis, "timezone", ""), &zone, &err);
	if (rc == -EINVAL || rc == -ENOENT) {
		wl_flow_fault_add(&work->faults, "timezone", "%s", err.text);
	} else if (rc < 0) {
		work->err = err;
		return rc;
	}
	if (work->faults.count)
		return 0;
	work->count = wl_cron_upcoming(&cron, zone, (int64_t)wl_json_get_number(work->basis, "now_s", 0), work->wanted,
				       work->fires);
	if (!work->count)
		wl_flow_fault_add(&work->faults, "cron", "this never fires");
	return 0;
}

static int check_inputs(struct schedule_work *work)
{
	const struct wl_json *schema = wl_json_get(work->basis, "schema");
	_wl_free_ char *inputs = wl_json_print(wl_json_get(work->basis, "inputs"));
	_wl_free_ char *text = wl_json_print(schema);
	_wl_free_ char *faults = NULL;
	if (!inputs || !text)
		return wl_fail_errno(&work->err, ENOMEM, "check the inputs");
	if (strlen(inputs) > WL_OUTPUT_MAX) {
		wl_flow_fault_add(&work->faults, "inputs", "has more than %u bytes", WL_OUTPUT_MAX);
		return 0;
	}
	if (wl_json_is(schema, WL_JSON_NULL) || web_schema_is_trivial(schema))
		return 0;
	int rc = wl_expression_schema(web.expressions, text, strlen(text), inputs, strlen(inputs),
				      (int)web.settings.eval_ms, &faults, &work->err);
	if (web_expression_refused(rc))
		return web_schema_faults(&work->faults, "inputs", faults, work->err.text, &work->err);
	return rc;
}

/* A change that says nothing of inputs or version leaves them as they once were checked. */
static bool names_inputs(const struct web_request *request)
{
	return wl_json_get(request->json, "flow_id") || wl_json_get(request->json, "inputs") ||
	       wl_json_get(request->json, "version");
}

static void check(struct web_task *task)
{
	struct schedule_work *work = task->context;
	work->rc = find_fires(work);
	if (work->rc == 0 && names_inputs(work->request))
		work->rc = check_inputs(work);
}

/* ---- on the loop --------------------------------------------------------------------------------------------------
 */

static void ended(struct web_task *task)
{
	struct schedule_work *work = task->context;
	if (work->rc < 0)
		web_answer_unavailable(work->request, 1, "the schedule cannot be checked now: %s", work->err.text);
	else if (work->faults.count)
		web_answer_faults(work->request, 422, &work->faults, "the schedule has faults");
	else
		work->checked(work);
	free_work(work);
}

static void basis_found(struct pg_job *job)
{
	struct schedule_work *work = job->context;
	struct web_request *request = work->request;
	const char *text = job->outcome == PG_DONE ? pg_text(job, 0, 0, 0) : NULL;
	if (web_job_failed(request, job)) {
		free_work(work);
		return;
	}
	if (!text || wl_json_parse(text, strlen(text), &work->basis, &work->err) < 0) {
		web_answer_unavailable(request, 1, "no memory");
		free_work(work);
		return;
	}
	work->task = (struct web_task){ .run = check, .ended = ended, .context = work };
	if (web_thread_pool_run(web.threads, &work->task) == 0)
		return;
	web_answer_unavailable(request, 1, "too many schedules are being checked");
	free_work(work);
}

/* `extra`: as of web_api_call(), taken over. */
static void start(struct web_request *request, int wanted, struct wl_json *extra,
		  void (*checked)(struct schedule_work *work))
{
	struct schedule_work *work = calloc(1, sizeof(*work));
	struct pg_job *job = work ? pg_job_new(request->identity.tenant, basis_found, work) : NULL;
	if (!job) {
		free(work);
		wl_json_free(extra);
		web_answer_unavailable(request, 1, "no memory");
		return;
	}
	work->request = web_request_hold(request);
	work->wanted = wanted;
	work->checked = checked;
	pg_job_step(job, SQL_SCHEDULE_BASIS);
	web_api_values(job, request, extra);
	pg_submit(web.postgres, job);
}

/* ---- operations ---------------------------------------------------------------------------------------------------
 */

static void store(struct schedule_work *work)
{
	struct wl_json *extra = wl_json_object(), *fires = wl_json_array();
	int rc = fires ? 0 : -ENOMEM;
	for (int i = 0; i < work->count && rc == 0; i++)
		rc = wl_json_append(fires, wl_json_new_number((double)work->fires[i]));
	rc = rc ? rc : wl_json_set_number(extra, "most", (double)web.settings.max_schedules);
	rc = rc ? rc : wl_json_set_number(extra, "rev", wl_json_get_number(work->basis, "rev", 0));
	if (rc == 0)
		rc = wl_json_set(extra, "fires", wl_steal(fires));
	if (rc == 0) {
		web_api_call(work->request, extra, NULL);
		return;
	}
	wl_json_free(fires);
	wl_json_free(extra);
	web_answer_unavailable(work->request, 1, "no memory");
}

static void show(struct schedule_work *work)
{
	struct wl_buffer *answer = &work->request->answer;
	char text[WL_RFC3339_SIZE];
	wl_buffer_append_text(answer, "{\"next_fires\":[");
	for (int i = 0; i < work->count; i++)
		wl_buffer_appendf(answer, "%s\"%s\"", i ? "," : "", wl_rfc3339(work->fires[i] * 1000, text));
	wl_buffer_append_text(answer, "]}");
	web_answer_json(work->request, 200);
}

void web_schedules_create(struct web_request *request)
{
	start(request, SHOWN, NULL, store);
}

void web_schedules_update(struct web_request *request)
{
	start(request, SHOWN, NULL, store);
}

void web_schedules_preview(struct web_request *request)
{
	struct wl_json *extra = wl_json_object();
	if (wl_json_set_bool(extra, "preview", true) < 0) {
		wl_json_free(extra);
		web_answer_unavailable(request, 1, "no memory");
		return;
	}
	start(request, (int)wl_json_get_number(request->json, "count", SHOWN), extra, show);
}
