/* The ledger of model calls, its budgets and the model source, against a real PostgreSQL. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "lib/base/cleanup.h"
#include "lib/base/clock.h"
#include "lib/base/ids.h"
#include "lib/store/postgres_budget.h"
#include "lib/store/postgres_models.h"
#include "tests/kit/ledger_stage.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define AGENT "00000000-0000-7000-8000-0000000000a1"
#define BUDGET "00000000-0000-7000-8000-0000000000b1"
#define OTHER_BUDGET "00000000-0000-7000-8000-0000000000b2"
#define MILLION 1000000

static struct wl_budget budget;
static struct wl_model_source source;
static char cheap_provider[WL_UUID_TEXT]; /* the tenant's demo provider */

/* ---- the stage ---------------------------------------------------------------------------------------------- */

__attribute__((format(printf, 1, 2))) static void run(const char *fmt, ...)
{
	char sql[4096];
	va_list args;
	va_start(args, fmt);
	(void)vsnprintf(sql, sizeof(sql), fmt, args);
	va_end(args);
	PGresult *result = PQexec(admin, sql);
	if (PQresultStatus(result) != PGRES_TUPLES_OK && PQresultStatus(result) != PGRES_COMMAND_OK)
		fail_msg("%s: %s", sql, PQerrorMessage(admin));
	PQclear(result);
}

static double number(const char *sql)
{
	char value[256];
	return strtod(kit_value(admin, value, sql), NULL);
}

static int set_up(void **state)
{
	struct wl_error err = { 0 };
	char value[256];
	if (ledger_stage_set_up(state) < 0)
		return -1;
	run("SELECT control.prices_put('{\"currency\": \"EUR\", \"prices\": ["
	    "{\"provider_type\": \"openai\", \"model\": \"big*\", \"prompt\": 2, \"cached\": 0.5, \"cache_write\": "
	    "2.5, "
	    "\"completion\": 10}, "
	    "{\"provider_type\": \"openai\", \"model\": \"big-mini*\", \"prompt\": 0.1, \"completion\": 0.3}, "
	    "{\"provider_type\": \"demo\", \"model\": \"*\", \"prompt\": 0, \"completion\": 0}]}')");
	(void)snprintf(
		cheap_provider, sizeof(cheap_provider), "%s",
		kit_value(admin, value, "SELECT id FROM t_1.resources WHERE kind = 'llm_provider' AND name = 'Demo'"));
	if (wl_postgres_budget_open(servers.postgres_url, &budget, &err) < 0 ||
	    wl_postgres_models_open(servers.postgres_url, &source, &err) < 0)
		return -1;
	return 0;
}

static int tear_down(void **state)
{
	budget.close(budget.self);
	source.close(source.self);
	return ledger_stage_tear_down(state);
}

/* No call, no budget, and a quota of a million tokens. */
static int fresh(void **state)
{
	(void)state;
	run("DELETE FROM control.model_call; DELETE FROM control.model_spent; DELETE FROM control.budget;"
	    "DELETE FROM control.token_reservation; DELETE FROM control.tenant_day; DELETE FROM control.audit_outbox;"
	    "DELETE FROM control.price WHERE origin = 'operator';"
	    "UPDATE control.quota SET max_llm_tokens_per_day = 1000000");
	return 0;
}

static void add_budget(const char *id, const char *scope, const char *unit, const char *amount, const char *action,
		       const char *warn)
{
	bool cheaper = strcmp(action, "cheaper") == 0;
	run("INSERT INTO control.budget (id, tenant, name, scope, unit, amount, action, provider_id, model, "
	    "warn_percent,"
	    " enabled, created_by) VALUES ('%s', %d, 'b', '%s', '%s', %s, '%s', %s%s%s, %s, %s, true, '" KIT_USER "')",
	    id, tenant, scope, unit, amount, action, cheaper ? "'" : "", cheaper ? cheap_provider : "NULL",
	    cheaper ? "'" : "", cheaper ? "'demo'" : "NULL", warn);
}

