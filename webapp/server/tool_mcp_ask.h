/* Asking an MCP server over HTTP for its tools, by the egress rules of this server. For the threads of trials. */
#ifndef WL_WEBAPP_TOOL_MCP_ASK_H
#define WL_WEBAPP_TOOL_MCP_ASK_H

#include "lib/base/error.h"
#include "lib/codec/json.h"

/*
 * Ask the server of an execution_config of kind mcp, with credentials in the open (NULL: none). *ret_list is
 * {"server": {"name","version","protocol"}, "tools": as they came}, without the credentials in it; the caller frees it.
 * -EINVAL: the server cannot be asked, or does not do what it should, and the sentence tells why; -ENOMEM.
 */
int web_mcp_ask(const struct wl_json *config, const struct wl_json *credentials, struct wl_json **ret_list,
		struct wl_error *err);

/* What a list has of a tool of that name; NULL: nothing. */
const struct wl_json *web_mcp_listed(const struct wl_json *list, const char *name);

#endif
