/* The OCI runtime crun, run as a child process to make one sandbox. */
#ifndef WL_SANDBOX_CRUN_H
#define WL_SANDBOX_CRUN_H

#include "lib/base/buffer.h"
#include "lib/base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#define SANDBOX_NAME_SIZE 24

struct crun {
	int program;	  /* sealed memory file with the crun binary */
	char scratch[64]; /* folder with crun/ (its state) and bundle/ */
};

/* A parked sandbox: its init is a child of this process (PR_SET_CHILD_SUBREAPER) and must be waited for. */
struct crun_child {
	pid_t pid;
	int pidfd;
	int control; /* write end, read by init */
	int in;	     /* write end */
	int out;     /* read end */
	int err;     /* read end */
	int status;  /* read end of init's report, not blocking */
	int files;   /* read end of what init sends of /work/out */
};

#define CRUN_CHILD_NONE                                                                                                \
	(struct crun_child)                                                                                            \
	{                                                                                                              \
		.pid = -1, .pidfd = -1, .control = -1, .in = -1, .out = -1, .err = -1, .status = -1, .files = -1       \
	}

/* Find crun and make it ready; -ENOENT with a sentence when the host has none. */
int crun_open(const char *scratch, struct crun *ret_crun, struct wl_error *err);
void crun_close(struct crun *crun);

/*
 * Make sandbox `name` from `config` (config.json text) and leave its init parked. Unless it is urgent, crun runs with
 * less weight, so that replacing a sandbox does not slow down the one that was just handed out. Blocks for some 10 ms
 * and may be called from several threads. On failure nothing of it is left but its cgroups; the sentence holds what
 * crun said.
 */
int crun_park(const struct crun *crun, const char *name, const struct wl_buffer *config, bool urgent,
	      struct crun_child *ret_child, struct wl_error *err);

/* Forget the state of a sandbox whose processes are gone (what `crun delete` would do, without a process). */
void crun_forget(const struct crun *crun, const char *name);

/* Close all descriptors of a child, pidfd included. The process is neither killed nor waited for. */
void crun_child_close(struct crun_child *child);

#endif
