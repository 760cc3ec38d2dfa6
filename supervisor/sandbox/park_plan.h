/* Which sandboxes to keep ready: pure, told the time and the counts, answers with one step at a time. */
#ifndef WL_SANDBOX_PARK_PLAN_H
#define WL_SANDBOX_PARK_PLAN_H

#include <stddef.h>
#include <stdint.h>

/* One kind of sandbox: a tenant and a profile. */
struct park_key {
	uint32_t tenant;
	uint32_t profile; /* index in the profile set */
	uint64_t used_ms; /* when one was last asked for */
	uint64_t served;  /* number of that request among all; not looked at here */
	uint32_t parked;
	uint32_t making;
};

struct park_rules {
	uint32_t each;	     /* to keep of each kind in use */
	uint32_t total;	     /* to keep in all */
	uint32_t making_max; /* to make at once */
	uint64_t keep_ms;    /* a kind not asked for during this time is not in use any more */
};

enum park_step_kind { PARK_NOTHING, PARK_MAKE, PARK_GIVE_UP };

struct park_step {
	enum park_step_kind kind;
	size_t key; /* index in the keys */
};

/*
 * The next step towards the rules. All kinds in use get `each`, or when that is more than the total an even share, one
 * more for those used last. When the total is reached, a kind that lacks some gets one at the cost of a kind that has
 * two more than it, so that kinds used in turn do not take from each other for ever. The caller does the step, corrects
 * the counts and asks again until PARK_NOTHING, which comes after at most as many steps as there are sandboxes to move.
 */
struct park_step park_plan(const struct park_key *keys, size_t count, const struct park_rules *rules, uint64_t now_ms);

#endif
