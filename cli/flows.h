/* Flows of the server: found by id or name, made or changed from a file. */
#ifndef WL_CLI_FLOWS_H
#define WL_CLI_FLOWS_H

#include "cli/session.h"

enum cli_applied { CLI_CREATED, CLI_UPDATED, CLI_UNCHANGED };

/*
 * The flow with that id, or the only one of that name that is not archived: *ret_flow is its object with the document.
 * -EREMOTEIO when there is none, or more than one.
 */
int cli_flow_find(struct cli *cli, const char *id_or_name, struct wl_json **ret_flow, struct wl_error *err);

/* Make the flow, or change the one of its name; *ret_flow as the server has it now. A lost race is tried again. */
int cli_flow_apply(struct cli *cli, const struct wl_json *flow, struct wl_json **ret_flow, enum cli_applied *ret_how,
		   struct wl_error *err);

/* Publish the draft; *ret_version is its number. */
int cli_flow_publish(struct cli *cli, const char *id, const char *note, long *ret_version, struct wl_error *err);

#endif
