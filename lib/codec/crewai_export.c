/*
 * A crew as the files of a CrewAI project. CrewAI's own files hold only what CrewAI reads without a complaint, so that
 * it can load them; what it has no place for stands in windlass.yaml, with a finding.
 */
#include "lib/codec/crewai_export.h"
#include "lib/base/cleanup.h"
#include "lib/codec/flow_export.h"
#include "lib/codec/yaml.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- names ------------------------------------------------------------------------------------------------------ */

static bool is_taken(const struct crewai_named *all, int count, const char *key)
{
	for (int i = 0; i < count; i++)
		if (strcmp(all[i].key, key) == 0)
			return true;
	return false;
}

/* Words that a Python program cannot have as the name of a method, and the method that makes the crew. */
static bool is_reserved(const char *key)
{
	static const char *const words[] = { "False",  "None",	 "True",    "and",	"as",	    "assert", "async",
					     "await",  "break",	 "class",   "continue", "def",	    "del",    "elif",
					     "else",   "except", "finally", "for",	"from",	    "global", "if",
					     "import", "in",	 "is",	    "lambda",	"nonlocal", "not",    "or",
					     "pass",   "raise",	 "return",  "try",	"while",    "with",   "yield",
					     "crew",   "agents", "tasks" };
	for (size_t i = 0; i < WL_COUNT_OF(words); i++)
		if (strcmp(words[i], key) == 0)
			return true;
	return false;
}

/* A key for a name that no other has, neither among `all` nor among `others`. */
static void make_key(const char *name, const struct crewai_named *all, int count, const struct crewai_named *others,
		     int other_count, char key[80])
{
	char slug[64];
	crewai_slug(name, slug);
	(void)snprintf(key, 80, "%s%s", slug, is_reserved(slug) ? "_" : "");
	for (int n = 2; is_taken(all, count, key) || is_taken(others, other_count, key); n++)
		(void)snprintf(key, 80, "%s_%d", slug, n);
}

static const struct crewai_named *agent_of(const struct crewai_writer *writer, const char *id)
{
	for (int i = 0; i < writer->agent_count; i++)
		if (id && strcmp(wl_json_get_string(writer->agents[i].value, "id", ""), id) == 0)
			return &writer->agents[i];
	return NULL;
}

const struct wl_json *crewai_by_id(const struct wl_json *list, const char *id)
{
	for (const struct wl_json *one = wl_json_first(list); one; one = wl_json_next(one))
		if (strcmp(wl_json_get_string(one, "id", ""), id) == 0)
			return one;
	return NULL;
}

/* ---- small members ---------------------------------------------------------------------------------------------- */

static void copy_member(struct crewai_writer *writer, const struct wl_json *from, const char *member,
			struct wl_json *into)
{
	const struct wl_json *value = wl_json_get(from, member);
	if (value && !wl_json_is(value, WL_JSON_NULL))
		crewai_set(&writer->notes, into, member, wl_json_copy(value));
}

/* What CrewAI has no place for: into windlass.yaml, with a finding. `file`, `key`: where CrewAI's own part stands. */
static void keep_extra(struct crewai_writer *writer, const struct wl_json *from, const char *member,
		       struct wl_json *extra, const struct crewai_place *place)
{
	const struct crewai_place at = { .parent = place, .key = member };
	const struct wl_json *value = wl_json_get(from, member);
	bool empty = !value || wl_json_is(value, WL_JSON_NULL) ||
		     (wl_json_is(value, WL_JSON_STRING) && !*wl_json_string(value, "")) ||
		     (wl_json_is(value, WL_JSON_ARRAY) && wl_json_count(value) == 0);
	if (empty)
		return;
	crewai_set(&writer->notes, extra, member, wl_json_copy(value));
	crewai_note(&writer->notes, &at, writer->in_flow ? CREWAI_ATTENTION : CREWAI_CHANGED,
		    "CrewAI has no place for it%s", writer->in_flow ? "" : ": it stands in windlass.yaml");
}

/* ---- models ----------------------------------------------------------------------------------------------------- */

