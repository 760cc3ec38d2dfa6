/* What a tool of a server has answered, as the output of a tool here. Pure. */
#ifndef WL_MCP_ANSWER_H
#define WL_MCP_ANSWER_H

#include "lib/base/buffer.h"
#include "lib/base/error.h"
#include "lib/codec/json.h"
#include "lib/mcp/session.h"

#define WL_MCP_INLINE_MAX (32u << 10) /* bytes of the base64 text of an image, sound or file that an output holds */
#define WL_MCP_DATA_COUNT 100	      /* larger ones in one answer */

/* One that is larger. The texts are the result's. */
struct wl_mcp_data {
	const char *base64;
	const char *media_type;
};

/*
 * Keeps large ones elsewhere: *ret_kept becomes an array with what stands for each in the output, in their order; the
 * caller frees it. 0 or -errno with a sentence.
 */
struct wl_mcp_keeper {
	void *context;
	int (*keep)(void *context, const struct wl_mcp_data *data, size_t count, struct wl_json **ret_kept,
		    struct wl_error *err);
};

/*
 * The output of a CallToolResult, as JSON text, allocated: its structuredContent when there is one; else the texts of
 * its content, joined by line ends, as a string; with images, sounds, resources or links among them an object
 * {"text","content"}, whose content are these as they came, but that large data is replaced by the member "artifact":
 * what the keeper gave. 0; -EPROTO: the content is not what it should be; -EFBIG: there is too much data; what the
 * keeper failed with; -ENOMEM.
 */
int wl_mcp_answer_output(const struct wl_json *result, const struct wl_mcp_keeper *keeper, char **ret_json,
			 struct wl_error *err);

/* Does the result say that the tool has failed? */
bool wl_mcp_answer_failed(const struct wl_json *result);
/* The texts of a result's content, joined by line ends; allocated, NULL without memory. */
char *wl_mcp_answer_text(const struct wl_json *result);

/* Append the bytes of a base64 text (RFC 4648 section 4; white space is passed over). 0; -EINVAL: it is none; -ENOMEM.
 */
int wl_mcp_data_decode(const char *base64, struct wl_buffer *bytes);

/* {"server": {"name","version","protocol"}, "tools"} of a session that was made for the list; allocated, NULL without
 * memory. */
char *wl_mcp_list_text(const struct wl_mcp_session *session);

#endif
