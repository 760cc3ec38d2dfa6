/* The models' gateway of a sandbox, spoken to over real sockets by a host of its own: bounds, and how calls end. */
#include "lib/base/cleanup.h"
#include "lib/base/clock.h"
#include "supervisor/gateway/gateway.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include <cmocka.h>

#define PATIENCE_MS 20000

/* A host whose calls do what the model's name says. */
struct host {
	atomic_int begun, ended, cancelled;
	atomic_size_t told; /* bytes of text */
};

struct place {
	struct host host;
	struct gateway *gateway;
	int cancel_fd;
	struct sockaddr_in address;
};

static int wait_for_cancel(struct host *host, const struct wl_front *front, struct wl_model_answer *answer,
			   struct wl_error *err)
{
	struct pollfd wait = { .fd = front->request.cancel_fd, .events = POLLIN };
	if (poll(&wait, 1, PATIENCE_MS) == 1)
		host->cancelled++;
	answer->fault = WL_MODEL_FAULT_STOPPED;
	return wl_fail(err, ECANCELED, "stopped");
}

/* More than anybody takes, until the call is to end. */
static int talk_on(struct host *host, const struct wl_front *front, struct wl_model_answer *answer,
		   struct wl_error *err)
{
	static const char word[1000] = { [0 ... 998] = 'x' };
	struct pollfd wait = { .fd = front->request.cancel_fd, .events = POLLIN };
	uint64_t give_up_ms = wl_clock_boot_ms() + PATIENCE_MS;
	while (poll(&wait, 1, 0) == 0 && wl_clock_boot_ms() < give_up_ms) {
		front->request.stream->text(front->request.stream->context, word, 999);
		host->told += 999;
	}
	return wait_for_cancel(host, front, answer, err);
}

static int chat(void *self, const struct wl_front *front, struct wl_model_answer *answer, struct wl_error *err)
{
	struct host *host = self;
	int result = 0;
	host->begun++;
	if (strcmp(front->model, "wait") == 0)
		result = wait_for_cancel(host, front, answer, err);
	else if (strcmp(front->model, "talk") == 0)
		result = talk_on(host, front, answer, err);
	else
		answer->text = strdup(front->model);
	host->ended++;
	return result;
}

static int embed(void *self, const struct wl_front *front, float **ret_vectors, size_t *ret_dimensions,
		 struct wl_model_usage *ret_usage, enum wl_model_fault *ret_fault, struct wl_error *err)
{
	(void)self;
	(void)front;
	(void)ret_vectors;
	(void)ret_dimensions;
	(void)ret_usage;
	*ret_fault = WL_MODEL_FAULT_MODEL;
	return wl_fail(err, ENOENT, "no vectors here");
}

static int list(void *self, int cancel_fd, struct wl_buffer *out, struct wl_error *err)
{
	(void)self;
	(void)cancel_fd;
	(void)err;
	(void)wl_buffer_append_text(out, "{\"data\":[]}");
	return 0;
}

static int open_place(void **state)
{
	struct place *place = calloc(1, sizeof(*place));
	const struct gateway_host host = { &place->host, chat, embed, list };
	socklen_t size = sizeof(place->address);
	struct wl_error err = { 0 };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	place->address = (struct sockaddr_in){ .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	assert_int_equal(bind(fd, (struct sockaddr *)&place->address, size), 0);
	assert_int_equal(listen(fd, 64), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&place->address, &size), 0);
	place->cancel_fd = eventfd(0, EFD_CLOEXEC);
	assert_int_equal(gateway_open(fd, place->cancel_fd, &host, &place->gateway, &err), 0);
	*state = place;
	return 0;
}

static int close_place(void **state)
{
	struct place *place = *state;
	gateway_close(place->gateway);
	(void)close(place->cancel_fd);
	free(place);
	return 0;
}

