/*
 * A crew's run: the tasks in their order, asynchronous ones beside it.
 *
 * Which outputs a task sees depends on the definition alone, never on who was faster: an asynchronous task counts
 * ("settles") where the first task behind it needs it, and only then. A task needs all before it unless it names its
 * context; an asynchronous task without a context takes what has settled.
 */
#include "lib/crew/internal.h"
#include "lib/crew/interpolate.h"
#include "lib/crew/prompts.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

static int no_memory(struct wl_error *err)
{
	return wl_fail(err, EIO, "no memory for a crew's run");
}

size_t wl_crew_task_member(const struct crew_run *run, size_t task)
{
	const struct wl_crew *crew = run->crew;
	if (crew->process == WL_CREW_HIERARCHICAL)
		return crew->manager >= 0 ? (size_t)crew->manager : crew->agent_count;
	return (size_t)crew->tasks[task].agent;
}

const char *wl_crew_member_name(const struct crew_run *run, size_t member)
{
	return run->members[member].agent.name;
}

/* ---- before the first call ------------------------------------------------------------------------------- */

static int refuse(struct crew_run *run, struct wl_error *err, const char *task, const char *what)
{
	return wl_crew_fault(&run->own, CREW_FAULT_REFUSED, EINVAL, err,
			     "task \"%.100s\" asks for %s, which is not to be had here", task, what);
}

/* What the definition asks for has to be there before anything is paid for. */
static int check_offer(struct crew_run *run, struct wl_error *err)
{
	const struct wl_crew *crew = run->crew;
	const struct wl_crew_world *world = run->world;
	if (crew->task_count == 0)
		return wl_crew_fault(&run->own, CREW_FAULT_REFUSED, EINVAL, err, "there is no task");
	for (size_t i = 0; i < crew->task_count; i++) {
		const struct wl_crew_task *task = &crew->tasks[i];
		if (task->schema && !world->fits)
			return refuse(run, err, task->name, "a schema");
		if (task->condition && !world->condition)
			return refuse(run, err, task->name, "a condition");
		if (task->human_input && !world->human)
			return refuse(run, err, task->name, "a person");
	}
	for (size_t i = 0; i < crew->agent_count; i++) {
		if (crew->agents[i].knowledge_count > 0 && !world->knowledge)
			return wl_crew_fault(&run->own, CREW_FAULT_KNOWLEDGE, EINVAL, err,
					     "agent \"%.100s\" has knowledge, which cannot be read here",
					     crew->agents[i].name);
	}
	return 0;
}

static int fill_in(struct crew_run *run, const char *text, char **ret_text, struct wl_error *err)
{
	struct wl_error why = { 0 };
	int result = wl_crew_interpolate(text, run->inputs, ret_text, &why);
	if (result == -EINVAL)
		return wl_crew_fault(&run->own, CREW_FAULT_INPUT, EINVAL, err, "%s", why.text);
	return result < 0 ? no_memory(err) : 0;
}

/* The member's agent is a copy whose texts are the member's own: they are NULL until they are filled in. */
static int fill_in_agent(struct crew_run *run, struct crew_member *member, const struct wl_crew_agent *agent,
			 struct wl_error *err)
{
	member->agent = *agent;
	member->rate.max = agent->max_rpm;
	member->agent.role = member->agent.goal = member->agent.backstory = member->agent.system_prompt = NULL;
	int result = fill_in(run, agent->role, &member->agent.role, err);
	if (result == 0)
		result = fill_in(run, agent->goal, &member->agent.goal, err);
	if (result == 0)
		result = fill_in(run, agent->backstory, &member->agent.backstory, err);
	return result < 0 ? result : fill_in(run, agent->system_prompt, &member->agent.system_prompt, err);
}

/* The manager of a hierarchical crew that names none. */
static int add_manager(struct crew_run *run, struct wl_error *err)
{
	struct wl_crew_agent *agent = &run->members[run->member_count].agent;
	*agent = (struct wl_crew_agent){ .id = (char *)"",
					 .name = (char *)wl_crew_say(WL_CREW_SAY_MANAGER_ROLE),
					 .provider_id = run->crew->manager_provider_id,
					 .model = run->crew->manager_model,
					 .temperature = NAN,
					 .allow_delegation = true };
	run->member_count++;
	agent->role = strdup(wl_crew_say(WL_CREW_SAY_MANAGER_ROLE));
	agent->goal = strdup(wl_crew_say(WL_CREW_SAY_MANAGER_GOAL));
	agent->backstory = strdup(wl_crew_say(WL_CREW_SAY_MANAGER_STORY));
	agent->system_prompt = strdup("");
	return agent->role && agent->goal && agent->backstory && agent->system_prompt ? 0 : no_memory(err);
}

