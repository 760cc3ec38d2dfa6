/* windlass register, login, logout, whoami. A password is never an argument: others could read it in the process list.
 */
#include "cli/commands.h"
#include "cli/core/outcome.h"
#include "cli/files.h"
#include "cli/print.h"
#include "lib/base/cleanup.h"

#include <errno.h>
#include <string.h>

static int need_option(const struct cli_arguments *arguments, const char *name, const char **ret_value,
		       struct wl_error *err)
{
	*ret_value = cli_value(arguments, name, NULL);
	if (*ret_value && **ret_value)
		return 0;
	return wl_fail(err, EINVAL, "%s needs --%s; try: windlass help %s", arguments->command->name, name,
		       arguments->command->name);
}

/* Tokens, and who they are for, into cli->login and the file. */
static int keep_login(struct cli *cli, const struct wl_json *answer, const char *email, const char *tenant,
		      const char *role, struct wl_error *err)
{
	if (cli_take_tokens(&cli->login, answer, err) < 0)
		return -err->code;
	(void)snprintf(cli->login.email, sizeof(cli->login.email), "%.320s", email);
	(void)snprintf(cli->login.tenant, sizeof(cli->login.tenant), "%.64s", tenant);
	(void)snprintf(cli->login.role, sizeof(cli->login.role), "%.20s", role);
	_wl_close_ int lock = cli_credentials_lock(err);
	if (lock < 0 || cli_credentials_save(&cli->login, err) < 0)
		return -err->code;
	return 0;
}

static struct wl_json *login_json(const struct cli_login *login)
{
	_wl_json_ struct wl_json *line = wl_json_object();
	int failed = line ? 0 : -ENOMEM;
	failed |= failed ? 0 : wl_json_set_string(line, "url", login->url);
	failed |= failed ? 0 : wl_json_set_string(line, "email", *login->email ? login->email : NULL);
	failed |= failed ? 0 : wl_json_set_string(line, "tenant", *login->tenant ? login->tenant : NULL);
	failed |= failed ? 0 : wl_json_set_string(line, "role", *login->role ? login->role : NULL);
	return failed ? NULL : wl_steal(line);
}

static int print_login(const struct cli *cli, const char *sentence, struct wl_error *err)
{
	const struct cli_login *login = &cli->login;
	if (cli->json) {
		_wl_json_ struct wl_json *line = login_json(login);
		return line ? cli_print_json(line, false, err) : wl_fail(err, ENOMEM, "no memory for the output");
	}
	(void)printf("%s %s as ", sentence, login->url);
	cli_print_text(stdout, *login->email ? login->email : "the owner of WINDLASS_TOKEN", true);
	if (*login->tenant) {
		(void)fputs(", tenant ", stdout);
		cli_print_text(stdout, login->tenant, true);
	}
	if (*login->role) {
		(void)fputs(", role ", stdout);
		cli_print_text(stdout, login->role, true);
	}
	(void)fputc('\n', stdout);
	return fflush(stdout) == 0 ? 0 : wl_fail(err, EIO, "standard output is closed");
}

static int post(struct cli *cli, const char *path, struct wl_json *body, struct cli_answer *answer,
		struct wl_error *err)
{
	struct cli_call call = { .method = "POST", .path = path, .body = body, .anonymous = true };
	return cli_call(cli, &call, answer, err);
}

/* The body with the password in it; the copy on the stack is wiped. */
static int put_password(const struct cli_arguments *arguments, bool twice, struct wl_json *body, struct wl_error *err)
{
	char password[CLI_PASSWORD_MAX];
	int result = cli_password(cli_value(arguments, "password-file", NULL), twice, password, err);
	if (result == 0 && wl_json_set_string(body, "password", password) < 0)
		result = wl_fail(err, ENOMEM, "no memory for a request");
	explicit_bzero(password, sizeof(password));
	return result;
}

