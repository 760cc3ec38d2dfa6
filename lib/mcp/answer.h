/* What a tool of a server has answered, as the output of a tool here. Pure. */
#ifndef WL_MCP_ANSWER_H
#define WL_MCP_ANSWER_H

#include "lib/base/error.h"
#include "lib/codec/json.h"
#include "lib/mcp/session.h"

#define WL_MCP_DATA_MAX (256u << 10) /* bytes of the base64 text of one image, sound or file */

/*
 * The output of a CallToolResult, as JSON text, allocated: its structuredContent when there is one; else the texts of
 * its content, joined by line ends, as a string; with images, sounds, resources or links among them an object
 * {"text","content"}, whose content are these as they came. 0; -EFBIG: data of more than WL_MCP_DATA_MAX; -EPROTO: the
 * content is not what it should be; -ENOMEM.
 */
int wl_mcp_answer_output(const struct wl_json *result, char **ret_json, struct wl_error *err);

/* Does the result say that the tool has failed? */
bool wl_mcp_answer_failed(const struct wl_json *result);
/* The texts of a result's content, joined by line ends; allocated, NULL without memory. */
char *wl_mcp_answer_text(const struct wl_json *result);

/* {"server": {"name","version","protocol"}, "tools"} of a session that was made for the list; allocated, NULL without
 * memory. */
char *wl_mcp_list_text(const struct wl_mcp_session *session);

#endif
