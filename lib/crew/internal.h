/*
 * What the files of this folder share: a run, its lanes (one per task), and workers (an agent at a task).
 *
 * A lane belongs to one thread at a time: the run's own, or that of an asynchronous task. What lanes share is in
 * struct crew_run and is changed under its lock only.
 */
#ifndef WL_CREW_INTERNAL_H
#define WL_CREW_INTERNAL_H

#include "lib/base/buffer.h"
#include "lib/base/cleanup.h"
#include "lib/crew/crew.h"

#include <pthread.h>

#define CREW_PLACE 201			       /* bytes of a place, with its NUL */
#define CREW_CONTEXT_JOIN "\n\n----------\n\n" /* between outputs, as CrewAI joins them */
#define CREW_EMPTY_RETRIES 2		       /* of an answer without any text, beyond the first */
#define CREW_FORMAT_RETRIES 2		       /* hints to a model that does not keep to Thought/Action/Final Answer */
#define CREW_SCHEMA_RETRIES 3		       /* repairs of an output, beyond the first answer */
#define CREW_SUMMARIES_MAX 3		       /* of one conversation, each shorter than the one before */
#define CREW_USES_MAX 64		       /* tool uses of one answer that are looked at */
#define CREW_TOOL_KEPT (128u << 10)	       /* bytes of a tool's output that go to the model */
#define CREW_RECALLED 5			       /* memories and passages in one task's text */
#define CREW_TALK_MAX (8u << 20)	       /* bytes of a conversation: longer than any model takes */
#define CREW_REPEATS_MAX 1000		       /* calls of a task that are told apart: the oldest are forgotten */

enum crew_fault {
	CREW_FAULT_NONE,
#define X(name, word, sentence) CREW_FAULT_##name,
	WL_CREW_FAULTS(X)
#undef X
};

/* ---- messages of a conversation -------------------------------------------------------------------------- */

/* The texts of `items` are owned. */
struct crew_talk {
	struct wl_model_message *items;
	size_t count, capacity;
};

/* Put a message behind the others; texts are copied. 0 or -ENOMEM. */
int wl_crew_talk_add(struct crew_talk *talk, enum wl_model_role role, const char *text);
/* The model's message with its tool uses, which are taken out of *answer. */
int wl_crew_talk_add_uses(struct crew_talk *talk, struct wl_model_answer *answer);
int wl_crew_talk_add_result(struct crew_talk *talk, const char *use_id, const char *text, bool failed);
/* Another text for message `index`. */
int wl_crew_talk_replace(struct crew_talk *talk, size_t index, const char *text);
/* Bytes of all texts. */
size_t wl_crew_talk_bytes(const struct crew_talk *talk);
/* Take out messages from `from` to before `to`. */
void wl_crew_talk_cut(struct crew_talk *talk, size_t from, size_t to);
/* Tool uses and their results as the text form has them (Action, Observation). */
int wl_crew_talk_to_text(struct crew_talk *talk);
void wl_crew_talk_release(struct crew_talk *talk);

/* ---- tools ----------------------------------------------------------------------------------------------- */

enum crew_tool_kind { CREW_TOOL_PORT, CREW_TOOL_DELEGATE, CREW_TOOL_ASK };

struct crew_tool {
	enum crew_tool_kind kind;
	const char *id; /* the definition's */
	struct wl_tool_description told;
};

struct crew_toolbox {
	struct crew_tool *tools;
	size_t count;
};

/* ---- who works ------------------------------------------------------------------------------------------- */

/* Calls of the last minute. */
struct crew_rate {
	uint64_t *times; /* a ring */
	size_t head, count, capacity;
	int max; /* 0: no bound */
};

/* A passage of a text with its vector. */
struct crew_passage {
	char *text;
	float *vector; /* NULL: the provider gives none */
	bool head;     /* how its source begins: taken when there are no vectors */
};

struct crew_passages {
	struct crew_passage *items;
	size_t count, capacity;
	size_t dimensions; /* of all vectors */
};

/* Is there already what an agent's tasks have in common? What failed once is not asked again: the run is ending. */
enum crew_gathering { CREW_UNKNOWN, CREW_KNOWN, CREW_FAILED };

struct crew_member {
	struct wl_crew_agent agent; /* a copy of the definition's; its four texts are filled in and owned */
	struct crew_rate rate;
	struct crew_toolbox box;
	struct crew_passages knowledge;
	enum crew_gathering tools_known, knowledge_known;
};

struct crew_output {
	bool done, skipped;
	char *text, *json;
	const char *agent;
};

/* What an agent called in a task, and how often. */
struct crew_repeat {
	size_t member;
	char *key;  /* tool and canonical arguments, or what tells long ones apart */
	char *last; /* what came of it */
	int count;
	unsigned hinted; /* lane->asked when the model was told to stop; 0: it was not */
};

