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
#include "webapp/server/api_call.h"
#include "webapp/server/event_channel.h"
#include "webapp/server/flow_check.h"
#include "webapp/server/mcp_answer.h"
#include "webapp/server/mcp_step.h"
#include "webapp/server/metrics.h"
#include "webapp/server/server.h"
#include "webapp/server/wait_end.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define ATTEMPTS 4 /* a flow that is published during each of them is refused */
#define NAME_MAX_BYTES 64
#define PROGRESS_WAITING_MOST (64u << 10) /* bytes that a client has still to read: it gets no more progress then */
#define BEAT_MS 15000

struct mcp_call {
	struct web_event_listener listener; /* of the run's events; first, so that it is the call */
	struct mcp_call *next, **link;	    /* among those with a stream */
	struct web_task task;
	struct web_request *request; /* held */
	struct web_stream *stream;
	struct web_wait *wait;
	int references;
	bool streams, listening, asked;
	bool node_waits;  /* maybe for a person: look once the wait has begun */
	uint64_t beat_ms; /* when something was sent last */
	/* what is asked; texts belong to the request's message */
	const char *id, *tool;
	char *arguments, *token; /* JSON */
	int wait_s, attempts;
	char eid[WL_UUID_TEXT];
	/* what was found */
	char flow[WL_UUID_TEXT], hash[WL_SHA256_HEX];
	char *schema; /* NULL: everything fits */
	int nodes, nodes_ended;
	/* the thread's */
	int rc;
	char *faults_json;
	struct wl_error err;
};

static struct mcp_call *streaming;
static bool beating;

/* ---- life -----------------------------------------------------------------------------------------------------------
 */

static void unlisten(struct mcp_call *call)
{
	if (call->listening)
		web_event_unlisten(&call->listener);
	call->listening = false;
}

static void release(struct mcp_call *call)
{
	if (--call->references > 0)
		return;
	unlisten(call);
	free(call->arguments);
	free(call->token);
	free(call->schema);
	free(call->faults_json);
	web_request_release(call->request);
	free(call);
}

/* ---- answers --------------------------------------------------------------------------------------------------------
 */

/* One event. False when the client is gone. */
static bool send_message(struct mcp_call *call, const struct wl_buffer *message)
{
	_wl_buffer_ struct wl_buffer frame = { 0 };
	if (!call->stream)
		return false;
	(void)wl_buffer_append_text(&frame, "event: message\ndata: ");
	/* JSON has no bare line ends but between its tokens */
	for (size_t i = 0; i < message->length; i++)
		(void)wl_buffer_append_char(
			&frame, message->data[i] == '\n' || message->data[i] == '\r' ? ' ' : message->data[i]);
	(void)wl_buffer_append_text(&frame, "\n\n");
	if (frame.failed || message->failed) {
		web_stream_cut(call->stream);
		return false;
	}
	call->beat_ms = wl_clock_boot_ms();
	return web_stream_send(call->stream, frame.data, frame.length);
}

/* Give the answer, and end the step under way. */
static void finish(struct mcp_call *call, const struct wl_buffer *message)
{
	unlisten(call);
	if (!call->request->answered) {
		(void)wl_buffer_append(&call->request->answer, message->data, message->length);
		call->request->answer.failed |= message->failed;
		web_answer_json(call->request, 200);
	} else if (send_message(call, message) && call->stream) {
		web_stream_finish(call->stream);
	}
	release(call);
}

static void finish_error(struct mcp_call *call, int code, const char *sentence)
{
	_wl_buffer_ struct wl_buffer message = { 0 };
	wl_mcp_put_error(&message, call->id, code, sentence, NULL);
	finish(call, &message);
}

static void finish_refused(struct mcp_call *call, const char *sentence)
{
	_wl_buffer_ struct wl_buffer message = { 0 };
	web_mcp_put_refusal(&message, call->id, "%s", sentence);
	finish(call, &message);
}

static void finish_run(struct mcp_call *call, const char *run_json)
{
	_wl_buffer_ struct wl_buffer message = { 0 };
	_wl_json_ struct wl_json *run = NULL;
	if (!run_json || wl_json_parse(run_json, strlen(run_json), &run, NULL) < 0)
		message.failed = ENOMEM;
	else
		web_mcp_put_run(&message, call->id, run, call->asked);
	finish(call, &message);
}

/* Without memory, or without a server that is needed: before the head is sent a status of HTTP says so. */
static void finish_away(struct mcp_call *call, const char *sentence)
{
	unlisten(call);
	if (call->stream)
		web_stream_cut(call->stream);
	else
		web_answer_unavailable(call->request, 1, "%s", sentence);
	release(call);
}

