/*
 * Theory of operation
 *
 * A watch is one client that watches one execution. It first subscribes to the channel of the execution's events, and
 * when that is confirmed reads the stream from behind the last event the client has, page by page. Until it has
 * caught up, messages of the channel only tell that there is more to read; from then on they are passed on as they
 * come. An event's id orders it, so what was sent already is never sent twice.
 *
 * A client that reads slowly is put back to reading pages, and the next page is fetched when most of the last is gone:
 * so no more than WAITING_MOST bytes wait for it. One whose bytes do not move at all for STALLED_MS is cut.
 *
 * A stream ends with its login. Each second the expiry of its access token is looked at, and every
 * WEB_SESSION_RECHECK_MS one statement asks which logins of all the watches are over, so also those of busy streams.
 * Their clients get `close`: one that can refresh its token comes back with its Last-Event-ID and misses nothing.
 * While PostgreSQL is away the streams stay, as nobody can log out then either.
 *
 * Redis may be away or have forgotten the stream. Every BEAT_MS the watch gets a comment, and one that is quiet looks
 * at the ledger: an execution that is over gets its nodes from the document server and an end. So does one whose end
 * was never published.
 */
#include "webapp/server/event_watch.h"

#include "lib/base/cleanup.h"
#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "webapp/server/event_channel.h"
#include "webapp/server/metrics.h"
#include "webapp/server/server.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BEAT_MS 15000
#define LOOK_MS 1000
#define DRAIN_LOOK_MS 20
#define STALLED_MS 60000
#define STREAMS_RETRY_S 5
#define PAGE "32"
#define WAITING_MOST (256u << 10)
#define WAITING_LITTLE (64u << 10)
#define EVENT_MAX_TEXT "1000"
#define EVENT_KEEP_TEXT "3600"

struct event_id {
	uint64_t ms, seq;
};

struct watch {
	struct web_event_listener listener; /* while its stream is open; first, so that it is the watch */
	struct watch *next, **link;	    /* among all */
	int tenant;
	char family[WL_UUID_TEXT]; /* of the login, or the id of the API key */
	int64_t expires_s;	   /* of the access token, seconds since 1970 */
	int references;		   /* of the table and of jobs */
	struct web_stream *stream; /* NULL: the client is gone, or its head is not sent yet */
	bool gone;
	struct event_id last; /* the newest event that was sent */
	bool resumed;	      /* the client had a Last-Event-ID that is not confirmed yet */
	bool reading;	      /* a page is on its way */
	bool caught_up;
	bool more;	  /* a message came while a page was on its way */
	bool looking;	  /* the ledger or the document server is being asked */
	bool ended;	  /* end or close was sent */
	uint64_t beat_ms; /* when something was sent last */
	uint64_t moved_ms;
	size_t queued_before;
};

static struct watch *watches;
static bool draining_timer;
static uint64_t logins_asked_ms;
static bool asking_logins;

/* ---- watches ------------------------------------------------------------------------------------------------------
 */

static void release(struct watch *watch)
{
	if (--watch->references == 0)
		free(watch);
}

/* The client is gone, by its own will or by ours, maybe before the head was sent. */
static void gone(void *context)
{
	struct watch *watch = context;
	bool opened = watch->stream != NULL;
	*watch->link = watch->next;
	if (watch->next)
		watch->next->link = watch->link;
	watch->stream = NULL;
	watch->gone = true;
	if (opened) {
		web_metrics_streams(-1);
		web_event_unlisten(&watch->listener);
	}
	release(watch);
}

/* ---- sending -------------------------------------------------------------------------------------------------------
 */

static bool read_id(const char *text, struct event_id *ret_id)
{
	char *end;
	ret_id->ms = strtoull(text, &end, 10);
	if (end == text || *end != '-')
		return false;
	text = end + 1;
	ret_id->seq = strtoull(text, &end, 10);
	return end != text;
}

static int compare(struct event_id a, struct event_id b)
{
	if (a.ms != b.ms)
		return a.ms < b.ms ? -1 : 1;
	return a.seq < b.seq ? -1 : a.seq > b.seq;
}

/* Send one frame; `id` NULL: an event of the server's own, which cannot be resumed from. False when the client is
 * gone: then the watch may be freed unless the caller holds it. */
