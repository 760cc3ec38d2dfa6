#include "lib/crew/json_repair.h"

#include "lib/base/buffer.h"
#include "lib/base/cleanup.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>
#include <strings.h>

/* Reads from `at`, writes JSON to `out`. The open brackets are the only state besides what was written last. */
struct repair {
	const char *at, *end;
	struct wl_buffer out;
	char open[WL_JSON_DEPTH];
	size_t depth;
};

enum last { LAST_OPEN, LAST_COMMA, LAST_COLON, LAST_VALUE };

static bool word_byte(char c)
{
	return isalnum((unsigned char)c) || c == '_' || c == '-' || c == '+' || c == '.' || c == '$' ||
	       (unsigned char)c >= 0x80;
}

static bool starts(const struct repair *r, const char *text)
{
	size_t length = strlen(text);
	return (size_t)(r->end - r->at) >= length && memcmp(r->at, text, length) == 0;
}

/* White space, and comments as JavaScript and Python have them. */
static void skip_space(struct repair *r)
{
	while (r->at < r->end) {
		if (isspace((unsigned char)*r->at)) {
			r->at++;
		} else if (starts(r, "//") || *r->at == '#') {
			const char *line = memchr(r->at, '\n', (size_t)(r->end - r->at));
			r->at = line ? line : r->end;
		} else if (starts(r, "/*")) {
			const char *close = memmem(r->at + 2, (size_t)(r->end - r->at) - 2, "*/", 2);
			r->at = close ? close + 2 : r->end;
		} else {
			return;
		}
	}
}

/* Is the quote at r->at the string's last byte? A quote within a text is one that nothing of JSON's follows. */
static bool closes(const struct repair *r, bool key)
{
	const char *next = r->at + 1;
	while (next < r->end && isspace((unsigned char)*next))
		next++;
	return next == r->end || strchr(key ? ",}:=" : ",}]:", *next) != NULL;
}

static void put_escape(struct repair *r)
{
	static const char known[] = "\"\\/bfnrtu";
	char next = r->at + 1 < r->end ? r->at[1] : '\0';
	r->at += next ? 2 : 1;
	if (!next)
		return;
	if (strchr(known, next)) {
		(void)wl_buffer_append_char(&r->out, '\\');
		(void)wl_buffer_append_char(&r->out, next);
	} else if (next == '\'' || next == '`') {
		(void)wl_buffer_append_char(&r->out, next);
	} else {
		(void)wl_buffer_append_text(&r->out, "\\\\");
		r->at--; /* the byte behind the backslash is text like any other */
	}
}

static void put_string(struct repair *r, bool key)
{
	char quote = *r->at++;
	(void)wl_buffer_append_char(&r->out, '"');
	while (r->at < r->end) {
		char c = *r->at;
		if (c == '\\') {
			put_escape(r);
			continue;
		}
		if (c == quote && closes(r, key))
			break;
		if (c == '"')
			(void)wl_buffer_append_text(&r->out, "\\\"");
		else if ((unsigned char)c < 0x20)
			(void)wl_buffer_appendf(&r->out, "\\u%04x", (unsigned char)c);
		else
			(void)wl_buffer_append_char(&r->out, c);
		r->at++;
	}
	if (r->at < r->end)
		r->at++;
	(void)wl_buffer_append_char(&r->out, '"');
}

static bool is_number(struct repair *r, const char *text, size_t length)
{
	struct wl_json *number = NULL;
	if (length == 0 || length > 64 || !(isdigit((unsigned char)*text) || *text == '-'))
		return false;
	int result = wl_json_parse(text, length, &number, NULL);
	if (result == -ENOMEM)
		r->out.failed = ENOMEM;
	wl_json_free(number);
	return result == 0;
}

/* A bare word: a number, a constant of JSON, JavaScript or Python, or a text whose quotes were forgotten. */
static void put_word(struct repair *r, bool key)
{
	static const struct {
		const char *word, *json;
	} constants[] = { { "true", "true" }, { "false", "false" },    { "null", "null" }, { "none", "null" },
			  { "nil", "null" },  { "undefined", "null" }, { "nan", "null" },  { "infinity", "null" } };
	const char *word = r->at;
	while (r->at < r->end && word_byte(*r->at))
		r->at++;
	size_t length = (size_t)(r->at - word);
	for (size_t i = 0; !key && i < WL_COUNT_OF(constants); i++) {
		if (strlen(constants[i].word) == length && strncasecmp(word, constants[i].word, length) == 0) {
			(void)wl_buffer_append_text(&r->out, constants[i].json);
			return;
		}
	}
	if (!key && is_number(r, word, length))
		(void)wl_buffer_append(&r->out, word, length);
	else
		(void)wl_buffer_append_json_string(&r->out, word, length);
}

