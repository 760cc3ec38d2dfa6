/* Sessions with servers of the Model Context Protocol without any server: what is said, what is understood, what ends.
 */
#include "lib/base/cleanup.h"
#include "lib/mcp/answer.h"
#include "lib/mcp/session.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define INITIALIZED                                                                                                    \
	"\"result\":{\"protocolVersion\":\"2025-06-18\",\"capabilities\":{},\"serverInfo\":{\"name\":\"s\"}}}"

static struct wl_mcp_session *open_session(const char *tool, const char *pin)
{
	struct wl_mcp_session *session = NULL;
	struct wl_error err = { 0 };
	const struct wl_mcp_goal goal = { .tool = tool, .arguments = "{\"a\":1}", .pin = pin };
	assert_int_equal(wl_mcp_session_new(&goal, &session, &err), 0);
	return session;
}

/* The next message, which must be of that method ("" a reply); its id, 0 without one. */
static int expect(struct wl_mcp_session *session, const char *method)
{
	struct wl_mcp_message message;
	_wl_json_ struct wl_json *json = NULL;
	assert_true(wl_mcp_session_take(session, false, &message));
	assert_int_equal(wl_json_parse(message.text, strlen(message.text), &json, NULL), 0);
	assert_string_equal(wl_json_get_string(json, "method", ""), method);
	free(message.text);
	return (int)wl_json_get_number(json, "id", 0);
}

/* Feed {"jsonrpc","id",rest. What the session says to it. */
static int answer(struct wl_mcp_session *session, int id, const char *rest, struct wl_error *err)
{
	char text[4096];
	int length = snprintf(text, sizeof(text), "{\"jsonrpc\":\"2.0\",\"id\":%d,%s", id, rest);
	return wl_mcp_session_feed(session, text, (size_t)length, err);
}

/* As far as the request behind initialize, which is taken. */
static int begin(struct wl_mcp_session *session, const char *method)
{
	struct wl_error err = { 0 };
	assert_int_equal(answer(session, expect(session, "initialize"), INITIALIZED, &err), 0);
	assert_string_equal(wl_mcp_session_protocol(session), "2025-06-18");
	(void)expect(session, "notifications/initialized");
	return expect(session, method);
}

/* Says of each how long it is. */
static int keep_lengths(void *context, const struct wl_mcp_data *data, size_t count, struct wl_json **ret_kept,
			struct wl_error *err)
{
	struct wl_json *kept = wl_json_array();
	(void)context;
	(void)err;
	for (size_t i = 0; i < count; i++)
		assert_true(wl_json_append(kept, wl_json_new_number((double)strlen(data[i].base64))) == 0);
	*ret_kept = kept;
	return 0;
}

static const struct wl_mcp_keeper keeper = { .keep = keep_lengths };

static void test_a_call(void **state)
{
	(void)state;
	_wl_mcp_session_ struct wl_mcp_session *session = open_session("t", NULL);
	_wl_free_ char *output = NULL;
	struct wl_error err = { 0 };
	int id = begin(session, "tools/call");
	assert_true(wl_mcp_session_waits(session));
	assert_int_equal(answer(session, id, "\"result\":{\"content\":[{\"type\":\"text\",\"text\":\"ok\"}]}}", &err),
			 0);
	assert_true(wl_mcp_session_ended(session));
	assert_int_equal(wl_mcp_answer_output(wl_mcp_session_result(session), &keeper, &output, &err), 0);
	assert_string_equal(output, "\"ok\"");
}

static void test_a_list_in_pages(void **state)
{
	(void)state;
	_wl_mcp_session_ struct wl_mcp_session *session = open_session(NULL, NULL);
	struct wl_error err = { 0 };
	int id = begin(session, "tools/list");
	assert_int_equal(answer(session, id, "\"result\":{\"tools\":[{\"name\":\"a\"}],\"nextCursor\":\"2\"}}", &err),
			 0);
	id = expect(session, "tools/list");
	assert_int_equal(answer(session, id, "\"result\":{\"tools\":[{\"name\":\"b\"}]}}", &err), 0);
	assert_true(wl_mcp_session_ended(session));
	assert_int_equal(wl_json_count(wl_mcp_session_tools(session)), 2);
}

