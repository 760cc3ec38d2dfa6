#include "tests/kit/http_script.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

static void note(struct http_server *server, const char *text)
{
	strncat(server->seen, text, sizeof(server->seen) - strlen(server->seen) - 1);
}

static void note_address(struct http_server *server, int connection)
{
	struct sockaddr_in local;
	socklen_t length = sizeof(local);
	char text[INET_ADDRSTRLEN + 2] = "@";
	if (getsockname(connection, (struct sockaddr *)&local, &length) == 0 &&
	    inet_ntop(AF_INET, &local.sin_addr, text + 1, INET_ADDRSTRLEN))
		note(server, text);
	note(server, "\n");
}

static void answer(const struct http_server *server, int connection, const char *path)
{
	for (const struct http_script *row = server->script; row->path; row++) {
		if (strcmp(path, row->path) != 0)
			continue;
		char text[512];
		const char *port = strstr(row->answer, "%d");
		if (port)
			(void)snprintf(text, sizeof(text), "%.*s%d%s", (int)(port - row->answer), row->answer,
				       server->port, port + 2);
		else
			(void)snprintf(text, sizeof(text), "%s", row->answer);
		(void)send(connection, text, strlen(text), MSG_NOSIGNAL);
	}
}

static void *serve(void *context)
{
	struct http_server *server = context;
	int connection;
	while ((connection = accept(server->listener, NULL, NULL)) >= 0) {
		char request[8192];
		ssize_t got;
		bool stays = true;
		note_address(server, connection);
		while (stays && (got = recv(connection, request, sizeof(request) - 1, 0)) > 0) {
			char path[64] = "";
			request[got] = '\0';
			note(server, request);
			atomic_fetch_add(&server->requests, 1);
			(void)sscanf(request, "%*s %63[^ ?]", path);
			answer(server, connection, path);
			stays = server->more(connection, path);
		}
		(void)close(connection);
	}
	return NULL;
}

void http_server_start(struct http_server *server, const struct http_script *script,
		       bool (*more)(int connection, const char *path))
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_ANY) };
	socklen_t length = sizeof(address);
	*server = (struct http_server){ .script = script,
					.more = more,
					.listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0) };
	assert_int_equal(bind(server->listener, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(listen(server->listener, 8), 0);
	assert_int_equal(getsockname(server->listener, (struct sockaddr *)&address, &length), 0);
	server->port = ntohs(address.sin_port);
	assert_int_equal(pthread_create(&server->thread, NULL, serve, server), 0);
}

void http_server_stop(struct http_server *server)
{
	(void)shutdown(server->listener, SHUT_RDWR);
	(void)pthread_join(server->thread, NULL);
	(void)close(server->listener);
}