/* Before a bracket closes or a comma follows: no comma twice, no key without a value. */
static void drop_comma(struct repair *r, enum last last)
{
	if (last == LAST_COMMA)
		r->out.data[--r->out.length] = '\0';
	else if (last == LAST_COLON)
		(void)wl_buffer_append_text(&r->out, "null");
}

/* Close brackets down to the one that `close` belongs to; a bracket that was never opened is left out. */
static bool close_bracket(struct repair *r, char close, enum last *last)
{
	char open = close == '}' ? '{' : '[';
	if (!memchr(r->open, open, r->depth))
		return false;
	drop_comma(r, *last);
	while (r->depth > 0) {
		char inner = r->open[--r->depth];
		(void)wl_buffer_append_char(&r->out, inner == '{' ? '}' : ']');
		if (inner == open)
			break;
	}
	*last = LAST_VALUE;
	return true;
}

static int open_bracket(struct repair *r, enum last *last)
{
	if (r->depth == WL_JSON_DEPTH)
		return -EINVAL;
	r->open[r->depth++] = *r->at;
	(void)wl_buffer_append_char(&r->out, *r->at++);
	*last = LAST_OPEN;
	return 0;
}

/* A value, or a key of an object, with the comma that it needs before it. */
static int put_item(struct repair *r, enum last *last)
{
	bool key = r->open[r->depth - 1] == '{' && *last != LAST_COLON;
	char c = *r->at;
	if (*last == LAST_VALUE)
		(void)wl_buffer_append_char(&r->out, ',');
	if (!key && (c == '{' || c == '['))
		return open_bracket(r, last);
	if (c == '"' || c == '\'' || c == '`')
		put_string(r, key);
	else if (word_byte(c))
		put_word(r, key);
	else
		return -EINVAL;
	*last = LAST_VALUE;
	if (!key)
		return 0;
	skip_space(r);
	if (r->at < r->end && (*r->at == ':' || *r->at == '='))
		r->at++;
	(void)wl_buffer_append_char(&r->out, ':');
	*last = LAST_COLON;
	return 0;
}

/* A comma where one may be; others are left out. */
static void put_comma(struct repair *r, enum last *last)
{
	r->at++;
	if (*last != LAST_VALUE && *last != LAST_COLON)
		return;
	drop_comma(r, *last);
	(void)wl_buffer_append_char(&r->out, ',');
	*last = LAST_COMMA;
}

/* From an opening bracket to its end, or to the text's. */
static int put_container(struct repair *r)
{
	enum last last = LAST_OPEN;
	int result = open_bracket(r, &last);
	while (result == 0 && r->depth > 0 && !r->out.failed) {
		skip_space(r);
		if (r->at == r->end) {
			(void)close_bracket(r, r->open[0] == '{' ? '}' : ']', &last);
		} else if (*r->at == '}' || *r->at == ']') {
			(void)close_bracket(r, *r->at, &last);
			r->at++;
		} else if (*r->at == ',') {
			put_comma(r, &last);
		} else {
			result = put_item(r, &last);
		}
	}
	return result < 0 ? result : -r->out.failed;
}

int wl_crew_repair_json(const char *text, size_t length, struct wl_json **ret_json, struct wl_error *err)
{
	if (length > WL_CREW_REPAIR_MAX)
		return wl_fail(err, EMSGSIZE, "the text is too long to be JSON of a model");
	const char *object = memchr(text, '{', length);
	const char *array = memchr(text, '[', length);
	const char *start = object && (!array || object < array) ? object : array;
	if (!start)
		return wl_fail(err, EINVAL, "there is no JSON in it");
	/* whole JSON with nothing but a fence behind it needs no guess */
	const char *end = text + length;
	while (end > start && end[-1] != '}' && end[-1] != ']')
		end--;
	int result = end > start ? wl_json_parse(start, (size_t)(end - start), ret_json, err) : -EINVAL;
	if (result == 0 || result == -ENOMEM)
		return result;
	struct repair r = { .at = start, .end = text + length };
	wl_buffer_init(&r.out, 8 * (size_t)WL_CREW_REPAIR_MAX);
	result = put_container(&r);
	if (result == 0)
		result = wl_json_parse(r.out.data, r.out.length, ret_json, err);
	else
		(void)wl_fail(err, -result, "its JSON cannot be made out");
	wl_buffer_release(&r.out);
	return result == -ENOMEM || result == 0 ? result : -EINVAL;
}
