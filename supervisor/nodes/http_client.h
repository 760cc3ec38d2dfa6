/*
 * HTTP requests of tenants by libcurl. One client a thread: it keeps connections open between requests.
 * Every connection's address is checked against the egress rules when its socket is made; redirects are followed here
 * and not by libcurl, so that each step passes the same check and no header travels to another origin.
 */
#ifndef WL_SUPERVISOR_NODES_HTTP_CLIENT_H
#define WL_SUPERVISOR_NODES_HTTP_CLIENT_H

#include "lib/base/buffer.h"
#include "lib/base/error.h"
#include "supervisor/nodes/egress.h"

#include <curl/curl.h>

#define HTTP_BODY_MAX (4u << 20)
#define HTTP_REDIRECTS_MAX 5
#define HTTP_HEADER_LINES_MAX 200
#define HTTP_CONNECT_MS 10000
#define HTTP_TIMEOUT_MS 60000 /* when the node sets none */

struct http_client;

struct http_request {
	const char *method;
	const char *url;
	struct curl_slist *headers; /* "Name: value" lines of the tenant, checked */
	const char *body;	    /* NULL: none */
	size_t body_length;
	const char *content_type; /* of the body; NULL: none */
	long timeout_ms;	  /* for all steps together */
	int cancel_fd;
};

struct http_response {
	long status;
	struct wl_buffer headers; /* a JSON object's members without the braces */
	int header_lines;
	bool json; /* by its content type */
	struct wl_buffer body;
};

int http_client_new(const struct egress_rules *egress, struct http_client **ret_client, struct wl_error *err);
void http_client_free(struct http_client *client);
/*
 * Make the request. 0 with *response, which the caller releases in any case. -EACCES: the egress rules refuse it;
 * -ECANCELED; -ETIMEDOUT; -EMSGSIZE: the answer is too large; -EINVAL: the URL is of no use; -EIO: anything else.
 */
int http_client_send(struct http_client *client, const struct http_request *request, struct http_response *response,
		     struct wl_error *err);
void http_response_release(struct http_response *response);

#endif
