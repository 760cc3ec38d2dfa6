/*
 * One session with a server of the Model Context Protocol (revisions 2024-11-05 to 2025-11-25, JSON-RPC 2.0), as its
 * client: what to say next, and what was said means. Pure: the transports (http.h, and a program's pipes) carry the
 * messages, each a JSON text without line ends.
 *
 * A session is made for one purpose: the server's list of tools, or one call. It goes
 *     initialize -> notifications/initialized -> tools/list, page by page -> tools/call
 * where a call lists first only when its tool is pinned, and a list ends without a call. Whatever the server asks in
 * between gets its answer: a ping an empty result, all else "method not found", as nothing else was offered to it.
 */
#ifndef WL_MCP_SESSION_H
#define WL_MCP_SESSION_H

#include "lib/base/error.h"
#include "lib/codec/json.h"

#include <stdbool.h>
#include <stddef.h>

#define WL_MCP_PROTOCOL "2025-06-18" /* what is offered */
#define WL_MCP_TOOLS_MAX 1000
#define WL_MCP_PAGES_MAX 50
#define WL_MCP_BYTES_MAX (16u << 20) /* of all that a server says in one session */
#define WL_MCP_MESSAGES_MAX 10000    /* of the same */
#define WL_MCP_ASKED_MAX 100	     /* requests of a server that are answered */
#define WL_MCP_NOTES_MAX 200	     /* notifications that are passed on */
#define WL_MCP_HASH_TEXT 65

enum wl_mcp_kind { WL_MCP_REQUEST, WL_MCP_NOTE, WL_MCP_REPLY };

struct wl_mcp_message {
	enum wl_mcp_kind kind;
	int id;	    /* of a request */
	bool call;  /* the request that calls the tool */
	char *text; /* the taker's */
};

/* What it is for. Texts are copied. */
struct wl_mcp_goal {
	const char *tool;      /* its name on the server; NULL: the list is wanted */
	const char *arguments; /* of the call: JSON text of an object */
	const char *pin;       /* the hash (wl_mcp_tool_hash) that the tool must have; NULL: any */
	/* Progress and log messages of the server, for people; may be NULL. */
	void (*on_note)(void *context, const char *text, size_t length);
	void *context;
};

/* What the server or its tool did wrong; code NULL: nothing. */
struct wl_mcp_fault {
	const char *code; /* mcp_error, mcp_version, tool_changed, tool_missing */
	bool for_good;	  /* trying again is of no use */
	char text[WL_ERROR_TEXT];
	struct wl_json *detail; /* what a JSON-RPC error said; or NULL */
};

struct wl_mcp_session;

int wl_mcp_session_new(const struct wl_mcp_goal *goal, struct wl_mcp_session **ret_session, struct wl_error *err);
void wl_mcp_session_free(struct wl_mcp_session *session);
static inline void wl_cleanup_mcp_session(struct wl_mcp_session **session)
{
	wl_mcp_session_free(*session);
}
#define _wl_mcp_session_ __attribute__((cleanup(wl_cleanup_mcp_session)))

/* The oldest message that is to be sent (with replies_only the oldest reply); false: there is none. */
bool wl_mcp_session_take(struct wl_mcp_session *session, bool replies_only, struct wl_mcp_message *ret_message);
/*
 * What the server said: one message, or an array of some (revision 2025-03-26). Answers to what was not asked, and
 * second answers, are passed over. 0; -EPROTO: it is no JSON-RPC, or says less than it must; -EMSGSIZE: too much was
 * said; -ENOMEM. After a failure the session is of no use.
 */
int wl_mcp_session_feed(struct wl_mcp_session *session, const char *text, size_t length, struct wl_error *err);
/* Has a request been taken whose answer is missing? */
bool wl_mcp_session_waits(const struct wl_mcp_session *session);
/* Is the purpose reached, or given up with a fault? */
bool wl_mcp_session_ended(const struct wl_mcp_session *session);
/* Forget all that was said and begin anew: the server has lost the session. -ENOMEM. */
int wl_mcp_session_restart(struct wl_mcp_session *session, struct wl_error *err);
/* The notification that the call under way is not wanted any more, allocated; NULL: none is under way. */
char *wl_mcp_session_cancel(const struct wl_mcp_session *session);

/* How it ended. All belong to the session. */
const struct wl_mcp_fault *wl_mcp_session_fault(const struct wl_mcp_session *session);
const struct wl_json *wl_mcp_session_result(const struct wl_mcp_session *session); /* of tools/call; NULL: none */
const struct wl_json *wl_mcp_session_tools(const struct wl_mcp_session *session);  /* an array, as they came */
const char *wl_mcp_session_protocol(const struct wl_mcp_session *session);	   /* that was agreed on; "" before */
const char *wl_mcp_session_server_name(const struct wl_mcp_session *session);
const char *wl_mcp_session_server_version(const struct wl_mcp_session *session);

/* The hash of what a list says of a tool: name, description and schemas (SHA-256, hex). 0 or -ENOMEM. */
int wl_mcp_tool_hash(const struct wl_json *tool, char ret_hash[WL_MCP_HASH_TEXT]);

#endif
