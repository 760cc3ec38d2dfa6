/*
 * One run, seen from the supervisor: ask the warden for a sandbox, feed it through its pipes, collect what comes out,
 * take the receipt. One thread, one poll loop, one connection per run; nothing is shared between runs but the path of
 * the socket.
 *
 *   asking   RUN is sent; STARTED or REFUSED is awaited (a cancel just closes the connection)
 *   running  control frames and input go out, output, log lines and files come in, until ENDED has come
 *            and all pipes are at their end
 */
#include "supervisor/warden_client.h"

#include "lib/base/buffer.h"
#include "lib/base/cleanup.h"
#include "lib/base/clock.h"
#include "supervisor/out_files.h"
#include "supervisor/sandbox/init_protocol.h"
#include "supervisor/sandbox/warden_protocol.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define GONE "the sandbox warden went away"
#define CONTROL_MAX (16u << 20) /* files, arguments and variables of one run */
#define CHUNK 65536
#define OVERDUE_MS 10000 /* how long past its time limit a run may stay unreported before the warden counts as gone */

struct warden_client {
	struct sockaddr_un address;
};

/* What still has to be written to a pipe. */
struct outgoing {
	int fd;
	const char *at;
	size_t left;
};

struct run {
	const struct sandbox_request *request;
	int socket;
	struct outgoing control; /* stays open until ENDED: its end of file would kill the sandbox */
	struct outgoing input;
	struct wl_buffer dialogue; /* what was taken of the request's dialogue and is being written */
	bool dialogue_over;	   /* all of it was taken, or there is none */
	bool begun;
	int out;
	int err;
	int files; /* -1 when none are wanted, too */
	int listeners[WARDEN_LISTEN_MAX];
	size_t listener_count;
	struct out_files out_files;
	struct wl_buffer frames;
	struct wl_buffer output;
	struct wl_buffer tail;
	uint64_t log_bytes;
	uint64_t output_max; /* bytes of output, and as many of log */
	uint64_t give_up_ms; /* 0 while asking */
	bool cancelled;
	bool killed;
	bool over; /* it wrote more than it may */
	bool ended;
	struct warden_reply reply;
};

/* ---- checks ------------------------------------------------------------------------------------ */

static int check_request(const struct sandbox_request *request, struct wl_error *err)
{
	if (!request->argv || !request->argv[0] || request->argv[0][0] != '/')
		return wl_fail(err, EINVAL, "a sandbox needs a program with an absolute path");
	if (request->input_length > SANDBOX_INPUT_MAX)
		return wl_fail(err, EINVAL, "the input is larger than %u MiB", SANDBOX_INPUT_MAX >> 20);
	if (request->dialogue && wl_byte_queue_most(request->dialogue) > SANDBOX_INPUT_MAX)
		return wl_fail(err, EINVAL, "a dialogue may have %u MiB", SANDBOX_INPUT_MAX >> 20);
	for (size_t i = 0; i < request->file_count; i++) {
		const struct sandbox_file *file = &request->files[i];
		if (file->length > SANDBOX_FILE_MAX)
			return wl_fail(err, EINVAL, "file '%.64s' is larger than %u MiB", file->path,
				       SANDBOX_FILE_MAX >> 20);
		if (!*file->path || strlen(file->path) >= INIT_PATH_MAX)
			return wl_fail(err, EINVAL, "a file's path must have 1 to %d bytes", INIT_PATH_MAX - 1);
	}
	if (request->profile && strlen(request->profile) >= WARDEN_PROFILE_SIZE)
		return wl_fail(err, EINVAL, "there is no sandbox profile with so long a name");
	if (request->tenant < 1)
		return wl_fail(err, EINVAL, "a sandbox needs a tenant");
	if (request->out.files > 0 && !request->open_out)
		return wl_fail(err, EINVAL, "a sandbox's files need a place");
	if (request->listen[0] && !request->on_listen)
		return wl_fail(err, EINVAL, "a sandbox's listeners need somebody who accepts");
	return 0;
}

/* ---- frames for init --------------------------------------------------------------------------- */

