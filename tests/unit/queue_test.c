/* The queue port against a real Redis: what the model test does not see (many shards, messages, fairness, loss). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "lib/base/cleanup.h"
#include "lib/base/clock.h"
#include "lib/store/redis_connect.h"
#include "lib/store/redis_job_queue.h"
#include "tests/kit/servers.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define GEN 5
#define LONG_MS 3600000

static struct servers servers;
static struct wl_job_queue queue;
static redisContext *redis;

static long long ask_redis(const char *fmt, ...)
{
	va_list args;
	va_start(args, fmt);
	redisReply *reply = redisvCommand(redis, fmt, args);
	va_end(args);
	assert_non_null(reply);
	long long number = reply->type == REDIS_REPLY_INTEGER ? reply->integer : -1;
	freeReplyObject(reply);
	return number;
}

static void build_all(void)
{
	struct wl_error err = { 0 };
	for (int shard = 0; shard < WL_SHARDS; shard++) {
		assert_int_equal(queue.rebuild_begin(queue.self, shard, &err), 0);
		assert_int_equal(queue.rebuild_publish(queue.self, shard, GEN, &err), 0);
	}
}

static void connect_redis(void)
{
	if (redis)
		redisFree(redis);
	redis = redisConnectUnix(servers.redis_url + strlen("unix://"));
	assert_true(redis && !redis->err);
}

static int set_up(void **state)
{
	(void)state;
	struct wl_error err = { 0 };
	(void)signal(SIGPIPE, SIG_IGN);
	servers_start_redis(&servers);
	connect_redis();
	return wl_redis_job_queue_open(servers.redis_url, &queue, &err);
}

static int tear_down(void **state)
{
	(void)state;
	queue.close(queue.self);
	redisFree(redis);
	servers_stop(&servers);
	return 0;
}

/* Each test begins with sixteen empty shards. */
static int fresh(void **state)
{
	(void)state;
	redisReply *reply = redisCommand(redis, "FLUSHALL");
	freeReplyObject(reply);
	build_all();
	return 0;
}

static char *eid_of(int number, char text[WL_UUID_TEXT])
{
	(void)snprintf(text, WL_UUID_TEXT, "00000000-0000-7000-8000-%012d", number);
	return text;
}

static void enqueue(int tenant, int number)
{
	struct wl_error err = { 0 };
	char eid[WL_UUID_TEXT];
	assert_int_equal(
		queue.enqueue(queue.self, tenant % WL_SHARDS, GEN, tenant, eid_of(number, eid), number, 0, &err),
		WL_ENQUEUED);
}

static int claim(int shard, const char *supervisor, int n)
{
	struct wl_error err = { 0 };
	return queue.claim(queue.self, shard, GEN, supervisor, n, LONG_MS, &err);
}

/* ---- addresses ------------------------------------------------------------------------------------------------ */

static void addresses_are_read(void **state)
{
	(void)state;
	struct wl_error err = { 0 };
	struct wl_redis_address a;
	assert_int_equal(wl_redis_address_parse("redis://localhost", &a, &err), 0);
	assert_string_equal(a.host, "localhost");
	assert_int_equal(a.port, 6379);
	assert_int_equal(wl_redis_address_parse("redis://:p%40ss%3A%2F@10.0.0.1:7000/3", &a, &err), 0);
	assert_string_equal(a.password, "p@ss:/");
	assert_string_equal(a.user, "");
	assert_int_equal(a.port, 7000);
	assert_int_equal(a.database, 3);
	assert_int_equal(wl_redis_address_parse("redis://me:pw@[::1]:6380", &a, &err), 0);
	assert_string_equal(a.user, "me");
	assert_string_equal(a.host, "::1");
	assert_int_equal(a.port, 6380);
	assert_int_equal(wl_redis_address_parse("unix:///run/r%20s.sock", &a, &err), 0);
	assert_string_equal(a.socket, "/run/r s.sock");
	assert_int_equal(wl_redis_address_parse("unix://:pw@/run/r.sock?db=2", &a, &err), 0);
	assert_string_equal(a.socket, "/run/r.sock");
	assert_string_equal(a.password, "pw");
	assert_int_equal(a.database, 2);
}

