/* Bytes as a message of an MCP client, and as an Origin and a Host: what is read can be answered, in JSON that others
 * read. */
#include "lib/mcp/server_message.h"
#include "tests/fuzz/fuzz.h"
#include "webapp/server/core/origin.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* The answer that has `out` for its bytes is JSON, with this id. */
static void check_mcp_answer(struct wl_buffer *out, const char *id)
{
	struct wl_json *answer = NULL;
	FUZZ_ASSERT(!out->failed && wl_json_parse(out->data, out->length, &answer, NULL) == 0);
	char *text = wl_json_print(wl_json_get(answer, "id"));
	FUZZ_ASSERT(text && strcmp(text, id ? id : "null") == 0);
	free(text);
	wl_json_free(answer);
	wl_buffer_release(out);
}

static void check_mcp_message(const char *text, size_t length)
{
	struct wl_mcp_incoming incoming;
	struct wl_error err = { 0 };
	struct wl_buffer out = { 0 };
	int code = 0;
	int rc = wl_mcp_incoming_read(text, length, &incoming, &code, &err);
	FUZZ_ASSERT(rc == 0 || (rc == -EINVAL && code < 0 && err.text[0]) || rc == -ENOMEM);
	FUZZ_ASSERT(rc != 0 || (incoming.method[0] && strlen(incoming.method) <= WL_MCP_METHOD_MAX));
	wl_mcp_put_error(&out, incoming.id, code, rc ? err.text : incoming.method, NULL);
	check_mcp_answer(&out, incoming.id);
	if (incoming.id) {
		const struct wl_mcp_tool_result result = { text, NULL, NULL, true };
		wl_mcp_put_tool_result(&out, incoming.id, &result);
		check_mcp_answer(&out, incoming.id);
	}
	wl_mcp_incoming_release(&incoming);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
	char *text = malloc(length + 1);
	if (!text)
		return 0;
	memcpy(text, bytes, length);
	text[length] = '\0';
	check_mcp_message(text, length);
	(void)web_origin_allowed(text, "127.0.0.1:8080", "https://windlass.example");
	(void)web_origin_allowed("http://127.0.0.1:8080", text, text);
	FUZZ_ASSERT(!web_origin_allowed(text, NULL, ""));
	free(text);
	return 0;
}
