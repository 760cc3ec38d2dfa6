/*
 * Time zones: compiled files of the IANA database in the format TZif (RFC 9636, version 2 or later), as the package
 * tzdata installs them. A zone is a sequence of spans of one offset from UTC each, without end in both directions:
 * behind the file's table the rule of its footer goes on.
 */
#ifndef WL_BASE_ZONE_H
#define WL_BASE_ZONE_H

#include "lib/base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WL_ZONE_NAME 64			   /* bytes of a name with its NUL are at most these and one */
#define WL_ZONE_FILE_MAX 131072		   /* bytes; the largest of tzdata has less than 4 KiB */
#define WL_ZONE_MIN (-4611686018427387904) /* the first span begins here, the last one ends at WL_ZONE_MAX */
#define WL_ZONE_MAX 4611686018427387903

struct wl_zone;

/* The offset that holds in start <= t < end, in seconds of 1970-01-01 UTC. Neighbours differ in their offset. */
struct wl_zone_span {
	int64_t start, end;
	int32_t offset; /* seconds east of UTC */
};

/*
 * Read a file's bytes. 0 and *ret_zone for the caller to close; -EINVAL with what is wrong (leap seconds are: such
 * files, named right/..., do not count in POSIX time); -ENOMEM.
 */
int wl_zone_parse(const void *bytes, size_t length, struct wl_zone **ret_zone, struct wl_error *err);

/*
 * Open the zone `name`, such as Europe/Zurich or UTC, below `folder`. 0 and *ret_zone; -EINVAL for what no name can be;
 * -ENOENT when there is no such zone; -errno when the file cannot be read, -EINVAL when it is damaged.
 */
int wl_zone_open(const char *folder, const char *name, struct wl_zone **ret_zone, struct wl_error *err);
void wl_zone_close(struct wl_zone *zone);

/* The span that t lies in. WL_ZONE_MIN <= t < WL_ZONE_MAX. */
struct wl_zone_span wl_zone_span(const struct wl_zone *zone, int64_t t);

/* Whether `name` is written as names of zones are: words of letters, digits and _ + - with / between them. */
bool wl_zone_name_valid(const char *name);

/* Days since 1970-01-01 of a date of the proleptic Gregorian calendar, month 1 to 12, and back. */
int64_t wl_days_of_date(int64_t year, int month, int day);
void wl_date_of_days(int64_t days, int64_t *ret_year, int *ret_month, int *ret_day);

static inline void wl_zone_cleanup(struct wl_zone **zone)
{
	wl_zone_close(*zone);
}
#define _wl_zone_ __attribute__((cleanup(wl_zone_cleanup)))

#endif
