/*
 * The live event port: what happens in a run, for those who watch (Redis stream ev:{<execution>} and a channel of the
 * same name). Best effort: events may be lost, results never are.
 */
#ifndef WL_PORTS_EVENT_STREAM_H
#define WL_PORTS_EVENT_STREAM_H

#include "lib/base/error.h"

struct wl_event {
	const char *eid;
	const char *type; /* execution, node, log, token, tool, end */
	const char *data_json;
};

struct wl_event_stream {
	void *self;
	/* Append events in order; `last` events of type "end" start the stream's expiry. Never blocks for long. */
	int (*publish)(void *self, const struct wl_event *events, int count, struct wl_error *err);
	void (*close)(void *self);
};

#endif
