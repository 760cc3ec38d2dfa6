#include "lib/store/redis_purge.h"

#include "lib/base/cleanup.h"
#include "lib/store/redis_connect.h"

#include <errno.h>
#include <stdbool.h>

#define TIMEOUT_MS 5000

static int connect_to(const char *url, redisContext **ret_redis, struct wl_error *err)
{
	struct wl_redis_address address;
	int r = wl_redis_address_parse(url, &address, err);
	return r < 0 ? r : wl_redis_connect(&address, TIMEOUT_MS, ret_redis, err);
}

/* Receive the answers of commands that were appended; the first error of them. */
static int receive(redisContext *redis, int count, struct wl_error *err)
{
	int result = 0;
	for (int i = 0; i < count; i++) {
		_wl_redis_reply_ redisReply *reply = NULL;
		if (redisGetReply(redis, (void **)&reply) != REDIS_OK)
			return wl_redis_fail_context(redis, err);
		if (reply->type == REDIS_REPLY_ERROR && result == 0)
			result = wl_redis_fail_reply(reply, err);
	}
	return result;
}

int wl_redis_purge_executions(const char *url, int shard, const char *const *eids, int count, struct wl_error *err)
{
	redisContext *redis = NULL;
	int r = connect_to(url, &redis, err);
	if (r < 0)
		return r;
	/* one key a command: in a cluster the events of executions lie in slots of their own */
	for (int i = 0; i < count; i++) {
		(void)redisAppendCommand(redis, "UNLINK ev:{%s}", eids[i]);
		(void)redisAppendCommand(redis, "UNLINK {%02d}:x:%s", shard, eids[i]);
		(void)redisAppendCommand(redis, "ZREM {%02d}:lease %s", shard, eids[i]);
	}
	r = receive(redis, 3 * count, err);
	redisFree(redis);
	return r;
}

int wl_redis_purge_tenant(const char *url, int shard, int tenant, struct wl_error *err)
{
	redisContext *redis = NULL;
	int r = connect_to(url, &redis, err);
	if (r < 0)
		return r;
	(void)redisAppendCommand(redis, "UNLINK {%02d}:q:%d", shard, tenant);
	(void)redisAppendCommand(redis, "UNLINK {%02d}:run:%d", shard, tenant);
	(void)redisAppendCommand(redis, "HDEL {%02d}:cfg %d", shard, tenant);
	(void)redisAppendCommand(redis, "HDEL {%02d}:vt %d", shard, tenant);
	(void)redisAppendCommand(redis, "ZREM {%02d}:ring %d", shard, tenant);
	r = receive(redis, 5, err);
	redisFree(redis);
	return r;
}
