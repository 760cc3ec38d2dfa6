/*
 * Cron expressions: what is taken and refused, fires by tables, and random expressions in real zones against a scan of
 * every minute that knows nothing but the C library's local time.
 */
#include "lib/base/cleanup.h"
#include "lib/model/cron.h"
#include "tests/kit/opened.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#define DAY 86400

static struct wl_cron read_cron(const char *text)
{
	struct wl_cron cron = { 0 };
	struct wl_error err = { 0 };
	if (wl_cron_parse(text, &cron, &err) < 0)
		fail_msg("%s: %s", text, err.text);
	return cron;
}

static int64_t instant(const char *utc)
{
	struct tm tm = { 0 };
	if (!strptime(utc, "%Y-%m-%d %H:%M:%S", &tm))
		fail_msg("'%s' is no time", utc);
	return timegm(&tm);
}

/* ---- expressions
 * ------------------------------------------------------------------------------------------------------ */

static const struct {
	const char *text, *part;
} refused[] = {
	{ "", "0 fields" },
	{ "* * * *", "4 fields" },
	{ "* * * * * * *", "7 fields" },
	{ "@daily", "1 fields" },
	{ "60 * * * *", "minute goes from 0 to 59" },
	{ "-1 * * * *", "minute has no value" },
	{ "* 24 * * *", "hour goes from 0 to 23" },
	{ "* * 0 * *", "day of the month goes from 1 to 31" },
	{ "* * 32 * *", "day of the month" },
	{ "* * * 0 *", "month goes from 1 to 12" },
	{ "* * * 13 *", "month goes" },
	{ "* * * * 8", "day of the week goes from 0 to 7" },
	{ "60 * * * * *", "second goes" },
	{ "* * * JANUARY *", "month has 'U'" },
	{ "* * * * MONDAY", "day of the week has 'D'" },
	{ "* * * MON *", "month has no value" },
	{ "MON * * * *", "minute has no value" },
	{ "5-1 * * * *", "ends before it begins" },
	{ "* * * DEC-JAN *", "ends before it begins" },
	{ "*/0 * * * *", "step that is not from 1 to 59" },
	{ "*/60 * * * *", "step that is not" },
	{ "*/ * * * *", "step that is not" },
	{ "5/10 * * * *", "step behind something else" },
	{ "1,,2 * * * *", "no value" },
	{ "1, * * * *", "no value" },
	{ ",1 * * * *", "no value" },
	{ "1- * * * *", "no value" },
	{ "1-2-3 * * * *", "'-'" },
	{ "*5 * * * *", "'5'" },
	{ "** * * * *", "'*'" },
	{ "1.5 * * * *", "'.'" },
	{ "99999999999999999999 * * * *", "minute goes" },
	{ "4294967301 * * * *", "minute goes" },
	{ "0x5 * * * *", "'x'" },
	{ "+5 * * * *", "no value" },
	{ "0 0 L * *", "extension" },
	{ "0 0 15W * *", "'W'" },
	{ "0 0 ? * *", "extension" },
	{ "0 0 * * 5#2", "'#'" },
	{ "H 0 * * *", "extension" },
	{ "0 0 30 2 *", "never fires" },
	{ "0 0 31 2,4,6,9,11 *", "never fires" },
	{ "0 0 30-31 FEB */2", "never fires" },
	{ "0\n0 * * *", "4 fields" },
	{ "0\n0 * * * *", "'\n'" },
	{ "\xc2\xbd * * * *", "no value" },
};

static void what_is_refused(void **state)
{
	(void)state;
	for (size_t i = 0; i < WL_COUNT_OF(refused); i++) {
		struct wl_cron cron;
		struct wl_error err = { 0 };
		if (wl_cron_parse(refused[i].text, &cron, &err) != -EINVAL)
			fail_msg("'%s' was taken", refused[i].text);
		if (!strstr(err.text, refused[i].part))
			fail_msg("'%s': %s", refused[i].text, err.text);
	}
	char longest[WL_CRON_TEXT + 2];
	memset(longest, ' ', sizeof(longest));
	memcpy(longest, "* * * * *", 9);
	longest[WL_CRON_TEXT + 1] = '\0';
	struct wl_cron cron;
	assert_int_equal(wl_cron_parse(longest, &cron, NULL), -EINVAL);
	longest[WL_CRON_TEXT] = '\0';
	assert_int_equal(wl_cron_parse(longest, &cron, NULL), 0);
}

