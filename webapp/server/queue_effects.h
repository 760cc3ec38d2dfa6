/* What is told to the queue after a commit. Best effort: the scheduler's sweeper finds in the ledger what got lost. */
#ifndef WL_WEBAPP_QUEUE_EFFECTS_H
#define WL_WEBAPP_QUEUE_EFFECTS_H

#include <stdint.h>

/* Put a waiting execution into its tenant's queue. `epoch`: of its last attempt, 0 before the first. */
void web_queue_enqueue(int tenant, const char *eid, int shard, int64_t gen, int64_t seq, int epoch);

/* Take out what waits, or pass the word to the supervisor of what runs. */
void web_queue_cancel(int shard, const char *eid);

#endif
