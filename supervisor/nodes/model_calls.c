#include "supervisor/nodes/model_calls.h"

#include "lib/base/cleanup.h"
#include "lib/base/clock.h"
#include "lib/ports/crew_memory.h"
#include "lib/secrets/digest.h"

#include <errno.h>
#include <math.h>
#include <string.h>

#define ASKED_KEPT (64u << 10) /* bytes of a question that are kept for people */
#define VECTORS_KEY 384

/* ---- what is asked, as JSON -----------------------------------------------------------------------------------------
 */

static struct wl_json *images_json(const struct wl_model_message *message)
{
	struct wl_json *list = wl_json_array();
	for (size_t i = 0; i < message->image_count; i++) {
		const struct wl_model_image *image = &message->images[i];
		struct wl_json *one = wl_json_object();
		(void)wl_json_set_string(one, "media_type", image->media_type);
		(void)wl_json_set_string(one, "base64", image->base64);
		(void)wl_json_set_string(one, "url", image->url);
		(void)wl_json_append(list, one);
	}
	return list;
}

static struct wl_json *tool_uses_json(const struct wl_model_tool_use *uses, size_t count)
{
	struct wl_json *list = wl_json_array();
	for (size_t i = 0; i < count; i++) {
		struct wl_json *one = wl_json_object();
		(void)wl_json_set_string(one, "id", uses[i].id);
		(void)wl_json_set_string(one, "name", uses[i].name);
		(void)wl_json_set_string(one, "arguments", uses[i].arguments);
		(void)wl_json_append(list, one);
	}
	return list;
}

static struct wl_json *message_json(const struct wl_model_message *message)
{
	static const char *const roles[] = { [WL_MODEL_SYSTEM] = "system",
					     [WL_MODEL_USER] = "user",
					     [WL_MODEL_ASSISTANT] = "assistant",
					     [WL_MODEL_TOOL] = "tool" };
	struct wl_json *one = wl_json_object();
	(void)wl_json_set_string(one, "role", roles[message->role]);
	(void)wl_json_set_string(one, "text", message->text);
	if (message->image_count > 0)
		(void)wl_json_set(one, "images", images_json(message));
	if (message->tool_use_count > 0)
		(void)wl_json_set(one, "tool_uses", tool_uses_json(message->tool_uses, message->tool_use_count));
	if (message->tool_use_id)
		(void)wl_json_set_string(one, "tool_use_id", message->tool_use_id);
	if (message->tool_failed)
		(void)wl_json_set_bool(one, "failed", true);
	return one;
}

static struct wl_json *tool_json(const struct wl_model_tool *tool)
{
	struct wl_json *one = wl_json_object();
	(void)wl_json_set_string(one, "name", tool->name);
	(void)wl_json_set_string(one, "description", tool->description);
	(void)wl_json_set_string(one, "parameters", tool->parameters);
	return one;
}

static void put_number(struct wl_json *json, const char *name, double number)
{
	if (!isnan(number))
		(void)wl_json_set_number(json, name, number);
}

/* A question in a form that depends on nothing but itself. What comes out without memory is refused by the hash. */
static struct wl_json *asked_json(const struct wl_model_request *request)
{
	struct wl_json *asked = wl_json_object(), *messages = wl_json_array(), *tools = wl_json_array();
	struct wl_json *stops = wl_json_array();
	for (size_t i = 0; i < request->message_count; i++)
		(void)wl_json_append(messages, message_json(&request->messages[i]));
	for (size_t i = 0; i < request->tool_count; i++)
		(void)wl_json_append(tools, tool_json(&request->tools[i]));
	for (size_t i = 0; i < request->stop_count; i++)
		(void)wl_json_append(stops, wl_json_new_string(request->stops[i]));
	int failed = wl_json_set_string(asked, "provider_id", request->provider_id);
	failed |= wl_json_set_string(asked, "model", request->model);
	failed |= wl_json_set(asked, "messages", messages);
	failed |= wl_json_set(asked, "tools", tools);
	failed |= wl_json_set(asked, "stops", stops);
	failed |= wl_json_set_number(asked, "tool_choice", request->tool_choice);
	failed |= wl_json_set_string(asked, "schema", request->schema);
	failed |= wl_json_set_number(asked, "max_tokens", request->max_tokens);
	put_number(asked, "temperature", request->temperature);
	put_number(asked, "top_p", request->top_p);
	if (failed) {
		wl_json_free(asked);
		return NULL;
	}
	return asked;
}

