/* Ship the audit log: seal what was committed, put it into the document server, let it go from the outbox. */
#include "lib/base/buffer.h"
#include "lib/base/cleanup.h"
#include "lib/ports/audit_log.h"
#include "scheduler/chores.h"

#include <stdio.h>
#include <string.h>

#define ENTRIES_AT_ONCE 500

static int read_entry(const struct wl_json *row, struct wl_audit_entry *entry, struct wl_error *err)
{
	*entry = (struct wl_audit_entry){ .tenant = (int)wl_json_get_number(row, "tenant", 0),
					  .seq = (int64_t)wl_json_get_number(row, "seq", 0),
					  .entry_json = strdup(wl_json_get_string(row, "entry", "")) };
	(void)snprintf(entry->prev, sizeof(entry->prev), "%s", wl_json_get_string(row, "prev", ""));
	(void)snprintf(entry->hash, sizeof(entry->hash), "%s", wl_json_get_string(row, "hash", ""));
	return entry->entry_json ? 0 : wl_fail(err, ENOMEM, "no memory to ship audit entries");
}

static int put_entries(struct chore_desk *desk, const struct wl_json *rows, struct wl_error *err)
{
	struct wl_audit_log *log;
	int count = (int)wl_json_count(rows), used = 0;
	struct wl_audit_entry *entries = calloc((size_t)count, sizeof(*entries));
	int r = entries ? chore_audit_log(desk, &log, err) : wl_fail(err, ENOMEM, "no memory to ship audit entries");
	for (const struct wl_json *row = wl_json_first(rows); row && r == 0; row = wl_json_next(row))
		r = read_entry(row, &entries[used++], err);
	if (r == 0)
		r = log->put(log->self, entries, count, err);
	if (entries)
		wl_audit_entries_free(entries, used);
	return r;
}

/* {"ids":[...]} of the rows that were put. */
static int let_go(struct chore_desk *desk, const struct wl_json *rows, struct wl_error *err)
{
	_wl_buffer_ struct wl_buffer ids;
	_wl_free_ char *nothing = NULL;
	wl_buffer_init(&ids, 0);
	wl_buffer_append_text(&ids, "{\"ids\":[");
	for (const struct wl_json *row = wl_json_first(rows); row; row = wl_json_next(row))
		wl_buffer_appendf(&ids, "%s%.0f", row == wl_json_first(rows) ? "" : ",",
				  wl_json_get_number(row, "id", 0));
	wl_buffer_append_text(&ids, "]}");
	if (ids.failed)
		return wl_fail(err, ENOMEM, "no memory to ship audit entries");
	return wl_postgres_call(&desk->postgres, "control.audit_shipped", ids.data, &nothing, err);
}

int chore_audit(struct chore_desk *desk, struct wl_error *err)
{
	_wl_free_ char *sealed = NULL;
	_wl_free_ char *text = NULL;
	_wl_json_ struct wl_json *rows = NULL;
	char request[32];
	(void)snprintf(request, sizeof(request), "{\"limit\":%d}", ENTRIES_AT_ONCE);
	int r = wl_postgres_call(&desk->postgres, "control.audit_seal", request, &sealed, err);
	if (r == 0)
		r = wl_postgres_call(&desk->postgres, "control.audit_sealed", request, &text, err);
	if (r == 0)
		r = wl_json_parse(text ? text : "[]", text ? strlen(text) : 2, &rows, err);
	if (r < 0 || wl_json_count(rows) == 0)
		return r;
	r = put_entries(desk, rows, err);
	if (r == 0)
		r = let_go(desk, rows, err);
	return r < 0 ? r : (int)wl_json_count(rows);
}
