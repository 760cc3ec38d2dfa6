/*
 * The server's side of the Model Context Protocol over JSON-RPC 2.0: reading one message of a client, and writing what
 * is answered. Pure. The client's side is session.h.
 */
#ifndef WL_MCP_SERVER_MESSAGE_H
#define WL_MCP_SERVER_MESSAGE_H

#include "lib/base/buffer.h"
#include "lib/base/error.h"
#include "lib/codec/json.h"

#include <stdbool.h>
#include <stddef.h>

#define WL_MCP_SERVER_VERSION "2025-06-18" /* what is answered to a client that asks for one we do not speak */
#define WL_MCP_ID_MAX 128		   /* bytes of an id that is a string */
#define WL_MCP_METHOD_MAX 100

/* Codes of errors (JSON-RPC 2.0 §5.1). */
#define WL_MCP_PARSE_ERROR (-32700)
#define WL_MCP_INVALID_REQUEST (-32600)
#define WL_MCP_METHOD_NOT_FOUND (-32601)
#define WL_MCP_INVALID_PARAMS (-32602)

/* One message of a client: a request when it has an id, else a notification. */
struct wl_mcp_incoming {
	struct wl_json *message; /* owns what follows, but for id */
	char *id;		 /* JSON text of a string or a whole number; allocated; NULL: a notification */
	const char *method;
	const struct wl_json *params; /* an object, or NULL */
};

/*
 * Read a message. 0; -EINVAL with *ret_code, one of the codes above, and a sentence: then ret_incoming->id is set when
 * the message had one that can be answered; -ENOMEM. Release ret_incoming in each case.
 */
int wl_mcp_incoming_read(const char *text, size_t length, struct wl_mcp_incoming *ret_incoming, int *ret_code,
			 struct wl_error *err);
void wl_mcp_incoming_release(struct wl_mcp_incoming *incoming);

/*
 * The id of a request as JSON text in one form (RFC 8259), or NULL when it is neither a string of at most WL_MCP_ID_MAX
 * bytes nor a whole number of at most 2^53: what a request may have, and what a notification may name. Allocated;
 * *ret_rc -EINVAL or -ENOMEM then.
 */
char *wl_mcp_id_text(const struct wl_json *id, int *ret_rc);

/* Whether we speak this revision. */
bool wl_mcp_server_speaks(const char *version);

/* Append a whole answer; `id` NULL: null. JSON texts are put in as they are. */
void wl_mcp_put_result(struct wl_buffer *out, const char *id, const char *result_json);
/* data_json NULL: none. Bytes of `sentence` that are not UTF-8 become U+FFFD. */
void wl_mcp_put_error(struct wl_buffer *out, const char *id, int code, const char *sentence, const char *data_json);
/* Append notifications/progress. total 0: not known. */
void wl_mcp_put_progress(struct wl_buffer *out, const char *token_json, int done, int total, const char *sentence);

/* What tools/call answers. */
struct wl_mcp_tool_result {
	const char *text;	/* for people and models */
	const char *structured; /* JSON text of an object; NULL: none */
	const char *meta;	/* JSON text of an object; NULL: none */
	bool is_error;
};
void wl_mcp_put_tool_result(struct wl_buffer *out, const char *id, const struct wl_mcp_tool_result *result);

#endif
