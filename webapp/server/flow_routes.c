/* Reading and listing flows: what is asked most, without a function of its own in PostgreSQL. */
#include "webapp/server/flow_answers.h"
#include "webapp/server/routes.h"
#include "webapp/server/server.h"

#include <string.h>

/* Who asks, for SQL_SEEN: his id and whether he is an admin. */
static void add_reader(struct pg_job *job, const struct web_request *request)
{
	pg_job_value(job, request->identity.user);
	pg_job_value(job, request->identity.role == WEB_ROLE_ADMIN ? "true" : "false");
}

static void flow_got(struct pg_job *job)
{
	struct web_request *request = web_job_request(job);
	struct wl_buffer *body = &request->answer;
	if (web_job_failed(request, job)) {
		/* answered */
	} else if (pg_rows(job, 0) == 0) {
		web_answer_problem(request, 404, "there is no such flow");
	} else {
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
	struct pg_job *job = web_job(request, request->identity.tenant, flow_got);
	if (!job)
		return;
	pg_job_step(job, SQL_FLOW_GET);
	pg_job_value(job, web_parameter_text(&request->parameters, "id", ""));
	add_reader(job, request);
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
	int64_t limit = web_parameter_number(parameters, "limit", 20);
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
		pg_job_value(job, web_parameter_text(parameters, "deleted", "false"));
		add_reader(job, request);
	}
	pg_job_number(job, limit);
	pg_job_number(job, limit * (web_parameter_number(parameters, "page", 1) - 1));
	pg_submit(web.postgres, job);
}
