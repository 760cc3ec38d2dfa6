/* Whole files and whole writes, for those who may block. */
#ifndef WL_BASE_FILE_H
#define WL_BASE_FILE_H

#include "lib/base/buffer.h"
#include "lib/base/error.h"

#include <stddef.h>

/*
 * Append all that a descriptor gives until its end to `into`; the caller keeps the descriptor.
 * name: how the sentence of an error calls it.
 * into: its limit, in bytes, bounds what is read; on an error it may hold a part.
 * 0; -EMSGSIZE: there is more than the limit; -ENOMEM; else the negative errno of read(2).
 */
int wl_read_all(int fd, const char *name, struct wl_buffer *into, struct wl_error *err);

/* The same of the file at `path`; also the negative errno of open(2). */
int wl_file_read(const char *path, struct wl_buffer *into, struct wl_error *err);

/* Write `length` bytes, however many calls it takes. 0, or the negative errno of write(2): then a part may be written.
 */
int wl_write_all(int fd, const void *bytes, size_t length);

#endif
