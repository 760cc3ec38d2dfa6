/* The pure parts of artifacts: names of files, media types, ranges, conditions and names in headers. */
#include "lib/model/file_name.h"
#include "lib/ports/sandbox.h"
#include "webapp/server/artifact_range.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static bool valid(const char *name)
{
	return wl_file_name_valid(name, strlen(name));
}

static void names_of_files(void **state)
{
	static const char *const good[] = { "a",
					    ".hidden",
					    "a.txt",
					    "a b (1).txt",
					    "d/e/f",
					    "a/b/c/d/e/f/g/h",
					    "Gr\303\274\303\237e",
					    "\346\227\245\346\234\254.csv",
					    "..a",
					    "a..",
					    "...",
					    "-rf" };
	static const char *const bad[] = { "",
					   "/",
					   "/a",
					   "a/",
					   "a//b",
					   "..",
					   "../a",
					   "a/..",
					   "a/../b",
					   ".",
					   "a/./b",
					   "a/b/c/d/e/f/g/h/i",
					   "a\nb",
					   "a\tb",
					   "a\177",
					   "a\\b",
					   "\200",
					   "\300\257",
					   "\355\240\200",
					   "\364\220\200\200",
					   "\303",
					   "a\302\205b",
					   "\342\200\256txt" };
	char longest[SANDBOX_NAME_MAX + 1];
	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		if (!valid(good[i]))
			fail_msg("'%s' is refused", good[i]);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (valid(bad[i]))
			fail_msg("'%s' is taken", bad[i]);
	memset(longest, 'x', sizeof(longest));
	assert_true(wl_file_name_valid(longest, SANDBOX_NAME_MAX - 1));
	assert_false(wl_file_name_valid(longest, SANDBOX_NAME_MAX));
	assert_false(wl_file_name_valid("a\0b", 3));
}

static void texts_and_other_bytes(void **state)
{
	(void)state;
	assert_true(wl_text_is_plain("", 0));
	assert_true(wl_text_is_plain("Gr\xc3\xb6\xc3\x9f"
				     "e\r\n\t\f",
				     10));
	assert_false(wl_text_is_plain("a\0b", 3));
	assert_false(wl_text_is_plain("\x1b[31m", 5));
	assert_false(wl_text_is_plain("\xff\xfe"
				      "a",
				      3));
	assert_false(wl_text_is_plain("\xc3", 1));
	assert_false(wl_text_is_plain("\xed\xa0\x80", 3));
}

static void media_types(void **state)
{
	(void)state;
	assert_string_equal(wl_media_type("a/report.PDF"), "application/pdf");
	assert_string_equal(wl_media_type("x.tar.gz"), "application/gzip");
	assert_string_equal(wl_media_type("d.txt/none"), "application/octet-stream");
	assert_string_equal(wl_media_type("none"), "application/octet-stream");
	assert_string_equal(wl_media_type(".json"), "application/json");
}

static void ranges(void **state)
{
	static const struct {
		const char *header;
		uint64_t size;
		enum web_range range;
		uint64_t first, last;
	} cases[] = {
		{ "bytes=0-4", 10, WEB_RANGE_PART, 0, 4 },
		{ "BYTES=0-0", 10, WEB_RANGE_PART, 0, 0 },
		{ "bytes= 3-3 ", 10, WEB_RANGE_PART, 3, 3 },
		{ "bytes=5-", 10, WEB_RANGE_PART, 5, 9 },
		{ "bytes=5-99", 10, WEB_RANGE_PART, 5, 9 },
		{ "bytes=-3", 10, WEB_RANGE_PART, 7, 9 },
		{ "bytes=-30", 10, WEB_RANGE_PART, 0, 9 },
		{ "bytes=9-", 10, WEB_RANGE_PART, 9, 9 },
		{ "bytes=0-99999999999999999999999", 10, WEB_RANGE_PART, 0, 9 },
		{ "bytes=10-", 10, WEB_RANGE_OUTSIDE, 0, 0 },
		{ "bytes=10-20", 10, WEB_RANGE_OUTSIDE, 0, 0 },
		{ "bytes=99999999999999999999999-", 10, WEB_RANGE_OUTSIDE, 0, 0 },
		{ "bytes=-0", 10, WEB_RANGE_OUTSIDE, 0, 0 },
		{ "bytes=0-0", 0, WEB_RANGE_OUTSIDE, 0, 0 },
		{ "bytes=-1", 0, WEB_RANGE_OUTSIDE, 0, 0 },
		{ NULL, 10, WEB_RANGE_WHOLE, 0, 0 },
		{ "", 10, WEB_RANGE_WHOLE, 0, 0 },
		{ "bytes=", 10, WEB_RANGE_WHOLE, 0, 0 },
		{ "bytes=-", 10, WEB_RANGE_WHOLE, 0, 0 },
		{ "bytes=5-1", 10, WEB_RANGE_WHOLE, 0, 0 },
		{ "bytes=0-1,3-4", 10, WEB_RANGE_WHOLE, 0, 0 },
		{ "bytes=0-x", 10, WEB_RANGE_WHOLE, 0, 0 },
		{ "bytes=0--1", 10, WEB_RANGE_WHOLE, 0, 0 },
		{ "bytes=--1", 10, WEB_RANGE_WHOLE, 0, 0 },
		{ "bytes=+1-2", 10, WEB_RANGE_WHOLE, 0, 0 },
		{ "lines=0-1", 10, WEB_RANGE_WHOLE, 0, 0 },
	};
	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint64_t first = 0, last = 0;
		enum web_range range = web_range_read(cases[i].header, cases[i].size, &first, &last);
		if (range != cases[i].range || first != cases[i].first || last != cases[i].last)
			fail_msg("%s of %llu: %d %llu-%llu", cases[i].header, (unsigned long long)cases[i].size,
				 (int)range, (unsigned long long)first, (unsigned long long)last);
	}
}

static void conditions(void **state)
{
	(void)state;
	assert_true(web_etag_listed("\"abc\"", "abc"));
	assert_true(web_etag_listed("*", "abc"));
	assert_true(web_etag_listed("\"x\", W/\"abc\"", "abc"));
	assert_true(web_etag_listed(" \"x,y\" ,\"abc\"", "abc"));
	assert_false(web_etag_listed(NULL, "abc"));
	assert_false(web_etag_listed("", "abc"));
	assert_false(web_etag_listed("abc", "abc"));
	assert_false(web_etag_listed("\"abcd\"", "abc"));
	assert_false(web_etag_listed("\"abc", "abc"));
	assert_false(web_etag_listed("x\"abc\"", "abc"));
}

static void expect_disposition(const char *name, const char *value)
{
	_wl_buffer_ struct wl_buffer made;
	wl_buffer_init(&made, 0);
	web_disposition_append(&made, name);
	assert_string_equal(made.data, value);
}

static void names_in_headers(void **state)
{
	(void)state;
	expect_disposition("out/report 1.pdf",
			   "attachment; filename=\"report 1.pdf\"; filename*=UTF-8''report%201.pdf");
	expect_disposition(
		"a\"b\r\nSet-Cookie: x=1",
		"attachment; filename=\"a_b__Set-Cookie_ x_1\"; filename*=UTF-8''a%22b%0D%0ASet-Cookie%3A%20x%3D1");
	expect_disposition("\303\274.txt", "attachment; filename=\"__.txt\"; filename*=UTF-8''%C3%BC.txt");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_of_files),
		cmocka_unit_test(media_types),
		cmocka_unit_test(texts_and_other_bytes),
		cmocka_unit_test(ranges),
		cmocka_unit_test(conditions),
		cmocka_unit_test(names_in_headers),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
