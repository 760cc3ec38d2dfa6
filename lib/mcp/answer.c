#include "lib/mcp/answer.h"

#include "lib/base/cleanup.h"

#include <errno.h>
#include <string.h>

static bool is_text(const struct wl_json *block)
{
	return strcmp(wl_json_get_string(block, "type", ""), "text") == 0;
}

bool wl_mcp_answer_failed(const struct wl_json *result)
{
	return wl_json_get_bool(result, "isError", false);
}

char *wl_mcp_answer_text(const struct wl_json *result)
{
	_wl_buffer_ struct wl_buffer text;
	bool first = true;
	wl_buffer_init(&text, 0);
	(void)wl_buffer_append_text(&text, "");
	const struct wl_json *one = wl_json_first(wl_json_get(result, "content"));
	for (; one; one = wl_json_next(one)) {
		if (!is_text(one))
			continue;
		(void)wl_buffer_append_text(&text, first ? "" : "\n");
		(void)wl_buffer_append_text(&text, wl_json_get_string(one, "text", ""));
		first = false;
	}
	return text.failed ? NULL : text.data ? wl_buffer_steal(&text) : strdup("");
}

/* A block that is no text: a copy, when it is one that there is and not too large. NULL: see err. */
static struct wl_json *copy_block(const struct wl_json *block, struct wl_error *err)
{
	const char *type = wl_json_get_string(block, "type", NULL);
	const struct wl_json *resource = wl_json_get(block, "resource");
	const char *data = wl_json_get_string(block, "data", wl_json_get_string(resource, "blob", ""));
	if (!type) {
		(void)wl_fail(err, EPROTO, "the tool's content has a block without a type");
		return NULL;
	}
	if (strlen(data) > WL_MCP_DATA_MAX) {
		(void)wl_fail(err, EFBIG, "the tool answered with data of type '%.100s' of more than %u KiB",
			      wl_json_get_string(block, "mimeType", wl_json_get_string(resource, "mimeType", type)),
			      WL_MCP_DATA_MAX >> 10);
		return NULL;
	}
	struct wl_json *copy = wl_json_copy(block);
	if (!copy)
		(void)wl_fail(err, ENOMEM, "no memory for a tool's answer");
	return copy;
}

/* The blocks that are no texts. NULL: see err. */
static struct wl_json *other_blocks(const struct wl_json *content, struct wl_error *err)
{
	_wl_json_ struct wl_json *blocks = wl_json_array();
	for (const struct wl_json *one = wl_json_first(content); one; one = wl_json_next(one)) {
		struct wl_json *block = is_text(one) ? NULL : copy_block(one, err);
		if (!is_text(one) && !block)
			return NULL;
		if (block && wl_json_append(blocks, block) < 0) {
			(void)wl_fail(err, ENOMEM, "no memory for a tool's answer");
			return NULL;
		}
	}
	if (!blocks)
		(void)wl_fail(err, ENOMEM, "no memory for a tool's answer");
	return wl_steal(blocks);
}

int wl_mcp_answer_output(const struct wl_json *result, char **ret_json, struct wl_error *err)
{
	const struct wl_json *structured = wl_json_get(result, "structuredContent");
	_wl_json_ struct wl_json *output = NULL;
	if (structured && !wl_json_is(structured, WL_JSON_NULL)) {
		*ret_json = wl_json_print(structured);
		return *ret_json ? 0 : wl_fail(err, ENOMEM, "no memory for a tool's answer");
	}
	_wl_free_ char *text = wl_mcp_answer_text(result);
	struct wl_json *blocks = other_blocks(wl_json_get(result, "content"), err);
	if (!blocks)
		return -err->code;
	if (wl_json_count(blocks) == 0) {
		wl_json_free(blocks);
		output = text ? wl_json_new_string(text) : NULL;
	} else {
		output = wl_json_object();
		int failed = wl_json_set_string(output, "text", text);
		failed |= wl_json_set(output, "content", blocks);
		if (failed || !text)
			return wl_fail(err, ENOMEM, "no memory for a tool's answer");
	}
	*ret_json = output ? wl_json_print(output) : NULL;
	return *ret_json ? 0 : wl_fail(err, ENOMEM, "no memory for a tool's answer");
}

char *wl_mcp_list_text(const struct wl_mcp_session *session)
{
	_wl_json_ struct wl_json *output = wl_json_object();
	struct wl_json *server = wl_json_object();
	int failed = wl_json_set_string(server, "name", wl_mcp_session_server_name(session));
	failed |= wl_json_set_string(server, "version", wl_mcp_session_server_version(session));
	failed |= wl_json_set_string(server, "protocol", wl_mcp_session_protocol(session));
	failed |= wl_json_set(output, "server", server);
	failed |= wl_json_set(output, "tools", wl_json_copy(wl_mcp_session_tools(session)));
	return failed ? NULL : wl_json_print(output);
}
