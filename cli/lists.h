/* Lists of the server, read page by page. */
#ifndef WL_CLI_LISTS_H
#define WL_CLI_LISTS_H

#include "cli/session.h"

#define CLI_LIST_MOST 10000

/* What a list needs besides its path: how its pages follow each other. */
struct cli_list_plan {
	const char *path;   /* with a question mark and the filters, each with & behind it */
	const char *member; /* name of the list in the answer */
	long limit;
	bool by_cursor;
};

/* Up to plan->limit rows of all pages; *ret_rows is an array. */
int cli_list_read(struct cli *cli, const struct cli_list_plan *plan, struct wl_json **ret_rows, struct wl_error *err);

/* Print rows as JSON under their name; takes them over. */
int cli_list_print_json(const char *member, struct wl_json *rows, struct wl_error *err);

/* -EINVAL with what helps when it is not the id of an execution. */
int cli_need_execution_id(const char *id, struct wl_error *err);

#endif
