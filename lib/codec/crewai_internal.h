/* What the files of CrewAI's import and export share. */
#ifndef WL_CODEC_CREWAI_INTERNAL_H
#define WL_CODEC_CREWAI_INTERNAL_H

#include "lib/base/buffer.h"
#include "lib/base/ids.h"
#include "lib/codec/crewai.h"

#define CREWAI_PLACE_TEXT 240

enum crewai_severity { CREWAI_IGNORED, CREWAI_CHANGED, CREWAI_ATTENTION };

/* What both directions write to. */
struct crewai_notes {
	struct wl_json *findings;
	int kept, skipped, attention; /* of findings; attention: how many need it */
	bool no_memory;
};

/* Where something stands: a file, then keys and indices; a chain on the stack. */
struct crewai_place {
	const struct crewai_place *parent;
	const char *file; /* of the first link */
	const char *key;  /* NULL: an index, or the first link */
	int index;
};

struct crewai_reader {
	struct crewai_notes notes;
	const struct wl_json *files;
	const struct wl_crewai_context *context;
	struct wl_flow_faults *faults;
	struct wl_json *agents, *crews; /* made so far */
	bool yaml;			/* block scalars end with a line end that nobody meant */
};

/* The text of a file's place without the file, such as tasks[2].context[0]. */
char *crewai_place_text(const struct crewai_place *place, char text[CREWAI_PLACE_TEXT]);
const char *crewai_place_file(const struct crewai_place *place);
void crewai_note(struct crewai_notes *notes, const struct crewai_place *place, enum crewai_severity severity,
		 const char *fmt, ...) __attribute__((format(printf, 4, 5)));
