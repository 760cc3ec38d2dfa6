#include "supervisor/nodes/tool_calls.h"

#include "lib/base/cleanup.h"
#include "lib/base/clock.h"
#include "lib/ports/model_call.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>

#define ANY_OBJECT "{\"type\":\"object\"}"

/* ---- what a model is told of a tool
 * ------------------------------------------------------------------------------------ */

/* A tool's name as models may write it: lower case, anything else than letters, digits, _ and - becomes one _. */
static char *model_name(const char *name)
{
	char text[WL_MODEL_TOOL_NAME_MAX + 1];
	size_t length = 0;
	for (const char *at = name; *at && length < WL_MODEL_TOOL_NAME_MAX; at++) {
		bool plain = isalnum((unsigned char)*at) || *at == '-' || *at == '_';
		if (plain)
			text[length++] = (char)tolower((unsigned char)*at);
		else if (length > 0 && text[length - 1] != '_')
			text[length++] = '_';
	}
	while (length > 0 && text[length - 1] == '_')
		length--;
	text[length] = '\0';
	return strdup(length > 0 ? text : "tool");
}

/* Models give an object; a tool whose schema asks for something else cannot be described to them otherwise. */
static char *arguments_schema(const struct wl_json *schema)
{
	const char *type = wl_json_get_string(schema, "type", NULL);
	if (wl_json_count(schema) == 0 || !wl_json_is(schema, WL_JSON_OBJECT))
		return strdup(ANY_OBJECT);
	if (type || !wl_json_get(schema, "properties"))
		return wl_json_print(schema);
	_wl_json_ struct wl_json *typed = wl_json_copy(schema);
	if (!typed || wl_json_set_string(typed, "type", "object") < 0)
		return NULL;
	return wl_json_print(typed);
}

static int describe(void *self, const char *tool_id, struct wl_tool_description *ret_description, struct wl_error *err)
{
	const struct node_tools *tools = self;
	const struct wl_tool_source *source = tools->world->tools;
	_wl_free_ char *text = NULL;
	_wl_json_ struct wl_json *row = NULL;
	int result = source->tool(source->self, tools->call->tenant, tool_id, &text, err);
	if (result < 0)
		return result;
	if (wl_json_parse_deep(text, strlen(text), WL_JSON_DEPTH + 4, &row, err) < 0)
		return -err->code;
	if (strcmp(wl_json_get_string(row, "state", ""), "archived") == 0)
		return wl_fail(err, ENOENT, "the tool %.36s is archived", tool_id);
	struct wl_tool_description description = { .name = model_name(wl_json_get_string(row, "name", "")),
						   .description = strdup(wl_json_get_string(row, "description", "")),
						   .input_schema = arguments_schema(wl_json_get(row, "input_schema")) };
	if (description.name && description.description && description.input_schema) {
		*ret_description = description;
		return 0;
	}
	wl_tool_description_release(&description);
	return wl_fail(err, ENOMEM, "no memory for a tool");
}

/* ---- calls
 * --------------------------------------------------------------------------------------------------------------- */

static char *copy(const struct wl_json *json, const char *name)
{
	const char *text = wl_json_get_string(json, name, NULL);
	return text ? strdup(text) : NULL;
}

static char *answer_text(const struct wl_tool_answer *answer)
{
	_wl_json_ struct wl_json *json = wl_json_object();
	int failed = wl_json_set_string(json, "output", answer->output);
	failed |= wl_json_set_string(json, "code", answer->code);
	failed |= wl_json_set_string(json, "message", answer->message);
	failed |= wl_json_set_string(json, "receipt", answer->receipt);
	return failed ? NULL : wl_json_print(json);
}

static void read_answer(const struct wl_json *json, struct wl_tool_answer *answer)
{
	*answer = (struct wl_tool_answer){ .output = copy(json, "output"),
					   .code = copy(json, "code"),
					   .message = copy(json, "message"),
					   .receipt = copy(json, "receipt"),
					   .replayed = true };
}

