/*
 * An agent at work: it asks its model, does what the model wants of tools, and asks again, until there is an answer.
 *
 *	turn ──> judge ──> FINAL       the answer
 *	  ^        ├─────> USE         tool uses of the model's own form; their results go back
 *	  │        ├─────> ACT         an Action of the text form; its Observation goes back
 *	  │        ├─────> EMPTY       nothing: said so, a few times
 *	  │        └─────> UNREADABLE  neither Action nor Final Answer: said so, then taken as the answer
 *	  └──────────────────┘
 *
 * After max_iter turns the next answer is final, whatever it is. A server that refuses tools gets the conversation in
 * the text form from then on; one that finds it too long gets its middle summarised.
 */
#include "lib/crew/internal.h"
#include "lib/crew/prompts.h"
#include "lib/crew/react.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#define HELD ((size_t)-1)
#define MARKER (sizeof(WL_CREW_REACT_STOP) - 1) /* bytes; that of the answer is no longer */

enum verdict { VERDICT_FINAL, VERDICT_USE, VERDICT_ACT, VERDICT_EMPTY, VERDICT_UNREADABLE };

/* What one answer has taken so far. */
struct effort {
	int asked, empty, unreadable;
};

/* A turn: the answer of the model and what was made out of it. */
struct turn {
	char place[CREW_PLACE];
	struct wl_model_answer answer;
	struct wl_crew_react read;
	enum verdict verdict;
	struct effort *effort;
};

static int no_memory(struct wl_error *err)
{
	return wl_fail(err, EIO, "no memory for an agent's work");
}

static bool as_text(const struct crew_worker *worker)
{
	return worker->text_mode && worker->tool_count > 0;
}

/* ---- beginning and end ----------------------------------------------------------------------------------- */

static int add_system(struct crew_worker *worker)
{
	_wl_free_ char *text =
		wl_crew_system_text(&worker->who->agent, worker->tools, as_text(worker) ? worker->tool_count : 0);
	if (!text)
		return -ENOMEM;
	return worker->talk.count > 0 ? wl_crew_talk_replace(&worker->talk, 0, text)
				      : wl_crew_talk_add(&worker->talk, WL_MODEL_SYSTEM, text);
}

int wl_crew_worker_begin(struct crew_worker *worker, struct crew_lane *lane, size_t member, const char *place,
			 int parent, const struct crew_job *job, struct wl_error *err)
{
	*worker =
		(struct crew_worker){ .lane = lane, .who = &lane->run->members[member], .member = member, .job = *job };
	wl_crew_place(worker->place, "%s", place);
	worker->step = wl_crew_step_begin(lane->run, parent, WL_CREW_STEP_AGENT, worker->place, worker->who->agent.name,
					  worker->who->agent.name, job->description);
	int result = wl_crew_worker_equip(worker, err);
	_wl_free_ char *recalled = NULL;
	if (result == 0 && job->recall)
		result = wl_crew_recall(worker, job->description, &recalled, err);
	if (result < 0)
		return result;
	_wl_free_ char *task = wl_crew_job_text(job, recalled);
	if (!task || add_system(worker) < 0 || wl_crew_talk_add(&worker->talk, WL_MODEL_USER, task) < 0)
		return no_memory(err);
	return 0;
}

/* Tell the world how large the conversation is now. */
static int hold(struct crew_worker *worker, size_t bytes, struct wl_error *err)
{
	const struct wl_crew_world *world = worker->lane->run->world;
	struct wl_error why = { 0 };
	if (!world->hold || bytes == worker->held)
		return 0;
	if (world->hold(world->self, (int64_t)bytes - (int64_t)worker->held, &why) < 0)
		return wl_crew_fault(worker->lane, CREW_FAULT_FULL, ENOSPC, err, "%s", why.text);
	worker->held = bytes;
	return 0;
}

void wl_crew_worker_end(struct crew_worker *worker, int result, const char *output, const struct wl_error *err)
{
	worker->step.output = output;
	wl_crew_step_end(worker->lane->run, &worker->step, worker->lane, result, err);
	for (size_t i = 0; i < worker->tool_count; i++) {
		if (worker->tools[i].kind != CREW_TOOL_PORT) /* the others are the member's */
			wl_tool_description_release(&worker->tools[i].told);
	}
	struct wl_error ignored;
	(void)hold(worker, 0, &ignored);
	wl_crew_talk_release(&worker->talk);
	wl_buffer_release(&worker->streaming);
}

