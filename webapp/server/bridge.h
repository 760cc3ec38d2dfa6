/*
 * The door to kore: its event loop, its requests and its connections, in words of our own. kore_bridge.c alone
 * includes kore's headers and knows that its results are 1 for success and 0 for failure.
 *
 * Everything here belongs to one worker process and its one loop thread.
 */
#ifndef WL_WEBAPP_BRIDGE_H
#define WL_WEBAPP_BRIDGE_H

#include "webapp/server/core/guards.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ---- file descriptors and time -------------------------------------------------------------------- */

struct web_watch;

/* Called when the descriptor can be read or written, or has an error or a hang-up. */
typedef void web_watch_ready(void *context, bool readable, bool writable, bool broken);

/* Watch a descriptor, level-triggered, for reading at first. NULL without memory. */
struct web_watch *web_watch_new(int fd, web_watch_ready *ready, void *context);
void web_watch_want(struct web_watch *watch, bool readable, bool writable);
/* Stop watching; the caller closes the descriptor afterwards. Allowed inside the callback. */
void web_watch_free(struct web_watch *watch);

typedef void web_timer_due(void *context);
struct web_timer;
void web_timer_once(uint64_t after_ms, web_timer_due *due, void *context);
struct web_timer *web_timer_every(uint64_t each_ms, web_timer_due *due, void *context);

/* ---- requests -------------------------------------------------------------------------------------- */

struct web_request;  /* webapp/server/request.h */
struct web_exchange; /* kore's half of one */

/* A header of the request, in any case; NULL when it is not there or the client is gone. */
const char *web_exchange_header(void *exchange, const char *name);
/* All headers but Host; returns how many were put into `headers`. */
size_t web_exchange_headers(const struct web_exchange *exchange, struct web_header *headers, size_t room);
const char *web_exchange_host(const struct web_exchange *exchange);
/* The client's address as text; "" when it is gone. */
const char *web_exchange_peer(const struct web_exchange *exchange, char *text, size_t size);
/* Close the connection behind the answer. */
void web_exchange_close_after(struct web_exchange *exchange);
/* The answer is in the request: let the loop send it. */
void web_exchange_wake(struct web_exchange *exchange);

/* ---- streams --------------------------------------------------------------------------------------- */

/* A connection that stays open after its head was sent. */
struct web_stream;

/* What a client sends on a stream of a protocol of its own, as it comes; may cut or finish the stream. */
typedef void web_stream_received(void *context, const unsigned char *bytes, size_t length);

/* Send bytes. False when the connection is gone; `gone` has been called then or will be. */
bool web_stream_send(struct web_stream *stream, const void *bytes, size_t length);
/* Bytes that wait to be sent. */
size_t web_stream_queued(const struct web_stream *stream);
/* Close when everything is sent. `gone` follows. */
void web_stream_finish(struct web_stream *stream);
/* Close now. */
void web_stream_cut(struct web_stream *stream);

/* ---- what the server gives the bridge (webapp/server/server.c) --------------------------------------- */

struct web_listen {
	const char *address;
	long port, workers;
	long body_max; /* bytes */
	/* PEM files for https; NULL: plain http */
	const char *certificate, *key;
};

/* In the parent, before any worker: read settings, check what is needed. 0, or the exit code to leave with. */
int web_server_prepare(int argc, char **argv, struct web_listen *ret_listen, bool *ret_leave);
/* In a worker, before its first request: 0 or -errno. `index` counts from 0. */
int web_server_start_worker(int index);
/* In a worker: a request has arrived whole. */
void web_server_handle(struct web_request *request);
/* In a worker: SIGTERM came; still serving. And: no longer accepting, streams must end. */
void web_server_drain(void);
void web_server_end_streams(void);
/* In a worker: answers are being sent piece by piece. */
bool web_server_sending(void);
long web_server_drain_ms(void);
/* The parent is about to leave. */
void web_server_leave(void);

#endif
