/* A crew's definition out of the store's JSON. The rules are CrewAI's; each fault names its place in the document. */
#include "lib/base/cleanup.h"
#include "lib/crew/crew.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define TEXT_MAX 100000u /* bytes of any text */
#define LIST_MAX 100u

static int fault(struct wl_error *err, const char *path, const char *key, const char *sentence)
{
	return wl_fail(err, EINVAL, "%s.%s %s", path, key, sentence);
}

static bool absent(const struct wl_json *json)
{
	return !json || wl_json_is(json, WL_JSON_NULL);
}

static int no_memory(struct wl_error *err)
{
	return wl_fail(err, ENOMEM, "no memory for a crew");
}

/* A text member; `needed` ones are not empty, others are "" when they are absent. */
static int take_text(const struct wl_json *object, const char *path, const char *key, bool needed, char **ret_text,
		     struct wl_error *err)
{
	const struct wl_json *member = wl_json_get(object, key);
	const char *text = absent(member) ? "" : wl_json_string(member, NULL);
	if (!text)
		return fault(err, path, key, "has to be text");
	if (needed && !*text)
		return fault(err, path, key, "is missing");
	if (strlen(text) > TEXT_MAX)
		return fault(err, path, key, "is too long");
	*ret_text = strdup(text);
	return *ret_text ? 0 : no_memory(err);
}

/* The same, NULL when it is absent. */
static int take_optional(const struct wl_json *object, const char *path, const char *key, char **ret_text,
			 struct wl_error *err)
{
	return absent(wl_json_get(object, key)) ? 0 : take_text(object, path, key, true, ret_text, err);
}

static int take_int(const struct wl_json *object, const char *path, const char *key, int max, int *ret_number,
		    struct wl_error *err)
{
	const struct wl_json *member = wl_json_get(object, key);
	if (absent(member))
		return 0;
	double number = wl_json_number(member, NAN);
	if (!(number >= 1 && number <= max) || number != floor(number))
		return wl_fail(err, EINVAL, "%s.%s has to be a whole number from 1 to %d", path, key, max);
	*ret_number = (int)number;
	return 0;
}

static int take_bool(const struct wl_json *object, const char *path, const char *key, bool *ret_value,
		     struct wl_error *err)
{
	const struct wl_json *member = wl_json_get(object, key);
	if (!absent(member) && !wl_json_is(member, WL_JSON_BOOL))
		return fault(err, path, key, "has to be true or false");
	*ret_value = wl_json_bool(member, false);
	return 0;
}

static int take_list(const struct wl_json *object, const char *path, const char *key, char ***ret_texts,
		     size_t *ret_count, struct wl_error *err)
{
	const struct wl_json *list = wl_json_get(object, key);
	if (absent(list))
		return 0;
	if (!wl_json_is(list, WL_JSON_ARRAY) || wl_json_count(list) > LIST_MAX)
		return fault(err, path, key, "has to be a list of at most 100 texts");
	*ret_texts = calloc(wl_json_count(list) + 1, sizeof(**ret_texts));
	if (!*ret_texts)
		return no_memory(err);
	for (const struct wl_json *item = wl_json_first(list); item; item = wl_json_next(item)) {
		const char *text = wl_json_string(item, "");
		if (!*text || strlen(text) > 400)
			return wl_fail(err, EINVAL, "%s.%s[%zu] has to be text", path, key, *ret_count);
		char *copy = strdup(text);
		if (!copy)
			return no_memory(err);
		(*ret_texts)[(*ret_count)++] = copy;
	}
	return 0;
}

static int take_temperature(const struct wl_json *config, const char *path, double *ret_value, struct wl_error *err)
{
	const struct wl_json *member = wl_json_get(config, "temperature");
	*ret_value = NAN;
	if (absent(member))
		return 0;
	*ret_value = wl_json_number(member, NAN);
	return *ret_value >= 0 && *ret_value <= 2 ? 0 : fault(err, path, "temperature", "has to be from 0 to 2");
}

