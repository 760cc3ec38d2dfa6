/* Differences between flow documents: one row a case. */
#include "lib/base/cleanup.h"
#include "lib/codec/flow_diff.h"
#include "tests/kit/opened.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define NODES(text) "{\"nodes\":[" text "],\"edges\":[]}"
#define EDGES(text) "{\"nodes\":[],\"edges\":[" text "]}"
#define NO_EDGES "\"edges\":{\"added\":[],\"removed\":[]}"
#define SAME_SCHEMAS "\"input_schema_changed\":false,\"output_schema_changed\":false"

static const struct {
	const char *before, *after, *expected;
} cases[] = {
	{ NODES(""), NODES(""),
	  "{\"nodes\":{\"added\":[],\"removed\":[],\"changed\":[]}," NO_EDGES ",\"moved\":[]," SAME_SCHEMAS "}" },
	/* added, removed, and one that stays */
	{ NODES("{\"id\":\"a\",\"type\":\"start\"},{\"id\":\"b\",\"type\":\"note\"}"),
	  NODES("{\"id\":\"c\",\"type\":\"join\"},{\"id\":\"a\",\"type\":\"start\"}"),
	  "{\"nodes\":{\"added\":[{\"id\":\"c\",\"type\":\"join\"}],\"removed\":[{\"id\":\"b\",\"type\":\"note\"}],"
	  "\"changed\":[]}," NO_EDGES ",\"moved\":[]," SAME_SCHEMAS "}" },
	/* fields: scalar, deep, array element, added, removed, of another type */
	{ NODES("{\"id\":\"a\",\"type\":\"code\",\"data\":{\"source\":\"1\",\"limits\":{\"cpu\":1},\"gone\":true,"
		"\"list\":[1,{\"x\":2},3],\"kind\":[1]}}"),
	  NODES("{\"id\":\"a\",\"type\":\"code\",\"data\":{\"source\":\"2\",\"limits\":{\"cpu\":2},\"new\":null,"
		"\"list\":[1,{\"x\":5}],\"kind\":{\"y\":1}}}"),
	  "{\"nodes\":{\"added\":[],\"removed\":[],\"changed\":[{\"id\":\"a\",\"fields\":["
	  "{\"path\":\"data.source\",\"from\":\"1\",\"to\":\"2\"},"
	  "{\"path\":\"data.limits.cpu\",\"from\":1,\"to\":2},"
	  "{\"path\":\"data.gone\",\"from\":true,\"to\":null},"
	  "{\"path\":\"data.list[1].x\",\"from\":2,\"to\":5},"
	  "{\"path\":\"data.list[2]\",\"from\":3,\"to\":null},"
	  "{\"path\":\"data.kind\",\"from\":[1],\"to\":{\"y\":1}},"
	  "{\"path\":\"data.new\",\"from\":null,\"to\":null}]}]}," NO_EDGES ",\"moved\":[]," SAME_SCHEMAS "}" },
	/* another type, and a member that came or went beside data */
	{ NODES("{\"id\":\"a\",\"type\":\"code\",\"parentId\":\"l\"}"),
	  NODES("{\"id\":\"a\",\"type\":\"http\",\"data\":{}}"),
	  "{\"nodes\":{\"added\":[],\"removed\":[],\"changed\":[{\"id\":\"a\",\"fields\":["
	  "{\"path\":\"type\",\"from\":\"code\",\"to\":\"http\"},{\"path\":\"parentId\",\"from\":\"l\",\"to\":null},"
	  "{\"path\":\"data\",\"from\":null,\"to\":{}}]}]}," NO_EDGES ",\"moved\":[]," SAME_SCHEMAS "}" },
	/* moved only; moved and changed counts as changed; what a display keeps is nothing; order of keys is nothing */
	{ NODES("{\"id\":\"a\",\"type\":\"note\",\"position\":{\"x\":1,\"y\":2}},"
		"{\"id\":\"b\",\"type\":\"note\",\"position\":{\"x\":1,\"y\":2},\"data\":{\"text\":\"t\"}},"
		"{\"id\":\"c\",\"type\":\"note\",\"selected\":true,\"measured\":{\"width\":1}},"
		"{\"id\":\"d\",\"type\":\"note\",\"position\":{\"x\":1,\"y\":2}},"
		"{\"id\":\"e\",\"type\":\"note\"}"),
	  NODES("{\"id\":\"a\",\"type\":\"note\",\"position\":{\"x\":1,\"y\":3}},"
		"{\"id\":\"b\",\"type\":\"note\",\"position\":{\"x\":9,\"y\":2},\"data\":{\"text\":\"u\"}},"
		"{\"id\":\"c\",\"type\":\"note\",\"selected\":false},"
		"{\"id\":\"d\",\"position\":{\"y\":2,\"x\":1},\"type\":\"note\"},"
		"{\"id\":\"e\",\"type\":\"note\",\"width\":10}"),
	  "{\"nodes\":{\"added\":[],\"removed\":[],\"changed\":[{\"id\":\"b\",\"fields\":["
	  "{\"path\":\"data.text\",\"from\":\"t\",\"to\":\"u\"}]}]}," NO_EDGES ",\"moved\":[\"a\",\"e\"]," SAME_SCHEMAS
	  "}" },
	/* edges: by their ends; a null handle is none, another id is nothing */
	{ EDGES("{\"id\":\"1\",\"source\":\"a\",\"target\":\"b\",\"sourceHandle\":null},"
		"{\"id\":\"2\",\"source\":\"c\",\"target\":\"d\",\"sourceHandle\":\"true\"}"),
	  EDGES("{\"id\":\"9\",\"source\":\"a\",\"target\":\"b\"},"
		"{\"id\":\"2\",\"source\":\"c\",\"target\":\"d\",\"sourceHandle\":\"false\"}"),
	  "{\"nodes\":{\"added\":[],\"removed\":[],\"changed\":[]},\"edges\":{"
	  "\"added\":[{\"id\":\"2\",\"source\":\"c\",\"target\":\"d\",\"sourceHandle\":\"false\"}],"
	  "\"removed\":[{\"id\":\"2\",\"source\":\"c\",\"target\":\"d\",\"sourceHandle\":\"true\"}]},\"moved\":[]"
	  "," SAME_SCHEMAS "}" },
	/* schemas */
	{ "{\"nodes\":[],\"edges\":[],\"input_schema\":{\"a\":1,\"b\":2},\"output_schema\":{}}",
	  "{\"nodes\":[],\"edges\":[],\"input_schema\":{\"b\":2,\"a\":1}}",
	  "{\"nodes\":{\"added\":[],\"removed\":[],\"changed\":[]}," NO_EDGES
	  ",\"moved\":[],\"input_schema_changed\":false,\"output_schema_changed\":true}" },
	/* ids and keys that would break JSON or a path are only text */
	{ NODES("{\"id\":\"a\",\"type\":\"note\",\"data\":{\"x\\\"y\":1}}"),
	  NODES("{\"id\":\"a\",\"type\":\"note\",\"data\":{\"x\\\"y\":2}}"),
	  "{\"nodes\":{\"added\":[],\"removed\":[],\"changed\":[{\"id\":\"a\",\"fields\":["
	  "{\"path\":\"data.x\\\"y\",\"from\":1,\"to\":2}]}]}," NO_EDGES ",\"moved\":[]," SAME_SCHEMAS "}" },
};

