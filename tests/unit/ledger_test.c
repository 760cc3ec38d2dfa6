/* The ledger port against a real PostgreSQL: what each function promises, in the order of an execution's life. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "lib/base/clock.h"
#include "lib/base/ids.h"
#include "tests/kit/ledger_stage.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct kit_accept accept_one(const char *inputs, int64_t timeout_ms)
{
	char eid[WL_UUID_TEXT];
	struct kit_accept accepted =
		kit_accept(app, tenant, wl_uuid7(wl_clock_wall_ms(), eid), inputs, NULL, NULL, timeout_ms);
	assert_string_equal(accepted.outcome, "accepted");
	return accepted;
}

static struct wl_lease lease_of(const struct kit_accept *accepted, int epoch)
{
	struct wl_lease lease = { .tenant = tenant, .shard = accepted->shard, .epoch = epoch, .gen = accepted->gen };
	memcpy(lease.eid, accepted->eid, sizeof(lease.eid));
	return lease;
}

static enum wl_start_outcome start_one(struct wl_lease lease)
{
	struct wl_error err = { 0 };
	struct wl_start started = { 0 };
	assert_int_equal(ledger.start(ledger.self, "S1", &lease, 1, &started, &err), 0);
	wl_start_release(&started);
	return started.outcome;
}

static bool finish_one(const char *eid, int epoch, enum wl_run_state state, const char *outputs, const char *error)
{
	struct wl_error err = { 0 };
	struct wl_finish item = { .epoch = epoch, .state = state, .outputs_json = outputs, .error_json = error };
	memcpy(item.eid, eid, sizeof(item.eid));
	assert_int_equal(ledger.finish(ledger.self, &item, 1, &err), 0);
	return item.done;
}

static enum wl_fence_outcome fence_one(const char *eid, int epoch, int max_deliveries)
{
	struct wl_error err = { 0 };
	struct wl_fence item = { .epoch = epoch };
	memcpy(item.eid, eid, sizeof(item.eid));
	assert_int_equal(ledger.fence(ledger.self, &item, 1, max_deliveries, &err), 0);
	return item.outcome;
}

static void assert_column(const char *eid, const char *column, const char *expected)
{
	char sql[256], value[256];
	(void)snprintf(sql, sizeof(sql), "SELECT %s FROM t_%d.executions WHERE id = '%s'", column, tenant, eid);
	assert_string_equal(kit_value(admin, value, sql), expected);
}

static void assert_in_ledger(const char *eid, bool expected)
{
	char sql[256], value[256];
	(void)snprintf(sql, sizeof(sql), "SELECT count(*) FROM control.dispatch WHERE eid = '%s'", eid);
	assert_string_equal(kit_value(admin, value, sql), expected ? "1" : "0");
}

static void a_run_goes_from_accept_to_its_end(void **state)
{
	(void)state;
	struct wl_error err = { 0 };
	struct kit_accept accepted = accept_one("{\"text\": \"a \\\"quoted\\\" \\\\ word\"}", 60000);
	struct wl_lease lease = lease_of(&accepted, 1);
	struct wl_start started = { 0 };
	assert_int_equal(ledger.start(ledger.self, "S1", &lease, 1, &started, &err), 0);
	assert_int_equal(started.outcome, WL_START_STARTED);
	assert_int_equal(started.tenant, tenant);
	assert_string_equal(started.flow_id, KIT_FLOW);
	assert_string_equal(started.inputs_json, "{\"text\":\"a \\\"quoted\\\" \\\\ word\"}");
	assert_in_range(started.deadline_left_ms, 30000, 60000);
	wl_start_release(&started);

	char *document = NULL;
	assert_int_equal(ledger.flow_doc(ledger.self, tenant, started.doc_hash, &document, &err), 0);
	assert_string_equal(document, "{\"nodes\":[]}");
	free(document);

	assert_true(finish_one(accepted.eid, 1, WL_RUN_SUCCEEDED, "{\"o\": \"x\\\"{,}\\\\ NULL\"}", NULL));
	assert_column(accepted.eid, "status", "succeeded");
	assert_column(accepted.eid, "outputs", "{\"o\": \"x\\\"{,}\\\\ NULL\"}");
	assert_column(accepted.eid, "error IS NULL", "t");
	assert_in_ledger(accepted.eid, false);
	assert_false(finish_one(accepted.eid, 1, WL_RUN_FAILED, NULL, "{}"));
	assert_column(accepted.eid, "status", "succeeded");
}

static void an_unknown_document_is_not_found(void **state)
{
	(void)state;
	struct wl_error err = { 0 };
	unsigned char hash[WL_HASH_BYTES] = { 1, 2, 3 };
	char *document = NULL;
	assert_int_equal(ledger.flow_doc(ledger.self, tenant, hash, &document, &err), -ENOENT);
	assert_null(document);
}

static void large_inputs_come_from_the_tenants_row(void **state)
{
	(void)state;
	char inputs[20001];
	(void)snprintf(inputs, sizeof(inputs), "{\"a\":\"%019990d\"}", 7);
	struct kit_accept accepted = accept_one(inputs, 60000);
	struct wl_lease lease = lease_of(&accepted, 1);
	struct wl_start started = { 0 };
	struct wl_error err = { 0 };
	assert_int_equal(ledger.start(ledger.self, "S1", &lease, 1, &started, &err), 0);
	assert_string_equal(started.inputs_json, inputs);
	wl_start_release(&started);
	assert_true(finish_one(accepted.eid, 1, WL_RUN_SUCCEEDED, "{}", NULL));
}

static void an_attempt_starts_once_and_only_forward(void **state)
{
	(void)state;
	struct kit_accept accepted = accept_one("{}", 60000);
	assert_int_equal(start_one(lease_of(&accepted, 2)), WL_START_STARTED);
	assert_int_equal(start_one(lease_of(&accepted, 2)), WL_START_STALE);
	assert_int_equal(start_one(lease_of(&accepted, 1)), WL_START_STALE);
	assert_false(finish_one(accepted.eid, 1, WL_RUN_SUCCEEDED, "{}", NULL));
	assert_true(finish_one(accepted.eid, 2, WL_RUN_SUCCEEDED, "{}", NULL));
	assert_int_equal(start_one(lease_of(&accepted, 3)), WL_START_GONE);
}

static void an_old_gen_starts_nothing(void **state)
{
	(void)state;
	struct wl_error err = { 0 };
	struct kit_accept accepted = accept_one("{}", 60000);
	int64_t gen = 0;
	assert_int_equal(ledger.shard_renew(ledger.self, accepted.shard, "run-2", &gen, &err), 0);
	assert_int_equal(gen, accepted.gen + 1);
	assert_int_equal(start_one(lease_of(&accepted, 1)), WL_START_STALE);
	accepted.gen = gen;
	assert_int_equal(start_one(lease_of(&accepted, 1)), WL_START_STARTED);
	struct wl_shard_row rows[WL_SHARDS];
	assert_int_equal(ledger.shards(ledger.self, rows, &err), 0);
	assert_int_equal(rows[accepted.shard].gen, gen);
	assert_string_equal(rows[accepted.shard].redis_run_id, "run-2");
	assert_true(finish_one(accepted.eid, 1, WL_RUN_SUCCEEDED, NULL, NULL));
}

static void a_batch_answers_in_the_order_asked(void **state)
{
	(void)state;
	struct wl_error err = { 0 };
	struct kit_accept accepted[3] = { accept_one("{\"n\":0}", 60000), accept_one("{\"n\":1}", 60000),
					  accept_one("{\"n\":2}", 60000) };
	struct wl_lease leases[3] = { lease_of(&accepted[2], 1), lease_of(&accepted[0], 1), lease_of(&accepted[1], 1) };
	struct wl_start starts[3] = { 0 };
	assert_int_equal(ledger.start(ledger.self, "S1", leases, 3, starts, &err), 0);
	assert_string_equal(starts[0].inputs_json, "{\"n\":2}");
	assert_string_equal(starts[1].inputs_json, "{\"n\":0}");
	assert_string_equal(starts[2].inputs_json, "{\"n\":1}");
	struct wl_finish items[3] = { 0 };
	for (int i = 0; i < 3; i++) {
		wl_start_release(&starts[i]);
		memcpy(items[i].eid, leases[i].eid, sizeof(items[i].eid));
		items[i].epoch = i == 1 ? 9 : 1;
		items[i].state = i == 0 ? WL_RUN_FAILED : WL_RUN_SUCCEEDED;
		items[i].error_json = i == 0 ? "{\"code\":\"exit\"}" : NULL;
	}
	assert_int_equal(ledger.finish(ledger.self, items, 3, &err), 0);
	assert_true(items[0].done);
	assert_false(items[1].done);
	assert_true(items[2].done);
	assert_column(items[0].eid, "status || (error->>'code')", "failedexit");
	assert_true(finish_one(items[1].eid, 1, WL_RUN_SUCCEEDED, NULL, NULL));
}

static void a_fenced_attempt_cannot_finish(void **state)
{
	(void)state;
	struct kit_accept accepted = accept_one("{}", 60000);
	assert_int_equal(start_one(lease_of(&accepted, 1)), WL_START_STARTED);
	assert_int_equal(fence_one(accepted.eid, 1, 3), WL_FENCE_REQUEUE);
	assert_false(finish_one(accepted.eid, 1, WL_RUN_SUCCEEDED, "{}", NULL));
	assert_int_equal(start_one(lease_of(&accepted, 1)), WL_START_STALE);
	assert_int_equal(start_one(lease_of(&accepted, 2)), WL_START_STARTED);
	assert_int_equal(fence_one(accepted.eid, 1, 3), WL_FENCE_NEWER);
	assert_true(finish_one(accepted.eid, 2, WL_RUN_SUCCEEDED, "{}", NULL));
	assert_int_equal(fence_one(accepted.eid, 2, 3), WL_FENCE_GONE);
}

static void a_claim_that_never_started_is_fenced_too(void **state)
{
	(void)state;
	struct kit_accept accepted = accept_one("{}", 60000);
	assert_int_equal(fence_one(accepted.eid, 1, 3), WL_FENCE_REQUEUE);
	/* the late start of the attempt that was given up */
	assert_int_equal(start_one(lease_of(&accepted, 1)), WL_START_STALE);
	assert_int_equal(start_one(lease_of(&accepted, 2)), WL_START_STARTED);
	assert_true(finish_one(accepted.eid, 2, WL_RUN_SUCCEEDED, "{}", NULL));
}

