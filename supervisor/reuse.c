#include "supervisor/reuse.h"

#include "lib/base/cleanup.h"

#include <errno.h>
#include <string.h>

#define BATCH 64

struct takeover {
	struct run *run;
	const struct wl_flow_graph *graph;
	const char *from;
	struct wl_node_result *theirs; /* all that the other execution has */
	int their_count;
	struct wl_node_result **taken; /* of theirs: what is to be taken, in any order */
	int taken_count;
};

static bool is_stored(const struct run *run, const char *node_id)
{
	for (int i = 0; i < run->restored_count; i++)
		if (run->restored[i].committed && strcmp(run->restored[i].node_id, node_id) == 0)
			return true;
	return false;
}

static bool is_good(const struct wl_node_result *result)
{
	return result->committed && (result->state == WL_NODE_SUCCEEDED || result->state == WL_NODE_SKIPPED);
}

static void find_theirs(struct takeover *takeover, struct wl_node_result **by_node)
{
	for (int i = 0; i < takeover->their_count; i++) {
		struct wl_node_result *result = &takeover->theirs[i];
		int node = wl_flow_graph_find(takeover->graph, result->node_id);
		if (node >= 0 && is_good(result))
			by_node[node] = result;
	}
}

/* A node runs when it is asked for, when there is nothing to take, and when one before it runs. */
static void keep_behind_out(const struct takeover *takeover, const int *order, struct wl_node_result **by_node)
{
	const struct wl_flow_graph *graph = takeover->graph;
	for (int i = 0; i < graph->node_count; i++) {
		int node = order[i];
		bool runs = takeover->run->options->rerun[node];
		for (int e = 0; e < graph->nodes[node].in_count && !runs; e++)
			runs = !by_node[graph->edges[graph->nodes[node].in_edges[e]].source];
		if (runs)
			by_node[node] = NULL;
	}
}

/* What options.reuse leaves to take. */
static int choose_reused(struct takeover *takeover, struct wl_error *err)
{
	int count = takeover->graph->node_count;
	_wl_free_ int *order = calloc((size_t)count + 1, sizeof(*order));
	_wl_free_ struct wl_node_result **by_node = calloc((size_t)count + 1, sizeof(*by_node));
	if (!order || !by_node || !wl_flow_graph_order(takeover->graph, order))
		return wl_fail(err, ENOMEM, "no memory to take results over");
	find_theirs(takeover, by_node);
	keep_behind_out(takeover, order, by_node);
	for (int i = 0; i < count; i++)
		if (by_node[i])
			takeover->taken[takeover->taken_count++] = by_node[i];
	return 0;
}

/* Did a node ask models within the loop or subflow of that name? */
static bool asked_within(const struct takeover *takeover, const char *id)
{
	size_t length = strlen(id);
	for (int i = 0; i < takeover->their_count; i++) {
		const char *path = takeover->theirs[i].node_id;
		bool inside = strncmp(path, id, length) == 0 && (path[length] == '[' || path[length] == '.');
		if (inside && takeover->theirs[i].trace_json)
			return true;
	}
	return false;
}

/* Is it the result of a node that acts on the world, or waits for it, and asks no models? */
static bool is_replayed(const struct takeover *takeover, const struct wl_node_result *result)
{
	int node = wl_flow_graph_find(takeover->graph, result->node_id);
	if (result->trace_json || !is_good(result))
		return false;
	if (node < 0) /* inside of a loop or subflow, which is walked again when it asked models */
		return true;
	enum wl_node_kind kind = takeover->graph->nodes[node].kind;
	return !wl_node_kind_pure(kind) && !wl_node_kind_asks(kind) && !asked_within(takeover, result->node_id);
}

/*
 * What a replay takes: everything that touched the world but models. Those are asked again, and their record answers;
 * what only computes does so again.
 */
static int choose_replayed(struct takeover *takeover)
{
	for (int i = 0; i < takeover->their_count; i++)
		if (is_replayed(takeover, &takeover->theirs[i]))
			takeover->taken[takeover->taken_count++] = &takeover->theirs[i];
	return 0;
}

