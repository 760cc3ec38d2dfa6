/*
 * The model port of one node: the record is asked first, then the budget and the provider (lib/llm/metered_call.h), and
 * what came is kept before anybody uses it.
 */
#ifndef WL_SUPERVISOR_NODES_MODEL_CALLS_H
#define WL_SUPERVISOR_NODES_MODEL_CALLS_H

#include "lib/llm/metered_call.h"
#include "lib/llm/model_names.h"
#include "supervisor/nodes/record.h"

struct node_models {
	struct node_world *world;
	const struct node_call *call;
	struct node_record *record;
	const char *agent_id;		 /* whose budget counts; NULL: none */
	uint64_t deadline_ms;		 /* of the node, on the boot clock; 0: none */
	struct wl_budget_answer said;	 /* the last budget that refused or wants a person asked */
	char asked_wait[WL_BUDGET_WAIT]; /* what a person was asked, as the ledger names it; "" nothing */
	pthread_mutex_t lock;
	/*
	 * Whom a request means that names no provider, found out when it is really asked: what is on record is known by
	 * the name alone. NULL: as the request says. 0 or -errno.
	 */
	int (*choose)(void *context, const char *name, bool vectors, int cancel_fd, struct wl_model_target *ret_target,
		      struct wl_error *err);
	void *choose_context;
	struct wl_model_port port;
};

/* Everything stays the caller's and outlives it. */
void node_models_open(struct node_world *world, const struct node_call *call, struct node_record *record,
		      const char *agent_id, uint64_t deadline_ms, struct node_models *models);
void node_models_close(struct node_models *models);

/* The hash by which the record knows a question; 0 or -ENOMEM. */
int node_models_hash(const struct wl_model_request *request, char ret_hash[65]);
int node_models_hash_texts(const char *model, const char *const *texts, size_t count, char ret_hash[65]);

/* {"prompt_tokens",...} as nodes give it. Appends a whole object. */
void node_models_put_usage(struct wl_buffer *json, const struct wl_model_usage *usage, double cost, int model_calls,
			   int tool_calls);

#endif
