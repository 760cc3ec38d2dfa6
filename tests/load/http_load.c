/*
 * An HTTP/1.1 load generator that leaves the processors to what it measures: one thread, epoll, keep-alive.
 *
 *   http_load --port N --path P [--method M] [--body TEXT] [--header LINE]... [--connections N]
 *             [--seconds S | --count N] [--rate R] [--ids FILE --id-key NAME] [--follow PATH] [--mix FILE]
 *
 * "%n" in path, body or a header becomes a number of its own for each request. Without --rate each connection
 * sends its next request when the last one is answered. With --rate requests are due at fixed times, and latency
 * counts from the due time, so that a stall of the server is seen by every request it delays (coordinated
 * omission). --ids appends the id in each 2xx answer to a file, flushed, so that no accepted id is forgotten.
 * --mix FILE takes its requests from lines METHOD<tab>PATH<tab>TOKEN<tab>BODY, one after the other and again from
 * the first; --path, --method and --body do not count then. --follow sends requests one by one and measures until the
 * event stream at PATH (%i: the id) shows `event: end`.
 *
 * The result is one line of JSON on standard output; latencies are in microseconds.
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

enum {
	MAX_HEADERS = 16,
	MAX_CONNECTIONS = 4096,
	REQUEST_ROOM = 64 * 1024,
	ANSWER_ROOM = 1024 * 1024,
	RETRY_MS = 50,
	ID_ROOM = 128
};

struct options {
	const char *host, *path, *method, *body, *ids_file, *id_key, *follow, *token;
	const char *headers[MAX_HEADERS];
	int header_count, port, connections;
	double seconds, rate;
	long count;
	struct mixed *mix;
	long mixed;
};

/* A line of --mix. */
struct mixed {
	char *method, *path, *token, *body;
};

enum state { CLOSED, CONNECTING, IDLE, SENDING, READING };

struct connection {
	int fd;
	enum state state;
	int64_t begun_ns, retry_ns;
	char *out, *in;
	size_t out_length, out_sent, in_length;
};

struct tally {
	uint32_t *latency_us;
	size_t latencies, room;
	long by_status[600];
	long broken; /* connections lost with a request under way, or refused */
	long sent;
};

struct load {
	struct options options;
	struct tally tally;
	struct connection connections[MAX_CONNECTIONS];
	int epoll_fd;
	FILE *ids;
	int64_t start_ns, end_ns;
};

/* A driver that cannot go on says why and stops. */
static void die(const char *what)
{
	fprintf(stderr, "http_load: %s: %s\n", what, strerror(errno));
	exit(1);
}

