#include "cli/doctor.h"
#include "lib/base/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>
#include <sys/vfs.h>
#include <sys/wait.h>

#define KERNEL_LEAST_MAJOR 5
#define KERNEL_LEAST_MINOR 10
#define CRUN_LEAST_MAJOR 1
#define CRUN_LEAST_MINOR 8
#define CHILD_MS 5000

extern char **environ;

/* The beginning of a file, NUL-terminated; false when it cannot be read. */
static bool read_start(const char *path, char *text, size_t size)
{
	_wl_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	size_t used = 0;
	ssize_t got;
	while (used < size - 1 && (got = read(fd, text + used, size - 1 - used)) > 0)
		used += (size_t)got;
	text[used] = '\0';
	return true;
}

/* Whether `word` stands in `text` between characters that are neither letters, digits nor underscores. */
static bool has_word(const char *text, const char *word)
{
	static const char inside[] = "abcdefghijklmnopqrstuvwxyz0123456789_";
	size_t length = strlen(word);
	for (const char *at = strstr(text, word); at; at = strstr(at + 1, word)) {
		bool begins = at == text || !strchr(inside, at[-1]);
		if (begins && (!at[length] || !strchr(inside, at[length])))
			return true;
	}
	return false;
}

static void check_kernel(struct cli_checkup *checkup)
{
	struct utsname name;
	int major = 0, minor = 0;
	if (uname(&name) < 0 || sscanf(name.release, "%d.%d", &major, &minor) != 2) {
		cli_finding(checkup, CLI_HEALTH_NOTE, "kernel", NULL, "its version cannot be read");
		return;
	}
	bool is_new = major > KERNEL_LEAST_MAJOR || (major == KERNEL_LEAST_MAJOR && minor >= KERNEL_LEAST_MINOR);
	cli_finding(checkup, is_new ? CLI_HEALTH_OK : CLI_HEALTH_MISSING, "kernel",
		    is_new ? NULL : "Windlass needs Linux 5.10 or newer: boot a newer kernel", "Linux %s",
		    name.release);
}

/* 0 when a process of ours may make a user namespace, else the errno of unshare(). */
static int try_user_namespace(void)
{
	pid_t child = fork();
	if (child < 0)
		return errno;
	if (child == 0)
		_exit(unshare(CLONE_NEWUSER) == 0 ? 0 : errno);
	int status;
	while (waitpid(child, &status, 0) < 0)
		if (errno != EINTR)
			return errno;
	return WIFEXITED(status) ? WEXITSTATUS(status) : EIO;
}

static void check_user_namespaces(struct cli_checkup *checkup)
{
	char text[64];
	if (!read_start("/proc/sys/user/max_user_namespaces", text, sizeof(text))) {
		cli_finding(checkup, CLI_HEALTH_MISSING, "user namespaces", "use a kernel built with CONFIG_USER_NS",
			    "this kernel has none");
		return;
	}
	if (atol(text) == 0) {
		cli_finding(checkup, CLI_HEALTH_MISSING, "user namespaces",
			    "sysctl -w user.max_user_namespaces=10000, and the same in /etc/sysctl.d",
			    "user.max_user_namespaces is 0");
		return;
	}
	int code = try_user_namespace();
	if (code == 0)
		cli_finding(checkup, CLI_HEALTH_OK, "user namespaces", NULL, "they can be made");
	else if (geteuid() != 0)
		cli_finding(checkup, CLI_HEALTH_NOTE, "user namespaces", "run windlass doctor as root, too",
			    "this user may not make one (%s); the warden makes them as root", strerror(code));
	else
		cli_finding(checkup, CLI_HEALTH_MISSING, "user namespaces",
			    "inside a container, let it make user namespaces", "making one failed: %s", strerror(code));
}