static void bad_addresses_are_refused(void **state)
{
	(void)state;
	static const char *const bad[] = {
		"",
		"localhost",
		"http://localhost",
		"redis://",
		"redis://:0",
		"redis://h:0",
		"redis://h:65536",
		"redis://h:6379x",
		"redis://h:-1",
		"redis://h/x",
		"redis://h/1/2",
		"redis://[::1",
		"redis://[::1]x",
		"redis://secret@h",
		"redis://:%zz@h",
		"redis://:%4@h",
		"redis://:%00@h",
		"unix://",
		"unix:///",
		"unix://relative",
		"unix:///a?db=x",
	};
	for (size_t i = 0; i < WL_COUNT_OF(bad); i++) {
		struct wl_error err = { 0 };
		struct wl_redis_address a = { .port = 77 };
		if (wl_redis_address_parse(bad[i], &a, &err) != -EINVAL)
			fail_msg("'%s' was taken", bad[i]);
		assert_int_equal(a.port, 77);
		assert_null(strstr(err.text, "secret"));
	}
	char long_url[1024];
	(void)snprintf(long_url, sizeof(long_url), "redis://%0900d", 1);
	struct wl_error err = { 0 };
	struct wl_redis_address a;
	assert_int_equal(wl_redis_address_parse(long_url, &a, &err), -EINVAL);
}

static void a_missing_server_is_told_at_once_and_not_asked_too_often(void **state)
{
	(void)state;
	struct wl_error err = { 0 };
	struct wl_job_queue none;
	char run_id[64];
	assert_int_equal(wl_redis_job_queue_open("unix:///nowhere/redis.sock", &none, &err), 0);
	assert_int_equal(none.run_id(none.self, run_id, &err), -ECONNREFUSED);
	assert_non_null(strstr(err.text, "/nowhere/redis.sock"));
	assert_int_equal(none.run_id(none.self, run_id, &err), -ECONNREFUSED);
	assert_non_null(strstr(err.text, "soon"));
	none.close(none.self);
}

/* ---- library ---------------------------------------------------------------------------------------------------- */

static void another_library_is_replaced(void **state)
{
	(void)state;
	struct wl_error err = { 0 };
	redisReply *reply =
		redisCommand(redis, "FUNCTION LOAD REPLACE %s",
			     "#!lua name=wl1\nredis.register_function('wl1_touch', function() return 'OLD' end)");
	assert_int_equal(reply->type, REDIS_REPLY_STRING);
	freeReplyObject(reply);
	assert_int_equal(queue.claim(queue.self, 0, GEN, "S", 1, 1, &err), -EAGAIN);
	assert_int_equal(queue.prepare(queue.self, &err), 0);
	assert_int_equal(claim(0, "S", 1), 0);
	reply = redisCommand(redis, "FUNCTION FLUSH");
	freeReplyObject(reply);
	assert_int_equal(queue.touch(queue.self, 0, GEN, &err), -EAGAIN);
	assert_int_equal(queue.prepare(queue.self, &err), 0);
	assert_int_equal(queue.touch(queue.self, 0, GEN, &err), 0);
}

static void a_right_library_is_left_alone(void **state)
{
	(void)state;
	struct wl_error err = { 0 };
	(void)ask_redis("CONFIG RESETSTAT");
	assert_int_equal(queue.prepare(queue.self, &err), 0);
	redisReply *reply = redisCommand(redis, "INFO commandstats");
	assert_non_null(strstr(reply->str, "cmdstat_function|list"));
	assert_null(strstr(reply->str, "cmdstat_function|load"));
	freeReplyObject(reply);
}

/* ---- fairness -------------------------------------------------------------------------------------------------- */

