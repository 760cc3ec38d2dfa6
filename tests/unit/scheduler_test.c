/*
 * Schedulers with a real PostgreSQL and a real Redis: their threads run in this process, supervisors are played by
 * the test. Everything is awaited by its state.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "lib/base/clock.h"
#include "lib/base/ids.h"
#include "lib/base/log.h"
#include "lib/store/postgres_ledger.h"
#include "lib/store/redis_job_queue.h"
#include "scheduler/scheduler.h"
#include "tests/kit/ledger_kit.h"
#include "tests/kit/servers.h"

#include <errno.h>
#include <hiredis/hiredis.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PATIENCE_MS 20000
#define SCHEDULERS 2
#define TENANTS 6
#define BURST 240
#define ANNOUNCE_MS 60000

struct running_scheduler {
	struct scheduler scheduler;
	struct dispatch dispatch;
	struct upkeep upkeep;
	pthread_t threads[2];
};

static struct servers servers;
static struct wl_settings settings;
static struct running_scheduler schedulers[SCHEDULERS];
static PGconn *admin, *app;
static struct wl_ledger ledger;
static struct wl_job_queue queue;
static redisContext *redis;
static int tenants[TENANTS];

/* ---- set-up ------------------------------------------------------------------------------------------------- */

static void start_scheduler(struct running_scheduler *own)
{
	struct wl_error err = { 0 };
	assert_int_equal(scheduler_init(&own->scheduler, &settings), 0);
	own->dispatch.scheduler = own->upkeep.scheduler = &own->scheduler;
	assert_int_equal(wl_redis_job_queue_open(servers.redis_url, &own->dispatch.queue, &err), 0);
	assert_int_equal(wl_redis_job_queue_open(servers.redis_url, &own->upkeep.queue, &err), 0);
	assert_int_equal(wl_postgres_ledger_open(servers.postgres_url, &own->upkeep.ledger, &err), 0);
	assert_int_equal(pthread_create(&own->threads[0], NULL, upkeep_main, &own->upkeep), 0);
	assert_int_equal(pthread_create(&own->threads[1], NULL, dispatch_main, &own->dispatch), 0);
}

static void stop_scheduler(struct running_scheduler *own)
{
	scheduler_stop(&own->scheduler);
	for (int i = 0; i < 2; i++)
		assert_int_equal(pthread_join(own->threads[i], NULL), 0);
	own->dispatch.queue.close(own->dispatch.queue.self);
	own->upkeep.queue.close(own->upkeep.queue.self);
	own->upkeep.ledger.close(own->upkeep.ledger.self);
}

static void connect_redis(void)
{
	if (redis)
		redisFree(redis);
	redis = redisConnectUnix(servers.redis_url + strlen("unix://"));
	assert_true(redis && !redis->err);
}

static long long ask_redis(const char *fmt, ...)
{
	va_list args;
	va_start(args, fmt);
	redisReply *reply = redisvCommand(redis, fmt, args);
	va_end(args);
	assert_non_null(reply);
	long long number = reply->type == REDIS_REPLY_INTEGER ? reply->integer : reply->str ? atoll(reply->str) : -1;
	freeReplyObject(reply);
	return number;
}

