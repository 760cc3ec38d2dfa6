/* The spool: what is read back is what was written, whatever happened to the file in between. */
#include "supervisor/spool.h"

#include "lib/base/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cmocka.h>

static char folder[64];

static int make_folder(void **state)
{
	(void)state;
	strcpy(folder, "/tmp/windlass-spool-XXXXXX");
	return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
	(void)state;
	char command[96];
	(void)snprintf(command, sizeof(command), "rm -rf '%s'", folder);
	return system(command);
}

static struct wl_node_result result_of(int number)
{
	static char ids[8][16], outputs[8][32];
	struct wl_node_result result = { .tenant = 7,
					 .epoch = number + 1,
					 .committed = true,
					 .state = WL_NODE_SUCCEEDED,
					 .attempt = 2,
					 .start_ms = 1000 + number,
					 .end_ms = 2000 + number };
	(void)snprintf(ids[number], sizeof(ids[number]), "node-%d", number);
	(void)snprintf(outputs[number], sizeof(outputs[number]), "{\"n\":%d}", number);
	strcpy(result.eid, "01a209e1-462e-7c05-b1fb-84fb6648b075");
	result.node_id = ids[number];
	result.outputs_json = outputs[number];
	return result;
}

static void append_some(struct spool *spool, int from, int to)
{
	struct wl_node_result results[8];
	const struct wl_node_result *list[8];
	struct wl_error err;
	for (int i = from; i < to; i++) {
		results[i] = result_of(i);
		list[i - from] = &results[i];
	}
	assert_int_equal(spool_append(spool, list, to - from, &err), 0);
}

/* Read on from the beginning; how many records came back whole. */
static int read_all(const struct spool *spool)
{
	size_t offset = 0;
	int count = 0;
	struct wl_error err;
	struct wl_node_result read;
	while (spool_read(spool, &offset, &read, &err) > 0) {
		struct wl_node_result wrote = result_of(count++);
		assert_string_equal(read.node_id, wrote.node_id);
		assert_string_equal(read.outputs_json, wrote.outputs_json);
		assert_string_equal(read.eid, wrote.eid);
		assert_int_equal(read.epoch, wrote.epoch);
		assert_int_equal(read.tenant, 7);
		assert_int_equal(read.state, WL_NODE_SUCCEEDED);
		assert_true(read.start_ms == wrote.start_ms && read.end_ms == wrote.end_ms);
		assert_null(read.error_json);
		assert_true(read.committed);
		wl_node_result_release(&read);
	}
	return count;
}

static void test_round_trip(void **state)
{
	(void)state;
	struct spool spool;
	struct wl_error err;
	assert_int_equal(spool_open(folder, "sup-1", SPOOL_MAX, &spool, &err), 0);
	assert_int_equal(read_all(&spool), 0);
	append_some(&spool, 0, 3);
	append_some(&spool, 3, 5);
	assert_int_equal(read_all(&spool), 5);
	assert_int_equal(spool_clear(&spool, &err), 0);
	assert_int_equal(read_all(&spool), 0);
	append_some(&spool, 0, 2);
	assert_int_equal(read_all(&spool), 2);
	assert_int_equal(spool_clear(&spool, &err), 0);
	spool_close(&spool);
	assert_int_equal(access(spool.path, F_OK), -1);
}

static void test_cap(void **state)
{
	(void)state;
	struct spool spool;
	struct wl_error err;
	struct wl_node_result result = result_of(1);
	const struct wl_node_result *list[] = { &result };
	assert_int_equal(spool_open(folder, "sup-1", 300, &spool, &err), 0);
	append_some(&spool, 0, 2);
	size_t used = spool.used;
	assert_int_equal(spool_append(&spool, list, 1, &err), -ENOSPC);
	assert_true(spool.used == used);
	assert_int_equal(read_all(&spool), 2);
	assert_int_equal(spool_clear(&spool, &err), 0);
	spool_close(&spool);
}

/* At each length the file may have been cut to, and with each byte changed, only whole records come back. */
static void test_damage(void **state)
{
	(void)state;
	struct spool spool;
	struct wl_error err;
	assert_int_equal(spool_open(folder, "sup-1", SPOOL_MAX, &spool, &err), 0);
	append_some(&spool, 0, 1);
	size_t first = spool.used;
	append_some(&spool, 1, 3);
	size_t whole = spool.used, second = first + (whole - first) / 2;
	char *bytes = malloc(whole);
	assert_int_equal(pread(spool.fd, bytes, whole, 0), (ssize_t)whole);
	for (size_t length = 0; length < whole; length++) {
		assert_int_equal(ftruncate(spool.fd, 0), 0);
		assert_int_equal(write(spool.fd, bytes, length), (ssize_t)length);
		assert_int_equal(read_all(&spool), length < first ? 0 : length < second ? 1 : 2);
	}
	for (size_t at = first; at < second; at++) {
		bytes[at] ^= 0x55;
		assert_int_equal(ftruncate(spool.fd, 0), 0);
		assert_int_equal(write(spool.fd, bytes, whole), (ssize_t)whole);
		assert_int_equal(read_all(&spool), 1);
		bytes[at] ^= 0x55;
	}
	free(bytes);
	assert_int_equal(spool_clear(&spool, &err), 0);
	spool_close(&spool);
}

/* A file is taken over only after the process that wrote it is gone. */
static void test_adopt(void **state)
{
	(void)state;
	struct spool adopted;
	struct wl_error err;
	int ready[2], go[2];
	char byte = 0;
	assert_int_equal(pipe(ready) | pipe(go), 0);
	pid_t writer = fork();
	if (writer == 0) {
		struct spool spool;
		if (spool_open(folder, "sup-2", SPOOL_MAX, &spool, &err) < 0)
			_exit(1);
		append_some(&spool, 0, 4);
		_exit(write(ready[1], "x", 1) == 1 && read(go[0], &byte, 1) == 1 ? 0 : 1);
	}
	assert_int_equal(read(ready[0], &byte, 1), 1);
	assert_int_equal(spool_adopt(folder, &adopted, &err), 0);
	assert_int_equal(write(go[1], "x", 1), 1);
	int status = 1;
	assert_int_equal(waitpid(writer, &status, 0), writer);
	assert_int_equal(status, 0);
	assert_int_equal(spool_adopt(folder, &adopted, &err), 1);
	assert_int_equal(read_all(&adopted), 4);
	struct spool second;
	assert_int_equal(spool_adopt(folder, &second, &err), 0);
	assert_int_equal(spool_clear(&adopted, &err), 0);
	spool_close(&adopted);
	assert_int_equal(spool_adopt(folder, &second, &err), 0);
	assert_int_equal(spool_adopt("/nonexistent/folder", &second, &err), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_round_trip, make_folder, remove_folder),
		cmocka_unit_test_setup_teardown(test_cap, make_folder, remove_folder),
		cmocka_unit_test_setup_teardown(test_damage, make_folder, remove_folder),
		cmocka_unit_test_setup_teardown(test_adopt, make_folder, remove_folder),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