static void weights_share_the_claims(void **state)
{
	(void)state;
	struct wl_error err = { 0 };
	/* four tenants of shard 0 with weights 1 to 4, and one that stops at its cap */
	const int capped = 80;
	struct wl_tenant_share shares[5];
	int served[5] = { 0 }, total = 0;
	for (int i = 0; i < 5; i++)
		shares[i] = (struct wl_tenant_share){ (i + 1) * 16, i < 4 ? i + 1 : 4, i < 4 ? 100000 : 50, 100000 };
	assert_int_equal(shares[4].tenant, capped);
	assert_int_equal(queue.set_shares(queue.self, 0, shares, 5, &err), 0);
	for (int i = 0; i < 5 * 600; i++)
		enqueue((i % 5 + 1) * 16, i);
	while (total < 1050) {
		struct wl_lease leases[32];
		int want = 1050 - total < 7 ? 1050 - total : 7;
		assert_int_equal(claim(0, "S", want), want);
		int count = queue.take(queue.self, "S", leases, 32, 1000, &err);
		assert_int_equal(count, want);
		for (int i = 0; i < count; i++)
			served[leases[i].tenant / 16 - 1]++;
		total += count;
		/* start-time fair queuing: normalised services of two that always wait differ by at most 1 + 1 visits
		 */
		for (int i = 0; i < 4; i++)
			for (int j = 0; j < i; j++) {
				double gap = (double)served[i] / (i + 1) - (double)served[j] / (j + 1);
				assert_true(gap <= 2 && gap >= -2);
			}
	}
	assert_int_equal(served[4], 50);
	for (int i = 0; i < 4; i++)
		assert_in_range(served[i], (i + 1) * 100 - 2 * (i + 1), (i + 1) * 100 + 2 * (i + 1));
}

static void a_tenant_that_comes_late_waits_one_turn_only(void **state)
{
	(void)state;
	struct wl_error err = { 0 };
	struct wl_lease leases[32];
	for (int i = 0; i < 500; i++)
		enqueue(16, i);
	for (int i = 0; i < 10; i++)
		assert_int_equal(claim(0, "S", 9), 9);
	while (queue.take(queue.self, "S", leases, 32, 1, &err) > 0)
		continue;
	enqueue(32, 1000);
	assert_int_equal(claim(0, "S", 2), 2);
	assert_int_equal(queue.take(queue.self, "S", leases, 32, 1000, &err), 2);
	assert_true(leases[0].tenant == 32 || leases[1].tenant == 32);
}

static void the_order_within_a_tenant_is_that_of_acceptance(void **state)
{
	(void)state;
	struct wl_error err = { 0 };
	struct wl_lease leases[8];
	char eid[WL_UUID_TEXT];
	enqueue(3, 30);
	enqueue(3, 10);
	enqueue(3, 20);
	assert_int_equal(claim(3, "S", 8), 3);
	assert_int_equal(queue.take(queue.self, "S", leases, 8, 1000, &err), 3);
	assert_string_equal(leases[0].eid, eid_of(10, eid));
	assert_string_equal(leases[1].eid, eid_of(20, eid));
	assert_string_equal(leases[2].eid, eid_of(30, eid));
	/* given back, it stands where it stood */
	enqueue(3, 15);
	assert_int_equal(queue.requeue(queue.self, 3, GEN, leases[0].eid, 1, false, &err), 1);
	assert_int_equal(claim(3, "S", 1), 1);
	assert_int_equal(queue.take(queue.self, "S", leases, 8, 1000, &err), 1);
	assert_string_equal(leases[0].eid, eid_of(10, eid));
	assert_int_equal(leases[0].epoch, 2);
}

/* ---- supervisors ------------------------------------------------------------------------------------------------ */