static char *diff_of(const struct wl_json *before, const struct wl_json *after)
{
	_wl_buffer_ struct wl_buffer out = { 0 };
	struct wl_error err = { 0 };
	wl_buffer_append_char(&out, '{');
	if (wl_flow_diff(before, after, &out, &err) < 0)
		fail_msg("%s", err.text);
	wl_buffer_append_char(&out, '}');
	return wl_buffer_steal(&out);
}

static void differences_are_told_by_meaning(void **state)
{
	(void)state;
	for (size_t i = 0; i < WL_COUNT_OF(cases); i++) {
		_wl_json_ struct wl_json *before = parsed(cases[i].before);
		_wl_json_ struct wl_json *after = parsed(cases[i].after);
		_wl_free_ char *found = diff_of(before, after);
		_wl_json_ struct wl_json *valid = parsed(found);
		assert_non_null(valid);
		if (strcmp(found, cases[i].expected) != 0)
			fail_msg("case %zu: %s\nshould be %s", i, found, cases[i].expected);
	}
}

/* What one way adds, the other way removes; and nothing differs from itself. */
static void both_ways_agree(void **state)
{
	(void)state;
	for (size_t i = 0; i < WL_COUNT_OF(cases); i++) {
		_wl_json_ struct wl_json *before = parsed(cases[i].before);
		_wl_json_ struct wl_json *after = parsed(cases[i].after);
		_wl_free_ char *there = diff_of(before, after);
		_wl_free_ char *back = diff_of(after, before);
		_wl_free_ char *self = diff_of(before, before);
		_wl_json_ struct wl_json *forth_json = parsed(there);
		_wl_json_ struct wl_json *back_json = parsed(back);
		static const char *const lists[] = { "nodes", "edges" };
		for (size_t n = 0; n < WL_COUNT_OF(lists); n++) {
			const struct wl_json *forth = wl_json_get(forth_json, lists[n]);
			const struct wl_json *backwards = wl_json_get(back_json, lists[n]);
			assert_true(wl_json_equal(wl_json_get(forth, "added"), wl_json_get(backwards, "removed")));
			assert_true(wl_json_equal(wl_json_get(forth, "removed"), wl_json_get(backwards, "added")));
		}
		assert_string_equal(self, cases[0].expected);
	}
}

static void a_buffer_that_is_full_is_an_error(void **state)
{
	(void)state;
	_wl_json_ struct wl_json *before = parsed(cases[2].before);
	_wl_json_ struct wl_json *after = parsed(cases[2].after);
	struct wl_error err;
	for (size_t limit = 1; limit < strlen(cases[2].expected) - 2; limit += 7) {
		_wl_buffer_ struct wl_buffer out;
		wl_buffer_init(&out, limit);
		assert_true(wl_flow_diff(before, after, &out, &err) < 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(differences_are_told_by_meaning),
		cmocka_unit_test(both_ways_agree),
		cmocka_unit_test(a_buffer_that_is_full_is_an_error),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
