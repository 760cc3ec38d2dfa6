/* http: one request; its output is {status, headers, body}. */
#include "lib/base/cleanup.h"
#include "supervisor/nodes/http_parts.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

#define REDIRECTS_MAX 5

static bool take_headers(const struct wl_json *request, const char *method, const struct node_call *call,
			 struct node_outcome *outcome, struct header_list *list)
{
	const struct wl_json *one = wl_json_first(wl_json_get(request, "headers"));
	for (; one; one = wl_json_next(one)) {
		const char *name = wl_json_key(one);
		_wl_free_ char *value = http_plain_text(one);
		if (value && !wl_http_header_valid(name, value)) {
			node_fail(outcome, call, NODE_FAILED_FOR_GOOD, "input_invalid", NULL,
				  "'%.64s' is no header that may be sent", name);
			return false;
		}
		if (!value || header_list_add(list, name, value) < 0)
			return false;
	}
	return header_list_add_idempotency(list, call, method) == 0;
}

static int add_query(struct wl_buffer *url, const struct wl_json *query)
{
	char separator = url->data && strchr(url->data, '?') ? '&' : '?';
	for (const struct wl_json *one = wl_json_first(query); one; one = wl_json_next(one)) {
		if (wl_json_is(one, WL_JSON_NULL))
			continue;
		_wl_free_ char *text = http_plain_text(one);
		if (!text)
			return -ENOMEM;
		(void)wl_buffer_append_char(url, separator);
		(void)wl_http_append_escaped(url, wl_json_key(one), strlen(wl_json_key(one)));
		(void)wl_buffer_append_char(url, '=');
		(void)wl_http_append_escaped(url, text, strlen(text));
		separator = '&';
	}
	return url->failed ? -url->failed : 0;
}

static bool make_url(const struct wl_json *request, const struct node_call *call, struct node_outcome *outcome,
		     struct wl_buffer *url)
{
	const char *text = wl_json_get_string(request, "url", "");
	/* the query goes before a fragment, which stays on our side (RFC 9110 §7.1) */
	(void)wl_buffer_append(url, text, strcspn(text, "#"));
	if (url->failed || add_query(url, wl_json_get(request, "query")) < 0) {
		node_fail(outcome, call, NODE_FAILED_FOR_GOOD, "input_invalid", NULL,
			  "the url has more than %d characters", WL_HTTP_URL_MAX);
		return false;
	}
	return true;
}

static bool secret_header(const char *name)
{
	static const char *const parts[] = { "authorization", "cookie", "key", "token", "secret", "password" };
	for (size_t i = 0; i < WL_COUNT_OF(parts); i++)
		if (strcasestr(name, parts[i]))
			return true;
	return false;
}

/* Keep the request for the record, without what looks like a credential in its headers. */
static void keep_request(const struct wl_json *request, struct node_outcome *outcome)
{
	_wl_json_ struct wl_json *shown = wl_json_copy(request);
	struct wl_json *headers = wl_json_object();
	const struct wl_json *one = wl_json_first(wl_json_get(request, "headers"));
	int failed = 0;
	for (; one; one = wl_json_next(one)) {
		struct wl_json *value = secret_header(wl_json_key(one)) ? wl_json_new_string("***") : wl_json_copy(one);
		failed |= wl_json_set(headers, wl_json_key(one), value);
	}
	if (!wl_json_get(request, "headers"))
		wl_json_free(headers);
	else
		failed |= wl_json_set(shown, "headers", headers);
	_wl_free_ char *text = failed ? NULL : wl_json_print(shown);
	if (text)
		node_keep_inputs(outcome, text, strlen(text));
}

static void judge(struct node_outcome *outcome, const struct node_call *call, const struct wl_http_response *response)
{
	if (http_expects(call->plan->expect, call->plan->expect_count, response->status)) {
		node_give(outcome, call, http_response_text(response));
		return;
	}
	_wl_free_ char *detail = http_status_detail(response);
	node_fail(outcome, call, NODE_FAILED, "http_status", detail, "the server answered with status %ld",
		  response->status);
}

static void make_request(struct wl_http_client *client, const struct wl_json *asked, const struct node_call *call,
			 struct node_outcome *outcome)
{
	_header_list_ struct header_list headers = { 0 };
	_wl_http_response_ struct wl_http_response response = { 0 };
	_wl_buffer_ struct wl_buffer url;
	wl_buffer_init(&url, WL_HTTP_URL_MAX);
	const char *method = wl_json_get_string(asked, "method", "GET");
	if (!make_url(asked, call, outcome, &url))
		return;
	if (!take_headers(asked, method, call, outcome, &headers)) {
		if (!outcome->error_json)
			node_fail(outcome, call, NODE_FAILED, "internal", NULL, "no memory for the request");
		return;
	}
	const struct wl_json *body = wl_json_get(asked, "body");
	_wl_free_ char *text = body ? http_plain_text(body) : NULL;
	struct wl_http_request request = { .method = method,
					   .url = url.data ? url.data : "",
					   .headers = headers.items,
					   .header_count = headers.count,
					   .body = text,
					   .body_length = text ? strlen(text) : 0,
					   .timeout_ms = (uint32_t)call->node->timeout_ms,
					   .redirects = REDIRECTS_MAX,
					   .cancel_fd = call->cancel_fd };
	if (text && !header_list_has(&headers, "content-type"))
		request.content_type =
			wl_json_is(body, WL_JSON_STRING) ? "text/plain; charset=utf-8" : "application/json";
	struct wl_error err = { 0 };
	int result = wl_http_send(client, &request, &response, &err);
	if (result < 0)
		http_send_failed(outcome, call, result, &err);
	else
		judge(outcome, call, &response);
}

void node_run_http(struct node_world *world, const struct node_call *call, struct node_outcome *outcome)
{
	_wl_free_ char *text = NULL;
	_wl_json_ struct wl_json *asked = NULL;
	struct wl_error err = { 0 };
	if (!node_evaluate(world, call, outcome, &text))
		return;
	if (wl_json_parse(text, strlen(text), &asked, &err) < 0) {
		node_fail(outcome, call, NODE_FAILED, "internal", NULL, "%s", err.text);
		return;
	}
	keep_request(asked, outcome);
	struct wl_http_client *client = http_client_of(world, call, outcome);
	if (client)
		make_request(client, asked, call, outcome);
}
