/*
 * POST /hooks/{id}: a server of others tells of an event, and the webhook's flow runs.
 *
 * One look into PostgreSQL finds the hook, its sealed secrets and the input_schema of the document that would run. A
 * thread checks the signature first, then makes the inputs and checks them. Then one transaction remembers the
 * signature and the sender's delivery, and accepts: a request that came before, also at the same time, gets the same
 * execution. What is refused leaves a row in the hook's log, a few a minute, as anybody may send rubbish.
 */
#include "lib/base/cleanup.h"
#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "lib/secrets/hook_signature.h"
#include "lib/secrets/seal.h"
#include "webapp/server/api_call.h"
#include "webapp/server/core/rate_limit.h"
#include "webapp/server/flow_check.h"
#include "webapp/server/hook_context.h"
#include "webapp/server/hook_secret.h"
#include "webapp/server/metrics.h"
#include "webapp/server/routes.h"
#include "webapp/server/server.h"
#include "webapp/server/wait_end.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BODY_MAX (1u << 20)
#define HEADERS_MOST 104
#define ATTEMPTS 4	       /* a flow that is published during each of them is answered with 409 */
#define HOOKS_REMEMBERED 4096  /* by the limits of rates */
#define REFUSALS_PER_MINUTE 20 /* of one hook that are logged by one worker */

enum found_column {
	COLUMN_TENANT,
	COLUMN_SUSPENDED,
	COLUMN_ENABLED,
	COLUMN_TENANT_KEY,
	COLUMN_SECRET,
	COLUMN_OLD_SECRET,
	COLUMN_INPUTS,
	COLUMN_OUTCOME,
	COLUMN_DOC_HASH,
	COLUMN_SCHEMA,
	COLUMNS
};

struct receiving {
	struct web_task task;
	struct web_request *request;
	int attempts;
	/* of the request, taken while its connection is there */
	char *signature, *content_type;
	struct wl_json *headers;
	/* what was found; texts are copies, NULL for SQL's null */
	char *found[COLUMNS];
	/* on the thread: 0 when all is well, else the status of the refusal */
	bool is_signed;
	unsigned char digest[WL_SHA256_BYTES];
	int status;
	char *faults_json;
	struct wl_error err;
	char *inputs;
};

static struct web_rate_limit *calls, *refusals, *unsigned_calls;

static void forget_found(struct receiving *receiving)
{
	for (int i = 0; i < COLUMNS; i++) {
		free(receiving->found[i]);
		receiving->found[i] = NULL;
	}
	free(receiving->faults_json);
	free(receiving->inputs);
	receiving->faults_json = receiving->inputs = NULL;
	receiving->status = 0;
	receiving->is_signed = false;
}

static void free_receiving(void *state)
{
	struct receiving *receiving = state;
	forget_found(receiving);
	wl_json_free(receiving->headers);
	free(receiving->signature);
	free(receiving->content_type);
	free(receiving);
}

/* Milliseconds until the hook of the request has a token again, 0: it had one. */
static int64_t take(struct web_rate_limit *limit, struct web_request *request)
{
	unsigned char key[WL_SHA256_BYTES];
	const char *id = web_parameter_text(&request->parameters, "id", "");
	wl_sha256(id, strlen(id), key);
	return limit ? web_rate_limit_take(limit, key, (int64_t)wl_clock_boot_ms()) : 0;
}

/* Of whom a badly signed request comes: his address and the hook. */
static void caller_key(struct web_request *request, unsigned char key[WL_SHA256_BYTES])
{
	char text[192], address[64];
	(void)snprintf(text, sizeof(text), "%s %s", web_exchange_peer(request->exchange, address, sizeof(address)),
		       web_parameter_text(&request->parameters, "id", ""));
	wl_sha256(text, strlen(text), key);
}

