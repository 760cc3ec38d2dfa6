/* Reading and watching executions. */
#include "webapp/server/execution_answers.h"

#include "lib/base/cleanup.h"
#include "webapp/server/api_call.h"
#include "webapp/server/event_watch.h"
#include "webapp/server/routes.h"
#include "webapp/server/server.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *id_of(const struct web_request *request)
{
	return web_parameter_text(&request->parameters, "id", "");
}

static bool failed_or_missing(struct web_request *request, const struct pg_job *job)
{
	if (web_job_failed(request, job))
		return true;
	if (pg_rows(job, 0))
		return false;
	web_answer_problem(request, 404, "there is no such execution");
	return true;
}

/* ---- get ------------------------------------------------------------------------------------------------------- */

struct read_nodes {
	struct web_task task;
	struct web_request *request;
	struct wl_node_result *results;
	int count; /* or -errno */
	bool running;
	struct wl_error err;
	struct wl_buffer nodes;
};

static void load_nodes(struct web_task *task)
{
	struct read_nodes *read = task->context;
	const struct web_request *request = read->request;
	read->count = web_node_results(request->identity.tenant, id_of(request), &read->results, &read->err);
	if (read->count >= 0)
		web_execution_nodes(&read->nodes, read->results, read->count, read->running);
}

static void free_read(struct read_nodes *read)
{
	for (int i = 0; i < read->count; i++)
		wl_node_result_release(&read->results[i]);
	free(read->results);
	wl_buffer_release(&read->nodes);
	web_request_release(read->request);
	free(read);
}

static void nodes_loaded(struct web_task *task)
{
	struct read_nodes *read = task->context;
	struct web_request *request = read->request;
	if (read->count < 0) {
		web_answer_unavailable(request, 1, "the nodes' results cannot be read now: %s", read->err.text);
	} else {
		if (read->nodes.length)
			wl_buffer_append(&request->answer, read->nodes.data, read->nodes.length);
		wl_buffer_append_char(&request->answer, '}');
		web_answer_json(request, 200);
	}
	free_read(read);
}

static void execution_got(struct pg_job *job)
{
	struct web_request *request = web_job_request(job);
	struct wl_buffer *body = &request->answer;
	if (!failed_or_missing(request, job)) {
		struct read_nodes *read = calloc(1, sizeof(*read));
		wl_buffer_append_text(body, "{\"execution\":");
		web_execution_begin(body, job, 0, 0);
		web_member_raw(body, "inputs", pg_text(job, 0, 0, EXECUTION_COLUMNS));
		web_member_raw(body, "outputs", pg_text(job, 0, 0, EXECUTION_COLUMNS + 1));
		web_member_raw(body, "usage", pg_text(job, 0, 0, EXECUTION_COLUMNS + 3));
		wl_buffer_appendf(body, ",\"cancel_requested\":%s}",
				  pg_text(job, 0, 0, EXECUTION_COLUMNS + 2)[0] == 't' ? "true" : "false");
		if (read) {
			read->task = (struct web_task){ .run = load_nodes, .ended = nodes_loaded, .context = read };
			read->request = web_request_hold(request);
			read->running = strcmp(pg_text(job, 0, 0, 3), "running") == 0;
		}
		if (!read || web_thread_pool_run(web.threads, &read->task) < 0) {
			web_answer_unavailable(request, 1, "too many executions are being read");
			if (read)
				free_read(read);
		}
	}
	web_request_release(request);
}

void web_executions_get(struct web_request *request)
{
	struct pg_job *job = web_job(request, request->identity.tenant, execution_got);
	if (!job)
		return;
	pg_job_step(job, SQL_EXECUTION_GET);
	pg_job_value(job, id_of(request));
	pg_job_value(job, request->identity.user);
	pg_job_value(job, request->identity.role == WEB_ROLE_ADMIN ? "true" : "false");
	pg_submit(web.postgres, job);
}

/* ---- stream ---------------------------------------------------------------------------------------------------- */

static void stream_allowed(struct pg_job *job)
{
	struct web_request *request = web_job_request(job);
	if (!web_job_failed(request, job))
		web_event_watch_start(request, id_of(request),
				      web_parameter_text(&request->parameters, "Last-Event-ID", NULL));
	web_request_release(request);
}

void web_executions_stream(struct web_request *request)
{
	struct pg_job *job = web_job(request, request->identity.tenant, stream_allowed);
	if (!job)
		return;
	pg_job_step(job, SQL_NEED_EXECUTION);
	web_api_value_actor(job, request);
	pg_job_value(job, id_of(request));
	pg_job_value(job, "view");
	pg_submit(web.postgres, job);
}
