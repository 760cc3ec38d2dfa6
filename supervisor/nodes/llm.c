/*
 * llm: one question to a language model. With a schema the answer is checked, and asked for again with what was wrong
 * when it does not fit.
 */
#include "lib/base/cleanup.h"
#include "lib/base/clock.h"
#include "supervisor/nodes/model_fault.h"
#include "supervisor/nodes/trace.h"

#include <errno.h>
#include <math.h>
#include <string.h>

#define IMAGES_MAX 16
#define SCHEMA_TRIES 3
#define MESSAGES_MAX (2 + 2 * SCHEMA_TRIES)

/* One attempt. */
struct question {
	struct node_world *world;
	const struct node_call *call;
	struct node_models *models;
	struct node_trace *trace;
	struct wl_model_image images[IMAGES_MAX];
	char *media_types[IMAGES_MAX];
	size_t image_count;
	struct wl_model_message messages[MESSAGES_MAX];
	size_t message_count;
	char *kept[MESSAGES_MAX]; /* texts of the messages that were made here */
	size_t kept_count;
	struct wl_model_usage usage;
	double cost;
	int calls;
};

static void pass_text(void *context, const char *text, size_t length)
{
	node_trace_token(context, NULL, text, length);
}

/* data:<media type>;base64,<bytes> (RFC 2397), or an address. */
static bool add_image(struct question *question, const char *url)
{
	struct wl_model_image *image = &question->images[question->image_count];
	const char *comma = strchr(url, ',');
	if (strncmp(url, "data:", 5) != 0) {
		image->url = url;
		question->image_count++;
		return strncmp(url, "https://", 8) == 0 || strncmp(url, "http://", 7) == 0;
	}
	if (!comma || comma - url < 12 || strncmp(comma - 7, ";base64", 7) != 0)
		return false;
	char *media_type = strndup(url + 5, (size_t)(comma - 7 - (url + 5)));
	if (!media_type)
		return false;
	question->media_types[question->image_count] = media_type;
	image->media_type = media_type;
	image->base64 = comma + 1;
	question->image_count++;
	return true;
}

/* The messages that a question begins with; they point into `input`. */
static bool begin(struct question *question, const struct wl_json *input, struct node_outcome *outcome)
{
	const char *system = wl_json_get_string(input, "system", NULL), *fault = NULL;
	const char *prompt = wl_json_get_string(input, "prompt", NULL);
	_wl_free_ char *other = prompt ? NULL : wl_json_print(wl_json_get(input, "prompt"));
	const struct wl_json *images = wl_json_get(input, "images");
	if (wl_json_count(images) > IMAGES_MAX)
		fault = "there are more than 16 images";
	const struct wl_json *one = fault ? NULL : wl_json_first(images);
	for (; one && !fault; one = wl_json_next(one))
		if (!add_image(question, wl_json_string(one, "")))
			fault = "an image is neither an http address nor a data: URL in base64";
	if (!prompt && !other)
		fault = "the prompt is missing";
	if (fault) {
		node_fail(outcome, question->call, NODE_FAILED_FOR_GOOD, "input_invalid", NULL, "%s", fault);
		return false;
	}
	if (!prompt) { /* an expression gave something else than text: it is asked as JSON */
		prompt = other;
		question->kept[question->kept_count++] = wl_steal(other);
	}
	if (system && *system)
		question->messages[question->message_count++] =
			(struct wl_model_message){ .role = WL_MODEL_SYSTEM, .text = system };
	question->messages[question->message_count++] = (struct wl_model_message){
		.role = WL_MODEL_USER, .text = prompt, .images = question->images, .image_count = question->image_count
	};
	return true;
}

static void add_step(struct question *question, const char *place, const struct wl_model_answer *answer,
		     int64_t start_ms, int id, const char *error)
{
	const struct wl_model_message *last = &question->messages[question->message_count - 1];
	const struct wl_crew_step step = { .id = id,
					   .kind = WL_CREW_STEP_MODEL,
					   .ended = true,
					   .place = place,
					   .name = answer->model ? answer->model : question->call->plan->model,
					   .input = last->text,
					   .output = answer->text,
					   .error_code = error ? wl_model_fault_word(answer->fault) : NULL,
					   .error = error,
					   .usage = &answer->usage,
					   .cost = answer->cost,
					   .replayed = answer->replayed,
					   .start_ms = start_ms,
					   .end_ms = wl_clock_wall_ms(),
					   .first_us = answer->first_us };
	node_trace_step(question->trace, &step);
}

static void count_usage(struct question *question, const struct wl_model_answer *answer)
{
	question->usage.prompt += answer->usage.prompt;
	question->usage.completion += answer->usage.completion;
	question->usage.cached += answer->usage.cached;
	question->usage.cache_write += answer->usage.cache_write;
	question->usage.reasoning += answer->usage.reasoning;
	question->usage.estimated |= answer->usage.estimated;
	question->cost += answer->cost;
	question->calls++;
}

static int ask(struct question *question, int turn, struct wl_model_answer *answer, struct wl_error *err)
{
	const struct node_plan *plan = question->call->plan;
	const struct wl_model_stream stream = { .context = question->trace, .text = pass_text };
	char place[32];
	(void)snprintf(place, sizeof(place), "llm/%d", turn);
	const struct wl_model_request request = { .provider_id = plan->provider_id,
						  .model = plan->model,
						  .messages = question->messages,
						  .message_count = question->message_count,
						  .stops = (const char *const *)plan->stops,
						  .stop_count = (size_t)plan->stop_count,
						  .schema = plan->schema_json,
						  .temperature = plan->temperature,
						  .top_p = NAN,
						  .max_tokens = plan->max_tokens,
						  .cancel_fd = question->call->cancel_fd,
						  .stream = &stream,
						  .place = place };
	int64_t start_ms = wl_clock_wall_ms();
	int result = question->models->port.call(question->models->port.self, &request, answer, err);
	count_usage(question, answer);
	add_step(question, place, answer, start_ms, turn, result < 0 ? err->text : NULL);
	return result;
}

