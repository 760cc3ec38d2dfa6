/*
 * A model call as everything in Windlass makes it: the provider is looked up and its key opened, the budget is asked
 * first, the call is made, and what it used is settled, whatever became of it. The supervisor, the gateway and chat
 * share it.
 */
#ifndef WL_LLM_METERED_CALL_H
#define WL_LLM_METERED_CALL_H

#include "lib/llm/llm.h"
#include "lib/ports/budget.h"
#include "lib/ports/model_source.h"

struct wl_master_key;

/* What calls of one process share. Everything stays the caller's. */
struct wl_metered {
	struct wl_llm *llm;
	const struct wl_model_source *source;
	const struct wl_budget *budget;
	const struct wl_master_key *keys; /* NULL: providers that have a key cannot be asked */
};

/* Who calls; as in wl_budget_call. */
struct wl_metered_caller {
	int tenant;
	const char *eid, *node;
	int attempt;
	const char *agent_id;
	const char *caller;
	uint32_t timeout_ms; /* of vectors, with all retries; 0: the provider's. Requests have their own */
	/* what a person said when a budget asked (wl_budget_answer.wait): the wait's name; NULL: nobody was asked */
	const char *asked_wait;
	bool approved;
	/* the stamp of what told which provider to ask (model_source.h); 0: nothing that was remembered did */
	uint64_t stamp;
	/*
	 * Called when it is known what became of the call (`result`, and all that is returned but the cost), before it
	 * is settled: whoever waits for the answer need not wait for the ledger. NULL: nobody is told.
	 */
	void (*answered)(void *context, int result);
	void *context;
};

/*
 * Ask the request's provider and those it fails over to. Servers of ours that are away are waited for, some seconds
 * each. *answer is filled and *ret_budget says what the budget said (verdict REFUSED or ASK with fault BUDGET: nothing
 * was asked). Failures as wl_model_port.call; -ESTALE: what was remembered of the providers is forgotten, since it has
 * changed; nothing was asked and nobody told, choose again.
 */
int wl_metered_call(const struct wl_metered *world, const struct wl_metered_caller *caller,
		    const struct wl_model_request *request, struct wl_model_answer *answer,
		    struct wl_budget_answer *ret_budget, struct wl_error *err);

/* The same for vectors (wl_model_port.embed); one provider, without failover: vectors of two models do not compare. */
int wl_metered_embed(const struct wl_metered *world, const struct wl_metered_caller *caller, const char *provider_id,
		     const char *model, const char *const *texts, size_t count, const char *place, int cancel_fd,
		     float **ret_vectors, size_t *ret_dimensions, struct wl_model_usage *ret_usage, double *ret_cost,
		     enum wl_model_fault *ret_fault, struct wl_budget_answer *ret_budget, struct wl_error *err);

/* A provider and those behind it, with their keys opened. */
struct wl_provider_chain;
/* As model_source.h's providers(), with the same errors; -EACCES: a key cannot be opened. The caller frees it. */
int wl_provider_chain_open(const struct wl_metered *world, int tenant, const char *provider_id, int cancel_fd,
			   struct wl_provider_chain **ret_chain, struct wl_error *err);
const struct wl_llm_provider *wl_provider_chain_items(const struct wl_provider_chain *chain, size_t *ret_count);
uint64_t wl_provider_chain_stamp(const struct wl_provider_chain *chain); /* model_source.h; 0: none */
void wl_provider_chain_free(struct wl_provider_chain *chain);		 /* wipes the keys; NULL is fine */

#endif
