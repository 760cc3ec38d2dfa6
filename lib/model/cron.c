#include "lib/model/cron.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define DAY 86400
#define HORIZON (60LL * 366 * DAY)
#define FIELDS 6

static const char *const month_names[] = { "JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL",
					   "AUG", "SEP", "OCT", "NOV", "DEC", NULL };
static const char *const weekday_names[] = { "SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT", NULL };

static const struct field {
	const char *name;
	int least, most;
	const char *const *names; /* of least and those after it */
} fields[FIELDS] = {
	{ "second", 0, 59, NULL },	 { "minute", 0, 59, NULL },
	{ "hour", 0, 23, NULL },	 { "day of the month", 1, 31, NULL },
	{ "month", 1, 12, month_names }, { "day of the week", 0, 7, weekday_names },
};

enum { SECOND, MINUTE, HOUR, MONTH_DAY, MONTH, WEEKDAY };

/* ---- reading ------------------------------------------------------------------------------------------------------
 */

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* Digits; a number beyond what any field holds becomes 1000. */
static bool read_number(const char **at, int *ret_number)
{
	const char *from = *at;
	int number = 0;
	for (; is_digit(**at); (*at)++)
		number = number < 100 ? number * 10 + (**at - '0') : 1000;
	*ret_number = number;
	return *at > from;
}

static bool read_name(const char **at, const struct field *field, int *ret_value)
{
	for (int i = 0; field->names && field->names[i]; i++)
		if (strncasecmp(*at, field->names[i], 3) == 0) {
			*at += 3;
			*ret_value = field->least + i;
			return true;
		}
	return false;
}

static int read_value(const char **at, const struct field *field, int *ret_value, struct wl_error *err)
{
	if (!read_name(at, field, ret_value) && !read_number(at, ret_value)) {
		if (**at && strchr("LW#?CHlwch@", **at))
			return wl_fail(err, EINVAL, "the %s has '%c', which is an extension of other programs",
				       field->name, **at);
		return wl_fail(err, EINVAL, "the %s has no value where one should be", field->name);
	}
	if (*ret_value < field->least || *ret_value > field->most)
		return wl_fail(err, EINVAL, "the %s goes from %d to %d", field->name, field->least, field->most);
	return 0;
}

/* One element of a list: value, range, or either * or a range with a step. */
static int read_element(const char **at, const struct field *field, uint64_t *bits, struct wl_error *err)
{
	int low = field->least, high = field->most, step = 1;
	bool all = **at == '*', range = all;
	if (all) {
		(*at)++;
		high -= field == &fields[WEEKDAY]; /* 7 is Sunday once more */
	} else {
		int r = read_value(at, field, &low, err);
		high = low;
		range = r == 0 && **at == '-';
		if (range) {
			(*at)++;
			r = read_value(at, field, &high, err);
		}
		if (r < 0)
			return r;
		if (field == &fields[WEEKDAY] && high == 0 && low > 0)
			high = 7; /* as in FRI-SUN */
		if (high < low)
			return wl_fail(err, EINVAL, "the %s has a range that ends before it begins", field->name);
	}
	if (**at == '/') {
		(*at)++;
		if (!range)
			return wl_fail(err, EINVAL, "the %s has a step behind something else than * or a range",
				       field->name);
		if (!read_number(at, &step) || step < 1 || (step > 1 && step > high - low))
			return wl_fail(err, EINVAL, "the %s has a step that is not from 1 to %d", field->name,
				       high - low);
	}
	for (int value = low; value <= high; value += step)
		*bits |= 1ULL << value;
	return 0;
}

/* A whole field, which ends at a blank or at the end of the text. */
static int read_field(const char **at, const struct field *field, uint64_t *ret_bits, struct wl_error *err)
{
	uint64_t bits = 0;
	for (;;) {
		int r = read_element(at, field, &bits, err);
		if (r < 0)
			return r;
		if (**at != ',')
			break;
		(*at)++;
	}
	if (**at && **at != ' ' && **at != '\t')
		return wl_fail(err, EINVAL, "the %s has '%c' where its end or a comma should be", field->name, **at);
	*ret_bits = bits;
	return 0;
}

static const char *skip_blanks(const char *at)
{
	return at + strspn(at, " \t");
}

static int count_fields(const char *text)
{
	int count = 0;
	for (const char *at = skip_blanks(text); *at; at = skip_blanks(at + strcspn(at, " \t")))
		count++;
	return count;
}

