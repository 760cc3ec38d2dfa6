#include "cli/http.h"

#include "lib/base/cleanup.h"
#include "lib/base/clock.h"

#include <curl/curl.h>
#include <errno.h>
#include <string.h>
#include <strings.h>

#define CONNECT_MS 10000L
#define ANSWER_MS 120000L

struct cli_http {
	CURL *easy;
	char url[CLI_URL_MAX];
};

/* What the callbacks of one transfer need. */
struct transfer {
	struct cli_http *http;
	struct cli_response *response;
	cli_http_sink sink; /* NULL: everything goes into the response */
	void *self;
	struct wl_error *err;
	int sink_result;
	uint64_t heard_ms;
};

static void cleanup_curl_url(CURLU **url)
{
	curl_url_cleanup(*url);
}

static void cleanup_curl_text(char **text)
{
	curl_free(*text);
}

static void cleanup_slist(struct curl_slist **list)
{
	curl_slist_free_all(*list);
}

static bool has_part(CURLU *url, CURLUPart part)
{
	char *text = NULL;
	CURLUcode code = curl_url_get(url, part, &text, 0);
	curl_free(text);
	return code == CURLUE_OK;
}

int cli_url_normalise(const char *text, char url[CLI_URL_MAX], struct wl_error *err)
{
	__attribute__((cleanup(cleanup_curl_url))) CURLU *parsed = curl_url();
	if (!parsed)
		return wl_fail(err, ENOMEM, "no memory for a URL");
	if (strncasecmp(text, "http://", 7) != 0 && strncasecmp(text, "https://", 8) != 0)
		return wl_fail(err, EINVAL, "the server's URL begins with http:// or https://, not '%.64s'", text);
	if (curl_url_set(parsed, CURLUPART_URL, text, 0) != CURLUE_OK)
		return wl_fail(err, EINVAL, "'%.64s' is not a URL", text);
	if (has_part(parsed, CURLUPART_USER) || has_part(parsed, CURLUPART_PASSWORD) ||
	    has_part(parsed, CURLUPART_QUERY) || has_part(parsed, CURLUPART_FRAGMENT))
		return wl_fail(err, EINVAL, "the server's URL has no user, query or fragment");
	__attribute__((cleanup(cleanup_curl_text))) char *whole = NULL;
	if (curl_url_get(parsed, CURLUPART_URL, &whole, 0) != CURLUE_OK)
		return wl_fail(err, EINVAL, "'%.64s' is not a URL", text);
	size_t length = strlen(whole);
	while (length && whole[length - 1] == '/')
		length--;
	if (length >= CLI_URL_MAX)
		return wl_fail(err, EINVAL, "the server's URL is longer than %d bytes", CLI_URL_MAX - 1);
	memcpy(url, whole, length);
	url[length] = '\0';
	return 0;
}

void cli_response_release(struct cli_response *response)
{
	wl_buffer_release(&response->body);
}

int cli_http_open(const char *url, struct cli_http **ret_http, struct wl_error *err)
{
	struct cli_http *http = calloc(1, sizeof(*http));
	if (!http)
		return wl_fail(err, ENOMEM, "no memory for a connection");
	(void)snprintf(http->url, sizeof(http->url), "%s", url);
	http->easy = curl_easy_init();
	if (!http->easy) {
		free(http);
		return wl_fail(err, ENOMEM, "no memory for a connection");
	}
	*ret_http = http;
	return 0;
}

void cli_http_close(struct cli_http *http)
{
	if (!http)
		return;
	curl_easy_cleanup(http->easy);
	free(http);
}

static size_t take_body(char *bytes, size_t size, size_t count, void *self)
{
	struct transfer *transfer = self;
	size_t length = size * count;
	transfer->heard_ms = wl_clock_boot_ms();
	long status = 0;
	(void)curl_easy_getinfo(transfer->http->easy, CURLINFO_RESPONSE_CODE, &status);
	if (transfer->sink && status == 200) {
		transfer->sink_result = transfer->sink(transfer->self, bytes, length, transfer->err);
		return transfer->sink_result < 0 ? 0 : length;
	}
	return wl_buffer_append(&transfer->response->body, bytes, length) < 0 ? 0 : length;
}

static bool header_is(const char *line, size_t length, const char *name, const char **ret_value, size_t *ret_length)
{
	size_t name_length = strlen(name);
	if (length <= name_length || line[name_length] != ':' || strncasecmp(line, name, name_length) != 0)
		return false;
	const char *value = line + name_length + 1, *end = line + length;
	while (value < end && (*value == ' ' || *value == '\t'))
		value++;
	while (end > value && (end[-1] == '\r' || end[-1] == '\n' || end[-1] == ' '))
		end--;
	*ret_value = value;
	*ret_length = (size_t)(end - value);
	return true;
}

