/* The record of exchanges with models and tools against the real document server. */
#include "lib/base/cleanup.h"
#include "lib/base/clock.h"
#include "lib/base/ids.h"
#include "lib/store/mongo_exchanges.h"
#include "tests/kit/docserver.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define TENANT 3

static struct docserver docserver;
static struct wl_exchange_log log_;

/* Connect again and again until it works. */
static int start(void **state)
{
	(void)state;
	struct wl_error err = { 0 };
	uint64_t end_ms = wl_clock_boot_ms() + 30000;
	docserver_start(&docserver);
	while (wl_mongo_exchanges_open(docserver.url, &log_, &err) < 0)
		if (wl_clock_boot_ms() > end_ms || docserver_died(&docserver)) {
			(void)fprintf(stderr, "the document server does not start: %s\n", err.text);
			return -1;
		}
	return 0;
}

static int stop(void **state)
{
	(void)state;
	log_.close(log_.self);
	docserver_stop(&docserver);
	return 0;
}

/* ---- helpers ------------------------------------------------------------------------------------------------- */

static const char *fresh(char eid[WL_UUID_TEXT])
{
	return wl_uuid7(wl_clock_wall_ms(), eid);
}

static struct wl_exchange exchange_of(const char *place, const char *answer, int64_t start_ms)
{
	return (struct wl_exchange){ .kind = WL_EXCHANGE_MODEL,
				     .place = (char *)place,
				     .request_hash = "aa55",
				     .request_json = "{\"messages\":[]}",
				     .answer_json = (char *)answer,
				     .start_ms = start_ms,
				     .end_ms = start_ms + 7 };
}

static void append(const char *eid, const char *node, const struct wl_exchange *exchange)
{
	struct wl_error err = { 0 };
	if (log_.append(log_.self, TENANT, eid, node, exchange, NULL, &err) < 0)
		fail_msg("%s", err.text);
}

static int load(const char *eid, const char *node, struct wl_exchange **ret_list)
{
	struct wl_error err = { 0 };
	int count = log_.load(log_.self, TENANT, eid, node, ret_list, &err);
	if (count < 0)
		fail_msg("%s", err.text);
	return count;
}

static void release(struct wl_exchange *list, int count)
{
	for (int i = 0; i < count; i++)
		wl_exchange_release(&list[i]);
	free(list);
}

static int count_of(const char *eid, const char *node)
{
	struct wl_exchange *list = NULL;
	int count = load(eid, node, &list);
	release(list, count);
	return count;
}

/* A JSON string of `length` bytes, of characters of three bytes, which no piece may cut. */
static char *long_answer(size_t length, char last)
{
	char *text = malloc(length + 4);
	size_t at = 0;
	assert_non_null(text);
	text[at++] = '"';
	while (at + 4 < length)
		at += (size_t)sprintf(text + at, "\u20ac");
	while (at + 2 < length)
		text[at++] = 'x';
	text[at++] = last;
	text[at++] = '"';
	text[at] = '\0';
	return text;
}

/* ---- tests ---------------------------------------------------------------------------------------------------------
 */

static void test_every_field_in_order(void **state)
{
	(void)state;
	char eid[WL_UUID_TEXT];
	struct wl_exchange *list = NULL, late = exchange_of("task/1/turn/2", "{\"text\":\"\\u0000 \u00fc\"}", 2000);
	struct wl_exchange early = exchange_of("task/1/turn/1", "{}", 1000);
	late.kind = WL_EXCHANGE_TOOL;
	append(fresh(eid), "crew.inner", &late);
	append(eid, "crew.inner", &early);
	append(eid, "other", &early);
	assert_int_equal(load(eid, "crew.inner", &list), 2);
	assert_string_equal(list[0].place, "task/1/turn/1");
	assert_string_equal(list[1].place, late.place);
	assert_int_equal(list[1].kind, WL_EXCHANGE_TOOL);
	assert_string_equal(list[1].request_hash, "aa55");
	assert_string_equal(list[1].request_json, late.request_json);
	assert_string_equal(list[1].answer_json, late.answer_json);
	assert_true(list[1].start_ms == 2000 && list[1].end_ms == 2007);
	release(list, 2);
	assert_int_equal(count_of(eid, "crew"), 0);
}

static void test_the_first_one_wins(void **state)
{
	(void)state;
	char eid[WL_UUID_TEXT];
	struct wl_error err = { 0 };
	struct wl_exchange known = { 0 }, first = exchange_of("a", "1", 5), second = exchange_of("a", "2", 6);
	append(fresh(eid), "n", &first);
	assert_int_equal(log_.append(log_.self, TENANT, eid, "n", &second, &known, &err), -EEXIST);
	assert_string_equal(known.answer_json, "1");
	assert_true(known.start_ms == 5);
	wl_exchange_release(&known);
	assert_int_equal(log_.append(log_.self, TENANT, eid, "n", &second, NULL, &err), -EEXIST);
	assert_int_equal(count_of(eid, "n"), 1);
}

