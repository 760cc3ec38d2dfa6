/* What nodes of the kinds http and tool share: the making of a request and the reading of its answer. */
#ifndef WL_SUPERVISOR_NODES_HTTP_PARTS_H
#define WL_SUPERVISOR_NODES_HTTP_PARTS_H

#include "lib/net/http_client.h"
#include "supervisor/nodes/node.h"

/* Headers of a request. Texts are owned by the list and wiped with it, for they may be credentials. */
struct header_list {
	struct wl_http_header *items;
	size_t count, room;
};

/* 0 or -ENOMEM; both texts are copied. */
int header_list_add(struct header_list *list, const char *name, const char *value);
/* Is there one of that name? Letters compare without case. */
bool header_list_has(const struct header_list *list, const char *name);
void header_list_remove(struct header_list *list, const char *name);
void header_list_release(struct header_list *list);
#define _header_list_ __attribute__((cleanup(header_list_release)))

/*
 * Add Idempotency-Key to a request that may change something and has none: the same key for each attempt of the node
 * in this execution, so that a server which knows the header acts once (draft-ietf-httpapi-idempotency-key-header).
 */
int header_list_add_idempotency(struct header_list *list, const struct node_call *call, const char *method);

/* A JSON value as it stands in a URL or header: a string's own text, else its JSON text. Allocated; NULL: no memory. */
char *http_plain_text(const struct wl_json *value);

/* Append {"name":value, …}; of a header that comes twice the first one, as an object's key may come once only. */
int http_append_headers(struct wl_buffer *text, const struct wl_http_response *response);
/* Append the body: its JSON when it says that it is and is, else a string. */
int http_append_body(struct wl_buffer *text, const struct wl_http_response *response);
/* {"status","headers","body"}, allocated; NULL without memory. */
char *http_response_text(const struct wl_http_response *response);

/* What an error tells of an answer: all of it when it is short, else its status and the beginning of its body. */
char *http_status_detail(const struct wl_http_response *response);

/* Does the status count as success: one of `expect`, or 200 to 299 when there is none? */
bool http_expects(const int *expect, int count, long status);

/* The thread's client, made at its first use; NULL: the outcome tells why. */
struct wl_http_client *http_client_of(struct node_world *world, const struct node_call *call,
				      struct node_outcome *outcome);
/* What becomes of a node whose request got no answer: `result` is what wl_http_send() gave. */
void http_send_failed(struct node_outcome *outcome, const struct node_call *call, int result,
		      const struct wl_error *err);

#endif
