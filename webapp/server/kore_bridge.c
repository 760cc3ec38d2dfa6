/*
 * Theory of operation
 *
 * kore runs one loop a worker: wait for events, run timers, call the handler of each request that is not asleep,
 * close what was given up. Its one route is web_entry(). The first call makes a web_request and hands it to the
 * server; without an answer the request sleeps. Whoever answers later wakes it, web_entry() runs again and sends.
 * When the client goes first, kore frees its request: the web_request then loses its exchange and its answer goes
 * nowhere, but it lives on until the last job lets go of it.
 */
#include "webapp/server/bridge.h"

#include "lib/base/cleanup.h"
#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "lib/base/settings.h"
#include "webapp/server/metrics.h"
#include "webapp/server/request.h"

#include <arpa/inet.h>
#include <kore/kore.h>

#include <kore/http.h>
#include <kore/seccomp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>

/* Handlers and hooks that kore finds by name. */
int web_entry(struct http_request *req);
void kore_parent_configure(int argc, char **argv);
void kore_parent_teardown(void);
void kore_worker_configure(void);
void kore_worker_teardown(void);
/* Our patch of kore asks for the request_id of an error that it answers itself. */
void web_problem_id(char text[WL_UUID_TEXT]);

/* kore reads its configuration from these two. It is written when the settings are known. */
#define CONFIGURATION_MAX 4096
extern uint8_t asset_builtin_kore_conf[];
extern uint32_t asset_len_builtin_kore_conf;
uint8_t asset_builtin_kore_conf[CONFIGURATION_MAX];
uint32_t asset_len_builtin_kore_conf;

#ifdef WL_SANITIZED
/* sanitizers make system calls of their own */
KORE_SECCOMP_FILTER("windlass", KORE_BPF_RET(SECCOMP_RET_ALLOW))
#else
/*
 * What libpq, hiredis, libmongoc and threads need beyond kore's own list, found by tracing, and what storing an upload
 * in a folder takes. Everything else kills.
 */
KORE_SECCOMP_FILTER("windlass", KORE_SYSCALL_ALLOW(clone3), KORE_SYSCALL_ALLOW(clone), KORE_SYSCALL_ALLOW(rseq),
		    KORE_SYSCALL_ALLOW(set_robust_list), KORE_SYSCALL_ALLOW(eventfd2), KORE_SYSCALL_ALLOW(socket),
		    KORE_SYSCALL_ALLOW(connect), KORE_SYSCALL_ALLOW(getsockopt), KORE_SYSCALL_ALLOW(getsockname),
		    KORE_SYSCALL_ALLOW(getpeername), KORE_SYSCALL_ALLOW(newfstatat), KORE_SYSCALL_ALLOW(sendmsg),
		    KORE_SYSCALL_ALLOW(sendmmsg), KORE_SYSCALL_ALLOW(recvmsg), KORE_SYSCALL_ALLOW(shutdown),
		    KORE_SYSCALL_ALLOW(readv), KORE_SYSCALL_ALLOW(prctl), KORE_SYSCALL_ALLOW(mremap),
		    KORE_SYSCALL_ALLOW(gettid), KORE_SYSCALL_ALLOW(getppid), KORE_SYSCALL_ALLOW(getgid),
		    KORE_SYSCALL_ALLOW(getegid), KORE_SYSCALL_ALLOW(gettimeofday), KORE_SYSCALL_ALLOW(uname),
		    KORE_SYSCALL_ALLOW(sysinfo), KORE_SYSCALL_ALLOW(sched_yield), KORE_SYSCALL_ALLOW(sched_getaffinity),
		    KORE_SYSCALL_ALLOW(getdents64), KORE_SYSCALL_ALLOW(getrusage), KORE_SYSCALL_ALLOW(dup),
		    KORE_SYSCALL_ALLOW(pread64), KORE_SYSCALL_ALLOW(munlock), KORE_SYSCALL_ALLOW(ioctl),
		    KORE_SYSCALL_ALLOW(restart_syscall), KORE_SYSCALL_ALLOW(tgkill), KORE_SYSCALL_ALLOW(statx),
		    KORE_SYSCALL_ALLOW(fsync), KORE_SYSCALL_ALLOW(mkdirat), KORE_SYSCALL_ALLOW(renameat),
		    KORE_SYSCALL_ALLOW(unlinkat))
