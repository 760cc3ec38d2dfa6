#include "webapp/server/flow_answers.h"

#include "webapp/server/request.h"

#include <string.h>

/* The members of a document's text go on behind those that are there: the stored text is the shape that is answered. */
static void put_document(struct wl_buffer *body, const char *document)
{
	if (document && document[0] == '{' && document[1] != '}') {
		wl_buffer_append_char(body, ',');
		wl_buffer_append_text(body, document + 1);
	} else {
		wl_buffer_append_char(body, '}');
	}
}

void web_flow_write(struct wl_buffer *body, const struct pg_job *job, int step, int row, const char *document)
{
	wl_buffer_append_char(body, '{');
	web_member_text(body, "id", pg_text(job, step, row, 0));
	web_member_text(body, "name", pg_text(job, step, row, 1));
	web_member_text(body, "description", pg_text(job, step, row, 2));
	web_member_text(body, "status", pg_text(job, step, row, 3));
	web_member_raw(body, "rev", pg_text(job, step, row, 4));
	web_member_raw(body, "version", pg_text(job, step, row, 5));
	web_member_text(body, "created_by", pg_text(job, step, row, 6));
	web_member_text(body, "created_at", pg_text(job, step, row, 7));
	web_member_text(body, "updated_at", pg_text(job, step, row, 8));
	put_document(body, document);
}

void web_page_write(struct wl_buffer *body, int64_t total, int64_t page, int64_t limit)
{
	wl_buffer_appendf(body, ",\"total\":%lld,\"page_info\":{\"page\":%lld,\"limit\":%lld,\"pages\":%lld}",
			  (long long)total, (long long)page, (long long)limit,
			  (long long)((total + limit - 1) / limit));
}
