/*
 * A pool of connections to windlass-eval. Each process behind a connection keeps the programs it has compiled, so a
 * caller is given the connection that has seen its template, else the one used last: few processes stay warm instead of
 * many cold ones.
 */
#include "lib/codec/expression_client.h"

#include "lib/base/buffer.h"
#include "lib/base/cleanup.h"
#include "lib/codec/expression_protocol.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

#define SEEN_MAX 64	      /* templates remembered of each connection */
#define ANSWER_MARGIN_MS 2000 /* beyond a request's own time: a busy machine, a free process */
#define CONNECTIONS_MAX 1024

struct connection {
	int fd; /* -1: not connected */
	bool busy;
	uint64_t used;	/* by the pool's count */
	int timeout_ms; /* what the socket is set to */
	uint64_t seen[SEEN_MAX];
	unsigned seen_next;
};

struct wl_expression_pool {
	struct sockaddr_un address;
	pthread_mutex_t lock;
	pthread_cond_t freed;
	uint64_t clock;
	int count;
	struct connection connections[];
};

struct request {
	struct wl_eval_request header;
	const char *first, *second;
	uint64_t hash; /* of the first text */
};

int wl_expression_pool_open(const char *socket_path, int connections, struct wl_expression_pool **ret_pool,
			    struct wl_error *err)
{
	if (connections < 1 || connections > CONNECTIONS_MAX)
		return wl_fail(err, EINVAL, "an expression pool has 1 to %d connections", CONNECTIONS_MAX);
	_wl_free_ struct wl_expression_pool *pool =
		calloc(1, sizeof(*pool) + (size_t)connections * sizeof(pool->connections[0]));
	if (!pool)
		return wl_fail(err, ENOMEM, "out of memory for the expression pool");
	pool->address.sun_family = AF_UNIX;
	if (!*socket_path || strlen(socket_path) >= sizeof(pool->address.sun_path))
		return wl_fail(err, EINVAL, "setting eval_socket must have 1 to %zu bytes",
			       sizeof(pool->address.sun_path) - 1);
	strcpy(pool->address.sun_path, socket_path);
	pool->count = connections;
	for (int i = 0; i < connections; i++)
		pool->connections[i].fd = -1;
	if (pthread_mutex_init(&pool->lock, NULL) != 0)
		return wl_fail(err, ENOMEM, "out of memory for the expression pool");
	if (pthread_cond_init(&pool->freed, NULL) != 0) {
		(void)pthread_mutex_destroy(&pool->lock);
		return wl_fail(err, ENOMEM, "out of memory for the expression pool");
	}
	*ret_pool = wl_steal(pool);
	return 0;
}

void wl_expression_pool_close(struct wl_expression_pool *pool)
{
	if (!pool)
		return;
	for (int i = 0; i < pool->count; i++)
		if (pool->connections[i].fd >= 0)
			(void)close(pool->connections[i].fd);
	(void)pthread_cond_destroy(&pool->freed);
	(void)pthread_mutex_destroy(&pool->lock);
	free(pool);
}

/* ---- choosing a connection -------------------------------------------------------------------- */

static bool has_seen(const struct connection *connection, uint64_t hash)
{
	for (int i = 0; i < SEEN_MAX; i++)
		if (connection->seen[i] == hash)
			return true;
	return false;
}

/* The better of two free connections for a template; either may be NULL. */
static struct connection *better(struct connection *a, struct connection *b, uint64_t hash)
{
	if (!a || !b)
		return a ? a : b;
	bool a_seen = a->fd >= 0 && has_seen(a, hash), b_seen = b->fd >= 0 && has_seen(b, hash);
	if (a_seen != b_seen)
		return a_seen ? a : b;
	if ((a->fd >= 0) != (b->fd >= 0))
		return a->fd >= 0 ? a : b;
	return a->used >= b->used ? a : b;
}

static struct connection *take(struct wl_expression_pool *pool, uint64_t hash)
{
	struct connection *best = NULL;
	(void)pthread_mutex_lock(&pool->lock);
	for (;;) {
		for (int i = 0; i < pool->count; i++)
			if (!pool->connections[i].busy)
				best = better(best, &pool->connections[i], hash);
		if (best)
			break;
		(void)pthread_cond_wait(&pool->freed, &pool->lock);
	}
	best->busy = true;
	best->used = ++pool->clock;
	(void)pthread_mutex_unlock(&pool->lock);
	return best;
}

static void give_back(struct wl_expression_pool *pool, struct connection *connection)
{
	(void)pthread_mutex_lock(&pool->lock);
	connection->busy = false;
	(void)pthread_cond_signal(&pool->freed);
	(void)pthread_mutex_unlock(&pool->lock);
}