static const char *new_run(char eid[WL_UUID_TEXT])
{
	struct kit_accept accepted =
		kit_accept(app, tenant, wl_uuid7(wl_clock_wall_ms(), eid), "{}", NULL, NULL, 60000);
	assert_string_equal(accepted.outcome, "accepted");
	return eid;
}

static struct wl_budget_call call_of(const char *eid, const char *place, uint64_t prompt, uint64_t completion)
{
	return (struct wl_budget_call){ .tenant = tenant,
					.eid = eid,
					.node = eid ? "ask" : NULL,
					.attempt = eid ? 1 : 0,
					.place = place,
					.agent_id = AGENT,
					.caller = eid ? "run" : "gateway",
					.provider_id = KIT_USER,
					.provider_type = "openai",
					.model = "big-2",
					.prompt_tokens = prompt,
					.completion_tokens = completion,
					.ttl_s = 60 };
}

static struct wl_budget_answer ask(const struct wl_budget_call *call)
{
	struct wl_budget_answer answer;
	struct wl_error err = { 0 };
	if (budget.reserve(budget.self, call, &answer, &err) < 0)
		fail_msg("%s", err.text);
	return answer;
}

static double settle(const char *id, uint64_t prompt, uint64_t cached, uint64_t completion)
{
	struct wl_model_usage usage = { .prompt = prompt, .cached = cached, .completion = completion };
	struct wl_error err = { 0 };
	double cost = -1;
	if (budget.settle(budget.self, tenant, id, &usage, "big-2-2026", WL_MODEL_FAULT_NONE, 5, 10, &cost, &err) < 0)
		fail_msg("%s", err.text);
	return cost;
}

static double tokens_of(const char *scope)
{
	char sql[256];
	(void)snprintf(sql, sizeof(sql),
		       "SELECT coalesce(sum(prompt + completion + held_tokens), 0) FROM control.model_spent "
		       "WHERE scope = '%s'",
		       scope);
	return number(sql);
}

static void expect_no_drift(void)
{
	assert_true(number("SELECT count(*) FROM control.model_drift(1)") == 0);
	assert_true(number("SELECT coalesce(sum(prompt + completion + held_tokens), 0) FROM control.model_spent "
			   "WHERE scope = 'tenant'") ==
		    number("SELECT coalesce(sum(tokens_reserved + tokens_used), 0) FROM control.tenant_day"));
}

/* ---- the ledger ---------------------------------------------------------------------------------------------------
 */

static void test_reserve_and_settle(void **state)
{
	(void)state;
	char eid[WL_UUID_TEXT];
	struct wl_budget_call call = call_of(new_run(eid), "turn/1", 1000, 500);
	(void)wl_uuid7(wl_clock_wall_ms(), call.id);
	struct wl_budget_answer answer = ask(&call), again = ask(&call);
	assert_int_equal(answer.verdict, WL_BUDGET_GRANTED);
	assert_string_equal(again.id, answer.id); /* asked for again: one reservation */
	call.id[0] = '\0';
	assert_true(tokens_of("tenant") == 1500 && tokens_of("run") == 1500 && tokens_of("flow") == 1500 &&
		    tokens_of("agent") == 1500);
	/* a prompt that may go to the cache is held at the dearer price */
	assert_true(number("SELECT held_cost FROM control.model_spent WHERE scope = 'run'") == 0.0075);
	assert_true(settle(answer.id, 800, 300, 100) == 0.00215);
	assert_true(settle(answer.id, 1, 0, 1) == 0.00215); /* twice changes nothing */
	assert_true(tokens_of("tenant") == 900 &&
		    number("SELECT calls FROM control.model_spent WHERE scope = 'run'") == 1);
	assert_true(number("SELECT count(*) FROM control.model_call WHERE state = 'settled' AND model = 'big-2-2026' "
			   "AND first_us = 5 AND total_us = 10 AND fault = '' AND flow_id = '" KIT_FLOW "'") == 1);
	/* made again after that, it is a call of its own */
	again = ask(&call);
	assert_string_not_equal(again.id, answer.id);
	(void)settle(again.id, 10, 0, 10);
	assert_true(tokens_of("tenant") == 920 && number("SELECT max(repeat) FROM control.model_call") == 1);
	expect_no_drift();
}