/* True, and answered, when that caller has been refused too often within a minute: his next one is not looked at. */
static bool is_turned_away(struct web_request *request)
{
	unsigned char key[WL_SHA256_BYTES];
	caller_key(request, key);
	int64_t wait_ms = unsigned_calls ? web_rate_limit_look(unsigned_calls, key, (int64_t)wl_clock_boot_ms()) : 0;
	if (wait_ms <= 0)
		return false;
	web_answer_header(request, "retry-after", "%lld", (long long)(wait_ms + 999) / 1000);
	web_metrics_accept(WEB_ACCEPT_QUOTA, 1);
	web_answer_problem(request, 429, "too many calls without a good signature within a minute");
	return true;
}

static void count_unsigned(struct web_request *request)
{
	unsigned char key[WL_SHA256_BYTES];
	caller_key(request, key);
	if (unsigned_calls)
		(void)web_rate_limit_take(unsigned_calls, key, (int64_t)wl_clock_boot_ms());
}

/* ---- refusals ------------------------------------------------------------------------------------------------------
 */

static void logged(struct pg_job *job)
{
	(void)job; /* a log that is away holds up no answer */
}

static void log_refusal(struct web_request *request, int status, const char *detail)
{
	char address[64];
	_wl_json_ struct wl_json *row = wl_json_object();
	if (take(refusals, request) > 0)
		return;
	int rc = wl_json_set_string(row, "hook", web_parameter_text(&request->parameters, "id", ""));
	rc = rc ? rc : wl_json_set_number(row, "status", status);
	rc = rc ? rc : wl_json_set_string(row, "detail", detail);
	rc = rc ? rc : wl_json_set_string(row, "ip", web_exchange_peer(request->exchange, address, sizeof(address)));
	_wl_free_ char *text = rc == 0 ? wl_json_print(row) : NULL;
	struct pg_job *job = text ? pg_job_new(0, logged, NULL) : NULL;
	if (!job)
		return;
	pg_job_step(job, SQL_HOOK_REFUSED);
	pg_job_value(job, text);
	pg_submit(web.postgres, job);
}

/* Refuse a request to a hook that is there. */
static void refuse(struct web_request *request, int status, const char *detail, const char *faults_json)
{
	log_refusal(request, status, detail);
	if (status == 401) /* RFC 9110 §11.6.1 */
		web_answer_header(request, "www-authenticate", "Windlass-Signature");
	web_metrics_accept(status == 429 ? WEB_ACCEPT_QUOTA : WEB_ACCEPT_REFUSED, 1);
	_wl_free_ struct wl_flow_faults *faults = faults_json ? calloc(1, sizeof(*faults)) : NULL;
	/* the paths begin inside the inputs: those who call made none */
	if (faults && web_schema_faults(faults, "", faults_json, detail, NULL) == 0)
		web_answer_faults(request, status, faults, detail);
	else
		web_answer_problem(request, status, "%s", detail);
}

/* ---- on a thread ---------------------------------------------------------------------------------------------------
 */

static int refusal(struct receiving *receiving, int status, const char *detail)
{
	receiving->status = status;
	return wl_fail(&receiving->err, EACCES, "%s", detail);
}

static int open_secret(const struct receiving *receiving, enum found_column column, char **ret_secret,
		       size_t *ret_length, struct wl_error *err)
{
	char context[WEB_HOOK_CONTEXT_SIZE];
	const char *key = receiving->found[COLUMN_TENANT_KEY];
	web_hook_context(web_parameter_text(&receiving->request->parameters, "id", ""), context);
	return wl_unseal(web.master_key, key ? key : "", context, receiving->found[column], ret_secret, ret_length,
			 err);
}

static int verify(struct receiving *receiving)
{
	const struct web_request *request = receiving->request;
	char *secrets[WL_HOOK_SECRETS_MAX] = { NULL };
	size_t lengths[WL_HOOK_SECRETS_MAX] = { 0 };
	int count = receiving->found[COLUMN_OLD_SECRET] ? 2 : 1;
	int rc = open_secret(receiving, COLUMN_SECRET, &secrets[0], &lengths[0], &receiving->err);
	if (rc == 0 && count == 2)
		rc = open_secret(receiving, COLUMN_OLD_SECRET, &secrets[1], &lengths[1], &receiving->err);
	if (rc < 0)
		receiving->status = 500;
	else
		rc = wl_hook_verify(receiving->signature, (const char *const *)secrets, count,
				    wl_clock_wall_ms() / 1000, request->body, request->body_length, receiving->digest,
				    &receiving->err);
	for (int i = 0; i < count; i++)
		wl_unsealed_free(secrets[i], lengths[i]);
	receiving->is_signed = rc == 0;
	if (rc < 0 && !receiving->status)
		receiving->status = 401;
	return rc;
}

