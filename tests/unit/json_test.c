#include "lib/base/cleanup.h"
#include "lib/codec/json.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void expect_refused(const char *text, size_t length, const char *part)
{
	struct wl_json *json = NULL;
	struct wl_error err = { 0 };
	assert_int_equal(wl_json_parse(text, length, &json, &err), -EINVAL);
	assert_null(json);
	if (!strstr(err.text, part))
		fail_msg("'%s' should name '%s' (for %s)", err.text, part, text);
}

static void expect_round_trip(const char *text, const char *printed)
{
	struct wl_error err = { 0 };
	_wl_json_ struct wl_json *json = NULL;
	if (wl_json_parse(text, strlen(text), &json, &err) < 0)
		fail_msg("%s: %s", text, err.text);
	_wl_free_ char *out = wl_json_print(json);
	assert_string_equal(out, printed);
	_wl_json_ struct wl_json *copy = wl_json_copy(json);
	_wl_free_ char *again = wl_json_print(copy);
	assert_string_equal(again, printed);
	assert_true(wl_json_equal(json, copy));
}

static void values_come_back_as_they_were(void **state)
{
	(void)state;
	static const char *const same[] = {
		"null",
		"true",
		"false",
		"0",
		"-1",
		"1.5",
		"0.1",
		"\"\"",
		"[]",
		"{}",
		"[[],{},\"a\",null]",
		"{\"a\":{\"b\":[1,2,3]},\"c\":\"\\\"\\\\\\n\"}",
		"9007199254740991",
		"9007199254740992",
		"9007199254740993",
		"123456789012345678901234567890",
		"0.12345678901234567890",
		"1e+300",
		"[-9223372036854775808,18446744073709551615]",
		"\"\xc3\xa4\xf0\x9f\x98\x80\"",
	};
	for (size_t i = 0; i < WL_COUNT_OF(same); i++)
		expect_round_trip(same[i], same[i]);
	expect_round_trip(" \t\r\n[ 1 , 2 ]\n", "[1,2]");
	expect_round_trip("\"\\u00e4\\ud83d\\ude00\\/\"", "\"\xc3\xa4\xf0\x9f\x98\x80/\"");
	expect_round_trip("[1e2,-0.5e1]", "[100,-5]");
}

static void bad_text_is_refused_with_its_place(void **state)
{
	(void)state;
	static const struct {
		const char *text, *part;
	} rows[] = {
		{ "", "line 1 column 1" },
		{ "{\n  \"a\": x}", "line 2 column 8" },
		{ "[1,]", "column 4" },
		{ "{\"a\":1,}", "a key in double quotes" },
		{ "{a:1}", "a key in double quotes" },
		{ "{\"a\" 1}", "a colon" },
		{ "[1 2]", "a comma or ]" },
		{ "[1", "a comma or ]" },
		{ "{\"a\":1", "a comma or }" },
		{ "01", "not a number" },
		{ "1.", "not a number" },
		{ "-", "not a number" },
		{ "1e", "not a number" },
		{ ".5", "a value is expected" },
		{ "+1", "a value is expected" },
		{ "NaN", "a value is expected" },
		{ "1e999", "too large" },
		{ "nul", "a value is expected" },
		{ "1 2", "more text" },
		{ "{} x", "more text" },
		{ "\"a", "no closing quote" },
		{ "\"a\\", "no closing quote" },
		{ "\"\\x\"", "no such escape" },
		{ "\"\\u12g4\"", "four hexadecimal" },
		{ "\"\\u12\"", "four hexadecimal" },
		{ "\"\\u0000\"", "U+0000" },
		{ "\"\\ud800\"", "surrogate" },
		{ "\"\\ude00\"", "surrogate" },
		{ "\"\\ud800\\u0041\"", "surrogate" },
		{ "\"a\nb\"", "control character" },
		{ "\"\xff\"", "not UTF-8" },
		{ "\"\xc0\x80\"", "not UTF-8" },
		{ "\"\xed\xa0\x80\"", "not UTF-8" },
		{ "\"\xf4\x90\x80\x80\"", "not UTF-8" },
		{ "\"\xe2\x82\"", "not UTF-8" },
		{ "\xef\xbb\xbf{}", "a value is expected" },
		{ "{\"a\":1,\"b\":2,\"a\":3}", "the key 'a' twice" },
		{ "{\"a\":1,\"\\u0061\":2}", "the key 'a' twice" },
		{ "// x\n1", "a value is expected" },
	};
	for (size_t i = 0; i < WL_COUNT_OF(rows); i++)
		expect_refused(rows[i].text, strlen(rows[i].text), rows[i].part);
	expect_refused("1\0", 2, "more text");
	expect_refused("\"\0\"", 3, "control character");
}

static void depth_ends_at_64(void **state)
{
	(void)state;
	char text[2 * (WL_JSON_DEPTH + 1) + 1];
	struct wl_json *json = NULL;
	memset(text, '[', WL_JSON_DEPTH);
	memset(text + WL_JSON_DEPTH, ']', WL_JSON_DEPTH);
	assert_int_equal(wl_json_parse(text, (size_t)2 * WL_JSON_DEPTH, &json, NULL), 0);
	wl_json_free(json);
	memset(text, '[', WL_JSON_DEPTH + 1);
	memset(text + WL_JSON_DEPTH + 1, ']', WL_JSON_DEPTH + 1);
	expect_refused(text, sizeof(text) - 1, "64 deep");
}