static void append_frame(struct wl_buffer *frames, uint32_t kind, const void *head, size_t head_length,
			 const void *body, size_t body_length)
{
	struct init_frame frame = { .kind = kind, .length = (uint32_t)(head_length + body_length) };
	(void)wl_buffer_append(frames, &frame, sizeof(frame));
	(void)wl_buffer_append(frames, head, head_length);
	(void)wl_buffer_append(frames, body, body_length);
}

static int append_strings(struct wl_buffer *frames, uint32_t kind, const char *const *strings, size_t *count,
			  size_t *bytes, struct wl_error *err)
{
	for (; strings && *strings; strings++) {
		size_t length = strlen(*strings);
		*bytes += length + 1;
		if (++*count > INIT_VECTOR_MAX || *bytes > INIT_STRINGS_MAX)
			return wl_fail(err, EINVAL, "the program's arguments and variables are too many or too long");
		append_frame(frames, kind, *strings, length, NULL, 0);
	}
	return 0;
}

static int build_frames(const struct sandbox_request *request, struct wl_buffer *frames, struct wl_error *err)
{
	/* UTF-8 by LC_CTYPE, not by LANG: the other categories are the same as C's but cost eleven more files to load
	 */
	static const char *const standard[] = { "PATH=/usr/bin:/bin", "HOME=/work", "LC_CTYPE=C.UTF-8", "TMPDIR=/tmp",
						NULL };
	size_t arguments = 0;
	size_t variables = 0;
	size_t bytes = 0;
	if (append_strings(frames, INIT_ARGUMENT, request->argv, &arguments, &bytes, err) < 0 ||
	    append_strings(frames, INIT_VARIABLE, standard, &variables, &bytes, err) < 0 ||
	    append_strings(frames, INIT_VARIABLE, request->env, &variables, &bytes, err) < 0)
		return -err->code;
	for (size_t i = 0; i < request->file_count; i++) {
		const struct sandbox_file *file = &request->files[i];
		append_frame(frames, file->executable ? INIT_PROGRAM : INIT_FILE, file->path, strlen(file->path) + 1,
			     file->content, file->length);
	}
	if (request->out.files > 0) {
		struct init_collect collect = { .files = request->out.files,
						.file_bytes = request->out.file_bytes,
						.total_bytes = request->out.total_bytes };
		append_frame(frames, INIT_COLLECT, &collect, sizeof(collect), NULL, 0);
	}
	append_frame(frames, INIT_START, NULL, 0, NULL, 0);
	if (frames->failed)
		return wl_fail(err, frames->failed == ENOMEM ? ENOMEM : EINVAL,
			       "the files of a run are larger than %u MiB together", CONTROL_MAX >> 20);
	return 0;
}

/* ---- talk with the warden ---------------------------------------------------------------------- */

static int send_request(const struct run *run, struct warden_request *message)
{
	message->magic = WARDEN_MAGIC;
	message->version = WARDEN_VERSION;
	return send(run->socket, message, sizeof(*message), MSG_NOSIGNAL) == (ssize_t)sizeof(*message) ? 0 : -EIO;
}

static size_t listen_count(const struct sandbox_request *request)
{
	size_t count = 0;
	while (count < WL_COUNT_OF(request->listen) && request->listen[count])
		count++;
	return count;
}

static int send_run(const struct run *run)
{
	const struct sandbox_request *request = run->request;
	const struct sandbox_limits *limits = &request->limits;
	struct warden_request message = { .kind = WARDEN_RUN, .tenant = (uint32_t)request->tenant };
	message.limits = (struct warden_limits){ .memory_mb = limits->memory_mb,
						 .cpu_milli = limits->cpu_milli,
						 .pids = limits->pids,
						 .wall_ms = limits->wall_ms,
						 .output_kb = limits->output_kb };
	(void)snprintf(message.profile, sizeof(message.profile), "%s",
		       request->profile ? request->profile : SANDBOX_PROFILE_DEFAULT);
	(void)snprintf(message.id, sizeof(message.id), "%s", request->id ? request->id : "");
	for (size_t i = 0; i < listen_count(request); i++)
		message.listen[i] = request->listen[i];
	return send_request(run, &message);
}

