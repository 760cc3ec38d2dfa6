#include "lib/net/http_url.h"

#include "lib/base/buffer.h"
#include "lib/base/cleanup.h"
#include "lib/net/http_client.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <string.h>
#include <strings.h>

static void cleanup_curl(char **text)
{
	curl_free(*text);
}

#define _curl_free_ __attribute__((cleanup(cleanup_curl)))

/* Is there such a part in the URL? */
static bool has_part(CURLU *parsed, CURLUPart part)
{
	_curl_free_ char *text = NULL;
	return curl_url_get(parsed, part, &text, 0) == CURLUE_OK;
}

/*
 * libcurl turns 0x7f.1, 2130706433 and 0177.0.0.1 into 127.0.0.1. Nobody writes an address so who does not want to
 * hide it: it has to stand in the URL's authority as it is asked for. A host with %XX is decoded at one time or
 * another, so that two readings of one URL may differ.
 */
static bool is_hidden_host(const char *url, const char *host)
{
	struct in_addr address;
	const char *authority = strstr(url, "//");
	authority = authority ? authority + 2 : url;
	size_t length = strcspn(authority, "/?#");
	if (memchr(authority, '%', length))
		return true;
	return inet_pton(AF_INET, host, &address) == 1 && !memmem(authority, length, host, strlen(host));
}

/* Letters, digits and marks of names and addresses; beyond ASCII the resolver decides. A % would be decoded again. */
static bool is_host(const char *host)
{
	for (; *host; host++)
		if ((unsigned char)*host < 0x80 && !isalnum((unsigned char)*host) && !strchr("-._:[]", *host))
			return false;
	return true;
}

/* `text`: as it was written; NULL when the authority comes from the URL that it is relative to. */
static int read_authority(const char *text, struct wl_http_url *url, struct wl_error *err)
{
	_curl_free_ char *scheme = NULL;
	_curl_free_ char *host = NULL;
	_curl_free_ char *port = NULL;
	if (curl_url_get(url->parsed, CURLUPART_SCHEME, &scheme, 0) != CURLUE_OK ||
	    (strcasecmp(scheme, "http") != 0 && strcasecmp(scheme, "https") != 0))
		return wl_fail(err, EINVAL, "the url must begin with http:// or https://");
	if (curl_url_get(url->parsed, CURLUPART_HOST, &host, 0) != CURLUE_OK || !*host || !is_host(host) ||
	    strlen(host) >= sizeof(url->host))
		return wl_fail(err, EINVAL, "the url names no host of up to %zu characters", sizeof(url->host) - 1);
	if (has_part(url->parsed, CURLUPART_USER) || has_part(url->parsed, CURLUPART_PASSWORD))
		return wl_fail(err, EINVAL, "the url must not hold a user or password; send a header instead");
	if (has_part(url->parsed, CURLUPART_ZONEID))
		return wl_fail(err, EINVAL, "the url must not name a network interface");
	if (text && is_hidden_host(text, host))
		return wl_fail(err, EACCES, "write the host in its usual form, such as %s", host);
	if (curl_url_get(url->parsed, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT) != CURLUE_OK || atoi(port) <= 0)
		return wl_fail(err, EINVAL, "the url's port is not one of 1 to 65535");
	size_t length = strlen(host);
	bool bracketed = length > 2 && host[0] == '[';
	(void)snprintf(url->host, sizeof(url->host), "%.*s", (int)(bracketed ? length - 2 : length),
		       bracketed ? host + 1 : host);
	url->port = atoi(port);
	url->standard_port = strcasecmp(scheme, "https") == 0 ? 443 : 80;
	return 0;
}

/* Does it begin with a scheme (RFC 3986 §3.1)? libcurl takes "http:/host" for an address with a host. */
static bool is_absolute(const char *text)
{
	size_t length = strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+-.");
	return length > 0 && text[length] == ':';
}

/*
 * libcurl would guess a scheme where none stands, and takes a third slash for nothing: such texts mean different things
 * to different readers.
 */
static int check_start(const char *text, struct wl_error *err)
{
	size_t scheme = strncasecmp(text, "http://", 7) == 0 ? 7 : strncasecmp(text, "https://", 8) == 0 ? 8 : 0;
	if (scheme == 0)
		return wl_fail(err, EINVAL, "the url must begin with http:// or https://");
	return text[scheme] == '/' ? wl_fail(err, EINVAL, "the url has no host behind its scheme") : 0;
}

int wl_http_url_read(const char *text, const struct wl_http_url *base, struct wl_http_url *ret_url,
		     struct wl_error *err)
{
	struct wl_http_url url = { 0 };
	if (strlen(text) > WL_HTTP_URL_MAX)
		return wl_fail(err, EINVAL, "the url has more than %d characters", WL_HTTP_URL_MAX);
	int begins = !base || is_absolute(text) ? check_start(text, err) : 0;
	if (begins < 0)
		return begins;
	bool names_host = !base || is_absolute(text) || strncmp(text, "//", 2) == 0;
	url.parsed = base ? curl_url_dup(base->parsed) : curl_url();
	if (!url.parsed)
		return wl_fail(err, ENOMEM, "no memory for a url");
	/* what servers send as Location often has spaces in it */
	unsigned flags = base ? CURLU_URLENCODE | CURLU_ALLOW_SPACE : 0;
	CURLUcode code = curl_url_set(url.parsed, CURLUPART_URL, text, flags);
	int result = code == CURLUE_OK ? read_authority(names_host ? text : NULL, &url, err)
				       : wl_fail(err, EINVAL, "the url cannot be read: %s", curl_url_strerror(code));
	if (result < 0) {
		wl_http_url_release(&url);
		return result;
	}
	/* a fragment stays on our side (RFC 9110 §7.1) */
	(void)curl_url_set(url.parsed, CURLUPART_FRAGMENT, NULL, 0);
	*ret_url = url;
	return 0;
}

void wl_http_url_release(struct wl_http_url *url)
{
	curl_url_cleanup(url->parsed);
	*url = (struct wl_http_url){ 0 };
}

bool wl_http_url_same_origin(const struct wl_http_url *first, const struct wl_http_url *second)
{
	return first->standard_port == second->standard_port && first->port == second->port &&
	       strcasecmp(first->host, second->host) == 0;
}

int wl_http_url_check(const char *url, char ret_host[256], int *ret_port, struct wl_error *err)
{
	struct wl_http_url read = { 0 };
	int result = wl_http_url_read(url, NULL, &read, err);
	if (result < 0)
		return result;
	if (ret_host)
		(void)snprintf(ret_host, WL_HTTP_HOST_TEXT, "%s", read.host);
	if (ret_port)
		*ret_port = read.port;
	wl_http_url_release(&read);
	return 0;
}

int wl_http_append_escaped(struct wl_buffer *buffer, const char *bytes, size_t length)
{
	for (size_t i = 0; i < length; i++) {
		unsigned char byte = (unsigned char)bytes[i];
		if ((byte < 0x80 && isalnum(byte)) || (byte && strchr("-._~", byte)))
			(void)wl_buffer_append_char(buffer, (char)byte);
		else
			(void)wl_buffer_appendf(buffer, "%%%02X", byte);
	}
	return buffer->failed ? -buffer->failed : 0;
}