static void test_a_cursor_that_stays_is_an_end(void **state)
{
	(void)state;
	_wl_mcp_session_ struct wl_mcp_session *session = open_session(NULL, NULL);
	struct wl_error err = { 0 };
	int id = begin(session, "tools/list");
	assert_int_equal(answer(session, id, "\"result\":{\"tools\":[],\"nextCursor\":\"2\"}}", &err), 0);
	id = expect(session, "tools/list");
	assert_int_equal(answer(session, id, "\"result\":{\"tools\":[],\"nextCursor\":\"2\"}}", &err), -EMSGSIZE);
}

static void hash_of(const char *text, char hash[WL_MCP_HASH_TEXT])
{
	_wl_json_ struct wl_json *tool = NULL;
	assert_int_equal(wl_json_parse(text, strlen(text), &tool, NULL), 0);
	assert_int_equal(wl_mcp_tool_hash(tool, hash), 0);
}

static void test_the_hash_is_of_what_matters(void **state)
{
	(void)state;
	char first[WL_MCP_HASH_TEXT], second[WL_MCP_HASH_TEXT];
	hash_of("{\"name\":\"t\",\"description\":\"d\",\"inputSchema\":{\"type\":\"object\",\"required\":[]}}", first);
	hash_of("{\"title\":\"T\",\"inputSchema\":{\"required\":[],\"type\":\"object\"},\"description\":\"d\",\"name\":"
		"\"t\"}",
		second);
	assert_string_equal(first, second);
	hash_of("{\"name\":\"t\",\"description\":\"D\",\"inputSchema\":{\"type\":\"object\",\"required\":[]}}", second);
	assert_string_not_equal(first, second);
}

static void test_a_pin_that_holds_and_one_that_does_not(void **state)
{
	(void)state;
	static const char listed[] =
		"\"result\":{\"tools\":[{\"name\":\"o\"},{\"name\":\"t\",\"description\":\"d\"}]}}";
	char hash[WL_MCP_HASH_TEXT];
	struct wl_error err = { 0 };
	hash_of("{\"name\":\"t\",\"description\":\"d\"}", hash);
	_wl_mcp_session_ struct wl_mcp_session *same = open_session("t", hash);
	assert_int_equal(answer(same, begin(same, "tools/list"), listed, &err), 0);
	(void)expect(same, "tools/call");
	_wl_mcp_session_ struct wl_mcp_session *other = open_session("t", "ab");
	assert_int_equal(answer(other, begin(other, "tools/list"), listed, &err), 0);
	assert_true(wl_mcp_session_ended(other));
	assert_string_equal(wl_mcp_session_fault(other)->code, "tool_changed");
}

static void test_what_was_not_asked_for_is_passed_over(void **state)
{
	(void)state;
	static const char ok[] = "\"result\":{\"content\":[]}}";
	_wl_mcp_session_ struct wl_mcp_session *session = open_session("t", NULL);
	struct wl_error err = { 0 };
	assert_int_equal(answer(session, 1, ok, &err), 0); /* initialize was not sent yet */
	int id = begin(session, "tools/call");
	assert_int_equal(answer(session, id - 1, ok, &err), 0);
	assert_int_equal(answer(session, id + 1, ok, &err), 0);
	assert_false(wl_mcp_session_ended(session));
	assert_int_equal(answer(session, id, ok, &err), 0);
	assert_true(wl_mcp_session_ended(session));
	assert_int_equal(answer(session, id, ok, &err), 0);
}