/* ---- steps of PostgreSQL --------------------------------------------------------------------------------------------
 */

/* `extra` is taken over. `done` gets the call as job->context. */
static void take_step(struct mcp_call *call, const char *step, struct wl_json *extra, void (*done)(struct pg_job *job))
{
	if (web_mcp_step(call->request, step, extra, done, call) < 0)
		finish_away(call, "no memory");
}

/* Whether a step failed; then the call is answered. missing: the sentence for what is not there. */
static bool step_failed(struct mcp_call *call, const struct pg_job *job, const char *missing)
{
	if (job->outcome == PG_DONE)
		return false;
	if (strcmp(job->sqlstate, "WL404") == 0 && job->outcome == PG_REFUSED) {
		finish_error(call, WL_MCP_INVALID_PARAMS, missing);
	} else if (call->stream) {
		finish_away(call, "");
	} else {
		(void)web_mcp_step_failed(call->request, job);
		unlisten(call);
		release(call);
	}
	return true;
}

/* ---- the wait -------------------------------------------------------------------------------------------------------
 */

static void state_told(struct pg_job *job)
{
	struct mcp_call *call = job->context;
	struct web_api_answer answer;
	if (!step_failed(call, job, "There is no such execution."))
		finish_run(call, web_api_take(job, 0, &answer) ? answer.body : NULL);
}

static struct wl_json *execution(const struct mcp_call *call)
{
	struct wl_json *extra = wl_json_object();
	if (wl_json_set_string(extra, "execution_id", call->eid) == 0)
		return extra;
	wl_json_free(extra);
	return NULL;
}

static bool wanted(void *context)
{
	const struct mcp_call *call = context;
	return call->streams ? call->stream != NULL : call->request->exchange != NULL;
}

static void ended(void *context, const char *result)
{
	struct mcp_call *call = context;
	call->wait = NULL;
	if (result)
		finish_run(call, result);
	else
		take_step(call, "state", execution(call), state_told);
}

/* Nobody waits for the answer; the run goes on. */
static void forgotten(void *context)
{
	struct mcp_call *call = context;
	call->wait = NULL;
	release(call);
}

static void looked(struct pg_job *job)
{
	struct mcp_call *call = job->context;
	struct web_api_answer answer;
	_wl_json_ struct wl_json *run = NULL;
	if (job->outcome == PG_DONE && web_api_take(job, 0, &answer) && answer.body && call->wait &&
	    wl_json_parse(answer.body, strlen(answer.body), &run, NULL) == 0 &&
	    wl_json_count(wl_json_get(run, "approvals")) > 0)
		web_wait_hurry(call->wait);
	release(call);
}

/* A node waits: for a time, or for a person, whom the client's own may be the one to ask. */
static void look_for_persons(struct mcp_call *call)
{
	call->references++;
	if (web_mcp_step(call->request, "state", execution(call), looked, call) < 0)
		release(call); /* the wait's own end comes */
}

static void start_waiting(struct mcp_call *call)
{
	static const struct web_wait_calls calls = { wanted, ended, forgotten };
	call->wait = web_wait_start(call->request->identity.tenant, call->eid, call->wait_s, &calls, call);
	if (!call->wait)
		ended(call, NULL);
	else if (call->node_waits)
		look_for_persons(call);
}

/* ---- streams --------------------------------------------------------------------------------------------------------
 */

static void beat(void *context);

static void beat_soon(void)
{
	if (!beating && streaming)
		web_timer_once(BEAT_MS, beat, NULL);
	beating = beating || streaming;
}

/* A comment now and then keeps proxies from closing what is quiet. */
static void beat(void *context)
{
	uint64_t now = wl_clock_boot_ms();
	(void)context;
	beating = false;
	for (struct mcp_call *call = streaming, *next; call; call = next) {
		next = call->next;
		if (now - call->beat_ms < BEAT_MS)
			continue;
		call->beat_ms = now;
		(void)web_stream_send(call->stream, ":\n\n", 3);
	}
	beat_soon();
}

static void stream_opened(struct web_request *request, struct web_stream *stream)
{
	struct mcp_call *call = request->stream_context;
	call->stream = stream;
	call->beat_ms = wl_clock_boot_ms();
	call->next = streaming;
	call->link = &streaming;
	if (streaming)
		streaming->link = &call->next;
	streaming = call;
	beat_soon();
	start_waiting(call);
}

static void stream_gone(void *context)
{
	struct mcp_call *call = context;
	if (call->stream) {
		*call->link = call->next;
		if (call->next)
			call->next->link = call->link;
	} else {
		release(call); /* it never opened: the step under way ends here */
	}
	call->stream = NULL;
	release(call);
}