static void take_fds(struct msghdr *message, int fds[WARDEN_FDS_MAX], size_t *ret_count)
{
	*ret_count = 0;
	for (struct cmsghdr *header = CMSG_FIRSTHDR(message); header; header = CMSG_NXTHDR(message, header)) {
		if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS)
			continue;
		*ret_count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		memcpy(fds, CMSG_DATA(header), *ret_count * sizeof(int));
	}
}

/* Read one reply into run->reply; descriptors that come with it go to the run. */
static int receive(struct run *run, struct wl_error *err)
{
	union {
		char bytes[CMSG_SPACE(sizeof(int) * WARDEN_FDS_MAX)];
		struct cmsghdr align;
	} control;
	int fds[WARDEN_FDS_MAX];
	size_t count;
	struct iovec data = { .iov_base = &run->reply, .iov_len = sizeof(run->reply) };
	struct msghdr message = {
		.msg_iov = &data, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof(control.bytes)
	};
	ssize_t got = recvmsg(run->socket, &message, MSG_CMSG_CLOEXEC);
	if (got < 0 && errno == EINTR)
		return 0;
	take_fds(&message, fds, &count);
	size_t wanted = WARDEN_FD_COUNT + listen_count(run->request);
	if (count == wanted) {
		run->control.fd = fds[WARDEN_FD_CONTROL];
		run->input.fd = fds[WARDEN_FD_STDIN];
		run->out = fds[WARDEN_FD_STDOUT];
		run->err = fds[WARDEN_FD_STDERR];
		run->files = fds[WARDEN_FD_FILES];
		run->listener_count = count - WARDEN_FD_COUNT;
		for (size_t i = 0; i < run->listener_count; i++)
			run->listeners[i] = fds[WARDEN_FD_COUNT + i];
	} else {
		for (size_t i = 0; i < count; i++)
			(void)close(fds[i]);
	}
	if (got != (ssize_t)sizeof(run->reply))
		return wl_fail(err, EIO, GONE);
	if (run->reply.magic != WARDEN_MAGIC || run->reply.version != WARDEN_VERSION ||
	    (count == wanted) != (run->reply.kind == WARDEN_STARTED))
		return wl_fail(err, EPROTO, "the sandbox warden speaks another version of the protocol");
	return 1;
}

static void send_kill(struct run *run, uint32_t reason, uint32_t grace_ms)
{
	struct warden_request message = { .kind = WARDEN_KILL, .kill_reason = reason, .grace_ms = grace_ms };
	if (run->killed)
		return;
	run->killed = true;
	(void)send_request(run, &message); /* when the warden is gone the next receive tells */
}

/* ---- asking ------------------------------------------------------------------------------------ */

static int take_refusal(const struct run *run, struct wl_error *err)
{
	const struct warden_reply *reply = &run->reply;
	return wl_fail(err, (int)reply->errnum, "%.*s", (int)strnlen(reply->text, sizeof(reply->text)), reply->text);
}

/* Wait for a sandbox. The time in the warden's queue does not count against the run's time limit. */
static int ask(struct run *run, struct wl_error *err)
{
	struct pollfd waits[] = { { .fd = run->socket, .events = POLLIN },
				  { .fd = run->request->cancel_fd, .events = POLLIN } };
	if (send_run(run) < 0)
		return wl_fail(err, EIO, GONE);
	for (;;) {
		if (poll(waits, WL_COUNT_OF(waits), -1) < 0) {
			if (errno != EINTR)
				return wl_fail_errno(err, errno, "cannot wait for the sandbox warden");
			continue;
		}
		if (waits[1].revents)
			return wl_fail(err, ECANCELED, "cancelled while it waited for a sandbox");
		int result = waits[0].revents ? receive(run, err) : 0;
		if (result < 0)
			return result;
		if (result == 0)
			continue;
		if (run->reply.kind == WARDEN_REFUSED)
			return take_refusal(run, err);
		if (run->reply.kind == WARDEN_STARTED)
			return 0;
		return wl_fail(err, EPROTO, "the sandbox warden speaks another version of the protocol");
	}
}

