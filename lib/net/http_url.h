/* The one parser of URLs: what it lets through is what libcurl gets. For the files of this folder. */
#ifndef WL_NET_HTTP_URL_H
#define WL_NET_HTTP_URL_H

#include "lib/base/error.h"

#include <curl/curl.h>
#include <stdbool.h>

#define WL_HTTP_HOST_TEXT 256

struct wl_http_url {
	CURLU *parsed;
	char host[WL_HTTP_HOST_TEXT]; /* without brackets */
	int port;
	int standard_port; /* of its scheme */
};

/*
 * Read a URL; `base` may be NULL, else `text` may be relative to it (RFC 3986 §5). 0 and *ret_url, for
 * wl_http_url_release(); -EINVAL when it is of no use, -EACCES for a number that stands for an IPv4 address in a form
 * that hides it, -ENOMEM.
 */
int wl_http_url_read(const char *text, const struct wl_http_url *base, struct wl_http_url *ret_url,
		     struct wl_error *err);
void wl_http_url_release(struct wl_http_url *url);

/* Same scheme, host and port (RFC 6454)? */
bool wl_http_url_same_origin(const struct wl_http_url *first, const struct wl_http_url *second);

#endif