static int dial(const struct place *place)
{
	struct timeval patience = { .tv_sec = PATIENCE_MS / 1000 };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)), 0);
	assert_int_equal(connect(fd, (const struct sockaddr *)&place->address, sizeof(place->address)), 0);
	return fd;
}

static int ask(const struct place *place, const char *model, bool stream)
{
	char body[256], text[512];
	int fd = dial(place);
	(void)snprintf(body, sizeof(body),
		       "{\"model\":\"%s\",\"stream\":%s,\"messages\":[{\"role\":\"user\",\"content\":\"a\"}]}", model,
		       stream ? "true" : "false");
	int length = snprintf(text, sizeof(text),
			      "POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nContent-Length: %zu\r\n\r\n%s",
			      strlen(body), body);
	assert_int_equal(send(fd, text, (size_t)length, MSG_NOSIGNAL), length);
	return fd;
}

/* What comes until the end of the headers and some of the body, or the connection's end. */
static void receive(int fd, char *text, size_t size)
{
	size_t length = 0;
	text[0] = '\0';
	while (length < size - 1 && !(strstr(text, "\r\n\r\n") && strstr(text, "}"))) {
		ssize_t got = recv(fd, text + length, size - 1 - length, 0);
		if (got <= 0)
			break;
		length += (size_t)got;
		text[length] = '\0';
	}
}

static void await(atomic_int *count, int wanted)
{
	uint64_t give_up_ms = wl_clock_boot_ms() + PATIENCE_MS;
	while (atomic_load(count) < wanted && wl_clock_boot_ms() < give_up_ms)
		(void)poll(NULL, 0, 1);
	assert_int_equal(atomic_load(count), wanted);
}

static void calls_are_answered(void **state)
{
	const struct place *place = *state;
	char text[4096];
	_wl_close_ int whole = ask(place, "hello", false), stream = ask(place, "wait", false);
	receive(whole, text, sizeof(text));
	assert_non_null(strstr(text, "HTTP/1.1 200"));
	assert_non_null(strstr(text, "\"content\":\"hello\""));
	wl_cleanup_close(&stream);
	stream = ask(place, "hello", true);
	receive(stream, text, sizeof(text));
	assert_non_null(strstr(text, "text/event-stream"));
}

static void the_end_ends_calls_under_way(void **state)
{
	struct place *place = *state;
	int fds[4];
	for (int i = 0; i < 4; i++)
		fds[i] = ask(place, i < 3 ? "wait" : "talk", i > 1);
	await(&place->host.begun, 4);
	gateway_close(wl_steal(place->gateway));
	assert_int_equal(place->host.ended, 4);
	assert_int_equal(place->host.cancelled, 4);
	for (int i = 0; i < 4; i++)
		(void)close(fds[i]);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&place->address, sizeof(place->address)), -1);
	assert_int_equal(errno, ECONNREFUSED);
	(void)close(fd);
}

static void a_client_that_goes_ends_its_call_alone(void **state)
{
	struct place *place = *state;
	int goes = ask(place, "wait", false), streams = ask(place, "wait", true), stays = ask(place, "wait", false);
	await(&place->host.begun, 3);
	(void)close(goes);
	await(&place->host.cancelled, 1);
	(void)close(streams);
	await(&place->host.cancelled, 2);
	assert_int_equal(place->host.ended, 2);
	assert_int_equal(eventfd_write(place->cancel_fd, 1), 0); /* the execution is cancelled */
	await(&place->host.ended, 3);
	(void)close(stays);
}

static void a_client_that_does_not_read_holds_up_its_model_alone(void **state)
{
	struct place *place = *state;
	char text[4096];
	int deaf = ask(place, "talk", true);
	await(&place->host.begun, 1);
	/* the model has stopped when two looks find it in the same place */
	size_t before = 1, told = 0;
	uint64_t give_up_ms = wl_clock_boot_ms() + PATIENCE_MS;
	while ((told = atomic_load(&place->host.told)) != before && wl_clock_boot_ms() < give_up_ms) {
		before = told;
		(void)poll(NULL, 0, 300);
	}
	assert_int_equal(before, told);
	assert_true(told < 64u << 20);
	_wl_close_ int other = ask(place, "hello", false);
	receive(other, text, sizeof(text));
	assert_non_null(strstr(text, "HTTP/1.1 200"));
	(void)close(deaf);
	await(&place->host.cancelled, 1);
}

