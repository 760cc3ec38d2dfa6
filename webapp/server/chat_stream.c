/*
 * Theory of operation
 *
 * What a chat's stream shows has one order, and each frame a place in it: message n is "n", and what happens between
 * the messages n and n + 1 is the run that makes n + 1, so its events are "n.<id of the event in the run's Redis
 * stream>". A place says by itself where to go on; no worker has to remember anything, and none of its parts is made by
 * a web server.
 *
 * So a stream is a walk: the messages behind the place it is at are loaded (PostgreSQL, and the document server for old
 * ones); before message n + 1 is shown, the events of its run are, page by page; behind the newest message the run that
 * is under way is followed. Subscriptions to the chat's and the run's channels only tell that there is more to read.
 * A message is shown when the end of its run was, or END_WAIT_MS after it is there: the message is committed first and
 * the event is published then. Messages never depend on Redis: while it is away, or after the events have expired, they
 * come without the events between them.
 *
 * What the client says goes the way of the same operation over HTTP, as a request of our own (web_server_inner).
 */
#include "webapp/server/chat_stream.h"

#include "lib/base/cleanup.h"
#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "webapp/server/chat_history.h"
#include "webapp/server/event_channel.h"
#include "webapp/server/server.h"
#include "webapp/server/websocket.h"

#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TICK_MS 1000
#define DRAIN_LOOK_MS 20
#define LOOK_MS 1000	   /* between looks while a turn is under way and nothing is heard of it */
#define LOOK_IDLE_MS 15000 /* else: for what was told while Redis was away */
#define END_WAIT_MS 2000
#define WAITING_MOST (256u << 10) /* bytes to be sent, before the walk stops for a while */
#define UNDER_WAY_MOST 8	  /* requests of one socket */
#define SOCKETS_OF_USER 32
#define RETRY_S 5
#define PAGE "32"
#define MESSAGES_AT_ONCE 20
#define PLACE_SIZE 64

struct event_id {
	uint64_t ms, seq;
};

struct chat_watch {
	struct web_event_listener chat; /* listens while the socket is open */
	struct web_event_listener run;	/* its eid is "" while it does not */
	struct chat_watch *next, **link;
	struct web_identity identity;
	unsigned char token_digest[WEB_TOKEN_DIGEST];
	char peer[64];
	int references; /* of the table, jobs and requests */
	struct web_socket *socket;
	bool gone;
	int under_way; /* requests of its own */

	/* the place it is at: behind message `seq`, and behind event `at` of the run that follows it */
	int seq;
	struct event_id at;
	bool resumed; /* `at` is the client's and was not found yet */

	struct wl_json *page; /* loaded messages; NULL: none */
	const struct wl_json *next_message;
	char turn_eid[WL_UUID_TEXT]; /* the run under way; "" */
	bool turn_open;
	uint64_t page_ms;    /* when the page came */
	bool loading, stale; /* stale: there may be more than was loaded */
	uint64_t loaded_ms;

	/* the run that is followed */
	bool reading, more, run_ended, run_drained;
	uint64_t heard_ms;
};

static struct chat_watch *watches;
static uint64_t logins_asked_ms;
static bool asking_logins;
static bool draining_timer;

static void advance(struct chat_watch *watch);

/* ---- references ---------------------------------------------------------------------------------------------------
 */

static struct chat_watch *hold(struct chat_watch *watch)
{
	watch->references++;
	return watch;
}

static void release(struct chat_watch *watch)
{
	if (--watch->references > 0)
		return;
	wl_json_free(watch->page);
	free(watch);
}

static void unfollow(struct chat_watch *watch)
{
	if (*watch->run.eid)
		web_event_unlisten(&watch->run);
	*watch->run.eid = '\0';
}

static void gone(void *context)
{
	struct chat_watch *watch = context;
	*watch->link = watch->next;
	if (watch->next)
		watch->next->link = watch->link;
	if (watch->socket)
		web_event_unlisten(&watch->chat);
	unfollow(watch);
	watch->socket = NULL;
	watch->gone = true;
	release(watch);
}

