#include "supervisor/eval/eval.h"

#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "lib/codec/expression_protocol.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define CHILDREN_MAX 256
#define PARKED 3	  /* children that wait for a connection */
#define STAGE_SIZE 4096	  /* one page each: a child cannot write another one's stage */
#define FORK_PAUSE_MS 200 /* after a fork that failed */

struct child_row {
	pid_t pid;
	int control_fd;	   /* -1 once its connection was handed over */
	int connection_fd; /* -1 while it is parked */
	volatile unsigned char *stage;
};

struct parent {
	int listen_fd, signal_fd;
	const struct eval_limits *limits;
	struct program_cache *cache;
	struct child_row children[CHILDREN_MAX];
	int count, parked;
	bool stopping;
	bool fork_failed;
};

static void forget(struct parent *parent, int index)
{
	struct child_row *row = &parent->children[index];
	if (row->control_fd >= 0) {
		(void)close(row->control_fd);
		parent->parked--;
	}
	if (row->connection_fd >= 0)
		(void)close(row->connection_fd);
	(void)munmap((void *)row->stage, STAGE_SIZE);
	*row = parent->children[--parent->count];
}

/* Fork one child that waits for a connection. */
static int park_one(struct parent *parent, struct wl_error *err)
{
	int pair[2];
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return wl_fail_errno(err, errno, "make a control socket");
	void *stage = mmap(NULL, STAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pid_t self = getpid();
	pid_t pid = stage == MAP_FAILED ? -1 : fork();
	if (pid < 0) {
		int failure = errno;
		(void)close(pair[0]);
		(void)close(pair[1]);
		if (stage != MAP_FAILED)
			(void)munmap(stage, STAGE_SIZE);
		return wl_fail_errno(err, failure, "start a process");
	}
	if (pid == 0) {
		for (int i = 0; i < parent->count; i++)
			(void)munmap((void *)parent->children[i].stage, STAGE_SIZE);
		eval_child(pair[1], stage, self, parent->limits, parent->cache);
	}
	(void)close(pair[1]);
	parent->children[parent->count++] =
		(struct child_row){ .pid = pid, .control_fd = pair[0], .connection_fd = -1, .stage = stage };
	parent->parked++;
	return 0;
}

static void park_enough(struct parent *parent)
{
	struct wl_error err;
	while (!parent->stopping && parent->parked < PARKED && parent->count < CHILDREN_MAX) {
		if (park_one(parent, &err) < 0) {
			if (!parent->fork_failed)
				wl_log(WL_LOG_ERROR, "%s", err.text);
			parent->fork_failed = true;
			return;
		}
		parent->fork_failed = false;
	}
}

static bool send_connection(int control_fd, int connection)
{
	char byte = 0;
	union {
		char room[CMSG_SPACE(sizeof(int))];
		struct cmsghdr header; /* alignment */
	} control;
	memset(&control, 0, sizeof(control));
	struct iovec part = { .iov_base = &byte, .iov_len = 1 };
	struct msghdr message = {
		.msg_iov = &part, .msg_iovlen = 1, .msg_control = control.room, .msg_controllen = sizeof(control.room)
	};
	struct cmsghdr *header = CMSG_FIRSTHDR(&message);
	header->cmsg_level = SOL_SOCKET;
	header->cmsg_type = SCM_RIGHTS;
	header->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(header), &connection, sizeof(int));
	return sendmsg(control_fd, &message, MSG_NOSIGNAL) == 1;
}

/* Hand the connection to a parked child; one that has died meanwhile is passed over and reaped later. */
static bool hand_over(struct parent *parent, int connection)
{
	for (int i = 0; i < parent->count; i++) {
		struct child_row *row = &parent->children[i];
		if (row->control_fd < 0)
			continue;
		bool sent = send_connection(row->control_fd, connection);
		(void)close(row->control_fd);
		row->control_fd = -1;
		parent->parked--;
		if (sent) {
			row->connection_fd = connection;
			return true;
		}
	}
	return false;
}

static void accept_one(struct parent *parent)
{
	int connection = accept4(parent->listen_fd, NULL, NULL, SOCK_CLOEXEC);
	if (connection < 0)
		return;
	if (!hand_over(parent, connection))
		(void)close(connection);
}

