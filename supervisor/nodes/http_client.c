#include "supervisor/nodes/http_client.h"

#include "lib/base/cleanup.h"
#include "lib/base/clock.h"
#include "supervisor/nodes/text.h"

#include <ctype.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

struct http_client {
	CURLM *multi;
	CURL *easy;
	const struct egress_rules *egress;
	bool refused;
	struct http_response *response;
	char message[CURL_ERROR_SIZE];
};

static pthread_once_t curl_once = PTHREAD_ONCE_INIT;

static void curl_begin(void)
{
	(void)curl_global_init(CURL_GLOBAL_DEFAULT);
}

static curl_socket_t open_checked(void *context, curlsocktype purpose, struct curl_sockaddr *address)
{
	struct http_client *client = context;
	if (purpose != CURLSOCKTYPE_IPCXN ||
	    !egress_allows(client->egress, &address->addr, (socklen_t)address->addrlen)) {
		client->refused = true;
		return CURL_SOCKET_BAD;
	}
	return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

static size_t keep_body(char *bytes, size_t size, size_t count, void *context)
{
	struct http_response *response = ((struct http_client *)context)->response;
	return wl_buffer_append(&response->body, bytes, size * count) == 0 ? size * count : 0;
}

static void begin_response(struct http_response *response)
{
	wl_buffer_clear(&response->headers);
	wl_buffer_clear(&response->body);
	response->header_lines = 0;
	response->json = false;
}

/* application/json, and anything that ends in +json (RFC 6839) */
static bool is_json_type(const char *value, size_t length)
{
	const char *semicolon = memchr(value, ';', length);
	if (semicolon)
		length = (size_t)(semicolon - value);
	while (length && isspace((unsigned char)value[length - 1]))
		length--;
	return (length == 16 && strncasecmp(value, "application/json", 16) == 0) ||
	       (length > 5 && strncasecmp(value + length - 5, "+json", 5) == 0);
}

static void keep_header(struct http_response *response, const char *line, size_t length)
{
	const char *colon = memchr(line, ':', length);
	if (!colon || response->header_lines >= HTTP_HEADER_LINES_MAX || colon - line > 128)
		return;
	const char *value = colon + 1;
	const char *end = line + length;
	while (value < end && (*value == ' ' || *value == '\t'))
		value++;
	while (end > value && isspace((unsigned char)end[-1]))
		end--;
	char name[129];
	size_t name_length = (size_t)(colon - line);
	for (size_t i = 0; i < name_length; i++)
		name[i] = (char)tolower((unsigned char)line[i]);
	name[name_length] = '\0';
	if (strcmp(name, "content-type") == 0)
		response->json = is_json_type(value, (size_t)(end - value));
	_wl_buffer_ struct wl_buffer member;
	wl_buffer_init(&member, 0);
	(void)text_append_json(&member, name, name_length);
	(void)wl_buffer_append_char(&member, ':');
	/* of a header that comes twice the first line is kept: an object's key may come once only */
	if (member.failed || (response->headers.data && strstr(response->headers.data, member.data)))
		return;
	if (response->header_lines++ > 0)
		(void)wl_buffer_append_char(&response->headers, ',');
	(void)wl_buffer_append(&response->headers, member.data, member.length);
	(void)text_append_json(&response->headers, value, (size_t)(end - value));
}

static size_t take_header(char *line, size_t size, size_t count, void *context)
{
	struct http_response *response = ((struct http_client *)context)->response;
	size_t length = size * count;
	if (length >= 5 && strncmp(line, "HTTP/", 5) == 0)
		begin_response(response);
	else
		keep_header(response, line, length);
	return length;
}

int http_client_new(const struct egress_rules *egress, struct http_client **ret_client, struct wl_error *err)
{
	(void)pthread_once(&curl_once, curl_begin);
	struct http_client *client = calloc(1, sizeof(*client));
	if (!client)
		return wl_fail(err, ENOMEM, "no memory for an HTTP client");
	client->egress = egress;
	client->multi = curl_multi_init();
	client->easy = curl_easy_init();
	if (!client->multi || !client->easy) {
		http_client_free(client);
		return wl_fail(err, ENOMEM, "no memory for an HTTP client");
	}
	(void)curl_multi_setopt(client->multi, CURLMOPT_MAXCONNECTS, 16L);
	*ret_client = client;
	return 0;
}

void http_client_free(struct http_client *client)
{
	if (!client)
		return;
	if (client->easy)
		curl_easy_cleanup(client->easy);
	if (client->multi)
		(void)curl_multi_cleanup(client->multi);
	free(client);
}

void http_response_release(struct http_response *response)
{
	wl_buffer_release(&response->headers);
	wl_buffer_release(&response->body);
}

static void set_transport(struct http_client *client, long timeout_ms)
{
	CURL *easy = client->easy;
	curl_easy_reset(easy); /* keeps connections and the DNS cache */
	curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(easy, CURLOPT_PROXY, ""); /* a proxy would be the one whose address is checked */
	curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
	curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, (long)HTTP_CONNECT_MS);
	curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, timeout_ms > 0 ? timeout_ms : 1L);
	curl_easy_setopt(easy, CURLOPT_ACCEPT_ENCODING, "");
	curl_easy_setopt(easy, CURLOPT_USERAGENT, "Windlass");
	curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, client->message);
	curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, open_checked);
	curl_easy_setopt(easy, CURLOPT_OPENSOCKETDATA, client);
	curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, keep_body);
	curl_easy_setopt(easy, CURLOPT_WRITEDATA, client);
	curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, take_header);
	curl_easy_setopt(easy, CURLOPT_HEADERDATA, client);
}