static void check_seccomp(struct cli_checkup *checkup)
{
	char text[256];
	if (!read_start("/proc/sys/kernel/seccomp/actions_avail", text, sizeof(text)))
		cli_finding(checkup, CLI_HEALTH_MISSING, "seccomp", "use a kernel built with CONFIG_SECCOMP_FILTER",
			    "this kernel has no seccomp filters");
	else if (!has_word(text, "errno") || !has_word(text, "kill_process"))
		cli_finding(checkup, CLI_HEALTH_MISSING, "seccomp",
			    "use a kernel with the actions errno and kill_process",
			    "this kernel's filters know only: %.*s", (int)strcspn(text, "\n"), text);
	else
		cli_finding(checkup, CLI_HEALTH_OK, "seccomp", NULL, "filters can be set");
}

/* Whether one controller can be used: on pure version 2, or as a hierarchy of version 1. */
static bool has_controller(bool is_v2, const char *listing, const char *controller)
{
	if (is_v2)
		return has_word(listing, controller);
	for (const char *line = listing; line && *line;) {
		size_t length = strcspn(line, "\n");
		char row[1024];
		(void)snprintf(row, sizeof(row), "%.*s", (int)(length < sizeof(row) ? length : sizeof(row) - 1), line);
		const char *kind = strstr(row, " - cgroup ");
		if (kind && has_word(kind, controller))
			return true;
		line += length + (line[length] == '\n');
	}
	return false;
}

static void check_cgroups(struct cli_checkup *checkup)
{
	static const char *const needed[] = { "memory", "pids", "cpu" };
	static char listing[256 << 10];
	struct statfs about;
	bool is_v2 = statfs("/sys/fs/cgroup", &about) == 0 && about.f_type == CGROUP2_SUPER_MAGIC;
	if (!read_start(is_v2 ? "/sys/fs/cgroup/cgroup.controllers" : "/proc/self/mountinfo", listing, sizeof(listing)))
		listing[0] = '\0';
	char lacking[64] = "";
	for (size_t i = 0; i < WL_COUNT_OF(needed); i++)
		if (!has_controller(is_v2, listing, needed[i])) {
			(void)strcat(lacking, " ");
			(void)strcat(lacking, needed[i]);
		}
	if (*lacking)
		cli_finding(checkup, CLI_HEALTH_MISSING, "control groups",
			    is_v2 ? "let the parent group delegate them, or boot without cgroup_disable="
				  : "mount them under /sys/fs/cgroup, or boot with version 2",
			    "version %d lacks the controllers%s: no limit could be set", is_v2 ? 2 : 1, lacking);
	else
		cli_finding(checkup, CLI_HEALTH_OK, "control groups", NULL,
			    is_v2 ? "version 2 with memory, pids and cpu"
				  : "version 1 (or hybrid) with memory, pids and cpu");
}

