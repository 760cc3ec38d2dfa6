#include "tests/kit/crew_stage.h"

#include "lib/base/cleanup.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>

#define DIMENSIONS 26 /* a vector counts the letters of its text */

static void complain(struct crew_stage *stage, const char *what, const char *place)
{
	(void)wl_buffer_appendf(&stage->faults, "%s: %s\n", what, place);
}

static struct stage_entry *find(const struct crew_stage *stage, const char *place)
{
	for (size_t i = 0; i < stage->entry_count; i++) {
		if (strcmp(stage->entries[i].place, place) == 0)
			return &stage->entries[i];
	}
	return NULL;
}

const struct stage_entry *stage_asked(const struct crew_stage *stage, const char *place)
{
	return find(stage, place);
}

unsigned stage_fresh(const struct crew_stage *stage)
{
	unsigned sum = 0;
	for (size_t i = 0; i < stage->entry_count; i++)
		sum += stage->entries[i].fresh;
	return sum;
}

static const struct stage_line *line_of(const struct crew_stage *stage, const char *place)
{
	for (const struct stage_line *line = stage->lines; line && line->place; line++) {
		if (strcmp(line->place, place) == 0)
			return line;
	}
	return NULL;
}

/*
 * A call at a place: *ret_entry is its record, *ret_known whether it was there already. 0; -EIO or -ECANCELED as the
 * test wants it.
 */
static int enter(struct crew_stage *stage, const char *place, bool recorded, struct stage_entry **ret_entry,
		 bool *ret_known)
{
	struct stage_entry *entry = find(stage, place);
	*ret_known = entry && entry->fresh > 0 && recorded;
	*ret_entry = entry;
	if (strlen(place) > 200)
		complain(stage, "a place that is too long", place);
	if (entry && entry->run == stage->run)
		complain(stage, "asked twice", place);
	if (*ret_known) {
		entry->run = stage->run;
		return 0;
	}
	stage->calls++;
	if (stage->calls == stage->cancel_at) {
		stage->stopped = true;
		return -ECANCELED;
	}
	if (stage->calls == stage->fail_at)
		return -EIO;
	if (!entry) {
		stage->entries = realloc(stage->entries, (stage->entry_count + 1) * sizeof(*stage->entries));
		entry = &stage->entries[stage->entry_count++];
		*entry = (struct stage_entry){ .place = strdup(place) };
	}
	entry->run = stage->run;
	*ret_entry = entry;
	return 0;
}

/* ---- the model / ----------------------------------------------------------------------------------------- */

static char *as_text(const struct wl_model_request *request)
{
	static const char *const roles[] = { "system", "user", "assistant", "tool" };
	_wl_buffer_ struct wl_buffer out = { 0 };
	for (size_t i = 0; i < request->message_count; i++) {
		const struct wl_model_message *message = &request->messages[i];
		(void)wl_buffer_appendf(&out, "[%s%s] %s\n", roles[message->role],
					message->tool_failed ? " failed" : "", message->text ? message->text : "-");
		for (size_t u = 0; u < message->tool_use_count; u++)
			(void)wl_buffer_appendf(&out, "  %s(%s)\n", message->tool_uses[u].name,
						message->tool_uses[u].arguments);
	}
	return wl_buffer_steal(&out);
}

static void note_request(struct stage_entry *entry, const struct wl_model_request *request)
{
	free(entry->said);
	entry->said = as_text(request);
	entry->schema = request->schema;
	entry->stops = (int)request->stop_count;
	entry->tools = request->tool_count;
	entry->choice = request->tool_choice;
	entry->timeout_ms = request->timeout_ms;
	entry->max_tokens = request->max_tokens;
}

