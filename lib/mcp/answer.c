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

/* ---- images, sounds and files ----------------------------------------------------------------------------------- */

/* Where a block has its data: itself or its resource, under which name; NULL: it has none that is large. */
static const struct wl_json *large_data(const struct wl_json *block, const char **ret_name)
{
	const struct wl_json *resource = wl_json_get(block, "resource");
	*ret_name = resource ? "blob" : "data";
	const struct wl_json *holder = resource ? resource : block;
	return strlen(wl_json_get_string(holder, *ret_name, "")) > WL_MCP_INLINE_MAX ? holder : NULL;
}

/* Have what is large kept. *ret_kept stays NULL when nothing is. */
static int keep_large(const struct wl_json *content, const struct wl_mcp_keeper *keeper, struct wl_json **ret_kept,
		      struct wl_error *err)
{
	struct wl_mcp_data data[WL_MCP_DATA_COUNT];
	size_t count = 0;
	for (const struct wl_json *one = wl_json_first(content); one; one = wl_json_next(one)) {
		const char *name;
		const struct wl_json *holder = is_text(one) ? NULL : large_data(one, &name);
		if (!holder)
			continue;
		if (count == WL_MCP_DATA_COUNT)
			return wl_fail(err, EFBIG, "the tool answered with more than %d files", WL_MCP_DATA_COUNT);
		data[count++] = (struct wl_mcp_data){ wl_json_get_string(holder, name, ""),
						      wl_json_get_string(holder, "mimeType", "") };
	}
	return count > 0 ? keeper->keep(keeper->context, data, count, ret_kept, err) : 0;
}

/* A copy of an object with "artifact" in place of one member; `artifact` is taken over. NULL without memory. */
static struct wl_json *copy_without(const struct wl_json *object, const char *name, struct wl_json *artifact)
{
	_wl_json_ struct wl_json *copy = wl_json_object();
	int failed = 0;
	for (const struct wl_json *one = wl_json_first(object); one && !failed; one = wl_json_next(one))
		if (strcmp(wl_json_key(one), name) != 0)
			failed = wl_json_set(copy, wl_json_key(one), wl_json_copy(one));
	failed |= wl_json_set(copy, "artifact", artifact);
	return failed ? NULL : wl_steal(copy);
}

/* A block that is no text, with the next of `kept` for its data when that is large. NULL without memory. */
static struct wl_json *copy_block(const struct wl_json *block, const struct wl_json *kept, size_t *next)
{
	const char *name;
	const struct wl_json *holder = large_data(block, &name);
	if (!holder)
		return wl_json_copy(block);
	struct wl_json *inner = copy_without(holder, name, wl_json_copy(wl_json_at(kept, (*next)++)));
	if (holder == block)
		return inner;
	_wl_json_ struct wl_json *copy = wl_json_copy(block);
	return wl_json_set(copy, "resource", inner) < 0 ? NULL : wl_steal(copy);
}

/* The blocks that are no texts. */
static int other_blocks(const struct wl_json *content, const struct wl_json *kept, struct wl_json **ret_blocks,
			struct wl_error *err)
{
	_wl_json_ struct wl_json *blocks = wl_json_array();
	size_t next = 0;
	for (const struct wl_json *one = wl_json_first(content); one; one = wl_json_next(one)) {
		if (is_text(one))
			continue;
		if (!wl_json_is(wl_json_get(one, "type"), WL_JSON_STRING))
			return wl_fail(err, EPROTO, "the tool's content has a block without a type");
		if (wl_json_append(blocks, copy_block(one, kept, &next)) < 0)
			return wl_fail(err, ENOMEM, "no memory for a tool's answer");
	}
	if (!blocks)
		return wl_fail(err, ENOMEM, "no memory for a tool's answer");
	*ret_blocks = wl_steal(blocks);
	return 0;
}

int wl_mcp_answer_output(const struct wl_json *result, const struct wl_mcp_keeper *keeper, char **ret_json,
			 struct wl_error *err)
{
	const struct wl_json *structured = wl_json_get(result, "structuredContent");
	const struct wl_json *content = wl_json_get(result, "content");
	_wl_json_ struct wl_json *output = NULL, *kept = NULL, *blocks = NULL;
	if (structured && !wl_json_is(structured, WL_JSON_NULL)) {
		*ret_json = wl_json_print(structured);
		return *ret_json ? 0 : wl_fail(err, ENOMEM, "no memory for a tool's answer");
	}
	_wl_free_ char *text = wl_mcp_answer_text(result);
	int failed = keep_large(content, keeper, &kept, err);
	failed = failed ? failed : other_blocks(content, kept, &blocks, err);
	if (failed)
		return failed;
	if (wl_json_count(blocks) == 0) {
		output = text ? wl_json_new_string(text) : NULL;
	} else {
		output = wl_json_object();
		failed = text ? wl_json_set_string(output, "text", text) : -ENOMEM;
		failed = failed ? failed : wl_json_set(output, "content", wl_steal(blocks));
	}
	*ret_json = output && !failed ? wl_json_print(output) : NULL;
	return *ret_json ? 0 : wl_fail(err, ENOMEM, "no memory for a tool's answer");
}

static int base64_digit(char c)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	const char *at = c ? strchr(digits, c) : NULL;
	return at ? (int)(at - digits) : -1;
}

int wl_mcp_data_decode(const char *base64, struct wl_buffer *bytes)
{
	unsigned group = 0;
	int held = 0, padding = 0;
	for (; *base64; base64++) {
		if (strchr(" \t\r\n", *base64))
			continue;
		int digit = base64_digit(*base64);
		if (*base64 == '=' && held >= 2)
			padding++;
		else if (digit < 0 || padding > 0)
			return -EINVAL;
		group = group << 6 | (unsigned)(digit < 0 ? 0 : digit);
		if (++held < 4)
			continue;
		const char three[] = { (char)(group >> 16), (char)(group >> 8), (char)group };
		(void)wl_buffer_append(bytes, three, (size_t)(3 - padding));
		group = 0;
		held = 0;
	}
	return held != 0 ? -EINVAL : bytes->failed ? -ENOMEM : 0;
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
