/*
 * Chats over HTTP. What is said with an attached flow is checked against that flow's input_schema first; the function
 * of PostgreSQL then makes sure that the document it accepts is the one that was looked at.
 */
#include "lib/base/cleanup.h"
#include "lib/secrets/digest.h"
#include "webapp/server/api_call.h"
#include "webapp/server/chat_history.h"
#include "webapp/server/chat_stream.h"
#include "webapp/server/flow_check.h"
#include "webapp/server/lone_run.h"
#include "webapp/server/routes.h"
#include "webapp/server/server.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TURN_S 3600
#define NOBODY "00000000-0000-0000-0000-000000000000"

/* The flow that asks the partner is made once, with the chat. */
void web_chat_sessions_create(struct web_request *request)
{
	char node[768];
	const char *crew = wl_json_get_string(request->json, "crew_id", NULL);
	const char *agent = wl_json_get_string(request->json, "agent_id", NOBODY);
	if (crew)
		(void)snprintf(
			node, sizeof(node),
			"{\"id\":\"crew\",\"type\":\"crew\",\"position\":{\"x\":240,\"y\":0},\"data\":{\"crew_id\":"
			"\"%.36s\",\"input\":\"{{ .inputs.inputs }}\",\"context\":\"{{ .inputs.context }}\","
			"\"timeout_s\":%d}}",
			crew, TURN_S);
	else
		(void)snprintf(
			node, sizeof(node),
			"{\"id\":\"agent\",\"type\":\"agent\",\"position\":{\"x\":240,\"y\":0},\"data\":{\"agent_id\":"
			"\"%.36s\",\"task\":\"{{ .inputs.task }}\",\"input\":\"{{ .inputs.inputs }}\","
			"\"timeout_s\":%d}}",
			agent, TURN_S);
	web_lone_run(request, crew ? "crew" : "agent", node, TURN_S, false);
}

/* ---- messages ------------------------------------------------------------------------------------------------------
 */

static void answer_page(void *context, struct wl_json *page, const struct wl_error *err)
{
	struct web_request *request = context;
	if (!page)
		web_answer_unavailable(request, 1, "%s", err->text);
	else if (wl_json_write(&request->answer, page) < 0)
		web_answer_unavailable(request, 1, "no memory");
	else
		web_answer_json(request, 200);
	wl_json_free(page);
	web_request_release(request);
}

static void listed(struct web_request *request, const struct web_api_answer *answer)
{
	struct wl_json *page = NULL;
	const char *cursor = web_parameter_text(&request->parameters, "cursor", "0");
	if (wl_json_parse(answer->body, strlen(answer->body), &page, NULL) < 0)
		web_answer_unavailable(request, 1, "no memory");
	else
		web_chat_fill(request->identity.tenant, web_parameter_text(&request->parameters, "id", ""),
			      atoi(cursor), page, answer_page, web_request_hold(request));
}

void web_chat_messages_list(struct web_request *request)
{
	web_api_call(request, NULL, listed);
}

/* ---- saying something
 * ------------------------------------------------------------------------------------------------
 */

/* A message with an attached flow, while that flow is looked at. */
struct saying {
	struct web_task task;
	struct web_request *request;
	char hash[WL_SHA256_HEX];
	char *schema, *inputs;
	int rc;
	char *faults_json;
	struct wl_error err;
};

static void free_saying(struct saying *saying)
{
	free(saying->schema);
	free(saying->inputs);
	free(saying->faults_json);
	web_request_release(saying->request);
	free(saying);
}

static void said(struct web_request *request, const struct web_api_answer *answer)
{
	web_chat_poke(web_parameter_text(&request->parameters, "id", ""));
	web_api_send(request, answer);
}

static void say(struct web_request *request, const char *hash)
{
	struct wl_json *extra = wl_json_object();
	if (extra && (!*hash || wl_json_set_string(extra, "expect", hash) == 0)) {
		web_api_call(request, extra, said);
		return;
	}
	wl_json_free(extra);
	web_answer_unavailable(request, 1, "no memory");
}

static void check_inputs(struct web_task *task)
{
	struct saying *saying = task->context;
	saying->rc = wl_expression_schema(web.expressions, saying->schema, strlen(saying->schema), saying->inputs,
					  strlen(saying->inputs), (int)web.settings.eval_ms, &saying->faults_json,
					  &saying->err);
}

