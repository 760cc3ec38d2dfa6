/* The tools of an agent: what the port tells of them, under names that a model can tell apart, and those of delegation.
 */
#include "lib/crew/internal.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#define DELEGATE "delegate_work_to_coworker"
#define ASK "ask_question_to_coworker"

#define WORK_SCHEMA(word, about)                                                                                       \
	"{\"type\":\"object\",\"properties\":{\"" word "\":{\"type\":\"string\",\"description\":\"" about              \
	"\"},\"context\":{\"type\":\"string\",\"description\":\"Everything that the coworker has to know for it\"},"   \
	"\"coworker\":{\"type\":\"string\",\"description\":\"The coworker's role\"}},\"required\":[\"" word            \
	"\",\"context\",\"coworker\"]}"

static const struct {
	enum crew_tool_kind kind;
	const char *name, *about, *schema;
} delegation[] = {
	{ CREW_TOOL_DELEGATE, DELEGATE,
	  "Hand a piece of work to a coworker and get its result. The coworker knows nothing of your task: say all "
	  "that "
	  "is needed. Coworkers: ",
	  WORK_SCHEMA("task", "The work to do") },
	{ CREW_TOOL_ASK, ASK,
	  "Ask a coworker a question and get the answer. The coworker knows nothing of your task: say all that is "
	  "needed. Coworkers: ",
	  WORK_SCHEMA("question", "The question to answer") },
};

/* ---- names / --------------------------------------------------------------------------------------------- */

static void plain_name(char *name)
{
	if (strlen(name) > WL_MODEL_TOOL_NAME_MAX)
		name[WL_MODEL_TOOL_NAME_MAX] = '\0';
	for (char *at = name; *at; at++) {
		if (!isalnum((unsigned char)*at) && *at != '_' && *at != '-')
			*at = '_';
	}
}

static bool taken(const struct crew_toolbox *box, size_t count, const char *name)
{
	for (size_t i = 0; i < WL_COUNT_OF(delegation); i++) {
		if (strcmp(delegation[i].name, name) == 0)
			return true;
	}
	for (size_t i = 0; i < count; i++) {
		if (strcmp(box->tools[i].told.name, name) == 0)
			return true;
	}
	return false;
}

/* A name that no other tool of the box has: "search", "search_2", ... */
static int own_name(struct crew_toolbox *box, size_t index)
{
	char **name = &box->tools[index].told.name;
	if (!*name || !**name) {
		free(*name);
		*name = strdup("tool");
	}
	if (!*name)
		return -ENOMEM;
	plain_name(*name);
	for (unsigned n = 2; taken(box, index, *name); n++) {
		char other[WL_MODEL_TOOL_NAME_MAX + 16];
		/* the rest of a name that was numbered before is cut off with its number */
		(void)snprintf(other, sizeof(other), "%.56s_%u", box->tools[index].told.name, n);
		if (taken(box, index, other))
			continue;
		free(*name);
		*name = strdup(other);
		if (!*name)
			return -ENOMEM;
	}
	return 0;
}

/* ---- what the port tells / ------------------------------------------------------------------------------- */

static int describe(struct crew_worker *worker, struct wl_error *err)
{
	struct crew_lane *lane = worker->lane;
	struct crew_member *who = worker->who;
	const struct wl_tool_port *port = lane->run->world->tools;
	struct crew_toolbox *box = &who->box;
	box->tools = calloc(who->agent.tool_count + 1, sizeof(*box->tools));
	if (!box->tools)
		return wl_fail(err, EIO, "no memory for tools");
	for (size_t i = 0; i < who->agent.tool_count; i++) {
		const char *id = who->agent.tool_ids[i];
		struct crew_tool *tool = &box->tools[i];
		tool->id = id;
		*err = (struct wl_error){ 0 };
		int result = port->describe(port->self, id, &tool->told, err);
		if (result == -ENOENT)
			return wl_crew_fault(lane, CREW_FAULT_TOOL, ENOENT, err, "%.100s has no tool %.100s any more",
					     who->agent.name, id);
		if (result < 0)
			return wl_crew_world_failed(result, err);
		box->count = i + 1;
		if (own_name(box, i) < 0 || !(tool->told.description || (tool->told.description = strdup(""))) ||
		    !(tool->told.input_schema || (tool->told.input_schema = strdup("{\"type\":\"object\"}"))))
			return wl_fail(err, EIO, "no memory for tools");
	}
	return 0;
}

void wl_crew_toolbox_release(struct crew_toolbox *box)
{
	for (size_t i = 0; i < box->count; i++)
		wl_tool_description_release(&box->tools[i].told);
	free(box->tools);
	*box = (struct crew_toolbox){ 0 };
}

/* ---- a worker's ------------------------------------------------------------------------------------------ */

bool wl_crew_is_coworker(const struct crew_worker *worker, size_t member)
{
	const struct crew_run *run = worker->lane->run;
	if (member >= run->crew->agent_count || (int)member == run->crew->manager || member == worker->member)
		return false;
	return worker->job.only < 0 || worker->job.only == (int)member;
}

int wl_crew_coworkers(const struct crew_worker *worker, char **ret_text)
{
	_wl_buffer_ struct wl_buffer text = { 0 };
	for (size_t i = 0; i < worker->lane->run->member_count; i++) {
		const struct wl_crew_agent *agent = &worker->lane->run->members[i].agent;
		if (wl_crew_is_coworker(worker, i))
			(void)wl_buffer_appendf(&text, "%s%s", text.length ? "; " : "",
						*agent->role ? agent->role : agent->name);
	}
	if (text.failed)
		return -ENOMEM;
	*ret_text = wl_buffer_steal(&text);
	return 0;
}

static int add_delegation(struct crew_worker *worker)
{
	_wl_free_ char *coworkers = NULL;
	int result = wl_crew_coworkers(worker, &coworkers);
	if (result < 0 || !coworkers)
		return result; /* or there is nobody to turn to */
	for (size_t i = 0; i < WL_COUNT_OF(delegation); i++) {
		struct crew_tool *tool = &worker->tools[worker->tool_count];
		*tool = (struct crew_tool){ .kind = delegation[i].kind };
		if (asprintf(&tool->told.description, "%s%s", delegation[i].about, coworkers) < 0)
			return -ENOMEM;
		tool->told.name = strdup(delegation[i].name);
		tool->told.input_schema = strdup(delegation[i].schema);
		worker->tool_count++;
		if (!tool->told.name || !tool->told.input_schema)
			return -ENOMEM;
	}
	return 0;
}

int wl_crew_worker_equip(struct crew_worker *worker, struct wl_error *err)
{
	if (!worker->job.manages && worker->who->agent.tool_count > 0) {
		int result = wl_crew_once(worker, &worker->who->tools_known, describe, err);
		if (result < 0)
			return result;
		for (size_t i = 0; i < worker->who->box.count; i++)
			worker->tools[worker->tool_count++] = worker->who->box.tools[i];
	}
	if ((worker->who->agent.allow_delegation || worker->job.manages) &&
	    worker->job.depth < WL_CREW_DELEGATION_DEPTH && add_delegation(worker) < 0)
		return wl_fail(err, EIO, "no memory for tools");
	return 0;
}
