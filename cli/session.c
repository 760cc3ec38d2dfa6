#include "cli/session.h"

#include "cli/core/outcome.h"
#include "lib/base/cleanup.h"

#include <errno.h>
#include <string.h>

#define LOCAL_URL "http://127.0.0.1:8080"

void cli_answer_release(struct cli_answer *answer)
{
	wl_json_free(answer->json);
}

void cli_release(struct cli *cli)
{
	cli_http_close(cli->http);
	wl_json_free(cli->problem);
	cli_login_wipe(&cli->login);
}

static int load_login(struct cli *cli, const char *wanted, struct wl_error *err)
{
	char url[CLI_URL_MAX];
	if (wanted && cli_url_normalise(wanted, url, err) < 0)
		return -err->code;
	int result = cli_credentials_load(wanted ? url : NULL, &cli->login, err);
	if (result == 0 && *cli->login.url)
		return 0;
	if (result < 0 && result != -ENOENT)
		return result;
	memset(&cli->login, 0, sizeof(cli->login));
	(void)snprintf(cli->login.url, sizeof(cli->login.url), "%s", wanted ? url : LOCAL_URL);
	return 0;
}

int cli_connect(struct cli *cli, const struct cli_arguments *arguments, struct wl_error *err)
{
	const char *environment = getenv("WINDLASS_URL"), *token = getenv("WINDLASS_TOKEN");
	if (environment && !*environment)
		environment = NULL;
	if (load_login(cli, cli_value(arguments, "url", environment), err) < 0)
		return -err->code;
	if (token && *token) {
		if (strlen(token) >= CLI_TOKEN_MAX || strpbrk(token, "\r\n"))
			return wl_fail(err, EINVAL, "WINDLASS_TOKEN is no token");
		strcpy(cli->login.access_token, token);
		cli->login.refresh_token[0] = '\0';
		cli->token_given = true;
	}
	if (!cli_url_is_loopback(cli->login.url) && strncmp(cli->login.url, "https:", 6) != 0)
		(void)fprintf(stderr, "windlass: warning: what is sent to %s is not encrypted\n", cli->login.url);
	return cli_http_open(cli->login.url, &cli->http, err);
}

int cli_need_token(const struct cli *cli, struct wl_error *err)
{
	if (*cli->login.access_token)
		return 0;
	return wl_fail(err, EACCES, "not logged in to %s: use windlass login, or windlass register for a new tenant",
		       cli->login.url);
}

