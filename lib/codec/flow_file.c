#include "lib/codec/flow_file.h"

#include "lib/base/cleanup.h"
#include "lib/base/file.h"
#include "lib/codec/flow_export.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *const flow_members[] = { "name", "description", "nodes", "edges", "input_schema", "output_schema" };

/* The real path of `name` beside the flow file, when it lies in that file's folder or below. */
static int resolve_source(const char *flow_path, const char *name, char resolved[PATH_MAX], struct wl_error *err)
{
	char folder[PATH_MAX], joined[PATH_MAX], real_folder[PATH_MAX];
	const char *slash = strrchr(flow_path, '/');
	if (snprintf(folder, sizeof(folder), "%.*s", slash ? (int)(slash - flow_path) : 1, slash ? flow_path : ".") >=
		    (int)sizeof(folder) ||
	    snprintf(joined, sizeof(joined), "%s/%s", slash == flow_path ? "" : folder, name) >= (int)sizeof(joined))
		return wl_fail(err, ENAMETOOLONG, "source_file %.64s... is too long", name);
	if (!realpath(slash == flow_path ? "/" : folder, real_folder) || !realpath(joined, resolved))
		return wl_fail_errno(err, errno, "source_file %.200s", name);
	size_t length = strlen(real_folder);
	bool at_root = strcmp(real_folder, "/") == 0;
	if (name[0] == '/' || (!at_root && (strncmp(resolved, real_folder, length) != 0 || resolved[length] != '/')))
		return wl_fail(err, EINVAL, "source_file %.200s does not lie below the flow file's folder", name);
	return 0;
}

static int read_source(const char *flow_path, const char *name, struct wl_buffer *text, struct wl_error *err)
{
	char resolved[PATH_MAX];
	if (resolve_source(flow_path, name, resolved, err) < 0 || wl_file_read(resolved, text, err) < 0)
		return -err->code;
	if (text->length == 0 || !wl_json_is_text(text->data, text->length))
		return wl_fail(err, EINVAL, "source_file %.200s is empty or no UTF-8 text", name);
	return 0;
}

/* A node's data with the text of its source_file in the place of that member. */
static struct wl_json *data_with_source(const struct wl_json *data, const char *source)
{
	_wl_json_ struct wl_json *made = wl_json_object();
	int failed = made ? 0 : -ENOMEM;
	for (const struct wl_json *member = wl_json_first(data); made && member; member = wl_json_next(member))
		if (strcmp(wl_json_key(member), "source_file") != 0)
			failed |= wl_json_set(made, wl_json_key(member), wl_json_copy(member));
	failed |= failed ? 0 : wl_json_set_string(made, "source", source);
	return failed ? NULL : wl_steal(made);
}

/* A copy of the node; with the source put in when it names a file. */
static int build_node(const char *flow_path, const struct wl_json *node, struct wl_json **ret_node,
		      struct wl_error *err)
{
	const struct wl_json *data = wl_json_get(node, "data");
	const char *file = wl_json_get_string(data, "source_file", NULL);
	if (!file) {
		*ret_node = wl_json_copy(node);
		return *ret_node ? 0 : wl_fail(err, ENOMEM, "no memory for the flow");
	}
	const char *id = wl_json_get_string(node, "id", "?");
	if (wl_json_get(data, "source"))
		return wl_fail(err, EINVAL, "node %.64s has both source and source_file", id);
	_wl_buffer_ struct wl_buffer text;
	wl_buffer_init(&text, WL_FLOW_SOURCE_MAX);
	if (read_source(flow_path, file, &text, err) < 0)
		return wl_fail_within(err, "node %.64s", id);
	_wl_json_ struct wl_json *made = wl_json_object();
	int failed = made ? 0 : -ENOMEM;
	for (const struct wl_json *member = wl_json_first(node); made && member; member = wl_json_next(member)) {
		bool is_data = strcmp(wl_json_key(member), "data") == 0;
		failed |= wl_json_set(made, wl_json_key(member),
				      is_data ? data_with_source(data, text.data) : wl_json_copy(member));
	}
	if (failed)
		return wl_fail(err, ENOMEM, "no memory for the flow");
	*ret_node = wl_steal(made);
	return 0;
}

static int build_nodes(const char *flow_path, const struct wl_json *nodes, struct wl_json **ret_nodes,
		       struct wl_error *err)
{
	if (!wl_json_is(nodes, WL_JSON_ARRAY))
		return wl_fail(err, EINVAL, "nodes is to be a list");
	_wl_json_ struct wl_json *made = wl_json_array();
	if (!made)
		return wl_fail(err, ENOMEM, "no memory for the flow");
	for (const struct wl_json *node = wl_json_first(nodes); node; node = wl_json_next(node)) {
		struct wl_json *one = NULL;
		if (build_node(flow_path, node, &one, err) < 0)
			return -err->code;
		if (wl_json_append(made, one) < 0)
			return wl_fail(err, ENOMEM, "no memory for the flow");
	}
	*ret_nodes = wl_steal(made);
	return 0;
}

static int check_members(const struct wl_json *file, struct wl_error *err)
{
	if (!wl_json_is(file, WL_JSON_OBJECT))
		return wl_fail(err, EINVAL, "a flow file holds an object with name, nodes and edges");
	for (const struct wl_json *member = wl_json_first(file); member; member = wl_json_next(member)) {
		bool known = false;
		for (size_t i = 0; i < WL_COUNT_OF(flow_members); i++)
			known |= strcmp(wl_json_key(member), flow_members[i]) == 0;
		if (!known)
			return wl_fail(err, EINVAL, "a flow file has no member '%.64s'", wl_json_key(member));
	}
	const char *name = wl_json_get_string(file, "name", "");
	if (!*name)
		return wl_fail(err, EINVAL, "the flow has no name; it is known to the server by it");
	return 0;
}

int wl_flow_file_build(const char *path, const struct wl_json *file, struct wl_json **ret_flow, struct wl_error *err)
{
	struct wl_json *nodes = NULL;
	if (check_members(file, err) < 0 || build_nodes(path, wl_json_get(file, "nodes"), &nodes, err) < 0)
		return -err->code;
	_wl_json_ struct wl_json *flow = wl_json_object();
	if (!flow) {
		wl_json_free(nodes);
		return wl_fail(err, ENOMEM, "no memory for the flow");
	}
	int failed = wl_json_set(flow, "nodes", nodes);
	for (size_t i = 0; i < WL_COUNT_OF(flow_members); i++) {
		const struct wl_json *member = wl_json_get(file, flow_members[i]);
		if (member && strcmp(flow_members[i], "nodes") != 0)
			failed |= wl_json_set(flow, flow_members[i], wl_json_copy(member));
	}
	if (!wl_json_get(flow, "edges"))
		failed |= wl_json_set(flow, "edges", wl_json_array());
	if (failed)
		return wl_fail(err, ENOMEM, "no memory for the flow");
	*ret_flow = wl_steal(flow);
	return 0;
}

int wl_flow_file_load(const char *path, struct wl_json **ret_flow, struct wl_error *err)
{
	_wl_buffer_ struct wl_buffer text;
	_wl_json_ struct wl_json *file = NULL;
	wl_buffer_init(&text, WL_FLOW_FILE_MAX);
	if (wl_file_read(path, &text, err) < 0)
		return -err->code;
	if (wl_flow_file_parse(text.data ? text.data : "", text.length, &file, err) < 0 ||
	    wl_flow_file_build(path, file, ret_flow, err) < 0)
		return wl_fail_within(err, "%.200s", path);
	return 0;
}