static size_t take_header(char *line, size_t size, size_t count, void *self)
{
	struct transfer *transfer = self;
	size_t length = size * count, value_length;
	const char *value;
	transfer->heard_ms = wl_clock_boot_ms();
	if (header_is(line, length, "ETag", &value, &value_length) && value_length < sizeof(transfer->response->etag)) {
		memcpy(transfer->response->etag, value, value_length);
		transfer->response->etag[value_length] = '\0';
	}
	if (header_is(line, length, "Retry-After", &value, &value_length) && value_length < 10) {
		char digits[10] = "";
		memcpy(digits, value, value_length);
		transfer->response->retry_after_s = atoi(digits);
	}
	return length;
}

static int add_header(struct curl_slist **list, const char *text)
{
	struct curl_slist *longer = curl_slist_append(*list, text);
	if (!longer)
		return -ENOMEM;
	*list = longer;
	return 0;
}

static int build_headers(const struct cli_request *request, struct curl_slist **list)
{
	int failed = add_header(list, "Accept: application/json, application/problem+json, text/event-stream");
	if (request->body)
		failed |= add_header(list, "Content-Type: application/json");
	failed |= add_header(list, "Expect:"); /* no extra round trip before a body */
	for (size_t i = 0; i < WL_COUNT_OF(request->headers); i++)
		if (request->headers[i])
			failed |= add_header(list, request->headers[i]);
	if (request->token) {
		_wl_buffer_ struct wl_buffer line;
		wl_buffer_init(&line, 64 << 10);
		(void)wl_buffer_appendf(&line, "Authorization: Bearer %s", request->token);
		failed |= line.failed ? -ENOMEM : add_header(list, line.data);
	}
	return failed ? -ENOMEM : 0;
}

bool cli_url_is_loopback(const char *url)
{
	const char *host = strstr(url, "://");
	host = host ? host + 3 : url;
	size_t length = strcspn(host, "/");
	if (*host == '[')
		return strncmp(host, "[::1]", 5) == 0;
	length = length < strcspn(host, ":") ? length : strcspn(host, ":");
	return (length == 9 && strncasecmp(host, "localhost", 9) == 0) ||
	       (strncmp(host, "127.", 4) == 0 && strspn(host, "0123456789.") == length);
}

static int prepare(struct transfer *transfer, const struct cli_request *request, struct curl_slist **list,
		   struct wl_error *err)
{
	CURL *easy = transfer->http->easy;
	_wl_buffer_ struct wl_buffer url;
	wl_buffer_init(&url, 16 << 10);
	(void)wl_buffer_appendf(&url, "%s%s", transfer->http->url, request->path);
	if (url.failed || build_headers(request, list) < 0)
		return wl_fail(err, ENOMEM, "no memory for a request");
	curl_easy_reset(easy);
	int failed = 0;
#define SET(option, value) failed |= curl_easy_setopt(easy, option, value) != CURLE_OK
	SET(CURLOPT_URL, url.data);
	SET(CURLOPT_PROTOCOLS_STR, "http,https");
	SET(CURLOPT_CUSTOMREQUEST, request->method);
	SET(CURLOPT_HTTPHEADER, *list);
	if (request->body) {
		SET(CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)strlen(request->body));
		SET(CURLOPT_COPYPOSTFIELDS, request->body);
	} else if (strcmp(request->method, "POST") == 0) {
		SET(CURLOPT_POSTFIELDSIZE, 0L);
		SET(CURLOPT_POSTFIELDS, "");
	}
	SET(CURLOPT_NOSIGNAL, 1L);
	SET(CURLOPT_CONNECTTIMEOUT_MS, CONNECT_MS);
	if (!transfer->sink)
		SET(CURLOPT_TIMEOUT_MS, ANSWER_MS);
	if (cli_url_is_loopback(transfer->http->url))
		SET(CURLOPT_PROXY, ""); /* a proxy of the environment has no way to this host */
	SET(CURLOPT_WRITEFUNCTION, take_body);
	SET(CURLOPT_WRITEDATA, transfer);
	SET(CURLOPT_HEADERFUNCTION, take_header);
	SET(CURLOPT_HEADERDATA, transfer);
	SET(CURLOPT_USERAGENT, "windlass");
