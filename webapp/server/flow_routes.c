/* Reading, listing, deleting and publishing flows. */
#include "webapp/server/flow_answers.h"
#include "webapp/server/routes.h"
#include "webapp/server/server.h"

#include <string.h>

/* Submit a job of one statement with the flow's id as its first value; more may follow before the submit. */
static struct pg_job *flow_job(struct web_request *request, enum web_statement statement,
			       void (*done)(struct pg_job *job))
{
	struct pg_job *job = web_job(request, request->identity.tenant, done);
	if (job) {
		pg_job_step(job, statement);
		pg_job_value(job, web_parameter_text(&request->parameters, "id", ""));
	}
	return job;
}

static bool failed_or_missing(struct web_request *request, const struct pg_job *job, const char *what)
{
	if (web_job_failed(request, job))
		return true;
	if (pg_rows(job, 0))
		return false;
	web_answer_problem(request, 404, "there is no such %s", what);
	return true;
}

static void flow_got(struct pg_job *job)
{
	struct web_request *request = web_job_request(job);
	struct wl_buffer *body = &request->answer;
	if (!failed_or_missing(request, job, "flow")) {
		web_answer_header(request, "etag", "\"%s\"", pg_text(job, 0, 0, 4));
		wl_buffer_append_text(body, "{\"flow\":");
		web_flow_write(body, job, 0, 0, pg_text(job, 0, 0, FLOW_COLUMNS));
		web_member_raw(body, "versions", pg_text(job, 0, 0, FLOW_COLUMNS + 1));
		wl_buffer_append_char(body, '}');
		web_answer_json(request, 200);
	}
	web_request_release(request);
}

void web_flows_get(struct web_request *request)
{
	struct pg_job *job = flow_job(request, SQL_FLOW_GET, flow_got);
	if (job)
		pg_submit(web.postgres, job);
}

static void flow_deleted(struct pg_job *job)
{
	struct web_request *request = web_job_request(job);
	if (!failed_or_missing(request, job, "flow"))
		web_answer_empty(request, 204);
	web_request_release(request);
}

void web_flows_delete(struct web_request *request)
{
	struct pg_job *job = flow_job(request, SQL_FLOW_DELETE, flow_deleted);
	if (job)
		pg_submit(web.postgres, job);
}

/* ---- publish and versions -------------------------------------------------------------------------------------- */

static void flow_published(struct pg_job *job)
{
	struct web_request *request = web_job_request(job);
	struct wl_buffer *body = &request->answer;
	if (failed_or_missing(request, job, "flow")) {
		/* answered */
	} else if (strcmp(pg_text(job, 0, 0, 0), "archived") == 0) {
		web_answer_problem(request, 409, "an archived flow is not published; set its status to draft first");
	} else {
		wl_buffer_append_text(body, "{\"version\":");
		web_version_write(body, job, 0, 0, 1, NULL);
		wl_buffer_append_char(body, '}');
		web_answer_json(request, strcmp(pg_text(job, 0, 0, 0), "made") == 0 ? 201 : 200);
	}
	web_request_release(request);
}

void web_flows_publish(struct web_request *request)
{
	struct pg_job *job = flow_job(request, SQL_FLOW_PUBLISH, flow_published);
	if (!job)
		return;
	pg_job_value(job, wl_json_get_string(request->json, "note", ""));
	pg_job_value(job, request->identity.user);
	pg_submit(web.postgres, job);
}

static void versions_listed(struct pg_job *job)
{
	struct web_request *request = web_job_request(job);
	struct wl_buffer *body = &request->answer;
	if (!failed_or_missing(request, job, "flow")) {
		wl_buffer_append_text(body, "{\"versions\":[");
		for (int row = 0; row < pg_rows(job, 1); row++) {
			wl_buffer_append_text(body, row ? "," : "");
			web_version_write(body, job, 1, row, 0, NULL);
		}
		wl_buffer_append_char(body, ']');
		web_page_write(body, pg_number(job, 0, 0, 0), web_parameter_number(&request->parameters, "page", 1),
			       web_parameter_number(&request->parameters, "limit", 20));
		wl_buffer_append_char(body, '}');
		web_answer_json(request, 200);
	}
	web_request_release(request);
}

