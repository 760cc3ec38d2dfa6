#include "supervisor/log_tail.h"

#include "lib/base/clock.h"
#include "supervisor/nodes/text.h"

#include <stdlib.h>
#include <string.h>

static void forget_oldest(struct log_tail *tail)
{
	tail->kept -= strlen(tail->pieces[tail->first]);
	free(tail->pieces[tail->first++]);
	tail->count--;
}

static void keep(struct log_tail *tail, char *piece)
{
	if (tail->first + tail->count == tail->room) {
		if (tail->first > 0) {
			memmove(tail->pieces, tail->pieces + tail->first, (size_t)tail->count * sizeof(char *));
			tail->first = 0;
		} else {
			int room = tail->room ? tail->room * 2 : 8;
			char **grown = realloc(tail->pieces, (size_t)room * sizeof(char *));
			if (!grown) {
				free(piece);
				return;
			}
			tail->pieces = grown;
			tail->room = room;
		}
	}
	tail->pieces[tail->first + tail->count++] = piece;
	tail->kept += strlen(piece);
	while (tail->kept > LOG_TAIL_KEPT && tail->count > 1)
		forget_oldest(tail);
}

static void emit_piece(struct log_tail *tail, const char *stream, const char *bytes, size_t length, int64_t wall_ms,
		       log_tail_emit emit, void *context)
{
	char time[WL_RFC3339_SIZE];
	_Bool newline = length > 0 && bytes[length - 1] == '\n';
	struct wl_buffer piece;
	wl_buffer_init(&piece, 0);
	(void)wl_buffer_appendf(&piece, "{\"time\":\"%s\",\"stream\":\"%s\",\"text\":", wl_rfc3339(wall_ms, time),
				stream);
	(void)text_append_json(&piece, bytes, length - newline);
	(void)wl_buffer_append_char(&piece, '}');
	if (!piece.failed) {
		if (emit)
			emit(context, piece.data);
		keep(tail, wl_buffer_steal(&piece));
	}
	wl_buffer_release(&piece);
}

/* How many bytes of the gathered ones go out now: up to the last end of line, or a full piece. */
static size_t ready_length(const struct wl_buffer *line)
{
	size_t length = line->length < LOG_PIECE_MAX ? line->length : LOG_PIECE_MAX;
	const char *end = memrchr(line->data, '\n', length);
	if (end)
		return (size_t)(end - line->data) + 1;
	return line->length >= LOG_PIECE_MAX ? LOG_PIECE_MAX : 0;
}

void log_tail_write(struct log_tail *tail, const char *stream, const char *bytes, size_t length, int64_t wall_ms,
		    log_tail_emit emit, void *context)
{
	if (wl_buffer_append(&tail->line, bytes, length) < 0) {
		wl_buffer_clear(&tail->line);
		return;
	}
	size_t from = 0, ready;
	while (from < tail->line.length) {
		struct wl_buffer rest = { .data = tail->line.data + from, .length = tail->line.length - from };
		ready = ready_length(&rest);
		if (ready == 0)
			break;
		emit_piece(tail, stream, rest.data, ready, wall_ms, emit, context);
		from += ready;
	}
	if (from > 0) {
		memmove(tail->line.data, tail->line.data + from, tail->line.length - from + 1);
		tail->line.length -= from;
	}
}

void log_tail_flush(struct log_tail *tail, const char *stream, int64_t wall_ms, log_tail_emit emit, void *context)
{
	if (tail->line.length > 0)
		emit_piece(tail, stream, tail->line.data, tail->line.length, wall_ms, emit, context);
	wl_buffer_clear(&tail->line);
}

char *log_tail_text(const struct log_tail *tail)
{
	struct wl_buffer text;
	wl_buffer_init(&text, 0);
	if (tail->count == 0)
		return NULL;
	for (int i = 0; i < tail->count; i++) {
		(void)wl_buffer_append_char(&text, i ? ',' : '[');
		(void)wl_buffer_append_text(&text, tail->pieces[tail->first + i]);
	}
	(void)wl_buffer_append_char(&text, ']');
	if (text.failed)
		wl_buffer_release(&text);
	return wl_buffer_steal(&text);
}

void log_tail_release(struct log_tail *tail)
{
	while (tail->count > 0)
		forget_oldest(tail);
	free(tail->pieces);
	wl_buffer_release(&tail->line);
	*tail = (struct log_tail){ 0 };
}
