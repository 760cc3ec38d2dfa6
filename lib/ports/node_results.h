/*
 * The node result port: the truth about what each node gave (MongoDB protocol, collection node_results).
 * One document a node: _id "<execution>/<node>", inserted once; the first commit wins. Calls block; thread-safe.
 */
#ifndef WL_PORTS_NODE_RESULTS_H
#define WL_PORTS_NODE_RESULTS_H

#include "lib/base/error.h"
#include "lib/base/ids.h"
#include "lib/model/states.h"

#include <stdbool.h>
#include <stdint.h>

/* A longer trace is cut by who makes it: a last step of kind "cut" says how many steps are not there. */
#define WL_NODE_TRACE_MAX (256u << 10)

/* All texts are owned by whoever made the struct; wl_node_result_release() frees them. NULL: absent. */
struct wl_node_result {
	int tenant;
	char eid[WL_UUID_TEXT];
	char *node_id;
	int epoch;
	bool committed; /* false: a placeholder that seals the node against older attempts */
	enum wl_node_state state;
	int attempt;		  /* 1 is the first */
	int64_t start_ms, end_ms; /* wall clock */
	char *handle;		  /* the edge handle that was taken, of condition and switch; or "error" */
	char *inputs_json;	  /* what the node was given, after expressions; capped */
	char *outputs_json;	  /* its output */
	char *error_json;	  /* {"code","message",...} */
	char *receipt_json;	  /* of a sandboxed node */
	char *logs_json;	  /* array of {"time","stream","text"}; capped */
	char *trace_json;	  /* of a node that asked models: array of steps, at most WL_NODE_TRACE_MAX bytes */
};

enum wl_commit_outcome {
	WL_COMMIT_STORED,
	WL_COMMIT_KNOWN,  /* somebody committed this node before: adopt that result */
	WL_COMMIT_FENCED, /* a later attempt has sealed it: stop */
	WL_COMMIT_FAILED  /* the server refused this one document */
};

struct wl_node_results {
	void *self;
	/* Commit many at once (one unordered bulk). 0, or -errno when the server is away: none may be assumed stored.
	 */
	int (*commit)(void *self, const struct wl_node_result *results, int count, enum wl_commit_outcome *ret_outcomes,
		      struct wl_error *err);
	/* Everything known of one execution; *ret_results is allocated. How many, or -errno. */
	int (*load)(void *self, int tenant, const char *eid, struct wl_node_result **ret_results, struct wl_error *err);
	/* Before attempt `epoch` > 1 walks: put placeholders for nodes without a result, raise the epoch of older ones.
	 */
	int (*seal)(void *self, int tenant, const char *eid, const char *const *node_ids, int count, int epoch,
		    struct wl_error *err);
	/* Forget everything of an execution, or of a tenant; doing it twice changes nothing. */
	int (*drop_execution)(void *self, int tenant, const char *eid, struct wl_error *err);
	int (*drop_tenant)(void *self, int tenant, struct wl_error *err);
	void (*close)(void *self);
};

void wl_node_result_release(struct wl_node_result *result);

#endif
