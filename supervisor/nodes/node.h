/*
 * Running one attempt of one node. A node kind has one file here; node_run.c leads to them.
 * Everything in a plan is read-only after it was made, so that all threads share the plans of a flow.
 */
#ifndef WL_SUPERVISOR_NODES_NODE_H
#define WL_SUPERVISOR_NODES_NODE_H

#include "lib/base/buffer.h"
#include "lib/base/ids.h"
#include "lib/codec/expression_client.h"
#include "lib/codec/json.h"
#include "lib/model/flow_graph.h"
#include "lib/net/egress.h"
#include "lib/ports/artifacts.h"
#include "lib/ports/sandbox.h"
#include "lib/ports/tool_source.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define NODE_OUTPUT_MAX WL_OUTPUT_MAX
/* The expression server is started anew when it dies; so long a node waits for it. */
#define NODE_EVAL_AWAY_MS 15000
#define NODE_INPUTS_KEPT (64u << 10) /* bytes of a node's inputs that are stored with its result */

/* What of another run's record a run lives on. OFFLINE: nothing else, and no model or tool is asked; FORK: as far as it
 * fits, and from there on they are. */
enum node_replay { NODE_REPLAY_NONE, NODE_REPLAY_OFFLINE, NODE_REPLAY_FORK };

enum node_language { NODE_PYTHON, NODE_JAVASCRIPT, NODE_BASH };

/* What a node's `data` says, made ready once a flow. */
struct node_plan {
	char *template_json; /* what is evaluated before the node runs; NULL: it takes what its predecessors gave */
	size_t template_length;
	bool has_expressions; /* else the template is the value */
	/* code */
	enum node_language language;
	char *source;
	char *profile; /* NULL: the default one */
	bool parse_text;
	struct sandbox_limits limits;
	struct {
		bool wanted;
		char *provider_id, *model; /* NULL: whom and what the program names */
		int max_calls;		   /* 0: CODE_MODELS_CALLS */
	} models;
	/* tool */
	char tool_id[WL_UUID_TEXT]; /* in lower case */
	/* loop */
	int parallel, max_items;
	/* subflow */
	char flow_id[WL_UUID_TEXT];
	int version; /* 0: the newest */
	/* approval */
	char *roles_json;
	int expires_s;
	char *pinned_json;	   /* the output of test runs; NULL: none */
	const char *pinned_handle; /* the handle that goes with it, of a node that chooses */
	/* agent, crew */
	char resource_id[WL_UUID_TEXT];
	bool has_context; /* of a crew: its input is {input, context} */
	/* llm, agent: what is asked of the answer */
	char *schema_json;
	/* llm */
	char *provider_id, *model;
	char **stops;
	int stop_count, max_tokens;
	double temperature; /* NAN: the provider's */
	/* http */
	int expect[50];
	int expect_count;
};

/* 0; -EINVAL for data that the flow's check would not have let through; -ENOMEM. */
int node_plan_make(const struct wl_flow_node *node, struct node_plan *ret_plan, struct wl_error *err);
void node_plan_release(struct node_plan *plan);

/* What the data of a code node and the execution_config of a code tool have in common. 0, -EINVAL, -ENOMEM. */
int node_plan_code(const struct wl_json *data, struct node_plan *plan);
/* Its two parts: language and source; profile and limits. */
int node_plan_program(const struct wl_json *data, struct node_plan *plan);
int node_plan_sandbox(const struct wl_json *data, struct node_plan *plan);

struct wl_crew_memory;
struct wl_exchange_log;
struct wl_http_client;
struct wl_knowledge_source;
struct wl_master_key;
struct wl_metered;
struct wl_storage_room;
struct node_share;

/* What nodes need of the world. One a thread, because of its connections. */
struct node_world {
	struct wl_expression_pool *expressions;
	int eval_ms;
	const struct sandbox_port *sandbox;
	const struct artifact_port *artifacts; /* NULL: files that programs leave are not kept */
	uint32_t kill_grace_ms;
	const struct wl_egress_rules *egress;
	struct wl_http_client *http; /* made at the first use */
	const struct wl_tool_source *tools;
	const struct wl_master_key *keys; /* NULL: credentials cannot be opened */
	const struct wl_metered *models;  /* NULL: nodes that ask models fail */
	const struct wl_exchange_log *exchanges;
	const struct wl_storage_room *storage;	     /* NULL: what nodes keep is not counted */
	struct node_share *share;		     /* of all nodes of the process; NULL: nothing is bounded */
	const struct wl_crew_memory *memory;	     /* NULL: crews remember nothing beyond a run */
	const struct wl_knowledge_source *knowledge; /* NULL: they have no knowledge */
};

/* What a person has said to a node that asked for it. Texts belong to the run. */
struct node_decision {
	const char *name; /* what was asked, as node_outcome.wait_name */
	bool approved;
	const char *by, *comment;
};

