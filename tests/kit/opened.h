/* What tests take for granted, opened or read; whatever does not work fails the test with its sentence. */
#ifndef TESTS_KIT_OPENED_H
#define TESTS_KIT_OPENED_H

#include "lib/base/zone.h"
#include "lib/codec/json.h"

#define ZONEINFO "/usr/share/zoneinfo"

/* The JSON value of a text; the caller ends it with wl_json_free(). */
struct wl_json *parsed(const char *text);

/* A zone of this host, such as "Europe/Zurich"; the caller ends it with wl_zone_close(). */
struct wl_zone *open_zone(const char *name);

#endif
