/*
 * Running an ended execution again. From which nodes on is found out here for `failed`: the states of nodes are in the
 * document server. An ended execution does not change, so what is read stays true until the new one is accepted.
 */
#include "lib/base/cleanup.h"
#include "webapp/server/api_call.h"
#include "webapp/server/routes.h"
#include "webapp/server/server.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct retry {
	struct web_task task;
	struct web_request *request;
	struct wl_json *failed; /* ids of nodes */
	int count;		/* or -errno */
	struct wl_error err;
};

static const char *id_of(const struct web_request *request)
{
	return web_parameter_text(&request->parameters, "id", "");
}

static void free_retry(struct retry *retry)
{
	wl_json_free(retry->failed);
	web_request_release(retry->request);
	free(retry);
}

static bool is_failed(const struct wl_node_result *result)
{
	return result->committed && (result->state == WL_NODE_FAILED || result->state == WL_NODE_CANCELLED);
}

static void find_failed(struct web_task *task)
{
	struct retry *retry = task->context;
	struct wl_node_result *results = NULL;
	int count = web_node_results(retry->request->identity.tenant, id_of(retry->request), &results, &retry->err);
	retry->count = count;
	retry->failed = wl_json_array();
	for (int i = 0; i < count; i++) {
		if (is_failed(&results[i]) && wl_json_append(retry->failed, wl_json_new_string(results[i].node_id)) < 0)
			retry->count = wl_fail(&retry->err, ENOMEM, "no memory");
		wl_node_result_release(&results[i]);
	}
	free(results);
}

static void failed_found(struct web_task *task)
{
	struct retry *retry = task->context;
	struct wl_json *extra = wl_json_object();
	if (retry->count < 0) {
		web_answer_unavailable(retry->request, 1, "the nodes' results cannot be read now: %s", retry->err.text);
		wl_json_free(extra);
	} else if (!extra || !retry->failed || wl_json_set(extra, "failed", wl_steal(retry->failed)) < 0) {
		web_answer_unavailable(retry->request, 1, "no memory");
		wl_json_free(extra);
	} else {
		web_api_call(retry->request, extra, NULL);
	}
	free_retry(retry);
}

static void look_for_failed(struct web_request *request)
{
	struct retry *retry = calloc(1, sizeof(*retry));
	if (retry) {
		retry->request = web_request_hold(request);
		retry->task = (struct web_task){ .run = find_failed, .ended = failed_found, .context = retry };
		if (web_thread_pool_run(web.threads, &retry->task) == 0)
			return;
		free_retry(retry);
	}
	web_answer_unavailable(request, 1, "too many executions are being read");
}

static void retry_allowed(struct pg_job *job)
{
	struct web_request *request = web_job_request(job);
	if (!web_job_failed(request, job))
		look_for_failed(request);
	web_request_release(request);
}

void web_executions_retry(struct web_request *request)
{
	if (strcmp(wl_json_get_string(request->json, "from", "start"), "failed") != 0) {
		web_api_operation(request);
		return;
	}
	struct pg_job *job = web_job(request, request->identity.tenant, retry_allowed);
	if (!job)
		return;
	pg_job_step(job, SQL_RETRY_OF);
	web_api_value_actor(job, request);
	pg_job_value(job, id_of(request));
	pg_submit(web.postgres, job);
}
