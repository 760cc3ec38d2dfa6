/* Crews' texts: names in braces, the text form of tool calls, JSON as models write it, coworkers' names, passages. */
#include "lib/crew/interpolate.h"
#include "lib/crew/json_repair.h"
#include "lib/crew/passages.h"
#include "lib/crew/react.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static const struct {
	const char *text, *filled; /* NULL: a name has no value */
} fillings[] = {
	{ "", "" },
	{ "no braces", "no braces" },
	{ "{a}{a} {b}", "textual {b}textual {b} 1.5" },
	{ "{list} {object} {yes}", "[1,\"x\"] {\"k\":null} true" },
	{ "{\"a\": {\"b\": 1}}", "{\"a\": {\"b\": 1}}" },
	{ "{ a} {a } {1a} {} {a.b} {a", "{ a} {a } {1a} {} {a.b} {a" },
	{ "{{a}}", "{textual {b}}" },
	{ "{a{b}", "{a1.5" },
	{ "{with-dash_9}", "d" },
	{ "\xc3\xa4{a}\xe2\x82\xac", "\xc3\xa4textual {b}\xe2\x82\xac" },
	{ "{missing}", NULL },
	{ "{nothing}", NULL },
	{ "{A}", NULL },
};

static void names_are_filled_in(void **state)
{
	(void)state;
	_wl_json_ struct wl_json *inputs = NULL;
	static const char given[] =
		"{\"a\":\"textual {b}\",\"b\":1.5,\"list\":[1,\"x\"],\"object\":{\"k\":null},\"yes\":true,"
		"\"with-dash_9\":\"d\",\"nothing\":null}";
	assert_int_equal(wl_json_parse(given, strlen(given), &inputs, NULL), 0);
	for (size_t i = 0; i < WL_COUNT_OF(fillings); i++) {
		_wl_free_ char *filled = NULL, *same = NULL;
		struct wl_error err = { 0 };
		int code = wl_crew_interpolate(fillings[i].text, inputs, &filled, &err);
		if (fillings[i].filled ? code != 0 || strcmp(filled, fillings[i].filled) != 0
				       : code != -EINVAL || !strstr(err.text, "no value for {"))
			fail_msg("%s: %d %s %s", fillings[i].text, code, filled, err.text);
		assert_int_equal(wl_crew_interpolate(fillings[i].text, NULL, &same, &err), 0);
		assert_string_equal(same, fillings[i].text);
	}
	char name[300] = "{";
	memset(name + 1, 'x', 250);
	name[251] = '}';
	_wl_free_ char *filled = NULL;
	assert_int_equal(wl_crew_interpolate(name, inputs, &filled, NULL), -EINVAL);
}

/* ---- the text form --------------------------------------------------------------------------------------- */

#define ACTION WL_CREW_REACT_ACTION
#define FINAL WL_CREW_REACT_FINAL
#define NO_ACTION WL_CREW_REACT_NO_ACTION
#define NO_INPUT WL_CREW_REACT_NO_INPUT

static const struct {
	const char *text;
	enum wl_crew_react_kind kind;
	const char *first, *second; /* tool and input, or the answer */
} turns[] = {
	{ "Thought: x\nAction: search\nAction Input: {\"q\": 1}", ACTION, "search", "{\"q\": 1}" },
	{ "Action:search\nAction Input:{}", ACTION, "search", "{}" },
	{ "Action 1: search\nAction 1 Input 1: {}", ACTION, "search", "{}" },
	{ "Action : `search` \nAction Input : {\n\"a\": 1\n}\n", ACTION, "search", "{\n\"a\": 1\n}" },
	{ "Action: *a tool*\n\n\nAction Input: x\nObservation: y\nFinal Answer: z", ACTION, "a tool", "x" },
	{ "Action: a\nAction Input: b\nAction: c\nAction Input: d", ACTION, "a", "b\nAction: c\nAction Input: d" },
	{ "Action:\nAction Input:", ACTION, "", "" },
	{ "Final Answer: 42", FINAL, "42", NULL },
	{ "Thought: x\nFinal Answer:\n\n 4 \n 2 \n", FINAL, "4 \n 2", NULL },
	{ "Action: a\nAction Input: b\nFinal Answer: c", FINAL, "c", NULL },
	{ "Final Answer: a Final Answer: b", FINAL, "b", NULL },
	{ "Final Answer: a\nObservation: b", FINAL, "a", NULL },
	{ "Final Answer: text\n```", FINAL, "text", NULL },
	{ "Final Answer: ```\ncode\n```", FINAL, "```\ncode\n```", NULL },
	{ "Final Answer:", FINAL, "", NULL },
	{ "", NO_ACTION, NULL, NULL },
	{ "Thought: hm", NO_ACTION, NULL, NULL },
	{ "final answer: 42", NO_ACTION, NULL, NULL },
	{ "Action Input: {}", NO_ACTION, NULL, NULL },
	{ "Actions: none", NO_ACTION, NULL, NULL },
	{ "\nObservation: Final Answer: x", NO_ACTION, NULL, NULL },
	{ "Action: search", NO_INPUT, NULL, NULL },
	{ "Action: search\nInput: {}", NO_INPUT, NULL, NULL },
};

