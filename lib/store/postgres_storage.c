#include "lib/store/postgres_storage.h"

#include "lib/base/cleanup.h"
#include "lib/store/postgres_pool.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CONNECTIONS 4

enum { TAKE };

static const struct wl_postgres_statement statements[] = {
	[TAKE] = { "TAKE",
		   "SELECT k.outcome, k.quota, k.used FROM control.kept_take($1::int, $2, $3::uuid, $4::bigint) k", 4 },
};

static int outcome_of(const PGresult *result, struct wl_error *err)
{
	const char *outcome = PQgetvalue(result, 0, 0);
	if (strcmp(outcome, "ok") == 0)
		return 0;
	if (strcmp(outcome, "quota") == 0)
		return wl_fail(err, EDQUOT,
			       "the tenant's storage of %" PRId64 " MiB is used up: %" PRId64 " MiB are taken",
			       (int64_t)strtoll(PQgetvalue(result, 0, 1), NULL, 10) >> 20,
			       (int64_t)strtoll(PQgetvalue(result, 0, 2), NULL, 10) >> 20);
	return wl_fail(err, ESTALE, "nothing more is kept for what is gone");
}

static int take(void *self, int tenant, enum wl_storage_kind kind, const char *owner, int64_t bytes,
		struct wl_error *err)
{
	_wl_pg_result_ PGresult *result = NULL;
	char number[16], amount[24];
	(void)snprintf(number, sizeof(number), "%d", tenant);
	(void)snprintf(amount, sizeof(amount), "%" PRId64, bytes);
	const char *params[] = { number, kind == WL_STORAGE_RUN ? "run" : "memory", owner, amount };
	int r = wl_postgres_pool_run(self, TAKE, params, &result, err);
	if (r < 0)
		return r;
	return PQntuples(result) == 1 ? outcome_of(result, err) : wl_fail(err, EIO, "the storage gave no answer");
}

static void close_room(void *self)
{
	wl_postgres_pool_close(self);
}

int wl_postgres_storage_open(const char *url, struct wl_storage_room *ret_room, struct wl_error *err)
{
	struct wl_postgres_pool *pool = NULL;
	int r = wl_postgres_pool_open(url, statements, CONNECTIONS, &pool, err);
	if (r == 0)
		*ret_room = (struct wl_storage_room){ .self = pool, .take = take, .close = close_room };
	return r;
}
