/*
 * Language models behind one door: openai, anthropic, ollama, vllm and demo, with streaming, retries, failover, circuit
 * breakers and rate limits. It speaks the protocols and counts tokens; who may spend how much is the caller's business
 * (lib/ports/budget.h), and whose keys are used as well.
 */
#ifndef WL_LLM_LLM_H
#define WL_LLM_LLM_H

#include "lib/base/error.h"
#include "lib/net/egress.h"
#include "lib/ports/model_call.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* X(name, word, base URL when the provider sets none) */
#define WL_LLM_TYPES(X)                                                                                                \
	X(OPENAI, "openai", "https://api.openai.com/v1")                                                               \
	X(ANTHROPIC, "anthropic", "https://api.anthropic.com/v1")                                                      \
	X(OLLAMA, "ollama", "http://127.0.0.1:11434")                                                                  \
	X(VLLM, "vllm", "http://127.0.0.1:8000/v1")                                                                    \
	X(DEMO, "demo", "")

enum wl_llm_type {
#define X(name, word, url) WL_LLM_##name,
	WL_LLM_TYPES(X)
#undef X
};

/* A provider as one call needs it. Texts belong to the caller. */
struct wl_llm_provider {
	const char *id; /* UUID: breakers and rates are kept by it */
	int version;	/* a change closes its breaker */
	enum wl_llm_type type;
	const char *base_url;	   /* NULL: the type's */
	const char *api_key;	   /* NULL: none is sent */
	const char *default_model; /* NULL: a request has to name one */
	uint32_t timeout_ms;	   /* of one call with its retries; 0: 60 s */
	int max_retries;	   /* of one provider, beyond the first try */
	int max_rpm;		   /* requests a minute; 0: no bound */
	bool allow_private;
};

struct wl_llm; /* what all calls of a process share: breakers, rates, kept connections. Thread-safe */

/* `egress` stays the caller's and outlives it. 0 or -ENOMEM. */
int wl_llm_new(const struct wl_egress_rules *egress, struct wl_llm **ret_llm, struct wl_error *err);
void wl_llm_free(struct wl_llm *llm);

/*
 * Ask the first provider of the chain; when it fails for a reason that another one may not have (WL_MODEL_FAULTS), the
 * next. request->provider_id is not looked at, and request->model is meant for the first one: those that stand in are
 * asked for their default model, if they have one. What was streamed is never streamed twice: a stream that breaks off
 * after text was passed on goes on where it stopped when the next answer begins with the same text, and is an error
 * otherwise. Everything else as wl_model_port.call says.
 */
int wl_llm_call(struct wl_llm *llm, const struct wl_llm_provider *chain, size_t count,
		const struct wl_model_request *request, struct wl_model_answer *answer, struct wl_error *err);

/* As wl_model_port.embed, by one provider. Usage is filled in any case. */
int wl_llm_embed(struct wl_llm *llm, const struct wl_llm_provider *provider, const char *model,
		 const char *const *texts, size_t count, uint32_t timeout_ms, int cancel_fd, float **ret_vectors,
		 size_t *ret_dimensions, struct wl_model_usage *usage, enum wl_model_fault *ret_fault,
		 struct wl_error *err);

/* The names of the models that a provider offers: a JSON array of text, allocated. */
int wl_llm_models(struct wl_llm *llm, const struct wl_llm_provider *provider, uint32_t timeout_ms, char **ret_json,
		  enum wl_model_fault *ret_fault, struct wl_error *err);

/*
 * An upper bound of what a request costs in tokens before it is made: its texts by a bytes-per-token rule that no
 * common tokenizer exceeds by much, and the most that its answer may have (`otherwise` when it sets no max_tokens).
 */
uint64_t wl_llm_estimate(const struct wl_model_request *request, uint64_t otherwise);

#endif