static int set_up(void **state)
{
	(void)state;
	struct wl_error err = { 0 };
	char slug[32];
	(void)signal(SIGPIPE, SIG_IGN);
	wl_log_open("scheduler_test", WL_LOG_ERROR);
	assert_int_equal(wl_settings_load(&settings, WL_PROGRAM_SCHEDULER, 1, (char *[]){ "test", NULL }, &err), 0);
	settings.offer_ms = 1000;
	settings.lease_ms = 1500;
	settings.reap_ms = 50;
	settings.sweep_ms = 50;
	servers_start_postgres(&servers);
	servers_start_redis(&servers);
	admin = PQconnectdb(servers.postgres_admin_url);
	app = PQconnectdb(servers.postgres_url);
	for (int i = 0; i < TENANTS; i++) {
		(void)snprintf(slug, sizeof(slug), "tenant-%d", i);
		tenants[i] = kit_tenant(admin, slug);
	}
	assert_int_equal(wl_postgres_ledger_open(servers.postgres_url, &ledger, &err), 0);
	assert_int_equal(wl_redis_job_queue_open(servers.redis_url, &queue, &err), 0);
	connect_redis();
	for (int i = 0; i < SCHEDULERS; i++)
		start_scheduler(&schedulers[i]);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	for (int i = 0; i < SCHEDULERS; i++)
		stop_scheduler(&schedulers[i]);
	ledger.close(ledger.self);
	queue.close(queue.self);
	redisFree(redis);
	PQfinish(admin);
	PQfinish(app);
	servers_stop(&servers);
	return 0;
}

/* ---- steps ----------------------------------------------------------------------------------------------------- */

static struct kit_accept accept_for(int tenant, int64_t timeout_ms)
{
	char eid[WL_UUID_TEXT];
	struct kit_accept got =
		kit_accept(app, tenant, wl_uuid7(wl_clock_wall_ms(), eid), "{}", NULL, NULL, timeout_ms);
	assert_string_equal(got.outcome, "accepted");
	return got;
}

/* The shard of a tenant has the gen that the ledger knows. */
static void await_ready(int shard)
{
	struct wl_error err = { 0 };
	struct wl_shard_row rows[WL_SHARDS];
	uint64_t end = wl_clock_boot_ms() + PATIENCE_MS;
	for (;;) {
		int r = ledger.shards(ledger.self, rows, &err);
		if (r == 0 && rows[shard].gen > 0 && ask_redis("GET {%02d}:gen", shard) == rows[shard].gen)
			return;
		assert_true(wl_clock_boot_ms() < end);
		(void)usleep(2000);
	}
}

static void announce(const char *supervisor, int capacity)
{
	struct wl_error err = { 0 };
	assert_int_equal(queue.announce(queue.self, supervisor, capacity, ANNOUNCE_MS, &err), 0);
}

static void withdraw(const char *supervisor)
{
	struct wl_error err = { 0 };
	assert_int_equal(queue.withdraw(queue.self, supervisor, &err), 0);
}

static void enqueue(const struct kit_accept *accepted, int tenant)
{
	struct wl_error err = { 0 };
	struct wl_shard_row rows[WL_SHARDS];
	await_ready(accepted->shard);
	assert_int_equal(ledger.shards(ledger.self, rows, &err), 0);
	int r = queue.enqueue(queue.self, accepted->shard, rows[accepted->shard].gen, tenant, accepted->eid,
			      accepted->seq, 0, &err);
	assert_true(r == WL_ENQUEUED || r == WL_ENQUEUE_KNOWN);
}

/* Wait until a lease of this execution lies in the inbox; other leases are ignored. */
static struct wl_lease await_lease(const char *supervisor, const char *eid)
{
	struct wl_error err = { 0 };
	uint64_t end = wl_clock_boot_ms() + PATIENCE_MS;
	while (wl_clock_boot_ms() < end) {
		struct wl_lease leases[1];
		int count = queue.take(queue.self, supervisor, leases, 1, 200, &err);
		if (count == 1 && strcmp(leases[0].eid, eid) == 0)
			return leases[0];
	}
	fail_msg("no lease of %s came to %s: %s", eid, supervisor, err.text);
	return (struct wl_lease){ 0 };
}

static enum wl_start_outcome start(const char *supervisor, const struct wl_lease *lease)
{
	struct wl_error err = { 0 };
	struct wl_start started = { 0 };
	assert_int_equal(ledger.start(ledger.self, supervisor, lease, 1, &started, &err), 0);
	wl_start_release(&started);
	return started.outcome;
}

