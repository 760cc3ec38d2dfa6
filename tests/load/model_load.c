/*
 * Calls of OpenAI's chat completions and how long they take: one thread, epoll.
 *
 *   model_load --port N --model NAME [--key KEY] [--stream] [--connections N] [--calls N] [--pause-ms N]
 *
 * Each connection makes its next call when the last one is answered, after a pause. Asked of
 * tests/load/instant_model.c, whose tokens are the times at which they were sent, it knows how long each token of a
 * stream was on its way.
 *
 * The result is one line of JSON on standard output; times are in microseconds. A call that fails ends it.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { ROOM = 1 << 20, EVENTS = 256 };

struct times {
	uint32_t *us;
	size_t count, room;
};

struct caller {
	int fd;
	bool busy, in_body, told, chunked;
	char *in;
	size_t in_length;
	int64_t begun_ns, next_ns;
};

static struct {
	int port, connections, calls, pause_ms;
	const char *model, *key;
	bool stream;
} options = { .connections = 1, .calls = 100 };

static struct times whole, first, first_way, way;
static struct caller *callers;
static char request[4096];
static size_t request_length;
static int epoll_fd, begun, ended;

static int64_t now_ns(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000000000L + now.tv_nsec;
}

static void die(const char *what)
{
	fprintf(stderr, "model_load: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void note(struct times *times, int64_t ns)
{
	if (times->count == times->room) {
		times->room = times->room ? times->room * 2 : 4096;
		times->us = realloc(times->us, times->room * sizeof(*times->us));
		if (!times->us)
			die("memory");
	}
	times->us[times->count++] = ns < 0 ? 0 : (uint32_t)(ns / 1000);
}

static int compare(const void *a, const void *b)
{
	uint32_t one = *(const uint32_t *)a, other = *(const uint32_t *)b;
	return one < other ? -1 : one > other;
}

static void print(const char *name, struct times *times)
{
	qsort(times->us, times->count, sizeof(*times->us), compare);
	printf(", \"%s\": {\"count\": %zu", name, times->count);
	if (times->count)
		printf(", \"p50\": %u, \"p99\": %u", times->us[(times->count - 1) / 2],
		       times->us[(times->count - 1) * 99 / 100]);
	putchar('}');
}

static void build_request(void)
{
	char body[1024], key[300] = "";
	int length =
		snprintf(body, sizeof(body),
			 "{\"model\": \"%s\", \"max_tokens\": 4000, \"messages\": [{\"role\": \"user\", \"content\": "
			 "\"Tell me what time it is, please, and nothing else.\"}]%s}",
			 options.model, options.stream ? ", \"stream\": true" : "");
	if (options.key)
		(void)snprintf(key, sizeof(key), "Authorization: Bearer %s\r\n", options.key);
	request_length = (size_t)snprintf(request, sizeof(request),
					  "POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n%sContent-Type: "
					  "application/json\r\nContent-Length: %d\r\n\r\n%s",
					  options.port, key, length, body);
}

/* ---- one call ---------------------------------------------------------------------------------------------- */

static void begin(struct caller *caller)
{
	struct sockaddr_in address = { .sin_family = AF_INET,
				       .sin_port = htons((uint16_t)options.port),
				       .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int on = 1;
	caller->begun_ns = now_ns();
	if (caller->fd < 0) {
		caller->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
		if (caller->fd < 0 || connect(caller->fd, (struct sockaddr *)&address, sizeof(address)) < 0)
			die("connect");
		setsockopt(caller->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
		struct epoll_event event = { .events = EPOLLIN, .data.ptr = caller };
		if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, caller->fd, &event) < 0)
			die("epoll_ctl");
	}
	if (send(caller->fd, request, request_length, MSG_NOSIGNAL) != (ssize_t)request_length)
		die("send");
	caller->busy = true;
	caller->in_body = caller->told = false;
	caller->in_length = 0;
	begun++;
}

static void end(struct caller *caller, bool keeps, int64_t now)
{
	note(&whole, now - caller->begun_ns);
	caller->busy = false;
	caller->next_ns = now + options.pause_ms * 1000000L;
	ended++;
	if (keeps)
		return;
	close(caller->fd);
	caller->fd = -1;
}

static void token(struct caller *caller, const char *text, int64_t now)
{
	int64_t on_way = now - strtoll(text, NULL, 10);
	note(&way, on_way);
	if (caller->told)
		return;
	caller->told = true;
	note(&first_way, on_way);
	note(&first, now - caller->begun_ns);
}

