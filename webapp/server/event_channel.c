#include "webapp/server/event_channel.h"

#include "webapp/server/redis_async.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define BUCKETS 1024

static struct web_event_listener *buckets[BUCKETS];
static struct web_event_listener *upcoming; /* while listeners are told: the one whose turn is next */
static struct web_redis *events;

static struct web_event_listener **bucket_of(const char *eid)
{
	uint32_t sum = 2166136261u; /* FNV-1a */
	for (; *eid; eid++)
		sum = (sum ^ (unsigned char)*eid) * 16777619u;
	return &buckets[sum % BUCKETS];
}

void web_event_key(const char *eid, char key[WEB_EVENT_KEY])
{
	(void)snprintf(key, WEB_EVENT_KEY, "ev:{%s}", eid);
}

/* The execution of a channel; false for another name. */
static bool eid_of(const char *channel, char eid[WL_UUID_TEXT])
{
	if (strlen(channel) != 4 + 36 + 1 || strncmp(channel, "ev:{", 4) != 0)
		return false;
	(void)snprintf(eid, WL_UUID_TEXT, "%.36s", channel + 4);
	return true;
}

static bool has_listener(const char *eid)
{
	for (const struct web_event_listener *one = *bucket_of(eid); one; one = one->next)
		if (strcmp(one->eid, eid) == 0)
			return true;
	return false;
}

/* A message is "<id> <type> <data>". */
static bool read_event(const char *payload, size_t length, struct web_event *ret_event)
{
	const char *type = memchr(payload, ' ', length);
	const char *data = type ? memchr(type + 1, ' ', length - (size_t)(type + 1 - payload)) : NULL;
	if (!data || (size_t)(type - payload) >= sizeof(ret_event->id))
		return false;
	(void)snprintf(ret_event->id, sizeof(ret_event->id), "%.*s", (int)(type - payload), payload);
	ret_event->type = type + 1;
	ret_event->type_length = (size_t)(data - type - 1);
	ret_event->data = data + 1;
	ret_event->length = length - (size_t)(data + 1 - payload);
	return true;
}

static void message(void *context, const char *channel, const char *payload, size_t length)
{
	char eid[WL_UUID_TEXT];
	struct web_event event;
	(void)context;
	if (!eid_of(channel, eid) || !read_event(payload, length, &event))
		return;
	for (struct web_event_listener *one = *bucket_of(eid); one; one = upcoming) {
		upcoming = one->next;
		if (strcmp(one->eid, eid) == 0)
			one->happened(one, &event);
	}
}

static void confirmed(void *context, const char *channel)
{
	char eid[WL_UUID_TEXT];
	(void)context;
	if (!eid_of(channel, eid))
		return;
	for (struct web_event_listener *one = *bucket_of(eid); one; one = upcoming) {
		upcoming = one->next;
		if (strcmp(one->eid, eid) == 0)
			one->confirmed(one);
	}
}

static void subscribe(const struct web_event_listener *listener)
{
	char channel[WEB_EVENT_KEY];
	web_event_key(listener->eid, channel);
	/* where others listen too this is a second subscription: harmless, and confirmed again */
	(void)web_redis_subscribe(events, channel, confirmed);
}

void web_event_listen(struct web_event_listener *listener)
{
	struct web_event_listener **bucket = bucket_of(listener->eid);
	listener->next = *bucket;
	*bucket = listener;
	subscribe(listener);
}

void web_event_unlisten(struct web_event_listener *listener)
{
	struct web_event_listener **link = bucket_of(listener->eid);
	while (*link != listener)
		link = &(*link)->next;
	*link = listener->next;
	if (upcoming == listener)
		upcoming = listener->next;
	if (has_listener(listener->eid))
		return;
	char channel[WEB_EVENT_KEY];
	web_event_key(listener->eid, channel);
	web_redis_unsubscribe(events, channel);
}

/* Redis is back, and knows nothing of what was subscribed to. */
static void back(void *context)
{
	(void)context;
	for (int i = 0; i < BUCKETS; i++)
		for (const struct web_event_listener *one = buckets[i]; one; one = one->next)
			subscribe(one);
}

bool web_event_channel_up(void)
{
	return web_redis_up(events);
}

int web_event_channel_open(const struct wl_redis_address *address, struct wl_error *err)
{
	events = web_redis_open(address, back, message, NULL);
	return events ? 0 : wl_fail(err, ENOMEM, "no memory for event streams");
}