static void test_long_answers(void **state)
{
	(void)state;
	static const size_t lengths[] = { WL_EXCHANGE_KEPT, WL_EXCHANGE_KEPT + 1, 3 * WL_EXCHANGE_KEPT + 17 };
	char eid[WL_UUID_TEXT];
	struct wl_exchange *list = NULL;
	(void)fresh(eid);
	for (size_t i = 0; i < WL_COUNT_OF(lengths); i++) {
		char place[8];
		_wl_free_ char *answer = long_answer(lengths[i], 'y'), *other = long_answer(lengths[i], 'z');
		(void)snprintf(place, sizeof(place), "%zu", i);
		struct wl_exchange exchange = exchange_of(place, answer, (int64_t)i);
		append(eid, "n", &exchange);
		struct wl_error err = { 0 };
		exchange.answer_json = other; /* the loser leaves nothing behind */
		assert_int_equal(log_.append(log_.self, TENANT, eid, "n", &exchange, NULL, &err), -EEXIST);
		assert_int_equal(load(eid, "n", &list), (int)i + 1);
		assert_string_equal(list[i].answer_json, answer);
		release(list, (int)i + 1);
	}
	struct wl_exchange one = { 0 };
	struct wl_error err = { 0 };
	assert_int_equal(wl_mongo_exchange_read(&log_, TENANT, eid, "n", "2", &one, &err), 0);
	assert_int_equal(strlen(one.answer_json), lengths[2]);
	wl_exchange_release(&one);
	assert_int_equal(wl_mongo_exchange_read(&log_, TENANT + 1, eid, "n", "2", &one, &err), -ENOENT);
	assert_int_equal(wl_mongo_exchange_read(&log_, TENANT, eid, "n", "none", &one, &err), -ENOENT);
	_wl_free_ char *endless = long_answer(WL_EXCHANGE_ANSWER_MAX + 1, 'x');
	struct wl_exchange exchange = exchange_of("long", endless, 1);
	assert_int_equal(log_.append(log_.self, TENANT, eid, "n", &exchange, NULL, &err), -EMSGSIZE);
}

static void test_bad_places(void **state)
{
	(void)state;
	char eid[WL_UUID_TEXT], place[500];
	struct wl_error err = { 0 };
	memset(place, 'p', sizeof(place));
	place[sizeof(place) - 1] = '\0';
	struct wl_exchange exchange = exchange_of(place, "1", 1);
	assert_int_equal(log_.append(log_.self, TENANT, fresh(eid), "n", &exchange, NULL, &err), -EINVAL);
	exchange.place = NULL;
	assert_int_equal(log_.append(log_.self, TENANT, eid, "n", &exchange, NULL, &err), -EINVAL);
	exchange = exchange_of("a", "\xff\xfe", 1); /* no UTF-8 */
	assert_int_equal(log_.append(log_.self, TENANT, eid, "n", &exchange, NULL, &err), -EINVAL);
	assert_int_equal(count_of(eid, "n"), 0);
}

/* An answer of a model whose text is far too long for a list. */
static char *model_answer(void)
{
	_wl_free_ char *text = long_answer(2 * WL_EXCHANGE_KEPT, 'x');
	char *answer = NULL;
	assert_true(asprintf(&answer, "{\"text\":%s,\"usage\":{\"prompt\":7},\"cost\":0.25,\"secret\":1}", text) > 0);
	return answer;
}

static void expect_entry(const struct wl_exchange_entry *entry, size_t big)
{
	if (strcmp(entry->exchange.place, "turn/10") != 0) {
		assert_string_equal(entry->summary_json, "{\"code\":\"exit\",\"text\":\"{\\\"a\\\":1}\"}");
		return;
	}
	assert_true(entry->answer_bytes == (int64_t)big && !entry->exchange.answer_json);
	assert_non_null(strstr(entry->summary_json, "{\"usage\":{\"prompt\":7},\"cost\":0.25,\"text\":\""));
	assert_true(strlen(entry->summary_json) < WL_EXCHANGE_TEXT_MAX + 100 && !strstr(entry->summary_json, "secret"));
}

static void test_pages(void **state)
{
	(void)state;
	char eid[WL_UUID_TEXT], after[600] = "";
	_wl_free_ char *big = model_answer();
	struct wl_exchange_entry *page = NULL;
	struct wl_error err = { 0 };
	int seen = 0, count;
	(void)fresh(eid);
	for (int i = 0; i < 25; i++) {
		char place[16];
		(void)snprintf(place, sizeof(place), "turn/%02d", i);
		struct wl_exchange exchange =
			exchange_of(place, i == 10 ? big : "{\"output\":{\"a\":1},\"code\":\"exit\"}", i);
		append(eid, i % 4 ? "n" : "m", &exchange);
	}
	do {
		count = wl_mongo_exchanges_page(&log_, TENANT, eid, NULL, *after ? after : NULL, 7, &page, &err);
		assert_true(count >= 0);
		for (int i = 0; i < count; i++) {
			char here[600];
			(void)snprintf(here, sizeof(here), "%s/%s", page[i].node, page[i].exchange.place);
			assert_true(strcmp(after, here) < 0);
			(void)strcpy(after, here);
			expect_entry(&page[i], strlen(big));
			wl_exchange_entry_release(&page[i]);
		}
		free(page);
		seen += count;
	} while (count == 7);
	assert_int_equal(seen, 25);
	assert_int_equal(wl_mongo_exchanges_page(&log_, TENANT, eid, "m", NULL, 100, &page, &err), 7);
	for (int i = 0; i < 7; i++) {
		assert_string_equal(page[i].node, "m");
		wl_exchange_entry_release(&page[i]);
	}
	free(page);
	assert_int_equal(wl_mongo_exchanges_page(&log_, TENANT + 1, eid, NULL, NULL, 100, &page, &err), 0);
	free(page);
}

