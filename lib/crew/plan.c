/* Planning: one call before the first task. A plan is help, not a condition: without a readable one the crew works. */
#include "lib/crew/internal.h"
#include "lib/crew/prompts.h"

#include <errno.h>
#include <string.h>

static const char plan_schema[] =
	"{\"type\":\"object\",\"additionalProperties\":false,\"required\":[\"plans\"],\"properties\":{\"plans\":{"
	"\"type\":\"array\",\"items\":{\"type\":\"object\",\"additionalProperties\":false,\"required\":[\"task\","
	"\"plan\"],"
	"\"properties\":{\"task\":{\"type\":\"integer\"},\"plan\":{\"type\":\"string\"}}}}}}";

static char *tasks_text(const struct crew_run *run)
{
	_wl_buffer_ struct wl_buffer text = { 0 };
	for (size_t i = 0; i < run->crew->task_count; i++) {
		const struct crew_member *who = &run->members[wl_crew_task_member(run, i)];
		(void)wl_buffer_appendf(&text, "Task %zu: %s\nExpected: %s\nAgent: %s (%s)\nTools: %zu\n\n", i + 1,
					run->descriptions[i], run->expected[i], who->agent.role, who->agent.goal,
					who->agent.tool_count);
	}
	(void)wl_buffer_append_text(&text, "Answer with JSON only: {\"plans\": [{\"task\": its number, \"plan\": the "
					   "steps as text}, ...], one for each task.");
	return text.failed ? NULL : wl_buffer_steal(&text);
}

/* Hand the plans to the tasks; how many there were. */
static int take_plans(struct crew_run *run, const char *text)
{
	_wl_json_ struct wl_json *json = NULL;
	int taken = 0;
	int read = text ? wl_crew_read_json(text, &json, NULL) : -EINVAL;
	if (read < 0)
		return read == -ENOMEM ? read : 0;
	const struct wl_json *plans = wl_json_is(json, WL_JSON_ARRAY) ? json : wl_json_get(json, "plans");
	for (const struct wl_json *plan = wl_json_first(plans); plan; plan = wl_json_next(plan)) {
		double number = wl_json_get_number(plan, "task", 0);
		const char *steps = wl_json_get_string(plan, "plan", "");
		if (!(number >= 1 && number <= (double)run->crew->task_count) || !*steps)
			continue;
		struct crew_lane *lane = &run->lanes[(size_t)number - 1];
		if (lane->plan)
			continue;
		lane->plan = strdup(steps);
		if (!lane->plan)
			return -ENOMEM;
		taken++;
	}
	return taken;
}

/* Who plans: the manager, else the first agent. */
static struct crew_member *planner(struct crew_run *run)
{
	return &run->members[run->crew->process == WL_CREW_HIERARCHICAL ? wl_crew_task_member(run, 0) : 0];
}

static int ask_plan(struct crew_run *run, int parent, struct wl_model_answer *answer, struct wl_error *err)
{
	struct crew_talk talk = { 0 };
	_wl_free_ char *tasks = tasks_text(run);
	int result = 0;
	if (!tasks || wl_crew_talk_add(&talk, WL_MODEL_SYSTEM, wl_crew_say(WL_CREW_SAY_PLANNER)) < 0 ||
	    wl_crew_talk_add(&talk, WL_MODEL_USER, tasks) < 0)
		result = wl_fail(err, EIO, "no memory to plan");
	struct crew_question question = { .lane = &run->own,
					  .who = planner(run),
					  .place = "plan",
					  .parent = parent,
					  .request = wl_crew_request(&talk) };
	question.request.schema = plan_schema;
	question.request.schema_name = "plans";
	if (result == 0)
		result = wl_crew_ask(&question, answer, err);
	wl_crew_talk_release(&talk);
	return result;
}

int wl_crew_plan(struct crew_run *run, struct wl_error *err)
{
	_wl_model_answer_ struct wl_model_answer answer = { 0 };
	struct wl_crew_step step =
		wl_crew_step_begin(run, 0, WL_CREW_STEP_PLAN, "plan", "plan", planner(run)->agent.name, NULL);
	int result = ask_plan(run, step.id, &answer, err);
	int taken = result == 0 ? take_plans(run, answer.text) : 0;
	if (taken < 0)
		result = wl_fail(err, EIO, "no memory to plan");
	step.output = answer.text;
	if (result == 0 && taken == 0) {
		step.error_code = "plan_unreadable";
		step.error = "the plan cannot be read: the tasks go without one";
	}
	wl_crew_step_end(run, &step, &run->own, result, err);
	return result;
}
