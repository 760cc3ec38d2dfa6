#include "lib/net/http_client.h"

#include "lib/base/cleanup.h"
#include "lib/base/clock.h"
#include "lib/net/http_url.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <string.h>
#include <strings.h>

#define KEPT_CONNECTIONS 16L

struct wl_http_client {
	CURLM *multi;
	CURL *easy;
	const struct wl_egress_rules *egress;
	const struct wl_http_request *request; /* the one being made */
	struct wl_http_response *response;
	size_t header_bytes;
	bool refused;	  /* by the egress rules */
	bool too_large;	  /* body or header block */
	bool declined;	  /* by who takes the pieces */
	size_t passed;	  /* bytes of the body that were passed on */
	uint64_t last_ms; /* when the last bytes of the body came; 0: none yet */
	char message[CURL_ERROR_SIZE];
};

static pthread_once_t curl_once = PTHREAD_ONCE_INIT;

static void curl_begin(void)
{
	(void)curl_global_init(CURL_GLOBAL_DEFAULT);
}

/* ---- headers and methods ------------------------------------------------------------------------------------- */

/* Names that would break the framing of the request, that belong to one hop only, or that the URL alone decides. */
static bool is_framing_name(const char *name)
{
	static const char *const names[] = { "content-length",
					     "transfer-encoding",
					     "connection",
					     "keep-alive",
					     "te",
					     "trailer",
					     "upgrade",
					     "proxy-connection",
					     "host",
					     "expect",
					     "proxy-authorization" };
	for (size_t i = 0; i < WL_COUNT_OF(names); i++)
		if (strcasecmp(name, names[i]) == 0)
			return true;
	return false;
}

bool wl_http_header_valid(const char *name, const char *value)
{
	if (!*name || strlen(name) > 128 || is_framing_name(name))
		return false;
	for (; *name; name++)
		if (!isalnum((unsigned char)*name) && !strchr("!#$%&'*+-.^_`|~", *name))
			return false;
	for (; *value; value++)
		if (((unsigned char)*value < 0x20 && *value != '\t') || *value == 0x7f)
			return false;
	return true;
}

bool wl_http_method_safe(const char *method)
{
	return strcmp(method, "GET") == 0 || strcmp(method, "HEAD") == 0 || strcmp(method, "OPTIONS") == 0;
}

static bool is_method(const char *method)
{
	static const char *const others[] = { "POST", "PUT", "PATCH", "DELETE" };
	for (size_t i = 0; i < WL_COUNT_OF(others); i++)
		if (strcmp(method, others[i]) == 0)
			return true;
	return wl_http_method_safe(method);
}

/* ---- what comes back ------------------------------------------------------------------------------------------ */

static void forget_headers(struct wl_http_response *response)
{
	for (size_t i = 0; i < response->header_count; i++) {
		free((void *)response->headers[i].name);
		free((void *)response->headers[i].value);
	}
	response->header_count = 0;
}

void wl_http_response_release(struct wl_http_response *response)
{
	forget_headers(response);
	free(response->headers);
	wl_buffer_release(&response->body);
	*response = (struct wl_http_response){ 0 };
}

const char *wl_http_response_header(const struct wl_http_response *response, const char *name)
{
	for (size_t i = 0; i < response->header_count; i++)
		if (strcmp(response->headers[i].name, name) == 0)
			return response->headers[i].value;
	return NULL;
}

