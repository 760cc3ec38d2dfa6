/*
 * The credentials of one call of a tool: opened for it, put into its request, taken out of what came back, and wiped.
 */
#ifndef WL_SUPERVISOR_NODES_TOOL_SECRETS_H
#define WL_SUPERVISOR_NODES_TOOL_SECRETS_H

#include "lib/secrets/seal.h"
#include "supervisor/nodes/tool_request.h"

#define TOOL_SECRET_FORMS 8
#define TOOL_SECRET_LEAST 4 /* bytes; shorter ones are not looked for: they are in everything */

/* What an answer must not hold: the credentials, as they are and as they were sent. */
struct tool_secrets {
	char *forms[TOOL_SECRET_FORMS];
	int count;
};

/*
 * Open the credentials of `row` (see lib/ports/tool_source.h) and put them into the request as its
 * execution_config.auth says; nothing happens when it says none. `tool_id` in lower case. 0; -ENOEXEC: they are missing
 * or of no use (the sentence tells which); -EACCES: they cannot be opened; -ENOMEM.
 */
int tool_secrets_apply(const struct wl_master_key *keys, const char *tool_id, const struct wl_json *row,
		       struct tool_request *request, struct tool_secrets *secrets, struct wl_error *err);
/*
 * Replace each secret in the strings and keys of a JSON text by "***". *json may be NULL, and is replaced when there
 * was one. 0 or -ENOMEM; then *json is as it was.
 */
int tool_secrets_redact(const struct tool_secrets *secrets, char **json);
/* Wipe and free them. */
void tool_secrets_release(struct tool_secrets *secrets);
#define _tool_secrets_ __attribute__((cleanup(tool_secrets_release)))

#endif
