#include "supervisor/nodes/code_models.h"

#include "lib/base/cleanup.h"
#include "lib/base/clock.h"
#include "lib/llm/model_names.h"
#include "supervisor/gateway/gateway.h"
#include "supervisor/nodes/model_fault.h"
#include "supervisor/nodes/trace.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define ADDRESS "http://127.0.0.1:8089"
_Static_assert(SANDBOX_MODELS_PORT == 8089, "the address says so");
#define HASH_SHOWN 16 /* digits of a question's hash in its place */
#define ENV_MAX 8

/* How often a question was asked. */
struct asked {
	char hash[HASH_SHOWN + 1];
	int count;
};

struct code_models {
	struct node_world *world;
	const struct node_call *call;
	struct node_record record;
	struct node_trace trace;
	struct node_models judge; /* stands for all calls when it is said how the node ended */
	struct gateway *gateway;
	char *model_env[2]; /* "MODEL=...", allocated */
	const char *env[ENV_MAX];
	pthread_mutex_t lock; /* guards all below */
	struct asked *asked;
	int asked_count, asked_room;
	int calls, steps;
	struct wl_model_usage usage;
	double cost;
	char refusal[WL_ERROR_TEXT]; /* what the last budget said that refused; "" none did */
};

/* ---- places ---------------------------------------------------------------------------------------------- */

static int max_calls(const struct code_models *models)
{
	int most = models->call->plan->models.max_calls;
	return most > 0 ? most : CODE_MODELS_CALLS;
}

static struct asked *find_asked(struct code_models *models, const char *hash)
{
	for (int i = 0; i < models->asked_count; i++)
		if (strncmp(models->asked[i].hash, hash, HASH_SHOWN) == 0)
			return &models->asked[i];
	if (models->asked_count == models->asked_room) {
		int room = models->asked_room ? 2 * models->asked_room : 16;
		struct asked *grown = realloc(models->asked, (size_t)room * sizeof(*grown));
		if (!grown)
			return NULL;
		models->asked = grown;
		models->asked_room = room;
	}
	struct asked *one = &models->asked[models->asked_count++];
	*one = (struct asked){ 0 };
	memcpy(one->hash, hash, HASH_SHOWN);
	return one;
}

/* The place of the next call that asks this, and its step's number. 0; -EDQUOT: no more calls; -ENOMEM. */
static int begin_call(struct code_models *models, const char *kind, const char *hash, char ret_place[64], int *ret_step,
		      struct wl_error *err)
{
	int result = 0;
	(void)pthread_mutex_lock(&models->lock);
	struct asked *one = models->calls < max_calls(models) ? find_asked(models, hash) : NULL;
	if (models->calls >= max_calls(models)) {
		result = wl_fail(err, EDQUOT, "the program has asked models %d times: the node's max_calls are used up",
				 models->calls);
	} else if (!one) {
		result = wl_fail(err, ENOMEM, "no memory for a call");
	} else {
		models->calls++;
		*ret_step = ++models->steps;
		(void)snprintf(ret_place, 64, "%s/%.*s/%d", kind, HASH_SHOWN, hash, ++one->count);
	}
	(void)pthread_mutex_unlock(&models->lock);
	return result;
}

/* ---- what the gateway asks ------------------------------------------------------------------------------- */

/* Which provider is meant: the node's own, or the one that the program names. */
static int choose(void *context, const char *name, bool vectors, int cancel_fd, struct wl_model_target *ret_target,
		  struct wl_error *err)
{
	const struct code_models *models = context;
	const struct node_plan *plan = models->call->plan;
	const char *pinned = vectors ? NULL : plan->models.model; /* a model for chats gives none */
	if (!plan->models.provider_id)
		return wl_model_name_resolve(models->world->models, models->call->tenant, pinned ? pinned : name,
					     cancel_fd, ret_target, err);
	(void)snprintf(ret_target->provider_id, sizeof(ret_target->provider_id), "%s", plan->models.provider_id);
	ret_target->model = pinned ? pinned : name;
	return 0;
}

