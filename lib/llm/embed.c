/* Vectors for texts, and the names of a provider's models. */
#include "lib/base/cleanup.h"
#include "lib/base/clock.h"
#include "lib/llm/calls.h"

#include <errno.h>
#include <math.h>
#include <string.h>

#define BATCH 128 /* texts of one request */
#define DIMENSIONS_MAX 16384
#define MODELS_MOST 500
#define MODEL_MOST 200 /* bytes of a name */

struct embedding {
	const struct wl_llm_provider *provider;
	const char *model;
	const char *const *texts; /* of this batch */
	size_t count;
	int cancel_fd;
	float *vectors; /* of all batches */
	size_t done;	/* texts of the batches before */
	size_t dimensions;
	struct wl_model_usage usage;
};

/* The model that a provider is asked for when none is named. */
static const char *standard_model(const struct wl_llm_provider *provider)
{
	switch (provider->type) {
	case WL_LLM_OPENAI:
		return "text-embedding-3-small";
	case WL_LLM_OLLAMA:
		return "nomic-embed-text";
	case WL_LLM_VLLM:
	case WL_LLM_ANTHROPIC:
	case WL_LLM_DEMO:
		break;
	}
	return provider->default_model;
}

static int refuse(struct wl_llm_outcome *outcome, enum wl_model_fault fault, const char *text)
{
	outcome->fault = fault;
	return wl_fail(&outcome->err, wl_llm_errno(fault), "%s", text);
}

/* Put one vector into its place, with length 1. */
static int take_vector(struct embedding *embedding, size_t index, const struct wl_json *numbers)
{
	size_t dimensions = wl_json_count(numbers), at = 0;
	double square = 0;
	if (!wl_json_is(numbers, WL_JSON_ARRAY) || dimensions == 0 || dimensions > DIMENSIONS_MAX ||
	    index >= embedding->count || (embedding->dimensions && embedding->dimensions != dimensions))
		return -EPROTO;
	if (!embedding->dimensions) {
		embedding->dimensions = dimensions;
		size_t all = embedding->done + embedding->count;
		embedding->vectors = calloc(all * dimensions, sizeof(float));
	}
	if (!embedding->vectors)
		return -ENOMEM;
	float *into = embedding->vectors + (embedding->done + index) * dimensions;
	for (const struct wl_json *one = wl_json_first(numbers); one; one = wl_json_next(one)) {
		double number = wl_json_number(one, NAN);
		if (!isfinite(number))
			return -EPROTO;
		square += number * number;
		into[at++] = (float)number;
	}
	double length = sqrt(square);
	for (at = 0; length > 0 && at < dimensions; at++)
		into[at] = (float)((double)into[at] / length);
	return length > 0 && isfinite(length) ? 0 : -EPROTO;
}

static int read_vectors(struct embedding *embedding, const struct wl_json *json)
{
	bool ollama = embedding->provider->type == WL_LLM_OLLAMA;
	const struct wl_json *list = wl_json_get(json, ollama ? "embeddings" : "data");
	size_t at = 0;
	bool given[BATCH] = { false }; /* a text without its vector would be given what lay in memory */
	if (!wl_json_is(list, WL_JSON_ARRAY) || wl_json_count(list) != embedding->count)
		return -EPROTO;
	for (const struct wl_json *one = wl_json_first(list); one; one = wl_json_next(one), at++) {
		double index = ollama ? (double)at : wl_json_get_number(one, "index", (double)at);
		if (!(index >= 0 && index < (double)embedding->count) || given[(size_t)index])
			return -EPROTO;
		given[(size_t)index] = true;
		int result = take_vector(embedding, (size_t)index, ollama ? one : wl_json_get(one, "embedding"));
		if (result < 0)
			return result;
	}
	return 0;
}

static void count_usage(struct embedding *embedding, const struct wl_json *json)
{
	uint64_t tokens = 0;
	const struct wl_json *usage = wl_json_get(json, "usage");
	if (!wl_llm_got_count(usage, "prompt_tokens", &tokens) &&
	    !wl_llm_got_count(json, "prompt_eval_count", &tokens)) {
		for (size_t i = 0; i < embedding->count; i++)
			tokens += wl_llm_count_tokens(embedding->texts[i], strlen(embedding->texts[i]));
		embedding->usage.estimated = true;
	}
	embedding->usage.prompt += tokens;
}