static void fill_answer(const struct crew_stage *stage, const struct stage_line *line, struct wl_model_answer *answer)
{
	const char *place = line->place;
	answer->usage = (struct wl_model_usage){ .prompt = 10, .completion = 5, .cached = 2 };
	answer->cost = 0.25;
	answer->attempts = 1;
	answer->model = strdup("stage-1");
	answer->fault = line->fault;
	if (line->fault != WL_MODEL_FAULT_NONE)
		return;
	answer->text = line->text ? strdup(line->text) : NULL;
	for (; line->place && strcmp(line->place, place) == 0; line++) {
		for (int i = 0; line->tool && (i == 0 || i < stage->use_times); i++) {
			size_t n = answer->tool_use_count++;
			answer->tool_uses = realloc(answer->tool_uses, (n + 1) * sizeof(*answer->tool_uses));
			answer->tool_uses[n].id = stage->use_id ? strdup(stage->use_id) : NULL;
			answer->tool_uses[n].name = strdup(line->tool);
			answer->tool_uses[n].arguments = strdup(line->arguments);
			answer->end = WL_MODEL_END_TOOLS;
		}
	}
}

/* ---- made up / ------------------------------------------------------------------------------------------- */

static unsigned hash(unsigned seed, const char *text)
{
	unsigned value = seed * 2654435761u + 2166136261u;
	for (; *text; text++)
		value = (value ^ (unsigned char)*text) * 16777619u;
	return value ^ (value >> 15);
}

#define COWORKER(name) "{\"task\":\"x\",\"question\":\"y\",\"context\":\"z\",\"coworker\":\"" name "\"}"

/* What a model may do: the same at the same place each time. The answer is one or two lines of a script. */
static const struct stage_line *make_up(unsigned seed, const char *place, struct stage_line made[3])
{
	static const struct stage_line deeds[] = {
		{ .text = "An answer." },
		{ .text = "{\"n\":1}" },
		{ .text = "{\"valid\":true,\"feedback\":\"\"}" },
		{ .text = "{\"valid\":false,\"feedback\":\"no\"}" },
		{ .text = "Thought: so\nFinal Answer: {\"n\":2}" },
		{ .text = "Action: search\nAction Input: {q: 'a'}" },
		{ .text = "Action: search\nAction Input: {q:" },
		{ .text = " " },
		{ .text = NULL },
		{ .tool = "search", .arguments = "{\"q\":\"a\"}" },
		{ .tool = "search", .arguments = "{\"q\":\"b\"}" },
		{ .tool = "search", .arguments = "{\"q\"" },
		{ .tool = "search", .arguments = "{}" },
		{ .tool = "nothing", .arguments = "{}" },
		{ .tool = "delegate_work_to_coworker", .arguments = COWORKER("writer") },
		{ .tool = "ask_question_to_coworker", .arguments = COWORKER("RESEARCHER") },
		{ .tool = "delegate_work_to_coworker", .arguments = COWORKER("nobody") },
		{ .fault = WL_MODEL_FAULT_TOOLS },
		{ .fault = WL_MODEL_FAULT_CONTEXT },
	};
	unsigned chance = hash(seed, place);
	if (chance % 3 == 0)
		made[0] = deeds[chance / 3 % 5];
	else
		made[0] = deeds[chance / 3 % WL_COUNT_OF(deeds)];
	made[1] = made[0].tool && chance % 5 == 0 ? deeds[9 + chance / 7 % 8] : (struct stage_line){ 0 };
	made[0].place = place;
	made[1].place = made[1].tool ? place : NULL;
	made[2] = (struct stage_line){ 0 };
	return made;
}

/* Text in pieces of three bytes, which the scripts keep to whole characters. */
static void stream(const struct wl_model_request *request, const char *text)
{
	if (!request->stream || !request->stream->text || !text)
		return;
	for (size_t at = 0, length = strlen(text); at < length; at += 3)
		request->stream->text(request->stream->context, text + at, length - at < 3 ? length - at : 3);
}

static void meet(struct crew_stage *stage, const char *place)
{
	int beside = atomic_fetch_add(&stage->beside, 1) + 1;
	if (beside > atomic_load(&stage->most_beside))
		atomic_store(&stage->most_beside, beside);
	if (stage->meet && strstr(place, stage->meet_at))
		(void)pthread_barrier_wait(stage->meet);
	(void)atomic_fetch_sub(&stage->beside, 1);
}

