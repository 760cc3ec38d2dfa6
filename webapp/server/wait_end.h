/* Requests that are answered when an execution has ended, or when they have waited long enough. */
#ifndef WL_WEBAPP_WAIT_END_H
#define WL_WEBAPP_WAIT_END_H

#include "webapp/server/core/prefer.h"
#include "webapp/server/request.h"

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

/* Answer 202 with ExecuteAnswer and Location, as if there had been no waiting. */
void web_wait_answer_accepted(struct web_request *request, const char *eid);

#endif
