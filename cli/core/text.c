#include "cli/core/text.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* Length of the well-formed UTF-8 character at `text`, 0 when there is none (RFC 3629 §4). */
static size_t character_length(const unsigned char *text, size_t length)
{
	if (text[0] < 0x80)
		return 1;
	size_t need = text[0] >= 0xc2 && text[0] <= 0xdf   ? 2
		      : (text[0] & 0xf0) == 0xe0	   ? 3
		      : text[0] >= 0xf0 && text[0] <= 0xf4 ? 4
							   : 0;
	if (need == 0 || need > length)
		return 0;
	for (size_t i = 1; i < need; i++)
		if ((text[i] & 0xc0) != 0x80)
			return 0;
	bool overlong = (text[0] == 0xe0 && text[1] < 0xa0) || (text[0] == 0xf0 && text[1] < 0x90);
	bool surrogate = text[0] == 0xed && text[1] > 0x9f;
	bool beyond = text[0] == 0xf4 && text[1] > 0x8f;
	return overlong || surrogate || beyond ? 0 : need;
}

bool cli_text_valid(const char *text, size_t length)
{
	for (size_t at = 0; at < length;) {
		size_t step = character_length((const unsigned char *)text + at, length - at);
		if (step == 0 || text[at] == '\0')
			return false;
		at += step;
	}
	return true;
}

static bool is_control(const unsigned char *character, size_t length, bool one_line)
{
	if (length == 1) {
		if (*character == '\n' || *character == '\t')
			return one_line;
		return *character < 0x20 || *character == 0x7f;
	}
	return length == 2 && character[0] == 0xc2 && character[1] < 0xa0;
}

void cli_text_append_safe(struct wl_buffer *out, const char *text, size_t length, bool one_line)
{
	const unsigned char *bytes = (const unsigned char *)text;
	for (size_t at = 0; at < length;) {
		size_t step = character_length(bytes + at, length - at);
		if (step && !is_control(bytes + at, step, one_line)) {
			(void)wl_buffer_append(out, bytes + at, step);
			at += step;
			continue;
		}
		for (size_t end = at + (step ? step : 1); at < end; at++)
			(void)wl_buffer_appendf(out, "\\x%02x", bytes[at]);
	}
}

static void indent(struct wl_buffer *out, int depth)
{
	(void)wl_buffer_append_char(out, '\n');
	for (int i = 0; i < depth; i++)
		(void)wl_buffer_append_text(out, "  ");
}

/* wl_json_parse refuses what is deeper than WL_JSON_DEPTH, so this recursion has an end. */
static void pretty_at(struct wl_buffer *out, const struct wl_json *json, int depth)
{
	bool is_object = wl_json_is(json, WL_JSON_OBJECT);
	if ((!is_object && !wl_json_is(json, WL_JSON_ARRAY)) || wl_json_count(json) == 0) {
		(void)wl_json_write(out, json);
		return;
	}
	(void)wl_buffer_append_char(out, is_object ? '{' : '[');
	for (const struct wl_json *member = wl_json_first(json); member; member = wl_json_next(member)) {
		indent(out, depth + 1);
		if (is_object) {
			const char *key = wl_json_key(member);
			(void)wl_buffer_append_json_string(out, key, strlen(key));
			(void)wl_buffer_append_text(out, ": ");
		}
		pretty_at(out, member, depth + 1);
		if (wl_json_next(member))
			(void)wl_buffer_append_char(out, ',');
	}
	indent(out, depth);
	(void)wl_buffer_append_char(out, is_object ? '}' : ']');
}

void cli_json_pretty(struct wl_buffer *out, const struct wl_json *json)
{
	pretty_at(out, json, 0);
}

/* Days since 1970-01-01 of a date of the Gregorian calendar, counted from March so that leap days come last. */
static int64_t days_of(int year, int month, int day)
{
	int64_t y = month <= 2 ? year - 1 : year;
	int64_t era = y / 400, year_of_era = y % 400;
	int64_t day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
	return era * 146097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719468;
}

static bool read_time(const char *text, int64_t *ret_ms)
{
	int year, month, day, hour, minute, second, used = 0;
	if (!text || strlen(text) > 40 ||
	    sscanf(text, "%4d-%2d-%2d%*1[Tt ]%2d:%2d:%2d%n", &year, &month, &day, &hour, &minute, &second, &used) !=
		    6 ||
	    used == 0)
		return false;
	if (year < 1970 || month < 1 || month > 12 || day < 1 || day > 31 || hour > 23 || minute > 59 || second > 60)
		return false;
	int64_t ms = 0;
	const char *rest = text + used;
	if (*rest == '.') {
		int64_t weight = 100;
		for (rest++; *rest >= '0' && *rest <= '9'; rest++, weight /= 10)
			ms += (*rest - '0') * weight;
	}
	if (strcmp(rest, "Z") != 0 && strcmp(rest, "z") != 0 && strcmp(rest, "+00:00") != 0)
		return false;
	*ret_ms = ((days_of(year, month, day) * 24 + hour) * 60 + minute) * 60000 + second * 1000 + ms;
	return true;
}

int64_t cli_time_between_ms(const char *from, const char *to)
{
	int64_t first, last;
	if (!read_time(from, &first) || !read_time(to, &last))
		return -1;
	return last > first ? last - first : 0;
}

char *cli_duration(int64_t ms, char text[CLI_DURATION_TEXT])
{
	if (ms < 0)
		text[0] = '\0';
	else if (ms < 1000)
		(void)snprintf(text, CLI_DURATION_TEXT, "%" PRId64 " ms", ms);
	else if (ms < 60000)
		(void)snprintf(text, CLI_DURATION_TEXT, "%" PRId64 ".%" PRId64 " s", ms / 1000, ms % 1000 / 100);
	else if (ms < 3600000)
		(void)snprintf(text, CLI_DURATION_TEXT, "%" PRId64 " min %" PRId64 " s", ms / 60000, ms % 60000 / 1000);
	else
		(void)snprintf(text, CLI_DURATION_TEXT, "%" PRId64 " h %" PRId64 " min", ms / 3600000,
			       ms % 3600000 / 60000);
	return text;
}

size_t cli_text_columns(const char *text)
{
	size_t columns = 0;
	for (; *text; text++)
		columns += ((unsigned char)*text & 0xc0) != 0x80;
	return columns;
}
