/* condition and switch: they choose the edge handle by which the run goes on. */
#include "lib/base/cleanup.h"
#include "supervisor/nodes/node.h"

#include <string.h>

/* As in jq: false and null do not hold, everything else does. */
static bool holds(const struct wl_json *value)
{
	return value && !wl_json_is(value, WL_JSON_NULL) && wl_json_bool(value, true);
}

static bool evaluated_json(struct node_world *world, const struct node_call *call, struct node_outcome *outcome,
			   struct wl_json **ret_json)
{
	_wl_free_ char *text = NULL;
	struct wl_error err = { 0 };
	if (!node_evaluate(world, call, outcome, &text))
		return false;
	if (wl_json_parse(text, strlen(text), ret_json, &err) < 0) {
		node_fail(outcome, call, NODE_FAILED, "internal", NULL, "%s", err.text);
		return false;
	}
	return true;
}

static void take(struct node_outcome *outcome, const struct node_call *call, const char *handle, char *output)
{
	outcome->handle = strdup(handle);
	if (!outcome->handle) {
		free(output);
		output = NULL;
	}
	node_give(outcome, call, output);
}

void node_run_condition(struct node_world *world, const struct node_call *call, struct node_outcome *outcome)
{
	_wl_json_ struct wl_json *value = NULL;
	if (!evaluated_json(world, call, outcome, &value))
		return;
	const char *handle = holds(value) ? "true" : "false";
	take(outcome, call, handle, strdup(handle));
}

void node_run_switch(struct node_world *world, const struct node_call *call, struct node_outcome *outcome)
{
	_wl_json_ struct wl_json *evaluated = NULL;
	if (!evaluated_json(world, call, outcome, &evaluated))
		return;
	const struct wl_json *value = wl_json_get(evaluated, "value");
	const struct wl_json *one = wl_json_first(wl_json_get(evaluated, "cases"));
	for (; one; one = wl_json_next(one)) {
		const struct wl_json *equals = wl_json_get(one, "equals");
		if (equals ? value && wl_json_equal(value, equals) : holds(wl_json_get(one, "when")))
			break;
	}
	char *output = value ? wl_json_print(value) : strdup("null");
	take(outcome, call, one ? wl_json_get_string(one, "name", "default") : "default", output);
}