static void test_requests_of_the_server(void **state)
{
	(void)state;
	static const char ping[] = "{\"jsonrpc\":\"2.0\",\"id\":\"p\",\"method\":\"ping\"}";
	_wl_mcp_session_ struct wl_mcp_session *session = open_session("t", NULL);
	struct wl_mcp_message message;
	struct wl_error err = { 0 };
	int result = 0, asked = 0;
	(void)begin(session, "tools/call");
	for (; result == 0; asked++) {
		result = wl_mcp_session_feed(session, ping, strlen(ping), &err);
		if (result == 0) {
			assert_true(wl_mcp_session_take(session, true, &message));
			assert_string_equal(message.text, "{\"jsonrpc\":\"2.0\",\"id\":\"p\",\"result\":{}}");
			free(message.text);
		}
	}
	assert_int_equal(result, -EMSGSIZE);
	assert_int_equal(asked, WL_MCP_ASKED_MAX + 1);
}

static void test_a_session_that_is_lost_begins_anew(void **state)
{
	(void)state;
	_wl_mcp_session_ struct wl_mcp_session *session = open_session("t", NULL);
	struct wl_error err = { 0 };
	int first = begin(session, "tools/call");
	assert_int_equal(wl_mcp_session_restart(session, &err), 0);
	assert_false(wl_mcp_session_waits(session));
	assert_int_not_equal(begin(session, "tools/call"), first);
	_wl_free_ char *cancel = wl_mcp_session_cancel(session);
	assert_non_null(strstr(cancel, "notifications/cancelled"));
}

static const struct {
	const char *text;
	int result;
} said[] = {
	{ "", -EPROTO },
	{ "null", -EPROTO },
	{ "{}", -EPROTO },
	{ "{\"jsonrpc\":\"1.0\",\"id\":1,\"result\":{}}", -EPROTO },
	{ "{\"jsonrpc\":\"2.0\",\"id\":1}", -EPROTO },
	{ "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{}}", -EPROTO },
	{ "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":[]}", -EPROTO },
	{ "{\"jsonrpc\":\"2.0\",\"id\":null,\"method\":\"ping\"}", -EPROTO },
	{ "{\"jsonrpc\":\"2.0\",\"id\":{},\"method\":\"ping\"}", -EPROTO },
	{ "[{\"jsonrpc\":\"2.0\",\"method\":\"notifications/x\"},7]", -EPROTO },
	{ "[]", 0 },
	{ "{\"jsonrpc\":\"2.0\",\"method\":\"notifications/x\",\"params\":7}", 0 },
	{ "{\"jsonrpc\":\"2.0\",\"id\":\"1\",\"result\":{}}", 0 },
};

static void test_what_is_no_message(void **state)
{
	(void)state;
	for (size_t i = 0; i < WL_COUNT_OF(said); i++) {
		_wl_mcp_session_ struct wl_mcp_session *session = open_session("t", NULL);
		struct wl_error err = { 0 };
		(void)expect(session, "initialize");
		int result = wl_mcp_session_feed(session, said[i].text, strlen(said[i].text), &err);
		if (result != said[i].result)
			fail_msg("%s: %d, %s", said[i].text, result, err.text);
	}
}

static const struct {
	const char *result, *output; /* NULL: -EFBIG or -EPROTO */
} outputs[] = {
	{ "{\"content\":[]}", "\"\"" },
	{ "{\"content\":[{\"type\":\"text\",\"text\":\"a\"},{\"type\":\"text\",\"text\":\"b\"}]}", "\"a\\nb\"" },
	{ "{\"content\":[{\"type\":\"text\",\"text\":\"a\"}],\"structuredContent\":{\"n\":1}}", "{\"n\":1}" },
	{ "{\"content\":[{\"type\":\"text\",\"text\":\"a\"}],\"structuredContent\":null}", "\"a\"" },
	{ "{\"content\":[{\"type\":\"resource_link\",\"uri\":\"x:y\"}]}",
	  "{\"text\":\"\",\"content\":[{\"type\":\"resource_link\",\"uri\":\"x:y\"}]}" },
	{ "{\"content\":[{\"uri\":\"x:y\"}]}", NULL },
	{ "{\"content\":[7]}", NULL },
};