/* One call's own port: it ends when its client goes, too. */
struct one_call {
	struct node_call call;
	struct node_models port;
};

static void open_call(struct code_models *models, int cancel_fd, struct one_call *one)
{
	one->call = *models->call;
	one->call.cancel_fd = cancel_fd;
	node_models_open(models->world, &one->call, &models->record, NULL, 0, &one->port);
	one->port.choose = choose;
	one->port.choose_context = models;
}

static void close_call(struct code_models *models, struct one_call *one, const struct wl_model_usage *usage,
		       double cost, bool refused, struct wl_error *err)
{
	if (refused && one->port.said.verdict == WL_BUDGET_ASK)
		(void)wl_fail(err, EDQUOT, "%.400s; a person is asked when the program ends in failure", err->text);
	(void)pthread_mutex_lock(&models->lock);
	if (refused) {
		models->judge.said = one->port.said;
		(void)snprintf(models->refusal, sizeof(models->refusal), "%s", err->text);
	}
	models->usage.prompt += usage->prompt;
	models->usage.completion += usage->completion;
	models->usage.cached += usage->cached;
	models->usage.cache_write += usage->cache_write;
	models->usage.reasoning += usage->reasoning;
	models->usage.estimated |= usage->estimated;
	models->cost += cost;
	(void)pthread_mutex_unlock(&models->lock);
	node_models_close(&one->port);
}

static const char *last_text(const struct wl_model_request *request)
{
	for (size_t i = request->message_count; i > 0; i--)
		if (request->messages[i - 1].text)
			return request->messages[i - 1].text;
	return NULL;
}

/* A fault of ours before anything was asked. */
static int not_asked(int result, enum wl_model_fault *ret_fault)
{
	*ret_fault = result == -EDQUOT ? WL_MODEL_FAULT_BUDGET : WL_MODEL_FAULT_AWAY;
	return result;
}

static int chat(void *self, const struct wl_front *front, struct wl_model_answer *answer, struct wl_error *err)
{
	struct code_models *models = self;
	struct wl_model_request request = front->request;
	struct one_call one;
	char hash[65], place[64];
	int id = 0;
	request.model = front->model;
	request.place = place;
	int result = node_models_hash(&request, hash) < 0 ? wl_fail(err, ENOMEM, "no memory for a question")
							  : begin_call(models, "chat", hash, place, &id, err);
	if (result < 0)
		return not_asked(result, &answer->fault);
	struct wl_crew_step step = { .id = id,
				     .kind = WL_CREW_STEP_MODEL,
				     .place = place,
				     .name = front->model,
				     .input = last_text(&request),
				     .start_ms = wl_clock_wall_ms() };
	node_trace_step(&models->trace, &step);
	open_call(models, request.cancel_fd, &one);
	result = one.port.port.call(one.port.port.self, &request, answer, err);
	close_call(models, &one, &answer->usage, answer->cost, answer->fault == WL_MODEL_FAULT_BUDGET, err);
	step.ended = true;
	step.name = answer->model ? answer->model : front->model;
	step.output = answer->text;
	step.error_code = result < 0 ? wl_model_fault_word(answer->fault) : NULL;
	step.error = result < 0 ? err->text : NULL;
	step.usage = &answer->usage;
	step.cost = answer->cost;
	step.replayed = answer->replayed;
	step.end_ms = wl_clock_wall_ms();
	step.first_us = answer->first_us;
	node_trace_step(&models->trace, &step);
	return result;
}

static enum wl_model_fault fault_of(int result)
{
	switch (result) {
	case 0:
		return WL_MODEL_FAULT_NONE;
	case -ENOENT:
		return WL_MODEL_FAULT_MODEL;
	case -EACCES:
		return WL_MODEL_FAULT_KEY;
	case -EINVAL:
	case -EPROTO:
		return WL_MODEL_FAULT_REQUEST;
	case -EMSGSIZE:
		return WL_MODEL_FAULT_CONTEXT;
	case -EDQUOT:
		return WL_MODEL_FAULT_BUDGET;
	case -ESTALE:
		return WL_MODEL_FAULT_DIVERGED;
	case -ETIMEDOUT:
		return WL_MODEL_FAULT_LATE;
	case -ECANCELED:
		return WL_MODEL_FAULT_STOPPED;
	default:
		return WL_MODEL_FAULT_AWAY;
	}
}

