/* Small flow graphs for tests, written as text. */
#ifndef TESTS_KIT_GRAPHS_H
#define TESTS_KIT_GRAPHS_H

#include "lib/model/flow_graph.h"

/*
 * nodes: "id:kind" with options behind slashes: /continue, /branch, /any (a join's mode), /tries=N, /delay=MS (fixed),
 *        such as "s:start x:code/branch/tries=3 o:output".
 * edges: "a>b", or "a.handle>b".
 * The graph is indexed; the caller ends it with wl_flow_graph_release(). A mistake in the texts fails the test.
 */
void graph_of(const char *nodes, const char *edges, struct wl_flow_graph *ret_graph);

#endif