static void try_embed(void *context, struct wl_http_client *client, uint32_t left_ms, struct wl_llm_outcome *outcome)
{
	struct embedding *embedding = context;
	bool ollama = embedding->provider->type == WL_LLM_OLLAMA;
	_wl_buffer_ struct wl_buffer body;
	_wl_http_response_ struct wl_http_response response = { 0 };
	_wl_json_ struct wl_json *json = NULL;
	wl_buffer_init(&body, 0);
	(void)wl_buffer_append_text(&body, "{\"model\":");
	wl_llm_put_string(&body, embedding->model);
	for (size_t i = 0; i < embedding->count; i++) {
		(void)wl_buffer_append_text(&body, i ? "," : ",\"input\":[");
		wl_llm_put_string(&body, *embedding->texts[i] ? embedding->texts[i] : " ");
	}
	(void)wl_buffer_append_text(&body, ollama ? "]}" : "],\"encoding_format\":\"float\"}");
	if (body.failed)
		(void)refuse(outcome, WL_MODEL_FAULT_AWAY, "no memory for a request");
	if (outcome->fault || wl_llm_send(client, embedding->provider, ollama ? "/api/embed" : "/embeddings", &body,
					  left_ms, embedding->cancel_fd, NULL, NULL, &response, outcome) < 0)
		return;
	if (!response.body.data || wl_json_parse(response.body.data, response.body.length, &json, NULL) < 0) {
		(void)refuse(outcome, WL_MODEL_FAULT_ANSWER, "the server's answer is no JSON");
		return;
	}
	count_usage(embedding, json);
	int result = read_vectors(embedding, json);
	if (result < 0)
		(void)refuse(outcome, WL_MODEL_FAULT_ANSWER,
			     result == -ENOMEM ? "no memory for vectors" : "the answer has not a vector for each text");
}

static int embed_all(struct wl_llm *llm, struct embedding *embedding, size_t count, uint32_t timeout_ms,
		     struct wl_llm_outcome *outcome)
{
	const char *const *texts = embedding->texts;
	uint64_t end_ms = wl_clock_boot_ms() + wl_llm_timeout_ms(embedding->provider, timeout_ms);
	for (size_t at = 0; at < count; at += embedding->count) {
		embedding->done = at;
		embedding->count = count - at < BATCH ? count - at : BATCH;
		embedding->texts = texts + at;
		if (embedding->dimensions) {
			float *more = realloc(embedding->vectors,
					      (at + embedding->count) * embedding->dimensions * sizeof(float));
			if (!more)
				return refuse(outcome, WL_MODEL_FAULT_AWAY, "no memory for vectors");
			embedding->vectors = more;
		}
		wl_llm_turn(llm, embedding->provider, end_ms, embedding->cancel_fd, true, try_embed, embedding,
			    outcome);
		if (outcome->fault)
			return -outcome->err.code;
	}
	return 0;
}

static int embed_demo(struct embedding *embedding, size_t count, struct wl_llm_outcome *outcome)
{
	embedding->dimensions = WL_LLM_DEMO_DIMENSIONS;
	embedding->vectors = wl_llm_demo_embed(embedding->texts, count);
	for (size_t i = 0; i < count; i++)
		embedding->usage.prompt += (strlen(embedding->texts[i]) + 3) / 4;
	return embedding->vectors ? 0 : refuse(outcome, WL_MODEL_FAULT_AWAY, "no memory for vectors");
}

