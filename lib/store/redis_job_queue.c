/* The queue as the accepting side and a scheduler see it. */
#include "lib/store/redis_job_queue.h"

#include "lib/base/clock.h"
#include "lib/store/redis_queue.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KEY_TEXT (WL_SUPERVISOR_ID + 32)
#define MOST_SUPERVISORS 256
#define SUPERVISOR_COMMANDS (1 + WL_SHARDS)

static int enqueue(void *self, int shard, int64_t gen, int tenant, const char *eid, int64_t score_seq, int epoch,
		   struct wl_error *err)
{
	struct redis_queue *queue = self;
	_wl_redis_reply_ redisReply *reply = NULL;
	queue_call(queue, "wl1_enqueue", shard);
	queue_number(queue, gen);
	queue_number(queue, tenant);
	queue_text(queue, eid);
	queue_number(queue, score_seq);
	queue_number(queue, epoch);
	if (queue_ask(queue, &reply, err) < 0)
		return -err->code;
	char word[8] = "";
	(void)queue_reply_text(reply, word, sizeof(word));
	if (strcmp(word, "OK") == 0)
		return WL_ENQUEUED;
	if (strcmp(word, "DUP") == 0)
		return WL_ENQUEUE_KNOWN;
	if (strcmp(word, "QFULL") == 0)
		return WL_ENQUEUE_FULL;
	return wl_fail(err, EPROTO, "wl1_enqueue answers '%s'", word);
}

static int wait_bell(void *self, int timeout_ms, struct wl_error *err)
{
	struct redis_queue *queue = self;
	char keys[WL_SHARDS][KEY_TEXT], prefix[WL_QUEUE_PREFIX], seconds[QUEUE_NUMBER_TEXT];
	queue_command(queue, "BLPOP");
	/* the first key with something in it wins: begin with another one each time */
	queue->bell_turn = (queue->bell_turn + 1) % WL_SHARDS;
	for (int i = 0; i < WL_SHARDS; i++) {
		int shard = (queue->bell_turn + i) % WL_SHARDS;
		(void)snprintf(keys[i], KEY_TEXT, "%s:bell", wl_queue_prefix(shard, prefix));
		queue_text(queue, keys[i]);
	}
	/* BLPOP takes 0 for "forever" */
	(void)snprintf(seconds, sizeof(seconds), "%.3f", (timeout_ms > 0 ? timeout_ms : 1) / 1000.0);
	queue_text(queue, seconds);
	_wl_redis_reply_ redisReply *reply = NULL;
	if (queue_send(queue, &queue->blocking, timeout_ms, err) < 0 ||
	    queue_receive(&queue->blocking, &reply, err) < 0)
		return -err->code;
	if (reply->type == REDIS_REPLY_NIL)
		return -ETIMEDOUT;
	if (queue_expect_array(reply, 2, 1, err) < 0)
		return -err->code;
	int shard = reply->element[0]->str ? atoi(reply->element[0]->str + 1) : -1;
	return shard >= 0 && shard < WL_SHARDS ? shard : wl_fail(err, EPROTO, "a bell of no shard rang");
}

static int ask_supervisor(struct redis_queue *queue, const char *id, struct wl_error *err)
{
	char key[KEY_TEXT], prefix[WL_QUEUE_PREFIX];
	(void)snprintf(key, sizeof(key), "wl:sup:%s", id);
	queue_command(queue, "HGET");
	queue_text(queue, key);
	queue_text(queue, "capacity");
	if (queue_send(queue, &queue->commands, 0, err) < 0)
		return -err->code;
	for (int shard = 0; shard < WL_SHARDS; shard++) {
		(void)snprintf(key, sizeof(key), "%s:own:%s", wl_queue_prefix(shard, prefix), id);
		queue_command(queue, "SCARD");
		queue_text(queue, key);
		if (queue_send(queue, &queue->commands, 0, err) < 0)
			return -err->code;
	}
	return 0;
}

/* The answers to ask_supervisor(): 1 alive, 0 it is gone, -errno. */
static int read_supervisor(struct queue_link *link, struct wl_supervisor_row *row, struct wl_error *err)
{
	int alive = 0;
	row->held = 0;
	for (int i = 0; i < SUPERVISOR_COMMANDS; i++) {
		_wl_redis_reply_ redisReply *reply = NULL;
		if (queue_receive(link, &reply, err) < 0)
			return -err->code;
		if (i == 0) {
			alive = reply->type == REDIS_REPLY_STRING;
			row->capacity = (int)queue_reply_number(reply);
		} else {
			row->held += (int)queue_reply_number(reply);
		}
	}
	return alive;
}

