/* What webhooks are made of beside signatures: Prefer, what a request brings, and pauses between tries. */
#include "lib/base/cleanup.h"
#include "scheduler/core/hook_pause.h"
#include "webapp/server/core/prefer.h"
#include "webapp/server/hook_context.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* ---- Prefer ------------------------------------------------------------------------------------------------------ */

static void prefer_is_read_as_rfc_7240_has_it(void **state)
{
	(void)state;
	static const struct {
		const char *header;
		int seconds;
	} rows[] = {
		{ NULL, 0 },
		{ "", 0 },
		{ "wait=5", 5 },
		{ "Wait = 5", 5 },
		{ "wait=\"7\"", 7 },
		{ "respond-async, wait=9", 9 },
		{ "wait=31", 30 },
		{ "wait=99999999999999999999", 30 },
		{ "wait=0", 0 },
		{ "wait=-1", 0 },
		{ "wait=1.5", 0 },
		{ "wait=", 0 },
		{ "wait", 0 },
		{ "wait=5; x=1", 5 },
		{ "x; wait=5", 0 },
		{ "x=\"a, wait=3\", wait=4", 4 },
		{ "wait=5, wait=6", 5 },
		{ "wait=x, wait=6", 0 },
		{ "x=\"\\\",wait=3\"", 0 },
		{ "awaits=3", 0 },
		{ ",, ,wait=2", 2 },
		{ "wait=\"5", 0 },
		{ "\t wait=4 \t", 4 },
		{ "wait==4", 0 },
	};
	for (size_t i = 0; i < WL_COUNT_OF(rows); i++)
		if (web_prefer_wait(rows[i].header) != rows[i].seconds)
			fail_msg("%s: %d, not %d", rows[i].header, web_prefer_wait(rows[i].header), rows[i].seconds);
}

/* ---- what a request brings --------------------------------------------------------------------------------------- */

static void assert_json(struct wl_json *made, const char *text)
{
	_wl_free_ char *printed = wl_json_print(made);
	assert_string_equal(printed, text);
	wl_json_free(made);
}

static void headers_are_lowered_joined_and_kept_secret(void **state)
{
	(void)state;
	const struct web_header headers[] = {
		{ "X-Kind", "a" },
		{ "AUTHORIZATION", "Bearer x" },
		{ "x-kind", "b" },
		{ "Cookie", "s=1" },
		{ "Windlass-Signature", "t=1" },
		{ "Proxy-Authorization", "x" },
		{ "X-Odd", "caf\xe9" },
		{ "Empty", "" },
		{ "caf\xe9", "x" },
		{ "a b", "x" },
		{ "", "x" },
	};
	assert_json(web_hook_headers(headers, WL_COUNT_OF(headers)),
		    "{\"x-kind\":\"a, b\",\"x-odd\":\"caf\xef\xbf\xbd\",\"empty\":\"\"}");
}

static void queries_become_objects(void **state)
{
	(void)state;
	static const struct {
		const char *query, *json;
	} rows[] = {
		{ NULL, "{}" },
		{ "", "{}" },
		{ "&&", "{}" },
		{ "a=1&b=x+y%21&c", "{\"a\":\"1\",\"b\":\"x y!\",\"c\":\"\"}" },
		{ "a=1&a=2&a=3", "{\"a\":[\"1\",\"2\",\"3\"]}" },
		{ "=v&a=b=c", "{\"\":\"v\",\"a\":\"b=c\"}" },
		{ "%61=%C3%BC", "{\"a\":\"\xc3\xbc\"}" },
	};
	static const char *const wrong[] = { "a=%", "a=%4", "a=%zz", "a=%00", "%ff=1", "a=\xff" };
	struct wl_json *made = NULL;
	for (size_t i = 0; i < WL_COUNT_OF(rows); i++) {
		assert_int_equal(web_hook_query(rows[i].query, &made, NULL), 0);
		assert_json(made, rows[i].json);
	}
	for (size_t i = 0; i < WL_COUNT_OF(wrong); i++)
		assert_int_equal(web_hook_query(wrong[i], &made, NULL), -EINVAL);
}