/* Whether a date can match: 30 February alone cannot. */
static bool is_possible(const struct wl_cron *cron)
{
	static const int longest[] = { 0, 31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
	if (!cron->any_day && !cron->any_weekday)
		return true; /* the day of the week alone is enough */
	for (int month = 1; month <= 12; month++)
		if (cron->months >> month & 1 && cron->days & ((2U << longest[month]) - 2))
			return true;
	return false;
}

int wl_cron_parse(const char *text, struct wl_cron *ret_cron, struct wl_error *err)
{
	uint64_t bits[FIELDS] = { [SECOND] = 1 };
	bool star[FIELDS] = { false };
	int count = count_fields(text);
	if (strlen(text) > WL_CRON_TEXT)
		return wl_fail(err, EINVAL, "the expression has more than %d bytes", WL_CRON_TEXT);
	if (count != FIELDS && count != FIELDS - 1)
		return wl_fail(
			err, EINVAL,
			"the expression has %d fields, not five (minute, hour, day of the month, month, day of the "
			"week) or six (with the second before them)",
			count);
	const char *at = skip_blanks(text);
	for (int i = FIELDS - count; i < FIELDS; i++, at = skip_blanks(at)) {
		star[i] = *at == '*';
		int r = read_field(&at, &fields[i], &bits[i], err);
		if (r < 0)
			return r;
	}
	struct wl_cron cron = { .seconds = bits[SECOND],
				.minutes = bits[MINUTE],
				.hours = (uint32_t)bits[HOUR],
				.days = (uint32_t)bits[MONTH_DAY],
				.months = (uint32_t)bits[MONTH],
				.weekdays = (uint32_t)((bits[WEEKDAY] | bits[WEEKDAY] >> 7) & 0x7f),
				.any_day = star[MONTH_DAY],
				.any_weekday = star[WEEKDAY],
				.repeats = star[MINUTE] || star[HOUR] };
	if (!is_possible(&cron))
		return wl_fail(err, EINVAL, "no month that is named has a day that is named: this never fires");
	*ret_cron = cron;
	return 0;
}

/* ---- matching local times -------------------------------------------------------------------------------------------
 */

static int64_t day_of(int64_t seconds)
{
	return seconds / DAY - (seconds % DAY < 0);
}

/* The lowest bit from `from` on, or -1. */
static int next_bit(uint64_t bits, int from)
{
	uint64_t rest = from < 64 ? bits >> from << from : 0;
	return rest ? __builtin_ctzll(rest) : -1;
}

static bool day_matches(const struct wl_cron *cron, int64_t days, int day)
{
	bool of_month = cron->days >> day & 1;
	bool of_week = cron->weekdays >> ((days % 7 + 7 + 4) % 7) & 1; /* 1970-01-01 was a Thursday */
	return cron->any_day || cron->any_weekday ? of_month && of_week : of_month || of_week;
}

/* The first matching second of a day from `from` on, or -1. */
static int next_of_day(const struct wl_cron *cron, int from)
{
	int hour = next_bit(cron->hours, from / 3600);
	if (hour < 0)
		return -1;
	int minute_from = hour > from / 3600 ? 0 : from / 60 % 60;
	int minute = next_bit(cron->minutes, minute_from);
	bool same_minute = minute >= 0 && hour * 60 + minute == from / 60;
	int second = minute >= 0 ? next_bit(cron->seconds, same_minute ? from % 60 : 0) : -1;
	if (second < 0 && minute >= 0) {
		minute = next_bit(cron->minutes, minute + 1);
		second = next_bit(cron->seconds, 0);
	}
	if (minute >= 0)
		return hour * 3600 + minute * 60 + second;
	hour = next_bit(cron->hours, hour + 1);
	return hour < 0 ? -1 : hour * 3600 + next_bit(cron->minutes, 0) * 60 + next_bit(cron->seconds, 0);
}

/* The first matching local time from <= time < limit, as if it were UTC. */
static bool next_local(const struct wl_cron *cron, int64_t from, int64_t limit, int64_t *ret_time)
{
	int64_t days = day_of(from);
	int of_day = (int)(from - days * DAY);
	while (days * DAY + of_day < limit) {
		int64_t year;
		int month, day;
		wl_date_of_days(days, &year, &month, &day);
		if (!(cron->months >> month & 1)) {
			days = month == 12 ? wl_days_of_date(year + 1, 1, 1) : wl_days_of_date(year, month + 1, 1);
			of_day = 0;
			continue;
		}
		int found = day_matches(cron, days, day) ? next_of_day(cron, of_day) : -1;
		if (found >= 0) {
			*ret_time = days * DAY + found;
			return *ret_time < limit;
		}
		days++;
		of_day = 0;
	}
	return false;
}

/* ---- local times of a zone
 * -------------------------------------------------------------------------------------------- */

static bool makes_up(const struct wl_cron *cron)
{
	return cron->hours != 0xffffff;
}

/* The first fire within a span, at t or later; `before` is the span before it. */
static bool next_in_span(const struct wl_cron *cron, const struct wl_zone_span *span, const struct wl_zone_span *before,
			 int64_t t, int64_t last, int64_t *ret_fire)
{
	int64_t local, limit = (span->end < last ? span->end : last) + span->offset;
	if (t == span->start && before->offset < span->offset && makes_up(cron) &&
	    next_local(cron, t + before->offset, t + span->offset, &local)) {
		*ret_fire = t;
		return true;
	}
	if (!next_local(cron, t + span->offset, limit, &local))
		return false;
	/* clocks were set back into the span before: did this local time come there already? */
	int64_t overlap = span->start + before->offset;
	if (before->offset > span->offset && !cron->repeats && local < overlap &&
	    local - before->offset >= before->start && !next_local(cron, overlap, limit, &local))
		return false;
	*ret_fire = local - span->offset;
	return true;
}

bool wl_cron_next(const struct wl_cron *cron, const struct wl_zone *zone, int64_t after, int64_t *ret_fire)
{
	int64_t t = after + 1, last = after + HORIZON;
	while (t < last) {
		struct wl_zone_span span = wl_zone_span(zone, t), before = span;
		if (span.start > WL_ZONE_MIN)
			before = wl_zone_span(zone, span.start - 1);
		if (next_in_span(cron, &span, &before, t, last, ret_fire))
			return true;
		t = span.end;
	}
	return false;
}

int wl_cron_upcoming(const struct wl_cron *cron, const struct wl_zone *zone, int64_t after, int most, int64_t *fires)
{
	int count = 0;
	while (count < most && wl_cron_next(cron, zone, after, &fires[count]))
		after = fires[count++];
	return count;
}