static void repeated_keys_are_found_in_large_objects(void **state)
{
	(void)state;
	_wl_buffer_ struct wl_buffer text;
	wl_buffer_init(&text, 0);
	wl_buffer_append_char(&text, '{');
	for (int i = 0; i < 100000; i++)
		wl_buffer_appendf(&text, "\"key%d\":%d,", i, i);
	size_t open = text.length;
	wl_buffer_append_text(&text, "\"last\":0}");
	struct wl_json *json = NULL;
	struct wl_error err = { 0 };
	assert_int_equal(wl_json_parse(text.data, text.length, &json, &err), 0);
	assert_int_equal(wl_json_count(json), 100001);
	wl_json_free(json);
	text.length = open;
	wl_buffer_append_text(&text, "\"key77\":0}");
	expect_refused(text.data, text.length, "'key77' twice");
}

static void every_prefix_is_refused_or_read(void **state)
{
	(void)state;
	static const char text[] = "{\"a\":[1.5e3,true,null,\"\\ud83d\\ude00\xc3\xa4\"],\"b\":{\"c\":false}}";
	for (size_t length = 0; length < sizeof(text) - 1; length++) {
		/* a copy of exact size: a read past its end is seen by the sanitizer */
		_wl_free_ char *cut = malloc(length ? length : 1);
		memcpy(cut, text, length);
		expect_refused(cut, length, "line 1 column");
	}
}

static void readers_take_what_is_absent(void **state)
{
	(void)state;
	_wl_json_ struct wl_json *json = NULL;
	static const char text[] = "{\"s\":\"x\",\"n\":2,\"b\":true,\"a\":[1,\"two\"],\"z\":null}";
	assert_int_equal(wl_json_parse(text, strlen(text), &json, NULL), 0);
	assert_string_equal(wl_json_get_string(json, "s", "-"), "x");
	assert_string_equal(wl_json_get_string(json, "n", "-"), "-");
	assert_true(wl_json_get_number(json, "n", 0) == 2);
	assert_true(wl_json_get_bool(json, "b", false));
	assert_true(wl_json_get_bool(json, "s", true));
	assert_string_equal(wl_json_string(wl_json_at(wl_json_get(json, "a"), 1), "-"), "two");
	assert_null(wl_json_at(wl_json_get(json, "a"), 2));
	assert_null(wl_json_get(NULL, "a"));
	assert_null(wl_json_get(json, "A"));
	assert_true(wl_json_is(wl_json_get(json, "z"), WL_JSON_NULL));
	assert_false(wl_json_is(NULL, WL_JSON_NULL));
	assert_int_equal(wl_json_count(json), 5);
	assert_int_equal(wl_json_count(NULL), 0);
	assert_string_equal(wl_json_key(wl_json_next(wl_json_first(json))), "n");
}

static void made_values_print(void **state)
{
	(void)state;
	_wl_json_ struct wl_json *json = wl_json_object();
	assert_int_equal(wl_json_set_string(json, "s", "a\x01\"\xff"), 0);
	assert_int_equal(wl_json_set_string(json, "none", NULL), 0);
	assert_int_equal(wl_json_set_number(json, "n", 0.1 + 0.2), 0);
	assert_int_equal(wl_json_set_number(json, "inf", 1e308 * 10), 0);
	assert_int_equal(wl_json_set_raw(json, "r", "[1,{\"x\":2}]"), 0);
	struct wl_json *array = wl_json_array();
	assert_int_equal(wl_json_append(array, wl_json_new_bool(false)), 0);
	assert_int_equal(wl_json_append(array, NULL), -ENOMEM);
	assert_int_equal(wl_json_set(json, "a", array), 0);
	assert_int_equal(wl_json_set_number(json, "n", 7), 0);
	assert_int_equal(wl_json_set(json, "x", NULL), -ENOMEM);
	_wl_free_ char *text = wl_json_print(json);
	assert_string_equal(text, "{\"s\":\"a\\u0001\\\"\xef\xbf\xbd\",\"none\":null,\"n\":7,\"inf\":null,"
				  "\"r\":[1,{\"x\":2}],\"a\":[false]}");
	_wl_json_ struct wl_json *fraction = wl_json_new_number(0.1 + 0.2);
	_wl_free_ char *digits = wl_json_print(fraction);
	assert_string_equal(digits, "0.30000000000000004");
	_wl_buffer_ struct wl_buffer small;
	wl_buffer_init(&small, 10);
	assert_int_equal(wl_json_write(&small, json), -EMSGSIZE);
}

static bool equal_texts(const char *a, const char *b)
{
	_wl_json_ struct wl_json *left = NULL, *right = NULL;
	assert_int_equal(wl_json_parse(a, strlen(a), &left, NULL), 0);
	assert_int_equal(wl_json_parse(b, strlen(b), &right, NULL), 0);
	return wl_json_equal(left, right);
}

static void equality_ignores_the_order_of_keys(void **state)
{
	(void)state;
	assert_true(equal_texts("{\"a\":1,\"b\":[2]}", "{\"b\":[2.0],\"a\":1}"));
	assert_false(equal_texts("{\"a\":1}", "{\"a\":1,\"b\":2}"));
	assert_false(equal_texts("{\"a\":1}", "{\"b\":1}"));
	assert_false(equal_texts("[1,2]", "[2,1]"));
	assert_false(equal_texts("[1]", "[1,2]"));
	assert_false(equal_texts("9007199254740993", "9007199254740992"));
	assert_false(equal_texts("null", "false"));
	assert_true(equal_texts("\"\\u0061\"", "\"a\""));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(values_come_back_as_they_were),
		cmocka_unit_test(bad_text_is_refused_with_its_place),
		cmocka_unit_test(depth_ends_at_64),
		cmocka_unit_test(repeated_keys_are_found_in_large_objects),
		cmocka_unit_test(every_prefix_is_refused_or_read),
		cmocka_unit_test(readers_take_what_is_absent),
		cmocka_unit_test(made_values_print),
		cmocka_unit_test(equality_ignores_the_order_of_keys),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
