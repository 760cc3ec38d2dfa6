/* Let go of what webhooks have left behind: old deliveries, and what was kept to know a repeated request. */
#include "lib/base/cleanup.h"
#include "scheduler/chores.h"

#define REQUEST "{\"keep\":1000,\"keep_refused\":200,\"pending\":10000}"

int chore_hooks_tidy(struct chore_desk *desk, struct wl_error *err)
{
	_wl_free_ char *nothing = NULL;
	return wl_postgres_call(&desk->postgres, "control.hooks_tidy", REQUEST, &nothing, err);
}
