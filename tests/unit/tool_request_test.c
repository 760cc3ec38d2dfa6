/* The requests of tools without anyone to ask: what their configuration and input make, and what is taken out again. */
#include "lib/base/cleanup.h"
#include "supervisor/nodes/tool_request.h"
#include "supervisor/nodes/tool_secrets.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define MASTER "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
#define TOOL "01a209e1-462e-7c05-b1fb-84fb6648b075"

static struct wl_json *parse(const char *text)
{
	struct wl_json *json = NULL;
	struct wl_error err = { 0 };
	if (wl_json_parse(text, strlen(text), &json, &err) < 0)
		fail_msg("%s: %s", text, err.text);
	return json;
}

static int make(const char *config, const char *input, struct tool_request *request, struct wl_error *err)
{
	static struct wl_json *kept; /* the request's method is the configuration's */
	wl_json_free(kept);
	kept = parse(config);
	_wl_json_ struct wl_json *given = parse(input);
	return tool_request_make(kept, given, request, err);
}

#define BY_PATH ",\"parameters\":[{\"name\":\"p\",\"in\":\"path\"}]}"

static const struct {
	const char *config, *input, *url;
} urls[] = {
	{ "{\"url\":\"http://h\",\"path\":\"/a\"}", "null", "http://h/a" },
	{ "{\"url\":\"http://h/\",\"path\":\"/a\"}", "{}", "http://h/a" },
	{ "{\"url\":\"http://h/v1/\",\"path\":\"a#x\"}", "{}", "http://h/v1/a" },
	{ "{\"url\":\"http://h?a=1#f\"}", "{}", "http://h?a=1" },
	{ "{\"url\":\"http://h/{p}/{p}\"" BY_PATH, "{\"p\":1.5}", "http://h/1.5/1.5" },
	{ "{\"url\":\"http://h/{p}\"}", "{\"p\":\"%2e%2e\"}", "http://h/%252e%252e" },
	{ "{\"url\":\"http://h/{p}\"}", "{\"p\":\"...\"}", "http://h/..." },
	{ "{\"url\":\"http://h/a?q={p}\"}", "{\"p\":\"../x\"}", "http://h/a?q=..%2Fx" },
	{ "{\"url\":\"http://h/a?q={p}\"}", "{\"p\":\"\"}", "http://h/a?q=" },
	{ "{\"url\":\"http://h/{p\"}", "{\"p\":1}", "http://h/{p" },
	{ "{\"url\":\"http://h/?a=1\",\"parameters\":[{\"name\":\"q\",\"in\":\"query\"}]}", "{\"q\":[1,2]}",
	  "http://h/?a=1&q=1&q=2" },
};

static void test_urls(void **state)
{
	(void)state;
	for (size_t i = 0; i < WL_COUNT_OF(urls); i++) {
		_tool_request_ struct tool_request request = { 0 };
		struct wl_error err = { 0 };
		if (make(urls[i].config, urls[i].input, &request, &err) < 0)
			fail_msg("%s: %s", urls[i].config, err.text);
		assert_string_equal(request.url.data, urls[i].url);
	}
}

static const struct {
	const char *config, *input;
	int result;
} faults[] = {
	{ "{}", "{}", -ENOEXEC },
	{ "{\"url\":\"h/x\"}", "{}", -ENOEXEC },
	{ "{\"url\":\"http://{p}/x\"}", "{\"p\":\"127.0.0.1\"}", -ENOEXEC },
	{ "{\"url\":\"http://h:{p}/x\"}", "{\"p\":80}", -ENOEXEC },
	{ "{\"url\":\"http://h\",\"headers\":{\"A\":\"b\\r\\nC: d\"}}", "{}", -ENOEXEC },
	{ "{\"url\":\"http://h\",\"headers\":{\"Host\":\"other\"}}", "{}", -ENOEXEC },
	{ "{\"url\":\"http://h/{p}\"}", "{}", -EINVAL },
	{ "{\"url\":\"http://h/{p}\"}", "[1]", -EINVAL },
	{ "{\"url\":\"http://h/{p}\"}", "{\"p\":\"..\"}", -EINVAL },
	{ "{\"url\":\"http://h/{p}{q}/x\"}", "{\"p\":\".\",\"q\":\"\"}", -EINVAL },
	{ "{\"url\":\"http://h/a{p}{q}/x\"}", "{\"p\":\".\",\"q\":\".\"}", -EINVAL },
	{ "{\"url\":\"http://h/.{p}/x\"}", "{\"p\":[\"x\",\"/../\"]}", -EINVAL },
	{ "{\"url\":\"http://h/{p}\"}", "{\"p\":{\"..\":1}}", -EINVAL },
	{ "{\"url\":\"http://h/.{p}\",\"parameters\":[{\"name\":\"p\",\"in\":\"path\",\"style\":\"label\"}]}",
	  "{\"p\":[]}", -EINVAL },
	{ "{\"url\":\"http://h\",\"parameters\":[{\"name\":\"p\",\"in\":\"query\",\"required\":true}]}", "{\"p\":null}",
	  -EINVAL },
	{ "{\"url\":\"http://h\",\"parameters\":[{\"name\":\"p\",\"in\":\"header\"}]}", "{\"p\":\"a\\nb\"}", -EINVAL },
	{ "{\"url\":\"http://h\",\"method\":\"POST\",\"body\":\"form\"}", "{\"body\":[1]}", -EINVAL },
};

