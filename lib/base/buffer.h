/* A growing byte buffer with a limit. `data` is always NUL-terminated once something was appended. */
#ifndef WL_BASE_BUFFER_H
#define WL_BASE_BUFFER_H

#include <stdarg.h>
#include <stddef.h>

struct wl_buffer {
	char *data;
	size_t length;	 /* bytes used, without the closing NUL */
	size_t capacity; /* bytes allocated */
	size_t limit;	 /* bytes that may be used at most; 0 = no limit */
	int failed;	 /* ENOMEM or EMSGSIZE of the first append that did not fit, else 0 */
};

void wl_buffer_init(struct wl_buffer *buffer, size_t limit);
void wl_buffer_release(struct wl_buffer *buffer);
void wl_buffer_clear(struct wl_buffer *buffer);

/*
 * Append bytes. Returns 0, or -ENOMEM / -EMSGSIZE (over the limit); then the buffer keeps what it had
 * and `failed` stays set, so that a series of appends needs one check at its end.
 */
int wl_buffer_append(struct wl_buffer *buffer, const void *bytes, size_t length);
int wl_buffer_append_text(struct wl_buffer *buffer, const char *text);
int wl_buffer_append_char(struct wl_buffer *buffer, char character);
int wl_buffer_appendf(struct wl_buffer *buffer, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Append `text` as a JSON string with its quotes (RFC 8259 §7). `length` bytes of UTF-8. */
int wl_buffer_append_json_string(struct wl_buffer *buffer, const char *text, size_t length);

/* Make room for `more` bytes behind `length`; the caller then raises `length` itself. */
int wl_buffer_reserve(struct wl_buffer *buffer, size_t more);

/* Hand the bytes to the caller (who frees them) and empty the buffer. NULL when nothing was ever appended. */
char *wl_buffer_steal(struct wl_buffer *buffer);

#define _wl_buffer_ __attribute__((cleanup(wl_buffer_release)))

#endif