static int fail(struct wl_error *err, int result)
{
	return wl_fail(err, -result, "the stage fails with %s", strerror(-result));
}

static int call_model(void *self, const struct wl_model_request *request, struct wl_model_answer *answer,
		      struct wl_error *err)
{
	struct crew_stage *stage = self;
	struct stage_entry *entry;
	struct stage_line made[3];
	bool known;
	meet(stage, request->place);
	(void)pthread_mutex_lock(&stage->lock);
	int result = enter(stage, request->place, true, &entry, &known);
	const struct stage_line *line = line_of(stage, request->place);
	if (!line && stage->seed)
		line = make_up(stage->seed, request->place, made);
	if (result == 0 && !line)
		complain(stage, "not in the script", request->place);
	if (result == 0 && line) {
		if (known && strcmp(entry->said, "") != 0) {
			_wl_free_ char *said = as_text(request);
			if (strcmp(said, entry->said) != 0)
				complain(stage, "asked otherwise than on record", request->place);
		}
		note_request(entry, request);
		if (!line->error) {
			fill_answer(stage, line, answer);
			entry->fresh += !known;
			answer->replayed = known;
		}
		stage->now_ms += known ? 0 : line->takes_ms;
	}
	(void)pthread_mutex_unlock(&stage->lock);
	if (result < 0)
		return fail(err, result);
	if (!line || line->error)
		return fail(err, line ? -line->error : -EPROTO);
	if (line->fault)
		return wl_fail(err, EPROTO, "the stage's model says %s", wl_model_fault_word(line->fault));
	if (!known)
		stream(request, answer->text);
	return 0;
}

static int embed(void *self, const char *provider_id, const char *model, const char *const *texts, size_t count,
		 const char *place, float **ret_vectors, size_t *ret_dimensions, struct wl_error *err)
{
	struct crew_stage *stage = self;
	struct stage_entry *entry;
	bool known;
	(void)provider_id;
	(void)model;
	(void)pthread_mutex_lock(&stage->lock);
	int result = enter(stage, place, true, &entry, &known);
	if (result == 0)
		entry->fresh += !known;
	(void)pthread_mutex_unlock(&stage->lock);
	if (result == 0)
		result = -stage->embed_error;
	if (result < 0)
		return fail(err, result);
	float *vectors = calloc(count, DIMENSIONS * sizeof(*vectors));
	for (size_t i = 0; i < count; i++) {
		for (const char *at = texts[i]; *at; at++) {
			if (isalpha((unsigned char)*at))
				vectors[i * DIMENSIONS + (size_t)(tolower((unsigned char)*at) - 'a')] += 1;
		}
		float sum = 1e-6f;
		for (size_t d = 0; d < DIMENSIONS; d++)
			sum += vectors[i * DIMENSIONS + d] * vectors[i * DIMENSIONS + d];
		for (size_t d = 0; d < DIMENSIONS; d++)
			vectors[i * DIMENSIONS + d] /= __builtin_sqrtf(sum);
	}
	*ret_vectors = vectors;
	*ret_dimensions = DIMENSIONS;
	return 0;
}

/* ---- tools ----------------------------------------------------------------------------------------------- */

/* A tool's id is its name; its one argument is a text "q". */
static int describe(void *self, const char *tool_id, struct wl_tool_description *ret_description, struct wl_error *err)
{
	const struct crew_stage *stage = self;
	for (const char *const *missing = stage->missing; missing && *missing; missing++) {
		if (strcmp(*missing, tool_id) == 0)
			return wl_fail(err, ENOENT, "there is no tool %s", tool_id);
	}
	ret_description->name = strndup(tool_id, strcspn(tool_id, "#"));
	ret_description->description = strdup("Looks something up");
	ret_description->input_schema = strdup("{\"required\":[\"q\"]}");
	return 0;
}

