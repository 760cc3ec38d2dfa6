/* A queue of many writers and one reader. What is posted lies inside the caller's own struct: posting never fails. */
#ifndef WL_SUPERVISOR_MAILBOX_H
#define WL_SUPERVISOR_MAILBOX_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

struct mail {
	struct mail *next;
};

struct mailbox {
	pthread_mutex_t lock;
	pthread_cond_t filled;
	struct mail *first, **last;
	int count;
	bool closed;
};

void mailbox_open(struct mailbox *box);
void mailbox_release(struct mailbox *box);
void mailbox_post(struct mailbox *box, struct mail *mail);
/* No more mail will come: readers no longer wait. What is in it can still be taken. */
void mailbox_close(struct mailbox *box);
bool mailbox_is_closed(struct mailbox *box);
int mailbox_count(struct mailbox *box);
/*
 * Take up to `limit` mails, in order, as a list; *ret_count tells how many. With none there it waits for up to
 * timeout_ms (-1: until there is one or the box is closed). NULL: none came.
 */
struct mail *mailbox_take(struct mailbox *box, int limit, int timeout_ms, int *ret_count);

/* The struct of `type` whose member `member` is at `pointer`. */
#define container_of(pointer, type, member) ((type *)(void *)((char *)(pointer)-offsetof(type, member)))

#endif
