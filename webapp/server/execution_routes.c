/* Reading, watching and cancelling executions. */
#include "webapp/server/execution_answers.h"

#include "lib/base/cleanup.h"
#include "webapp/server/event_watch.h"
#include "webapp/server/queue_effects.h"
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

static bool failed_or_missing(struct web_request *request, const struct pg_job *job, int step)
{
	if (web_job_failed(request, job))
		return true;
	if (pg_rows(job, step))
		return false;
	web_answer_problem(request, 404, "there is no such execution");
	return true;
}

/* ---- list ------------------------------------------------------------------------------------------------------ */

static void executions_listed(struct pg_job *job)
{
	struct web_request *request = web_job_request(job);
	struct wl_buffer *body = &request->answer;
	int64_t limit = web_parameter_number(&request->parameters, "limit", 20);
	if (!web_job_failed(request, job)) {
		int rows = pg_rows(job, 0);
		int shown = rows > limit ? (int)limit : rows;
		wl_buffer_append_text(body, "{\"executions\":[");
		for (int row = 0; row < shown; row++) {
			wl_buffer_append_text(body, row ? "," : "");
			web_execution_begin(body, job, 0, row);
			wl_buffer_append_char(body, '}');
		}
		wl_buffer_appendf(body, "],\"page_info\":{\"limit\":%lld,\"next_cursor\":", (long long)limit);
		if (rows > shown)
			wl_buffer_appendf(body, "\"%s_%s\"}}", pg_text(job, 0, shown - 1, EXECUTION_COLUMNS),
					  pg_text(job, 0, shown - 1, 0));
		else
			wl_buffer_append_text(body, "null}}");
		web_answer_json(request, 200);
	}
	web_request_release(request);
}

/* A cursor is <microseconds of created_at>_<id> of the last row that was shown. */
static bool read_cursor(const char *cursor, char microseconds[24], char id[WL_UUID_TEXT])
{
	size_t length = strspn(cursor, "0123456789");
	if (length == 0 || length > 17 || cursor[length] != '_' || !wl_uuid_valid(cursor + length + 1))
		return false;
	(void)snprintf(microseconds, 24, "%.*s", (int)length, cursor);
	memcpy(id, cursor + length + 1, WL_UUID_TEXT);
	return true;
}

void web_executions_list(struct web_request *request)
{
	const struct web_parameters *parameters = &request->parameters;
	const char *cursor = web_parameter_text(parameters, "cursor", NULL);
	char microseconds[24], id[WL_UUID_TEXT];
	if (cursor && !read_cursor(cursor, microseconds, id)) {
		struct wl_flow_faults *faults = calloc(1, sizeof(*faults));
		if (faults) {
			wl_flow_fault_add(faults, "cursor", "is not one that this server gave");
			web_answer_faults(request, 400, faults, "a parameter is wrong");
		}
		free(faults);
		return;
	}
	struct pg_job *job = web_job(request, request->identity.tenant, executions_listed);
	if (!job)
		return;
	pg_job_step(job, SQL_EXECUTIONS_PAGE);
	pg_job_value(job, web_parameter_text(parameters, "flow_id", NULL));
	pg_job_value(job, web_parameter_text(parameters, "status", NULL));
	pg_job_value(job, cursor ? microseconds : NULL);
	pg_job_value(job, cursor ? id : NULL);
	pg_job_number(job, web_parameter_number(parameters, "limit", 20) + 1); /* one more tells of a next page */
	pg_submit(web.postgres, job);
}

/* ---- get ------------------------------------------------------------------------------------------------------- */

struct read_nodes {
	struct web_task task;
	struct web_request *request;
	struct wl_node_result *results;
	int count; /* or -errno */
	struct wl_error err;
	struct wl_buffer nodes;
};

static void load_nodes(struct web_task *task)
{
	struct read_nodes *read = task->context;
	const struct web_request *request = read->request;
	read->count = web_node_results(request->identity.tenant, id_of(request), &read->results, &read->err);
	if (read->count >= 0)
		web_execution_nodes(&read->nodes, read->results, read->count);
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
	if (!failed_or_missing(request, job, 0)) {
		struct read_nodes *read = calloc(1, sizeof(*read));
		wl_buffer_append_text(body, "{\"execution\":");
		web_execution_begin(body, job, 0, 0);
		web_member_raw(body, "inputs", pg_text(job, 0, 0, EXECUTION_COLUMNS));
		web_member_raw(body, "outputs", pg_text(job, 0, 0, EXECUTION_COLUMNS + 1));
		wl_buffer_appendf(body, ",\"cancel_requested\":%s}",
				  pg_text(job, 0, 0, EXECUTION_COLUMNS + 2)[0] == 't' ? "true" : "false");
		if (read) {
			read->task = (struct web_task){ .run = load_nodes, .ended = nodes_loaded, .context = read };
			read->request = web_request_hold(request);
		}
		if (!read || web_thread_pool_run(web.threads, &read->task) < 0) {
			web_answer_unavailable(request, 1, "too many executions are being read");
			if (read)
				free_read(read);
		}
	}
	web_request_release(request);
}

static void submit_one(struct web_request *request, enum web_statement statement, void (*done)(struct pg_job *job))
{
	struct pg_job *job = web_job(request, request->identity.tenant, done);
	if (!job)
		return;
	pg_job_step(job, statement);
	pg_job_value(job, id_of(request));
	pg_submit(web.postgres, job);
}

void web_executions_get(struct web_request *request)
{
	submit_one(request, SQL_EXECUTION_GET, execution_got);
}

/* ---- stream ---------------------------------------------------------------------------------------------------- */

static void stream_allowed(struct pg_job *job)
{
	struct web_request *request = web_job_request(job);
	if (!failed_or_missing(request, job, 0))
		web_event_watch_start(request, id_of(request),
				      web_parameter_text(&request->parameters, "Last-Event-ID", NULL));
	web_request_release(request);
}

void web_executions_stream(struct web_request *request)
{
	submit_one(request, SQL_EXECUTION_STATE, stream_allowed);
}

/* ---- cancel ---------------------------------------------------------------------------------------------------- */

static void cancelled(struct pg_job *job)
{
	struct web_request *request = web_job_request(job);
	if (!failed_or_missing(request, job, 1)) {
		const char *outcome = pg_rows(job, 0) ? pg_text(job, 0, 0, 0) : "gone";
		if (strcmp(outcome, "gone") == 0) {
			web_answer_problem(request, 409, "the execution has ended: %s", pg_text(job, 1, 0, 0));
		} else {
			web_queue_cancel((int)pg_number(job, 0, 0, 1), id_of(request));
			if (strcmp(outcome, "cancelled") == 0)
				web_event_publish_end(id_of(request), "cancelled");
			wl_buffer_append_char(&request->answer, '{');
			web_member_text(&request->answer, "execution_id", id_of(request));
			web_member_text(&request->answer, "status", outcome);
			wl_buffer_append_char(&request->answer, '}');
			web_answer_json(request, 202);
		}
	}
	web_request_release(request);
}

void web_executions_cancel(struct web_request *request)
{
	struct pg_job *job = web_job(request, request->identity.tenant, cancelled);
	if (!job)
		return;
	pg_job_step(job, SQL_CANCEL);
	pg_job_value(job, id_of(request));
	pg_job_step(job, SQL_EXECUTION_STATE);
	pg_job_value(job, id_of(request));
	pg_submit(web.postgres, job);
}
