/* Bytes from programs and servers made fit for JSON. */
#ifndef WL_SUPERVISOR_NODES_TEXT_H
#define WL_SUPERVISOR_NODES_TEXT_H

#include "lib/base/buffer.h"

/*
 * Append `length` bytes as a JSON string. What is not UTF-8 (RFC 3629) and NUL become U+FFFD. 0 or the buffer's error.
 */
int text_append_json(struct wl_buffer *buffer, const char *bytes, size_t length);

/* The length of the valid UTF-8 sequence at `bytes` (1 to 4), or 0. */
size_t text_utf8_length(const unsigned char *bytes, size_t length);

/* Take the white space between the tokens of valid JSON text out, in place; numbers keep their digits. */
void text_compact_json(char *json);

#endif
