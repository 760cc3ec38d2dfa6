#include "lib/mcp/server_message.h"

#include "lib/base/cleanup.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define WHOLE_MOST 9007199254740991.0 /* 2^53 - 1: what every client's number keeps exactly */

bool wl_mcp_server_speaks(const char *version)
{
	static const char *const versions[] = { WL_MCP_SERVER_VERSION, "2025-03-26", "2024-11-05" };
	for (size_t i = 0; i < WL_COUNT_OF(versions); i++)
		if (strcmp(versions[i], version) == 0)
			return true;
	return false;
}

/* ---- reading -------------------------------------------------------------------------------------------------------
 */

char *wl_mcp_id_text(const struct wl_json *id, int *ret_rc)
{
	char number[32];
	*ret_rc = -EINVAL;
	if (wl_json_is(id, WL_JSON_STRING)) {
		if (strlen(wl_json_string(id, "")) > WL_MCP_ID_MAX)
			return NULL;
		*ret_rc = -ENOMEM;
		return wl_json_print(id);
	}
	double value = wl_json_number(id, NAN);
	if (!wl_json_is(id, WL_JSON_NUMBER) || !(fabs(value) <= WHOLE_MOST) || value != floor(value))
		return NULL;
	*ret_rc = -ENOMEM;
	(void)snprintf(number, sizeof(number), "%lld", (long long)value); /* 1.0 and 1 are one id */
	return strdup(number);
}

static int refuse(int *ret_code, int code, struct wl_error *err, const char *sentence)
{
	*ret_code = code;
	return wl_fail(err, EINVAL, "%s", sentence);
}

static int read_id(struct wl_mcp_incoming *incoming, int *ret_code, struct wl_error *err)
{
	const struct wl_json *id = wl_json_get(incoming->message, "id");
	int rc;
	if (!id)
		return 0;
	incoming->id = wl_mcp_id_text(id, &rc);
	if (incoming->id)
		return 0;
	if (rc == -ENOMEM)
		return wl_fail(err, ENOMEM, "no memory");
	return refuse(ret_code, WL_MCP_INVALID_REQUEST, err,
		      "the id of a request is a whole number or a string of at most 128 bytes");
}

static int read_members(struct wl_mcp_incoming *incoming, int *ret_code, struct wl_error *err)
{
	const struct wl_json *message = incoming->message;
	const char *method = wl_json_get_string(message, "method", NULL);
	const struct wl_json *params = wl_json_get(message, "params");
	if (strcmp(wl_json_get_string(message, "jsonrpc", ""), "2.0") != 0)
		return refuse(ret_code, WL_MCP_INVALID_REQUEST, err, "the member jsonrpc must be \"2.0\"");
	if (!method && (wl_json_get(message, "result") || wl_json_get(message, "error")))
		return refuse(ret_code, WL_MCP_INVALID_REQUEST, err,
			      "this server has asked nothing that this could answer");
	if (!method || !*method || strlen(method) > WL_MCP_METHOD_MAX)
		return refuse(ret_code, WL_MCP_INVALID_REQUEST, err,
			      "the member method must be a string of 1 to 100 bytes");
	if (params && !wl_json_is(params, WL_JSON_OBJECT))
		return refuse(ret_code, WL_MCP_INVALID_REQUEST, err, "the member params must be an object");
	incoming->method = method;
	incoming->params = params;
	return 0;
}

int wl_mcp_incoming_read(const char *text, size_t length, struct wl_mcp_incoming *ret_incoming, int *ret_code,
			 struct wl_error *err)
{
	*ret_incoming = (struct wl_mcp_incoming){ 0 };
	int rc = wl_json_parse(text, length, &ret_incoming->message, err);
	if (rc == -EINVAL) {
		*ret_code = WL_MCP_PARSE_ERROR;
		return wl_fail_within(err, "the body is not JSON"), rc;
	}
	if (rc < 0)
		return rc;
	if (wl_json_is(ret_incoming->message, WL_JSON_ARRAY))
		return refuse(ret_code, WL_MCP_INVALID_REQUEST, err,
			      "batches are not taken: send one message at a time");
	if (!wl_json_is(ret_incoming->message, WL_JSON_OBJECT))
		return refuse(ret_code, WL_MCP_INVALID_REQUEST, err, "a message is an object");
	rc = read_id(ret_incoming, ret_code, err);
	return rc ? rc : read_members(ret_incoming, ret_code, err);
}

void wl_mcp_incoming_release(struct wl_mcp_incoming *incoming)
{
	wl_json_free(incoming->message);
	free(incoming->id);
	*incoming = (struct wl_mcp_incoming){ 0 };
}

/* ---- writing -------------------------------------------------------------------------------------------------------
 */

/* Text that may quote what came in, cut inside of a character. */
static void put_text(struct wl_buffer *out, const char *text)
{
	_wl_json_ struct wl_json *clean = wl_json_new_string(text);
	if (!clean || wl_json_write(out, clean) < 0)
		out->failed = out->failed ? out->failed : ENOMEM;
}

static void begin(struct wl_buffer *out, const char *id)
{
	(void)wl_buffer_append_text(out, "{\"jsonrpc\":\"2.0\",\"id\":");
	(void)wl_buffer_append_text(out, id ? id : "null");
}

void wl_mcp_put_result(struct wl_buffer *out, const char *id, const char *result_json)
{
	begin(out, id);
	(void)wl_buffer_append_text(out, ",\"result\":");
	(void)wl_buffer_append_text(out, result_json);
	(void)wl_buffer_append_char(out, '}');
}

void wl_mcp_put_error(struct wl_buffer *out, const char *id, int code, const char *sentence, const char *data_json)
{
	begin(out, id);
	(void)wl_buffer_appendf(out, ",\"error\":{\"code\":%d,\"message\":", code);
	put_text(out, sentence);
	if (data_json) {
		(void)wl_buffer_append_text(out, ",\"data\":");
		(void)wl_buffer_append_text(out, data_json);
	}
	(void)wl_buffer_append_text(out, "}}");
}

void wl_mcp_put_progress(struct wl_buffer *out, const char *token_json, int done, int total, const char *sentence)
{
	(void)wl_buffer_append_text(
		out, "{\"jsonrpc\":\"2.0\",\"method\":\"notifications/progress\",\"params\":{\"progressToken\":");
	(void)wl_buffer_append_text(out, token_json);
	(void)wl_buffer_appendf(out, ",\"progress\":%d", done);
	if (total)
		(void)wl_buffer_appendf(out, ",\"total\":%d", total);
	(void)wl_buffer_append_text(out, ",\"message\":");
	put_text(out, sentence);
	(void)wl_buffer_append_text(out, "}}");
}

void wl_mcp_put_tool_result(struct wl_buffer *out, const char *id, const struct wl_mcp_tool_result *result)
{
	begin(out, id);
	(void)wl_buffer_append_text(out, ",\"result\":{\"content\":[{\"type\":\"text\",\"text\":");
	put_text(out, result->text);
	(void)wl_buffer_append_text(out, "}]");
	if (result->structured) {
		(void)wl_buffer_append_text(out, ",\"structuredContent\":");
		(void)wl_buffer_append_text(out, result->structured);
	}
	(void)wl_buffer_appendf(out, ",\"isError\":%s", result->is_error ? "true" : "false");
	if (result->meta) {
		(void)wl_buffer_append_text(out, ",\"_meta\":");
		(void)wl_buffer_append_text(out, result->meta);
	}
	(void)wl_buffer_append_text(out, "}}");
}
