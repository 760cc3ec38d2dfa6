/*
 * Threads for work that would stop the loop: password hashes, expressions, the document server. A task runs on a
 * thread and then ends on the loop. The queue is bounded.
 */
#ifndef WL_WEBAPP_THREAD_POOL_H
#define WL_WEBAPP_THREAD_POOL_H

#include "lib/base/error.h"

#include <stddef.h>

struct web_thread_pool;

struct web_task {
	void (*run)(struct web_task *task);   /* on a thread: touches nothing but what the task owns */
	void (*ended)(struct web_task *task); /* on the loop; frees the task */
	void *context;
	struct web_task *next; /* the pool's own */
};

/* `threads` threads, at most `waiting` tasks in line. */
int web_thread_pool_open(int threads, int waiting, struct web_thread_pool **ret_pool, struct wl_error *err);

/*
 * The same for tasks that mostly wait: threads are started when a task finds none idle, at most `most`, each with a
 * stack of `stack` bytes. Nothing waits in line: a task that finds no thread is refused.
 */
int web_thread_pool_open_growing(int most, size_t stack, struct web_thread_pool **ret_pool, struct wl_error *err);

/* Hand over a task; -EAGAIN when the line is full: then the task stays the caller's. */
int web_thread_pool_run(struct web_thread_pool *pool, struct web_task *task);

/* Tasks in line, for the metrics. */
int web_thread_pool_waiting(struct web_thread_pool *pool);

#endif
