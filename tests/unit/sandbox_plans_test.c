/* The warden's decisions: which sandboxes to keep, who is next, why one ended. */
#include "supervisor/sandbox/fair_pick.h"
#include "supervisor/sandbox/park_plan.h"
#include "supervisor/sandbox/verdict.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define NOW 100000

static const struct park_rules rules = { .each = 3, .total = 6, .making_max = 2, .keep_ms = 60000 };

/* Do the plan's steps as the warden would, until it wants nothing; returns how many there were. */
static int settle(struct park_key *keys, size_t count, uint64_t now)
{
	for (int steps = 0;; steps++) {
		struct park_step step = park_plan(keys, count, &rules, now);
		assert_true(steps < 100);
		if (step.kind == PARK_NOTHING)
			return steps;
		if (step.kind == PARK_GIVE_UP) {
			assert_true(keys[step.key].parked > 0);
			keys[step.key].parked--;
		} else {
			keys[step.key].parked++; /* made at once */
		}
	}
}

static void nothing_is_kept_for_nobody(void **state)
{
	(void)state;
	assert_int_equal(park_plan(NULL, 0, &rules, NOW).kind, PARK_NOTHING);
	struct park_key idle = { .tenant = 1, .used_ms = NOW - 60000 };
	assert_int_equal(park_plan(&idle, 1, &rules, NOW).kind, PARK_NOTHING);
}

static void a_kind_in_use_is_filled_up_and_given_up_later(void **state)
{
	(void)state;
	struct park_key key = { .tenant = 1, .used_ms = NOW };
	settle(&key, 1, NOW);
	assert_int_equal(key.parked, 3);
	assert_int_equal(settle(&key, 1, NOW + 59999), 0);
	settle(&key, 1, NOW + 60000);
	assert_int_equal(key.parked, 0);
}

static void only_so_many_are_made_at_once(void **state)
{
	(void)state;
	struct park_key key = { .tenant = 1, .used_ms = NOW, .making = 2 };
	assert_int_equal(park_plan(&key, 1, &rules, NOW).kind, PARK_NOTHING);
	key.making = 1;
	assert_int_equal(park_plan(&key, 1, &rules, NOW).kind, PARK_MAKE);
}

static void the_total_is_shared_and_stays_shared(void **state)
{
	(void)state;
	struct park_key keys[4];
	memset(keys, 0, sizeof(keys));
	for (uint32_t i = 0; i < 4; i++)
		keys[i] = (struct park_key){ .tenant = i + 1, .used_ms = NOW + i };
	uint64_t now = NOW + 10;
	settle(keys, 4, now);
	/* tenants take turns: each use takes one and makes the kind the latest */
	for (int turn = 0; turn < 40; turn++) {
		struct park_key *key = &keys[turn % 4];
		if (key->parked)
			key->parked--;
		key->used_ms = ++now;
		settle(keys, 4, now);
		uint32_t total = 0;
		for (int i = 0; i < 4; i++)
			total += keys[i].parked;
		assert_int_equal(total, 6);
	}
	for (int i = 0; i < 4; i++)
		assert_in_range(keys[i].parked, 1, 3);
}

/* Any stock, any number of kinds: the plan comes to rest, within the total, and nobody is left with nothing. */
static void the_plan_always_comes_to_rest(void **state)
{
	(void)state;
	uint64_t seed = 12345;
	for (int round = 0; round < 2000; round++) {
		struct park_key keys[12];
		memset(keys, 0, sizeof(keys));
		size_t count = 1 + (size_t)round % 12;
		uint32_t total = 0;
		for (size_t i = 0; i < count; i++) {
			seed = seed * 6364136223846793005u + 1442695040888963407u;
			keys[i].used_ms = (seed >> 33) % 100 < 80 ? NOW - (seed >> 40) % 50 : 0;
			keys[i].parked = total < rules.total ? (uint32_t)(seed >> 50) % 4 : 0;
			total += keys[i].parked;
		}
		settle(keys, count, NOW);
		total = 0;
		uint32_t used = 0;
		for (size_t i = 0; i < count; i++) {
			total += keys[i].parked;
			used += keys[i].used_ms != 0;
			if (keys[i].used_ms == 0)
				assert_int_equal(keys[i].parked, 0);
		}
		if (used <= rules.total)
			for (size_t i = 0; i < count; i++)
				assert_true(keys[i].used_ms == 0 || keys[i].parked > 0);
		assert_true(total <= rules.total + 2); /* the random start may have been above the total */
	}
}

