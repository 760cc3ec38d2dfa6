/*
 * A stage for crews: a model, tools, a person and a memory that follow a script by place, a record of what was asked,
 * a clock that only the stage moves, and a fault that comes with the Nth call. What is on record is answered from
 * there; what is asked twice in one run, or is not in the script, is written down as a fault of the test.
 */
#ifndef TESTS_KIT_CREW_STAGE_H
#define TESTS_KIT_CREW_STAGE_H

#include "lib/base/buffer.h"
#include "lib/crew/crew.h"

#include <pthread.h>

/* One line of the script. Lines of one place after the first add tool uses. */
struct stage_line {
	const char *place;
	const char *text;
	const char *tool, *arguments; /* of a tool use; of a tool's place: `text` is its output */
	enum wl_model_fault fault;
	int error;	   /* of the world itself, such as EIO; of a tool: `text` is its code */
	uint64_t takes_ms; /* of the stage's clock */
};

struct stage_entry {
	char *place;
	char *said;	    /* the request as text */
	const char *schema; /* of the request */
	int run;	    /* that asked last */
	unsigned fresh;	    /* how often it was answered by the script */
	int stops;
	size_t tools;
	enum wl_model_tool_choice choice;
	uint32_t timeout_ms;
	int max_tokens;
};

struct stage_step {
	char *place, *name, *output, *code;
	enum wl_crew_step_kind kind;
	int id, parent;
	bool ended;
};

struct crew_stage {
	struct wl_crew_world world;
	struct wl_model_port models;
	struct wl_tool_port tools;
	const struct stage_line *lines; /* up to one without a place */
	const char *const *missing;	/* tools that are not there */
	const char *use_id;		/* of all tool uses; NULL: none */
	int use_times;			/* how often each tool use of the script is said; 0: once */
	unsigned seed; /* what the script does not say is made up from it and the place; 0: it is a fault */
	pthread_mutex_t lock;
	struct stage_entry *entries;
	size_t entry_count;
	struct stage_step *steps;
	size_t step_count;
	struct wl_buffer tokens, remembered, faults;
	uint64_t now_ms;
	int run;	    /* counted by stage_run() */
	int calls, fail_at; /* the world fails at that call; 0: never */
	int cancel_at;	    /* the run is stopped at that call */
	int embed_error;    /* what making vectors fails with; 0: it does not */
	int human_waits;    /* how often a person lets the crew wait */
	bool stopped;
	uint64_t paused_ms;
	atomic_int beside, most_beside; /* calls at the same time */
	pthread_barrier_t *meet;	/* calls whose place has this text wait for each other */
	const char *meet_at;
};

void stage_init(struct crew_stage *stage, const struct stage_line *lines);
/* Let the model make vectors, and the world remember. */
void stage_remembers(struct crew_stage *stage);
void stage_release(struct crew_stage *stage);
/* Make the definition and run it. */
int stage_run(struct crew_stage *stage, const char *document, const char *inputs, struct wl_crew_result *result,
	      struct wl_error *err);
/* As stage_run() for one agent and its task. */
int stage_run_lone(struct crew_stage *stage, const char *agent, const char *task, const char *expected,
		   const char *schema, struct wl_crew_result *result, struct wl_error *err);
/* The request at a place: NULL when it was not asked. */
const struct stage_entry *stage_asked(const struct crew_stage *stage, const char *place);
/* All that was answered by the script, not by the record. */
unsigned stage_fresh(const struct crew_stage *stage);
/* A step at a place of that kind that has ended, or NULL. */
const struct stage_step *stage_step(const struct crew_stage *stage, enum wl_crew_step_kind kind, const char *place);

#endif
