/* Inputs as the commands that start something take them. */
#ifndef WL_CLI_RUN_H
#define WL_CLI_RUN_H

#include "cli/session.h"

/* Put all --input and --input-json options into `inputs`, typed by `schema` (may be NULL). */
int cli_inputs_given(const struct cli_arguments *arguments, const struct wl_json *schema, struct wl_json *inputs,
		     struct wl_error *err);

#endif
