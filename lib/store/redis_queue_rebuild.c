/* Rebuild and repair: the ledger's rows go into the queue. */
#include "lib/base/clock.h"
#include "lib/base/ids.h"
#include "lib/store/redis_queue.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define RESET_STEP 500 /* entries taken away by one call */

static int rebuild_begin(void *self, int shard, struct wl_error *err)
{
	struct redis_queue *queue = self;
	if (redis_queue_prepare(queue, err) < 0)
		return -err->code;
	/* another scheduler's build of the same shard ends with its own token */
	(void)wl_uuid7(wl_clock_wall_ms(), queue->build_token[shard]);
	int64_t removed = 0;
	do {
		_wl_redis_reply_ redisReply *reply = NULL;
		queue_call(queue, "wl1_reset", shard);
		queue_text(queue, queue->build_token[shard]);
		queue_number(queue, RESET_STEP);
		if (queue_ask(queue, &reply, err) < 0)
			return wl_fail_within(err, "empty shard %d of the queue", shard);
		removed = queue_reply_number(reply);
	} while (removed > 0);
	return 0;
}

static void add_row(struct redis_queue *queue, const struct wl_dispatch_row *row)
{
	queue_text(queue, row->eid);
	queue_number(queue, row->tenant);
	queue_text(queue, row->running ? "R" : "Q");
	queue_number(queue, row->epoch);
	queue_text(queue, row->supervisor);
	queue_number(queue, row->seq);
	queue_text(queue, row->cancel ? "1" : "0");
}

static int load_rows(struct redis_queue *queue, int shard, const char *key, const struct wl_dispatch_row *rows,
		     int count, int lease_ms, struct wl_error *err)
{
	for (int from = 0; from < count; from += QUEUE_BATCH) {
		queue_call(queue, "wl1_load", shard);
		queue_text(queue, key);
		queue_number(queue, lease_ms);
		for (int i = from; i < count && i < from + QUEUE_BATCH; i++)
			add_row(queue, &rows[i]);
		if (queue_tell(queue, err) < 0)
			return wl_fail_within(err, "load rows into shard %d of the queue", shard);
	}
	return 0;
}

static int rebuild_load(void *self, int shard, const struct wl_dispatch_row *rows, int count, int lease_ms,
			struct wl_error *err)
{
	struct redis_queue *queue = self;
	return load_rows(queue, shard, queue->build_token[shard], rows, count, lease_ms, err);
}

static int rebuild_publish(void *self, int shard, int64_t gen, struct wl_error *err)
{
	struct redis_queue *queue = self;
	queue_call(queue, "wl1_publish", shard);
	queue_text(queue, queue->build_token[shard]);
	queue_number(queue, gen);
	if (queue_tell(queue, err) < 0)
		return wl_fail_within(err, "publish shard %d of the queue", shard);
	return 0;
}

static int missing(void *self, int shard, int64_t gen, const struct wl_dispatch_row *rows, int count, bool *ret_missing,
		   struct wl_error *err)
{
	struct redis_queue *queue = self;
	int found = 0;
	memset(ret_missing, 0, (size_t)count * sizeof(*ret_missing));
	for (int from = 0; from < count; from += QUEUE_BATCH) {
		_wl_redis_reply_ redisReply *reply = NULL;
		queue_call(queue, "wl1_missing", shard);
		queue_number(queue, gen);
		for (int i = from; i < count && i < from + QUEUE_BATCH; i++)
			queue_text(queue, rows[i].eid);
		if (queue_ask(queue, &reply, err) < 0 || queue_expect_array(reply, 0, 1, err) < 0)
			return -err->code;
		for (size_t i = 0; i < reply->elements; i++) {
			int64_t position = from + queue_reply_number(reply->element[i]);
			if (position >= from && position < count)
				ret_missing[position] = true;
			found++;
		}
	}
	return found;
}

static int repair(void *self, int shard, int64_t gen, const struct wl_dispatch_row *rows, int count, int lease_ms,
		  struct wl_error *err)
{
	char key[QUEUE_NUMBER_TEXT];
	(void)snprintf(key, sizeof(key), "%lld", (long long)gen);
	return load_rows(self, shard, key, rows, count, lease_ms, err);
}

void redis_queue_fill_rebuild(struct wl_job_queue *queue)
{
	queue->prepare = redis_queue_prepare;
	queue->rebuild_begin = rebuild_begin;
	queue->rebuild_load = rebuild_load;
	queue->rebuild_publish = rebuild_publish;
	queue->missing = missing;
	queue->repair = repair;
}
