/* Why a sandbox ended: pure, from what was seen of it. */
#ifndef WL_SANDBOX_VERDICT_H
#define WL_SANDBOX_VERDICT_H

#include "supervisor/sandbox/warden_protocol.h"

#include <stdbool.h>

struct ending {
	bool stopped;	      /* we ended it: a timer or a KILL */
	uint32_t stop_reason; /* then: TIMEOUT, CANCELLED or OUTPUT_CAP */
	bool has_status;      /* init reported the program's wait status */
	int wait_status;      /* of the program, as of wait(2) */
	bool init_exited;     /* init ended by itself, with: */
	int init_exit_code;
	uint64_t oom_kills; /* processes that the memory limit killed */
};

/* Fill reason, exit_code and signal of the receipt. */
void verdict_fill(const struct ending *ending, struct warden_receipt *receipt);

#endif
