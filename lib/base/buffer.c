#include "lib/base/buffer.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void wl_buffer_init(struct wl_buffer *buffer, size_t limit)
{
	*buffer = (struct wl_buffer){ .limit = limit };
}

void wl_buffer_release(struct wl_buffer *buffer)
{
	free(buffer->data);
	*buffer = (struct wl_buffer){ .limit = buffer->limit };
}

void wl_buffer_clear(struct wl_buffer *buffer)
{
	buffer->length = 0;
	buffer->failed = 0;
	if (buffer->data)
		buffer->data[0] = '\0';
}

int wl_buffer_reserve(struct wl_buffer *buffer, size_t more)
{
	if (buffer->failed)
		return -buffer->failed;
	if (more > (size_t)-1 - buffer->length - 1 || (buffer->limit && buffer->length + more > buffer->limit)) {
		buffer->failed = EMSGSIZE;
		return -EMSGSIZE;
	}
	size_t need = buffer->length + more + 1;
	if (need <= buffer->capacity)
		return 0;
	size_t capacity = buffer->capacity ? buffer->capacity : 256;
	while (capacity < need)
		capacity = capacity > (size_t)-1 / 2 ? need : capacity * 2;
	char *grown = realloc(buffer->data, capacity);
	if (!grown) {
		buffer->failed = ENOMEM;
		return -ENOMEM;
	}
	buffer->data = grown;
	buffer->capacity = capacity;
	return 0;
}

int wl_buffer_append(struct wl_buffer *buffer, const void *bytes, size_t length)
{
	int result = wl_buffer_reserve(buffer, length);
	if (result < 0)
		return result;
	if (length)
		memcpy(buffer->data + buffer->length, bytes, length);
	buffer->length += length;
	buffer->data[buffer->length] = '\0';
	return 0;
}

int wl_buffer_append_text(struct wl_buffer *buffer, const char *text)
{
	return wl_buffer_append(buffer, text, strlen(text));
}

int wl_buffer_append_char(struct wl_buffer *buffer, char character)
{
	return wl_buffer_append(buffer, &character, 1);
}

int wl_buffer_appendf(struct wl_buffer *buffer, const char *fmt, ...)
{
	va_list args;
	va_start(args, fmt);
	int need = vsnprintf(NULL, 0, fmt, args);
	va_end(args);
	if (need < 0)
		return -EINVAL;
	int result = wl_buffer_reserve(buffer, (size_t)need);
	if (result < 0)
		return result;
	va_start(args, fmt);
	(void)vsnprintf(buffer->data + buffer->length, (size_t)need + 1, fmt, args);
	va_end(args);
	buffer->length += (size_t)need;
	return 0;
}

static const char *escape_of(unsigned char character, char scratch[8])
{
	switch (character) {
	case '"':
		return "\\\"";
	case '\\':
		return "\\\\";
	case '\n':
		return "\\n";
	case '\r':
		return "\\r";
	case '\t':
		return "\\t";
	default:
		(void)snprintf(scratch, 8, "\\u%04x", character);
		return scratch;
	}
}

int wl_buffer_append_json_string(struct wl_buffer *buffer, const char *text, size_t length)
{
	(void)wl_buffer_append_char(buffer, '"');
	size_t plain_from = 0;
	for (size_t i = 0; i < length; i++) {
		unsigned char character = (unsigned char)text[i];
		if (character >= 0x20 && character != '"' && character != '\\' && character != 0x7f)
			continue;
		char scratch[8];
		(void)wl_buffer_append(buffer, text + plain_from, i - plain_from);
		(void)wl_buffer_append_text(buffer, escape_of(character, scratch));
		plain_from = i + 1;
	}
	(void)wl_buffer_append(buffer, text + plain_from, length - plain_from);
	return wl_buffer_append_char(buffer, '"');
}

char *wl_buffer_steal(struct wl_buffer *buffer)
{
	char *data = buffer->data;
	*buffer = (struct wl_buffer){ .limit = buffer->limit };
	return data;
}
