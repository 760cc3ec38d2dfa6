/*
 * The chain of the audit log: each entry's hash covers the hash before it and the entry's own bytes, so that nothing in
 * the middle can be changed, taken out or put in without all that follows being computed anew; and the end is known to
 * another store. (Haber and Stornetta 1991, linked time-stamps.)
 */
#ifndef WL_SECRETS_AUDIT_CHAIN_H
#define WL_SECRETS_AUDIT_CHAIN_H

#include "lib/secrets/digest.h"

#include <stdbool.h>
#include <stdint.h>

/* Where a walk along the chain of one tenant stands. Begins zeroed. */
struct wl_audit_walk {
	int64_t seq;		  /* the last one that held; 0: none yet */
	char hash[WL_SHA256_HEX]; /* its hash; "" before the first */
	bool broken;
	char fault[160]; /* what is wrong with the entry behind it */
};

/* Write SHA-256(prev, entry) in hex: both texts one behind the other. 0 or -ENOMEM. */
int wl_audit_hash(const char *prev, const char *entry, char ret_hash[WL_SHA256_HEX]);

/*
 * Take the next entry; false when the chain is broken there (and from then on): its number does not follow, it builds
 * on another hash than the one before it has, or its own hash is not that of its bytes.
 */
bool wl_audit_walk_next(struct wl_audit_walk *walk, int64_t seq, const char *prev, const char *hash, const char *entry);

#endif
