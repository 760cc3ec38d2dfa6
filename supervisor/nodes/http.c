/* http: one request; its output is {status, headers, body}. */
#include "lib/base/cleanup.h"
#include "supervisor/nodes/http_client.h"
#include "supervisor/nodes/node.h"
#include "supervisor/nodes/text.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>
#include <strings.h>

#define URL_MAX 16384

static void cleanup_slist(struct curl_slist **list)
{
	curl_slist_free_all(*list);
}

/* Header names that would break the framing of the request, or that belong to one hop only. */
static bool framing_header(const char *name)
{
	static const char *const names[] = {
		"content-length", "transfer-encoding", "connection",	  "keep-alive", "te",
		"trailer",	  "upgrade",	       "proxy-connection"
	};
	for (size_t i = 0; i < WL_COUNT_OF(names); i++)
		if (strcasecmp(name, names[i]) == 0)
			return true;
	return false;
}

/* A token (RFC 9110 §5.6.2). */
static bool header_name_valid(const char *name)
{
	if (!*name || strlen(name) > 128 || framing_header(name))
		return false;
	for (; *name; name++)
		if (!isalnum((unsigned char)*name) && !strchr("!#$%&'*+-.^_`|~", *name))
			return false;
	return true;
}

static bool header_value_valid(const char *value)
{
	for (; *value; value++)
		if (((unsigned char)*value < 0x20 && *value != '\t') || *value == 0x7f)
			return false;
	return true;
}

static int add_header(struct curl_slist **list, const char *name, const char *value)
{
	_wl_buffer_ struct wl_buffer line;
	wl_buffer_init(&line, 0);
	/* a header without a value is written "Name;" for libcurl */
	(void)wl_buffer_appendf(&line, *value ? "%s: %s" : "%s;%s", name, value);
	struct curl_slist *longer = line.failed ? NULL : curl_slist_append(*list, line.data);
	if (!longer)
		return -ENOMEM;
	*list = longer;
	return 0;
}

static bool is_safe_method(const char *method)
{
	return strcmp(method, "GET") == 0 || strcmp(method, "HEAD") == 0 || strcmp(method, "OPTIONS") == 0;
}

/*
 * The same key for each attempt of the node in this execution, so that a server which knows the header acts once
 * (draft-ietf-httpapi-idempotency-key-header). The execution's id is unique; FNV-1a tells its nodes apart.
 */
static void idempotency_key(const struct node_call *call, char key[64])
{
	uint64_t hash = 14695981039346656037ULL;
	for (const char *at = call->node->id; *at; at++)
		hash = (hash ^ (unsigned char)*at) * 1099511628211ULL;
	(void)snprintf(key, 64, "%s-%016llx", call->eid, (unsigned long long)hash);
}

static bool take_headers(const struct wl_json *request, const char *method, const struct node_call *call,
			 struct node_outcome *outcome, struct curl_slist **list, bool *ret_has_type)
{
	bool has_key = false;
	const struct wl_json *one = wl_json_first(wl_json_get(request, "headers"));
	for (; one; one = wl_json_next(one)) {
		const char *name = wl_json_key(one);
		const char *value = wl_json_string(one, NULL);
		_wl_free_ char *printed = value ? NULL : wl_json_print(one);
		value = value ? value : printed;
		if (!value || !header_name_valid(name) || !header_value_valid(value)) {
			node_fail(outcome, call, NODE_FAILED_FOR_GOOD, "input_invalid", NULL,
				  "'%.64s' is no header that may be sent", name);
			return false;
		}
		*ret_has_type = *ret_has_type || strcasecmp(name, "content-type") == 0;
		has_key = has_key || strcasecmp(name, "idempotency-key") == 0;
		if (add_header(list, name, value) < 0)
			return false;
	}
	char key[64];
	idempotency_key(call, key);
	return has_key || is_safe_method(method) || add_header(list, "Idempotency-Key", key) == 0;
}

static int add_query(struct wl_buffer *url, const struct wl_json *query)
{
	char separator = strchr(url->data, '?') ? '&' : '?';
	for (const struct wl_json *one = wl_json_first(query); one; one = wl_json_next(one)) {
		if (wl_json_is(one, WL_JSON_NULL))
			continue;
		const char *text = wl_json_string(one, NULL);
		_wl_free_ char *printed = text ? NULL : wl_json_print(one);
		text = text ? text : printed;
		char *name = curl_easy_escape(NULL, wl_json_key(one), 0);
		char *value = text ? curl_easy_escape(NULL, text, 0) : NULL;
		if (name && value)
			(void)wl_buffer_appendf(url, "%c%s=%s", separator, name, value);
		else
			url->failed = ENOMEM;
		curl_free(name);
		curl_free(value);
		separator = '&';
	}
	return url->failed ? -url->failed : 0;
}

