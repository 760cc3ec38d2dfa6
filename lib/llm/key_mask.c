#include "lib/llm/key_mask.h"

#include "lib/base/cleanup.h"

#include <errno.h>
#include <string.h>

/* The length of the key that stands at `text`, or 0. */
static size_t key_at(const struct wl_key_mask *mask, const char *text, size_t length)
{
	for (size_t i = 0; i < mask->count; i++) {
		const char *key = mask->chain[i].api_key;
		size_t bytes = key ? strlen(key) : 0;
		if (bytes >= WL_KEY_LEAST && bytes <= length && memcmp(text, key, bytes) == 0)
			return bytes;
	}
	return 0;
}

/* Could a key begin at `text`, where the text ends before it is whole? */
static bool may_begin(const struct wl_key_mask *mask, const char *text, size_t length)
{
	for (size_t i = 0; i < mask->count; i++) {
		const char *key = mask->chain[i].api_key;
		size_t bytes = key ? strlen(key) : 0;
		if (bytes >= WL_KEY_LEAST && length < bytes && memcmp(text, key, length) == 0)
			return true;
	}
	return false;
}

/* Append `text` masked. `last`: nothing follows. Returns how many bytes at its end are not in `clean`: they may become
 * one. */
static size_t mask_text(const struct wl_key_mask *mask, const char *text, size_t length, bool last,
			struct wl_buffer *clean)
{
	for (size_t at = 0; at < length;) {
		size_t key = key_at(mask, text + at, length - at);
		if (!key && !last && may_begin(mask, text + at, length - at))
			return length - at;
		(void)wl_buffer_append(clean, key ? WL_KEY_MASK : text + at, key ? strlen(WL_KEY_MASK) : 1);
		at += key ? key : 1;
	}
	return 0;
}

static void pass_on(struct wl_key_mask *mask, const char *text, size_t length, bool last)
{
	_wl_buffer_ struct wl_buffer clean;
	wl_buffer_init(&clean, 0);
	(void)wl_buffer_append(&mask->held, text, length);
	if (mask->held.failed || mask->held.length == 0)
		return;
	size_t rest = mask_text(mask, mask->held.data, mask->held.length, last, &clean);
	if (clean.length > 0 && !clean.failed && mask->inner->text)
		mask->inner->text(mask->inner->context, clean.data, clean.length);
	memmove(mask->held.data, mask->held.data + mask->held.length - rest, rest);
	mask->held.length = rest;
}

static void text(void *context, const char *text, size_t length)
{
	pass_on(context, text, length, false);
}

static bool has_key(const struct wl_key_mask *mask, const char *text, size_t length)
{
	for (size_t at = 0; at < length; at++)
		if (key_at(mask, text + at, length - at))
			return true;
	return false;
}

/* Ids and names that hold a key are passed on as the mask alone. */
static const char *plain_word(const struct wl_key_mask *mask, const char *word)
{
	return word && has_key(mask, word, strlen(word)) ? WL_KEY_MASK : word;
}

static void tool_begin(void *context, size_t index, const char *id, const char *name)
{
	const struct wl_key_mask *mask = context;
	if (mask->inner->tool_begin)
		mask->inner->tool_begin(mask->inner->context, index, plain_word(mask, id), plain_word(mask, name));
}

void wl_key_mask_open(const struct wl_llm_provider *chain, size_t count, const struct wl_model_stream *inner,
		      struct wl_key_mask *mask)
{
	*mask = (struct wl_key_mask){ .inner = inner, .chain = chain, .count = count };
	wl_buffer_init(&mask->held, 0);
	/* arguments of tools are told when they are whole, by the answer: a key may stand in several of their pieces */
	mask->stream = (struct wl_model_stream){ .context = mask, .text = text, .tool_begin = tool_begin };
}

static int mask_in_place(const struct wl_key_mask *mask, char **slot)
{
	_wl_buffer_ struct wl_buffer clean;
	size_t length = *slot ? strlen(*slot) : 0;
	if (!has_key(mask, *slot, length))
		return 0;
	wl_buffer_init(&clean, 0);
	(void)mask_text(mask, *slot, length, true, &clean);
	explicit_bzero(*slot, length);
	free(*slot);
	*slot = clean.failed ? NULL : wl_buffer_steal(&clean);
	return *slot ? 0 : -ENOMEM;
}

int wl_key_mask_close(struct wl_key_mask *mask, struct wl_model_answer *answer)
{
	int failed = mask_in_place(mask, &answer->text) | mask_in_place(mask, &answer->model);
	if (mask->inner)
		pass_on(mask, "", 0, true);
	for (size_t i = 0; i < answer->tool_use_count; i++) {
		struct wl_model_tool_use *use = &answer->tool_uses[i];
		if (mask_in_place(mask, &use->id) < 0 || mask_in_place(mask, &use->name) < 0 ||
		    mask_in_place(mask, &use->arguments) < 0)
			failed = -ENOMEM;
		if (mask->inner && mask->inner->tool_arguments && use->arguments)
			mask->inner->tool_arguments(mask->inner->context, i, use->arguments, strlen(use->arguments));
	}
	wl_buffer_release(&mask->held);
	return failed;
}
