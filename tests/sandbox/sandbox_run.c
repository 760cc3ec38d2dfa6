/*
 * Run one program in a sandbox through the supervisor's own client and print result and receipt as one JSON object.
 * For tests of the warden: it says exactly what the port says.
 *
 *   sandbox-run SOCKET [--tenant=N] [--profile=NAME] [--memory-mb=N] [--cpu-milli=N] [--pids=N] [--wall-ms=N]
 *               [--output-kb=N] [--file=INSIDE=OUTSIDE]... [--env=NAME=VALUE]... [--stdin=FILE]
 *               [--cancel-on-log] [--echo=N] [--open] [--listen=PORT]... [--grace-ms=N] [--out-files=N]
 * [--out-file-kb=N]
 * [--out-total-kb=N]
 *               -- PROGRAM [ARGUMENT]...
 *
 * --open: standard input stays open behind --stdin. --echo=N: so it does until N lines of output have come; each is
 * sent back to the program. --listen=PORT: who connects there, inside, is told "port PORT" and a serial number.
 */
#include "lib/base/buffer.h"
#include "lib/base/cleanup.h"
#include "supervisor/warden_client.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>

#define LIST_MAX 64

struct options {
	struct sandbox_request request;
	struct sandbox_file files[LIST_MAX];
	const char *env[LIST_MAX + 1];
	size_t env_count;
	bool cancel_on_log;
	size_t listen_count;
	bool stays_open;
	uint32_t echo;
	int out_fd;
};

static char *read_all(const char *path, size_t *ret_length)
{
	_wl_buffer_ struct wl_buffer buffer;
	wl_buffer_init(&buffer, SANDBOX_INPUT_MAX + 1);
	_wl_fclose_ FILE *file = fopen(path, "re");
	char chunk[65536];
	if (!file)
		return NULL;
	for (size_t got; (got = fread(chunk, 1, sizeof(chunk), file)) > 0;)
		if (wl_buffer_append(&buffer, chunk, got) < 0)
			return NULL;
	(void)wl_buffer_append(&buffer, "", 0);
	*ret_length = buffer.length;
	return wl_buffer_steal(&buffer);
}

static bool number_option(const char *argument, const char *name, uint32_t *ret_value)
{
	size_t length = strlen(name);
	if (strncmp(argument, name, length) != 0 || argument[length] != '=')
		return false;
	*ret_value = (uint32_t)strtoul(argument + length + 1, NULL, 10);
	return true;
}

static bool add_file(struct options *options, char *pair)
{
	char *equals = strchr(pair, '=');
	struct sandbox_request *request = &options->request;
	if (!equals || request->file_count == LIST_MAX)
		return false;
	*equals = '\0';
	struct sandbox_file *file = &options->files[request->file_count++];
	file->path = pair;
	file->content = read_all(equals + 1, &file->length);
	return file->content != NULL;
}

static bool text_option(struct options *options, char *argument)
{
	struct sandbox_request *request = &options->request;
	if (strncmp(argument, "--file=", 7) == 0)
		return add_file(options, argument + 7);
	if (strncmp(argument, "--profile=", 10) == 0) {
		request->profile = argument + 10;
		return true;
	}
	if (strncmp(argument, "--env=", 6) == 0 && options->env_count < LIST_MAX) {
		options->env[options->env_count++] = argument + 6;
		return true;
	}
	if (strncmp(argument, "--stdin=", 8) == 0)
		return (request->input = read_all(argument + 8, &request->input_length)) != NULL;
	bool stays_open = strcmp(argument, "--open") == 0;
	options->stays_open |= stays_open;
	bool cancel_on_log = strcmp(argument, "--cancel-on-log") == 0;
	options->cancel_on_log |= cancel_on_log;
	return stays_open || cancel_on_log;
}

