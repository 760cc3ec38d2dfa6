#include "lib/llm/metered_call.h"

#include "lib/base/cleanup.h"
#include "lib/base/clock.h"
#include "lib/llm/key_mask.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <strings.h>

#define LEDGER_WAIT_MS 15000 /* so long the ledger of usage is waited for before a call */
#define SETTLE_WAIT_MS 30000 /* and after it; a reservation that stays open counts as spent */
#define LOOK_MS 100
#define CHEAPER_STEPS 4	       /* budgets that send to another model, one after the other */
#define COMPLETION_TOKENS 4096 /* reserved for an answer that has no bound of its own */
#define CALL_MS 600000	       /* the longest that a call without a bound may take */
#define TTL_MARGIN_S 120
#define MODEL_ROOM sizeof(((struct wl_budget_answer *)0)->model)

static bool may_pass(int result)
{
	return result == -ECONNREFUSED || result == -EPIPE || result == -ETIMEDOUT || result == -EAGAIN;
}

/* True: the caller is to stop. */
static bool pause_for(int cancel_fd, int ms)
{
	struct pollfd cancelled = { .fd = cancel_fd, .events = POLLIN };
	return poll(&cancelled, cancel_fd >= 0 ? 1 : 0, ms) > 0;
}

static int reserve_once(const struct wl_budget *budget, const struct wl_budget_call *call, int cancel_fd,
			struct wl_budget_answer *ret_answer, struct wl_error *err)
{
	uint64_t give_up_ms = wl_clock_boot_ms() + LEDGER_WAIT_MS;
	for (;;) {
		int result = budget->reserve(budget->self, call, ret_answer, err);
		if (!may_pass(result) || wl_clock_boot_ms() > give_up_ms)
			return result;
		if (pause_for(cancel_fd, LOOK_MS))
			return wl_fail(err, ECANCELED, "stopped before the model was asked");
	}
}

/* With what a person has said to it, when a budget asked and this is his answer. */
static int reserve(const struct wl_metered *world, const struct wl_metered_caller *caller,
		   const struct wl_budget_call *call, int cancel_fd, struct wl_budget_answer *ret_answer,
		   struct wl_error *err)
{
	const struct wl_budget *budget = world->budget;
	int result = reserve_once(budget, call, cancel_fd, ret_answer, err);
	if (result < 0 || ret_answer->verdict != WL_BUDGET_ASK || !caller->asked_wait ||
	    strcmp(ret_answer->wait, caller->asked_wait) != 0)
		return result;
	ret_answer->verdict = WL_BUDGET_REFUSED;
	if (!caller->approved)
		return 0;
	uint64_t give_up_ms = wl_clock_boot_ms() + LEDGER_WAIT_MS;
	do
		result = budget->allow(budget->self, caller->tenant, caller->eid, ret_answer->budget_id,
				       caller->asked_wait, err);
	while (may_pass(result) && wl_clock_boot_ms() < give_up_ms && !pause_for(cancel_fd, LOOK_MS));
	if (result == -EACCES || result == -ENOENT)
		return 0; /* refused, then */
	return result < 0 ? result : reserve_once(budget, call, cancel_fd, ret_answer, err);
}

/* A cancel does not keep it from being written down. */
static void settle(const struct wl_budget *budget, int tenant, const char *id, const char *reserved_for,
		   const struct wl_model_answer *answer, double *ret_cost)
{
	uint64_t give_up_ms = wl_clock_boot_ms() + SETTLE_WAIT_MS;
	struct wl_error ignored;
	if (answer->provider_id && strcasecmp(answer->provider_id, reserved_for) != 0)
		while (may_pass(budget->moved(budget->self, tenant, id, answer->provider_id, &ignored)) &&
		       wl_clock_boot_ms() < give_up_ms)
			(void)pause_for(-1, LOOK_MS);
	while (may_pass(budget->settle(budget->self, tenant, id, &answer->usage, answer->model, answer->fault,
				       answer->first_us, answer->total_us, ret_cost, &ignored)) &&
	       wl_clock_boot_ms() < give_up_ms)
		(void)pause_for(-1, LOOK_MS);
}

