#include "webapp/server/body_check.h"

#include "lib/base/cleanup.h"
#include "webapp/server/server.h"

#include <errno.h>
#include <stdlib.h>

#define PUBLIC_MOST (64u << 10) /* bytes from who has no token: nothing that anybody may ask takes more */
#define LOOP_MOST (128u << 10)	/* bytes that are read on the loop: some milliseconds */

struct reading {
	struct web_task task;
	struct web_request *request; /* held while a thread reads */
	void (*then)(struct web_request *request);
	struct wl_json *json;
	bool is_json;
	int rc; /* of the check: the number of faults, or -errno */
	struct wl_flow_faults faults;
	struct wl_error err;
};

static void free_reading(struct reading *reading)
{
	wl_json_free(reading->json);
	free(reading);
}

static void read_body(struct web_task *task)
{
	struct reading *reading = task->context;
	const struct web_request *request = reading->request;
	reading->is_json = wl_json_parse(request->body, request->body_length, &reading->json, &reading->err) == 0;
	if (reading->is_json)
		reading->rc = wl_json_schema_check(web.body_schemas[request->route_index], request->body,
						   request->body_length, "", &reading->faults, &reading->err);
}

/* Go on, or answer what is wrong. */
static void judge(struct reading *reading)
{
	struct web_request *request = reading->request;
	if (!reading->is_json || (reading->rc < 0 && reading->rc != -ENOMEM)) {
		web_answer_problem(request, 400, "the body is not JSON: %s", reading->err.text);
	} else if (reading->rc < 0) {
		web_answer_unavailable(request, 1, "no memory");
	} else if (reading->rc > 0) {
		web_answer_faults(request, 400, &reading->faults, "the body does not fit its schema");
	} else {
		request->json = wl_steal(reading->json);
		reading->then(request);
	}
}

static void read_ended(struct web_task *task)
{
	struct reading *reading = task->context;
	struct web_request *request = reading->request;
	if (web_request_waits(request)) /* else nobody waits for an answer */
		judge(reading);
	free_reading(reading);
	web_request_release(request);
}

static void start(struct web_request *request, void (*then)(struct web_request *request))
{
	struct reading *reading = calloc(1, sizeof(*reading));
	if (!reading) {
		web_answer_unavailable(request, 1, "no memory");
		return;
	}
	reading->request = request;
	reading->then = then;
	reading->task = (struct web_task){ .run = read_body, .ended = read_ended, .context = reading };
	if (request->body_length > LOOP_MOST && web_thread_pool_run(web.threads, &reading->task) == 0) {
		web_request_hold(request);
		return;
	}
	if (request->body_length > LOOP_MOST) {
		web_answer_unavailable(request, 1, "too many large bodies are being read");
	} else {
		read_body(&reading->task);
		judge(reading);
	}
	free_reading(reading);
}

void web_body_check(struct web_request *request, void (*then)(struct web_request *request))
{
	const struct web_route *route = request->route;
	if (route->body_raw || (!route->body_schema && !request->body_length)) {
		then(request);
	} else if (!route->body_schema) {
		web_answer_problem(request, 400, "this operation takes no body");
	} else if (!request->body_length && route->body_required) {
		web_answer_problem(request, 400, "this operation needs a body");
	} else if (!request->body_length) {
		then(request);
	} else if (!request->inner_answered &&
		   !web_content_is_json(web_exchange_header(request->exchange, "content-type"))) {
		web_answer_problem(request, 415, "the body must be application/json");
	} else if (route->role == WEB_ROLE_NONE && request->body_length > PUBLIC_MOST) {
		web_answer_problem(request, 413, "without a token a body has at most %u bytes", PUBLIC_MOST);
	} else {
		start(request, then);
	}
}
