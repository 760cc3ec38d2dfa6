/*
 * Tools from a server of the Model Context Protocol. The operation's function is asked first whether this may be; then
 * the server is asked for its tools: one over HTTP from here, on a thread; one that is a program by an execution, as
 * programs run nowhere but in sandboxes. What it says is made into tools, and checked as if somebody had written them.
 */
#include "lib/base/cleanup.h"
#include "lib/base/clock.h"
#include "lib/mcp/session.h"
#include "webapp/server/lone_run.h"
#include "webapp/server/resource_trial.h"
#include "webapp/server/routes.h"
#include "webapp/server/server.h"
#include "webapp/server/tool_check.h"
#include "webapp/server/tool_config.h"
#include "webapp/server/tool_mcp_ask.h"
#include "webapp/server/tool_store.h"
#include "webapp/server/wait_end.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHECK_MS 20000 /* for the schemas of all tools together */
#define PROGRAM_S 25   /* for a program to tell its tools */
#define DESCRIPTION_MAX 10000
#define NAME_MAX_BYTES 200

struct mcp_import {
	struct web_task task;
	struct web_request *request; /* held while a thread works */
	bool preview, stdio;
	struct wl_json *list;	/* see web_mcp_ask() */
	struct wl_json *result; /* {"server","tools","warnings"} */
	int rc;
	struct wl_error err;
	struct wl_flow_faults faults;
};

static void free_import(void *context)
{
	struct mcp_import *import = context;
	wl_json_free(import->list);
	wl_json_free(import->result);
	web_request_release(import->request);
	free(import);
}

static const struct wl_json *config_of(const struct mcp_import *import)
{
	return wl_json_get(import->request->json, "execution_config");
}

/* ---- tools of what a server says, on a thread -------------------------------------------------------------------- */

static int warn(struct wl_json *warnings, const char *name, const char *message)
{
	struct wl_json *warning = wl_json_object();
	int failed = wl_json_set_string(warning, "path", name);
	failed |= wl_json_set_string(warning, "message", message);
	failed |= wl_json_append(warnings, warning);
	return failed ? -ENOMEM : 0;
}

/* Texts of others are cut where a character begins. */
static int set_cut(struct wl_json *object, const char *key, const char *prefix, const char *text, size_t most)
{
	_wl_free_ char *whole = NULL;
	if (asprintf(&whole, "%s%s", prefix, text) < 0) {
		whole = NULL;
		return -ENOMEM;
	}
	size_t length = strlen(whole);
	if (length > most) {
		while (most > 0 && ((unsigned char)whole[most] & 0xc0) == 0x80)
			most--;
		whole[most] = '\0';
	}
	return wl_json_set_string(object, key, whole);
}

static int set_schema(struct wl_json *object, const char *key, const struct wl_json *schema)
{
	bool given = wl_json_is(schema, WL_JSON_OBJECT);
	return wl_json_set(object, key, given ? wl_json_copy(schema) : wl_json_object());
}

/* One tool as tools_create takes it, with the "operation" it comes from. NULL without memory. */
static struct wl_json *make_tool(const struct mcp_import *import, const struct wl_json *listed)
{
	char pin[WL_MCP_HASH_TEXT];
	const char *name = wl_json_get_string(listed, "name", "");
	_wl_json_ struct wl_json *tool = wl_json_object();
	struct wl_json *config = wl_json_copy(config_of(import));
	int failed = wl_mcp_tool_hash(listed, pin);
	failed |= wl_json_set_string(config, "tool", name);
	if (!failed)
		failed = wl_json_set_string(config, "pin", pin);
	failed |= wl_json_set_string(tool, "operation", name);
	failed |= set_cut(tool, "name", wl_json_get_string(import->request->json, "name_prefix", ""), name,
			  NAME_MAX_BYTES);
	failed |= set_cut(tool, "description", "", wl_json_get_string(listed, "description", ""), DESCRIPTION_MAX);
	failed |= set_schema(tool, "input_schema", wl_json_get(listed, "inputSchema"));
	failed |= set_schema(tool, "output_schema", wl_json_get(listed, "outputSchema"));
	failed |= wl_json_set(tool, "execution_config", config);
	return failed ? NULL : wl_steal(tool);
}

static bool is_wanted(const struct mcp_import *import, const char *name)
{
	const struct wl_json *only = wl_json_get(import->request->json, "only");
	const struct wl_json *one = wl_json_first(only);
	while (one && strcmp(wl_json_string(one, ""), name) != 0)
		one = wl_json_next(one);
	return !only || one;
}

