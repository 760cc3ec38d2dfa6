/* The ledger's third state: waits, approvals, subflows, parking and waking, against a real PostgreSQL. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "lib/base/cleanup.h"
#include "lib/base/clock.h"
#include "lib/base/ids.h"
#include "lib/codec/json.h"
#include "tests/kit/ledger_stage.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* An execution whose attempt 1 has started. */
static struct wl_lease start_new(int64_t timeout_ms)
{
	char eid[WL_UUID_TEXT];
	struct wl_error err = { 0 };
	struct wl_start started = { 0 };
	struct kit_accept accepted =
		kit_accept(app, tenant, wl_uuid7(wl_clock_wall_ms(), eid), "{}", NULL, NULL, timeout_ms);
	struct wl_lease lease = { .tenant = tenant, .shard = accepted.shard, .epoch = 1, .gen = accepted.gen };
	memcpy(lease.eid, accepted.eid, sizeof(lease.eid));
	assert_int_equal(ledger.start(ledger.self, "S1", &lease, 1, &started, &err), 0);
	assert_int_equal(started.outcome, WL_START_STARTED);
	assert_null(started.options_json);
	wl_start_release(&started);
	return lease;
}

static enum wl_start_outcome start_again(struct wl_lease *lease)
{
	struct wl_error err = { 0 };
	struct wl_start started = { 0 };
	lease->epoch++;
	assert_int_equal(ledger.start(ledger.self, "S2", lease, 1, &started, &err), 0);
	if (started.outcome == WL_START_STARTED)
		assert_int_equal(started.deliveries, 0);
	wl_start_release(&started);
	return started.outcome;
}

static struct wl_wait look(const struct wl_lease *lease, const char *node, int64_t delay_ms, const char *message)
{
	struct wl_error err = { 0 };
	struct wl_wait wait = { .epoch = lease->epoch,
				.node = (char *)node,
				.delay_ms = delay_ms,
				.approval = message != NULL,
				.message = (char *)message,
				.roles_json = message ? "[\"editor\"]" : NULL };
	memcpy(wait.eid, lease->eid, sizeof(wait.eid));
	if (ledger.wait(ledger.self, &wait, &err) < 0)
		fail_msg("%s", err.text);
	free(wait.by);
	free(wait.comment);
	wait.by = wait.comment = NULL;
	return wait;
}

static enum wl_park_outcome park(const struct wl_lease *lease, const char *nodes_json)
{
	struct wl_error err = { 0 };
	enum wl_park_outcome outcome = WL_PARK_LOST;
	struct wl_park item = { .epoch = lease->epoch, .nodes_json = nodes_json };
	memcpy(item.eid, lease->eid, sizeof(item.eid));
	if (ledger.park(ledger.self, &item, 1, &outcome, &err) < 0)
		fail_msg("%s", err.text);
	return outcome;
}

/* The value of a statement that ends where the execution's id is to follow. */
static const char *value_of(const struct wl_lease *lease, const char *statement, char value[256])
{
	char sql[512];
	(void)snprintf(sql, sizeof(sql), "%s'%s'", statement, lease->eid);
	return kit_value(admin, value, sql);
}

#define STATE "SELECT state FROM control.dispatch WHERE eid = "

/* What the scheduler's chore does; how many woke. */
static int wake(void)
{
	char value[256];
	_wl_json_ struct wl_json *woken = NULL;
	struct wl_error err = { 0 };
	(void)kit_value(app, value, "SELECT control.wake_due('{\"limit\":1}')");
	assert_int_equal(wl_json_parse(value, strlen(value), &woken, &err), 0);
	for (const struct wl_json *one = wl_json_first(woken); one; one = wl_json_next(one)) {
		assert_int_equal((int)wl_json_get_number(one, "tenant", 0), tenant);
		assert_true(wl_json_get_number(one, "epoch", 0) >= 1);
		assert_true(wl_json_get_number(one, "seq", 0) >= 1);
	}
	return (int)wl_json_count(woken);
}