static int check_interpreter(const struct run *run, struct wl_error *err)
{
	bool needs_runtime = strncmp(run->request->argv[0], "/opt/runtime/", 13) == 0;
	if (needs_runtime && !(run->reply.features & WARDEN_HAS_RUNTIME))
		return wl_fail(
			err, ENOENT,
			"this host has no runtime folder, so %s cannot run: set WINDLASS_RUNTIME_DIR for the warden",
			run->request->argv[0]);
	return 0;
}

/* ---- running ----------------------------------------------------------------------------------- */

static void close_slot(int *fd)
{
	if (*fd >= 0)
		(void)close(*fd);
	*fd = -1;
}

/* Write what the pipe takes. False: its reader is gone. */
static bool push(struct outgoing *to)
{
	while (to->left > 0) {
		ssize_t put = write(to->fd, to->at, to->left);
		if (put < 0 && errno == EINTR)
			continue;
		if (put < 0 && errno == EAGAIN)
			return true;
		if (put < 0) {
			to->left = 0;
			return false;
		}
		to->at += put;
		to->left -= (size_t)put;
	}
	return true;
}

static void close_input(struct run *run)
{
	run->input.left = 0;
	close_slot(&run->input.fd);
	if (run->begun && run->request->dialogue)
		wl_byte_queue_refuse(run->request->dialogue);
}

static void push_input(struct run *run)
{
	if (!push(&run->input) || (run->input.left == 0 && run->dialogue_over))
		close_input(run);
}

static int take_dialogue(struct run *run, struct wl_error *err)
{
	wl_buffer_clear(&run->dialogue);
	run->dialogue_over = wl_byte_queue_take(run->request->dialogue, &run->dialogue);
	if (run->dialogue.failed)
		return wl_fail(err, ENOMEM, "no memory for a sandbox's input");
	run->input.at = run->dialogue.data;
	run->input.left = run->dialogue.length;
	push_input(run);
	return 0;
}

static void keep_tail(struct wl_buffer *tail, const char *bytes, size_t length)
{
	if (length > SANDBOX_STDERR_TAIL) {
		bytes += length - SANDBOX_STDERR_TAIL;
		length = SANDBOX_STDERR_TAIL;
	}
	if (tail->length + length > SANDBOX_STDERR_TAIL) {
		size_t drop = tail->length + length - SANDBOX_STDERR_TAIL;
		memmove(tail->data, tail->data + drop, tail->length - drop);
		tail->length -= drop;
	}
	(void)wl_buffer_append(tail, bytes, length);
}

/* Read from one of the output pipes; the part above the cap is thrown away and ends the run. */
static void pull(struct run *run, int *fd)
{
	char chunk[CHUNK];
	bool is_output = fd == &run->out;
	ssize_t got = read(*fd, chunk, sizeof(chunk));
	if (got < 0 && (errno == EINTR || errno == EAGAIN))
		return;
	if (got <= 0) {
		close_slot(fd);
		return;
	}
	size_t length = (size_t)got;
	uint64_t before = is_output ? run->output.length : run->log_bytes;
	bool over = before + length > run->output_max;
	if (over)
		length = (size_t)(run->output_max - before);
	if (is_output) {
		(void)wl_buffer_append(&run->output, chunk, length);
		if (run->request->on_output && length > 0)
			run->request->on_output(run->request->context, chunk, length);
	} else if (length > 0) {
		run->log_bytes += length;
		keep_tail(&run->tail, chunk, length);
		if (run->request->on_log)
			run->request->on_log(run->request->context, chunk, length);
	}
	if (!over)
		return;
	run->over = true;
	send_kill(run, WARDEN_OUTPUT_CAP, 0);
}

static int pull_files(struct run *run, struct wl_error *err)
{
	char chunk[CHUNK];
	ssize_t got = read(run->files, chunk, sizeof(chunk));
	if (got < 0 && (errno == EINTR || errno == EAGAIN))
		return 0;
	if (got <= 0) {
		close_slot(&run->files);
		return 0;
	}
	if (out_files_take(&run->out_files, chunk, (size_t)got, err) < 0)
		return -err->code;
	/* its end of file comes only with the end of init, which takes a while; but one that still sends is heard out
	 */
	if (run->out_files.complete)
		close_slot(&run->files);
	return 0;
}

