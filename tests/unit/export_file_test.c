/* Files of exports: rows of CSV, lines of the audit log, and how pages become one file. */
#include "lib/base/cleanup.h"
#include "lib/codec/audit_line.h"
#include "lib/codec/csv.h"
#include "lib/codec/yaml.h"
#include "scheduler/export_file.h"
#include "tests/kit/opened.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

/* ---- CSV ----------------------------------------------------------------------------------------------------------
 */

static void expect_cell(const char *json, const char *cell)
{
	static const char *const columns[] = { "a", "b", NULL };
	_wl_buffer_ struct wl_buffer row = { 0 };
	char text[200], expected[200];
	(void)snprintf(text, sizeof(text), "{\"c\":9,\"a\":%s}", json);
	(void)snprintf(expected, sizeof(expected), "%s,\r\n", cell);
	_wl_json_ struct wl_json *object = parsed(text);
	wl_csv_row(&row, object, columns);
	assert_int_equal(row.failed, 0);
	assert_string_equal(row.data, expected);
}

static void test_cells_of_csv(void **state)
{
	(void)state;
	expect_cell("null", "");
	expect_cell("\"\"", "");
	expect_cell("\"plain text\"", "plain text");
	expect_cell("\"a,b\"", "\"a,b\"");
	expect_cell("\"say \\\"so\\\"\"", "\"say \"\"so\"\"\"");
	expect_cell("\"\\\"\"", "\"\"\"\"");
	expect_cell("\"two\\nlines\"", "\"two\nlines\"");
	expect_cell("12.5", "12.5");
	expect_cell("-3", "-3");
	expect_cell("true", "true");
	expect_cell("[1,\"x\"]", "\"[1,\"\"x\"\"]\"");
	expect_cell("{\"n\":1}", "\"{\"\"n\"\":1}\"");
}

static void test_what_a_spreadsheet_would_run_is_text(void **state)
{
	(void)state;
	expect_cell("\"=1+1\"", "'=1+1");
	expect_cell("\"+1\"", "'+1");
	expect_cell("\"-1\"", "'-1");
	expect_cell("\"@SUM(A1)\"", "'@SUM(A1)");
	expect_cell("\"\\tx\"", "'\tx");
	expect_cell("\"\\rx\"", "\"'\rx\"");
	expect_cell("\"=HYPERLINK(\\\"u\\\",\\\"t\\\")\"", "\"'=HYPERLINK(\"\"u\"\",\"\"t\"\")\"");
	expect_cell("\"a=1\"", "a=1");
}

static void test_a_bound_of_memory_is_told(void **state)
{
	(void)state;
	static const char *const columns[] = { "a", NULL };
	_wl_json_ struct wl_json *object = parsed("{\"a\":\"0123456789,0123456789\"}");
	_wl_buffer_ struct wl_buffer row;
	wl_buffer_init(&row, 12);
	wl_csv_row(&row, object, columns);
	assert_int_equal(row.failed, EMSGSIZE);
}

/* ---- the audit log ------------------------------------------------------------------------------------------------
 */

static bool fits(struct wl_audit_filter filter)
{
	_wl_json_ struct wl_json *entry = parsed(
		"{\"seq\":4,\"time\":\"2026-03-01T10:00:00.000000Z\",\"user_id\":\"u\",\"action\":\"flow.update\","
		"\"resource_type\":\"flow\",\"resource_id\":\"f\",\"metadata\":null}");
	return wl_audit_filter_fits(&filter, entry);
}

static void test_filters_of_the_audit_log(void **state)
{
	(void)state;
	assert_true(fits((struct wl_audit_filter){ 0 }));
	assert_true(fits((struct wl_audit_filter){ .from = "", .to = "", .action = "" }));
	assert_true(fits(
		(struct wl_audit_filter){ .action = "flow.update", .user = "u", .type = "flow", .resource = "f" }));
	assert_false(fits((struct wl_audit_filter){ .action = "flow" }));
	assert_false(fits((struct wl_audit_filter){ .user = "v" }));
	assert_false(fits((struct wl_audit_filter){ .type = "crew" }));
	assert_false(fits((struct wl_audit_filter){ .resource = "g" }));
	assert_true(fits((struct wl_audit_filter){ .from = "2026-03-01T10:00:00.000000Z" }));
	assert_false(fits((struct wl_audit_filter){ .from = "2026-03-01T10:00:00.000001Z" }));
	assert_false(fits((struct wl_audit_filter){ .to = "2026-03-01T10:00:00.000000Z" }));
	assert_true(fits((struct wl_audit_filter){ .to = "2026-03-01T10:00:00.000001Z" }));
	assert_false(wl_audit_filter_asks(&(struct wl_audit_filter){ .to = "" }));
	assert_true(wl_audit_filter_asks(&(struct wl_audit_filter){ .resource = "f" }));
}

/* ---- files --------------------------------------------------------------------------------------------------------
 */

static struct export_file begun(const char *kind, const char *format, uint64_t most)
{
	struct export_file file;
	struct wl_error err = { 0 };
	if (export_file_open("", kind, format, most, &file, &err) < 0)
		fail_msg("%s", err.text);
	return file;
}

/* End the file and read it back; the caller's to free. */
static char *ended(struct export_file *file)
{
	struct wl_error err = { 0 };
	assert_int_equal(export_file_end(file, &err), 0);
	char *text = calloc(1, file->size + 1);
	assert_non_null(text);
	assert_int_equal(pread(file->fd, text, file->size + 1, 0), file->size);
	export_file_close(file);
	return text;
}

static void add(struct export_file *file, const char *rows)
{
	struct wl_error err = { 0 };
	_wl_json_ struct wl_json *page = parsed(rows);
	if (export_file_rows(file, page, &err) < 0)
		fail_msg("%s", err.text);
}

