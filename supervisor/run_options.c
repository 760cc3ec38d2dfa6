#include "supervisor/run_options.h"

#include "lib/base/cleanup.h"
#include "lib/codec/json.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

void run_options_free(struct run_options *options)
{
	if (options)
		free(options->rerun);
	free(options);
}

static int find(const struct wl_flow_graph *graph, const char *id, const char *where, struct wl_error *err)
{
	int node = id ? wl_flow_graph_find(graph, id) : -1;
	if (node < 0 || !wl_node_kind_runs(graph->nodes[node].kind))
		return wl_fail(err, EINVAL, "the flow has no node '%.100s' outside of its loops, which %s names",
			       id ? id : "", where);
	return node;
}

static int read_reuse(const struct wl_json *reuse, const struct wl_flow_graph *graph, struct run_options *options,
		      struct wl_error *err)
{
	const char *eid = wl_json_get_string(reuse, "execution_id", "");
	if (!wl_uuid_valid(eid))
		return wl_fail(err, EINVAL, "options.reuse.execution_id is no execution's id");
	for (size_t i = 0; eid[i]; i++) /* as the ledger writes it */
		options->reuse[i] = (char)tolower((unsigned char)eid[i]);
	options->rerun = calloc((size_t)graph->node_count + 1, 1);
	if (!options->rerun)
		return wl_fail(err, ENOMEM, "no memory for the options of a run");
	for (const struct wl_json *id = wl_json_first(wl_json_get(reuse, "rerun")); id; id = wl_json_next(id)) {
		int node = find(graph, wl_json_string(id, NULL), "options.reuse.rerun", err);
		if (node < 0)
			return node;
		options->rerun[node] = 1;
	}
	return 0;
}

static int read_replay(const struct wl_json *replay, struct run_options *options, struct wl_error *err)
{
	const char *eid = wl_json_get_string(replay, "execution_id", "");
	if (!wl_uuid_valid(eid))
		return wl_fail(err, EINVAL, "options.replay.execution_id is no execution's id");
	for (size_t i = 0; eid[i]; i++)
		options->replay_eid[i] = (char)tolower((unsigned char)eid[i]);
	bool fork = strcmp(wl_json_get_string(replay, "mode", ""), "fork") == 0;
	options->replay = fork ? NODE_REPLAY_FORK : NODE_REPLAY_OFFLINE;
	return 0;
}

int run_options_read(const char *json, const struct wl_flow_graph *graph, struct run_options **ret_options,
		     struct wl_error *err)
{
	_wl_json_ struct wl_json *parsed = NULL;
	if (wl_json_parse(json, strlen(json), &parsed, err) < 0)
		return wl_fail_within(err, "options");
	const struct wl_json *reuse = wl_json_get(parsed, "reuse"), *only = wl_json_get(parsed, "only");
	bool reuses = wl_json_is(reuse, WL_JSON_OBJECT), confined = only && !wl_json_is(only, WL_JSON_NULL);
	const struct wl_json *replay = wl_json_get(parsed, "replay");
	bool pinned = wl_json_get_bool(parsed, "pinned", false), replays = wl_json_is(replay, WL_JSON_OBJECT);
	if (!pinned && !reuses && !confined && !replays)
		return 0;
	struct run_options *options = calloc(1, sizeof(*options));
	if (!options)
		return wl_fail(err, ENOMEM, "no memory for the options of a run");
	*options = (struct run_options){ .pinned = pinned, .only = -1 };
	int result = confined ? find(graph, wl_json_string(only, NULL), "options.only", err) : 0;
	if (result >= 0 && confined)
		options->only = result;
	if (result >= 0 && reuses)
		result = read_reuse(reuse, graph, options, err);
	if (result >= 0 && replays)
		result = read_replay(replay, options, err);
	if (result < 0) {
		run_options_free(options);
		return result;
	}
	*ret_options = options;
	return 0;
}