static void what_is_lost_too_often_is_poison(void **state)
{
	(void)state;
	struct kit_accept accepted = accept_one("{}", 60000);
	for (int epoch = 1; epoch <= 3; epoch++) {
		assert_int_equal(start_one(lease_of(&accepted, epoch)), WL_START_STARTED);
		assert_int_equal(fence_one(accepted.eid, epoch, 3), WL_FENCE_REQUEUE);
	}
	assert_int_equal(start_one(lease_of(&accepted, 4)), WL_START_STARTED);
	assert_int_equal(fence_one(accepted.eid, 4, 3), WL_FENCE_POISON);
	assert_column(accepted.eid, "status || ' ' || (error->>'code')", "failed poison");
	assert_in_ledger(accepted.eid, false);
}

static void a_release_is_no_delivery(void **state)
{
	(void)state;
	struct wl_error err = { 0 };
	struct kit_accept accepted = accept_one("{}", 60000);
	struct wl_lease leases[2] = { lease_of(&accepted, 1), lease_of(&accepted, 7) };
	bool released[2] = { false, true };
	assert_int_equal(start_one(leases[0]), WL_START_STARTED);
	assert_int_equal(ledger.release(ledger.self, leases, 2, released, &err), 0);
	assert_true(released[0]);
	assert_int_equal(ledger.release(ledger.self, leases, 1, released, &err), 0);
	assert_false(released[0]);
	struct wl_lease next = lease_of(&accepted, 2);
	struct wl_start started = { 0 };
	assert_int_equal(ledger.start(ledger.self, "S2", &next, 1, &started, &err), 0);
	assert_int_equal(started.outcome, WL_START_STARTED);
	assert_int_equal(started.deliveries, 0);
	wl_start_release(&started);
	assert_true(finish_one(accepted.eid, 2, WL_RUN_SUCCEEDED, "{}", NULL));
}