/* A supervisor dies between a model's answer and its settlement; who takes over asks the same at the same place. */
static void test_a_place_that_is_asked_at_twice_is_two_calls(void **state)
{
	(void)state;
	char eid[WL_UUID_TEXT];
	struct wl_budget_call call = call_of(new_run(eid), "turn/1", 1000, 500);
	struct wl_budget_answer dead = ask(&call), next = ask(&call);
	assert_int_equal(next.verdict, WL_BUDGET_GRANTED);
	assert_string_not_equal(next.id, dead.id);
	assert_true(tokens_of("run") == 3000 && tokens_of("tenant") == 3000);
	(void)settle(next.id, 10, 0, 10);
	assert_true(tokens_of("run") == 1520);
	assert_true(number("SELECT count(*) FROM control.model_call WHERE state = 'expired' AND fault = 'unsettled' "
			   "AND repeat = 0") == 1);
	expect_no_drift();
	(void)settle(dead.id, 100, 0, 50); /* it was only late */
	assert_true(tokens_of("run") == 170 && tokens_of("agent") == 170);
	assert_true(number("SELECT calls FROM control.model_spent WHERE scope = 'run'") == 2);
	expect_no_drift();
}

static void test_calls_without_a_run(void **state)
{
	(void)state;
	struct wl_budget_call call = call_of(NULL, NULL, 10, 10);
	struct wl_budget_answer one = ask(&call), two = ask(&call);
	assert_string_not_equal(one.id, two.id);
	(void)settle(one.id, 5, 0, 5);
	assert_true(tokens_of("tenant") == 30 && tokens_of("agent") == 30 && tokens_of("run") == 0);
	struct wl_error err = { 0 };
	struct wl_model_usage usage = { 0 };
	assert_int_equal(
		budget.settle(budget.self, tenant, KIT_USER, &usage, "m", WL_MODEL_FAULT_NONE, 0, 0, NULL, &err),
		-ENOENT);
	/* nobody settles another tenant's */
	assert_int_equal(
		budget.settle(budget.self, tenant + 1, two.id, &usage, "m", WL_MODEL_FAULT_NONE, 0, 0, NULL, &err),
		-ENOENT);
	expect_no_drift();
}

static void test_prices(void **state)
{
	(void)state;
	struct wl_budget_call call = call_of(NULL, NULL, MILLION / 2, 0);
	call.model = "big-mini-7";
	struct wl_error err = { 0 };
	struct wl_model_usage usage = { .prompt = 10000, .completion = 10000, .cached = 99999 };
	double cost = -1;
	struct wl_budget_answer answer = ask(&call);
	assert_int_equal(budget.settle(budget.self, tenant, answer.id, &usage, "some-alias", WL_MODEL_FAULT_AWAY, 0, 0,
				       &cost, &err),
			 0);
	assert_true(cost == 0.004); /* by what was asked for: the server's own name has no price */
	assert_true(number("SELECT count(*) FROM control.model_call WHERE fault = 'model_unavailable'") == 1);
	/* another provider answered */
	answer = ask(&call);
	assert_int_equal(budget.moved(budget.self, tenant, answer.id, cheap_provider, &err), 0);
	assert_true(settle(answer.id, 1000, 0, 1000) == 0);
	assert_int_equal(budget.moved(budget.self, tenant, answer.id, cheap_provider, &err), -ENOENT);
	/* an operator's price stands before the file's, however short its pattern is */
	run("SELECT control.prices_replace('operator', '[{\"provider_type\": \"openai\", \"model\": \"*\", \"prompt\": "
	    "100, "
	    "\"completion\": 0}]')");
	answer = ask(&call);
	assert_true(settle(answer.id, 1000, 0, 1000) == 0.1);
	expect_no_drift();
}

