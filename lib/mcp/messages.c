/* The messages of a session, and what a list says of a tool. */
#include "lib/base/cleanup.h"
#include "lib/mcp/session_parts.h"
#include "lib/secrets/digest.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define CLIENT_NAME "windlass"
#define CLIENT_VERSION "1"
#define PROGRESS_TOKEN "call"

/* Queue a message, which is freed. */
static int say(struct wl_mcp_session *session, enum wl_mcp_kind kind, int id, struct wl_json *message)
{
	char *text = message ? wl_json_print(message) : NULL;
	wl_json_free(message);
	if (!text)
		return -ENOMEM;
	if (session->queued == MCP_QUEUE_MAX) {
		free(text);
		return -ENOMEM;
	}
	session->queue[session->queued++] = (struct wl_mcp_message){
		.kind = kind, .id = id, .call = id > 0 && session->state == MCP_CALLING, .text = text
	};
	return 0;
}

static struct wl_json *begin(const char *method)
{
	struct wl_json *message = wl_json_object();
	int failed = wl_json_set_string(message, "jsonrpc", "2.0");
	if (method)
		failed |= wl_json_set_string(message, "method", method);
	if (!failed)
		return message;
	wl_json_free(message);
	return NULL;
}

/* A request with its parameters, which it takes over. */
static int request(struct wl_mcp_session *session, const char *method, struct wl_json *params)
{
	struct wl_json *message = begin(method);
	int failed = wl_json_set_number(message, "id", ++session->last_id);
	failed |= wl_json_set(message, "params", params);
	if (!failed)
		return say(session, WL_MCP_REQUEST, session->last_id, message);
	wl_json_free(message);
	return -ENOMEM;
}

int mcp_say_initialize(struct wl_mcp_session *session)
{
	struct wl_json *params = wl_json_object(), *info = wl_json_object();
	int failed = wl_json_set_string(params, "protocolVersion", WL_MCP_PROTOCOL);
	failed |= wl_json_set(params, "capabilities", wl_json_object());
	failed |= wl_json_set_string(info, "name", CLIENT_NAME);
	failed |= wl_json_set_string(info, "version", CLIENT_VERSION);
	failed |= wl_json_set(params, "clientInfo", info);
	if (!failed)
		return request(session, "initialize", params);
	wl_json_free(params);
	return -ENOMEM;
}

int mcp_say_initialized(struct wl_mcp_session *session)
{
	return say(session, WL_MCP_NOTE, 0, begin("notifications/initialized"));
}

int mcp_say_list(struct wl_mcp_session *session)
{
	struct wl_json *params = wl_json_object();
	if (!params || (session->cursor && wl_json_set_string(params, "cursor", session->cursor) < 0)) {
		wl_json_free(params);
		return -ENOMEM;
	}
	return request(session, "tools/list", params);
}

int mcp_say_call(struct wl_mcp_session *session)
{
	struct wl_json *params = wl_json_object(), *meta = wl_json_object(), *arguments = NULL;
	int failed = wl_json_set_string(params, "name", session->tool);
	if (wl_json_parse(session->arguments, strlen(session->arguments), &arguments, NULL) < 0)
		failed = -ENOMEM;
	failed |= wl_json_set(params, "arguments", arguments);
	failed |= wl_json_set_string(meta, "progressToken", PROGRESS_TOKEN);
	failed |= wl_json_set(params, "_meta", meta);
	if (!failed)
		return request(session, "tools/call", params);
	wl_json_free(params);
	return -ENOMEM;
}

int mcp_say_reply(struct wl_mcp_session *session, const struct wl_json *id, const char *method)
{
	struct wl_json *message = begin(NULL), *error = NULL;
	int failed = wl_json_set(message, "id", wl_json_copy(id));
	if (strcmp(method, "ping") == 0) {
		failed |= wl_json_set(message, "result", wl_json_object());
	} else {
		error = wl_json_object();
		failed |= wl_json_set_number(error, "code", -32601);
		failed |= wl_json_set_string(error, "message", "Method not found");
		failed |= wl_json_set(message, "error", error);
	}
	if (!failed)
		return say(session, WL_MCP_REPLY, 0, message);
	wl_json_free(message);
	return -ENOMEM;
}

char *wl_mcp_session_cancel(const struct wl_mcp_session *session)
{
	if (session->state != MCP_CALLING || session->pending == 0)
		return NULL;
	_wl_json_ struct wl_json *message = begin("notifications/cancelled");
	struct wl_json *params = wl_json_object();
	int failed = wl_json_set_number(params, "requestId", session->pending);
	failed |= wl_json_set_string(params, "reason", "the call was stopped");
	failed |= wl_json_set(message, "params", params);
	return failed ? NULL : wl_json_print(message);
}

size_t mcp_note_text(const struct wl_json *message, char *text, size_t size)
{
	const char *method = wl_json_get_string(message, "method", "");
	const struct wl_json *params = wl_json_get(message, "params");
	int written = 0;
	if (strcmp(method, "notifications/progress") == 0) {
		double total = wl_json_get_number(params, "total", 0);
		written = snprintf(text, size, "progress %.6g", wl_json_get_number(params, "progress", 0));
		if (total > 0)
			written += snprintf(text + written, size - (size_t)written, " of %.6g", total);
		written += snprintf(text + written, size - (size_t)written, " %s\n",
				    wl_json_get_string(params, "message", ""));
	} else if (strcmp(method, "notifications/message") == 0) {
		const struct wl_json *data = wl_json_get(params, "data");
		_wl_free_ char *printed = wl_json_is(data, WL_JSON_STRING) ? NULL : wl_json_print(data);
		written = snprintf(text, size, "%.20s: %s\n", wl_json_get_string(params, "level", "info"),
				   printed ? printed : wl_json_string(data, ""));
	}
	if (written < (int)size)
		return (size_t)written;
	text[size - 2] = '\n';
	return size - 1;
}

int wl_mcp_tool_hash(const struct wl_json *tool, char ret_hash[WL_MCP_HASH_TEXT])
{
	static const char *const members[] = { "name", "description", "inputSchema", "outputSchema" };
	unsigned char digest[WL_SHA256_BYTES];
	_wl_json_ struct wl_json *told = wl_json_object();
	_wl_buffer_ struct wl_buffer text;
	int failed = told ? 0 : -ENOMEM;
	wl_buffer_init(&text, 0);
	for (size_t i = 0; i < WL_COUNT_OF(members) && !failed; i++) {
		const struct wl_json *one = wl_json_get(tool, members[i]);
		failed = wl_json_set(told, members[i], one ? wl_json_copy(one) : wl_json_new_null());
	}
	if (failed || wl_json_write_sorted(&text, told) < 0)
		return -ENOMEM;
	wl_sha256(text.data, text.length, digest);
	(void)wl_hex(digest, sizeof(digest), ret_hash);
	return 0;
}
