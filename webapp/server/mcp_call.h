/* Calls of tools by MCP clients: flows that are run, and waited for. */
#ifndef WL_WEBAPP_MCP_CALL_H
#define WL_WEBAPP_MCP_CALL_H

#include "lib/mcp/server_message.h"
#include "lib/secrets/digest.h"
#include "webapp/server/request.h"

/*
 * Answer tools/call. `incoming` is a request of that method and stays as long as the request; its message is freed when
 * the run is accepted, as the body is. `streams`: the client takes the answer as events.
 */
void web_mcp_call(struct web_request *request, struct wl_mcp_incoming *incoming, bool streams);

/*
 * The key under which the run of a call is remembered: who asks, in which session, with which id. False when the
 * request names no session: then nothing tells the calls of two clients apart.
 */
bool web_mcp_key(const struct web_request *request, const char *id, char ret_key[WL_SHA256_HEX]);

#endif
