#include "webapp/server/resource_trial.h"

#include "lib/base/cleanup.h"
#include "webapp/server/resource_seal.h"
#include "webapp/server/server.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define TRIAL_THREADS 64
#define TRIALS_TENANT_MOST 20 /* at once, so that a tenant with slow servers leaves threads to the others */
#define TRIAL_STACK (1u << 20)

struct web_trial {
	struct web_task task;
	struct web_request *request;
	const char *kind;
	web_trial_run *run;
	struct wl_json *body;
	struct wl_buffer answer;
	int rc;
	struct wl_error err;
};

/* Made when they are first needed: most workers never try anything. */
static struct web_thread_pool *threads;
static struct wl_egress_rules egress;
static struct wl_llm *llm;
static int tenants[TRIAL_THREADS]; /* whose trials are under way; 0: nobody's. The loop's alone */

/* Count a trial of a tenant; false: there is no room for it. */
static bool count_in(int tenant)
{
	int *place = NULL, count = 0;
	for (int i = 0; i < TRIAL_THREADS; i++) {
		count += tenants[i] == tenant;
		place = tenants[i] == 0 ? &tenants[i] : place;
	}
	if (!place || count >= TRIALS_TENANT_MOST)
		return false;
	*place = tenant;
	return true;
}

static void count_out(int tenant)
{
	int i = 0;
	while (i < TRIAL_THREADS && tenants[i] != tenant)
		i++;
	if (i < TRIAL_THREADS)
		tenants[i] = 0;
}

static void free_trial(struct web_trial *trial)
{
	wl_json_free(trial->body);
	wl_buffer_release(&trial->answer);
	web_request_release(trial->request);
	free(trial);
}

const struct wl_json *web_trial_body(const struct web_trial *trial)
{
	return trial->body;
}

int web_trial_credentials(const struct web_trial *trial, struct wl_json **ret_credentials, struct wl_error *err)
{
	const char *sealed = wl_json_get_string(trial->body, "credentials", NULL);
	*ret_credentials = NULL;
	if (!sealed)
		return 0;
	return web_unseal(wl_json_get_string(trial->body, "sealed_key", NULL), trial->kind,
			  web_parameter_text(&trial->request->parameters, "id", ""), sealed, ret_credentials, err);
}

struct wl_llm *web_trial_llm(void)
{
	return llm;
}

int web_trial_send(const struct wl_http_request *request, struct wl_http_response *response, struct wl_error *err)
{
	struct wl_http_client *client = NULL;
	int rc = wl_http_client_new(&egress, &client, err);
	if (rc < 0)
		return rc;
	rc = wl_http_send(client, request, response, err);
	wl_http_client_free(client);
	return rc;
}

static void run_trial(struct web_task *task)
{
	struct web_trial *trial = task->context;
	trial->rc = trial->run(trial, &trial->answer, &trial->err);
}

static void trial_ended(struct web_task *task)
{
	struct web_trial *trial = task->context;
	count_out(trial->request->identity.tenant);
	if (trial->rc < 0 || trial->answer.failed)
		web_answer_unavailable(trial->request, 1, "%s", trial->rc < 0 ? trial->err.text : "no memory");
	else if (trial->request->exchange) {
		wl_buffer_append(&trial->request->answer, trial->answer.data, trial->answer.length);
		web_answer_json(trial->request, 200);
	}
	free_trial(trial);
}

static int open_threads(struct wl_error *err)
{
	if (threads)
		return 0;
	int rc = wl_egress_rules_read(web.settings.egress_allow, &egress, err);
	if (rc == 0 && !llm)
		rc = wl_llm_new(&egress, &llm, err);
	return rc < 0 ? rc : web_thread_pool_open_growing(TRIAL_THREADS, TRIAL_STACK, &threads, err);
}

const struct wl_egress_rules *web_trial_egress(void)
{
	return &egress;
}

int web_trial_task(struct web_request *request, struct web_task *task, struct wl_error *err)
{
	int tenant = request->identity.tenant, rc = open_threads(err);
	if (rc < 0)
		return rc;
	if (!count_in(tenant))
		return wl_fail(err, EAGAIN, "too many trials are under way");
	if (web_thread_pool_run(threads, task) == 0)
		return 0;
	count_out(tenant);
	return wl_fail(err, EAGAIN, "too many trials are under way");
}

void web_trial_task_ended(const struct web_request *request)
{
	count_out(request->identity.tenant);
}

static void read_thing(struct web_request *request, const struct web_api_answer *answer)
{
	struct web_trial *trial = request->state;
	request->state = NULL;
	request->state_free = NULL;
	trial->request = web_request_hold(request);
	trial->task = (struct web_task){ .run = run_trial, .ended = trial_ended, .context = trial };
	int rc = wl_json_parse(answer->body, strlen(answer->body), &trial->body, &trial->err);
	rc = rc ? rc : web_trial_task(request, &trial->task, &trial->err);
	if (rc == 0)
		return;
	web_answer_unavailable(request, rc == -EAGAIN ? 5 : 1, "%s", trial->err.text);
	free_trial(trial);
}

void web_trial_start(struct web_request *request, const char *kind, web_trial_run *run)
{
	struct web_trial *trial = calloc(1, sizeof(*trial));
	if (!trial) {
		web_answer_unavailable(request, 1, "no memory");
		return;
	}
	trial->kind = kind;
	trial->run = run;
	wl_buffer_init(&trial->answer, 0);
	request->state = trial; /* until it holds the request itself */
	request->state_free = free;
	web_api_call(request, NULL, read_thing);
}
