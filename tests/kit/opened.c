#include "tests/kit/opened.h"

#include "lib/base/error.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

struct wl_json *parsed(const char *text)
{
	struct wl_json *json = NULL;
	struct wl_error err = { 0 };
	if (wl_json_parse(text, strlen(text), &json, &err) < 0)
		fail_msg("%s: %s", text, err.text);
	return json;
}

struct wl_zone *open_zone(const char *name)
{
	struct wl_zone *zone = NULL;
	struct wl_error err = { 0 };
	if (wl_zone_open(ZONEINFO, name, &zone, &err) < 0)
		fail_msg("%s", err.text);
	return zone;
}