struct crew_run;
struct crew_worker;

struct crew_lane {
	struct crew_run *run;
	size_t task;
	int step;
	const char *fault; /* a word of WL_MODEL_FAULTS or WL_CREW_FAULTS; NULL: none */
	unsigned asked;	   /* model calls so far */
	struct crew_repeat *repeats;
	size_t repeat_count;
	char *plan;
	struct crew_output output;
	size_t remembered; /* passages of the run's memory that there were when it began: it sees no others */
	/* of an asynchronous task */
	pthread_t thread;
	bool running; /* it has a thread that nobody has waited for */
	bool settled; /* its output counts */
	char *context;
	int result;
	struct wl_error err;
};

struct crew_run {
	const struct wl_crew *crew;
	const struct wl_crew_world *world;
	const struct wl_json *inputs;
	struct crew_member *members; /* the crew's agents, and behind them the manager that is made */
	size_t member_count;
	char **descriptions, **expected; /* of tasks, filled in */
	struct crew_lane *lanes;	 /* of tasks, in their order */
	struct crew_lane own;		 /* of the plan, and of what the run remembers */
	struct crew_passages memory;	 /* of the run; grows only, by the run's own thread */
	struct crew_lane *failed;	 /* the first one that did; NULL: none */
	pthread_mutex_t lock, gathering; /* the second while tools and knowledge are asked for, once per member */
	atomic_bool halted;		 /* a lane failed: the others stop before their next call */
	bool streamed;			 /* the answer's text was passed on already */
	struct crew_rate rate;
	int steps;
	struct wl_crew_result *result;
};

/* ---- calls and steps (calls.c) --------------------------------------------------------------------------- */