static int prepare_members(struct crew_run *run, struct wl_error *err)
{
	const struct wl_crew *crew = run->crew;
	run->members = calloc(crew->agent_count + 1, sizeof(*run->members));
	if (!run->members)
		return no_memory(err);
	for (size_t i = 0; i < crew->agent_count; i++) {
		run->member_count = i + 1;
		int result = fill_in_agent(run, &run->members[i], &crew->agents[i], err);
		if (result < 0)
			return result;
	}
	return crew->process == WL_CREW_HIERARCHICAL && crew->manager < 0 ? add_manager(run, err) : 0;
}

static int prepare_task(struct crew_run *run, size_t index, struct wl_error *err)
{
	const struct wl_crew_task *task = &run->crew->tasks[index];
	run->lanes[index] = (struct crew_lane){ .run = run, .task = index };
	if (!run->crew->lone) {
		int result = fill_in(run, task->description, &run->descriptions[index], err);
		return result < 0 ? result : fill_in(run, task->expected_output, &run->expected[index], err);
	}
	run->descriptions[index] = strdup(task->description);
	run->expected[index] = strdup(task->expected_output);
	return run->descriptions[index] && run->expected[index] ? 0 : no_memory(err);
}

static int prepare(struct crew_run *run, struct wl_error *err)
{
	size_t count = run->crew->task_count;
	int result = check_offer(run, err);
	if (result < 0)
		return result;
	run->rate.max = run->crew->max_rpm;
	run->lanes = calloc(count, sizeof(*run->lanes));
	run->descriptions = calloc(count, sizeof(*run->descriptions));
	run->expected = calloc(count, sizeof(*run->expected));
	if (!run->lanes || !run->descriptions || !run->expected)
		return no_memory(err);
	result = prepare_members(run, err);
	for (size_t i = 0; result == 0 && i < count; i++)
		result = prepare_task(run, i, err);
	return result;
}

/* ---- lanes ----------------------------------------------------------------------------------------------- */

/*
 * Remember who failed first, before those who only stopped for it; the others stop before their next call. Waiting for
 * a person stops nobody.
 */
static void note_failure(struct crew_lane *lane)
{
	struct crew_run *run = lane->run;
	if (lane->result == 0 || lane->result == -EINPROGRESS)
		return;
	(void)pthread_mutex_lock(&run->lock);
	if (!run->failed || (run->failed->result == -ECANCELED && lane->result != -ECANCELED))
		run->failed = lane;
	(void)pthread_mutex_unlock(&run->lock);
	atomic_store(&run->halted, true);
}

static void *lane_main(void *argument)
{
	struct crew_lane *lane = argument;
	lane->result = wl_crew_task_run(lane, lane->context, &lane->err);
	note_failure(lane);
	return NULL;
}

static void wait_for(struct crew_lane *lane)
{
	if (!lane->running)
		return;
	(void)pthread_join(lane->thread, NULL);
	lane->running = false;
}

/* Let the task's output count. */
static int settle(struct crew_run *run, size_t index)
{
	struct crew_lane *lane = &run->lanes[index];
	if (lane->settled)
		return 0;
	wait_for(lane);
	if (lane->result < 0)
		return lane->result;
	lane->settled = true;
	if (!lane->output.done)
		return 0;
	run->own.result = wl_crew_remember(run, index, &run->own.err);
	note_failure(&run->own);
	return run->own.result;
}

static int settle_before(struct crew_run *run, size_t index)
{
	int result = 0;
	for (size_t i = 0; result == 0 && i < index; i++)
		result = settle(run, i);
	return result;
}

static int settle_needed(struct crew_run *run, size_t index)
{
	const struct wl_crew_task *task = &run->crew->tasks[index];
	int result = 0;
	if (!task->has_context || task->condition)
		return task->async ? 0 : settle_before(run, index);
	for (size_t i = 0; result == 0 && i < task->context_count; i++)
		result = settle(run, (size_t)task->context[i]);
	return result;
}

/* ---- a task's context ------------------------------------------------------------------------------------ */