static void make_due(const struct wl_lease *lease)
{
	char sql[512], value[256];
	(void)snprintf(sql, sizeof(sql),
		       "UPDATE control.parked SET due = now() - interval '1 s' WHERE eid = '%s';"
		       "UPDATE control.wait SET due = now() - interval '1 s' WHERE eid = '%s';"
		       "UPDATE control.approval SET expires_at = now() - interval '1 s' WHERE eid = '%s'; SELECT 1",
		       lease->eid, lease->eid, lease->eid);
	(void)kit_value(admin, value, sql);
}

/* As the API decides, in a tenant's transaction; "" or the SQLSTATE that refused it. */
static const char *decide(const struct wl_lease *lease, const char *role, const char *status, char value[256])
{
	char sql[512], id[256];
	(void)value_of(lease, "SELECT id FROM control.approval WHERE eid = ", id);
	(void)snprintf(sql, sizeof(sql), "BEGIN; SET LOCAL ROLE t_%d", tenant);
	PQclear(PQexec(app, sql));
	(void)snprintf(sql, sizeof(sql),
		       "SELECT effects FROM control.approval_decide('{\"user\":\"" KIT_USER
		       "\",\"role\":\"%s\"}', '%s', '%s', 'why')",
		       role, id, status);
	PGresult *result = PQexec(app, sql);
	const char *code = PQresultErrorField(result, PG_DIAG_SQLSTATE);
	(void)snprintf(value, 256, "%s", code ? code : PQgetisnull(result, 0, 0) ? "alone" : "woken");
	PQclear(result);
	PQclear(PQexec(app, code ? "ROLLBACK" : "COMMIT"));
	return value;
}

static void the_first_look_decides_what_is_waited_for(void **state)
{
	(void)state;
	struct wl_lease lease = start_new(60000);
	struct wl_wait wait = look(&lease, "w", 30000, NULL);
	assert_int_equal(wait.outcome, WL_WAIT_OPEN);
	assert_in_range(wait.left_ms, 25000, 30000);
	wait = look(&lease, "w", 900000, NULL);
	assert_in_range(wait.left_ms, 1, 30000);
	assert_int_equal(look(&lease, "each[3].w", 0, NULL).outcome, WL_WAIT_OVER);
	lease.epoch = 2;
	assert_int_equal(look(&lease, "w", 1, NULL).outcome, WL_WAIT_LOST);
}

static void a_parked_run_is_nobodys_until_its_time_comes(void **state)
{
	(void)state;
	char value[256];
	struct wl_error err = { 0 };
	struct wl_dispatch_row rows[8];
	struct wl_lease lease = start_new(60000);
	(void)look(&lease, "w", 30000, NULL);
	assert_int_equal(park(&lease, "[\"w\"]"), WL_PARK_PARKED);
	assert_int_equal(park(&lease, "[\"w\"]"), WL_PARK_LOST);
	assert_string_equal(value_of(&lease, STATE, value), "W");
	/* the queue may still have it: nothing of it is to be kept there */
	struct wl_fence fence = { .epoch = 1 };
	memcpy(fence.eid, lease.eid, sizeof(fence.eid));
	assert_int_equal(ledger.fence(ledger.self, &fence, 1, 3, &err), 0);
	assert_int_equal(fence.outcome, WL_FENCE_GONE);
	fence.epoch = 0;
	assert_int_equal(ledger.fence(ledger.self, &fence, 1, 3, &err), 0);
	assert_int_equal(fence.outcome, WL_FENCE_GONE);
	struct wl_lease stale = lease;
	assert_int_equal(start_again(&stale), WL_START_GONE);
	unsigned in_use = 0;
	assert_int_equal(ledger.shards_in_use(ledger.self, 0, &in_use, &err), 0);
	int count = ledger.page(ledger.self, lease.shard, 0, 0, rows, 8, &err);
	assert_int_equal(in_use >> lease.shard & 1, count > 0);
	for (int i = 0; i < count; i++)
		assert_string_not_equal(rows[i].eid, lease.eid);
	assert_int_equal(wake(), 0);
	make_due(&lease);
	assert_int_equal(wake(), 1);
	assert_int_equal(wake(), 0);
	assert_string_equal(value_of(&lease, STATE, value), "Q");
	assert_int_equal(start_again(&lease), WL_START_STARTED);
	assert_int_equal(look(&lease, "w", 30000, NULL).outcome, WL_WAIT_OVER);
}

