/* Drop flows that were deleted longer ago than tenants' plans keep things, and documents that nothing names any more.
 */
#include "lib/base/cleanup.h"
#include "lib/base/log.h"
#include "scheduler/chores.h"

#include <stdio.h>
#include <string.h>

#define AT_ONCE 500

/* One tenant a round, in the order of their numbers. */
int chore_flows(struct chore_desk *desk, struct wl_error *err)
{
	static int after;
	_wl_free_ char *answer = NULL;
	_wl_json_ struct wl_json *done = NULL;
	char request[64];
	(void)snprintf(request, sizeof(request), "{\"after\":%d,\"limit\":%d}", after, AT_ONCE);
	int r = wl_postgres_call(&desk->postgres, "control.flows_tidy", request, &answer, err);
	if (r < 0)
		return r;
	if (!answer) {
		after = 0;
		return 0;
	}
	r = wl_json_parse(answer, strlen(answer), &done, err);
	if (r < 0)
		return r;
	int tenant = (int)wl_json_get_number(done, "tenant", 0);
	const char *fault = wl_json_get_string(done, "fault", NULL);
	double flows = wl_json_get_number(done, "flows", 0), documents = wl_json_get_number(done, "documents", 0);
	if (fault)
		wl_log(WL_LOG_WARNING, "deleted flows of tenant %d cannot be dropped: %s", tenant, fault);
	if (flows > 0 || documents > 0)
		wl_log(WL_LOG_INFO, "%.0f deleted flows and %.0f documents of tenant %d are dropped", flows, documents,
		       tenant);
	after = flows == AT_ONCE || documents == AT_ONCE ? tenant - 1 : tenant;
	return 1;
}
