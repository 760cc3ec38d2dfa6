/* POST /mcp: one message of a client of the Model Context Protocol (its streamable HTTP transport). */
#include "lib/base/cleanup.h"
#include "lib/base/clock.h"
#include "webapp/server/api_call.h"
#include "webapp/server/core/origin.h"
#include "webapp/server/core/rate_limit.h"
#include "webapp/server/mcp_answer.h"
#include "webapp/server/mcp_call.h"
#include "webapp/server/mcp_step.h"
#include "webapp/server/routes.h"
#include "webapp/server/server.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define BODY_MOST (6u << 20)	/* bytes: the largest inputs of a run, and some */
#define LOOP_MOST (128u << 10)	/* bytes that are read on the loop: some milliseconds */
#define PAGE 50			/* tools */
#define CLIENTS_REMEMBERED 4096 /* by the limit of rates */

struct post {
	struct web_task task;
	struct web_request *request; /* whose state it is */
	struct wl_mcp_incoming incoming;
	int rc, code;
	struct wl_error err;
};

static struct web_rate_limit *messages;

static void free_post(void *state)
{
	struct post *post = state;
	wl_mcp_incoming_release(&post->incoming);
	free(post);
}

/* ---- answers --------------------------------------------------------------------------------------------------------
 */

static void answer_error(struct web_request *request, int status, int code, const char *sentence, const char *data)
{
	const struct post *post = request->state;
	wl_mcp_put_error(&request->answer, post->incoming.id, code, sentence, data);
	web_answer_json(request, status);
}

static void answer_result(struct web_request *request, const char *result)
{
	const struct post *post = request->state;
	wl_mcp_put_result(&request->answer, post->incoming.id, result);
	web_answer_json(request, 200);
}

/* ---- steps that answer at once
 * --------------------------------------------------------------------------------------- */

/* Ask for a step; `extra` is taken over. `done` gets the request, which it releases, as job->context. */
static void ask(struct web_request *request, const char *step, struct wl_json *extra, void (*done)(struct pg_job *job))
{
	if (web_mcp_step(request, step, extra, done, web_request_hold(request)) == 0)
		return;
	web_answer_unavailable(request, 1, "no memory");
	web_request_release(request);
}

static void listed(struct pg_job *job)
{
	struct web_request *request = web_job_request(job);
	struct web_api_answer answer;
	if (!web_mcp_step_failed(request, job) && web_api_take(job, 0, &answer))
		answer_result(request, answer.body);
	web_request_release(request);
}

static void list(struct web_request *request, const struct wl_json *params)
{
	const struct wl_json *cursor = wl_json_get(params, "cursor");
	struct wl_json *extra = wl_json_object();
	int rc = wl_json_set_number(extra, "limit", PAGE);
	if (cursor && !wl_uuid_valid(wl_json_string(cursor, ""))) {
		wl_json_free(extra);
		answer_error(request, 200, WL_MCP_INVALID_PARAMS, "the cursor is none of tools/list", NULL);
		return;
	}
	if (cursor)
		rc = rc ? rc : wl_json_set_string(extra, "after", wl_json_string(cursor, ""));
	else
		rc = rc ? rc : wl_json_set_raw(extra, "built_in", web_mcp_built_in);
	if (rc) {
		wl_json_free(extra);
		extra = NULL;
	}
	ask(request, "list", extra, listed);
}

/* ---- methods
 * --------------------------------------------------------------------------------------------------------- */

static void initialize(struct web_request *request, const struct wl_json *params)
{
	const char *asked = wl_json_get_string(params, "protocolVersion", NULL);
	_wl_buffer_ struct wl_buffer result = { 0 };
	char session[WL_UUID_TEXT];
	if (!asked) {
		answer_error(request, 200, WL_MCP_INVALID_PARAMS, "protocolVersion must be a string", NULL);
		return;
	}
	(void)wl_buffer_append_char(&result, '{');
	web_member_text(&result, "protocolVersion", wl_mcp_server_speaks(asked) ? asked : WL_MCP_SERVER_VERSION);
	web_member_raw(&result, "capabilities", "{\"tools\":{\"listChanged\":false}}");
	web_member_raw(&result, "serverInfo", "{\"name\":\"windlass\",\"title\":\"Windlass\",\"version\":\"1.0.0\"}");
	web_member_text(
		&result, "instructions",
		"Each tool runs a flow and answers with its outputs. A run that takes longer, or waits for a person, "
		"is answered with its execution_id and goes on: ask " WEB_MCP_STATE_TOOL " for its result.");
	(void)wl_buffer_append_char(&result, '}');
	if (result.failed) {
		web_answer_unavailable(request, 1, "no memory");
		return;
	}
	web_answer_header(request, "mcp-session-id", "%s", wl_uuid7(wl_clock_wall_ms(), session));
	answer_result(request, result.data);
}

static void ping(struct web_request *request, const struct wl_json *params)
{
	(void)params;
	answer_result(request, "{}");
}

/* The client must take what it gets: an answer it does not name in Accept is a wrong request of its own. */
static bool takes_events(const struct web_request *request)
{
	const char *accept = web_exchange_header(request->exchange, "accept");
	return accept && strcasestr(accept, "text/event-stream");
}

static void call(struct web_request *request, const struct wl_json *params)
{
	struct post *post = request->state;
	(void)params;
	web_mcp_call(request, &post->incoming, takes_events(request));
}

