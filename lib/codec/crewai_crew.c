/* Crews: agents.yaml with tasks.yaml, crew.jsonc with its agents, and those that stand inside a flow. */
#include "lib/base/cleanup.h"
#include "lib/codec/crewai_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct crewai_agent *crewai_crew_agent(struct crewai_crew *crew, const char *key)
{
	for (int i = 0; i < crew->agent_count; i++)
		if (strcmp(crew->agents[i].key, key) == 0)
			return &crew->agents[i];
	return NULL;
}

static const struct wl_json *extra_of(const struct crewai_crew *crew, const char *key)
{
	return wl_json_get(wl_json_get(crew->extra, "agents"), key);
}

static void add_agent(struct crewai_reader *reader, struct crewai_crew *crew, const struct crewai_place *place,
		      const char *key, const struct wl_json *value)
{
	if (crew->agent_count == WL_CREWAI_AGENTS_MAX) {
		crewai_fault(reader, place, "a crew has at most %d agents", WL_CREWAI_AGENTS_MAX);
		return;
	}
	struct wl_json *body = crewai_read_agent(reader, place, key, value, extra_of(crew, key));
	if (body)
		crew->agents[crew->agent_count++] = (struct crewai_agent){ .key = key, .body = body };
}

/* ---- members ---------------------------------------------------------------------------------------------------- */

static void take_name(struct crewai_reader *reader, const struct crewai_place *place, const struct wl_json *value,
		      void *into)
{
	crewai_take_text(reader, place, value, 1, 200, ((struct crewai_crew *)into)->body, "name");
}

static void take_description(struct crewai_reader *reader, const struct crewai_place *place,
			     const struct wl_json *value, void *into)
{
	crewai_take_text(reader, place, value, 0, 10000, ((struct crewai_crew *)into)->body, "description");
}

static void take_process(struct crewai_reader *reader, const struct crewai_place *place, const struct wl_json *value,
			 void *into)
{
	const char *process = wl_json_string(value, "");
	if (strcmp(process, "sequential") == 0 || strcmp(process, "hierarchical") == 0)
		((struct crewai_crew *)into)->process = process;
	else
		crewai_fault(reader, place, "is neither sequential nor hierarchical");
}

static void take_planning(struct crewai_reader *reader, const struct crewai_place *place, const struct wl_json *value,
			  void *into)
{
	crewai_take_bool(reader, place, value, ((struct crewai_crew *)into)->config, "planning");
}

static void take_memory(struct crewai_reader *reader, const struct crewai_place *place, const struct wl_json *value,
			void *into)
{
	struct crewai_crew *crew = into;
	if (!wl_json_is(value, WL_JSON_OBJECT)) {
		crewai_take_bool(reader, place, value, crew->config, "memory");
		return;
	}
	crewai_set(&reader->notes, crew->config, "memory", wl_json_new_bool(true));
	crewai_note(&reader->notes, place, CREWAI_CHANGED, "memory is on; its settings are not taken over");
}

static void take_max_rpm(struct crewai_reader *reader, const struct crewai_place *place, const struct wl_json *value,
			 void *into)
{
	crewai_take_integer(reader, place, value, 1, 100000, ((struct crewai_crew *)into)->config, "max_rpm");
}

static void take_manager_agent(struct crewai_reader *reader, const struct crewai_place *place,
			       const struct wl_json *value, void *into)
{
	if (wl_json_is(value, WL_JSON_STRING))
		((struct crewai_crew *)into)->manager_key = wl_json_string(value, "");
	else
		crewai_note(&reader->notes, place, CREWAI_ATTENTION, "an agent that a program makes is not imported");
}

static void take_manager_llm(struct crewai_reader *reader, const struct crewai_place *place,
			     const struct wl_json *value, void *into)
{
	struct crewai_crew *crew = into;
	if (wl_json_get(crew->extra, "manager"))
		return; /* windlass.yaml says it more exactly */
	crewai_find_llm(reader, place, value, NULL, &crew->manager_llm);
	if (crew->manager_llm.has_temperature || crew->manager_llm.max_tokens)
		crewai_note(&reader->notes, place, CREWAI_CHANGED,
			    "a manager has the provider's own settings; name an agent as manager to set them");
	crew->has_manager_llm = crew->manager_llm.provider_id[0] != '\0';
}

