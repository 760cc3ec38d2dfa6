/* How calls of tools wait for their runs: streams, events and answers. mcp_call.c tells the theory. */
#include "lib/base/cleanup.h"
#include "lib/base/clock.h"
#include "lib/mcp/server_message.h"
#include "webapp/server/api_call.h"
#include "webapp/server/mcp_answer.h"
#include "webapp/server/mcp_call_parts.h"
#include "webapp/server/mcp_step.h"
#include "webapp/server/metrics.h"
#include "webapp/server/server.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define PROGRESS_WAITING_MOST (64u << 10) /* bytes that a client has still to read: it gets no more progress then */
#define BEAT_MS 15000
#define STALLED_MS 60000
#define END_WAIT_MS 500
#define LOOP_MOST (128u << 10)	  /* bytes of a run that are written on the loop: some milliseconds */
#define DEPTH (WL_JSON_DEPTH + 8) /* of a run around its outputs */

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

void mcp_call_release(struct mcp_call *call)
{
	if (--call->references > 0)
		return;
	unlisten(call);
	free(call->arguments);
	free(call->token);
	free(call->schema);
	free(call->faults_json);
	free(call->run_json);
	free(call->result);
	wl_buffer_release(&call->message);
	wl_buffer_release(&call->early);
	web_request_release(call->request);
	free(call);
}

/* ---- answers --------------------------------------------------------------------------------------------------------
 */

/* Append a message as an event. */
static void put_event(struct wl_buffer *frames, const struct wl_buffer *message)
{
	(void)wl_buffer_append_text(frames, "event: message\ndata: ");
	/* JSON has no bare line ends but between its tokens */
	for (size_t i = 0; i < message->length; i++)
		(void)wl_buffer_append_char(
			frames, message->data[i] == '\n' || message->data[i] == '\r' ? ' ' : message->data[i]);
	(void)wl_buffer_append_text(frames, "\n\n");
	frames->failed |= message->failed;
}

/* False when the client is gone. */
static bool send_message(struct mcp_call *call, const struct wl_buffer *message)
{
	_wl_buffer_ struct wl_buffer frame = { 0 };
	if (!call->stream)
		return false;
	put_event(&frame, message);
	if (frame.failed) {
		web_stream_cut(call->stream);
		return false;
	}
	call->beat_ms = wl_clock_boot_ms();
	return web_stream_send(call->stream, frame.data, frame.length);
}

/* Give the answer, and end the step under way. */
void mcp_call_finish(struct mcp_call *call, const struct wl_buffer *message)
{
	unlisten(call);
	if (!call->request->answered) {
		(void)wl_buffer_append(&call->request->answer, message->data, message->length);
		call->request->answer.failed |= message->failed;
		web_answer_json(call->request, 200);
	} else if (send_message(call, message) && call->stream) {
		web_stream_finish(call->stream);
	}
	mcp_call_release(call);
}

void mcp_call_finish_error(struct mcp_call *call, int code, const char *sentence)
{
	_wl_buffer_ struct wl_buffer message = { 0 };
	wl_mcp_put_error(&message, call->id, code, sentence, NULL);
	mcp_call_finish(call, &message);
}

void mcp_call_finish_refused(struct mcp_call *call, const char *sentence)
{
	_wl_buffer_ struct wl_buffer message = { 0 };
	web_mcp_put_refusal(&message, call->id, "%s", sentence);
	mcp_call_finish(call, &message);
}

static void write_run(struct web_task *task)
{
	struct mcp_call *call = task->context;
	_wl_json_ struct wl_json *run = NULL;
	if (wl_json_parse_deep(call->run_json, strlen(call->run_json), DEPTH, &run, NULL) < 0)
		call->message.failed = ENOMEM;
	else
		web_mcp_put_run(&call->message, call->id, run, call->asked);
}

static void run_written(struct web_task *task)
{
	struct mcp_call *call = task->context;
	mcp_call_finish(call, &call->message);
}

