/*
 * Tools of the kinds openapi and http: one request that the supervisor makes. Credentials are opened here, for this
 * request alone, and whatever a server sends back of them is taken out before anything is kept.
 */
#include "lib/base/cleanup.h"
#include "supervisor/nodes/http_parts.h"
#include "supervisor/nodes/tool.h"
#include "supervisor/nodes/tool_secrets.h"

#include <errno.h>
#include <string.h>

#define EXPECT_MAX 50
#define RESPONSE_KB 1024     /* when a tool says nothing else */
#define RESPONSE_KB_MAX 4096 /* whatever a tool says */

int tool_find_hosts(const struct wl_json *config, const char *url, struct tool_hosts *hosts, struct wl_error *err)
{
	char host[256];
	int port = 0;
	const struct wl_json *one = wl_json_first(wl_json_get(wl_json_get(config, "egress"), "hosts"));
	for (; one && hosts->count < TOOL_HOSTS_MAX; one = wl_json_next(one))
		hosts->items[hosts->count++] = wl_json_string(one, "");
	if (hosts->count > 0)
		return 0;
	int result = wl_http_url_check(url, host, &port, err);
	if (result < 0)
		return result;
	(void)snprintf(hosts->own, sizeof(hosts->own), strchr(host, ':') ? "[%s]:%d" : "%s:%d", host, port);
	hosts->items[hosts->count++] = hosts->own;
	return 0;
}

size_t tool_response_max(const struct wl_json *config)
{
	double kb = wl_json_get_number(config, "max_response_kb", RESPONSE_KB);
	return (size_t)(kb < 1 ? 1 : kb > RESPONSE_KB_MAX ? RESPONSE_KB_MAX : kb) << 10;
}

static void fail_request(const struct tool_call *tool, struct node_outcome *outcome, int result,
			 const struct wl_error *err)
{
	const char *code = result == -EINVAL ? "input_invalid" : result == -ENOMEM ? "internal" : "tool_invalid";
	node_fail(outcome, tool->call, NODE_FAILED_FOR_GOOD, code, NULL, "%s", err->text);
}

static void keep_receipt(const struct tool_call *tool, const struct wl_http_response *response,
			 struct node_outcome *outcome)
{
	_wl_buffer_ struct wl_buffer text;
	wl_buffer_init(&text, 0);
	tool_begin_receipt(tool, &text);
	(void)wl_buffer_append_text(&text, ",\"host\":");
	(void)wl_buffer_append_json_string(&text, response->host, strlen(response->host));
	(void)wl_buffer_appendf(&text, ",\"address\":\"%s\",\"status\":%ld,\"bytes\":%zu,\"ms\":%llu}",
				response->address, response->status, response->body.length,
				(unsigned long long)(response->total_us / 1000));
	free(outcome->receipt_json);
	outcome->receipt_json = text.failed ? NULL : wl_buffer_steal(&text);
}

/* Of openapi the body, null when there is none; of http all of the answer. */
static char *output_text(const struct tool_call *tool, const struct wl_http_response *response)
{
	_wl_buffer_ struct wl_buffer text;
	wl_buffer_init(&text, 0);
	if (strcmp(tool->kind, "http") == 0)
		return http_response_text(response);
	if (response->body.length == 0)
		return strdup("null");
	return http_append_body(&text, response) < 0 ? NULL : wl_buffer_steal(&text);
}

static void judge(const struct tool_call *tool, const struct wl_http_response *response, struct node_outcome *outcome)
{
	int expect[EXPECT_MAX], count = 0;
	const struct wl_json *one = wl_json_first(wl_json_get(tool->config, "expect"));
	for (; one && count < EXPECT_MAX; one = wl_json_next(one))
		expect[count++] = (int)wl_json_number(one, 0);
	if (http_expects(expect, count, response->status)) {
		node_give(outcome, tool->call, output_text(tool, response));
		return;
	}
	_wl_free_ char *detail = http_status_detail(response);
	node_fail(outcome, tool->call, NODE_FAILED, "http_status", detail, "the server answered with status %ld",
		  response->status);
}

static void send_request(const struct tool_call *tool, struct wl_http_client *client, const struct tool_request *made,
			 struct node_outcome *outcome)
{
	_wl_http_response_ struct wl_http_response response = { 0 };
	struct wl_error err = { 0 };
	struct tool_hosts hosts = { .count = 0 };
	int result = tool_find_hosts(tool->config, made->url.data, &hosts, &err);
	if (result < 0) {
		http_send_failed(outcome, tool->call, result, &err);
		return;
	}
	const struct wl_json *egress = wl_json_get(tool->config, "egress");
	struct wl_http_request request = {
		.method = made->method,
		.url = made->url.data,
		.headers = made->headers.items,
		.header_count = made->headers.count,
		.content_type = made->content_type,
		.body = made->has_body ? (made->body.data ? made->body.data : "") : NULL,
		.body_length = made->body.length,
		.body_max = tool_response_max(tool->config),
		.timeout_ms = tool->timeout_ms,
		.redirects = 0, /* whoever wrote the tool named its server */
		.cancel_fd = tool->call->cancel_fd,
		.allow_private = wl_json_get_bool(egress, "allow_private", false),
		.hosts = hosts.items,
		.host_count = hosts.count,
	};
	result = wl_http_send(client, &request, &response, &err);
	keep_receipt(tool, &response, outcome);
	if (result < 0)
		http_send_failed(outcome, tool->call, result, &err);
	else
		judge(tool, &response, outcome);
}

void tool_redact(const struct tool_call *tool, const struct tool_secrets *secrets, struct node_outcome *outcome)
{
	char **texts[] = { &outcome->outputs_json, &outcome->error_json, &outcome->receipt_json };
	int failed = 0;
	for (size_t i = 0; i < WL_COUNT_OF(texts); i++)
		failed |= tool_secrets_redact(secrets, texts[i]);
	if (!failed)
		return;
	for (size_t i = 0; i < WL_COUNT_OF(texts); i++) {
		free(*texts[i]);
		*texts[i] = NULL;
	}
	node_fail(outcome, tool->call, NODE_FAILED, "internal", NULL, "no memory for the tool's answer");
}

static int finish_headers(const struct tool_call *tool, struct tool_request *made)
{
	struct header_list *headers = &made->headers;
	if (made->cookies.length > 0 && header_list_add(headers, "Cookie", made->cookies.data) < 0)
		return -ENOMEM;
	return header_list_add_idempotency(headers, tool->call, made->method);
}

void tool_call_http(const struct tool_call *tool, struct node_outcome *outcome)
{
	_tool_request_ struct tool_request made = { 0 };
	_tool_secrets_ struct tool_secrets secrets = { 0 };
	_wl_json_ struct wl_json *input = NULL;
	struct wl_error err = { 0 };
	int result = wl_json_parse(tool->input, strlen(tool->input), &input, &err);
	if (result == 0)
		result = tool_request_make(tool->config, input, &made, &err);
	if (result == 0)
		result = tool_secrets_apply(tool->world->keys, tool->call->plan->tool_id, tool->row, &made, &secrets,
					    &err);
	if (result == 0 && finish_headers(tool, &made) < 0)
		result = wl_fail(&err, ENOMEM, "no memory for a request");
	if (result < 0) {
		fail_request(tool, outcome, result, &err);
		return;
	}
	struct wl_http_client *client = http_client_of(tool->world, tool->call, outcome);
	if (!client)
		return;
	send_request(tool, client, &made, outcome);
	tool_redact(tool, &secrets, outcome);
	if (outcome->result == NODE_OK)
		(void)node_check_output(tool->world, tool->call, outcome);
}
