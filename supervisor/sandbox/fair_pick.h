/* Who gets the next free slot: pure. */
#ifndef WL_SANDBOX_FAIR_PICK_H
#define WL_SANDBOX_FAIR_PICK_H

#include <stddef.h>
#include <stdint.h>

#define WAITING_MAX 1024     /* requests that may wait on one warden; more are refused as busy */
#define WAITING_EACH_MAX 256 /* of one tenant, so that none can fill the queue for the others */

struct waiting_run {
	uint32_t tenant;
	uint32_t running; /* slots that this tenant holds now */
	uint64_t served;  /* number of the last slot this tenant was given, 0 for none that is remembered */
	uint64_t arrival; /* grows with each request */
};

/*
 * Index of the request to serve next: of the tenant that holds the fewest slots; among those, of the one that was given
 * a slot longest ago; and of its requests the oldest. So with one slot tenants take turns, and with more they share
 * them evenly, however many requests one of them has waiting. `count` is 1 or more.
 */
size_t fair_pick(const struct waiting_run *waiting, size_t count);

#endif
