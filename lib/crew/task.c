/*
 * One task: its condition, its agent's answer, and the reviews of that answer in their order: the schema, the
 * guardrail, the person. Whoever has something to say sends it back to the agent, within the same conversation, and the
 * reviews begin anew.
 */
#include "lib/crew/internal.h"
#include "lib/crew/json_repair.h"
#include "lib/crew/prompts.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static const char verdict_schema[] =
	"{\"type\":\"object\",\"additionalProperties\":false,\"required\":[\"valid\",\"feedback\"],\"properties\":{"
	"\"valid\":{\"type\":\"boolean\"},\"feedback\":{\"type\":\"string\"}}}";

/* An answer under review. */
struct review {
	struct crew_lane *lane;
	const struct wl_crew_task *task;
	struct crew_worker *worker;
	char *text, *json;
	char *message; /* what goes back to the agent */
	bool closing;  /* without tools */
	int repairs, refusals, judged, shown;
};

static int no_memory(struct wl_error *err)
{
	return wl_fail(err, EIO, "no memory for a task");
}

int wl_crew_read_json(const char *text, struct wl_json **ret_json, struct wl_error *err)
{
	size_t length = strlen(text);
	/* any value, when there is nothing around it */
	int result = wl_json_parse(text, length, ret_json, err);
	return result == 0 || result == -ENOMEM ? result : wl_crew_repair_json(text, length, ret_json, err);
}

/* ---- reviews: 0 passed, 1 back to the agent with review->message, < 0 the run ends ----------------------- */

/* NULL and *err say why it is not what the schema asks for. */
static char *conform(const struct review *review, int *ret_result, struct wl_error *err)
{
	const struct wl_crew_world *world = review->lane->run->world;
	_wl_json_ struct wl_json *json = NULL;
	*ret_result = wl_crew_read_json(review->text, &json, err);
	if (*ret_result < 0)
		return NULL;
	_wl_free_ char *text = wl_json_print(json);
	*ret_result = text ? world->fits(world->self, review->task->schema, text, err) : -ENOMEM;
	return *ret_result == 0 ? wl_steal(text) : NULL;
}

static int review_schema(struct review *review, struct wl_error *err)
{
	struct wl_error why = { 0 };
	int result = 0;
	if (!review->task->schema)
		return 0;
	char *json = conform(review, &result, &why);
	if (json) {
		free(review->json);
		review->json = json;
		review->repairs = 0;
		char *text = strdup(json);
		if (!text)
			return no_memory(err);
		free(review->text);
		review->text = text;
		return 0;
	}
	if (result != -EINVAL && result != -EMSGSIZE) {
		*err = why;
		return wl_crew_world_failed(result, err);
	}
	if (review->repairs++ >= CREW_SCHEMA_RETRIES)
		return wl_crew_fault(review->lane, CREW_FAULT_SCHEMA, EPROTO, err,
				     "the output of task \"%.100s\" does not fit its schema: %.300s",
				     review->task->name, why.text);
	review->message = wl_crew_schema_text(review->task->schema, why.text);
	review->closing = true;
	return review->message ? 1 : no_memory(err);
}

/* Ask for a verdict. *ret_verdict stays NULL when it cannot be read. */
static int ask_verdict(struct review *review, const char *place, int parent, struct wl_json **ret_verdict,
		       struct wl_error *err)
{
	struct crew_talk talk = { 0 };
	_wl_free_ char *asked = wl_crew_guardrail_text(review->task->guardrail, review->text);
	_wl_model_answer_ struct wl_model_answer answer = { 0 };
	int result = 0;
	if (!asked || wl_crew_talk_add(&talk, WL_MODEL_SYSTEM, wl_crew_say(WL_CREW_SAY_JUDGE)) < 0 ||
	    wl_crew_talk_add(&talk, WL_MODEL_USER, asked) < 0)
		result = no_memory(err);
	struct crew_question question = { .lane = review->lane,
					  .who = review->worker->who,
					  .place = place,
					  .parent = parent,
					  .request = wl_crew_request(&talk) };
	question.request.schema = verdict_schema;
	question.request.schema_name = "verdict";
	if (result == 0)
		result = wl_crew_ask(&question, &answer, err);
	wl_crew_talk_release(&talk);
	if (result < 0 || !answer.text)
		return result;
	int read = wl_crew_read_json(answer.text, ret_verdict, NULL);
	if (read < 0)
		return read == -ENOMEM ? no_memory(err) : 0;
	if (!wl_json_is(wl_json_get(*ret_verdict, "valid"), WL_JSON_BOOL)) {
		wl_json_free(*ret_verdict);
		*ret_verdict = NULL;
	}
	return 0;
}