static bool in_context(const struct crew_run *run, size_t index, size_t other)
{
	const struct wl_crew_task *task = &run->crew->tasks[index];
	const struct crew_lane *lane = &run->lanes[other];
	if (!lane->settled || !lane->output.done)
		return false;
	for (size_t i = 0; i < task->context_count; i++) {
		if ((size_t)task->context[i] == other)
			return true;
	}
	return !task->has_context;
}

/* The first output that is still within the bytes that are kept, counted from the last. */
static size_t first_kept(const struct crew_run *run, size_t index)
{
	size_t kept = 0, first = index;
	for (size_t i = index; i-- > 0;) {
		if (!in_context(run, index, i))
			continue;
		kept += strlen(run->lanes[i].output.text) + sizeof(CREW_CONTEXT_JOIN);
		if (kept > WL_CREW_CONTEXT_KEPT && first < index)
			break;
		first = i;
	}
	return first;
}

static void append_capped(struct wl_buffer *text, const char *output)
{
	size_t length = strlen(output);
	if (length > WL_CREW_CONTEXT_KEPT) {
		length = WL_CREW_CONTEXT_KEPT;
		while (length > 0 && ((unsigned char)output[length] & 0xc0) == 0x80)
			length--;
	}
	(void)wl_buffer_append(text, output, length);
	if (output[length])
		(void)wl_buffer_append_text(text, "\n[the rest was left out]");
}

static int make_context(struct crew_run *run, size_t index, struct wl_error *err)
{
	_wl_buffer_ struct wl_buffer text = { 0 };
	if (run->crew->context)
		append_capped(&text, run->crew->context);
	for (size_t i = first_kept(run, index); i < index; i++) {
		if (!in_context(run, index, i))
			continue;
		if (text.length > 0)
			(void)wl_buffer_append_text(&text, CREW_CONTEXT_JOIN);
		append_capped(&text, run->lanes[i].output.text);
	}
	if (text.failed)
		return no_memory(err);
	run->lanes[index].context = wl_buffer_steal(&text);
	return 0;
}

/* ---- the tasks ------------------------------------------------------------------------------------------- */

/* Room for one more thread; the oldest one is waited for, which changes nothing of what later tasks see. */
static void make_room(struct crew_run *run, size_t before)
{
	int running = 0;
	for (size_t i = 0; i < before; i++)
		running += run->lanes[i].running;
	for (size_t i = 0; i < before && running >= run->world->threads; i++) {
		running -= run->lanes[i].running;
		wait_for(&run->lanes[i]);
	}
}

static int start(struct crew_run *run, size_t index)
{
	struct crew_lane *lane = &run->lanes[index];
	lane->remembered = run->memory.count;
	if (run->crew->tasks[index].async && run->world->threads > 1) {
		make_room(run, index);
		lane->running = pthread_create(&lane->thread, NULL, lane_main, lane) == 0;
		if (lane->running)
			return 0;
	}
	(void)lane_main(lane); /* also when there is no thread to be had */
	return run->crew->tasks[index].async ? 0 : lane->result;
}

static int run_tasks(struct crew_run *run)
{
	int result = 0;
	for (size_t i = 0; result == 0 && i < run->crew->task_count; i++) {
		result = settle_needed(run, i);
		if (result < 0)
			break;
		run->own.result = make_context(run, i, &run->own.err);
		note_failure(&run->own);
		result = run->own.result < 0 ? run->own.result : start(run, i);
		if (result == 0 && !run->crew->tasks[i].async)
			result = settle(run, i);
	}
	return result < 0 ? result : settle_before(run, run->crew->task_count);
}

/* ---- the result ------------------------------------------------------------------------------------------ */

static char *tasks_json(const struct crew_run *run)
{
	_wl_json_ struct wl_json *list = wl_json_array();
	for (size_t i = 0; list && run->lanes && i < run->crew->task_count; i++) {
		const struct crew_output *output = &run->lanes[i].output;
		if (!output->done && !output->skipped)
			continue;
		struct wl_json *one = wl_json_object();
		if (wl_json_append(list, one) < 0 || wl_json_set_string(one, "name", run->crew->tasks[i].name) < 0 ||
		    wl_json_set_string(one, "agent", output->agent) < 0 ||
		    wl_json_set_string(one, "text", output->text) < 0 ||
		    (output->json ? wl_json_set_raw(one, "json", output->json)
				  : wl_json_set(one, "json", wl_json_new_null())) < 0 ||
		    wl_json_set_bool(one, "skipped", output->skipped) < 0)
			return NULL;
	}
	return list ? wl_json_print(list) : NULL;
}