static bool same(const char *expected, const char *text, size_t length)
{
	return strlen(expected) == length && memcmp(expected, text, length) == 0;
}

static void the_text_form_is_read(void **state)
{
	(void)state;
	for (size_t i = 0; i < WL_COUNT_OF(turns); i++) {
		struct wl_crew_react read = wl_crew_react_read(turns[i].text, strlen(turns[i].text));
		bool good = read.kind == turns[i].kind;
		if (good && read.kind == ACTION)
			good = same(turns[i].first, read.action, read.action_length) &&
			       same(turns[i].second, read.input, read.input_length);
		if (good && read.kind == FINAL)
			good = same(turns[i].first, read.answer, read.answer_length);
		if (!good)
			fail_msg("%zu %s: kind %d, %.*s", i, turns[i].text, (int)read.kind, (int)read.action_length,
				 read.action ? read.action : "");
	}
}

/* ---- JSON ------------------------------------------------------------------------------------------------ */

static const struct {
	const char *text, *json; /* NULL: it cannot be made out */
} repairs[] = {
	{ "{\"a\":1}", "{\"a\":1}" },
	{ "Here you are:\n```json\n{\"a\": [1, 2]}\n```\nThat is it.", "{\"a\":[1,2]}" },
	{ "{'a': 'it''s', \"b\": 'say \"x\"'}", "{\"a\":\"it''s\",\"b\":\"say \\\"x\\\"\"}" },
	{ "{a: 1, b-c: two, \"d\": True, e: None, f: NaN}",
	  "{\"a\":1,\"b-c\":\"two\",\"d\":true,\"e\":null,\"f\":null}" },
	{ "{\"a\": 1,}", "{\"a\":1}" },
	{ "[1, 2,, 3,]", "[1,2,3]" },
	{ "{\"a\": 1 \"b\": 2}", "{\"a\":1,\"b\":2}" },
	{ "{\"a\": {\"b\": [1, 2", "{\"a\":{\"b\":[1,2]}}" },
	{ "{\"a\": \"no end", "{\"a\":\"no end\"}" },
	{ "{\"a\":", "{\"a\":null}" },
	{ "{\"a\", \"b\": 1}", "{\"a\":null,\"b\":1}" },
	{ "{\"a\": \"line\nbreak\ttab\"}", "{\"a\":\"line\\nbreak\\ttab\"}" },
	{ "{\"a\": \"a \"quoted\" word\"}", "{\"a\":\"a \\\"quoted\\\" word\"}" },
	{ "{\"path\": \"C:\\new\\x\"}", "{\"path\":\"C:\\new\\\\x\"}" },
	{ "{// a comment\n\"a\": 1, /* another */ # and one\n\"b\": 2}", "{\"a\":1,\"b\":2}" },
	{ "{\"a\": [1, 2}", "{\"a\":[1,2]}" },
	{ "{\"a\": 1]}", "{\"a\":1}" },
	{ "{\"a\": 007, \"b\": 1.5e3, \"c\": -1, \"d\": 1-2}", "{\"a\":\"007\",\"b\":1.5e3,\"c\":-1,\"d\":\"1-2\"}" },
	{ "{\"\xc3\xa4\": \"\xe2\x82\xac\"}", "{\"\xc3\xa4\":\"\xe2\x82\xac\"}" },
	{ "{a = 1}", "{\"a\":1}" },
	{ "[", "[]" },
	{ "{", "{}" },
	{ "", NULL },
	{ "no JSON at all", NULL },
	{ "{\"a\": 1, \"a\": 2}", NULL },
	{ "{{\"a\": 1}}", NULL },
	{ "{\"a\": %}", NULL },
	{ "{: 1}", NULL },
};

static void json_of_models_is_set_right(void **state)
{
	(void)state;
	for (size_t i = 0; i < WL_COUNT_OF(repairs); i++) {
		_wl_json_ struct wl_json *json = NULL, *expected = NULL;
		struct wl_error err = { 0 };
		int code = wl_crew_repair_json(repairs[i].text, strlen(repairs[i].text), &json, &err);
		_wl_free_ char *text = json ? wl_json_print(json) : NULL;
		if (repairs[i].json)
			assert_int_equal(wl_json_parse(repairs[i].json, strlen(repairs[i].json), &expected, &err), 0);
		if (repairs[i].json ? code != 0 || !wl_json_equal(json, expected) : code != -EINVAL || !*err.text)
			fail_msg("%s: %d %s %s", repairs[i].text, code, text ? text : "", err.text);
	}
}

static void a_repair_has_bounds(void **state)
{
	(void)state;
	struct wl_json *json = NULL;
	static char deep[WL_CREW_REPAIR_MAX + 1];
	memset(deep, '[', sizeof(deep));
	assert_int_equal(wl_crew_repair_json(deep, WL_JSON_DEPTH + 1, &json, NULL), -EINVAL);
	assert_int_equal(wl_crew_repair_json(deep, sizeof(deep), &json, NULL), -EMSGSIZE);
	memset(deep + 1, '"', sizeof(deep) - 1);
	(void)wl_crew_repair_json(deep, WL_CREW_REPAIR_MAX, &json, NULL);
	wl_json_free(json);
}