static bool send_frame(struct watch *watch, const char *id, const char *type, size_t type_length, const char *data,
		       size_t length)
{
	_wl_buffer_ struct wl_buffer frame = { 0 };
	if (!watch->stream)
		return false;
	if (id)
		wl_buffer_appendf(&frame, "id: %s\n", id);
	wl_buffer_appendf(&frame, "event: %.*s\ndata: ", (int)type_length, type);
	/* JSON has no bare line ends, but a frame must not be broken by whoever wrote the event */
	for (size_t i = 0; i < length; i++)
		wl_buffer_append_char(&frame, data[i] == '\n' || data[i] == '\r' ? ' ' : data[i]);
	wl_buffer_append_text(&frame, "\n\n");
	if (frame.failed) {
		web_stream_cut(watch->stream);
		return false;
	}
	watch->beat_ms = wl_clock_boot_ms();
	return web_stream_send(watch->stream, frame.data, frame.length);
}

static bool send_own(struct watch *watch, const char *type, const char *data)
{
	return send_frame(watch, NULL, type, strlen(type), data, strlen(data));
}

static bool send_event(struct watch *watch, const char *id, const char *type, size_t type_length, const char *data,
		       size_t length)
{
	struct event_id at;
	if (watch->ended || !read_id(id, &at) || compare(at, watch->last) <= 0)
		return true;
	watch->last = at;
	if (!send_frame(watch, id, type, type_length, data, length))
		return false;
	if (type_length == 3 && memcmp(type, "end", 3) == 0) {
		watch->ended = true;
		web_stream_finish(watch->stream);
		return false;
	}
	return true;
}

/* ---- reading pages --------------------------------------------------------------------------------------------------
 */

static void look_at_ledger(struct watch *watch);
static void read_page(struct watch *watch);

static const redisReply *field(const redisReply *fields, const char *name)
{
	for (size_t i = 0; i + 1 < fields->elements; i += 2)
		if (fields->element[i]->str && strcmp(fields->element[i]->str, name) == 0 &&
		    fields->element[i + 1]->str)
			return fields->element[i + 1];
	return NULL;
}

static bool entry_valid(const redisReply *entry)
{
	return entry->type == REDIS_REPLY_ARRAY && entry->elements == 2 && entry->element[0]->str &&
	       entry->element[1]->type == REDIS_REPLY_ARRAY;
}

/*
 * The first page of a client that came back begins with the event it had last. If it does not, events in between may
 * be gone, and the client is told to read everything again.
 */
static bool check_resumed(struct watch *watch, const redisReply *page)
{
	struct event_id first = { 0 };
	if (!watch->resumed)
		return true;
	watch->resumed = false;
	if (page->elements && entry_valid(page->element[0]) && read_id(page->element[0]->element[0]->str, &first) &&
	    compare(first, watch->last) == 0)
		return true;
	watch->last = (struct event_id){ 0 };
	return send_own(watch, "reset", "{}");
}

static bool send_page(struct watch *watch, const redisReply *page)
{
	for (size_t i = 0; i < page->elements; i++) {
		const redisReply *entry = page->element[i];
		if (!entry_valid(entry))
			continue;
		const redisReply *type = field(entry->element[1], "type"), *data = field(entry->element[1], "data");
		if (type && data &&
		    !send_event(watch, entry->element[0]->str, type->str, type->len, data->str, data->len))
			return false;
	}
	return true;
}

static void page_came(struct watch *watch, const redisReply *page)
{
	struct event_id before = watch->last;
	bool reset = watch->resumed;
	if (!check_resumed(watch, page))
		return;
	reset = reset && watch->last.ms == 0 && watch->last.seq == 0 && before.ms != 0;
	if (!send_page(watch, page))
		return;
	if (reset || page->elements >= strtoul(PAGE, NULL, 10) || watch->more)
		read_page(watch);
	else
		watch->caught_up = true;
	if (watch->caught_up && watch->last.ms == 0)
		look_at_ledger(watch); /* no stream: not begun, or long over */
}

static void page_reply(redisAsyncContext *link, void *data, void *context)
{
	struct watch *watch = context;
	const redisReply *reply = data;
	(void)link;
	watch->reading = false;
	if (!watch->gone && reply && reply->type == REDIS_REPLY_ARRAY)
		page_came(watch, reply);
	release(watch);
}

static void drain_look(void *context);

