/*
 * Making and changing agents, crews, tools and LLM providers. What the API's schema cannot tell is checked on a thread,
 * credentials are sealed; then the operation's function stores what is left (specs/sql/0007_resources.sql), which
 * never sees a credential.
 */
#include "lib/base/cleanup.h"
#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "webapp/server/api_call.h"
#include "webapp/server/resource_seal.h"
#include "webapp/server/routes.h"
#include "webapp/server/server.h"
#include "webapp/server/tool_check.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct kind {
	const char *name;	 /* in contexts of sealed credentials */
	const char *credentials; /* the member of the body that has them; NULL: it has none */
	web_body_check *check;	 /* NULL: nothing to check here */
};

static const struct kind agent = { "agent", NULL, NULL };
static const struct kind crew = { "crew", NULL, web_crew_check };
static const struct kind tool = { "tool", "credentials", web_tool_check };
static const struct kind llm_provider = { "llm_provider", "api_credentials", web_provider_check };

struct save {
	struct web_task task;
	struct web_request *request;
	const struct kind *kind;
	struct wl_json *extra; /* of the call; the body without its credentials among it */
	char id[WL_UUID_TEXT];
	int rc;
	struct wl_error err;
	struct wl_flow_faults faults;
};

static void free_save(void *context)
{
	struct save *save = context;
	wl_json_free(save->extra);
	web_request_release(save->request);
	free(save);
}

static void no_memory(struct save *save)
{
	web_answer_unavailable(save->request, 1, "no memory");
	free_save(save);
}

static const struct wl_json *credentials_of(const struct save *save)
{
	return save->kind->credentials ? wl_json_get(save->request->json, save->kind->credentials) : NULL;
}

static void store(struct save *save)
{
	web_api_call(save->request, wl_steal(save->extra), NULL);
	free_save(save);
}

/* ---- credentials ------------------------------------------------------------------------------------------------ */

static void key_taken(struct web_request *request, const char *sealed_key, void *context)
{
	struct save *save = context;
	struct wl_error err = { 0 };
	if (web_put_sealed(save->extra, sealed_key, save->kind->name, save->id, credentials_of(save), &err) == 0) {
		store(save);
		return;
	}
	wl_log(WL_LOG_ERROR, "credentials of tenant %d cannot be sealed: %s", request->identity.tenant, err.text);
	web_answer_problem(request, 500, "the credentials could not be sealed");
	free_save(save);
}

static void seal(struct save *save)
{
	const struct wl_json *credentials = credentials_of(save);
	if (wl_json_is(credentials, WL_JSON_OBJECT))
		web_tenant_key(save->request, key_taken, free_save, save);
	else if (credentials && wl_json_set(save->extra, "credentials", wl_json_new_null()) < 0)
		no_memory(save);
	else
		store(save);
}

/* ---- the check -------------------------------------------------------------------------------------------------- */

static void check(struct web_task *task)
{
	struct save *save = task->context;
	const struct web_checker checker = { web.expressions, (int)web.settings.eval_ms };
	save->rc = save->kind->check(&checker, save->request->json, &save->faults, &save->err);
}

static void checked(struct web_task *task)
{
	struct save *save = task->context;
	if (save->faults.count) {
		web_answer_faults(save->request, 422, &save->faults, "the body has faults");
	} else if (save->rc == -ENOMEM) {
		web_answer_unavailable(save->request, 1, "no memory");
	} else if (save->rc < 0) {
		web_answer_unavailable(save->request, 1, "schemas cannot be checked now: %s", save->err.text);
	} else {
		seal(save);
		return;
	}
	free_save(save);
}

static void run_check(struct save *save)
{
	save->task.run = check;
	save->task.ended = checked;
	save->task.context = save;
	if (web_thread_pool_run(web.threads, &save->task) == 0)
		return;
	web_answer_unavailable(save->request, 1, "too much is being checked");
	free_save(save);
}

/* ---- the operations --------------------------------------------------------------------------------------------- */

/* {"body": what came without its credentials}. NULL without memory. */
static struct wl_json *make_extra(const struct save *save)
{
	_wl_json_ struct wl_json *extra = wl_json_object();
	struct wl_json *body = wl_json_object();
	int rc = extra ? wl_json_set(extra, "body", body) : -ENOMEM;
	for (const struct wl_json *one = wl_json_first(save->request->json); one && rc == 0; one = wl_json_next(one))
		if (!save->kind->credentials || strcmp(wl_json_key(one), save->kind->credentials) != 0)
			rc = wl_json_set(body, wl_json_key(one), wl_json_copy(one));
	if (rc == 0 && *save->id)
		rc = wl_json_set_string(extra, "id", save->id);
	return rc == 0 ? wl_steal(extra) : NULL;
}

static void save_resource(struct web_request *request, const struct kind *kind)
{
	struct save *save = calloc(1, sizeof(*save));
	if (!save) {
		web_answer_unavailable(request, 1, "no memory");
		return;
	}
	const char *id = web_parameter_text(&request->parameters, "id", NULL);
	save->request = web_request_hold(request);
	save->kind = kind;
	if (id)
		web_id_lower(id, save->id);
	else
		wl_uuid7(wl_clock_wall_ms(), save->id);
	save->extra = make_extra(save);
	if (!save->extra)
		no_memory(save);
	else if (kind->check)
		run_check(save);
	else
		store(save);
}

void web_agents_create(struct web_request *request)
{
	save_resource(request, &agent);
}

void web_crews_create(struct web_request *request)
{
	save_resource(request, &crew);
}

void web_crews_update(struct web_request *request)
{
	save_resource(request, &crew);
}

void web_tools_create(struct web_request *request)
{
	save_resource(request, &tool);
}

void web_tools_update(struct web_request *request)
{
	save_resource(request, &tool);
}

void web_llm_providers_create(struct web_request *request)
{
	save_resource(request, &llm_provider);
}

void web_llm_providers_update(struct web_request *request)
{
	save_resource(request, &llm_provider);
}