/* Read the lines that have come whole; true when the last of the stream is there. */
static bool read_lines(struct caller *caller, int64_t now)
{
	char *at = caller->in, *line_end;
	bool done = false;
	while (!done && (line_end = memchr(at, '\n', caller->in_length - (size_t)(at - caller->in)))) {
		*line_end = '\0';
		char *content = strncmp(at, "data: ", 6) == 0 ? strstr(at, "\"content\":\"") : NULL;
		if (content && content[11] >= '0' && content[11] <= '9')
			token(caller, content + 11, now);
		done = caller->chunked ? strcmp(at, "0\r") == 0 : strncmp(at, "data: [DONE]", 12) == 0;
		at = line_end + 1;
	}
	caller->in_length -= (size_t)(at - caller->in);
	memmove(caller->in, at, caller->in_length + 1);
	return done;
}

static void take(struct caller *caller, int64_t now)
{
	if (!caller->in_body) {
		char *head_end = strstr(caller->in, "\r\n\r\n"), *size;
		if (!head_end)
			return;
		if (strncmp(caller->in, "HTTP/1.1 200", 12) != 0) {
			fprintf(stderr, "model_load: refused: %s\n", caller->in);
			exit(1);
		}
		size = strcasestr(caller->in, "\r\ncontent-length:");
		if (!options.stream) {
			size_t all = (size_t)(head_end + 4 - caller->in) + (size ? strtoul(size + 17, NULL, 10) : 0);
			if (caller->in_length >= all)
				end(caller, true, now);
			return;
		}
		char *chunked = strcasestr(caller->in, "transfer-encoding: chunked");
		caller->chunked = chunked && chunked < head_end;
		caller->in_body = true;
		caller->in_length -= (size_t)(head_end + 4 - caller->in);
		memmove(caller->in, head_end + 4, caller->in_length + 1);
	}
	if (read_lines(caller, now))
		end(caller, caller->chunked, now);
}

static void receive(struct caller *caller)
{
	ssize_t got = recv(caller->fd, caller->in + caller->in_length, ROOM - 1 - caller->in_length, MSG_DONTWAIT);
	if (got < 0 && errno == EAGAIN)
		return;
	if (got <= 0 && caller->busy) {
		fprintf(stderr, "model_load: the connection broke: %.200s\n", caller->in);
		exit(1);
	}
	if (got <= 0) {
		close(caller->fd);
		caller->fd = -1;
		return;
	}
	caller->in_length += (size_t)got;
	caller->in[caller->in_length] = '\0';
	if (caller->busy)
		take(caller, now_ns());
}

/* ---- all of them --------------------------------------------------------------------------------------------- */

/* Begin the calls that are due; how long until the next one is, in ms. */
static int begin_due(void)
{
	int64_t now = now_ns(), next = now + 1000000000L;
	for (int i = 0; i < options.connections; i++) {
		struct caller *caller = &callers[i];
		if (caller->busy || begun >= options.calls)
			continue;
		if (caller->next_ns <= now)
			begin(caller);
		else if (caller->next_ns < next)
			next = caller->next_ns;
	}
	return (int)((next - now) / 1000000) + 1;
}

static void read_options(int argc, char **argv)
{
	static const struct option known[] = { { "port", 1, NULL, 'p' },	{ "model", 1, NULL, 'm' },
					       { "key", 1, NULL, 'k' },		{ "stream", 0, NULL, 's' },
					       { "connections", 1, NULL, 'c' }, { "calls", 1, NULL, 'n' },
					       { "pause-ms", 1, NULL, 'w' },	{ NULL, 0, NULL, 0 } };
	for (int got; (got = getopt_long(argc, argv, "", known, NULL)) != -1;) {
		switch (got) {
		case 'p':
			options.port = atoi(optarg);
			break;
		case 'm':
			options.model = optarg;
			break;
		case 'k':
			options.key = optarg;
			break;
		case 's':
			options.stream = true;
			break;
		case 'c':
			options.connections = atoi(optarg);
			break;
		case 'n':
			options.calls = atoi(optarg);
			break;
		case 'w':
			options.pause_ms = atoi(optarg);
			break;
		default:
			exit(2);
		}
	}
	if (!options.port || !options.model || options.connections < 1)
		exit(2);
}

int main(int argc, char **argv)
{
	struct epoll_event events[EVENTS];
	read_options(argc, argv);
	build_request();
	(void)signal(SIGPIPE, SIG_IGN);
	epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	callers = calloc((size_t)options.connections, sizeof(*callers));
	for (int i = 0; callers && i < options.connections; i++) {
		callers[i].fd = -1;
		callers[i].in = malloc(ROOM);
	}
	int64_t from = now_ns();
	while (ended < options.calls) {
		int count = epoll_wait(epoll_fd, events, EVENTS, begin_due());
		for (int i = 0; i < count; i++)
			receive(events[i].data.ptr);
	}
	double seconds = (double)(now_ns() - from) / 1e9;
	printf("{\"calls\": %d, \"seconds\": %.6f, \"tokens_per_s\": %.1f", ended, seconds,
	       (double)way.count / seconds);
	print("whole", &whole);
	print("first", &first);
	print("first_way", &first_way);
	print("way", &way);
	printf("}\n");
	return 0;
}
