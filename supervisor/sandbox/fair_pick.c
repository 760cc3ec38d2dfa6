#include "supervisor/sandbox/fair_pick.h"

#include <stdbool.h>

size_t fair_pick(const struct waiting_run *waiting, size_t count)
{
	size_t best = 0;
	for (size_t i = 1; i < count; i++) {
		const struct waiting_run *a = &waiting[i];
		const struct waiting_run *b = &waiting[best];
		bool before = a->arrival < b->arrival;
		if (a->served != b->served)
			before = a->served < b->served;
		if (a->running != b->running)
			before = a->running < b->running;
		if (before)
			best = i;
	}
	return best;
}