/* Keep a tool when it is sound, else say why it is left out. */
static int keep_tool(struct mcp_import *import, const struct wl_json *listed, struct wl_json *tools,
		     struct wl_json *warnings)
{
	const struct web_checker checker = { web.expressions, (int)web.settings.eval_ms };
	const char *name = wl_json_get_string(listed, "name", "");
	_wl_free_ struct wl_flow_faults *found = calloc(1, sizeof(*found));
	_wl_json_ struct wl_json *tool = make_tool(import, listed);
	if (!tool || !found)
		return wl_fail(&import->err, ENOMEM, "no memory");
	for (const struct wl_json *one = wl_json_first(tools); one; one = wl_json_next(one))
		if (strcmp(wl_json_get_string(one, "operation", ""), name) == 0)
			return warn(warnings, name, "is listed twice: the first counts");
	if (strlen(name) > NAME_MAX_BYTES)
		return warn(warnings, name, "is left out: its name has more than 200 bytes");
	int rc = web_tool_check(&checker, tool, found, &import->err);
	if (rc < 0)
		return rc;
	if (found->count > 0) {
		char message[sizeof(found->items[0].path) + sizeof(found->items[0].text) + 32];
		(void)snprintf(message, sizeof(message), "is left out: %s: %s", found->items[0].path,
			       found->items[0].text);
		return warn(warnings, name, message);
	}
	return wl_json_append(tools, wl_steal(tool));
}

/* Names that the request wants and the server does not have. */
static void miss_wanted(struct mcp_import *import)
{
	int index = 0;
	const struct wl_json *one = wl_json_first(wl_json_get(import->request->json, "only"));
	for (; one; one = wl_json_next(one), index++) {
		char path[32];
		(void)snprintf(path, sizeof(path), "only[%d]", index);
		if (!web_mcp_listed(import->list, wl_json_string(one, "")))
			wl_flow_fault_add(&import->faults, path, "the server has no tool '%.100s'",
					  wl_json_string(one, ""));
	}
}

static int make_tools(struct mcp_import *import, struct wl_json *tools, struct wl_json *warnings)
{
	uint64_t until_ms = wl_clock_boot_ms() + CHECK_MS;
	const struct wl_json *listed = wl_json_first(wl_json_get(import->list, "tools"));
	for (; listed; listed = wl_json_next(listed)) {
		if (!is_wanted(import, wl_json_get_string(listed, "name", "")))
			continue;
		if (wl_clock_boot_ms() > until_ms) {
			wl_flow_fault_add(&import->faults, "only", "takes too long to check: choose some of the tools");
			return 0;
		}
		int rc = keep_tool(import, listed, tools, warnings);
		if (rc < 0)
			return rc;
	}
	if (wl_json_count(tools) == 0)
		wl_flow_fault_add(&import->faults, "execution_config", "the server has no tool that can be used here");
	return 0;
}

/* Make `result` of `list`. */
static void read_list(struct mcp_import *import)
{
	struct wl_json *tools = wl_json_array(), *warnings = wl_json_array();
	import->result = wl_json_object();
	int failed = wl_json_set(import->result, "server", wl_json_copy(wl_json_get(import->list, "server")));
	failed |= wl_json_set(import->result, "tools", tools);
	failed |= wl_json_set(import->result, "warnings", warnings);
	import->rc = failed ? wl_fail(&import->err, ENOMEM, "no memory") : 0;
	if (import->rc == 0)
		miss_wanted(import);
	if (import->rc == 0 && import->faults.count == 0)
		import->rc = make_tools(import, tools, warnings);
}

static void ask_and_read(struct web_task *task)
{
	struct mcp_import *import = task->context;
	if (!import->list) {
		const struct wl_json *credentials = wl_json_get(import->request->json, "credentials");
		import->rc = web_mcp_ask(config_of(import), credentials, &import->list, &import->err);
	}
	if (import->rc == 0)
		read_list(import);
}

/* ---- on the loop ------------------------------------------------------------------------------------------------- */

static void list_read(struct web_task *task)
{
	struct mcp_import *import = task->context;
	struct web_request *request = import->request;
	web_trial_task_ended(request);
	if (import->faults.count) {
		web_answer_faults(request, 422, &import->faults, "the server's tools cannot be imported");
	} else if (import->rc == -EINVAL) {
		wl_flow_fault_add(&import->faults, "execution_config", "%s", import->err.text);
		web_answer_faults(request, 422, &import->faults, "the server cannot be asked for its tools");
	} else if (import->rc < 0) {
		web_answer_unavailable(request, 1, "%s", import->err.text);
	} else if (!import->preview) {
		web_tools_store(request, wl_steal(import->result));
	} else if (request->exchange) {
		if (wl_json_write(&request->answer, import->result) < 0)
			web_answer_unavailable(request, 1, "no memory");
		else
			web_answer_json(request, 200);
	}
	free_import(import);
}

static void start_task(struct mcp_import *import)
{
	struct wl_error err = { 0 };
	import->task = (struct web_task){ .run = ask_and_read, .ended = list_read, .context = import };
	if (web_trial_task(import->request, &import->task, &err) == 0)
		return;
	web_answer_unavailable(import->request, 5, "%s", err.text);
	free_import(import);
}

/* The request lets go of the import, which holds it from now on. */
static struct mcp_import *detach(struct web_request *request)
{
	struct mcp_import *import = request->state;
	request->state = NULL;
	request->state_free = NULL;
	import->request = web_request_hold(request);
	return import;
}

