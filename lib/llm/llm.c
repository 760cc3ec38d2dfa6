#include "lib/llm/llm.h"

#include "lib/base/cleanup.h"
#include "lib/base/clock.h"
#include "lib/llm/calls.h"

#include <errno.h>
#include <string.h>

/* One call over all its providers and tries. */
struct call {
	struct wl_llm *llm;
	const struct wl_llm_provider *provider; /* whose turn it is */
	const struct wl_model_request *request;
	const char *model;
	struct wl_llm_sink sink;
	struct wl_model_answer *answer;
	uint64_t begin_us;
	uint64_t end_ms; /* 0: only the providers' own bounds */
};

static const struct wl_llm_wire *wire_of(enum wl_llm_type type, unsigned dialect)
{
	switch (type) {
	case WL_LLM_ANTHROPIC:
		return &wl_llm_anthropic;
	case WL_LLM_OLLAMA:
		return &wl_llm_ollama;
	case WL_LLM_OPENAI:
	case WL_LLM_VLLM:
	case WL_LLM_DEMO:
		break;
	}
	return dialect & WL_LLM_DIALECT_RESPONSES ? &wl_llm_openai_responses : &wl_llm_openai_chat;
}

static int take_piece(void *context, const struct wl_http_response *response, const char *bytes, size_t length)
{
	(void)response;
	return wl_llm_reader_feed(context, bytes, length);
}

/* The outcome of a try whose reader found a fault: that is why it failed. */
static void blame_reader(const struct call *call, const struct wl_llm_reader *reader, struct wl_llm_outcome *outcome)
{
	outcome->fault = reader->fault;
	outcome->err = reader->err;
	wl_llm_mask(outcome->err.text, call->provider->api_key);
}

static void note_first(struct call *call, const struct wl_llm_reader *reader)
{
	if (reader->first_us && !call->answer->first_us)
		call->answer->first_us = reader->first_us - call->begin_us;
}

/* Another way of asking the same may be what the server takes. */
static void learn(const struct call *call, const struct wl_llm_ask *ask, const struct wl_http_response *response,
		  struct wl_llm_outcome *outcome)
{
	unsigned found = wl_llm_dialect_of(response->status, response->body.data, response->body.length, ask);
	bool openai = call->provider->type == WL_LLM_OPENAI || call->provider->type == WL_LLM_VLLM;
	if (!openai)
		found &= ~(unsigned)WL_LLM_DIALECT_RESPONSES;
	if (!found)
		return;
	wl_llm_learn(call->llm, call->provider, ask->model, found);
	outcome->again = true;
}

static void try_chat(void *context, struct wl_http_client *client, uint32_t left_ms, struct wl_llm_outcome *outcome)
{
	struct call *call = context;
	const struct wl_llm_ask ask = { .request = call->request,
					.model = call->model,
					.dialect = wl_llm_dialect(call->llm, call->provider, call->model),
					.stream = call->request->stream != NULL };
	const struct wl_llm_wire *wire = wire_of(call->provider->type, ask.dialect);
	_wl_buffer_ struct wl_buffer body;
	_wl_http_response_ struct wl_http_response response = { 0 };
	struct wl_llm_reader reader;
	wl_buffer_init(&body, 0);
	if (wire->write(&ask, &body, &outcome->err) < 0) {
		outcome->fault = WL_MODEL_FAULT_REQUEST;
		return;
	}
	wl_llm_reader_init(&reader, wire, &ask, &call->sink);
	int sent = wl_llm_send(client, call->provider, wire->path, &body, left_ms, call->request->cancel_fd, take_piece,
			       &reader, &response, outcome);
	if (sent == 0 && wl_llm_reader_finish(&reader, call->answer) < 0)
		blame_reader(call, &reader, outcome);
	else if (sent < 0 && reader.fault)
		blame_reader(call, &reader, outcome);
	else if (sent < 0 && response.status >= 300)
		learn(call, &ask, &response, outcome);
	if (sent < 0)
		wl_llm_reader_add_usage(&reader, &call->answer->usage);
	note_first(call, &reader);
	wl_llm_reader_release(&reader);
}