static void test_a_late_settlement_counts_what_it_was(void **state)
{
	(void)state;
	char eid[WL_UUID_TEXT];
	struct wl_budget_call call = call_of(new_run(eid), "turn/1", 1000, 500);
	struct wl_budget_answer answer = ask(&call);
	run("UPDATE control.model_call SET expires_at = now() - interval '1 s';"
	    "UPDATE control.token_reservation SET expires_at = now() - interval '1 s';"
	    "SELECT control.counters_recount('{\"after\": 0}')");
	assert_true(number("SELECT count(*) FROM control.model_call WHERE state = 'expired' AND fault = 'unsettled' "
			   "AND prompt = 1000 AND completion = 500 AND cost = 0.0075") == 1);
	assert_true(tokens_of("run") == 1500 && number("SELECT tokens_used FROM control.tenant_day") == 1500);
	expect_no_drift();
	(void)settle(answer.id, 100, 0, 20);
	assert_true(tokens_of("run") == 120 && number("SELECT tokens_used FROM control.tenant_day") == 120);
	assert_true(number("SELECT calls FROM control.model_spent WHERE scope = 'run'") == 1);
	expect_no_drift();
}

static void test_counters_are_put_right(void **state)
{
	(void)state;
	char eid[WL_UUID_TEXT], value[256];
	struct wl_budget_call call = call_of(new_run(eid), "turn/1", 1000, 500);
	(void)ask(&call);
	run("UPDATE control.model_spent SET prompt = 7 WHERE scope IN ('run', 'tenant')");
	assert_non_null(strstr(kit_value(admin, value, "SELECT control.counters_recount('{\"after\": 0}')->'drift'"),
			       "models of a run"));
	assert_true(tokens_of("run") == 1500 && tokens_of("tenant") == 1500);
	expect_no_drift();
}

/* PostgreSQL crashed and lost what it had not brought to the disk: what was spent is written down all the same. */
static void test_a_lost_reservation_is_told_again(void **state)
{
	(void)state;
	char eid[WL_UUID_TEXT];
	struct wl_budget_call call = call_of(new_run(eid), "turn/1", 1000, 500);
	struct wl_budget_answer answer = ask(&call);
	run("DELETE FROM control.model_call; DELETE FROM control.model_spent; DELETE FROM control.token_reservation;"
	    "UPDATE control.tenant_day SET tokens_reserved = 0");
	assert_true(settle(answer.id, 100, 0, 20) == 0.0004);
	assert_true(settle(answer.id, 100, 0, 20) == 0.0004);
	assert_true(tokens_of("run") == 120 && tokens_of("agent") == 120);
	assert_true(number("SELECT count(*) FROM control.model_call WHERE state = 'settled' AND place = 'turn/1' AND "
			   "held_prompt "
			   "= 1000") == 1);
	expect_no_drift();
	/* by who reserved it alone: another process knows nothing of it */
	struct wl_budget other;
	struct wl_error err = { 0 };
	struct wl_model_usage usage = { .prompt = 1 };
	call.place = "turn/2";
	answer = ask(&call);
	run("DELETE FROM control.model_call WHERE state = 'open'");
	assert_int_equal(wl_postgres_budget_open(servers.postgres_url, &other, &err), 0);
	assert_int_equal(
		other.settle(other.self, tenant, answer.id, &usage, "m", WL_MODEL_FAULT_NONE, 0, 0, NULL, &err),
		-ENOENT);
	other.close(other.self);
}

/* ---- budgets ----------------------------------------------------------------------------------------------------- */

static void test_the_quota_is_the_tenants_budget(void **state)
{
	(void)state;
	struct wl_budget_call call = call_of(NULL, NULL, 600000, 0);
	assert_int_equal(ask(&call).verdict, WL_BUDGET_GRANTED);
	struct wl_budget_answer answer = ask(&call);
	assert_int_equal(answer.verdict, WL_BUDGET_REFUSED);
	assert_string_equal(answer.scope, "tenant");
	assert_string_equal(answer.unit, "tokens");
	assert_string_equal(answer.budget_id, "");
	assert_true(answer.limit == 1000000 && answer.used == 600000);
	expect_no_drift();
}