void crewai_fault(struct crewai_reader *reader, const struct crewai_place *place, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* What was beyond the bound becomes one finding. */
void crewai_end_notes(struct crewai_notes *notes);
/* Put in what may be NULL for want of memory, and remember that. */
void crewai_set(struct crewai_notes *notes, struct wl_json *object, const char *key, struct wl_json *child);
void crewai_append(struct crewai_notes *notes, struct wl_json *array, struct wl_json *child);
/* A new object or array inside `parent` under `key` (NULL: `parent` is an array); NULL without memory. */
struct wl_json *crewai_child(struct crewai_notes *notes, struct wl_json *parent, const char *key, bool array);

/* ---- reading values; each adds a fault and gives false when the value is not of its kind ---- */

bool crewai_take_text(struct crewai_reader *reader, const struct crewai_place *place, const struct wl_json *value,
		      size_t least, size_t most, struct wl_json *into, const char *member);
bool crewai_take_bool(struct crewai_reader *reader, const struct crewai_place *place, const struct wl_json *value,
		      struct wl_json *into, const char *member);
bool crewai_take_integer(struct crewai_reader *reader, const struct crewai_place *place, const struct wl_json *value,
			 long least, long most, struct wl_json *into, const char *member);

/* A key of CrewAI's, and what becomes of it. */
struct crewai_key {
	const char *name;
	/* NULL: not taken, `severity` and `reason` are the finding */
	void (*take)(struct crewai_reader *reader, const struct crewai_place *place, const struct wl_json *value,
		     void *into);
	enum crewai_severity severity;
	const char *reason;
};

/* Walk an object's members by a table that ends with a NULL name. Members that are null count as left out; those that
 * the table does not have are findings. `value` has to be an object, else that is a fault. */
bool crewai_walk(struct crewai_reader *reader, const struct crewai_place *place, const struct wl_json *value,
		 const struct crewai_key *keys, void *into);

/* ---- models and tools of the tenant ---- */

#define CREWAI_TOKENS_MAX 1000000 /* of an answer, as specs/openapi.yaml bounds it */

struct crewai_llm {
	char provider_id[WL_UUID_TEXT]; /* "" when none fits */
	char model[201];		/* "" when none was named */
	bool has_temperature;
	double temperature;
	int max_tokens; /* of an answer; 0: not said */
};

/* A model as CrewAI names it, text or object. `provider_name` (may be NULL) is the provider that windlass.yaml names.
 */
void crewai_find_llm(struct crewai_reader *reader, const struct crewai_place *place, const struct wl_json *value,
		     const char *provider_name, struct crewai_llm *ret_llm);
/* The id of the tenant's tool that a name means, or NULL. */
const char *crewai_find_tool(const struct wl_json *directory, const char *name);
/* The tenant's provider of that name, or NULL. */
const struct wl_json *crewai_find_provider(const struct wl_json *directory, const char *name);
/* The word that CrewAI has for a provider type, or NULL. */
const char *crewai_provider_word(const char *provider_type);

/* ---- crews ---- */

/* An agent of a project while it is read. */
struct crewai_agent {
	const char *key;      /* of the project */
	struct wl_json *body; /* belongs to the reader's agents */
};

/* A crew while it is read. */
struct crewai_crew {
	const struct crewai_place *place; /* of what defines it */
	const struct wl_json *extra;	  /* windlass.yaml, or NULL */
	struct crewai_agent agents[WL_CREWAI_AGENTS_MAX];
	int agent_count;
	const char *manager_key; /* the agent that leads, or NULL */
	struct crewai_llm manager_llm;
	bool has_manager_llm;
	const char *process; /* NULL: nothing says it */
	struct wl_json *body, *config;
	const struct wl_json *agent_refs, *tasks; /* as they stand in the document */
	const struct wl_json *inputs;		  /* of a crew in a flow: with expressions */
};

/* Read an agent's definition into a new body under the reader's agents; NULL with faults. */
struct wl_json *crewai_read_agent(struct crewai_reader *reader, const struct crewai_place *place, const char *key,
				  const struct wl_json *value, const struct wl_json *extra);
/* Give an agent's config the tool that `value` names; a finding when there is none. */
void crewai_add_tool(struct crewai_reader *reader, const struct crewai_place *place, const struct wl_json *value,
		     struct wl_json *config);
/* The agent of that key, or NULL. */
struct crewai_agent *crewai_crew_agent(struct crewai_crew *crew, const char *key);
/* Read tasks, a list or a map of them, into the crew's config. */
void crewai_read_tasks(struct crewai_reader *reader, struct crewai_crew *crew, const struct crewai_place *place,
		       const struct wl_json *tasks);
/* The crew that stands in a crewai.flow/v1 document; NULL with faults. *ret_inputs belongs to `value`. */
struct wl_json *crewai_read_inline_crew(struct crewai_reader *reader, const struct crewai_place *place,
					const char *name, const struct wl_json *value,
					const struct wl_json **ret_inputs);
/* The two kinds of projects. `extra`: windlass.yaml, or NULL. */
void crewai_read_yaml_crew(struct crewai_reader *reader, const char *agents_file, const char *tasks_file,
			   const struct wl_json *extra);
void crewai_read_jsonc_crew(struct crewai_reader *reader, const char *crew_file, const struct wl_json *extra);

/* ---- flows ---- */

/* The program around a script's body: what a method is given comes on standard input. */
#define CREWAI_SCRIPT_HEAD "import json\nimport sys\n\n\ndef method(state, outputs, input=None, item=None):\n"
#define CREWAI_SCRIPT_TAIL "\n\nprint(json.dumps(method(**json.load(sys.stdin))))\n"

/* A crewai.flow/v1 document as a flow; NULL with faults. */
struct wl_json *crewai_read_flow(struct crewai_reader *reader, const char *file, const struct wl_json *document);
/* Give nodes places by layers from left to right. `flow` has nodes and edges. */
int crewai_layout(struct wl_json *flow);

/* The text of a file; parsed as YAML or JSONC by its name. NULL with a fault. The caller frees it. */
struct wl_json *crewai_parse_file(struct crewai_reader *reader, const char *file);

/* ---- names ---- */

/* A name as a Python identifier: letters, digits and _, at most 60 bytes. */
void crewai_slug(const char *name, char slug[64]);

#endif