static void calls_with_leases_of_all_shards_keep_their_order(void **state)
{
	(void)state;
	enum { COUNT = 700 };
	struct wl_error err = { 0 };
	static struct wl_lease leases[COUNT];
	static enum wl_renew_outcome outcomes[COUNT];
	int count = 0;
	for (int i = 0; i < COUNT; i++)
		enqueue(100 + i % 40, i);
	for (int shard = 0; shard < WL_SHARDS; shard++)
		while (claim(shard, "S", 32) > 0)
			continue;
	while (count < COUNT) {
		int got = queue.take(queue.self, "S", leases + count, COUNT - count, 1000, &err);
		assert_true(got > 0);
		count += got;
	}
	/* every seventh is not ours any more */
	for (int i = 0; i < COUNT; i += 7)
		leases[i].epoch = 9;
	assert_int_equal(queue.renew(queue.self, "S", leases, COUNT, LONG_MS, outcomes, &err), 0);
	for (int i = 0; i < COUNT; i++)
		assert_int_equal(outcomes[i], i % 7 ? WL_RENEW_KEPT : WL_RENEW_LOST);
	assert_int_equal(queue.owned(queue.self, "S", leases, COUNT, &err), COUNT);
	for (int i = 0; i < COUNT; i++) {
		assert_int_equal(leases[i].gen, GEN);
		assert_int_equal(leases[i].shard, leases[i].tenant % WL_SHARDS);
	}
	assert_int_equal(queue.complete(queue.self, "S", leases, COUNT, &err), COUNT);
	assert_int_equal(queue.complete(queue.self, "S", leases, COUNT, &err), 0);
	assert_int_equal(queue.owned(queue.self, "S", leases, COUNT, &err), 0);
}

static void a_shard_that_is_rebuilt_cannot_tell(void **state)
{
	(void)state;
	struct wl_error err = { 0 };
	struct wl_lease leases[2];
	enum wl_renew_outcome outcomes[2] = { WL_RENEW_LOST, WL_RENEW_LOST };
	enqueue(1, 1);
	enqueue(2, 2);
	assert_int_equal(claim(1, "S", 1) + claim(2, "S", 1), 2);
	for (int i = 0; i < 2; i++)
		assert_int_equal(queue.take(queue.self, "S", &leases[i], 1, 1000, &err), 1);
	assert_int_equal(queue.rebuild_begin(queue.self, leases[0].shard, &err), 0);
	assert_int_equal(queue.renew(queue.self, "S", leases, 2, LONG_MS, outcomes, &err), 0);
	assert_int_equal(outcomes[0], WL_RENEW_KEPT);
	assert_int_equal(outcomes[1], WL_RENEW_KEPT);
	assert_int_equal(queue.complete(queue.self, "S", leases, 2, &err), -EAGAIN);
	assert_int_equal(queue.owned(queue.self, "S", leases, 2, &err), -EAGAIN);
	assert_int_equal(queue.enqueue(queue.self, leases[0].shard, GEN, 1, "x", 1, 0, &err), -EAGAIN);
}

static void only_the_last_builder_publishes(void **state)
{
	(void)state;
	struct wl_error err = { 0 };
	struct wl_job_queue other;
	struct wl_dispatch_row row = { .eid = "e", .tenant = 4 };
	assert_int_equal(wl_redis_job_queue_open(servers.redis_url, &other, &err), 0);
	assert_int_equal(queue.rebuild_begin(queue.self, 4, &err), 0);
	assert_int_equal(other.rebuild_begin(other.self, 4, &err), 0);
	assert_int_equal(queue.rebuild_load(queue.self, 4, &row, 1, LONG_MS, &err), -EAGAIN);
	assert_int_equal(queue.rebuild_publish(queue.self, 4, 6, &err), -EAGAIN);
	assert_int_equal(other.rebuild_publish(other.self, 4, 7, &err), 0);
	assert_int_equal(queue.touch(queue.self, 4, 7, &err), 0);
	assert_int_equal(queue.touch(queue.self, 4, 6, &err), -EAGAIN);
	other.close(other.self);
}

