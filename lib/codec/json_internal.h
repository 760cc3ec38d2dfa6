/* What json.c and json_parse.c share: a `struct wl_json` is the library's own value under another name. */
#ifndef WL_CODEC_JSON_INTERNAL_H
#define WL_CODEC_JSON_INTERNAL_H

#include "lib/codec/json.h"

#include <cjson/cJSON.h>

static inline cJSON *to_library(struct wl_json *json)
{
	return (cJSON *)json;
}

static inline const cJSON *to_library_const(const struct wl_json *json)
{
	return (const cJSON *)json;
}

static inline struct wl_json *of_library(cJSON *value)
{
	return (struct wl_json *)value;
}

static inline const struct wl_json *of_library_const(const cJSON *value)
{
	return (const struct wl_json *)value;
}

/* Bytes of the UTF-8 sequence of two or more at `at` (Unicode 15 table 3-7: no overlong forms, no surrogates), 0 when
 * it is none. */
size_t wl_json_utf8_length(const unsigned char *at, const unsigned char *end);

/* A key that stands twice among `count` members, NULL when there is none; *ret_failed when there was no memory to tell.
 */
const char *wl_json_repeated_key(const cJSON *object, size_t count, bool *ret_failed);

/* Put a child behind the others without looking for its key: the maker checks the keys once, at the end. */
void wl_json_link(cJSON *container, cJSON *child);

#endif
