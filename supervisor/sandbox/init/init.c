/*
 * Process 1 of each sandbox.
 *
 * It waits, parked, on the control pipe; takes arguments, variables and files from it; starts the program; reaps
 * orphans; and ends with the program, upon which the kernel kills whatever is left in the pid namespace. Before that it
 * sends what a program that succeeded left below /work/out. End of file on the control pipe (the supervisor, or the
 * warden of a parked sandbox, is gone) ends it at once.
 *
 * It runs as the tenant's user under the tenant's seccomp filter and limits, so nothing it parses can reach further
 * than the program could by itself. It is not dumpable: the program, which is the same user, cannot open
 * /proc/1/fd and read what comes after START or write a status of its own.
 */
#include "supervisor/sandbox/init_protocol.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define WORK_DIR "/work"
#define EXIT_BAD_FRAME 125
#define EXIT_NOT_FOUND 127

/* untouched pages of these cost nothing while parked */
static char strings[INIT_STRINGS_MAX];
static size_t strings_used;
static char *arguments[INIT_VECTOR_MAX + 1];
static size_t argument_count;
static char *variables[INIT_VECTOR_MAX + 1];
static size_t variable_count;
static char payload[INIT_PATH_MAX + INIT_FILE_MAX];
static bool collects;
static struct init_collect most;

static void say(const char *text)
{
	ssize_t ignored = write(STDERR_FILENO, text, strlen(text));
	(void)ignored;
}

static void fail(const char *what) __attribute__((noreturn));
static void fail(const char *what)
{
	say("sandbox: ");
	say(what);
	say("\n");
	_exit(EXIT_BAD_FRAME);
}

static void on_child(int signal_number)
{
	(void)signal_number; /* only there to interrupt ppoll */
}

/* Read exactly `length` bytes; end of file means that nobody wants this sandbox any more. */
static void read_exactly(void *into, size_t length)
{
	char *at = into;
	while (length > 0) {
		ssize_t got = read(INIT_CONTROL_FD, at, length);
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			_exit(0);
		at += got;
		length -= (size_t)got;
	}
}

static void keep_string(char **vector, size_t *count, uint32_t length)
{
	if (*count >= INIT_VECTOR_MAX || length >= sizeof(strings) - strings_used)
		fail("too many arguments or variables");
	char *start = strings + strings_used;
	read_exactly(start, length);
	start[length] = '\0';
	strings_used += length + 1;
	vector[(*count)++] = start;
}

/* What the profile sets is in this process's own environment; the run's variables take its place. */
static void inherit_variables(void)
{
	for (char **own = environ; *own && variable_count < INIT_VECTOR_MAX; own++)
		variables[variable_count++] = *own;
}

static void keep_variable(uint32_t length)
{
	keep_string(variables, &variable_count, length);
	char *added = variables[variable_count - 1];
	size_t named = strcspn(added, "=") + 1;
	for (size_t i = 0; i + 1 < variable_count; i++) {
		if (strncmp(variables[i], added, named) != 0)
			continue;
		variables[i] = added;
		variables[--variable_count] = NULL;
		return;
	}
}

static bool path_is_inside(const char *path)
{
	if (path[0] == '\0' || path[0] == '/')
		return false;
	for (const char *part = path; part; part = strchr(part, '/')) {
		part += *part == '/';
		size_t length = strcspn(part, "/");
		if (length == 0 || (part[0] == '.' && (length == 1 || (length == 2 && part[1] == '.'))))
			return false;
	}
	return true;
}

