/*
 * Requests that no handler may see: those whose framing two parsers could read differently (RFC 9112 §11). Pure.
 */
#ifndef WL_WEBAPP_CORE_GUARDS_H
#define WL_WEBAPP_CORE_GUARDS_H

#include "webapp/server/core/route.h"

struct web_header {
	const char *name, *value;
};

/*
 * What is wrong with the framing of a request, as a sentence, or NULL. *ret_status is then 400, or 411 for a transfer
 * coding, which this server does not understand. After it the connection must be closed: what follows on it may be a
 * body. `host` is the one that the HTTP parser took; it is not among `headers`.
 */
const char *web_guard_framing(enum web_method method, const char *host, const struct web_header *headers, size_t count,
			      int *ret_status);

/* Whether a Content-Type's value names JSON: application/json, in any case, with or without parameters. */
bool web_content_is_json(const char *content_type);

#endif
