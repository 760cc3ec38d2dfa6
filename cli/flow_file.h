/* Flow files: JSON or YAML with name, description, nodes, edges, input_schema, output_schema. */
#ifndef WL_CLI_FLOW_FILE_H
#define WL_CLI_FLOW_FILE_H

#include "lib/base/error.h"
#include "lib/codec/json.h"

#include <stdbool.h>

/* True when the argument of `run` is meant as a file: it has a slash or an ending of a flow file, or exists as one. */
bool cli_flow_file_named(const char *word);

/* Read a flow file (- is standard input) as a body for the API; see lib/codec/flow_file.h. */
int cli_flow_file_read(const char *path, struct wl_json **ret_flow, struct wl_error *err);

#endif
