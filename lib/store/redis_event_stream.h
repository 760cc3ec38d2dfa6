/* Live events over Redis: fills the port lib/ports/event_stream.h. One connection; a stream belongs to one thread. */
#ifndef WL_STORE_REDIS_EVENT_STREAM_H
#define WL_STORE_REDIS_EVENT_STREAM_H

#include "lib/ports/event_stream.h"

/*
 * Nothing is connected yet. `url`: see wl_redis_address_parse(); `most`: events kept of one run; `keep_s`: seconds
 * that a stream stays after its end event. 0, -EINVAL or -ENOMEM. While Redis is away events are dropped: publish()
 * then fails at once and tries to connect at most each half second. The program must ignore SIGPIPE.
 */
int wl_redis_event_stream_open(const char *url, int most, int keep_s, struct wl_event_stream *ret_stream,
			       struct wl_error *err);

#endif
