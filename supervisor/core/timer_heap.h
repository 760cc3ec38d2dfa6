/* A binary min-heap of timers that lie inside other structs: insert, move and remove in O(log n), no allocation a
 * timer. */
#ifndef WL_SUPERVISOR_CORE_TIMER_HEAP_H
#define WL_SUPERVISOR_CORE_TIMER_HEAP_H

#include "lib/base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct timer {
	uint64_t due_ms; /* UINT64_MAX while it is not set */
	size_t place;	 /* its index in the heap, plus 1; 0: not in it */
};

struct timer_heap {
	struct timer **timers;
	size_t count, capacity;
};

void timer_heap_release(struct timer_heap *heap);
/* Make room for `timers` in all, so that setting them cannot fail. 0 or -ENOMEM. */
int timer_heap_reserve(struct timer_heap *heap, size_t timers, struct wl_error *err);
/* Set, move or (UINT64_MAX) take out a timer. Room must have been reserved. */
void timer_heap_set(struct timer_heap *heap, struct timer *timer, uint64_t due_ms);
/* The timer that is due first, or NULL. */
struct timer *timer_heap_first(const struct timer_heap *heap);

#endif
