/*
 * POST /flows/{id}/execute.
 *
 * The inputs are checked against the input_schema of the document that will run. Which document that is, and whether
 * its schema lets everything through, is remembered a flow; so mostly a request is one round trip to PostgreSQL, in
 * which the transaction itself checks that the document is still that one. If it is not, nothing is stored and the
 * request begins anew with the new document.
 *
 * Only after the commit was acknowledged is 202 answered. Then the execution is put into its Redis queue; if that
 * fails, the scheduler's sweeper finds it in the ledger.
 */
#include "lib/base/cleanup.h"
#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "webapp/server/accept_lanes.h"
#include "webapp/server/api_call.h"
#include "webapp/server/flow_check.h"
#include "webapp/server/metrics.h"
#include "webapp/server/queue_effects.h"
#include "webapp/server/routes.h"
#include "webapp/server/server.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TIMEOUT_S 3600
#define ATTEMPTS 4 /* a flow that is changed during each of them is answered with 409 */
#define REMEMBERED 1024

/* ---- what is known of flows' documents ----------------------------------------------------------------------- */

struct known_document {
	int tenant;
	char flow[WL_UUID_TEXT];
	char version[12];
	char hash[WL_SHA256_HEX];
	char *schema; /* NULL: everything fits */
};

static struct known_document known[REMEMBERED];

static struct known_document *slot_of(int tenant, const char *flow, const char *version)
{
	uint64_t sum = 14695981039346656037ULL + (unsigned)tenant; /* FNV-1a */
	for (const char *at = flow; *at; at++)
		sum = (sum ^ (unsigned char)*at) * 1099511628211ULL;
	for (const char *at = version; *at; at++)
		sum = (sum ^ (unsigned char)*at) * 1099511628211ULL;
	return &known[sum % REMEMBERED];
}

static bool holds(const struct known_document *slot, int tenant, const char *flow, const char *version)
{
	return slot->tenant == tenant && strcmp(slot->flow, flow) == 0 && strcmp(slot->version, version) == 0;
}

/* ---- one execution --------------------------------------------------------------------------------------------- */

struct execution {
	struct web_task task;
	struct web_accept accept;
	struct web_request *request;
	char version[12]; /* "", "draft" or a number */
	int attempts;
	bool checks_options; /* only_node, reuse or fork: they name things that must be there */
	/* on a thread */
	char *schema;
	int rc;
	char *faults_json;
	struct wl_error err;
};

static void free_execution(struct execution *execution)
{
	free(execution->accept.inputs);
	free(execution->accept.labels);
	free(execution->accept.options);
	free(execution->schema);
	free(execution->faults_json);
	web_request_release(execution->request);
	free(execution);
}

static void find_document(struct execution *execution);

static void put_limits(struct web_request *request, const struct web_accept *accept)
{
	int64_t left = accept->quota > accept->used ? accept->quota - accept->used : 0;
	web_answer_header(request, "ratelimit-limit", "%lld", (long long)accept->quota);
	web_answer_header(request, "ratelimit-remaining", "%lld", (long long)left);
	web_answer_header(request, "ratelimit-reset", "%lld", (long long)accept->resets_s);
}

static void answer_accepted(struct web_request *request, const struct web_accept *accept, bool replayed)
{
	if (replayed)
		web_answer_header(request, "idempotency-replayed", "true");
	else
		put_limits(request, accept);
	web_answer_header(request, "location", "/api/v1/executions/%s", accept->eid);
	wl_buffer_append_char(&request->answer, '{');
	web_member_text(&request->answer, "execution_id", accept->eid);
	wl_buffer_append_text(&request->answer, ",\"status\":\"queued\"}");
	web_answer_json(request, 202);
}