static int64_t now_ns(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* ---- requests and answers ---------------------------------------------------------------------- */

/* Copy `text` to `out` with each %n replaced by `number`; returns the length. */
static size_t expand(char *out, size_t room, const char *text, long number)
{
	size_t length = 0;
	while (*text && length + 32 < room) {
		if (text[0] == '%' && text[1] == 'n') {
			length += (size_t)snprintf(out + length, room - length, "%ld", number);
			text += 2;
		} else {
			out[length++] = *text++;
		}
	}
	out[length] = '\0';
	return length;
}

/* Take the text up to the next tab or the end of the line; returns where the next one begins. */
static char *field(char *at, char **ret_text)
{
	*ret_text = at;
	at += strcspn(at, "\t\n");
	if (*at)
		*at++ = '\0';
	return at;
}

static void mix_read(struct options *options, const char *path)
{
	FILE *file = fopen(path, "r");
	char *line = NULL;
	size_t room = 0;
	long capacity = 0;
	while (file && getline(&line, &room, file) > 0) {
		if (options->mixed == capacity) {
			capacity = capacity ? capacity * 2 : 1024;
			options->mix = realloc(options->mix, (size_t)capacity * sizeof(*options->mix));
		}
		struct mixed *one = options->mix ? &options->mix[options->mixed++] : NULL;
		char *at = one ? strdup(line) : NULL;
		if (!at)
			die("the mix");
		at = field(at, &one->method);
		at = field(at, &one->path);
		at = field(at, &one->token);
		(void)field(at, &one->body);
	}
	if (!options->mixed)
		die(path);
	free(line);
	fclose(file);
}

static size_t request_text(const struct options *options, char *out, long number);

static size_t request_build(const struct options *options, char *out, long number)
{
	if (!options->mixed)
		return request_text(options, out, number);
	const struct mixed *one = &options->mix[number % options->mixed];
	struct options this = *options;
	this.method = one->method;
	this.path = one->path;
	this.token = one->token;
	this.body = *one->body ? one->body : NULL;
	return request_text(&this, out, number);
}

static size_t request_text(const struct options *options, char *out, long number)
{
	static char body[REQUEST_ROOM / 2], text[REQUEST_ROOM / 4];
	size_t body_length = options->body ? expand(body, sizeof(body), options->body, number) : 0;

	expand(text, sizeof(text), options->path, number);
	size_t length = (size_t)snprintf(out, REQUEST_ROOM, "%s %s HTTP/1.1\r\nHost: %s:%d\r\n", options->method, text,
					 options->host, options->port);
	for (int i = 0; i < options->header_count; i++) {
		expand(text, sizeof(text), options->headers[i], number);
		length += (size_t)snprintf(out + length, REQUEST_ROOM - length, "%s\r\n", text);
	}
	if (options->token)
		length += (size_t)snprintf(out + length, REQUEST_ROOM - length, "Authorization: Bearer %s\r\n",
					   options->token);
	if (options->body)
		length += (size_t)snprintf(out + length, REQUEST_ROOM - length,
					   "Content-Type: application/json\r\nContent-Length: %zu\r\n", body_length);
	length += (size_t)snprintf(out + length, REQUEST_ROOM - length, "\r\n");
	if (length + body_length >= REQUEST_ROOM) {
		errno = EMSGSIZE;
		die("the request is too long");
	}
	memcpy(out + length, body, body_length);
	return length + body_length;
}

/* The value of a header inside [head, end), or NULL. `name` has its colon. */
static const char *header_find(const char *head, const char *end, const char *name)
{
	size_t length = strlen(name);
	for (const char *line = head; line && line < end; line = memmem(line, (size_t)(end - line), "\r\n", 2)) {
		line += line == head ? 0 : 2;
		if ((size_t)(end - line) > length && strncasecmp(line, name, length) == 0)
			return line + length + strspn(line + length, " ");
		if (line == head)
			continue;
	}
	return NULL;
}

/* The status once the whole answer is in `in`, 0 while bytes are missing, -1 when it is no answer we can read. */
static int answer_status(const char *in, size_t length)
{
	const char *end = memmem(in, length, "\r\n\r\n", 4);
	if (!end)
		return length >= ANSWER_ROOM - 1 ? -1 : 0;
	if (strncmp(in, "HTTP/1.1 ", 9) != 0)
		return -1;
	int status = atoi(in + 9);
	const char *size = header_find(in, end + 2, "Content-Length:");
	if (!size)
		return status == 204 || status == 304 ? status : -1;
	size_t whole = (size_t)(end + 4 - in) + strtoul(size, NULL, 10);
	if (whole >= ANSWER_ROOM)
		return -1;
	return length >= whole ? status : 0;
}

/* Copy the string member `key` of the JSON text in an answer to `id`. The first one counts. */
static bool answer_id(const char *in, const char *key, char id[ID_ROOM])
{
	char quoted[ID_ROOM];
	snprintf(quoted, sizeof(quoted), "\"%s\"", key);
	const char *at = strstr(in, "\r\n\r\n");
	at = at ? strstr(at, quoted) : NULL;
	if (!at)
		return false;
	at += strlen(quoted);
	at += strspn(at, " :");
	size_t length = *at == '"' ? strcspn(at + 1, "\"") : 0;
	if (!length || length >= ID_ROOM)
		return false;
	memcpy(id, at + 1, length);
	id[length] = '\0';
	return true;
}

static void tally_add(struct tally *tally, int status, int64_t latency_ns)
{
	if (tally->latencies == tally->room) {
		tally->room = tally->room ? tally->room * 2 : 65536;
		tally->latency_us = realloc(tally->latency_us, tally->room * sizeof(uint32_t));
		if (!tally->latency_us)
			die("latencies");
	}
	if (status > 0 && status < 600)
		tally->by_status[status]++;
	if (status >= 200 && status < 300)
		tally->latency_us[tally->latencies++] = (uint32_t)(latency_ns / 1000);
}

/* ---- many connections ---------------------------------------------------------------------------- */

static struct sockaddr_in server_address(const struct options *options)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons((uint16_t)options->port) };
	if (inet_pton(AF_INET, options->host, &address.sin_addr) != 1) {
		errno = EINVAL;
		die("--host takes an IPv4 address");
	}
	return address;
}

