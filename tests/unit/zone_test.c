/* Time zones: the files of this machine against the C library's reading of them, and damaged files. */
#include "lib/base/buffer.h"
#include "lib/base/cleanup.h"
#include "lib/base/zone.h"
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

#define YEAR 31556952LL

/* The C library's offset, when TZ is set. */
static long offset_of_libc(int64_t t)
{
	time_t at = (time_t)t;
	struct tm tm;
	assert_non_null(localtime_r(&at, &tm));
	return tm.tm_gmtoff;
}

static void agree(const char *name, const struct wl_zone *zone, int64_t t)
{
	struct wl_zone_span span = wl_zone_span(zone, t);
	if (span.start > t || span.end <= t)
		fail_msg("%s: the span [%lld, %lld) is not that of %lld", name, (long long)span.start,
			 (long long)span.end, (long long)t);
	if (span.offset != offset_of_libc(t))
		fail_msg("%s at %lld: %d, the C library says %ld", name, (long long)t, span.offset, offset_of_libc(t));
}

/* All spans from 1900 to 2120: both ends of each, and that neighbours differ. */
static int walk_spans(const char *name, const struct wl_zone *zone)
{
	int64_t t = -70 * YEAR, last = 150 * YEAR;
	int count = 0;
	while (t < last) {
		struct wl_zone_span span = wl_zone_span(zone, t);
		agree(name, zone, t);
		if (span.end >= last)
			break;
		agree(name, zone, span.end - 1);
		if (wl_zone_span(zone, span.end).offset == span.offset)
			fail_msg("%s: two spans of one offset meet at %lld", name, (long long)span.end);
		assert_true(wl_zone_span(zone, span.end).start == span.end);
		t = span.end;
		count++;
	}
	return count;
}

static int check_zone(const char *name)
{
	char variable[256];
	struct wl_zone *zone = open_zone(name);
	(void)snprintf(variable, sizeof(variable), ":%s/%s", ZONEINFO, name);
	(void)setenv("TZ", variable, 1);
	tzset();
	int count = walk_spans(name, zone);
	/* nothing between the ends: a step that shares no factor with a day */
	for (int64_t t = -70 * YEAR; t < 150 * YEAR; t += 1000003)
		agree(name, zone, t);
	wl_zone_close(zone);
	return count;
}

static void every_zone_is_as_the_c_library_has_it(void **state)
{
	(void)state;
	char line[512];
	int zones = 0, spans = 0;
	_wl_fclose_ FILE *list = fopen(ZONEINFO "/tzdata.zi", "re");
	assert_non_null(list);
	while (fgets(line, sizeof(line), list)) {
		char name[128];
		if (sscanf(line, "Z %127s", name) != 1 || !wl_zone_name_valid(name))
			continue;
		spans += check_zone(name);
		zones++;
	}
	(void)unsetenv("TZ");
	assert_true(zones > 300);
	assert_true(spans > 10000);
}

static void names(void **state)
{
	(void)state;
	static const char *const good[] = { "UTC",	  "Europe/Zurich", "America/Argentina/Buenos_Aires",
					    "Etc/GMT+12", "EST5EDT",	   "US/Eastern" };
	static const char *const bad[] = { "",
					   "/etc/passwd",
					   "../zoneinfo/UTC",
					   "Europe/../UTC",
					   "Europe//Zurich",
					   "Europe/",
					   "Europe/Z\xc3\xbcrich",
					   "right/UTC",
					   "posix/UTC",
					   "localtime",
					   "posixrules",
					   "Europe/Zurich ",
					   "UTC\n",
					   ".hidden",
					   "zone.tab",
					   "+01:00",
					   "Aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa" };
	struct wl_zone *zone = NULL;
	struct wl_error err;
	for (size_t i = 0; i < WL_COUNT_OF(good); i++)
		wl_zone_close(open_zone(good[i]));
	for (size_t i = 0; i < WL_COUNT_OF(bad); i++) {
		assert_false(wl_zone_name_valid(bad[i]));
		assert_int_equal(wl_zone_open(ZONEINFO, bad[i], &zone, &err), -EINVAL);
	}
	assert_int_equal(wl_zone_open(ZONEINFO, "Europe/Atlantis", &zone, &err), -ENOENT);
	assert_string_equal(err.text, "there is no time zone 'Europe/Atlantis'");
	assert_int_equal(wl_zone_open(ZONEINFO, "Europe", &zone, &err), -ENOENT);
	assert_int_equal(wl_zone_open(ZONEINFO, "UTC/more", &zone, &err), -ENOENT);
	assert_int_equal(wl_zone_open(ZONEINFO, "leapseconds", &zone, &err), -EINVAL);
	assert_null(zone);
}

