/*
 * How a provider is asked, whatever it is asked for: rate, breaker, connection, retries and what is known of its
 * models.
 */
#ifndef WL_LLM_CALLS_H
#define WL_LLM_CALLS_H

#include "lib/llm/llm.h"
#include "lib/llm/wire.h"
#include "lib/net/http_client.h"

/* What became of one try or of a turn. */
struct wl_llm_outcome {
	enum wl_model_fault fault; /* NONE: it worked */
	uint64_t retry_after_ms;
	bool again; /* ask again at once, otherwise: nothing failed that counts */
	int tries;  /* requests that were made */
	struct wl_error err;
	bool ours; /* it failed for want of memory here, which says nothing of the provider */
};

/* One try with a connection of one's own, at most `left_ms`. Fills the outcome (it comes zeroed). */
typedef void wl_llm_try(void *context, struct wl_http_client *client, uint32_t left_ms, struct wl_llm_outcome *outcome);

/*
 * A provider's turn: tries until one works, the fault is one that stays, the retries are used up or end_ms (of
 * wl_clock_boot_ms) comes. last: no other provider stands behind it, so that it is waited for.
 */
void wl_llm_turn(struct wl_llm *llm, const struct wl_llm_provider *provider, uint64_t end_ms, int cancel_fd, bool last,
		 wl_llm_try *try, void *context, struct wl_llm_outcome *outcome);

/* Was the caller's cancel_fd (-1: none) written to? Then the outcome says so. */
bool wl_llm_stopped(int cancel_fd, struct wl_llm_outcome *outcome);

/* One try, whatever breaker and rate say: when a person asks whether the provider works. */
void wl_llm_try_once(struct wl_llm *llm, uint32_t timeout_ms, wl_llm_try *try, void *context,
		     struct wl_llm_outcome *outcome);

/* How many milliseconds a call of this provider may take; never 0. */
uint32_t wl_llm_timeout_ms(const struct wl_llm_provider *provider, uint32_t asked_ms);

/* What was learned of a model: dialect bits. Learning adds to them. */
unsigned wl_llm_dialect(struct wl_llm *llm, const struct wl_llm_provider *provider, const char *model);
void wl_llm_learn(struct wl_llm *llm, const struct wl_llm_provider *provider, const char *model, unsigned dialect);

/*
 * Send a request to `path` of the provider with its key; body NULL: GET. 0: an answer with status 2xx came. Else the
 * outcome says why not; response is filled as far as it came, and released by the caller.
 */
int wl_llm_send(struct wl_http_client *client, const struct wl_llm_provider *provider, const char *path,
		const struct wl_buffer *body, uint32_t timeout_ms, int cancel_fd, wl_http_take_piece *piece,
		void *piece_context, struct wl_http_response *response, struct wl_llm_outcome *outcome);

/* Why a request failed that no answer came to, as wl_http_send() says. */
enum wl_model_fault wl_llm_fault_of_errno(int code);

/* ---- the demo provider ------------------------------------------------------------------------------------------ */

#define WL_LLM_DEMO_MODEL "demo"
#define WL_LLM_DEMO_DIMENSIONS 256

/* Answer by rules; see demo.c. As wl_llm_call() for a single provider. */
int wl_llm_demo_call(const struct wl_model_request *request, const char *model, struct wl_model_answer *answer,
		     struct wl_error *err);
/* `count` vectors of WL_LLM_DEMO_DIMENSIONS, allocated; NULL without memory. */
float *wl_llm_demo_embed(const char *const *texts, size_t count);

#endif