/* For people: cut to its size where it is large. Allocated. */
static char *kept_text(const struct wl_json *asked)
{
	char *text = wl_json_print(asked);
	if (!text || strlen(text) <= ASKED_KEPT)
		return text;
	char note[64];
	(void)snprintf(note, sizeof(note), "{\"truncated\":true,\"bytes\":%zu}", strlen(text));
	free(text);
	return strdup(note);
}

/* ---- what was answered, as JSON
 * -------------------------------------------------------------------------------------- */

static char *answer_text(const struct wl_model_answer *answer)
{
	_wl_json_ struct wl_json *json = wl_json_object();
	struct wl_json *usage = wl_json_object();
	int failed = wl_json_set_number(usage, "prompt", (double)answer->usage.prompt);
	failed |= wl_json_set_number(usage, "completion", (double)answer->usage.completion);
	failed |= wl_json_set_number(usage, "cached", (double)answer->usage.cached);
	failed |= wl_json_set_number(usage, "cache_write", (double)answer->usage.cache_write);
	failed |= wl_json_set_number(usage, "reasoning", (double)answer->usage.reasoning);
	failed |= wl_json_set_bool(usage, "estimated", answer->usage.estimated);
	failed |= wl_json_set(json, "usage", usage);
	failed |= wl_json_set_string(json, "text", answer->text);
	failed |= wl_json_set(json, "tool_uses", tool_uses_json(answer->tool_uses, answer->tool_use_count));
	failed |= wl_json_set_number(json, "end", answer->end);
	failed |= wl_json_set_string(json, "provider_id", answer->provider_id);
	failed |= wl_json_set_string(json, "model", answer->model);
	failed |= wl_json_set_number(json, "first_us", (double)answer->first_us);
	failed |= wl_json_set_number(json, "total_us", (double)answer->total_us);
	failed |= wl_json_set_number(json, "cost", answer->cost);
	return failed ? NULL : wl_json_print(json);
}

static char *copy(const struct wl_json *json, const char *name)
{
	const char *text = wl_json_get_string(json, name, NULL);
	return text ? strdup(text) : NULL;
}

static uint64_t count_of(const struct wl_json *json, const char *name)
{
	return (uint64_t)wl_json_get_number(json, name, 0);
}

/* An answer from the record. Its cost was paid by whoever asked first, and its usage counts as none. */
static int read_answer(const struct wl_json *json, struct wl_model_answer *answer)
{
	const struct wl_json *uses = wl_json_get(json, "tool_uses");
	size_t count = wl_json_count(uses);
	answer->replayed = true;
	answer->text = copy(json, "text");
	answer->provider_id = copy(json, "provider_id");
	answer->model = copy(json, "model");
	answer->end = (enum wl_model_end)wl_json_get_number(json, "end", 0);
	answer->tool_uses = calloc(count + 1, sizeof(*answer->tool_uses));
	if (!answer->tool_uses)
		return -ENOMEM;
	for (const struct wl_json *one = wl_json_first(uses); one; one = wl_json_next(one)) {
		struct wl_model_tool_use *use = &answer->tool_uses[answer->tool_use_count++];
		*use = (struct wl_model_tool_use){ copy(one, "id"), copy(one, "name"), copy(one, "arguments") };
		if (!use->id || !use->name || !use->arguments)
			return -ENOMEM;
	}
	return 0;
}

/* Within one run an answer counts once, whichever attempt asked; in a replay it costs nothing. */
static void count_again(const struct node_models *models, const struct wl_json *json, struct wl_model_answer *answer)
{
	const struct wl_json *usage = wl_json_get(json, "usage");
	if (models->record->replay != NODE_REPLAY_NONE)
		return;
	answer->usage = (struct wl_model_usage){ .prompt = count_of(usage, "prompt"),
						 .completion = count_of(usage, "completion"),
						 .cached = count_of(usage, "cached"),
						 .cache_write = count_of(usage, "cache_write"),
						 .reasoning = count_of(usage, "reasoning"),
						 .estimated = wl_json_get_bool(usage, "estimated", false) };
	answer->cost = wl_json_get_number(json, "cost", 0);
}