static void take_agent_refs(struct crewai_reader *reader, const struct crewai_place *place, const struct wl_json *value,
			    void *into)
{
	(void)reader;
	(void)place;
	((struct crewai_crew *)into)->agent_refs = value;
}

static void take_tasks(struct crewai_reader *reader, const struct crewai_place *place, const struct wl_json *value,
		       void *into)
{
	(void)reader;
	(void)place;
	((struct crewai_crew *)into)->tasks = value;
}

static void take_inputs(struct crewai_reader *reader, const struct crewai_place *place, const struct wl_json *value,
			void *into)
{
	if (!wl_json_is(value, WL_JSON_OBJECT))
		crewai_fault(reader, place, "is not a mapping");
	else
		((struct crewai_crew *)into)->inputs = value;
}

static const char runs_code[] = "programs of the project are not run";
static const char own_trace[] = "each run keeps its whole trace";

static const struct crewai_key crew_keys[] = {
	{ "name", take_name, 0, NULL },
	{ "agents", take_agent_refs, 0, NULL },
	{ "tasks", take_tasks, 0, NULL },
	{ "process", take_process, 0, NULL },
	{ "planning", take_planning, 0, NULL },
	{ "memory", take_memory, 0, NULL },
	{ "max_rpm", take_max_rpm, 0, NULL },
	{ "manager_agent", take_manager_agent, 0, NULL },
	{ "manager_llm", take_manager_llm, 0, NULL },
	{ "inputs", take_inputs, 0, NULL },
	{ "verbose", NULL, CREWAI_IGNORED, own_trace },
	{ "tracing", NULL, CREWAI_IGNORED, own_trace },
	{ "output_log_file", NULL, CREWAI_IGNORED, own_trace },
	{ "share_crew", NULL, CREWAI_IGNORED, "nothing is sent to anybody" },
	{ "stream", NULL, CREWAI_IGNORED, "answers are always streamed" },
	{ "checkpoint", NULL, CREWAI_IGNORED, "each run can be resumed" },
	{ "cache", NULL, CREWAI_IGNORED, "results of tools are not cached" },
	{ "security_config", NULL, CREWAI_IGNORED, "is CrewAI's own" },
	{ "config", NULL, CREWAI_ATTENTION, "a definition inside a definition is not read" },
	{ "planning_llm", NULL, CREWAI_CHANGED, "plans are made by the first agent's model" },
	{ "chat_llm", NULL, CREWAI_CHANGED, "a chat uses the agents' models" },
	{ "function_calling_llm", NULL, CREWAI_CHANGED, "tools are called by the agents' own models" },
	{ "embedder", NULL, CREWAI_CHANGED, "embeddings come from the agents' LLM providers" },
	{ "knowledge", NULL, CREWAI_ATTENTION, "upload the texts as artifacts and name them in an agent's knowledge" },
	{ "knowledge_sources", NULL, CREWAI_ATTENTION,
	  "upload the texts as artifacts and name them in an agent's knowledge" },
	{ "step_callback", NULL, CREWAI_ATTENTION, runs_code },
	{ "task_callback", NULL, CREWAI_ATTENTION, runs_code },
	{ "before_kickoff_callbacks", NULL, CREWAI_ATTENTION, runs_code },
	{ "after_kickoff_callbacks", NULL, CREWAI_ATTENTION, runs_code },
	{ "prompt_file", NULL, CREWAI_ATTENTION, "prompts are made of role, goal and backstory" },
	{ "skills", NULL, CREWAI_ATTENTION, "connect it as a tool and give that to the agents" },
	{ "tool_failure_policy", NULL, CREWAI_CHANGED, "the model is told of a tool's failure and goes on" },
	{ "trained_agents_file", NULL, CREWAI_ATTENTION, "what was learned by training is not imported" },
	{ NULL, NULL, 0, NULL },
};

static void extra_nothing(struct crewai_reader *reader, const struct crewai_place *place, const struct wl_json *value,
			  void *into)
{
	(void)into;
	if (!wl_json_is(value, WL_JSON_OBJECT))
		crewai_fault(reader, place, "is not a mapping");
}

static void extra_version(struct crewai_reader *reader, const struct crewai_place *place, const struct wl_json *value,
			  void *into)
{
	(void)into;
	if (strcmp(wl_json_string(value, ""), "crew/v1") != 0)
		crewai_fault(reader, place, "is not crew/v1");
}