static void cancel(struct run *run)
{
	struct init_frame term = { .kind = INIT_TERM };
	uint32_t grace = run->request->kill_grace_ms;
	run->cancelled = true;
	/* a frame in the middle of another would be none, and without it the grace would be a mere delay */
	if (run->control.left > 0)
		grace = 0;
	/* the warden first, so that it knows why the program ends when the signal has ended it */
	send_kill(run, WARDEN_CANCELLED, grace);
	if (grace > 0) {
		ssize_t ignored = write(run->control.fd, &term, sizeof(term));
		(void)ignored; /* fails only when init has ended already */
	}
}

static int take_news(struct run *run, struct wl_error *err)
{
	int result = receive(run, err);
	if (result <= 0)
		return result;
	if (run->reply.kind != WARDEN_ENDED)
		return wl_fail(err, EPROTO, "the sandbox warden speaks another version of the protocol");
	run->ended = true;
	close_slot(&run->control.fd);
	close_input(run);
	return 0;
}

static int wait_ms(const struct run *run)
{
	uint64_t now = wl_clock_boot_ms();
	return now >= run->give_up_ms ? 0 : (int)(run->give_up_ms - now);
}

static int step(struct run *run, struct wl_error *err)
{
	const struct sandbox_request *request = run->request;
	bool listens = run->input.fd >= 0 && run->input.left == 0; /* else what was put before is to be written first */
	/* poll passes over negative descriptors: each is -1 when there is nothing to wait for */
	struct pollfd waits[] = {
		{ .fd = run->ended ? -1 : run->socket, .events = POLLIN },
		{ .fd = run->cancelled || run->ended ? -1 : request->cancel_fd, .events = POLLIN },
		{ .fd = run->control.left > 0 ? run->control.fd : -1, .events = POLLOUT },
		/* with nothing to write only the reader's end is told (POLLERR) */
		{ .fd = run->input.fd, .events = listens ? 0 : POLLOUT },
		{ .fd = run->out, .events = POLLIN },
		{ .fd = run->err, .events = POLLIN },
		{ .fd = run->files, .events = POLLIN },
		{ .fd = listens ? wl_byte_queue_fd(request->dialogue) : -1, .events = POLLIN },
	};
	int count = poll(waits, WL_COUNT_OF(waits), wait_ms(run));
	if (count < 0)
		return errno == EINTR ? 0 : wl_fail_errno(err, errno, "cannot wait for a sandbox");
	if (count == 0 && wait_ms(run) == 0)
		return wl_fail(err, EIO, GONE ": a run is long past its time limit and not reported");
	if (waits[2].revents)
		(void)push(&run->control); /* it stays open: its reader's end is the run's, and the warden tells */
	if (waits[3].revents & POLLERR)
		close_input(run);
	else if (waits[3].revents)
		push_input(run);
	if (waits[7].revents && run->input.fd >= 0 && take_dialogue(run, err) < 0)
		return -err->code;
	if (waits[4].revents)
		pull(run, &run->out);
	if (waits[5].revents)
		pull(run, &run->err);
	if (waits[6].revents && pull_files(run, err) < 0)
		return -err->code;
	if (waits[1].revents)
		cancel(run);
	return waits[0].revents ? take_news(run, err) : 0;
}

static int carry_out(struct run *run, struct wl_error *err)
{
	const struct warden_limits *limits = &run->reply.receipt.limits;
	int fds[] = { run->control.fd, run->input.fd, run->out, run->err, run->files };
	for (size_t i = 0; i < WL_COUNT_OF(fds); i++)
		if (fcntl(fds[i], F_SETFL, O_NONBLOCK) < 0)
			return wl_fail_errno(err, errno, "cannot prepare a sandbox's pipes");
	if (run->request->out.files == 0)
		close_slot(&run->files);
	if (run->listener_count > 0) {
		run->listener_count = 0;
		if (run->request->on_listen(run->request->context, run->listeners, err) < 0)
			return -err->code;
	}
	run->output_max = (uint64_t)limits->output_kb << 10;
	run->give_up_ms = wl_clock_boot_ms() + limits->wall_ms + OVERDUE_MS;
	run->control.at = run->frames.data;
	run->control.left = run->frames.length;
	run->input.at = run->request->input;
	run->input.left = run->request->input_length;
	run->begun = true;
	run->dialogue_over = !run->request->dialogue;
	(void)push(&run->control);
	push_input(run);
	while (!run->ended || run->out >= 0 || run->err >= 0 || run->files >= 0)
		if (step(run, err) < 0)
			return -err->code;
	return 0;
}