bool wl_http_response_is_json(const struct wl_http_response *response)
{
	const char *type = wl_http_response_header(response, "content-type");
	size_t length = type ? strcspn(type, ";") : 0;
	while (length && isspace((unsigned char)type[length - 1]))
		length--;
	return (length == 16 && strncasecmp(type, "application/json", 16) == 0) ||
	       (length > 5 && strncasecmp(type + length - 5, "+json", 5) == 0);
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

/* Pass a piece on; the bytes that were taken. */
static size_t pass_on(struct wl_http_client *client, const char *bytes, size_t length)
{
	size_t most = client->request->body_max ? client->request->body_max : WL_HTTP_BODY_MAX;
	if (length > most - client->passed) {
		client->too_large = true;
		return 0;
	}
	client->passed += length;
	client->declined = client->request->piece(client->request->piece_context, client->response, bytes, length) != 0;
	return client->declined ? 0 : length;
}

static size_t take_body(char *bytes, size_t size, size_t count, void *context)
{
	struct wl_http_client *client = context;
	client->last_ms = wl_clock_boot_ms();
	(void)curl_easy_getinfo(client->easy, CURLINFO_RESPONSE_CODE, &client->response->status);
	bool good = client->response->status >= 200 && client->response->status < 300;
	if (client->request->piece && good && size * count > 0)
		return pass_on(client, bytes, size * count);
	if (wl_buffer_append(&client->response->body, bytes, size * count) == 0)
		return size * count;
	client->too_large = client->response->body.failed == EMSGSIZE;
	return 0;
}

static void keep_header(struct wl_http_response *response, const char *line, size_t length)
{
	const char *colon = memchr(line, ':', length);
	if (!colon || response->header_count >= WL_HTTP_HEADER_LINES_MAX || colon - line > 128)
		return;
	const char *value = colon + 1;
	const char *end = line + length;
	while (value < end && (*value == ' ' || *value == '\t'))
		value++;
	while (end > value && isspace((unsigned char)end[-1]))
		end--;
	char *name = strndup(line, (size_t)(colon - line));
	char *text = strndup(value, (size_t)(end - value));
	if (!name || !text) {
		free(name);
		free(text);
		return;
	}
	for (char *at = name; *at; at++)
		*at = (char)tolower((unsigned char)*at);
	response->headers[response->header_count++] = (struct wl_http_header){ name, text };
}

static size_t take_header(char *line, size_t size, size_t count, void *context)
{
	struct wl_http_client *client = context;
	size_t length = size * count;
	client->header_bytes += length;
	if (client->header_bytes > WL_HTTP_HEADERS_MAX) {
		client->too_large = true;
		return 0;
	}
	/* an answer may follow another one, such as 100 Continue */
	if (length >= 5 && strncmp(line, "HTTP/", 5) == 0)
		forget_headers(client->response);
	else
		keep_header(client->response, line, length);
	return length;
}

/* ---- which addresses are reached -------------------------------------------------------------------------------- */

static curl_socket_t open_checked(void *context, curlsocktype purpose, struct curl_sockaddr *address)
{
	struct wl_http_client *client = context;
	if (purpose != CURLSOCKTYPE_IPCXN ||
	    !wl_egress_allows(client->egress, &address->addr, (socklen_t)address->addrlen,
			      client->request->allow_private)) {
		client->refused = true;
		return CURL_SOCKET_BAD;
	}
	return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

static bool allows_text(const struct wl_http_client *client, const char *text, int port)
{
	struct sockaddr_in four = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
	struct sockaddr_in6 six = { .sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port) };
	bool private = client->request->allow_private;
	if (inet_pton(AF_INET, text, &four.sin_addr) == 1)
		return wl_egress_allows(client->egress, (const struct sockaddr *)&four, sizeof(four), private);
	return inet_pton(AF_INET6, text, &six.sin6_addr) == 1 &&
	       wl_egress_allows(client->egress, (const struct sockaddr *)&six, sizeof(six), private);
}

/*
 * Called before each request, also on a connection that was kept: one that was opened for a request with allow_private
 * is of no use to one without.
 */
static int before_request(void *context, char *address, char *local, int port, int local_port)
{
	struct wl_http_client *client = context;
	(void)local;
	(void)local_port;
	(void)snprintf(client->response->address, sizeof(client->response->address), "%s", address);
	if (allows_text(client, address, port))
		return CURL_PREREQFUNC_OK;
	client->refused = true;
	return CURL_PREREQFUNC_ABORT;
}

/* ---- one step --------------------------------------------------------------------------------------------------- */

static void set_transport(struct wl_http_client *client, uint64_t left_ms)
{
	CURL *easy = client->easy;
	uint32_t connect_ms = client->request->connect_ms ? client->request->connect_ms : WL_HTTP_CONNECT_MS;
	curl_easy_reset(easy); /* keeps connections and the DNS cache */
	curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L); /* a resolver that hangs must not hold up a cancel */
	curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(easy, CURLOPT_PROXY, ""); /* a proxy would be the one whose address is checked */
	curl_easy_setopt(easy, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
	curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
	curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, (long)connect_ms);
	curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, left_ms > 0 ? (long)left_ms : 1L);
	curl_easy_setopt(easy, CURLOPT_ACCEPT_ENCODING, "");
	curl_easy_setopt(easy, CURLOPT_USERAGENT, "Windlass");
	curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, client->message);
	curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, open_checked);
	curl_easy_setopt(easy, CURLOPT_OPENSOCKETDATA, client);
	curl_easy_setopt(easy, CURLOPT_PREREQFUNCTION, before_request);
	curl_easy_setopt(easy, CURLOPT_PREREQDATA, client);
	curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, take_body);
	curl_easy_setopt(easy, CURLOPT_WRITEDATA, client);
	curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, take_header);
	curl_easy_setopt(easy, CURLOPT_HEADERDATA, client);
}

