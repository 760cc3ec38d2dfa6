/*
 * Accepting executions, several at once: those of one tenant that arrive while its last transaction is under way go
 * into the next one together and share its commit (docs/decisions/0006-accepts-share-a-commit.md).
 */
#ifndef WL_WEBAPP_ACCEPT_LANES_H
#define WL_WEBAPP_ACCEPT_LANES_H

#include "lib/base/ids.h"
#include "lib/secrets/digest.h"
#include "webapp/server/request.h"

enum web_accept_result {
	WEB_ACCEPT_ANSWERED, /* PostgreSQL has said what became of it: see `outcome` */
	WEB_ACCEPT_CHANGED,  /* the flow's document is no longer the one that was checked; nothing was stored */
	WEB_ACCEPT_AWAY,     /* no acknowledgement: nothing may be assumed */
	WEB_ACCEPT_CLOSED,   /* the tenant is suspended or deleted: `outcome` says so */
	WEB_ACCEPT_BROKEN    /* PostgreSQL refused it: `outcome` is its message */
};

struct web_accept {
	/* what is asked; texts are owned by whoever made the struct */
	int tenant;
	char eid[WL_UUID_TEXT];
	const char *flow;
	char *version; /* "draft", a number, or NULL */
	bool may_draft;
	char *inputs, *labels; /* JSON objects; NULL: empty */
	char *options;	       /* JSON object as executions keep it; NULL: none */
	int64_t timeout_ms;
	const char *user, *role;     /* who asks; a private flow may not be his to run */
	const char *idempotency_key; /* or NULL */
	char request_hash[WL_SHA256_HEX];
	char document_hash[WL_SHA256_HEX]; /* the document that the inputs were checked for; "": not known */

	/* what became of it */
	enum web_accept_result result;
	char outcome[256];
	int shard;
	int64_t gen, seq;
	int64_t quota, used, resets_s;

	void (*done)(struct web_accept *accept);
	void *context;
	struct web_accept *next; /* the lane's own */
	bool alone;
};

/* Ask; `done` is called on the loop, never from inside. */
void web_accept_submit(struct web_accept *accept);

#endif