static char *cancel_outcome(const char *eid, char value[256])
{
	char sql[512];
	(void)snprintf(sql, sizeof(sql), "BEGIN; SET LOCAL ROLE t_%d", tenant);
	PQclear(PQexec(app, sql));
	(void)snprintf(sql, sizeof(sql), "SELECT outcome FROM control.cancel('%s')", eid);
	(void)kit_value(app, value, sql);
	PQclear(PQexec(app, "COMMIT"));
	return value;
}

static void cancel_ends_a_waiting_run_and_marks_a_running_one(void **state)
{
	(void)state;
	char value[256];
	struct kit_accept waiting = accept_one("{}", 60000), running = accept_one("{}", 60000);
	assert_string_equal(cancel_outcome(waiting.eid, value), "cancelled");
	assert_column(waiting.eid, "status", "cancelled");
	assert_int_equal(start_one(lease_of(&waiting, 1)), WL_START_GONE);
	assert_string_equal(cancel_outcome(waiting.eid, value), "gone");

	assert_int_equal(start_one(lease_of(&running, 1)), WL_START_STARTED);
	assert_string_equal(cancel_outcome(running.eid, value), "cancelling");
	assert_column(running.eid, "status", "queued");
	assert_int_equal(fence_one(running.eid, 1, 3), WL_FENCE_CANCELLED);
	assert_column(running.eid, "status", "cancelled");
	assert_in_ledger(running.eid, false);
}