static int make_agent_config(const struct wl_json *config, const char *path, struct wl_crew_agent *agent,
			     struct wl_error *err)
{
	int result = take_text(config, path, "role", false, &agent->role, err);
	if (result == 0)
		result = take_text(config, path, "goal", false, &agent->goal, err);
	if (result == 0)
		result = take_text(config, path, "backstory", false, &agent->backstory, err);
	if (result == 0)
		result = take_optional(config, path, "model", &agent->model, err);
	if (result == 0)
		result = take_list(config, path, "tools", &agent->tool_ids, &agent->tool_count, err);
	if (result == 0)
		result = take_list(config, path, "knowledge", &agent->knowledge, &agent->knowledge_count, err);
	if (result == 0)
		result = take_temperature(config, path, &agent->temperature, err);
	if (result == 0)
		result = take_int(config, path, "max_iter", 1000, &agent->max_iter, err);
	if (result == 0)
		result = take_int(config, path, "max_rpm", 100000, &agent->max_rpm, err);
	if (result == 0)
		result = take_int(config, path, "max_execution_time", 604800, &agent->max_execution_s, err);
	if (result == 0)
		result = take_int(config, path, "max_tokens", 1000000, &agent->max_tokens, err);
	if (result == 0)
		result = take_bool(config, path, "allow_delegation", &agent->allow_delegation, err);
	return result < 0 ? result : take_bool(config, path, "memory", &agent->memory, err);
}

static int make_agent(const struct wl_json *json, size_t index, struct wl_crew_agent *agent, struct wl_error *err)
{
	char path[64];
	(void)snprintf(path, sizeof(path), "agents[%zu]", index);
	if (!wl_json_is(json, WL_JSON_OBJECT))
		return wl_fail(err, EINVAL, "%s has to be an object", path);
	int result = take_text(json, path, "id", false, &agent->id, err);
	if (result == 0)
		result = take_text(json, path, "name", true, &agent->name, err);
	if (result == 0)
		result = take_text(json, path, "system_prompt", false, &agent->system_prompt, err);
	if (result == 0)
		result = take_optional(json, path, "llm_provider_id", &agent->provider_id, err);
	if (result < 0)
		return result;
	const struct wl_json *config = wl_json_get(json, "config");
	if (!absent(config) && !wl_json_is(config, WL_JSON_OBJECT))
		return fault(err, path, "config", "has to be an object");
	(void)snprintf(path, sizeof(path), "agents[%zu].config", index);
	return make_agent_config(config, path, agent, err);
}

/* The agent of that id in the document, made as the crew's next one; `path` names where the id stands. */
static int add_agent(struct wl_crew *crew, const struct wl_json *agents, const char *id, const char *path,
		     struct wl_error *err)
{
	size_t index = 0;
	for (const struct wl_json *json = wl_json_first(agents); json; json = wl_json_next(json), index++) {
		if (strcasecmp(wl_json_get_string(json, "id", ""), id) == 0)
			return make_agent(json, index, &crew->agents[crew->agent_count++], err);
	}
	return wl_fail(err, EINVAL, "%s names no agent that is there: %.64s", path, id);
}

static int find_agent(const struct wl_crew *crew, const char *id)
{
	for (size_t i = 0; i < crew->agent_count; i++) {
		if (strcasecmp(crew->agents[i].id, id) == 0)
			return (int)i;
	}
	return -1;
}

static int make_members(struct wl_crew *crew, const struct wl_json *json, const struct wl_json *agents,
			struct wl_error *err)
{
	const struct wl_json *ids = wl_json_get(json, "agent_ids");
	size_t count = wl_json_is(ids, WL_JSON_ARRAY) ? wl_json_count(ids) : 0;
	if (count == 0 || count > WL_CREW_AGENTS_MAX)
		return wl_fail(err, EINVAL, "crew.agent_ids has to name 1 to %d agents", WL_CREW_AGENTS_MAX);
	crew->agents = calloc(count + 1, sizeof(*crew->agents)); /* and the manager */
	if (!crew->agents)
		return no_memory(err);
	for (size_t i = 0; i < count; i++) {
		char path[64];
		(void)snprintf(path, sizeof(path), "crew.agent_ids[%zu]", i);
		const char *id = wl_json_string(wl_json_at(ids, i), "");
		if (!*id)
			return wl_fail(err, EINVAL, "%s has to be an agent's id", path);
		if (find_agent(crew, id) >= 0)
			return wl_fail(err, EINVAL, "%s is there twice", path);
		int result = add_agent(crew, agents, id, path, err);
		if (result < 0)
			return result;
	}
	return 0;
}

