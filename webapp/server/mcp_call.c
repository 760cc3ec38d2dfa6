/*
 * Theory of operation
 *
 * A call goes one step at a time: find the flow behind the tool's name, check the arguments against its input_schema on
 * a thread, accept a run of that very document, wait for its end, answer. Nothing of it holds a thread while it waits.
 *
 * Until the run is accepted what goes wrong is answered as JSON; then a client that takes events gets the head of a
 * stream, and the wait begins. It listens to the run's events from before it is accepted, so that none is missed: nodes
 * that end become notifications of progress, and a node that waits makes us look whether it is for a person. Then, and
 * when the time is over, the answer says that the run goes on and how to ask for its end.
 *
 * A client that goes leaves its run to itself: what was accepted is never lost, and the same request of the same
 * session finds it again. A call holds its request; it has a reference for the step that is under way and one for its
 * stream.
 */
#include "webapp/server/mcp_call.h"

#include "lib/base/cleanup.h"
#include "lib/base/clock.h"
#include "webapp/server/flow_check.h"
#include "webapp/server/mcp_answer.h"
#include "webapp/server/mcp_call_parts.h"
#include "webapp/server/metrics.h"
#include "webapp/server/server.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define ATTEMPTS 4 /* a flow that is published during each of them is refused */
#define NAME_MAX_BYTES 64

/* ---- accept ---------------------------------------------------------------------------------------------------------
 */

static void find(struct mcp_call *call);

static void finish_unknown(struct mcp_call *call)
{
	char sentence[128];
	(void)snprintf(sentence, sizeof(sentence), "Unknown tool: %.64s", call->tool);
	mcp_call_finish_error(call, WL_MCP_INVALID_PARAMS, sentence);
}

static void finish_quota(struct mcp_call *call, const struct wl_json *body, bool day)
{
	_wl_buffer_ struct wl_buffer message = { 0 };
	double again_s = wl_json_get_number(body, "resets_s", 1);
	web_metrics_accept(WEB_ACCEPT_QUOTA, 1);
	web_mcp_put_refusal(&message, call->id, "%s (limit %.0f); try again in %.0f s",
			    day ? "The tenant has used its executions of today"
				: "As many executions of the tenant wait as may",
			    wl_json_get_number(body, "limit", 0), again_s);
	mcp_call_finish(call, &message);
}

static void take_outcome(struct mcp_call *call, const struct wl_json *body)
{
	const char *outcome = wl_json_get_string(body, "outcome", "");
	bool replayed = strcmp(outcome, "replayed") == 0;
	if (replayed || strcmp(outcome, "accepted") == 0) {
		web_metrics_accept(replayed ? WEB_ACCEPT_REPLAYED : WEB_ACCEPT_ACCEPTED, 1);
		if (replayed) {
			(void)snprintf(call->eid, sizeof(call->eid), "%s",
				       wl_json_get_string(body, "execution_id", ""));
			call->node_waits = true;
			mcp_call_listen(call);
		}
		mcp_call_wait(call);
	} else if (strcmp(outcome, "quota") == 0 || strcmp(outcome, "backlog") == 0) {
		finish_quota(call, body, outcome[0] == 'q');
	} else if (strcmp(outcome, "key_reused") == 0) {
		mcp_call_finish_error(call, WL_MCP_INVALID_REQUEST,
				      "this session had a request with this id already, and another call");
	} else if (strcmp(outcome, "changed") != 0) {
		finish_unknown(call);
	} else if (++call->attempts < ATTEMPTS) {
		find(call);
	} else {
		mcp_call_finish_refused(call, "The flow is being published all the time; call it again.");
	}
}

static void started(struct pg_job *job)
{
	struct mcp_call *call = job->context;
	if (mcp_call_step_failed(call, job, "There is no such tool."))
		return;
	_wl_json_ struct wl_json *body = mcp_call_step_body(job, NULL);
	if (body)
		take_outcome(call, body);
	else
		mcp_call_finish_away(call, "no memory");
}

/* What makes two requests with one id the same call. */
static void hash_call(const struct mcp_call *call, char hash[WL_SHA256_HEX])
{
	unsigned char parts[2 * WL_SHA256_BYTES], digest[WL_SHA256_BYTES];
	wl_sha256(call->tool, strlen(call->tool), parts);
	wl_sha256(call->arguments, strlen(call->arguments), parts + WL_SHA256_BYTES);
	wl_sha256(parts, sizeof(parts), digest);
	wl_hex(digest, sizeof(digest), hash);
}

