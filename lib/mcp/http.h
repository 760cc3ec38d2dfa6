/*
 * Streamable HTTP, the client's side (Model Context Protocol 2025-06-18, basic/transports): each message is a POST to
 * one address; a request is answered by a JSON body or by server-sent events, of which no more is read once the answer
 * has come. What the server asks inside of such a stream is answered over a connection of its own.
 */
#ifndef WL_MCP_HTTP_H
#define WL_MCP_HTTP_H

#include "lib/mcp/session.h"
#include "lib/net/http_client.h"

#define WL_MCP_ERROR_BODY 2048 /* bytes of a refusal that are kept */

/* Where the server is, and how it may be asked. All belongs to the caller. */
struct wl_mcp_http {
	const struct wl_egress_rules *egress;
	struct wl_http_client *client; /* of this thread */
	const char *url;
	const struct wl_http_header *headers; /* of each request */
	size_t header_count;
	const struct wl_http_header *call_header; /* of the request that calls the tool alone; NULL: none */
	size_t body_max;			  /* bytes of the answer to the call */
	uint32_t timeout_ms;			  /* for all of it */
	int cancel_fd;				  /* -1: none */
	bool allow_private;
	const char *const *hosts;
	size_t host_count;
};

/* What was seen of the server. */
struct wl_mcp_http_end {
	long status; /* of the last answer that counted */
	int requests;
	size_t bytes;
	char host[256], address[WL_HTTP_ADDRESS_TEXT];
	char refusal[WL_MCP_ERROR_BODY + 1]; /* the beginning of the body that came with a status that is no success */
};

/*
 * Carry the session to its end. When the server has forgotten the session in between (404) it is begun anew, once. A
 * session that the server has given an id is ended (DELETE), and a call that was stopped is cancelled, within two
 * seconds. 0: it has ended, see its fault; -EBADMSG: the server answered with a status that is no success; -EPROTO: it
 * does not speak the protocol; what wl_http_send() and wl_mcp_session_feed() fail with.
 */
int wl_mcp_http_run(const struct wl_mcp_http *http, struct wl_mcp_session *session, struct wl_mcp_http_end *ret_end,
		    struct wl_error *err);

/* Headers that the transport itself sets (letters without case). */
bool wl_mcp_http_sets(const char *name);

#endif
