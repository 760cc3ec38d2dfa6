/*
 * Control groups of the sandboxes: version 1 hierarchies (also in hybrid mode) and pure version 2.
 *
 * Each warden keeps its sandboxes in <hierarchy>/windlass/<instance>/<name>; the instance names its process, so that
 * several wardens share a host and a later one can tell which leftovers belong to nobody.
 */
#ifndef WL_SANDBOX_CGROUP_H
#define WL_SANDBOX_CGROUP_H

#include "lib/base/error.h"
#include "supervisor/sandbox/warden_protocol.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define CGROUP_ROOT "/sys/fs/cgroup"
#define CGROUP_PATH_MAX 384
#define CGROUP_HIERARCHIES_MAX 16
#define CGROUP_INSTANCE_SIZE 64

enum cgroup_version { CGROUP_V1 = 1, CGROUP_V2 = 2 };

struct cgroup_host {
	enum cgroup_version version;
	char root[128];
	char instance[CGROUP_INSTANCE_SIZE];
	char hierarchies[CGROUP_HIERARCHIES_MAX][32]; /* folders below root; one empty name on version 2 */
	size_t hierarchy_count;
	bool limits_swap; /* false only on a host without swap, where there is nothing to limit */
};

struct cgroup_usage {
	uint64_t cpu_us;
	uint64_t memory_peak; /* bytes; 0: not known */
	uint64_t oom_kills;
	uint32_t pids_peak; /* 0: not known */
};

/*
 * Find out what `root` (CGROUP_ROOT, or a tree made by a test) offers. Fails with -ENOTSUP and a sentence that names
 * the controller that is missing. `swap_total` is the host's swap in KiB.
 */
int cgroup_detect(const char *root, uint64_t swap_total, struct cgroup_host *ret_host, struct wl_error *err);

/* Name of the calling process as an instance: pid, start time and pid namespace. */
int cgroup_instance_name(char name[CGROUP_INSTANCE_SIZE], struct wl_error *err);

/* Make the folder of this instance in each hierarchy; on version 2 hand the controllers down. */
int cgroup_open(struct cgroup_host *host, const char *instance, struct wl_error *err);

/* Remove the folder of this instance; all its sandboxes must be gone. */
void cgroup_close(const struct cgroup_host *host);

/* Kill and remove what dead wardens of this pid namespace left. Returns how many instances were removed. */
int cgroup_remove_leftovers(const struct cgroup_host *host);

/*
 * Set the limits of sandbox `name`, which stood at `current` before. Writes only what differs. Fails with -EPERM and a
 * sentence when the kernel does not take one; the sandbox must then not be used.
 */
int cgroup_apply(const struct cgroup_host *host, const char *name, const struct warden_limits *current,
		 const struct warden_limits *wanted, struct wl_error *err);

/* Let the peak of memory start anew, where the kernel can. */
void cgroup_reset_peak(const struct cgroup_host *host, const char *name);

/* Read what sandbox `name` used so far. Counters that cannot be read stay 0. */
void cgroup_read_usage(const struct cgroup_host *host, const char *name, struct cgroup_usage *ret_usage);

/* Remove the folders of sandbox `name`; processes that are still in them are killed first. */
void cgroup_remove(const struct cgroup_host *host, const char *name);

#endif
