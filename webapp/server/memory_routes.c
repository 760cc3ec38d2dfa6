/*
 * What crews and agents remember, for people: it lies in the document server, so that is read or forgotten first, on a
 * thread; the operation's function then sees who asks for what and, of what was forgotten, gives the room back.
 */
#include "lib/base/cleanup.h"
#include "lib/store/mongo_crew_memory.h"
#include "webapp/server/api_call.h"
#include "webapp/server/routes.h"
#include "webapp/server/server.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define PAGE 20

struct remembering {
	struct web_task task;
	struct web_request *request;
	struct wl_json *extra; /* of the operation's function */
	int rc;
	struct wl_error err;
};

static int open_memory(const struct wl_crew_memory **ret_memory, struct wl_error *err)
{
	static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
	static struct wl_crew_memory memory;
	(void)pthread_mutex_lock(&lock);
	int rc = memory.self ? 0 : wl_mongo_crew_memory_open(web.settings.mongodb_url, &memory, err);
	(void)pthread_mutex_unlock(&lock);
	*ret_memory = &memory;
	return rc;
}

static void read_page(struct web_task *task)
{
	struct remembering *one = task->context;
	const struct web_request *request = one->request;
	const struct wl_crew_memory *memory = NULL;
	int limit = (int)web_parameter_number(&request->parameters, "limit", PAGE);
	int64_t page = (int64_t)web_parameter_number(&request->parameters, "page", 1), total = 0;
	_wl_buffer_ struct wl_buffer json;
	wl_buffer_init(&json, 0);
	one->rc = open_memory(&memory, &one->err);
	if (one->rc == 0)
		one->rc = wl_mongo_crew_memory_page(memory, request->identity.tenant,
						    web_parameter_text(&request->parameters, "id", ""),
						    (page - 1) * limit, limit, &json, &total, &one->err);
	if (one->rc == 0 && (wl_json_set_raw(one->extra, "memories", json.data) < 0 ||
			     wl_json_set_number(one->extra, "total", (double)total) < 0))
		one->rc = wl_fail(&one->err, ENOMEM, "no memory for an answer");
}

static void forget(struct web_task *task)
{
	struct remembering *one = task->context;
	const struct web_request *request = one->request;
	const struct wl_crew_memory *memory = NULL;
	int64_t bytes = 0;
	one->rc = open_memory(&memory, &one->err);
	if (one->rc == 0)
		one->rc = wl_mongo_crew_memory_forget(
			memory, request->identity.tenant, web_parameter_text(&request->parameters, "id", ""),
			web_parameter_text(&request->parameters, "memory_id", NULL), &bytes, &one->err);
	if (one->rc >= 0 && (wl_json_set_number(one->extra, "forgotten", one->rc) < 0 ||
			     wl_json_set_number(one->extra, "bytes", (double)bytes) < 0))
		one->rc = wl_fail(&one->err, ENOMEM, "no memory for an answer");
}

static void free_remembering(struct remembering *one)
{
	wl_json_free(one->extra);
	web_request_release(one->request);
	free(one);
}

static void done(struct web_task *task)
{
	struct remembering *one = task->context;
	if (one->rc < 0)
		web_answer_unavailable(one->request, 1, "what is remembered cannot be reached now: %s", one->err.text);
	else
		web_api_call(one->request, wl_steal(one->extra), NULL);
	free_remembering(one);
}

static void begin(struct web_request *request, void (*run)(struct web_task *task))
{
	struct remembering *one = calloc(1, sizeof(*one));
	if (one) {
		one->task = (struct web_task){ .run = run, .ended = done, .context = one };
		one->request = web_request_hold(request);
		one->extra = wl_json_object();
		if (one->extra && web_thread_pool_run(web.threads, &one->task) == 0)
			return;
		free_remembering(one);
	}
	web_answer_unavailable(request, 1, "too much is being looked up");
}

void web_crews_memory_list(struct web_request *request)
{
	begin(request, read_page);
}

void web_crews_memory_delete(struct web_request *request)
{
	begin(request, forget);
}

void web_agents_memory_list(struct web_request *request)
{
	begin(request, read_page);
}

void web_agents_memory_delete(struct web_request *request)
{
	begin(request, forget);
}
