/*
 * The one error object of Windlass: a negative errno plus one sentence.
 *
 * Every function that can fail takes a `struct wl_error *err` last and returns 0 (or a
 * non-negative count) on success and -err->code on failure. Libraries fill it and return;
 * only programs log it, once.
 */
#ifndef WL_BASE_ERROR_H
#define WL_BASE_ERROR_H

#include <stdarg.h>

#define WL_ERROR_TEXT 512

struct wl_error {
	int code; /* positive errno, 0 when nothing failed */
	char text[WL_ERROR_TEXT];
};

/*
 * Fill `err` and return -errnum, so that a caller writes `return wl_fail(err, errno, "...")`.
 * errnum: positive errno; 0 or less is turned into EIO so that a failure never looks like success.
 * fmt:    a sentence without a trailing full stop; cut at WL_ERROR_TEXT bytes.
 * err may be NULL when the caller does not care for the text.
 */
int wl_fail(struct wl_error *err, int errnum, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* As wl_fail, and appends ": <strerror(errnum)>". */
int wl_fail_errno(struct wl_error *err, int errnum, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* Put "<context>: " before the text that is already in `err`; returns -err->code. */
int wl_fail_within(struct wl_error *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#endif
