/* Putting a stored tool's credentials into its request: opened for it and wiped. */
#ifndef WL_SUPERVISOR_NODES_TOOL_SECRETS_H
#define WL_SUPERVISOR_NODES_TOOL_SECRETS_H

#include "lib/secrets/seal.h"
#include "lib/tools/tool_secrets.h"
#include "supervisor/nodes/tool_request.h"

/*
 * Open the credentials of `row` (see lib/ports/tool_source.h) and put them into the request as its
 * execution_config.auth says; nothing happens when it says none. `tool_id` in lower case. 0; -ENOEXEC: they are missing
 * or of no use (the sentence tells which); -EACCES: they cannot be opened; -ENOMEM.
 */
int tool_secrets_apply(const struct wl_master_key *keys, const char *tool_id, const struct wl_json *row,
		       struct tool_request *request, struct tool_secrets *secrets, struct wl_error *err);
#endif