static void set_request(struct http_client *client, const char *method, const char *url, const char *body,
			size_t body_length, struct curl_slist *headers)
{
	CURL *easy = client->easy;
	curl_easy_setopt(easy, CURLOPT_URL, url);
	curl_easy_setopt(easy, CURLOPT_HTTPHEADER, headers);
	if (strcmp(method, "HEAD") == 0) {
		curl_easy_setopt(easy, CURLOPT_NOBODY, 1L);
		return;
	}
	bool sends = strcmp(method, "POST") == 0 || strcmp(method, "PUT") == 0 || strcmp(method, "PATCH") == 0;
	if (body || sends) {
		curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)body_length);
		curl_easy_setopt(easy, CURLOPT_POSTFIELDS, body ? body : "");
	}
	curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, method);
}

static int failure_of(struct http_client *client, CURLcode code, struct wl_error *err)
{
	const char *message = client->message[0] ? client->message : curl_easy_strerror(code);
	if (client->refused)
		return wl_fail(err, EACCES, "the address lies in a network that flows may not reach");
	if (code == CURLE_WRITE_ERROR)
		return wl_fail(err, EMSGSIZE, "the answer has more than %u bytes", HTTP_BODY_MAX);
	if (code == CURLE_OPERATION_TIMEDOUT)
		return wl_fail(err, ETIMEDOUT, "%s", message);
	if (code == CURLE_UNSUPPORTED_PROTOCOL || code == CURLE_URL_MALFORMAT)
		return wl_fail(err, EINVAL, "%s", message);
	return wl_fail(err, EIO, "%s", message);
}

/* Drive one transfer to its end or until cancel_fd becomes readable. */
static int drive(struct http_client *client, int cancel_fd, struct wl_error *err)
{
	struct curl_waitfd stop = { .fd = cancel_fd, .events = CURL_WAIT_POLLIN };
	int running = 1;
	while (running) {
		if (curl_multi_perform(client->multi, &running) != CURLM_OK)
			return wl_fail(err, EIO, "the HTTP library failed");
		if (!running)
			break;
		stop.revents = 0;
		(void)curl_multi_poll(client->multi, &stop, cancel_fd >= 0 ? 1 : 0, 1000, NULL);
		if (stop.revents)
			return wl_fail(err, ECANCELED, "the execution was stopped");
	}
	int left = 0;
	const CURLMsg *message = curl_multi_info_read(client->multi, &left);
	if (!message || message->msg != CURLMSG_DONE)
		return wl_fail(err, EIO, "the HTTP library lost the request");
	return message->data.result == CURLE_OK ? 0 : failure_of(client, message->data.result, err);
}

