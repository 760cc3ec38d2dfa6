#include "supervisor/reuse.h"

#include "lib/base/cleanup.h"

#include <errno.h>
#include <string.h>

#define BATCH 64

struct takeover {
	struct run *run;
	const struct wl_flow_graph *graph;
	struct wl_node_result *theirs; /* all that the other execution has */
	int their_count;
	struct wl_node_result **by_node; /* of theirs; NULL: there is none to take */
};

static bool is_stored(const struct run *run, const char *node_id)
{
	for (int i = 0; i < run->restored_count; i++)
		if (run->restored[i].committed && strcmp(run->restored[i].node_id, node_id) == 0)
			return true;
	return false;
}

static void find_theirs(struct takeover *takeover)
{
	for (int i = 0; i < takeover->their_count; i++) {
		struct wl_node_result *result = &takeover->theirs[i];
		int node = wl_flow_graph_find(takeover->graph, result->node_id);
		bool good = result->state == WL_NODE_SUCCEEDED || result->state == WL_NODE_SKIPPED;
		if (node >= 0 && result->committed && good)
			takeover->by_node[node] = result;
	}
}

/* A node runs when it is asked for, when there is nothing to take, and when one before it runs. */
static void keep_behind_out(struct takeover *takeover, const int *order)
{
	const struct wl_flow_graph *graph = takeover->graph;
	for (int i = 0; i < graph->node_count; i++) {
		int node = order[i];
		bool runs = takeover->run->options->rerun[node];
		for (int e = 0; e < graph->nodes[node].in_count && !runs; e++)
			runs = !takeover->by_node[graph->edges[graph->nodes[node].in_edges[e]].source];
		if (runs)
			takeover->by_node[node] = NULL;
	}
}

/* Make it this run's. */
static int adopt(const struct takeover *takeover, struct wl_node_result *result, struct wl_error *err)
{
	const struct wl_lease *lease = &takeover->run->held->lease;
	free(result->receipt_json);
	free(wl_steal(result->logs_json));
	free(wl_steal(result->trace_json));
	result->receipt_json = NULL;
	if (asprintf(&result->receipt_json, "{\"reused_from\":\"%s\"}", takeover->run->options->reuse) < 0) {
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
	size_t room = (size_t)(run->restored_count + takeover->graph->node_count + 1);
	struct wl_node_result *grown = realloc(run->restored, room * sizeof(*grown));
	if (!grown)
		return wl_fail(err, ENOMEM, "no memory to take results over");
	run->restored = grown;
	for (int i = 0; i < takeover->graph->node_count; i++) {
		struct wl_node_result *taken = takeover->by_node[i];
		int place = 0;
		if (!taken)
			continue;
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
	_wl_free_ int *order = calloc((size_t)takeover->graph->node_count + 1, sizeof(*order));
	struct wl_node_result *batch[BATCH];
	int count = 0, result = 0;
	if (!order || !wl_flow_graph_order(takeover->graph, order))
		return wl_fail(err, ENOMEM, "no memory to take results over");
	find_theirs(takeover);
	keep_behind_out(takeover, order);
	for (int i = 0; i < takeover->graph->node_count && result == 0; i++) {
		if (!takeover->by_node[i])
			continue;
		if (is_stored(takeover->run, takeover->graph->nodes[i].id)) {
			takeover->by_node[i] = NULL; /* by an attempt before this one */
			continue;
		}
		result = adopt(takeover, takeover->by_node[i], err);
		batch[count++] = takeover->by_node[i];
		if (result == 0 && count == BATCH) {
			result = store_batch(store, batch, count, err);
			count = 0;
		}
	}
	if (result == 0)
		result = store_batch(store, batch, count, err);
	return result < 0 ? result : put_restored(takeover, err);
}

int reuse_results(struct wl_node_results *store, struct run *run, struct wl_error *err)
{
	struct takeover takeover = { .run = run, .graph = &run->root->part->graph };
	takeover.their_count =
		store->load(store->self, run->held->lease.tenant, run->options->reuse, &takeover.theirs, err);
	if (takeover.their_count < 0)
		return takeover.their_count;
	int result = 0;
	if (takeover.their_count == 0)
		result = wl_fail(err, ENOENT, "there are no results of execution %s to take over", run->options->reuse);
	takeover.by_node = calloc((size_t)takeover.graph->node_count + 1, sizeof(*takeover.by_node));
	if (result == 0 && !takeover.by_node)
		result = wl_fail(err, ENOMEM, "no memory to take results over");
	if (result == 0)
		result = take_over(store, &takeover, err);
	for (int i = 0; i < takeover.their_count; i++)
		wl_node_result_release(&takeover.theirs[i]);
	free(takeover.theirs);
	free(takeover.by_node);
	return result;
}