static void test_stop_and_warn(void **state)
{
	(void)state;
	struct wl_budget_call call = call_of(NULL, NULL, 100, 0);
	add_budget(BUDGET, "agent", "tokens", "350", "stop", "50");
	assert_int_equal(ask(&call).verdict, WL_BUDGET_GRANTED);
	assert_true(number("SELECT count(*) FROM control.audit_outbox") == 0);
	assert_int_equal(ask(&call).verdict, WL_BUDGET_GRANTED);
	assert_int_equal(ask(&call).verdict, WL_BUDGET_GRANTED);
	for (int i = 0; i < 2; i++) {
		struct wl_budget_answer answer = ask(&call);
		assert_int_equal(answer.verdict, WL_BUDGET_REFUSED);
		assert_string_equal(answer.scope, "agent");
		assert_string_equal(answer.budget_id, BUDGET);
		assert_true(answer.limit == 350 && answer.used == 300);
	}
	/* each once a day */
	assert_true(number("SELECT count(*) FROM control.audit_outbox WHERE action = 'budget.warning'") == 1);
	assert_true(number("SELECT count(*) FROM control.audit_outbox WHERE action = 'budget.reached'") == 1);
	call.agent_id = KIT_USER; /* each agent for itself */
	assert_int_equal(ask(&call).verdict, WL_BUDGET_GRANTED);
	expect_no_drift();
}

static void test_money(void **state)
{
	(void)state;
	char eid[WL_UUID_TEXT];
	struct wl_budget_call call = call_of(new_run(eid), NULL, 0, 1000); /* 0.01 */
	add_budget(BUDGET, "flow", "money", "0.025", "stop", "NULL");
	assert_int_equal(ask(&call).verdict, WL_BUDGET_GRANTED);
	assert_int_equal(ask(&call).verdict, WL_BUDGET_GRANTED);
	struct wl_budget_answer answer = ask(&call);
	assert_int_equal(answer.verdict, WL_BUDGET_REFUSED);
	assert_string_equal(answer.unit, "money");
	assert_true(answer.limit == 0.025 && answer.used == 0.02);
	call.provider_type = "demo"; /* costs nothing */
	assert_int_equal(ask(&call).verdict, WL_BUDGET_GRANTED);
	expect_no_drift();
}

static void test_cheaper(void **state)
{
	(void)state;
	char eid[WL_UUID_TEXT];
	struct wl_budget_call call = call_of(new_run(eid), "turn/1", 100, 0);
	add_budget(BUDGET, "run", "tokens", "150", "cheaper", "NULL");
	assert_int_equal(ask(&call).verdict, WL_BUDGET_GRANTED);
	call.place = "turn/2";
	struct wl_budget_answer answer = ask(&call);
	assert_int_equal(answer.verdict, WL_BUDGET_CHEAPER);
	assert_string_equal(answer.provider_id, cheap_provider);
	assert_string_equal(answer.model, "demo");
	call.provider_id = answer.provider_id;
	call.provider_type = "demo";
	call.model = answer.model;
	assert_int_equal(ask(&call).verdict, WL_BUDGET_GRANTED); /* that is where the budget sends it */
	add_budget(OTHER_BUDGET, "tenant", "tokens", "150", "stop", "NULL");
	call.place = "turn/3";
	assert_int_equal(ask(&call).verdict, WL_BUDGET_REFUSED); /* which goes before */
	run("DELETE FROM control.budget WHERE id = '" OTHER_BUDGET "';"
	    "UPDATE t_1.resources SET state = 'archived' WHERE kind = 'llm_provider'");
	call.model = "big";
	assert_int_equal(ask(&call).verdict, WL_BUDGET_REFUSED); /* there is nowhere to go */
	run("UPDATE t_1.resources SET state = 'active' WHERE kind = 'llm_provider'");
	expect_no_drift();
}