static void describe(const struct wl_metered_caller *caller, const struct wl_llm_provider *provider, const char *place,
		     struct wl_budget_call *call)
{
	static const char *const types[] = {
#define X(name, word, url) [WL_LLM_##name] = word,
		WL_LLM_TYPES(X)
#undef X
	};
	*call = (struct wl_budget_call){ .tenant = caller->tenant,
					 .eid = caller->eid,
					 .node = caller->node,
					 .attempt = caller->attempt,
					 .place = place,
					 .agent_id = caller->agent_id,
					 .caller = caller->caller,
					 .provider_id = provider->id,
					 .provider_type = types[provider->type] };
	(void)wl_uuid7(wl_clock_wall_ms(), call->id);
}

/* Providers were remembered that have changed since. */
static int stale(const struct wl_metered *world, int tenant, struct wl_error *err)
{
	if (world->source->forget)
		world->source->forget(world->source->self, tenant);
	return wl_fail(err, ESTALE, "the providers were changed just now");
}

static void tell(const struct wl_metered_caller *caller, int result)
{
	if (caller->answered && result != -ESTALE)
		caller->answered(caller->context, result);
}

static uint32_t ttl_s(const struct wl_llm_provider *provider, uint32_t timeout_ms)
{
	uint32_t ms = timeout_ms ? timeout_ms : provider->timeout_ms ? provider->timeout_ms : CALL_MS;
	return ms / 1000 + TTL_MARGIN_S;
}

static int refused(const struct wl_budget_answer *budget, struct wl_error *err)
{
	bool money = strcmp(budget->unit, "money") == 0;
	return wl_fail(err, EDQUOT,
		       money ? "the budget of the %s is used up: %.4f of %.4f"
			     : "the budget of the %s is used up: %.0f of %.0f tokens",
		       budget->scope, budget->used, budget->limit);
}

/*
 * Find a provider and a model that the budget has room for. *chain and *model are what to ask then; `model` may point
 * into *ret_budget.
 */
static int find_room(const struct wl_metered *world, const struct wl_metered_caller *caller,
		     const struct wl_model_request *request, struct wl_provider_chain **chain, const char **model,
		     char cheaper[MODEL_ROOM], struct wl_budget_answer *ret_budget, struct wl_error *err)
{
	uint64_t completion = request->max_tokens > 0 ? (uint64_t)request->max_tokens : COMPLETION_TOKENS;
	uint64_t all = wl_llm_estimate(request, COMPLETION_TOKENS);
	for (int step = 0; step < CHEAPER_STEPS; step++) {
		size_t count;
		const struct wl_llm_provider *provider = wl_provider_chain_items(*chain, &count);
		struct wl_budget_call call;
		describe(caller, provider, request->place, &call);
		call.model = *model ? *model : provider->default_model;
		call.completion_tokens = completion < all ? completion : all;
		call.prompt_tokens = all - call.completion_tokens;
		call.ttl_s = ttl_s(provider, request->timeout_ms);
		call.stamp = wl_provider_chain_stamp(*chain);
		if (caller->stamp && call.stamp != caller->stamp)
			return stale(world, caller->tenant, err);
		int result = reserve(world, caller, &call, request->cancel_fd, ret_budget, err);
		if (result < 0 || ret_budget->verdict == WL_BUDGET_GRANTED)
			return result;
		if (ret_budget->verdict == WL_BUDGET_STALE)
			return stale(world, caller->tenant, err);
		if (ret_budget->verdict != WL_BUDGET_CHEAPER)
			return refused(ret_budget, err);
		*model = memcpy(cheaper, ret_budget->model, MODEL_ROOM);
		if (!*ret_budget->provider_id || strcasecmp(ret_budget->provider_id, provider->id) == 0)
			continue;
		struct wl_provider_chain *other = NULL;
		result = wl_provider_chain_open(world, caller->tenant, ret_budget->provider_id, request->cancel_fd,
						&other, err);
		if (result < 0)
			return result;
		wl_provider_chain_free(*chain);
		*chain = other;
	}
	return refused(ret_budget, err);
}

static enum wl_model_fault fault_of(int result)
{
	switch (result) {
	case -ENOENT:
		return WL_MODEL_FAULT_PROVIDER;
	case -EACCES:
		return WL_MODEL_FAULT_KEY;
	case -EDQUOT:
		return WL_MODEL_FAULT_BUDGET;
	case -ECANCELED:
		return WL_MODEL_FAULT_STOPPED;
	default:
		return WL_MODEL_FAULT_AWAY;
	}
}

