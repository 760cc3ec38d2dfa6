/* The queue as a supervisor sees it: its announcement, its inbox, its leases, messages to it. */
#include "lib/base/cleanup.h"
#include "lib/base/clock.h"
#include "lib/store/redis_queue.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ALIVE_KEYS "wl:sups"
#define KEY_TEXT (WL_SUPERVISOR_ID + 32)

/* A supervisor's name becomes part of keys and of inbox lines. */
static int check_name(const char *supervisor, struct wl_error *err)
{
	size_t length = strlen(supervisor);
	bool plain = length > 0 && length < WL_SUPERVISOR_ID;
	for (size_t i = 0; plain && i < length; i++)
		plain = isalnum((unsigned char)supervisor[i]) || strchr("._-", supervisor[i]);
	if (!plain)
		return wl_fail(err, EINVAL, "the name of a supervisor is 1 to %d letters, digits, '.', '_' or '-'",
			       WL_SUPERVISOR_ID - 1);
	return 0;
}

static int announce(void *self, const char *supervisor, int capacity, int ttl_ms, struct wl_error *err)
{
	struct redis_queue *queue = self;
	struct queue_link *link = &queue->commands;
	char key[KEY_TEXT];
	if (check_name(supervisor, err) < 0)
		return -err->code;
	(void)snprintf(key, sizeof(key), "wl:sup:%s", supervisor);
	queue_command(queue, "HSET");
	queue_text(queue, key);
	queue_text(queue, "capacity");
	queue_number(queue, capacity);
	int r = queue_send(queue, link, 0, err);
	queue_command(queue, "PEXPIRE");
	queue_text(queue, key);
	queue_number(queue, ttl_ms);
	if (r == 0)
		r = queue_send(queue, link, 0, err);
	queue_command(queue, "ZADD");
	queue_text(queue, ALIVE_KEYS);
	queue_number(queue, wl_clock_wall_ms());
	queue_text(queue, supervisor);
	if (r == 0)
		r = queue_send(queue, link, 0, err);
	if (r < 0) {
		queue_link_drop(link);
		return r;
	}
	return queue_receive_all(link, 3, err);
}

static int withdraw(void *self, const char *supervisor, struct wl_error *err)
{
	struct redis_queue *queue = self;
	char key[KEY_TEXT];
	(void)snprintf(key, sizeof(key), "wl:sup:%s", supervisor);
	queue_command(queue, "UNLINK");
	queue_text(queue, key);
	if (queue_tell(queue, err) < 0)
		return -err->code;
	queue_command(queue, "ZREM");
	queue_text(queue, ALIVE_KEYS);
	queue_text(queue, supervisor);
	return queue_tell(queue, err);
}

/* Read "eid epoch gen tenant" as wl1_claim wrote it. */
static bool parse_offer(const char *text, int shard, struct wl_lease *ret_lease)
{
	struct wl_lease lease = { .shard = shard };
	if (sscanf(text, "%36s %d %" SCNd64 " %d", lease.eid, &lease.epoch, &lease.gen, &lease.tenant) != 4)
		return false;
	*ret_lease = lease;
	return true;
}

static int take(void *self, const char *supervisor, struct wl_lease *ret_leases, int limit, int timeout_ms,
		struct wl_error *err)
{
	struct redis_queue *queue = self;
	char keys[WL_SHARDS][KEY_TEXT], prefix[WL_QUEUE_PREFIX], seconds[QUEUE_NUMBER_TEXT];
	if (check_name(supervisor, err) < 0)
		return -err->code;
	/* BLMPOP takes 0 for "forever" */
	(void)snprintf(seconds, sizeof(seconds), "%.3f", (timeout_ms > 0 ? timeout_ms : 1) / 1000.0);
	queue_command(queue, "BLMPOP");
	queue_text(queue, seconds);
	queue_number(queue, WL_SHARDS);
	for (int shard = 0; shard < WL_SHARDS; shard++) {
		(void)snprintf(keys[shard], KEY_TEXT, "%s:inbox:%s", wl_queue_prefix(shard, prefix), supervisor);
		queue_text(queue, keys[shard]);
	}
	queue_text(queue, "LEFT");
	queue_text(queue, "COUNT");
	queue_number(queue, limit);
	_wl_redis_reply_ redisReply *reply = NULL;
	if (queue_send(queue, &queue->blocking, timeout_ms, err) < 0 ||
	    queue_receive(&queue->blocking, &reply, err) < 0)
		return -err->code;
	if (reply->type == REDIS_REPLY_NIL)
		return 0;
	if (queue_expect_array(reply, 2, 1, err) < 0 || queue_expect_array(reply->element[1], 0, 1, err) < 0)
		return -err->code;
	int shard = reply->element[0]->str ? atoi(reply->element[0]->str + 1) : 0, count = 0;
	for (size_t i = 0; i < reply->element[1]->elements && count < limit; i++) {
		const char *text = reply->element[1]->element[i]->str;
		if (text && parse_offer(text, shard, &ret_leases[count]))
			count++;
	}
	return count;
}

