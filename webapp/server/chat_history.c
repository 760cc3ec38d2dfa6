#include "webapp/server/chat_history.h"

#include "lib/base/cleanup.h"
#include "lib/store/mongo_chat.h"
#include "webapp/server/event_channel.h"
#include "webapp/server/server.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct filling {
	struct web_task task;
	int tenant, first, last;
	char session[WL_UUID_TEXT];
	struct wl_json *page;
	web_chat_filled *filled;
	void *context;
	int rc;
	struct wl_error err;
};

static int open_log(struct wl_chat_log **ret_log, struct wl_error *err)
{
	static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
	static struct wl_chat_log log;
	(void)pthread_mutex_lock(&lock);
	int rc = log.self ? 0 : wl_mongo_chat_open(web.settings.mongodb_url, &log, err);
	(void)pthread_mutex_unlock(&lock);
	*ret_log = &log;
	return rc;
}

static int seq_of(const struct wl_json *message)
{
	return (int)wl_json_get_number(message, "seq", 0);
}

/* Both lists are in order; one that stands in both is the same. */
static int merge(struct wl_json *page, const struct wl_chat_message *stored, int count)
{
	const struct wl_json *here = wl_json_first(wl_json_get(page, "messages"));
	_wl_json_ struct wl_json *merged = wl_json_array();
	int rc = merged ? 0 : -ENOMEM;
	for (int i = 0; rc == 0 && (i < count || here);) {
		struct wl_json *one = NULL;
		if (here && (i == count || seq_of(here) <= stored[i].seq)) {
			i += i < count && seq_of(here) == stored[i].seq;
			one = wl_json_copy(here);
			here = wl_json_next(here);
		} else {
			const char *text = stored[i++].message_json;
			rc = wl_json_parse(text, strlen(text), &one, NULL);
		}
		rc = rc ? rc : wl_json_append(merged, one);
	}
	return rc ? rc : wl_json_set(page, "messages", wl_steal(merged));
}

static void read_stored(struct web_task *task)
{
	struct filling *filling = task->context;
	struct wl_chat_message *stored = NULL;
	struct wl_chat_log *log;
	int count = open_log(&log, &filling->err);
	if (count == 0)
		count = log->range(log->self, filling->tenant, filling->session, filling->first, filling->last, &stored,
				   &filling->err);
	filling->rc = count < 0 ? count : merge(filling->page, stored, count);
	if (count >= 0)
		wl_chat_messages_free(stored, count);
	if (count >= 0 && filling->rc < 0)
		(void)wl_fail(&filling->err, ENOMEM, "no memory for messages");
}

static void stored_read(struct web_task *task)
{
	struct filling *filling = task->context;
	if (filling->rc < 0) {
		wl_json_free(filling->page);
		filling->page = NULL;
	}
	filling->filled(filling->context, filling->page, &filling->err);
	free(filling);
}

void web_chat_fill(int tenant, const char *session, int after, struct wl_json *page, web_chat_filled *filled,
		   void *context)
{
	int limit = (int)wl_json_get_number(wl_json_get(page, "page_info"), "limit", 0);
	int total = (int)wl_json_get_number(page, "total", 0), last = after > total - limit ? total : after + limit;
	struct wl_error err = { 0 };
	if (last <= after || (int)wl_json_count(wl_json_get(page, "messages")) == last - after) {
		filled(context, page, NULL);
		return;
	}
	struct filling *filling = calloc(1, sizeof(*filling));
	if (filling) {
		*filling = (struct filling){ .tenant = tenant,
					     .first = after + 1,
					     .last = last,
					     .page = page,
					     .filled = filled,
					     .context = context };
		(void)snprintf(filling->session, sizeof(filling->session), "%s", session);
		filling->task = (struct web_task){ .run = read_stored, .ended = stored_read, .context = filling };
	}
	if (filling && web_thread_pool_run(web.threads, &filling->task) == 0)
		return;
	free(filling);
	wl_json_free(page);
	(void)wl_fail(&err, EAGAIN, "too much is being read");
	filled(context, NULL, &err);
}

void web_chat_poke(const char *session)
{
	char channel[WEB_EVENT_KEY];
	web_event_key(session, channel);
	const char *arguments[] = { "PUBLISH", channel, "0-0 chat {}" };
	(void)web_redis_command(web.redis, NULL, NULL, (int)WL_COUNT_OF(arguments), arguments, NULL);
}
