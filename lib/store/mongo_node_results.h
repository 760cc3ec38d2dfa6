/* Node results over the MongoDB protocol: fills the port lib/ports/node_results.h with libmongoc. Thread-safe. */
#ifndef WL_STORE_MONGO_NODE_RESULTS_H
#define WL_STORE_MONGO_NODE_RESULTS_H

#include "lib/ports/node_results.h"

/*
 * Connect to `url` (mongodb://..., with the database as its path, default windlass) and see that it answers.
 * 0 and *ret_store, which the caller ends with ret_store->close(ret_store->self); -EINVAL for a URL of no use;
 * -ECONNREFUSED when the server is away.
 */
int mongo_node_results_open(const char *url, struct wl_node_results *ret_store, struct wl_error *err);

#endif
