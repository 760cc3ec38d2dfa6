/*
 * Theory of operation
 *
 * The bridge hands over bytes as they come; they are given to wslay, which calls back with frames and messages and
 * queues what it has to say itself: pongs, and the close frame for what RFC 6455 forbids. What is queued is sent at
 * once, into the connection's own queue, so that wslay's holds nothing.
 *
 * A socket closes in two steps: the close frame goes out, and the connection ends when the client has answered it or
 * CLOSING_MS are over. Bytes that come meanwhile are swallowed, since a connection that is closed with unread bytes
 * takes the close frame with it.
 */
#include "webapp/server/websocket.h"

#include "lib/base/clock.h"
#include "lib/secrets/websocket_accept.h"
#include "webapp/server/metrics.h"
#include "webapp/server/server.h"

#include <errno.h>
#include <string.h>
#include <strings.h>
#include <wslay/wslay.h>

#define PING_MS 20000	 /* of silence, before a ping */
#define SILENCE_MS 60000 /* of a client that answers no pings */
#define STALLED_MS 60000 /* of one that reads nothing */
#define CLOSING_MS 2000

/* What a client may send: so many bytes and frames at once, and so many more each second. */
#define BYTES_BURST (2u << 20)
#define BYTES_SECOND (256u << 10)
#define FRAMES_BURST 2000.0
#define FRAMES_SECOND 100.0

struct web_socket {
	struct web_stream *stream; /* NULL: gone */
	wslay_event_context_ptr frames;
	struct web_socket_owner owner;
	void (*opened)(void *context, struct web_socket *socket);
	const unsigned char *bytes; /* what came and was not looked at yet */
	size_t length;
	int depth; /* calls that use it: it is freed behind the last */
	double bytes_left, frames_left;
	uint64_t filled_ms;  /* the two above */
	uint64_t heard_ms;   /* anything at all */
	uint64_t pinged_ms;  /* the last ping, or what was heard later */
	uint64_t moved_ms;   /* what is queued became less, or there was nothing */
	uint64_t closing_ms; /* a close frame went out; 0: not yet */
	size_t queued_before;
};

/* ---- the handshake ---------------------------------------------------------------------------------------------- */

/* Whether a header's list of words has one, in any case (RFC 9110 §5.6.1). */
static bool has_word(const char *list, const char *wanted)
{
	for (const char *word = list ? list : ""; *word; word += strcspn(word, ",")) {
		word += strspn(word, ", \t");
		size_t length = strcspn(word, ", \t");
		if (length == strlen(wanted) && strncasecmp(word, wanted, length) == 0)
			return true;
	}
	return false;
}

/* scheme://authority of a URL, without what follows; 0 when it is none. */
static size_t site_length(const char *url)
{
	const char *authority = strstr(url, "://");
	return authority ? (size_t)(authority + 3 - url) + strcspn(authority + 3, "/") : 0;
}

/* A page may talk to the server it came from, under the name that it is reached by or the one of its setting. */
static bool own_origin(struct web_request *request)
{
	const char *origin = web_exchange_header(request->exchange, "origin");
	const char *host = web_exchange_host(request->exchange), *own = web.settings.public_url;
	size_t length = site_length(own);
	if (!origin)
		return true;
	if (length && strlen(origin) == length && strncasecmp(origin, own, length) == 0)
		return true;
	const char *authority = strncasecmp(origin, "https://", 8) == 0	 ? origin + 8
				: strncasecmp(origin, "http://", 7) == 0 ? origin + 7
									 : NULL;
	return authority && host && strcasecmp(authority, host) == 0;
}

bool web_socket_handshake(struct web_request *request)
{
	char accept[WL_WEBSOCKET_ACCEPT];
	struct web_exchange *exchange = request->exchange;
	const char *version = web_exchange_header(exchange, "sec-websocket-version");
	const char *key = web_exchange_header(exchange, "sec-websocket-key");
	if (request->method != WEB_GET || !has_word(web_exchange_header(exchange, "upgrade"), "websocket") ||
	    !has_word(web_exchange_header(exchange, "connection"), "upgrade") || !version ||
	    strcmp(version, "13") != 0) {
		web_answer_header(request, "upgrade", "websocket");
		web_answer_header(request, "sec-websocket-version", "13");
		web_answer_problem(request, 426, "this path takes a WebSocket of version 13");
	} else if (!key || !wl_websocket_accept(key, accept)) {
		web_answer_problem(request, 400, "Sec-WebSocket-Key has to be base64 of 16 bytes");
	} else if (!own_origin(request)) {
		web_answer_problem(request, 403, "a page of another site may not open this");
	} else {
		web_answer_header(request, "sec-websocket-accept", "%s", accept);
		if (has_word(web_exchange_header(exchange, "sec-websocket-protocol"), "windlass.v1"))
			web_answer_header(request, "sec-websocket-protocol", "windlass.v1");
		return true;
	}
	return false;
}