static bool finish(const char *supervisor, const struct wl_lease *lease)
{
	struct wl_error err = { 0 };
	struct wl_finish item = { .epoch = lease->epoch, .state = WL_RUN_SUCCEEDED, .outputs_json = "{}" };
	memcpy(item.eid, lease->eid, sizeof(item.eid));
	assert_int_equal(ledger.finish(ledger.self, &item, 1, &err), 0);
	int r = queue.complete(queue.self, supervisor, lease, 1, &err);
	assert_true(r >= 0 || r == -EAGAIN);
	return item.done;
}

static void await_status(int tenant, const char *eid, const char *expected)
{
	char sql[256], value[256];
	uint64_t end = wl_clock_boot_ms() + PATIENCE_MS;
	(void)snprintf(sql, sizeof(sql),
		       "SELECT status || coalesce(' ' || (error->>'code'), '') FROM t_%d.executions "
		       "WHERE id = '%s'",
		       tenant, eid);
	while (strcmp(kit_value(admin, value, sql), expected) != 0) {
		if (wl_clock_boot_ms() > end)
			fail_msg("execution is %s, not %s", value, expected);
		(void)usleep(5000);
	}
}

static void await_no_entry(int shard, const char *eid)
{
	uint64_t end = wl_clock_boot_ms() + PATIENCE_MS;
	while (ask_redis("EXISTS {%02d}:x:%s", shard, eid) != 0) {
		assert_true(wl_clock_boot_ms() < end);
		(void)usleep(2000);
	}
}

/* ---- tests --------------------------------------------------------------------------------------------------------
 */

static void an_execution_comes_to_a_supervisor_with_room(void **state)
{
	(void)state;
	announce("full", 0);
	announce("S1", 4);
	struct kit_accept accepted = accept_for(tenants[0], 60000);
	enqueue(&accepted, tenants[0]);
	struct wl_lease lease = await_lease("S1", accepted.eid);
	assert_int_equal(lease.epoch, 1);
	assert_int_equal(lease.tenant, tenants[0]);
	assert_int_equal(start("S1", &lease), WL_START_STARTED);
	assert_true(finish("S1", &lease));
	assert_int_equal(ask_redis("EXISTS {%02d}:x:%s", accepted.shard, accepted.eid), 0);
	assert_int_equal(ask_redis("SCARD {%02d}:own:S1", accepted.shard), 0);
	assert_int_equal(ask_redis("EXISTS {%02d}:inbox:full", accepted.shard), 0);
	withdraw("full");
}

static void what_was_never_enqueued_is_swept_in(void **state)
{
	(void)state;
	struct kit_accept accepted = accept_for(tenants[1], 60000);
	struct wl_lease lease = await_lease("S1", accepted.eid);
	assert_int_equal(start("S1", &lease), WL_START_STARTED);
	assert_true(finish("S1", &lease));
}

static void a_lost_attempt_is_fenced_and_runs_again(void **state)
{
	(void)state;
	struct kit_accept accepted = accept_for(tenants[2], 60000);
	enqueue(&accepted, tenants[2]);
	struct wl_lease lost = await_lease("S1", accepted.eid);
	assert_int_equal(start("S1", &lost), WL_START_STARTED);
	/* S1 renews nothing; its offer expires */
	struct wl_lease again = await_lease("S1", accepted.eid);
	assert_int_equal(again.epoch, 2);
	assert_false(finish("S1", &lost));
	assert_int_equal(ask_redis("EXISTS {%02d}:x:%s", accepted.shard, accepted.eid), 1);
	assert_int_equal(start("S1", &again), WL_START_STARTED);
	assert_true(finish("S1", &again));
	await_status(tenants[2], accepted.eid, "succeeded");
}

static void a_claim_that_never_starts_comes_again(void **state)
{
	(void)state;
	struct kit_accept accepted = accept_for(tenants[2], 60000);
	enqueue(&accepted, tenants[2]);
	struct wl_lease lost = await_lease("S1", accepted.eid);
	struct wl_lease again = await_lease("S1", accepted.eid);
	assert_int_equal(again.epoch, lost.epoch + 1);
	assert_int_equal(start("S1", &lost), WL_START_STALE);
	assert_int_equal(start("S1", &again), WL_START_STARTED);
	assert_true(finish("S1", &again));
}

