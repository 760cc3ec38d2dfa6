/*
 * The request of a tool of kind openapi or http, made of its configuration and the input of one call. Pure: it asks
 * nobody.
 */
#ifndef WL_SUPERVISOR_NODES_TOOL_REQUEST_H
#define WL_SUPERVISOR_NODES_TOOL_REQUEST_H

#include "supervisor/nodes/http_parts.h"
#include "supervisor/nodes/tool_style.h"

#define TOOL_BODY_MAX (8u << 20) /* bytes of a request's body */

struct tool_request {
	const char *method; /* the configuration's */
	struct wl_buffer url;
	struct header_list headers;
	struct wl_buffer cookies; /* "a=1; b=2" */
	struct wl_buffer body;
	bool has_body;
	const char *content_type; /* NULL: a header says it, or there is no body */
};

/*
 * Make the request: `config` is the tool's execution_config, `input` what the call gives it (null reads as {}).
 * Credentials are not in it yet. -EINVAL: the input does not fit (the sentence names the member); -ENOEXEC: the
 * configuration is of no use; -ENOMEM. The caller releases *request in any case.
 */
int tool_request_make(const struct wl_json *config, const struct wl_json *input, struct tool_request *request,
		      struct wl_error *err);
/* Release and wipe it. */
void tool_request_release(struct tool_request *request);
#define _tool_request_ __attribute__((cleanup(tool_request_release)))

/* Put "name=value" (encoded already) behind the URL's question mark. */
int tool_request_add_query(struct tool_request *request, const char *pairs);
/* The same behind the other cookies. */
int tool_request_add_cookie(struct tool_request *request, const char *pairs);

#endif
