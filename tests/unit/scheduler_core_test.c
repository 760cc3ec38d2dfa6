/* The pure decisions of the scheduler. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "scheduler/core/dispatch_plan.h"
#include "scheduler/core/upkeep_plan.h"

#include <errno.h>

static void the_supervisor_with_most_room_is_picked(void **state)
{
	(void)state;
	struct plan_credit credits[] = { { 3 }, { 9 }, { -2 }, { 9 } };
	assert_int_equal(plan_pick(credits, 4, 0), 1);
	assert_int_equal(plan_pick(credits, 4, 2), 3);
	credits[1].free = credits[3].free = 0;
	assert_int_equal(plan_pick(credits, 4, 1), 0);
	credits[0].free = 0;
	assert_int_equal(plan_pick(credits, 4, 0), -1);
	assert_int_equal(plan_pick(credits, 0, 0), -1);
}

static void a_burst_is_spread_over_supervisors(void **state)
{
	(void)state;
	assert_int_equal(plan_batch(256, 1), PLAN_MOST_CLAIMED);
	assert_int_equal(plan_batch(5, 1), 5);
	assert_int_equal(plan_batch(256, 2), PLAN_MOST_CLAIMED / 2);
	assert_int_equal(plan_batch(256, 100), 4);
	assert_int_equal(plan_batch(1, 100), 1);
}

static void shards_with_work_are_visited_in_turn(void **state)
{
	(void)state;
	struct plan_visits visits = { 0 };
	assert_int_equal(plan_next(&visits), -1);
	plan_rung(&visits, 3);
	plan_rung(&visits, 15);
	plan_rung(&visits, 3);
	assert_int_equal(plan_next(&visits), 3);
	assert_int_equal(plan_next(&visits), 15);
	assert_int_equal(plan_next(&visits), 3);
	plan_visited(&visits, 3, 32, 32);
	assert_int_equal(plan_next(&visits), 15);
	plan_visited(&visits, 15, 32, 31);
	assert_int_equal(plan_next(&visits), 3);
	plan_visited(&visits, 3, 32, -EAGAIN);
	assert_int_equal(plan_next(&visits), -1);
	plan_all(&visits);
	for (int i = 0; i < PLAN_SHARDS; i++)
		plan_visited(&visits, plan_next(&visits), 1, 0);
	assert_int_equal(plan_next(&visits), -1);
}

static void work_without_room_is_looked_at_again_soon(void **state)
{
	(void)state;
	struct plan_visits visits = { 0 };
	assert_int_equal(plan_wait_ms(&visits, 250), 250);
	plan_rung(&visits, 0);
	assert_in_range(plan_wait_ms(&visits, 250), 1, 20);
	assert_int_equal(plan_wait_ms(&visits, 5), 5);
}

static void a_timer_is_due_once_a_period(void **state)
{
	(void)state;
	struct upkeep_timer timers[2] = { { .period_ms = 100, .due_ms = 1000 }, { .period_ms = 50, .due_ms = 1030 } };
	assert_int_equal(upkeep_rest(timers, 2, 900), 100);
	assert_false(upkeep_due(&timers[0], 999));
	assert_true(upkeep_due(&timers[0], 1000));
	assert_false(upkeep_due(&timers[0], 1099));
	assert_int_equal(upkeep_rest(timers, 2, 1010), 20);
	assert_int_equal(upkeep_rest(timers, 2, 5000), 0);
	/* a pause of ten periods is one time, not ten */
	assert_true(upkeep_due(&timers[0], 2000));
	assert_false(upkeep_due(&timers[0], 2050));
	assert_true(upkeep_due(&timers[0], 2100));
}

static void pauses_grow_to_their_limit(void **state)
{
	(void)state;
	assert_int_equal(upkeep_pause(1), 50);
	assert_int_equal(upkeep_pause(2), 100);
	assert_int_equal(upkeep_pause(6), 1600);
	assert_int_equal(upkeep_pause(7), 2000);
	assert_int_equal(upkeep_pause(1000000), 2000);
}

static void a_shard_is_ready_only_with_its_gen_in_its_server(void **state)
{
	(void)state;
	assert_int_equal(shard_judge("aa", "aa", true), SHARD_READY);
	assert_int_equal(shard_judge("aa", "aa", false), SHARD_REBUILD);
	/* an old copy of the data in another server holds the gen, too */
	assert_int_equal(shard_judge("aa", "bb", true), SHARD_REBUILD);
	assert_int_equal(shard_judge("", "bb", true), SHARD_REBUILD);
}

static void the_sweep_goes_through_all_shards(void **state)
{
	(void)state;
	struct sweep_cursor cursor = { .shard = 14 };
	assert_false(sweep_advance(&cursor, 16, 512, 512, 9000));
	assert_int_equal(cursor.shard, 14);
	assert_int_equal(cursor.after_seq, 9000);
	assert_true(sweep_advance(&cursor, 16, 511, 512, 9600));
	assert_int_equal(cursor.shard, 15);
	assert_int_equal(cursor.after_seq, 0);
	assert_true(sweep_advance(&cursor, 16, 0, 512, 0));
	assert_int_equal(cursor.shard, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_supervisor_with_most_room_is_picked),
		cmocka_unit_test(a_burst_is_spread_over_supervisors),
		cmocka_unit_test(shards_with_work_are_visited_in_turn),
		cmocka_unit_test(work_without_room_is_looked_at_again_soon),
		cmocka_unit_test(a_timer_is_due_once_a_period),
		cmocka_unit_test(pauses_grow_to_their_limit),
		cmocka_unit_test(a_shard_is_ready_only_with_its_gen_in_its_server),
		cmocka_unit_test(the_sweep_goes_through_all_shards),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
