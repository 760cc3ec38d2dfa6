/*
 * Inputs of an execution from the command line.
 *   k=text      text, or the type that the flow's input_schema names for k
 *   k=@file     the file's text ("-": standard input), or its JSON where the schema asks for no text
 *   k:=json     JSON, whatever the schema says
 *   k:=@file    the file's JSON
 */
#ifndef WL_CLI_CORE_INPUTS_H
#define WL_CLI_CORE_INPUTS_H

#include "lib/base/buffer.h"
#include "lib/base/error.h"
#include "lib/codec/json.h"

#define CLI_INPUT_FILE_MAX (8u << 20) /* bytes; a request body is at most 10 MiB */
#define CLI_INPUT_NAME_MAX 128

/* Reads a file for `k=@file`; the buffer has its limit set. */
typedef int (*cli_file_reader)(const char *path, struct wl_buffer *into, struct wl_error *err);

/*
 * Put one `--input` argument into the object `inputs`. `schema` may be NULL. 0; -EINVAL for a form that is not one of
 * the above or JSON that does not parse; -EILSEQ for a file that is not UTF-8 text; what the reader failed with.
 */
int cli_inputs_add(struct wl_json *inputs, const char *argument, const struct wl_json *schema, cli_file_reader reader,
		   struct wl_error *err);

/* Put every member of an object (--input-json) into `inputs`; -EINVAL when it is no object. */
int cli_inputs_merge(struct wl_json *inputs, const struct wl_json *more, struct wl_error *err);

#endif
