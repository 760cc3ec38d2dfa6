/*
 * Decisions about a schedule whose time has come: which of its fires happen, and when it is due next. Pure.
 *
 * A fire that is at most `grace_s` late is on time, however often the scheduler was restarted meanwhile: all of those
 * happen. Older ones were missed, and the schedule's policy tells what becomes of them:
 *   skip     nothing
 *   latest   the last one happens, unless one on time does anyway
 *   all      all of the last 24 hours happen, the last hundred at most
 */
#ifndef WL_SCHEDULER_CORE_SCHEDULE_PLAN_H
#define WL_SCHEDULER_CORE_SCHEDULE_PLAN_H

#include "lib/model/cron.h"

#define SCHEDULE_FIRES_MAX 100
#define SCHEDULE_WINDOW_S 86400
#define SCHEDULE_SHOWN 5

enum schedule_misfire { SCHEDULE_SKIP, SCHEDULE_LATEST, SCHEDULE_ALL };

/* Times are seconds since 1970 UTC. */
struct schedule_plan {
	int count;
	int64_t fires[SCHEDULE_FIRES_MAX];
	bool missed; /* the first one that was due does not happen, nor maybe some that followed it */
	int shown;
	int64_t next[SCHEDULE_SHOWN]; /* after now; [0] is when it is due again */
};

/* skip, latest or all; anything else is latest. */
enum schedule_misfire schedule_misfire_of(const char *text);

/* `first` is the fire that came due, now >= first. */
void schedule_plan_make(const struct wl_cron *cron, const struct wl_zone *zone, int64_t first, int64_t now,
			enum schedule_misfire misfire, int64_t grace_s, struct schedule_plan *ret_plan);

#endif