int wl_crew_worker_revise(struct crew_worker *worker, const char *message, bool closing)
{
	worker->closing = closing;
	return message ? wl_crew_talk_add(&worker->talk, WL_MODEL_USER, message) : -ENOMEM;
}

/* ---- the answer as it comes ------------------------------------------------------------------------------ */

/* Where the search for a marker has to begin when text was added behind `before`. */
static const char *behind(const struct crew_worker *worker, size_t before, size_t *ret_length)
{
	size_t from = before > MARKER ? before - MARKER : 0;
	*ret_length = worker->streaming.length - from;
	return worker->streaming.data + from;
}

/*
 * How far the text may be passed on: an Observation that the model makes up itself is none of its answer, and may have
 * come in part only.
 */
static size_t sure_length(struct crew_worker *worker, size_t before)
{
	size_t length;
	const char *from = behind(worker, before, &length);
	if (!as_text(worker))
		return worker->streaming.length;
	const char *made_up = memmem(from, length, WL_CREW_REACT_STOP, sizeof(WL_CREW_REACT_STOP) - 1);
	if (made_up && worker->made_up == 0)
		worker->made_up = (size_t)(made_up - worker->streaming.data) + 1;
	if (worker->made_up > 0)
		return worker->made_up - 1;
	return worker->streaming.length > MARKER ? worker->streaming.length - MARKER : 0;
}

/* Is it known by now that what comes is the answer? Then worker->emitted is where it begins. */
static bool answer_begins(struct crew_worker *worker, size_t before)
{
	size_t length;
	const char *from = behind(worker, before, &length);
	const char *answer = as_text(worker) && worker->made_up == 0 ? wl_crew_react_answer(from, length) : NULL;
	if (worker->emitted == HELD && answer)
		worker->emitted = (size_t)(answer - worker->streaming.data);
	return worker->emitted != HELD;
}

static void emit_to(struct crew_worker *worker, size_t to)
{
	const struct wl_crew_world *world = worker->lane->run->world;
	const char *text = worker->streaming.data;
	/* no white space before the answer */
	while (!worker->lane->run->streamed && worker->emitted < to && isspace((unsigned char)text[worker->emitted]))
		worker->emitted++;
	/* nor half a character at its end, which comes whole with the next piece */
	while (to > worker->emitted && to < worker->streaming.length && ((unsigned char)text[to] & 0xc0) == 0x80)
		to--;
	if (worker->emitted >= to)
		return;
	world->token(world->self, worker->who->agent.name, text + worker->emitted, to - worker->emitted);
	worker->emitted = to;
	worker->lane->run->streamed = true;
}

static void on_text(void *context, const char *text, size_t length)
{
	struct crew_worker *worker = context;
	size_t before = worker->streaming.length;
	if (wl_buffer_append(&worker->streaming, text, length) < 0)
		return; /* it is passed on as a whole then, unless some of it was */
	size_t sure = sure_length(worker, before);
	if (answer_begins(worker, before))
		emit_to(worker, sure);
}

/* What was held back of an answer that ends at `end` of the turn's text. */
static void emit_rest(struct crew_worker *worker, const struct wl_model_answer *answer, size_t end)
{
	if (as_text(worker) && worker->emitted != HELD && end > worker->emitted && !worker->streaming.failed &&
	    worker->streaming.length == strlen(answer->text))
		emit_to(worker, end);
}

/* ---- one turn -------------------------------------------------------------------------------------------- */

static void offer_tools(const struct crew_worker *worker, struct wl_model_tool *tools, struct wl_model_request *request)
{
	for (size_t i = 0; i < worker->tool_count; i++) {
		const struct wl_tool_description *told = &worker->tools[i].told;
		tools[i] = (struct wl_model_tool){ .name = told->name,
						   .description = told->description,
						   .parameters = told->input_schema };
	}
	request->tools = tools;
	request->tool_count = worker->tool_count;
	/* still told when they may not be called: the conversation holds calls of them */
	request->tool_choice = worker->closing ? WL_MODEL_TOOL_NONE : WL_MODEL_TOOL_AUTO;
}