static void answer_faults(struct saying *saying)
{
	_wl_free_ struct wl_flow_faults *faults = calloc(1, sizeof(*faults));
	if (!faults || web_schema_faults(faults, "inputs", saying->faults_json, saying->err.text, NULL) < 0)
		web_answer_unavailable(saying->request, 1, "no memory");
	else
		web_answer_faults(saying->request, 422, faults, "the inputs do not fit the flow's input_schema");
}

static void inputs_checked(struct web_task *task)
{
	struct saying *saying = task->context;
	if (saying->rc == 0)
		say(saying->request, saying->hash);
	else if (saying->rc == -EINVAL)
		answer_faults(saying);
	else if (web_expression_refused(saying->rc))
		web_answer_problem(saying->request, 422, "the flow's input_schema cannot be applied: %s",
				   saying->err.text);
	else
		web_answer_unavailable(saying->request, 1, "inputs cannot be checked now: %s", saying->err.text);
	free_saying(saying);
}

/* Whether there is something to check: then the rest follows behind it. */
static bool check(struct saying *saying, const char *schema)
{
	const struct wl_json *inputs = wl_json_get(saying->request->json, "inputs");
	_wl_json_ struct wl_json *parsed = NULL;
	if (!schema || (wl_json_parse(schema, strlen(schema), &parsed, NULL) == 0 && web_schema_is_trivial(parsed)))
		return false;
	saying->schema = strdup(schema);
	saying->inputs = inputs ? wl_json_print(inputs) : strdup("{}");
	saying->task = (struct web_task){ .run = check_inputs, .ended = inputs_checked, .context = saying };
	if (saying->schema && saying->inputs && web_thread_pool_run(web.threads, &saying->task) == 0)
		return true;
	web_answer_unavailable(saying->request, 1, "too many inputs are being checked");
	free_saying(saying);
	return true;
}

static void document_found(struct pg_job *job)
{
	struct saying *saying = job->context;
	if (web_job_failed(saying->request, job)) {
		free_saying(saying);
		return;
	}
	/* without a row the function tells in its own words what is missing */
	if (pg_rows(job, 1))
		(void)snprintf(saying->hash, sizeof(saying->hash), "%s", pg_text(job, 1, 0, 0));
	if (pg_rows(job, 1) && check(saying, pg_text(job, 1, 0, 1)))
		return;
	say(saying->request, saying->hash);
	free_saying(saying);
}

static void look_at_flow(struct web_request *request, const char *flow)
{
	struct saying *saying = calloc(1, sizeof(*saying));
	struct pg_job *job = saying ? pg_job_new(request->identity.tenant, document_found, saying) : NULL;
	if (!job) {
		free(saying);
		web_answer_unavailable(request, 1, "no memory");
		return;
	}
	saying->request = web_request_hold(request);
	pg_job_step(job, SQL_NEED_FLOW);
	web_api_value_actor(job, request);
	pg_job_value(job, flow);
	pg_job_value(job, "run");
	pg_job_step(job, SQL_EXECUTE_DOCUMENT);
	pg_job_value(job, flow);
	pg_job_value(job, NULL);
	pg_job_value(job, "false");
	pg_submit(web.postgres, job);
}

void web_chat_messages_create(struct web_request *request)
{
	const char *flow = wl_json_get_string(request->json, "attached_flow_id", NULL);
	const struct wl_json *inputs = wl_json_get(request->json, "inputs");
	_wl_free_ char *text = inputs ? wl_json_print(inputs) : NULL;
	if (inputs && !text)
		web_answer_unavailable(request, 1, "no memory");
	else if (text && strlen(text) > WL_OUTPUT_MAX)
		web_answer_problem(request, 413, "the inputs have more than %u bytes", WL_OUTPUT_MAX);
	else if (flow)
		look_at_flow(request, flow);
	else
		say(request, "");
}

void web_chat_sessions_stop(struct web_request *request)
{
	web_api_call(request, NULL, said);
}

/* Streams of a chat that is deleted end: they look, and find it gone. */
void web_chat_sessions_delete(struct web_request *request)
{
	web_api_call(request, NULL, said);
}

/* ---- the stream ---------------------------------------------------------------------------------------------------
 */

static void found(struct web_request *request, const struct web_api_answer *answer)
{
	_wl_json_ struct wl_json *body = NULL;
	if (wl_json_parse(answer->body, strlen(answer->body), &body, NULL) < 0)
		web_answer_unavailable(request, 1, "no memory");
	else
		web_chat_stream_start(request, (int)wl_json_get_number(body, "last_seq", 0));
}

void web_chat_stream(struct web_request *request)
{
	web_api_call(request, NULL, found);
}
