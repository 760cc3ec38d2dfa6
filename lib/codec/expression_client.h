/*
 * The client of windlass-eval: expressions (jq programs in {{ }}) and tenants' JSON Schemas are evaluated in a
 * locked-down process behind a unix socket. A connection is one process; a process that is killed by its limits ends
 * its connection, which fails that one request and nothing else.
 */
#ifndef WL_CODEC_EXPRESSION_CLIENT_H
#define WL_CODEC_EXPRESSION_CLIENT_H

#include "lib/base/error.h"

#include <stddef.h>

struct wl_expression_pool;

/* At most `connections` requests at once; further callers wait. Nothing is connected yet. */
int wl_expression_pool_open(const char *socket_path, int connections, struct wl_expression_pool **ret_pool,
			    struct wl_error *err);
void wl_expression_pool_close(struct wl_expression_pool *pool);

/*
 * Evaluate every expression inside `template_json` (any JSON; each string may hold {{ }}) over `context_json`
 * ({"inputs","nodes","vars","item","index","execution"}). A string that is one expression keeps the value's type, else
 * results are put into the text. *ret_json is allocated JSON text.
 * -EINVAL: an expression is wrong or raised an error (the sentence names its path and jq's message); -ETIMEDOUT: it
 * took longer than timeout_ms; -E2BIG: it used too much memory or gave too much; -EIO: the server is away (retry).
 * Thread-safe; blocks.
 */
int wl_expression_eval(struct wl_expression_pool *pool, const char *template_json, size_t template_length,
		       const char *context_json, size_t context_length, int timeout_ms, char **ret_json,
		       struct wl_error *err);

/* Compile every expression inside `template_json` without running it: 0, or -EINVAL with path and message. */
int wl_expression_check(struct wl_expression_pool *pool, const char *template_json, size_t template_length,
			int timeout_ms, struct wl_error *err);

/* Check `instance_json` against a tenant's schema: 0; -EINVAL with *ret_faults_json = [{"path","message"}...]
 * (allocated) when it does not fit; instance NULL checks the schema itself. -ENOEXEC: the schema itself is wrong. */
int wl_expression_schema(struct wl_expression_pool *pool, const char *schema_json, size_t schema_length,
			 const char *instance_json, size_t instance_length, int timeout_ms, char **ret_faults_json,
			 struct wl_error *err);

#endif