static void what_has_come_meanwhile_keeps_a_run_from_being_parked(void **state)
{
	(void)state;
	char value[256];
	struct wl_lease lease = start_new(60000), other = start_new(60000);
	(void)look(&lease, "p", 30000, "go on?");
	(void)look(&lease, "w", 30000, NULL);
	assert_string_equal(decide(&lease, "editor", "approved", value), "alone");
	assert_int_equal(park(&lease, "[\"w\",\"p\"]"), WL_PARK_RELEASED);
	assert_string_equal(value_of(&lease, STATE, value), "Q");
	assert_int_equal(start_again(&lease), WL_START_STARTED);
	assert_int_equal(look(&lease, "p", 30000, "go on?").outcome, WL_WAIT_APPROVED);
	/* now it waits for the time alone: the approval counts no more */
	assert_int_equal(park(&lease, "[\"w\"]"), WL_PARK_PARKED);
	(void)look(&other, "w", 0, NULL);
	assert_int_equal(park(&other, "[\"w\"]"), WL_PARK_RELEASED);
}

static void an_approval_is_decided_once_by_whom_it_is_for(void **state)
{
	(void)state;
	char value[256];
	struct wl_lease lease = start_new(60000);
	(void)look(&lease, "p", 30000, "go on?");
	assert_int_equal(park(&lease, "[\"p\"]"), WL_PARK_PARKED);
	assert_string_equal(decide(&lease, "executor", "approved", value), "WL403");
	assert_string_equal(decide(&lease, "editor", "rejected", value), "woken");
	assert_string_equal(value_of(&lease, STATE, value), "Q");
	assert_string_equal(value_of(&lease, "SELECT count(*) FROM control.parked WHERE eid = ", value), "0");
	assert_string_equal(decide(&lease, "admin", "approved", value), "WL409");
	assert_int_equal(start_again(&lease), WL_START_STARTED);
	assert_int_equal(look(&lease, "p", 30000, "go on?").outcome, WL_WAIT_REJECTED);
	assert_string_equal(
		value_of(&lease,
			 "SELECT metadata->>'node_id' FROM control.audit_outbox WHERE action = 'approval.decide' "
			 "AND metadata->>'execution_id' = ",
			 value),
		"p");
}

static void an_approval_expires(void **state)
{
	(void)state;
	char value[256];
	struct wl_lease lease = start_new(60000);
	(void)look(&lease, "p", 30000, "go on?");
	make_due(&lease);
	assert_string_equal(decide(&lease, "admin", "approved", value), "WL410");
	assert_int_equal(look(&lease, "p", 30000, "go on?").outcome, WL_WAIT_OVER);
	assert_string_equal(value_of(&lease, "SELECT status FROM control.approval WHERE eid = ", value), "expired");
}

static void the_end_of_a_run_ends_its_waits(void **state)
{
	(void)state;
	char value[256], sql[256];
	struct wl_error err = { 0 };
	struct wl_expired items[8];
	struct wl_lease cancelled = start_new(60000), late = start_new(60000), asked = start_new(60000);
	struct wl_lease *const all[] = { &cancelled, &late, &asked };
	for (size_t i = 0; i < WL_COUNT_OF(all); i++)
		(void)look(all[i], "p", 30000, "go on?");
	assert_int_equal(park(&cancelled, "[\"p\"]"), WL_PARK_PARKED);
	assert_int_equal(park(&late, "[\"p\"]"), WL_PARK_PARKED);
	(void)snprintf(sql, sizeof(sql), "BEGIN; SET LOCAL ROLE t_%d", tenant);
	PQclear(PQexec(app, sql));
	(void)snprintf(sql, sizeof(sql), "SELECT outcome FROM control.cancel('%s')", cancelled.eid);
	assert_string_equal(kit_value(app, value, sql), "cancelled");
	(void)snprintf(sql, sizeof(sql), "SELECT outcome FROM control.cancel('%s')", asked.eid);
	assert_string_equal(kit_value(app, value, sql), "cancelling");
	PQclear(PQexec(app, "COMMIT"));
	assert_int_equal(park(&asked, "[\"p\"]"), WL_PARK_CANCELLED);
	(void)value_of(&late, "UPDATE control.dispatch SET deadline = now() - interval '1 s' WHERE eid = ", value);
	assert_int_equal(ledger.expire_overdue(ledger.self, 60000, items, 8, &err), 1);
	for (size_t i = 0; i < WL_COUNT_OF(all); i++) {
		assert_string_equal(value_of(all[i], "SELECT count(*) FROM control.dispatch WHERE eid = ", value), "0");
		assert_string_equal(value_of(all[i], "SELECT count(*) FROM control.wait WHERE eid = ", value), "0");
		assert_string_equal(value_of(all[i], "SELECT count(*) FROM control.parked WHERE eid = ", value), "0");
		assert_string_equal(value_of(all[i], "SELECT status FROM control.approval WHERE eid = ", value),
				    "cancelled");
	}
}

