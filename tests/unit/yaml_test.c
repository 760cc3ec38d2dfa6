#include "lib/base/cleanup.h"
#include "lib/codec/yaml.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void reads_as(const char *text, const char *expected)
{
	struct wl_error err = { 0 };
	_wl_json_ struct wl_json *json = NULL;
	if (wl_yaml_parse(text, strlen(text), &json, &err) < 0)
		fail_msg("%s: %s", text, err.text);
	_wl_free_ char *printed = wl_json_print(json);
	assert_string_equal(printed, expected);
}

static void refuses(const char *text, size_t length, int code, const char *part)
{
	struct wl_error err = { 0 };
	struct wl_json *json = NULL;
	int result = wl_yaml_parse(text, length, &json, &err);
	assert_null(json);
	if (result != -code || !strstr(err.text, part))
		fail_msg("%.80s: %d '%s' should be %d and name '%s'", text, result, err.text, -code, part);
}

static void documents_become_json(void **state)
{
	(void)state;
	static const char *const rows[][2] = {
		{ "a: 1\nb: [x, 'y', \"z\\n\"]\nc:\n  - d: true\n  - ~\n",
		  "{\"a\":1,\"b\":[\"x\",\"y\",\"z\\n\"],\"c\":[{\"d\":true},null]}" },
		{ "[null, Null, ~, true, FALSE, yes, no, on, 'true']",
		  "[null,null,null,true,false,\"yes\",\"no\",\"on\",\"true\"]" },
		{ "[1, -2, +3, 007, 0x1F, 0o17, 1.5, .5, 1., 1e3, 0, 12345678901234567890, 1_000, 0b1, 1.2.3]",
		  "[1,-2,3,7,31,15,1.5,0.5,1,1000,0,12345678901234567890,\"1_000\",\"0b1\",\"1.2.3\"]" },
		{ "!!str 12", "\"12\"" },
		{ "! 12", "\"12\"" },
		{ "!!int \"12\"", "12" },
		{ "|\n  print(1)\n  print(2)\n", "\"print(1)\\nprint(2)\\n\"" },
		{ ">\n  a\n  b\n", "\"a b\\n\"" },
		{ "a: &x {k: [1]}\nb: *x\n", "{\"a\":{\"k\":[1]},\"b\":{\"k\":[1]}}" },
		{ "- &x 1\n- &x 2\n- *x\n", "[1,2,2]" },
		{ "1: a\ntrue: b\n", "{\"1\":\"a\",\"true\":\"b\"}" },
		{ "--- \na: b\n...\n", "{\"a\":\"b\"}" },
		{ "{\"a\": [1, {\"b\": null}]}", "{\"a\":[1,{\"b\":null}]}" },
		{ "\xef\xbb\xbf"
		  "a: \xc3\xa4",
		  "{\"a\":\"\xc3\xa4\"}" },
		{ "2026-01-01", "\"2026-01-01\"" },
		{ "if: \"{{ .inputs.n > 3 }}\"", "{\"if\":\"{{ .inputs.n > 3 }}\"}" },
	};
	for (size_t i = 0; i < WL_COUNT_OF(rows); i++)
		reads_as(rows[i][0], rows[i][1]);
}

static void bad_documents_are_refused(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		int code;
		const char *part;
	} rows[] = {
		{ "", EINVAL, "no document" },
		{ "a: [1, 2", EINVAL, "line 2" },
		{ "a: 1\n b: 2\n", EINVAL, "line 2" },
		{ "a: 1\na: 2\n", EINVAL, "'a' twice" },
		{ "? [a]\n: 1\n", EINVAL, "a key must be" },
		{ "<<: {a: 1}\n", EINVAL, "merge keys" },
		{ "a: *x\n", EINVAL, "no anchor" },
		{ "&x [*x]\n", EINVAL, "inside its own anchor" },
		{ "a\n--- \nb\n", EINVAL, "more than one document" },
		{ ".inf", EINVAL, "infinite" },
		{ "[-.INF]", EINVAL, "infinite" },
		{ "1e999", EINVAL, "too large" },
		{ "!!binary aGk=", EINVAL, "tags" },
		{ "!mine {a: 1}", EINVAL, "tags" },
		{ "!!python/object:os.system x", EINVAL, "tags" },
		{ "\"a\\0b\"", EINVAL, "U+0000" },
		{ "\"\\0\": 1", EINVAL, "U+0000" },
		{ "a: \xff", EINVAL, "byte 3" },
		{ "\t- a", EINVAL, "line 1" },
	};
	for (size_t i = 0; i < WL_COUNT_OF(rows); i++)
		refuses(rows[i].text, strlen(rows[i].text), rows[i].code, rows[i].part);
	refuses("a\0b", 3, EINVAL, "byte 1");
}

static void size_depth_and_aliases_are_bounded(void **state)
{
	(void)state;
	_wl_buffer_ struct wl_buffer text;
	wl_buffer_init(&text, 0);
	for (int i = 0; i < 200; i++)
		wl_buffer_append_char(&text, '[');
	refuses(text.data, text.length, EINVAL, "64 deep");
	wl_buffer_clear(&text);
	wl_buffer_append_text(&text, "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n");
	for (int i = 1; i < 12; i++)
		wl_buffer_appendf(&text, "a%d: &a%d [*a%d,*a%d,*a%d,*a%d,*a%d,*a%d,*a%d,*a%d,*a%d,*a%d]\n", i, i, i - 1,
				  i - 1, i - 1, i - 1, i - 1, i - 1, i - 1, i - 1, i - 1, i - 1);
	refuses(text.data, text.length, E2BIG, "too many values");
	wl_buffer_clear(&text);
	wl_buffer_append_text(&text, "a0: &a0 [1]\n");
	for (int i = 1; i < 80; i++)
		wl_buffer_appendf(&text, "a%d: &a%d [*a%d]\n", i, i, i - 1);
	refuses(text.data, text.length, EINVAL, "64 deep");
	wl_buffer_clear(&text);
	for (int i = 0; i < 1001; i++)
		wl_buffer_appendf(&text, "- &a%d 1\n", i);
	refuses(text.data, text.length, E2BIG, "1000 anchors");
	size_t length = WL_YAML_MAX + 1;
	_wl_free_ char *large = malloc(length);
	memset(large, 'a', length);
	refuses(large, length, E2BIG, "at most 10 MiB");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(documents_become_json),
		cmocka_unit_test(bad_documents_are_refused),
		cmocka_unit_test(size_depth_and_aliases_are_bounded),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
