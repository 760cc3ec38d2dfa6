/*
 * One request and its answer. It lives from its arrival until it is answered and every job that works for it has
 * ended, also when the client has gone meanwhile: a job holds a reference.
 */
#ifndef WL_WEBAPP_REQUEST_H
#define WL_WEBAPP_REQUEST_H

#include "lib/base/buffer.h"
#include "lib/base/ids.h"
#include "lib/codec/json.h"
#include "lib/model/flow_graph.h"
#include "webapp/server/bridge.h"
#include "webapp/server/core/parameters.h"
#include "webapp/server/core/route.h"
#include "webapp/server/core/token_cache.h"

#define WEB_ANSWER_HEADERS 16

struct web_answer_header {
	const char *name; /* a literal */
	char value[192];
	char *long_value; /* in place of `value` when that has no room for it */
};

struct web_request {
	int references;
	struct web_exchange *exchange; /* NULL once the client is gone or the answer is sent */
	char id[WL_UUID_TEXT];	       /* request_id */
	uint64_t began_us;

	enum web_method method;
	char *path;
	char *query; /* NULL: none */
	char *body;
	size_t body_length;

	/* found and checked before a handler sees the request */
	const struct web_route *route;
	int route_index; /* -1: none */
	struct web_path_values path_values;
	struct web_parameters parameters;
	struct wl_json *json; /* the body, NULL when there was none */
	struct web_identity identity;

	/* the answer */
	bool answered;
	int status;
	struct web_answer_header headers[WEB_ANSWER_HEADERS];
	int header_count;
	struct wl_buffer answer;
	/* a stream: called when its head is sent */
	void (*stream_opened)(struct web_request *request, struct web_stream *stream);
	void (*stream_gone)(void *context); /* called once, also when it never opened */
	void *stream_context;
	bool stream_taken;				  /* a connection has it */
	web_stream_received *stream_received;		  /* of another protocol: NULL for HTTP's answers */
	void (*client_gone)(struct web_request *request); /* called when the client goes before it is answered */
	const char *fault; /* of a problem on a path of the gateway: the word its clients know; a literal or NULL */

	/* the token that it came with: for what goes on beyond its answer */
	unsigned char token_digest[WEB_TOKEN_DIGEST];

	/*
	 * A request that no connection brought, such as a frame of a WebSocket: called once when it is answered, on the
	 * loop, or given up unanswered. Its client's address, and its Idempotency-Key or NULL, come with it.
	 */
	void (*inner_answered)(struct web_request *request);
	void *inner_context;
	char inner_peer[64];
	const char *inner_key;

	/* what the handler keeps between its steps */
	void *state;
	void (*state_free)(void *state);
};

struct web_request *web_request_new(void);
struct web_request *web_request_hold(struct web_request *request);
void web_request_release(struct web_request *request);

/* Whether somebody still waits for the answer. */
static inline bool web_request_waits(const struct web_request *request)
{
	return request->exchange || request->inner_answered;
}

/* The client's address as text; "" when it is gone. */
static inline const char *web_request_peer(const struct web_request *request, char *text, size_t size)
{
	return request->inner_answered ? request->inner_peer : web_exchange_peer(request->exchange, text, size);
}

/* Add a header to the answer; `name` must be a literal in lower case. */
void web_answer_header(struct web_request *request, const char *name, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/*
 * Answer. Each request is answered once; a second answer is ignored, and so is one to a client that is gone.
 * `request->answer` holds the body of web_answer_json().
 */
void web_answer_json(struct web_request *request, int status);
void web_answer_text(struct web_request *request, int status, const char *content_type);
void web_answer_empty(struct web_request *request, int status);

/* Answer with a problem (RFC 9457): `fmt` is its detail, a sentence. */
void web_answer_problem(struct web_request *request, int status, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* The same with "errors", JSON text of an array of {"path","message"}. */
void web_answer_errors(struct web_request *request, int status, const char *detail, const char *errors_json);
void web_answer_faults(struct web_request *request, int status, const struct wl_flow_faults *faults,
		       const char *detail);
/* 503 with Retry-After in seconds. */
void web_answer_unavailable(struct web_request *request, int retry_s, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* 429 with Retry-After in seconds. */
void web_answer_too_many(struct web_request *request, int retry_s, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* Answer with a stream of server-sent events; `opened` gets it when the head is sent. */
void web_answer_stream(struct web_request *request, void (*opened)(struct web_request *, struct web_stream *),
		       void (*gone)(void *context), void *context);

/*
 * Answer 101: the connection speaks `protocol` from here on. `opened` gets it when the head is sent, `received` what
 * the client sends, also what came with the request.
 */
void web_answer_upgrade(struct web_request *request, const char *protocol,
			void (*opened)(struct web_request *, struct web_stream *), web_stream_received *received,
			void (*gone)(void *context), void *context);

/*
 * Answer with a body that comes piece by piece: the status stands in request->status, 200 or 206, and the headers,
 * content-length among them. `opened` gets the stream when the head is sent; it is not called for HEAD.
 */
void web_answer_download(struct web_request *request, const char *content_type,
			 void (*opened)(struct web_request *, struct web_stream *), void (*gone)(void *context),
			 void *context);

/* Append "name": <JSON string or null> with a comma before it unless the last byte opens an object. */
void web_member_text(struct wl_buffer *buffer, const char *name, const char *text);
/* The same with JSON text that is put in as it is; NULL: null. */
void web_member_raw(struct wl_buffer *buffer, const char *name, const char *json);

#endif
