/* Tools of servers that speak streamable HTTP. Credentials are as those of the kinds openapi and http. */
#include "lib/base/cleanup.h"
#include "lib/base/clock.h"
#include "lib/mcp/http.h"
#include "supervisor/nodes/http_parts.h"
#include "supervisor/nodes/text.h"
#include "supervisor/nodes/tool_mcp.h"

#include <errno.h>
#include <string.h>

/* The address and headers of each request, with the credentials in them. */
static int make_request(const struct tool_call *tool, struct tool_request *made, struct tool_secrets *secrets,
			struct wl_error *err)
{
	const struct wl_json *headers = wl_json_get(tool->config, "headers");
	wl_buffer_init(&made->url, WL_HTTP_URL_MAX);
	wl_buffer_init(&made->cookies, WL_HTTP_URL_MAX);
	wl_buffer_init(&made->body, 0);
	int failed = wl_buffer_append_text(&made->url, wl_json_get_string(tool->config, "url", ""));
	for (const struct wl_json *one = wl_json_first(headers); one && !failed; one = wl_json_next(one))
		failed = header_list_add(&made->headers, wl_json_key(one), wl_json_string(one, ""));
	if (failed)
		return wl_fail(err, ENOMEM, "no memory for a request");
	int result = tool_secrets_apply(tool->world->keys, tool->call->plan->tool_id, tool->row, made, secrets, err);
	if (result == 0 && made->cookies.length > 0 &&
	    header_list_add(&made->headers, "Cookie", made->cookies.data) < 0)
		return wl_fail(err, ENOMEM, "no memory for a request");
	return result;
}

static void keep_receipt(const struct tool_call *tool, const struct wl_mcp_session *session,
			 const struct wl_mcp_http_end *end, uint64_t start_ms, struct node_outcome *outcome)
{
	_wl_buffer_ struct wl_buffer text;
	const char *name = wl_mcp_session_server_name(session);
	wl_buffer_init(&text, 0);
	tool_begin_receipt(tool, &text);
	(void)wl_buffer_append_text(&text, ",\"transport\":\"http\",\"host\":");
	(void)text_append_json(&text, end->host, strlen(end->host));
	(void)wl_buffer_appendf(&text, ",\"address\":\"%s\",\"status\":%ld,\"requests\":%d,\"bytes\":%zu,\"ms\":%llu",
				end->address, end->status, end->requests, end->bytes,
				(unsigned long long)(wl_clock_boot_ms() - start_ms));
	(void)wl_buffer_appendf(&text, ",\"protocol\":\"%s\",\"server\":", wl_mcp_session_protocol(session));
	(void)text_append_json(&text, name, strlen(name));
	(void)wl_buffer_append_char(&text, '}');
	free(outcome->receipt_json);
	outcome->receipt_json = text.failed ? NULL : wl_buffer_steal(&text);
}

/* A status that is no success: the server's own fault may pass, a refusal does not. */
static void fail_status(const struct tool_call *tool, const struct wl_mcp_http_end *end, const struct wl_error *err,
			struct node_outcome *outcome)
{
	_wl_buffer_ struct wl_buffer detail;
	bool passes = end->status >= 500 || end->status == 408 || end->status == 429;
	wl_buffer_init(&detail, 0);
	(void)wl_buffer_appendf(&detail, "{\"status\":%ld,\"body\":", end->status);
	(void)text_append_json(&detail, end->refusal, strlen(end->refusal));
	(void)wl_buffer_append_char(&detail, '}');
	node_fail(outcome, tool->call, passes ? NODE_FAILED : NODE_FAILED_FOR_GOOD, "http_status",
		  detail.failed ? NULL : detail.data, "%s", err->text);
}

static void judge(const struct tool_call *tool, const struct wl_mcp_session *session, int result,
		  const struct wl_mcp_http_end *end, const struct wl_error *err, struct node_outcome *outcome)
{
	switch (-result) {
	case 0:
		tool_mcp_finish(tool, session, outcome);
		break;
	case EBADMSG:
		fail_status(tool, end, err, outcome);
		break;
	case EPROTO:
	case EMSGSIZE:
	case ENOMEM:
		tool_mcp_broke(tool, result, err, outcome);
		break;
	default:
		http_send_failed(outcome, tool->call, result, err);
	}
}

static void carry(const struct tool_call *tool, struct wl_http_client *client, const struct tool_request *made,
		  struct wl_mcp_session *session, struct node_outcome *outcome)
{
	_header_list_ struct header_list key = { 0 };
	const struct wl_json *egress = wl_json_get(tool->config, "egress");
	struct wl_mcp_http_end end = { 0 };
	struct tool_hosts hosts = { .count = 0 };
	struct wl_error err = { 0 };
	uint64_t start_ms = wl_clock_boot_ms();
	int result = tool_find_hosts(tool->config, made->url.data, &hosts, &err);
	if (result == 0 && header_list_add_idempotency(&key, tool->call, "POST") < 0)
		result = wl_fail(&err, ENOMEM, "no memory for a request");
	const struct wl_mcp_http http = { .egress = tool->world->egress,
					  .client = client,
					  .url = made->url.data,
					  .headers = made->headers.items,
					  .header_count = made->headers.count,
					  .call_header = key.items,
					  .body_max = tool_response_max(tool->config),
					  .timeout_ms = tool->timeout_ms,
					  .cancel_fd = tool->call->cancel_fd,
					  .allow_private = wl_json_get_bool(egress, "allow_private", false),
					  .hosts = hosts.items,
					  .host_count = hosts.count };
	if (result == 0)
		result = wl_mcp_http_run(&http, session, &end, &err);
	keep_receipt(tool, session, &end, start_ms, outcome);
	judge(tool, session, result, &end, &err, outcome);
}

void tool_mcp_call_http(const struct tool_call *given, struct node_outcome *outcome)
{
	_tool_request_ struct tool_request made = { 0 };
	_tool_secrets_ struct tool_secrets secrets = { 0 };
	struct wl_error err = { 0 };
	struct tool_call tool = *given;
	tool.secrets = &secrets;
	int result = make_request(&tool, &made, &secrets, &err);
	if (result < 0) {
		node_fail(outcome, tool.call, result == -ENOMEM ? NODE_FAILED : NODE_FAILED_FOR_GOOD,
			  result == -ENOMEM ? "internal" : "tool_invalid", NULL, "%s", err.text);
		return;
	}
	_wl_mcp_session_ struct wl_mcp_session *session = tool_mcp_session(&tool, outcome);
	struct wl_http_client *client = session ? http_client_of(tool.world, tool.call, outcome) : NULL;
	if (!client)
		return;
	carry(&tool, client, &made, session, outcome);
	tool_redact(&tool, &secrets, outcome);
}
