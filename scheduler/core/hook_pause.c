#include "scheduler/core/hook_pause.h"

int64_t hook_pause_ms(int64_t base_ms, int attempt, uint32_t random)
{
	int64_t pause = base_ms;
	for (int i = 1; i < attempt && pause < HOOK_PAUSE_MOST_MS; i++)
		pause *= 5;
	if (pause > HOOK_PAUSE_MOST_MS)
		pause = HOOK_PAUSE_MOST_MS;
	return pause * (800 + random % 401) / 1000;
}

enum hook_outcome hook_outcome_of(long status, bool hopeless, int attempt)
{
	if (status >= 200 && status < 300)
		return HOOK_DELIVERED;
	if (status == 410)
		return HOOK_GONE;
	return hopeless || attempt >= HOOK_TRIES ? HOOK_FAILED : HOOK_RETRY;
}

const char *hook_outcome_name(enum hook_outcome outcome)
{
	static const char *const names[] = {
		[HOOK_DELIVERED] = "delivered", [HOOK_RETRY] = "retry", [HOOK_FAILED] = "failed", [HOOK_GONE] = "gone"
	};
	return names[outcome];
}