static void a_run_that_kills_its_supervisors_is_poison(void **state)
{
	(void)state;
	struct kit_accept accepted = accept_for(tenants[3], 60000);
	long most = settings.max_deliveries;
	enqueue(&accepted, tenants[3]);
	for (long i = 0; i <= most; i++) {
		struct wl_lease lease = await_lease("S1", accepted.eid);
		assert_int_equal(start("S1", &lease), WL_START_STARTED);
	}
	await_status(tenants[3], accepted.eid, "failed poison");
	await_no_entry(accepted.shard, accepted.eid);
}

static void run_sql(const char *fmt, ...)
{
	char sql[512], value[256];
	va_list args;
	va_start(args, fmt);
	(void)vsnprintf(sql, sizeof(sql), fmt, args);
	va_end(args);
	(void)kit_value(admin, value, sql);
}

static void a_damaged_tenant_holds_up_no_other(void **state)
{
	(void)state;
	int damaged = tenants[3], healthy = tenants[2];
	struct kit_accept bad = accept_for(damaged, 60000), good = accept_for(healthy, 60000);
	run_sql("UPDATE control.dispatch SET shard = %d WHERE eid = '%s'", bad.shard, good.eid);
	good.shard = bad.shard;
	enqueue(&bad, damaged);
	struct wl_lease lease = await_lease("S1", bad.eid);
	assert_int_equal(start("S1", &lease), WL_START_STARTED);
	/* to give this one up means to end it, and its terminal row cannot be written */
	run_sql("UPDATE control.dispatch SET cancel = true WHERE eid = '%s'", bad.eid);
	run_sql("ALTER TABLE t_%d.executions RENAME TO hidden", damaged);
	enqueue(&good, healthy);
	lease = await_lease("S1", good.eid);
	assert_int_equal(start("S1", &lease), WL_START_STARTED);
	lease = await_lease("S1", good.eid);
	assert_int_equal(start("S1", &lease), WL_START_STARTED);
	assert_true(finish("S1", &lease));
	run_sql("ALTER TABLE t_%d.hidden RENAME TO executions", damaged);
	await_status(damaged, bad.eid, "cancelled");
	await_no_entry(bad.shard, bad.eid);
}

static void an_end_that_cannot_be_written_holds_up_no_other_deadline(void **state)
{
	(void)state;
	withdraw("S1");
	int damaged = tenants[3], healthy = tenants[2];
	struct kit_accept bad = accept_for(damaged, 100), good = accept_for(healthy, 300);
	run_sql("ALTER TABLE t_%d.executions RENAME TO hidden", damaged);
	enqueue(&bad, damaged);
	enqueue(&good, healthy);
	await_status(healthy, good.eid, "timeout deadline");
	run_sql("ALTER TABLE t_%d.hidden RENAME TO executions", damaged);
	await_status(damaged, bad.eid, "timeout deadline");
	await_no_entry(bad.shard, bad.eid);
	announce("S1", 4);
}

static void a_cancel_that_the_queue_never_heard_of_comes_through(void **state)
{
	(void)state;
	struct wl_error err = { 0 };
	enum wl_renew_outcome outcome;
	char eid[WL_UUID_TEXT] = "";
	struct kit_accept accepted = accept_for(tenants[5], 60000);
	enqueue(&accepted, tenants[5]);
	struct wl_lease lease = await_lease("S1", accepted.eid);
	assert_int_equal(start("S1", &lease), WL_START_STARTED);
	assert_int_equal(queue.renew(queue.self, "S1", &lease, 1, 60000, &outcome, &err), 0);
	assert_int_equal(outcome, WL_RENEW_KEPT);
	assert_int_equal(queue.wait_cancel(queue.self, "S1", 1, eid, &err), 0); /* from here on it listens */
	run_sql("UPDATE control.dispatch SET cancel = true WHERE eid = '%s'", accepted.eid);
	assert_int_equal(queue.wait_cancel(queue.self, "S1", PATIENCE_MS, eid, &err), 1);
	assert_string_equal(eid, accepted.eid);
	assert_int_equal(queue.renew(queue.self, "S1", &lease, 1, 60000, &outcome, &err), 0);
	assert_int_equal(outcome, WL_RENEW_CANCEL);
	assert_true(finish("S1", &lease));
	await_no_entry(accepted.shard, accepted.eid);
}