static void program_ended(struct web_request *request, const char *result)
{
	struct mcp_import *import = detach(request);
	_wl_json_ struct wl_json *ended = NULL;
	struct wl_error err = { 0 };
	if (!result) {
		web_answer_unavailable(request, 5, "the program has not told its tools yet");
	} else if (wl_json_parse_deep(result, strlen(result), WL_JSON_DEPTH + 8, &ended, &err) < 0) {
		web_answer_unavailable(request, 1, "%s", err.text);
	} else if (strcmp(wl_json_get_string(ended, "status", ""), "succeeded") != 0) {
		const struct wl_json *error = wl_json_get(ended, "error");
		const char *tail = wl_json_get_string(wl_json_get(error, "detail"), "stderr", "");
		size_t length = strlen(tail);
		wl_flow_fault_add(&import->faults, "execution_config", "%s%s%s",
				  wl_json_get_string(error, "message", "the program was stopped"), length ? ": " : "",
				  length > 200 ? tail + length - 200 : tail);
		web_answer_faults(request, 422, &import->faults, "the program does not tell its tools");
	} else {
		import->list = wl_json_copy(wl_json_get(ended, "outputs"));
		if (import->list) {
			start_task(import);
			return;
		}
		web_answer_unavailable(request, 1, "no memory");
	}
	free_import(import);
}

static void begun(struct web_request *request, const struct web_api_answer *answer)
{
	const struct mcp_import *import = request->state;
	_wl_json_ struct wl_json *body = NULL;
	if (!import->stdio)
		start_task(detach(request));
	else if (wl_json_parse(answer->body, strlen(answer->body), &body, NULL) < 0)
		web_answer_unavailable(request, 1, "no memory");
	else
		web_wait_end(request, wl_json_get_string(body, "execution_id", ""), WEB_WAIT_MOST_S, program_ended);
}

/* The node that asks a program: a tool of no id is the server that its input describes (supervisor/nodes/tool.c). */
#define ASKING_NODE                                                                                                    \
	"{\"id\":\"tool\",\"type\":\"tool\",\"position\":{\"x\":240,\"y\":0},\"data\":{\"tool_id\":"                   \
	"\"00000000-0000-0000-0000-000000000000\",\"input\":\"{{ .inputs }}\",\"timeout_s\":25}}"

/* What the operation's function is called with first. NULL without memory. */
static struct wl_json *begin_members(const struct web_request *request, bool stdio)
{
	const struct wl_json *credentials = wl_json_get(request->json, "credentials");
	_wl_json_ struct wl_json *extra = stdio ? web_lone_members("tool", ASKING_NODE, PROGRAM_S) : wl_json_object();
	struct wl_json *names = NULL;
	if (!extra)
		return NULL;
	if (!wl_json_is(credentials, WL_JSON_OBJECT))
		return wl_steal(extra);
	names = wl_json_array();
	int failed = wl_json_set(extra, "credentials_have", names);
	for (const struct wl_json *one = wl_json_first(credentials); one && !failed; one = wl_json_next(one))
		failed = wl_json_append(names, wl_json_new_string(wl_json_key(one)));
	return failed ? NULL : wl_steal(extra);
}

/* Whether the configuration is one of a server, without what its tools get of their own. */
static void check_config(const struct wl_json *config, struct wl_flow_faults *faults)
{
	_wl_json_ struct wl_json *whole = wl_json_copy(config);
	if (strcmp(wl_json_get_string(config, "kind", ""), "mcp") != 0)
		wl_flow_fault_add(faults, "execution_config.kind", "is not mcp");
	else if (wl_json_get(config, "tool") || wl_json_get(config, "pin"))
		wl_flow_fault_add(faults, "execution_config", "tool and pin come from the server");
	else if (wl_json_set_string(whole, "tool", "any") == 0)
		(void)web_tool_config_check(whole, "execution_config", faults);
}

static void start_import(struct web_request *request, bool preview)
{
	const struct wl_json *config = wl_json_get(request->json, "execution_config");
	struct mcp_import *import = calloc(1, sizeof(*import));
	if (!import) {
		web_answer_unavailable(request, 1, "no memory");
		return;
	}
	import->preview = preview;
	import->stdio = strcmp(wl_json_get_string(config, "transport", ""), "stdio") == 0;
	check_config(config, &import->faults);
	if (import->faults.count) {
		web_answer_faults(request, 422, &import->faults, "this is no server's configuration");
		free(import);
		return;
	}
	struct wl_json *extra = begin_members(request, import->stdio);
	if (!extra) {
		web_answer_unavailable(request, 1, "no memory");
		free(import);
		return;
	}
	request->state = import; /* until it holds the request itself */
	request->state_free = free;
	web_api_call(request, extra, begun);
}

void web_tools_import_mcp(struct web_request *request)
{
	start_import(request, false);
}

void web_tools_import_mcp_preview(struct web_request *request)
{
	start_import(request, true);
}