static bool read_option(struct options *options, char *argument)
{
	uint32_t tenant;
	struct sandbox_limits *limits = &options->request.limits;
	if (number_option(argument, "--tenant", &tenant)) {
		options->request.tenant = (int)tenant;
		return true;
	}
	uint32_t port;
	if (options->listen_count < SANDBOX_LISTEN_MAX && number_option(argument, "--listen", &port)) {
		options->request.listen[options->listen_count++] = (uint16_t)port;
		return true;
	}
	uint32_t kilobytes;
	if (number_option(argument, "--out-file-kb", &kilobytes)) {
		options->request.out.file_bytes = (uint64_t)kilobytes << 10;
		return true;
	}
	if (number_option(argument, "--out-total-kb", &kilobytes)) {
		options->request.out.total_bytes = (uint64_t)kilobytes << 10;
		return true;
	}
	return number_option(argument, "--echo", &options->echo) ||
	       number_option(argument, "--out-files", &options->request.out.files) ||
	       number_option(argument, "--memory-mb", &limits->memory_mb) ||
	       number_option(argument, "--cpu-milli", &limits->cpu_milli) ||
	       number_option(argument, "--pids", &limits->pids) ||
	       number_option(argument, "--wall-ms", &limits->wall_ms) ||
	       number_option(argument, "--output-kb", &limits->output_kb) ||
	       number_option(argument, "--grace-ms", &options->request.kill_grace_ms) || text_option(options, argument);
}

static void cancel_now(void *context, const char *bytes, size_t length)
{
	const struct options *options = context;
	(void)bytes;
	(void)length;
	if (options->cancel_on_log)
		(void)eventfd_write(options->request.cancel_fd, 1);
}

static void *greet(void *argument)
{
	int listener = (int)(intptr_t)argument, serial = 0;
	struct sockaddr_in address = { 0 };
	socklen_t size = sizeof(address);
	(void)getsockname(listener, (struct sockaddr *)&address, &size);
	for (;;) {
		struct pollfd wait = { .fd = listener, .events = POLLIN };
		(void)poll(&wait, 1, -1);
		int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
		if (fd < 0)
			continue;
		(void)dprintf(fd, "port %u %d\n", ntohs(address.sin_port), ++serial);
		(void)close(fd);
	}
	return NULL;
}

/* Whoever greets does so until this process ends. */
static int on_listen(void *context, const int *fds, struct wl_error *err)
{
	const struct options *options = context;
	pthread_t thread;
	for (size_t i = 0; i < options->listen_count; i++)
		if (pthread_create(&thread, NULL, greet, (void *)(intptr_t)fds[i]) != 0)
			return wl_fail(err, EAGAIN, "cannot start a thread");
	return 0;
}

static void send_back(void *context, const char *bytes, size_t length)
{
	struct options *options = context;
	struct wl_byte_queue *dialogue = options->request.dialogue;
	if (options->echo == 0)
		return;
	(void)wl_byte_queue_put(dialogue, bytes, length, NULL);
	for (size_t i = 0; i < length && options->echo > 0; i++)
		if (bytes[i] == '\n' && --options->echo == 0)
			wl_byte_queue_end(dialogue);
}

static int open_out(void *context)
{
	struct options *options = context;
	options->out_fd = memfd_create("files", MFD_CLOEXEC);
	return options->out_fd;
}

/* Contents in hex: they may be any bytes. */
static void print_files(struct wl_buffer *text, const struct options *options, const struct sandbox_result *result)
{
	(void)wl_buffer_append_text(text, ",\"files\":[");
	for (size_t i = 0; i < result->file_count; i++) {
		const struct sandbox_out_file *file = &result->files[i];
		char start[256];
		size_t shown = file->length < sizeof(start) ? (size_t)file->length : sizeof(start);
		ssize_t got = shown ? pread(options->out_fd, start, shown, (off_t)file->offset) : 0;
		(void)wl_buffer_append_text(text, i ? ",{\"name\":" : "{\"name\":");
		(void)wl_buffer_append_json_string(text, file->name, strlen(file->name));
		(void)wl_buffer_appendf(text, ",\"length\":%llu,\"start\":\"", (unsigned long long)file->length);
		for (ssize_t at = 0; at < got; at++)
			(void)wl_buffer_appendf(text, "%02x", (unsigned char)start[at]);
		(void)wl_buffer_append_text(text, "\"}");
	}
	(void)wl_buffer_appendf(text, "],\"passed_over\":%llu,\"out_fault\":%d,\"out_fault_name\":",
				(unsigned long long)result->files_passed_over, (int)result->out_fault);
	(void)wl_buffer_append_json_string(text, result->out_fault_name, strlen(result->out_fault_name));
}

