/*
 * A server of language models that takes no time: one thread, epoll, keep-alive, OpenAI's chat completions. What is
 * measured in front of it is not it.
 *
 *   instant_model            prints the port of its choice on 127.0.0.1, and ends when its standard input does
 *
 * The name of the model says what to do: "t64-p20" answers with 64 tokens, one every 20 ms in a stream; "t64-p0" with
 * all at once. Each token is the time at which it was sent (CLOCK_MONOTONIC in ns): whoever reads it on this machine
 * knows how long it was on its way. "tool-t64-p0" first asks once for the first of the tools that it is offered.
 */
#include <arpa/inet.h>
#include <errno.h>
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

enum { MAX_FD = 8192, IN_ROOM = 1 << 20, EVENTS = 256 };

struct client {
	int fd;
	char *in;
	size_t in_length;
	/* bytes that the socket did not take yet */
	char *out;
	size_t out_length, out_sent, out_room;
	/* of the stream that is under way */
	int tokens_left, tokens, pause_ms;
	bool usage;
	int64_t due_ns; /* of the next token; 0: there is no stream */
};

static struct client *clients[MAX_FD];
static int epoll_fd, highest;

static int64_t now_ns(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000000000L + now.tv_nsec;
}

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static void drop(struct client *client)
{
	clients[client->fd] = NULL;
	close(client->fd);
	free(client->in);
	free(client->out);
	free(client);
}

static void put(struct client *client, const char *bytes, size_t length)
{
	if (client->out_length + length > client->out_room) {
		client->out_room = (client->out_length + length) * 2;
		client->out = realloc(client->out, client->out_room);
		if (!client->out)
			die("memory");
	}
	memcpy(client->out + client->out_length, bytes, length);
	client->out_length += length;
}

/* False when the client is gone. */
static bool flush(struct client *client)
{
	while (client->out_sent < client->out_length) {
		ssize_t sent = send(client->fd, client->out + client->out_sent, client->out_length - client->out_sent,
				    MSG_NOSIGNAL);
		if (sent < 0 && errno == EAGAIN) {
			struct epoll_event event = { .events = EPOLLIN | EPOLLOUT, .data.ptr = client };
			(void)epoll_ctl(epoll_fd, EPOLL_CTL_MOD, client->fd, &event);
			return true;
		}
		if (sent < 0) {
			drop(client);
			return false;
		}
		client->out_sent += (size_t)sent;
	}
	client->out_sent = client->out_length = 0;
	return true;
}

/* ---- answers ----------------------------------------------------------------------------------------------- */

static void put_chunk(struct client *client, const char *data)
{
	char chunk[512];
	int length = (int)strlen(data) + 8;
	put(client, chunk, (size_t)snprintf(chunk, sizeof(chunk), "%x\r\ndata: %s\n\n\r\n", length, data));
}

static void put_event(struct client *client, const char *delta, const char *finish)
{
	char data[400];
	(void)snprintf(
		data, sizeof(data),
		"{\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"instant\",\"choices\":["
		"{\"index\":0,\"delta\":%s,\"finish_reason\":%s}]}",
		delta, finish);
	put_chunk(client, data);
}

static void put_token(struct client *client)
{
	char delta[64];
	(void)snprintf(delta, sizeof(delta), "{\"content\":\"%lld \"}", (long long)now_ns());
	put_event(client, delta, "null");
}

static void end_stream(struct client *client, const char *finish)
{
	char data[300];
	put_event(client, "{}", finish);
	(void)snprintf(
		data, sizeof(data),
		"{\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"instant\",\"choices\":[],"
		"\"usage\":{\"prompt_tokens\":20,\"completion_tokens\":%d,\"total_tokens\":%d}}",
		client->tokens, client->tokens + 20);
	if (client->usage)
		put_chunk(client, data);
	put(client, "e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n", 24);
	client->due_ns = 0;
}

static void step_stream(struct client *client)
{
	do {
		put_token(client);
		client->tokens_left--;
	} while (client->tokens_left && client->pause_ms == 0);
	if (client->tokens_left)
		client->due_ns += client->pause_ms * 1000000L;
	else
		end_stream(client, "\"stop\"");
}

