#include "supervisor/sandbox/fair_pick.h"

size_t fair_pick(const struct waiting_run *waiting, size_t count)
{
	size_t best = 0;
	for (size_t i = 1; i < count; i++) {
		const struct waiting_run *a = &waiting[i];
		const struct waiting_run *b = &waiting[best];
		if (a->running < b->running || (a->running == b->running && a->arrival < b->arrival))
			best = i;
	}
	return best;
}
