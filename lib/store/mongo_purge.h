/* Take what a tenant has on the document server away. */
#ifndef WL_STORE_MONGO_PURGE_H
#define WL_STORE_MONGO_PURGE_H

#include "lib/base/error.h"

/*
 * Delete the tenant's documents in every collection: whoever writes a document puts its tenant into the member "t".
 * Connects for itself; doing it twice changes nothing. 0, -ECONNREFUSED when the server is away, -EIO.
 */
int wl_mongo_purge_tenant(const char *url, int tenant, struct wl_error *err);

#endif