/* Read on behind the last event, unless the client has enough to swallow; then a timer comes back to it. */
static void read_page(struct watch *watch)
{
	char key[WEB_EVENT_KEY], from[WEB_EVENT_ID];
	if (watch->reading || watch->gone || watch->ended || !watch->stream)
		return;
	watch->caught_up = false;
	if (web_stream_queued(watch->stream) > WAITING_LITTLE) {
		if (!draining_timer)
			web_timer_once(DRAIN_LOOK_MS, drain_look, NULL);
		draining_timer = true;
		return;
	}
	web_event_key(watch->listener.eid, key);
	(void)snprintf(from, sizeof(from), "%s%llu-%llu", watch->resumed || watch->last.ms == 0 ? "" : "(",
		       (unsigned long long)watch->last.ms, (unsigned long long)watch->last.seq);
	const char *arguments[] = { "XRANGE", key, from, "+", "COUNT", PAGE };
	watch->more = false;
	if (web_redis_command(web.redis, page_reply, watch, (int)WL_COUNT_OF(arguments), arguments, NULL) < 0)
		return; /* Redis is away; the beat looks at the ledger, and its return reads on */
	watch->reading = true;
	watch->references++;
}

/* Call `visit` for every watch; it may end the watch it is given. */
static void for_each(void (*visit)(struct watch *watch))
{
	for (struct watch *watch = watches, *next; watch; watch = next) {
		next = watch->next;
		visit(watch);
	}
}

static void read_on(struct watch *watch)
{
	if (!watch->caught_up)
		read_page(watch);
}

static void drain_look(void *context)
{
	(void)context;
	draining_timer = false;
	for_each(read_on);
}

/* ---- live messages
 * ---------------------------------------------------------------------------------------------------- */

static void happened(struct web_event_listener *listener, const struct web_event *event)
{
	struct watch *watch = (struct watch *)listener;
	if (!watch->caught_up) {
		watch->more = true;
		return;
	}
	if (!watch->stream)
		return;
	if (web_stream_queued(watch->stream) + event->length > WAITING_MOST) {
		read_page(watch); /* from now on it gets pages, at its own pace */
		return;
	}
	(void)send_event(watch, event->id, event->type, event->type_length, event->data, event->length);
}

/* Subscribed, for the first time or anew: read what came before. */
static void confirmed(struct web_event_listener *listener)
{
	struct watch *watch = (struct watch *)listener;
	watch->caught_up = false;
	read_page(watch);
}

/* ---- executions that are over
 * -------------------------------------------------------------------------------------------- */

struct ending {
	struct web_task task;
	struct watch *watch;
	struct wl_buffer nodes; /* frames */
	struct wl_buffer end;	/* data of the end event */
};

static void free_ending(struct ending *ending)
{
	wl_buffer_release(&ending->nodes);
	wl_buffer_release(&ending->end);
	release(ending->watch);
	free(ending);
}

static void put_node_frame(struct wl_buffer *frames, const struct wl_node_result *result)
{
	char text[WL_RFC3339_SIZE];
	wl_buffer_append_text(frames, "event: node\ndata: {");
	web_member_text(frames, "node_id", result->node_id);
	web_member_text(frames, "status", wl_node_state_name(result->state));
	wl_buffer_appendf(frames, ",\"attempt\":%d", result->attempt);
	web_member_text(frames, "time", wl_rfc3339(result->end_ms, text));
	if (result->handle && result->handle[0])
		web_member_text(frames, "handle", result->handle);
	if (result->error_json)
		web_member_raw(frames, "error", result->error_json);
	if (result->outputs_json && strlen(result->outputs_json) < 8192)
		web_member_raw(frames, "outputs", result->outputs_json);
	else if (result->outputs_json)
		wl_buffer_append_text(frames, ",\"truncated\":true");
	wl_buffer_append_text(frames, "}\n\n");
}

static void load_ending(struct web_task *task)
{
	struct ending *ending = task->context;
	struct wl_node_result *results = NULL;
	int count = web_node_results(ending->watch->tenant, ending->watch->listener.eid, &results, NULL);
	for (int i = 0; i < count; i++) {
		if (results[i].committed)
			put_node_frame(&ending->nodes, &results[i]);
		wl_node_result_release(&results[i]);
	}
	free(results);
}

static void ending_loaded(struct web_task *task)
{
	struct ending *ending = task->context;
	struct watch *watch = ending->watch;
	watch->looking = false;
	bool open = !watch->gone && !watch->ended && watch->stream;
	if (open && watch->last.ms == 0 && ending->nodes.length && !ending->nodes.failed)
		open = web_stream_send(watch->stream, ending->nodes.data, ending->nodes.length);
	if (open) {
		watch->ended = true;
		if (send_own(watch, "end", ending->end.data))
			web_stream_finish(watch->stream);
	}
	free_ending(ending);
}

