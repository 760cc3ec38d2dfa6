/* Flow files: JSON or YAML with name, description, nodes, edges, input_schema, output_schema. */
#ifndef WL_CLI_FLOW_FILE_H
#define WL_CLI_FLOW_FILE_H

#include "lib/base/error.h"
#include "lib/codec/json.h"

#include <stdbool.h>

#define CLI_FLOW_FILE_MAX (4u << 20)   /* bytes */
#define CLI_SOURCE_FILE_MAX (1u << 20) /* bytes */

/* True when the argument of `run` is meant as a file: it has a slash or an ending of a flow file, or exists as one. */
bool cli_flow_file_named(const char *word);

/*
 * Read a flow file as a body for the API. A code node's `source_file` is a path relative to the flow file; its text
 * takes the place of `source`. The file must lie in the flow file's folder or below: a flow from somebody else does
 * not make the CLI send other files of this machine. -EINVAL with what is wrong and where, -errno of the files.
 */
int cli_flow_file_read(const char *path, struct wl_json **ret_flow, struct wl_error *err);

#endif
