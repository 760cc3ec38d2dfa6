/*
 * Tools from an OpenAPI document. Reading it, and checking what comes out of it as if somebody had written it by hand,
 * is done on a thread; storing all the tools or none is one call.
 */
#include "lib/base/cleanup.h"
#include "lib/base/clock.h"
#include "lib/codec/openapi_document.h"
#include "webapp/server/routes.h"
#include "webapp/server/server.h"
#include "webapp/server/tool_check.h"
#include "webapp/server/tool_store.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHECK_MS 20000 /* for the schemas of all tools together */
#define PLACE_ROOM 256

struct import {
	struct web_task task;
	struct web_request *request;
	bool preview;
	struct wl_json *result; /* see wl_openapi_read() */
	int rc;
	struct wl_error err;
	struct wl_flow_faults faults;
};

static void free_import(void *context)
{
	struct import *import = context;
	wl_json_free(import->result);
	web_request_release(import->request);
	free(import);
}

/* ---- on a thread ------------------------------------------------------------------------------------------------ */

/* paths./pets.get */
static void place_of(const struct wl_json *tool, char place[PLACE_ROOM])
{
	char method[16];
	(void)snprintf(method, sizeof(method), "%s", wl_json_get_string(tool, "method", ""));
	for (char *at = method; *at; at++)
		*at = (char)tolower((unsigned char)*at);
	(void)snprintf(place, PLACE_ROOM, "paths.%.220s.%s", wl_json_get_string(tool, "path", ""), method);
}

/* A schema without its patterns. NULL without memory. */
static struct wl_json *without_patterns(const struct wl_json *schema)
{
	bool array = wl_json_is(schema, WL_JSON_ARRAY);
	if (!array && !wl_json_is(schema, WL_JSON_OBJECT))
		return wl_json_copy(schema);
	_wl_json_ struct wl_json *made = array ? wl_json_array() : wl_json_object();
	for (const struct wl_json *one = wl_json_first(schema); one; one = wl_json_next(one)) {
		const char *key = array ? "" : wl_json_key(one);
		if ((strcmp(key, "pattern") == 0 && wl_json_is(one, WL_JSON_STRING)) ||
		    (strcmp(key, "patternProperties") == 0 && wl_json_is(one, WL_JSON_OBJECT)))
			continue;
		struct wl_json *copy = without_patterns(one);
		if ((array ? wl_json_append(made, copy) : wl_json_set(made, key, copy)) < 0)
			return NULL;
	}
	return wl_steal(made);
}

static int warn(struct import *import, const char *place, const char *message)
{
	/* the result is ours alone until it is stored */
	struct wl_json *warnings = (struct wl_json *)wl_json_get(import->result, "warnings");
	struct wl_json *warning = wl_json_object();
	int rc = wl_json_set_string(warning, "path", place);
	rc = rc ? rc : wl_json_set_string(warning, "message", message);
	return wl_json_append(warnings, warning) < 0 ? -ENOMEM : rc;
}

/*
 * Documents of others have patterns in dialects that we do not have. They are left out when that makes the schemas
 * right: then *ret_mended is true.
 */
static int mend_patterns(const struct web_checker *checker, struct import *import, const struct wl_json *tool,
			 const char *place, bool *ret_mended, struct wl_error *err)
{
	static const char *const members[] = { "input_schema", "output_schema" };
	_wl_free_ struct wl_flow_faults *left = calloc(1, sizeof(*left));
	_wl_json_ struct wl_json *mended = wl_json_copy(tool);
	int rc = left && mended ? 0 : -ENOMEM;
	for (size_t i = 0; i < WL_COUNT_OF(members) && rc == 0; i++)
		rc = wl_json_set(mended, members[i], without_patterns(wl_json_get(tool, members[i])));
	rc = rc ? wl_fail(err, ENOMEM, "no memory") : web_tool_check(checker, mended, left, err);
	*ret_mended = rc == 0 && left->count == 0;
	if (!*ret_mended)
		return rc;
	struct wl_json *into = (struct wl_json *)tool; /* as in warn() */
	for (size_t i = 0; i < WL_COUNT_OF(members) && rc == 0; i++)
		rc = wl_json_set(into, members[i], wl_json_copy(wl_json_get(mended, members[i])));
	rc = rc ? rc : warn(import, place, "its schemas have patterns that cannot be used: they are left out");
	return rc ? wl_fail(err, ENOMEM, "no memory") : 0;
}

