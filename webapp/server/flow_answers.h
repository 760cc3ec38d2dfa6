/* Flows as the API shows them, from rows of SQL_FLOW_COLUMNS. */
#ifndef WL_WEBAPP_FLOW_ANSWERS_H
#define WL_WEBAPP_FLOW_ANSWERS_H

#include "lib/base/buffer.h"
#include "webapp/server/postgres_async.h"

#define FLOW_COLUMNS 9 /* of SQL_FLOW_COLUMNS; more may follow */

/* Append a flow as an object; with `document` (JSON text of an object, not empty) its members are put in, too. */
void web_flow_write(struct wl_buffer *body, const struct pg_job *job, int step, int row, const char *document);
/* "page_info" of a list by pages, and its total before it. */
void web_page_write(struct wl_buffer *body, int64_t total, int64_t page, int64_t limit);

#endif