/* A failure that was recorded; 0 for an answer. */
static int recorded_fault(const struct wl_json *json, struct wl_model_answer *answer, struct wl_error *err)
{
	const struct wl_json *number = wl_json_get(json, "fault");
	if (!number)
		return 0;
	answer->fault = (enum wl_model_fault)wl_json_number(number, 0);
	answer->replayed = true;
	return wl_fail(err, EPROTO, "%.500s", wl_json_get_string(json, "message", ""));
}

/* Failures that a crew goes on after, in another way: they are answers like any other. */
static bool steers(enum wl_model_fault fault)
{
	return fault == WL_MODEL_FAULT_TOOLS || fault == WL_MODEL_FAULT_CONTEXT;
}

static char *fault_text(enum wl_model_fault fault, const struct wl_error *err)
{
	_wl_json_ struct wl_json *json = wl_json_object();
	int failed = wl_json_set_number(json, "fault", fault);
	failed |= wl_json_set_string(json, "message", err->text);
	return failed ? NULL : wl_json_print(json);
}

static void give_recorded(const struct node_models *models, const struct wl_json *json,
			  const struct wl_model_request *request, struct wl_model_answer *answer)
{
	count_again(models, json, answer);
	if (request->stream && request->stream->text && answer->text && *answer->text)
		request->stream->text(request->stream->context, answer->text, strlen(answer->text));
}

/* ---- calls
 * ------------------------------------------------------------------------------------------------------------ */

static int fault(struct wl_model_answer *answer, enum wl_model_fault fault, int result)
{
	answer->fault = fault;
	return result;
}

static enum wl_model_fault record_fault(int result)
{
	return result == -ECANCELED ? WL_MODEL_FAULT_STOPPED
	       : result == -ESTALE  ? WL_MODEL_FAULT_DIVERGED
				    : WL_MODEL_FAULT_AWAY;
}

/* The time that the node has left, or what the request says when that is less; 0: no bound. */
static uint32_t time_left(const struct node_models *models, uint32_t wanted_ms)
{
	if (models->deadline_ms == 0)
		return wanted_ms;
	uint64_t now_ms = wl_clock_boot_ms();
	uint64_t left_ms = models->deadline_ms > now_ms ? models->deadline_ms - now_ms : 1;
	return wanted_ms > 0 && wanted_ms < left_ms ? wanted_ms
						    : (uint32_t)(left_ms < UINT32_MAX ? left_ms : UINT32_MAX);
}

static struct wl_metered_caller caller_of(const struct node_models *models)
{
	const struct node_call *call = models->call;
	bool asked = call->decision != NULL;
	return (struct wl_metered_caller){ .tenant = call->tenant,
					   .eid = call->eid,
					   .node = node_call_path(call),
					   .attempt = models->record->round,
					   .agent_id = models->agent_id,
					   .caller = "run",
					   .asked_wait = asked ? models->asked_wait : NULL,
					   .approved = asked && call->decision->approved };
}

/* What a budget said, which may be that a person is to be asked. */
static void keep_said(struct node_models *models, const struct wl_budget_answer *said)
{
	(void)pthread_mutex_lock(&models->lock);
	models->said = *said;
	(void)pthread_mutex_unlock(&models->lock);
}

static int ask_now(struct node_models *models, const struct wl_model_request *request, struct wl_model_answer *answer,
		   struct wl_error *err)
{
	struct wl_model_request asked = *request;
	const struct wl_metered_caller caller = caller_of(models);
	struct wl_budget_answer said;
	struct wl_model_target target;
	asked.cancel_fd = models->call->cancel_fd;
	asked.timeout_ms = time_left(models, request->timeout_ms);
	if (models->choose) {
		int found =
			models->choose(models->choose_context, request->model, false, asked.cancel_fd, &target, err);
		if (found < 0)
			return fault(answer, record_fault(found), found);
		asked.provider_id = *target.provider_id ? target.provider_id : NULL;
		asked.model = target.model;
	}
	int result = wl_metered_call(models->world->models, &caller, &asked, answer, &said, err);
	if (result < 0 && answer->fault == WL_MODEL_FAULT_BUDGET)
		keep_said(models, &said);
	return result;
}

