/* What a webhook's request brings for the expressions of its inputs: {"body", "headers", "query"}. */
#ifndef WL_WEBAPP_HOOK_CONTEXT_H
#define WL_WEBAPP_HOOK_CONTEXT_H

#include "lib/base/error.h"
#include "lib/codec/json.h"
#include "webapp/server/core/guards.h"

#include <stddef.h>

/* Depth of a body's JSON: what wraps it in the inputs of a run must still be read by everybody. */
#define WEB_HOOK_BODY_DEPTH (WL_JSON_DEPTH - 4)

/*
 * The headers as an object: names in lower case, lines of one name joined by ", ", bytes that are no UTF-8 as U+FFFD.
 * What proves who asks is left out: authorization, proxy-authorization, cookie, windlass-signature. NULL without
 * memory.
 */
struct wl_json *web_hook_headers(const struct web_header *headers, size_t count);

/*
 * The query (what is behind the question mark; NULL: none) as an object of texts; a name that comes more than once has
 * an array of them. -EINVAL when it is not well percent-encoded UTF-8, -ENOMEM.
 */
int web_hook_query(const char *query, struct wl_json **ret_query, struct wl_error *err);

/*
 * The body: null when it is empty, the value when `content_type` says JSON, else its text. It is NUL-terminated behind
 * `length` bytes. -EINVAL with a sentence when it is not that JSON, no UTF-8, or holds U+0000; -ENOMEM.
 */
int web_hook_body(const char *content_type, const char *body, size_t length, struct wl_json **ret_body,
		  struct wl_error *err);

#endif