/* The name of a place, CREW_PLACE bytes at most: the deepest delegation stays far below that. */
void wl_crew_place(char *place, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* A question to a model that is about to be asked. */
struct crew_question {
	struct crew_lane *lane;
	struct crew_member *who;
	const char *place;
	int parent;
	size_t shown;	      /* messages before this one were in the trace already */
	uint64_t deadline_ms; /* of the world's clock; 0: none */
	struct wl_model_request request;
};

/*
 * Ask: waits for the rates, tells the trace, counts what was used. What comes of it is what wl_crew_run() returns;
 * lane->fault is set when the model said why not.
 */
int wl_crew_ask(struct crew_question *question, struct wl_model_answer *answer, struct wl_error *err);
/* An empty request. */
struct wl_model_request wl_crew_request(const struct crew_talk *talk);
/* -ECANCELED when the run is to stop, or another lane failed; else 0. */
int wl_crew_stopped(struct crew_lane *lane, struct wl_error *err);
/* Remember a fault of our own and say it: returns -errnum. */
int wl_crew_fault(struct crew_lane *lane, enum crew_fault fault, int errnum, struct wl_error *err, const char *fmt, ...)
	__attribute__((format(printf, 5, 6)));
/* What the run returns for a failure of the world: -ECANCELED, -EAGAIN and -EINPROGRESS stay, the rest is -EIO. */
int wl_crew_world_failed(int result, struct wl_error *err);
/*
 * Gather what an agent's tasks have in common by `gather`, once per run, whoever comes first; `known` is what it came
 * to.
 */
int wl_crew_once(struct crew_worker *worker, enum crew_gathering *known,
		 int (*gather)(struct crew_worker *worker, struct wl_error *err), struct wl_error *err);
/* Begin a step: its texts have to live until it is ended. */
struct wl_crew_step wl_crew_step_begin(struct crew_run *run, int parent, enum wl_crew_step_kind kind, const char *place,
				       const char *name, const char *agent, const char *input);
/* End it: `result` < 0 says that it failed, with the words of lane (may be NULL) and err. */
void wl_crew_step_end(struct crew_run *run, struct wl_crew_step *step, const struct crew_lane *lane, int result,
		      const struct wl_error *err);
void wl_crew_note(struct crew_run *run, int parent, const char *place, const char *agent, const char *text);
/* Vectors of length 1, or *ret_vectors NULL when there are none to be had. 0, or the run has to end. */
int wl_crew_embed(struct crew_lane *lane, const struct crew_member *who, const char *place, const char *const *texts,
		  size_t count, float **ret_vectors, size_t *ret_dimensions, struct wl_error *err);

/* ---- a worker (worker.c) / ------------------------------------------------------------------------------- */

/* What a worker is told. Any text but the description may be NULL. */
struct crew_job {
	const char *description, *expected, *context, *plan, *schema;
	bool recall;	   /* from memory and knowledge */
	bool streams;	   /* its answer is the run's, and nobody looks at it first */
	bool manages;	   /* has no tools but those of delegation */
	int only;	   /* the one coworker that it may turn to; -1: all others */
	int depth;	   /* of delegation */
	uint64_t until_ms; /* when whoever asked has no more time; 0: no bound */
};

/* An agent at a task: its conversation lives until the task is done, so that a critique finds it. */
struct crew_worker {
	struct crew_lane *lane;
	struct crew_member *who;
	size_t member;
	char place[CREW_PLACE];
	struct wl_crew_step step;
	struct crew_job job; /* texts belong to whoever began it */
	struct crew_talk talk;
	size_t held;				    /* bytes of it that the world knows of */
	struct crew_tool tools[WL_MODEL_TOOLS_MAX]; /* shared: of the member's box, and the tools of delegation */
	size_t tool_count;
	bool text_mode; /* asked without tools: Thought, Action, Observation */
	bool closing;	/* the next answer has to be final */
	int turn, summaries, summary_calls;
	size_t shown;
	uint64_t deadline_ms;
	struct wl_buffer streaming; /* text of the turn so far */
	size_t made_up;		    /* where an Observation of the model's own begins, plus 1; 0: none */
	size_t emitted;		    /* of it, or (size_t)-1 while it is held back */
};

/* 0; else what wl_crew_run() returns. The worker is released in any case by its owner. */
int wl_crew_worker_begin(struct crew_worker *worker, struct crew_lane *lane, size_t member, const char *place,
			 int parent, const struct crew_job *job, struct wl_error *err);
/* Work until there is a final answer; *ret_text is allocated and also the conversation's last message. */
int wl_crew_worker_answer(struct crew_worker *worker, char **ret_text, struct wl_error *err);
/* Say what is to be done better; `closing`: without any more tools. 0 or -ENOMEM. */
int wl_crew_worker_revise(struct crew_worker *worker, const char *message, bool closing);
/* End its step and free it. `result` and `output` are for the trace. */
void wl_crew_worker_end(struct crew_worker *worker, int result, const char *output, const struct wl_error *err);

/* ---- parts of it / --------------------------------------------------------------------------------------- */

/* Tools that the worker has (toolbox.c). */
int wl_crew_worker_equip(struct crew_worker *worker, struct wl_error *err);
void wl_crew_toolbox_release(struct crew_toolbox *box);
/*
 * Do what the model asked for: *ret_text (allocated) is for the model, also when the tool failed. 0; else the run has
 * to end (tool_use.c).
 */
int wl_crew_use_tool(struct crew_worker *worker, const char *turn_place, size_t index, const char *name,
		     const char *arguments, char **ret_text, bool *ret_failed, struct wl_error *err);
/* A coworker does it (delegation.c). As above; the step's name becomes the coworker's. */
int wl_crew_delegate(struct crew_worker *worker, const struct crew_tool *tool, const char *place,
		     const struct wl_json *arguments, struct wl_crew_step *step, char **ret_text, bool *ret_failed,
		     struct wl_error *err);
bool wl_crew_same_coworker(const char *asked, const char *role);
/* May the worker turn to that member? */
bool wl_crew_is_coworker(const struct crew_worker *worker, size_t member);
/* The roles of all that it may turn to; NULL when there is none. 0 or -ENOMEM. */
int wl_crew_coworkers(const struct crew_worker *worker, char **ret_text);
/* Make the conversation shorter (summary.c). 0; -EMSGSIZE: it cannot be; else the run has to end. */
int wl_crew_summarise(struct crew_worker *worker, struct wl_error *err);
/* Memory and knowledge that fit the text (recall.c); *ret_text is allocated, NULL: none. */
int wl_crew_recall(struct crew_worker *worker, const char *query, char **ret_text, struct wl_error *err);
/* Keep the output of a task, for later tasks and later runs. Called by the run's own thread. */
int wl_crew_remember(struct crew_run *run, size_t task, struct wl_error *err);
void wl_crew_passages_release(struct crew_passages *passages);
/* One task from its condition to its output (task.c). */
int wl_crew_task_run(struct crew_lane *lane, const char *context, struct wl_error *err);
/* Who does a task: an index into run->members. */
size_t wl_crew_task_member(const struct crew_run *run, size_t task);
/* The agent's name for people. */
const char *wl_crew_member_name(const struct crew_run *run, size_t member);
/* One call whose plan is added to the tasks (plan.c). */
int wl_crew_plan(struct crew_run *run, struct wl_error *err);
/* JSON out of a model's text, with and without a fence around it, repaired when it has to be. 0 or -EINVAL. */
int wl_crew_read_json(const char *text, struct wl_json **ret_json, struct wl_error *err);

#endif
