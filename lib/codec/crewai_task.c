/* Tasks: who does each, what it builds on, and the order of all. */
#include "lib/base/cleanup.h"
#include "lib/codec/crewai_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct task_reading {
	struct crewai_crew *crew;
	struct crewai_place at;
	char fallback[24]; /* the name of a task that has none */
	const char *key;   /* by which others name it */
	const struct wl_json *value, *extra;
	struct wl_json *body; /* owned until it is in the crew */
	const struct wl_json *context;
	const struct wl_json *kept; /* the body once the crew has it */
	struct crewai_agent *agent;
	bool placed;
};

/* ---- members that are taken ------------------------------------------------------------------------------------- */

#define TAKE_TEXT(name, least, most)                                                                                   \
	static void take_##name(struct crewai_reader *reader, const struct crewai_place *place,                        \
				const struct wl_json *value, void *into)                                               \
	{                                                                                                              \
		crewai_take_text(reader, place, value, least, most, ((struct task_reading *)into)->body, #name);       \
	}
TAKE_TEXT(name, 1, 200)
TAKE_TEXT(description, 1, 20000)
TAKE_TEXT(expected_output, 1, 10000)
TAKE_TEXT(condition, 0, 10000)

#define TAKE_BOOL(name)                                                                                                \
	static void take_##name(struct crewai_reader *reader, const struct crewai_place *place,                        \
				const struct wl_json *value, void *into)                                               \
	{                                                                                                              \
		crewai_take_bool(reader, place, value, ((struct task_reading *)into)->body, #name);                    \
	}
TAKE_BOOL(human_input)
TAKE_BOOL(async_execution)

static void take_agent(struct crewai_reader *reader, const struct crewai_place *place, const struct wl_json *value,
		       void *into)
{
	struct task_reading *task = into;
	const char *key = wl_json_string(value, NULL);
	task->agent = key ? crewai_crew_agent(task->crew, key) : NULL;
	if (!key)
		crewai_fault(reader, place, "is not the name of an agent");
	else if (!task->agent)
		crewai_fault(reader, place, "there is no agent '%.80s'", key);
	else
		crewai_set(&reader->notes, task->body, "agent_id",
			   wl_json_new_string(wl_json_get_string(task->agent->body, "id", "")));
}

static void take_context(struct crewai_reader *reader, const struct crewai_place *place, const struct wl_json *value,
			 void *into)
{
	bool right = wl_json_is(value, WL_JSON_ARRAY) && wl_json_count(value) <= 100;
	for (const struct wl_json *one = wl_json_first(value); one && right; one = wl_json_next(one))
		right = wl_json_is(one, WL_JSON_STRING);
	if (right)
		((struct task_reading *)into)->context = value;
	else
		crewai_fault(reader, place, "is not a list of at most 100 names of tasks");
}

/* The place of a task's tools is its agent here. */
static void take_tools(struct crewai_reader *reader, const struct crewai_place *place, const struct wl_json *value,
		       void *into)
{
	struct task_reading *task = into;
	struct crewai_place at = { .parent = place };
	if (!wl_json_is(value, WL_JSON_ARRAY) || wl_json_count(value) > 100) {
		crewai_fault(reader, place, "is not a list of at most 100 tools");
		return;
	}
	const char *key = wl_json_get_string(task->value, "agent", NULL);
	struct crewai_agent *agent = key ? crewai_crew_agent(task->crew, key) : NULL;
	if (!agent) {
		crewai_note(&reader->notes, place, CREWAI_ATTENTION, "tools belong to agents, and this task has none");
		return;
	}
	struct wl_json *config = (struct wl_json *)wl_json_get(agent->body, "config"); /* the body is ours */
	for (const struct wl_json *one = wl_json_first(value); one; one = wl_json_next(one), at.index++)
		crewai_add_tool(reader, &at, one, config);
	if (wl_json_count(value))
		crewai_note(&reader->notes, place, CREWAI_CHANGED, "the agent '%.80s' has them for all of its tasks",
			    key);
}

static void take_schema(struct crewai_reader *reader, const struct crewai_place *place, const struct wl_json *value,
			void *into)
{
	if (wl_json_is(value, WL_JSON_OBJECT) && !wl_json_get(value, "python"))
		crewai_set(&reader->notes, ((struct task_reading *)into)->body, "schema", wl_json_copy(value));
	else
		crewai_note(&reader->notes, place, CREWAI_ATTENTION,
			    "names a class of the project: give the task a JSON Schema");
}

static void take_guardrail(struct crewai_reader *reader, const struct crewai_place *place, const struct wl_json *value,
			   void *into)
{
	if (wl_json_is(value, WL_JSON_STRING))
		crewai_take_text(reader, place, value, 0, 10000, ((struct task_reading *)into)->body, "guardrail");
	else if (wl_json_is(value, WL_JSON_OBJECT))
		crewai_note(&reader->notes, place, CREWAI_ATTENTION,
			    "programs of the project are not run: say the guardrail as a sentence");
	else
		crewai_fault(reader, place, "is not a text");
}

static void take_guardrails(struct crewai_reader *reader, const struct crewai_place *place, const struct wl_json *value,
			    void *into)
{
	_wl_buffer_ struct wl_buffer all = { 0 };
	const struct crewai_place at = { .parent = place };
	size_t texts = 0;
	if (!wl_json_is(value, WL_JSON_ARRAY)) {
		take_guardrail(reader, place, value, into);
		return;
	}
	for (const struct wl_json *one = wl_json_first(value); one; one = wl_json_next(one)) {
		if (!wl_json_is(one, WL_JSON_STRING)) {
			take_guardrail(reader, &at, one, into);
			continue;
		}
		wl_buffer_appendf(&all, "%s%s", texts++ ? "\n" : "", wl_json_string(one, ""));
	}
	if (!texts)
		return;
	_wl_json_ struct wl_json *text = wl_json_new_string(all.data ? all.data : "");
	crewai_take_text(reader, place, text, 0, 10000, ((struct task_reading *)into)->body, "guardrail");
	if (texts > 1)
		crewai_note(&reader->notes, place, CREWAI_CHANGED, "the sentences are one guardrail");
}

static void take_type(struct crewai_reader *reader, const struct crewai_place *place, const struct wl_json *value,
		      void *into)
{
	const char *type = wl_json_string(value, "");
	(void)into;
	if (strcmp(type, "task") != 0 && strcmp(type, "Task") != 0 && strncmp(type, "crewai.", 7) != 0)
		crewai_note(&reader->notes, place, CREWAI_ATTENTION,
			    strstr(type, "onditional") ? "give the task a condition"
						       : "a class of its own is not imported; this is a plain task");
}

static const char runs_code[] = "programs of the project are not run";
static const char as_schema[] = "names a class of the project: give the task a JSON Schema";
static const char as_file[] = "outputs are kept with the run; no file is written";

static const struct crewai_key task_keys[] = {
	{ "name", take_name, 0, NULL },
	{ "description", take_description, 0, NULL },
	{ "expected_output", take_expected_output, 0, NULL },
	{ "agent", take_agent, 0, NULL },
	{ "context", take_context, 0, NULL },
	{ "tools", take_tools, 0, NULL },
	{ "output_json", take_schema, 0, NULL },
	{ "output_pydantic", take_schema, 0, NULL },
	{ "response_model", take_schema, 0, NULL },
	{ "guardrail", take_guardrail, 0, NULL },
	{ "guardrails", take_guardrails, 0, NULL },
	{ "human_input", take_human_input, 0, NULL },
	{ "async_execution", take_async_execution, 0, NULL },
	{ "type", take_type, 0, NULL },
	{ "condition", NULL, CREWAI_ATTENTION, "programs of the project are not run: give the task an expression" },
	{ "callback", NULL, CREWAI_ATTENTION, runs_code },
	{ "callbacks", NULL, CREWAI_ATTENTION, runs_code },
	{ "converter_cls", NULL, CREWAI_ATTENTION, as_schema },
	{ "output_file", NULL, CREWAI_CHANGED, as_file },
	{ "create_directory", NULL, CREWAI_IGNORED, as_file },
	{ "markdown", NULL, CREWAI_CHANGED, "say in expected_output that it is to be Markdown" },
	{ "guardrail_max_retries", NULL, CREWAI_CHANGED, "a guardrail is tried three times more" },
	{ "max_retries", NULL, CREWAI_CHANGED, "a guardrail is tried three times more" },
	{ "allow_crewai_trigger_context", NULL, CREWAI_IGNORED, "what starts a run comes with its inputs" },
	{ "input_files", NULL, CREWAI_ATTENTION, "upload them as artifacts, or pass them as inputs" },
	{ "tool_failure_policy", NULL, CREWAI_CHANGED, "the model is told of a tool's failure and goes on" },
	{ "security_config", NULL, CREWAI_IGNORED, "is CrewAI's own" },
	{ NULL, NULL, 0, NULL },
};

/* windlass.yaml */
static const struct crewai_key extra_keys[] = {
	{ "name", take_name, 0, NULL },
	{ "schema", take_schema, 0, NULL },
	{ "condition", take_condition, 0, NULL },
	{ NULL, NULL, 0, NULL },
};

/* ---- one task --------------------------------------------------------------------------------------------------- */

static void need(struct crewai_reader *reader, const struct task_reading *task, const char *member)
{
	const struct crewai_place at = { .parent = &task->at, .key = member };
	if (wl_json_is(task->value, WL_JSON_OBJECT) &&
	    (!wl_json_get(task->value, member) || wl_json_is(wl_json_get(task->value, member), WL_JSON_NULL)))
		crewai_fault(reader, &at, "is missing");
}

static void read_task(struct crewai_reader *reader, struct task_reading *task)
{
	bool yaml = reader->yaml;
	const struct crewai_place file = { .file = "windlass.yaml" }, tasks = { .parent = &file, .key = "tasks" },
				  at = { .parent = &tasks, .key = task->key };
	task->body = wl_json_object();
	if (!task->body) {
		reader->notes.no_memory = true;
		return;
	}
	crewai_set(&reader->notes, task->body, "name", wl_json_new_string(task->key));
	crewai_walk(reader, &task->at, task->value, task_keys, task);
	need(reader, task, "description");
	need(reader, task, "expected_output");
	reader->yaml = false;
	if (task->extra)
		crewai_walk(reader, &at, task->extra, extra_keys, task);
	reader->yaml = yaml;
}

/* By what it is named: its key in a map, in a list its name. */
static void name_task(struct crewai_reader *reader, struct task_reading *task, bool map)
{
	task->key = map ? wl_json_key(task->value) : wl_json_get_string(task->value, "name", NULL);
	if (!task->key || !*task->key) {
		(void)snprintf(task->fallback, sizeof(task->fallback), "task_%d", task->at.index + 1);
		task->key = task->fallback;
		if (!map && wl_json_is(task->value, WL_JSON_OBJECT))
			crewai_note(&reader->notes, &task->at, CREWAI_CHANGED, "has no name: it is called %s",
				    task->key);
	}
	if (strlen(task->key) > 200)
		crewai_fault(reader, &task->at, "a task's name has at most 200 bytes");
	if (map)
		task->at.key = task->key;
	task->extra = wl_json_get(wl_json_get(task->crew->extra, "tasks"), task->key);
}

/* ---- order ------------------------------------------------------------------------------------------------------ */

static struct task_reading *find_task(struct task_reading *tasks, int count, const char *key)
{
	for (int i = 0; i < count; i++)
		if (strcmp(tasks[i].key, key) == 0)
			return &tasks[i];
	return NULL;
}

/* Whether all that a task builds on has its place already. */
static bool is_ready(struct task_reading *tasks, int count, const struct task_reading *task)
{
	for (const struct wl_json *one = wl_json_first(task->context); one; one = wl_json_next(one)) {
		const struct task_reading *other = find_task(tasks, count, wl_json_string(one, ""));
		if (other && !other->placed)
			return false;
	}
	return true;
}

static void check_contexts(struct crewai_reader *reader, struct task_reading *tasks, int count)
{
	for (int i = 0; i < count; i++) {
		struct crewai_place list = { .parent = &tasks[i].at, .key = "context" }, at = { .parent = &list };
		for (const struct wl_json *one = wl_json_first(tasks[i].context); one;
		     one = wl_json_next(one), at.index++)
			if (!find_task(tasks, count, wl_json_string(one, "")))
				crewai_fault(reader, &at, "there is no task '%.80s'", wl_json_string(one, ""));
		if (find_task(tasks, i, tasks[i].key))
			crewai_fault(reader, &tasks[i].at, "another task has the name '%.80s'", tasks[i].key);
	}
}

/* The contexts are known by key; tasks are stored with names. */
static void put_task(struct crewai_reader *reader, struct task_reading *tasks, int count, struct task_reading *task,
		     struct wl_json *into)
{
	task->placed = true;
	if (task->context) {
		struct wl_json *context = crewai_child(&reader->notes, task->body, "context", true);
		for (const struct wl_json *one = wl_json_first(task->context); one && context;
		     one = wl_json_next(one)) {
			const struct task_reading *other = find_task(tasks, count, wl_json_string(one, ""));
			const char *name = other ? wl_json_get_string(other->kept, "name", "") : "";
			crewai_append(&reader->notes, context, wl_json_new_string(name));
		}
	}
	task->kept = task->body;
	crewai_append(&reader->notes, into, wl_steal(task->body));
}

/* First those that the choice names, then each as soon as what it builds on stands before it. */
static void put_in_order(struct crewai_reader *reader, struct task_reading *tasks, int count, struct wl_json *into)
{
	bool moved = false;
	for (int left = count; left > 0; left--) {
		int next = 0;
		while (next < count && (tasks[next].placed || !is_ready(tasks, count, &tasks[next])))
			next++;
		if (next == count) {
			for (next = 0; tasks[next].placed; next++)
				;
			struct crewai_place at = { .parent = &tasks[next].at, .key = "context" };
			crewai_fault(reader, &at, "tasks that build on one another in a circle cannot be ordered");
			return;
		}
		for (int before = 0; before < next; before++)
			moved |= !tasks[before].placed;
		put_task(reader, tasks, count, &tasks[next], into);
	}
	if (moved)
		crewai_note(&reader->notes, tasks[0].at.parent, CREWAI_CHANGED,
			    "tasks were moved behind those that they build on");
}

/* Sort by the order that was chosen; what it does not name is left out. Returns how many are left. */
static int choose_order(struct crewai_reader *reader, struct task_reading *tasks, int count)
{
	const struct wl_json *order = wl_json_get(reader->context->choice, "order");
	struct crewai_place list = { .key = "order" }, at = { .parent = &list };
	int placed = 0;
	if (!order)
		return count;
	for (const struct wl_json *one = wl_json_first(order); one; one = wl_json_next(one), at.index++) {
		struct task_reading *task = find_task(tasks, count, wl_json_string(one, ""));
		if (!task || task < tasks + placed) {
			crewai_fault(reader, &at, task ? "names '%.80s' twice" : "there is no task '%.80s'",
				     wl_json_string(one, ""));
			continue;
		}
		struct task_reading chosen = *task;
		memmove(tasks + placed + 1, tasks + placed, (size_t)(task - tasks - placed) * sizeof(*tasks));
		tasks[placed++] = chosen;
	}
	for (int i = placed; i < count; i++)
		crewai_note(&reader->notes, &tasks[i].at, CREWAI_CHANGED, "is left out: 'order' does not name it");
	return placed;
}

/* ---- all -------------------------------------------------------------------------------------------------------- */

static void read_all(struct crewai_reader *reader, struct crewai_crew *crew, struct task_reading *tasks, int count,
		     const struct crewai_place *place, const struct wl_json *list)
{
	bool map = wl_json_is(list, WL_JSON_OBJECT);
	int index = 0;
	for (const struct wl_json *one = wl_json_first(list); one; one = wl_json_next(one), index++) {
		tasks[index].crew = crew;
		tasks[index].value = one;
		tasks[index].at = (struct crewai_place){ .parent = place, .index = index };
		name_task(reader, &tasks[index], map);
	}
	count = choose_order(reader, tasks, count);
	for (int i = 0; i < count; i++)
		read_task(reader, &tasks[i]);
	check_contexts(reader, tasks, count);
	struct wl_json *into = crewai_child(&reader->notes, crew->config, "tasks", true);
	if (into && !reader->notes.no_memory && reader->faults->count == 0)
		put_in_order(reader, tasks, count, into);
}

void crewai_read_tasks(struct crewai_reader *reader, struct crewai_crew *crew, const struct crewai_place *place,
		       const struct wl_json *list)
{
	int count = (int)wl_json_count(list);
	if (!wl_json_is(list, WL_JSON_ARRAY) && !wl_json_is(list, WL_JSON_OBJECT)) {
		crewai_fault(reader, place, "is no list of tasks");
		return;
	}
	if (count < 1 || count > WL_CREWAI_TASKS_MAX) {
		crewai_fault(reader, place, "has %d tasks; a crew has 1 to %d", count, WL_CREWAI_TASKS_MAX);
		return;
	}
	struct task_reading *tasks = calloc((size_t)count, sizeof(*tasks));
	if (!tasks) {
		reader->notes.no_memory = true;
		return;
	}
	read_all(reader, crew, tasks, count, place, list);
	for (int i = 0; i < count; i++)
		wl_json_free(tasks[i].body);
	free(tasks);
}
