#include "webapp/server/password_task.h"

#include "webapp/server/server.h"

#include <stdlib.h>
#include <string.h>

static void wipe(char *text)
{
	if (text)
		explicit_bzero(text, strlen(text));
	free(text);
}

void web_password_task_free(struct web_password_task *task)
{
	if (!task)
		return;
	wipe(task->password);
	wipe(task->fresh);
	web_request_release(task->request);
	free(task);
}

struct web_password_task *web_password_task_new(struct web_request *request, const char *name)
{
	struct web_password_task *task = calloc(1, sizeof(*task));
	if (task)
		task->password = strdup(wl_json_get_string(request->json, name, ""));
	if (!task || !task->password) {
		free(task);
		web_answer_unavailable(request, 1, "no memory");
		return NULL;
	}
	task->request = web_request_hold(request);
	return task;
}

static void ended(struct web_task *web_task)
{
	struct web_password_task *task = web_task->context;
	if (task->rc == 0) {
		task->then(task);
		return;
	}
	web_answer_unavailable(task->request, 1, "no memory");
	web_password_task_free(task);
}

static void start(struct web_password_task *task, void (*run)(struct web_task *),
		  void (*then)(struct web_password_task *))
{
	task->task.run = run;
	task->task.ended = ended;
	task->task.context = task;
	task->then = then;
	if (web_thread_pool_run(web.passwords, &task->task) == 0)
		return;
	web_answer_unavailable(task->request, 1, "too many logins at once");
	web_password_task_free(task);
}

static void run_hash(struct web_task *web_task)
{
	struct web_password_task *task = web_task->context;
	task->rc = wl_password_hash(task->password, task->hash, NULL);
}

void web_password_hash(struct web_password_task *task, void (*then)(struct web_password_task *task))
{
	start(task, run_hash, then);
}

static void run_verify(struct web_task *web_task)
{
	struct web_password_task *task = web_task->context;
	bool opened = false;
	if (task->candidate_count == 0)
		(void)wl_password_verify(task->password, NULL);
	for (int i = 0; i < task->candidate_count; i++) {
		struct web_candidate *candidate = &task->candidates[i];
		candidate->opened = wl_password_verify(task->password, candidate->hash);
		opened = opened || candidate->opened;
	}
	if (opened && task->fresh)
		task->rc = wl_password_hash(task->fresh, task->hash, NULL);
}

void web_password_verify(struct web_password_task *task, void (*then)(struct web_password_task *task))
{
	start(task, run_verify, then);
}