static void what_fields_mean(void **state)
{
	(void)state;
	struct wl_cron cron = read_cron("0,30 9-17/4 1,15 JAN,jul MON-Fri");
	assert_true(cron.seconds == 1);
	assert_true(cron.minutes == ((1ULL << 0) | (1ULL << 30)));
	assert_true(cron.hours == ((1U << 9) | (1U << 13) | (1U << 17)));
	assert_true(cron.days == ((1U << 1) | (1U << 15)));
	assert_true(cron.months == ((1U << 1) | (1U << 7)));
	assert_true(cron.weekdays == 0x3e);
	assert_false(cron.any_day || cron.any_weekday || cron.repeats);
	assert_true(read_cron("* * * * 7").weekdays == 1);
	assert_true(read_cron("* * * * 0,7").weekdays == 1);
	assert_true(read_cron("* * * * FRI-SUN").weekdays == 0x61);
	assert_true(read_cron("* * * * 5-7").weekdays == 0x61);
	assert_true(read_cron("* * * * *").weekdays == 0x7f);
	assert_true(read_cron("* * * * */6").weekdays == 0x41);
	assert_true(read_cron("*/20 * * * * *").seconds == ((1ULL << 0) | (1ULL << 20) | (1ULL << 40)));
	assert_true(read_cron("5-5/1 * * * *").minutes == 1ULL << 5);
	assert_true(read_cron(" \t0  0 1 1 *  ").days == 2);
	assert_true(read_cron("*/5 3 * * *").repeats);
	assert_true(read_cron("0 */2 * * *").repeats);
	assert_false(read_cron("* 0 1 * * *").repeats); /* the seconds do not count */
	assert_false(read_cron("0-59 1 * * *").repeats);
}

/* ---- fires by tables
 * ---------------------------------------------------------------------------------------------------- */

struct fires {
	const char *zone, *cron, *after, *fires[6]; /* UTC */
};

