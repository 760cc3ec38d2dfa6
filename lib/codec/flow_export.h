/*
 * Flows as files, in JSON or YAML: name, description, input_schema, output_schema, nodes, edges. No ids of the server,
 * no times, no people.
 *
 * The order is made for version control. Nodes and edges keep the document's order: it has a meaning (a join gives its
 * inputs in the order of the edges), a changed order is a change, and what is added in an editor comes last. Members of
 * a node or an edge come in one fixed order, all others by their keys. So equal flows give equal bytes, a changed field
 * changes its lines, and a file that is read and written again is the same to the byte.
 */
#ifndef WL_CODEC_FLOW_EXPORT_H
#define WL_CODEC_FLOW_EXPORT_H

#include "lib/codec/json.h"
#include "lib/model/flow_graph.h"

#define WL_FLOW_FILE_MAX (10u << 20) /* bytes */
#define WL_FLOW_NAME_MAX 200	     /* characters */
#define WL_FLOW_DESCRIPTION_MAX 10000

enum wl_flow_format { WL_FLOW_JSON, WL_FLOW_YAML };

/* Append a flow as a file. `document`: nodes, edges and schemas. 0, or -ENOMEM / -EMSGSIZE. */
int wl_flow_export(const char *name, const char *description, const struct wl_json *document,
		   enum wl_flow_format format, struct wl_buffer *buffer, struct wl_error *err);

/*
 * Read a file: JSON when its first character is a brace, else YAML. 0 and *ret_flow for the caller to free; -EINVAL
 * with a sentence that has line and column; -E2BIG over a bound; -ENOMEM. What the flow holds is not looked at.
 */
int wl_flow_file_parse(const char *text, size_t length, struct wl_json **ret_flow, struct wl_error *err);

/* Check what a file says of the flow itself: members that flows do not have, name, description. Faults are added with
 * their paths; the document's own are wl_flow_document_read()'s. */
void wl_flow_file_check(const struct wl_json *flow, struct wl_flow_faults *faults);

#endif
