/* The connections of the Redis queue and the commands that go over them. */
#include "lib/base/clock.h"
#include "lib/store/redis_queue.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>

#define FIRST_PAUSE_MS 50
#define LONGEST_PAUSE_MS 1000

char *wl_queue_prefix(int shard, char text[WL_QUEUE_PREFIX])
{
	(void)snprintf(text, WL_QUEUE_PREFIX, "{%02d}", shard % 100);
	return text;
}

void queue_link_drop(struct queue_link *link)
{
	if (link->context)
		redisFree(link->context);
	link->context = NULL;
}

static int link_connect(struct redis_queue *queue, struct queue_link *link, struct wl_error *err)
{
	uint64_t now = wl_clock_boot_ms();
	if (now < link->next_try_ms)
		return wl_fail(err, ECONNREFUSED, "Redis is away; the next attempt to connect follows soon");
	int r = wl_redis_connect(&queue->address, QUEUE_TIMEOUT_MS, &link->context, err);
	if (r < 0) {
		link->pause_ms = link->pause_ms ? link->pause_ms * 2 : FIRST_PAUSE_MS;
		if (link->pause_ms > LONGEST_PAUSE_MS)
			link->pause_ms = LONGEST_PAUSE_MS;
		link->next_try_ms = wl_clock_boot_ms() + (uint64_t)link->pause_ms;
		return r;
	}
	link->pause_ms = 0;
	link->timeout_ms = QUEUE_TIMEOUT_MS;
	return 0;
}

redisContext *queue_link_use(struct redis_queue *queue, struct queue_link *link, int wait_ms, struct wl_error *err)
{
	if (link->context && link->context->err)
		queue_link_drop(link);
	if (!link->context && link_connect(queue, link, err) < 0)
		return NULL;
	int timeout_ms = QUEUE_TIMEOUT_MS + wait_ms;
	if (link->timeout_ms != timeout_ms) {
		struct timeval timeout = { .tv_sec = timeout_ms / 1000, .tv_usec = timeout_ms % 1000 * 1000 };
		if (redisSetTimeout(link->context, timeout) != REDIS_OK) {
			(void)wl_redis_fail_context(link->context, err);
			queue_link_drop(link);
			return NULL;
		}
		link->timeout_ms = timeout_ms;
	}
	return link->context;
}

void queue_command(struct redis_queue *queue, const char *name)
{
	queue->request.count = queue->request.number_count = 0;
	queue_text(queue, name);
}

void queue_call(struct redis_queue *queue, const char *function, int shard)
{
	queue_command(queue, "FCALL");
	queue_text(queue, function);
	queue_text(queue, "1");
	queue_text(queue, wl_queue_prefix(shard, queue->request.prefix));
}

/* Callers keep to QUEUE_BATCH items a call, so neither table overflows; beyond them the request is cut and refused. */
void queue_text(struct redis_queue *queue, const char *text)
{
	struct queue_request *request = &queue->request;
	if (request->count < QUEUE_ARGS)
		request->args[request->count] = text;
	request->count++;
}

void queue_number(struct redis_queue *queue, int64_t number)
{
	struct queue_request *request = &queue->request;
	if (request->number_count >= QUEUE_NUMBERS) {
		request->count = QUEUE_ARGS + 1;
		return;
	}
	char *text = request->numbers[request->number_count++];
	(void)snprintf(text, QUEUE_NUMBER_TEXT, "%lld", (long long)number);
	queue_text(queue, text);
}

int queue_send(struct redis_queue *queue, struct queue_link *link, int wait_ms, struct wl_error *err)
{
	if (queue->request.count > QUEUE_ARGS)
		return wl_fail(err, E2BIG, "a call to the queue has more than %d arguments", QUEUE_ARGS);
	redisContext *context = queue_link_use(queue, link, wait_ms, err);
	if (!context)
		return -err->code;
	if (redisAppendCommandArgv(context, queue->request.count, queue->request.args, NULL) != REDIS_OK) {
		queue_link_drop(link);
		return wl_fail(err, ENOMEM, "no memory for a call to the queue");
	}
	return 0;
}

int queue_receive(struct queue_link *link, redisReply **ret_reply, struct wl_error *err)
{
	*ret_reply = NULL;
	void *answer = NULL;
	if (!link->context)
		return wl_fail(err, EPIPE, "the connection to Redis is gone");
	errno = 0;
	if (redisGetReply(link->context, &answer) != REDIS_OK) {
		int r = wl_redis_fail_context(link->context, err);
		queue_link_drop(link);
		return r;
	}
	_wl_redis_reply_ redisReply *reply = answer;
	if (reply->type == REDIS_REPLY_ERROR)
		return wl_redis_fail_reply(reply, err);
	if (reply->type == REDIS_REPLY_STRING && strcmp(reply->str, QUEUE_NOT_READY) == 0)
		return wl_fail(err, EAGAIN, "the shard of the queue is being rebuilt");
	*ret_reply = reply;
	reply = NULL;
	return 0;
}

int queue_receive_all(struct queue_link *link, int count, struct wl_error *err)
{
	int first = 0;
	for (int i = 0; i < count; i++) {
		struct wl_error own = { 0 };
		_wl_redis_reply_ redisReply *reply = NULL;
		if (queue_receive(link, &reply, &own) < 0 && first == 0) {
			*err = own;
			first = -own.code;
		}
	}
	return first;
}

int queue_ask(struct redis_queue *queue, redisReply **ret_reply, struct wl_error *err)
{
	if (queue_send(queue, &queue->commands, 0, err) < 0)
		return -err->code;
	return queue_receive(&queue->commands, ret_reply, err);
}

int queue_tell(struct redis_queue *queue, struct wl_error *err)
{
	_wl_redis_reply_ redisReply *reply = NULL;
	return queue_ask(queue, &reply, err);
}

int64_t queue_reply_number(const redisReply *reply)
{
	if (reply->type == REDIS_REPLY_INTEGER)
		return reply->integer;
	return reply->type == REDIS_REPLY_STRING ? strtoll(reply->str, NULL, 10) : 0;
}

bool queue_reply_text(const redisReply *reply, char *out, size_t size)
{
	if (reply->type != REDIS_REPLY_STRING || reply->len >= size)
		return false;
	memcpy(out, reply->str, reply->len + 1);
	return true;
}

int queue_expect_array(const redisReply *reply, size_t skip, size_t unit, struct wl_error *err)
{
	if (reply->type != REDIS_REPLY_ARRAY || reply->elements < skip || (reply->elements - skip) % unit != 0)
		return wl_fail(err, EPROTO, "the queue gave an answer of an unexpected form");
	return 0;
}