/* Whether the hook starts runs now: told only to who can sign. */
static int check_state(struct receiving *receiving)
{
	static const struct {
		const char *outcome;
		int status;
		const char *detail;
	} outcomes[] = {
		{ "no_flow", 410, "the flow of this webhook was deleted" },
		{ "no_version", 409, "the flow of this webhook has no such version" },
		{ "archived", 409, "the flow of this webhook is archived" },
		{ "no_draft", 409, "the flow of this webhook has no published version" },
	};
	const char *outcome = receiving->found[COLUMN_OUTCOME];
	if (receiving->found[COLUMN_SUSPENDED][0] == 't')
		return refusal(receiving, 403, "the tenant of this webhook is suspended");
	if (receiving->found[COLUMN_ENABLED][0] != 't')
		return refusal(receiving, 410, "this webhook is disabled");
	for (size_t i = 0; i < WL_COUNT_OF(outcomes); i++)
		if (strcmp(outcome, outcomes[i].outcome) == 0)
			return refusal(receiving, outcomes[i].status, outcomes[i].detail);
	return 0;
}

/* {"body","headers","query"} as text. */
static int make_context(struct receiving *receiving, char **ret_text)
{
	const struct web_request *request = receiving->request;
	_wl_json_ struct wl_json *context = wl_json_object();
	struct wl_json *body = NULL, *query = NULL;
	int rc = web_hook_body(receiving->content_type, request->body, request->body_length, &body, &receiving->err);
	if (rc == 0)
		rc = wl_json_set(context, "body", body);
	if (rc == 0)
		rc = wl_json_set(context, "headers", wl_json_copy(receiving->headers));
	if (rc == 0)
		rc = web_hook_query(request->query, &query, &receiving->err);
	if (rc == 0)
		rc = wl_json_set(context, "query", query);
	if (rc == -EINVAL)
		receiving->status = 400;
	*ret_text = rc == 0 ? wl_json_print(context) : NULL;
	return rc == 0 && !*ret_text ? -ENOMEM : rc;
}

/* What windlass-eval cannot make of this request is the request's fault, unless it is away. */
static int judge(struct receiving *receiving, int rc)
{
	if (web_expression_refused(rc))
		receiving->status = 422;
	return rc;
}

static int make_inputs(struct receiving *receiving)
{
	_wl_free_ char *context = NULL;
	const char *template = receiving->found[COLUMN_INPUTS];
	int rc = make_context(receiving, &context);
	if (rc < 0)
		return rc;
	if (!template) {
		receiving->inputs = wl_steal(context);
		return 0;
	}
	rc = wl_expression_eval(web.expressions, template, strlen(template), context, strlen(context),
				(int)web.settings.eval_ms, &receiving->inputs, &receiving->err);
	return rc < 0 ? wl_fail_within(&receiving->err, "the inputs cannot be made"), judge(receiving, rc) : 0;
}

static int check_inputs(struct receiving *receiving)
{
	_wl_json_ struct wl_json *schema = NULL, *inputs = NULL;
	const char *text = receiving->found[COLUMN_SCHEMA];
	size_t length = strlen(receiving->inputs);
	if (length > WL_OUTPUT_MAX)
		return refusal(receiving, 413, "the inputs are too large");
	if (wl_json_parse(receiving->inputs, length, &inputs, &receiving->err) < 0) {
		receiving->status = 422;
		return wl_fail_within(&receiving->err, "the inputs");
	}
	if (!text || (wl_json_parse(text, strlen(text), &schema, NULL) == 0 && web_schema_is_trivial(schema)))
		return 0;
	int rc = wl_expression_schema(web.expressions, text, strlen(text), receiving->inputs, length,
				      (int)web.settings.eval_ms, &receiving->faults_json, &receiving->err);
	if (rc == -EINVAL)
		(void)wl_fail(&receiving->err, EINVAL, "the inputs do not fit the flow's input_schema");
	return judge(receiving, rc);
}

