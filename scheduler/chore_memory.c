/* Forget what crews and agents remembered that were deleted: in the document server first, then the room it took. */
#include "lib/base/cleanup.h"
#include "lib/base/log.h"
#include "lib/store/mongo_crew_memory.h"
#include "scheduler/chores.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define OWNERS_AT_ONCE 20

static int forget(struct chore_desk *desk, const struct wl_crew_memory *memory, const struct wl_json *gone,
		  struct wl_error *err)
{
	_wl_free_ char *request = wl_json_print(gone), *nothing = NULL;
	int tenant = (int)wl_json_get_number(gone, "tenant", 0);
	const char *owner = wl_json_get_string(gone, "owner", "");
	int64_t bytes = 0;
	if (!request)
		return wl_fail(err, ENOMEM, "no memory to forget");
	int count = wl_mongo_crew_memory_forget(memory, tenant, owner, NULL, &bytes, err);
	if (count < 0)
		return count;
	wl_log(WL_LOG_INFO, "%d memories of %.36s of tenant %d went with it", count, owner, tenant);
	return wl_postgres_call(&desk->postgres, "control.memory_gone_done", request, &nothing, err);
}

int chore_memory(struct chore_desk *desk, struct wl_error *err)
{
	_wl_free_ char *answer = NULL;
	_wl_json_ struct wl_json *list = NULL;
	struct wl_crew_memory memory;
	char request[32];
	(void)snprintf(request, sizeof(request), "{\"limit\":%d}", OWNERS_AT_ONCE);
	int r = wl_postgres_call(&desk->postgres, "control.memory_gone_take", request, &answer, err);
	if (r == 0)
		r = wl_json_parse(answer ? answer : "[]", answer ? strlen(answer) : 2, &list, err);
	if (r < 0 || !wl_json_first(list))
		return r;
	r = wl_mongo_crew_memory_open(desk->scheduler->settings->mongodb_url, &memory, err);
	if (r < 0)
		return r;
	for (const struct wl_json *one = wl_json_first(list); one && r == 0; one = wl_json_next(one))
		r = forget(desk, &memory, one, err);
	memory.close(memory.self);
	return r < 0 ? r : 1;
}
