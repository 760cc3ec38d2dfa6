/*
 * One WebSocket (RFC 6455): the handshake's checks, frames by libwslay, pings, bounds and close codes. What the client
 * sends comes as whole texts; binary messages are refused.
 */
#ifndef WL_WEBAPP_WEBSOCKET_H
#define WL_WEBAPP_WEBSOCKET_H

#include "webapp/server/request.h"

#define WEB_SOCKET_MESSAGE_MOST (512u << 10) /* bytes of one message, however many frames it comes in */

/* Close codes: of RFC 6455 §7.4.1, and from 4000 on our own. */
enum web_socket_code {
	WEB_SOCKET_NORMAL = 1000,
	WEB_SOCKET_AWAY = 1001,
	WEB_SOCKET_PROTOCOL = 1002,
	WEB_SOCKET_UNSUPPORTED = 1003,
	WEB_SOCKET_POLICY = 1008,
	WEB_SOCKET_LOGIN_ENDED = 4401,
	WEB_SOCKET_THING_GONE = 4404,
	WEB_SOCKET_STALLED = 4408
};

struct web_socket;

/* What a socket's owner is told; `context` is the owner's. */
struct web_socket_owner {
	/* A whole text, UTF-8. May close or cut the socket. */
	void (*text)(void *context, const char *text, size_t length);
	/* Called once when the socket is gone, and also when it never opened; `socket` must not be used any more. */
	void (*gone)(void *context);
	void *context;
};

/*
 * Look at the handshake: false when the request is answered, since it is none (426), a wrong one (400) or comes from
 * another site's page (403).
 */
bool web_socket_handshake(struct web_request *request);

/*
 * Answer a request whose handshake was looked at; `opened` gets the socket. Without memory answers 503 and calls
 * `gone`.
 */
void web_socket_start(struct web_request *request, const struct web_socket_owner *owner,
		      void (*opened)(void *context, struct web_socket *socket));

/* Send a text. False when the socket is closing or gone; `gone` has been called then or will be. */
bool web_socket_send(struct web_socket *socket, const char *text, size_t length);
/* Bytes that wait to be sent. */
size_t web_socket_queued(const struct web_socket *socket);
/* Begin to close with a code and a reason (at most 123 bytes). Nothing is sent or received behind it. */
void web_socket_close(struct web_socket *socket, enum web_socket_code code, const char *reason);
/* Close at once, without a word. */
void web_socket_cut(struct web_socket *socket);
/* Once a second: pings, and the end of peers that do not answer or read. May end the socket. */
void web_socket_tick(struct web_socket *socket, uint64_t now_ms);

#endif
