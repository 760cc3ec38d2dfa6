/*
 * Templates: flows that come with the installation, one folder each with a flow.yaml (templates_dir). They are read
 * once, before the workers are forked, and shared by them; a file that holds no good flow is logged and left out.
 */
#include "webapp/server/template_routes.h"

#include "lib/base/cleanup.h"
#include "lib/base/log.h"
#include "lib/codec/flow_document.h"
#include "lib/codec/flow_file.h"
#include "webapp/server/api_call.h"
#include "webapp/server/flow_save.h"
#include "webapp/server/routes.h"
#include "webapp/server/server.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#define TEMPLATES_MOST 500
#define NAME_MOST 100

struct template
{
	char name[NAME_MOST + 1];
	char title[NAME_MOST + 1];
	struct wl_json *flow;
};

static struct template templates[TEMPLATES_MOST];
static int template_count;

/* ---- reading -------------------------------------------------------------------------------------------------------
 */

/* What a path of the API may name: ^[a-z0-9-]+$ */
static bool is_name(const char *name)
{
	size_t length = strlen(name);
	return length && length <= NAME_MOST && strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-") == length;
}

/* "csv-cleanup" becomes "Csv cleanup". */
static void make_title(const char *name, char title[NAME_MOST + 1])
{
	size_t i = 0;
	for (; name[i] && i < NAME_MOST; i++)
		title[i] = name[i] == '-' || name[i] == '_' ? ' ' : name[i];
	title[i] = '\0';
	title[0] = (char)toupper((unsigned char)title[0]);
}

static int load_one(const char *path, struct template *made, struct wl_error *err)
{
	_wl_json_ struct wl_json *flow = NULL;
	_wl_free_ struct wl_flow_faults *faults = calloc(1, sizeof(*faults));
	struct wl_flow_graph graph = { 0 };
	int rc = faults ? wl_flow_file_load(path, &flow, err) : wl_fail(err, ENOMEM, "no memory for templates");
	if (rc < 0)
		return rc;
	_wl_json_ struct wl_json *document = web_flow_document(flow, NULL);
	rc = document ? wl_flow_document_read(document, &graph, faults, err) : wl_fail(err, ENOMEM, "no memory");
	wl_flow_graph_release(&graph);
	if (faults->count)
		return wl_fail(err, EINVAL, "%s: %s %s", path, faults->items[0].path, faults->items[0].text);
	if (rc < 0)
		return rc;
	make_title(wl_json_get_string(flow, "name", made->name), made->title);
	made->flow = wl_steal(flow);
	return 0;
}

static int compare_names(const void *a, const void *b)
{
	return strcmp(((const struct template *)a)->name, ((const struct template *)b)->name);
}

void web_templates_load(const char *folder)
{
	DIR *opened = *folder ? opendir(folder) : NULL;
	if (!opened) {
		if (*folder)
			wl_log(WL_LOG_WARNING, "there are no templates: the folder '%s' cannot be read", folder);
		return;
	}
	for (const struct dirent *entry; (entry = readdir(opened)) && template_count < TEMPLATES_MOST;) {
		char path[PATH_MAX];
		struct wl_error err = { 0 };
		struct template *made = &templates[template_count];
		if (!is_name(entry->d_name) ||
		    snprintf(path, sizeof(path), "%s/%s/flow.yaml", folder, entry->d_name) >= (int)sizeof(path))
			continue;
		(void)snprintf(made->name, sizeof(made->name), "%.*s", NAME_MOST, entry->d_name);
		if (load_one(path, made, &err) == 0)
			template_count++;
		else
			wl_log(WL_LOG_WARNING, "template '%s' is left out: %s", made->name, err.text);
	}
	(void)closedir(opened);
	qsort(templates, (size_t)template_count, sizeof(templates[0]), compare_names);
}

/* ---- list and get --------------------------------------------------------------------------------------------------
 */

static void put_summary(struct wl_buffer *body, const struct template *template)
{
	size_t nodes = wl_json_count(wl_json_get(template->flow, "nodes"));
	wl_buffer_append_char(body, '{');
	web_member_text(body, "name", template->name);
	web_member_text(body, "title", template->title);
	web_member_text(body, "description", wl_json_get_string(template->flow, "description", ""));
	wl_buffer_appendf(body, ",\"node_count\":%zu", nodes);
}

void web_templates_list(struct web_request *request)
{
	wl_buffer_append_text(&request->answer, "{\"templates\":[");
	for (int i = 0; i < template_count; i++) {
		wl_buffer_append_text(&request->answer, i ? "," : "");
		put_summary(&request->answer, &templates[i]);
		wl_buffer_append_char(&request->answer, '}');
	}
	wl_buffer_append_text(&request->answer, "]}");
	web_answer_json(request, 200);
}

/* The template that the path names, or NULL: then 404 was answered. */
static const struct template *template_of(struct web_request *request)
{
	const char *name = web_parameter_text(&request->parameters, "name", "");
	for (int i = 0; i < template_count; i++)
		if (strcmp(templates[i].name, name) == 0)
			return &templates[i];
	web_answer_problem(request, 404, "there is no such template");
	return NULL;
}

void web_templates_get(struct web_request *request)
{
	const struct template *template = template_of(request);
	if (!template)
		return;
	_wl_json_ struct wl_json *document = web_flow_document(template->flow, NULL);
	_wl_free_ char *text = document ? wl_json_print(document) : NULL;
	if (!text) {
		web_answer_unavailable(request, 1, "no memory");
		return;
	}
	wl_buffer_append_text(&request->answer, "{\"template\":");
	put_summary(&request->answer, template);
	wl_buffer_append_char(&request->answer, ',');
	wl_buffer_append_text(&request->answer, text + 1); /* the document's members, and its closing brace */
	wl_buffer_append_char(&request->answer, '}');
	web_answer_json(request, 200);
}

/* ---- use -----------------------------------------------------------------------------------------------------------
 */

void web_templates_use(struct web_request *request)
{
	const struct template *template = template_of(request);
	if (!template)
		return;
	const char *name = wl_json_get_string(request->json, "name", template->title);
	struct wl_json *about = wl_json_object();
	int rc = wl_json_set_string(about, "name", name);
	rc = rc ? rc : wl_json_set_string(about, "description", wl_json_get_string(template->flow, "description", ""));
	if (rc == 0) {
		web_flow_save(request, web_flow_document(template->flow, NULL), about, 0);
		return;
	}
	wl_json_free(about);
	web_answer_unavailable(request, 1, "no memory");
}