/* Bytes of a call under way: what is asked as it is sent, and the longest answer. */
static uint64_t bytes_of(const struct wl_model_request *request)
{
	uint64_t bytes = WL_MODEL_ANSWER_MAX;
	for (size_t i = 0; i < request->message_count; i++) {
		const struct wl_model_message *message = &request->messages[i];
		bytes += message->text ? 2 * strlen(message->text) : 0;
		for (size_t image = 0; image < message->image_count; image++)
			bytes += message->images[image].base64 ? 2 * strlen(message->images[image].base64) : 0;
	}
	return bytes;
}

/* One at a time where memory is short: in turn with all others of the process. */
static int ask(struct node_models *models, const struct wl_model_request *request, struct wl_model_answer *answer,
	       struct wl_error *err)
{
	struct node_memory *memory = models->world->share ? &models->world->share->calls : NULL;
	uint64_t taken;
	if (node_memory_wait(memory, models->call, bytes_of(request), &taken, err) < 0)
		return fault(answer, WL_MODEL_FAULT_STOPPED, -ECANCELED);
	int result = ask_now(models, request, answer, err);
	node_memory_give(memory, taken);
	return result;
}

static int call_model(void *self, const struct wl_model_request *request, struct wl_model_answer *answer,
		      struct wl_error *err)
{
	struct node_models *models = self;
	_wl_json_ struct wl_json *asked = asked_json(request), *recorded = NULL;
	char hash[65];
	*answer = (struct wl_model_answer){ 0 };
	if (node_record_hash(asked, hash) < 0)
		return fault(answer, WL_MODEL_FAULT_AWAY, wl_fail(err, ENOMEM, "no memory for a question"));
	int found = node_record_find(models->record, WL_EXCHANGE_MODEL, request->place, hash, &recorded, err);
	if (found == 0) {
		found = recorded_fault(recorded, answer, err);
		if (found < 0)
			return found;
		if (read_answer(recorded, answer) < 0)
			return fault(answer, WL_MODEL_FAULT_AWAY, wl_fail(err, ENOMEM, "no memory for an answer"));
		give_recorded(models, recorded, request, answer);
		return 0;
	}
	if (found != -ENOENT)
		return fault(answer, record_fault(found), found);
	int64_t start_ms = wl_clock_wall_ms();
	int result = ask(models, request, answer, err);
	if (result < 0 && !steers(answer->fault))
		return result;
	_wl_free_ char *text = result < 0 ? fault_text(answer->fault, err) : answer_text(answer);
	_wl_free_ char *kept = kept_text(asked);
	if (!text || !kept)
		return fault(answer, WL_MODEL_FAULT_AWAY, wl_fail(err, ENOMEM, "no memory for an answer"));
	struct wl_error why = { 0 };
	int put = node_record_put(models->record, WL_EXCHANGE_MODEL, request->place, hash, kept, text, start_ms, &why);
	if (put == 0)
		return result;
	*err = why;
	return fault(answer, put == -ESTALE ? WL_MODEL_FAULT_STOPPED : record_fault(put), put);
}

/* ---- vectors
 * ------------------------------------------------------------------------------------------------------------ */

static struct wl_json *embed_json(const char *provider_id, const char *model, const char *const *texts, size_t count)
{
	struct wl_json *asked = wl_json_object(), *list = wl_json_array();
	for (size_t i = 0; i < count; i++)
		(void)wl_json_append(list, wl_json_new_string(texts[i]));
	int failed = wl_json_set_string(asked, "provider_id", provider_id);
	failed |= wl_json_set_string(asked, "model", model);
	failed |= wl_json_set(asked, "texts", list);
	if (failed) {
		wl_json_free(asked);
		return NULL;
	}
	return asked;
}

/* The floats as hex of their bytes: a tenth of the time and half of the size of decimal digits. */
static char *vectors_text(const float *vectors, size_t count, size_t dimensions)
{
	size_t bytes = count * dimensions * sizeof(float);
	_wl_free_ char *hex = malloc(2 * bytes + 1);
	_wl_json_ struct wl_json *json = wl_json_object();
	if (!hex || wl_json_set_number(json, "dimensions", (double)dimensions) < 0 ||
	    wl_json_set_string(json, "vectors", wl_hex((const unsigned char *)vectors, bytes, hex)) < 0)
		return NULL;
	return wl_json_print(json);
}

