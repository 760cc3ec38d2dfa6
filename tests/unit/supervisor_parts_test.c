/* Small parts of what a supervisor does with runs: items of loops, terms of waits, options of runs. */
#include "lib/base/cleanup.h"
#include "supervisor/inner.h"
#include "supervisor/run_options.h"
#include "supervisor/wait_terms.h"
#include "tests/kit/graphs.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void lists_are_cut_into_their_items(void **state)
{
	(void)state;
	static const struct {
		const char *list, *items; /* items with | between them; NULL: it is no list */
	} rows[] = {
		{ "[]", "" },
		{ " [ ] ", "" },
		{ "[1]", "1" },
		{ "[1,-2.50,true,null]", "1|-2.50|true|null" },
		{ "[\"a,]b\",\"\\\"[\",\"\\\\\"]", "\"a,]b\"|\"\\\"[\"|\"\\\\\"" },
		{ "[[1,[2]],{\"k\":[3,{}]},[]]", "[1,[2]]|{\"k\":[3,{}]}|[]" },
		{ "[\"\"]", "\"\"" },
		{ "{}", NULL },
		{ "{\"a\":[1]}", NULL },
		{ "5", NULL },
		{ "\"[1]\"", NULL },
		{ "null", NULL },
	};
	for (size_t i = 0; i < WL_COUNT_OF(rows); i++) {
		struct inner *inner = NULL;
		struct wl_error err = { 0 };
		char items[128] = "";
		int result = inner_of_list(strdup(rows[i].list), 10, 1, &inner, &err);
		if (!rows[i].items) {
			assert_int_equal(result, -EINVAL);
			continue;
		}
		assert_int_equal(result, 0);
		for (int n = 0; n < inner->count; n++) {
			size_t used = strlen(items);
			(void)snprintf(items + used, sizeof(items) - used, "%s%.*s", n ? "|" : "",
				       (int)inner->items[n].length, inner->items[n].text);
		}
		assert_string_equal(items, rows[i].items);
		inner_free(inner);
	}
}

static void items_are_begun_once_and_their_outputs_put_in_order(void **state)
{
	(void)state;
	struct inner *inner = NULL;
	struct wl_error err = { 0 };
	assert_int_equal(inner_of_list(strdup("[1,2,3,4]"), 3, 1, &inner, &err), -EINVAL);
	assert_non_null(strstr(err.text, "4 items, more than the 3"));
	assert_int_equal(inner_of_list(strdup("[1,2,3]"), 3, 1, &inner, &err), 0);
	assert_true(inner_begin(inner, 1));
	assert_false(inner_begin(inner, 1));
	assert_false(inner_begin(inner, 3));
	assert_false(inner_begin(inner, -1));
	assert_int_equal(inner_begin_next(inner), 0);
	assert_int_equal(inner_begin_next(inner), 2);
	assert_int_equal(inner_begin_next(inner), -1);
	assert_int_equal(inner_take_output(inner, 2, strdup("\"c\""), &err), 0);
	assert_int_equal(inner_take_output(inner, 0, strdup("null"), &err), 0);
	assert_int_equal(inner_take_output(inner, 1, strdup("[]"), &err), 0);
	_wl_free_ char *output = inner_output(inner);
	assert_string_equal(output, "[null,[],\"c\"]");
	inner_free(inner);
}

static void outputs_of_a_loop_are_bounded(void **state)
{
	(void)state;
	struct inner *inner = NULL;
	struct wl_error err = { 0 };
	char *half = malloc(NODE_OUTPUT_MAX / 2 + 1);
	memset(half, '1', NODE_OUTPUT_MAX / 2);
	half[NODE_OUTPUT_MAX / 2] = '\0';
	assert_int_equal(inner_of_list(strdup("[1,2]"), 3, 1, &inner, &err), 0);
	assert_int_equal(inner_take_output(inner, 0, strdup(half), &err), 0);
	assert_int_equal(inner_take_output(inner, 1, half, &err), -EMSGSIZE);
	inner_free(inner);
}

