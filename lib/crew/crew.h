/*
 * Agents and crews with CrewAI's semantics, over ports alone: a crew is a function of its definition, its inputs and
 * the answers of models, tools and people. It keeps no state of its own between runs, takes no time but the world's,
 * and names each question by its place (model_call.h), so that the same answers give the same run.
 *
 * A run blocks its thread; asynchronous tasks use threads of the world's. Definitions are read-only after they were
 * made and may be shared.
 */
#ifndef WL_CREW_CREW_H
#define WL_CREW_CREW_H

#include "lib/base/error.h"
#include "lib/codec/json.h"
#include "lib/ports/model_call.h"
#include "lib/ports/tool_call.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WL_CREW_AGENTS_MAX 100
#define WL_CREW_TASKS_MAX 200
#define WL_CREW_MAX_ITER 25		  /* turns of an agent when it says nothing */
#define WL_CREW_GUARDRAIL_RETRIES 3	  /* attempts beyond the first */
#define WL_CREW_REPEAT_MAX 3		  /* the same tool with the same arguments by the same agent */
#define WL_CREW_DELEGATION_DEPTH 4	  /* a coworker that delegates to a coworker, and so on */
#define WL_CREW_CONTEXT_KEPT (256u << 10) /* bytes of earlier outputs that go into one task's context */

struct wl_crew_agent {
	char *id; /* of the tenant's agent; "" for one that only this definition knows */
	char *name;
	char *role, *goal, *backstory; /* "" when absent; "{name}" is filled in from the inputs */
	char *system_prompt;	       /* "" or text put in front of the role's */
	char *provider_id, *model;     /* NULL: as the port chooses */
	char **tool_ids;
	size_t tool_count;
	char **knowledge; /* ids of artifacts */
	size_t knowledge_count;
	double temperature;			/* NAN: unset */
	int max_iter, max_rpm, max_execution_s; /* 0: the default, no bound, no bound */
	int max_tokens;				/* of each answer; 0: the provider's */
	bool allow_delegation, memory;
};

struct wl_crew_task {
	char *name, *description, *expected_output;
	int agent;	  /* index into agents; -1: the manager's, of a hierarchical crew */
	bool has_context; /* else all outputs before it */
	int *context;	  /* indices of tasks before it */
	size_t context_count;
	char *schema;	 /* JSON Schema of its output; NULL: text */
	char *guardrail; /* what the output has to satisfy, as a sentence for a model; NULL: none */
	char *condition; /* expression, without {{ }}, over {inputs, outputs, last}; NULL: always */
	bool human_input, async;
};

enum wl_crew_process { WL_CREW_SEQUENTIAL, WL_CREW_HIERARCHICAL };

struct wl_crew {
	char *id, *name;
	enum wl_crew_process process;
	struct wl_crew_agent *agents;
	size_t agent_count;
	struct wl_crew_task *tasks;
	size_t task_count;
	int manager;				   /* index into agents of the manager; -1: none */
	char *manager_provider_id, *manager_model; /* of the manager that is made when there is none */
	char *context;				   /* what every task is given as context; NULL: nothing */
	bool planning, memory;
	int max_rpm; /* of all agents together; 0: no bound */
	bool lone;   /* one agent without a crew: the text of its task is taken as it is, braces and all */
};

/*
 * Make a definition from what the store holds: {"crew": <crew as in the API, or null>, "agents": [<agent as in the
 * API>]}. For one agent without a crew, `crew` is null and the caller adds the task with wl_crew_set_task(). 0; -EINVAL
 * with the path of what cannot be (an unknown agent, a context that is not before its task, ...); -ENOMEM.
 */
int wl_crew_make(const struct wl_json *document, struct wl_crew **ret_crew, struct wl_error *err);
/* Give a definition of one agent its one task. `schema` may be NULL. 0 or -ENOMEM. */
int wl_crew_set_task(struct wl_crew *crew, const char *description, const char *expected_output, const char *schema);
/* Give every task that text as context, before the outputs of other tasks. Copied. 0 or -ENOMEM. */
int wl_crew_set_context(struct wl_crew *crew, const char *context);
void wl_crew_free(struct wl_crew *crew);
/* The names in braces that its texts ask for, as CrewAI's: a JSON array, sorted, each once. NULL without memory. */
struct wl_json *wl_crew_inputs(const struct wl_crew *crew);

/* X(name, word): what a step of the trace is */
#define WL_CREW_STEPS(X)                                                                                               \
	X(TASK, "task")                                                                                                \
	X(AGENT, "agent") /* one agent at one task, or as a coworker */                                                \
	X(MODEL, "model")                                                                                              \
	X(TOOL, "tool")                                                                                                \
	X(DELEGATION, "delegation")                                                                                    \
	X(GUARDRAIL, "guardrail")                                                                                      \
	X(MEMORY, "memory")                                                                                            \
	X(KNOWLEDGE, "knowledge")                                                                                      \
	X(HUMAN, "human")                                                                                              \
	X(PLAN, "plan")                                                                                                \
	X(NOTE, "note") /* such as: asked without tools from now on */

enum wl_crew_step_kind {
#define X(name, word) WL_CREW_STEP_##name,
	WL_CREW_STEPS(X)
#undef X
};

/* One step, told when it begins (`ended` false) and when it has ended. Texts live until the function returns. */
struct wl_crew_step {
	int id, parent; /* counted from 1 in order of beginning; parent 0: the run itself */
	enum wl_crew_step_kind kind;
	bool ended;
	const char *place;		    /* as of calls; the same in each run */
	const char *name;		    /* of the task, agent, model, tool, coworker */
	const char *agent;		    /* who; may be NULL */
	const char *input, *output;	    /* text or JSON text; NULL: none */
	const char *error_code, *error;	    /* NULL: it went well */
	const struct wl_model_usage *usage; /* of models; else NULL */
	double cost;
	bool replayed;
	int64_t start_ms, end_ms; /* wall clock of the world */
	uint64_t first_us;
};