static int read_vectors(const struct wl_json *json, size_t count, float **ret_vectors, size_t *ret_dimensions)
{
	size_t dimensions = (size_t)wl_json_get_number(json, "dimensions", 0),
	       bytes = count * dimensions * sizeof(float);
	float *vectors = malloc(bytes + 1);
	const char *hex = wl_json_get_string(json, "vectors", "");
	if (!vectors || strlen(hex) != 2 * bytes || wl_unhex(hex, (unsigned char *)vectors, bytes) < 0) {
		free(vectors);
		return -EIO;
	}
	*ret_vectors = vectors;
	*ret_dimensions = dimensions;
	return 0;
}

static int ask_vectors(struct node_models *models, const char *provider_id, const char *model, const char *const *texts,
		       size_t count, const char *place, float **ret_vectors, size_t *ret_dimensions,
		       struct wl_error *err)
{
	struct wl_metered_caller caller = caller_of(models);
	struct wl_model_usage usage;
	struct wl_budget_answer said;
	enum wl_model_fault fault = WL_MODEL_FAULT_NONE;
	struct wl_model_target target;
	double cost;
	if (models->choose) {
		int found = models->choose(models->choose_context, model, true, models->call->cancel_fd, &target, err);
		if (found < 0)
			return found;
		provider_id = *target.provider_id ? target.provider_id : NULL;
		model = target.model;
	}
	caller.timeout_ms = time_left(models, 0);
	int result = wl_metered_embed(models->world->models, &caller, provider_id, model, texts, count, place,
				      models->call->cancel_fd, ret_vectors, ret_dimensions, &usage, &cost, &fault,
				      &said, err);
	if (result == -EDQUOT && said.verdict == WL_BUDGET_CHEAPER) /* vectors of two models do not compare */
		return wl_fail(err, EINVAL, "the budget sends to a cheaper model, which makes no such vectors");
	if (result < 0 && fault == WL_MODEL_FAULT_BUDGET)
		keep_said(models, &said);
	return result;
}

/* Whether a failure says that this provider makes no vectors; others pass, and are asked about again. */
static bool makes_none(int result)
{
	return result == -EINVAL || result == -ENOENT || result == -EACCES || result == -EMSGSIZE || result == -EPROTO;
}

/*
 * What vectors of knowledge are kept by: the provider as it is now, its model, and the texts. "" when they are not to
 * be kept: others than those of knowledge are hardly ever asked for twice.
 */
static const char *vectors_key(const struct node_models *models, const char *provider_id, const char *model,
			       const char *place, const char *hash, char key[VECTORS_KEY])
{
	struct wl_provider_chain *chain = NULL;
	struct wl_error ignored;
	size_t count;
	key[0] = '\0';
	if (!models->world->memory || strncmp(place, "agent/", 6) != 0 || !strstr(place, "/knowledge/") ||
	    wl_provider_chain_open(models->world->models, models->call->tenant, provider_id, models->call->cancel_fd,
				   &chain, &ignored) < 0)
		return key;
	const struct wl_llm_provider *provider = wl_provider_chain_items(chain, &count);
	if (!model)
		model = provider->default_model ? provider->default_model : "";
	(void)snprintf(key, VECTORS_KEY, "%.64s@%d/%s/%.200s", provider->id, provider->version, hash, model);
	wl_provider_chain_free(chain);
	return key;
}

/* Those that an earlier run paid for, else new ones. */
static int get_vectors(struct node_models *models, const char *provider_id, const char *model, const char *const *texts,
		       size_t count, const char *place, const char *hash, float **ret_vectors, size_t *ret_dimensions,
		       struct wl_error *err)
{
	const struct wl_crew_memory *memory = models->world->memory;
	char key[VECTORS_KEY];
	struct wl_error ignored;
	bool kept = *vectors_key(models, provider_id, model, place, hash, key) != '\0';
	if (kept &&
	    memory->vectors(memory->self, models->call->tenant, key, count, ret_vectors, ret_dimensions, &ignored) == 0)
		return 0;
	int result = ask_vectors(models, provider_id, model, texts, count, place, ret_vectors, ret_dimensions, err);
	if (result == 0 && kept)
		(void)memory->keep_vectors(memory->self, models->call->tenant, key, *ret_vectors, count,
					   *ret_dimensions, &ignored);
	return result;
}

