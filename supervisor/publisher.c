#include "supervisor/publisher.h"

#include "lib/base/log.h"
#include "supervisor/run_events.h"

#include <stddef.h>

#define BATCH 256
#define WAITING_MAX 50000 /* events in memory; more are dropped */

static void publish_list(struct publisher *publisher, struct mail *list)
{
	struct wl_event events[BATCH] = { 0 };
	struct wl_error err = { 0 };
	int count = 0;
	for (struct mail *at = list; at; at = at->next) {
		const struct event_item *item = container_of(at, struct event_item, mail);
		events[count++] = (struct wl_event){ item->eid, item->type, item->data_json };
	}
	bool away = publisher->stream.publish(publisher->stream.self, events, count, &err) < 0;
	if (away && !publisher->away)
		wl_log(WL_LOG_WARNING, "live events are dropped until Redis takes them again: %s", err.text);
	publisher->away = away;
	while (list) {
		struct mail *next = list->next;
		event_item_free(container_of(list, struct event_item, mail));
		list = next;
	}
}

static void *publisher_main(void *context)
{
	struct publisher *publisher = context;
	struct mail *list;
	int count;
	do {
		list = mailbox_take(&publisher->box, BATCH, -1, &count);
		if (list)
			publish_list(publisher, list);
	} while (list || !mailbox_is_closed(&publisher->box));
	return NULL;
}

int publisher_start(struct publisher *publisher, const struct wl_event_stream *stream, struct wl_error *err)
{
	*publisher = (struct publisher){ .stream = *stream };
	mailbox_open(&publisher->box);
	int failed = pthread_create(&publisher->thread, NULL, publisher_main, publisher);
	return failed ? wl_fail_errno(err, failed, "start the publisher's thread") : 0;
}

void publisher_post(struct publisher *publisher, struct event_item *event)
{
	if (mailbox_count(&publisher->box) >= WAITING_MAX)
		event_item_free(event);
	else
		mailbox_post(&publisher->box, &event->mail);
}

void publisher_stop(struct publisher *publisher)
{
	mailbox_close(&publisher->box);
	(void)pthread_join(publisher->thread, NULL);
	publisher->stream.close(publisher->stream.self);
	mailbox_release(&publisher->box);
}
