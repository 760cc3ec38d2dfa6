#include "lib/crew/interpolate.h"

#include "lib/base/cleanup.h"
#include "lib/crew/crew.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define NAME_MAX_BYTES 200 /* longer ones are refused, lest an error be all name */

static bool letter(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

static bool later(char c)
{
	return letter(c) || (c >= '0' && c <= '9') || c == '-';
}

const char *wl_crew_next_name(const char *text, size_t *ret_length)
{
	for (const char *brace = strchr(text, '{'); brace; brace = strchr(brace + 1, '{')) {
		size_t length = 0;
		if (!letter(brace[1]))
			continue;
		while (later(brace[1 + length]))
			length++;
		if (brace[1 + length] != '}')
			continue;
		*ret_length = length;
		return brace + 1;
	}
	return NULL;
}

static int append_value(struct wl_buffer *out, const struct wl_json *inputs, const char *name, size_t length,
			struct wl_error *err)
{
	char key[NAME_MAX_BYTES + 1];
	if (length > NAME_MAX_BYTES)
		return wl_fail(err, EINVAL, "a name in braces is longer than %d bytes", NAME_MAX_BYTES);
	memcpy(key, name, length);
	key[length] = '\0';
	const struct wl_json *value = wl_json_get(inputs, key);
	if (!value || wl_json_is(value, WL_JSON_NULL))
		return wl_fail(err, EINVAL, "the inputs have no value for {%s}", key);
	if (wl_json_is(value, WL_JSON_STRING))
		return wl_buffer_append_text(out, wl_json_string(value, ""));
	return wl_json_write(out, value);
}

int wl_crew_interpolate(const char *text, const struct wl_json *inputs, char **ret_text, struct wl_error *err)
{
	_wl_buffer_ struct wl_buffer out = { 0 };
	size_t length = 0;
	const char *rest = text;
	for (const char *name = inputs ? wl_crew_next_name(rest, &length) : NULL; name;
	     name = wl_crew_next_name(rest, &length)) {
		(void)wl_buffer_append(&out, rest, (size_t)(name - 1 - rest));
		int result = append_value(&out, inputs, name, length, err);
		if (result == -EINVAL)
			return result;
		rest = name + length + 1;
	}
	(void)wl_buffer_append_text(&out, rest);
	if (out.failed)
		return wl_fail(err, out.failed, "no memory to fill in a text");
	*ret_text = wl_buffer_steal(&out);
	return 0;
}

/* ---- the names that a definition asks for ---------------------------------------------------------------- */

struct names {
	char **items;
	size_t count, capacity;
	bool failed;
};

static void collect(struct names *names, const char *text)
{
	size_t length = 0;
	for (const char *name = text ? wl_crew_next_name(text, &length) : NULL; name;
	     name = wl_crew_next_name(name + length, &length)) {
		if (names->count == names->capacity) {
			size_t capacity = names->capacity ? names->capacity * 2 : 16;
			char **grown = realloc(names->items, capacity * sizeof(*grown));
			if (!grown) {
				names->failed = true;
				return;
			}
			names->items = grown;
			names->capacity = capacity;
		}
		char *copy = strndup(name, length);
		if (!copy) {
			names->failed = true;
			return;
		}
		names->items[names->count++] = copy;
	}
}

static int by_bytes(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static struct wl_json *sorted(struct names *names)
{
	_wl_json_ struct wl_json *list = wl_json_array();
	if (names->count > 0)
		qsort(names->items, names->count, sizeof(*names->items), by_bytes);
	for (size_t i = 0; list && i < names->count; i++) {
		if (i > 0 && strcmp(names->items[i], names->items[i - 1]) == 0)
			continue;
		if (wl_json_append(list, wl_json_new_string(names->items[i])) < 0)
			return NULL;
	}
	return names->failed ? NULL : wl_steal(list);
}

struct wl_json *wl_crew_inputs(const struct wl_crew *crew)
{
	struct names names = { 0 };
	for (size_t i = 0; i < crew->agent_count; i++) {
		const struct wl_crew_agent *agent = &crew->agents[i];
		collect(&names, agent->role);
		collect(&names, agent->goal);
		collect(&names, agent->backstory);
		collect(&names, agent->system_prompt);
	}
	for (size_t i = 0; !crew->lone && i < crew->task_count; i++) {
		collect(&names, crew->tasks[i].description);
		collect(&names, crew->tasks[i].expected_output);
	}
	struct wl_json *list = sorted(&names);
	for (size_t i = 0; i < names.count; i++)
		free(names.items[i]);
	free(names.items);
	return list;
}