static void calls_at_once_are_bounded(void **state)
{
	struct place *place = *state;
	int fds[GATEWAY_CALLS];
	char text[4096];
	for (int i = 0; i < GATEWAY_CALLS; i++)
		fds[i] = ask(place, "wait", i % 2);
	await(&place->host.begun, GATEWAY_CALLS);
	int more = ask(place, "hello", false);
	receive(more, text, sizeof(text));
	assert_non_null(strstr(text, "HTTP/1.1 429"));
	assert_non_null(strstr(text, "rate_limit_exceeded"));
	for (int i = 0; i < GATEWAY_CALLS; i++)
		(void)close(fds[i]);
	await(&place->host.ended, GATEWAY_CALLS);
	(void)close(more);
}

static void what_is_no_request_is_refused(void **state)
{
	const struct place *place = *state;
	static const struct {
		const char *sent, *status;
	} cases[] = {
		{ "GET /v1/models HTTP/9.9\r\nHost: a\r\n\r\n", "HTTP/1.1 505" },
		{ "GET /v1/none HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 404" },
		{ "GET /v1/messages HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 405" },
		{ "GET /v1/models HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 200" },
		{ "POST /v1/messages HTTP/1.1\r\nHost: a\r\nContent-Length: 16777217\r\n\r\n", "HTTP/1.1 413" },
		{ "POST /v1/messages HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 400" },
		{ "POST /v1/messages HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n[]", "HTTP/1.1 422" },
		{ "POST /v1/embeddings HTTP/1.1\r\nHost: a\r\nContent-Length: "
		  "25\r\n\r\n{\"model\":\"m\",\"input\":\"a\"}",
		  "HTTP/1.1 404" },
	};
	for (size_t i = 0; i < WL_COUNT_OF(cases); i++) {
		char text[4096];
		int fd = dial(place);
		assert_true(send(fd, cases[i].sent, strlen(cases[i].sent), MSG_NOSIGNAL) > 0);
		receive(fd, text, sizeof(text));
		if (!strstr(text, cases[i].status))
			fail_msg("case %zu: %s", i, text);
		(void)close(fd);
	}
	assert_int_equal(place->host.begun, 0);
}

static void a_body_without_end_is_not_taken(void **state)
{
	const struct place *place = *state;
	static char chunk[(1 << 16) + 16];
	int fd = dial(place), sent = 0;
	static const char head[] = "POST /v1/messages HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
	assert_true(send(fd, head, sizeof(head) - 1, MSG_NOSIGNAL) > 0);
	memset(chunk, ' ', sizeof(chunk));
	memcpy(chunk, "10000\r\n", 7);
	memcpy(chunk + 7 + (1 << 16), "\r\n", 2);
	while (sent < 1024 && send(fd, chunk, 9 + (1 << 16), MSG_NOSIGNAL) == 9 + (1 << 16))
		sent++;
	assert_in_range(sent, GATEWAY_BODY_MAX >> 16, 1023);
	(void)close(fd);
}

int main(void)
{
#define PLACE_TEST(name) cmocka_unit_test_setup_teardown(name, open_place, close_place)
	const struct CMUnitTest tests[] = {
		PLACE_TEST(calls_are_answered),
		PLACE_TEST(the_end_ends_calls_under_way),
		PLACE_TEST(a_client_that_goes_ends_its_call_alone),
		PLACE_TEST(a_client_that_does_not_read_holds_up_its_model_alone),
		PLACE_TEST(calls_at_once_are_bounded),
		PLACE_TEST(what_is_no_request_is_refused),
		PLACE_TEST(a_body_without_end_is_not_taken),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