#endif

/* ---- descriptors and timers --------------------------------------------------------------------------- */

struct web_watch {
	struct kore_event event; /* first: kore is handed this struct and takes it for an event */
	int fd;
	uint32_t mask;
	bool freed;
	web_watch_ready *ready;
	void *context;
};

static void watch_event(void *data, int error)
{
	struct web_watch *watch = data;
	int flags = watch->event.flags;
	watch->event.flags = 0;
	if (!watch->freed)
		watch->ready(watch->context, flags & KORE_EVENT_READ, flags & KORE_EVENT_WRITE, error != 0);
}

struct web_watch *web_watch_new(int fd, web_watch_ready *ready, void *context)
{
	struct web_watch *watch = calloc(1, sizeof(*watch));
	if (!watch)
		return NULL;
	watch->event.handle = watch_event;
	watch->fd = fd;
	watch->mask = EPOLLIN;
	watch->ready = ready;
	watch->context = context;
	kore_platform_event_schedule(fd, EPOLLIN, 0, watch);
	return watch;
}

void web_watch_want(struct web_watch *watch, bool readable, bool writable)
{
	uint32_t mask = (readable ? (uint32_t)EPOLLIN : 0) | (writable ? (uint32_t)EPOLLOUT : 0);
	if (mask == watch->mask)
		return;
	watch->mask = mask;
	kore_platform_event_schedule(watch->fd, (int)mask, 0, watch);
}

static void free_later(void *data, uint64_t now)
{
	(void)now;
	free(data);
}

/* The present batch of events may still name the watch, so its memory goes with the next timers. */
void web_watch_free(struct web_watch *watch)
{
	if (!watch)
		return;
	watch->freed = true;
	kore_platform_disable_read(watch->fd);
	(void)kore_timer_add(free_later, 0, watch, KORE_TIMER_ONESHOT);
}

struct web_timer {
	web_timer_due *due;
	void *context;
	bool once;
};

static void timer_event(void *data, uint64_t now)
{
	struct web_timer *timer = data;
	(void)now;
	timer->due(timer->context);
	if (timer->once)
		free(timer);
}

static struct web_timer *timer_add(uint64_t ms, web_timer_due *due, void *context, bool once)
{
	struct web_timer *timer = calloc(1, sizeof(*timer));
	if (!timer)
		return NULL;
	*timer = (struct web_timer){ .due = due, .context = context, .once = once };
	(void)kore_timer_add(timer_event, ms, timer, once ? KORE_TIMER_ONESHOT : 0);
	return timer;
}

void web_timer_once(uint64_t after_ms, web_timer_due *due, void *context)
{
	if (!timer_add(after_ms, due, context, true))
		wl_log(WL_LOG_ERROR, "no memory for a timer");
}

struct web_timer *web_timer_every(uint64_t each_ms, web_timer_due *due, void *context)
{
	return timer_add(each_ms, due, context, false);
}

/* ---- requests --------------------------------------------------------------------------------------------- */

/* A web_exchange is kore's request under a name that says nothing of kore. */
static struct http_request *kore_half(const struct web_exchange *exchange)
{
	return (struct http_request *)(uintptr_t)exchange;
}

const char *web_exchange_header(void *exchange, const char *name)
{
	const char *value;
	if (!exchange || !http_request_header(kore_half(exchange), name, &value))
		return NULL;
	return value;
}

size_t web_exchange_headers(const struct web_exchange *exchange, struct web_header *headers, size_t room)
{
	struct http_header *header;
	size_t count = 0;
	TAILQ_FOREACH(header, &kore_half(exchange)->req_headers, list)
	{
		if (count == room)
			break;
		headers[count++] = (struct web_header){ header->header, header->value };
	}
	return count;
}

const char *web_exchange_host(const struct web_exchange *exchange)
{
	return kore_half(exchange)->host;
}

const char *web_exchange_peer(const struct web_exchange *exchange, char *text, size_t size)
{
	const struct connection *connection = exchange ? kore_half(exchange)->owner : NULL;
	text[0] = '\0';
	if (connection && connection->family == AF_INET)
		(void)inet_ntop(AF_INET, &connection->addr.ipv4.sin_addr, text, (socklen_t)size);
	else if (connection && connection->family == AF_INET6)
		(void)inet_ntop(AF_INET6, &connection->addr.ipv6.sin6_addr, text, (socklen_t)size);
	return text;
}