/* ---- places ---------------------------------------------------------------------------------------------------------
 */

static bool read_number(const char **text, size_t digits, uint64_t *ret_number)
{
	size_t length = strspn(*text, "0123456789");
	if (length == 0 || length > digits)
		return false;
	*ret_number = strtoull(*text, NULL, 10);
	*text += length;
	return true;
}

static bool read_id(const char *text, struct event_id *ret_id)
{
	return read_number(&text, 15, &ret_id->ms) && *text++ == '-' && read_number(&text, 15, &ret_id->seq) && !*text;
}

/* "<seq>" or "<seq>.<ms>-<n>" */
static bool read_place(const char *text, int *ret_seq, struct event_id *ret_at)
{
	uint64_t seq;
	*ret_at = (struct event_id){ 0 };
	if (!read_number(&text, 9, &seq))
		return false;
	*ret_seq = (int)seq;
	return !*text || (*text == '.' && read_id(text + 1, ret_at));
}

static int compare(struct event_id a, struct event_id b)
{
	if (a.ms != b.ms)
		return a.ms < b.ms ? -1 : 1;
	return a.seq < b.seq ? -1 : a.seq > b.seq;
}

static const char *place_of(const struct chat_watch *watch, char place[PLACE_SIZE])
{
	if (watch->at.ms)
		(void)snprintf(place, PLACE_SIZE, "%d.%" PRIu64 "-%" PRIu64, watch->seq, watch->at.ms, watch->at.seq);
	else
		(void)snprintf(place, PLACE_SIZE, "%d", watch->seq);
	return place;
}

/* ---- frames to the client
 * --------------------------------------------------------------------------------------------- */

/* Send a frame that is begun with its brace. False when the socket is no more. */
static bool send_frame(struct chat_watch *watch, struct wl_buffer *frame)
{
	(void)wl_buffer_append_char(frame, '}');
	if (!watch->socket)
		return false;
	if (!frame->failed)
		return web_socket_send(watch->socket, frame->data, frame->length);
	web_socket_cut(watch->socket);
	return false;
}

static void begin_frame(struct wl_buffer *frame, const char *type, size_t length, const struct chat_watch *placed)
{
	char place[PLACE_SIZE];
	(void)wl_buffer_append_text(frame, "{\"type\":");
	(void)wl_buffer_append_json_string(frame, type, length);
	if (placed)
		web_member_text(frame, "seq", place_of(placed, place));
}

/* A frame that tells of a place: ready, reset. */
static bool send_place(struct chat_watch *watch, const char *type, const char *eid)
{
	_wl_buffer_ struct wl_buffer frame = { 0 };
	begin_frame(&frame, type, strlen(type), watch);
	if (eid)
		web_member_text(&frame, "execution_id", *eid ? eid : NULL);
	return send_frame(watch, &frame);
}

static bool send_message(struct chat_watch *watch, const struct wl_json *message)
{
	_wl_buffer_ struct wl_buffer frame = { 0 };
	watch->seq = (int)wl_json_get_number(message, "seq", watch->seq + 1);
	watch->at = (struct event_id){ 0 };
	watch->resumed = false;
	begin_frame(&frame, "message", 7, watch);
	(void)wl_buffer_append_text(&frame, ",\"message\":");
	(void)wl_json_write(&frame, message);
	return send_frame(watch, &frame);
}

static bool send_event(struct chat_watch *watch, const char *id, const redisReply *type, const redisReply *data)
{
	struct event_id at;
	_wl_buffer_ struct wl_buffer frame = { 0 };
	if (!read_id(id, &at) || compare(at, watch->at) <= 0)
		return true;
	watch->at = at;
	watch->run_ended = watch->run_ended || (type->len == 3 && memcmp(type->str, "end", 3) == 0);
	begin_frame(&frame, type->str, type->len, watch);
	web_member_text(&frame, "execution_id", watch->run.eid);
	(void)wl_buffer_append_text(&frame, ",\"data\":");
	(void)wl_buffer_append(&frame, data->str, data->len);
	return send_frame(watch, &frame);
}

/* ---- the events of a run -------------------------------------------------------------------------------------------
 */

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

