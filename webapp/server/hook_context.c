#include "webapp/server/hook_context.h"

#include "lib/base/cleanup.h"
#include "webapp/server/core/parameters.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define NAME_MAX_BYTES 256

/* ---- headers ---------------------------------------------------------------------------------------------------- */

static bool is_secret(const char *name)
{
	static const char *const secret[] = { "authorization", "proxy-authorization", "cookie", "windlass-signature" };
	for (size_t i = 0; i < WL_COUNT_OF(secret); i++)
		if (strcmp(secret[i], name) == 0)
			return true;
	return false;
}

/* The name in lower case; false when it is too long or no token (RFC 9110 §5.6.2), which no sender means to be read. */
static bool lower_name(const char *name, char ret_name[NAME_MAX_BYTES])
{
	size_t length = strlen(name);
	if (length == 0 || length >= NAME_MAX_BYTES)
		return false;
	for (size_t at = 0; at <= length; at++) {
		unsigned char byte = (unsigned char)name[at];
		if (byte && (byte >= 0x80 || (!isalnum(byte) && !strchr("!#$%&'*+-.^_`|~", byte))))
			return false;
		ret_name[at] = (char)tolower(byte);
	}
	return true;
}

static int add_header(struct wl_json *into, const char *name, const char *value)
{
	_wl_buffer_ struct wl_buffer joined = { 0 };
	const char *before = wl_json_get_string(into, name, NULL);
	if (before)
		wl_buffer_appendf(&joined, "%s, ", before);
	wl_buffer_append_text(&joined, value);
	return joined.failed ? -ENOMEM : wl_json_set_string(into, name, joined.data ? joined.data : "");
}

struct wl_json *web_hook_headers(const struct web_header *headers, size_t count)
{
	struct wl_json *made = wl_json_object();
	for (size_t i = 0; i < count && made; i++) {
		char name[NAME_MAX_BYTES];
		if (!lower_name(headers[i].name, name))
			continue;
		if (!is_secret(name) && add_header(made, name, headers[i].value) < 0) {
			wl_json_free(made);
			return NULL;
		}
	}
	return made;
}

/* ---- query ------------------------------------------------------------------------------------------------------ */

static int add_value(struct wl_json *into, const char *name, const char *value)
{
	const struct wl_json *before = wl_json_get(into, name);
	if (!before)
		return wl_json_set_string(into, name, value);
	struct wl_json *list = wl_json_is(before, WL_JSON_ARRAY) ? wl_json_copy(before) : wl_json_array();
	int rc = list ? 0 : -ENOMEM;
	if (rc == 0 && !wl_json_is(before, WL_JSON_ARRAY))
		rc = wl_json_append(list, wl_json_copy(before));
	if (rc == 0)
		rc = wl_json_append(list, wl_json_new_string(value));
	if (rc == 0)
		return wl_json_set(into, name, list);
	wl_json_free(list);
	return rc;
}

/* One name=value. */
static int add_pair(struct wl_json *into, const char *pair, size_t length, struct wl_error *err)
{
	const char *equals = memchr(pair, '=', length);
	size_t name_length = equals ? (size_t)(equals - pair) : length;
	size_t value_length = equals ? length - name_length - 1 : 0;
	_wl_free_ char *name = malloc(name_length + 1);
	_wl_free_ char *value = malloc(value_length + 1);
	if (!name || !value)
		return wl_fail(err, ENOMEM, "no memory");
	if (web_percent_decode(pair, name_length, true, name) < 0 ||
	    web_percent_decode(equals ? equals + 1 : "", value_length, true, value) < 0)
		return wl_fail(err, EINVAL, "the query is not well percent-encoded UTF-8");
	return add_value(into, name, value) < 0 ? wl_fail(err, ENOMEM, "no memory") : 0;
}

int web_hook_query(const char *query, struct wl_json **ret_query, struct wl_error *err)
{
	_wl_json_ struct wl_json *made = wl_json_object();
	int rc = made ? 0 : wl_fail(err, ENOMEM, "no memory");
	while (rc == 0 && query && *query) {
		size_t length = strcspn(query, "&");
		if (length)
			rc = add_pair(made, query, length, err);
		query += length + (query[length] == '&');
	}
	if (rc == 0)
		*ret_query = wl_steal(made);
	return rc;
}

/* ---- body ------------------------------------------------------------------------------------------------------- */

/* application/json, or a type whose name ends in +json (RFC 6839). */
static bool says_json(const char *content_type)
{
	if (!content_type || web_content_is_json(content_type))
		return content_type != NULL;
	size_t length = strcspn(content_type, " \t;");
	return length > 5 && strncasecmp(content_type + length - 5, "+json", 5) == 0;
}

int web_hook_body(const char *content_type, const char *body, size_t length, struct wl_json **ret_body,
		  struct wl_error *err)
{
	if (length && says_json(content_type)) {
		int rc = wl_json_parse_deep(body, length, WEB_HOOK_BODY_DEPTH, ret_body, err);
		return rc < 0 ? wl_fail_within(err, "the body is not JSON") : 0;
	}
	if (length && (memchr(body, 0, length) || !web_utf8_valid(body, length, NULL)))
		return wl_fail(err, EINVAL, "the body is no text: it is not UTF-8, or holds the character U+0000");
	*ret_body = length ? wl_json_new_string(body) : wl_json_new_null();
	return *ret_body ? 0 : wl_fail(err, ENOMEM, "no memory");
}