static int forget_supervisor(struct redis_queue *queue, const char *id, struct wl_error *err)
{
	queue_command(queue, "ZREM");
	queue_text(queue, "wl:sups");
	queue_text(queue, id);
	return queue_tell(queue, err);
}

static int supervisors(void *self, struct wl_supervisor_row *ret_rows, int limit, struct wl_error *err)
{
	struct redis_queue *queue = self;
	_wl_redis_reply_ redisReply *reply = NULL;
	int asked = 0, count = 0, gone_count = 0;
	char gone[MOST_SUPERVISORS][WL_SUPERVISOR_ID];
	queue_command(queue, "ZREVRANGE");
	queue_text(queue, "wl:sups");
	queue_number(queue, 0);
	queue_number(queue, (limit < MOST_SUPERVISORS ? limit : MOST_SUPERVISORS) - 1);
	if (queue_ask(queue, &reply, err) < 0 || queue_expect_array(reply, 0, 1, err) < 0)
		return -err->code;
	for (size_t i = 0; i < reply->elements; i++) {
		struct wl_supervisor_row *row = &ret_rows[asked];
		if (!queue_reply_text(reply->element[i], row->id, sizeof(row->id)))
			continue;
		if (ask_supervisor(queue, row->id, err) < 0)
			goto broken;
		asked++;
	}
	for (int i = 0; i < asked; i++) {
		int alive = read_supervisor(&queue->commands, &ret_rows[i], err);
		if (alive < 0)
			goto broken;
		if (alive)
			ret_rows[count++] = ret_rows[i];
		else
			(void)snprintf(gone[gone_count++], WL_SUPERVISOR_ID, "%s", ret_rows[i].id);
	}
	/* its next announcement would bring it back */
	for (int i = 0; i < gone_count; i++)
		if (forget_supervisor(queue, gone[i], err) < 0)
			return -err->code;
	return count;
broken:
	/* answers that nobody has read would be taken for those of the next call */
	queue_link_drop(&queue->commands);
	return -err->code;
}

static int claim(void *self, int shard, int64_t gen, const char *supervisor, int n, int offer_ms, struct wl_error *err)
{
	struct redis_queue *queue = self;
	_wl_redis_reply_ redisReply *reply = NULL;
	queue_call(queue, "wl1_claim", shard);
	queue_number(queue, gen);
	queue_text(queue, supervisor);
	queue_number(queue, n);
	queue_number(queue, offer_ms);
	if (queue_ask(queue, &reply, err) < 0)
		return -err->code;
	return (int)queue_reply_number(reply);
}

static int expired(void *self, int shard, int64_t gen, struct wl_fence *ret_items, int limit, struct wl_error *err)
{
	struct redis_queue *queue = self;
	_wl_redis_reply_ redisReply *reply = NULL;
	int count = 0;
	queue_call(queue, "wl1_expired", shard);
	queue_number(queue, gen);
	queue_number(queue, limit);
	if (queue_ask(queue, &reply, err) < 0 || queue_expect_array(reply, 0, 3, err) < 0)
		return -err->code;
	for (size_t i = 0; i + 2 < reply->elements && count < limit; i += 3) {
		struct wl_fence *item = &ret_items[count];
		memset(item, 0, sizeof(*item));
		if (!queue_reply_text(reply->element[i], item->eid, sizeof(item->eid)))
			continue;
		item->epoch = (int)queue_reply_number(reply->element[i + 1]);
		(void)queue_reply_text(reply->element[i + 2], item->supervisor, sizeof(item->supervisor));
		count++;
	}
	return count;
}

static int requeue(void *self, int shard, int64_t gen, const char *eid, int epoch, bool drop, struct wl_error *err)
{
	struct redis_queue *queue = self;
	_wl_redis_reply_ redisReply *reply = NULL;
	queue_call(queue, "wl1_requeue", shard);
	queue_text(queue, eid);
	queue_number(queue, epoch);
	queue_number(queue, gen);
	queue_text(queue, drop ? "1" : "0");
	if (queue_ask(queue, &reply, err) < 0)
		return -err->code;
	return (int)queue_reply_number(reply);
}

