/*
 * A zone keeps the file's table without the transitions that change nothing, and the rule of the footer. Spans of the
 * rule are made when they are asked for, from the years around.
 */
#include "lib/base/zone.h"

#include "lib/base/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define HEADER 44
#define DAY 86400
#define TRANSITIONS_MAX 8192
#define TYPE_SIZE 6
#define OFFSET_LEAST (-89999) /* RFC 9636 §3.2: utoff should lie between -89999 and 93599 */
#define OFFSET_MOST 93599
#define RULE_YEARS 4 /* years looked at around a time: the one before it to the second one after it */

enum rule_kind { RULE_MONTH_WEEK_DAY, RULE_DAY_OF_365, RULE_DAY_OF_YEAR };

/* When daylight saving begins or ends in each year (POSIX TZ; RFC 9636 §3.3). */
struct rule_date {
	enum rule_kind kind;
	int month, week, day; /* of the kinds with days `day` alone */
	int32_t time;	      /* seconds after the local midnight of that day, may be negative or above a day */
};

struct rule {
	bool present, saves;
	int32_t standard, daylight; /* offsets east of UTC */
	struct rule_date begin, end;
};

struct change {
	int64_t at;
	int32_t offset; /* from then on */
};

struct wl_zone {
	int32_t first_offset; /* before the first change */
	int count;
	struct change *changes;
	struct rule rule;
};

/* ---- the calendar ------------------------------------------------------------------------------------------------ */

static int64_t floor_div(int64_t a, int64_t b)
{
	return a / b - (a % b != 0 && (a % b < 0) != (b < 0));
}

static bool leap_year(int64_t year)
{
	return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
}

