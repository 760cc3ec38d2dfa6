/*
 * Making and removing sandboxes off the event loop: a few threads that wait for crun, and one that cleans up.
 * The loop alone owns all other state; orders go in, finished sandboxes come out, an eventfd tells.
 */
#ifndef WL_SANDBOX_MAKER_H
#define WL_SANDBOX_MAKER_H

#include "supervisor/sandbox/cgroup.h"
#include "supervisor/sandbox/crun.h"
#include "supervisor/sandbox/private_mounts.h"
#include "supervisor/sandbox/profile.h"

struct maker_order {
	uint32_t tenant;
	const struct sandbox_profile *profile; /* outlives the maker */
	bool urgent;			       /* someone waits for it */
};

struct maker_product {
	struct maker_product *next;
	struct maker_order order;
	char name[SANDBOX_NAME_SIZE];
	struct crun_child child;
	struct wl_error err; /* code 0: the sandbox is parked */
};

struct maker;

/*
 * Start `threads` threads. `crun`, `cgroups` and `scratch` are borrowed and outlive the maker. Returns 0; the
 * descriptor of maker_fd() becomes readable when there is a product.
 */
int maker_open(const struct crun *crun, const struct cgroup_host *cgroups, const struct scratch *scratch, int threads,
	       struct maker **ret_maker, struct wl_error *err);
int maker_fd(const struct maker *maker);

/* Order a sandbox; 0 or -ENOMEM. Urgent ones are made first. */
int maker_order(struct maker *maker, const struct maker_order *order);

/* The next product, which the caller frees, or NULL. */
struct maker_product *maker_take(struct maker *maker);

/* True when nothing is being made and all products were taken. */
bool maker_is_idle(struct maker *maker);

/* Remove cgroups and crun's state of a sandbox whose init has been waited for. */
void maker_remove(struct maker *maker, const char *name);

/* Finish all removals, end the threads and free the maker. Orders not begun are dropped, products not taken killed. */
void maker_close(struct maker *maker);

#endif