/* ---- names, passages ------------------------------------------------------------------------------------- */

static void coworkers_are_found_however_they_are_written(void **state)
{
	(void)state;
	assert_true(wl_crew_same_coworker("Senior Writer", "Senior Writer"));
	assert_true(wl_crew_same_coworker(" \"senior   WRITER\"\n", "Senior Writer"));
	assert_true(wl_crew_same_coworker("'SeniorWriter'", "Senior\nWriter\n"));
	assert_false(wl_crew_same_coworker("Senior", "Senior Writer"));
	assert_false(wl_crew_same_coworker("Senior Writers", "Senior Writer"));
	assert_false(wl_crew_same_coworker("", "x"));
}

static void texts_are_cut_at_words(void **state)
{
	(void)state;
	struct crew_passages passages = { 0 };
	_wl_buffer_ struct wl_buffer text = { 0 };
	for (int i = 0; i < 1000; i++)
		(void)wl_buffer_appendf(&text, "w\xc3\xb6rd%d ", i);
	assert_int_equal(wl_crew_passages_cut(&passages, text.data, 2), 0);
	assert_true(passages.count > 4);
	assert_true(passages.items[0].head && passages.items[1].head && !passages.items[2].head);
	for (size_t i = 0; i < passages.count; i++) {
		assert_true(strlen(passages.items[i].text) <= CREW_PASSAGE_BYTES);
		assert_true(strncmp(passages.items[i].text, "w\xc3\xb6rd", 5) == 0);
	}
	assert_non_null(strstr(passages.items[passages.count - 1].text, "d999 "));
	wl_crew_passages_release(&passages);
	/* no word ends anywhere: between characters then */
	wl_buffer_clear(&text);
	for (int i = 0; i < 2001; i++)
		(void)wl_buffer_append_text(&text, "\xc3\xa4");
	assert_int_equal(wl_crew_passages_cut(&passages, text.data, 0), 0);
	for (size_t i = 0; i < passages.count; i++)
		assert_int_equal(strlen(passages.items[i].text) % 2, 0);
	wl_crew_passages_release(&passages);
	assert_int_equal(wl_crew_passages_cut(&passages, "", 1), 0);
	assert_int_equal(passages.count, 0);
}

static void names_stand_with_their_sentence(void **state)
{
	(void)state;
	struct crew_passages passages = { 0 };
	static const char text[] = "The bees sleep. Then Anna Zola came to Paris, and Anna Zola left. Nobody saw it\n"
				   "It was USA-made! A B";
	assert_int_equal(wl_crew_passages_names(&passages, text), 0);
	assert_int_equal(passages.count, 5);
	assert_string_equal(passages.items[0].text, "Then Anna Zola: Then Anna Zola came to Paris, and Anna Zola left");
	assert_string_equal(passages.items[1].text, "Paris: Then Anna Zola came to Paris, and Anna Zola left");
	assert_string_equal(passages.items[2].text, "Anna Zola: Then Anna Zola came to Paris, and Anna Zola left");
	assert_string_equal(passages.items[3].text, "USA-made: It was USA-made");
	assert_string_equal(passages.items[4].text, "A B: A B");
	wl_crew_passages_release(&passages);
}

static void the_nearest_passages_come_first(void **state)
{
	(void)state;
	static float vectors[4][2] = { { 1, 0 }, { 0, 1 }, { 0.6f, 0.8f }, { 0.8f, 0.6f } };
	struct crew_passage items[] = { { .vector = vectors[0] },
					{ .vector = vectors[1] },
					{ .text = NULL },
					{ .vector = vectors[2] },
					{ .vector = vectors[3] } };
	const struct crew_passages passages = { .items = items, .count = 5, .dimensions = 2 };
	const float up[] = { 0, 1 };
	size_t found[5];
	assert_int_equal(wl_crew_passages_nearest(&passages, 5, up, 2, 3, found), 3);
	assert_true(found[0] == 1 && found[1] == 3 && found[2] == 4);
	assert_int_equal(wl_crew_passages_nearest(&passages, 5, up, 2, 5, found), 4);
	assert_int_equal(wl_crew_passages_nearest(&passages, 1, up, 2, 5, found), 1);
	assert_int_equal(wl_crew_passages_nearest(&passages, 5, up, 3, 5, found), 0);
	assert_int_equal(wl_crew_passages_nearest(&passages, 5, NULL, 2, 5, found), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_are_filled_in),
		cmocka_unit_test(the_text_form_is_read),
		cmocka_unit_test(json_of_models_is_set_right),
		cmocka_unit_test(a_repair_has_bounds),
		cmocka_unit_test(coworkers_are_found_however_they_are_written),
		cmocka_unit_test(texts_are_cut_at_words),
		cmocka_unit_test(names_stand_with_their_sentence),
		cmocka_unit_test(the_nearest_passages_come_first),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
