/* A document is refused with faults, or its graph keeps what the walk relies on. */
#include "lib/base/cleanup.h"
#include "lib/codec/flow_document.h"
#include "tests/fuzz/fuzz.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static void check_graph(const struct wl_flow_graph *graph)
{
	_wl_free_ int *order = calloc((size_t)graph->node_count + 1, sizeof(int));
	FUZZ_ASSERT(order && wl_flow_graph_order(graph, order));
	FUZZ_ASSERT(graph->start >= 0 && graph->nodes[graph->start].kind == WL_KIND_START);
	for (int i = 0; i < graph->edge_count; i++) {
		const struct wl_flow_edge *edge = &graph->edges[i];
		FUZZ_ASSERT(edge->source >= 0 && edge->source < graph->node_count);
		FUZZ_ASSERT(edge->target >= 0 && edge->target < graph->node_count);
	}
	for (int i = 0; i < graph->node_count; i++)
		FUZZ_ASSERT(i == graph->start || graph->nodes[i].parent >= 0 ||
			    !wl_node_kind_runs(graph->nodes[i].kind) || wl_flow_graph_reaches(graph, graph->start, i));
}

/* Each node and edge is in one part, and each part can be walked by itself. */
static void check_parts(struct wl_flow_graph *graph)
{
	struct wl_flow_graph *parts = NULL;
	struct wl_error err = { 0 };
	int count = 0, nodes = graph->node_count, edges = graph->edge_count;
	FUZZ_ASSERT(wl_flow_graph_split(graph, &parts, &count, &err) == 0);
	for (int i = 0; i < count; i++) {
		_wl_free_ int *order = calloc((size_t)parts[i].node_count + 1, sizeof(int));
		FUZZ_ASSERT(order && wl_flow_graph_order(&parts[i], order));
		for (int n = 0; n < parts[i].node_count; n++)
			FUZZ_ASSERT(parts[i].nodes[n].kind != WL_KIND_LOOP ||
				    (parts[i].nodes[n].body > 0 && parts[i].nodes[n].body < count));
		FUZZ_ASSERT((parts[i].start >= 0) == (i == 0));
		nodes -= parts[i].node_count;
		edges -= parts[i].edge_count;
		wl_flow_graph_release(&parts[i]);
	}
	FUZZ_ASSERT(nodes == 0 && edges == 0);
	free(parts);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
	static struct wl_flow_faults faults;
	_wl_json_ struct wl_json *json = NULL;
	struct wl_flow_graph graph;
	struct wl_error err = { 0 };
	if (length > 65536 || wl_json_parse((const char *)bytes, length, &json, &err) < 0)
		return 0;
	int result = wl_flow_document_read(json, &graph, &faults, &err);
	_wl_free_ char *canonical = wl_flow_document_canonical(json);
	FUZZ_ASSERT(canonical);
	if (result < 0) {
		FUZZ_ASSERT(result == -EINVAL && faults.count > 0 && !graph.nodes);
		return 0;
	}
	FUZZ_ASSERT(faults.count == 0);
	check_graph(&graph);
	check_parts(&graph);
	wl_flow_graph_release(&graph);
	return 0;
}
