/*
 * HTTP requests to servers of others, by libcurl: what nodes, tools, providers and webhooks ask for.
 *
 * Calls block. A client belongs to one thread and keeps connections open between its requests. What makes them safe:
 *   - every address is checked against the egress rules twice: when the socket is made, so that nothing is sent to an
 *     address that is refused, and again when a request is about to go over a connection that was kept;
 *   - the URL is parsed once, and libcurl gets what was parsed: http and https only, no user in it, no zone, and an
 *     IPv4 address only in its usual form;
 *   - redirects are followed only when the request allows them, and here: each step passes the same checks, and no
 *     header travels to another origin;
 *   - the environment's proxies, .netrc, cookies, HTTP/0.9 and other protocols are never used;
 *   - the answer's body is bounded after it was decoded, its header block and the total time as well.
 */
#ifndef WL_NET_HTTP_CLIENT_H
#define WL_NET_HTTP_CLIENT_H

#include "lib/base/buffer.h"
#include "lib/base/error.h"
#include "lib/net/egress.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WL_HTTP_BODY_MAX (4u << 20)	 /* bytes of a decoded answer when a request sets none */
#define WL_HTTP_HEADERS_MAX (256u << 10) /* bytes of an answer's header block */
#define WL_HTTP_HEADER_LINES_MAX 200	 /* of an answer that are kept */
#define WL_HTTP_CONNECT_MS 10000	 /* when a request sets none */
#define WL_HTTP_TIMEOUT_MS 60000	 /* when a request sets none */
#define WL_HTTP_URL_MAX 16384		 /* bytes */
#define WL_HTTP_ADDRESS_TEXT 46		 /* an address as text, with its NUL */

struct wl_http_client;

struct wl_http_header {
	const char *name;
	const char *value;
};

struct wl_http_response;

/*
 * Takes pieces of a body as they come, decoded, on the thread that sends. The response's status and headers stand by
 * then. Anything but 0 ends the request, which then fails with -EPIPE. `length` is never 0.
 */
typedef int wl_http_take_piece(void *context, const struct wl_http_response *response, const char *bytes,
			       size_t length);

/* All texts belong to the caller and live until the call returns. */
struct wl_http_request {
	const char *method; /* GET, HEAD, POST, PUT, PATCH, DELETE or OPTIONS */
	const char *url;
	const struct wl_http_header *headers; /* sent to the URL's own origin only */
	size_t header_count;
	const char *content_type; /* of the body, goes along with it through redirects; NULL: none */
	const char *body;	  /* NULL: none */
	size_t body_length;	  /* bytes */
	size_t body_max;	  /* bytes of the decoded answer; 0: WL_HTTP_BODY_MAX */
	uint32_t timeout_ms;	  /* for everything together; 0: WL_HTTP_TIMEOUT_MS */
	uint32_t connect_ms;	  /* for resolving and connecting; 0: WL_HTTP_CONNECT_MS */
	int redirects;		  /* how many are followed; 0: a redirect is the answer */
	int cancel_fd;		  /* the call ends when it becomes readable; -1: none. It is not read */
	bool allow_private;	  /* see wl_egress_allows() */
	const char *const *hosts; /* see wl_egress_host_matches(): the only ones that may be asked; NULL: any */
	size_t host_count;
	/*
	 * The body of the last step goes here when its status is 2xx, and not into the response; body_max bounds all
	 * pieces together, and WL_HTTP_BODY_MAX any other body. NULL: the response keeps it.
	 */
	wl_http_take_piece *piece;
	void *piece_context;
	uint32_t idle_ms; /* once the answer's body began, -ETIMEDOUT after so long without more of it; 0: no bound */
};

/* Of the last step. The texts are the response's. */
struct wl_http_response {
	long status;
	struct wl_http_header *headers; /* names in lower case, in their order, up to WL_HTTP_HEADER_LINES_MAX */
	size_t header_count;
	struct wl_buffer body;
	char host[256];			    /* that was asked, as the URL names it */
	char address[WL_HTTP_ADDRESS_TEXT]; /* that was connected to; "" when none was */
	int steps;			    /* redirects that were followed */
	uint64_t connect_us;		    /* until the connection stood */
	uint64_t total_us;		    /* of all steps */
};

/* A client for one thread; `egress` stays the caller's and outlives it. 0 or -ENOMEM. */
int wl_http_client_new(const struct wl_egress_rules *egress, struct wl_http_client **ret_client, struct wl_error *err);
void wl_http_client_free(struct wl_http_client *client);

/*
 * Make the request. *response is filled as far as it came, and the caller releases it in any case.
 * 0: an answer came, whatever its status. -EINVAL: URL, method or a header is of no use, nothing was sent ·
 * -EACCES: the egress rules or the list of hosts refuse it · -ENOENT: the host's name has no address · -ECONNREFUSED:
 * no connection · -ETIMEDOUT · -EMSGSIZE: the answer is too large · -EKEYREJECTED: TLS failed or the certificate is not
 * trusted · -EMLINK: more redirects than allowed · -EPIPE: `piece` wants no more · -ECANCELED · -EIO: anything else.
 */
int wl_http_send(struct wl_http_client *client, const struct wl_http_request *request,
		 struct wl_http_response *response, struct wl_error *err);
void wl_http_response_release(struct wl_http_response *response);

/* The value of the first header of that name (in lower case), or NULL. */
const char *wl_http_response_header(const struct wl_http_response *response, const char *name);
/* Does the content type say JSON: application/json, or anything that ends in +json (RFC 6839)? */
bool wl_http_response_is_json(const struct wl_http_response *response);

/* May this header be sent? A token as name that frames no message, no control characters in the value (RFC 9110 §5). */
bool wl_http_header_valid(const char *name, const char *value);
/* Is the method one that changes nothing (RFC 9110 §9.2.1)? */
bool wl_http_method_safe(const char *method);

/*
 * Check a URL as wl_http_send() does before it asks anyone. 0 with host (without brackets) and port; -EINVAL with a
 * sentence. ret_host may be NULL.
 */
int wl_http_url_check(const char *url, char ret_host[256], int *ret_port, struct wl_error *err);

/* Append `length` bytes to a URL, all but letters, digits and -._~ as %XX (RFC 3986 §2.1). */
int wl_http_append_escaped(struct wl_buffer *buffer, const char *bytes, size_t length);

static inline void wl_cleanup_http_response(struct wl_http_response *response)
{
	wl_http_response_release(response);
}

#define _wl_http_response_ __attribute__((cleanup(wl_cleanup_http_response)))

#endif