/* ---- frames ------------------------------------------------------------------------------------------------------ */

static void hold(struct web_socket *socket)
{
	socket->depth++;
}

static void let_go(struct web_socket *socket)
{
	if (--socket->depth > 0)
		return;
	wslay_event_context_free(socket->frames);
	free(socket);
}

/* wslay asks for bytes. */
static ssize_t give_bytes(wslay_event_context_ptr frames, uint8_t *into, size_t room, int flags, void *context)
{
	struct web_socket *socket = context;
	size_t length = socket->length < room ? socket->length : room;
	(void)flags;
	if (length == 0) {
		wslay_event_set_error(frames, WSLAY_ERR_WOULDBLOCK);
		return -1;
	}
	memcpy(into, socket->bytes, length);
	socket->bytes += length;
	socket->length -= length;
	return (ssize_t)length;
}

/* wslay has bytes to send. */
static ssize_t take_bytes(wslay_event_context_ptr frames, const uint8_t *bytes, size_t length, int flags, void *context)
{
	struct web_socket *socket = context;
	(void)flags;
	if (socket->stream && web_stream_send(socket->stream, bytes, length))
		return (ssize_t)length;
	wslay_event_set_error(frames, WSLAY_ERR_CALLBACK_FAILURE);
	return -1;
}

static void frame_begins(wslay_event_context_ptr frames, const struct wslay_event_on_frame_recv_start_arg *frame,
			 void *context)
{
	struct web_socket *socket = context;
	(void)frames;
	(void)frame;
	socket->frames_left--;
}

static void message_came(wslay_event_context_ptr frames, const struct wslay_event_on_msg_recv_arg *message,
			 void *context)
{
	struct web_socket *socket = context;
	(void)frames;
	if (socket->closing_ms || wslay_is_ctrl_frame(message->opcode))
		return;
	if (message->opcode != WSLAY_TEXT_FRAME)
		web_socket_close(socket, WEB_SOCKET_UNSUPPORTED, "only text is understood");
	else
		socket->owner.text(socket->owner.context, (const char *)message->msg, message->msg_length);
}

/* Send what wslay has queued. A close frame among it begins the end; the answer to the client's own is the end. */
static void flush(struct web_socket *socket)
{
	if (socket->stream && wslay_event_want_write(socket->frames) && wslay_event_send(socket->frames) != 0 &&
	    socket->stream) {
		web_stream_cut(socket->stream);
		return;
	}
	if (!wslay_event_get_close_sent(socket->frames))
		return;
	if (!socket->closing_ms)
		socket->closing_ms = wl_clock_boot_ms();
	if (wslay_event_get_close_received(socket->frames) && socket->stream)
		web_stream_finish(socket->stream);
}

/* wslay reads nothing more and sends nothing more: it is told here, without it, that the client keeps no rules. */
static void refuse_frames(struct web_socket *socket)
{
	static const unsigned char close_frame[] = { 0x88, 2, WEB_SOCKET_PROTOCOL >> 8, WEB_SOCKET_PROTOCOL & 0xff };
	if (socket->closing_ms || !socket->stream)
		return;
	socket->closing_ms = wl_clock_boot_ms();
	(void)web_stream_send(socket->stream, close_frame, sizeof(close_frame));
}

static void refill(struct web_socket *socket, uint64_t now)
{
	double seconds = (double)(now - socket->filled_ms) / 1000;
	socket->filled_ms = now;
	socket->bytes_left += seconds * BYTES_SECOND;
	socket->frames_left += seconds * FRAMES_SECOND;
	if (socket->bytes_left > BYTES_BURST)
		socket->bytes_left = BYTES_BURST;
	if (socket->frames_left > FRAMES_BURST)
		socket->frames_left = FRAMES_BURST;
}

static void received(void *context, const unsigned char *bytes, size_t length)
{
	struct web_socket *socket = context;
	socket->heard_ms = socket->pinged_ms = wl_clock_boot_ms();
	refill(socket, socket->heard_ms);
	socket->bytes_left -= (double)length;
	/* behind a close frame of ours only the client's is of interest, and nothing behind that */
	if (!wslay_event_want_read(socket->frames))
		return;
	hold(socket);
	socket->bytes = bytes;
	socket->length = length;
	if (wslay_event_recv(socket->frames) != 0)
		refuse_frames(socket);
	socket->length = 0;
	if (socket->bytes_left < 0 || socket->frames_left < 0)
		web_socket_close(socket, WEB_SOCKET_POLICY, "too much at once");
	flush(socket);
	let_go(socket);
}