static void a_release_after_a_cancel_ends_at_the_next_start(void **state)
{
	(void)state;
	char value[256];
	struct wl_error err = { 0 };
	bool released = false;
	struct kit_accept accepted = accept_one("{}", 60000);
	struct wl_lease lease = lease_of(&accepted, 1);
	assert_int_equal(start_one(lease), WL_START_STARTED);
	assert_string_equal(cancel_outcome(accepted.eid, value), "cancelling");
	assert_int_equal(ledger.release(ledger.self, &lease, 1, &released, &err), 0);
	assert_true(released);
	assert_int_equal(start_one(lease_of(&accepted, 2)), WL_START_CANCELLED);
	assert_column(accepted.eid, "status", "cancelled");
}

static void deadlines_end_waiting_runs_at_once_and_running_ones_after_the_grace(void **state)
{
	(void)state;
	struct wl_error err = { 0 };
	struct wl_expired items[8];
	struct kit_accept waiting = accept_one("{}", -1), running = accept_one("{}", -1),
			  later = accept_one("{}", 60000);
	assert_int_equal(start_one(lease_of(&running, 1)), WL_START_STARTED);
	assert_int_equal(ledger.expire_overdue(ledger.self, 60000, items, 8, &err), 1);
	assert_string_equal(items[0].eid, waiting.eid);
	assert_int_equal(items[0].shard, waiting.shard);
	assert_column(waiting.eid, "status || ' ' || (error->>'code')", "timeout deadline");
	assert_int_equal(ledger.expire_overdue(ledger.self, 0, items, 8, &err), 1);
	assert_string_equal(items[0].eid, running.eid);
	assert_int_equal(items[0].epoch, 1);
	assert_false(finish_one(running.eid, 1, WL_RUN_SUCCEEDED, "{}", NULL));
	assert_in_ledger(later.eid, true);
	assert_int_equal(start_one(lease_of(&later, 1)), WL_START_STARTED);
	assert_true(finish_one(later.eid, 1, WL_RUN_SUCCEEDED, "{}", NULL));
}