static void make_parents(int work, char *path)
{
	for (char *slash = strchr(path, '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		if (mkdirat(work, path, 0700) < 0 && errno != EEXIST)
			fail("cannot make a folder under /work");
		*slash = '/';
	}
}

static void write_file(uint32_t length, mode_t mode)
{
	if (length > sizeof(payload))
		fail("a file is too large");
	read_exactly(payload, length);
	char *end = memchr(payload, '\0', length < INIT_PATH_MAX ? length : INIT_PATH_MAX);
	if (!end || !path_is_inside(payload))
		fail("a file has no proper path");
	int work = open(WORK_DIR, O_PATH | O_DIRECTORY | O_CLOEXEC);
	make_parents(work, payload);
	int file = openat(work, payload, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, mode);
	if (file < 0)
		fail("cannot make a file under /work");
	const char *at = end + 1;
	size_t left = length - (size_t)(at - payload);
	while (left > 0) {
		ssize_t put = write(file, at, left);
		if (put < 0)
			fail("cannot write a file under /work");
		at += put;
		left -= (size_t)put;
	}
	(void)close(file);
	(void)close(work);
}

static void take_collect(uint32_t length)
{
	if (length != sizeof(most))
		fail("an unknown frame came on the control pipe");
	read_exactly(&most, sizeof(most));
	collects = true;
}

/* Take frames until START. */
static void prepare(void)
{
	for (;;) {
		struct init_frame frame;
		read_exactly(&frame, sizeof(frame));
		switch (frame.kind) {
		case INIT_ARGUMENT:
			keep_string(arguments, &argument_count, frame.length);
			break;
		case INIT_VARIABLE:
			keep_variable(frame.length);
			break;
		case INIT_FILE:
			write_file(frame.length, 0600);
			break;
		case INIT_PROGRAM:
			write_file(frame.length, 0700);
			break;
		case INIT_COLLECT:
			take_collect(frame.length);
			break;
		case INIT_START:
			if (frame.length != 0 || argument_count == 0)
				fail("there is nothing to start");
			return;
		case INIT_TERM:
			_exit(128 + SIGTERM);
		default:
			fail("an unknown frame came on the control pipe");
		}
	}
}

static pid_t start(const sigset_t *outer)
{
	pid_t child = fork();
	if (child < 0)
		fail("cannot fork: the process limit is too low");
	if (child > 0)
		return child;
	(void)signal(SIGCHLD, SIG_DFL);
	(void)sigprocmask(SIG_SETMASK, outer, NULL);
	(void)setsid();
	if (chdir(WORK_DIR) == 0)
		(void)execve(arguments[0], arguments, variables);
	say("sandbox: cannot start ");
	say(arguments[0]);
	say(errno == ENOENT ? ": there is no such program in this profile\n" : ": it is not executable here\n");
	_exit(EXIT_NOT_FOUND);
}

/* ---- what the program leaves below /work/out --------------------------------------------------- */

#define COPY_CHUNK 65536

static struct {
	char path[INIT_PATH_MAX]; /* of the entry at hand, relative to /work/out */
	uint32_t files, entries;
	uint64_t bytes, skipped;
	bool refused;
} out;

/* The reader may be gone: then nobody wants this sandbox any more. */
static void send_exactly(const void *from, size_t length)
{
	const char *at = from;
	while (length > 0) {
		ssize_t put = write(INIT_FILES_FD, at, length);
		if (put < 0 && errno == EINTR)
			continue;
		if (put <= 0)
			_exit(0);
		at += put;
		length -= (size_t)put;
	}
}

static void send_frame(enum init_out_kind kind, const char *name, uint64_t value)
{
	struct init_out_frame frame = { .kind = kind, .name_length = (uint32_t)strlen(name), .value = value };
	send_exactly(&frame, sizeof(frame));
	send_exactly(name, frame.name_length);
}

static void refuse(enum init_out_refusal why)
{
	out.refused = true;
	send_frame(INIT_OUT_REFUSED, out.path, why);
}

static void send_file(int folder, const char *name)
{
	struct stat status;
	int file = openat(folder, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (file < 0 || fstat(file, &status) < 0 || !S_ISREG(status.st_mode)) {
		refuse(INIT_OUT_UNREADABLE);
	} else if ((uint64_t)status.st_size > most.file_bytes) {
		refuse(INIT_OUT_FILE_TOO_LARGE);
	} else if ((uint64_t)status.st_size > most.total_bytes - out.bytes) {
		refuse(INIT_OUT_TOTAL_TOO_LARGE);
	} else {
		uint64_t left = (uint64_t)status.st_size;
		out.bytes += left;
		send_frame(INIT_OUT_FILE, out.path, left);
		while (left > 0) {
			ssize_t got = read(file, payload, left < COPY_CHUNK ? (size_t)left : COPY_CHUNK);
			if (got <= 0)
				_exit(EXIT_BAD_FRAME); /* nobody is left who could have cut it */
			send_exactly(payload, (size_t)got);
			left -= (uint64_t)got;
		}
	}
	if (file >= 0)
		(void)close(file);
}

static void send_folder(int folder, size_t path_length, int depth);

static void send_entry(int folder, const char *name, size_t path_length, int depth)
{
	struct stat status;
	size_t room = sizeof(out.path) - path_length;
	int length = snprintf(out.path + path_length, room, "%s%s", path_length ? "/" : "", name);
	if (++out.entries > INIT_OUT_ENTRIES_MAX) {
		refuse(INIT_OUT_TOO_MANY);
	} else if (fstatat(folder, name, &status, AT_SYMLINK_NOFOLLOW) < 0) {
		refuse(INIT_OUT_UNREADABLE);
	} else if (!S_ISDIR(status.st_mode) && !S_ISREG(status.st_mode)) {
		out.skipped++;
	} else if ((size_t)length >= room) {
		refuse(INIT_OUT_NAME_TOO_LONG);
	} else if (S_ISREG(status.st_mode)) {
		if (++out.files > most.files)
			refuse(INIT_OUT_TOO_MANY);
		else
			send_file(folder, name);
	} else if (depth >= INIT_OUT_DEPTH) {
		refuse(INIT_OUT_TOO_DEEP);
	} else {
		int inner = openat(folder, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (inner < 0)
			refuse(INIT_OUT_UNREADABLE);
		else
			send_folder(inner, path_length + (size_t)length, depth + 1);
	}
	out.path[path_length] = '\0';
}

/* Closes `folder`. */
static void send_folder(int folder, size_t path_length, int depth)
{
	DIR *list = fdopendir(folder);
	if (!list) {
		refuse(INIT_OUT_UNREADABLE);
		(void)close(folder);
		return;
	}
	for (struct dirent *entry; !out.refused && (entry = readdir(list));)
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
			send_entry(folder, entry->d_name, path_length, depth);
	(void)closedir(list);
}

/* Nothing may change while it is read, so whatever the program left running ends first. */
static void collect(void)
{
	/* whoever lives in here is a child of this process or below one: without children there is nobody to look for
	 */
	if (waitpid(-1, NULL, WNOHANG) >= 0)
		(void)kill(-1, SIGKILL);
	while (waitpid(-1, NULL, 0) > 0 || errno == EINTR)
		;
	int folder = open(WORK_DIR "/out", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (folder >= 0)
		send_folder(folder, 0, 1);
	if (!out.refused)
		send_frame(INIT_OUT_END, "", out.skipped);
}

/* ---- the program ------------------------------------------------------------------------------- */

/* Reap all children; when the program itself is among them, report its status and end. */
static void reap(pid_t program)
{
	int status;
	pid_t child;
	while ((child = waitpid(-1, &status, WNOHANG)) > 0) {
		if (child != program)
			continue;
		if (collects && WIFEXITED(status) && WEXITSTATUS(status) == 0)
			collect();
		int32_t report = status;
		ssize_t ignored = write(INIT_STATUS_FD, &report, sizeof(report));
		(void)ignored;
		_exit(WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
	}
}

/* Wait for the program, for SIGTERM requests, and for the end of whoever wanted this run. */
static void watch(pid_t program, const sigset_t *outer)
{
	struct pollfd control = { .fd = INIT_CONTROL_FD, .events = POLLIN };
	for (;;) {
		reap(program);
		if (ppoll(&control, 1, NULL, outer) <= 0)
			continue;
		struct init_frame frame;
		read_exactly(&frame, sizeof(frame));
		if (frame.kind != INIT_TERM || frame.length != 0)
			_exit(EXIT_BAD_FRAME);
		(void)kill(-1, SIGTERM);
	}
}

int main(void)
{
	(void)prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
	(void)fcntl(INIT_CONTROL_FD, F_SETFD, FD_CLOEXEC);
	(void)fcntl(INIT_STATUS_FD, F_SETFD, FD_CLOEXEC);
	(void)fcntl(INIT_FILES_FD, F_SETFD, FD_CLOEXEC);
	(void)mkdir(WORK_DIR "/in", 0700);
	(void)mkdir(WORK_DIR "/out", 0700);

	/* SIGCHLD is let through only inside ppoll, so that none is lost between a look and a wait */
	sigset_t child_signal;
	sigset_t outer;
	(void)sigemptyset(&child_signal);
	(void)sigaddset(&child_signal, SIGCHLD);
	(void)sigprocmask(SIG_BLOCK, &child_signal, NULL);
	(void)sigemptyset(&outer);
	struct sigaction action = { .sa_handler = on_child };
	(void)sigaction(SIGCHLD, &action, NULL);

	inherit_variables();
	prepare();
	pid_t program = start(&outer);
	/* the program's end of the pipes is now the only one: its close is the supervisor's end of file */
	(void)close(STDIN_FILENO);
	(void)close(STDOUT_FILENO);
	(void)close(STDERR_FILENO);
	watch(program, &outer);
}