static void test_faults(void **state)
{
	(void)state;
	for (size_t i = 0; i < WL_COUNT_OF(faults); i++) {
		_tool_request_ struct tool_request request = { 0 };
		struct wl_error err = { 0 };
		int result = make(faults[i].config, faults[i].input, &request, &err);
		if (result != faults[i].result || !*err.text)
			fail_msg("%s with %s: %d %s", faults[i].config, faults[i].input, result, err.text);
	}
	_wl_buffer_ struct wl_buffer input;
	_tool_request_ struct tool_request request = { 0 };
	struct wl_error err = { 0 };
	wl_buffer_init(&input, 0);
	(void)wl_buffer_appendf(&input, "{\"p\":\"%0*d\"}", WL_HTTP_URL_MAX, 1);
	assert_int_equal(make("{\"url\":\"http://h/{p}\"}", input.data, &request, &err), -EINVAL);
}

static void test_bodies(void **state)
{
	(void)state;
	static const struct {
		const char *config, *input, *type, *body;
	} rows[] = {
		{ "{\"url\":\"http://h\",\"method\":\"POST\"}", "{\"a\":12345678901234567890}", "application/json",
		  "{\"a\":12345678901234567890}" },
		{ "{\"url\":\"http://h\",\"method\":\"POST\"}", "{\"body\":null}", "application/json", "null" },
		{ "{\"url\":\"http://h\",\"method\":\"POST\"}", "{}", NULL, NULL },
		{ "{\"url\":\"http://h\",\"method\":\"DELETE\"}", "{\"a\":1}", NULL, NULL },
		{ "{\"url\":\"http://h/{a}\",\"method\":\"POST\"}", "{\"a\":1,\"b\":2}", "application/json",
		  "{\"b\":2}" },
		{ "{\"url\":\"http://h\",\"method\":\"POST\",\"headers\":{\"Content-Type\":\"a/b\"}}", "{\"a\":1}",
		  NULL, "{\"a\":1}" },
	};
	for (size_t i = 0; i < WL_COUNT_OF(rows); i++) {
		_tool_request_ struct tool_request request = { 0 };
		struct wl_error err = { 0 };
		assert_int_equal(make(rows[i].config, rows[i].input, &request, &err), 0);
		assert_int_equal(request.has_body, rows[i].body != NULL);
		if (rows[i].body)
			assert_string_equal(request.body.data, rows[i].body);
		if (rows[i].type)
			assert_string_equal(request.content_type, rows[i].type);
		else
			assert_null(request.content_type);
	}
}

/* ---- credentials ------------------------------------------------------------------------------------------------ */

struct keys {
	struct wl_master_key *master;
	char tenant[WL_SEALED_KEY_TEXT];
};

static int apply(const struct keys *keys, const char *auth, const char *plain, const char *context,
		 struct tool_request *request, struct tool_secrets *secrets)
{
	struct wl_error err = { 0 };
	_wl_free_ char *sealed = NULL;
	_wl_buffer_ struct wl_buffer text;
	wl_buffer_init(&text, 0);
	assert_int_equal(wl_seal(keys->master, keys->tenant, context, plain, strlen(plain), &sealed, &err), 0);
	(void)wl_buffer_appendf(&text,
				"{\"execution_config\":{\"auth\":%s},\"credentials\":\"%s\",\"sealed_key\":\"%s\"}",
				auth, sealed, keys->tenant);
	_wl_json_ struct wl_json *row = parse(text.data);
	return tool_secrets_apply(keys->master, TOOL, row, request, secrets, &err);
}