/* ---- the result -------------------------------------------------------------------------------- */

static void fill_receipt(const struct run *run, struct sandbox_receipt *receipt)
{
	const struct warden_receipt *from = &run->reply.receipt;
	receipt->limits = (struct sandbox_limits){ .memory_mb = from->limits.memory_mb,
						   .cpu_milli = from->limits.cpu_milli,
						   .pids = from->limits.pids,
						   .wall_ms = from->limits.wall_ms,
						   .output_kb = from->limits.output_kb };
	receipt->wall_us = from->wall_us;
	receipt->cpu_us = from->cpu_us;
	receipt->memory_peak = from->memory_peak;
	receipt->pids_peak = from->pids_peak;
	receipt->warm = from->warm != 0;
	(void)snprintf(receipt->profile, sizeof(receipt->profile), "%s",
		       run->request->profile ? run->request->profile : SANDBOX_PROFILE_DEFAULT);
	for (size_t i = 0; i < sizeof(from->profile_hash); i++)
		(void)snprintf(receipt->profile_hash + 2 * i, 3, "%02x", from->profile_hash[i]);
}

static int fill_result(struct run *run, struct sandbox_result *ret_result, struct wl_error *err)
{
	static const enum sandbox_reason reasons[] = {
		[WARDEN_EXITED] = SANDBOX_EXITED,
		[WARDEN_SIGNALLED] = SANDBOX_SIGNALLED,
		[WARDEN_OOM] = SANDBOX_OOM,
		[WARDEN_TIMEOUT] = SANDBOX_TIMEOUT,
		[WARDEN_CANCELLED] = SANDBOX_CANCELLED,
		[WARDEN_OUTPUT_CAP] = SANDBOX_OUTPUT_CAP,
	};
	const struct warden_receipt *receipt = &run->reply.receipt;
	if (receipt->reason >= WL_COUNT_OF(reasons))
		return wl_fail(err, EPROTO, "the sandbox warden speaks another version of the protocol");
	if (receipt->reason == WARDEN_CANCELLED && !run->cancelled)
		return wl_fail(err, EIO, "the sandbox was lost before its program could end");
	/* both texts exist even when nothing was written */
	(void)wl_buffer_append(&run->output, "", 0);
	(void)wl_buffer_append(&run->tail, "", 0);
	if (run->output.failed || run->tail.failed)
		return wl_fail(err, ENOMEM, "no memory for a sandbox's output");
	/* a program may have ended by itself before the kill came; its output is cut all the same */
	enum sandbox_reason reason = run->over ? SANDBOX_OUTPUT_CAP : reasons[receipt->reason];
	struct sandbox_result result = { .reason = reason,
					 .exit_code = (int)receipt->exit_code,
					 .signal = (int)receipt->signal,
					 .output_length = run->output.length,
					 .log_tail_length = run->tail.length };
	if (run->request->out.files > 0 && reason == SANDBOX_EXITED && result.exit_code == 0 &&
	    out_files_finish(&run->out_files, &result, err) < 0)
		return -err->code;
	fill_receipt(run, &result.receipt);
	result.output = wl_buffer_steal(&run->output);
	result.log_tail = wl_buffer_steal(&run->tail);
	*ret_result = result;
	return 0;
}

/* ---- the port ---------------------------------------------------------------------------------- */

static void release_run(struct run *run)
{
	close_input(run);
	int *fds[] = { &run->socket, &run->control.fd, &run->out, &run->err, &run->files };
	for (size_t i = 0; i < WL_COUNT_OF(fds); i++)
		close_slot(fds[i]);
	for (size_t i = 0; i < run->listener_count; i++)
		close_slot(&run->listeners[i]);
	out_files_release(&run->out_files);
	wl_buffer_release(&run->frames);
	wl_buffer_release(&run->dialogue);
	wl_buffer_release(&run->output);
	wl_buffer_release(&run->tail);
}