static void watch(struct load *load, struct connection *c, uint32_t events, int operation)
{
	struct epoll_event event = { .events = events, .data.ptr = c };
	if (epoll_ctl(load->epoll_fd, operation, c->fd, &event) < 0)
		die("epoll_ctl");
}

static void connection_open(struct load *load, struct connection *c)
{
	struct sockaddr_in address = server_address(&load->options);
	int on = 1;

	c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (c->fd < 0)
		die("socket");
	setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	c->state = CONNECTING;
	if (connect(c->fd, (struct sockaddr *)&address, sizeof(address)) < 0 && errno != EINPROGRESS)
		die("connect");
	watch(load, c, EPOLLOUT, EPOLL_CTL_ADD);
}

/* The peer is gone: count what was under way and try again a little later. */
static void connection_drop(struct load *load, struct connection *c)
{
	if (c->state != IDLE)
		load->tally.broken++;
	close(c->fd);
	c->state = CLOSED;
	c->in_length = 0;
	c->retry_ns = now_ns() + RETRY_MS * 1000000L;
}

static void connection_write(struct load *load, struct connection *c)
{
	ssize_t put = send(c->fd, c->out + c->out_sent, c->out_length - c->out_sent, MSG_NOSIGNAL);
	if (put < 0 && errno != EAGAIN) {
		connection_drop(load, c);
		return;
	}
	c->out_sent += put > 0 ? (size_t)put : 0;
	bool all = c->out_sent == c->out_length;
	c->state = all ? READING : SENDING;
	watch(load, c, all ? EPOLLIN : EPOLLOUT, EPOLL_CTL_MOD);
}

static bool work_left(const struct load *load)
{
	if (load->options.count)
		return load->tally.sent < load->options.count;
	return now_ns() < load->end_ns;
}

/* Send the next request on an idle connection; `due_ns` is when it should have gone out. */
static void connection_begin(struct load *load, struct connection *c, int64_t due_ns)
{
	c->out_length = request_build(&load->options, c->out, load->tally.sent++);
	c->out_sent = c->in_length = 0;
	c->begun_ns = due_ns;
	connection_write(load, c);
}

static void connection_read(struct load *load, struct connection *c)
{
	ssize_t got = recv(c->fd, c->in + c->in_length, ANSWER_ROOM - 1 - c->in_length, 0);
	if (got < 0 && errno == EAGAIN)
		return;
	if (got <= 0) {
		connection_drop(load, c);
		return;
	}
	c->in_length += (size_t)got;
	c->in[c->in_length] = '\0';
	int status = answer_status(c->in, c->in_length);
	if (status == 0)
		return;
	if (status < 0) {
		connection_drop(load, c);
		return;
	}
	char id[ID_ROOM];
	tally_add(&load->tally, status, now_ns() - c->begun_ns);
	if (load->ids && status < 300 && answer_id(c->in, load->options.id_key, id)) {
		fprintf(load->ids, "%s\n", id);
		fflush(load->ids);
	}
	bool closing = header_find(c->in, c->in + c->in_length, "Connection: close") != NULL;
	c->state = IDLE;
	if (closing)
		connection_drop(load, c);
}

static void connection_serve(struct load *load, struct connection *c, uint32_t events)
{
	if (c->state == CONNECTING) {
		int error = 0;
		socklen_t length = sizeof(error);
		getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &length);
		if (error) {
			connection_drop(load, c);
			return;
		}
		c->state = IDLE;
		watch(load, c, EPOLLIN, EPOLL_CTL_MOD);
	} else if (c->state == SENDING) {
		connection_write(load, c);
	} else if (c->state == READING || (events & (EPOLLHUP | EPOLLIN))) {
		connection_read(load, c);
	}
}

/* Give requests to idle connections. Returns how many are busy afterwards. */
static int dispatch(struct load *load)
{
	int64_t now = now_ns();
	int busy = 0;
	for (int i = 0; i < load->options.connections; i++) {
		struct connection *c = &load->connections[i];
		if (c->state == CLOSED && now >= c->retry_ns && work_left(load))
			connection_open(load, c);
		if (c->state == IDLE && work_left(load)) {
			int64_t due = now;
			if (load->options.rate > 0)
				due = load->start_ns + (int64_t)((double)load->tally.sent * 1e9 / load->options.rate);
			if (due <= now)
				connection_begin(load, c, due);
		}
		busy += c->state == SENDING || c->state == READING;
	}
	return busy;
}

