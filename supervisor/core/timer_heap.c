#include "supervisor/core/timer_heap.h"

#include <errno.h>
#include <stdlib.h>

void timer_heap_release(struct timer_heap *heap)
{
	free(heap->timers);
	*heap = (struct timer_heap){ 0 };
}

int timer_heap_reserve(struct timer_heap *heap, size_t timers, struct wl_error *err)
{
	if (timers <= heap->capacity)
		return 0;
	size_t capacity = heap->capacity ? heap->capacity : 64;
	while (capacity < timers)
		capacity *= 2;
	struct timer **grown = realloc(heap->timers, capacity * sizeof(struct timer *));
	if (!grown)
		return wl_fail(err, ENOMEM, "no memory for %zu timers", timers);
	heap->timers = grown;
	heap->capacity = capacity;
	return 0;
}

static void place(struct timer_heap *heap, size_t index, struct timer *timer)
{
	heap->timers[index] = timer;
	timer->place = index + 1;
}

static void sift_up(struct timer_heap *heap, size_t index, struct timer *timer)
{
	while (index > 0 && heap->timers[(index - 1) / 2]->due_ms > timer->due_ms) {
		place(heap, index, heap->timers[(index - 1) / 2]);
		index = (index - 1) / 2;
	}
	place(heap, index, timer);
}

static void sift_down(struct timer_heap *heap, size_t index, struct timer *timer)
{
	for (;;) {
		size_t child = index * 2 + 1;
		if (child + 1 < heap->count && heap->timers[child + 1]->due_ms < heap->timers[child]->due_ms)
			child++;
		if (child >= heap->count || heap->timers[child]->due_ms >= timer->due_ms)
			break;
		place(heap, index, heap->timers[child]);
		index = child;
	}
	place(heap, index, timer);
}

static void settle_at(struct timer_heap *heap, size_t index, struct timer *timer)
{
	sift_up(heap, index, timer);
	sift_down(heap, timer->place - 1, timer);
}

static void take_out(struct timer_heap *heap, struct timer *timer)
{
	size_t index = timer->place - 1;
	struct timer *last = heap->timers[--heap->count];
	timer->place = 0;
	if (last != timer)
		settle_at(heap, index, last);
}

void timer_heap_set(struct timer_heap *heap, struct timer *timer, uint64_t due_ms)
{
	timer->due_ms = due_ms;
	if (due_ms == UINT64_MAX) {
		if (timer->place)
			take_out(heap, timer);
	} else if (timer->place) {
		settle_at(heap, timer->place - 1, timer);
	} else if (heap->count < heap->capacity) {
		sift_up(heap, heap->count++, timer);
	}
}

struct timer *timer_heap_first(const struct timer_heap *heap)
{
	return heap->count ? heap->timers[0] : NULL;
}
