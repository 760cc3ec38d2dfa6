#include "supervisor/nodes/node.h"

#include "lib/base/cleanup.h"
#include "lib/base/clock.h"
#include "lib/net/http_client.h"

#include <errno.h>
#include <poll.h>
#include <string.h>

void node_outcome_release(struct node_outcome *outcome)
{
	free(outcome->handle);
	free(outcome->inputs_json);
	free(outcome->outputs_json);
	free(outcome->error_json);
	free(outcome->receipt_json);
	free(outcome->trace_json);
	free(outcome->wait_message);
	free(outcome->wait_name);
	free(outcome->wait_roles);
	*outcome = (struct node_outcome){ 0 };
}

char *node_error_text(const char *code, const char *message, const char *node_id, const char *detail_json)
{
	_wl_buffer_ struct wl_buffer text;
	wl_buffer_init(&text, 0);
	(void)wl_buffer_appendf(&text, "{\"code\":\"%s\",\"message\":", code);
	(void)wl_buffer_append_json_string(&text, message, strlen(message));
	if (node_id) {
		(void)wl_buffer_append_text(&text, ",\"node_id\":");
		(void)wl_buffer_append_json_string(&text, node_id, strlen(node_id));
	}
	if (detail_json) {
		(void)wl_buffer_append_text(&text, ",\"detail\":");
		(void)wl_buffer_append_text(&text, detail_json);
	}
	(void)wl_buffer_append_char(&text, '}');
	return text.failed ? NULL : wl_buffer_steal(&text);
}

void node_fail(struct node_outcome *outcome, const struct node_call *call, enum node_result result, const char *code,
	       const char *detail_json, const char *fmt, ...)
{
	char message[WL_ERROR_TEXT];
	va_list args;
	va_start(args, fmt);
	(void)vsnprintf(message, sizeof(message), fmt, args);
	va_end(args);
	free(outcome->error_json);
	outcome->result = result;
	outcome->error_json = node_error_text(code, message, node_call_path(call), detail_json);
}

void node_keep_inputs(struct node_outcome *outcome, const char *json, size_t length)
{
	char note[64];
	if (length > NODE_INPUTS_KEPT) {
		(void)snprintf(note, sizeof(note), "{\"truncated\":true,\"bytes\":%zu}", length);
		json = note;
	}
	free(outcome->inputs_json);
	outcome->inputs_json = strdup(json);
}

void node_give(struct node_outcome *outcome, const struct node_call *call, char *json)
{
	_wl_free_ char *text = json;
	if (!text) {
		node_fail(outcome, call, NODE_FAILED, "internal", NULL, "no memory for the node's output");
		return;
	}
	size_t length = strlen(text);
	if (length > NODE_OUTPUT_MAX) {
		node_fail(outcome, call, NODE_FAILED_FOR_GOOD, "output_cap", NULL,
			  "the output has %zu bytes, more than the %u that a node may give", length, NODE_OUTPUT_MAX);
		return;
	}
	outcome->result = NODE_OK;
	outcome->outputs_json = wl_steal(text);
}

bool node_pause(const struct node_call *call, int ms)
{
	struct pollfd stop = { .fd = call->cancel_fd, .events = POLLIN };
	return poll(&stop, call->cancel_fd >= 0 ? 1 : 0, ms) > 0 || (call->stop && atomic_load(call->stop));
}

static void evaluation_failed(struct node_outcome *outcome, const struct node_call *call, int result,
			      const struct wl_error *err)
{
	switch (-result) {
	case ETIMEDOUT:
		node_fail(outcome, call, NODE_FAILED_FOR_GOOD, "expression_timeout", NULL, "%s", err->text);
		break;
	case E2BIG:
		node_fail(outcome, call, NODE_FAILED_FOR_GOOD, "expression_memory", NULL, "%s", err->text);
		break;
	case EINVAL:
		node_fail(outcome, call, NODE_FAILED_FOR_GOOD, "expression", NULL, "%s", err->text);
		break;
	default:
		node_fail(outcome, call, NODE_FAILED, "internal", NULL, "%s", err->text);
	}
}

