#include "supervisor/sandbox/cgroup.h"

#include "lib/base/cleanup.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PARENT "windlass"
#define CPU_PERIOD_US 100000u
#define KILL_ROUNDS 200
#define KILL_ROUND_MS 10

/* ---- small files ------------------------------------------------------------------------------- */

static int write_file(const char *path, const char *text)
{
	_wl_close_ int fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	size_t length = strlen(text);
	ssize_t put = write(fd, text, length);
	if (put < 0)
		return -errno;
	return (size_t)put == length ? 0 : -EIO;
}

static int read_file(const char *path, char *text, size_t size)
{
	_wl_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	ssize_t got = read(fd, text, size - 1);
	if (got < 0)
		return -errno;
	text[got] = '\0';
	return 0;
}

static uint64_t read_number(const char *path)
{
	char text[64];
	return read_file(path, text, sizeof(text)) < 0 ? 0 : strtoull(text, NULL, 10);
}

/* The number behind `key` in a file of "key number" lines; 0 when there is none. */
static uint64_t read_keyed(const char *path, const char *key)
{
	char text[2048];
	if (read_file(path, text, sizeof(text)) < 0)
		return 0;
	size_t length = strlen(key);
	for (char *line = text; line && *line; line = strchr(line, '\n')) {
		line += *line == '\n';
		if (strncmp(line, key, length) == 0 && line[length] == ' ')
			return strtoull(line + length, NULL, 10);
	}
	return 0;
}

/* ---- detection --------------------------------------------------------------------------------- */

static bool has_file(const char *root, const char *below)
{
	char path[CGROUP_PATH_MAX];
	(void)snprintf(path, sizeof(path), "%s/%s", root, below);
	return access(path, F_OK) == 0;
}

static bool has_word(const char *text, const char *word)
{
	size_t length = strlen(word);
	for (const char *at = strstr(text, word); at; at = strstr(at + 1, word))
		if ((at == text || at[-1] == ' ') && (at[length] == ' ' || at[length] == '\n' || !at[length]))
			return true;
	return false;
}

static int detect_v2(struct cgroup_host *host, struct wl_error *err)
{
	static const char *const needed[] = { "memory", "pids", "cpu" };
	char path[CGROUP_PATH_MAX];
	char controllers[512];
	(void)snprintf(path, sizeof(path), "%s/cgroup.controllers", host->root);
	int result = read_file(path, controllers, sizeof(controllers));
	if (result < 0)
		return wl_fail_errno(err, -result, "cannot read %s", path);
	for (size_t i = 0; i < WL_COUNT_OF(needed); i++)
		if (!has_word(controllers, needed[i]))
			return wl_fail(err, ENOTSUP, "the cgroup controller '%s' is not available below %s", needed[i],
				       host->root);
	host->version = CGROUP_V2;
	host->hierarchy_count = 1;
	host->limits_swap = true;
	return 0;
}

