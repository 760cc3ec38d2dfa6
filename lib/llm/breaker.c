#include "lib/llm/breaker.h"

#include <stdlib.h>
#include <time.h>

#define PAUSE_MS 500
#define PAUSE_MOST_MS 20000
#define MINUTE_MS 60000.0
#define RETRY_AFTER_MOST_S 86400.0

bool wl_llm_breaker_ask(struct wl_llm_breaker *breaker, uint64_t now_ms, uint64_t *ret_wait_ms)
{
	*ret_wait_ms = 0;
	if (breaker->state == WL_LLM_BREAKER_OPEN) {
		uint64_t end_ms = breaker->opened_ms + WL_LLM_BREAKER_REST_MS;
		if (now_ms < end_ms) {
			*ret_wait_ms = end_ms - now_ms;
			return false;
		}
		breaker->state = WL_LLM_BREAKER_HALF_OPEN;
		breaker->probing = false;
	}
	if (breaker->state == WL_LLM_BREAKER_HALF_OPEN) {
		if (breaker->probing) {
			*ret_wait_ms = WL_LLM_BREAKER_REST_MS;
			return false;
		}
		breaker->probing = true;
	}
	return true;
}

static void open_it(struct wl_llm_breaker *breaker, uint64_t now_ms)
{
	*breaker = (struct wl_llm_breaker){ .state = WL_LLM_BREAKER_OPEN, .opened_ms = now_ms };
}

void wl_llm_breaker_tell(struct wl_llm_breaker *breaker, enum wl_llm_breaker_news news, uint64_t now_ms)
{
	switch (breaker->state) {
	case WL_LLM_BREAKER_OPEN: /* a late word of a request that was made before */
		return;
	case WL_LLM_BREAKER_HALF_OPEN:
		if (news == WL_LLM_BREAKER_FAILED)
			open_it(breaker, now_ms);
		else if (news == WL_LLM_BREAKER_WORKED)
			*breaker = (struct wl_llm_breaker){ .state = WL_LLM_BREAKER_CLOSED };
		breaker->probing = false;
		return;
	case WL_LLM_BREAKER_CLOSED:
		if (news == WL_LLM_BREAKER_WORKED)
			breaker->failures = 0;
		if (news != WL_LLM_BREAKER_FAILED)
			return;
		if (breaker->failures == 0 || now_ms - breaker->window_ms > WL_LLM_BREAKER_WINDOW_MS) {
			breaker->failures = 0;
			breaker->window_ms = now_ms;
		}
		if (++breaker->failures >= WL_LLM_BREAKER_FAILURES)
			open_it(breaker, now_ms);
		return;
	}
}

uint64_t wl_llm_rate_take(struct wl_llm_rate *rate, int max_rpm, uint64_t now_ms)
{
	if (max_rpm <= 0)
		return 0;
	double most = max_rpm, each_ms = MINUTE_MS / max_rpm;
	if (rate->seen_ms == 0)
		rate->tokens = most;
	else if (now_ms > rate->seen_ms)
		rate->tokens += (double)(now_ms - rate->seen_ms) / each_ms;
	if (rate->tokens > most)
		rate->tokens = most;
	rate->seen_ms = now_ms;
	if (rate->tokens >= 1) {
		rate->tokens -= 1;
		return 0;
	}
	return (uint64_t)((1 - rate->tokens) * each_ms) + 1;
}

uint64_t wl_llm_pause_ms(int attempt, uint64_t said_ms, uint32_t random)
{
	uint64_t most = PAUSE_MS;
	for (int i = 1; i < attempt && most < PAUSE_MOST_MS; i++)
		most *= 2;
	if (most > PAUSE_MOST_MS)
		most = PAUSE_MOST_MS;
	/* behind what the server said, so that not all who were told the same come at once */
	uint64_t spread = said_ms ? said_ms / 10 + 50 : most;
	return said_ms + random % (spread + 1);
}

uint64_t wl_llm_retry_after_ms(const char *value, int64_t wall_ms)
{
	char *end = NULL;
	double seconds = strtod(value, &end);
	if (end != value) {
		end += *end == 's';
		if (*end || !(seconds >= 0))
			return 0;
	} else {
		struct tm tm = { 0 };
		const char *rest = strptime(value, "%a, %d %b %Y %H:%M:%S", &tm);
		if (!rest)
			return 0;
		seconds = (double)timegm(&tm) - (double)wall_ms / 1000;
	}
	if (seconds <= 0)
		return 0;
	return (uint64_t)((seconds < RETRY_AFTER_MOST_S ? seconds : RETRY_AFTER_MOST_S) * 1000);
}
