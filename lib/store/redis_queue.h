/* What the files of the Redis queue share. Included by lib/store/redis_*queue*.c alone. */
#ifndef WL_STORE_REDIS_QUEUE_H
#define WL_STORE_REDIS_QUEUE_H

#include "lib/ports/job_queue.h"
#include "lib/store/redis_connect.h"
#include "lib/store/redis_job_queue.h"

#define QUEUE_BATCH 128 /* items of one function call: some milliseconds of Redis' time at most */
#define QUEUE_ARGS (QUEUE_BATCH * 7 + 8)
#define QUEUE_NUMBERS (QUEUE_BATCH * 3 + 8)
#define QUEUE_NUMBER_TEXT 24
#define QUEUE_TIMEOUT_MS 5000 /* for an answer, beside the time that a wait was asked for */
#define QUEUE_NOT_READY "NOTREADY"

/* One connection, opened on demand. */
struct queue_link {
	redisContext *context;
	uint64_t next_try_ms; /* CLOCK_BOOTTIME: no attempt to connect before */
	int pause_ms;	      /* to the attempt after the next failure */
	int timeout_ms;	      /* that the socket has now */
};

/* A command that is put together; its texts must live until it is sent. */
struct queue_request {
	const char *args[QUEUE_ARGS];
	int count;
	char numbers[QUEUE_NUMBERS][QUEUE_NUMBER_TEXT];
	int number_count;
	char prefix[WL_QUEUE_PREFIX];
};

struct redis_queue {
	struct wl_redis_address address;
	struct queue_link commands, blocking, channel;
	char subscribed[WL_SUPERVISOR_ID]; /* "" when `channel` is not subscribed */
	int bell_turn;			   /* the shard that the next wait looks at first */
	struct queue_request request;
	char build_token[WL_SHARDS][WL_UUID_TEXT];
};

/* The open connection, or NULL with err filled. wait_ms: how long the server may take beside QUEUE_TIMEOUT_MS. */
redisContext *queue_link_use(struct redis_queue *queue, struct queue_link *link, int wait_ms, struct wl_error *err);
void queue_link_drop(struct queue_link *link);

/* Begin "FCALL <function> 1 <prefix>", or a plain command. */
void queue_call(struct redis_queue *queue, const char *function, int shard);
void queue_command(struct redis_queue *queue, const char *name);
void queue_text(struct redis_queue *queue, const char *text);
void queue_number(struct redis_queue *queue, int64_t number);

/* Send what was put together without waiting; 0 or -errno. */
int queue_send(struct redis_queue *queue, struct queue_link *link, int wait_ms, struct wl_error *err);
/* The next answer; *ret_reply is the caller's. -EAGAIN for NOTREADY; with an error answer *ret_reply stays NULL. */
int queue_receive(struct queue_link *link, redisReply **ret_reply, struct wl_error *err);
/* Send and receive over the command connection. */
int queue_ask(struct redis_queue *queue, redisReply **ret_reply, struct wl_error *err);
/* Send, receive and forget the answer. */
int queue_tell(struct redis_queue *queue, struct wl_error *err);
/* Receive `count` answers that are of no interest; the first error of them. */
int queue_receive_all(struct queue_link *link, int count, struct wl_error *err);

/* An answer that is a number, as such or as text; 0 for anything else. */
int64_t queue_reply_number(const redisReply *reply);
/* Copy an answer that is a text; false when it is none or does not fit. */
bool queue_reply_text(const redisReply *reply, char *out, size_t size);
/* Fill err when the answer is not an array of a multiple of `unit` items after the first `skip`. */
int queue_expect_array(const redisReply *reply, size_t skip, size_t unit, struct wl_error *err);

/* The tables of the files. */
int redis_queue_prepare(void *self, struct wl_error *err);
void redis_queue_fill_rebuild(struct wl_job_queue *queue);
void redis_queue_fill_supervisor(struct wl_job_queue *queue);
void redis_queue_fill_scheduler(struct wl_job_queue *queue);

#endif
