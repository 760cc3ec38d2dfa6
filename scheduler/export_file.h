/*
 * The file of an export while it is made: rows go in page by page and out to a file that has no name, so that it takes
 * disk and not memory, and is gone whatever becomes of this program.
 */
#ifndef WL_SCHEDULER_EXPORT_FILE_H
#define WL_SCHEDULER_EXPORT_FILE_H

#include "lib/codec/json.h"
#include "lib/ports/audit_log.h"

#include <stdint.h>

enum export_format { EXPORT_JSON, EXPORT_YAML, EXPORT_NDJSON, EXPORT_CSV };
enum export_kind { EXPORT_FLOW, EXPORT_FLOWS, EXPORT_AUDIT_LOG, EXPORT_EXECUTIONS };

struct export_file {
	enum export_kind kind;
	enum export_format format;
	int fd;
	uint64_t size, most; /* bytes */
	int64_t entries;
	struct wl_buffer text; /* not written yet */
};

/*
 * Begin a file in `folder` ("": that of temporary files) which may grow to `most` bytes. kind and format are the words
 * of the API. 0 and the caller's to export_file_close(); -EINVAL for other words; -errno of the folder.
 */
int export_file_open(const char *folder, const char *kind, const char *format, uint64_t most,
		     struct export_file *ret_file, struct wl_error *err);
void export_file_close(struct export_file *file);

/* Append a page of flows ({"name","description","document"}) or executions. 0; -EFBIG over the bound; -errno. */
int export_file_rows(struct export_file *file, const struct wl_json *rows, struct wl_error *err);
/* Append one entry of the audit log; `json` is it parsed, which may be NULL unless the format is CSV. */
int export_file_entry(struct export_file *file, const struct wl_audit_entry *entry, const struct wl_json *json,
		      struct wl_error *err);
/* Write what closes it, and all that is not written yet: then fd has `size` bytes. */
int export_file_end(struct export_file *file, struct wl_error *err);

#endif