/* {provider: its name, model} */
static void extra_manager(struct crewai_reader *reader, const struct crewai_place *place, const struct wl_json *value,
			  void *into)
{
	struct crewai_crew *crew = into;
	const char *name = wl_json_get_string(value, "provider", NULL), *model = wl_json_get_string(value, "model", "");
	const struct wl_json *provider = crewai_find_provider(reader->context->directory, name);
	if (!wl_json_is(value, WL_JSON_OBJECT) || strlen(model) >= sizeof(crew->manager_llm.model)) {
		crewai_fault(reader, place, "has to name a provider and may name a model");
		return;
	}
	if (!provider) {
		crewai_note(&reader->notes, place, CREWAI_ATTENTION, "there is no LLM provider '%.80s'",
			    name ? name : "");
		return;
	}
	crew->has_manager_llm = true;
	(void)snprintf(crew->manager_llm.provider_id, sizeof(crew->manager_llm.provider_id), "%s",
		       wl_json_get_string(provider, "id", ""));
	(void)snprintf(crew->manager_llm.model, sizeof(crew->manager_llm.model), "%s", model);
}

static const struct crewai_key extra_keys[] = {
	{ "windlass", extra_version, 0, NULL },	      { "name", take_name, 0, NULL },
	{ "description", take_description, 0, NULL }, { "process", take_process, 0, NULL },
	{ "planning", take_planning, 0, NULL },	      { "memory", take_memory, 0, NULL },
	{ "max_rpm", take_max_rpm, 0, NULL },	      { "manager_agent", take_manager_agent, 0, NULL },
	{ "manager", extra_manager, 0, NULL },	      { "agents", extra_nothing, 0, NULL },
	{ "tasks", extra_nothing, 0, NULL },	      { NULL, NULL, 0, NULL },
};

/* ---- beginning and end ------------------------------------------------------------------------------------------ */

static bool begin_crew(struct crewai_reader *reader, struct crewai_crew *crew, const char *name)
{
	char id[WL_UUID_TEXT];
	const struct crewai_place file = { .file = "windlass.yaml" };
	bool yaml = reader->yaml;
	crew->body = crewai_child(&reader->notes, reader->crews, NULL, false);
	crew->config = crew->body ? crewai_child(&reader->notes, crew->body, "config", false) : NULL;
	if (!crew->config)
		return false;
	reader->context->new_id(reader->context->self, id);
	crewai_set(&reader->notes, crew->body, "id", wl_json_new_string(id));
	crewai_set(&reader->notes, crew->body, "name", wl_json_new_string(name));
	reader->yaml = false;
	if (crew->extra)
		crewai_walk(reader, &file, crew->extra, extra_keys, crew);
	reader->yaml = yaml;
	return true;
}

/* What the import was told goes before what the project says. */
static void apply_choice(struct crewai_reader *reader, struct crewai_crew *crew)
{
	const struct wl_json *choice = reader->context->choice, *llm = wl_json_get(choice, "manager_llm");
	const char *name = wl_json_get_string(choice, "name", NULL);
	const struct crewai_place at = { .key = "manager_llm" };
	if (name)
		crewai_set(&reader->notes, crew->body, "name", wl_json_new_string(name));
	crew->process = wl_json_get_string(choice, "process", crew->process);
	crew->manager_key = wl_json_get_string(choice, "manager_agent", crew->manager_key);
	if (!llm)
		return;
	crewai_find_llm(reader, &at, llm, NULL, &crew->manager_llm);
	crew->has_manager_llm = crew->manager_llm.provider_id[0] != '\0';
}

/* CrewAI makes an agent of its own to lead when there is none; here it is one like others. */
static void make_manager(struct crewai_reader *reader, struct crewai_crew *crew)
{
	static const char definition[] =
		"{\"role\":\"Crew Manager\",\"goal\":\"Have the team finish each task well and on time\","
		"\"backstory\":\"You lead a team, know who is good at what, give each task to the right person and "
		"check "
		"what comes back.\",\"allow_delegation\":true}";
	_wl_json_ struct wl_json *value = NULL;
	if (wl_json_parse(definition, sizeof(definition) - 1, &value, NULL) < 0) {
		reader->notes.no_memory = true;
		return;
	}
	crewai_note(&reader->notes, crew->place, CREWAI_ATTENTION,
		    "a hierarchical crew needs a manager: an agent was made for that; give it an LLM provider");
	add_agent(reader, crew, crew->place, "crew_manager", value);
	crew->manager_key = crew->agent_count ? crew->agents[crew->agent_count - 1].key : NULL;
}

