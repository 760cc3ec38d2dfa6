#include "scheduler/core/schedule_plan.h"

#include <string.h>

enum schedule_misfire schedule_misfire_of(const char *text)
{
	if (strcmp(text, "skip") == 0)
		return SCHEDULE_SKIP;
	return strcmp(text, "all") == 0 ? SCHEDULE_ALL : SCHEDULE_LATEST;
}

/* The fires from <= t <= now into the plan, the last SCHEDULE_FIRES_MAX of them; true when some were left out. */
static bool collect(const struct wl_cron *cron, const struct wl_zone *zone, int64_t first, int64_t from, int64_t now,
		    struct schedule_plan *plan)
{
	int64_t ring[SCHEDULE_FIRES_MAX], t = first;
	int64_t seen = 0;
	bool more = from <= first || wl_cron_next(cron, zone, from - 1, &t);
	for (; more && t <= now; more = wl_cron_next(cron, zone, t, &t))
		ring[seen++ % SCHEDULE_FIRES_MAX] = t;
	plan->count = seen < SCHEDULE_FIRES_MAX ? (int)seen : SCHEDULE_FIRES_MAX;
	for (int i = 0; i < plan->count; i++)
		plan->fires[i] = ring[(seen - plan->count + i) % SCHEDULE_FIRES_MAX];
	return seen > SCHEDULE_FIRES_MAX;
}

/* The last fire of first <= t < end: in windows that grow, so that neither a dense nor a rare schedule takes long. */
static int64_t last_before(const struct wl_cron *cron, const struct wl_zone *zone, int64_t first, int64_t end)
{
	int64_t window = 60, found = first;
	while (end > first) {
		int64_t start = end - window > first ? end - window : first, t = start - 1;
		while (wl_cron_next(cron, zone, t, &t) && t < end)
			found = t;
		if (found > first)
			break;
		end = start;
		window *= 2;
	}
	return found;
}

void schedule_plan_make(const struct wl_cron *cron, const struct wl_zone *zone, int64_t first, int64_t now,
			enum schedule_misfire misfire, int64_t grace_s, struct schedule_plan *ret_plan)
{
	struct schedule_plan plan = { 0 };
	int64_t on_time = now - grace_s, from = on_time;
	if (misfire == SCHEDULE_ALL && SCHEDULE_WINDOW_S > grace_s)
		from = now - SCHEDULE_WINDOW_S;
	plan.missed = collect(cron, zone, first, from, now, &plan) || first < from;
	if (misfire == SCHEDULE_LATEST && plan.count == 0) {
		plan.count = 1;
		plan.fires[0] = last_before(cron, zone, first, from);
		plan.missed = plan.fires[0] != first;
	}
	plan.shown = wl_cron_upcoming(cron, zone, now, SCHEDULE_SHOWN, plan.next);
	*ret_plan = plan;
}