static void times_are_read_as_rfc_3339_writes_them(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		int64_t wall_ms; /* -1: it is none */
	} rows[] = {
		{ "1970-01-01T00:00:00Z", 0 },
		{ "2026-01-31T08:00:00Z", 1769846400000 },
		{ "2026-01-31t08:00:00.1z", 1769846400100 },
		{ "2026-01-31T08:00:00.123456789Z", 1769846400123 },
		{ "2026-01-31T09:30:00+01:30", 1769846400000 },
		{ "2026-01-31T06:30:00-01:30", 1769846400000 },
		{ "2028-02-29T00:00:00Z", 1835395200000 },
		{ "2016-12-31T23:59:60Z", 1483228800000 },
		{ "2027-02-29T00:00:00Z", -1 },
		{ "2026-13-01T00:00:00Z", -1 },
		{ "2026-00-01T00:00:00Z", -1 },
		{ "2026-01-00T00:00:00Z", -1 },
		{ "2026-01-01T24:00:00Z", -1 },
		{ "2026-01-01T00:60:00Z", -1 },
		{ "2026-01-01T00:00:61Z", -1 },
		{ "2026-01-01T00:00:00", -1 },
		{ "2026-01-01 00:00:00Z", -1 },
		{ "2026-01-01T00:00:00.Z", -1 },
		{ "2026-01-01T00:00:00+0100", -1 },
		{ "2026-01-01T00:00:00+24:00", -1 },
		{ "2026-01-01T00:00:00Zx", -1 },
		{ "26-01-01T00:00:00Z", -1 },
		{ "", -1 },
		{ "soon", -1 },
	};
	for (size_t i = 0; i < WL_COUNT_OF(rows); i++) {
		int64_t wall_ms = -1;
		int result = wait_read_time(rows[i].text, &wall_ms);
		if (result != (rows[i].wall_ms < 0 ? -EINVAL : 0) || wall_ms != rows[i].wall_ms)
			fail_msg("'%s' gives %d, %lld", rows[i].text, result, (long long)wall_ms);
	}
}

static void terms_of_waits_are_checked(void **state)
{
	(void)state;
	static const struct {
		enum wl_node_kind kind;
		const char *json;
		int result;
	} rows[] = {
		{ WL_KIND_WAIT, "{\"seconds\":1.5}", 0 },
		{ WL_KIND_WAIT, "{\"seconds\":0}", 0 },
		{ WL_KIND_WAIT, "{\"seconds\":-1}", -EINVAL },
		{ WL_KIND_WAIT, "{\"seconds\":\"1\"}", -EINVAL },
		{ WL_KIND_WAIT, "{\"seconds\":null}", -EINVAL },
		{ WL_KIND_WAIT, "{\"seconds\":1e300}", -EINVAL },
		{ WL_KIND_WAIT, "{\"until\":\"2026-01-31T08:00:00Z\"}", 0 },
		{ WL_KIND_WAIT, "{\"until\":5}", -EINVAL },
		{ WL_KIND_WAIT, "{}", -EINVAL },
		{ WL_KIND_APPROVAL, "\"go on?\"", 0 },
		{ WL_KIND_APPROVAL, "{\"a\":1}", 0 },
	};
	struct node_plan plan = { .roles_json = "[\"admin\"]", .expires_s = 60 };
	for (size_t i = 0; i < WL_COUNT_OF(rows); i++) {
		struct wl_wait wait = { 0 };
		struct wl_error err = { 0 };
		if (wait_terms_read(rows[i].kind, &plan, rows[i].json, &wait, &err) != rows[i].result)
			fail_msg("%s: %s", rows[i].json, err.text);
		wl_wait_release(&wait);
	}
	struct wl_wait wait = { 0 };
	struct wl_error err = { 0 };
	assert_int_equal(wait_terms_read(WL_KIND_APPROVAL, &plan, "{\"a\":1}", &wait, &err), 0);
	assert_true(wait.approval && wait.delay_ms == 60000);
	assert_string_equal(wait.message, "{\"a\":1}");
	assert_string_equal(wait.roles_json, "[\"admin\"]");
	wl_wait_release(&wait);
	static char large[APPROVAL_MESSAGE_MAX + 8];
	memset(large, 'x', APPROVAL_MESSAGE_MAX + 1);
	large[0] = large[APPROVAL_MESSAGE_MAX + 1] = '"';
	large[APPROVAL_MESSAGE_MAX + 2] = '\0';
	assert_int_equal(wait_terms_read(WL_KIND_APPROVAL, &plan, large, &wait, &err), 0);
	wl_wait_release(&wait);
	memcpy(large + APPROVAL_MESSAGE_MAX + 1, "x\"", 3);
	assert_int_equal(wait_terms_read(WL_KIND_APPROVAL, &plan, large, &wait, &err), -EINVAL);
	wl_wait_release(&wait);
}

