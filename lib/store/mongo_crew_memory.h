/* What crews remember, in the document server. See lib/ports/crew_memory.h. */
#ifndef WL_STORE_MONGO_CREW_MEMORY_H
#define WL_STORE_MONGO_CREW_MEMORY_H

#include "lib/base/buffer.h"
#include "lib/ports/crew_memory.h"

/* 0; else as wl_mongo_open(). */
int wl_mongo_crew_memory_open(const char *url, struct wl_crew_memory *ret_memory, struct wl_error *err);

/*
 * A page of what an owner remembers, newest first, for people: a JSON array of {"id","text","created_at","bytes"},
 * appended to `json`, and how many there are in all. `memory` is one of wl_mongo_crew_memory_open(). 0 or -errno.
 */
int wl_mongo_crew_memory_page(const struct wl_crew_memory *memory, int tenant, const char *owner, int64_t skip,
			      int limit, struct wl_buffer *json, int64_t *ret_total, struct wl_error *err);

/*
 * Forget the memory of that id, or all of the owner's when `id` is NULL. *ret_bytes: what they counted for in the
 * tenant's storage, also when it fails in between. How many there were, or -errno.
 */
int wl_mongo_crew_memory_forget(const struct wl_crew_memory *memory, int tenant, const char *owner, const char *id,
				int64_t *ret_bytes, struct wl_error *err);

#endif