/* How long nothing has to be sent: until the next due time, or until a lost connection is tried again. */
static struct timespec until_due(const struct load *load)
{
	int64_t wait = RETRY_MS * 1000000L;
	if (load->options.rate > 0) {
		int64_t due =
			load->start_ns + (int64_t)((double)load->tally.sent * 1e9 / load->options.rate) - now_ns();
		wait = due < 0 ? 0 : due < wait ? due : wait;
	}
	return (struct timespec){ .tv_nsec = wait };
}

static void run_many(struct load *load)
{
	struct epoll_event events[256];

	for (int i = 0; i < load->options.connections; i++) {
		struct connection *c = &load->connections[i];
		c->out = malloc(REQUEST_ROOM);
		c->in = malloc(ANSWER_ROOM);
		if (!c->out || !c->in)
			die("connections");
		connection_open(load, c);
	}
	int64_t give_up = load->end_ns + 10000000000;
	for (;;) {
		int busy = dispatch(load);
		if (!busy && !work_left(load))
			break;
		if (!load->options.count && now_ns() > give_up)
			break;
		struct timespec patience = until_due(load);
		int ready = epoll_pwait2(load->epoll_fd, events, 256, &patience, NULL);
		if (ready < 0 && errno != EINTR)
			die("epoll_wait");
		for (int i = 0; i < ready; i++)
			connection_serve(load, events[i].data.ptr, events[i].events);
	}
}

/* ---- one after the other, until the end event --------------------------------------------------------- */

static int dial(const struct options *options)
{
	struct sockaddr_in address = server_address(options);
	struct timeval patience = { .tv_sec = 30 };
	int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		die("connect");
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	return fd;
}

/* Send `out` and read a whole answer, or a stream up to its end event. The status, or -1 when the peer hangs up. */
static int exchange(int fd, const char *out, size_t length, char *in, bool until_end_event)
{
	size_t got = 0;
	if (send(fd, out, length, MSG_NOSIGNAL) != (ssize_t)length)
		return -1;
	for (;;) {
		ssize_t more = recv(fd, in + got, ANSWER_ROOM - 1 - got, 0);
		if (more <= 0)
			return -1;
		got += (size_t)more;
		in[got] = '\0';
		if (until_end_event && strstr(in, "event: end"))
			return atoi(in + 9);
		int status = answer_status(in, got);
		if (!until_end_event && status != 0)
			return status;
		if (until_end_event && status >= 300)
			return status;
	}
}

static size_t follow_build(const struct options *options, const char *id, char *out)
{
	const char *mark = strstr(options->follow, "%i");
	if (!mark) {
		errno = EINVAL;
		die("--follow needs %i");
	}
	size_t length = (size_t)snprintf(out, REQUEST_ROOM, "GET %.*s%s%s HTTP/1.1\r\nHost: %s:%d\r\n",
					 (int)(mark - options->follow), options->follow, id, mark + 2, options->host,
					 options->port);
	for (int i = 0; i < options->header_count; i++)
		length += (size_t)snprintf(out + length, REQUEST_ROOM - length, "%s\r\n", options->headers[i]);
	return length + (size_t)snprintf(out + length, REQUEST_ROOM - length, "Accept: text/event-stream\r\n\r\n");
}

static void run_follow(struct load *load)
{
	struct options *options = &load->options;
	char *out = malloc(REQUEST_ROOM), *in = malloc(ANSWER_ROOM), id[ID_ROOM];
	if (!out || !in)
		die("buffers");
	int post_fd = dial(options);

	while (work_left(load)) {
		int stream_fd = dial(options);
		size_t length = request_build(options, out, load->tally.sent++);
		int64_t begun = now_ns();
		int status = exchange(post_fd, out, length, in, false);
		if (status < 0 || status >= 300 || !answer_id(in, options->id_key, id)) {
			tally_add(&load->tally, status, 0);
			load->tally.broken++;
			close(post_fd);
			post_fd = dial(options);
		} else {
			length = follow_build(options, id, out);
			status = exchange(stream_fd, out, length, in, true);
			tally_add(&load->tally, status, now_ns() - begun);
			load->tally.broken += status < 0;
		}
		close(stream_fd);
	}
	close(post_fd);
	free(out);
	free(in);
}

