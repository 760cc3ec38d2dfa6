/* What the writers of crews and of flows share. */
#ifndef WL_CODEC_CREWAI_EXPORT_H
#define WL_CODEC_CREWAI_EXPORT_H

#include "lib/codec/crewai_internal.h"

struct crewai_named {
	const struct wl_json *value;
	char key[80];
};

struct crewai_writer {
	struct crewai_notes notes;
	const struct wl_json *bundle, *crew, *config;
	bool jsonc;
	bool in_flow; /* there is no windlass.yaml beside a flow */
	struct crewai_named agents[WL_CREWAI_AGENTS_MAX + 1];
	int agent_count;
	struct crewai_named tasks[WL_CREWAI_TASKS_MAX];
	int task_count;
	struct wl_json *files;
	struct wl_json *extra, *extra_agents, *extra_tasks; /* windlass.yaml */
};

/* The thing of that id in a list, or NULL. */
const struct wl_json *crewai_by_id(const struct wl_json *list, const char *id);
/* Give keys to the crew's agents and tasks. */
void crewai_name_all(struct crewai_writer *writer);
/* An agent and a task as CrewAI reads them; what it has no place for goes into the extras. NULL without memory. */
struct wl_json *crewai_make_agent(struct crewai_writer *writer, const struct crewai_named *agent,
				  const struct crewai_place *place);
struct wl_json *crewai_make_task(struct crewai_writer *writer, const struct crewai_named *task,
				 const struct crewai_place *place);
/* The process. */
void crewai_put_process(struct crewai_writer *writer, struct wl_json *into);
/* planning, memory, max_rpm and the agent that leads. */
void crewai_put_crew_members(struct crewai_writer *writer, struct wl_json *into);
/* The model that leads as CrewAI writes it, "" for none; the extras get it exactly. */
void crewai_put_manager_llm(struct crewai_writer *writer, const struct crewai_place *place, char text[256]);
void crewai_write_file(struct crewai_writer *writer, const char *path, struct wl_buffer *text);
void crewai_write_yaml(struct crewai_writer *writer, const char *path, const struct wl_json *value);

#endif