void web_exchange_close_after(struct web_exchange *exchange)
{
	if (exchange && kore_half(exchange)->owner)
		kore_half(exchange)->owner->flags |= CONN_CLOSE_EMPTY;
}

void web_exchange_wake(struct web_exchange *exchange)
{
	http_request_wakeup(kore_half(exchange));
}

/* kore is done with its half: answered, or the client has gone. */
static void exchange_over(struct http_request *req)
{
	struct web_request *request = req->hdlr_extra;
	req->hdlr_extra = NULL;
	if (!request)
		return;
	request->exchange = NULL;
	if (!request->answered && request->client_gone)
		request->client_gone(request);
	web_request_release(request);
}

static enum web_method method_of(const struct http_request *req)
{
	switch (req->method) {
	case HTTP_METHOD_GET:
		return WEB_GET;
	case HTTP_METHOD_HEAD:
		return WEB_HEAD;
	case HTTP_METHOD_POST:
		return WEB_POST;
	case HTTP_METHOD_PUT:
		return WEB_PUT;
	case HTTP_METHOD_PATCH:
		return WEB_PATCH;
	case HTTP_METHOD_DELETE:
		return WEB_DELETE;
	case HTTP_METHOD_OPTIONS:
		return WEB_OPTIONS;
	default:
		return WEB_OTHER;
	}
}

/* Copy what a job may need after the client, and kore's memory with it, has gone. */
static struct web_request *arrive(struct http_request *req)
{
	struct web_request *request = web_request_new();
	if (!request)
		return NULL;
	request->exchange = (struct web_exchange *)req;
	request->method = method_of(req);
	request->path = strdup(req->path);
	request->query = req->query_string ? strdup(req->query_string) : NULL;
	request->body = malloc(req->http_body_length + 1);
	if (!request->path || (req->query_string && !request->query) || !request->body) {
		request->exchange = NULL;
		web_request_release(request);
		return NULL;
	}
	if (req->http_body)
		memcpy(request->body, req->http_body->data, req->http_body_length);
	request->body_length = req->http_body ? req->http_body_length : 0;
	request->body[request->body_length] = '\0';
	req->hdlr_extra = request;
	req->onfree = exchange_over;
	return request;
}

static void put_headers(struct http_request *req, const struct web_request *request)
{
	for (int i = 0; i < request->header_count; i++)
		http_response_header(req, request->headers[i].name,
				     request->headers[i].long_value ? request->headers[i].long_value
								    : request->headers[i].value);
	http_response_header(req, "x-request-id", request->id);
	http_response_header(req, "cache-control", "no-store");
	http_response_header(req, "x-content-type-options", "nosniff");
	http_response_header(req, "content-security-policy", "default-src 'none'; frame-ancestors 'none'");
	http_response_header(req, "referrer-policy", "no-referrer");
}

void web_problem_id(char text[WL_UUID_TEXT])
{
	wl_uuid7(wl_clock_wall_ms(), text);
}

/* ---- streams ------------------------------------------------------------------------------------------------ */

struct web_stream {
	struct connection *connection;
	void (*gone)(void *context);
	web_stream_received *received;
	void *context;
};

static void stream_closed(struct connection *connection)
{
	struct web_stream *stream = connection->hdlr_extra;
	connection->hdlr_extra = NULL; /* kore would free it with memory functions of its own */
	if (!stream)
		return;
	stream->connection = NULL;
	stream->gone(stream->context);
	free(stream);
}

#define RECEIVE_BYTES 16384

/* What kore read; it reads on behind it. A stream that is gone swallows the rest. */
static int stream_receives(struct netbuf *buffer)
{
	struct connection *connection = buffer->owner;
	struct web_stream *stream = connection->hdlr_extra;
	size_t length = buffer->s_off;
	buffer->s_off = 0;
	if (stream && connection->state != CONN_STATE_DISCONNECTING)
		stream->received(stream->context, buffer->buf, length);
	return KORE_RESULT_OK;
}