/* Check one tool as tools_create would; what is wrong is told at its operation's place. */
static int check_tool(const struct web_checker *checker, struct import *import, const struct wl_json *tool)
{
	char place[PLACE_ROOM];
	bool mended = false;
	_wl_free_ struct wl_flow_faults *found = calloc(1, sizeof(*found));
	if (!found)
		return wl_fail(&import->err, ENOMEM, "no memory");
	int rc = web_tool_check(checker, tool, found, &import->err);
	place_of(tool, place);
	if (rc == 0 && found->count)
		rc = mend_patterns(checker, import, tool, place, &mended, &import->err);
	for (int i = 0; i < found->count && !mended; i++)
		wl_flow_fault_add(&import->faults, place, "%s: %s", found->items[i].path, found->items[i].text);
	return rc;
}

static int check_tools(struct import *import)
{
	const struct web_checker checker = { web.expressions, (int)web.settings.eval_ms };
	const struct wl_json *tools = wl_json_get(import->result, "tools");
	uint64_t until_ms = wl_clock_boot_ms() + CHECK_MS;
	for (const struct wl_json *tool = wl_json_first(tools); tool; tool = wl_json_next(tool)) {
		if (wl_clock_boot_ms() > until_ms) {
			wl_flow_fault_add(&import->faults, "document",
					  "takes too long to check: 'operations' chooses some of its operations");
			return 0;
		}
		int rc = check_tool(&checker, import, tool);
		if (rc < 0)
			return rc;
	}
	return 0;
}

static int read_document(struct import *import)
{
	const struct wl_json *body = import->request->json, *document = wl_json_get(body, "document");
	const struct wl_openapi_choice choice = { wl_json_get_string(body, "server", NULL),
						  wl_json_get_string(body, "name_prefix", NULL),
						  wl_json_get(body, "operations") };
	const char *text = wl_json_string(document, NULL);
	_wl_json_ struct wl_json *parsed = NULL;
	if (text) {
		int rc = wl_openapi_parse(text, strlen(text), &parsed, &import->err);
		if (rc == -EINVAL || rc == -E2BIG)
			wl_flow_fault_add(&import->faults, "document", "%s", import->err.text);
		if (rc < 0)
			return rc == -E2BIG ? -EINVAL : rc;
	}
	return wl_openapi_read(text ? parsed : document, &choice, &import->result, &import->faults, &import->err);
}

static void read_and_check(struct web_task *task)
{
	struct import *import = task->context;
	import->rc = read_document(import);
	if (import->rc == 0)
		import->rc = check_tools(import);
}

/* ---- the operations --------------------------------------------------------------------------------------------- */

static void answer_preview(struct import *import)
{
	if (wl_json_write(&import->request->answer, import->result) < 0)
		web_answer_unavailable(import->request, 1, "no memory");
	else
		web_answer_json(import->request, 200);
	free_import(import);
}

static void checked(struct web_task *task)
{
	struct import *import = task->context;
	struct web_request *request = import->request;
	if (import->faults.count || import->rc < 0) {
		if (import->faults.count)
			web_answer_faults(request, 422, &import->faults, "the OpenAPI document cannot be imported");
		else
			web_answer_unavailable(request, 1, "%s", import->err.text);
		free_import(import);
	} else if (import->preview) {
		answer_preview(import);
	} else {
		web_tools_store(request, wl_steal(import->result));
		free_import(import);
	}
}

static void start_import(struct web_request *request, bool preview)
{
	struct import *import = calloc(1, sizeof(*import));
	if (!import) {
		web_answer_unavailable(request, 1, "no memory");
		return;
	}
	import->request = web_request_hold(request);
	import->preview = preview;
	import->task.run = read_and_check;
	import->task.ended = checked;
	import->task.context = import;
	if (web_thread_pool_run(web.threads, &import->task) == 0)
		return;
	web_answer_unavailable(request, 1, "too much is being checked");
	free_import(import);
}

void web_tools_import(struct web_request *request)
{
	start_import(request, false);
}

void web_tools_import_preview(struct web_request *request)
{
	start_import(request, true);
}
