/*
 * agent, crew: one of the tenant's agents at a task, or a crew at its tasks (lib/crew). The definition is read once for
 * the whole run and kept on record, as everything else is that the outcome rests on: another attempt goes through the
 * same steps and pays for none of them again.
 */
#include "lib/base/cleanup.h"
#include "lib/base/clock.h"
#include "lib/ports/crew_memory.h"
#include "lib/ports/storage_room.h"
#include "supervisor/nodes/model_fault.h"
#include "supervisor/nodes/tool_calls.h"
#include "supervisor/nodes/trace.h"

#include <errno.h>
#include <string.h>

#define SOURCE_WAIT_MS 15000
#define LOOK_MS 100
#define ASYNC_TASKS 4
#define HUMAN_ROLES "[\"admin\",\"editor\",\"executor\"]"
#define HUMAN_SHOWN 12000 /* bytes of an output that a person is asked about */

/* One attempt. */
struct job {
	struct node_world *world;
	const struct node_call *call;
	struct node_record record;
	struct node_models models;
	struct node_tools tools;
	struct node_trace trace;
	struct wl_crew *crew;
	bool late;
	pthread_mutex_t lock;		/* of what a person is asked */
	char *wait_name, *wait_message; /* NULL: nobody is */
};

/* ---- the world of a crew ------------------------------------------------------------------------------------------
 */

static uint64_t now_ms(void *self)
{
	(void)self;
	return wl_clock_boot_ms();
}

static int64_t wall_ms(void *self)
{
	(void)self;
	return wl_clock_wall_ms();
}

static bool pause_job(void *self, uint64_t ms)
{
	const struct job *job = self;
	uint64_t deadline_ms = job->models.deadline_ms, now = wl_clock_boot_ms();
	if (deadline_ms > 0 && now + ms > deadline_ms)
		ms = deadline_ms > now ? deadline_ms - now : 0;
	return node_pause(job->call, (int)(ms < INT32_MAX ? ms : INT32_MAX)) ||
	       (deadline_ms > 0 && wl_clock_boot_ms() >= deadline_ms);
}

static void step(void *self, const struct wl_crew_step *step)
{
	node_trace_step(&((struct job *)self)->trace, step);
}

static void token(void *self, const char *agent, const char *text, size_t length)
{
	node_trace_token(&((struct job *)self)->trace, agent, text, length);
}

static int condition(void *self, const char *expression, const char *context_json, bool *ret_true, struct wl_error *err)
{
	const struct job *job = self;
	_wl_free_ char *value = NULL;
	_wl_json_ struct wl_json *template = NULL;
	_wl_buffer_ struct wl_buffer text;
	wl_buffer_init(&text, 0);
	bool whole = strncmp(expression, "{{", 2) == 0; /* as crews are saved */
	(void)wl_buffer_appendf(&text, whole ? "%s" : "{{ %s }}", expression);
	template = text.failed ? NULL : wl_json_new_string(text.data);
	_wl_free_ char *template_json = template ? wl_json_print(template) : NULL;
	if (!template_json)
		return wl_fail(err, ENOMEM, "no memory for a condition");
	int result = wl_expression_eval(job->world->expressions, template_json, strlen(template_json), context_json,
					strlen(context_json), job->world->eval_ms, &value, err);
	if (result < 0)
		return result == -EIO ? -EAGAIN : wl_fail(err, EINVAL, "%s", err->text);
	*ret_true = strcmp(value, "false") != 0 && strcmp(value, "null") != 0;
	return 0;
}

static int fits(void *self, const char *schema, const char *value, struct wl_error *err)
{
	const struct job *job = self;
	_wl_free_ char *faults = NULL;
	int result = wl_expression_schema(job->world->expressions, schema, strlen(schema), value, strlen(value),
					  job->world->eval_ms, &faults, err);
	if (result == -EINVAL && faults)
		return wl_fail(err, EINVAL, "%.480s", faults);
	return result;
}

/* ---- people
 * ----------------------------------------------------------------------------------------------------------- */

