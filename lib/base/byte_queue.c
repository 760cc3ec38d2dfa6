#include "lib/base/byte_queue.h"

#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct wl_byte_queue {
	pthread_mutex_t lock; /* guards all below but `fd` and `most` */
	struct wl_buffer waiting;
	size_t taken; /* bytes */
	bool ended, refused;
	size_t most;
	int fd;
};

int wl_byte_queue_new(size_t most, struct wl_byte_queue **ret_queue, struct wl_error *err)
{
	struct wl_byte_queue *queue = calloc(1, sizeof(*queue));
	if (!queue)
		return wl_fail(err, ENOMEM, "no memory for a queue of bytes");
	queue->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (queue->fd < 0) {
		int errnum = errno;
		free(queue);
		return wl_fail_errno(err, errnum, "cannot make an eventfd");
	}
	(void)pthread_mutex_init(&queue->lock, NULL);
	wl_buffer_init(&queue->waiting, 0); /* bounded by `most` */
	queue->most = most;
	*ret_queue = queue;
	return 0;
}

void wl_byte_queue_free(struct wl_byte_queue *queue)
{
	if (!queue)
		return;
	(void)close(queue->fd);
	(void)pthread_mutex_destroy(&queue->lock);
	wl_buffer_release(&queue->waiting);
	free(queue);
}

size_t wl_byte_queue_most(const struct wl_byte_queue *queue)
{
	return queue->most;
}

static void wake(const struct wl_byte_queue *queue)
{
	const uint64_t one = 1;
	ssize_t ignored = write(queue->fd, &one, sizeof(one));
	(void)ignored; /* it can only be full, and then it is readable */
}

int wl_byte_queue_put(struct wl_byte_queue *queue, const void *bytes, size_t length, struct wl_error *err)
{
	int result = 0;
	(void)pthread_mutex_lock(&queue->lock);
	if (queue->ended || queue->refused)
		result = wl_fail(err, EPIPE, "nothing more is taken");
	else if (length > queue->most - queue->taken - queue->waiting.length)
		result = wl_fail(err, EFBIG, "more than %zu bytes", queue->most);
	else if (wl_buffer_append(&queue->waiting, bytes, length) < 0)
		result = wl_fail(err, ENOMEM, "no memory for %zu bytes", length);
	else if (length > 0)
		wake(queue);
	queue->waiting.failed = 0; /* the next, smaller one may find memory */
	(void)pthread_mutex_unlock(&queue->lock);
	return result;
}

void wl_byte_queue_end(struct wl_byte_queue *queue)
{
	(void)pthread_mutex_lock(&queue->lock);
	queue->ended = true;
	wake(queue);
	(void)pthread_mutex_unlock(&queue->lock);
}

int wl_byte_queue_fd(const struct wl_byte_queue *queue)
{
	return queue->fd;
}

bool wl_byte_queue_take(struct wl_byte_queue *queue, struct wl_buffer *into)
{
	uint64_t count;
	(void)pthread_mutex_lock(&queue->lock);
	ssize_t ignored = read(queue->fd, &count, sizeof(count));
	(void)ignored;
	(void)wl_buffer_append(into, queue->waiting.data, queue->waiting.length);
	queue->taken += queue->waiting.length;
	wl_buffer_release(&queue->waiting);
	bool ended = queue->ended;
	(void)pthread_mutex_unlock(&queue->lock);
	return ended;
}

void wl_byte_queue_refuse(struct wl_byte_queue *queue)
{
	(void)pthread_mutex_lock(&queue->lock);
	queue->refused = true;
	wl_buffer_release(&queue->waiting);
	(void)pthread_mutex_unlock(&queue->lock);
}