/* A client that came back has had an event: the page begins with it, or events in between are gone. */
static bool check_resumed(struct chat_watch *watch, const redisReply *page)
{
	struct event_id first = { 0 };
	if (!watch->resumed)
		return true;
	watch->resumed = false;
	if (page->elements && entry_valid(page->element[0]) && read_id(page->element[0]->element[0]->str, &first) &&
	    compare(first, watch->at) == 0)
		return true;
	watch->at = (struct event_id){ 0 };
	watch->more = true;
	return send_place(watch, "reset", watch->run.eid);
}

static bool send_page(struct chat_watch *watch, const redisReply *page)
{
	for (size_t i = 0; i < page->elements; i++) {
		const redisReply *entry = page->element[i];
		if (!entry_valid(entry))
			continue;
		const redisReply *type = field(entry->element[1], "type"), *data = field(entry->element[1], "data");
		if (type && data && !send_event(watch, entry->element[0]->str, type, data))
			return false;
	}
	return true;
}

static void page_reply(redisAsyncContext *link, void *data, void *context)
{
	struct chat_watch *watch = context;
	const redisReply *page = data;
	(void)link;
	watch->reading = false;
	watch->heard_ms = wl_clock_boot_ms();
	if (page && page->type == REDIS_REPLY_ARRAY && watch->socket && *watch->run.eid && check_resumed(watch, page) &&
	    send_page(watch, page)) {
		watch->run_drained = page->elements < strtoul(PAGE, NULL, 10) && !watch->more;
		watch->stale = watch->stale || watch->run_ended;
	} else {
		watch->run_drained = true;
	}
	advance(watch);
	release(watch);
}

/* Read on behind the last event. Without Redis there are none. */
static void read_events(struct chat_watch *watch)
{
	char key[WEB_EVENT_KEY], from[WEB_EVENT_ID];
	web_event_key(watch->run.eid, key);
	(void)snprintf(from, sizeof(from), "%s%" PRIu64 "-%" PRIu64, watch->resumed || !watch->at.ms ? "" : "(",
		       watch->at.ms, watch->at.seq);
	const char *arguments[] = { "XRANGE", key, from, "+", "COUNT", PAGE };
	watch->more = false;
	watch->run_drained = false;
	if (web_redis_command(web.redis, page_reply, watch, (int)WL_COUNT_OF(arguments), arguments, NULL) < 0) {
		watch->run_drained = true;
		return;
	}
	watch->reading = true;
	hold(watch);
}

static struct chat_watch *of_run(struct web_event_listener *listener)
{
	return (struct chat_watch *)((char *)listener - offsetof(struct chat_watch, run));
}

static void run_more(struct chat_watch *watch)
{
	watch->more = true;
	watch->run_drained = false;
	advance(watch);
}

static void run_confirmed(struct web_event_listener *listener)
{
	run_more(of_run(listener));
}

static void run_happened(struct web_event_listener *listener, const struct web_event *event)
{
	(void)event;
	run_more(of_run(listener));
}

static void follow(struct chat_watch *watch, const char *eid)
{
	if (strcmp(watch->run.eid, eid) == 0)
		return;
	unfollow(watch);
	watch->run = (struct web_event_listener){ .confirmed = run_confirmed, .happened = run_happened };
	(void)snprintf(watch->run.eid, sizeof(watch->run.eid), "%s", eid);
	watch->run_ended = watch->run_drained = watch->more = false;
	web_event_listen(&watch->run);
}

/* ---- messages
 * --------------------------------------------------------------------------------------------------------- */