static int connect_warden(const struct warden_client *client, struct wl_error *err)
{
	_wl_close_ int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return wl_fail_errno(err, errno, "cannot make a socket");
	/* also how long a connect may wait (unix(7)): a warden that hangs is one that went away */
	struct timeval patience = { .tv_sec = OVERDUE_MS / 1000 };
	if (setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience)) < 0)
		return wl_fail_errno(err, errno, "cannot prepare a socket");
	if (connect(fd, (const struct sockaddr *)&client->address, sizeof(client->address)) < 0) {
		int errnum = errno;
		(void)wl_fail_errno(err, errnum, "the sandbox warden does not answer on %s", client->address.sun_path);
		/* whatever the reason: nothing was begun */
		err->code = errnum == EACCES || errnum == EPERM ? EACCES : ECONNREFUSED;
		return -err->code;
	}
	return wl_steal_fd(&fd);
}

/* A write to a pipe whose reader has gone raises SIGPIPE in this thread: keep it away, and take back what came. */
static void block_sigpipe(sigset_t *before)
{
	sigset_t broken_pipe;
	(void)sigemptyset(&broken_pipe);
	(void)sigaddset(&broken_pipe, SIGPIPE);
	(void)pthread_sigmask(SIG_BLOCK, &broken_pipe, before);
}

static void restore_sigpipe(const sigset_t *before)
{
	sigset_t broken_pipe;
	struct timespec at_once = { 0 };
	(void)sigemptyset(&broken_pipe);
	(void)sigaddset(&broken_pipe, SIGPIPE);
	if (!sigismember(before, SIGPIPE))
		(void)sigtimedwait(&broken_pipe, NULL, &at_once);
	(void)pthread_sigmask(SIG_SETMASK, before, NULL);
}

static int run_sandbox(void *self, const struct sandbox_request *request, struct sandbox_result *ret_result,
		       struct wl_error *err)
{
	sigset_t before;
	struct wl_error own = { 0 };
	struct run run = { .request = request,
			   .control = { .fd = -1 },
			   .input = { .fd = -1 },
			   .out = -1,
			   .err = -1,
			   .files = -1,
			   .socket = -1 };
	if (!err)
		err = &own;
	wl_buffer_init(&run.frames, CONTROL_MAX);
	wl_buffer_init(&run.output, 0);	  /* bounded by output_max */
	wl_buffer_init(&run.dialogue, 0); /* bounded by what the queue takes */
	wl_buffer_init(&run.tail, 0);
	out_files_open(&run.out_files, request);
	block_sigpipe(&before);
	int result = check_request(request, err);
	if (result == 0)
		result = build_frames(request, &run.frames, err);
	if (result == 0) {
		run.socket = connect_warden(self, err);
		result = run.socket < 0 ? run.socket : ask(&run, err);
	}
	if (result == 0)
		result = check_interpreter(&run, err);
	if (result == 0)
		result = carry_out(&run, err);
	if (result == 0)
		result = fill_result(&run, ret_result, err);
	release_run(&run);
	restore_sigpipe(&before);
	return result;
}

static void close_client(void *self)
{
	free(self);
}

int warden_client_open(const char *socket_path, struct sandbox_port *ret_port, struct wl_error *err)
{
	struct warden_client *client = calloc(1, sizeof(*client));
	if (!client)
		return wl_fail(err, ENOMEM, "no memory for the sandbox port");
	client->address.sun_family = AF_UNIX;
	if (!*socket_path || strlen(socket_path) >= sizeof(client->address.sun_path)) {
		free(client);
		return wl_fail(err, EINVAL, "warden_socket must be a path of 1 to %zu bytes",
			       sizeof(client->address.sun_path) - 1);
	}
	strcpy(client->address.sun_path, socket_path);
	*ret_port = (struct sandbox_port){ .self = client, .run = run_sandbox, .close = close_client };
	return 0;
}
