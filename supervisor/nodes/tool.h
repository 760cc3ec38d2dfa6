/* One call of a tool, between the files of its kinds. */
#ifndef WL_SUPERVISOR_NODES_TOOL_H
#define WL_SUPERVISOR_NODES_TOOL_H

#include "lib/net/http_client.h"
#include "supervisor/nodes/node.h"
#include "supervisor/nodes/tool_secrets.h"

#define TOOL_HOSTS_MAX 100

struct tool_call {
	struct node_world *world;
	const struct node_call *call;
	const struct wl_json *row; /* see lib/ports/tool_source.h */
	const struct wl_json *config;
	const char *kind;  /* code, openapi, http or mcp */
	const char *input; /* JSON text */
	uint32_t timeout_ms;
	const struct tool_secrets *secrets; /* of kind mcp: to be kept out of what its server says; or NULL */
};

/* Call a tool of kind openapi or http over the network; the outcome has a receipt too. */
void tool_call_http(const struct tool_call *tool, struct node_outcome *outcome);

/* Call a tool of kind mcp, or ask its server for its list when the configuration names no tool; as above. */
void tool_call_mcp(const struct tool_call *tool, struct node_outcome *outcome);

/* The hosts that a tool may ask: those that it lists, else that of its own URL. */
struct tool_hosts {
	const char *items[TOOL_HOSTS_MAX];
	size_t count;
	char own[300];
};

/* Find them; -EINVAL for a URL of no use. The struct may not be moved afterwards. */
int tool_find_hosts(const struct wl_json *config, const char *url, struct tool_hosts *hosts, struct wl_error *err);
/* Bytes of a server's answer that the tool takes. */
size_t tool_response_max(const struct wl_json *config);
/* Take the credentials out of all that is kept; without memory for that, nothing is kept. */
void tool_redact(const struct tool_call *tool, const struct tool_secrets *secrets, struct node_outcome *outcome);

/* Begin a receipt: {"kind","tool_id","version" and no closing brace. */
void tool_begin_receipt(const struct tool_call *tool, struct wl_buffer *text);

#endif