static void page_filled(void *context, struct wl_json *page, const struct wl_error *err)
{
	struct chat_watch *watch = context;
	(void)err; /* it is loaded again when it is due */
	watch->loading = false;
	wl_json_free(watch->page);
	watch->page = page;
	watch->next_message = wl_json_first(wl_json_get(page, "messages"));
	watch->page_ms = wl_clock_boot_ms();
	if (page) {
		const struct wl_json *turn = wl_json_get(page, "turn");
		int total = (int)wl_json_get_number(page, "total", 0);
		watch->turn_open = wl_json_is(turn, WL_JSON_OBJECT);
		(void)snprintf(watch->turn_eid, sizeof(watch->turn_eid), "%s",
			       wl_json_get_string(turn, "execution_id", ""));
		if (watch->seq > total) { /* a place that never was */
			watch->seq = total;
			watch->at = (struct event_id){ 0 };
			watch->resumed = false;
			(void)send_place(watch, "reset", "");
		}
		int count = (int)wl_json_count(wl_json_get(page, "messages"));
		watch->stale = watch->stale || (count > 0 && watch->seq + count < total);
	}
	advance(watch);
	release(watch);
}

static void loaded(struct pg_job *job)
{
	struct chat_watch *watch = job->context;
	struct wl_json *page = NULL;
	if (job->outcome == PG_REFUSED && strcmp(job->sqlstate, "WL404") == 0 && watch->socket)
		web_socket_close(watch->socket, WEB_SOCKET_THING_GONE, "the chat was deleted");
	const char *body = job->outcome == PG_DONE && pg_rows(job, 0) ? pg_text(job, 0, 0, 1) : NULL;
	if (body && !watch->gone && wl_json_parse(body, strlen(body), &page, NULL) == 0) {
		web_chat_fill(watch->identity.tenant, watch->chat.eid, watch->seq, page, page_filled, watch);
		return;
	}
	watch->loading = false;
	release(watch);
}

static char *actor_of(const struct chat_watch *watch)
{
	_wl_json_ struct wl_json *actor = wl_json_object();
	int failed = wl_json_set_string(actor, "user", watch->identity.user);
	failed |= wl_json_set_string(actor, "role", web_role_name(watch->identity.role));
	return failed ? NULL : wl_json_print(actor);
}

static int route_of(const char *operation)
{
	int index = 0;
	while (index < web_route_count && strcmp(web_routes[index].operation, operation) != 0)
		index++;
	return index;
}

static void load(struct chat_watch *watch)
{
	char request[160];
	_wl_free_ char *actor = actor_of(watch);
	struct pg_job *job = actor ? pg_job_new(watch->identity.tenant, loaded, watch) : NULL;
	watch->loaded_ms = wl_clock_boot_ms();
	if (!job)
		return; /* no memory: again when it is due */
	watch->loading = true;
	watch->stale = false;
	hold(watch);
	(void)snprintf(request, sizeof(request), "{\"params\":{\"id\":\"%s\",\"cursor\":\"%d\",\"limit\":%d}}",
		       watch->chat.eid, watch->seq, MESSAGES_AT_ONCE);
	pg_job_step(job, web_statement_of_route(route_of("chat_messages_list")));
	pg_job_value(job, actor);
	pg_job_value(job, request);
	pg_submit(web.postgres, job);
}

/* ---- the walk
 * --------------------------------------------------------------------------------------------------------- */

/* The run whose events come next: of the next message, else the one under way; "" when there is none. */
static const char *run_ahead(const struct chat_watch *watch)
{
	const struct wl_json *message = watch->next_message;
	if (!message)
		return watch->turn_open ? watch->turn_eid : "";
	if (strcmp(wl_json_get_string(message, "role", ""), "user") == 0)
		return "";
	return wl_json_get_string(message, "execution_id", "");
}

/* Whether the next message may be shown: its run's events were, as far as there are any. */
static bool run_shown(const struct chat_watch *watch)
{
	if (!*watch->run.eid || watch->run_ended)
		return true;
	return watch->run_drained &&
	       (!watch->at.ms || !web_event_channel_up() || wl_clock_boot_ms() - watch->page_ms >= END_WAIT_MS);
}

/* One step; false when there is nothing to do but to wait. */
static bool step(struct chat_watch *watch)
{
	const char *eid = run_ahead(watch);
	if (*eid)
		follow(watch, eid);
	else
		unfollow(watch);
	if (*watch->run.eid && !watch->run_drained) {
		read_events(watch);
		return watch->run_drained;
	}
	if (watch->next_message) {
		if (!run_shown(watch))
			return false;
		const struct wl_json *message = watch->next_message;
		watch->next_message = wl_json_next(message);
		unfollow(watch);
		return send_message(watch, message);
	}
	if (watch->stale)
		load(watch);
	return false;
}