/* What a client is told when its request has ended the process. */
static const char *verdict(int status, uint32_t *ret_code)
{
	*ret_code = E2BIG;
	switch (WTERMSIG(status)) {
	case SIGALRM:
		*ret_code = ETIMEDOUT;
		return "the evaluation took too long";
	case SIGSYS:
		*ret_code = EINVAL;
		return "the evaluation asked for something that expressions may not do";
	case SIGABRT:
		*ret_code = EINVAL;
		return "jq cannot evaluate this expression";
	case SIGSEGV:
	case SIGBUS:
		return "the evaluation needed too much memory: it is nested too deep";
	default:
		return "the evaluation needed too much memory";
	}
}

static void tell_death(const struct child_row *row, int status)
{
	uint32_t code;
	const char *text = verdict(status, &code);
	struct wl_eval_answer header = {
		.magic = WL_EVAL_MAGIC, .code = code, .last = 1, .length = (uint32_t)strlen(text)
	};
	char frame[sizeof(header) + 128];
	memcpy(frame, &header, sizeof(header));
	memcpy(frame + sizeof(header), text, header.length);
	/* the child had written nothing since the request: an empty socket buffer takes this without blocking */
	(void)send(row->connection_fd, frame, sizeof(header) + header.length, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static void reap(struct parent *parent)
{
	int status;
	pid_t pid;
	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		for (int i = 0; i < parent->count; i++) {
			struct child_row *row = &parent->children[i];
			if (row->pid != pid)
				continue;
			if (row->connection_fd >= 0 && WIFSIGNALED(status) && *row->stage == CHILD_EVALUATING)
				tell_death(row, status);
			if (row->control_fd >= 0 && !parent->stopping)
				wl_log(WL_LOG_ERROR, "an evaluating process ended before its first request, status %#x",
				       (unsigned)status);
			forget(parent, i);
			break;
		}
	}
}

static void read_signals(struct parent *parent)
{
	struct signalfd_siginfo info;
	while (read(parent->signal_fd, &info, sizeof(info)) == (ssize_t)sizeof(info))
		if (info.ssi_signo == SIGTERM || info.ssi_signo == SIGINT)
			parent->stopping = true;
	reap(parent);
}

static void turn(struct parent *parent)
{
	park_enough(parent);
	struct pollfd fds[] = {
		{ .fd = parent->signal_fd, .events = POLLIN },
		/* without a parked child connections wait in the backlog */
		{ .fd = parent->parked > 0 ? parent->listen_fd : -1, .events = POLLIN },
	};
	if (poll(fds, 2, parent->fork_failed ? FORK_PAUSE_MS : -1) <= 0)
		return;
	if (fds[0].revents)
		read_signals(parent);
	if (fds[1].revents && !parent->stopping)
		accept_one(parent);
}

/* Kill the children that are not at work, and wait for the others as long as a request may take. */
static void drain(struct parent *parent)
{
	uint64_t last = wl_clock_boot_ms() + (uint64_t)parent->limits->time_ms + 100;
	while (parent->count > 0) {
		bool over = wl_clock_boot_ms() >= last;
		for (int i = 0; i < parent->count; i++)
			if (over || *parent->children[i].stage == CHILD_IDLE)
				(void)kill(parent->children[i].pid, SIGKILL);
		struct pollfd fd = { .fd = parent->signal_fd, .events = POLLIN };
		if (poll(&fd, 1, 5) > 0)
			read_signals(parent);
		reap(parent);
	}
}

static int open_signals(struct parent *parent, struct wl_error *err)
{
	sigset_t signals;
	(void)sigemptyset(&signals);
	(void)sigaddset(&signals, SIGTERM);
	(void)sigaddset(&signals, SIGINT);
	(void)sigaddset(&signals, SIGCHLD);
	if (sigprocmask(SIG_BLOCK, &signals, NULL) < 0)
		return wl_fail_errno(err, errno, "block signals");
	parent->signal_fd = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
	return parent->signal_fd < 0 ? wl_fail_errno(err, errno, "make a signal descriptor") : 0;
}

int eval_serve(int listen_fd, const struct eval_limits *limits, struct program_cache *cache, struct wl_error *err)
{
	static struct parent parent;
	parent = (struct parent){ .listen_fd = listen_fd, .limits = limits, .cache = cache };
	if (open_signals(&parent, err) < 0 || park_one(&parent, err) < 0)
		return -err->code;
	while (!parent.stopping)
		turn(&parent);
	drain(&parent);
	(void)close(parent.signal_fd);
	return 0;
}
