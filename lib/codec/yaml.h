/*
 * One YAML document as JSON, and back. Plain scalars are read by the core schema of YAML 1.2 (§10.3.2): true, null, 12,
 * 0x1f, 1.5 are what they look like, yes and no are texts. Anchors and aliases work within bounds; merge keys, tags of
 * other kinds, keys that are not scalars, several documents, infinities and repeated keys are refused.
 */
#ifndef WL_CODEC_YAML_H
#define WL_CODEC_YAML_H

#include "lib/codec/json.h"

#define WL_YAML_MAX (10u << 20)	 /* bytes of a document */
#define WL_YAML_NODES_MAX 500000 /* values, those that aliases repeat included */

/* 0 and *ret_json for the caller to free; -EINVAL with line and column; -E2BIG over a bound; -ENOMEM. */
int wl_yaml_parse(const char *text, size_t length, struct wl_json **ret_json, struct wl_error *err);

/*
 * Append a value as a document: block style, two columns a level, members in their order, texts of several lines as
 * literal blocks, no line ever folded. wl_yaml_parse() gives the same value back. The bytes are a matter of the value
 * alone. 0 or -ENOMEM / -EMSGSIZE of the buffer.
 */
int wl_yaml_write(struct wl_buffer *buffer, const struct wl_json *json);

#endif
