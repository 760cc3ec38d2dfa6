#include "lib/mcp/http.h"

#include "lib/base/cleanup.h"
#include "lib/base/clock.h"
#include "lib/llm/frames.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define ID_MAX 1024	/* bytes of a session's id */
#define PARTING_MS 2000 /* for what is said when all is over */
#define REPLY_MS 5000	/* for an answer to what the server asked in a stream */
#define OWN_HEADERS 5

struct transport {
	const struct wl_mcp_http *http;
	struct wl_mcp_session *session;
	struct wl_mcp_http_end *end;
	struct wl_http_client *side; /* for answers while a stream is open; made when it is needed */
	char id[ID_MAX + 1];	     /* of the session; "" when the server gave none */
	uint64_t until_ms;
};

/* One answer as it comes. */
struct incoming {
	struct transport *transport;
	struct wl_llm_frames frames;
	struct wl_buffer body;
	enum { UNKNOWN, STREAM, JSON, OTHER } type;
	int result; /* what the session or a reply failed with */
	struct wl_error *err;
};

bool wl_mcp_http_sets(const char *name)
{
	static const char *const names[] = { "accept", "content-type", "last-event-id", "idempotency-key" };
	if (strncasecmp(name, "mcp-", 4) == 0)
		return true;
	for (size_t i = 0; i < WL_COUNT_OF(names); i++)
		if (strcasecmp(name, names[i]) == 0)
			return true;
	return false;
}

static uint32_t left_ms(const struct transport *transport)
{
	uint64_t now_ms = wl_clock_boot_ms();
	return now_ms < transport->until_ms ? (uint32_t)(transport->until_ms - now_ms) : 0;
}

/* The headers of one request, allocated as an array whose texts are borrowed. NULL without memory. */
static struct wl_http_header *make_headers(const struct transport *transport, bool call, size_t *ret_count)
{
	const struct wl_mcp_http *http = transport->http;
	const char *protocol = wl_mcp_session_protocol(transport->session);
	struct wl_http_header *list = calloc(http->header_count + OWN_HEADERS, sizeof(*list));
	if (!list)
		return NULL;
	size_t count = http->header_count;
	if (count > 0)
		memcpy(list, http->headers, count * sizeof(*list));
	list[count++] = (struct wl_http_header){ "Accept", "application/json, text/event-stream" };
	if (*transport->id)
		list[count++] = (struct wl_http_header){ "Mcp-Session-Id", transport->id };
	if (*protocol)
		list[count++] = (struct wl_http_header){ "MCP-Protocol-Version", protocol };
	if (call && http->call_header)
		list[count++] = *http->call_header;
	*ret_count = count;
	return list;
}

static struct wl_http_request base_request(const struct transport *transport, const char *text)
{
	const struct wl_mcp_http *http = transport->http;
	return (struct wl_http_request){ .method = text ? "POST" : "DELETE",
					 .url = http->url,
					 .content_type = text ? "application/json" : NULL,
					 .body = text,
					 .body_length = text ? strlen(text) : 0,
					 .body_max = http->body_max,
					 .cancel_fd = http->cancel_fd,
					 .allow_private = http->allow_private,
					 .hosts = http->hosts,
					 .host_count = http->host_count };
}

/* For answers of which only the status counts: a server that keeps a stream open is not listened to. */
static int decline(void *context, const struct wl_http_response *response, const char *bytes, size_t length)
{
	(void)context;
	(void)response;
	(void)bytes;
	(void)length;
	return 1;
}

/* Send what needs no answer: a reply, or what is said at the end; text NULL ends the session. */
static int send_aside(struct transport *transport, struct wl_http_client *client, const char *text, uint32_t ms,
		      bool stoppable, struct wl_error *err)
{
	_wl_http_response_ struct wl_http_response response = { 0 };
	struct wl_http_request request = base_request(transport, text);
	_wl_free_ struct wl_http_header *headers = make_headers(transport, false, &request.header_count);
	if (!headers)
		return wl_fail(err, ENOMEM, "no memory for a request");
	request.headers = headers;
	request.timeout_ms = ms;
	if (!stoppable)
		request.cancel_fd = -1;
	request.piece = decline;
	transport->end->requests++;
	int result = wl_http_send(client, &request, &response, err);
	return result == -EPIPE ? 0 : result;
}