static void test_outputs(void **state)
{
	(void)state;
	for (size_t i = 0; i < WL_COUNT_OF(outputs); i++) {
		_wl_json_ struct wl_json *result = NULL;
		_wl_free_ char *output = NULL;
		struct wl_error err = { 0 };
		assert_int_equal(wl_json_parse(outputs[i].result, strlen(outputs[i].result), &result, NULL), 0);
		int failed = wl_mcp_answer_output(result, &keeper, &output, &err);
		if (outputs[i].output)
			assert_string_equal(output, outputs[i].output);
		else
			assert_int_equal(failed, -EPROTO);
	}
}

static void test_large_data_is_kept_elsewhere(void **state)
{
	(void)state;
	_wl_json_ struct wl_json *result = NULL;
	_wl_free_ char *output = NULL, *data = malloc(40001), *text = NULL;
	struct wl_error err = { 0 };
	memset(data, 'A', 40000);
	data[40000] = '\0';
	assert_true(asprintf(&text,
			     "{\"content\":[{\"type\":\"image\",\"mimeType\":\"image/"
			     "png\",\"data\":\"%s\"},{\"type\":\"text\","
			     "\"text\":\"a\"},{\"type\":\"resource\",\"resource\":{\"uri\":\"x:y\",\"blob\":\"%s\"}}]}",
			     data, data + 4000) > 0);
	assert_int_equal(wl_json_parse(text, strlen(text), &result, NULL), 0);
	assert_int_equal(wl_mcp_answer_output(result, &keeper, &output, &err), 0);
	assert_string_equal(output, "{\"text\":\"a\",\"content\":[{\"type\":\"image\",\"mimeType\":\"image/png\","
				    "\"artifact\":40000},{\"type\":\"resource\",\"resource\":{\"uri\":\"x:y\","
				    "\"artifact\":36000}}]}");
}

static const struct {
	const char *base64, *bytes; /* NULL: it is none */
} encoded[] = {
	{ "", "" },	  { "YQ==", "a" },  { "YWI=", "ab" },  { "YWJj", "abc" }, { "YW\nJj ZA==", "abcd" },
	{ "YQ", NULL },	  { "YQ=", NULL },  { "=", NULL },     { "Y===", NULL },  { "YQ==YQ==", NULL },
	{ "YQ=a", NULL }, { "Y-_j", NULL }, { "YWJj=", NULL },
};

static void test_base64(void **state)
{
	(void)state;
	for (size_t i = 0; i < WL_COUNT_OF(encoded); i++) {
		_wl_buffer_ struct wl_buffer bytes;
		wl_buffer_init(&bytes, 0);
		int result = wl_mcp_data_decode(encoded[i].base64, &bytes);
		if (result != (encoded[i].bytes ? 0 : -EINVAL))
			fail_msg("%s: %d", encoded[i].base64, result);
		if (encoded[i].bytes)
			assert_string_equal(bytes.data ? bytes.data : "", encoded[i].bytes);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_call),
		cmocka_unit_test(test_a_list_in_pages),
		cmocka_unit_test(test_a_cursor_that_stays_is_an_end),
		cmocka_unit_test(test_the_hash_is_of_what_matters),
		cmocka_unit_test(test_a_pin_that_holds_and_one_that_does_not),
		cmocka_unit_test(test_what_was_not_asked_for_is_passed_over),
		cmocka_unit_test(test_requests_of_the_server),
		cmocka_unit_test(test_a_session_that_is_lost_begins_anew),
		cmocka_unit_test(test_what_is_no_message),
		cmocka_unit_test(test_outputs),
		cmocka_unit_test(test_large_data_is_kept_elsewhere),
		cmocka_unit_test(test_base64),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