static int call_tool(void *self, const struct wl_tool_request *request, struct wl_tool_answer *answer,
		     struct wl_error *err)
{
	struct crew_stage *stage = self;
	struct stage_entry *entry;
	bool known;
	meet(stage, request->place);
	(void)pthread_mutex_lock(&stage->lock);
	int result = enter(stage, request->place, true, &entry, &known);
	if (result == 0) {
		free(entry->said);
		entry->said = strdup(request->arguments);
		entry->fresh += !known;
		answer->replayed = known;
	}
	(void)pthread_mutex_unlock(&stage->lock);
	if (result < 0)
		return fail(err, result);
	const struct stage_line *line = line_of(stage, request->place);
	if (line && line->error) {
		answer->code = strdup(line->text);
		answer->message = strdup("as the script wants it");
	} else {
		answer->output = strdup(line ? line->text : "{\"found\":1}");
	}
	return 0;
}

/* ---- the world ------------------------------------------------------------------------------------------- */

static uint64_t now_ms(void *self)
{
	struct crew_stage *stage = self;
	(void)pthread_mutex_lock(&stage->lock);
	uint64_t now = stage->now_ms;
	(void)pthread_mutex_unlock(&stage->lock);
	return now;
}

static int64_t wall_ms(void *self)
{
	return (int64_t)now_ms(self) + 1700000000000;
}

static bool pause_for(void *self, uint64_t ms)
{
	struct crew_stage *stage = self;
	(void)pthread_mutex_lock(&stage->lock);
	stage->now_ms += ms;
	stage->paused_ms += ms;
	bool stopped = stage->stopped;
	(void)pthread_mutex_unlock(&stage->lock);
	return stopped;
}

static char *copy(const char *text)
{
	return text ? strdup(text) : NULL;
}

static void on_step(void *self, const struct wl_crew_step *step)
{
	struct crew_stage *stage = self;
	(void)pthread_mutex_lock(&stage->lock);
	stage->steps = realloc(stage->steps, (stage->step_count + 1) * sizeof(*stage->steps));
	stage->steps[stage->step_count++] = (struct stage_step){ .place = copy(step->place),
								 .name = copy(step->name),
								 .output = copy(step->output),
								 .code = copy(step->error_code),
								 .kind = step->kind,
								 .id = step->id,
								 .parent = step->parent,
								 .ended = step->ended };
	(void)pthread_mutex_unlock(&stage->lock);
}

static void on_token(void *self, const char *agent, const char *text, size_t length)
{
	struct crew_stage *stage = self;
	(void)agent;
	(void)wl_buffer_append(&stage->tokens, text, length);
}

/* "inputs.x" and the like: true when the context holds the expression's text; "broken" is none. */
static int condition(void *self, const char *expression, const char *context_json, bool *ret_true, struct wl_error *err)
{
	(void)self;
	if (strcmp(expression, "broken") == 0)
		return wl_fail(err, EINVAL, "a syntax error");
	*ret_true = strstr(context_json, expression) != NULL;
	return 0;
}

/* Of a schema only "required" is looked at. */
static int fits(void *self, const char *schema, const char *value, struct wl_error *err)
{
	_wl_json_ struct wl_json *rules = NULL, *json = NULL;
	(void)self;
	if (wl_json_parse(schema, strlen(schema), &rules, err) < 0 ||
	    wl_json_parse(value, strlen(value), &json, err) < 0)
		return -EINVAL;
	const struct wl_json *required = wl_json_get(rules, "required");
	for (const struct wl_json *name = wl_json_first(required); name; name = wl_json_next(name)) {
		if (!wl_json_get(json, wl_json_string(name, "")))
			return wl_fail(err, EINVAL, "%s is missing", wl_json_string(name, ""));
	}
	return 0;
}