#define FLOW(name) "{\"name\":\"" name "\",\"description\":\"\",\"document\":{\"nodes\":[],\"edges\":[]}}"

static void test_flows_of_several_pages_are_one_document(void **state)
{
	(void)state;
	struct export_file file = begun("flows", "json", 10000);
	add(&file, "[" FLOW("a") "," FLOW("b") "]");
	add(&file, "[]");
	add(&file, "[" FLOW("c") "]");
	assert_int_equal(file.entries, 3);
	_wl_free_ char *text = ended(&file);
	_wl_json_ struct wl_json *list = parsed(text);
	assert_int_equal(wl_json_count(list), 3);
	assert_string_equal(wl_json_get_string(wl_json_at(list, 2), "name", ""), "c");
}

static void test_flows_as_yaml_and_as_lines(void **state)
{
	(void)state;
	struct export_file file = begun("flows", "yaml", 10000);
	add(&file, "[" FLOW("a") "]");
	add(&file, "[" FLOW("b") "]");
	_wl_free_ char *yaml = ended(&file);
	const char *second = strstr(yaml, "\n---\n");
	assert_non_null(second);
	assert_null(strstr(second + 1, "\n---\n"));
	_wl_json_ struct wl_json *flow = NULL;
	assert_int_equal(wl_yaml_parse(second + 5, strlen(second + 5), &flow, NULL), 0);
	assert_string_equal(wl_json_get_string(flow, "name", ""), "b");
	file = begun("flows", "ndjson", 10000);
	add(&file, "[" FLOW("a") "," FLOW("b") "]");
	_wl_free_ char *lines = ended(&file);
	assert_string_equal(lines,
			    "{\"name\":\"a\",\"nodes\":[],\"edges\":[]}\n{\"name\":\"b\",\"nodes\":[],\"edges\":[]}\n");
}

static void test_of_nothing_the_frame_is_left(void **state)
{
	(void)state;
	struct export_file file = begun("flows", "json", 100);
	_wl_free_ char *list = ended(&file);
	assert_string_equal(list, "[]\n");
	file = begun("executions", "ndjson", 100);
	_wl_free_ char *nothing = ended(&file);
	assert_string_equal(nothing, "");
	file = begun("audit_log", "csv", 1000);
	_wl_free_ char *heading = ended(&file);
	assert_string_equal(heading,
			    "seq,time,action,resource_type,resource_id,user_id,api_key_id,ip,request_id,metadata\r\n");
}

static void test_entries_are_lines_that_hold_their_very_bytes(void **state)
{
	(void)state;
	char bytes[] = "{\"seq\": 7, \"action\":\"a\\u00e4\"}";
	struct wl_audit_entry entry = { .seq = 7, .entry_json = bytes, .prev = "p", .hash = "h" };
	struct wl_error err = { 0 };
	struct export_file file = begun("audit_log", "ndjson", 1000);
	assert_int_equal(export_file_entry(&file, &entry, NULL, &err), 0);
	_wl_free_ char *text = ended(&file);
	_wl_json_ struct wl_json *line = parsed(text);
	assert_string_equal(wl_json_get_string(line, "entry", ""), bytes);
	assert_string_equal(wl_json_get_string(line, "prev", ""), "p");
	assert_string_equal(wl_json_get_string(line, "hash", ""), "h");
	assert_true(wl_json_get_number(line, "seq", 0) == 7);
}

/* What is larger than a piece in memory goes out meanwhile, and what is larger than the bound is refused then. */
static void test_large_files_are_written_out_and_bounded(void **state)
{
	(void)state;
	struct wl_error err = { 0 };
	struct export_file file = begun("executions", "ndjson", 5u << 20);
	char *row = malloc(1 << 20);
	assert_non_null(row);
	(void)snprintf(row, 32, "[{\"id\":\"");
	memset(row + 8, 'x', 500000);
	(void)strcpy(row + 500008, "\"}]");
	_wl_json_ struct wl_json *page = parsed(row);
	free(row);
	int r = 0;
	for (int i = 0; i < 12 && r == 0; i++) {
		r = export_file_rows(&file, page, &err);
		assert_true(file.text.length < (1 << 20) + 600000);
	}
	assert_int_equal(r, -EFBIG);
	assert_non_null(strstr(err.text, "5 MiB"));
	assert_true(file.size <= 5u << 20);
	export_file_close(&file);
}

static void test_words_and_folders_that_are_none(void **state)
{
	(void)state;
	struct export_file file;
	struct wl_error err = { 0 };
	assert_int_equal(export_file_open("", "flowers", "json", 1, &file, &err), -EINVAL);
	assert_int_equal(export_file_open("", "flows", "xml", 1, &file, &err), -EINVAL);
	assert_int_equal(export_file_open("/no/such/folder", "flows", "json", 1, &file, &err), -ENOENT);
	assert_non_null(strstr(err.text, "/no/such/folder"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cells_of_csv),
		cmocka_unit_test(test_what_a_spreadsheet_would_run_is_text),
		cmocka_unit_test(test_a_bound_of_memory_is_told),
		cmocka_unit_test(test_filters_of_the_audit_log),
		cmocka_unit_test(test_flows_of_several_pages_are_one_document),
		cmocka_unit_test(test_flows_as_yaml_and_as_lines),
		cmocka_unit_test(test_of_nothing_the_frame_is_left),
		cmocka_unit_test(test_entries_are_lines_that_hold_their_very_bytes),
		cmocka_unit_test(test_large_files_are_written_out_and_bounded),
		cmocka_unit_test(test_words_and_folders_that_are_none),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
