/* Requests that are answered when an execution has ended, or when they have waited long enough. */
#ifndef WL_WEBAPP_WAIT_END_H
#define WL_WEBAPP_WAIT_END_H

#include "webapp/server/core/prefer.h"
#include "webapp/server/request.h"

#include <stdbool.h>

/*
 * Called on the loop, once: `result` is JSON of the document's RunResult and valid until the callback returns, or NULL
 * when the execution still runs. Answers the request.
 */
typedef void web_wait_ended(struct web_request *request, const char *result);

/*
 * Wait up to `seconds` (0..WEB_WAIT_MOST_S) for the end of an execution of the tenant request->identity.tenant, which
 * was accepted already. `ended` NULL answers by itself: 200 with RunResult, or 202 with ExecuteAnswer and Location.
 * Without seconds, and when too many wait in this worker or of this tenant, it still runs as far as `ended` is told.
 * A request whose client has gone is forgotten: `ended` is not called then.
 */
void web_wait_end(struct web_request *request, const char *eid, int seconds, web_wait_ended *ended);

/* ---- the same for who is no request: a stream that goes on ----------------------------------------------------------
 */

struct web_wait;

struct web_wait_calls {
	/* Does anybody still wait? Asked a few times a second; after false `ended` is not called, but `forgotten`. */
	bool (*wanted)(void *context);
	/* Once, on the loop: as web_wait_ended. */
	void (*ended)(void *context, const char *result);
	void (*forgotten)(void *context);
};

/*
 * Wait up to `seconds` (at least 1) for the end of an execution of the tenant. The wait frees itself behind `ended` or
 * `forgotten`, which are never called from inside of this. NULL when too many wait in this worker or of this tenant,
 * when the server drains, or without memory: then nothing is called. `calls` must stay.
 */
struct web_wait *web_wait_start(int tenant, const char *eid, int seconds, const struct web_wait_calls *calls,
				void *context);
/* Look once more now, and tell what is known then. */
void web_wait_hurry(struct web_wait *wait);

/* Answer 202 with ExecuteAnswer and Location, as if there had been no waiting. */
void web_wait_answer_accepted(struct web_request *request, const char *eid);

#endif
