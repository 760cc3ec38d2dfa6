/*
 * crun changes the owner of the files it gets as standard input, output and error to the sandbox's user. It is
 * therefore only ever given pipes made for this sandbox: with the host's /dev/null the tenant would own the host's
 * device node, during the run and ever after.
 */
#include "supervisor/sandbox/crun.h"

#include "lib/base/cleanup.h"
#include "supervisor/sandbox/init_protocol.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define CHILD_FDS 6   /* standard input, output, error, control, status, files */
#define FIRST_FREE 16 /* above all descriptors that the child gets */
#define LEISURE 5     /* nice value of a crun that nobody waits for */

/* ---- the binary -------------------------------------------------------------------------------- */

static int open_binary(struct wl_error *err)
{
	static const char *const places[] = { "/usr/bin/crun", "/usr/local/bin/crun", "/bin/crun" };
	for (size_t i = 0; i < WL_COUNT_OF(places); i++) {
		int fd = open(places[i], O_RDONLY | O_CLOEXEC);
		if (fd >= 0)
			return fd;
	}
	return wl_fail(err, ENOENT, "the program crun is not installed (Debian package crun)");
}

/*
 * crun copies itself into a sealed memory file at each start and executes that, so that no sandbox can write to its
 * binary. Given such a file in the first place it goes on at once, which saves a third of the time of a start.
 */
int crun_open(const char *scratch, struct crun *ret_crun, struct wl_error *err)
{
	struct stat status;
	_wl_close_ int binary = open_binary(err);
	if (binary < 0)
		return -err->code;
	_wl_close_ int copy = memfd_create("crun", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (copy < 0 || fstat(binary, &status) < 0)
		return wl_fail_errno(err, errno, "cannot copy crun");
	for (off_t at = 0; at < status.st_size;)
		if (sendfile(copy, binary, &at, (size_t)(status.st_size - at)) <= 0)
			return wl_fail_errno(err, errno, "cannot copy crun");
	if (fcntl(copy, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) < 0)
		return wl_fail_errno(err, errno, "cannot seal the copy of crun");
	struct crun crun = { .program = wl_steal_fd(&copy) };
	(void)snprintf(crun.scratch, sizeof(crun.scratch), "%s", scratch);
	*ret_crun = crun;
	return 0;
}

void crun_close(struct crun *crun)
{
	if (crun->program >= 0)
		(void)close(crun->program);
	crun->program = -1;
}

/* ---- pipes ------------------------------------------------------------------------------------- */

static void close_fd(int *fd)
{
	if (*fd >= 0)
		(void)close(*fd);
	*fd = -1;
}

void crun_child_close(struct crun_child *child)
{
	close_fd(&child->pidfd);
	close_fd(&child->control);
	close_fd(&child->in);
	close_fd(&child->out);
	close_fd(&child->err);
	close_fd(&child->status);
	close_fd(&child->files);
}

/* Make the six pipes; `inner` are the ends for crun, in the order of its descriptors. */
static int make_pipes(struct crun_child *child, int inner[CHILD_FDS])
{
	int *outer[CHILD_FDS] = {
		&child->in, &child->out, &child->err, &child->control, &child->status, &child->files
	};
	static const bool outer_writes[CHILD_FDS] = { true, false, false, true, false, false };
	for (int i = 0; i < CHILD_FDS; i++) {
		int ends[2];
		if (pipe2(ends, O_CLOEXEC) < 0)
			return -errno;
		*outer[i] = ends[outer_writes[i]];
		inner[i] = ends[!outer_writes[i]];
	}
	return fcntl(child->status, F_SETFL, O_NONBLOCK) < 0 ? -errno : 0;
}

static void close_inner(int inner[CHILD_FDS])
{
	for (int i = 0; i < CHILD_FDS; i++)
		close_fd(&inner[i]);
}

/* ---- the process ------------------------------------------------------------------------------- */

/* Between fork and exec in a process with threads: only calls that are safe in a signal handler. */
static void exec_crun(int program, const int inner[CHILD_FDS], char *const *argv, int weight) __attribute__((noreturn));
static void exec_crun(int program, const int inner[CHILD_FDS], char *const *argv, int weight)
{
	static char *const environment[] = { "PATH=/usr/sbin:/usr/bin:/sbin:/bin", NULL };
	int moved[CHILD_FDS];
	sigset_t none;
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	(void)setpriority(PRIO_PROCESS, 0, weight);
	(void)sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
	for (int signal_number = 1; signal_number < NSIG; signal_number++)
		(void)signal(signal_number, SIG_DFL);
	for (int i = 0; i < CHILD_FDS; i++)
		moved[i] = fcntl(inner[i], F_DUPFD_CLOEXEC, FIRST_FREE);
	program = fcntl(program, F_DUPFD_CLOEXEC, FIRST_FREE);
	for (int i = 0; i < CHILD_FDS; i++)
		if (dup2(moved[i], i) < 0)
			_exit(126);
	/* all is close-on-exec already; this guards against the one place that forgets it (CVE-2024-21626) */
	(void)close_range(CHILD_FDS, ~0u, CLOSE_RANGE_CLOEXEC);
	(void)syscall(SYS_execveat, program, "", argv, environment, AT_EMPTY_PATH);
	_exit(127);
}

static int run_crun(const struct crun *crun, const int inner[CHILD_FDS], char *const *argv, int weight)
{
	pid_t pid = fork();
	if (pid < 0)
		return -errno;
	if (pid == 0)
		exec_crun(crun->program, inner, argv, weight);
	int status;
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -EPROTO;
}

/* What crun wrote to the sandbox's standard error, on one line; nobody else has written there yet. */
static void read_complaint(int fd, char *text, size_t size)
{
	struct pollfd ready = { .fd = fd, .events = POLLIN };
	ssize_t got = poll(&ready, 1, 0) == 1 && ready.revents & POLLIN ? read(fd, text, size - 1) : 0;
	text[got > 0 ? got : 0] = '\0';
	for (char *at = text; *at; at++)
		if ((unsigned char)*at < ' ')
			*at = at[1] ? ' ' : '\0';
}

static int write_config(const char *path, const struct wl_buffer *config, struct wl_error *err)
{
	_wl_close_ int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0 || write(fd, config->data, config->length) != (ssize_t)config->length)
		return wl_fail_errno(err, errno, "cannot write the sandbox's configuration");
	return 0;
}

