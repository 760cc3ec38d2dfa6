/* Messages of MCP clients as the server reads and answers them, and the origins of pages it lets in. */
#include "lib/base/cleanup.h"
#include "lib/mcp/server_message.h"
#include "webapp/server/core/origin.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* The code of what is wrong with a message, 0: nothing. `id` gets its id as JSON, "-" when it has none. */
static int code_of(const char *text, char id[64])
{
	struct wl_mcp_incoming incoming;
	struct wl_error err = { 0 };
	int code = 0, rc = wl_mcp_incoming_read(text, strlen(text), &incoming, &code, &err);
	assert_true(rc == 0 || rc == -EINVAL);
	assert_true((rc == 0) == (code == 0) && (rc == 0) == (err.text[0] == '\0'));
	(void)snprintf(id, 64, "%s", incoming.id ? incoming.id : "-");
	wl_mcp_incoming_release(&incoming);
	return code;
}

static void a_request_has_an_id_in_one_form(void **state)
{
	static const struct {
		const char *sent, *kept;
	} ids[] = { { "1", "1" },
		    { "1.0", "1" },
		    { "10e-1", "1" },
		    { "-7", "-7" },
		    { "0", "0" },
		    { "-0.0", "0" },
		    { "\"1\"", "\"1\"" },
		    { "\"\"", "\"\"" },
		    { "1e3", "1000" },
		    { "\"\\u0061\"", "\"a\"" },
		    { "9007199254740991", "9007199254740991" } };
	char text[256], id[64];
	(void)state;
	for (size_t i = 0; i < WL_COUNT_OF(ids); i++) {
		(void)snprintf(text, sizeof(text), "{\"jsonrpc\":\"2.0\",\"id\":%s,\"method\":\"ping\"}", ids[i].sent);
		assert_int_equal(code_of(text, id), 0);
		assert_string_equal(id, ids[i].kept);
	}
}

static void other_ids_are_refused(void **state)
{
	static const char *const ids[] = {
		"null", "true", "1.5", "[]", "{}", "1e300", "9007199254740992", "-9007199254740993"
	};
	char text[256], id[64];
	(void)state;
	for (size_t i = 0; i < WL_COUNT_OF(ids); i++) {
		(void)snprintf(text, sizeof(text), "{\"jsonrpc\":\"2.0\",\"id\":%s,\"method\":\"ping\"}", ids[i]);
		assert_int_equal(code_of(text, id), WL_MCP_INVALID_REQUEST);
		assert_string_equal(id, "-");
	}
}

static void a_message_without_an_id_is_a_notification(void **state)
{
	char id[64];
	(void)state;
	assert_int_equal(code_of("{\"jsonrpc\":\"2.0\",\"method\":\"notifications/initialized\"}", id), 0);
	assert_string_equal(id, "-");
}

static void answers_are_json(void **state)
{
	struct wl_buffer out = { 0 };
	(void)state;
	wl_mcp_put_result(&out, "7", "{}");
	assert_string_equal(out.data, "{\"jsonrpc\":\"2.0\",\"id\":7,\"result\":{}}");
	wl_buffer_clear(&out);
	wl_mcp_put_error(&out, NULL, -32700, "a \"quote\"\n", "[1]");
	assert_string_equal(out.data, "{\"jsonrpc\":\"2.0\",\"id\":null,\"error\":{\"code\":-32700,\"message\":\"a "
				      "\\\"quote\\\"\\n\",\"data\":[1]}}");
	wl_buffer_clear(&out);
	wl_mcp_put_progress(&out, "\"t\"", 2, 0, "x");
	assert_string_equal(out.data, "{\"jsonrpc\":\"2.0\",\"method\":\"notifications/progress\",\"params\":{"
				      "\"progressToken\":\"t\",\"progress\":2,\"message\":\"x\"}}");
	wl_buffer_clear(&out);
	wl_mcp_put_tool_result(&out, "\"a\"", &(struct wl_mcp_tool_result){ "t", "{\"x\":1}", "{\"m\":2}", false });
	assert_string_equal(out.data,
			    "{\"jsonrpc\":\"2.0\",\"id\":\"a\",\"result\":{\"content\":[{\"type\":\"text\",\"text\":"
			    "\"t\"}],\"structuredContent\":{\"x\":1},\"isError\":false,\"_meta\":{\"m\":2}}}");
	wl_buffer_release(&out);
}

static void pages_of_others_are_kept_out(void **state)
{
	static const struct {
		const char *origin, *host, *own;
		bool allowed;
	} cases[] = {
		{ NULL, "windlass.example", "", true },
		{ "https://windlass.example", "10.0.0.7:8080", "https://windlass.example/", true },
		{ "https://windlass.example:443", "x", "https://Windlass.Example", true },
		{ "http://windlass.example", "x", "https://windlass.example", false },
		{ "https://windlass.example:8443", "x", "https://windlass.example", false },
		{ "https://windlass.example.evil.example", "x", "https://windlass.example", false },
		{ "http://127.0.0.1:8080", "127.0.0.1:8080", "", true },
		{ "http://localhost:8080", "localhost:8080", NULL, true },
		{ "http://[::1]:8080", "[::1]:8080", "", true },
		{ "http://[::1]:8080", "[::2]:8080", "", false },
		{ "http://127.0.0.1:8081", "127.0.0.1:8080", "", false },
		{ "http://localhost:8080", "127.0.0.1:8080", "", false },
		/* a name that its owner lets point to this server (DNS rebinding) */
		{ "http://evil.example:8080", "evil.example:8080", "", false },
		{ "http://127.0.0.1.evil.example", "127.0.0.1.evil.example", "", false },
		{ "http://127.0.0.1:8080/x", "127.0.0.1:8080", "", false },
		{ "null", "127.0.0.1:8080", "", false },
		{ "", "127.0.0.1:8080", "", false },
		{ "://", "", "://", false },
		{ "http://127.0.0.1:8080", NULL, "", false },
	};
	(void)state;
	for (size_t i = 0; i < WL_COUNT_OF(cases); i++)
		if (web_origin_allowed(cases[i].origin, cases[i].host, cases[i].own) != cases[i].allowed)
			fail_msg("case %zu", i);
}

static void versions(void **state)
{
	(void)state;
	assert_true(wl_mcp_server_speaks("2025-06-18") && wl_mcp_server_speaks("2025-03-26") &&
		    wl_mcp_server_speaks("2024-11-05"));
	assert_false(wl_mcp_server_speaks("") || wl_mcp_server_speaks("2025-06-1") ||
		     wl_mcp_server_speaks("2026-07-28"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_request_has_an_id_in_one_form),
		cmocka_unit_test(other_ids_are_refused),
		cmocka_unit_test(a_message_without_an_id_is_a_notification),
		cmocka_unit_test(answers_are_json),
		cmocka_unit_test(pages_of_others_are_kept_out),
		cmocka_unit_test(versions),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
