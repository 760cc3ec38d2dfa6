#include "webapp/server/thread_pool.h"

#include "webapp/server/bridge.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct queue {
	struct web_task *head, *tail;
	int count;
};

struct web_thread_pool {
	pthread_mutex_t lock; /* guards both queues */
	pthread_cond_t more;
	struct queue waiting, ended;
	int room;
	int wake_fd; /* an eventfd: tasks have ended */
};

static void push(struct queue *queue, struct web_task *task)
{
	task->next = NULL;
	if (queue->tail)
		queue->tail->next = task;
	else
		queue->head = task;
	queue->tail = task;
	queue->count++;
}

static struct web_task *pop(struct queue *queue)
{
	struct web_task *task = queue->head;
	if (!task)
		return NULL;
	queue->head = task->next;
	if (!queue->head)
		queue->tail = NULL;
	queue->count--;
	return task;
}

static void *work(void *context)
{
	struct web_thread_pool *pool = context;
	const uint64_t one = 1;
	for (;;) {
		pthread_mutex_lock(&pool->lock);
		while (!pool->waiting.head)
			pthread_cond_wait(&pool->more, &pool->lock);
		struct web_task *task = pop(&pool->waiting);
		pthread_mutex_unlock(&pool->lock);
		task->run(task);
		pthread_mutex_lock(&pool->lock);
		push(&pool->ended, task);
		pthread_mutex_unlock(&pool->lock);
		ssize_t written = write(pool->wake_fd, &one, sizeof(one));
		(void)written; /* it can only be full, and then the loop is awake */
	}
	return NULL;
}

static void tasks_ended(void *context, bool readable, bool writable, bool broken)
{
	struct web_thread_pool *pool = context;
	uint64_t count;
	(void)readable;
	(void)writable;
	(void)broken;
	ssize_t got = read(pool->wake_fd, &count, sizeof(count));
	(void)got;
	pthread_mutex_lock(&pool->lock);
	struct queue ended = pool->ended;
	pool->ended = (struct queue){ 0 };
	pthread_mutex_unlock(&pool->lock);
	for (struct web_task *task; (task = pop(&ended));)
		task->ended(task);
}

/* Signals are the loop's: threads block them all. */
static int start_threads(struct web_thread_pool *pool, int threads)
{
	sigset_t all, before;
	int rc = 0;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	for (int i = 0; i < threads && rc == 0; i++) {
		pthread_t thread;
		rc = pthread_create(&thread, NULL, work, pool);
		if (rc == 0)
			pthread_detach(thread);
	}
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return rc;
}

int web_thread_pool_open(int threads, int waiting, struct web_thread_pool **ret_pool, struct wl_error *err)
{
	struct web_thread_pool *pool = calloc(1, sizeof(*pool));
	if (!pool)
		return wl_fail(err, ENOMEM, "no memory for threads");
	pthread_mutex_init(&pool->lock, NULL);
	pthread_cond_init(&pool->more, NULL);
	pool->room = waiting;
	pool->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (pool->wake_fd < 0 || !web_watch_new(pool->wake_fd, tasks_ended, pool))
		return wl_fail_errno(err, errno, "make an eventfd"); /* the worker ends: nothing to take back */
	int rc = start_threads(pool, threads);
	if (rc)
		return wl_fail_errno(err, rc, "start %d threads", threads);
	*ret_pool = pool;
	return 0;
}

int web_thread_pool_run(struct web_thread_pool *pool, struct web_task *task)
{
	pthread_mutex_lock(&pool->lock);
	bool full = pool->waiting.count >= pool->room;
	if (!full) {
		push(&pool->waiting, task);
		pthread_cond_signal(&pool->more);
	}
	pthread_mutex_unlock(&pool->lock);
	return full ? -EAGAIN : 0;
}

int web_thread_pool_waiting(struct web_thread_pool *pool)
{
	pthread_mutex_lock(&pool->lock);
	int count = pool->waiting.count;
	pthread_mutex_unlock(&pool->lock);
	return count;
}