static int read_pid(const char *path, struct crun_child *child, struct wl_error *err)
{
	char text[32] = "";
	_wl_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || read(fd, text, sizeof(text) - 1) <= 0)
		return wl_fail(err, EPROTO, "crun did not say which process it made");
	child->pid = (pid_t)strtol(text, NULL, 10);
	/* our own child, not waited for yet: the number cannot belong to anyone else */
	child->pidfd = (int)syscall(SYS_pidfd_open, child->pid, 0);
	if (child->pid <= 1 || child->pidfd < 0)
		return wl_fail(err, EPROTO, "crun named process %d, which is not there", (int)child->pid);
	/* init inherited crun's weight, but it is the program's own business from now on */
	if (setpriority(PRIO_PROCESS, (id_t)child->pid, 0) < 0)
		return wl_fail_errno(err, errno, "cannot give a sandbox its normal weight");
	return fcntl(child->pidfd, F_SETFD, FD_CLOEXEC) < 0 ? wl_fail_errno(err, errno, "fcntl") : 0;
}

static int park(const struct crun *crun, const char *name, const char *config_path, const char *pid_path, bool urgent,
		struct crun_child *child, struct wl_error *err)
{
	char state[PATH_MAX];
	char bundle[PATH_MAX];
	char complaint[256];
	int inner[CHILD_FDS] = { -1, -1, -1, -1, -1, -1 };
	(void)snprintf(state, sizeof(state), "%s/crun", crun->scratch);
	(void)snprintf(bundle, sizeof(bundle), "%s/bundle", crun->scratch);
	/* clang-format off */
	char *const argv[] = { "crun", "--root", state, "--cgroup-manager=cgroupfs", "run", "--detach",
			       "--preserve-fds=3", "--bundle", bundle, "--config", (char *)config_path,
			       "--pid-file", (char *)pid_path, (char *)name, NULL };
	/* clang-format on */
	int result = make_pipes(child, inner);
	if (result == 0)
		result = run_crun(crun, inner, argv, urgent ? 0 : LEISURE);
	close_inner(inner);
	if (result == 0)
		return read_pid(pid_path, child, err);
	if (result != -EPROTO)
		return wl_fail_errno(err, -result, "cannot run crun");
	read_complaint(child->err, complaint, sizeof(complaint));
	return wl_fail(err, EPROTO, "crun could not make a sandbox: %s", *complaint ? complaint : "it gave no reason");
}

int crun_park(const struct crun *crun, const char *name, const struct wl_buffer *config, bool urgent,
	      struct crun_child *ret_child, struct wl_error *err)
{
	char config_path[PATH_MAX];
	char pid_path[PATH_MAX];
	struct crun_child child = CRUN_CHILD_NONE;
	(void)snprintf(config_path, sizeof(config_path), "%s/bundle/%s.json", crun->scratch, name);
	(void)snprintf(pid_path, sizeof(pid_path), "%s/bundle/%s.pid", crun->scratch, name);
	int result = write_config(config_path, config, err);
	if (result == 0)
		result = park(crun, name, config_path, pid_path, urgent, &child, err);
	(void)unlink(config_path);
	(void)unlink(pid_path);
	if (result == 0) {
		*ret_child = child;
		return 0;
	}
	if (child.pid > 1) {
		(void)kill(child.pid, SIGKILL);
		(void)waitpid(child.pid, NULL, 0);
	}
	crun_child_close(&child);
	crun_forget(crun, name);
	return result;
}

void crun_forget(const struct crun *crun, const char *name)
{
	char folder[PATH_MAX];
	(void)snprintf(folder, sizeof(folder), "%s/crun/%s", crun->scratch, name);
	DIR *list = opendir(folder);
	for (struct dirent *entry; list && (entry = readdir(list));)
		if (entry->d_name[0] != '.')
			(void)unlinkat(dirfd(list), entry->d_name, 0);
	if (list)
		(void)closedir(list);
	(void)rmdir(folder);
}
