/*
 * Do values fit a schema, which is a tenant's? The last step of a flow that has an output_schema, the first of a
 * subflow that has an input_schema, and what a tool is given and gives.
 */
#include "lib/base/cleanup.h"
#include "lib/base/clock.h"
#include "supervisor/nodes/node.h"

#include <errno.h>
#include <string.h>

static void fail_with_faults(struct node_outcome *outcome, const struct node_call *call,
			     const struct node_schema *schema, const char *faults_json)
{
	_wl_buffer_ struct wl_buffer detail;
	wl_buffer_init(&detail, 0);
	(void)wl_buffer_append_text(&detail, "{\"faults\":");
	(void)wl_buffer_append_text(&detail, faults_json);
	(void)wl_buffer_append_char(&detail, '}');
	node_fail(outcome, call, NODE_FAILED_FOR_GOOD, schema->code, detail.failed ? NULL : detail.data,
		  "the %s not fit %s", schema->what, schema->name);
}

bool node_check_schema(struct node_world *world, const struct node_call *call, struct node_outcome *outcome,
		       const struct node_schema *schema, const char *value, size_t length)
{
	uint64_t give_up_ms = wl_clock_boot_ms() + NODE_EVAL_AWAY_MS;
	for (;;) {
		struct wl_error err = { 0 };
		_wl_free_ char *faults = NULL;
		if (node_pause(call, 0)) {
			node_fail(outcome, call, NODE_STOPPED, "cancelled", NULL, "stopped before it ran");
			return false;
		}
		int result = wl_expression_schema(world->expressions, schema->text, strlen(schema->text), value, length,
						  world->eval_ms, &faults, &err);
		if (result == 0)
			return true;
		if (faults) {
			fail_with_faults(outcome, call, schema, faults);
			return false;
		}
		if (result == -ENOEXEC) {
			node_fail(outcome, call, NODE_FAILED_FOR_GOOD, schema->code, NULL, "%s: %s", schema->name,
				  err.text);
			return false;
		}
		if (!node_wait_for_eval(call, outcome, result, give_up_ms, &err))
			return false;
	}
}

bool node_check_output(struct node_world *world, const struct node_call *call, struct node_outcome *outcome)
{
	const struct node_schema schema = { call->output_schema, "output_invalid", "output does",
					    "the tool's output_schema" };
	if (!call->output_schema)
		return true;
	_wl_free_ char *output = wl_steal(outcome->outputs_json);
	if (!node_check_schema(world, call, outcome, &schema, output, strlen(output)))
		return false;
	outcome->outputs_json = wl_steal(output);
	return true;
}

void node_run_schema_check(struct node_world *world, const struct node_call *call, struct node_outcome *outcome)
{
	const struct node_schema inputs = { call->schema, "input_invalid", "inputs do", "the flow's input_schema" };
	const struct node_schema outputs = { call->schema, "output_invalid", "outputs do", "the flow's output_schema" };
	(void)node_check_schema(world, call, outcome, call->node ? &inputs : &outputs, call->upstream,
				call->upstream_length);
}