/* One step of a call: what a redirect may change. */
struct step {
	struct wl_http_url url;
	const char *method;
	const char *body;
	bool theirs; /* still the origin that the request named: its headers go along */
};

static void set_request(CURL *easy, const struct step *step, size_t body_length, struct curl_slist *headers)
{
	curl_easy_setopt(easy, CURLOPT_CURLU, step->url.parsed);
	curl_easy_setopt(easy, CURLOPT_HTTPHEADER, headers);
	if (strcmp(step->method, "HEAD") == 0) {
		curl_easy_setopt(easy, CURLOPT_NOBODY, 1L);
		return;
	}
	bool sends = !wl_http_method_safe(step->method) && strcmp(step->method, "DELETE") != 0;
	if (step->body || sends) {
		curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, step->body ? (curl_off_t)body_length : 0);
		curl_easy_setopt(easy, CURLOPT_POSTFIELDS, step->body ? step->body : "");
	}
	curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, step->method);
}

static int failure_of(const struct wl_http_client *client, CURLcode code, struct wl_error *err)
{
	const char *message = client->message[0] ? client->message : curl_easy_strerror(code);
	if (client->refused)
		return wl_fail(err, EACCES, "the address lies in a network that flows may not reach");
	if (client->declined)
		return wl_fail(err, EPIPE, "no more of the answer is wanted");
	if (client->too_large && client->header_bytes > WL_HTTP_HEADERS_MAX)
		return wl_fail(err, EMSGSIZE, "the answer's headers have more than %u bytes", WL_HTTP_HEADERS_MAX);
	if (client->too_large)
		return wl_fail(err, EMSGSIZE, "the answer has more than %zu bytes",
			       client->response->body.failed || !client->request->body_max
				       ? client->response->body.limit
				       : client->request->body_max);
	switch (code) {
	case CURLE_OPERATION_TIMEDOUT:
		return wl_fail(err, ETIMEDOUT, "%s", message);
	case CURLE_URL_MALFORMAT: /* a name with letters that have no ASCII form */
		return wl_fail(err, EINVAL, "%s", message);
	case CURLE_COULDNT_RESOLVE_HOST:
		return wl_fail(err, ENOENT, "%s", message);
	case CURLE_COULDNT_CONNECT:
		return wl_fail(err, ECONNREFUSED, "%s", message);
	case CURLE_PEER_FAILED_VERIFICATION:
	case CURLE_SSL_CONNECT_ERROR:
	case CURLE_SSL_CACERT_BADFILE:
	case CURLE_SSL_CERTPROBLEM:
	case CURLE_SSL_CIPHER:
		return wl_fail(err, EKEYREJECTED, "%s", message);
	default:
		return wl_fail(err, EIO, "%s", message);
	}
}

/* How long to wait for the transfer, at most a second; 0: its time between two pieces is over. */
static int wait_ms(const struct wl_http_client *client)
{
	uint32_t idle_ms = client->request->idle_ms;
	if (!idle_ms || !client->last_ms)
		return 1000;
	uint64_t now_ms = wl_clock_boot_ms(), end_ms = client->last_ms + idle_ms;
	if (now_ms >= end_ms)
		return 0;
	return end_ms - now_ms < 1000 ? (int)(end_ms - now_ms) : 1000;
}

