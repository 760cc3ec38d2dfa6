/* One request and its answer; within supervisor/gateway. */
#ifndef WL_SUPERVISOR_GATEWAY_EXCHANGE_H
#define WL_SUPERVISOR_GATEWAY_EXCHANGE_H

#include "lib/base/ids.h"
#include "supervisor/gateway/gateway.h"

#include <microhttpd.h>
#include <pthread.h>

struct exchange;

struct gateway {
	struct gateway_host host;
	struct MHD_Daemon *daemon;
	int cancel_fd;	      /* the caller's; -1: none */
	int stop_fd;	      /* an eventfd, readable from the beginning of gateway_close() on */
	pthread_mutex_t lock; /* guards all below */
	int calls;	      /* under way */
	size_t body_bytes;    /* of all requests under way */
	uint64_t bytes_in_all;
	int connections_in_all;
};

/* What is done with a request of the right form, on its connection's thread. */
struct gateway_route {
	const char *path, *method;
	const struct wl_front_format *format;
	enum MHD_Result (*work)(struct exchange *exchange);
};

struct exchange {
	struct gateway *gateway;
	struct MHD_Connection *connection;
	const struct gateway_route *route;
	struct wl_buffer body;
	size_t counted;		/* bytes of gateway->body_bytes that are this one's */
	bool calling;		/* counted in gateway->calls */
	int gone_fd, cancel_fd; /* an eventfd; an epoll that is readable when the call is to end */
	char id[WL_UUID_TEXT];
	struct wl_front front;
	struct wl_front_reply reply;
	/* how a call failed */
	int status;
	const char *code;
	uint64_t retry_after_ms;
	struct wl_error err;
	/* of a stream */
	pthread_t thread;
	bool has_thread;
	pthread_mutex_t lock; /* guards all below */
	pthread_cond_t changed;
	int references; /* of the connection and of the stream */
	struct wl_buffer pieces;
	struct wl_buffer making; /* the thread's, before it is put into pieces */
	bool has_sent, ended, gone;
};

extern const struct gateway_route gateway_routes[];

struct exchange *exchange_new(struct gateway *gateway, struct MHD_Connection *connection);
void exchange_release(struct exchange *exchange);

/* Answer with JSON; takes the buffer's bytes. */
enum MHD_Result exchange_answer(struct exchange *exchange, int status, struct wl_buffer *json);
/* Answer with an error as the client's format has it. `code` may be NULL. */
enum MHD_Result exchange_refuse(struct exchange *exchange, int status, const char *code, const char *sentence);

#endif
