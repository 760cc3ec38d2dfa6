/* Taking results of another execution over, as options.reuse of a run asks for. */
#ifndef WL_SUPERVISOR_REUSE_H
#define WL_SUPERVISOR_REUSE_H

#include "lib/ports/node_results.h"
#include "supervisor/run.h"

/*
 * Store as this run's own what the other execution's nodes gave, and put it to what is restored: of the nodes that
 * succeeded or were skipped there, unless they are to run again or lie behind one that runs. Doing it again after a
 * part of it was done changes nothing. 0; -ENOENT when the tenant has no results of such an execution; else as the
 * store.
 */
int reuse_results(struct wl_node_results *store, struct run *run, struct wl_error *err);

#endif