static void approve(const char *eid, const char *wait)
{
	run("WITH a AS (INSERT INTO control.approval (id, tenant, eid, flow_id, node, message, roles, status, "
	    "expires_at, "
	    "decided_by) VALUES (gen_random_uuid(), %d, '%s', '" KIT_FLOW "', '%s', '', '{admin}', 'approved', "
	    "now() + interval '1 h', '" KIT_USER "') RETURNING id) "
	    "INSERT INTO control.wait (eid, node, tenant, due, approval) SELECT '%s', '%s', %d, now(), id FROM a",
	    tenant, eid, wait, eid, wait, tenant);
}

static void test_ask(void **state)
{
	(void)state;
	char eid[WL_UUID_TEXT];
	struct wl_error err = { 0 };
	struct wl_budget_call call = call_of(new_run(eid), NULL, 100, 0);
	add_budget(BUDGET, "run", "tokens", "150", "ask", "NULL");
	assert_int_equal(ask(&call).verdict, WL_BUDGET_GRANTED);
	struct wl_budget_answer answer = ask(&call), first;
	assert_int_equal(answer.verdict, WL_BUDGET_ASK);
	assert_string_equal(answer.budget_id, BUDGET);
	assert_string_equal(answer.wait, "ask!budget-000000b1-1");
	assert_int_equal(budget.allow(budget.self, tenant, eid, BUDGET, answer.wait, &err), -EACCES);
	approve(eid, answer.wait);
	first = answer;
	for (int i = 0; i < 2; i++) /* the same wait counts once */
		assert_int_equal(budget.allow(budget.self, tenant, eid, BUDGET, first.wait, &err), 0);
	assert_int_equal(budget.allow(budget.self, tenant + 1, eid, BUDGET, first.wait, &err), -EACCES);
	assert_int_equal(ask(&call).verdict, WL_BUDGET_GRANTED);
	assert_int_equal(ask(&call).verdict, WL_BUDGET_GRANTED);
	answer = ask(&call);
	assert_int_equal(answer.verdict, WL_BUDGET_ASK);
	assert_true(answer.limit == 300 && answer.used == 300);
	assert_string_equal(answer.wait, "ask!budget-000000b1-2");
	struct wl_budget_call outside = call_of(NULL, NULL, 100, 0);
	run("UPDATE control.budget SET scope = 'agent'");
	assert_int_equal(ask(&outside).verdict, WL_BUDGET_REFUSED); /* there is no run that could wait */
	expect_no_drift();
}

/* ---- many at once ------------------------------------------------------------------------------------------------ */

struct racer {
	pthread_t thread;
	char eid[WL_UUID_TEXT];
	int number, granted, failed;
};

static void *race(void *argument)
{
	struct racer *racer = argument;
	struct wl_model_usage usage = { .prompt = 60, .completion = 40 };
	for (int i = 0; i < 4; i++) {
		char place[32];
		struct wl_budget_answer answer = { 0 };
		struct wl_error err = { 0 };
		int r;
		(void)snprintf(place, sizeof(place), "%d/%d", racer->number, i);
		struct wl_budget_call call = call_of(racer->eid, place, 60, 40);
		while ((r = budget.reserve(budget.self, &call, &answer, &err)) == -EAGAIN)
			;
		if (r < 0)
			racer->failed++;
		if (r < 0 || answer.verdict != WL_BUDGET_GRANTED)
			continue;
		racer->granted++;
		while ((r = budget.settle(budget.self, call.tenant, answer.id, &usage, NULL, WL_MODEL_FAULT_NONE, 1, 2,
					  NULL, &err)) == -EAGAIN)
			;
		racer->failed += r < 0;
	}
	return NULL;
}