static bool make_url(const struct wl_json *request, const struct node_call *call, struct node_outcome *outcome,
		     struct wl_buffer *url)
{
	const char *text = wl_json_get_string(request, "url", "");
	/* a fragment stays on our side (RFC 9110 §7.1), and the query goes before it */
	size_t length = strcspn(text, "#");
	if (strncasecmp(text, "http://", 7) != 0 && strncasecmp(text, "https://", 8) != 0) {
		node_fail(outcome, call, NODE_FAILED_FOR_GOOD, "input_invalid", NULL,
			  "the url must begin with http:// or https://");
		return false;
	}
	(void)wl_buffer_append(url, text, length);
	if (url->failed || add_query(url, wl_json_get(request, "query")) < 0) {
		node_fail(outcome, call, NODE_FAILED_FOR_GOOD, "input_invalid", NULL,
			  "the url has more than %d characters", URL_MAX);
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

static bool expected(const struct node_plan *plan, long status)
{
	for (int i = 0; i < plan->expect_count; i++)
		if (plan->expect[i] == status)
			return true;
	return plan->expect_count == 0 && status >= 200 && status <= 299;
}

static char *response_text(const struct http_response *response)
{
	_wl_buffer_ struct wl_buffer text;
	_wl_json_ struct wl_json *parsed = NULL;
	wl_buffer_init(&text, 0);
	(void)wl_buffer_appendf(&text, "{\"status\":%ld,\"headers\":{%s},\"body\":", response->status,
				response->headers.data ? response->headers.data : "");
	const char *body = response->body.data ? response->body.data : "";
	size_t from = text.length;
	if (response->json && wl_json_parse(body, response->body.length, &parsed, NULL) == 0) {
		(void)wl_buffer_append(&text, body, response->body.length);
		if (!text.failed) {
			text_compact_json(text.data + from);
			text.length = from + strlen(text.data + from);
		}
	} else {
		(void)text_append_json(&text, body, response->body.length);
	}
	(void)wl_buffer_append_char(&text, '}');
	return text.failed ? NULL : wl_buffer_steal(&text);
}

static void judge(struct node_outcome *outcome, const struct node_call *call, const struct http_response *response)
{
	char *text = response_text(response);
	if (expected(call->plan, response->status)) {
		node_give(outcome, call, text);
		return;
	}
	node_fail(outcome, call, NODE_FAILED, "http_status", text && strlen(text) < 16384 ? text : NULL,
		  "the server answered with status %ld", response->status);
	free(text);
}

static void send_failed(struct node_outcome *outcome, const struct node_call *call, int result,
			const struct wl_error *err)
{
	if (result == -EACCES)
		node_fail(outcome, call, NODE_FAILED_FOR_GOOD, "http_refused", NULL, "%s", err->text);
	else if (result == -ECANCELED)
		node_fail(outcome, call, NODE_STOPPED, "cancelled", NULL, "%s", err->text);
	else if (result == -ETIMEDOUT)
		node_fail(outcome, call, NODE_FAILED, "timeout", NULL, "%s", err->text);
	else if (result == -EMSGSIZE)
		node_fail(outcome, call, NODE_FAILED_FOR_GOOD, "output_cap", NULL, "%s", err->text);
	else
		node_fail(outcome, call, NODE_FAILED, "http", NULL, "%s", err->text);
}

static void make_request(struct node_world *world, const struct wl_json *asked, const struct node_call *call,
			 struct node_outcome *outcome)
{
	__attribute__((cleanup(cleanup_slist))) struct curl_slist *headers = NULL;
	_wl_buffer_ struct wl_buffer url;
	wl_buffer_init(&url, URL_MAX);
	const char *method = wl_json_get_string(asked, "method", "GET");
	bool has_type = false;
	if (!make_url(asked, call, outcome, &url))
		return;
	if (!take_headers(asked, method, call, outcome, &headers, &has_type)) {
		if (!outcome->error_json)
			node_fail(outcome, call, NODE_FAILED, "internal", NULL, "no memory for the request");
		return;
	}
	const struct wl_json *body = wl_json_get(asked, "body");
	const char *text = wl_json_string(body, NULL);
	_wl_free_ char *printed = body && !text ? wl_json_print(body) : NULL;
	struct http_request request = { .method = method,
					.url = url.data,
					.headers = headers,
					.body = text ? text : printed,
					.timeout_ms = HTTP_TIMEOUT_MS,
					.cancel_fd = call->cancel_fd };
	request.body_length = request.body ? strlen(request.body) : 0;
	if (request.body && !has_type)
		request.content_type = text ? "text/plain; charset=utf-8" : "application/json";
	if (call->node->timeout_ms > 0)
		request.timeout_ms = (long)call->node->timeout_ms;
	struct http_response response = { 0 };
	struct wl_error err = { 0 };
	int result = http_client_send(world->http, &request, &response, &err);
	if (result < 0)
		send_failed(outcome, call, result, &err);
	else
		judge(outcome, call, &response);
	http_response_release(&response);
}

void node_run_http(struct node_world *world, const struct node_call *call, struct node_outcome *outcome)
{
	_wl_free_ char *text = NULL;
	_wl_json_ struct wl_json *asked = NULL;
	struct wl_error err = { 0 };
	if (!node_evaluate(world, call, outcome, &text))
		return;
	if (wl_json_parse(text, strlen(text), &asked, &err) < 0 ||
	    (!world->http && http_client_new(world->egress, &world->http, &err) < 0)) {
		node_fail(outcome, call, NODE_FAILED, "internal", NULL, "%s", err.text);
		return;
	}
	keep_request(asked, outcome);
	make_request(world, asked, call, outcome);
}