void mcp_call_finish_run(struct mcp_call *call, const char *run_json)
{
	call->run_json = run_json ? strdup(run_json) : NULL;
	if (!call->run_json) {
		mcp_call_finish_away(call, "no memory");
		return;
	}
	call->task = (struct web_task){ .run = write_run, .ended = run_written, .context = call };
	if (strlen(run_json) > LOOP_MOST && web_thread_pool_run(web.threads, &call->task) == 0)
		return;
	write_run(&call->task);
	run_written(&call->task);
}

void mcp_call_finish_away(struct mcp_call *call, const char *sentence)
{
	unlisten(call);
	if (call->stream)
		web_stream_cut(call->stream);
	else
		web_answer_unavailable(call->request, 1, "%s", sentence);
	mcp_call_release(call);
}

/* ---- steps of PostgreSQL --------------------------------------------------------------------------------------------
 */

void mcp_call_step(struct mcp_call *call, const char *step, struct wl_json *extra, void (*done)(struct pg_job *job))
{
	if (web_mcp_step(call->request, step, extra, done, call) < 0)
		mcp_call_finish_away(call, "no memory");
}

bool mcp_call_step_failed(struct mcp_call *call, const struct pg_job *job, const char *missing)
{
	if (job->outcome == PG_DONE)
		return false;
	if (strcmp(job->sqlstate, "WL404") == 0 && job->outcome == PG_REFUSED) {
		mcp_call_finish_error(call, WL_MCP_INVALID_PARAMS, missing);
	} else if (call->stream) {
		mcp_call_finish_away(call, "");
	} else {
		(void)web_mcp_step_failed(call->request, job);
		unlisten(call);
		mcp_call_release(call);
	}
	return true;
}

struct wl_json *mcp_call_step_body(const struct pg_job *job, const char **ret_text)
{
	struct web_api_answer answer;
	struct wl_json *body = NULL;
	if (!web_api_take(job, 0, &answer) || !answer.body ||
	    wl_json_parse_deep(answer.body, strlen(answer.body), DEPTH, &body, NULL) < 0)
		return NULL;
	if (ret_text)
		*ret_text = answer.body;
	return body;
}

/* ---- the wait -------------------------------------------------------------------------------------------------------
 */

static void state_told(struct pg_job *job)
{
	struct mcp_call *call = job->context;
	struct web_api_answer answer;
	if (!mcp_call_step_failed(call, job, "There is no such execution."))
		mcp_call_finish_run(call, web_api_take(job, 0, &answer) ? answer.body : NULL);
}

struct wl_json *mcp_call_execution(const struct mcp_call *call)
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

/* All that will be heard of the run was, or was waited for. */
static void finish_told(struct mcp_call *call)
{
	_wl_free_ char *result = wl_steal(call->result);
	if (result)
		mcp_call_finish_run(call, result);
}

static void end_is_late(void *context)
{
	struct mcp_call *call = context;
	finish_told(call);
	mcp_call_release(call);
}

static void ended(void *context, const char *result)
{
	struct mcp_call *call = context;
	call->wait = NULL;
	if (!result) {
		mcp_call_step(call, "state", mcp_call_execution(call), state_told);
		return;
	}
	/* the ledger is faster than the events: those of the last nodes may be on their way */
	if (call->token && !call->end_heard && web_event_channel_up())
		call->result = strdup(result);
	if (!call->result) {
		mcp_call_finish_run(call, result);
		return;
	}
	call->references++;
	web_timer_once(END_WAIT_MS, end_is_late, call);
}

/* Nobody waits for the answer; the run goes on. */
static void forgotten(void *context)
{
	struct mcp_call *call = context;
	call->wait = NULL;
	mcp_call_release(call);
}

static void looked(struct pg_job *job)
{
	struct mcp_call *call = job->context;
	_wl_json_ struct wl_json *run = job->outcome == PG_DONE ? mcp_call_step_body(job, NULL) : NULL;
	if (call->wait && wl_json_count(wl_json_get(run, "approvals")) > 0)
		web_wait_hurry(call->wait);
	mcp_call_release(call);
}

