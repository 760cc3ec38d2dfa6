#include "supervisor/mailbox.h"

#include <errno.h>
#include <stddef.h>
#include <time.h>

void mailbox_open(struct mailbox *box)
{
	pthread_condattr_t attributes;
	*box = (struct mailbox){ .first = NULL };
	box->last = &box->first;
	(void)pthread_mutex_init(&box->lock, NULL);
	(void)pthread_condattr_init(&attributes);
	(void)pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	(void)pthread_cond_init(&box->filled, &attributes);
	(void)pthread_condattr_destroy(&attributes);
}

void mailbox_release(struct mailbox *box)
{
	(void)pthread_cond_destroy(&box->filled);
	(void)pthread_mutex_destroy(&box->lock);
}

void mailbox_post(struct mailbox *box, struct mail *mail)
{
	mail->next = NULL;
	(void)pthread_mutex_lock(&box->lock);
	bool was_empty = box->first == NULL;
	*box->last = mail;
	box->last = &mail->next;
	box->count++;
	/* one reader: it is awake unless the box was empty */
	if (was_empty)
		(void)pthread_cond_signal(&box->filled);
	(void)pthread_mutex_unlock(&box->lock);
}

void mailbox_close(struct mailbox *box)
{
	(void)pthread_mutex_lock(&box->lock);
	box->closed = true;
	(void)pthread_cond_broadcast(&box->filled);
	(void)pthread_mutex_unlock(&box->lock);
}

bool mailbox_is_closed(struct mailbox *box)
{
	(void)pthread_mutex_lock(&box->lock);
	bool closed = box->closed;
	(void)pthread_mutex_unlock(&box->lock);
	return closed;
}

int mailbox_count(struct mailbox *box)
{
	(void)pthread_mutex_lock(&box->lock);
	int count = box->count;
	(void)pthread_mutex_unlock(&box->lock);
	return count;
}

static void wait_filled(struct mailbox *box, int timeout_ms)
{
	struct timespec until;
	(void)clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += timeout_ms / 1000;
	until.tv_nsec += (long)(timeout_ms % 1000) * 1000000;
	if (until.tv_nsec >= 1000000000) {
		until.tv_sec++;
		until.tv_nsec -= 1000000000;
	}
	int result = 0;
	while (!box->first && !box->closed && result != ETIMEDOUT)
		result = timeout_ms < 0 ? pthread_cond_wait(&box->filled, &box->lock)
					: pthread_cond_timedwait(&box->filled, &box->lock, &until);
}

struct mail *mailbox_take(struct mailbox *box, int limit, int timeout_ms, int *ret_count)
{
	(void)pthread_mutex_lock(&box->lock);
	if (!box->first && timeout_ms != 0)
		wait_filled(box, timeout_ms);
	struct mail *list = box->first;
	struct mail *end = NULL;
	int count = 0;
	for (struct mail *at = list; at && count < limit; at = at->next) {
		end = at;
		count++;
	}
	if (end) {
		box->first = end->next;
		end->next = NULL;
		if (!box->first)
			box->last = &box->first;
	} else {
		list = NULL;
	}
	box->count -= count;
	*ret_count = count;
	(void)pthread_mutex_unlock(&box->lock);
	return list;
}