/* The script's text at the place is feedback; without one he approves. */
static int human(void *self, const char *place, const char *task, const char *output, enum wl_crew_verdict *ret_verdict,
		 char **ret_feedback, struct wl_error *err)
{
	struct crew_stage *stage = self;
	struct stage_entry *entry;
	bool known;
	(void)task;
	(void)pthread_mutex_lock(&stage->lock);
	int result = enter(stage, place, true, &entry, &known);
	const struct stage_line *line = line_of(stage, place);
	bool waits = result == 0 && !known && stage->human_waits > 0;
	if (waits)
		stage->human_waits--;
	if (result == 0) {
		free(entry->said);
		entry->said = strdup(output);
		entry->fresh += !known && !waits;
	}
	(void)pthread_mutex_unlock(&stage->lock);
	if (result < 0)
		return fail(err, result);
	*ret_verdict = waits ? WL_CREW_HUMAN_WAITS : line ? WL_CREW_HUMAN_FEEDBACK : WL_CREW_HUMAN_APPROVED;
	*ret_feedback = !waits && line ? strdup(line->text) : NULL;
	return 0;
}

/* A source's id is the place of its text in the script. */
static int knowledge(void *self, const char *place, const char *artifact_id, char **ret_text, struct wl_error *err)
{
	struct crew_stage *stage = self;
	struct stage_entry *entry;
	bool known;
	const struct stage_line *line = line_of(stage, artifact_id);
	(void)pthread_mutex_lock(&stage->lock);
	int result = enter(stage, place, false, &entry, &known);
	(void)pthread_mutex_unlock(&stage->lock);
	if (result < 0)
		return fail(err, result);
	if (!line)
		return wl_fail(err, ENOENT, "there is no artifact %s", artifact_id);
	*ret_text = strdup(line->text);
	return 0;
}

static int recall(void *self, const char *place, const float *vector, size_t dimensions, int count, char **ret_json,
		  struct wl_error *err)
{
	struct crew_stage *stage = self;
	struct stage_entry *entry;
	bool known;
	(void)vector;
	(void)dimensions;
	(void)count;
	(void)pthread_mutex_lock(&stage->lock);
	int result = enter(stage, place, true, &entry, &known);
	if (result == 0)
		entry->fresh += !known;
	(void)pthread_mutex_unlock(&stage->lock);
	if (result < 0)
		return fail(err, result);
	const struct stage_line *line = line_of(stage, place);
	*ret_json = strdup(line ? line->text : "[]");
	return 0;
}

static int remember(void *self, const char *place, const char *text, const float *vector, size_t dimensions,
		    struct wl_error *err)
{
	struct crew_stage *stage = self;
	struct stage_entry *entry;
	bool known;
	(void)vector;
	(void)dimensions;
	(void)pthread_mutex_lock(&stage->lock);
	int result = enter(stage, place, true, &entry, &known);
	if (result == 0 && !known) {
		entry->fresh++;
		(void)wl_buffer_appendf(&stage->remembered, "%s\n", text);
	}
	(void)pthread_mutex_unlock(&stage->lock);
	return result < 0 ? fail(err, result) : 0;
}

void stage_init(struct crew_stage *stage, const struct stage_line *lines)
{
	*stage = (struct crew_stage){ .lines = lines, .now_ms = 1000000 };
	(void)pthread_mutex_init(&stage->lock, NULL);
	stage->models = (struct wl_model_port){ .self = stage, .call = call_model };
	stage->tools = (struct wl_tool_port){ .self = stage, .describe = describe, .call = call_tool };
	stage->world = (struct wl_crew_world){ .models = &stage->models,
					       .tools = &stage->tools,
					       .self = stage,
					       .now_ms = now_ms,
					       .wall_ms = wall_ms,
					       .pause = pause_for,
					       .step = on_step,
					       .token = on_token,
					       .condition = condition,
					       .fits = fits,
					       .human = human,
					       .knowledge = knowledge,
					       .cancel_fd = -1 };
}

void stage_remembers(struct crew_stage *stage)
{
	stage->models.embed = embed;
	stage->world.recall = recall;
	stage->world.remember = remember;
}

