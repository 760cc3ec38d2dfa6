/*
 * A project's files: which of them say something, and what the others are left for. Paths are names and nothing else:
 * no file of this machine is ever opened here.
 */
#include "lib/base/cleanup.h"
#include "lib/codec/crewai_internal.h"
#include "lib/codec/jsonc.h"
#include "lib/codec/yaml.h"

#include <errno.h>
#include <string.h>

/* What a project's files are; NULL: there is none of the kind. */
struct project_files {
	const char *agents, *tasks, *crew, *flow, *extra;
};

/* ---- files ------------------------------------------------------------------------------------------------------ */

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');
	return slash ? slash + 1 : path;
}

static bool has_ending(const char *path, const char *ending)
{
	size_t length = strlen(path), tail = strlen(ending);
	return length > tail && strcmp(path + length - tail, ending) == 0;
}

static bool is_yaml(const char *path)
{
	return has_ending(path, ".yaml") || has_ending(path, ".yml");
}

static bool is_json(const char *path)
{
	return has_ending(path, ".json") || has_ending(path, ".jsonc");
}

/* A relative path of plain parts: none is empty, "." or "..", and there is nothing that some system reads otherwise. */
static bool is_plain_path(const char *path)
{
	if (!*path || strlen(path) > WL_CREWAI_PATH_MAX || strpbrk(path, "\\:"))
		return false;
	for (const char *part = path;; part++) {
		size_t length = strcspn(part, "/");
		if (length == 0 || (length == 1 && part[0] == '.') || (length == 2 && strncmp(part, "..", 2) == 0))
			return false;
		for (size_t i = 0; i < length; i++)
			if ((unsigned char)part[i] < 0x20 || part[i] == 0x7f)
				return false;
		part += length;
		if (!*part)
			return true;
	}
}

static bool check_files(struct crewai_reader *reader)
{
	size_t total = 0, count = wl_json_count(reader->files);
	const struct crewai_place all = { .file = "files" };
	if (!wl_json_is(reader->files, WL_JSON_OBJECT) || count < 1 || count > WL_CREWAI_FILES_MAX) {
		crewai_fault(reader, &all, "a project has 1 to %d files", WL_CREWAI_FILES_MAX);
		return false;
	}
	for (const struct wl_json *one = wl_json_first(reader->files); one; one = wl_json_next(one)) {
		const struct crewai_place at = { .parent = &all, .key = wl_json_key(one) };
		if (!is_plain_path(wl_json_key(one)))
			crewai_fault(reader, &at, "is not a plain path inside of the project");
		if (!wl_json_is(one, WL_JSON_STRING))
			crewai_fault(reader, &at, "is not a text");
		total += strlen(wl_json_string(one, ""));
	}
	if (total > WL_CREWAI_BYTES_MAX)
		crewai_fault(reader, &all, "have %zu bytes; a project has at most %u", total, WL_CREWAI_BYTES_MAX);
	return reader->faults->count == 0;
}

struct wl_json *crewai_parse_file(struct crewai_reader *reader, const char *file)
{
	const char *text = wl_json_get_string(reader->files, file, "");
	const struct crewai_place at = { .file = file };
	struct wl_json *document = NULL;
	struct wl_error err = { 0 };
	int rc = is_yaml(file) ? wl_yaml_parse(text, strlen(text), &document, &err)
			       : wl_jsonc_parse(text, strlen(text), &document, &err);
	if (rc == 0)
		return document;
	if (rc == -ENOMEM)
		reader->notes.no_memory = true;
	else
		crewai_fault(reader, &at, "%s", err.text);
	return NULL;
}

/* ---- what is in the project ------------------------------------------------------------------------------------- */

static void choose_file(struct crewai_reader *reader, const char **slot, const char *path, const char *what)
{
	const struct crewai_place at = { .file = path };
	if (*slot)
		crewai_fault(reader, &at, "is a second %s beside %.120s: send one project at a time", what, *slot);
	else
		*slot = path;
}

static void sort_file(struct crewai_reader *reader, const char *path, const char *text, struct project_files *project)
{
	static const char *const yaml[] = { "agents.yaml", "agents.yml", "tasks.yaml", "tasks.yml" };
	const char *name = base_name(path);
	if (strcmp(name, "windlass.yaml") == 0)
		choose_file(reader, &project->extra, path, "windlass.yaml");
	else if (strcmp(name, yaml[0]) == 0 || strcmp(name, yaml[1]) == 0)
		choose_file(reader, &project->agents, path, "agents.yaml");
	else if (strcmp(name, yaml[2]) == 0 || strcmp(name, yaml[3]) == 0)
		choose_file(reader, &project->tasks, path, "tasks.yaml");
	else if (strcmp(name, "crew.jsonc") == 0 || strcmp(name, "crew.json") == 0)
		choose_file(reader, &project->crew, path, "crew.jsonc");
	else if ((is_yaml(path) || is_json(path)) && strstr(text, "crewai.flow/v1"))
		choose_file(reader, &project->flow, path, "crewai.flow/v1 document");
}