/* provider/model as CrewAI writes it; "" when it has no word for it. */
static void llm_text(const struct crewai_writer *writer, const char *provider_id, const char *model, char text[256])
{
	const struct wl_json *provider =
		provider_id ? crewai_by_id(wl_json_get(writer->bundle, "providers"), provider_id) : NULL;
	const char *type = wl_json_get_string(provider, "provider_type", "");
	const char *word = strcmp(type, "demo") == 0 ? NULL : crewai_provider_word(type);
	text[0] = '\0';
	if (word && model && *model)
		(void)snprintf(text, 256, "%s/%s", word, model);
}

static void put_llm(struct crewai_writer *writer, const struct wl_json *agent, struct wl_json *made,
		    struct wl_json *extra, const struct crewai_place *place)
{
	const struct crewai_place at = { .parent = place, .key = "llm" };
	const char *id = wl_json_get_string(agent, "llm_provider_id", NULL);
	const char *model = wl_json_get_string(wl_json_get(agent, "config"), "model", NULL);
	const struct wl_json *provider = id ? crewai_by_id(wl_json_get(writer->bundle, "providers"), id) : NULL;
	char text[256];
	llm_text(writer, id, model, text);
	if (*text)
		crewai_set(&writer->notes, made, "llm", wl_json_new_string(text));
	if (provider)
		crewai_set(&writer->notes, extra, "provider",
			   wl_json_new_string(wl_json_get_string(provider, "name", "")));
	if (!*text && model)
		crewai_set(&writer->notes, extra, "model", wl_json_new_string(model));
	if (!*text && (id || model))
		crewai_note(&writer->notes, &at, CREWAI_ATTENTION,
			    "CrewAI has no name for this model: it takes its environment's%s",
			    writer->in_flow ? "" : "; windlass.yaml has it");
}

/* ---- agents ----------------------------------------------------------------------------------------------------- */

/* A member that CrewAI cannot do without. */
static void put_needed(struct crewai_writer *writer, const struct wl_json *config, const char *member,
		       const char *otherwise, struct wl_json *made, struct wl_json *extra)
{
	if (wl_json_get(config, member)) {
		copy_member(writer, config, member, made);
		return;
	}
	struct wl_json *added = (struct wl_json *)wl_json_get(extra, "added"); /* ours */
	if (!added)
		added = crewai_child(&writer->notes, extra, "added", true);
	crewai_set(&writer->notes, made, member, wl_json_new_string(otherwise));
	crewai_append(&writer->notes, added, wl_json_new_string(member));
}

static void put_tools(struct crewai_writer *writer, const struct wl_json *config, struct wl_json *extra,
		      const struct crewai_place *place)
{
	const struct wl_json *ids = wl_json_get(config, "tools");
	const struct crewai_place list = { .parent = place, .key = "tools" };
	struct crewai_place at = { .parent = &list };
	struct wl_json *names = wl_json_count(ids) ? crewai_child(&writer->notes, extra, "tools", true) : NULL;
	for (const struct wl_json *one = wl_json_first(ids); one; one = wl_json_next(one), at.index++) {
		const struct wl_json *tool =
			crewai_by_id(wl_json_get(writer->bundle, "tools"), wl_json_string(one, ""));
		const char *name = wl_json_get_string(tool, "name", NULL);
		if (!name) {
			crewai_note(&writer->notes, &at, CREWAI_ATTENTION, "the tool is not there any more");
			continue;
		}
		crewai_append(&writer->notes, names, wl_json_new_string(name));
		crewai_note(&writer->notes, &at, CREWAI_ATTENTION, "give CrewAI a tool for '%.80s'%s", name,
			    writer->in_flow ? "" : "; it is named in windlass.yaml alone");
	}
}

