#include "webapp/server/tool_mcp_ask.h"

#include "lib/base/cleanup.h"
#include "lib/mcp/answer.h"
#include "lib/mcp/http.h"
#include "lib/tools/tool_secrets.h"
#include "webapp/server/resource_trial.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define ASK_MS 10000
#define HOSTS_MOST 100
#define HEADERS_MOST 102 /* 100 of the tool's, and its credential */

/* What is sent with each request. */
struct asking {
	struct wl_buffer url, cookie;
	struct wl_http_header headers[HEADERS_MOST];
	size_t header_count;
	const char *hosts[HOSTS_MOST];
	size_t host_count;
	struct tool_credential credential;
	struct tool_secrets secrets;
};

static void release(struct asking *asking)
{
	if (asking->url.data)
		explicit_bzero(asking->url.data, asking->url.length);
	wl_buffer_release(&asking->url);
	wl_buffer_release(&asking->cookie);
	tool_credential_release(&asking->credential);
	tool_secrets_release(&asking->secrets);
}
#define _asking_ __attribute__((cleanup(release)))

/* Put the credential where it belongs. */
static int place_credential(struct asking *asking)
{
	const struct tool_credential *credential = &asking->credential;
	const char *value = credential->value.data;
	if (credential->place == TOOL_CREDENTIAL_QUERY)
		return wl_buffer_appendf(&asking->url, "%c%s", strchr(asking->url.data, '?') ? '&' : '?', value);
	bool cookie = credential->place == TOOL_CREDENTIAL_COOKIE;
	asking->headers[asking->header_count++] =
		(struct wl_http_header){ cookie ? "Cookie" : credential->name, value };
	return 0;
}

static int prepare(const struct wl_json *config, const struct wl_json *credentials, struct asking *asking,
		   struct wl_error *err)
{
	const struct wl_json *auth = wl_json_get(config, "auth");
	const char *url = wl_json_get_string(config, "url", "");
	bool secret = strcmp(wl_json_get_string(auth, "type", "none"), "none") != 0;
	wl_buffer_init(&asking->url, WL_HTTP_URL_MAX);
	if (secret && tool_credential_make(auth, credentials, &asking->credential, &asking->secrets, err) < 0)
		return -err->code;
	bool header = secret && asking->credential.place == TOOL_CREDENTIAL_HEADER;
	const struct wl_json *one = wl_json_first(wl_json_get(config, "headers"));
	for (; one && asking->header_count < HEADERS_MOST - 2; one = wl_json_next(one))
		if (!header || strcasecmp(wl_json_key(one), asking->credential.name) != 0)
			asking->headers[asking->header_count++] =
				(struct wl_http_header){ wl_json_key(one), wl_json_string(one, "") };
	one = wl_json_first(wl_json_get(wl_json_get(config, "egress"), "hosts"));
	for (; one && asking->host_count < HOSTS_MOST; one = wl_json_next(one))
		asking->hosts[asking->host_count++] = wl_json_string(one, "");
	int failed = wl_buffer_append(&asking->url, url, strcspn(url, "#"));
	if (!failed && secret)
		failed = place_credential(asking);
	return failed ? wl_fail(err, EINVAL, "the address is too long") : 0;
}

static int talk(const struct wl_json *config, const struct asking *asking, struct wl_mcp_session *session,
		struct wl_error *err)
{
	struct wl_mcp_http_end end;
	struct wl_http_client *client = NULL;
	int result = wl_http_client_new(web_trial_egress(), &client, err);
	if (result < 0)
		return result;
	const struct wl_mcp_http http = { .egress = web_trial_egress(),
					  .client = client,
					  .url = asking->url.data,
					  .headers = asking->headers,
					  .header_count = asking->header_count,
					  .timeout_ms = ASK_MS,
					  .cancel_fd = -1,
					  .allow_private = wl_json_get_bool(wl_json_get(config, "egress"),
									    "allow_private", false),
					  .hosts = asking->host_count ? asking->hosts : NULL,
					  .host_count = asking->host_count };
	result = wl_mcp_http_run(&http, session, &end, err);
	wl_http_client_free(client);
	const struct wl_mcp_fault *fault = wl_mcp_session_fault(session);
	if (result == 0 && fault->code)
		return wl_fail(err, EINVAL, "%s", fault->text);
	return result;
}

int web_mcp_ask(const struct wl_json *config, const struct wl_json *credentials, struct wl_json **ret_list,
		struct wl_error *err)
{
	_asking_ struct asking asking = { .header_count = 0 };
	_wl_mcp_session_ struct wl_mcp_session *session = NULL;
	const struct wl_mcp_goal goal = { .tool = NULL };
	int result = prepare(config, credentials, &asking, err);
	result = result ? result : wl_mcp_session_new(&goal, &session, err);
	result = result ? result : talk(config, &asking, session, err);
	if (result < 0) {
		_wl_free_ char *masked = tool_secrets_mask(&asking.secrets, err->text);
		return wl_fail(err, result == -ENOMEM ? ENOMEM : EINVAL, "%s", masked ? masked : "no memory");
	}
	_wl_free_ char *text = wl_mcp_list_text(session);
	if (!text || tool_secrets_redact(&asking.secrets, &text) < 0)
		return wl_fail(err, ENOMEM, "no memory for a server's tools");
	return wl_json_parse_deep(text, strlen(text), WL_JSON_DEPTH + 8, ret_list, err) < 0
		       ? wl_fail(err, EINVAL, "the server's tools cannot be read")
		       : 0;
}

const struct wl_json *web_mcp_listed(const struct wl_json *list, const char *name)
{
	const struct wl_json *one = wl_json_first(wl_json_get(list, "tools"));
	while (one && strcmp(wl_json_get_string(one, "name", ""), name) != 0)
		one = wl_json_next(one);
	return one;
}