enum wl_crew_verdict { WL_CREW_HUMAN_WAITS, WL_CREW_HUMAN_APPROVED, WL_CREW_HUMAN_FEEDBACK };

/* What a crew needs of the world. Functions may be called from the threads of asynchronous tasks too. */
struct wl_crew_world {
	const struct wl_model_port *models;
	const struct wl_tool_port *tools;
	void *self; /* given to the functions below */
	/* ms of a clock that only goes forward, and of the wall clock; both needed */
	uint64_t (*now_ms)(void *self);
	int64_t (*wall_ms)(void *self);
	/* Wait up to `ms`; true: the run is to stop. Needed (max_rpm). */
	bool (*pause)(void *self, uint64_t ms);
	/* The trace. NULL: nobody reads it. */
	void (*step)(void *self, const struct wl_crew_step *step);
	/* Text of the answer that will be the run's, as it comes. May be NULL. */
	void (*token)(void *self, const char *agent, const char *text, size_t length);
	/* A condition's value. 0; -EINVAL: the expression is wrong. NULL: conditions are refused. */
	int (*condition)(void *self, const char *expression, const char *context_json, bool *ret_true,
			 struct wl_error *err);
	/* Does `value` fit the schema? 0; -EINVAL with the places. Needed where schemas are. */
	int (*fits)(void *self, const char *schema, const char *value, struct wl_error *err);
	/* A person looks at a task's output. *ret_feedback is allocated. HUMAN_WAITS: the run ends with -EINPROGRESS
	 * and is begun again when he has answered. NULL: human_input is refused. */
	int (*human)(void *self, const char *place, const char *task, const char *output,
		     enum wl_crew_verdict *ret_verdict, char **ret_feedback, struct wl_error *err);
	/*
	 * The text of a knowledge source (artifact). *ret_text is allocated. -EIO, -EAGAIN, -ECANCELED end the run; any
	 * other failure says what is wrong with the source. NULL: knowledge is refused.
	 */
	int (*knowledge)(void *self, const char *place, const char *artifact_id, char **ret_text, struct wl_error *err);
	/* Long-term memory of (tenant, crew): the `count` nearest texts as a JSON array of {"text","score"}, and
	 * keeping one. NULL: memory lasts as long as the run. */
	int (*recall)(void *self, const char *place, const float *vector, size_t dimensions, int count, char **ret_json,
		      struct wl_error *err);
	int (*remember)(void *self, const char *place, const char *text, const float *vector, size_t dimensions,
			struct wl_error *err);
	/*
	 * Memory that a conversation grew by, or gave back (below 0). 0; -ENOSPC: there is no more, the run ends with
	 * supervisor_full. NULL: it is not bounded. From any thread.
	 */
	int (*hold)(void *self, int64_t bytes, struct wl_error *err);
	int cancel_fd;		 /* becomes readable when the run is to stop; -1: none */
	const atomic_bool *stop; /* the same as a flag; may be NULL */
	int threads;		 /* asynchronous tasks at a time; 1 or less: they run one after the other */
};

/* Texts are owned; wl_crew_result_release() frees them. */
struct wl_crew_result {
	char *text;	  /* the last task's output */
	char *json;	  /* the same as JSON when it has a schema; else NULL */
	char *tasks_json; /* [{"name","agent","text","json","skipped"}] */
	struct wl_model_usage usage;
	double cost;
	int model_calls, tool_calls;
	char *code; /* of a failure: a word of WL_MODEL_FAULTS, or one of WL_CREW_FAULTS */
};

/* X(name, word, sentence) */
#define WL_CREW_FAULTS(X)                                                                                              \
	X(INPUT, "input_missing", "a name in braces has no value in the inputs")                                       \
	X(GUARDRAIL, "guardrail_failed", "the output did not pass its guardrail")                                      \
	X(SCHEMA, "output_invalid", "the output does not fit its schema")                                              \
	X(EMPTY, "answer_empty", "the model gave no answer")                                                           \
	X(LOOP, "tool_loop", "the agent called the same tool with the same arguments again and again")                 \
	X(TIME, "agent_timeout", "max_execution_time is over")                                                         \
	X(CONDITION, "condition_invalid", "a condition cannot be evaluated")                                           \
	X(KNOWLEDGE, "knowledge_missing", "a knowledge source cannot be read")                                         \
	X(FULL, "supervisor_full", "there is no more memory for conversations now")                                    \
	X(TOOL, "tool_missing", "a tool of an agent is not there")                                                     \
	X(REFUSED, "crew_refused", "the definition asks for what is not offered here")

/*
 * Run it. `inputs` is a JSON object or NULL; with NULL no text is filled in, as CrewAI does it. *result is filled in
 * any case: what was spent before a failure counts. 0; -EINPROGRESS: it waits for a person; -ECANCELED; -EIO, -EAGAIN:
 * the world failed (no memory too), begin again; anything else: result->code, which is set then, and err tell.
 */
int wl_crew_run(const struct wl_crew *crew, const struct wl_json *inputs, const struct wl_crew_world *world,
		struct wl_crew_result *result, struct wl_error *err);
void wl_crew_result_release(struct wl_crew_result *result);

static inline void wl_crew_cleanup(struct wl_crew **crew)
{
	wl_crew_free(*crew);
}
#define _wl_crew_ __attribute__((cleanup(wl_crew_cleanup)))

#endif
