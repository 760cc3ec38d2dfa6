#include "lib/base/cleanup.h"
#include "lib/codec/json_schema.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static struct wl_flow_faults faults;

static struct wl_json_schema *compiled(const char *text)
{
	struct wl_json_schema *schema = NULL;
	struct wl_error err = { 0 };
	if (wl_json_schema_compile(text, strlen(text), &schema, &err) < 0)
		fail_msg("%s: %s", text, err.text);
	return schema;
}

static void faults_name_place_and_reason(void **state)
{
	(void)state;
	static const struct {
		const char *schema, *value, *path, *text;
	} rows[] = {
		{ "{\"type\":\"string\"}", "1", "in", "the value must be of type string" },
		{ "{\"properties\":{\"a\":{\"items\":{\"type\":[\"string\",\"null\"]}}}}", "{\"a\":[null,1]}",
		  "in.a[1]", "the value must be of type string or null" },
		{ "{\"required\":[\"x\"]}", "{}", "in", "the field 'x' is missing" },
		{ "{\"properties\":{},\"additionalProperties\":false}", "{\"a:'b\":1}", "in.a:'b",
		  "there is no field 'a:'b' here" },
		{ "{\"enum\":[\"a\",\"b\",\"c\"]}", "1", "in", "the value must be one of a, b or c" },
		{ "{\"enum\":[1]}", "2", "in", "this is none of the allowed values" },
		{ "{\"minimum\":1.5}", "1", "in", "Expected number greater than or equal to 1.5" },
		{ "{\"additionalProperties\":{\"maximum\":9}}", "{\"k\":10}", "in.k",
		  "Expected number less than or equal to 9" },
		{ "{\"pattern\":\"^a\"}", "\"b\"", "in", "the text does not have the required form" },
		{ "false", "1", "in", "" },
	};
	for (size_t i = 0; i < WL_COUNT_OF(rows); i++) {
		struct wl_json_schema *schema = compiled(rows[i].schema);
		faults.count = faults.skipped = 0;
		assert_int_equal(
			wl_json_schema_check(schema, rows[i].value, strlen(rows[i].value), "in", &faults, NULL), 1);
		assert_int_equal(faults.count, 1);
		assert_string_equal(faults.items[0].path, rows[i].path);
		if (!strstr(faults.items[0].text, rows[i].text))
			fail_msg("'%s' should be '%s'", faults.items[0].text, rows[i].text);
		wl_json_schema_free(schema);
	}
}

static void what_fits_has_no_faults(void **state)
{
	(void)state;
	static const char *const rows[][2] = {
		{ "{}", "{\"any\":[1]}" },
		{ "true", "1" },
		{ "{\"type\":\"integer\"}", "-7" },
		{ "{\"definitions\":{\"d\":{\"type\":\"string\"}},\"properties\":{\"a\":{\"$ref\":\"#/definitions/"
		  "d\"}}}",
		  "{\"a\":\"x\"}" },
		{ "{\"if\":{\"required\":[\"a\"]},\"then\":{\"required\":[\"b\"]}}", "{\"a\":1,\"b\":2}" },
	};
	for (size_t i = 0; i < WL_COUNT_OF(rows); i++) {
		struct wl_json_schema *schema = compiled(rows[i][0]);
		faults.count = faults.skipped = 0;
		assert_int_equal(wl_json_schema_check(schema, rows[i][1], strlen(rows[i][1]), "", &faults, NULL), 0);
		assert_int_equal(faults.count, 0);
		wl_json_schema_free(schema);
	}
}

static void wrong_schemas_are_refused(void **state)
{
	(void)state;
	static const char *const rows[] = {
		"",
		"{",
		"5",
		"[]",
		"{\"type\":5}",
		"{\"$ref\":\"http://127.0.0.1:1/x\"}",
		"{\"$ref\":\"#/none\"}",
		"{\"properties\":[]}",
		"{\"minLength\":-1}",
		"{\"enum\":5}",
		"{\"items\":{\"pattern\":\"(\"}}",
		"{\"patternProperties\":{\"[\":{}}}",
	};
	for (size_t i = 0; i < WL_COUNT_OF(rows); i++) {
		struct wl_json_schema *schema = NULL;
		struct wl_error err = { 0 };
		if (wl_json_schema_compile(rows[i], strlen(rows[i]), &schema, &err) != -EINVAL)
			fail_msg("'%s' is no schema", rows[i]);
		assert_null(schema);
		assert_true(*err.text);
	}
	_wl_free_ char *deep = malloc(1000);
	for (int i = 0; i < 100; i++)
		memcpy(deep + (ptrdiff_t)i * 7, "{\"not\":", 7);
	struct wl_json_schema *schema = NULL;
	assert_int_equal(wl_json_schema_compile(deep, 700, &schema, NULL), -EINVAL);
}

static void wrong_values_are_refused(void **state)
{
	(void)state;
	struct wl_json_schema *schema = compiled("{}");
	static const char *const rows[] = { "", "{", "1 2", "\"\xff\"" };
	for (size_t i = 0; i < WL_COUNT_OF(rows); i++)
		assert_int_equal(wl_json_schema_check(schema, rows[i], strlen(rows[i]), "", &faults, NULL), -EINVAL);
	wl_json_schema_free(schema);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(faults_name_place_and_reason),
		cmocka_unit_test(what_fits_has_no_faults),
		cmocka_unit_test(wrong_schemas_are_refused),
		cmocka_unit_test(wrong_values_are_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
