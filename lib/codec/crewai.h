/*
 * CrewAI projects to agents, crews and flows, and back. Pure: texts of files in, JSON of the API's bodies out, with a
 * finding for everything that is not carried over as it is. No program of a project is run or parsed.
 *
 * Read are (as of crewAI 1.15)
 *   agents.yaml and tasks.yaml           one crew; what crew.py would say comes from windlass.yaml or the import's
 * choice crew.jsonc and agents/NAME.jsonc     one crew a document with schema crewai.flow/v1, YAML or JSON   one flow,
 * with the agents and crews that stand in it windlass.yaml is written beside them and keeps what CrewAI has no place
 * for; CrewAI does not read it.
 */
#ifndef WL_CODEC_CREWAI_H
#define WL_CODEC_CREWAI_H

#include "lib/codec/json.h"
#include "lib/model/flow_graph.h"

#define WL_CREWAI_FILES_MAX 100
#define WL_CREWAI_BYTES_MAX (2u << 20) /* of all files together */
#define WL_CREWAI_PATH_MAX 255	       /* bytes of a file's path */
#define WL_CREWAI_AGENTS_MAX 100
#define WL_CREWAI_TASKS_MAX 200
#define WL_CREWAI_METHODS_MAX 300
#define WL_CREWAI_FINDINGS_MAX 1000

enum wl_crewai_format { WL_CREWAI_YAML, WL_CREWAI_JSONC };

/* Fills `id` (WL_UUID_TEXT bytes) for each new agent and crew. */
typedef void wl_crewai_new_id(void *self, char *id);

/* What the tenant has, and what the caller chooses. */
struct wl_crewai_context {
	/* {"tools": [{"id","name"}], "providers": [{"id","name","provider_type","models","default_model"}]} */
	const struct wl_json *directory;
	/* {"name","process","order":[task],"manager_agent","manager_llm"}; each may be missing, NULL: none of them */
	const struct wl_json *choice;
	wl_crewai_new_id *new_id;
	void *self;
};

/*
 * Read a project: `files` is {path: text}. 0 and *ret_project, for the caller to free:
 *   {"agents": [body of agents_create with "id"], "crews": [body of crews_create with "id"],
 *    "flow": {"name","description","nodes","edges","input_schema"} or null,
 *    "findings": [{"file","path","message","severity": ignored | changed | needs_attention}]}
 * -EINVAL with all that is wrong in `faults`, whose paths are "FILE: place"; -ENOMEM.
 */
int wl_crewai_import(const struct wl_json *files, const struct wl_crewai_context *context, struct wl_json **ret_project,
		     struct wl_flow_faults *faults, struct wl_error *err);

/*
 * Write a crew: {"crew": as in the API, "agents": [as in the API], "tools": [{"id","name"}], "providers": [as above]}.
 * 0 and *ret_export {"files": {path: text}, "findings": [...]}; -ENOMEM. Equal crews give equal bytes.
 */
int wl_crewai_export_crew(const struct wl_json *bundle, enum wl_crewai_format format, struct wl_json **ret_export,
			  struct wl_error *err);

/* Write a flow, likewise: {"name","description","document", "crews", "agents", "tools", "providers"}. */
int wl_crewai_export_flow(const struct wl_json *bundle, struct wl_json **ret_export, struct wl_error *err);

#endif