#undef SET
	return failed ? wl_fail(err, ENOMEM, "libcurl refused an option") : 0;
}

static int errno_of_curl(CURLcode code)
{
	switch (code) {
	case CURLE_COULDNT_CONNECT:
		return ECONNREFUSED;
	case CURLE_COULDNT_RESOLVE_HOST:
	case CURLE_COULDNT_RESOLVE_PROXY:
		return EHOSTUNREACH;
	case CURLE_OPERATION_TIMEDOUT:
		return ETIMEDOUT;
	case CURLE_SEND_ERROR:
	case CURLE_RECV_ERROR:
	case CURLE_GOT_NOTHING:
	case CURLE_PARTIAL_FILE:
		return ECONNRESET;
	case CURLE_OUT_OF_MEMORY:
		return ENOMEM;
	default:
		return EPROTO;
	}
}

static int judge(const struct transfer *transfer, CURLcode code, struct wl_error *err)
{
	if (transfer->sink_result < 0)
		return transfer->sink_result;
	if (transfer->response->body.failed)
		return wl_fail(err, transfer->response->body.failed == ENOMEM ? ENOMEM : EPROTO,
			       "the answer of %s is larger than %u bytes", transfer->http->url, CLI_ANSWER_MAX);
	if (code != CURLE_OK)
		return wl_fail(err, errno_of_curl(code), "%s: %s", transfer->http->url, curl_easy_strerror(code));
	(void)curl_easy_getinfo(transfer->http->easy, CURLINFO_RESPONSE_CODE, &transfer->response->status);
	return 0;
}

int cli_http_send(struct cli_http *http, const struct cli_request *request, struct cli_response *response,
		  struct wl_error *err)
{
	*response = (struct cli_response){ 0 };
	wl_buffer_init(&response->body, CLI_ANSWER_MAX);
	struct transfer transfer = { .http = http, .response = response, .err = err };
	__attribute__((cleanup(cleanup_slist))) struct curl_slist *list = NULL;
	if (prepare(&transfer, request, &list, err) < 0)
		return -err->code;
	return judge(&transfer, curl_easy_perform(http->easy), err);
}

/* Drive one transfer until it ends, the wake descriptor speaks, or nothing was heard for idle_ms. */
static int drive(CURLM *multi, struct transfer *transfer, int wake_fd, int idle_ms, struct wl_error *err)
{
	struct curl_waitfd wake = { .fd = wake_fd, .events = CURL_WAIT_POLLIN };
	transfer->heard_ms = wl_clock_boot_ms();
	for (;;) {
		int running = 0, ready = 0, left = 0;
		if (curl_multi_perform(multi, &running) != CURLM_OK)
			return wl_fail(err, EPROTO, "%s: the transfer broke", transfer->http->url);
		CURLMsg *message = curl_multi_info_read(multi, &left);
		if (message && message->msg == CURLMSG_DONE)
			return judge(transfer, message->data.result, err);
		if (wl_clock_boot_ms() - transfer->heard_ms > (uint64_t)idle_ms)
			return wl_fail(err, ETIMEDOUT, "%s: nothing was heard for %d s", transfer->http->url,
				       idle_ms / 1000);
		wake.revents = 0;
		if (curl_multi_poll(multi, &wake, wake_fd >= 0 ? 1 : 0, 1000, &ready) != CURLM_OK)
			return wl_fail(err, EPROTO, "%s: the transfer broke", transfer->http->url);
		if (wake.revents)
			return wl_fail(err, EINTR, "interrupted");
	}
}

int cli_http_stream(struct cli_http *http, const struct cli_request *request, int wake_fd, int idle_ms,
		    cli_http_sink sink, void *self, struct cli_response *response, struct wl_error *err)
{
	*response = (struct cli_response){ 0 };
	wl_buffer_init(&response->body, CLI_ANSWER_MAX);
	struct transfer transfer = { .http = http, .response = response, .sink = sink, .self = self, .err = err };
	__attribute__((cleanup(cleanup_slist))) struct curl_slist *list = NULL;
	if (prepare(&transfer, request, &list, err) < 0)
		return -err->code;
	CURLM *multi = curl_multi_init();
	if (!multi || curl_multi_add_handle(multi, http->easy) != CURLM_OK) {
		(void)curl_multi_cleanup(multi);
		return wl_fail(err, ENOMEM, "no memory for a stream");
	}
	int result = drive(multi, &transfer, wake_fd, idle_ms, err);
	(void)curl_multi_remove_handle(multi, http->easy);
	(void)curl_multi_cleanup(multi);
	return result;
}
