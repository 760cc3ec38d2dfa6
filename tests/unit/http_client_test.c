/*
 * The HTTP client against a server of the test's own, with a double of the resolver: this program's getaddrinfo() takes
 * the place of libc's, so that a name can have another address each time it is asked.
 */
#include "lib/base/cleanup.h"
#include "lib/base/clock.h"
#include "lib/net/http_client.h"
#include "tests/kit/http_script.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>

#include <cmocka.h>

/* ---- the resolver's double ----------------------------------------------------------------------------------------
 */

/* What "rebind.test" resolves to: one line a question, the last one for all that follow. */
static const char *const *rebind_answers;
static atomic_int rebind_asked;

static struct addrinfo *one_address(const char *address, int port)
{
	struct addrinfo *info = calloc(1, sizeof(*info) + sizeof(struct sockaddr_in));
	struct sockaddr_in *in = (struct sockaddr_in *)(info + 1);
	*in = (struct sockaddr_in){ .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
	assert_int_equal(inet_pton(AF_INET, address, &in->sin_addr), 1);
	*info = (struct addrinfo){ .ai_family = AF_INET,
				   .ai_socktype = SOCK_STREAM,
				   .ai_protocol = IPPROTO_TCP,
				   .ai_addrlen = sizeof(*in),
				   .ai_addr = (struct sockaddr *)in };
	return info;
}

int getaddrinfo(const char *name, const char *service, const struct addrinfo *hints, struct addrinfo **ret_info)
{
	(void)hints;
	if (!rebind_answers || strcmp(name, "rebind.test") != 0)
		return EAI_NONAME;
	int asked = atomic_fetch_add(&rebind_asked, 1);
	int at = 0;
	while (at < asked && rebind_answers[at + 1])
		at++;
	char copy[128];
	char *rest = NULL;
	struct addrinfo **end = ret_info;
	(void)snprintf(copy, sizeof(copy), "%s", rebind_answers[at]);
	for (char *address = strtok_r(copy, " ", &rest); address; address = strtok_r(NULL, " ", &rest)) {
		*end = one_address(address, service ? atoi(service) : 0);
		end = &(*end)->ai_next;
	}
	return 0;
}

void freeaddrinfo(struct addrinfo *info)
{
	while (info) {
		struct addrinfo *next = info->ai_next;
		free(info);
		info = next;
	}
}

/* ---- the server ---------------------------------------------------------------------------------------------------
 */

static const struct http_script answers[] = {
	{ "/text",
	  "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nX-One: 1\r\nx-one: 2\r\nContent-Length: 2\r\n\r\nok" },
	{ "/json",
	  "HTTP/1.1 200 OK\r\nContent-Type: application/hal+json ; charset=utf-8\r\nContent-Length: 2\r\n\r\n{}" },
	{ "/other", "HTTP/1.1 307 Moved\r\nLocation: http://127.0.0.2:%d/text\r\nContent-Length: 0\r\n\r\n" },
	{ "/same", "HTTP/1.1 302 Moved\r\nLocation: /text\r\nContent-Length: 0\r\n\r\n" },
	{ "/home", "HTTP/1.1 302 Moved\r\nLocation: http://127.0.0.9:%d/text\r\nContent-Length: 0\r\n\r\n" },
	{ "/query", "HTTP/1.1 302 Moved\r\nLocation: ?a b=\xc3\xa4#x\r\nContent-Length: 0\r\n\r\n" },
	{ "/loop", "HTTP/1.1 302 Moved\r\nLocation: /loop\r\nContent-Length: 0\r\n\r\n" },
	{ "/file", "HTTP/1.1 302 Moved\r\nLocation: file:///etc/passwd\r\nContent-Length: 0\r\n\r\n" },
	{ "/dict", "HTTP/1.1 302 Moved\r\nLocation: dict://127.0.0.1:%d/x\r\nContent-Length: 0\r\n\r\n" },
	{ "/hidden", "HTTP/1.1 302 Moved\r\nLocation: http://2130706433:%d/text\r\nContent-Length: 0\r\n\r\n" },
	{ "/slashes", "HTTP/1.1 302 Moved\r\nLocation: http:///127.0.0.1:%d/text\r\nContent-Length: 0\r\n\r\n" },
	{ "/beside", "HTTP/1.1 302 Moved\r\nLocation: //127.1:%d/text\r\nContent-Length: 0\r\n\r\n" },
	{ "/single", "HTTP/1.1 302 Moved\r\nLocation: http:/127.0.0.1:%d/text\r\nContent-Length: 0\r\n\r\n" },
	{ "/nothing", "HTTP/1.1 302 Moved\r\nContent-Length: 0\r\n\r\n" },
	{ "/user", "HTTP/1.1 302 Moved\r\nLocation: http://a:b@127.0.0.1:%d/text\r\nContent-Length: 0\r\n\r\n" },
	{ "/large", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n123456789" },
	{ "/old", "plain words without a status line" },
	{ "/begins", "HTTP/1.1 200 OK\r\nX-One: 1\r\nConnection: close\r\n\r\nbegun" },
	{ "/refused", "HTTP/1.1 400 Bad\r\nContent-Length: 2\r\n\r\nno" },
	{ "/cut", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n123" },
	{ "/hang", "" },
	{ NULL, NULL },
};

/* What is too long for a script. */
static bool send_more(int connection, const char *path)
{
	if (strcmp(path, "/flood") == 0)
		(void)send(connection, "HTTP/1.1 200 OK\r\n", 17, MSG_NOSIGNAL);
	for (int i = 0; strcmp(path, "/flood") == 0 && i < 100000; i++)
		if (send(connection, "X-Flood: aaaaaaaaaaaaaaaaaaaaaaaa\r\n", 35, MSG_NOSIGNAL) < 0)
			return false;
	for (int i = 0; strcmp(path, "/drip") == 0 && i < 200; i++) {
		if (send(connection, i ? "x" : "HTTP/1.1 200 OK\r\n\r\n", i ? 1 : 19, MSG_NOSIGNAL) < 0)
			return false;
		(void)poll(NULL, 0, 20);
	}
	return strcmp(path, "/text") == 0 || strcmp(path, "/hang") == 0 || strcmp(path, "/begins") == 0;
}

/* ---- asking it
 * ------------------------------------------------------------------------------------------------------- */

struct stage {
	struct http_server server;
	struct wl_egress_rules rules;
	struct wl_http_client *client;
	struct wl_http_request request;
	struct wl_http_response response;
	struct wl_error err;
	char url[256];
};

static void set_stage(struct stage *stage, const char *allow)
{
	*stage = (struct stage){ .request = { .method = "GET", .cancel_fd = -1, .timeout_ms = 10000 } };
	http_server_start(&stage->server, answers, send_more);
	assert_int_equal(wl_egress_rules_read(allow, &stage->rules, &stage->err), 0);
	assert_int_equal(wl_http_client_new(&stage->rules, &stage->client, &stage->err), 0);
}

static void clear_stage(struct stage *stage)
{
	wl_http_response_release(&stage->response);
	wl_http_client_free(stage->client);
	http_server_stop(&stage->server);
	rebind_answers = NULL;
}

#define _stage_ __attribute__((cleanup(clear_stage)))

static int ask(struct stage *stage, const char *host, const char *path)
{
	(void)snprintf(stage->url, sizeof(stage->url), "http://%s:%d%s", host, stage->server.port, path);
	stage->request.url = stage->url;
	wl_http_response_release(&stage->response);
	return wl_http_send(stage->client, &stage->request, &stage->response, &stage->err);
}

static void expect(struct stage *stage, const char *host, const char *path, int result)
{
	int got = ask(stage, host, path);
	if (got != result)
		fail_msg("%s%s: %d (%s) instead of %d", host, path, got, got < 0 ? stage->err.text : "", result);
}

/* ---- plain answers
 * ---------------------------------------------------------------------------------------------------- */

static void test_answers(void **state)
{
	(void)state;
	_stage_ struct stage stage;
	set_stage(&stage, "127.0.0.0/8");
	expect(&stage, "127.0.0.1", "/text", 0);
	assert_int_equal(stage.response.status, 200);
	assert_string_equal(stage.response.body.data, "ok");
	assert_string_equal(wl_http_response_header(&stage.response, "x-one"), "1");
	assert_int_equal(stage.response.header_count, 4);
	assert_false(wl_http_response_is_json(&stage.response));
	assert_string_equal(stage.response.address, "127.0.0.1");
	assert_string_equal(stage.response.host, "127.0.0.1");
	assert_null(wl_http_response_header(&stage.response, "x-none"));
	expect(&stage, "127.0.0.1", "/json", 0);
	assert_true(wl_http_response_is_json(&stage.response));
	expect(&stage, "nowhere.test", "/text", -ENOENT);
	expect(&stage, "127.0.0.1", "/old", -EIO); /* HTTP/0.9 */
	expect(&stage, "127.0.0.1", "/cut", -EIO);
	stage.request.body_max = 8;
	expect(&stage, "127.0.0.1", "/large", -EMSGSIZE);
	stage.request.body_max = 9;
	expect(&stage, "127.0.0.1", "/large", 0);
	expect(&stage, "127.0.0.1", "/flood", -EMSGSIZE);
	stage.request.timeout_ms = 200;
	expect(&stage, "127.0.0.1", "/hang", -ETIMEDOUT);
	expect(&stage, "127.0.0.1", "/drip", -ETIMEDOUT);
}

struct pieces {
	char text[512];
	int count;
	int wanted; /* after so many it wants no more; 0: all */
};

static int take_piece(void *context, const struct wl_http_response *response, const char *bytes, size_t length)
{
	struct pieces *pieces = context;
	assert_true(length > 0 && response->status == 200);
	strncat(pieces->text, bytes, length);
	return pieces->wanted && ++pieces->count >= pieces->wanted;
}

static void test_pieces_of_an_answer(void **state)
{
	(void)state;
	_stage_ struct stage stage;
	struct pieces pieces = { .count = 0 };
	set_stage(&stage, "127.0.0.0/8");
	stage.request.piece = take_piece;
	stage.request.piece_context = &pieces;
	expect(&stage, "127.0.0.1", "/text", 0);
	assert_string_equal(pieces.text, "ok");
	assert_int_equal(stage.response.body.length, 0);
	assert_string_equal(wl_http_response_header(&stage.response, "x-one"), "1");
	expect(&stage, "127.0.0.1", "/refused", 0); /* is kept by the response */
	assert_string_equal(stage.response.body.data, "no");
	stage.request.redirects = 1;
	expect(&stage, "127.0.0.1", "/same", 0);
	assert_string_equal(pieces.text, "okok");
	stage.request.body_max = 8;
	expect(&stage, "127.0.0.1", "/large", -EMSGSIZE);
	stage.request.body_max = 0;
	pieces = (struct pieces){ .wanted = 3 };
	expect(&stage, "127.0.0.1", "/drip", -EPIPE);
	assert_int_equal(pieces.count, 3);
}

static void test_an_answer_that_stops_is_given_up(void **state)
{
	(void)state;
	_stage_ struct stage stage;
	struct pieces pieces = { .count = 0 };
	set_stage(&stage, "127.0.0.0/8");
	stage.request.piece = take_piece;
	stage.request.piece_context = &pieces;
	stage.request.idle_ms = 100;
	stage.request.timeout_ms = 60000;
	uint64_t begin_ms = wl_clock_boot_ms();
	expect(&stage, "127.0.0.1", "/begins", -ETIMEDOUT);
	assert_string_equal(pieces.text, "begun");
	assert_non_null(strstr(stage.err.text, "stopped"));
	assert_true(wl_clock_boot_ms() - begin_ms < 30000);
}

static void test_nobody_listens(void **state)
{
	(void)state;
	_stage_ struct stage stage;
	set_stage(&stage, "127.0.0.0/8");
	int spare = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0); /* bound, but it does not listen */
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t length = sizeof(address);
	assert_int_equal(bind(spare, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(getsockname(spare, (struct sockaddr *)&address, &length), 0);
	(void)snprintf(stage.url, sizeof(stage.url), "http://127.0.0.1:%d/", ntohs(address.sin_port));
	stage.request.url = stage.url;
	assert_int_equal(wl_http_send(stage.client, &stage.request, &stage.response, &stage.err), -ECONNREFUSED);
	(void)close(spare);
}

static void *write_later(void *context)
{
	uint64_t one = 1;
	(void)poll(NULL, 0, 30);
	assert_int_equal(write(*(int *)context, &one, sizeof(one)), sizeof(one));
	return NULL;
}

static void test_cancel(void **state)
{
	(void)state;
	_stage_ struct stage stage;
	pthread_t canceller;
	set_stage(&stage, "127.0.0.0/8");
	_wl_close_ int stop = eventfd(0, EFD_CLOEXEC);
	stage.request.cancel_fd = stop;
	assert_int_equal(pthread_create(&canceller, NULL, write_later, &stop), 0);
	expect(&stage, "127.0.0.1", "/hang", -ECANCELED);
	(void)pthread_join(canceller, NULL);
}

/* ---- what is refused
 * -------------------------------------------------------------------------------------------------- */

static const struct {
	const char *url;
	int result;
} urls[] = {
	{ "http://example.com", 0 },
	{ "HTTPS://EXAMPLE.com:8443/a?b#c", 0 },
	{ "http://8.8.8.8/", 0 },
	{ "http://[2606:4700::1]:80/", 0 },
	{ "", -EINVAL },
	{ "example.com", -EINVAL },
	{ "//example.com/", -EINVAL },
	{ "http:/example.com/", -EINVAL },
	{ "http:///etc/passwd", -EINVAL },
	{ "file:///etc/passwd", -EINVAL },
	{ "gopher://example.com/", -EINVAL },
	{ "dict://example.com/", -EINVAL },
	{ "ftp://example.com/", -EINVAL },
	{ "unix:/tmp/x", -EINVAL },
	{ "http://user@example.com/", -EINVAL },
	{ "http://user:pw@example.com/", -EINVAL },
	{ "http://8.8.8.8@127.0.0.1/", -EINVAL },
	{ "http://example.com:80@127.0.0.1/", -EINVAL },
	{ "http://@example.com/", -EINVAL },
	{ "http://[fe80::1%25eth0]/", -EINVAL },
	{ "http://[2606:4700::1%251]/", -EINVAL },
	{ "http://example.com:0/", -EINVAL },
	{ "http://example.com:99999/", -EINVAL },
	{ "http://example.com:80x/", -EINVAL },
	{ "http://exa mple.com/", -EINVAL },
	{ "http://example.com/a b", -EINVAL },
	{ "http://example.com/\r\nX: y", -EINVAL },
	{ "http://example.com\t/", -EINVAL },
	{ "http://[::1/", -EINVAL },
	{ "http://0x7f.0.0.1/", -EACCES },
	{ "http://0x7f000001/", -EACCES },
	{ "http://2130706433/", -EACCES },
	{ "http://017700000001/", -EACCES },
	{ "http://0177.0.0.1/", -EACCES },
	{ "http://127.1/", -EACCES },
	{ "http://127.0.1/", -EACCES },
	{ "http://0/", -EACCES },
	{ "http://134744072/", -EACCES }, /* 8.8.8.8: global, but hidden all the same */
	{ "http://%31%32%37.0.0.1/", -EACCES },
	{ "http://0.0.0%30/", -EACCES },
	{ "http://exa%6Dple.com/", -EACCES },
	{ "http://127.1/127.0.0.1", -EACCES },
	{ "http://127.1?127.0.0.1", -EACCES },
	{ "http://127.1#127.0.0.1", -EACCES },
};

static void test_urls(void **state)
{
	(void)state;
	for (size_t i = 0; i < WL_COUNT_OF(urls); i++) {
		struct wl_error err = { 0 };
		int result = wl_http_url_check(urls[i].url, NULL, NULL, &err);
		if (result != urls[i].result)
			fail_msg("%s: %d %s", urls[i].url, result, err.text);
	}
	char host[256], long_url[WL_HTTP_URL_MAX + 32] = "http://example.com/";
	int port = 0;
	assert_int_equal(wl_http_url_check("https://[2606:4700::1]/x", host, &port, NULL), 0);
	assert_string_equal(host, "2606:4700::1");
	assert_int_equal(port, 443);
	memset(long_url + 19, 'a', WL_HTTP_URL_MAX);
	assert_int_equal(wl_http_url_check(long_url, NULL, NULL, NULL), -EINVAL);
}

static void test_headers(void **state)
{
	(void)state;
	static const struct {
		const char *name, *value;
		bool valid;
	} rows[] = {
		{ "X-A", "b", true },
		{ "x!#$%&'*+-.^_`|~1", "tab\there \xc3\xa4", true },
		{ "X-Empty", "", true },
		{ "", "b", false },
		{ "X A", "b", false },
		{ "X:A", "b", false },
		{ "X\r\nA", "b", false },
		{ "X-\xc3\xa4", "b", false },
		{ "X-A", "b\r\nEvil: 1", false },
		{ "X-A", "b\nEvil: 1", false },
		{ "X-A", "b\r", false },
		{ "X-A", "\x01", false },
		{ "X-A", "\x7f", false },
		{ "Host", "other.test", false },
		{ "content-length", "5", false },
		{ "Transfer-Encoding", "chunked", false },
		{ "Connection", "close", false },
		{ "Upgrade", "h2c", false },
		{ "Proxy-Authorization", "x", false },
		{ "Expect", "100-continue", false },
	};
	for (size_t i = 0; i < WL_COUNT_OF(rows); i++)
		if (wl_http_header_valid(rows[i].name, rows[i].value) != rows[i].valid)
			fail_msg("%s: %s", rows[i].name, rows[i].value);
	_stage_ struct stage stage;
	set_stage(&stage, "127.0.0.0/8");
	struct wl_http_header evil = { "X-A", "b\r\nEvil: 1" }, blank = { "X-Blank", "  " };
	stage.request.headers = &evil;
	stage.request.header_count = 1;
	expect(&stage, "127.0.0.1", "/text", -EINVAL);
	stage.request.headers = &blank;
	stage.request.content_type = "a/b\r\nEvil: 1";
	stage.request.body = "x";
	stage.request.body_length = 1;
	expect(&stage, "127.0.0.1", "/text", -EINVAL);
	stage.request.content_type = NULL;
	stage.request.method = "GET / HTTP/1.1\r\nEvil: 1\r\n";
	expect(&stage, "127.0.0.1", "/text", -EINVAL);
	stage.request.method = "TRACE";
	expect(&stage, "127.0.0.1", "/text", -EINVAL);
	assert_int_equal(atomic_load(&stage.server.requests), 0);
	stage.request.method = "POST";
	expect(&stage, "127.0.0.1", "/text", 0);
	assert_non_null(strstr(stage.server.seen, "X-Blank:\r\n"));
}

static void test_escaping(void **state)
{
	(void)state;
	_wl_buffer_ struct wl_buffer text;
	wl_buffer_init(&text, 0);
	assert_int_equal(wl_http_append_escaped(&text, "aZ0-._~ /?#&=%\0\r\xc3\xa4", 18), 0);
	assert_string_equal(text.data, "aZ0-._~%20%2F%3F%23%26%3D%25%00%0D%C3%A4");
}

/* The name's second answer is an address of our own: the check is made on the address that is connected to. */
static void test_rebinding(void **state)
{
	(void)state;
	static const char *const turning[] = { "127.0.0.2", "127.0.0.1", NULL };
	_stage_ struct stage stage;
	set_stage(&stage, "127.0.0.2/32");
	rebind_answers = turning;
	atomic_store(&rebind_asked, 0);
	expect(&stage, "rebind.test", "/text", 0);
	assert_string_equal(stage.response.address, "127.0.0.2");
	assert_string_equal(stage.response.host, "rebind.test");
	wl_http_client_free(stage.client); /* with its connections and what it knows of names */
	assert_int_equal(wl_http_client_new(&stage.rules, &stage.client, &stage.err), 0);
	expect(&stage, "rebind.test", "/text", -EACCES);
	assert_int_equal(atomic_load(&stage.server.requests), 1);
	assert_null(strstr(stage.server.seen, "@127.0.0.1\n")); /* not even connected to */
}

/* Of several addresses only those that may be reached are tried. */
static void test_mixed_addresses(void **state)
{
	(void)state;
	static const char *const mixed[] = { "127.0.0.1 127.0.0.2", NULL };
	static const char *const forbidden[] = { "127.0.0.1 10.0.0.1 169.254.169.254", NULL };
	_stage_ struct stage stage;
	set_stage(&stage, "127.0.0.2/32");
	rebind_answers = mixed;
	expect(&stage, "rebind.test", "/text", 0);
	assert_string_equal(stage.response.address, "127.0.0.2");
	assert_null(strstr(stage.server.seen, "@127.0.0.1\n"));
	wl_http_client_free(stage.client);
	assert_int_equal(wl_http_client_new(&stage.rules, &stage.client, &stage.err), 0);
	rebind_answers = forbidden;
	expect(&stage, "rebind.test", "/text", -EACCES);
	assert_int_equal(atomic_load(&stage.server.requests), 1);
}

/* A connection that was kept from a request with wider rights is of no use to one without them. */
static void test_kept_connection(void **state)
{
	(void)state;
	_stage_ struct stage stage;
	set_stage(&stage, "127.0.0.0/8");
	expect(&stage, "127.0.0.1", "/text", 0);
	expect(&stage, "127.0.0.1", "/text", 0);
	assert_int_equal(atomic_load(&stage.server.requests), 2);
	char *first = strstr(stage.server.seen, "@");
	assert_non_null(first);
	assert_null(strstr(first + 1, "@")); /* one connection served both */
	stage.rules.count = 0;
	expect(&stage, "127.0.0.1", "/text", -EACCES);
	assert_int_equal(atomic_load(&stage.server.requests), 2);
}

static void test_hosts_of_a_request(void **state)
{
	(void)state;
	static const char *const named[] = { "127.0.0.1" };
	_stage_ struct stage stage;
	char with_port[64];
	const char *hosts = with_port;
	set_stage(&stage, "127.0.0.0/8");
	stage.request.hosts = named;
	stage.request.host_count = 1;
	expect(&stage, "127.0.0.1", "/text", -EACCES); /* another port than the usual one is to be named */
	(void)snprintf(with_port, sizeof(with_port), "127.0.0.1:%d", stage.server.port);
	stage.request.hosts = &hosts;
	expect(&stage, "127.0.0.1", "/text", 0);
	expect(&stage, "127.0.0.2", "/text", -EACCES);
	stage.request.redirects = 1;
	expect(&stage, "127.0.0.1", "/other", -EACCES);
	expect(&stage, "127.0.0.1", "/same", 0);
	assert_int_equal(stage.response.steps, 1);
	assert_null(strstr(stage.server.seen, "@127.0.0.2\n"));
}

/* The environment's proxies are not asked: they would be the ones whose address is checked. */
static void test_no_proxy(void **state)
{
	(void)state;
	_stage_ struct stage stage;
	char proxy[64];
	set_stage(&stage, "127.0.0.2/32");
	(void)snprintf(proxy, sizeof(proxy), "http://127.0.0.2:%d", stage.server.port);
	static const char *const names[] = { "http_proxy", "https_proxy", "all_proxy", "HTTPS_PROXY", "ALL_PROXY" };
	for (size_t i = 0; i < WL_COUNT_OF(names); i++)
		assert_int_equal(setenv(names[i], proxy, 1), 0);
	expect(&stage, "127.0.0.1", "/text", -EACCES);
	expect(&stage, "127.0.0.2", "/text", 0);
	assert_non_null(strstr(stage.server.seen, "GET /text HTTP/1.1"));
	for (size_t i = 0; i < WL_COUNT_OF(names); i++)
		(void)unsetenv(names[i]);
}

/* ---- redirects
 * --------------------------------------------------------------------------------------------------------- */

static void test_redirects(void **state)
{
	(void)state;
	static const struct {
		const char *path;
		int redirects, result;
		long status;
	} rows[] = {
		{ "/same", 0, 0, 302 },		 { "/same", 1, 0, 200 },       { "/loop", 3, -EMLINK, 302 },
		{ "/home", 5, -EACCES, 0 },	 { "/file", 5, -EACCES, 302 }, { "/dict", 5, -EACCES, 302 },
		{ "/hidden", 5, -EACCES, 302 },	 { "/user", 5, -EACCES, 302 }, { "/text", 5, 0, 200 },
		{ "/slashes", 5, -EACCES, 302 }, { "/nothing", 5, 0, 302 },    { "/single", 5, -EACCES, 302 },
		{ "/beside", 5, -EACCES, 302 },
	};
	for (size_t i = 0; i < WL_COUNT_OF(rows); i++) {
		_stage_ struct stage stage;
		set_stage(&stage, "127.0.0.0/30");
		stage.request.redirects = rows[i].redirects;
		expect(&stage, "127.0.0.1", rows[i].path, rows[i].result);
		assert_int_equal(stage.response.status, rows[i].status);
	}
}

/* Headers, which may be credentials, stay with the origin that was named; the body follows a 307. */
static void test_redirect_to_another_origin(void **state)
{
	(void)state;
	_stage_ struct stage stage;
	struct wl_http_header headers[] = { { "Authorization", "Bearer hidden" }, { "Cookie", "hidden=1" } };
	set_stage(&stage, "127.0.0.0/8");
	stage.request.method = "POST";
	stage.request.body = "the body";
	stage.request.body_length = 8;
	stage.request.content_type = "text/plain";
	stage.request.headers = headers;
	stage.request.header_count = 2;
	stage.request.redirects = 1;
	expect(&stage, "127.0.0.1", "/other", 0);
	char *second = strstr(stage.server.seen, "POST /text");
	assert_non_null(second);
	assert_non_null(strstr(second, "the body"));
	assert_non_null(strstr(second, "Content-Type: text/plain"));
	assert_null(strstr(second, "hidden"));
	second[0] = '\0';
	assert_non_null(strstr(stage.server.seen, "Authorization: Bearer hidden"));
	assert_non_null(strstr(stage.server.seen, "Cookie: hidden=1"));
}

static void test_redirect_on_the_same_origin(void **state)
{
	(void)state;
	_stage_ struct stage stage;
	struct wl_http_header header = { "Authorization", "Bearer known" };
	set_stage(&stage, "127.0.0.0/8");
	stage.request.headers = &header;
	stage.request.header_count = 1;
	stage.request.redirects = 1;
	expect(&stage, "127.0.0.1", "/same", 0);
	assert_non_null(strstr(strstr(stage.server.seen, "GET /text"), "Authorization: Bearer known"));
	expect(&stage, "127.0.0.1", "/query?b", -EMLINK);
	assert_non_null(strstr(stage.server.seen, "GET /query?a+b=%c3%a4 HTTP"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_answers),
		cmocka_unit_test(test_pieces_of_an_answer),
		cmocka_unit_test(test_an_answer_that_stops_is_given_up),
		cmocka_unit_test(test_nobody_listens),
		cmocka_unit_test(test_cancel),
		cmocka_unit_test(test_urls),
		cmocka_unit_test(test_headers),
		cmocka_unit_test(test_escaping),
		cmocka_unit_test(test_rebinding),
		cmocka_unit_test(test_mixed_addresses),
		cmocka_unit_test(test_kept_connection),
		cmocka_unit_test(test_hosts_of_a_request),
		cmocka_unit_test(test_no_proxy),
		cmocka_unit_test(test_redirects),
		cmocka_unit_test(test_redirect_to_another_origin),
		cmocka_unit_test(test_redirect_on_the_same_origin),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