static void wait_on(struct mcp_call *call)
{
	if (!call->request->exchange) {
		release(call);
	} else if (call->streams) {
		call->references++;
		web_answer_stream(call->request, stream_opened, stream_gone, call);
	} else {
		start_waiting(call);
	}
}

/* ---- events of the run ----------------------------------------------------------------------------------------------
 */

/* Nodes inside of others have paths; what is counted are those of the flow itself. */
static bool is_own_node(const char *path)
{
	return path[strcspn(path, ".[!/")] == '\0';
}

static void tell_progress(struct mcp_call *call, const char *node, const char *status)
{
	_wl_buffer_ struct wl_buffer message = { 0 };
	char sentence[300];
	if (!call->token || !is_own_node(node))
		return;
	call->nodes_ended++;
	if (!call->stream || web_stream_queued(call->stream) > PROGRESS_WAITING_MOST)
		return;
	(void)snprintf(sentence, sizeof(sentence), "%.200s %s", node, status);
	wl_mcp_put_progress(&message, call->token, call->nodes_ended, call->nodes_ended > call->nodes ? 0 : call->nodes,
			    sentence);
	(void)send_message(call, &message);
}

static void happened(struct web_event_listener *listener, const struct web_event *event)
{
	struct mcp_call *call = (struct mcp_call *)listener;
	_wl_json_ struct wl_json *data = NULL;
	if (event->type_length != 4 || memcmp(event->type, "node", 4) != 0 ||
	    wl_json_parse(event->data, event->length, &data, NULL) < 0)
		return;
	const char *status = wl_json_get_string(data, "status", "");
	int state = wl_node_state_of(status);
	if (state == WL_NODE_WAITING) {
		call->node_waits = true;
		if (call->wait)
			look_for_persons(call);
	} else if (state >= 0 && wl_node_state_final((enum wl_node_state)state)) {
		tell_progress(call, wl_json_get_string(data, "node_id", ""), status);
	}
}

static void confirmed(struct web_event_listener *listener)
{
	(void)listener; /* the wait has one of its own, which looks at the ledger */
}

static void listen(struct mcp_call *call)
{
	unlisten(call);
	call->listener = (struct web_event_listener){ .confirmed = confirmed, .happened = happened };
	(void)snprintf(call->listener.eid, sizeof(call->listener.eid), "%s", call->eid);
	call->listening = true;
	web_event_listen(&call->listener);
}

/* ---- accept ---------------------------------------------------------------------------------------------------------
 */

static void find(struct mcp_call *call);

static void finish_unknown(struct mcp_call *call)
{
	char sentence[128];
	(void)snprintf(sentence, sizeof(sentence), "Unknown tool: %.64s", call->tool);
	finish_error(call, WL_MCP_INVALID_PARAMS, sentence);
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
	finish(call, &message);
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
			listen(call);
		}
		wait_on(call);
	} else if (strcmp(outcome, "quota") == 0 || strcmp(outcome, "backlog") == 0) {
		finish_quota(call, body, outcome[0] == 'q');
	} else if (strcmp(outcome, "key_reused") == 0) {
		finish_error(call, WL_MCP_INVALID_REQUEST,
			     "this session had a request with this id already, and another call");
	} else if (strcmp(outcome, "changed") != 0) {
		finish_unknown(call);
	} else if (++call->attempts < ATTEMPTS) {
		find(call);
	} else {
		finish_refused(call, "The flow is being published all the time; call it again.");
	}
}

static void started(struct pg_job *job)
{
	struct mcp_call *call = job->context;
	struct web_api_answer answer;
	_wl_json_ struct wl_json *body = NULL;
	if (step_failed(call, job, "There is no such tool."))
		return;
	if (!web_api_take(job, 0, &answer) || !answer.body ||
	    wl_json_parse(answer.body, strlen(answer.body), &body, NULL) < 0)
		finish_away(call, "no memory");
	else
		take_outcome(call, body);
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
	listen(call);
	take_step(call, "start", extra, started);
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
	finish(call, &message);
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
		finish_refused(call, sentence);
	} else {
		finish_away(call, "arguments cannot be checked now: the expression server is away");
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
		finish_away(call, "too many inputs are being checked");
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
	struct web_api_answer answer;
	_wl_json_ struct wl_json *body = NULL;
	if (job->outcome == PG_REFUSED && strcmp(job->sqlstate, "WL404") == 0) {
		finish_unknown(call);
		return;
	}
	if (step_failed(call, job, ""))
		return;
	if (!web_api_take(job, 0, &answer) || !answer.body ||
	    wl_json_parse(answer.body, strlen(answer.body), &body, NULL) < 0 || !keep_found(call, body))
		finish_away(call, "no memory");
	else
		check(call);
}

