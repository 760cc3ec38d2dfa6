/*
 * Trying an LLM provider: the list of its models is asked for, which every one of them has and none charges for. What
 * the server says beyond that is not passed on: it may repeat the key.
 */
#include "lib/base/cleanup.h"
#include "webapp/server/resource_trial.h"
#include "webapp/server/routes.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#define TRIAL_MS 10000
#define MODELS_MOST 500
#define MODEL_MOST 200
#define URL_ROOM 2200
#define HEADER_ROOM 8300
#define DEMO_MODEL "demo"

enum key_use { KEY_NONE, KEY_BEARER, KEY_ANTHROPIC };

/* X(type, address when none is given, path of the list of models, how the key goes, whether it must be there, members)
 */
#define PROVIDERS(X)                                                                                                   \
	X("openai", "https://api.openai.com/v1", "/models", KEY_BEARER, true, "data", "id")                            \
	X("anthropic", "https://api.anthropic.com", "/v1/models", KEY_ANTHROPIC, true, "data", "id")                   \
	X("vllm", "", "/models", KEY_BEARER, false, "data", "id")                                                      \
	X("ollama", "", "/api/tags", KEY_BEARER, false, "models", "name")                                              \
	X("demo", NULL, NULL, KEY_NONE, false, NULL, NULL)

struct provider {
	const char *type, *address, *path;
	enum key_use key_use;
	bool needs_key;
	const char *list, *name;
};

static const struct provider providers[] = {
#define X(type, address, path, key_use, needs_key, list, name) { type, address, path, key_use, needs_key, list, name },
	PROVIDERS(X)
#undef X
};

struct finding {
	bool valid;
	int64_t latency_ms; /* -1: nobody was asked */
	char message[WL_ERROR_TEXT + 64];
	struct wl_json *models;
};

static void write_finding(const struct finding *finding, struct wl_buffer *answer)
{
	wl_buffer_appendf(answer, "{\"valid\":%s,\"message\":", finding->valid ? "true" : "false");
	wl_buffer_append_json_string(answer, finding->message, strlen(finding->message));
	wl_buffer_append_text(answer, ",\"models\":");
	if (wl_json_write(answer, finding->models) < 0)
		answer->failed = ENOMEM;
	if (finding->latency_ms < 0)
		wl_buffer_append_text(answer, ",\"latency_ms\":null}");
	else
		wl_buffer_appendf(answer, ",\"latency_ms\":%lld}", (long long)finding->latency_ms);
}

static const struct provider *provider_of(const struct wl_json *body)
{
	const char *type = wl_json_get_string(body, "provider_type", "");
	for (size_t i = 0; i < WL_COUNT_OF(providers); i++)
		if (strcmp(providers[i].type, type) == 0)
			return &providers[i];
	return &providers[WL_COUNT_OF(providers) - 1];
}

/* The names in the answer; false when it is not such a list. A name that holds the key is left out. */
static bool read_models(const struct provider *provider, const struct wl_http_response *response, const char *key,
			struct wl_json *into)
{
	_wl_json_ struct wl_json *json = NULL;
	if (!response->body.data || wl_json_parse(response->body.data, response->body.length, &json, NULL) < 0)
		return false;
	const struct wl_json *list = wl_json_get(json, provider->list);
	if (!wl_json_is(list, WL_JSON_ARRAY))
		return false;
	int count = 0;
	for (const struct wl_json *one = wl_json_first(list); one && count < MODELS_MOST; one = wl_json_next(one)) {
		const char *name = wl_json_get_string(one, provider->name, "");
		if (!*name || strlen(name) > MODEL_MOST || (key && *key && strstr(name, key)))
			continue;
		if (wl_json_append(into, wl_json_new_string(name)) < 0)
			return false;
		count++;
	}
	return true;
}