/* Take over what the node kind gave; false: the call was stopped, or nothing can be said. */
static bool take_outcome(struct node_outcome *outcome, struct wl_tool_answer *answer)
{
	_wl_json_ struct wl_json *error = NULL;
	if (outcome->result == NODE_STOPPED)
		return false;
	answer->output = wl_steal(outcome->outputs_json);
	answer->receipt = wl_steal(outcome->receipt_json);
	if (outcome->result == NODE_OK)
		return true;
	if (!outcome->error_json ||
	    wl_json_parse_deep(outcome->error_json, strlen(outcome->error_json), WL_JSON_DEPTH + 8, &error, NULL) < 0)
		return false;
	answer->code = copy(error, "code");
	answer->message = copy(error, "message");
	return answer->code && answer->message;
}

/*
 * As a tool node would: its path is the node's with the place behind it, which names its files. For servers what it
 * asks belongs to it as well: a later round may ask something else at the same place, and that is another call.
 */
static bool run_tool(const struct node_tools *tools, const struct wl_tool_request *request, const char *hash,
		     struct wl_tool_answer *answer)
{
	struct node_world own = *tools->world;
	bool mine = pthread_equal(pthread_self(), tools->thread);
	struct node_plan plan = { .template_json = (char *)request->arguments,
				  .template_length = strlen(request->arguments) };
	struct node_call inner = *tools->call;
	struct node_outcome outcome = { 0 };
	char path[WL_NODE_PATH_MAX + 1], apart[WL_NODE_PATH_MAX + RECORD_PLACE_MAX + 80];
	own.http = mine ? own.http : NULL; /* a client belongs to one thread */
	(void)snprintf(path, sizeof(path), "%s/%s", node_call_path(tools->call), request->place);
	(void)snprintf(plan.tool_id, sizeof(plan.tool_id), "%s", request->tool_id);
	(void)snprintf(apart, sizeof(apart), "%s/%.*s/%s", node_call_path(tools->call), RECORD_PLACE_MAX,
		       request->place, hash);
	inner.plan = &plan;
	inner.path = path;
	inner.told_apart = apart;
	node_run_tool(mine ? tools->world : &own, &inner, &outcome);
	bool told = take_outcome(&outcome, answer);
	node_outcome_release(&outcome);
	if (!mine)
		node_world_release(&own);
	return told;
}

static struct wl_json *asked_json(const struct wl_tool_request *request)
{
	struct wl_json *asked = wl_json_object();
	int failed = wl_json_set_string(asked, "tool_id", request->tool_id);
	failed |= wl_json_set_string(asked, "arguments", request->arguments);
	if (failed) {
		wl_json_free(asked);
		return NULL;
	}
	return asked;
}

static int call_tool(void *self, const struct wl_tool_request *request, struct wl_tool_answer *answer,
		     struct wl_error *err)
{
	struct node_tools *tools = self;
	_wl_json_ struct wl_json *asked = asked_json(request), *recorded = NULL;
	char hash[65];
	*answer = (struct wl_tool_answer){ 0 };
	if (node_record_hash(asked, hash) < 0)
		return wl_fail(err, ENOMEM, "no memory for a tool's call");
	int found = node_record_find(tools->record, WL_EXCHANGE_TOOL, request->place, hash, &recorded, err);
	if (found == 0) {
		read_answer(recorded, answer);
		return 0;
	}
	if (found != -ENOENT)
		return found;
	int64_t start_ms = wl_clock_wall_ms();
	if (!run_tool(tools, request, hash, answer))
		return node_pause(tools->call, 0) ? wl_fail(err, ECANCELED, "stopped while a tool ran")
						  : wl_fail(err, EIO, "the tool could not be called");
	_wl_free_ char *text = answer_text(answer), *kept = wl_json_print(asked);
	if (!text || !kept)
		return wl_fail(err, ENOMEM, "no memory for a tool's answer");
	return node_record_put(tools->record, WL_EXCHANGE_TOOL, request->place, hash, kept, text, start_ms, err);
}

void node_tools_open(struct node_world *world, const struct node_call *call, struct node_record *record,
		     struct node_tools *tools)
{
	*tools = (struct node_tools){ .world = world, .thread = pthread_self(), .call = call, .record = record };
	tools->port = (struct wl_tool_port){ .self = tools, .describe = describe, .call = call_tool };
}