static void start(struct mcp_call *call)
{
	char key[WL_SHA256_HEX], hash[WL_SHA256_HEX];
	struct wl_json *extra = wl_json_object();
	int rc = wl_json_set_string(extra, "flow", call->flow);
	wl_uuid7(wl_clock_wall_ms(), call->eid);
	rc = rc ? rc : wl_json_set_string(extra, "hash", call->hash);
	rc = rc ? rc : wl_json_set_string(extra, "eid", call->eid);
	rc = rc ? rc : wl_json_set_raw(extra, "inputs", call->arguments);
	if (web_mcp_key(call->request, call->id, key)) {
		hash_call(call, hash);
		rc = rc ? rc : wl_json_set_string(extra, "key", key);
		rc = rc ? rc : wl_json_set_string(extra, "request_hash", hash);
	}
	if (rc) {
		wl_json_free(extra);
		extra = NULL;
	}
	mcp_call_listen(call);
	mcp_call_step(call, "start", extra, started);
}

/* ---- the arguments --------------------------------------------------------------------------------------------------
 */

static void check_arguments(struct web_task *task)
{
	struct mcp_call *call = task->context;
	call->rc = wl_expression_schema(web.expressions, call->schema, strlen(call->schema), call->arguments,
					strlen(call->arguments), (int)web.settings.eval_ms, &call->faults_json,
					&call->err);
}

static void finish_faults(struct mcp_call *call)
{
	_wl_buffer_ struct wl_buffer message = { 0 };
	_wl_free_ struct wl_flow_faults *faults = calloc(1, sizeof(*faults));
	if (!faults || web_schema_faults(faults, "", call->faults_json, call->err.text, NULL) < 0)
		message.failed = ENOMEM;
	else
		web_mcp_put_faults(&message, call->id, faults);
	web_metrics_accept(WEB_ACCEPT_REFUSED, 1);
	mcp_call_finish(call, &message);
}

static void arguments_checked(struct web_task *task)
{
	struct mcp_call *call = task->context;
	char sentence[WL_ERROR_TEXT + 64];
	if (call->rc == 0) {
		start(call);
	} else if (call->rc == -EINVAL) {
		finish_faults(call);
	} else if (web_expression_refused(call->rc)) {
		(void)snprintf(sentence, sizeof(sentence), "The flow's input_schema cannot be applied: %s",
			       call->err.text);
		mcp_call_finish_refused(call, sentence);
	} else {
		mcp_call_finish_away(call, "arguments cannot be checked now: the expression server is away");
	}
}

static void check(struct mcp_call *call)
{
	if (!call->schema) {
		start(call);
		return;
	}
	call->task = (struct web_task){ .run = check_arguments, .ended = arguments_checked, .context = call };
	if (web_thread_pool_run(web.threads, &call->task) < 0)
		mcp_call_finish_away(call, "too many inputs are being checked");
}

/* ---- find -----------------------------------------------------------------------------------------------------------
 */

static bool keep_found(struct mcp_call *call, const struct wl_json *found)
{
	const struct wl_json *schema = wl_json_get(found, "input_schema");
	(void)snprintf(call->flow, sizeof(call->flow), "%s", wl_json_get_string(found, "flow", ""));
	(void)snprintf(call->hash, sizeof(call->hash), "%s", wl_json_get_string(found, "hash", ""));
	call->nodes = (int)wl_json_get_number(found, "nodes", 0);
	free(call->schema);
	call->schema = NULL;
	if (wl_json_is(schema, WL_JSON_NULL) || web_schema_is_trivial(schema))
		return true;
	call->schema = wl_json_print(schema);
	return call->schema != NULL;
}

static void found(struct pg_job *job)
{
	struct mcp_call *call = job->context;
	if (job->outcome == PG_REFUSED && strcmp(job->sqlstate, "WL404") == 0) {
		finish_unknown(call);
		return;
	}
	if (mcp_call_step_failed(call, job, ""))
		return;
	_wl_json_ struct wl_json *body = mcp_call_step_body(job, NULL);
	if (body && keep_found(call, body))
		check(call);
	else
		mcp_call_finish_away(call, "no memory");
}

static void find(struct mcp_call *call)
{
	struct wl_json *extra = wl_json_object();
	if (wl_json_set_string(extra, "tool", call->tool) < 0 ||
	    wl_json_set_bool(extra, "counts", call->token != NULL) < 0) {
		wl_json_free(extra);
		extra = NULL;
	}
	mcp_call_step(call, "find", extra, found);
}

/* ---- get_execution --------------------------------------------------------------------------------------------------
 */

static void first_state_told(struct pg_job *job)
{
	struct mcp_call *call = job->context;
	const char *text = NULL;
	if (mcp_call_step_failed(call, job, "There is no such execution."))
		return;
	_wl_json_ struct wl_json *run = mcp_call_step_body(job, &text);
	if (!run) {
		mcp_call_finish_away(call, "no memory");
		return;
	}
	int state = wl_run_state_of(wl_json_get_string(run, "status", ""));
	bool over = state < 0 || wl_run_state_final((enum wl_run_state)state);
	if (over || call->wait_s == 0 || wl_json_count(wl_json_get(run, "approvals")) > 0) {
		mcp_call_finish_run(call, text);
		return;
	}
	mcp_call_listen(call);
	mcp_call_wait(call);
}

