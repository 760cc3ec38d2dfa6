/*
 * The gateway for clients of OpenAI's and Anthropic's APIs: models of the tenant's providers behind one door, with its
 * budgets and its ledger of usage.
 */
#include "lib/base/cleanup.h"
#include "lib/base/clock.h"
#include "webapp/server/gateway_call.h"
#include "webapp/server/gateway_models.h"
#include "webapp/server/routes.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* A request of the right form that asks for what cannot be. */
#define REFUSED 422

static const char *code_of(enum wl_model_fault fault)
{
	switch (fault) {
	case WL_MODEL_FAULT_PROVIDER:
	case WL_MODEL_FAULT_MODEL:
		return "model_not_found";
	case WL_MODEL_FAULT_CONTEXT:
		return "context_length_exceeded";
	case WL_MODEL_FAULT_BUDGET:
		return "insufficient_quota";
	case WL_MODEL_FAULT_RATE:
		return "rate_limit_exceeded";
	default:
		return wl_model_fault_word(fault);
	}
}

static struct wl_metered_caller caller_of(const struct gateway_call *call)
{
	return (struct wl_metered_caller){ .tenant = web_gateway_tenant(call), .caller = "gateway" };
}

/* Find the provider that the client means; the front's model becomes the one to ask it for. */
static int choose(struct gateway_call *call, struct wl_front *front, struct gateway_target *target,
		  struct wl_error *err)
{
	int result = web_gateway_resolve(web_gateway_world(), web_gateway_tenant(call), front->model,
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

static int ask(struct gateway_call *call, struct telling *telling, struct wl_front *front, struct wl_error *err)
{
	const struct wl_front_format *format = telling->format;
	const struct wl_metered_caller caller = caller_of(call);
	const struct wl_model_stream stream = { telling, tell_text, tell_tool_begin, tell_tool_arguments };
	_wl_model_answer_ struct wl_model_answer answer = { 0 };
	struct wl_budget_answer said;
	front->request.stream = front->stream ? &stream : NULL;
	int result = wl_metered_call(web_gateway_world(), &caller, &front->request, &answer, &said, err);
	if (result < 0) {
		int status = wl_front_status(answer.fault);
		web_gateway_fail(call, status, code_of(answer.fault), answer.retry_after_ms);
		if (web_gateway_has_sent(call)) {
			format->fail(&telling->reply, status, code_of(answer.fault), err->text);
			send_pieces(telling);
		}
	} else if (front->stream) {
		format->end(&telling->reply, &answer);
		send_pieces(telling);
	} else {
		format->answer(&telling->reply, &answer);
	}
	return result;
}

static int converse(struct gateway_call *call, const struct wl_front_format *format, struct wl_error *err)
{
	struct wl_front front;
	struct gateway_target target;
	struct telling telling = { .call = call, .format = format };
	int result = wl_front_read(format, web_gateway_take_body(call), &front, err);
	if (result < 0)
		web_gateway_fail(call, result == -ENOMEM ? 503 : REFUSED, NULL, 0);
	else
		result = choose(call, &front, &target, err);
	if (result == 0) {
		telling.reply =
			(struct wl_front_reply){ .id = web_gateway_id(call),
						 .model = front.model,
						 .created_s = wl_clock_wall_ms() / 1000,
						 .include_usage = front.include_usage,
						 .out = front.stream ? &telling.pieces : web_gateway_answer(call) };
		result = ask(call, &telling, &front, err);
	}
	wl_buffer_release(&telling.pieces);
	wl_front_release(&front);
	return result;
}

static int chat(struct gateway_call *call, struct wl_error *err)
{
	return converse(call, &wl_front_openai, err);
}

static int messages(struct gateway_call *call, struct wl_error *err)
{
	return converse(call, &wl_front_anthropic, err);
}

static int embed(struct gateway_call *call, struct wl_error *err)
{
	struct wl_front front;
	struct gateway_target target;
	_wl_free_ float *vectors = NULL;
	size_t dimensions = 0;
	double cost;
	const struct wl_metered_caller caller = caller_of(call);
	struct wl_model_usage usage = { 0 };
	struct wl_budget_answer said;
	enum wl_model_fault fault = WL_MODEL_FAULT_NONE;
	int result = wl_front_read_embeddings(web_gateway_take_body(call), &front, err);
	if (result < 0)
		web_gateway_fail(call, result == -ENOMEM ? 503 : REFUSED, NULL, 0);
	else
		result = choose(call, &front, &target, err);
	if (result == 0) {
		result = wl_metered_embed(web_gateway_world(), &caller, front.request.provider_id, front.request.model,
					  front.texts, front.text_count, NULL, front.request.cancel_fd, &vectors,
					  &dimensions, &usage, &cost, &fault, &said, err);
		if (result < 0)
			web_gateway_fail(call, wl_front_status(fault), code_of(fault), 0);
		else
			wl_front_put_embeddings(web_gateway_answer(call), &front, vectors, front.text_count, dimensions,
						&usage);
	}
	wl_front_release(&front);
	return result;
}

static int list(struct gateway_call *call, struct wl_error *err)
{
	int result = web_gateway_list(web_gateway_world(), web_gateway_tenant(call), web_gateway_cancel_fd(call),
				      web_gateway_answer(call), err);
	if (result < 0)
		web_gateway_fail(call, 503, NULL, 0);
	return result;
}

void web_gateway_chat(struct web_request *request)
{
	web_gateway_start(request, chat);
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
