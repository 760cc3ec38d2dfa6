#include "lib/store/postgres_pool.h"

#include "lib/base/cleanup.h"

#include <errno.h>
#include <pthread.h>
#include <time.h>

struct wl_postgres_pool {
	pthread_mutex_t lock;
	pthread_cond_t freed;
	int count;
	bool busy[WL_POSTGRES_POOL_MAX];
	struct wl_postgres_session sessions[WL_POSTGRES_POOL_MAX];
};

int wl_postgres_pool_open(const char *url, const struct wl_postgres_statement *statements, int connections,
			  struct wl_postgres_pool **ret_pool, struct wl_error *err)
{
	struct wl_postgres_pool *pool = calloc(1, sizeof(*pool));
	if (!pool)
		return wl_fail(err, ENOMEM, "no memory for connections to PostgreSQL");
	(void)pthread_mutex_init(&pool->lock, NULL);
	pthread_condattr_t monotonic;
	(void)pthread_condattr_init(&monotonic);
	(void)pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	(void)pthread_cond_init(&pool->freed, &monotonic);
	(void)pthread_condattr_destroy(&monotonic);
	if (connections > WL_POSTGRES_POOL_MAX)
		connections = WL_POSTGRES_POOL_MAX;
	for (; pool->count < connections; pool->count++) {
		int r = wl_postgres_session_init(&pool->sessions[pool->count], url, statements, err);
		if (r < 0) {
			wl_postgres_pool_close(pool);
			return r;
		}
	}
	*ret_pool = pool;
	return 0;
}

void wl_postgres_pool_close(struct wl_postgres_pool *pool)
{
	for (int i = 0; i < pool->count; i++)
		wl_postgres_session_release(&pool->sessions[i]);
	(void)pthread_cond_destroy(&pool->freed);
	(void)pthread_mutex_destroy(&pool->lock);
	free(pool);
}

/* The one that is connected comes before one that is not. -1: none is free. */
static int find_free(const struct wl_postgres_pool *pool)
{
	int found = -1;
	for (int i = 0; i < pool->count; i++) {
		if (pool->busy[i])
			continue;
		if (pool->sessions[i].connection)
			return i;
		if (found < 0)
			found = i;
	}
	return found;
}

static int take(struct wl_postgres_pool *pool, struct wl_error *err)
{
	struct timespec until;
	(void)clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_nsec += WL_POSTGRES_TURN_MS * 1000000L;
	until.tv_sec += until.tv_nsec / 1000000000L;
	until.tv_nsec %= 1000000000L;
	int late = 0, found;
	(void)pthread_mutex_lock(&pool->lock);
	while ((found = find_free(pool)) < 0 && late != ETIMEDOUT)
		late = pthread_cond_timedwait(&pool->freed, &pool->lock, &until);
	if (found >= 0)
		pool->busy[found] = true;
	(void)pthread_mutex_unlock(&pool->lock);
	return found >= 0 ? found : wl_fail(err, EAGAIN, "all connections to PostgreSQL are busy");
}

static void give_back(struct wl_postgres_pool *pool, int at)
{
	(void)pthread_mutex_lock(&pool->lock);
	pool->busy[at] = false;
	(void)pthread_cond_signal(&pool->freed);
	(void)pthread_mutex_unlock(&pool->lock);
}

int wl_postgres_pool_run(struct wl_postgres_pool *pool, int statement, const char *const *params, PGresult **ret_result,
			 struct wl_error *err)
{
	int at = take(pool, err);
	if (at < 0)
		return at;
	int ran = wl_postgres_run(&pool->sessions[at], statement, params, ret_result, err);
	give_back(pool, at);
	return ran;
}