static void answer_whole(struct client *client)
{
	static char text[1 << 16], body[(1 << 16) + 512], head[128];
	size_t length = 0;
	for (int i = 0; i < client->tokens && length < sizeof(text) - 32; i++)
		length += (size_t)snprintf(text + length, 32, "%lld ", (long long)now_ns());
	int all = snprintf(
		body, sizeof(body),
		"{\"id\":\"c\",\"object\":\"chat.completion\",\"created\":1,\"model\":\"instant\",\"choices\":[{"
		"\"index\":0,"
		"\"message\":{\"role\":\"assistant\",\"content\":\"%s\"},\"finish_reason\":\"stop\"}],\"usage\":"
		"{\"prompt_tokens\":20,\"completion_tokens\":%d,\"total_tokens\":%d}}",
		text, client->tokens, client->tokens + 20);
	put(client, head,
	    (size_t)snprintf(head, sizeof(head),
			     "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n", all));
	put(client, body, (size_t)all);
}

/* The first tool's name, when tools are offered and none was used yet; else 0 bytes. */
static size_t wanted_tool(const char *body, const char **ret_name)
{
	const char *tools = strstr(body, "\"tools\":"), *name = tools ? strstr(tools, "\"name\":") : NULL;
	if (!name || strstr(body, "\"role\":\"tool\"") || strstr(body, "\"role\": \"tool\""))
		return 0;
	*ret_name = strchr(name + 7, '"') + 1;
	return strcspn(*ret_name, "\"");
}

static void answer_tool(struct client *client, const char *name, size_t length, bool streamed)
{
	char call[300], body[700], head[128];
	(void)snprintf(
		call, sizeof(call),
		"{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[{\"index\":0,\"id\":\"call_1\",\"type\":"
		"\"function\",\"function\":{\"name\":\"%.*s\",\"arguments\":\"{\\\"city\\\":\\\"Vienna\\\"}\"}}]}",
		(int)(length < 64 ? length : 64), name);
	if (streamed) {
		put_event(client, call, "null");
		end_stream(client, "\"tool_calls\"");
		return;
	}
	int all = snprintf(body, sizeof(body),
			   "{\"id\":\"c\",\"object\":\"chat.completion\",\"created\":1,\"model\":\"instant\","
			   "\"choices\":[{\"index\":0,"
			   "\"message\":%s,\"finish_reason\":\"tool_calls\"}],\"usage\":{\"prompt_tokens\":20,"
			   "\"completion_tokens\":%d,\"total_tokens\":%d}}",
			   call, client->tokens, client->tokens + 20);
	put(client, head,
	    (size_t)snprintf(head, sizeof(head),
			     "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n", all));
	put(client, body, (size_t)all);
}

static void answer(struct client *client, const char *body)
{
	static const char streams[] =
		"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
	static const char models[] = "{\"object\":\"list\",\"data\":[{\"id\":\"t16-p0\",\"object\":\"model\"}]}";
	const char *model = strstr(body, "\"model\":"), *stream = strstr(body, "\"stream\":");
	char head[160];
	const char *name = NULL;
	size_t tool = 0;
	model = model ? strchr(model + 8, '"') + 1 : NULL;
	if (model && strncmp(model, "tool-", 5) == 0) {
		tool = wanted_tool(body, &name);
		model += 5;
	}
	if (strncmp(client->in, "POST", 4) != 0 || !model ||
	    sscanf(model, "t%d-p%d", &client->tokens, &client->pause_ms) != 2) {
		put(client, head,
		    (size_t)snprintf(head, sizeof(head),
				     "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: "
				     "%zu\r\n\r\n%s",
				     sizeof(models) - 1, models));
		return;
	}
	if (!stream || strncmp(stream + 9 + strspn(stream + 9, " "), "true", 4) != 0) {
		if (tool)
			answer_tool(client, name, tool, false);
		else
			answer_whole(client);
		return;
	}
	put(client, streams, sizeof(streams) - 1);
	if (!tool)
		put_event(client, "{\"role\":\"assistant\",\"content\":\"\"}", "null");
	client->usage = strstr(body, "include_usage") != NULL;
	client->tokens_left = client->tokens;
	client->due_ns = now_ns();
	if (tool)
		answer_tool(client, name, tool, true);
	else
		step_stream(client);
}