/* One judgement, asked for twice when the first verdict cannot be read. */
static int judge(struct review *review, struct wl_json **ret_verdict, struct wl_error *err)
{
	char place[CREW_PLACE], again[CREW_PLACE];
	struct crew_run *run = review->lane->run;
	review->judged++;
	wl_crew_place(place, "task/%zu/guardrail/%d", review->lane->task, review->judged);
	wl_crew_place(again, "task/%zu/guardrail/%d/again", review->lane->task, review->judged);
	struct wl_crew_step step =
		wl_crew_step_begin(run, review->lane->step, WL_CREW_STEP_GUARDRAIL, place, review->task->name,
				   review->worker->who->agent.name, review->text);
	int result = ask_verdict(review, place, step.id, ret_verdict, err);
	if (result == 0 && !*ret_verdict)
		result = ask_verdict(review, again, step.id, ret_verdict, err);
	if (result == 0 && !*ret_verdict)
		result = wl_crew_fault(review->lane, CREW_FAULT_GUARDRAIL, EPROTO, err,
				       "the verdict on task \"%.100s\" cannot be read", review->task->name);
	_wl_free_ char *output = *ret_verdict ? wl_json_print(*ret_verdict) : NULL;
	step.output = output;
	wl_crew_step_end(run, &step, review->lane, result, err);
	return result;
}

static int review_guardrail(struct review *review, struct wl_error *err)
{
	_wl_json_ struct wl_json *verdict = NULL;
	if (!review->task->guardrail)
		return 0;
	int result = judge(review, &verdict, err);
	if (result < 0)
		return result;
	const char *feedback = wl_json_get_string(verdict, "feedback", "");
	if (wl_json_get_bool(verdict, "valid", false)) {
		review->refusals = 0;
		return 0;
	}
	if (review->refusals++ >= WL_CREW_GUARDRAIL_RETRIES)
		return wl_crew_fault(review->lane, CREW_FAULT_GUARDRAIL, EPROTO, err,
				     "the output of task \"%.100s\" did not pass its guardrail: %.300s",
				     review->task->name, feedback);
	review->message = wl_crew_critique_text(*feedback ? feedback : review->task->guardrail);
	return review->message ? 1 : no_memory(err);
}

static int review_human(struct review *review, struct wl_error *err)
{
	char place[CREW_PLACE];
	struct crew_run *run = review->lane->run;
	const struct wl_crew_world *world = run->world;
	enum wl_crew_verdict verdict = WL_CREW_HUMAN_WAITS;
	_wl_free_ char *feedback = NULL;
	if (!review->task->human_input)
		return 0;
	int result = wl_crew_stopped(review->lane, err);
	if (result < 0)
		return result;
	wl_crew_place(place, "task/%zu/human/%d", review->lane->task, ++review->shown);
	struct wl_crew_step step = wl_crew_step_begin(run, review->lane->step, WL_CREW_STEP_HUMAN, place,
						      review->task->name, NULL, review->text);
	result = world->human(world->self, place, review->task->name, review->text, &verdict, &feedback, err);
	if (result < 0)
		result = wl_crew_world_failed(result, err);
	else if (verdict == WL_CREW_HUMAN_WAITS)
		result = wl_fail(err, EINPROGRESS, "task \"%.100s\" waits for a person", review->task->name);
	step.output = feedback;
	wl_crew_step_end(run, &step, review->lane, result, err);
	if (result < 0 || verdict == WL_CREW_HUMAN_APPROVED)
		return result;
	review->message = wl_crew_feedback_text(feedback ? feedback : "");
	return review->message ? 1 : no_memory(err);
}

static int (*const reviews[])(struct review *, struct wl_error *) = { review_schema, review_guardrail, review_human };

static int revise(struct review *review, struct wl_error *err)
{
	char *text = NULL;
	int result = wl_crew_worker_revise(review->worker, review->message, review->closing);
	free(wl_steal(review->message));
	review->closing = false;
	if (result < 0)
		return no_memory(err);
	result = wl_crew_worker_answer(review->worker, &text, err);
	if (result < 0)
		return result;
	free(review->text);
	review->text = text;
	return 0;
}

static int work(struct review *review, struct wl_error *err)
{
	int result = wl_crew_worker_answer(review->worker, &review->text, err);
	for (size_t stage = 0; result == 0 && stage < WL_COUNT_OF(reviews); stage++) {
		result = reviews[stage](review, err);
		if (result > 0) {
			result = revise(review, err);
			stage = (size_t)-1; /* from the first one again */
		}
	}
	return result;
}

/* ---- the task -------------------------------------------------------------------------------------------- */

static struct crew_job job_of(const struct crew_lane *lane, const char *context)
{
	const struct crew_run *run = lane->run;
	const struct wl_crew_task *task = &run->crew->tasks[lane->task];
	bool managed = run->crew->process == WL_CREW_HIERARCHICAL;
	return (struct crew_job){ .description = run->descriptions[lane->task],
				  .expected = run->expected[lane->task],
				  .context = context,
				  .plan = lane->plan,
				  .schema = task->schema,
				  .recall = true,
				  .streams = lane->task + 1 == run->crew->task_count && !task->schema &&
					     !task->guardrail && !task->human_input,
				  .manages = managed,
				  .only = managed ? task->agent : -1 };
}

