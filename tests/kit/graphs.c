#include "tests/kit/graphs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void mistake(const char *what, const char *text)
{
	fprintf(stderr, "graph of a test: %s: %s\n", what, text);
	abort();
}

static void read_option(struct wl_flow_node *node, const char *option)
{
	if (strcmp(option, "continue") == 0)
		node->on_error = WL_ON_ERROR_CONTINUE;
	else if (strcmp(option, "branch") == 0)
		node->on_error = WL_ON_ERROR_BRANCH;
	else if (strcmp(option, "any") == 0)
		node->join = WL_JOIN_ANY;
	else if (strncmp(option, "tries=", 6) == 0)
		node->retry.attempts = atoi(option + 6);
	else if (strncmp(option, "delay=", 6) == 0)
		node->retry.delay_ms = atoi(option + 6);
	else
		mistake("unknown option", option);
}

static void read_node(char *text, struct wl_flow_node *node)
{
	char *rest = NULL;
	char *head = strtok_r(text, "/", &rest);
	char *colon = strchr(head, ':');
	if (!colon)
		mistake("a node without a kind", text);
	*colon = '\0';
	int kind = wl_node_kind_of(colon + 1);
	if (kind < 0)
		mistake("unknown kind", colon + 1);
	*node = (struct wl_flow_node){ .id = strdup(head),
				       .label = strdup(""),
				       .kind = (enum wl_node_kind)kind,
				       .parent = -1,
				       .data_json = strdup("{}"),
				       .retry = { .attempts = 1, .backoff = WL_BACKOFF_FIXED } };
	for (char *option; (option = strtok_r(NULL, "/", &rest));)
		read_option(node, option);
}

static void read_edge(char *text, const struct wl_flow_graph *graph, struct wl_flow_edge *edge)
{
	char *arrow = strchr(text, '>');
	if (!arrow)
		mistake("an edge without >", text);
	*arrow = '\0';
	char *dot = strchr(text, '.');
	if (dot)
		*dot = '\0';
	*edge = (struct wl_flow_edge){ .id = strdup(arrow + 1),
				       .source = wl_flow_graph_find(graph, text),
				       .target = wl_flow_graph_find(graph, arrow + 1),
				       .source_handle = strdup(dot ? dot + 1 : "") };
	if (edge->source < 0 || edge->target < 0)
		mistake("an edge to a node that is not there", text);
}

void graph_of(const char *nodes, const char *edges, struct wl_flow_graph *ret_graph)
{
	struct wl_flow_graph graph = { .start = -1 };
	struct wl_error err;
	char *node_text = strdup(nodes), *edge_text = strdup(edges), *rest = NULL;
	graph.nodes = calloc(strlen(nodes) + 1, sizeof(*graph.nodes));
	graph.edges = calloc(strlen(edges) + 1, sizeof(*graph.edges));
	for (char *one = strtok_r(node_text, " ", &rest); one; one = strtok_r(NULL, " ", &rest)) {
		read_node(one, &graph.nodes[graph.node_count]);
		if (graph.nodes[graph.node_count].kind == WL_KIND_START)
			graph.start = graph.node_count;
		graph.node_count++;
	}
	for (char *one = strtok_r(edge_text, " ", &rest); one; one = strtok_r(NULL, " ", &rest))
		read_edge(one, &graph, &graph.edges[graph.edge_count++]);
	if (wl_flow_graph_index(&graph, &err) < 0)
		mistake("cannot be indexed", err.text);
	free(node_text);
	free(edge_text);
	*ret_graph = graph;
}