static int ask_turn(struct crew_worker *worker, struct turn *turn, struct wl_error *err)
{
	static const char *const stops[] = { WL_CREW_REACT_STOP };
	const struct crew_run *run = worker->lane->run;
	struct wl_model_tool tools[WL_MODEL_TOOLS_MAX];
	const struct wl_model_stream stream = { .context = worker, .text = on_text };
	struct crew_question question = { .lane = worker->lane,
					  .who = worker->who,
					  .place = turn->place,
					  .parent = worker->step.id,
					  .shown = worker->shown,
					  .deadline_ms = worker->deadline_ms,
					  .request = wl_crew_request(&worker->talk) };
	bool may_call = worker->tool_count > 0 && !worker->closing;
	wl_crew_place(turn->place, "%s/turn/%d", worker->place, ++worker->turn);
	if (as_text(worker)) {
		question.request.stops = stops;
		question.request.stop_count = 1;
	} else if (worker->tool_count > 0) {
		offer_tools(worker, tools, &question.request);
	}
	/* a schema would keep the model from calling tools: it is asked for when the answer is due */
	if (!may_call)
		question.request.schema = worker->job.schema;
	wl_buffer_clear(&worker->streaming);
	worker->made_up = 0;
	worker->emitted = may_call || as_text(worker) ? HELD : 0;
	if (worker->job.streams && run->world->token)
		question.request.stream = &stream;
	int result = wl_crew_ask(&question, &turn->answer, err);
	worker->shown = worker->talk.count;
	return result;
}

static bool blank(const char *text, size_t length)
{
	for (size_t i = 0; i < length; i++) {
		if (!isspace((unsigned char)text[i]))
			return false;
	}
	return true;
}

/* Pure: what the model's answer is. */
static enum verdict judge(const struct crew_worker *worker, struct turn *turn)
{
	const char *text = turn->answer.text ? turn->answer.text : "";
	size_t length = strlen(text);
	if (turn->answer.tool_use_count > 0 && !worker->closing && !worker->text_mode)
		return VERDICT_USE;
	if (blank(text, length))
		return VERDICT_EMPTY;
	turn->read = (struct wl_crew_react){ .answer = text, .answer_length = length, .length = length };
	if (!as_text(worker))
		return VERDICT_FINAL;
	struct wl_crew_react read = wl_crew_react_read(text, length);
	bool enough = worker->closing ||
		      (read.kind != WL_CREW_REACT_ACTION && turn->effort->unreadable >= CREW_FORMAT_RETRIES);
	if (read.kind == WL_CREW_REACT_FINAL || !enough)
		turn->read = read;
	if (turn->read.answer)
		return turn->read.answer_length > 0 ? VERDICT_FINAL : VERDICT_EMPTY;
	return turn->read.kind == WL_CREW_REACT_ACTION ? VERDICT_ACT : VERDICT_UNREADABLE;
}

/* ---- what follows from it: 0 the next turn, 1 there is the answer, < 0 the run ends ---------------------- */

static int take_answer(struct crew_worker *worker, struct turn *turn, char **ret_text, struct wl_error *err)
{
	const char *text = turn->read.answer;
	size_t length = turn->read.answer_length;
	while (length > 0 && isspace((unsigned char)*text))
		text++, length--;
	while (length > 0 && isspace((unsigned char)text[length - 1]))
		length--;
	emit_rest(worker, &turn->answer, (size_t)(text - turn->answer.text) + length);
	if (turn->answer.end == WL_MODEL_END_LENGTH)
		wl_crew_note(worker->lane->run, worker->step.id, turn->place, worker->who->agent.name,
			     "the answer is as long as the provider allows: it may be cut off");
	*ret_text = strndup(text, length);
	if (!*ret_text)
		return no_memory(err);
	if (wl_crew_talk_add(&worker->talk, WL_MODEL_ASSISTANT, *ret_text) < 0) {
		free(wl_steal(*ret_text));
		return no_memory(err);
	}
	return 1;
}

static void drop_use(struct wl_model_tool_use *use)
{
	free(use->id);
	free(use->name);
	free(use->arguments);
	*use = (struct wl_model_tool_use){ 0 };
}

static bool has_own_id(const struct wl_model_tool_use *uses, size_t index)
{
	if (!uses[index].id || !*uses[index].id)
		return false;
	for (size_t i = 0; i < index; i++) {
		if (strcmp(uses[i].id, uses[index].id) == 0)
			return false;
	}
	return true;
}

/* No more of them than are looked at, none without its texts, each with an id of its own: providers may give none. */
static int tidy_uses(struct wl_model_answer *answer, int turn)
{
	struct wl_model_tool_use *uses = answer->tool_uses;
	while (answer->tool_use_count > CREW_USES_MAX)
		drop_use(&uses[--answer->tool_use_count]);
	for (size_t i = 0; i < answer->tool_use_count; i++) {
		if ((!uses[i].name && !(uses[i].name = strdup(""))) ||
		    (!uses[i].arguments && !(uses[i].arguments = strdup(""))))
			return -ENOMEM;
		if (has_own_id(uses, i))
			continue;
		char *id = NULL;
		if (asprintf(&id, "call_%d_%zu", turn, i) < 0)
			return -ENOMEM;
		free(uses[i].id);
		uses[i].id = id;
	}
	return 0;
}