static int make_manager_model(struct wl_crew *crew, const struct wl_json *config, struct wl_error *err)
{
	const struct wl_json *model = wl_json_get(config, "manager_llm");
	if (absent(model))
		return 0;
	if (!wl_json_is(model, WL_JSON_OBJECT))
		return wl_fail(err, EINVAL, "crew.config.manager_llm has to be an object");
	int result =
		take_optional(model, "crew.config.manager_llm", "llm_provider_id", &crew->manager_provider_id, err);
	return result < 0 ? result
			  : take_optional(model, "crew.config.manager_llm", "model", &crew->manager_model, err);
}

static int make_manager(struct wl_crew *crew, const struct wl_json *config, const struct wl_json *agents,
			struct wl_error *err)
{
	static const char path[] = "crew.config.manager_agent_id";
	const struct wl_json *given = wl_json_get(config, "manager_agent_id");
	crew->manager = -1;
	int result = make_manager_model(crew, config, err);
	if (result < 0 || crew->process != WL_CREW_HIERARCHICAL)
		return result;
	if (absent(given))
		return !absent(wl_json_get(config, "manager_llm"))
			       ? 0
			       : wl_fail(err, EINVAL,
					 "crew.config needs manager_agent_id or manager_llm: the crew is hierarchical");
	const char *id = wl_json_string(given, "");
	if (find_agent(crew, id) >= 0)
		return wl_fail(err, EINVAL, "%s: the manager is none of the agents who work", path);
	crew->manager = (int)crew->agent_count;
	result = add_agent(crew, agents, id, path, err);
	if (result == 0 && crew->agents[crew->manager].tool_count > 0)
		return wl_fail(err, EINVAL, "%s: a manager has no tools, he has coworkers", path);
	return result;
}

static int make_task_agent(const struct wl_crew *crew, const struct wl_json *json, const char *path,
			   struct wl_crew_task *task, struct wl_error *err)
{
	const struct wl_json *given = wl_json_get(json, "agent_id");
	task->agent = -1;
	if (absent(given))
		return crew->process == WL_CREW_HIERARCHICAL
			       ? 0
			       : fault(err, path, "agent_id", "is missing: the crew has no manager who does it");
	task->agent = find_agent(crew, wl_json_string(given, ""));
	return task->agent >= 0 && task->agent != crew->manager ? 0
								: fault(err, path, "agent_id", "is none of agent_ids");
}

static int make_task_context(const struct wl_crew *crew, const struct wl_json *json, const char *path,
			     struct wl_crew_task *task, struct wl_error *err)
{
	const struct wl_json *list = wl_json_get(json, "context");
	if (absent(list))
		return 0;
	if (!wl_json_is(list, WL_JSON_ARRAY) || wl_json_count(list) > LIST_MAX)
		return fault(err, path, "context", "has to be a list of at most 100 names of tasks");
	task->has_context = true;
	task->context = calloc(wl_json_count(list) + 1, sizeof(*task->context));
	if (!task->context)
		return no_memory(err);
	for (const struct wl_json *item = wl_json_first(list); item; item = wl_json_next(item)) {
		const char *name = wl_json_string(item, "");
		size_t i = 0;
		while (i < crew->task_count && strcmp(crew->tasks[i].name, name) != 0)
			i++;
		if (i == crew->task_count)
			return wl_fail(err, EINVAL, "%s.context[%zu] names no task before this one", path,
				       task->context_count);
		task->context[task->context_count++] = (int)i;
	}
	return 0;
}

