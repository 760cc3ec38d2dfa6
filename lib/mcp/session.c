#include "lib/mcp/session.h"

#include "lib/base/cleanup.h"
#include "lib/mcp/session_parts.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

static const char *const protocols[] = { "2025-06-18", "2025-03-26", "2025-11-25", "2024-11-05" };

/* ---- making and ending ------------------------------------------------------------------------------------- */

static void forget(struct wl_mcp_session *session)
{
	for (int i = 0; i < session->queued; i++)
		free(session->queue[i].text);
	session->queued = 0;
	wl_json_free(session->tools);
	wl_json_free(session->result);
	wl_json_free(session->fault.detail);
	free(session->cursor);
	session->tools = session->result = NULL;
	session->cursor = NULL;
	session->fault = (struct wl_mcp_fault){ 0 };
	session->protocol[0] = session->server_name[0] = session->server_version[0] = '\0';
	session->pages = 0;
	session->pending = 0;
}

void wl_mcp_session_free(struct wl_mcp_session *session)
{
	if (!session)
		return;
	forget(session);
	free(session->tool);
	free(session->arguments);
	free(session->pin);
	free(session);
}

static int copy(const char *text, char **ret_copy)
{
	*ret_copy = text ? strdup(text) : NULL;
	return text && !*ret_copy ? -ENOMEM : 0;
}

int wl_mcp_session_new(const struct wl_mcp_goal *goal, struct wl_mcp_session **ret_session, struct wl_error *err)
{
	_wl_mcp_session_ struct wl_mcp_session *session = calloc(1, sizeof(*session));
	if (!session || copy(goal->tool, &session->tool) < 0 || copy(goal->arguments, &session->arguments) < 0 ||
	    copy(goal->pin, &session->pin) < 0)
		return wl_fail(err, ENOMEM, "no memory for a session");
	session->on_note = goal->on_note;
	session->context = goal->context;
	int result = wl_mcp_session_restart(session, err);
	if (result == 0)
		*ret_session = wl_steal(session);
	return result;
}

int wl_mcp_session_restart(struct wl_mcp_session *session, struct wl_error *err)
{
	forget(session);
	session->tools = wl_json_array();
	session->state = MCP_INITIALIZING;
	return session->tools && mcp_say_initialize(session) == 0 ? 0 : wl_fail(err, ENOMEM, "no memory for a session");
}

static void end(struct wl_mcp_session *session)
{
	session->state = MCP_ENDED;
	session->pending = 0;
}