int cli_register(struct cli *cli, const struct cli_arguments *arguments, struct wl_error *err)
{
	const char *email, *tenant;
	if (need_option(arguments, "tenant", &tenant, err) < 0 || need_option(arguments, "email", &email, err) < 0 ||
	    cli_connect(cli, arguments, err) < 0)
		return -err->code;
	_wl_json_ struct wl_json *body = wl_json_object();
	if (!body || wl_json_set_string(body, "email", email) < 0 ||
	    wl_json_set_string(body, "tenant_slug", tenant) < 0 ||
	    wl_json_set_string(body, "tenant_name", cli_value(arguments, "tenant-name", tenant)) < 0)
		return wl_fail(err, ENOMEM, "no memory for a request");
	_cli_answer_ struct cli_answer answer = { 0 };
	if (put_password(arguments, true, body, err) < 0 || post(cli, "/auth/register", body, &answer, err) < 0 ||
	    keep_login(cli, answer.json, email, tenant, "admin", err) < 0)
		return -err->code;
	return print_login(cli, "registered and logged in to", err);
}

int cli_login_command(struct cli *cli, const struct cli_arguments *arguments, struct wl_error *err)
{
	const char *email, *tenant = cli_value(arguments, "tenant", NULL);
	if (need_option(arguments, "email", &email, err) < 0 || cli_connect(cli, arguments, err) < 0)
		return -err->code;
	_wl_json_ struct wl_json *body = wl_json_object();
	if (!body || wl_json_set_string(body, "email", email) < 0 ||
	    (tenant && wl_json_set_string(body, "tenant_slug", tenant) < 0))
		return wl_fail(err, ENOMEM, "no memory for a request");
	_cli_answer_ struct cli_answer answer = { 0 };
	if (put_password(arguments, false, body, err) < 0 || post(cli, "/auth/login", body, &answer, err) < 0)
		return -err->code;
	const struct wl_json *user = wl_json_get(answer.json, "user");
	if (keep_login(cli, answer.json, wl_json_get_string(user, "email", email),
		       wl_json_get_string(wl_json_get(answer.json, "tenant"), "slug", tenant ? tenant : ""),
		       wl_json_get_string(user, "role", ""), err) < 0)
		return -err->code;
	return print_login(cli, "logged in to", err);
}

int cli_logout(struct cli *cli, const struct cli_arguments *arguments, struct wl_error *err)
{
	if (cli_connect(cli, arguments, err) < 0)
		return -err->code;
	if (cli->token_given || !*cli->login.refresh_token)
		return wl_fail(err, EACCES, "there is no login at %s to end", cli->login.url);
	_wl_json_ struct wl_json *body = wl_json_object();
	if (!body || wl_json_set_string(body, "refresh_token", cli->login.refresh_token) < 0)
		return wl_fail(err, ENOMEM, "no memory for a request");
	_cli_answer_ struct cli_answer answer = { 0 };
	int result = post(cli, "/auth/logout", body, &answer, err);
	struct wl_error forget_error;
	_wl_close_ int lock = cli_credentials_lock(&forget_error);
	if (lock < 0 || cli_credentials_forget(cli->login.url, &forget_error) < 0)
		return wl_fail(err, forget_error.code, "%s", forget_error.text);
	if (result < 0)
		return wl_fail_within(err, "forgotten here, but the server was not told");
	return print_login(cli, "logged out of", err);
}

int cli_whoami(struct cli *cli, const struct cli_arguments *arguments, struct wl_error *err)
{
	_wl_json_ struct wl_json *answer = NULL;
	if (cli_connect(cli, arguments, err) < 0 || cli_get(cli, "/auth/me", &answer, err) < 0)
		return -err->code;
	/* what the server says, not what was so at the login; an API key shows its owner, and its own role */
	(void)snprintf(cli->login.email, sizeof(cli->login.email), "%.320s",
		       wl_json_get_string(wl_json_get(answer, "user"), "email", ""));
	(void)snprintf(cli->login.tenant, sizeof(cli->login.tenant), "%.64s",
		       wl_json_get_string(wl_json_get(answer, "tenant"), "slug", ""));
	(void)snprintf(cli->login.role, sizeof(cli->login.role), "%.20s", wl_json_get_string(answer, "role", ""));
	return print_login(cli, "logged in to", err);
}
