#include "supervisor/run_context.h"

#include "lib/base/buffer.h"
#include "lib/base/cleanup.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int context_add(struct context_piece **newest, const char *head, size_t head_length, const char *value,
		size_t value_length, struct wl_error *err)
{
	size_t before = *newest ? (*newest)->total : 0, length = head_length + value_length;
	if (length > RUN_CONTEXT_MAX || before + length > RUN_CONTEXT_MAX)
		return wl_fail(err, EMSGSIZE, "inputs and outputs of the run are more than %u bytes together",
			       RUN_CONTEXT_MAX);
	struct context_piece *piece = malloc(sizeof(*piece) + length + 1);
	if (!piece)
		return wl_fail(err, ENOMEM, "no memory for what a node gave");
	*piece = (struct context_piece){
		.before = *newest, .total = before + length, .length = length, .value_at = head_length
	};
	atomic_init(&piece->users, 1);
	memcpy(piece->data, head, head_length);
	memcpy(piece->data + head_length, value, value_length);
	piece->data[length] = '\0';
	*newest = piece;
	return 0;
}

struct context_piece *context_hold(struct context_piece *piece)
{
	atomic_fetch_add(&piece->users, 1);
	return piece;
}

void context_drop(struct context_piece *piece)
{
	while (piece && atomic_fetch_sub(&piece->users, 1) == 1) {
		struct context_piece *before = piece->before;
		free(piece);
		piece = before;
	}
}

char *context_text(const struct context_piece *newest, const struct context_piece *closing, size_t *ret_length)
{
	static const char brackets[] = "}}";
	const char *end = closing ? closing->data : brackets;
	size_t length = newest->total, end_length = closing ? closing->length : sizeof(brackets) - 1;
	char *text = malloc(length + end_length + 1);
	if (!text)
		return NULL;
	memcpy(text + length, end, end_length);
	text[length + end_length] = '\0';
	for (const struct context_piece *piece = newest; piece; piece = piece->before)
		memcpy(text + piece->total - piece->length, piece->data, piece->length);
	*ret_length = length + end_length;
	return text;
}

char *context_parts_text(const struct context_part *parts, int count, enum context_shape shape, size_t *ret_length)
{
	_wl_buffer_ struct wl_buffer text;
	static const char *const ends[] = { [CONTEXT_VALUE] = "", [CONTEXT_OBJECT] = "{}", [CONTEXT_LIST] = "[]" };
	int shown = shape == CONTEXT_VALUE && count > 1 ? 1 : count;
	wl_buffer_init(&text, 0);
	(void)wl_buffer_append(&text, ends[shape], *ends[shape] ? 1 : 0);
	if (shape == CONTEXT_VALUE && count == 0)
		(void)wl_buffer_append_text(&text, "null");
	for (int i = 0; i < shown; i++) {
		if (i > 0)
			(void)wl_buffer_append_char(&text, ',');
		if (shape == CONTEXT_OBJECT) {
			(void)wl_buffer_append_json_string(&text, parts[i].id, strlen(parts[i].id));
			(void)wl_buffer_append_char(&text, ':');
		}
		if (parts[i].text)
			(void)wl_buffer_append(&text, parts[i].text, parts[i].length);
		else
			(void)wl_buffer_append_text(&text, "null");
	}
	(void)wl_buffer_append_text(&text, *ends[shape] ? ends[shape] + 1 : "");
	*ret_length = text.length;
	return text.failed ? NULL : wl_buffer_steal(&text);
}