static void announcements_expire(void **state)
{
	(void)state;
	struct wl_error err = { 0 };
	struct wl_supervisor_row rows[8];
	assert_int_equal(queue.supervisors(queue.self, rows, 8, &err), 0);
	assert_int_equal(queue.announce(queue.self, "S1", 10, LONG_MS, &err), 0);
	assert_int_equal(queue.announce(queue.self, "S2", 20, 1, &err), 0);
	enqueue(16, 1);
	enqueue(17, 2);
	assert_int_equal(claim(0, "S1", 5) + claim(1, "S1", 5), 2);
	int count = 0;
	uint64_t end = wl_clock_boot_ms() + 5000;
	while ((count = queue.supervisors(queue.self, rows, 8, &err)) != 1)
		assert_true(wl_clock_boot_ms() < end);
	assert_string_equal(rows[0].id, "S1");
	assert_int_equal(rows[0].capacity, 10);
	assert_int_equal(rows[0].held, 2);
	assert_int_equal(ask_redis("ZCARD wl:sups"), 1);
	assert_int_equal(queue.withdraw(queue.self, "S1", &err), 0);
	assert_int_equal(queue.supervisors(queue.self, rows, 8, &err), 0);
	assert_int_equal(queue.announce(queue.self, "bad name", 1, 1, &err), -EINVAL);
	assert_int_equal(queue.announce(queue.self, "", 1, 1, &err), -EINVAL);
}

static void *cancel_later(void *eid)
{
	/* until somebody listens, so that the message is not lost */
	redisContext *context = redisConnectUnix(servers.redis_url + strlen("unix://"));
	long long heard = 0;
	while (heard == 0) {
		redisReply *reply = redisCommand(context, "PUBSUB NUMSUB wl:ctl:S");
		heard = reply->element[1]->integer;
		freeReplyObject(reply);
	}
	redisReply *reply = redisCommand(context, "FCALL wl1_cancel 1 {05} %s", (const char *)eid);
	assert_string_equal(reply->str, "SIGNALLED");
	freeReplyObject(reply);
	redisFree(context);
	return NULL;
}

static void a_cancel_reaches_the_supervisor(void **state)
{
	(void)state;
	struct wl_error err = { 0 };
	char eid[WL_UUID_TEXT], told[WL_UUID_TEXT];
	pthread_t thread;
	struct wl_lease lease;
	enum wl_renew_outcome outcome;
	enqueue(5, 1);
	assert_int_equal(claim(5, "S", 1), 1);
	assert_int_equal(pthread_create(&thread, NULL, cancel_later, eid_of(1, eid)), 0);
	assert_int_equal(queue.wait_cancel(queue.self, "S", 10000, told, &err), 1);
	assert_string_equal(told, eid);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_int_equal(queue.wait_cancel(queue.self, "S", 1, told, &err), 0);
	/* whoever missed the message learns it when it renews */
	assert_int_equal(queue.take(queue.self, "S", &lease, 1, 1000, &err), 1);
	assert_int_equal(queue.renew(queue.self, "S", &lease, 1, LONG_MS, &outcome, &err), 0);
	assert_int_equal(outcome, WL_RENEW_CANCEL);
}

static void bells_ring_for_work_and_for_room(void **state)
{
	(void)state;
	struct wl_error err = { 0 };
	struct wl_tenant_share share = { 22, 1, 1, 100 };
	struct wl_lease lease;
	assert_int_equal(queue.set_shares(queue.self, 6, &share, 1, &err), 0);
	assert_int_equal(queue.wait_bell(queue.self, 1, &err), -ETIMEDOUT);
	enqueue(22, 1);
	assert_int_equal(queue.wait_bell(queue.self, 1000, &err), 6);
	assert_int_equal(claim(6, "S", 4), 1);
	enqueue(22, 2); /* at its cap: nothing to do yet */
	assert_int_equal(queue.wait_bell(queue.self, 1, &err), -ETIMEDOUT);
	assert_int_equal(claim(6, "S", 4), 0);
	assert_int_equal(queue.take(queue.self, "S", &lease, 1, 1000, &err), 1);
	assert_int_equal(queue.complete(queue.self, "S", &lease, 1, &err), 1);
	assert_int_equal(queue.wait_bell(queue.self, 1000, &err), 6);
	assert_int_equal(claim(6, "S", 4), 1);
}

