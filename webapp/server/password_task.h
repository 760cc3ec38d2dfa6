/*
 * Work with passwords: Argon2id takes tens of milliseconds, so it is done on the thread of passwords, for one request
 * at a time and for a bounded number of waiting ones.
 */
#ifndef WL_WEBAPP_PASSWORD_TASK_H
#define WL_WEBAPP_PASSWORD_TASK_H

#include "lib/secrets/password.h"
#include "webapp/server/request.h"
#include "webapp/server/thread_pool.h"

#define WEB_CANDIDATES 8

/* An account that a password may open. */
struct web_candidate {
	char hash[WL_PASSWORD_HASH];
	char id[WL_UUID_TEXT];
	char state[16];
	char family[WL_UUID_TEXT]; /* of an operator */
	bool known;		   /* it has logged in from here before */
	bool opened;		   /* found: the password is its */
};

struct web_password_task {
	struct web_task task;
	struct web_request *request; /* held */
	char *password;
	char *fresh; /* to be hashed when `password` opens a candidate; NULL: none */
	/* asked for */
	struct web_candidate candidates[WEB_CANDIDATES];
	int candidate_count, candidate_total; /* total: more than there is room for may exist */
	int wait_s;			      /* what a login from here has to wait unless it is known */
	/* found: the hash of `password`, or of `fresh`; "" when it was not made */
	char hash[WL_PASSWORD_HASH];
	int rc;
	/* On the loop; answers or goes on, and frees the task with web_password_task_free(). */
	void (*then)(struct web_password_task *task);
};

/* A task for the body's member `name`. NULL: no memory, answered. */
struct web_password_task *web_password_task_new(struct web_request *request, const char *name);
void web_password_task_free(struct web_password_task *task);

/* Hash the password into task->hash. When too many wait the request is answered with 503 and the task freed. */
void web_password_hash(struct web_password_task *task, void (*then)(struct web_password_task *task));

/*
 * Try the password on every candidate, and on nothing when there is none: the time tells nobody which. With `fresh`,
 * that is hashed when one was opened.
 */
void web_password_verify(struct web_password_task *task, void (*then)(struct web_password_task *task));

#endif