/* ---- beginning and end ------------------------------------------------------------------------------------------- */

static void stream_gone(void *context)
{
	struct web_socket *socket = context;
	if (socket->stream)
		web_metrics_streams(-1);
	socket->stream = NULL;
	socket->owner.gone(socket->owner.context);
	let_go(socket);
}

static void stream_opened(struct web_request *request, struct web_stream *stream)
{
	struct web_socket *socket = request->stream_context;
	socket->stream = stream;
	socket->heard_ms = socket->pinged_ms = socket->moved_ms = socket->filled_ms = wl_clock_boot_ms();
	web_metrics_streams(1);
	socket->opened(socket->owner.context, socket);
}

void web_socket_start(struct web_request *request, const struct web_socket_owner *owner,
		      void (*opened)(void *context, struct web_socket *socket))
{
	static const struct wslay_event_callbacks callbacks = { .recv_callback = give_bytes,
								.send_callback = take_bytes,
								.on_frame_recv_start_callback = frame_begins,
								.on_msg_recv_callback = message_came };
	struct web_socket *socket = calloc(1, sizeof(*socket));
	if (!socket || wslay_event_context_server_init(&socket->frames, &callbacks, socket) != 0) {
		free(socket);
		web_answer_unavailable(request, 1, "no memory");
		owner->gone(owner->context);
		return;
	}
	wslay_event_config_set_max_recv_msg_length(socket->frames, WEB_SOCKET_MESSAGE_MOST);
	socket->owner = *owner;
	socket->opened = opened;
	socket->depth = 1;
	socket->bytes_left = BYTES_BURST;
	socket->frames_left = FRAMES_BURST;
	web_answer_upgrade(request, "websocket", stream_opened, received, stream_gone, socket);
}

/* ---- what the owner does ------------------------------------------------------------------------------------------
 */

bool web_socket_send(struct web_socket *socket, const char *text, size_t length)
{
	const struct wslay_event_msg message = { WSLAY_TEXT_FRAME, (const uint8_t *)text, length };
	if (!socket->stream || socket->closing_ms)
		return false;
	hold(socket);
	if (wslay_event_queue_msg(socket->frames, &message) != 0)
		web_stream_cut(socket->stream);
	else
		flush(socket);
	bool open = socket->stream && !socket->closing_ms;
	let_go(socket);
	return open;
}

size_t web_socket_queued(const struct web_socket *socket)
{
	return socket->stream ? web_stream_queued(socket->stream) : 0;
}

void web_socket_close(struct web_socket *socket, enum web_socket_code code, const char *reason)
{
	if (!socket->stream || socket->closing_ms)
		return;
	hold(socket);
	socket->closing_ms = wl_clock_boot_ms();
	if (wslay_event_queue_close(socket->frames, (uint16_t)code, (const uint8_t *)reason, strlen(reason)) != 0)
		web_stream_cut(socket->stream);
	else
		flush(socket);
	let_go(socket);
}

void web_socket_cut(struct web_socket *socket)
{
	if (socket->stream)
		web_stream_cut(socket->stream);
}

static void ping(struct web_socket *socket, uint64_t now)
{
	const struct wslay_event_msg message = { WSLAY_PING, NULL, 0 };
	socket->pinged_ms = now;
	if (wslay_event_queue_msg(socket->frames, &message) == 0)
		flush(socket);
}

void web_socket_tick(struct web_socket *socket, uint64_t now_ms)
{
	if (!socket->stream)
		return;
	hold(socket);
	size_t queued = web_stream_queued(socket->stream);
	if (queued == 0 || queued < socket->queued_before)
		socket->moved_ms = now_ms;
	socket->queued_before = queued;
	if (socket->closing_ms ? now_ms - socket->closing_ms > CLOSING_MS
			       : now_ms - socket->heard_ms > SILENCE_MS || now_ms - socket->moved_ms > STALLED_MS) {
		if (!socket->closing_ms)
			web_metrics_stream_dropped();
		web_stream_cut(socket->stream);
	} else if (!socket->closing_ms && now_ms - socket->pinged_ms > PING_MS) {
		ping(socket, now_ms);
	}
	let_go(socket);
}