static void tell_state(struct mcp_call *call, const struct wl_json *arguments)
{
	const char *eid = wl_json_get_string(arguments, "execution_id", "");
	const struct wl_json *wait = wl_json_get(arguments, "wait_s");
	double wait_s = wl_json_number(wait, wait ? -1 : 0);
	for (const struct wl_json *one = wl_json_first(arguments); one; one = wl_json_next(one)) {
		if (strcmp(wl_json_key(one), "execution_id") != 0 && strcmp(wl_json_key(one), "wait_s") != 0) {
			mcp_call_finish_refused(call, "get_execution takes execution_id and wait_s and nothing else.");
			return;
		}
	}
	if (!wl_uuid_valid(eid)) {
		mcp_call_finish_refused(
			call, "execution_id must be the id of a run, as the tool that started it has told it.");
	} else if (!(wait_s >= 0 && wait_s <= WEB_MCP_WAIT_MOST_S) || wait_s != (int)wait_s) {
		mcp_call_finish_refused(call, "wait_s must be a whole number from 0 to 300.");
	} else {
		call->asked = true;
		call->wait_s = (int)wait_s;
		(void)snprintf(call->eid, sizeof(call->eid), "%s", eid);
		mcp_call_step(call, "state", mcp_call_execution(call), first_state_told);
	}
}

/* ---- the request ----------------------------------------------------------------------------------------------------
 */

bool web_mcp_key(const struct web_request *request, const char *id, char ret_key[WL_SHA256_HEX])
{
	const char *session = web_parameter_text(&request->parameters, "Mcp-Session-Id", NULL);
	_wl_buffer_ struct wl_buffer text = { 0 };
	unsigned char digest[WL_SHA256_BYTES];
	if (!session)
		return false;
	(void)wl_buffer_appendf(&text, "mcp %s %s ", request->identity.user, session);
	(void)wl_buffer_append_text(&text, id);
	if (text.failed)
		return false;
	wl_sha256(text.data, text.length, digest);
	wl_hex(digest, sizeof(digest), ret_key);
	return true;
}

/* The token for notifications of progress, JSON text; NULL: none is asked for. */
static char *progress_token(const struct wl_json *params)
{
	const struct wl_json *token = wl_json_get(wl_json_get(params, "_meta"), "progressToken");
	int rc;
	return token ? wl_mcp_id_text(token, &rc) : NULL;
}

static struct mcp_call *new_call(struct web_request *request, struct wl_mcp_incoming *incoming, bool streams)
{
	const struct wl_json *arguments = wl_json_get(incoming->params, "arguments");
	struct mcp_call *call = calloc(1, sizeof(*call));
	if (!call)
		return NULL;
	call->request = web_request_hold(request);
	call->references = 1;
	call->streams = streams;
	call->incoming = incoming;
	call->id = incoming->id;
	call->tool = wl_json_get_string(incoming->params, "name", "");
	call->wait_s = (int)web.settings.mcp_wait_s;
	call->token = streams ? progress_token(incoming->params) : NULL;
	call->arguments = arguments ? wl_json_print(arguments) : strdup("{}");
	if (call->arguments)
		return call;
	mcp_call_release(call);
	return NULL;
}

void web_mcp_call(struct web_request *request, struct wl_mcp_incoming *incoming, bool streams)
{
	const struct wl_json *arguments = wl_json_get(incoming->params, "arguments");
	struct mcp_call *call = new_call(request, incoming, streams);
	if (!call) {
		web_answer_unavailable(request, 1, "no memory");
	} else if (!*call->tool || strlen(call->tool) > NAME_MAX_BYTES) {
		mcp_call_finish_error(call, WL_MCP_INVALID_PARAMS, "name must be the name of a tool");
	} else if (arguments && !wl_json_is(arguments, WL_JSON_OBJECT)) {
		mcp_call_finish_error(call, WL_MCP_INVALID_PARAMS, "arguments must be an object");
	} else if (strcmp(call->tool, WEB_MCP_STATE_TOOL) == 0) {
		tell_state(call, arguments);
	} else if (request->identity.role < WEB_ROLE_EXECUTOR) {
		mcp_call_finish_refused(call, "Running flows takes the role executor; whoever asks here is a viewer.");
	} else if (strlen(call->arguments) > WL_OUTPUT_MAX) {
		mcp_call_finish_refused(call, "The arguments are larger than a run's inputs may be.");
	} else {
		find(call);
	}
}
