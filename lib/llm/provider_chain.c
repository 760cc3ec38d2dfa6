#include "lib/base/cleanup.h"
#include "lib/base/clock.h"
#include "lib/codec/json.h"
#include "lib/llm/metered_call.h"
#include "lib/secrets/seal.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#define CHAIN_MAX 11	     /* a provider and the ten that it may fail over to */
#define SOURCE_WAIT_MS 15000 /* so long PostgreSQL is waited for */
#define LOOK_MS 100

struct wl_provider_chain {
	struct wl_json *rows; /* what the texts of the items lie in */
	struct wl_llm_provider items[CHAIN_MAX];
	char *keys[CHAIN_MAX];
	size_t key_lengths[CHAIN_MAX];
	size_t count;
	uint64_t stamp;
};

static bool may_pass(int result)
{
	return result == -ECONNREFUSED || result == -EPIPE || result == -ETIMEDOUT || result == -EAGAIN;
}

static int read_rows(const struct wl_model_source *source, int tenant, const char *provider_id, int cancel_fd,
		     char **ret_text, struct wl_error *err)
{
	uint64_t give_up_ms = wl_clock_boot_ms() + SOURCE_WAIT_MS;
	struct pollfd cancelled = { .fd = cancel_fd, .events = POLLIN };
	for (;;) {
		int result = source->providers(source->self, tenant, provider_id, ret_text, err);
		if (!may_pass(result) || wl_clock_boot_ms() > give_up_ms)
			return result;
		if (poll(&cancelled, cancel_fd >= 0 ? 1 : 0, LOOK_MS) > 0)
			return wl_fail(err, ECANCELED, "stopped before the model was asked");
	}
}

static enum wl_llm_type type_of(const char *word)
{
	static const char *const words[] = {
#define X(name, word, url) [WL_LLM_##name] = word,
		WL_LLM_TYPES(X)
#undef X
	};
	size_t i = 0;
	while (i < WL_COUNT_OF(words) - 1 && strcmp(words[i], word) != 0)
		i++;
	return (enum wl_llm_type)i;
}

/* The plain key of a row; *ret_key stays NULL when it has none. */
static int open_key(const struct wl_master_key *keys, const struct wl_json *row, char **ret_key, size_t *ret_length,
		    struct wl_error *err)
{
	_wl_json_ struct wl_json *credentials = NULL;
	const char *sealed = wl_json_get_string(row, "credentials", NULL);
	const char *tenant_key = wl_json_get_string(row, "sealed_key", NULL);
	char context[64];
	char *plain = NULL;
	size_t length = 0;
	if (!sealed)
		return 0;
	if (!keys || !tenant_key)
		return wl_fail(err, EACCES,
			       "there is no master key to open the provider's key with (setting master_key)");
	(void)snprintf(context, sizeof(context), "llm_provider:%s", wl_json_get_string(row, "id", ""));
	if (wl_unseal(keys, tenant_key, context, sealed, &plain, &length, err) < 0)
		return wl_fail(err, EACCES, "the provider's key cannot be opened: give it again");
	int parsed = wl_json_parse(plain, length, &credentials, NULL);
	wl_unsealed_free(plain, length);
	const char *key = parsed == 0 ? wl_json_get_string(credentials, "api_key", NULL) : NULL;
	if (!key)
		return 0;
	*ret_key = strdup(key);
	*ret_length = strlen(key);
	explicit_bzero((char *)key, *ret_length); /* the parsed copy's bytes are ours */
	return *ret_key ? 0 : wl_fail(err, ENOMEM, "no memory for a provider");
}

static int add_provider(const struct wl_metered *world, const struct wl_json *row, struct wl_provider_chain *chain,
			struct wl_error *err)
{
	const struct wl_json *config = wl_json_get(row, "config");
	size_t at = chain->count;
	if (open_key(world->keys, row, &chain->keys[at], &chain->key_lengths[at], err) < 0)
		return -err->code;
	chain->items[at] = (struct wl_llm_provider){
		.id = wl_json_get_string(row, "id", ""),
		.version = (int)wl_json_get_number(row, "version", 0),
		.type = type_of(wl_json_get_string(row, "provider_type", "")),
		.base_url = wl_json_get_string(config, "base_url", NULL),
		.api_key = chain->keys[at],
		.default_model = wl_json_get_string(config, "default_model", NULL),
		.timeout_ms = (uint32_t)(wl_json_get_number(config, "timeout_s", 0) * 1000),
		.max_retries = (int)wl_json_get_number(config, "max_retries", 2),
		.max_rpm = (int)wl_json_get_number(config, "max_rpm", 0),
		.allow_private = wl_json_get_bool(config, "allow_private", false),
	};
	chain->count++;
	return 0;
}

int wl_provider_chain_open(const struct wl_metered *world, int tenant, const char *provider_id, int cancel_fd,
			   struct wl_provider_chain **ret_chain, struct wl_error *err)
{
	_wl_free_ char *text = NULL;
	int result = read_rows(world->source, tenant, provider_id, cancel_fd, &text, err);
	if (result < 0)
		return result;
	struct wl_provider_chain *chain = calloc(1, sizeof(*chain));
	if (!chain)
		return wl_fail(err, ENOMEM, "no memory for a provider");
	result = wl_json_parse(text, strlen(text), &chain->rows, err);
	const struct wl_json *row = wl_json_first(chain->rows);
	chain->stamp = (uint64_t)wl_json_get_number(row, "stamp", 0);
	for (; result == 0 && row && chain->count < CHAIN_MAX; row = wl_json_next(row))
		result = add_provider(world, row, chain, err);
	if (result == 0 && chain->count == 0)
		result = wl_fail(err, ENOENT, "there is no such provider, or it is not active");
	if (result < 0) {
		wl_provider_chain_free(chain);
		return result;
	}
	*ret_chain = chain;
	return 0;
}

const struct wl_llm_provider *wl_provider_chain_items(const struct wl_provider_chain *chain, size_t *ret_count)
{
	*ret_count = chain->count;
	return chain->items;
}

uint64_t wl_provider_chain_stamp(const struct wl_provider_chain *chain)
{
	return chain->stamp;
}

void wl_provider_chain_free(struct wl_provider_chain *chain)
{
	if (!chain)
		return;
	for (size_t i = 0; i < CHAIN_MAX; i++)
		wl_unsealed_free(chain->keys[i], chain->key_lengths[i]);
	wl_json_free(chain->rows);
	free(chain);
}
