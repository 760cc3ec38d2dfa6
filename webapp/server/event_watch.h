/* Watching executions live: server-sent events from their Redis streams. */
#ifndef WL_WEBAPP_EVENT_WATCH_H
#define WL_WEBAPP_EVENT_WATCH_H

#include "lib/base/error.h"
#include "webapp/server/request.h"

/* Start to look after the worker's streams; web_event_channel_open() has been called. 0 or -ENOMEM. */
int web_event_watch_open(struct wl_error *err);

/*
 * Answer `request` with the events of an execution of its tenant, from behind `last_id` (NULL: from the first one
 * there is). The execution is known to exist.
 */
void web_event_watch_start(struct web_request *request, const char *eid, const char *last_id);

/* Publish that an execution is over that no supervisor ever held. Best effort. */
void web_event_publish_end(const char *eid, const char *status);

/* Redis answers commands again: read what could not be read. */
void web_event_watch_read_on(void);

/* The server drains: close all streams; clients come back elsewhere and go on where they were. */
void web_event_watch_end(void);

#endif
