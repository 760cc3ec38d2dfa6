/*
 * Bytes that some threads give and one takes, such as the input of a program that another thread runs. Nobody waits in
 * here: the giver never, and the taker polls a descriptor.
 */
#ifndef WL_BASE_BYTE_QUEUE_H
#define WL_BASE_BYTE_QUEUE_H

#include "lib/base/buffer.h"
#include "lib/base/error.h"

#include <stdbool.h>
#include <stddef.h>

struct wl_byte_queue;

/* Make one that takes `most` bytes in all its life. 0; -ENOMEM; what eventfd(2) failed with. */
int wl_byte_queue_new(size_t most, struct wl_byte_queue **ret_queue, struct wl_error *err);
size_t wl_byte_queue_most(const struct wl_byte_queue *queue);
/* Nobody may use it any more. NULL is fine. */
void wl_byte_queue_free(struct wl_byte_queue *queue);

/* ---- for those who give, from any thread --------------------------------------------------------------- */

/*
 * Add a copy of `length` bytes. They are given as a whole or not at all. 0; -EPIPE: the taker takes nothing more, or
 * the end was said; -EFBIG: `most` would be passed; -ENOMEM.
 */
int wl_byte_queue_put(struct wl_byte_queue *queue, const void *bytes, size_t length, struct wl_error *err);
/* Nothing follows what was put. Once is enough, more do no harm. */
void wl_byte_queue_end(struct wl_byte_queue *queue);

/* ---- for the one who takes ------------------------------------------------------------------------------- */

/* Readable while there is something to take or the end was said and not yet taken. Never read by the caller. */
int wl_byte_queue_fd(const struct wl_byte_queue *queue);
/* Move all that waits behind `into`; true: the end was said, and nothing will follow. */
bool wl_byte_queue_take(struct wl_byte_queue *queue, struct wl_buffer *into);
/* Take nothing more: what waits is dropped, and those who put are told. */
void wl_byte_queue_refuse(struct wl_byte_queue *queue);

#endif
