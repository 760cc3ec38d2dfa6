/* Count what tenants use again: counters are exact by themselves; a difference is repaired and logged as a fault. */
#include "lib/base/cleanup.h"
#include "lib/base/log.h"
#include "scheduler/chores.h"

#include <stdio.h>
#include <string.h>

static void complain(int tenant, const struct wl_json *counted)
{
	const struct wl_json *drift = wl_json_get(counted, "drift");
	const char *fault = wl_json_get_string(counted, "fault", NULL);
	if (fault)
		wl_log(WL_LOG_WARNING, "what tenant %d uses cannot be counted: %s", tenant, fault);
	for (const struct wl_json *one = wl_json_first(drift); one; one = wl_json_next(one))
		wl_log(WL_LOG_WARNING, "counter %s of tenant %d was %.0f and is %.0f now, as counted",
		       wl_json_get_string(one, "counter", ""), tenant, wl_json_get_number(one, "was", 0),
		       wl_json_get_number(one, "is", 0));
}

/* One tenant a round, in the order of their numbers. */
int chore_recount(struct chore_desk *desk, struct wl_error *err)
{
	static int after;
	_wl_free_ char *answer = NULL;
	_wl_json_ struct wl_json *counted = NULL;
	char request[32];
	(void)snprintf(request, sizeof(request), "{\"after\":%d}", after);
	int r = wl_postgres_call(&desk->postgres, "control.counters_recount", request, &answer, err);
	if (r < 0)
		return r;
	if (!answer) {
		after = 0;
		return 0;
	}
	r = wl_json_parse(answer, strlen(answer), &counted, err);
	if (r < 0)
		return r;
	after = (int)wl_json_get_number(counted, "tenant", 0);
	complain(after, counted);
	return 1;
}
