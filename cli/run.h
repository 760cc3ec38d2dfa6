/* Inputs as the commands that start something take them. */
#ifndef WL_CLI_RUN_H
#define WL_CLI_RUN_H

#include "cli/session.h"
#include "lib/base/ids.h"

/* Put all --input and --input-json options into `inputs`, typed by `schema` (may be NULL). */
int cli_inputs_given(const struct cli_arguments *arguments, const struct wl_json *schema, struct wl_json *inputs,
		     struct wl_error *err);

/*
 * Follow an execution to its end: progress on standard error and the outputs on standard output, or each event as JSON;
 * --get and --cancel-on-interrupt as in windlass run. The exit code tells how it ended.
 */
int cli_run_follow(struct cli *cli, const struct cli_arguments *arguments, const char *id, struct wl_error *err);

/* Print the id of an execution that was accepted. */
int cli_run_accepted(const struct cli *cli, const char *id, struct wl_error *err);

/* POST `body` to /flows/{flow_id}/execute. `id` gets the execution's. */
int cli_run_execute(struct cli *cli, const char *flow_id, const struct wl_json *body, char id[WL_UUID_TEXT],
		    struct wl_error *err);

#endif