static const struct fires tables[] = {
	{ "UTC", "* * * * *", "2026-01-31 23:58:59", { "2026-01-31 23:59:00", "2026-02-01 00:00:00" } },
	{ "UTC", "0 0 1 1 *", "2026-01-01 00:00:00", { "2027-01-01 00:00:00" } },
	{ "UTC", "59 59 23 31 12 *", "2026-06-01 00:00:00", { "2026-12-31 23:59:59", "2027-12-31 23:59:59" } },
	{ "UTC",
	  "*/25 * * * * *",
	  "2026-01-01 00:00:00",
	  { "2026-01-01 00:00:25", "2026-01-01 00:00:50", "2026-01-01 00:01:00" } },
	{ "UTC", "15,45 1 10 * * *", "2026-01-01 10:01:15", { "2026-01-01 10:01:45", "2026-01-02 10:01:15" } },
	/* leap days, and a century without one */
	{ "UTC", "0 0 29 2 *", "2026-01-01 00:00:00", { "2028-02-29 00:00:00", "2032-02-29 00:00:00" } },
	{ "UTC", "0 0 29 2 *", "2096-02-29 00:00:00", { "2104-02-29 00:00:00" } },
	{ "Europe/Zurich", "0 12 29 2 *", "2096-03-01 00:00:00", { "2104-02-29 11:00:00" } },
	{ "UTC", "0 0 28-31 2 *", "2099-12-31 00:00:00", { "2100-02-28 00:00:00", "2101-02-28 00:00:00" } },
	{ "UTC", "0 0 31 * *", "2026-01-31 00:00:00", { "2026-03-31 00:00:00", "2026-05-31 00:00:00" } },
	{ "UTC", "0 0 29 2 */6", "2026-01-01 00:00:00", { "2032-02-29 00:00:00", "2048-02-29 00:00:00" } },
	/* day of the month and day of the week: one is enough when both are given, else both */
	{ "UTC",
	  "0 0 13 * FRI",
	  "2026-02-01 00:00:00",
	  { "2026-02-06 00:00:00", "2026-02-13 00:00:00", "2026-02-20 00:00:00" } },
	{ "UTC", "0 0 13 * *", "2026-02-01 00:00:00", { "2026-02-13 00:00:00", "2026-03-13 00:00:00" } },
	{ "UTC", "0 0 * * FRI", "2026-02-01 00:00:00", { "2026-02-06 00:00:00", "2026-02-13 00:00:00" } },
	{ "UTC", "0 0 */2 * FRI", "2026-02-01 00:00:00", { "2026-02-13 00:00:00", "2026-02-27 00:00:00" } },
	{ "UTC", "0 0 30 2 SUN", "2026-02-01 00:00:00", { "2026-02-08 00:00:00" } },
	/* zones */
	{ "Europe/Zurich", "0 9 * * 1-5", "2026-07-03 00:00:00", { "2026-07-03 07:00:00", "2026-07-06 07:00:00" } },
	{ "Asia/Kathmandu", "0 9 * * *", "2026-01-01 00:00:00", { "2026-01-01 03:15:00" } },
	{ "Pacific/Kiritimati", "0 0 * * *", "2026-01-01 00:00:00", { "2026-01-01 10:00:00" } },
	/* clocks go forward: 2026-03-29 02:00 to 03:00 in Zurich, at 01:00 UTC */
	{ "Europe/Zurich", "30 2 * * *", "2026-03-28 12:00:00", { "2026-03-29 01:00:00", "2026-03-30 00:30:00" } },
	{ "Europe/Zurich", "0,15,30 2 * * *", "2026-03-28 12:00:00", { "2026-03-29 01:00:00", "2026-03-30 00:00:00" } },
	{ "Europe/Zurich", "*/30 2 * * *", "2026-03-28 12:00:00", { "2026-03-29 01:00:00", "2026-03-30 00:00:00" } },
	{ "Europe/Zurich",
	  "0 */2 * * *",
	  "2026-03-28 22:30:00",
	  { "2026-03-28 23:00:00", "2026-03-29 01:00:00", "2026-03-29 02:00:00" } },
	{ "Europe/Zurich", "0 3 * * *", "2026-03-28 12:00:00", { "2026-03-29 01:00:00", "2026-03-30 01:00:00" } },
	{ "Europe/Zurich", "30 2,3 * * *", "2026-03-28 12:00:00", { "2026-03-29 01:00:00", "2026-03-29 01:30:00" } },
	{ "Europe/Zurich",
	  "15 * * * *",
	  "2026-03-28 23:30:00",
	  { "2026-03-29 00:15:00", "2026-03-29 01:15:00", "2026-03-29 02:15:00" } },
	{ "Europe/Zurich", "*/20 * * * *", "2026-03-29 00:30:00", { "2026-03-29 00:40:00", "2026-03-29 01:00:00" } },
	/* ... and back: 2026-10-25 03:00 to 02:00, at 01:00 UTC */
	{ "Europe/Zurich", "30 2 * * *", "2026-10-24 12:00:00", { "2026-10-25 00:30:00", "2026-10-26 01:30:00" } },
	{ "Europe/Zurich", "0 2 * * *", "2026-10-24 12:00:00", { "2026-10-25 00:00:00", "2026-10-26 01:00:00" } },
	{ "Europe/Zurich", "0 3 * * *", "2026-10-24 12:00:00", { "2026-10-25 02:00:00", "2026-10-26 02:00:00" } },
	{ "Europe/Zurich",
	  "*/30 2 * * *",
	  "2026-10-24 12:00:00",
	  { "2026-10-25 00:00:00", "2026-10-25 00:30:00", "2026-10-25 01:00:00", "2026-10-25 01:30:00" } },
	{ "Europe/Zurich",
	  "30 * * * *",
	  "2026-10-24 23:45:00",
	  { "2026-10-25 00:30:00", "2026-10-25 01:30:00", "2026-10-25 02:30:00" } },
	{ "Europe/Zurich", "*/10 30 2 * * *", "2026-10-25 00:30:40", { "2026-10-25 00:30:50", "2026-10-26 01:30:00" } },
	/* asked from within the second hour, of which fixed hours know nothing */
	{ "Europe/Zurich", "30 2 * * *", "2026-10-25 01:10:00", { "2026-10-26 01:30:00" } },
	/* half an hour (Lord Howe), at midnight (Santiago), a whole day (Apia has no 2011-12-30) */
	{ "Australia/Lord_Howe",
	  "15 2 * * *",
	  "2026-10-03 00:00:00",
	  { "2026-10-03 15:30:00", "2026-10-04 15:15:00" } },
	{ "Australia/Lord_Howe",
	  "45 1 * * *",
	  "2026-04-04 00:00:00",
	  { "2026-04-04 14:45:00", "2026-04-05 15:15:00" } },
	{ "America/Santiago", "0 0 * * *", "2026-09-05 12:00:00", { "2026-09-06 04:00:00", "2026-09-07 03:00:00" } },
	{ "Pacific/Apia", "0 12 * * *", "2011-12-29 23:00:00", { "2011-12-30 10:00:00", "2011-12-30 22:00:00" } },
	{ "America/New_York", "30 2 8 3 *", "2026-01-01 00:00:00", { "2026-03-08 07:00:00", "2027-03-08 07:30:00" } },
	{ "America/New_York", "30 1 * * *", "2050-11-05 12:00:00", { "2050-11-06 05:30:00", "2050-11-07 06:30:00" } },
};