static void find(struct mcp_call *call)
{
	struct wl_json *extra = wl_json_object();
	if (wl_json_set_string(extra, "tool", call->tool) < 0 ||
	    wl_json_set_bool(extra, "counts", call->token != NULL) < 0) {
		wl_json_free(extra);
		extra = NULL;
	}
	take_step(call, "find", extra, found);
}

/* ---- get_execution --------------------------------------------------------------------------------------------------
 */

static void first_state_told(struct pg_job *job)
{
	struct mcp_call *call = job->context;
	struct web_api_answer answer;
	_wl_json_ struct wl_json *run = NULL;
	if (step_failed(call, job, "There is no such execution."))
		return;
	if (!web_api_take(job, 0, &answer) || !answer.body ||
	    wl_json_parse(answer.body, strlen(answer.body), &run, NULL) < 0) {
		finish_away(call, "no memory");
		return;
	}
	int state = wl_run_state_of(wl_json_get_string(run, "status", ""));
	bool over = state < 0 || wl_run_state_final((enum wl_run_state)state);
	if (over || call->wait_s == 0 || wl_json_count(wl_json_get(run, "approvals")) > 0) {
		finish_run(call, answer.body);
		return;
	}
	listen(call);
	wait_on(call);
}

static void tell_state(struct mcp_call *call, const struct wl_json *arguments)
{
	const char *eid = wl_json_get_string(arguments, "execution_id", "");
	const struct wl_json *wait = wl_json_get(arguments, "wait_s");
	double wait_s = wl_json_number(wait, wait ? -1 : 0);
	for (const struct wl_json *one = wl_json_first(arguments); one; one = wl_json_next(one)) {
		if (strcmp(wl_json_key(one), "execution_id") != 0 && strcmp(wl_json_key(one), "wait_s") != 0) {
			finish_refused(call, "get_execution takes execution_id and wait_s and nothing else.");
			return;
		}
	}
	if (!wl_uuid_valid(eid)) {
		finish_refused(call, "execution_id must be the id of a run, as the tool that started it has told it.");
	} else if (!(wait_s >= 0 && wait_s <= WEB_MCP_WAIT_MOST_S) || wait_s != (int)wait_s) {
		finish_refused(call, "wait_s must be a whole number from 0 to 300.");
	} else {
		call->asked = true;
		call->wait_s = (int)wait_s;
		(void)snprintf(call->eid, sizeof(call->eid), "%s", eid);
		take_step(call, "state", execution(call), first_state_told);
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

static struct mcp_call *new_call(struct web_request *request, const struct wl_mcp_incoming *incoming, bool streams)
{
	const struct wl_json *arguments = wl_json_get(incoming->params, "arguments");
	struct mcp_call *call = calloc(1, sizeof(*call));
	if (!call)
		return NULL;
	call->request = web_request_hold(request);
	call->references = 1;
	call->streams = streams;
	call->id = incoming->id;
	call->tool = wl_json_get_string(incoming->params, "name", "");
	call->wait_s = (int)web.settings.mcp_wait_s;
	call->token = streams ? progress_token(incoming->params) : NULL;
	call->arguments = arguments ? wl_json_print(arguments) : strdup("{}");
	if (call->arguments)
		return call;
	release(call);
	return NULL;
}

void web_mcp_call(struct web_request *request, const struct wl_mcp_incoming *incoming, bool streams)
{
	const struct wl_json *arguments = wl_json_get(incoming->params, "arguments");
	struct mcp_call *call = new_call(request, incoming, streams);
	if (!call) {
		web_answer_unavailable(request, 1, "no memory");
	} else if (!*call->tool || strlen(call->tool) > NAME_MAX_BYTES) {
		finish_error(call, WL_MCP_INVALID_PARAMS, "name must be the name of a tool");
	} else if (arguments && !wl_json_is(arguments, WL_JSON_OBJECT)) {
		finish_error(call, WL_MCP_INVALID_PARAMS, "arguments must be an object");
	} else if (strcmp(call->tool, WEB_MCP_STATE_TOOL) == 0) {
		tell_state(call, arguments);
	} else if (request->identity.role < WEB_ROLE_EXECUTOR) {
		finish_refused(call, "Running flows takes the role executor; whoever asks here is a viewer.");
	} else if (strlen(call->arguments) > WL_OUTPUT_MAX) {
		finish_refused(call, "The arguments are larger than a run's inputs may be.");
	} else {
		find(call);
	}
}
