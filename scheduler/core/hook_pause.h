/* When an outgoing webhook is tried again. Pure. */
#ifndef WL_SCHEDULER_CORE_HOOK_PAUSE_H
#define WL_SCHEDULER_CORE_HOOK_PAUSE_H

#include <stdbool.h>
#include <stdint.h>

#define HOOK_TRIES 8
#define HOOK_PAUSE_MOST_MS (12 * 3600 * 1000LL)

enum hook_outcome {
	HOOK_DELIVERED, /* 2xx */
	HOOK_RETRY,
	HOOK_FAILED, /* for good: no tries are left, or the next one would end the same */
	HOOK_GONE,   /* 410: the receiver wants nothing any more */
};

/*
 * Milliseconds between the try number `attempt` (from 1) that failed and the next: base_ms, and each further pause five
 * times the one before up to HOOK_PAUSE_MOST_MS; up to a fifth more or less by `random` (any number), so that what
 * failed together does not come back together. With a base of 10 s the last of HOOK_TRIES lies about 23 hours behind
 * the first.
 */
int64_t hook_pause_ms(int64_t base_ms, int attempt, uint32_t random);

/* What a try came to: `status` of the answer, 0 when none came; `hopeless`: nothing may be sent to this url. */
enum hook_outcome hook_outcome_of(long status, bool hopeless, int attempt);

/* As control.out_report() has it. */
const char *hook_outcome_name(enum hook_outcome outcome);

#endif
