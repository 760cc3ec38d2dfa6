/* Live events against a private Redis with the project's function library. */
#include "lib/store/redis_event_stream.h"

#include "lib/base/clock.h"
#include "lib/store/redis_connect.h"
#include "lib/store/redis_job_queue.h"
#include "tests/kit/servers.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define EID "01a209e1-462e-7c05-b1fb-84fb6648b075"

static struct servers servers;

static redisContext *connect_directly(void)
{
	struct wl_redis_address address;
	struct wl_error err;
	redisContext *context = NULL;
	assert_int_equal(wl_redis_address_parse(servers.redis_url, &address, &err), 0);
	assert_int_equal(wl_redis_connect(&address, 5000, &context, &err), 0);
	return context;
}

static void load_library(void)
{
	struct wl_job_queue queue;
	struct wl_error err;
	assert_int_equal(wl_redis_job_queue_open(servers.redis_url, &queue, &err), 0);
	assert_int_equal(queue.prepare(queue.self, &err), 0);
	queue.close(queue.self);
}

static int start(void **state)
{
	(void)state;
	(void)signal(SIGPIPE, SIG_IGN);
	servers_start_redis(&servers);
	load_library();
	return 0;
}

static int stop(void **state)
{
	(void)state;
	servers_stop(&servers);
	return 0;
}

static long long number(redisContext *context, const char *command)
{
	_wl_redis_reply_ redisReply *reply = redisCommand(context, command);
	assert_non_null(reply);
	return reply->integer;
}

static void test_order_and_expiry(void **state)
{
	(void)state;
	struct wl_event_stream stream;
	struct wl_error err = { 0 };
	const struct wl_event events[] = { { EID, "execution", "{\"n\":1}" }, { EID, "node", "{\"n\":2}" } };
	const struct wl_event end = { EID, "end", "{\"n\":3}" };
	redisContext *reader = connect_directly(), *watcher = connect_directly();
	_wl_redis_reply_ redisReply *subscribed = redisCommand(watcher, "SUBSCRIBE ev:{%s}", EID);
	assert_non_null(subscribed);
	assert_int_equal(wl_redis_event_stream_open(servers.redis_url, 1000, 77, &stream, &err), 0);
	assert_int_equal(stream.publish(stream.self, events, 2, &err), 0);
	assert_true(number(reader, "TTL ev:{" EID "}") > 86000); /* it goes even if no end ever comes */
	assert_int_equal(stream.publish(stream.self, &end, 1, &err), 0);
	assert_in_range(number(reader, "TTL ev:{" EID "}"), 70, 77);
	_wl_redis_reply_ redisReply *all = redisCommand(reader, "XRANGE ev:{%s} - +", EID);
	assert_int_equal(all->elements, 3);
	static const char *const types[] = { "execution", "node", "end" };
	for (size_t i = 0; i < 3; i++) {
		void *answer = NULL;
		char expected[128];
		const redisReply *entry = all->element[i], *fields = entry->element[1];
		assert_string_equal(fields->element[1]->str, types[i]);
		(void)snprintf(expected, sizeof(expected), "%s %s {\"n\":%zu}", entry->element[0]->str, types[i],
			       i + 1);
		assert_int_equal(redisGetReply(watcher, &answer), REDIS_OK);
		_wl_redis_reply_ redisReply *message = answer;
		assert_string_equal(message->element[2]->str, expected); /* the id under which a watcher goes on */
	}
	stream.close(stream.self);
	redisFree(reader);
	redisFree(watcher);
}

/* Events of many executions in one call come to each execution's own stream, all of them and in their order. */
static void test_executions_side_by_side(void **state)
{
	(void)state;
	enum { EXECUTIONS = 7, EVENTS = 250 };
	struct wl_event_stream stream;
	struct wl_error err = { 0 };
	struct wl_event events[EVENTS];
	char eids[EXECUTIONS][40], data[EVENTS][16];
	redisContext *reader = connect_directly();
	for (int i = 0; i < EXECUTIONS; i++)
		(void)snprintf(eids[i], sizeof(eids[i]), "01a209e1-1000-7c05-b1fb-84fb6648b%03d", i);
	for (int i = 0; i < EVENTS; i++) {
		(void)snprintf(data[i], sizeof(data[i]), "%d", i);
		events[i] = (struct wl_event){ eids[i % EXECUTIONS], i % 2 ? "node" : "log", data[i] };
	}
	events[EVENTS - 1].type = "end";
	assert_int_equal(wl_redis_event_stream_open(servers.redis_url, 1000, 77, &stream, &err), 0);
	assert_int_equal(stream.publish(stream.self, events, EVENTS, &err), 0);
	for (int i = 0; i < EXECUTIONS; i++) {
		_wl_redis_reply_ redisReply *all = redisCommand(reader, "XRANGE ev:{%s} - +", eids[i]);
		assert_int_equal(all->elements, (EVENTS - 1 - i) / EXECUTIONS + 1);
		for (size_t j = 0; j < all->elements; j++) {
			const struct wl_event *expected = &events[i + (int)j * EXECUTIONS];
			const redisReply *fields = all->element[j]->element[1];
			assert_string_equal(fields->element[1]->str, expected->type);
			assert_string_equal(fields->element[3]->str, expected->data_json);
		}
		_wl_redis_reply_ redisReply *left = redisCommand(reader, "TTL ev:{%s}", eids[i]);
		assert_true(i == (EVENTS - 1) % EXECUTIONS ? left->integer <= 77 : left->integer > 86000);
	}
	stream.close(stream.self);
	redisFree(reader);
}