static void pages_follow_the_order_of_acceptance(void **state)
{
	(void)state;
	struct wl_error err = { 0 };
	struct kit_accept accepted[3];
	struct wl_dispatch_row rows[8];
	for (int i = 0; i < 3; i++)
		accepted[i] = accept_one("{}", 60000);
	assert_int_equal(start_one(lease_of(&accepted[1], 4)), WL_START_STARTED);
	int64_t before = accepted[0].seq - 1;
	assert_int_equal(ledger.page(ledger.self, accepted[0].shard, before, 0, rows, 2, &err), 2);
	assert_string_equal(rows[0].eid, accepted[0].eid);
	assert_false(rows[0].running);
	assert_true(rows[1].running);
	assert_int_equal(rows[1].epoch, 4);
	assert_string_equal(rows[1].supervisor, "S1");
	assert_int_equal(ledger.page(ledger.self, accepted[0].shard, rows[1].seq, 0, rows, 8, &err), 1);
	assert_string_equal(rows[0].eid, accepted[2].eid);
	assert_int_equal(rows[0].seq, accepted[2].seq);
	/* the sweeper's age: nothing here is a minute old */
	assert_int_equal(ledger.page(ledger.self, accepted[0].shard, before, 60000, rows, 8, &err), 0);
	unsigned in_use = 0;
	assert_int_equal(ledger.shards_in_use(ledger.self, 0, &in_use, &err), 0);
	assert_true(in_use >> accepted[0].shard & 1);
	assert_int_equal(ledger.shards_in_use(ledger.self, 60000, &in_use, &err), 0);
	assert_int_equal(in_use, 0);
	for (int i = 0; i < 3; i++)
		if (i != 1)
			assert_int_equal(start_one(lease_of(&accepted[i], 4)), WL_START_STARTED);
	for (int i = 0; i < 3; i++)
		assert_true(finish_one(accepted[i].eid, 4, WL_RUN_SUCCEEDED, NULL, NULL));
	assert_int_equal(ledger.shards_in_use(ledger.self, 0, &in_use, &err), 0);
	assert_int_equal(in_use, 0);
}

static void only_one_session_rebuilds_a_shard(void **state)
{
	(void)state;
	struct wl_error err = { 0 };
	struct wl_ledger other;
	assert_int_equal(wl_postgres_ledger_open(servers.postgres_url, &other, &err), 0);
	assert_int_equal(ledger.rebuild_lock(ledger.self, 5, &err), 1);
	assert_int_equal(other.rebuild_lock(other.self, 5, &err), 0);
	assert_int_equal(other.rebuild_lock(other.self, 6, &err), 1);
	assert_int_equal(ledger.rebuild_unlock(ledger.self, 5, &err), 1);
	assert_int_equal(other.rebuild_lock(other.self, 5, &err), 1);
	other.close(other.self);
}

static void who_says_nothing_loses_the_rebuild(void **state)
{
	(void)state;
	struct wl_error err = { 0 };
	struct wl_ledger silent;
	struct wl_shard_row rows[WL_SHARDS];
	uint64_t end = wl_clock_boot_ms() + 30000;
	assert_int_equal(wl_postgres_ledger_open(servers.postgres_url, &silent, &err), 0);
	assert_int_equal(silent.rebuild_lock(silent.self, 9, &err), 1);
	int locked = ledger.rebuild_lock(ledger.self, 9, &err);
	assert_int_equal(locked, 0);
	while ((locked = ledger.rebuild_lock(ledger.self, 9, &err)) == 0) {
		assert_true(wl_clock_boot_ms() < end);
		(void)usleep(20000);
	}
	assert_int_equal(locked, 1);
	assert_int_equal(silent.shards(silent.self, rows, &err), -EPIPE);
	assert_int_equal(ledger.rebuild_unlock(ledger.self, 9, &err), 1);
	silent.close(silent.self);
}