static int give_verdict(const struct wl_json *answer, enum wl_crew_verdict *ret_verdict, char **ret_feedback,
			struct wl_error *err)
{
	bool approved = wl_json_get_bool(answer, "approved", false);
	const char *comment = wl_json_get_string(answer, "comment", "");
	*ret_verdict = approved ? WL_CREW_HUMAN_APPROVED : WL_CREW_HUMAN_FEEDBACK;
	*ret_feedback = strdup(*comment || approved ? comment : "This is not what was wanted.");
	return *ret_feedback ? 0 : wl_fail(err, ENOMEM, "no memory for feedback");
}

/* What he said goes on record under the place, for later attempts. */
static int take_decision(struct job *job, const char *place, const char *hash, const char *asked,
			 enum wl_crew_verdict *ret_verdict, char **ret_feedback, struct wl_error *err)
{
	const struct node_decision *decision = job->call->decision;
	_wl_json_ struct wl_json *answer = wl_json_object();
	int failed = wl_json_set_bool(answer, "approved", decision->approved);
	failed |= wl_json_set_string(answer, "by", decision->by);
	failed |= wl_json_set_string(answer, "comment", decision->comment);
	_wl_free_ char *text = failed ? NULL : wl_json_print(answer);
	if (!text)
		return wl_fail(err, ENOMEM, "no memory for feedback");
	int result =
		node_record_put(&job->record, WL_EXCHANGE_HUMAN, place, hash, asked, text, wl_clock_wall_ms(), err);
	return result < 0 ? result : give_verdict(answer, ret_verdict, ret_feedback, err);
}

static void ask_person(struct job *job, const char *name, const char *task, const char *output)
{
	_wl_buffer_ struct wl_buffer message;
	size_t length = strlen(output), shown = length < HUMAN_SHOWN ? length : HUMAN_SHOWN;
	while (shown < length && shown > 0 && ((unsigned char)output[shown] & 0xC0) == 0x80)
		shown--;
	wl_buffer_init(&message, 0);
	(void)wl_buffer_appendf(&message, "%s\n\n", task);
	(void)wl_buffer_append(&message, output, shown);
	(void)wl_buffer_append_text(&message, shown < length ? "\n[…]" : "");
	(void)pthread_mutex_lock(&job->lock);
	if (!job->wait_name && !message.failed) { /* of tasks at once the first one is asked first */
		job->wait_name = strdup(name);
		job->wait_message = wl_buffer_steal(&message);
	}
	(void)pthread_mutex_unlock(&job->lock);
}

static int human(void *self, const char *place, const char *task, const char *output, enum wl_crew_verdict *ret_verdict,
		 char **ret_feedback, struct wl_error *err)
{
	struct job *job = self;
	_wl_json_ struct wl_json *asked = wl_json_object(), *recorded = NULL;
	const struct node_decision *decision = job->call->decision;
	char hash[65], name[RECORD_PLACE_MAX];
	int failed = wl_json_set_string(asked, "task", task);
	failed |= wl_json_set_string(asked, "output", output);
	_wl_free_ char *text = failed ? NULL : wl_json_print(asked);
	if (!text || node_record_hash(asked, hash) < 0)
		return wl_fail(err, ENOMEM, "no memory to ask a person");
	int found = node_record_find(&job->record, WL_EXCHANGE_HUMAN, place, hash, &recorded, err);
	if (found == 0)
		return give_verdict(recorded, ret_verdict, ret_feedback, err);
	if (found != -ENOENT)
		return found;
	(void)snprintf(name, sizeof(name), "%.200s~%.8s", place, hash); /* a word on one output is none on another */
	if (decision && strcmp(decision->name, name) == 0)
		return take_decision(job, place, hash, text, ret_verdict, ret_feedback, err);
	ask_person(job, name, task, output);
	*ret_verdict = WL_CREW_HUMAN_WAITS;
	*ret_feedback = NULL;
	return 0;
}

/* ---- knowledge and memory
 * ----------------------------------------------------------------------------------------------- */

static bool may_pass(int result)
{
	return result == -ECONNREFUSED || result == -EPIPE || result == -ETIMEDOUT || result == -EAGAIN;
}