/* ---- files made here ------------------------------------------------------------------------------------------------
 */

static void put(struct wl_buffer *file, int64_t value, int bytes)
{
	for (int i = bytes - 1; i >= 0; i--)
		(void)wl_buffer_append_char(file, (char)(uint64_t)(value >> (8 * i)));
}

struct made {
	int version, leaps, count;
	int64_t times[4];
	int types[4];
	int32_t offsets[2];
	const char *footer;
};

/* A file with an empty first block. */
static void make_file(struct wl_buffer *file, const struct made *made)
{
	wl_buffer_init(file, 0);
	for (int block = 0; block < 2; block++) {
		(void)wl_buffer_append(file, "TZif", 4);
		(void)wl_buffer_append_char(file, (char)made->version);
		for (int i = 0; i < 15; i++)
			put(file, 0, 1);
		put(file, 0, 8);
		put(file, block ? made->leaps : 0, 4);
		put(file, block ? made->count : 0, 4);
		put(file, block ? 2 : 1, 4);
		put(file, 4, 4);
		for (int i = 0; block && i < made->count; i++)
			put(file, made->times[i], 8);
		for (int i = 0; block && i < made->count; i++)
			put(file, made->types[i], 1);
		for (int i = 0; i < (block ? 2 : 1); i++) {
			put(file, made->offsets[i], 4);
			put(file, 0, 2);
		}
		(void)wl_buffer_append(file, "ABC", 4);
		put(file, 0, block && made->leaps ? 12 : 0);
	}
	(void)wl_buffer_append_text(file, made->footer);
}

static struct wl_zone *read_made(const struct made *made)
{
	_wl_buffer_ struct wl_buffer file;
	struct wl_zone *zone = NULL;
	struct wl_error err = { 0 };
	make_file(&file, made);
	if (wl_zone_parse(file.data, file.length, &zone, &err) < 0)
		fail_msg("%s", err.text);
	return zone;
}

static void footers(void **state)
{
	(void)state;
	static const struct {
		const char *footer;
		int64_t t;
		int32_t offset;
	} rows[] = {
		{ "\nCET-1CEST,M3.5.0,M10.5.0/3\n", 4102444800 /* 2100-01-01 */, 3600 },
		{ "\nCET-1CEST,M3.5.0,M10.5.0/3\n", 4119033599, 7200 }, /* 2100-07-11 */
		{ "\nAEST-10AEDT,M10.1.0,M4.1.0/3\n", 4102444800, 39600 },
		{ "\nAEST-10AEDT,M10.1.0,M4.1.0/3\n", 4119033599, 36000 },
		{ "\n<-03>3\n", 4102444800, -10800 },
		{ "\n<+1030>-10:30<+11>-11,M10.1.0,M4.1.0\n", 4102444800, 39600 },
		{ "\nABC5DEF,J60/0,J61/0\n", 4107542400 + 18000 /* 2100-03-01 00:00 -5 */, -14400 },
		{ "\nABC5DEF,J60/0,J61/0\n", 4107542399 + 18000, -18000 },
		{ "\nABC5DEF,59/0,60/0\n", 1709164800 + 18000 /* 2024-02-29 00:00 -5 */, -14400 },
		/* always daylight saving: it ends where it begins again */
		{ "\nABC5DEF,0/0,J365/25\n", 4102444800, -14400 },
		{ "\nABC5DEF,0/0,J365/25\n", 4119033599, -14400 },
		{ "\nABC5DEF,M3.2.0/-24,M11.1.0/26\n", 4102444800, -18000 },
	};
	for (size_t i = 0; i < WL_COUNT_OF(rows); i++) {
		struct made made = { .version = '3', .footer = rows[i].footer };
		struct wl_zone *zone = read_made(&made);
		if (wl_zone_span(zone, rows[i].t).offset != rows[i].offset)
			fail_msg("%s at %lld: %d", rows[i].footer, (long long)rows[i].t,
				 wl_zone_span(zone, rows[i].t).offset);
		wl_zone_close(zone);
	}
}