/* Make it this run's. */
static int adopt(const struct takeover *takeover, struct wl_node_result *result, struct wl_error *err)
{
	const struct wl_lease *lease = &takeover->run->held->lease;
	free(result->receipt_json);
	free(wl_steal(result->logs_json));
	free(wl_steal(result->trace_json));
	result->receipt_json = NULL;
	if (asprintf(&result->receipt_json, "{\"reused_from\":\"%s\"}", takeover->from) < 0) {
		result->receipt_json = NULL;
		return wl_fail(err, ENOMEM, "no memory to take results over");
	}
	result->epoch = lease->epoch;
	memcpy(result->eid, lease->eid, sizeof(result->eid));
	return 0;
}

static int store_batch(struct wl_node_results *store, struct wl_node_result *const *batch, int count,
		       struct wl_error *err)
{
	struct wl_node_result items[BATCH];
	enum wl_commit_outcome outcomes[BATCH];
	for (int i = 0; i < count; i++)
		items[i] = *batch[i]; /* still owned by the list */
	int result = count > 0 ? store->commit(store->self, items, count, outcomes, err) : 0;
	for (int i = 0; i < count && result == 0; i++)
		if (outcomes[i] != WL_COMMIT_STORED)
			result = wl_fail(err, EIO, "a result that is to be taken over was refused");
	return result;
}

/* Put what was stored to what is restored, in the place of a placeholder where there is one. */
static int put_restored(struct takeover *takeover, struct wl_error *err)
{
	struct run *run = takeover->run;
	size_t room = (size_t)(run->restored_count + takeover->taken_count + 1);
	struct wl_node_result *grown = realloc(run->restored, room * sizeof(*grown));
	if (!grown)
		return wl_fail(err, ENOMEM, "no memory to take results over");
	run->restored = grown;
	for (int i = 0; i < takeover->taken_count; i++) {
		struct wl_node_result *taken = takeover->taken[i];
		int place = 0;
		while (place < run->restored_count && strcmp(run->restored[place].node_id, taken->node_id) != 0)
			place++;
		if (place < run->restored_count)
			wl_node_result_release(&run->restored[place]);
		else
			run->restored_count++;
		run->restored[place] = *taken;
		*taken = (struct wl_node_result){ 0 };
	}
	return 0;
}

static int take_over(struct wl_node_results *store, struct takeover *takeover, struct wl_error *err)
{
	struct wl_node_result *batch[BATCH];
	int count = 0, kept = 0, result = 0;
	for (int i = 0; i < takeover->taken_count && result == 0; i++) {
		struct wl_node_result *taken = takeover->taken[i];
		if (is_stored(takeover->run, taken->node_id)) /* by an attempt before this one */
			continue;
		result = adopt(takeover, taken, err);
		takeover->taken[kept++] = taken;
		batch[count++] = taken;
		if (result == 0 && count == BATCH) {
			result = store_batch(store, batch, count, err);
			count = 0;
		}
	}
	if (result == 0)
		result = store_batch(store, batch, count, err);
	takeover->taken_count = kept;
	return result < 0 ? result : put_restored(takeover, err);
}

int reuse_results(struct wl_node_results *store, struct run *run, struct wl_error *err)
{
	struct takeover takeover = { .run = run, .graph = &run->root->part->graph };
	bool replays = run->options->replay == NODE_REPLAY_OFFLINE;
	takeover.from = replays ? run->options->replay_eid : run->options->reuse;
	takeover.their_count = store->load(store->self, run->held->lease.tenant, takeover.from, &takeover.theirs, err);
	if (takeover.their_count < 0)
		return takeover.their_count;
	int result = 0;
	if (takeover.their_count == 0)
		result = wl_fail(err, ENOENT, "there are no results of execution %s to take over", takeover.from);
	takeover.taken = calloc((size_t)takeover.their_count + 1, sizeof(*takeover.taken));
	if (result == 0 && !takeover.taken)
		result = wl_fail(err, ENOMEM, "no memory to take results over");
	if (result == 0)
		result = replays ? choose_replayed(&takeover) : choose_reused(&takeover, err);
	if (result == 0)
		result = take_over(store, &takeover, err);
	for (int i = 0; i < takeover.their_count; i++)
		wl_node_result_release(&takeover.theirs[i]);
	free(takeover.theirs);
	free(takeover.taken);
	return result;
}