static char *usage_text(const struct question *question)
{
	_wl_buffer_ struct wl_buffer text;
	wl_buffer_init(&text, 0);
	node_models_put_usage(&text, &question->usage, question->cost, question->calls, 0);
	return text.failed ? NULL : wl_buffer_steal(&text);
}

static void give(struct question *question, struct node_outcome *outcome, const char *text, const struct wl_json *json)
{
	_wl_json_ struct wl_json *output = wl_json_object();
	_wl_free_ char *usage = usage_text(question);
	int failed = wl_json_set_string(output, "text", text);
	failed |= wl_json_set(output, "json", json ? wl_json_copy(json) : wl_json_new_null());
	failed |= wl_json_set_raw(output, "usage", usage ? usage : "null");
	node_give(outcome, question->call, failed ? NULL : wl_json_print(output));
}

/* Does the answer fit? Else `ret_why` says why not. A failure that is not the answer's is in the outcome. */
static bool fits(struct question *question, const char *text, struct wl_json **ret_json, char ret_why[WL_ERROR_TEXT],
		 struct node_outcome *outcome)
{
	const struct node_schema schema = { question->call->plan->schema_json, "output_invalid", "answer does",
					    "the node's schema" };
	struct wl_error err = { 0 };
	if (wl_json_parse(text, strlen(text), ret_json, &err) < 0) {
		(void)snprintf(ret_why, WL_ERROR_TEXT, "it is not JSON: %.400s", err.text);
		return false;
	}
	if (node_check_schema(question->world, question->call, outcome, &schema, text, strlen(text)))
		return true;
	(void)snprintf(ret_why, WL_ERROR_TEXT, "%.500s", outcome->error_json ? outcome->error_json : "");
	return false;
}

/* Say what was wrong, so that the model may mend it. */
static bool add_turn(struct question *question, struct wl_model_answer *answer, const char *why)
{
	_wl_buffer_ struct wl_buffer text;
	wl_buffer_init(&text, 0);
	(void)wl_buffer_appendf(&text,
				"This answer does not fit the JSON Schema that it has to: %s\nAnswer again with JSON "
				"alone that fits this schema:\n%s",
				why, question->call->plan->schema_json);
	char *told = answer->text ? strdup(answer->text) : strdup("");
	char *asked = text.failed ? NULL : wl_buffer_steal(&text);
	question->kept[question->kept_count++] = told;
	question->kept[question->kept_count++] = asked;
	question->messages[question->message_count++] =
		(struct wl_model_message){ .role = WL_MODEL_ASSISTANT, .text = told };
	question->messages[question->message_count++] =
		(struct wl_model_message){ .role = WL_MODEL_USER, .text = asked };
	return told && asked;
}

static void fail(struct question *question, struct node_outcome *outcome, const char *code, const char *sentence)
{
	_wl_free_ char *spent = usage_text(question);
	if (!node_model_stopped(outcome, question->call, question->models, spent))
		node_fail_model(outcome, question->call, question->models, code, spent, sentence);
}

static void converse(struct question *question, struct node_outcome *outcome)
{
	char why[WL_ERROR_TEXT] = "";
	for (int turn = 1; turn <= SCHEMA_TRIES; turn++) {
		_wl_model_answer_ struct wl_model_answer answer = { 0 };
		_wl_json_ struct wl_json *json = NULL;
		struct wl_error err = { 0 };
		if (ask(question, turn, &answer, &err) < 0) {
			fail(question, outcome, wl_model_fault_word(answer.fault), err.text);
			return;
		}
		const char *text = answer.text ? answer.text : "";
		if (!question->call->plan->schema_json) {
			give(question, outcome, text, NULL);
			return;
		}
		bool fitting = fits(question, text, &json, why, outcome);
		free(wl_steal(outcome->error_json));
		if (fitting) {
			give(question, outcome, text, json);
			return;
		}
		if (node_pause(question->call, 0) || !add_turn(question, &answer, why))
			break;
	}
	fail(question, outcome, "output_invalid", why);
}

static void release(struct question *question)
{
	for (size_t i = 0; i < question->kept_count; i++)
		free(question->kept[i]);
	for (size_t i = 0; i < IMAGES_MAX; i++)
		free(question->media_types[i]);
}

static void run(struct node_world *world, const struct node_call *call, const struct wl_json *input,
		struct node_outcome *outcome)
{
	struct node_record record;
	struct node_models models;
	struct node_trace trace;
	struct question question = { .world = world, .call = call, .models = &models, .trace = &trace };
	struct wl_error err = { 0 };
	uint64_t deadline_ms = call->node->timeout_ms > 0 ? wl_clock_boot_ms() + (uint64_t)call->node->timeout_ms : 0;
	int opened = node_record_open(world, call, &record, &err);
	node_models_open(world, call, &record, NULL, deadline_ms, &models);
	node_trace_open(call, &trace);
	if (opened < 0)
		node_fail_record(outcome, call, opened, &err);
	else if (begin(&question, input, outcome))
		converse(&question, outcome);
	outcome->trace_json = node_trace_text(&trace);
	release(&question);
	node_trace_close(&trace);
	node_models_close(&models);
	node_record_close(&record);
}

void node_run_llm(struct node_world *world, const struct node_call *call, struct node_outcome *outcome)
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
