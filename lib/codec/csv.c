#include "lib/codec/csv.h"

#include <string.h>

#define LINE_END "\r\n"

static void put_quoted(struct wl_buffer *buffer, const char *text)
{
	(void)wl_buffer_append_char(buffer, '"');
	for (const char *quote = strchr(text, '"'); quote; text = quote + 1, quote = strchr(text, '"')) {
		(void)wl_buffer_append(buffer, text, (size_t)(quote + 1 - text));
		(void)wl_buffer_append_char(buffer, '"');
	}
	(void)wl_buffer_append_text(buffer, text);
	(void)wl_buffer_append_char(buffer, '"');
}

static void put_text(struct wl_buffer *buffer, const char *text)
{
	bool formula = *text && strchr("=+-@\t\r", *text);
	_wl_buffer_ struct wl_buffer guarded;
	wl_buffer_init(&guarded, 0);
	if (formula) {
		(void)wl_buffer_append_char(&guarded, '\'');
		(void)wl_buffer_append_text(&guarded, text);
		if (guarded.failed) {
			buffer->failed = guarded.failed;
			return;
		}
		text = guarded.data;
	}
	if (strpbrk(text, "\",\r\n"))
		put_quoted(buffer, text);
	else
		(void)wl_buffer_append_text(buffer, text);
}

static void put_cell(struct wl_buffer *buffer, const struct wl_json *value)
{
	_wl_buffer_ struct wl_buffer text;
	if (!value || wl_json_is(value, WL_JSON_NULL))
		return;
	if (wl_json_is(value, WL_JSON_STRING)) {
		put_text(buffer, wl_json_string(value, ""));
		return;
	}
	wl_buffer_init(&text, 0);
	if (wl_json_write(&text, value) < 0)
		buffer->failed = text.failed;
	else if (wl_json_is(value, WL_JSON_OBJECT) || wl_json_is(value, WL_JSON_ARRAY))
		put_quoted(buffer, text.data);
	else
		(void)wl_buffer_append_text(buffer, text.data);
}

void wl_csv_heading(struct wl_buffer *buffer, const char *const *columns)
{
	for (const char *const *column = columns; *column; column++) {
		if (column > columns)
			(void)wl_buffer_append_char(buffer, ',');
		(void)wl_buffer_append_text(buffer, *column);
	}
	(void)wl_buffer_append_text(buffer, LINE_END);
}

void wl_csv_row(struct wl_buffer *buffer, const struct wl_json *object, const char *const *columns)
{
	for (const char *const *column = columns; *column; column++) {
		if (column > columns)
			(void)wl_buffer_append_char(buffer, ',');
		put_cell(buffer, wl_json_get(object, *column));
	}
	(void)wl_buffer_append_text(buffer, LINE_END);
}
