/* What nodes that run programs in sandboxes have in common with the kind code. */
#ifndef WL_SUPERVISOR_NODES_CODE_H
#define WL_SUPERVISOR_NODES_CODE_H

#include "supervisor/nodes/node.h"

/* The program and arguments of a language, and the file below /work that its source has to be in. */
const char *const *node_runtime(enum node_language language, const char **ret_file);

/* How often and how long a place for a sandbox is looked for. */
struct node_sandbox_tries {
	uint64_t give_up_ms;
	int lost;
};

/* To be called before the first run. */
struct node_sandbox_tries node_sandbox_begin(void);

/*
 * Is a run to be made again that failed with `result`, because not the program but its place failed: the warden was
 * away or had no room, or a sandbox was lost with its warden? It has waited a little then.
 */
bool node_sandbox_again(const struct node_call *call, struct node_sandbox_tries *tries, int result);

/*
 * Keep files as artifacts of the node, waiting for the servers when they are away: what was done is not to be lost for
 * that. As artifact_port.keep(), or -ECANCELED; and the failure of a node for what it gave.
 */
int node_keep_files(struct node_world *world, const struct node_call *call, int fd,
		    const struct sandbox_out_file *files, size_t count, char **ret_json, struct wl_error *err);
void node_files_failed(struct node_outcome *outcome, const struct node_call *call, int result,
		       const struct wl_error *err);

/* A receipt of a run, with the files that were kept of it (NULL: none); allocated, NULL without memory. */
char *node_sandbox_receipt(const struct sandbox_result *ended, const char *artifacts_json);
/* Fail for what a program did; the detail has its exit code and the last lines of standard error. */
void node_sandbox_failed(struct node_outcome *outcome, const struct node_call *call, const struct sandbox_result *ended,
			 const char *code, const char *message);
/* Fail because no sandbox ran it: `result` is what sandbox_run() gave. */
void node_sandbox_refused(struct node_outcome *outcome, const struct node_call *call, int result,
			  const struct wl_error *err);

#endif