static const struct {
	const char *auth, *plain, *context;
	int result;
} credentials[] = {
	{ "{\"type\":\"none\"}", "{}", "tool:" TOOL, 0 },
	{ "{\"type\":\"bearer\"}", "{\"token\":\"abcd\"}", "tool:" TOOL, 0 },
	{ "{\"type\":\"bearer\"}", "{\"token\":\"abcd\"}", "tool:01a209e1-462e-7c05-b1fb-84fb6648b076", -EACCES },
	{ "{\"type\":\"bearer\"}", "{\"token\":\"abcd\"}", "llm_provider:" TOOL, -EACCES },
	{ "{\"type\":\"bearer\"}", "{\"token\":\"\"}", "tool:" TOOL, -ENOEXEC },
	{ "{\"type\":\"bearer\"}", "{\"token\":\"a\\r\\nb\"}", "tool:" TOOL, -ENOEXEC },
	{ "{\"type\":\"bearer\"}", "no json", "tool:" TOOL, -ENOEXEC },
	{ "{\"type\":\"basic\"}", "{\"token\":\"abcd\"}", "tool:" TOOL, -ENOEXEC },
	{ "{\"type\":\"basic\"}", "{\"username\":\"a:b\",\"password\":\"abcd\"}", "tool:" TOOL, -ENOEXEC },
	{ "{\"type\":\"basic\"}", "{\"username\":\"\",\"password\":\"\"}", "tool:" TOOL, 0 },
	{ "{\"type\":\"api_key\",\"in\":\"query\",\"name\":\"k\"}", "{\"token\":\"abcd\"}", "tool:" TOOL, 0 },
	{ "{\"type\":\"api_key\",\"in\":\"header\",\"name\":\"Host\"}", "{\"token\":\"abcd\"}", "tool:" TOOL,
	  -ENOEXEC },
};

static void test_credentials(void **state)
{
	(void)state;
	struct keys keys;
	struct wl_error err = { 0 };
	assert_int_equal(wl_master_key_open(MASTER, &keys.master, &err), 0);
	assert_int_equal(wl_tenant_key_make(keys.master, keys.tenant, &err), 0);
	for (size_t i = 0; i < WL_COUNT_OF(credentials); i++) {
		_tool_request_ struct tool_request request = { 0 };
		_tool_secrets_ struct tool_secrets secrets = { 0 };
		assert_int_equal(make("{\"url\":\"http://h/\"}", "{}", &request, &err), 0);
		int result = apply(&keys, credentials[i].auth, credentials[i].plain, credentials[i].context, &request,
				   &secrets);
		if (result != credentials[i].result)
			fail_msg("%s %s: %d", credentials[i].auth, credentials[i].plain, result);
	}
	_tool_request_ struct tool_request request = { 0 };
	_tool_secrets_ struct tool_secrets secrets = { 0 };
	assert_int_equal(make("{\"url\":\"http://h/\",\"headers\":{\"authorization\":\"own\"}}", "{}", &request, &err),
			 0);
	/* the example of RFC 7617 §2 */
	assert_int_equal(apply(&keys, "{\"type\":\"basic\"}", "{\"username\":\"Aladdin\",\"password\":\"open sesame\"}",
			       "tool:" TOOL, &request, &secrets),
			 0);
	assert_int_equal(request.headers.count, 1);
	assert_string_equal(request.headers.items[0].value, "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
	wl_master_key_close(keys.master);
}

static void test_redaction(void **state)
{
	(void)state;
	struct tool_secrets secrets = { .forms = { strdup("s3cr\"et/"), strdup("s3cr\"et/longer") }, .count = 2 };
	static const struct {
		const char *before, *after;
	} rows[] = {
		{ "{\"a\":\"s3cr\\\"et\\/\"}", "{\"a\":\"***\"}" },
		{ "{\"a\":\"\\u0073\\u0033cr\\u0022et\\u002f\"}", "{\"a\":\"***\"}" },
		{ "[\"xs3cr\\\"et/longery\",1.5,null]", "[\"x***y\",1.5,null]" },
		{ "{\"s3cr\\\"et/\":{\"b\":[\"s3cr\\\"et/s3cr\\\"et/\"]}}", "{\"***\":{\"b\":[\"******\"]}}" },
		{ "{ \"none\" : 12345678901234567890 }", "{ \"none\" : 12345678901234567890 }" },
		{ "\"s3cr\"", "\"s3cr\"" },
	};
	for (size_t i = 0; i < WL_COUNT_OF(rows); i++) {
		_wl_free_ char *text = strdup(rows[i].before);
		assert_int_equal(tool_secrets_redact(&secrets, &text), 0);
		assert_string_equal(text, rows[i].after);
	}
	char *absent = NULL;
	assert_int_equal(tool_secrets_redact(&secrets, &absent), 0);
	tool_secrets_release(&secrets);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_urls),	    cmocka_unit_test(test_faults),    cmocka_unit_test(test_bodies),
		cmocka_unit_test(test_credentials), cmocka_unit_test(test_redaction),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
