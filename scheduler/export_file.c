#include "scheduler/export_file.h"

#include "lib/base/cleanup.h"
#include "lib/codec/audit_line.h"
#include "lib/codec/csv.h"
#include "lib/codec/flow_export.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FLUSH_BYTES (1u << 20)

static const char *const kinds[] = { "flow", "flows", "audit_log", "executions" };
static const char *const formats[] = { "json", "yaml", "ndjson", "csv" };
static const char *const audit_columns[] = { "seq",	    "time",	"action",     "resource_type",
					     "resource_id", "user_id",	"api_key_id", "ip",
					     "request_id",  "metadata", NULL };
static const char *const execution_columns[] = { "id",	       "flow_id",    "version",	 "status",   "created_by",
						 "created_at", "start_time", "end_time", "deadline", "labels",
						 "source",     "source_id",  "error",	 NULL };

/* ---- the file -----------------------------------------------------------------------------------------------------
 */

static int place_of(const char *word, const char *const *words, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (strcmp(word, words[i]) == 0)
			return (int)i;
	return -1;
}

/* A file without a name: with its last descriptor it is gone. */
static int open_nameless(const char *folder, struct wl_error *err)
{
	const char *temporary = getenv("TMPDIR");
	char path[4096];
	if (!*folder)
		folder = temporary && *temporary ? temporary : "/tmp";
	if (snprintf(path, sizeof(path), "%s/windlass-export-XXXXXX", folder) >= (int)sizeof(path))
		return wl_fail(err, ENAMETOOLONG, "the path of the folder for exports is too long");
	int fd = mkostemp(path, O_CLOEXEC);
	if (fd < 0)
		return wl_fail_errno(err, errno, "make a file in %.200s", folder);
	(void)unlink(path);
	return fd;
}

static int flush(struct export_file *file, struct wl_error *err)
{
	const char *at = file->text.data;
	size_t left = file->text.length;
	if (file->text.failed)
		return wl_fail(err, file->text.failed, "no memory for an export");
	if (file->size + left > file->most)
		return wl_fail(err, EFBIG, "the export is larger than %llu MiB, which is as large as one may be",
			       (unsigned long long)(file->most >> 20));
	while (left > 0) {
		ssize_t wrote = write(file->fd, at, left);
		if (wrote < 0 && errno != EINTR)
			return wl_fail_errno(err, errno, "write an export");
		at += wrote > 0 ? wrote : 0;
		left -= wrote > 0 ? (size_t)wrote : 0;
	}
	file->size += file->text.length;
	wl_buffer_clear(&file->text);
	return 0;
}

static int flush_large(struct export_file *file, struct wl_error *err)
{
	return file->text.failed || file->text.length >= FLUSH_BYTES ? flush(file, err) : 0;
}

int export_file_open(const char *folder, const char *kind, const char *format, uint64_t most,
		     struct export_file *ret_file, struct wl_error *err)
{
	int kind_place = place_of(kind, kinds, WL_COUNT_OF(kinds));
	int format_place = place_of(format, formats, WL_COUNT_OF(formats));
	if (kind_place < 0 || format_place < 0)
		return wl_fail(err, EINVAL, "there is no export of '%.40s' as '%.40s'", kind, format);
	struct export_file file = { .kind = (enum export_kind)kind_place,
				    .format = (enum export_format)format_place,
				    .most = most };
	file.fd = open_nameless(folder, err);
	if (file.fd < 0)
		return -err->code;
	wl_buffer_init(&file.text, 0);
	if (file.format == EXPORT_CSV)
		wl_csv_heading(&file.text, file.kind == EXPORT_AUDIT_LOG ? audit_columns : execution_columns);
	*ret_file = file;
	return 0;
}

void export_file_close(struct export_file *file)
{
	if (file->fd >= 0)
		(void)close(file->fd);
	file->fd = -1;
	wl_buffer_release(&file->text);
}

/* ---- rows ---------------------------------------------------------------------------------------------------------
 */

/* Members in the order of a flow's file, on one line. */
static int put_flow_line(struct wl_buffer *out, const struct wl_buffer *pretty, struct wl_error *err)
{
	_wl_json_ struct wl_json *flow = NULL;
	if (wl_json_parse_deep(pretty->data, pretty->length, WL_JSON_DEPTH + 8, &flow, err) < 0)
		return -err->code;
	(void)wl_json_write(out, flow);
	(void)wl_buffer_append_char(out, '\n');
	return 0;
}

static int put_flow(struct export_file *file, const struct wl_json *row, struct wl_error *err)
{
	_wl_buffer_ struct wl_buffer text;
	enum wl_flow_format format = file->format == EXPORT_YAML ? WL_FLOW_YAML : WL_FLOW_JSON;
	wl_buffer_init(&text, 0);
	if (wl_flow_export(wl_json_get_string(row, "name", ""), wl_json_get_string(row, "description", ""),
			   wl_json_get(row, "document"), format, &text, err) < 0)
		return -err->code;
	if (file->format == EXPORT_NDJSON)
		return put_flow_line(&file->text, &text, err);
	if (file->kind == EXPORT_FLOWS && file->format == EXPORT_JSON)
		(void)wl_buffer_append_text(&file->text, file->entries ? ",\n" : "[\n");
	else if (file->kind == EXPORT_FLOWS)
		(void)wl_buffer_append_text(&file->text, file->entries ? "---\n" : "");
	(void)wl_buffer_append(&file->text, text.data, text.length);
	return 0;
}

static int put_row(struct export_file *file, const struct wl_json *row, struct wl_error *err)
{
	if (file->kind == EXPORT_FLOW || file->kind == EXPORT_FLOWS)
		return put_flow(file, row, err);
	if (file->format == EXPORT_CSV) {
		wl_csv_row(&file->text, row, execution_columns);
		return 0;
	}
	(void)wl_json_write(&file->text, row);
	(void)wl_buffer_append_char(&file->text, '\n');
	return 0;
}

int export_file_rows(struct export_file *file, const struct wl_json *rows, struct wl_error *err)
{
	for (const struct wl_json *row = wl_json_first(rows); row; row = wl_json_next(row)) {
		if (put_row(file, row, err) < 0 || flush_large(file, err) < 0)
			return -err->code;
		file->entries++;
	}
	return 0;
}

int export_file_entry(struct export_file *file, const struct wl_audit_entry *entry, const struct wl_json *json,
		      struct wl_error *err)
{
	if (file->format == EXPORT_CSV)
		wl_csv_row(&file->text, json, audit_columns);
	else
		wl_audit_line_write(&file->text, entry->seq, entry->prev, entry->hash, entry->entry_json);
	file->entries++;
	return flush_large(file, err);
}

int export_file_end(struct export_file *file, struct wl_error *err)
{
	if (file->kind == EXPORT_FLOWS && file->format == EXPORT_JSON)
		(void)wl_buffer_append_text(&file->text, file->entries ? "]\n" : "[]\n");
	return flush(file, err);
}