static int send_replies(struct transport *transport, struct wl_error *err)
{
	struct wl_mcp_message message;
	int result = 0;
	while (result == 0 && wl_mcp_session_take(transport->session, true, &message)) {
		uint32_t ms = left_ms(transport);
		if (!transport->side)
			result = wl_http_client_new(transport->http->egress, &transport->side, err);
		if (result == 0 && ms == 0)
			result = wl_fail(err, ETIMEDOUT, "the time is over");
		if (result == 0)
			result = send_aside(transport, transport->side, message.text, ms < REPLY_MS ? ms : REPLY_MS,
					    true, err);
		free(message.text);
	}
	return result;
}

/* ---- one answer ------------------------------------------------------------------------------------------------ */

static bool has_type(const char *type, const char *wanted)
{
	size_t length = strlen(wanted);
	return type && strncasecmp(type, wanted, length) == 0 && (!type[length] || strchr("; \t", type[length]));
}

static int take_frame(void *context, const char *data, size_t length)
{
	struct incoming *incoming = context;
	struct transport *transport = incoming->transport;
	if (length == 0)
		return 0;
	incoming->result = wl_mcp_session_feed(transport->session, data, length, incoming->err);
	if (incoming->result == 0)
		incoming->result = send_replies(transport, incoming->err);
	return incoming->result < 0 || !wl_mcp_session_waits(transport->session);
}

static int take_piece(void *context, const struct wl_http_response *response, const char *bytes, size_t length)
{
	struct incoming *incoming = context;
	incoming->transport->end->bytes += length;
	if (incoming->type == UNKNOWN) {
		bool stream = has_type(wl_http_response_header(response, "content-type"), "text/event-stream");
		incoming->type = stream ? STREAM : wl_http_response_is_json(response) ? JSON : OTHER;
	}
	if (incoming->type != STREAM)
		return wl_buffer_append(&incoming->body, bytes, length);
	struct wl_error why = { 0 };
	int result = wl_llm_frames_feed(&incoming->frames, bytes, length, take_frame, incoming, &why);
	if (result < 0 && incoming->result == 0)
		incoming->result = wl_fail(incoming->err, -result, "%s", why.text);
	return result != 0;
}

/* The id that the answer to `initialize` gives the session: visible ASCII alone. */
static int keep_id(struct transport *transport, const struct wl_http_response *response, struct wl_error *err)
{
	const char *id = wl_http_response_header(response, "mcp-session-id");
	if (!id || *transport->id)
		return 0;
	bool fits = strlen(id) <= ID_MAX;
	for (const char *at = id; *at && fits; at++)
		fits = *at > 0x20 && *at < 0x7f;
	if (!fits)
		return wl_fail(err, EPROTO, "the server gave the session an id that cannot be sent back");
	(void)snprintf(transport->id, sizeof(transport->id), "%s", id);
	return 0;
}

static void note_answer(struct transport *transport, const struct wl_http_response *response)
{
	struct wl_mcp_http_end *end = transport->end;
	end->status = response->status;
	(void)snprintf(end->host, sizeof(end->host), "%s", response->host);
	(void)snprintf(end->address, sizeof(end->address), "%s", response->address);
	size_t shown = response->body.length < WL_MCP_ERROR_BODY ? response->body.length : WL_MCP_ERROR_BODY;
	if (response->body.data)
		memcpy(end->refusal, response->body.data, shown);
	end->refusal[response->body.data ? shown : 0] = '\0';
}

static int refuse_status(const struct wl_http_response *response, struct wl_error *err)
{
	long status = response->status;
	if (status == 401 || status == 403)
		return wl_fail(err, EBADMSG, "the server refuses the credentials (status %ld)", status);
	if (status >= 300 && status < 400)
		return wl_fail(err, EBADMSG, "the server leads to another address, and none is followed (status %ld)",
			       status);
	return wl_fail(err, EBADMSG, "the server answered with status %ld", status);
}

/* The body of an answer to a request, when it was no stream that has given what was wanted. */
static int finish_body(struct incoming *incoming, const struct wl_http_response *response)
{
	struct transport *transport = incoming->transport;
	const char *type = wl_http_response_header(response, "content-type");
	if (incoming->type == STREAM && wl_mcp_session_waits(transport->session)) {
		int result = wl_llm_frames_finish(&incoming->frames, take_frame, incoming, incoming->err);
		if (result < 0)
			return incoming->result < 0 ? incoming->result : result;
	} else if (incoming->type == JSON) {
		incoming->result = wl_mcp_session_feed(transport->session, incoming->body.data, incoming->body.length,
						       incoming->err);
	} else if (incoming->type == OTHER) {
		return wl_fail(incoming->err, EPROTO,
			       "the server answers with '%.100s', which is neither JSON nor a stream of events",
			       type ? type : "no content type");
	}
	if (incoming->result == 0 && wl_mcp_session_waits(transport->session))
		return wl_fail(incoming->err, EPROTO, "the server's answer ended without a result");
	return incoming->result;
}