static int use_one(struct crew_worker *worker, const struct turn *turn, size_t index,
		   const struct wl_model_tool_use *use, struct wl_error *err)
{
	_wl_free_ char *text = NULL;
	bool failed = false;
	int result = wl_crew_use_tool(worker, turn->place, index, use->name, use->arguments, &text, &failed, err);
	if (result < 0)
		return result;
	return wl_crew_talk_add_result(&worker->talk, use->id, text, failed) < 0 ? no_memory(err) : 0;
}

static int use_tools(struct crew_worker *worker, struct turn *turn, struct wl_error *err)
{
	bool too_many = turn->answer.tool_use_count > CREW_USES_MAX;
	if (tidy_uses(&turn->answer, worker->turn) < 0 || wl_crew_talk_add_uses(&worker->talk, &turn->answer) < 0)
		return no_memory(err);
	size_t said = worker->talk.count - 1; /* the array may move while results are added */
	for (size_t i = 0; i < worker->talk.items[said].tool_use_count; i++) {
		int result = use_one(worker, turn, i, &worker->talk.items[said].tool_uses[i], err);
		if (result < 0)
			return result;
	}
	if (too_many && wl_crew_talk_add(&worker->talk, WL_MODEL_USER, wl_crew_say(WL_CREW_SAY_TOO_MANY)) < 0)
		return no_memory(err);
	return 0;
}

static int act(struct crew_worker *worker, struct turn *turn, struct wl_error *err)
{
	const struct wl_crew_react *read = &turn->read;
	_wl_free_ char *said = strndup(turn->answer.text, read->length);
	_wl_free_ char *name = strndup(read->action, read->action_length);
	_wl_free_ char *input = strndup(read->input, read->input_length);
	_wl_free_ char *text = NULL, *seen = NULL;
	bool failed = false;
	if (!said || !name || !input || wl_crew_talk_add(&worker->talk, WL_MODEL_ASSISTANT, said) < 0)
		return no_memory(err);
	int result = wl_crew_use_tool(worker, turn->place, 0, name, input, &text, &failed, err);
	if (result < 0)
		return result;
	if (asprintf(&seen, "Observation: %s", text) < 0) {
		seen = NULL;
		return no_memory(err);
	}
	return wl_crew_talk_add(&worker->talk, WL_MODEL_USER, seen) < 0 ? no_memory(err) : 0;
}

static int say_empty(struct crew_worker *worker, struct turn *turn, struct wl_error *err)
{
	if (turn->effort->empty++ >= CREW_EMPTY_RETRIES)
		return wl_crew_fault(worker->lane, CREW_FAULT_EMPTY, ENODATA, err,
				     "the model gave %.100s no answer, %d times in a row", worker->who->agent.name,
				     turn->effort->empty);
	return wl_crew_talk_add(&worker->talk, WL_MODEL_USER, wl_crew_say(WL_CREW_SAY_EMPTY)) < 0 ? no_memory(err) : 0;
}

static int say_unreadable(struct crew_worker *worker, struct turn *turn, struct wl_error *err)
{
	enum wl_crew_sentence hint =
		turn->read.kind == WL_CREW_REACT_NO_INPUT ? WL_CREW_SAY_NO_INPUT : WL_CREW_SAY_NO_ACTION;
	turn->effort->unreadable++;
	_wl_free_ char *said = strndup(turn->answer.text, turn->read.length);
	if (!said || wl_crew_talk_add(&worker->talk, WL_MODEL_ASSISTANT, said) < 0 ||
	    wl_crew_talk_add(&worker->talk, WL_MODEL_USER, wl_crew_say(hint)) < 0)
		return no_memory(err);
	return 0;
}

static int follow(struct crew_worker *worker, struct turn *turn, char **ret_text, struct wl_error *err)
{
	if (turn->verdict != VERDICT_EMPTY)
		turn->effort->empty = 0;
	switch (turn->verdict) {
	case VERDICT_FINAL:
		return take_answer(worker, turn, ret_text, err);
	case VERDICT_USE:
		return use_tools(worker, turn, err);
	case VERDICT_ACT:
		return act(worker, turn, err);
	case VERDICT_EMPTY:
		return say_empty(worker, turn, err);
	case VERDICT_UNREADABLE:
		return say_unreadable(worker, turn, err);
	}
	return -EIO;
}

/* ---- the loop -------------------------------------------------------------------------------------------- */

