#include "lib/llm/utf8.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* Bytes 0x80 to 0xff are written as U+10F780 to U+10F7FF, at the end of the last private plane. */
#define MARK_FIRST 0xf4
#define MARK_SECOND 0x8f
#define MARK_THIRD 0x9e /* and 0x9f */
#define REPLACEMENT "\xef\xbf\xbd"

static size_t wanted_length(unsigned char first)
{
	return first < 0x80		       ? 1
	       : first >= 0xc2 && first < 0xe0 ? 2
	       : first >= 0xe0 && first < 0xf0 ? 3
	       : first < 0xf5 && first >= 0xf0 ? 4
					       : 0;
}

/* How many bytes of a character these are (RFC 3629 §4); 0: not yet one; -1: never one. Surrogates count as one. */
static int judge(const unsigned char *bytes, size_t count)
{
	size_t wanted = wanted_length(bytes[0]);
	if (!wanted)
		return -1;
	if (count > 1 && ((bytes[0] == 0xe0 && bytes[1] < 0xa0) || (bytes[0] == 0xf0 && bytes[1] < 0x90) ||
			  (bytes[0] == 0xf4 && bytes[1] > 0x8f)))
		return -1;
	for (size_t i = 1; i < count && i < wanted; i++)
		if ((bytes[i] & 0xc0) != 0x80)
			return -1;
	return count >= wanted ? (int)wanted : 0;
}

static bool is_surrogate(const unsigned char *bytes, unsigned char from, unsigned char to)
{
	return bytes[0] == 0xed && bytes[1] >= from && bytes[1] <= to;
}

static void append_pair(const unsigned char *held, struct wl_buffer *into)
{
	uint32_t high = ((held[1] & 0x0fu) << 6) | (held[2] & 0x3fu);
	uint32_t low = ((held[4] & 0x0fu) << 6) | (held[5] & 0x3fu);
	uint32_t code = 0x10000u + (high << 10) + low;
	const unsigned char bytes[4] = { (unsigned char)(0xf0 | (code >> 18)),
					 (unsigned char)(0x80 | ((code >> 12) & 0x3f)),
					 (unsigned char)(0x80 | ((code >> 6) & 0x3f)),
					 (unsigned char)(0x80 | (code & 0x3f)) };
	(void)wl_buffer_append(into, bytes, 4);
}

/* Give up the first `count` held bytes as one replacement. */
static void replace(struct wl_llm_utf8 *state, size_t count, struct wl_buffer *into)
{
	(void)wl_buffer_append_text(into, REPLACEMENT);
	state->count -= count;
	memmove(state->held, state->held + count, state->count);
}

/* Append what the held bytes make; true: look again. */
static bool settle(struct wl_llm_utf8 *state, struct wl_buffer *into)
{
	int whole = state->count ? judge(state->held, state->count) : 0;
	if (whole < 0) {
		replace(state, 1, into);
		return true;
	}
	if (whole == 0)
		return false;
	if (whole != 3 || !is_surrogate(state->held, 0xa0, 0xbf)) {
		(void)wl_buffer_append(into, state->held, (size_t)whole);
		state->count -= (size_t)whole;
		memmove(state->held, state->held + whole, state->count);
		return true;
	}
	if (is_surrogate(state->held, 0xb0, 0xbf)) {
		replace(state, 3, into);
		return true;
	}
	/* the first half of a pair: the other one has to follow at once */
	if (state->count == 3)
		return false;
	if (state->held[3] != 0xed || (state->count > 4 && !is_surrogate(state->held + 3, 0xb0, 0xbf))) {
		replace(state, 3, into);
		return true;
	}
	if (state->count < 6)
		return false;
	append_pair(state->held, into);
	state->count = 0;
	return false;
}

static void take_byte(struct wl_llm_utf8 *state, unsigned char byte, struct wl_buffer *into)
{
	state->held[state->count++] = byte;
	while (settle(state, into))
		;
}

int wl_llm_utf8_take(struct wl_llm_utf8 *state, const char *bytes, size_t length, struct wl_buffer *into)
{
	const unsigned char *at = (const unsigned char *)bytes;
	for (size_t i = 0; i < length; i++) {
		size_t from = i;
		while (state->count == 0 && i < length && at[i] < 0x80)
			i++;
		if (i > from)
			(void)wl_buffer_append(into, bytes + from, i - from);
		if (i == length)
			break;
		if (length - i >= 4 && at[i] == MARK_FIRST && at[i + 1] == MARK_SECOND &&
		    (at[i + 2] | 1) == (MARK_THIRD | 1) && (at[i + 3] & 0xc0) == 0x80) {
			take_byte(state, (unsigned char)(0x80 | ((at[i + 2] & 1) << 6) | (at[i + 3] & 0x3f)), into);
			i += 3;
		} else {
			take_byte(state, at[i], into);
		}
	}
	return into->failed ? -into->failed : 0;
}

int wl_llm_utf8_finish(struct wl_llm_utf8 *state, struct wl_buffer *into)
{
	while (state->count)
		if (!settle(state, into) && state->count)
			replace(state, state->count > 3 ? 3 : state->count, into);
	return into->failed ? -into->failed : 0;
}

/* ---- repair ----------------------------------------------------------------------------------------------------- */

static void mark(struct wl_buffer *into, unsigned char byte)
{
	const unsigned char bytes[4] = { MARK_FIRST, MARK_SECOND, (unsigned char)(MARK_THIRD | ((byte >> 6) & 1)),
					 (unsigned char)(0x80 | (byte & 0x3f)) };
	(void)wl_buffer_append(into, bytes, 4);
}

/* The number of a \uXXXX at `text`, or -1. */
static int escape_number(const char *text, size_t length)
{
	char digits[5] = { 0 };
	if (length < 6 || text[0] != '\\' || text[1] != 'u')
		return -1;
	for (int i = 0; i < 4; i++) {
		if (!isxdigit((unsigned char)text[2 + i]))
			return -1;
		digits[i] = text[2 + i];
	}
	return (int)strtol(digits, NULL, 16);
}

/* Copy an escape, with half a surrogate pair as the bytes that stand for it; how many bytes it has. */
static size_t repair_escape(const char *text, size_t length, struct wl_buffer *into)
{
	int number = escape_number(text, length);
	if (number == 0) {
		(void)wl_buffer_append_text(into, REPLACEMENT);
		return 6;
	}
	if (number < 0xd800 || number > 0xdfff) {
		size_t count = length < 2 ? length : 2;
		(void)wl_buffer_append(into, text, count);
		return count;
	}
	int next = number < 0xdc00 ? escape_number(text + 6, length - 6) : -1;
	if (next >= 0xdc00 && next <= 0xdfff) {
		(void)wl_buffer_append(into, text, 12);
		return 12;
	}
	mark(into, 0xed);
	mark(into, (unsigned char)(0x80 | ((number >> 6) & 0x3f)));
	mark(into, (unsigned char)(0x80 | (number & 0x3f)));
	return 6;
}

int wl_llm_repair_json(const char *json, size_t length, struct wl_buffer *into)
{
	for (size_t i = 0; i < length;) {
		const unsigned char *at = (const unsigned char *)json + i;
		if (*at == '\\') {
			i += repair_escape(json + i, length - i, into);
			continue;
		}
		int whole = judge(at, length - i);
		if (*at >= 0x80 && (whole <= 0 || is_surrogate(at, 0xa0, 0xbf))) {
			mark(into, *at);
			i++;
			continue;
		}
		(void)wl_buffer_append(into, at, (size_t)whole);
		i += (size_t)whole;
	}
	return into->failed ? -into->failed : 0;
}
