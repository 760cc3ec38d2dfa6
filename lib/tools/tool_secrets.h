/*
 * The credentials of one call of a tool, wherever it is made: what they become in a request, and taking them out of
 * what came back.
 */
#ifndef WL_TOOLS_TOOL_SECRETS_H
#define WL_TOOLS_TOOL_SECRETS_H

#include "lib/base/buffer.h"
#include "lib/base/error.h"
#include "lib/codec/json.h"

#define TOOL_SECRET_FORMS 8
#define TOOL_SECRET_LEAST 4 /* bytes; shorter ones are not looked for: they are in everything */

/* What an answer must not hold: the credentials, as they are and as they were sent. */
struct tool_secrets {
	char *forms[TOOL_SECRET_FORMS];
	int count;
};

enum tool_credential_place { TOOL_CREDENTIAL_HEADER, TOOL_CREDENTIAL_QUERY, TOOL_CREDENTIAL_COOKIE };

/* What is to be put into a request. */
struct tool_credential {
	enum tool_credential_place place;
	const char *name;	/* of the header; the configuration's, or a literal */
	struct wl_buffer value; /* of the header; else "name=value", encoded */
};

/*
 * Make it of an execution_config.auth that is not of type none, and of the credentials in the open, whose forms are
 * kept in `secrets`. 0; -ENOEXEC: they are of no use (the sentence tells why); -ENOMEM. The caller releases it in any
 * case.
 */
int tool_credential_make(const struct wl_json *auth, const struct wl_json *credentials,
			 struct tool_credential *ret_credential, struct tool_secrets *secrets, struct wl_error *err);
void tool_credential_release(struct tool_credential *credential);
#define _tool_credential_ __attribute__((cleanup(tool_credential_release)))

/*
 * Replace each secret in the strings and keys of a JSON text by "***". *json may be NULL, and is replaced when there
 * was one. 0 or -ENOMEM; then *json is as it was.
 */
int tool_secrets_redact(const struct tool_secrets *secrets, char **json);
/* The text with each secret replaced by "***", allocated; NULL without memory. */
char *tool_secrets_mask(const struct tool_secrets *secrets, const char *text);
/* Wipe and free them. */
void tool_secrets_release(struct tool_secrets *secrets);
#define _tool_secrets_ __attribute__((cleanup(tool_secrets_release)))

#endif