static void answer_outcome(struct web_request *request, const struct web_accept *accept)
{
	static const struct {
		const char *outcome;
		int status;
		const char *detail;
	} refusals[] = {
		{ "no_flow", 404, "there is no such flow" },
		{ "no_version", 404, "the flow has no such version" },
		{ "archived", 409, "an archived flow does not run" },
		{ "no_draft", 403,
		  "the flow has no published version, and running a draft takes the role editor and the access edit" },
		{ "no_access", 403, "this takes more access to the flow than you have" },
		{ "key_reused", 422, "this Idempotency-Key was used with another body" },
		{ "quota", 429, "the tenant has used its executions of today" },
		{ "backlog", 429, "as many executions of the tenant wait as may; try again when some have started" },
	};
	if (strcmp(accept->outcome, "accepted") == 0 || strcmp(accept->outcome, "replayed") == 0) {
		bool replayed = accept->outcome[0] == 'r';
		web_metrics_accept(replayed ? WEB_ACCEPT_REPLAYED : WEB_ACCEPT_ACCEPTED, 1);
		answer_accepted(request, accept, replayed);
		return;
	}
	for (size_t i = 0; i < WL_COUNT_OF(refusals); i++) {
		if (strcmp(refusals[i].outcome, accept->outcome) != 0)
			continue;
		web_metrics_accept(refusals[i].status == 429 ? WEB_ACCEPT_QUOTA : WEB_ACCEPT_REFUSED, 1);
		if (refusals[i].status == 429) {
			web_answer_header(request, "retry-after", "%lld", (long long)accept->resets_s);
			put_limits(request, accept);
			web_answer_problem(request, 429, "%s (quota %s: limit %lld, used %lld)", refusals[i].detail,
					   accept->outcome[0] == 'q' ? "executions_per_day" : "queued",
					   (long long)accept->quota, (long long)accept->used);
			return;
		}
		web_answer_problem(request, refusals[i].status, "%s", refusals[i].detail);
		return;
	}
	web_answer_problem(request, 500, "the execution was neither accepted nor refused: %s", accept->outcome);
}

static void accepted(struct web_accept *accept)
{
	struct execution *execution = accept->context;
	struct web_request *request = execution->request;
	switch (accept->result) {
	case WEB_ACCEPT_CHANGED:
		slot_of(accept->tenant, accept->flow, execution->version)->tenant = 0;
		if (++execution->attempts < ATTEMPTS) {
			find_document(execution);
			return;
		}
		web_answer_problem(request, 409, "the flow is being changed all the time; try again");
		break;
	case WEB_ACCEPT_AWAY:
		web_metrics_accept(WEB_ACCEPT_UNAVAILABLE, 1);
		web_answer_unavailable(request, 1, "the execution was not accepted: %s", accept->outcome);
		break;
	case WEB_ACCEPT_CLOSED:
		web_metrics_accept(WEB_ACCEPT_REFUSED, 1);
		web_answer_problem(request, 403, "%s", accept->outcome);
		break;
	case WEB_ACCEPT_BROKEN:
		wl_log_run(WL_LOG_ERROR, accept->tenant, accept->eid, "not accepted: %s", accept->outcome);
		web_answer_problem(request, 500, "the execution could not be stored; the log has request %s",
				   request->id);
		break;
	case WEB_ACCEPT_ANSWERED:
		answer_outcome(request, accept);
		if (strcmp(accept->outcome, "accepted") == 0)
			web_queue_enqueue(accept->tenant, accept->eid, accept->shard, accept->gen, accept->seq, 0);
		break;
	}
	free_execution(execution);
}

/* ---- the inputs -------------------------------------------------------------------------------------------------- */

static void check_inputs(struct web_task *task)
{
	struct execution *execution = task->context;
	const char *inputs = execution->accept.inputs ? execution->accept.inputs : "{}";
	execution->rc = wl_expression_schema(web.expressions, execution->schema, strlen(execution->schema), inputs,
					     strlen(inputs), (int)web.settings.eval_ms, &execution->faults_json,
					     &execution->err);
}

/* The faults that windlass-eval found, with paths that begin at the body. */
static void answer_input_faults(struct execution *execution)
{
	_wl_free_ struct wl_flow_faults *faults = calloc(1, sizeof(*faults));
	if (!faults || web_schema_faults(faults, "inputs", execution->faults_json, execution->err.text, NULL) < 0)
		web_answer_unavailable(execution->request, 1, "no memory");
	else
		web_answer_faults(execution->request, 422, faults, "the inputs do not fit the flow's input_schema");
}

static void answer_inputs_refused(struct execution *execution)
{
	int rc = execution->rc;
	if (rc == -EINVAL)
		answer_input_faults(execution);
	else if (web_expression_refused(rc))
		web_answer_problem(execution->request, 422, "the flow's input_schema cannot be applied: %s",
				   execution->err.text);
	else
		web_answer_unavailable(execution->request, 1, "inputs cannot be checked now: %s", execution->err.text);
	free_execution(execution);
}

static void refusal_allowed(struct pg_job *job)
{
	struct execution *execution = job->context;
	if (web_job_failed(execution->request, job))
		free_execution(execution);
	else
		answer_inputs_refused(execution);
}

/* Faults tell of the flow's schema, and what is remembered of a flow does not know who may see it: ask first. */
static void ask_before_refusal(struct execution *execution)
{
	const struct web_accept *accept = &execution->accept;
	struct pg_job *job = pg_job_new(accept->tenant, refusal_allowed, execution);
	if (!job) {
		web_answer_unavailable(execution->request, 1, "no memory");
		free_execution(execution);
		return;
	}
	pg_job_step(job, SQL_NEED_FLOW);
	web_api_value_actor(job, execution->request);
	pg_job_value(job, accept->flow);
	pg_job_value(job, "run");
	pg_submit(web.postgres, job);
}