/* The text of an artifact; waits for the stores for a while. Faults of the source itself are told as they are. */
static int read_artifact(const struct job *job, const char *artifact_id, char **ret_text, struct wl_error *err)
{
	const struct wl_knowledge_source *source = job->world->knowledge;
	uint64_t give_up_ms = wl_clock_boot_ms() + SOURCE_WAIT_MS;
	for (;;) {
		int result = source->text(source->self, job->call->tenant, job->call->eid, artifact_id, ret_text, err);
		if (result == 0 || result == -ENOENT || result == -EMSGSIZE || result == -EILSEQ)
			return result;
		if (wl_clock_boot_ms() > give_up_ms)
			return wl_fail(err, EAGAIN, "the artifact %.36s cannot be read now", artifact_id);
		if (node_pause(job->call, LOOK_MS))
			return wl_fail(err, ECANCELED, "stopped before it ran");
	}
}

static int put_text(struct job *job, const char *place, const char *hash, const struct wl_json *asked, const char *text,
		    struct wl_error *err)
{
	_wl_json_ struct wl_json *answer = wl_json_object();
	int failed = wl_json_set_string(answer, "text", text);
	_wl_free_ char *asked_text = wl_json_print(asked);
	_wl_free_ char *answer_text = failed ? NULL : wl_json_print(answer);
	if (!asked_text || !answer_text)
		return wl_fail(err, EAGAIN, "no memory for knowledge");
	int result = node_record_put(&job->record, WL_EXCHANGE_MEMORY, place, hash, asked_text, answer_text,
				     wl_clock_wall_ms(), err);
	return result == -ESTALE ? wl_fail(err, ECANCELED, "another attempt has begun") : result;
}

/* The text is on record as any answer is: a replay needs no artifact, which may be gone by then. */
static int knowledge(void *self, const char *place, const char *artifact_id, char **ret_text, struct wl_error *err)
{
	struct job *job = self;
	_wl_json_ struct wl_json *asked = wl_json_object(), *recorded = NULL;
	char hash[65];
	if (wl_json_set_string(asked, "artifact_id", artifact_id) < 0 || node_record_hash(asked, hash) < 0)
		return wl_fail(err, EAGAIN, "no memory for knowledge");
	int result = node_record_find(&job->record, WL_EXCHANGE_MEMORY, place, hash, &recorded, err);
	if (result == 0) {
		*ret_text = strdup(wl_json_get_string(recorded, "text", ""));
		return *ret_text ? 0 : wl_fail(err, EAGAIN, "no memory for knowledge");
	}
	if (result == -ENOENT)
		result = read_artifact(job, artifact_id, ret_text, err);
	if (result == 0 && node_record_hold(&job->record, 2 * (int64_t)strlen(*ret_text), err) < 0)
		result = wl_fail(err, EAGAIN, "%s", err->text);
	return result < 0 ? result : put_text(job, place, hash, asked, *ret_text, err);
}

/* A crew's memory is its own; that of an agent alone is the agent's. */
static const char *owner_of(const struct job *job)
{
	return job->crew->id && *job->crew->id ? job->crew->id : job->crew->agents[0].id;
}

/* What was found once is found again by later attempts, whatever was remembered meanwhile. */
static int recall(void *self, const char *place, const float *vector, size_t dimensions, int count, char **ret_json,
		  struct wl_error *err)
{
	struct job *job = self;
	const struct wl_crew_memory *memory = job->world->memory;
	_wl_json_ struct wl_json *recorded = NULL;
	int found = node_record_find(&job->record, WL_EXCHANGE_MEMORY, place, "", &recorded, err);
	if (found == 0) {
		*ret_json = wl_json_print(recorded);
		return *ret_json ? 0 : wl_fail(err, ENOMEM, "no memory");
	}
	if (found != -ENOENT)
		return found;
	int result = memory->recall(memory->self, job->call->tenant, owner_of(job), vector, dimensions, count, ret_json,
				    err);
	if (result < 0)
		return result;
	return node_record_put(&job->record, WL_EXCHANGE_MEMORY, place, "", "null", *ret_json, wl_clock_wall_ms(), err);
}

