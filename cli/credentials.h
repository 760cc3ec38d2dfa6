/*
 * Logins kept between calls: $XDG_CONFIG_HOME/windlass/credentials.json (else ~/.config), readable by its owner only,
 * written beside and renamed. One login a server; a token is only ever sent to the server it came from.
 */
#ifndef WL_CLI_CREDENTIALS_H
#define WL_CLI_CREDENTIALS_H

#include "lib/base/error.h"

#define CLI_TOKEN_MAX 8192

struct cli_login {
	char url[1024];
	char email[328];
	char tenant[72]; /* its slug */
	char role[24];	 /* "" when the server did not tell */
	char access_token[CLI_TOKEN_MAX];
	char refresh_token[256];
};

/*
 * Only one process at a time may change the file or use up a refresh token: a token that is shown twice ends the login.
 * Returns a descriptor to close, or -errno.
 */
int cli_credentials_lock(struct wl_error *err);

/* The login of `url`, or with NULL the one made last. -ENOENT when there is none; -EINVAL for a damaged file. */
int cli_credentials_load(const char *url, struct cli_login *login, struct wl_error *err);

/* Keep a login and make it the last one. The caller holds the lock. */
int cli_credentials_save(const struct cli_login *login, struct wl_error *err);

/* Forget the login of `url`. The caller holds the lock. */
int cli_credentials_forget(const char *url, struct wl_error *err);

/* Overwrite the secrets. */
void cli_login_wipe(struct cli_login *login);
#define _cli_login_ __attribute__((cleanup(cli_login_wipe)))

#endif
