#include "lib/store/redis_connect.h"

#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>

static int hex_value(char digit)
{
	if (!isxdigit((unsigned char)digit))
		return -1;
	return isdigit((unsigned char)digit) ? digit - '0' : tolower((unsigned char)digit) - 'a' + 10;
}

/* Copy text[0..length) with its percent-encoding undone. */
static int decode(const char *text, size_t length, char out[WL_REDIS_TEXT])
{
	size_t used = 0;
	for (size_t i = 0; i < length; i++) {
		char character = text[i];
		if (character == '%') {
			int high = i + 2 < length ? hex_value(text[i + 1]) : -1;
			int low = high >= 0 ? hex_value(text[i + 2]) : -1;
			if (low < 0 || (high == 0 && low == 0))
				return -EINVAL;
			character = (char)(high * 16 + low);
			i += 2;
		}
		if (used + 1 >= WL_REDIS_TEXT)
			return -EINVAL;
		out[used++] = character;
	}
	out[used] = '\0';
	return 0;
}

/* A whole number from 0 to most that fills the text; -1 for anything else. */
static int whole_number(const char *text, size_t length, int most)
{
	int number = 0;
	if (length == 0)
		return -1;
	for (size_t i = 0; i < length; i++) {
		if (!isdigit((unsigned char)text[i]))
			return -1;
		number = number * 10 + (text[i] - '0');
		if (number > most)
			return -1;
	}
	return number;
}

/* Take "user:password@" off the front; *rest moves behind it. */
static int take_credentials(const char **rest, struct wl_redis_address *address)
{
	const char *at = strrchr(*rest, '@');
	if (!at)
		return 0;
	const char *colon = memchr(*rest, ':', (size_t)(at - *rest));
	if (!colon)
		return -EINVAL;
	if (decode(*rest, (size_t)(colon - *rest), address->user) < 0 ||
	    decode(colon + 1, (size_t)(at - colon - 1), address->password) < 0)
		return -EINVAL;
	*rest = at + 1;
	return 0;
}

static int take_host(const char *rest, struct wl_redis_address *address)
{
	const char *end = rest + strcspn(rest, "/");
	const char *host = rest, *host_end = NULL, *colon = NULL;
	if (*rest == '[') {
		host = rest + 1;
		host_end = memchr(host, ']', (size_t)(end - host));
		if (!host_end)
			return -EINVAL;
		colon = host_end + 1 < end ? host_end + 1 : NULL;
		if (colon && *colon != ':')
			return -EINVAL;
	} else {
		colon = memchr(host, ':', (size_t)(end - host));
		host_end = colon ? colon : end;
	}
	if (host_end == host || decode(host, (size_t)(host_end - host), address->host) < 0)
		return -EINVAL;
	address->port = colon ? whole_number(colon + 1, (size_t)(end - colon - 1), 65535) : 6379;
	address->database = end[0] && end[1] ? whole_number(end + 1, strlen(end + 1), 65535) : 0;
	return address->port > 0 && address->database >= 0 ? 0 : -EINVAL;
}

static int take_socket(const char *rest, struct wl_redis_address *address)
{
	const char *query = strstr(rest, "?db=");
	size_t length = query ? (size_t)(query - rest) : strlen(rest);
	address->database = query ? whole_number(query + 4, strlen(query + 4), 65535) : 0;
	if (rest[0] != '/' || length < 2 || address->database < 0)
		return -EINVAL;
	return decode(rest, length, address->socket);
}

int wl_redis_address_parse(const char *url, struct wl_redis_address *ret_address, struct wl_error *err)
{
	struct wl_redis_address address = { 0 };
	int r = -EINVAL;
	const char *rest = NULL;
	if (strncmp(url, "redis://", 8) == 0) {
		rest = url + 8;
		r = take_credentials(&rest, &address);
		if (r == 0)
			r = take_host(rest, &address);
	} else if (strncmp(url, "unix://", 7) == 0) {
		rest = url + 7;
		r = *rest == '/' ? 0 : take_credentials(&rest, &address);
		if (r == 0)
			r = take_socket(rest, &address);
	}
	if (r < 0)
		return wl_fail(err, EINVAL,
			       "redis_url must be redis://[user:password@]host[:port][/database] or "
			       "unix:///path");
	*ret_address = address;
	return 0;
}