/* What came of a request that was sent: `sent` is what wl_http_send() gave. */
static int judge(struct incoming *incoming, const struct wl_http_response *response, int sent, bool asks,
		 struct wl_error *err)
{
	struct transport *transport = incoming->transport;
	note_answer(transport, response);
	if (incoming->result < 0) {
		*err = *incoming->err; /* in place of the sentence that no more of the answer was wanted */
		return incoming->result;
	}
	incoming->err = err;
	if (sent < 0 && !(sent == -EPIPE && (!asks || !wl_mcp_session_waits(transport->session))))
		return sent;
	if (response->status < 200 || response->status > 299)
		return refuse_status(response, incoming->err);
	int result = keep_id(transport, response, incoming->err);
	return result == 0 && asks ? finish_body(incoming, response) : result;
}

static int send_message(struct transport *transport, const struct wl_mcp_message *message, struct wl_error *err)
{
	_wl_http_response_ struct wl_http_response response = { 0 };
	struct wl_error said = { 0 };
	struct incoming incoming = { .transport = transport, .err = &said };
	struct wl_http_request request = base_request(transport, message->text);
	_wl_free_ struct wl_http_header *headers = make_headers(transport, message->call, &request.header_count);
	if (!headers)
		return wl_fail(err, ENOMEM, "no memory for a request");
	request.headers = headers;
	request.timeout_ms = left_ms(transport);
	if (!message->call)
		request.body_max = WL_HTTP_BODY_MAX; /* a list may be long, whatever the tool answers */
	if (request.timeout_ms == 0)
		return wl_fail(err, ETIMEDOUT, "the time is over");
	wl_llm_frames_init(&incoming.frames, false);
	wl_buffer_init(&incoming.body, 0); /* bounded by body_max */
	request.piece = message->kind == WL_MCP_REQUEST ? take_piece : decline;
	request.piece_context = &incoming;
	transport->end->requests++;
	int sent = wl_http_send(transport->http->client, &request, &response, err);
	int result = judge(&incoming, &response, sent, message->kind == WL_MCP_REQUEST, err);
	wl_llm_frames_release(&incoming.frames);
	wl_buffer_release(&incoming.body);
	return result;
}

/* ---- all of them --------------------------------------------------------------------------------------------------
 */

static int carry(struct transport *transport, struct wl_error *err)
{
	bool again = false;
	while (!wl_mcp_session_ended(transport->session)) {
		struct wl_mcp_message message;
		if (!wl_mcp_session_take(transport->session, false, &message))
			return wl_fail(err, EPROTO, "the server's answer ended without a result");
		int result = send_message(transport, &message, err);
		free(message.text);
		bool lost = result == -EBADMSG && transport->end->status == 404 && *transport->id;
		if (result < 0 && (!lost || again))
			return result;
		if (lost) {
			again = true;
			transport->id[0] = '\0';
			if (wl_mcp_session_restart(transport->session, err) < 0)
				return -err->code;
		}
	}
	return 0;
}

/* What is said when all is over; nobody waits long for it, and nothing depends on it. */
static void part(struct transport *transport, int result)
{
	struct wl_error ignored = { 0 };
	bool stopped = result == -ECANCELED || result == -ETIMEDOUT;
	_wl_free_ char *cancel = stopped ? wl_mcp_session_cancel(transport->session) : NULL;
	if (cancel)
		(void)send_aside(transport, transport->http->client, cancel, PARTING_MS, false, &ignored);
	if (*transport->id && result != -ECONNREFUSED && result != -EACCES)
		(void)send_aside(transport, transport->http->client, NULL, PARTING_MS, false, &ignored);
}

int wl_mcp_http_run(const struct wl_mcp_http *http, struct wl_mcp_session *session, struct wl_mcp_http_end *ret_end,
		    struct wl_error *err)
{
	struct transport transport = { .http = http, .session = session, .end = ret_end };
	*ret_end = (struct wl_mcp_http_end){ 0 };
	transport.until_ms = wl_clock_boot_ms() + http->timeout_ms;
	int result = carry(&transport, err);
	part(&transport, result);
	wl_http_client_free(transport.side);
	return result;
}