/* From here on the connection is not HTTP's: first what came with the request, then what comes. */
static void take_connection(struct http_request *req, struct connection *connection)
{
	struct web_stream *stream = connection->hdlr_extra;
	if (req->rest_len > 0)
		stream->received(stream->context, req->headers + req->headers_len, req->rest_len);
	if (connection->state == CONN_STATE_DISCONNECTING)
		return;
	net_recv_reset(connection, RECEIVE_BYTES, stream_receives);
	connection->rnb->flags |= NETBUF_CALL_CB_ALWAYS;
	if (!net_recv_flush(connection))
		kore_connection_disconnect(connection);
}

static void open_stream(struct http_request *req, struct web_request *request)
{
	struct connection *connection = req->owner;
	struct web_stream *stream = calloc(1, sizeof(*stream));
	if (!stream) {
		http_response(req, 503, NULL, 0);
		return;
	}
	connection->flags |= CONN_IS_BUSY; /* kore then waits for no further request on it */
	if (request->stream_received) {
		connection->proto = CONN_PROTO_WEBSOCKET; /* to kore: no Connection header of its own */
		connection->flags = (uint16_t)(connection->flags & ~CONN_CLOSE_EMPTY);
	}
	http_response(req, request->status, NULL, 0);
	connection->flags = (uint16_t)(connection->flags & ~CONN_CLOSE_EMPTY);
	connection->http_timeout = 0;
	connection->idle_timer.length = UINT64_MAX;
	*stream = (struct web_stream){ connection, request->stream_gone, request->stream_received,
				       request->stream_context };
	connection->hdlr_extra = stream;
	connection->disconnect = stream_closed;
	request->stream_taken = true;
	request->stream_opened(request, stream);
	if (request->stream_received && connection->state != CONN_STATE_DISCONNECTING)
		take_connection(req, connection);
}

bool web_stream_send(struct web_stream *stream, const void *bytes, size_t length)
{
	struct connection *connection = stream->connection;
	if (!connection || connection->state == CONN_STATE_DISCONNECTING)
		return false;
	net_send_queue(connection, bytes, length);
	if (net_send_flush(connection))
		return connection->state != CONN_STATE_DISCONNECTING;
	kore_connection_disconnect(connection);
	return false;
}

size_t web_stream_queued(const struct web_stream *stream)
{
	const struct netbuf *buffer;
	size_t queued = 0;
	if (stream->connection)
		TAILQ_FOREACH(buffer, &stream->connection->send_queue, list)
	queued += buffer->b_len - buffer->s_off;
	return queued;
}

void web_stream_finish(struct web_stream *stream)
{
	struct connection *connection = stream->connection;
	if (!connection)
		return;
	connection->flags |= CONN_CLOSE_EMPTY;
	connection->idle_timer.length = 20000;
	if (!net_send_flush(connection))
		kore_connection_disconnect(connection);
}

void web_stream_cut(struct web_stream *stream)
{
	if (stream->connection)
		kore_connection_disconnect(stream->connection);
}

/* ---- the one route -------------------------------------------------------------------------------------------- */

static void send_answer(struct http_request *req, struct web_request *request)
{
	bool streams =
		request->stream_opened && (request->status == 101 || request->status == 200 || request->status == 206);
	put_headers(req, request);
	web_metrics_answered(request);
	/* of a body that is not sent here, kore knows no length; a 304 has none of its own (RFC 9110 §8.6) */
	if (streams || request->status == 304)
		req->flags |= HTTP_REQUEST_NO_CONTENT_LENGTH;
	if (streams && req->owner && request->method != WEB_HEAD)
		open_stream(req, request);
	else
		http_response(req, request->status, request->answer.length ? request->answer.data : NULL,
			      request->answer.length);
}

int web_entry(struct http_request *req)
{
	struct web_request *request = req->hdlr_extra;
	if (!request) {
		request = arrive(req);
		if (!request) {
			http_response(req, 503, NULL, 0);
			return KORE_RESULT_OK;
		}
		if (req->owner)
			req->owner->http_timeout = 0;
		web_server_handle(request);
	}
	if (!request->answered) {
		http_request_sleep(req);
		return KORE_RESULT_RETRY;
	}
	send_answer(req, request);
	return KORE_RESULT_OK;
}

/* ---- start and end ---------------------------------------------------------------------------------------------- */