/* agents/NAME.jsonc beside the crew's file: whoever is named there is read */
static bool is_agent_file(const struct project_files *project, const char *path)
{
	const char *name = project->crew ? base_name(project->crew) : NULL;
	size_t folder = name ? (size_t)(name - project->crew) : 0;
	return name && strncmp(path, project->crew, folder) == 0 && strncmp(path + folder, "agents/", 7) == 0 &&
	       !strchr(path + folder + 7, '/') && is_json(path);
}

static void note_unread(struct crewai_reader *reader, const struct project_files *project)
{
	const char *const read[] = { project->flow ? project->flow : project->crew,
				     project->flow || project->crew ? NULL : project->agents,
				     project->flow || project->crew ? NULL : project->tasks,
				     project->flow ? NULL : project->extra };
	for (const struct wl_json *one = wl_json_first(reader->files); one; one = wl_json_next(one)) {
		const struct crewai_place at = { .file = wl_json_key(one) };
		bool known = !project->flow && is_agent_file(project, wl_json_key(one));
		for (size_t i = 0; i < WL_COUNT_OF(read); i++)
			known |= read[i] && strcmp(read[i], wl_json_key(one)) == 0;
		if (known)
			continue;
		crewai_note(&reader->notes, &at, CREWAI_IGNORED,
			    has_ending(wl_json_key(one), ".py") ? "programs are neither run nor read" : "is not read");
	}
}

static struct wl_json *read_extra(struct crewai_reader *reader, const char *file)
{
	if (!file)
		return NULL;
	struct wl_json *extra = crewai_parse_file(reader, file);
	const struct crewai_place at = { .file = file };
	if (extra && !wl_json_is(extra, WL_JSON_OBJECT))
		crewai_fault(reader, &at, "is not a mapping");
	return extra;
}

static struct wl_json *read_flow_file(struct crewai_reader *reader, const char *file)
{
	_wl_json_ struct wl_json *document = crewai_parse_file(reader, file);
	return document ? crewai_read_flow(reader, file, document) : NULL;
}

/* Read whatever the project is. Its flow, or NULL. */
static struct wl_json *read_project(struct crewai_reader *reader)
{
	struct project_files project = { 0 };
	const struct crewai_place all = { .file = "files" };
	for (const struct wl_json *one = wl_json_first(reader->files); one; one = wl_json_next(one))
		sort_file(reader, wl_json_key(one), wl_json_string(one, ""), &project);
	if (reader->faults->count)
		return NULL;
	note_unread(reader, &project);
	if (project.flow)
		return read_flow_file(reader, project.flow);
	_wl_json_ struct wl_json *extra = read_extra(reader, project.extra);
	if (reader->faults->count)
		return NULL;
	if (project.crew)
		crewai_read_jsonc_crew(reader, project.crew, extra);
	else if (project.agents && project.tasks)
		crewai_read_yaml_crew(reader, project.agents, project.tasks, extra);
	else if (project.agents || project.tasks)
		crewai_fault(reader, &all, "have %s",
			     project.agents ? "agents.yaml but no tasks.yaml" : "tasks.yaml but no agents.yaml");
	else
		crewai_fault(reader, &all,
			     "have no agents.yaml with tasks.yaml, no crew.jsonc and no crewai.flow/v1 document");
	return NULL;
}

/* ---- the whole -------------------------------------------------------------------------------------------------- */

static int end_import(struct crewai_reader *reader, struct wl_json *flow, struct wl_json **ret_project,
		      struct wl_error *err)
{
	struct crewai_notes *notes = &reader->notes;
	_wl_json_ struct wl_json *project = wl_json_object();
	bool has_flow = flow != NULL;
	crewai_end_notes(notes);
	crewai_set(notes, project, "agents", wl_steal(reader->agents));
	crewai_set(notes, project, "crews", wl_steal(reader->crews));
	crewai_set(notes, project, "flow", has_flow ? flow : wl_json_new_null());
	crewai_set(notes, project, "findings", wl_steal(notes->findings));
	if (notes->no_memory)
		return wl_fail(err, ENOMEM, "no memory to read a project");
	if (reader->faults->count)
		return wl_fail(err, EINVAL, "the project has faults");
	*ret_project = wl_steal(project);
	return 0;
}

int wl_crewai_import(const struct wl_json *files, const struct wl_crewai_context *context, struct wl_json **ret_project,
		     struct wl_flow_faults *faults, struct wl_error *err)
{
	struct crewai_reader reader = { .files = files, .context = context, .faults = faults };
	struct wl_json *flow = NULL;
	reader.notes.findings = wl_json_array();
	reader.agents = wl_json_array();
	reader.crews = wl_json_array();
	reader.notes.no_memory = !reader.notes.findings || !reader.agents || !reader.crews;
	if (!reader.notes.no_memory && check_files(&reader))
		flow = read_project(&reader);
	return end_import(&reader, flow, ret_project, err);
}
