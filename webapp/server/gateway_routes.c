/*
 * The gateway for clients of OpenAI's and Anthropic's APIs: models of the tenant's providers behind one door, with its
 * budgets and its ledger of usage.
 */
#include "lib/base/cleanup.h"
#include "lib/base/clock.h"
#include "lib/llm/model_names.h"
#include "webapp/server/gateway_call.h"
#include "webapp/server/routes.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* A request of the right form that asks for what cannot be. */
#define REFUSED 422
#define CHOICES 4 /* so often a provider is chosen anew, when it is changed in the same moment */

static struct wl_metered_caller caller_of(const struct gateway_call *call, const struct wl_model_target *target,
					  void (*answered)(void *context, int result), void *context)
{
	return (struct wl_metered_caller){ .tenant = web_gateway_tenant(call),
					   .caller = "gateway",
					   .stamp = target->stamp,
					   .answered = answered,
					   .context = context };
}

/* Find the provider that the client means. */
static int choose(struct gateway_call *call, struct wl_front *front, struct wl_model_target *target,
		  struct wl_error *err)
{
	int result = wl_model_name_resolve(web_gateway_world(), web_gateway_tenant(call), front->model,
					   web_gateway_cancel_fd(call), target, err);
	if (result < 0) {
		web_gateway_fail(call, 503, NULL, 0);
		return result;
	}
	front->request.provider_id = *target->provider_id ? target->provider_id : NULL;
	front->request.model = target->model;
	front->request.cancel_fd = web_gateway_cancel_fd(call);
	return 0;
}

/* ---- streams
 * ---------------------------------------------------------------------------------------------------------
 */

struct telling {
	struct gateway_call *call;
	const struct wl_front_format *format;
	struct wl_front_reply reply;
	struct wl_buffer pieces;
};

static void send_pieces(struct telling *telling)
{
	web_gateway_send(telling->call, &telling->pieces);
}

static void tell_text(void *context, const char *text, size_t length)
{
	struct telling *telling = context;
	telling->format->text(&telling->reply, text, length);
	send_pieces(telling);
}

static void tell_tool_begin(void *context, size_t index, const char *id, const char *name)
{
	struct telling *telling = context;
	telling->format->tool_begin(&telling->reply, index, id, name);
	send_pieces(telling);
}

static void tell_tool_arguments(void *context, size_t index, const char *text, size_t length)
{
	struct telling *telling = context;
	telling->format->tool_arguments(&telling->reply, index, text, length);
	send_pieces(telling);
}

/* ---- calls
 * -----------------------------------------------------------------------------------------------------------
 */

/* A chat that is under way. */
struct chat {
	struct telling telling;
	struct wl_front front;
	struct wl_model_answer answer;
	struct wl_error err;
};

/* What became of it is known: the client gets it, while the ledger does. */
static void chat_answered(void *context, int result)
{
	struct chat *chat = context;
	struct telling *telling = &chat->telling;
	struct gateway_call *call = telling->call;
	const struct wl_model_answer *answer = &chat->answer;
	if (result < 0) {
		int status = wl_front_status(answer->fault);
		web_gateway_fail(call, status, wl_front_code(answer->fault), answer->retry_after_ms);
		if (web_gateway_has_sent(call))
			telling->format->fail(&telling->reply, status, wl_front_code(answer->fault), chat->err.text);
	} else if (chat->front.stream) {
		telling->format->end(&telling->reply, answer);
	} else {
		telling->format->answer(&telling->reply, answer);
	}
	send_pieces(telling);
	web_gateway_said(call, result, &chat->err);
}

static int ask(struct chat *chat)
{
	struct telling *telling = &chat->telling;
	struct wl_front *front = &chat->front;
	const struct wl_model_stream stream = { telling, tell_text, tell_tool_begin, tell_tool_arguments };
	struct wl_budget_answer said;
	int result = -ESTALE;
	front->request.stream = front->stream ? &stream : NULL;
	for (int i = 0; i < CHOICES && result == -ESTALE; i++) {
		struct wl_model_target target = { 0 };
		result = choose(telling->call, front, &target, &chat->err);
		if (result < 0)
			return result;
		const struct wl_metered_caller caller = caller_of(telling->call, &target, chat_answered, chat);
		result = wl_metered_call(web_gateway_world(), &caller, &front->request, &chat->answer, &said,
					 &chat->err);
	}
	if (result == -ESTALE)
		web_gateway_fail(telling->call, 503, NULL, 0);
	return result;
}

