/* Executions and their nodes as the API shows them. */
#ifndef WL_WEBAPP_EXECUTION_ANSWERS_H
#define WL_WEBAPP_EXECUTION_ANSWERS_H

#include "lib/base/buffer.h"
#include "lib/ports/node_results.h"
#include "webapp/server/postgres_async.h"

#define EXECUTION_COLUMNS 13 /* of SQL_EXECUTION_COLUMNS; more may follow */

/* Append the members of a row of SQL_EXECUTION_COLUMNS, with the opening and without the closing brace. */
void web_execution_begin(struct wl_buffer *body, const struct pg_job *job, int step, int row);

/* Append "nodes":[...] and "logs":[...] of committed node results, and of nodes that wait while the run does. */
void web_execution_nodes(struct wl_buffer *body, struct wl_node_result *results, int count, bool running);

#endif
