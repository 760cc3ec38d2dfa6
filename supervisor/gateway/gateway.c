/*
 * Theory of operation
 *
 * libmicrohttpd parses and gives each connection a thread of its own, on which a call may wait for its model. An answer
 * that streams is pulled by that thread while the model pushes, so a call that streams has a second thread, and the two
 * meet at exchange->pieces (calls.c).
 *
 * A call ends early when its client hangs up, when the execution is cancelled and when the gateway closes: one epoll
 * descriptor that watches all three is what the call is given to watch.
 */
#include "supervisor/gateway/gateway.h"

#include "lib/base/cleanup.h"
#include "lib/base/clock.h"
#include "supervisor/gateway/exchange.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

#define STACK (512u << 10) /* bytes of a connection's thread; of them only what is touched becomes memory */

/* ---- exchanges ------------------------------------------------------------------------------------------- */

static bool watch(int epoll, int fd, uint32_t events)
{
	struct epoll_event event = { .events = events };
	return fd < 0 || epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) == 0;
}

static bool open_cancel(struct exchange *exchange)
{
	const union MHD_ConnectionInfo *info =
		MHD_get_connection_info(exchange->connection, MHD_CONNECTION_INFO_CONNECTION_FD);
	exchange->gone_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	exchange->cancel_fd = epoll_create1(EPOLL_CLOEXEC);
	return info && exchange->gone_fd >= 0 && exchange->cancel_fd >= 0 &&
	       watch(exchange->cancel_fd, exchange->gone_fd, EPOLLIN) &&
	       watch(exchange->cancel_fd, exchange->gateway->stop_fd, EPOLLIN) &&
	       watch(exchange->cancel_fd, exchange->gateway->cancel_fd, EPOLLIN) &&
	       watch(exchange->cancel_fd, info->connect_fd, EPOLLRDHUP);
}

struct exchange *exchange_new(struct gateway *gateway, struct MHD_Connection *connection)
{
	struct exchange *exchange = calloc(1, sizeof(*exchange));
	if (!exchange)
		return NULL;
	exchange->gateway = gateway;
	exchange->connection = connection;
	exchange->references = 1;
	exchange->gone_fd = exchange->cancel_fd = -1;
	(void)pthread_mutex_init(&exchange->lock, NULL);
	(void)pthread_cond_init(&exchange->changed, NULL);
	wl_buffer_init(&exchange->body, GATEWAY_BODY_MAX);
	(void)wl_uuid7(wl_clock_wall_ms(), exchange->id);
	if (open_cancel(exchange))
		return exchange;
	exchange_release(exchange);
	return NULL;
}

static void uncount_body(struct exchange *exchange)
{
	struct gateway *gateway = exchange->gateway;
	(void)pthread_mutex_lock(&gateway->lock);
	gateway->body_bytes -= exchange->counted;
	exchange->counted = 0;
	(void)pthread_mutex_unlock(&gateway->lock);
}

void exchange_release(struct exchange *exchange)
{
	(void)pthread_mutex_lock(&exchange->lock);
	bool last = --exchange->references == 0;
	(void)pthread_mutex_unlock(&exchange->lock);
	if (!last)
		return;
	uncount_body(exchange);
	wl_buffer_release(&exchange->body);
	wl_buffer_release(&exchange->pieces);
	wl_buffer_release(&exchange->making);
	wl_front_release(&exchange->front);
	wl_cleanup_close(&exchange->gone_fd);
	wl_cleanup_close(&exchange->cancel_fd);
	(void)pthread_mutex_destroy(&exchange->lock);
	(void)pthread_cond_destroy(&exchange->changed);
	free(exchange);
}

/* ---- answers --------------------------------------------------------------------------------------------- */