/* Add what one shard holds of a supervisor: gen, (eid epoch tenant)… */
static int read_owned(const redisReply *reply, int shard, struct wl_lease *leases, int count, int limit,
		      struct wl_error *err)
{
	if (queue_expect_array(reply, 1, 3, err) < 0)
		return -err->code;
	int64_t gen = queue_reply_number(reply->element[0]);
	for (size_t i = 1; i + 2 < reply->elements && count < limit; i += 3) {
		struct wl_lease *lease = &leases[count];
		if (!queue_reply_text(reply->element[i], lease->eid, sizeof(lease->eid)))
			continue;
		lease->epoch = (int)queue_reply_number(reply->element[i + 1]);
		lease->tenant = (int)queue_reply_number(reply->element[i + 2]);
		lease->shard = shard;
		lease->gen = gen;
		count++;
	}
	return count;
}

static int owned(void *self, const char *supervisor, struct wl_lease *ret_leases, int limit, struct wl_error *err)
{
	struct redis_queue *queue = self;
	int count = 0;
	for (int shard = 0; shard < WL_SHARDS; shard++) {
		_wl_redis_reply_ redisReply *reply = NULL;
		queue_call(queue, "wl1_owned", shard);
		queue_text(queue, supervisor);
		if (queue_ask(queue, &reply, err) < 0)
			return -err->code;
		count = read_owned(reply, shard, ret_leases, count, limit, err);
		if (count < 0)
			return count;
	}
	return count;
}

/* ---- calls with many leases: grouped by shard, one function call for QUEUE_BATCH of them, all sent at once ---- */

/* Positions of leases in the order of their shards; NULL without memory. */
static int *by_shard(const struct wl_lease *leases, int count)
{
	int *order = calloc((size_t)count, sizeof(*order));
	int used = 0;
	for (int shard = 0; order && shard < WL_SHARDS; shard++)
		for (int i = 0; i < count; i++)
			if (leases[i].shard == shard)
				order[used++] = i;
	/* a lease of a shard that does not exist would be a fault of the caller: it stands last and is never sent */
	return order;
}

/* The end of the run of leases that one call takes. */
static int run_end(const struct wl_lease *leases, const int *order, int from, int count)
{
	int to = from;
	while (to < count && to - from < QUEUE_BATCH && leases[order[to]].shard == leases[order[from]].shard)
		to++;
	return to;
}

static int send_leases(struct redis_queue *queue, const char *function, const char *supervisor, int lease_ms,
		       const struct wl_lease *leases, const int *order, int count, struct wl_error *err)
{
	for (int from = 0; from < count;) {
		int to = run_end(leases, order, from, count);
		queue_call(queue, function, leases[order[from]].shard);
		queue_text(queue, supervisor);
		if (lease_ms > 0)
			queue_number(queue, lease_ms);
		for (int i = from; i < to; i++) {
			const struct wl_lease *lease = &leases[order[i]];
			queue_text(queue, lease->eid);
			queue_number(queue, lease->epoch);
			queue_number(queue, lease->gen);
		}
		if (queue_send(queue, &queue->commands, 0, err) < 0) {
			queue_link_drop(&queue->commands);
			return -err->code;
		}
		from = to;
	}
	return 0;
}

static int check_shards(const struct wl_lease *leases, int count, struct wl_error *err)
{
	for (int i = 0; i < count; i++)
		if (leases[i].shard < 0 || leases[i].shard >= WL_SHARDS)
			return wl_fail(err, EINVAL, "there is no shard %d", leases[i].shard);
	return 0;
}

static int renew(void *self, const char *supervisor, const struct wl_lease *leases, int count, int lease_ms,
		 enum wl_renew_outcome *ret_outcomes, struct wl_error *err)
{
	struct redis_queue *queue = self;
	if (count <= 0)
		return 0;
	if (check_shards(leases, count, err) < 0)
		return -err->code;
	_wl_free_ int *order = by_shard(leases, count);
	if (!order)
		return wl_fail_errno(err, ENOMEM, "renew leases");
	if (send_leases(queue, "wl1_renew", supervisor, lease_ms, leases, order, count, err) < 0)
		return -err->code;
	for (int from = 0, to = 0; from < count; from = to) {
		_wl_redis_reply_ redisReply *reply = NULL;
		struct wl_error own = { 0 };
		to = run_end(leases, order, from, count);
		if (queue_receive(&queue->commands, &reply, &own) < 0 && own.code != EAGAIN) {
			queue_link_drop(&queue->commands);
			*err = own;
			return -own.code;
		}
		for (int i = from; i < to; i++) {
			size_t position = (size_t)(i - from);
			bool told = reply && reply->type == REDIS_REPLY_ARRAY && position < reply->elements;
			int64_t outcome = told ? queue_reply_number(reply->element[position]) : WL_RENEW_KEPT;
			ret_outcomes[order[i]] = (enum wl_renew_outcome)outcome;
		}
	}
	return 0;
}

