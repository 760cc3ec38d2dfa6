/*
 * Flow documents: {"nodes": [...], "edges": [...], "input_schema": {...}, "output_schema": {...}} in React Flow's
 * shape, to a graph. Node fields are checked against specs/nodes/<kind>.json, which are compiled into the program.
 */
#ifndef WL_CODEC_FLOW_DOCUMENT_H
#define WL_CODEC_FLOW_DOCUMENT_H

#include "lib/codec/json.h"
#include "lib/model/flow_graph.h"

#define WL_FLOW_DOCUMENT_MAX (4u << 20) /* bytes */

/*
 * Read and check a whole document: shape, node fields, graph rules (wl_flow_graph_check), and that expressions name
 * only nodes that exist and lie upstream. Returns 0 with *graph filled and indexed when there is no fault, -EINVAL
 * with all faults in `faults`, -ENOMEM. The caller releases `graph` with wl_flow_graph_release().
 */
int wl_flow_document_read(const struct wl_json *document, struct wl_flow_graph *graph, struct wl_flow_faults *faults,
			  struct wl_error *err);

/* The canonical text of a document (members sorted, only nodes, edges, input_schema, output_schema): what is hashed
 * and stored. Allocated; NULL without memory. */
char *wl_flow_document_canonical(const struct wl_json *document);

#endif