static void counters_are_shown_and_expire(void **state)
{
	(void)state;
	struct wl_error err = { 0 };
	const struct wl_counter counters[] = { { "claimed_total", 12 }, { "rebuilt_total", 3 } };
	assert_int_equal(queue.report(queue.self, "sch-1", counters, 2, LONG_MS, &err), 0);
	redisReply *reply = redisCommand(redis, "HGET wl:stat:scheduler:sch-1 claimed_total");
	assert_string_equal(reply->str, "12");
	freeReplyObject(reply);
	assert_true(ask_redis("PTTL wl:stat:scheduler:sch-1") > 0);
	assert_int_equal(ask_redis("ZCARD wl:stat:schedulers"), 1);
}

/* ---- loss -------------------------------------------------------------------------------------------------------- */

static void a_full_server_still_completes(void **state)
{
	(void)state;
	struct wl_error err = { 0 };
	struct wl_lease lease;
	enqueue(7, 1);
	assert_int_equal(claim(7, "S", 1), 1);
	assert_int_equal(queue.take(queue.self, "S", &lease, 1, 1000, &err), 1);
	(void)ask_redis("CONFIG SET maxmemory 1");
	assert_int_equal(queue.enqueue(queue.self, 7, GEN, 7, "another", 2, 0, &err), -ENOMEM);
	assert_int_equal(queue.complete(queue.self, "S", &lease, 1, &err), 1);
	(void)ask_redis("CONFIG SET maxmemory 0");
	assert_int_equal(ask_redis("EXISTS {07}:x:another {07}:q:7"), 0);
}

static void a_restart_leaves_nothing_and_is_noticed(void **state)
{
	(void)state;
	struct wl_error err = { 0 };
	char before[64], after[64];
	enqueue(8, 1);
	assert_int_equal(queue.run_id(queue.self, before, &err), 0);
	servers_kill_redis(&servers);
	int r = queue.touch(queue.self, 8, GEN, &err);
	assert_true(r == -EPIPE || r == -ECONNREFUSED);
	servers_start_redis(&servers);
	uint64_t end = wl_clock_boot_ms() + 5000;
	while ((r = queue.touch(queue.self, 8, GEN, &err)) == -ECONNREFUSED || r == -EPIPE)
		assert_true(wl_clock_boot_ms() < end);
	assert_int_equal(r, -EAGAIN);
	assert_int_equal(queue.run_id(queue.self, after, &err), 0);
	assert_string_not_equal(before, after);
	connect_redis();
}

int main(void)
{
#define with_shards(test) cmocka_unit_test_setup(test, fresh)
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(addresses_are_read),
		cmocka_unit_test(bad_addresses_are_refused),
		cmocka_unit_test(a_missing_server_is_told_at_once_and_not_asked_too_often),
		with_shards(another_library_is_replaced),
		with_shards(a_right_library_is_left_alone),
		with_shards(weights_share_the_claims),
		with_shards(a_tenant_that_comes_late_waits_one_turn_only),
		with_shards(the_order_within_a_tenant_is_that_of_acceptance),
		with_shards(calls_with_leases_of_all_shards_keep_their_order),
		with_shards(a_shard_that_is_rebuilt_cannot_tell),
		with_shards(only_the_last_builder_publishes),
		with_shards(announcements_expire),
		with_shards(a_cancel_reaches_the_supervisor),
		with_shards(bells_ring_for_work_and_for_room),
		with_shards(counters_are_shown_and_expire),
		with_shards(a_full_server_still_completes),
		with_shards(a_restart_leaves_nothing_and_is_noticed),
	};
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
