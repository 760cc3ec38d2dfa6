/*
 * Parameters of a request, checked against what the API's document says of them. Pure.
 */
#ifndef WL_WEBAPP_CORE_PARAMETERS_H
#define WL_WEBAPP_CORE_PARAMETERS_H

#include "lib/model/flow_graph.h"
#include "webapp/server/core/route.h"

#define WEB_PARAMETERS_MAX 16
#define WEB_QUERY_MAX 64 /* name=value pairs that are looked at */

/* Values by the place of their parameter in the route; NULL: left out. Owned: free with web_parameters_release(). */
struct web_parameters {
	const struct web_route *route;
	char *text[WEB_PARAMETERS_MAX];
};

/* Finds a header by its name, in any case: its value or NULL. */
typedef const char *web_header_source(void *context, const char *name);

/*
 * Decode and check everything that `route` declares: path values in the order of its {x}, the query text (what is
 * behind the question mark, or NULL), headers. What it does not declare in the query is a fault, and so is what
 * comes twice. Faults are added with the parameter's name as path. 0, -EINVAL when there is a fault, -ENOMEM.
 */
int web_parameters_read(const struct web_route *route, const struct web_path_values *path, const char *query,
			web_header_source *header, void *context, struct web_parameters *ret_parameters,
			struct wl_flow_faults *faults);
void web_parameters_release(struct web_parameters *parameters);

/* A value by its name; `otherwise` when it was left out. The name must be one that the route declares. */
const char *web_parameter_text(const struct web_parameters *parameters, const char *name, const char *otherwise);
int64_t web_parameter_number(const struct web_parameters *parameters, const char *name, int64_t otherwise);

/*
 * Undo percent-encoding (RFC 3986 §2.1) and, in a query, + for a space. Returns the bytes written to `out`, which
 * has room for `length` + 1, or -1: a broken escape, a NUL, or text that is not UTF-8.
 */
int web_percent_decode(const char *text, size_t length, bool in_query, char *out);

/*
 * Whether a whole text fits a pattern of the kind that parameters have: characters and sets in brackets one behind the
 * other, each with +, {n} or {n,m} behind it. tools/gen_routes.py refuses any other pattern. (POSIX regular expressions
 * are not used: libonig, which the library brings along, has functions of the same names.)
 */
bool web_pattern_matches(const char *pattern, const char *text);

/* Whether the bytes are UTF-8 (RFC 3629); *ret_characters, which may be NULL, tells how many characters. */
bool web_utf8_valid(const char *text, size_t length, size_t *ret_characters);

#endif