static void add_page(struct pg_job *job, const struct web_request *request)
{
	int64_t limit = web_parameter_number(&request->parameters, "limit", 20);
	pg_job_number(job, limit);
	pg_job_number(job, limit * (web_parameter_number(&request->parameters, "page", 1) - 1));
}

void web_flow_versions_list(struct web_request *request)
{
	struct pg_job *job = flow_job(request, SQL_VERSIONS_COUNT, versions_listed);
	if (!job)
		return;
	pg_job_step(job, SQL_VERSIONS_PAGE);
	pg_job_value(job, web_parameter_text(&request->parameters, "id", ""));
	add_page(job, request);
	pg_submit(web.postgres, job);
}

static void version_got(struct pg_job *job)
{
	struct web_request *request = web_job_request(job);
	struct wl_buffer *body = &request->answer;
	if (!failed_or_missing(request, job, "version")) {
		wl_buffer_append_text(body, "{\"version\":");
		web_version_write(body, job, 0, 0, 0, pg_text(job, 0, 0, VERSION_COLUMNS));
		wl_buffer_append_char(body, '}');
		web_answer_json(request, 200);
	}
	web_request_release(request);
}

void web_flow_versions_get(struct web_request *request)
{
	struct pg_job *job = flow_job(request, SQL_VERSION_GET, version_got);
	if (!job)
		return;
	pg_job_number(job, web_parameter_number(&request->parameters, "version", 0));
	pg_submit(web.postgres, job);
}

/* ---- list -----------------------------------------------------------------------------------------------------------
 */

static void flows_listed(struct pg_job *job)
{
	struct web_request *request = web_job_request(job);
	struct wl_buffer *body = &request->answer;
	if (!web_job_failed(request, job)) {
		wl_buffer_append_text(body, "{\"flows\":[");
		for (int row = 0; row < pg_rows(job, 1); row++) {
			wl_buffer_append_text(body, row ? "," : "");
			web_flow_write(body, job, 1, row, NULL);
		}
		wl_buffer_append_char(body, ']');
		web_page_write(body, pg_number(job, 0, 0, 0), web_parameter_number(&request->parameters, "page", 1),
			       web_parameter_number(&request->parameters, "limit", 20));
		wl_buffer_append_char(body, '}');
		web_answer_json(request, 200);
	}
	web_request_release(request);
}

static enum web_statement statement_of_sort(const char *sort)
{
	static const struct {
		const char *sort;
		enum web_statement statement;
	} orders[] = {
		{ "name", SQL_FLOWS_BY_NAME },		{ "-name", SQL_FLOWS_BY_NAME_DOWN },
		{ "created_at", SQL_FLOWS_BY_CREATED }, { "-created_at", SQL_FLOWS_BY_CREATED_DOWN },
		{ "updated_at", SQL_FLOWS_BY_UPDATED },
	};
	for (size_t i = 0; i < sizeof(orders) / sizeof(orders[0]); i++)
		if (strcmp(orders[i].sort, sort) == 0)
			return orders[i].statement;
	return SQL_FLOWS_BY_UPDATED_DOWN;
}

void web_flows_list(struct web_request *request)
{
	const struct web_parameters *parameters = &request->parameters;
	struct pg_job *job = web_job(request, request->identity.tenant, flows_listed);
	if (!job)
		return;
	const enum web_statement statements[] = { SQL_FLOWS_COUNT,
						  statement_of_sort(web_parameter_text(parameters, "sort", "")) };
	for (int i = 0; i < 2; i++) {
		pg_job_step(job, statements[i]);
		pg_job_value(job, web_parameter_text(parameters, "status", NULL));
		pg_job_value(job, web_parameter_text(parameters, "created_by", NULL));
		pg_job_value(job, web_parameter_text(parameters, "search", NULL));
	}
	add_page(job, request);
	pg_submit(web.postgres, job);
}