struct wl_json *crewai_make_agent(struct crewai_writer *writer, const struct crewai_named *agent,
				  const struct crewai_place *place)
{
	static const char *const plain[] = { "max_iter",	 "max_rpm",    "max_execution_time",
					     "allow_delegation", "max_tokens", "memory" };
	const struct wl_json *config = wl_json_get(agent->value, "config");
	const char *name = wl_json_get_string(agent->value, "name", "");
	struct wl_json *made = wl_json_object();
	struct wl_json *extra = crewai_child(&writer->notes, writer->extra_agents, agent->key, false);
	if (!made || !extra)
		return made;
	if (strcmp(name, agent->key) != 0)
		crewai_set(&writer->notes, extra, "name", wl_json_new_string(name));
	put_needed(writer, config, "role", name, made, extra);
	put_needed(writer, config, "goal", "Do the task", made, extra);
	put_needed(writer, config, "backstory", "", made, extra);
	put_llm(writer, agent->value, made, extra, place);
	for (size_t i = 0; i < WL_COUNT_OF(plain); i++)
		copy_member(writer, config, plain[i], made);
	keep_extra(writer, agent->value, "description", extra, place);
	keep_extra(writer, agent->value, "system_prompt", extra, place);
	keep_extra(writer, config, "temperature", extra, place);
	put_tools(writer, config, extra, place);
	keep_extra(writer, config, "knowledge", extra, place);
	return made;
}

/* ---- tasks ------------------------------------------------------------------------------------------------------ */

static const char *task_key(const struct crewai_writer *writer, const char *name)
{
	for (int i = 0; i < writer->task_count; i++)
		if (strcmp(wl_json_get_string(writer->tasks[i].value, "name", ""), name) == 0)
			return writer->tasks[i].key;
	return name;
}

struct wl_json *crewai_make_task(struct crewai_writer *writer, const struct crewai_named *task,
				 const struct crewai_place *place)
{
	static const char *const plain[] = { "guardrail", "human_input", "async_execution" };
	const struct crewai_named *agent = agent_of(writer, wl_json_get_string(task->value, "agent_id", NULL));
	const struct wl_json *context = wl_json_get(task->value, "context");
	const char *name = wl_json_get_string(task->value, "name", "");
	struct wl_json *made = wl_json_object(), *extra = wl_json_object();
	if (made && writer->jsonc)
		crewai_set(&writer->notes, made, "name", wl_json_new_string(task->key));
	copy_member(writer, task->value, "description", made);
	copy_member(writer, task->value, "expected_output", made);
	if (agent)
		crewai_set(&writer->notes, made, "agent", wl_json_new_string(agent->key));
	if (context) {
		struct wl_json *keys = crewai_child(&writer->notes, made, "context", true);
		for (const struct wl_json *one = wl_json_first(context); one && keys; one = wl_json_next(one))
			crewai_append(&writer->notes, keys,
				      wl_json_new_string(task_key(writer, wl_json_string(one, ""))));
	}
	for (size_t i = 0; i < WL_COUNT_OF(plain); i++)
		copy_member(writer, task->value, plain[i], made);
	if (strcmp(name, task->key) != 0)
		crewai_set(&writer->notes, extra, "name", wl_json_new_string(name));
	keep_extra(writer, task->value, "schema", extra, place);
	keep_extra(writer, task->value, "condition", extra, place);
	if (wl_json_count(extra))
		crewai_set(&writer->notes, writer->extra_tasks, task->key, extra);
	else
		wl_json_free(extra);
	return made;
}

/* ---- the crew itself -------------------------------------------------------------------------------------------- */

/* planning, memory, max_rpm and who leads: into crew.jsonc, or into windlass.yaml for crew.py has them. */
void crewai_put_crew_members(struct crewai_writer *writer, struct wl_json *into)
{
	static const char *const plain[] = { "planning", "memory", "max_rpm" };
	const struct crewai_named *manager =
		agent_of(writer, wl_json_get_string(writer->config, "manager_agent_id", NULL));
	for (size_t i = 0; i < WL_COUNT_OF(plain); i++)
		copy_member(writer, writer->config, plain[i], into);
	if (manager)
		crewai_set(&writer->notes, into, "manager_agent", wl_json_new_string(manager->key));
}

