#include "lib/ports/ledger.h"

#include <stdlib.h>

void wl_start_release(struct wl_start *start)
{
	free(start->inputs_json);
	free(start->options_json);
	start->inputs_json = start->options_json = NULL;
}

void wl_wait_release(struct wl_wait *wait)
{
	free(wait->node);
	free(wait->message);
	free(wait->roles_json);
	free(wait->by);
	free(wait->comment);
	wait->node = wait->message = wait->roles_json = wait->by = wait->comment = NULL;
}
