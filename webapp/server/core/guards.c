#include "webapp/server/core/guards.h"

#include <string.h>
#include <strings.h>

static bool body_expected(enum web_method method)
{
	return method == WEB_POST || method == WEB_PUT || method == WEB_PATCH || method == WEB_OTHER;
}

/* host[:port], a registered name or an address (RFC 9110 §7.2). */
static bool host_valid(const char *host)
{
	size_t length =
		strspn(host, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.-_~%:[]!$&'()*+,;=");
	return length > 0 && length < 256 && !host[length];
}

const char *web_guard_framing(enum web_method method, const char *host, const struct web_header *headers, size_t count,
			      int *ret_status)
{
	size_t lengths = 0;
	*ret_status = 400;
	if (!host || !host_valid(host))
		return "the Host header is not a host";
	for (size_t i = 0; i < count; i++) {
		const char *name = headers[i].name, *value = headers[i].value;
		if (strcasecmp(name, "transfer-encoding") == 0) {
			*ret_status = 411;
			return "this server takes bodies with Content-Length only";
		}
		if (strcasecmp(name, "host") == 0)
			return "there are two Host headers";
		if (strcasecmp(name, "content-length") != 0)
			continue;
		if (lengths++)
			return "there are two Content-Length headers";
		if (!*value || value[strspn(value, "0123456789")])
			return "Content-Length is not a number";
		if (!body_expected(method) && value[strspn(value, "0")])
			return "a request of this method has no body";
	}
	return NULL;
}

bool web_content_is_json(const char *content_type)
{
	static const char json[] = "application/json";
	if (!content_type || strncasecmp(content_type, json, sizeof(json) - 1) != 0)
		return false;
	const char *rest = content_type + sizeof(json) - 1;
	rest += strspn(rest, " \t");
	return !*rest || *rest == ';';
}
