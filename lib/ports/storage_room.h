/*
 * Room in a tenant's storage (its quota max_storage_gb) for what runs keep in the document server: their records of
 * exchanges, and what crews remember. Room is taken before something is written and given back when it was not, so that
 * never more lies there than is counted. The real one is lib/store/postgres_storage.c. Calls block; thread-safe.
 */
#ifndef WL_PORTS_STORAGE_ROOM_H
#define WL_PORTS_STORAGE_ROOM_H

#include "lib/base/error.h"

#include <stdint.h>

enum wl_storage_kind {
	WL_STORAGE_RUN,	  /* owner: the execution; given back when it is dropped */
	WL_STORAGE_MEMORY /* owner: the crew or agent */
};

struct wl_storage_room {
	void *self;
	/*
	 * Take `bytes`, or give back as many when they are below 0. 0; -EDQUOT: they do not fit, err has a sentence for
	 * people; -ESTALE: the run has ended, the crew or agent is gone; -EAGAIN, -EIO: it may pass.
	 */
	int (*take)(void *self, int tenant, enum wl_storage_kind kind, const char *owner, int64_t bytes,
		    struct wl_error *err);
	void (*close)(void *self);
};

#endif
