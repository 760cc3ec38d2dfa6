#include "lib/secrets/audit_chain.h"

#include "lib/base/buffer.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

int wl_audit_hash(const char *prev, const char *entry, char ret_hash[WL_SHA256_HEX])
{
	_wl_buffer_ struct wl_buffer both;
	unsigned char digest[WL_SHA256_BYTES];
	wl_buffer_init(&both, 0);
	wl_buffer_append_text(&both, prev);
	wl_buffer_append_text(&both, entry);
	if (both.failed)
		return -ENOMEM;
	wl_sha256(both.data ? both.data : "", both.length, digest);
	wl_hex(digest, sizeof(digest), ret_hash);
	return 0;
}

static bool break_here(struct wl_audit_walk *walk, const char *fault)
{
	walk->broken = true;
	(void)snprintf(walk->fault, sizeof(walk->fault), "entry %" PRId64 " %s", walk->seq + 1, fault);
	return false;
}

bool wl_audit_walk_next(struct wl_audit_walk *walk, int64_t seq, const char *prev, const char *hash, const char *entry)
{
	char computed[WL_SHA256_HEX];
	if (walk->broken)
		return false;
	if (seq != walk->seq + 1)
		return break_here(walk, "is missing");
	if (strcmp(prev, walk->hash) != 0)
		return break_here(walk, "does not build on the one before it");
	if (wl_audit_hash(prev, entry, computed) < 0)
		return break_here(walk, "could not be computed for lack of memory");
	if (strcmp(computed, hash) != 0)
		return break_here(walk, "was changed: its hash is another");
	walk->seq = seq;
	(void)snprintf(walk->hash, sizeof(walk->hash), "%s", hash);
	return true;
}
