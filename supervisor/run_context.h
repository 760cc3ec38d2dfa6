/*
 * The texts of a run: what its expressions see, as a list of pieces in the order in which they came. A piece never
 * changes, and it keeps those before it; so each job holds the context of its moment by one reference, and only a job
 * that is being run has a copy of it in one text. A thousand nodes that wait for a thread cost no thousand copies.
 */
#ifndef WL_SUPERVISOR_RUN_CONTEXT_H
#define WL_SUPERVISOR_RUN_CONTEXT_H

#include "lib/base/error.h"

#include <stdatomic.h>
#include <stddef.h>

#define RUN_CONTEXT_MAX (16u << 20) /* bytes of inputs and outputs of one run */

struct context_piece {
	atomic_int users;
	struct context_piece *before; /* held; NULL for the first */
	size_t total;		      /* bytes up to the end of this one */
	size_t length;
	size_t value_at; /* where the value begins in data */
	char data[];
};

/*
 * Put `head` and `value` behind *newest, which is replaced and whose reference goes over to the new piece. -EMSGSIZE
 * when the run would hold too much, -ENOMEM; *newest is as it was then.
 */
int context_add(struct context_piece **newest, const char *head, size_t head_length, const char *value,
		size_t value_length, struct wl_error *err);
struct context_piece *context_hold(struct context_piece *piece);
/* Give a reference back; NULL is allowed. */
void context_drop(struct context_piece *piece);
/*
 * All up to `newest` and what closes it, allocated; NULL without memory. `closing`: a piece of its own, such as
 * },"item":5,"index":0} inside a loop; NULL: the two brackets alone.
 */
char *context_text(const struct context_piece *newest, const struct context_piece *closing, size_t *ret_length);

/* The value of one live predecessor; it points into a piece. text NULL: it gave nothing. */
struct context_part {
	const char *id;
	const char *text;
	size_t length;
};

/* A value is the first part, or null; an object is by id. */
enum context_shape { CONTEXT_VALUE, CONTEXT_OBJECT, CONTEXT_LIST };

/* The parts as one JSON text, allocated; NULL without memory. */
char *context_parts_text(const struct context_part *parts, int count, enum context_shape shape, size_t *ret_length);

#endif