static uint64_t now(const struct crew_worker *worker)
{
	const struct wl_crew_world *world = worker->lane->run->world;
	return world->now_ms(world->self);
}

static int out_of_time(struct crew_worker *worker, struct wl_error *err)
{
	return wl_crew_fault(worker->lane, CREW_FAULT_TIME, ETIME, err, "%.100s has no more time for its task",
			     worker->who->agent.name);
}

static int downgrade(struct crew_worker *worker, struct wl_error *err)
{
	wl_crew_note(worker->lane->run, worker->step.id, worker->place, worker->who->agent.name,
		     "the server takes no tools: asked in the text form from now on");
	worker->text_mode = true;
	worker->shown = 0;
	return wl_crew_talk_to_text(&worker->talk) < 0 || add_system(worker) < 0 ? no_memory(err) : 0;
}

/* A call that failed: 0 when the next one may do better, else what the run ends with. */
static int recover(struct crew_worker *worker, const struct turn *turn, int result, struct wl_error *err)
{
	struct wl_error why = *err;
	const char *fault = worker->lane->fault;
	bool late = worker->deadline_ms > 0 && now(worker) >= worker->deadline_ms;
	worker->lane->fault = NULL;
	switch (turn->answer.fault) {
	case WL_MODEL_FAULT_TOOLS:
		if (!worker->text_mode && worker->tool_count > 0)
			return downgrade(worker, err);
		break;
	case WL_MODEL_FAULT_CONTEXT: {
		int shorter = wl_crew_summarise(worker, err);
		if (shorter != -EMSGSIZE)
			return shorter;
		break;
	}
	case WL_MODEL_FAULT_LATE:
		if (late)
			return out_of_time(worker, err);
		break;
	default:
		break;
	}
	*err = why;
	worker->lane->fault = fault;
	return result;
}

static void set_deadline(struct crew_worker *worker)
{
	int seconds = worker->who->agent.max_execution_s;
	worker->deadline_ms = seconds > 0 ? now(worker) + (uint64_t)seconds * 1000 : 0;
	if (worker->job.until_ms > 0 && (worker->deadline_ms == 0 || worker->job.until_ms < worker->deadline_ms))
		worker->deadline_ms = worker->job.until_ms;
}

/*
 * What a model and its tools say is kept until the task is done, so it needs a bound of ours: a server that takes any
 * length would fill the memory of all.
 */
static int keep_short(struct crew_worker *worker, struct wl_error *err)
{
	int result = 0;
	while (result == 0 && wl_crew_talk_bytes(&worker->talk) > CREW_TALK_MAX)
		result = wl_crew_summarise(worker, err);
	if (result != -EMSGSIZE)
		return result;
	worker->lane->fault = wl_model_fault_word(WL_MODEL_FAULT_CONTEXT);
	return wl_fail(err, EMSGSIZE, "the conversation of %.100s is longer than %u bytes", worker->who->agent.name,
		       CREW_TALK_MAX);
}

/* Before each turn: is there time, and are there turns? */
static int admit(struct crew_worker *worker, const struct effort *effort, struct wl_error *err)
{
	int max = worker->who->agent.max_iter > 0 ? worker->who->agent.max_iter : WL_CREW_MAX_ITER;
	if (worker->deadline_ms > 0 && now(worker) >= worker->deadline_ms)
		return out_of_time(worker, err);
	if (effort->asked < max || worker->closing)
		return 0;
	wl_crew_note(worker->lane->run, worker->step.id, worker->place, worker->who->agent.name,
		     "max_iter is reached: the next answer is final");
	return wl_crew_worker_revise(worker, wl_crew_say(WL_CREW_SAY_FORCE), true) < 0 ? no_memory(err) : 0;
}

int wl_crew_worker_answer(struct crew_worker *worker, char **ret_text, struct wl_error *err)
{
	struct effort effort = { 0 };
	int result = 0;
	set_deadline(worker);
	while (result == 0) {
		struct turn turn = { .effort = &effort };
		result = admit(worker, &effort, err);
		if (result == 0)
			result = keep_short(worker, err);
		if (result == 0)
			result = hold(worker, wl_crew_talk_bytes(&worker->talk), err);
		if (result < 0)
			break;
		result = ask_turn(worker, &turn, err);
		if (result < 0) {
			result = recover(worker, &turn, result, err);
		} else {
			effort.asked++;
			turn.verdict = judge(worker, &turn);
			result = follow(worker, &turn, ret_text, err);
		}
		wl_model_answer_release(&turn.answer);
	}
	worker->closing = false;
	return result < 0 ? result : 0;
}