int wl_metered_call(const struct wl_metered *world, const struct wl_metered_caller *caller,
		    const struct wl_model_request *request, struct wl_model_answer *answer,
		    struct wl_budget_answer *ret_budget, struct wl_error *err)
{
	struct wl_provider_chain *chain = NULL;
	char cheaper[MODEL_ROOM];
	*answer = (struct wl_model_answer){ 0 };
	*ret_budget = (struct wl_budget_answer){ 0 };
	const char *wanted = request->model;
	int result =
		wl_provider_chain_open(world, caller->tenant, request->provider_id, request->cancel_fd, &chain, err);
	if (result == 0)
		result = find_room(world, caller, request, &chain, &wanted, cheaper, ret_budget, err);
	if (result == 0) {
		size_t count;
		const struct wl_llm_provider *items = wl_provider_chain_items(chain, &count);
		struct wl_model_request asked = *request;
		asked.model = wanted;
		struct wl_key_mask mask;
		wl_key_mask_open(items, count, request->stream, &mask);
		asked.stream = request->stream ? &mask.stream : NULL;
		result = wl_llm_call(world->llm, items, count, &asked, answer, err);
		if (wl_key_mask_close(&mask, answer) < 0 && result == 0) {
			answer->fault = WL_MODEL_FAULT_AWAY;
			result = wl_fail(err, EIO, "no memory for an answer");
		}
		tell(caller, result);
		settle(world->budget, caller->tenant, ret_budget->id, items->id, answer, &answer->cost);
	} else {
		answer->fault = fault_of(result);
		tell(caller, result);
	}
	wl_provider_chain_free(chain);
	return result;
}

static uint64_t tokens_of(const char *const *texts, size_t count)
{
	uint64_t tokens = 0;
	for (size_t i = 0; i < count; i++) {
		const struct wl_model_message message = { .role = WL_MODEL_USER, .text = texts[i] };
		const struct wl_model_request request = { .messages = &message, .message_count = 1 };
		tokens += wl_llm_estimate(&request, 0);
	}
	return tokens;
}

int wl_metered_embed(const struct wl_metered *world, const struct wl_metered_caller *caller, const char *provider_id,
		     const char *model, const char *const *texts, size_t count, const char *place, int cancel_fd,
		     float **ret_vectors, size_t *ret_dimensions, struct wl_model_usage *ret_usage, double *ret_cost,
		     enum wl_model_fault *ret_fault, struct wl_budget_answer *ret_budget, struct wl_error *err)
{
	struct wl_provider_chain *chain = NULL;
	struct wl_model_answer answer = { 0 };
	struct wl_budget_call call;
	size_t providers;
	*ret_budget = (struct wl_budget_answer){ 0 };
	*ret_usage = (struct wl_model_usage){ 0 };
	*ret_cost = 0;
	int result = wl_provider_chain_open(world, caller->tenant, provider_id, cancel_fd, &chain, err);
	if (result < 0) {
		*ret_fault = fault_of(result);
		tell(caller, result);
		return result;
	}
	const struct wl_llm_provider *provider = wl_provider_chain_items(chain, &providers);
	describe(caller, provider, place, &call);
	call.model = model ? model : provider->default_model;
	call.prompt_tokens = tokens_of(texts, count);
	call.ttl_s = ttl_s(provider, caller->timeout_ms);
	call.stamp = wl_provider_chain_stamp(chain);
	result = caller->stamp && call.stamp != caller->stamp
			 ? stale(world, caller->tenant, err)
			 : reserve(world, caller, &call, cancel_fd, ret_budget, err);
	if (result == 0 && ret_budget->verdict == WL_BUDGET_STALE)
		result = stale(world, caller->tenant, err);
	if (result == 0 && ret_budget->verdict != WL_BUDGET_GRANTED)
		result = refused(ret_budget, err);
	if (result == 0) {
		result = wl_llm_embed(world->llm, provider, model, texts, count, caller->timeout_ms, cancel_fd,
				      ret_vectors, ret_dimensions, ret_usage, ret_fault, err);
		answer.usage = *ret_usage;
		answer.fault = result < 0 ? *ret_fault : WL_MODEL_FAULT_NONE;
		answer.model = (char *)call.model;
		tell(caller, result);
		settle(world->budget, caller->tenant, ret_budget->id, provider->id, &answer, ret_cost);
	} else {
		*ret_fault = fault_of(result);
		tell(caller, result);
	}
	wl_provider_chain_free(chain);
	return result;
}