static void drain_look(void *context);

static void advance(struct chat_watch *watch)
{
	hold(watch);
	while (watch->socket && !watch->loading && !watch->reading) {
		if (web_socket_queued(watch->socket) >= WAITING_MOST) {
			if (!draining_timer)
				web_timer_once(DRAIN_LOOK_MS, drain_look, NULL);
			draining_timer = true;
			break;
		}
		if (!step(watch))
			break;
	}
	release(watch);
}

static struct chat_watch *of_chat(struct web_event_listener *listener)
{
	return (struct chat_watch *)((char *)listener - offsetof(struct chat_watch, chat));
}

static void chat_confirmed(struct web_event_listener *listener)
{
	of_chat(listener)->stale = true;
	advance(of_chat(listener));
}

static void chat_happened(struct web_event_listener *listener, const struct web_event *event)
{
	(void)event;
	chat_confirmed(listener);
}

/* ---- frames of the client
 * ------------------------------------------------------------------------------------------------ */

/* A frame of the client on its way. */
struct asking {
	struct chat_watch *watch;
	char *id; /* NULL: it gave none */
};

static void answer_frame(struct chat_watch *watch, const char *type, const char *id, int status, const char *member,
			 const char *body)
{
	_wl_buffer_ struct wl_buffer frame = { 0 };
	begin_frame(&frame, type, strlen(type), NULL);
	web_member_text(&frame, "id", id);
	if (status)
		(void)wl_buffer_appendf(&frame, ",\"status\":%d", status);
	if (body)
		web_member_raw(&frame, member, body);
	(void)send_frame(watch, &frame);
}

static void refuse_frame(struct chat_watch *watch, const char *id, int status, const char *detail)
{
	_wl_buffer_ struct wl_buffer problem = { 0 };
	(void)wl_buffer_appendf(&problem, "{\"status\":%d", status);
	web_member_text(&problem, "detail", detail);
	(void)wl_buffer_append_char(&problem, '}');
	answer_frame(watch, "error", id, status, "problem", problem.failed ? NULL : problem.data);
}

static void frame_answered(struct web_request *request)
{
	struct asking *asking = request->inner_context;
	struct chat_watch *watch = asking->watch;
	bool good = request->answered && request->status < 300;
	request->inner_context = NULL;
	watch->under_way--;
	if (watch->socket && request->answered && request->status == 401)
		web_socket_close(watch->socket, WEB_SOCKET_LOGIN_ENDED, "login_ended");
	else if (watch->socket && request->answer.length > 0)
		answer_frame(watch, good ? "accepted" : "error", asking->id, good ? 0 : request->status,
			     good ? "result" : "problem", request->answer.data);
	else if (watch->socket)
		refuse_frame(watch, asking->id, 503, "this was not answered");
	watch->stale = true;
	advance(watch);
	free(asking->id);
	free(asking);
	release(watch);
}

/* The members of a frame that are a message's. NULL without memory. */
static char *message_body(const struct wl_json *frame)
{
	_wl_json_ struct wl_json *body = wl_json_object();
	int failed = body ? 0 : -ENOMEM;
	for (const struct wl_json *one = wl_json_first(frame); one && !failed; one = wl_json_next(one)) {
		const char *key = wl_json_key(one);
		if (strcmp(key, "type") != 0 && strcmp(key, "id") != 0)
			failed = wl_json_set(body, key, wl_json_copy(one));
	}
	return failed ? NULL : wl_json_print(body);
}