int wl_redis_fail_reply(const redisReply *reply, struct wl_error *err)
{
	static const struct {
		const char *prefix;
		int code;
	} meanings[] = {
		{ "LOADING", EAGAIN },
		{ "BUSY", EAGAIN },
		{ "READONLY", EAGAIN },
		{ "MASTERDOWN", EAGAIN },
		{ "TRYAGAIN", EAGAIN },
		{ "CLUSTERDOWN", EAGAIN },
		{ "ERR Function not found", EAGAIN },
		{ "OOM", ENOMEM },
		{ "NOAUTH", EACCES },
		{ "WRONGPASS", EACCES },
		{ "NOPERM", EACCES },
	};
	const char *text = reply->str ? reply->str : "an answer of an unexpected type";
	int code = EIO;
	for (size_t i = 0; i < sizeof(meanings) / sizeof(meanings[0]); i++)
		if (strncmp(text, meanings[i].prefix, strlen(meanings[i].prefix)) == 0)
			code = meanings[i].code;
	return wl_fail(err, code, "Redis answers: %.200s", text);
}

int wl_redis_fail_context(const redisContext *context, struct wl_error *err)
{
	bool late = context->err == REDIS_ERR_IO && (errno == EAGAIN || errno == EWOULDBLOCK);
	return wl_fail(err, late ? ETIMEDOUT : EPIPE, "the connection to Redis broke: %.128s", context->errstr);
}

static int expect_ok(redisContext *context, redisReply *answer, struct wl_error *err)
{
	_wl_redis_reply_ redisReply *reply = answer;
	if (!reply)
		return wl_redis_fail_context(context, err);
	if (reply->type != REDIS_REPLY_STATUS)
		return wl_redis_fail_reply(reply, err);
	return 0;
}

static int log_in(redisContext *context, const struct wl_redis_address *address, struct wl_error *err)
{
	if (address->password[0]) {
		redisReply *answer = address->user[0]
					     ? redisCommand(context, "AUTH %s %s", address->user, address->password)
					     : redisCommand(context, "AUTH %s", address->password);
		if (expect_ok(context, answer, err) < 0)
			return wl_fail(err, EACCES, "Redis refuses the user or the password of redis_url");
	}
	if (address->database)
		return expect_ok(context, redisCommand(context, "SELECT %d", address->database), err);
	return 0;
}

int wl_redis_connect(const struct wl_redis_address *address, int timeout_ms, redisContext **ret_context,
		     struct wl_error *err)
{
	struct timeval timeout = { .tv_sec = timeout_ms / 1000, .tv_usec = timeout_ms % 1000 * 1000 };
	redisContext *context = address->socket[0] ? redisConnectUnixWithTimeout(address->socket, timeout)
						   : redisConnectWithTimeout(address->host, address->port, timeout);
	if (!context)
		return wl_fail_errno(err, ENOMEM, "connect to Redis");
	int r = 0;
	if (context->err) {
		r = address->socket[0] ? wl_fail(err, ECONNREFUSED, "Redis at %s cannot be reached: %.128s",
						 address->socket, context->errstr)
				       : wl_fail(err, ECONNREFUSED, "Redis at %s port %d cannot be reached: %.128s",
						 address->host, address->port, context->errstr);
	} else if (redisSetTimeout(context, timeout) != REDIS_OK) {
		r = wl_fail(err, EIO, "Redis: no timeout can be set: %.128s", context->errstr);
	} else {
		r = log_in(context, address, err);
	}
	if (r < 0) {
		redisFree(context);
		return r;
	}
	if (!address->socket[0])
		(void)redisEnableKeepAlive(context);
	*ret_context = context;
	return 0;
}