static int list_hierarchies(struct cgroup_host *host, struct wl_error *err)
{
	DIR *folder = opendir(host->root);
	if (!folder)
		return wl_fail_errno(err, errno, "cannot read %s", host->root);
	for (struct dirent *entry; (entry = readdir(folder));) {
		struct stat status;
		/* links such as cpu -> cpu,cpuacct name a hierarchy that is listed under its own name */
		if (entry->d_name[0] == '.' || strcmp(entry->d_name, "unified") == 0 ||
		    strlen(entry->d_name) >= sizeof(host->hierarchies[0]) ||
		    fstatat(dirfd(folder), entry->d_name, &status, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISDIR(status.st_mode))
			continue;
		if (host->hierarchy_count == CGROUP_HIERARCHIES_MAX)
			break;
		strcpy(host->hierarchies[host->hierarchy_count++], entry->d_name);
	}
	(void)closedir(folder);
	return 0;
}

static int detect_v1(struct cgroup_host *host, uint64_t swap_total, struct wl_error *err)
{
	static const char *const needed[] = { "memory", "pids", "cpu", "cpuacct" };
	for (size_t i = 0; i < WL_COUNT_OF(needed); i++) {
		char below[64];
		(void)snprintf(below, sizeof(below), "%s/cgroup.procs", needed[i]);
		if (!has_file(host->root, below))
			return wl_fail(err, ENOTSUP, "the cgroup controller '%s' is not mounted below %s", needed[i],
				       host->root);
	}
	host->version = CGROUP_V1;
	host->limits_swap = has_file(host->root, "memory/memory.memsw.limit_in_bytes");
	if (!host->limits_swap && swap_total > 0)
		return wl_fail(err, ENOTSUP,
			       "this host has swap but its kernel does not limit it: boot with swapaccount=1");
	return list_hierarchies(host, err);
}

int cgroup_detect(const char *root, uint64_t swap_total, struct cgroup_host *ret_host, struct wl_error *err)
{
	struct cgroup_host host = { 0 };
	(void)snprintf(host.root, sizeof(host.root), "%s", root);
	int result = has_file(root, "cgroup.controllers") ? detect_v2(&host, err) : detect_v1(&host, swap_total, err);
	if (result == 0)
		*ret_host = host;
	return result;
}

/* ---- instances --------------------------------------------------------------------------------- */

/* Start time of a process in clock ticks since boot (proc(5), field 22 of stat); 0 when there is no such process. */
static unsigned long long start_time(long pid)
{
	char path[64];
	char text[1024];
	(void)snprintf(path, sizeof(path), "/proc/%ld/stat", pid);
	if (read_file(path, text, sizeof(text)) < 0)
		return 0;
	char *at = strrchr(text, ')'); /* the name before it may hold spaces */
	for (int field = 2; at && field < 22; field++)
		at = strchr(at + 1, ' ');
	return at ? strtoull(at, NULL, 10) : 0;
}

static unsigned long long pid_namespace(void)
{
	struct stat status;
	return stat("/proc/self/ns/pid", &status) < 0 ? 0 : (unsigned long long)status.st_ino;
}

int cgroup_instance_name(char name[CGROUP_INSTANCE_SIZE], struct wl_error *err)
{
	unsigned long long start = start_time((long)getpid());
	if (start == 0)
		return wl_fail(err, ENOTSUP, "/proc does not show this process");
	(void)snprintf(name, CGROUP_INSTANCE_SIZE, "warden-%d-%llu-%llu", (int)getpid(), start, pid_namespace());
	return 0;
}

static bool instance_is_dead(const char *name)
{
	long pid;
	unsigned long long start;
	unsigned long long namespace;
	if (sscanf(name, "warden-%ld-%llu-%llu", &pid, &start, &namespace) != 3)
		return false;
	return namespace == pid_namespace() && start_time(pid) != start;
}

static void parent_path(const struct cgroup_host *host, size_t hierarchy, char path[CGROUP_PATH_MAX])
{
	const char *folder = host->hierarchies[hierarchy];
	(void)snprintf(path, CGROUP_PATH_MAX, "%s%s%s/" PARENT, host->root, *folder ? "/" : "", folder);
}

static void instance_path(const struct cgroup_host *host, size_t hierarchy, char path[CGROUP_PATH_MAX])
{
	parent_path(host, hierarchy, path);
	size_t used = strlen(path);
	(void)snprintf(path + used, CGROUP_PATH_MAX - used, "/%s", host->instance);
}

static int make_instance(const struct cgroup_host *host, size_t hierarchy, struct wl_error *err)
{
	char parent[CGROUP_PATH_MAX];
	char path[CGROUP_PATH_MAX];
	parent_path(host, hierarchy, parent);
	instance_path(host, hierarchy, path);
	/* another warden that ends may remove the common folder between the two calls */
	for (int attempt = 0; attempt < 20; attempt++) {
		if (mkdir(parent, 0755) < 0 && errno != EEXIST)
			return wl_fail_errno(err, errno, "cannot make the control group %s", parent);
		if (mkdir(path, 0755) == 0 || errno == EEXIST)
			return 0;
		if (errno != ENOENT)
			break;
	}
	return wl_fail_errno(err, errno, "cannot make the control group %s", path);
}

static int hand_down(const char *folder, struct wl_error *err)
{
	char path[CGROUP_PATH_MAX];
	(void)snprintf(path, sizeof(path), "%s/cgroup.subtree_control", folder);
	int result = write_file(path, "+memory +pids +cpu");
	if (result == -EBUSY)
		return wl_fail(err, EBUSY,
			       "cannot hand cgroup controllers down in %s: processes live in that group itself; move "
			       "them to a group below it",
			       folder);
	return result < 0 ? wl_fail_errno(err, -result, "cannot hand cgroup controllers down in %s", folder) : 0;
}

int cgroup_open(struct cgroup_host *host, const char *instance, struct wl_error *err)
{
	(void)snprintf(host->instance, sizeof(host->instance), "%s", instance);
	for (size_t i = 0; i < host->hierarchy_count; i++)
		if (make_instance(host, i, err) < 0)
			return -err->code;
	if (host->version == CGROUP_V1)
		return 0;
	char parent[CGROUP_PATH_MAX];
	char path[CGROUP_PATH_MAX];
	parent_path(host, 0, parent);
	instance_path(host, 0, path);
	if (hand_down(host->root, err) < 0 || hand_down(parent, err) < 0 || hand_down(path, err) < 0)
		return -err->code;
	return 0;
}

void cgroup_close(const struct cgroup_host *host)
{
	char path[CGROUP_PATH_MAX];
	for (size_t i = 0; i < host->hierarchy_count; i++) {
		instance_path(host, i, path);
		(void)rmdir(path);
		parent_path(host, i, path);
		(void)rmdir(path); /* refused while another warden lives */
	}
}

/* ---- removal ----------------------------------------------------------------------------------- */

/* Send SIGKILL to each process of one group; returns how many there were. */
static int kill_members(const char *folder)
{
	char path[CGROUP_PATH_MAX + 16];
	(void)snprintf(path, sizeof(path), "%s/cgroup.procs", folder);
	_wl_fclose_ FILE *file = fopen(path, "re");
	int count = 0;
	for (long pid; file && fscanf(file, "%ld", &pid) == 1; count++)
		if (pid > 0)
			(void)kill((pid_t)pid, SIGKILL);
	return count;
}

static void remove_group(const char *folder)
{
	for (int round = 0; round < KILL_ROUNDS; round++) {
		if (rmdir(folder) == 0 || errno != EBUSY)
			return;
		(void)kill_members(folder);
		/* killed processes leave the group only when they have been torn down; there is no event for it on v1
		 */
		(void)poll(NULL, 0, round == 0 ? 1 : KILL_ROUND_MS);
	}
}

/* Remove a group with all groups below it. */
static void remove_tree(const char *folder)
{
	DIR *list = opendir(folder);
	for (struct dirent *entry; list && (entry = readdir(list));) {
		if (entry->d_type != DT_DIR || entry->d_name[0] == '.')
			continue;
		char below[CGROUP_PATH_MAX];
		if ((size_t)snprintf(below, sizeof(below), "%s/%s", folder, entry->d_name) < sizeof(below))
			remove_tree(below);
	}
	if (list)
		(void)closedir(list);
	remove_group(folder);
}

int cgroup_remove_leftovers(const struct cgroup_host *host)
{
	int removed = 0;
	for (size_t i = 0; i < host->hierarchy_count; i++) {
		char parent[CGROUP_PATH_MAX];
		parent_path(host, i, parent);
		DIR *list = opendir(parent);
		for (struct dirent *entry; list && (entry = readdir(list));) {
			char path[CGROUP_PATH_MAX];
			if (!instance_is_dead(entry->d_name) ||
			    (size_t)snprintf(path, sizeof(path), "%s/%s", parent, entry->d_name) >= sizeof(path))
				continue;
			remove_tree(path);
			removed += i == 0;
		}
		if (list)
			(void)closedir(list);
	}
	return removed;
}

void cgroup_remove(const struct cgroup_host *host, const char *name)
{
	for (size_t i = 0; i < host->hierarchy_count; i++) {
		char path[CGROUP_PATH_MAX];
		instance_path(host, i, path);
		size_t used = strlen(path);
		if ((size_t)snprintf(path + used, sizeof(path) - used, "/%s", name) < sizeof(path) - used)
			remove_group(path);
	}
}

/* ---- limits and usage -------------------------------------------------------------------------- */

/* Path of a file of sandbox `name`; `controller` counts on version 1 only. */
static void file_path(const struct cgroup_host *host, const char *controller, const char *name, const char *file,
		      char path[CGROUP_PATH_MAX])
{
	bool v1 = host->version == CGROUP_V1;
	(void)snprintf(path, CGROUP_PATH_MAX, "%s%s%s/" PARENT "/%s/%s/%s", host->root, v1 ? "/" : "",
		       v1 ? controller : "", host->instance, name, file);
}

static int set_value(const struct cgroup_host *host, const char *controller, const char *name, const char *file,
		     const char *value, struct wl_error *err)
{
	char path[CGROUP_PATH_MAX];
	file_path(host, controller, name, file, path);
	int result = write_file(path, value);
	if (result == 0)
		return 0;
	return wl_fail(err, EPERM, "this host cannot apply a limit: %s = %s: %s", file, value, strerror(-result));
}

static int apply_memory(const struct cgroup_host *host, const char *name, bool raise, uint32_t memory_mb,
			struct wl_error *err)
{
	char bytes[32];
	(void)snprintf(bytes, sizeof(bytes), "%" PRIu64, (uint64_t)memory_mb << 20);
	if (host->version == CGROUP_V2)
		return set_value(host, "", name, "memory.max", bytes, err);
	/* memory and swap together may never be less than memory alone, so the order depends on the direction */
	const char *files[] = { "memory.memsw.limit_in_bytes", "memory.limit_in_bytes" };
	for (int i = 0; i < 2; i++) {
		const char *file = files[raise ? i : 1 - i];
		if (!host->limits_swap && file == files[0])
			continue;
		if (set_value(host, "memory", name, file, bytes, err) < 0)
			return -err->code;
	}
	return 0;
}

static int apply_cpu(const struct cgroup_host *host, const char *name, uint32_t cpu_milli, struct wl_error *err)
{
	char value[64];
	uint32_t quota = (uint32_t)((uint64_t)cpu_milli * CPU_PERIOD_US / 1000);
	if (host->version == CGROUP_V1) {
		(void)snprintf(value, sizeof(value), "%u", quota);
		return set_value(host, "cpu", name, "cpu.cfs_quota_us", value, err);
	}
	(void)snprintf(value, sizeof(value), "%u %u", quota, CPU_PERIOD_US);
	return set_value(host, "", name, "cpu.max", value, err);
}

int cgroup_apply(const struct cgroup_host *host, const char *name, const struct warden_limits *current,
		 const struct warden_limits *wanted, struct wl_error *err)
{
	char value[32];
	if (wanted->memory_mb != current->memory_mb &&
	    apply_memory(host, name, wanted->memory_mb > current->memory_mb, wanted->memory_mb, err) < 0)
		return -err->code;
	if (wanted->cpu_milli != current->cpu_milli && apply_cpu(host, name, wanted->cpu_milli, err) < 0)
		return -err->code;
	if (wanted->pids != current->pids) {
		(void)snprintf(value, sizeof(value), "%u", wanted->pids);
		if (set_value(host, "pids", name, "pids.max", value, err) < 0)
			return -err->code;
	}
	/* one process of a program that ran out of memory is no use without the others */
	if (host->version == CGROUP_V2)
		return set_value(host, "", name, "memory.oom.group", "1", err);
	return 0;
}

void cgroup_reset_peak(const struct cgroup_host *host, const char *name)
{
	char path[CGROUP_PATH_MAX];
	if (host->version == CGROUP_V2)
		return; /* there a reset counts only for the file description it was written through */
	file_path(host, "memory", name, "memory.max_usage_in_bytes", path);
	(void)write_file(path, "0");
}

void cgroup_read_usage(const struct cgroup_host *host, const char *name, struct cgroup_usage *ret_usage)
{
	bool v1 = host->version == CGROUP_V1;
	struct cgroup_usage usage = { 0 };
	char path[CGROUP_PATH_MAX];
	file_path(host, "memory", name, v1 ? "memory.oom_control" : "memory.events", path);
	usage.oom_kills = read_keyed(path, "oom_kill");
	file_path(host, "memory", name, v1 ? "memory.max_usage_in_bytes" : "memory.peak", path);
	usage.memory_peak = read_number(path);
	file_path(host, "pids", name, "pids.peak", path);
	usage.pids_peak = (uint32_t)read_number(path);
	file_path(host, "cpuacct", name, v1 ? "cpuacct.usage" : "cpu.stat", path);
	usage.cpu_us = v1 ? read_number(path) / 1000 : read_keyed(path, "usage_usec");
	*ret_usage = usage;
}