static void damaged_files_are_refused(void **state)
{
	(void)state;
	static const struct made bad[] = {
		{ .version = '1', .footer = "\n\n" },
		{ .version = 0, .footer = "\n\n" },
		{ .version = '2', .footer = "" },
		{ .version = '2', .footer = "\nUTC0" },
		{ .version = '2', .footer = "UTC0\n" },
		{ .version = '2', .footer = "\nU0\n" },
		{ .version = '2', .footer = "\nUTC\n" },
		{ .version = '2', .footer = "\nUTC25\n" },
		{ .version = '2', .footer = "\nUTC0x\n" },
		{ .version = '2', .footer = "\nABC5DEF\n" },
		{ .version = '2', .footer = "\nABC5DEF,M13.1.0,M11.1.0\n" },
		{ .version = '2', .footer = "\nABC5DEF,M3.6.0,M11.1.0\n" },
		{ .version = '2', .footer = "\nABC5DEF,M3.2.7,M11.1.0\n" },
		{ .version = '2', .footer = "\nABC5DEF,J0,J366\n" },
		{ .version = '2', .footer = "\nABC5DEF,M3.2.0/168,M11.1.0\n" },
		{ .version = '2', .footer = "\n<AB5\n" },
		{ .version = '2', .leaps = 1, .footer = "\n\n" },
		{ .version = '2', .offsets = { 100000, 0 }, .footer = "\n\n" },
		{ .version = '2', .count = 1, .types = { 2 }, .footer = "\n\n" },
		{ .version = '2', .count = 2, .times = { 5, 5 }, .footer = "\n\n" },
		{ .version = '2', .count = 2, .times = { 5, 4 }, .types = { 0, 1 }, .footer = "\n\n" },
	};
	for (size_t i = 0; i < WL_COUNT_OF(bad); i++) {
		_wl_buffer_ struct wl_buffer file;
		struct wl_zone *zone = NULL;
		struct wl_error err = { 0 };
		make_file(&file, &bad[i]);
		if (wl_zone_parse(file.data, file.length, &zone, &err) != -EINVAL || !*err.text)
			fail_msg("row %zu (%s) was taken", i, bad[i].footer);
		assert_null(zone);
	}
}

static void a_file_that_is_cut_off_is_refused_at_every_byte(void **state)
{
	(void)state;
	_wl_fclose_ FILE *file = fopen(ZONEINFO "/Europe/Zurich", "re");
	char bytes[8192];
	assert_non_null(file);
	size_t length = fread(bytes, 1, sizeof(bytes), file);
	for (size_t cut = 0; cut < length; cut++) {
		struct wl_zone *zone = NULL;
		_wl_free_ char *part = malloc(cut ? cut : 1); /* its end is where a sanitizer looks */
		memcpy(part, bytes, cut);
		assert_int_equal(wl_zone_parse(part, cut, &zone, NULL), -EINVAL);
	}
}

static void dates_and_days(void **state)
{
	(void)state;
	static const struct {
		int64_t days, year;
		int month, day;
	} rows[] = { { 0, 1970, 1, 1 },	     { -1, 1969, 12, 31 },  { 11016, 2000, 2, 29 }, { 11017, 2000, 3, 1 },
		     { 47540, 2100, 2, 28 }, { 47541, 2100, 3, 1 }, { -719468, 0, 3, 1 },   { -719469, 0, 2, 29 } };
	for (size_t i = 0; i < WL_COUNT_OF(rows); i++) {
		int64_t year;
		int month, day;
		wl_date_of_days(rows[i].days, &year, &month, &day);
		assert_int_equal(year, rows[i].year);
		assert_int_equal(month, rows[i].month);
		assert_int_equal(day, rows[i].day);
		assert_int_equal(wl_days_of_date(year, month, day), rows[i].days);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_zone_is_as_the_c_library_has_it),
		cmocka_unit_test(names),
		cmocka_unit_test(footers),
		cmocka_unit_test(damaged_files_are_refused),
		cmocka_unit_test(a_file_that_is_cut_off_is_refused_at_every_byte),
		cmocka_unit_test(dates_and_days),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