static void prepare(struct web_task *task)
{
	struct receiving *receiving = task->context;
	int rc = verify(receiving);
	rc = rc ? rc : check_state(receiving);
	rc = rc ? rc : make_inputs(receiving);
	rc = rc ? rc : check_inputs(receiving);
	if (rc < 0 && !receiving->status)
		receiving->status = 503;
}

/* ---- accept --------------------------------------------------------------------------------------------------------
 */

static void find(struct web_request *request);

static void answer_started(struct web_request *request, const struct wl_json *body)
{
	const struct receiving *receiving = request->state;
	char eid[WL_UUID_TEXT];
	(void)snprintf(eid, sizeof(eid), "%s", wl_json_get_string(body, "execution_id", ""));
	web_metrics_accept(wl_json_get_bool(body, "replayed", false) ? WEB_ACCEPT_REPLAYED : WEB_ACCEPT_ACCEPTED, 1);
	/* who can sign may see how the run ends: from here on the request is the tenant's */
	request->identity.tenant = atoi(receiving->found[COLUMN_TENANT]);
	web_wait_end(request, eid, web_prefer_wait(web_parameter_text(&request->parameters, "Prefer", NULL)), NULL);
}

static void accepted(struct web_request *request, const struct web_api_answer *answer)
{
	struct receiving *receiving = request->state;
	_wl_json_ struct wl_json *body = NULL;
	if (answer->body && wl_json_parse(answer->body, strlen(answer->body), &body, NULL) < 0)
		body = NULL;
	if (answer->status == 202) {
		answer_started(request, body);
	} else if (answer->status == 0 && ++receiving->attempts < ATTEMPTS) {
		find(request);
	} else if (answer->status == 0) {
		refuse(request, 409, "the flow is being changed all the time; send it again", NULL);
	} else {
		if (answer->status == 429)
			web_answer_header(request, "retry-after", "%.0f", wl_json_get_number(body, "resets_s", 1));
		refuse(request, answer->status, wl_json_get_string(body, "detail", "the run was refused"), NULL);
	}
}

static void accept(struct web_request *request)
{
	const struct receiving *receiving = request->state;
	char eid[WL_UUID_TEXT], digest[WL_SHA256_HEX];
	struct wl_json *extra = wl_json_object();
	wl_uuid7(wl_clock_wall_ms(), eid);
	int rc = wl_json_set_string(extra, "eid", eid);
	rc = rc ? rc : wl_json_set_string(extra, "signed", wl_hex(receiving->digest, WL_SHA256_BYTES, digest));
	rc = rc ? rc : wl_json_set_string(extra, "doc_hash", receiving->found[COLUMN_DOC_HASH]);
	rc = rc ? rc : wl_json_set_raw(extra, "inputs", receiving->inputs);
	if (rc == 0) {
		web_api_call(request, extra, accepted);
		return;
	}
	wl_json_free(extra);
	web_answer_unavailable(request, 1, "no memory");
}

static void prepared(struct web_task *task)
{
	struct receiving *receiving = task->context;
	struct web_request *request = receiving->request;
	int64_t wait_ms = receiving->is_signed && receiving->attempts == 0 ? take(calls, request) : 0;
	if (wait_ms > 0) {
		web_answer_header(request, "retry-after", "%lld", (long long)(wait_ms + 999) / 1000);
		refuse(request, 429, "this webhook was called too often within a minute", NULL);
	} else if (receiving->status == 503) {
		web_answer_unavailable(request, 1, "the request cannot be checked now: %s", receiving->err.text);
	} else if (receiving->status == 500) {
		wl_log(WL_LOG_ERROR, "the secret of webhook %s: %s", web_parameter_text(&request->parameters, "id", ""),
		       receiving->err.text);
		web_answer_problem(request, 500, "the signature cannot be checked; the log has request %s",
				   request->id);
	} else if (receiving->status) {
		if (!receiving->is_signed)
			count_unsigned(request);
		refuse(request, receiving->status, receiving->err.text, receiving->faults_json);
	} else {
		accept(request);
	}
	web_request_release(request);
}

