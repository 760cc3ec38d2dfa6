/* Places for nodes: from left to right by the longest way from the start, inside a loop likewise. */
#include "lib/base/cleanup.h"
#include "lib/codec/crewai_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define COLUMN 260
#define ROW 130

struct placed {
	const char *id, *parent;
	struct wl_json *node;
	int layer;
};

struct layout {
	struct placed *nodes;
	int count;
};

static struct placed *find(const struct layout *layout, const char *id)
{
	for (int i = 0; i < layout->count; i++)
		if (strcmp(layout->nodes[i].id, id) == 0)
			return &layout->nodes[i];
	return NULL;
}

/* Push each node behind those that lead to it. Without cycles that ends after at most as many rounds as nodes. */
static int find_layers(const struct layout *layout, const struct wl_json *edges)
{
	size_t count = wl_json_count(edges), at = 0;
	_wl_free_ struct placed **ends = calloc(count ? 2 * count : 1, sizeof(*ends));
	if (!ends)
		return -ENOMEM;
	for (const struct wl_json *edge = wl_json_first(edges); edge; edge = wl_json_next(edge)) {
		ends[at++] = find(layout, wl_json_get_string(edge, "source", ""));
		ends[at++] = find(layout, wl_json_get_string(edge, "target", ""));
	}
	bool moved = true;
	for (int round = 0; moved && round < layout->count; round++) {
		moved = false;
		for (size_t i = 0; i < count; i++) {
			struct placed *from = ends[2 * i], *to = ends[2 * i + 1];
			if (!from || !to || to->layer > from->layer)
				continue;
			to->layer = from->layer + 1;
			moved = true;
		}
	}
	return 0;
}

static int put_position(const struct layout *layout, int index)
{
	struct placed *one = &layout->nodes[index];
	struct wl_json *position = wl_json_object();
	int row = 0;
	for (int i = 0; i < index; i++)
		row += layout->nodes[i].layer == one->layer && strcmp(layout->nodes[i].parent, one->parent) == 0;
	int rc = wl_json_set_number(position, "x", one->layer * COLUMN + (*one->parent ? 20 : 0));
	rc = rc ? rc : wl_json_set_number(position, "y", row * ROW + (*one->parent ? 60 : 0));
	return wl_json_set(one->node, "position", position) < 0 ? -ENOMEM : rc;
}

int crewai_layout(struct wl_json *flow)
{
	const struct wl_json *nodes = wl_json_get(flow, "nodes");
	struct layout layout = { 0 };
	layout.nodes = calloc(wl_json_count(nodes) + 1, sizeof(*layout.nodes));
	if (!layout.nodes)
		return -ENOMEM;
	for (const struct wl_json *node = wl_json_first(nodes); node; node = wl_json_next(node))
		layout.nodes[layout.count++] = (struct placed){ .id = wl_json_get_string(node, "id", ""),
								.parent = wl_json_get_string(node, "parentId", ""),
								.node = (struct wl_json *)node }; /* the flow is ours */
	int rc = find_layers(&layout, wl_json_get(flow, "edges"));
	for (int i = 0; i < layout.count && rc == 0; i++)
		rc = put_position(&layout, i);
	free(layout.nodes);
	return rc;
}