static void cancelled(struct pg_job *job)
{
	struct web_request *request = web_job_request(job);
	struct web_api_answer answer;
	if (!web_mcp_step_failed(request, job)) {
		(void)web_api_take(job, 0, &answer);
		web_answer_empty(request, 202);
	}
	web_request_release(request);
}

/* Without a session, or for a request that started nothing, there is nothing to cancel. */
static void cancel(struct web_request *request, const struct wl_json *params)
{
	char key[WL_SHA256_HEX];
	int rc;
	_wl_free_ char *id = wl_mcp_id_text(wl_json_get(params, "requestId"), &rc);
	if (!id || request->identity.role < WEB_ROLE_EXECUTOR || !web_mcp_key(request, id, key)) {
		web_answer_empty(request, 202);
		return;
	}
	struct wl_json *extra = wl_json_object();
	if (wl_json_set_string(extra, "key", key) < 0) {
		wl_json_free(extra);
		extra = NULL;
	}
	ask(request, "cancel", extra, cancelled);
}

static const struct {
	const char *name;
	void (*handle)(struct web_request *request, const struct wl_json *params);
} methods[] = { { "initialize", initialize }, { "ping", ping }, { "tools/list", list }, { "tools/call", call } };

static void handle_request(struct web_request *request)
{
	const struct post *post = request->state;
	char sentence[WL_MCP_METHOD_MAX + 32];
	for (size_t i = 0; i < WL_COUNT_OF(methods); i++) {
		if (strcmp(methods[i].name, post->incoming.method) != 0)
			continue;
		methods[i].handle(request, post->incoming.params);
		return;
	}
	(void)snprintf(sentence, sizeof(sentence), "Method not found: %s", post->incoming.method);
	answer_error(request, 200, WL_MCP_METHOD_NOT_FOUND, sentence, NULL);
}

/* The header that names the agreed revision; absent: the client speaks one from before it was asked for. */
static bool version_refused(struct web_request *request)
{
	const struct post *post = request->state;
	const char *version = web_exchange_header(request->exchange, "mcp-protocol-version");
	if (!version || strcmp(post->incoming.method, "initialize") == 0 || wl_mcp_server_speaks(version))
		return false;
	answer_error(request, 400, WL_MCP_INVALID_REQUEST,
		     "MCP-Protocol-Version names a revision that is not spoken here",
		     "{\"supported\":[\"2025-06-18\",\"2025-03-26\",\"2024-11-05\"]}");
	return true;
}

static void handle(struct web_request *request)
{
	struct post *post = request->state;
	if (!request->exchange)
		return;
	if (post->rc == -EINVAL)
		answer_error(request, 400, post->code, post->err.text, NULL);
	else if (post->rc < 0)
		web_answer_unavailable(request, 1, "no memory");
	else if (version_refused(request))
		return;
	else if (post->incoming.id)
		handle_request(request);
	else if (strcmp(post->incoming.method, "notifications/cancelled") == 0)
		cancel(request, post->incoming.params);
	else
		web_answer_empty(request, 202);
}

/* ---- the body
 * -------------------------------------------------------------------------------------------------------- */

static void read_body(struct web_task *task)
{
	struct post *post = task->context;
	const struct web_request *request = post->request;
	post->rc = wl_mcp_incoming_read(request->body ? request->body : "", request->body_length, &post->incoming,
					&post->code, &post->err);
}

static void body_read(struct web_task *task)
{
	struct post *post = task->context;
	struct web_request *request = post->request;
	handle(request);
	web_request_release(request);
}

static void read_and_handle(struct web_request *request)
{
	struct post *post = calloc(1, sizeof(*post));
	if (!post) {
		web_answer_unavailable(request, 1, "no memory");
		return;
	}
	post->request = request;
	post->task = (struct web_task){ .run = read_body, .ended = body_read, .context = post };
	request->state = post;
	request->state_free = free_post;
	web_request_hold(request);
	if (request->body_length <= LOOP_MOST) {
		read_body(&post->task);
		body_read(&post->task);
	} else if (web_thread_pool_run(web.threads, &post->task) < 0) {
		web_answer_unavailable(request, 1, "too many large bodies are being read");
		web_request_release(request);
	}
}

/* Milliseconds until this client may send again; 0: now. */
static int64_t limited(const struct web_request *request)
{
	const struct web_identity *identity = &request->identity;
	const char *who = *identity->key ? identity->key : identity->user;
	unsigned char key[WL_SHA256_BYTES];
	if (!messages && web.settings.mcp_messages_per_minute)
		messages = web_rate_limit_new(CLIENTS_REMEMBERED, web.settings.mcp_messages_per_minute);
	wl_sha256(who, strlen(who), key);
	return messages ? web_rate_limit_take(messages, key, (int64_t)wl_clock_boot_ms()) : 0;
}

void web_mcp_post(struct web_request *request)
{
	const char *origin = web_exchange_header(request->exchange, "origin");
	int64_t wait_ms;
	if (!web_origin_allowed(origin, web_exchange_host(request->exchange), web.settings.public_url))
		web_answer_problem(request, 403, "pages of another origin may not speak to this server");
	else if (!web_content_is_json(web_exchange_header(request->exchange, "content-type")))
		web_answer_problem(request, 415, "the body must be application/json");
	else if (request->body_length > BODY_MOST)
		web_answer_problem(request, 413, "a message has at most %u bytes", BODY_MOST);
	else if ((wait_ms = limited(request)) > 0)
		web_answer_too_many(request, (int)((wait_ms + 999) / 1000), "too many messages within a minute");
	else
		read_and_handle(request);
}
