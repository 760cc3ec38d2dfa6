/*
 * The artifact port: keeps the files that a node left, bytes and rows, before the node's own result is stored. Calls
 * block; thread-safe. The real one is supervisor/artifacts.c.
 */
#ifndef WL_PORTS_ARTIFACTS_H
#define WL_PORTS_ARTIFACTS_H

#include "lib/base/error.h"
#include "lib/base/ids.h"
#include "lib/ports/sandbox.h"

/* The files of one attempt of one node. Texts belong to the caller. */
struct artifact_batch {
	int tenant;
	const char *eid;
	int epoch;
	const char *node; /* its path in the execution */
	int fd;		  /* holds the contents; -1 when all files are empty */
	const struct sandbox_out_file *files;
	size_t count;
};

struct artifact_port {
	void *self;
	struct sandbox_out_limits limits;
	/* A descriptor for the contents of one batch, gone when it is closed; the caller's. Or -errno. */
	int (*place)(void *self, struct wl_error *err);
	/*
	 * Keep the files in place of what an earlier attempt of the node left; none at all drops those. *ret_json is
	 * allocated: an array of {"id","name","size","content_type"}. 0; -EDQUOT when the tenant's storage does not
	 * suffice (the sentence tells how much); -ESTALE when the attempt is no longer the one that counts; others pass
	 * and may be tried again. After a failure nothing of the batch is kept.
	 */
	int (*keep)(void *self, const struct artifact_batch *batch, char **ret_json, struct wl_error *err);
	void (*close)(void *self);
};

#endif
