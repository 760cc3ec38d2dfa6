/*
 * How a value of a tool's input stands in its request: the styles of OpenAPI 3 (Parameter Object), which are those of
 * RFC 6570 and a few more. Pure.
 */
#ifndef WL_SUPERVISOR_NODES_TOOL_STYLE_H
#define WL_SUPERVISOR_NODES_TOOL_STYLE_H

#include "lib/base/buffer.h"
#include "lib/codec/json.h"

enum tool_place { TOOL_PATH, TOOL_QUERY, TOOL_HEADER, TOOL_COOKIE };

enum tool_style {
	TOOL_SIMPLE,
	TOOL_FORM,
	TOOL_LABEL,
	TOOL_MATRIX,
	TOOL_SPACE_DELIMITED,
	TOOL_PIPE_DELIMITED,
	TOOL_DEEP_OBJECT
};

/* The texts belong to the tool's configuration. */
struct tool_parameter {
	const char *name; /* member of the input */
	const char *as;	  /* its name in the request */
	enum tool_place place;
	enum tool_style style;
	bool explode;
	bool required;
};

/* Read one of execution_config.parameters; what is left out is as OpenAPI has it for the place. */
void tool_parameter_read(const struct wl_json *json, struct tool_parameter *ret_parameter);

/*
 * Append the value: a path's part with its prefix, a query's "a=1&b=2" without a question mark, a header's value, a
 * cookie's "a=1; b=2". All but a header's are percent-encoded. Nulls inside count as absent; a list or object without
 * members appends nothing. Values inside of values become JSON text. 0 or the buffer's error.
 */
int tool_style_append(struct wl_buffer *text, const struct tool_parameter *parameter, const struct wl_json *value);

#endif
