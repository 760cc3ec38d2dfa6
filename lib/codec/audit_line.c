#include "lib/codec/audit_line.h"

#include <inttypes.h>
#include <string.h>

static bool is_set(const char *wanted)
{
	return wanted && *wanted;
}

static bool is_asked_for(const char *wanted, const struct wl_json *entry, const char *member)
{
	return !is_set(wanted) || strcmp(wanted, wl_json_get_string(entry, member, "")) == 0;
}

bool wl_audit_filter_asks(const struct wl_audit_filter *filter)
{
	return is_set(filter->from) || is_set(filter->to) || is_set(filter->action) || is_set(filter->user) ||
	       is_set(filter->type) || is_set(filter->resource);
}

bool wl_audit_filter_fits(const struct wl_audit_filter *filter, const struct wl_json *entry)
{
	const char *time = wl_json_get_string(entry, "time", "");
	return is_asked_for(filter->action, entry, "action") && is_asked_for(filter->user, entry, "user_id") &&
	       is_asked_for(filter->type, entry, "resource_type") &&
	       is_asked_for(filter->resource, entry, "resource_id") &&
	       (!is_set(filter->from) || strcmp(time, filter->from) >= 0) &&
	       (!is_set(filter->to) || strcmp(time, filter->to) < 0);
}

static void put_member(struct wl_buffer *buffer, const char *name, const char *text)
{
	(void)wl_buffer_appendf(buffer, ",\"%s\":", name);
	(void)wl_buffer_append_json_string(buffer, text, strlen(text));
}

void wl_audit_line_write(struct wl_buffer *buffer, int64_t seq, const char *prev, const char *hash,
			 const char *entry_json)
{
	(void)wl_buffer_appendf(buffer, "{\"seq\":%" PRId64, seq);
	put_member(buffer, "prev", prev);
	put_member(buffer, "hash", hash);
	put_member(buffer, "entry", entry_json);
	(void)wl_buffer_append_text(buffer, "}\n");
}
