#include "supervisor/eval/eval.h"

#include "lib/base/buffer.h"
#include "lib/base/cleanup.h"
#include "lib/codec/expression_protocol.h"
#include "lib/codec/json.h"
#include "lib/codec/json_schema.h"
#include "supervisor/eval/evaluate.h"
#include "supervisor/eval/seal.h"

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#define REQUESTS_MAX 50000 /* of one child: what its heap has lost to fragments goes with it */

struct child {
	int connection;
	volatile unsigned char *stage;
	long time_ms;
	struct program_cache *cache;
	long served;
	long extra_ms; /* that the clock of this request may still be given back */
};

/* Read all of `length` bytes; false at the end of the connection. */
static bool read_all(int fd, void *bytes, size_t length)
{
	char *at = bytes;
	while (length > 0) {
		ssize_t got = read(fd, at, length);
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return false;
		at += got;
		length -= (size_t)got;
	}
	return true;
}

static bool write_all(int fd, const void *bytes, size_t length)
{
	const char *at = bytes;
	while (length > 0) {
		ssize_t sent = send(fd, at, length, MSG_NOSIGNAL);
		if (sent < 0 && errno == EINTR)
			continue;
		if (sent <= 0)
			return false;
		at += sent;
		length -= (size_t)sent;
	}
	return true;
}

/* Start the request's clock (0 stops it). SIGALRM has its default action: the kernel ends the process. */
static void set_clock(long milliseconds)
{
	struct itimerval timer = { .it_value = { .tv_sec = milliseconds / 1000,
						 .tv_usec = (milliseconds % 1000) * 1000 } };
	(void)setitimer(ITIMER_REAL, &timer, NULL);
}

/*
 * A program that had to be compiled does not use up its request's time, which is meant for running: the clock gets back
 * what compiling took, within a bound for the request. A program that takes all of it compiling is still ended.
 */
static void add_time(void *self, long spent_ms)
{
	struct child *child = self;
	struct itimerval timer;
	long extra = spent_ms < child->extra_ms ? spent_ms : child->extra_ms;
	if (getitimer(ITIMER_REAL, &timer) < 0 || extra <= 0)
		return;
	child->extra_ms -= extra;
	set_clock(timer.it_value.tv_sec * 1000 + timer.it_value.tv_usec / 1000 + 1 + extra);
}

/* Header and body in one buffer: one system call, and the client never waits between them. */
static bool answer(struct child *child, uint32_t code, const char *text, size_t length)
{
	struct wl_eval_answer header = { .magic = WL_EVAL_MAGIC, .code = code, .length = (uint32_t)length };
	header.last = ++child->served >= REQUESTS_MAX;
	char small[4096];
	*child->stage = CHILD_ANSWERING;
	set_clock(0);
	bool sent;
	if (length <= sizeof(small) - sizeof(header)) {
		memcpy(small, &header, sizeof(header));
		if (length)
			memcpy(small + sizeof(header), text, length);
		sent = write_all(child->connection, small, sizeof(header) + length);
	} else {
		sent = write_all(child->connection, &header, sizeof(header)) &&
		       write_all(child->connection, text, length);
	}
	*child->stage = CHILD_IDLE;
	return sent && !header.last;
}

static bool answer_error(struct child *child, const struct wl_error *err)
{
	if (err->code == ENOMEM)
		return answer(child, E2BIG, "the evaluation needed too much memory",
			      sizeof("the evaluation needed too much memory") - 1);
	return answer(child, (uint32_t)err->code, err->text, strlen(err->text));
}

/* libjq has no memory: it would abort, so the answer goes out here. */
static void no_memory(void *self)
{
	struct wl_error err = { .code = ENOMEM };
	(void)answer_error(self, &err);
	_exit(0);
}

static bool answer_faults(struct child *child, const struct wl_flow_faults *faults)
{
	_wl_buffer_ struct wl_buffer text;
	wl_buffer_init(&text, WL_EVAL_ANSWER_MAX);
	(void)wl_buffer_append_char(&text, '[');
	for (int i = 0; i < faults->count; i++) {
		const struct wl_flow_fault *fault = &faults->items[i];
		(void)wl_buffer_append_text(&text, i ? ",{\"path\":" : "{\"path\":");
		_wl_json_ struct wl_json *path = wl_json_new_string(fault->path);
		_wl_json_ struct wl_json *message = wl_json_new_string(fault->text);
		(void)wl_json_write(&text, path); /* cut texts may end inside a character: repaired here */
		(void)wl_buffer_append_text(&text, ",\"message\":");
		(void)wl_json_write(&text, message);
		(void)wl_buffer_append_char(&text, '}');
	}
	(void)wl_buffer_append_char(&text, ']');
	return answer(child, EINVAL, text.data, text.length);
}

