/*
 * Events of executions as they happen: who wants them listens here, and one subscription of the worker serves all who
 * listen to the same execution.
 */
#ifndef WL_WEBAPP_EVENT_CHANNEL_H
#define WL_WEBAPP_EVENT_CHANNEL_H

#include "lib/base/error.h"
#include "lib/base/ids.h"
#include "lib/store/redis_connect.h"

#include <stdbool.h>

#define WEB_EVENT_ID 48

/* An event: its id in the stream and its JSON. */
struct web_event {
	char id[WEB_EVENT_ID];
	const char *type;
	size_t type_length;
	const char *data;
	size_t length;
};

/* Part of whoever listens. A callback may stop any listener, its own too, which may be freed when it returns. */
struct web_event_listener {
	char eid[WL_UUID_TEXT];
	/* All events from now on will come. Called once or more: also when Redis was away and is back. */
	void (*confirmed)(struct web_event_listener *listener);
	void (*happened)(struct web_event_listener *listener, const struct web_event *event);
	/* the channel's own */
	struct web_event_listener *next;
};

/* Start the worker's connection for subscriptions; 0 or -ENOMEM. */
int web_event_channel_open(const struct wl_redis_address *address, struct wl_error *err);

/* Whether Redis answers, so that events come at all. */
bool web_event_channel_up(void);

/* Listen until web_event_unlisten(), which must come before the listener is freed. While Redis is away nothing comes.
 */
void web_event_listen(struct web_event_listener *listener);
void web_event_unlisten(struct web_event_listener *listener);

#define WEB_EVENT_KEY 64
/* The name of an execution's stream and of its channel. */
void web_event_key(const char *eid, char key[WEB_EVENT_KEY]);

#endif