static struct wl_subflow pick(const struct wl_lease *lease, int of_tenant, const char *flow_id, int version)
{
	struct wl_error err = { 0 };
	struct wl_subflow sub = { .tenant = of_tenant, .epoch = lease->epoch, .version = version };
	memcpy(sub.eid, lease->eid, sizeof(sub.eid));
	(void)snprintf(sub.flow_id, sizeof(sub.flow_id), "%s", flow_id);
	if (ledger.subflow(ledger.self, &sub, &err) < 0)
		fail_msg("%s", err.text);
	return sub;
}

static void a_subflow_keeps_its_version_for_the_runs_whole_life(void **state)
{
	(void)state;
	char sql[512], value[256];
	struct wl_lease lease = start_new(60000);
	struct wl_subflow first = pick(&lease, tenant, KIT_FLOW, 0);
	assert_int_equal(first.outcome, WL_SUBFLOW_FOUND);
	assert_int_equal(first.version, 1);
	(void)snprintf(sql, sizeof(sql),
		       "INSERT INTO t_%1$d.flow_docs VALUES (sha256('two'), '{\"nodes\":[]}');"
		       "INSERT INTO t_%1$d.flow_versions (flow_id, version, doc_hash, name, created_by) "
		       "VALUES ('" KIT_FLOW "', 2, sha256('two'), 'flow', '" KIT_USER "');"
		       "UPDATE t_%1$d.flows SET published = 2 RETURNING 1",
		       tenant);
	(void)kit_value(admin, value, sql);
	struct wl_subflow again = pick(&lease, tenant, KIT_FLOW, 0);
	assert_int_equal(again.version, 1);
	assert_memory_equal(again.doc_hash, first.doc_hash, WL_HASH_BYTES);
	assert_int_equal(pick(&lease, tenant, KIT_FLOW, 2).version, 2);
	struct wl_lease other = start_new(60000);
	assert_int_equal(pick(&other, tenant, KIT_FLOW, 0).version, 2);
	assert_int_equal(pick(&other, tenant, KIT_FLOW, 9).outcome, WL_SUBFLOW_NO_VERSION);
	assert_int_equal(pick(&other, tenant, KIT_USER, 0).outcome, WL_SUBFLOW_NO_FLOW);
	assert_int_equal(pick(&other, tenant + 1, KIT_FLOW, 0).outcome, WL_SUBFLOW_LOST);
	other.epoch = 2;
	assert_int_equal(pick(&other, tenant, KIT_FLOW, 0).outcome, WL_SUBFLOW_LOST);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_first_look_decides_what_is_waited_for),
		cmocka_unit_test(a_parked_run_is_nobodys_until_its_time_comes),
		cmocka_unit_test(what_has_come_meanwhile_keeps_a_run_from_being_parked),
		cmocka_unit_test(an_approval_is_decided_once_by_whom_it_is_for),
		cmocka_unit_test(an_approval_expires),
		cmocka_unit_test(the_end_of_a_run_ends_its_waits),
		cmocka_unit_test(a_subflow_keeps_its_version_for_the_runs_whole_life),
	};
	return cmocka_run_group_tests(tests, ledger_stage_set_up, ledger_stage_tear_down);
}
