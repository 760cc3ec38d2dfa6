/*
 * Redis on the worker's loop: one connection for commands, one for subscriptions. Both come back by themselves.
 */
#ifndef WL_WEBAPP_REDIS_ASYNC_H
#define WL_WEBAPP_REDIS_ASYNC_H

#include "lib/base/error.h"
#include "lib/store/redis_connect.h"

#include <hiredis/async.h>
#include <stdbool.h>

struct web_redis;

/*
 * Begin to connect. `back` is called on the loop each time that the connection came up; `message` with each message of
 * a channel that is subscribed to (NULL for a connection without subscriptions).
 */
struct web_redis *
web_redis_open(const struct wl_redis_address *address, void (*back)(void *context),
	       void (*message)(void *context, const char *channel, const char *payload, size_t length), void *context);
bool web_redis_up(const struct web_redis *redis);

/*
 * Send a command of `count` arguments. `reply` is called on the loop with hiredis' reply, or NULL when the connection
 * was lost before it came; it may be NULL. -EAGAIN when Redis is away: then `reply` is never called.
 */
int web_redis_command(struct web_redis *redis, redisCallbackFn *reply, void *context, int count, const char **arguments,
		      const size_t *lengths);

/* Subscribe to a channel or end that; `confirmed` when the server has answered a subscription. */
int web_redis_subscribe(struct web_redis *redis, const char *channel, void (*confirmed)(void *context, const char *));
void web_redis_unsubscribe(struct web_redis *redis, const char *channel);

#endif
