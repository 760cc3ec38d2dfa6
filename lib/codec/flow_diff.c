#include "lib/codec/flow_diff.h"

#include "lib/base/cleanup.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PATH_SIZE 512 /* a longer path is cut */

/* ---- lists by key ----------------------------------------------------------------------------------------------- */

struct item {
	char *key;
	const struct wl_json *value;
};

/* The members of an array in the order of their keys. */
struct index {
	struct item *items;
	size_t count;
};

static void index_release(struct index *index)
{
	for (size_t i = 0; i < index->count; i++)
		free(index->items[i].key);
	free(index->items);
}
#define _index_ __attribute__((cleanup(index_release)))

static char *node_key(const struct wl_json *node)
{
	return strdup(wl_json_get_string(node, "id", ""));
}

/* Ids have no blanks, so the four parts stay apart. */
static char *edge_key(const struct wl_json *edge)
{
	char *key = NULL;
	int length = asprintf(&key, "%s %s %s %s", wl_json_get_string(edge, "source", ""),
			      wl_json_get_string(edge, "target", ""), wl_json_get_string(edge, "sourceHandle", ""),
			      wl_json_get_string(edge, "targetHandle", ""));
	return length < 0 ? NULL : key;
}

static int compare_items(const void *a, const void *b)
{
	return strcmp(((const struct item *)a)->key, ((const struct item *)b)->key);
}

static int index_make(const struct wl_json *array, char *(*key_of)(const struct wl_json *), struct index *index)
{
	index->items = calloc(wl_json_count(array) + 1, sizeof(*index->items));
	if (!index->items)
		return -ENOMEM;
	for (const struct wl_json *value = wl_json_first(array); value; value = wl_json_next(value)) {
		struct item item = { key_of(value), value };
		if (!item.key)
			return -ENOMEM;
		index->items[index->count++] = item;
	}
	qsort(index->items, index->count, sizeof(*index->items), compare_items);
	return 0;
}

static const struct wl_json *find(const struct index *index, const char *key)
{
	struct item wanted = { (char *)key, NULL };
	const struct item *found = bsearch(&wanted, index->items, index->count, sizeof(*index->items), compare_items);
	return found ? found->value : NULL;
}

/* ---- writing ---------------------------------------------------------------------------------------------------- */

static void comma(struct wl_buffer *out)
{
	char last = out->length ? out->data[out->length - 1] : '[';
	if (last != '[' && last != '{')
		wl_buffer_append_char(out, ',');
}

static void put_string(struct wl_buffer *out, const char *text)
{
	wl_buffer_append_json_string(out, text, strlen(text));
}

static void put_value(struct wl_buffer *out, const struct wl_json *value)
{
	if (value)
		(void)wl_json_write(out, value);
	else
		wl_buffer_append_text(out, "null");
}

/* Those of `array`, in its order, that the other list does not have. */
static int put_missing(struct wl_buffer *out, const char *name, const struct wl_json *array,
		       char *(*key_of)(const struct wl_json *), const struct index *others)
{
	wl_buffer_appendf(out, "\"%s\":[", name);
	for (const struct wl_json *value = wl_json_first(array); value; value = wl_json_next(value)) {
		_wl_free_ char *key = key_of(value);
		if (!key)
			return -ENOMEM;
		if (find(others, key))
			continue;
		comma(out);
		put_value(out, value);
	}
	wl_buffer_append_char(out, ']');
	return 0;
}

/* ---- fields ----------------------------------------------------------------------------------------------------- */

static void put_field(struct wl_buffer *out, const char *path, const struct wl_json *from, const struct wl_json *to)
{
	comma(out);
	wl_buffer_append_text(out, "{\"path\":");
	put_string(out, path);
	wl_buffer_append_text(out, ",\"from\":");
	put_value(out, from);
	wl_buffer_append_text(out, ",\"to\":");
	put_value(out, to);
	wl_buffer_append_char(out, '}');
}

static void compare(struct wl_buffer *out, const char *path, const struct wl_json *from, const struct wl_json *to);

static void compare_objects(struct wl_buffer *out, const char *path, const struct wl_json *from,
			    const struct wl_json *to)
{
	char place[PATH_SIZE];
	for (const struct wl_json *member = wl_json_first(from); member; member = wl_json_next(member)) {
		(void)snprintf(place, sizeof(place), "%s.%s", path, wl_json_key(member));
		compare(out, place, member, wl_json_get(to, wl_json_key(member)));
	}
	for (const struct wl_json *member = wl_json_first(to); member; member = wl_json_next(member)) {
		(void)snprintf(place, sizeof(place), "%s.%s", path, wl_json_key(member));
		if (!wl_json_get(from, wl_json_key(member)))
			put_field(out, place, NULL, member);
	}
}

static void compare_arrays(struct wl_buffer *out, const char *path, const struct wl_json *from,
			   const struct wl_json *to)
{
	const struct wl_json *a = wl_json_first(from), *b = wl_json_first(to);
	char place[PATH_SIZE];
	for (size_t i = 0; a || b; i++) {
		(void)snprintf(place, sizeof(place), "%s[%zu]", path, i);
		compare(out, place, a, b);
		a = a ? wl_json_next(a) : NULL;
		b = b ? wl_json_next(b) : NULL;
	}
}

