#include "lib/codec/flow_export.h"

#include "lib/base/cleanup.h"
#include "lib/codec/yaml.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const char *const file_members[] = { "name", "description", "input_schema", "output_schema", "nodes", "edges" };
static const char *const node_members[] = { "id", "type", "parentId", "position", "data", NULL };
static const char *const edge_members[] = { "id", "source", "sourceHandle", "target", "targetHandle", NULL };

/* ---- order ------------------------------------------------------------------------------------------------------ */

static bool is_among(const char *const *names, const char *name)
{
	for (; *names; names++)
		if (strcmp(*names, name) == 0)
			return true;
	return false;
}

/* A copy of an object with the named members first. NULL: no memory. */
static struct wl_json *with_first(const struct wl_json *object, const char *const *names)
{
	_wl_json_ struct wl_json *made = wl_json_object();
	int failed = made ? 0 : -ENOMEM;
	for (const char *const *name = names; *name && !failed; name++) {
		const struct wl_json *member = wl_json_get(object, *name);
		if (member)
			failed = wl_json_set(made, *name, wl_json_copy(member));
	}
	for (const struct wl_json *member = wl_json_first(object); member && !failed; member = wl_json_next(member))
		if (!is_among(names, wl_json_key(member)))
			failed = wl_json_set(made, wl_json_key(member), wl_json_copy(member));
	return failed ? NULL : wl_steal(made);
}

static struct wl_json *list_with_first(const struct wl_json *list, const char *const *names)
{
	if (!wl_json_is(list, WL_JSON_ARRAY))
		return wl_json_copy(list);
	_wl_json_ struct wl_json *made = wl_json_array();
	if (!made)
		return NULL;
	for (const struct wl_json *item = wl_json_first(list); item; item = wl_json_next(item)) {
		bool object = wl_json_is(item, WL_JSON_OBJECT);
		if (wl_json_append(made, object ? with_first(item, names) : wl_json_copy(item)) < 0)
			return NULL;
	}
	return wl_steal(made);
}

/* A copy with the members of all objects by their keys. NULL: no memory. */
static struct wl_json *sorted_copy(const struct wl_json *value)
{
	_wl_buffer_ struct wl_buffer text = { 0 };
	struct wl_json *made = NULL;
	if (wl_json_write_sorted(&text, value) < 0 || wl_json_parse(text.data, text.length, &made, NULL) < 0)
		return NULL;
	return made;
}

static struct wl_json *file_of(const char *name, const char *description, const struct wl_json *document)
{
	_wl_json_ struct wl_json *sorted = sorted_copy(document);
	_wl_json_ struct wl_json *file = wl_json_object();
	int failed = sorted && file ? wl_json_set_string(file, "name", name) : -ENOMEM;
	if (!failed && description && *description)
		failed = wl_json_set_string(file, "description", description);
	for (size_t i = 2; i < WL_COUNT_OF(file_members) && !failed; i++) {
		const struct wl_json *member = wl_json_get(sorted, file_members[i]);
		if (!member)
			continue;
		bool nodes = strcmp(file_members[i], "nodes") == 0, edges = strcmp(file_members[i], "edges") == 0;
		failed = wl_json_set(file, file_members[i],
				     nodes || edges ? list_with_first(member, nodes ? node_members : edge_members)
						    : wl_json_copy(member));
	}
	return failed ? NULL : wl_steal(file);
}

int wl_flow_export(const char *name, const char *description, const struct wl_json *document,
		   enum wl_flow_format format, struct wl_buffer *buffer, struct wl_error *err)
{
	_wl_json_ struct wl_json *file = file_of(name, description, document);
	if (!file)
		return wl_fail(err, ENOMEM, "no memory for a flow's file");
	if (format == WL_FLOW_YAML) {
		(void)wl_yaml_write(buffer, file);
	} else {
		wl_json_write_lines(buffer, file);
	}
	return buffer->failed ? wl_fail(err, buffer->failed, "no room for a flow's file") : 0;
}

/* ---- reading ---------------------------------------------------------------------------------------------------- */

int wl_flow_file_parse(const char *text, size_t length, struct wl_json **ret_flow, struct wl_error *err)
{
	if (length > WL_FLOW_FILE_MAX)
		return wl_fail(err, E2BIG, "a flow's file has at most %u MiB", WL_FLOW_FILE_MAX >> 20);
	size_t blank = 0;
	while (blank < length && strchr(" \t\r\n", text[blank]))
		blank++;
	if (blank < length && text[blank] == '{')
		return wl_json_parse(text, length, ret_flow, err);
	return wl_yaml_parse(text, length, ret_flow, err);
}

/* Characters of UTF-8: bytes that continue one are not counted. */
static size_t characters(const char *text)
{
	size_t count = 0;
	for (; *text; text++)
		count += ((unsigned char)*text & 0xc0) != 0x80;
	return count;
}

static void check_text(const struct wl_json *flow, const char *name, size_t least, size_t most,
		       struct wl_flow_faults *faults)
{
	const struct wl_json *value = wl_json_get(flow, name);
	if (!value)
		return;
	if (!wl_json_is(value, WL_JSON_STRING)) {
		wl_flow_fault_add(faults, name, "is not a text");
		return;
	}
	size_t length = characters(wl_json_string(value, ""));
	if (length < least || length > most)
		wl_flow_fault_add(faults, name, "has %zu characters; it may have %zu to %zu", length, least, most);
}

void wl_flow_file_check(const struct wl_json *flow, struct wl_flow_faults *faults)
{
	if (!wl_json_is(flow, WL_JSON_OBJECT)) {
		wl_flow_fault_add(faults, "", "a flow's file holds an object with name, nodes and edges");
		return;
	}
	for (const struct wl_json *member = wl_json_first(flow); member; member = wl_json_next(member)) {
		bool known = false;
		for (size_t i = 0; i < WL_COUNT_OF(file_members); i++)
			known |= strcmp(wl_json_key(member), file_members[i]) == 0;
		if (!known)
			wl_flow_fault_add(faults, wl_json_key(member), "a flow has no such member");
	}
	check_text(flow, "name", 1, WL_FLOW_NAME_MAX, faults);
	check_text(flow, "description", 0, WL_FLOW_DESCRIPTION_MAX, faults);
}
