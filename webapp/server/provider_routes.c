/*
 * Trying an LLM provider: the list of its models is asked for, which every one of them has and none charges for. What
 * the server says beyond that is not passed on: it may repeat the key.
 */
#include "lib/base/clock.h"
#include "webapp/server/resource_trial.h"
#include "webapp/server/routes.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TRIAL_MS 10000

/* X(type, whether it has to have a key, whether it has to be asked) */
#define PROVIDERS(X)                                                                                                   \
	X(OPENAI, true, true)                                                                                          \
	X(ANTHROPIC, true, true)                                                                                       \
	X(OLLAMA, false, true)                                                                                         \
	X(VLLM, false, true)                                                                                           \
	X(DEMO, false, false)

static const struct {
	bool needs_key, is_asked;
} providers[] = {
#define X(name, needs_key, is_asked) [WL_LLM_##name] = { needs_key, is_asked },
	PROVIDERS(X)
#undef X
};

struct finding {
	bool valid;
	int64_t latency_ms; /* -1: nobody was asked, or nobody answered */
	char message[WL_ERROR_TEXT + 64];
	char *models; /* a JSON array */
};

static void write_finding(const struct finding *finding, struct wl_buffer *answer)
{
	wl_buffer_appendf(answer, "{\"valid\":%s,\"message\":", finding->valid ? "true" : "false");
	wl_buffer_append_json_string(answer, finding->message, strlen(finding->message));
	wl_buffer_append_text(answer, ",\"models\":");
	wl_buffer_append_text(answer, finding->models ? finding->models : "[]");
	if (finding->latency_ms < 0)
		wl_buffer_append_text(answer, ",\"latency_ms\":null}");
	else
		wl_buffer_appendf(answer, ",\"latency_ms\":%lld}", (long long)finding->latency_ms);
}

static enum wl_llm_type type_of(const struct wl_json *body)
{
	static const char *const words[] = {
#define X(name, word, url) [WL_LLM_##name] = word,
		WL_LLM_TYPES(X)
#undef X
	};
	const char *type = wl_json_get_string(body, "provider_type", "");
	size_t at = 0;
	while (at < WL_LLM_DEMO && strcmp(words[at], type) != 0)
		at++;
	return (enum wl_llm_type)at;
}

/* Does the fault show that somebody answered? */
static bool was_answered(enum wl_model_fault fault)
{
	return fault != WL_MODEL_FAULT_AWAY && fault != WL_MODEL_FAULT_LATE && fault != WL_MODEL_FAULT_EGRESS &&
	       fault != WL_MODEL_FAULT_REQUEST;
}

static size_t count_models(const char *models)
{
	_wl_json_ struct wl_json *json = NULL;
	return wl_json_parse(models, strlen(models), &json, NULL) == 0 ? wl_json_count(json) : 0;
}

static void ask(const struct wl_json *config, enum wl_llm_type type, const char *key, struct finding *finding)
{
	double timeout_ms = fmin(TRIAL_MS, wl_json_get_number(config, "timeout_s", 60) * 1000);
	const struct wl_llm_provider provider = {
		.type = type,
		.base_url = wl_json_get_string(config, "base_url", NULL),
		.api_key = key,
		.timeout_ms = (uint32_t)timeout_ms,
		.allow_private = wl_json_get_bool(config, "allow_private", false),
	};
	enum wl_model_fault fault;
	struct wl_error err = { 0 };
	uint64_t begin_us = wl_clock_monotonic_us();
	finding->valid = wl_llm_models(web_trial_llm(), &provider, 0, &finding->models, &fault, &err) == 0;
	if (was_answered(fault))
		finding->latency_ms = (int64_t)(wl_clock_monotonic_us() - begin_us) / 1000;
	if (!finding->valid)
		(void)snprintf(finding->message, sizeof(finding->message), "%s", err.text);
	else if (!providers[type].is_asked)
		(void)snprintf(finding->message, sizeof(finding->message),
			       "the demo provider is built in and needs no key");
	else
		(void)snprintf(finding->message, sizeof(finding->message), "the server gives %zu models",
			       count_models(finding->models));
}

static int try_provider(struct web_trial *trial, struct wl_buffer *answer, struct wl_error *err)
{
	const struct wl_json *body = web_trial_body(trial);
	enum wl_llm_type type = type_of(body);
	_wl_json_ struct wl_json *credentials = NULL;
	struct finding finding = { .latency_ms = -1 };
	int rc = web_trial_credentials(trial, &credentials, err);
	const char *key = wl_json_get_string(credentials, "api_key", NULL);
	if (rc < 0)
		(void)snprintf(finding.message, sizeof(finding.message),
			       "the stored key cannot be opened: give it again");
	else if (!key && providers[type].needs_key)
		(void)snprintf(finding.message, sizeof(finding.message), "no api_key is stored");
	else
		ask(wl_json_get(body, "config"), type, key, &finding);
	write_finding(&finding, answer);
	free(finding.models);
	return 0;
}

void web_llm_providers_validate(struct web_request *request)
{
	web_trial_start(request, "llm_provider", try_provider);
}