static void drop(struct connection *connection)
{
	(void)close(connection->fd);
	connection->fd = -1;
	memset(connection->seen, 0, sizeof(connection->seen));
}

/* ---- one exchange ----------------------------------------------------------------------------- */

static int set_timeout(struct connection *connection, int timeout_ms, struct wl_error *err)
{
	struct timeval limit = { .tv_sec = timeout_ms / 1000, .tv_usec = (timeout_ms % 1000) * 1000 };
	if (connection->timeout_ms == timeout_ms)
		return 0;
	if (setsockopt(connection->fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)) < 0 ||
	    setsockopt(connection->fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit)) < 0)
		return wl_fail_errno(err, EIO, "set the time limit of an expression");
	connection->timeout_ms = timeout_ms;
	return 0;
}

static int connect_to(const struct wl_expression_pool *pool, struct connection *connection, int timeout_ms,
		      struct wl_error *err)
{
	connection->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (connection->fd < 0)
		return wl_fail(err, EIO, "no socket for expressions: %s", strerror(errno));
	connection->timeout_ms = 0;
	int result = set_timeout(connection, timeout_ms, err);
	if (result == 0 && connect(connection->fd, (const struct sockaddr *)&pool->address, sizeof(pool->address)) < 0)
		result = wl_fail(err, EIO, "the expression server does not answer on %.100s: %s",
				 pool->address.sun_path, strerror(errno));
	if (result < 0)
		drop(connection);
	return result;
}

static bool send_request(int fd, const struct request *request)
{
	struct iovec parts[] = {
		{ .iov_base = (void *)(uintptr_t)&request->header, .iov_len = sizeof(request->header) },
		{ .iov_base = (void *)(uintptr_t)request->first, .iov_len = request->header.first_length },
		{ .iov_base = (void *)(uintptr_t)request->second, .iov_len = request->header.second_length },
	};
	struct msghdr message = { .msg_iov = parts, .msg_iovlen = 3 };
	while (message.msg_iovlen > 0) {
		ssize_t sent = sendmsg(fd, &message, MSG_NOSIGNAL);
		if (sent < 0 && errno == EINTR)
			continue;
		if (sent < 0)
			return false;
		while (message.msg_iovlen > 0 && (size_t)sent >= message.msg_iov->iov_len) {
			sent -= (ssize_t)message.msg_iov->iov_len;
			message.msg_iov++;
			message.msg_iovlen--;
		}
		if (message.msg_iovlen > 0) {
			message.msg_iov->iov_base = (char *)message.msg_iov->iov_base + sent;
			message.msg_iov->iov_len -= (size_t)sent;
		}
	}
	return true;
}

static bool read_all(int fd, void *bytes, size_t length)
{
	char *at = bytes;
	while (length > 0) {
		ssize_t got = recv(fd, at, length, 0);
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return false;
		at += got;
		length -= (size_t)got;
	}
	return true;
}

/* 0 with the answer's text for the caller to free; -EIO when the connection is of no more use. */
static int read_answer(int fd, struct wl_eval_answer *answer, char **ret_text, struct wl_error *err)
{
	if (!read_all(fd, answer, sizeof(*answer)))
		return wl_fail(err, EIO, "the expression server went away");
	if (answer->magic != WL_EVAL_MAGIC || answer->length > WL_EVAL_ANSWER_MAX)
		return wl_fail(err, EIO, "the expression server speaks another protocol");
	_wl_free_ char *text = malloc((size_t)answer->length + 1);
	if (!text)
		return wl_fail(err, EIO, "out of memory for the answer of an expression");
	if (!read_all(fd, text, answer->length))
		return wl_fail(err, EIO, "the expression server went away");
	text[answer->length] = '\0';
	*ret_text = wl_steal(text);
	return 0;
}

static int exchange(const struct wl_expression_pool *pool, struct connection *connection, const struct request *request,
		    struct wl_eval_answer *answer, char **ret_text, struct wl_error *err)
{
	int timeout_ms = (int)request->header.timeout_ms + ANSWER_MARGIN_MS;
	int result = connection->fd < 0 ? connect_to(pool, connection, timeout_ms, err)
					: set_timeout(connection, timeout_ms, err);
	if (result < 0)
		return result;
	/* a process may end with its answer under way before it has read all: so the answer is looked for anyway */
	(void)send_request(connection->fd, request);
	result = read_answer(connection->fd, answer, ret_text, err);
	if (result < 0 || answer->last) {
		drop(connection);
	} else if (!has_seen(connection, request->hash)) {
		connection->seen[connection->seen_next++ % SEEN_MAX] = request->hash;
	}
	return result;
}