int wl_llm_embed(struct wl_llm *llm, const struct wl_llm_provider *provider, const char *model,
		 const char *const *texts, size_t count, uint32_t timeout_ms, int cancel_fd, float **ret_vectors,
		 size_t *ret_dimensions, struct wl_model_usage *usage, enum wl_model_fault *ret_fault,
		 struct wl_error *err)
{
	struct wl_llm_outcome outcome = { 0 };
	struct embedding embedding = { .provider = provider,
				       .model = model && *model ? model : standard_model(provider),
				       .texts = texts,
				       .cancel_fd = cancel_fd };
	if (count == 0)
		(void)refuse(&outcome, WL_MODEL_FAULT_REQUEST, "there are no texts to make vectors of");
	else if (provider->type == WL_LLM_ANTHROPIC)
		(void)refuse(&outcome, WL_MODEL_FAULT_REQUEST, "anthropic has no embeddings: name another provider");
	else if (provider->type == WL_LLM_DEMO)
		(void)embed_demo(&embedding, count, &outcome);
	else if (!embedding.model || !*embedding.model)
		(void)refuse(&outcome, WL_MODEL_FAULT_MODEL, "neither the call nor the provider names a model");
	else
		(void)embed_all(llm, &embedding, count, timeout_ms, &outcome);
	*usage = embedding.usage;
	*ret_fault = outcome.fault;
	if (outcome.fault) {
		free(embedding.vectors);
		return wl_fail(err, wl_llm_errno(outcome.fault), "%s", outcome.err.text);
	}
	*ret_vectors = embedding.vectors;
	*ret_dimensions = embedding.dimensions;
	return 0;
}

/* ---- models ----------------------------------------------------------------------------------------------------- */

struct listing {
	const struct wl_llm_provider *provider;
	struct wl_json *models;
};

/* The names in the answer; one that holds the key is left out. */
static int read_models(struct listing *listing, const char *text, size_t length)
{
	_wl_json_ struct wl_json *json = NULL;
	bool ollama = listing->provider->type == WL_LLM_OLLAMA;
	const char *key = listing->provider->api_key;
	if (!text || wl_json_parse(text, length, &json, NULL) < 0)
		return -EPROTO;
	const struct wl_json *list = wl_json_get(json, ollama ? "models" : "data");
	if (!wl_json_is(list, WL_JSON_ARRAY))
		return -EPROTO;
	for (const struct wl_json *one = wl_json_first(list); one && wl_json_count(listing->models) < MODELS_MOST;
	     one = wl_json_next(one)) {
		const char *name = wl_json_get_string(one, ollama ? "name" : "id", "");
		if (!*name || strlen(name) > MODEL_MOST || (key && *key && strstr(name, key)))
			continue;
		if (wl_json_append(listing->models, wl_json_new_string(name)) < 0)
			return -ENOMEM;
	}
	return 0;
}

static void try_models(void *context, struct wl_http_client *client, uint32_t left_ms, struct wl_llm_outcome *outcome)
{
	struct listing *listing = context;
	char text[128];
	_wl_http_response_ struct wl_http_response response = { 0 };
	if (wl_llm_send(client, listing->provider, listing->provider->type == WL_LLM_OLLAMA ? "/api/tags" : "/models",
			NULL, left_ms, -1, NULL, NULL, &response, outcome) < 0)
		return;
	static const char *const words[] = {
#define X(name, word, url) word,
		WL_LLM_TYPES(X)
#undef X
	};
	int result = read_models(listing, response.body.data, response.body.length);
	(void)snprintf(text, sizeof(text), "the server gives no list of models as a server of type %s does",
		       words[listing->provider->type]);
	if (result < 0)
		(void)refuse(outcome, WL_MODEL_FAULT_ANSWER, result == -ENOMEM ? "no memory" : text);
}

int wl_llm_models(struct wl_llm *llm, const struct wl_llm_provider *provider, uint32_t timeout_ms, char **ret_json,
		  enum wl_model_fault *ret_fault, struct wl_error *err)
{
	struct wl_llm_outcome outcome = { 0 };
	_wl_json_ struct wl_json *models = wl_json_array();
	struct listing listing = { .provider = provider, .models = models };
	if (!models)
		(void)refuse(&outcome, WL_MODEL_FAULT_AWAY, "no memory");
	else if (provider->type != WL_LLM_DEMO)
		wl_llm_try_once(llm, wl_llm_timeout_ms(provider, timeout_ms), try_models, &listing, &outcome);
	else if (wl_json_append(models, wl_json_new_string(WL_LLM_DEMO_MODEL)) < 0)
		(void)refuse(&outcome, WL_MODEL_FAULT_AWAY, "no memory");
	char *text = outcome.fault ? NULL : wl_json_print(models);
	if (!text && !outcome.fault)
		(void)refuse(&outcome, WL_MODEL_FAULT_AWAY, "no memory");
	*ret_fault = outcome.fault;
	if (outcome.fault)
		return wl_fail(err, wl_llm_errno(outcome.fault), "%s", outcome.err.text);
	*ret_json = text;
	return 0;
}