static int make_task_rules(const struct wl_json *json, const char *path, struct wl_crew_task *task,
			   struct wl_error *err)
{
	const struct wl_json *schema = wl_json_get(json, "schema");
	if (!absent(schema) && !wl_json_is(schema, WL_JSON_OBJECT))
		return fault(err, path, "schema", "has to be a JSON Schema, an object");
	if (!absent(schema) && !(task->schema = wl_json_print(schema)))
		return no_memory(err);
	int result = take_optional(json, path, "guardrail", &task->guardrail, err);
	if (result == 0)
		result = take_optional(json, path, "condition", &task->condition, err);
	if (result == 0)
		result = take_bool(json, path, "human_input", &task->human_input, err);
	if (result == 0)
		result = take_bool(json, path, "async_execution", &task->async, err);
	if (result == 0 && task->async && task->condition)
		return fault(err, path, "async_execution", "cannot be together with a condition");
	return result;
}

/* The crew's task_count grows only when the task is whole, so that a context names tasks before it alone. */
static int make_task(struct wl_crew *crew, const struct wl_json *json, struct wl_error *err)
{
	char path[64];
	struct wl_crew_task *task = &crew->tasks[crew->task_count];
	(void)snprintf(path, sizeof(path), "crew.config.tasks[%zu]", crew->task_count);
	if (!wl_json_is(json, WL_JSON_OBJECT))
		return wl_fail(err, EINVAL, "%s has to be an object", path);
	int result = take_text(json, path, "name", true, &task->name, err);
	if (result == 0)
		result = take_text(json, path, "description", true, &task->description, err);
	if (result == 0)
		result = take_text(json, path, "expected_output", true, &task->expected_output, err);
	if (result == 0)
		result = make_task_agent(crew, json, path, task, err);
	if (result == 0)
		result = make_task_context(crew, json, path, task, err);
	if (result == 0)
		result = make_task_rules(json, path, task, err);
	for (size_t i = 0; result == 0 && i < crew->task_count; i++) {
		if (strcmp(crew->tasks[i].name, task->name) == 0)
			return fault(err, path, "name", "is an earlier task's");
	}
	return result;
}

static int make_tasks(struct wl_crew *crew, const struct wl_json *config, struct wl_error *err)
{
	const struct wl_json *tasks = wl_json_get(config, "tasks");
	size_t count = wl_json_is(tasks, WL_JSON_ARRAY) ? wl_json_count(tasks) : 0;
	if (count == 0 || count > WL_CREW_TASKS_MAX)
		return wl_fail(err, EINVAL, "crew.config.tasks has to hold 1 to %d tasks", WL_CREW_TASKS_MAX);
	/* one more, all zero: a task that is refused half-made is freed with the others */
	crew->tasks = calloc(count + 1, sizeof(*crew->tasks));
	if (!crew->tasks)
		return no_memory(err);
	for (const struct wl_json *json = wl_json_first(tasks); json; json = wl_json_next(json)) {
		int result = make_task(crew, json, err);
		crew->task_count++;
		if (result < 0)
			return result;
	}
	if (count >= 2 && crew->tasks[count - 1].async && crew->tasks[count - 2].async)
		return wl_fail(err, EINVAL,
			       "crew.config.tasks[%zu].async_execution: a crew ends with at most one asynchronous task",
			       count - 1);
	return 0;
}

static int make_crew(struct wl_crew *crew, const struct wl_json *json, const struct wl_json *agents,
		     struct wl_error *err)
{
	const struct wl_json *config = wl_json_get(json, "config");
	if (!wl_json_is(config, WL_JSON_OBJECT))
		return wl_fail(err, EINVAL, "crew.config has to be an object");
	const char *pattern = wl_json_get_string(json, "collaboration_pattern", "sequential");
	if (strcmp(pattern, "sequential") != 0 && strcmp(pattern, "hierarchical") != 0)
		return wl_fail(err, EINVAL, "crew.collaboration_pattern has to be sequential or hierarchical");
	crew->process = *pattern == 'h' ? WL_CREW_HIERARCHICAL : WL_CREW_SEQUENTIAL;
	int result = take_text(json, "crew", "id", false, &crew->id, err);
	if (result == 0)
		result = take_text(json, "crew", "name", false, &crew->name, err);
	if (result == 0)
		result = take_bool(config, "crew.config", "planning", &crew->planning, err);
	if (result == 0)
		result = take_bool(config, "crew.config", "memory", &crew->memory, err);
	if (result == 0)
		result = take_int(config, "crew.config", "max_rpm", 100000, &crew->max_rpm, err);
	if (result == 0)
		result = make_members(crew, json, agents, err);
	if (result == 0)
		result = make_manager(crew, config, agents, err);
	return result < 0 ? result : make_tasks(crew, config, err);
}