static struct web_request *make_request(struct chat_watch *watch, const struct wl_json *frame, bool message)
{
	const char *id = wl_json_get_string(frame, "id", NULL);
	struct asking *asking = calloc(1, sizeof(*asking));
	struct web_request *request = web_request_new();
	char path[128];
	(void)snprintf(path, sizeof(path), "/api/v1/chat/sessions/%s/%s", watch->chat.eid,
		       message ? "messages" : "stop");
	if (request) {
		request->path = strdup(path);
		request->body = message ? message_body(frame) : strdup("");
		request->body_length = request->body ? strlen(request->body) : 0;
	}
	if (asking)
		asking->id = id ? strdup(id) : NULL;
	if (!asking || !request || !request->path || !request->body || (id && !asking->id)) {
		web_request_release(request);
		free(asking ? asking->id : NULL);
		free(asking);
		return NULL;
	}
	asking->watch = hold(watch);
	request->method = WEB_POST;
	request->identity = watch->identity;
	request->inner_answered = frame_answered;
	request->inner_context = asking;
	request->inner_key = message ? asking->id : NULL;
	memcpy(request->inner_peer, watch->peer, sizeof(request->inner_peer));
	return request;
}

static void do_operation(struct chat_watch *watch, const struct wl_json *frame, bool message)
{
	struct web_request *request = make_request(watch, frame, message);
	if (!request) {
		refuse_frame(watch, wl_json_get_string(frame, "id", NULL), 503, "no memory");
		return;
	}
	watch->under_way++;
	web_server_inner(request, watch->token_digest);
	web_request_release(request);
}

static const char *fault_of(const struct chat_watch *watch, const struct wl_json *frame, int *ret_status)
{
	const struct wl_json *id = wl_json_get(frame, "id");
	const char *text = wl_json_string(id, NULL);
	*ret_status = 400;
	if (!wl_json_is(frame, WL_JSON_OBJECT) || !wl_json_is(wl_json_get(frame, "type"), WL_JSON_STRING))
		return "a frame is a JSON object with a type";
	if (id && (!text || !*text || strlen(text) > 200))
		return "id has to be a text of 1 to 200 bytes";
	*ret_status = 429;
	return watch->under_way >= UNDER_WAY_MOST ? "too much of this stream is under way" : NULL;
}

static void text_came(void *context, const char *text, size_t length)
{
	struct chat_watch *watch = hold(context);
	_wl_json_ struct wl_json *frame = NULL;
	struct wl_error err = { 0 };
	int status = 400;
	const char *fault = wl_json_parse(text, length, &frame, &err) < 0 ? err.text : fault_of(watch, frame, &status);
	const char *type = wl_json_get_string(frame, "type", "");
	const char *id = wl_json_get_string(frame, "id", NULL);
	if (fault)
		refuse_frame(watch, status == 429 ? id : NULL, status, fault);
	else if (strcmp(type, "ping") == 0)
		answer_frame(watch, "pong", id, 0, NULL, NULL);
	else if (strcmp(type, "message") == 0 || strcmp(type, "stop") == 0)
		do_operation(watch, frame, type[0] == 'm');
	else
		refuse_frame(watch, id, 400, "type is message, stop or ping");
	release(watch);
}

/* ---- time and logins
 * ------------------------------------------------------------------------------------------------------ */

static void for_each(void (*visit)(struct chat_watch *watch))
{
	for (struct chat_watch *watch = watches, *next; watch; watch = next) {
		hold(watch);
		visit(watch);
		next = watch->next;
		release(watch);
	}
}

/* What was too much to be sent may be gone by now. */
static void drain_look(void *context)
{
	(void)context;
	draining_timer = false;
	for_each(advance);
}

static void tick(struct chat_watch *watch)
{
	uint64_t now = wl_clock_boot_ms();
	uint64_t pause = watch->turn_open ? LOOK_MS : LOOK_IDLE_MS;
	if (!watch->socket)
		return;
	if (watch->identity.expires_s <= wl_clock_wall_ms() / 1000)
		web_socket_close(watch->socket, WEB_SOCKET_LOGIN_ENDED, "token_expired");
	if (watch->socket)
		web_socket_tick(watch->socket, now);
	if (now - watch->loaded_ms >= pause && now - watch->heard_ms >= pause)
		watch->stale = true;
	advance(watch);
}