/* One attempt. All texts belong to the caller and live until it returns. */
struct node_call {
	int tenant;
	const char *eid;
	int epoch;   /* of the execution's lease */
	int attempt; /* of the node; 1 is the first */
	bool again;  /* the node ran before in this attempt, and waited */
	enum node_replay replay;
	const char *replay_eid;		      /* of which run the record is replayed; NULL: none */
	const struct node_decision *decision; /* NULL: none has come */
	const struct wl_flow_node *node; /* NULL: the check of the outputs of a flow, `upstream`, against `schema` */
	const char *path;	/* the node's id with those of the loops and subflows around it; NULL: its id */
	const char *told_apart; /* what tells servers this call from the others of its run; NULL: its path */
	const struct node_plan *plan;
	const char *schema;	   /* with a node: `upstream` is to be checked as a subflow's inputs, nothing else */
	const char *output_schema; /* of a tool: what its output has to fit; NULL: anything */
	const char *context;	   /* {"inputs","nodes","vars","execution"} as JSON text */
	size_t context_length;
	const char *upstream; /* JSON: the output of the one live predecessor, or an object of several by node id */
	size_t upstream_length;
	int cancel_fd;		 /* becomes readable when the attempt is to stop; -1 for pure nodes */
	const atomic_bool *stop; /* set when the attempt is to stop; may be NULL */
	void (*on_log)(void *context, const char *stream, const char *text, size_t length);
	void *log_context;
	/* A live event: `type` is a literal, `data_json` an object that names the node. From any thread; may be NULL.
	 */
	void (*on_event)(void *context, const char *type, const char *data_json);
};

/* How the node is named outside of its flow; NULL when the call is for none. */
static inline const char *node_call_path(const struct node_call *call)
{
	return call->path || !call->node ? call->path : call->node->id;
}

/* NODE_WAITS: a person is to decide, then the node is run again. */
enum node_result { NODE_OK, NODE_FAILED, NODE_FAILED_FOR_GOOD, NODE_STOPPED, NODE_WAITS };

/* How it ended. Texts are owned by the struct; NULL: absent. */
struct node_outcome {
	enum node_result result;
	char *handle;
	char *inputs_json;
	char *outputs_json;
	char *error_json;
	char *receipt_json;
	char *trace_json;
	/* of NODE_WAITS: what is asked, under which name among the node's questions, of whom (an array of roles) */
	char *wait_message, *wait_name, *wait_roles;
};

void node_outcome_release(struct node_outcome *outcome);

/* True when the attempt needs no other process and no waiting: it may run on the caller's thread. */
bool node_is_immediate(const struct wl_flow_node *node, const struct node_plan *plan);

/* Run it to its end; *outcome is filled whatever happens. */
void node_run(struct node_world *world, const struct node_call *call, struct node_outcome *outcome);
void node_world_release(struct node_world *world);

/* ---- for the node kinds ---------------------------------------------------------------------------- */

/* A failure as {"code","message","node_id"?}; detail_json (may be NULL) becomes "detail". */
void node_fail(struct node_outcome *outcome, const struct node_call *call, enum node_result result, const char *code,
	       const char *detail_json, const char *fmt, ...) __attribute__((format(printf, 6, 7)));
/* The text {"code","message","node_id"?,"detail"?}; node_id and detail may be NULL. NULL without memory. */
char *node_error_text(const char *code, const char *message, const char *node_id, const char *detail_json);
/* The plan's template with its expressions replaced; false: the outcome tells why. *ret_text is allocated. */
bool node_evaluate(struct node_world *world, const struct node_call *call, struct node_outcome *outcome,
		   char **ret_text);
/* Keep a node's inputs for the record; more than NODE_INPUTS_KEPT becomes a note of the size. */
void node_keep_inputs(struct node_outcome *outcome, const char *json, size_t length);
/* Take over the output, or fail with output_cap. */
void node_give(struct node_outcome *outcome, const struct node_call *call, char *json);
/* Wait for up to `ms`; true when the attempt is to stop. */
bool node_pause(const struct node_call *call, int ms);

/* Wait for the expression server after it was away; false: it is given up, or the attempt is to stop. */
bool node_wait_for_eval(const struct node_call *call, struct node_outcome *outcome, int result, uint64_t give_up_ms,
			const struct wl_error *err);

/* A schema of a tenant's, and how a failure speaks of it. */
struct node_schema {
	const char *text; /* JSON */
	const char *code; /* of the error */
	const char *what; /* "outputs do" */
	const char *name; /* "the flow's output_schema" */
};

/* Does the value (JSON text) fit? false: the outcome tells why not, with the places. */
bool node_check_schema(struct node_world *world, const struct node_call *call, struct node_outcome *outcome,
		       const struct node_schema *schema, const char *value, size_t length);

/* Does the output fit call->output_schema? false: the outcome has none any more and tells why not. */
bool node_check_output(struct node_world *world, const struct node_call *call, struct node_outcome *outcome);

void node_run_schema_check(struct node_world *world, const struct node_call *call, struct node_outcome *outcome);
void node_run_condition(struct node_world *world, const struct node_call *call, struct node_outcome *outcome);
void node_run_switch(struct node_world *world, const struct node_call *call, struct node_outcome *outcome);
void node_run_code(struct node_world *world, const struct node_call *call, struct node_outcome *outcome);
void node_run_http(struct node_world *world, const struct node_call *call, struct node_outcome *outcome);
void node_run_tool(struct node_world *world, const struct node_call *call, struct node_outcome *outcome);
void node_run_llm(struct node_world *world, const struct node_call *call, struct node_outcome *outcome);
void node_run_agent(struct node_world *world, const struct node_call *call, struct node_outcome *outcome);

#endif
