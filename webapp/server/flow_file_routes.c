/* Flows as files, and what differs between two versions: work on whole documents, done on a thread. */
#include "lib/base/cleanup.h"
#include "lib/codec/flow_diff.h"
#include "lib/codec/flow_export.h"
#include "webapp/server/api_call.h"
#include "webapp/server/flow_save.h"
#include "webapp/server/routes.h"
#include "webapp/server/server.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct work {
	struct web_task task;
	struct web_request *request;
	char *text; /* what PostgreSQL answered: JSON */
	int rc;
	struct wl_error err;
	struct wl_flow_faults faults;
	struct wl_buffer made;
	struct wl_json *flow; /* an import */
};

static void free_work(struct work *work)
{
	free(work->text);
	wl_buffer_release(&work->made);
	wl_json_free(work->flow);
	web_request_release(work->request);
	free(work);
}

/* Run `run` on a thread, then `ended` on the loop; answers when it cannot. Takes over `text`. */
static void start_work(struct web_request *request, char *text, void (*run)(struct web_task *),
		       void (*ended)(struct web_task *))
{
	struct work *work = text ? calloc(1, sizeof(*work)) : NULL;
	if (!work) {
		free(text);
		web_answer_unavailable(request, 1, "no memory");
		return;
	}
	work->request = web_request_hold(request);
	work->text = text;
	work->task = (struct web_task){ .run = run, .ended = ended, .context = work };
	if (web_thread_pool_run(web.threads, &work->task) == 0)
		return;
	web_answer_unavailable(request, 1, "too many flows are being worked on");
	free_work(work);
}

static void answer_work_failed(struct work *work)
{
	web_answer_unavailable(work->request, 1, "%s", work->err.text);
}

/* ---- diff -----------------------------------------------------------------------------------------------------------
 */

static void find_differences(struct web_task *task)
{
	struct work *work = task->context;
	_wl_json_ struct wl_json *found = NULL;
	work->rc = wl_json_parse(work->text, strlen(work->text), &found, &work->err);
	if (work->rc < 0)
		return;
	wl_buffer_append_char(&work->made, '{');
	web_member_text(&work->made, "from", wl_json_get_string(found, "from", ""));
	web_member_text(&work->made, "to", wl_json_get_string(found, "to", ""));
	wl_buffer_append_char(&work->made, ',');
	work->rc = wl_flow_diff(wl_json_get(found, "before"), wl_json_get(found, "after"), &work->made, &work->err);
	wl_buffer_append_char(&work->made, '}');
}

static void differences_found(struct web_task *task)
{
	struct work *work = task->context;
	if (work->rc < 0) {
		answer_work_failed(work);
	} else {
		wl_buffer_append(&work->request->answer, work->made.data, work->made.length);
		web_answer_json(work->request, 200);
	}
	free_work(work);
}

static void documents_got(struct web_request *request, const struct web_api_answer *answer)
{
	start_work(request, strdup(answer->body), find_differences, differences_found);
}

void web_flows_diff(struct web_request *request)
{
	web_api_call(request, NULL, documents_got);
}

/* ---- export ---------------------------------------------------------------------------------------------------------
 */

static enum wl_flow_format format_of(const struct web_request *request)
{
	const char *format = web_parameter_text(&request->parameters, "format", "yaml");
	return strcmp(format, "json") == 0 ? WL_FLOW_JSON : WL_FLOW_YAML;
}

static void write_file(struct web_task *task)
{
	struct work *work = task->context;
	work->rc = wl_json_parse(work->text, strlen(work->text), &work->flow, &work->err);
	if (work->rc == 0)
		work->rc = wl_flow_export(
			wl_json_get_string(work->flow, "name", ""), wl_json_get_string(work->flow, "description", ""),
			wl_json_get(work->flow, "document"), format_of(work->request), &work->made, &work->err);
}

/* A file's name of letters, digits, - and _ that no header and no file system takes for anything else. */
static void safe_name(const char *name, char safe[64])
{
	size_t length = 0;
	for (; *name && length < 60; name++) {
		bool good = (*name >= 'a' && *name <= 'z') || (*name >= 'A' && *name <= 'Z') ||
			    (*name >= '0' && *name <= '9') || *name == '_';
		if (good || (length && safe[length - 1] != '-'))
			safe[length++] = good ? *name : '-';
	}
	while (length && safe[length - 1] == '-')
		length--;
	safe[length] = '\0';
	if (!length)
		memcpy(safe, "flow", 5);
}

static void file_written(struct web_task *task)
{
	struct work *work = task->context;
	struct web_request *request = work->request;
	bool json = format_of(request) == WL_FLOW_JSON;
	char name[64];
	if (work->rc < 0) {
		answer_work_failed(work);
	} else {
		safe_name(wl_json_get_string(work->flow, "name", ""), name);
		web_answer_header(request, "content-disposition", "attachment; filename=\"%s.%s\"", name,
				  json ? "json" : "yaml");
		wl_buffer_append(&request->answer, work->made.data, work->made.length);
		web_answer_text(request, 200, json ? "application/json" : "application/yaml");
	}
	free_work(work);
}

static void flow_got(struct web_request *request, const struct web_api_answer *answer)
{
	start_work(request, strdup(answer->body), write_file, file_written);
}

void web_flows_export(struct web_request *request)
{
	const char *format = web_parameter_text(&request->parameters, "format", "yaml");
	web_api_call(request, NULL, strcmp(format, "crewai") == 0 ? web_crewai_bundle_got : flow_got);
}

/* ---- import ---------------------------------------------------------------------------------------------------------
 */

/* Find the flow in the body: its document is the file's text, or is the flow itself. */
static void read_file(struct web_task *task)
{
	struct work *work = task->context;
	const struct wl_json *document = wl_json_get(work->request->json, "document");
	const char *name = wl_json_get_string(work->request->json, "name", NULL);
	if (wl_json_is(document, WL_JSON_STRING)) {
		work->rc = wl_flow_file_parse(work->text, strlen(work->text), &work->flow, &work->err);
	} else {
		work->flow = wl_json_copy(document);
		work->rc = work->flow ? 0 : wl_fail(&work->err, ENOMEM, "no memory");
	}
	if (work->rc == 0 && name && wl_json_is(work->flow, WL_JSON_OBJECT))
		work->rc = wl_json_set_string(work->flow, "name", name);
	if (work->rc < 0)
		return;
	wl_flow_file_check(work->flow, &work->faults);
	if (wl_json_is(work->flow, WL_JSON_OBJECT) && !wl_json_get(work->flow, "name"))
		wl_flow_fault_add(&work->faults, "name", "is missing");
}

static void file_read(struct web_task *task)
{
	struct work *work = task->context;
	struct web_request *request = work->request;
	if (work->rc == -EINVAL)
		wl_flow_fault_add(&work->faults, "document", "%s", work->err.text);
	if (work->faults.count) {
		web_answer_faults(request, 422, &work->faults, "the file holds no flow");
	} else if (work->rc == -E2BIG) {
		web_answer_problem(request, 413, "%s", work->err.text);
	} else if (work->rc < 0) {
		answer_work_failed(work);
	} else {
		struct wl_json *about = web_flow_about(work->flow);
		if (about)
			web_flow_save(request, web_flow_document(work->flow, NULL), about, 0);
		else
			web_answer_unavailable(request, 1, "no memory");
	}
	free_work(work);
}

void web_flows_import(struct web_request *request)
{
	start_work(request, strdup(wl_json_get_string(request->json, "document", "")), read_file, file_read);
}