/* The record tells no usage of vectors: as it was estimated for the budget. */
static uint64_t tokens_of(const struct wl_front *front)
{
	uint64_t tokens = 0;
	for (size_t i = 0; i < front->text_count; i++) {
		const struct wl_model_message message = { .role = WL_MODEL_USER, .text = front->texts[i] };
		const struct wl_model_request request = { .messages = &message, .message_count = 1 };
		tokens += wl_llm_estimate(&request, 0);
	}
	return tokens;
}

static int embed(void *self, const struct wl_front *front, float **ret_vectors, size_t *ret_dimensions,
		 struct wl_model_usage *ret_usage, enum wl_model_fault *ret_fault, struct wl_error *err)
{
	struct code_models *models = self;
	struct one_call one;
	char hash[65], place[64];
	int id = 0;
	int result = node_models_hash_texts(front->model, front->texts, front->text_count, hash) < 0
			     ? wl_fail(err, ENOMEM, "no memory for vectors")
			     : begin_call(models, "embed", hash, place, &id, err);
	if (result < 0)
		return not_asked(result, ret_fault);
	struct wl_crew_step step = { .id = id,
				     .kind = WL_CREW_STEP_MODEL,
				     .place = place,
				     .name = front->model,
				     .input = front->texts[0],
				     .start_ms = wl_clock_wall_ms() };
	node_trace_step(&models->trace, &step);
	open_call(models, front->request.cancel_fd, &one);
	result = one.port.port.embed(one.port.port.self, NULL, front->model, front->texts, front->text_count, place,
				     ret_vectors, ret_dimensions, err);
	*ret_fault = fault_of(result);
	if (result == 0)
		*ret_usage = (struct wl_model_usage){ .prompt = tokens_of(front), .estimated = true };
	close_call(models, &one, ret_usage, 0, result == -EDQUOT, err);
	step.ended = true;
	step.error_code = result < 0 ? wl_model_fault_word(*ret_fault) : NULL;
	step.error = result < 0 ? err->text : NULL;
	step.usage = ret_usage;
	step.end_ms = wl_clock_wall_ms();
	node_trace_step(&models->trace, &step);
	return result;
}

static int list(void *self, int cancel_fd, struct wl_buffer *out, struct wl_error *err)
{
	const struct code_models *models = self;
	return wl_model_names_list(models->world->models, models->call->tenant, cancel_fd, out, err);
}

/* ---- begin and end --------------------------------------------------------------------------------------- */

static int fill_env(struct code_models *models)
{
	static const char *const fixed[] = { "OPENAI_BASE_URL=" ADDRESS "/v1", "OPENAI_API_BASE=" ADDRESS "/v1",
					     "OPENAI_API_KEY=windlass", /* clients want one; it opens nothing */
					     "ANTHROPIC_BASE_URL=" ADDRESS, "ANTHROPIC_API_KEY=windlass" };
	static const char *const names[] = { "MODEL", "OPENAI_MODEL_NAME" };
	const char *model = models->call->plan->models.model;
	size_t count = 0;
	_Static_assert(WL_COUNT_OF(fixed) + WL_COUNT_OF(names) < ENV_MAX, "and the NULL");
	for (size_t i = 0; i < WL_COUNT_OF(fixed); i++)
		models->env[count++] = fixed[i];
	for (size_t i = 0; model && i < WL_COUNT_OF(names); i++) {
		if (asprintf(&models->model_env[i], "%s=%s", names[i], model) < 0) {
			models->model_env[i] = NULL;
			return -ENOMEM;
		}
		models->env[count++] = models->model_env[i];
	}
	return 0;
}