/* ---- find ----------------------------------------------------------------------------------------------------------
 */

static bool keep_found(struct receiving *receiving, const struct pg_job *job)
{
	forget_found(receiving);
	for (int i = 0; i < COLUMNS; i++) {
		const char *text = pg_text(job, 0, 0, i);
		receiving->found[i] = text ? strdup(text) : NULL;
		if (text && !receiving->found[i])
			return false;
	}
	return true;
}

static void found(struct pg_job *job)
{
	struct web_request *request = web_job_request(job);
	struct receiving *receiving = request->state;
	if (web_job_failed(request, job)) {
		/* answered */
	} else if (pg_rows(job, 0) == 0) {
		web_answer_problem(request, 404, "there is no such webhook");
	} else if (!keep_found(receiving, job)) {
		web_answer_unavailable(request, 1, "no memory");
	} else {
		receiving->task = (struct web_task){ .run = prepare, .ended = prepared, .context = receiving };
		web_request_hold(request);
		if (web_thread_pool_run(web.threads, &receiving->task) < 0) {
			web_answer_unavailable(request, 1, "too many requests are being checked");
			web_request_release(request);
		}
	}
	web_request_release(request);
}

static void find(struct web_request *request)
{
	struct pg_job *job = web_job(request, 0, found);
	if (!job)
		return;
	pg_job_step(job, SQL_HOOK_FIND);
	pg_job_value(job, web_parameter_text(&request->parameters, "id", ""));
	pg_submit(web.postgres, job);
}

/* Copy what the thread needs of the headers; the connection may go meanwhile. */
static bool take_headers(struct receiving *receiving)
{
	struct web_request *request = receiving->request;
	struct web_header headers[HEADERS_MOST];
	size_t count = web_exchange_headers(request->exchange, headers, HEADERS_MOST);
	const char *signature = web_parameter_text(&request->parameters, "Windlass-Signature", NULL);
	const char *type = web_exchange_header(request->exchange, "content-type");
	receiving->headers = web_hook_headers(headers, count);
	receiving->signature = signature ? strdup(signature) : NULL;
	receiving->content_type = type ? strdup(type) : NULL;
	return receiving->headers && !signature == !receiving->signature && !type == !receiving->content_type;
}

static void make_limits(void)
{
	if (!calls && web.settings.hook_calls_per_minute)
		calls = web_rate_limit_new(HOOKS_REMEMBERED, web.settings.hook_calls_per_minute);
	if (!refusals)
		refusals = web_rate_limit_new(HOOKS_REMEMBERED, REFUSALS_PER_MINUTE);
	if (!unsigned_calls && web.settings.hook_refusals_per_minute)
		unsigned_calls = web_rate_limit_new(HOOKS_REMEMBERED, web.settings.hook_refusals_per_minute);
}

void web_hooks_receive(struct web_request *request)
{
	if (request->body_length > BODY_MAX) {
		web_answer_problem(request, 413, "a webhook's body has at most %u bytes", BODY_MAX);
		return;
	}
	make_limits();
	if (is_turned_away(request))
		return;
	struct receiving *receiving = calloc(1, sizeof(*receiving));
	if (!receiving) {
		web_answer_unavailable(request, 1, "no memory");
		return;
	}
	receiving->request = request; /* whose state it is */
	request->state = receiving;
	request->state_free = free_receiving;
	if (take_headers(receiving))
		find(request);
	else
		web_answer_unavailable(request, 1, "no memory");
}