static void end_family(const char *family)
{
	for (struct chat_watch *watch = watches, *next; watch; watch = next) {
		const char *own = *watch->identity.key ? watch->identity.key : watch->identity.family;
		next = watch->next;
		if (strcmp(own, family) == 0 && watch->socket)
			web_socket_close(watch->socket, WEB_SOCKET_LOGIN_ENDED, "login_ended");
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
	if (asking_logins || now - logins_asked_ms < WEB_SESSION_RECHECK_MS - TICK_MS)
		return;
	for (const struct chat_watch *watch = watches; watch; watch = watch->next)
		wl_buffer_appendf(&families, "%c%s", families.length ? ',' : '{',
				  *watch->identity.key ? watch->identity.key : watch->identity.family);
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

static void look_at_all(void *context)
{
	(void)context;
	for_each(tick);
	ask_logins(wl_clock_boot_ms());
}

/* ---- beginning and end
 * ----------------------------------------------------------------------------------------------------- */

static void opened(void *context, struct web_socket *socket)
{
	struct chat_watch *watch = context;
	watch->socket = socket;
	watch->stale = true;
	logins_asked_ms = 0; /* this login may have been checked up to WEB_SESSION_RECHECK_MS ago */
	hold(watch);
	web_event_listen(&watch->chat);
	if (send_place(watch, "ready", NULL))
		advance(watch);
	release(watch);
}

static bool too_many(const struct web_identity *identity)
{
	int of_tenant = 0, of_user = 0;
	for (const struct chat_watch *watch = watches; watch; watch = watch->next) {
		of_tenant += watch->identity.tenant == identity->tenant;
		of_user += strcmp(watch->identity.user, identity->user) == 0;
	}
	return of_tenant >= web.settings.tenant_streams || of_user >= SOCKETS_OF_USER;
}

static struct chat_watch *new_watch(struct web_request *request)
{
	struct chat_watch *watch = calloc(1, sizeof(*watch));
	if (!watch)
		return NULL;
	watch->chat = (struct web_event_listener){ .confirmed = chat_confirmed, .happened = chat_happened };
	(void)snprintf(watch->chat.eid, sizeof(watch->chat.eid), "%s",
		       web_parameter_text(&request->parameters, "id", ""));
	watch->identity = request->identity;
	memcpy(watch->token_digest, request->token_digest, sizeof(watch->token_digest));
	(void)web_request_peer(request, watch->peer, sizeof(watch->peer));
	watch->references = 1;
	/* among the others from now on, so that it counts: more requests may come before its head is sent */
	watch->next = watches;
	watch->link = &watches;
	if (watches)
		watches->link = &watch->next;
	watches = watch;
	return watch;
}

void web_chat_stream_start(struct web_request *request, int last_seq)
{
	const char *after = web_parameter_text(&request->parameters, "after", NULL);
	struct event_id at = { 0 };
	int seq = last_seq;
	if (request->answered || !request->exchange || !web_socket_handshake(request))
		return;
	if (after && !read_place(after, &seq, &at)) {
		web_answer_problem(request, 400, "after has to be the seq of a frame");
		return;
	}
	if (too_many(&request->identity)) {
		web_answer_too_many(request, RETRY_S, "too many chats are open at once");
		return;
	}
	struct chat_watch *watch = new_watch(request);
	if (!watch) {
		web_answer_unavailable(request, 1, "no memory");
		return;
	}
	watch->seq = seq;
	watch->at = at;
	watch->resumed = at.ms > 0;
	const struct web_socket_owner owner = { .text = text_came, .gone = gone, .context = watch };
	web_socket_start(request, &owner, opened);
}

static void read_on(struct chat_watch *watch)
{
	watch->run_drained = false;
	watch->stale = true;
	advance(watch);
}

void web_chat_stream_read_on(void)
{
	for_each(read_on);
}

static void end(struct chat_watch *watch)
{
	if (watch->socket)
		web_socket_close(watch->socket, WEB_SOCKET_AWAY, "the server stops");
}

void web_chat_stream_end(void)
{
	for_each(end);
}

int web_chat_stream_open(struct wl_error *err)
{
	return web_timer_every(TICK_MS, look_at_all, NULL) ? 0 : wl_fail(err, ENOMEM, "no memory for chats");
}