static void a_deadline_ends_what_waits_and_frees_its_place(void **state)
{
	(void)state;
	withdraw("S1");
	struct kit_accept accepted = accept_for(tenants[4], 300);
	enqueue(&accepted, tenants[4]);
	await_status(tenants[4], accepted.eid, "timeout deadline");
	await_no_entry(accepted.shard, accepted.eid);
	assert_int_equal(ask_redis("ZCARD {%02d}:ring", accepted.shard), 0);
	announce("S1", 4);
}

static void an_emptied_queue_is_rebuilt_as_the_ledger_says(void **state)
{
	(void)state;
	/* one runs, one waits */
	struct kit_accept running = accept_for(tenants[5], 60000);
	enqueue(&running, tenants[5]);
	struct wl_lease held = await_lease("S1", running.eid);
	assert_int_equal(start("S1", &held), WL_START_STARTED);
	withdraw("S1");
	struct kit_accept waiting = accept_for(tenants[5], 60000);
	struct wl_lease old = { .shard = waiting.shard, .epoch = 1, .gen = held.gen, .tenant = tenants[5] };
	memcpy(old.eid, waiting.eid, sizeof(old.eid));
	enqueue(&waiting, tenants[5]);
	assert_int_equal(ask_redis("FLUSHALL"), 0);
	announce("S1", 4);
	struct wl_lease lease = await_lease("S1", waiting.eid);
	assert_true(lease.gen > held.gen);
	assert_int_equal(start("S1", &old), WL_START_STALE);
	assert_int_equal(start("S1", &lease), WL_START_STARTED);
	/* the run that went on meanwhile still holds its lease, with the gen that it knows */
	enum wl_renew_outcome outcome;
	struct wl_error err = { 0 };
	assert_int_equal(queue.renew(queue.self, "S1", &held, 1, 60000, &outcome, &err), 0);
	assert_int_equal(outcome, WL_RENEW_KEPT);
	assert_true(finish("S1", &held));
	assert_true(finish("S1", &lease));
	await_no_entry(running.shard, running.eid);
	await_no_entry(waiting.shard, waiting.eid);
}

static void a_new_redis_is_noticed_and_filled(void **state)
{
	(void)state;
	struct kit_accept waiting = accept_for(tenants[0], 60000);
	servers_kill_redis(&servers);
	servers_start_redis(&servers);
	connect_redis();
	struct wl_error err = { 0 };
	uint64_t end = wl_clock_boot_ms() + PATIENCE_MS;
	while (queue.announce(queue.self, "S1", 4, ANNOUNCE_MS, &err) < 0)
		assert_true(wl_clock_boot_ms() < end);
	struct wl_lease lease = await_lease("S1", waiting.eid);
	assert_int_equal(start("S1", &lease), WL_START_STARTED);
	assert_true(finish("S1", &lease));
}

static void a_restart_of_postgresql_is_survived(void **state)
{
	(void)state;
	struct wl_error err = { 0 };
	struct wl_shard_row rows[WL_SHARDS];
	servers_kill_postgres(&servers);
	servers_restart_postgres(&servers);
	PQreset(admin);
	PQreset(app);
	uint64_t end = wl_clock_boot_ms() + PATIENCE_MS;
	while (ledger.shards(ledger.self, rows, &err) < 0)
		assert_true(wl_clock_boot_ms() < end);
	struct kit_accept accepted = accept_for(tenants[1], 60000);
	struct wl_lease lease = await_lease("S1", accepted.eid);
	assert_int_equal(start("S1", &lease), WL_START_STARTED);
	assert_true(finish("S1", &lease));
}