/* The first bytes of what a program prints; false when it cannot be run, fails or takes too long. */
static bool ask_program(const char *name, char *text, size_t size)
{
	int ends[2], status = -1;
	pid_t child;
	char *argv[] = { (char *)(uintptr_t)name, (char *)(uintptr_t) "--version", NULL };
	if (pipe2(ends, O_CLOEXEC) < 0)
		return false;
	_wl_close_ int from = ends[0];
	posix_spawn_file_actions_t actions;
	(void)posix_spawn_file_actions_init(&actions);
	(void)posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
	int failed = posix_spawnp(&child, name, &actions, NULL, argv, environ);
	(void)posix_spawn_file_actions_destroy(&actions);
	(void)close(ends[1]);
	if (failed)
		return false;
	size_t used = 0;
	struct pollfd ready = { .fd = from, .events = POLLIN };
	ssize_t got = 1;
	while (got > 0 && used < size - 1 && poll(&ready, 1, CHILD_MS) > 0) {
		got = read(from, text + used, size - 1 - used);
		used += got > 0 ? (size_t)got : 0;
	}
	text[used] = '\0';
	if (got > 0) /* it hangs, or prints without end */
		(void)kill(child, SIGKILL);
	while (waitpid(child, &status, 0) < 0 && errno == EINTR)
		continue;
	return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static void check_crun(struct cli_checkup *checkup)
{
	static const char advice[] = "apt-get install crun (make run does it)";
	char text[512];
	int major = 0, minor = 0;
	if (!ask_program("crun", text, sizeof(text))) {
		cli_finding(checkup, CLI_HEALTH_MISSING, "crun", advice, "it is not installed, or does not run");
		return;
	}
	const char *version = strstr(text, "version ");
	if (!version || sscanf(version, "version %d.%d", &major, &minor) != 2) {
		cli_finding(checkup, CLI_HEALTH_NOTE, "crun", NULL, "it does not tell its version");
		return;
	}
	bool is_new = major > CRUN_LEAST_MAJOR || (major == CRUN_LEAST_MAJOR && minor >= CRUN_LEAST_MINOR);
	bool has_seccomp = strstr(text, "+SECCOMP") != NULL;
	cli_finding(checkup, is_new && has_seccomp ? CLI_HEALTH_OK : CLI_HEALTH_MISSING, "crun",
		    is_new && has_seccomp ? NULL : "install crun 1.8 or newer, built with seccomp", "version %d.%d%s",
		    major, minor, has_seccomp ? "" : ", without seccomp");
}

/* A language of code nodes: the first of the paths that can be run. */
static void check_language(struct cli_checkup *checkup, const char *language, const char *const paths[], size_t count,
			   const char *advice)
{
	for (size_t i = 0; i < count; i++)
		if (paths[i] && access(paths[i], X_OK) == 0) {
			cli_finding(checkup, CLI_HEALTH_OK, language, NULL, "%s", paths[i]);
			return;
		}
	cli_finding(checkup, CLI_HEALTH_MISSING, language, advice, "code nodes in this language cannot run");
}

/* The node that set-up put beside this program: build/bin/windlass and build/runtime/bin/node. */
static void find_built_node(char *path, size_t size)
{
	char self[PATH_MAX];
	ssize_t length = readlink("/proc/self/exe", self, sizeof(self) - 1);
	self[length > 0 ? length : 0] = '\0';
	for (int up = 0; up < 2; up++) {
		char *slash = strrchr(self, '/');
		if (slash)
			*slash = '\0';
	}
	(void)snprintf(path, size, "%s/runtime/bin/node", self);
}

static void check_languages(struct cli_checkup *checkup)
{
	const char *runtime = getenv("WINDLASS_RUNTIME_DIR");
	char own_node[1100] = "", built_node[PATH_MAX + 32];
	if (runtime && *runtime)
		(void)snprintf(own_node, sizeof(own_node), "%.1024s/bin/node", runtime);
	find_built_node(built_node, sizeof(built_node));
	check_language(checkup, "python", (const char *const[]){ "/usr/bin/python3" }, 1, "apt-get install python3");
	check_language(checkup, "bash", (const char *const[]){ "/usr/bin/bash", "/bin/bash" }, 2,
		       "apt-get install bash");
	check_language(checkup, "javascript",
		       (const char *const[]){ *own_node ? own_node : NULL, built_node, "/usr/bin/node" }, 3,
		       "make setup-build in the checkout, or set WINDLASS_RUNTIME_DIR to a folder with bin/node");
}

static void check_rights(struct cli_checkup *checkup)
{
	if (geteuid() == 0)
		cli_finding(checkup, CLI_HEALTH_OK, "rights", NULL, "root: the warden can make sandboxes");
	else if (access("/usr/bin/sudo", X_OK) == 0)
		cli_finding(checkup, CLI_HEALTH_NOTE, "rights", NULL,
			    "the warden needs root to make sandboxes: make run asks for sudo");
	else
		cli_finding(checkup, CLI_HEALTH_MISSING, "rights", "install sudo, or run Windlass as root",
			    "the warden needs root to make sandboxes, and there is no sudo");
}

void cli_doctor_host(struct cli_checkup *checkup)
{
	check_kernel(checkup);
	check_user_namespaces(checkup);
	check_seccomp(checkup);
	check_cgroups(checkup);
	check_crun(checkup);
	check_languages(checkup);
	check_rights(checkup);
}
