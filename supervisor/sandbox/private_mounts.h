/* The warden's own view of the file system: a private mount namespace with a scratch tmpfs for all it writes. */
#ifndef WL_SANDBOX_PRIVATE_MOUNTS_H
#define WL_SANDBOX_PRIVATE_MOUNTS_H

#include "lib/base/error.h"
#include "supervisor/sandbox/profile.h"

#include <stdbool.h>

#define SCRATCH_PATH_MAX 64
#define INIT_INSIDE "/windlass-init"

struct scratch {
	char root[SCRATCH_PATH_MAX]; /* the tmpfs; all users may walk through it, as mapped uids have to */
	bool has_runtime;	     /* a runtime folder is shown at root/runtime and its node can be run */
};

/*
 * Leave the host's mount and network namespaces and mount the scratch tmpfs over a folder that none of `keep` (a
 * NULL-terminated list of paths in use) lies in. On a hybrid host the cgroup v2 tree is taken out of sight, because
 * crun would else try to use both. Nothing of this is seen on the host or outlives the process.
 */
int private_mounts_enter(const char *const *keep, struct scratch *ret_scratch, struct wl_error *err);

/* Show `runtime_dir` read-only at scratch/runtime; sets has_runtime when bin/node in it may be run by anyone. */
int private_mounts_runtime(struct scratch *scratch, const char *runtime_dir, struct wl_error *err);

/* Show the environment of an installed profile read-only at scratch/environments/<profile>; without one, nothing. */
int private_mounts_environment(const struct scratch *scratch, const struct sandbox_profile *profile,
			       struct wl_error *err);

/* Make scratch/rootfs/<profile>: the mount points, links and the few files of a host view, and a copy of init. */
int private_mounts_rootfs(const struct scratch *scratch, const struct sandbox_profile *profile, int init_fd,
			  struct wl_error *err);

#endif