static void put_manager(struct crewai_reader *reader, struct crewai_crew *crew)
{
	struct crewai_agent *manager = crew->manager_key ? crewai_crew_agent(crew, crew->manager_key) : NULL;
	const struct crewai_place at = { .parent = crew->place, .key = "manager_agent" };
	if (crew->manager_key && !manager) {
		crewai_fault(reader, &at, "there is no agent '%.80s'", crew->manager_key);
	} else if (manager) {
		crewai_set(&reader->notes, crew->config, "manager_agent_id",
			   wl_json_new_string(wl_json_get_string(manager->body, "id", "")));
	} else if (crew->has_manager_llm) {
		struct wl_json *llm = crewai_child(&reader->notes, crew->config, "manager_llm", false);
		crewai_set(&reader->notes, llm, "llm_provider_id", wl_json_new_string(crew->manager_llm.provider_id));
		if (crew->manager_llm.model[0])
			crewai_set(&reader->notes, llm, "model", wl_json_new_string(crew->manager_llm.model));
	}
}

static void check_task_agents(struct crewai_reader *reader, struct crewai_crew *crew, const struct crewai_place *tasks)
{
	const char *manager = wl_json_get_string(crew->config, "manager_agent_id", "");
	bool sequential = strcmp(crew->process, "sequential") == 0;
	for (const struct wl_json *one = wl_json_first(wl_json_get(crew->config, "tasks")); one;
	     one = wl_json_next(one)) {
		const struct crewai_place task = { .parent = tasks, .key = wl_json_get_string(one, "name", "") },
					  at = { .parent = &task, .key = "agent" };
		const char *agent = wl_json_get_string(one, "agent_id", NULL);
		if (!agent && sequential)
			crewai_fault(reader, &at,
				     "is missing: in a sequential crew each task says which agent does it");
		else if (agent && strcmp(agent, manager) == 0)
			crewai_fault(reader, &at, "is the manager, who has no tasks of his own");
	}
}

static void end_crew(struct crewai_reader *reader, struct crewai_crew *crew, const struct crewai_place *tasks,
		     int attention)
{
	bool hierarchical = crew->process && strcmp(crew->process, "hierarchical") == 0;
	if (!crew->process)
		crew->process = "sequential";
	if (hierarchical && !crew->manager_key && !crew->has_manager_llm)
		make_manager(reader, crew);
	put_manager(reader, crew);
	check_task_agents(reader, crew, tasks);
	crewai_set(&reader->notes, crew->body, "collaboration_pattern", wl_json_new_string(crew->process));
	struct wl_json *ids = crewai_child(&reader->notes, crew->body, "agent_ids", true);
	const char *manager = wl_json_get_string(crew->config, "manager_agent_id", "");
	for (int i = 0; i < crew->agent_count && ids; i++) {
		const char *id = wl_json_get_string(crew->agents[i].body, "id", "");
		if (strcmp(id, manager) != 0)
			crewai_append(&reader->notes, ids, wl_json_new_string(id));
	}
	if (wl_json_count(ids) == 0)
		crewai_fault(reader, crew->place, "the crew has no agent that works");
	crewai_set(&reader->notes, crew->body, "state",
		   wl_json_new_string(reader->notes.attention > attention ? "draft" : "active"));
}

/* ---- agents.yaml and tasks.yaml --------------------------------------------------------------------------------- */

static void read_agents_map(struct crewai_reader *reader, struct crewai_crew *crew, const struct crewai_place *place,
			    const struct wl_json *agents)
{
	size_t count = wl_json_count(agents);
	if (!wl_json_is(agents, WL_JSON_OBJECT) || count < 1 || count > WL_CREWAI_AGENTS_MAX) {
		crewai_fault(reader, place, "is no mapping of 1 to %d agents", WL_CREWAI_AGENTS_MAX);
		return;
	}
	for (const struct wl_json *one = wl_json_first(agents); one; one = wl_json_next(one)) {
		const struct crewai_place at = { .parent = place, .key = wl_json_key(one) };
		add_agent(reader, crew, &at, wl_json_key(one), one);
	}
}