/* Room in the tenant's storage for what is remembered, or room that was not used. */
static int take_room(const struct job *job, int64_t bytes, struct wl_error *err)
{
	const struct wl_storage_room *storage = job->world->storage;
	return storage && bytes != 0
		       ? storage->take(storage->self, job->call->tenant, WL_STORAGE_MEMORY, owner_of(job), bytes, err)
		       : 0;
}

static int remember(void *self, const char *place, const char *text, const float *vector, size_t dimensions,
		    struct wl_error *err)
{
	const struct job *job = self;
	const struct wl_crew_memory *memory = job->world->memory;
	int64_t grown = 0, taken = wl_memory_bytes(text, dimensions);
	struct wl_error ignored;
	char key[WL_UUID_TEXT + WL_NODE_PATH_MAX + RECORD_PLACE_MAX];
	if (job->call->replay == NODE_REPLAY_OFFLINE)
		return 0;
	(void)snprintf(key, sizeof(key), "%s/%s/%.200s", job->call->eid, node_call_path(job->call), place);
	int result = take_room(job, taken, err);
	if (result < 0)
		return result;
	result = memory->remember(memory->self, job->call->tenant, owner_of(job), key, text, vector, dimensions, &grown,
				  err);
	(void)take_room(job, grown - taken, &ignored);
	return result;
}

static int hold(void *self, int64_t bytes, struct wl_error *err)
{
	return node_record_hold(&((struct job *)self)->record, bytes, err);
}

/*
 * Threads for tasks beside each other, as far as there are any: what comes out does not depend on how many. They go
 * back with give_lanes().
 */
static int take_lanes(const struct job *job)
{
	atomic_int *lanes = job->world->share ? &job->world->share->lanes : NULL;
	bool wanted = false;
	for (size_t i = 0; i < job->crew->task_count; i++)
		wanted = wanted || job->crew->tasks[i].async;
	if (!lanes || !wanted)
		return wanted ? ASYNC_TASKS : 1;
	int left = atomic_load(lanes), taken;
	do {
		taken = left > ASYNC_TASKS ? ASYNC_TASKS : left;
	} while (taken > 1 && !atomic_compare_exchange_weak(lanes, &left, left - taken));
	return taken > 1 ? taken : 1;
}

static void give_lanes(const struct job *job, int threads)
{
	if (job->world->share && threads > 1)
		(void)atomic_fetch_add(&job->world->share->lanes, threads);
}

static struct wl_crew_world world_of(struct job *job)
{
	return (struct wl_crew_world){ .models = &job->models.port,
				       .tools = &job->tools.port,
				       .self = job,
				       .now_ms = now_ms,
				       .wall_ms = wall_ms,
				       .pause = pause_job,
				       .step = step,
				       .token = token,
				       .condition = condition,
				       .fits = fits,
				       .human = human,
				       .knowledge = job->world->knowledge ? knowledge : NULL,
				       .recall = job->world->memory ? recall : NULL,
				       .remember = job->world->memory ? remember : NULL,
				       .cancel_fd = job->call->cancel_fd,
				       .stop = job->call->stop,
				       .hold = hold,
				       .threads = take_lanes(job) };
}

/* ---- the definition
 * -------------------------------------------------------------------------------------------------------- */

static int read_source(const struct job *job, const char *kind, char **ret_text, struct wl_error *err)
{
	const struct wl_model_source *source = job->world->models->source;
	uint64_t give_up_ms = wl_clock_boot_ms() + SOURCE_WAIT_MS;
	for (;;) {
		int result = source->crew(source->self, job->call->tenant, kind, job->call->plan->resource_id, ret_text,
					  err);
		if (!may_pass(result) || wl_clock_boot_ms() > give_up_ms)
			return result;
		if (node_pause(job->call, LOOK_MS))
			return wl_fail(err, ECANCELED, "stopped before it ran");
	}
}

