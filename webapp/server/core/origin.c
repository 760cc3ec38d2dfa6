#include "webapp/server/core/origin.h"

#include <arpa/inet.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

/* scheme://host[:port] of a URL, without the path behind it. */
struct origin {
	const char *scheme, *authority;
	size_t scheme_length, length;
};

static bool read_origin(const char *url, struct origin *ret_origin)
{
	const char *colon = strstr(url, "://");
	if (!colon || colon == url)
		return false;
	*ret_origin = (struct origin){ .scheme = url,
				       .scheme_length = (size_t)(colon - url),
				       .authority = colon + 3,
				       .length = strcspn(colon + 3, "/?#") };
	return ret_origin->length > 0;
}

/* The length of the authority without a port that is the scheme's own. */
static size_t plain_length(const struct origin *origin)
{
	bool secure = origin->scheme_length == 5;
	const char *port = secure ? ":443" : ":80";
	size_t length = strlen(port);
	return origin->length > length && memcmp(origin->authority + origin->length - length, port, length) == 0
		       ? origin->length - length
		       : origin->length;
}

static bool same(const struct origin *a, const struct origin *b)
{
	size_t length = plain_length(a);
	return a->scheme_length == b->scheme_length && strncasecmp(a->scheme, b->scheme, a->scheme_length) == 0 &&
	       length == plain_length(b) && strncasecmp(a->authority, b->authority, length) == 0;
}

/* Whether an authority names this machine or an address, so that nobody's name server has a say in where it leads. */
static bool is_fixed(const char *authority, size_t length)
{
	char name[64], bytes[16];
	if (length >= sizeof(name))
		return false;
	(void)snprintf(name, sizeof(name), "%.*s", (int)length, authority);
	if (name[0] == '[') {
		name[strcspn(name, "]")] = '\0';
		return inet_pton(AF_INET6, name + 1, bytes) == 1;
	}
	name[strcspn(name, ":")] = '\0';
	return strcasecmp(name, "localhost") == 0 || inet_pton(AF_INET, name, bytes) == 1;
}

bool web_origin_allowed(const char *origin, const char *host, const char *public_url)
{
	struct origin asked, own;
	if (!origin)
		return true;
	if (!read_origin(origin, &asked) || asked.authority[asked.length])
		return false;
	if (public_url && read_origin(public_url, &own) && same(&asked, &own))
		return true;
	if (!host || !is_fixed(asked.authority, asked.length))
		return false;
	own = (struct origin){ asked.scheme, host, asked.scheme_length, strlen(host) };
	return same(&asked, &own);
}