static void print_result(const struct options *options, const struct sandbox_result *result)
{
	const struct sandbox_receipt *receipt = &result->receipt;
	_wl_buffer_ struct wl_buffer text;
	wl_buffer_init(&text, 0);
	(void)wl_buffer_appendf(&text, "{\"reason\":\"%s\",\"exit_code\":%d,\"signal\":%d,\"output_length\":%zu,",
				sandbox_reason_word(result->reason), result->exit_code, result->signal,
				result->output_length);
	(void)wl_buffer_append_text(&text, "\"output\":");
	(void)wl_buffer_append_json_string(&text, result->output, result->output_length);
	(void)wl_buffer_append_text(&text, ",\"log_tail\":");
	(void)wl_buffer_append_json_string(&text, result->log_tail, result->log_tail_length);
	print_files(&text, options, result);
	(void)wl_buffer_appendf(&text,
				",\"receipt\":{\"wall_us\":%llu,\"cpu_us\":%llu,\"memory_peak\":%llu,\"pids_peak\":%u,"
				"\"warm\":%s,\"profile\":\"%s\",\"profile_hash\":\"%s\",\"memory_mb\":%u,"
				"\"cpu_milli\":%u,\"pids\":%u,\"wall_ms\":%u,\"output_kb\":%u}}\n",
				(unsigned long long)receipt->wall_us, (unsigned long long)receipt->cpu_us,
				(unsigned long long)receipt->memory_peak, receipt->pids_peak,
				receipt->warm ? "true" : "false", receipt->profile, receipt->profile_hash,
				receipt->limits.memory_mb, receipt->limits.cpu_milli, receipt->limits.pids,
				receipt->limits.wall_ms, receipt->limits.output_kb);
	(void)fputs(text.data, stdout);
}

static int run(const char *socket_path, struct options *options)
{
	struct sandbox_port port;
	struct sandbox_result result = { 0 };
	struct wl_error err = { 0 };
	if (warden_client_open(socket_path, &port, &err) < 0) {
		(void)printf("{\"error\":%d,\"text\":\"%s\"}\n", err.code, err.text);
		return 2;
	}
	if (sandbox_run(&port, &options->request, &result, &err) < 0) {
		_wl_buffer_ struct wl_buffer text;
		wl_buffer_init(&text, 0);
		(void)wl_buffer_append_json_string(&text, err.text, strlen(err.text));
		(void)printf("{\"error\":%d,\"text\":%s}\n", err.code, text.data);
		port.close(port.self);
		return 2;
	}
	print_result(options, &result);
	sandbox_result_release(&result);
	port.close(port.self);
	return 0;
}

int main(int argc, char **argv)
{
	static struct options options;
	int at = 2;
	options.request = (struct sandbox_request){ .tenant = 1, .id = "test", .kill_grace_ms = 200 };
	options.request.cancel_fd = eventfd(0, EFD_CLOEXEC);
	options.request.files = options.files;
	options.request.env = options.env;
	options.request.out = (struct sandbox_out_limits){ .file_bytes = 16 << 20, .total_bytes = 64 << 20 };
	options.request.open_out = open_out;
	options.request.on_log = cancel_now;
	options.request.on_output = send_back;
	options.request.on_listen = on_listen;
	options.request.context = &options;
	while (at < argc && strcmp(argv[at], "--") != 0)
		if (!read_option(&options, argv[at++])) {
			(void)fprintf(stderr, "sandbox-run: cannot take '%s': %s\n", argv[at - 1], strerror(errno));
			return 64;
		}
	if (argc < 2 || at + 1 > argc) {
		(void)fprintf(stderr, "usage: sandbox-run SOCKET [--option=value]... -- PROGRAM [ARGUMENT]...\n");
		return 64;
	}
	options.request.argv = (const char *const *)&argv[at + 1];
	if ((options.echo || options.stays_open) &&
	    wl_byte_queue_new(SANDBOX_INPUT_MAX, &options.request.dialogue, NULL) < 0)
		return 70;
	int status = run(argv[1], &options);
	wl_byte_queue_free(options.request.dialogue);
	return status;
}
