/* Reading a request's JSON body and checking it against the API's document, before its handler sees it. */
#ifndef WL_WEBAPP_BODY_CHECK_H
#define WL_WEBAPP_BODY_CHECK_H

#include "webapp/server/request.h"

/*
 * Call `then` when the body is what the operation takes; else the request is answered with 400, 413, 415 or 503. A body
 * that is large is read on a thread, so that it holds up nobody else: then `then` is called later, and not at all when
 * the client has gone meanwhile.
 */
void web_body_check(struct web_request *request, void (*then)(struct web_request *request));

#endif