static int cancel(void *self, int shard, const char *eid, struct wl_error *err)
{
	struct redis_queue *queue = self;
	queue_call(queue, "wl1_cancel", shard);
	queue_text(queue, eid);
	return queue_tell(queue, err);
}

static int set_shares(void *self, int shard, const struct wl_tenant_share *shares, int count, struct wl_error *err)
{
	struct redis_queue *queue = self;
	for (int from = 0; from < count; from += QUEUE_BATCH / 2) {
		queue_call(queue, "wl1_shares", shard);
		for (int i = from; i < count && i < from + QUEUE_BATCH / 2; i++) {
			queue_number(queue, shares[i].tenant);
			queue_number(queue, shares[i].weight);
			queue_number(queue, shares[i].cap);
			queue_number(queue, shares[i].max_queued);
		}
		if (queue_tell(queue, err) < 0)
			return -err->code;
	}
	return 0;
}

static int run_id(void *self, char ret_run_id[64], struct wl_error *err)
{
	struct redis_queue *queue = self;
	_wl_redis_reply_ redisReply *reply = NULL;
	queue_command(queue, "INFO");
	queue_text(queue, "server");
	if (queue_ask(queue, &reply, err) < 0)
		return -err->code;
	const char *line = reply->str ? strstr(reply->str, "run_id:") : NULL;
	if (!line || sscanf(line, "run_id:%63[0-9a-f]", ret_run_id) != 1)
		return wl_fail(err, EPROTO, "Redis does not tell its run_id");
	return 0;
}

static int touch(void *self, int shard, int64_t gen, struct wl_error *err)
{
	struct redis_queue *queue = self;
	queue_call(queue, "wl1_touch", shard);
	queue_number(queue, gen);
	return queue_tell(queue, err);
}

static int report(void *self, const char *scheduler, const struct wl_counter *counters, int count, int ttl_ms,
		  struct wl_error *err)
{
	struct redis_queue *queue = self;
	char key[KEY_TEXT];
	(void)snprintf(key, sizeof(key), "wl:stat:scheduler:%.63s", scheduler);
	queue_command(queue, "HSET");
	queue_text(queue, key);
	for (int i = 0; i < count; i++) {
		queue_text(queue, counters[i].name);
		queue_number(queue, counters[i].value);
	}
	if (queue_tell(queue, err) < 0)
		return -err->code;
	queue_command(queue, "PEXPIRE");
	queue_text(queue, key);
	queue_number(queue, ttl_ms);
	if (queue_tell(queue, err) < 0)
		return -err->code;
	queue_command(queue, "ZADD");
	queue_text(queue, "wl:stat:schedulers");
	queue_number(queue, wl_clock_wall_ms());
	queue_text(queue, scheduler);
	if (queue_tell(queue, err) < 0)
		return -err->code;
	queue_command(queue, "ZREMRANGEBYSCORE");
	queue_text(queue, "wl:stat:schedulers");
	queue_text(queue, "-inf");
	queue_number(queue, wl_clock_wall_ms() - ttl_ms);
	return queue_tell(queue, err);
}

void redis_queue_fill_scheduler(struct wl_job_queue *queue)
{
	queue->enqueue = enqueue;
	queue->wait_bell = wait_bell;
	queue->supervisors = supervisors;
	queue->claim = claim;
	queue->expired = expired;
	queue->requeue = requeue;
	queue->cancel = cancel;
	queue->set_shares = set_shares;
	queue->run_id = run_id;
	queue->touch = touch;
	queue->report = report;
}

static void close_queue(void *self)
{
	struct redis_queue *queue = self;
	queue_link_drop(&queue->commands);
	queue_link_drop(&queue->blocking);
	queue_link_drop(&queue->channel);
	free(queue);
}

int wl_redis_job_queue_open(const char *url, struct wl_job_queue *ret_queue, struct wl_error *err)
{
	struct wl_redis_address address;
	if (wl_redis_address_parse(url, &address, err) < 0)
		return -err->code;
	struct redis_queue *queue = calloc(1, sizeof(*queue));
	if (!queue)
		return wl_fail_errno(err, ENOMEM, "open the queue");
	queue->address = address;
	*ret_queue = (struct wl_job_queue){ .self = queue, .close = close_queue };
	redis_queue_fill_scheduler(ret_queue);
	redis_queue_fill_supervisor(ret_queue);
	redis_queue_fill_rebuild(ret_queue);
	return 0;
}