/* The model of who leads as CrewAI writes it; "" for none. windlass.yaml gets it exactly. */
void crewai_put_manager_llm(struct crewai_writer *writer, const struct crewai_place *place, char text[256])
{
	const struct wl_json *llm = wl_json_get(writer->config, "manager_llm");
	const struct crewai_place at = { .parent = place, .key = "manager_llm" };
	const char *id = wl_json_get_string(llm, "llm_provider_id", ""),
		   *model = wl_json_get_string(llm, "model", NULL);
	const struct wl_json *provider = crewai_by_id(wl_json_get(writer->bundle, "providers"), id);
	text[0] = '\0';
	if (!llm)
		return;
	llm_text(writer, id, model ? model : wl_json_get_string(provider, "default_model", NULL), text);
	if (!*text) {
		crewai_note(&writer->notes, &at, CREWAI_ATTENTION,
			    "CrewAI has no name for this model: choose one for it%s",
			    writer->in_flow ? "" : "; windlass.yaml has ours");
		(void)snprintf(text, 256, "openai/gpt-4.1-mini");
	}
	struct wl_json *extra = crewai_child(&writer->notes, writer->extra, "manager", false);
	crewai_set(&writer->notes, extra, "provider", wl_json_new_string(wl_json_get_string(provider, "name", "")));
	if (model)
		crewai_set(&writer->notes, extra, "model", wl_json_new_string(model));
}

void crewai_write_file(struct crewai_writer *writer, const char *path, struct wl_buffer *text)
{
	if (text->failed || !text->data)
		writer->notes.no_memory = true;
	else
		crewai_set(&writer->notes, writer->files, path, wl_json_new_string(text->data));
}

void crewai_write_yaml(struct crewai_writer *writer, const char *path, const struct wl_json *value)
{
	_wl_buffer_ struct wl_buffer text = { 0 };
	(void)wl_yaml_write(&text, value);
	crewai_write_file(writer, path, &text);
}

static void add_json(struct crewai_writer *writer, const char *path, const struct wl_json *value)
{
	_wl_buffer_ struct wl_buffer text = { 0 };
	wl_json_write_lines(&text, value);
	crewai_write_file(writer, path, &text);
}

/* ---- as YAML ---------------------------------------------------------------------------------------------------- */

static void write_program(struct crewai_writer *writer, const char *llm)
{
	_wl_buffer_ struct wl_buffer out = { 0 };
	const struct crewai_named *manager =
		agent_of(writer, wl_json_get_string(writer->config, "manager_agent_id", NULL));
	bool hierarchical = strcmp(wl_json_get_string(writer->crew, "collaboration_pattern", ""), "hierarchical") == 0;
	double max_rpm = wl_json_get_number(writer->config, "max_rpm", 0);
	wl_buffer_append_text(&out, "from crewai import Agent, Crew, Process, Task\n"
				    "from crewai.project import CrewBase, agent, crew, task\n\n\n"
				    "@CrewBase\nclass ExportedCrew:\n"
				    "    agents_config = \"config/agents.yaml\"\n"
				    "    tasks_config = \"config/tasks.yaml\"\n");
	for (int i = 0; i < writer->agent_count; i++) /* who leads is none of the crew's agents */
		wl_buffer_appendf(
			&out,
			"\n%s    def %s(self) -> Agent:\n        return Agent(config=self.agents_config[\"%s\"])\n",
			&writer->agents[i] == manager ? "" : "    @agent\n", writer->agents[i].key,
			writer->agents[i].key);
	for (int i = 0; i < writer->task_count; i++)
		wl_buffer_appendf(&out,
				  "\n    @task\n    def %s(self) -> Task:\n        return "
				  "Task(config=self.tasks_config[\"%s\"])\n",
				  writer->tasks[i].key, writer->tasks[i].key);
	wl_buffer_appendf(
		&out,
		"\n    @crew\n    def crew(self) -> Crew:\n        return Crew(\n"
		"            agents=self.agents,\n            tasks=self.tasks,\n            process=Process.%s,\n",
		hierarchical ? "hierarchical" : "sequential");
	if (manager)
		wl_buffer_appendf(&out, "            manager_agent=self.%s(),\n", manager->key);
	if (*llm) {
		wl_buffer_append_text(&out, "            manager_llm=");
		wl_buffer_append_json_string(&out, llm, strlen(llm));
		wl_buffer_append_text(&out, ",\n");
	}
	if (wl_json_get_bool(writer->config, "planning", false))
		wl_buffer_append_text(&out, "            planning=True,\n");
	if (wl_json_get_bool(writer->config, "memory", false))
		wl_buffer_append_text(&out, "            memory=True,\n");
	if (max_rpm > 0)
		wl_buffer_appendf(&out, "            max_rpm=%.0f,\n", max_rpm);
	wl_buffer_append_text(&out, "        )\n");
	crewai_write_file(writer, "crew.py", &out);
}