static void compare(struct wl_buffer *out, const char *path, const struct wl_json *from, const struct wl_json *to)
{
	if (from && to && wl_json_equal(from, to))
		return;
	if (wl_json_is(from, WL_JSON_OBJECT) && wl_json_is(to, WL_JSON_OBJECT))
		compare_objects(out, path, from, to);
	else if (wl_json_is(from, WL_JSON_ARRAY) && wl_json_is(to, WL_JSON_ARRAY))
		compare_arrays(out, path, from, to);
	else
		put_field(out, path, from, to);
}

/* ---- nodes ------------------------------------------------------------------------------------------------------ */

static bool is_among(const char *const *names, const char *name)
{
	for (; *names; names++)
		if (strcmp(*names, name) == 0)
			return true;
	return false;
}

static const char *const places[] = { "position", "width", "height", NULL };
static const char *const display[] = { "position", "width",    "height",	   "selected", "dragging",
				       "measured", "resizing", "positionAbsolute", NULL };

static bool stands_elsewhere(const struct wl_json *from, const struct wl_json *to)
{
	for (const char *const *name = places; *name; name++) {
		const struct wl_json *a = wl_json_get(from, *name), *b = wl_json_get(to, *name);
		if (!a != !b || (a && !wl_json_equal(a, b)))
			return true;
	}
	return false;
}

static void put_node_fields(struct wl_buffer *out, const struct wl_json *from, const struct wl_json *to)
{
	for (const struct wl_json *member = wl_json_first(from); member; member = wl_json_next(member))
		if (!is_among(display, wl_json_key(member)))
			compare(out, wl_json_key(member), member, wl_json_get(to, wl_json_key(member)));
	for (const struct wl_json *member = wl_json_first(to); member; member = wl_json_next(member))
		if (!is_among(display, wl_json_key(member)) && !wl_json_get(from, wl_json_key(member)))
			put_field(out, wl_json_key(member), NULL, member);
}

/* Nodes that both have: the changed ones go into `out`, the ids of those that were only moved into `moved`. */
static void put_changed(struct wl_buffer *out, struct wl_buffer *moved, const struct wl_json *nodes,
			const struct index *others)
{
	wl_buffer_append_text(out, ",\"changed\":[");
	for (const struct wl_json *node = wl_json_first(nodes); node; node = wl_json_next(node)) {
		const char *id = wl_json_get_string(node, "id", "");
		const struct wl_json *from = find(others, id);
		_wl_buffer_ struct wl_buffer fields = { 0 };
		if (!wl_json_is(from, WL_JSON_OBJECT) || !wl_json_is(node, WL_JSON_OBJECT))
			continue;
		wl_buffer_append_char(&fields, '[');
		put_node_fields(&fields, from, node);
		if (fields.failed) {
			out->failed = fields.failed;
		} else if (fields.length > 1) {
			comma(out);
			wl_buffer_append_text(out, "{\"id\":");
			put_string(out, id);
			wl_buffer_append_text(out, ",\"fields\":");
			wl_buffer_append(out, fields.data, fields.length);
			wl_buffer_append_text(out, "]}");
		} else if (stands_elsewhere(from, node)) {
			comma(moved);
			put_string(moved, id);
		}
	}
	wl_buffer_append_char(out, ']');
}

/* ---- the whole -------------------------------------------------------------------------------------------------- */

static int put_added_and_removed(struct wl_buffer *out, const char *name, const struct wl_json *before,
				 const struct wl_json *after, char *(*key_of)(const struct wl_json *),
				 struct index *old)
{
	_index_ struct index new = { 0 };
	const struct wl_json *from = wl_json_get(before, name), *to = wl_json_get(after, name);
	int failed = index_make(from, key_of, old) | index_make(to, key_of, &new);
	wl_buffer_appendf(out, "\"%s\":{", name);
	failed = failed ? failed : put_missing(out, "added", to, key_of, old);
	wl_buffer_append_char(out, ',');
	return failed ? failed : put_missing(out, "removed", from, key_of, &new);
}

static void put_schema(struct wl_buffer *out, const char *name, const struct wl_json *before,
		       const struct wl_json *after)
{
	const struct wl_json *from = wl_json_get(before, name), *to = wl_json_get(after, name);
	bool changed = !from != !to || (from && !wl_json_equal(from, to));
	wl_buffer_appendf(out, ",\"%s_changed\":%s", name, changed ? "true" : "false");
}

int wl_flow_diff(const struct wl_json *before, const struct wl_json *after, struct wl_buffer *buffer,
		 struct wl_error *err)
{
	_index_ struct index nodes = { 0 };
	_index_ struct index edges = { 0 };
	_wl_buffer_ struct wl_buffer moved = { 0 };
	int failed = put_added_and_removed(buffer, "nodes", before, after, node_key, &nodes);
	wl_buffer_append_char(&moved, '[');
	if (!failed)
		put_changed(buffer, &moved, wl_json_get(after, "nodes"), &nodes);
	wl_buffer_append_text(buffer, "},");
	failed = failed ? failed : put_added_and_removed(buffer, "edges", before, after, edge_key, &edges);
	wl_buffer_append_text(buffer, "},\"moved\":");
	wl_buffer_append(buffer, moved.data, moved.length);
	wl_buffer_append_char(buffer, ']');
	put_schema(buffer, "input_schema", before, after);
	put_schema(buffer, "output_schema", before, after);
	if (failed || moved.failed || buffer->failed)
		return wl_fail(err, buffer->failed ? buffer->failed : ENOMEM, "no room for the differences");
	return 0;
}
