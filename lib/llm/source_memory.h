/*
 * A model source that remembers what another one said of providers, so that a call need not ask for them. What has a
 * "stamp" is remembered (lib/ports/model_source.h): the reservation of a call tells when it no longer holds. Keys stay
 * sealed.
 */
#ifndef WL_LLM_SOURCE_MEMORY_H
#define WL_LLM_SOURCE_MEMORY_H

#include "lib/ports/model_source.h"

/* `inner` stays the caller's and outlives it. 0 or -ENOMEM. Close what was made by its close(). */
int wl_source_memory_open(const struct wl_model_source *inner, struct wl_model_source *ret_source,
			  struct wl_error *err);

#endif
