/*
 * A few connections to PostgreSQL that threads share: each call takes one that is free and gives it back. For stores
 * whose functions are called from many threads at once.
 */
#ifndef WL_STORE_POSTGRES_POOL_H
#define WL_STORE_POSTGRES_POOL_H

#include "lib/store/postgres_session.h"

#define WL_POSTGRES_POOL_MAX 16
#define WL_POSTGRES_TURN_MS                                                                                            \
	500 /* a free connection is waited for so long; then the caller looks if it is still wanted */

struct wl_postgres_pool;

/*
 * `connections` sessions over a table of statements that outlives the pool; nothing is connected yet. 0; -EINVAL for a
 * url that libpq cannot read; -ENOMEM.
 */
int wl_postgres_pool_open(const char *url, const struct wl_postgres_statement *statements, int connections,
			  struct wl_postgres_pool **ret_pool, struct wl_error *err);
void wl_postgres_pool_close(struct wl_postgres_pool *pool); /* no call may be under way */

/* wl_postgres_run() on a connection that is free. -EAGAIN too: all were busy for WL_POSTGRES_TURN_MS. */
int wl_postgres_pool_run(struct wl_postgres_pool *pool, int statement, const char *const *params, PGresult **ret_result,
			 struct wl_error *err);

#endif
