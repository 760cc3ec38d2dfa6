/*
 * YAML to JSON values: the part of YAML 1.2 that JSON can hold. Plain scalars are resolved by the core schema
 * (§10.3.2), quoted and block ones are texts. What makes YAML dangerous or ambiguous is refused: anchors and aliases
 * (a short text could grow without bound), tags, keys that are no texts or come twice, .inf and .nan, NUL in a text,
 * more than one document, and a depth above WL_JSON_DEPTH.
 */
#ifndef WL_CODEC_YAML_H
#define WL_CODEC_YAML_H

#include "lib/codec/json.h"

/* Parse `length` bytes of UTF-8. 0 and *ret_json for the caller to free; -EINVAL with line and column; -ENOMEM. */
int wl_yaml_parse(const char *text, size_t length, struct wl_json **ret_json, struct wl_error *err);

#endif