static bool serve_schema(struct child *child, const char *schema_json, size_t schema_length, const char *instance,
			 size_t instance_length)
{
	static struct wl_flow_faults faults;
	struct wl_error err = { 0 };
	struct wl_json_schema *schema = NULL;
	/* strict reading first: depth, encoding and repeated keys are refused before the validator sees them */
	_wl_json_ struct wl_json *strict = NULL;
	faults.count = faults.skipped = 0;
	if (wl_json_parse(schema_json, schema_length, &strict, &err) < 0 ||
	    wl_json_schema_compile(schema_json, schema_length, &schema, &err) < 0) {
		err.code = err.code == ENOMEM ? ENOMEM : ENOEXEC;
		return answer_error(child, &err);
	}
	int found = instance_length ? wl_json_schema_check(schema, instance, instance_length, "", &faults, &err) : 0;
	wl_json_schema_free(schema);
	if (found < 0)
		return answer_error(child, &err);
	return found > 0 ? answer_faults(child, &faults) : answer(child, 0, NULL, 0);
}

static bool serve(struct child *child, const struct wl_eval_request *request, const char *first, const char *second)
{
	_wl_buffer_ struct wl_buffer out;
	struct wl_error err = { 0 };
	int result;
	wl_buffer_init(&out, WL_EVAL_ANSWER_MAX);
	switch (request->kind) {
	case WL_EVAL_EVALUATE:
		result = evaluate_template(child->cache, first, request->first_length, second, request->second_length,
					   &out, &err);
		break;
	case WL_EVAL_CHECK:
		result = check_template(child->cache, first, request->first_length, &err);
		break;
	case WL_EVAL_SCHEMA:
		return serve_schema(child, first, request->first_length, second, request->second_length);
	default:
		return false;
	}
	return result < 0 ? answer_error(child, &err) : answer(child, 0, out.data, out.length);
}

/* One request; false ends the connection. */
static bool serve_next(struct child *child)
{
	struct wl_eval_request request;
	if (!read_all(child->connection, &request, sizeof(request)) || request.magic != WL_EVAL_MAGIC ||
	    (uint64_t)request.first_length + request.second_length > WL_EVAL_REQUEST_MAX)
		return false;
	*child->stage = CHILD_EVALUATING; /* from here on a death is told to the client */
	long time_ms = request.timeout_ms;
	child->extra_ms = WL_EVAL_COMPILE_MS;
	set_clock(time_ms < 1 ? 1 : time_ms > child->time_ms ? child->time_ms : time_ms);
	_wl_free_ char *bytes = malloc((size_t)request.first_length + request.second_length + 1);
	if (!bytes)
		no_memory(child);
	if (!read_all(child->connection, bytes, (size_t)request.first_length + request.second_length))
		return false;
	return serve(child, &request, bytes, bytes + request.first_length);
}

/* Wait for the connection that the parent hands over; -1 when the parent has closed the control socket. */
static int receive_connection(int control_fd)
{
	char byte;
	union {
		char room[CMSG_SPACE(sizeof(int))];
		struct cmsghdr header; /* alignment */
	} control;
	struct iovec part = { .iov_base = &byte, .iov_len = 1 };
	struct msghdr message = {
		.msg_iov = &part, .msg_iovlen = 1, .msg_control = control.room, .msg_controllen = sizeof(control.room)
	};
	ssize_t got;
	do
		got = recvmsg(control_fd, &message, MSG_CMSG_CLOEXEC);
	while (got < 0 && errno == EINTR);
	struct cmsghdr *header = got == 1 ? CMSG_FIRSTHDR(&message) : NULL;
	if (!header || header->cmsg_type != SCM_RIGHTS)
		return -1;
	int fd;
	memcpy(&fd, CMSG_DATA(header), sizeof(fd));
	return fd;
}

static int lock_down(int control_fd, pid_t parent, const struct eval_limits *limits, struct wl_error *err)
{
	sigset_t none;
	(void)sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
	(void)signal(SIGALRM, SIG_DFL);
	(void)signal(SIGPIPE, SIG_IGN);
	if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0 || getppid() != parent)
		return wl_fail(err, ESRCH, "the parent is gone");
	int kept = seal_descriptors(control_fd, err);
	if (kept < 0 || seal_limits(limits->memory_mb, err) < 0 || seal_system_calls(err) < 0)
		return -err->code;
	return kept;
}

void eval_connection(int connection, volatile unsigned char *stage, const struct eval_limits *limits,
		     struct program_cache *cache)
{
	struct child child = { .connection = connection, .stage = stage, .time_ms = limits->time_ms, .cache = cache };
	program_cache_hooks(cache, no_memory, add_time, &child);
	while (serve_next(&child))
		;
}

_Noreturn void eval_child(int control_fd, volatile unsigned char *stage, pid_t parent, const struct eval_limits *limits,
			  struct program_cache *cache)
{
	struct wl_error err = { 0 };
	int control = lock_down(control_fd, parent, limits, &err);
	if (control < 0)
		_exit(1);
	int connection = receive_connection(control);
	if (connection >= 0)
		eval_connection(connection, stage, limits, cache);
	_exit(0);
}