enum MHD_Result exchange_answer(struct exchange *exchange, int status, struct wl_buffer *json)
{
	char seconds[24];
	size_t length = json->length;
	if (json->failed)
		return MHD_NO; /* no memory: the connection is closed */
	struct MHD_Response *response =
		MHD_create_response_from_buffer(length, wl_buffer_steal(json), MHD_RESPMEM_MUST_FREE);
	if (!response)
		return MHD_NO;
	(void)MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, "application/json");
	(void)MHD_add_response_header(response, "x-request-id", exchange->id);
	if (status == 429 || status == 503) {
		(void)snprintf(seconds, sizeof(seconds), "%llu",
			       exchange->retry_after_ms ? (unsigned long long)(exchange->retry_after_ms + 999) / 1000
							: 1ull);
		(void)MHD_add_response_header(response, MHD_HTTP_HEADER_RETRY_AFTER, seconds);
	}
	/* a client that tried again would hear the same */
	if (exchange->code && strcmp(exchange->code, "insufficient_quota") == 0)
		(void)MHD_add_response_header(response, "x-should-retry", "false");
	enum MHD_Result result = MHD_queue_response(exchange->connection, (unsigned)status, response);
	MHD_destroy_response(response);
	return result;
}

enum MHD_Result exchange_refuse(struct exchange *exchange, int status, const char *code, const char *sentence)
{
	struct wl_buffer json = { 0 };
	bool anthropic = exchange->route && exchange->route->format == &wl_front_anthropic;
	exchange->code = code;
	(void)wl_buffer_append_text(&json, anthropic ? "{\"type\":\"error\"," : "{");
	(anthropic ? &wl_front_anthropic : &wl_front_openai)->error(&json, status, code, sentence);
	(void)wl_buffer_append_char(&json, '}');
	enum MHD_Result result = exchange_answer(exchange, status, &json);
	wl_buffer_release(&json);
	return result;
}

/* ---- requests -------------------------------------------------------------------------------------------- */

static enum MHD_Result begin(struct exchange *exchange, const char *url, const char *method)
{
	const struct gateway_route *other = NULL;
	const char *length = MHD_lookup_connection_value(exchange->connection, MHD_HEADER_KIND, "Content-Length");
	for (const struct gateway_route *route = gateway_routes; route->path; route++) {
		if (strcmp(route->path, url) != 0)
			continue;
		other = route;
		if (strcmp(route->method, method) == 0)
			exchange->route = route;
	}
	if (!other)
		return exchange_refuse(exchange, 404, NULL, "there is nothing here: see /v1/models");
	if (!exchange->route)
		return exchange_refuse(exchange, 405, NULL, "the method is not that of this path");
	if (length && strtoull(length, NULL, 10) > GATEWAY_BODY_MAX)
		return exchange_refuse(exchange, 413, NULL, "a request's body has at most 16 MiB");
	return MHD_YES;
}

/* False: a bound is passed. There is no way to answer before a body has come, so the connection is closed. */
static bool take_body(struct exchange *exchange, const char *bytes, size_t length)
{
	struct gateway *gateway = exchange->gateway;
	(void)pthread_mutex_lock(&gateway->lock);
	bool fits = gateway->body_bytes + length <= GATEWAY_BODIES_MAX &&
		    gateway->bytes_in_all + length <= GATEWAY_BYTES_IN_ALL;
	if (fits) {
		gateway->body_bytes += length;
		gateway->bytes_in_all += length;
		exchange->counted += length;
	}
	(void)pthread_mutex_unlock(&gateway->lock);
	return fits && wl_buffer_append(&exchange->body, bytes, length) == 0;
}

static bool begin_call(struct exchange *exchange)
{
	struct gateway *gateway = exchange->gateway;
	(void)pthread_mutex_lock(&gateway->lock);
	exchange->calling = gateway->calls < GATEWAY_CALLS;
	gateway->calls += exchange->calling;
	(void)pthread_mutex_unlock(&gateway->lock);
	return exchange->calling;
}

/* A connection that waits for a model is not idle: its time begins anew when the answer is there. */
static void set_idle(struct exchange *exchange, unsigned seconds)
{
	(void)MHD_set_connection_option(exchange->connection, MHD_CONNECTION_OPTION_TIMEOUT, seconds);
}

static enum MHD_Result work(struct exchange *exchange)
{
	if (!begin_call(exchange))
		return exchange_refuse(exchange, 429, "rate_limit_exceeded", "16 calls are under way: no more at once");
	set_idle(exchange, 0);
	enum MHD_Result result = exchange->route->work(exchange);
	/* a stream waits for its model as long as it lasts */
	if (!exchange->has_thread)
		set_idle(exchange, GATEWAY_IDLE_S);
	return result;
}

