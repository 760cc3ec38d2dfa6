/* The last step of a run whose flow has an output_schema: do its outputs fit it? The schema is a tenant's. */
#include "lib/base/cleanup.h"
#include "lib/base/clock.h"
#include "supervisor/nodes/node.h"

#include <errno.h>
#include <string.h>

static void fail_with_faults(struct node_outcome *outcome, const struct node_call *call, const char *faults_json)
{
	_wl_buffer_ struct wl_buffer detail;
	wl_buffer_init(&detail, 0);
	(void)wl_buffer_append_text(&detail, "{\"faults\":");
	(void)wl_buffer_append_text(&detail, faults_json);
	(void)wl_buffer_append_char(&detail, '}');
	node_fail(outcome, call, NODE_FAILED_FOR_GOOD, "output_invalid", detail.failed ? NULL : detail.data,
		  "the outputs do not fit the flow's output_schema");
}

void node_run_output_check(struct node_world *world, const struct node_call *call, struct node_outcome *outcome)
{
	uint64_t give_up_ms = wl_clock_boot_ms() + NODE_EVAL_AWAY_MS;
	for (;;) {
		struct wl_error err = { 0 };
		_wl_free_ char *faults = NULL;
		if (node_pause(call, 0)) {
			node_fail(outcome, call, NODE_STOPPED, "cancelled", NULL, "stopped before it ran");
			return;
		}
		int result = wl_expression_schema(world->expressions, call->schema, strlen(call->schema),
						  call->upstream, call->upstream_length, world->eval_ms, &faults, &err);
		if (result == 0)
			return;
		if (faults) {
			fail_with_faults(outcome, call, faults);
			return;
		}
		if (result == -ENOEXEC) {
			node_fail(outcome, call, NODE_FAILED_FOR_GOOD, "output_invalid", NULL,
				  "the flow's output_schema: %s", err.text);
			return;
		}
		if (!node_wait_for_eval(call, outcome, result, give_up_ms, &err))
			return;
	}
}
