/* What a node has asked and been told, over a document server that comes and goes. */
#include "lib/base/cleanup.h"
#include "supervisor/nodes/record.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define EID "01a209e1-462e-7c05-b1fb-84fb6648b075"
#define HASH "aa55"

/* One place, and how many of the next answers of the server are lost on the way. */
struct shelf {
	struct wl_exchange stored;
	int lost;
};

static void copy(const struct wl_exchange *from, struct wl_exchange *to)
{
	*to = (struct wl_exchange){ .kind = from->kind,
				    .place = strdup(from->place),
				    .request_hash = strdup(from->request_hash),
				    .request_json = strdup(from->request_json),
				    .answer_json = strdup(from->answer_json),
				    .start_ms = from->start_ms,
				    .end_ms = from->end_ms };
}

static int append(void *self, int tenant, const char *eid, const char *node, const struct wl_exchange *exchange,
		  struct wl_exchange *ret_known, struct wl_error *err)
{
	struct shelf *shelf = self;
	(void)tenant;
	(void)eid;
	(void)node;
	if (shelf->stored.place) {
		if (ret_known)
			copy(&shelf->stored, ret_known);
		return wl_fail(err, EEXIST, "it is on record");
	}
	copy(exchange, &shelf->stored);
	return shelf->lost-- > 0 ? wl_fail(err, EPIPE, "the server went away") : 0;
}

struct stage {
	struct shelf shelf;
	struct wl_exchange_log log;
	struct wl_flow_node node;
	struct node_world world;
	struct node_call call;
	struct node_record record;
};

static void set_stage(struct stage *stage, int lost)
{
	struct wl_error err;
	*stage = (struct stage){ .shelf = { .lost = lost }, .node = { .id = "n" } };
	stage->log = (struct wl_exchange_log){ .self = &stage->shelf, .append = append };
	stage->world.exchanges = &stage->log;
	stage->call = (struct node_call){
		.tenant = 1, .eid = EID, .epoch = 1, .attempt = 1, .node = &stage->node, .cancel_fd = -1
	};
	assert_int_equal(node_record_open(&stage->world, &stage->call, &stage->record, &err), 0);
}

static void clear_stage(struct stage *stage)
{
	node_record_close(&stage->record);
	wl_exchange_release(&stage->shelf.stored);
}

#define _stage_ __attribute__((cleanup(clear_stage)))

static int put(struct stage *stage, const char *answer, int64_t start_ms)
{
	struct wl_error err = { 0 };
	return node_record_put(&stage->record, WL_EXCHANGE_MODEL, "llm/1", HASH, "{}", answer, start_ms, &err);
}

static void test_what_was_stored_untold_is_its_own(void **state)
{
	(void)state;
	_stage_ struct stage stage;
	set_stage(&stage, 1);
	assert_int_equal(put(&stage, "{\"text\":\"a\"}", 1), 0);
	assert_string_equal(stage.shelf.stored.answer_json, "{\"text\":\"a\"}");
}

static void test_what_another_attempt_has_stored_is_its_end(void **state)
{
	(void)state;
	_stage_ struct stage stage;
	set_stage(&stage, 0);
	assert_int_equal(put(&stage, "{\"text\":\"a\"}", 1), 0);
	assert_int_equal(put(&stage, "{\"text\":\"b\"}", 1), -ESTALE);
	assert_int_equal(put(&stage, "{\"text\":\"a\"}", 2), -ESTALE);
}

static void test_a_record_has_a_bound(void **state)
{
	(void)state;
	_stage_ struct stage stage;
	set_stage(&stage, 0);
	stage.record.bytes = RECORD_BYTES_MAX - 12;
	assert_int_equal(put(&stage, "{\"text\":\"abc\"}", 1), -EFBIG);
	assert_null(stage.shelf.stored.place);
	assert_int_equal(put(&stage, "{\"text\":\"a\"}", 1), 0);
	assert_int_equal(put(&stage, "1", 1), -EFBIG);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_was_stored_untold_is_its_own),
		cmocka_unit_test(test_what_another_attempt_has_stored_is_its_end),
		cmocka_unit_test(test_a_record_has_a_bound),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
