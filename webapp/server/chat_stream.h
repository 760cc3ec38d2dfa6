/* Chats over WebSockets: what is said and what comes of it, in one order. */
#ifndef WL_WEBAPP_CHAT_STREAM_H
#define WL_WEBAPP_CHAT_STREAM_H

#include "lib/base/error.h"
#include "webapp/server/request.h"

/* Start to look after the worker's chats; web_event_channel_open() has been called. 0 or -ENOMEM. */
int web_chat_stream_open(struct wl_error *err);

/*
 * Answer the request with the stream of a chat, which is its sender's own and whose newest message is `last_seq`: from
 * behind its parameter "after", or behind that message.
 */
void web_chat_stream_start(struct web_request *request, int last_seq);

/* Redis answers commands again: read what could not be read. */
void web_chat_stream_read_on(void);

/* The server drains: all streams are closed with 1001; clients come back elsewhere and go on where they were. */
void web_chat_stream_end(void);

#endif