static void inputs_checked(struct web_task *task)
{
	struct execution *execution = task->context;
	if (execution->rc == 0)
		web_accept_submit(&execution->accept);
	else
		ask_before_refusal(execution);
}

/* The document is known: check the inputs when its schema asks for it, then accept. */
static void go_on(struct execution *execution, const char *hash, const char *schema)
{
	(void)snprintf(execution->accept.document_hash, sizeof(execution->accept.document_hash), "%s", hash);
	if (!schema) {
		web_accept_submit(&execution->accept);
		return;
	}
	free(execution->schema);
	execution->schema = strdup(schema);
	execution->task = (struct web_task){ .run = check_inputs, .ended = inputs_checked, .context = execution };
	if (execution->schema && web_thread_pool_run(web.threads, &execution->task) == 0)
		return;
	web_answer_unavailable(execution->request, 1, "too many inputs are being checked");
	free_execution(execution);
}

static void document_found(struct pg_job *job)
{
	struct execution *execution = job->context;
	const struct web_accept *accept = &execution->accept;
	if (web_job_failed(execution->request, job)) {
		free_execution(execution);
		return;
	}
	if (pg_rows(job, 0) == 0) {
		go_on(execution, "", NULL); /* accept tells in its own words what is missing */
		return;
	}
	const char *hash = pg_text(job, 0, 0, 0), *schema = pg_text(job, 0, 0, 1);
	_wl_json_ struct wl_json *parsed = NULL;
	if (schema && wl_json_parse(schema, strlen(schema), &parsed, NULL) == 0 && web_schema_is_trivial(parsed))
		schema = NULL;
	struct known_document *slot = slot_of(accept->tenant, accept->flow, execution->version);
	free(slot->schema);
	slot->schema = schema ? strdup(schema) : NULL;
	slot->tenant = schema && !slot->schema ? 0 : accept->tenant;
	(void)snprintf(slot->flow, sizeof(slot->flow), "%s", accept->flow);
	memcpy(slot->version, execution->version, sizeof(slot->version));
	(void)snprintf(slot->hash, sizeof(slot->hash), "%s", hash);
	go_on(execution, hash, schema);
}

static void find_document(struct execution *execution)
{
	const struct web_accept *accept = &execution->accept;
	const struct known_document *slot = slot_of(accept->tenant, accept->flow, execution->version);
	if (holds(slot, accept->tenant, accept->flow, execution->version)) {
		go_on(execution, slot->hash, slot->schema);
		return;
	}
	struct pg_job *job = pg_job_new(accept->tenant, document_found, execution);
	if (!job) {
		web_answer_unavailable(execution->request, 1, "no memory");
		free_execution(execution);
		return;
	}
	bool draft = strcmp(execution->version, "draft") == 0;
	pg_job_step(job, SQL_EXECUTE_DOCUMENT);
	pg_job_value(job, accept->flow);
	pg_job_value(job, draft || !execution->version[0] ? NULL : execution->version);
	pg_job_value(job, draft ? "true" : "false");
	pg_submit(web.postgres, job);
}

/* ---- the request ---------------------------------------------------------------------------------------------------
 */

/* Models and tools answer as they did in another run, as long as the same is asked. */
static int put_fork(struct wl_json *options, const struct wl_json *fork)
{
	struct wl_json *replay = wl_json_object();
	int failed = wl_json_set_string(replay, "mode", "fork");
	failed |= wl_json_set_string(replay, "execution_id", wl_json_get_string(fork, "execution_id", ""));
	failed |= wl_json_set(options, "replay", replay);
	return failed ? -ENOMEM : 0;
}

/* The options that the execution keeps; none when nothing is asked, which is what most runs are. */
static bool read_options(struct execution *execution, const struct wl_json *config)
{
	const struct wl_json *reuse = wl_json_get(config, "reuse");
	const struct wl_json *fork = wl_json_get(config, "fork");
	const char *only = wl_json_get_string(config, "only_node", NULL);
	bool pinned = wl_json_get_bool(config, "pinned", strcmp(execution->version, "draft") == 0);
	if (!pinned && !only && !reuse && !fork)
		return true;
	_wl_json_ struct wl_json *options = wl_json_object();
	int rc = options ? 0 : -ENOMEM;
	if (rc == 0 && pinned)
		rc = wl_json_set_bool(options, "pinned", true);
	if (rc == 0 && only)
		rc = wl_json_set_string(options, "only", only);
	if (rc == 0 && reuse) {
		struct wl_json *copy = wl_json_copy(reuse);
		rc = wl_json_set(options, "reuse", copy);
		if (rc == 0 && !wl_json_get(reuse, "rerun"))
			rc = wl_json_set(copy, "rerun", wl_json_array());
	}
	if (rc == 0 && fork)
		rc = put_fork(options, fork);
	execution->accept.options = rc == 0 ? wl_json_print(options) : NULL;
	execution->checks_options = only || reuse || fork;
	return execution->accept.options != NULL;
}

