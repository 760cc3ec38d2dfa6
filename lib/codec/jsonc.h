/*
 * JSON with comments, as editors' settings and CrewAI's projects are written: line and block comments wherever JSON
 * (RFC 8259) has white space, and one comma before a closing bracket. Everything else is as strict as wl_json_parse().
 */
#ifndef WL_CODEC_JSONC_H
#define WL_CODEC_JSONC_H

#include "lib/codec/json.h"

#define WL_JSONC_MAX (4u << 20) /* bytes */

/* 0 and *ret_json for the caller to free; -EINVAL with line and column of the text as it came; -E2BIG over
 * WL_JSONC_MAX; -ENOMEM. */
int wl_jsonc_parse(const char *text, size_t length, struct wl_json **ret_json, struct wl_error *err);

#endif
