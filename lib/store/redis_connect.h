/*
 * Connections to Redis, for every store that needs one. A program that connects must ignore SIGPIPE: hiredis writes
 * with send() and without MSG_NOSIGNAL.
 */
#ifndef WL_STORE_REDIS_CONNECT_H
#define WL_STORE_REDIS_CONNECT_H

#include "lib/base/error.h"

#include <hiredis/hiredis.h>

#define WL_REDIS_TEXT 256

/* Where a server is. Either `socket` or `host` is set. */
struct wl_redis_address {
	char host[WL_REDIS_TEXT];
	int port;
	char socket[WL_REDIS_TEXT];
	char user[WL_REDIS_TEXT];     /* "": none */
	char password[WL_REDIS_TEXT]; /* "": none */
	int database;
};

/*
 * Read redis://[[user]:password@]host[:port][/database] or unix://[[user]:password@]/path[?db=N]; the port is 6379
 * unless given, an IPv6 host stands in brackets, user and password may be percent-encoded (RFC 3986 §2.1).
 * Returns 0, or -EINVAL with a sentence that does not repeat the password; then ret_address is untouched.
 */
int wl_redis_address_parse(const char *url, struct wl_redis_address *ret_address, struct wl_error *err);

/*
 * Connect, authenticate, choose the database. timeout_ms bounds the connect and later each wait for an answer.
 * Returns 0 and a context that the caller frees with redisFree(), -ECONNREFUSED when the server cannot be reached,
 * -EACCES when it refuses the password, -EINVAL for the address.
 */
int wl_redis_connect(const struct wl_redis_address *address, int timeout_ms, redisContext **ret_context,
		     struct wl_error *err);

/*
 * What an error answer of the server means: -EAGAIN for one that passes by itself (loading, busy, functions not
 * loaded, a replica), -ENOMEM for maxmemory, -EACCES for rights, else -EIO. Returns -err->code.
 */
int wl_redis_fail_reply(const redisReply *reply, struct wl_error *err);

/* The connection broke: -ETIMEDOUT when the server did not answer in time, else -EPIPE. */
int wl_redis_fail_context(const redisContext *context, struct wl_error *err);

static inline void wl_cleanup_redis_reply(redisReply **reply)
{
	if (*reply)
		freeReplyObject(*reply);
}

#define _wl_redis_reply_ __attribute__((cleanup(wl_cleanup_redis_reply)))

#endif
