#include "webapp/server/resource_trial.h"

#include "lib/base/cleanup.h"
#include "webapp/server/resource_seal.h"
#include "webapp/server/server.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define TRIAL_THREADS 4
#define TRIALS_WAITING 32

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
	return rc < 0 ? rc : web_thread_pool_open(TRIAL_THREADS, TRIALS_WAITING, &threads, err);
}

const struct wl_egress_rules *web_trial_egress(void)
{
	return &egress;
}

int web_trial_task(struct web_task *task, struct wl_error *err)
{
	int rc = open_threads(err);
	if (rc == 0 && web_thread_pool_run(threads, task) < 0)
		rc = wl_fail(err, EAGAIN, "too many trials are under way");
	return rc;
}

static void read_thing(struct web_request *request, const struct web_api_answer *answer)
{
	struct web_trial *trial = request->state;
	request->state = NULL;
	request->state_free = NULL;
	trial->request = web_request_hold(request);
	if (wl_json_parse(answer->body, strlen(answer->body), &trial->body, &trial->err) < 0 ||
	    open_threads(&trial->err) < 0) {
		web_answer_unavailable(request, 1, "%s", trial->err.text);
		free_trial(trial);
		return;
	}
	trial->task.run = run_trial;
	trial->task.ended = trial_ended;
	trial->task.context = trial;
	if (web_thread_pool_run(threads, &trial->task) == 0)
		return;
	web_answer_unavailable(request, 5, "too many trials are under way");
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
