/* Steps of MCP messages in PostgreSQL: api.mcp_post. */
#ifndef WL_WEBAPP_MCP_STEP_H
#define WL_WEBAPP_MCP_STEP_H

#include "webapp/server/postgres_async.h"
#include "webapp/server/request.h"

/*
 * Ask for a step with what it needs in `extra`, which is taken over (NULL: there was no memory for it). `done` gets
 * `context` as job->context. -ENOMEM: it will not be called.
 */
int web_mcp_step(const struct web_request *request, const char *step, struct wl_json *extra,
		 void (*done)(struct pg_job *job), void *context);

/* As web_job_failed(), where a session that has ended is 404: clients initialize again then. */
bool web_mcp_step_failed(struct web_request *request, const struct pg_job *job);

#endif