static bool token_is_plain(const char *token)
{
	return token && *token &&
	       token[strspn(token, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~+/=")] == '\0';
}

int cli_take_tokens(struct cli_login *login, const struct wl_json *answer, struct wl_error *err)
{
	const char *access = wl_json_get_string(answer, "access_token", NULL);
	const char *refresh = wl_json_get_string(answer, "refresh_token", NULL);
	if (!token_is_plain(access) || !token_is_plain(refresh) || strlen(access) >= sizeof(login->access_token) ||
	    strlen(refresh) >= sizeof(login->refresh_token))
		return wl_fail(err, EPROTO, "%s answered without tokens", login->url);
	strcpy(login->access_token, access);
	strcpy(login->refresh_token, refresh);
	return 0;
}

int cli_refused(struct cli *cli, const struct cli_response *response, struct wl_error *err)
{
	wl_json_free(cli->problem);
	cli->problem = NULL;
	int code = cli_errno_of_http(response->status);
	const char *text = response->body.data ? response->body.data : "";
	if (wl_json_parse(text, response->body.length, &cli->problem, NULL) < 0 ||
	    !wl_json_get_string(cli->problem, "detail", NULL))
		return wl_fail(err, code, "%s answered with status %ld", cli->login.url, response->status);
	char retry[64] = "";
	if (response->retry_after_s > 0)
		(void)snprintf(retry, sizeof(retry), "; try again in %d s", response->retry_after_s);
	return wl_fail(err, code, "%s%s", wl_json_get_string(cli->problem, "detail", ""), retry);
}

static int send_call(struct cli *cli, const struct cli_call *call, struct cli_response *response, struct wl_error *err)
{
	_wl_buffer_ struct wl_buffer path;
	_wl_buffer_ struct wl_buffer body;
	wl_buffer_init(&path, 8 << 10);
	wl_buffer_init(&body, 0);
	(void)wl_buffer_appendf(&path, "/api/v1%s", call->path);
	if (call->body)
		(void)wl_json_write(&body, call->body);
	if (path.failed || body.failed)
		return wl_fail(err, path.failed ? path.failed : body.failed, "the request is too long");
	struct cli_request request = {
		.method = call->method,
		.path = path.data,
		.body = call->body ? body.data : NULL,
		.token = call->anonymous ? NULL : cli->login.access_token,
		.headers = { call->header },
	};
	return cli_http_send(cli->http, &request, response, err);
}

/* Call /auth/refresh with the token in `login`. */
static int exchange(struct cli *cli, struct cli_login *login, struct wl_error *err)
{
	_wl_json_ struct wl_json *body = wl_json_object();
	if (!body || wl_json_set_string(body, "refresh_token", login->refresh_token) < 0)
		return wl_fail(err, ENOMEM, "no memory for a request");
	struct cli_call call = { .method = "POST", .path = "/auth/refresh", .body = body, .anonymous = true };
	_cli_response_ struct cli_response response = { 0 };
	if (send_call(cli, &call, &response, err) < 0)
		return -err->code;
	if (response.status != 200) {
		(void)cli_refused(cli, &response, err);
		return response.status == 401
			       ? wl_fail(err, EACCES, "the login at %s has ended: use windlass login", login->url)
			       : -err->code;
	}
	_wl_json_ struct wl_json *answer = NULL;
	if (wl_json_parse(response.body.data, response.body.length, &answer, err) < 0)
		return wl_fail(err, EPROTO, "%s answered with no JSON", login->url);
	return cli_take_tokens(login, answer, err);
}

int cli_refresh(struct cli *cli, struct wl_error *err)
{
	if (cli->token_given || !*cli->login.refresh_token)
		return wl_fail(err, EACCES, "%s does not accept the token%s", cli->login.url,
			       cli->token_given ? " in WINDLASS_TOKEN" : ": use windlass login");
	_wl_close_ int lock = cli_credentials_lock(err);
	if (lock < 0)
		return -err->code;
	_cli_login_ struct cli_login stored = { 0 };
	if (cli_credentials_load(cli->login.url, &stored, err) < 0)
		return wl_fail(err, EACCES, "the login at %s was ended by another windlass", cli->login.url);
	if (strcmp(stored.access_token, cli->login.access_token) == 0) {
		if (exchange(cli, &stored, err) < 0 || cli_credentials_save(&stored, err) < 0)
			return -err->code;
	}
	cli->login = stored; /* made here, or by a process that held the lock before us */
	return 0;
}

/* A 2xx, whatever its body is. */
static int call_raw(struct cli *cli, const struct cli_call *call, struct cli_response *response, struct wl_error *err)
{
	if (!call->anonymous && cli_need_token(cli, err) < 0)
		return -err->code;
	if (send_call(cli, call, response, err) < 0)
		return -err->code;
	if (response->status == 401 && !call->anonymous) {
		if (cli_refresh(cli, err) < 0)
			return -err->code;
		cli_response_release(response);
		if (send_call(cli, call, response, err) < 0)
			return -err->code;
	}
	return response->status < 200 || response->status > 299 ? cli_refused(cli, response, err) : 0;
}

int cli_call(struct cli *cli, const struct cli_call *call, struct cli_answer *ret_answer, struct wl_error *err)
{
	*ret_answer = (struct cli_answer){ 0 };
	_cli_response_ struct cli_response response = { 0 };
	if (call_raw(cli, call, &response, err) < 0)
		return -err->code;
	if (response.body.length && wl_json_parse(response.body.data, response.body.length, &ret_answer->json, err) < 0)
		return wl_fail(err, EPROTO, "%s answered with no JSON", cli->login.url);
	memcpy(ret_answer->etag, response.etag, sizeof(ret_answer->etag));
	ret_answer->status = response.status;
	return 0;
}

int cli_get_raw(struct cli *cli, const char *path, const char *header, struct cli_response *ret_response,
		struct wl_error *err)
{
	struct cli_call call = { .method = "GET", .path = path, .header = header };
	return call_raw(cli, &call, ret_response, err);
}

int cli_get(struct cli *cli, const char *path, struct wl_json **ret_json, struct wl_error *err)
{
	struct cli_call call = { .method = "GET", .path = path };
	struct cli_answer answer = { 0 };
	if (cli_call(cli, &call, &answer, err) < 0)
		return -err->code;
	if (!answer.json)
		return wl_fail(err, EPROTO, "%s answered with nothing", cli->login.url);
	*ret_json = answer.json;
	return 0;
}
