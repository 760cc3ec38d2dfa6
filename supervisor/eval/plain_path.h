/*
 * The most common programs are paths such as .inputs.a.b, .nodes["x y"] or .nodes.list[0]: they are followed here, in
 * the parsed context, without jq and without rounding a number.
 */
#ifndef SUPERVISOR_EVAL_PLAIN_PATH_H
#define SUPERVISOR_EVAL_PLAIN_PATH_H

#include "lib/codec/json.h"

/*
 * True when `program` is such a path and jq would give a value for it: *ret_value is it, NULL for null. False in all
 * other cases, also where jq would raise an error: then jq is asked, and its sentence told.
 */
bool plain_path_value(const char *program, size_t length, const struct wl_json *context,
		      const struct wl_json **ret_value);

#endif