/* Drive one transfer to its end or until cancel_fd becomes readable. */
static int drive(struct wl_http_client *client, struct wl_error *err)
{
	int cancel_fd = client->request->cancel_fd;
	struct curl_waitfd stop = { .fd = cancel_fd, .events = CURL_WAIT_POLLIN };
	int running = 1;
	while (running) {
		if (curl_multi_perform(client->multi, &running) != CURLM_OK)
			return wl_fail(err, EIO, "the HTTP library failed");
		if (!running)
			break;
		int wait = wait_ms(client);
		if (wait == 0)
			return wl_fail(err, ETIMEDOUT, "the answer stopped for %u ms", client->request->idle_ms);
		stop.revents = 0;
		(void)curl_multi_poll(client->multi, &stop, cancel_fd >= 0 ? 1 : 0, wait, NULL);
		if (stop.revents)
			return wl_fail(err, ECANCELED, "the execution was stopped");
	}
	int left = 0;
	const CURLMsg *message = curl_multi_info_read(client->multi, &left);
	if (!message || message->msg != CURLMSG_DONE)
		return wl_fail(err, EIO, "the HTTP library lost the request");
	return message->data.result == CURLE_OK ? 0 : failure_of(client, message->data.result, err);
}

/* A list of header lines; they may hold credentials, so that they are wiped. */
static void wipe_lines(struct curl_slist *list)
{
	for (struct curl_slist *at = list; at; at = at->next)
		explicit_bzero(at->data, strlen(at->data));
	curl_slist_free_all(list);
}

static int add_line(struct curl_slist **list, const char *name, const char *value)
{
	_wl_buffer_ struct wl_buffer line;
	wl_buffer_init(&line, 0);
	value += strspn(value, " \t");
	/* libcurl takes "Name;" for a header without a value, and "Name:" for one to leave out */
	(void)wl_buffer_appendf(&line, *value ? "%s: %s" : "%s;%s", name, value);
	struct curl_slist *longer = line.failed ? NULL : curl_slist_append(*list, line.data);
	if (line.data)
		explicit_bzero(line.data, line.length);
	if (!longer)
		return -ENOMEM;
	*list = longer;
	return 0;
}

static int step_lines(const struct wl_http_request *request, const struct step *step, struct curl_slist **ret_list)
{
	struct curl_slist *list = curl_slist_append(NULL, "Expect:");
	int failed = list ? 0 : -ENOMEM;
	if (!failed && step->body && request->content_type)
		failed = add_line(&list, "Content-Type", request->content_type);
	for (size_t i = 0; !failed && step->theirs && i < request->header_count; i++)
		failed = add_line(&list, request->headers[i].name, request->headers[i].value);
	if (failed)
		wipe_lines(list);
	else
		*ret_list = list;
	return failed;
}

static int make_step(struct wl_http_client *client, const struct step *step, uint64_t left_ms, struct wl_error *err)
{
	struct curl_slist *lines = NULL;
	if (step_lines(client->request, step, &lines) < 0)
		return wl_fail(err, ENOMEM, "no memory for a request");
	client->refused = client->too_large = client->declined = false;
	client->header_bytes = client->passed = 0;
	client->last_ms = 0;
	client->message[0] = '\0';
	client->response->address[0] = '\0';
	wl_buffer_clear(&client->response->body);
	forget_headers(client->response);
	set_transport(client, left_ms);
	set_request(client->easy, step, client->request->body_length, lines);
	int result = -EIO;
	if (curl_multi_add_handle(client->multi, client->easy) == CURLM_OK) {
		result = drive(client, err);
		(void)curl_multi_remove_handle(client->multi, client->easy);
	} else {
		(void)wl_fail(err, EIO, "the HTTP library failed");
	}
	curl_off_t connect_us = 0;
	(void)curl_easy_getinfo(client->easy, CURLINFO_CONNECT_TIME_T, &connect_us);
	client->response->connect_us = (uint64_t)connect_us;
	(void)curl_easy_getinfo(client->easy, CURLINFO_RESPONSE_CODE, &client->response->status);
	wipe_lines(lines);
	return result;
}

/* ---- the call --------------------------------------------------------------------------------------------------- */

static int check_host(const struct wl_http_request *request, const struct wl_http_url *url, struct wl_error *err)
{
	if (!request->hosts ||
	    wl_egress_host_matches(request->hosts, request->host_count, url->host, url->port, url->standard_port))
		return 0;
	return wl_fail(err, EACCES, "the host %.200s is not one of those that may be asked", url->host);
}

static int check_request(const struct wl_http_request *request, struct wl_error *err)
{
	if (!is_method(request->method))
		return wl_fail(err, EINVAL, "'%.16s' is no method that may be sent", request->method);
	if (request->content_type && !wl_http_header_valid("Content-Type", request->content_type))
		return wl_fail(err, EINVAL, "the content type is no header that may be sent");
	for (size_t i = 0; i < request->header_count; i++)
		if (!wl_http_header_valid(request->headers[i].name, request->headers[i].value))
			return wl_fail(err, EINVAL, "'%.64s' is no header that may be sent", request->headers[i].name);
	return 0;
}

