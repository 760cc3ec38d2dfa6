/* The store of node results against the real document server. */
#include "lib/base/clock.h"
#include "lib/store/mongo_node_results.h"
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

static struct docserver docserver;
static struct wl_node_results store;

/* Connect again and again until it works. */
static int start(void **state)
{
	(void)state;
	struct wl_error err = { 0 };
	uint64_t end_ms = wl_clock_boot_ms() + 30000;
	docserver_start(&docserver);
	while (mongo_node_results_open(docserver.url, &store, &err) < 0)
		if (wl_clock_boot_ms() > end_ms || docserver_died(&docserver)) {
			(void)fprintf(stderr, "the document server does not start: %s\n", err.text);
			return -1;
		}
	return 0;
}

static int stop(void **state)
{
	(void)state;
	store.close(store.self);
	docserver_stop(&docserver);
	return 0;
}

/* ---- helpers ----------------------------------------------------------------------------------------------- */

/* A new execution's id. */
static const char *fresh(char eid[WL_UUID_TEXT])
{
	return wl_uuid7(wl_clock_wall_ms(), eid);
}

static struct wl_node_result result_of(const char *eid, const char *node, int epoch, const char *output)
{
	struct wl_node_result result = { .tenant = 3,
					 .node_id = (char *)node,
					 .epoch = epoch,
					 .committed = true,
					 .state = WL_NODE_SUCCEEDED,
					 .attempt = 1,
					 .start_ms = 1700000000123,
					 .end_ms = 1700000000456,
					 .outputs_json = (char *)output };
	strcpy(result.eid, eid);
	return result;
}

static enum wl_commit_outcome commit(const struct wl_node_result *result)
{
	enum wl_commit_outcome outcome = WL_COMMIT_FAILED;
	struct wl_error err = { 0 };
	if (store.commit(store.self, result, 1, &outcome, &err) < 0)
		fail_msg("%s", err.text);
	return outcome;
}

static enum wl_commit_outcome commit_output(const char *eid, const char *node, int epoch, const char *output)
{
	struct wl_node_result result = result_of(eid, node, epoch, output);
	return commit(&result);
}

static void seal(const char *eid, int epoch)
{
	static const char *const nodes[] = { "a", "b" };
	struct wl_error err = { 0 };
	if (store.seal(store.self, 3, eid, nodes, 2, epoch, &err) < 0)
		fail_msg("%s", err.text);
}

/* What stands for one node: its epoch, committed or not, its output; the number of nodes comes back. */
static int look(const char *eid, const char *node, int *epoch, bool *committed, char output[64])
{
	struct wl_node_result *list = NULL;
	struct wl_error err = { 0 };
	int count = store.load(store.self, 3, eid, &list, &err);
	if (count < 0)
		fail_msg("%s", err.text);
	*epoch = -1;
	for (int i = 0; i < count; i++) {
		if (strcmp(list[i].node_id, node) == 0) {
			*epoch = list[i].epoch;
			*committed = list[i].committed;
			(void)snprintf(output, 64, "%s", list[i].outputs_json ? list[i].outputs_json : "");
		}
		wl_node_result_release(&list[i]);
	}
	free(list);
	return count;
}

static void expect(const char *eid, const char *node, int epoch, bool committed, const char *output)
{
	int found_epoch = 0;
	bool found_committed = false;
	char found_output[64] = "";
	(void)look(eid, node, &found_epoch, &found_committed, found_output);
	assert_int_equal(found_epoch, epoch);
	assert_int_equal(found_committed, committed);
	assert_string_equal(found_output, output);
}

/* ---- tests ------------------------------------------------------------------------------------------------- */

