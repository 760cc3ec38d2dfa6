#include "lib/ports/ledger.h"

#include <stdlib.h>

void wl_start_release(struct wl_start *start)
{
	free(start->inputs_json);
	start->inputs_json = NULL;
}
