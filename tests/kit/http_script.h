/* An HTTP server of a test's own: it answers by path from a script and remembers what came. Faults fail the test. */
#ifndef TESTS_KIT_HTTP_SCRIPT_H
#define TESTS_KIT_HTTP_SCRIPT_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

/* The bytes sent for a path without its query; "%d" in them, at most once, is the server's port. */
struct http_script {
	const char *path, *answer;
};

struct http_server {
	const struct http_script *script; /* its last row has no path */
	/* Called behind the script's answer, to send more of it; tells whether the connection stays open. */
	bool (*more)(int connection, const char *path);
	int listener, port;
	pthread_t thread;
	atomic_int requests;
	char seen[16384]; /* "@" and the address that was connected to, then what came there */
};

/* Listen on a free port of every address and serve one connection at a time in a thread of its own. */
void http_server_start(struct http_server *server, const struct http_script *script,
		       bool (*more)(int connection, const char *path));
void http_server_stop(struct http_server *server);

#endif
