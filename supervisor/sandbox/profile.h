/* Sandbox profiles: what policies/sandbox/NAME.json says, read once at start. */
#ifndef WL_SANDBOX_PROFILE_H
#define WL_SANDBOX_PROFILE_H

#include "lib/base/error.h"
#include "supervisor/sandbox/warden_protocol.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PROFILE_LIST_MAX 48
#define PROFILE_COUNT_MAX 32
#define PROFILE_PATH_MAX 128
#define PROFILE_LISTEN_MAX 8

struct profile_paths {
	size_t count;
	char paths[PROFILE_LIST_MAX][PROFILE_PATH_MAX];
};

struct profile_tmpfs {
	char path[PROFILE_PATH_MAX];
	uint32_t size_kb;
	bool exec;
	bool writable;
};

/* What a profile adds to the host's view, environment.h. */
struct profile_environment {
	char name[WARDEN_PROFILE_SIZE]; /* of a folder below the setting environments_dir; empty: none */
	char path[PROFILE_PATH_MAX];	/* where it is shown, read-only */
	char made_by[64];		/* the command that makes it, for people */
	char folder[512];		/* its real path on this host; empty: it is not installed */
	char variables[4096];		/* `,"NAME=value"` for each */
};

struct sandbox_profile {
	char name[WARDEN_PROFILE_SIZE];
	char rootfs[512];	       /* folder in which `binds` lie; empty: the host itself */
	struct profile_paths binds;    /* shown read-only at the same place */
	struct profile_paths masked;   /* hidden below /proc */
	struct profile_paths readonly; /* made read-only below /proc */
	bool proc_pids_only;	       /* /proc shows processes and nothing of the machine */
	size_t tmpfs_count;
	struct profile_tmpfs tmpfs[PROFILE_LIST_MAX];
	struct warden_limits standard;
	struct warden_limits most;
	size_t listen_count;
	uint16_t listen[PROFILE_LISTEN_MAX]; /* ports on which the supervisor may listen inside */
	uint32_t open_files;
	uint32_t file_mb; /* largest file that can be written, MiB */
	uint32_t cpu_shares;
	uint8_t hash[32]; /* sha256 of the profile's file, its seccomp list and what its environment was made from */
	char *seccomp;	  /* the filter program in base64 */
	struct profile_environment environment;
};

struct profile_set {
	size_t count;
	struct sandbox_profile *profiles;
};

/*
 * Read all profiles of `policies_dir`/sandbox and compile their seccomp lists from `policies_dir`/seccomp. Returns 0
 * and a set that profile_set_release frees; fails with a sentence that names file and field.
 */
int profile_set_load(const char *policies_dir, struct profile_set *ret_set, struct wl_error *err);
void profile_set_release(struct profile_set *set);

/* The profile of that name, or NULL. */
const struct sandbox_profile *profile_find(const struct profile_set *set, const char *name);

/*
 * How many ports are asked for (the first 0 ends them); -EINVAL with a sentence when the profile has one of them not,
 * or one is asked for twice.
 */
int profile_listen(const struct sandbox_profile *profile, const uint16_t ports[WARDEN_LISTEN_MAX],
		   struct wl_error *err);

/*
 * Fill in the profile's defaults for limits that are 0 and check the others against its maxima. -EINVAL with a
 * sentence that names the limit.
 */
int profile_limits(const struct sandbox_profile *profile, const struct warden_limits *asked,
		   struct warden_limits *ret_limits, struct wl_error *err);

#endif
