#include "webapp/server/artifact_range.h"

#include <string.h>
#include <strings.h>

#define PLAIN_NAME_MAX 100

static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.";

/* Digits; *ret_number is cut at the largest number. Where they end, or NULL when there are none. */
static const char *read_number(const char *text, uint64_t *ret_number)
{
	uint64_t number = 0;
	const char *at = text;
	for (; *at >= '0' && *at <= '9'; at++) {
		unsigned digit = (unsigned)(*at - '0');
		number = number > (UINT64_MAX - digit) / 10 ? UINT64_MAX : number * 10 + digit;
	}
	*ret_number = number;
	return at > text ? at : NULL;
}

enum web_range web_range_read(const char *header, uint64_t size, uint64_t *ret_first, uint64_t *ret_last)
{
	uint64_t first = 0, last = UINT64_MAX;
	if (!header || strncasecmp(header, "bytes=", 6) != 0)
		return WEB_RANGE_WHOLE;
	const char *at = header + 6 + strspn(header + 6, " \t");
	bool suffix = *at == '-';
	const char *end = suffix ? at : read_number(at, &first);
	if (!end || *end != '-')
		return WEB_RANGE_WHOLE;
	at = end + 1;
	if (suffix || (*at >= '0' && *at <= '9')) {
		at = read_number(at, &last);
		if (!at)
			return WEB_RANGE_WHOLE;
	}
	if (at[strspn(at, " \t")] != '\0' || (!suffix && last < first))
		return WEB_RANGE_WHOLE;
	if (suffix) {
		if (last == 0 || size == 0)
			return WEB_RANGE_OUTSIDE;
		first = last < size ? size - last : 0;
		last = size - 1;
	}
	if (first >= size)
		return WEB_RANGE_OUTSIDE;
	*ret_first = first;
	*ret_last = last < size ? last : size - 1;
	return WEB_RANGE_PART;
}

bool web_etag_listed(const char *header, const char *etag)
{
	size_t length = strlen(etag);
	while (header && *header) {
		header += strspn(header, " \t,");
		if (*header == '*')
			return true;
		if (strncmp(header, "W/", 2) == 0)
			header += 2;
		if (*header != '"')
			return false;
		const char *close = strchr(header + 1, '"');
		if (!close)
			return false;
		if ((size_t)(close - header - 1) == length && memcmp(header + 1, etag, length) == 0)
			return true;
		header = close + 1;
	}
	return false;
}

void web_disposition_append(struct wl_buffer *value, const char *name)
{
	const char *slash = strrchr(name, '/');
	const char *base = slash ? slash + 1 : name;
	size_t length = strlen(base), skipped = length > PLAIN_NAME_MAX ? length - PLAIN_NAME_MAX : 0;
	(void)wl_buffer_append_text(value, "attachment; filename=\"");
	for (const char *at = base + skipped; *at; at++) /* the end tells the kind of the file */
		(void)wl_buffer_append_char(value, strchr(letters, *at) || *at == ' ' ? *at : '_');
	(void)wl_buffer_append_text(value, "\"; filename*=UTF-8''");
	for (const char *at = base; *at; at++) {
		if (strchr(letters, *at))
			(void)wl_buffer_append_char(value, *at);
		else
			(void)wl_buffer_appendf(value, "%%%02X", (unsigned char)*at);
	}
}