void crewai_read_yaml_crew(struct crewai_reader *reader, const char *agents_file, const char *tasks_file,
			   const struct wl_json *extra)
{
	const struct crewai_place agents_at = { .file = agents_file }, tasks_at = { .file = tasks_file };
	int attention = reader->notes.attention;
	_wl_json_ struct wl_json *agents = crewai_parse_file(reader, agents_file);
	_wl_json_ struct wl_json *tasks = crewai_parse_file(reader, tasks_file);
	struct crewai_crew *crew = agents && tasks ? calloc(1, sizeof(*crew)) : NULL;
	reader->notes.no_memory |= agents && tasks && !crew;
	if (!crew)
		return;
	reader->yaml = true;
	crew->place = &tasks_at;
	crew->extra = extra;
	if (begin_crew(reader, crew, "crew")) {
		read_agents_map(reader, crew, &agents_at, agents);
		apply_choice(reader, crew);
		if (!crew->process)
			crewai_note(&reader->notes, &tasks_at, CREWAI_ATTENTION,
				    "the process stands in crew.py, which is not read: sequential is taken");
		if (!extra && !wl_json_get(reader->context->choice, "order"))
			crewai_note(
				&reader->notes, &tasks_at, CREWAI_CHANGED,
				"the tasks' order stands in crew.py, which is not read: that of this file is taken");
		if (reader->faults->count == 0)
			crewai_read_tasks(reader, crew, &tasks_at, tasks);
		if (reader->faults->count == 0)
			end_crew(reader, crew, &tasks_at, attention);
	}
	free(crew);
}

/* ---- crew.jsonc ------------------------------------------------------------------------------------------------- */

/* The agent's file beside the crew's; "" when there is none. */
static void agent_file(const struct crewai_reader *reader, const char *crew_file, const char *name,
		       char path[WL_CREWAI_PATH_MAX + 1])
{
	static const char *const endings[] = { "jsonc", "json" };
	const char *slash = strrchr(crew_file, '/');
	for (size_t i = 0; i < WL_COUNT_OF(endings); i++) {
		int length = snprintf(path, WL_CREWAI_PATH_MAX + 1, "%.*sagents/%s.%s",
				      slash ? (int)(slash - crew_file + 1) : 0, crew_file, name, endings[i]);
		if (length <= WL_CREWAI_PATH_MAX && wl_json_get(reader->files, path))
			return;
	}
	path[0] = '\0';
}

static void read_agent_file(struct crewai_reader *reader, struct crewai_crew *crew, const struct crewai_place *place,
			    const char *name, struct wl_json *documents)
{
	char path[WL_CREWAI_PATH_MAX + 1];
	if (!name || !*name) {
		crewai_fault(reader, place, "is not the name of an agent");
		return;
	}
	if (crewai_crew_agent(crew, name)) {
		crewai_note(&reader->notes, place, CREWAI_IGNORED, "names the agent '%.80s' once more", name);
		return;
	}
	agent_file(reader, place->parent ? crewai_place_file(place) : "", name, path);
	const struct wl_json *text = *path ? wl_json_get(reader->files, path) : NULL;
	if (!text) {
		crewai_fault(reader, place, "there is no file agents/%.80s.jsonc", name);
		return;
	}
	const struct crewai_place at = { .file = wl_json_key(text) };
	struct wl_json *document = crewai_parse_file(reader, wl_json_key(text));
	if (!document)
		return;
	crewai_append(&reader->notes, documents, document); /* kept as long as the crew is read */
	add_agent(reader, crew, &at, name, document);
}

static void read_agent_files(struct crewai_reader *reader, struct crewai_crew *crew, struct wl_json *documents)
{
	struct crewai_place list = { .parent = crew->place, .key = "agents" }, at = { .parent = &list };
	const struct crewai_place manager = { .parent = crew->place, .key = "manager_agent" };
	size_t count = wl_json_count(crew->agent_refs);
	if (!wl_json_is(crew->agent_refs, WL_JSON_ARRAY) || count < 1 || count > WL_CREWAI_AGENTS_MAX) {
		crewai_fault(reader, &list, "is no list of 1 to %d names of agents", WL_CREWAI_AGENTS_MAX);
		return;
	}
	for (const struct wl_json *one = wl_json_first(crew->agent_refs); one; one = wl_json_next(one), at.index++)
		read_agent_file(reader, crew, &at, wl_json_string(one, NULL), documents);
	if (crew->manager_key && !crewai_crew_agent(crew, crew->manager_key))
		read_agent_file(reader, crew, &manager, crew->manager_key, documents);
}

