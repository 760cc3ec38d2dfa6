/*
 * Decisions about one provider, time given in: its circuit breaker, its rate, and how long to wait before the next
 * try. Pure.
 */
#ifndef WL_LLM_BREAKER_H
#define WL_LLM_BREAKER_H

#include <stdbool.h>
#include <stdint.h>

#define WL_LLM_BREAKER_FAILURES 5 /* within the window open it */
#define WL_LLM_BREAKER_WINDOW_MS 60000
#define WL_LLM_BREAKER_REST_MS 15000 /* until one request may try again */

/* X(name, what it means, who may ask) */
#define WL_LLM_BREAKER_STATES(X)                                                                                       \
	X(CLOSED, "requests pass", "all")                                                                              \
	X(OPEN, "it failed too often: nobody asks until it has rested", "none")                                        \
	X(HALF_OPEN, "it has rested: one request tries, and its outcome decides", "one")

enum wl_llm_breaker_state {
#define X(name, meaning, who) WL_LLM_BREAKER_##name,
	WL_LLM_BREAKER_STATES(X)
#undef X
};

enum wl_llm_breaker_news { WL_LLM_BREAKER_WORKED, WL_LLM_BREAKER_FAILED, WL_LLM_BREAKER_UNKNOWN };

struct wl_llm_breaker {
	enum wl_llm_breaker_state state;
	int failures;	    /* since window_ms */
	uint64_t window_ms; /* when the first of them was */
	uint64_t opened_ms;
	bool probing; /* half open: the one request is under way */
};

/* May a request be made now? When not, *ret_wait_ms is how long it is not worth asking. */
bool wl_llm_breaker_ask(struct wl_llm_breaker *breaker, uint64_t now_ms, uint64_t *ret_wait_ms);
/* What became of a request that was let through; unknown: it was given up by who made it. */
void wl_llm_breaker_tell(struct wl_llm_breaker *breaker, enum wl_llm_breaker_news news, uint64_t now_ms);

/* A bucket of tokens: max_rpm of them, filled evenly within a minute. */
struct wl_llm_rate {
	double tokens;
	uint64_t seen_ms; /* when it was filled last; 0: never, and so it is full */
};

/* Take a token: 0, or the milliseconds until there is one (nothing was taken). */
uint64_t wl_llm_rate_take(struct wl_llm_rate *rate, int max_rpm, uint64_t now_ms);

/*
 * Milliseconds before try number `attempt` (1 is the first one again). said_ms: what Retry-After said, 0 for nothing;
 * random: any 32 random bits. Full jitter: from nothing to a bound that doubles.
 */
uint64_t wl_llm_pause_ms(int attempt, uint64_t said_ms, uint32_t random);

/* Milliseconds that a Retry-After header asks for: seconds or an HTTP date (RFC 9110 §10.2.3). 0 when of no use. */
uint64_t wl_llm_retry_after_ms(const char *value, int64_t wall_ms);

#endif