bool code_models_open(struct node_world *world, const struct node_call *call, struct node_outcome *outcome,
		      struct code_models **ret_models)
{
	struct wl_error err = { 0 };
	if (!world->models) {
		node_fail(outcome, call, NODE_FAILED_FOR_GOOD, "internal", NULL, "this supervisor asks no models");
		return false;
	}
	struct code_models *models = calloc(1, sizeof(*models));
	if (!models) {
		node_fail(outcome, call, NODE_FAILED, "internal", NULL, "no memory for the models' gateway");
		return false;
	}
	models->world = world;
	models->call = call;
	int result = node_record_open(world, call, &models->record, &err);
	(void)pthread_mutex_init(&models->lock, NULL);
	node_trace_open(call, &models->trace);
	node_models_open(world, call, &models->record, NULL, 0, &models->judge);
	if (result < 0)
		node_fail(outcome, call, result == -ECANCELED ? NODE_STOPPED : NODE_FAILED, "internal", NULL,
			  "the record of exchanges cannot be read");
	else if ((result = fill_env(models)) < 0)
		node_fail(outcome, call, NODE_FAILED, "internal", NULL, "no memory for the models' gateway");
	if (result < 0) {
		code_models_free(models);
		return false;
	}
	*ret_models = models;
	return true;
}

void code_models_free(struct code_models *models)
{
	if (!models)
		return;
	gateway_close(models->gateway);
	node_models_close(&models->judge);
	node_trace_close(&models->trace);
	node_record_close(&models->record);
	(void)pthread_mutex_destroy(&models->lock);
	for (size_t i = 0; i < WL_COUNT_OF(models->model_env); i++)
		free(models->model_env[i]);
	free(models->asked);
	free(models);
}

const char *const *code_models_env(const struct code_models *models)
{
	return models->env;
}

int code_models_listen(struct code_models *models, int fd, struct wl_error *err)
{
	const struct gateway_host host = { models, chat, embed, list };
	/* a sandbox was lost with its warden: the program begins anew, and finds its answers on record */
	gateway_close(wl_steal(models->gateway));
	models->asked_count = models->calls = 0;
	return gateway_open(fd, models->call->cancel_fd, &host, &models->gateway, err);
}

static char *usage_text(const struct code_models *models)
{
	_wl_buffer_ struct wl_buffer text = { 0 };
	node_models_put_usage(&text, &models->usage, models->cost, models->calls, 0);
	return text.failed ? NULL : wl_buffer_steal(&text);
}

bool code_models_end(struct code_models *models, bool program_failed, struct node_outcome *outcome)
{
	char sentence[RECORD_PLACE_MAX + 64];
	gateway_close(wl_steal(models->gateway));
	_wl_free_ char *spent = usage_text(models);
	if (*models->record.diverged) {
		(void)snprintf(sentence, sizeof(sentence),
			       "the program asks something at %s that the record does not hold",
			       models->record.diverged);
		node_fail_model(outcome, models->call, &models->judge, "replay_diverged", spent, sentence);
		return true;
	}
	if (!program_failed || !*models->refusal || node_pause(models->call, 0))
		return false;
	node_fail_model(outcome, models->call, &models->judge, "budget_exceeded", spent, models->refusal);
	return true;
}

/* Put {"models": ...} to the receipt's members. */
static void add_receipt(const struct code_models *models, struct node_outcome *outcome)
{
	_wl_free_ char *spent = usage_text(models);
	_wl_buffer_ struct wl_buffer text = { 0 };
	size_t length = outcome->receipt_json ? strlen(outcome->receipt_json) : 0;
	if (length < 2 || !spent)
		return;
	(void)wl_buffer_append(&text, outcome->receipt_json, length - 1);
	(void)wl_buffer_appendf(&text, ",\"models\":%s}", spent);
	if (text.failed)
		return;
	free(outcome->receipt_json);
	outcome->receipt_json = wl_buffer_steal(&text);
}

void code_models_tell(struct code_models *models, struct node_outcome *outcome)
{
	/* another attempt of a program that failed would hear what this one heard */
	if (outcome->result == NODE_FAILED && models->calls > 0)
		node_record_close_round(&models->record, "program");
	outcome->trace_json = node_trace_text(&models->trace);
	add_receipt(models, outcome);
}
