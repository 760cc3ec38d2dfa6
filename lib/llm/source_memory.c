#include "lib/llm/source_memory.h"

#include "lib/base/cleanup.h"
#include "lib/base/clock.h"
#include "lib/base/ids.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PLACES 512	      /* texts; one that falls on another's place takes it */
#define TEXT_MOST (64u << 10) /* bytes; longer ones are asked for each time */
#define BELIEVED_MS 60000     /* though nothing changed: a ledger may come back from a backup */
#define OF_ALL "all"	      /* in place of a provider's id: the list of all */

struct place {
	int tenant;
	char key[WL_UUID_TEXT];
	uint64_t until_ms;
	char *text;
};

struct memory {
	const struct wl_model_source *inner;
	pthread_mutex_t lock;
	struct place places[PLACES]; /* under the lock */
	uint64_t forgotten;	     /* how often; what was asked for before is not remembered after */
};

static struct place *place_of(struct memory *memory, int tenant, const char *key)
{
	unsigned hash = (unsigned)tenant * 2654435761u;
	for (const char *c = key; *c; c++)
		hash = hash * 31 + (unsigned char)*c;
	return &memory->places[hash % PLACES];
}

/* A copy of what is remembered, or NULL; *ret_forgotten is for remember(). */
static char *remembered(struct memory *memory, int tenant, const char *key, uint64_t *ret_forgotten)
{
	char *text = NULL;
	(void)pthread_mutex_lock(&memory->lock);
	const struct place *place = place_of(memory, tenant, key);
	if (place->text && place->tenant == tenant && strcmp(place->key, key) == 0 &&
	    place->until_ms > wl_clock_boot_ms())
		text = strdup(place->text);
	*ret_forgotten = memory->forgotten;
	(void)pthread_mutex_unlock(&memory->lock);
	return text;
}

static void remember(struct memory *memory, int tenant, const char *key, const char *text, uint64_t forgotten)
{
	size_t length = strlen(text);
	char *copy = length <= TEXT_MOST && strstr(text, "\"stamp\"") ? strdup(text) : NULL;
	if (!copy)
		return;
	(void)pthread_mutex_lock(&memory->lock);
	if (memory->forgotten == forgotten) {
		struct place *place = place_of(memory, tenant, key);
		free(place->text);
		*place = (struct place){ .tenant = tenant, .until_ms = wl_clock_boot_ms() + BELIEVED_MS, .text = copy };
		(void)snprintf(place->key, sizeof(place->key), "%s", key);
		copy = NULL;
	}
	(void)pthread_mutex_unlock(&memory->lock);
	free(copy);
}

static int providers(void *self, int tenant, const char *provider_id, char **ret_json, struct wl_error *err)
{
	struct memory *memory = self;
	const char *key = provider_id ? provider_id : "";
	uint64_t forgotten;
	if (strlen(key) >= WL_UUID_TEXT)
		return memory->inner->providers(memory->inner->self, tenant, provider_id, ret_json, err);
	char *text = remembered(memory, tenant, key, &forgotten);
	if (text) {
		*ret_json = text;
		return 0;
	}
	int result = memory->inner->providers(memory->inner->self, tenant, provider_id, ret_json, err);
	if (result == 0)
		remember(memory, tenant, key, *ret_json, forgotten);
	return result;
}

static int list(void *self, int tenant, char **ret_json, struct wl_error *err)
{
	struct memory *memory = self;
	uint64_t forgotten;
	char *text = remembered(memory, tenant, OF_ALL, &forgotten);
	if (text) {
		*ret_json = text;
		return 0;
	}
	int result = memory->inner->list(memory->inner->self, tenant, ret_json, err);
	if (result == 0)
		remember(memory, tenant, OF_ALL, *ret_json, forgotten);
	return result;
}

static int crew(void *self, int tenant, const char *kind, const char *id, char **ret_json, struct wl_error *err)
{
	struct memory *memory = self;
	return memory->inner->crew(memory->inner->self, tenant, kind, id, ret_json, err);
}

static void forget(void *self, int tenant)
{
	struct memory *memory = self;
	(void)pthread_mutex_lock(&memory->lock);
	memory->forgotten++;
	for (size_t i = 0; i < PLACES; i++) {
		struct place *place = &memory->places[i];
		if (!place->text || place->tenant != tenant)
			continue;
		free(place->text);
		*place = (struct place){ 0 };
	}
	(void)pthread_mutex_unlock(&memory->lock);
}

static void close_memory(void *self)
{
	struct memory *memory = self;
	for (size_t i = 0; i < PLACES; i++)
		free(memory->places[i].text);
	(void)pthread_mutex_destroy(&memory->lock);
	free(memory);
}

int wl_source_memory_open(const struct wl_model_source *inner, struct wl_model_source *ret_source, struct wl_error *err)
{
	struct memory *memory = calloc(1, sizeof(*memory));
	if (!memory)
		return wl_fail(err, ENOMEM, "no memory to remember providers");
	memory->inner = inner;
	(void)pthread_mutex_init(&memory->lock, NULL);
	*ret_source = (struct wl_model_source){ .self = memory,
						.providers = providers,
						.list = list,
						.crew = crew,
						.forget = forget,
						.close = close_memory };
	return 0;
}