static void read_jsonc_parts(struct crewai_reader *reader, struct crewai_crew *crew, const struct wl_json *document,
			     struct wl_json *documents, int attention)
{
	const struct crewai_place tasks_at = { .parent = crew->place, .key = "tasks" },
				  inputs_at = { .parent = crew->place, .key = "inputs" };
	if (!begin_crew(reader, crew, "crew") || !crewai_walk(reader, crew->place, document, crew_keys, crew))
		return;
	if (wl_json_get_string(crew->extra, "name", NULL)) /* crew.jsonc may have a shorter one */
		crewai_set(&reader->notes, crew->body, "name", wl_json_copy(wl_json_get(crew->extra, "name")));
	apply_choice(reader, crew);
	if (wl_json_count(crew->inputs))
		crewai_note(&reader->notes, &inputs_at, CREWAI_CHANGED,
			    "crews have no inputs of their own: give them to each run");
	read_agent_files(reader, crew, documents);
	if (reader->faults->count == 0)
		crewai_read_tasks(reader, crew, &tasks_at, crew->tasks);
	if (reader->faults->count == 0)
		end_crew(reader, crew, &tasks_at, attention);
}

void crewai_read_jsonc_crew(struct crewai_reader *reader, const char *crew_file, const struct wl_json *extra)
{
	const struct crewai_place at = { .file = crew_file };
	int attention = reader->notes.attention;
	_wl_json_ struct wl_json *document = crewai_parse_file(reader, crew_file);
	_wl_json_ struct wl_json *documents = wl_json_array();
	struct crewai_crew *crew = document && documents ? calloc(1, sizeof(*crew)) : NULL;
	reader->notes.no_memory |= document && !crew;
	if (!crew)
		return;
	crew->place = &at;
	crew->extra = extra;
	read_jsonc_parts(reader, crew, document, documents, attention);
	free(crew);
}

/* ---- inside a flow ---------------------------------------------------------------------------------------------- */

/* Agents by name, or a list whose items have a name or are a mapping of one. */
static void read_inline_agents(struct crewai_reader *reader, struct crewai_crew *crew, const struct crewai_place *place)
{
	if (!wl_json_is(crew->agent_refs, WL_JSON_ARRAY)) {
		read_agents_map(reader, crew, place, crew->agent_refs);
		return;
	}
	struct crewai_place at = { .parent = place };
	for (const struct wl_json *one = wl_json_first(crew->agent_refs); one; one = wl_json_next(one), at.index++) {
		const struct wl_json *name = wl_json_get(one, "name"), *only = wl_json_first(one);
		if (wl_json_is(name, WL_JSON_STRING)) {
			_wl_json_ struct wl_json *rest = wl_json_object();
			for (; only; only = wl_json_next(only))
				if (only != name)
					crewai_set(&reader->notes, rest, wl_json_key(only), wl_json_copy(only));
			add_agent(reader, crew, &at, wl_json_string(name, ""), rest);
		} else if (wl_json_is(one, WL_JSON_OBJECT) && wl_json_count(one) == 1) {
			add_agent(reader, crew, &at, wl_json_key(only), only);
		} else {
			crewai_fault(reader, &at, "is no agent with a name");
		}
	}
}

struct wl_json *crewai_read_inline_crew(struct crewai_reader *reader, const struct crewai_place *place,
					const char *name, const struct wl_json *value,
					const struct wl_json **ret_inputs)
{
	const struct crewai_place agents_at = { .parent = place, .key = "agents" },
				  tasks_at = { .parent = place, .key = "tasks" };
	int attention = reader->notes.attention, faults = reader->faults->count;
	struct crewai_crew *crew = calloc(1, sizeof(*crew));
	reader->notes.no_memory |= !crew;
	if (!crew)
		return NULL;
	crew->place = place;
	if (begin_crew(reader, crew, name) && crewai_walk(reader, place, value, crew_keys, crew)) {
		read_inline_agents(reader, crew, &agents_at);
		if (reader->faults->count == faults)
			crewai_read_tasks(reader, crew, &tasks_at, crew->tasks);
		if (reader->faults->count == faults)
			end_crew(reader, crew, &tasks_at, attention);
	}
	struct wl_json *body = crew->body;
	*ret_inputs = crew->inputs;
	free(crew);
	return reader->faults->count == faults ? body : NULL;
}