void crewai_put_process(struct crewai_writer *writer, struct wl_json *into)
{
	crewai_set(&writer->notes, into, "process",
		   wl_json_new_string(wl_json_get_string(writer->crew, "collaboration_pattern", "sequential")));
}

static void write_yaml(struct crewai_writer *writer)
{
	const struct crewai_place agents_at = { .file = "config/agents.yaml" },
				  tasks_at = { .file = "config/tasks.yaml" };
	char llm[256];
	_wl_json_ struct wl_json *agents = wl_json_object(), *tasks = wl_json_object();
	for (int i = 0; i < writer->agent_count; i++) {
		const struct crewai_place at = { .parent = &agents_at, .key = writer->agents[i].key };
		crewai_set(&writer->notes, agents, at.key, crewai_make_agent(writer, &writer->agents[i], &at));
	}
	for (int i = 0; i < writer->task_count; i++) {
		const struct crewai_place at = { .parent = &tasks_at, .key = writer->tasks[i].key };
		crewai_set(&writer->notes, tasks, at.key, crewai_make_task(writer, &writer->tasks[i], &at));
	}
	crewai_put_process(writer, writer->extra);
	crewai_put_crew_members(writer, writer->extra);
	crewai_put_manager_llm(writer, &tasks_at, llm);
	crewai_write_yaml(writer, "config/agents.yaml", agents);
	crewai_write_yaml(writer, "config/tasks.yaml", tasks);
	write_program(writer, llm);
}

/* ---- as JSONC --------------------------------------------------------------------------------------------------- */

static void write_agent_files(struct crewai_writer *writer, struct wl_json *names)
{
	for (int i = 0; i < writer->agent_count; i++) {
		char path[96];
		(void)snprintf(path, sizeof(path), "agents/%s.jsonc", writer->agents[i].key);
		const struct crewai_place at = { .file = path };
		_wl_json_ struct wl_json *made = crewai_make_agent(writer, &writer->agents[i], &at);
		const char *id = wl_json_get_string(writer->agents[i].value, "id", "");
		add_json(writer, path, made);
		if (strcmp(id, wl_json_get_string(writer->config, "manager_agent_id", "")) != 0)
			crewai_append(&writer->notes, names, wl_json_new_string(writer->agents[i].key));
	}
}

static void write_jsonc(struct crewai_writer *writer)
{
	const struct crewai_place crew_at = { .file = "crew.jsonc" }, tasks_at = { .parent = &crew_at, .key = "tasks" };
	char llm[256];
	_wl_json_ struct wl_json *crew = wl_json_object();
	crewai_set(&writer->notes, crew, "name", wl_json_copy(wl_json_get(writer->crew, "name")));
	write_agent_files(writer, crewai_child(&writer->notes, crew, "agents", true));
	struct wl_json *tasks = crewai_child(&writer->notes, crew, "tasks", true);
	for (int i = 0; i < writer->task_count; i++) {
		const struct crewai_place at = { .parent = &tasks_at, .index = i };
		crewai_append(&writer->notes, tasks, crewai_make_task(writer, &writer->tasks[i], &at));
	}
	crewai_put_process(writer, crew);
	crewai_put_crew_members(writer, crew);
	crewai_put_manager_llm(writer, &crew_at, llm);
	if (*llm)
		crewai_set(&writer->notes, crew, "manager_llm", wl_json_new_string(llm));
	add_json(writer, "crew.jsonc", crew);
}

