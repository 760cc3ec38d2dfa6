/*
 * The model source port: what a supervisor or the gateway has to know of providers, agents and crews. Asked anew for
 * each run of an agent or crew and for each call of a provider, so that a key that was taken away counts from the next
 * call on. Calls block; thread-safe. The real one is lib/store/postgres_models.c.
 *
 * Rows of providers may bear a "stamp", the number of their tenant's last change of a provider. Rows with one may be
 * remembered (lib/llm/source_memory.h): a reservation that names it fails when there was a change since.
 */
#ifndef WL_PORTS_MODEL_SOURCE_H
#define WL_PORTS_MODEL_SOURCE_H

#include "lib/base/error.h"

struct wl_model_source {
	void *self;
	/*
	 * The provider and those that it fails over to, in order, as a JSON array of
	 * {"id","name","version","provider_type", "config","credentials" (sealed text or null),"sealed_key" (or null)};
	 * only active ones. provider_id NULL: the tenant's oldest active one that is no demo, else its oldest, or a
	 * demo provider when it has none.
	 * *ret_json is allocated. 0; -ENOENT: none; -EAGAIN, -ECONNREFUSED, -EPIPE, -ETIMEDOUT: it may pass; -EIO
	 * anything else.
	 */
	int (*providers)(void *self, int tenant, const char *provider_id, char **ret_json, struct wl_error *err);
	/*
	 * The tenant's active providers in the order in which they stand in for one that nobody named: a JSON array of
	 * {"id","name","provider_type","default_model" (or null)}; the demo that nobody made, with the id null, when
	 * there is none. As above.
	 */
	int (*list)(void *self, int tenant, char **ret_json, struct wl_error *err);
	/* {"crew", "agents"} as wl_crew_make() takes it, of a crew or (`kind` "agent") of one agent. As above. */
	int (*crew)(void *self, int tenant, const char *kind, const char *id, char **ret_json, struct wl_error *err);
	/* Forget what is remembered of a tenant's providers; NULL: nothing is. */
	void (*forget)(void *self, int tenant);
	void (*close)(void *self);
};

#endif