static void test_drops(void **state)
{
	(void)state;
	char eid[WL_UUID_TEXT], other[WL_UUID_TEXT];
	struct wl_error err = { 0 };
	_wl_free_ char *big = long_answer(2 * WL_EXCHANGE_KEPT, 'x');
	struct wl_exchange exchange = exchange_of("a", big, 1);
	append(fresh(eid), "n", &exchange);
	append(fresh(other), "n", &exchange);
	assert_int_equal(log_.drop_execution(log_.self, TENANT + 1, eid, &err), 0);
	assert_int_equal(count_of(eid, "n"), 1);
	assert_int_equal(log_.drop_execution(log_.self, TENANT, eid, &err), 0);
	assert_int_equal(log_.drop_execution(log_.self, TENANT, eid, &err), 0);
	assert_int_equal(count_of(eid, "n"), 0);
	assert_int_equal(count_of(other, "n"), 1);
	append(eid, "n", &exchange); /* its place is free again, and so are its pieces */
	assert_int_equal(log_.drop_tenant(log_.self, TENANT, &err), 0);
	assert_int_equal(count_of(other, "n"), 0);
}

/* ---- many at once -------------------------------------------------------------------------------------------------
 */

struct racer {
	pthread_t thread;
	const char *eid;
	char *answer;
	int won;
	struct wl_exchange known;
};

static void *race(void *argument)
{
	struct racer *racer = argument;
	struct wl_error err = { 0 };
	struct wl_exchange exchange = exchange_of("a", racer->answer, 1);
	int r = log_.append(log_.self, TENANT, racer->eid, "n", &exchange, &racer->known, &err);
	racer->won = r == 0;
	return NULL;
}

static void test_race(void **state)
{
	(void)state;
	char eid[WL_UUID_TEXT];
	struct racer racers[6] = { 0 };
	struct wl_exchange *list = NULL;
	int won = 0;
	(void)fresh(eid);
	for (int i = 0; i < 6; i++) {
		racers[i] =
			(struct racer){ .eid = eid, .answer = long_answer(WL_EXCHANGE_KEPT + 100, (char)('a' + i)) };
		assert_int_equal(pthread_create(&racers[i].thread, NULL, race, &racers[i]), 0);
	}
	for (int i = 0; i < 6; i++) {
		(void)pthread_join(racers[i].thread, NULL);
		won += racers[i].won;
	}
	assert_int_equal(won, 1);
	assert_int_equal(load(eid, "n", &list), 1);
	for (int i = 0; i < 6; i++) { /* all of them go on with the same answer */
		assert_string_equal(racers[i].won ? racers[i].answer : racers[i].known.answer_json,
				    list[0].answer_json);
		wl_exchange_release(&racers[i].known);
		free(racers[i].answer);
	}
	release(list, 1);
}

static void test_away_and_back(void **state)
{
	(void)state;
	char eid[WL_UUID_TEXT];
	struct wl_error err = { 0 };
	struct wl_exchange exchange = exchange_of("a", "1", 1), *list = NULL;
	if (!docserver.process)
		skip();
	(void)fresh(eid);
	docserver_kill(&docserver);
	assert_int_equal(log_.append(log_.self, TENANT, eid, "n", &exchange, NULL, &err), -ECONNREFUSED);
	assert_int_equal(log_.load(log_.self, TENANT, eid, "n", &list, &err), -ECONNREFUSED);
	docserver_restart(&docserver);
	uint64_t end_ms = wl_clock_boot_ms() + 30000;
	while (log_.append(log_.self, TENANT, eid, "n", &exchange, NULL, &err) < 0)
		assert_true(wl_clock_boot_ms() < end_ms);
	assert_int_equal(count_of(eid, "n"), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_field_in_order),
		cmocka_unit_test(test_the_first_one_wins),
		cmocka_unit_test(test_long_answers),
		cmocka_unit_test(test_bad_places),
		cmocka_unit_test(test_pages),
		cmocka_unit_test(test_drops),
		cmocka_unit_test(test_race),
		cmocka_unit_test(test_away_and_back),
	};
	if (!docserver_there())
		return 1;
	return cmocka_run_group_tests(tests, start, stop);
}