/* ---- requests ---------------------------------------------------------------------------------------------- */

static void take(struct client *client)
{
	char *end = strstr(client->in, "\r\n\r\n"), *size = strcasestr(client->in, "\r\ncontent-length:");
	if (!end)
		return;
	size_t whole = (size_t)(end + 4 - client->in) + (size && size < end ? strtoul(size + 17, NULL, 10) : 0);
	if (client->in_length < whole || client->due_ns)
		return;
	char kept = client->in[whole];
	client->in[whole] = '\0';
	answer(client, end + 4);
	client->in[whole] = kept;
	client->in_length -= whole;
	memmove(client->in, client->in + whole, client->in_length + 1);
	(void)flush(client);
}

static void read_more(struct client *client)
{
	ssize_t got = recv(client->fd, client->in + client->in_length, IN_ROOM - 1 - client->in_length, 0);
	if (got < 0 && errno == EAGAIN)
		return;
	if (got <= 0) {
		drop(client);
		return;
	}
	client->in_length += (size_t)got;
	client->in[client->in_length] = '\0';
	take(client);
}

static void accept_more(int listener)
{
	int fd, on = 1;
	while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
		struct client *client = fd < MAX_FD ? calloc(1, sizeof(*client)) : NULL;
		if (!client || !(client->in = malloc(IN_ROOM)))
			die("a connection");
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
		client->fd = fd;
		clients[fd] = client;
		highest = fd > highest ? fd : highest;
		struct epoll_event event = { .events = EPOLLIN, .data.ptr = client };
		if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0)
			die("epoll_ctl");
	}
}

/* Send the tokens that are due; how long until the next one is, in ms, at most a second. */
static int step_all(void)
{
	int64_t now = now_ns(), next = now + 1000000000L;
	for (int fd = 0; fd <= highest; fd++) {
		struct client *client = clients[fd];
		if (!client || !client->due_ns)
			continue;
		if (client->due_ns <= now) {
			step_stream(client);
			if (!flush(client))
				continue;
		}
		if (client->due_ns && client->due_ns < next)
			next = client->due_ns;
	}
	return next <= now ? 0 : (int)((next - now + 999999) / 1000000);
}

static int listen_here(void)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t size = sizeof(address);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0 || bind(fd, (struct sockaddr *)&address, size) < 0 || listen(fd, 1024) < 0 ||
	    getsockname(fd, (struct sockaddr *)&address, &size) < 0)
		die("listen");
	printf("%d\n", ntohs(address.sin_port));
	(void)fflush(stdout);
	return fd;
}

int main(void)
{
	struct epoll_event events[EVENTS], first = { .events = EPOLLIN };
	char ignored[64];
	(void)signal(SIGPIPE, SIG_IGN);
	epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	int listener = listen_here();
	struct epoll_event owner = { .events = EPOLLIN, .data.ptr = &epoll_fd };
	if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, listener, &first) < 0 ||
	    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, STDIN_FILENO, &owner) < 0)
		die("epoll_ctl");
	for (;;) {
		int count = epoll_wait(epoll_fd, events, EVENTS, step_all());
		for (int i = 0; i < count; i++) {
			struct client *client = events[i].data.ptr;
			if (!client)
				accept_more(listener);
			else if (events[i].data.ptr == &epoll_fd)
				return read(STDIN_FILENO, ignored, sizeof(ignored)) > 0 ? 1 : 0;
			else if (events[i].events & EPOLLOUT) {
				struct epoll_event event = { .events = EPOLLIN, .data.ptr = client };
				(void)epoll_ctl(epoll_fd, EPOLL_CTL_MOD, client->fd, &event);
				(void)flush(client);
			} else
				read_more(client);
		}
	}
}