static void bodies_are_json_or_text(void **state)
{
	(void)state;
	static const struct {
		const char *type, *body, *json;
	} rows[] = {
		{ "application/json", "", "null" },
		{ NULL, "", "null" },
		{ "application/json;charset=utf-8", " {\"a\": 1.10} ", "{\"a\":1.1}" },
		{ "application/vnd.x+JSON ; a=b", "[1]", "[1]" },
		{ "text/plain", "[1]", "\"[1]\"" },
		{ NULL, "caf\xc3\xa9", "\"caf\xc3\xa9\"" },
		{ "application/jsonp", "x", "\"x\"" },
		{ "+json", "x", "\"x\"" },
	};
	struct wl_json *made = NULL;
	for (size_t i = 0; i < WL_COUNT_OF(rows); i++) {
		assert_int_equal(web_hook_body(rows[i].type, rows[i].body, strlen(rows[i].body), &made, NULL), 0);
		assert_json(made, rows[i].json);
	}
}

static void bodies_that_are_none_are_refused(void **state)
{
	(void)state;
	struct wl_json *made = NULL;
	struct wl_error err = { 0 };
	assert_int_equal(web_hook_body("application/json", "{", 1, &made, &err), -EINVAL);
	assert_non_null(strstr(err.text, "the body is not JSON"));
	assert_int_equal(web_hook_body("text/plain", "a\0b", 3, &made, &err), -EINVAL);
	assert_int_equal(web_hook_body("text/plain", "\xff", 1, &made, &err), -EINVAL);
	char deep[2 * WL_JSON_DEPTH + 1];
	memset(deep, '[', WL_JSON_DEPTH);
	memset(deep + WL_JSON_DEPTH, ']', WL_JSON_DEPTH);
	assert_int_equal(web_hook_body("application/json", deep, sizeof(deep) - 1, &made, &err), -EINVAL);
}

/* ---- pauses ------------------------------------------------------------------------------------------------------ */

static void pauses_grow_and_are_spread(void **state)
{
	(void)state;
	int64_t total = 0, before = 0;
	for (int attempt = 1; attempt < HOOK_TRIES; attempt++) {
		int64_t least = hook_pause_ms(10000, attempt, 0), most = hook_pause_ms(10000, attempt, 400);
		assert_true(least < most && least * 3 == most * 2);
		assert_true(least >= before && most <= HOOK_PAUSE_MOST_MS * 6 / 5);
		before = least;
		total += hook_pause_ms(10000, attempt, 200);
	}
	assert_int_equal(hook_pause_ms(10000, 1, 200), 10000);
	assert_int_equal(hook_pause_ms(10000, 3, 601), 250000);
	assert_true(total > 22 * 3600 * 1000LL && total < 25 * 3600 * 1000LL);
	assert_int_equal(hook_pause_ms(3600000, 1000, 200), HOOK_PAUSE_MOST_MS);
}

static void tries_end_as_their_answers_say(void **state)
{
	(void)state;
	static const struct {
		long status;
		bool hopeless;
		int attempt;
		const char *outcome;
	} rows[] = {
		{ 200, false, 1, "delivered" },
		{ 299, false, HOOK_TRIES, "delivered" },
		{ 199, false, 1, "retry" },
		{ 301, false, 1, "retry" },
		{ 404, false, 1, "retry" },
		{ 410, false, 1, "gone" },
		{ 500, false, HOOK_TRIES - 1, "retry" },
		{ 500, false, HOOK_TRIES, "failed" },
		{ 0, false, 1, "retry" },
		{ 0, true, 1, "failed" },
	};
	for (size_t i = 0; i < WL_COUNT_OF(rows); i++)
		assert_string_equal(
			hook_outcome_name(hook_outcome_of(rows[i].status, rows[i].hopeless, rows[i].attempt)),
			rows[i].outcome);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(prefer_is_read_as_rfc_7240_has_it),
		cmocka_unit_test(headers_are_lowered_joined_and_kept_secret),
		cmocka_unit_test(queries_become_objects),
		cmocka_unit_test(bodies_are_json_or_text),
		cmocka_unit_test(bodies_that_are_none_are_refused),
		cmocka_unit_test(pauses_grow_and_are_spread),
		cmocka_unit_test(tries_end_as_their_answers_say),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