static int carry_out(struct crew_lane *lane, const char *context, struct wl_error *err)
{
	char place[CREW_PLACE];
	const struct crew_job job = job_of(lane, context);
	size_t member = wl_crew_task_member(lane->run, lane->task);
	_wl_free_ struct crew_worker *worker = calloc(1, sizeof(*worker));
	if (!worker)
		return no_memory(err);
	struct review review = { .lane = lane, .task = &lane->run->crew->tasks[lane->task], .worker = worker };
	wl_crew_place(place, "task/%zu/agent", lane->task);
	int result = wl_crew_worker_begin(worker, lane, member, place, lane->step, &job, err);
	if (result == 0)
		result = work(&review, err);
	wl_crew_worker_end(worker, result, review.text, err);
	if (result == 0) {
		lane->output.done = true;
		lane->output.text = wl_steal(review.text);
		lane->output.json = wl_steal(review.json);
	}
	free(review.text);
	free(review.json);
	free(review.message);
	return result;
}

static struct wl_json *output_json(const struct crew_lane *lane)
{
	_wl_json_ struct wl_json *json = wl_json_object();
	if (!json || wl_json_set_string(json, "text", lane->output.text) < 0 ||
	    wl_json_set_bool(json, "skipped", lane->output.skipped) < 0)
		return NULL;
	int result = lane->output.json ? wl_json_set_raw(json, "json", lane->output.json)
				       : wl_json_set(json, "json", wl_json_new_null());
	return result < 0 ? NULL : wl_steal(json);
}

/* {"inputs", "outputs": {name: {"text","json","skipped"}}, "last"} of what was there when the task began. */
static char *condition_context(const struct crew_lane *lane)
{
	const struct crew_run *run = lane->run;
	_wl_json_ struct wl_json *context = wl_json_object();
	_wl_json_ struct wl_json *outputs = wl_json_object(), *last = NULL;
	bool failed = !context || !outputs;
	for (size_t i = 0; !failed && i < lane->task; i++) {
		if (!run->lanes[i].settled)
			continue;
		failed = wl_json_set(outputs, run->crew->tasks[i].name, output_json(&run->lanes[i])) < 0;
		if (run->lanes[i].output.skipped)
			continue;
		wl_json_free(last);
		last = output_json(&run->lanes[i]);
		failed = failed || !last;
	}
	if (failed || wl_json_set(context, "inputs", run->inputs ? wl_json_copy(run->inputs) : wl_json_object()) < 0 ||
	    wl_json_set(context, "outputs", wl_steal(outputs)) < 0 ||
	    wl_json_set(context, "last", last ? wl_steal(last) : wl_json_new_null()) < 0)
		return NULL;
	return wl_json_print(context);
}

static int is_wanted(struct crew_lane *lane, bool *ret_wanted, struct wl_error *err)
{
	const struct wl_crew_world *world = lane->run->world;
	const struct wl_crew_task *task = &lane->run->crew->tasks[lane->task];
	*ret_wanted = true;
	if (!task->condition)
		return 0;
	_wl_free_ char *context = condition_context(lane);
	if (!context)
		return no_memory(err);
	struct wl_error why = { 0 };
	int result = world->condition(world->self, task->condition, context, ret_wanted, &why);
	if (result == 0)
		return 0;
	if (result == -EINVAL)
		return wl_crew_fault(lane, CREW_FAULT_CONDITION, EINVAL, err,
				     "the condition of task \"%.100s\": %.300s", task->name, why.text);
	*err = why;
	return wl_crew_world_failed(result, err);
}

int wl_crew_task_run(struct crew_lane *lane, const char *context, struct wl_error *err)
{
	struct crew_run *run = lane->run;
	char place[CREW_PLACE];
	bool wanted = true;
	wl_crew_place(place, "task/%zu", lane->task);
	lane->output.agent = wl_crew_member_name(run, wl_crew_task_member(run, lane->task));
	struct wl_crew_step step =
		wl_crew_step_begin(run, 0, WL_CREW_STEP_TASK, place, run->crew->tasks[lane->task].name,
				   lane->output.agent, run->descriptions[lane->task]);
	lane->step = step.id;
	int result = is_wanted(lane, &wanted, err);
	if (result == 0 && wanted)
		result = carry_out(lane, context, err);
	if (result == 0 && !wanted) {
		lane->output.skipped = true;
		wl_crew_note(run, step.id, place, NULL, "its condition is not met: skipped");
	}
	step.output = lane->output.text;
	wl_crew_step_end(run, &step, lane, result, err);
	return result;
}
