/*
 * Text that servers cut in the middle of characters. Some split a character's bytes, or the two halves of a surrogate
 * pair, between two pieces of JSON; neither piece is valid JSON then. wl_llm_repair_json() makes such a piece readable:
 * it writes each stray byte as a character that stands for it, and the assembler puts the characters together again.
 * Pure.
 */
#ifndef WL_LLM_UTF8_H
#define WL_LLM_UTF8_H

#include "lib/base/buffer.h"

#include <stddef.h>

struct wl_llm_utf8 {
	unsigned char held[6]; /* a character, or a surrogate pair of three bytes each, as far as it came */
	size_t count;
};

/* Append what has become whole characters to `into`; what cannot be one becomes U+FFFD. 0 or as wl_buffer_append(). */
int wl_llm_utf8_take(struct wl_llm_utf8 *state, const char *bytes, size_t length, struct wl_buffer *into);
/* No more is to come: what is held becomes U+FFFD. */
int wl_llm_utf8_finish(struct wl_llm_utf8 *state, struct wl_buffer *into);

/* Write JSON text that does not parse for its bytes so that it does. 0 or as wl_buffer_append(). */
int wl_llm_repair_json(const char *json, size_t length, struct wl_buffer *into);

#endif