static void test_every_field(void **state)
{
	(void)state;
	char eid[WL_UUID_TEXT];
	struct wl_node_result wrote = result_of(fresh(eid), "knoten \"ü\"", 2, "{\"a\":[1,2.5,\"x\"]}"), *read = NULL;
	struct wl_error err = { 0 };
	wrote.state = WL_NODE_FAILED;
	wrote.attempt = 3;
	wrote.handle = "error";
	wrote.inputs_json = "{\"i\":1}";
	wrote.error_json = "{\"code\":\"exit\"}";
	wrote.receipt_json = "{\"r\":1}";
	wrote.logs_json = "[{\"text\":\"\\u0000\"}]";
	wrote.trace_json = "[{\"id\":1,\"parent\":0,\"kind\":\"model\"}]";
	assert_int_equal(commit(&wrote), WL_COMMIT_STORED);
	assert_int_equal(store.load(store.self, 3, eid, &read, &err), 1);
	assert_string_equal(read->eid, eid);
	assert_string_equal(read->node_id, wrote.node_id);
	assert_string_equal(read->handle, wrote.handle);
	assert_string_equal(read->inputs_json, wrote.inputs_json);
	assert_string_equal(read->outputs_json, wrote.outputs_json);
	assert_string_equal(read->error_json, wrote.error_json);
	assert_string_equal(read->receipt_json, wrote.receipt_json);
	assert_string_equal(read->logs_json, wrote.logs_json);
	assert_string_equal(read->trace_json, wrote.trace_json);
	assert_int_equal(read->state, WL_NODE_FAILED);
	assert_int_equal(read->attempt, 3);
	assert_int_equal(read->epoch, 2);
	assert_int_equal(read->tenant, 3);
	assert_true(read->start_ms == wrote.start_ms && read->end_ms == wrote.end_ms && read->committed);
	wl_node_result_release(read);
	free(read);
	assert_int_equal(store.load(store.self, 4, eid, &read, &err), 0); /* not another tenant's to see */
	free(read);
}

static void test_first_commit_wins(void **state)
{
	(void)state;
	char eid[WL_UUID_TEXT];
	fresh(eid);
	assert_int_equal(commit_output(eid, "a", 1, "1"), WL_COMMIT_STORED);
	assert_int_equal(commit_output(eid, "a", 1, "1"),
			 WL_COMMIT_STORED); /* its answer was lost, it was sent again */
	assert_int_equal(commit_output(eid, "a", 2, "2"), WL_COMMIT_KNOWN);
	expect(eid, "a", 1, true, "1");
}

static void test_seal_fences_older_attempts(void **state)
{
	(void)state;
	char eid[WL_UUID_TEXT];
	fresh(eid);
	assert_int_equal(commit_output(eid, "a", 1, "1"), WL_COMMIT_STORED);
	seal(eid, 3);
	expect(eid, "a", 1, true, "1");
	expect(eid, "b", 3, false, "");
	assert_int_equal(commit_output(eid, "b", 1, "old"), WL_COMMIT_FENCED);
	assert_int_equal(commit_output(eid, "b", 2, "old"), WL_COMMIT_FENCED);
	expect(eid, "b", 3, false, "");
	seal(eid, 5); /* and once more: the placeholder's epoch rises */
	assert_int_equal(commit_output(eid, "b", 3, "old"), WL_COMMIT_FENCED);
	assert_int_equal(commit_output(eid, "b", 5, "new"), WL_COMMIT_STORED);
	assert_int_equal(commit_output(eid, "b", 3, "old"), WL_COMMIT_KNOWN);
	seal(eid, 4); /* a seal that comes late lowers nothing */
	expect(eid, "b", 5, true, "new");
}

static void test_bulk_with_every_outcome(void **state)
{
	(void)state;
	char eid[WL_UUID_TEXT], other[WL_UUID_TEXT];
	struct wl_error err = { 0 };
	fresh(eid);
	assert_int_equal(commit_output(eid, "known", 1, "1"), WL_COMMIT_STORED);
	static const char *const nodes[] = { "fenced", "taken" };
	assert_int_equal(store.seal(store.self, 3, eid, &nodes[0], 1, 9, &err), 0);
	assert_int_equal(store.seal(store.self, 3, eid, &nodes[1], 1, 2, &err), 0);
	struct wl_node_result items[5] = { result_of(eid, "known", 2, "x"), result_of(eid, "new", 2, "2"),
					   result_of(eid, "fenced", 2, "x"), result_of(eid, "taken", 2, "3"),
					   result_of(fresh(other), "new", 1, "4") };
	enum wl_commit_outcome outcomes[5];
	assert_int_equal(store.commit(store.self, items, 5, outcomes, &err), 0);
	assert_int_equal(outcomes[0], WL_COMMIT_KNOWN);
	assert_int_equal(outcomes[1], WL_COMMIT_STORED);
	assert_int_equal(outcomes[2], WL_COMMIT_FENCED);
	assert_int_equal(outcomes[3], WL_COMMIT_STORED);
	assert_int_equal(outcomes[4], WL_COMMIT_STORED);
	expect(eid, "known", 1, true, "1");
	expect(eid, "taken", 2, true, "3");
	expect(other, "new", 1, true, "4");
}