#define EID "\"00000000-0000-7000-8000-0000000000AB\""

static void options_name_nodes_that_are_there(void **state)
{
	(void)state;
	static const struct {
		const char *json, *part; /* part of the sentence; NULL: they are right */
	} rows[] = {
		{ "{\"only\":\"nowhere\"}", "no node 'nowhere'" },
		{ "{\"only\":\"n\"}", "no node 'n'" },
		{ "{\"only\":5}", "no node ''" },
		{ "{\"reuse\":{\"execution_id\":\"x\"}}", "no execution's id" },
		{ "{\"reuse\":{}}", "no execution's id" },
		{ "{\"reuse\":{\"execution_id\":" EID ",\"rerun\":[\"t\",\"zz\"]}}", "no node 'zz'" },
		{ "{\"reuse\":{\"execution_id\":" EID ",\"rerun\":[7]}}", "no node ''" },
		{ "{", "options" },
		{ "{\"only\":\"t\",\"pinned\":true,\"reuse\":{\"execution_id\":" EID ",\"rerun\":[\"t\"]}}", NULL },
	};
	struct wl_flow_graph graph;
	graph_of("s:start t:transform n:note", "s>t", &graph);
	for (size_t i = 0; i < WL_COUNT_OF(rows); i++) {
		struct run_options *options = NULL;
		struct wl_error err = { 0 };
		int result = run_options_read(rows[i].json, &graph, &options, &err);
		if (rows[i].part && (result != -EINVAL || !strstr(err.text, rows[i].part)))
			fail_msg("%s: %d, %s", rows[i].json, result, err.text);
		if (rows[i].part)
			continue;
		assert_int_equal(result, 0);
		assert_true(options->pinned && options->only == 1 && options->rerun[1] && !options->rerun[0]);
		assert_string_equal(options->reuse, "00000000-0000-7000-8000-0000000000ab");
		run_options_free(options);
	}
	static const char *const nothing[] = { "{}", "{\"pinned\":false,\"only\":null,\"reuse\":null}" };
	for (size_t i = 0; i < WL_COUNT_OF(nothing); i++) {
		struct run_options *options = NULL;
		struct wl_error err = { 0 };
		assert_int_equal(run_options_read(nothing[i], &graph, &options, &err), 0);
		assert_null(options);
	}
	wl_flow_graph_release(&graph);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lists_are_cut_into_their_items),
		cmocka_unit_test(items_are_begun_once_and_their_outputs_put_in_order),
		cmocka_unit_test(outputs_of_a_loop_are_bounded),
		cmocka_unit_test(times_are_read_as_rfc_3339_writes_them),
		cmocka_unit_test(terms_of_waits_are_checked),
		cmocka_unit_test(options_name_nodes_that_are_there),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
