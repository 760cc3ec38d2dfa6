/*
 * Operations whose work is done by a function of PostgreSQL: specs/sql/0004_platform.sql tells their contract. An
 * operation without a handler in routes.h is nothing but that call.
 */
#ifndef WL_WEBAPP_API_CALL_H
#define WL_WEBAPP_API_CALL_H

#include "webapp/server/postgres_async.h"
#include "webapp/server/request.h"

/* What the function of an operation answered. Texts are the job's and live until the callback returns. */
struct web_api_answer {
	int status;
	const char *body;     /* JSON, or NULL */
	const char *etag;     /* without quotes, or NULL */
	const char *location; /* or NULL */
};

/*
 * Take the answer on the loop, in place of sending it as it is: the effects have been done by then. Errors never come
 * here, they are answered as problems. Must answer the request (or go on and answer later, holding it).
 */
typedef void web_api_taken(struct web_request *request, const struct web_api_answer *answer);

/*
 * Call the function of the request's operation in one transaction under its tenant's role. `extra` (taken over; may be
 * NULL) is an object whose members stand in p_request beside params and body; a member "body" takes the body's place.
 * `taken` NULL: the answer is sent as it is.
 */
void web_api_call(struct web_request *request, struct wl_json *extra, web_api_taken *taken);

/*
 * Put the two arguments of such a function behind the job's last step: for handlers that call one in a step of their
 * own. `extra` as above. Without memory the job fails as PG_AWAY.
 */
void web_api_values(struct pg_job *job, const struct web_request *request, struct wl_json *extra);
/* The same with the actor alone. */
void web_api_value_actor(struct pg_job *job, const struct web_request *request);

/*
 * For handlers that call one in a job of their own: what that step answered, after its effects are done. False when
 * there is no row. The job must be PG_DONE.
 */
bool web_api_take(const struct pg_job *job, int step, struct web_api_answer *ret_answer);

/* The handler of operations that are nothing but the call. */
void web_api_operation(struct web_request *request);

/* Send an answer as it is: status, body, ETag, Location. */
void web_api_send(struct web_request *request, const struct web_api_answer *answer);

/* {"user","role","tenant","key","ip","request_id"}: who asks, for functions that write the audit log. NULL: no memory.
 */
struct wl_json *web_api_actor(const struct web_request *request);

#endif