/* ---- command line and result ---------------------------------------------------------------------------- */

static int by_value(const void *a, const void *b)
{
	uint32_t left = *(const uint32_t *)a, right = *(const uint32_t *)b;
	return (left > right) - (left < right);
}

static void report(struct tally *tally, double seconds)
{
	static const struct {
		const char *name;
		double part;
	} quantiles[] = { { "p50", 0.50 }, { "p95", 0.95 }, { "p99", 0.99 }, { "max", 1.0 } };

	qsort(tally->latency_us, tally->latencies, sizeof(uint32_t), by_value);
	printf("{\"ok\": %zu, \"broken\": %ld, \"seconds\": %.3f, \"rate\": %.1f", tally->latencies, tally->broken,
	       seconds, (double)tally->latencies / seconds);
	for (size_t i = 0; i < sizeof(quantiles) / sizeof(quantiles[0]); i++) {
		size_t at = tally->latencies ? (size_t)((double)(tally->latencies - 1) * quantiles[i].part) : 0;
		printf(", \"%s\": %u", quantiles[i].name, tally->latencies ? tally->latency_us[at] : 0);
	}
	printf(", \"status\": {");
	for (int i = 0, first = 1; i < 600; i++) {
		if (!tally->by_status[i])
			continue;
		printf("%s\"%d\": %ld", first ? "" : ", ", i, tally->by_status[i]);
		first = 0;
	}
	printf("}}\n");
}

static void option_set(struct options *options, int which, const char *value)
{
	switch (which) {
	case 'h':
		options->host = value;
		break;
	case 'p':
		options->port = atoi(value);
		break;
	case 'P':
		options->path = value;
		break;
	case 'm':
		options->method = value;
		break;
	case 'b':
		options->body = value;
		break;
	case 'c':
		options->connections = atoi(value);
		break;
	case 's':
		options->seconds = atof(value);
		break;
	case 'n':
		options->count = atol(value);
		break;
	case 'r':
		options->rate = atof(value);
		break;
	case 'i':
		options->ids_file = value;
		break;
	case 'k':
		options->id_key = value;
		break;
	case 'f':
		options->follow = value;
		break;
	case 'x':
		mix_read(options, value);
		break;
	case 'H':
		if (options->header_count < MAX_HEADERS)
			options->headers[options->header_count++] = value;
		break;
	default:
		fprintf(stderr, "http_load: see the first lines of tests/load/http_load.c for the options\n");
		exit(2);
	}
}

int main(int argc, char **argv)
{
	static const struct option table[] = {
		{ "host", 1, NULL, 'h' },	 { "port", 1, NULL, 'p' },    { "path", 1, NULL, 'P' },
		{ "method", 1, NULL, 'm' },	 { "body", 1, NULL, 'b' },    { "header", 1, NULL, 'H' },
		{ "connections", 1, NULL, 'c' }, { "seconds", 1, NULL, 's' }, { "count", 1, NULL, 'n' },
		{ "rate", 1, NULL, 'r' },	 { "ids", 1, NULL, 'i' },     { "id-key", 1, NULL, 'k' },
		{ "follow", 1, NULL, 'f' },	 { "mix", 1, NULL, 'x' },     { NULL, 0, NULL, 0 },
	};
	static struct load load = { .options = { .host = "127.0.0.1",
						 .path = "/",
						 .method = "GET",
						 .connections = 1,
						 .seconds = 5,
						 .id_key = "id" } };

	for (int which; (which = getopt_long(argc, argv, "", table, NULL)) != -1;)
		option_set(&load.options, which, optarg);
	if (load.options.port <= 0 || load.options.connections < 1 || load.options.connections > MAX_CONNECTIONS)
		option_set(&load.options, '?', NULL);
	if (load.options.ids_file && !(load.ids = fopen(load.options.ids_file, "ae")))
		die(load.options.ids_file);
	load.epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (load.epoll_fd < 0)
		die("epoll");
	load.start_ns = now_ns();
	load.end_ns = load.start_ns + (int64_t)(load.options.seconds * 1e9);
	if (load.options.follow)
		run_follow(&load);
	else
		run_many(&load);
	report(&load.tally, (double)(now_ns() - load.start_ns) / 1e9);
	return 0;
}