static int converse(struct gateway_call *call, const struct wl_front_format *format, struct wl_error *err)
{
	struct chat chat = { .telling = { .call = call, .format = format } };
	struct telling *telling = &chat.telling;
	const struct wl_front *front = &chat.front;
	int result = wl_front_read(format, web_gateway_take_body(call), &chat.front, &chat.err);
	if (result < 0) {
		web_gateway_fail(call, result == -ENOMEM ? 503 : REFUSED, NULL, 0);
	} else {
		telling->reply =
			(struct wl_front_reply){ .id = web_gateway_id(call),
						 .model = front->model,
						 .created_s = wl_clock_wall_ms() / 1000,
						 .include_usage = front->include_usage,
						 .out = front->stream ? &telling->pieces : web_gateway_answer(call) };
		result = ask(&chat);
	}
	*err = chat.err;
	wl_model_answer_release(&chat.answer);
	wl_buffer_release(&telling->pieces);
	wl_front_release(&chat.front);
	return result;
}

static int completions(struct gateway_call *call, struct wl_error *err)
{
	return converse(call, &wl_front_openai, err);
}

static int messages(struct gateway_call *call, struct wl_error *err)
{
	return converse(call, &wl_front_anthropic, err);
}

/* Texts that are made vectors. */
struct embedding {
	struct gateway_call *call;
	struct wl_front front;
	float *vectors;
	size_t dimensions;
	struct wl_model_usage usage;
	enum wl_model_fault fault;
	struct wl_error err;
};

static void embedding_answered(void *context, int result)
{
	struct embedding *embedding = context;
	struct gateway_call *call = embedding->call;
	if (result < 0)
		web_gateway_fail(call, wl_front_status(embedding->fault), wl_front_code(embedding->fault), 0);
	else
		wl_front_put_embeddings(web_gateway_answer(call), &embedding->front, embedding->vectors,
					embedding->front.text_count, embedding->dimensions, &embedding->usage);
	web_gateway_said(call, result, &embedding->err);
}

static int ask_vectors(struct embedding *embedding)
{
	struct wl_front *front = &embedding->front;
	struct wl_budget_answer said;
	double cost;
	int result = -ESTALE;
	for (int i = 0; i < CHOICES && result == -ESTALE; i++) {
		struct wl_model_target target = { 0 };
		result = choose(embedding->call, front, &target, &embedding->err);
		if (result < 0)
			return result;
		const struct wl_metered_caller caller =
			caller_of(embedding->call, &target, embedding_answered, embedding);
		result = wl_metered_embed(web_gateway_world(), &caller, front->request.provider_id,
					  front->request.model, front->texts, front->text_count, NULL,
					  front->request.cancel_fd, &embedding->vectors, &embedding->dimensions,
					  &embedding->usage, &cost, &embedding->fault, &said, &embedding->err);
	}
	if (result == -ESTALE)
		web_gateway_fail(embedding->call, 503, NULL, 0);
	return result;
}

static int embed(struct gateway_call *call, struct wl_error *err)
{
	struct embedding embedding = { .call = call };
	int result = wl_front_read_embeddings(web_gateway_take_body(call), &embedding.front, &embedding.err);
	if (result < 0)
		web_gateway_fail(call, result == -ENOMEM ? 503 : REFUSED, NULL, 0);
	else
		result = ask_vectors(&embedding);
	*err = embedding.err;
	free(embedding.vectors);
	wl_front_release(&embedding.front);
	return result;
}

static int list(struct gateway_call *call, struct wl_error *err)
{
	int result = wl_model_names_list(web_gateway_world(), web_gateway_tenant(call), web_gateway_cancel_fd(call),
					 web_gateway_answer(call), err);
	if (result < 0)
		web_gateway_fail(call, 503, NULL, 0);
	return result;
}

void web_gateway_chat(struct web_request *request)
{
	web_gateway_start(request, completions);
}

void web_gateway_messages(struct web_request *request)
{
	web_gateway_start(request, messages);
}

void web_gateway_embeddings(struct web_request *request)
{
	web_gateway_start(request, embed);
}

void web_gateway_models(struct web_request *request)
{
	web_gateway_start(request, list);
}
