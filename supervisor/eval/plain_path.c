#include "supervisor/eval/plain_path.h"

#include <string.h>

struct path {
	const char *at, *end;
};

/* A place in the context; start NULL is null. */
struct cursor {
	const char *at, *end;
};

static bool is_name_start(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/* ---- moving over JSON text -------------------------------------------------------------------- */

static const char *skip_space(const char *at, const char *end)
{
	while (at < end && is_space(*at))
		at++;
	return at;
}

/* Behind the closing quote of the string that begins at `at`, or NULL. */
static const char *skip_string(const char *at, const char *end)
{
	for (at++; at < end; at++) {
		if (*at == '\\')
			at++;
		else if (*at == '"')
			return at + 1;
	}
	return NULL;
}

/* Behind the value that begins at `at`, or NULL. Brackets are counted, not matched: the text was JSON once. */
static const char *skip_value(const char *at, const char *end)
{
	if (at < end && *at == '"')
		return skip_string(at, end);
	if (at < end && *at != '{' && *at != '[') {
		while (at < end && *at != ',' && *at != '}' && *at != ']' && !is_space(*at))
			at++;
		return at;
	}
	for (long depth = 0; at && at < end;) {
		char c = *at;
		if (c == '"') {
			at = skip_string(at, end);
			continue;
		}
		depth += (c == '{' || c == '[') - (c == '}' || c == ']');
		at++;
		if (depth == 0)
			return at;
	}
	return NULL;
}

static bool is_null(const struct cursor *value)
{
	return !value->at || (value->end - value->at >= 4 && memcmp(value->at, "null", 4) == 0);
}

/* Step to the next member behind one that ended at `at`: its first byte, or NULL at the container's end. */
static const char *next_member(const char *at, const char *end)
{
	at = at ? skip_space(at, end) : NULL;
	return at && at < end && *at == ',' ? skip_space(at + 1, end) : NULL;
}

/* ---- following one step ----------------------------------------------------------------------- */

/* Go to the member of that key. A key that is written with escapes may be the same one: that is left to jq. */
static bool member(struct cursor *value, const char *key, size_t length)
{
	if (is_null(value)) {
		value->at = NULL;
		return true;
	}
	if (*value->at != '{')
		return false;
	const char *at = skip_space(value->at + 1, value->end);
	while (at && at < value->end && *at == '"') {
		const char *name = at + 1;
		const char *after = skip_string(at, value->end);
		if (!after || memchr(name, '\\', (size_t)(after - name)))
			return false;
		at = skip_space(after, value->end);
		if (at == value->end || *at != ':')
			return false;
		at = skip_space(at + 1, value->end);
		if ((size_t)(after - 1 - name) == length && memcmp(name, key, length) == 0) {
			value->at = at;
			return at < value->end;
		}
		at = next_member(skip_value(at, value->end), value->end);
	}
	value->at = NULL;
	return true;
}

/* The number of elements of the array at `at`. */
static long count_elements(const struct cursor *value)
{
	long count = 0;
	const char *at = skip_space(value->at + 1, value->end);
	if (at < value->end && *at == ']')
		return 0;
	for (; at && at < value->end; at = next_member(skip_value(at, value->end), value->end))
		count++;
	return count;
}

static bool element(struct cursor *value, long index)
{
	if (is_null(value)) {
		value->at = NULL;
		return true;
	}
	if (*value->at != '[')
		return false;
	if (index < 0)
		index += count_elements(value);
	const char *at = skip_space(value->at + 1, value->end);
	if (at == value->end || *at == ']' || index < 0)
		at = NULL;
	for (; at && at < value->end && index > 0; index--)
		at = next_member(skip_value(at, value->end), value->end);
	value->at = at;
	return !at || at < value->end;
}

/* The key in quotes at path->at; one with an escape or a program inside is left to jq. */
static bool quoted(struct path *path, struct cursor *value)
{
	const char *start = ++path->at;
	while (path->at < path->end && *path->at != '"' && *path->at != '\\')
		path->at++;
	if (path->at == path->end || *path->at != '"')
		return false;
	path->at++;
	return member(value, start, (size_t)(path->at - 1 - start));
}

static bool number(struct path *path, struct cursor *value)
{
	bool negative = path->at < path->end && *path->at == '-';
	path->at += negative;
	long index = 0;
	int digits = 0;
	for (; path->at < path->end && is_digit(*path->at) && digits < 9; path->at++, digits++)
		index = index * 10 + (*path->at - '0');
	return digits > 0 && element(value, negative ? -index : index);
}

static bool bracket(struct path *path, struct cursor *value)
{
	path->at++;
	bool found = path->at < path->end && *path->at == '"' ? quoted(path, value) : number(path, value);
	if (!found || path->at == path->end || *path->at != ']')
		return false;
	path->at++;
	return true;
}

static bool name(struct path *path, struct cursor *value)
{
	const char *start = path->at;
	while (path->at < path->end && (is_name_start(*path->at) || is_digit(*path->at)))
		path->at++;
	return member(value, start, (size_t)(path->at - start));
}

/* One step: .name ."name" ["name"] [3], and .["name"] .[3] at the beginning. */
static bool step(struct path *path, bool first, struct cursor *value)
{
	if (*path->at == '[' && !first)
		return bracket(path, value);
	if (*path->at != '.' || ++path->at == path->end)
		return false;
	if (*path->at == '[')
		return first && bracket(path, value);
	if (*path->at == '"')
		return quoted(path, value);
	return is_name_start(*path->at) && name(path, value);
}

/* Nothing more, or a pipe, which binds weaker than anything a path is made of (|= is another operator). */
static bool is_path_end(const char *at, const char *end)
{
	at = skip_space(at, end);
	return at == end || (*at == '|' && (at + 1 == end || at[1] != '='));
}

bool plain_path_value(const char *program, size_t length, const char *context, size_t context_length,
		      struct text_slice *ret_value, struct text_slice *ret_rest)
{
	struct path path = { program, program + length };
	struct cursor value = { skip_space(context, context + context_length), context + context_length };
	while (path.at < path.end && is_space(*path.at))
		path.at++;
	while (path.end > path.at && is_space(path.end[-1]))
		path.end--;
	if (value.at == value.end || path.at == path.end)
		return false;
	if (*path.at == '.' && is_path_end(path.at + 1, path.end))
		path.at++;
	else if (!step(&path, true, &value))
		return false;
	while (!is_path_end(path.at, path.end))
		if (!step(&path, false, &value))
			return false;
	path.at = skip_space(path.at, path.end);
	*ret_rest = (struct text_slice){ NULL, 0 };
	if (path.at < path.end)
		*ret_rest = (struct text_slice){ path.at + 1, (size_t)(path.end - path.at - 1) };
	const char *after = value.at ? skip_value(value.at, value.end) : NULL;
	if (value.at && !after)
		return false;
	*ret_value = (struct text_slice){ value.at, value.at ? (size_t)(after - value.at) : 0 };
	return true;
}
