/* What all nodes of a process may have in memory together. */
#include "lib/base/error.h"
#include "supervisor/nodes/record.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#define MIB (1u << 20)
#define EID "01a209e1-462e-7c05-b1fb-84fb6648b075"

struct waiting {
	struct node_memory *memory;
	struct node_call call;
	atomic_bool stop;
	uint64_t bytes, taken;
	int result;
	pthread_t thread;
};

static void *wait_for(void *context)
{
	struct waiting *waiting = context;
	struct wl_error err = { 0 };
	waiting->result = node_memory_wait(waiting->memory, &waiting->call, waiting->bytes, &waiting->taken, &err);
	return NULL;
}

static void begin(struct waiting *waiting, struct node_memory *memory, uint64_t bytes, int line)
{
	*waiting = (struct waiting){ .memory = memory, .bytes = bytes, .call = { .cancel_fd = -1 } };
	waiting->call.stop = &waiting->stop;
	assert_int_equal(pthread_create(&waiting->thread, NULL, wait_for, waiting), 0);
	for (int in_line = -1; in_line != line;) { /* until it stands there */
		in_line = 0;
		(void)pthread_mutex_lock(&memory->lock);
		for (struct node_memory_waiter *one = memory->first; one; one = one->next)
			in_line++;
		(void)pthread_mutex_unlock(&memory->lock);
	}
}

static void test_who_waits_gets_memory_in_turn(void **state)
{
	(void)state;
	struct node_share share;
	struct waiting large, small, gone;
	node_share_open(&share, 400 * MIB, 4);
	struct node_memory *memory = &share.kept;
	assert_int_equal(memory->most, 300 * MIB);
	assert_true(node_memory_take(memory, 200 * MIB));
	begin(&large, memory, 1000 * MIB, 1); /* all that there is */
	begin(&gone, memory, 250 * MIB, 2);
	begin(&small, memory, MIB, 3); /* there were room for it, but others came before */
	atomic_store(&gone.stop, true);
	(void)pthread_join(gone.thread, NULL);
	assert_int_equal(gone.result, -ECANCELED);
	node_memory_give(memory, 200 * MIB);
	(void)pthread_join(large.thread, NULL);
	assert_int_equal(large.result, 0);
	assert_int_equal(large.taken, 300 * MIB);
	assert_false(node_memory_take(memory, 1));
	node_memory_give(memory, large.taken);
	(void)pthread_join(small.thread, NULL);
	assert_int_equal(small.taken, MIB);
	node_memory_give(memory, small.taken);
	assert_int_equal(memory->used, 0);
	assert_null(memory->first);
	node_share_close(&share);
}

/* A record counts while its node runs, with what is held beside it. */
static void test_what_a_node_holds_comes_back_with_its_record(void **state)
{
	(void)state;
	struct node_share share;
	struct node_record record;
	struct wl_error err = { 0 };
	struct wl_exchange_log log = { 0 };
	struct wl_flow_node node = { .id = "n" };
	struct node_world world = { .exchanges = &log, .share = &share };
	struct node_call call = { .tenant = 1, .eid = EID, .epoch = 1, .attempt = 1, .node = &node, .cancel_fd = -1 };
	node_share_open(&share, 100 * MIB, 4);
	assert_int_equal(node_record_open(&world, &call, &record, &err), 0);
	assert_int_equal(share.kept.used, NODE_MEMORY_BASE);
	assert_int_equal(node_record_hold(&record, 70 * (int64_t)MIB, &err), 0);
	assert_int_equal(node_record_hold(&record, 10 * (int64_t)MIB, &err), -ENOSPC);
	assert_non_null(strstr(err.text, "try again"));
	assert_int_equal(node_record_hold(&record, -20 * (int64_t)MIB, &err), 0);
	assert_int_equal(node_record_hold(&record, 10 * (int64_t)MIB, &err), 0);
	assert_int_equal(share.kept.used, NODE_MEMORY_BASE + 60 * MIB);
	node_record_close(&record);
	assert_int_equal(share.kept.used, 0);
	node_share_close(&share);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_who_waits_gets_memory_in_turn),
		cmocka_unit_test(test_what_a_node_holds_comes_back_with_its_record),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