static void judge(const struct provider *provider, const struct wl_http_response *response, const char *key,
		  struct finding *finding)
{
	long status = response->status;
	finding->latency_ms = (int64_t)(response->total_us / 1000);
	if (status == 401 || status == 403)
		(void)snprintf(finding->message, sizeof(finding->message),
			       key ? "the server refuses the key (status %ld)" : "the server wants a key (status %ld)",
			       status);
	else if (status >= 300 && status < 400)
		(void)snprintf(finding->message, sizeof(finding->message),
			       "the server redirects (status %ld), which is not followed: give the final address",
			       status);
	else if (status < 200 || status > 299)
		(void)snprintf(finding->message, sizeof(finding->message), "the server answers with status %ld",
			       status);
	else if (!read_models(provider, response, key, finding->models))
		(void)snprintf(finding->message, sizeof(finding->message),
			       "the server gives no list of models as a server of type %s does", provider->type);
	else
		finding->valid = true;
	if (finding->valid)
		(void)snprintf(finding->message, sizeof(finding->message), "the server gives %zu models",
			       wl_json_count(finding->models));
}

static void ask(const struct wl_json *config, const struct provider *provider, const char *key, struct finding *finding)
{
	char url[URL_ROOM], value[HEADER_ROOM];
	const char *base = wl_json_get_string(config, "base_url", provider->address);
	int length = (int)strlen(base);
	while (length > 0 && base[length - 1] == '/')
		length--;
	(void)snprintf(url, sizeof(url), "%.*s%s", length, base, provider->path);
	(void)snprintf(value, sizeof(value), "%s%s", provider->key_use == KEY_BEARER ? "Bearer " : "", key ? key : "");
	const struct wl_http_header headers[] = {
		{ "accept", "application/json" },
		{ provider->key_use == KEY_ANTHROPIC ? "x-api-key" : "authorization", value },
		{ "anthropic-version", "2023-06-01" },
	};
	double timeout_ms = fmin(TRIAL_MS, wl_json_get_number(config, "timeout_s", 60) * 1000);
	const struct wl_http_request request = {
		.method = "GET",
		.url = url,
		.headers = headers,
		.header_count = !key				     ? 1
				: provider->key_use == KEY_ANTHROPIC ? 3
								     : 2,
		.timeout_ms = (uint32_t)timeout_ms,
		.connect_ms = (uint32_t)timeout_ms,
		.cancel_fd = -1,
		.allow_private = wl_json_get_bool(config, "allow_private", false),
	};
	_wl_http_response_ struct wl_http_response response = { 0 };
	struct wl_error err = { 0 };
	if (web_trial_send(&request, &response, &err) < 0)
		(void)snprintf(finding->message, sizeof(finding->message), "%s", err.text);
	else
		judge(provider, &response, key, finding);
	explicit_bzero(value, sizeof(value));
}

static int try_provider(struct web_trial *trial, struct wl_buffer *answer, struct wl_error *err)
{
	const struct wl_json *body = web_trial_body(trial);
	const struct provider *provider = provider_of(body);
	_wl_json_ struct wl_json *credentials = NULL, *models = wl_json_array();
	struct finding finding = { .latency_ms = -1, .models = models };
	if (!models)
		return wl_fail(err, ENOMEM, "no memory");
	int rc = web_trial_credentials(trial, &credentials, err);
	const char *key = wl_json_get_string(credentials, "api_key", NULL);
	if (rc < 0) {
		(void)snprintf(finding.message, sizeof(finding.message),
			       "the stored key cannot be opened: give it again");
	} else if (!provider->path) {
		finding.valid = true;
		finding.latency_ms = 0;
		(void)snprintf(finding.message, sizeof(finding.message),
			       "the demo provider is built in and needs no key");
		if (wl_json_append(models, wl_json_new_string(DEMO_MODEL)) < 0)
			return wl_fail(err, ENOMEM, "no memory");
	} else if (!key && provider->needs_key) {
		(void)snprintf(finding.message, sizeof(finding.message), "no api_key is stored");
	} else {
		ask(wl_json_get(body, "config"), provider, key, &finding);
	}
	write_finding(&finding, answer);
	return 0;
}

void web_llm_providers_validate(struct web_request *request)
{
	web_trial_start(request, "llm_provider", try_provider);
}