static int one_step(struct http_client *client, int cancel_fd, struct wl_error *err)
{
	client->refused = false;
	client->message[0] = '\0';
	if (curl_multi_add_handle(client->multi, client->easy) != CURLM_OK)
		return wl_fail(err, EIO, "the HTTP library failed");
	int result = drive(client, cancel_fd, err);
	(void)curl_multi_remove_handle(client->multi, client->easy);
	return result;
}

/* Same scheme, host and port (RFC 6454)? */
static bool same_origin(const char *first, const char *second)
{
	CURLU *urls[2] = { curl_url(), curl_url() };
	const char *texts[2] = { first, second };
	static const CURLUPart parts[] = { CURLUPART_SCHEME, CURLUPART_HOST, CURLUPART_PORT };
	bool same = urls[0] && urls[1];
	for (int i = 0; i < 2 && same; i++)
		same = curl_url_set(urls[i], CURLUPART_URL, texts[i], 0) == CURLUE_OK;
	for (size_t p = 0; p < WL_COUNT_OF(parts) && same; p++) {
		char *values[2] = { NULL, NULL };
		for (int i = 0; i < 2; i++)
			(void)curl_url_get(urls[i], parts[p], &values[i], CURLU_DEFAULT_PORT);
		same = values[0] && values[1] && strcasecmp(values[0], values[1]) == 0;
		curl_free(values[0]);
		curl_free(values[1]);
	}
	curl_url_cleanup(urls[0]);
	curl_url_cleanup(urls[1]);
	return same;
}

/* One step's header list: the tenant's while the origin is the one it named, and our own. */
static struct curl_slist *step_headers(const struct http_request *request, bool theirs, bool with_body)
{
	struct curl_slist *list = NULL;
	char line[256];
	if (with_body && request->content_type) {
		(void)snprintf(line, sizeof(line), "Content-Type: %s", request->content_type);
		list = curl_slist_append(list, line);
	}
	list = curl_slist_append(list, "Expect:");
	for (const struct curl_slist *at = theirs ? request->headers : NULL; at; at = at->next)
		list = curl_slist_append(list, at->data);
	return list;
}

/* What a redirect makes of the method (RFC 9110 §15.4): 303, and 301 and 302 to a POST, become a GET. */
static bool becomes_get(long status, const char *method)
{
	if (strcmp(method, "HEAD") == 0)
		return false;
	return status == 303 || ((status == 301 || status == 302) && strcmp(method, "POST") == 0);
}

static bool is_redirect(long status)
{
	return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

int http_client_send(struct http_client *client, const struct http_request *request, struct http_response *response,
		     struct wl_error *err)
{
	uint64_t end_ms = wl_clock_boot_ms() + (uint64_t)request->timeout_ms;
	const char *method = request->method;
	const char *body = request->body;
	_wl_free_ char *url = strdup(request->url);
	bool theirs = true;
	client->response = response;
	wl_buffer_init(&response->headers, 512u << 10);
	wl_buffer_init(&response->body, HTTP_BODY_MAX);
	for (int step = 0; url && step <= HTTP_REDIRECTS_MAX; step++) {
		set_transport(client, (long)(end_ms - wl_clock_boot_ms()));
		struct curl_slist *headers = step_headers(request, theirs, body != NULL);
		set_request(client, method, url, body, body ? request->body_length : 0, headers);
		int result = one_step(client, request->cancel_fd, err);
		curl_slist_free_all(headers);
		if (result < 0)
			return result;
		const char *next = NULL;
		(void)curl_easy_getinfo(client->easy, CURLINFO_RESPONSE_CODE, &response->status);
		(void)curl_easy_getinfo(client->easy, CURLINFO_REDIRECT_URL, &next);
		if (!is_redirect(response->status) || !next)
			return 0;
		if (becomes_get(response->status, method)) {
			method = "GET";
			body = NULL;
		}
		theirs = theirs && same_origin(url, next);
		char *copy = strdup(next);
		free(url);
		url = copy;
	}
	return url ? wl_fail(err, EIO, "more than %d redirects", HTTP_REDIRECTS_MAX)
		   : wl_fail(err, ENOMEM, "no memory");
}
