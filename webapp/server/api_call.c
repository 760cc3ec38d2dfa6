#include "webapp/server/api_call.h"

#include "lib/base/cleanup.h"
#include "webapp/server/event_watch.h"
#include "webapp/server/queue_effects.h"
#include "webapp/server/server.h"

#include <stdlib.h>
#include <string.h>

enum answer_column { COLUMN_STATUS, COLUMN_BODY, COLUMN_ETAG, COLUMN_LOCATION, COLUMN_EFFECTS };

struct call {
	struct web_request *request;
	web_api_taken *taken;
};

/* ---- what goes in ----------------------------------------------------------------------------------------------- */

struct wl_json *web_api_actor(const struct web_request *request)
{
	const struct web_identity *identity = &request->identity;
	char address[64] = "";
	struct wl_json *actor = wl_json_object();
	int rc = wl_json_set_string(actor, "user", *identity->user ? identity->user : NULL);
	rc = rc ? rc : wl_json_set_string(actor, "role", web_role_name(identity->role));
	rc = rc ? rc : wl_json_set_number(actor, "tenant", identity->tenant);
	rc = rc ? rc : wl_json_set_string(actor, "key", *identity->key ? identity->key : NULL);
	rc = rc ? rc : wl_json_set_string(actor, "family", *identity->family ? identity->family : NULL);
	rc = rc ? rc : wl_json_set_string(actor, "ip", web_request_peer(request, address, sizeof(address)));
	rc = rc ? rc : wl_json_set_string(actor, "request_id", request->id);
	if (rc == 0)
		return actor;
	wl_json_free(actor);
	return NULL;
}

static int put_parameters(const struct web_request *request, struct wl_json *into)
{
	const struct web_route *route = request->route;
	int rc = 0;
	for (int i = 0; i < route->parameter_count && rc == 0; i++) {
		const char *text = request->parameters.text[i];
		const char *name = route->parameters[i].name;
		if (!text)
			continue;
		rc = route->parameters[i].type == WEB_INTEGER ? wl_json_set_raw(into, name, text)
							      : wl_json_set_string(into, name, text);
	}
	return rc;
}

/* Takes over `extra`. */
static struct wl_json *make_request(const struct web_request *request, struct wl_json *extra)
{
	struct wl_json *made = extra ? extra : wl_json_object();
	struct wl_json *params = wl_json_object();
	if (!params || put_parameters(request, params) < 0) {
		wl_json_free(params);
		wl_json_free(made);
		return NULL;
	}
	int rc = wl_json_set(made, "params", params);
	if (rc == 0 && request->json && !wl_json_get(made, "body"))
		rc = wl_json_set(made, "body", wl_json_copy(request->json));
	if (rc == 0)
		return made;
	wl_json_free(made);
	return NULL;
}

/* ---- what comes out --------------------------------------------------------------------------------------------- */

static void do_enqueue(const struct wl_json *list)
{
	for (const struct wl_json *one = wl_json_first(list); one; one = wl_json_next(one))
		web_queue_enqueue((int)wl_json_get_number(one, "tenant", 0), wl_json_get_string(one, "eid", ""),
				  (int)wl_json_get_number(one, "shard", 0), (int64_t)wl_json_get_number(one, "gen", 0),
				  (int64_t)wl_json_get_number(one, "seq", 0), (int)wl_json_get_number(one, "epoch", 0));
}

static void do_cancel(const struct wl_json *list)
{
	for (const struct wl_json *one = wl_json_first(list); one; one = wl_json_next(one)) {
		const char *eid = wl_json_get_string(one, "eid", "");
		web_queue_cancel((int)wl_json_get_number(one, "shard", 0), eid);
		if (wl_json_get_bool(one, "ended", false))
			web_event_publish_end(eid, "cancelled");
	}
}

static void do_effects(const char *text)
{
	_wl_json_ struct wl_json *effects = NULL;
	if (!text || wl_json_parse(text, strlen(text), &effects, NULL) < 0)
		return; /* without memory the sweeper does it */
	do_enqueue(wl_json_get(effects, "enqueue"));
	do_cancel(wl_json_get(effects, "cancel"));
}

void web_api_send(struct web_request *request, const struct web_api_answer *answer)
{
	if (answer->etag)
		web_answer_header(request, "etag", "\"%s\"", answer->etag);
	if (answer->location)
		web_answer_header(request, "location", "%s", answer->location);
	if (!answer->body) {
		web_answer_empty(request, answer->status);
		return;
	}
	wl_buffer_append_text(&request->answer, answer->body);
	web_answer_json(request, answer->status);
}

bool web_api_take(const struct pg_job *job, int step, struct web_api_answer *ret_answer)
{
	if (pg_rows(job, step) == 0)
		return false;
	*ret_answer = (struct web_api_answer){ .status = (int)pg_number(job, step, 0, COLUMN_STATUS),
					       .body = pg_text(job, step, 0, COLUMN_BODY),
					       .etag = pg_text(job, step, 0, COLUMN_ETAG),
					       .location = pg_text(job, step, 0, COLUMN_LOCATION) };
	do_effects(pg_text(job, step, 0, COLUMN_EFFECTS));
	return true;
}

static void called(struct pg_job *job)
{
	struct call *call = job->context;
	struct web_request *request = call->request;
	struct web_api_answer answer;
	if (!web_job_failed(request, job) && web_api_take(job, 0, &answer)) {
		if (call->taken)
			call->taken(request, &answer);
		else
			web_api_send(request, &answer);
	}
	web_request_release(request);
	free(call);
}

void web_api_value_actor(struct pg_job *job, const struct web_request *request)
{
	_wl_json_ struct wl_json *actor = web_api_actor(request);
	_wl_free_ char *text = actor ? wl_json_print(actor) : NULL;
	job->failed |= !text;
	pg_job_value(job, text);
}

void web_api_values(struct pg_job *job, const struct web_request *request, struct wl_json *extra)
{
	_wl_json_ struct wl_json *made = make_request(request, extra);
	_wl_free_ char *text = made ? wl_json_print(made) : NULL;
	web_api_value_actor(job, request);
	job->failed |= !text;
	pg_job_value(job, text);
}

void web_api_call(struct web_request *request, struct wl_json *extra, web_api_taken *taken)
{
	struct call *call = calloc(1, sizeof(*call));
	struct pg_job *job = call ? pg_job_new(request->identity.tenant, called, call) : NULL;
	if (!job) {
		free(call);
		wl_json_free(extra);
		web_answer_unavailable(request, 1, "no memory");
		return;
	}
	call->request = web_request_hold(request);
	call->taken = taken;
	pg_job_step(job, web_statement_of_route(request->route_index));
	web_api_values(job, request, extra);
	pg_submit(web.postgres, job);
}

void web_api_operation(struct web_request *request)
{
	web_api_call(request, NULL, NULL);
}
