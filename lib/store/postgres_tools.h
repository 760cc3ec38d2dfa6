/* The tool source over PostgreSQL: the function control.tool_for_run of specs/sql/0007_resources.sql. */
#ifndef WL_STORE_POSTGRES_TOOLS_H
#define WL_STORE_POSTGRES_TOOLS_H

#include "lib/ports/tool_source.h"

/* Nothing is connected yet. Threads share two connections. 0, -EINVAL, -ENOMEM. */
int wl_postgres_tools_open(const char *url, struct wl_tool_source *ret_source, struct wl_error *err);

#endif
