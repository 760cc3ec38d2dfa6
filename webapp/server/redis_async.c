#include "webapp/server/redis_async.h"

#include "lib/base/log.h"
#include "webapp/server/bridge.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define RETRY_MS 300

struct web_redis {
	struct wl_redis_address address;
	redisAsyncContext *link; /* NULL: away */
	struct web_watch *watch;
	bool up, reading, writing, told_away;
	void (*back)(void *context);
	void (*message)(void *context, const char *channel, const char *payload, size_t length);
	void (*confirmed)(void *context, const char *channel);
	void *context;
};

/* ---- hiredis on our loop ------------------------------------------------------------------------------------ */

static void socket_event(void *context, bool readable, bool writable, bool broken)
{
	struct web_redis *redis = context;
	if (redis->link && (readable || broken))
		redisAsyncHandleRead(redis->link);
	if (redis->link && writable)
		redisAsyncHandleWrite(redis->link);
}

static void want(struct web_redis *redis)
{
	if (redis->watch)
		web_watch_want(redis->watch, redis->reading, redis->writing);
}

static void add_read(void *data)
{
	struct web_redis *redis = data;
	redis->reading = true;
	want(redis);
}

static void del_read(void *data)
{
	struct web_redis *redis = data;
	redis->reading = false;
	want(redis);
}

static void add_write(void *data)
{
	struct web_redis *redis = data;
	redis->writing = true;
	want(redis);
}

static void del_write(void *data)
{
	struct web_redis *redis = data;
	redis->writing = false;
	want(redis);
}

static void cleanup(void *data)
{
	struct web_redis *redis = data;
	web_watch_free(redis->watch);
	redis->watch = NULL;
	redis->link = NULL;
	redis->up = false;
}

static void connect_start(void *context);

static void away(struct web_redis *redis, const char *why)
{
	redis->up = false;
	if (!redis->told_away)
		wl_log(WL_LOG_WARNING, "Redis is away: %s", why ? why : "the connection was closed");
	redis->told_away = true;
	web_timer_once(RETRY_MS, connect_start, redis);
}

static void disconnected(const redisAsyncContext *link, int status)
{
	(void)status;
	away(link->data, link->err ? link->errstr : NULL);
}

static void connected(const redisAsyncContext *link, int status)
{
	struct web_redis *redis = link->data;
	if (status != REDIS_OK) {
		away(redis, link->errstr);
		return;
	}
	if (redis->told_away)
		wl_log(WL_LOG_NOTICE, "Redis is back");
	redis->told_away = false;
	redis->up = true;
	if (redis->address.user[0])
		(void)redisAsyncCommand(redis->link, NULL, NULL, "AUTH %s %s", redis->address.user,
					redis->address.password);
	else if (redis->address.password[0])
		(void)redisAsyncCommand(redis->link, NULL, NULL, "AUTH %s", redis->address.password);
	if (redis->address.database)
		(void)redisAsyncCommand(redis->link, NULL, NULL, "SELECT %d", redis->address.database);
	redis->back(redis->context);
}

static void connect_start(void *context)
{
	struct web_redis *redis = context;
	const struct wl_redis_address *address = &redis->address;
	redisAsyncContext *link = address->socket[0] ? redisAsyncConnectUnix(address->socket)
						     : redisAsyncConnect(address->host, address->port);
	if (!link || link->err) {
		away(redis, link ? link->errstr : "no memory");
		if (link)
			redisAsyncFree(link);
		return;
	}
	redis->reading = redis->writing = false;
	redis->watch = web_watch_new(link->c.fd, socket_event, redis);
	if (!redis->watch) {
		away(redis, "no memory");
		redisAsyncFree(link);
		return;
	}
	redis->link = link;
	link->data = redis;
	link->ev.data = redis;
	link->ev.addRead = add_read;
	link->ev.delRead = del_read;
	link->ev.addWrite = add_write;
	link->ev.delWrite = del_write;
	link->ev.cleanup = cleanup;
	(void)redisAsyncSetDisconnectCallback(link, disconnected);
	(void)redisAsyncSetConnectCallback(link, connected);
}

struct web_redis *
web_redis_open(const struct wl_redis_address *address, void (*back)(void *context),
	       void (*message)(void *context, const char *channel, const char *payload, size_t length), void *context)
{
	struct web_redis *redis = calloc(1, sizeof(*redis));
	if (!redis)
		return NULL;
	redis->address = *address;
	redis->back = back;
	redis->message = message;
	redis->context = context;
	connect_start(redis);
	return redis;
}

bool web_redis_up(const struct web_redis *redis)
{
	return redis->up;
}

int web_redis_command(struct web_redis *redis, redisCallbackFn *reply, void *context, int count, const char **arguments,
		      const size_t *lengths)
{
	if (!redis->up || redisAsyncCommandArgv(redis->link, reply, context, count, arguments, lengths) != REDIS_OK)
		return -EAGAIN;
	return 0;
}

/* ["message", channel, payload] or ["subscribe", channel, count] */
static void channel_reply(redisAsyncContext *link, void *data, void *context)
{
	struct web_redis *redis = link->data;
	const redisReply *reply = data;
	(void)context;
	if (!reply || reply->type != REDIS_REPLY_ARRAY || reply->elements != 3 || !reply->element[0]->str ||
	    !reply->element[1]->str)
		return;
	if (strcmp(reply->element[0]->str, "message") == 0 && reply->element[2]->str)
		redis->message(redis->context, reply->element[1]->str, reply->element[2]->str, reply->element[2]->len);
	else if (strcmp(reply->element[0]->str, "subscribe") == 0 && redis->confirmed)
		redis->confirmed(redis->context, reply->element[1]->str);
}

int web_redis_subscribe(struct web_redis *redis, const char *channel, void (*confirmed)(void *context, const char *))
{
	redis->confirmed = confirmed;
	if (!redis->up || redisAsyncCommand(redis->link, channel_reply, NULL, "SUBSCRIBE %s", channel) != REDIS_OK)
		return -EAGAIN;
	return 0;
}

void web_redis_unsubscribe(struct web_redis *redis, const char *channel)
{
	if (redis->up)
		(void)redisAsyncCommand(redis->link, NULL, NULL, "UNSUBSCRIBE %s", channel);
}
