/* Listeners of executions' events: who is told, and who may leave meanwhile. Redis is played by the test. */
#include "webapp/server/event_channel.h"
#include "webapp/server/redis_async.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define LISTENERS 3000 /* more than there are buckets: some share one */

static void (*tell)(void *context, const char *channel, const char *payload, size_t length);
static int subscribed, unsubscribed;

struct web_redis *
web_redis_open(const struct wl_redis_address *address, void (*back)(void *context),
	       void (*message)(void *context, const char *channel, const char *payload, size_t length), void *context)
{
	static char redis;
	(void)address;
	(void)back;
	(void)context;
	tell = message;
	return (struct web_redis *)&redis;
}

bool web_redis_up(const struct web_redis *redis)
{
	return redis != NULL;
}

int web_redis_subscribe(struct web_redis *redis, const char *channel, void (*confirmed)(void *context, const char *))
{
	(void)redis;
	(void)channel;
	(void)confirmed;
	subscribed++;
	return 0;
}

void web_redis_unsubscribe(struct web_redis *redis, const char *channel)
{
	(void)redis;
	(void)channel;
	unsubscribed++;
}

struct one {
	struct web_event_listener listener;
	int told;
};

static struct one *all[LISTENERS];
static bool leaving;

static void leave(int i)
{
	if (!all[i])
		return;
	web_event_unlisten(&all[i]->listener);
	free(all[i]);
	all[i] = NULL;
}

static void happened(struct web_event_listener *listener, const struct web_event *event)
{
	((struct one *)listener)->told++;
	assert_int_equal(event->length, 2);
	for (int i = 0; leaving && i < LISTENERS; i++)
		leave(i);
}

static void confirmed(struct web_event_listener *listener)
{
	(void)listener;
}

static void send_event(int i)
{
	char channel[WEB_EVENT_KEY], eid[WL_UUID_TEXT];
	(void)snprintf(eid, sizeof(eid), "00000000-0000-7000-8000-%012d", i);
	web_event_key(eid, channel);
	tell(NULL, channel, "1-1 node {}", 11);
}

static int open_all(void **state)
{
	struct wl_error err = { 0 };
	(void)state;
	leaving = false;
	subscribed = unsubscribed = 0;
	assert_int_equal(web_event_channel_open(NULL, &err), 0);
	for (int i = 0; i < LISTENERS; i++) {
		all[i] = calloc(1, sizeof(*all[i]));
		assert_non_null(all[i]);
		all[i]->listener = (struct web_event_listener){ .confirmed = confirmed, .happened = happened };
		(void)snprintf(all[i]->listener.eid, sizeof(all[i]->listener.eid), "00000000-0000-7000-8000-%012d",
			       i / 2);
		web_event_listen(&all[i]->listener);
	}
	return 0;
}

static int leave_all(void **state)
{
	(void)state;
	for (int i = 0; i < LISTENERS; i++)
		leave(i);
	return 0;
}

static void all_who_listen_to_an_execution_are_told_and_nobody_else(void **state)
{
	(void)state;
	for (int i = 0; i < LISTENERS / 2; i++)
		send_event(i);
	for (int i = 0; i < LISTENERS; i++)
		assert_int_equal(all[i]->told, 1);
	assert_int_equal(subscribed, LISTENERS);
}

/* Also those of other executions, and those whose turn would have been next: their memory is gone at once. */
static void a_callback_may_end_all_listeners(void **state)
{
	(void)state;
	leaving = true;
	for (int i = 0; i < LISTENERS / 2; i++)
		send_event(i);
	for (int i = 0; i < LISTENERS; i++)
		assert_null(all[i]);
	assert_int_equal(unsubscribed, LISTENERS / 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(all_who_listen_to_an_execution_are_told_and_nobody_else, open_all,
						leave_all),
		cmocka_unit_test_setup_teardown(a_callback_may_end_all_listeners, open_all, leave_all),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