/* As it was when the node first began; the definition of the record counts, not that of now. */
static int read_definition(struct job *job, const char *kind, struct wl_json **ret_document, struct wl_error *err)
{
	static const char place[] = "definition";
	_wl_free_ char *text = NULL;
	bool forks = job->record.replay == NODE_REPLAY_FORK; /* it is there to see what another definition does */
	int found = forks ? node_record_find_own(&job->record, WL_EXCHANGE_TOOL, place, "", ret_document, err)
			  : node_record_find(&job->record, WL_EXCHANGE_TOOL, place, "", ret_document, err);
	if (found != -ENOENT)
		return found;
	int result = read_source(job, kind, &text, err);
	if (result == 0)
		result = node_record_put(&job->record, WL_EXCHANGE_TOOL, place, "", "null", text, wl_clock_wall_ms(),
					 err);
	return result < 0 ? result : wl_json_parse_deep(text, strlen(text), WL_JSON_DEPTH + 4, ret_document, err);
}

static bool fail_definition(struct node_outcome *outcome, const struct job *job, const char *kind, int result,
			    const struct wl_error *err)
{
	char code[32];
	(void)snprintf(code, sizeof(code), result == -ENOENT ? "%s_missing" : "%s_invalid", kind);
	if (result == -ENOENT || result == -EINVAL)
		node_fail(outcome, job->call, NODE_FAILED_FOR_GOOD, code, NULL, "%s", err->text);
	else if (result == -EDQUOT)
		node_fail(outcome, job->call, NODE_FAILED_FOR_GOOD, "storage_quota", NULL, "%s", err->text);
	else if (result == -ESTALE && job->record.replay != NODE_REPLAY_NONE)
		node_fail(outcome, job->call, NODE_FAILED_FOR_GOOD, "replay_diverged", NULL, "%s", err->text);
	else if (result == -ECANCELED || result == -ESTALE)
		node_fail(outcome, job->call, NODE_STOPPED, "cancelled", NULL, "stopped before it ran");
	else
		node_fail(outcome, job->call, NODE_FAILED, "internal", NULL, "the %s could not be read", kind);
	return false;
}

static bool make_crew(struct job *job, const struct wl_json *input, struct node_outcome *outcome)
{
	bool agent = job->call->node->kind == WL_KIND_AGENT;
	const char *kind = agent ? "agent" : "crew";
	_wl_json_ struct wl_json *document = NULL;
	struct wl_error err = { 0 };
	int result = read_definition(job, kind, &document, &err);
	if (result == 0)
		result = wl_crew_make(document, &job->crew, &err);
	if (result == 0 && agent)
		result = wl_crew_set_task(job->crew, wl_json_get_string(input, "task", ""),
					  wl_json_get_string(input, "expected_output", ""),
					  job->call->plan->schema_json);
	if (result == 0 && job->call->plan->has_context)
		result = wl_crew_set_context(job->crew, wl_json_get_string(input, "context", ""));
	return result == 0 || fail_definition(outcome, job, kind, result, &err);
}

/* ---- the end
 * ------------------------------------------------------------------------------------------------------------------ */

static char *usage_text(const struct wl_crew_result *result)
{
	_wl_buffer_ struct wl_buffer text;
	wl_buffer_init(&text, 0);
	node_models_put_usage(&text, &result->usage, result->cost, result->model_calls, result->tool_calls);
	return text.failed ? NULL : wl_buffer_steal(&text);
}

static void give(struct job *job, const struct wl_crew_result *result, struct node_outcome *outcome)
{
	_wl_json_ struct wl_json *output = wl_json_object();
	_wl_free_ char *usage = usage_text(result);
	bool agent = job->call->node->kind == WL_KIND_AGENT;
	int failed = wl_json_set_string(output, "text", result->text);
	failed |= wl_json_set_raw(output, "json", result->json ? result->json : "null");
	if (agent)
		failed |= wl_json_set_number(output, "steps", job->trace.count + job->trace.left_out);
	else
		failed |= wl_json_set_raw(output, "tasks", result->tasks_json ? result->tasks_json : "[]");
	failed |= wl_json_set_raw(output, "usage", usage ? usage : "null");
	node_give(outcome, job->call, failed ? NULL : wl_json_print(output));
}

