/* What becomes of a schedule that is due: by its policy, by how late it is, and against a plain enumeration. */
#include "scheduler/core/schedule_plan.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#define HOUR 3600
#define DAY 86400
#define GRACE 60
#define NOON 1767268800LL /* 2026-01-01 12:00:00 UTC */

static struct wl_zone *utc;

static struct schedule_plan plan_of(const char *text, int64_t first, int64_t now, const char *misfire)
{
	struct wl_cron cron;
	struct schedule_plan plan;
	struct wl_error err = { 0 };
	if (wl_cron_parse(text, &cron, &err) < 0)
		fail_msg("%s: %s", text, err.text);
	schedule_plan_make(&cron, utc, first, now, schedule_misfire_of(misfire), GRACE, &plan);
	return plan;
}

static void on_time_fires_once_whatever_the_policy(void **state)
{
	(void)state;
	static const char *const policies[] = { "skip", "latest", "all" };
	for (size_t i = 0; i < 3; i++) {
		struct schedule_plan plan = plan_of("0 * * * *", NOON, NOON, policies[i]);
		assert_int_equal(plan.count, 1);
		assert_int_equal(plan.fires[0], NOON);
		assert_false(plan.missed);
		assert_int_equal(plan.shown, SCHEDULE_SHOWN);
		assert_int_equal(plan.next[0], NOON + HOUR);
		assert_int_equal(plan.next[4], NOON + 5 * HOUR);
		/* as late as can be, and a second more */
		assert_int_equal(plan_of("0 * * * *", NOON, NOON + GRACE, policies[i]).count, 1);
		plan = plan_of("0 * * * *", NOON, NOON + GRACE + 1, policies[i]);
		assert_int_equal(plan.count, i == 0 ? 0 : 1);
		assert_true(plan.missed == (i == 0));
	}
}

static void all_seconds_of_a_short_pause_fire(void **state)
{
	(void)state;
	struct schedule_plan plan = plan_of("* * * * * *", NOON, NOON + 30, "skip");
	assert_int_equal(plan.count, 31);
	for (int i = 0; i < 31; i++)
		assert_int_equal(plan.fires[i], NOON + i);
	assert_false(plan.missed);
	assert_int_equal(plan.next[0], NOON + 31);
}

static void after_a_long_pause(void **state)
{
	(void)state;
	/* hours from NOON on, two and a half of them late */
	int64_t now = NOON + 2 * HOUR + HOUR / 2;
	struct schedule_plan plan = plan_of("0 * * * *", NOON, now, "skip");
	assert_int_equal(plan.count, 0);
	assert_true(plan.missed);
	plan = plan_of("0 * * * *", NOON, now, "latest");
	assert_int_equal(plan.count, 1);
	assert_int_equal(plan.fires[0], NOON + 2 * HOUR);
	assert_true(plan.missed);
	plan = plan_of("0 * * * *", NOON, now, "all");
	assert_int_equal(plan.count, 3);
	assert_int_equal(plan.fires[0], NOON);
	assert_false(plan.missed);
	assert_int_equal(plan.next[0], NOON + 3 * HOUR);
	/* one that is on time is enough for "latest" */
	plan = plan_of("0 * * * *", NOON, NOON + 3 * HOUR + 5, "latest");
	assert_int_equal(plan.count, 1);
	assert_int_equal(plan.fires[0], NOON + 3 * HOUR);
}

static void all_has_bounds(void **state)
{
	(void)state;
	/* a day of minutes: the last hundred */
	struct schedule_plan plan = plan_of("* * * * *", NOON, NOON + 600 * 60, "all");
	assert_int_equal(plan.count, SCHEDULE_FIRES_MAX);
	assert_int_equal(plan.fires[0], NOON + 501 * 60);
	assert_int_equal(plan.fires[99], NOON + 600 * 60);
	assert_true(plan.missed);
	/* three days of hours: those of the last one */
	plan = plan_of("0 * * * *", NOON, NOON + 3 * DAY, "all");
	assert_int_equal(plan.count, 25);
	assert_int_equal(plan.fires[0], NOON + 2 * DAY);
	assert_true(plan.missed);
	/* nothing within the day */
	plan = plan_of("0 12 1 * *", NOON, NOON + 20 * DAY, "all");
	assert_int_equal(plan.count, 0);
	assert_true(plan.missed);
}

static void the_latest_is_found_however_long_ago(void **state)
{
	(void)state;
	struct schedule_plan plan = plan_of("0 12 1 1 *", NOON, NOON + 300LL * DAY, "latest");
	assert_int_equal(plan.count, 1);
	assert_int_equal(plan.fires[0], NOON);
	assert_false(plan.missed);
	/* each second of the first of January, looked at in March */
	plan = plan_of("* * * 1 1 *", NOON, NOON + 60LL * DAY, "latest");
	assert_int_equal(plan.fires[0], NOON + 12 * HOUR - 1);
	/* each second for ten years */
	plan = plan_of("* * * * * *", NOON, NOON + 3650LL * DAY, "latest");
	assert_int_equal(plan.count, GRACE + 1);
	assert_true(plan.missed);
}

static void the_latest_is_what_a_plain_walk_finds(void **state)
{
	(void)state;
	static const char *const crons[] = { "*/7 3-5 * * *", "0 0 13 * FRI", "30 4 1,15 * *", "*/20 */9 * * MON" };
	for (size_t i = 0; i < sizeof(crons) / sizeof(crons[0]); i++)
		for (int64_t now = NOON; now < NOON + 90LL * DAY; now += 41413) {
			struct wl_cron cron;
			int64_t first, t, last;
			assert_int_equal(wl_cron_parse(crons[i], &cron, NULL), 0);
			assert_true(wl_cron_next(&cron, utc, NOON, &first));
			if (first > now)
				continue;
			for (t = last = first; t <= now; (void)wl_cron_next(&cron, utc, t, &t))
				last = t;
			struct schedule_plan plan = plan_of(crons[i], first, now, "latest");
			assert_int_equal(plan.count, 1);
			assert_int_equal(plan.fires[0], last);
			assert_int_equal(plan.next[0], t);
		}
}

static int open_utc(void **state)
{
	(void)state;
	return wl_zone_open("/usr/share/zoneinfo", "UTC", &utc, NULL);
}

static int close_utc(void **state)
{
	(void)state;
	wl_zone_close(utc);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(on_time_fires_once_whatever_the_policy),
		cmocka_unit_test(all_seconds_of_a_short_pause_fire),
		cmocka_unit_test(after_a_long_pause),
		cmocka_unit_test(all_has_bounds),
		cmocka_unit_test(the_latest_is_found_however_long_ago),
		cmocka_unit_test(the_latest_is_what_a_plain_walk_finds),
	};
	return cmocka_run_group_tests(tests, open_utc, close_utc);
}
