#include "webapp/server/core/prefer.h"

#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <strings.h>

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

/* The end of a list's element or of a parameter: quoted strings may hold anything (RFC 9110 §5.6.4). */
static const char *end_of(const char *text, const char *stops)
{
	bool quoted = false;
	for (; *text && (quoted || !strchr(stops, *text)); text++) {
		if (*text == '"')
			quoted = !quoted;
		else if (quoted && *text == '\\' && text[1])
			text++;
	}
	return text;
}

/* 1*DIGIT with nothing behind it, maybe in quotes; -1 for anything else. */
static int seconds_of(const char *text, const char *end)
{
	int seconds = 0;
	if (end - text >= 2 && *text == '"' && end[-1] == '"') {
		text++;
		end--;
	}
	if (text == end)
		return -1;
	for (; text < end; text++) {
		if (*text < '0' || *text > '9')
			return -1;
		if (seconds <= WEB_WAIT_MOST_S)
			seconds = seconds * 10 + (*text - '0');
	}
	return seconds > WEB_WAIT_MOST_S ? WEB_WAIT_MOST_S : seconds;
}

static const char *skip_blanks(const char *text, const char *end)
{
	while (text < end && is_blank(*text))
		text++;
	return text;
}

static const char *trim(const char *text, const char *end)
{
	while (end > text && is_blank(end[-1]))
		end--;
	return end;
}

/* Whether the preference in [text, end) is "wait"; then *ret_seconds is set. */
static bool read_wait(const char *text, const char *end, int *ret_seconds)
{
	const char *equals = memchr(text, '=', (size_t)(end - text));
	if (!equals)
		return false;
	const char *name_end = trim(text, equals);
	if (name_end - text != 4 || strncasecmp(text, "wait", 4) != 0)
		return false;
	const char *value = skip_blanks(equals + 1, end);
	int seconds = seconds_of(value, trim(value, end));
	*ret_seconds = seconds < 0 ? 0 : seconds;
	return true;
}

int web_prefer_wait(const char *prefer_header)
{
	const char *at = prefer_header ? prefer_header : "";
	int seconds = 0;
	while (*at) {
		const char *element_end = end_of(at, ",");
		const char *end = end_of(at, ",;");
		const char *text = skip_blanks(at, end);
		if (read_wait(text, end, &seconds))
			return seconds;
		at = *element_end ? element_end + 1 : element_end;
	}
	return 0;
}