/* Turn to where the answer points: 1 when there is a next step, 0 when the answer stands. */
static int follow(struct wl_http_client *client, struct step *step, struct wl_error *err)
{
	struct wl_http_response *response = client->response;
	const char *next = wl_http_response_header(response, "location");
	if (client->request->redirects == 0 || !is_redirect(response->status) || !next)
		return 0;
	if (response->steps >= client->request->redirects)
		return wl_fail(err, EMLINK, "more than %d redirects", client->request->redirects);
	struct wl_http_url url = { 0 };
	if (wl_http_url_read(next, &step->url, &url, err) < 0) {
		(void)wl_fail_within(err, "redirect");
		err->code = EACCES;
		return -EACCES;
	}
	if (becomes_get(response->status, step->method)) {
		step->method = "GET";
		step->body = NULL;
	}
	step->theirs = step->theirs && wl_http_url_same_origin(&step->url, &url);
	wl_http_url_release(&step->url);
	step->url = url;
	response->steps++;
	return 1;
}

static int make_steps(struct wl_http_client *client, struct step *step, uint64_t end_ms, struct wl_error *err)
{
	for (;;) {
		uint64_t now_ms = wl_clock_boot_ms();
		(void)snprintf(client->response->host, sizeof(client->response->host), "%s", step->url.host);
		if (check_host(client->request, &step->url, err) < 0)
			return -err->code;
		if (now_ms >= end_ms)
			return wl_fail(err, ETIMEDOUT, "the time was up after %d redirects", client->response->steps);
		int result = make_step(client, step, end_ms - now_ms, err);
		if (result == 0)
			result = follow(client, step, err);
		if (result <= 0)
			return result;
	}
}

int wl_http_send(struct wl_http_client *client, const struct wl_http_request *request,
		 struct wl_http_response *response, struct wl_error *err)
{
	struct wl_error ignored;
	struct step step = { .method = request->method, .body = request->body, .theirs = true };
	uint64_t begin_us = wl_clock_monotonic_us();
	uint64_t end_ms = wl_clock_boot_ms() + (request->timeout_ms ? request->timeout_ms : WL_HTTP_TIMEOUT_MS);
	err = err ? err : &ignored;
	*response = (struct wl_http_response){ 0 };
	/* with pieces it holds what was refused, which nobody needs much of */
	wl_buffer_init(&response->body, request->body_max && !request->piece ? request->body_max : WL_HTTP_BODY_MAX);
	response->headers = calloc(WL_HTTP_HEADER_LINES_MAX, sizeof(*response->headers));
	if (!response->headers)
		return wl_fail(err, ENOMEM, "no memory for a request");
	if (check_request(request, err) < 0 || wl_http_url_read(request->url, NULL, &step.url, err) < 0)
		return -err->code;
	client->request = request;
	client->response = response;
	int result = make_steps(client, &step, end_ms, err);
	wl_http_url_release(&step.url);
	client->request = NULL;
	client->response = NULL;
	response->total_us = wl_clock_monotonic_us() - begin_us;
	return result;
}

/* ---- the client ------------------------------------------------------------------------------------------------- */

int wl_http_client_new(const struct wl_egress_rules *egress, struct wl_http_client **ret_client, struct wl_error *err)
{
	(void)pthread_once(&curl_once, curl_begin);
	struct wl_http_client *client = calloc(1, sizeof(*client));
	if (!client)
		return wl_fail(err, ENOMEM, "no memory for an HTTP client");
	client->egress = egress;
	client->multi = curl_multi_init();
	client->easy = curl_easy_init();
	if (!client->multi || !client->easy) {
		wl_http_client_free(client);
		return wl_fail(err, ENOMEM, "no memory for an HTTP client");
	}
	(void)curl_multi_setopt(client->multi, CURLMOPT_MAXCONNECTS, KEPT_CONNECTIONS);
	*ret_client = client;
	return 0;
}

void wl_http_client_free(struct wl_http_client *client)
{
	if (!client)
		return;
	if (client->easy)
		curl_easy_cleanup(client->easy);
	if (client->multi)
		(void)curl_multi_cleanup(client->multi);
	free(client);
}