/* One document that no server takes does not keep the others from being stored. */
static void test_too_large(void **state)
{
	(void)state;
	char eid[WL_UUID_TEXT];
	struct wl_error err = { 0 };
	fresh(eid);
	size_t length = 17u << 20;
	char *large = malloc(length + 3);
	memset(large, 'x', length + 2);
	large[0] = large[length + 1] = '"';
	large[length + 2] = '\0';
	struct wl_node_result items[3] = { result_of(eid, "a", 1, "1"), result_of(eid, "large", 1, large),
					   result_of(eid, "b", 1, "2") };
	enum wl_commit_outcome outcomes[3];
	assert_int_equal(store.commit(store.self, items, 3, outcomes, &err), 0);
	free(large);
	assert_int_equal(outcomes[0], WL_COMMIT_STORED);
	assert_int_equal(outcomes[1], WL_COMMIT_FAILED);
	assert_int_equal(outcomes[2], WL_COMMIT_STORED);
	expect(eid, "b", 1, true, "2");
}

struct racer {
	char eid[WL_UUID_TEXT];
	int epoch;
	int stored;
};

static void *race(void *context)
{
	struct racer *racer = context;
	for (int i = 0; i < 40; i++) {
		char node[16], output[16];
		(void)snprintf(node, sizeof(node), "n%d", i);
		(void)snprintf(output, sizeof(output), "%d", racer->epoch);
		racer->stored += commit_output(racer->eid, node, racer->epoch, output) == WL_COMMIT_STORED;
	}
	return NULL;
}

/* Four attempts commit the same nodes at the same time: each node is stored by exactly one. */
static void test_race(void **state)
{
	(void)state;
	char eid[WL_UUID_TEXT];
	struct racer racers[4];
	pthread_t threads[4];
	int stored = 0;
	fresh(eid);
	for (int i = 0; i < 4; i++) {
		racers[i] = (struct racer){ .epoch = i + 1 };
		strcpy(racers[i].eid, eid);
		assert_int_equal(pthread_create(&threads[i], NULL, race, &racers[i]), 0);
	}
	for (int i = 0; i < 4; i++) {
		(void)pthread_join(threads[i], NULL);
		stored += racers[i].stored;
	}
	assert_int_equal(stored, 40);
}

static void test_away_and_back(void **state)
{
	(void)state;
	char eid[WL_UUID_TEXT];
	struct wl_error err = { 0 };
	enum wl_commit_outcome outcome;
	struct wl_node_result result = result_of(fresh(eid), "a", 1, "1");
	if (!docserver.process)
		skip();
	assert_int_equal(commit(&result), WL_COMMIT_STORED);
	docserver_kill(&docserver);
	result = result_of(eid, "b", 1, "2");
	assert_int_equal(store.commit(store.self, &result, 1, &outcome, &err), -ECONNREFUSED);
	struct wl_node_results second;
	assert_int_equal(mongo_node_results_open(docserver.url, &second, &err), -ECONNREFUSED);
	docserver_restart(&docserver);
	uint64_t end_ms = wl_clock_boot_ms() + 30000;
	while (store.commit(store.self, &result, 1, &outcome, &err) < 0)
		assert_true(wl_clock_boot_ms() < end_ms);
	assert_int_equal(outcome, WL_COMMIT_STORED);
	expect(eid, "a", 1, true, "1");
	expect(eid, "b", 1, true, "2");
}

static void test_bad_url(void **state)
{
	(void)state;
	struct wl_node_results none;
	struct wl_error err = { 0 };
	assert_int_equal(mongo_node_results_open("postgresql://x", &none, &err), -EINVAL);
	assert_int_equal(mongo_node_results_open("", &none, &err), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_field),
		cmocka_unit_test(test_first_commit_wins),
		cmocka_unit_test(test_seal_fences_older_attempts),
		cmocka_unit_test(test_bulk_with_every_outcome),
		cmocka_unit_test(test_too_large),
		cmocka_unit_test(test_race),
		cmocka_unit_test(test_away_and_back),
		cmocka_unit_test(test_bad_url),
	};
	if (!docserver_there())
		return 1;
	return cmocka_run_group_tests(tests, start, stop);
}
