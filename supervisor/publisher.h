/* The thread that publishes live events in batches. Best effort: it drops what Redis does not take. */
#ifndef WL_SUPERVISOR_PUBLISHER_H
#define WL_SUPERVISOR_PUBLISHER_H

#include "lib/ports/event_stream.h"
#include "supervisor/messages.h"

struct publisher {
	struct mailbox box;
	struct wl_event_stream stream;
	pthread_t thread;
	bool away; /* the last batch was not taken */
};

/* Takes over the stream. */
int publisher_start(struct publisher *publisher, const struct wl_event_stream *stream, struct wl_error *err);
/* From any thread; takes the event over. */
void publisher_post(struct publisher *publisher, struct event_item *event);
/* Publish what is there and end. */
void publisher_stop(struct publisher *publisher);

#endif
