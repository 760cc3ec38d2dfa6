/*
 * Take what a tenant has in Redis away: nothing of it is the truth, but a purged tenant leaves no trace. Each call
 * connects for itself. Doing it twice changes nothing.
 */
#ifndef WL_STORE_REDIS_PURGE_H
#define WL_STORE_REDIS_PURGE_H

#include "lib/base/error.h"

/* The live events and queue entries of `count` executions of a shard. 0, or -errno as wl_redis_connect(). */
int wl_redis_purge_executions(const char *url, int shard, const char *const *eids, int count, struct wl_error *err);

/* A tenant's queue, its set of running ones, its shares and its place on the ring. */
int wl_redis_purge_tenant(const char *url, int shard, int tenant, struct wl_error *err);

#endif