static bool read_config(struct execution *execution, const struct wl_json *config)
{
	const struct wl_json *version = wl_json_get(config, "version"), *labels = wl_json_get(config, "labels");
	if (wl_json_is(version, WL_JSON_STRING))
		(void)snprintf(execution->version, sizeof(execution->version), "draft");
	else if (version)
		(void)snprintf(execution->version, sizeof(execution->version), "%.0f", wl_json_number(version, 0));
	execution->accept.version = execution->version[0] ? execution->version : NULL;
	execution->accept.timeout_ms = (int64_t)wl_json_get_number(config, "timeout_s", TIMEOUT_S) * 1000;
	execution->accept.labels = labels ? wl_json_print(labels) : NULL;
	return (!labels || execution->accept.labels) && read_options(execution, config);
}

/* What makes two requests with one key the same: the flow and the body. */
static void hash_request(struct execution *execution)
{
	const struct web_request *request = execution->request;
	unsigned char parts[2 * WL_SHA256_BYTES], digest[WL_SHA256_BYTES];
	wl_sha256(execution->accept.flow, strlen(execution->accept.flow), parts);
	wl_sha256(request->body, request->body_length, parts + WL_SHA256_BYTES);
	wl_sha256(parts, sizeof(parts), digest);
	wl_hex(digest, sizeof(digest), execution->accept.request_hash);
}

static struct execution *new_execution(struct web_request *request)
{
	struct execution *execution = calloc(1, sizeof(*execution));
	if (!execution)
		return NULL;
	const struct wl_json *inputs = wl_json_get(request->json, "inputs");
	struct web_accept *accept = &execution->accept;
	execution->request = web_request_hold(request);
	accept->tenant = request->identity.tenant;
	accept->flow = web_parameter_text(&request->parameters, "id", "");
	accept->may_draft = request->identity.role >= WEB_ROLE_EDITOR;
	accept->user = request->identity.user;
	accept->role = web_role_name(request->identity.role);
	accept->idempotency_key = web_parameter_text(&request->parameters, "Idempotency-Key", NULL);
	accept->done = accepted;
	accept->context = execution;
	wl_uuid7(wl_clock_wall_ms(), accept->eid);
	accept->inputs = inputs ? wl_json_print(inputs) : NULL;
	if (!read_config(execution, wl_json_get(request->json, "config")) || (inputs && !accept->inputs)) {
		free_execution(execution);
		return NULL;
	}
	if (accept->idempotency_key)
		hash_request(execution);
	return execution;
}

static void options_checked(struct pg_job *job)
{
	struct execution *execution = job->context;
	if (web_job_failed(execution->request, job))
		free_execution(execution);
	else
		find_document(execution);
}

static void check_options(struct execution *execution)
{
	struct pg_job *job = pg_job_new(execution->accept.tenant, options_checked, execution);
	if (!job) {
		web_answer_unavailable(execution->request, 1, "no memory");
		free_execution(execution);
		return;
	}
	pg_job_step(job, SQL_RUN_OPTIONS);
	web_api_values(job, execution->request, NULL);
	pg_submit(web.postgres, job);
}

void web_flows_execute(struct web_request *request)
{
	struct execution *execution = new_execution(request);
	if (!execution) {
		web_answer_unavailable(request, 1, "no memory");
		return;
	}
	bool only = wl_json_get(wl_json_get(request->json, "config"), "only_node") != NULL;
	if ((only || strcmp(execution->version, "draft") == 0) && !execution->accept.may_draft) {
		web_answer_problem(request, 403, "running %s takes the role editor", only ? "one node" : "a draft");
		free_execution(execution);
		return;
	}
	if (execution->accept.inputs && strlen(execution->accept.inputs) > WL_OUTPUT_MAX) {
		web_answer_problem(request, 413, "the inputs have more than %u bytes", WL_OUTPUT_MAX);
		free_execution(execution);
		return;
	}
	if (execution->checks_options)
		check_options(execution);
	else
		find_document(execution);
}
