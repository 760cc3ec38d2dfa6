/* Reading what a run exchanged with models and tools. Who may see the run may see it. */
#include "lib/base/cleanup.h"
#include "lib/base/clock.h"
#include "lib/store/mongo_exchanges.h"
#include "webapp/server/api_call.h"
#include "webapp/server/routes.h"
#include "webapp/server/server.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define PAGE 20

struct looking {
	struct web_task task;
	struct web_request *request;
	int (*look)(struct looking *looking, const struct wl_exchange_log *log); /* on a thread */
	struct wl_buffer body;
	int rc;
	struct wl_error err;
};

static const char *text_of(const struct web_request *request, const char *name)
{
	return web_parameter_text(&request->parameters, name, NULL);
}

static int open_log(const struct wl_exchange_log **ret_log, struct wl_error *err)
{
	static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
	static struct wl_exchange_log log;
	(void)pthread_mutex_lock(&lock);
	int rc = log.self ? 0 : wl_mongo_exchanges_open(web.settings.mongodb_url, &log, err);
	(void)pthread_mutex_unlock(&lock);
	*ret_log = &log;
	return rc;
}

/* ---- answers -------------------------------------------------------------------------------------------------------
 */

static const char *kind_name(enum wl_exchange_kind kind)
{
	static const char *const names[] = { [WL_EXCHANGE_MODEL] = "model",
					     [WL_EXCHANGE_TOOL] = "tool",
					     [WL_EXCHANGE_EMBED] = "embed",
					     [WL_EXCHANGE_HUMAN] = "human",
					     [WL_EXCHANGE_MEMORY] = "memory" };
	return (size_t)kind < WL_COUNT_OF(names) && names[kind] ? names[kind] : "model";
}

static void put_time(struct wl_buffer *body, const char *name, int64_t wall_ms)
{
	char text[WL_RFC3339_SIZE];
	web_member_text(body, name, wall_ms > 0 ? wl_rfc3339(wall_ms, text) : NULL);
}

/* All members but the answer's, with the opening brace. */
static void begin_exchange(struct wl_buffer *body, const char *node, const struct wl_exchange *exchange)
{
	wl_buffer_append_char(body, '{');
	web_member_text(body, "node_id", node);
	web_member_text(body, "place", exchange->place);
	web_member_text(body, "kind", kind_name(exchange->kind));
	put_time(body, "start_time", exchange->start_ms);
	put_time(body, "end_time", exchange->end_ms);
	web_member_text(body, "request", exchange->request_json);
}

static void end_exchange(struct wl_buffer *body, const char *answer, int64_t bytes)
{
	web_member_raw(body, "answer", answer);
	wl_buffer_appendf(body, ",\"answer_bytes\":%" PRId64 "}", bytes);
}

static void put_entry(struct wl_buffer *body, const struct wl_exchange_entry *entry)
{
	begin_exchange(body, entry->node, &entry->exchange);
	end_exchange(body, entry->summary_json ? entry->summary_json : "{}", entry->answer_bytes);
}

static int look_at_page(struct looking *looking, const struct wl_exchange_log *log)
{
	const struct web_request *request = looking->request;
	struct wl_buffer *body = &looking->body, next;
	struct wl_exchange_entry *entries = NULL;
	int limit = (int)web_parameter_number(&request->parameters, "limit", PAGE);
	int count =
		wl_mongo_exchanges_page(log, request->identity.tenant, text_of(request, "id"), text_of(request, "node"),
					text_of(request, "cursor"), limit + 1, &entries, &looking->err);
	if (count < 0)
		return count;
	wl_buffer_init(&next, 0);
	if (count > limit)
		(void)wl_buffer_appendf(&next, "%s/%s", entries[limit - 1].node, entries[limit - 1].exchange.place);
	wl_buffer_append_text(body, "{\"exchanges\":[");
	for (int i = 0; i < count; i++) {
		if (i < limit) {
			wl_buffer_append_text(body, i ? "," : "");
			put_entry(body, &entries[i]);
		}
		wl_exchange_entry_release(&entries[i]);
	}
	free(entries);
	wl_buffer_appendf(body, "],\"page_info\":{\"limit\":%d", limit);
	web_member_text(body, "next_cursor", next.length ? next.data : NULL);
	wl_buffer_append_text(body, "}}");
	wl_buffer_release(&next);
	return 0;
}

