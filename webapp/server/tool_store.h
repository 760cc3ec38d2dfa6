/* Storing many tools at once that were read elsewhere, all or none. */
#ifndef WL_WEBAPP_TOOL_STORE_H
#define WL_WEBAPP_TOOL_STORE_H

#include "lib/codec/json.h"
#include "webapp/server/request.h"

/*
 * Store the tools of `result` (taken over: {"tools": bodies of tools_create, "warnings"}), in the state and with the
 * credentials that the request's body names, where they fit. Answers the request: the operation's function is
 * api.tools_import or leads there.
 */
void web_tools_store(struct web_request *request, struct wl_json *result);

#endif