static enum MHD_Result handle(void *self, struct MHD_Connection *connection, const char *url, const char *method,
			      const char *version, const char *bytes, size_t *length, void **context)
{
	struct exchange *exchange = *context;
	(void)version;
	if (!exchange) {
		exchange = exchange_new(self, connection);
		*context = exchange;
		return exchange ? begin(exchange, url, method) : MHD_NO;
	}
	if (*length == 0)
		return work(exchange);
	bool taken = take_body(exchange, bytes, *length);
	*length = 0;
	return taken ? MHD_YES : MHD_NO;
}

static void completed(void *self, struct MHD_Connection *connection, void **context,
		      enum MHD_RequestTerminationCode reason)
{
	struct exchange *exchange = *context;
	struct gateway *gateway = self;
	(void)connection;
	(void)reason;
	if (!exchange)
		return;
	*context = NULL;
	set_idle(exchange, GATEWAY_IDLE_S);
	(void)pthread_mutex_lock(&gateway->lock);
	gateway->calls -= exchange->calling;
	(void)pthread_mutex_unlock(&gateway->lock);
	exchange->calling = false;
	exchange_release(exchange);
}

static enum MHD_Result accept_one(void *self, const struct sockaddr *address, socklen_t length)
{
	struct gateway *gateway = self;
	(void)address;
	(void)length;
	(void)pthread_mutex_lock(&gateway->lock);
	bool fits = gateway->connections_in_all < GATEWAY_CONNECTIONS_IN_ALL;
	gateway->connections_in_all += fits;
	(void)pthread_mutex_unlock(&gateway->lock);
	return fits ? MHD_YES : MHD_NO;
}

/* ---- the server ------------------------------------------------------------------------------------------ */

/* What a program does wrong is its own business, and told to it. */
static void say_nothing(void *context, const char *format, va_list arguments)
{
	(void)context;
	(void)format;
	(void)arguments;
}

static struct MHD_Daemon *start(struct gateway *gateway, int listen_fd)
{
	return MHD_start_daemon(MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_THREAD_PER_CONNECTION | MHD_USE_POLL |
					MHD_USE_ITC | MHD_USE_ERROR_LOG,
				0, accept_one, gateway, handle, gateway, MHD_OPTION_EXTERNAL_LOGGER, say_nothing, NULL,
				MHD_OPTION_LISTEN_SOCKET, listen_fd, MHD_OPTION_CONNECTION_LIMIT,
				(unsigned)GATEWAY_CONNECTIONS, MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)GATEWAY_IDLE_S,
				MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)GATEWAY_HEADER_MAX,
				MHD_OPTION_THREAD_STACK_SIZE, (size_t)STACK, MHD_OPTION_STRICT_FOR_CLIENT, 1,
				MHD_OPTION_NOTIFY_COMPLETED, completed, gateway, MHD_OPTION_END);
}

int gateway_open(int listen_fd, int cancel_fd, const struct gateway_host *host, struct gateway **ret_gateway,
		 struct wl_error *err)
{
	_wl_close_ int listener = listen_fd;
	struct gateway *gateway = calloc(1, sizeof(*gateway));
	if (!gateway)
		return wl_fail(err, ENOMEM, "no memory for the models' gateway");
	*gateway = (struct gateway){ .host = *host, .cancel_fd = cancel_fd };
	(void)pthread_mutex_init(&gateway->lock, NULL);
	gateway->stop_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	gateway->daemon = gateway->stop_fd >= 0 ? start(gateway, listener) : NULL;
	if (!gateway->daemon) {
		gateway_close(gateway);
		return wl_fail(err, EIO, "the models' gateway cannot be started");
	}
	(void)wl_steal_fd(&listener); /* MHD_stop_daemon() closes it */
	*ret_gateway = gateway;
	return 0;
}

void gateway_close(struct gateway *gateway)
{
	if (!gateway)
		return;
	(void)eventfd_write(gateway->stop_fd, 1);
	if (gateway->daemon)
		MHD_stop_daemon(gateway->daemon);
	wl_cleanup_close(&gateway->stop_fd);
	(void)pthread_mutex_destroy(&gateway->lock);
	free(gateway);
}
