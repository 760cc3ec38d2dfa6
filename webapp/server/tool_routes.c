/*
 * Checking a tool and trying it. A trial is an execution like any other: of a flow that is made for it and has the tool
 * as its only node.
 */
#include "lib/base/cleanup.h"
#include "lib/mcp/session.h"
#include "webapp/server/lone_run.h"
#include "webapp/server/resource_trial.h"
#include "webapp/server/routes.h"
#include "webapp/server/server.h"
#include "webapp/server/tool_check.h"
#include "webapp/server/tool_config.h"
#include "webapp/server/tool_mcp_ask.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define REACH_MS 5000
#define ORIGIN_ROOM 4200
#define TEST_S 60
#define HOSTS_MOST 100

/* ---- tools_validate --------------------------------------------------------------------------------------------- */

struct checks {
	struct wl_buffer *answer;
	bool valid;
	int count;
};

static void add_check(struct checks *checks, const char *name, bool ok, const char *message)
{
	wl_buffer_appendf(checks->answer, "%s{\"name\":\"%s\",\"ok\":%s,\"message\":", checks->count ? "," : "", name,
			  ok ? "true" : "false");
	wl_buffer_append_json_string(checks->answer, message, strlen(message));
	wl_buffer_append_char(checks->answer, '}');
	checks->valid = checks->valid && ok;
	checks->count++;
}

/* The first fault, with its path when that says more than the check's name. */
static void add_faults(struct checks *checks, const char *name, const struct wl_flow_faults *faults)
{
	char message[sizeof(faults->items[0].path) + sizeof(faults->items[0].text) + 4];
	const struct wl_flow_fault *first = &faults->items[0];
	if (faults->count == 0)
		(void)snprintf(message, sizeof(message), "as it should be");
	else if (strcmp(first->path, name) == 0)
		(void)snprintf(message, sizeof(message), "%s", first->text);
	else
		(void)snprintf(message, sizeof(message), "%s: %s", first->path, first->text);
	add_check(checks, name, faults->count == 0, message);
}

static int check_schema(struct checks *checks, const struct wl_json *body, const char *name, struct wl_error *err)
{
	const struct web_checker checker = { web.expressions, (int)web.settings.eval_ms };
	_wl_free_ struct wl_flow_faults *faults = calloc(1, sizeof(*faults));
	if (!faults)
		return wl_fail(err, ENOMEM, "no memory");
	int rc = web_schema_check(&checker, wl_json_get(body, name), name, faults, err);
	if (rc < 0)
		return rc;
	add_faults(checks, name, faults);
	return 0;
}

static int check_config(struct checks *checks, const struct wl_json *config, struct wl_error *err)
{
	_wl_free_ struct wl_flow_faults *faults = calloc(1, sizeof(*faults));
	if (!faults)
		return wl_fail(err, ENOMEM, "no memory");
	(void)web_tool_config_check(config, "execution_config", faults);
	add_faults(checks, "execution_config", faults);
	return 0;
}

static void check_credentials(struct checks *checks, const struct web_trial *trial, const struct wl_json *config)
{
	const char *auth = wl_json_get_string(wl_json_get(config, "auth"), "type", "none");
	_wl_json_ struct wl_json *credentials = NULL;
	struct wl_error err = { 0 };
	bool basic = strcmp(auth, "basic") == 0;
	if (web_trial_credentials(trial, &credentials, &err) < 0)
		add_check(checks, "credentials", false, "the stored credentials cannot be opened: give them again");
	else if (strcmp(auth, "none") == 0)
		add_check(checks, "credentials", true, "none are needed");
	else if (!credentials)
		add_check(checks, "credentials", false, "none are stored, and auth needs them");
	else if (!wl_json_get(credentials, basic ? "username" : "token"))
		add_check(checks, "credentials", false, "what is stored does not fit auth");
	else
		add_check(checks, "credentials", true, "stored, and they open");
}

