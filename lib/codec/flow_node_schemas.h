/* The JSON Schemas of the node kinds (specs/nodes/), which are part of the program. */
#ifndef WL_CODEC_FLOW_NODE_SCHEMAS_H
#define WL_CODEC_FLOW_NODE_SCHEMAS_H

#include "lib/base/error.h"
#include "lib/model/flow_graph.h"

#include <stddef.h>

/* Check a node's `data` text against its kind; paths begin with `prefix`. As wl_json_schema_check(). Thread-safe. */
int wl_flow_node_data_check(enum wl_node_kind kind, const char *data_json, size_t length, const char *prefix,
			    struct wl_flow_faults *faults, struct wl_error *err);

#endif