static void wait_for_person(struct job *job, struct node_outcome *outcome)
{
	outcome->result = NODE_WAITS;
	outcome->wait_name = wl_steal(job->wait_name);
	outcome->wait_message = wl_steal(job->wait_message);
	outcome->wait_roles = strdup(HUMAN_ROLES);
	if (!outcome->wait_name || !outcome->wait_message || !outcome->wait_roles)
		node_fail(outcome, job->call, NODE_FAILED, "internal", NULL, "no memory to ask a person");
}

static void run_crew(struct job *job, const struct wl_json *inputs, struct node_outcome *outcome)
{
	const struct wl_crew_world world = world_of(job);
	struct wl_crew_result result = { 0 };
	struct wl_error err = { 0 };
	int ended = wl_crew_run(job->crew, inputs, &world, &result, &err);
	give_lanes(job, world.threads);
	_wl_free_ char *spent = usage_text(&result);
	if (ended == 0)
		give(job, &result, outcome);
	else if (node_model_stopped(outcome, job->call, &job->models, spent))
		; /* the outcome says so */
	else if (ended == -EINPROGRESS)
		wait_for_person(job, outcome);
	else if (ended == -ESTALE && job->record.replay == NODE_REPLAY_NONE)
		node_fail(outcome, job->call, NODE_STOPPED, "cancelled", NULL, "another attempt has this node");
	else
		node_fail_model(outcome, job->call, &job->models,
				*job->record.diverged ? "replay_diverged"
				: result.code	      ? result.code
						      : "internal",
				spent, err.text);
	wl_crew_result_release(&result);
}

static void run(struct node_world *world, const struct node_call *call, const struct wl_json *input,
		struct node_outcome *outcome)
{
	struct job job = { .world = world, .call = call };
	struct wl_error err = { 0 };
	bool agent = call->node->kind == WL_KIND_AGENT;
	_wl_json_ struct wl_json *given = NULL; /* by the node's predecessors, to an agent without inputs of its own */
	const struct wl_json *inputs = agent || call->plan->has_context ? wl_json_get(input, "input") : input;
	if (!inputs && wl_json_parse(call->upstream, call->upstream_length, &given, &err) == 0)
		inputs = given;
	uint64_t deadline_ms = call->node->timeout_ms > 0 ? wl_clock_boot_ms() + (uint64_t)call->node->timeout_ms : 0;
	int opened = node_record_open(world, call, &job.record, &err);
	(void)pthread_mutex_init(&job.lock, NULL);
	node_models_open(world, call, &job.record, agent ? call->plan->resource_id : NULL, deadline_ms, &job.models);
	node_tools_open(world, call, &job.record, &job.tools);
	node_trace_open(call, &job.trace);
	if (opened < 0)
		node_fail_record(outcome, call, opened, &err);
	else if (make_crew(&job, input, outcome))
		run_crew(&job, wl_json_is(inputs, WL_JSON_OBJECT) ? inputs : NULL, outcome);
	outcome->trace_json = node_trace_text(&job.trace);
	node_trace_close(&job.trace);
	node_models_close(&job.models);
	node_record_close(&job.record);
	wl_crew_free(job.crew);
	free(job.wait_name);
	free(job.wait_message);
	(void)pthread_mutex_destroy(&job.lock);
}

void node_run_agent(struct node_world *world, const struct node_call *call, struct node_outcome *outcome)
{
	_wl_free_ char *text = NULL;
	_wl_json_ struct wl_json *input = NULL;
	struct wl_error err = { 0 };
	if (!node_evaluate(world, call, outcome, &text))
		return;
	node_keep_inputs(outcome, text, strlen(text));
	if (!world->models)
		node_fail(outcome, call, NODE_FAILED_FOR_GOOD, "internal", NULL, "this supervisor asks no models");
	else if (wl_json_parse(text, strlen(text), &input, &err) < 0)
		node_fail(outcome, call, NODE_FAILED_FOR_GOOD, "input_invalid", NULL, "%s", err.text);
	else
		run(world, call, input, outcome);
}
