/* Watching an execution until its end. */
#ifndef WL_CLI_FOLLOW_H
#define WL_CLI_FOLLOW_H

#include "cli/session.h"
#include "lib/base/ids.h"

#include <stdio.h>

enum cli_follow_show {
	CLI_SHOW_PROGRESS, /* states and log lines on standard error */
	CLI_SHOW_LOGS,	   /* log lines on standard output */
	CLI_SHOW_JSON	   /* each event as one line of JSON on standard output */
};

struct cli_follow_plan {
	char execution[WL_UUID_TEXT];
	enum cli_follow_show show;
	const char *node; /* only this node's log lines, or NULL */
	bool cancel_on_interrupt;
};

struct cli_follow_end {
	char status[32];
	struct wl_json *outputs; /* NULL when it has none */
	struct wl_json *error;
};

void cli_follow_end_release(struct cli_follow_end *end);
#define _cli_follow_end_ __attribute__((cleanup(cli_follow_end_release)))

/*
 * Show what happens until the execution has ended. A lost connection is made again, from the last event on. Ctrl-C
 * leaves the execution to itself: -EINTR with how to come back; with cancel_on_interrupt the first Ctrl-C asks for its
 * end, the second leaves. -EHOSTDOWN when the server stayed away.
 */
int cli_follow(struct cli *cli, const struct cli_follow_plan *plan, struct cli_follow_end *ret_end,
	       struct wl_error *err);

/* GET /executions/{id}. */
int cli_execution_read(struct cli *cli, const char *id, struct wl_json **ret_answer, struct wl_error *err);

/* POST /executions/{id}/cancel; *ret_status is what the server says, when ret_status is not NULL. */
int cli_execution_cancel(struct cli *cli, const char *id, char ret_status[32], struct wl_error *err);

/* One log line; shown on `out`. */
void cli_print_log(FILE *out, bool colour, const struct wl_json *line);

/* Why an execution or a node failed, with the end of its standard error, on standard error. */
void cli_print_fault(const struct cli *cli, const struct wl_json *fault);

#endif