bool node_wait_for_eval(const struct node_call *call, struct node_outcome *outcome, int result, uint64_t give_up_ms,
			const struct wl_error *err)
{
	if (result != -EIO || wl_clock_boot_ms() > give_up_ms) {
		evaluation_failed(outcome, call, result, err);
		return false;
	}
	if (!node_pause(call, 100))
		return true;
	node_fail(outcome, call, NODE_STOPPED, "cancelled", NULL, "stopped before it ran");
	return false;
}

bool node_evaluate(struct node_world *world, const struct node_call *call, struct node_outcome *outcome,
		   char **ret_text)
{
	const struct node_plan *plan = call->plan;
	if (!plan->has_expressions) {
		const char *text = plan->template_json ? plan->template_json : call->upstream;
		*ret_text = strndup(text, plan->template_json ? plan->template_length : call->upstream_length);
		if (!*ret_text)
			node_fail(outcome, call, NODE_FAILED, "internal", NULL, "no memory for the node's input");
		return *ret_text != NULL;
	}
	uint64_t give_up_ms = wl_clock_boot_ms() + NODE_EVAL_AWAY_MS;
	int timeout_ms = world->eval_ms;
	if (call->node->timeout_ms > 0 && call->node->timeout_ms < timeout_ms)
		timeout_ms = (int)call->node->timeout_ms;
	for (;;) {
		struct wl_error err = { 0 };
		int result = wl_expression_eval(world->expressions, plan->template_json, plan->template_length,
						call->context, call->context_length, timeout_ms, ret_text, &err);
		if (result == 0)
			return true;
		if (!node_wait_for_eval(call, outcome, result, give_up_ms, &err))
			return false;
	}
}

bool node_is_immediate(const struct wl_flow_node *node, const struct node_plan *plan)
{
	return !wl_node_kind_acts(node->kind) && !plan->has_expressions;
}

/*
 * output, transform: the value; start and join: what the run prepared for them. Of loop, subflow, wait and approval
 * this is what they begin with; what comes of it is the run loop's.
 */
static void run_value(struct node_world *world, const struct node_call *call, struct node_outcome *outcome)
{
	char *text = NULL;
	if (node_evaluate(world, call, outcome, &text))
		node_give(outcome, call, text);
}

void node_run(struct node_world *world, const struct node_call *call, struct node_outcome *outcome)
{
	*outcome = (struct node_outcome){ 0 };
	if (call->schema) {
		node_run_schema_check(world, call, outcome);
		return;
	}
	switch (call->node->kind) {
	case WL_KIND_CODE:
		node_run_code(world, call, outcome);
		break;
	case WL_KIND_HTTP:
		node_run_http(world, call, outcome);
		break;
	case WL_KIND_CONDITION:
		node_run_condition(world, call, outcome);
		break;
	case WL_KIND_SWITCH:
		node_run_switch(world, call, outcome);
		break;
	case WL_KIND_START:
	case WL_KIND_OUTPUT:
	case WL_KIND_TRANSFORM:
	case WL_KIND_JOIN:
	case WL_KIND_LOOP:
	case WL_KIND_SUBFLOW:
	case WL_KIND_WAIT:
	case WL_KIND_APPROVAL:
		run_value(world, call, outcome);
		break;
	case WL_KIND_TOOL:
		node_run_tool(world, call, outcome);
		break;
	case WL_KIND_LLM:
		node_run_llm(world, call, outcome);
		break;
	case WL_KIND_AGENT:
	case WL_KIND_CREW:
		node_run_agent(world, call, outcome);
		break;
	case WL_KIND_NOTE:
	case WL_KIND_COUNT:
		node_fail(outcome, call, NODE_FAILED_FOR_GOOD, "internal", NULL, "a node of this kind does not run");
	}
}

void node_world_release(struct node_world *world)
{
	wl_http_client_free(world->http);
	world->http = NULL;
}
