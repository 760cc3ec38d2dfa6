/*
 * Whatever project comes: it has faults with places, or makes bodies within their bounds and findings that say
 * something; a flow that is made is exported, and what that makes is read without a fault. The first byte chooses which
 * files the rest is.
 */
#include "lib/base/cleanup.h"
#include "lib/codec/crewai.h"
#include "tests/fuzz/fuzz.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void count_id(void *self, char *id)
{
	(void)snprintf(id, 37, "00000000-0000-7000-8000-%012d", ++*(int *)self);
}

/* The text up to a line "---" and what follows it. */
static struct wl_json *crewai_files(uint8_t kind, const char *text)
{
	static const char *const names[][2] = { { "config/agents.yaml", "config/tasks.yaml" },
						{ "crew.jsonc", "agents/a.jsonc" },
						{ "flow.yaml", "notes.yaml" },
						{ "windlass.yaml", "crew.json" } };
	const char *rest = strstr(text, "\n---\n");
	_wl_free_ char *first = rest ? strndup(text, (size_t)(rest - text) + 1) : strdup(text);
	struct wl_json *files = wl_json_object();
	FUZZ_ASSERT(first && files);
	FUZZ_ASSERT(wl_json_set_string(files, names[kind % 4][0], first) == 0);
	if (rest)
		FUZZ_ASSERT(wl_json_set_string(files, names[kind % 4][1], rest + 5) == 0);
	return files;
}

static void check_findings(const struct wl_json *findings)
{
	FUZZ_ASSERT(wl_json_count(findings) <= WL_CREWAI_FINDINGS_MAX);
	for (const struct wl_json *one = wl_json_first(findings); one; one = wl_json_next(one)) {
		FUZZ_ASSERT(*wl_json_get_string(one, "message", ""));
		FUZZ_ASSERT(*wl_json_get_string(one, "severity", ""));
		FUZZ_ASSERT(wl_json_is(wl_json_get(one, "path"), WL_JSON_STRING));
	}
}

static void check_project(const struct wl_json *project)
{
	const struct wl_json *agents = wl_json_get(project, "agents");
	for (const struct wl_json *one = wl_json_first(agents); one; one = wl_json_next(one))
		FUZZ_ASSERT(wl_json_is(wl_json_get(one, "config"), WL_JSON_OBJECT) &&
			    *wl_json_get_string(one, "name", ""));
	const struct wl_json *crews = wl_json_get(project, "crews");
	for (const struct wl_json *one = wl_json_first(crews); one; one = wl_json_next(one)) {
		FUZZ_ASSERT(wl_json_count(wl_json_get(one, "agent_ids")) > 0);
		FUZZ_ASSERT(wl_json_count(wl_json_get(wl_json_get(one, "config"), "tasks")) <= WL_CREWAI_TASKS_MAX);
	}
	check_findings(wl_json_get(project, "findings"));
}

/* A flow goes out again, and what comes out can be read. */
static void check_flow(const struct wl_json *project, const struct wl_crewai_context *context)
{
	static struct wl_flow_faults faults;
	struct wl_error err = { 0 };
	_wl_json_ struct wl_json *bundle = wl_json_copy(project), *out = NULL, *again = NULL;
	const struct wl_json *flow = wl_json_get(project, "flow");
	FUZZ_ASSERT(bundle && wl_json_set_string(bundle, "name", wl_json_get_string(flow, "name", "")) == 0);
	FUZZ_ASSERT(wl_json_set(bundle, "document", wl_json_copy(flow)) == 0);
	FUZZ_ASSERT(wl_crewai_export_flow(bundle, &out, &err) == 0);
	check_findings(wl_json_get(out, "findings"));
	memset(&faults, 0, sizeof(faults));
	if (wl_crewai_import(wl_json_get(out, "files"), context, &again, &faults, &err) < 0)
		FUZZ_ASSERT(faults.count > 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
	static struct wl_flow_faults faults;
	int ids = 0;
	struct wl_error err = { 0 };
	const struct wl_crewai_context context = { .new_id = count_id, .self = &ids };
	_wl_json_ struct wl_json *project = NULL;
	_wl_free_ char *text = length ? strndup((const char *)bytes + 1, length - 1) : NULL;
	if (!text)
		return 0;
	_wl_json_ struct wl_json *files = crewai_files(bytes[0], text);
	memset(&faults, 0, sizeof(faults));
	if (wl_crewai_import(files, &context, &project, &faults, &err) < 0) {
		FUZZ_ASSERT(err.code == EINVAL && faults.count > 0 && !project);
		for (int i = 0; i < faults.count; i++)
			FUZZ_ASSERT(faults.items[i].path[0] && faults.items[i].text[0]);
		return 0;
	}
	FUZZ_ASSERT(faults.count == 0);
	check_project(project);
	if (wl_json_is(wl_json_get(project, "flow"), WL_JSON_OBJECT))
		check_flow(project, &context);
	return 0;
}
