#include "lib/ports/exchange_log.h"

#include <stdlib.h>

void wl_exchange_release(struct wl_exchange *exchange)
{
	free(exchange->place);
	free(exchange->request_hash);
	free(exchange->request_json);
	free(exchange->answer_json);
	*exchange = (struct wl_exchange){ 0 };
}