static int look_at_one(struct looking *looking, const struct wl_exchange_log *log)
{
	const struct web_request *request = looking->request;
	const char *node = text_of(request, "node");
	_wl_json_ struct wl_json *answer = NULL;
	struct wl_buffer *body = &looking->body;
	struct wl_exchange one = { 0 };
	int r = wl_mongo_exchange_read(log, request->identity.tenant, text_of(request, "id"), node,
				       text_of(request, "place"), &one, &looking->err);
	if (r < 0)
		return r;
	size_t length = one.answer_json ? strlen(one.answer_json) : 0;
	/* what stands in the middle of an answer has to be JSON */
	bool whole = one.answer_json && wl_json_parse(one.answer_json, length, &answer, NULL) == 0;
	wl_buffer_append_text(body, "{\"exchanges\":[");
	begin_exchange(body, node, &one);
	web_member_text(body, "request_hash", one.request_hash);
	end_exchange(body, whole ? one.answer_json : NULL, (int64_t)length);
	wl_buffer_append_text(body, "],\"page_info\":{\"limit\":1,\"next_cursor\":null}}");
	wl_exchange_release(&one);
	return 0;
}

/* ---- on a thread and back
 * --------------------------------------------------------------------------------------------- */

static void look(struct web_task *task)
{
	struct looking *looking = task->context;
	const struct wl_exchange_log *log = NULL;
	looking->rc = open_log(&log, &looking->err);
	if (looking->rc == 0)
		looking->rc = looking->look(looking, log);
	if (looking->rc == 0 && looking->body.failed)
		looking->rc = wl_fail(&looking->err, ENOMEM, "no memory for an answer");
}

static void free_looking(struct looking *looking)
{
	wl_buffer_release(&looking->body);
	web_request_release(looking->request);
	free(looking);
}

static void looked(struct web_task *task)
{
	struct looking *looking = task->context;
	struct web_request *request = looking->request;
	if (looking->rc == -ENOENT) {
		web_answer_problem(request, 404, "there is no such exchange");
	} else if (looking->rc < 0) {
		web_answer_unavailable(request, 1, "the exchanges cannot be read now: %s", looking->err.text);
	} else {
		wl_buffer_append(&request->answer, looking->body.data, looking->body.length);
		web_answer_json(request, 200);
	}
	free_looking(looking);
}

static void begin_look(struct web_request *request,
		       int (*function)(struct looking *looking, const struct wl_exchange_log *log))
{
	struct looking *looking = calloc(1, sizeof(*looking));
	if (!looking) {
		web_answer_unavailable(request, 1, "too many exchanges are being read");
		return;
	}
	looking->task = (struct web_task){ .run = look, .ended = looked, .context = looking };
	looking->request = web_request_hold(request);
	looking->look = function;
	if (web_thread_pool_run(web.threads, &looking->task) < 0) {
		web_answer_unavailable(request, 1, "too many exchanges are being read");
		free_looking(looking);
	}
}

static void allowed(struct pg_job *job)
{
	struct web_request *request = web_job_request(job);
	if (!web_job_failed(request, job)) {
		if (!text_of(request, "place"))
			begin_look(request, look_at_page);
		else if (text_of(request, "node"))
			begin_look(request, look_at_one);
		else
			web_answer_problem(request, 422, "a place is one of a node: say which");
	}
	web_request_release(request);
}

void web_executions_exchanges_list(struct web_request *request)
{
	struct pg_job *job = web_job(request, request->identity.tenant, allowed);
	if (!job)
		return;
	pg_job_step(job, SQL_NEED_EXECUTION);
	web_api_value_actor(job, request);
	pg_job_value(job, text_of(request, "id"));
	pg_job_value(job, "view");
	pg_submit(web.postgres, job);
}