void stage_release(struct crew_stage *stage)
{
	for (size_t i = 0; i < stage->entry_count; i++) {
		free(stage->entries[i].place);
		free(stage->entries[i].said);
	}
	for (size_t i = 0; i < stage->step_count; i++) {
		free(stage->steps[i].place);
		free(stage->steps[i].name);
		free(stage->steps[i].output);
		free(stage->steps[i].code);
	}
	free(stage->entries);
	free(stage->steps);
	wl_buffer_release(&stage->tokens);
	wl_buffer_release(&stage->remembered);
	wl_buffer_release(&stage->faults);
	(void)pthread_mutex_destroy(&stage->lock);
}

/* ---- runs ------------------------------------------------------------------------------------------------ */

/* A trace is a tree: each step begins once, under one that has begun, and ends once. */
static void check_trace(struct crew_stage *stage, size_t from)
{
	for (size_t i = from; i < stage->step_count; i++) {
		const struct stage_step *step = &stage->steps[i];
		int begun = 0, ended = 0, parents = step->parent == 0;
		for (size_t j = from; j < stage->step_count; j++) {
			const struct stage_step *other = &stage->steps[j];
			begun += other->id == step->id && !other->ended;
			ended += other->id == step->id && other->ended;
			parents += other->id == step->parent && !other->ended;
		}
		if (begun != 1 || ended != 1 || parents != 1 || step->parent >= step->id)
			complain(stage, "a step that is not in the tree", step->place);
	}
}

static int run(struct crew_stage *stage, const struct wl_crew *crew, const struct wl_json *inputs,
	       struct wl_crew_result *result, struct wl_error *err)
{
	stage->run++;
	stage->stopped = false;
	wl_buffer_clear(&stage->tokens);
	size_t steps = stage->step_count;
	int code = wl_crew_run(crew, inputs, &stage->world, result, err);
	check_trace(stage, steps);
	/* what every failure has to have */
	if (code < 0 && (err->code != -code || !*err->text))
		complain(stage, "a failure without its sentence", err->text);
	bool bare = code == 0 || code == -EINPROGRESS || code == -ECANCELED || code == -EIO || code == -EAGAIN;
	if (!bare && !result->code)
		complain(stage, "a failure without its code", err->text);
	return code;
}

int stage_run(struct crew_stage *stage, const char *document, const char *inputs, struct wl_crew_result *result,
	      struct wl_error *err)
{
	_wl_json_ struct wl_json *json = NULL, *given = NULL;
	_wl_crew_ struct wl_crew *crew = NULL;
	*result = (struct wl_crew_result){ 0 };
	*err = (struct wl_error){ 0 };
	int code = wl_json_parse(document, strlen(document), &json, err);
	if (code == 0 && inputs)
		code = wl_json_parse(inputs, strlen(inputs), &given, err);
	if (code == 0)
		code = wl_crew_make(json, &crew, err);
	return code < 0 ? code : run(stage, crew, given, result, err);
}

int stage_run_lone(struct crew_stage *stage, const char *agent, const char *task, const char *expected,
		   const char *schema, struct wl_crew_result *result, struct wl_error *err)
{
	_wl_json_ struct wl_json *json = NULL;
	_wl_crew_ struct wl_crew *crew = NULL;
	_wl_free_ char *document = NULL;
	*result = (struct wl_crew_result){ 0 };
	*err = (struct wl_error){ 0 };
	if (asprintf(&document, "{\"crew\":null,\"agents\":[%s]}", agent) < 0)
		return -ENOMEM;
	int code = wl_json_parse(document, strlen(document), &json, err);
	if (code == 0)
		code = wl_crew_make(json, &crew, err);
	if (code == 0)
		code = wl_crew_set_task(crew, task, expected, schema);
	return code < 0 ? code : run(stage, crew, NULL, result, err);
}

const struct stage_step *stage_step(const struct crew_stage *stage, enum wl_crew_step_kind kind, const char *place)
{
	for (size_t i = 0; i < stage->step_count; i++) {
		const struct stage_step *step = &stage->steps[i];
		if (step->ended && step->kind == kind && strcmp(step->place, place) == 0)
			return step;
	}
	return NULL;
}