static int make_lone(struct wl_crew *crew, const struct wl_json *agents, struct wl_error *err)
{
	crew->lone = true;
	crew->manager = -1;
	if (wl_json_count(agents) != 1)
		return wl_fail(err, EINVAL, "agents has to hold one agent: there is no crew");
	crew->agents = calloc(1, sizeof(*crew->agents));
	if (!crew->agents)
		return no_memory(err);
	crew->agent_count = 1;
	int result = make_agent(wl_json_first(agents), 0, &crew->agents[0], err);
	if (result < 0)
		return result;
	crew->id = strdup("");
	crew->name = strdup(crew->agents[0].name);
	crew->memory = crew->agents[0].memory;
	return crew->id && crew->name ? 0 : no_memory(err);
}

int wl_crew_make(const struct wl_json *document, struct wl_crew **ret_crew, struct wl_error *err)
{
	const struct wl_json *json = wl_json_get(document, "crew");
	const struct wl_json *agents = wl_json_get(document, "agents");
	if (!wl_json_is(agents, WL_JSON_ARRAY))
		return wl_fail(err, EINVAL, "agents has to be a list");
	if (!absent(json) && !wl_json_is(json, WL_JSON_OBJECT))
		return wl_fail(err, EINVAL, "crew has to be an object or null");
	_wl_crew_ struct wl_crew *crew = calloc(1, sizeof(*crew));
	if (!crew)
		return no_memory(err);
	int result = absent(json) ? make_lone(crew, agents, err) : make_crew(crew, json, agents, err);
	if (result < 0)
		return result;
	*ret_crew = wl_steal(crew);
	return 0;
}

static void release_task(struct wl_crew_task *task)
{
	free(task->name);
	free(task->description);
	free(task->expected_output);
	free(task->context);
	free(task->schema);
	free(task->guardrail);
	free(task->condition);
	*task = (struct wl_crew_task){ 0 };
}

int wl_crew_set_task(struct wl_crew *crew, const char *description, const char *expected_output, const char *schema)
{
	struct wl_crew_task *task = crew->tasks ? crew->tasks : calloc(1, sizeof(*task));
	if (!task)
		return -ENOMEM;
	for (size_t i = 0; i < crew->task_count; i++)
		release_task(&crew->tasks[i]);
	crew->tasks = task;
	crew->task_count = 1;
	task->name = strdup(crew->name);
	task->description = strdup(description);
	task->expected_output = strdup(expected_output ? expected_output : "");
	task->schema = schema ? strdup(schema) : NULL;
	return task->name && task->description && task->expected_output && (!schema || task->schema) ? 0 : -ENOMEM;
}

int wl_crew_set_context(struct wl_crew *crew, const char *context)
{
	free(crew->context);
	crew->context = *context ? strdup(context) : NULL;
	return crew->context || !*context ? 0 : -ENOMEM;
}

static void free_list(char **texts, size_t count)
{
	for (size_t i = 0; i < count; i++)
		free(texts[i]);
	free(texts);
}

static void release_agent(struct wl_crew_agent *agent)
{
	char *texts[] = { agent->id,	    agent->name,	  agent->role,	      agent->goal,
			  agent->backstory, agent->system_prompt, agent->provider_id, agent->model };
	for (size_t i = 0; i < WL_COUNT_OF(texts); i++)
		free(texts[i]);
	free_list(agent->tool_ids, agent->tool_count);
	free_list(agent->knowledge, agent->knowledge_count);
}

void wl_crew_free(struct wl_crew *crew)
{
	if (!crew)
		return;
	for (size_t i = 0; i < crew->agent_count; i++)
		release_agent(&crew->agents[i]);
	for (size_t i = 0; i < crew->task_count; i++)
		release_task(&crew->tasks[i]);
	free(crew->agents);
	free(crew->tasks);
	free(crew->id);
	free(crew->name);
	free(crew->manager_provider_id);
	free(crew->manager_model);
	free(crew->context);
	free(crew);
}
