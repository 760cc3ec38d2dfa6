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
	int idle, started;
	int most;     /* that may be started on demand; 0: all were at the beginning */
	size_t stack; /* bytes, of those */
	int wake_fd;  /* an eventfd: tasks have ended */
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
		pool->idle++;
		while (!pool->waiting.head)
			pthread_cond_wait(&pool->more, &pool->lock);
		pool->idle--;
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
	pthread_attr_t attributes;
	int rc = pthread_attr_init(&attributes);
	if (rc == 0 && pool->stack)
		rc = pthread_attr_setstacksize(&attributes, pool->stack);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	for (int i = 0; i < threads && rc == 0; i++) {
		pthread_t thread;
		rc = pthread_create(&thread, &attributes, work, pool);
		if (rc == 0)
			pthread_detach(thread);
	}
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	(void)pthread_attr_destroy(&attributes);
	return rc;
}

static int open_pool(int threads, int waiting, struct web_thread_pool **ret_pool, struct wl_error *err)
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

int web_thread_pool_open(int threads, int waiting, struct web_thread_pool **ret_pool, struct wl_error *err)
{
	return open_pool(threads, waiting, ret_pool, err);
}

int web_thread_pool_open_growing(int most, size_t stack, struct web_thread_pool **ret_pool, struct wl_error *err)
{
	int rc = open_pool(0, most, ret_pool, err);
	if (rc == 0) {
		(*ret_pool)->most = most;
		(*ret_pool)->stack = stack;
	}
	return rc;
}

/* Whether a thread takes the next task at once; starts one when none is idle. */
static bool has_thread(struct web_thread_pool *pool)
{
	if (pool->most == 0 || pool->idle > pool->waiting.count)
		return true;
	if (pool->started >= pool->most || start_threads(pool, 1) != 0)
		return false;
	pool->started++;
	return true;
}

int web_thread_pool_run(struct web_thread_pool *pool, struct web_task *task)
{
	pthread_mutex_lock(&pool->lock);
	bool full = pool->waiting.count >= pool->room || !has_thread(pool);
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