static void shares_name_the_shards_tenants(void **state)
{
	(void)state;
	struct wl_error err = { 0 };
	char sql[256], value[256];
	struct wl_tenant_share *shares = NULL;
	(void)snprintf(sql, sizeof(sql),
		       "UPDATE control.quota SET weight = 3, max_concurrent = 7, max_queued = 9 "
		       "WHERE tenant = %d",
		       tenant);
	(void)kit_value(admin, value, sql);
	assert_int_equal(ledger.shares(ledger.self, tenant % WL_SHARDS, &shares, &err), 1);
	assert_int_equal(shares[0].tenant, tenant);
	assert_int_equal(shares[0].weight, 3);
	assert_int_equal(shares[0].cap, 7);
	assert_int_equal(shares[0].max_queued, 9);
	free(shares);
	assert_true(ledger.shares(ledger.self, WL_EVERY_SHARD, &shares, &err) >= 1);
	for (int i = 1; shares[i].tenant; i++) /* one row of zeros is behind them */
		assert_true(shares[i].tenant > shares[i - 1].tenant);
	free(shares);
	assert_int_equal(ledger.janitor(ledger.self, &err), 0);
}

/* ---- quota and idempotency under parallel calls ---------------------------------------------------------- */

#define PARALLEL 200
#define CONNECTIONS 20

struct acceptor {
	pthread_t thread;
	int tenant, first, accepted, refused, replayed;
	const char *idem;
};

static void *accept_many(void *context)
{
	struct acceptor *own = context;
	PGconn *connection = PQconnectdb(servers.postgres_url);
	char eid[WL_UUID_TEXT];
	for (int i = 0; i < PARALLEL / CONNECTIONS; i++) {
		struct kit_accept got = kit_accept(connection, own->tenant, wl_uuid7(wl_clock_wall_ms(), eid), "{}",
						   own->idem, "aa", 60000);
		own->accepted += strcmp(got.outcome, "accepted") == 0;
		own->replayed += strcmp(got.outcome, "replayed") == 0;
		own->refused += strcmp(got.outcome, "quota") == 0 || strcmp(got.outcome, "backlog") == 0;
	}
	PQfinish(connection);
	return NULL;
}

static struct acceptor accept_in_parallel(int for_tenant, const char *idem)
{
	struct acceptor own[CONNECTIONS], sum = { 0 };
	for (int i = 0; i < CONNECTIONS; i++) {
		own[i] = (struct acceptor){ .tenant = for_tenant, .idem = idem };
		assert_int_equal(pthread_create(&own[i].thread, NULL, accept_many, &own[i]), 0);
	}
	for (int i = 0; i < CONNECTIONS; i++) {
		assert_int_equal(pthread_join(own[i].thread, NULL), 0);
		sum.accepted += own[i].accepted;
		sum.refused += own[i].refused;
		sum.replayed += own[i].replayed;
	}
	return sum;
}

static void a_quota_is_exact_under_parallel_accepts(void **state)
{
	(void)state;
	char sql[256], value[256];
	int limited = kit_tenant(admin, "limited");
	(void)snprintf(sql, sizeof(sql), "UPDATE control.quota SET max_executions_per_day = 100 WHERE tenant = %d",
		       limited);
	(void)kit_value(admin, value, sql);
	struct acceptor sum = accept_in_parallel(limited, NULL);
	assert_int_equal(sum.accepted, 100);
	assert_int_equal(sum.refused, PARALLEL - 100);
	(void)snprintf(
		sql, sizeof(sql),
		"SELECT (SELECT count(*) FROM t_%1$d.executions) || ' ' || (SELECT count(*) FROM control.dispatch "
		"WHERE tenant = %1$d) || ' ' || (SELECT executions FROM control.tenant_day WHERE tenant = %1$d)",
		limited);
	assert_string_equal(kit_value(admin, value, sql), "100 100 100");
}

