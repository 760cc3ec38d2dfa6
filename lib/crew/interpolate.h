/*
 * Names in braces within a crew's texts, by CrewAI's pattern \{([A-Za-z_][A-Za-z0-9_\-]*)}: any other brace, such as
 * one of JSON, stays as it is. Pure.
 */
#ifndef WL_CREW_INTERPOLATE_H
#define WL_CREW_INTERPOLATE_H

#include "lib/base/error.h"
#include "lib/codec/json.h"

/*
 * `text` with each name's value out of `inputs` (an object): text as it is, anything else as JSON. NULL inputs leave
 * the text alone. What is filled in is not looked at again. 0 and *ret_text, allocated; -EINVAL names the one that has
 * no value (null is none); -ENOMEM.
 */
int wl_crew_interpolate(const char *text, const struct wl_json *inputs, char **ret_text, struct wl_error *err);
/* The next name at or behind `text`: its first byte and *ret_length; NULL when there is none. */
const char *wl_crew_next_name(const char *text, size_t *ret_length);

#endif
