/* Making and changing webhooks of both kinds: what their functions in PostgreSQL cannot do by themselves. */
#include "lib/base/cleanup.h"
#include "lib/base/clock.h"
#include "lib/net/egress.h"
#include "lib/net/http_client.h"
#include "webapp/server/api_call.h"
#include "webapp/server/flow_check.h"
#include "webapp/server/hook_secret.h"
#include "webapp/server/routes.h"
#include "webapp/server/server.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#define INPUTS_MAX (64u << 10) /* bytes of a template */

/* ---- the template of a webhook's inputs ---------------------------------------------------------------------------
 */

struct inputs_check {
	struct web_task task;
	struct web_request *request;
	char *template;
	void (*then)(struct web_request *request);
	int rc;
	struct wl_error err;
};

static void compile_inputs(struct web_task *task)
{
	struct inputs_check *check = task->context;
	check->rc = wl_expression_check(web.expressions, check->template, strlen(check->template),
					(int)web.settings.eval_ms, &check->err);
}

static void answer_inputs_fault(struct web_request *request, const char *sentence)
{
	_wl_free_ struct wl_flow_faults *faults = calloc(1, sizeof(*faults));
	if (!faults) {
		web_answer_unavailable(request, 1, "no memory");
		return;
	}
	web_expression_fault(faults, "inputs", wl_json_get(request->json, "inputs"), sentence);
	web_answer_faults(request, 422, faults, "an expression of the inputs is wrong");
}

static void inputs_compiled(struct web_task *task)
{
	struct inputs_check *check = task->context;
	struct web_request *request = check->request;
	if (check->rc == 0)
		check->then(request);
	else if (web_expression_refused(check->rc))
		answer_inputs_fault(request, check->err.text);
	else
		web_answer_unavailable(request, 1, "expressions cannot be checked now: %s", check->err.text);
	web_request_release(request);
	free(check->template);
	free(check);
}

/* Compile the expressions of the body's inputs, then go on. */
static void check_inputs(struct web_request *request, void (*then)(struct web_request *request))
{
	const struct wl_json *inputs = wl_json_get(request->json, "inputs");
	struct inputs_check *check = inputs ? calloc(1, sizeof(*check)) : NULL;
	if (!inputs) {
		then(request);
		return;
	}
	if (check)
		check->template = wl_json_print(inputs);
	if (check && check->template && strlen(check->template) > INPUTS_MAX) {
		web_answer_problem(request, 422, "the template of the inputs has more than %u bytes", INPUTS_MAX);
	} else if (check && check->template) {
		check->request = web_request_hold(request);
		check->then = then;
		check->task = (struct web_task){ .run = compile_inputs, .ended = inputs_compiled, .context = check };
		if (web_thread_pool_run(web.threads, &check->task) == 0)
			return;
		web_answer_unavailable(request, 1, "too many expressions are being checked");
		web_request_release(request);
	} else {
		web_answer_unavailable(request, 1, "no memory");
	}
	if (check)
		free(check->template);
	free(check);
}

/* ---- webhooks that start runs ---------------------------------------------------------------------------------------
 */

/* Give it an id, which its secret is sealed for, and a secret. Takes over `extra`. */
static void create(struct web_request *request, struct wl_json *extra, const char *wrapper)
{
	char id[WL_UUID_TEXT];
	wl_uuid7(wl_clock_wall_ms(), id);
	if (wl_json_set_string(extra, "id", id) == 0) {
		web_hook_secret_call(request, id, extra, wrapper);
		return;
	}
	wl_json_free(extra);
	web_answer_unavailable(request, 1, "no memory");
}

static void create_webhook(struct web_request *request)
{
	create(request, wl_json_object(), "webhook");
}

void web_webhooks_create(struct web_request *request)
{
	check_inputs(request, create_webhook);
}

void web_webhooks_update(struct web_request *request)
{
	check_inputs(request, web_api_operation);
}

void web_webhooks_rotate(struct web_request *request)
{
	web_hook_secret_call(request, web_parameter_text(&request->parameters, "id", ""), NULL, NULL);
}

/* ---- webhooks that are sent
 * ------------------------------------------------------------------------------------------ */

/* An address that stands in the url itself can be judged at once; a name is resolved when something is sent. */
static int check_address(const char *host, struct wl_error *err)
{
	static struct wl_egress_rules rules;
	static bool known;
	struct sockaddr_in in4 = { .sin_family = AF_INET };
	struct sockaddr_in6 in6 = { .sin6_family = AF_INET6 };
	int rc = known ? 0 : wl_egress_rules_read(web.settings.egress_allow, &rules, err);
	known = rc == 0;
	if (rc < 0)
		return rc;
	bool is4 = inet_pton(AF_INET, host, &in4.sin_addr) == 1;
	if (!is4 && inet_pton(AF_INET6, host, &in6.sin6_addr) != 1)
		return 0;
	const struct sockaddr *address = is4 ? (const struct sockaddr *)&in4 : (const struct sockaddr *)&in6;
	if (wl_egress_allows(&rules, address, is4 ? sizeof(in4) : sizeof(in6), false))
		return 0;
	return wl_fail(err, EACCES, "%.60s is an address that nothing is sent to", host);
}

/* The host of the body's url as {"host"}, {} without a url; NULL when the request is answered. */
static struct wl_json *read_url(struct web_request *request)
{
	struct wl_error err = { 0 };
	char host[256] = "";
	int port, rc = 0;
	const char *url = wl_json_get_string(request->json, "url", NULL);
	if (url)
		rc = wl_http_url_check(url, host, &port, &err);
	if (rc == 0)
		rc = check_address(host, &err);
	if (rc == 0) {
		struct wl_json *made = wl_json_object();
		if (!made || (url && wl_json_set_string(made, "host", host) < 0))
			web_answer_unavailable(request, 1, "no memory");
		else
			return made;
		wl_json_free(made);
		return NULL;
	}
	_wl_free_ struct wl_flow_faults *faults = calloc(1, sizeof(*faults));
	if (faults) {
		wl_flow_fault_add(faults, "url", "%s", err.text);
		web_answer_faults(request, 422, faults, "nothing can be sent to this url");
	} else {
		web_answer_unavailable(request, 1, "no memory");
	}
	return NULL;
}

void web_outgoing_webhooks_create(struct web_request *request)
{
	struct wl_json *extra = read_url(request);
	if (extra)
		create(request, extra, "outgoing_webhook");
}

void web_outgoing_webhooks_update(struct web_request *request)
{
	struct wl_json *extra = read_url(request);
	if (extra)
		web_api_call(request, extra, NULL);
}

void web_outgoing_webhooks_rotate(struct web_request *request)
{
	web_hook_secret_call(request, web_parameter_text(&request->parameters, "id", ""), NULL, NULL);
}
