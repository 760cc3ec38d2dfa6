/*
 * Server-sent events (WHATWG HTML, "9.2.6 Interpreting an event stream"), read from pieces of any size. What a server
 * sends is not trusted: an event is at most CLI_SSE_MAX bytes, names and ids have their limits.
 */
#ifndef WL_CLI_CORE_SSE_H
#define WL_CLI_CORE_SSE_H

#include "lib/base/buffer.h"
#include "lib/base/error.h"

#include <stdbool.h>
#include <stddef.h>

#define CLI_SSE_MAX (4u << 20) /* bytes of one line, and of one event's data */
#define CLI_SSE_NAME 64
#define CLI_SSE_ID 128
#define CLI_SSE_RETRY_MAX_MS 60000

struct cli_sse_event {
	const char *type; /* "message" when the server named none */
	const char *id;	  /* last event id, "" when there was none yet */
	const char *data;
	size_t length;
};

/* Called for each event; a negative return ends the feed, which returns it. */
typedef int (*cli_sse_handler)(void *self, const struct cli_sse_event *event, struct wl_error *err);

struct cli_sse {
	struct wl_buffer line, data;
	char type[CLI_SSE_NAME];
	char id[CLI_SSE_ID]; /* kept over events and reconnects: goes back as Last-Event-ID */
	int retry_ms;	     /* what the server asked for, 0: nothing */
	bool has_data, after_cr, started;
};

void cli_sse_init(struct cli_sse *sse);
void cli_sse_release(struct cli_sse *sse);

/* A new connection: forget an unfinished event, keep id and retry. */
void cli_sse_restart(struct cli_sse *sse);

/* Read bytes. 0; -EMSGSIZE when an event is over the limits; -ENOMEM; or what the handler returned. */
int cli_sse_feed(struct cli_sse *sse, const char *bytes, size_t length, cli_sse_handler handler, void *self,
		 struct wl_error *err);

#endif
