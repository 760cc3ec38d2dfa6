/*
 * Cron expressions: five fields (minute, hour, day of the month, month, day of the week) or six with seconds first.
 * A field is a list of values, ranges and steps: 5 · 1-5 · * · * with /15 · 8-18/2 · MON-FRI · JAN,JUL.
 *
 * As in Vixie's cron, a date matches when both its day of the month and its day of the week do; but when neither field
 * begins with *, one of the two is enough.
 *
 * Where clocks change:
 *   - a local time that does not exist fires once, at the first valid instant, unless the hour field holds every hour:
 *     what runs each hour loses nothing by the jump;
 *   - a local time that comes twice fires the first time only, and both times when the minute or the hour field begins
 *     with *.
 */
#ifndef WL_MODEL_CRON_H
#define WL_MODEL_CRON_H

#include "lib/base/error.h"
#include "lib/base/zone.h"

#include <stdbool.h>
#include <stdint.h>

#define WL_CRON_TEXT 200

/* Bit n of a field: the value n matches. */
struct wl_cron {
	uint64_t seconds, minutes;
	uint32_t hours, days, months, weekdays; /* Sunday is 0 */
	bool any_day, any_weekday;		/* the field begins with * */
	bool repeats;				/* fires again when a local time comes twice */
};

/* Read an expression. 0; -EINVAL with the field and what is wrong with it, also for one that no date can match. */
int wl_cron_parse(const char *text, struct wl_cron *ret_cron, struct wl_error *err);

/*
 * The first fire after `after` (seconds since 1970 UTC). True and *ret_fire; false when there is none within 60 years,
 * which is longer than any date of a calendar keeps one waiting.
 */
bool wl_cron_next(const struct wl_cron *cron, const struct wl_zone *zone, int64_t after, int64_t *ret_fire);

/* The next fires after `after`, `most` at most, into `fires`; how many. */
int wl_cron_upcoming(const struct wl_cron *cron, const struct wl_zone *zone, int64_t after, int most, int64_t *fires);

#endif