/* Years begin in March here, so that a leap day is the last of its year. */
int64_t wl_days_of_date(int64_t year, int month, int day)
{
	int64_t y = month > 2 ? year : year - 1, era = floor_div(y, 400), of_era = y - era * 400;
	int64_t of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
	return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

void wl_date_of_days(int64_t days, int64_t *ret_year, int *ret_month, int *ret_day)
{
	int64_t z = days + 719468, era = floor_div(z, 146097), of_era = z - era * 146097;
	int64_t year = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
	int64_t of_year = of_era - (365 * year + year / 4 - year / 100), m = (5 * of_year + 2) / 153;
	*ret_day = (int)(of_year - (153 * m + 2) / 5 + 1);
	*ret_month = (int)(m < 10 ? m + 3 : m - 9);
	*ret_year = year + era * 400 + (*ret_month <= 2);
}

/* ---- the footer: a POSIX TZ string ---------------------------------------------------------------------------------
 */

static bool read_number(const char **at, int most, int *ret_number)
{
	int number = 0, digits = 0;
	for (; **at >= '0' && **at <= '9' && digits < 4; (*at)++, digits++)
		number = number * 10 + (**at - '0');
	*ret_number = number;
	return digits > 0 && number <= most;
}

/* [+-]hh[:mm[:ss]] as seconds. */
static bool read_duration(const char **at, int most_hours, int32_t *ret_seconds)
{
	int sign = 1, hours = 0, minutes = 0, seconds = 0;
	if (**at == '+' || **at == '-')
		sign = *(*at)++ == '-' ? -1 : 1;
	if (!read_number(at, most_hours, &hours))
		return false;
	if (**at == ':') {
		(*at)++;
		if (!read_number(at, 59, &minutes))
			return false;
		if (**at == ':') {
			(*at)++;
			if (!read_number(at, 59, &seconds))
				return false;
		}
	}
	*ret_seconds = sign * (hours * 3600 + minutes * 60 + seconds);
	return true;
}

static bool is_letter(char c)
{
	return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

/* A name of three letters or more, or anything between angle brackets. */
static bool skip_name(const char **at)
{
	const char *from = *at;
	if (**at == '<') {
		while (**at && **at != '>')
			(*at)++;
		return *(*at) == '>' && ++(*at) - from >= 5;
	}
	while (is_letter(**at))
		(*at)++;
	return *at - from >= 3;
}

/* ,date[/time] */
static bool read_rule_date(const char **at, struct rule_date *ret_date)
{
	bool good;
	struct rule_date date = { .time = 2 * 3600 };
	if (*(*at)++ != ',')
		return false;
	if (**at == 'M') {
		(*at)++;
		date.kind = RULE_MONTH_WEEK_DAY;
		good = read_number(at, 12, &date.month) && date.month >= 1 && *(*at)++ == '.' &&
		       read_number(at, 5, &date.week) && date.week >= 1 && *(*at)++ == '.' &&
		       read_number(at, 6, &date.day);
	} else if (**at == 'J') {
		(*at)++;
		date.kind = RULE_DAY_OF_365;
		good = read_number(at, 365, &date.day) && date.day >= 1;
	} else {
		date.kind = RULE_DAY_OF_YEAR;
		good = read_number(at, 365, &date.day);
	}
	if (good && **at == '/') {
		(*at)++;
		good = read_duration(at, 167, &date.time);
	}
	*ret_date = date;
	return good;
}

/* `text` is all of the footer; an empty one tells of no rule. */
static bool read_rule(const char *text, struct rule *ret_rule)
{
	struct rule rule = { .present = *text != '\0' };
	int32_t west = 0;
	const char *at = text;
	if (rule.present) {
		if (!skip_name(&at) || !read_duration(&at, 24, &west))
			return false;
		rule.standard = rule.daylight = -west;
	}
	if (*at) {
		rule.saves = true;
		if (!skip_name(&at))
			return false;
		rule.daylight = rule.standard + 3600;
		if (*at != ',') {
			if (!read_duration(&at, 24, &west))
				return false;
			rule.daylight = -west;
		}
		if (!read_rule_date(&at, &rule.begin) || !read_rule_date(&at, &rule.end) || *at)
			return false;
	}
	*ret_rule = rule;
	return true;
}

/* Days since 1970 of a rule's date in a year. */
static int64_t rule_day(const struct rule_date *date, int64_t year)
{
	int64_t first = wl_days_of_date(year, 1, 1);
	if (date->kind == RULE_DAY_OF_YEAR)
		return first + date->day;
	if (date->kind == RULE_DAY_OF_365) /* 29 February is not counted */
		return first + date->day - 1 + (date->day >= 60 && leap_year(year));
	int64_t month = wl_days_of_date(year, date->month, 1);
	int64_t next = date->month == 12 ? wl_days_of_date(year + 1, 1, 1) : wl_days_of_date(year, date->month + 1, 1);
	int64_t weekday = (month % 7 + 7 + 4) % 7; /* 1970-01-01 was a Thursday */
	int64_t found = month + (date->day - weekday + 7) % 7 + (date->week - 1) * 7;
	return found >= next ? found - 7 : found; /* week 5 is the last one */
}

/* ---- the file -------------------------------------------------------------------------------------------------------
 */

struct header {
	int version;
	uint32_t isutc, isstd, leaps, times, types, chars;
};

static uint32_t read_u32(const unsigned char *at)
{
	return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

static int64_t read_i64(const unsigned char *at)
{
	return (int64_t)((uint64_t)read_u32(at) << 32 | read_u32(at + 4));
}

static bool read_header(const unsigned char *bytes, size_t length, struct header *ret_header)
{
	if (length < HEADER || memcmp(bytes, "TZif", 4) != 0)
		return false;
	*ret_header = (struct header){ .version = bytes[4] ? bytes[4] - '0' : 1,
				       .isutc = read_u32(bytes + 20),
				       .isstd = read_u32(bytes + 24),
				       .leaps = read_u32(bytes + 28),
				       .times = read_u32(bytes + 32),
				       .types = read_u32(bytes + 36),
				       .chars = read_u32(bytes + 40) };
	const struct header *h = ret_header;
	return h->times <= TRANSITIONS_MAX && h->types >= 1 && h->types <= 256 && h->chars <= 65536 &&
	       h->leaps <= 65536 && (h->isutc == 0 || h->isutc == h->types) && (h->isstd == 0 || h->isstd == h->types);
}

/* Bytes of the block behind a header; times are of `width` bytes. */
static size_t block_size(const struct header *header, size_t width)
{
	return header->times * (width + 1) + header->types * (size_t)TYPE_SIZE + header->chars +
	       header->leaps * (width + 4) + header->isstd + header->isutc;
}

static bool read_offset(const unsigned char *types, uint32_t index, int32_t *ret_offset)
{
	*ret_offset = (int32_t)read_u32(types + (size_t)index * TYPE_SIZE);
	return *ret_offset >= OFFSET_LEAST && *ret_offset <= OFFSET_MOST;
}

/* The block with 64-bit times at `at`. */
static int read_table(const struct header *header, const unsigned char *at, struct wl_zone *zone, struct wl_error *err)
{
	const unsigned char *indices = at + (size_t)header->times * 8, *types = indices + header->times;
	int64_t before = INT64_MIN;
	zone->changes = calloc((size_t)header->times + 1, sizeof(*zone->changes));
	if (!zone->changes)
		return wl_fail_errno(err, ENOMEM, "read a time zone");
	if (!read_offset(types, 0, &zone->first_offset))
		return wl_fail(err, EINVAL, "the time zone has an offset of more than a day");
	int32_t offset = zone->first_offset;
	for (uint32_t i = 0; i < header->times; i++) {
		int64_t time = read_i64(at + (size_t)i * 8);
		int32_t next;
		if (indices[i] >= header->types || !read_offset(types, indices[i], &next))
			return wl_fail(err, EINVAL, "transition %u of the time zone has no valid type", i);
		if (i > 0 && time <= before)
			return wl_fail(err, EINVAL,
				       "transition %u of the time zone is not later than the one before it", i);
		before = time;
		if (time <= WL_ZONE_MIN)
			zone->first_offset = offset = next; /* as good as always */
		else if (next != offset && time < WL_ZONE_MAX)
			zone->changes[zone->count++] = (struct change){ time, offset = next };
	}
	return 0;
}

static int read_footer(const unsigned char *at, const unsigned char *end, struct wl_zone *zone, struct wl_error *err)
{
	char text[128];
	if (at >= end || *at != '\n')
		return wl_fail(err, EINVAL, "the time zone has no footer");
	const unsigned char *close = memchr(at + 1, '\n', (size_t)(end - at - 1));
	size_t length = close ? (size_t)(close - at - 1) : sizeof(text);
	if (length >= sizeof(text) || memchr(at + 1, '\0', length))
		return wl_fail(err, EINVAL, "the time zone's footer does not end");
	memcpy(text, at + 1, length);
	text[length] = '\0';
	if (!read_rule(text, &zone->rule))
		return wl_fail(err, EINVAL, "the time zone's rule is none: %.60s", text);
	return 0;
}

int wl_zone_parse(const void *bytes, size_t length, struct wl_zone **ret_zone, struct wl_error *err)
{
	const unsigned char *at = bytes, *end = at + length;
	struct header header;
	if (!read_header(at, length, &header))
		return wl_fail(err, EINVAL, "this is no time zone file");
	if (header.version < 2)
		return wl_fail(err, EINVAL, "the time zone file is of version 1, which has no times after 2037");
	size_t skip = HEADER + block_size(&header, 4);
	if (skip >= length || !read_header(at + skip, length - skip, &header))
		return wl_fail(err, EINVAL, "the time zone file has no second header");
	at += skip + HEADER;
	if (header.leaps)
		return wl_fail(err, EINVAL, "the time zone counts leap seconds");
	if (block_size(&header, 8) >= (size_t)(end - at))
		return wl_fail(err, EINVAL, "the time zone file is cut off");
	_wl_zone_ struct wl_zone *zone = calloc(1, sizeof(*zone));
	if (!zone)
		return wl_fail_errno(err, ENOMEM, "read a time zone");
	int r = read_table(&header, at, zone, err);
	r = r < 0 ? r : read_footer(at + block_size(&header, 8), end, zone, err);
	if (r < 0)
		return r;
	*ret_zone = wl_steal(zone);
	return 0;
}

void wl_zone_close(struct wl_zone *zone)
{
	if (!zone)
		return;
	free(zone->changes);
	free(zone);
}

/* ---- opening --------------------------------------------------------------------------------------------------------
 */

bool wl_zone_name_valid(const char *name)
{
	if (!is_letter(*name) || strlen(name) > WL_ZONE_NAME)
		return false;
	for (const char *at = name; *at; at++) {
		bool word = is_letter(*at) || (*at >= '0' && *at <= '9') || *at == '_' || *at == '+' || *at == '-';
		if (!word && (*at != '/' || at[1] == '/' || !at[1]))
			return false;
	}
	/* the first two count leap seconds or double everything, the others are what this machine was set to */
	static const char *const not_names[] = { "right/", "posix/", "localtime", "posixrules", "Factory" };
	for (size_t i = 0; i < WL_COUNT_OF(not_names); i++) {
		size_t length = strlen(not_names[i]);
		bool folder = not_names[i][length - 1] == '/';
		if (folder ? strncmp(name, not_names[i], length) == 0 : strcmp(name, not_names[i]) == 0)
			return false;
	}
	return true;
}

int wl_zone_open(const char *folder, const char *name, struct wl_zone **ret_zone, struct wl_error *err)
{
	char path[PATH_MAX];
	struct stat about;
	if (!wl_zone_name_valid(name))
		return wl_fail(err, EINVAL, "this is no name of a time zone, such as Europe/Zurich");
	if (snprintf(path, sizeof(path), "%s/%s", folder, name) >= (int)sizeof(path))
		return wl_fail(err, ENAMETOOLONG, "the folder of time zones has too long a name");
	_wl_fclose_ FILE *file = fopen(path, "re");
	if (!file && (errno == ENOENT || errno == ENOTDIR))
		return wl_fail(err, ENOENT, "there is no time zone '%s'", name);
	if (!file || fstat(fileno(file), &about) < 0)
		return wl_fail_errno(err, errno, "open time zone '%s'", name);
	if (!S_ISREG(about.st_mode))
		return wl_fail(err, ENOENT, "there is no time zone '%s'", name);
	_wl_free_ unsigned char *bytes = malloc(WL_ZONE_FILE_MAX + 1);
	if (!bytes)
		return wl_fail_errno(err, ENOMEM, "read time zone '%s'", name);
	size_t length = fread(bytes, 1, WL_ZONE_FILE_MAX + 1, file);
	if (ferror(file) || length > WL_ZONE_FILE_MAX)
		return wl_fail(err, EIO, "time zone '%s' cannot be read", name);
	int r = wl_zone_parse(bytes, length, ret_zone, err);
	return r < 0 ? wl_fail_within(err, "time zone '%s'", name) : 0;
}

/* ---- spans ----------------------------------------------------------------------------------------------------------
 */

/* The changes that the rule makes in the years around t and after `after`, each different from the one before it;
 * `offset` holds at `after`. How many. */
static int rule_changes(const struct rule *rule, int64_t t, int64_t after, int32_t offset,
			struct change changes[2 * RULE_YEARS])
{
	struct change all[2 * RULE_YEARS];
	int64_t year;
	int month, day, count = 0;
	wl_date_of_days(floor_div(t, DAY), &year, &month, &day);
	for (int i = 0; i < RULE_YEARS; i++) {
		struct change begin = { rule_day(&rule->begin, year - 1 + i) * DAY + rule->begin.time - rule->standard,
					rule->daylight };
		struct change end = { rule_day(&rule->end, year - 1 + i) * DAY + rule->end.time - rule->daylight,
				      rule->standard };
		bool first = begin.at < end.at;
		all[2 * i] = first ? begin : end;
		all[2 * i + 1] = first ? end : begin;
	}
	bool known = after > WL_ZONE_MIN;
	for (int i = 0; i < 2 * RULE_YEARS; i++) {
		bool overtaken = i + 1 < 2 * RULE_YEARS && all[i + 1].at <= all[i].at;
		if (all[i].at <= after || overtaken || (known && all[i].offset == offset))
			continue;
		changes[count++] = all[i];
		offset = all[i].offset;
		known = true;
	}
	return count;
}

/* The span of t, which is not before the last change of the table (if there is one). */
static struct wl_zone_span rule_span(const struct wl_zone *zone, int64_t t)
{
	const struct change *last = zone->count ? &zone->changes[zone->count - 1] : NULL;
	struct wl_zone_span span = { last ? last->at : WL_ZONE_MIN, WL_ZONE_MAX, zone->first_offset };
	struct change changes[2 * RULE_YEARS];
	span.offset = last ? last->offset : zone->rule.present ? zone->rule.standard : zone->first_offset;
	if (!zone->rule.saves)
		return span;
	int count = rule_changes(&zone->rule, t, span.start, span.offset, changes);
	for (int i = 0; i < count; i++) {
		if (changes[i].at > t) {
			span.end = changes[i].at;
			break;
		}
		span.start = changes[i].at;
		span.offset = changes[i].offset;
	}
	return span;
}

struct wl_zone_span wl_zone_span(const struct wl_zone *zone, int64_t t)
{
	int low = 0, high = zone->count; /* the first change after t lies in [low, high] */
	while (low < high) {
		int middle = low + (high - low) / 2;
		if (zone->changes[middle].at <= t)
			low = middle + 1;
		else
			high = middle;
	}
	if (low == zone->count)
		return rule_span(zone, t);
	return (struct wl_zone_span){ .start = low ? zone->changes[low - 1].at : WL_ZONE_MIN,
				      .end = zone->changes[low].at,
				      .offset = low ? zone->changes[low - 1].offset : zone->first_offset };
}