static int fault(struct wl_mcp_session *session, const char *code, bool for_good, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
/* End with a fault; always 0, as the session itself is sound. */
static int fault(struct wl_mcp_session *session, const char *code, bool for_good, const char *fmt, ...)
{
	va_list args;
	va_start(args, fmt);
	session->fault.code = code;
	session->fault.for_good = for_good;
	(void)vsnprintf(session->fault.text, sizeof(session->fault.text), fmt, args);
	va_end(args);
	end(session);
	return 0;
}

/* ---- answers to what was asked ------------------------------------------------------------------------------- */

static int go_on(struct wl_mcp_session *session)
{
	bool lists = !session->tool || session->pin;
	session->state = lists ? MCP_LISTING : MCP_CALLING;
	return lists ? mcp_say_list(session) : mcp_say_call(session);
}

static int take_initialized(struct wl_mcp_session *session, const struct wl_json *result, struct wl_error *err)
{
	const char *version = wl_json_get_string(result, "protocolVersion", NULL);
	const struct wl_json *info = wl_json_get(result, "serverInfo");
	if (!version)
		return wl_fail(err, EPROTO, "the server's answer to initialize names no protocolVersion");
	for (size_t i = 0; i < WL_COUNT_OF(protocols); i++)
		if (strcmp(version, protocols[i]) == 0)
			(void)snprintf(session->protocol, sizeof(session->protocol), "%s", version);
	if (!*session->protocol)
		return fault(session, "mcp_version", true,
			     "the server speaks revision '%.40s' of the protocol, which is not known here", version);
	(void)snprintf(session->server_name, sizeof(session->server_name), "%s", wl_json_get_string(info, "name", ""));
	(void)snprintf(session->server_version, sizeof(session->server_version), "%s",
		       wl_json_get_string(info, "version", ""));
	if (mcp_say_initialized(session) < 0 || go_on(session) < 0)
		return wl_fail(err, ENOMEM, "no memory for a session");
	return 0;
}

/* Keep a page's tools, or look for the pinned one among them: then *ret_found is it. */
static int take_page(struct wl_mcp_session *session, const struct wl_json *list, const struct wl_json **ret_found,
		     struct wl_error *err)
{
	for (const struct wl_json *one = wl_json_first(list); one; one = wl_json_next(one)) {
		const char *name = wl_json_get_string(one, "name", NULL);
		if (!name || !*name)
			return wl_fail(err, EPROTO, "the server lists a tool without a name");
		if (session->tool) {
			if (strcmp(name, session->tool) == 0 && !*ret_found)
				*ret_found = one;
		} else if (wl_json_count(session->tools) >= WL_MCP_TOOLS_MAX) {
			return wl_fail(err, EMSGSIZE, "the server lists more than %d tools", WL_MCP_TOOLS_MAX);
		} else if (wl_json_append(session->tools, wl_json_copy(one)) < 0) {
			return wl_fail(err, ENOMEM, "no memory for a server's tools");
		}
	}
	return 0;
}

static int compare_pin(struct wl_mcp_session *session, const struct wl_json *found, struct wl_error *err)
{
	char hash[WL_MCP_HASH_TEXT];
	if (wl_mcp_tool_hash(found, hash) < 0)
		return wl_fail(err, ENOMEM, "no memory for a server's tools");
	if (strcmp(hash, session->pin) != 0)
		return fault(session, "tool_changed", true,
			     "the server describes '%.100s' otherwise than when it was imported: look at it and import "
			     "it again",
			     session->tool);
	session->state = MCP_CALLING;
	return mcp_say_call(session) < 0 ? wl_fail(err, ENOMEM, "no memory for a session") : 0;
}

static int next_page(struct wl_mcp_session *session, const char *cursor, struct wl_error *err)
{
	if (++session->pages >= WL_MCP_PAGES_MAX || (session->cursor && strcmp(session->cursor, cursor) == 0))
		return wl_fail(err, EMSGSIZE, "the server's list of tools has no end");
	free(session->cursor);
	session->cursor = strdup(cursor);
	return !session->cursor || mcp_say_list(session) < 0 ? wl_fail(err, ENOMEM, "no memory for a session") : 0;
}

static int take_list(struct wl_mcp_session *session, const struct wl_json *result, struct wl_error *err)
{
	const struct wl_json *list = wl_json_get(result, "tools"), *found = NULL;
	const char *cursor = wl_json_get_string(result, "nextCursor", NULL);
	if (!wl_json_is(list, WL_JSON_ARRAY))
		return wl_fail(err, EPROTO, "the server's answer to tools/list has no tools");
	int failed = take_page(session, list, &found, err);
	if (failed)
		return failed;
	if (found)
		return compare_pin(session, found, err);
	if (cursor)
		return next_page(session, cursor, err);
	if (session->tool)
		return fault(session, "tool_changed", true, "the server has no tool '%.100s' any more", session->tool);
	end(session);
	return 0;
}

static int take_result(struct wl_mcp_session *session, const struct wl_json *result, struct wl_error *err)
{
	if (!wl_json_is(result, WL_JSON_OBJECT))
		return wl_fail(err, EPROTO, "the server's result is no object");
	if (session->state == MCP_INITIALIZING)
		return take_initialized(session, result, err);
	if (session->state == MCP_LISTING)
		return take_list(session, result, err);
	if (!wl_json_is(wl_json_get(result, "content"), WL_JSON_ARRAY) && !wl_json_get(result, "structuredContent"))
		return wl_fail(err, EPROTO, "the server's answer to tools/call has no content");
	session->result = wl_json_copy(result);
	end(session);
	return session->result ? 0 : wl_fail(err, ENOMEM, "no memory for a tool's answer");
}

#define METHOD_MISSING (-32601)
#define PARAMS_INVALID (-32602)

static int take_error(struct wl_mcp_session *session, const struct wl_json *error)
{
	static const char *const asked[] = { [MCP_INITIALIZING] = "initialize",
					     [MCP_LISTING] = "tools/list",
					     [MCP_CALLING] = "tools/call",
					     [MCP_ENDED] = "" };
	const char *what = asked[session->state];
	double code = wl_json_get_number(error, "code", 0);
	const char *message = wl_json_get_string(error, "message", "");
	bool version = session->state == MCP_INITIALIZING && wl_json_get(wl_json_get(error, "data"), "supported");
	session->fault.detail = wl_json_copy(error);
	return fault(session, version ? "mcp_version" : "mcp_error",
		     version || code == METHOD_MISSING || code == PARAMS_INVALID,
		     "the server refused %s: %.300s (%.0f)", what, message, code);
}

/* ---- what comes without being asked for --------------------------------------------------------------------- */

static int answer_request(struct wl_mcp_session *session, const struct wl_json *message, struct wl_error *err)
{
	const struct wl_json *id = wl_json_get(message, "id");
	if (!wl_json_is(id, WL_JSON_NUMBER) && !wl_json_is(id, WL_JSON_STRING))
		return wl_fail(err, EPROTO, "the server asks without an id");
	if (++session->asked > WL_MCP_ASKED_MAX)
		return wl_fail(err, EMSGSIZE, "the server asks too much");
	return mcp_say_reply(session, id, wl_json_get_string(message, "method", "")) < 0
		       ? wl_fail(err, ENOMEM, "no memory for a session")
		       : 0;
}

static void pass_note(struct wl_mcp_session *session, const struct wl_json *message)
{
	char text[1024];
	if (!session->on_note || session->notes >= WL_MCP_NOTES_MAX)
		return;
	size_t length = mcp_note_text(message, text, sizeof(text));
	if (length == 0)
		return;
	session->notes++;
	session->on_note(session->context, text, length);
}

/* ---- reading -------------------------------------------------------------------------------------------------- */

static int take_one(struct wl_mcp_session *session, const struct wl_json *message, struct wl_error *err)
{
	if (!wl_json_is(message, WL_JSON_OBJECT) || strcmp(wl_json_get_string(message, "jsonrpc", ""), "2.0") != 0)
		return wl_fail(err, EPROTO, "the server said something that is no JSON-RPC 2.0");
	if (++session->messages > WL_MCP_MESSAGES_MAX)
		return wl_fail(err, EMSGSIZE, "the server says too much");
	const struct wl_json *id = wl_json_get(message, "id"), *error = wl_json_get(message, "error");
	const struct wl_json *result = wl_json_get(message, "result");
	if (wl_json_is(wl_json_get(message, "method"), WL_JSON_STRING)) {
		if (id)
			return answer_request(session, message, err);
		pass_note(session, message);
		return 0;
	}
	if (!result && !wl_json_is(error, WL_JSON_OBJECT))
		return wl_fail(err, EPROTO, "the server's answer has neither a result nor an error");
	/* an error without an id is the answer to a message that the server could not read */
	bool ours = wl_json_is(id, WL_JSON_NUMBER) ? wl_json_number(id, -1) == session->pending
						   : error && (!id || wl_json_is(id, WL_JSON_NULL));
	if (!ours || session->pending == 0)
		return 0;
	session->pending = 0;
	return result ? take_result(session, result, err) : take_error(session, error);
}

int wl_mcp_session_feed(struct wl_mcp_session *session, const char *text, size_t length, struct wl_error *err)
{
	_wl_json_ struct wl_json *json = NULL;
	struct wl_error why = { 0 };
	session->bytes += length;
	if (session->bytes > WL_MCP_BYTES_MAX)
		return wl_fail(err, EMSGSIZE, "the server said more than %u bytes", WL_MCP_BYTES_MAX);
	int result = wl_json_parse(text, length, &json, &why);
	if (result < 0)
		return result == -ENOMEM
			       ? wl_fail(err, ENOMEM, "no memory for a server's answer")
			       : wl_fail(err, EPROTO, "the server said something that is no JSON: %s", why.text);
	if (!wl_json_is(json, WL_JSON_ARRAY))
		return take_one(session, json, err);
	for (const struct wl_json *one = wl_json_first(json); one && result == 0; one = wl_json_next(one))
		result = take_one(session, one, err);
	return result;
}

/* ---- what the transports ask ----------------------------------------------------------------------------------- */

bool wl_mcp_session_take(struct wl_mcp_session *session, bool replies_only, struct wl_mcp_message *ret_message)
{
	int at = 0;
	while (at < session->queued && replies_only && session->queue[at].kind != WL_MCP_REPLY)
		at++;
	if (at == session->queued)
		return false;
	*ret_message = session->queue[at];
	if (ret_message->kind == WL_MCP_REQUEST)
		session->pending = ret_message->id;
	session->queued--;
	memmove(&session->queue[at], &session->queue[at + 1], (size_t)(session->queued - at) * sizeof(*session->queue));
	return true;
}

bool wl_mcp_session_waits(const struct wl_mcp_session *session)
{
	return session->pending != 0;
}

bool wl_mcp_session_ended(const struct wl_mcp_session *session)
{
	return session->state == MCP_ENDED;
}

const struct wl_mcp_fault *wl_mcp_session_fault(const struct wl_mcp_session *session)
{
	return &session->fault;
}

const struct wl_json *wl_mcp_session_result(const struct wl_mcp_session *session)
{
	return session->result;
}

const struct wl_json *wl_mcp_session_tools(const struct wl_mcp_session *session)
{
	return session->tools;
}

const char *wl_mcp_session_protocol(const struct wl_mcp_session *session)
{
	return session->protocol;
}

const char *wl_mcp_session_server_name(const struct wl_mcp_session *session)
{
	return session->server_name;
}

const char *wl_mcp_session_server_version(const struct wl_mcp_session *session)
{
	return session->server_version;
}