/* FNV-1a, 64 bits: only to find a connection again. */
static uint64_t hash_of(const char *text, size_t length)
{
	uint64_t hash = 14695981039346656037u;
	for (size_t i = 0; i < length; i++)
		hash = (hash ^ (unsigned char)text[i]) * 1099511628211u;
	return hash;
}

/*
 * Send a request and take its answer. A connection that was idle may have lost its server meanwhile; a process that a
 * request kills is told by the server in an answer. So an end without an answer is worth one more try, on a new
 * connection.
 */
static int call(struct wl_expression_pool *pool, enum wl_eval_kind kind, const char *first, size_t first_length,
		const char *second, size_t second_length, int timeout_ms, struct wl_eval_answer *answer,
		char **ret_text, struct wl_error *err)
{
	if (first_length > WL_EVAL_REQUEST_MAX || second_length > WL_EVAL_REQUEST_MAX - first_length)
		return wl_fail(err, E2BIG, "an expression and its inputs have more than %u MiB",
			       WL_EVAL_REQUEST_MAX >> 20);
	struct request request = { .header = { .magic = WL_EVAL_MAGIC,
					       .kind = kind,
					       .timeout_ms = (uint32_t)(timeout_ms < 1	      ? 1
									: timeout_ms > 600000 ? 600000
											      : timeout_ms),
					       .first_length = (uint32_t)first_length,
					       .second_length = (uint32_t)second_length },
				   .first = first,
				   .second = second,
				   .hash = hash_of(first, first_length) };
	struct connection *connection = take(pool, request.hash);
	bool was_open = connection->fd >= 0;
	int result = exchange(pool, connection, &request, answer, ret_text, err);
	if (result < 0 && was_open)
		result = exchange(pool, connection, &request, answer, ret_text, err);
	give_back(pool, connection);
	return result;
}

/* Turn an answer with a code into this library's errors. */
static int refused(const struct wl_eval_answer *answer, const char *text, struct wl_error *err)
{
	switch (answer->code) {
	case EINVAL:
	case ETIMEDOUT:
	case E2BIG:
	case ENOEXEC:
		return wl_fail(err, (int)answer->code, "%s", text);
	default:
		return wl_fail(err, EIO, "the expression server failed: %s", text);
	}
}

/* False when no text of the template can hold an expression: then nobody needs to be asked. A brace may be written as
 * an escape, which has 007b in it. */
static bool may_hold_expressions(const char *template_json, size_t length)
{
	return memmem(template_json, length, "{{", 2) || memmem(template_json, length, "\\u007", 5);
}

int wl_expression_eval(struct wl_expression_pool *pool, const char *template_json, size_t template_length,
		       const char *context_json, size_t context_length, int timeout_ms, char **ret_json,
		       struct wl_error *err)
{
	if (!may_hold_expressions(template_json, template_length)) {
		char *copy = malloc(template_length + 1);
		if (!copy)
			return wl_fail(err, EIO, "out of memory for a value without expressions");
		memcpy(copy, template_json, template_length);
		copy[template_length] = '\0';
		*ret_json = copy;
		return 0;
	}
	struct wl_eval_answer answer;
	_wl_free_ char *text = NULL;
	int result = call(pool, WL_EVAL_EVALUATE, template_json, template_length, context_json, context_length,
			  timeout_ms, &answer, &text, err);
	if (result < 0)
		return result;
	if (answer.code)
		return refused(&answer, text, err);
	*ret_json = wl_steal(text);
	return 0;
}

int wl_expression_check(struct wl_expression_pool *pool, const char *template_json, size_t template_length,
			int timeout_ms, struct wl_error *err)
{
	struct wl_eval_answer answer;
	_wl_free_ char *text = NULL;
	if (!may_hold_expressions(template_json, template_length))
		return 0;
	int result = call(pool, WL_EVAL_CHECK, template_json, template_length, "", 0, timeout_ms, &answer, &text, err);
	return result < 0 || !answer.code ? result : refused(&answer, text, err);
}

int wl_expression_schema(struct wl_expression_pool *pool, const char *schema_json, size_t schema_length,
			 const char *instance_json, size_t instance_length, int timeout_ms, char **ret_faults_json,
			 struct wl_error *err)
{
	struct wl_eval_answer answer;
	_wl_free_ char *text = NULL;
	int result = call(pool, WL_EVAL_SCHEMA, schema_json, schema_length, instance_json ? instance_json : "",
			  instance_json ? instance_length : 0, timeout_ms, &answer, &text, err);
	if (result < 0 || !answer.code)
		return result;
	if (answer.code == EINVAL && instance_json && *text == '[') {
		*ret_faults_json = wl_steal(text);
		return wl_fail(err, EINVAL, "the value does not fit its schema");
	}
	return refused(&answer, text, err);
}