static int write_configuration(const struct web_listen *listen)
{
	struct rlimit files = { .rlim_cur = 1024, .rlim_max = 1024 };
	(void)getrlimit(RLIMIT_NOFILE, &files);
	/* kore adds the descriptors that are open already, and raises the hard limit too, which only root may */
	unsigned long most = files.rlim_max > 20000 ? 16384 : (unsigned long)files.rlim_max - 128;
	char tls[2 * WL_SETTING_TEXT_MAX + 64] = "";
	if (listen->certificate)
		(void)snprintf(tls, sizeof(tls), "\tcertfile %s\n\tcertkey %s\n", listen->certificate, listen->key);
	int length =
		snprintf((char *)asset_builtin_kore_conf, CONFIGURATION_MAX,
			 "root .\nworkers %ld\nworker_max_connections %lu\nworker_rlimit_nofiles %lu\n"
			 "worker_accept_threshold 1\nworker_set_affinity 0\nsocket_backlog 1024\n"
			 "http_header_max 16384\nhttp_body_max %ld\nhttp_request_limit 1024\nhttp_request_ms 1000\n"
			 "http_hsts_enable 0\nhttp_keepalive_time 20\nhttp_pretty_error yes\n"
			 "http_server_version windlass\n"
			 "server main {\n\tbind %s %ld\n\ttls %s\n}\n"
			 "domain * {\n\tattach main\n%s\troute ^/ web_entry\n}\n",
			 listen->workers, most / 2, most, listen->body_max, listen->address, listen->port,
			 listen->certificate ? "yes" : "no", tls);
	if (length < 0 || length >= CONFIGURATION_MAX)
		return -1;
	asset_len_builtin_kore_conf = (uint32_t)length;
	return 0;
}

static pid_t parent;

void kore_parent_configure(int argc, char **argv)
{
	struct web_listen listen;
	bool leave = false;
	int rc = web_server_prepare(argc, argv, &listen, &leave);
	if (rc != 0 || leave)
		exit(rc);
	(void)setvbuf(stdout, NULL, _IOLBF, 0); /* kore prints there, and a fork would print the buffer twice */
	parent = getpid();
	kore_foreground = 1;
	kore_quiet = 1;
	skip_chroot = 1;
	skip_runas = 1;
	kore_pidfile = NULL;
	if (write_configuration(&listen) < 0) {
		wl_log(WL_LOG_ERROR, "the address in WINDLASS_BIND (bind) is too long");
		exit(1);
	}
}

void kore_parent_teardown(void)
{
	web_server_leave();
}

void kore_worker_configure(void)
{
	(void)prctl(PR_SET_PDEATHSIG, SIGTERM);
	if (getppid() != parent) /* it died before it could be said */
		exit(1);
	if (web_server_start_worker((int)worker->id - 1) < 0)
		exit(1);
}

/* One turn of kore's loop. */
static void turn(uint64_t wait_ms)
{
	kore_platform_event_wait(wait_ms);
	kore_timer_run(kore_time_ms());
	http_process();
	kore_connection_prune(KORE_CONNECTION_PRUNE_DISCONNECT);
}

static bool busy(void)
{
	const struct connection *connection;
	if (http_request_count > 0 || web_server_sending())
		return true;
	TAILQ_FOREACH(connection, &connections, list)
	if ((connection->proto == CONN_PROTO_HTTP || connection->proto == CONN_PROTO_WEBSOCKET) &&
	    !TAILQ_EMPTY(&connection->send_queue))
		return true;
	return false;
}

/*
 * kore leaves its loop at SIGTERM and would drop what is in progress. So its loop goes on here: first with an open
 * door and a readiness of 503, for proxies to see; then with a closed one, until all is answered or the time is up.
 */
void kore_worker_teardown(void)
{
	uint64_t drain_ms = (uint64_t)web_server_drain_ms();
	uint64_t open_until = kore_time_ms() + drain_ms / 20, end = kore_time_ms() + drain_ms;
	web_server_drain();
	kore_platform_enable_accept();
	while (kore_time_ms() < open_until)
		turn(20);
	kore_platform_disable_accept();
	kore_server_closeall();
	web_server_end_streams();
	while (busy() && kore_time_ms() < end)
		turn(20);
	if (http_request_count > 0)
		wl_log(WL_LOG_WARNING, "%u requests were not answered when the time to drain was over",
		       http_request_count);
}
