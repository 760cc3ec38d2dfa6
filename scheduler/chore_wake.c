/* Put runs back into the queue whose wait is over. */
#include "lib/base/cleanup.h"
#include "scheduler/chores.h"

#include <string.h>

#define REQUEST "{\"limit\":200}"

int chore_wake(struct chore_desk *desk, struct wl_error *err)
{
	_wl_free_ char *text = NULL;
	_wl_json_ struct wl_json *woken = NULL;
	int r = wl_postgres_call(&desk->postgres, "control.wake_due", REQUEST, &text, err);
	if (r == 0)
		r = wl_json_parse(text, strlen(text), &woken, err);
	if (r < 0)
		return r;
	chore_enqueue(desk, woken);
	return (int)wl_json_count(woken);
}
