/*
 * The one way from a crew to its models, with what belongs to each question: the stop, the rates, the trace, the sum of
 * what was used. Faults get their words and errnos here.
 */
#include "lib/crew/internal.h"
#include "lib/crew/prompts.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#define MINUTE_MS 60000u

static const char *const fault_words[] = { "",
#define X(name, word, sentence) word,
					   WL_CREW_FAULTS(X)
#undef X
};

void wl_crew_place(char *place, const char *fmt, ...)
{
	va_list args;
	va_start(args, fmt);
	(void)vsnprintf(place, CREW_PLACE, fmt, args);
	va_end(args);
}

int wl_crew_fault(struct crew_lane *lane, enum crew_fault fault, int errnum, struct wl_error *err, const char *fmt, ...)
{
	char text[WL_ERROR_TEXT];
	va_list args;
	va_start(args, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	lane->fault = fault_words[fault];
	return wl_fail(err, errnum, "%s", text);
}

int wl_crew_world_failed(int result, struct wl_error *err)
{
	int code = result == -ECANCELED || result == -EAGAIN || result == -EINPROGRESS ? -result : EIO;
	if (err->code == 0)
		return wl_fail_errno(err, code, "the world of the crew failed");
	err->code = code;
	return -code;
}

int wl_crew_stopped(struct crew_lane *lane, struct wl_error *err)
{
	const struct wl_crew_world *world = lane->run->world;
	if (atomic_load(&lane->run->halted))
		return wl_fail(err, ECANCELED, "another task of the crew failed");
	if ((world->stop && atomic_load(world->stop)) || world->pause(world->self, 0))
		return wl_fail(err, ECANCELED, "the run was stopped");
	return 0;
}

int wl_crew_once(struct crew_worker *worker, enum crew_gathering *known,
		 int (*gather)(struct crew_worker *worker, struct wl_error *err), struct wl_error *err)
{
	struct crew_run *run = worker->lane->run;
	int result = 0;
	(void)pthread_mutex_lock(&run->gathering);
	if (*known == CREW_UNKNOWN) {
		result = gather(worker, err);
		*known = result < 0 ? CREW_FAILED : CREW_KNOWN;
	} else if (*known == CREW_FAILED) {
		result = wl_fail(err, ECANCELED, "another task of the crew failed");
	}
	(void)pthread_mutex_unlock(&run->gathering);
	return result;
}

/* ---- rates / --------------------------------------------------------------------------------------------- */

/* Take a call into the last minute's. 0; -EAGAIN with the ms to wait; -ENOMEM. */
static int rate_take(struct crew_rate *rate, uint64_t now, uint64_t *ret_wait)
{
	if (rate->max <= 0)
		return 0;
	while (rate->count > 0 && now - rate->times[rate->head] >= MINUTE_MS) {
		rate->head = (rate->head + 1) % rate->capacity;
		rate->count--;
	}
	if (rate->count >= (size_t)rate->max) {
		*ret_wait = rate->times[rate->head] + MINUTE_MS - now;
		return -EAGAIN;
	}
	if (rate->count == rate->capacity) {
		size_t capacity = rate->capacity ? rate->capacity * 2 : 16;
		uint64_t *grown = malloc(capacity * sizeof(*grown));
		if (!grown)
			return -ENOMEM;
		for (size_t i = 0; i < rate->count; i++)
			grown[i] = rate->times[(rate->head + i) % rate->capacity];
		free(rate->times);
		*rate = (struct crew_rate){
			.times = grown, .count = rate->count, .capacity = capacity, .max = rate->max
		};
	}
	rate->times[(rate->head + rate->count++) % rate->capacity] = now;
	return 0;
}

/* An answer from the record was no call. */
static void rate_give_back(struct crew_rate *rate)
{
	if (rate->max > 0 && rate->count > 0)
		rate->count--;
}

static int take_both(struct crew_run *run, struct crew_member *who, uint64_t *ret_wait)
{
	uint64_t now = run->world->now_ms(run->world->self);
	(void)pthread_mutex_lock(&run->lock);
	int result = rate_take(&who->rate, now, ret_wait);
	if (result == 0) {
		result = rate_take(&run->rate, now, ret_wait);
		if (result < 0)
			rate_give_back(&who->rate);
	}
	(void)pthread_mutex_unlock(&run->lock);
	return result;
}

static int wait_for_rate(struct crew_lane *lane, struct crew_member *who, struct wl_error *err)
{
	const struct wl_crew_world *world = lane->run->world;
	for (;;) {
		uint64_t wait = 0;
		int result = take_both(lane->run, who, &wait);
		if (result != -EAGAIN)
			return result == 0 ? 0 : wl_fail(err, EIO, "no memory to count calls");
		if (world->pause(world->self, wait))
			return wl_fail(err, ECANCELED, "the run was stopped");
		result = wl_crew_stopped(lane, err);
		if (result < 0)
			return result;
	}
}

/* ---- the trace ------------------------------------------------------------------------------------------- */

struct wl_crew_step wl_crew_step_begin(struct crew_run *run, int parent, enum wl_crew_step_kind kind, const char *place,
				       const char *name, const char *agent, const char *input)
{
	const struct wl_crew_world *world = run->world;
	struct wl_crew_step step = { .parent = parent,
				     .kind = kind,
				     .place = place,
				     .name = name,
				     .agent = agent,
				     .input = input,
				     .start_ms = world->wall_ms(world->self) };
	(void)pthread_mutex_lock(&run->lock);
	step.id = ++run->steps;
	(void)pthread_mutex_unlock(&run->lock);
	if (world->step)
		world->step(world->self, &step);
	return step;
}

static const char *step_code(const struct crew_lane *lane, int result)
{
	if (lane && lane->fault)
		return lane->fault;
	return result == -ECANCELED ? "cancelled" : result == -EINPROGRESS ? "waiting" : "world_failed";
}

void wl_crew_step_end(struct crew_run *run, struct wl_crew_step *step, const struct crew_lane *lane, int result,
		      const struct wl_error *err)
{
	const struct wl_crew_world *world = run->world;
	if (result < 0 && !step->error_code) {
		step->error_code = step_code(lane, result);
		step->error = err->text;
	}
	step->ended = true;
	step->end_ms = world->wall_ms(world->self);
	if (world->step)
		world->step(world->self, step);
}

void wl_crew_note(struct crew_run *run, int parent, const char *place, const char *agent, const char *text)
{
	struct wl_crew_step step = wl_crew_step_begin(run, parent, WL_CREW_STEP_NOTE, place, text, agent, NULL);
	wl_crew_step_end(run, &step, NULL, 0, NULL);
}

static void add_member(struct wl_buffer *out, const char *name, const char *text)
{
	if (!text)
		return;
	(void)wl_buffer_appendf(out, ",\"%s\":", name);
	(void)wl_buffer_append_json_string(out, text, strlen(text));
}

static void add_uses(struct wl_buffer *out, const struct wl_model_tool_use *uses, size_t count)
{
	(void)wl_buffer_append_text(out, ",\"tool_uses\":[");
	for (size_t i = 0; i < count; i++) {
		(void)wl_buffer_appendf(out, "%s{\"kind\":\"tool_use\"", i ? "," : "");
		add_member(out, "id", uses[i].id);
		add_member(out, "name", uses[i].name);
		add_member(out, "arguments", uses[i].arguments);
		(void)wl_buffer_append_char(out, '}');
	}
	(void)wl_buffer_append_char(out, ']');
}

/* The messages that the trace has not seen yet, as JSON; NULL without memory: a trace is worth no run. */
static char *shown_messages(const struct crew_question *question)
{
	static const char *const roles[] = { "system", "user", "assistant", "tool" };
	_wl_buffer_ struct wl_buffer out = { 0 };
	(void)wl_buffer_append_char(&out, '[');
	for (size_t i = question->shown; i < question->request.message_count; i++) {
		const struct wl_model_message *message = &question->request.messages[i];
		(void)wl_buffer_appendf(&out, "%s{\"role\":\"%s\"", i > question->shown ? "," : "",
					roles[message->role]);
		add_member(&out, "text", message->text);
		add_member(&out, "tool_use_id", message->tool_use_id);
		if (message->tool_use_count > 0)
			add_uses(&out, message->tool_uses, message->tool_use_count);
		(void)wl_buffer_append_char(&out, '}');
	}
	(void)wl_buffer_append_char(&out, ']');
	return out.failed ? NULL : wl_buffer_steal(&out);
}

static char *shown_answer(const struct wl_model_answer *answer)
{
	if (answer->tool_use_count == 0)
		return answer->text ? strdup(answer->text) : NULL;
	_wl_buffer_ struct wl_buffer out = { 0 };
	(void)wl_buffer_append_text(&out, "{\"kind\":\"tool_uses\"");
	add_member(&out, "text", answer->text);
	add_uses(&out, answer->tool_uses, answer->tool_use_count);
	(void)wl_buffer_append_char(&out, '}');
	return out.failed ? NULL : wl_buffer_steal(&out);
}

/* ---- the question ---------------------------------------------------------------------------------------- */

struct wl_model_request wl_crew_request(const struct crew_talk *talk)
{
	return (struct wl_model_request){ .messages = talk->items,
					  .message_count = talk->count,
					  .tool_choice = WL_MODEL_TOOL_AUTO,
					  .temperature = NAN,
					  .top_p = NAN,
					  .cancel_fd = -1 };
}

static void count_answer(struct crew_run *run, struct crew_member *who, const struct wl_model_answer *answer)
{
	struct wl_model_usage *usage = &run->result->usage;
	(void)pthread_mutex_lock(&run->lock);
	usage->prompt += answer->usage.prompt;
	usage->completion += answer->usage.completion;
	usage->cached += answer->usage.cached;
	usage->cache_write += answer->usage.cache_write;
	usage->reasoning += answer->usage.reasoning;
	usage->estimated = usage->estimated || answer->usage.estimated;
	run->result->cost += answer->cost;
	run->result->model_calls++;
	if (answer->replayed) {
		rate_give_back(&who->rate);
		rate_give_back(&run->rate);
	}
	(void)pthread_mutex_unlock(&run->lock);
}

/* A port says why a model gave no answer (a fault, which is the run's end), or that it can say nothing itself. */
static int failed_call(struct crew_lane *lane, const struct wl_model_answer *answer, int result, struct wl_error *err)
{
	if (err->code == 0)
		(void)wl_fail(err, -result, "the model gave no answer");
	if (answer->fault == WL_MODEL_FAULT_NONE)
		return wl_crew_world_failed(result, err);
	lane->fault = wl_model_fault_word(answer->fault);
	if (answer->fault == WL_MODEL_FAULT_STOPPED)
		err->code = ECANCELED;
	else if (result == -EAGAIN || result == -EIO || result == -EINPROGRESS || result == -ECANCELED)
		err->code = answer->fault == WL_MODEL_FAULT_RATE ? EBUSY : EPROTO; /* no reason to begin again */
	else
		err->code = -result;
	return -err->code;
}

static void prepare(struct crew_question *question)
{
	const struct crew_lane *lane = question->lane;
	const struct wl_crew_world *world = lane->run->world;
	struct wl_model_request *request = &question->request;
	request->provider_id = question->who->agent.provider_id;
	request->model = question->who->agent.model;
	request->temperature = question->who->agent.temperature;
	request->max_tokens = question->who->agent.max_tokens;
	request->place = question->place;
	request->agent = question->who->agent.name;
	request->cancel_fd = world->cancel_fd;
	if (question->deadline_ms == 0)
		return;
	uint64_t now = world->now_ms(world->self);
	uint64_t left = question->deadline_ms > now ? question->deadline_ms - now : 1;
	request->timeout_ms = left < UINT32_MAX ? (uint32_t)left : 0;
}

int wl_crew_ask(struct crew_question *question, struct wl_model_answer *answer, struct wl_error *err)
{
	struct crew_lane *lane = question->lane;
	struct crew_run *run = lane->run;
	const struct wl_model_port *port = run->world->models;
	int result = wl_crew_stopped(lane, err);
	if (result == 0)
		result = wait_for_rate(lane, question->who, err);
	if (result < 0)
		return result;
	prepare(question);
	_wl_free_ char *input = run->world->step ? shown_messages(question) : NULL;
	struct wl_crew_step step = wl_crew_step_begin(run, question->parent, WL_CREW_STEP_MODEL, question->place,
						      question->request.model, question->request.agent, input);
	lane->asked++;
	*err = (struct wl_error){ 0 };
	result = port->call(port->self, &question->request, answer, err);
	count_answer(run, question->who, answer);
	if (result < 0)
		result = failed_call(lane, answer, result, err);
	_wl_free_ char *output = run->world->step ? shown_answer(answer) : NULL;
	step.output = output;
	step.name = answer->model ? answer->model : step.name;
	step.usage = &answer->usage;
	step.cost = answer->cost;
	step.replayed = answer->replayed;
	step.first_us = answer->first_us;
	wl_crew_step_end(run, &step, lane, result, err);
	return result;
}

int wl_crew_embed(struct crew_lane *lane, const struct crew_member *who, const char *place, const char *const *texts,
		  size_t count, float **ret_vectors, size_t *ret_dimensions, struct wl_error *err)
{
	const struct wl_model_port *port = lane->run->world->models;
	*ret_vectors = NULL;
	if (!port->embed || count == 0)
		return 0;
	int result = wl_crew_stopped(lane, err);
	if (result < 0)
		return result;
	*err = (struct wl_error){ 0 };
	result = port->embed(port->self, who->agent.provider_id, NULL, texts, count, place, ret_vectors, ret_dimensions,
			     err);
	if (result == 0)
		return 0;
	*ret_vectors = NULL;
	switch (result) {
	case -EINVAL:
	case -ENOENT:
	case -EACCES:
	case -EMSGSIZE:
	case -EPROTO: /* the provider makes no vectors: what needs them does without */
		*err = (struct wl_error){ 0 };
		return 0;
	case -EDQUOT:
		lane->fault = wl_model_fault_word(WL_MODEL_FAULT_BUDGET);
		return result;
	case -EAGAIN:
	case -ECONNREFUSED:
	case -ETIMEDOUT:
	case -EFBIG: /* as a model's own calls fail */
		lane->fault = wl_model_fault_word(result == -EAGAIN	 ? WL_MODEL_FAULT_RATE
						  : result == -ETIMEDOUT ? WL_MODEL_FAULT_LATE
									 : WL_MODEL_FAULT_AWAY);
		err->code = result == -EAGAIN ? EBUSY : -result; /* no reason to begin again */
		return -err->code;
	case -ESTALE:
		lane->fault = wl_model_fault_word(WL_MODEL_FAULT_DIVERGED);
		return result;
	default:
		return wl_crew_world_failed(result, err);
	}
}
