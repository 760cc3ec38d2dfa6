/* What crews remember, in the document server. See lib/ports/crew_memory.h. */
#ifndef WL_STORE_MONGO_CREW_MEMORY_H
#define WL_STORE_MONGO_CREW_MEMORY_H

#include "lib/ports/crew_memory.h"

/* 0; else as wl_mongo_open(). */
int wl_mongo_crew_memory_open(const char *url, struct wl_crew_memory *ret_memory, struct wl_error *err);

#endif