static void put_end(struct wl_buffer *data, const struct watch *watch, const struct pg_job *job)
{
	wl_buffer_append_char(data, '{');
	web_member_text(data, "execution_id", watch->listener.eid);
	web_member_text(data, "status", pg_text(job, 0, 0, 0));
	if (pg_text(job, 0, 0, 1))
		web_member_raw(data, "outputs", pg_text(job, 0, 0, 1));
	if (pg_text(job, 0, 0, 2))
		web_member_raw(data, "error", pg_text(job, 0, 0, 2));
	web_member_text(data, "time", pg_text(job, 0, 0, 3));
	wl_buffer_append_char(data, '}');
}

static void ledger_seen(struct pg_job *job)
{
	struct watch *watch = job->context;
	bool over = job->outcome == PG_DONE && pg_rows(job, 0) &&
		    wl_run_state_final((enum wl_run_state)wl_run_state_of(pg_text(job, 0, 0, 0)));
	struct ending *ending = over && !watch->gone ? calloc(1, sizeof(*ending)) : NULL;
	if (ending) {
		put_end(&ending->end, watch, job);
		ending->watch = watch;
		ending->task = (struct web_task){ .run = load_ending, .ended = ending_loaded, .context = ending };
		if (!ending->end.failed && web_thread_pool_run(web.threads, &ending->task) == 0)
			return; /* the task has taken over the job's hold of the watch */
		wl_buffer_release(&ending->end);
		free(ending);
	}
	watch->looking = false;
	release(watch);
}

static void look_at_ledger(struct watch *watch)
{
	if (watch->looking || watch->ended)
		return;
	struct pg_job *job = pg_job_new(watch->tenant, ledger_seen, watch);
	if (!job)
		return;
	watch->looking = true;
	watch->references++;
	pg_job_step(job, SQL_EXECUTION_STATE);
	pg_job_value(job, watch->listener.eid);
	pg_submit(web.postgres, job);
}

/* ---- time
 * ---------------------------------------------------------------------------------------------------------------------
 */

static void beat(struct watch *watch)
{
	uint64_t now = wl_clock_boot_ms();
	if (!watch->stream)
		return;
	size_t queued = web_stream_queued(watch->stream);
	if (queued == 0 || queued != watch->queued_before)
		watch->moved_ms = now;
	watch->queued_before = queued;
	if (!watch->caught_up)
		read_page(watch);
	if (now - watch->moved_ms >= STALLED_MS) {
		web_metrics_stream_dropped();
		web_stream_cut(watch->stream);
		return;
	}
	if (watch->ended || now - watch->beat_ms < BEAT_MS)
		return;
	watch->beat_ms = now;
	watch->references++;
	if (queued || web_stream_send(watch->stream, ": beat\n\n", 8))
		look_at_ledger(watch);
	release(watch);
}

/* ---- logins that are over --------------------------------------------------------------------------------------- */

/* Say why, and close. What a client whose login was ended has not read yet, it does not get. */
static void end_login(struct watch *watch, const char *reason, bool at_once)
{
	char data[64];
	if (!watch->stream || watch->ended)
		return;
	if (at_once && web_stream_queued(watch->stream)) {
		web_stream_cut(watch->stream);
		return;
	}
	watch->references++;
	watch->ended = true;
	(void)snprintf(data, sizeof(data), "{\"reason\":\"%s\"}", reason);
	if (send_own(watch, "close", data))
		web_stream_finish(watch->stream);
	release(watch);
}

static void end_family(const char *family)
{
	for (struct watch *watch = watches, *next; watch; watch = next) {
		next = watch->next;
		if (strcmp(watch->family, family) == 0)
			end_login(watch, "login_ended", true);
	}
}

static void logins_seen(struct pg_job *job)
{
	asking_logins = false;
	for (int row = 0; job->outcome == PG_DONE && row < pg_rows(job, 0); row++)
		end_family(pg_text(job, 0, row, 0));
}

