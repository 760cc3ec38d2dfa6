#include "supervisor/eval/plain_path.h"

#include <string.h>

#define KEY_MAX 256

struct path {
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

static bool member(const struct wl_json **value, const char *key, size_t length)
{
	char copy[KEY_MAX];
	if (*value && !wl_json_is(*value, WL_JSON_OBJECT) && !wl_json_is(*value, WL_JSON_NULL))
		return false;
	if (length >= sizeof(copy))
		return false;
	memcpy(copy, key, length);
	copy[length] = '\0';
	*value = wl_json_get(*value, copy);
	return true;
}

static bool element(const struct wl_json **value, long index)
{
	if (!*value || wl_json_is(*value, WL_JSON_NULL)) {
		*value = NULL;
		return true;
	}
	if (!wl_json_is(*value, WL_JSON_ARRAY))
		return false;
	if (index < 0)
		index += (long)wl_json_count(*value);
	*value = index < 0 ? NULL : wl_json_at(*value, (size_t)index);
	return true;
}

/* The key in quotes at path->at; one with an escape or a program inside is left to jq. */
static bool quoted(struct path *path, const struct wl_json **value)
{
	const char *start = ++path->at;
	while (path->at < path->end && *path->at != '"' && *path->at != '\\')
		path->at++;
	if (path->at == path->end || *path->at != '"')
		return false;
	path->at++;
	return member(value, start, (size_t)(path->at - 1 - start));
}

static bool bracket(struct path *path, const struct wl_json **value)
{
	path->at++;
	if (path->at < path->end && *path->at == '"') {
		if (!quoted(path, value))
			return false;
	} else {
		bool negative = path->at < path->end && *path->at == '-';
		path->at += negative;
		long index = 0;
		int digits = 0;
		for (; path->at < path->end && is_digit(*path->at) && digits < 9; path->at++, digits++)
			index = index * 10 + (*path->at - '0');
		if (digits == 0 || !element(value, negative ? -index : index))
			return false;
	}
	if (path->at == path->end || *path->at != ']')
		return false;
	path->at++;
	return true;
}

static bool name(struct path *path, const struct wl_json **value)
{
	const char *start = path->at;
	while (path->at < path->end && (is_name_start(*path->at) || is_digit(*path->at)))
		path->at++;
	return member(value, start, (size_t)(path->at - start));
}

/* One step: .name ."name" ["name"] [3], and .["name"] .[3] at the beginning. */
static bool step(struct path *path, bool first, const struct wl_json **value)
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

bool plain_path_value(const char *program, size_t length, const struct wl_json *context,
		      const struct wl_json **ret_value)
{
	struct path path = { program, program + length };
	while (path.at < path.end && strchr(" \t\r\n", *path.at))
		path.at++;
	while (path.end > path.at && strchr(" \t\r\n", path.end[-1]))
		path.end--;
	const struct wl_json *value = context;
	if (path.end - path.at == 1 && *path.at == '.')
		path.at = path.end;
	else if (path.at == path.end || !step(&path, true, &value))
		return false;
	while (path.at < path.end)
		if (!step(&path, false, &value))
			return false;
	*ret_value = value;
	return true;
}
