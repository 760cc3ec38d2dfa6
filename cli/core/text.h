/* Text from outside, made fit for a terminal or checked; and values made readable. Pure. */
#ifndef WL_CLI_CORE_TEXT_H
#define WL_CLI_CORE_TEXT_H

#include "lib/base/buffer.h"
#include "lib/codec/json.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* True for well-formed UTF-8 (RFC 3629) without a NUL byte. */
bool cli_text_valid(const char *text, size_t length);

/*
 * Append text that came from a server or a tool so that it cannot steer a terminal: control characters (C0 but line
 * feed and tab, DEL, C1) and bytes that are no UTF-8 become \xNN. `one_line`: line feed and tab too.
 */
void cli_text_append_safe(struct wl_buffer *out, const char *text, size_t length, bool one_line);

/* JSON with two blanks of indentation a level, for people. */
void cli_json_pretty(struct wl_buffer *out, const struct wl_json *json);

/* Milliseconds between two RFC 3339 times; -1 when one of them is not one. */
int64_t cli_time_between_ms(const char *from, const char *to);

/* "12 ms", "3.4 s", "2 min 5 s"; "" for a negative time. */
#define CLI_DURATION_TEXT 32
char *cli_duration(int64_t ms, char text[CLI_DURATION_TEXT]);

/* How many columns a UTF-8 text takes when each character takes one. */
size_t cli_text_columns(const char *text);

#endif