/* 100 threads over their own connections, as many runs: the agent's budget holds to the token. */
static void test_a_hundred_at_once(void **state)
{
	(void)state;
	static struct racer racers[100];
	int granted = 0;
	add_budget(BUDGET, "agent", "tokens", "25050", "stop", "80");
	for (int i = 0; i < 100; i++) {
		racers[i] = (struct racer){ .number = i };
		(void)new_run(racers[i].eid);
	}
	for (int i = 0; i < 100; i++)
		assert_int_equal(pthread_create(&racers[i].thread, NULL, race, &racers[i]), 0);
	for (int i = 0; i < 100; i++) {
		(void)pthread_join(racers[i].thread, NULL);
		granted += racers[i].granted;
		assert_int_equal(racers[i].failed, 0);
	}
	assert_int_equal(granted, 250);
	assert_true(tokens_of("agent") == 25000 && tokens_of("run") == 25000 && tokens_of("tenant") == 25000);
	assert_true(number("SELECT count(*) FROM control.model_call WHERE state = 'settled'") == 250);
	assert_true(number("SELECT count(*) FROM control.audit_outbox WHERE action LIKE 'budget.%'") == 2);
	expect_no_drift();
}

/* ---- providers, agents, crews --------------------------------------------------------------------------------------
 */

#define PROVIDER(n) "00000000-0000-7000-8000-00000000cc0" n

static void add_resource(const char *id, const char *kind, const char *name, const char *body)
{
	run("INSERT INTO t_1.resources (id, kind, name, description, state, body, created_by) "
	    "VALUES ('%s', '%s', '%s', '', 'active', '%s', '" KIT_USER "')",
	    id, kind, name, body);
}

static char *providers(const char *id)
{
	char *text = NULL;
	struct wl_error err = { 0 };
	int r = source.providers(source.self, tenant, id, &text, &err);
	if (r < 0)
		assert_int_equal(r, -ENOENT);
	return text;
}

static void test_a_chain_of_providers(void **state)
{
	(void)state;
	static const char *const names[] = { "one", "two", "off", "three" };
	add_resource(PROVIDER("1"), "llm_provider", "one",
		     "{\"provider_type\": \"openai\", \"config\": {\"failover\": [\"" PROVIDER("3") "\", \"" PROVIDER(
			     "2") "\"]}, \"is_active\": true}");
	add_resource(PROVIDER("2"), "llm_provider", "two",
		     "{\"provider_type\": \"anthropic\", \"config\": {\"failover\": [\"" PROVIDER(
			     "1") "\", \"" PROVIDER("4") "\"]}, \"is_active\": true}");
	add_resource(PROVIDER("3"), "llm_provider", "off",
		     "{\"provider_type\": \"openai\", \"config\": {}, \"is_active\": false}");
	add_resource(PROVIDER("4"), "llm_provider", "three",
		     "{\"provider_type\": \"ollama\", \"config\": {}, \"is_active\": true}");
	run("INSERT INTO control.tenant_key (tenant, sealed) VALUES (%d, 'v1.sealed-key-of-a-tenant') ON CONFLICT DO "
	    "NOTHING;"
	    "UPDATE t_1.resources SET credentials = 'v1.x' WHERE id = '" PROVIDER("2") "'",
	    tenant);
	_wl_free_ char *chain = providers(PROVIDER("1"));
	assert_non_null(chain);
	const char *at = chain;
	for (size_t i = 0; i < WL_COUNT_OF(names); i++) {
		char quoted[16];
		(void)snprintf(quoted, sizeof(quoted), "\"%s\"", names[i]);
		const char *found = strstr(at, quoted);
		assert_true((found == NULL) == (i == 2)); /* in order, without the one that is off */
		at = found ? found : at;
	}
	assert_non_null(strstr(chain, "\"credentials\" : \"v1.x\""));
	assert_non_null(strstr(chain, "v1.sealed-key-of-a-tenant"));
	assert_null(providers(PROVIDER("3")));
	assert_null(providers("no id at all"));
	_wl_free_ char *first = providers(NULL); /* the demo provider is older, and yet not the one */
	assert_non_null(strstr(first, PROVIDER("1")));
	run("UPDATE t_1.resources SET state = 'archived' WHERE kind = 'llm_provider'");
	_wl_free_ char *demo = providers(NULL);
	assert_non_null(strstr(demo, "\"demo\""));
	run("UPDATE t_1.resources SET state = 'active' WHERE kind = 'llm_provider'");
}