static void ask_logins(uint64_t now)
{
	_wl_buffer_ struct wl_buffer families = { 0 };
	if (asking_logins || now - logins_asked_ms < WEB_SESSION_RECHECK_MS - LOOK_MS)
		return;
	for (const struct watch *watch = watches; watch; watch = watch->next)
		wl_buffer_appendf(&families, "%c%s", families.length ? ',' : '{', watch->family);
	logins_asked_ms = now;
	if (families.length == 0)
		return;
	wl_buffer_append_char(&families, '}');
	struct pg_job *job = families.failed ? NULL : pg_job_new(0, logins_seen, NULL);
	if (!job)
		return; /* no memory: again when it is due */
	asking_logins = true;
	pg_job_step(job, SQL_LOGINS_ENDED);
	pg_job_value(job, families.data);
	pg_submit(web.postgres, job);
}

static void end_expired(struct watch *watch)
{
	if (watch->expires_s <= wl_clock_wall_ms() / 1000)
		end_login(watch, "token_expired", false);
}

static void look_at_all(void *context)
{
	(void)context;
	for_each(beat);
	for_each(end_expired);
	ask_logins(wl_clock_boot_ms());
}

/* ---- start and end
 * -------------------------------------------------------------------------------------------------------------- */

static void opened(struct web_request *request, struct web_stream *stream)
{
	struct watch *watch = request->stream_context;
	watch->stream = stream;
	watch->beat_ms = watch->moved_ms = wl_clock_boot_ms();
	web_metrics_streams(1);
	logins_asked_ms = 0; /* this login may have been checked up to WEB_SESSION_RECHECK_MS ago */
	web_event_listen(&watch->listener);
	watch->references++;
	if (web_stream_send(stream, "retry: 1000\n\n", 13) && (!web_event_channel_up() || !web_redis_up(web.redis)))
		look_at_ledger(watch);
	release(watch);
}

static int streams_of(int tenant)
{
	int count = 0;
	for (const struct watch *watch = watches; watch; watch = watch->next)
		count += watch->tenant == tenant;
	return count;
}

void web_event_watch_start(struct web_request *request, const char *eid, const char *last_id)
{
	const struct web_identity *identity = &request->identity;
	if (request->answered || !request->exchange)
		return;
	if (streams_of(identity->tenant) >= web.settings.tenant_streams) {
		web_answer_too_many(request, STREAMS_RETRY_S, "the tenant has %ld event streams open: no more at once",
				    web.settings.tenant_streams);
		return;
	}
	struct watch *watch = calloc(1, sizeof(*watch));
	if (!watch) {
		web_answer_unavailable(request, 1, "no memory");
		return;
	}
	watch->listener = (struct web_event_listener){ .confirmed = confirmed, .happened = happened };
	(void)snprintf(watch->listener.eid, sizeof(watch->listener.eid), "%s", eid);
	watch->tenant = identity->tenant;
	memcpy(watch->family, *identity->key ? identity->key : identity->family, sizeof(watch->family));
	watch->expires_s = identity->expires_s;
	watch->references = 1;
	watch->resumed = last_id && read_id(last_id, &watch->last) && watch->last.ms > 0;
	/* among the others from now on, so that it counts: more requests may come before its head is sent */
	watch->next = watches;
	watch->link = &watches;
	if (watches)
		watches->link = &watch->next;
	watches = watch;
	web_answer_stream(request, opened, gone, watch);
}

static void finish(struct watch *watch)
{
	if (watch->stream)
		web_stream_finish(watch->stream);
}

void web_event_watch_end(void)
{
	for_each(finish);
}

void web_event_publish_end(const char *eid, const char *status)
{
	char key[WEB_EVENT_KEY], time[WL_RFC3339_SIZE], data[256];
	web_event_key(eid, key);
	wl_rfc3339(wl_clock_wall_ms(), time);
	(void)snprintf(data, sizeof(data), "{\"execution_id\":\"%s\",\"status\":\"%s\",\"time\":\"%s\"}", eid, status,
		       time);
	const char *execution[] = {
		"FCALL", "wl1_event", "1", key, "execution", data, EVENT_MAX_TEXT, EVENT_KEEP_TEXT
	};
	const char *end[] = { "FCALL", "wl1_event", "1", key, "end", data, EVENT_MAX_TEXT, EVENT_KEEP_TEXT };
	(void)web_redis_command(web.redis, NULL, NULL, (int)WL_COUNT_OF(execution), execution, NULL);
	(void)web_redis_command(web.redis, NULL, NULL, (int)WL_COUNT_OF(end), end, NULL);
}

void web_event_watch_read_on(void)
{
	for_each(read_on);
}

int web_event_watch_open(struct wl_error *err)
{
	return web_timer_every(LOOK_MS, look_at_all, NULL) ? 0 : wl_fail(err, ENOMEM, "no memory for event streams");
}
