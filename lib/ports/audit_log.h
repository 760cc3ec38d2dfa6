/*
 * The port of the audit log: where its sealed entries are kept (MongoDB protocol, collection audit_log). An entry never
 * changes; putting it a second time changes nothing. The entries of a tenant are numbered from 1 without a gap and lie
 * in buckets of WL_AUDIT_BUCKET, so that a reader finds its place by the number alone. Thread-safe; calls block.
 */
#ifndef WL_PORTS_AUDIT_LOG_H
#define WL_PORTS_AUDIT_LOG_H

#include "lib/base/error.h"

#include <stdint.h>

#define WL_AUDIT_BUCKET 200
#define WL_AUDIT_HASH 65 /* a SHA-256 in hex and the NUL */

/* hash = SHA-256(prev, entry_json), both as text one behind the other; prev of the first is "" (its chain's beginning)
 */
struct wl_audit_entry {
	int tenant;
	int64_t seq;
	char *entry_json; /* owned by the struct: the very bytes that were hashed */
	char prev[WL_AUDIT_HASH];
	char hash[WL_AUDIT_HASH];
};

struct wl_audit_log {
	void *self;
	/* 0 when all are kept for good; -errno: none may be assumed. */
	int (*put)(void *self, const struct wl_audit_entry *entries, int count, struct wl_error *err);
	/* The entries of a bucket (seq / WL_AUDIT_BUCKET) in order; *ret_entries is allocated. How many, or -errno. */
	int (*bucket)(void *self, int tenant, int64_t bucket, struct wl_audit_entry **ret_entries,
		      struct wl_error *err);
	/* Forget a tenant that is purged. */
	int (*drop_tenant)(void *self, int tenant, struct wl_error *err);
	void (*close)(void *self);
};

/* Free a list of entries and what they own. */
void wl_audit_entries_free(struct wl_audit_entry *entries, int count);

#endif