/* Two schedulers, two supervisors, tenants with a cap: each execution ends once, no cap is broken. */
static void a_burst_is_run_once_each_within_the_caps(void **state)
{
	(void)state;
	struct wl_error err = { 0 };
	char value[256];
	const char *const names[] = { "S1", "S2" };
	int finished = 0, held = 0;
	struct wl_lease leases[BURST];
	(void)kit_value(admin, value, "UPDATE control.quota SET max_concurrent = 3");
	/* the copy of the shares follows within seconds; wait for it */
	uint64_t end = wl_clock_boot_ms() + PATIENCE_MS;
	for (int i = 0; i < TENANTS;) {
		redisReply *reply = redisCommand(redis, "HGET {%02d}:cfg %d", tenants[i] % WL_SHARDS, tenants[i]);
		i += reply->str && strstr(reply->str, " 3 ") ? 1 : 0;
		freeReplyObject(reply);
		assert_true(wl_clock_boot_ms() < end);
		(void)usleep(2000);
	}
	announce("S1", 8);
	announce("S2", 8);
	for (int i = 0; i < BURST; i++) {
		struct kit_accept accepted = accept_for(tenants[i % TENANTS], 60000);
		enqueue(&accepted, tenants[i % TENANTS]);
	}
	end = wl_clock_boot_ms() + PATIENCE_MS;
	for (int turn = 0; finished < BURST && wl_clock_boot_ms() < end; turn++) {
		const char *name = names[turn % 2];
		int count = queue.take(queue.self, name, leases, 8, 20, &err);
		for (int i = 0; i < count; i++) {
			/* a lease that waited too long here may have been given up: then it comes again */
			if (start(name, &leases[i]) != WL_START_STARTED)
				continue;
			(void)kit_value(admin, value,
					"SELECT max(n) FROM (SELECT count(*) AS n FROM control.dispatch "
					"WHERE state = 'R' GROUP BY tenant) c");
			held = atoi(value) > held ? atoi(value) : held;
			/* likewise: who was given up between start and finish has nothing to finish */
			finished += finish(name, &leases[i]);
		}
	}
	assert_int_equal(finished, BURST);
	assert_in_range(held, 1, 3);
	assert_string_equal(kit_value(admin, value, "SELECT count(*) FROM control.dispatch"), "0");
	for (int shard = 0; shard < WL_SHARDS; shard++) {
		assert_int_equal(ask_redis("ZCARD {%02d}:lease", shard), 0);
		assert_int_equal(ask_redis("ZCARD {%02d}:ring", shard), 0);
		assert_int_equal(ask_redis("SCARD {%02d}:own:S1", shard), 0);
		assert_int_equal(ask_redis("SCARD {%02d}:own:S2", shard), 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_execution_comes_to_a_supervisor_with_room),
		cmocka_unit_test(what_was_never_enqueued_is_swept_in),
		cmocka_unit_test(a_lost_attempt_is_fenced_and_runs_again),
		cmocka_unit_test(a_claim_that_never_starts_comes_again),
		cmocka_unit_test(a_run_that_kills_its_supervisors_is_poison),
		cmocka_unit_test(a_damaged_tenant_holds_up_no_other),
		cmocka_unit_test(an_end_that_cannot_be_written_holds_up_no_other_deadline),
		cmocka_unit_test(a_cancel_that_the_queue_never_heard_of_comes_through),
		cmocka_unit_test(a_deadline_ends_what_waits_and_frees_its_place),
		cmocka_unit_test(an_emptied_queue_is_rebuilt_as_the_ledger_says),
		cmocka_unit_test(a_new_redis_is_noticed_and_filled),
		cmocka_unit_test(a_restart_of_postgresql_is_survived),
		cmocka_unit_test(a_burst_is_run_once_each_within_the_caps),
	};
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
