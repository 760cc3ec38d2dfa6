/*
 * Control groups, on folder trees that look like version 1 and version 2: what is written where, in which order, and
 * what is said when a file is missing. (The kernel's own version 1 is under test in tests/sandbox.)
 */
#include "lib/base/cleanup.h"
#include "supervisor/sandbox/cgroup.h"

#include <errno.h>
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

static char root[64];

static void make(const char *below, const char *text)
{
	char path[512];
	(void)snprintf(path, sizeof(path), "%s/%s", root, below);
	for (char *slash = strchr(path + strlen(root) + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		(void)mkdir(path, 0755);
		*slash = '/';
	}
	FILE *file = fopen(path, "we");
	assert_non_null(file);
	assert_true(fputs(text, file) >= 0);
	assert_int_equal(fclose(file), 0);
}

static void assert_file(const char *below, const char *text)
{
	char path[512];
	char found[256] = "";
	(void)snprintf(path, sizeof(path), "%s/%s", root, below);
	FILE *file = fopen(path, "re");
	assert_non_null(file);
	found[fread(found, 1, sizeof(found) - 1, file)] = '\0';
	(void)fclose(file);
	assert_string_equal(found, text);
}

static int new_tree(void **state)
{
	(void)state;
	(void)strcpy(root, "/tmp/windlass-cgroup-test-XXXXXX");
	return mkdtemp(root) ? 0 : -1;
}

static int remove_one(const char *path, const struct stat *status, int kind, struct FTW *walk)
{
	(void)status;
	(void)kind;
	(void)walk;
	return remove(path);
}

static int drop_tree(void **state)
{
	(void)state;
	return nftw(root, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static void make_v2(const char *controllers)
{
	make("cgroup.controllers", controllers);
	make("cgroup.subtree_control", "");
	make("windlass/cgroup.subtree_control", "");
	make("windlass/me/cgroup.subtree_control", "");
}

static const struct warden_limits parked = { .memory_mb = 256, .cpu_milli = 1000, .pids = 64 };

static void version_2_gets_its_files(void **state)
{
	(void)state;
	struct cgroup_host host;
	struct wl_error err = { 0 };
	const char *const files[] = { "memory.max", "memory.oom.group", "pids.max", "cpu.max" };
	char below[128];
	make_v2("cpuset cpu io memory pids\n");
	assert_int_equal(cgroup_detect(root, 4096, &host, &err), 0);
	assert_int_equal(host.version, CGROUP_V2);
	assert_int_equal(cgroup_open(&host, "me", &err), 0);
	assert_file("windlass/me/cgroup.subtree_control", "+memory +pids +cpu");
	for (size_t i = 0; i < WL_COUNT_OF(files); i++) {
		(void)snprintf(below, sizeof(below), "windlass/me/s1/%s", files[i]);
		make(below, "");
	}
	const struct warden_limits wanted = { .memory_mb = 64, .cpu_milli = 250, .pids = 20 };
	assert_int_equal(cgroup_apply(&host, "s1", &parked, &wanted, &err), 0);
	assert_file("windlass/me/s1/memory.max", "67108864");
	assert_file("windlass/me/s1/cpu.max", "25000 100000");
	assert_file("windlass/me/s1/pids.max", "20");
	assert_file("windlass/me/s1/memory.oom.group", "1");
}

static void version_2_usage_is_read(void **state)
{
	(void)state;
	struct cgroup_host host;
	struct cgroup_usage usage;
	struct wl_error err = { 0 };
	make_v2("cpu memory pids");
	assert_int_equal(cgroup_detect(root, 0, &host, &err), 0);
	assert_int_equal(cgroup_open(&host, "me", &err), 0);
	make("windlass/me/s1/memory.events", "low 0\nhigh 0\nmax 72\noom 3\noom_kill 2\noom_group_kill 0\n");
	make("windlass/me/s1/memory.peak", "67108864\n");
	make("windlass/me/s1/pids.peak", "19\n");
	make("windlass/me/s1/cpu.stat", "usage_usec 1234\nuser_usec 1000\nsystem_usec 234\n");
	cgroup_read_usage(&host, "s1", &usage);
	assert_int_equal(usage.oom_kills, 2);
	assert_int_equal(usage.memory_peak, 67108864);
	assert_int_equal(usage.pids_peak, 19);
	assert_int_equal(usage.cpu_us, 1234);
	cgroup_read_usage(&host, "s2", &usage);
	assert_int_equal(usage.cpu_us + usage.oom_kills + usage.memory_peak + usage.pids_peak, 0);
}

static void a_missing_controller_is_named(void **state)
{
	(void)state;
	struct cgroup_host host;
	struct wl_error err = { 0 };
	make("cgroup.controllers", "cpuset cpu io memory_recursive pids");
	assert_int_equal(cgroup_detect(root, 0, &host, &err), -ENOTSUP);
	assert_non_null(strstr(err.text, "'memory'"));
}

static void make_v1(bool limits_swap)
{
	static const char *const controllers[] = { "memory", "pids", "cpu", "cpuacct", "freezer" };
	for (size_t i = 0; i < WL_COUNT_OF(controllers); i++) {
		char below[64];
		(void)snprintf(below, sizeof(below), "%s/cgroup.procs", controllers[i]);
		make(below, "");
	}
	make("unified/cgroup.procs", "");
	if (limits_swap)
		make("memory/memory.memsw.limit_in_bytes", "");
}

static void version_1_gets_its_files(void **state)
{
	(void)state;
	struct cgroup_host host;
	struct wl_error err = { 0 };
	make_v1(true);
	assert_int_equal(cgroup_detect(root, 4096, &host, &err), 0);
	assert_int_equal(host.version, CGROUP_V1);
	assert_int_equal(host.hierarchy_count, 5); /* not "unified" */
	assert_int_equal(cgroup_open(&host, "me", &err), 0);
	make("memory/windlass/me/s1/memory.limit_in_bytes", "");
	make("memory/windlass/me/s1/memory.memsw.limit_in_bytes", "");
	make("cpu/windlass/me/s1/cpu.cfs_quota_us", "");
	make("pids/windlass/me/s1/pids.max", "");
	const struct warden_limits wanted = { .memory_mb = 512, .cpu_milli = 2500, .pids = 7 };
	assert_int_equal(cgroup_apply(&host, "s1", &parked, &wanted, &err), 0);
	assert_file("memory/windlass/me/s1/memory.limit_in_bytes", "536870912");
	assert_file("memory/windlass/me/s1/memory.memsw.limit_in_bytes", "536870912");
	assert_file("cpu/windlass/me/s1/cpu.cfs_quota_us", "250000");
	assert_file("pids/windlass/me/s1/pids.max", "7");
}

static void what_does_not_differ_is_not_written(void **state)
{
	(void)state;
	struct cgroup_host host;
	struct wl_error err = { 0 };
	make_v1(true);
	assert_int_equal(cgroup_detect(root, 0, &host, &err), 0);
	assert_int_equal(cgroup_open(&host, "me", &err), 0);
	/* no files are there at all: any write would fail */
	assert_int_equal(cgroup_apply(&host, "s1", &parked, &parked, &err), 0);
}

static void a_limit_that_cannot_be_set_closes_the_door(void **state)
{
	(void)state;
	struct cgroup_host host;
	struct wl_error err = { 0 };
	make_v1(true);
	assert_int_equal(cgroup_detect(root, 0, &host, &err), 0);
	assert_int_equal(cgroup_open(&host, "me", &err), 0);
	struct warden_limits wanted = parked;
	wanted.pids = 3;
	assert_int_equal(cgroup_apply(&host, "s1", &parked, &wanted, &err), -EPERM);
	assert_non_null(strstr(err.text, "pids.max = 3"));
	wanted = parked;
	wanted.cpu_milli = 10;
	assert_int_equal(cgroup_apply(&host, "s1", &parked, &wanted, &err), -EPERM);
	assert_non_null(strstr(err.text, "cpu.cfs_quota_us = 1000"));
	wanted = parked;
	wanted.memory_mb = 8;
	assert_int_equal(cgroup_apply(&host, "s1", &parked, &wanted, &err), -EPERM);
	assert_non_null(strstr(err.text, "memory.limit_in_bytes = 8388608")); /* lowering begins with memory alone */
	wanted.memory_mb = 1024;
	assert_int_equal(cgroup_apply(&host, "s1", &parked, &wanted, &err), -EPERM);
	assert_non_null(strstr(err.text, "memory.memsw.limit_in_bytes")); /* raising with both together */
}

static void swap_without_a_limit_is_refused(void **state)
{
	(void)state;
	struct cgroup_host host;
	struct wl_error err = { 0 };
	make_v1(false);
	assert_int_equal(cgroup_detect(root, 1, &host, &err), -ENOTSUP);
	assert_non_null(strstr(err.text, "swapaccount=1"));
	assert_int_equal(cgroup_detect(root, 0, &host, &err), 0);
	assert_false(host.limits_swap);
}

static void only_dead_instances_are_removed(void **state)
{
	(void)state;
	struct cgroup_host host;
	struct wl_error err = { 0 };
	char own[CGROUP_INSTANCE_SIZE];
	char dead[CGROUP_INSTANCE_SIZE];
	char stranger[CGROUP_INSTANCE_SIZE + 8];
	char path[512];
	int pid;
	unsigned long long start;
	unsigned long long namespace;
	make_v1(true);
	assert_int_equal(cgroup_instance_name(own, &err), 0);
	assert_int_equal(sscanf(own, "warden-%d-%llu-%llu", &pid, &start, &namespace), 3);
	/* our pid at another time: a reused number; and a process of another pid namespace, about which nobody knows */
	(void)snprintf(dead, sizeof(dead), "warden-%d-%llu-%llu", pid, start + 1, namespace);
	(void)snprintf(stranger, sizeof(stranger), "warden-%d-%llu-%llu", pid, start + 1, namespace + 1);
	const char *const names[] = { own, dead, stranger, "something-else" };
	for (size_t i = 0; i < WL_COUNT_OF(names); i++) {
		(void)snprintf(path, sizeof(path), "memory/windlass/%s/s1/", names[i]);
		char full[600];
		(void)snprintf(full, sizeof(full), "%s/memory/windlass", root);
		(void)mkdir(full, 0755);
		(void)snprintf(full, sizeof(full), "%s/memory/windlass/%s", root, names[i]);
		assert_int_equal(mkdir(full, 0755), 0);
		(void)snprintf(full, sizeof(full), "%s/%s", root, path);
		assert_int_equal(mkdir(full, 0755), 0);
	}
	assert_int_equal(cgroup_detect(root, 0, &host, &err), 0);
	int removed = cgroup_remove_leftovers(&host);
	for (size_t i = 0; i < WL_COUNT_OF(names); i++) {
		struct stat status;
		(void)snprintf(path, sizeof(path), "%s/memory/windlass/%s", root, names[i]);
		assert_int_equal(stat(path, &status) == 0, i != 1);
	}
	/* counted where the first hierarchy is the one it lay in */
	assert_in_range(removed, 0, 1);
}

int main(void)
{
#define TREE_TEST(name) cmocka_unit_test_setup_teardown(name, new_tree, drop_tree)
	const struct CMUnitTest tests[] = {
		TREE_TEST(version_2_gets_its_files),
		TREE_TEST(version_2_usage_is_read),
		TREE_TEST(a_missing_controller_is_named),
		TREE_TEST(version_1_gets_its_files),
		TREE_TEST(what_does_not_differ_is_not_written),
		TREE_TEST(a_limit_that_cannot_be_set_closes_the_door),
		TREE_TEST(swap_without_a_limit_is_refused),
		TREE_TEST(only_dead_instances_are_removed),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