/* No more wait than may, however many ask at once; who is refused is told the limit and may come again soon. */
static void a_full_queue_accepts_no_more_until_one_leaves(void **state)
{
	(void)state;
	char sql[768], value[256], eid[WL_UUID_TEXT];
	int full = kit_tenant(admin, "backlogged");
	(void)snprintf(sql, sizeof(sql), "UPDATE control.quota SET max_queued = 30 WHERE tenant = %d", full);
	(void)kit_value(admin, value, sql);
	struct acceptor sum = accept_in_parallel(full, NULL);
	assert_int_equal(sum.accepted, 30);
	assert_int_equal(sum.refused, PARALLEL - 30);
	(void)snprintf(sql, sizeof(sql), "BEGIN; SET LOCAL ROLE t_%d", full);
	(void)kit_value(app, value, sql);
	(void)snprintf(sql, sizeof(sql),
		       "SELECT outcome || ' ' || quota || ' ' || used || ' ' || resets_s FROM control.accept_batch("
		       "'[{\"ord\":0,\"eid\":\"%s\",\"flow\":\"" KIT_FLOW "\",\"inputs\":{},\"timeout_ms\":60000,"
		       "\"user_id\":\"" KIT_USER "\",\"idem\":\"again\",\"req_hash\":\"aa\"}]')",
		       wl_uuid7(wl_clock_wall_ms(), eid));
	assert_string_equal(kit_value(app, value, sql), "backlog 30 30 1");
	(void)kit_value(app, value, "COMMIT");
	(void)snprintf(sql, sizeof(sql), "SELECT eid FROM control.dispatch WHERE tenant = %d LIMIT 1", full);
	struct kit_accept first = { .shard = full % WL_SHARDS };
	(void)snprintf(first.eid, sizeof(first.eid), "%.36s", kit_value(admin, value, sql));
	(void)snprintf(sql, sizeof(sql), "SELECT gen FROM control.shard WHERE id = %d", first.shard);
	first.gen = atoll(kit_value(admin, value, sql));
	assert_int_equal(start_one(lease_of(&first, 1)), WL_START_STARTED);
	struct kit_accept next;
	uint64_t end = wl_clock_boot_ms() + 20000;
	do { /* the next count follows within a second */
		assert_true(wl_clock_boot_ms() < end);
		next = kit_accept(app, full, wl_uuid7(wl_clock_wall_ms(), eid), "{}", "again", "aa", 60000);
	} while (strcmp(next.outcome, "backlog") == 0);
	assert_string_equal(next.outcome, "accepted");
	(void)snprintf(sql, sizeof(sql),
		       "SELECT (SELECT count(*) FROM t_%1$d.executions) || ' ' || count(*) FROM control.dispatch "
		       "WHERE tenant = %1$d AND state = 'Q'",
		       full);
	assert_string_equal(kit_value(admin, value, sql), "31 30");
}

static void one_key_makes_one_execution(void **state)
{
	(void)state;
	char sql[256], value[256], eid[WL_UUID_TEXT];
	int keyed = kit_tenant(admin, "keyed");
	struct acceptor sum = accept_in_parallel(keyed, "key-1");
	assert_int_equal(sum.accepted, 1);
	assert_int_equal(sum.replayed, PARALLEL - 1);
	(void)snprintf(sql, sizeof(sql), "SELECT count(*) FROM t_%d.executions", keyed);
	assert_string_equal(kit_value(admin, value, sql), "1");
	struct kit_accept other = kit_accept(app, keyed, wl_uuid7(wl_clock_wall_ms(), eid), "{}", "key-1", "bb", 60000);
	assert_string_equal(other.outcome, "key_reused");
}

