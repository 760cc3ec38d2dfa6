/* The function library wl1: carried in the program, loaded where the server has none or another one. */
#include "gen/queue_lua.h"
#include "lib/store/redis_queue.h"

#include <string.h>

/* FUNCTION LIST answers one map a library as a flat array: name, value, … among them library_code. */
static bool holds_our_code(const redisReply *list)
{
	if (list->type != REDIS_REPLY_ARRAY || list->elements != 1)
		return false;
	const redisReply *library = list->element[0];
	for (size_t i = 0; library->type == REDIS_REPLY_ARRAY && i + 1 < library->elements; i += 2) {
		const redisReply *name = library->element[i], *value = library->element[i + 1];
		if (name->type == REDIS_REPLY_STRING && strcmp(name->str, "library_code") == 0)
			return value->type == REDIS_REPLY_STRING && strcmp(value->str, wl_queue_lua) == 0;
	}
	return false;
}

int redis_queue_prepare(void *self, struct wl_error *err)
{
	struct redis_queue *queue = self;
	_wl_redis_reply_ redisReply *list = NULL;
	queue_command(queue, "FUNCTION");
	queue_text(queue, "LIST");
	queue_text(queue, "LIBRARYNAME");
	queue_text(queue, "wl1");
	queue_text(queue, "WITHCODE");
	if (queue_ask(queue, &list, err) < 0)
		return wl_fail_within(err, "look for the queue's function library");
	if (holds_our_code(list))
		return 0;
	queue_command(queue, "FUNCTION");
	queue_text(queue, "LOAD");
	queue_text(queue, "REPLACE");
	queue_text(queue, wl_queue_lua);
	if (queue_tell(queue, err) < 0)
		return wl_fail_within(err, "load the queue's function library (needs Redis 7.0 or later)");
	return 0;
}