static int complete(void *self, const char *supervisor, const struct wl_lease *leases, int count, struct wl_error *err)
{
	struct redis_queue *queue = self;
	if (count <= 0)
		return 0;
	if (check_shards(leases, count, err) < 0)
		return -err->code;
	_wl_free_ int *order = by_shard(leases, count);
	if (!order)
		return wl_fail_errno(err, ENOMEM, "complete leases");
	if (send_leases(queue, "wl1_complete", supervisor, 0, leases, order, count, err) < 0)
		return -err->code;
	int completed = 0, failed = 0;
	for (int from = 0; from < count; from = run_end(leases, order, from, count)) {
		_wl_redis_reply_ redisReply *reply = NULL;
		struct wl_error own = { 0 };
		if (queue_receive(&queue->commands, &reply, &own) == 0) {
			completed += (int)queue_reply_number(reply);
		} else if (failed == 0) {
			*err = own;
			failed = -own.code;
		}
	}
	return failed < 0 ? failed : completed;
}

/* ---- messages ------------------------------------------------------------------------------------------- */

static int subscribe(struct redis_queue *queue, const char *supervisor, struct wl_error *err)
{
	struct queue_link *link = &queue->channel;
	char channel[KEY_TEXT];
	if (link->context && strcmp(queue->subscribed, supervisor) == 0)
		return 0;
	queue_link_drop(link);
	queue->subscribed[0] = '\0';
	if (check_name(supervisor, err) < 0)
		return -err->code;
	(void)snprintf(channel, sizeof(channel), "wl:ctl:%s", supervisor);
	queue_command(queue, "SUBSCRIBE");
	queue_text(queue, channel);
	_wl_redis_reply_ redisReply *reply = NULL;
	if (queue_send(queue, link, 0, err) < 0 || queue_receive(link, &reply, err) < 0)
		return -err->code;
	(void)snprintf(queue->subscribed, sizeof(queue->subscribed), "%s", supervisor);
	return 0;
}

/* A message that was read already: 1 and its text, 0 none. */
static int next_message(struct queue_link *link, char ret_eid[WL_UUID_TEXT], struct wl_error *err)
{
	for (;;) {
		void *answer = NULL;
		if (redisGetReplyFromReader(link->context, &answer) != REDIS_OK)
			return wl_redis_fail_context(link->context, err);
		_wl_redis_reply_ redisReply *reply = answer;
		if (!reply)
			return 0;
		if (reply->type == REDIS_REPLY_ARRAY && reply->elements == 3 && reply->element[0]->str &&
		    strcmp(reply->element[0]->str, "message") == 0 &&
		    queue_reply_text(reply->element[2], ret_eid, WL_UUID_TEXT))
			return 1;
	}
}

static int wait_cancel(void *self, const char *supervisor, int timeout_ms, char ret_eid[WL_UUID_TEXT],
		       struct wl_error *err)
{
	struct redis_queue *queue = self;
	struct queue_link *link = &queue->channel;
	uint64_t end = wl_clock_boot_ms() + (uint64_t)timeout_ms;
	if (subscribe(queue, supervisor, err) < 0)
		return -err->code;
	for (;;) {
		int r = next_message(link, ret_eid, err);
		uint64_t now = wl_clock_boot_ms();
		if (r != 0) {
			if (r < 0)
				queue_link_drop(link);
			return r;
		}
		if (now > end)
			return 0;
		struct pollfd ready = { .fd = link->context->fd, .events = POLLIN };
		int polled = poll(&ready, 1, (int)(end - now));
		if (polled <= 0)
			return 0; /* nothing came, or a signal did: the caller decides what it means */
		if (redisBufferRead(link->context) != REDIS_OK) {
			r = wl_redis_fail_context(link->context, err);
			queue_link_drop(link);
			return r;
		}
	}
}

void redis_queue_fill_supervisor(struct wl_job_queue *queue)
{
	queue->announce = announce;
	queue->withdraw = withdraw;
	queue->take = take;
	queue->owned = owned;
	queue->renew = renew;
	queue->complete = complete;
	queue->wait_cancel = wait_cancel;
}