static void no_parking_makes_nothing(void **state)
{
	(void)state;
	const struct park_rules none = { .each = 0, .total = 6, .making_max = 2, .keep_ms = 60000 };
	struct park_key key = { .tenant = 1, .used_ms = NOW };
	assert_int_equal(park_plan(&key, 1, &none, NOW).kind, PARK_NOTHING);
}

static void fewest_slots_then_longest_unserved_then_oldest(void **state)
{
	(void)state;
	const struct waiting_run by_running[] = { { 1, 2, 0, 1 }, { 2, 1, 9, 9 }, { 3, 2, 0, 0 } };
	assert_int_equal(fair_pick(by_running, 3), 1);
	const struct waiting_run by_served[] = { { 1, 1, 7, 1 }, { 2, 1, 3, 9 }, { 3, 1, 8, 0 } };
	assert_int_equal(fair_pick(by_served, 3), 1);
	const struct waiting_run by_age[] = { { 1, 0, 5, 4 }, { 1, 0, 5, 2 }, { 1, 0, 5, 3 } };
	assert_int_equal(fair_pick(by_age, 3), 1);
	assert_int_equal(fair_pick(by_age, 1), 0);
}

/* One slot, a flood of tenant 1 before one request of tenant 2: the flood gets every second turn at most. */
static void a_flood_does_not_hold_up_the_quiet(void **state)
{
	(void)state;
	struct waiting_run waiting[20];
	for (uint32_t i = 0; i < 19; i++)
		waiting[i] = (struct waiting_run){ .tenant = 1, .served = 1, .arrival = i };
	waiting[19] = (struct waiting_run){ .tenant = 2, .served = 0, .arrival = 19 };
	assert_int_equal(fair_pick(waiting, 20), 19);
}

static struct warden_receipt judge(struct ending ending)
{
	struct warden_receipt receipt = { .reason = 99, .signal = 99, .exit_code = 999 };
	verdict_fill(&ending, &receipt);
	return receipt;
}

#define EXITED_WITH(code) ((code) << 8)

static void endings_are_told_apart(void **state)
{
	(void)state;
	const struct {
		struct ending ending;
		uint32_t reason, exit_code, signal;
	} cases[] = {
		{ { .has_status = true, .wait_status = EXITED_WITH(0) }, WARDEN_EXITED, 0, 0 },
		{ { .has_status = true, .wait_status = EXITED_WITH(137) }, WARDEN_EXITED, 137, 0 },
		{ { .has_status = true, .wait_status = SIGSEGV }, WARDEN_SIGNALLED, 139, SIGSEGV },
		{ { .has_status = true, .wait_status = SIGKILL, .oom_kills = 1 }, WARDEN_OOM, 137, SIGKILL },
		{ { .has_status = true, .wait_status = EXITED_WITH(0), .oom_kills = 1 }, WARDEN_EXITED, 0, 0 },
		{ { .has_status = true, .wait_status = EXITED_WITH(1), .oom_kills = 1 }, WARDEN_OOM, 1, 0 },
		{ { .oom_kills = 2 }, WARDEN_OOM, 137, SIGKILL },
		{ { .stopped = true, .stop_reason = WARDEN_TIMEOUT, .oom_kills = 1 }, WARDEN_TIMEOUT, 137, SIGKILL },
		{ { .stopped = true,
		    .stop_reason = WARDEN_CANCELLED,
		    .has_status = true,
		    .wait_status = EXITED_WITH(3) },
		  WARDEN_CANCELLED,
		  3,
		  0 },
		{ { .stopped = true, .stop_reason = WARDEN_OUTPUT_CAP }, WARDEN_OUTPUT_CAP, 137, SIGKILL },
		{ { .oom_kills = 0 }, WARDEN_SIGNALLED, 137, SIGKILL },
		{ { .init_exited = true }, WARDEN_CANCELLED, 0, 0 },
		{ { .init_exited = true, .init_exit_code = 125 }, WARDEN_EXITED, 125, 0 },
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct warden_receipt receipt = judge(cases[i].ending);
		assert_int_equal(receipt.reason, cases[i].reason);
		assert_int_equal(receipt.exit_code, cases[i].exit_code);
		assert_int_equal(receipt.signal, cases[i].signal);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_is_kept_for_nobody),
		cmocka_unit_test(a_kind_in_use_is_filled_up_and_given_up_later),
		cmocka_unit_test(only_so_many_are_made_at_once),
		cmocka_unit_test(the_total_is_shared_and_stays_shared),
		cmocka_unit_test(the_plan_always_comes_to_rest),
		cmocka_unit_test(no_parking_makes_nothing),
		cmocka_unit_test(fewest_slots_then_longest_unserved_then_oldest),
		cmocka_unit_test(a_flood_does_not_hold_up_the_quiet),
		cmocka_unit_test(endings_are_told_apart),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