/* ---- the whole -------------------------------------------------------------------------------------------------- */

/* Agents in the crew's order, who leads behind them; tasks in theirs. */
void crewai_name_all(struct crewai_writer *writer)
{
	const struct wl_json *agents = wl_json_get(writer->bundle, "agents");
	const struct wl_json *manager = wl_json_get(writer->config, "manager_agent_id");
	const struct wl_json *one = wl_json_first(wl_json_get(writer->crew, "agent_ids"));
	while ((one || manager) && writer->agent_count <= WL_CREWAI_AGENTS_MAX) {
		struct crewai_named *next = &writer->agents[writer->agent_count];
		next->value = crewai_by_id(agents, wl_json_string(one ? one : manager, ""));
		if (!one)
			manager = NULL;
		one = one ? wl_json_next(one) : NULL;
		if (!next->value)
			continue;
		make_key(wl_json_get_string(next->value, "name", ""), writer->agents, writer->agent_count, NULL, 0,
			 next->key);
		writer->agent_count++;
	}
	one = wl_json_first(wl_json_get(writer->config, "tasks"));
	for (; one && writer->task_count < WL_CREWAI_TASKS_MAX; one = wl_json_next(one)) {
		struct crewai_named *next = &writer->tasks[writer->task_count];
		next->value = one;
		make_key(wl_json_get_string(one, "name", ""), writer->tasks, writer->task_count, writer->agents,
			 writer->agent_count, next->key);
		writer->task_count++;
	}
}

static void write_extra(struct crewai_writer *writer)
{
	const struct crewai_place at = { .file = "windlass.yaml" };
	crewai_set(&writer->notes, writer->extra, "windlass", wl_json_new_string("crew/v1"));
	crewai_set(&writer->notes, writer->extra, "name", wl_json_copy(wl_json_get(writer->crew, "name")));
	keep_extra(writer, writer->crew, "description", writer->extra, &at);
}

static int end_export(struct crewai_writer *writer, struct wl_json **ret_export, struct wl_error *err)
{
	_wl_json_ struct wl_json *made = wl_json_object();
	crewai_end_notes(&writer->notes);
	crewai_set(&writer->notes, writer->extra, "agents", wl_steal(writer->extra_agents));
	crewai_set(&writer->notes, writer->extra, "tasks", wl_steal(writer->extra_tasks));
	crewai_write_yaml(writer, "windlass.yaml", writer->extra);
	wl_json_free(wl_steal(writer->extra));
	crewai_set(&writer->notes, made, "files", wl_steal(writer->files));
	crewai_set(&writer->notes, made, "findings", wl_steal(writer->notes.findings));
	if (writer->notes.no_memory)
		return wl_fail(err, ENOMEM, "no memory to write a crew");
	*ret_export = wl_steal(made);
	return 0;
}

int wl_crewai_export_crew(const struct wl_json *bundle, enum wl_crewai_format format, struct wl_json **ret_export,
			  struct wl_error *err)
{
	struct crewai_writer *writer = calloc(1, sizeof(*writer));
	if (!writer)
		return wl_fail(err, ENOMEM, "no memory to write a crew");
	writer->bundle = bundle;
	writer->crew = wl_json_get(bundle, "crew");
	writer->config = wl_json_get(writer->crew, "config");
	writer->jsonc = format == WL_CREWAI_JSONC;
	writer->files = wl_json_object();
	writer->extra = wl_json_object();
	writer->extra_agents = wl_json_object();
	writer->extra_tasks = wl_json_object();
	writer->notes.findings = wl_json_array();
	crewai_name_all(writer);
	write_extra(writer);
	if (writer->jsonc)
		write_jsonc(writer);
	else
		write_yaml(writer);
	int rc = end_export(writer, ret_export, err);
	free(writer);
	return rc;
}