static void ask_demo(struct call *call, struct wl_llm_outcome *outcome)
{
	uint64_t prompt = call->answer->usage.prompt, completion = call->answer->usage.completion;
	if (wl_llm_sink_told(&call->sink)) {
		outcome->fault = WL_MODEL_FAULT_AWAY; /* it would say something else than the model that broke off */
		(void)wl_fail(&outcome->err, ECONNREFUSED, "the answer broke off after a part of it was passed on");
		return;
	}
	outcome->tries++;
	if (wl_llm_demo_call(call->request, call->model, call->answer, &outcome->err) < 0)
		outcome->fault = call->answer->fault;
	else
		call->answer->first_us = wl_clock_monotonic_us() - call->begin_us;
	call->answer->usage.prompt += prompt;
	call->answer->usage.completion += completion;
}

/* The request names a model of its own provider; one that stands in is asked for its default one, if it has any. */
static const char *model_for(const struct call *call, bool first)
{
	const char *named = call->request->model, *standard = call->provider->default_model;
	bool has_own = (standard && *standard) || call->provider->type == WL_LLM_DEMO;
	return named && *named && (first || !has_own) ? named : standard;
}

static void ask_provider(struct call *call, bool first, bool last, struct wl_llm_outcome *outcome)
{
	const struct wl_llm_provider *provider = call->provider;
	uint64_t end_ms = wl_clock_boot_ms() + wl_llm_timeout_ms(provider, 0);
	if (call->end_ms && call->end_ms < end_ms)
		end_ms = call->end_ms;
	call->model = model_for(call, first);
	if (provider->type == WL_LLM_DEMO) {
		if (!wl_llm_stopped(call->request->cancel_fd, outcome))
			ask_demo(call, outcome);
		return;
	}
	if (!call->model || !*call->model) {
		outcome->fault = WL_MODEL_FAULT_MODEL;
		(void)wl_fail(&outcome->err, ENOENT, "neither the request nor the provider names a model");
		return;
	}
	wl_llm_turn(call->llm, provider, end_ms, call->request->cancel_fd, last, try_chat, call, outcome);
}

static bool may_next(enum wl_model_fault fault)
{
	static const bool next[] = {
#define X(name, word, may) may,
		WL_MODEL_FAULTS(X)
#undef X
	};
	return next[fault];
}

static void close_call(struct call *call, const struct wl_llm_outcome *outcome)
{
	struct wl_model_answer *answer = call->answer;
	answer->fault = outcome->fault;
	answer->retry_after_ms = outcome->fault ? outcome->retry_after_ms : 0;
	answer->total_us = wl_clock_monotonic_us() - call->begin_us;
	if (!answer->first_us && !outcome->fault)
		answer->first_us = answer->total_us;
	if (!answer->provider_id && call->provider && call->provider->id)
		answer->provider_id = strdup(call->provider->id);
	if (!answer->model && call->model)
		answer->model = strdup(call->model);
	wl_llm_sink_release(&call->sink);
}

int wl_llm_call(struct wl_llm *llm, const struct wl_llm_provider *chain, size_t count,
		const struct wl_model_request *request, struct wl_model_answer *answer, struct wl_error *err)
{
	struct call call = { .llm = llm,
			     .request = request,
			     .sink = { .stream = request->stream },
			     .answer = answer,
			     .begin_us = wl_clock_monotonic_us() };
	struct wl_llm_outcome outcome = { .fault = WL_MODEL_FAULT_PROVIDER };
	*answer = (struct wl_model_answer){ 0 };
	if (request->timeout_ms)
		call.end_ms = wl_clock_boot_ms() + request->timeout_ms;
	(void)wl_fail(&outcome.err, ENOENT, "there is no provider to ask");
	if (count && wl_llm_check_request(request, &outcome.err) < 0) {
		outcome.fault = WL_MODEL_FAULT_REQUEST;
		count = 0;
	}
	for (size_t i = 0; i < count; i++) {
		outcome = (struct wl_llm_outcome){ 0 };
		call.provider = &chain[i];
		ask_provider(&call, i == 0, i + 1 == count, &outcome);
		answer->attempts += outcome.tries;
		if (!may_next(outcome.fault) || (call.end_ms && wl_clock_boot_ms() >= call.end_ms))
			break;
	}
	close_call(&call, &outcome);
	if (outcome.fault == WL_MODEL_FAULT_NONE)
		return 0;
	return wl_fail(err, wl_llm_errno(outcome.fault), "%s", outcome.err.text);
}