/* The last task that was not skipped speaks for the crew. */
static int take_result(struct crew_run *run, struct wl_error *err)
{
	struct wl_crew_result *result = run->result;
	const struct wl_crew_world *world = run->world;
	const struct crew_output *last = NULL;
	for (size_t i = 0; i < run->crew->task_count; i++) {
		if (run->lanes[i].output.done)
			last = &run->lanes[i].output;
	}
	result->text = strdup(last ? last->text : "");
	result->json = last && last->json ? strdup(last->json) : NULL;
	if (!result->text || (last && last->json && !result->json))
		return no_memory(err);
	if (last && !run->streamed && world->token && *result->text)
		world->token(world->self, last->agent, result->text, strlen(result->text));
	return 0;
}

/* Everybody has come home: whose failure is the run's? */
static int judge_end(struct crew_run *run, int result, struct wl_error *err)
{
	for (size_t i = 0; run->lanes && i < run->crew->task_count; i++)
		wait_for(&run->lanes[i]);
	if (run->failed) {
		*err = run->failed->err;
		result = run->failed->result;
		run->result->code = run->failed->fault ? strdup(run->failed->fault) : NULL;
		if (run->failed->fault && !run->result->code)
			result = no_memory(err);
	} else if (result == -EINPROGRESS) {
		(void)wl_fail(err, EINPROGRESS, "the crew waits for a person");
	}
	if (result == 0)
		result = take_result(run, err);
	run->result->tasks_json = tasks_json(run);
	return result == 0 && !run->result->tasks_json ? no_memory(err) : result;
}

static int execute(struct crew_run *run, struct wl_error *err)
{
	struct crew_lane *own = &run->own;
	own->result = prepare(run, &own->err);
	if (own->result == 0 && run->crew->planning)
		own->result = wl_crew_plan(run, &own->err);
	note_failure(own);
	return judge_end(run, own->result == 0 ? run_tasks(run) : own->result, err);
}

static void release_lane(struct crew_lane *lane)
{
	for (size_t i = 0; i < lane->repeat_count; i++) {
		free(lane->repeats[i].key);
		free(lane->repeats[i].last);
	}
	free(lane->repeats);
	free(lane->plan);
	free(lane->output.text);
	free(lane->output.json);
	free(lane->context);
}

static void release_member(struct crew_member *member)
{
	free(member->agent.role);
	free(member->agent.goal);
	free(member->agent.backstory);
	free(member->agent.system_prompt);
	free(member->rate.times);
	wl_crew_toolbox_release(&member->box);
	wl_crew_passages_release(&member->knowledge);
}

static void release(struct crew_run *run)
{
	for (size_t i = 0; i < run->member_count; i++)
		release_member(&run->members[i]);
	for (size_t i = 0; i < run->crew->task_count; i++) {
		if (run->lanes)
			release_lane(&run->lanes[i]);
		if (run->descriptions)
			free(run->descriptions[i]);
		if (run->expected)
			free(run->expected[i]);
	}
	free(run->members);
	free(run->lanes);
	free(run->descriptions);
	free(run->expected);
	free(run->rate.times);
	wl_crew_passages_release(&run->memory);
	(void)pthread_mutex_destroy(&run->lock);
	(void)pthread_mutex_destroy(&run->gathering);
}

int wl_crew_run(const struct wl_crew *crew, const struct wl_json *inputs, const struct wl_crew_world *world,
		struct wl_crew_result *result, struct wl_error *err)
{
	struct crew_run run = { .crew = crew, .world = world, .inputs = inputs, .result = result };
	struct wl_error why = { 0 };
	*result = (struct wl_crew_result){ 0 };
	run.own.run = &run;
	atomic_init(&run.halted, false);
	(void)pthread_mutex_init(&run.lock, NULL);
	(void)pthread_mutex_init(&run.gathering, NULL);
	int code = execute(&run, &why);
	release(&run);
	if (code < 0 && err)
		*err = why;
	return code;
}

void wl_crew_result_release(struct wl_crew_result *result)
{
	free(result->text);
	free(result->json);
	free(result->tasks_json);
	free(result->code);
	*result = (struct wl_crew_result){ 0 };
}
