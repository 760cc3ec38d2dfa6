/* Inside of a session: its state, and the making of its messages. For session.c and messages.c alone. */
#ifndef WL_MCP_SESSION_PARTS_H
#define WL_MCP_SESSION_PARTS_H

#include "lib/mcp/session.h"

#define MCP_QUEUE_MAX (WL_MCP_ASKED_MAX + 8)

enum mcp_state { MCP_INITIALIZING, MCP_LISTING, MCP_CALLING, MCP_ENDED };

struct wl_mcp_session {
	char *tool, *arguments, *pin;
	void (*on_note)(void *context, const char *text, size_t length);
	void *context;
	enum mcp_state state;
	int last_id, pending; /* of requests: the last made; the one that was taken and is not answered, 0: none */
	struct wl_mcp_message queue[MCP_QUEUE_MAX];
	int queued;
	int pages;
	char *cursor; /* of the page that is asked for; NULL: the first */
	int asked, notes, messages;
	size_t bytes;
	char protocol[16], server_name[201], server_version[101];
	struct wl_json *tools, *result;
	struct wl_mcp_fault fault;
};

/* Put a message behind the others that are to be sent. 0 or -ENOMEM. */
int mcp_say_initialize(struct wl_mcp_session *session);
int mcp_say_initialized(struct wl_mcp_session *session);
int mcp_say_list(struct wl_mcp_session *session);
int mcp_say_call(struct wl_mcp_session *session);
/* The answer to a request of the server. */
int mcp_say_reply(struct wl_mcp_session *session, const struct wl_json *id, const char *method);

/* A notification as a line for people; its length, 0 when it is of no interest to them. */
size_t mcp_note_text(const struct wl_json *message, char *text, size_t size);

#endif
