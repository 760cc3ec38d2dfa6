#include "webapp/server/mcp_step.h"

#include "webapp/server/api_call.h"
#include "webapp/server/server.h"

#include <errno.h>
#include <string.h>

int web_mcp_step(const struct web_request *request, const char *step, struct wl_json *extra,
		 void (*done)(struct pg_job *job), void *context)
{
	struct pg_job *job = NULL;
	if (extra && wl_json_set_string(extra, "step", step) == 0)
		job = pg_job_new(request->identity.tenant, done, context);
	if (!job) {
		wl_json_free(extra);
		return -ENOMEM;
	}
	pg_job_step(job, web_statement_of_route(request->route_index));
	web_api_values(job, request, extra);
	pg_submit(web.postgres, job);
	return 0;
}

bool web_mcp_step_failed(struct web_request *request, const struct pg_job *job)
{
	if (job->outcome != PG_REFUSED || strcmp(job->sqlstate, "WL410") != 0)
		return web_job_failed(request, job);
	web_answer_problem(request, 404, "%s", job->message);
	return true;
}