static void fires_by_tables(void **state)
{
	(void)state;
	for (size_t i = 0; i < WL_COUNT_OF(tables); i++) {
		const struct fires *row = &tables[i];
		_wl_zone_ struct wl_zone *zone = open_zone(row->zone);
		struct wl_cron cron = read_cron(row->cron);
		int64_t t = instant(row->after);
		for (int n = 0; row->fires[n]; n++) {
			char text[32] = "none";
			bool found = wl_cron_next(&cron, zone, t, &t);
			time_t at = (time_t)t;
			if (found)
				(void)strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S", gmtime(&at));
			if (strcmp(text, row->fires[n]) != 0)
				fail_msg("%s '%s' after %s: fire %d is %s, not %s", row->zone, row->cron, row->after, n,
					 text, row->fires[n]);
		}
	}
}

/* ---- against a scan of every minute
 * ------------------------------------------------------------------------------------- */

#define SCAN_DAYS 4
#define SCAN_MINUTES (SCAN_DAYS * 1440)
#define EARLIER_MINUTES (27 * 60)

struct scan {
	int64_t from; /* a whole minute */
	long offsets[EARLIER_MINUTES + SCAN_MINUTES + 1];
};

static void fill_scan(struct scan *scan, int64_t from)
{
	scan->from = from - from % 60;
	for (int i = 0; i < (int)WL_COUNT_OF(scan->offsets); i++) {
		time_t at = (time_t)(scan->from + (i - EARLIER_MINUTES) * 60LL);
		struct tm tm;
		assert_non_null(localtime_r(&at, &tm));
		scan->offsets[i] = tm.tm_gmtoff;
	}
}

static int64_t local_of(const struct scan *scan, int i)
{
	return scan->from + (i - EARLIER_MINUTES) * 60LL + scan->offsets[i];
}

static bool matches(const struct wl_cron *cron, int64_t local)
{
	time_t at = (time_t)local;
	struct tm tm;
	assert_non_null(gmtime_r(&at, &tm));
	bool month_day = cron->days >> tm.tm_mday & 1, weekday = cron->weekdays >> tm.tm_wday & 1;
	bool date = cron->any_day || cron->any_weekday ? month_day && weekday : month_day || weekday;
	return date && cron->months >> (tm.tm_mon + 1) & 1 && cron->hours >> tm.tm_hour & 1 &&
	       cron->minutes >> tm.tm_min & 1;
}

static bool came_before(const struct scan *scan, int i)
{
	for (int j = i - 1; j >= i - EARLIER_MINUTES && j >= 0; j--)
		if (local_of(scan, j) == local_of(scan, i))
			return true;
	return false;
}

static bool fires_at(const struct wl_cron *cron, const struct scan *scan, int i)
{
	int64_t local = local_of(scan, i);
	if (matches(cron, local) && (cron->repeats || !came_before(scan, i)))
		return true;
	for (int64_t missing = local_of(scan, i - 1) + 60; missing < local && cron->hours != 0xffffff; missing += 60)
		if (matches(cron, missing))
			return true;
	return false;
}