static void test_bound(void **state)
{
	(void)state;
	struct wl_event_stream stream;
	struct wl_error err = { 0 };
	struct wl_event events[200];
	redisContext *reader = connect_directly();
	for (int i = 0; i < 200; i++)
		events[i] = (struct wl_event){ "01a209e1-0000-7c05-b1fb-84fb6648b075", "log", "{}" };
	assert_int_equal(wl_redis_event_stream_open(servers.redis_url, 50, 77, &stream, &err), 0);
	for (int i = 0; i < 5; i++)
		assert_int_equal(stream.publish(stream.self, events, 200, &err), 0);
	/* the bound is kept in whole nodes of the stream, of up to 100 entries each */
	assert_true(number(reader, "XLEN ev:{01a209e1-0000-7c05-b1fb-84fb6648b075}") <= 150);
	stream.close(stream.self);
	redisFree(reader);
}

/* Half an event would be an entry without an expiry, or one that nobody was told of. */
static void test_a_full_server_takes_no_part_of_an_event(void **state)
{
	(void)state;
	struct wl_event_stream stream;
	struct wl_error err = { 0 };
	const struct wl_event old = { "01a209e1-0001-7c05-b1fb-84fb6648b075", "node", "{}" };
	const struct wl_event end = { "01a209e1-0001-7c05-b1fb-84fb6648b075", "end", "{}" };
	const struct wl_event other = { "01a209e1-0002-7c05-b1fb-84fb6648b075", "node", "{}" };
	redisContext *reader = connect_directly();
	assert_int_equal(wl_redis_event_stream_open(servers.redis_url, 50, 77, &stream, &err), 0);
	assert_int_equal(stream.publish(stream.self, &old, 1, &err), 0);
	_wl_redis_reply_ redisReply *full = redisCommand(reader, "CONFIG SET maxmemory 1");
	assert_string_equal(full->str, "OK");
	assert_true(stream.publish(stream.self, &end, 1, &err) < 0);
	assert_true(stream.publish(stream.self, &other, 1, &err) < 0);
	assert_int_equal(number(reader, "XLEN ev:{01a209e1-0001-7c05-b1fb-84fb6648b075}"), 1);
	assert_true(number(reader, "TTL ev:{01a209e1-0001-7c05-b1fb-84fb6648b075}") > 86000); /* but it goes */
	assert_int_equal(number(reader, "EXISTS ev:{01a209e1-0002-7c05-b1fb-84fb6648b075}"), 0);
	_wl_redis_reply_ redisReply *room = redisCommand(reader, "CONFIG SET maxmemory 0");
	assert_string_equal(room->str, "OK");
	assert_int_equal(stream.publish(stream.self, &end, 1, &err), 0);
	stream.close(stream.self);
	redisFree(reader);
}

static void test_away_and_back(void **state)
{
	(void)state;
	struct wl_event_stream stream;
	struct wl_error err = { 0 };
	const struct wl_event event = { EID, "node", "{}" };
	assert_int_equal(wl_redis_event_stream_open(servers.redis_url, 50, 77, &stream, &err), 0);
	assert_int_equal(stream.publish(stream.self, &event, 1, &err), 0);
	servers_kill_redis(&servers);
	assert_true(stream.publish(stream.self, &event, 1, &err) < 0);
	for (int i = 0; i < 1000; i++) { /* and does not hold its caller up */
		uint64_t from_ms = wl_clock_boot_ms();
		assert_true(stream.publish(stream.self, &event, 1, &err) < 0);
		assert_true(wl_clock_boot_ms() - from_ms < 1000);
	}
	servers_start_redis(&servers);
	load_library();
	uint64_t end_ms = wl_clock_boot_ms() + 30000;
	while (stream.publish(stream.self, &event, 1, &err) < 0)
		assert_true(wl_clock_boot_ms() < end_ms);
	stream.close(stream.self);
}

static void test_bad_url(void **state)
{
	(void)state;
	struct wl_event_stream stream;
	struct wl_error err = { 0 };
	assert_int_equal(wl_redis_event_stream_open("http://x", 50, 77, &stream, &err), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_order_and_expiry),
		cmocka_unit_test(test_executions_side_by_side),
		cmocka_unit_test(test_bound),
		cmocka_unit_test(test_a_full_server_takes_no_part_of_an_event),
		cmocka_unit_test(test_away_and_back),
		cmocka_unit_test(test_bad_url),
	};
	return cmocka_run_group_tests(tests, start, stop);
}
