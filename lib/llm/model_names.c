#include "lib/llm/model_names.h"

#include "lib/base/cleanup.h"
#include "lib/base/clock.h"
#include "lib/codec/json.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define LISTED_MS 60000	   /* a provider's list of models is believed for so long */
#define ASK_MS 3000	   /* a provider is waited for when it is asked for its models */
#define PROVIDERS_ASKED 20 /* of one tenant for one list */
#define WAIT_MS 15000	   /* PostgreSQL is waited for */
#define AGAIN_MS 100
#define REMEMBERED 256

struct memory {
	int tenant;
	char key[WL_UUID_TEXT]; /* a provider's id */
	uint64_t until_ms;
	char *text;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct memory memories[REMEMBERED];

static struct memory *memory_of(int tenant, const char *key)
{
	unsigned hash = (unsigned)tenant * 2654435761u;
	for (const char *c = key; *c; c++)
		hash = hash * 31 + (unsigned char)*c;
	return &memories[hash % REMEMBERED];
}

static char *remembered(int tenant, const char *key)
{
	char *text = NULL;
	(void)pthread_mutex_lock(&lock);
	const struct memory *memory = memory_of(tenant, key);
	if (memory->text && memory->tenant == tenant && strcmp(memory->key, key) == 0 &&
	    memory->until_ms > wl_clock_boot_ms())
		text = strdup(memory->text);
	(void)pthread_mutex_unlock(&lock);
	return text;
}

static void remember(int tenant, const char *key, const char *text)
{
	char *copy = strdup(text);
	if (!copy)
		return;
	(void)pthread_mutex_lock(&lock);
	struct memory *memory = memory_of(tenant, key);
	free(memory->text);
	*memory = (struct memory){ .tenant = tenant, .until_ms = wl_clock_boot_ms() + LISTED_MS, .text = copy };
	(void)snprintf(memory->key, sizeof(memory->key), "%s", key);
	(void)pthread_mutex_unlock(&lock);
}

/* ---- providers
 * -------------------------------------------------------------------------------------------------------
 */

static bool may_pass(int result)
{
	return result == -ECONNREFUSED || result == -EPIPE || result == -ETIMEDOUT || result == -EAGAIN;
}

static int read_providers(const struct wl_model_source *source, int tenant, int cancel_fd, struct wl_json **ret_list,
			  struct wl_error *err)
{
	uint64_t give_up_ms = wl_clock_boot_ms() + WAIT_MS;
	struct pollfd cancelled = { .fd = cancel_fd, .events = POLLIN };
	_wl_free_ char *text = NULL;
	int result = source->list(source->self, tenant, &text, err);
	while (may_pass(result) && wl_clock_boot_ms() < give_up_ms) {
		if (poll(&cancelled, 1, AGAIN_MS) > 0)
			return wl_fail(err, ECANCELED, "stopped before the model was asked");
		result = source->list(source->self, tenant, &text, err);
	}
	return result < 0 ? result : wl_json_parse(text, strlen(text), ret_list, err);
}

/* The models of a provider as a JSON array; NULL when it does not tell. A key that is wrong counts as that. */
static struct wl_json *models_of(const struct wl_metered *models, int tenant, const char *provider_id, int cancel_fd)
{
	const char *key = provider_id ? provider_id : "demo";
	_wl_free_ char *text = remembered(tenant, key);
	struct wl_provider_chain *chain = NULL;
	struct wl_json *list = NULL;
	struct wl_error ignored;
	if (!text && wl_provider_chain_open(models, tenant, provider_id, cancel_fd, &chain, &ignored) == 0) {
		size_t count;
		enum wl_model_fault fault;
		const struct wl_llm_provider *items = wl_provider_chain_items(chain, &count);
		if (wl_llm_models(models->llm, items, ASK_MS, &text, &fault, &ignored) == 0)
			remember(tenant, key, text);
	}
	wl_provider_chain_free(chain);
	if (text && wl_json_parse(text, strlen(text), &list, NULL) < 0)
		list = NULL;
	return list;
}

/* ---- names
 * -----------------------------------------------------------------------------------------------------------
 */

static void take(const struct wl_json *provider, const char *model, struct wl_model_target *target)
{
	(void)snprintf(target->provider_id, sizeof(target->provider_id), "%s", wl_json_get_string(provider, "id", ""));
	target->model = model;
}

/* The provider whose name and a slash the text begins with, the longest name when there are several. */
static bool by_name(const struct wl_json *providers, const char *name, struct wl_model_target *target)
{
	size_t longest = 0;
	for (const struct wl_json *one = wl_json_first(providers); one; one = wl_json_next(one)) {
		const char *words[] = { wl_json_get_string(one, "name", ""), wl_json_get_string(one, "id", "") };
		for (size_t i = 0; i < WL_COUNT_OF(words); i++) {
			size_t length = strlen(words[i]);
			if (length <= longest || strncasecmp(name, words[i], length) != 0 || name[length] != '/' ||
			    !name[length + 1])
				continue;
			longest = length;
			take(one, name + length + 1, target);
		}
	}
	return longest > 0;
}

static bool by_default_model(const struct wl_json *providers, const char *name, struct wl_model_target *target)
{
	for (const struct wl_json *one = wl_json_first(providers); one; one = wl_json_next(one)) {
		if (strcmp(wl_json_get_string(one, "default_model", ""), name) != 0)
			continue;
		take(one, name, target);
		return true;
	}
	return false;
}

static bool holds(const struct wl_json *list, const char *name)
{
	for (const struct wl_json *one = wl_json_first(list); one; one = wl_json_next(one))
		if (strcmp(wl_json_string(one, ""), name) == 0)
			return true;
	return false;
}

/* Ask the providers which models they have; the first one is meant when none says that it has this one. */
static void by_lists(const struct wl_metered *models, int tenant, const struct wl_json *providers, const char *name,
		     int cancel_fd, struct wl_model_target *target)
{
	const struct wl_json *one = wl_json_first(providers);
	size_t asked = wl_json_count(providers) > 1 ? PROVIDERS_ASKED : 0;
	take(one, name, target);
	for (; one && asked; one = wl_json_next(one), asked--) {
		_wl_json_ struct wl_json *list =
			models_of(models, tenant, wl_json_get_string(one, "id", ""), cancel_fd);
		if (!holds(list, name))
			continue;
		take(one, name, target);
		return;
	}
}

int wl_model_name_resolve(const struct wl_metered *models, int tenant, const char *name, int cancel_fd,
			  struct wl_model_target *ret_target, struct wl_error *err)
{
	_wl_json_ struct wl_json *providers = NULL;
	int result = read_providers(models->source, tenant, cancel_fd, &providers, err);
	if (result < 0)
		return result;
	if (!by_name(providers, name, ret_target) && !by_default_model(providers, name, ret_target))
		by_lists(models, tenant, providers, name, cancel_fd, ret_target);
	ret_target->stamp = (uint64_t)wl_json_get_number(wl_json_first(providers), "stamp", 0);
	return 0;
}

/* ---- the list
 * --------------------------------------------------------------------------------------------------------
 */

/* "provider/model" as a JSON string. Allocated. */
static char *full_name(const struct wl_json *provider, const char *model)
{
	char *name = NULL;
	if (asprintf(&name, "%s/%s", wl_json_get_string(provider, "name", "Demo"), model) < 0)
		return NULL;
	_wl_json_ struct wl_json *json = wl_json_new_string(name);
	free(name);
	return json ? wl_json_print(json) : NULL;
}

static void put_model(struct wl_buffer *out, const struct wl_json *provider, const char *model, char **first,
		      char **last)
{
	char *name = full_name(provider, model);
	if (!name) {
		out->failed = ENOMEM;
		return;
	}
	wl_buffer_appendf(out,
			  "%s{\"id\":%s,\"object\":\"model\",\"type\":\"model\",\"display_name\":%s,\"created\":0,"
			  "\"created_at\":\"1970-01-01T00:00:00Z\",\"owned_by\":\"%s\"}",
			  *last ? "," : "", name, name, wl_json_get_string(provider, "provider_type", "demo"));
	if (*last && *last != *first)
		free(*last);
	*last = name;
	if (!*first)
		*first = name;
}

static void put_provider(const struct wl_metered *models, int tenant, const struct wl_json *provider, int cancel_fd,
			 struct wl_buffer *out, char **first, char **last)
{
	const char *id = wl_json_get_string(provider, "id", NULL);
	const char *standard = wl_json_get_string(provider, "default_model", NULL);
	_wl_json_ struct wl_json *list = models_of(models, tenant, id, cancel_fd);
	if (standard && !holds(list, standard))
		put_model(out, provider, standard, first, last);
	for (const struct wl_json *one = wl_json_first(list); one; one = wl_json_next(one))
		put_model(out, provider, wl_json_string(one, ""), first, last);
}

int wl_model_names_list(const struct wl_metered *models, int tenant, int cancel_fd, struct wl_buffer *out,
			struct wl_error *err)
{
	_wl_json_ struct wl_json *providers = NULL;
	char *first = NULL, *last = NULL;
	if (models->source->forget) /* no reservation would tell that it has changed */
		models->source->forget(models->source->self, tenant);
	int result = read_providers(models->source, tenant, cancel_fd, &providers, err);
	if (result < 0)
		return result;
	const struct wl_json *one = wl_json_first(providers);
	wl_buffer_append_text(out, "{\"object\":\"list\",\"data\":[");
	for (size_t i = 0; one && i < PROVIDERS_ASKED; one = wl_json_next(one), i++)
		put_provider(models, tenant, one, cancel_fd, out, &first, &last);
	wl_buffer_appendf(out, "],\"has_more\":false,\"first_id\":%s,\"last_id\":%s}", first ? first : "null",
			  last ? last : "null");
	if (last != first)
		free(last);
	free(first);
	return 0;
}