static void compare(const char *zone_name, const struct wl_zone *zone, const char *text, const struct scan *scan)
{
	struct wl_cron cron = read_cron(text);
	int64_t t = scan->from - 1;
	int64_t next;
	bool more = wl_cron_next(&cron, zone, t, &next);
	for (int i = EARLIER_MINUTES; i < EARLIER_MINUTES + SCAN_MINUTES; i++) {
		int64_t at = scan->from + (i - EARLIER_MINUTES) * 60LL;
		bool fires = fires_at(&cron, scan, i), said = more && next == at;
		if (fires != said)
			fail_msg("%s '%s' at %lld: %s, the next one is %lld", zone_name, text, (long long)at,
				 fires ? "a fire is missing" : "a fire too many", (long long)next);
		if (said)
			more = wl_cron_next(&cron, zone, at, &next);
	}
}

static uint32_t random_state = 20260329;

static int random_below(int n)
{
	random_state = random_state * 1664525 + 1013904223;
	return (int)((random_state >> 8) % (uint32_t)n);
}

/* One field with every way to write it. */
static void random_field(char *into, size_t size, int least, int most)
{
	int a = least + random_below(most - least + 1), b = least + random_below(most - least + 1);
	int low = a < b ? a : b, high = a < b ? b : a;
	switch (random_below(5)) {
	case 0:
	case 1:
		(void)snprintf(into, size, "*");
		break;
	case 2:
		(void)snprintf(into, size, "*/%d", 1 + random_below((most - least + 1) / 2));
		break;
	case 3:
		(void)snprintf(into, size, "%d-%d", low, high);
		break;
	default:
		(void)snprintf(into, size, "%d,%d", a, b);
	}
}

static void random_cron(char text[64])
{
	char minute[12], hour[12], day[12], weekday[12];
	random_field(minute, sizeof(minute), 0, 59);
	random_field(hour, sizeof(hour), 0, 4 + random_below(20));
	random_field(day, sizeof(day), 1, 31);
	random_field(weekday, sizeof(weekday), 0, 6);
	(void)snprintf(text, 64, "%s %s %s * %s", minute, hour, random_below(3) ? "*" : day,
		       random_below(3) ? "*" : weekday);
}

/* The days around each change of a zone's offset since 1995, with a few expressions each. */
static int scan_zone(const char *name, struct scan *scan)
{
	char variable[256];
	_wl_zone_ struct wl_zone *zone = open_zone(name);
	int changes = 0;
	(void)snprintf(variable, sizeof(variable), ":%s/%s", ZONEINFO, name);
	(void)setenv("TZ", variable, 1);
	tzset();
	for (int64_t t = instant("1995-01-01 00:00:00"), last = instant("2060-01-01 00:00:00"); t < last; changes++) {
		struct wl_zone_span span = wl_zone_span(zone, t);
		if (span.end >= last)
			break;
		t = span.end;
		if (random_below(24))
			continue;
		fill_scan(scan, span.end - (SCAN_DAYS / 2) * DAY + random_below(DAY / 60) * 60);
		for (int n = 0; n < 3; n++) {
			char text[64];
			random_cron(text);
			compare(name, zone, text, scan);
		}
	}
	return changes;
}

static void random_expressions_in_every_zone(void **state)
{
	(void)state;
	char line[512];
	int changes = 0;
	_wl_free_ struct scan *scan = malloc(sizeof(*scan));
	_wl_fclose_ FILE *list = fopen(ZONEINFO "/tzdata.zi", "re");
	assert_non_null(scan);
	assert_non_null(list);
	while (fgets(line, sizeof(line), list)) {
		char name[128];
		if (sscanf(line, "Z %127s", name) == 1 && wl_zone_name_valid(name))
			changes += scan_zone(name, scan);
	}
	(void)unsetenv("TZ");
	assert_true(changes > 5000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_refused),
		cmocka_unit_test(what_fields_mean),
		cmocka_unit_test(fires_by_tables),
		cmocka_unit_test(random_expressions_in_every_zone),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