static void test_crews_and_agents(void **state)
{
	(void)state;
	_wl_free_ char *crew = NULL, *agent = NULL;
	char *none = NULL;
	struct wl_error err = { 0 };
	add_resource(PROVIDER("5"), "agent", "Ada",
		     "{\"system_prompt\": \"s\", \"llm_provider_id\": null, \"config\": {}}");
	add_resource(PROVIDER("6"), "agent", "Max",
		     "{\"system_prompt\": \"\", \"llm_provider_id\": null, \"config\": {}}");
	add_resource(PROVIDER("7"), "crew", "C",
		     "{\"agent_ids\": [\"" PROVIDER(
			     "5") "\"], \"collaboration_pattern\": \"hierarchical\", "
				  "\"config\": {\"tasks\": [], \"manager_agent_id\": \"" PROVIDER("6") "\"}}");
	assert_int_equal(source.crew(source.self, tenant, "crew", PROVIDER("7"), &crew, &err), 0);
	assert_non_null(strstr(crew, "\"collaboration_pattern\" : \"hierarchical\""));
	assert_true(strstr(crew, "\"Ada\"") && strstr(crew, "\"Ada\"") < strstr(crew, "\"Max\""));
	assert_int_equal(source.crew(source.self, tenant, "agent", PROVIDER("5"), &agent, &err), 0);
	assert_non_null(strstr(agent, "\"crew\" : null"));
	assert_non_null(strstr(agent, "\"system_prompt\" : \"s\""));
	assert_int_equal(source.crew(source.self, tenant, "agent", PROVIDER("7"), &none, &err), -ENOENT);
	assert_int_equal(source.crew(source.self, tenant, "tool", PROVIDER("5"), &none, &err), -ENOENT);
	assert_int_equal(source.crew(source.self, tenant, "crew", NULL, &none, &err), -ENOENT);
}

static void test_away_and_back(void **state)
{
	(void)state;
	struct wl_budget_call call = call_of(NULL, NULL, 10, 10);
	struct wl_budget_answer answer;
	struct wl_error err = { 0 };
	assert_int_equal(ask(&call).verdict, WL_BUDGET_GRANTED);
	servers_kill_postgres(&servers);
	assert_true(budget.reserve(budget.self, &call, &answer, &err) < 0);
	servers_restart_postgres(&servers);
	uint64_t end_ms = wl_clock_boot_ms() + 30000;
	while (budget.reserve(budget.self, &call, &answer, &err) < 0)
		assert_true(wl_clock_boot_ms() < end_ms);
	assert_int_equal(answer.verdict, WL_BUDGET_GRANTED);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_reserve_and_settle, fresh),
		cmocka_unit_test_setup(test_a_place_that_is_asked_at_twice_is_two_calls, fresh),
		cmocka_unit_test_setup(test_calls_without_a_run, fresh),
		cmocka_unit_test_setup(test_prices, fresh),
		cmocka_unit_test_setup(test_a_late_settlement_counts_what_it_was, fresh),
		cmocka_unit_test_setup(test_counters_are_put_right, fresh),
		cmocka_unit_test_setup(test_a_lost_reservation_is_told_again, fresh),
		cmocka_unit_test_setup(test_the_quota_is_the_tenants_budget, fresh),
		cmocka_unit_test_setup(test_stop_and_warn, fresh),
		cmocka_unit_test_setup(test_money, fresh),
		cmocka_unit_test_setup(test_cheaper, fresh),
		cmocka_unit_test_setup(test_ask, fresh),
		cmocka_unit_test_setup(test_a_hundred_at_once, fresh),
		cmocka_unit_test(test_a_chain_of_providers),
		cmocka_unit_test(test_crews_and_agents),
		cmocka_unit_test_setup(test_away_and_back, fresh),
	};
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
