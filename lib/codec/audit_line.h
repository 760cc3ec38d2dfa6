/* Entries of the audit log as lines of an export, and which of them somebody asks for. */
#ifndef WL_CODEC_AUDIT_LINE_H
#define WL_CODEC_AUDIT_LINE_H

#include "lib/codec/json.h"

#include <stdint.h>

/* NULL or "": any. Times are in the form that entries have theirs in, so that texts can be compared. */
struct wl_audit_filter {
	const char *from; /* at or after */
	const char *to;	  /* before */
	const char *action, *user, *type, *resource;
};

/* Whether the filter asks for anything. */
bool wl_audit_filter_asks(const struct wl_audit_filter *filter);
/* Whether an entry, parsed, is asked for. */
bool wl_audit_filter_fits(const struct wl_audit_filter *filter, const struct wl_json *entry);

/*
 * Append {"seq","prev","hash","entry"} and a line's end. The entry stands in it as text, so that a reader hashes the
 * very bytes. buffer->failed tells whether memory sufficed.
 */
void wl_audit_line_write(struct wl_buffer *buffer, int64_t seq, const char *prev, const char *hash,
			 const char *entry_json);

#endif
