/* For probes and monitoring. */
#include "webapp/server/metrics.h"
#include "webapp/server/routes.h"
#include "webapp/server/scheduler_figures.h"
#include "webapp/server/server.h"

void web_healthz(struct web_request *request)
{
	wl_buffer_append_text(&request->answer, "{\"status\":\"ok\"}");
	web_answer_json(request, 200);
}

void web_readyz(struct web_request *request)
{
	bool postgres = pg_pool_ready(web.postgres) > 0, redis = web_redis_up(web.redis);
	bool ready = postgres && !web.draining;
	wl_buffer_appendf(&request->answer,
			  "{\"status\":\"%s\",\"checks\":{\"postgres\":%s,\"redis\":%s,\"draining\":%s}}",
			  ready ? "ready" : "unavailable", postgres ? "true" : "false", redis ? "true" : "false",
			  web.draining ? "true" : "false");
	web_answer_json(request, ready ? 200 : 503);
}

void web_metrics(struct web_request *request)
{
	web_metrics_write(&request->answer);
	web_scheduler_figures_write(&request->answer);
	web_answer_text(request, 200, "text/plain; version=0.0.4; charset=utf-8");
}

void web_openapi_get(struct web_request *request)
{
	wl_buffer_append(&request->answer, web_api_document, web_api_document_length);
	web_answer_json(request, 200);
}