/* A node waits: for a time, or for a person, whom the client's own may be the one to ask. */
static void look_for_persons(struct mcp_call *call)
{
	call->references++;
	if (web_mcp_step(call->request, "state", mcp_call_execution(call), looked, call) < 0)
		mcp_call_release(call); /* the wait's own end comes */
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

/* A comment now and then keeps proxies from closing what is quiet. A client that has stopped reading is cut. */
static void look_after(struct mcp_call *call, uint64_t now)
{
	size_t queued = web_stream_queued(call->stream);
	if (queued == 0 || queued < call->queued_before)
		call->moved_ms = now;
	call->queued_before = queued;
	if (now - call->moved_ms > STALLED_MS) {
		web_metrics_stream_dropped();
		web_stream_cut(call->stream);
	} else if (queued == 0 && now - call->beat_ms >= BEAT_MS) {
		call->beat_ms = now;
		(void)web_stream_send(call->stream, ":\n\n", 3);
	}
}

static void beat(void *context)
{
	uint64_t now = wl_clock_boot_ms();
	(void)context;
	beating = false;
	for (struct mcp_call *call = streaming, *next; call; call = next) {
		next = call->next;
		look_after(call, now);
	}
	beat_soon();
}

static void stream_opened(struct web_request *request, struct web_stream *stream)
{
	struct mcp_call *call = request->stream_context;
	call->stream = stream;
	call->beat_ms = call->moved_ms = wl_clock_boot_ms();
	web_metrics_streams(1);
	call->next = streaming;
	call->link = &streaming;
	if (streaming)
		streaming->link = &call->next;
	streaming = call;
	beat_soon();
	if (call->early.length && !call->early.failed)
		(void)web_stream_send(stream, call->early.data, call->early.length);
	wl_buffer_release(&call->early);
	start_waiting(call);
}

static void stream_gone(void *context)
{
	struct mcp_call *call = context;
	if (call->stream) {
		web_metrics_streams(-1);
		*call->link = call->next;
		if (call->next)
			call->next->link = call->link;
	} else {
		mcp_call_release(call); /* it never opened: the step under way ends here */
	}
	call->stream = NULL;
	mcp_call_release(call);
}

/* A wait is long, and what was asked may be large: nobody needs it any more. */
static void forget_question(struct mcp_call *call)
{
	struct web_request *request = call->request;
	free(request->body);
	request->body = NULL;
	request->body_length = 0;
	wl_json_free(call->incoming->message);
	call->incoming->message = NULL;
	call->incoming->method = NULL;
	call->incoming->params = NULL;
	call->tool = NULL;
	free(call->arguments);
	free(call->schema);
	call->arguments = call->schema = NULL;
}

void mcp_call_wait(struct mcp_call *call)
{
	forget_question(call);
	if (!call->request->exchange) {
		mcp_call_release(call);
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
	if ((call->stream ? web_stream_queued(call->stream) : call->early.length) > PROGRESS_WAITING_MOST)
		return;
	(void)snprintf(sentence, sizeof(sentence), "%.200s %s", node, status);
	wl_mcp_put_progress(&message, call->token, call->nodes_ended, call->nodes_ended > call->nodes ? 0 : call->nodes,
			    sentence);
	if (call->stream)
		(void)send_message(call, &message);
	else
		put_event(&call->early, &message);
}

static void node_happened(struct mcp_call *call, const struct web_event *event)
{
	_wl_json_ struct wl_json *data = NULL;
	if (wl_json_parse_deep(event->data, event->length, DEPTH, &data, NULL) < 0)
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

static void happened(struct web_event_listener *listener, const struct web_event *event)
{
	struct mcp_call *call = (struct mcp_call *)listener;
	if (event->type_length == 4 && memcmp(event->type, "node", 4) == 0) {
		node_happened(call, event);
	} else if (event->type_length == 3 && memcmp(event->type, "end", 3) == 0) {
		call->end_heard = true;
		finish_told(call);
	}
}

static void confirmed(struct web_event_listener *listener)
{
	(void)listener; /* the wait has one of its own, which looks at the ledger */
}

void mcp_call_listen(struct mcp_call *call)
{
	unlisten(call);
	call->listener = (struct web_event_listener){ .confirmed = confirmed, .happened = happened };
	(void)snprintf(call->listener.eid, sizeof(call->listener.eid), "%s", call->eid);
	call->listening = true;
	web_event_listen(&call->listener);
}