/* Whether the server can be talked to at all: any answer to HEAD / will do, and nothing of the tenant's is sent. */
static void check_server(struct checks *checks, const struct wl_json *config)
{
	char origin[ORIGIN_ROOM], message[WL_ERROR_TEXT];
	const struct wl_json *egress = wl_json_get(config, "egress"), *list = wl_json_get(egress, "hosts");
	const char *hosts[HOSTS_MOST];
	size_t count = 0;
	struct wl_error err = { 0 };
	for (const struct wl_json *one = wl_json_first(list); one && count < HOSTS_MOST; one = wl_json_next(one))
		hosts[count++] = wl_json_string(one, "");
	if (!web_tool_origin(wl_json_get_string(config, "url", ""), origin, sizeof(origin))) {
		add_check(checks, "server", false, "there is no address");
		return;
	}
	const struct wl_http_request request = { .method = "HEAD",
						 .url = origin,
						 .timeout_ms = REACH_MS,
						 .cancel_fd = -1,
						 .allow_private = wl_json_get_bool(egress, "allow_private", false),
						 .hosts = count ? hosts : NULL,
						 .host_count = count };
	_wl_http_response_ struct wl_http_response response = { 0 };
	int rc = web_trial_send(&request, &response, &err);
	if (rc < 0)
		(void)snprintf(message, sizeof(message), "%s", err.text);
	else
		(void)snprintf(message, sizeof(message), "answers after %llu ms",
			       (unsigned long long)(response.total_us / 1000));
	add_check(checks, "server", rc == 0, message);
}

/* What the server says of the tool now. */
static void check_listed(struct checks *checks, const struct wl_json *config, const struct wl_json *list)
{
	char hash[WL_MCP_HASH_TEXT];
	const char *name = wl_json_get_string(config, "tool", ""), *pin = wl_json_get_string(config, "pin", NULL);
	const struct wl_json *listed = web_mcp_listed(list, name);
	if (!listed)
		add_check(checks, "tool", false, "the server has no such tool");
	else if (!pin)
		add_check(checks, "tool", true, "the server has it; without a pin nobody tells when it changes");
	else if (wl_mcp_tool_hash(listed, hash) == 0 && strcmp(hash, pin) == 0)
		add_check(checks, "tool", true, "the server describes it as it did when it was imported");
	else
		add_check(checks, "tool", false, "the server describes it otherwise than when it was imported");
}

/* A program is run by trials alone. */
static void check_mcp(struct checks *checks, const struct web_trial *trial, const struct wl_json *config)
{
	_wl_json_ struct wl_json *credentials = NULL, *list = NULL;
	struct wl_error err = { 0 };
	char message[WL_ERROR_TEXT + 32];
	if (strcmp(wl_json_get_string(config, "transport", ""), "stdio") == 0) {
		add_check(checks, "tool", true, "not asked: its program runs in trial calls only");
		return;
	}
	if (web_trial_credentials(trial, &credentials, &err) < 0 || web_mcp_ask(config, credentials, &list, &err) < 0) {
		add_check(checks, "server", false, err.text);
		return;
	}
	const struct wl_json *server = wl_json_get(list, "server");
	(void)snprintf(message, sizeof(message), "answers as %.200s %.100s, revision %s",
		       wl_json_get_string(server, "name", ""), wl_json_get_string(server, "version", ""),
		       wl_json_get_string(server, "protocol", ""));
	add_check(checks, "server", true, message);
	check_listed(checks, config, list);
}

static int validate(struct web_trial *trial, struct wl_buffer *answer, struct wl_error *err)
{
	const struct wl_json *body = web_trial_body(trial), *config = wl_json_get(body, "execution_config");
	struct checks checks = { .answer = answer, .valid = true };
	wl_buffer_append_text(answer, "{\"checks\":[");
	int rc = check_schema(&checks, body, "input_schema", err);
	rc = rc ? rc : check_schema(&checks, body, "output_schema", err);
	rc = rc ? rc : check_config(&checks, config, err);
	if (rc < 0)
		return rc;
	check_credentials(&checks, trial, config);
	const char *kind = wl_json_get_string(config, "kind", "");
	if (strcmp(kind, "mcp") == 0)
		check_mcp(&checks, trial, config);
	else if (strcmp(kind, "code") != 0)
		check_server(&checks, config);
	wl_buffer_appendf(answer, "],\"valid\":%s}", checks.valid ? "true" : "false");
	return 0;
}

void web_tools_validate(struct web_request *request)
{
	web_trial_start(request, "tool", validate);
}

/* ---- tools_test ------------------------------------------------------------------------------------------------- */

void web_tools_test(struct web_request *request)
{
	char node[512];
	double timeout_s = wl_json_get_number(request->json, "timeout_s", TEST_S);
	(void)snprintf(
		node, sizeof(node),
		"{\"id\":\"tool\",\"type\":\"tool\",\"position\":{\"x\":240,\"y\":0},\"data\":{\"tool_id\":\"%.36s\","
		"\"input\":\"{{ .inputs.input }}\",\"timeout_s\":%.0f}}",
		web_parameter_text(&request->parameters, "id", ""), timeout_s);
	web_lone_run(request, "tool", node, timeout_s, true);
}
