#include "cli/core/sse.h"

#include <errno.h>
#include <string.h>

void cli_sse_init(struct cli_sse *sse)
{
	*sse = (struct cli_sse){ 0 };
	wl_buffer_init(&sse->line, CLI_SSE_MAX);
	wl_buffer_init(&sse->data, CLI_SSE_MAX);
}

void cli_sse_release(struct cli_sse *sse)
{
	wl_buffer_release(&sse->line);
	wl_buffer_release(&sse->data);
}

static void forget_event(struct cli_sse *sse)
{
	wl_buffer_clear(&sse->data);
	sse->type[0] = '\0';
	sse->has_data = false;
}

void cli_sse_restart(struct cli_sse *sse)
{
	wl_buffer_clear(&sse->line);
	forget_event(sse);
	sse->after_cr = false;
	sse->started = false;
}

static int dispatch(struct cli_sse *sse, cli_sse_handler handler, void *self, struct wl_error *err)
{
	int result = 0;
	if (sse->has_data) {
		struct cli_sse_event event = {
			.type = sse->type[0] ? sse->type : "message",
			.id = sse->id,
			.data = sse->data.data ? sse->data.data : "",
			.length = sse->data.length,
		};
		result = handler(self, &event, err);
	}
	forget_event(sse);
	return result;
}

static void take_retry(struct cli_sse *sse, const char *value, size_t length)
{
	int retry_ms = 0;
	for (size_t i = 0; i < length; i++) {
		if (value[i] < '0' || value[i] > '9')
			return;
		retry_ms = retry_ms * 10 + (value[i] - '0');
		if (retry_ms > CLI_SSE_RETRY_MAX_MS)
			retry_ms = CLI_SSE_RETRY_MAX_MS;
	}
	if (length)
		sse->retry_ms = retry_ms;
}

/* A name or id that does not fit, or holds a NUL, is left out: cut, it would be another one. */
static void take_text(char *slot, size_t size, const char *value, size_t length)
{
	if (length >= size || memchr(value, '\0', length))
		return;
	memcpy(slot, value, length);
	slot[length] = '\0';
}

static int take_data(struct cli_sse *sse, const char *value, size_t length, struct wl_error *err)
{
	if (sse->has_data)
		(void)wl_buffer_append_char(&sse->data, '\n');
	sse->has_data = true;
	if (wl_buffer_append(&sse->data, value, length) < 0)
		return wl_fail(err, sse->data.failed, "an event of the stream is longer than %u bytes", CLI_SSE_MAX);
	return 0;
}

static bool field_is(const char *line, size_t length, const char *name)
{
	return strlen(name) == length && memcmp(line, name, length) == 0;
}

static int take_line(struct cli_sse *sse, cli_sse_handler handler, void *self, struct wl_error *err)
{
	const char *line = sse->line.data;
	size_t length = sse->line.length;
	if (length == 0)
		return dispatch(sse, handler, self, err);
	const char *colon = memchr(line, ':', length);
	size_t name_length = colon ? (size_t)(colon - line) : length;
	const char *value = colon ? colon + 1 : line + length;
	size_t value_length = length - (size_t)(value - line);
	if (value_length && *value == ' ') {
		value++;
		value_length--;
	}
	if (name_length == 0)
		return 0; /* a comment, sent to keep the connection alive */
	if (field_is(line, name_length, "data"))
		return take_data(sse, value, value_length, err);
	if (field_is(line, name_length, "event"))
		take_text(sse->type, sizeof(sse->type), value, value_length);
	else if (field_is(line, name_length, "id"))
		take_text(sse->id, sizeof(sse->id), value, value_length);
	else if (field_is(line, name_length, "retry"))
		take_retry(sse, value, value_length);
	return 0;
}

static int end_line(struct cli_sse *sse, cli_sse_handler handler, void *self, struct wl_error *err)
{
	static const char byte_order_mark[] = "\xef\xbb\xbf";
	if (!sse->started && sse->line.length >= 3 && memcmp(sse->line.data, byte_order_mark, 3) == 0) {
		memmove(sse->line.data, sse->line.data + 3, sse->line.length - 3);
		sse->line.length -= 3;
	}
	sse->started = true;
	int result = take_line(sse, handler, self, err);
	wl_buffer_clear(&sse->line);
	return result;
}

int cli_sse_feed(struct cli_sse *sse, const char *bytes, size_t length, cli_sse_handler handler, void *self,
		 struct wl_error *err)
{
	for (size_t at = 0; at < length;) {
		if (sse->after_cr && bytes[at] == '\n') {
			sse->after_cr = false;
			at++;
			continue;
		}
		sse->after_cr = false;
		size_t end = at;
		while (end < length && bytes[end] != '\n' && bytes[end] != '\r')
			end++;
		if (wl_buffer_append(&sse->line, bytes + at, end - at) < 0)
			return wl_fail(err, sse->line.failed, "a line of the stream is longer than %u bytes",
				       CLI_SSE_MAX);
		if (end == length)
			return 0;
		sse->after_cr = bytes[end] == '\r';
		at = end + 1;
		int result = end_line(sse, handler, self, err);
		if (result < 0)
			return result;
	}
	return 0;
}