/* Put what came on record: vectors, or that there are none. */
static int put_vectors(const struct node_models *models, const char *place, const char *hash, int64_t start_ms,
		       size_t count, const float *vectors, size_t dimensions, struct wl_error *err)
{
	char note[64];
	struct wl_error why = { 0 };
	_wl_free_ char *text =
		vectors ? vectors_text(vectors, count, dimensions) : fault_text(WL_MODEL_FAULT_REQUEST, err);
	(void)snprintf(note, sizeof(note), "{\"texts\":%zu}", count);
	int put = text ? node_record_put(models->record, WL_EXCHANGE_EMBED, place, hash, note, text, start_ms, &why)
		       : wl_fail(&why, EIO, "no memory for vectors");
	if (put < 0)
		*err = why;
	return put == -ESTALE ? wl_fail(err, ECANCELED, "another attempt has begun") : put;
}

static int embed(void *self, const char *provider_id, const char *model, const char *const *texts, size_t count,
		 const char *place, float **ret_vectors, size_t *ret_dimensions, struct wl_error *err)
{
	struct node_models *models = self;
	_wl_json_ struct wl_json *asked = embed_json(provider_id, model, texts, count), *recorded = NULL;
	_wl_free_ float *vectors = NULL;
	char hash[65];
	if (node_record_hash(asked, hash) < 0)
		return wl_fail(err, EIO, "no memory for vectors");
	int found = node_record_find(models->record, WL_EXCHANGE_EMBED, place, hash, &recorded, err);
	struct wl_model_answer failed = { 0 };
	if (found == 0 && recorded_fault(recorded, &failed, err) < 0)
		return -err->code;
	if (found == 0)
		return read_vectors(recorded, count, ret_vectors, ret_dimensions);
	if (found != -ENOENT)
		return found;
	int64_t start_ms = wl_clock_wall_ms();
	int result = get_vectors(models, provider_id, model, texts, count, place, hash, &vectors, ret_dimensions, err);
	if (result < 0 && !makes_none(result))
		return result;
	int put = put_vectors(models, place, hash, start_ms, count, vectors, *ret_dimensions, err);
	if (put == 0)
		*ret_vectors = wl_steal(vectors);
	return put < 0 ? put : result;
}

int node_models_hash(const struct wl_model_request *request, char ret_hash[65])
{
	_wl_json_ struct wl_json *asked = asked_json(request);
	return node_record_hash(asked, ret_hash);
}

int node_models_hash_texts(const char *model, const char *const *texts, size_t count, char ret_hash[65])
{
	_wl_json_ struct wl_json *asked = embed_json(NULL, model, texts, count);
	return node_record_hash(asked, ret_hash);
}

void node_models_open(struct node_world *world, const struct node_call *call, struct node_record *record,
		      const char *agent_id, uint64_t deadline_ms, struct node_models *models)
{
	*models = (struct node_models){
		.world = world, .call = call, .record = record, .agent_id = agent_id, .deadline_ms = deadline_ms
	};
	if (call->decision)
		(void)snprintf(models->asked_wait, sizeof(models->asked_wait), "%s!%s", node_call_path(call),
			       call->decision->name);
	models->port = (struct wl_model_port){ .self = models, .call = call_model, .embed = embed };
	(void)pthread_mutex_init(&models->lock, NULL);
}

void node_models_close(struct node_models *models)
{
	(void)pthread_mutex_destroy(&models->lock);
}

void node_models_put_usage(struct wl_buffer *json, const struct wl_model_usage *usage, double cost, int model_calls,
			   int tool_calls)
{
	(void)wl_buffer_appendf(json,
				"{\"prompt_tokens\":%llu,\"completion_tokens\":%llu,\"total_tokens\":%llu,"
				"\"cached_tokens\":%llu,\"reasoning_tokens\":%llu,\"estimated\":%s,\"cost\":%.10g,"
				"\"model_calls\":%d,\"tool_calls\":%d}",
				(unsigned long long)usage->prompt, (unsigned long long)usage->completion,
				(unsigned long long)(usage->prompt + usage->completion),
				(unsigned long long)usage->cached, (unsigned long long)usage->reasoning,
				usage->estimated ? "true" : "false", cost, model_calls, tool_calls);
}
