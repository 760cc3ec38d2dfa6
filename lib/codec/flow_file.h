/* Flow files as people keep them: a code node may name a file beside the flow's in place of holding the source. */
#ifndef WL_CODEC_FLOW_FILE_H
#define WL_CODEC_FLOW_FILE_H

#include "lib/codec/json.h"

#define WL_FLOW_SOURCE_MAX (1u << 20) /* bytes */

/*
 * Make of a file's value the flow that the API takes. A code node's `source_file` is a path relative to the flow file;
 * its text takes the place of `source`. It must lie in the flow file's folder or below: a flow from somebody else does
 * not make a program read other files of this machine. -EINVAL with what is wrong and where, -errno of the files.
 */
int wl_flow_file_build(const char *path, const struct wl_json *file, struct wl_json **ret_flow, struct wl_error *err);

/* Read a file, JSON or YAML, and build its flow. */
int wl_flow_file_load(const char *path, struct wl_json **ret_flow, struct wl_error *err);

#endif