/* ---- the connection ---------------------------------------------------------------------------------------- */

static void a_restart_of_the_server_is_survived(void **state)
{
	(void)state;
	struct wl_error err = { 0 };
	struct wl_shard_row rows[WL_SHARDS];
	assert_int_equal(ledger.shards(ledger.self, rows, &err), 0);
	servers_kill_postgres(&servers);
	int r = ledger.shards(ledger.self, rows, &err);
	assert_true(r == -EPIPE || r == -ECONNREFUSED);
	r = ledger.shards(ledger.self, rows, &err);
	assert_int_equal(r, -ECONNREFUSED);
	servers_restart_postgres(&servers);
	uint64_t end = wl_clock_boot_ms() + 5000;
	do
		r = ledger.shards(ledger.self, rows, &err);
	while (r == -ECONNREFUSED && wl_clock_boot_ms() < end);
	assert_int_equal(r, 0);
	PQreset(admin);
	PQreset(app);
}

static void a_bad_url_is_refused_without_its_password(void **state)
{
	(void)state;
	struct wl_error err = { 0 };
	struct wl_ledger none;
	assert_int_equal(wl_postgres_ledger_open("postgresql://u:secret@host:port:5/x?nonsense=1", &none, &err),
			 -EINVAL);
	assert_null(strstr(err.text, "secret"));
}

static void the_app_role_reads_no_table(void **state)
{
	(void)state;
	char sql[128];
	(void)snprintf(sql, sizeof(sql), "SELECT * FROM t_%d.executions", tenant);
	PGresult *result = PQexec(app, sql);
	assert_string_equal(PQresultErrorField(result, PG_DIAG_SQLSTATE), "42501");
	PQclear(result);
	result = PQexec(app, "SELECT * FROM control.dispatch");
	assert_string_equal(PQresultErrorField(result, PG_DIAG_SQLSTATE), "42501");
	PQclear(result);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_run_goes_from_accept_to_its_end),
		cmocka_unit_test(an_unknown_document_is_not_found),
		cmocka_unit_test(large_inputs_come_from_the_tenants_row),
		cmocka_unit_test(an_attempt_starts_once_and_only_forward),
		cmocka_unit_test(an_old_gen_starts_nothing),
		cmocka_unit_test(a_batch_answers_in_the_order_asked),
		cmocka_unit_test(a_fenced_attempt_cannot_finish),
		cmocka_unit_test(a_claim_that_never_started_is_fenced_too),
		cmocka_unit_test(what_is_lost_too_often_is_poison),
		cmocka_unit_test(a_release_is_no_delivery),
		cmocka_unit_test(cancel_ends_a_waiting_run_and_marks_a_running_one),
		cmocka_unit_test(a_release_after_a_cancel_ends_at_the_next_start),
		cmocka_unit_test(deadlines_end_waiting_runs_at_once_and_running_ones_after_the_grace),
		cmocka_unit_test(pages_follow_the_order_of_acceptance),
		cmocka_unit_test(only_one_session_rebuilds_a_shard),
		cmocka_unit_test(who_says_nothing_loses_the_rebuild),
		cmocka_unit_test(shares_name_the_shards_tenants),
		cmocka_unit_test(a_quota_is_exact_under_parallel_accepts),
		cmocka_unit_test(a_full_queue_accepts_no_more_until_one_leaves),
		cmocka_unit_test(one_key_makes_one_execution),
		cmocka_unit_test(a_restart_of_the_server_is_survived),
		cmocka_unit_test(a_bad_url_is_refused_without_its_password),
		cmocka_unit_test(the_app_role_reads_no_table),
	};
	return cmocka_run_group_tests(tests, ledger_stage_set_up, ledger_stage_tear_down);
}
