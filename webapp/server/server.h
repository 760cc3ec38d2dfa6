/* One worker of the web server: what its handlers share. */
#ifndef WL_WEBAPP_SERVER_H
#define WL_WEBAPP_SERVER_H

#include "lib/base/settings.h"
#include "lib/codec/expression_client.h"
#include "lib/codec/json_schema.h"
#include "lib/ports/node_results.h"
#include "lib/secrets/seal.h"
#include "lib/secrets/token.h"
#include "webapp/server/postgres_async.h"
#include "webapp/server/redis_async.h"
#include "webapp/server/request.h"
#include "webapp/server/thread_pool.h"

/* What a login that was ended or stolen can still do: access tokens are checked against the session this often. */
#define WEB_SESSION_RECHECK_MS 4000

struct web_worker {
	struct wl_settings settings;
	struct wl_token_key *token_key;
	struct wl_master_key *master_key;
	struct web_token_cache *tokens;
	struct pg_pool *postgres;
	struct web_redis *redis;
	struct web_thread_pool *passwords; /* for argon2id alone, so that logins do not hold up flows */
	struct web_thread_pool *threads;
	struct wl_expression_pool *expressions;
	struct wl_json_schema **body_schemas; /* by route; NULL: no body */
	bool draining;
};

extern struct web_worker web;

typedef void web_handler(struct web_request *request);

/* The handler of an operation; NULL: its function in PostgreSQL does all (webapp/server/handlers.c). */
web_handler *web_handler_of(const char *operation);
/* -EINVAL naming a handler without an operation. */
int web_handlers_check(struct wl_error *err);

/* Find out who asks (Authorization) and call `then` when that is known; else answers 401 or 503 itself. */
void web_authenticate(struct web_request *request, void (*then)(struct web_request *request));

/* The same for a request that goes on from another one's token: its identity stands there already. */
void web_authenticate_again(struct web_request *request, const unsigned char token_digest[WEB_TOKEN_DIGEST],
			    void (*then)(struct web_request *request));

/*
 * Handle a request that no connection brought (request->inner_answered): method, path, body, its identity and what
 * belongs to it are set. It goes the way of all others, from its route on.
 */
void web_server_inner(struct web_request *request, const unsigned char token_digest[WEB_TOKEN_DIGEST]);

/* Everything known of the nodes of an execution, from the document server; opens it when it is first needed. Blocks. */
int web_node_results(int tenant, const char *eid, struct wl_node_result **ret_results, struct wl_error *err);

/* A job for a request: holds it, and gives it back to `done` as job->context. Without memory answers 503: NULL. */
struct pg_job *web_job(struct web_request *request, int tenant, void (*done)(struct pg_job *job));
/* The request of a job; the caller releases it with web_request_release() at the end of `done`. */
static inline struct web_request *web_job_request(struct pg_job *job)
{
	return job->context;
}
/* Answer for a job that is not PG_DONE: WL4xx codes of the SQL functions, else 503 or 500. False when it is PG_DONE. */
bool web_job_failed(struct web_request *request, const struct pg_job *job);

#endif
