/*
 * The queue port over Redis. A queue has three connections, opened when they are first needed: for commands, for
 * waiting on lists, and for the messages of wait_cancel(). Each reconnects on the next call after it broke; between
 * two attempts to connect lie 50 to 1,000 ms, during which calls fail at once with -ECONNREFUSED.
 */
#ifndef WL_STORE_REDIS_JOB_QUEUE_H
#define WL_STORE_REDIS_JOB_QUEUE_H

#include "lib/ports/job_queue.h"

#define WL_QUEUE_PREFIX 8 /* "{07}" and the NUL */

/* The prefix of a shard's keys, such as {07}; returns `text`. */
char *wl_queue_prefix(int shard, char text[WL_QUEUE_PREFIX]);

/*
 * Make a queue; nothing is connected yet. url: see wl_redis_address_parse(). 0, -EINVAL or -ENOMEM. The caller ends
 * it with ret_queue->close(ret_queue->self). The program must ignore SIGPIPE.
 */
int wl_redis_job_queue_open(const char *url, struct wl_job_queue *ret_queue, struct wl_error *err);

#endif
