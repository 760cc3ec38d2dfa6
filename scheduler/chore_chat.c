/*
 * Chats: ask the partner of a turn whose attached flow has ended, put messages into the document server, and take the
 * messages of deleted chats out of it.
 */
#include "lib/base/buffer.h"
#include "lib/base/cleanup.h"
#include "scheduler/chores.h"

#include <stdio.h>
#include <string.h>

#define REQUEST "{\"limit\":200}"

/* Call a function of PostgreSQL whose answer is an array. */
static int ask(struct chore_desk *desk, const char *function, const char *request, struct wl_json **ret_rows,
	       struct wl_error *err)
{
	_wl_free_ char *text = NULL;
	int r = wl_postgres_call(&desk->postgres, function, request, &text, err);
	return r < 0 ? r : wl_json_parse(text ? text : "[]", text ? strlen(text) : 2, ret_rows, err);
}

static int ask_partners(struct chore_desk *desk, struct wl_error *err)
{
	_wl_json_ struct wl_json *asked = NULL;
	int r = ask(desk, "control.chat_next", REQUEST, &asked, err);
	if (r < 0)
		return r;
	chore_enqueue(desk, asked);
	return (int)wl_json_count(asked);
}

static int read_message(const struct wl_json *row, struct wl_chat_message *message, struct wl_error *err)
{
	*message = (struct wl_chat_message){ .tenant = (int)wl_json_get_number(row, "tenant", 0),
					     .seq = (int)wl_json_get_number(row, "seq", 0),
					     .message_json = wl_json_print(wl_json_get(row, "message")) };
	(void)snprintf(message->session, sizeof(message->session), "%s", wl_json_get_string(row, "session", ""));
	return message->message_json ? 0 : wl_fail(err, ENOMEM, "no memory to ship messages");
}

static int put_messages(struct chore_desk *desk, const struct wl_json *rows, struct wl_error *err)
{
	struct wl_chat_log *log;
	int count = (int)wl_json_count(rows), used = 0;
	struct wl_chat_message *messages = calloc((size_t)count, sizeof(*messages));
	int r = messages ? chore_chat_log(desk, &log, err) : wl_fail(err, ENOMEM, "no memory to ship messages");
	for (const struct wl_json *row = wl_json_first(rows); row && r == 0; row = wl_json_next(row))
		r = read_message(row, &messages[used++], err);
	if (r == 0)
		r = log->put(log->self, messages, count, err);
	if (messages)
		wl_chat_messages_free(messages, used);
	return r;
}

static int tell_shipped(struct chore_desk *desk, const struct wl_json *rows, struct wl_error *err)
{
	_wl_buffer_ struct wl_buffer told = { 0 };
	_wl_free_ char *nothing = NULL;
	(void)wl_buffer_append_text(&told, "{\"messages\":[");
	for (const struct wl_json *row = wl_json_first(rows); row; row = wl_json_next(row))
		(void)wl_buffer_appendf(&told, "%s{\"session\":\"%s\",\"seq\":%.0f}",
					row == wl_json_first(rows) ? "" : ",", wl_json_get_string(row, "session", ""),
					wl_json_get_number(row, "seq", 0));
	(void)wl_buffer_append_text(&told, "]}");
	if (told.failed)
		return wl_fail(err, ENOMEM, "no memory to ship messages");
	return wl_postgres_call(&desk->postgres, "control.chat_shipped", told.data, &nothing, err);
}

static int ship(struct chore_desk *desk, struct wl_error *err)
{
	_wl_json_ struct wl_json *rows = NULL;
	int r = ask(desk, "control.chat_unshipped", REQUEST, &rows, err);
	if (r < 0 || wl_json_count(rows) == 0)
		return r;
	r = put_messages(desk, rows, err);
	if (r == 0)
		r = tell_shipped(desk, rows, err);
	return r < 0 ? r : (int)wl_json_count(rows);
}

static int drop_sessions(struct chore_desk *desk, struct wl_error *err)
{
	_wl_json_ struct wl_json *rows = NULL;
	_wl_buffer_ struct wl_buffer told = { 0 };
	_wl_free_ char *nothing = NULL;
	struct wl_chat_log *log;
	int r = ask(desk, "control.chat_gone_due", REQUEST, &rows, err);
	if (r < 0 || wl_json_count(rows) == 0)
		return r;
	r = chore_chat_log(desk, &log, err);
	(void)wl_buffer_append_text(&told, "{\"sessions\":[");
	for (const struct wl_json *row = wl_json_first(rows); row && r == 0; row = wl_json_next(row)) {
		const char *session = wl_json_get_string(row, "session", "");
		r = log->drop(log->self, (int)wl_json_get_number(row, "tenant", 0), session, err);
		(void)wl_buffer_appendf(&told, "%s\"%s\"", row == wl_json_first(rows) ? "" : ",", session);
	}
	(void)wl_buffer_append_text(&told, "]}");
	if (r == 0 && told.failed)
		r = wl_fail(err, ENOMEM, "no memory to forget chats");
	if (r == 0)
		r = wl_postgres_call(&desk->postgres, "control.chat_gone_done", told.data, &nothing, err);
	return r < 0 ? r : (int)wl_json_count(rows);
}

/* Partners first, and also while the document server is away: people wait for them. */
int chore_chat(struct chore_desk *desk, struct wl_error *err)
{
	int asked = ask_partners(desk, err);
	if (asked != 0)
		return asked;
	int shipped = ship(desk, err);
	if (shipped < 0)
		return shipped;
	int dropped = drop_sessions(desk, err);
	return dropped < 0 ? dropped : shipped + dropped;
}
